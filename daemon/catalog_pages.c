/* SPDX-License-Identifier: MIT
 *
 * catalog_pages.c - what other peers tell of their files: pages of changes.
 *
 * A page is checked as a whole before its first row is written.  Pages may come twice or overlap
 * with what is known; rows that are not newer than ours change nothing.  With a page that begins
 * anew, what there was of the peer goes, and what the peer had removed by then is of no
 * interest: its head becomes the floor (catalog_tombstones.c).
 *
 * PAGES TOGETHER.  A large catalog comes in pages faster than they are written one by one: each row
 * lands somewhere else in the tables of names and of roots, so that a thousand rows make SQLite
 * write two thousand pages of its own.  Pages of one peer that wait together are therefore written
 * as one: their names in the order of names, then their entries in the order of roots, which goes
 * once through each table and touches a page once.  The order does not matter to the outcome, for
 * of two changes of a name only the one of the higher seq is written.  It matters to
 * an outbox that tells of each change in the order of seqs; then pages are written one by one, and
 * so they are if there is anything wrong with one of them, so that the good ones count.
 */
#include <stdlib.h>
#include <string.h>

#include "catalog_apply.h"
#include "mem.h"
#include "merkle.h"

static bool
change_is_sane(const struct change *change)
{
	if (name_check(change->name, strlen(change->name), NULL) != P2P_OK)
		return false;
	return change->is_removed ||
	       (merkle_content_valid(&change->content) && (change->mode & ~0777u) == 0);
}

/* What can be said of a page without the database. */
static bool
page_is_sane(const struct change_page *page, const char *self)
{
	if (!digest_is_base32(page->peer) || strcmp(page->peer, self) == 0)
		return false;
	if (page->epoch == 0 || page->head > INT64_MAX || page->count > CHANGE_PAGE_MAX)
		return false;
	if (page->since > page->through || page->through > page->head ||
	    (page->is_reset && page->since != 0))
		return false;
	uint64_t last = page->since;
	for (size_t i = 0; i < page->count; i++) {
		const struct change *change = &page->items[i];
		if (change->seq <= last || change->seq > page->through || !change_is_sane(change))
			return false;
		last = change->seq;
	}
	return true;
}

/* The row of a peer, made if there is none. */
static int
peer_row_need(struct db *db, const char *id, struct peer_row *ret)
{
	int found = peer_row_load(db, id, ret);
	if (found != 0)
		return found < 0 ? found : P2P_OK;
	int code = db_run(db, SQL_PEER_ADD, db_text(id));
	if (code == P2P_OK)
		*ret = (struct peer_row){ .no = sqlite3_last_insert_rowid(db->handle) };
	return code;
}

int
apply_drop_entries(struct apply *apply, struct peer_row *row, const char *peer)
{
	const struct outbox_terms *terms = apply->db->box_terms;
	int code = P2P_OK;
	if (row->file_count > 0) {
		apply_tell_cut(apply, peer);
		apply->is_mute = true;
		if (terms != NULL && terms->with_others)
			code = box_add_anew(apply->db, &apply->box, peer);
	}
	if (code < 0)
		return code;
	row->entry_count = row->file_count = row->byte_count = row->name_bytes = 0;
	/* What nobody else has is dropped later: catalog_names.c. */
	code = db_run(apply->db, SQL_ORPHAN_NOTE, db_int((uint64_t)row->no));
	return code < 0 ? code : db_run(apply->db, SQL_ENTRY_DROP_ALL, db_int((uint64_t)row->no));
}

/* One change, and the number of its name. */
struct item {
	const struct change *change;
	int64_t name_id; /* 0: nobody has it, and nothing is to be written */
};

static int
by_name(const void *a, const void *b)
{
	const struct item *left = a, *right = b;
	uint64_t a_seq = left->change->seq, b_seq = right->change->seq;
	int order = strcmp(left->change->name, right->change->name);
	return order != 0 ? order : (a_seq > b_seq) - (a_seq < b_seq);
}

static int
by_root(const void *a, const void *b)
{
	const struct item *left = a, *right = b;
	return memcmp(&left->change->content.root, &right->change->content.root,
		      sizeof(struct digest));
}

/* In the order of names, of each the latest change alone.  Answers how many are left. */
static size_t
keep_latest(struct item *items, size_t count)
{
	size_t kept = 0;
	qsort(items, count, sizeof(*items), by_name);
	for (size_t i = 0; i < count; i++) {
		if (kept > 0 && strcmp(items[kept - 1].change->name, items[i].change->name) == 0)
			kept--;
		items[kept++] = items[i];
	}
	return kept;
}

static int
number_name(struct db *db, const struct peer_row *row, struct item *item)
{
	if (change_leaves_entry(row, item->change))
		return name_row_need(db, item->change->name, &item->name_id);
	item->name_id = 0;
	int found = name_row_find(db, item->change->name, &item->name_id);
	return found < 0 ? found : P2P_OK;
}

