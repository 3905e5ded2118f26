# shellcheck shell=bash
# SPDX-License-Identifier: MIT
#
# durable - one file from a holder to a disk, verified and safe from a power cut at the end: against the three
# commands that do the same.  Each begins with nothing of its own to be written.

durable_ours() {
	sync -f "$D"
	timed durable_ours ctl b -q fetch one.bin
	cmp "$D/a/share/one.bin" "$D/b/share/one.bin" || die "p2pd fetched something else"
	ctl b -q rm one.bin || die "p2pctl rm"
	until_true 10 0.05 lacks b one.bin
}
curl_sum_sync() {
	curl -sS -o "$D/curl" "$NGINX/one.bin" && sha256sum "$D/curl" >"$D/sum" && sync "$D/curl"
}
durable_curl() {
	sync -f "$D"
	timed durable_curl curl_sum_sync
	cmp "$D/a/share/one.bin" "$D/curl" || die "curl fetched something else"
	rm "$D/curl"
}

bench_durable() {
	needs nginx curl sha256sum
	room_for "$DISK" $((3 * ONE))
	peer_new a "$D/a"
	peer_new b "$D/b" a
	make_file "$ONE" "$D/a/share/one.bin"
	peer_start a
	peer_start b
	until_true 30 0.05 finds b one.bin
	nginx_start "$D/a/share"
	note_round() { sample durable "${FIGURE[durable_ours]}" "${FIGURE[durable_curl]}"; }
	rounds durable_ours durable_curl
	row durable "fetch $((ONE >> 20)) MiB to disk, durable" "p2pctl fetch" "curl -o; sha256sum; sync" s "<=" 0.75 0.5
}
