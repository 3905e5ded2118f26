/* SPDX-License-Identifier: MIT
 *
 * peers_sim.h - many peers in one process, on a simulated network and clock: the real peers and catalog modules, on a loop, a clock, a
 * disk and a wire that are made here.  The same seed gives the same run.
 */
#ifndef P2PD_PEERS_SIM_H
#define P2PD_PEERS_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "peers_sim_catalog.h"
#include "peers_sim_clock.h"
#include "peers_sim_wire.h"

#define SIM_FILES_FIRST	3	/* that each peer has to begin with */

struct peers_sim;

/* `count` peers; each but the first has the first as its seed.  Nothing runs yet. */
struct peers_sim *peers_sim_new(size_t count, uint64_t seed);
void		 peers_sim_free(struct peers_sim *sim);
/* Starts a peer: with its first files, or as one that was killed, with what its catalog remembers. */
void		 peers_sim_start(struct peers_sim *sim, size_t peer);
/* From now on it answers nobody; `is_silent`: not even that it does not. */
void		 peers_sim_kill(struct peers_sim *sim, size_t peer, bool is_silent);
/* From now on the peers below `first` and the others do not reach each other, silently.  0: all do. */
void		 peers_sim_cut(struct peers_sim *sim, size_t first);
/* From now on one does not know of another, as if it had never heard of it. */
void		 peers_sim_forget(struct peers_sim *sim, size_t peer, size_t forgotten);
/* From now on one does not reach another, silently; but the other way round. */
void		 peers_sim_block(struct peers_sim *sim, size_t from, size_t to);
void		 peers_sim_unblock(struct peers_sim *sim);
/* A file of a peer changes, comes or goes. */
void		 peers_sim_change(struct peers_sim *sim, size_t peer);
/* The same, and goes on until every other that runs has it in its catalog, at most for so long.  After how long each had it comes to
 * ret_us (room for all peers); answers how many have it. */
size_t		 peers_sim_spread(struct peers_sim *sim, size_t peer, uint64_t limit_ms, uint64_t *ret_us);

/* Goes on for so long, or until is_reached(sim, arg); that is asked every 10 ms.  Answers how many ms have passed. */
uint64_t	 peers_sim_run(struct peers_sim *sim, uint64_t ms, bool (*is_reached)(struct peers_sim *sim, void *arg), void *arg);

size_t		 peers_sim_running(const struct peers_sim *sim);
/* How many of the running peers other than `peer` do not take it for away. */
size_t		 peers_sim_not_away(struct peers_sim *sim, size_t peer);
/* True if every running peer takes every other that runs and can be reached for here; */
bool		 peers_sim_is_meshed(struct peers_sim *sim);
/* if it takes every one that cannot be for away; */
bool		 peers_sim_is_parted(struct peers_sim *sim);
/* and if it has pulled all of the files of each. */
bool		 peers_sim_is_equal(struct peers_sim *sim);
/* Of the running peers, how many have a catalog that is not the truth about all of them, entry by entry. */
size_t		 peers_sim_wrong(struct peers_sim *sim);

struct sim_traffic peers_sim_sent(struct peers_sim *sim, size_t peer);
/* How often somebody took a peer for away that ran and could be reached. */
unsigned	 peers_sim_false_alarms(const struct peers_sim *sim);
/* Of all catalogs together. */
struct sim_room	 peers_sim_room(struct peers_sim *sim);
/* Bytes that the peers module of one keeps when it knows all others. */
size_t		 peers_sim_bytes(const struct peers_sim *sim);

#endif
