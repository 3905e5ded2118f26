/* SPDX-License-Identifier: MIT
 *
 * rest_client.c - the transport over HTTP: what is asked.
 *
 * Each verb makes one request, gives it to a lane (rest_client_lane.c, where curl lives), and is
 * answered on the lane's thread (rest_client_answer.c): that is where JSON is parsed and file bytes go to
 * the sink, so that the mind only sees finished things.  An ended request is handed back (transport_ended.h), and
 * the mind calls done and frees.
 *
 * A request is the mind's, but for its exchange, which is the lane's until ended.  Cancelling
 * marks; whatever the exchange came to meanwhile, done then says P2P_CANCELLED.
 *
 * Reads go to the lane that has the fewest bytes left to carry.  Everything else goes to one lane for
 * small things, also questions what is held, which may wait for long: they cost it nothing meanwhile.
 */
#include "rest_client_inner.h"

#include <assert.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"
#include "merkle.h"
#include "wire_json.h"

#define PATH_SIZE 240 /* of a question for a layer */

static struct rest_client *
client_of(struct transport *transport)
{
	struct rest_client *client = (struct rest_client *)transport;

	assert(loop_is_mine(client->loop));
	return client;
}

/* Ended requests, from a lane to the mind. */

static void
tell(struct request *request)
{
	const struct error *err = &request->exchange.error;
	int code = err->code;
	struct transport_greeting greeting = {
		.theirs = &request->theirs,
		.known = request->known,
		.known_count = request->known_count,
		.round_trip_us = request->exchange.round_trip_us,
	};

	switch (request->verb) {
	case GREET:
		request->fn.greet(request->arg, code, err, code == P2P_OK ? &greeting : NULL);
		break;
	case PULL:
		request->fn.pull(request->arg, code, err, code == P2P_OK ? request->page : NULL);
		if (code == P2P_OK)
			request->page = NULL;
		break;
	case LAYER:
		request->fn.layer(
		    request->arg, code, err,
		    code == P2P_OK ? (const struct digest *)request->exchange.answer.data : NULL,
		    code == P2P_OK ? request->node_count : 0);
		break;
	case HAVE:
		request->fn.have(request->arg, code, err, code == P2P_OK ? &request->held : NULL);
		if (code == P2P_OK) /* given */
			request->held = (struct holding_answer){ .next = 0 };
		break;
	case LEAVE:
	case NOTIFY:
	case READ:
	case BATCH:
	case DIRECTORIES:
		request->fn.done(request->arg, code, err);
		break;
	}
}

