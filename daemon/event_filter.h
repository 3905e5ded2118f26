/* SPDX-License-Identifier: MIT
 *
 * event_filter.h - which events one listener wants.  Immutable once made; any thread.
 */
#ifndef P2PD_EVENT_FILTER_H
#define P2PD_EVENT_FILTER_H

#include "error.h"
#include "events.h"

struct event_filter {
	uint64_t kinds;			/* bits by enum event_kind; 0: all */
	char *match;			/* owned; NULL: all */
};

/*
 * `kinds`: names of kinds divided by commas; the part before a dash stands for all that begin so ("file", "peer", "fetch").
 * `match`: a glob for the whole name that the event tells of, or, without * ? [, that name itself or a directory above it.
 * NULL or "": all.  P2P_BAD_REQUEST; then it is empty.
 */
int	event_filter_init(struct event_filter *filter, const char *kinds, const char *match, struct error *err);
void	event_filter_fini(struct event_filter *filter);	/* a cleared one is empty */
/* EVENTS_LOST always passes: among what is gone there may have been some that would. */
bool	event_filter_passes(const struct event_filter *filter, const struct event *event);

#endif
