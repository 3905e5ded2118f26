/* SPDX-License-Identifier: MIT
 *
 * check_swarm.c - which piece from whom next: the rules one by one.  check_swarm_sim.c has what
 * they come to.
 */
#include <check.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "swarm.h"

#define PIECE  (64u << 10)
#define MIB    ((uint64_t)1 << 20)
#define SECOND ((uint64_t)1000000)

static const char peer_a[PEER_ID_SIZE] = "a", peer_b[PEER_ID_SIZE] = "b",
		  peer_c[PEER_ID_SIZE] = "c";

/* Of so many pieces, with one source, a, that has all and is a millisecond away. */
static struct swarm *
new_swarm(uint64_t pieces, uint64_t seed)
{
	struct swarm *swarm = swarm_new(pieces * PIECE, PIECE, seed);
	ck_assert(swarm_source(swarm, peer_a, 1000));
	swarm_holds_all(swarm, peer_a);
	return swarm;
}

static void
holds_range(struct swarm *swarm, const char *peer, uint64_t from, uint64_t to)
{
	for (uint64_t i = from; i < to; i++)
		swarm_holds_too(swarm, peer, i);
}

/* The bytes of an ask come at this rate; answers when it ended. */
static uint64_t
serve(struct swarm *swarm, const struct swarm_ask *ask, uint64_t now_us, uint64_t rate_bps)
{
	uint64_t bytes = ask->bytes;
	now_us += 1000; /* a round trip */
	for (uint64_t came = PIECE; came < bytes; came += PIECE) {
		now_us += PIECE * SECOND / rate_bps;
		swarm_came(swarm, ask, came, now_us);
	}
	now_us += PIECE * SECOND / rate_bps;
	swarm_came(swarm, ask, bytes, now_us);
	swarm_ended(swarm, ask, ask->pieces.count, SWARM_DONE, now_us);
	return now_us;
}

/* One ask, that must be there. */
static const struct swarm_ask *
next_ask(struct swarm *swarm, uint64_t now_us)
{
	const struct swarm_ask *ask = swarm_next(swarm, now_us);
	ck_assert_ptr_nonnull(ask);
	return ask;
}

static bool
is_of(const struct swarm_ask *ask, const char *peer)
{
	return strcmp(ask->peer, peer) == 0;
}

/* --- which piece --- */

START_TEST(test_the_rarest_piece_is_asked_first)
{
	struct swarm *swarm = new_swarm(100, (uint64_t)_i);
	swarm_source(swarm, peer_b, 500000);
	swarm_source(swarm, peer_c, 500000);
	holds_range(swarm, peer_b, 0, 100);
	holds_range(swarm, peer_c, 0, 42);
	holds_range(swarm, peer_c, 43, 100);
	const struct swarm_ask *ask = next_ask(swarm, 0);
	ck_assert(is_of(ask, peer_a));
	ck_assert_uint_eq(ask->pieces.first, 42);
	swarm_free(swarm);
}
END_TEST

START_TEST(test_what_is_coming_to_somebody_is_not_the_rarest)
{
	struct swarm *swarm = new_swarm(100, (uint64_t)_i);
	for (uint64_t i = 0; i < 100; i++)
		if (i != 7)
			swarm_coming(swarm, i);
	swarm_coming(swarm, 100000);
	ck_assert_uint_eq(next_ask(swarm, 0)->pieces.first, 7);
	swarm_free(swarm);
}
END_TEST

static uint64_t
first_choice(uint64_t seed)
{
	struct swarm *swarm = new_swarm(64, seed);
	swarm_source(swarm, peer_b, 500000);
	holds_range(swarm, peer_b, 0, 64);
	uint64_t first = next_ask(swarm, 0)->pieces.first;
	swarm_free(swarm);
	return first;
}

START_TEST(test_of_equals_each_seed_takes_another_and_always_the_same)
{
	unsigned char chosen[64] = { 0 };
	int different = 0;
	for (uint64_t seed = 0; seed < 200; seed++) {
		uint64_t piece = first_choice(seed);
		ck_assert_uint_eq(piece, first_choice(seed));
		different += chosen[piece]++ == 0;
	}
	ck_assert_int_ge(different, 50); /* 61 of 64 are to be expected */
}
END_TEST

START_TEST(test_pieces_ascend_when_nobody_else_fetches)
{
	struct swarm *swarm = new_swarm(1000, 3);
	uint64_t now_us = 0, expected = UINT64_MAX;
	while (!swarm_is_complete(swarm)) {
		const struct swarm_ask *ask = next_ask(swarm, now_us);
		if (expected != UINT64_MAX)
			ck_assert_uint_eq(ask->pieces.first, expected % 1000);
		expected = ask->pieces.first + ask->pieces.count;
		now_us = serve(swarm, ask, now_us, 100 * MIB);
	}
	swarm_free(swarm);
}
END_TEST

START_TEST(test_a_window_bounds_what_is_asked_for_and_orders_it)
{
	struct swarm *swarm = new_swarm(100, 1);
	swarm_source(swarm, peer_b, 500000);
	holds_range(swarm, peer_b, 12, 100); /* somebody else fetches */
	swarm_source_failed(swarm, peer_b, 0, SWARM_LIED);
	swarm_window(swarm, 10, 12);
	uint64_t now_us = 0;
	for (uint64_t piece = 10; piece < 12; piece++) {
		const struct swarm_ask *ask = next_ask(swarm, now_us);
		ck_assert_uint_eq(ask->pieces.first, piece);
		ck_assert_uint_eq(ask->pieces.count, 1);
		now_us = serve(swarm, ask, now_us, PIECE);
	}
	ck_assert_ptr_null(swarm_next(swarm, now_us));
	swarm_window(swarm, 5, 100000);
	ck_assert_uint_eq(next_ask(swarm, now_us)->pieces.first, 5);
	swarm_free(swarm);
}
END_TEST

