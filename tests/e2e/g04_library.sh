#!/bin/bash
# SPDX-License-Identifier: MIT
#
# g04 - the gRPC library is loaded when it is wanted, by the face or by the first request to a gRPC address; a peer without it
# serves REST, and says why it does not speak gRPC.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

has_library() { grep -q 'libgrpc.*\.so' "/proc/${PID[$1]}/maps"; }
# without PEER FILE: it starts in a place where that file is found instead of the library.
without() {
	mkdir -p "$TMP/$1/lib"
	cp "$2" "$TMP/$1/lib/$soname"
	LD_LIBRARY_PATH=$TMP/$1/lib peer_start "$1"
}

soname=$(grep -aoE 'libgrpc[a-z_]*\.so\.[0-9.]+' "$P2PD" | head -n 1)
for program in "$P2PD" "$P2PCTL"; do
	ok "${program##*/} is not linked to it" not grep -E 'libgrpc|libgpr|libabsl' <(ldd "$program")
done

# --- where it is ---
grpc_new a
peer_new a
peer_new b
peer_new c "network.seed=grpc://127.0.0.1:${GRPC_PORT[a]}"
random_file 1000000 "$TMP/a/share/file"
for peer in a b; do peer_start $peer; done
ok "who serves gRPC has loaded it" has_library a
ok "who uses REST alone has not" not has_library b
peer_start c
ok "a peer without a gRPC face finds another by a gRPC address" until_true 10 sees c a
ok "and has loaded it for that" has_library c
id=$(fetch_start c file)
ok "and fetches" until_true 10 fetch_is c "$id" "done"

# --- where its port is lent to a connection ---
# lend PORT FROM: connects to the port by that of FROM, as the system may choose it, until it is ended.
lend() {
	exec python3 -c '
import signal, socket, sys
to, own = map(int, sys.argv[1:])
caller = socket.socket()
caller.bind(("127.0.0.1", own))
caller.connect(("127.0.0.1", to))
caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # nothing is left of it
signal.pause()' "$1" "$2"
}
grpc_new f
peer_new f
lend "${PORT[a]}" "${GRPC_PORT[f]}" &
lender=$!
HELPERS+=("$lender")
until_true 5 grep -q ":$(printf %04X "${GRPC_PORT[f]}") .* 01 " /proc/net/tcp
peer_start f
ok "a peer comes up though a connection has its port" ready f
ok "and says so" log_has f "warning: gRPC: cannot listen on 127.0.0.1:${GRPC_PORT[f]} yet: .*tried every second"
kill "$lender"
ok "it listens when the port is free" until_true 5 log_has f "gRPC answers again"
peer_new g "network.seed=grpc://127.0.0.1:${GRPC_PORT[f]}"
peer_start g
ok "and answers there" until_true 10 sees g f

# --- where it is not, or is not what it says ---
echo "not a library" >"$TMP/text"
grpc_new d
peer_new d "network.seed=http://127.0.0.1:${PORT[a]}" network.transport=grpc
without d "$TMP/text"
ok "without the library a peer comes up" ready d
ok "and says which one is missing, and how to do without" log_has d "gRPC is not served: .*$soname.*\[grpc\]"
is "it says so once" "$(grep -c 'gRPC is not served' "$TMP/d/log")" 1
ok "it serves REST" rest d /v1/node
ok "and tells others no gRPC address" not grep -q grpc: <(rest d /v1/node)
ok "it finds peers by REST" until_true 10 lists d file
id=$(fetch_start d file)
ok "a fetch by gRPC waits" until_true 10 fetch_is d "$id" waiting
ok "and why is said" log_has d "no peer is asked by gRPC: .*$soname"
is "once" "$(grep -c 'no peer is asked by gRPC' "$TMP/d/log")" 1
sed -i s/^transport=.*/transport=auto/ "$TMP/d/conf"
ok "by REST it goes on" ctl d reload
ok "and gets it" until_true 20 fetch_is d "$id" "done"

shim=$BUILDDIR/tests/fault/shim.so # a library, but not this one
if [[ -e $shim ]]; then
	peer_new e
	sed -i "s/^listen=$/listen=127.0.0.1:$(free_port)/" "$TMP/e/conf"
	without e "$shim"
	ok "without one of its functions a peer comes up" rest e /v1/node
	ok "and says which" log_has e "gRPC is not served: .*undefined symbol: grpc_"
else
	skip "tests/fault/shim.so is not built"
fi
finish
