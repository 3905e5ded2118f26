/* SPDX-License-Identifier: MIT
 *
 * check_peers_view.c - two peers that compare whom they take for here, and tell each other no more than that takes.
 *
 * Nothing is sent: who greets is a call of what answers greetings.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "catalog_kit.h"
#include "mem.h"
#include "peers_internal.h"

#define OTHERS 200

struct node {
	char dir[256], host[32];
	struct node_record self;
	struct catalog *catalog;
	struct events *events;
	struct config *config;
	struct peers *peers;
};

struct stage {
	struct loop *loop;
	struct node nodes[2];
};

static void
open_node(struct stage *stage, size_t index)
{
	struct node *node = &stage->nodes[index];
	const char *tmp = getenv("TMPDIR");

	snprintf(node->dir, sizeof(node->dir), "%s/peers-view-XXXXXX", tmp ? tmp : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(node->dir));
	snprintf(node->host, sizeof(node->host), "10.0.0.%zu", index + 1);
	snprintf(node->self.name, sizeof(node->self.name), "node%zu", index);
	snprintf(node->self.id, sizeof(node->self.id), "%s", kit_peer(node->self.name));
	node_address_make(WIRE_REST, node->host, 5001, node->self.addresses[0]);
	node->self.address_count = 1;
	node->catalog = catalog_new(stage->loop, node->dir, node->self.id, NULL, NULL);
	node->events = events_new();
	node->config = config_load(NULL, NULL);
	node->peers =
	    peers_new(stage->loop, NULL, node->catalog, node->events, node->config, &node->self);
}

static const char *
other_id(size_t index)
{
	char name[32];

	snprintf(name, sizeof(name), "other%zu", index);
	return kit_peer(name);
}

/* Both take each other for here, and OTHERS besides. */
static void
stage_of_views(struct stage *stage)
{
	memset(stage, 0, sizeof(*stage));
	stage->loop = loop_new(NULL);
	open_node(stage, 0);
	open_node(stage, 1);
	for (size_t at = 0; at < 2; at++) {
		struct peers *peers = stage->nodes[at].peers;
		const char *other = stage->nodes[1 - at].self.id;

		peers_set_state(peers, peers_add(peers, other), PEER_HERE);
		for (size_t i = 0; i < OTHERS; i++)
			peers_set_state(peers, peers_add(peers, other_id(i)), PEER_HERE);
	}
}

static void
stage_close(struct stage *stage)
{
	for (size_t i = 0; i < 2; i++) {
		struct node *node = &stage->nodes[i];

		peers_free(node->peers);
		catalog_free(node->catalog);
		events_free(node->events);
		config_unref(node->config);
		kit_remove_tree(node->dir);
	}
	loop_free(stage->loop);
}

/* The second does not know these, the next of the others. */
static void
forget_some(struct stage *stage, size_t first, size_t count)
{
	struct peers *peers = stage->nodes[1].peers;

	for (size_t i = first; i < first + count; i++)
		peers_remove(peers, peers_lookup(peers, other_id(i)));
}

/* The second greets the first; with which view if not his own?  Answers how many he is told of, all of whom are here for the first;
 * `ret_news` of them he did not know, and does now. */
static size_t
greet_with(struct stage *stage, const struct node_view *view, size_t *ret_news)
{
	struct node *caller = &stage->nodes[1], *called = &stage->nodes[0];
	struct node_hello hello = { .node = caller->self };
	struct node_record *known = NULL;
	size_t count;

	peers_view(caller->peers, peers_lookup(caller->peers, called->self.id), &hello.view);
	if (view != NULL)
		hello.view = *view;
	ck_assert_int_eq(
	    peers_registered(called->peers, &hello, caller->host, &known, &count, NULL), P2P_OK);
	*ret_news = 0;
	for (size_t i = 0; i < count; i++) {
		const struct peer *told = peers_lookup(called->peers, known[i].id);

		ck_assert(told != NULL && told->state != PEER_AWAY);
		if (peers_lookup(caller->peers, known[i].id) != NULL)
			continue;
		++*ret_news;
		peers_set_state(caller->peers, peers_add(caller->peers, known[i].id), PEER_HERE);
	}
	free(known);
	return count;
}

START_TEST(test_who_agrees_is_told_nothing)
{
	struct stage stage;
	size_t news;

	stage_of_views(&stage);
	ck_assert_uint_eq(greet_with(&stage, NULL, &news), 0);
	/* A stranger neither, though he met us where he did not expect us. */
	struct peers *called = stage.nodes[0].peers;
	struct node_view view;
	peers_remove(called, peers_lookup(called, stage.nodes[1].self.id));
	ck_assert_uint_eq(greet_with(&stage, NULL, &news), 0);
	peers_view(stage.nodes[1].peers, NULL, &view);
	ck_assert_uint_eq(greet_with(&stage, &view, &news), 0);
	for (size_t i = 0; i < OTHERS; i++) {
		forget_some(&stage, i, 1);
		peers_view(stage.nodes[1].peers, NULL, &view);
		ck_assert_uint_eq(greet_with(&stage, &view, &news), 1);
		ck_assert_uint_eq(news, 1);
	}
	/* Of a peer that is away nothing is to be told, and of one that came back to us all. */
	peers_set_state(called, called->all[7], PEER_AWAY);
	ck_assert_uint_eq(greet_with(&stage, NULL, &news), 0);
	peers_set_state(called, called->all[7], PEER_SUSPECT);
	ck_assert_uint_eq(greet_with(&stage, NULL, &news), 0);
	stage_close(&stage);
}
END_TEST

