/* SPDX-License-Identifier: MIT
 *
 * check_rate.c - bytes per second: the burst, the long run, fairness, peers, limits that change.
 *
 * Time is told, so ten seconds take no time; a stream is played by asking until its turn comes.
 */
#include "rate.h"

#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define S         1000000ull /* of the clock */
#define MS        1000ull
#define MIB       (1ull << 20)
#define BEGIN     (77 * S)
#define ASK_BLOCK RATE_STEP_MAX

struct stream {
	const char *peer;
	struct rate_turn turn;
	uint64_t passed;
};

/* Passes what may pass now; false: nothing may. */
static bool
go(struct rate *rate, struct stream *stream, uint64_t now_us)
{
	size_t len = rate_ask(rate, stream->peer, &stream->turn, 1, ASK_BLOCK, now_us);

	ck_assert_uint_le(len, ASK_BLOCK);
	rate_pass(&stream->turn, len);
	stream->passed += len;
	return len > 0;
}

/* All streams take what they can, so often. */
static void
run_each(struct rate *rate, struct stream *streams, size_t count, uint64_t from_us, uint64_t to_us,
	 uint64_t each_us)
{
	for (uint64_t now_us = from_us; now_us < to_us; now_us += each_us)
		for (size_t i = 0; i < count; i++)
			while (go(rate, &streams[i], now_us))
				continue;
}

static void
run(struct rate *rate, struct stream *streams, size_t count, uint64_t from_us, uint64_t to_us)
{
	run_each(rate, streams, count, from_us, to_us, 10 * MS);
}

static uint64_t
sum(const struct stream *streams, size_t count)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < count; i++)
		bytes += streams[i].passed;
	return bytes;
}

static void
assert_about(uint64_t bytes, double wanted)
{
	ck_assert_double_gt((double)bytes, 0.97 * wanted);
	ck_assert_double_lt((double)bytes, 1.03 * wanted);
}

START_TEST(test_without_a_limit_everything_passes)
{
	struct rate *rate = rate_new();
	struct rate_turn turn = { 0 };

	ck_assert(!rate_is_limited(rate));
	ck_assert(!rate_is_limited(NULL));
	ck_assert_uint_eq(rate_ask(rate, "a", &turn, 1, SIZE_MAX, BEGIN), SIZE_MAX);
	ck_assert_uint_eq(rate_ask(NULL, "a", &turn, 1, 5, BEGIN), 5);
	ck_assert_uint_eq(rate_step(NULL), SIZE_MAX);
	rate_leave(NULL, &turn);
	rate_free(rate);
	rate_free(NULL);
}
END_TEST

START_TEST(test_ten_seconds_have_ten_times_a_second_s_bytes)
{
	static const uint64_t limits[] = { 10000, 50000, MIB, 100 * MIB, 10000 * MIB };

	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
		struct rate *rate = rate_new();
		struct stream stream = { .peer = "a" };

		rate_set(rate, limits[i], 0, BEGIN);
		run(rate, &stream, 1, BEGIN, BEGIN + 10 * S);
		assert_about(stream.passed, 10.0 * (double)limits[i] + RATE_STEP_MIN);
		rate_free(rate);
	}
}
END_TEST

START_TEST(test_what_was_not_used_makes_a_burst_of_a_tenth_of_a_second)
{
	struct rate *rate = rate_new();
	struct stream stream = { .peer = "a" };

	rate_set(rate, 10 * MIB, 0, BEGIN);
	run(rate, &stream, 1, BEGIN + 3600 * S, BEGIN + 3600 * S + MS);
	/* and one step more, which is paid for afterwards */
	ck_assert_uint_ge(stream.passed, MIB);
	ck_assert_uint_le(stream.passed, MIB + MIB / 3);
	rate_free(rate);
}
END_TEST

START_TEST(test_streams_share_evenly_however_many_there_are)
{
	static struct stream streams[100];
	struct rate *rate = rate_new();

	rate_set(rate, 4 * MIB, 0, BEGIN);
	run(rate, streams, 100, BEGIN, BEGIN + 60 * S);
	assert_about(sum(streams, 100), 240.0 * MIB);
	for (size_t i = 0; i < 100; i++) {
		ck_assert_double_gt((double)streams[i].passed, 0.7 * 240 * MIB / 100);
		ck_assert_double_lt((double)streams[i].passed, 1.3 * 240 * MIB / 100);
	}
	rate_free(rate);
}
END_TEST

