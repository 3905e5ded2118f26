/* SPDX-License-Identifier: MIT
 *
 * indexer_work.c - looks at dirty names, on workers, and submits to the catalog what was found.
 *
 * As many jobs are under way as there are workers for bulk work, and one more so that none of them
 *waits for the mind. A job is either a number of names that are looked at in turn, or one slice of
 *a large file.  One large file is in hand at a time, with all workers on it but the one that goes
 *on with small files, if there are any: neither do small files wait behind a large one for hours,
 *nor large ones for ever.
 *
 *	large file: open -> (slice, slice, ... several at a time) -> end -> its outcome is taken
 *like any other's
 *
 * Outcomes go into a batch, submitted when it is full, when it is FLUSH_MS old, or when there is
 *nothing else to do. While BATCHES_MAX are on their way to the disk no new work is begun, so memory
 *stays bounded if the catalog is slow. A batch that failed is lost.  Then all work rests until a
 *scan, after a while that doubles, finds its files again.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "indexer_inner.h"
#include "log.h"
#include "mem.h"
#include "metrics.h"
#include "name.h"

#define JOB_FILES       256  /* names of one job */
#define BATCH_MAX       4000 /* operations of one batch: a commit costs a sync */
#define BATCHES_MAX     4    /* submitted and not committed */
#define FLUSH_MS        200  /* age of a batch */
#define WAKE_MS         50   /* between two looks for names that are due */
#define FAILED_MS       5000 /* until a file that could not be read is looked at again; doubles */
#define FAILED_MAX_MS   320000
#define RETRY_MS        5000 /* until the scan after a batch failed; doubles */
#define RETRY_DOUBLINGS 1

/* Names that are looked at by one worker. */
struct small_job {
	struct indexer *indexer;
	size_t count;
	struct dirty *dirties[JOB_FILES];
	struct examined items[JOB_FILES];
};

/* The opening, or the end, of a large file. */
struct large_job {
	struct indexer *indexer;
	struct slicing *slicing;
	struct examined item;
};

struct slice_job {
	struct indexer *indexer;
	struct slicing *slicing;
	uint32_t slice;
};

static void start_work(struct indexer *indexer);

/* --- batches --- */

/* Something happened to a name that was in hand. */
static void
look_again(struct indexer *indexer, struct dirty *dirty)
{
	dirty->is_again = false;
	indexer_first_done(indexer, dirty);
	dirty_move(&indexer->dirty, dirty, DIRTY_WAITING);
	indexer_wake_at(indexer, dirty->due_ms);
}

/* The names of the batch that was just committed, or failed. */
static void
end_batch(struct indexer *indexer)
{
	struct dirty_list *list = &indexer->dirty.lists[DIRTY_COMMITTING];
	struct dirty *dirty;

	while ((dirty = TAILQ_FIRST(list)) != NULL && dirty->batch <= indexer->committed) {
		if (dirty->is_again)
			look_again(indexer, dirty);
		else
			dirty_done(&indexer->dirty, dirty);
	}
}

static void
batch_is_committed(void *arg, int code)
{
	struct indexer *indexer = arg;

	if (!indexer_came_back(indexer))
		return;
	indexer->committed++;
	end_batch(indexer);
	if (code == P2P_OK) {
		indexer->failures = 0;
		indexer_no_trouble(indexer, TROUBLE_CATALOG);
	} else {
		char *text =
		    mem_format("what is new in the share cannot be written to the catalog: "
			       "%s; it is tried again",
			       code_title(code));
		indexer_trouble(indexer, TROUBLE_CATALOG, text);
		free(text);
		unsigned doublings =
		    indexer->failures < RETRY_DOUBLINGS ? indexer->failures : RETRY_DOUBLINGS;
		indexer->failures++;
		indexer->is_failing = true;
		indexer->is_first_scanned = false;
		indexer->ready_at = 0;
		indexer_rescan_in(indexer, (uint64_t)RETRY_MS << doublings);
	}
	indexer_check_ready(indexer);
	start_work(indexer);
}

