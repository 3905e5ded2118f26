/* SPDX-License-Identifier: MIT
 *
 * rpc_reflection.c - tells generic clients what services are here and how to call them.
 *
 * protoc describes our .proto files when the daemon is built: rpc_descriptors[] is a packed
 * google.protobuf.FileDescriptorSet of all of them, and what a client wants is one of its files, as
 * it lies there.  To find the file that defines a symbol the set is walked: a FileDescriptorProto
 * holds messages, enums and services, each with its name and what it holds in turn, so a table of
 * "which field of what holds what" and one recursive function are all of it.  There are some
 * hundred names in a few kilobytes, and who asks is a person with a tool: no index.
 *
 * Our files import nothing and have no extensions, so one file is the whole of an answer.  A
 * question that has no answer gets an error message in its place, and the stream goes on.  The same
 * function serves v1alpha and v1: their messages are the same on the wire.  It keeps nothing from
 * one question to the next.
 */
#include "rpc_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"
#include "reflection.pb-c.h"

typedef Grpc__Reflection__V1alpha__ServerReflectionRequest Request;
typedef Grpc__Reflection__V1alpha__ServerReflectionResponse Response;
#define ASKED(what) GRPC__REFLECTION__V1ALPHA__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_##what
#define ANSWERED(what) \
	GRPC__REFLECTION__V1ALPHA__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_##what

/* Made of the .proto files when building. */
extern const unsigned char rpc_descriptors[];
extern const size_t rpc_descriptors_len;

/* --- the descriptors: protobuf, as protoc packed it --- */

static uint64_t
take_varint(ProtobufCBinaryData *rest)
{
	uint64_t value = 0;

	for (unsigned shift = 0;; shift += 7) {
		assert(rest->len > 0 && shift < 64);
		uint8_t byte = *rest->data++;
		rest->len--;
		value |= (uint64_t)(byte & 0x7f) << shift;
		if (byte < 0x80)
			return value;
	}
}

/* Takes the next field off a message; one that is a number has no bytes.  False at the end. */
static bool
take_field(ProtobufCBinaryData *rest, unsigned *ret_field, ProtobufCBinaryData *ret_bytes)
{
	if (rest->len == 0)
		return false;
	uint64_t tag = take_varint(rest);
	uint64_t value = take_varint(rest);

	*ret_field = (unsigned)(tag >> 3);
	*ret_bytes = (ProtobufCBinaryData){ .data = rest->data };
	if ((tag & 7) == 0) /* a number */
		return true;
	assert((tag & 7) == 2 && value <= rest->len);
	ret_bytes->len = value;
	rest->data += value;
	rest->len -= value;
	return true;
}

static ProtobufCBinaryData
field_of(ProtobufCBinaryData message, unsigned wanted)
{
	ProtobufCBinaryData bytes;
	unsigned field;

	while (take_field(&message, &field, &bytes))
		if (field == wanted)
			return bytes;
	return (ProtobufCBinaryData){ 0 };
}

/* --- what they define --- */

enum kind { NOTHING, FILE_ITSELF, MESSAGE, ENUM, SERVICE, MEMBER };

/* google/protobuf/descriptor.proto: the fields that hold named things. */
static const struct {
	enum kind holder;
	unsigned field;
	enum kind kind;
} parts[] = {
	{ FILE_ITSELF, 4, MESSAGE }, { FILE_ITSELF, 5, ENUM }, { FILE_ITSELF, 6, SERVICE },
	{ MESSAGE, 2, MEMBER },                                                        /* field */
	{ MESSAGE, 3, MESSAGE },     { MESSAGE, 4, ENUM },     { MESSAGE, 8, MEMBER }, /* oneof */
	{ ENUM, 2, MEMBER },                                                           /* value */
	{ SERVICE, 2, MEMBER },                                                        /* method */
};
enum { SET_FILE = 1, FILE_NAME = 1, FILE_PACKAGE = 2, NAME = 1 };

static enum kind
part_kind(enum kind holder, unsigned field)
{
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		if (parts[i].holder == holder && parts[i].field == field)
			return parts[i].kind;
	return NOTHING;
}

/* What follows `name` and a dot in a symbol, "" if the symbol ends with it; NULL if it begins
 * otherwise. */
static const char *
behind(const char *symbol, ProtobufCBinaryData name)
{
	if (strncmp(symbol, (const char *)name.data, name.len) != 0)
		return NULL;
	symbol += name.len;
	if (*symbol == '\0')
		return symbol;
	return symbol[0] == '.' && symbol[1] != '\0' ? symbol + 1 : NULL;
}

/* What `symbol` is, if it is `thing` or in it; names are relative to what holds the thing. */
static enum kind
look_up(ProtobufCBinaryData thing, enum kind kind, const char *symbol)
{
	const char *inside =
	    behind(symbol, field_of(thing, kind == FILE_ITSELF ? FILE_PACKAGE : NAME));
	ProtobufCBinaryData part;
	unsigned field;

	if (inside != NULL && *inside == '\0')
		return kind == FILE_ITSELF ? NOTHING : kind;
	if (kind == ENUM) /* its values stand beside it */
		inside = symbol;
	while (inside != NULL && take_field(&thing, &field, &part)) {
		enum kind found = part_kind(kind, field);
		if (found != NOTHING)
			found = look_up(part, found, inside);
		if (found != NOTHING)
			return found;
	}
	return NOTHING;
}

/* Our files, one after the other; they are not written to, though the type allows it. */
static ProtobufCBinaryData
all_files(void)
{
	return (ProtobufCBinaryData){ .len = rpc_descriptors_len,
				      .data = (uint8_t *)rpc_descriptors };
}

