/* SPDX-License-Identifier: MIT
 *
 * check_wire_choice.c - by which wire a peer is asked next, over simulated lines and a simulated clock.
 */
#include "wire_choice.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "peers.h"

#define RUN_BYTES (4u << 20)
#define BOTH	  (WIRE_BIT(WIRE_REST) | WIRE_BIT(WIRE_GRPC))
#define REST	  WIRE_BIT(WIRE_REST)
#define GRPC	  WIRE_BIT(WIRE_GRPC)
#define DEPTH_MAX 16
#define SECOND_US 1000000ull

static const char peer_a[PEER_ID_SIZE] = "a", peer_b[PEER_ID_SIZE] = "b";

/* --- a peer at the end of a line that its runs share evenly --- */

struct sim_run {
	struct wire_run run;
	double left; /* bytes */
};

struct sim {
	struct wire_choice *choice;
	uint64_t now_us;
	double speed[WIRE_COUNT]; /* bytes per microsecond that a wire could bring alone */
	unsigned depth;		  /* runs under way */
	double run_bytes;	  /* 0: RUN_BYTES */
	struct sim_run runs[DEPTH_MAX];
	unsigned under_way;
	unsigned begun[WIRE_COUNT];
};

static double
sim_run_bytes(const struct sim *sim)
{
	return sim->run_bytes != 0 ? sim->run_bytes : RUN_BYTES;
}

static void
sim_begin(struct sim *sim)
{
	struct sim_run *run = &sim->runs[sim->under_way++];
	wire_choice_begin(sim->choice, peer_a, BOTH, WIRE_BULK, sim->now_us, &run->run);
	run->left = sim_run_bytes(sim);
	sim->begun[run->run.wire]++;
}

/* Bytes per microsecond that a run has now. */
static double
sim_speed(const struct sim *sim, const struct sim_run *run)
{
	return sim->speed[run->run.wire] / sim->under_way;
}

/* Up to the end of the run that ends first. */
static void
sim_step(struct sim *sim)
{
	while (sim->under_way < sim->depth)
		sim_begin(sim);
	unsigned first = 0;
	double soonest_us = 1e18;
	for (unsigned i = 0; i < sim->under_way; i++) {
		double us = sim->runs[i].left / sim_speed(sim, &sim->runs[i]);
		if (us < soonest_us) {
			soonest_us = us;
			first = i;
		}
	}
	for (unsigned i = 0; i < sim->under_way; i++)
		sim->runs[i].left -= soonest_us * sim_speed(sim, &sim->runs[i]);
	sim->now_us += (uint64_t)soonest_us;
	struct wire_run ended = sim->runs[first].run;
	sim->runs[first] = sim->runs[--sim->under_way];
	wire_choice_end(sim->choice, peer_a, &ended, WIRE_WORKED,
	    (uint64_t)sim_run_bytes(sim), sim->now_us);
}

static void
sim_steps(struct sim *sim, unsigned count)
{
	memset(sim->begun, 0, sizeof(sim->begun));
	for (unsigned i = 0; i < count; i++)
		sim_step(sim);
}

static struct sim
sim_new(double rest, double grpc, unsigned depth)
{
	return (struct sim){ .choice = wire_choice_new(), .now_us = 1, .speed = { rest, grpc },
			     .depth = depth };
}

static enum wire
begin(struct wire_choice *choice, unsigned wires, enum wire_use use, uint64_t now_us,
      struct wire_run *ret)
{
	wire_choice_begin(choice, peer_a, wires, use, now_us, ret);
	return ret->wire;
}

/* One request from begin to end. */
static enum wire
once(struct wire_choice *choice, unsigned wires, enum wire_use use, enum wire_outcome outcome,
     uint64_t now_us)
{
	struct wire_run run;
	begin(choice, wires, use, now_us, &run);
	wire_choice_end(choice, peer_a, &run, outcome, RUN_BYTES, now_us + 1000);
	return run.wire;
}

/* --- measuring and choosing --- */

