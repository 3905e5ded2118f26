/* SPDX-License-Identifier: MIT
 *
 * catalog_passed.c - versions that follows pass over, and for how long.  The scribe's thread, but for the question.
 *
 * REMOVED.  A file of ours that is removed while there are follows leaves its version behind in the same transaction, lest
 * another holder's news of it bring it back.  It is remembered as long as the catalog knows the name: somebody has the
 * file under the name that brings it here, or a tombstone says that he had.  Our own removal is such a tombstone, so the
 * youngest are remembered in any case, as many as catalog_tombstones.c keeps; of the others those that could come back.
 * When a name loses its last entry it is swept (catalog_names.c), and what was removed under it goes along.  So where files
 * come and go under ever new names there are never more of these than names, for each place where follows let them land.
 *
 * KNOWN.  When the entries of a peer are about to go because it numbers its changes anew, those that were looked at are
 * noted as known of this peer: what comes is told from what was there.  That lasts until all follows have
 * looked at its changes up to the head at which it began, the floor of its row; from then on its entries say themselves what is
 * known, and the marks what was looked at.  A peer that is forgotten meanwhile is a new one when it comes.  One that
 * begins anew over and over and never comes to the end does not pile them up: beyond as many as are believed
 * of a peer it begins with none.
 *
 * When the last follow goes, both are empty.
 */
#include "catalog_follow.h"

#include "catalog_db.h"

static const char removed_table[] =
    "CREATE TABLE IF NOT EXISTS follow_passed(name TEXT PRIMARY KEY NOT NULL,"
    " size INTEGER NOT NULL, root BLOB NOT NULL, mtime_ns INTEGER NOT NULL) WITHOUT ROWID;";
static const char known_table[] =
    "CREATE TABLE follow_known(peer TEXT NOT NULL, name TEXT NOT NULL, size INTEGER NOT NULL,"
    " root BLOB NOT NULL, mtime_ns INTEGER NOT NULL, PRIMARY KEY(peer, name)) WITHOUT ROWID;";

int
passed_make_tables(struct db *db)
{
	int rc = sqlite3_exec(db->handle, removed_table, NULL, NULL, NULL);
	if (rc != SQLITE_OK || db_has(db, "follow_known", NULL))
		return rc;
	/* Before there was this table nothing was ever swept. */
	if (db_run_plain(db, SQL_PASSED_SWEEP_ALL) != P2P_OK)
		return sqlite3_extended_errcode(db->handle);
	return sqlite3_exec(db->handle, known_table, NULL, NULL, NULL);
}

int
catalog_passed_over(struct catalog *catalog, const char *name, const char *peer,
		    struct catalog_version ret[CATALOG_PASSED_MAX])
{
	struct db *db = reader_take(catalog);
	if (db == NULL)
		return P2P_IO;
	int count = 0;
	int more = db_start(db, SQL_PASSED_GET, db_text(name), db_text(peer));
	for (; more > 0 && count < CATALOG_PASSED_MAX; more = db_next(db, SQL_PASSED_GET))
		db_col_version(db, SQL_PASSED_GET, 0, &ret[count++]);
	reader_give(catalog, db);
	return more < 0 ? more : count;
}

bool
catalog_is_anew(struct catalog *catalog, const char *peer)
{
	struct db *db = reader_take(catalog);
	if (db == NULL)
		return false;
	bool is_anew = db_start(db, SQL_KNOWN_HAS, db_text(peer)) > 0;
	if (is_anew)
		db_end(db, SQL_KNOWN_HAS);
	reader_give(catalog, db);
	return is_anew;
}

/* --- removed --- */

int
passed_removed_here(struct db *db, const char *name, const struct catalog_local *file)
{
	return db_run(db, SQL_PASSED_PUT, db_text(name), db_int(file->content.size_bytes),
		      db_digest(&file->content.root), db_int((uint64_t)file->mtime_ns));
}

int
passed_sweep(struct db *db, const char *name)
{
	return db_run(db, SQL_PASSED_SWEEP, db_text(name));
}

/* --- known --- */

int
passed_note_known(struct db *db, const struct peer_row *row, const char *peer)
{
	int code =
	    db_run(db, SQL_KNOWN_LIMIT, db_text(peer), db_int(db->site->limits.files_per_peer));
	return code == P2P_OK ? db_run(db, SQL_KNOWN_PUT, db_int((uint64_t)row->no), db_text(peer),
				       db_int(row->epoch))
			      : code;
}

int
passed_looked_at(struct db *db, const char *peer)
{
	return db_run(db, SQL_KNOWN_DROP, db_text(peer));
}

/* --- both --- */

int
passed_unfollowed(struct db *db)
{
	int code = db_run_plain(db, SQL_KNOWN_UNFOLLOWED);
	if (code == P2P_OK)
		code = db_run_plain(db, SQL_PASSED_UNFOLLOWED);
	/* It may have been the only one by which a name lands where something was removed. */
	return code == P2P_OK ? db_run_plain(db, SQL_PASSED_SWEEP_ALL) : code;
}