START_TEST(test_who_comes_late_waits_no_longer_than_one_round)
{
	static struct stream streams[100];
	struct rate *rate = rate_new();
	struct stream late = { 0 };

	rate_set(rate, MIB, 0, BEGIN);
	run(rate, streams, 100, BEGIN, BEGIN + 10 * S);
	ck_assert(!go(rate, &late, BEGIN + 10 * S));
	/* 100 steps of 25 ms */
	ck_assert_uint_le(late.turn.due_us, BEGIN + 12600 * MS);
	run(rate, &late, 1, late.turn.due_us, late.turn.due_us + 1);
	ck_assert_uint_gt(late.passed, 0);
	rate_free(rate);
}
END_TEST

START_TEST(test_peers_share_evenly_however_many_streams_each_has)
{
	static const uint64_t limits[] = { MIB, 4 * MIB, 100 * MIB };
	static const struct {
		const char *peer;
		size_t streams;
	} peers[] = { { "crowd", 60 }, { "one", 1 }, { "some", 5 } };

	for (size_t i = 0; i < 3; i++) {
		struct rate *rate = rate_new();
		struct stream streams[66] = { 0 };
		size_t count = 0;

		for (size_t p = 0; p < 3; p++)
			for (size_t n = 0; n < peers[p].streams; n++)
				streams[count++].peer = peers[p].peer;
		rate_set(rate, limits[i], 0, BEGIN);
		run_each(rate, streams, count, BEGIN, BEGIN + 9 * S, MS);
		double share = 3.0 * (double)limits[i];
		assert_about(sum(streams, count), 3 * share);
		for (size_t p = 0, at = 0; p < 3; at += peers[p++].streams) {
			ck_assert_double_gt((double)sum(&streams[at], peers[p].streams),
					    0.8 * share);
			ck_assert_double_lt((double)sum(&streams[at], peers[p].streams),
					    1.2 * share);
		}
		/* and the streams of one peer share its part */
		for (size_t n = 0; n < 60; n++)
			ck_assert_double_gt((double)streams[n].passed, 0.7 * share / 60);
		rate_free(rate);
	}
}
END_TEST

START_TEST(test_a_newcomer_waits_for_each_peer_s_turn_not_for_each_stream_s)
{
	struct stream streams[60] = { 0 };
	struct rate *rate = rate_new();
	struct stream late = { .peer = "one" };

	for (size_t i = 0; i < 60; i++)
		streams[i].peer = "crowd";
	rate_set(rate, MIB, 0, BEGIN);
	run(rate, streams, 60, BEGIN, BEGIN + 10 * S);
	go(rate, &late, BEGIN + 10 * S);
	/* a step of 25 ms, and as much again for what is no smaller than the least part */
	ck_assert_uint_le(late.turn.due_us, BEGIN + 10 * S + 50 * MS);
	rate_free(rate);
}
END_TEST

START_TEST(test_streams_that_ended_do_not_count_any_more)
{
	struct rate *rate = rate_new();
	struct stream streams[60] = { 0 };

	rate_set(rate, MIB, 0, BEGIN);
	for (size_t i = 0; i < 60; i++)
		streams[i].peer = "a";
	run(rate, streams, 60, BEGIN, BEGIN + S);
	for (size_t i = 1; i < 60; i++)
		rate_leave(rate, &streams[i].turn);
	rate_leave(rate, &streams[0].turn);
	ck_assert_uint_eq(rate_ask(rate, "a", &streams[0].turn, 1, MIB, BEGIN + 3 * S), MIB / 40);
	rate_leave(rate, &streams[0].turn);
	rate_leave(rate, &streams[0].turn);
	rate_free(rate);
}
END_TEST