START_TEST(test_each_wire_is_tried_once_and_meanwhile_rest_is_used)
{
	struct wire_choice *choice = wire_choice_new();
	struct wire_run runs[4];
	ck_assert_int_eq(begin(choice, BOTH, WIRE_BULK, 1, &runs[0]), WIRE_REST);
	ck_assert_int_eq(begin(choice, BOTH, WIRE_BULK, 1, &runs[1]), WIRE_GRPC);
	ck_assert_int_eq(begin(choice, BOTH, WIRE_BULK, 1, &runs[2]), WIRE_REST);
	ck_assert_int_eq(begin(choice, BOTH, WIRE_BULK, 1, &runs[3]), WIRE_REST);
	/* One that takes longer than the other is not given more. */
	wire_choice_end(choice, peer_a, &runs[1], WIRE_WORKED, RUN_BYTES, 10000);
	for (int i = 0; i < 10; i++)
		ck_assert_int_eq(begin(choice, BOTH, WIRE_BULK, 10000, &runs[1]), WIRE_GRPC);
	ck_assert_int_eq(begin(choice, BOTH, WIRE_SMALL, 10000, &runs[1]), WIRE_REST);
	wire_choice_free(choice);
}
END_TEST

/* With any number of runs under way the faster wire is found, and the other asked about once in 32. */
START_TEST(test_the_faster_wire_is_settled_on)
{
	for (unsigned depth = 1; depth <= DEPTH_MAX; depth++) {
		struct sim sim = sim_new(100, 200, depth);
		sim_steps(&sim, 2 * depth + 4);
		sim_steps(&sim, 320);
		ck_assert_msg(sim.begun[WIRE_REST] >= 9 && sim.begun[WIRE_REST] <= 11,
			      "depth %u: %u by rest", depth, sim.begun[WIRE_REST]);
		wire_choice_free(sim.choice);
	}
}
END_TEST

START_TEST(test_small_runs_are_gathered_until_they_say_something)
{
	struct sim sim = sim_new(100, 300, 4);
	sim.run_bytes = 64 << 10;
	sim_steps(&sim, 200);
	sim_steps(&sim, 3 * WIRE_AGAIN_RUNS);
	ck_assert_uint_ge(sim.begun[WIRE_GRPC], 2 * WIRE_AGAIN_RUNS);
	wire_choice_free(sim.choice);
}
END_TEST

START_TEST(test_rest_is_kept_if_it_is_faster)
{
	for (unsigned depth = 1; depth <= DEPTH_MAX; depth++) {
		struct sim sim = sim_new(200, 100, depth);
		sim_steps(&sim, 320);
		ck_assert_msg(sim.begun[WIRE_GRPC] >= 10 && sim.begun[WIRE_GRPC] <= 12,
			      "depth %u: %u by grpc", depth, sim.begun[WIRE_GRPC]);
		wire_choice_free(sim.choice);
	}
}
END_TEST

START_TEST(test_a_wire_that_is_hardly_faster_than_rest_is_not_worth_it)
{
	struct sim sim = sim_new(100, 108, 4);
	sim_steps(&sim, 320);
	ck_assert_uint_le(sim.begun[WIRE_GRPC], 12);
	/* Now it is. */
	sim.speed[WIRE_GRPC] = 130;
	sim_steps(&sim, 200);
	sim_steps(&sim, 320);
	ck_assert_uint_le(sim.begun[WIRE_REST], 12);
	/* Once taken it stays until it is faster no more. */
	sim.speed[WIRE_GRPC] = 104;
	sim_steps(&sim, 320);
	ck_assert_uint_le(sim.begun[WIRE_REST], 12);
	sim.speed[WIRE_GRPC] = 90;
	sim_steps(&sim, 64);
	sim_steps(&sim, 320);
	ck_assert_uint_le(sim.begun[WIRE_GRPC], 12);
	wire_choice_free(sim.choice);
}
END_TEST

