/* SPDX-License-Identifier: MIT
 *
 * swarm.h - which piece from whom next.  Pure: no I/O, no clock (the time is told), seeded.  One owner, any thread.
 *
 * The caller tells what is here, who holds the content, what was asked and how that ended; swarm answers what to ask of whom.
 * One source is used at a time; it is changed when it fails, and a source that sent wrong bytes is not asked again for
 * SWARM_LIAR_MS.
 */
#ifndef P2PD_SWARM_H
#define P2PD_SWARM_H

#include <stdbool.h>
#include <stdint.h>

#include "change.h"

#define SWARM_SOURCES_MAX	64		/* holders considered for one content */
#define SWARM_BACKOFF_MIN_MS	1000		/* after a failure; doubled with each further one */
#define SWARM_BACKOFF_MAX_MS	60000
#define SWARM_LIAR_MS		(10 * 60000)	/* after bytes that failed verification */

struct swarm;

/* A run of pieces. */
struct swarm_run {
	uint64_t first, count;
};

struct swarm	*swarm_new(uint64_t piece_count, uint32_t piece_bytes, uint64_t seed);
void		 swarm_free(struct swarm *swarm);

/* --- pieces --- */

/* This piece is here (taken up at the start, or otherwise). */
void		 swarm_have(struct swarm *swarm, uint64_t piece);
bool		 swarm_is_complete(const struct swarm *swarm);
/* From now on only pieces of [from, to) are asked for (streaming); at first all are. */
void		 swarm_window(struct swarm *swarm, uint64_t from, uint64_t to);
/* The next run to ask for: missing, not under way, ascending, at most max_bytes but at least one piece.  False: nothing to ask
 * now.  It is under way until swarm_ended(). */
bool		 swarm_next(struct swarm *swarm, uint64_t max_bytes, struct swarm_run *ret);
/* A run ended: its first `verified` pieces are here, the others are missing again. */
void		 swarm_ended(struct swarm *swarm, const struct swarm_run *run, uint64_t verified);

/* --- sources --- */

/* This peer holds the content, and is so far away (0: unknown).  Known ones are updated; more than SWARM_SOURCES_MAX are ignored. */
void		 swarm_source(struct swarm *swarm, const char *peer, uint32_t round_trip_us);
/* The source to use now: the one in use while it works, else the nearest with the fewest failures that is not
 * backing off; equals are taken in random order.  False: none; *ret_retry_ms is when one may be tried again (told time), UINT64_MAX: never. */
bool		 swarm_choose(struct swarm *swarm, uint64_t now_ms, char ret_peer[PEER_ID_SIZE], uint64_t *ret_retry_ms);
/* It failed: could not be reached, stalled, did not have it; or it lied. */
void		 swarm_source_failed(struct swarm *swarm, const char *peer, uint64_t now_ms, bool lied);
/* It lied, and is left alone for that. */
bool		 swarm_source_is_barred(const struct swarm *swarm, const char *peer, uint64_t now_ms);
/* Verified bytes came from it: its failures are forgiven. */
void		 swarm_source_worked(struct swarm *swarm, const char *peer);
/* Whatever was held against sources that only failed is forgotten (a peer came back). */
void		 swarm_source_forgive(struct swarm *swarm, const char *peer);

#endif
