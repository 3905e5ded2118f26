/* SPDX-License-Identifier: MIT
 *
 * check_rpc_client.c - the gRPC transport against a server that says exactly what a test wants, and against listeners that
 * speak no gRPC at all.
 */
#include "rpc_client.h"

#include <arpa/inet.h>
#include <check.h>
#include <dirent.h>
#include <grpc/status.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "mem.h"
#include "merkle.h"
#include "metrics.h"
#include "rpc_client_download.h"
#include "rpc_client_lane.h"
#include "rpc_fake.h"
#include "wire_pb.h"

#define ID      "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define WAIT_MS 20000 /* for anything at all */
#define MIB     (1u << 20)
#define HAVE    "/p2p.v1.Files/Have"

/* What came of one request. */
struct outcome {
	bool is_done;
	int code;
	char text[ERROR_TEXT_MAX];
	struct node_record theirs;
	size_t known_count, layer_count;
	uint32_t round_trip_us;
	struct change_page *page;
	struct holding_answer held;
	uint64_t offset; /* of what is fed */
	char fed[64];    /* the first bytes */
	size_t fed_len;
	bool is_wrong;       /* a byte was not byte_at() */
	bool is_checked;     /* compare with byte_at() */
	atomic_bool is_over; /* done was called: no feed may come */
	int sink_answer;
	struct transport *again; /* greet once more when done */
	const char *address;
	unsigned again_count;
};

static unsigned char
byte_at(uint64_t offset)
{
	return (unsigned char)(offset * 7 + offset / 251);
}

static void
on_again(void *arg, int code, const struct error *err)
{
	struct outcome *outcome = arg;

	ck_assert_int_eq(code, P2P_SHUTTING_DOWN);
	ck_assert_int_eq(err->code, code);
	outcome->again_count++;
}

static void
on_done(void *arg, int code, const struct error *err)
{
	struct outcome *outcome = arg;
	struct notice notice = { .peer = ID, .epoch = 1, .seq = 1 };

	ck_assert(!outcome->is_done);
	ck_assert_int_eq(err->code, code);
	outcome->is_done = true;
	outcome->code = code;
	memcpy(outcome->text, err->text, sizeof(outcome->text));
	atomic_store(&outcome->is_over, true);
	if (outcome->again != NULL)
		outcome->again->ops->notify(outcome->again, outcome->address, &notice, on_again,
					    outcome);
}

static void
on_greet(void *arg, int code, const struct error *err, const struct transport_greeting *greeting)
{
	struct outcome *outcome = arg;

	ck_assert((greeting != NULL) == (code == P2P_OK));
	if (greeting != NULL) {
		outcome->theirs = *greeting->theirs;
		outcome->known_count = greeting->known_count;
		outcome->round_trip_us = greeting->round_trip_us;
	}
	on_done(arg, code, err);
}

static void
on_pull(void *arg, int code, const struct error *err, struct change_page *page)
{
	((struct outcome *)arg)->page = page;
	on_done(arg, code, err);
}

static void
on_layer(void *arg, int code, const struct error *err, const struct digest *layer, size_t count)
{
	ck_assert((layer != NULL) == (code == P2P_OK));
	if (layer != NULL)
		ck_assert_int_eq(layer[count - 1].bytes[DIGEST_BYTES - 1], 7);
	((struct outcome *)arg)->layer_count = count;
	on_done(arg, code, err);
}

static void
on_have(void *arg, int code, const struct error *err, struct holding_answer *answer)
{
	ck_assert((answer != NULL) == (code == P2P_OK));
	if (answer != NULL)
		((struct outcome *)arg)->held = *answer;
	on_done(arg, code, err);
}

static int
feed(void *arg, const void *data, size_t len, struct error *err)
{
	struct outcome *outcome = arg;
	const unsigned char *bytes = data;

	ck_assert(!atomic_load(&outcome->is_over));
	for (size_t i = 0; i < len; i++, outcome->fed_len++) {
		if (outcome->fed_len < sizeof(outcome->fed))
			outcome->fed[outcome->fed_len] = (char)bytes[i];
		if (outcome->is_checked && bytes[i] != byte_at(outcome->offset + outcome->fed_len))
			outcome->is_wrong = true;
	}
	if (outcome->sink_answer != P2P_OK)
		return error_set(err, outcome->sink_answer, "the sink has had enough");
	return P2P_OK;
}

/* A client, a server, a loop. */
struct stage {
	struct loop *loop;
	struct pool *pool;
	struct transport *client;
	struct rpc_fake *fake;
	char address[NODE_ADDRESS_SIZE];
	struct outcome outcome;
	/* What the fake saw last; read it after the answer came. */
	pthread_mutex_t mu;
	char method[64];
	char request[4096];
	size_t request_len;
	/* What it answers. */
	struct rpc_fake_reply reply;
	bool holds_have; /* and nothing to Have */
	unsigned said;   /* times that it did */
};

static const struct rpc_client_limits short_limits = {
	.connect_ms = 500, .answer_ms = 600, .stall_ms = 300, .stall_bps = 1000
};

/* Always the stage's reply. */
static void
say(void *arg, const char *method, const void *request, size_t len, struct rpc_fake_reply *reply)
{
	struct stage *stage = arg;

	pthread_mutex_lock(&stage->mu);
	snprintf(stage->method, sizeof(stage->method), "%s", method);
	stage->request_len = len < sizeof(stage->request) ? len : sizeof(stage->request);
	memcpy(stage->request, request, stage->request_len);
	*reply = stage->reply;
	reply->count = 0;
	reply->hold |= stage->holds_have && strcmp(method, HAVE) == 0;
	for (size_t i = 0; i < stage->reply.count; i++)
		rpc_fake_add(reply, stage->reply.messages[i], stage->reply.lens[i]);
	stage->said++;
	pthread_mutex_unlock(&stage->mu);
}

static void
stage_open_client(struct stage *stage)
{
	memset(stage, 0, sizeof(*stage));
	pthread_mutex_init(&stage->mu, NULL);
	stage->loop = loop_new(NULL);
	stage->pool = pool_new(stage->loop, 1);
	stage->client = rpc_client_new(stage->loop, stage->pool, 2, NULL);
	rpc_client_limit(stage->client, &short_limits);
}

static void
stage_address(struct stage *stage, uint16_t port)
{
	node_address_make(WIRE_GRPC, "127.0.0.1", port, stage->address);
}

static void
stage_open(struct stage *stage)
{
	stage_open_client(stage);
	stage->fake = rpc_fake_new(say, stage, 0, 0);
	stage_address(stage, rpc_fake_port(stage->fake));
}

static void
wait_for(struct stage *stage, struct outcome *outcome)
{
	uint64_t until_ms = clock_ms() + WAIT_MS;

	while (!outcome->is_done && clock_ms() < until_ms)
		loop_turn(stage->loop, 50);
	ck_assert(outcome->is_done);
}

/* The reply is written by the test and read by the fake, never at once; this is how ThreadSanitizer knows. */
static void
stage_sync(struct stage *stage)
{
	pthread_mutex_lock(&stage->mu);
	pthread_mutex_unlock(&stage->mu);
}

/* For another request. */
static void
stage_again(struct stage *stage)
{
	stage_sync(stage);
	change_page_free(stage->outcome.page);
	holding_answer_fini(&stage->outcome.held);
	memset(&stage->outcome, 0, sizeof(stage->outcome));
}

static void
stage_reply_clear(struct stage *stage)
{
	stage_sync(stage);
	for (size_t i = 0; i < stage->reply.count; i++)
		free(stage->reply.messages[i]);
	memset(&stage->reply, 0, sizeof(stage->reply));
}

static void
stage_close(struct stage *stage)
{
	rpc_client_free(stage->client);
	if (stage->fake != NULL)
		rpc_fake_free(stage->fake);
	pool_free(stage->pool);
	loop_free(stage->loop);
	stage_reply_clear(stage);
	stage_again(stage);
	pthread_mutex_destroy(&stage->mu);
}

static struct content_id
content(uint64_t size)
{
	struct content_id id = { .size_bytes = size };

	memset(id.root.bytes, 1, sizeof(id.root.bytes));
	return id;
}

static struct transport_request *
start_read(struct stage *stage, uint64_t size, uint64_t offset, uint64_t len)
{
	struct content_id id = content(size);
	struct transport_sink sink = { .feed = feed, .arg = &stage->outcome };

	stage_sync(stage);
	return stage->client->ops->read(stage->client, stage->address, &id, offset, len, &sink,
					on_done, &stage->outcome);
}

static struct transport_request *
start_notify(struct stage *stage)
{
	struct notice notice = { .peer = ID, .epoch = 8, .seq = 9 };

	stage_sync(stage);
	return stage->client->ops->notify(stage->client, stage->address, &notice, on_done,
					  &stage->outcome);
}

/* Adds a packed message to a reply. */
static void
add(struct rpc_fake_reply *reply, const ProtobufCMessage *message)
{
	size_t len = protobuf_c_message_get_packed_size(message);
	unsigned char *packed = mem_alloc(len + 1);

	protobuf_c_message_pack(message, packed);
	rpc_fake_add(reply, packed, len);
	free(packed);
}