START_TEST(test_what_is_here_is_not_asked_for)
{
	struct swarm *swarm = new_swarm(5, 1);
	for (uint64_t i = 0; i < 5; i++)
		if (i != 3)
			swarm_have(swarm, i);
	swarm_have(swarm, 0);
	const struct swarm_ask *ask = next_ask(swarm, 0);
	ck_assert_uint_eq(ask->pieces.first, 3);
	ck_assert_uint_eq(ask->pieces.count, 1);
	ck_assert(!swarm_is_complete(swarm));
	serve(swarm, ask, 0, MIB);
	ck_assert(swarm_is_complete(swarm));
	ck_assert_ptr_null(swarm_next(swarm, SECOND));
	swarm_free(swarm);
}
END_TEST

START_TEST(test_the_last_piece_is_as_long_as_it_is)
{
	struct swarm *swarm = swarm_new(2 * PIECE + 1, PIECE, 1);
	swarm_source(swarm, peer_a, 0);
	swarm_holds_all(swarm, peer_a);
	swarm_have(swarm, 0);
	swarm_have(swarm, 1);
	ck_assert_uint_eq(next_ask(swarm, 0)->bytes, 1);
	swarm_free(swarm);
}
END_TEST

START_TEST(test_an_empty_content_is_complete)
{
	struct swarm *swarm = swarm_new(0, PIECE, 1);
	swarm_source(swarm, peer_a, 0);
	swarm_holds_all(swarm, peer_a);
	ck_assert(swarm_is_complete(swarm));
	ck_assert_ptr_null(swarm_next(swarm, 0));
	swarm_free(swarm);
}
END_TEST

START_TEST(test_a_piece_that_is_held_back_is_not_asked_for)
{
	struct swarm *swarm = new_swarm(2, 1);
	const struct swarm_ask *ask = next_ask(swarm, 0);
	uint64_t held = ask->pieces.first;
	swarm_ended(swarm, ask, 0, SWARM_DONE, 0);
	swarm_hold(swarm, held);
	ask = next_ask(swarm, 0);
	ck_assert_uint_ne(ask->pieces.first, held);
	ck_assert(!swarm_has_missing(swarm));
	swarm_ended(swarm, ask, 1, SWARM_DONE, 0);
	ck_assert_ptr_null(swarm_next(swarm, 0));
	swarm_release(swarm, held);
	ck_assert_uint_eq(next_ask(swarm, 0)->pieces.first, held);
	ck_assert(!swarm_is_complete(swarm));
	swarm_free(swarm);
}
END_TEST

START_TEST(test_a_trimmed_ask_leaves_the_rest_to_others)
{
	struct swarm *swarm = new_swarm(100, 1);
	uint64_t now_us = serve(swarm, next_ask(swarm, 0), 0, 20 * MIB);
	const struct swarm_ask *ask = next_ask(swarm, now_us);
	uint64_t first = ask->pieces.first;
	ck_assert_uint_gt(ask->pieces.count, 3);
	swarm_trim(swarm, ask, 2, 2 * PIECE - 16384);
	ck_assert_uint_eq(ask->pieces.count, 2);
	ck_assert_uint_eq(ask->bytes, 2 * PIECE - 16384);
	swarm_ended(swarm, ask, 2, SWARM_DONE, now_us + 10000);
	uint64_t seen = 0;
	for (uint64_t at_us = now_us + 10000; !swarm_is_complete(swarm);) {
		ask = next_ask(swarm, at_us);
		for (uint64_t i = 0; i < ask->pieces.count; i++) {
			ck_assert(ask->pieces.first + i != first &&
				  ask->pieces.first + i != first + 1);
			seen++;
		}
		at_us = serve(swarm, ask, at_us, 20 * MIB);
	}
	ck_assert_uint_eq(seen, 97);
	swarm_free(swarm);
}
END_TEST

START_TEST(test_a_question_about_a_piece_goes_to_one_who_has_it_and_is_not_to_be_avoided)
{
	struct swarm *swarm = new_swarm(10, 1);
	swarm_source(swarm, peer_b, 500000);
	swarm_source(swarm, peer_c, 1);
	holds_range(swarm, peer_b, 4, 6);
	holds_range(swarm, peer_c, 0, 4);
	ck_assert_uint_eq(swarm_choose_for(swarm, 4, 0, 0), 0);
	ck_assert_uint_eq(swarm_choose_for(swarm, 4, 1, 0), 1);
	ck_assert_uint_eq(swarm_choose_for(swarm, 4, 3, 0), UINT_MAX);
	ck_assert_uint_eq(swarm_choose_for(swarm, 3, 0, 0), 2);
	swarm_source_failed(swarm, peer_a, 0, SWARM_FAILED);
	ck_assert_uint_eq(swarm_choose_for(swarm, 4, 0, 0), 1);
	ck_assert_uint_eq(swarm_ask_source(swarm, next_ask(swarm, 0)), 2);
	swarm_free(swarm);
}
END_TEST

