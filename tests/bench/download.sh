# shellcheck shell=bash
# SPDX-License-Identifier: MIT
#
# download - one Download over gRPC, as one stream to a C client that drops the bytes, against one stream of iperf3.

download_ours() {
	await_quiet
	FIGURE[download_ours]=$("$DISK/bin/grpc_client" download "${GRPC_PORT[a]}" one.bin "$ONE") || die "grpc_client"
}
download_iperf() {
	await_quiet
	FIGURE[download_iperf]=$(iperf3 -c 127.0.0.1 -p "$IPERF_PORT" -t 1 -J |
	    jq '.end.sum_received.bits_per_second / 8 / 1048576') || die "iperf3"
}

bench_download() {
	needs iperf3 jq
	room_for "$DISK" "$ONE"
	built_tool grpc_client
	peer_new a "$D/a"
	make_file "$ONE" "$D/a/share/one.bin"
	peer_start a
	IPERF_PORT=$(free_port)
	iperf3 -s --forceflush -p "$IPERF_PORT" >"$D/iperf" 2>&1 &
	HELPERS+=("$!")
	until_true 10 0.05 grep -q listening "$D/iperf"
	note_round() {
		sample download "$(calculate "$((ONE >> 20)) / ${FIGURE[download_ours]}")" "${FIGURE[download_iperf]}"
	}
	rounds download_ours download_iperf
	row download "gRPC Download of $((ONE >> 20)) MiB, dropped" "grpc_client" "iperf3, one stream" MiB/s ">=" 0.45 0.7
}