/* Eight runs by REST under way together are no slower a wire than one by gRPC alone. */
START_TEST(test_runs_that_overlap_are_measured_fairly)
{
	struct wire_choice *choice = wire_choice_new();
	struct wire_run runs[8], run;
	uint64_t now_us = SECOND_US;
	for (int round = 0; round < 4; round++) {
		for (int i = 0; i < 8; i++)
			begin(choice, REST, WIRE_BULK, now_us, &runs[i]);
		now_us += 8 * 40000; /* 4 MiB in 40 ms each, were it alone */
		for (int i = 0; i < 8; i++)
			wire_choice_end(choice, peer_a, &runs[i], WIRE_WORKED, RUN_BYTES, now_us);
		begin(choice, GRPC, WIRE_BULK, now_us, &run);
		now_us += 39000;
		wire_choice_end(choice, peer_a, &run, WIRE_WORKED, RUN_BYTES, now_us);
		now_us += 100 * SECOND_US; /* idle time says nothing */
	}
	for (int i = 0; i < 20; i++)
		ck_assert_int_eq(once(choice, BOTH, WIRE_SMALL, WIRE_WORKED, now_us), WIRE_REST);
	wire_choice_free(choice);
}
END_TEST

START_TEST(test_the_first_run_of_a_wire_is_not_held_against_it_for_long)
{
	struct sim sim = sim_new(100, 100, 1);
	sim.speed[WIRE_GRPC] = 10; /* it connects, and finds its pace */
	sim_steps(&sim, 2);
	sim.speed[WIRE_GRPC] = 200;
	sim_steps(&sim, 40);
	sim_steps(&sim, 32);
	ck_assert_uint_ge(sim.begun[WIRE_GRPC], 30);
	wire_choice_free(sim.choice);
}
END_TEST

START_TEST(test_small_contents_go_by_what_is_known_and_try_nothing)
{
	struct wire_choice *choice = wire_choice_new();
	for (unsigned i = 0; i < 100; i++)
		ck_assert_int_eq(once(choice, BOTH, WIRE_SMALL, WIRE_WORKED, i * 1000), WIRE_REST);
	/* Large ones have to find out still. */
	struct wire_run runs[2];
	ck_assert_int_eq(begin(choice, BOTH, WIRE_BULK, SECOND_US, &runs[0]), WIRE_REST);
	ck_assert_int_eq(begin(choice, BOTH, WIRE_BULK, SECOND_US, &runs[1]), WIRE_GRPC);
	wire_choice_end(choice, peer_a, &runs[1], WIRE_WORKED, RUN_BYTES, SECOND_US + 10000);
	wire_choice_end(choice, peer_a, &runs[0], WIRE_WORKED, RUN_BYTES, SECOND_US + 30000);
	for (unsigned i = 0; i < 100; i++)
		ck_assert_int_eq(
		    once(choice, BOTH, WIRE_SMALL, WIRE_WORKED, 2 * SECOND_US + i * 1000),
		    WIRE_GRPC);
	wire_choice_free(choice);
}
END_TEST

START_TEST(test_a_short_run_says_nothing_of_a_rate)
{
	struct wire_choice *choice = wire_choice_new();
	struct wire_run runs[2];
	begin(choice, BOTH, WIRE_BULK, 1, &runs[0]);
	begin(choice, BOTH, WIRE_BULK, 1, &runs[1]);
	wire_choice_end(choice, peer_a, &runs[0], WIRE_WORKED, RUN_BYTES, 100000);
	wire_choice_end(choice, peer_a, &runs[1], WIRE_WORKED, 1000, 100001);
	/* It is tried once more. */
	ck_assert_int_eq(begin(choice, BOTH, WIRE_BULK, 200000, &runs[0]), WIRE_GRPC);
	wire_choice_free(choice);
}
END_TEST

START_TEST(test_a_peer_with_one_wire_is_asked_by_that)
{
	struct wire_choice *choice = wire_choice_new();
	for (unsigned i = 0; i < 100; i++) {
		ck_assert_int_eq(once(choice, GRPC, WIRE_BULK, WIRE_FAILED, i), WIRE_GRPC);
		ck_assert_int_eq(once(choice, REST, WIRE_BULK, WIRE_FAILED, i), WIRE_REST);
	}
	ck_assert(!wire_choice_is_open(choice, peer_a, BOTH, 1000));
	/* Of one of which nothing is known nothing is promised. */
	ck_assert(!wire_choice_is_open(choice, peer_b, GRPC, 1000));
	wire_choice_free(choice);
}
END_TEST

