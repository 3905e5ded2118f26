/* SPDX-License-Identifier: MIT
 *
 * sim_net.h - a network for simulations: hosts with an up-link and a down-link, and flows between
 * them that share both fairly. No packets, no clock: the time is told, in microseconds, and never
 * goes back.
 */
#ifndef P2PD_SIM_NET_H
#define P2PD_SIM_NET_H

#include <stddef.h>
#include <stdint.h>

struct sim_net;
struct sim_link;

/* One flow.  The caller reads `arg` alone. */
struct sim_flow {
	void *arg;
	struct sim_link *link[2];	/* the sender's up-link, the receiver's down-link */
	size_t place[2];		/* in the links' flows */
	double bytes, rate;		/* sent by `settled_us`; bytes per microsecond since */
	double goal;			/* bytes at which the caller wants to hear of it */
	uint64_t settled_us, due_us;	/* when it gets there; UINT64_MAX: not as things are */
	size_t heap_place;
};

struct sim_net	*sim_net_new(size_t hosts);
/* Flows that were not stopped are freed with it. */
void		 sim_net_free(struct sim_net *net);

/* The rates of a host's links from now on, bytes per second; 0: nothing passes.  At first nothing
 * does. */
void		 sim_net_links(struct sim_net *net, uint64_t now_us, size_t host, uint64_t up_bps,
		     uint64_t down_bps);
/* Bytes begin to flow; the first `goal` of them are waited for. */
struct sim_flow	*sim_net_start(struct sim_net *net, uint64_t now_us, size_t from, size_t to,
		     uint64_t goal, void *arg);
void		 sim_net_goal(struct sim_net *net, struct sim_flow *flow, uint64_t goal);
/* Ends it; answers the bytes that it sent. */
uint64_t	 sim_net_stop(struct sim_net *net, uint64_t now_us, struct sim_flow *flow);
uint64_t	 sim_net_bytes(const struct sim_flow *flow, uint64_t now_us);

/* When the next flow gets to its goal (UINT64_MAX: none); and which. */
uint64_t	 sim_net_next_us(struct sim_net *net, uint64_t now_us);
struct sim_flow	*sim_net_first(struct sim_net *net);

#endif
