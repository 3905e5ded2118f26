/* SPDX-License-Identifier: MIT
 *
 * catalog_db.h - what the files of the catalog share: connections, statements, batches.  Not for
 * others.
 *
 * A connection belongs to one thread at a time.  The scribe has the only one that writes.
 */
#ifndef P2PD_CATALOG_DB_H
#define P2PD_CATALOG_DB_H

#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>

#include "catalog_outbox.h"

#define SELF_NO 1 /* peer.no of ourselves */

enum sql {
#define SQL(symbol, text) SQL_##symbol,
#include "catalog_sql.def"
#undef SQL
	SQL_COUNT
};

/* The file, and whether it was found damaged; shared by all connections. */
struct db_site {
	char *path;             /* <state directory>/catalog.db */
	atomic_bool is_suspect; /* the mark was written */
	struct catalog_limits limits;
	atomic_uint_fast64_t tombstones_min; /* of a peer at least */
};

struct db {
	sqlite3 *handle;
	sqlite3_stmt *stmts[SQL_COUNT]; /* prepared at first use */
	struct db_site *site;
	const struct outbox_terms *box_terms; /* of the writer; NULL: no outbox */
	int failure;     /* the first code since db_forgive(), P2P_OK if none */
	struct db *next; /* in the list of idle readers */
};

/* Opens the one writing connection, making or replacing the file.  Gives, or NULL and err. */
struct db *db_open_writer(struct db_site *site, const char *self, char **ret_set_aside,
			  struct error *err);
/* NULL and logged at debug.  The writer must be open. */
struct db *db_open_reader(struct db_site *site);
void db_close(struct db *db);
/* For catalog_open.c: prepares one statement, SQLite's answer; the code for what SQLite just answered, remembered in
 * db->failure; does the answer mean that the file is damaged? */
int db_prepare(struct db *db, enum sql sql);
int db_fail(struct db *db, int rc);
bool db_is_damage(int rc);
/* Is there this table, with this column unless that is NULL? */
bool db_has(struct db *db, const char *table, const char *column);
/* Notes that everything is in order, for the next start.  Writer only. */
void db_mark_closed(struct db *db);
/* catalog_schema.c, for catalog_open.c; answers of SQLite.  SQLITE_ERROR of db_migrate(): the tables are others. */
bool db_schema_is_known(int64_t version);
int db_create_schema(struct db *db, const char *self, int application_id);
int db_migrate(struct db *db, int64_t version);
void db_forgive(struct db *db);
/* Scribe, outside of a transaction: something that can wait, in one of its own.  False: it failed and is undone, which
 * is no harm. */
bool db_chore(struct db *db, int (*chore)(struct db *db));

struct db_arg {
	enum { DB_NULL, DB_INT, DB_TEXT, DB_BLOB } kind;
	int64_t number;
	const void *data; /* borrowed until the statement's next use or db_end() */
	size_t len;
};

static inline struct db_arg
db_int(uint64_t number)
{
	return (struct db_arg){ .kind = DB_INT, .number = (int64_t)number };
}

static inline struct db_arg
db_text(const char *text)
{
	return (struct db_arg){ .kind = DB_TEXT, .data = text };
}

static inline struct db_arg
db_blob(const void *data, size_t len)
{
	return (struct db_arg){ .kind = DB_BLOB, .data = data, .len = len };
}

static inline struct db_arg
db_digest(const struct digest *digest)
{
	return db_blob(digest->bytes, DIGEST_BYTES);
}

static inline struct db_arg
db_null(void)
{
	return (struct db_arg){ .kind = DB_NULL };
}

/* Binds ?1, ?2 ... and takes the first step: 1 a row (then db_next(), db_end()), 0 no row, or a
 * negative code; with 0 and less the statement has ended. */
int db_start_args(struct db *db, enum sql sql, const struct db_arg *args, size_t count);
#define db_start(db, sql, ...)                                       \
	db_start_args((db), (sql), (struct db_arg[]){ __VA_ARGS__ }, \
		      sizeof((struct db_arg[]){ __VA_ARGS__ }) / sizeof(struct db_arg))
/* The next row, as above. */
int db_next(struct db *db, enum sql sql);
void db_end(struct db *db, enum sql sql);
/* Runs a statement that gives no rows. */
int db_run_args(struct db *db, enum sql sql, const struct db_arg *args, size_t count);
#define db_run(db, sql, ...)                                       \
	db_run_args((db), (sql), (struct db_arg[]){ __VA_ARGS__ }, \
		    sizeof((struct db_arg[]){ __VA_ARGS__ }) / sizeof(struct db_arg))
#define db_run_plain(db, sql) db_run_args((db), (sql), NULL, 0)

/* Columns of the row at hand.  Texts are borrowed until the next step and never NULL. */
uint64_t db_col_int(struct db *db, enum sql sql, int column);
const char *db_col_text(struct db *db, enum sql sql, int column);
bool db_col_is_null(struct db *db, enum sql sql, int column);
/* A blob that is no digest gives zeros. */
void db_col_digest(struct db *db, enum sql sql, int column, struct digest *ret);
const void *db_col_blob(struct db *db, enum sql sql, int column, size_t *ret_len);

