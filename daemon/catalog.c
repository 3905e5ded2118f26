/* SPDX-License-Identifier: MIT
 *
 * catalog.c - the life of the catalog: its door for readers, and for who writes.
 *
 * catalog_new() opens the file (catalog_open.c), reads where our own numbering stands and starts the
 * scribe, the one who writes: catalog_scribe.c says when, catalog_write.c what.  Here batches are
 * only put into the list that it works off.
 *
 * Readers are connections kept for the next who asks.  They are handed out under a lock that is
 * held for a few instructions; there are as many as reads at the same time, READERS_KEPT stay.
 */
#include "catalog.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "catalog_db.h"
#include "mem.h"

#define READERS_KEPT 8 /* idle connections */

/* --- the head --- */

/* Readers go round while `turn` is odd or moved. */
void
head_publish(struct head_cell *cell, const struct peer_row *self)
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

/* --- writing --- */

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
	scribe_wake(catalog);
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
	catalog->site.limits = (struct catalog_limits){
		.files_per_peer = CATALOG_FILES_PER_PEER,
		.files_of_others = CATALOG_FILES_OF_OTHERS,
		.names_per_peer = CATALOG_NAMES_PER_PEER,
	};
	atomic_init(&catalog->site.tombstones_min, CATALOG_TOMBSTONES_MIN);
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
	head_publish(&catalog->head, &row);
	catalog->has_chores = true;
	if (scribe_start(catalog) != 0) {
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
catalog_limit(struct catalog *catalog, const struct catalog_limits *limits)
{
	catalog->site.limits = *limits;
}

void
catalog_limit_tombstones(struct catalog *catalog, uint64_t count)
{
	atomic_store(&catalog->site.tombstones_min, count);
}

void
catalog_stop(struct catalog *catalog)
{
	if (catalog == NULL || catalog->is_stopping)
		return;
	pthread_mutex_lock(&catalog->mu);
	catalog->is_stopping = true;
	scribe_wake(catalog);
	pthread_mutex_unlock(&catalog->mu);
	scribe_end(catalog);
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
