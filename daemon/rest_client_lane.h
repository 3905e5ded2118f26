/* SPDX-License-Identifier: MIT
 *
 * rest_client_lane.h - one thread that carries HTTP exchanges, for rest_client.c alone.
 *
 * The owner fills an exchange and hands it over; it belongs to the lane until ended() is called, which happens exactly once.
 * What must be judged while bytes arrive is asked of the owner by callbacks on the lane's thread.
 */
#ifndef P2PD_REST_CLIENT_LANE_H
#define P2PD_REST_CLIENT_LANE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "address_guard.h"
#include "buf.h"
#include "error.h"
#include "rate.h"
#include "transport_stall.h"

struct lane;
struct lane_exchange;

struct lane_limits {
	unsigned connect_ms;
	unsigned total_ms;		/* for the whole; 0: none */
	unsigned stall_ms, stall_bps;	/* ends after so long below so many bytes of body a second; 0: none */
};

struct lane_ops {
	/* The header of a 2xx answer is complete: is the body wanted?  P2P_OK, or a code with exchange->error set. */
	int (*accept)(struct lane_exchange *exchange);
	/* Bytes of an accepted body; as above. */
	int (*feed)(struct lane_exchange *exchange, const void *data, size_t len);
	/* It ended: exchange->error.code says how, and if P2P_OK there is a status.  The exchange is the owner's again. */
	void (*ended)(struct lane_exchange *exchange);
};

struct lane_exchange {
	/* What is asked: set by the owner, constant while it is the lane's. */
	const struct lane_ops *ops;	/* accept and feed NULL: the body is gathered */
	const char *method;		/* "GET", "POST", "DELETE" */
	char *url;
	char *body;			/* JSON, or NULL */
	char range[48];			/* "first-last", or "" */
	size_t answer_max;		/* bytes of body gathered at most */
	struct lane_limits limits;
	struct rate *rate;		/* of the bytes that go to feed(); NULL: no limits */
	char rate_key[RATE_PEER_SIZE];	/* whose they are */
	const struct address_guard *guard;	/* where it may not connect to */
	atomic_bool is_cancelled;	/* lane_cancel() */

	/* What came: the lane's until ended(). */
	int status;			/* HTTP; 0 while there is none */
	struct buf answer;		/* gathered body; of answers other than 2xx too */
	struct error error;
	uint32_t round_trip_us;		/* from the request sent to the first byte of the answer */

	/* The lane's. */
	struct lane *lane;
	void *easy, *headers;		/* curl's */
	struct lane_exchange *next, *prev;
	bool is_refused;		/* it may not connect to one of the addresses */
	bool is_judged;			/* accept() was asked */
	size_t header_bytes;
	struct transport_stall stall;
	struct rate_turn turn;
	bool is_paused;			/* until its turn */
	uint64_t paused_ms;		/* since when, on the clock of stalls */
};

/* NULL and err. */
struct lane	*lane_new(struct error *err);
/* Ends what is under way with P2P_SHUTTING_DOWN, joins the thread, frees. */
void		 lane_free(struct lane *lane);
/* Hands an exchange over.  Any thread, but not beside lane_free(). */
void		 lane_start(struct lane *lane, struct lane_exchange *exchange);
/* Ends it soon with P2P_CANCELLED, unless it just ended otherwise.  The caller knows that it is not freed. */
void		 lane_cancel(struct lane *lane, struct lane_exchange *exchange);
/* Inside accept(): a header's value until it returns; NULL if missing, "" if it came several times. */
const char	*lane_header(const struct lane_exchange *exchange, const char *name);

#endif
