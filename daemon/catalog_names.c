/* SPDX-License-Identifier: MIT
 *
 * catalog_names.c - each name once, and the index that searches find it by.  The scribe's thread.
 *
 * A name gets its number with its first entry, and keeps it.  The index (`find`, FTS5 with
 * trigrams) holds the search key of each name (name.h).  One addition to it costs about as much as
 * a hundred that are made together; so new names wait in a tail, those behind the number
 * `indexed`, which readers walk before they ask the index.  When the tail has TAIL_MAX names they
 * are indexed, in a transaction of their own, behind the commit that brought them: nobody who
 * submits a batch waits for that.
 *
 * A name without entries, left by a peer that was forgotten or began anew, or by a tombstone that
 * went, is taken from the index and dropped later, some at a time.  Until then it costs its room,
 * and a reader that comes upon it a look.
 *
 * Each addition is a piece of the index of its own, and a question is asked of all pieces: of a dozen
 * it takes half as long again as of one.  So they are made one when the scribe rests and enough
 * has been added since, which writes each name a few times in all.
 *
 * All these are chores: they may be left off at any point, and go on after a restart.  The index is also
 * made anew when the Unicode tables by which names are folded change, or the rules for keys.
 */
#include <stdio.h>
#include <string.h>

#include "catalog_db.h"

#define TAIL_MAX  256   /* names that are not in the index, when the scribe rests */
#define INDEX_MAX 64000 /* names of one transaction */
#define SWEEP_MAX 500   /* the same for those that go */
#define MERGE_MIN 5000  /* names, and half of those before, that may be in pieces of their own */

/* --- names --- */

int
name_row_find(struct db *db, const char *name, int64_t *ret_id)
{
	int found = db_start(db, SQL_NAME_FIND, db_text(name));
	if (found != 1)
		return found;
	*ret_id = (int64_t)db_col_int(db, SQL_NAME_FIND, 0);
	db_end(db, SQL_NAME_FIND);
	return 1;
}

int
name_row_need(struct db *db, const char *name, int64_t *ret_id)
{
	int found = name_row_find(db, name, ret_id);
	if (found != 0)
		return found < 0 ? found : P2P_OK;
	int code = db_run(db, SQL_NAME_ADD, db_text(name));
	if (code == P2P_OK)
		*ret_id = sqlite3_last_insert_rowid(db->handle);
	return code;
}

/* --- the index --- */

void
name_row_key(const char *name, char *ret)
{
	char folded[NAME_FOLDED_SIZE];
	size_t len = strlen(name);

	if (!name_fold(name, len, folded, sizeof(folded)))
		snprintf(folded, sizeof(folded), "%s", name);
	name_search_key(folded, ret);
}

/* How far something is; 0 if it did not begin. */
static int64_t
get_mark(struct db *db, const char *what)
{
	int64_t id = 0;
	if (db_start(db, SQL_META_GET, db_text(what)) == 1) {
		id = (int64_t)db_col_int(db, SQL_META_GET, 0);
		db_end(db, SQL_META_GET);
	}
	return id;
}

static int
set_mark(struct db *db, const char *what, int64_t id)
{
	return db_run(db, SQL_META_SET, db_text(what), db_int((uint64_t)id));
}

int64_t
names_indexed(struct db *db)
{
	return get_mark(db, "indexed");
}

/* True if the tail is too long. */
static bool
has_tail(struct db *db)
{
	uint64_t indexed = (uint64_t)names_indexed(db);
	int found = db_start(db, SQL_NAME_TAIL, db_int(indexed), db_int(1), db_int(TAIL_MAX - 1));
	if (found == 1)
		db_end(db, SQL_NAME_TAIL);
	return found == 1;
}

static int
index_tail(struct db *db)
{
	char key[NAME_KEY_SIZE];
	int64_t indexed = names_indexed(db);
	int code = P2P_OK;
	int more =
	    db_start(db, SQL_NAME_TAIL, db_int((uint64_t)indexed), db_int(INDEX_MAX), db_int(0));
	for (; more > 0 && code == P2P_OK; more = db_next(db, SQL_NAME_TAIL)) {
		indexed = (int64_t)db_col_int(db, SQL_NAME_TAIL, 0);
		name_row_key(db_col_text(db, SQL_NAME_TAIL, 1), key);
		code = db_run(db, SQL_FIND_ADD, db_int((uint64_t)indexed), db_text(key));
	}
	if (more > 0)
		db_end(db, SQL_NAME_TAIL);
	if (code == P2P_OK && more < 0)
		code = more;
	return code == P2P_OK ? set_mark(db, "indexed", indexed) : code;
}

