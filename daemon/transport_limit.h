/* SPDX-License-Identifier: MIT
 *
 * transport_limit.h - the limits of bandwidth under which a wire reads.
 */
#ifndef P2PD_TRANSPORT_LIMIT_H
#define P2PD_TRANSPORT_LIMIT_H

#include <stdio.h>

#include "node.h"
#include "rate.h"

struct transport_limit {
	struct rate *rate;		/* of file bytes that arrive; borrowed; NULL: no limits */
	/* Whose limit counts: the peer at this address.  False: nobody is known there, and the address itself stands for him.  Mind. */
	bool (*peer_at)(void *arg, const char *address, char ret_id[PEER_ID_SIZE]);
	void *arg;
};

#define TRANSPORT_LIMIT_LOOK_MS	100	/* who waits for his turn looks so often whether the limits changed */

/* The key of the peer's bucket, for rate_ask().  Mind. */
static inline void
transport_limit_key(const struct transport_limit *limit, const char *address, char ret_key[RATE_PEER_SIZE])
{
	char id[PEER_ID_SIZE];

	if (limit->rate != NULL && limit->peer_at(limit->arg, address, id))
		address = id;
	snprintf(ret_key, RATE_PEER_SIZE, "%s", address);
}

/* How long one still waits who was told to; 0: he may ask again, for his turn has come or the limits are others.  Never longer than
 * it takes until that is to be looked at. */
static inline int
transport_limit_wait_ms(const struct rate *rate, const struct rate_turn *turn, uint64_t now_us)
{
	if (now_us >= turn->due_us || !rate_is_limited(rate) || rate_change(rate) != turn->change)
		return 0;
	uint64_t wait_ms = (turn->due_us - now_us + 999) / 1000;
	return wait_ms < TRANSPORT_LIMIT_LOOK_MS ? (int)wait_ms : TRANSPORT_LIMIT_LOOK_MS;
}

#endif
