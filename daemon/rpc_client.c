/* SPDX-License-Identifier: MIT
 *
 * rpc_client.c - the transport over gRPC: what is asked, and what an answer means.
 *
 * The sibling of rest_client.c.  Each verb makes one call.  Its host is resolved and judged first
 * (rpc_client_names.c, on the mind); then a lane carries it (rpc_client_lane.c, where the C core
 * lives), and it is answered on the lane's thread: that is where messages are unpacked and file
 * bytes go to the sink, so that the mind only sees finished things.  An ended request is handed back
 * (transport_ended.h), and the mind calls done and frees.
 *
 * A request is the mind's, but for its exchange, which is the lane's until ended.  Cancelling
 * marks; whatever the exchange came to meanwhile, done then says P2P_CANCELLED.
 *
 * Nothing of an answer to read() reaches the sink before a File of our content came.  Its bytes are
 * fed as they lie in the library's slices (rpc_client_download.c).  All other answers are one
 * message, gathered and unpacked.
 *
 * A status is read by its slug, and without one by its number.  Codes that speak of the answering
 * daemon's own disk or end would mislead if told of ours: they become P2P_UNREACHABLE.
 *
 * Reads go to the lane that has the fewest bytes left to carry.  The library and the lanes' threads
 * are started by the first request that needs them.
 */
#include "rpc_client.h"

#include <assert.h>
#include <grpc/status.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "mem.h"
#include "merkle.h"
#include "metrics.h"
#include "rpc_client_download.h"
#include "rpc_client_lane.h"
#include "rpc_client_names.h"
#include "transport_ended.h"
#include "wire_pb.h"

#define LAYER_EXTRA 1024        /* bytes of a LayerResponse besides its nodes */
#define FILE_MAX    (128 << 10) /* bytes of the File before the data: 1,000 holders */
#define SCHEME      "grpc://"

/* A read may hold a message and what was sent ahead of the next: 1.5 MiB, so all fit in RPC_CLIENT_MEMORY_MAX. */
#define READS_MAX 32                      /* at once, on all lanes */
#define READ_MAX  ((1u << 20) + FILE_MAX) /* bytes of a DownloadResponse */
#define SMALL_MAX 128                     /* other calls at once */

enum verb { GREET, LEAVE, NOTIFY, PULL, LAYER, READ };

struct request {
	struct transport_request head; /* first: others know only this */
	struct rpc_exchange exchange;  /* the lane knows only this */
	struct rpc_names_asker asker;  /* before the lane has it */
	struct transport_turn turn;
	struct rpc_client *client;
	struct rpc_lane **lane; /* which it is for; started when needed */
	enum verb verb;
	bool is_at_lane, is_ended_here; /* where its exchange is; mind */
	bool is_cancelled;              /* the mind's own mark */
	union {
		transport_done_fn done;
		transport_greet_fn greet;
		transport_pull_fn pull;
		transport_layer_fn layer;
	} fn;
	void *arg;
	char address[NODE_ADDRESS_SIZE];
	/* What came. */
	struct buf answer; /* the one message; of a read: the File */
	unsigned messages;
	/* What came of it, by verb. */
	struct node_record theirs, *known;
	size_t known_count;
	struct change_page *page;
	P2p__V1__LayerResponse *layer;
	/* layer: nodes expected, and of which pieces.  read: what of which content, and how much of it came. */
	size_t node_count;
	uint32_t piece_bytes;
	struct content_id content;
	uint64_t offset, len, received;
	bool has_file; /* and it is of our content */
	struct download_parser parser;
	struct transport_sink sink;
	uint64_t *outstanding; /* of its lane */
};

struct rpc_client {
	struct transport transport; /* first */
	struct loop *loop;
	struct rpc_client_limits limits;
	bool refuse_private, is_ending;
	struct rpc_names *names;
	struct rpc_library *library; /* NULL until the first request */
	struct rpc_lane *small;      /* all but reads; NULL until needed, like those */
	unsigned lane_count;
	struct rpc_lane *lanes[RPC_CLIENT_LANES_MAX];
	uint64_t outstanding[RPC_CLIENT_LANES_MAX]; /* bytes that reads still want; mind */
	struct transport_ended ended;
};

