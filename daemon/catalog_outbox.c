/* SPDX-License-Identifier: MIT
 *
 * catalog_outbox.c - events on their way to a broker, in the catalog's own file.
 *
 * The scribe's part is called by catalog_apply.c inside of its transaction: box_add_change() for
 * each change it tells, box_apply() for the operations of a batch that are about the outbox, and
 * box_end() once per batch, which drops what is too much and saves the totals.  They stand in a row
 * of their own, because counting a table takes a walk, and because the last number must be known
 * when the outbox is empty.  Being rows they are undone with everything else.
 *
 * The totals also have how far our own changes went when the outbox was last filled.  A daemon that
 * ran without a broker for a while finds there that something is missing, and says so once.
 *
 * The name of a peer is kept with what happened to its files: by the time that is sent the peer may
 * have been forgotten.
 *
 * The tables are no part of the catalog's version: a catalog that has none gets them when it is
 * opened, which is cheaper than building it anew.
 *
 * An entry that is in flight to the broker may be dropped here at the same time: it is then counted
 * as lost although it arrived.  So the count is what is lost at most.
 *
 * Sending is for others (broker.c).
 */
#include "catalog_outbox.h"

#include <stdlib.h>
#include <string.h>

#include "catalog_db.h"
#include "clock.h"
#include "log.h"
#include "mem.h"

#define ENTRY_BYTES 96    /* of an entry without its name and body, about */
#define ROOM_SHARE  10    /* a full outbox gets so much room at once: a tenth */
#define QUIET_MS    60000 /* between two lines of the log about dropped entries */

static const char tables[] =
    "CREATE TABLE IF NOT EXISTS outbox(no INTEGER PRIMARY KEY, kind TEXT NOT NULL,"
    " wall_ms INTEGER NOT NULL, peer TEXT NOT NULL, epoch INTEGER NOT NULL, seq INTEGER NOT NULL,"
    " name TEXT, size INTEGER NOT NULL, root BLOB, body TEXT, lost INTEGER NOT NULL,"
    " bytes INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, peer_name TEXT);"
    "CREATE TABLE IF NOT EXISTS outbox_total(id INTEGER PRIMARY KEY, last INTEGER NOT NULL,"
    " entries INTEGER NOT NULL, bytes INTEGER NOT NULL, lost INTEGER NOT NULL,"
    " epoch INTEGER NOT NULL, seq INTEGER NOT NULL);"
    "INSERT OR IGNORE INTO outbox_total VALUES(1,0,0,0,0,0,0)";

int
box_make_tables(struct db *db)
{
	sqlite3_stmt *stmt = NULL;
	int rc = sqlite3_prepare_v2(db->handle, "SELECT 1 FROM outbox_total", -1, &stmt, NULL);
	bool is_there = rc == SQLITE_OK && sqlite3_step(stmt) == SQLITE_ROW;
	sqlite3_finalize(stmt);
	if (!is_there)
		return sqlite3_exec(db->handle, tables, NULL, NULL, NULL);
	if (db_has(db, "outbox", "peer_name"))
		return SQLITE_OK;
	return sqlite3_exec(db->handle, "ALTER TABLE outbox ADD COLUMN peer_name TEXT", NULL, NULL,
			    NULL);
}

/* --- the totals --- */

static int
load_total(struct db *db, struct box *box)
{
	if (box->is_loaded)
		return P2P_OK;
	int found = db_start_args(db, SQL_BOX_TOTAL, NULL, 0);
	if (found != 1)
		return found < 0 ? found : P2P_IO;
	box->last = db_col_int(db, SQL_BOX_TOTAL, 0);
	box->entries = db_col_int(db, SQL_BOX_TOTAL, 1);
	box->bytes = db_col_int(db, SQL_BOX_TOTAL, 2);
	box->lost = db_col_int(db, SQL_BOX_TOTAL, 3);
	box->epoch = db_col_int(db, SQL_BOX_TOTAL, 4);
	box->seq = db_col_int(db, SQL_BOX_TOTAL, 5);
	box->is_loaded = true;
	db_end(db, SQL_BOX_TOTAL);
	return P2P_OK;
}

