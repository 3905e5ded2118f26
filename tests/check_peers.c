/* SPDX-License-Identifier: MIT
 *
 * check_peers.c - several peers in one process, with real catalogs, over a wire that does what the
 * test wants.
 */
#include "peers_internal.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "catalog_kit.h"
#include "clock.h"
#include "mem.h"

#define NODES       4
#define WAIT_MS     10000
#define LEFT_BEHIND 100
#define SILENT_HOST "10.7.0." /* a greeting of it ends after silence_ms */

struct node {
	struct transport transport; /* first */
	struct stage *stage;
	char dir[256], host[32];
	struct node_record self;
	struct catalog *catalog;
	struct events *events;
	struct events_listener *listener;
	struct config *config;
	struct peers *peers;
	bool is_down, is_rest_down;     /* answers nobody */
	unsigned here, away, forgotten; /* events */
	unsigned told_forgotten;
	unsigned greeted, pulled, noticed, left; /* requests that reached it */
	unsigned resets;                         /* pages of it that began anew */
	void (*after_page)(struct node *node);   /* NULL: nothing */
};

struct stage {
	struct loop *loop;
	size_t count, asked; /* greetings sent by anybody */
	size_t asked_silent; /* those to where nobody is */
	uint64_t silence_ms;
	struct node nodes[NODES];
	struct node_record stranger; /* who answers at http://10.9.9.9:5001, if its id is set */
};

enum kind { GREET, LEAVE, NOTIFY, PULL };

struct message {
	struct node *from;
	struct loop_timer *timer;
	enum kind kind;
	char address[NODE_ADDRESS_SIZE], peer[PEER_ID_SIZE];
	struct node_hello hello;
	struct notice notice;
	struct change_question question; /* of `peer` */
	union {
		transport_done_fn done;
		transport_greet_fn greet;
		transport_pull_fn pull;
	} fn;
	void *arg;
};

static struct node *
node_at(struct stage *stage, const char *address)
{
	for (size_t i = 0; i < stage->count; i++) {
		struct node *node = &stage->nodes[i];

		for (size_t j = 0; j < node->self.address_count; j++)
			if (strcmp(node->self.addresses[j], address) == 0 && !node->is_down &&
			    (node_address_wire(address) != WIRE_REST || !node->is_rest_down))
				return node;
	}
	return NULL;
}

static int
answer_greeting(struct message *message, struct node *to, struct error *err)
{
	struct node_record theirs, *known = NULL;
	struct transport_greeting greeting = { .theirs = &theirs, .round_trip_us = 100 };

	to->greeted++;
	if (strcmp(message->hello.node.id, to->self.id) != 0) {
		int code = peers_registered(to->peers, &message->hello, message->from->host, &known,
					    &greeting.known_count, err);

		if (code != P2P_OK)
			return code;
	}
	peers_self(to->peers, &theirs);
	greeting.known = known;
	message->fn.greet(message->arg, P2P_OK, err, &greeting);
	free(known);
	return P2P_OK;
}

static int
answer_pull(struct message *message, struct node *to, struct error *err)
{
	struct change_page *page;
	int code;

	to->pulled++;
	/* On the mind, which only a test may do. */
	message->question.limit = 3;
	code = catalog_changes(to->catalog, &message->question, &page);
	if (code != P2P_OK)
		return code;
	to->resets += page->is_reset;
	message->fn.pull(message->arg, P2P_OK, err, page);
	if (to->after_page != NULL)
		to->after_page(to);
	return P2P_OK;
}

static int
answer_message(struct message *message, struct node *to, struct error *err)
{
	switch (message->kind) {
	case GREET:
		return answer_greeting(message, to, err);
	case PULL:
		return answer_pull(message, to, err);
	case LEAVE:
		to->left++;
		peers_left(to->peers, message->peer, message->from->host);
		break;
	case NOTIFY:
		to->noticed++;
		peers_noticed(to->peers, &message->notice);
		break;
	}
	message->fn.done(message->arg, P2P_OK, err);
	return P2P_OK;
}

static void
deliver(void *arg)
{
	struct message *message = arg;
	struct stage *stage = message->from->stage;
	struct node *to = node_at(stage, message->address);
	struct error err = { .code = P2P_OK };
	int code = P2P_UNREACHABLE;

	if (to != NULL) {
		code = answer_message(message, to, &err);
	} else if (message->kind == GREET && stage->stranger.id[0] != '\0' &&
		   strcmp(message->address, "http://10.9.9.9:5001") == 0) {
		struct transport_greeting greeting = { .theirs = &stage->stranger,
						       .round_trip_us = 1 };

		code = P2P_OK;
		message->fn.greet(message->arg, code, &err, &greeting);
	}
	if (code != P2P_OK) {
		error_set(&err, code, "%s: no", message->address);
		if (message->kind == GREET)
			message->fn.greet(message->arg, code, &err, NULL);
		else if (message->kind == PULL)
			message->fn.pull(message->arg, code, &err, NULL);
		else
			message->fn.done(message->arg, code, &err);
	}
	loop_timer_free(message->timer);
	free(message);
}

static struct message *
post(struct transport *transport, enum kind kind, const char *address, void *arg)
{
	struct message *message = mem_zero(1, sizeof(*message));

	ck_assert_int_eq(node_address_check(address, NULL), P2P_OK);
	message->from = (struct node *)transport;
	message->kind = kind;
	message->arg = arg;
	snprintf(message->address, sizeof(message->address), "%s", address);
	struct stage *stage = message->from->stage;
	if (strncmp(address, "http://" SILENT_HOST, strlen("http://" SILENT_HOST)) == 0) {
		stage->asked_silent++;
		message->timer = loop_timer_new(stage->loop, deliver, message);
		loop_timer_start(message->timer, stage->silence_ms);
	} else {
		loop_post(stage->loop, deliver, message);
	}
	return message;
}

static struct transport_request *
wire_greet(struct transport *transport, const char *address, const struct node_hello *hello,
	   transport_greet_fn fn, void *arg)
{
	struct message *message = post(transport, GREET, address, arg);

	message->from->stage->asked++;
	message->hello = *hello;
	message->fn.greet = fn;
	return NULL;
}

static struct transport_request *
wire_leave(struct transport *transport, const char *address, const char *self, transport_done_fn fn,
	   void *arg)
{
	struct message *message = post(transport, LEAVE, address, arg);

	snprintf(message->peer, sizeof(message->peer), "%s", self);
	message->fn.done = fn;
	return NULL;
}

