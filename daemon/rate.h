/* SPDX-License-Identifier: MIT
 *
 * rate.h - so many bytes per second, in all and to each peer.  Time is told; any thread.
 *
 * A stream asks before it passes bytes on.  What it gets is reserved at once, in the order of asking, and comes with the moment
 * from which it may pass: so each of many streams has its turn, and none needs to know the others.  Peers share a limit evenly, however many
 * streams each has, and the streams of a peer share its part.
 */
#ifndef P2PD_RATE_H
#define P2PD_RATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RATE_MAX		(1ull << 40)	/* bytes per second of a limit at most */
#define RATE_BURST_MS		100		/* of a limit that was not used: so much may pass at once */
#define RATE_STEP_MAX		(256u << 10)	/* bytes reserved at a time, at most, */
#define RATE_STEP_MIN		(1u << 10)	/* and at least, if so many are wanted; */
#define RATE_SHARE_MIN		256		/* by one of several streams of a peer */
#define RATE_PEERS_MAX		4096		/* buckets of peers; beyond that some share one, and are slower */
#define RATE_PEER_SIZE		64		/* bytes of a peer's key: a literal address, or a peer id; longer ones are cut */

struct rate;

/* One stream of bytes.  All 0 at first; the stream's own, one thread at a time. */
struct rate_turn {
	size_t bytes;			/* reserved and not passed yet */
	uint64_t due_us;		/* ... and may pass from then on */
	unsigned change;		/* of the limits under which they were reserved */
	unsigned peer;			/* it is counted as a stream of this bucket, from 1; 0: of none */
};

struct rate	*rate_new(void);
void		 rate_free(struct rate *rate);

/* Sets the limits, in bytes per second, up to RATE_MAX; 0: none.  What is reserved lapses: who waits asks again. */
void		 rate_set(struct rate *rate, uint64_t all_bps, uint64_t each_bps, uint64_t now_us);
/* NULL has no limits, in all that follows. */
bool		 rate_is_limited(const struct rate *rate);
/* Bytes that a stream passes at a time under the tighter limit; SIZE_MAX without one. */
size_t		 rate_step(struct rate *rate);
/* Goes up with each rate_set(). */
unsigned	 rate_change(const struct rate *rate);

/*
 * How many bytes the stream may pass on now: `least` (1 or more) to `most`.  0: none before turn->due_us, or before the
 * limits change.  `peer` is NULL where nobody is known.
 */
size_t		 rate_ask(struct rate *rate, const char *peer, struct rate_turn *turn, size_t least,
		     size_t most, uint64_t now_us);
/* So many have passed, no more than rate_ask() answered. */
void		 rate_pass(struct rate_turn *turn, size_t bytes);
/* The stream ends, which everyone does that asked: gives back what it did not pass. */
void		 rate_leave(struct rate *rate, struct rate_turn *turn);

#endif