static void
add_file(struct rpc_fake_reply *reply, uint64_t size)
{
	P2p__V1__DownloadResponse response = P2P__V1__DOWNLOAD_RESPONSE__INIT;
	P2p__V1__File file = P2P__V1__FILE__INIT;
	struct content_id id = content(size);

	file.content = wire_pb_of_content(&id);
	file.name = (char *)"a/file";
	response.file = &file;
	add(reply, &response.base);
	p2p__v1__content__free_unpacked(file.content, NULL);
}

static void
add_data(struct rpc_fake_reply *reply, const void *data, size_t len)
{
	P2p__V1__DownloadResponse response = P2P__V1__DOWNLOAD_RESPONSE__INIT;

	response.data.data = (uint8_t *)data;
	response.data.len = len;
	add(reply, &response.base);
}

static void
add_text(struct rpc_fake_reply *reply, const char *text)
{
	add_data(reply, text, strlen(text));
}

/* A message of one field that nobody knows. */
static void
add_unknown(struct rpc_fake_reply *reply, size_t len)
{
	const unsigned char head[] = { 15 << 3 | 2, 0x80 | (len & 0x7f), 0x80 | (len >> 7 & 0x7f),
				       (unsigned char)(len >> 14) };
	unsigned char *bytes = mem_zero(1, sizeof(head) + len);

	ck_assert_uint_lt(len, 1 << 21);
	memcpy(bytes, head, sizeof(head));
	rpc_fake_add(reply, bytes, sizeof(head) + len);
	free(bytes);
}

static void
expect(struct stage *stage, int code)
{
	wait_for(stage, &stage->outcome);
	stage_sync(stage);
	ck_assert_msg(stage->outcome.code == code, "%s instead of %s: %s",
		      code_slug(stage->outcome.code), code_slug(code), stage->outcome.text);
	if (code != P2P_OK)
		ck_assert_msg(strstr(stage->outcome.text, stage->address) != NULL, "%s",
			      stage->outcome.text);
}

/* Reads [4, 12) of 16 bytes, expects a code and so many bytes, and empties the reply. */
static void
expect_read(struct stage *stage, int code, size_t fed)
{
	stage_again(stage);
	start_read(stage, 16, 4, 8);
	expect(stage, code);
	ck_assert_uint_eq(stage->outcome.fed_len, fed);
	stage_reply_clear(stage);
}

/* Small requests. */

START_TEST(test_a_greeting_gives_both_sides_records)
{
	struct node_record records[2] = {
		{ .id = ID,
		  .name = "a",
		  .version = "1",
		  .address_count = 2,
		  .addresses = { "http://10.0.0.1:5001", "grpc://10.0.0.1:50051" },
		  .epoch = 3,
		  .seq = 4 },
		{ .id = "baaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
		  .name = "b",
		  .version = "1" }
	};
	struct node_hello hello = {
		.node = { .id = ID, .name = "me myself", .version = "1" },
		.view = { .is_told = true, .sums = { 7 } },
	};
	P2p__V1__RegisterResponse *answer = wire_pb_of_registered(&records[0], &records[1], 1);
	struct stage stage;

	stage_open(&stage);
	add(&stage.reply, &answer->base);
	for (int i = 0; i < 2; i++) { /* the second on a connection that stands */
		stage_again(&stage);
		stage.client->ops->greet(stage.client, stage.address, &hello, on_greet,
					 &stage.outcome);
		expect(&stage, P2P_OK);
		ck_assert_str_eq(stage.outcome.theirs.name, "a");
		ck_assert_str_eq(stage.outcome.theirs.addresses[1], "grpc://10.0.0.1:50051");
		ck_assert_uint_eq(stage.outcome.theirs.seq, 4);
		ck_assert_uint_eq(stage.outcome.known_count, 1);
		ck_assert_uint_gt(stage.outcome.round_trip_us, 0);
		ck_assert_uint_lt(stage.outcome.round_trip_us, 1000000);
	}
	ck_assert_str_eq(stage.method, "/p2p.v1.Peers/Register");
	P2p__V1__RegisterRequest *asked = p2p__v1__register_request__unpack(
	    NULL, stage.request_len, (const uint8_t *)stage.request);
	ck_assert_ptr_nonnull(asked);
	ck_assert_str_eq(asked->node->name, "me myself");
	ck_assert_uint_eq(asked->n_view, NODE_VIEW_SUMS);
	ck_assert_uint_eq(asked->view[0], 7);
	p2p__v1__register_request__free_unpacked(asked, NULL);
	p2p__v1__register_response__free_unpacked(answer, NULL);
	stage_close(&stage);
}
END_TEST

START_TEST(test_a_notice_and_a_good_bye_arrive)
{
	struct stage stage;

	stage_open(&stage);
	rpc_fake_add(&stage.reply, "", 0);
	start_notify(&stage);
	expect(&stage, P2P_OK);
	ck_assert_str_eq(stage.method, "/p2p.v1.Peers/Notify");
	P2p__V1__Notice *notice =
	    p2p__v1__notice__unpack(NULL, stage.request_len, (const uint8_t *)stage.request);
	ck_assert_str_eq(notice->peer, ID);
	ck_assert_uint_eq(notice->epoch, 8);
	ck_assert_uint_eq(notice->seq, 9);
	p2p__v1__notice__free_unpacked(notice, NULL);

	stage_again(&stage);
	stage.client->ops->leave(stage.client, stage.address, ID, on_done, &stage.outcome);
	expect(&stage, P2P_OK);
	ck_assert_str_eq(stage.method, "/p2p.v1.Peers/Leave");
	ck_assert_uint_eq(stage.request_len, 2 + strlen(ID));
	stage_close(&stage);
}
END_TEST

START_TEST(test_a_pull_gives_the_page)
{
	struct change_page *page = change_page_new();
	struct change change = {
		.seq = 1, .name = (char *)"x", .content = content(5), .mode = 0644
	};
	struct change_question question = { .peer = ID, .epoch = 7, .since = 8, .begun = 10, .limit = 9 };
	struct stage stage;

	strcpy(page->peer, ID);
	page->epoch = page->through = page->head = 1;
	page->is_reset = true;
	page->file_count = 1;
	page->byte_count = 5;
	change_page_add(page, &change);
	P2p__V1__ChangesResponse *answer = wire_pb_of_changes(page);
	stage_open(&stage);
	add(&stage.reply, &answer->base);
	stage_sync(&stage);
	stage.client->ops->pull(stage.client, stage.address, &question, on_pull, &stage.outcome);
	expect(&stage, P2P_OK);
	ck_assert_uint_eq(stage.outcome.page->count, 1);
	ck_assert_str_eq(stage.outcome.page->items[0].name, "x");
	ck_assert_str_eq(stage.method, "/p2p.v1.Files/Changes");
	P2p__V1__ChangesRequest *asked = p2p__v1__changes_request__unpack(
	    NULL, stage.request_len, (const uint8_t *)stage.request);
	ck_assert_uint_eq(asked->epoch, 7);
	ck_assert_uint_eq(asked->since, 8);
	ck_assert_uint_eq(asked->begun, 10);
	ck_assert_uint_eq(asked->limit, 9);
	p2p__v1__changes_request__free_unpacked(asked, NULL);
	p2p__v1__changes_response__free_unpacked(answer, NULL);
	change_page_free(page);
	stage_close(&stage);
}
END_TEST

static void
layer_once(struct stage *stage, uint32_t piece, size_t len, int code)
{
	struct content_id id = content(3 * MERKLE_PIECE_MIN);
	P2p__V1__LayerResponse answer = P2P__V1__LAYER_RESPONSE__INIT;
	unsigned char nodes[128];

	memset(nodes, 7, sizeof(nodes));
	stage_again(stage);
	stage_reply_clear(stage);
	answer.piece = piece;
	answer.nodes.data = nodes;
	answer.nodes.len = len;
	add(&stage->reply, &answer.base);
	stage_sync(stage);
	if (piece == MERKLE_LEAF_BYTES)
		stage->client->ops->leaves(stage->client, stage->address, &id, 4, 3, on_layer,
					   &stage->outcome);
	else
		stage->client->ops->layer(stage->client, stage->address, &id, MERKLE_PIECE_MIN,
					  on_layer, &stage->outcome);
	expect(stage, code);
	ck_assert_uint_eq(stage->outcome.layer_count, code == P2P_OK ? 3 : 0);
}

