#!/bin/bash
# SPDX-License-Identifier: MIT
#
# c02 - holders that die, hang or lie: the fetch goes on with the others, exactly.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

size=$((48 << 20))
line_new a $((16 << 20))
line_new b $((16 << 20))
seed=http://127.0.0.1:${LINE[a]}
peer_new a "network.advertise=$seed"
peer_new b "network.seed=$seed" "network.advertise=http://127.0.0.1:${LINE[b]}"
peer_new c "network.seed=$seed"
random_file $size "$TMP/a/share/data.bin"
cp "$TMP/a/share/data.bin" "$TMP/b/share/data.bin"
for peer in a b c; do peer_start $peer; done
holders_are() { [[ $(ctl c search --exact "$1" | cut -f3) == "$2" ]]; }
ok "two holders are known" until_true 20 holders_are data.bin 2

# The holder that bytes come from now, or most of them: everything goes through the lines.
out() { metric "$1" 'p2pd_bytes_total{wire="rest",direction="out"}'; }
busiest() {
	local had
	had=$(($(out a) - $(out b)))
	sleep 0.5
	(($(out a) - $(out b) > had)) && echo a || echo b
}

# --- one is killed ---
id=$(fetch_start c data.bin)
until_true 10 fetch_beyond c "$id" $((8 << 20))
busy=$(busiest)
ok "$busy is asked" fetch_is c "$id" moving
peer_kill "$busy"
ok "with it killed it is done by the other" until_true 20 fetch_is c "$id" "done"
ok "and is equal" cmp "$TMP/a/share/data.bin" "$TMP/c/share/data.bin"
ok "it is removed" ctl c rm data.bin
peer_start "$busy"
ok "both are here again" until_true 15 holders_are data.bin 2

# --- one hangs ---
id=$(fetch_start c data.bin)
until_true 10 fetch_beyond c "$id" $((8 << 20))
busy=$(busiest)
kill -STOP "${PID[$busy]}"
ok "with one that hangs it is done by the other" until_true 40 fetch_is c "$id" "done"
kill -CONT "${PID[$busy]}"
ok "and is equal" cmp "$TMP/a/share/data.bin" "$TMP/c/share/data.bin"
ok "it is removed" ctl c rm data.bin
ok "both are here again" until_true 15 holders_are data.bin 2

# --- all are gone, and one comes back ---
id=$(fetch_start c data.bin)
until_true 10 fetch_beyond c "$id" $((8 << 20))
peer_kill a
peer_kill b
ok "without holders it waits" until_true 20 fetch_is c "$id" waiting
ok "and says for what" grep -qi holder <(fetch_field c "$id" 12)
had=$(fetch_field c "$id" 3)
peer_start b
ok "with one back it goes on by itself" until_true 15 fetch_beyond c "$id" "$had"
ok "and is done" until_true 20 fetch_is c "$id" "done"
ok "and is equal" cmp "$TMP/b/share/data.bin" "$TMP/c/share/data.bin"
peer_start a

# --- a peer of another making ---
foreign() { # FILE NAME honest|lying
	foreign_port=$(free_port)
	python3 "$HERE/foreign_peer.py" "$foreign_port" "$(url c)" "$1" "$2" "$3" >"$TMP/foreign" 2>&1 &
	foreign_pid=$!
	HELPERS+=("$foreign_pid")
}
random_file $((5000001)) "$TMP/theirs"
foreign "$TMP/theirs" theirs.bin honest
ok "a foreign peer registers, and its file is listed" until_true 15 lists c theirs.bin
ok "by everybody" until_true 15 lists a theirs.bin
ok "and is fetched" ctl c fetch theirs.bin
ok "and is equal" cmp "$TMP/theirs" "$TMP/c/share/theirs.bin"
kill "$foreign_pid"
ok "and noticed to be gone" until_true 15 sees c foreign away

# --- one lies ---
random_file $size "$TMP/a/share/true.bin"
foreign "$TMP/a/share/true.bin" true.bin lying
ok "an honest and a lying holder are known" until_true 20 holders_are true.bin 2
# What the liar is asked for may be too little to be told: until it was asked.
asked() { grep -q 'GET /v1/contents/[0-9a-f]*?.* 206' "$TMP/foreign"; }
for _ in $(seq 12); do
	ok "the file is fetched" ctl c fetch true.bin
	ok "and is exact" cmp "$TMP/a/share/true.bin" "$TMP/c/share/true.bin"
	! asked || break
	ctl c rm true.bin
	until_true 10 holders_are true.bin 2
done
ok "the liar was asked" asked
liar=$(ctl c peers | grep "	http://127.0.0.1:$foreign_port	" | cut -f9)
ok "and is named in the log" log_has c "peer $liar sent bytes that are not those of the content"
ok "and was asked no more than a few times" test "$(grep -c 'GET /v1/contents/[0-9a-f]*?.* 206' "$TMP/foreign")" -le 8
ok "nothing bad is counted as verified" test "$(metric c 'p2pd_pieces_total{result="bad"}')" -ge 1

# --- only the liar ---
random_file $size "$TMP/lie"
kill "$foreign_pid"
foreign "$TMP/lie" lie.bin lying
until_true 15 lists c lie.bin
id=$(fetch_start c lie.bin)
ok "from a liar alone nothing comes" until_true 15 fetch_is c "$id" waiting
ok "nor gets a name" not test -e "$TMP/c/share/lie.bin"
cp "$TMP/lie" "$TMP/b/share/honest.bin"
ok "until an honest holder comes" until_true 40 fetch_is c "$id" "done"
ok "then it is exact" cmp "$TMP/lie" "$TMP/c/share/lie.bin"
finish
