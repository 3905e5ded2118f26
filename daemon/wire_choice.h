/* SPDX-License-Identifier: MIT
 *
 * wire_choice.h - by which wire a peer is asked next.  Pure: no I/O, no clock (the time is told).  One owner, any thread.
 *
 * The caller tells of each request when it begins and how it ended; the answer is a wire.  What is believed of a wire is what
 * was measured on it, or nothing.
 */
#ifndef P2PD_WIRE_CHOICE_H
#define P2PD_WIRE_CHOICE_H

#include <stdbool.h>
#include <stdint.h>

#include "node.h"

#define WIRE_BACKOFF_MIN_MS	5000		/* after a failure; doubled with each further one */
#define WIRE_BACKOFF_MAX_MS	(5 * 60000)
#define WIRE_AGAIN_RUNS		32		/* of so many runs one goes by the other wire */
#define WIRE_MARGIN_PERCENT	10		/* by which a wire must be faster than REST to be taken instead */
#define WIRE_SAMPLE_MIN		(1u << 20)	/* bytes that runs must have brought to say something of the wire's rate */

enum wire_use {
	WIRE_SMALL,	/* a message, or a content that is one run: goes by what is known, is not measured */
	WIRE_BULK,	/* one of several runs: is measured */
};

enum wire_outcome {
	WIRE_WORKED,	/* it ended well */
	WIRE_FAILED,	/* the wire could not be reached, or broke, or stalled */
	WIRE_UNJUDGED,	/* it says nothing of the wire: cancelled, or trouble of our own */
};

/* A request under way.  The caller keeps it until its end. */
struct wire_run {
	enum wire wire;		/* by which it is to go */
	bool is_measured;
	uint64_t begun_us;
	double share_us;	/* on the peer's own clock, when it began */
};

struct wire_choice;

struct wire_choice *wire_choice_new(void);
void		 wire_choice_free(struct wire_choice *choice);

/* Chooses a wire for a request that begins now.  `wires` (WIRE_BIT, not none) are those that the peer has and that may be used. */
void		 wire_choice_begin(struct wire_choice *choice, const char *peer, unsigned wires, enum wire_use use,
		     uint64_t now_us, struct wire_run *ret);
/* It ended, and so many bytes had come.  Each that began has to end. */
void		 wire_choice_end(struct wire_choice *choice, const char *peer, const struct wire_run *run,
		     enum wire_outcome outcome, uint64_t bytes, uint64_t now_us);
/* After a failure: true if one of these wires is not backing off, so that the peer is worth asking again, now.  False if nothing is
 * known of the peer. */
bool		 wire_choice_is_open(const struct wire_choice *choice, const char *peer, unsigned wires, uint64_t now_us);
/* The peer is forgotten; what is still under way may end as ever. */
void		 wire_choice_forget(struct wire_choice *choice, const char *peer);

#endif