static struct transport_request *
wire_notify(struct transport *transport, const char *address, const struct notice *notice,
	    transport_done_fn fn, void *arg)
{
	struct message *message = post(transport, NOTIFY, address, arg);

	message->notice = *notice;
	message->fn.done = fn;
	return NULL;
}

static struct transport_request *
wire_pull(struct transport *transport, const char *address, const struct change_question *question,
	  transport_pull_fn fn, void *arg)
{
	struct message *message = post(transport, PULL, address, arg);

	snprintf(message->peer, sizeof(message->peer), "%s", question->peer);
	message->question = *question;
	message->question.peer = message->peer;
	message->fn.pull = fn;
	return NULL;
}

static const struct transport_ops wire_ops = { .name = "fake",
					       .greet = wire_greet,
					       .leave = wire_leave,
					       .notify = wire_notify,
					       .pull = wire_pull };

static void
on_event(void *arg, struct event *event)
{
	struct node *node = arg;

	node->here += event->kind == EVENT_PEER_HERE;
	node->away += event->kind == EVENT_PEER_AWAY;
	node->forgotten += event->kind == EVENT_PEER_FORGOTTEN;
}

static void
open_peers(struct node *node)
{
	node->peers = peers_new(node->stage->loop, &node->transport, node->catalog, node->events,
				node->config, &node->self);
	node->peers->pace = (struct peers_pace){ .again_ms = 20,
						 .again_max_ms = 200,
						 .tell_ms = 10,
						 .quiet_ms = 300,
						 .resync_ms = 500,
						 .unwritten_max_ms = 100,
						 .rpc_again_ms = 60000,
						 .save_ms = 60000,
						 .stop_ms = 200,
						 .grace_ms = 100 };
}

static void
open_node(struct stage *stage, size_t index)
{
	struct node *node = &stage->nodes[index];
	const char *tmp = getenv("TMPDIR");
	char name[16];

	snprintf(name, sizeof(name), "node%zu", index);
	snprintf(node->host, sizeof(node->host), "10.0.0.%zu", index + 1);
	snprintf(node->dir, sizeof(node->dir), "%s/peers-XXXXXX", tmp ? tmp : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(node->dir));
	node->transport.ops = &wire_ops;
	node->stage = stage;
	snprintf(node->self.id, sizeof(node->self.id), "%s", kit_peer(name));
	snprintf(node->self.name, sizeof(node->self.name), "%s", name);
	node_address_make(WIRE_REST, node->host, 5001, node->self.addresses[0]);
	node->self.address_count = 1;
	node->catalog = catalog_new(stage->loop, node->dir, node->self.id, NULL, NULL);
	node->events = events_new();
	node->listener = events_listen(node->events, 0, on_event, node);
	node->config = config_load("/dev/null", NULL);
	if (node->config == NULL)
		node->config = config_load(NULL, NULL);
	node->config->network_heartbeat_s = 1;
	open_peers(node);
}

static void
stage_open(struct stage *stage, size_t count)
{
	memset(stage, 0, sizeof(*stage));
	stage->loop = loop_new(NULL);
	stage->count = count;
	for (size_t i = 0; i < count; i++)
		open_node(stage, i);
}

/* Everybody seeks the first. */
static void
stage_start(struct stage *stage)
{
	for (size_t i = 0; i < stage->count; i++) {
		struct config_list *seeds = &stage->nodes[i].config->network_seed;

		seeds->items[seeds->count++] = mem_string(stage->nodes[0].self.addresses[0]);
		peers_start(stage->nodes[i].peers);
	}
}

static void
on_stopped(void *arg)
{
	++*(size_t *)arg;
}

static void
pump_until(struct stage *stage, const size_t *value, size_t wanted)
{
	for (uint64_t until_ms = clock_ms() + WAIT_MS; *value < wanted && clock_ms() < until_ms;)
		loop_turn(stage->loop, 10);
	ck_assert_uint_ge(*value, wanted);
}

static void
stage_close(struct stage *stage)
{
	size_t stopped = 0;

	for (size_t i = 0; i < stage->count; i++)
		peers_stop(stage->nodes[i].peers, on_stopped, &stopped);
	pump_until(stage, &stopped, stage->count);
	for (int i = 0; i < 20; i++) /* what is still posted */
		loop_turn(stage->loop, 0);
	for (size_t i = 0; i < stage->count; i++) {
		struct node *node = &stage->nodes[i];

		peers_free(node->peers);
		catalog_free(node->catalog);
		events_listener_free(node->listener);
		events_free(node->events);
		config_unref(node->config);
		kit_remove_tree(node->dir);
	}
	loop_free(stage->loop);
}