void
indexer_flush(void *arg)
{
	struct indexer *indexer = arg;

	if (indexer->batch == NULL)
		return;
	loop_timer_stop(indexer->flush_timer);
	indexer->outstanding++;
	indexer->submitted++;
	catalog_submit(indexer->catalog, indexer->batch, batch_is_committed, indexer);
	indexer->batch = NULL;
}

/* The batch to add to. */
static struct catalog_batch *
open_batch(struct indexer *indexer)
{
	if (indexer->batch != NULL && catalog_batch_size(indexer->batch) >= BATCH_MAX)
		indexer_flush(indexer);
	if (indexer->batch == NULL) {
		indexer->batch = catalog_batch_new();
		loop_timer_start(indexer->flush_timer, FLUSH_MS);
	}
	return indexer->batch;
}

void
indexer_first_done(struct indexer *indexer, struct dirty *dirty)
{
	if (!dirty->is_first)
		return;
	dirty->is_first = false;
	indexer->first_left--;
}

void
indexer_check_ready(struct indexer *indexer)
{
	if (indexer->is_ready || !indexer->is_first_scanned || indexer->first_left > 0)
		return;
	if (indexer->ready_at == 0) {
		indexer_flush(indexer);
		indexer->ready_at = indexer->submitted + 1;
	}
	indexer->is_ready = indexer->committed + 1 >= indexer->ready_at;
}

/* --- outcomes --- */

/* What was found of it is in the open batch. */
static void
await_commit(struct indexer *indexer, struct dirty *dirty)
{
	dirty->batch = indexer->submitted + 1;
	dirty_move(&indexer->dirty, dirty, DIRTY_COMMITTING);
}

static void
put_file(struct indexer *indexer, struct dirty *dirty, struct examined *item)
{
	catalog_batch_put(open_batch(indexer), item->name, &item->file, item->layer,
			  item->layer_count);
	await_commit(indexer, dirty);
	item->layer = NULL;
	indexer->hashed_files++;
	indexer->hashed_bytes += item->file.content.size_bytes;
	metrics_add(METRIC_HASHED_BYTES, item->file.content.size_bytes);
}

static void
remove_file(struct indexer *indexer, struct dirty *dirty)
{
	/* Names that may not be shared were never put. */
	if (name_check(dirty->name, strlen(dirty->name), NULL) != P2P_OK)
		return;
	catalog_batch_remove(open_batch(indexer), dirty->name);
	await_commit(indexer, dirty);
}

static void
wait_for(struct indexer *indexer, struct dirty *dirty, uint64_t after_ms)
{
	uint64_t due = clock_ms() + after_ms;

	dirty_wait(&indexer->dirty, dirty, due);
	indexer_wake_at(indexer, due);
}

/* Trouble that may pass (a bad block, no descriptors): said once, and tried again less and less often. */
static void
failed(struct indexer *indexer, struct dirty *dirty, const char *why)
{
	uint64_t after_ms = FAILED_MS;

	if (dirty->failures == 0)
		log_warn("\"%s\" of the share cannot be read and is tried again: %s", dirty->name,
			 why);
	for (unsigned i = 0; i < dirty->failures && after_ms < FAILED_MAX_MS; i++)
		after_ms *= 2;
	dirty->failures++;
	indexer_bad(indexer, dirty->name, why);
	indexer_first_done(indexer, dirty);
	wait_for(indexer, dirty, after_ms);
}

/* The name has its verdict: is it final?  Then the catalog, and the list of the unshareable,
 * follow. */
static bool
apply_verdict(struct indexer *indexer, struct dirty *dirty, struct examined *item)
{
	switch (item->verdict) {
	case EXAMINE_LATER:
		dirty_move(&indexer->dirty, dirty, DIRTY_READY);
		return false;
	case EXAMINE_LARGE_FILE:
		dirty_resize(&indexer->dirty, dirty, item->file.sig.size_bytes);
		dirty_move(&indexer->dirty, dirty, DIRTY_LARGE);
		return false;
	case EXAMINE_WAIT:
		/* What was written just before we started is worth waiting for, once. */
		if (dirty->has_waited)
			indexer_first_done(indexer, dirty);
		dirty->has_waited = true;
		wait_for(indexer, dirty, item->wait_ms);
		return false;
	case EXAMINE_FAILED:
		failed(indexer, dirty, item->why);
		return false;
	case EXAMINE_BAD:
		indexer_bad(indexer, dirty->name, item->why);
		remove_file(indexer, dirty);
		return true;
	case EXAMINE_GONE:
		indexer_not_bad(indexer, dirty->name);
		remove_file(indexer, dirty);
		return true;
	case EXAMINE_HASHED:
		put_file(indexer, dirty, item);
		/* fallthrough */
	case EXAMINE_SAME:
		indexer_not_bad(indexer, dirty->name);
		return true;
	}
	return true;
}

