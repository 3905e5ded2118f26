# shellcheck shell=bash
# SPDX-License-Identifier: MIT
#
# fetch - one file from a holder to memory, every byte verified: against curl and nginx, which verify nothing, and
# against raw_client.c, which does what physics wants and no more.

fetch_ours() {
	timed fetch_ours ctl b -q fetch one.bin
	cmp "$D/a/share/one.bin" "$S/b/share/one.bin" || die "p2pd fetched something else"
	ctl b -q rm one.bin || die "p2pctl rm"
	until_true 10 0.05 lacks b one.bin
}
fetch_curl() {
	timed fetch_curl curl -sS -o "$S/curl" "$NGINX/one.bin"
	cmp "$D/a/share/one.bin" "$S/curl" || die "curl fetched something else"
	rm "$S/curl"
}
fetch_raw() {
	timed fetch_raw "$DISK/bin/raw_client" "$NGINX_PORT" /one.bin "$ONE" "$S/raw"
	cmp "$D/a/share/one.bin" "$S/raw" || die "the raw client fetched something else"
	rm "$S/raw"
}

bench_fetch() {
	needs nginx curl
	room_for "$DISK" "$ONE"
	room_for "$SHM" "$ONE"
	built_tool raw_client
	peer_new a "$D/a"
	peer_new b "$S/b" a
	make_file "$ONE" "$D/a/share/one.bin"
	peer_start a
	peer_start b
	until_true 30 0.05 finds b one.bin
	nginx_start "$D/a/share"
	note_round() {
		local mib=$((ONE >> 20))
		sample fetch "${FIGURE[fetch_ours]}" "${FIGURE[fetch_curl]}"
		sample raw "$(calculate "$mib / ${FIGURE[fetch_ours]}")" "$(calculate "$mib / ${FIGURE[fetch_raw]}")"
	}
	rounds fetch_ours fetch_curl fetch_raw
	row fetch "fetch $((ONE >> 20)) MiB to memory, verified" "p2pctl fetch" "curl -o, unverified" s "<=" 1.1 0.75
	row raw "the same as a rate" "p2pctl fetch" "raw client, 2 connections, verified" MiB/s ">=" 0.75 0.9
}
