/* SPDX-License-Identifier: MIT
 *
 * wire_pb_unpack.c - messages from a wire, looked through before they are unpacked.
 *
 * protobuf-c is careful with lengths and knows nothing of limits: it makes a struct for every
 * message of a repeated field, and two bytes on the wire are enough for one, so that eight
 * mebibytes of empty changes would be half a gibibyte in memory; and of a packed field one byte
 * becomes eight.  Nor does it check that strings are UTF-8, and it ends them at a NUL that stands
 * within, so that a name that was checked here would not be the name that was sent.
 *
 * So the bytes are walked once beforehand, beside the descriptor: values are counted, strings are
 * read.  The walk allocates nothing, and goes no deeper than the schema, in which no message
 * holds itself.  What it lets through protobuf-c may still refuse.
 */
#include <stdlib.h>
#include <string.h>

#include "mem.h"
#include "name.h"
#include "wire_pb.h"

#define DEPTH_MAX   16 /* messages within each other; the schema has 3 */
#define VARINT_MAX  10 /* bytes */
#define FIELD_SHIFT 3  /* a tag is the field's number and, below, the form of what follows */

enum form { FORM_VARINT, FORM_64, FORM_BYTES, FORM_GROUP, FORM_GROUP_END, FORM_32 };

/* What is being walked. */
struct walk {
	const uint8_t *at, *end; /* what is left of the message at hand */
	unsigned values;         /* so far, of all */
	unsigned depth;
	struct error *err;
};

static int
malformed(struct walk *walk)
{
	return error_set(walk->err, P2P_BAD_REQUEST, "the message is no well-formed protobuf");
}

static bool
take_varint(struct walk *walk, uint64_t *ret)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < VARINT_MAX && walk->at < walk->end; i++) {
		uint8_t byte = *walk->at++;

		value |= (uint64_t)(byte & 0x7f) << (7 * i);
		if (byte < 0x80) {
			*ret = value;
			return true;
		}
	}
	return false;
}

static bool
skip(struct walk *walk, uint64_t len)
{
	if (len > (uint64_t)(walk->end - walk->at))
		return false;
	walk->at += len;
	return true;
}

static int
check_string(struct walk *walk, const char *field, const uint8_t *data, size_t len)
{
	const char *text = (const char *)data;

	if (name_utf8_span(text, len) != len)
		return error_set(walk->err, P2P_BAD_REQUEST, "%s: not valid UTF-8", field);
	if (len > 0 && memchr(text, '\0', len) != NULL)
		return error_set(walk->err, P2P_BAD_REQUEST, "%s: a NUL is in it", field);
	return P2P_OK;
}

/* Each value ends with a byte whose highest bit is clear. */
static unsigned
count_packed(const uint8_t *data, size_t len)
{
	unsigned count = 0;

	for (size_t i = 0; i < len; i++)
		count += data[i] < 0x80;
	return count;
}

static int
count_values(struct walk *walk, unsigned count)
{
	walk->values += count;
	if (walk->values > WIRE_PB_VALUES_MAX)
		return error_set(walk->err, P2P_BAD_REQUEST, "the message has more than %d values",
				 WIRE_PB_VALUES_MAX);
	return P2P_OK;
}

static int walk_message(struct walk *walk, const ProtobufCMessageDescriptor *descriptor);

/* The `len` bytes behind walk->at, which are a message. */
static int
walk_part(struct walk *walk, const ProtobufCMessageDescriptor *descriptor, size_t len)
{
	const uint8_t *end = walk->end;

	if (walk->depth == DEPTH_MAX)
		return error_set(walk->err, P2P_BAD_REQUEST, "messages are nested deeper than %d",
				 DEPTH_MAX);
	walk->depth++;
	walk->end = walk->at + len;
	int code = walk_message(walk, descriptor);
	walk->end = end;
	walk->depth--;
	return code;
}

/* A value of the form "length, then bytes". `field` is NULL if it is unknown. */
static int
walk_bytes(struct walk *walk, const ProtobufCFieldDescriptor *field)
{
	uint64_t len;

	if (!take_varint(walk, &len) || len > (uint64_t)(walk->end - walk->at))
		return malformed(walk);
	if (field != NULL && field->type == PROTOBUF_C_TYPE_MESSAGE)
		return walk_part(walk, field->descriptor, (size_t)len);

	const uint8_t *data = walk->at;
	walk->at += len;
	if (field == NULL || field->type == PROTOBUF_C_TYPE_BYTES)
		return P2P_OK;
	if (field->type == PROTOBUF_C_TYPE_STRING)
		return check_string(walk, field->name, data, (size_t)len);
	/* Of a packed field: all of them are of varints. */
	return count_values(walk, count_packed(data, (size_t)len));
}

static int
walk_value(struct walk *walk, const ProtobufCFieldDescriptor *field, enum form form)
{
	uint64_t ignored;

	switch (form) {
	case FORM_VARINT:
		return take_varint(walk, &ignored) ? P2P_OK : malformed(walk);
	case FORM_64:
		return skip(walk, sizeof(uint64_t)) ? P2P_OK : malformed(walk);
	case FORM_32:
		return skip(walk, sizeof(uint32_t)) ? P2P_OK : malformed(walk);
	case FORM_BYTES:
		return walk_bytes(walk, field);
	case FORM_GROUP:
	case FORM_GROUP_END:
		break;
	}
	return malformed(walk);
}

static int
walk_message(struct walk *walk, const ProtobufCMessageDescriptor *descriptor)
{
	int code = P2P_OK;

	while (walk->at < walk->end && code == P2P_OK) {
		uint64_t tag;

		if (!take_varint(walk, &tag) || tag > UINT32_MAX || tag >> FIELD_SHIFT == 0)
			return malformed(walk);
		code = count_values(walk, 1);
		if (code != P2P_OK)
			return code;

		const ProtobufCFieldDescriptor *field = protobuf_c_message_descriptor_get_field(
		    descriptor, (unsigned)(tag >> FIELD_SHIFT));
		code = walk_value(walk, field, (enum form)(tag & ((1u << FIELD_SHIFT) - 1)));
	}
	return code;
}

/* --- memory --- */

static void *
take_memory(void *unused, size_t bytes)
{
	(void)unused;
	return mem_alloc(bytes);
}

static void
give_memory(void *unused, void *data)
{
	(void)unused;
	free(data);
}

ProtobufCMessage *
wire_pb_unpack(const ProtobufCMessageDescriptor *descriptor, const void *data, size_t len,
	       struct error *err)
{
	ProtobufCAllocator memory = { take_memory, give_memory, NULL };
	struct walk walk = { .at = data, .end = data, .err = err };

	if (len > WIRE_PB_MAX) {
		error_set(err, P2P_TOO_LARGE, "the message is longer than %u bytes", WIRE_PB_MAX);
		return NULL;
	}
	/* NULL + 0 for an empty message is nothing to compute with. */
	if (len > 0)
		walk.end += len;
	if (walk_message(&walk, descriptor) != P2P_OK)
		return NULL;

	ProtobufCMessage *message = protobuf_c_message_unpack(descriptor, &memory, len, data);
	if (message == NULL)
		malformed(&walk);
	return message;
}