START_TEST(test_a_layer_has_exactly_its_nodes_and_pieces)
{
	struct stage stage;

	stage_open(&stage);
	layer_once(&stage, MERKLE_PIECE_MIN, 96, P2P_OK);
	ck_assert_str_eq(stage.method, "/p2p.v1.Files/Layer");
	layer_once(&stage, MERKLE_PIECE_MIN, 95, P2P_BAD_ANSWER);
	layer_once(&stage, MERKLE_PIECE_MIN, 97, P2P_BAD_ANSWER);
	layer_once(&stage, MERKLE_PIECE_MIN, 0, P2P_BAD_ANSWER);
	layer_once(&stage, 2 * MERKLE_PIECE_MIN, 96, P2P_BAD_ANSWER);
	layer_once(&stage, MERKLE_LEAF_BYTES, 96, P2P_OK);
	ck_assert_str_eq(stage.method, "/p2p.v1.Files/Layer");
	layer_once(&stage, MERKLE_LEAF_BYTES, 95, P2P_BAD_ANSWER);
	layer_once(&stage, MERKLE_LEAF_BYTES, 128, P2P_BAD_ANSWER);
	stage_close(&stage);
}
END_TEST

/* What is held of three pieces. */
static struct transport_request *
start_have(struct stage *stage, uint32_t wait_ms, struct outcome *outcome)
{
	struct holding_question question = {
		.content = content(3 * MERKLE_PIECE_MIN), .since = 5, .wait_ms = wait_ms, .peer = ID
	};

	stage_sync(stage);
	return stage->client->ops->have(stage->client, stage->address, &question, on_have, outcome);
}

static void
have_once(struct stage *stage, const P2p__V1__HaveResponse *answer, int code)
{
	stage_again(stage);
	stage_reply_clear(stage);
	add(&stage->reply, &answer->base);
	start_have(stage, 0, &stage->outcome);
	expect(stage, code);
}

START_TEST(test_what_is_held_is_asked_for_and_told)
{
	P2p__V1__HaveResponse answer = P2P__V1__HAVE_RESPONSE__INIT;
	char *peers[] = { (char *)ID };
	uint64_t pieces[] = { 2, 0 };
	uint8_t bits[] = { 0xa0 };
	struct stage stage;

	stage_open(&stage);
	answer.next = 9;
	answer.peers = peers;
	answer.n_peers = 1;
	answer.pieces = pieces;
	answer.n_pieces = 2;
	have_once(&stage, &answer, P2P_OK);
	ck_assert_uint_eq(stage.outcome.held.next, 9);
	ck_assert_uint_eq(stage.outcome.held.piece_count, 2);
	ck_assert_uint_eq(stage.outcome.held.pieces[0], 2);
	ck_assert_str_eq(stage.outcome.held.peers[0], ID);
	ck_assert_str_eq(stage.method, HAVE);
	P2p__V1__HaveRequest *asked =
	    p2p__v1__have_request__unpack(NULL, stage.request_len, (const uint8_t *)stage.request);
	ck_assert_uint_eq(asked->content->size, 3 * MERKLE_PIECE_MIN);
	ck_assert_uint_eq(asked->since, 5);
	ck_assert_uint_eq(asked->wait_ms, 0);
	ck_assert_str_eq(asked->peer, ID);
	p2p__v1__have_request__free_unpacked(asked, NULL);

	answer.n_pieces = 0;
	answer.full = true;
	answer.bits = (ProtobufCBinaryData){ 1, bits };
	have_once(&stage, &answer, P2P_OK);
	ck_assert(stage.outcome.held.is_full && stage.outcome.held.bits[0] == 0xa0);
	stage_close(&stage);
}
END_TEST

START_TEST(test_held_pieces_that_cannot_be_are_a_bad_answer)
{
	P2p__V1__HaveResponse answer = P2P__V1__HAVE_RESPONSE__INIT;
	char *peers[HOLDINGS_NEWS_MAX + 1];
	uint64_t pieces[] = { 3 };
	uint8_t bits[] = { 0xa0, 0 };
	struct stage stage;

	stage_open(&stage);
	answer.pieces = pieces;
	answer.n_pieces = 1;
	have_once(&stage, &answer, P2P_BAD_ANSWER);
	answer.n_pieces = 0;
	answer.full = true;
	have_once(&stage, &answer, P2P_BAD_ANSWER);
	answer.bits = (ProtobufCBinaryData){ 2, bits };
	have_once(&stage, &answer, P2P_BAD_ANSWER);
	bits[0] = 0xb0;
	answer.bits.len = 1;
	have_once(&stage, &answer, P2P_BAD_ANSWER);
	for (size_t i = 0; i <= HOLDINGS_NEWS_MAX; i++)
		peers[i] = (char *)ID;
	bits[0] = 0xa0;
	answer.peers = peers;
	answer.n_peers = HOLDINGS_FOLLOWERS_MAX;
	have_once(&stage, &answer, P2P_OK);
	answer.n_peers++;
	have_once(&stage, &answer, P2P_BAD_ANSWER);
	answer = (P2p__V1__HaveResponse)P2P__V1__HAVE_RESPONSE__INIT;
	answer.peers = peers;
	answer.n_peers = HOLDINGS_NEWS_MAX + 1;
	have_once(&stage, &answer, P2P_BAD_ANSWER);
	/* More bytes than it could be, and a flood of numbers. */
	uint8_t *flood = mem_zero(1, MIB);
	answer = (P2p__V1__HaveResponse)P2P__V1__HAVE_RESPONSE__INIT;
	answer.bits = (ProtobufCBinaryData){ MIB, flood };
	have_once(&stage, &answer, P2P_BAD_ANSWER);
	free(flood);
	stage_close(&stage);
}
END_TEST

START_TEST(test_an_answer_may_wait_as_long_as_it_was_told_and_no_longer)
{
	struct stage stage;

	stage_open(&stage);
	for (int is_late = 0; is_late < 2; is_late++) {
		uint64_t begin_ms = clock_ms();

		stage_again(&stage);
		stage_reply_clear(&stage);
		rpc_fake_add(&stage.reply, "", 0);
		stage.reply.pause_ms = (int)short_limits.answer_ms + 200;
		stage.reply.hold = is_late;
		start_have(&stage, 1000, &stage.outcome);
		expect(&stage, is_late ? P2P_TIMEOUT : P2P_OK);
		ck_assert_uint_ge(clock_ms() - begin_ms, is_late ? short_limits.answer_ms + 950
								 : short_limits.answer_ms + 150);
	}
	stage_close(&stage);
}
END_TEST

#define WAITING 300

/* Turns until the fake has heard so many calls. */
static void
wait_said(struct stage *stage, unsigned count)
{
	uint64_t until_ms = clock_ms() + WAIT_MS;

	for (unsigned said = 0; said < count;) {
		ck_assert_uint_lt(clock_ms(), until_ms);
		loop_turn(stage->loop, 10);
		pthread_mutex_lock(&stage->mu);
		said = stage->said;
		pthread_mutex_unlock(&stage->mu);
	}
}

/* Turns until so many of them have not ended. */
static void
wait_live(struct stage *stage, unsigned count)
{
	uint64_t until_ms = clock_ms() + WAIT_MS;

	while (rpc_fake_live(stage->fake) != count && clock_ms() < until_ms)
		loop_turn(stage->loop, 10);
	ck_assert_uint_eq(rpc_fake_live(stage->fake), count);
}

START_TEST(test_questions_that_wait_hold_up_no_other_request)
{
	static struct outcome outcomes[WAITING];
	struct transport_request *requests[WAITING];
	struct stage stage;

	stage_open(&stage);
	stage.holds_have = true;
	for (int i = 0; i < WAITING; i++)
		requests[i] = start_have(&stage, HOLDINGS_WAIT_MAX_MS, &outcomes[i]);
	wait_said(&stage, WAITING);
	rpc_fake_add(&stage.reply, "", 0);
	start_notify(&stage);
	expect(&stage, P2P_OK);
	stage_reply_clear(&stage);
	add_file(&stage.reply, 16);
	add_text(&stage.reply, "45678901");
	expect_read(&stage, P2P_OK, 8);
	for (int i = 0; i < WAITING; i += 2)
		stage.client->ops->cancel(requests[i]);
	for (int i = 0; i < WAITING; i += 2) {
		wait_for(&stage, &outcomes[i]);
		ck_assert_int_eq(outcomes[i].code, P2P_CANCELLED);
	}
	wait_live(&stage, WAITING / 2);
	stage_close(&stage);
	for (int i = 1; i < WAITING; i += 2) {
		ck_assert(outcomes[i].is_done);
		ck_assert_int_eq(outcomes[i].code, P2P_SHUTTING_DOWN);
	}
}
END_TEST

START_TEST(test_small_answers_that_make_no_sense)
{
	struct node_hello hello = { .node = { .id = ID, .name = "me", .version = "1" } };
	struct stage stage;
	size_t big = WIRE_PB_MAX + 4096;
	char *bytes = mem_zero(1, big);

	stage_open(&stage);
	for (int kind = 0; kind < 4; kind++) {
		stage_again(&stage);
		stage_reply_clear(&stage);
		if (kind == 1) /* malformed */
			rpc_fake_add(&stage.reply, "\x0a\x7fxx", 4);
		if (kind == 2) /* well-formed, without a node */
			rpc_fake_add(&stage.reply, "", 0);
		if (kind == 3)
			rpc_fake_add(&stage.reply, bytes, big);
		stage_sync(&stage);
		stage.client->ops->greet(stage.client, stage.address, &hello, on_greet,
					 &stage.outcome);
		expect(&stage, P2P_BAD_ANSWER);
	}
	/* Two where there is to be one. */
	stage_again(&stage);
	stage_reply_clear(&stage);
	rpc_fake_add(&stage.reply, "", 0);
	rpc_fake_add(&stage.reply, "", 0);
	start_notify(&stage);
	expect(&stage, P2P_BAD_ANSWER);
	/* Much where there is to be nothing. */
	stage_again(&stage);
	stage_reply_clear(&stage);
	add_unknown(&stage.reply, 128 << 10);
	start_notify(&stage);
	expect(&stage, P2P_BAD_ANSWER);
	free(bytes);
	stage_close(&stage);
}
END_TEST

