#!/bin/bash
# SPDX-License-Identifier: MIT
#
# b17 - files come and go under ever new names, more than a catalog remembers the removals of (10,000).  One who was away
# meanwhile has no removed file afterwards, and the catalogs do not grow.
# shellcheck disable=SC2317 # functions are called by ok
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

KEPT=10000
AT_MOST=$((KEPT + KEPT / 8)) # before the oldest go
STAY=2500                    # of several pages
ROUND=4000                   # files

# What is in a catalog, asked of the file itself.
rows() { # PEER SQL
	python3 -c 'import sqlite3, sys; print(sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True).execute(sys.argv[2]).fetchone()[0])' \
	    "$TMP/$1/state/catalog.db" "$2"
}
at_most() { (($("${@:2}") <= $1)); } # NUMBER COMMAND...
# Those of a, whoever knows of them.
tombstones() { rows "$1" "SELECT count(*) FROM entry JOIN peer ON no=peer WHERE root IS NULL AND id='$ID'"; }
names() { rows "$1" "SELECT count(*) FROM name"; }
shares() { is_same "$(metric "$1" p2pd_files_shared)" "$2"; }
in_share() { seq -f "$TMP/a/share/$1-%g" "$2"; }
come_and_go() { # STEM
	in_share "$1" $ROUND | xargs touch
	until_true 60 shares a $((STAY + ROUND)) || return
	in_share "$1" $ROUND | xargs rm
	until_true 60 shares a $STAY
}
are_equal() { python3 "$HERE/../fault/truth.py" "$P2PCTL" "$TMP/a" "$TMP/b"; }
# page [PARAMETER]: a page of a's catalog, from early on.
page() { rest a "/v1/catalog?limit=10&epoch=$EPOCH&since=$SINCE$1"; }

grpc_new a
peer_new a
in_share stays $STAY | xargs touch
peer_start a
grpc_new b
peer_new b "network.seed=$(url a)"
in_share goes 20 | xargs touch
peer_start b
ok "a's catalog is known to b" until_true 30 are_equal
read -r ID EPOCH SINCE < <(rest a "/v1/catalog?limit=1000" |
	python3 -c 'import json, sys; page = json.load(sys.stdin); print(page["peer"], page["epoch"], page["through"])')
ok "b ends" peer_stop b
in_share goes 20 | xargs rm
for stem in one two three four; do
	ok "$ROUND files come and go: $stem" come_and_go $stem
done
ok "a remembers $KEPT removals and some" until_true 30 at_most $AT_MOST tombstones a
ok "... but no fewer" not at_most $((KEPT - 1)) tombstones a
ok "its index has no more names" until_true 30 at_most $((STAY + AT_MOST)) names a
ok "changes since long ago are told from the beginning" grep -q '"reset": *true' <(page "&begun=$SINCE")
ok "... but not to who is in the midst of that" grep -q '"reset": *false' <(page "&begun=$(metric a p2pd_catalog_seq)")

peer_start b
ok "b, back again, knows what there is and no removed file" until_true 30 are_equal
ok "... pulled by gRPC" test "$(metric b 'p2pd_pulls_total{wire="grpc"}')" -ge 1
ok "... and nothing of the removals" at_most 0 tombstones b
touch "$TMP/a/share/one-1"
ok "a name that was removed comes back" until_true 10 lists b one-1
rm "$TMP/a/share/one-1"
ok "and goes again" until_true 10 not lists b one-1
ok "both are as they should be" until_true 10 are_equal

finish
