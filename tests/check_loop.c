/* SPDX-License-Identifier: MIT
 *
 * check_loop.c - the mind's mailbox, its way down, timers, descriptors and signals.
 *
 * Threads are real ones.  Waiting is turning the loop, or looking at a condition, with a bound.
 */
#include "loop.h"

#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"

#define BOUND_MS     20000
#define THREADS      8
#define THREAD_POSTS 2000
#define THREAD_CALLS 200

static struct loop *
new_loop(void)
{
	struct error err;
	struct loop *loop = loop_new(&err);

	ck_assert_msg(loop != NULL, "%s", err.text);
	return loop;
}

static void
turn_until(struct loop *loop, const int *count, int wanted)
{
	uint64_t end_ms = clock_ms() + BOUND_MS;

	while (*count < wanted) {
		ck_assert_uint_lt(clock_ms(), end_ms);
		loop_turn(loop, 100);
	}
}

static void
add_one(void *arg)
{
	++*(int *)arg;
}

static int
answer_seven(void *arg)
{
	++*(int *)arg;
	return 7;
}

/* Messages. */

struct poster {
	struct loop *loop;
	pthread_t thread;
	int next;     /* the mind's: the post that must come now */
	int *total;   /* the mind's */
	int answered; /* the thread's */
	int refused;
};

struct letter {
	struct poster *poster;
	int number;
};

static void
take_letter(void *arg)
{
	struct letter *letter = arg;

	ck_assert(loop_is_mine(letter->poster->loop));
	ck_assert_int_eq(letter->number, letter->poster->next);
	letter->poster->next++;
	++*letter->poster->total;
	free(letter);
}

static void *
post_many(void *arg)
{
	struct poster *poster = arg;

	for (int i = 0; i < THREAD_POSTS; i++) {
		struct letter *letter = malloc(sizeof(*letter));
		*letter = (struct letter){ poster, i };
		loop_post(poster->loop, take_letter, letter);
	}
	return NULL;
}

START_TEST(test_posts_of_many_threads_keep_the_order_of_each)
{
	struct poster posters[THREADS];
	struct loop *loop = new_loop();
	int total = 0;

	for (int i = 0; i < THREADS; i++) {
		posters[i] = (struct poster){ .loop = loop, .total = &total };
		pthread_create(&posters[i].thread, NULL, post_many, &posters[i]);
	}
	turn_until(loop, &total, THREADS * THREAD_POSTS);
	for (int i = 0; i < THREADS; i++)
		pthread_join(posters[i].thread, NULL);
	ck_assert_int_eq(total, THREADS * THREAD_POSTS);
	loop_free(loop);
}
END_TEST

struct question {
	struct loop *loop;
	int number;
};

static int
square(void *arg)
{
	struct question *question = arg;

	ck_assert(loop_is_mine(question->loop));
	return question->number * question->number;
}

static void *
call_many(void *arg)
{
	struct poster *poster = arg;

	for (int i = 0; i < THREAD_CALLS; i++) {
		struct question question = { poster->loop, i };
		if (loop_call(poster->loop, square, &question) == i * i)
			poster->answered++;
	}
	loop_post(poster->loop, add_one, poster->total);
	return NULL;
}

START_TEST(test_calls_from_many_threads_get_their_own_answers)
{
	struct poster posters[THREADS];
	struct loop *loop = new_loop();
	int total = 0;

	for (int i = 0; i < THREADS; i++) {
		posters[i] = (struct poster){ .loop = loop, .total = &total };
		pthread_create(&posters[i].thread, NULL, call_many, &posters[i]);
	}
	turn_until(loop, &total, THREADS);
	for (int i = 0; i < THREADS; i++) {
		pthread_join(posters[i].thread, NULL);
		ck_assert_int_eq(posters[i].answered, THREAD_CALLS);
	}
	loop_free(loop);
}
END_TEST

START_TEST(test_a_call_of_the_mind_itself_runs_at_once)
{
	struct loop *loop = new_loop();
	int count = 0;

	ck_assert_int_eq(loop_call(loop, answer_seven, &count), 7);
	loop_turn(loop, 0);
	ck_assert_int_eq(loop_call(loop, answer_seven, &count), 7);
	ck_assert_int_eq(count, 2);
	loop_free(loop);
}
END_TEST

static void *
ask_who_is_mind(void *arg)
{
	struct poster *poster = arg;

	poster->answered = loop_is_mine(poster->loop);
	return NULL;
}

