/* SPDX-License-Identifier: MIT
 *
 * sim_bound.h - the earliest time, in seconds, at which a swarm could be done.
 */
#ifndef P2PD_SIM_BOUND_H
#define P2PD_SIM_BOUND_H

#include "swarm_sim.h"

/* What has to leave the seeds, and all hosts together, could have left. */
double	sim_bound_out_s(const struct sim *sim);
/* One copy could have come through this host's own link. */
double	sim_bound_in_s(const struct sim *sim, size_t host);

#endif