int
box_publish(struct catalog *catalog, struct db *db)
{
	struct box box = { 0 };
	int code = load_total(db, &box);
	if (code != P2P_OK)
		return code;
	atomic_store(&catalog->box_entries, box.entries);
	atomic_store(&catalog->box_bytes, box.bytes);
	atomic_store(&catalog->box_lost, box.lost);
	return P2P_OK;
}

/* --- filling --- */

/* Writes an entry under box->last + 1, or under its own number if it has one. */
static int
write_entry(struct db *db, struct box *box, const struct outbox_entry *entry)
{
	bool has_content = entry->kind == EVENT_FILE_ADDED || entry->kind == EVENT_FILE_CHANGED;
	uint64_t no = entry->no != 0 ? entry->no : box->last + 1;
	uint64_t bytes = ENTRY_BYTES + (entry->name ? strlen(entry->name) : 0) +
			 (entry->body ? strlen(entry->body) : 0);
	int code =
	    db_run(db, SQL_BOX_PUT, db_int(no), db_text(event_name(entry->kind)),
		   db_int((uint64_t)entry->wall_ms), db_text(entry->peer), db_int(entry->epoch),
		   db_int(entry->seq), entry->name ? db_text(entry->name) : db_null(),
		   db_int(entry->content.size_bytes),
		   has_content ? db_digest(&entry->content.root) : db_null(),
		   entry->body ? db_text(entry->body) : db_null(), db_int(entry->lost),
		   db_int(bytes), db_int((uint64_t)entry->mtime_ns));
	if (code != P2P_OK)
		return code;
	if (entry->no == 0)
		box->last = no;
	box->entries++;
	box->bytes += bytes;
	return P2P_OK;
}

static int
add(struct db *db, struct box *box, const struct outbox_entry *entry)
{
	int code = load_total(db, box);
	return code == P2P_OK ? write_entry(db, box, entry) : code;
}

static enum event_kind
kind_of(int told)
{
	switch (told) {
	case CATALOG_ADDED:
		return EVENT_FILE_ADDED;
	case CATALOG_CHANGED:
		return EVENT_FILE_CHANGED;
	default:
		return EVENT_FILE_REMOVED;
	}
}

int
box_add_change(struct db *db, struct box *box, int told, const char *peer, uint64_t epoch,
	       const struct change *change)
{
	struct outbox_entry entry = {
		.kind = kind_of(told),
		.wall_ms = box->wall_ms,
		.epoch = epoch,
		.seq = change->seq,
		.name = change->name,
		.content = change->content,
		.mtime_ns = change->mtime_ns,
	};
	memcpy(entry.peer, peer, sizeof(entry.peer));
	return add(db, box, &entry);
}

int
box_add_anew(struct db *db, struct box *box, const char *peer)
{
	struct outbox_entry entry = { .kind = EVENT_FILES_CHANGED, .wall_ms = box->wall_ms };
	memcpy(entry.peer, peer, sizeof(entry.peer));
	return add(db, box, &entry);
}

/* --- emptying --- */

static int
drop_through(struct db *db, struct box *box, uint64_t through)
{
	int found = db_start(db, SQL_BOX_SUM, db_int(through));
	if (found != 1)
		return found < 0 ? found : P2P_OK;
	uint64_t entries = db_col_int(db, SQL_BOX_SUM, 0), bytes = db_col_int(db, SQL_BOX_SUM, 1);
	db_end(db, SQL_BOX_SUM);
	int code = db_run(db, SQL_BOX_DROP, db_int(through));
	if (code == P2P_OK) {
		box->entries -= entries;
		box->bytes -= bytes;
	}
	return code;
}

static bool
is_over(const struct box *box, const struct outbox_terms *terms, uint64_t share)
{
	return box->entries > terms->max_entries - terms->max_entries / share ||
	       box->bytes > terms->max_bytes - terms->max_bytes / share;
}

