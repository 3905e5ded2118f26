/* SPDX-License-Identifier: MIT
 *
 * rpc_client_answer.c - what an answer means.
 *
 * All of this but the telling runs on a lane's thread, so that the mind only sees finished things:
 * messages are unpacked here, and file bytes go to the sink.
 *
 * Nothing of an answer to read() reaches the sink before a File of our content came.  Its bytes are
 * fed as they lie in the library's slices (rpc_client_download.c).  All other answers are one
 * message, gathered and unpacked.
 *
 * A status is read by its slug, and without one by its number.  Codes that speak of the answering
 * daemon's own disk, end or crowd would mislead if told of ours: they become P2P_UNREACHABLE.
 */
#include "rpc_client_answer.h"

#include <grpc/status.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"
#include "merkle.h"
#include "metrics.h"

/* Bytes of all messages of a read.  Twice what was asked for is room for framing of any sense. */
#define CARRIED_TIMES 2
#define CARRIED_EXTRA (2 * RPC_FILE_MAX)
#define FRAME_BYTES   5 /* before each message */

struct rpc_request *
rpc_request_of(struct rpc_exchange *exchange)
{
	return (struct rpc_request *)((char *)exchange - offsetof(struct rpc_request, exchange));
}

/* Statuses. */

/* True for codes that a daemon says of its own disk, its own end, its own caller, its own crowd. */
static bool
is_own_affair(int code)
{
	return code == P2P_SHUTTING_DOWN || code == P2P_CANCELLED || code == P2P_NO_SPACE ||
	       code == P2P_IO || code == P2P_TOO_MANY || code == P2P_OK;
}

/* The library's own word for a message over its limit, which has no status of its own. */
static bool
is_too_large(const struct rpc_exchange *exchange)
{
	return exchange->status == GRPC_STATUS_RESOURCE_EXHAUSTED &&
	       strstr(exchange->details, "larger than max") != NULL;
}

/* A status that is not OK into the request's error. */
static void
take_refusal(struct rpc_exchange *exchange)
{
	struct error said = { .code = P2P_OK };
	bool has_slug = wire_pb_status_parse(exchange->details, &said);
	int code = has_slug ? said.code : wire_pb_code_of_status(exchange->status);

	if (is_own_affair(code))
		code = P2P_UNREACHABLE;
	if (!has_slug && is_too_large(exchange))
		code = P2P_BAD_ANSWER;
	if (has_slug)
		error_set(&exchange->error, code, "%s answered: %s", exchange->address, said.text);
	else if (exchange->details[0] != '\0')
		error_set(&exchange->error, code, "%s: %s", exchange->address, exchange->details);
	else
		error_set(&exchange->error, code, "%s answered with gRPC status %d",
			  exchange->address, exchange->status);
}

/* Small answers. */

static int
take_greeting(struct rpc_request *request, const ProtobufCMessage *message, struct error *err)
{
	int code = wire_pb_registered((const P2p__V1__RegisterResponse *)message, &request->theirs,
				      &request->known, &request->known_count, err);

	if (code == P2P_OK)
		code = node_check(&request->theirs, err);
	for (size_t i = 0; code == P2P_OK && i < request->known_count; i++)
		code = node_check(&request->known[i], err);
	return code;
}

static int
check_layer(const struct rpc_request *request, const P2p__V1__LayerResponse *message,
	    struct error *err)
{
	if (message->piece != request->piece_bytes)
		return error_set(err, P2P_BAD_ANSWER, "a layer of pieces of %u bytes",
				 message->piece);
	if (message->nodes.len != request->node_count * sizeof(struct digest))
		return error_set(err, P2P_BAD_ANSWER, "a layer of %zu nodes in %zu bytes",
				 request->node_count, message->nodes.len);
	return P2P_OK;
}

