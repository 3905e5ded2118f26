/* SPDX-License-Identifier: MIT
 *
 * check_swarm.c - which piece from whom next.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "swarm.h"

#define PIECE (64u << 10)

static const char peer_a[PEER_ID_SIZE] = "a", peer_b[PEER_ID_SIZE] = "b", peer_c[PEER_ID_SIZE] = "c";

START_TEST(test_runs_are_ascending_and_no_longer_than_asked)
{
	struct swarm *swarm = swarm_new(10, PIECE, 1);
	struct swarm_run run;
	ck_assert(swarm_next(swarm, 4 * PIECE, &run));
	ck_assert_uint_eq(run.first, 0);
	ck_assert_uint_eq(run.count, 4);
	ck_assert(swarm_next(swarm, 4 * PIECE, &run));
	ck_assert_uint_eq(run.first, 4);
	ck_assert(swarm_next(swarm, 4 * PIECE, &run));
	ck_assert_uint_eq(run.first, 8);
	ck_assert_uint_eq(run.count, 2);
	ck_assert(!swarm_next(swarm, 4 * PIECE, &run));
	swarm_free(swarm);
}
END_TEST

START_TEST(test_a_run_is_one_piece_at_least)
{
	struct swarm *swarm = swarm_new(3, PIECE, 1);
	struct swarm_run run;
	ck_assert(swarm_next(swarm, 1, &run));
	ck_assert_uint_eq(run.count, 1);
	swarm_free(swarm);
}
END_TEST

START_TEST(test_what_is_here_is_not_asked_for)
{
	struct swarm *swarm = swarm_new(5, PIECE, 1);
	struct swarm_run run;
	swarm_have(swarm, 0);
	swarm_have(swarm, 2);
	swarm_have(swarm, 2);
	ck_assert(swarm_next(swarm, 10 * PIECE, &run));
	ck_assert_uint_eq(run.first, 1);
	ck_assert_uint_eq(run.count, 1);
	ck_assert(swarm_next(swarm, 10 * PIECE, &run));
	ck_assert_uint_eq(run.first, 3);
	ck_assert_uint_eq(run.count, 2);
	swarm_free(swarm);
}
END_TEST

START_TEST(test_what_was_not_verified_is_asked_for_again)
{
	struct swarm *swarm = swarm_new(4, PIECE, 1);
	struct swarm_run run, again;
	ck_assert(swarm_next(swarm, 4 * PIECE, &run));
	swarm_ended(swarm, &run, 1);
	ck_assert(!swarm_is_complete(swarm));
	ck_assert(swarm_next(swarm, 4 * PIECE, &again));
	ck_assert_uint_eq(again.first, 1);
	ck_assert_uint_eq(again.count, 3);
	swarm_ended(swarm, &again, 3);
	ck_assert(swarm_is_complete(swarm));
	ck_assert(!swarm_next(swarm, PIECE, &run));
	swarm_free(swarm);
}
END_TEST

START_TEST(test_random_endings_lead_to_completion_and_never_to_a_piece_twice_under_way)
{
	enum { PIECES = 500, UNDER_WAY = 6 };
	srand((unsigned)_i + 1);
	struct swarm *swarm = swarm_new(PIECES, PIECE, (uint64_t)_i);
	struct swarm_run runs[UNDER_WAY];
	unsigned char under_way[PIECES] = { 0 };
	int count = 0;
	for (int turns = 0; !swarm_is_complete(swarm) && turns < 100000; turns++) {
		if (count < UNDER_WAY && swarm_next(swarm, (uint64_t)(rand() % 9) * PIECE, &runs[count])) {
			for (uint64_t i = 0; i < runs[count].count; i++)
				ck_assert_int_eq(under_way[runs[count].first + i]++, 0);
			count++;
		} else if (count > 0) {
			int which = rand() % count;
			for (uint64_t i = 0; i < runs[which].count; i++)
				under_way[runs[which].first + i]--;
			swarm_ended(swarm, &runs[which], (uint64_t)rand() % (runs[which].count + 1));
			runs[which] = runs[--count];
		}
	}
	ck_assert(swarm_is_complete(swarm));
	swarm_free(swarm);
}
END_TEST

START_TEST(test_a_window_bounds_what_is_asked_for)
{
	struct swarm *swarm = swarm_new(100, PIECE, 1);
	struct swarm_run run;
	swarm_window(swarm, 10, 12);
	ck_assert(swarm_next(swarm, 50 * PIECE, &run));
	ck_assert_uint_eq(run.first, 10);
	ck_assert_uint_eq(run.count, 2);
	ck_assert(!swarm_next(swarm, PIECE, &run));
	swarm_window(swarm, 5, 1000);
	ck_assert(swarm_next(swarm, 50 * PIECE, &run));
	ck_assert_uint_eq(run.first, 5);
	ck_assert_uint_eq(run.count, 5);
	swarm_free(swarm);
}
END_TEST

START_TEST(test_the_nearest_source_is_used_until_it_fails)
{
	struct swarm *swarm = swarm_new(1, PIECE, 1);
	char peer[PEER_ID_SIZE];
	uint64_t retry_ms;
	swarm_source(swarm, peer_a, 80000);
	swarm_source(swarm, peer_b, 500);
	swarm_source(swarm, peer_c, 20000);
	ck_assert(swarm_choose(swarm, 0, peer, &retry_ms));
	ck_assert_str_eq(peer, "b");
	ck_assert(swarm_choose(swarm, 0, peer, &retry_ms));
	ck_assert_str_eq(peer, "b");
	swarm_source_failed(swarm, peer_b, 0, false);
	ck_assert(swarm_choose(swarm, 0, peer, &retry_ms));
	ck_assert_str_eq(peer, "c");
	swarm_free(swarm);
}
END_TEST

START_TEST(test_a_source_backs_off_longer_with_each_failure)
{
	struct swarm *swarm = swarm_new(1, PIECE, 1);
	char peer[PEER_ID_SIZE];
	uint64_t now_ms = 1000, retry_ms, before_ms = 0;
	swarm_source(swarm, peer_a, 0);
	for (int i = 0; i < 10; i++) {
		ck_assert(swarm_choose(swarm, now_ms, peer, &retry_ms));
		swarm_source_failed(swarm, peer_a, now_ms, false);
		ck_assert(!swarm_choose(swarm, now_ms, peer, &retry_ms));
		uint64_t wait_ms = retry_ms - now_ms;
		ck_assert_uint_ge(wait_ms, before_ms);
		ck_assert_uint_le(wait_ms, SWARM_BACKOFF_MAX_MS);
		before_ms = wait_ms;
		now_ms = retry_ms;
	}
	ck_assert_uint_eq(before_ms, SWARM_BACKOFF_MAX_MS);
	swarm_source_forgive(swarm, peer_a);
	ck_assert(swarm_choose(swarm, now_ms, peer, &retry_ms));
	swarm_free(swarm);
}
END_TEST

START_TEST(test_a_liar_is_left_alone_and_not_forgiven)
{
	struct swarm *swarm = swarm_new(1, PIECE, 1);
	char peer[PEER_ID_SIZE];
	uint64_t retry_ms;
	swarm_source(swarm, peer_a, 0);
	swarm_source_failed(swarm, peer_a, 1, false);
	ck_assert(!swarm_source_is_barred(swarm, peer_a, 2));
	swarm_source_failed(swarm, peer_a, 5, true);
	ck_assert(swarm_source_is_barred(swarm, peer_a, 5));
	ck_assert(swarm_source_is_barred(swarm, peer_a, SWARM_LIAR_MS + 4));
	ck_assert(!swarm_source_is_barred(swarm, peer_a, SWARM_LIAR_MS + 5));
	ck_assert(!swarm_source_is_barred(swarm, peer_b, 5));
	swarm_source_forgive(swarm, peer_a);
	ck_assert(!swarm_choose(swarm, SWARM_LIAR_MS, peer, &retry_ms));
	ck_assert_uint_eq(retry_ms, SWARM_LIAR_MS + 5);
	ck_assert(swarm_choose(swarm, SWARM_LIAR_MS + 5, peer, &retry_ms));
	swarm_free(swarm);
}
END_TEST

START_TEST(test_without_sources_there_is_nothing_to_wait_for)
{
	struct swarm *swarm = swarm_new(1, PIECE, 1);
	char peer[PEER_ID_SIZE];
	uint64_t retry_ms = 7;
	ck_assert(!swarm_choose(swarm, 0, peer, &retry_ms));
	ck_assert_uint_eq(retry_ms, UINT64_MAX);
	swarm_free(swarm);
}
END_TEST

START_TEST(test_equal_sources_are_taken_in_an_order_of_the_seed)
{
	int firsts[3] = { 0 };
	for (uint64_t seed = 0; seed < 300; seed++) {
		struct swarm *swarm = swarm_new(1, PIECE, seed * 7919);
		char peer[PEER_ID_SIZE];
		uint64_t retry_ms;
		swarm_source(swarm, peer_a, 300);
		swarm_source(swarm, peer_b, 300);
		swarm_source(swarm, peer_c, 300);
		ck_assert(swarm_choose(swarm, 0, peer, &retry_ms));
		firsts[peer[0] - 'a']++;
		swarm_free(swarm);
	}
	for (int i = 0; i < 3; i++)
		ck_assert_int_ge(firsts[i], 40);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("swarm");
	TCase *pieces = tcase_create("pieces"), *sources = tcase_create("sources");
	tcase_add_test(pieces, test_runs_are_ascending_and_no_longer_than_asked);
	tcase_add_test(pieces, test_a_run_is_one_piece_at_least);
	tcase_add_test(pieces, test_what_is_here_is_not_asked_for);
	tcase_add_test(pieces, test_what_was_not_verified_is_asked_for_again);
	tcase_add_loop_test(pieces,
	    test_random_endings_lead_to_completion_and_never_to_a_piece_twice_under_way, 0, 20);
	tcase_add_test(pieces, test_a_window_bounds_what_is_asked_for);
	tcase_add_test(sources, test_the_nearest_source_is_used_until_it_fails);
	tcase_add_test(sources, test_a_source_backs_off_longer_with_each_failure);
	tcase_add_test(sources, test_a_liar_is_left_alone_and_not_forgiven);
	tcase_add_test(sources, test_without_sources_there_is_nothing_to_wait_for);
	tcase_add_test(sources, test_equal_sources_are_taken_in_an_order_of_the_seed);
	suite_add_tcase(suite, pieces);
	suite_add_tcase(suite, sources);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