/* What stands for them counts what was lost before as well: it goes with them. */
static int
choose_oldest(struct db *db, const struct box *box, const struct outbox_terms *terms,
	      struct outbox_entry *ret_mark)
{
	struct box left = *box;
	int more = db_start_args(db, SQL_BOX_OLDEST, NULL, 0);
	for (; more > 0 && is_over(&left, terms, ROOM_SHARE); more = db_next(db, SQL_BOX_OLDEST)) {
		uint64_t lost = db_col_int(db, SQL_BOX_OLDEST, 2);
		ret_mark->no = db_col_int(db, SQL_BOX_OLDEST, 0);
		ret_mark->lost += lost > 0 ? lost : 1;
		left.entries--;
		left.bytes -= db_col_int(db, SQL_BOX_OLDEST, 1);
	}
	if (more > 0)
		db_end(db, SQL_BOX_OLDEST);
	return more < 0 ? more : P2P_OK;
}

/* At most one line in QUIET_MS; the scribe is one thread. */
static void
complain(uint64_t lost)
{
	static uint64_t last_ms;
	uint64_t now_ms = clock_ms();
	if (last_ms != 0 && now_ms - last_ms < QUIET_MS)
		return;
	last_ms = now_ms;
	log_warn(
	    "the outbox is full: its oldest events are dropped (%llu so far); is the broker away?",
	    (unsigned long long)lost);
}

static int
make_room(struct db *db, struct box *box)
{
	const struct outbox_terms *terms = db->box_terms;
	if (box->entries <= terms->max_entries && box->bytes <= terms->max_bytes)
		return P2P_OK;
	struct outbox_entry mark = { .kind = EVENT_EVENTS_LOST, .wall_ms = clock_wall_ms() };
	int code = choose_oldest(db, box, terms, &mark);
	uint64_t before = box->entries;
	if (code == P2P_OK && mark.no != 0)
		code = drop_through(db, box, mark.no);
	if (code != P2P_OK || mark.no == 0)
		return code;
	box->lost += before - box->entries;
	complain(box->lost);
	return write_entry(db, box, &mark);
}

/* --- for a batch --- */

/* Changes of ours that nobody put into the outbox, since somebody last did. */
static int
apply_begin(struct db *db, struct box *box, const struct peer_row *self)
{
	int code = load_total(db, box);
	bool is_first = box->epoch == 0;
	if (code != P2P_OK || (box->epoch == self->epoch && box->seq == self->seq))
		return code;
	uint64_t missed = box->epoch == self->epoch ? self->seq - box->seq : self->seq;
	struct outbox_entry mark = { .kind = EVENT_EVENTS_LOST,
				     .wall_ms = clock_wall_ms(),
				     .lost = missed };
	return is_first || missed == 0 ? P2P_OK : write_entry(db, box, &mark);
}

int
box_apply(struct db *db, struct box *box, const struct peer_row *self, const struct op *op)
{
	if (db->box_terms == NULL)
		return P2P_OK;
	int code = load_total(db, box);
	if (code != P2P_OK)
		return code;
	switch (op->box.what) {
	case BOX_BEGIN:
		return apply_begin(db, box, self);
	case BOX_DROP:
		return drop_through(db, box, op->box.through);
	case BOX_ADD:
		break;
	}
	return write_entry(db, box,
			   &(struct outbox_entry){ .kind = op->box.kind,
						   .wall_ms = op->box.wall_ms,
						   .body = op->name });
}

int
box_end(struct db *db, struct box *box, const struct peer_row *self, bool is_ours)
{
	int code = P2P_OK;
	if (db->box_terms == NULL || (!box->is_loaded && !is_ours))
		return P2P_OK;
	if ((code = load_total(db, box)) == P2P_OK)
		code = make_room(db, box);
	if (code != P2P_OK)
		return code;
	return db_run(db, SQL_BOX_SAVE, db_int(box->last), db_int(box->entries), db_int(box->bytes),
		      db_int(box->lost), db_int(self->epoch), db_int(self->seq));
}

/* --- what others see --- */

static void
note_size(struct catalog *catalog)
{
	struct db *db = reader_take(catalog);
	if (db == NULL)
		return;
	box_publish(catalog, db);
	reader_give(catalog, db);
}

static struct op *
add_op(struct catalog_batch *batch, enum box_op what)
{
	struct op *op = batch_add(batch, OP_BOX, 1);
	op->box.what = what;
	return op;
}