/* Of catalog_search.c: catalog_holders() on a connection at hand. */
int db_holders(struct db *db, const struct content_id *content,
	       void (*fn)(void *arg, const char *peer), void *arg);

/* --- batches --- */

enum op_kind {
	OP_PUT,
	OP_REMOVE,
	OP_PAGE,
	OP_PEER,
	OP_FORGET,
	OP_FETCH,
	OP_FETCH_RANK,
	OP_ITEM_DONE,
	OP_MAKING,
	OP_FETCH_DONE,
	OP_FOLLOW,
	OP_UNFOLLOW,
	OP_MARK,
	OP_FOLLOWED,
	OP_BOX
};

enum box_op { BOX_BEGIN, BOX_ADD, BOX_DROP };

struct op {
	enum op_kind kind;
	/* PUT, REMOVE, ITEM_DONE, MAKING; of the peer: PEER, or NULL: FORGET; what is fetched: FETCH; the pattern: FOLLOW; the peer's
	 * id: MARK; the body: BOX */
	char *name;
	union {
		struct {
			struct catalog_local file;
			struct digest *layer;
			size_t layer_count;
		} put;
		struct change_page *page;
		struct {
			char *id;
			char *addresses;
			int64_t heard_wall_ms;
		} peer; /* PEER; the id: FORGET */
		struct {
			uint64_t id;
			bool replace;
			struct catalog_fetch_item *items; /* owns their names */
			size_t count;
			struct catalog_rank rank;
		} fetch; /* FETCH; the id and the rank: FETCH_RANK; the id alone: ITEM_DONE, MAKING, FETCH_DONE */
		struct {
			char *place;
			bool replace;
			int64_t since_wall_ms;
		} follow; /* FOLLOW */
		struct {
			uint64_t follow;
			uint64_t first, second; /* epoch and seq, or files and bytes */
		} mark;                         /* MARK, FOLLOWED; the follow alone: UNFOLLOW */
		struct {
			enum box_op what;
			enum event_kind kind; /* ADD */
			int64_t wall_ms;      /* ADD */
			uint64_t through;     /* DROP */
		} box;
	};
};

/* Somebody who waits for a batch. */
struct batch_waiter {
	int code;
	bool is_done;
};

struct catalog_batch {
	struct op *ops;
	size_t count, capacity;
	size_t rows;      /* that it will write, about */
	bool keeps_place; /* behind and before the pages of others */

	/* From its submission on. */
	struct catalog_batch *next;
	catalog_done_fn done;
	void *done_arg;
	struct batch_waiter *waiter; /* or NULL; the scribe's until is_done */
	catalog_commit_fn on_commit;
	void *on_commit_arg;
	char self[PEER_ID_SIZE]; /* what is told points here and into ops */
	int code;
	struct catalog_commit commit;
	struct catalog_told *told;
};

/* Numbers of one peer, as its row has them. */
struct peer_row {
	int64_t no;
	uint64_t epoch, seq;
	uint64_t entry_count; /* tombstones included */
	uint64_t file_count, byte_count;
	uint64_t name_bytes; /* of the names of all entries */
	uint64_t floor; /* no tombstone up to this seq; see catalog_tombstones.c */
};
int peer_row_load(struct db *db, const char *id, struct peer_row *ret); /* 1, 0 unknown, code */

/* Carries the batch out within the transaction that is open, and fills batch->commit.  *self is our
 * own row; it is saved when it moved.  After a failure the caller undoes both. */
int batch_apply(struct db *db, struct catalog_batch *batch, struct peer_row *self);

/* --- pages together; see catalog_pages.c --- */

/* How many batches, from this one on, are pages of one peer that follow one another and may be written as one. */
size_t pages_together(const struct db *db, const struct catalog_batch *batch);
/* As batch_apply(), of so many; after a failure they are to be tried one by one. */
int pages_apply(struct db *db, struct catalog_batch *first, size_t count, struct peer_row *self);

/* --- names; see catalog_names.c --- */

/* The number of a name: 1, 0 unknown, or a code; the second makes it if need be. */
int name_row_find(struct db *db, const char *name, int64_t *ret_id);
int name_row_need(struct db *db, const char *name, int64_t *ret_id);
/* What the index holds of a name, into ret[NAME_KEY_SIZE]. */
void name_row_key(const char *name, char *ret);
/* The last name that the index holds; what comes behind is to be walked.  Readers: inside of a transaction. */
int64_t names_indexed(struct db *db);
/* Scribe, outside of a transaction: does some of what can wait, in one of its own; true if there may be more to do. */
bool names_tidy(struct db *db);
/* The same for what waits until nobody has written for a while: makes of the pieces of the index one. */
bool names_merge(struct db *db);
/* At the opening: makes an index anew that other Unicode tables or other rules made. */
int names_check(struct db *db);

