# shellcheck shell=bash
# SPDX-License-Identifier: MIT
#
# tree - a tree of 10,000 files of 10 KiB from one daemon to another on loopback, durable at the end, on a disk: against rsync
# from its daemon, made durable in two ways.  `rsync --fsync` waits for each file, as p2pd promises for each; plain rsync and one
# `sync -f` behind it is what is faster, and promises nothing until then.
#
# Every round goes into a new directory, and nothing is removed before the end: some file systems make new files slowly for a while
# after many were removed.

TREE_FILES=${BENCH_FILES_IN_TREE:-10000}
TREE_BYTES=10240

tree_new() { TREE_AT=$((TREE_AT + 1)) && TREE_TO=$D/to$TREE_AT && mkdir "$TREE_TO"; }
tree_check() { diff -r "$D/a/share/tree" "$1" >&2 || die "the tree is another"; }

# A peer of its own for each round: what it has it would not fetch again.
tree_ours() {
	tree_new
	local peer=b$TREE_AT
	peer_new "$peer" "$TREE_TO" a
	peer_start "$peer"
	until_true 60 0.05 finds "$peer" "$TREE_LAST"
	timed tree_ours ctl "$peer" -q fetch tree
	tree_check "$TREE_TO/share/tree"
	peer_stop "$peer"
}
tree_copy() { rsync -rtp "rsync://127.0.0.1:$RSYNC_PORT/tree/tree" "$TREE_TO/" && sync -f "$TREE_TO"; }
tree_copy_fsync() { rsync -rtp --fsync "rsync://127.0.0.1:$RSYNC_PORT/tree/tree" "$TREE_TO/"; }
tree_rsync() {
	tree_new
	timed tree_rsync tree_copy
	tree_check "$TREE_TO/tree"
}
tree_rsync_fsync() {
	tree_new
	timed tree_rsync_fsync tree_copy_fsync
	tree_check "$TREE_TO/tree"
}

rsync_start() {
	RSYNC_PORT=$(free_port)
	printf '%s\n' "use chroot = no" "port = $RSYNC_PORT" "address = 127.0.0.1" "[tree]" "path = $1" >"$D/rsyncd.conf"
	((EUID != 0)) || printf '%s\n' "uid = root" "gid = root" >>"$D/rsyncd.conf"
	rsync --daemon --no-detach --config="$D/rsyncd.conf" >"$D/rsyncd.log" 2>&1 &
	HELPERS+=("$!")
	until_true 10 0.05 rsync "rsync://127.0.0.1:$RSYNC_PORT/"
}

rate_of() { calculate "$TREE_FILES / ${FIGURE[$1]}"; }

bench_tree() {
	local commands=(tree_ours tree_rsync)
	needs rsync python3
	TREE_AT=0
	room_for "$DISK" $((4 * ROUNDS * TREE_FILES * 16384))
	! rsync --help | grep -q -e --fsync || commands+=(tree_rsync_fsync)
	peer_new a "$D/a"
	python3 - "$D/a/share/tree" "$TREE_FILES" "$TREE_BYTES" <<-'PY' || die "no tree"
		import os, sys
		top, files, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
		for i in range(files):
		    directory = f"{top}/d{i // 100:05}"
		    os.makedirs(directory, exist_ok=True)
		    with open(f"{directory}/file{i:07}", "wb") as file:
		        file.write(os.urandom(size))
	PY
	TREE_LAST=$(printf 'tree/d%05d/file%07d' $(((TREE_FILES - 1) / 100)) $((TREE_FILES - 1)))
	peer_start a
	rsync_start "$D/a/share"
	note_round() {
		sample tree "$(rate_of tree_ours)" "$(rate_of tree_rsync)"
		[[ -z ${FIGURE[tree_rsync_fsync]-} ]] || sample tree_fsync "$(rate_of tree_ours)" "$(rate_of tree_rsync_fsync)"
	}
	rounds "${commands[@]}"
	row tree "$TREE_FILES files of 10 KiB, durable" "p2pctl fetch" "rsync -rtp, sync -f" files/s ">=" 0.5 1
	[[ ! -e $D/samples.tree_fsync ]] || row tree_fsync "the same" "p2pctl fetch" "rsync -rtp --fsync" files/s ">=" 0.5 1
}
