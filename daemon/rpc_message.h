/* SPDX-License-Identifier: MIT
 *
 * rpc_message.h - protobuf messages in the library's byte buffers.  Any thread.
 */
#ifndef P2PD_RPC_MESSAGE_H
#define P2PD_RPC_MESSAGE_H

#include <grpc/grpc.h>
#include <protobuf-c/protobuf-c.h>
#include <stddef.h>

#include "error.h"
#include "node.h"

/* Gives a message: protobuf_c_message_free_unpacked().  P2P_BAD_REQUEST for what is none, and for NULL; P2P_TOO_LARGE over
 * `max` bytes, before anything is allocated.  Borrows the buffer. */
int	rpc_message_unpack(grpc_byte_buffer *bytes, const ProtobufCMessageDescriptor *type, size_t max,
	    ProtobufCMessage **ret, struct error *err);
/* These give: grpc_byte_buffer_destroy(). */
grpc_byte_buffer *rpc_message_pack(const ProtobufCMessage *message);
/* A message whose one field `field` (its number, of type bytes) is `data`, which is not copied.  Takes the slice. */
grpc_byte_buffer *rpc_message_pack_bytes(unsigned field, grpc_slice data);

/* The host of "ipv4:192.0.2.1:5" or "ipv6:%5B2001:db8::1%5D:5", without brackets; "" if it is something else. */
void	rpc_message_host(const char *peer, char ret_host[NODE_ADDRESS_SIZE]);

#endif
