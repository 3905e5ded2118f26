#!/bin/bash
# SPDX-License-Identifier: MIT
#
# f11 - the share's file system is remounted read-only, fails and becomes so by itself, is unmounted, or is not there at a start;
# the share's directory is removed: what can be read is served, what would have to be written is refused or waits, nothing is
# taken for removed, and nothing is ever written into the bare mount point.
# shellcheck disable=SC2016,SC2317 # eval expands late; functions are called by ok
# shellcheck source-path=SCRIPTDIR source=lib.sh
if ((EUID == 0)) && [[ -z ${E2E_MOUNTS-} ]] && unshare -m true 2>/dev/null; then
	E2E_MOUNTS=1 exec unshare -m --propagation private "$0" "$@"
fi
. "$(dirname "$0")/lib.sh"
[[ -n ${E2E_MOUNTS-} ]] || skip_all "to mount wants root and a mount namespace"

disk=$TMP/disk
mkdir "$disk"
chmod 755 "$disk"
mounted() { mount "$@" "$disk" && MOUNTS+=("$disk"); }
unmounted() { umount "$@" "$disk" && MOUNTS=(); }
mounted -t tmpfs -o size=64m,mode=755 tmpfs || skip_all "a tmpfs cannot be mounted"

line_new a 0
seed=http://127.0.0.1:${LINE[a]}
peer_new a "network.advertise=$seed"
for name in one two three four five; do random_file $((6 << 20)) "$TMP/a/share/$name.bin"; done
random_file 200000 "$TMP/own"
cp "$TMP/own" "$disk/own.bin"
peer_start a
peer_new b "network.seed=$seed" "share.directory=$disk"

start_b() {
	peer_start b
	until_true 10 lists b five.bin
	until_true 10 lists a own.bin
}
begin() { # NAME: slowly
	echo $((2 << 20)) >"$TMP/a/rate"
	id=$(fetch_start b "$1")
	until_true 20 fetch_beyond b "$id" $((1 << 20))
}
waits() { fetch_is b "$id" waiting && fetch_field b "$id" 12; }
waits_for() { [[ $(waits) =~ $1 ]]; }
serves() { rest b /v1/files/own.bin | cmp - "$TMP/own"; }
refuses() {
	not ctl b put "$TMP/own" --as put.bin 2>"$TMP/why" && cat "$TMP/why" &&
		[[ $(rest_status b /v1/files/put.bin -T "$TMP/own") == [45]* ]] && not ctl b rm own.bin
}
ends() { until_true 30 fetch_is b "$id" "done" && cmp "$TMP/a/share/$1" "$disk/$1"; }
is_bare() { [[ -z $(find "$disk" -mindepth 1) ]] || { find "$disk"; return 1; }; }
lists_still() { lists b own.bin && lists a own.bin; }
# For as long as it takes to try again.
stays_bare() { sleep 6; is_bare; }

# --- remounted read-only while nothing is written, and back ---
start_b
mount -o remount,ro "$disk"
id=$(fetch_start b one.bin)
ok "read-only: a fetch waits, and says why" until_true 10 waits_for "[Rr]ead-only"
ok "read-only: what is there is served" serves
ok "read-only: a put, an upload and a removal are refused" refuses
ok "read-only: what is there is listed" lists_still
mount -o remount,rw "$disk"
ok "writable again: the fetch goes on by itself" ends one.bin
ok "writable again: a put is taken" ctl b -q put "$TMP/own" --as put.bin

# --- unmounted under it: it still has the old file system, which nobody else sees ---
begin two.bin
unmounted -l
ok "unmounted: the daemon answers" ctl b status
ok "unmounted: what was there is served" serves
ctl b reload
ok "unmounted: it says so" until_true 10 log_has b "no longer the directory that is shared"
ok "unmounted: what would get lost is refused" refuses
ok "unmounted: the fetch waits, and says why" until_true 20 waits_for "no longer"
ok "unmounted: the mount point is bare" is_bare
ok "it stops" peer_stop b

# --- not mounted at a start ---
mounted -t tmpfs -o size=64m,mode=755 tmpfs
cp "$TMP/own" "$disk/own.bin"
start_b
begin three.bin
ok "it stops" peer_stop b
cp -a "$disk" "$TMP/saved"
unmounted
peer_spawn b
ok "not mounted: it says so" until_true 10 log_has b "is it mounted"
ok "not mounted: what was there is still listed" lists_still
ok "not mounted: puts are refused" not ctl b put "$TMP/own" --as put.bin
ok "not mounted: the fetch waits" until_true 10 fetch_is b "$id" waiting
ok "not mounted: nothing is written into the mount point" stays_bare
ok "it stops" peer_stop b
mounted -t tmpfs -o size=64m,mode=755 tmpfs
cp -a "$TMP/saved/." "$disk/"
echo 0 >"$TMP/a/rate"
start_b
ok "mounted again: the fetch ends" until_true 30 cmp "$TMP/a/share/three.bin" "$disk/three.bin"
ok "mounted again: what was there is served" serves
peer_stop b
unmounted

# --- a file system that fails, and makes itself read-only ---
truncate -s 64M "$TMP/image"
if mke2fs -q -F -t ext4 "$TMP/image" 2>/dev/null && mounted -o loop,errors=remount-ro "$TMP/image"; then
	cp "$TMP/own" "$disk/own.bin"
	start_b
	begin four.bin
	device=$(findmnt -n -o SOURCE "$disk")
	echo 1 >"/sys/fs/ext4/${device##*/}/trigger_fs_error"
	ok "it fails: the fetch waits, and says why" until_true 20 waits_for "[Rr]ead-only|Input/output"
	ok "it fails: what is there is served" serves
	ok "it fails: puts are refused" not ctl b put "$TMP/own" --as put.bin
	ok "it fails: what is there is listed" lists_still
	peer_kill b
	unmounted
	mounted -o loop,errors=remount-ro "$TMP/image"
	echo 0 >"$TMP/a/rate"
	start_b
	ok "repaired: the fetch ends" until_true 30 cmp "$TMP/a/share/four.bin" "$disk/four.bin"
	peer_stop b
	unmounted
else
	skip "an ext4 on a loop device cannot be mounted"
fi

# --- the directory is removed ---
mounted -t tmpfs -o size=64m,mode=755 tmpfs
mkdir "$disk/share"
cp "$TMP/own" "$disk/share/own.bin"
peer_new b "network.seed=$seed" "share.directory=$disk/share"
start_b
begin five.bin
rm -r "$disk/share"
ctl b reload
ok "removed: it says so" until_true 10 log_has b "was removed"
ok "removed: the daemon answers" ctl b status
ok "removed: the fetch waits" until_true 20 fetch_is b "$id" waiting
ok "removed: puts are refused" not ctl b put "$TMP/own" --as put.bin
ok "removed: nothing is made in its place" not test -e "$disk/share"
mkdir "$disk/share"
peer_stop b
echo 0 >"$TMP/a/rate"
peer_start b
ok "made again: the fetch ends" until_true 30 cmp "$TMP/a/share/five.bin" "$disk/share/five.bin"
finish
