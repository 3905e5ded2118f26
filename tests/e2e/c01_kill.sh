#!/bin/bash
# SPDX-License-Identifier: MIT
#
# c01 - kill -9 of the fetching peer or the holder at random moments of a fetch, KILL_ROUNDS times: nothing proven is lost, no
# wrong byte is ever under the final name, and the fetch goes on by itself.  RANDOM_SEED repeats a run.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

rounds=${KILL_ROUNDS:-10}
RANDOM=${RANDOM_SEED:=$RANDOM}
echo "# RANDOM_SEED=$RANDOM_SEED"
size=$((64 << 20))

line_new a $((16 << 20))
seed=http://127.0.0.1:${LINE[a]}
peer_new a "network.advertise=$seed"
peer_new b "network.seed=$seed"
random_file $size "$TMP/a/share/original.bin"
peer_start a
peer_start b
until_true 20 lists b original.bin

# Whatever is under the final name, at any moment, is the whole and right file.
cat >"$TMP/watcher" <<'END'
while sleep 0.02; do
	which=$(stat -c '%i %z' "$2" 2>/dev/null) || continue
	[[ $which != "$checked" ]] || continue
	if cmp -s "$1" "$2"; then checked=$which; elif [[ -e $2 ]]; then echo wrong >>"$3"; fi
done
END
bash "$TMP/watcher" "$TMP/a/share/original.bin" "$TMP/b/share/original.bin" "$TMP/wrong" 2>/dev/null &
HELPERS+=("$!")

done_bytes() { fetch_field b "$id" 3 2>/dev/null; }

# So many seconds of watching how far it is; answers what was reported 2 s before the end (0 if it took less).
watch_for() {
	local end=$(($(now_us) + $1 * 1000)) at reported=()
	while at=$(now_us); ((at < end)); do
		reported+=("$at $(done_bytes)")
		sleep 0.1
	done
	printf '%s\n' "0 0" "${reported[@]}" | awk -v t="$(($(now_us) - 2000000))" 'NF == 2 && $1 <= t { n = $2 } END { print n + 0 }'
}

# A fetch that had ended is not remembered over a restart: then the file is there.
over() { fetch_is b "$id" "done" || { [[ -z $(done_bytes) ]] && ctl b status && [[ -e $TMP/b/share/original.bin ]]; }; }
kept() { over || fetch_beyond b "$id" "$1"; }

one_round() {
	local victim proven after
	victim=$( ((RANDOM % 3)) && echo b || echo a) # b fetches, a holds
	id=$(fetch_start b original.bin)
	is_same "${id:+started}" started || return
	proven=$(watch_for $((RANDOM % 4000)))
	peer_kill "$victim"
	sleep 0.$((RANDOM % 4))
	peer_start "$victim" >/dev/null || return
	until_true 10 kept $((proven - 1)) || { echo "$proven bytes were proven"; return 1; }
	after=$(done_bytes)
	until_true 60 over || { echo "not done: $(ctl b fetches "$id")"; return 1; }
	cmp "$TMP/a/share/original.bin" "$TMP/b/share/original.bin" || return
	until_true 5 eval '[[ -z $(find "$TMP/b/share/.p2pd-partial" -type f) ]]' ||
	    { echo "left behind: $(ls "$TMP/b/share/.p2pd-partial")"; return 1; }
	echo "# killed $victim; $proven of $size proven before, ${after:-all} after" >>"$TMP/rounds"
}

for round in $(seq "$rounds"); do
	ok "round $round" one_round
	tail -n 1 "$TMP/rounds"
	((failed == 0)) || break
	ok "and the file is removed" ctl b rm original.bin
done

# --- to a place of the user's ---
"$P2PCTL" -s "$TMP/b/sock" fetch original.bin -o "$TMP/mine.bin" 2>/dev/null &
client=$! got=0
until_true 10 eval 'ctl b fetches | grep -qP "^\d+\tmoving\t[3-9]\d{7}\t"'
peer_kill b
wait $client || got=$?
is "p2pctl says with 3 that the daemon is gone" "$got" 3
peer_start b
ok "there is no final name" not test -e "$TMP/mine.bin"
ok "the same command goes on" ctl b fetch original.bin -o "$TMP/mine.bin"
ok "exactly" cmp "$TMP/a/share/original.bin" "$TMP/mine.bin"
ok "and what was proven was not fetched again" test "$(metric b 'p2pd_bytes_total{wire="rest",direction="in"}')" -lt $((size - 8000000))

# --- puts ---
for i in 1 2 3; do
	random_file 300000 "$TMP/put"
	ctl b -q put "$TMP/put" --as "put-$i"
	peer_kill b
	peer_start b
	ok "a put that was answered survives a kill" eval 'lists b "put-$i" && cmp "$TMP/put" "$TMP/b/share/put-$i"'
done
ctl b put "$TMP/a/share/original.bin" --as half.bin 2>/dev/null &
until_true 5 eval '[[ -n $(find "$TMP/b/share/.p2pd-partial" -name "upload-*" -size +1M) ]]'
peer_kill b
wait $!
ok "half a put has no name, or was whole" eval '[[ ! -e $TMP/b/share/half.bin ]] || cmp "$TMP/a/share/original.bin" "$TMP/b/share/half.bin"'
peer_start b
ok "and is cleaned away" test -z "$(find "$TMP/b/share/.p2pd-partial" -type f)"

# A kill while the verified file gets its name is rare by chance: many small files make many such moments.
for i in $(seq 400); do random_file 20000 "$TMP/a/share/small/$i"; done
echo 0 >"$TMP/a/rate"
until_true 20 eval '(($(ctl b ls small | wc -l) == 400))'
ctl b -q fetch -d small
for _ in 1 2 3; do
	sleep 0.$((RANDOM % 3))$((RANDOM % 10))
	peer_kill b
	ok "no file of a tree is half there" not grep -q differ <(diff -rq "$TMP/a/share/small" "$TMP/b/share/small" 2>&1)
	peer_start b
done
ok "the tree is fetched in the end" until_true 30 diff -rq "$TMP/a/share/small" "$TMP/b/share/small"
ok "and its files are listed" until_true 10 eval '(($(ctl b ls --local small | wc -l) == 400))'
ok "no wrong byte was ever under a final name" not test -e "$TMP/wrong"
echo other >"$TMP/b/share/original.bin"
ok "(it would have been seen)" until_true 5 test -e "$TMP/wrong"
finish