/* --- failing --- */

START_TEST(test_a_wire_that_failed_is_left_alone_for_ever_longer)
{
	struct wire_choice *choice = wire_choice_new();
	uint64_t now_us = SECOND_US, wait_ms = WIRE_BACKOFF_MIN_MS;
	once(choice, BOTH, WIRE_BULK, WIRE_WORKED, now_us); /* REST is known */
	for (int i = 0; i < 10; i++) {
		ck_assert_int_eq(once(choice, BOTH, WIRE_BULK, WIRE_FAILED, now_us), WIRE_GRPC);
		now_us += 1000;
		ck_assert(!wire_choice_is_open(choice, peer_a, GRPC, now_us));
		ck_assert(wire_choice_is_open(choice, peer_a, BOTH, now_us));
		for (int j = 0; j < 100; j++)
			ck_assert_int_eq(once(choice, BOTH, WIRE_BULK, WIRE_WORKED,
					      now_us + wait_ms * 1000 - 2000),
					 WIRE_REST);
		now_us += wait_ms * 1000;
		wait_ms = 2 * wait_ms < WIRE_BACKOFF_MAX_MS ? 2 * wait_ms : WIRE_BACKOFF_MAX_MS;
	}
	/* Once it works everything is forgiven. */
	ck_assert_int_eq(once(choice, BOTH, WIRE_BULK, WIRE_WORKED, now_us), WIRE_GRPC);
	ck_assert_int_eq(once(choice, GRPC, WIRE_BULK, WIRE_FAILED, now_us), WIRE_GRPC);
	now_us += 2000 + WIRE_BACKOFF_MIN_MS * 1000;
	ck_assert(wire_choice_is_open(choice, peer_a, GRPC, now_us));
	wire_choice_free(choice);
}
END_TEST

START_TEST(test_runs_that_fail_together_are_one_failure)
{
	struct wire_choice *choice = wire_choice_new();
	struct wire_run runs[8];
	for (int i = 0; i < 8; i++)
		begin(choice, GRPC, WIRE_BULK, 1, &runs[i]);
	/* The last ones only notice long after. */
	for (uint64_t i = 0; i < 8; i++)
		wire_choice_end(choice, peer_a, &runs[i], WIRE_FAILED, 0, 10 + i * 2 * SECOND_US);
	ck_assert(wire_choice_is_open(choice, peer_a, GRPC, 11 + WIRE_BACKOFF_MIN_MS * 1000));
	wire_choice_free(choice);
}
END_TEST

START_TEST(test_after_a_failure_one_request_at_a_time_finds_out)
{
	struct wire_choice *choice = wire_choice_new();
	struct wire_run trial, run;
	uint64_t now_us = SECOND_US;
	once(choice, REST, WIRE_BULK, WIRE_WORKED, now_us);
	once(choice, GRPC, WIRE_BULK, WIRE_FAILED, now_us);
	now_us += 2000 + WIRE_BACKOFF_MIN_MS * 1000;
	ck_assert_int_eq(begin(choice, BOTH, WIRE_BULK, now_us, &trial), WIRE_GRPC);
	for (int i = 0; i < 10; i++)
		ck_assert_int_eq(begin(choice, BOTH, WIRE_BULK, now_us, &run), WIRE_REST);
	wire_choice_free(choice);
}
END_TEST

START_TEST(test_with_every_wire_failing_the_one_whose_time_is_up_first_is_used)
{
	struct wire_choice *choice = wire_choice_new();
	once(choice, GRPC, WIRE_BULK, WIRE_FAILED, SECOND_US);
	once(choice, REST, WIRE_BULK, WIRE_FAILED, 2 * SECOND_US);
	ck_assert(!wire_choice_is_open(choice, peer_a, BOTH, 3 * SECOND_US));
	struct wire_run run;
	ck_assert_int_eq(begin(choice, BOTH, WIRE_BULK, 3 * SECOND_US, &run), WIRE_GRPC);
	wire_choice_free(choice);
}
END_TEST

