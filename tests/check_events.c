/* SPDX-License-Identifier: MIT
 *
 * check_events.c - events reach who listens: in order, after a break too, whatever listeners do
 * meanwhile.
 */
#include "events.h"
#include "event_filter.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "codes.h"
#include "mem.h"

#define HEARD_MAX (EVENTS_KEPT + 100)

/* Somebody who listens. */
struct ear {
	struct events *events;
	struct events_listener *listener;
	size_t count;
	uint64_t ids[HEARD_MAX];
	enum event_kind kinds[HEARD_MAX];
	bool frees_itself;
	struct ear *frees;   /* frees this one's listener */
	struct ear *invites; /* lets this one listen */
	uint64_t invites_after;
	struct event *kept; /* a reference to the last */
	bool keeps;
};

static void
hear(void *arg, struct event *event)
{
	struct ear *ear = arg;
	ck_assert_uint_lt(ear->count, HEARD_MAX);
	ear->ids[ear->count] = event->id;
	ear->kinds[ear->count++] = event->kind;
	if (ear->keeps) {
		event_unref(ear->kept);
		ear->kept = event_ref(event);
	}
	if (ear->frees_itself) {
		events_listener_free(ear->listener);
		ear->listener = NULL;
	}
	if (ear->frees != NULL) {
		events_listener_free(ear->frees->listener);
		ear->frees->listener = NULL;
		ear->frees = NULL;
	}
	if (ear->invites != NULL) {
		struct ear *guest = ear->invites;
		ear->invites = NULL;
		guest->listener = events_listen(ear->events, ear->invites_after, hear, guest);
	}
}

static struct ear *
ear_new(struct events *events)
{
	struct ear *ear = mem_zero(1, sizeof(*ear));
	ear->events = events;
	return ear;
}

static struct ear *
ear_open(struct events *events, uint64_t after_id)
{
	struct ear *ear = ear_new(events);
	ear->listener = events_listen(events, after_id, hear, ear);
	return ear;
}

static void
ear_free(struct ear *ear)
{
	events_listener_free(ear->listener);
	event_unref(ear->kept);
	free(ear);
}

static void
publish(struct events *events, enum event_kind kind)
{
	events_publish(events, event_new(kind));
}

START_TEST(test_every_kind_has_a_name_a_code_of_6xx_and_a_help)
{
	for (int kind = 0; kind < EVENT_KINDS; kind++) {
		ck_assert_ptr_nonnull(event_name(kind));
		ck_assert_uint_gt(strlen(event_help(kind)), 0);
		ck_assert_int_ge(event_code(kind), 600);
		ck_assert_int_le(event_code(kind), 699);
		for (int other = 0; other < kind; other++) {
			ck_assert_str_ne(event_name(kind), event_name(other));
			ck_assert_int_ne(event_code(kind), event_code(other));
		}
	}
	ck_assert(event_is_kept(EVENT_FILE_ADDED));
	ck_assert(!event_is_kept(EVENT_FETCH_PROGRESS));
}
END_TEST

START_TEST(test_kept_events_are_numbered_and_passing_ones_are_not)
{
	struct events *events = events_new();
	struct ear *ear = ear_open(events, 0);
	publish(events, EVENT_FILE_ADDED);
	publish(events, EVENT_FETCH_PROGRESS);
	publish(events, EVENT_PEER_HERE);
	ck_assert_uint_eq(ear->count, 3);
	ck_assert_uint_eq(ear->ids[0], 1);
	ck_assert_uint_eq(ear->ids[1], 0);
	ck_assert_uint_eq(ear->ids[2], 2);
	ck_assert_uint_eq(events_last_id(events), 2);
	ear_free(ear);
	events_free(events);
}
END_TEST

START_TEST(test_who_comes_with_an_id_of_another_run_is_told_that_events_were_lost)
{
	struct events *events = events_new();
	publish(events, EVENT_FILE_ADDED);
	struct ear *ear = ear_open(events, EVENTS_OTHER_RUN);
	ck_assert_uint_eq(ear->count, 2);
	ck_assert_int_eq(ear->kinds[0], EVENT_EVENTS_LOST);
	ck_assert_int_eq(ear->kinds[1], EVENT_FILE_ADDED);
	ck_assert_uint_eq(ear->ids[0], events_gone_id(events));
	ear_free(ear);
	events_free(events);
}
END_TEST

