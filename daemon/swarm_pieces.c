/* SPDX-License-Identifier: MIT
 *
 * swarm_pieces.c - which piece: what is missing, who has it, how rare it is.
 *
 * A piece is missing, under way, or here.  Beside that two things are kept of it: how many of the
 * sources that hold a part of the content have it, and whether it is being sent to somebody by
 * one of ours (it is coming).  Sources that hold all make no piece rarer than another, so they
 * are not counted.
 *
 * While others fetch the same content, the rarest piece is taken, at random among equals: then
 * everybody soon has what somebody else wants, and the one who has all sends each piece about
 * once.  A piece that is coming to somebody counts as one copy, or two peers would ask the seed
 * for the same.
 *
 * Without others, and for a reader who waits, order is worth more: it is what disks like.  Those
 * who fetch begin at a place of their own, so that several who begin together do not ask for the
 * same before they know of each other.
 */
#include "swarm_inner.h"

#include <assert.h>
#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"

#define SAMPLE_MAX 2048 /* pieces compared for one choice; among so many there is a rare one */

/* Whole words, so that they can be searched by words. */
static unsigned char *
new_bits(const struct swarm *swarm)
{
	return mem_zero(swarm->count / 64 + 1, sizeof(uint64_t));
}

uint64_t
swarm_run_bytes(const struct swarm *swarm, const struct swarm_run *run)
{
	uint64_t end = (run->first + run->count) * swarm->piece_bytes;
	if (end > swarm->size_bytes)
		end = swarm->size_bytes;
	return end - run->first * swarm->piece_bytes;
}

void
swarm_pieces_init(struct swarm *swarm)
{
	size_t room = swarm->count != 0 ? swarm->count : 1;
	swarm->missing = new_bits(swarm);
	swarm->here = new_bits(swarm);
	swarm->coming = new_bits(swarm);
	swarm->copies = mem_zero(room, sizeof(*swarm->copies));
	for (uint64_t i = 0; i < swarm->count; i++)
		swarm_set_bit(swarm->missing, i);
	swarm->missing_count = swarm->to = swarm->count;
	swarm->cursor = swarm_random(swarm) % room;
}

void
swarm_pieces_fini(struct swarm *swarm)
{
	free(swarm->missing);
	free(swarm->here);
	free(swarm->coming);
	free(swarm->copies);
}

/* --- what is here --- */

/* A piece becomes missing, or is so no longer. */
static void
set_missing(struct swarm *swarm, uint64_t piece, bool is_missing)
{
	if (swarm_bit(swarm->missing, piece) == is_missing)
		return;
	uint64_t one = is_missing ? 1 : UINT64_MAX;
	if (is_missing)
		swarm_set_bit(swarm->missing, piece);
	else
		swarm_clear_bit(swarm->missing, piece);
	swarm->missing_count += one;
	for (size_t i = 0; i < swarm->source_count; i++)
		if (swarm->sources[i].bits != NULL && swarm_bit(swarm->sources[i].bits, piece))
			swarm->sources[i].wanted += one;
}

void
swarm_have(struct swarm *swarm, uint64_t piece)
{
	assert(piece < swarm->count);
	if (swarm_bit(swarm->here, piece))
		return;
	set_missing(swarm, piece, false);
	swarm_set_bit(swarm->here, piece);
	swarm->here_count++;
}

bool
swarm_is_complete(const struct swarm *swarm)
{
	return swarm->here_count == swarm->count;
}

bool
swarm_has_missing(const struct swarm *swarm)
{
	if (!swarm->is_ordered)
		return swarm->missing_count != 0;
	uint64_t piece = swarm->from;
	while (piece < swarm->to && !swarm_bit(swarm->missing, piece))
		piece++;
	return piece < swarm->to;
}

void
swarm_window(struct swarm *swarm, uint64_t from, uint64_t to)
{
	swarm->from = from;
	swarm->to = to < swarm->count ? to : swarm->count;
	swarm->is_ordered = true;
}

void
swarm_run_begins(struct swarm *swarm, const struct swarm_run *run)
{
	for (uint64_t i = run->first; i < run->first + run->count; i++) {
		assert(swarm_bit(swarm->missing, i));
		set_missing(swarm, i, false);
	}
}

void
swarm_run_ends(struct swarm *swarm, const struct swarm_run *run, uint64_t verified)
{
	for (uint64_t i = 0; i < run->count; i++) {
		uint64_t piece = run->first + i;
		if (i < verified)
			swarm_have(swarm, piece);
		else if (!swarm_bit(swarm->here, piece))
			set_missing(swarm, piece, true);
	}
}

void
swarm_run_shrinks(struct swarm *swarm, const struct swarm_run *run, uint64_t from)
{
	for (uint64_t i = from; i < run->count; i++)
		set_missing(swarm, run->first + i, true);
}

void
swarm_hold(struct swarm *swarm, uint64_t piece)
{
	assert(piece < swarm->count && swarm_bit(swarm->missing, piece));
	set_missing(swarm, piece, false);
}

void
swarm_release(struct swarm *swarm, uint64_t piece)
{
	assert(piece < swarm->count);
	if (!swarm_bit(swarm->here, piece))
		set_missing(swarm, piece, true);
}

/* --- what others hold --- */

static void
count_copy(struct swarm *swarm, uint64_t piece)
{
	swarm->copies[piece]++;
	swarm->partial_held++;
}