/* A worker is done with a name.  Frees what the item owns. */
static void
take_outcome(struct indexer *indexer, struct dirty *dirty, struct examined *item)
{
	if (dirty->is_again) {
		look_again(indexer, dirty);
	} else if (apply_verdict(indexer, dirty, item)) {
		indexer_first_done(indexer, dirty);
		if (dirty->state == DIRTY_RUNNING)
			dirty_done(&indexer->dirty, dirty);
	}
	examined_fini(item);
}

/* --- small files --- */

static void
run_small(void *arg)
{
	struct small_job *job = arg;

	examine_files(&job->indexer->examiner, job->items, job->count);
}

static void
small_is_done(void *arg)
{
	struct small_job *job = arg;
	struct indexer *indexer = job->indexer;

	if (!indexer_came_back(indexer)) {
		for (size_t i = 0; i < job->count; i++)
			examined_fini(&job->items[i]);
		free(job);
		return;
	}
	for (size_t i = 0; i < job->count; i++)
		take_outcome(indexer, job->dirties[i], &job->items[i]);
	free(job);
	indexer->jobs--;
	indexer->small_jobs--;
	indexer_resume_scan(indexer);
	start_work(indexer);
}

static unsigned
jobs_max(const struct indexer *indexer)
{
	return pool_bulk_workers(indexer->pool) + 1;
}

static void
start_small(struct indexer *indexer)
{
	struct dirty_set *set = &indexer->dirty;
	struct small_job *job = mem_zero(1, sizeof(*job));

	/* A few files are divided among the workers; many go many to a job. */
	size_t room = set->counts[DIRTY_READY] / jobs_max(indexer) + 1;
	if (room > JOB_FILES)
		room = JOB_FILES;
	job->indexer = indexer;
	while (job->count < room && set->counts[DIRTY_READY] > 0) {
		struct dirty *dirty = TAILQ_FIRST(&set->lists[DIRTY_READY]);
		dirty_move(set, dirty, DIRTY_RUNNING);
		job->dirties[job->count] = dirty;
		job->items[job->count].name = dirty->name;
		job->items[job->count].is_writing = dirty->is_writing;
		job->items[job->count].is_closed = dirty->is_closed;
		job->count++;
	}
	indexer->jobs++;
	indexer->small_jobs++;
	indexer_submit(indexer, run_small, small_is_done, job);
}

/* --- large files --- */

static void
large_is_over(struct indexer *indexer, struct examined *item)
{
	struct dirty *dirty = indexer->sliced;

	indexer->sliced = NULL;
	take_outcome(indexer, dirty, item);
}

static void
run_end(void *arg)
{
	struct large_job *job = arg;

	slicing_end(&job->indexer->examiner, job->slicing, &job->item);
}

static void
end_is_done(void *arg)
{
	struct large_job *job = arg;
	struct indexer *indexer = job->indexer;

	if (indexer_came_back(indexer)) {
		indexer->jobs--;
		large_is_over(indexer, &job->item);
		start_work(indexer);
	} else {
		examined_fini(&job->item);
	}
	free(job);
}

static void
start_end(struct indexer *indexer)
{
	struct large_job *job = mem_zero(1, sizeof(*job));

	job->indexer = indexer;
	job->slicing = indexer->slicing;
	indexer->slicing = NULL;
	indexer->jobs++;
	indexer_submit(indexer, run_end, end_is_done, job);
}

static void
run_slice(void *arg)
{
	struct slice_job *job = arg;

	slicing_hash(&job->indexer->examiner, job->slicing, job->slice);
}