START_TEST(test_a_status_becomes_its_code_but_not_one_of_our_own)
{
	static const struct {
		int status;
		const char *details;
		int code;
		const char *text;
	} rows[] = {
		{ GRPC_STATUS_NOT_FOUND, "not-found: it is gone", P2P_NOT_FOUND,
		  "answered: it is gone" },
		{ GRPC_STATUS_INVALID_ARGUMENT, "bad-name: no", P2P_BAD_NAME, "no" },
		{ GRPC_STATUS_RESOURCE_EXHAUSTED, "no-space: full", P2P_UNREACHABLE, "full" },
		{ GRPC_STATUS_UNAVAILABLE, "shutting-down: bye", P2P_UNREACHABLE, "bye" },
		{ GRPC_STATUS_INTERNAL, "io-error: disk", P2P_UNREACHABLE, "disk" },
		{ GRPC_STATUS_CANCELLED, "", P2P_UNREACHABLE, "" },
		{ GRPC_STATUS_UNIMPLEMENTED, "", P2P_BAD_METHOD, "status 12" },
		{ GRPC_STATUS_PERMISSION_DENIED, "two\nlines\xff", P2P_FORBIDDEN, "two?lines?" },
		{ GRPC_STATUS_UNKNOWN, "what", P2P_BAD_ANSWER, "what" },
		{ GRPC_STATUS_RESOURCE_EXHAUSTED, "slower", P2P_UNREACHABLE, "slower" },
		{ GRPC_STATUS_RESOURCE_EXHAUSTED, "too-many: of us", P2P_UNREACHABLE, "of us" },
	};
	struct stage stage;

	stage_open(&stage);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		stage_again(&stage);
		stage.reply.status = rows[i].status;
		stage.reply.details = rows[i].details;
		start_notify(&stage);
		expect(&stage, rows[i].code);
		ck_assert_msg(strstr(stage.outcome.text, rows[i].text) != NULL, "%s",
			      stage.outcome.text);
	}
	stage_close(&stage);
}
END_TEST

START_TEST(test_an_answer_that_does_not_come_is_a_timeout)
{
	struct stage stage;
	uint64_t begin_ms = clock_ms();

	stage_open(&stage);
	stage.reply.hold = true;
	start_notify(&stage);
	expect(&stage, P2P_TIMEOUT);
	ck_assert_uint_ge(clock_ms() - begin_ms, short_limits.answer_ms - 50);
	stage_close(&stage);
}
END_TEST

/* Reads. */

START_TEST(test_a_range_reaches_the_sink)
{
	struct stage stage;
	uint64_t before = metrics_get(METRIC_RPC_BYTES_IN);

	stage_open(&stage);
	add_file(&stage.reply, 16);
	add_text(&stage.reply, "456");
	add_text(&stage.reply, "");
	add_text(&stage.reply, "78901");
	expect_read(&stage, P2P_OK, 8);
	ck_assert_mem_eq(stage.outcome.fed, "45678901", 8);
	ck_assert_uint_eq(metrics_get(METRIC_RPC_BYTES_IN) - before, 8);
	ck_assert_str_eq(stage.method, "/p2p.v1.Files/Download");
	P2p__V1__DownloadRequest *asked = p2p__v1__download_request__unpack(
	    NULL, stage.request_len, (const uint8_t *)stage.request);
	ck_assert_uint_eq(asked->offset, 4);
	ck_assert_uint_eq(asked->length, 8);
	ck_assert_int_eq(asked->file->by_case, P2P__V1__FILE_SPEC__BY_CONTENT);
	ck_assert_uint_eq(asked->file->content->size, 16);
	ck_assert_int_eq(asked->scope, P2P__V1__SCOPE__SCOPE_LOCAL);
	p2p__v1__download_request__free_unpacked(asked, NULL);
	stage_close(&stage);
}
END_TEST

START_TEST(test_answers_that_do_not_fit_feed_nothing_wrong)
{
	struct stage stage;

	stage_open(&stage);
	expect_read(&stage, P2P_BAD_ANSWER, 0); /* nothing at all */
	add_text(&stage.reply, "45678901");
	expect_read(&stage, P2P_BAD_ANSWER, 0); /* no file */
	add_file(&stage.reply, 17);
	add_text(&stage.reply, "45678901");
	expect_read(&stage, P2P_BAD_ANSWER, 0); /* another file */
	rpc_fake_add(&stage.reply, "\x0a\x00", 2);
	add_text(&stage.reply, "45678901");
	expect_read(&stage, P2P_BAD_ANSWER, 0); /* a file without a content */
	add_file(&stage.reply, 16);
	add_file(&stage.reply, 16);
	add_text(&stage.reply, "45678901");
	expect_read(&stage, P2P_BAD_ANSWER, 0); /* two files */
	add_file(&stage.reply, 16);
	rpc_fake_add(&stage.reply,
		     "\x12\x09"
		     "45678901",
		     10);
	expect_read(&stage, P2P_BAD_ANSWER, 0); /* a length that is not true */
	add_file(&stage.reply, 16);
	add_text(&stage.reply, "4567");
	expect_read(&stage, P2P_BAD_ANSWER, 4); /* too few */
	add_file(&stage.reply, 16);
	add_text(&stage.reply, "4567");
	add_text(&stage.reply, "89012");
	expect_read(&stage, P2P_BAD_ANSWER, 4); /* too many */
	stage_close(&stage);
}
END_TEST

START_TEST(test_a_file_that_describes_itself_without_end_is_a_bad_answer)
{
	struct stage stage;
	P2p__V1__DownloadResponse response = P2P__V1__DOWNLOAD_RESPONSE__INIT;
	P2p__V1__File file = P2P__V1__FILE__INIT;
	struct content_id id = content(16);

	stage_open(&stage);
	file.content = wire_pb_of_content(&id);
	file.name = mem_zero(1, 2 * MIB);
	memset(file.name, 'x', 2 * MIB - 1);
	response.file = &file;
	add(&stage.reply, &response.base);
	add_text(&stage.reply, "45678901");
	expect_read(&stage, P2P_BAD_ANSWER, 0);
	p2p__v1__content__free_unpacked(file.content, NULL);
	free(file.name);
	stage_close(&stage);
}
END_TEST

START_TEST(test_what_is_unknown_is_skipped_but_not_for_ever)
{
	struct stage stage;

	stage_open(&stage);
	add_file(&stage.reply, 16);
	add_unknown(&stage.reply, 64 << 10);
	add_text(&stage.reply, "45678901");
	expect_read(&stage, P2P_OK, 8);
	add_file(&stage.reply, 16);
	add_text(&stage.reply, "4567");
	for (int i = 0; i < 8; i++)
		add_unknown(&stage.reply, 64 << 10);
	add_text(&stage.reply, "8901");
	expect_read(&stage, P2P_BAD_ANSWER, 4);
	stage_close(&stage);
}
END_TEST

/* Batches. */

static struct batch_content three[3]; /* of 4, 0 and 8 bytes */
static unsigned char three_data[16];
static unsigned three_told, refused_at; /* on_arrived() refuses this one; 0: none */

static int
on_arrived(void *arg, size_t index, struct error *err)
{
	(void)arg;
	ck_assert_uint_eq(index, three_told);
	if (++three_told == refused_at)
		return error_set(err, P2P_BAD_CONTENT, "these are others");
	return P2P_OK;
}

/* Adds a message of contents: a text for each that is given, NULL for one that is not. */
static void
add_contents(struct rpc_fake_reply *reply, size_t count, const char *const texts[])
{
	P2p__V1__DownloadManyResponse response = P2P__V1__DOWNLOAD_MANY_RESPONSE__INIT;
	P2p__V1__SmallContent contents[4], *list[4];

	for (size_t i = 0; i < count; i++) {
		list[i] = &contents[i];
		p2p__v1__small_content__init(list[i]);
		list[i]->status = texts[i] == NULL ? GRPC_STATUS_NOT_FOUND : GRPC_STATUS_OK;
		list[i]->data.data = (uint8_t *)texts[i];
		list[i]->data.len = texts[i] == NULL ? 0 : strlen(texts[i]);
	}
	response.n_contents = count;
	response.contents = list;
	add(reply, &response.base);
}

