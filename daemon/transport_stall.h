/* SPDX-License-Identifier: MIT
 *
 * transport_stall.h - is a stream of bytes too slow for too long?  No clock of its own; one thread at a time.
 *
 * The caller's clock should stand still while its own sinks work: a slow disk here is no fault of the peer.
 */
#ifndef P2PD_TRANSPORT_STALL_H
#define P2PD_TRANSPORT_STALL_H

#include <stdbool.h>
#include <stdint.h>

struct transport_stall {
	unsigned stall_ms, stall_bps;	/* ends after so long below so many bytes a second; 0 ms: never */
	uint64_t begin_ms;		/* of the half window that is watched */
	uint64_t bytes, before_bytes;	/* in it, and in the one before */
	bool has_before;		/* there was one before */
};

#define TRANSPORT_STALL_NEVER	INT32_MAX	/* milliseconds: it need not be looked at again */

void	transport_stall_begin(struct transport_stall *stall, unsigned stall_ms, unsigned stall_bps,
	    uint64_t now_ms);
void	transport_stall_count(struct transport_stall *stall, uint64_t bytes);
/* So long it was paused by ourselves; it is not to be looked at meanwhile. */
void	transport_stall_skip(struct transport_stall *stall, uint64_t ms);
/* Answers the milliseconds until it is to be looked at again, and 0 if it stalled. */
int	transport_stall_look(struct transport_stall *stall, uint64_t now_ms);

#endif