START_TEST(test_the_verified_part_of_a_run_stays)
{
	struct swarm *swarm = new_swarm(64, 1);
	for (uint64_t i = 0; i < 64; i++) /* so that the run begins at 32 */
		if (i < 32 || i >= 40)
			swarm_have(swarm, i);
	uint64_t now_us = serve(swarm, next_ask(swarm, 0), 0, 100 * MIB);
	const struct swarm_ask *ask = next_ask(swarm, now_us);
	ck_assert_uint_eq(ask->pieces.first, 33);
	ck_assert_uint_eq(ask->pieces.count, 7);
	swarm_ended(swarm, ask, 3, SWARM_FAILED, now_us);
	now_us = swarm_retry_us(swarm, now_us);
	ask = next_ask(swarm, now_us);
	ck_assert_uint_eq(ask->pieces.first, 36);
	ck_assert_uint_eq(ask->pieces.count, 4);
	serve(swarm, ask, now_us, MIB);
	ck_assert(swarm_is_complete(swarm));
	swarm_free(swarm);
}
END_TEST

/* --- how much --- */

START_TEST(test_one_that_is_nearer_than_was_told_gets_larger_asks_too)
{
	struct swarm *swarm = new_swarm(1000, 1);
	swarm_source(swarm, peer_a, 200000);
	uint64_t now_us = 0;
	for (int i = 0; i < 10; i++)
		now_us = serve(swarm, next_ask(swarm, now_us), now_us, 10 * MIB);
	ck_assert_uint_ge(next_ask(swarm, now_us)->bytes, 4 * PIECE);
	swarm_free(swarm);
}
END_TEST

START_TEST(test_an_ask_grows_with_the_rate)
{
	struct swarm *swarm = new_swarm(10000, 1);
	const struct swarm_ask *ask = next_ask(swarm, 0);
	ck_assert_uint_eq(ask->pieces.count, 1);
	uint64_t now_us = serve(swarm, ask, 0, 10 * MIB);
	for (int i = 0; i < 20; i++)
		now_us = serve(swarm, next_ask(swarm, now_us), now_us, 10 * MIB);
	ask = next_ask(swarm, now_us);
	uint64_t expected = 10 * MIB * SWARM_ASK_US / SECOND;
	ck_assert_uint_ge(ask->bytes, expected / 2);
	ck_assert_uint_le(ask->bytes, expected);
	now_us = serve(swarm, ask, now_us, 1000 * MIB);
	for (int i = 0; i < 20; i++)
		now_us = serve(swarm, next_ask(swarm, now_us), now_us, 1000 * MIB);
	ck_assert_uint_eq(next_ask(swarm, now_us)->bytes, SWARM_ASK_MAX);
	swarm_free(swarm);
}
END_TEST

static unsigned
asks_at_once(struct swarm *swarm, uint64_t now_us)
{
	unsigned count = 0;
	while (swarm_next(swarm, now_us) != NULL)
		count++;
	return count;
}

START_TEST(test_a_source_is_asked_for_as_much_as_is_pressed_for)
{
	struct swarm *swarm = new_swarm(1000, 1);
	uint64_t now_us = serve(swarm, next_ask(swarm, 0), 1000, MIB);
	unsigned usual = 0, pressed = 0;
	while (swarm_next(swarm, now_us) != NULL)
		usual++;
	swarm_press(swarm, SWARM_ASKS_MAX - 1);
	while (swarm_next(swarm, now_us) != NULL)
		pressed++;
	ck_assert_uint_lt(usual, 4);
	ck_assert_uint_eq(usual + pressed, SWARM_ASKS_MAX - 1);
	swarm_press(swarm, 2 * SWARM_ASKS_MAX);
	ck_assert_ptr_nonnull(swarm_next(swarm, now_us));
	ck_assert_ptr_null(swarm_next(swarm, now_us));
	swarm_free(swarm);
}
END_TEST

START_TEST(test_a_source_that_nothing_is_known_of_gets_one_ask)
{
	struct swarm *swarm = new_swarm(1000, 1);
	ck_assert_uint_eq(asks_at_once(swarm, 0), 1);
	swarm_free(swarm);
}
END_TEST

/* Asks at once of a source at this distance, that sends 10 MiB a second. */
static unsigned
asks_at_distance(uint32_t round_trip_us, unsigned limit)
{
	struct swarm *swarm = new_swarm(10000, 1);
	swarm_source(swarm, peer_a, round_trip_us);
	if (limit != 0)
		swarm_limit(swarm, limit);
	uint64_t now_us = 0;
	for (int i = 0; i < 20; i++)
		now_us = serve(swarm, next_ask(swarm, now_us), now_us + round_trip_us, 10 * MIB);
	unsigned asks = asks_at_once(swarm, now_us);
	swarm_free(swarm);
	return asks;
}

START_TEST(test_the_farther_a_source_the_more_is_asked_of_it)
{
	unsigned near = asks_at_distance(1000, 0), far = asks_at_distance(100000, 0);
	ck_assert_uint_le(near, 2);
	ck_assert_uint_ge(far, 3);
	ck_assert_uint_le(far, SWARM_ASKS_MAX);
	ck_assert_uint_eq(asks_at_distance(100000, 1), 1);
}
END_TEST

START_TEST(test_all_sources_are_used_at_once)
{
	struct swarm *swarm = new_swarm(1000, 1);
	swarm_source(swarm, peer_b, 2000);
	swarm_source(swarm, peer_c, 90000);
	holds_range(swarm, peer_b, 0, 10);
	const struct swarm_ask *first = next_ask(swarm, 0), *second = next_ask(swarm, 0);
	ck_assert_str_ne(first->peer, second->peer);
	ck_assert(!is_of(first, peer_c) && !is_of(second, peer_c)); /* it has nothing */
	ck_assert_ptr_null(swarm_next(swarm, 0));
	swarm_free(swarm);
}
END_TEST

