# shellcheck shell=bash
# SPDX-License-Identifier: MIT
#
# memory - the most that either side ever had resident (VmHWM) while a large file was fetched, by REST and by gRPC; and the holder
# with 32 gRPC clients that began to download and do not read.  New daemons a round.  The holder hashes the file first, so that
# counts too.

STARERS=32

peak_mib() { awk '/^VmHWM:/ { printf "%.1f\n", $2 / 1024 }' "/proc/${PID[$1]}/status"; }

memory_by() { # TRANSPORT
	sed -i "s/^transport = .*/transport = $1/" "$S/b/conf"
	rm -rf "$D/a/state" "$S/b/state"
	peer_start a
	peer_start b
	until_true 30 0.05 finds b big.bin
	ctl b -q fetch big.bin || die "p2pctl fetch"
	FIGURE[memory_a_$1]=$(peak_mib a)
	FIGURE[memory_b_$1]=$(peak_mib b)
	cmp "$D/a/share/big.bin" "$S/b/share/big.bin" || die "p2pd fetched something else"
	peer_stop b
	rm "$S/b/share/big.bin"
}
memory_rest() {
	memory_by rest
	peer_stop a
}
memory_grpc() {
	memory_by grpc
	peer_stop a
}
memory_stared() {
	local stare
	peer_start a
	coproc stare { "$DISK/bin/grpc_client" stare "${GRPC_PORT[a]}" big.bin "$STARERS"; }
	read -r -t 30 <&"${stare[0]}" || die "grpc_client stare"
	sleep 3 # whatever still fills up
	FIGURE[memory_stared]=$(peak_mib a)
	eval "exec ${stare[1]}>&-"
	wait "$stare_PID"
	peer_stop a
}

bench_memory() {
	room_for "$DISK" "$BIG"
	room_for "$SHM" "$BIG"
	built_tool grpc_client
	peer_new a "$D/a"
	peer_new b "$S/b" a
	make_file "$BIG" "$D/a/share/big.bin"
	note_round() {
		local key
		for key in "${!FIGURE[@]}"; do sample "$key" "${FIGURE[$key]}"; done
	}
	rounds memory_rest memory_grpc memory_stared
	row memory_b_rest "peak memory, fetching $((BIG >> 20)) MiB" "VmHWM of the fetching side" - MiB "<=" 48 24
	row memory_a_rest "peak memory, serving $((BIG >> 20)) MiB" "VmHWM of the holder" - MiB "<=" 48 24
	row memory_b_grpc "the same by gRPC, fetching" "VmHWM of the fetching side" - MiB "<=" 96 48
	row memory_a_grpc "the same by gRPC, serving" "VmHWM of the holder" - MiB "<=" 96 48
	row memory_stared "$STARERS gRPC readers that do not read" "VmHWM of the holder" - MiB "<=" 96 48
}
