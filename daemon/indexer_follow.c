/* SPDX-License-Identifier: MIT
 *
 * indexer_follow.c - which names to look at: scans and inotify.
 *
 * One scan runs at a time, in steps; one that finds more than the workers can take pauses until the
 * queue is short again.  Scans of everything come at start, every rescan_s, and sooner after
 * trouble.  Scans of one directory come when it appears (moved in, or made and perhaps filled
 * before it was watched) and when it goes: then the scan finds nothing on disk, and every name that
 * the catalog has beneath it is looked at, and removed.
 *
 * An event is a hint that a name is worth a look, never a fact about it.  What differs is when to
 * look: at once for what was closed, renamed into place, or is gone, after the settle time for what
 * is being written.  Every further write puts it off again.
 *
 * A scan does not put anything off: a name that is in the books already stays as it is, so that the
 * next periodic scan does not void the hashing of a file that takes hours.  Only what the catalog is
 * just being told of is looked at once more: the scan may have seen it before or after.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "indexer_inner.h"
#include "log.h"
#include "mem.h"

#define SOON_MS          25   /* until a name that may need no rest is looked at: gathers a batch */
#define OVERFLOW_MS      1000 /* until the scan after lost events: the storm may last */
#define SHARE_RETRY_MS   10000 /* until the scan after one that failed */
#define WATCH_LIMIT_FILE "/proc/sys/fs/inotify/max_user_watches"

static void start_scan(struct indexer *indexer);

/* --- when to scan --- */

static void
rescan_is_due(void *arg)
{
	struct indexer *indexer = arg;

	indexer->rescan_at = DIRTY_NEVER;
	indexer->is_full_wanted = true;
	start_scan(indexer);
}

void
indexer_rescan_in(struct indexer *indexer, uint64_t after_ms)
{
	uint64_t at = clock_ms() + after_ms;

	assert(loop_is_mine(indexer->loop));
	if (!indexer->is_started || indexer_is_stopping(indexer) || at >= indexer->rescan_at)
		return;
	if (after_ms == 0) {
		indexer->is_full_wanted = true;
		start_scan(indexer);
		return;
	}
	indexer->rescan_at = at;
	loop_timer_start(indexer->rescan_timer, after_ms);
}

static void
drop_wants(struct indexer *indexer)
{
	while (!STAILQ_EMPTY(&indexer->wants)) {
		struct want *want = STAILQ_FIRST(&indexer->wants);
		STAILQ_REMOVE_HEAD(&indexer->wants, link);
		free(want);
	}
	indexer->want_count = 0;
}

/* The directory with this prefix is to be scanned, unless a scan that is still to come covers it.
 */
static void
want_scan(struct indexer *indexer, const char *prefix)
{
	struct want *want;

	if (indexer->is_full_wanted)
		return;
	STAILQ_FOREACH(want, &indexer->wants, link)
	if (strncmp(prefix, want->prefix, strlen(want->prefix)) == 0)
		return;
	if (indexer->want_count == WANT_MAX) {
		indexer->is_full_wanted = true;
		return;
	}
	size_t len = strlen(prefix);
	want = mem_zero(1, sizeof(*want) + len + 1);
	memcpy(want->prefix, prefix, len);
	STAILQ_INSERT_TAIL(&indexer->wants, want, link);
	indexer->want_count++;
	start_scan(indexer);
}

/* --- what a scan found --- */

static void
take_found(struct indexer *indexer, const struct scan_found *found)
{
	if (found->why != NULL) {
		indexer_bad(indexer, found->name, found->why);
		return;
	}
	struct dirty *dirty = dirty_find(&indexer->dirty, found->name);
	if (dirty != NULL && dirty->is_noted && dirty->state != DIRTY_COMMITTING)
		return;
	dirty = dirty_note(&indexer->dirty, found->name, clock_ms());
	dirty_resize(&indexer->dirty, dirty, found->size_bytes);
	if (!indexer->is_ready && !dirty->is_first && dirty->holds == 0) {
		dirty->is_first = true;
		indexer->first_left++;
	}
}

