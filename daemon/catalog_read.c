/* SPDX-License-Identifier: MIT
 *
 * catalog_read.c - questions with plain answers: our own files, pages of changes, peers, fetches.
 *
 * Each call takes a reading connection, asks, and gives it back; callbacks run while it is held, so
 * they may ask further questions (on another connection) but should be quick.  A question of more
 * than one statement is put inside of a read transaction, so that its parts agree.  A scan keeps
 * its connection, and with it one view of the database, until it is freed; meanwhile the log cannot
 * be cut, so a scan should not be kept for long.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "catalog_db.h"
#include "mem.h"
#include "merkle.h"

#define BELOW_NAMES 16 /* files of a directory that are looked at for its holders */

/* --- our own files --- */

/* Columns of SQL_LOCAL_*, without the name. */
static void
read_local(struct db *db, enum sql sql, struct catalog_local *ret)
{
	*ret = (struct catalog_local){
		.content.size_bytes = db_col_int(db, sql, 1),
		.mtime_ns = (int64_t)db_col_int(db, sql, 3),
		.mode = (uint32_t)db_col_int(db, sql, 4),
		.sig.size_bytes = db_col_int(db, sql, 5),
		.sig.mtime_ns = (int64_t)db_col_int(db, sql, 6),
		.sig.ctime_ns = (int64_t)db_col_int(db, sql, 7),
		.sig.device = db_col_int(db, sql, 8),
		.sig.inode = db_col_int(db, sql, 9),
	};
	db_col_digest(db, sql, 2, &ret->content.root);
}

/* For look-ups: a row is P2P_OK, none is P2P_NOT_FOUND. */
static int
found_code(int found)
{
	return found > 0 ? P2P_OK : found == 0 ? P2P_NOT_FOUND : found;
}

static int
find_local(struct db *db, const char *name, struct catalog_local *ret)
{
	int found = db_start(db, SQL_LOCAL_GET, db_text(name));
	if (found > 0) {
		read_local(db, SQL_LOCAL_GET, ret);
		db_end(db, SQL_LOCAL_GET);
	}
	return found_code(found);
}

int
catalog_find_local(struct catalog *catalog, const char *name, struct catalog_local *ret)
{
	struct db *db = reader_take(catalog);
	if (db == NULL)
		return P2P_IO;
	int code = find_local(db, name, ret);
	reader_give(catalog, db);
	return code;
}

static int
find_content(struct db *db, const struct content_id *content, char *ret_name,
	     struct catalog_local *ret)
{
	int found = db_start(db, SQL_LOCAL_OF_CONTENT, db_digest(&content->root),
			     db_int(content->size_bytes));
	if (found > 0) {
		snprintf(ret_name, NAME_SIZE, "%s", db_col_text(db, SQL_LOCAL_OF_CONTENT, 0));
		read_local(db, SQL_LOCAL_OF_CONTENT, ret);
		db_end(db, SQL_LOCAL_OF_CONTENT);
	}
	return found_code(found);
}

int
catalog_find_content(struct catalog *catalog, const struct content_id *content, char *ret_name,
		     struct catalog_local *ret)
{
	struct db *db = reader_take(catalog);
	if (db == NULL)
		return P2P_IO;
	int code = find_content(db, content, ret_name, ret);
	reader_give(catalog, db);
	return code;
}

/* The stored layer, which must have `count` nodes. */
static int
read_layer(struct db *db, const struct content_id *content, size_t count, struct digest **ret)
{
	int found =
	    db_start(db, SQL_LAYER_GET, db_digest(&content->root), db_int(content->size_bytes));
	if (found <= 0)
		return found_code(found);
	size_t len;
	const void *nodes = db_col_blob(db, SQL_LAYER_GET, 0, &len);
	int code = len == count * sizeof(struct digest) ? P2P_OK : P2P_IO;
	if (code == P2P_OK)
		*ret = memcpy(mem_alloc(len), nodes, len);
	db_end(db, SQL_LAYER_GET);
	return code;
}

