/* SPDX-License-Identifier: MIT
 *
 * catalog_follow.c - follows in the database: their tables, questions, and what commits do to them.
 *
 * The tables are made at opening where they are missing, beside those of the schema: a catalog that
 * knows nothing of follows becomes one that has none.
 *
 * Three things happen here without being asked for, each in the transaction of its cause.  A new
 * follow gets a mark at the head of every peer that is known: "from now on" begins between two
 * commits.  A file of ours that is removed leaves its version behind as passed over, lest another
 * holder's news of it bring it back.  And when a peer's entries are about to go because it numbers
 * its changes anew, those that were looked at become passed over and the marks go back to the
 * beginning: what comes is told from what was there.
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
    " epoch INTEGER NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY(follow, peer)) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS follow_passed(name TEXT PRIMARY KEY NOT NULL,"
    " size INTEGER NOT NULL, root BLOB NOT NULL, mtime_ns INTEGER NOT NULL) WITHOUT ROWID;";

int
follow_make_tables(struct db *db)
{
	return sqlite3_exec(db->handle, tables, NULL, NULL, NULL);
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

/* Size, root and mtime in columns from `column` on. */
static struct catalog_version
read_version(struct db *db, enum sql sql, int column)
{
	struct catalog_version version = {
		.content.size_bytes = db_col_int(db, sql, column),
		.mtime_ns = (int64_t)db_col_int(db, sql, column + 2),
	};
	db_col_digest(db, sql, column + 1, &version.content.root);
	return version;
}

int
catalog_passed_over(struct catalog *catalog, const char *name, struct catalog_version *ret)
{
	struct db *db = reader_take(catalog);
	if (db == NULL)
		return P2P_IO;
	int found = db_start(db, SQL_FOLLOW_PASSED_GET, db_text(name));
	if (found > 0) {
		*ret = read_version(db, SQL_FOLLOW_PASSED_GET, 0);
		db_end(db, SQL_FOLLOW_PASSED_GET);
	}
	reader_give(catalog, db);
	return found > 0 ? P2P_OK : found == 0 ? P2P_NOT_FOUND : found;
}

int
catalog_wanted(struct catalog *catalog, const char *name, catalog_wanted_fn fn, void *arg)
{
	struct db *db = reader_take(catalog);
	if (db == NULL)
		return P2P_IO;
	int more = db_start(db, SQL_ITEM_OF_NAME, db_text(name));
	for (; more > 0; more = db_next(db, SQL_ITEM_OF_NAME)) {
		struct catalog_version version = read_version(db, SQL_ITEM_OF_NAME, 2);
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
	/* Without follows nothing is passed over. */
	return code == P2P_OK ? db_run_plain(db, SQL_FOLLOW_PASSED_DROP) : code;
}

int
follow_apply(struct db *db, const struct op *op)
{
	if (op->kind == OP_FOLLOW)
		return apply_follow(db, op);
	if (op->kind == OP_UNFOLLOW)
		return apply_unfollow(db, op->mark.follow);
	if (op->kind == OP_MARK)
		return db_run(db, SQL_FOLLOW_MARK_PUT, db_int(op->mark.follow), db_text(op->name),
			      db_int(op->mark.first), db_int(op->mark.second));
	return db_run(db, SQL_FOLLOW_COUNTED, db_int(op->mark.follow), db_int(op->mark.first),
		      db_int(op->mark.second));
}

int
follow_removed_here(struct db *db, const char *name, const struct catalog_local *file)
{
	return db_run(db, SQL_FOLLOW_PASSED_PUT, db_text(name), db_int(file->content.size_bytes),
		      db_digest(&file->content.root), db_int((uint64_t)file->mtime_ns));
}

int
follow_peer_begins_anew(struct db *db, const struct peer_row *row, const char *peer)
{
	/* Never heard of, or forgotten: if there are marks, they may still be right. */
	if (row->epoch == 0)
		return P2P_OK;
	int code = db_run(db, SQL_FOLLOW_PASSED_KNOWN, db_int((uint64_t)row->no), db_text(peer),
			  db_int(row->epoch));
	return code == P2P_OK ? db_run(db, SQL_FOLLOW_MARK_BACK, db_text(peer)) : code;
}