void
catalog_outbox_enable(struct catalog *catalog, const struct outbox_terms *terms)
{
	catalog->box_terms = *terms;
	note_size(catalog);
	pthread_mutex_lock(&catalog->mu);
	catalog->writer->box_terms = &catalog->box_terms; /* the scribe has no work yet */
	pthread_mutex_unlock(&catalog->mu);
	struct catalog_batch *batch = catalog_batch_new();
	add_op(batch, BOX_BEGIN);
	catalog_submit(catalog, batch, NULL, NULL);
}

void
catalog_outbox_size(const struct catalog *catalog, uint64_t *ret_entries, uint64_t *ret_bytes)
{
	*ret_entries = atomic_load(&catalog->box_entries);
	*ret_bytes = atomic_load(&catalog->box_bytes);
}

uint64_t
catalog_outbox_lost(const struct catalog *catalog)
{
	return atomic_load(&catalog->box_lost);
}

/* A kind that an older or newer daemon knew is told as what it is to us: something is missing. */
static enum event_kind
kind_of_name(const char *name)
{
	for (int kind = 0; kind < EVENT_KINDS; kind++)
		if (strcmp(event_name(kind), name) == 0)
			return kind;
	return EVENT_EVENTS_LOST;
}

static char *
take_text(struct db *db, int column)
{
	if (db_col_is_null(db, SQL_BOX_READ, column))
		return NULL;
	return mem_string(db_col_text(db, SQL_BOX_READ, column));
}

/* Columns of SQL_BOX_READ. */
static void
read_entry(struct db *db, struct outbox_entry *ret)
{
	*ret = (struct outbox_entry){
		.no = db_col_int(db, SQL_BOX_READ, 0),
		.kind = kind_of_name(db_col_text(db, SQL_BOX_READ, 1)),
		.wall_ms = (int64_t)db_col_int(db, SQL_BOX_READ, 2),
		.epoch = db_col_int(db, SQL_BOX_READ, 4),
		.seq = db_col_int(db, SQL_BOX_READ, 5),
		.name = take_text(db, 6),
		.content.size_bytes = db_col_int(db, SQL_BOX_READ, 7),
		.body = take_text(db, 9),
		.lost = db_col_int(db, SQL_BOX_READ, 10),
		.mtime_ns = (int64_t)db_col_int(db, SQL_BOX_READ, 11),
		.peer_name = take_text(db, 12),
	};
	const char *peer = db_col_text(db, SQL_BOX_READ, 3);
	if (digest_is_base32(peer))
		memcpy(ret->peer, peer, sizeof(ret->peer));
	if (!db_col_is_null(db, SQL_BOX_READ, 8))
		db_col_digest(db, SQL_BOX_READ, 8, &ret->content.root);
}

int
catalog_outbox_read(struct catalog *catalog, uint64_t after, struct outbox_entry *ret, size_t max,
		    size_t *ret_count)
{
	struct db *db = reader_take(catalog);
	size_t count = 0;
	if (db == NULL)
		return P2P_IO;
	int more = max > 0 ? db_start(db, SQL_BOX_READ, db_int(after), db_int(max)) : 0;
	for (; more > 0; more = db_next(db, SQL_BOX_READ))
		read_entry(db, &ret[count++]);
	reader_give(catalog, db);
	if (more < 0) {
		while (count > 0)
			outbox_entry_fini(&ret[--count]);
		return more;
	}
	*ret_count = count;
	return P2P_OK;
}

void
outbox_entry_fini(struct outbox_entry *entry)
{
	free(entry->peer_name);
	free(entry->name);
	free(entry->body);
}

void
catalog_batch_outbox(struct catalog_batch *batch, enum event_kind kind, int64_t wall_ms,
		     const char *body)
{
	if (strlen(body) > OUTBOX_BODY_MAX)
		return;
	struct op *op = add_op(batch, BOX_ADD);
	op->name = mem_string(body);
	op->box.kind = kind;
	op->box.wall_ms = wall_ms;
}

void
catalog_batch_outbox_drop(struct catalog_batch *batch, uint64_t through)
{
	add_op(batch, BOX_DROP)->box.through = through;
}
