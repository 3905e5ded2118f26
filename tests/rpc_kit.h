/* SPDX-License-Identifier: MIT
 *
 * rpc_kit.h - a small gRPC client for tests: one connection, calls that wait for each step.
 *
 * One thread at a time uses a call, and a connection carries up to six threads' waiting (the library's limit of pluckers).  Between
 * rpc_kit_connect() and rpc_kit_close() only; the library is started and stopped with them.
 */
#ifndef P2PD_RPC_KIT_H
#define P2PD_RPC_KIT_H

#include <grpc/grpc.h>
#include <protobuf-c/protobuf-c.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define RPC_KIT_WAIT_MS 10000 /* the deadline of a call that has no other */

struct rpc_kit {
	grpc_completion_queue *queue;
	grpc_channel *channel;
};

/* How a call ended. */
struct rpc_kit_status {
	int code; /* a grpc_status_code */
	char details[600];
};

struct rpc_kit_call {
	struct rpc_kit *kit;
	grpc_call *call;
	grpc_metadata_array initial, trailing;
	grpc_status_code status;
	grpc_slice details;
	bool has_initial, has_ended;
};

/* To 127.0.0.1, by a connection that is shared with no other kit. */
void	rpc_kit_connect(struct rpc_kit *kit, uint16_t port);
void	rpc_kit_close(struct rpc_kit *kit);

/* A whole unary call; deadline_ms 0: RPC_KIT_WAIT_MS.  Gives the answer, to be freed by protobuf_c_message_free_unpacked(), or
 * NULL if the status is not OK.  `type` NULL: the answer is dropped. */
ProtobufCMessage *rpc_kit_unary(struct rpc_kit *kit, const char *path, const ProtobufCMessage *request,
	    const ProtobufCMessageDescriptor *type, unsigned deadline_ms, struct rpc_kit_status *ret);

/* Any other shape: open, send and read as one likes, finish. */
void	rpc_kit_open(struct rpc_kit_call *call, struct rpc_kit *kit, const char *path, unsigned deadline_ms);
/* False if the call is over. */
bool	rpc_kit_send(struct rpc_kit_call *call, const ProtobufCMessage *message);
bool	rpc_kit_send_raw(struct rpc_kit_call *call, const void *data, size_t len);
/* No more messages will be sent. */
void	rpc_kit_send_end(struct rpc_kit_call *call);
/* Waits for the headers, before the first read: a stream that has nothing to say yet listens then. */
void	rpc_kit_await_headers(struct rpc_kit_call *call);
/* The next message, NULL at the end.  Gives.  `type` NULL: it is dropped, and the answer is NULL. */
ProtobufCMessage *rpc_kit_read(struct rpc_kit_call *call, const ProtobufCMessageDescriptor *type);
/* Any thread. */
void	rpc_kit_cancel(struct rpc_kit_call *call);
/* Waits for the status, and frees. */
void	rpc_kit_finish(struct rpc_kit_call *call, struct rpc_kit_status *ret);

#endif
