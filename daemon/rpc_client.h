/* SPDX-License-Identifier: MIT
 *
 * rpc_client.h - the transport over gRPC: the C core.
 *
 * One thread carries all small calls, another those that wait for news; up to `lanes` further threads carry file bytes, each with a completion queue and channels
 * of its own, so that verifying (which the sinks do inline, while the bytes are hot) uses more than one core, and a slow
 * disk behind a sink delays no greeting.  Addresses are grpc://host:port.  No proxy.
 */
#ifndef P2PD_RPC_CLIENT_H
#define P2PD_RPC_CLIENT_H

#include <stdbool.h>

#include "address_guard.h"
#include "loop.h"
#include "pool.h"
#include "transport.h"
#include "transport_limit.h"

#define RPC_CLIENT_LANES_MAX	8

/* Deadlines; at first those of transport.h. */
struct rpc_client_limits {
	unsigned connect_ms;		/* until a connection stands */
	unsigned answer_ms;		/* of a small request in all; have: after its wait_ms */
	unsigned stall_ms;		/* read: ends after so long below stall_bps */
	unsigned stall_bps;		/* bytes per second */
};

/* lanes 1 to 8.  The pool resolves names.  Gives a transport; NULL and err.  Threads start with the first request: who speaks no
 * gRPC pays nothing.  Where the library cannot be loaded, they end in P2P_UNREACHABLE. */
struct transport *rpc_client_new(struct loop *loop, struct pool *pool, unsigned lanes, struct error *err);
/* Mind.  Before the first request. */
void		 rpc_client_limit(struct transport *transport, const struct rpc_client_limits *limits);
/* Mind.  Before the first request: the limits of bandwidth of reads. */
void		 rpc_client_throttle(struct transport *transport, const struct transport_limit *limit);
/* As rest_client_guard(). */
void		 rpc_client_guard(struct transport *transport, const struct address_guard *guard);
/* Mind.  Ends every request (their done functions are called, with P2P_SHUTTING_DOWN, before this returns) and joins the threads. */
void		 rpc_client_free(struct transport *transport);

#endif