int
catalog_layer(struct catalog *catalog, const struct content_id *content, struct digest **ret_layer,
	      size_t *ret_count)
{
	uint64_t count =
	    merkle_piece_count(content->size_bytes, merkle_piece_bytes(content->size_bytes));
	struct digest *layer = NULL;
	struct db *db = reader_take(catalog);
	if (db == NULL)
		return P2P_IO;
	int code = P2P_OK;
	if (count > 1) {
		code = read_layer(db, content, count, &layer);
	} else {
		code = found_code(db_start(db, SQL_LOCAL_OF_CONTENT, db_digest(&content->root),
					   db_int(content->size_bytes)));
		if (code == P2P_OK) {
			db_end(db, SQL_LOCAL_OF_CONTENT);
			if (count == 1)
				layer = memcpy(mem_alloc(sizeof(*layer)), &content->root,
					       sizeof(*layer));
		}
	}
	reader_give(catalog, db);
	if (code == P2P_OK) {
		*ret_layer = layer;
		*ret_count = count;
	}
	return code;
}

/* --- many questions at once --- */

struct catalog_view {
	struct catalog *catalog;
	struct db *
	    db; /* inside of a transaction: it is begun once, which is most of what a question costs */
};

struct catalog_view *
catalog_view_new(struct catalog *catalog)
{
	struct db *db = reader_take(catalog);
	if (db == NULL)
		return NULL;
	if (db_run_plain(db, SQL_READ_BEGIN) != P2P_OK) {
		reader_give(catalog, db);
		return NULL;
	}
	struct catalog_view *view = mem_alloc(sizeof(*view));
	*view = (struct catalog_view){ catalog, db };
	return view;
}

void
catalog_view_free(struct catalog_view *view)
{
	if (view == NULL)
		return;
	db_run_plain(view->db, SQL_COMMIT);
	reader_give(view->catalog, view->db);
	free(view);
}

int
catalog_view_find_local(struct catalog_view *view, const char *name, struct catalog_local *ret)
{
	return find_local(view->db, name, ret);
}

int
catalog_view_find_content(struct catalog_view *view, const struct content_id *content,
			  char *ret_name, struct catalog_local *ret)
{
	return find_content(view->db, content, ret_name, ret);
}

int
catalog_view_holders(struct catalog_view *view, const struct content_id *content,
		     void (*fn)(void *arg, const char *peer), void *arg)
{
	return db_holders(view->db, content, fn, arg);
}

int
catalog_view_holders_below(struct catalog_view *view, const char *directory,
			   void (*fn)(void *arg, const char *peer), void *arg)
{
	/* '0' follows '/': all that begins with "directory/" lies between the two. */
	char *from = mem_format("%s/", directory), *to = mem_format("%s0", directory);
	int more =
	    db_start(view->db, SQL_ENTRY_BELOW, db_text(from), db_text(to), db_int(BELOW_NAMES));
	for (; more > 0; more = db_next(view->db, SQL_ENTRY_BELOW))
		fn(arg, db_col_text(view->db, SQL_ENTRY_BELOW, 0));
	free(from);
	free(to);
	return more;
}

bool
catalog_view_is_making(struct catalog_view *view, const char *directory)
{
	bool is_making = db_start(view->db, SQL_MAKING_HAS, db_text(directory)) > 0;
	if (is_making)
		db_end(view->db, SQL_MAKING_HAS);
	return is_making;
}

int
catalog_view_making(struct catalog_view *view, uint64_t fetch, const char *before, size_t limit,
		    void (*fn)(void *arg, const char *directory), void *arg)
{
	int more = db_start(view->db, SQL_MAKING_PAGE, db_int(fetch),
			    before != NULL ? db_text(before) : db_blob(NULL, 0), db_int(limit));
	for (; more > 0; more = db_next(view->db, SQL_MAKING_PAGE))
		fn(arg, db_col_text(view->db, SQL_MAKING_PAGE, 0));
	return more;
}

