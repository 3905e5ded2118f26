/* SPDX-License-Identifier: MIT
 *
 * rpc_client_lane.h - one thread that carries gRPC calls, for rpc_client*.c alone.
 *
 * The owner fills an exchange and hands it over; it belongs to the lane until ended() is called, which happens exactly once.
 * Messages are given to the owner on the lane's thread, as they arrive.
 */
#ifndef P2PD_RPC_CLIENT_LANE_H
#define P2PD_RPC_CLIENT_LANE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"
#include "rate.h"
#include "rpc_client_names.h"
#include "transport_stall.h"

#define RPC_CLIENT_CHANNELS_MAX		64	/* connections of a lane that carries what ends soon */
#define RPC_CLIENT_CHANNEL_IDLE_MS	60000	/* an unused one is closed */
#define RPC_CLIENT_MEMORY_MAX		(64u << 20)	/* bytes that the library may hold for all lanes */

/* Of one lane. */
struct rpc_lane_room {
	size_t message_max;		/* bytes of one message that arrives; more is GRPC_STATUS_RESOURCE_EXHAUSTED */
	unsigned calls_max;		/* at once; others wait for their turn */
	unsigned channels_max;		/* connections */
	unsigned keepalive_ms;		/* without a byte, while a call waits, until a ping */
};

struct rpc_lane;
struct rpc_lane_call;
struct rpc_exchange;

struct rpc_lane_limits {
	unsigned connect_ms;		/* until a connection stands, all addresses together */
	unsigned total_ms;		/* for the whole; 0: none */
	unsigned stall_ms, stall_bps;	/* ends after so long below so many counted bytes a second; 0: none */
};

struct rpc_exchange_ops {
	/* A message of `len` bytes arrived: rpc_exchange_next() gives them.  P2P_OK, or a code with exchange->error set.  If
	 * exchange->is_paused then, its next bytes have to wait, and this is called again for the rest of it. */
	int (*message)(struct rpc_exchange *exchange, size_t len);
	/* It ended: exchange->error.code says how, and if P2P_OK there is a status.  The exchange is the owner's again. */
	void (*ended)(struct rpc_exchange *exchange);
};

struct rpc_exchange {
	/* What is asked: set by the owner, constant while it is the lane's. */
	const struct rpc_exchange_ops *ops;
	const char *method;		/* "/p2p.v1.Files/Stat"; static */
	const char *address;		/* as people know it, for errors */
	const char *authority;		/* "host:port" of it */
	struct rpc_target target;
	void *body;			/* the packed request */
	size_t body_len;
	struct rpc_lane_limits limits;
	struct rate *rate;		/* of the messages; NULL: no limits, and no pauses */
	char rate_key[RATE_PEER_SIZE];	/* whose they are */
	atomic_bool is_cancelled;	/* rpc_lane_cancel() */

	/* What came: the lane's until ended(). */
	int status;			/* grpc_status_code */
	char details[ERROR_TEXT_MAX];	/* of the status: printable UTF-8 */
	struct error error;
	uint32_t round_trip_us;		/* from the call's start, or the connection's, to the first byte of the answer */

	/* The lane's. */
	struct transport_stall stall;	/* the owner counts */
	struct rpc_lane_call *call;	/* NULL: it waits for its turn or a channel */
	struct rpc_exchange *next, *prev;
	uint64_t until_ms;		/* 0: no limit for the whole */
	struct rate_turn turn;
	bool is_paused;			/* until its turn: a part of a message waits for it */
	uint64_t paused_ms;		/* since when, on the clock of stalls */
};

/* What all lanes of a client share: the library itself, and the bound of its memory.  Outlives the lanes.  NULL and err:
 * the library is not there. */
struct rpc_commons;
struct rpc_commons	*rpc_commons_new(struct error *err);
void		 rpc_commons_free(struct rpc_commons *commons);

/* NULL and err. */
struct rpc_lane	*rpc_lane_new(struct rpc_commons *commons, const struct rpc_lane_room *room,
		     struct error *err);
/* Begins to end what is under way, with P2P_SHUTTING_DOWN.  An end may take a while: tell all lanes before one is freed. */
void		 rpc_lane_stop(struct rpc_lane *lane);
/* Stops it, joins the thread, frees. */
void		 rpc_lane_free(struct rpc_lane *lane);
/* Hands an exchange over.  Any thread, but not beside or after rpc_lane_stop(). */
void		 rpc_lane_start(struct rpc_lane *lane, struct rpc_exchange *exchange);
/* Ends it soon with P2P_CANCELLED, unless it just ended otherwise.  The caller knows that it is not freed. */
void		 rpc_lane_cancel(struct rpc_lane *lane, struct rpc_exchange *exchange);
/* Inside message(): its next bytes as they lie in memory, valid until message() returns; false after the last. */
bool		 rpc_exchange_next(struct rpc_exchange *exchange, const void **ret_data, size_t *ret_len);

#endif
