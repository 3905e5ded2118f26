/* SPDX-License-Identifier: MIT
 *
 * swarm_leave.c - asks that are better asked of somebody else.
 *
 * Three kinds.  One that holds up the end: nothing else is left to ask for, and somebody faster would
 * be done with it long before.  One that stalls: it brought bytes, and then none for SWARM_STALL_US.
 * And one whose source has not said anything since it was asked: to leave it costs next to nothing,
 * so that is done after a second, or what its distance deserves.
 *
 * Where all are slow to begin, asks that go from one to the next would never be answered.  So the
 * patience before a change is doubled for each time that either source of the change was left in
 * silence; the first byte makes that good.
 */
#include "swarm_inner.h"

#define SILENCES_MAX 4       /* doublings of the patience with those who send nothing */
#define GIVEN_UP_US  1000000 /* nothing more is asked of a source that was too slow for so long */

/* Could this source take over what the ask has not brought yet? */
static bool
can_take_over(const struct swarm *swarm, const struct swarm_source *other,
	      const struct swarm_ask *ask, uint64_t now_us)
{
	uint64_t piece = ask->pieces.first + ask->came_bytes / swarm->piece_bytes;
	uint64_t end = ask->pieces.first + ask->pieces.count;
	if (other == ask->source || other->not_before_us > now_us)
		return false;
	while (piece < end && swarm_source_has(other, piece))
		piece++;
	return piece == end;
}

/* One that would be done with it in so short a time. */
static bool
has_faster(const struct swarm *swarm, const struct swarm_ask *ask, double within_us,
	   uint64_t now_us)
{
	uint64_t whole = ask->came_bytes / swarm->piece_bytes;
	for (size_t i = 0; i < swarm->source_count; i++) {
		const struct swarm_source *other = &swarm->sources[i];
		if (other->rate_bps != 0 && can_take_over(swarm, other, ask, now_us) &&
		    swarm_has_room(swarm, other) &&
		    swarm_eta_us(other, ask->bytes - whole * swarm->piece_bytes) < within_us)
			return true;
	}
	return false;
}

static bool
is_silent(const struct swarm_ask *ask)
{
	return ask->came_bytes == 0 && ask->source->moved_us <= ask->asked_us;
}

/* How long nothing may come of an ask if this source could take it over. */
static uint64_t
patience_us(const struct swarm *swarm, const struct swarm_ask *ask,
	    const struct swarm_source *other)
{
	const struct swarm_source *source = ask->source;
	unsigned silences = source->silences > other->silences ? source->silences : other->silences;
	uint64_t far_us = 4 * (uint64_t)source->round_trip_us;
	if (swarm->is_patient || !is_silent(ask))
		return SWARM_STALL_US;
	return (far_us > SWARM_SILENT_US ? far_us : SWARM_SILENT_US)
	       << (silences < SILENCES_MAX ? silences : SILENCES_MAX);
}

static bool
is_stalled(const struct swarm *swarm, const struct swarm_ask *ask, uint64_t now_us)
{
	/* Nobody is that impatient. */
	if (now_us - ask->moved_us < SWARM_SILENT_US)
		return false;
	for (size_t i = 0; i < swarm->source_count; i++) {
		const struct swarm_source *other = &swarm->sources[i];
		if (can_take_over(swarm, other, ask, now_us) &&
		    now_us - ask->moved_us >= patience_us(swarm, ask, other))
			return true;
	}
	return false;
}

/* Its source is not asked for the same again at once. */
static void
leave(struct swarm_ask *ask, uint64_t now_us, bool has_stalled)
{
	struct swarm_source *source = ask->source;
	ask->is_given_up = true;
	ask->has_stalled = has_stalled;
	if (source->not_before_us >= now_us + GIVEN_UP_US)
		return;
	/* Several that are left together are one silence. */
	source->silences += is_silent(ask);
	source->not_before_us = now_us + GIVEN_UP_US;
	source->rest = has_stalled ? SWARM_RESTS_STALLED : SWARM_RESTS_SLOW;
}

const struct swarm_ask *
swarm_give_up(struct swarm *swarm, uint64_t now_us)
{
	for (struct swarm_ask *ask = swarm->asks; ask != NULL; ask = ask->next) {
		if (ask->is_given_up)
			continue;
		double left_us = swarm_eta_us(ask->source, 0) + (double)(now_us - ask->moved_us);
		bool is_late = swarm->missing_count == 0 && left_us > 2 * SWARM_END_SLACK_US &&
			       has_faster(swarm, ask, (left_us - SWARM_END_SLACK_US) / 2, now_us);
		bool has_stalled = is_stalled(swarm, ask, now_us);
		if (!is_late && !has_stalled)
			continue;
		leave(ask, now_us, has_stalled);
		return ask;
	}
	return NULL;
}
