/* SPDX-License-Identifier: MIT
 *
 * transport_stall.c - two half windows in a row.
 *
 * The bytes of the half window that just ended and of the one before are compared with what the
 * limit wants of a whole one.  So a stall is found 1 to 1.5 windows after the last byte, one look a
 * half window is enough, and a peer that sends in bursts is judged by its mean.
 */
#include "transport_stall.h"

void
transport_stall_begin(struct transport_stall *stall, unsigned stall_ms, unsigned stall_bps,
		      uint64_t now_ms)
{
	*stall = (struct transport_stall){ .stall_ms = stall_ms,
					   .stall_bps = stall_bps,
					   .begin_ms = now_ms };
}

void
transport_stall_count(struct transport_stall *stall, uint64_t bytes)
{
	stall->bytes += bytes;
}

void
transport_stall_skip(struct transport_stall *stall, uint64_t ms)
{
	stall->begin_ms += ms;
}

int
transport_stall_look(struct transport_stall *stall, uint64_t now_ms)
{
	uint64_t half_ms = ((uint64_t)stall->stall_ms + 1) / 2;
	uint64_t gone_ms = now_ms - stall->begin_ms;

	if (stall->stall_ms == 0)
		return TRANSPORT_STALL_NEVER;
	if (gone_ms < half_ms)
		return (int)(half_ms - gone_ms);
	uint64_t wanted = (uint64_t)stall->stall_bps * stall->stall_ms / 1000;
	if (stall->has_before && stall->before_bytes + stall->bytes < wanted)
		return 0;
	stall->has_before = true;
	stall->before_bytes = stall->bytes;
	stall->bytes = 0;
	stall->begin_ms = now_ms;
	return (int)half_ms;
}