/* Turns the loop until the claim holds; fails after WAIT_MS. */
#define WAIT_FOR(stage, claim)                                                                     \
	do {                                                                                       \
		for (uint64_t until_ms = clock_ms() + WAIT_MS; !(claim) && clock_ms() < until_ms;) \
			loop_turn((stage)->loop, 10);                                              \
		ck_assert_msg((claim), "%s", #claim);                                              \
	} while (0)

static void
turn_for(struct stage *stage, uint64_t ms)
{
	for (uint64_t until_ms = clock_ms() + ms; clock_ms() < until_ms;)
		loop_turn(stage->loop, 5);
}

static size_t
count_in(const struct node *node, enum peer_state state)
{
	size_t count, found = 0;
	struct peer_info *list = peers_list(node->peers, &count);

	for (size_t i = 0; i < count; i++)
		found += list[i].state == state;
	free(list);
	return found;
}

static bool
all_see(const struct stage *stage, size_t wanted)
{
	for (size_t i = 0; i < stage->count; i++)
		if (count_in(&stage->nodes[i], PEER_HERE) != wanted)
			return false;
	return true;
}

static void
put(struct node *node, const char *name)
{
	struct catalog_batch *batch = catalog_batch_new();
	struct catalog_local file = kit_file(name, 5);

	catalog_batch_put(batch, name, &file, NULL, 0);
	ck_assert_int_eq(catalog_submit_wait(node->catalog, batch), P2P_OK);
}

/* True if `node` has the other's catalog up to its head. */
static bool
has_all_of(const struct node *node, const struct node *other)
{
	struct catalog_head head;
	struct peer_info info;

	catalog_head(other->catalog, &head);
	return peers_find(node->peers, other->self.id, &info) && info.epoch == head.epoch &&
	       info.seq == head.seq;
}

START_TEST(test_one_seed_makes_a_full_mesh)
{
	struct stage stage;

	stage_open(&stage, NODES);
	stage_start(&stage);
	WAIT_FOR(&stage, all_see(&stage, NODES - 1));
	ck_assert_uint_eq(stage.nodes[1].here, NODES - 1);
	/* The seed that is the first itself was dropped, and is not asked again. */
	turn_for(&stage, 100);
	ck_assert_uint_le(stage.nodes[0].peers->candidate_count, 1);
	ck_assert_uint_eq(stage.nodes[0].peers->candidates[0]->greet.due_ms, PEERS_NEVER);
	stage_close(&stage);
	ck_assert_uint_gt(stage.nodes[0].left, 0);
}
END_TEST

START_TEST(test_catalogs_are_pulled_and_news_told)
{
	struct stage stage;
	char name[16];

	stage_open(&stage, 3);
	for (int i = 0; i < 10; i++) { /* several pages of 3 */
		snprintf(name, sizeof(name), "file%d", i);
		put(&stage.nodes[1], name);
	}
	stage_start(&stage);
	WAIT_FOR(&stage, has_all_of(&stage.nodes[0], &stage.nodes[1]) &&
			     has_all_of(&stage.nodes[2], &stage.nodes[1]));
	put(&stage.nodes[1], "news");
	unsigned greeted = stage.nodes[1].greeted;
	peers_tell(stage.nodes[1].peers);
	peers_tell(stage.nodes[1].peers);
	WAIT_FOR(&stage, has_all_of(&stage.nodes[0], &stage.nodes[1]) &&
			     has_all_of(&stage.nodes[2], &stage.nodes[1]));
	ck_assert_uint_eq(stage.nodes[0].noticed, 1);
	ck_assert_uint_le(stage.nodes[1].greeted, greeted + 2);
	stage_close(&stage);
}
END_TEST

START_TEST(test_a_silent_peer_is_away_and_comes_back)
{
	struct stage stage;

	stage_open(&stage, 2);
	stage_start(&stage);
	WAIT_FOR(&stage, all_see(&stage, 1));
	stage.nodes[1].is_down = true;
	peers_doubt(stage.nodes[0].peers, stage.nodes[1].self.id);
	WAIT_FOR(&stage, count_in(&stage.nodes[0], PEER_SUSPECT) == 1);
	WAIT_FOR(&stage, count_in(&stage.nodes[0], PEER_AWAY) == 1);
	ck_assert_uint_eq(stage.nodes[0].away, 1);
	stage.nodes[1].is_down = false;
	WAIT_FOR(&stage, count_in(&stage.nodes[0], PEER_HERE) == 1);
	ck_assert_uint_eq(stage.nodes[0].here, 2);
	stage_close(&stage);
}
END_TEST

START_TEST(test_a_good_bye_from_elsewhere_is_not_believed)
{
	struct stage stage;

	stage_open(&stage, 2);
	stage_start(&stage);
	WAIT_FOR(&stage, all_see(&stage, 1));
	ck_assert_int_eq(peers_left(stage.nodes[0].peers, stage.nodes[1].self.id, "10.66.66.66"),
			 P2P_OK);
	turn_for(&stage, 100);
	ck_assert_uint_eq(stage.nodes[0].away, 0);
	ck_assert_int_eq(
	    peers_left(stage.nodes[0].peers, stage.nodes[1].self.id, "::ffff:10.0.0.2"), P2P_OK);
	ck_assert_uint_eq(stage.nodes[0].away, 1);
	ck_assert_int_eq(peers_left(stage.nodes[0].peers, kit_peer("nobody"), "10.0.0.2"),
			 P2P_NOT_FOUND);
	stage_close(&stage);
}
END_TEST

/* What a listener hears of who is not known any more. */
static void
note_forgotten(void *arg, const char *id, enum peer_state state)
{
	struct node *node = arg;

	node->told_forgotten += state == PEER_AWAY && peers_lookup(node->peers, id) == NULL;
}

START_TEST(test_a_forgotten_peer_is_gone_and_its_seed_tried_again)
{
	struct stage stage;

	stage_open(&stage, 2);
	stage.nodes[1].config->network_forget_s = 2;
	stage_start(&stage);
	WAIT_FOR(&stage, all_see(&stage, 1));
	stage.nodes[0].is_down = true;
	peers_on_change(stage.nodes[1].peers, note_forgotten, &stage.nodes[1]);
	WAIT_FOR(&stage, stage.nodes[1].forgotten == 1);
	ck_assert_uint_eq(stage.nodes[1].told_forgotten, 1);
	ck_assert_uint_eq(stage.nodes[1].peers->count, 0);
	stage.nodes[0].is_down = false;
	WAIT_FOR(&stage, count_in(&stage.nodes[1], PEER_HERE) == 1);
	stage_close(&stage);
}
END_TEST

/* A registration of `name` with one address, from `host`. */
static int
register_as(struct node *node, const char *name, const char *address, const char *host)
{
	struct node_hello hello = { .node = { .name = "x", .version = "1", .address_count = 1 } };
	struct node_record *known = NULL;
	size_t count;

	snprintf(hello.node.id, sizeof(hello.node.id), "%s", kit_peer(name));
	snprintf(hello.node.addresses[0], sizeof(hello.node.addresses[0]), "%s", address);
	int code = peers_registered(node->peers, &hello, host, &known, &count, NULL);
	free(known);
	return code;
}

START_TEST(test_a_registration_alone_makes_nobody_a_peer)
{
	struct stage stage;

	stage_open(&stage, 1);
	peers_start(stage.nodes[0].peers);
	ck_assert_int_eq(register_as(&stage.nodes[0], "liar", "http://10.7.7.7:5001", "10.7.7.7"),
			 P2P_OK);
	ck_assert_int_eq(register_as(&stage.nodes[0], "node0", "http://10.7.7.7:5001", "10.7.7.7"),
			 P2P_BAD_REQUEST);
	ck_assert_uint_eq(stage.nodes[0].peers->count, 0);
	WAIT_FOR(&stage, stage.nodes[0].peers->candidate_count == 0);
	ck_assert_uint_eq(stage.nodes[0].peers->count, 0);
	ck_assert_uint_eq(stage.asked, PEERS_CANDIDATE_TRIES);
	/* An idle object has nothing to wake for. */
	ck_assert(!loop_timer_active(stage.nodes[0].peers->timer));
	/* Our own loopback is nobody's address that calls from afar. */
	ck_assert_int_eq(register_as(&stage.nodes[0], "liar", "http://127.0.0.1:22", "10.7.7.7"),
			 P2P_OK);
	ck_assert_uint_eq(stage.nodes[0].peers->candidate_count, 0);
	stage_close(&stage);
}
END_TEST

START_TEST(test_a_wildcard_becomes_the_address_it_came_from)
{
	struct stage stage;

	stage_open(&stage, 2);
	peers_start(stage.nodes[0].peers);
	peers_start(stage.nodes[1].peers);
	ck_assert_int_eq(
	    register_as(&stage.nodes[0], "node1", "http://0.0.0.0:5001", "::ffff:10.0.0.2"),
	    P2P_OK);
	WAIT_FOR(&stage, count_in(&stage.nodes[0], PEER_HERE) == 1);
	stage_close(&stage);
}
END_TEST

/* Gives a node these addresses instead, before it starts. */
static void
move_to(struct node *node, const char *first, const char *second)
{
	snprintf(node->self.addresses[0], NODE_ADDRESS_SIZE, "%s", first);
	snprintf(node->self.addresses[1], NODE_ADDRESS_SIZE, "%s", second != NULL ? second : "");
	node->self.address_count = second != NULL ? 2 : 1;
	peers_set_self(node->peers, &node->self);
}

START_TEST(test_a_peer_with_a_grpc_face_alone_is_spoken_to_by_that)
{
	struct stage stage;
	struct peer_info info;

	stage_open(&stage, 2);
	move_to(&stage.nodes[0], "grpc://10.0.0.1:50051", NULL);
	put(&stage.nodes[0], "a");
	stage_start(&stage);
	WAIT_FOR(&stage, all_see(&stage, 1) && has_all_of(&stage.nodes[1], &stage.nodes[0]));
	ck_assert(peers_find(stage.nodes[1].peers, stage.nodes[0].self.id, &info));
	ck_assert_str_eq(info.address, "grpc://10.0.0.1:50051");
	ck_assert_str_eq(info.wire_address[WIRE_GRPC], "grpc://10.0.0.1:50051");
	ck_assert_str_eq(info.wire_address[WIRE_REST], "");
	stage_close(&stage);
	ck_assert_uint_gt(stage.nodes[0].left, 0);
}
END_TEST

START_TEST(test_of_two_faces_rest_is_tried_first_and_the_one_that_answers_is_used)
{
	struct stage stage;
	struct peer_info info;
	const char *id;

	stage_open(&stage, 3);
	move_to(&stage.nodes[2], "grpc://10.0.0.3:50051", "http://10.0.0.3:5001");
	stage_start(&stage);
	WAIT_FOR(&stage, all_see(&stage, 2));
	id = stage.nodes[2].self.id;
	ck_assert(peers_find(stage.nodes[0].peers, id, &info));
	ck_assert_str_eq(info.address, "http://10.0.0.3:5001");
	ck_assert_str_eq(info.wire_address[WIRE_REST], "http://10.0.0.3:5001");
	ck_assert_str_eq(info.wire_address[WIRE_GRPC], "grpc://10.0.0.3:50051");
	stage.nodes[2].is_rest_down = true;
	peers_doubt(stage.nodes[0].peers, id);
	WAIT_FOR(&stage, peers_find(stage.nodes[0].peers, id, &info) &&
			     node_address_wire(info.address) == WIRE_GRPC);
	ck_assert_int_eq(info.state, PEER_HERE);
	ck_assert_uint_eq(stage.nodes[0].away, 0);
	put(&stage.nodes[2], "a");
	peers_tell(stage.nodes[2].peers);
	WAIT_FOR(&stage, has_all_of(&stage.nodes[0], &stage.nodes[2]));
	stage_close(&stage);
}
END_TEST

START_TEST(test_claims_keep_their_scheme)
{
	struct node_record theirs = { .address_count = 6 };
	struct addresses claimed;
	char address[NODE_ADDRESS_SIZE];
	static const char *const said[] = { "grpc://0.0.0.0:50051", "grpc://127.0.0.1:1",
					    "grpc://[::]:50052",    "http://localhost:2",
					    "http://10.8.8.8:5001", "grpc://10.8.8.8:50051" };

	for (size_t i = 0; i < theirs.address_count; i++)
		strcpy(theirs.addresses[i], said[i]);
	addresses_claimed(&theirs, "10.7.7.7", &claimed);
	ck_assert_uint_eq(claimed.count, 4);
	ck_assert_str_eq(claimed.items[0], "http://10.8.8.8:5001");
	ck_assert_str_eq(claimed.items[1], "grpc://10.7.7.7:50051");
	ck_assert_str_eq(claimed.items[2], "grpc://10.7.7.7:50052");
	/* Of the host that answers, if it has one. */
	addresses_by_wire(&claimed, WIRE_GRPC, address);
	ck_assert_str_eq(address, "grpc://10.8.8.8:50051");
	addresses_prefer(&claimed, "grpc://10.7.7.7:50052");
	addresses_by_wire(&claimed, WIRE_REST, address);
	ck_assert_str_eq(address, "http://10.8.8.8:5001");
	addresses_claimed(&theirs, "127.0.0.1", &claimed);
	ck_assert_uint_eq(claimed.count, 6);
	ck_assert_str_eq(claimed.items[0], "http://localhost:2");
	ck_assert_str_eq(claimed.items[2], "grpc://127.0.0.1:50051");
}
END_TEST

START_TEST(test_lying_registrants_cost_bounded_state)
{
	struct stage stage;
	unsigned refused = 0;
	char name[32];

	stage_open(&stage, 1);
	for (int i = 0; i < 2000; i++) {
		snprintf(name, sizeof(name), "liar%d", i);
		refused += register_as(&stage.nodes[0], name, "http://10.7.7.7:1", "10.7.7.7") ==
			   P2P_TOO_MANY;
	}
	ck_assert_uint_eq(stage.nodes[0].peers->candidate_count, PEERS_CANDIDATES_HOST);
	ck_assert_uint_eq(refused, 2000 - PEERS_CANDIDATES_HOST);
	stage_close(&stage);
}
END_TEST

/* The addresses that are to be tried for an id. */
static size_t
count_sayings(const struct node *node, const char *name)
{
	size_t count = 0;

	for (size_t i = 0; i < node->peers->candidate_count; i++)
		count += strcmp(node->peers->candidates[i]->id, kit_peer(name)) == 0;
	return count;
}

START_TEST(test_what_many_say_alike_leaves_room_for_strangers)
{
	struct stage stage;
	char name[32], host[32];

	stage_open(&stage, 1);
	for (int by = 0; by < 20; by++)
		for (int i = 0; i < 200; i++) {
			snprintf(name, sizeof(name), "newcomer%d", i);
			snprintf(host, sizeof(host), "10.7.7.%d", by);
			ck_assert_int_eq(
			    register_as(&stage.nodes[0], name, "http://10.8.8.8:1", host), P2P_OK);
		}
	ck_assert_uint_eq(stage.nodes[0].peers->candidate_count, 200);
	ck_assert_int_eq(register_as(&stage.nodes[0], "stranger", "http://10.6.6.6:1", "10.6.6.6"),
			 P2P_OK);
	stage_close(&stage);
}
END_TEST

START_TEST(test_nobody_takes_back_what_another_said)
{
	struct stage stage;
	struct node *node = &stage.nodes[0];

	stage_open(&stage, 1);
	/* Alone it may change its mind. */
	ck_assert_int_eq(register_as(node, "newcomer", "http://10.8.8.8:1", "10.7.7.1"), P2P_OK);
	ck_assert_int_eq(register_as(node, "newcomer", "http://10.8.8.8:2", "10.7.7.1"), P2P_OK);
	ck_assert_uint_eq(count_sayings(node, "newcomer"), 1);
	ck_assert_int_eq(register_as(node, "newcomer", "http://10.8.8.8:2", "10.7.7.2"), P2P_OK);
	ck_assert_uint_eq(count_sayings(node, "newcomer"), 1);
	ck_assert_int_eq(register_as(node, "newcomer", "http://10.8.8.8:3", "10.7.7.1"), P2P_OK);
	ck_assert_uint_eq(count_sayings(node, "newcomer"), 2);
	ck_assert_str_eq(node->peers->candidates[0]->addresses.items[0], "http://10.8.8.8:2");
	stage_close(&stage);
}
END_TEST

/* Whom all told of before it was up is not to wait for the next try. */
START_TEST(test_a_stranger_who_calls_is_greeted_at_once)
{
	struct stage stage;
	struct node *node = &stage.nodes[0];

	stage_open(&stage, 2);
	node->peers->pace.again_ms = node->peers->pace.again_max_ms = 60000;
	stage.nodes[1].is_down = true;
	peers_start(node->peers);
	ck_assert_int_eq(register_as(node, "node1", "http://10.0.0.2:5001", "10.7.7.7"), P2P_OK);
	WAIT_FOR(&stage, stage.asked == 1 && node->peers->tries == 0);
	stage.nodes[1].is_down = false;
	node->peers->pace.again_ms = 20;
	ck_assert_int_eq(register_as(node, "node1", "http://10.0.0.2:5001", "10.0.0.2"), P2P_OK);
	WAIT_FOR(&stage, count_in(node, PEER_HERE) == 1);
	stage_close(&stage);
}
END_TEST

/* It knows of many others, none of whom answers. */
static void
know_ghosts(struct node *node, size_t count)
{
	struct addresses nowhere = { .count = 1, .items = { "http://10.8.8.8:5001" } };
	char name[32];

	for (size_t i = 0; i < count; i++) {
		snprintf(name, sizeof(name), "ghost%zu", i);
		struct peer *ghost = peers_add(node->peers, kit_peer(name));
		ghost->addresses = nowhere;
		peers_set_state(node->peers, ghost, PEER_HERE);
	}
}

START_TEST(test_who_told_of_somebody_is_asked_on_ever_more_rarely_while_it_helps_nothing)
{
	struct stage stage;
	struct node *known = &stage.nodes[0], *node = &stage.nodes[1];
	struct config_list *seeds;

	stage_open(&stage, 2);
	know_ghosts(known, 2 * PEERS_TOLD_MAX);
	seeds = &node->config->network_seed;
	seeds->items[seeds->count++] = mem_string(known->self.addresses[0]);
	node->config->network_heartbeat_s = 1000;
	node->peers->pace.again_ms = 20;
	node->peers->pace.again_max_ms = 60000;
	peers_start(node->peers);
	WAIT_FOR(&stage, known->greeted == 5);
	ck_assert_uint_ge(node->peers->ask_on.wait_ms, 8 * 20);
	/* Once it helps, soon again. */
	peers_set_state(node->peers, peers_add(node->peers, kit_peer("another")), PEER_HERE);
	WAIT_FOR(&stage, node->peers->ask_on.wait_ms == 20);
	stage_close(&stage);
}
END_TEST

static bool
is_quiet(const struct stage *stage)
{
	for (size_t i = 0; i < stage->count; i++)
		if (stage->nodes[i].peers->requests > 0)
			return false;
	return true;
}

/* Two see each other and a third; the first has lost that one, which nobody else heard of, and asks nobody. */
static struct peer *
lose_alone(struct stage *stage)
{
	stage_open(stage, 3);
	struct peers *peers = stage->nodes[0].peers;
	stage_start(stage);
	WAIT_FOR(stage, all_see(stage, 2) && is_quiet(stage));
	for (size_t i = 0; i < 3; i++) {
		stage->nodes[i].config->network_heartbeat_s = 1000;
		for (size_t k = 0; k < 2; k++)
			stage->nodes[i].peers->all[k]->greet.due_ms = PEERS_NEVER;
	}
	struct peer *lost = peers_lookup(peers, stage->nodes[2].self.id);
	peers_set_state(peers, lost, PEER_AWAY);
	return lost;
}

START_TEST(test_who_missed_a_loss_is_told_by_whom_he_greets)
{
	struct stage stage;

	lose_alone(&stage);
	stage.nodes[2].is_down = true;
	peers_doubt(stage.nodes[1].peers, stage.nodes[0].self.id);
	WAIT_FOR(&stage, count_in(&stage.nodes[1], PEER_AWAY) == 1);
	stage_close(&stage);
}
END_TEST

START_TEST(test_who_sees_one_that_we_do_not_is_told_so_ever_more_rarely)
{
	struct stage stage;
	struct node *node = &stage.nodes[1];
	struct peer *lost = lose_alone(&stage);
	unsigned noticed = node->noticed;

	stage.nodes[0].peers->pace.again_max_ms = 60000;
	for (int i = 0; i < 10000 && lost->contest.wait_ms < 16 * 20; i++) {
		unsigned greeted = stage.nodes[0].greeted;

		peers_doubt(node->peers, stage.nodes[0].self.id);
		WAIT_FOR(&stage, stage.nodes[0].greeted > greeted);
	}
	WAIT_FOR(&stage, node->noticed - noticed == 5); /* 20, 40, ... 320 ms */
	ck_assert_uint_eq(count_in(node, PEER_HERE), 2);
	stage_close(&stage);
}
END_TEST

START_TEST(test_nobody_takes_a_peers_address_away)
{
	struct stage stage;
	struct peer_info info;

	stage_open(&stage, 2);
	stage_start(&stage);
	WAIT_FOR(&stage, all_see(&stage, 1));
	/* Somebody else answers at the address that is said to be node1's. */
	snprintf(stage.stranger.id, sizeof(stage.stranger.id), "%s", kit_peer("stranger"));
	strcpy(stage.stranger.name, "stranger");
	ck_assert_int_eq(register_as(&stage.nodes[0], "node1", "http://10.9.9.9:5001", "10.9.9.9"),
			 P2P_OK);
	WAIT_FOR(&stage, peers_find(stage.nodes[0].peers, kit_peer("stranger"), &info) &&
			     info.state == PEER_HERE);
	ck_assert(peers_find(stage.nodes[0].peers, stage.nodes[1].self.id, &info));
	ck_assert_str_eq(info.address, stage.nodes[1].self.addresses[0]);
	ck_assert_int_eq(info.state, PEER_HERE);
	/* Now the stranger's address answers as somebody else: it is not the stranger's any more.
	 */
	snprintf(stage.stranger.id, sizeof(stage.stranger.id), "%s", kit_peer("other"));
	peers_doubt(stage.nodes[0].peers, kit_peer("stranger"));
	WAIT_FOR(&stage, peers_find(stage.nodes[0].peers, kit_peer("other"), &info));
	WAIT_FOR(&stage, peers_find(stage.nodes[0].peers, kit_peer("stranger"), &info) &&
			     info.address[0] == '\0');
	stage_close(&stage);
}
END_TEST

START_TEST(test_notices_that_bring_nothing_are_slowed_down)
{
	struct stage stage;
	struct notice notice = { .epoch = 1 };

	stage_open(&stage, 2);
	put(&stage.nodes[1], "a");
	stage_start(&stage);
	WAIT_FOR(&stage, has_all_of(&stage.nodes[0], &stage.nodes[1]));
	struct catalog_head head;
	catalog_head(stage.nodes[1].catalog, &head);
	memcpy(notice.peer, stage.nodes[1].self.id, sizeof(notice.peer));
	notice.epoch = head.epoch;
	unsigned pulled = stage.nodes[1].pulled;
	for (uint64_t until_ms = clock_ms() + 200; clock_ms() < until_ms; notice.seq++) {
		notice.seq += head.seq;
		ck_assert_int_eq(peers_noticed(stage.nodes[0].peers, &notice), P2P_OK);
		loop_turn(stage.loop, 2);
	}
	ck_assert_uint_le(stage.nodes[1].pulled, pulled + 2);
	/* Genuine news still arrive, once the quiet time is over. */
	put(&stage.nodes[1], "b");
	peers_tell(stage.nodes[1].peers);
	WAIT_FOR(&stage, has_all_of(&stage.nodes[0], &stage.nodes[1]));
	notice.peer[0] = notice.peer[0] == 'a' ? 'b' : 'a';
	ck_assert_int_eq(peers_noticed(stage.nodes[0].peers, &notice), P2P_NOT_FOUND);
	stage_close(&stage);
}
END_TEST

/* Notices come by several ways, and one may be late.  No heart-beat mends it here. */
START_TEST(test_a_late_notice_does_not_hide_a_newer_one)
{
	struct stage stage;
	struct catalog_head head;
	struct notice notice = { 0 };

	stage_open(&stage, 2);
	for (size_t i = 0; i < 2; i++)
		stage.nodes[i].config->network_heartbeat_s = 3600;
	put(&stage.nodes[1], "a");
	stage_start(&stage);
	WAIT_FOR(&stage, has_all_of(&stage.nodes[0], &stage.nodes[1]));
	put(&stage.nodes[1], "b");
	catalog_head(stage.nodes[1].catalog, &head);
	memcpy(notice.peer, stage.nodes[1].self.id, sizeof(notice.peer));
	notice.epoch = head.epoch;
	notice.seq = head.seq;
	unsigned pulled = stage.nodes[1].pulled;
	ck_assert_int_eq(peers_noticed(stage.nodes[0].peers, &notice), P2P_OK);
	while (stage.nodes[1].pulled == pulled)
		loop_turn(stage.loop, 1);
	/* The page is not in the catalog yet. */
	put(&stage.nodes[1], "c");
	notice.seq++;
	ck_assert_int_eq(peers_noticed(stage.nodes[0].peers, &notice), P2P_OK);
	notice.seq--;
	ck_assert_int_eq(peers_noticed(stage.nodes[0].peers, &notice), P2P_OK);
	WAIT_FOR(&stage, has_all_of(&stage.nodes[0], &stage.nodes[1]));
	stage_close(&stage);
}
END_TEST

START_TEST(test_a_replica_that_was_lost_is_pulled_anew)
{
	struct stage stage;
	struct catalog_batch *batch = catalog_batch_new();

	stage_open(&stage, 2);
	put(&stage.nodes[1], "a");
	put(&stage.nodes[1], "b");
	stage_start(&stage);
	WAIT_FOR(&stage, has_all_of(&stage.nodes[0], &stage.nodes[1]));
	/* Behind the back of peers. */
	catalog_batch_forget(batch, stage.nodes[1].self.id, NULL);
	ck_assert_int_eq(catalog_submit_wait(stage.nodes[0].catalog, batch), P2P_OK);
	put(&stage.nodes[1], "c");
	peers_tell(stage.nodes[1].peers);
	WAIT_FOR(&stage, has_all_of(&stage.nodes[0], &stage.nodes[1]));
	struct catalog_head head;
	struct change_page *page;
	catalog_head(stage.nodes[1].catalog, &head);
	ck_assert_int_eq(catalog_changes(stage.nodes[0].catalog,
					 KIT_ASK(stage.nodes[1].self.id, head.epoch, 0, 100),
					 &page),
			 P2P_OK);
	ck_assert_uint_eq(page->count, 3);
	change_page_free(page);
	stage_close(&stage);
}
END_TEST

static void
remember(void *arg, const struct catalog_peer *peer)
{
	peers_remember(arg, peer);
}

/* Two that know each other, the second of which greets nobody by itself. */
static void
meet_once(struct stage *stage)
{
	struct node *node = &stage->nodes[1];

	stage_open(stage, 2);
	stage->nodes[0].config->network_heartbeat_s = 1000;
	node->config->network_heartbeat_s = 1000;
	stage_start(stage);
	WAIT_FOR(stage, all_see(stage, 1));
	put(&stage->nodes[0], "first");
	peers_tell(stage->nodes[0].peers);
	WAIT_FOR(stage, has_all_of(node, &stage->nodes[0]));
}

START_TEST(test_a_pull_that_failed_is_made_up_for_soon)
{
	struct stage stage;
	struct node *from = &stage.nodes[0], *node = &stage.nodes[1];

	meet_once(&stage);
	struct peer *peer = peers_lookup(node->peers, from->self.id);
	node->peers->pace.again_ms = 200;
	from->is_down = true;
	put(from, "second");
	peers_tell(from->peers);
	WAIT_FOR(&stage, peer->pull_failures == 1);
	from->is_down = false;
	WAIT_FOR(&stage, has_all_of(node, from));
	ck_assert_uint_eq(peer->pull_failures, 0);
	stage_close(&stage);
}
END_TEST

START_TEST(test_who_cannot_be_pulled_from_is_found_to_be_away)
{
	struct stage stage;
	struct node *from = &stage.nodes[0], *node = &stage.nodes[1];

	meet_once(&stage);
	from->is_down = true;
	put(from, "second");
	peers_tell(from->peers);
	WAIT_FOR(&stage, count_in(node, PEER_AWAY) == 1);
	stage_close(&stage);
}
END_TEST

START_TEST(test_remembered_peers_are_greeted_without_a_seed)
{
	struct stage stage;
	size_t stopped = 0;

	stage_open(&stage, 2);
	put(&stage.nodes[0], "a");
	stage_start(&stage);
	WAIT_FOR(&stage, all_see(&stage, 1) && has_all_of(&stage.nodes[1], &stage.nodes[0]));
	struct node *node = &stage.nodes[1];
	peers_stop(node->peers, on_stopped, &stopped);
	pump_until(&stage, &stopped, 1);
	node->is_down = true; /* until it stands again */
	turn_for(&stage, 50);
	peers_free(node->peers);
	free(node->config->network_seed.items[0]);
	node->config->network_seed.count = 0;
	open_peers(node);
	ck_assert_int_eq(catalog_peers(node->catalog, remember, node->peers), P2P_OK);
	ck_assert_uint_eq(count_in(node, PEER_AWAY), 1);
	ck_assert(has_all_of(node, &stage.nodes[0]));
	unsigned pulled = stage.nodes[0].pulled;
	node->is_down = false;
	peers_start(node->peers);
	WAIT_FOR(&stage, all_see(&stage, 1));
	ck_assert_uint_eq(stage.nodes[0].pulled, pulled); /* nothing new: nothing pulled */
	stage_close(&stage);
}
END_TEST

/* A network that was left behind: many are remembered, and none of them says so much as no. */
START_TEST(test_many_who_do_not_answer_leave_a_turn_to_the_seed)
{
	struct stage stage;
	struct node *node = &stage.nodes[1];

	stage_open(&stage, 2);
	stage.silence_ms = 100; /* several times the first step of the back-off */
	for (size_t i = 0; i < LEFT_BEHIND; i++) {
		char *name = mem_format("left behind %zu", i);
		char *address = mem_format("http://" SILENT_HOST "%zu:5001", i);

		peers_remember(node->peers, &(struct catalog_peer){
						.id = kit_peer(name),
						.addresses = address,
						.heard_wall_ms = clock_wall_ms(),
					    });
		free(address);
		free(name);
	}
	stage_start(&stage);
	WAIT_FOR(&stage, count_in(node, PEER_HERE) == 1);
	/* That is: when each of them was tried once, but for those that are asked beside it. */
	ck_assert_uint_le(stage.asked_silent, LEFT_BEHIND + 2 * PEERS_TRIES_MAX);
	stage.silence_ms = 0;
	turn_for(&stage, 200);
	stage_close(&stage);
}
END_TEST

/* --- removals that are forgotten --- */

#define REMOVALS_KEPT 8

/* Files that come and go. */
static void
churn(struct node *node, const char *stem, int count)
{
	struct catalog_batch *batch = catalog_batch_new();

	for (int i = 0; i < count; i++) {
		char *name = mem_format("%s-%d", stem, i);
		struct catalog_local file = kit_file(name, 5);

		catalog_batch_put(batch, name, &file, NULL, 0);
		catalog_batch_remove(batch, name);
		free(name);
	}
	ck_assert_int_eq(catalog_submit_wait(node->catalog, batch), P2P_OK);
}

/* Removals up to this seq are, or are to be, forgotten. */
static bool
has_forgotten(struct node *node, uint64_t seq)
{
	struct catalog_head head;
	struct change_page *page;

	catalog_head(node->catalog, &head);
	struct change_question question = {
		.peer = node->self.id, .epoch = head.epoch, .since = seq - 1, .begun = 1, .limit = 1
	};
	ck_assert_int_eq(catalog_changes(node->catalog, &question, &page), P2P_OK);
	bool answer = page->is_reset;
	change_page_free(page);
	return answer;
}

static void
forget_through(struct node *node, uint64_t seq)
{
	for (uint64_t until_ms = clock_ms() + WAIT_MS;
	     !has_forgotten(node, seq) && clock_ms() < until_ms;)
		usleep(1000);
	ck_assert(has_forgotten(node, seq));
}

static uint64_t
files_known(struct node *node, const struct node *of)
{
	struct catalog_head head;
	struct change_page *page;
	uint64_t live = 0;

	catalog_head(of->catalog, &head);
	ck_assert_int_eq(
	    catalog_changes(node->catalog, KIT_ASK(of->self.id, head.epoch, 0, 1000), &page),
	    P2P_OK);
	ck_assert_uint_eq(page->through, head.seq);
	for (size_t i = 0; i < page->count; i++)
		live += !page->items[i].is_removed;
	ck_assert_uint_eq(page->file_count, live);
	change_page_free(page);
	return live;
}

/* The second has 20 files that stay, seqs 1 to 20; the first knows them and is away. */
static struct node *
know_and_go(struct stage *stage)
{
	stage_open(stage, 2);
	struct node *owner = &stage->nodes[1];

	catalog_limit_tombstones(owner->catalog, REMOVALS_KEPT);
	for (int i = 0; i < 20; i++) {
		char *name = mem_format("stays-%d", i);

		put(owner, name);
		free(name);
	}
	put(owner, "goes");
	stage_start(stage);
	WAIT_FOR(stage, has_all_of(&stage->nodes[0], owner));
	ck_assert_uint_eq(owner->resets, 1);
	owner->is_down = true;
	WAIT_FOR(stage, count_in(&stage->nodes[0], PEER_AWAY) == 1);
	/* So that it may begin anew once more. */
	turn_for(stage, 600);
	struct catalog_batch *batch = catalog_batch_new();
	catalog_batch_remove(batch, "goes");
	ck_assert_int_eq(catalog_submit_wait(owner->catalog, batch), P2P_OK);
	churn(owner, "log", 60);
	forget_through(owner, 22 + 60);
	return owner;
}

START_TEST(test_who_was_away_for_long_begins_anew_and_ends_with_the_same)
{
	struct stage stage;
	struct node *owner = know_and_go(&stage);

	owner->is_down = false;
	WAIT_FOR(&stage, has_all_of(&stage.nodes[0], owner));
	/* Once: 20 files in pages of 3, which are asked for ahead, lie below the floor. */
	ck_assert_uint_eq(owner->resets, 2);
	ck_assert_uint_eq(files_known(&stage.nodes[0], owner), 20);
	/* What comes next is joined on to that. */
	put(owner, "new");
	peers_tell(owner->peers);
	WAIT_FOR(&stage, has_all_of(&stage.nodes[0], owner));
	ck_assert_uint_eq(owner->resets, 2);
	ck_assert_uint_eq(files_known(&stage.nodes[0], owner), 21);
	stage_close(&stage);
}
END_TEST

static void
forget_a_little(struct node *node)
{
	node->after_page = NULL;
	churn(node, "a little", 5);
	forget_through(node, 22 + 70);
}

static void
forget_all(struct node *node)
{
	node->after_page = NULL;
	churn(node, "very much", 60);
	forget_through(node, 22 + 2 * 60 + 1);
}

/* _i: 0 the floor comes to where the head was when the follower began, 1 it passes that. */
START_TEST(test_the_floor_moves_while_somebody_begins_anew)
{
	struct stage stage;
	struct node *owner = know_and_go(&stage);

	owner->after_page = _i == 0 ? forget_a_little : forget_all;
	owner->is_down = false;
	WAIT_FOR(&stage, has_all_of(&stage.nodes[0], owner));
	ck_assert_ptr_null(owner->after_page);
	/* The first page of the third beginning may come too early, and is asked for again. */
	ck_assert_uint_ge(owner->resets, _i == 0 ? 2 : 3);
	ck_assert_uint_le(owner->resets, _i == 0 ? 2 : 4);
	ck_assert_uint_eq(files_known(&stage.nodes[0], owner), 20);
	stage_close(&stage);
}
END_TEST

static void
break_off(struct node *node)
{
	if (node->resets == 2)
		node->is_down = true;
}

static void
start_anew(struct stage *stage, struct node *node)
{
	size_t stopped = 0;

	peers_stop(node->peers, on_stopped, &stopped);
	pump_until(stage, &stopped, 1);
	turn_for(stage, 50);
	peers_free(node->peers);
	open_peers(node);
	ck_assert_int_eq(catalog_peers(node->catalog, remember, node->peers), P2P_OK);
	peers_start(node->peers);
}

/* _i: 0 the line breaks, 1 who follows is started anew besides. */
START_TEST(test_who_is_interrupted_while_beginning_anew_goes_on_there)
{
	struct stage stage;
	struct node *owner = know_and_go(&stage), *node = &stage.nodes[0];

	owner->after_page = break_off;
	owner->is_down = false;
	WAIT_FOR(&stage, owner->is_down);
	if (_i == 0)
		WAIT_FOR(&stage, count_in(node, PEER_AWAY) == 1);
	else
		start_anew(&stage, node);
	owner->after_page = NULL;
	owner->is_down = false;
	WAIT_FOR(&stage, has_all_of(node, owner));
	ck_assert_uint_eq(owner->resets, 2);
	ck_assert_uint_eq(files_known(node, owner), 20);
	stage_close(&stage);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("peers");
	TCase *tcase = tcase_create("peers");

	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, test_one_seed_makes_a_full_mesh);
	tcase_add_test(tcase, test_catalogs_are_pulled_and_news_told);
	tcase_add_test(tcase, test_a_silent_peer_is_away_and_comes_back);
	tcase_add_test(tcase, test_a_good_bye_from_elsewhere_is_not_believed);
	tcase_add_test(tcase, test_a_forgotten_peer_is_gone_and_its_seed_tried_again);
	tcase_add_test(tcase, test_a_registration_alone_makes_nobody_a_peer);
	tcase_add_test(tcase, test_a_wildcard_becomes_the_address_it_came_from);
	tcase_add_test(tcase, test_a_peer_with_a_grpc_face_alone_is_spoken_to_by_that);
	tcase_add_test(tcase,
		       test_of_two_faces_rest_is_tried_first_and_the_one_that_answers_is_used);
	tcase_add_test(tcase, test_claims_keep_their_scheme);
	tcase_add_test(tcase, test_lying_registrants_cost_bounded_state);
	tcase_add_test(tcase, test_what_many_say_alike_leaves_room_for_strangers);
	tcase_add_test(tcase, test_nobody_takes_back_what_another_said);
	tcase_add_test(tcase, test_a_stranger_who_calls_is_greeted_at_once);
	tcase_add_test(
	    tcase, test_who_told_of_somebody_is_asked_on_ever_more_rarely_while_it_helps_nothing);
	tcase_add_test(tcase, test_who_missed_a_loss_is_told_by_whom_he_greets);
	tcase_add_test(tcase, test_who_sees_one_that_we_do_not_is_told_so_ever_more_rarely);
	tcase_add_test(tcase, test_nobody_takes_a_peers_address_away);
	tcase_add_test(tcase, test_notices_that_bring_nothing_are_slowed_down);
	tcase_add_test(tcase, test_a_late_notice_does_not_hide_a_newer_one);
	tcase_add_test(tcase, test_a_replica_that_was_lost_is_pulled_anew);
	tcase_add_test(tcase, test_a_pull_that_failed_is_made_up_for_soon);
	tcase_add_test(tcase, test_who_cannot_be_pulled_from_is_found_to_be_away);
	tcase_add_test(tcase, test_remembered_peers_are_greeted_without_a_seed);
	tcase_add_test(tcase, test_many_who_do_not_answer_leave_a_turn_to_the_seed);
	tcase_add_test(tcase, test_who_was_away_for_long_begins_anew_and_ends_with_the_same);
	tcase_add_loop_test(tcase, test_the_floor_moves_while_somebody_begins_anew, 0, 2);
	tcase_add_loop_test(tcase, test_who_is_interrupted_while_beginning_anew_goes_on_there, 0,
			    2);
	suite_add_tcase(suite, tcase);

	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