/* Asks for the three, expects a code and that so many were told, and empties the reply. */
static void
expect_three(struct stage *stage, int code, unsigned told)
{
	static const unsigned char sizes[] = { 4, 0, 8 };
	static struct batch batch = { .contents = three, .count = 3, .arrived = on_arrived };

	for (size_t i = 0; i < 3; i++)
		three[i] =
		    (struct batch_content){ .id = content(sizes[i]), .data = three_data + 4 * i };
	merkle_empty_root(&three[1].id.root);
	three_told = 0;
	stage_again(stage);
	stage_sync(stage);
	stage->client->ops->batch(stage->client, stage->address, &batch, on_done, &stage->outcome);
	expect(stage, code);
	ck_assert_uint_eq(three_told, told);
	stage_reply_clear(stage);
}

#define CONTENTS(...)                                                                    \
	sizeof((const char *[]){ __VA_ARGS__ }) / sizeof(const char *), (const char *[]) \
	{                                                                                \
		__VA_ARGS__                                                              \
	}

START_TEST(test_a_batch_is_told_content_by_content)
{
	struct stage stage;

	stage_open(&stage);
	add_contents(&stage.reply, CONTENTS("abcd", NULL));
	add_contents(&stage.reply, CONTENTS("12345678"));
	expect_three(&stage, P2P_OK, 3);
	ck_assert_int_eq(three[0].code, P2P_OK);
	ck_assert_int_eq(three[1].code, P2P_NOT_FOUND);
	ck_assert_mem_eq(three_data, "abcd", 4);
	ck_assert_mem_eq(three_data + 8, "12345678", 8);
	ck_assert_str_eq(stage.method, "/p2p.v1.Files/DownloadMany");
	stage_close(&stage);
}
END_TEST

START_TEST(test_answers_to_a_batch_that_make_no_sense_end_it)
{
	struct stage stage;

	stage_open(&stage);
	expect_three(&stage, P2P_BAD_ANSWER, 0); /* nothing at all */
	add_contents(&stage.reply, CONTENTS("abcd", ""));
	expect_three(&stage, P2P_BAD_ANSWER, 2); /* too few */
	add_contents(&stage.reply, CONTENTS("abcd", "", "12345678", ""));
	expect_three(&stage, P2P_BAD_ANSWER, 3); /* too many */
	add_contents(&stage.reply, CONTENTS("abcde"));
	expect_three(&stage, P2P_BAD_ANSWER, 0); /* too long */
	add_contents(&stage.reply, CONTENTS("abc"));
	expect_three(&stage, P2P_BAD_ANSWER, 0); /* too short */
	rpc_fake_add(&stage.reply, "", 0);
	expect_three(&stage, P2P_BAD_ANSWER, 0); /* of nothing */
	rpc_fake_add(&stage.reply, "\x0a\x7f", 2);
	expect_three(&stage, P2P_BAD_ANSWER, 0); /* a length that is not true */
	add_unknown(&stage.reply, 900000);
	expect_three(&stage, P2P_BAD_ANSWER, 0); /* over its limit */
	refused_at = 2;
	add_contents(&stage.reply, CONTENTS("abcd", "", "12345678"));
	expect_three(&stage, P2P_BAD_CONTENT, 2); /* what the caller does not believe */
	refused_at = 0;
	stage.reply.status = GRPC_STATUS_UNIMPLEMENTED;
	expect_three(&stage, P2P_BAD_METHOD, 0);
	stage_close(&stage);
}
END_TEST

START_TEST(test_a_break_in_the_middle_is_no_success)
{
	struct stage stage;

	stage_open(&stage);
	add_file(&stage.reply, 16);
	add_text(&stage.reply, "4567");
	stage.reply.status = GRPC_STATUS_ABORTED;
	stage.reply.details = "conflict: it changed";
	expect_read(&stage, P2P_CONFLICT, 4);
	/* All bytes, but not the blessing. */
	add_file(&stage.reply, 16);
	add_text(&stage.reply, "45678901");
	stage.reply.status = GRPC_STATUS_DATA_LOSS;
	expect_read(&stage, P2P_BAD_CONTENT, 8);
	/* Reset. */
	add_file(&stage.reply, 16);
	add_text(&stage.reply, "4567");
	stage.reply.hang_up = true;
	stage_again(&stage);
	start_read(&stage, 16, 4, 8);
	wait_for(&stage, &stage.outcome);
	ck_assert_msg(stage.outcome.code == P2P_UNREACHABLE || stage.outcome.code == P2P_BAD_ANSWER,
		      "%s", stage.outcome.text);
	stage_close(&stage);
}
END_TEST

START_TEST(test_long_messages_come_in_slices)
{
	struct stage stage;
	unsigned char *bytes = mem_alloc(3 * MIB);

	for (size_t i = 0; i < 3 * MIB; i++)
		bytes[i] = byte_at(i);
	stage_open(&stage);
	add_file(&stage.reply, 3 * MIB);
	for (size_t i = 0; i < 3; i++)
		add_data(&stage.reply, bytes + i * MIB, MIB);
	stage.outcome.is_checked = true;
	start_read(&stage, 3 * MIB, 0, 3 * MIB);
	expect(&stage, P2P_OK);
	ck_assert_uint_eq(stage.outcome.fed_len, 3 * MIB);
	ck_assert(!stage.outcome.is_wrong);
	free(bytes);
	stage_close(&stage);
}
END_TEST

START_TEST(test_a_stall_and_a_drip_end_in_time)
{
	struct stage stage;

	stage_open(&stage);
	for (int kind = 0; kind < 4; kind++) {
		uint64_t begin_ms = clock_ms();

		if (kind > 0) /* 0: mute */
			add_file(&stage.reply, 16);
		if (kind == 1) /* a stall */
			add_text(&stage.reply, "45");
		for (size_t i = 0; kind == 2 && i < 8; i++) /* a drip */
			add_text(&stage.reply, "4");
		for (size_t i = 0; kind == 3 && i < 60; i++) /* busy with nothing */
			rpc_fake_add(&stage.reply, "", 0);
		stage.reply.pause_ms = kind == 3 ? 10 : 100;
		stage.reply.hold = true;
		stage_again(&stage);
		start_read(&stage, 16, 4, 8);
		expect(&stage, P2P_TIMEOUT);
		ck_assert_uint_ge(clock_ms() - begin_ms, short_limits.stall_ms - 50);
		ck_assert_uint_le(clock_ms() - begin_ms, 4 * short_limits.stall_ms + 1000);
		stage_reply_clear(&stage);
	}
	stage_close(&stage);
}
END_TEST

START_TEST(test_a_slow_but_steady_peer_is_not_ended)
{
	struct stage stage;
	char block[200];

	memset(block, 'x', sizeof(block));
	stage_open(&stage);
	add_file(&stage.reply, 50 * sizeof(block));
	for (int i = 0; i < 50; i++)
		add_data(&stage.reply, block, sizeof(block));
	stage.reply.pause_ms = 20;
	start_read(&stage, 50 * sizeof(block), 0, 50 * sizeof(block));
	expect(&stage, P2P_OK);
	ck_assert_uint_eq(stage.outcome.fed_len, 50 * sizeof(block));
	stage_close(&stage);
}
END_TEST

START_TEST(test_a_sink_ends_the_read_with_its_own_code)
{
	struct stage stage;

	stage_open(&stage);
	add_file(&stage.reply, 16);
	add_text(&stage.reply, "4567");
	stage.reply.hold = true;
	stage.outcome.sink_answer = P2P_NO_SPACE;
	start_read(&stage, 16, 4, 8);
	wait_for(&stage, &stage.outcome);
	ck_assert_int_eq(stage.outcome.code, P2P_NO_SPACE);
	ck_assert_str_eq(stage.outcome.text, "the sink has had enough");
	stage_close(&stage);
}
END_TEST

START_TEST(test_a_hundred_reads_at_once)
{
	enum { READS = 100, SIZE = 256 << 10 };
	struct stage stage;
	struct outcome *outcomes = mem_zero(READS, sizeof(*outcomes));
	unsigned char *bytes = mem_alloc(SIZE);
	struct content_id id = content(SIZE);

	for (size_t i = 0; i < SIZE; i++)
		bytes[i] = byte_at(i);
	stage_open(&stage);
	add_file(&stage.reply, SIZE);
	for (int i = 0; i < 4; i++)
		add_data(&stage.reply, bytes + i * (SIZE / 4), SIZE / 4);
	struct rpc_client_limits limits = { 3000, 10000, 10000, 1000 };
	rpc_client_limit(stage.client, &limits);
	stage_sync(&stage);
	for (size_t i = 0; i < READS; i++) {
		struct transport_sink sink = { .feed = feed, .arg = &outcomes[i] };

		outcomes[i].is_checked = true;
		stage.client->ops->read(stage.client, stage.address, &id, 0, SIZE, &sink, on_done,
					&outcomes[i]);
	}
	for (size_t i = 0; i < READS; i++) {
		wait_for(&stage, &outcomes[i]);
		ck_assert_msg(outcomes[i].code == P2P_OK, "%s", outcomes[i].text);
		ck_assert_uint_eq(outcomes[i].fed_len, SIZE);
		ck_assert(!outcomes[i].is_wrong);
	}
	ck_assert_uint_eq(rpc_fake_calls(stage.fake), READS);
	free(bytes);
	free(outcomes);
	stage_close(&stage);
}
END_TEST