void
swarm_forget_held(struct swarm *swarm, struct swarm_source *source)
{
	for (uint64_t i = 0; source->bits != NULL && i < swarm->count; i++) {
		if (!swarm_bit(source->bits, i))
			continue;
		swarm->copies[i]--;
		swarm->partial_held--;
	}
	free(source->bits);
	source->bits = NULL;
	source->held = source->wanted = 0;
	source->is_whole = false;
}

void
swarm_add_held(struct swarm *swarm, struct swarm_source *source, uint64_t piece)
{
	if (swarm_source_has(source, piece))
		return;
	if (source->bits == NULL)
		source->bits = new_bits(swarm);
	swarm_set_bit(source->bits, piece);
	source->held++;
	source->wanted += swarm_bit(swarm->missing, piece);
	count_copy(swarm, piece);
}

void
swarm_coming(struct swarm *swarm, uint64_t piece)
{
	if (piece >= swarm->count)
		return;
	swarm_set_bit(swarm->coming, piece);
	swarm->has_coming = true;
}

static unsigned
copies_of(const struct swarm *swarm, uint64_t piece)
{
	unsigned copies = swarm->copies[piece];
	return copies == 0 && swarm_bit(swarm->coming, piece) ? 1 : copies;
}

/* --- picking --- */

uint64_t
swarm_wanted(const struct swarm *swarm, const struct swarm_source *source)
{
	return source->is_whole ? swarm->missing_count : source->wanted;
}

static bool
is_wanted(const struct swarm *swarm, const struct swarm_source *source, uint64_t piece)
{
	return swarm_bit(swarm->missing, piece) && swarm_source_has(source, piece);
}

/* 64 pieces, the first in the highest bit. */
static uint64_t
word_of(const unsigned char *bits, uint64_t word)
{
	uint64_t value;
	memcpy(&value, bits + word * sizeof(value), sizeof(value));
	return be64toh(value);
}

/* The first piece of [piece, end) that is missing and that this source has, or `end`. */
static uint64_t
next_wanted(const struct swarm *swarm, const struct swarm_source *source, uint64_t piece,
	    uint64_t end)
{
	while (piece < end) {
		uint64_t word = word_of(swarm->missing, piece / 64) << (piece % 64);
		if (word != 0 && !source->is_whole)
			word &= word_of(source->bits, piece / 64) << (piece % 64);
		if (word != 0) {
			piece += (unsigned)__builtin_clzll(word);
			return piece < end ? piece : end;
		}
		piece = (piece / 64 + 1) * 64;
	}
	return end;
}

/* The rarest of [from, to), after what was found so far. */
struct choice {
	uint64_t piece;
	unsigned copies, equals, seen;
};

static void
find_rarest(struct swarm *swarm, const struct swarm_source *source, uint64_t from, uint64_t to,
	    struct choice *choice)
{
	for (uint64_t piece = next_wanted(swarm, source, from, to);
	     piece < to && choice->seen < SAMPLE_MAX;
	     piece = next_wanted(swarm, source, piece + 1, to), choice->seen++) {
		unsigned copies = copies_of(swarm, piece);
		if (choice->equals != 0 && copies > choice->copies)
			continue;
		choice->equals =
		    choice->equals == 0 || copies < choice->copies ? 1 : choice->equals + 1;
		choice->copies = copies;
		/* Of n equals each stays with the chance 1/n. */
		if ((swarm_random(swarm) >> 32) * choice->equals >> 32 == 0)
			choice->piece = piece;
	}
}

static bool
rarest(struct swarm *swarm, const struct swarm_source *source, uint64_t *ret)
{
	uint64_t start = swarm->from + swarm_random(swarm) % (swarm->to - swarm->from);
	struct choice choice = { 0 };
	find_rarest(swarm, source, start, swarm->to, &choice);
	find_rarest(swarm, source, swarm->from, start, &choice);
	*ret = choice.piece;
	return choice.equals != 0;
}

/* The first wanted one from `start` on, around the end of the window. */
static bool
first_in_order(const struct swarm *swarm, const struct swarm_source *source, uint64_t start,
	       uint64_t *ret)
{
	*ret = next_wanted(swarm, source, start, swarm->to);
	if (*ret < swarm->to)
		return true;
	*ret = next_wanted(swarm, source, swarm->from, start);
	return *ret < start;
}

bool
swarm_pick(struct swarm *swarm, const struct swarm_source *source, uint64_t max_bytes,
	   struct swarm_run *ret)
{
	if (swarm->from >= swarm->to || swarm_wanted(swarm, source) == 0)
		return false;
	bool by_rarity = !swarm->is_ordered && (swarm->partial_held != 0 || swarm->has_coming);
	uint64_t start = swarm->is_ordered ? swarm->from : swarm->cursor, first = 0;
	if (start < swarm->from || start >= swarm->to)
		start = swarm->from;
	bool is_found = by_rarity ? rarest(swarm, source, &first)
				  : first_in_order(swarm, source, start, &first);
	if (!is_found)
		return false;
	uint64_t most = max_bytes / swarm->piece_bytes, count = 1;
	while (count < most && first + count < swarm->to &&
	       is_wanted(swarm, source, first + count) &&
	       (!by_rarity || copies_of(swarm, first + count) == copies_of(swarm, first)))
		count++;
	*ret = (struct swarm_run){ first, count };
	swarm->cursor = first + count;
	return true;
}
