#!/bin/bash
# SPDX-License-Identifier: MIT
#
# f10 - the power goes while a peer starts, fetches, takes a put and an upload, replaces and removes: unsynced writes and
# renames are dropped, torn and out of order.  A recorder notes what the daemon asks of its disk; from that the states are made
# that a disk may be left in, and a daemon starts on each: no file with a final name has wrong bytes, no piece counts as proven
# that is not on the disk, the catalog is sound, what was answered holds, and what was begun goes on by itself.
#
# POWER_CUTS=N: so many (15).  RANDOM_SEED repeats a choice; CUT_AT="812 mixed 7" does this one alone.
# shellcheck disable=SC2016,SC2317 # eval expands late; functions are called by ok
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

cuts=${POWER_CUTS:-15}
RECORDER=${RECORDER:-${BUILDDIR:-.}/tests/fault/record.so}
if [[ ! -e $RECORDER ]]; then
	RECORDER=$TMP/record.so
	"${CC:-cc}" -std=gnu17 -O2 -fPIC -shared -o "$RECORDER" "$FAULT/record.c" 2>/dev/null || skip_all "no compiler for the recorder"
fi
RECORDER=$(realpath "$RECORDER")
record=$TMP/record
mkdir -p "$record/keep" "$TMP/mine" "$TMP/new"

line_new a 0
seed=http://127.0.0.1:${LINE[a]}
peer_new a "network.advertise=$seed"
random_file $((3 << 20)) "$TMP/a/share/big.bin"
random_file $((2 << 20)) "$TMP/a/share/half.bin"
for i in 1 2 3; do random_file $((i * 30000)) "$TMP/a/share/tree/$i"; done
peer_start a
random_file 100000 "$TMP/mine/put.bin"
random_file 70000 "$TMP/new/put.bin"
random_file 150000 "$TMP/mine/up.bin"
random_file 50000 "$TMP/mine/gone.bin"

# --- what is recorded ---

mark() { printf 'mark\t%s\n' "$*" >>"$record/log"; }
fetched() {
	local id
	id=$(fetch_start b "$1") && mark "fetch $1"
	until_true 20 fetch_is b "$id" "done" && mark "have $1"
}
peer_new b "network.seed=$seed"
cat >"$TMP/b/fault" <<END
LD_PRELOAD=$RECORDER
RECORD_BELOW=$TMP/b/state:$TMP/b/share
RECORD_DIR=$record
END
peer_start b
until_true 20 lists b big.bin
ok "a put is taken" ctl b -q put "$TMP/mine/put.bin"
mark "have put.bin"
is "an upload is taken" "$(rest_status b /v1/files/up.bin -T "$TMP/mine/up.bin")" 201
mark "have up.bin"
ctl b -q put "$TMP/mine/gone.bin" && mark "have gone.bin"
ok "a file is fetched" fetched big.bin
ok "a tree is fetched" fetched tree
mark "replacing"
ok "a put is replaced" ctl b -q put --replace "$TMP/new/put.bin" --as put.bin
mark "replaced"
mark "removing"
ok "one is removed" ctl b -q rm gone.bin
mark "removed"
echo $((1 << 20)) >"$TMP/a/rate"
id=$(fetch_start b half.bin) && mark "fetch half.bin"
ok "one is under way" until_true 20 fetch_beyond b "$id" $((3 << 19))
peer_kill b
rm "$TMP/b/fault"
echo 0 >"$TMP/a/rate"
calls=$(python3 "$FAULT/replay.py" "$record" calls)
echo "# $calls calls"
ok "there is something to cut" test "$calls" -gt 200

# --- and cut ---

declare -A marked=()
cut_power() { # CALL FLAVOUR SEED
	local mark
	marked=()
	python3 "$FAULT/replay.py" "$record" "$@" "$TMP/b/state" "$TMP/b/share" >"$TMP/marks" || return
	while read -r mark; do [[ -z $mark ]] || marked[$mark]=yes; done <"$TMP/marks"
}
# Whatever has a final name is whole and right; what may be replaced is the one or the other.
no_wrong_byte() {
	no_half_file "$TMP/b/share" "$TMP/a/share" || return
	if [[ -n ${marked[replacing]-} ]] && cmp -s "$TMP/new/put.bin" "$TMP/b/share/put.bin"; then
		no_half_file "$TMP/b/share" "$TMP/new"
	else
		[[ -z ${marked[replaced]-} ]] || { echo "put.bin is the old one"; return 1; }
		no_half_file "$TMP/b/share" "$TMP/mine"
	fi
}
# What was answered is there, at once.
keeps() {
	local name file
	for name in put.bin up.bin gone.bin big.bin tree; do
		[[ $name != gone.bin || -z ${marked[removing]-} ]] || continue
		[[ -n ${marked[have $name]-} ]] || continue
		[[ -e $TMP/b/share/$name ]] || { echo "$name was answered, and is not there"; return 1; }
		file=$name
		[[ $name != tree ]] || file=tree/3
		until_true 10 eval '[[ -n $(root_of b "$file") ]]' || { echo "$file is not listed"; return 1; }
	done
	[[ -z ${marked[removed]-} || ! -e $TMP/b/share/gone.bin ]] || { echo "gone.bin is back"; return 1; }
}
# What was begun ends, what was not can be begun; what counts as proven is not fetched again, so the end tells whether it is.
ends() {
	local name
	for name in big.bin tree half.bin; do
		if [[ -z ${marked[fetch $name]-} ]]; then ctl b fetch "$name" >/dev/null || return; fi
		until_true 30 diff -r "$TMP/a/share/$name" "$TMP/b/share/$name" || return
	done
	until_true 10 nothing_partial b
}
survives() {
	cut_power "$@" && no_wrong_byte || return
	peer_start b >/dev/null || return
	if ! { until_true 10 lists b half.bin && keeps && ends && no_wrong_byte && catalog_is_sound b; }; then
		peer_stop b
		return 1
	fi
	peer_stop b
}

wrong_bytes_are_seen() {
	cut_power "$calls" lying 0 || return
	peer_start b >/dev/null || return
	until_true 20 test -e "$TMP/b/share/half.bin"
	not no_wrong_byte
}

if [[ -n ${CUT_AT-} ]]; then
	read -r at flavour chance <<<"$CUT_AT"
	ok "cut at call $at, $flavour" survives "$at" "$flavour" "$chance"
	finish
fi
flavours=(mixed names mixed bytes synced mixed all)
for ((i = 0; i < cuts; i++)); do
	at=$(((calls * i + RANDOM % calls) / cuts + 1)) flavour=${flavours[i % ${#flavours[@]}]} chance=$RANDOM
	ok "cut at call $at of $calls, $flavour ($chance)" survives "$at" "$flavour" "$chance"
done
ok "(of a disk that lies about a sync it is seen)" wrong_bytes_are_seen
finish