static int
take_held(struct rpc_request *request, const ProtobufCMessage *message, struct error *err)
{
	uint64_t size_bytes = request->content.size_bytes;
	uint64_t count = merkle_piece_count(size_bytes, merkle_piece_bytes(size_bytes));

	return wire_pb_answer((const P2p__V1__HaveResponse *)message, count, &request->held, err);
}

static const ProtobufCMessageDescriptor *
answer_descriptor(enum verb verb)
{
	switch (verb) {
	case GREET:
		return &p2p__v1__register_response__descriptor;
	case LEAVE:
		return &p2p__v1__leave_response__descriptor;
	case NOTIFY:
		return &p2p__v1__notify_response__descriptor;
	case PULL:
		return &p2p__v1__changes_response__descriptor;
	case LAYER:
		return &p2p__v1__layer_response__descriptor;
	case HAVE:
		return &p2p__v1__have_response__descriptor;
	case READ:
		return &p2p__v1__file__descriptor;
	case BATCH:
		return &p2p__v1__download_many_response__descriptor;
	case DIRECTORIES:
		return &p2p__v1__directories_response__descriptor;
	}
	return NULL;
}

/* What an unpacked answer says.  Takes the message if it is kept: *ret_is_kept. */
static int
take_message(struct rpc_request *request, ProtobufCMessage *message, bool *ret_is_kept,
	     struct error *err)
{
	int code = P2P_OK;

	switch (request->verb) {
	case GREET:
		return take_greeting(request, message, err);
	case PULL:
		return wire_pb_changes((P2p__V1__ChangesResponse *)message, &request->page, err);
	case LAYER:
		code = check_layer(request, (P2p__V1__LayerResponse *)message, err);
		if (code == P2P_OK) {
			request->layer = (P2p__V1__LayerResponse *)message;
			*ret_is_kept = true;
		}
		return code;
	case HAVE:
		return take_held(request, message, err);
	case DIRECTORIES:
		return wire_pb_directories((P2p__V1__DirectoriesResponse *)message,
					   request->directories, err);
	case LEAVE:
	case NOTIFY:
	case READ:
	case BATCH:
		return P2P_OK;
	}
	return P2P_OK;
}

static int
take_answer(struct rpc_request *request, struct error *err)
{
	const struct buf *answer = &request->answer;
	bool is_kept = false;

	if (request->verb == READ) {
		if (request->received == request->len)
			return P2P_OK;
		return error_set(err, P2P_BAD_ANSWER, "%" PRIu64 " bytes instead of %" PRIu64,
				 request->received, request->len);
	}
	if (request->verb == BATCH)
		return batch_end(request->batch, err);
	if (request->messages != 1)
		return error_set(err, P2P_BAD_ANSWER, "no message");
	ProtobufCMessage *message =
	    wire_pb_unpack(answer_descriptor(request->verb),
			   answer->data != NULL ? answer->data : "", answer->len, err);
	if (message == NULL)
		return P2P_BAD_ANSWER;
	int code = take_message(request, message, &is_kept, err);
	if (!is_kept)
		protobuf_c_message_free_unpacked(message, NULL);
	return code;
}

void
rpc_answer_judge(struct rpc_request *request)
{
	struct rpc_exchange *exchange = &request->exchange;
	struct error why = { .code = P2P_OK };

	if (exchange->error.code == P2P_OK && exchange->status != GRPC_STATUS_OK)
		take_refusal(exchange);
	else if (exchange->error.code == P2P_OK && take_answer(request, &why) != P2P_OK)
		error_set(&exchange->error, P2P_BAD_ANSWER, "%s answered what makes no sense: %s",
			  request->address, why.text);
}

/* The one message of a small answer. */
int
rpc_answer_gather(struct rpc_exchange *exchange, size_t len)
{
	struct rpc_request *request = rpc_request_of(exchange);
	const void *data;
	size_t step;

	if (++request->messages > 1)
		return error_set(&exchange->error, P2P_BAD_ANSWER,
				 "%s answered with more than one message", exchange->address);
	if (len > request->answer.max_bytes)
		return error_set(&exchange->error, P2P_BAD_ANSWER,
				 "%s answered with more than %zu bytes", exchange->address,
				 request->answer.max_bytes);
	while (rpc_exchange_next(exchange, &data, &step))
		buf_add(&request->answer, data, step);
	return P2P_OK;
}