static struct request *
request_of(struct rpc_exchange *exchange)
{
	return (struct request *)((char *)exchange - offsetof(struct request, exchange));
}

static struct rpc_client *
client_of(struct transport *transport)
{
	struct rpc_client *client = (struct rpc_client *)transport;

	assert(loop_is_mine(client->loop));
	return client;
}

/* Ended requests, from a lane to the mind. */

static void
tell(struct request *request)
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
	case LEAVE:
	case NOTIFY:
	case READ:
		request->fn.done(request->arg, err->code, err);
		break;
	}
}

static void
request_free(struct request *request)
{
	change_page_free(request->page);
	free(request->known);
	if (request->layer != NULL)
		p2p__v1__layer_response__free_unpacked(request->layer, NULL);
	free(request->exchange.body);
	buf_fini(&request->answer);
	free(request);
}

static void
conclude(void *arg, struct transport_turn *turn)
{
	struct request *request = (struct request *)((char *)turn - offsetof(struct request, turn));

	(void)arg;
	if (request->outstanding != NULL)
		*request->outstanding -= request->len;
	if (request->is_cancelled)
		error_set(&request->exchange.error, P2P_CANCELLED, "%s: cancelled",
			  request->address);
	tell(request);
	request_free(request);
}

/* Any thread: the mind shall conclude it. */
static void
hand_back(struct request *request)
{
	transport_ended_hand_back(&request->client->ended, &request->turn);
}

/* Answers; a lane's thread. */

/* True for codes that a daemon says of its own disk, its own end, its own caller. */
static bool
is_own_affair(int code)
{
	return code == P2P_SHUTTING_DOWN || code == P2P_CANCELLED || code == P2P_NO_SPACE ||
	       code == P2P_IO || code == P2P_OK;
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

static int
take_greeting(struct request *request, const ProtobufCMessage *message, struct error *err)
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
check_layer(const struct request *request, const P2p__V1__LayerResponse *message, struct error *err)
{
	if (message->piece != request->piece_bytes)
		return error_set(err, P2P_BAD_ANSWER, "a layer of pieces of %u bytes",
				 message->piece);
	if (message->nodes.len != request->node_count * sizeof(struct digest))
		return error_set(err, P2P_BAD_ANSWER, "a layer of %zu nodes in %zu bytes",
				 request->node_count, message->nodes.len);
	return P2P_OK;
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
	case READ:
		return &p2p__v1__file__descriptor;
	}
	return NULL;
}

/* What an unpacked answer says.  Takes the message if it is kept: *ret_is_kept. */
static int
take_message(struct request *request, ProtobufCMessage *message, bool *ret_is_kept,
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
	case LEAVE:
	case NOTIFY:
	case READ:
		return P2P_OK;
	}
	return P2P_OK;
}