static enum kind
find_symbol(const char *symbol, ProtobufCBinaryData *ret_file)
{
	ProtobufCBinaryData rest = all_files();
	unsigned field;

	while (take_field(&rest, &field, ret_file)) {
		assert(field == SET_FILE);
		enum kind kind = look_up(*ret_file, FILE_ITSELF, symbol);
		if (kind != NOTHING)
			return kind;
	}
	return NOTHING;
}

static bool
find_file(const char *path, ProtobufCBinaryData *ret_file)
{
	ProtobufCBinaryData rest = all_files();
	unsigned field;

	while (take_field(&rest, &field, ret_file)) {
		ProtobufCBinaryData name = field_of(*ret_file, FILE_NAME);
		if (strlen(path) == name.len && memcmp(path, name.data, name.len) == 0)
			return true;
	}
	return false;
}

/* --- answers --- */

static void
answer_error(struct rpc_call *call, Response *response, int code, const char *why)
{
	Grpc__Reflection__V1alpha__ErrorResponse error =
	    GRPC__REFLECTION__V1ALPHA__ERROR_RESPONSE__INIT;
	struct error err;

	error_set(&err, code, "%s", why);
	error.error_code = wire_pb_grpc_status(code);
	error.error_message = wire_pb_status(&err);
	response->message_response_case = ANSWERED(ERROR_RESPONSE);
	response->error_response = &error;
	rpc_reply(call, &response->base);
	free(error.error_message);
}

static void
answer_file(struct rpc_call *call, Response *response, ProtobufCBinaryData file)
{
	Grpc__Reflection__V1alpha__FileDescriptorResponse files =
	    GRPC__REFLECTION__V1ALPHA__FILE_DESCRIPTOR_RESPONSE__INIT;

	files.n_file_descriptor_proto = 1;
	files.file_descriptor_proto = &file;
	response->message_response_case = ANSWERED(FILE_DESCRIPTOR_RESPONSE);
	response->file_descriptor_response = &files;
	rpc_reply(call, &response->base);
}

static void
answer_no_extensions(struct rpc_call *call, Response *response, char *type)
{
	Grpc__Reflection__V1alpha__ExtensionNumberResponse numbers =
	    GRPC__REFLECTION__V1ALPHA__EXTENSION_NUMBER_RESPONSE__INIT;

	numbers.base_type_name = type;
	response->message_response_case = ANSWERED(ALL_EXTENSION_NUMBERS_RESPONSE);
	response->all_extension_numbers_response = &numbers;
	rpc_reply(call, &response->base);
}

/* The service in "/service/method": its length, the first slash left out. */
static size_t
service_len(const char *path)
{
	return strcspn(path + 1, "/");
}

static bool
is_listed_before(size_t index)
{
	const char *path = rpc_methods[index].path;

	for (size_t i = 0; i < index; i++)
		if (strncmp(rpc_methods[i].path, path, 1 + service_len(path) + 1) == 0)
			return true;
	return false;
}

static void
answer_services(struct rpc_call *call, Response *response)
{
	Grpc__Reflection__V1alpha__ListServiceResponse list =
	    GRPC__REFLECTION__V1ALPHA__LIST_SERVICE_RESPONSE__INIT;
	Grpc__Reflection__V1alpha__ServiceResponse *services =
	    mem_zero(rpc_method_count, sizeof(*services));

	list.service = mem_zero(rpc_method_count, sizeof(*list.service));
	for (size_t i = 0; i < rpc_method_count; i++) {
		const char *path = rpc_methods[i].path;
		if (is_listed_before(i))
			continue;
		grpc__reflection__v1alpha__service_response__init(&services[i]);
		services[i].name = mem_format("%.*s", (int)service_len(path), path + 1);
		list.service[list.n_service++] = &services[i];
	}
	response->message_response_case = ANSWERED(LIST_SERVICES_RESPONSE);
	response->list_services_response = &list;
	rpc_reply(call, &response->base);
	for (size_t i = 0; i < list.n_service; i++)
		free(list.service[i]->name);
	free(list.service);
	free(services);
}

static void
answer(struct rpc_call *call, const Request *request, Response *response)
{
	ProtobufCBinaryData file;

	switch (request->message_request_case) {
	case ASKED(FILE_BY_FILENAME):
		if (!find_file(request->file_by_filename, &file))
			break;
		answer_file(call, response, file);
		return;
	case ASKED(FILE_CONTAINING_SYMBOL):
		if (find_symbol(request->file_containing_symbol, &file) == NOTHING)
			break;
		answer_file(call, response, file);
		return;
	case ASKED(ALL_EXTENSION_NUMBERS_OF_TYPE):
		if (find_symbol(request->all_extension_numbers_of_type, &file) != MESSAGE)
			break;
		answer_no_extensions(call, response, request->all_extension_numbers_of_type);
		return;
	case ASKED(FILE_CONTAINING_EXTENSION): /* there is none */
		break;
	case ASKED(LIST_SERVICES):
		answer_services(call, response);
		return;
	default: /* also what a later version of the protocol asks */
		answer_error(call, response, P2P_BAD_REQUEST, "a question of no known kind");
		return;
	}
	answer_error(call, response, P2P_NOT_FOUND, "nothing of that name is described here");
}

RPC_TAKE(rpc_reflect)
{
	const Request *request = (const Request *)message;
	Response response = GRPC__REFLECTION__V1ALPHA__SERVER_REFLECTION_RESPONSE__INIT;

	(void)err;
	if (request == NULL)
		return RPC_END;
	response.valid_host = request->host;
	response.original_request = (Request *)request; /* packed, not written to */
	answer(call, request, &response);
	return RPC_MORE;
}
