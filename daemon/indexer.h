/* SPDX-License-Identifier: MIT
 *
 * indexer.h - keeps the catalog equal to the share on disk.  Mind's thread.
 *
 * At start and then periodically it compares the tree with the catalog (one stat a file; bytes are read only of
 * files that are new or changed), and in between it follows inotify.  What is still being written is left alone until it is
 * closed, or rests for the settle time.  Hashing is cut into slices and shared among the workers; the mind only keeps the books.
 */
#ifndef P2PD_INDEXER_H
#define P2PD_INDEXER_H

#include "catalog.h"
#include "config.h"
#include "events.h"
#include "loop.h"
#include "pool.h"
#include "store.h"

#define INDEXER_TROUBLE_MAX	1000	/* names that are not shareable, kept to be listed */

struct indexer;

/* Borrows all of them; they outlive it. */
struct indexer	*indexer_new(struct loop *loop, struct pool *pool, struct store *store,
		     struct catalog *catalog, struct events *events, struct config *config);
/* Before anything is written: looks at the share's own directory, at once.  If it seems to be a bare mount point the store is barred
 * (store_bar) until a scan finds more. */
void		 indexer_bar_bare_share(struct indexer *indexer);
/* Starts the first scan and the watches. */
void		 indexer_start(struct indexer *indexer);
/* Scans everything soon (p2pctl reload, overflow). */
void		 indexer_rescan(struct indexer *indexer);
/* New reloadable values. */
void		 indexer_configure(struct indexer *indexer, struct config *config);
/* Stops: nothing new is begun; jobs on the pool give up at their next slice.  Then free after pool_free(). */
void		 indexer_stop(struct indexer *indexer);
void		 indexer_free(struct indexer *indexer);

/*
 * One of our own writers (upload, put, fetch) is about to bring `name` into the share and will submit its entry itself:
 * the indexer leaves the name alone until indexer_release().  Calls nest.
 */
void		 indexer_hold(struct indexer *indexer, const char *name);
void		 indexer_release(struct indexer *indexer, const char *name);

struct indexer_status {
	bool is_scanning;		/* the first or a later scan runs */
	bool is_ready;			/* the first scan is done: what was there at start is in the catalog */
	uint64_t scans;			/* finished */
	uint64_t queued_files;		/* known to need hashing */
	uint64_t queued_bytes;
	uint64_t hashed_files, hashed_bytes;	/* since the start of the daemon */
	uint64_t unshareable;		/* files whose name or kind forbids it */
	const char *trouble;		/* why the share cannot be followed in full, or NULL; borrowed */
};
void		 indexer_status(const struct indexer *indexer, struct indexer_status *ret);
/* Calls fn(arg, name, why) for files that are there but not shareable, INDEXER_TROUBLE_MAX at most. */
void		 indexer_unshareable(const struct indexer *indexer,
		     void (*fn)(void *arg, const char *name, const char *why), void *arg);

#endif
