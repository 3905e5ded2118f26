/* SPDX-License-Identifier: MIT
 *
 * check_throttle.c - who waits for his turn: woken in order, not before it, when limits change, and never after he left.
 */
#include "throttle.h"

#include <check.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"

#define BOUND_MS 20000
#define MANY     1000

struct yard {
	struct loop *loop;
	struct throttle *throttle;
	size_t woken;
	uint64_t order_us[MANY]; /* the due moments of those who were woken */
	uint64_t worst_early_us;
};

struct waiter {
	struct yard *yard;
	struct throttle_wait wait;
	struct rate_turn turn;
};

static void
yard_init(struct yard *yard)
{
	memset(yard, 0, sizeof(*yard));
	yard->loop = loop_new(NULL);
	ck_assert_ptr_nonnull(yard->loop);
	yard->throttle = throttle_new(yard->loop);
}

static void
yard_fini(struct yard *yard)
{
	throttle_free(yard->throttle);
	loop_free(yard->loop);
}

static void
woken(void *arg)
{
	struct waiter *waiter = arg;
	struct yard *yard = waiter->yard;
	uint64_t now_us = clock_us();

	if (now_us < waiter->turn.due_us && waiter->turn.due_us - now_us > yard->worst_early_us)
		yard->worst_early_us = waiter->turn.due_us - now_us;
	yard->order_us[yard->woken++ % MANY] = waiter->turn.due_us;
}

/* One that has a turn in so many microseconds. */
static void
wait_for(struct yard *yard, struct waiter *waiter, uint64_t in_us)
{
	struct rate *rate = throttle_up(yard->throttle);

	waiter->yard = yard;
	waiter->wait.wake = woken;
	waiter->wait.arg = waiter;
	waiter->turn.due_us = clock_us() + in_us;
	waiter->turn.change = rate_change(rate);
	throttle_wait(yard->throttle, &waiter->wait, rate, &waiter->turn);
}

static void
turn_until(struct yard *yard, size_t count)
{
	for (uint64_t end_ms = clock_ms() + BOUND_MS; yard->woken < count && clock_ms() < end_ms;)
		loop_turn(yard->loop, 10);
	ck_assert_uint_eq(yard->woken, count);
}

START_TEST(test_many_are_woken_in_the_order_of_their_turns)
{
	static struct waiter waiters[MANY];
	struct yard yard;

	yard_init(&yard);
	for (size_t i = 0; i < MANY; i++)
		wait_for(&yard, &waiters[i], 1000 + i * 7919 % MANY * 100);
	turn_until(&yard, MANY);
	ck_assert_uint_eq(yard.worst_early_us, 0);
	for (size_t i = 1; i < MANY; i++)
		ck_assert_uint_le(yard.order_us[i - 1], yard.order_us[i]);
	yard_fini(&yard);
}
END_TEST

START_TEST(test_one_that_left_is_not_woken)
{
	static struct waiter waiters[10];
	struct yard yard;

	yard_init(&yard);
	for (size_t i = 0; i < 10; i++)
		wait_for(&yard, &waiters[i], 1000 * (i + 1));
	for (size_t i = 0; i < 10; i += 2)
		throttle_forget(yard.throttle, &waiters[i].wait);
	throttle_forget(yard.throttle, &waiters[0].wait);
	throttle_forget(NULL, &waiters[0].wait);
	turn_until(&yard, 5);
	loop_turn(yard.loop, 20);
	ck_assert_uint_eq(yard.woken, 5);
	yard_fini(&yard);
}
END_TEST

START_TEST(test_waiting_again_moves_the_turn)
{
	struct waiter waiter = { 0 };
	struct yard yard;

	yard_init(&yard);
	wait_for(&yard, &waiter, 3600 * 1000000ull);
	wait_for(&yard, &waiter, 1000);
	turn_until(&yard, 1);
	ck_assert_uint_eq(waiter.wait.at, 0);
	yard_fini(&yard);
}
END_TEST

START_TEST(test_a_changed_limit_wakes_everybody_at_once)
{
	static struct waiter waiters[50];
	struct yard yard;

	yard_init(&yard);
	for (size_t i = 0; i < 50; i++)
		wait_for(&yard, &waiters[i], 3600 * 1000000ull);
	throttle_set(yard.throttle, THROTTLE_UPLOAD, 1000);
	ck_assert_uint_eq(yard.woken, 50);
	ck_assert_uint_eq(throttle_get(yard.throttle, THROTTLE_UPLOAD), 1000);
	ck_assert_uint_eq(throttle_get(yard.throttle, THROTTLE_DOWNLOAD), 0);
	ck_assert(rate_is_limited(throttle_up(yard.throttle)));
	ck_assert(!rate_is_limited(throttle_down(yard.throttle)));
	/* one that comes with a turn from before does not wait either */
	waiters[0].turn.due_us = clock_us() + 3600 * 1000000ull;
	waiters[0].turn.change--;
	throttle_wait(yard.throttle, &waiters[0].wait, throttle_up(yard.throttle),
		      &waiters[0].turn);
	turn_until(&yard, 51);
	yard_fini(&yard);
}
END_TEST

static void *
wait_elsewhere(void *arg)
{
	struct waiter *waiter = arg;

	wait_for(waiter->yard, waiter, 2000);
	return NULL;
}

START_TEST(test_other_threads_may_wait)
{
	static struct waiter waiters[8];
	struct yard yard;
	pthread_t threads[8];

	yard_init(&yard);
	loop_turn(yard.loop, 0);
	for (size_t i = 0; i < 8; i++) {
		waiters[i].yard = &yard;
		ck_assert_int_eq(pthread_create(&threads[i], NULL, wait_elsewhere, &waiters[i]), 0);
	}
	turn_until(&yard, 8);
	for (size_t i = 0; i < 8; i++)
		ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
	yard_fini(&yard);
}
END_TEST

START_TEST(test_limits_have_names)
{
	enum throttle_limit limit;

	for (int i = 0; i < THROTTLE_LIMITS; i++) {
		ck_assert(throttle_find(throttle_name((enum throttle_limit)i), &limit));
		ck_assert_int_eq(limit, i);
	}
	ck_assert(!throttle_find("sideways", &limit));
	ck_assert_ptr_null(throttle_up(NULL));
	ck_assert_ptr_null(throttle_down(NULL));
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("throttle");
	TCase *tcase = tcase_create("throttle");

	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, test_many_are_woken_in_the_order_of_their_turns);
	tcase_add_test(tcase, test_one_that_left_is_not_woken);
	tcase_add_test(tcase, test_waiting_again_moves_the_turn);
	tcase_add_test(tcase, test_a_changed_limit_wakes_everybody_at_once);
	tcase_add_test(tcase, test_other_threads_may_wait);
	tcase_add_test(tcase, test_limits_have_names);
	suite_add_tcase(suite, tcase);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
