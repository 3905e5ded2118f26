#!/bin/bash
# SPDX-License-Identifier: MIT
#
# g03 - the gRPC face under abuse: headers that burn or kill the library, floods, more connections than descriptors.  Meanwhile REST and
# p2pctl answer, a fetch goes on, memory is bounded, and at most 15 seconds later the face serves again.  What is sent
# stands in g03_abuse.py.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

python=/usr/bin/python3 # the one that Debian's packages are for
$python -c 'import grpc' 2>"$TMP/check" || skip_all "python3-grpcio is missing"
export PYTHONDONTWRITEBYTECODE=1

# b fetches from a by a slow line, all the time.
line_new a $((1500 << 10))
grpc_new a
peer_new a "network.advertise=http://127.0.0.1:${LINE[a]}"
peer_new b "network.seed=http://127.0.0.1:${LINE[a]}"
random_file $((96 << 20)) "$TMP/a/share/big.bin"
# c has few descriptors.
grpc_new c
peer_new c
# d has some more, and one client who wants them all.
grpc_new d
peer_new d
for peer in a b; do peer_start $peer; done
(ulimit -n 128; exec "$P2PD" -c "$TMP/c/conf" >"$TMP/c/log" 2>&1) &
PID[c]=$!
(ulimit -n 512; exec "$P2PD" -c "$TMP/d/conf" >"$TMP/d/log" 2>&1) &
PID[d]=$!
until_true 20 eval 'lists b big.bin && ready c && ready d'
until_true 10 eval ': <>/dev/tcp/127.0.0.1/${GRPC_PORT[a]} && : <>/dev/tcp/127.0.0.1/${GRPC_PORT[c]} && : <>/dev/tcp/127.0.0.1/${GRPC_PORT[d]}'
id=$(fetch_start b big.bin)
ok "a fetch is on its way" until_true 10 fetch_beyond b "$id" 0

checks_of $python "$HERE/g03_abuse.py" "${GRPC_PORT[a]}" "${PORT[a]}" "${PID[a]}" "$TMP/a/sock" "$TMP/b/sock" "$id" \
	"${GRPC_PORT[c]}" "${PORT[c]}" "${PID[c]}" "${GRPC_PORT[d]}" "${PORT[d]}" "${PID[d]}" "$TMP/d/sock"

# An ordinary load, by the tool of another HTTP/2 library.
if command -v h2load >/dev/null; then
	printf '\0\0\0\0\0' >"$TMP/empty-message"
	h2load -n 20000 -c 16 -m 64 -d "$TMP/empty-message" -H 'te: trailers' -H 'content-type: application/grpc' \
		"http://127.0.0.1:${GRPC_PORT[a]}/grpc.health.v1.Health/Check" >"$TMP/h2load" 2>&1
	ok "h2load: 20,000 calls, 64 at a time on 16 connections, all answered" \
		eval 'grep "^requests:" "$TMP/h2load"; grep -q "20000 done, 20000 succeeded, 0 failed, 0 errored, 0 timeout" "$TMP/h2load"'
else
	skip "h2load is missing (nghttp2-client)"
fi

echo 0 >"$TMP/a/rate"
ok "the fetch got done" until_true 30 fetch_is b "$id" "done"
ok "and is equal" cmp "$TMP/a/share/big.bin" "$TMP/b/share/big.bin"
finish