static void
request_free(struct request *request)
{
	change_page_free(request->page);
	holding_answer_fini(&request->held);
	free(request->known);
	free(request->exchange.url);
	free(request->exchange.body);
	buf_fini(&request->exchange.answer);
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

void
rest_client_hand_back(struct request *request)
{
	transport_ended_hand_back(&request->client->ended, &request->turn);
}

/* Requests; mind. */

static struct request *
new_request(struct rest_client *client, enum verb verb, const char *method, const char *address,
	    const char *path, void *arg)
{
	struct request *request = mem_zero(1, sizeof(*request));

	assert(node_address_check(address, NULL) == P2P_OK);
	request->head.wire = &client->transport;
	request->client = client;
	request->verb = verb;
	request->arg = arg;
	snprintf(request->address, sizeof(request->address), "%s", address);
	request->lane = client->small;
	request->exchange = (struct lane_exchange){
		.ops = &rest_client_small_ops,
		.method = method,
		.url = mem_format("%s%s", address, path),
		.answer_max = WIRE_JSON_MAX,
		.limits = { .connect_ms = client->limits.connect_ms,
			    .total_ms = client->limits.answer_ms },
		.guard = &client->guard,
	};
	transport_ended_add(&client->ended, &request->turn);
	return request;
}

static struct transport_request *
start(struct request *request)
{
	struct rest_client *client = request->client;

	if (!client->is_ending) {
		lane_start(request->lane, &request->exchange);
		return &request->head;
	}
	error_set(&request->exchange.error, P2P_SHUTTING_DOWN, "%s: this peer is stopping",
		  request->address);
	rest_client_hand_back(request);
	return &request->head;
}

static struct transport_request *
greet(struct transport *transport, const char *address, const struct node_hello *hello,
      transport_greet_fn fn, void *arg)
{
	struct rest_client *client = client_of(transport);
	struct request *request = new_request(client, GREET, "POST", address, "/v1/peers", arg);

	request->fn.greet = fn;
	request->exchange.body = wire_register_request(hello);
	return start(request);
}

static struct transport_request *
leave(struct transport *transport, const char *address, const char *self, transport_done_fn fn,
      void *arg)
{
	struct rest_client *client = client_of(transport);
	char path[32 + PEER_ID_SIZE];

	assert(digest_is_base32(self));
	snprintf(path, sizeof(path), "/v1/peers/%s", self);
	struct request *request = new_request(client, LEAVE, "DELETE", address, path, arg);
	request->fn.done = fn;
	return start(request);
}

static struct transport_request *
notify(struct transport *transport, const char *address, const struct notice *notice,
       transport_done_fn fn, void *arg)
{
	struct rest_client *client = client_of(transport);
	struct request *request = new_request(client, NOTIFY, "POST", address, "/v1/notices", arg);

	request->fn.done = fn;
	request->exchange.body = wire_notice(notice);
	return start(request);
}

static struct transport_request *
pull(struct transport *transport, const char *address, const struct change_question *question,
     transport_pull_fn fn, void *arg)
{
	struct rest_client *client = client_of(transport);
	char path[200];

	assert(digest_is_base32(question->peer));
	snprintf(
	    path, sizeof(path),
	    "/v1/catalog?peer=%s&epoch=%" PRIu64 "&since=%" PRIu64 "&begun=%" PRIu64 "&limit=%u",
	    question->peer, question->epoch, question->since, question->begun, question->limit);
	struct request *request = new_request(client, PULL, "GET", address, path, arg);
	request->fn.pull = fn;
	return start(request);
}

static int
layer_path(const struct content_id *content, uint32_t piece_bytes, char ret[PATH_SIZE])
{
	char hex[DIGEST_HEX_SIZE];

	digest_hex(&content->root, hex);
	return snprintf(ret, PATH_SIZE, "/v1/contents/%s/layer?size=%" PRIu64 "&piece=%u", hex,
			content->size_bytes, piece_bytes);
}

/* So many will come. */
static struct transport_request *
ask_nodes(struct request *request, uint64_t count, transport_layer_fn fn)
{
	assert(count <= MERKLE_LAYER_MAX);
	request->fn.layer = fn;
	request->node_count = (size_t)count;
	request->exchange.answer_max = (size_t)count * sizeof(struct digest);
	return start(request);
}

static struct transport_request *
layer(struct transport *transport, const char *address, const struct content_id *content,
      uint32_t piece_bytes, transport_layer_fn fn, void *arg)
{
	struct rest_client *client = client_of(transport);
	char path[PATH_SIZE];

	layer_path(content, piece_bytes, path);
	return ask_nodes(new_request(client, LAYER, "GET", address, path, arg),
			 merkle_piece_count(content->size_bytes, piece_bytes), fn);
}

static struct transport_request *
leaves(struct transport *transport, const char *address, const struct content_id *content,
       uint64_t first, uint32_t count, transport_layer_fn fn, void *arg)
{
	struct rest_client *client = client_of(transport);
	char path[PATH_SIZE];

	assert(count > 0 && first + count <= merkle_leaf_count(content->size_bytes));
	int len = layer_path(content, MERKLE_LEAF_BYTES, path);
	snprintf(path + len, sizeof(path) - (size_t)len, "&first=%" PRIu64 "&count=%" PRIu32, first,
		 count);
	return ask_nodes(new_request(client, LAYER, "GET", address, path, arg), count, fn);
}

static struct transport_request *
have(struct transport *transport, const char *address, const struct holding_question *question,
     transport_have_fn fn, void *arg)
{
	struct rest_client *client = client_of(transport);
	uint64_t size = question->content.size_bytes;
	char hex[DIGEST_HEX_SIZE], path[320];

	assert(question->peer[0] == '\0' || digest_is_base32(question->peer));
	digest_hex(&question->content.root, hex);
	snprintf(path, sizeof(path),
		 "/v1/contents/%s/have?size=%" PRIu64 "&since=%" PRIu64 "&wait=%" PRIu32 "%s%s",
		 hex, size, question->since, question->wait_ms,
		 question->peer[0] != '\0' ? "&peer=" : "", question->peer);
	struct request *request = new_request(client, HAVE, "GET", address, path, arg);
	request->fn.have = fn;
	request->content = question->content;
	request->exchange.limits.total_ms += question->wait_ms;
	request->exchange.answer_max =
	    wire_have_max(merkle_piece_count(size, merkle_piece_bytes(size)));
	return start(request);
}

static unsigned
idlest_lane(const struct rest_client *client)
{
	unsigned best = 0;

	for (unsigned i = 1; i < client->lane_count; i++)
		if (client->outstanding[i] < client->outstanding[best])
			best = i;
	return best;
}

/* On a lane for bytes: as long as they come, and within the limits of bandwidth. */
static void
go_by_lane(struct request *request, uint64_t bytes, const struct lane_ops *lane_ops)
{
	struct rest_client *client = request->client;
	unsigned at = idlest_lane(client);

	request->len = bytes;
	request->lane = client->lanes[at];
	request->outstanding = &client->outstanding[at];
	client->outstanding[at] += bytes;
	request->exchange.ops = lane_ops;
	request->exchange.rate = client->throttle.rate;
	transport_limit_key(&client->throttle, request->address, request->exchange.rate_key);
	request->exchange.limits.total_ms = 0;
	request->exchange.limits.stall_ms = client->limits.stall_ms;
	request->exchange.limits.stall_bps = client->limits.stall_bps;
}

static struct transport_request *
read_bytes(struct transport *transport, const char *address, const struct content_id *content,
	   uint64_t offset, uint64_t len, const struct transport_sink *sink, transport_done_fn fn,
	   void *arg)
{
	struct rest_client *client = client_of(transport);
	char hex[DIGEST_HEX_SIZE], path[160];

	assert(len > 0 && offset < content->size_bytes && len <= content->size_bytes - offset);
	digest_hex(&content->root, hex);
	snprintf(path, sizeof(path), "/v1/contents/%s?size=%" PRIu64, hex, content->size_bytes);
	struct request *request = new_request(client, READ, "GET", address, path, arg);

	request->fn.done = fn;
	request->content = *content;
	request->offset = offset;
	request->sink = *sink;
	go_by_lane(request, len, &rest_client_read_ops);
	snprintf(request->exchange.range, sizeof(request->exchange.range), "%" PRIu64 "-%" PRIu64,
		 offset, offset + len - 1);
	return start(request);
}

static struct transport_request *
batch(struct transport *transport, const char *address, struct batch *contents,
      transport_done_fn fn, void *arg)
{
	struct rest_client *client = client_of(transport);
	struct request *request =
	    new_request(client, BATCH, "POST", address, "/v1/contents/batch", arg);

	batch_begin(contents);
	request->fn.done = fn;
	request->batch = contents;
	request->exchange.body = wire_batch(contents);
	go_by_lane(request, batch_bytes(contents), &rest_client_batch_ops);
	return start(request);
}

static struct transport_request *
directories(struct transport *transport, const char *address, struct directory_question *question,
	    transport_done_fn fn, void *arg)
{
	struct request *request =
	    new_request(client_of(transport), DIRECTORIES, "POST", address, "/v1/directories", arg);

	assert(question->count >= 1 && question->count <= DIRECTORIES_MAX);
	request->fn.done = fn;
	request->directories = question;
	request->exchange.body = wire_directories(question);
	return start(request);
}

static void
cancel(struct transport_request *head)
{
	struct request *request = (struct request *)head;

	assert(loop_is_mine(request->client->loop));
	if (request->is_cancelled)
		return;
	request->is_cancelled = true;
	if (!request->client->is_ending)
		lane_cancel(request->lane, &request->exchange);
}

static const struct transport_ops ops = {
	.name = "rest",
	.greet = greet,
	.leave = leave,
	.notify = notify,
	.pull = pull,
	.layer = layer,
	.leaves = leaves,
	.have = have,
	.read = read_bytes,
	.batch = batch,
	.directories = directories,
	.cancel = cancel,
};

/* Life. */

static void
free_lanes(struct rest_client *client)
{
	lane_free(client->small);
	for (unsigned i = 0; i < client->lane_count; i++)
		lane_free(client->lanes[i]);
}

/* The last post: whatever rang the mind before has been heard. */
static void
free_client(void *arg)
{
	struct rest_client *client = arg;

	transport_ended_fini(&client->ended);
	free(client);
}

struct transport *
rest_client_new(struct loop *loop, unsigned lanes, struct error *err)
{
	struct rest_client *client = mem_zero(1, sizeof(*client));

	assert(lanes >= 1 && lanes <= REST_CLIENT_LANES_MAX);
	client->transport.ops = &ops;
	client->loop = loop;
	client->limits = (struct rest_client_limits){
		.connect_ms = TRANSPORT_CONNECT_MS,
		.answer_ms = TRANSPORT_ANSWER_MS,
		.stall_ms = TRANSPORT_STALL_MS,
		.stall_bps = TRANSPORT_STALL_BPS,
	};
	transport_ended_init(&client->ended, loop, conclude, client);
	client->small = lane_new(err);
	if (client->small == NULL)
		goto fail;
	for (; client->lane_count < lanes; client->lane_count++) {
		client->lanes[client->lane_count] = lane_new(err);
		if (client->lanes[client->lane_count] == NULL)
			goto fail;
	}
	return &client->transport;
fail:
	free_lanes(client);
	free_client(client);
	return NULL;
}

void
rest_client_limit(struct transport *transport, const struct rest_client_limits *limits)
{
	client_of(transport)->limits = *limits;
}

void
rest_client_throttle(struct transport *transport, const struct transport_limit *limit)
{
	client_of(transport)->throttle = *limit;
}

void
rest_client_guard(struct transport *transport, const struct address_guard *guard)
{
	client_of(transport)->guard = *guard;
}

void
rest_client_free(struct transport *transport)
{
	if (transport == NULL)
		return;
	struct rest_client *client = client_of(transport);

	client->is_ending = true;
	free_lanes(client);
	transport_ended_conclude_all(&client->ended);
	loop_post(client->loop, free_client, client);
}
