/* SPDX-License-Identifier: MIT
 *
 * indexer.c - keeps the catalog equal to the share on disk.
 *
 * The life of a change: somebody writes into the share.  inotify says so at once, or a scan finds
 * it later (indexer_follow.c); either way a name gets dirty (dirty.c).  When it has rested for the
 * settle time a worker looks at it (examine.c), and hashes it if its signature is not that of the
 * catalog; the outcome is put into a batch for the catalog (indexer_work.c).  Removal goes the same
 * way: the worker finds nothing, the batch gets a removal.
 *
 * inotify is the quick way and may fail in every manner - events lost, watches refused, a network
 * file system that has none.  Scans are the sure way; whatever goes wrong elsewhere is healed by
 * the next one.  Therefore nothing here is retried in place but reading a file: trouble is told
 * once, and a scan is due sooner.
 *
 * Threads: these books are the mind's.  Workers get what they need in a job, and answer by a post.
 * `outstanding` counts them: an indexer that was freed while some are on their way ends with the
 * last.
 *
 * This file has what the rest of the daemon sees: life, status, troubles, and the list of files
 * that cannot be shared.
 */
#include "indexer.h"

#include <assert.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "indexer_inner.h"
#include "log.h"
#include "mem.h"

/* A file that is there and cannot be shared. */
struct bad {
	uint64_t generation; /* of the scan that saw it last */
	char *why;
	char name[];
};

struct indexer *
indexer_new(struct loop *loop, struct pool *pool, struct store *store, struct catalog *catalog,
	    struct events *events, struct config *config)
{
	struct indexer *indexer = mem_zero(1, sizeof(*indexer));

	indexer->loop = loop;
	indexer->pool = pool;
	indexer->store = store;
	indexer->catalog = catalog;
	indexer->events = events;
	indexer->directory = mem_string(config->share_directory);
	indexer->rescan_s = config->share_rescan_s;
	indexer->examiner.store = store;
	indexer->examiner.catalog = catalog;
	indexer->examiner.settle_ms = config->share_settle_ms;
	dirty_init(&indexer->dirty);
	STAILQ_INIT(&indexer->wants);
	indexer->wake_timer = loop_timer_new(loop, indexer_wake, indexer);
	indexer->flush_timer = loop_timer_new(loop, indexer_flush, indexer);
	indexer->wake_at = DIRTY_NEVER;
	indexer->rescan_at = DIRTY_NEVER;
	return indexer;
}

void
indexer_bar_bare_share(struct indexer *indexer)
{
	const struct scan_place place = {
		.root_fd = store_root_fd(indexer->store),
		.directory = indexer->directory,
		.catalog = indexer->catalog,
	};
	struct error why;

	if (scan_check_place(&place, &why) != P2P_OK)
		store_bar(indexer->store, why.text);
}

void
indexer_start(struct indexer *indexer)
{
	assert(loop_is_mine(indexer->loop));
	indexer->is_started = true;
	indexer_follow(indexer);
	indexer_rescan(indexer);
}

void
indexer_rescan(struct indexer *indexer)
{
	indexer_rescan_in(indexer, 0);
}

void
indexer_configure(struct indexer *indexer, struct config *config)
{
	assert(loop_is_mine(indexer->loop));
	indexer->rescan_s = config->share_rescan_s;
	if (indexer->is_started && indexer->rescan_s > 0)
		indexer_rescan_in(indexer, indexer->rescan_s * 1000ull);
}

void
indexer_stop(struct indexer *indexer)
{
	assert(loop_is_mine(indexer->loop));
	if (indexer_is_stopping(indexer))
		return;
	/* What is known already need not be found out again after a restart. */
	indexer_flush(indexer);
	atomic_store(&indexer->examiner.is_stopping, true);
	indexer_unfollow(indexer);
	loop_timer_free(indexer->wake_timer);
	loop_timer_free(indexer->flush_timer);
}

static void
free_bad(void *name)
{
	struct bad *bad = (struct bad *)(void *)((char *)name - offsetof(struct bad, name));

	free(bad->why);
	free(bad);
}

static void
destroy(struct indexer *indexer)
{
	dirty_fini(&indexer->dirty);
	tdestroy(indexer->bad, free_bad);
	for (int i = 0; i < TROUBLES; i++)
		free(indexer->troubles[i]);
	free(indexer->directory);
	free(indexer);
}

void
indexer_free(struct indexer *indexer)
{
	if (indexer == NULL)
		return;
	indexer_stop(indexer);
	indexer->is_freed = true;
	/* No worker is left; and what these borrow may be gone when the last completion comes. */
	scan_free(indexer->scan);
	watch_free(indexer->watch);
	slicing_free(indexer->slicing);
	if (indexer->outstanding == 0)
		destroy(indexer);
}

void
indexer_submit(struct indexer *indexer, pool_fn work, loop_fn done, void *arg)
{
	indexer->outstanding++;
	pool_submit(indexer->pool, POOL_BULK, work, done, arg);
}

bool
indexer_came_back(struct indexer *indexer)
{
	assert(indexer->outstanding > 0);
	indexer->outstanding--;
	if (indexer->is_freed && indexer->outstanding == 0) {
		destroy(indexer);
		return false;
	}
	return !indexer_is_stopping(indexer);
}

/* --- holds --- */

void
indexer_hold(struct indexer *indexer, const char *name)
{
	assert(loop_is_mine(indexer->loop));
	dirty_hold(&indexer->dirty, name);
	struct dirty *dirty = dirty_find(&indexer->dirty, name);
	if (dirty->state == DIRTY_WAITING)
		indexer_first_done(indexer, dirty);
}

