/* SPDX-License-Identifier: MIT
 *
 * rpc.h - the gRPC face: the services of p2p.proto, health and reflection, by the C core.
 *
 * p2pd-grpc(7) is held against rpc_method() by a test.
 */
#ifndef P2PD_RPC_H
#define P2PD_RPC_H

#include "config.h"
#include "service.h"

struct rpc;

/* Settles how the library waits for its sockets.  Once, before it is used and while there is one thread. */
void		 rpc_prepare(void);

/* Starts listening on every [grpc] listen address; NULL and err (which names the address).
 * With no address the face is off, and so it is, with a word in the log, where the library cannot be loaded: it answers an
 * object that can only be freed.
 * Borrows the service.  Mind, before the loop runs or in it. */
struct rpc	*rpc_new(struct service *service, struct config *config, struct error *err);
/* The ports that were bound, in the order of [grpc] listen (port 0 became a real one). */
size_t		 rpc_ports(const struct rpc *rpc, uint16_t *ports, size_t max);
/* Stops listening, ends what streams, waits for the threads.  loop_refuse_calls() was called
 * before.  Mind. */
void		 rpc_free(struct rpc *rpc);

/* The table, for documents and tests. */
struct rpc_method_info {
	const char *path;	/* "/p2p.v1.Files/Stat" */
	const char *help;
};
bool		 rpc_method(size_t index, struct rpc_method_info *ret);

#endif