START_TEST(test_there_is_room_for_so_many_sources)
{
	struct swarm *swarm = swarm_new(PIECE, PIECE, 1);
	char peer[PEER_ID_SIZE] = { 0 };
	for (int i = 0; i < SWARM_SOURCES_MAX; i++) {
		snprintf(peer, sizeof(peer), "%d", i);
		ck_assert(swarm_source(swarm, peer, 0));
	}
	ck_assert(swarm_source(swarm, peer, 7)); /* known */
	ck_assert(!swarm_source(swarm, peer_a, 0));
	ck_assert_uint_eq(swarm_source_count(swarm), SWARM_SOURCES_MAX);
	swarm_holds_all(swarm, peer_a);
	ck_assert_ptr_null(swarm_next(swarm, 0));
	swarm_free(swarm);
}
END_TEST

/* --- what is held against a source --- */

START_TEST(test_a_source_backs_off_longer_with_each_failure)
{
	struct swarm *swarm = new_swarm(10, 1);
	uint64_t now_us = 1000, before_us = 0;
	for (int i = 0; i < 10; i++) {
		ck_assert(swarm_is_open(swarm, peer_a, now_us));
		swarm_ended(swarm, next_ask(swarm, now_us), 0, SWARM_FAILED, now_us);
		ck_assert_ptr_null(swarm_next(swarm, now_us));
		ck_assert(!swarm_is_open(swarm, peer_a, now_us));
		uint64_t wait_us = swarm_retry_us(swarm, now_us) - now_us;
		ck_assert_uint_ge(wait_us, before_us);
		ck_assert_uint_ge(wait_us, SWARM_BACKOFF_MIN_MS * 1000);
		ck_assert_uint_le(wait_us, SWARM_BACKOFF_MAX_MS * 1000);
		before_us = wait_us;
		now_us += wait_us;
	}
	ck_assert_uint_eq(before_us, SWARM_BACKOFF_MAX_MS * 1000);
	swarm_ended(swarm, next_ask(swarm, now_us), 0, SWARM_FAILED, now_us);
	swarm_forgive(swarm, peer_a);
	ck_assert_ptr_nonnull(swarm_next(swarm, now_us));
	swarm_free(swarm);
}
END_TEST

START_TEST(test_asks_that_fail_together_are_one_failure)
{
	struct swarm *swarm = new_swarm(10000, 1);
	swarm_source(swarm, peer_a, 100000);
	uint64_t now_us = serve(swarm, next_ask(swarm, 0), 100000, 10 * MIB);
	const struct swarm_ask *asks[] = { next_ask(swarm, now_us), next_ask(swarm, now_us) };
	for (int i = 0; i < 2; i++)
		swarm_ended(swarm, asks[i], 0, SWARM_FAILED, now_us);
	ck_assert_uint_eq(swarm_retry_us(swarm, now_us), now_us + SWARM_BACKOFF_MIN_MS * 1000);
	swarm_free(swarm);
}
END_TEST

START_TEST(test_a_liar_is_left_alone_and_not_forgiven)
{
	struct swarm *swarm = new_swarm(10, 1);
	swarm_source_failed(swarm, peer_a, 1, SWARM_FAILED);
	ck_assert(!swarm_is_barred(swarm, peer_a, 2));
	uint64_t lied_us = swarm_retry_us(swarm, 2), end_us = lied_us + SWARM_LIAR_MS * 1000;
	swarm_ended(swarm, next_ask(swarm, lied_us), 0, SWARM_LIED, lied_us);
	ck_assert(swarm_is_barred(swarm, peer_a, lied_us));
	ck_assert(!swarm_is_barred(swarm, peer_b, lied_us));
	swarm_forgive(swarm, peer_a);
	ck_assert_ptr_null(swarm_next(swarm, end_us - 1));
	ck_assert_uint_eq(swarm_retry_us(swarm, lied_us), end_us);
	ck_assert(!swarm_is_barred(swarm, peer_a, end_us));
	ck_assert_ptr_nonnull(swarm_next(swarm, end_us));
	swarm_free(swarm);
}
END_TEST

START_TEST(test_one_that_lacks_is_asked_when_it_is_told_again_what_it_holds)
{
	struct swarm *swarm = swarm_new(10 * PIECE, PIECE, 1);
	swarm_source(swarm, peer_b, 0);
	holds_range(swarm, peer_b, 0, 10);
	swarm_ended(swarm, next_ask(swarm, 0), 0, SWARM_LACKED, 0);
	ck_assert_ptr_null(swarm_next(swarm, 0));
	ck_assert(swarm_is_open(swarm, peer_b, 0)); /* nothing is held against it */
	ck_assert_uint_eq(swarm_retry_us(swarm, 0), UINT64_MAX);
	swarm_holds(swarm, peer_b, (const unsigned char[2]){ 0x10, 0x00 });
	const struct swarm_ask *ask = next_ask(swarm, 0);
	ck_assert_uint_eq(ask->pieces.first, 3);
	ck_assert_uint_eq(ask->pieces.count, 1);
	swarm_free(swarm);
}
END_TEST

