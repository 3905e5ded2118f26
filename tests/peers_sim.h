/* SPDX-License-Identifier: MIT
 *
 * peers_sim.h - many peers in one process, on a simulated network and clock: the real peers module, on a loop, a clock, a catalog and
 * a wire that are made here.  The same seed gives the same run.
 */
#ifndef P2PD_PEERS_SIM_H
#define P2PD_PEERS_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct peers_sim;

/* `count` peers; each but the first has the first as its seed.  Nothing runs yet. */
struct peers_sim *peers_sim_new(size_t count, uint64_t seed);
void		 peers_sim_free(struct peers_sim *sim);
/* Starts a peer; one that was killed comes back with what its catalog remembers. */
void		 peers_sim_start(struct peers_sim *sim, size_t peer);
/* From now on it answers nobody; `is_silent`: not even that it does not. */
void		 peers_sim_kill(struct peers_sim *sim, size_t peer, bool is_silent);
/* From now on the peers below `first` and the others do not reach each other, silently.  0: all do. */
void		 peers_sim_cut(struct peers_sim *sim, size_t first);
/* The files of a peer change. */
void		 peers_sim_change(struct peers_sim *sim, size_t peer);

/* Goes on for so long, or until is_reached(sim, arg); that is asked every 10 ms.  Answers how many ms have passed. */
uint64_t	 peers_sim_run(struct peers_sim *sim, uint64_t ms, bool (*is_reached)(struct peers_sim *sim, void *arg), void *arg);

/* How many of the running peers other than `peer` take it for: here; not away; up to date with it. */
size_t		 peers_sim_seen_here(struct peers_sim *sim, size_t peer);
size_t		 peers_sim_not_away(struct peers_sim *sim, size_t peer);
size_t		 peers_sim_up_to_date(struct peers_sim *sim, size_t peer);
size_t		 peers_sim_running(const struct peers_sim *sim);
/* True if every running peer takes every other that runs and can be reached for here. */
bool		 peers_sim_is_meshed(struct peers_sim *sim);

/* Bytes that a peer sent since the last call, with the headers of HTTP, TCP and IP; and messages of its own accord. */
struct peers_sim_traffic {
	uint64_t bytes, messages;
};
struct peers_sim_traffic peers_sim_sent(struct peers_sim *sim, size_t peer);
/* How often somebody took a peer for away that ran and could be reached. */
unsigned	 peers_sim_false_alarms(const struct peers_sim *sim);
/* Bytes that one peer remembers of another. */
size_t		 peers_sim_bytes_a_peer(void);

#endif
