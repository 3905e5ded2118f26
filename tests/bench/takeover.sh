# shellcheck shell=bash
# SPDX-License-Identifier: MIT
#
# takeover - a new peer joins one that has 1,000,000 files, and takes over its catalog over loopback: the seconds from its start
# until all entries are committed and the index of names holds them all; what that costs both; and what is left on disk and in memory.
#
# The reference does less: `sqlite3` reads the same rows into the same tables, without an index for searches, in one transaction.
# The files of the first peer are not there: catalog_load.c writes its catalog, as that of a share on a file system that is
# not mounted, which p2pd serves as it is.

TAKEOVER_ENTRIES=${TAKEOVER_ENTRIES:-1000000}

# cpu_s PEER: the seconds of processor it has taken.
cpu_s() { awk -v hz="$(getconf CLK_TCK)" '{ print ($14 + $15) / hz }' "/proc/${PID[$1]}/stat"; }
loopback_bytes() { awk '$1 == "lo:" { print $2 }' /proc/net/dev; }
ask_database() { sqlite3 -readonly "file:$D/b/state/catalog.db" "$1" 2>/dev/null; }
has_all() {
	[[ $(ask_database "SELECT sum(entry_count) FROM peer") == "$TAKEOVER_ENTRIES" ]]
}
# The last few names always wait: searches walk them.
has_index() {
	has_all && [[ $(ask_database "SELECT (SELECT value FROM meta WHERE key='indexed') + 256 >= max(id) FROM name") == 1 ]]
}

# Its pieces are made one once nobody writes; that begins after a second.
is_merged() {
	[[ $(ask_database "SELECT (SELECT value FROM meta WHERE key='merged') + 256 >= max(id) FROM name") == 1 ]]
}

takeover() {
	local begin bytes cpu
	rm -rf "$D/b"
	peer_new b "$D/b" a
	await_quiet
	bytes=$(loopback_bytes) cpu=$(cpu_s a) begin=$(now_us)
	peer_spawn b
	until_true 600 0.1 has_all
	until_true 600 0.1 has_index
	FIGURE[takeover]=$(seconds $(($(now_us) - begin)))
	FIGURE[cpu]=$(cpu_s b)
	FIGURE[cpu_of_other]=$(calculate "$(cpu_s a) - $cpu")
	FIGURE[wire]=$(calculate "($(loopback_bytes) - $bytes) / $TAKEOVER_ENTRIES")
	until_true 120 0.1 is_merged
	sleep 2 # the scribe rests
	FIGURE[resident]=$(calculate "($(awk '/^VmRSS:/ { print $2 }' "/proc/${PID[b]}/status") - $SMALL_KIB) * 1024 / $TAKEOVER_ENTRIES")
	peer_stop b
	FIGURE[disk]=$(calculate "$(stat -c %s "$D/b/state/catalog.db") / $TAKEOVER_ENTRIES")
}
reference() {
	rm -f "$D/copy.db"
	timed reference copy_rows
}
copy_rows() {
	sqlite3 "$D/copy.db" "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cache_size=-16384;
		ATTACH 'file:$D/a/state/catalog.db?immutable=1' AS a;
		CREATE TABLE name(id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE);
		CREATE TABLE entry(name INTEGER NOT NULL, peer INTEGER NOT NULL, size INTEGER NOT NULL, root BLOB,
		mtime_ns INTEGER NOT NULL, mode INTEGER NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY(name, peer)) WITHOUT ROWID;
		CREATE INDEX entry_seq ON entry(peer, seq);
		CREATE INDEX entry_root ON entry(root, size, peer) WHERE root IS NOT NULL;
		BEGIN; INSERT INTO name SELECT * FROM a.name; INSERT INTO entry SELECT * FROM a.entry; COMMIT;" >"$D/copied"
}

bench_takeover() {
	local id figure
	built_tool catalog_load
	needs sqlite3
	room_for "$DISK" $((TAKEOVER_ENTRIES * 3000))
	((ROUNDS <= 3)) || ROUNDS=3
	peer_new a "$D/a"
	peer_start a
	SMALL_KIB=$(awk '/^VmRSS:/ { print $2 }' "/proc/${PID[a]}/status")
	id=$(ctl a --json status | grep -o '"id": *"[^"]*"' | head -n 1 | cut -d '"' -f 4)
	peer_stop a
	"$DISK/bin/catalog_load" own "$D/a/state" "$id" "$TAKEOVER_ENTRIES" 1 "$TAKEOVER_ENTRIES" >"$D/filled" || die "filling"
	say "filled: entries, names, bytes, KiB at most, seconds: $(cat "$D/filled")"
	peer_spawn a
	until_true 30 0.1 ctl a status
	note_round() {
		# The bar is a time, not a ratio to a copy of rows that nobody sends, checks or indexes.
		sample seconds "${FIGURE[takeover]}"
		say "takeover: ${FIGURE[takeover]} s, the rows alone into sqlite3 ${FIGURE[reference]} s"
		for figure in cpu cpu_of_other wire resident disk; do sample "$figure" "${FIGURE[$figure]}"; done
	}
	rounds takeover reference
	row seconds "takeover, $TAKEOVER_ENTRIES entries" "from the start to all in the index" - s "<=" 30 10
	row cpu "takeover, processor of the new peer" "user and system" - s "<=" 30 10
	row cpu_of_other "takeover, processor of the other" "user and system" - s "<=" 10 3
	row wire "takeover, an entry on the wire" "loopback, both ways" - B "<=" 300 150
	row disk "takeover, disk an entry" "catalog.db" - B "<=" 600 300
	row resident "takeover, memory an entry" "VmRSS at rest, less that of a small one" - B "<=" 250 50
}
