/* SPDX-License-Identifier: MIT
 *
 * rpc_client_names.h - from "host:port" to what a gRPC channel connects to, for rpc_client.c alone.  Mind's thread.
 */
#ifndef P2PD_RPC_CLIENT_NAMES_H
#define P2PD_RPC_CLIENT_NAMES_H

#include <stdbool.h>

#include "address_guard.h"
#include "loop.h"
#include "node.h"
#include "pool.h"

#define RPC_NAMES_ADDRESSES_MAX	4	/* of one host that are tried */
#define RPC_TARGET_SIZE		384	/* bytes of "ipv6:[...]:port,[...]:port", with NUL */

struct rpc_names;
struct rpc_name;

/* What a host turned out to be. */
struct rpc_target {
	char text[RPC_TARGET_SIZE];	/* literal addresses only: nothing is looked up any more */
	unsigned count;			/* of addresses */
};

/* Who waits for an answer; part of something that lives until it came. */
struct rpc_names_asker {
	/* Called once, maybe before rpc_names_ask() returns; asks for and leaves nothing itself.  `target` is NULL if `code` is not
	 * P2P_OK; `err` says why. */
	void (*fn)(struct rpc_names_asker *asker, int code, const struct error *err,
	    const struct rpc_target *target);
	const struct address_guard *guard;	/* address_is_refused() */

	/* Of rpc_client_names.c. */
	struct rpc_name *name;		/* NULL: it does not wait */
	struct rpc_names_asker *next, *prev;	/* all that wait, the oldest first */
	uint64_t until_ms;
	char port[8];
};

/* Borrows loop and pool. */
struct rpc_names *rpc_names_new(struct loop *loop, struct pool *pool);
/* Answers those who wait with P2P_SHUTTING_DOWN.  A look-up under way ends by itself. */
void	rpc_names_free(struct rpc_names *names);
/* `authority` is the part of a checked address behind "://".  P2P_UNREACHABLE if there is no such host or it is refused,
 * P2P_TIMEOUT after wait_ms, the same for all who ask. */
void	rpc_names_ask(struct rpc_names *names, struct rpc_names_asker *asker, const char *authority,
	    unsigned wait_ms);
/* It wants no answer any more; nothing if it has one. */
void	rpc_names_leave(struct rpc_names *names, struct rpc_names_asker *asker);

#endif
