#!/bin/bash
# SPDX-License-Identifier: MIT
#
# g05 - by gRPC, too, a piece that came wrong is narrowed to its leaves: the wrong leaf comes again, the liar is named, and
# nobody else is.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

python=/usr/bin/python3 # the one that Debian's packages are for
$python -c 'import grpc, grpc_tools.protoc, google.protobuf' 2>"$TMP/check" ||
	skip_all "python3-grpcio or python3-grpc-tools is missing"
mkdir "$TMP/stubs"
ok "stubs are generated from the .proto file" $python -m grpc_tools.protoc -I "$HERE/../../proto" --python_out="$TMP/stubs" \
	--grpc_python_out="$TMP/stubs" p2p.proto
export PYTHONPATH=$TMP/stubs PYTHONDONTWRITEBYTECODE=1

for peer in a b; do grpc_new $peer; done
peer_new a network.upload_limit=24M # or the liar would not be asked
peer_new b "network.seed=$(url a)" network.transport=grpc node.log=debug
leaf=16384
random_file $(((64 << 20) + 44444)) "$TMP/a/share/data.bin" # pieces of 128 KiB: 8 leaves, of the last 3
peer_start a
peer_start b
$python "$HERE/foreign_grpc_peer.py" "$(free_port)" "${GRPC_PORT[b]}" "$TMP/a/share/data.bin" data.bin lying 2>"$TMP/lies" &
HELPERS+=("$!")
ok "two have the file" until_true 30 eval '[[ $(ctl b search --exact data.bin | cut -f3) == 2 ]]'
liar=$(ctl b peers | grep "^foreign	" | cut -f9)

liars() { grep -o 'peer [a-z0-9]* sent bytes that are not those of the content' "$TMP/b/log" | cut -d' ' -f2 | sort -u; }
ok "the file is fetched" timeout $((60 * FACTOR)) "$P2PCTL" -s "$TMP/b/sock" -q fetch data.bin
ok "and is exact" cmp "$TMP/a/share/data.bin" "$TMP/b/share/data.bin"
lies=$(grep -c '^lied' "$TMP/lies")
ok "some of it came wrong" test "$lies" -gt 0
is "the liar is named" "$(liars)" "$liar"
ok "of a bad piece the leaves were asked for" log_has b '1 of [38] leaves of piece [0-9]* are wrong: 16384 bytes'
ok "a wrong bit costs a leaf" test "$(metric b p2pd_wasted_bytes_total)" -le $((leaf * lies))
finish