START_TEST(test_a_listener_goes_on_after_the_last_one_seen)
{
	struct events *events = events_new();
	for (int i = 0; i < 10; i++)
		publish(events, EVENT_FILE_ADDED);
	publish(events, EVENT_FETCH_PROGRESS);
	struct ear *ear = ear_open(events, 7), *late = ear_open(events, 10);
	ck_assert_uint_eq(ear->count, 3);
	ck_assert_uint_eq(ear->ids[0], 8);
	ck_assert_uint_eq(ear->ids[2], 10);
	ck_assert_uint_eq(late->count, 0);
	publish(events, EVENT_PEER_AWAY);
	ck_assert_uint_eq(ear->ids[3], 11);
	ck_assert_uint_eq(late->ids[0], 11);
	ear_free(ear);
	ear_free(late);
	events_free(events);
}
END_TEST

START_TEST(test_what_fell_out_of_the_ring_is_said_to_be_lost)
{
	struct events *events = events_new();
	for (int i = 0; i < EVENTS_KEPT; i++)
		publish(events, EVENT_FILE_ADDED);
	struct ear *all = ear_open(events, 0);
	ck_assert_uint_eq(all->count, EVENTS_KEPT);
	ck_assert_uint_eq(all->ids[0], 1);
	publish(events, EVENT_FILE_ADDED);
	struct ear *ear = ear_open(events, 0), *just = ear_open(events, 1);
	ck_assert_uint_eq(ear->count, EVENTS_KEPT + 1);
	ck_assert_int_eq(ear->kinds[0], EVENT_EVENTS_LOST);
	/* Its id is where to go on: nothing more is lost then. */
	ck_assert_uint_eq(ear->ids[0], 1);
	ck_assert_uint_eq(ear->ids[1], 2);
	ck_assert_uint_eq(ear->ids[EVENTS_KEPT], EVENTS_KEPT + 1);
	ck_assert_uint_eq(just->count, EVENTS_KEPT);
	ck_assert_uint_eq(just->ids[0], 2);
	ear_free(all);
	ear_free(ear);
	ear_free(just);
	events_free(events);
}
END_TEST

START_TEST(test_a_listener_may_free_itself_while_being_told)
{
	struct events *events = events_new();
	struct ear *before = ear_open(events, 0), *ear = ear_open(events, 0),
		   *after = ear_open(events, 0);
	ear->frees_itself = true;
	publish(events, EVENT_FILE_ADDED);
	publish(events, EVENT_FILE_ADDED);
	ck_assert_uint_eq(before->count, 2);
	ck_assert_uint_eq(ear->count, 1);
	ck_assert_uint_eq(after->count, 2);
	ear_free(before);
	ear_free(ear);
	ear_free(after);
	events_free(events);
}
END_TEST

START_TEST(test_a_listener_freed_by_another_is_not_told_any_more)
{
	struct events *events = events_new();
	struct ear *first = ear_open(events, 0), *second = ear_open(events, 0);
	first->frees = second;
	publish(events, EVENT_FILE_ADDED);
	ck_assert_uint_eq(second->count, 0);
	struct ear *third = ear_open(events, 1);
	publish(events, EVENT_FILE_ADDED);
	ck_assert_uint_eq(third->count, 1);
	ear_free(first);
	ear_free(second);
	ear_free(third);
	events_free(events);
}
END_TEST

START_TEST(test_a_listener_added_while_another_is_told_hears_each_event_once)
{
	for (uint64_t after = 0; after < 2; after++) {
		struct events *events = events_new();
		struct ear *host = ear_open(events, 0), *guest = ear_new(events);
		host->invites = guest;
		host->invites_after = after;
		publish(events, EVENT_FILE_ADDED);
		/* The event at hand comes only if it was asked for, and then once. */
		ck_assert_uint_eq(guest->count, 1 - after);
		publish(events, EVENT_FILE_ADDED);
		ck_assert_uint_eq(guest->count, 2 - after);
		ear_free(host);
		ear_free(guest);
		events_free(events);
	}
}
END_TEST

START_TEST(test_a_reference_outlives_the_ring)
{
	struct events *events = events_new();
	struct ear *ear = ear_open(events, 0);
	ear->keeps = true;
	struct event *event = event_new(EVENT_FILE_REMOVED);
	event->name = mem_string("a/b");
	event->text = mem_string("why");
	event->peer_name = mem_string("host-a");
	events_publish(events, event);
	events_listener_free(ear->listener);
	ear->listener = NULL;
	events_free(events);
	ck_assert_str_eq(ear->kept->name, "a/b");
	ck_assert_int_gt(ear->kept->wall_ms, 0);
	ear_free(ear);
	event_unref(NULL);
	events_listener_free(NULL);
	events_free(NULL);
}
END_TEST

