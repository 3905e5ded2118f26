/* SPDX-License-Identifier: MIT
 *
 * indexer_inner.h - the books of the indexer, for its own files only.  Mind's thread.
 *
 *	indexer.c		life, status, troubles, the list of what cannot be shared
 *	indexer_follow.c	scans and inotify: which names to look at
 *	indexer_work.c		looks at them, on workers, and submits to the catalog what was found
 */
#ifndef P2PD_INDEXER_INNER_H
#define P2PD_INDEXER_INNER_H

#include "dirty.h"
#include "examine.h"
#include "indexer.h"
#include "scan.h"
#include "watch.h"

#define WANT_MAX	1024	/* directories that wait for a scan; more: scan everything */
#define DIRTY_MAX	250000	/* names in the books; beyond it events are dropped: rescan */
#define DIRTY_HIGH	50000	/* names that are ready; beyond it the scan pauses */

/* Why the share cannot be followed in full, gravest first. */
enum trouble {
	TROUBLE_SHARE,		/* it is not there, or not all of it can be read */
	TROUBLE_CATALOG,	/* what was found cannot be written down */
	TROUBLE_WATCH,		/* not every directory is watched */
	TROUBLE_OVERFLOW,	/* events were lost; over with the next scan */
	TROUBLES
};

/* A scan of one directory that is to come. */
struct want {
	STAILQ_ENTRY(want) link;
	char prefix[];
};

struct indexer {
	struct loop *loop;
	struct pool *pool;
	struct store *store;
	struct catalog *catalog;
	struct events *events;
	char *directory;
	uint32_t rescan_s;
	struct examiner examiner;
	unsigned outstanding;	/* jobs and batches whose completion is to come */
	bool is_started, is_freed;

	struct dirty_set dirty;
	struct loop_timer *wake_timer;	/* some name is due */
	uint64_t wake_at;		/* clock_ms, or DIRTY_NEVER */

	/* indexer_follow.c */
	struct watch *watch;		/* NULL: the kernel gave none */
	struct loop_watch *watcher;
	struct scan *scan;		/* under way, or paused */
	int scan_code;			/* of the last step; the worker's while a step runs */
	bool is_scan_paused;
	bool is_full_wanted;
	STAILQ_HEAD(, want) wants;
	size_t want_count;
	struct loop_timer *rescan_timer;
	uint64_t rescan_at;		/* clock_ms, or DIRTY_NEVER */
	uint64_t scans;

	/* indexer_work.c */
	unsigned jobs, small_jobs;	/* on workers; small_jobs is part of jobs */
	struct slicing *slicing;	/* the large file that is hashed now */
	struct dirty *sliced;		/* its name; set from the opening on */
	uint32_t slice_next, slice_done;
	struct catalog_batch *batch;	/* being filled, or NULL */
	struct loop_timer *flush_timer;
	uint64_t submitted, committed;	/* batches */
	unsigned failures;		/* of batches, in a row */
	bool is_failing;		/* no work until the next scan */
	uint64_t hashed_files, hashed_bytes;

	/* readiness */
	bool is_ready, is_first_scanned;
	size_t first_left;		/* names of the first scan that are not done */
	uint64_t ready_at;		/* submitted, when the last of them was done; 0: not yet */

	/* indexer.c */
	void *bad;			/* tsearch by name of struct bad */
	size_t bad_count;
	uint64_t bad_unlisted;
	uint64_t bad_generation;	/* one a scan */
	char *troubles[TROUBLES];
};

/* --- indexer.c --- */

static inline bool
indexer_is_stopping(struct indexer *indexer)
{
	return atomic_load(&indexer->examiner.is_stopping);
}

/* Runs a job that counts as outstanding; its done begins with indexer_came_back(). */
void	 indexer_submit(struct indexer *indexer, pool_fn work, loop_fn done, void *arg);
/* One completion came.  False: the indexer is gone, or going: free what you have, touch nothing else. */
bool	 indexer_came_back(struct indexer *indexer);

void	 indexer_trouble(struct indexer *indexer, enum trouble which, const char *text);
void	 indexer_no_trouble(struct indexer *indexer, enum trouble which);

void	 indexer_bad(struct indexer *indexer, const char *name, const char *why);
void	 indexer_not_bad(struct indexer *indexer, const char *name);
bool	 indexer_is_bad(const struct indexer *indexer, const char *name);
/* Forgets those under `prefix` that were not confirmed since the scan of it began. */
void	 indexer_expire_bad(struct indexer *indexer, const char *prefix);

/* --- indexer_follow.c --- */

void	 indexer_follow(struct indexer *indexer);	/* starts */
void	 indexer_unfollow(struct indexer *indexer);	/* frees */
/* A full scan in `after_ms` at the latest. */
void	 indexer_rescan_in(struct indexer *indexer, uint64_t after_ms);
/* The queue got shorter: a paused scan may go on. */
void	 indexer_resume_scan(struct indexer *indexer);

/* --- indexer_work.c --- */

/* Wakes up at `at_ms` (clock_ms) at the latest, to see which names are due. */
void	 indexer_wake_at(struct indexer *indexer, uint64_t at_ms);
void	 indexer_wake(void *indexer);
void	 indexer_flush(void *indexer);
/* A name of the first scan is done, or has to wait for reasons of its own. */
void	 indexer_first_done(struct indexer *indexer, struct dirty *dirty);
void	 indexer_check_ready(struct indexer *indexer);

#endif
