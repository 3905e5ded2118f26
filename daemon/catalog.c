/* SPDX-License-Identifier: MIT
 *
 * catalog.c - the life of the catalog, and its scribe.
 *
 * catalog_new() opens the file (catalog_db.c), reads where our own numbering stands and starts the
 * scribe, the one thread that writes.  Batches wait in a list; the scribe takes what has come
 * together, up to GROUP_ROWS, and commits it as one transaction with a savepoint around each batch:
 * a batch that is refused is undone alone, and its neighbours never hear of it.  When the database
 * itself fails (full disk), the transaction is undone as a whole and each batch tried once more on
 * its own, so that a small one may still find room beside a large one.
 *
 * After the commit the head is published, and one post carries the group to the mind, which tells
 * the listener and then completes each batch, in the order of submission.  The post needs nothing
 * of the catalog, so it may still run when that is gone.
 *
 * Readers are connections kept for the next who asks.  They are handed out under a lock that is
 * held for a few instructions; there are as many as reads at the same time, READERS_KEPT stay.
 */
#include "catalog.h"

#include <assert.h>
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "catalog_db.h"
#include "log.h"
#include "mem.h"
#include "thread.h"

#define GROUP_ROWS   4000 /* of one transaction, unless one batch has more */
#define READERS_KEPT 8    /* idle connections */
#define REST_S       1    /* the scribe lets go of its cache after so long without work */

/* --- the head --- */

/* The scribe's, or before it runs.  Readers go round while `turn` is odd or moved. */
static void
publish_head(struct head_cell *cell, const struct peer_row *self)
{
	atomic_fetch_add(&cell->turn, 1);
	atomic_store(&cell->epoch, self->epoch);
	atomic_store(&cell->seq, self->seq);
	atomic_store(&cell->file_count, self->file_count);
	atomic_store(&cell->byte_count, self->byte_count);
	atomic_fetch_add(&cell->turn, 1);
}

void
catalog_head(const struct catalog *catalog, struct catalog_head *ret)
{
	const struct head_cell *cell = &catalog->head;
	uint_fast64_t turn;
	do {
		turn = atomic_load(&cell->turn);
		ret->epoch = atomic_load(&cell->epoch);
		ret->seq = atomic_load(&cell->seq);
		ret->file_count = atomic_load(&cell->file_count);
		ret->byte_count = atomic_load(&cell->byte_count);
	} while (turn % 2 != 0 || turn != atomic_load(&cell->turn));
}

/* --- readers --- */

struct db *
reader_take(struct catalog *catalog)
{
	pthread_mutex_lock(&catalog->mu);
	struct db *db = catalog->idle;
	if (db != NULL) {
		catalog->idle = db->next;
		catalog->idle_count--;
	}
	pthread_mutex_unlock(&catalog->mu);
	return db != NULL ? db : db_open_reader(&catalog->site);
}

void
reader_give(struct catalog *catalog, struct db *db)
{
	pthread_mutex_lock(&catalog->mu);
	bool is_kept = catalog->idle_count < READERS_KEPT;
	if (is_kept) {
		db->next = catalog->idle;
		catalog->idle = db;
		catalog->idle_count++;
	}
	pthread_mutex_unlock(&catalog->mu);
	if (!is_kept)
		db_close(db);
}

/* --- the scribe --- */

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

/* Carries out one batch, or leaves no trace of it.  The answer is that of the database; the batch
 * has its own code. */
