/* SPDX-License-Identifier: MIT
 *
 * scan.h - walks a tree of the share and says what differs from the catalog.
 *
 * A scan belongs to one thread at a time: made and freed anywhere, stepped by a worker.
 */
#ifndef P2PD_SCAN_H
#define P2PD_SCAN_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "catalog.h"
#include "error.h"
#include "watch.h"

#define SCAN_STEP_FOUND 4096	/* findings of one step at most */
#define SCAN_STEP_ENTRIES 50000 /* directory entries of one step: others want the worker */

/* Where the scan looks; borrowed, and outlives it. */
struct scan_place {
	int root_fd;
	const char *directory;		/* the path that the root was opened by */
	struct catalog *catalog;
	struct watch *watch;		/* NULL: no directory is followed */
	const atomic_bool *is_stopping;
};

struct scan_found {
	char *name;
	char *why;		/* it cannot be shared; NULL: look at it, disk and catalog differ */
	uint64_t size_bytes;	/* on disk */
};

/* What a scan tells; valid until the next step. */
struct scan_report {
	struct scan_found *found;
	size_t count;
	uint64_t unlisted;	/* names not shareable, beyond INDEXER_TROUBLE_MAX of the scan */
	bool is_watch_full;	/* so far: the system's limit of watches was reached */
	struct error trouble;	/* so far: why not all could be read; P2P_OK if all could */
};

struct scan;

/* At once, before the first scan: is the share there, and not the bare mount point of what was not mounted?  Reads no
 * directory but the share's own.  P2P_OK, or a code and why it seems not so. */
int		 scan_check_place(const struct scan_place *place, struct error *err);

/* `prefix`: "" for everything, else "a/b/". */
struct scan	*scan_new(const struct scan_place *place, const char *prefix);
void		 scan_free(struct scan *scan);
/* Goes on for a while.  1: there is more; 0: done; or a negative code, the trouble in the report. */
int		 scan_step(struct scan *scan);
const struct scan_report *scan_report(const struct scan *scan);
const char	*scan_prefix(const struct scan *scan);

#endif
