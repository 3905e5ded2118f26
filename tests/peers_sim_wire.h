/* SPDX-License-Identifier: MIT
 *
 * peers_sim_wire.h - the wire between simulated peers: what peers ask each other, answered by the daemon's own code.
 */
#ifndef P2PD_PEERS_SIM_WIRE_H
#define P2PD_PEERS_SIM_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "catalog.h"
#include "peers.h"
#include "transport.h"

/* What a peer sent: bytes with the headers of HTTP, TCP and IP, and messages of its own accord. */
struct sim_traffic {
	uint64_t bytes, messages;
};

struct sim_net;

/* Where one peer is plugged in. */
struct sim_host {
	struct transport transport;	/* first; for its peers object */
	struct sim_net *net;
	size_t index;
	char name[32];			/* its address */
	struct peers *peers;		/* NULL: it does not run */
	struct catalog *catalog;	/* while it runs */
	bool is_silent;			/* it is dead, and nobody says so */
	struct sim_traffic sent;
};

struct sim_net {
	struct sim_host *hosts;
	size_t count;
	size_t cut;	/* hosts below and others do not reach each other, silently; 0: all do */
	struct {
		const struct sim_host *from, *to;
	} one_way;	/* this one does not reach that one, silently; NULL: it does */
};

void	sim_net_init(struct sim_net *net, size_t count);
void	sim_net_fini(struct sim_net *net);	/* nothing runs */
/* Ends its peers object without a good-bye; what that has asked comes back to it first. */
void	sim_host_stop(struct sim_host *host);
bool	sim_host_reaches(const struct sim_host *from, const struct sim_host *to);
/* What it sent since the last call. */
struct sim_traffic sim_host_sent(struct sim_host *host);

#endif
