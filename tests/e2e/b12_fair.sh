#!/bin/bash
# SPDX-License-Identifier: MIT
#
# b12 - no requester starves: under a limit peers share evenly, however many connections or streams each has, and without one the first
# byte comes at once while a crowd is served.  Peers are told apart by address, so each downloads from one of 127/8.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

MIB=$((1024 * 1024))
CROWD=60
python=/usr/bin/python3 # the one that Debian's packages are for
grpc_new a
peer_new a
random_file $((64 * MIB)) "$TMP/a/share/big"
random_file $((4 * MIB)) "$TMP/a/share/small"
peer_start a
url=$(url a)/v1/files

# took COMMAND...: milliseconds
took() {
	local begin
	begin=$(now_us)
	"$@" >"$TMP/took" 2>&1 || { cat "$TMP/took"; return 1; }
	echo $((($(now_us) - begin) / 1000))
}
one() { curl -sSf --noproxy '*' -m $((60 * FACTOR)) --interface 127.0.0.3 "$url/small" -o "$TMP/small" "$@"; }

# crowd WIRE: $CROWD downloads of the big file at once, each begun anew when it is done, from an address of their own; ready when the first
# has bytes of each.
crowd() {
	rm -f "$TMP/crowded"
	if [[ $1 == rest ]]; then
		"$python" "$HERE/crowd.py" rest "${PORT[a]}" $CROWD "$TMP/crowded" 2>"$TMP/crowd.log" &
	else
		"$python" "$HERE/crowd.py" grpc "${GRPC_PORT[a]}" $CROWD "$TMP/crowded" "$TMP" 2>"$TMP/crowd.log" &
	fi
	crowd=$!
	HELPERS+=("$crowd")
	ok "a crowd of $CROWD is served over $1" until_true 60 test -e "$TMP/crowded"
}
crowd_ends() {
	kill "$crowd"
	wait "$crowd" 2>/dev/null
}

# The 4 MiB are due after 2 s, of 4 MiB/s for two; with one share a stream it would take a minute.
under_a_limit() { # WIRE
	ok "a may send 4 MiB/s" ctl a limit upload 4M
	crowd "$1"
	ms=$(took one)
	echo "# one of $((CROWD + 1)) streams, but of two peers: 4 MiB at 4 MiB/s took $ms ms"
	ok "whoever has one stream gets half of it" test "$ms" -lt $((6000 * FACTOR))
	ok "and the right bytes" cmp "$TMP/small" "$TMP/a/share/small"
	first=$(one -w '%{time_total}' -r 0-0)
	ok "one byte comes at once ($first s)" soon "$first"
	crowd_ends
}

# Seconds until a stream of its own connection has a byte.
first_by_grpc() {
	"$python" - "$TMP" "${GRPC_PORT[a]}" <<'END'
import sys, time
sys.path.insert(0, sys.argv[1])
import grpc, p2p_pb2 as pb, p2p_pb2_grpc as stubs
files = stubs.FilesStub(grpc.insecure_channel("127.0.0.1:" + sys.argv[2], options=[("grpc.use_local_subchannel_pool", 1)]))
begin = time.monotonic()
for message in files.Download(pb.DownloadRequest(file=pb.FileSpec(name="small"), length=1), timeout=60):
    if message.data:
        print(time.monotonic() - begin)
END
}
soon() { "$python" -c "import sys; sys.exit(not float('$1') < 1.0 * $FACTOR)"; }

without_a_limit() { # WIRE
	ok "a may send whatever it can" ctl a limit upload 0
	crowd "$1"
	for _ in 1 2 3; do
		first=$(one -w '%{time_total}' -r 0-0)
		ok "without a limit the first byte comes at once ($first s)" soon "$first"
		[[ $1 == grpc ]] || continue
		first=$(first_by_grpc)
		ok "and that of another's stream ($first s)" soon "$first"
	done
	ok "and p2pctl is answered" test "$(took ctl a status)" -lt $((1000 * FACTOR))
	crowd_ends
}

under_a_limit rest
without_a_limit rest
if $python -c 'import grpc, grpc_tools.protoc' 2>/dev/null; then
	$python -m grpc_tools.protoc -I "$HERE/../../proto" --python_out="$TMP" --grpc_python_out="$TMP" p2p.proto
	under_a_limit grpc
	without_a_limit grpc
else
	skip "python3-grpcio or python3-grpc-tools is missing"
fi
finish
