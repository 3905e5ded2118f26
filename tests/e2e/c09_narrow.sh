#!/bin/bash
# SPDX-License-Identifier: MIT
#
# c09 - a piece that came wrong is narrowed to its leaves: what is right of it stays, whoever sent the wrong leaf is named, and
# nobody else is, whether the piece came from one or from several.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

leaf=16384 size=$(((64 << 20) + 44444)) # pieces of 128 KiB: 8 leaves, of the last 3
line_new a $((24 << 20))
seed=http://127.0.0.1:${LINE[a]}
peer_new a "network.advertise=$seed"
peer_new b "network.seed=$seed" node.log=debug
random_file $size "$TMP/a/share/data.bin"
peer_start a
peer_start b

FOREIGN=()
# foreign NAME MOOD...: what it is asked is in $TMP/NAME, its peer id in $id.
foreign() {
	local port
	port=$(free_port)
	python3 "$HERE/foreign_peer.py" "$port" "$(url b)" "$TMP/a/share/data.bin" data.bin "${@:2}" >"$TMP/$1" 2>&1 &
	FOREIGN+=("$!")
	HELPERS+=("$!")
	until_true 15 bash -c ": <>/dev/tcp/127.0.0.1/$port"
	ok "$1 is known" until_true 20 is_holder "$port"
	id=$(ctl b peers | grep "	http://127.0.0.1:$port	" | cut -f9)
}
is_holder() { ctl b peers | grep -q "	here	.*	http://127.0.0.1:$1	" && holders_are $((1 + ${#FOREIGN[@]})); }
holders_are() { [[ $(ctl b search --exact data.bin | cut -f3) == "$1" ]]; }
ranges() { grep -c 'GET /v1/contents/[0-9a-f]*?.* 206' "$TMP/$1"; }
wasted() { metric b p2pd_wasted_bytes_total; }
bad() { metric b 'p2pd_pieces_total{result="bad"}'; }
liars() { grep -o 'peer [a-z0-9]* sent bytes that are not those of the content' "$TMP/b/log" | cut -d' ' -f2 | sort -u; }
# fetched WHAT FOREIGN: again and again, until that one was asked.
fetched() {
	local _
	for _ in $(seq 12); do
		ok "$1: the file is fetched" timeout $((60 * FACTOR)) "$P2PCTL" -s "$TMP/b/sock" -q fetch data.bin
		ok "$1: and is exact" cmp "$TMP/a/share/data.bin" "$TMP/b/share/data.bin"
		ctl b -q rm data.bin
		until_true 10 holders_are $((1 + ${#FOREIGN[@]}))
		[[ $(ranges "$2") == 0 ]] || break
	done
	ok "$1: $2 was asked" test "$(ranges "$2")" -gt 0
}
# The next scenario finds the peer as it was: nothing is remembered of liars.
anew() {
	kill "${FOREIGN[@]}"
	peer_stop b
	rm -rf "$TMP/b/state"
	FOREIGN=()
	peer_start b
	ok "b knows the file" until_true 20 holders_are 1
}

ok "b knows the file" until_true 20 holders_are 1
foreign one lying
liar=$id
fetched "one bit is wrong" one
is "the liar is named" "$(liars)" "$liar"
echo "# $(bad) bad pieces, $(ranges one) ranges of the liar, $(wasted) bytes wasted"
ok "a wrong bit costs a leaf" test "$(wasted)" -le $((leaf * $(ranges one)))
ok "and something was wasted" test "$(wasted)" -ge $leaf
ok "of each bad piece the leaves were asked for" log_has b '1 of [38] leaves of piece [0-9]* are wrong: 16384 bytes'

anew
foreign both lying halting
liar=$id
fetched "two sent parts of a piece" both
is "just the one who lied is named" "$(liars)" "$liar"
ok "by its leaf" log_has b "peer $liar sent bytes that are not those of the content: 1 of [38] leaves of piece"
echo "# $(bad) bad pieces, $(wasted) bytes wasted"
ok "and the honest one goes on to be asked" fetched "again" both

anew
foreign prover misproving
false=$id
foreign third lying
liar=$id
for _ in $(seq 12); do
	fetched "somebody tells wrong leaves" third
	! grep -q 'count=' "$TMP/prover" || break
	anew
	foreign prover misproving
	false=$id
	foreign third lying
	liar=$id
done
ok "who tells wrong leaves is named" log_has b "peer $false answered leaves that do not fit their piece"
is "who lied, too" "$(liars)" "$liar"

# --- nobody knows the question ---
anew
peer_kill a
foreign old older
foreign last lying halting
fetched "without proofs" last
ok "nobody innocent is named" test -z "$(liars | grep -v "$id")"
finish
