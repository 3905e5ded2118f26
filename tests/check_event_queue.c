/* SPDX-License-Identifier: MIT
 *
 * check_event_queue.c - events reach their reader in order, and a reader too slow is told of the gap.
 */
#include "event_queue.h"

#include <check.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

/* Adds an event with this number. */
static bool
add(struct event_queue *queue, enum event_kind kind, uint64_t id)
{
	struct event *event = event_new(kind);
	bool is_news;

	event->id = id;
	is_news = event_queue_add(queue, event);
	event_unref(event);
	return is_news;
}

/* Takes one: its number, 0 for events-lost, UINT64_MAX if there is none. */
static uint64_t
take(struct event_queue *queue)
{
	struct event *event = event_queue_take(queue);
	uint64_t id = UINT64_MAX;

	if (event != NULL)
		id = event->kind == EVENT_EVENTS_LOST ? 0 : event->id;
	event_unref(event);
	return id;
}

START_TEST(test_events_come_in_order_and_an_empty_queue_has_none)
{
	struct event_queue queue;
	uint64_t next = 1, wanted = 1;

	event_queue_init(&queue, false);
	ck_assert_uint_eq(take(&queue), UINT64_MAX);
	/* Uneven, so that the ring grows while it is wrapped around. */
	for (unsigned round = 1; round < 40; round++) {
		for (unsigned i = 0; i < 3 * round; i++)
			ck_assert(add(&queue, EVENT_FILE_ADDED, next++));
		for (unsigned i = 0; i < 2 * round; i++)
			ck_assert_uint_eq(take(&queue), wanted++);
	}
	while (wanted < next)
		ck_assert_uint_eq(take(&queue), wanted++);
	ck_assert_uint_eq(take(&queue), UINT64_MAX);
	event_queue_fini(&queue);
}
END_TEST

START_TEST(test_what_does_not_fit_is_told_in_the_place_of_the_gap)
{
	struct event_queue queue;
	uint64_t id = 1;

	event_queue_init(&queue, false);
	for (; id <= EVENT_QUEUE_MAX + 10; id++)
		ck_assert(add(&queue, EVENT_FILE_ADDED, id));
	/* Room for one does not end the gap: it has to be told first. */
	ck_assert_uint_eq(take(&queue), 1);
	add(&queue, EVENT_FILE_ADDED, id++);
	for (uint64_t wanted = 2; wanted <= EVENT_QUEUE_MAX; wanted++)
		ck_assert_uint_eq(take(&queue), wanted);
	struct event *lost = event_queue_take(&queue);
	ck_assert_int_eq(lost->kind, EVENT_EVENTS_LOST);
	ck_assert_int_gt(lost->wall_ms, 0);
	/* Eleven, the last of which is where a reader goes on. */
	ck_assert_uint_eq(lost->lost, 11);
	ck_assert_uint_eq(lost->id, EVENT_QUEUE_MAX + 11);
	ck_assert_ptr_nonnull(strstr(lost->text, "11 events"));
	event_unref(lost);
	ck_assert_uint_eq(take(&queue), UINT64_MAX);
	add(&queue, EVENT_FILE_ADDED, id);
	ck_assert_uint_eq(take(&queue), id);
	event_queue_fini(&queue);
}
END_TEST

START_TEST(test_progress_is_for_those_who_want_it)
{
	struct event_queue queue;

	event_queue_init(&queue, false);
	ck_assert(!add(&queue, EVENT_FETCH_PROGRESS, 7));
	ck_assert_uint_eq(take(&queue), UINT64_MAX);
	event_queue_fini(&queue);
	event_queue_init(&queue, true);
	ck_assert(add(&queue, EVENT_FETCH_PROGRESS, 7));
	ck_assert_uint_eq(take(&queue), 7);
	/* What waits goes with the queue. */
	ck_assert(add(&queue, EVENT_FILE_ADDED, 8));
	event_queue_fini(&queue);
}
END_TEST

START_TEST(test_progress_that_does_not_fit_is_no_loss)
{
	struct event_queue queue;

	event_queue_init(&queue, true);
	for (uint64_t id = 1; id <= EVENT_QUEUE_MAX; id++)
		add(&queue, EVENT_FILE_ADDED, id);
	add(&queue, EVENT_FETCH_PROGRESS, 0);
	for (uint64_t wanted = 1; wanted <= EVENT_QUEUE_MAX; wanted++)
		ck_assert_uint_eq(take(&queue), wanted);
	ck_assert_uint_eq(take(&queue), UINT64_MAX);
	event_queue_fini(&queue);
}
END_TEST

#define ROUNDS 100000u

struct writer {
	struct event_queue queue;
	atomic_bool is_done;
};

static void *
run_writer(void *arg)
{
	struct writer *writer = arg;

	for (uint64_t id = 1; id <= ROUNDS; id++)
		add(&writer->queue, EVENT_FILE_ADDED, id);
	writer->is_done = true;
	return NULL;
}

START_TEST(test_a_reader_on_another_thread_misses_nothing_but_what_it_is_told_of)
{
	struct writer writer = { .is_done = false };
	pthread_t thread;
	uint64_t last = 0;
	bool has_gap = false;

	event_queue_init(&writer.queue, false);
	ck_assert_int_eq(pthread_create(&thread, NULL, run_writer, &writer), 0);
	for (;;) {
		bool is_done = writer.is_done;
		uint64_t id = take(&writer.queue);

		if (id == UINT64_MAX && is_done)
			break;
		if (id == UINT64_MAX) {
			sched_yield();
			continue;
		}
		ck_assert(id == 0 || id == last + 1 || (has_gap && id > last));
		has_gap = id == 0;
		last = id != 0 ? id : last;
	}
	/* All, or the last that is known is that something is not. */
	ck_assert(last == ROUNDS || has_gap);
	pthread_join(thread, NULL);
	event_queue_fini(&writer.queue);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("event_queue");
	TCase *tcase = tcase_create("queue");

	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, test_events_come_in_order_and_an_empty_queue_has_none);
	tcase_add_test(tcase, test_what_does_not_fit_is_told_in_the_place_of_the_gap);
	tcase_add_test(tcase, test_progress_is_for_those_who_want_it);
	tcase_add_test(tcase, test_progress_that_does_not_fit_is_no_loss);
	tcase_add_test(tcase,
		       test_a_reader_on_another_thread_misses_nothing_but_what_it_is_told_of);
	suite_add_tcase(suite, tcase);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed > 0;
}
