#!/bin/bash
# SPDX-License-Identifier: MIT
#
# f12 - the clock jumps: back an hour, ten years ahead, to 1986 at the start of the machine.  Timers go on, peers see each
# other, a fetch moves over both wires, what is new is learnt from a peer whose clock went back, and nothing is hashed again.
# shellcheck disable=SC2016,SC2317 # eval expands late; functions are called by ok
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

hour=3600 decade=$((10 * 365 * 86400)) long_ago=$((-40 * 365 * 86400))
for peer in a b; do
	grpc_new $peer
	mkdir -p "$TMP/$peer"
	printf 'LD_PRELOAD=%s\nFAULT_CLOCK=%s\n' "$SHIM" "$TMP/$peer/clock" >"$TMP/$peer/fault"
	echo 0 >"$TMP/$peer/clock"
done
peer_new a
for wire in rest grpc; do random_file $((24 << 20)) "$TMP/a/share/$wire"; done
random_file 100000 "$TMP/own"

clock() { # PEER SECONDS: off, from now on
	echo "$2" >"$TMP/clock.new"
	mv "$TMP/clock.new" "$TMP/$1/clock"
}
moves() {
	local at
	at=$(fetch_field b "$id" 3)
	until_true 15 eval 'fetch_is b "$id" done || fetch_beyond b "$id" $at'
}
# Three heartbeats and more.
nobody_is_missed() { never_true 5 eval '! sees a b || ! sees b a'; }

peer_start a
for wire in rest grpc; do
	peer_new b "network.seed=$(url a)" "network.transport=$wire"
	clock b 0
	peer_start b
	until_true 20 lists b "$wire"
	until_true 20 eval 'sees a b && sees b a'
	ctl a -q limit upload 1M 2>/dev/null
	id=$(fetch_start b "$wire")
	until_true 20 fetch_beyond b "$id" 100000
	for off in -$hour $decade 0 $long_ago; do
		clock b "$off"
		ok "$wire, $off s: the fetch moves" moves
		ok "$wire, $off s: the daemon answers" ctl b status
	done
	for off in $decade -$hour; do
		clock a "$off"
		ok "$wire, the holder's clock $off s: the fetch moves" moves
	done
	ok "$wire: nobody is missed" nobody_is_missed
	random_file 1000 "$TMP/a/share/news-$wire"
	ok "$wire: what is new is learnt, though the clock there went back" until_true 15 lists b "news-$wire"
	ok "$wire: a put is taken" ctl b -q put "$TMP/own" --as "own-$wire"
	ok "$wire: and learnt" until_true 15 lists a "own-$wire"

	# Before the clock of the machine is set.
	peer_kill b
	peer_start b
	ok "$wire, started in 1986: the fetch moves" until_true 20 fetch_beyond b "$id" 100000
	is "$wire, started in 1986: nothing is hashed again" "$(metric b p2pd_hashed_bytes_total)" 0
	clock b 0
	ok "$wire, the clock is set: the fetch moves" moves
	ctl a -q limit upload 0 2>/dev/null
	ok "$wire: it ends" until_true 30 fetch_is b "$id" "done"
	ok "$wire: and is equal" cmp "$TMP/a/share/$wire" "$TMP/b/share/$wire"
	ok "$wire: no age is absurd" eval '(($(ctl b peers | cut -f4) >= 0 && $(ctl b peers | cut -f4) < 60000))'
	peer_stop b
	clock a 0
done
finish
