/* SPDX-License-Identifier: MIT
 *
 * swarm.c - which piece from whom next.
 *
 * Two books that know nothing of each other: of pieces (missing, under way, here) and of sources (in use, good,
 * backing off).  A download asks the second whom to ask and the first what to ask for, and tells both how it ended.
 *
 * Runs are ascending: the disk likes it, and a stream needs it.  One byte a piece is kept; a content has at most
 * MERKLE_LAYER_MAX pieces.  `low` is below every missing piece, so that a search need not begin at the start.
 *
 * The random order of equal sources comes from the seed alone: a run of the same seed and the same answers is the same run.
 */
#include "swarm.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"

enum { PIECE_MISSING, PIECE_UNDER_WAY, PIECE_HERE };

struct source {
	char peer[PEER_ID_SIZE];
	uint32_t round_trip_us;
	uint32_t failures;	/* since it last worked */
	uint64_t not_before_ms;	/* backing off until then */
	uint64_t tie;		/* random, decides between equals */
	bool lied;
};

struct swarm {
	uint64_t piece_count;
	uint32_t piece_bytes;
	uint64_t here_count;
	uint64_t low;			/* every piece below is here or under way */
	uint64_t from, to;		/* the window */
	unsigned char *state;		/* PIECE_*, one a piece */
	uint64_t random;
	size_t source_count;
	struct source sources[SWARM_SOURCES_MAX];
	struct source *current;		/* in use, or NULL */
};

struct swarm *
swarm_new(uint64_t piece_count, uint32_t piece_bytes, uint64_t seed)
{
	struct swarm *swarm = mem_zero(1, sizeof(*swarm));
	swarm->piece_count = piece_count;
	swarm->piece_bytes = piece_bytes;
	swarm->to = piece_count;
	swarm->state = mem_zero(piece_count ? piece_count : 1, 1);
	swarm->random = seed;
	return swarm;
}

void
swarm_free(struct swarm *swarm)
{
	if (swarm == NULL)
		return;
	free(swarm->state);
	free(swarm);
}

/* --- pieces --- */

void
swarm_have(struct swarm *swarm, uint64_t piece)
{
	assert(piece < swarm->piece_count);
	if (swarm->state[piece] == PIECE_HERE)
		return;
	swarm->state[piece] = PIECE_HERE;
	swarm->here_count++;
}

bool
swarm_is_complete(const struct swarm *swarm)
{
	return swarm->here_count == swarm->piece_count;
}

void
swarm_window(struct swarm *swarm, uint64_t from, uint64_t to)
{
	swarm->from = from;
	swarm->to = to < swarm->piece_count ? to : swarm->piece_count;
}

bool
swarm_next(struct swarm *swarm, uint64_t max_bytes, struct swarm_run *ret)
{
	while (swarm->low < swarm->piece_count && swarm->state[swarm->low] != PIECE_MISSING)
		swarm->low++;
	uint64_t first = swarm->low > swarm->from ? swarm->low : swarm->from;
	while (first < swarm->to && swarm->state[first] != PIECE_MISSING)
		first++;
	if (first >= swarm->to)
		return false;

	uint64_t most = max_bytes / swarm->piece_bytes;
	uint64_t count = 0;
	do {
		swarm->state[first + count++] = PIECE_UNDER_WAY;
	} while (count < most && first + count < swarm->to &&
	    swarm->state[first + count] == PIECE_MISSING);
	*ret = (struct swarm_run){ first, count };
	return true;
}

void
swarm_ended(struct swarm *swarm, const struct swarm_run *run, uint64_t verified)
{
	assert(run->first + run->count <= swarm->piece_count && verified <= run->count);
	for (uint64_t i = 0; i < run->count; i++) {
		uint64_t piece = run->first + i;
		if (swarm->state[piece] == PIECE_HERE)
			continue;
		if (i < verified)
			swarm_have(swarm, piece);
		else
			swarm->state[piece] = PIECE_MISSING;
	}
	if (verified < run->count && run->first + verified < swarm->low)
		swarm->low = run->first + verified;
}

/* --- sources --- */

