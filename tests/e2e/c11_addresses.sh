#!/bin/bash
# SPDX-License-Identifier: MIT
#
# c11 - addresses that others name, and where they do not lead: to a peer that can be reached from the network anybody may
# register any address, but it asks nothing of its own host, of its cloud's metadata service or of itself, however the address
# is spelled, whatever a name turns into, and wherever an answer sends it on to.
#
# In a network of its own, where every such place has a trap that tells who came.
# shellcheck disable=SC2016,SC2206,SC2317 # eval expands late; no address has a blank; functions are called by ok
if [[ -z ${OWN_NETWORK-} ]]; then
	own=(unshare -n -m)
	((EUID == 0)) || own=(unshare -r -n -m)
	if "${own[@]}" ip link set lo up 2>/dev/null; then OWN_NETWORK=yes exec "${own[@]}" "$0" "$@"; fi
fi
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
[[ -n ${OWN_NETWORK-} ]] || skip_all "no network of its own"

here=192.0.2.1 there=192.0.2.2 elsewhere=192.0.2.3 metadata=169.254.169.254
ip link set lo up
for address in $here $there $elsewhere $metadata; do ip address add $address/32 dev lo; done
echo "nameserver 127.0.0.1" >"$TMP/resolv"
echo "hosts: files dns" >"$TMP/nsswitch"
printf '127.0.0.1 localhost\n::1 localhost\n' >"$TMP/hosts"
mount --bind "$TMP/resolv" /etc/resolv.conf
mount --bind "$TMP/nsswitch" /etc/nsswitch.conf
mount --bind "$TMP/hosts" /etc/hosts

cat >"$TMP/names" <<END
open.test $there
inner.test 127.0.0.1
six.test ::1
mapped.test ::ffff:127.0.0.1
cloud.test $metadata
several.test 192.0.2.99 127.0.0.1
self.test $here
turn.test $there
END
python3 "$HERE/names.py" "$TMP/names" &
HELPERS+=("$!")
trap=$(free_port) turn=$(free_port)
python3 "$HERE/trap.py" "$TMP/trapped" "127.0.0.1:$trap" "[::1]:$trap" "$metadata:80" "$metadata:$trap" "$there:$trap" \
	"$elsewhere:$trap" "127.0.0.1:$turn" &
HELPERS+=("$!")
trapped() { grep -qxF -e "$1" "$TMP/trapped"; }
# Those that are not to be asked; nothing else leads to them.
nobody_came() { ! grep -vxF -e "$there:$trap" "$TMP/trapped"; }


url() { echo "http://$here:${PORT[$1]}"; }
grpc_new a
PORT[a]=$(free_port)
peer_new a "rest.listen=$here:${PORT[a]}" "grpc.listen=$here:${GRPC_PORT[a]}" security.open_network=yes node.log=debug
peer_start a

# registers ADDRESS: under an id of its own; answers the status.
registered=0
registers() {
	local id
	registered=$((registered + 1))
	id=$(printf 'a%.0s' {1..49}; printf '%02d' $registered | tr 0-9 b-k; echo a)
	rest_status a /v1/peers --interface $there -H 'Content-Type: application/json' -d '{"id": "'"$id"'", "name": "x",
		"version": "0", "addresses": ["'"$1"'"], "epoch": 1, "seq": 1, "files": 0, "bytes": 0}'
}
refused_as() { is_same "$(registers "$1")" 400; }
refused() { log_has a "Greeting failed: .*${1//[\[\]]/.}[/:].*no connection goes to such an address"; }

# --- what is no address of a peer ---
for address in file:///etc/passwd gopher://127.0.0.1:$trap https://$there:$trap http://user@127.0.0.1:$trap http://2130706433:$trap \
	http://017700000001:$trap http://0x7f000001:$trap http://0177.0.0.1:$trap http://127.1:$trap "http://[::ffff:127.0.0.1]:$trap" \
	"http://[::127.0.0.1]:$trap" "http://[::ffff:a9fe:a9fe]:80" grpc://2130706433:$trap "grpc://[::ffff:127.0.0.1]:$trap"; do
	ok "$address is not taken" refused_as "$address"