START_TEST(test_a_read_that_has_no_turn_is_not_the_peers_timeout)
{
	enum { READS = 40, MOST = 32, PARTS = 60, PART = 1000 };
	struct stage stage;
	struct outcome *outcomes = mem_zero(READS, sizeof(*outcomes));
	char *bytes = mem_zero(1, PART);
	struct content_id id = content(PARTS * PART);
	unsigned well = 0;

	stage_open(&stage);
	add_file(&stage.reply, id.size_bytes);
	for (int i = 0; i < PARTS; i++)
		add_data(&stage.reply, bytes, PART);
	stage.reply.pause_ms = 20; /* longer in all than one may wait, and never a stall */
	stage_sync(&stage);
	for (size_t i = 0; i < READS; i++) {
		struct transport_sink sink = { .feed = feed, .arg = &outcomes[i] };

		stage.client->ops->read(stage.client, stage.address, &id, 0, id.size_bytes, &sink,
					on_done, &outcomes[i]);
	}
	for (size_t i = 0; i < READS; i++) {
		wait_for(&stage, &outcomes[i]);
		well += outcomes[i].code == P2P_OK;
		ck_assert_msg(outcomes[i].code == P2P_OK || outcomes[i].code == P2P_TOO_MANY, "%s",
			      outcomes[i].text);
	}
	ck_assert_uint_eq(well, MOST);
	free(bytes);
	free(outcomes);
	stage_close(&stage);
}
END_TEST

/* Cancelling and stopping. */

static void
wait_until_nothing_lives(struct rpc_fake *fake)
{
	uint64_t until_ms = clock_ms() + 1000;

	while (rpc_fake_live(fake) > 0 && clock_ms() < until_ms)
		sched_yield();
	ck_assert_uint_eq(rpc_fake_live(fake), 0);
}

START_TEST(test_a_cancel_at_any_time_ends_with_cancelled)
{
	struct stage stage;

	stage_open(&stage);
	add_file(&stage.reply, 16);
	for (int i = 0; i < 8; i++)
		add_text(&stage.reply, "4");
	stage.reply.pause_ms = 1;
	stage.reply.hold = true;
	rpc_client_limit(stage.client, &(struct rpc_client_limits){ 3000, 10000, 10000, 1000 });
	for (int turns = 0; turns < 60; turns++) {
		stage_again(&stage);
		struct transport_request *request =
		    turns % 4 == 3 ? start_notify(&stage) : start_read(&stage, 16, 4, 8);
		uint64_t until_ms = clock_ms() + (uint64_t)turns / 4;
		while (clock_ms() < until_ms) /* the loop stands still, so the request is alive */
			sched_yield();
		stage.client->ops->cancel(request);
		stage.client->ops->cancel(request);
		ck_assert(!stage.outcome.is_done);
		expect(&stage, P2P_CANCELLED);
		ck_assert_uint_lt(clock_ms() - until_ms, 1000);
	}
	/* And nothing goes on over there. */
	wait_until_nothing_lives(stage.fake);
	stage_close(&stage);
}
END_TEST

START_TEST(test_a_cancel_while_the_name_is_looked_up)
{
	struct stage stage;

	stage_open_client(&stage);
	snprintf(stage.address, sizeof(stage.address), "grpc://localhost:1");
	struct transport_request *request = start_notify(&stage);
	stage.client->ops->cancel(request);
	expect(&stage, P2P_CANCELLED);
	/* Or while nobody listens. */
	stage_again(&stage);
	snprintf(stage.address, sizeof(stage.address), "grpc://127.0.0.1:1");
	stage.client->ops->cancel(start_notify(&stage));
	expect(&stage, P2P_CANCELLED);
	/* Or with a refused address, which ended before. */
	stage_again(&stage);
	snprintf(stage.address, sizeof(stage.address), "grpc://224.0.0.1:1");
	stage.client->ops->cancel(start_notify(&stage));
	expect(&stage, P2P_CANCELLED);
	stage_close(&stage);
}
END_TEST

START_TEST(test_the_end_ends_all_and_later_requests_too)
{
	struct stage stage;
	struct outcome others[3] = { 0 };
	struct content_id id = content(16);
	struct notice notice = { .peer = ID, .epoch = 1, .seq = 1 };

	stage_open(&stage);
	add_file(&stage.reply, 16);
	add_text(&stage.reply, "45");
	stage.reply.hold = true;
	rpc_client_limit(stage.client, &(struct rpc_client_limits){ 3000, 10000, 10000, 1000 });
	stage.outcome.again = stage.client;
	stage.outcome.address = stage.address;
	start_read(&stage, 16, 4, 8);
	uint64_t until_ms = clock_ms() + WAIT_MS;
	while (rpc_fake_calls(stage.fake) == 0 && clock_ms() < until_ms) {
		loop_turn(stage.loop, 0);
		sched_yield();
	}
	/* One at every stage. */
	struct transport_sink sink = { .feed = feed, .arg = &others[0] };
	stage.client->ops->read(stage.client, stage.address, &id, 4, 8, &sink, on_done, &others[0]);
	stage.client->ops->notify(stage.client, "grpc://localhost:1", &notice, on_done, &others[1]);
	stage.client->ops->notify(stage.client, "grpc://0.0.0.0:1", &notice, on_done, &others[2]);
	rpc_client_free(stage.client);
	ck_assert(stage.outcome.is_done);
	ck_assert_int_eq(stage.outcome.code, P2P_SHUTTING_DOWN);
	ck_assert_uint_eq(stage.outcome.again_count, 1);
	ck_assert_int_eq(others[0].code, P2P_SHUTTING_DOWN);
	ck_assert_int_eq(others[1].code, P2P_SHUTTING_DOWN);
	ck_assert_int_eq(others[2].code, P2P_UNREACHABLE);
	stage.client = NULL;
	stage_close(&stage);
}
END_TEST

static unsigned
count_threads(void)
{
	DIR *dir = opendir("/proc/self/task");
	unsigned count = 0;

	while (readdir(dir) != NULL)
		count++;
	closedir(dir);
	return count;
}

START_TEST(test_who_asks_nothing_has_no_threads)
{
	struct stage stage;

	stage_open_client(&stage);
	rpc_client_free(stage.client);
	unsigned before = count_threads();
	stage.client = rpc_client_new(stage.loop, stage.pool, 8, NULL);
	ck_assert_uint_eq(count_threads(), before);
	stage_close(&stage);
}
END_TEST

/* Connections. */

START_TEST(test_a_peer_that_comes_back_is_reached_at_once)
{
	struct stage stage;
	struct rpc_client_limits limits = { 3000, 10000, 10000, 1000 };

	stage_open(&stage);
	rpc_client_limit(stage.client, &limits);
	rpc_fake_add(&stage.reply, "", 0);
	uint16_t port = rpc_fake_port(stage.fake);
	for (int i = 0; i < 3; i++) {
		stage_again(&stage);
		start_notify(&stage);
		expect(&stage, P2P_OK);
		rpc_fake_free(stage.fake);
		for (int k = 0; k < 3; k++) {
			uint64_t begin_ms = clock_ms();

			stage_again(&stage);
			start_notify(&stage);
			expect(&stage, P2P_UNREACHABLE);
			ck_assert_uint_lt(clock_ms() - begin_ms, 1000);
		}
		stage.fake = rpc_fake_new(say, &stage, port, 0);
		stage_again(&stage);
		uint64_t begin_ms = clock_ms();
		start_notify(&stage);
		expect(&stage, P2P_OK);
		ck_assert_uint_lt(clock_ms() - begin_ms, 1000);
	}
	stage_close(&stage);
}
END_TEST

/* What a listener does that speaks no gRPC. */
struct listener {
	int fd, stop[2];
	pthread_t thread;
	const char *greeting; /* NULL: it says nothing */
	bool hold;            /* the connection stays */
	atomic_uint accepted;
	uint16_t port;
};

static void *
listener_run(void *arg)
{
	struct listener *listener = arg;
	int held[64];
	size_t held_count = 0;

	for (;;) {
		struct pollfd fds[2] = { { .fd = listener->fd, .events = POLLIN },
					 { .fd = listener->stop[0], .events = POLLIN } };

		if (poll(fds, 2, -1) <= 0 || fds[1].revents != 0)
			break;
		int fd = accept(listener->fd, NULL, NULL);
		atomic_fetch_add(&listener->accepted, 1);
		if (listener->greeting != NULL)
			(void)!send(fd, listener->greeting, strlen(listener->greeting),
				    MSG_NOSIGNAL);
		if (listener->hold && held_count < 64)
			held[held_count++] = fd;
		else
			close(fd);
	}
	while (held_count > 0)
		close(held[--held_count]);
	return NULL;
}