static int
take_answer(struct request *request, struct error *err)
{
	const struct buf *answer = &request->answer;
	bool is_kept = false;

	if (request->verb == READ) {
		if (request->received == request->len)
			return P2P_OK;
		return error_set(err, P2P_BAD_ANSWER, "%" PRIu64 " bytes instead of %" PRIu64,
				 request->received, request->len);
	}
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

static void
on_ended(struct rpc_exchange *exchange)
{
	struct request *request = request_of(exchange);
	struct error why = { .code = P2P_OK };

	if (exchange->error.code == P2P_OK && exchange->status != GRPC_STATUS_OK)
		take_refusal(exchange);
	else if (exchange->error.code == P2P_OK && take_answer(request, &why) != P2P_OK)
		error_set(&exchange->error, P2P_BAD_ANSWER, "%s answered what makes no sense: %s",
			  request->address, why.text);
	hand_back(request);
}

/* The one message of a small answer. */
static int
gather(struct rpc_exchange *exchange, size_t len)
{
	struct request *request = request_of(exchange);
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

/* Reads; a lane's thread. */

static int
check_file(struct request *request)
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
	struct request *request = arg;

	if (request->has_file)
		return error_set(&request->exchange.error, P2P_BAD_ANSWER,
				 "%s answered with two files", request->address);
	if (len > 0)
		buf_add(&request->answer, data, len);
	if (request->answer.full)
		return error_set(&request->exchange.error, P2P_BAD_ANSWER,
				 "%s describes its file in more than %d bytes", request->address,
				 FILE_MAX);
	return is_last ? check_file(request) : P2P_OK;
}

static int
take_data(void *arg, const void *data, size_t len)
{
	struct request *request = arg;
	struct error *error = &request->exchange.error;

	if (!request->has_file)
		return error_set(error, P2P_BAD_ANSWER, "%s sent bytes of it does not say what",
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

static int
feed_read(struct rpc_exchange *exchange, size_t len)
{
	static const struct download_parser_ops parser_ops = { .file = take_file,
							       .data = take_data };
	struct request *request = request_of(exchange);
	const void *data;
	size_t step;
	int code = P2P_OK;

	download_parser_begin(&request->parser, &parser_ops, request, len);
	while (code == P2P_OK && rpc_exchange_next(exchange, &data, &step))
		code = download_parser_feed(&request->parser, data, step);
	if (code == P2P_OK)
		code = download_parser_end(&request->parser);
	if (code != P2P_OK && exchange->error.code == P2P_OK)
		error_set(&exchange->error, code, "%s sent a malformed message", request->address);
	return code;
}

/* Requests; mind. */

static const struct rpc_exchange_ops small_ops = { .message = gather, .ended = on_ended };
static const struct rpc_exchange_ops read_ops = { .message = feed_read, .ended = on_ended };

static struct request *
new_request(struct rpc_client *client, enum verb verb, const char *method, const char *address,
	    void *arg)
{
	struct request *request = mem_zero(1, sizeof(*request));

	assert(node_address_check(address, NULL) == P2P_OK);
	assert(strncmp(address, SCHEME, strlen(SCHEME)) == 0);
	request->head.wire = &client->transport;
	request->client = client;
	request->verb = verb;
	request->arg = arg;
	snprintf(request->address, sizeof(request->address), "%s", address);
	request->lane = &client->small;
	buf_init(&request->answer, WIRE_PB_MAX);
	request->exchange = (struct rpc_exchange){
		.ops = &small_ops,
		.method = method,
		.address = request->address,
		.authority = request->address + strlen(SCHEME),
		.limits = { .connect_ms = client->limits.connect_ms,
			    .total_ms = client->limits.answer_ms },
	};
	transport_ended_add(&client->ended, &request->turn);
	return request;
}

/* What is to be sent.  Borrows the message. */
static void
pack(struct request *request, const ProtobufCMessage *message)
{
	request->exchange.body_len = protobuf_c_message_get_packed_size(message);
	request->exchange.body = mem_alloc(request->exchange.body_len + 1);
	protobuf_c_message_pack(message, request->exchange.body);
}

/* It ends before a lane had it. */
static void
end_here(struct request *request, int code, const char *why)
{
	request->is_ended_here = true;
	error_set(&request->exchange.error, code, "%s: %s", request->address, why);
	hand_back(request);
}

static void
on_named(struct rpc_names_asker *asker, int code, const struct error *err,
	 const struct rpc_target *target)
{
	struct request *request =
	    (struct request *)((char *)asker - offsetof(struct request, asker));
	struct rpc_client *client = request->client;
	struct error why = { .code = P2P_OK };
	bool is_small = request->lane == &client->small;
	struct rpc_lane_room room = { .message_max = is_small ? WIRE_PB_MAX : READ_MAX,
				      .calls_max =
					  is_small ? SMALL_MAX : READS_MAX / client->lane_count };

	if (code != P2P_OK) {
		end_here(request, code, err->text);
		return;
	}
	if (client->library == NULL)
		client->library = rpc_library_new();
	if (*request->lane == NULL)
		*request->lane = rpc_lane_new(client->library, &room, &why);
	if (*request->lane == NULL) {
		end_here(request, why.code, why.text);
		return;
	}
	request->exchange.target = *target;
	request->is_at_lane = true;
	rpc_lane_start(*request->lane, &request->exchange);
}

static struct transport_request *
start(struct request *request)
{
	struct rpc_client *client = request->client;

	if (client->is_ending) {
		end_here(request, P2P_SHUTTING_DOWN, "this peer is stopping");
		return &request->head;
	}
	request->asker.fn = on_named;
	request->asker.refuse_private = client->refuse_private;
	rpc_names_ask(client->names, &request->asker, request->exchange.authority,
		      client->limits.connect_ms);
	return &request->head;
}

static struct transport_request *
greet(struct transport *transport, const char *address, const struct node_record *mine,
      transport_greet_fn fn, void *arg)
{
	struct rpc_client *client = client_of(transport);
	struct request *request =
	    new_request(client, GREET, "/p2p.v1.Peers/Register", address, arg);
	P2p__V1__RegisterRequest message = P2P__V1__REGISTER_REQUEST__INIT;

	message.node = wire_pb_of_node(mine);
	pack(request, &message.base);
	p2p__v1__node__free_unpacked(message.node, NULL);
	request->fn.greet = fn;
	return start(request);
}

static struct transport_request *
leave(struct transport *transport, const char *address, const char *self, transport_done_fn fn,
      void *arg)
{
	struct rpc_client *client = client_of(transport);
	struct request *request = new_request(client, LEAVE, "/p2p.v1.Peers/Leave", address, arg);
	P2p__V1__LeaveRequest message = P2P__V1__LEAVE_REQUEST__INIT;

	assert(digest_is_base32(self));
	message.id = (char *)self;
	pack(request, &message.base);
	request->fn.done = fn;
	return start(request);
}

static struct transport_request *
notify(struct transport *transport, const char *address, const struct notice *notice,
       transport_done_fn fn, void *arg)
{
	struct rpc_client *client = client_of(transport);
	struct request *request = new_request(client, NOTIFY, "/p2p.v1.Peers/Notify", address, arg);
	P2p__V1__Notice *message = wire_pb_of_notice(notice);

	pack(request, &message->base);
	p2p__v1__notice__free_unpacked(message, NULL);
	request->fn.done = fn;
	return start(request);
}

static struct transport_request *
pull(struct transport *transport, const char *address, const char *peer, uint64_t epoch,
     uint64_t since, uint32_t limit, transport_pull_fn fn, void *arg)
{
	struct rpc_client *client = client_of(transport);
	struct request *request = new_request(client, PULL, "/p2p.v1.Files/Changes", address, arg);
	P2p__V1__ChangesRequest message = P2P__V1__CHANGES_REQUEST__INIT;

	assert(digest_is_base32(peer));
	message.peer = (char *)peer;
	message.epoch = epoch;
	message.since = since;
	message.limit = limit;
	pack(request, &message.base);
	request->fn.pull = fn;
	return start(request);
}

static struct transport_request *
layer(struct transport *transport, const char *address, const struct content_id *content,
      uint32_t piece_bytes, transport_layer_fn fn, void *arg)
{
	struct rpc_client *client = client_of(transport);
	uint64_t count = merkle_piece_count(content->size_bytes, piece_bytes);
	struct request *request = new_request(client, LAYER, "/p2p.v1.Files/Layer", address, arg);
	P2p__V1__LayerRequest message = P2P__V1__LAYER_REQUEST__INIT;

	assert(count <= MERKLE_LAYER_MAX);
	message.content = wire_pb_of_content(content);
	message.piece = piece_bytes;
	pack(request, &message.base);
	p2p__v1__content__free_unpacked(message.content, NULL);
	request->fn.layer = fn;
	request->node_count = (size_t)count;
	request->piece_bytes = piece_bytes;
	request->answer.max_bytes = (size_t)count * sizeof(struct digest) + LAYER_EXTRA;
	return start(request);
}

static void
pack_read(struct request *request)
{
	P2p__V1__DownloadRequest message = P2P__V1__DOWNLOAD_REQUEST__INIT;
	P2p__V1__FileSpec spec = P2P__V1__FILE_SPEC__INIT;

	spec.by_case = P2P__V1__FILE_SPEC__BY_CONTENT;
	spec.content = wire_pb_of_content(&request->content);
	message.file = &spec;
	message.offset = request->offset;
	message.length = request->len;
	message.scope = P2P__V1__SCOPE__SCOPE_LOCAL;
	pack(request, &message.base);
	p2p__v1__content__free_unpacked(spec.content, NULL);
}

static unsigned
idlest_lane(const struct rpc_client *client)
{
	unsigned best = 0;

	for (unsigned i = 1; i < client->lane_count; i++)
		if (client->outstanding[i] < client->outstanding[best])
			best = i;
	return best;
}

static struct transport_request *
read_bytes(struct transport *transport, const char *address, const struct content_id *content,
	   uint64_t offset, uint64_t len, const struct transport_sink *sink, transport_done_fn fn,
	   void *arg)
{
	struct rpc_client *client = client_of(transport);
	unsigned at = idlest_lane(client);

	assert(len > 0 && offset < content->size_bytes && len <= content->size_bytes - offset);
	struct request *request = new_request(client, READ, "/p2p.v1.Files/Download", address, arg);
	request->fn.done = fn;
	request->content = *content;
	request->offset = offset;
	request->len = len;
	request->sink = *sink;
	pack_read(request);
	request->answer.max_bytes = FILE_MAX;
	request->lane = &client->lanes[at];
	request->outstanding = &client->outstanding[at];
	client->outstanding[at] += len;
	request->exchange.ops = &read_ops;
	request->exchange.limits.total_ms = 0;
	request->exchange.limits.stall_ms = client->limits.stall_ms;
	request->exchange.limits.stall_bps = client->limits.stall_bps;
	return start(request);
}

static void
cancel(struct transport_request *head)
{
	struct request *request = (struct request *)head;
	struct rpc_client *client = request->client;

	assert(loop_is_mine(client->loop));
	if (request->is_cancelled)
		return;
	request->is_cancelled = true;
	if (client->is_ending || request->is_ended_here)
		return;
	if (request->is_at_lane) {
		rpc_lane_cancel(*request->lane, &request->exchange);
		return;
	}
	rpc_names_leave(client->names, &request->asker);
	end_here(request, P2P_CANCELLED, "cancelled");
}

static const struct transport_ops ops = {
	.name = "grpc",
	.greet = greet,
	.leave = leave,
	.notify = notify,
	.pull = pull,
	.layer = layer,
	.read = read_bytes,
	.cancel = cancel,
};

/* Life. */

/* The last post: whatever rang the mind before has been heard. */
static void
free_client(void *arg)
{
	struct rpc_client *client = arg;

	transport_ended_fini(&client->ended);
	free(client);
}

struct transport *
rpc_client_new(struct loop *loop, struct pool *pool, unsigned lanes, struct error *err)
{
	struct rpc_client *client = mem_zero(1, sizeof(*client));

	(void)err; /* nothing that may fail is started here */
	assert(lanes >= 1 && lanes <= RPC_CLIENT_LANES_MAX);
	client->transport.ops = &ops;
	client->loop = loop;
	client->lane_count = lanes;
	client->limits = (struct rpc_client_limits){
		.connect_ms = TRANSPORT_CONNECT_MS,
		.answer_ms = TRANSPORT_ANSWER_MS,
		.stall_ms = TRANSPORT_STALL_MS,
		.stall_bps = TRANSPORT_STALL_BPS,
	};
	client->names = rpc_names_new(loop, pool);
	transport_ended_init(&client->ended, loop, conclude, client);
	return &client->transport;
}

void
rpc_client_limit(struct transport *transport, const struct rpc_client_limits *limits)
{
	client_of(transport)->limits = *limits;
}

void
rpc_client_refuse_private(struct transport *transport, bool refuse)
{
	client_of(transport)->refuse_private = refuse;
}

void
rpc_client_free(struct transport *transport)
{
	if (transport == NULL)
		return;
	struct rpc_client *client = client_of(transport);

	client->is_ending = true;
	rpc_names_free(client->names);
	rpc_lane_free(client->small);
	for (unsigned i = 0; i < client->lane_count; i++)
		rpc_lane_free(client->lanes[i]);
	rpc_library_free(client->library);
	/* What a done function starts now comes back at once. */
	transport_ended_conclude_all(&client->ended);
	loop_post(client->loop, free_client, client);
}
