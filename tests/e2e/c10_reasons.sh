#!/bin/bash
# SPDX-License-Identifier: MIT
#
# c10 - a fetch that stands still says why, within seconds and rightly, for each way to stand still; and holders that are slow to say
# anything, or older than a question, hold up nothing that others have.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

line_new a 0
seed=http://127.0.0.1:${LINE[a]}
peer_new a "network.advertise=$seed"
peer_new b "network.seed=$seed" fetch.parallel=1
random_file 40000 "$TMP/a/share/small.bin"
random_file $((8 << 20)) "$TMP/a/share/big.bin"
random_file 40001 "$TMP/a/share/other.bin"
for name in mute busy liar; do random_file 40002 "$TMP/$name.theirs"; done
for name in layerless older; do random_file $((2 << 20)) "$TMP/$name.theirs"; done
cp "$TMP/a/share/small.bin" "$TMP/small.theirs"
peer_start a
peer_start b
ok "b knows the files" until_true 20 lists b big.bin

# foreign NAME MOOD...: shares $TMP/NAME.theirs as NAME.bin; what it is asked is in $TMP/NAME.
foreign() {
	local port
	port=$(free_port)
	python3 "$HERE/foreign_peer.py" "$port" "$(url b)" "$TMP/$1.theirs" "$1.bin" "${@:2}" >"$TMP/$1" 2>&1 &
	foreign_pid=$!
	HELPERS+=("$foreign_pid")
	until_true 20 lists b "$1.bin"
}
says() { fetch_field b "$1" 12 | grep -qi -e "$2"; }
# told WHAT ID PATTERN [STATE]
told() {
	ok "$1: it is told" until_true 6 says "$2" "$3"
	echo "# $(fetch_field b "$2" 2): $(fetch_field b "$2" 12)"
	is "$1: and waits" "$(fetch_field b "$2" 2)" "${4:-waiting}"
	ctl b -q cancel "$2"
}

# --- somebody is asked, and nothing comes ---
foreign mute mute
told "the holder says nothing" "$(fetch_start b mute.bin)" '1 holder is asked, and nothing comes'
kill "$foreign_pid"

foreign busy busy
told "the holder refuses" "$(fetch_start b busy.bin)" 'asked now: .*come back later'
kill "$foreign_pid"

foreign layerless layerless
told "the layer is not to be had" "$(fetch_start b layerless.bin)" 'asked now: .*layer.*come back later'
kill "$foreign_pid"

foreign liar lying
told "the only holder lied" "$(fetch_start b liar.bin)" 'asked now: peer [a-z0-9]* sent bytes that are not'
kill "$foreign_pid"

# --- it is not its turn ---
echo $((256 << 10)) >"$TMP/a/rate"
first=$(fetch_start b big.bin)
ok "one fetch moves" until_true 10 fetch_is b "$first" moving
told "its turn has not come" "$(fetch_start b other.bin)" 'its turn: 1 file is fetched at once' queued
ctl b -q cancel "$first"
echo 0 >"$TMP/a/rate"

# --- the limit is low ---
ok "the limit is set" ctl b limit download 1
told "the limit lets nothing through" "$(fetch_start b big.bin)" 'limit of bandwidth'
ok "the limit is gone" ctl b limit download 0

# --- the disk is full ---
sed -i 's/^reserve=.*/reserve=1000T/' "$TMP/b/conf"
ok "the configuration is read again" ctl b -q reload
told "the disk is full" "$(fetch_start b big.bin)" 'has room for 0 more bytes'
sed -i 's/^reserve=.*/reserve=1M/' "$TMP/b/conf"
ok "and once more" ctl b -q reload

# --- a holder that is older than a question ---
foreign older older
ok "from an older holder alone a file is fetched" timeout $((30 * FACTOR)) "$P2PCTL" -s "$TMP/b/sock" -q fetch older.bin
ok "and is equal" cmp "$TMP/older.theirs" "$TMP/b/share/older.bin"
kill "$foreign_pid"

# --- the holder is away ---
peer_stop a
ok "a is away" until_true 20 sees b a away
told "the holder is away" "$(fetch_start b big.bin)" 'the only one that is known is away'

# --- a mute holder, until an honest one comes ---
foreign small mute
id=$(fetch_start b small.bin)
ok "the mute one is asked" until_true 10 grep -q muted "$TMP/small"
peer_start a
ok "an honest one comes" until_true 20 sees b a
begin=$(now_us)
ok "and is asked instead" until_true 20 fetch_is b "$id" "done"
echo "# $((($(now_us) - begin) / 1000)) ms later"
ok "and it is equal" cmp "$TMP/a/share/small.bin" "$TMP/b/share/small.bin"
finish