START_TEST(test_an_end_that_is_not_judged_changes_nothing)
{
	struct wire_choice *choice = wire_choice_new();
	for (unsigned i = 0; i < 100; i++)
		ck_assert_int_eq(once(choice, BOTH, WIRE_BULK, WIRE_UNJUDGED, i * 10000),
				 WIRE_REST);
	ck_assert(wire_choice_is_open(choice, peer_a, REST, SECOND_US));
	wire_choice_free(choice);
}
END_TEST

/* --- bounds --- */

START_TEST(test_a_forgotten_peer_is_a_new_one_whatever_still_ends)
{
	struct wire_choice *choice = wire_choice_new();
	struct wire_run old, now;
	once(choice, GRPC, WIRE_BULK, WIRE_FAILED, 1);
	begin(choice, REST, WIRE_BULK, 2, &old);
	wire_choice_forget(choice, peer_a);
	wire_choice_forget(choice, peer_a);
	wire_choice_end(choice, peer_a, &old, WIRE_FAILED, 0, 3);
	begin(choice, REST, WIRE_BULK, 5, &now);
	ck_assert(wire_choice_is_open(choice, peer_a, GRPC, 6));
	ck_assert(wire_choice_is_open(choice, peer_a, REST, 6));
	wire_choice_end(choice, peer_a, &old, WIRE_WORKED, RUN_BYTES, 6);
	wire_choice_end(choice, peer_a, &now, WIRE_WORKED, RUN_BYTES, 7);
	wire_choice_free(choice);
}
END_TEST

START_TEST(test_more_peers_than_there_may_be_cost_nothing)
{
	struct wire_choice *choice = wire_choice_new();
	struct wire_run run;
	for (int i = 0; i < PEERS_MAX + 100; i++) {
		char peer[PEER_ID_SIZE] = "";
		snprintf(peer, sizeof(peer), "%d", i);
		wire_choice_begin(choice, peer, BOTH, WIRE_BULK, 1, &run);
		ck_assert_int_eq(run.wire, WIRE_REST);
		wire_choice_end(choice, peer, &run, WIRE_WORKED, RUN_BYTES, 100);
		wire_choice_begin(choice, peer, BOTH, WIRE_BULK, 200, &run);
		ck_assert_int_eq(run.wire, i < PEERS_MAX ? WIRE_GRPC : WIRE_REST);
	}
	wire_choice_begin(choice, "late", GRPC, WIRE_BULK, 1, &run);
	ck_assert_int_eq(run.wire, WIRE_GRPC);
	wire_choice_free(choice);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("wire_choice");
	TCase *tcase = tcase_create("wire_choice");
	tcase_add_test(tcase, test_each_wire_is_tried_once_and_meanwhile_rest_is_used);
	tcase_add_test(tcase, test_the_faster_wire_is_settled_on);
	tcase_add_test(tcase, test_small_runs_are_gathered_until_they_say_something);
	tcase_add_test(tcase, test_rest_is_kept_if_it_is_faster);
	tcase_add_test(tcase, test_a_wire_that_is_hardly_faster_than_rest_is_not_worth_it);
	tcase_add_test(tcase, test_runs_that_overlap_are_measured_fairly);
	tcase_add_test(tcase, test_the_first_run_of_a_wire_is_not_held_against_it_for_long);
	tcase_add_test(tcase, test_small_contents_go_by_what_is_known_and_try_nothing);
	tcase_add_test(tcase, test_a_short_run_says_nothing_of_a_rate);
	tcase_add_test(tcase, test_a_peer_with_one_wire_is_asked_by_that);
	tcase_add_test(tcase, test_a_wire_that_failed_is_left_alone_for_ever_longer);
	tcase_add_test(tcase, test_runs_that_fail_together_are_one_failure);
	tcase_add_test(tcase, test_after_a_failure_one_request_at_a_time_finds_out);
	tcase_add_test(tcase, test_with_every_wire_failing_the_one_whose_time_is_up_first_is_used);
	tcase_add_test(tcase, test_an_end_that_is_not_judged_changes_nothing);
	tcase_add_test(tcase, test_a_forgotten_peer_is_a_new_one_whatever_still_ends);
	tcase_add_test(tcase, test_more_peers_than_there_may_be_cost_nothing);
	suite_add_tcase(suite, tcase);

	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
