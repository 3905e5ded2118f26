#!/bin/bash
# SPDX-License-Identifier: MIT
#
# c08 - kill -9 of any of four peers, at random moments, while three of them fetch one content from each other and from the one who
# has it: KILL_ROUNDS times (100), many a fetch, some while a daemon still starts.  The result is exact, no wrong byte is ever
# under the final name, and of the pieces that a killed one had on its disk none is fetched again, but for those that it was being sent.
# RANDOM_SEED repeats the choices.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

kills_wanted=${KILL_ROUNDS:-100}
RANDOM=${RANDOM_SEED:=$RANDOM}
echo "# RANDOM_SEED=$RANDOM_SEED"
size=$((24 << 20)) piece=65536
streams=24		# that somebody may be sent at once: 8 by each of the 3 others

line_new a $((5 << 20))
seed=http://127.0.0.1:${LINE[a]}
peer_new a "network.advertise=$seed"
for peer in b c d; do peer_new $peer "network.seed=$seed"; done
for peer in a b c d; do peer_start $peer; done
for peer in b c d; do ok "$peer knows a" until_true 20 eval '[[ $(ctl $peer peers | wc -l) -ge 3 ]]'; done

# Whatever is under a final name, at any moment, is the whole and right file.
cat >"$TMP/watcher" <<'END'
declare -A checked=()
while sleep 0.02; do
	for copy in "$1"/[bcd]/share/*.bin; do
		which=$(stat -c '%i %z' "$copy" 2>/dev/null) || continue
		[[ $which != "${checked[$copy]-}" ]] || continue
		if cmp -s "$1/a/share/${copy##*/}" "$copy"; then checked[$copy]=$which; elif [[ -e $copy ]]; then echo "$copy" >>"$1/wrong"; fi
	done
done
END
bash "$TMP/watcher" "$TMP" 2>/dev/null &
HELPERS+=("$!")

declare -A ID=()
kills=0 wasted=0
answers() { ctl "$1" status; }
# Bytes that are proven; nothing if it does not tell.
proven() { fetch_field "$1" "${ID[$1]}" 3 2>/dev/null; }
has_it() { [[ -e $TMP/$1/share/$file ]]; }
all_have_it() { has_it b && has_it c && has_it d; }

received() { metric "$1" 'p2pd_bytes_total{wire="rest",direction="in"}' 2>/dev/null; }
# Bytes of whole pieces that lie on its disk, and are right.
on_disk() {
	python3 - "$TMP/a/share/$file" $piece "$TMP/$1/share/.p2pd-partial/"*.data <<'END'
import os, sys
right = 0
if os.path.exists(sys.argv[3]):
    with open(sys.argv[1], "rb") as whole, open(sys.argv[3], "rb") as part:
        while piece := whole.read(int(sys.argv[2])):
            right += len(piece) * (part.read(len(piece)) == piece)
print(right)
END
}

# The peer goes, and comes back; one in four is killed again before it may have come up.
kill_one() {
	local victim=$1 told='' in_vain there=0
	[[ $victim == a ]] || told=$(proven "$victim")
	in_vain=$(metric "$victim" p2pd_wasted_bytes_total 2>/dev/null)
	peer_kill "$victim"
	if [[ $victim != a ]] && ! has_it "$victim"; then
		there=$(on_disk "$victim")
		((${told:-0} <= there)) || { echo "$victim told of $told bytes, and has $there"; return 1; }
	fi
	kills=$((kills + 1)) wasted=$((wasted + ${in_vain:-0}))
	((RANDOM % 4)) || sleep 0.$((RANDOM % 4))
	peer_spawn "$victim"
	((RANDOM % 4)) || return 0
	until_true 10 answers "$victim" || return
	((there == 0)) || note_lost "$victim" "$there"
}
# What lay on its disk, less what it takes up: that is what it has as soon as it tells, without what came since.  The two are
# asked one after the other, in the order that notes too much rather than too little; once more if much came in between.
note_lost() {
	local victim=$1 there=$2 before now came lost
	until_true 10 goes_on "$victim" || { echo "$victim does not go on"; return 1; }
	for _ in 1 2 3 4 5 6 7 8 9; do
		before=$(received "$victim") now=$(proven "$victim") came=$(received "$victim")
		[[ -n $now && -n $before && -n $came ]] || return 0 # it has all
		((came - before > 4 * piece)) || break
	done
	lost=$((there - (now - came)))
	echo $((lost > 0 ? lost : 0)) >>"$TMP/lost"
}
goes_on() { [[ $(proven "$1") == [1-9]* ]] || has_it "$1"; }

one_fetch() {
	local peer victims=(a b c d)
	file=file-$1.bin
	random_file $size "$TMP/a/share/$file"
	for peer in b c d; do until_true 30 lists $peer "$file" || return; done
	for peer in b c d; do
		ID[$peer]=$(fetch_start $peer "$file")
		is_same "${ID[$peer]:+started}" started || return
	done
	until all_have_it; do
		((kills < kills_wanted)) || break
		sleep 0.$((RANDOM % 3))$((RANDOM % 10))
		kill_one "${victims[RANDOM % 4]}" || return
	done
	until_true 90 all_have_it || { for peer in b c d; do ctl $peer fetches "${ID[$peer]}"; done; return 1; }
	for peer in b c d; do cmp "$TMP/a/share/$file" "$TMP/$peer/share/$file" || return; done
	for peer in a b c d; do until_true 20 ready $peer || return; done
	for peer in b c d; do
		until_true 10 eval '[[ -z $(find "$TMP/$peer/share/.p2pd-partial" -type f) ]]' || { ls "$TMP/$peer/share/.p2pd-partial"; return 1; }
	done
	rm "$TMP"/[bcd]/share/"$file"
}

begin=$(now_us)
for ((round = 1; kills < kills_wanted; round++)); do
	had=$kills
	ok "fetch $round" one_fetch $round
	echo "# $((kills - had)) kills; $(($(now_us) / 1000 - begin / 1000)) ms since the first"
	((failed == 0)) || break
done
for peer in b c d; do wasted=$((wasted + $(metric $peer p2pd_wasted_bytes_total))); done
sort -n "$TMP/lost" | awk -v piece=$piece '{ all[NR] = $1 / piece } END {
	printf "# pieces that were there and are fetched again, or under way, of %d kills of those who fetch: median %.1f, most %.1f\n", NR, all[int((NR + 1) / 2)], all[NR] }'
echo "# received in vain: $wasted bytes, $((wasted / piece)) pieces in $kills kills"
ok "of what a killed one had, no more is fetched again than a piece of each stream" \
    test "$(sort -n "$TMP/lost" | tail -n 1)" -le $((streams * piece))
ok "and what others were being sent by a killed one is lost for a piece of each stream" test $wasted -le $((kills * streams * piece))
ok "no wrong byte was ever under a final name" not test -e "$TMP/wrong"
echo other >"$TMP/b/share/$file"
ok "(it would have been seen)" until_true 5 test -e "$TMP/wrong"
finish
