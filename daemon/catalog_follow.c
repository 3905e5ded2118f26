/* SPDX-License-Identifier: MIT
 *
 * catalog_follow.c - follows in the database: their tables, questions, and what commits do to them.
 *
 * The tables are made at opening where they are missing, beside those of the schema: a catalog that
 * knows nothing of follows becomes one that has none.
 *
 * A new follow gets a mark at the head of every peer that is known, in the transaction that enters
 * it: "from now on" begins between two commits.  When a peer numbers its changes anew, its marks go
 * back to the beginning; what keeps that from telling everything once more, and a file that was
 * removed here from coming back, is in catalog_passed.c.
 *
 * A peer that is forgotten keeps its marks.  If it comes back as it was, it goes on there.
 */
#include "catalog_follow.h"

#include <stdlib.h>
#include <string.h>

#include "catalog_db.h"
#include "mem.h"

/* `below` is the second glob: what lies in the directory that a plain pattern may be. */
static const char tables[] =
    "CREATE TABLE IF NOT EXISTS follow(no INTEGER PRIMARY KEY AUTOINCREMENT,"
    " pattern TEXT NOT NULL, below TEXT NOT NULL, place TEXT NOT NULL,"
    " replace_it INTEGER NOT NULL, since_wall_ms INTEGER NOT NULL,"
    " files INTEGER NOT NULL DEFAULT 0, bytes INTEGER NOT NULL DEFAULT 0,"
    " UNIQUE(pattern, place));"
    "CREATE TABLE IF NOT EXISTS follow_mark(follow INTEGER NOT NULL, peer TEXT NOT NULL,"
    " epoch INTEGER NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY(follow, peer)) WITHOUT ROWID;";

int
follow_make_tables(struct db *db)
{
	int rc = sqlite3_exec(db->handle, tables, NULL, NULL, NULL);
	return rc == SQLITE_OK ? passed_make_tables(db) : rc;
}

/* --- reading --- */

int
catalog_follows(struct catalog *catalog, catalog_follow_fn fn, void *arg)
{
	struct db *db = reader_take(catalog);
	if (db == NULL)
		return P2P_IO;
	int more = db_start_args(db, SQL_FOLLOW_LIST, NULL, 0);
	for (; more > 0; more = db_next(db, SQL_FOLLOW_LIST)) {
		struct catalog_follow follow = {
			.no = db_col_int(db, SQL_FOLLOW_LIST, 0),
			.pattern = db_col_text(db, SQL_FOLLOW_LIST, 1),
			.place = db_col_text(db, SQL_FOLLOW_LIST, 2),
			.replace = db_col_int(db, SQL_FOLLOW_LIST, 3) != 0,
			.since_wall_ms = (int64_t)db_col_int(db, SQL_FOLLOW_LIST, 4),
			.files = db_col_int(db, SQL_FOLLOW_LIST, 5),
			.bytes = db_col_int(db, SQL_FOLLOW_LIST, 6),
		};
		fn(arg, &follow);
	}
	reader_give(catalog, db);
	return more;
}

int
catalog_follow_mark(struct catalog *catalog, uint64_t follow, const char *peer,
		    struct catalog_mark *ret)
{
	struct db *db = reader_take(catalog);
	if (db == NULL)
		return P2P_IO;
	int found = db_start(db, SQL_FOLLOW_MARK_GET, db_int(follow), db_text(peer));
	if (found == 0)
		*ret = (struct catalog_mark){ 0 };
	if (found > 0) {
		ret->epoch = db_col_int(db, SQL_FOLLOW_MARK_GET, 0);
		ret->seq = db_col_int(db, SQL_FOLLOW_MARK_GET, 1);
		db_end(db, SQL_FOLLOW_MARK_GET);
	}
	reader_give(catalog, db);
	return found < 0 ? found : P2P_OK;
}

void
db_col_version(struct db *db, enum sql sql, int column, struct catalog_version *ret)
{
	ret->content.size_bytes = db_col_int(db, sql, column);
	db_col_digest(db, sql, column + 1, &ret->content.root);
	ret->mtime_ns = (int64_t)db_col_int(db, sql, column + 2);
}

int
catalog_wanted(struct catalog *catalog, const char *name, catalog_wanted_fn fn, void *arg)
{
	struct db *db = reader_take(catalog);
	if (db == NULL)
		return P2P_IO;
	int more = db_start(db, SQL_ITEM_OF_NAME, db_text(name));
	for (; more > 0; more = db_next(db, SQL_ITEM_OF_NAME)) {
		struct catalog_version version;
		db_col_version(db, SQL_ITEM_OF_NAME, 2, &version);
		fn(arg, db_col_int(db, SQL_ITEM_OF_NAME, 0), db_col_text(db, SQL_ITEM_OF_NAME, 1),
		   &version);
	}
	reader_give(catalog, db);
	return more;
}