/* Does an event of this kind and name pass? */
static bool
passes(const char *kinds, const char *match, enum event_kind kind, const char *name)
{
	struct event_filter filter;
	struct event *event = event_new(kind);
	event->name = name != NULL ? mem_string(name) : NULL;
	ck_assert_int_eq(event_filter_init(&filter, kinds, match, NULL), P2P_OK);
	bool does_pass = event_filter_passes(&filter, event);
	event_filter_fini(&filter);
	event_unref(event);
	return does_pass;
}

START_TEST(test_a_filter_lets_its_kinds_and_names_pass_and_losses_always)
{
	struct event_filter filter;
	ck_assert(passes(NULL, NULL, EVENT_PEER_HERE, NULL));
	ck_assert(passes("", "", EVENT_PEER_HERE, NULL));
	ck_assert(passes("peer", NULL, EVENT_PEER_HERE, NULL));
	ck_assert(passes("file-added,peer-away", NULL, EVENT_PEER_AWAY, NULL));
	ck_assert(!passes("file-added,peer-away", NULL, EVENT_PEER_HERE, NULL));
	ck_assert(!passes("file", NULL, EVENT_FILES_CHANGED, NULL));
	ck_assert(passes("file", "*.iso", EVENT_FILE_ADDED, "a/b.iso"));
	ck_assert(!passes("file", "*.iso", EVENT_FILE_ADDED, "a/b.txt"));
	ck_assert(!passes("peer", "*.iso", EVENT_FILE_ADDED, "a/b.iso"));
	ck_assert(passes(NULL, "a", EVENT_FILE_ADDED, "a/b"));
	ck_assert(!passes(NULL, "*", EVENT_PEER_HERE, NULL));
	ck_assert(passes("file", "none", EVENT_EVENTS_LOST, NULL));
	ck_assert_int_eq(event_filter_init(&filter, "file,fil", NULL, NULL), P2P_BAD_REQUEST);
	ck_assert_int_eq(event_filter_init(&filter, ",", NULL, NULL), P2P_BAD_REQUEST);
}
END_TEST

START_TEST(test_a_reason_is_told_in_words_also_without_a_sentence_of_its_own)
{
	struct event *event = event_new(EVENT_FETCH_WAITING);
	ck_assert_ptr_null(event_text(event));
	event->code = P2P_NO_SPACE;
	ck_assert_str_eq(event_text(event), code_title(P2P_NO_SPACE));
	event->text = mem_string("");
	ck_assert_str_eq(event_text(event), code_title(P2P_NO_SPACE));
	free(event->text);
	event->text = mem_string("a sentence");
	ck_assert_str_eq(event_text(event), "a sentence");
	event_unref(event);
}
END_TEST

static Suite *
suite(void)
{
	Suite *suite = suite_create("events");
	TCase *tcase = tcase_create("all");
	tcase_add_test(tcase,
		       test_who_comes_with_an_id_of_another_run_is_told_that_events_were_lost);
	tcase_add_test(tcase, test_every_kind_has_a_name_a_code_of_6xx_and_a_help);
	tcase_add_test(tcase, test_kept_events_are_numbered_and_passing_ones_are_not);
	tcase_add_test(tcase, test_a_listener_goes_on_after_the_last_one_seen);
	tcase_add_test(tcase, test_what_fell_out_of_the_ring_is_said_to_be_lost);
	tcase_add_test(tcase, test_a_listener_may_free_itself_while_being_told);
	tcase_add_test(tcase, test_a_listener_freed_by_another_is_not_told_any_more);
	tcase_add_test(tcase, test_a_listener_added_while_another_is_told_hears_each_event_once);
	tcase_add_test(tcase, test_a_reference_outlives_the_ring);
	tcase_add_test(tcase, test_a_filter_lets_its_kinds_and_names_pass_and_losses_always);
	tcase_add_test(tcase, test_a_reason_is_told_in_words_also_without_a_sentence_of_its_own);
	suite_add_tcase(suite, tcase);
	return suite;
}

int
main(void)
{
	SRunner *runner = srunner_create(suite());
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