static int
write_items(struct apply *apply, struct peer_row *row, const char *peer, struct item *items,
	    size_t count, bool is_sorted)
{
	int code = P2P_OK;
	if (is_sorted)
		count = keep_latest(items, count);
	for (size_t i = 0; i < count && code == P2P_OK; i++)
		code = number_name(apply->db, row, &items[i]);
	if (is_sorted)
		qsort(items, count, sizeof(*items), by_root);
	for (size_t i = 0; i < count && code == P2P_OK; i++) {
		if (items[i].name_id == 0)
			continue;
		code = apply_entry(apply, row, peer, items[i].change, items[i].name_id);
		/* Beyond this the sum would mean nothing. */
		if (code == P2P_OK && row->byte_count > INT64_MAX)
			code = P2P_BAD_ANSWER;
	}
	return code;
}

/* May the page follow what `row` has?  1: yes, and what there was is dropped first if it begins
 * anew; 0: it is known already. */
static int
admit_page(struct apply *apply, struct peer_row *row, const struct change_page *page)
{
	bool is_anew = page->is_reset || page->epoch != row->epoch;
	int code = P2P_OK;
	if (page->since > (is_anew ? 0 : row->seq))
		return P2P_CONFLICT;
	if (!is_anew && page->through <= row->seq)
		return 0;
	if (is_anew)
		code = follow_peer_begins_anew(apply->db, row, page->peer);
	if (is_anew && code == P2P_OK)
		code = apply_drop_entries(apply, row, page->peer);
	if (code < 0)
		return code;
	if (is_anew)
		row->floor = page->head;
	row->epoch = page->epoch;
	row->seq = page->through;
	return 1;
}

/* Is there still room for what `row` has now?  It was saved. */
static int
check_room(struct db *db, const struct peer_row *row)
{
	const struct catalog_limits *limits = &db->site->limits;
	if (row->entry_count > limits->files_per_peer || row->name_bytes > limits->names_per_peer)
		return P2P_TOO_MANY;
	int found = db_start_args(db, SQL_PEER_ENTRIES, NULL, 0);
	if (found != 1)
		return found < 0 ? found : P2P_INTERNAL;
	uint64_t entries = db_col_int(db, SQL_PEER_ENTRIES, 0);
	db_end(db, SQL_PEER_ENTRIES);
	return entries > limits->files_of_others ? P2P_TOO_MANY : P2P_OK;
}

/* Writes pages of one peer that were checked; all or nothing. */
static int
write_pages(struct apply *apply, const struct change_page *const *pages, size_t count)
{
	const char *peer = pages[0]->peer;
	struct peer_row row;
	size_t item_count = 0;
	int code = peer_row_need(apply->db, peer, &row);
	if (code < 0)
		return code;
	struct item *items = mem_alloc(count * CHANGE_PAGE_MAX * sizeof(*items));
	for (size_t i = 0; i < count && code >= 0; i++) {
		code = admit_page(apply, &row, pages[i]);
		for (size_t n = 0; code == 1 && n < pages[i]->count; n++)
			items[item_count++].change = &pages[i]->items[n];
	}
	if (code >= 0)
		code = write_items(apply, &row, peer, items, item_count, count > 1);
	free(items);
	apply->is_mute = false;
	if (code == P2P_OK)
		code = peer_row_save(apply->db, &row);
	return code == P2P_OK ? check_room(apply->db, &row) : code;
}

int
apply_page(struct apply *apply, const struct change_page *page)
{
	if (!page_is_sane(page, apply->batch->self))
		return P2P_BAD_ANSWER;
	return write_pages(apply, &page, 1);
}

/* --- together --- */

/* The page that is all there is in the batch, or NULL. */
static const struct change_page *
only_page(const struct catalog_batch *batch)
{
	return batch->count == 1 && batch->ops[0].kind == OP_PAGE ? batch->ops[0].page : NULL;
}

/* Does it go on where the page before ended? */
static bool
follows_on(const struct change_page *page, const struct change_page *before)
{
	return !page->is_reset && page->epoch == before->epoch && page->since == before->through &&
	       strcmp(page->peer, before->peer) == 0;
}

size_t
pages_together(const struct db *db, const struct catalog_batch *batch)
{
	const struct change_page *before = only_page(batch);
	size_t count = 0;
	bool is_ordered = db->box_terms != NULL && db->box_terms->with_others;
	for (; before != NULL && !is_ordered; batch = batch->next) {
		count++;
		const struct change_page *page = batch->next ? only_page(batch->next) : NULL;
		before = page != NULL && follows_on(page, before) ? page : NULL;
	}
	return count;
}

int
pages_apply(struct db *db, struct catalog_batch *first, size_t count, struct peer_row *self)
{
	const struct change_page **pages = mem_alloc(count * sizeof(const struct change_page *));
	struct catalog_batch *batch = first;
	struct apply apply;
	int code = P2P_OK;
	for (size_t i = 0; i < count; i++, batch = batch->next) {
		apply_begin(&apply, db, batch, self);
		pages[i] = batch->ops[0].page;
		if (!page_is_sane(pages[i], batch->self))
			code = P2P_BAD_ANSWER;
	}
	apply_begin(&apply, db, first, self);
	if (code == P2P_OK)
		code = write_pages(&apply, pages, count);
	free(pages);
	first->commit.told = first->told;
	return code == P2P_OK ? box_end(db, &apply.box, self, false) : code;
}
