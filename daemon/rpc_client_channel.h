/* SPDX-License-Identifier: MIT
 *
 * rpc_client_channel.h - the connections of one lane, for rpc_client_lane.c and rpc_client_call.c.  The lane's thread.
 */
#ifndef P2PD_RPC_CLIENT_CHANNEL_H
#define P2PD_RPC_CLIENT_CHANNEL_H

#include <grpc/grpc.h>

#include "rpc_client_lane.h"

/* One connection, or the attempt at one. */
struct rpc_channel;

struct rpc_channels {
	grpc_resource_quota *quota;
	struct rpc_lane_room room;
	struct rpc_channel *list;
	size_t count;
};

/* The channel for an exchange, kept from before or new; the least recently used idle one makes room.  NULL: all are in use. */
struct rpc_channel	*rpc_channel_take(struct rpc_channels *channels,
			     const struct rpc_exchange *exchange);
grpc_channel	*rpc_channel_core(struct rpc_channel *channel);
/* True if its connection stands. */
bool		 rpc_channel_is_ready(const struct rpc_channel *channel);
/* A call on it ended.  A doubtful one is given to nobody any more: the next taker gets a new connection at once, instead of one
 * that is dead or backs off. */
void		 rpc_channel_leave(struct rpc_channels *channels, struct rpc_channel *channel, bool is_doubtful);
/* Closes what is idle for too long; answers the milliseconds until the next will be, TRANSPORT_STALL_NEVER if there is none. */
int		 rpc_channels_look(struct rpc_channels *channels);
/* Starts to wait for each that is connecting, for a while at most; answers how many times `tag` comes out of the queue for it. */
size_t		 rpc_channels_settle(struct rpc_channels *channels, grpc_completion_queue *queue, void *tag);
/* Closes all; none is in use.  Settle them before: the library forgets a connection that is half made when it ends. */
void		 rpc_channels_fini(struct rpc_channels *channels);

#endif
