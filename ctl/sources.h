/* SPDX-License-Identifier: MIT
 *
 * sources.h - whom the bytes of fetches come from: what `fetch -v` and `fetches -v` show.  One thread.
 */
#ifndef P2PCTL_SOURCES_H
#define P2PCTL_SOURCES_H

#include <stdio.h>

#include "ctl.h"
#include "render.h"

struct source;

struct sources {
	struct source *all;
	size_t count;
};

/* The holders that a reply to `fetches N` tells take the place of those that were known of this fetch. */
void	sources_take(struct sources *sources, uint64_t fetch, const struct reply *reply);
/* The fetch ended: of its holders only what they gave is kept, in one sum over all that ended. */
void	sources_end_fetch(struct sources *sources, uint64_t fetch);
/* One row a peer, over all fetches: columns on a terminal (at most max_rows, the last one says how many are left out), else tabs. */
void	sources_print(const struct sources *sources, FILE *out, bool is_terminal, size_t max_rows);
/* One row a fetch and peer, with the fetch's number first. */
void	sources_print_each(const struct sources *sources, FILE *out, bool is_terminal);
void	sources_fini(struct sources *sources);

#endif