static void
listener_start(struct listener *listener, const char *greeting, bool hold)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(address);

	*listener = (struct listener){ .greeting = greeting, .hold = hold };
	listener->fd = socket(AF_INET, SOCK_STREAM, 0);
	ck_assert_int_eq(bind(listener->fd, (struct sockaddr *)&address, len), 0);
	ck_assert_int_eq(listen(listener->fd, 16), 0);
	getsockname(listener->fd, (struct sockaddr *)&address, &len);
	listener->port = ntohs(address.sin_port);
	ck_assert_int_eq(pipe(listener->stop), 0);
	pthread_create(&listener->thread, NULL, listener_run, listener);
}

static void
listener_stop(struct listener *listener)
{
	ck_assert_int_eq(write(listener->stop[1], "x", 1), 1);
	pthread_join(listener->thread, NULL);
	close(listener->fd);
	close(listener->stop[0]);
	close(listener->stop[1]);
}

START_TEST(test_who_speaks_no_grpc_is_unreachable_in_time)
{
	static const struct {
		const char *greeting;
		bool hold;
	} rows[] = {
		{ NULL, false },
		{ NULL, true },
		{ "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", false },
		{ "HTTP/1.1 200 OK\r\n\r\n", true },
		{ "\x01\x02\x03 garbage garbage garbage garbage garbage", true },
	};

	for (size_t i = 0; i < 2 * sizeof(rows) / sizeof(rows[0]); i++) {
		struct listener listener;
		struct stage stage;
		uint64_t begin_ms = clock_ms();

		stage_open_client(&stage);
		listener_start(&listener, rows[i / 2].greeting, rows[i / 2].hold);
		stage_address(&stage, listener.port);
		if (i % 2 == 0)
			start_notify(&stage);
		else
			start_read(&stage, 16, 4, 8);
		wait_for(&stage, &stage.outcome);
		ck_assert_msg(stage.outcome.code == P2P_UNREACHABLE ||
				  stage.outcome.code == P2P_TIMEOUT,
			      "%zu: %s: %s", i, code_slug(stage.outcome.code), stage.outcome.text);
		ck_assert_uint_le(clock_ms() - begin_ms, 2000);
		listener_stop(&listener);
		stage_close(&stage);
	}
}
END_TEST

START_TEST(test_nobody_there_is_unreachable)
{
	struct stage stage;

	stage_open_client(&stage);
	snprintf(stage.address, sizeof(stage.address), "grpc://127.0.0.1:1");
	start_read(&stage, 16, 4, 8);
	expect(&stage, P2P_UNREACHABLE);
	ck_assert_ptr_nonnull(strstr(stage.outcome.text, "refused"));
	stage_again(&stage); /* whether there is IPv6 or not */
	snprintf(stage.address, sizeof(stage.address), "grpc://[::1]:1");
	start_read(&stage, 16, 4, 8);
	expect(&stage, P2P_UNREACHABLE);
	stage_close(&stage);
}
END_TEST

START_TEST(test_a_name_is_resolved_and_all_its_addresses_tried)
{
	struct stage stage;

	stage_open(&stage); /* on 127.0.0.1 only; localhost may be ::1 first */
	rpc_fake_add(&stage.reply, "", 0);
	snprintf(stage.address, sizeof(stage.address), "grpc://localhost:%u",
		 rpc_fake_port(stage.fake));
	for (int i = 0; i < 3; i++) {
		stage_again(&stage);
		start_notify(&stage);
		expect(&stage, P2P_OK);
	}
	stage_again(&stage);
	snprintf(stage.address, sizeof(stage.address), "grpc://no-such-host.invalid:1");
	start_notify(&stage);
	wait_for(&stage, &stage.outcome);
	ck_assert_msg(stage.outcome.code == P2P_UNREACHABLE || stage.outcome.code == P2P_TIMEOUT,
		      "%s", stage.outcome.text);
	stage_close(&stage);
}
END_TEST

START_TEST(test_refused_addresses_see_no_connection)
{
	static const char *const hosts[] = { "127.0.0.1", "localhost", "127.9.9.9" };
	static const char *const never[] = { "224.0.0.1", "0.0.0.0", "[::]", "[ff02::1]",
					     "255.255.255.255" };
	struct listener listener;
	struct stage stage;

	stage_open_client(&stage);
	listener_start(&listener, NULL, false);
	for (size_t i = 0; i < sizeof(never) / sizeof(never[0]); i++) {
		stage_again(&stage);
		snprintf(stage.address, sizeof(stage.address), "grpc://%s:%u", never[i],
			 listener.port);
		start_notify(&stage);
		expect(&stage, P2P_UNREACHABLE);
		ck_assert_ptr_nonnull(strstr(stage.outcome.text, "no connection goes to"));
	}
	struct address_guard guard = { 0 };
	address_guard_own(&guard, "0.0.0.0", listener.port);
	rpc_client_guard(stage.client, &guard);
	stage_again(&stage);
	snprintf(stage.address, sizeof(stage.address), "grpc://127.9.9.9:%u", listener.port);
	start_notify(&stage);
	expect(&stage, P2P_UNREACHABLE);
	ck_assert_ptr_nonnull(strstr(stage.outcome.text, "no connection goes to"));
	guard = (struct address_guard){ .refuse_private = true };
	rpc_client_guard(stage.client, &guard);
	for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
		stage_again(&stage);
		snprintf(stage.address, sizeof(stage.address), "grpc://%s:%u", hosts[i],
			 listener.port);
		start_read(&stage, 16, 4, 8);
		expect(&stage, P2P_UNREACHABLE);
		ck_assert_ptr_nonnull(strstr(stage.outcome.text, "no connection goes to"));
	}
	ck_assert_uint_eq(atomic_load(&listener.accepted), 0);
	listener_stop(&listener);
	stage_close(&stage);
}
END_TEST

START_TEST(test_more_addresses_than_channels_take_turns)
{
	enum { ADDRESSES = RPC_CLIENT_CHANNELS_MAX + 36 };
	struct stage stage;
	struct outcome outcomes[ADDRESSES];
	char addresses[ADDRESSES][NODE_ADDRESS_SIZE];
	struct notice notice = { .peer = ID, .epoch = 1, .seq = 1 };
	struct rpc_client_limits limits = { 3000, 10000, 10000, 1000 };
	unsigned most = 0;

	memset(outcomes, 0, sizeof(outcomes));
	stage_open_client(&stage);
	stage.fake = rpc_fake_new(say, &stage, 0, ADDRESSES - 1);
	rpc_fake_add(&stage.reply, "", 0);
	stage.reply.pause_ms = 20;
	rpc_client_limit(stage.client, &limits);
	stage_sync(&stage);
	for (int turn = 0; turn < 2; turn++) {
		for (unsigned i = 0; i < ADDRESSES; i++) {
			memset(&outcomes[i], 0, sizeof(outcomes[i]));
			snprintf(addresses[i], NODE_ADDRESS_SIZE, "grpc://127.0.0.%u:%u", i + 1,
				 rpc_fake_port(stage.fake));
			stage.client->ops->notify(stage.client, addresses[i], &notice, on_done,
						  &outcomes[i]);
		}
		for (unsigned i = 0; i < ADDRESSES; i++) {
			wait_for(&stage, &outcomes[i]);
			ck_assert_msg(outcomes[i].code == P2P_OK, "%s", outcomes[i].text);
		}
	}
	/* With every channel held, the others end in time. */
	stage.reply.hold = true;
	limits.answer_ms = 3000;
	stage_sync(&stage);
	rpc_client_limit(stage.client, &limits);
	for (unsigned i = 0; i < ADDRESSES; i++) {
		memset(&outcomes[i], 0, sizeof(outcomes[i]));
		stage.client->ops->notify(stage.client, addresses[i], &notice, on_done,
					  &outcomes[i]);
	}
	/* A look counts if nothing had ended until after it.  When all that may be are, some more looks. */
	unsigned looks = 0;
	for (bool is_any_done = false; !is_any_done && looks < 20;) {
		unsigned live = rpc_fake_live(stage.fake);

		loop_turn(stage.loop, 10);
		looks += most >= RPC_CLIENT_CHANNELS_MAX;
		for (unsigned i = 0; i < ADDRESSES; i++)
			is_any_done |= outcomes[i].is_done;
		if (!is_any_done && live > most)
			most = live;
	}
	ck_assert_uint_eq(most, RPC_CLIENT_CHANNELS_MAX);
	for (unsigned i = 0; i < ADDRESSES; i++) {
		wait_for(&stage, &outcomes[i]);
		ck_assert_int_eq(outcomes[i].code, P2P_TIMEOUT);
	}
	stage_close(&stage);
}
END_TEST

/* The framing. */

struct seen {
	char file[32], data[32];
	size_t file_len, data_len;
	unsigned files;
};

static int
see_file(void *arg, const void *data, size_t len, bool is_last)
{
	struct seen *seen = arg;

	if (len > 0)
		memcpy(seen->file + seen->file_len, data, len);
	seen->file_len += len;
	seen->files += is_last;
	return P2P_OK;
}

