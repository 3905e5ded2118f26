# shellcheck shell=bash
# SPDX-License-Identifier: MIT
#
# small - downloads of small files over kept-alive connections.

SMALL_FILES=100

# load NAME URL: requests a second into FIGURE[NAME]; any answer but a 200 is a failure.
load() {
	local out=$D/wrk
	await_quiet
	BENCH_FILES=$SMALL_FILES wrk -t 1 -c 64 -d 4s -s "$HERE/small.lua" "$2" >"$out" || die "wrk $2"
	! grep -E 'Non-2xx|Socket errors' "$out" >&2 || die "wrk $2 got errors"
	FIGURE[$1]=$(awk '/^Requests\/sec:/ { print $2 }' "$out")
}
small_ours() { load small_ours "http://127.0.0.1:${PORT[a]}/v1/files/"; }
small_nginx() { load small_nginx "$NGINX/"; }

bench_small() {
	local i
	needs nginx wrk curl
	peer_new a "$D/a"
	for ((i = 0; i < SMALL_FILES; i++)); do make_file 4096 "$D/a/share/file$i"; done
	peer_start a
	nginx_start "$D/a/share"
	curl -sS "http://127.0.0.1:${PORT[a]}/v1/files/file7" | cmp - "$D/a/share/file7" || die "file7 is wrong"
	note_round() { sample small "${FIGURE[small_ours]}" "${FIGURE[small_nginx]}"; }
	rounds small_ours small_nginx
	row small "4 KiB files, wrk -c 64" "p2pd" "nginx" req/s ">=" 0.35 0.7
}
