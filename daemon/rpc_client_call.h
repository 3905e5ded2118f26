/* SPDX-License-Identifier: MIT
 *
 * rpc_client_call.h - one gRPC call that carries an exchange, for rpc_client_lane.c alone.  The lane's thread.
 */
#ifndef P2PD_RPC_CLIENT_CALL_H
#define P2PD_RPC_CLIENT_CALL_H

#include "rpc_client_channel.h"

/* What a completion queue gives back. */
struct rpc_tag {
	void (*step)(void *arg);
	void *arg;
};

/* Begins the call of an exchange on a channel; it is exchange->call until it ends. */
void	rpc_lane_call_begin(struct rpc_lane *lane, grpc_completion_queue *queue,
	    struct rpc_exchange *exchange, struct rpc_channel *channel);
/* It ends soon.  The reason stands in the exchange's error already. */
void	rpc_lane_call_cancel(struct rpc_lane_call *call);

/* The turn of a message may have come, for which rpc_lane_call_paused() was called; or nobody wants it any more. */
void	rpc_lane_call_go_on(struct rpc_lane_call *call);

/* And from the call to its lane (rpc_client_lane.c). */

/* It ended, and is freed; the channel is the lane's again, and the exchange its owner's. */
void	rpc_lane_call_ended(struct rpc_lane *lane, struct rpc_exchange *exchange,
	    struct rpc_channel *channel, bool is_doubtful);
/* A message came before its turn: the lane shall tell the call when to go on. */
void	rpc_lane_call_paused(struct rpc_lane *lane, struct rpc_exchange *exchange);
/* So long the thread was with the owner, who was given a message. */
void	rpc_lane_was_busy(struct rpc_lane *lane, uint64_t ms);

#endif