done

# --- what may be one, and leads where we do not go ---
for address in http://127.0.0.1:$trap http://localhost:$trap "http://[::1]:$trap" grpc://127.0.0.1:$trap; do
	is "$address is of no use to us, who called from elsewhere" "$(registers "$address")" 200
done
inward=(http://$metadata:80 "http://[64:ff9b::7f00:1]:$trap" http://inner.test:$trap http://six.test:$trap http://mapped.test:$trap
	http://cloud.test:$trap http://several.test:$trap grpc://$metadata:$trap grpc://inner.test:$trap grpc://mapped.test:$trap
	"http://$here:${PORT[a]}" "http://self.test:${PORT[a]}" "grpc://$here:${GRPC_PORT[a]}" "grpc://self.test:${GRPC_PORT[a]}")
for address in "${inward[@]}"; do registers "$address" >/dev/null; done
for address in "${inward[@]}"; do ok "$address is refused when it is to be connected" until_true 10 refused "$address"; done
registers http://open.test:$trap >/dev/null
ok "an address as good as any is tried, by name" until_true 10 trapped $there:$trap
ok "into no trap" nobody_came
is "nobody is a peer for that" "$(ctl a peers)" ""

# --- a name that turns ---
# foreign PLACE MOOD...: what it is asked is in $TMP/foreign-PLACE
foreign() {
	python3 "$HERE/foreign_peer.py" "$1" "$(url a)" "$TMP/file.bin" file.bin "${@:2}" >"$TMP/foreign-$1" 2>&1 &
	foreign=$!
	HELPERS+=("$foreign")
}
random_file 300000 "$TMP/file.bin"
foreign "turn.test:$turn" honest
turned=$foreign
ok "a name that leads to a peer is fine" until_true 15 lists a file.bin
sed -i 's/^turn.test .*/turn.test 127.0.0.1/' "$TMP/names"
peer_stop a
kill $turned
peer_start a
ok "one that leads to this host by then is refused" until_true 10 refused http://turn.test:$turn
ok "and the trap there is empty" nobody_came

# --- sent on ---
# asked PLACE PATH: that one sent a question on.
asked() { grep -q "[A-Z]* $2.* 302 " "$TMP/foreign-$1"; }
place=$there:$(free_port)
foreign "$place" "/v1/peers=http://$elsewhere:$trap/v1/peers"
ok "a greeting may be sent on" until_true 15 asked "$place" /v1/peers
place=$there:$(free_port)
foreign "$place" "/v1/catalog=http://$elsewhere:$trap/v1/catalog"
ok "and a pull" until_true 15 asked "$place" /v1/catalog
place=$there:$(free_port)
foreign "$place" "/v1/contents/=http://$elsewhere:$trap/v1/contents/x" "/v1/notices=http://$elsewhere:$trap/v1/notices"
ok "who sends questions for bytes on is a holder" until_true 15 lists a file.bin
number=$(fetch_start a file.bin)
ok "one for a layer is sent on" until_true 15 asked "$place" '/v1/contents/[0-9a-f]*/layer'
ok "and nothing comes of it" until_true 15 fetch_is a "$number" waiting
echo new >"$TMP/a/share/new.txt"
ok "a notice is sent on" until_true 15 asked "$place" /v1/notices
other=$there:$(free_port)
foreign "$other" '/v1/contents/[0-9a-f]*[?]'"=http://$elsewhere:$trap/v1/contents/x"
ok "with the layer from elsewhere one for a range is sent on" until_true 30 asked "$other" '/v1/contents/[0-9a-f]*[?]'
foreign "$there:$(free_port)" honest
ok "an honest holder ends it" until_true 30 fetch_is a "$number" "done"
ok "with the bytes" cmp "$TMP/file.bin" "$TMP/a/share/file.bin"
ok "nobody was asked elsewhere" nobody_came
finish
