/* SPDX-License-Identifier: MIT
 *
 * catalog_scribe.c - when is written: the scribe's thread.
 *
 * It sleeps until something waits or the end has come, and has it written (catalog_write.c); while
 * nothing waits it does what was put off, and after REST_S of that it makes the index of names one
 * piece if need be, and gives back its memory.  The end comes when nothing waits any more, never
 * before.
 *
 * Who needs the catalog without a thread has another file in the place of this one.
 */
#include <errno.h>
#include <malloc.h>
#include <time.h>

#include "catalog_db.h"
#include "thread.h"

#define REST_S 1 /* the cache is let go after so long without work */

/* Many small pages in the midst of others: without this they stay ours. */
static void
give_back_memory(void)
{
#ifndef __SANITIZE_ADDRESS__ /* there the heap is not malloc_trim()'s: it was never begun */
	malloc_trim(0);
#endif
}

/* Nothing to write, and no reason to end?  Holds mu. */
static bool
is_idle(const struct catalog *catalog)
{
	return catalog->first == NULL && !catalog->is_stopping;
}

/* What can wait, while there is nothing else to do; holds mu. */
static void
do_while_idle(struct catalog *catalog, bool (*do_some)(struct catalog *catalog))
{
	bool has_more = true;
	while (has_more && is_idle(catalog)) {
		pthread_mutex_unlock(&catalog->mu);
		has_more = do_some(catalog);
		pthread_mutex_lock(&catalog->mu);
	}
}

static bool
merge_some(struct catalog *catalog)
{
	return names_merge(catalog->writer);
}

/* Waits for work or the end; holds mu. */
static void
rest(struct catalog *catalog)
{
	do_while_idle(catalog, write_chores);
	struct timespec until;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += REST_S;
	while (is_idle(catalog))
		if (pthread_cond_timedwait(&catalog->wake, &catalog->mu, &until) == ETIMEDOUT)
			break;
	do_while_idle(catalog, merge_some);
	if (is_idle(catalog)) {
		pthread_mutex_unlock(&catalog->mu);
		sqlite3_db_release_memory(catalog->writer->handle);
		give_back_memory();
		pthread_mutex_lock(&catalog->mu);
	}
	while (is_idle(catalog))
		pthread_cond_wait(&catalog->wake, &catalog->mu);
}

static void *
scribe_main(void *arg)
{
	struct catalog *catalog = arg;
	do {
		pthread_mutex_lock(&catalog->mu);
		rest(catalog);
		pthread_mutex_unlock(&catalog->mu);
	} while (write_waiting(catalog));
	return NULL;
}

int
scribe_start(struct catalog *catalog)
{
	return thread_start(&catalog->scribe, NULL, "p2pd-scribe", scribe_main, catalog);
}

void
scribe_wake(struct catalog *catalog)
{
	pthread_cond_signal(&catalog->wake);
}

void
scribe_end(struct catalog *catalog)
{
	pthread_join(catalog->scribe, NULL);
}
