/* SPDX-License-Identifier: MIT
 *
 * swarm.h - which piece from whom next.  Pure: no I/O, no clock (the time is told), seeded.  One owner, any thread.
 *
 * The caller tells what is here, who holds what, what came of each ask; swarm answers what to ask of whom.  All sources are used at
 * once, each with as many asks, and as large ones, as its rate deserves.  A source that sent wrong bytes is not asked again for
 * SWARM_LIAR_MS.
 *
 * Times are microseconds of a clock that never goes back.
 */
#ifndef P2PD_SWARM_H
#define P2PD_SWARM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "change.h"

#define SWARM_SOURCES_MAX	64		/* holders considered for one content */
#define SWARM_TOLD_MAX		16		/* peers that others tell of need not be taken while so many can be asked */
#define SWARM_BACKOFF_MIN_MS	1000		/* after a failure; doubled with each further one */
#define SWARM_BACKOFF_MAX_MS	60000
#define SWARM_LIAR_MS		(10 * 60000)	/* after bytes that failed verification */
#define SWARM_ASKS_MAX		8		/* under way at one source, unless swarm_limit() says otherwise */
#define SWARM_ASK_US		50000		/* one ask is to take about so long, */
#define SWARM_ASK_MAX		(4u << 20)	/* but is no larger than this, in bytes, or one piece */
#define SWARM_STALL_US		3000000		/* an ask that brought bytes, and then none for so long, is asked elsewhere if it can be */
#define SWARM_SILENT_US		1000000		/* the same of a source that has not sent a byte since it was asked; doubled for one to which that
						 * happened before, on either side of the change */

struct swarm;

/* A run of pieces. */
struct swarm_run {
	uint64_t first, count;
};

/* What was asked of whom.  Lives from swarm_next() to swarm_ended(); constant for the caller. */
struct swarm_ask {
	char peer[PEER_ID_SIZE];
	struct swarm_run pieces;
	uint64_t bytes;			/* of all of them */
	bool is_given_up;		/* by swarm_give_up(), */
	bool has_stalled;		/* because nothing came of it */
	/* The swarm's own. */
	struct swarm_ask *next;
	struct swarm_source *source;
	uint64_t came_bytes, asked_us, moved_us;
};

/* How an ask ended. */
enum swarm_end {
	SWARM_DONE,		/* nothing is held against the source: all came, or we broke it off */
	SWARM_LACKED,		/* it does not have these pieces (any more): if it held a part, nothing is believed of that until it is told again, and the
				 * second time in a row it failed; if all, it failed */
	SWARM_FAILED,		/* it could not be reached, broke, stalled: asked again after a while */
	SWARM_LIED,		/* it sent bytes that are not those of the content */
};

/* `size_bytes` is the content's. */
struct swarm	*swarm_new(uint64_t size_bytes, uint32_t piece_bytes, uint64_t seed);
/* So many asks may be under way at one source, at most (1 or more); at first SWARM_ASKS_MAX. */
void		 swarm_limit(struct swarm *swarm, unsigned asks_max);
/* So many are kept under way at each source whose rate is known, though fewer keep it busy: where asks of others wait in the same line, who has
 * more of them there gets more of it.  At first 1. */
void		 swarm_press(struct swarm *swarm, unsigned asks_least);
/* While bytes may wait for their turn on our side, a source that sends none is not left sooner than another. */
void		 swarm_patient(struct swarm *swarm, bool is_patient);
/* Asks under way are freed with it. */
void		 swarm_free(struct swarm *swarm);
/* The next number of those that follow from the seed. */
uint64_t	 swarm_random(struct swarm *swarm);

/* --- pieces --- */

/* This piece is here (taken up at the start, or otherwise). */
void		 swarm_have(struct swarm *swarm, uint64_t piece);
bool		 swarm_is_complete(const struct swarm *swarm);
/* True if a piece of the window is missing and not under way. */
bool		 swarm_has_missing(const struct swarm *swarm);
/* This piece, which is neither here nor under way, is not to be asked for while somebody looks at what came of it; and may be again. */
void		 swarm_hold(struct swarm *swarm, uint64_t piece);
void		 swarm_release(struct swarm *swarm, uint64_t piece);
/* From now on only pieces of [from, to) are asked for, in ascending order (streaming). */
void		 swarm_window(struct swarm *swarm, uint64_t from, uint64_t to);

/* --- sources --- */

/* A peer that may hold pieces, and how far away it is (microseconds, 0: unknown).  Nothing is believed of what it holds until that is
 * told.  A known one is updated.  False: there are SWARM_SOURCES_MAX others. */
