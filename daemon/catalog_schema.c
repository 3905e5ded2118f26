/* SPDX-License-Identifier: MIT
 *
 * catalog_schema.c - the tables, and how those of an older version become these.
 *
 * Each name stands once, in `name`, however many peers have a file of it; entries refer to it by
 * number. Numbers are given in ascending order and never again, so that the largest is the name
 * that became known last.  `find` is the index that searches use (catalog_names.c keeps it); it can
 * be made anew from `name` at any time, and holds no text itself.
 *
 * Every version has one step to the next, an SQL script that runs inside of one transaction: a
 * database is of the old version or of the new one, and loses nothing.  The index of a migrated
 * one is left to the scribe, so that a start never waits for it.
 */
#include "catalog_db.h"

#include <stdlib.h>

#include "clock.h"
#include "log.h"
#include "mem.h"

#define NAMES                                                                                                                                         \
	"CREATE TABLE name(id INTEGER PRIMARY KEY AUTOINCREMENT,"                                                                                     \
	" name TEXT NOT NULL UNIQUE);" /* Names that may have lost their last entry. */                                                               \
	"CREATE TABLE orphan(name INTEGER PRIMARY KEY);"                                                                                              \
	"CREATE VIRTUAL TABLE find USING fts5(key, content='', columnsize=0,"                                                                         \
	" detail=none, tokenize='trigram case_sensitive 1');" /* Fewer, larger merges: writing counts more than the look into a few more segments. */ \
	"INSERT INTO find(find, rank) VALUES('automerge', 8);"                                                                                        \
	"INSERT INTO meta(key, value) VALUES('indexed', 0);"

#define ENTRIES                                                            \
	"CREATE TABLE entry(name INTEGER NOT NULL, peer INTEGER NOT NULL," \
	" size INTEGER NOT NULL, root BLOB, mtime_ns INTEGER NOT NULL,"    \
	" mode INTEGER NOT NULL, seq INTEGER NOT NULL,"                    \
	" PRIMARY KEY(name, peer)) WITHOUT ROWID;"
/* Separate, so that a migration can fill the table first. */
#define ENTRY_INDEXES                                 \
	"CREATE INDEX entry_seq ON entry(peer, seq);" \
	"CREATE INDEX entry_root ON entry(root, size, peer) WHERE root IS NOT NULL;"

/* Directories that were not there when a fetch came to them. */
#define MAKING                                                              \
	"CREATE TABLE making(name TEXT NOT NULL, fetch INTEGER NOT NULL,"   \
	" PRIMARY KEY(name, fetch)) WITHOUT ROWID;"                         \
	"CREATE INDEX making_fetch ON making(fetch, name);"

static const char schema[] =
    "CREATE TABLE meta(key TEXT PRIMARY KEY, value) WITHOUT ROWID;"
    "CREATE TABLE peer(no INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE,"
    " name TEXT NOT NULL DEFAULT '', addresses TEXT NOT NULL DEFAULT '',"
    " epoch INTEGER NOT NULL DEFAULT 0, seq INTEGER NOT NULL DEFAULT 0,"
    " entry_count INTEGER NOT NULL DEFAULT 0, file_count INTEGER NOT NULL DEFAULT 0,"
    " byte_count INTEGER NOT NULL DEFAULT 0, heard_wall_ms INTEGER NOT NULL DEFAULT 0,"
    " floor INTEGER NOT NULL DEFAULT 0, name_bytes INTEGER NOT NULL DEFAULT 0);" NAMES
	ENTRIES ENTRY_INDEXES
    "CREATE TABLE local(name TEXT PRIMARY KEY NOT NULL, size INTEGER NOT NULL,"
    " root BLOB NOT NULL, mtime_ns INTEGER NOT NULL, mode INTEGER NOT NULL,"
    " sig_size INTEGER NOT NULL, sig_mtime_ns INTEGER NOT NULL, sig_ctime_ns INTEGER NOT NULL,"
    " sig_device INTEGER NOT NULL, sig_inode INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE INDEX local_root ON local(root, size);"
    "CREATE TABLE layer(id INTEGER PRIMARY KEY, root BLOB NOT NULL, size INTEGER NOT NULL,"
    " nodes BLOB NOT NULL, UNIQUE(root, size));"
    "CREATE TABLE fetch(id INTEGER PRIMARY KEY, what TEXT NOT NULL, replace_it INTEGER NOT NULL,"
    " priority INTEGER NOT NULL DEFAULT 0, front INTEGER NOT NULL DEFAULT 0);"
    "CREATE TABLE fetch_item(fetch INTEGER NOT NULL, position INTEGER NOT NULL,"
    " name TEXT NOT NULL, size INTEGER NOT NULL, root BLOB NOT NULL, mtime_ns INTEGER NOT NULL,"
    " mode INTEGER NOT NULL, PRIMARY KEY(fetch, position)) WITHOUT ROWID;"
    "CREATE INDEX fetch_item_name ON fetch_item(fetch, name);" MAKING;