/* --- tombstones; see catalog_tombstones.c --- */

/* Changes since less than this lack removals. */
uint64_t tombstones_floor(const struct peer_row *row);
/* Scribe, outside of a transaction: forgets some that are too many, if any are; true if there may be more of them. */
bool tombstones_collect(struct db *db);

/* A cleared operation at the end, about `rows` heavy. */
struct op *batch_add(struct catalog_batch *batch, enum op_kind kind, size_t rows);

/* --- follows: catalog_follow.c --- */

/* Before any statement is prepared; SQLite's answer. */
int follow_make_tables(struct db *db);
/* Size, root and mtime in columns from `column` on. */
struct catalog_version;
void db_col_version(struct db *db, enum sql sql, int column, struct catalog_version *ret);
/* Carries out FOLLOW, UNFOLLOW, MARK or FOLLOWED. */
int follow_apply(struct db *db, const struct op *op);
/* The entries of a peer are about to go, because others come in their place. */
int follow_peer_begins_anew(struct db *db, const struct peer_row *row, const char *peer);

/* --- what they pass over: catalog_passed.c --- */

/* SQLite's answer; after the tables of follows and of the schema. */
int passed_make_tables(struct db *db);
/* A file of ours goes: this version is passed over from now on. */
int passed_removed_here(struct db *db, const char *name, const struct catalog_local *file);
/* Nobody has an entry of this name any more. */
int passed_sweep(struct db *db, const char *name);
/* What was looked at of this peer is known of it until... */
int passed_note_known(struct db *db, const struct peer_row *row, const char *peer);
/* ... all has been looked at that it brings, or it is forgotten: to be asked after each of these. */
int passed_looked_at(struct db *db, const char *peer);
/* A follow is gone. */
int passed_unfollowed(struct db *db);

/* --- the outbox (catalog_outbox.c); scribe's thread, inside of its transaction --- */

/* Its totals, loaded when a batch first needs them. */
struct box {
	bool is_loaded;
	uint64_t last; /* the number given last */
	uint64_t entries, bytes, lost;
	uint64_t epoch, seq; /* of our own changes, that it covers; 0: it was never filled */
	int64_t wall_ms;     /* when what is being written happened */
};
/* SQLite's answer.  Before statements are prepared. */
int box_make_tables(struct db *db);
/* A change that was just written (a kind of struct catalog_told), or that a peer's files are others altogether. */
int box_add_change(struct db *db, struct box *box, int told, const char *peer, uint64_t epoch,
		   const struct change *change);
int box_add_anew(struct db *db, struct box *box, const char *peer);
int box_apply(struct db *db, struct box *box, const struct peer_row *self, const struct op *op);
/* Makes room, saves the totals. */
int box_end(struct db *db, struct box *box, const struct peer_row *self, bool is_ours);

/* --- the catalog --- */

/* Of catalog_head; odd `turn`: being written. */
struct head_cell {
	atomic_uint_fast64_t turn;
	atomic_uint_fast64_t epoch, seq, file_count, byte_count;
};

struct catalog {
	struct loop *loop;
	struct db_site site;
	char self[PEER_ID_SIZE];
	struct head_cell head;
	catalog_commit_fn on_commit;
	void *on_commit_arg;

	struct outbox_terms box_terms;
	atomic_uint_fast64_t box_entries, box_bytes, box_lost;

	struct db *writer; /* the scribe's, once it runs */
	pthread_t scribe;
	int trouble;     /* the scribe's: code of the last failed commit */
	bool has_chores; /* the scribe's: write_chores() may have more to do */
	size_t passed_rows; /* the scribe's: that went before pages since they last had their turn */

	pthread_mutex_t mu;     /* of what follows */
	pthread_cond_t written; /* for those who wait for a batch */
	pthread_cond_t wake;
	struct catalog_batch *first, **last; /* waiting */
	bool is_stopping;
	struct db *idle; /* readers */
	unsigned idle_count;
};

/* A reading connection for this call.  NULL: P2P_IO. */
struct db *reader_take(struct catalog *catalog);
void reader_give(struct catalog *catalog, struct db *db);
/* catalog_scribe.c: begins to have written what waits, 0 or an errno; something waits, or the end has come (holds mu);
 * returns when nothing waits any more. */
int scribe_start(struct catalog *catalog);
void scribe_wake(struct catalog *catalog);
void scribe_end(struct catalog *catalog);
/* catalog_write.c, for the scribe and without mu.  Commits some of what waits and posts the answers; false: nothing waits. */
bool write_waiting(struct catalog *catalog);
/* Some of what can be put off; true if there may be more of it. */
bool write_chores(struct catalog *catalog);
/* Tells everybody where our own row stands.  The scribe's, or before it begins. */
void head_publish(struct head_cell *cell, const struct peer_row *self);
/* Tells everybody how full the outbox is. */
int box_publish(struct catalog *catalog, struct db *db);

#endif