START_TEST(test_one_that_lacks_again_and_again_what_it_tells_of_backs_off)
{
	struct swarm *swarm = swarm_new(10 * PIECE, PIECE, 1);
	uint64_t now_us = 0, waited_us = 0;
	swarm_source(swarm, peer_b, 0);
	for (int i = 0; i < 5; i++) {
		holds_range(swarm, peer_b, 0, 10);
		swarm_ended(swarm, next_ask(swarm, now_us), 0, SWARM_LACKED, now_us);
		ck_assert_int_eq(swarm_is_open(swarm, peer_b, now_us), i == 0);
		if (i == 0)
			continue;
		uint64_t retry_us = swarm_retry_us(swarm, now_us);
		ck_assert_uint_gt(retry_us - now_us, waited_us);
		waited_us = retry_us - now_us;
		now_us = retry_us;
	}
	ck_assert_uint_ge(waited_us, 8 * SECOND);
	/* What it gives makes up for it. */
	holds_range(swarm, peer_b, 0, 10);
	const struct swarm_ask *ask = next_ask(swarm, now_us);
	swarm_ended(swarm, ask, ask->pieces.count, SWARM_DONE, now_us);
	holds_range(swarm, peer_b, 0, 10);
	swarm_ended(swarm, next_ask(swarm, now_us), 0, SWARM_LACKED, now_us);
	ck_assert(swarm_is_open(swarm, peer_b, now_us));
	swarm_free(swarm);
}
END_TEST

START_TEST(test_one_that_has_all_but_lacks_something_backs_off)
{
	struct swarm *swarm = new_swarm(10, 1);
	swarm_ended(swarm, next_ask(swarm, 0), 0, SWARM_LACKED, 0);
	ck_assert_ptr_null(swarm_next(swarm, 0));
	ck_assert_ptr_nonnull(swarm_next(swarm, swarm_retry_us(swarm, 0)));
	swarm_free(swarm);
}
END_TEST

START_TEST(test_without_sources_there_is_nothing_to_wait_for)
{
	struct swarm *swarm = swarm_new(PIECE, PIECE, 1);
	char peer[PEER_ID_SIZE];
	uint64_t retry_us = 7;
	ck_assert_ptr_null(swarm_next(swarm, 0));
	ck_assert_uint_eq(swarm_retry_us(swarm, 0), UINT64_MAX);
	ck_assert(!swarm_choose(swarm, 0, peer, &retry_us));
	ck_assert_uint_eq(retry_us, UINT64_MAX);
	swarm_free(swarm);
}
END_TEST

START_TEST(test_questions_go_to_the_nearest_and_equals_take_turns_by_seed)
{
	int firsts[3] = { 0 };
	for (uint64_t seed = 0; seed < 300; seed++) {
		struct swarm *swarm = new_swarm(10, seed * 7919);
		char peer[PEER_ID_SIZE];
		uint64_t retry_us;
		swarm_source(swarm, peer_a, 80000);
		swarm_source(swarm, peer_b, 3000);
		swarm_source(swarm, peer_c, 3000);
		swarm_holds_all(swarm, peer_b);
		swarm_holds_all(swarm, peer_c);
		ck_assert(swarm_choose(swarm, 0, peer, &retry_us));
		firsts[peer[0] - 'a']++;
		swarm_source_failed(swarm, peer_b, 0, SWARM_FAILED);
		swarm_source_failed(swarm, peer_c, 0, SWARM_FAILED);
		ck_assert(swarm_choose(swarm, 0, peer, &retry_us));
		ck_assert_str_eq(peer, peer_a);
		swarm_free(swarm);
	}
	ck_assert_int_eq(firsts[0], 0);
	ck_assert_int_ge(firsts[1], 90);
	ck_assert_int_ge(firsts[2], 90);
}
END_TEST

/* --- giving up --- */

/* When the ask is given up, from `now_us` on; 0: never within a minute. */
static uint64_t
given_up_after(struct swarm *swarm, const struct swarm_ask *ask, uint64_t now_us)
{
	for (uint64_t us = 0; us < 60 * SECOND; us += 10000)
		if (swarm_give_up(swarm, now_us + us) == ask)
			return us;
	return 0;
}

START_TEST(test_a_source_that_sends_nothing_is_left_soon)
{
	struct swarm *swarm = new_swarm(1, 1);
	const struct swarm_ask *ask = next_ask(swarm, 0);
	swarm_source(swarm, peer_b, 1000);
	swarm_holds_all(swarm, peer_b);
	ck_assert_uint_eq(given_up_after(swarm, ask, 0), SWARM_SILENT_US);
	swarm_ended(swarm, ask, 0, SWARM_DONE, SWARM_SILENT_US);
	ck_assert(is_of(next_ask(swarm, SWARM_SILENT_US), peer_b));
	swarm_free(swarm);
}
END_TEST

START_TEST(test_a_far_source_and_one_that_is_held_up_by_us_have_more_time)
{
	for (int is_far = 0; is_far < 2; is_far++) {
		struct swarm *swarm = new_swarm(1, 1);
		swarm_source(swarm, peer_a, is_far ? 600000 : 1000);
		swarm_patient(swarm, !is_far);
		const struct swarm_ask *ask = next_ask(swarm, 0);
		swarm_source(swarm, peer_b, 1000);
		swarm_holds_all(swarm, peer_b);
		ck_assert_uint_eq(given_up_after(swarm, ask, 0), is_far ? 2400000 : SWARM_STALL_US);
		swarm_free(swarm);
	}
}
END_TEST