void
indexer_release(struct indexer *indexer, const char *name)
{
	assert(loop_is_mine(indexer->loop));
	uint64_t due = clock_ms() + indexer->examiner.settle_ms;

	dirty_release(&indexer->dirty, name, due);
	if (!indexer_is_stopping(indexer))
		indexer_wake_at(indexer, due);
}

/* --- troubles --- */

void
indexer_trouble(struct indexer *indexer, enum trouble which, const char *text)
{
	char **slot = &indexer->troubles[which];

	if (*slot != NULL && strcmp(*slot, text) == 0)
		return;
	free(*slot);
	*slot = mem_string(text);
	log_warn("%s", text);

	struct event *event = event_new(EVENT_INDEX_TROUBLE);
	event->text = mem_string(text);
	events_publish(indexer->events, event);
}

void
indexer_no_trouble(struct indexer *indexer, enum trouble which)
{
	free(indexer->troubles[which]);
	indexer->troubles[which] = NULL;
}

/* --- what cannot be shared --- */

static int
compare_names(const void *a, const void *b)
{
	return strcmp(a, b);
}

static struct bad *
find_bad(const struct indexer *indexer, const char *name)
{
	char **slot = tfind(name, &indexer->bad, compare_names);

	return slot == NULL ? NULL : (struct bad *)(void *)(*slot - offsetof(struct bad, name));
}

void
indexer_bad(struct indexer *indexer, const char *name, const char *why)
{
	struct bad *bad = find_bad(indexer, name);

	if (bad == NULL) {
		if (indexer->bad_count == INDEXER_TROUBLE_MAX) {
			indexer->bad_unlisted++;
			return;
		}
		size_t len = strlen(name);
		bad = mem_zero(1, sizeof(*bad) + len + 1);
		memcpy(bad->name, name, len);
		if (tsearch(bad->name, &indexer->bad, compare_names) == NULL)
			abort();
		indexer->bad_count++;
	}
	bad->generation = indexer->bad_generation;
	free(bad->why);
	bad->why = mem_string(why);
}

bool
indexer_is_bad(const struct indexer *indexer, const char *name)
{
	return find_bad(indexer, name) != NULL;
}

static void
forget_bad(struct indexer *indexer, struct bad *bad)
{
	tdelete(bad->name, &indexer->bad, compare_names);
	free_bad(bad->name);
	indexer->bad_count--;
}

void
indexer_not_bad(struct indexer *indexer, const char *name)
{
	struct bad *bad = indexer->bad_count == 0 ? NULL : find_bad(indexer, name);

	if (bad != NULL)
		forget_bad(indexer, bad);
}

/* The ones that indexer_expire_bad() gathers; the tree must not change under twalk. */
struct expiry {
	const struct indexer *indexer;
	const char *prefix;
	size_t count;
	struct bad *items[INDEXER_TROUBLE_MAX];
};

static void
gather_expired(const void *slot, VISIT visit, void *arg)
{
	char *name = *(char *const *)slot;
	struct bad *bad = (struct bad *)(void *)(name - offsetof(struct bad, name));
	struct expiry *expiry = arg;

	if (visit != postorder && visit != leaf)
		return;
	if (bad->generation == expiry->indexer->bad_generation)
		return;
	if (strncmp(name, expiry->prefix, strlen(expiry->prefix)) != 0)
		return;
	/* To be looked at anyway, and until then what was true of it still is. */
	if (dirty_find(&expiry->indexer->dirty, name) == NULL)
		expiry->items[expiry->count++] = bad;
}

void
indexer_expire_bad(struct indexer *indexer, const char *prefix)
{
	if (indexer->bad_count == 0)
		return;
	struct expiry *expiry = mem_zero(1, sizeof(*expiry));
	expiry->indexer = indexer;
	expiry->prefix = prefix;
	twalk_r(indexer->bad, gather_expired, expiry);
	for (size_t i = 0; i < expiry->count; i++)
		forget_bad(indexer, expiry->items[i]);
	free(expiry);
}

struct listing {
	void (*fn)(void *arg, const char *name, const char *why);
	void *arg;
};

static void
list_bad(const void *slot, VISIT visit, void *arg)
{
	char *name = *(char *const *)slot;
	const struct bad *bad = (struct bad *)(void *)(name - offsetof(struct bad, name));
	const struct listing *listing = arg;

	if (visit == postorder || visit == leaf)
		listing->fn(listing->arg, bad->name, bad->why);
}

void
indexer_unshareable(const struct indexer *indexer,
		    void (*fn)(void *arg, const char *name, const char *why), void *arg)
{
	struct listing listing = { fn, arg };

	assert(loop_is_mine(indexer->loop));
	twalk_r(indexer->bad, list_bad, &listing);
}

void
indexer_status(const struct indexer *indexer, struct indexer_status *ret)
{
	const struct dirty_set *dirty = &indexer->dirty;

	assert(loop_is_mine(indexer->loop));
	*ret = (struct indexer_status){
		.is_scanning = indexer->scan != NULL || indexer->is_full_wanted,
		.is_ready = indexer->is_ready,
		.scans = indexer->scans,
		.queued_files = dirty->count - dirty->counts[DIRTY_WAITING],
		.queued_bytes = dirty->bytes,
		.hashed_files = indexer->hashed_files,
		.hashed_bytes = indexer->hashed_bytes,
		.unshareable = indexer->bad_count + indexer->bad_unlisted,
	};
	for (int i = 0; i < TROUBLES && ret->trouble == NULL; i++)
		ret->trouble = indexer->troubles[i];
}
