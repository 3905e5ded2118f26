#!/bin/bash
# SPDX-License-Identifier: MIT
#
# f07 - a wire that cuts, resets, stalls, drips, turns bits and tells tales, between the fetching peer and the nearer of two
# holders: whatever it does, the result is exact, and the other holder takes over.
#
# CUT_POINTS=N: so many bytes of the header, and of the body, at which the answer ends (12); all: every one.
# Each run of pieces that the nearer one sends is spoiled, so that it matters not which ones it is asked for.
# shellcheck disable=SC2016,SC2317 # eval expands late; functions are called by ok
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

cut_points=${CUT_POINTS:-12}
leaf=16384 piece=65536 # the smallest, which all that is fetched here has

# bad_line PEER: the peer is reached by a line that does what $TMP/PEER/script says.
bad_line() {
	LINE[$1]=$(free_port)
	PORT[$1]=$(free_port)
	mkdir -p "$TMP/$1"
	echo pass >"$TMP/$1/script"
	python3 "$FAULT/faultproxy.py" "${LINE[$1]}" "${PORT[$1]}" "$TMP/$1/script" "$TMP/$1/spoiled" &
	HELPERS+=("$!")
	until_true 10 bash -c ": <>/dev/tcp/127.0.0.1/${LINE[$1]}"
	peer_new "$1" "network.advertise=http://127.0.0.1:${LINE[$1]}"
}
spoil() {
	rm -f "$TMP/a/spoiled"
	echo "$*" >"$TMP/a/script.new"
	mv "$TMP/a/script.new" "$TMP/a/script"
}
spoiled() { [[ -s $TMP/a/spoiled ]]; }