/* Two that need `begin_us` to their first byte: neither is left for the other for ever. */
START_TEST(test_sources_that_are_slow_to_begin_are_answered_in_the_end)
{
	const uint64_t begin_us = 5 * SECOND;
	struct swarm *swarm = new_swarm(1, 1);
	swarm_source(swarm, peer_b, 1000);
	swarm_holds_all(swarm, peer_b);
	uint64_t now_us = 0;
	unsigned asks = 0;
	while (!swarm_is_complete(swarm) && now_us < 60 * SECOND) {
		const struct swarm_ask *ask = swarm_next(swarm, now_us);
		if (ask == NULL) {
			now_us += 10000;
			continue;
		}
		asks++;
		uint64_t us = given_up_after(swarm, ask, now_us);
		bool is_answered = us == 0 || us >= begin_us;
		now_us += is_answered ? begin_us : us;
		swarm_ended(swarm, ask, is_answered, SWARM_DONE, now_us);
	}
	ck_assert(swarm_is_complete(swarm));
	ck_assert_uint_le(asks, 7);
	swarm_free(swarm);
}
END_TEST

/* Whose bytes come, only not of this ask yet, is not silent. */
START_TEST(test_an_ask_that_waits_behind_another_of_its_source_is_not_left_soon)
{
	struct swarm *swarm = new_swarm(200, 1);
	uint64_t now_us = serve(swarm, next_ask(swarm, 0), 0, MIB);
	swarm_source(swarm, peer_a, 100000);
	const struct swarm_ask *first = next_ask(swarm, now_us);
	const struct swarm_ask *second = next_ask(swarm, now_us);
	ck_assert(is_of(first, peer_a) && is_of(second, peer_a));
	swarm_source(swarm, peer_b, 1000);
	swarm_holds_all(swarm, peer_b);
	for (uint64_t us = 0; us < 2 * SECOND; us += 100000) {
		swarm_came(swarm, first, 1 + us / 100000, now_us + us + 1);
		ck_assert_ptr_null(swarm_give_up(swarm, now_us + us + 2));
	}
	swarm_free(swarm);
}
END_TEST

START_TEST(test_a_stalled_ask_is_given_up_once_if_somebody_else_has_it)
{
	struct swarm *swarm = new_swarm(100, 1);
	const struct swarm_ask *ask = next_ask(swarm, 0);
	swarm_came(swarm, ask, 100, 1000);
	ck_assert_ptr_null(swarm_give_up(swarm, 1000 + SWARM_STALL_US)); /* the only holder */
	swarm_source(swarm, peer_b, 1000);
	holds_range(swarm, peer_b, ask->pieces.first, ask->pieces.first + 1);
	ck_assert_ptr_null(swarm_give_up(swarm, 1000 + SWARM_STALL_US - 1));
	ck_assert_ptr_eq(swarm_give_up(swarm, 1000 + SWARM_STALL_US), ask);
	ck_assert_ptr_null(swarm_give_up(swarm, 1000 + SWARM_STALL_US));
	uint64_t piece = ask->pieces.first;
	swarm_ended(swarm, ask, 0, SWARM_DONE, 1000 + SWARM_STALL_US);
	ask = next_ask(swarm, 1000 + SWARM_STALL_US);
	ck_assert(is_of(ask, peer_b));
	ck_assert_uint_eq(ask->pieces.first, piece);
	swarm_free(swarm);
}
END_TEST

/* Two pieces are left: b, slow, is at one, and a has just brought the other. */
static const struct swarm_ask *
slow_at_the_end(struct swarm *swarm, uint64_t *now_us)
{
	swarm_source(swarm, peer_b, 1000);
	holds_range(swarm, peer_b, 0, 4);
	const struct swarm_ask *slow = NULL, *fast = NULL;
	for (int i = 0; i < 2; i++) {
		const struct swarm_ask *ask = next_ask(swarm, 0);
		*(is_of(ask, peer_b) ? &slow : &fast) = ask;
	}
	swarm_came(swarm, slow, 1000, 500000); /* a minute for a piece */
	*now_us = serve(swarm, fast, 490000, 10 * MIB);
	fast = next_ask(swarm, *now_us);
	ck_assert(is_of(fast, peer_a));
	*now_us = serve(swarm, fast, *now_us, 10 * MIB);
	while ((fast = swarm_next(swarm, *now_us)) != NULL)
		*now_us = serve(swarm, fast, *now_us, 10 * MIB);
	swarm_came(swarm, slow, 1100, *now_us);
	return slow;
}

START_TEST(test_the_slow_one_does_not_hold_up_the_end)
{
	struct swarm *swarm = new_swarm(4, 1);
	uint64_t now_us;
	const struct swarm_ask *slow = slow_at_the_end(swarm, &now_us);
	ck_assert_ptr_eq(swarm_give_up(swarm, now_us), slow);
	swarm_ended(swarm, slow, 0, SWARM_DONE, now_us);
	const struct swarm_ask *ask = next_ask(swarm, now_us);
	ck_assert(is_of(ask, peer_a));
	serve(swarm, ask, now_us, 10 * MIB);
	ck_assert(swarm_is_complete(swarm));
	swarm_free(swarm);
}
END_TEST

START_TEST(test_the_slow_one_is_kept_when_nobody_else_has_it)
{
	struct swarm *swarm = new_swarm(4, 1);
	uint64_t now_us;
	const struct swarm_ask *slow = slow_at_the_end(swarm, &now_us);
	swarm_lacks(swarm, peer_a);
	ck_assert_ptr_null(swarm_give_up(swarm, now_us));
	ck_assert_ptr_null(swarm_give_up(swarm, now_us + 2 * SWARM_STALL_US));
	swarm_ended(swarm, slow, 1, SWARM_DONE, now_us + 2 * SWARM_STALL_US);
	ck_assert(swarm_is_complete(swarm));
	swarm_free(swarm);
}
END_TEST

/* --- all of it --- */

