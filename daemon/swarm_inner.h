/* SPDX-License-Identifier: MIT
 *
 * swarm_inner.h - what swarm.c (sources and asks), swarm_leave.c (asks that are left) and
 * swarm_pieces.c (pieces) share.  For them alone.
 */
#ifndef P2PD_SWARM_INNER_H
#define P2PD_SWARM_INNER_H

#include "swarm.h"

#define SWARM_END_SLACK_US 50000 /* differences in time below that are not worth breaking off for */

struct swarm_source {
	char peer[PEER_ID_SIZE];
	uint32_t round_trip_us;
	uint32_t failures;		/* since it last worked */
	uint64_t not_before_us;		/* backing off until then, */
	enum swarm_rest rest;		/* for this */
	uint64_t tie;			/* random, decides between equals */
	bool lied;
	bool has_lacked;		/* since it last worked: pieces that it had told of */

	bool is_whole;			/* holds all */
	unsigned char *bits;		/* what it holds if not; NULL: nothing */
	uint64_t held;			/* bits that are set */
	uint64_t wanted;		/* of these, missing here; unless is_whole */

	unsigned asks;			/* under way */
	uint64_t owed_bytes;		/* of them, that have not come yet */
	uint64_t moved_us;		/* when a byte came last, of any ask */
	unsigned silences;		/* since then: times that it was given up without one */
	uint64_t bytes, pieces;		/* verified, ever */
	double rate_bps;		/* bytes per second; 0: not yet known */
	double rate_bytes, rate_us;	/* what it was measured over */
	uint64_t since_us, since_bytes;	/* what the next measurement is made of */
};

struct swarm {
	uint64_t size_bytes, count;
	uint32_t piece_bytes;
	unsigned asks_max, asks_least;
	bool is_patient;
	uint64_t random;

	/* Pieces. */
	unsigned char *missing, *here;	/* bits; neither: under way */
	uint16_t *copies;		/* at sources that hold a part: how many have it */
	unsigned char *coming;		/* bits: it is being sent to somebody */
	uint64_t here_count, missing_count;
	uint64_t from, to;		/* the window */
	bool is_ordered;		/* ascending whatever others have */
	uint64_t cursor;		/* where the last run in order ended */
	uint64_t partial_held;		/* the sum of copies[]: others fetch too */
	bool has_coming;

	size_t source_count;
	struct swarm_source sources[SWARM_SOURCES_MAX];
	struct swarm_ask *asks;
};

static inline bool
swarm_bit(const unsigned char *bits, uint64_t piece)
{
	return bits[piece >> 3] & (0x80u >> (piece & 7));
}

static inline void
swarm_set_bit(unsigned char *bits, uint64_t piece)
{
	bits[piece >> 3] |= (unsigned char)(0x80u >> (piece & 7));
}

static inline void
swarm_clear_bit(unsigned char *bits, uint64_t piece)
{
	bits[piece >> 3] &= (unsigned char)~(0x80u >> (piece & 7));
}

static inline bool
swarm_source_has(const struct swarm_source *source, uint64_t piece)
{
	return source->is_whole || (source->bits != NULL && swarm_bit(source->bits, piece));
}

/* How long this many bytes more would take there, by all that is known.  A source that nothing is known of may be the fastest. */
double		 swarm_eta_us(const struct swarm_source *source, uint64_t bytes);
/* True if it deserves one more ask. */
bool		 swarm_has_room(const struct swarm *swarm, const struct swarm_source *source);

/* --- swarm_pieces.c --- */

void		 swarm_pieces_init(struct swarm *swarm);
void		 swarm_pieces_fini(struct swarm *swarm);
/* How many missing pieces this source has. */
uint64_t	 swarm_wanted(const struct swarm *swarm, const struct swarm_source *source);
/* Bytes of a run. */
uint64_t	 swarm_run_bytes(const struct swarm *swarm, const struct swarm_run *run);
/* The best run that this source has and that is missing, of at most max_bytes but one piece at
 * least.  False: none.  Changes nothing but the cursor. */
bool		 swarm_pick(struct swarm *swarm, const struct swarm_source *source, uint64_t max_bytes,
		     struct swarm_run *ret);
/* The pieces of a run change from missing to under way; or its first `verified` are here and the
 * others missing again. */
void		 swarm_run_begins(struct swarm *swarm, const struct swarm_run *run);
void		 swarm_run_ends(struct swarm *swarm, const struct swarm_run *run,
		     uint64_t verified);
/* The pieces of a run from `from` on are missing again. */
void		 swarm_run_shrinks(struct swarm *swarm, const struct swarm_run *run, uint64_t from);
/* What a source holds changes. */
void		 swarm_forget_held(struct swarm *swarm, struct swarm_source *source);
void		 swarm_add_held(struct swarm *swarm, struct swarm_source *source, uint64_t piece);

#endif