bad_line a
bad_line c
# a is the nearer one: c answers late.
echo "delay 40 0 /" >"$TMP/c/script"
random_file $leaf "$TMP/a/share/leaf.bin"
random_file $((40 * leaf + 99)) "$TMP/a/share/some.bin"
random_file $((6 << 20)) "$TMP/a/share/big.bin"
random_file $((leaf + 99)) "$TMP/a/share/short.bin"
cp "$TMP"/a/share/*.bin "$TMP/c/share/"
peer_start a
peer_start c
peer_new b network.seed=http://127.0.0.1:"${LINE[a]}" network.seed=http://127.0.0.1:"${LINE[c]}"
peer_start b
both_hold() { [[ $(ctl b search --exact "$1" | cut -f3) == 2 ]]; }
until_true 20 eval 'both_hold leaf.bin && both_hold some.bin && both_hold big.bin'
mkdir "$TMP/out"

# Fetched elsewhere, so that it is fetched anew each time.
fetched() {
	local begin
	begin=$(now_us)
	rm -f "$TMP/out/$1"
	timeout $((${2:-20} * FACTOR)) "$P2PCTL" -s "$TMP/b/sock" -q fetch "$1" -o "$TMP/out/$1" || return
	took_ms=$((($(now_us) - begin) / 1000))
	cmp "$TMP/a/share/$1" "$TMP/out/$1"
}
# After the fault the nearer one is asked again only when it is trusted again; a new fetch knows nothing of the old.
near_is_here() { until_true 15 eval 'sees b a && sees b c'; }
survives() { # FILE SECONDS SCRIPT...
	near_is_here || return
	spoil "${@:3}"
	fetched "$1" "$2" || return
	spoiled || { echo "the line was not used"; return 1; }
	spoil pass
}

wasted() { metric b p2pd_wasted_bytes_total; }

ok "without faults" fetched some.bin
ok "in crumbs of 7 bytes" survives leaf.bin 20 crumbs 7 0
ok "in crumbs of 1000 bytes" survives some.bin 20 crumbs 1000 0

# --- the end comes early: at each byte of the header, and within a leaf ---
header_bytes=$(curl -sS --noproxy '*' -D - -o /dev/null -r 0-$((leaf - 1)) \
	"http://127.0.0.1:${LINE[a]}/v1/contents/$(root_of a leaf.bin)?size=$leaf" | wc -c)
ok "the header is known" test "$header_bytes" -gt 50
points() { # FROM TO HOW-MANY: evenly, from a random start
	local i n=$(($2 - $1)) count=$3
	if [[ $count == all ]] || ((count > n)); then count=$n; fi
	for ((i = 0; i < count; i++)); do echo $(($1 + (n * i + RANDOM % n) / count)); done
}
cuts=0
for at in $(points 0 "$header_bytes" "$cut_points"); do
	ok "cut at byte $at of $header_bytes of the header" survives leaf.bin 20 cut "$at" 0
	cuts=$((cuts + 1))
done
for at in $(points "$header_bytes" $((header_bytes + leaf)) "$cut_points"); do
	ok "$( ((at % 2)) && echo cut || echo reset) at byte $((at - header_bytes)) of a leaf" \
		survives leaf.bin 20 "$( ((at % 2)) && echo cut || echo rst)" "$at" 0
	cuts=$((cuts + 1))
done
ok "of each no more than the one leaf was fetched again" test "$(wasted)" -le $((cuts * leaf))
before=$(wasted)
ok "cut in the middle of a piece, once" survives big.bin 20 cut 40001 1
ok "no more than that piece was fetched again" test $(($(wasted) - before)) -le $piece
ok "cut in the middle of each run" survives big.bin 20 cut 40001 0

# --- wrong bytes ---
data="?size="
for at in 0 1 2 3; do
	ok "a bit of leaf $at of a piece is turned" survives some.bin 20 turn $((at * leaf + RANDOM % leaf)) 0 "$data"
done
ok "a bit of the last leaf is turned, which is short" survives short.bin 20 turn $((leaf + RANDOM % 99)) 0 "$data"
ok "and the log names who" log_has b "$(ctl a status | awk '$1 == "peer" { print $2 }')"

# --- tales ---
for tale in "short 100" "extra 100" "range 16384" "range 1" "whole 0" "html 0" "error 404" "error 503"; do
	ok "$tale" survives some.bin 20 "$tale" 0 "$data"
done
ok "a layer that is cut" survives big.bin 20 cut 300 0 /layer
ok "a layer with a bit turned" survives big.bin 20 flip 70 0 /layer
ok "a layer that is too short" survives big.bin 20 short 32 0 /layer
ok "a layer that is too long" survives big.bin 20 extra 32 0 /layer
ok "a layer that is a page" survives big.bin 20 html 0 0 /layer

# --- stalls: replaced within 20 s, much sooner as a rule ---
survives_stall() {
	ok "$1" survives "$2" 20 "${@:3}"
	echo "# $took_ms ms"
}
survives_stall "a stall in a piece" big.bin stall 40000 0 "$data"
survives_stall "a drip" big.bin drip 40000 0 "$data"
survives_stall "a stall before the first byte" leaf.bin stall 0 0 "$data"
survives_stall "a stall in the header" leaf.bin stall 40 0 "$data"
survives_stall "a drip in the header" leaf.bin drip 40 0 "$data"
survives_stall "a stalled layer" big.bin stall 300 0 /layer
survives_stall "a dripping layer" big.bin drip 300 0 /layer

# --- nobody tells the truth: it waits, and goes on by itself when one returns ---
echo "flip 1 0" >"$TMP/c/script"
spoil flip 5 0
id=$(fetch_start b leaf.bin)
ok "two liars: the fetch waits" until_true 20 fetch_is b "$id" waiting
ok "nothing has the name" not test -e "$TMP/b/share/leaf.bin"
spoil pass
echo pass >"$TMP/c/script"
mkdir "$TMP/d"
peer_new d "network.seed=$(url b)"
cp "$TMP/a/share/leaf.bin" "$TMP/d/share/"
peer_start d
ok "an honest one comes: the fetch goes on" until_true 20 fetch_is b "$id" "done"
ok "and is equal" cmp "$TMP/a/share/leaf.bin" "$TMP/b/share/leaf.bin"
finish
