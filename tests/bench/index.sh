# shellcheck shell=bash
# SPDX-License-Identifier: MIT
#
# index - a large file in the page cache becomes known: from the start of a daemon without any state until its index
# is ready, against one core that hashes the file.

index_ours() {
	rm -rf "$D/a/state"
	timed index_ours peer_start a 0.01
	(($(field a hashed_bytes) == BIG)) || die "the file was not hashed whole"
	peer_stop a
}
index_reference() { timed index_reference openssl dgst -sha256 -out "$D/dgst" "$D/a/share/big.bin"; }

bench_index() {
	needs openssl
	room_for "$DISK" "$BIG"
	peer_new a "$D/a"
	make_file "$BIG" "$D/a/share/big.bin"
	note_round() { sample index "${FIGURE[index_ours]}" "${FIGURE[index_reference]}"; }
	rounds index_ours index_reference
	row index "index $((BIG >> 20)) MiB, cached" "p2pd from exec to ready" "openssl dgst -sha256" s "<=" 0.65 0.55
}