START_TEST(test_the_mind_is_everybody_until_the_first_turn_and_then_one_thread)
{
	struct poster poster = { .loop = new_loop() };

	ck_assert(loop_is_mine(poster.loop));
	pthread_create(&poster.thread, NULL, ask_who_is_mind, &poster);
	pthread_join(poster.thread, NULL);
	ck_assert_int_eq(poster.answered, true);

	loop_turn(poster.loop, 0);
	ck_assert(loop_is_mine(poster.loop));
	pthread_create(&poster.thread, NULL, ask_who_is_mind, &poster);
	pthread_join(poster.thread, NULL);
	ck_assert_int_eq(poster.answered, false);
	loop_free(poster.loop);
}
END_TEST

static void
post_again(void *arg)
{
	struct poster *poster = arg;

	if (++poster->next < 5)
		loop_post(poster->loop, post_again, poster);
}

START_TEST(test_what_a_post_posts_comes_after_what_was_there)
{
	struct poster poster = { .loop = new_loop() };

	loop_post(poster.loop, post_again, &poster);
	turn_until(poster.loop, &poster.next, 5);
	loop_turn(poster.loop, 0);
	ck_assert_int_eq(poster.next, 5);
	loop_free(poster.loop);
}
END_TEST

/* A descriptor that is watched. */

struct watcher {
	struct loop_watch *watch;
	int fd;
	unsigned events; /* seen last */
	int count;
	int error; /* of the read */
};

static void
note_events(void *arg, unsigned events)
{
	struct watcher *watcher = arg;

	watcher->events = events;
	watcher->count++;
}

