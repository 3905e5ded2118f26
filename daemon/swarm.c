/* SPDX-License-Identifier: MIT
 *
 * swarm.c - which piece from whom next: the sources, and what was asked of them.
 *
 * swarm_next() takes the source that would be done soonest of those that may be given more to do,
 * and swarm_pieces.c says which piece it is asked for.  What a source is given follows from its
 * rate, measured over what it sent while it was busy: an ask is about SWARM_ASK_US worth of
 * bytes, and there are so many under way that it never runs dry (twice its round trip, and a
 * little more).  No more than that: pieces that wait in the hands of a source cannot be asked of
 * another, and what is asked later is asked knowing more.  A source that nothing is known of gets
 * one piece.
 *
 * The end: a source that would still be at its piece when all others were done is not given it,
 * and what it is at when nothing is left to ask is given up for somebody faster.  An ask that
 * stalls is given up at any time if somebody else has the piece (swarm_leave.c).
 *
 * All order that looks random comes from the seed: the same seed and the same answers make the
 * same run.
 */
#include "swarm_inner.h"

#include <assert.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"

#define SPARE_US       10000  /* the next ask is made so long before the last one has come */
#define SLOW_US        250000 /* a source that takes longer for one piece gets one at a time */
#define RATE_MEMORY_US 150000 /* what a rate is the mean of, about */
#define RATE_STEP_US   20000  /* between two measurements while bytes come */

struct swarm *
swarm_new(uint64_t size_bytes, uint32_t piece_bytes, uint64_t seed)
{
	struct swarm *swarm = mem_zero(1, sizeof(*swarm));
	swarm->size_bytes = size_bytes;
	swarm->piece_bytes = piece_bytes;
	swarm->count = (size_bytes + piece_bytes - 1) / piece_bytes;
	swarm->asks_max = SWARM_ASKS_MAX;
	swarm->asks_least = 1;
	swarm->random = seed;
	swarm_pieces_init(swarm);
	return swarm;
}

void
swarm_limit(struct swarm *swarm, unsigned asks_max)
{
	assert(asks_max > 0);
	swarm->asks_max = asks_max;
}

void
swarm_press(struct swarm *swarm, unsigned asks_least)
{
	swarm->asks_least = asks_least;
}

void
swarm_patient(struct swarm *swarm, bool is_patient)
{
	swarm->is_patient = is_patient;
}

void
swarm_free(struct swarm *swarm)
{
	if (swarm == NULL)
		return;
	while (swarm->asks != NULL) {
		struct swarm_ask *ask = swarm->asks;
		swarm->asks = ask->next;
		free(ask);
	}
	for (size_t i = 0; i < swarm->source_count; i++)
		free(swarm->sources[i].bits);
	swarm_pieces_fini(swarm);
	free(swarm);
}