static void
tell_watch_limit(struct indexer *indexer)
{
	char limit[32] = "(unknown)";
	FILE *file = fopen(WATCH_LIMIT_FILE, "re");
	if (file != NULL) {
		if (fscanf(file, "%31s", limit) != 1)
			limit[0] = '\0';
		fclose(file);
	}
	char *text = mem_format("not every directory of the share can be watched: "
				"fs.inotify.max_user_watches is %s; set it to more than there are "
				"directories; until then changes are found by the periodic scan",
				limit);
	indexer_trouble(indexer, TROUBLE_WATCH, text);
	free(text);
}

/* After a full scan, or one that failed. */
static void
judge_scan(struct indexer *indexer, const struct scan_report *report, bool is_done)
{
	if (report->trouble.code != P2P_OK)
		indexer_trouble(indexer, TROUBLE_SHARE, report->trouble.text);
	else
		indexer_no_trouble(indexer, TROUBLE_SHARE);
	if (is_done)
		store_bar(indexer->store, NULL);
	if (!is_done) {
		indexer_rescan_in(indexer, SHARE_RETRY_MS);
		return;
	}

	indexer_no_trouble(indexer, TROUBLE_OVERFLOW);
	if (!report->is_watch_full && indexer->watch != NULL)
		indexer_no_trouble(indexer, TROUBLE_WATCH);
	indexer->bad_unlisted = report->unlisted;
	indexer->scans++;
	indexer->is_first_scanned = true;
	if (indexer->rescan_s > 0)
		indexer_rescan_in(indexer, indexer->rescan_s * 1000ull);
}

static void
end_scan(struct indexer *indexer, int code)
{
	struct scan *scan = indexer->scan;
	const struct scan_report *report = scan_report(scan);
	const char *prefix = scan_prefix(scan);

	indexer->scan = NULL;
	if (code == 0)
		indexer_expire_bad(indexer, prefix);
	if (report->is_watch_full)
		tell_watch_limit(indexer);
	if (prefix[0] == '\0')
		judge_scan(indexer, report, code == 0);
	else if (code != 0 || report->trouble.code != P2P_OK)
		indexer_rescan_in(indexer, SHARE_RETRY_MS);
	scan_free(scan);
}

static void
run_step(void *arg)
{
	struct indexer *indexer = arg;

	indexer->scan_code = scan_step(indexer->scan);
}

static void
take_step(void *arg)
{
	struct indexer *indexer = arg;

	if (!indexer_came_back(indexer))
		return;
	const struct scan_report *report = scan_report(indexer->scan);
	for (size_t i = 0; i < report->count; i++)
		take_found(indexer, &report->found[i]);
	if (report->count > 0)
		indexer_wake_at(indexer, clock_ms());

	if (indexer->scan_code == 1) {
		indexer->is_scan_paused = true;
		indexer_resume_scan(indexer);
		return;
	}
	end_scan(indexer, indexer->scan_code);
	indexer_check_ready(indexer);
	start_scan(indexer);
}

void
indexer_resume_scan(struct indexer *indexer)
{
	size_t queued = indexer->dirty.count - indexer->dirty.counts[DIRTY_WAITING];

	if (!indexer->is_scan_paused || queued > DIRTY_HIGH)
		return;
	indexer->is_scan_paused = false;
	indexer_submit(indexer, run_step, take_step, indexer);
}

static void
start_scan(struct indexer *indexer)
{
	struct want *want = STAILQ_FIRST(&indexer->wants);

	if (indexer->scan != NULL || indexer_is_stopping(indexer))
		return;
	if (!indexer->is_full_wanted && want == NULL)
		return;
	struct scan_place place = {
		.root_fd = store_root_fd(indexer->store),
		.directory = indexer->directory,
		.catalog = indexer->catalog,
		.watch = indexer->watch,
		.is_stopping = &indexer->examiner.is_stopping,
	};
	if (indexer->is_full_wanted) {
		indexer->scan = scan_new(&place, "");
		indexer->is_full_wanted = false;
		indexer->is_failing = false;
		drop_wants(indexer);
	} else {
		indexer->scan = scan_new(&place, want->prefix);
		STAILQ_REMOVE_HEAD(&indexer->wants, link);
		indexer->want_count--;
		free(want);
	}
	indexer->bad_generation++;
	indexer_submit(indexer, run_step, take_step, indexer);
}

