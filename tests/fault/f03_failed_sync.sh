#!/bin/bash
# SPDX-License-Identifier: MIT
#
# f03 - a sync fails (EIO), once, when the kernel may already have forgotten the pages: what it should have made durable is
# verified again or moved again, never believed; the fetch ends exact and the log names the trouble.  Nor does a write or
# a read that fails do more harm.
#
# SYNC_POINTS=N: the first N syncs of a fetch (6).
# shellcheck disable=SC2016,SC2317 # eval expands late; functions are called by ok
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

points=${SYNC_POINTS:-6}
line_new a $((3 << 20))
seed=http://127.0.0.1:${LINE[a]}
peer_new a "network.advertise=$seed"
random_file $((4 << 20)) "$TMP/a/share/slow.bin"
random_file $((4 << 20)) "$TMP/a/share/quick.bin"
random_file 300000 "$TMP/put"
peer_start a
peer_new b "network.seed=$seed"
partial=$TMP/b/share/.p2pd-partial

start_b() { # FAULT...
	fault_plan b "$@"
	peer_start b
	until_true 10 eval 'lists b slow.bin && lists b quick.bin'
	fault_on b
}
ends_exact() { until_true 30 fetch_is b "$id" "done" && cmp "$TMP/a/share/$1" "$TMP/b/share/$1"; }
has_root() { [[ -n $(root_of b "$1") && $(root_of b "$1") == "$(root_of a "$1")" ]]; }
listed_exactly() { until_true 10 has_root "$1"; }
away() {
	fault_off b
	ctl b -q rm "$1"
	peer_stop b
}

# --- the periodic sync of a fetch under way: what it covered is read again ---
start_b calls=fdatasync "below=$partial" when do=EIO
id=$(fetch_start b slow.bin)
ok "a sync fails under way" until_true 10 faulted b
ok "the fetch says so" until_true 5 eval '[[ $(ctl b --json fetches "$id") == *"\"io\""* ]] || log_has b "sync the partial file"'
echo 0 >"$TMP/a/rate"
ok "it goes on and ends exact" ends_exact slow.bin
ok "the log names it" log_has b "waits: .*sync"
ok "the file is listed with its content" listed_exactly slow.bin
ok "nothing is left" until_true 5 nothing_partial b
away slow.bin

# --- every sync of a quick one, in turn ---
for ((n = 1; n <= points; n++)); do
	start_b calls=sync "below=$TMP/b/share" when nth=$n do=EIO
	id=$(fetch_start b quick.bin)
	ok "sync $n fails, the fetch ends exact" ends_exact quick.bin
	ok "sync $n: it is listed" listed_exactly quick.bin
	ok "sync $n: nothing is left" until_true 5 nothing_partial b
	hits=$(fault_count b)
	away quick.bin
	((hits > 0)) || break
done

# --- a sync of the catalog ---
for n in 1 2; do
	start_b calls=sync "below=$TMP/b/state" when nth=$n do=EIO
	id=$(fetch_start b quick.bin)
	ok "sync $n of the catalog fails, the fetch ends exact" ends_exact quick.bin
	ok "it is listed" listed_exactly quick.bin
	ok "the catalog is sound" catalog_is_sound b
	fault_off b
	ok "it stops" peer_stop b
	fault_plan b
	ok "and starts" peer_start b
	ok "it is still listed" listed_exactly quick.bin
	away quick.bin
done

# --- a put ---
for n in 1 2; do
	start_b calls=sync "below=$TMP/b/share" when nth=$n do=EIO
	if ctl b put "$TMP/put" --as "put-$n" 2>"$TMP/why"; then
		ok "put, sync $n fails: it was not told done" false
	else
		ok "put, sync $n fails: the reason is told" grep -qi 'sync\|i/o\|input/output' "$TMP/why"
	fi
	ok "nothing partial is left" until_true 5 nothing_partial b
	fault_off b
	ok "the same put again is taken" ctl b put "$TMP/put" --as "put-$n"
	ok "and is there" eval 'cmp "$TMP/put" "$TMP/b/share/put-$n" && until_true 10 lists b "put-$n"'
	peer_stop b
done

# --- writes and reads ---
start_b calls=pwrite "below=$partial" when nth=3 do=EIO
id=$(fetch_start b quick.bin)
ok "a write fails, the fetch ends exact" ends_exact quick.bin
ok "nothing is left" until_true 5 nothing_partial b
away quick.bin
start_b calls="read pread sendfile" "below=$TMP/b/share" when do=EIO
random_file 100000 "$TMP/b/share/own"
ok "a read fails while a file is hashed: it is met" until_true 10 faulted b
ok "the file is tried again, with the next scan if not before" eval 'ctl b reload; until_true 15 lists b own'
ok "and has its own content" eval 'rest b /v1/files/own | cmp - "$TMP/b/share/own"'
finish