static void
open_pair(struct loop *loop, struct watcher *watcher, loop_watch_fn fn, int *ret_other)
{
	int fds[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	*watcher = (struct watcher){ .fd = fds[0] };
	watcher->watch = loop_watch_new(loop, fds[0], fn, watcher);
	ck_assert_ptr_nonnull(watcher->watch);
	*ret_other = fds[1];
}

/* The way down. */

struct asker {
	struct loop *loop;
	pthread_t thread;
	atomic_int tid;
	int answer;
	int runs; /* of the call */
};

static void *
ask_once(void *arg)
{
	struct asker *asker = arg;

	atomic_store(&asker->tid, gettid());
	asker->answer = loop_call(asker->loop, answer_seven, &asker->runs);
	return NULL;
}

/* Waits until the asker sleeps, which it only does in loop_call(). */
static void
wait_for_sleep(struct asker *asker)
{
	uint64_t end_ms = clock_ms() + BOUND_MS;

	for (char state = 0; state != 'S'; sched_yield()) {
		char path[64], text[256] = "";
		ck_assert_uint_lt(clock_ms(), end_ms);
		int tid = atomic_load(&asker->tid);
		if (tid == 0)
			continue;
		snprintf(path, sizeof(path), "/proc/self/task/%d/stat", tid);
		FILE *file = fopen(path, "r");
		ck_assert_ptr_nonnull(file);
		ck_assert_uint_gt(fread(text, 1, sizeof(text) - 1, file), 0);
		fclose(file);
		state = strrchr(text, ')')[2];
	}
}

static void
refuse_while_they_wait(void *arg)
{
	struct asker *askers = arg;

	for (int i = 0; i < THREADS; i++)
		wait_for_sleep(&askers[i]);
	loop_refuse_calls(askers[0].loop);
	/* As at a stop of a face: the mind waits for the threads that waited for it. */
	for (int i = 0; i < THREADS; i++)
		pthread_join(askers[i].thread, NULL);
}

START_TEST(test_refusing_wakes_those_that_wait_even_from_within_a_message)
{
	struct asker askers[THREADS];
	struct loop *loop = new_loop();
	int after = 0;

	memset(askers, 0, sizeof(askers));
	loop_turn(loop, 0);
	loop_post(loop, refuse_while_they_wait, askers);
	for (int i = 0; i < THREADS; i++) {
		askers[i].loop = loop;
		pthread_create(&askers[i].thread, NULL, ask_once, &askers[i]);
	}
	for (int i = 0; i < 3; i++)
		loop_post(loop, add_one, &after);
	turn_until(loop, &after, 3);
	for (int i = 0; i < THREADS; i++) {
		ck_assert_int_eq(askers[i].answer, P2P_SHUTTING_DOWN);
		ck_assert_int_eq(askers[i].runs, 0);
	}
	/* The list of messages is still whole. */
	loop_post(loop, add_one, &after);
	turn_until(loop, &after, 4);
	loop_free(loop);
}
END_TEST

START_TEST(test_a_call_after_refusing_is_refused)
{
	struct asker asker = { .loop = new_loop() };

	loop_turn(asker.loop, 0);
	loop_refuse_calls(asker.loop);
	pthread_create(&asker.thread, NULL, ask_once, &asker);
	pthread_join(asker.thread, NULL);
	ck_assert_int_eq(asker.answer, P2P_SHUTTING_DOWN);
	ck_assert_int_eq(asker.runs, 0);
	loop_free(asker.loop);
}
END_TEST

START_TEST(test_a_hand_that_is_early_waits_for_the_mind)
{
	struct asker asker = { .loop = new_loop() };

	pthread_create(&asker.thread, NULL, ask_once, &asker);
	wait_for_sleep(&asker);
	turn_until(asker.loop, &asker.runs, 1);
	pthread_join(asker.thread, NULL);
	ck_assert_int_eq(asker.answer, 7);
	loop_free(asker.loop);
}
END_TEST

START_TEST(test_what_was_posted_is_run_by_loop_free)
{
	struct poster poster = { .loop = new_loop() };
	int count = 0;

	loop_turn(poster.loop, 0);
	loop_post(poster.loop, add_one, &count);
	loop_post(poster.loop, post_again, &poster);
	loop_free(poster.loop);
	ck_assert_int_eq(count, 1);
	ck_assert_int_eq(poster.next, 5);
	loop_free(NULL);
}
END_TEST

static void *
run_loop(void *arg)
{
	loop_run(arg);
	return NULL;
}

START_TEST(test_any_thread_can_stop_the_loop)
{
	struct loop *loop = new_loop();
	pthread_t thread;

	for (int i = 0; i < 50; i++) { /* before, during, or just as it begins */
		pthread_create(&thread, NULL, run_loop, loop);
		loop_stop(loop);
		pthread_join(thread, NULL);
	}
	loop_free(loop);
}
END_TEST

/* Timers. */

struct ticker {
	struct loop *loop;
	struct loop_timer *timer;
	uint64_t fired_ms;
	int count;
};

static void
tick(void *arg)
{
	struct ticker *ticker = arg;

	ticker->fired_ms = clock_ms();
	ticker->count++;
	ck_assert(!loop_timer_active(ticker->timer));
}

START_TEST(test_a_timer_fires_once_and_not_early)
{
	struct ticker ticker = { .loop = new_loop() };
	uint64_t start_ms = clock_ms();

	ticker.timer = loop_timer_new(ticker.loop, tick, &ticker);
	ck_assert(!loop_timer_active(ticker.timer));
	loop_timer_start(ticker.timer, 30);
	ck_assert(loop_timer_active(ticker.timer));
	turn_until(ticker.loop, &ticker.count, 1);
	ck_assert_uint_ge(ticker.fired_ms + 1, start_ms + 30);
	loop_turn(ticker.loop, 40);
	ck_assert_int_eq(ticker.count, 1);
	loop_timer_free(ticker.timer);
	loop_free(ticker.loop);
}
END_TEST

START_TEST(test_a_timer_can_be_moved_and_stopped)
{
	struct loop *loop = new_loop();
	struct ticker moved = { .loop = loop }, stopped = { .loop = loop };
	uint64_t start_ms = clock_ms();

	moved.timer = loop_timer_new(loop, tick, &moved);
	stopped.timer = loop_timer_new(loop, tick, &stopped);
	loop_timer_start(moved.timer, 1);
	loop_timer_start(stopped.timer, 1);
	loop_timer_start(moved.timer, 50);
	loop_timer_stop(stopped.timer);
	turn_until(loop, &moved.count, 1);
	ck_assert_uint_ge(moved.fired_ms + 1, start_ms + 50);
	ck_assert_int_eq(stopped.count, 0);
	loop_timer_free(moved.timer);
	loop_timer_free(stopped.timer);
	loop_timer_free(NULL);
	loop_free(loop);
}
END_TEST

static void
tick_and_free(void *arg)
{
	struct ticker *ticker = arg;

	loop_timer_free(ticker->timer);
	ticker->count++;
}

START_TEST(test_a_timer_may_free_itself)
{
	struct ticker ticker = { .loop = new_loop() };

	ticker.timer = loop_timer_new(ticker.loop, tick_and_free, &ticker);
	loop_timer_start(ticker.timer, 0);
	turn_until(ticker.loop, &ticker.count, 1);
	loop_free(ticker.loop);
}
END_TEST

static void
stop_loop(void *arg)
{
	loop_stop(arg);
}

START_TEST(test_an_idle_loop_sleeps)
{
	struct loop *loop = new_loop();
	struct ticker idle = { .loop = loop };
	struct loop_timer *end = loop_timer_new(loop, stop_loop, loop);
	struct rusage before, after;
	struct watcher watcher;
	int count = 0, other;

	open_pair(loop, &watcher, note_events, &other);
	loop_watch_set(watcher.watch, LOOP_READ);
	idle.timer = loop_timer_new(loop, tick, &idle);
	struct loop_signal *sig = loop_signal_new(loop, SIGUSR1, add_one, &count);
	loop_timer_start(end, 300);
	getrusage(RUSAGE_THREAD, &before);
	loop_run(loop);
	getrusage(RUSAGE_THREAD, &after);
	ck_assert_int_le(after.ru_nvcsw - before.ru_nvcsw, 5);
	loop_signal_free(sig);
	loop_timer_free(idle.timer);
	loop_timer_free(end);
	loop_watch_free(watcher.watch);
	close(watcher.fd);
	close(other);
	loop_free(loop);
}
END_TEST

START_TEST(test_a_turn_waits_only_if_nothing_is_ready)
{
	struct loop *loop = new_loop();
	uint64_t start_ms = clock_ms();
	int count = 0;

	loop_post(loop, add_one, &count);
	loop_turn(loop, BOUND_MS);
	ck_assert_int_eq(count, 1);
	ck_assert_uint_lt(clock_ms(), start_ms + BOUND_MS);

	start_ms = clock_ms();
	loop_turn(loop, 30);
	ck_assert_uint_ge(clock_ms() + 1, start_ms + 30);
	loop_free(loop);
}
END_TEST

/* Descriptors. */

START_TEST(test_a_watch_sees_what_was_asked_and_nothing_else)
{
	struct loop *loop = new_loop();
	struct watcher watcher;
	int other;

	open_pair(loop, &watcher, note_events, &other);
	ck_assert_int_eq(write(other, "x", 1), 1);
	loop_turn(loop, 20);
	ck_assert_int_eq(watcher.count, 0); /* at first none */

	loop_watch_set(watcher.watch, LOOP_WRITE);
	turn_until(loop, &watcher.count, 1);
	ck_assert_uint_eq(watcher.events, LOOP_WRITE);

	loop_watch_set(watcher.watch, LOOP_READ | LOOP_WRITE);
	watcher.count = 0;
	turn_until(loop, &watcher.count, 1);
	ck_assert_uint_eq(watcher.events, LOOP_READ | LOOP_WRITE);

	loop_watch_set(watcher.watch, 0);
	watcher.count = 0;
	loop_turn(loop, 20);
	ck_assert_int_eq(watcher.count, 0);
	loop_watch_free(watcher.watch);
	loop_watch_free(NULL);
	close(watcher.fd);
	close(other);
	loop_free(loop);
}
END_TEST

START_TEST(test_a_hang_up_shows_as_what_was_asked)
{
	struct loop *loop = new_loop();
	struct watcher watcher;
	int other;

	open_pair(loop, &watcher, note_events, &other);
	loop_watch_set(watcher.watch, LOOP_READ);
	close(other);
	turn_until(loop, &watcher.count, 1);
	ck_assert_uint_eq(watcher.events, LOOP_READ);
	loop_watch_free(watcher.watch);
	close(watcher.fd);
	loop_free(loop);
}
END_TEST

static void
read_error(void *arg, unsigned events)
{
	struct watcher *watcher = arg;
	char byte;

	if (read(watcher->fd, &byte, 1) < 0 && watcher->error == 0)
		watcher->error = errno;
	note_events(arg, events);
}

START_TEST(test_an_error_shows_as_what_was_asked_and_the_watch_goes_on)
{
	struct loop *loop = new_loop();
	struct watcher watcher;
	int other;

	open_pair(loop, &watcher, read_error, &other);
	ck_assert_int_eq(write(watcher.fd, "x", 1), 1);
	close(other); /* with something unread: a reset */
	loop_watch_set(watcher.watch, LOOP_READ);
	turn_until(loop, &watcher.count, 1);
	ck_assert_uint_eq(watcher.events, LOOP_READ);
	ck_assert_int_eq(watcher.error, ECONNRESET);
	turn_until(loop, &watcher.count, 2); /* now the end of the stream */
	loop_watch_free(watcher.watch);
	close(watcher.fd);
	loop_free(loop);
}
END_TEST

static void
free_watch(void *arg, unsigned events)
{
	struct watcher *watcher = arg;

	loop_watch_free(watcher->watch);
	close(watcher->fd);
	note_events(arg, events);
}

START_TEST(test_a_watch_may_free_itself_and_its_descriptor_be_watched_anew)
{
	struct loop *loop = new_loop();
	struct watcher watcher, again;
	int other, another;

	open_pair(loop, &watcher, free_watch, &other);
	loop_watch_set(watcher.watch, LOOP_WRITE);
	turn_until(loop, &watcher.count, 1);
	open_pair(loop, &again, free_watch, &another);
	loop_watch_set(again.watch, LOOP_WRITE);
	turn_until(loop, &again.count, 1);
	close(other);
	close(another);
	loop_free(loop);
}
END_TEST

START_TEST(test_what_cannot_be_watched_is_refused)
{
	char path[] = "/tmp/check_loop.XXXXXX";
	struct loop *loop = new_loop();
	int fd = mkstemp(path), count = 0;

	ck_assert_int_ge(fd, 0);
	unlink(path);
	ck_assert_ptr_null(loop_watch_new(loop, fd, note_events, &count));
	close(fd);
	loop_free(loop);
}
END_TEST

START_TEST(test_without_descriptors_there_is_no_loop_but_an_error)
{
	struct rlimit before, none = { 0, 0 };
	struct error err = { 0 };

	getrlimit(RLIMIT_NOFILE, &before);
	none.rlim_max = before.rlim_max;
	setrlimit(RLIMIT_NOFILE, &none);
	struct loop *loop = loop_new(&err);
	setrlimit(RLIMIT_NOFILE, &before);
	ck_assert_ptr_null(loop);
	ck_assert_int_eq(err.code, P2P_IO);
}
END_TEST

/* Signals. */

START_TEST(test_a_signal_runs_on_the_mind)
{
	struct loop *loop = new_loop();
	int count = 0;
	struct loop_signal *sig = loop_signal_new(loop, SIGUSR1, add_one, &count);

	raise(SIGUSR1);
	ck_assert_int_eq(count, 0);
	turn_until(loop, &count, 1);
	raise(SIGUSR1);
	turn_until(loop, &count, 2);
	loop_signal_free(sig);
	loop_signal_free(NULL);
	loop_free(loop);
}
END_TEST

static Suite *
loop_suite(void)
{
	Suite *suite = suite_create("loop");
	TCase *messages = tcase_create("messages"), *down = tcase_create("way down");
	TCase *timers = tcase_create("timers"), *watches = tcase_create("watches");

	tcase_set_timeout(messages, 60);
	tcase_add_test(messages, test_posts_of_many_threads_keep_the_order_of_each);
	tcase_add_test(messages, test_calls_from_many_threads_get_their_own_answers);
	tcase_add_test(messages, test_a_call_of_the_mind_itself_runs_at_once);
	tcase_add_test(messages,
		       test_the_mind_is_everybody_until_the_first_turn_and_then_one_thread);
	tcase_add_test(messages, test_what_a_post_posts_comes_after_what_was_there);
	tcase_set_timeout(down, 60);
	tcase_add_test(down, test_refusing_wakes_those_that_wait_even_from_within_a_message);
	tcase_add_test(down, test_a_call_after_refusing_is_refused);
	tcase_add_test(down, test_a_hand_that_is_early_waits_for_the_mind);
	tcase_add_test(down, test_what_was_posted_is_run_by_loop_free);
	tcase_add_test(down, test_any_thread_can_stop_the_loop);
	tcase_set_timeout(timers, 60);
	tcase_add_test(timers, test_a_timer_fires_once_and_not_early);
	tcase_add_test(timers, test_a_timer_can_be_moved_and_stopped);
	tcase_add_test(timers, test_a_timer_may_free_itself);
	tcase_add_test(timers, test_an_idle_loop_sleeps);
	tcase_add_test(timers, test_a_turn_waits_only_if_nothing_is_ready);
	tcase_set_timeout(watches, 60);
	tcase_add_test(watches, test_a_watch_sees_what_was_asked_and_nothing_else);
	tcase_add_test(watches, test_a_hang_up_shows_as_what_was_asked);
	tcase_add_test(watches, test_an_error_shows_as_what_was_asked_and_the_watch_goes_on);
	tcase_add_test(watches, test_a_watch_may_free_itself_and_its_descriptor_be_watched_anew);
	tcase_add_test(watches, test_what_cannot_be_watched_is_refused);
	tcase_add_test(watches, test_without_descriptors_there_is_no_loop_but_an_error);
	tcase_add_test(watches, test_a_signal_runs_on_the_mind);
	suite_add_tcase(suite, messages);
	suite_add_tcase(suite, down);
	suite_add_tcase(suite, timers);
	suite_add_tcase(suite, watches);
	return suite;
}

int
main(void)
{
	SRunner *runner = srunner_create(loop_suite());

	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
