#!/bin/bash
# SPDX-License-Identifier: MIT
#
# c03 - a disk that fills up: a fetch waits and goes on by itself, an upload is refused, nothing is damaged.
if ((EUID == 0)) && [[ -z ${E2E_MOUNTS-} ]] && unshare -m true 2>/dev/null; then
	E2E_MOUNTS=1 exec unshare -m --propagation private "$0" "$@"
fi
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
[[ -n ${E2E_MOUNTS-} ]] || skip_all "a small disk wants root and a mount namespace"

# State and share of b lie on the small disk.
disk=$TMP/disk
mkdir "$disk"
mount -t tmpfs -o size=16m tmpfs "$disk" || skip_all "a tmpfs cannot be mounted"
MOUNTS+=("$disk")
mkdir "$disk/share"
peer_new a
peer_new b "network.seed=$(url a)" "node.state=$disk/state" "share.directory=$disk/share"
random_file $((9 << 20)) "$TMP/a/share/nine.bin"
random_file $((1 << 20)) "$TMP/a/share/one.bin"
random_file $((8 << 20)) "$disk/share/filler"
peer_start a
peer_start b
until_true 10 lists b nine.bin
until_true 10 lists b filler
start_once() {
	timeout $((10 * FACTOR)) "$P2PD" -c "$TMP/b/conf" >"$TMP/b/log" 2>&1
}
full() { [[ $(ctl b --json fetches "$1") == *no-space* ]]; }

# --- no room from the beginning ---
id=$(fetch_start b nine.bin)
ok "a fetch that does not fit waits" until_true 10 fetch_is b "$id" waiting
ok "and says why" until_true 5 full "$id"
ok "it has no final name" not test -e "$disk/share/nine.bin"
ok "a put that does not fit is refused with 1" exits 1 ctl b put "$TMP/a/share/nine.bin" --as other.bin
ok "and says why" grep -q no-space <(ctl b put "$TMP/a/share/nine.bin" --as other.bin 2>&1)
is "so is an upload" "$(rest_status b /v1/files/other.bin -T "$TMP/a/share/nine.bin")" 507
ok "neither leaves anything" not grep -q upload- <(ls "$disk/share/.p2pd-partial")
ok "what fits is fetched meanwhile" ctl b fetch one.bin
ok "and is equal" cmp "$TMP/a/share/one.bin" "$disk/share/one.bin"
rm "$disk/share/filler"
ok "with room again it goes on by itself" until_true 20 fetch_is b "$id" "done"
ok "and is equal" cmp "$TMP/a/share/nine.bin" "$disk/share/nine.bin"
ok "everything is removed" ctl b rm nine.bin one.bin

# --- it fills up in the middle ---
line_new c $((4 << 20))
peer_new c "network.seed=$(url a)" "network.advertise=http://127.0.0.1:${LINE[c]}"
random_file $((9 << 20)) "$TMP/c/share/slow.bin"
peer_start c
until_true 10 lists b slow.bin
id=$(fetch_start b slow.bin)
until_true 10 fetch_beyond b "$id" $((1 << 20))
dd if=/dev/zero of="$disk/fill" bs=64k status=none 2>/dev/null
ok "the disk is full to the last byte" test "$(df --output=avail -B1 "$disk" | tail -n 1)" -lt 65536
ok "the fetch waits" until_true 15 full "$id"
ok "the daemon answers" ctl b status
echo "news" >"$TMP/a/share/news.txt"
ok "and reads" ctl b search nine
ok "a put is refused" exits 1 ctl b put "$TMP/a/share/one.bin" --as put.bin
rm "$disk/fill"
ok "with room it goes on" until_true 30 fetch_is b "$id" "done"
ok "and is equal" cmp "$TMP/c/share/slow.bin" "$disk/share/slow.bin"
ok "what was new meanwhile is known" until_true 30 lists b news.txt

# --- and a restart on a full disk ---
dd if=/dev/zero of="$disk/fill" bs=64k status=none 2>/dev/null
ok "it stops on a full disk" peer_stop b
ok "it does not start without room for its journal, and ends with 1" exits 1 start_once
ok "and says why" log_has b "error: .*full"
rm "$disk/fill"
ok "with room it starts" peer_start b
ok "and serves" cmp "$disk/share/slow.bin" <(rest b /v1/files/slow.bin)
ok "and the catalog is what it was" until_true 10 lists b nine.bin
ok "nothing was set aside" not grep -q damaged "$TMP/b/log" "$TMP/b/log.old"
finish