/* --- events --- */

static void
take_file_event(struct indexer *indexer, const char *name, uint32_t mask)
{
	bool is_closed = mask & (IN_CLOSE_WRITE | IN_MOVED_TO);
	bool is_over = is_closed || (mask & (IN_DELETE | IN_MOVED_FROM));
	uint64_t due = clock_ms() + (is_over ? SOON_MS : indexer->examiner.settle_ms);
	struct dirty *dirty = dirty_find(&indexer->dirty, name);

	if (dirty == NULL && indexer->dirty.count >= DIRTY_MAX) {
		indexer_rescan_in(indexer, OVERFLOW_MS);
		return;
	}
	dirty = dirty_note(&indexer->dirty, name, due);
	/* Whoever makes a file is about to write it (a hard link is none the worse: its file is
	 * old). */
	if (mask & (IN_MODIFY | IN_CREATE))
		dirty->is_writing = true;
	else if (is_over)
		dirty->is_writing = false;
	dirty->is_closed = is_closed || (dirty->is_closed && !dirty->is_writing);
	if (dirty->state == DIRTY_WAITING)
		indexer_first_done(indexer, dirty);
	indexer_wake_at(indexer, due);
}

static void
take_directory_event(struct indexer *indexer, const char *prefix, uint32_t mask)
{
	if (mask & (IN_MOVED_FROM | IN_MOVED_TO))
		dirty_void(&indexer->dirty, prefix, clock_ms() + SOON_MS);
	if (mask & (IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO))
		want_scan(indexer, prefix);
	/* A change of rights may have made it readable.  That it is not any more is left to the
	 * periodic scan: most of these events are only times that were set. */
	else if ((mask & IN_ATTRIB) && indexer_is_bad(indexer, prefix))
		want_scan(indexer, prefix);
}

static void
take_event(void *arg, const char *prefix, const char *entry, uint32_t mask)
{
	struct indexer *indexer = arg;

	if (prefix == NULL) {
		indexer_trouble(indexer, TROUBLE_OVERFLOW,
				"events of the share were lost (see fs.inotify.max_queued_events); "
				"it is scanned again");
		dirty_void(&indexer->dirty, "", clock_ms() + OVERFLOW_MS);
		indexer_rescan_in(indexer, OVERFLOW_MS);
		return;
	}
	if (entry[0] == '\0') {
		/* The share itself was removed, or unmounted. */
		if (prefix[0] == '\0' && (mask & (IN_IGNORED | IN_UNMOUNT)))
			indexer_rescan_in(indexer, SOON_MS);
		return;
	}
	if (strncmp(entry, NAME_TEMP_PREFIX, strlen(NAME_TEMP_PREFIX)) == 0)
		return;
	char *name = mem_format("%s%s%s", prefix, entry, mask & IN_ISDIR ? "/" : "");
	if (mask & IN_ISDIR)
		take_directory_event(indexer, name, mask);
	else
		take_file_event(indexer, name, mask);
	free(name);
}

static void
read_events(void *arg, unsigned events)
{
	struct indexer *indexer = arg;

	(void)events;
	watch_read(indexer->watch, take_event, indexer);
}

void
indexer_follow(struct indexer *indexer)
{
	struct error err = { 0 };

	indexer->rescan_timer = loop_timer_new(indexer->loop, rescan_is_due, indexer);
	indexer->watch = watch_new(&err);
	if (indexer->watch == NULL) {
		indexer_trouble(indexer, TROUBLE_WATCH, err.text);
		return;
	}
	indexer->watcher =
	    loop_watch_new(indexer->loop, watch_fd(indexer->watch), read_events, indexer);
	loop_watch_set(indexer->watcher, LOOP_READ);
}

void
indexer_unfollow(struct indexer *indexer)
{
	if (indexer->watcher != NULL)
		loop_watch_free(indexer->watcher);
	if (indexer->rescan_timer != NULL)
		loop_timer_free(indexer->rescan_timer);
	indexer->watcher = NULL;
	indexer->rescan_timer = NULL;
	drop_wants(indexer);
}
