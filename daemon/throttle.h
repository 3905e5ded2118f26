/* SPDX-License-Identifier: MIT
 *
 * throttle.h - the bandwidth limits in force, and whoever waits for his turn under them on no thread of his own.
 *
 * Limits are of file bytes: up is what leaves, down what arrives.  Any thread, unless said otherwise.
 */
#ifndef P2PD_THROTTLE_H
#define P2PD_THROTTLE_H

#include "config.h"
#include "loop.h"
#include "rate.h"

struct throttle;

enum throttle_limit {
#define LIMIT(symbol, name) THROTTLE_##symbol,
#include "limit.def"
#undef LIMIT
	THROTTLE_LIMITS
};

/* "upload", "upload-per-peer" ...: as the control protocol calls them. */
const char	*throttle_name(enum throttle_limit limit);
/* False if there is none called so. */
bool		 throttle_find(const char *name, enum throttle_limit *ret);

/* Without limits. */
struct throttle	*throttle_new(struct loop *loop);
/* Nobody waits any more. */
void		 throttle_free(struct throttle *throttle);

/* Mind.  The configuration's limits are in force. */
void		 throttle_configure(struct throttle *throttle, const struct config *config);
/* Mind.  One limit, in bytes per second up to RATE_MAX; 0: none. */
void		 throttle_set(struct throttle *throttle, enum throttle_limit limit, uint64_t bps);
uint64_t	 throttle_get(struct throttle *throttle, enum throttle_limit limit);

/* Borrowed; NULL of NULL. */
struct rate	*throttle_up(struct throttle *throttle);
struct rate	*throttle_down(struct throttle *throttle);

/* Somebody who waits.  Embedded; all 0 at first. */
struct throttle_wait {
	void (*wake)(void *arg);	/* on the mind, with the throttle's lock held: it may not call this module */
	void *arg;
	uint64_t due_us;
	size_t at;			/* in the heap, from 1; 0: does not wait */
};
/* Wakes at turn->due_us, or when the limits were changed since the turn was made (if they were already: soon).  Nothing is held
 * of the turn.  One that waits already waits for this instead. */
void		 throttle_wait(struct throttle *throttle, struct throttle_wait *wait, const struct rate *rate,
		     const struct rate_turn *turn);
/* No wake comes after this. */
void		 throttle_forget(struct throttle *throttle, struct throttle_wait *wait);

#endif
