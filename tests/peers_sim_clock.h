/* SPDX-License-Identifier: MIT
 *
 * peers_sim_clock.h - the time of a simulation, and what comes when: the daemon's clock, timers and posts stand on it.
 * One simulation at a time, one thread.
 */
#ifndef P2PD_PEERS_SIM_CLOCK_H
#define P2PD_PEERS_SIM_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

#define SIM_SECOND_MS	((uint64_t)1000)
#define SIM_MINUTE_MS	(60 * SIM_SECOND_MS)

/* The mind's loop of one peer.  All of them turn together; what each has of its own is when its scribe writes. */
struct loop {
	struct loop_timer *scribe;	/* or NULL */
	bool is_writing;		/* the scribe is at it, until the timer ends */
};

void	 sim_clock_begin(void);
/* Runs what is still to come; nothing of that may go on for ever. */
void	 sim_clock_end(void);
uint64_t sim_now_us(void);
void	 sim_post(uint64_t after_us, void (*fn)(void *arg), void *arg);
/* Goes on for so long, or until is_reached(arg) (may be NULL); that is asked every 10 ms.  Answers how many ms have passed. */
uint64_t sim_clock_run(uint64_t ms, bool (*is_reached)(void *arg), void *arg);

#endif