START_TEST(test_a_stream_that_outlives_a_limit_is_counted_once_under_the_next)
{
	struct rate *rate = rate_new();
	struct stream stream = { .peer = "a" }, other = { .peer = "a" };

	rate_set(rate, MIB, 0, BEGIN);
	ck_assert(go(rate, &stream, BEGIN));
	rate_set(rate, 0, 0, BEGIN);
	ck_assert(go(rate, &stream, BEGIN));
	rate_set(rate, MIB, 0, BEGIN);
	ck_assert(go(rate, &stream, BEGIN + S));
	ck_assert(go(rate, &stream, BEGIN + 2 * S));
	rate_leave(rate, &stream.turn);
	ck_assert_uint_eq(rate_ask(rate, "a", &other.turn, 1, MIB, BEGIN + 3 * S), MIB / 40);
	rate_free(rate);
}
END_TEST

START_TEST(test_each_peer_has_its_own_limit)
{
	struct rate *rate = rate_new();
	struct stream streams[] = {
		{ .peer = "a" }, { .peer = "a" }, { .peer = "b" }, { .peer = NULL }
	};

	rate_set(rate, 0, MIB, BEGIN);
	run(rate, streams, 3, BEGIN, BEGIN + 20 * S);
	assert_about(streams[0].passed + streams[1].passed, 20.0 * MIB);
	assert_about(streams[2].passed, 20.0 * MIB);
	/* who is nobody has none */
	ck_assert_uint_eq(rate_ask(rate, NULL, &streams[3].turn, 1, ASK_BLOCK, BEGIN), ASK_BLOCK);
	rate_free(rate);
}
END_TEST

START_TEST(test_the_tighter_of_both_limits_counts)
{
	struct rate *rate = rate_new();
	struct stream streams[] = { { .peer = "a" }, { .peer = "b" }, { .peer = "c" } };

	rate_set(rate, 2 * MIB, 10 * MIB, BEGIN);
	run(rate, streams, 3, BEGIN, BEGIN + 20 * S);
	assert_about(sum(streams, 3), 40.0 * MIB);
	rate_set(rate, 100 * MIB, MIB, BEGIN + 20 * S);
	run(rate, streams, 3, BEGIN + 20 * S, BEGIN + 40 * S);
	assert_about(sum(streams, 3), 40.0 * MIB + 60.0 * MIB);
	rate_free(rate);
}
END_TEST

START_TEST(test_more_peers_than_buckets_are_never_faster_than_their_sum)
{
	enum { PEERS = 2 * RATE_PEERS_MAX };
	struct stream *streams = calloc(PEERS, sizeof(*streams));
	char(*names)[16] = calloc(PEERS, sizeof(*names));
	struct rate *rate = rate_new();

	rate_set(rate, 0, 100000, BEGIN);
	for (size_t i = 0; i < PEERS; i++) {
		snprintf(names[i], sizeof(names[i]), "10.0.%zu.%zu", i / 256, i % 256);
		streams[i].peer = names[i];
	}
	for (uint64_t now_us = BEGIN; now_us < BEGIN + 4 * S; now_us += 20 * MS)
		run(rate, streams, PEERS, now_us, now_us + 1);
	ck_assert_double_lt((double)sum(streams, PEERS), 1.1 * 4 * 100000.0 * RATE_PEERS_MAX);
	ck_assert_double_gt((double)sum(streams, PEERS), 0.8 * 4 * 100000.0 * RATE_PEERS_MAX);
	for (size_t i = 0; i < PEERS; i++)
		ck_assert_uint_gt(streams[i].passed, 0);
	rate_free(rate);
	free(streams);
	free(names);
}
END_TEST

START_TEST(test_as_many_as_are_wanted_at_least_pass_at_once)
{
	struct rate *rate = rate_new();
	struct rate_turn turn = { 0 };

	rate_set(rate, 1000, 0, BEGIN);
	ck_assert_uint_eq(rate_ask(rate, NULL, &turn, 5000, 6000, BEGIN), 5000);
	rate_pass(&turn, 5000);
	ck_assert_uint_eq(rate_ask(rate, NULL, &turn, 16, 16, BEGIN), 0);
	ck_assert_uint_eq(turn.due_us, BEGIN + 5 * S);
	ck_assert_uint_eq(rate_ask(rate, NULL, &turn, 16, 16, turn.due_us - 1), 0);
	ck_assert_uint_eq(rate_ask(rate, NULL, &turn, 16, 16, turn.due_us), 16);
	rate_free(rate);
}
END_TEST