/* --- changes --- */

static int
add_changes(struct db *db, const struct peer_row *row, uint32_t limit, struct change_page *page)
{
	int more = db_start(db, SQL_ENTRY_CHANGES, db_int((uint64_t)row->no), db_int(page->since),
			    db_int(limit));
	for (; more > 0; more = db_next(db, SQL_ENTRY_CHANGES)) {
		struct change change = {
			.seq = db_col_int(db, SQL_ENTRY_CHANGES, 0),
			.name = (char *)db_col_text(db, SQL_ENTRY_CHANGES, 1),
			.is_removed = db_col_is_null(db, SQL_ENTRY_CHANGES, 3),
		};
		if (!change.is_removed) {
			change.content.size_bytes = db_col_int(db, SQL_ENTRY_CHANGES, 2);
			db_col_digest(db, SQL_ENTRY_CHANGES, 3, &change.content.root);
			change.mtime_ns = (int64_t)db_col_int(db, SQL_ENTRY_CHANGES, 4);
			change.mode = (uint32_t)db_col_int(db, SQL_ENTRY_CHANGES, 5);
		}
		change_page_add(page, &change);
	}
	return more;
}

/* Would who asks miss some?  He who does not say where he began must do without. */
static bool
lacks_removals(const struct peer_row *row, const struct change_question *question)
{
	uint64_t floor = tombstones_floor(row);
	return question->begun != 0 && question->begun < floor && question->since < floor;
}

/* Inside of a transaction. */
static int
fill_page(struct db *db, const struct change_question *question, struct change_page *page)
{
	struct peer_row row;
	int found = peer_row_load(db, question->peer, &row);
	/* A peer that is remembered but never told us anything has epoch 0. */
	if (found <= 0 || row.epoch == 0)
		return found < 0 ? found : P2P_NOT_FOUND;
	snprintf(page->peer, sizeof(page->peer), "%s", question->peer);
	page->is_reset = question->epoch != row.epoch || question->since > row.seq ||
			 lacks_removals(&row, question);
	page->epoch = row.epoch;
	page->since = page->is_reset ? 0 : question->since;
	page->head = row.seq;
	page->file_count = row.file_count;
	page->byte_count = row.byte_count;
	int code = add_changes(db, &row, question->limit, page);
	page->through = page->count == question->limit ? page->items[page->count - 1].seq : row.seq;
	return code;
}

int
catalog_changes(struct catalog *catalog, const struct change_question *question,
		struct change_page **ret)
{
	assert(question->limit >= 1 && question->limit <= CHANGE_PAGE_MAX);
	struct db *db = reader_take(catalog);
	if (db == NULL)
		return P2P_IO;
	struct change_page *page = change_page_new();
	int code = db_run_plain(db, SQL_READ_BEGIN);
	if (code == P2P_OK) {
		code = fill_page(db, question, page);
		db_run_plain(db, SQL_COMMIT);
	}
	reader_give(catalog, db);
	if (code == P2P_OK)
		*ret = page;
	else
		change_page_free(page);
	return code;
}

/* --- peers, fetches --- */

int
catalog_peers(struct catalog *catalog, void (*fn)(void *arg, const struct catalog_peer *peer),
	      void *arg)
{
	struct db *db = reader_take(catalog);
	if (db == NULL)
		return P2P_IO;
	int more = db_start_args(db, SQL_PEER_LIST, NULL, 0);
	for (; more > 0; more = db_next(db, SQL_PEER_LIST)) {
		struct catalog_peer peer = {
			.id = db_col_text(db, SQL_PEER_LIST, 0),
			.name = db_col_text(db, SQL_PEER_LIST, 1),
			.addresses = db_col_text(db, SQL_PEER_LIST, 2),
			.epoch = db_col_int(db, SQL_PEER_LIST, 3),
			.seq = db_col_int(db, SQL_PEER_LIST, 4),
			.file_count = db_col_int(db, SQL_PEER_LIST, 5),
			.byte_count = db_col_int(db, SQL_PEER_LIST, 6),
			.heard_wall_ms = (int64_t)db_col_int(db, SQL_PEER_LIST, 7),
			.floor = db_col_int(db, SQL_PEER_LIST, 8),
		};
		fn(arg, &peer);
	}
	reader_give(catalog, db);
	return more;
}

