# shellcheck shell=bash
# SPDX-License-Identifier: MIT
#
# start - a daemon starts on a large share that has not changed since: from exec until its index is ready, against a
# find that looks at the same.

START_FILES=${BENCH_FILES:-100000}
PER_DIRECTORY=100

start_ours() {
	timed start_ours peer_start a 0.01
	(($(field a hashed_bytes) == 0)) || die "unchanged files were hashed again"
	(($(field a files) == START_FILES)) || die "the start lost files"
	peer_stop a
}
find_all() { find "$D/a/share" -type f -printf '%T@ %s\n' >"$D/found"; }
start_find() { timed start_find find_all; }
make_tree() {
	local i
	for ((i = 0; i < START_FILES; i += PER_DIRECTORY)); do
		mkdir "$D/a/share/$i" || return
		seq -w "$i" $((i + PER_DIRECTORY - 1)) | split -l 1 -a 3 - "$D/a/share/$i/file." || return
	done
}

bench_start() {
	needs find split
	peer_new a "$D/a"
	make_tree || die "cannot make the files"
	peer_start a
	peer_stop a
	note_round() { sample start "${FIGURE[start_ours]}" "${FIGURE[start_find]}"; }
	rounds start_ours start_find
	row start "start, $START_FILES unchanged files" "p2pd from exec to ready" "find -printf" s "<=" 5 2
}