bool		 swarm_source(struct swarm *swarm, const char *peer, uint32_t round_trip_us);
/* It holds all; it holds what these bits say (most significant first, ⌈pieces / 8⌉ bytes), and no others; it holds this piece too.
 * Nothing for a peer that is not known. */
void		 swarm_holds_all(struct swarm *swarm, const char *peer);
void		 swarm_holds(struct swarm *swarm, const char *peer, const unsigned char *bits);
void		 swarm_holds_too(struct swarm *swarm, const char *peer, uint64_t piece);
/* It holds nothing, as far as is known. */
void		 swarm_lacks(struct swarm *swarm, const char *peer);
/* Somebody else is being sent this piece by a source of ours: soon it will not be rare. */
void		 swarm_coming(struct swarm *swarm, uint64_t piece);
/* The best source for a question that is no piece: near, with few failures, not backing off; equals are taken in random order.
 * False: none; *ret_retry_us is when one may be tried again, UINT64_MAX: never. */
bool		 swarm_choose(struct swarm *swarm, uint64_t now_us, char ret_peer[PEER_ID_SIZE], uint64_t *ret_retry_us);
/* The same for a question about a piece, of those who have it and are not in the set `avoid` (bit i: source i).  UINT_MAX: none. */
unsigned	 swarm_choose_for(const struct swarm *swarm, uint64_t piece, uint64_t avoid, uint64_t now_us);
/* Something else than an ask failed: SWARM_FAILED or SWARM_LIED. */
void		 swarm_source_failed(struct swarm *swarm, const char *peer, uint64_t now_us, enum swarm_end how);
/* True if it lied, and is left alone for that. */
bool		 swarm_is_barred(const struct swarm *swarm, const char *peer, uint64_t now_us);
/* True if it may be asked now: it is known and not backing off. */
bool		 swarm_is_open(const struct swarm *swarm, const char *peer, uint64_t now_us);
/* Whatever was held against it is forgotten, unless it lied (a peer came back). */
void		 swarm_forgive(struct swarm *swarm, const char *peer);

/* Why a source is not asked now. */
enum swarm_rest {
	SWARM_RESTS_NOT,
	SWARM_RESTS_SLOW,	/* others were to be done with it sooner */
	SWARM_RESTS_STALLED,	/* nothing came for too long (swarm_leave.c) */
	SWARM_RESTS_LACKED,	/* it was said to hold all, and does not */
	SWARM_RESTS_FAILED,
	SWARM_RESTS_LIED,
};

/* What is known of a source, for people. */
struct swarm_view {
	char peer[PEER_ID_SIZE];
	bool is_whole;			/* it holds all */
	uint64_t pieces_held;
	uint64_t bytes, pieces;		/* verified, that came from it */
	uint64_t rate_bps;		/* bytes per second, as last measured; 0: unknown */
	unsigned asks;			/* under way */
	enum swarm_rest rest;
	uint64_t rest_us;		/* for so long still */
};
size_t		 swarm_source_count(const struct swarm *swarm);
const char	*swarm_source_name(const struct swarm *swarm, size_t index);	/* its peer id; borrowed */
void		 swarm_view(const struct swarm *swarm, size_t index, uint64_t now_us, struct swarm_view *ret);

/* --- asking --- */

/* The next thing to ask for, under way until swarm_ended(); NULL: nothing now. */
const struct swarm_ask *swarm_next(struct swarm *swarm, uint64_t now_us);
/* The number of its source, by which swarm_source_name() and swarm_view() know it too, for as long as the swarm lives. */
unsigned	 swarm_ask_source(const struct swarm *swarm, const struct swarm_ask *ask);
/* Less is asked for: its first `pieces` alone, and of them so many bytes, for the others are here.  The rest is missing again. */
void		 swarm_trim(struct swarm *swarm, const struct swarm_ask *ask, uint64_t pieces, uint64_t bytes);
/* So many bytes of it have come so far. */
void		 swarm_came(struct swarm *swarm, const struct swarm_ask *ask, uint64_t bytes, uint64_t now_us);
/* An ask that is better asked of somebody else: it stalls, or holds up the end.  The caller breaks it off and ends it with
 * SWARM_DONE.  Each is answered once; NULL: none.  To be called when swarm_next() has nothing, and now and then. */
const struct swarm_ask *swarm_give_up(struct swarm *swarm, uint64_t now_us);
/* It ended: its first `verified` pieces are here, the others are missing again.  Frees the ask. */
void		 swarm_ended(struct swarm *swarm, const struct swarm_ask *ask, uint64_t verified, enum swarm_end how,
		     uint64_t now_us);
/* When a source that is backing off may be asked again, so that swarm_next() may have something; UINT64_MAX: never. */
uint64_t	 swarm_retry_us(const struct swarm *swarm, uint64_t now_us);

#endif