int
catalog_fetches(struct catalog *catalog, catalog_fetch_fn fn, void *arg)
{
	struct db *db = reader_take(catalog);
	if (db == NULL)
		return P2P_IO;
	int more = db_start_args(db, SQL_ITEM_LIST, NULL, 0);
	for (; more > 0; more = db_next(db, SQL_ITEM_LIST)) {
		struct catalog_fetch_item item = {
			.name = db_col_text(db, SQL_ITEM_LIST, 3),
			.content.size_bytes = db_col_int(db, SQL_ITEM_LIST, 4),
			.mtime_ns = (int64_t)db_col_int(db, SQL_ITEM_LIST, 6),
			.mode = (uint32_t)db_col_int(db, SQL_ITEM_LIST, 7),
		};
		struct catalog_rank rank = {
			.priority = (int32_t)db_col_int(db, SQL_ITEM_LIST, 8),
			.front = (int64_t)db_col_int(db, SQL_ITEM_LIST, 9),
		};
		db_col_digest(db, SQL_ITEM_LIST, 5, &item.content.root);
		fn(arg, db_col_int(db, SQL_ITEM_LIST, 0), db_col_text(db, SQL_ITEM_LIST, 1),
		   db_col_int(db, SQL_ITEM_LIST, 2) != 0, &rank, &item);
	}
	reader_give(catalog, db);
	return more;
}

/* --- scans --- */

struct catalog_scan {
	struct catalog *catalog;
	struct db *db;
	int more;           /* as db_next() */
	bool is_fresh;      /* the row at hand was not given out yet */
	char *prefix, *end; /* bound to the statement */
};

/* The first string above all that begin with `prefix`, or NULL if there is none: names are UTF-8,
 * no byte is 0xff. */
static char *
prefix_end(const char *prefix)
{
	size_t len = strlen(prefix);
	if (len == 0)
		return NULL;
	char *end = mem_string(prefix);
	end[len - 1]++;
	return end;
}

struct catalog_scan *
catalog_scan_new(struct catalog *catalog, const char *prefix)
{
	struct db *db = reader_take(catalog);
	if (db == NULL)
		return NULL;
	struct catalog_scan *scan = mem_zero(1, sizeof(*scan));
	scan->catalog = catalog;
	scan->db = db;
	scan->prefix = mem_string(prefix);
	scan->end = prefix_end(prefix);
	scan->more = db_start(db, SQL_LOCAL_SCAN, db_text(scan->prefix),
			      scan->end ? db_text(scan->end) : db_blob(NULL, 0));
	scan->is_fresh = true;
	if (scan->more >= 0)
		return scan;
	catalog_scan_free(scan);
	return NULL;
}

int
catalog_scan_next(struct catalog_scan *scan, const char **ret_name, struct catalog_local *ret)
{
	if (!scan->is_fresh && scan->more > 0)
		scan->more = db_next(scan->db, SQL_LOCAL_SCAN);
	scan->is_fresh = false;
	if (scan->more <= 0)
		return scan->more;
	*ret_name = db_col_text(scan->db, SQL_LOCAL_SCAN, 0);
	read_local(scan->db, SQL_LOCAL_SCAN, ret);
	return 1;
}

void
catalog_scan_free(struct catalog_scan *scan)
{
	if (scan == NULL)
		return;
	if (scan->more > 0)
		db_end(scan->db, SQL_LOCAL_SCAN);
	reader_give(scan->catalog, scan->db);
	free(scan->prefix);
	free(scan->end);
	free(scan);
}