/* --- names that nobody has any more --- */

static bool
has_orphans(struct db *db)
{
	int found = db_start_args(db, SQL_ORPHAN_NEXT, NULL, 0);
	if (found == 1)
		db_end(db, SQL_ORPHAN_NEXT);
	return found == 1;
}

/* 1 if there was one, 0, or a code. */
static int
sweep_one(struct db *db, int64_t indexed)
{
	char name[NAME_SIZE], key[NAME_KEY_SIZE];
	int found = db_start_args(db, SQL_ORPHAN_NEXT, NULL, 0);
	if (found != 1)
		return found;
	uint64_t id = db_col_int(db, SQL_ORPHAN_NEXT, 0);
	bool is_gone = db_col_int(db, SQL_ORPHAN_NEXT, 1) == 0;
	snprintf(name, sizeof(name), "%s", db_col_text(db, SQL_ORPHAN_NEXT, 2));
	db_end(db, SQL_ORPHAN_NEXT);

	int code = P2P_OK;
	if (is_gone && name[0] != '\0' && (int64_t)id <= indexed) {
		name_row_key(name, key);
		code = db_run(db, SQL_FIND_DROP, db_int(id), db_text(key));
	}
	if (is_gone && code == P2P_OK)
		code = db_run(db, SQL_NAME_DROP, db_int(id));
	if (is_gone && code == P2P_OK)
		code = passed_sweep(db, name);
	if (code == P2P_OK)
		code = db_run(db, SQL_ORPHAN_DROP, db_int(id));
	return code < 0 ? code : 1;
}

static int
sweep(struct db *db)
{
	int64_t indexed = names_indexed(db);
	int more = 1;
	for (int i = 0; i < SWEEP_MAX && more > 0; i++)
		more = sweep_one(db, indexed);
	return more < 0 ? more : P2P_OK;
}

/* --- one piece of many --- */

static int
merge_some(struct db *db)
{
	int before = sqlite3_total_changes(db->handle);
	int code = db_run_plain(db, SQL_FIND_MERGE);
	/* What leaves the index as it was counts as one. */
	bool is_done = sqlite3_total_changes(db->handle) - before < 2;
	return code == P2P_OK && is_done ? set_mark(db, "merged", names_indexed(db)) : code;
}

bool
names_merge(struct db *db)
{
	int64_t merged = get_mark(db, "merged");

	db_forgive(db);
	return names_indexed(db) > merged + merged / 2 + MERGE_MIN && db_chore(db, merge_some);
}

/* --- chores --- */

bool
names_tidy(struct db *db)
{
	db_forgive(db);
	int (*chore)(struct db *) = has_tail(db) ? index_tail : has_orphans(db) ? sweep : NULL;
	return chore != NULL && db_chore(db, chore);
}

int
names_check(struct db *db)
{
	char tables[64];
	snprintf(tables, sizeof(tables), "%s %d", name_tables(), NAME_KEY_VERSION);
	int found = db_start(db, SQL_META_GET, db_text("unicode"));
	bool is_same = found == 1 && strcmp(db_col_text(db, SQL_META_GET, 0), tables) == 0;
	if (found == 1)
		db_end(db, SQL_META_GET);
	if (is_same)
		return P2P_OK;
	int code = found < 0 ? found : db_run_plain(db, SQL_BEGIN);
	if (code == P2P_OK)
		code = db_run_plain(db, SQL_FIND_CLEAR);
	if (code == P2P_OK)
		code = set_mark(db, "indexed", 0);
	if (code == P2P_OK)
		code = set_mark(db, "merged", 0);
	if (code == P2P_OK)
		code = db_run(db, SQL_META_SET, db_text("unicode"), db_text(tables));
	if (code == P2P_OK)
		return db_run_plain(db, SQL_COMMIT);
	if (!sqlite3_get_autocommit(db->handle))
		db_run_plain(db, SQL_ROLLBACK);
	return code;
}
