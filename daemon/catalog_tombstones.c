/* SPDX-License-Identifier: MIT
 *
 * catalog_tombstones.c - removals are not remembered for ever.  The scribe's thread.
 *
 * A removed entry stays as a tombstone, so that who asks for changes later learns of it.  Where files come and go under
 * ever new names there would be no end of them.  So of each peer's the youngest CATALOG_TOMBSTONES_MIN are kept, of our
 * own as many as there are files if that is more: by then who knows nothing of us has less to pull than who missed the
 * removals.  They are counted, not dated, for clocks may be wrong.  When there are an eighth more, the oldest go, as a chore
 * behind a commit, some at a time; a kill between two times leaves a little more to do.
 *
 * THE FLOOR.  In the same transaction the peer's row notes up to which seq removals are gone: its floor.  Above it
 * all are here, at it and below none.  Changes since S < floor would lack removals, and are answered from the beginning.
 * Who has begun there is soon at some S < floor himself, and must not be sent back again.  So he says at which
 * head H of ours he began.  What was removed up to H was gone by then; he dropped what he had, and what he got since was there
 * later: no removal up to H concerns him.  Hence he may go on if S or H is at the floor or above.  That ends: the floor passes
 * H only when all tombstones that are kept are of removals since he began, while he has not more to pull than these twice over
 * and a little.  Only who pulls no faster than files are removed never comes to an end, and he would not without a floor
 * either; he begins anew once a minute at most (peers_pull.c).
 *
 * Who does not say where he began goes on, whatever S is: sent back he would never get beyond the first page, with
 * nothing of the rest, while so he gets all that there is, and at worst keeps names that were removed while he was away.  All
 * peers say it; this is about programs of others, and p2pd-rest(7) tells them.
 *
 * OF OTHERS.  Nobody follows a peer by what we have of it but programs that ask us, and our own follows, to which a removal
 * that is not there any more means only that a fetch which it would have ended still waits.  What a peer that we begin
 * with removed before leaves no tombstone at all: the floor of its row is then the H from above (catalog_pages.c), and tells us
 * where we began when we ask on, after a restart too.  Until we have come there it is ahead of our seq, and counts as
 * equal to it.
 */
#include <stdio.h>

#include "catalog_apply.h"

#define COLLECT_MAX 32000 /* of one transaction: as many as a commit may bring */

uint64_t
tombstones_floor(const struct peer_row *row)
{
	return row->floor < row->seq ? row->floor : row->seq;
}

/* A peer that has too many: 1, its id and how many are to go; 0 or a code. */
static int
find_many(struct db *db, char ret_peer[PEER_ID_SIZE], uint64_t *ret_surplus)
{
	int found =
	    db_start(db, SQL_TOMBSTONES_MANY, db_int(atomic_load(&db->site->tombstones_min)));
	if (found != 1)
		return found;
	snprintf(ret_peer, PEER_ID_SIZE, "%s", db_col_text(db, SQL_TOMBSTONES_MANY, 0));
	*ret_surplus = db_col_int(db, SQL_TOMBSTONES_MANY, 1);
	db_end(db, SQL_TOMBSTONES_MANY);
	return 1;
}

/* The seq of the youngest of the `count` oldest.  P2P_IO: the peer's row counts some that are not there. */
static int
find_bound(struct db *db, const struct peer_row *row, uint64_t count, uint64_t *ret_seq)
{
	int found = db_start(db, SQL_TOMBSTONES_BOUND, db_int((uint64_t)row->no),
			     db_int(row->floor), db_int(count));
	if (found != 1)
		return found < 0 ? found : P2P_IO;
	bool is_none = db_col_is_null(db, SQL_TOMBSTONES_BOUND, 0);
	*ret_seq = db_col_int(db, SQL_TOMBSTONES_BOUND, 0);
	db_end(db, SQL_TOMBSTONES_BOUND);
	return is_none ? P2P_IO : P2P_OK;
}

static int
add_up_names(struct db *db, const struct db_arg *args, uint64_t *ret_bytes)
{
	int found = db_start_args(db, SQL_TOMBSTONES_BYTES, args, 3);
	if (found != 1)
		return found < 0 ? found : P2P_IO;
	*ret_bytes = db_col_int(db, SQL_TOMBSTONES_BYTES, 0);
	db_end(db, SQL_TOMBSTONES_BYTES);
	return P2P_OK;
}

/* Drops tombstones up to `bound`; names that lose their last entry are left to another chore. */
static int
drop_through(struct db *db, struct peer_row *row, uint64_t bound)
{
	struct db_arg args[] = { db_int((uint64_t)row->no), db_int(row->floor), db_int(bound) };
	uint64_t name_bytes;
	int code = add_up_names(db, args, &name_bytes);
	if (code == P2P_OK)
		code = db_run_args(db, SQL_TOMBSTONES_NOTE, args, 3);
	if (code == P2P_OK)
		code = db_run_args(db, SQL_TOMBSTONES_DROP, args, 3);
	if (code != P2P_OK)
		return code;
	uint64_t dropped = (uint64_t)sqlite3_changes(db->handle);
	if (dropped > row->entry_count - row->file_count || name_bytes > row->name_bytes)
		return P2P_IO;
	row->entry_count -= dropped;
	row->name_bytes -= name_bytes;
	row->floor = bound;
	return peer_row_save(db, row);
}

static int
collect(struct db *db)
{
	char peer[PEER_ID_SIZE];
	uint64_t surplus, bound;
	struct peer_row row;
	int found = find_many(db, peer, &surplus);
	if (found == 1)
		found = peer_row_load(db, peer, &row);
	if (found != 1)
		return found;
	int code = find_bound(db, &row, surplus < COLLECT_MAX ? surplus : COLLECT_MAX, &bound);
	return code == P2P_OK ? drop_through(db, &row, bound) : code;
}

bool
tombstones_collect(struct db *db)
{
	char peer[PEER_ID_SIZE];
	uint64_t surplus;
	db_forgive(db);
	return find_many(db, peer, &surplus) == 1 && db_chore(db, collect);
}
