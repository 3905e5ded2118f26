#!/bin/bash
# SPDX-License-Identifier: MIT
#
# c07 - holders that lie about what they hold: pieces that they do not have, pieces that there are not, thousands of peers that there
# are not, answers without an end.  What the honest one holds is fetched beside them as if they were not there; without him the
# fetch waits, quietly, and goes on by itself.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

export ASAN_OPTIONS=${ASAN_OPTIONS-}:quarantine_size_mb=8 # what was freed is not to look as if it were kept
size=$((16 << 20))
line_new a $((8 << 20))
seed=http://127.0.0.1:${LINE[a]}
peer_new a "network.advertise=$seed"
peer_new b "network.seed=$seed"
random_file $size "$TMP/a/share/data.bin"
peer_start a
peer_start b
ok "b knows the file" until_true 20 lists b data.bin

holders_are() { [[ $(ctl b search --exact data.bin | cut -f3) == "$1" ]]; }
FALSE=()
# false_holder NAME MOOD...: what it is asked is in $TMP/NAME.
false_holder() {
	local port
	port=$(free_port)
	python3 "$HERE/foreign_peer.py" "$port" "$(url b)" "$TMP/a/share/data.bin" data.bin "${@:2}" >"$TMP/$1" 2>&1 &
	FALSE+=("$1")
	HELPERS+=("$!")
	until_true 15 bash -c ": <>/dev/tcp/127.0.0.1/$port"
}
asked() { grep -c "GET /v1/contents/[0-9a-f]*$2" "$TMP/$1"; } # NAME PATTERN
ticks() { awk '{ sub(/.*\) /, ""); print $12 + $13 }' "/proc/${PID[b]}/stat"; } # of 10 ms
resident_kib() { awk '$1 == "VmHWM:" { print $2 }' "/proc/${PID[b]}/status"; }
# fetched NAME: exact; tells what it took.
fetched() {
	local begin before
	begin=$(now_us) before=$(ticks)
	ok "$1: the file is fetched" timeout $((60 * FACTOR)) "$P2PCTL" -s "$TMP/b/sock" -q fetch data.bin
	echo "# $((($(now_us) - begin) / 1000)) ms, $((10 * ($(ticks) - before))) ms of a processor"
	ok "$1: and is equal" cmp "$TMP/a/share/data.bin" "$TMP/b/share/data.bin"
	ctl b -q rm data.bin
}

fetched "from the honest one alone"
before_kib=$(resident_kib)
false_holder empty empty
false_holder partial empty partial
false_holder beyond empty beyond
false_holder outside empty outside
false_holder crowd empty crowd
false_holder flood empty flood
false_holder vast empty vast
false_holder silent empty silent
ok "the false ones are known" until_true 30 holders_are $((1 + ${#FALSE[@]}))
fetched "with ${#FALSE[@]} false ones"
for name in "${FALSE[@]}"; do
	echo "# $name: asked for $(asked "$name" '?') ranges, and $(asked "$name" /have) times for what it has"
done
used_kib=$(($(resident_kib) - before_kib))
echo "# $used_kib KiB more are resident"
ok "what they say is not kept" test $used_kib -lt 65536
is "nobody who was invented is a peer" "$(ctl b peers | wc -l)" $((1 + ${#FALSE[@]}))

# --- they alone are left ---
id=$(fetch_start b data.bin)
until_true 20 fetch_beyond b "$id" $((size / 4))
peer_kill a
ok "with the false ones alone it waits" until_true 30 fetch_is b "$id" waiting
ok "and says why" until_true 10 eval '[[ -n $(fetch_field b "$id" 12) ]]'
echo "# $(fetch_field b "$id" 12)"
ranges() { (cd "$TMP" && cat "${FALSE[@]}") | grep -c 'GET /v1/contents/[0-9a-f]*?'; }
before=$(ticks) ranges=$(ranges)
sleep 3
used=$((10 * ($(ticks) - before)))
echo "# 3 s of waiting: $used ms of a processor, $(($(ranges) - ranges)) ranges asked for"
ok "without turning in a circle" test $used -lt 1500
peer_start a
ok "the honest one comes back: it goes on" until_true 60 fetch_is b "$id" "done"
ok "and is equal" cmp "$TMP/a/share/data.bin" "$TMP/b/share/data.bin"
finish
