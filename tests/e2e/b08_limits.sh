#!/bin/bash
# SPDX-License-Identifier: MIT
#
# b08 - limits of bandwidth: up and down, in all and per peer, over both wires, changed at run time.
#
# That nobody is faster than a limit allows is judged strictly (15 %, after the burst); that nobody is much slower
# loosely, for the machine may be busy.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

MIB=$((1024 * 1024))
RATE=$((4 * MIB))
grpc_new a
grpc_new b
peer_new a
peer_new b "network.seed=$(url a)"
peer_new c "network.seed=$(url a)"
for name in rest grpc down-rest down-grpc curl each-b each-c change put gateway; do random_file $((12 * MIB)) "$TMP/a/share/$name"; done
peer_start a
peer_start b
peer_start c
ok "b sees a" until_true 10 sees b a
ok "c sees a" until_true 10 sees c a
ok "b has the catalog" until_true 10 lists b put
ok "c has the catalog" until_true 10 lists c put

# took COMMAND...: milliseconds
took() {
	local begin
	begin=$(now_us)
	"$@" >"$TMP/took" 2>&1 || { cat "$TMP/took"; return 1; }
	echo $((($(now_us) - begin) / 1000))
}
# paced BYTES RATE MS: so many bytes took as long as they should.
paced() {
	local due=$(($1 * 1000 / $2))
	echo "took $3 ms, due are $due"
	echo "# $1 bytes at $2: $3 ms, due are $due" >&3
	(($3 >= (due - 100) * 85 / 100 && $3 <= due * 2 * FACTOR + 2000))
}
by() { # PEER WIRE [KEY=VALUE ...]
	peer_new "$1" "network.seed=$(url a)" "network.transport=$2" "${@:3}"
	ctl "$1" reload
}
same() { cmp "$TMP/a/share/$1" "$TMP/$2/share/$1"; }
unlimited() { (($(took "$@") < 2000 * FACTOR)); }

is "at first there are no limits" "$(ctl a limit | cut -f2 | sort -u)" 0

# --- up ---

ok "a may send 4 MiB/s" ctl a limit upload 4M
is "as limit says" "$(ctl a limit | head -n 1)" "upload	$RATE"
for wire in rest grpc; do
	by b "$wire"
	ok "over $wire a fetch is that fast" paced $((12 * MIB)) $RATE "$(took ctl b fetch "$wire")"
	is "and came so" "$(ctl b fetches | awk -F '\t' -v name="$wire" '$11 == name { print $13 }')" "$wire"
	ok "and right" same "$wire" b
done
ok "so is a download by curl" paced $((12 * MIB)) $RATE "$(took rest a /v1/files/curl -o "$TMP/curl")"
ok "and it is right" cmp "$TMP/curl" "$TMP/a/share/curl"
ok "so is the part of a file" paced $((4 * MIB)) $RATE "$(took rest a /v1/files/curl -r $MIB-$((5 * MIB - 1)) -o "$TMP/part")"
ok "and it is right too" cmp -i 0:$MIB -n $((4 * MIB)) "$TMP/part" "$TMP/a/share/curl"

rest a /v1/files/curl -o /dev/null &
waiting=$!
ok "meanwhile p2pctl is answered at once" unlimited ctl a status
ok "and REST" unlimited rest a /v1/node
ok "and catalogs" unlimited ctl b search gateway
kill -0 "$waiting" 2>/dev/null
is "that download is under way still" $? 0
ok "0 lifts the limit" ctl a limit upload 0
begin=$(now_us)
wait "$waiting"
ok "and what was under way is soon over" test $((($(now_us) - begin) / 1000)) -lt $((1500 * FACTOR))
ok "without a limit it is fast" unlimited rest a /v1/files/curl -o /dev/null

# --- each ---

ok "a may send each address 2 MiB/s" ctl a limit upload-per-peer 2M
ok "a download is that fast" paced $((4 * MIB)) $((2 * MIB)) "$(took rest a /v1/files/curl -r 0-$((4 * MIB - 1)) -o /dev/null)"
rest a /v1/files/curl -r 0-$((4 * MIB - 1)) -o /dev/null --interface 127.0.0.2 &
other=$!
alone=$(took rest a /v1/files/curl -r 0-$((4 * MIB - 1)) -o /dev/null)
wait "$other"
ok "whatever another address takes" paced $((4 * MIB)) $((2 * MIB)) "$alone"
begin=$(now_us)
rest a /v1/files/curl -r 0-$((4 * MIB - 1)) -o /dev/null &
other=$!
rest a /v1/files/curl -r 0-$((4 * MIB - 1)) -o /dev/null
wait "$other"
ok "two of one address share it" paced $((8 * MIB)) $((2 * MIB)) $((($(now_us) - begin) / 1000))
ok "that goes too" ctl a limit upload-per-peer 0

