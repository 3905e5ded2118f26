# shellcheck shell=bash
# SPDX-License-Identifier: MIT
#
# memory - the most that either side ever had resident (VmHWM) while a large file was fetched; new daemons a round.
# The holder hashes the file first, so that counts too.

peak_mib() { awk '/^VmHWM:/ { printf "%.1f\n", $2 / 1024 }' "/proc/${PID[$1]}/status"; }

memory_ours() {
	rm -rf "$D/a/state" "$S/b/state"
	peer_start a
	peer_start b
	until_true 30 0.05 finds b big.bin
	ctl b -q fetch big.bin || die "p2pctl fetch"
	FIGURE[memory_a]=$(peak_mib a)
	FIGURE[memory_b]=$(peak_mib b)
	cmp "$D/a/share/big.bin" "$S/b/share/big.bin" || die "p2pd fetched something else"
	peer_stop b
	peer_stop a
	rm "$S/b/share/big.bin"
}

bench_memory() {
	room_for "$DISK" "$BIG"
	room_for "$SHM" "$BIG"
	peer_new a "$D/a"
	peer_new b "$S/b" a
	make_file "$BIG" "$D/a/share/big.bin"
	note_round() {
		sample memory_a "${FIGURE[memory_a]}"
		sample memory_b "${FIGURE[memory_b]}"
	}
	rounds memory_ours
	row memory_b "peak memory, fetching $((BIG >> 20)) MiB" "VmHWM of the fetching side" - MiB "<=" 48 24
	row memory_a "peak memory, serving $((BIG >> 20)) MiB" "VmHWM of the holder" - MiB "<=" 48 24
}
