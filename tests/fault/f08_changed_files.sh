#!/bin/bash
# SPDX-License-Identifier: MIT
#
# f08 - files that change behind the daemon's back: one that is served is rewritten, cut or replaced; the files of an
# unfinished fetch are damaged while the daemon is down, proven bytes among them; the final name is taken meanwhile.  No
# wrong byte ever gets a name.
# shellcheck disable=SC2016,SC2317 # eval expands late; functions are called by ok
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

size=$((6 << 20))
line_new a $((3 << 20))
seed=http://127.0.0.1:${LINE[a]}
peer_new a "network.advertise=$seed"
peer_new b "network.seed=$seed"
mkdir "$TMP/kept"
random_file "$size" "$TMP/kept/file.bin"
cp "$TMP/kept/file.bin" "$TMP/a/share/file.bin"
cp "$TMP/kept/file.bin" "$TMP/a/share/twin.bin" # a second name does not help: it is changed as well
peer_start a
peer_start b
until_true 10 lists b file.bin
root=$(root_of a file.bin)
final=$TMP/b/share/file.bin
partial=$TMP/b/share/.p2pd-partial

# b knows a's file, as it was at first.
knows() { [[ $(ctl b search --exact file.bin | cut -f5) == "$root" ]]; }
begin() {
	until_true 15 knows
	echo $((3 << 20)) >"$TMP/a/rate"
	id=$(fetch_start b file.bin)
	until_true 10 fetch_beyond b "$id" $((1 << 20))
}
full_speed() { echo 0 >"$TMP/a/rate"; }
ends_exact() { until_true 30 fetch_is b "$id" "done" && cmp "$TMP/kept/file.bin" "$final"; }
again() {
	ctl b -q rm file.bin
	until_true 5 nothing_partial b
}

# --- the file that is served ---
rewrite() { for name in file twin; do head -c "$size" /dev/urandom >"$TMP/a/share/$name.bin"; done; }
cut_off() { for name in file twin; do truncate -s $((size / 3)) "$TMP/a/share/$name.bin"; done; }
put_in_place() {
	for name in file twin; do
		head -c "$size" /dev/urandom >"$TMP/new"
		mv "$TMP/new" "$TMP/a/share/$name.bin"
	done
}
restore() {
	cp "$TMP/kept/file.bin" "$TMP/a/share/file.bin"
	cp "$TMP/kept/file.bin" "$TMP/a/share/twin.bin"
}
right_or_nothing() { [[ ! -e $final ]] || cmp "$TMP/kept/file.bin" "$final"; }
for change in rewrite cut_off put_in_place; do
	ok "$change: a fetch is under way" begin
	$change
	full_speed
	sleep 1
	ok "$change: no wrong byte has the name" right_or_nothing
	ok "$change: both live" eval 'ctl a status && ctl b status'
	restore
	# Who sent wrong bytes, be it in good faith, is not asked again soon: then the fetch is begun anew.
	if ! (until_true 5 fetch_is b "$id" "done"); then
		ctl b -q cancel "$id"
		until_true 15 knows
		id=$(fetch_start b file.bin)
	fi
	ok "$change: with the file back it ends exact" ends_exact
	again
done

# --- the files of an unfinished fetch ---
have() { find "$partial" -name '*.have'; }
data() { find "$partial" -name '*.data'; }
garbage_have() { head -c 4096 /dev/urandom >"$(have)"; }
empty_have() { : >"$(have)"; }
half_have() { truncate -s $(($(stat -c %s "$(have)") / 2)) "$(have)"; }
huge_have() { truncate -s 1G "$(have)"; }
all_ones() { printf '\xff\xff\xff\xff\xff\xff\xff\xff' | dd of="$(have)" bs=1 seek=$(($(stat -c %s "$(have)") / 2)) conv=notrunc status=none; }
no_have() { rm "$(have)"; }
no_data() { rm "$(data)"; }
# In every piece, so that a proven one is hit.
bad_data() {
	for ((at = 20000; at < size; at += 65536)); do
		printf 'wrong' | dd of="$(data)" bs=1 seek="$at" conv=notrunc status=none
	done
}
bad_in_secret() {
	touch -r "$(data)" "$TMP/time"
	bad_data
	touch -r "$TMP/time" "$(data)"
}
short_data() { truncate -s 100000 "$(data)"; }
for damage in garbage_have empty_have half_have huge_have all_ones no_have no_data short_data bad_data bad_in_secret; do
	begin
	ok "$damage: it stops under way" peer_stop b
	$damage
	ok "$damage: it starts" peer_start b
	full_speed
	ok "$damage: the fetch ends exact" ends_exact
	again
done

# --- the name is taken meanwhile; the same is asked twice ---
begin
is "the same fetch twice is one" "$(fetch_start b file.bin)" "$id"
echo mine >"$final"
full_speed
ok "the name is taken: the fetch ends" until_true 20 eval 'fetch_is b "$id" failed'
is "it was not overwritten" "$(cat "$final")" mine
ok "and nothing is left" until_true 5 nothing_partial b
finish