static void
slice_is_done(void *arg)
{
	struct slice_job *job = arg;
	struct indexer *indexer = job->indexer;

	free(job);
	if (!indexer_came_back(indexer))
		return;
	indexer->jobs--;
	indexer->slice_done++;
	/* What was hashed of a file that is written to meanwhile is void; the rest of it is left
	 * undone. */
	if (indexer->sliced->is_again)
		atomic_store(&indexer->slicing->is_spoilt, true);
	start_work(indexer);
}

static void
start_slice(struct indexer *indexer)
{
	struct slice_job *job = mem_zero(1, sizeof(*job));

	job->indexer = indexer;
	job->slicing = indexer->slicing;
	job->slice = indexer->slice_next++;
	indexer->jobs++;
	indexer_submit(indexer, run_slice, slice_is_done, job);
}

static void
run_open(void *arg)
{
	struct large_job *job = arg;

	job->slicing = slicing_new(&job->indexer->examiner, &job->item);
}

static void
open_is_done(void *arg)
{
	struct large_job *job = arg;
	struct indexer *indexer = job->indexer;

	if (!indexer_came_back(indexer)) {
		slicing_free(job->slicing);
		examined_fini(&job->item);
		free(job);
		return;
	}
	indexer->jobs--;
	if (job->slicing == NULL) {
		large_is_over(indexer, &job->item);
	} else {
		indexer->slicing = job->slicing;
		indexer->slice_next = 0;
		indexer->slice_done = 0;
	}
	free(job);
	start_work(indexer);
}

static void
start_open(struct indexer *indexer)
{
	struct large_job *job = mem_zero(1, sizeof(*job));
	struct dirty *dirty = TAILQ_FIRST(&indexer->dirty.lists[DIRTY_LARGE]);

	dirty_move(&indexer->dirty, dirty, DIRTY_RUNNING);
	indexer->sliced = dirty;
	job->indexer = indexer;
	job->item.name = dirty->name;
	job->item.is_writing = dirty->is_writing;
	job->item.is_closed = dirty->is_closed;
	indexer->jobs++;
	indexer_submit(indexer, run_open, open_is_done, job);
}

/* --- what next --- */

/* Starts one job; false if there is nothing to start. */
static bool
start_job(struct indexer *indexer)
{
	const struct slicing *slicing = indexer->slicing;
	bool has_slices = slicing != NULL && indexer->slice_next < slicing->slice_count &&
			  !atomic_load(&slicing->is_spoilt);
	bool has_small = indexer->dirty.counts[DIRTY_READY] > 0;

	if (indexer->sliced == NULL && indexer->dirty.counts[DIRTY_LARGE] > 0)
		start_open(indexer);
	else if (slicing != NULL && !has_slices && indexer->slice_done == indexer->slice_next)
		start_end(indexer);
	else if (has_slices && (indexer->small_jobs > 0 || !has_small))
		start_slice(indexer);
	else if (has_small)
		start_small(indexer);
	else
		return false;
	return true;
}

static void
start_work(struct indexer *indexer)
{
	bool may_start = !indexer_is_stopping(indexer) && !indexer->is_failing &&
			 indexer->submitted - indexer->committed < BATCHES_MAX;

	while (may_start && indexer->jobs < jobs_max(indexer) && start_job(indexer))
		;
	if (indexer->jobs == 0)
		indexer_flush(indexer);
	indexer_check_ready(indexer);
}

void
indexer_wake(void *arg)
{
	struct indexer *indexer = arg;
	uint64_t now = clock_ms();

	indexer->wake_at = DIRTY_NEVER;
	uint64_t next = dirty_wake(&indexer->dirty, now);
	if (next != DIRTY_NEVER)
		indexer_wake_at(indexer, next < now + WAKE_MS ? now + WAKE_MS : next);
	start_work(indexer);
}

void
indexer_wake_at(struct indexer *indexer, uint64_t at_ms)
{
	uint64_t now = clock_ms();

	if (at_ms >= indexer->wake_at)
		return;
	indexer->wake_at = at_ms;
	loop_timer_start(indexer->wake_timer, at_ms > now ? at_ms - now : 0);
}