/* From version n + 1 to the next. */
static const char *const steps[] = {
	/* 1: names stood in every entry.  What was written last counts as known last. */
	"ALTER TABLE entry RENAME TO old_entry; DROP INDEX entry_seq; DROP INDEX entry_root;" NAMES
	"INSERT INTO name(name) SELECT name FROM old_entry GROUP BY name"
	" ORDER BY max(mtime_ns), name;" ENTRIES
	"INSERT INTO entry SELECT n.id, o.peer, o.size, o.root, o.mtime_ns, o.mode, o.seq"
	" FROM name n CROSS JOIN old_entry o ON o.name=n.name ORDER BY n.id, o.peer;"
	"DROP TABLE old_entry;" ENTRY_INDEXES,
	/* 2: all fetches had one rank. */
	"ALTER TABLE fetch ADD COLUMN priority INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE fetch ADD COLUMN front INTEGER NOT NULL DEFAULT 0;",
	/* 3: nothing was known of directories. */
	MAKING,
	/* 4: all tombstones stayed, and names were not added up. */
	"ALTER TABLE peer ADD COLUMN floor INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE peer ADD COLUMN name_bytes INTEGER NOT NULL DEFAULT 0;"
	"UPDATE peer SET name_bytes=s.bytes FROM (SELECT e.peer, sum(length(CAST(n.name AS BLOB)))"
	" AS bytes FROM entry e CROSS JOIN name n ON n.id=e.name GROUP BY e.peer) s"
	" WHERE s.peer=peer.no;",
};

#define SCHEMA_VERSION ((int)(sizeof(steps) / sizeof(steps[0])) + 1)

bool
db_schema_is_known(int64_t version)
{
	return version >= 1 && version <= SCHEMA_VERSION;
}

int
db_create_schema(struct db *db, const char *self, int application_id)
{
	char *sql = mem_format("BEGIN IMMEDIATE; %s"
			       "PRAGMA application_id=%d; PRAGMA user_version=%d;"
			       "INSERT INTO meta(key,value) VALUES('open',0);"
			       "INSERT INTO peer(no,id,epoch) VALUES(%d,'%s',%lld);COMMIT",
			       schema, application_id, SCHEMA_VERSION, SELF_NO, self,
			       (long long)clock_wall_ms());
	int rc = sqlite3_exec(db->handle, sql, NULL, NULL, NULL);
	free(sql);
	return rc;
}

int
db_migrate(struct db *db, int64_t version)
{
	int rc = SQLITE_OK;

	for (; version < SCHEMA_VERSION && rc == SQLITE_OK; version++) {
		log_info("the catalog %s is brought to version %d", db->site->path,
			 (int)version + 1);
		char *sql = mem_format("BEGIN IMMEDIATE; %s PRAGMA user_version=%d; COMMIT",
				       steps[version - 1], (int)version + 1);
		rc = sqlite3_exec(db->handle, sql, NULL, NULL, NULL);
		free(sql);
	}
	if (rc != SQLITE_OK && !sqlite3_get_autocommit(db->handle))
		sqlite3_exec(db->handle, "ROLLBACK", NULL, NULL, NULL);
	return rc;
}
