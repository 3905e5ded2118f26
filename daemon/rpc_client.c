/* SPDX-License-Identifier: MIT
 *
 * rpc_client.c - the transport over gRPC: what is asked, of whom, and when it ends.
 *
 * The sibling of rest_client.c.  Each verb makes one call.  Its host is resolved and judged first
 * (rpc_client_names.c, on the mind); then a lane carries it (rpc_client_lane.c, where the C core
 * lives), and what comes is taken on the lane's thread (rpc_client_answer.c).  An ended request is
 * handed back (transport_ended.h), and the mind calls done and frees.
 *
 * A request is the mind's, but for its exchange, which is the lane's until ended.  Cancelling
 * marks; whatever the exchange came to meanwhile, done then says P2P_CANCELLED.
 *
 * Reads go to the lane that has the fewest bytes left to carry.  What waits for news at the other
 * end (have) has a lane of its own, and so its own connections and its own number of calls:
 * however many wait, no greeting and no read waits for them.  The library and the lanes' threads
 * are started by the first request that needs them.
 */
#include "rpc_client.h"

#include <assert.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "mem.h"
#include "merkle.h"
#include "rpc_client_answer.h"

#define SCHEME "grpc://"

/* Bytes of answers. */
#define EMPTY_MAX              (64u << 10) /* one that says nothing: room for what a later version says */
#define GREETING_MAX           (2u << 20) /* NODE_KNOWN_MAX records, as long as they may be, are 1.3 MB */
#define LAYER_EXTRA            1024       /* of a LayerResponse besides its nodes */
#define DIRECTORIES_ANSWER_MAX (DIRECTORIES_MAX * 64u) /* an attribute takes 20 */
#define HAVE_MAX               (512u << 10) /* all that an answer may tell of pieces and peers is 300 KB */

/* A read may hold a message and what was sent ahead of the next: 1.5 MiB, so all fit in
 * RPC_CLIENT_MEMORY_MAX. */
#define READS_MAX 32                          /* at once, on all lanes */
#define READ_MAX  ((1u << 20) + RPC_FILE_MAX) /* bytes of a DownloadResponse */
#define SMALL_MAX 128                         /* other calls at once */

/* Calls that wait for news: of so many fetches and holders. */
#define FOLLOWS_MAX         1024
#define FOLLOW_CHANNELS_MAX 256

/* What ends soon is pinged for often enough to notice within TRANSPORT_ANSWER_MS that a host is
 * dead.  Where nothing may come for long, a peer would take that for abuse: it wants 10 s between
 * two pings (rpc_server.c). */
#define KEEPALIVE_MS        4000
#define FOLLOW_KEEPALIVE_MS 12000

struct rpc_client {
	struct transport transport; /* first */
	struct loop *loop;
	struct rpc_client_limits limits;
	struct transport_limit throttle;
	struct address_guard guard;
	bool is_ending, has_warned;
	struct rpc_names *names;
	struct rpc_commons *commons; /* NULL until the first request */
	struct rpc_lane *small;      /* all but reads; NULL until needed, like those */
	struct rpc_lane *follow;     /* and but those that wait for news */
	unsigned lane_count;
	struct rpc_lane *lanes[RPC_CLIENT_LANES_MAX];
	uint64_t outstanding[RPC_CLIENT_LANES_MAX]; /* bytes that reads still want; mind */
	struct transport_ended ended;
};

static struct rpc_client *
client_of(struct transport *transport)
{
	struct rpc_client *client = (struct rpc_client *)transport;

	assert(loop_is_mine(client->loop));
	return client;
}

/* Ended requests, from a lane to the mind. */

static void
conclude(void *arg, struct transport_turn *turn)
{
	struct rpc_request *request =
	    (struct rpc_request *)((char *)turn - offsetof(struct rpc_request, turn));

	(void)arg;
	if (request->outstanding != NULL)
		*request->outstanding -= request->len;
	if (request->is_cancelled)
		error_set(&request->exchange.error, P2P_CANCELLED, "%s: cancelled",
			  request->address);
	rpc_answer_tell(request);
	rpc_answer_free(request);
}

/* Any thread: the mind shall conclude it. */
static void
hand_back(struct rpc_request *request)
{
	transport_ended_hand_back(&request->client->ended, &request->turn);
}