# --- down ---

for wire in rest grpc; do
	by b "$wire" network.download_limit=4M
	ok "over $wire b receives no faster than its configuration says" \
		paced $((12 * MIB)) $RATE "$(took ctl b fetch "down-$wire")"
	ok "and gets the right bytes" same "down-$wire" b
done
ok "an upload to b is that fast" paced $((12 * MIB)) $RATE "$(took rest b /v1/files/by-put -T "$TMP/a/share/put")"
ok "and right" cmp "$TMP/a/share/put" "$TMP/b/share/by-put"
upload_by_grpc() {
	"$python" -m grpc_tools.protoc -I "$HERE/../../proto" --python_out="$TMP" --grpc_python_out="$TMP" p2p.proto &&
		"$python" - "$TMP" "${GRPC_PORT[b]}" "$TMP/a/share/put" <<'END'
import sys, time
sys.path.insert(0, sys.argv[1])
import grpc, p2p_pb2 as pb, p2p_pb2_grpc as stubs
data = open(sys.argv[3], "rb").read()
def parts():
    yield pb.UploadRequest(header=pb.UploadHeader(name="by-grpc"))
    for at in range(0, len(data), 1 << 18):
        yield pb.UploadRequest(data=data[at:at + (1 << 18)])
    yield pb.UploadRequest(is_last=True)
begin = time.monotonic()
stubs.FilesStub(grpc.insecure_channel("127.0.0.1:" + sys.argv[2])).Upload(parts(), timeout=60)
print(int((time.monotonic() - begin) * 1000))
END
}
python=/usr/bin/python3 # the one that Debian's packages are for
if $python -c 'import grpc, grpc_tools.protoc' 2>/dev/null; then
	ok "one over gRPC is held up between its messages" test "$(upload_by_grpc)" -ge 1500
	ok "and it is right" cmp "$TMP/a/share/put" "$TMP/b/share/by-grpc"
else
	skip "python3-grpcio or python3-grpc-tools is missing"
fi
by b auto network.download_limit_per_peer=3M
by c auto network.download_limit_per_peer=6M
begin=$(now_us)
(
	ctl c fetch each-c
	echo $((($(now_us) - begin) / 1000)) >"$TMP/c.ms"
) >"$TMP/c.out" 2>&1 &
other=$!
ok "b receives 3 MiB/s of a peer" paced $((12 * MIB)) $((3 * MIB)) "$(took ctl b fetch each-b)"
wait "$other"
ok "and c 6" paced $((12 * MIB)) $((6 * MIB)) "$(cat "$TMP/c.ms")"

# --- while it runs ---

by b auto
ok "b may have 512 KiB/s" ctl b limit download 512K
fetch=$(fetch_start b change)
ok "a fetch goes on slowly" until_true 5 fetch_beyond b "$fetch" 400000
ok "it is not there in 3 s" never_true 3 fetch_is b "$fetch" "done"
is "one that changed at run time is shown" "$(ctl b limit | sed -n 2p)" "download	524288"
is "also as JSON" "$(ctl b --json limit | python3 -c 'import json, sys; print(json.load(sys.stdin)["limits"][1]["rate"])')" 524288
ok "a reload takes it back" ctl b reload
is "as limit says" "$(ctl b limit | sed -n 2p)" "download	0"
ok "and the fetch is soon there" until_true 3 test -e "$TMP/b/share/change"
ok "with the right bytes" until_true 3 same change b
ok "through b a file of a comes as fast as b may send" eval \
	'ctl b limit upload 4M && paced $((12 * MIB)) $RATE "$(took rest b "/v1/files/gateway?scope=network" -o "$TMP/gateway")"'
ok "and right" cmp "$TMP/gateway" "$TMP/a/share/gateway"

ok "an unknown limit is refused" exits 1 ctl a limit sideways 1M
ok "so is a rate that is none" exits 1 ctl a limit upload 1.5M
ok "and one that is missing is usage" exits 2 ctl a limit upload
ok "a daemon ends while somebody waits for his turn" eval \
	'ctl a limit upload 10K; { rest a /v1/files/curl -o /dev/null & }; until_true 5 test "$(ctl a limit | head -n 1 | cut -f2)" = 10240; peer_stop a'
finish
