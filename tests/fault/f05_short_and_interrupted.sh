#!/bin/bash
# SPDX-License-Identifier: MIT
#
# f05 - every read and write of a file moves half of what was asked (short), each second one is interrupted (EINTR), as is
# each third call on a socket: the same bytes as without.
#
# Sockets are not made to move half, nor to be not ready: who waits by epoll's edges may take that for drained, which of
# a real socket is true.  Small segments come from the line instead (f07).
# shellcheck disable=SC2016,SC2317 # eval expands late; functions are called by ok
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

mkdir "$TMP/mine"
random_file 700001 "$TMP/mine/mine.bin"
peer_new a
random_file $((3 << 20)) "$TMP/a/share/big.bin"
for i in 1 2 3; do random_file $((i * 17001)) "$TMP/a/share/tree/$i"; done
peer_new b "network.seed=$(url a)"

same() { # WHAT FAULT...: both peers with it
	local what=$1
	shift
	rm -rf "$TMP/b/share" "$TMP"/[ab]/state
	mkdir "$TMP/b/share"
	cp "$TMP/mine/mine.bin" "$TMP/b/share/own.bin"
	fault_plan a "$@"
	fault_plan b "$@"
	peer_start a
	peer_start b
	ok "$what: the catalog is learnt" until_true 10 lists b tree/3
	ok "$what: a fetch" ctl b -q fetch big.bin
	ok "$what: is equal" cmp "$TMP/a/share/big.bin" "$TMP/b/share/big.bin"
	ok "$what: a tree" ctl b -q fetch tree
	ok "$what: is equal" diff -r "$TMP/a/share/tree" "$TMP/b/share/tree"
	ok "$what: a fetch elsewhere" ctl b -q fetch big.bin -o "$TMP/mine/fetched"
	ok "$what: is equal" cmp "$TMP/a/share/big.bin" "$TMP/mine/fetched"
	ok "$what: a put" ctl b -q put "$TMP/mine/mine.bin"
	ok "$what: is equal" cmp "$TMP/mine/mine.bin" "$TMP/b/share/mine.bin"
	is "$what: an upload" "$(rest_status b /v1/files/up.bin -T "$TMP/mine/mine.bin")" 201
	ok "$what: is equal" cmp "$TMP/mine/mine.bin" "$TMP/b/share/up.bin"
	ok "$what: a download is equal" eval 'rest b /v1/files/own.bin | cmp - "$TMP/mine/mine.bin"'
	ok "$what: the content ids are right" eval '[[ -n $(root_of b own.bin) && $(root_of b own.bin) == "$(root_of b up.bin)" ]]'
	ok "$what: it was met" eval '(($(fault_count b) > 5))'
	ok "$what: the catalog is sound" catalog_is_sound b
	ok "$what: both stop" eval 'peer_stop a && peer_stop b'
	rm -f "$TMP/mine/fetched"
}

disk=$(disk_of a):$(disk_of b)
same "short writes and reads of files" calls="write pwrite read pread" "below=$disk" every=1 do=short
same "interrupted writes and reads of files" calls="write pwrite read pread" "below=$disk" nth=2 every=2 do=EINTR
same "interrupted sends and receives" calls="send recv sendfile accept" nth=2 every=3 do=EINTR
finish