START_TEST(test_the_one_whom_a_caller_misses_is_told_at_once_and_alone)
{
	struct stage stage;
	size_t news;

	stage_of_views(&stage);
	for (size_t i = 0; i < OTHERS; i++) {
		forget_some(&stage, i, 1);
		ck_assert_uint_eq(greet_with(&stage, NULL, &news), 1);
		ck_assert_uint_eq(news, 1);
	}
	stage_close(&stage);
}
END_TEST

START_TEST(test_two_whom_a_caller_misses_are_told_at_once_and_alone_even_in_one_bucket)
{
	struct stage stage;
	size_t news, alike = 0;

	stage_of_views(&stage);
	for (size_t i = 0; i + 1 < OTHERS; i += 2) {
		forget_some(&stage, i, 2);
		alike += peers_mark(other_id(i)).bucket == peers_mark(other_id(i + 1)).bucket;
		ck_assert_uint_eq(greet_with(&stage, NULL, &news), 2);
		ck_assert_uint_eq(news, 2);
	}
	ck_assert_uint_gt(alike, 0);
	stage_close(&stage);
}
END_TEST

/* As after two networks met, when each peer has more to tell than is told in an answer. */
START_TEST(test_whom_a_caller_misses_he_is_told_of_before_news)
{
	struct stage stage;
	struct peers *called;
	size_t news;

	stage_of_views(&stage);
	called = stage.nodes[0].peers;
	for (size_t i = 0; i < called->count; i++)
		peers_touch(called, called->all[i]);
	forget_some(&stage, OTHERS - 1, 1);
	ck_assert_uint_eq(greet_with(&stage, NULL, &news), PEERS_TOLD_MAX);
	ck_assert_uint_eq(news, 1);
	/* And of all the news in turn, the last answer of which is not full. */
	for (size_t told = PEERS_TOLD_MAX - 1; told < OTHERS; told += PEERS_TOLD_MAX)
		ck_assert_uint_gt(greet_with(&stage, NULL, &news), 0);
	ck_assert_uint_eq(greet_with(&stage, NULL, &news), 0);
	stage_close(&stage);
}
END_TEST

START_TEST(test_all_whom_a_caller_misses_are_told_soon)
{
	struct stage stage;
	size_t news, greetings = 0;

	stage_of_views(&stage);
	forget_some(&stage, 0, OTHERS / 2);
	while (stage.nodes[1].peers->count < OTHERS + 1) {
		ck_assert_uint_le(greet_with(&stage, NULL, &news), PEERS_TOLD_MAX);
		ck_assert_uint_lt(greetings++, OTHERS / 4);
	}
	ck_assert_uint_eq(greet_with(&stage, NULL, &news), 0);
	stage_close(&stage);
}
END_TEST

START_TEST(test_who_tells_no_view_is_told_as_ever)
{
	static const struct node_view none;
	struct stage stage;
	size_t news;

	stage_of_views(&stage);
	ck_assert_uint_eq(greet_with(&stage, &none, &news), PEERS_TOLD_RANDOM);
	peers_remove(stage.nodes[0].peers,
		     peers_lookup(stage.nodes[0].peers, stage.nodes[1].self.id));
	ck_assert_uint_eq(greet_with(&stage, &none, &news), PEERS_TOLD_MAX);
	stage_close(&stage);
}
END_TEST

/* As two have who see different parts of a network that is larger than PEERS_MAX; or a liar. */
START_TEST(test_a_view_that_differs_for_ever_costs_one_record_an_answer)
{
	struct node_view view = { .is_told = true };
	struct stage stage;
	size_t told = 0, news, greetings = 2 * PEERS_MENDS_MAX / PEERS_TOLD_MAX;

	stage_of_views(&stage);
	for (size_t i = 0; i < greetings; i++) {
		for (size_t at = 0; at < NODE_VIEW_SUMS; at++)
			view.sums[at] = (uint32_t)peers_random(stage.nodes[0].peers);
		told += greet_with(&stage, &view, &news);
	}
	ck_assert_uint_gt(told, PEERS_MENDS_MAX / 2);
	ck_assert_uint_le(told, PEERS_MENDS_MAX + greetings);
	ck_assert_uint_le(greet_with(&stage, &view, &news), 1);
	stage_close(&stage);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("peers_view");
	TCase *tcase = tcase_create("peers_view");

	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, test_who_agrees_is_told_nothing);
	tcase_add_test(tcase, test_the_one_whom_a_caller_misses_is_told_at_once_and_alone);
	tcase_add_test(tcase,
		       test_two_whom_a_caller_misses_are_told_at_once_and_alone_even_in_one_bucket);
	tcase_add_test(tcase, test_whom_a_caller_misses_he_is_told_of_before_news);
	tcase_add_test(tcase, test_all_whom_a_caller_misses_are_told_soon);
	tcase_add_test(tcase, test_who_tells_no_view_is_told_as_ever);
	tcase_add_test(tcase, test_a_view_that_differs_for_ever_costs_one_record_an_answer);
	suite_add_tcase(suite, tcase);

	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
