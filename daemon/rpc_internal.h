/* SPDX-License-Identifier: MIT
 *
 * rpc_internal.h - what the files of the gRPC face share.
 *
 * rpc.c	    the face: listeners, its thread, the self-probe that starts it anew, the way down
 * rpc_call.c	    one call from its request to its status: queue tags, batches, who may run when
 * rpc_methods.c    the table
 * rpc_peers.c, rpc_files.c, rpc_transfer.c, rpc_events.c, rpc_health.c, rpc_reflection.c   what the methods do
 *
 * A method is a row of functions and knows nothing of batches and tags.  Its steps are called one after the
 * other, never two at once, on the face's own thread, or, if they wait for a disk, on the pool:
 *
 *   unary		    take(request) replies and answers RPC_END
 *   server stream	    take(request) answers RPC_MORE; then next() again and again, each time after what it
 *			    replied before has left: RPC_MORE with a reply, RPC_WAIT (nothing now: somebody will
 *			    rpc_wake()), RPC_END
 *   client stream	    take(message) answers RPC_MORE for each; take(NULL) at the end replies, RPC_END
 *   both		    take(message) replies, RPC_MORE; take(NULL) answers RPC_END
 *
 * Any step may answer an error code instead, which becomes the status; once a call is over (the client cancelled,
 * left, its deadline passed, we stop) no step is begun, and end() comes soon.
 */
#ifndef P2PD_RPC_INTERNAL_H
#define P2PD_RPC_INTERNAL_H

#include <grpc/grpc.h>
#include <protobuf-c/protobuf-c.h>
#include <stdatomic.h>

#include "rpc.h"
#include "wire_pb.h"

#define RPC_MESSAGE_MAX	((1u << 20) + (64u << 10))	/* bytes of one message that a client may send */
#define RPC_BLOCK	(256u << 10)			/* bytes of file in one message that we send */
#define RPC_STREAMS_MAX	128				/* calls at once on one connection */
#define RPC_HEADERS_MAX	(16u << 10)			/* bytes of the headers of one call */
#define RPC_MEMORY_MAX	(64u << 20)			/* bytes that the library may hold for all connections */

/* What a step answers if it is no error. */
enum { RPC_END = P2P_OK, RPC_MORE = 1, RPC_WAIT = 2 };

enum rpc_shape { RPC_UNARY, RPC_SERVER_STREAM, RPC_CLIENT_STREAM, RPC_BOTH_STREAM };

struct rpc_call;

struct rpc_method {
	const char *path;		/* "/p2p.v1.Files/Stat" */
	const char *help;		/* in one sentence */
	enum rpc_shape shape;
	bool waits;			/* its steps wait for a disk: they run on the pool */
	const ProtobufCMessageDescriptor *request;
	int (*take)(struct rpc_call *call, const ProtobufCMessage *message, struct error *err);
	int (*next)(struct rpc_call *call, struct error *err);	/* server streams */
	void (*end)(struct rpc_call *call);	/* frees call->state; after the last step, on any thread; NULL: nothing to do */
};

/* The rows, for all files of the face. */
extern const struct rpc_method rpc_methods[];
extern const size_t rpc_method_count;

/* What a method may see of its call.  The rest of a call is rpc_call.c's. */
struct rpc_call_head {
	struct rpc *rpc;
	struct service *service;
	const struct rpc_method *method;
	void *state;			/* the method's own; NULL at first */
	atomic_bool is_over;		/* what a long step looks at */
};
/* A call begins with its head. */
static inline struct rpc_call_head *
rpc_head(struct rpc_call *call)
{
	return (struct rpc_call_head *)call;
}

/* --- inside a step: at most one reply, sent when the step answers --- */

/* Packs and keeps a reply. */
void	rpc_reply(struct rpc_call *call, const ProtobufCMessage *message);
/* The same for a message whose one field `field` (its number, of type bytes) is `data`: no copy is made.  Takes the slice. */
void	rpc_reply_bytes(struct rpc_call *call, unsigned field, grpc_slice data);
/* The host from which the call came, a literal address without brackets; "" if it cannot be told. */
void	rpc_from_host(struct rpc_call *call, char ret_host[NODE_ADDRESS_SIZE]);

/* --- from anywhere --- */

/* A call may be kept by others (the mind, a fetch stream) beyond its steps, for rpc_wake(). */
struct rpc_call *rpc_call_ref(struct rpc_call *call);
void	rpc_call_unref(struct rpc_call *call);
/* There may be something to say: next() is called soon if it answered RPC_WAIT, or after the step that runs now.  Any thread. */
void	rpc_wake(struct rpc_call *call);

/* --- rpc_call.c for rpc.c --- */

/* One life of the listener: a restart makes another. */
struct rpc_server {
	struct rpc *rpc;
	struct service *service;
	grpc_server *server;
	grpc_completion_queue *queue;
	void **registered;		/* of grpc_server_register_method(), by row */
	atomic_size_t calls;		/* that live */
	atomic_bool is_stopping;
};
/* Registers the table's methods; before the server starts. */
void	rpc_calls_register(struct rpc_server *server);
/* Asks for the first call of each method, and of unknown ones. */
void	rpc_calls_expect(struct rpc_server *server);
/* Runs the steps of one event of the queue. */
void	rpc_calls_step(const grpc_event *event);

#endif