/* Reads. */

static int
check_file(struct rpc_request *request)
{
	struct rpc_exchange *exchange = &request->exchange;
	const struct buf *answer = &request->answer;
	struct error why = { .code = P2P_OK };
	struct content_id content;
	P2p__V1__File *file = (P2p__V1__File *)wire_pb_unpack(
	    &p2p__v1__file__descriptor, answer->data != NULL ? answer->data : "", answer->len,
	    &why);

	if (file == NULL)
		return error_set(&exchange->error, P2P_BAD_ANSWER,
				 "%s answered what makes no sense: %s", request->address, why.text);
	int code = wire_pb_content(file->content, &content, &why);
	p2p__v1__file__free_unpacked(file, NULL);
	if (code != P2P_OK || !content_equal(&content, &request->content))
		return error_set(&exchange->error, P2P_BAD_ANSWER, "%s answered with another file",
				 request->address);
	request->has_file = true;
	return P2P_OK;
}

static int
take_file(void *arg, const void *data, size_t len, bool is_last)
{
	struct rpc_request *request = arg;

	if (request->has_file)
		return error_set(&request->exchange.error, P2P_BAD_ANSWER,
				 "%s answered with two files", request->address);
	if (len > 0)
		buf_add(&request->answer, data, len);
	if (request->answer.full)
		return error_set(&request->exchange.error, P2P_BAD_ANSWER,
				 "%s describes its file in more than %u bytes", request->address,
				 RPC_FILE_MAX);
	return is_last ? check_file(request) : P2P_OK;
}

static int
take_data(void *arg, const void *data, size_t len)
{
	struct rpc_request *request = arg;
	struct error *error = &request->exchange.error;

	if (!request->has_file)
		return error_set(error, P2P_BAD_ANSWER, "%s sent bytes and does not say of what",
				 request->address);
	if (len > request->len - request->received)
		return error_set(error, P2P_BAD_ANSWER, "%s sent more than %" PRIu64 " bytes",
				 request->address, request->len);

	struct error err = { .code = P2P_OK };
	int code = request->sink.feed(request->sink.arg, data, len, &err);
	if (code != P2P_OK) {
		*error = err;
		error->code = code; /* a sink that gave no text still ended it */
		return code;
	}
	request->received += len;
	transport_stall_count(&request->exchange.stall, len);
	metrics_add(METRIC_RPC_BYTES_IN, len);
	return P2P_OK;
}

/* Whatever is neither file nor data is skipped, but not for ever: it costs time that the stall's
 * clock does not see. */
static bool
is_padded(struct rpc_request *request, size_t len)
{
	request->carried += len + FRAME_BYTES;
	return request->carried > CARRIED_TIMES * request->len + CARRIED_EXTRA;
}

int
rpc_answer_feed(struct rpc_exchange *exchange, size_t len)
{
	static const struct download_parser_ops parser_ops = { .file = take_file,
							       .data = take_data };
	struct rpc_request *request = rpc_request_of(exchange);
	const void *data;
	size_t step;
	int code = P2P_OK;

	if (!request->is_amid && is_padded(request, len))
		return error_set(&exchange->error, P2P_BAD_ANSWER,
				 "%s sends mostly what is not of the file", request->address);
	if (!request->is_amid)
		download_parser_begin(&request->parser, &parser_ops, request, len);
	while (code == P2P_OK && rpc_exchange_next(exchange, &data, &step))
		code = download_parser_feed(&request->parser, data, step);
	request->is_amid = code == P2P_OK && exchange->is_paused;
	if (code == P2P_OK && !request->is_amid)
		code = download_parser_end(&request->parser);
	if (code != P2P_OK && exchange->error.code == P2P_OK)
		error_set(&exchange->error, code, "%s sent a malformed message", request->address);
	return code;
}

