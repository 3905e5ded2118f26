#!/bin/bash
# SPDX-License-Identifier: MIT
#
# g01 - the gRPC face as a program in another language meets it: Debian's grpcio for Python, with stubs that are generated here
# from the project's .proto files; and a peer that is written in Python and speaks gRPC alone.  What is checked stands in g01_python.py.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

python=/usr/bin/python3 # the one that Debian's packages are for
$python -c 'import grpc, grpc_tools.protoc, google.protobuf' 2>"$TMP/check" ||
	skip_all "python3-grpcio or python3-grpc-tools is missing"
mkdir "$TMP/stubs"
proto=$HERE/../../proto
ok "stubs are generated from the .proto files" $python -m grpc_tools.protoc -I "$proto" --python_out="$TMP/stubs" \
	--grpc_python_out="$TMP/stubs" p2p.proto health.proto reflection.proto

for peer in a b; do grpc_new $peer; done
peer_new a
peer_new b "network.seed=$(url a)"
random_file $((24 << 20)) "$TMP/a/share/big.bin"
for i in $(seq -w 250); do echo "$i" >"$TMP/a/share/many-$i"; done
: >"$TMP/a/share/empty"
random_file 70000 "$TMP/b/share/of b.bin"
mkdir -p "$TMP/a/share/tree/sub"
echo x >"$TMP/a/share/tree/sub/x.TXT"
peer_start a
peer_start b
ok "the gRPC face of both listens" until_true 10 eval \
	': <>/dev/tcp/127.0.0.1/${GRPC_PORT[a]} && : <>/dev/tcp/127.0.0.1/${GRPC_PORT[b]}'
until_true 20 eval 'lists b big.bin && lists a "of b.bin" && (($(ctl b search many | wc -l) == 250))'

export PYTHONPATH=$TMP/stubs PYTHONDONTWRITEBYTECODE=1
peer_of() { echo "${GRPC_PORT[$1]}:${PID[$1]}:$TMP/$1/share"; }
health() { exits "$1" $python "$HERE/g01_python.py" health "${@:2}"; }

ok "health: it serves" health 0 "${GRPC_PORT[a]}"
for service in Peers Files Events; do ok "health: $service serves" health 0 "${GRPC_PORT[a]}" p2p.v1.$service; done
ok "health: a service that is not here" health 3 "${GRPC_PORT[a]}" p2p.v1.Nothing
ok "health: nobody there" health 2 "$(free_port)"

checks_of $python "$HERE/g01_reflection.py" "${GRPC_PORT[a]}" "$TMP/a/share"
checks_of $python "$HERE/g01_python.py" checks "$(peer_of a)" "$(peer_of b)"

# --- a peer that speaks gRPC alone ---
random_file $((3 << 20)) "$TMP/of-python"
$python "$HERE/foreign_grpc_peer.py" "$(free_port)" "${GRPC_PORT[a]}" "$TMP/of-python" 'from python.bin' 2>"$TMP/foreign.log" &
foreign=$!
HELPERS+=("$foreign")
ok "a peer that speaks gRPC alone is here" until_true 10 sees a foreign
ok "and is known through others" until_true 10 sees b foreign
ok "its file is known" until_true 10 lists b 'from python.bin'
ok "and is fetched from it" ctl b fetch 'from python.bin'
ok "and is equal" cmp "$TMP/of-python" "$TMP/b/share/from python.bin"
kill -TERM $foreign
wait $foreign
ok "its good-bye is heard" until_true 5 sees a foreign away
finish
