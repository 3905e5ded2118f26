# shellcheck shell=bash
# SPDX-License-Identifier: MIT
#
# wires - the fetch of one file to memory by gRPC, against the same by REST: the same two daemons, the other transport.

wires_by() { # TRANSPORT
	sed -i "s/^transport = .*/transport = $1/" "$S/b/conf"
	ctl b -q reload || die "reload"
	timed "wires_$1" ctl b -q fetch one.bin
	ctl b --json fetches | jq -r '.fetches[-1].transport' | grep -qx "$1" || die "it was not fetched by $1"
	cmp "$D/a/share/one.bin" "$S/b/share/one.bin" || die "p2pd fetched something else"
	ctl b -q rm one.bin || die "p2pctl rm"
	until_true 10 0.05 lacks b one.bin
}
wires_grpc() { wires_by grpc; }
wires_rest() { wires_by rest; }

bench_wires() {
	needs jq
	room_for "$DISK" "$ONE"
	room_for "$SHM" "$ONE"
	peer_new a "$D/a"
	peer_new b "$S/b" a
	make_file "$ONE" "$D/a/share/one.bin"
	peer_start a
	peer_start b
	until_true 30 0.05 finds b one.bin
	note_round() { sample wires "${FIGURE[wires_grpc]}" "${FIGURE[wires_rest]}"; }
	rounds wires_grpc wires_rest
	row wires "fetch $((ONE >> 20)) MiB to memory, by gRPC" "transport = grpc" "transport = rest" s "<=" 1.25 1.05
}
