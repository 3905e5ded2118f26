/* SPDX-License-Identifier: MIT
 *
 * swarm_sim.h - many peers fetch one content, each by a swarm of its own, on a simulated network
 * and clock. The same description gives the same run, to the microsecond.
 */
#ifndef P2PD_SWARM_SIM_H
#define P2PD_SWARM_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sim_host {
	uint64_t up_bps, down_bps;	/* bytes per second */
	uint32_t delay_us;		/* to the middle of the network; a round trip is four of them */
	uint64_t start_us;		/* when it begins */
	bool is_seed;			/* has the content */
};

/* A host is killed, or its cable pulled, and comes back. */
struct sim_absence {
	size_t host;
	uint64_t from_us, to_us;
	bool is_silent;			/* its peers are not told: nothing comes any more */
	bool is_empty;			/* what comes back is another: without what it had */
};

struct sim {
	uint64_t size_bytes;
	uint32_t piece_bytes;
	unsigned asks_max;		/* for swarm_limit(); 0: as it is */
	unsigned sends_max;		/* asks that a host answers at once; 0: all */
	uint64_t seed;
	const struct sim_host *hosts;
	size_t host_count;
	const struct sim_absence *absences;
	size_t absence_count;
	uint64_t limit_us;		/* the end of the run, whoever has finished by then */
};

struct sim_result {
	size_t finished, fetchers;
	/* Finish ÷ bound: of the one with the worst, and of the best 50, 90, 99 of a hundred. */
	double worst, p50, p90, p99;
	double end_s, bound_s;		/* the last finish, and the bound of it */
	double seed_copies;		/* bytes sent by those that had all at the start ÷ size */
	double wasted;			/* bytes sent that nobody kept ÷ bytes that were wanted */
	uint64_t asks, given_up, failed;
	uint64_t fingerprint;		/* of who had which piece when */
};

void	sim_run(const struct sim *sim, struct sim_result *ret);

#endif