START_TEST(test_ending_an_ask_twice_is_a_bug)
{
	struct swarm *swarm = new_swarm(4, 1);
	const struct swarm_ask *ask = next_ask(swarm, 0);
	struct swarm_ask copy = *ask;
	swarm_ended(swarm, ask, 1, SWARM_DONE, 0);
	swarm_ended(swarm, &copy, 1, SWARM_DONE, 0);
}
END_TEST

START_TEST(test_a_view_has_what_is_known)
{
	struct swarm *swarm = new_swarm(100, 1);
	struct swarm_view view;
	swarm_source(swarm, peer_b, 90000);
	holds_range(swarm, peer_b, 0, 3);
	holds_range(swarm, peer_b, 0, 3);
	uint64_t now_us = serve(swarm, next_ask(swarm, 0), 1000, MIB);
	now_us = serve(swarm, next_ask(swarm, now_us), now_us, MIB);
	swarm_source_failed(swarm, peer_b, now_us, SWARM_LIED);
	ck_assert_uint_eq(swarm_source_count(swarm), 2);
	ck_assert_str_eq(swarm_source_name(swarm, 0), peer_a);
	swarm_view(swarm, 0, now_us, &view);
	ck_assert_str_eq(view.peer, peer_a);
	ck_assert(view.is_whole && view.rest == SWARM_RESTS_NOT && view.rest_us == 0);
	ck_assert_uint_eq(view.pieces_held, 100);
	ck_assert_uint_ge(view.bytes, PIECE);
	ck_assert_uint_eq(view.pieces, (view.bytes + PIECE - 1) / PIECE);
	ck_assert_uint_ge(view.rate_bps, MIB / 2);
	ck_assert_uint_le(view.rate_bps, 2 * MIB);
	swarm_view(swarm, 1, now_us, &view);
	ck_assert(!view.is_whole && view.rest == SWARM_RESTS_LIED);
	ck_assert_uint_eq(view.rest_us, SWARM_LIAR_MS * 1000ull);
	ck_assert_uint_eq(view.pieces_held, 3);
	swarm_free(swarm);
}
END_TEST

/* Whatever happens, no piece is under way twice, nobody is asked for what he does not have, and
 * it comes to an end. */
START_TEST(test_random_endings_lead_to_completion)
{
	enum { PIECES = 500, PEERS = 6, ASKS_MAX = PEERS * SWARM_ASKS_MAX };
	srand((unsigned)_i + 1);
	struct swarm *swarm = swarm_new((PIECES - 1) * (uint64_t)PIECE + 5, PIECE, (uint64_t)_i);
	unsigned char under_way[PIECES] = { 0 }, here[PIECES] = { 0 }, held[PEERS][PIECES] = { 0 };
	const struct swarm_ask *asks[ASKS_MAX], *ask;
	int count = 0;
	uint64_t now_us = 0;
	char peer[PEER_ID_SIZE] = { 0 };
	for (int i = 0; i < PEERS; i++) {
		peer[0] = (char)('a' + i);
		ck_assert(swarm_source(swarm, peer, (uint32_t)(rand() % 100000)));
	}
	swarm_holds_all(swarm, peer_a);
	memset(held[0], 1, PIECES);
	for (int turns = 0; !swarm_is_complete(swarm) && turns < 1000000; turns++) {
		now_us += (uint64_t)rand() % 20000;
		int who = 1 + rand() % (PEERS - 1), piece = rand() % PIECES;
		peer[0] = (char)('a' + who);
		swarm_holds_too(swarm, peer, (uint64_t)piece);
		held[who][piece] = 1;
		while ((ask = swarm_next(swarm, now_us)) != NULL) {
			ck_assert_int_lt(count, ASKS_MAX);
			for (uint64_t i = ask->pieces.first;
			     i < ask->pieces.first + ask->pieces.count; i++) {
				ck_assert_int_eq(under_way[i]++, 0);
				ck_assert_int_eq(here[i], 0);
				ck_assert_int_ne(held[ask->peer[0] - 'a'][i], 0);
			}
			asks[count++] = ask;
		}
		if (count == 0)
			continue;
		int which = rand() % count;
		ask = swarm_give_up(swarm, now_us);
		for (int i = 0; ask != NULL && i < count; i++)
			which = asks[i] == ask ? i : which;
		ask = asks[which];
		asks[which] = asks[--count];
		uint64_t verified = (uint64_t)rand() % (ask->pieces.count + 1);
		for (uint64_t i = 0; i < ask->pieces.count; i++) {
			under_way[ask->pieces.first + i]--;
			here[ask->pieces.first + i] |= i < verified;
		}
		enum swarm_end how = rand() % 20 == 0 ? SWARM_FAILED : SWARM_DONE;
		swarm_came(swarm, ask, verified * PIECE, now_us);
		swarm_ended(swarm, ask, verified, how, now_us);
	}
	ck_assert(swarm_is_complete(swarm));
	for (int i = 0; i < PIECES; i++)
		ck_assert_int_eq(here[i], 1);
	swarm_free(swarm);
}
END_TEST

static double
cpu_s(void)
{
	struct timespec spec;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &spec);
	return (double)spec.tv_sec + (double)spec.tv_nsec / 1e9;
}

