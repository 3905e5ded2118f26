#!/bin/bash
# SPDX-License-Identifier: MIT
#
# c06 - those who fetch the same content help each other: a seed behind a slow line sends little more than one copy; what somebody has
# verified can be had from him before he has all, also when every whole holder is gone.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

size=$((24 << 20))
rate=$((6 << 20))
line_new a $rate
peer_new a "network.advertise=http://127.0.0.1:${LINE[a]}"
for peer in b c d; do peer_new $peer "network.seed=http://127.0.0.1:${LINE[a]}"; done
random_file $size "$TMP/a/share/data.bin"
for peer in a b c d; do peer_start $peer; done
for peer in b c d; do ok "$peer knows the file" until_true 20 lists $peer data.bin; done
for peer in b c d; do for other in b c d; do [[ $peer == "$other" ]] || until_true 20 sees $peer $other; done; done

# holder_field PEER NUMBER OF FIELD: what this peer's fetch knows of a holder.
holder_field() {
	ctl "$1" --json fetches "$2" | python3 -c 'import json, sys
for holder in json.load(sys.stdin)["holders"]:
    if holder["peer"] == sys.argv[1]: print(holder[sys.argv[2]])' "$(peer_id "$3")" "$4"
}
peer_id() { rest "$1" /v1/node | grep -o '"id": *"[a-z2-7]*"' | cut -d '"' -f 4; }

out() { metric "$1" 'p2pd_bytes_total{wire="rest",direction="out"}'; }

# --- all at once ---
declare -A ID=()
had=$(out a)
begin=$(now_us)
for peer in b c d; do ID[$peer]=$(fetch_start $peer data.bin); done
for peer in b c d; do
	ok "$peer has it" until_true 60 fetch_is $peer "${ID[$peer]}" "done"
	ok "and it is equal" cmp "$TMP/a/share/data.bin" "$TMP/$peer/share/data.bin"
done
took_ms=$((($(now_us) - begin) / 1000))
ok "the metrics tell pieces of b's that came from those who fetched it too" test "$(metric b 'p2pd_pieces_total{result="verified",holder="partial"}')" -gt 0
sent=$(($(out a) - had))
echo "# the seed sent $((100 * sent / size)) % of the file; the last was done after $took_ms ms, its line alone takes $((size * 1000 / rate)) ms"
# Who has all has received three copies in all; what the seed did not send, they gave to each other.
for peer in b c d; do
	gave=$(out $peer)
	echo "# $peer gave $((100 * gave / size)) % of the file to the others"
	ok "$peer gave pieces, too" test "$gave" -gt 0
done
ok "the seed sent less than two copies to the three" test $sent -lt $((2 * size))

# --- the seed goes while nobody has all ---
random_file $size "$TMP/a/share/more.bin"
for peer in b c d; do ok "$peer knows of another file" until_true 20 lists $peer more.bin; done
id=$(fetch_start b more.bin)
until_true 20 fetch_beyond b "$id" $((size / 3))
peer_kill a
ok "b has a part of it, and the only holder is gone" until_true 30 fetch_is b "$id" waiting
late=$(fetch_start c more.bin)
part=$(fetch_field b "$id" 3)
ok "c gets the layer and the part from b, whom no catalog names" until_true 40 fetch_beyond c "$late" $((part - 1))
ok "and waits for the rest" until_true 20 fetch_is c "$late" waiting
# b had asked c in vain, when all holders went; now c follows b.
holds_of_c() { (($(holder_field b "$id" c pieces) == $(holder_field c "$late" b pieces))); }
ok "b learns at once that c has it now" until_true 5 holds_of_c
root=$(ctl b search --exact more.bin | cut -f5)
ok "what b has not is not found there" test "$(rest_status b "/v1/contents/$root?size=$size")" = 404
peer_start a
ok "with the seed back b goes on" until_true 60 fetch_is b "$id" "done"
ok "and c" until_true 60 fetch_is c "$late" "done"
ok "b's is equal" cmp "$TMP/a/share/more.bin" "$TMP/b/share/more.bin"
ok "c's is equal" cmp "$TMP/a/share/more.bin" "$TMP/c/share/more.bin"
finish
