/* SPDX-License-Identifier: MIT
 *
 * rpc_message.c - protobuf messages in the library's byte buffers.
 *
 * The library hands bytes over as a list of slices, protobuf-c wants them in one piece and
 * copies what it keeps.  File bytes on their way out are not copied: a message with one field of
 * bytes is a few bytes of header before them.
 */
#include "rpc_message.h"

#include <string.h>
#include <strings.h>

#include "rpc_library.h"
#include "wire_pb.h"

#define VARINT_MAX 10 /* bytes */

int
rpc_message_unpack(grpc_byte_buffer *bytes, const ProtobufCMessageDescriptor *type, size_t max,
		   ProtobufCMessage **ret, struct error *err)
{
	grpc_byte_buffer_reader reader;

	if (bytes == NULL)
		return error_set(err, P2P_BAD_REQUEST, "there is no %s", type->name);
	size_t size = grpc.byte_buffer_length(bytes);
	if (size > max)
		return error_set(err, P2P_TOO_LARGE,
				 "the %s has %zu bytes, and at most %zu are taken", type->name,
				 size, max);
	if (!grpc.byte_buffer_reader_init(&reader, bytes))
		return error_set(err, P2P_BAD_REQUEST, "the %s cannot be read", type->name);
	grpc_slice slice = grpc.byte_buffer_reader_readall(&reader);
	struct error why = { 0 };
	ProtobufCMessage *message =
	    wire_pb_unpack(type, GRPC_SLICE_START_PTR(slice), GRPC_SLICE_LENGTH(slice), &why);
	grpc.slice_unref(slice);
	grpc.byte_buffer_reader_destroy(&reader);
	if (message == NULL)
		return error_set(err, why.code, "%s", why.text);
	*ret = message;
	return P2P_OK;
}

/* Takes the slices. */
static grpc_byte_buffer *
buffer_of(grpc_slice *slices, size_t count)
{
	grpc_byte_buffer *buffer = grpc.raw_byte_buffer_create(slices, count);

	for (size_t i = 0; i < count; i++)
		grpc.slice_unref(slices[i]);
	return buffer;
}

grpc_byte_buffer *
rpc_message_pack(const ProtobufCMessage *message)
{
	grpc_slice slice = grpc.slice_malloc(protobuf_c_message_get_packed_size(message));

	protobuf_c_message_pack(message, GRPC_SLICE_START_PTR(slice));
	return buffer_of(&slice, 1);
}

static size_t
put_varint(uint8_t *out, uint64_t value)
{
	size_t len = 0;

	for (; value >= 0x80; value >>= 7)
		out[len++] = (uint8_t)(value | 0x80);
	out[len++] = (uint8_t)value;
	return len;
}

grpc_byte_buffer *
rpc_message_pack_bytes(unsigned field, grpc_slice data)
{
	enum { LENGTH_DELIMITED = 2 };
	uint8_t head[2 * VARINT_MAX];
	size_t len = put_varint(head, (uint64_t)field << 3 | LENGTH_DELIMITED);

	len += put_varint(head + len, GRPC_SLICE_LENGTH(data));
	grpc_slice slices[] = { grpc.slice_from_copied_buffer((const char *)head, len), data };
	return buffer_of(slices, 2);
}

/* The brackets may be escaped. */
static size_t
bracket_len(const char *at)
{
	if (*at == '[' || *at == ']')
		return 1;
	return strncasecmp(at, "%5B", 3) == 0 || strncasecmp(at, "%5D", 3) == 0 ? 3 : 0;
}

void
rpc_message_host(const char *peer, char ret_host[NODE_ADDRESS_SIZE])
{
	bool is_ip = strncmp(peer, "ipv4:", 5) == 0 || strncmp(peer, "ipv6:", 5) == 0;
	const char *at = is_ip ? peer + 5 : "", *port = strrchr(at, ':');
	size_t len = 0;

	while (port != NULL && at < port && len < NODE_ADDRESS_SIZE - 1) {
		size_t skipped = bracket_len(at);
		if (skipped == 0)
			ret_host[len++] = *at++;
		at += skipped;
	}
	ret_host[len] = '\0';
}
