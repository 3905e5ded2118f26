/* SPDX-License-Identifier: MIT
 *
 * catalog_write.c - what the scribe does: it commits what waits, and tells.
 *
 * Batches wait in a list.  What has come together is taken from it, up to GROUP_ROWS, and committed
 * as one transaction with a savepoint around each batch: a batch that is refused is undone alone,
 * and its neighbours never hear of it.  Pages of one peer that follow one another share a savepoint,
 * and are tried one by one if they are refused together (catalog_pages.c).  When the database itself
 * fails (full disk), the transaction is undone as a whole and each batch tried once more on its own,
 * so that a small one may still find room beside a large one.
 *
 * OURS FIRST.  The catalog of another comes as pages, of which dozens wait; a group of them takes
 * the most part of a second, and so does the index of their names behind it.  Nobody here is kept
 * waiting for that: what is no page goes before the pages that wait, and before the chores behind a
 * group of pages.  So it waits for what was begun, a group or a chore, and is next.  The chores have
 * their turn behind each group of ours, and the pages when as much went before them as a group of
 * them has, so neither waits for ever.
 * Pages stay in order, and so does what is none; what says something of the peers whose pages they
 * are (keeps_place) goes before none, and nothing goes before it.
 *
 * After the commit the head is published, and one post carries the group to the mind, which tells
 * the listener and then completes each batch, in the order in which they were written.  The post
 * needs nothing of the catalog, so it may still run when that is gone.
 *
 * When it is done is up to others: catalog_scribe.c has the thread, and nothing here knows of one.
 */
#include <string.h>

#include "catalog_db.h"
#include "log.h"

#define GROUP_ROWS 64000 /* of one transaction, unless one batch has more */
#define SYNC_ROWS  1000  /* that could be written while a transaction is synced, about */

/* Mind.  Tells and completes a list of batches. */
static void
deliver(void *arg)
{
	struct catalog_batch *batch = arg;
	while (batch != NULL) {
		struct catalog_batch *next = batch->next;
		const struct catalog_commit *commit = &batch->commit;
		bool has_news = commit->count > 0 || commit->is_cut || commit->is_ours;
		if (batch->code == P2P_OK && has_news && batch->on_commit != NULL)
			batch->on_commit(batch->on_commit_arg, commit);
		if (batch->done != NULL)
			batch->done(batch->done_arg, batch->code);
		catalog_batch_free(batch);
		batch = next;
	}
}

/* Carries out one batch, or several that go together, or leaves no trace of them.  The answer is
 * that of the database; the batches have their own code. */
static int
write_batches(struct db *db, struct catalog_batch *first, size_t count, struct peer_row *self)
{
	struct peer_row before = *self;
	int code = db_run_plain(db, SQL_SAVE);
	if (code < 0)
		return code;
	int outcome =
	    count > 1 ? pages_apply(db, first, count, self) : batch_apply(db, first, self);
	if (db->failure != P2P_OK)
		return db->failure;
	if (outcome != P2P_OK) {
		*self = before;
		code = db_run_plain(db, SQL_SAVE_UNDO);
	}
	for (struct catalog_batch *batch = first; count > 0; batch = batch->next, count--)
		batch->code = outcome;
	return code < 0 ? code : db_run_plain(db, SQL_SAVE_KEEP);
}

/* The same for a list: what can be is written together. */
static int
write_all(struct db *db, struct catalog_batch *batch, struct peer_row *self)
{
	size_t alone = 0; /* of those to come, which failed together */
	int code = P2P_OK;
	while (batch != NULL && code == P2P_OK) {
		size_t together = alone > 0 ? 1 : pages_together(db, batch);
		if (together == 0)
			together = 1;
		code = write_batches(db, batch, together, self);
		if (code == P2P_OK && together > 1 && batch->code != P2P_OK) {
			alone = together;
			continue;
		}
		alone -= alone > 0;
		for (; together > 0; together--)
			batch = batch->next;
	}
	return code;
}

/* One transaction.  P2P_OK: committed, each batch has its code.  Else nothing of it was written. */
static int
write_group(struct catalog *catalog, struct catalog_batch *first)
{
	struct db *db = catalog->writer;
	struct peer_row self;
	db_forgive(db);
	int code = db_run_plain(db, SQL_BEGIN);
	if (code == P2P_OK && peer_row_load(db, catalog->self, &self) != 1)
		code = db->failure != P2P_OK ? db->failure : P2P_IO;
	if (code == P2P_OK)
		code = write_all(db, first, &self);
	if (code == P2P_OK)
		code = db_run_plain(db, SQL_COMMIT);
	if (code == P2P_OK) {
		head_publish(&catalog->head, &self);
		if (db->box_terms != NULL)
			box_publish(catalog, db);
	} else if (!sqlite3_get_autocommit(db->handle))
		db_run_plain(db, SQL_ROLLBACK);
	return code;
}