START_TEST(test_who_leaves_gives_back_what_he_did_not_use)
{
	struct rate *rate = rate_new();
	struct rate_turn leaving = { 0 }, next = { 0 };

	rate_set(rate, 1000, 1000, BEGIN);
	ck_assert_uint_eq(rate_ask(rate, "a", &leaving, 4000, 4000, BEGIN), 4000);
	rate_pass(&leaving, 1000);
	rate_leave(rate, &leaving);
	ck_assert_uint_eq(leaving.bytes, 0);
	ck_assert_uint_eq(rate_ask(rate, "a", &next, 10, 10, BEGIN), 0);
	ck_assert_uint_eq(next.due_us, BEGIN + S);
	rate_free(rate);
}
END_TEST

START_TEST(test_a_new_limit_holds_for_those_who_wait)
{
	struct rate *rate = rate_new();
	struct stream stream = { .peer = "a" };

	rate_set(rate, 1000, 0, BEGIN);
	ck_assert(go(rate, &stream, BEGIN));
	ck_assert(!go(rate, &stream, BEGIN));
	unsigned change = rate_change(rate);
	rate_set(rate, MIB, 0, BEGIN + MS);
	ck_assert_uint_ne(rate_change(rate), change);
	uint64_t before = stream.passed;
	run(rate, &stream, 1, BEGIN + MS, BEGIN + MS + 10 * S);
	assert_about(stream.passed - before, 10.0 * MIB);

	rate_set(rate, 0, 0, BEGIN + 11 * S);
	ck_assert_uint_eq(rate_ask(rate, "a", &stream.turn, 1, ASK_BLOCK, BEGIN + 11 * S),
			  ASK_BLOCK);
	rate_leave(rate, &stream.turn);
	rate_free(rate);
}
END_TEST

static void *
hurry(void *arg)
{
	struct rate *rate = arg;
	struct stream stream = { .peer = "a" };

	run(rate, &stream, 1, BEGIN, BEGIN + 2 * S);
	rate_leave(rate, &stream.turn);
	return (void *)(uintptr_t)stream.passed;
}

/* Each has a clock of its own, the fastest counts. */
START_TEST(test_threads_may_ask_at_once)
{
	struct rate *rate = rate_new();
	pthread_t threads[4];
	uint64_t bytes = 0;

	rate_set(rate, 50 * MIB, 0, BEGIN);
	for (size_t i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, hurry, rate), 0);
	for (size_t i = 0; i < 4; i++) {
		void *passed;

		ck_assert_int_eq(pthread_join(threads[i], &passed), 0);
		bytes += (uintptr_t)passed;
	}
	ck_assert_double_lt((double)bytes, 1.03 * 100 * MIB);
	rate_free(rate);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("rate");
	TCase *tcase = tcase_create("rate");

	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, test_without_a_limit_everything_passes);
	tcase_add_test(tcase, test_ten_seconds_have_ten_times_a_second_s_bytes);
	tcase_add_test(tcase, test_what_was_not_used_makes_a_burst_of_a_tenth_of_a_second);
	tcase_add_test(tcase, test_streams_share_evenly_however_many_there_are);
	tcase_add_test(tcase, test_who_comes_late_waits_no_longer_than_one_round);
	tcase_add_test(tcase, test_peers_share_evenly_however_many_streams_each_has);
	tcase_add_test(tcase, test_a_newcomer_waits_for_each_peer_s_turn_not_for_each_stream_s);
	tcase_add_test(tcase, test_streams_that_ended_do_not_count_any_more);
	tcase_add_test(tcase, test_a_stream_that_outlives_a_limit_is_counted_once_under_the_next);
	tcase_add_test(tcase, test_each_peer_has_its_own_limit);
	tcase_add_test(tcase, test_the_tighter_of_both_limits_counts);
	tcase_add_test(tcase, test_more_peers_than_buckets_are_never_faster_than_their_sum);
	tcase_add_test(tcase, test_as_many_as_are_wanted_at_least_pass_at_once);
	tcase_add_test(tcase, test_who_leaves_gives_back_what_he_did_not_use);
	tcase_add_test(tcase, test_a_new_limit_holds_for_those_who_wait);
	tcase_add_test(tcase, test_threads_may_ask_at_once);
	suite_add_tcase(suite, tcase);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