/* splitmix64 (Steele, Lea, Flood 2014): good from the first number on, whatever the seed. */
static uint64_t
next_random(struct swarm *swarm)
{
	uint64_t x = swarm->random += 0x9e3779b97f4a7c15u;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

static struct source *
find_source(const struct swarm *swarm, const char *peer)
{
	for (size_t i = 0; i < swarm->source_count; i++)
		if (strcmp(swarm->sources[i].peer, peer) == 0)
			return (struct source *)&swarm->sources[i];
	return NULL;
}

void
swarm_source(struct swarm *swarm, const char *peer, uint32_t round_trip_us)
{
	struct source *source = find_source(swarm, peer);
	if (source == NULL) {
		if (swarm->source_count == SWARM_SOURCES_MAX)
			return;
		source = &swarm->sources[swarm->source_count++];
		*source = (struct source){ .tie = next_random(swarm) };
		memcpy(source->peer, peer, PEER_ID_SIZE);
	}
	source->round_trip_us = round_trip_us;
}

/* Distances within a factor of two are equal: what is measured is not more exact than that. */
static unsigned
distance(const struct source *source)
{
	unsigned bits = 0;
	for (uint32_t us = source->round_trip_us / 1000; us != 0; us >>= 1)
		bits++;
	return bits;
}

static bool
is_better(const struct source *a, const struct source *b)
{
	if (a->failures != b->failures)
		return a->failures < b->failures;
	if (distance(a) != distance(b))
		return distance(a) < distance(b);
	return a->tie < b->tie;
}

/* The best source that may be asked now, or NULL and when the next one may be. */
static struct source *
best_source(struct swarm *swarm, uint64_t now_ms, uint64_t *ret_retry_ms)
{
	struct source *best = NULL;
	*ret_retry_ms = UINT64_MAX;
	for (size_t i = 0; i < swarm->source_count; i++) {
		struct source *source = &swarm->sources[i];
		if (source->not_before_ms > now_ms) {
			if (source->not_before_ms < *ret_retry_ms)
				*ret_retry_ms = source->not_before_ms;
		} else if (best == NULL || is_better(source, best)) {
			best = source;
		}
	}
	return best;
}

bool
swarm_choose(struct swarm *swarm, uint64_t now_ms, char ret_peer[PEER_ID_SIZE],
    uint64_t *ret_retry_ms)
{
	if (swarm->current == NULL)
		swarm->current = best_source(swarm, now_ms, ret_retry_ms);
	if (swarm->current == NULL)
		return false;
	memcpy(ret_peer, swarm->current->peer, PEER_ID_SIZE);
	return true;
}

void
swarm_source_failed(struct swarm *swarm, const char *peer, uint64_t now_ms, bool lied)
{
	struct source *source = find_source(swarm, peer);
	if (source == NULL)
		return;
	uint64_t wait_ms = SWARM_BACKOFF_MIN_MS;
	for (uint32_t i = 0; i < source->failures && wait_ms < SWARM_BACKOFF_MAX_MS; i++)
		wait_ms *= 2;
	if (wait_ms > SWARM_BACKOFF_MAX_MS)
		wait_ms = SWARM_BACKOFF_MAX_MS;
	if (lied || source->lied) {
		source->lied = true;
		wait_ms = SWARM_LIAR_MS;
	}
	/* Several requests to one source fail together when it dies: that is one failure. */
	if (source->not_before_ms <= now_ms)
		source->failures++;
	if (source->not_before_ms < now_ms + wait_ms)
		source->not_before_ms = now_ms + wait_ms;
	if (swarm->current == source)
		swarm->current = NULL;
}

bool
swarm_source_is_barred(const struct swarm *swarm, const char *peer, uint64_t now_ms)
{
	const struct source *source = find_source(swarm, peer);
	return source != NULL && source->lied && source->not_before_ms > now_ms;
}

void
swarm_source_worked(struct swarm *swarm, const char *peer)
{
	struct source *source = find_source(swarm, peer);
	if (source != NULL)
		source->failures = 0;
}

void
swarm_source_forgive(struct swarm *swarm, const char *peer)
{
	struct source *source = find_source(swarm, peer);
	if (source == NULL || source->lied)
		return;
	source->failures = 0;
	source->not_before_ms = 0;
}