/* Requests; mind. */

/* A lane's thread. */
static void
on_ended(struct rpc_exchange *exchange)
{
	struct rpc_request *request = rpc_request_of(exchange);

	rpc_answer_judge(request);
	hand_back(request);
}

static const struct rpc_exchange_ops small_ops = { .message = rpc_answer_gather,
						   .ended = on_ended };
static const struct rpc_exchange_ops read_ops = { .message = rpc_answer_feed, .ended = on_ended };
static const struct rpc_exchange_ops batch_ops = { .message = rpc_answer_batch, .ended = on_ended };

static struct rpc_request *
new_request(struct rpc_client *client, enum verb verb, const char *method, const char *address,
	    void *arg)
{
	struct rpc_request *request = mem_zero(1, sizeof(*request));

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
pack(struct rpc_request *request, const ProtobufCMessage *message)
{
	request->exchange.body_len = protobuf_c_message_get_packed_size(message);
	request->exchange.body = mem_alloc(request->exchange.body_len + 1);
	protobuf_c_message_pack(message, request->exchange.body);
}

/* It ends before a lane had it. */
static void
end_here(struct rpc_request *request, int code, const char *why)
{
	request->is_ended_here = true;
	error_set(&request->exchange.error, code, "%s: %s", request->address, why);
	hand_back(request);
}

static struct rpc_lane_room
room_of(const struct rpc_client *client, struct rpc_lane *const *lane)
{
	struct rpc_lane_room room = { .message_max = WIRE_PB_MAX,
				      .calls_max = SMALL_MAX,
				      .channels_max = RPC_CLIENT_CHANNELS_MAX,
				      .keepalive_ms = KEEPALIVE_MS };

	if (lane == &client->follow) {
		room.message_max = HAVE_MAX;
		room.calls_max = FOLLOWS_MAX;
		room.channels_max = FOLLOW_CHANNELS_MAX;
		room.keepalive_ms = FOLLOW_KEEPALIVE_MS;
	} else if (lane != &client->small) {
		room.message_max = READ_MAX;
		room.calls_max = READS_MAX / client->lane_count;
	}
	return room;
}

/* Without the library all requests end here, and whoever asked tries another wire: so a word of it to
 * the administrator, once. */
static struct rpc_commons *
commons_new(struct rpc_client *client, struct error *err)
{
	struct rpc_commons *commons = rpc_commons_new(err);

	if (commons == NULL && !client->has_warned)
		log_warn("no peer is asked by gRPC: %s", err->text);
	client->has_warned = commons == NULL;
	return commons;
}

static void
on_named(struct rpc_names_asker *asker, int code, const struct error *err,
	 const struct rpc_target *target)
{
	struct rpc_request *request =
	    (struct rpc_request *)((char *)asker - offsetof(struct rpc_request, asker));
	struct rpc_client *client = request->client;
	struct rpc_lane_room room = room_of(client, request->lane);
	struct error why = { .code = P2P_OK };

	if (code != P2P_OK) {
		end_here(request, code, err->text);
		return;
	}
	if (client->commons == NULL)
		client->commons = commons_new(client, &why);
	if (client->commons != NULL && *request->lane == NULL)
		*request->lane = rpc_lane_new(client->commons, &room, &why);
	if (*request->lane == NULL) {
		end_here(request, why.code, why.text);
		return;
	}
	request->exchange.target = *target;
	request->is_at_lane = true;
	rpc_lane_start(*request->lane, &request->exchange);
}

static struct transport_request *
start(struct rpc_request *request)
{
	struct rpc_client *client = request->client;

	if (client->is_ending) {
		end_here(request, P2P_SHUTTING_DOWN, "this peer is stopping");
		return &request->head;
	}
	request->asker.fn = on_named;
	request->asker.guard = &client->guard;
	rpc_names_ask(client->names, &request->asker, request->exchange.authority,
		      client->limits.connect_ms);
	return &request->head;
}

static struct transport_request *
greet(struct transport *transport, const char *address, const struct node_hello *hello,
      transport_greet_fn fn, void *arg)
{
	struct rpc_client *client = client_of(transport);
	struct rpc_request *request =
	    new_request(client, GREET, "/p2p.v1.Peers/Register", address, arg);
	P2p__V1__RegisterRequest *message = wire_pb_of_hello(hello);

	request->answer.max_bytes = GREETING_MAX;
	pack(request, &message->base);
	p2p__v1__register_request__free_unpacked(message, NULL);
	request->fn.greet = fn;
	return start(request);
}

static struct transport_request *
leave(struct transport *transport, const char *address, const char *self, transport_done_fn fn,
      void *arg)
{
	struct rpc_client *client = client_of(transport);
	struct rpc_request *request =
	    new_request(client, LEAVE, "/p2p.v1.Peers/Leave", address, arg);
	P2p__V1__LeaveRequest message = P2P__V1__LEAVE_REQUEST__INIT;

	assert(digest_is_base32(self));
	request->answer.max_bytes = EMPTY_MAX;
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
	struct rpc_request *request =
	    new_request(client, NOTIFY, "/p2p.v1.Peers/Notify", address, arg);
	P2p__V1__Notice *message = wire_pb_of_notice(notice);

	request->answer.max_bytes = EMPTY_MAX;
	pack(request, &message->base);
	p2p__v1__notice__free_unpacked(message, NULL);
	request->fn.done = fn;
	return start(request);
}

static struct transport_request *
pull(struct transport *transport, const char *address, const struct change_question *question,
     transport_pull_fn fn, void *arg)
{
	struct rpc_client *client = client_of(transport);
	struct rpc_request *request =
	    new_request(client, PULL, "/p2p.v1.Files/Changes", address, arg);
	P2p__V1__ChangesRequest message = P2P__V1__CHANGES_REQUEST__INIT;

	assert(digest_is_base32(question->peer));
	message.peer = (char *)question->peer;
	message.epoch = question->epoch;
	message.since = question->since;
	message.begun = question->begun;
	message.limit = question->limit;
	pack(request, &message.base);
	request->fn.pull = fn;
	return start(request);
}

/* `message` says of which pieces, and which of their nodes; of `content` we add.  `count` will come. */
static struct transport_request *
ask_nodes(struct rpc_request *request, P2p__V1__LayerRequest *message,
	  const struct content_id *content, uint64_t count, transport_layer_fn fn)
{
	assert(count <= MERKLE_LAYER_MAX);
	message->content = wire_pb_of_content(content);
	pack(request, &message->base);
	p2p__v1__content__free_unpacked(message->content, NULL);
	request->fn.layer = fn;
	request->node_count = (size_t)count;
	request->piece_bytes = message->piece;
	request->answer.max_bytes = (size_t)count * sizeof(struct digest) + LAYER_EXTRA;
	return start(request);
}

static struct transport_request *
layer(struct transport *transport, const char *address, const struct content_id *content,
      uint32_t piece_bytes, transport_layer_fn fn, void *arg)
{
	struct rpc_client *client = client_of(transport);
	P2p__V1__LayerRequest message = P2P__V1__LAYER_REQUEST__INIT;

	message.piece = piece_bytes;
	return ask_nodes(new_request(client, LAYER, "/p2p.v1.Files/Layer", address, arg), &message,
			 content, merkle_piece_count(content->size_bytes, piece_bytes), fn);
}

static struct transport_request *
leaves(struct transport *transport, const char *address, const struct content_id *content,
       uint64_t first, uint32_t count, transport_layer_fn fn, void *arg)
{
	struct rpc_client *client = client_of(transport);
	P2p__V1__LayerRequest message = P2P__V1__LAYER_REQUEST__INIT;

	assert(count > 0 && first + count <= merkle_leaf_count(content->size_bytes));
	message.piece = MERKLE_LEAF_BYTES;
	message.first = first;
	message.count = count;
	return ask_nodes(new_request(client, LAYER, "/p2p.v1.Files/Layer", address, arg), &message,
			 content, count, fn);
}

static struct transport_request *
have(struct transport *transport, const char *address, const struct holding_question *question,
     transport_have_fn fn, void *arg)
{
	struct rpc_client *client = client_of(transport);
	struct rpc_request *request = new_request(client, HAVE, "/p2p.v1.Files/Have", address, arg);
	P2p__V1__HaveRequest *message = wire_pb_of_question(question);

	assert(question->wait_ms <= HOLDINGS_WAIT_MAX_MS);
	pack(request, &message->base);
	p2p__v1__have_request__free_unpacked(message, NULL);
	request->fn.have = fn;
	request->content = question->content;
	request->answer.max_bytes = HAVE_MAX;
	if (question->wait_ms > 0)
		request->lane = &client->follow;
	request->exchange.limits.total_ms += question->wait_ms;
	return start(request);
}

static void
pack_read(struct rpc_request *request)
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

/* On a lane for bytes: as long as they come, and within the limits of bandwidth. */
static void
go_by_lane(struct rpc_request *request, uint64_t bytes, const struct rpc_exchange_ops *exchange_ops)
{
	struct rpc_client *client = request->client;
	unsigned at = idlest_lane(client);

	request->len = bytes;
	request->lane = &client->lanes[at];
	request->outstanding = &client->outstanding[at];
	client->outstanding[at] += bytes;
	request->exchange.ops = exchange_ops;
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
	struct rpc_client *client = client_of(transport);

	assert(len > 0 && offset < content->size_bytes && len <= content->size_bytes - offset);
	struct rpc_request *request =
	    new_request(client, READ, "/p2p.v1.Files/Download", address, arg);
	request->fn.done = fn;
	request->content = *content;
	request->offset = offset;
	request->sink = *sink;
	request->answer.max_bytes = RPC_FILE_MAX;
	go_by_lane(request, len, &read_ops);
	pack_read(request);
	return start(request);
}

static struct transport_request *
batch(struct transport *transport, const char *address, struct batch *contents,
      transport_done_fn fn, void *arg)
{
	struct rpc_request *request =
	    new_request(client_of(transport), BATCH, "/p2p.v1.Files/DownloadMany", address, arg);
	P2p__V1__DownloadManyRequest *message = wire_pb_of_batch(contents);

	batch_begin(contents);
	pack(request, &message->base);
	p2p__v1__download_many_request__free_unpacked(message, NULL);
	request->fn.done = fn;
	request->batch = contents;
	request->answer.max_bytes = RPC_BATCH_MESSAGE_MAX;
	go_by_lane(request, batch_bytes(contents), &batch_ops);
	return start(request);
}

static struct transport_request *
directories(struct transport *transport, const char *address, struct directory_question *question,
	    transport_done_fn fn, void *arg)
{
	struct rpc_request *request = new_request(client_of(transport), DIRECTORIES,
						  "/p2p.v1.Files/Directories", address, arg);
	P2p__V1__DirectoriesRequest message = P2P__V1__DIRECTORIES_REQUEST__INIT;

	assert(question->count >= 1 && question->count <= DIRECTORIES_MAX);
	message.n_names = question->count;
	message.names = (char **)question->names;
	pack(request, &message.base);
	request->fn.done = fn;
	request->directories = question;
	request->answer.max_bytes = DIRECTORIES_ANSWER_MAX;
	return start(request);
}

static void
cancel(struct transport_request *head)
{
	struct rpc_request *request = (struct rpc_request *)head;
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
	.leaves = leaves,
	.have = have,
	.read = read_bytes,
	.batch = batch,
	.directories = directories,
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
rpc_client_throttle(struct transport *transport, const struct transport_limit *limit)
{
	client_of(transport)->throttle = *limit;
}

void
rpc_client_guard(struct transport *transport, const struct address_guard *guard)
{
	client_of(transport)->guard = *guard;
}

void
rpc_client_free(struct transport *transport)
{
	if (transport == NULL)
		return;
	struct rpc_client *client = client_of(transport);

	client->is_ending = true;
	rpc_names_free(client->names);
	rpc_lane_stop(client->small);
	rpc_lane_stop(client->follow);
	for (unsigned i = 0; i < client->lane_count; i++)
		rpc_lane_stop(client->lanes[i]);
	rpc_lane_free(client->small);
	rpc_lane_free(client->follow);
	for (unsigned i = 0; i < client->lane_count; i++)
		rpc_lane_free(client->lanes[i]);
	rpc_commons_free(client->commons);
	/* What a done function starts now comes back at once. */
	transport_ended_conclude_all(&client->ended);
	loop_post(client->loop, free_client, client);
}