static int
see_data(void *arg, const void *data, size_t len)
{
	struct seen *seen = arg;

	memcpy(seen->data + seen->data_len, data, len);
	seen->data_len += len;
	return P2P_OK;
}

static const struct download_parser_ops seeing = { .file = see_file, .data = see_data };

/* Feeds `step` bytes at a time. */
static int
parse(const void *message, size_t len, size_t step, struct seen *ret)
{
	struct download_parser parser;
	int code = P2P_OK;

	memset(ret, 0, sizeof(*ret));
	download_parser_begin(&parser, &seeing, ret, len);
	for (size_t at = 0; code == P2P_OK && at < len; at += step)
		code = download_parser_feed(&parser, (const char *)message + at,
					    step < len - at ? step : len - at);
	return code == P2P_OK ? download_parser_end(&parser) : code;
}

START_TEST(test_a_message_may_be_cut_anywhere)
{
	/* Unknown fields of every form, a file, data twice, another form of a known number. */
	static const char message[] = "\x18\xff\xff\x03"
				      "\x0a\x04"
				      "file"
				      "\x12\x03"
				      "one"
				      "\x21"
				      "12345678"
				      "\x12\x85\x00"
				      "two23"
				      "\x2d"
				      "1234"
				      "\x10\x05"
				      "\xfa\xff\xff\xff\x0f\x02"
				      "zz"
				      "\x12\x00";
	size_t len = sizeof(message) - 1;
	struct seen seen;

	for (size_t step = 1; step <= len; step++) {
		ck_assert_int_eq(parse(message, len, step, &seen), P2P_OK);
		ck_assert_uint_eq(seen.files, 1);
		ck_assert_uint_eq(seen.file_len, 4);
		ck_assert_mem_eq(seen.file, "file", 4);
		ck_assert_uint_eq(seen.data_len, 8);
		ck_assert_mem_eq(seen.data, "onetwo23", 8);
	}
	ck_assert_int_eq(parse("", 0, 1, &seen), P2P_OK);
	ck_assert_int_eq(parse("\x0a\x00", 2, 1, &seen), P2P_OK);
	ck_assert_uint_eq(seen.files, 1);
}
END_TEST

START_TEST(test_malformed_messages_are_refused)
{
#define ROW(text)                      \
	{                              \
		text, sizeof(text) - 1 \
	}
	static const struct {
		const char *text;
		size_t len;
	} rows[] = {
		ROW("\x12"),                     /* no length */
		ROW("\x12\x80"),                 /* half a length */
		ROW("\x12\x05one"),              /* too short */
		ROW("\x12\xff\xff\xff\xff\x7f"), /* much too long */
		ROW("\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
		ROW("\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), /* eleven bytes */
		ROW("\x02\x00"),                                         /* field 0 */
		ROW("\x13\x14"),                                         /* a group */
		ROW("\x16\x00"),                                         /* no form */
		ROW("\x80\x80\x80\x80\x10\x00"),                         /* a number beyond any */
		ROW("\x19"
		    "1234"), /* half of eight bytes */
		ROW("\x1d"
		    "12"),
	};
	struct seen seen;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		for (size_t step = 1; step <= rows[i].len; step++) {
			ck_assert_msg(parse(rows[i].text, rows[i].len, step, &seen) ==
					  P2P_BAD_ANSWER,
				      "row %zu", i);
			ck_assert_uint_eq(seen.file_len, 0);
		}
#undef ROW
}
END_TEST

/* Directories. */

static void
add_directories(struct rpc_fake_reply *reply, size_t count, uint32_t mode)
{
	P2p__V1__DirectoriesResponse response = P2P__V1__DIRECTORIES_RESPONSE__INIT;
	P2p__V1__Directory absent = P2P__V1__DIRECTORY__INIT, told = P2P__V1__DIRECTORY__INIT;
	P2p__V1__Directory *list[3] = { &absent, &told, &absent };

	told.is_there = true;
	told.mtime_ns = -5;
	told.mode = mode;
	response.n_directories = count;
	response.directories = list;
	add(reply, &response.base);
}

/* Asks about two, expects a code, and empties the reply. */
static void
expect_directories(struct stage *stage, int code, struct directory found[2])
{
	static const char *const names[] = { "a", "a/b" };
	struct directory_question question = { .names = names, .count = 2, .found = found };

	stage_again(stage);
	stage->client->ops->directories(stage->client, stage->address, &question, on_done,
					&stage->outcome);
	expect(stage, code);
	stage_reply_clear(stage);
}

START_TEST(test_directories_are_told_in_the_order_asked_or_not_at_all)
{
	struct directory found[2];
	struct stage stage;

	stage_open(&stage);
	add_directories(&stage.reply, 2, 0750);
	expect_directories(&stage, P2P_OK, found);
	ck_assert_str_eq(stage.method, "/p2p.v1.Files/Directories");
	ck_assert(!found[0].is_there && found[1].is_there);
	ck_assert_int_eq(found[1].mtime_ns, -5);
	ck_assert_uint_eq(found[1].mode, 0750);
	add_directories(&stage.reply, 2, 01777);
	expect_directories(&stage, P2P_BAD_ANSWER, found);
	add_directories(&stage.reply, 2, UINT32_MAX);
	expect_directories(&stage, P2P_BAD_ANSWER, found);
	add_directories(&stage.reply, 1, 0);
	expect_directories(&stage, P2P_BAD_ANSWER, found);
	add_directories(&stage.reply, 3, 0);
	expect_directories(&stage, P2P_BAD_ANSWER, found);
	expect_directories(&stage, P2P_BAD_ANSWER, found); /* nothing at all */
	add_unknown(&stage.reply, 70000);
	expect_directories(&stage, P2P_BAD_ANSWER, found); /* over its limit */
	stage_close(&stage);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("rpc_client");
	TCase *tcase = tcase_create("rpc_client");

	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, test_a_greeting_gives_both_sides_records);
	tcase_add_test(tcase, test_a_notice_and_a_good_bye_arrive);
	tcase_add_test(tcase, test_a_pull_gives_the_page);
	tcase_add_test(tcase, test_a_layer_has_exactly_its_nodes_and_pieces);
	tcase_add_test(tcase, test_what_is_held_is_asked_for_and_told);
	tcase_add_test(tcase, test_held_pieces_that_cannot_be_are_a_bad_answer);
	tcase_add_test(tcase, test_an_answer_may_wait_as_long_as_it_was_told_and_no_longer);
	tcase_add_test(tcase, test_questions_that_wait_hold_up_no_other_request);
	tcase_add_test(tcase, test_small_answers_that_make_no_sense);
	tcase_add_test(tcase, test_a_status_becomes_its_code_but_not_one_of_our_own);
	tcase_add_test(tcase, test_an_answer_that_does_not_come_is_a_timeout);
	tcase_add_test(tcase, test_a_range_reaches_the_sink);
	tcase_add_test(tcase, test_answers_that_do_not_fit_feed_nothing_wrong);
	tcase_add_test(tcase, test_a_file_that_describes_itself_without_end_is_a_bad_answer);
	tcase_add_test(tcase, test_what_is_unknown_is_skipped_but_not_for_ever);
	tcase_add_test(tcase, test_a_batch_is_told_content_by_content);
	tcase_add_test(tcase, test_answers_to_a_batch_that_make_no_sense_end_it);
	tcase_add_test(tcase, test_a_break_in_the_middle_is_no_success);
	tcase_add_test(tcase, test_long_messages_come_in_slices);
	tcase_add_test(tcase, test_a_stall_and_a_drip_end_in_time);
	tcase_add_test(tcase, test_a_slow_but_steady_peer_is_not_ended);
	tcase_add_test(tcase, test_a_sink_ends_the_read_with_its_own_code);
	tcase_add_test(tcase, test_a_hundred_reads_at_once);
	tcase_add_test(tcase, test_a_read_that_has_no_turn_is_not_the_peers_timeout);
	tcase_add_test(tcase, test_a_cancel_at_any_time_ends_with_cancelled);
	tcase_add_test(tcase, test_a_cancel_while_the_name_is_looked_up);
	tcase_add_test(tcase, test_the_end_ends_all_and_later_requests_too);
	tcase_add_test(tcase, test_who_asks_nothing_has_no_threads);
	tcase_add_test(tcase, test_a_peer_that_comes_back_is_reached_at_once);
	tcase_add_test(tcase, test_who_speaks_no_grpc_is_unreachable_in_time);
	tcase_add_test(tcase, test_nobody_there_is_unreachable);
	tcase_add_test(tcase, test_a_name_is_resolved_and_all_its_addresses_tried);
	tcase_add_test(tcase, test_refused_addresses_see_no_connection);
	tcase_add_test(tcase, test_more_addresses_than_channels_take_turns);
	tcase_add_test(tcase, test_a_message_may_be_cut_anywhere);
	tcase_add_test(tcase, test_malformed_messages_are_refused);
	tcase_add_test(tcase, test_directories_are_told_in_the_order_asked_or_not_at_all);
	suite_add_tcase(suite, tcase);

	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
