#!/bin/bash
# SPDX-License-Identifier: MIT
#
# g02 - the gRPC face as a JavaScript program meets it: Node.js with @grpc/grpc-js, which is another implementation of HTTP/2 and gRPC than
# ours and Python's, and @grpc/proto-loader, which reads the .proto file itself.  npm brings the two into the
# temporary directory, at the versions of g02_node/package-lock.json.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

command -v node >/dev/null || skip_all "node is missing"
command -v npm >/dev/null || skip_all "npm is missing"
mkdir "$TMP/node"
cp "$HERE/g02_node/package.json" "$HERE/g02_node/package-lock.json" "$HERE/g02_node.js" "$TMP/node"
chmod u+w "$TMP/node"/*
(cd "$TMP/node" && timeout 120 npm ci --ignore-scripts --no-audit --no-fund --no-update-notifier \
	--fetch-retries=1 --cache "$TMP/npm-cache") >"$TMP/npm.log" 2>&1 ||
	skip_all "@grpc/grpc-js cannot be had: $(grep -m 1 -i error "$TMP/npm.log")"

for peer in a b; do grpc_new $peer; done
peer_new a
peer_new b "network.seed=$(url a)"
random_file $((9 << 20)) "$TMP/b/share/big.bin"
for i in $(seq -w 130); do echo "$i" >"$TMP/b/share/many-$i"; done
peer_start a
peer_start b
until_true 20 eval 'lists a big.bin && (($(ctl a search many | wc -l) == 130))'

checks_of node "$TMP/node/g02_node.js" "$HERE/../../proto/p2p.proto" "${GRPC_PORT[a]}" "${GRPC_PORT[b]}" \
	"${PID[b]}" "$TMP/a/share" "$TMP/b/share"
finish
