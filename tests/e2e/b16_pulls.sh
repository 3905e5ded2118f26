#!/bin/bash
# SPDX-License-Identifier: MIT
#
# b16 - by which wire catalogs are pulled: by gRPC where both speak it, by REST when that fails, and a peer without a gRPC face
# does not load the library for a few changes.
# shellcheck disable=SC2317 # functions are called by ok
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

# pulls PEER WIRE
pulls() { metric "$1" "p2pd_pulls_total{wire=\"$2\"}"; }
by_rpc_alone() { is_same "$(pulls "$1" rest)" 0 && test "$(pulls "$1" grpc)" -ge 1; }
by_rest_alone() { is_same "$(pulls "$1" grpc)" 0 && test "$(pulls "$1" rest)" -ge 1; }
has_no_library() { not grep -q libgrpc "/proc/${PID[$1]}/maps"; }

grpc_new a
peer_new a
echo one >"$TMP/a/share/one.txt"
peer_start a

grpc_new b
peer_new b "network.seed=$(url a)"
peer_start b
ok "a catalog comes to one that speaks gRPC" until_true 10 lists b one.txt
ok "... by gRPC, though the peer was found by REST" by_rpc_alone b
echo two >"$TMP/a/share/two.txt"
ok "a change comes" until_true 10 lists b two.txt
ok "... by gRPC too" by_rpc_alone b

peer_new c "network.seed=$(url a)"
peer_start c
ok "a small catalog comes to one that has no gRPC face" until_true 10 lists c two.txt
ok "... by REST" by_rest_alone c
ok "... and the library was not loaded" has_no_library c

# Nobody is where its gRPC is said to be.
PORT[d]=$(free_port)
peer_new d "network.seed=$(url a)" "network.advertise=$(url d)" "network.advertise=grpc://127.0.0.1:$(free_port)"
echo three >"$TMP/d/share/three.txt"
peer_start d
ok "the catalog of a peer whose gRPC does not answer comes" until_true 10 lists b three.txt
ok "... by REST" test "$(pulls b rest)" -ge 1

finish