/* Says once that writing fails, and once that it works again. */
static void
note_trouble(struct catalog *catalog, int code)
{
	if (code == catalog->trouble)
		return;
	catalog->trouble = code;
	if (code != P2P_OK)
		log_warn("cannot write to the catalog %s: %s", catalog->site.path,
			 code_title(code));
	else
		log_info("the catalog %s can be written again", catalog->site.path);
}

/* Those who wait for the scribe itself are told here; the mind hears of it later. */
static void
wake_waiters(struct catalog *catalog, const struct catalog_batch *first)
{
	pthread_mutex_lock(&catalog->mu);
	for (; first != NULL; first = first->next) {
		if (first->waiter == NULL)
			continue;
		first->waiter->code = first->code;
		first->waiter->is_done = true;
	}
	pthread_cond_broadcast(&catalog->written);
	pthread_mutex_unlock(&catalog->mu);
}

static void
write_list(struct catalog *catalog, struct catalog_batch *first)
{
	int code = write_group(catalog, first);
	if (code == P2P_OK || first->next == NULL) {
		if (code != P2P_OK)
			first->code = code;
		note_trouble(catalog, code);
		wake_waiters(catalog, first);
		loop_post(catalog->loop, deliver, first);
		return;
	}
	while (first != NULL) {
		struct catalog_batch *next = first->next;
		first->next = NULL;
		write_list(catalog, first);
		first = next;
	}
}

static bool
is_page(const struct catalog_batch *batch)
{
	return batch->count == 1 && batch->ops[0].kind == OP_PAGE;
}

/* Where the first batch stands that may go before pages, or NULL if there is none; holds mu. */
static struct catalog_batch **
find_ours(struct catalog_batch **at)
{
	while (*at != NULL && is_page(*at))
		at = &(*at)->next;
	return *at != NULL && !(*at)->keeps_place ? at : NULL;
}

/* Unlinks those, as many as are committed together, or NULL if it is not their turn; holds mu. */
static struct catalog_batch *
take_ours(struct catalog *catalog)
{
	struct catalog_batch *first = NULL, **end = &first, **at = &catalog->first;
	size_t *rows = &catalog->passed_rows;
	if (*rows >= GROUP_ROWS)
		return NULL;
	*rows += SYNC_ROWS;
	while ((at = find_ours(at)) != NULL) {
		struct catalog_batch *batch = *at;
		if (first != NULL && *rows + batch->rows > GROUP_ROWS)
			break;
		*rows += batch->rows;
		*at = batch->next;
		if (*at == NULL)
			catalog->last = at;
		*end = batch;
		end = &batch->next;
	}
	*end = NULL;
	return first;
}

/* Unlinks what is the next, as much as is committed together; holds mu. */
static struct catalog_batch *
take_next(struct catalog *catalog)
{
	struct catalog_batch *first = catalog->first, *last = first;
	size_t rows = first->rows;
	while (last->next != NULL && rows + last->next->rows <= GROUP_ROWS &&
	       (is_page(last) || !is_page(last->next))) {
		last = last->next;
		rows += last->rows;
	}
	catalog->first = last->next;
	last->next = NULL;
	if (catalog->first == NULL)
		catalog->last = &catalog->first;
	return first;
}

/* What is to be committed together, or NULL if nothing waits; holds mu. */
static struct catalog_batch *
take_group(struct catalog *catalog)
{
	if (catalog->first == NULL)
		return NULL;
	if (!is_page(catalog->first))
		return take_next(catalog);
	struct catalog_batch *ours = take_ours(catalog);
	if (ours == NULL)
		catalog->passed_rows = 0;
	return ours != NULL ? ours : take_next(catalog);
}

static bool
do_some_chores(struct db *db)
{
	/* Each in its turn: what the one drops, the other has to sweep. */
	bool has_more = tombstones_collect(db);
	return names_tidy(db) || has_more;
}

bool
write_waiting(struct catalog *catalog)
{
	pthread_mutex_lock(&catalog->mu);
	struct catalog_batch *group = take_group(catalog);
	pthread_mutex_unlock(&catalog->mu);
	if (group == NULL)
		return false;
	bool is_others = is_page(group);
	write_list(catalog, group);
	pthread_mutex_lock(&catalog->mu);
	bool is_urgent = is_others && find_ours(&catalog->first) != NULL;
	pthread_mutex_unlock(&catalog->mu);
	/* Some in any other case, lest they grow as long as work keeps coming. */
	catalog->has_chores = is_urgent || do_some_chores(catalog->writer);
	return true;
}

bool
write_chores(struct catalog *catalog)
{
	if (catalog->has_chores)
		catalog->has_chores = do_some_chores(catalog->writer);
	return catalog->has_chores;
}