/* --- batches --- */

void
catalog_batch_follow(struct catalog_batch *batch, const struct catalog_follow *follow)
{
	struct op *op = batch_add(batch, OP_FOLLOW, 1);
	op->name = mem_string(follow->pattern);
	op->follow.place = mem_string(follow->place);
	op->follow.replace = follow->replace;
	op->follow.since_wall_ms = follow->since_wall_ms;
}

void
catalog_batch_unfollow(struct catalog_batch *batch, uint64_t no)
{
	batch_add(batch, OP_UNFOLLOW, 1)->mark.follow = no;
}

void
catalog_batch_mark(struct catalog_batch *batch, uint64_t follow, const char *peer,
		   const struct catalog_mark *mark)
{
	struct op *op = batch_add(batch, OP_MARK, 1);
	op->name = mem_string(peer);
	op->mark.follow = follow;
	op->mark.first = mark->epoch;
	op->mark.second = mark->seq;
}

void
catalog_batch_followed(struct catalog_batch *batch, uint64_t follow, uint64_t files, uint64_t bytes)
{
	struct op *op = batch_add(batch, OP_FOLLOWED, 1);
	op->mark.follow = follow;
	op->mark.first = files;
	op->mark.second = bytes;
}

/* --- the scribe's side --- */

/* The new follow begins where the peers are now. */
static int
mark_heads(struct db *db, const struct op *op)
{
	int found = db_start(db, SQL_FOLLOW_FIND, db_text(op->name), db_text(op->follow.place));
	if (found != 1)
		return found < 0 ? found : P2P_INTERNAL;
	uint64_t no = db_col_int(db, SQL_FOLLOW_FIND, 0);
	db_end(db, SQL_FOLLOW_FIND);
	return db_run(db, SQL_FOLLOW_MARK_HEADS, db_int(no));
}

static int
apply_follow(struct db *db, const struct op *op)
{
	int found = db_start_args(db, SQL_FOLLOW_COUNT, NULL, 0);
	if (found != 1)
		return found < 0 ? found : P2P_INTERNAL;
	uint64_t count = db_col_int(db, SQL_FOLLOW_COUNT, 0);
	db_end(db, SQL_FOLLOW_COUNT);
	found = db_start(db, SQL_FOLLOW_FIND, db_text(op->name), db_text(op->follow.place));
	if (found < 0)
		return found;
	if (found == 1) {
		uint64_t no = db_col_int(db, SQL_FOLLOW_FIND, 0);
		db_end(db, SQL_FOLLOW_FIND);
		return db_run(db, SQL_FOLLOW_CHANGE, db_int(no), db_int(op->follow.replace));
	}
	if (count >= CATALOG_FOLLOWS_MAX)
		return P2P_TOO_MANY;
	bool is_plain = strpbrk(op->name, "*?[") == NULL;
	char *below = mem_format(is_plain ? "%s/*" : "%s", op->name);
	int code =
	    db_run(db, SQL_FOLLOW_PUT, db_text(op->name), db_text(below), db_text(op->follow.place),
		   db_int(op->follow.replace), db_int((uint64_t)op->follow.since_wall_ms));
	free(below);
	return code == P2P_OK ? mark_heads(db, op) : code;
}

static int
apply_unfollow(struct db *db, uint64_t no)
{
	int code = db_run(db, SQL_FOLLOW_DROP, db_int(no));
	if (code == P2P_OK)
		code = db_run(db, SQL_FOLLOW_MARK_DROP, db_int(no));
	return code == P2P_OK ? passed_unfollowed(db) : code;
}

static int
apply_mark(struct db *db, const struct op *op)
{
	int code = db_run(db, SQL_FOLLOW_MARK_PUT, db_int(op->mark.follow), db_text(op->name),
			  db_int(op->mark.first), db_int(op->mark.second));
	return code == P2P_OK ? passed_looked_at(db, op->name) : code;
}

int
follow_apply(struct db *db, const struct op *op)
{
	if (op->kind == OP_FOLLOW)
		return apply_follow(db, op);
	if (op->kind == OP_UNFOLLOW)
		return apply_unfollow(db, op->mark.follow);
	if (op->kind == OP_MARK)
		return apply_mark(db, op);
	return db_run(db, SQL_FOLLOW_COUNTED, db_int(op->mark.follow), db_int(op->mark.first),
		      db_int(op->mark.second));
}

int
follow_peer_begins_anew(struct db *db, const struct peer_row *row, const char *peer)
{
	/* Never heard of, or forgotten: if there are marks, they may still be right. */
	if (row->epoch == 0)
		return P2P_OK;
	int code = passed_note_known(db, row, peer);
	return code == P2P_OK ? db_run(db, SQL_FOLLOW_MARK_BACK, db_text(peer)) : code;
}
