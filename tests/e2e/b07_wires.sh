#!/bin/bash
# SPDX-License-Identifier: MIT
#
# b07 - two wires: fetches by REST, by gRPC, by what is faster; ports that are closed, from the start and meanwhile; peers
# with one face only.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

# relay PORT NAME [RATE]: a line to that port, as slow as the file $TMP/NAME says; it is to be reached at LINE[NAME].
declare -A RELAY=()
relay() {
	LINE[$2]=$(free_port)
	echo "${3:-0}" >"$TMP/$2"
	python3 "$HERE/slow_line.py" "${LINE[$2]}" "$1" "$TMP/$2" &
	RELAY[$2]=$!
	HELPERS+=("$!")	# which end with the scenario, however it ends
	until_true 10 bash -c ": <>/dev/tcp/127.0.0.1/${LINE[$2]}"
}
relay_end() {
	local pid rest=()
	for pid in "${HELPERS[@]}"; do [[ $pid == "${RELAY[$1]}" ]] || rest+=("$pid"); done
	HELPERS=("${rest[@]}")
	kill "${RELAY[$1]}"
	wait "${RELAY[$1]}" 2>/dev/null
}
# By which wire a fetch's bytes came; "-" is none.
by() { ctl "$1" fetches "$2" | cut -f13; }
why() { fetch_field "$1" "$2" 12; }
# use PEER WIRE: another [network] transport, from now on.
use() {
	sed -i "s/^transport=.*/transport=$2/" "$TMP/$1/conf"
	ctl "$1" reload >/dev/null
}
# brings PEER NAME WIRE: it fetches that from a, and so it came.
brings() {
	local id
	id=$(fetch_start "$1" "$2")
	ok "$2 is fetched" until_true 30 fetch_is "$1" "$id" "done"
	is "and came by $3" "$(by "$1" "$id")" "$3"
	ok "and is equal" cmp "$TMP/a/share/$2" "$TMP/$1/share/$2"
}

# settles PEER NAME WIRE: the same, but what is measured may need some fetches to be believed.
settles() {
	local id
	for _ in 1 2 3 4 5 6; do
		id=$(fetch_start "$1" "$2")
		ok "$2 is fetched" until_true 60 fetch_is "$1" "$id" "done"
		[[ $(by "$1" "$id") != "$3" ]] || break
		ctl "$1" rm "$2"
		until_true 10 not test -e "$TMP/$1/share/$2"
	done
	is "and came by $3" "$(by "$1" "$id")" "$3"
	ok "and is equal" cmp "$TMP/a/share/$2" "$TMP/$1/share/$2"
}

for peer in a b e f; do grpc_new $peer; done
for peer in a c; do PORT[$peer]=$(free_port); done
relay "${PORT[a]}" rest_line
relay "${GRPC_PORT[a]}" grpc_line
# a has both faces, each at the end of a line of its own; c says of a gRPC face that it has none; e has nothing else; f is one that is
# told nothing but e's gRPC address.
seed=http://127.0.0.1:${LINE[rest_line]}
peer_new a "network.advertise=grpc://127.0.0.1:${LINE[grpc_line]}" "network.advertise=$seed"
peer_new b "network.seed=$seed" network.transport=rest
peer_new c "network.seed=$seed" "network.advertise=http://127.0.0.1:${PORT[c]}" "network.advertise=grpc://127.0.0.1:$(free_port)"
peer_new d "network.seed=$seed"
peer_new e "network.seed=$seed" rest.listen=
peer_new f "network.seed=grpc://127.0.0.1:${GRPC_PORT[e]}" network.transport=rest
for i in 1 2 3 4 5 6 7 8; do random_file $((40 << 20)) "$TMP/a/share/big$i"; done
random_file 1000 "$TMP/a/share/small"
random_file $((24 << 20)) "$TMP/c/share/of-c"
random_file $((24 << 20)) "$TMP/d/share/of-d"
random_file $((24 << 20)) "$TMP/e/share/of-e"
for peer in a b c d; do peer_start $peer; done
for peer in e f; do
	peer_spawn $peer
	until_true 20 ready $peer
done
until_true 30 eval 'lists b big8 && lists b small && lists b of-c && lists b of-d && lists b of-e && lists d big8'
ok "a node tells both its addresses, REST first" eval 'rest a /v1/node | tr -d " \n" |
	grep -q "\"addresses\":\[\"http://127.0.0.1:${LINE[rest_line]}\",\"grpc://127.0.0.1:${LINE[grpc_line]}\"\]"'
is "a peer is spoken to by REST first" "$(ctl b peers | awk -F '\t' '$1 == "a" { print $7 }')" "$seed"

# --- as it is told ---
brings b big1 rest
use b grpc
brings b big2 grpc
brings b small grpc

# --- a holder without the wanted face ---
id=$(fetch_start b of-d)
ok "a holder without a gRPC face is not asked" until_true 10 fetch_is b "$id" waiting
ok "and that is told" grep -q "gRPC face" <(why b "$id")
use b auto
ok "until any wire may be used" until_true 10 fetch_is b "$id" "done"
is "then it comes by REST" "$(by b "$id")" rest

# --- the faster one; what was measured until now was another line, and a start forgets it ---
echo $((4 << 20)) >"$TMP/rest_line"
ok "b starts anew" peer_stop b
peer_start b
until_true 20 eval 'sees b a && sees b c && sees b d && sees b e'
id=$(fetch_start b big3)
ok "with a slow REST line a fetch ends" until_true 60 fetch_is b "$id" "done"
settles b big4 grpc
echo 0 >"$TMP/rest_line"
echo $((4 << 20)) >"$TMP/grpc_line"
id=$(fetch_start d big5)
ok "with a slow gRPC line a fetch ends" until_true 60 fetch_is d "$id" "done"
settles d big6 rest

# --- a port that is closed ---
id=$(fetch_start b of-c)
ok "with a gRPC port that is closed a fetch ends" until_true 20 fetch_is b "$id" "done"
is "by REST" "$(by b "$id")" rest
ok "and is equal" cmp "$TMP/c/share/of-c" "$TMP/b/share/of-c"
use b grpc
echo $((8 << 20)) >"$TMP/grpc_line"
id=$(fetch_start b big7)
ok "a fetch by gRPC is on its way" until_true 20 fetch_beyond b "$id" 4000000
use b auto
relay_end grpc_line
ok "its port closes: it goes on by REST" until_true 20 fetch_is b "$id" "done"
ok "and says so" grep -q rest <(by b "$id")
ok "and is equal" cmp "$TMP/a/share/big7" "$TMP/b/share/big7"
settles b big8 rest

# --- nothing but gRPC ---
ok "a peer that has a gRPC face only is here" sees b e
is "at that address" "$(ctl b peers | awk -F '\t' '$1 == "e" { print $7 }')" "grpc://127.0.0.1:${GRPC_PORT[e]}"
id=$(fetch_start b of-e)
ok "and can be asked" until_true 20 fetch_is b "$id" "done"
is "by gRPC" "$(by b "$id")" grpc
ok "a gRPC address is a seed" until_true 20 eval 'sees f e && sees f a'
id=$(fetch_start f of-e)
ok "with transport = rest another holder is asked" until_true 20 fetch_is f "$id" "done"
is "by REST" "$(by f "$id")" rest
finish