static int
write_batch(struct db *db, struct catalog_batch *batch, struct peer_row *self)
{
	struct peer_row before = *self;
	int code = db_run_plain(db, SQL_SAVE);
	if (code < 0)
		return code;
	batch->code = batch_apply(db, batch, self);
	if (db->failure != P2P_OK)
		return db->failure;
	if (batch->code != P2P_OK) {
		*self = before;
		code = db_run_plain(db, SQL_SAVE_UNDO);
	}
	return code < 0 ? code : db_run_plain(db, SQL_SAVE_KEEP);
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
	for (struct catalog_batch *batch = first; batch != NULL && code == P2P_OK;
	     batch = batch->next)
		code = write_batch(db, batch, &self);
	if (code == P2P_OK)
		code = db_run_plain(db, SQL_COMMIT);
	if (code == P2P_OK) {
		publish_head(&catalog->head, &self);
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

/* Unlinks what is to be committed together; holds mu. */
static struct catalog_batch *
take_group(struct catalog *catalog)
{
	struct catalog_batch *first = catalog->first, *last = first;
	size_t rows = first->rows;
	while (last->next != NULL && rows + last->next->rows <= GROUP_ROWS) {
		last = last->next;
		rows += last->rows;
	}
	catalog->first = last->next;
	last->next = NULL;
	if (catalog->first == NULL)
		catalog->last = &catalog->first;
	return first;
}

/* Many small pages in the midst of others: without this they stay ours. */
static void
give_back_memory(void)
{
#ifndef __SANITIZE_ADDRESS__ /* there the heap is not malloc_trim()'s: it was never begun */
	malloc_trim(0);
#endif
}

/* What can wait, while there is nothing else to do; holds mu. */
static void
do_chores(struct catalog *catalog)
{
	while (catalog->has_chores && catalog->first == NULL && !catalog->is_stopping) {
		pthread_mutex_unlock(&catalog->mu);
		catalog->has_chores = names_tidy(catalog->writer);
		pthread_mutex_lock(&catalog->mu);
	}
}

/* Waits for work or the end; holds mu. */
static void
rest(struct catalog *catalog)
{
	do_chores(catalog);
	struct timespec until;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += REST_S;
	while (catalog->first == NULL && !catalog->is_stopping)
		if (pthread_cond_timedwait(&catalog->wake, &catalog->mu, &until) == ETIMEDOUT)
			break;
	if (catalog->first == NULL && !catalog->is_stopping) {
		pthread_mutex_unlock(&catalog->mu);
		sqlite3_db_release_memory(catalog->writer->handle);
		give_back_memory();
		pthread_mutex_lock(&catalog->mu);
	}
	while (catalog->first == NULL && !catalog->is_stopping)
		pthread_cond_wait(&catalog->wake, &catalog->mu);
}

static void *
scribe_main(void *arg)
{
	struct catalog *catalog = arg;
	pthread_mutex_lock(&catalog->mu);
	for (;;) {
		rest(catalog);
		if (catalog->first == NULL)
			break;
		struct catalog_batch *group = take_group(catalog);
		pthread_mutex_unlock(&catalog->mu);
		write_list(catalog, group);
		/* Some in any case, lest they grow as long as work keeps coming. */
		catalog->has_chores = names_tidy(catalog->writer);
		pthread_mutex_lock(&catalog->mu);
	}
	pthread_mutex_unlock(&catalog->mu);
	return NULL;
}

void
catalog_submit(struct catalog *catalog, struct catalog_batch *batch, catalog_done_fn done,
	       void *arg)
{
	batch->done = done;
	batch->done_arg = arg;
	batch->on_commit = catalog->on_commit;
	batch->on_commit_arg = catalog->on_commit_arg;
	memcpy(batch->self, catalog->self, sizeof(batch->self));
	pthread_mutex_lock(&catalog->mu);
	assert(!catalog->is_stopping);
	*catalog->last = batch;
	catalog->last = &batch->next;
	pthread_cond_signal(&catalog->wake);
	pthread_mutex_unlock(&catalog->mu);
}

int
catalog_submit_wait(struct catalog *catalog, struct catalog_batch *batch)
{
	struct batch_waiter waiter = { 0 };
	batch->waiter = &waiter;
	catalog_submit(catalog, batch, NULL, NULL);
	pthread_mutex_lock(&catalog->mu);
	while (!waiter.is_done)
		pthread_cond_wait(&catalog->written, &catalog->mu);
	pthread_mutex_unlock(&catalog->mu);
	return waiter.code;
}

void
catalog_on_commit(struct catalog *catalog, catalog_commit_fn fn, void *arg)
{
	catalog->on_commit = fn;
	catalog->on_commit_arg = arg;
}

/* --- life cycle --- */

static struct catalog *
catalog_alloc(struct loop *loop, const char *state_directory, const char *self)
{
	struct catalog *catalog = mem_zero(1, sizeof(*catalog));
	catalog->loop = loop;
	catalog->site.path = mem_format("%s/catalog.db", state_directory);
	memcpy(catalog->self, self, PEER_ID_SIZE);
	catalog->last = &catalog->first;
	pthread_mutex_init(&catalog->mu, NULL);
	pthread_condattr_t attr;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&catalog->wake, &attr);
	pthread_cond_init(&catalog->written, &attr);
	pthread_condattr_destroy(&attr);
	return catalog;
}

static void
catalog_release(struct catalog *catalog)
{
	while (catalog->idle != NULL) {
		struct db *db = catalog->idle;
		catalog->idle = db->next;
		db_close(db);
	}
	/* The last to close: it folds the log back into the file. */
	db_close(catalog->writer);
	pthread_cond_destroy(&catalog->written);
	pthread_cond_destroy(&catalog->wake);
	pthread_mutex_destroy(&catalog->mu);
	free(catalog->site.path);
	free(catalog);
}

struct catalog *
catalog_new(struct loop *loop, const char *state_directory, const char *self, char **ret_set_aside,
	    struct error *err)
{
	assert(digest_is_base32(self));
	struct catalog *catalog = catalog_alloc(loop, state_directory, self);
	struct peer_row row;
	char *note = NULL;
	catalog->writer = db_open_writer(&catalog->site, self, &note, err);
	if (catalog->writer == NULL)
		goto fail;
	if (peer_row_load(catalog->writer, self, &row) != 1) {
		error_set(err, P2P_IO, "cannot read the catalog %s", catalog->site.path);
		goto fail;
	}
	publish_head(&catalog->head, &row);
	catalog->has_chores = true;
	if (thread_start(&catalog->scribe, NULL, "p2pd-scribe", scribe_main, catalog) != 0) {
		error_set(err, P2P_INTERNAL, "cannot start the catalog's thread");
		goto fail;
	}
	if (ret_set_aside != NULL)
		*ret_set_aside = note;
	else
		free(note);
	return catalog;
fail:
	free(note);
	catalog_release(catalog);
	return NULL;
}

void
catalog_stop(struct catalog *catalog)
{
	if (catalog == NULL || catalog->is_stopping)
		return;
	pthread_mutex_lock(&catalog->mu);
	catalog->is_stopping = true;
	pthread_cond_signal(&catalog->wake);
	pthread_mutex_unlock(&catalog->mu);
	pthread_join(catalog->scribe, NULL);
}

void
catalog_free(struct catalog *catalog)
{
	if (catalog == NULL)
		return;
	catalog_stop(catalog);
	db_mark_closed(catalog->writer);
	catalog_release(catalog);
}