/* splitmix64 (Steele, Lea, Flood 2014): good from the first number on, whatever the seed. */
uint64_t
swarm_random(struct swarm *swarm)
{
	uint64_t x = swarm->random += 0x9e3779b97f4a7c15u;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

/* --- sources --- */

static struct swarm_source *
find(const struct swarm *swarm, const char *peer)
{
	for (size_t i = 0; i < swarm->source_count; i++)
		if (strcmp(swarm->sources[i].peer, peer) == 0)
			return (struct swarm_source *)&swarm->sources[i];
	return NULL;
}

bool
swarm_source(struct swarm *swarm, const char *peer, uint32_t round_trip_us)
{
	struct swarm_source *source = find(swarm, peer);
	if (source == NULL) {
		if (swarm->source_count == SWARM_SOURCES_MAX)
			return false;
		source = &swarm->sources[swarm->source_count++];
		*source = (struct swarm_source){ .tie = swarm_random(swarm) };
		memcpy(source->peer, peer, PEER_ID_SIZE);
	}
	source->round_trip_us = round_trip_us;
	return true;
}

void
swarm_holds_all(struct swarm *swarm, const char *peer)
{
	struct swarm_source *source = find(swarm, peer);
	if (source == NULL || source->is_whole)
		return;
	swarm_forget_held(swarm, source);
	source->is_whole = true;
}

void
swarm_holds(struct swarm *swarm, const char *peer, const unsigned char *bits)
{
	struct swarm_source *source = find(swarm, peer);
	if (source == NULL)
		return;
	swarm_forget_held(swarm, source);
	for (uint64_t i = 0; i < swarm->count; i++)
		if (swarm_bit(bits, i))
			swarm_add_held(swarm, source, i);
}

void
swarm_holds_too(struct swarm *swarm, const char *peer, uint64_t piece)
{
	struct swarm_source *source = find(swarm, peer);
	if (source != NULL && piece < swarm->count)
		swarm_add_held(swarm, source, piece);
}

void
swarm_lacks(struct swarm *swarm, const char *peer)
{
	struct swarm_source *source = find(swarm, peer);
	if (source != NULL)
		swarm_forget_held(swarm, source);
}

/* Distances within a factor of two are equal: what is measured is not more exact than that. */
static unsigned
distance(const struct swarm_source *source)
{
	unsigned bits = 0;
	for (uint32_t us = source->round_trip_us / 1000; us != 0; us >>= 1)
		bits++;
	return bits;
}

static bool
is_better(const struct swarm_source *a, const struct swarm_source *b)
{
	if (a->failures != b->failures)
		return a->failures < b->failures;
	if (distance(a) != distance(b))
		return distance(a) < distance(b);
	return a->tie < b->tie;
}

bool
swarm_choose(struct swarm *swarm, uint64_t now_us, char ret_peer[PEER_ID_SIZE],
	     uint64_t *ret_retry_us)
{
	const struct swarm_source *best = NULL;
	for (size_t i = 0; i < swarm->source_count; i++) {
		const struct swarm_source *source = &swarm->sources[i];
		if (source->not_before_us <= now_us && (source->is_whole || source->held != 0) &&
		    (best == NULL || is_better(source, best)))
			best = source;
	}
	if (best != NULL)
		memcpy(ret_peer, best->peer, PEER_ID_SIZE);
	else
		*ret_retry_us = swarm_retry_us(swarm, now_us);
	return best != NULL;
}

unsigned
swarm_choose_for(const struct swarm *swarm, uint64_t piece, uint64_t avoid, uint64_t now_us)
{
	unsigned best = UINT_MAX;
	for (unsigned i = 0; i < swarm->source_count; i++) {
		const struct swarm_source *source = &swarm->sources[i];
		if ((avoid >> i & 1) == 0 && source->not_before_us <= now_us &&
		    swarm_source_has(source, piece) &&
		    (best == UINT_MAX || is_better(source, &swarm->sources[best])))
			best = i;
	}
	return best;
}

uint64_t
swarm_retry_us(const struct swarm *swarm, uint64_t now_us)
{
	uint64_t first_us = UINT64_MAX;
	for (size_t i = 0; i < swarm->source_count; i++) {
		uint64_t us = swarm->sources[i].not_before_us;
		if (us > now_us && us < first_us)
			first_us = us;
	}
	return first_us;
}

static void
hold_against(struct swarm_source *source, uint64_t now_us, enum swarm_rest why)
{
	source->lied |= why == SWARM_RESTS_LIED;
	source->rest = source->lied ? SWARM_RESTS_LIED : why;
	/* Several asks of one source fail together when it dies: that is one failure. */
	if (source->not_before_us > now_us && !source->lied)
		return;
	uint64_t wait_ms = SWARM_BACKOFF_MIN_MS;
	for (uint32_t i = 0; i < source->failures && wait_ms < SWARM_BACKOFF_MAX_MS; i++)
		wait_ms *= 2;
	if (wait_ms > SWARM_BACKOFF_MAX_MS)
		wait_ms = SWARM_BACKOFF_MAX_MS;
	if (source->lied)
		wait_ms = SWARM_LIAR_MS;
	source->failures++;
	source->not_before_us = now_us + wait_ms * 1000;
}

void
swarm_source_failed(struct swarm *swarm, const char *peer, uint64_t now_us, enum swarm_end how)
{
	struct swarm_source *source = find(swarm, peer);
	if (source != NULL)
		hold_against(source, now_us,
			     how == SWARM_LIED ? SWARM_RESTS_LIED : SWARM_RESTS_FAILED);
}

bool
swarm_is_barred(const struct swarm *swarm, const char *peer, uint64_t now_us)
{
	const struct swarm_source *source = find(swarm, peer);
	return source != NULL && source->lied && source->not_before_us > now_us;
}

bool
swarm_is_open(const struct swarm *swarm, const char *peer, uint64_t now_us)
{
	const struct swarm_source *source = find(swarm, peer);
	return source != NULL && source->not_before_us <= now_us;
}

void
swarm_forgive(struct swarm *swarm, const char *peer)
{
	struct swarm_source *source = find(swarm, peer);
	if (source == NULL || source->lied)
		return;
	source->failures = 0;
	source->silences = 0;
	source->not_before_us = 0;
}

size_t
swarm_source_count(const struct swarm *swarm)
{
	return swarm->source_count;
}

const char *
swarm_source_name(const struct swarm *swarm, size_t index)
{
	assert(index < swarm->source_count);
	return swarm->sources[index].peer;
}

void
swarm_view(const struct swarm *swarm, size_t index, uint64_t now_us, struct swarm_view *ret)
{
	assert(index < swarm->source_count);
	const struct swarm_source *source = &swarm->sources[index];
	bool is_resting = source->not_before_us > now_us;
	*ret = (struct swarm_view){
		.is_whole = source->is_whole,
		.pieces_held = source->is_whole ? swarm->count : source->held,
		.bytes = source->bytes,
		.pieces = source->pieces,
		.rate_bps = (uint64_t)source->rate_bps,
		.asks = source->asks,
		.rest = is_resting ? source->rest : SWARM_RESTS_NOT,
		.rest_us = is_resting ? source->not_before_us - now_us : 0,
	};
	memcpy(ret->peer, source->peer, PEER_ID_SIZE);
}

/* --- rates --- */

/* The mean over the last RATE_MEMORY_US of busy time: what is older fades, what is short weighs
 * little. */
static void
measure(struct swarm_source *source, uint64_t now_us)
{
	if (now_us <= source->since_us)
		return;
	source->rate_us += (double)(now_us - source->since_us);
	source->rate_bytes += (double)source->since_bytes;
	source->since_us = now_us;
	source->since_bytes = 0;
	source->rate_bps = source->rate_bytes * 1e6 / source->rate_us;
	if (source->rate_us > RATE_MEMORY_US) {
		source->rate_bytes *= RATE_MEMORY_US / source->rate_us;
		source->rate_us = RATE_MEMORY_US;
	}
}

/* How long this many bytes more would take there, by all that is known.  A source that nothing is
 * known of may be the fastest. */
double
swarm_eta_us(const struct swarm_source *source, uint64_t bytes)
{
	double rate_us = source->rate_bps != 0
			     ? (double)(source->owed_bytes + bytes) * 1e6 / source->rate_bps
			     : 0;
	return rate_us + source->round_trip_us;
}

static uint64_t
ask_bytes(const struct swarm_source *source)
{
	double half_us = source->round_trip_us / 2.0;
	double bytes = source->rate_bps * (half_us > SWARM_ASK_US ? half_us : SWARM_ASK_US) / 1e6;
	return bytes < SWARM_ASK_MAX ? (uint64_t)bytes : SWARM_ASK_MAX;
}

/*
 * True if it deserves one more ask.  Twice of what a round trip brings is under way, so that it
 * never runs dry, and so that its rate can double with each until it is what the way there can
 * carry.  Asks share that way: those that begin together end together, and leave it empty if they
 * are all that there may be.  So no more is owed than half of them could bring; the next then
 * begin one by one, as bytes come.
 */
bool
swarm_has_room(const struct swarm *swarm, const struct swarm_source *source)
{
	if (source->asks == 0)
		return true;
	if (source->asks >= swarm->asks_max || source->rate_bps == 0)
		return false;
	if (source->asks < swarm->asks_least)
		return true;
	if (swarm->piece_bytes * 1e6 / source->rate_bps > SLOW_US)
		return false;
	uint64_t most = ask_bytes(source);
	if (most < swarm->piece_bytes)
		most = swarm->piece_bytes;
	return source->owed_bytes < most * swarm->asks_max / 2 &&
	       (double)source->owed_bytes * 1e6 <
		   source->rate_bps * (2.0 * source->round_trip_us + SPARE_US);
}

/* --- asking --- */

/* True if everything else would be done long before this source had sent the run, and others have
 * it. */
static bool
holds_up(const struct swarm *swarm, const struct swarm_source *source, const struct swarm_run *run,
	 uint64_t now_us)
{
	double others_bps = 0, others_us = 0;
	uint64_t run_bytes = swarm_run_bytes(swarm, run);
	uint64_t rest_bytes = swarm->missing_count * swarm->piece_bytes;
	for (size_t i = 0; i < swarm->source_count; i++) {
		const struct swarm_source *other = &swarm->sources[i];
		if (other == source || other->not_before_us > now_us)
			continue;
		rest_bytes += other->owed_bytes;
		if (!swarm_source_has(other, run->first) || other->rate_bps == 0)
			continue;
		double us = swarm_eta_us(other, run_bytes);
		if (others_bps == 0 || us < others_us)
			others_us = us;
		others_bps += other->rate_bps;
	}
	if (others_bps == 0 || source->rate_bps == 0)
		return false;
	double rest_us = (double)rest_bytes * 1e6 / others_bps;
	if (others_us < rest_us)
		others_us = rest_us;
	return swarm_eta_us(source, run_bytes) > 2 * others_us + SWARM_END_SLACK_US;
}

static const struct swarm_ask *
ask(struct swarm *swarm, struct swarm_source *source, const struct swarm_run *run, uint64_t now_us)
{
	struct swarm_ask *fresh = mem_zero(1, sizeof(*fresh));
	memcpy(fresh->peer, source->peer, PEER_ID_SIZE);
	fresh->pieces = *run;
	fresh->bytes = swarm_run_bytes(swarm, run);
	fresh->source = source;
	fresh->asked_us = fresh->moved_us = now_us;
	fresh->next = swarm->asks;
	swarm->asks = fresh;
	swarm_run_begins(swarm, run);
	/* An idle one cannot send before it has heard. */
	if (source->asks++ == 0) {
		source->since_us = now_us + source->round_trip_us;
		source->since_bytes = 0;
	}
	source->owed_bytes += fresh->bytes;
	return fresh;
}

/* The source that would be done with one more piece soonest, of those that may be given one and
 * were not tried yet. */
static struct swarm_source *
soonest(struct swarm *swarm, const bool *is_tried, uint64_t now_us)
{
	struct swarm_source *best = NULL;
	double best_us = 0;
	for (size_t i = 0; i < swarm->source_count; i++) {
		struct swarm_source *source = &swarm->sources[i];
		if (is_tried[i] || source->not_before_us > now_us ||
		    swarm_wanted(swarm, source) == 0 || !swarm_has_room(swarm, source))
			continue;
		double us = swarm_eta_us(source, swarm->piece_bytes);
		if (best != NULL && (us > best_us || (us == best_us && source->tie > best->tie)))
			continue;
		best = source;
		best_us = us;
	}
	return best;
}

const struct swarm_ask *
swarm_next(struct swarm *swarm, uint64_t now_us)
{
	bool is_tried[SWARM_SOURCES_MAX] = { false };
	struct swarm_source *source;
	struct swarm_run run;
	if (swarm->missing_count == 0)
		return NULL;
	while ((source = soonest(swarm, is_tried, now_us)) != NULL) {
		is_tried[source - swarm->sources] = true;
		if (swarm_pick(swarm, source, ask_bytes(source), &run) &&
		    !holds_up(swarm, source, &run, now_us))
			return ask(swarm, source, &run, now_us);
	}
	return NULL;
}

unsigned
swarm_ask_source(const struct swarm *swarm, const struct swarm_ask *ask)
{
	return (unsigned)(ask->source - swarm->sources);
}

void
swarm_trim(struct swarm *swarm, const struct swarm_ask *given, uint64_t pieces, uint64_t bytes)
{
	struct swarm_ask *ask = (struct swarm_ask *)given;
	assert(pieces > 0 && pieces <= ask->pieces.count);
	assert(bytes > 0 && bytes <= ask->bytes && ask->came_bytes == 0);
	swarm_run_shrinks(swarm, &ask->pieces, pieces);
	ask->source->owed_bytes -= ask->bytes - bytes;
	ask->pieces.count = pieces;
	ask->bytes = bytes;
}

void
swarm_came(struct swarm *swarm, const struct swarm_ask *given, uint64_t bytes, uint64_t now_us)
{
	(void)swarm;
	struct swarm_ask *ask = (struct swarm_ask *)given;
	if (bytes > ask->bytes)
		bytes = ask->bytes;
	if (bytes <= ask->came_bytes)
		return;
	uint64_t more = bytes - ask->came_bytes;
	struct swarm_source *source = ask->source;
	/* Nearer than we were told. */
	if (now_us < source->since_us) {
		source->round_trip_us = (uint32_t)(now_us - ask->asked_us) / 2;
		source->since_us = ask->asked_us + source->round_trip_us;
	}
	ask->came_bytes = bytes;
	ask->moved_us = source->moved_us = now_us;
	source->silences = 0;
	source->owed_bytes -= more;
	source->since_bytes += more;
	if (now_us >= source->since_us + RATE_STEP_US)
		measure(source, now_us);
}

/* --- the end of an ask --- */

/* It does not have what it was believed to hold. */
static void
lacks(struct swarm *swarm, struct swarm_source *source, uint64_t now_us)
{
	/* Of one that was said to have all it is a failure: others may say so again. */
	if (source->is_whole) {
		hold_against(source, now_us, SWARM_RESTS_LACKED);
		return;
	}
	if (source->bits == NULL)
		return; /* asks that end together are one */
	/* Once may be a mistake.  One that tells so again, and again lacks it, would turn us in a circle. */
	if (source->has_lacked)
		hold_against(source, now_us, SWARM_RESTS_LACKED);
	source->has_lacked = true;
	swarm_forget_held(swarm, source);
}

static void
judge(struct swarm *swarm, struct swarm_source *source, enum swarm_end how, uint64_t now_us)
{
	switch (how) {
	case SWARM_DONE:
		break;
	case SWARM_LACKED:
		lacks(swarm, source, now_us);
		break;
	case SWARM_FAILED:
		hold_against(source, now_us, SWARM_RESTS_FAILED);
		break;
	case SWARM_LIED:
		hold_against(source, now_us, SWARM_RESTS_LIED);
		break;
	}
}

void
swarm_ended(struct swarm *swarm, const struct swarm_ask *given, uint64_t verified,
	    enum swarm_end how, uint64_t now_us)
{
	struct swarm_ask **link = &swarm->asks;
	while (*link != given) {
		assert(*link != NULL);
		link = &(*link)->next;
	}
	struct swarm_ask *ask = *link;
	struct swarm_source *source = ask->source;
	assert(verified <= ask->pieces.count);
	if (how == SWARM_DONE && verified == ask->pieces.count)
		swarm_came(swarm, ask, ask->bytes, now_us);
	source->owed_bytes -= ask->bytes - ask->came_bytes;
	source->asks--;
	if (source->since_bytes != 0)
		measure(source, now_us);
	if (verified != 0) {
		struct swarm_run here = { ask->pieces.first, verified };
		source->bytes += swarm_run_bytes(swarm, &here);
		source->pieces += verified;
		source->failures = 0;
		source->has_lacked = false;
	}
	swarm_run_ends(swarm, &ask->pieces, verified);
	judge(swarm, source, how, now_us);
	*link = ask->next;
	free(ask);
}