/* Batches. */

static int
take_contents(struct rpc_request *request, struct error *err)
{
	const struct buf *answer = &request->answer;
	uint64_t bytes = 0;
	P2p__V1__DownloadManyResponse *message = (P2p__V1__DownloadManyResponse *)wire_pb_unpack(
	    &p2p__v1__download_many_response__descriptor, answer->data != NULL ? answer->data : "",
	    answer->len, err);

	if (message == NULL)
		return P2P_BAD_ANSWER;
	int code = message->n_contents > 0 ? P2P_OK : error_set(err, P2P_BAD_ANSWER, "no content");
	for (size_t i = 0; i < message->n_contents && code == P2P_OK; i++) {
		const P2p__V1__SmallContent *content = message->contents[i];
		int given = content->status == GRPC_STATUS_OK ? P2P_OK : P2P_NOT_FOUND;

		bytes += content->data.len;
		code =
		    batch_take(request->batch, given, content->data.data, content->data.len, err);
	}
	p2p__v1__download_many_response__free_unpacked(message, NULL);
	transport_stall_count(&request->exchange.stall, bytes);
	metrics_add(METRIC_RPC_BYTES_IN, bytes);
	return code;
}

int
rpc_answer_batch(struct rpc_exchange *exchange, size_t len)
{
	struct rpc_request *request = rpc_request_of(exchange);
	struct error why = { .code = P2P_OK };
	const void *data;
	size_t step;

	if (!request->is_amid && (len > request->answer.max_bytes || is_padded(request, len)))
		return error_set(&exchange->error, P2P_BAD_ANSWER,
				 "%s sends mostly what is of no content", exchange->address);
	while (rpc_exchange_next(exchange, &data, &step))
		buf_add(&request->answer, data, step);
	request->is_amid = exchange->is_paused;
	if (request->is_amid)
		return P2P_OK;
	int code = take_contents(request, &why);
	buf_reset(&request->answer);
	if (code == P2P_OK)
		return P2P_OK;
	return error_set(&exchange->error, code, "%s: %s", request->address, why.text);
}

/* To who asked. */

void
rpc_answer_tell(struct rpc_request *request)
{
	const struct error *err = &request->exchange.error;
	bool is_ok = err->code == P2P_OK;
	struct transport_greeting greeting = {
		.theirs = &request->theirs,
		.known = request->known,
		.known_count = request->known_count,
		.round_trip_us = request->exchange.round_trip_us,
	};

	switch (request->verb) {
	case GREET:
		request->fn.greet(request->arg, err->code, err, is_ok ? &greeting : NULL);
		break;
	case PULL:
		request->fn.pull(request->arg, err->code, err, is_ok ? request->page : NULL);
		if (is_ok)
			request->page = NULL;
		break;
	case LAYER:
		request->fn.layer(request->arg, err->code, err,
				  is_ok ? (const struct digest *)(void *)request->layer->nodes.data
					: NULL,
				  is_ok ? request->node_count : 0);
		break;
	case HAVE:
		request->fn.have(request->arg, err->code, err, is_ok ? &request->held : NULL);
		if (is_ok)
			request->held = (struct holding_answer){ 0 };
		break;
	case LEAVE:
	case NOTIFY:
	case READ:
	case BATCH:
	case DIRECTORIES:
		request->fn.done(request->arg, err->code, err);
		break;
	}
}

void
rpc_answer_free(struct rpc_request *request)
{
	change_page_free(request->page);
	free(request->known);
	holding_answer_fini(&request->held);
	if (request->layer != NULL)
		p2p__v1__layer_response__free_unpacked(request->layer, NULL);
	free(request->exchange.body);
	buf_fini(&request->answer);
	free(request);
}
