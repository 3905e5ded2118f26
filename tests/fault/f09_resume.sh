#!/bin/bash
# SPDX-License-Identifier: MIT
#
# f09 - what a fetch costs that goes on, counted: a resume after SIGTERM hashes nothing again and asks for nothing that it had;
# one after kill -9 hashes what was not synced and nothing else, once; nobody is asked for the piece layer twice, though the
# kill comes before the first sync.  Over both wires.
# shellcheck disable=SC2016,SC2317 # eval expands late; functions are called by ok
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

size=$((12 << 20)) rate=$((3 << 20))
piece=65536 streams=8

# a's REST face is reached by a line that notes who asks for a layer.
LINE[a]=$(free_port) PORT[a]=$(free_port)
grpc_new a
mkdir "$TMP/a"
echo "delay 0 0 /layer" >"$TMP/a/script"
python3 "$FAULT/faultproxy.py" "${LINE[a]}" "${PORT[a]}" "$TMP/a/script" "$TMP/a/layers" &
HELPERS+=("$!")
until_true 10 bash -c ": <>/dev/tcp/127.0.0.1/${LINE[a]}"
seed=http://127.0.0.1:${LINE[a]}
peer_new a "network.advertise=$seed" "network.advertise=grpc://127.0.0.1:${GRPC_PORT[a]}" "network.upload_limit=$rate"
for wire in rest grpc; do
	for end in unsynced killed stopped; do random_file $size "$TMP/a/share/$wire-$end"; done
done
peer_start a

layers() { if [[ -e $TMP/a/layers ]]; then wc -l <"$TMP/a/layers"; else echo 0; fi; }
hashed_again() { metric b p2pd_hashed_again_bytes_total; }
received() { metric b "p2pd_bytes_total{wire=\"$wire\",direction=\"in\"}"; }
# What came and was of no use: of an answer that was cut on a busy machine, for one.
wasted() { metric b p2pd_wasted_bytes_total; }
proven() { fetch_field b "$id" 3; }
# Bytes that the data file has room for: at least those in it.
on_disk() { find "$TMP/b/share/.p2pd-partial" -name '*.data' -printf '%b\n' | awk '{ n += $1 } END { print n * 512 }'; }
at_most() { echo "$1 of at most $2"; (($1 <= $2)); }
at_least() { echo "$1 of at least $2"; (($1 >= $2)); }
taken_up() { (($(proven) > 0)); }

# begin END FAULT...: b fetches a's file of that name.
begin() {
	file=$wire-$1
	: >"$TMP/a/layers"
	peer_new b "network.seed=$seed" "network.transport=$wire"
	fault_plan b "${@:2}"
	peer_start b
	until_true 20 lists b "$file"
	until_true 20 sees b a
	fault_on b
	id=$(fetch_start b "$file")
}
# ends_with_what_was_missing KEPT: with a back it ends, and what was proven did not come again.
ends_with_what_was_missing() {
	ok "$what: it ends" until_true 60 fetch_is b "$id" "done"
	ok "$what: and is equal" cmp "$TMP/a/share/$file" "$TMP/b/share/$file"
	is "$what: what was proven did not come again" $(($(received) - $(wasted))) $((size - $1))
	is "$what: nor was a whole file read again" "$(metric b p2pd_hashed_bytes_total)" 0
	if [[ $wire == rest ]]; then is "$what: one layer was asked for, in all its lives" "$(layers)" 1; fi
	peer_stop b
}
killed() {
	ok "$what: it is" until_true 20 dead b
	dead b || exit 1
	peer_buried b
}
# Without a: what b has is from its own disk.
alone() {
	peer_stop a
	fault_plan b
	peer_start b
	ok "$what: it takes up what it has, alone" until_true 10 taken_up
	kept=$(proven) again=$(hashed_again)
	echo "# $what: $kept bytes proven, $again hashed again"
}

for wire in rest grpc; do
	# At its first sync, before anything of it reached the disk.
	what="$wire, killed before the first sync"
	begin unsynced calls=fdatasync "below=$TMP/b/share/.p2pd-partial" when do=kill
	killed
	there=$(on_disk)
	alone
	# A piece is hashed as a whole, though the kill came in the midst of its write.
	ok "$what: only what lay there was hashed" at_most "$again" $((there + streams * piece))
	ok "$what: and nearly all of it was right" at_least "$kept" $((again - streams * piece))
	peer_kill b
	peer_start b
	until_true 10 taken_up
	is "$what: killed again, it still has it" "$(proven)" "$kept"
	ok "$what: and of that nothing was hashed again" at_most "$(hashed_again)" $((again - kept))
	peer_start a
	ends_with_what_was_missing "$kept"

	# Between two syncs: the third of the data is not made.
	what="$wire, killed after some syncs"
	begin killed calls=fdatasync "below=$TMP/b/share/.p2pd-partial" when nth=5 do=kill
	killed
	alone
	ok "$what: what was synced was not hashed" at_most "$again" $((kept - 1))
	peer_start a
	ends_with_what_was_missing "$kept"

	what="$wire, stopped"
	begin stopped
	until_true 20 fetch_beyond b "$id" $((size / 4))
	before=$(proven)
	ok "$what: it stops" peer_stop b
	alone
	ok "$what: it has what it had" at_least "$kept" "$before"
	is "$what: nothing was hashed again" "$again" 0
	peer_start a
	ends_with_what_was_missing "$kept"
done
finish