START_TEST(test_a_choice_of_a_quarter_of_a_million_is_quick)
{
	enum { PIECES = 262144, TURNS = 20000 };
	struct swarm *swarm = swarm_new((uint64_t)PIECES * PIECE, PIECE, 1);
	uint64_t now_us = 0, random = 1, calls = 0;
	char peer[PEER_ID_SIZE] = { 0 };
	for (int i = 0; i < SWARM_SOURCES_MAX; i++) {
		snprintf(peer, sizeof(peer), "%d", i);
		swarm_source(swarm, peer, 1000);
		for (uint64_t piece = 0; i > 0 && piece < PIECES; piece++)
			if ((random = random * 6364136223846793005u + 1) >> 63)
				swarm_holds_too(swarm, peer, piece);
		if (i == 0)
			swarm_holds_all(swarm, peer);
	}
	double begin_s = cpu_s();
	const struct swarm_ask *asks[SWARM_SOURCES_MAX * SWARM_ASKS_MAX];
	size_t count = 0;
	for (int turn = 0; turn < TURNS; turn++) {
		const struct swarm_ask *ask;
		while (calls++, (ask = swarm_next(swarm, now_us)) != NULL)
			asks[count++] = ask;
		now_us += 1000;
		size_t which = (size_t)turn % count;
		ask = asks[which];
		asks[which] = asks[--count];
		swarm_ended(swarm, ask, ask->pieces.count, SWARM_DONE, now_us);
	}
	double call_us = (cpu_s() - begin_s) * 1e6 / (double)calls;
	printf("swarm_next() and its part of swarm_ended(), %d pieces, %d sources: %.1f us\n",
	       PIECES, SWARM_SOURCES_MAX, call_us);
	ck_assert_double_le(call_us, 500); /* under a sanitizer, on a busy machine */
	swarm_free(swarm);
}
END_TEST

static void
add_pieces(Suite *suite)
{
	TCase *pieces = tcase_create("pieces");
	suite_add_tcase(suite, pieces);
	tcase_add_loop_test(pieces, test_the_rarest_piece_is_asked_first, 0, 10);
	tcase_add_loop_test(pieces, test_what_is_coming_to_somebody_is_not_the_rarest, 0, 10);
	tcase_add_test(pieces, test_of_equals_each_seed_takes_another_and_always_the_same);
	tcase_add_test(pieces, test_pieces_ascend_when_nobody_else_fetches);
	tcase_add_test(pieces, test_a_window_bounds_what_is_asked_for_and_orders_it);
	tcase_add_test(pieces, test_what_is_here_is_not_asked_for);
	tcase_add_test(pieces, test_the_last_piece_is_as_long_as_it_is);
	tcase_add_test(pieces, test_an_empty_content_is_complete);
	tcase_add_test(pieces, test_the_verified_part_of_a_run_stays);
	tcase_add_test(pieces, test_a_piece_that_is_held_back_is_not_asked_for);
	tcase_add_test(pieces, test_a_trimmed_ask_leaves_the_rest_to_others);
	tcase_add_test(
	    pieces, test_a_question_about_a_piece_goes_to_one_who_has_it_and_is_not_to_be_avoided);
}

static void
add_asks(Suite *suite)
{
	TCase *asks = tcase_create("asks"), *all = tcase_create("all");
	suite_add_tcase(suite, asks);
	suite_add_tcase(suite, all);
	tcase_add_test(asks, test_an_ask_grows_with_the_rate);
	tcase_add_test(asks, test_one_that_is_nearer_than_was_told_gets_larger_asks_too);
	tcase_add_test(asks, test_a_source_is_asked_for_as_much_as_is_pressed_for);
	tcase_add_test(asks, test_a_source_that_nothing_is_known_of_gets_one_ask);
	tcase_add_test(asks, test_the_farther_a_source_the_more_is_asked_of_it);
	tcase_add_test(asks, test_all_sources_are_used_at_once);
	tcase_add_test(asks, test_a_stalled_ask_is_given_up_once_if_somebody_else_has_it);
	tcase_add_test(asks, test_a_source_that_sends_nothing_is_left_soon);
	tcase_add_test(asks, test_a_far_source_and_one_that_is_held_up_by_us_have_more_time);
	tcase_add_test(asks, test_sources_that_are_slow_to_begin_are_answered_in_the_end);
	tcase_add_test(asks, test_an_ask_that_waits_behind_another_of_its_source_is_not_left_soon);
	tcase_add_test(asks, test_the_slow_one_does_not_hold_up_the_end);
	tcase_add_test(asks, test_the_slow_one_is_kept_when_nobody_else_has_it);
	tcase_add_test_raise_signal(asks, test_ending_an_ask_twice_is_a_bug, SIGABRT);
	tcase_set_timeout(all, 120);
	tcase_add_loop_test(all, test_random_endings_lead_to_completion, 0, 20);
	tcase_add_test(all, test_a_choice_of_a_quarter_of_a_million_is_quick);
}

static void
add_sources(Suite *suite)
{
	TCase *sources = tcase_create("sources");
	suite_add_tcase(suite, sources);
	tcase_add_test(sources, test_there_is_room_for_so_many_sources);
	tcase_add_test(sources, test_a_source_backs_off_longer_with_each_failure);
	tcase_add_test(sources, test_asks_that_fail_together_are_one_failure);
	tcase_add_test(sources, test_a_liar_is_left_alone_and_not_forgiven);
	tcase_add_test(sources, test_one_that_lacks_is_asked_when_it_is_told_again_what_it_holds);
	tcase_add_test(sources, test_one_that_has_all_but_lacks_something_backs_off);
	tcase_add_test(sources, test_one_that_lacks_again_and_again_what_it_tells_of_backs_off);
	tcase_add_test(sources, test_without_sources_there_is_nothing_to_wait_for);
	tcase_add_test(sources, test_questions_go_to_the_nearest_and_equals_take_turns_by_seed);
	tcase_add_test(sources, test_a_view_has_what_is_known);
}

int
main(void)
{
	Suite *suite = suite_create("swarm");
	add_pieces(suite);
	add_asks(suite);
	add_sources(suite);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
