/* SPDX-License-Identifier: MIT
 *
 * rpc_fake.h - a real gRPC server that answers whatever a test says, right or wrong: any method, any bytes, at any pace.
 */
#ifndef P2PD_RPC_FAKE_H
#define P2PD_RPC_FAKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RPC_FAKE_MESSAGES_MAX	64

/* What one call is answered with: messages, then the status. */
struct rpc_fake_reply {
	void *messages[RPC_FAKE_MESSAGES_MAX];	/* rpc_fake_add() */
	size_t lens[RPC_FAKE_MESSAGES_MAX];
	size_t count;
	int pause_ms;			/* before each message but the first, and before the status */
	bool hold;			/* no status, ever */
	bool hang_up;			/* the stream is reset instead of a status */
	int status;			/* grpc_status_code */
	const char *details;		/* NULL: "" */
};

/* On the fake's thread. */
typedef void	(*rpc_fake_fn)(void *arg, const char *method, const void *request, size_t len,
		     struct rpc_fake_reply *reply);

/* Copies the bytes of one message. */
void	rpc_fake_add(struct rpc_fake_reply *reply, const void *data, size_t len);

struct rpc_fake;
/* Listens on 127.0.0.1 and `extra` addresses after it, all with one port; 0: any. */
struct rpc_fake	*rpc_fake_new(rpc_fake_fn fn, void *arg, uint16_t port, unsigned extra);
/* Ends all calls. */
void		 rpc_fake_free(struct rpc_fake *fake);
uint16_t	 rpc_fake_port(const struct rpc_fake *fake);
/* Calls that came so far, and those of them that have not ended. */
unsigned	 rpc_fake_calls(struct rpc_fake *fake);
unsigned	 rpc_fake_live(struct rpc_fake *fake);

#endif
