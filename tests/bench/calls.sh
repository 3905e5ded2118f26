# shellcheck shell=bash
# SPDX-License-Identifier: MIT
#
# calls - unary gRPC calls: Stat of one file of a hundred, 64 outstanding, by one C client; against a Python server that answers
# the same from memory.

calls_by() { # NAME PORT
	await_quiet
	FIGURE[$1]=$("$DISK/bin/grpc_client" stat "$2" one.bin 3) || die "grpc_client"
}
calls_ours() { calls_by calls_ours "${GRPC_PORT[a]}"; }
calls_python() { calls_by calls_python "$PYTHON_PORT"; }
python_is_up() { read -r PYTHON_PORT <"$D/python"; }

bench_calls() {
	local i
	/usr/bin/python3 -c 'import grpc, grpc_tools' 2>/dev/null || skip_bench "python3-grpcio or python3-grpc-tools is missing"
	built_tool grpc_client
	peer_new a "$D/a"
	for ((i = 0; i < 99; i++)); do make_file 4096 "$D/a/share/file$i"; done
	make_file 4096 "$D/a/share/one.bin"
	peer_start a
	PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 "$HERE/stat_server.py" "$HERE/../../proto/p2p.proto" >"$D/python" &
	HELPERS+=("$!")
	until_true 30 0.1 python_is_up
	note_round() { sample calls "${FIGURE[calls_ours]}" "${FIGURE[calls_python]}"; }
	rounds calls_ours calls_python
	row calls "gRPC Stat, 64 outstanding" "p2pd" "Python grpcio" calls/s ">=" 8 20
}
