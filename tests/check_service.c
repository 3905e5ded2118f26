/* SPDX-License-Identifier: MIT
 *
 * check_service.c - uploads as service sees them, above all those that break off and go on.
 */
#include "service_internal.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "daemon_kit.h"
#include "mem.h"

#define SIZE   (1u << 20 | 12345u)
#define ROUNDS 25
#define RIVALS 8

static struct daemon_kit kit;
static struct service *service;
static struct error err;

static void
start(const char *lines)
{
	daemon_kit_start(&kit, lines);
	service = daemon_kit_service(&kit);
}

static void
setup(void)
{
	start("");
}

static void
teardown(void)
{
	daemon_kit_stop(&kit);
}

/* Those that wait, wait for so long only. */
static void
park_for(uint64_t park_ms)
{
	pthread_mutex_lock(&service->lot.mutex);
	service->lot.park_ms = park_ms;
	pthread_mutex_unlock(&service->lot.mutex);
}

static struct service_put
put_of(const char *name, const char *id, uint64_t offset)
{
	return (struct service_put){
		.origin = SERVICE_NETWORK,
		.name = name,
		.expect_bytes = UINT64_MAX,
		.upload_id = id,
		.offset = offset,
	};
}

static struct service_upload *
begin(const struct service_put *put)
{
	struct service_upload *upload = NULL;

	ck_assert_msg(service_put_begin(service, put, &upload, &err) == P2P_OK, "%s", err.text);
	return upload;
}

static int
try(const struct service_put *put)
{
	struct service_upload *upload = (struct service_upload *)&err;
	int code = service_put_begin(service, put, &upload, &err);

	if (code == P2P_OK)
		service_put_free(upload);
	else
		ck_assert_ptr_eq(upload, &err);
	return code;
}

/* Sends `len` bytes of `name` and breaks off. */
static void
leave(const char *name, const char *id, const unsigned char *data, size_t len)
{
	struct service_put put = put_of(name, id, 0);
	struct service_upload *upload = begin(&put);

	ck_assert_int_eq(service_put_feed(upload, data, len, &err), P2P_OK);
	service_put_park(upload);
}

static uint64_t
offset_of(const char *name, const char *id)
{
	uint64_t offset = UINT64_MAX;
	int code = service_upload_offset(service, name, id, &offset);

	ck_assert(code == P2P_OK || (code == P2P_NOT_FOUND && offset == UINT64_MAX));
	return offset;
}

static void
finish(struct service_upload *upload, const unsigned char *data, size_t len)
{
	struct service_stored stored;
	struct content_id content;

	ck_assert_msg(service_put_end(upload, &stored, &err) == P2P_OK, "%s", err.text);
	service_put_free(upload);
	daemon_kit_content(data, len, &content);
	ck_assert(content_equal(&stored.content, &content));
}

START_TEST(test_an_upload_that_broke_off_goes_on_where_it_was)
{
	unsigned char *data = daemon_kit_bytes(SIZE, 1);

	leave("a.bin", "one", data, 300001);
	ck_assert_uint_eq(offset_of("a.bin", "one"), 300001);
	struct service_put put = put_of("a.bin", "one", 300001);
	put.mode = 0640;
	put.mtime_ns = 1000000007;
	struct service_upload *upload = begin(&put);
	ck_assert_uint_eq(daemon_kit_temporaries(&kit), 1);
	ck_assert_int_eq(service_put_feed(upload, data + 300001, SIZE - 300001, &err), P2P_OK);
	finish(upload, data, SIZE);
	ck_assert_uint_eq(offset_of("a.bin", "one"), UINT64_MAX);
	ck_assert_uint_eq(daemon_kit_temporaries(&kit), 0);

	struct store_reader *reader;
	struct catalog_local file;
	ck_assert_int_eq(service_open(service, "a.bin", &reader, &file, &err), P2P_OK);
	ck_assert_uint_eq(file.mode, 0640);
	ck_assert_int_eq(file.mtime_ns, 1000000007);
	store_reader_unref(reader);
	free(data);
}
END_TEST

START_TEST(test_an_upload_broken_at_random_points_becomes_the_same_file)
{
	unsigned char *data = daemon_kit_bytes(SIZE, 2);

	srand((unsigned)_i);
	for (int round = 0; round < ROUNDS; round++) {
		uint64_t at = 0;
		char name[32];

		snprintf(name, sizeof(name), "r%d", round);
		while (at < SIZE) {
			struct service_put put = put_of(name, "r", at);
			struct service_upload *upload = begin(&put);
			size_t len = 1 + (size_t)rand() % (SIZE / 3);

			if (len > SIZE - at)
				len = SIZE - at;
			ck_assert_int_eq(service_put_feed(upload, data + at, len, &err), P2P_OK);
			at += len;
			if (at == SIZE)
				finish(upload, data, SIZE);
			else
				service_put_park(upload);
		}
	}
	ck_assert_uint_eq(daemon_kit_temporaries(&kit), 0);
	free(data);
}
END_TEST

START_TEST(test_going_on_at_a_wrong_byte_is_refused_and_the_right_one_named)
{
	leave("a", "id", (const unsigned char *)"abcdef", 6);
	struct service_put put = put_of("a", "id", 5);
	ck_assert_int_eq(try(&put), P2P_BAD_RANGE);
	ck_assert_ptr_nonnull(strstr(err.text, "byte 6"));
	put.offset = UINT64_MAX;
	ck_assert_int_eq(try(&put), P2P_BAD_RANGE);
	ck_assert_uint_eq(offset_of("a", "id"), 6);
}
END_TEST

START_TEST(test_only_what_was_begun_can_go_on)
{
	leave("a", "id", (const unsigned char *)"abcdef", 6);
	struct service_put other_name = put_of("b", "id", 6), other_id = put_of("a", "di", 6);
	struct service_put no_id = put_of("a", NULL, 6);
	ck_assert_int_eq(try(&other_name), P2P_NOT_FOUND);
	ck_assert_int_eq(try(&other_id), P2P_NOT_FOUND);
	ck_assert_int_eq(try(&no_id), P2P_BAD_REQUEST);
	ck_assert_uint_eq(offset_of("b", "id"), UINT64_MAX);
	ck_assert_uint_eq(offset_of("a", "id"), 6);
}
END_TEST

START_TEST(test_beginning_anew_drops_what_waited)
{
	leave("a", "id", (const unsigned char *)"abcdef", 6);
	struct service_put put = put_of("a", "id", 0);
	struct service_upload *upload = begin(&put);
	ck_assert_uint_eq(daemon_kit_temporaries(&kit), 1);
	ck_assert_uint_eq(offset_of("a", "id"), 0);
	ck_assert_int_eq(service_put_feed(upload, "xyz", 3, &err), P2P_OK);
	finish(upload, (const unsigned char *)"xyz", 3);
}
END_TEST

START_TEST(test_nobody_sends_the_same_upload_twice_at_once)
{
	struct service_put put = put_of("a", "id", 0);
	struct service_upload *upload = begin(&put);
	ck_assert_int_eq(service_put_feed(upload, "abc", 3, &err), P2P_OK);
	ck_assert_uint_eq(offset_of("a", "id"), 3);
	ck_assert_int_eq(try(&put), P2P_CONFLICT);
	put.offset = 3;
	ck_assert_int_eq(try(&put), P2P_CONFLICT);
	/* Another upload to the same name is another upload. */
	struct service_put other = put_of("a", "other", 0);
	struct service_upload *second = begin(&other);
	ck_assert_int_eq(service_put_feed(second, "abc", 3, &err), P2P_OK);
	finish(upload, (const unsigned char *)"abc", 3);
	finish(second, (const unsigned char *)"abc", 3);
}
END_TEST

START_TEST(test_the_second_of_two_different_files_for_one_name_is_refused)
{
	struct service_put one = put_of("a", "one", 0), two = put_of("a", "two", 0);
	struct service_upload *first = begin(&one), *second = begin(&two);
	struct service_stored stored;

	ck_assert_int_eq(service_put_feed(first, "abc", 3, &err), P2P_OK);
	ck_assert_int_eq(service_put_feed(second, "abd", 3, &err), P2P_OK);
	finish(second, (const unsigned char *)"abd", 3);
	ck_assert_int_eq(service_put_end(first, &stored, &err), P2P_EXISTS);
	service_put_park(first); /* it failed: there is nothing to go on with */
	daemon_kit_wait_temporaries(&kit, 0);
	ck_assert_uint_eq(offset_of("a", "one"), UINT64_MAX);
}
END_TEST

START_TEST(test_what_waits_too_long_is_dropped)
{
	park_for(30);
	leave("a", "id", (const unsigned char *)"abc", 3);
	leave("b", "id", (const unsigned char *)"abc", 3);
	daemon_kit_wait_temporaries(&kit, 0);
	ck_assert_uint_eq(offset_of("a", "id"), UINT64_MAX);
	ck_assert_uint_eq(offset_of("b", "id"), UINT64_MAX);
}
END_TEST

START_TEST(test_the_oldest_goes_when_too_many_wait)
{
	char id[16];

	for (int i = 0; i < SERVICE_PARKED_MAX; i++) {
		snprintf(id, sizeof(id), "%d", i);
		leave("a", id, (const unsigned char *)"abc", 3);
	}
	/* Number 0 goes on and breaks off again, so it is the newest. */
	struct service_put put = put_of("a", "0", 3);
	struct service_upload *upload = begin(&put);
	service_put_park(upload);
	leave("a", "more", (const unsigned char *)"abc", 3);
	ck_assert_uint_eq(offset_of("a", "0"), 3);
	ck_assert_uint_eq(offset_of("a", "1"), UINT64_MAX);
	ck_assert_uint_eq(offset_of("a", "2"), 3);
	daemon_kit_wait_temporaries(&kit, SERVICE_PARKED_MAX);
}
END_TEST

START_TEST(test_conditions_are_judged_again_when_it_goes_on)
{
	leave("a", "id", (const unsigned char *)"abc", 3);
	daemon_kit_write(&kit, "a", "other", 5);
	/* While it waits the indexer has the name. */
	daemon_kit_wait_file(&kit, "a", 5);
	struct service_put put = put_of("a", "id", 3);
	put.if_absent = true;
	ck_assert_int_eq(try(&put), P2P_PRECONDITION);
	put.if_absent = false;
	put.replace = true;
	ck_assert_int_eq(try(&put), P2P_FORBIDDEN);
	/* What is refused can still go on as it may. */
	ck_assert_uint_eq(offset_of("a", "id"), 3);
	put.replace = false;
	put.expect_bytes = 99;
	ck_assert_int_eq(try(&put), P2P_BAD_REQUEST);
	ck_assert_uint_eq(offset_of("a", "id"), 3);
}
END_TEST

START_TEST(test_what_failed_or_never_came_does_not_wait)
{
	struct service_put put = put_of("a", "id", 0);
	put.expect_bytes = 2;
	struct service_upload *upload = begin(&put);
	ck_assert_int_eq(service_put_feed(upload, "abc", 3, &err), P2P_BAD_CONTENT);
	service_put_park(upload);
	daemon_kit_wait_temporaries(&kit, 0);
	ck_assert_uint_eq(offset_of("a", "id"), UINT64_MAX);
	service_put_park(begin(&put));
	daemon_kit_wait_temporaries(&kit, 0);
	put.upload_id = NULL;
	upload = begin(&put);
	ck_assert_int_eq(service_put_feed(upload, "ab", 2, &err), P2P_OK);
	service_put_park(upload);
	daemon_kit_wait_temporaries(&kit, 0);
}
END_TEST

START_TEST(test_what_is_expected_must_come)
{
	struct service_put put = put_of("a", "id", 0);
	struct content_id expect;
	struct service_stored stored;

	daemon_kit_content("abc", 3, &expect);
	put.expect = &expect;
	struct service_upload *upload = begin(&put);
	ck_assert_int_eq(service_put_feed(upload, "abd", 3, &err), P2P_OK);
	ck_assert_int_eq(service_put_end(upload, &stored, &err), P2P_BAD_CONTENT);
	ck_assert_int_eq(service_put_end(upload, &stored, &err), P2P_BAD_CONTENT);
	service_put_free(upload);
	ck_assert_uint_eq(daemon_kit_temporaries(&kit), 0);
	struct store_reader *reader;
	ck_assert_int_eq(service_open(service, "a", &reader, NULL, NULL), P2P_NOT_FOUND);

	/* Its size is known before its bytes. */
	upload = begin(&put);
	ck_assert_int_eq(service_put_feed(upload, "abcd", 4, &err), P2P_BAD_CONTENT);
	service_put_free(upload);
	put.expect_bytes = 4;
	ck_assert_int_eq(try(&put), P2P_BAD_REQUEST);
	put.expect_bytes = 3;
	upload = begin(&put);
	ck_assert_int_eq(service_put_feed(upload, "abc", 3, &err), P2P_OK);
	finish(upload, (const unsigned char *)"abc", 3);
}
END_TEST

START_TEST(test_what_is_shorter_than_announced_goes_on)
{
	struct service_put put = put_of("a", "id", 0);
	struct service_stored stored;

	put.expect_bytes = 5;
	struct service_upload *upload = begin(&put);
	ck_assert(service_put_is_sized(upload));
	ck_assert(!service_put_can_go_on(upload));
	ck_assert_int_eq(service_put_feed(upload, "abc", 3, &err), P2P_OK);
	ck_assert_int_eq(service_put_end(upload, &stored, &err), P2P_BAD_CONTENT);
	ck_assert(service_put_can_go_on(upload));
	service_put_park(upload);
	ck_assert_uint_eq(offset_of("a", "id"), 3);
	put = put_of("a", "id", 3);
	upload = begin(&put);
	ck_assert(service_put_is_sized(upload));
	ck_assert_int_eq(service_put_feed(upload, "de", 2, &err), P2P_OK);
	finish(upload, (const unsigned char *)"abcde", 5);
	put = put_of("b", NULL, 0);
	upload = begin(&put);
	ck_assert(!service_put_is_sized(upload));
	service_put_free(upload);
}
END_TEST

/* --- conditions --- */

static struct service_upload *
begin_with(const struct service_put *put, const char *data)
{
	struct service_upload *upload = begin(put);

	ck_assert_int_eq(service_put_feed(upload, data, strlen(data), &err), P2P_OK);
	return upload;
}

/* Ends it; must be P2P_OK and a new file, or not, or the code. */
static void
end_as(struct service_upload *upload, int code, bool is_new)
{
	struct service_stored stored = { .is_new = !is_new };
	int got = service_put_end(upload, &stored, &err);

	ck_assert_msg(got == code, "%d: %s", got, err.text);
	ck_assert(code != P2P_OK || stored.is_new == is_new);
	ck_assert(!service_put_can_go_on(upload));
	service_put_free(upload);
}

START_TEST(test_conditions_are_judged_again_at_the_end)
{
	struct service_put put = put_of("a", "id", 0), other = put_of("a", "other", 0);
	struct content_id old;

	put.if_absent = other.if_absent = true;
	struct service_upload *first = begin_with(&put, "abc"), *second = begin_with(&other, "abc");
	end_as(first, P2P_OK, true);
	end_as(second, P2P_PRECONDITION, false);

	daemon_kit_content("abc", 3, &old);
	put = put_of("a", "id", 0);
	other = put_of("a", "other", 0);
	put.origin = other.origin = SERVICE_OWNER;
	put.if_match = other.if_match = &old.root;
	first = begin_with(&put, "one");
	second = begin_with(&other, "two");
	end_as(second, P2P_OK, false);
	end_as(first, P2P_PRECONDITION, false);

	/* What was there at the beginning may be gone. */
	daemon_kit_content("two", 3, &old);
	first = begin_with(&put, "one");
	ck_assert_int_eq(service_remove(service, SERVICE_OWNER, "a", &old.root, &err), P2P_OK);
	end_as(first, P2P_PRECONDITION, false);
	ck_assert_int_eq(service_stat(service, "a", &(struct catalog_local){ 0 }, &err),
			 P2P_NOT_FOUND);
	ck_assert_uint_eq(daemon_kit_temporaries(&kit), 0);
}
END_TEST

struct rival {
	pthread_barrier_t *ready;
	struct service_upload *upload;
	int code;
};

static void *
end_at_once(void *arg)
{
	struct rival *rival = arg;
	struct service_stored stored;

	pthread_barrier_wait(rival->ready);
	rival->code = service_put_end(rival->upload, &stored, NULL);
	service_put_free(rival->upload);
	return NULL;
}

START_TEST(test_of_many_that_replace_the_same_file_at_once_one_succeeds)
{
	struct content_id old;
	char data[8] = "0";

	daemon_kit_write(&kit, "a", data, 1);
	daemon_kit_wait_file(&kit, "a", 1);
	daemon_kit_content(data, 1, &old);
	for (int round = 0; round < ROUNDS; round++) {
		pthread_barrier_t ready;
		struct rival rivals[RIVALS];
		pthread_t threads[RIVALS];
		struct service_put put = put_of("a", NULL, 0);

		put.origin = SERVICE_OWNER;
		put.if_match = &old.root;
		pthread_barrier_init(&ready, NULL, RIVALS);
		for (int i = 0; i < RIVALS; i++) {
			snprintf(data, sizeof(data), "%d-%d", round, i);
			rivals[i] = (struct rival){ &ready, begin_with(&put, data), P2P_OK };
		}
		for (int i = 0; i < RIVALS; i++)
			pthread_create(&threads[i], NULL, end_at_once, &rivals[i]);
		int winner = -1;
		for (int i = 0; i < RIVALS; i++) {
			pthread_join(threads[i], NULL);
			ck_assert(rivals[i].code == P2P_PRECONDITION || winner < 0);
			if (rivals[i].code == P2P_OK)
				winner = i;
		}
		pthread_barrier_destroy(&ready);
		ck_assert_int_ge(winner, 0);
		snprintf(data, sizeof(data), "%d-%d", round, winner);
		daemon_kit_content(data, strlen(data), &old);
	}
	ck_assert_uint_eq(daemon_kit_temporaries(&kit), 0);
}
END_TEST

START_TEST(test_upload_ids_are_short_and_printable)
{
	static const char *const bad[] = { "", "a\n", "\x7f", "\xc3\xbc", "a\tb" };
	char id[SERVICE_UPLOAD_ID_MAX + 2];

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct service_put put = put_of("a", bad[i], 0);
		ck_assert_msg(try(&put) == P2P_BAD_REQUEST, "%zu", i);
	}
	memset(id, 'x', sizeof(id));
	id[SERVICE_UPLOAD_ID_MAX + 1] = '\0';
	struct service_put put = put_of("a", id, 0);
	ck_assert_int_eq(try(&put), P2P_BAD_REQUEST);
	id[SERVICE_UPLOAD_ID_MAX] = '\0';
	ck_assert_int_eq(try(&put), P2P_OK);
}
END_TEST

START_TEST(test_the_way_down_leaves_no_temporary_file)
{
	leave("a", "id", (const unsigned char *)"abc", 3);
	leave("b", "id", (const unsigned char *)"abc", 3);
	daemon_kit_halt(&kit);
	ck_assert_uint_eq(daemon_kit_temporaries(&kit), 0);
	daemon_kit_again(&kit, "");
	service = daemon_kit_service(&kit);
	ck_assert_uint_eq(offset_of("a", "id"), UINT64_MAX);
}
END_TEST

/* Sends, breaks off, goes on, begins anew, whatever the others do with the same upload. */
static void *
contend(void *arg)
{
	unsigned seed = (unsigned)(uintptr_t)arg;

	for (int round = 0; round < 200; round++) {
		uint64_t offset = 0;
		struct service_upload *upload;
		bool goes_on = rand_r(&seed) % 2 == 0 &&
			       service_upload_offset(service, "a", "id", &offset) == P2P_OK;
		struct service_put put = put_of("a", "id", goes_on ? offset : 0);

		if (service_put_begin(service, &put, &upload, NULL) != P2P_OK)
			continue;
		(void)service_put_feed(upload, "abc", 3, NULL);
		if (rand_r(&seed) % 4 == 0)
			service_put_free(upload);
		else
			service_put_park(upload);
	}
	return NULL;
}

START_TEST(test_many_may_try_the_same_upload)
{
	pthread_t rivals[RIVALS];

	park_for(3);
	for (uintptr_t i = 0; i < RIVALS; i++)
		ck_assert_int_eq(pthread_create(&rivals[i], NULL, contend, (void *)i), 0);
	for (size_t i = 0; i < RIVALS; i++)
		pthread_join(rivals[i], NULL);
	daemon_kit_wait_temporaries(&kit, 0);
	pthread_mutex_lock(&service->lot.mutex);
	ck_assert_ptr_null(service->lot.first);
	ck_assert_uint_eq(service->lot.parked, 0);
	pthread_mutex_unlock(&service->lot.mutex);
}
END_TEST

static Suite *
make_suite(void)
{
	Suite *suite = suite_create("service");
	TCase *tc = tcase_create("uploads");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, test_an_upload_that_broke_off_goes_on_where_it_was);
	tcase_add_loop_test(tc, test_an_upload_broken_at_random_points_becomes_the_same_file, 0, 3);
	tcase_add_test(tc, test_going_on_at_a_wrong_byte_is_refused_and_the_right_one_named);
	tcase_add_test(tc, test_only_what_was_begun_can_go_on);
	tcase_add_test(tc, test_beginning_anew_drops_what_waited);
	tcase_add_test(tc, test_nobody_sends_the_same_upload_twice_at_once);
	tcase_add_test(tc, test_the_second_of_two_different_files_for_one_name_is_refused);
	tcase_add_test(tc, test_what_waits_too_long_is_dropped);
	tcase_add_test(tc, test_the_oldest_goes_when_too_many_wait);
	tcase_add_test(tc, test_conditions_are_judged_again_when_it_goes_on);
	tcase_add_test(tc, test_what_failed_or_never_came_does_not_wait);
	tcase_add_test(tc, test_what_is_expected_must_come);
	tcase_add_test(tc, test_what_is_shorter_than_announced_goes_on);
	tcase_add_test(tc, test_conditions_are_judged_again_at_the_end);
	tcase_add_test(tc, test_of_many_that_replace_the_same_file_at_once_one_succeeds);
	tcase_add_test(tc, test_upload_ids_are_short_and_printable);
	tcase_add_test(tc, test_the_way_down_leaves_no_temporary_file);
	tcase_add_test(tc, test_many_may_try_the_same_upload);
	suite_add_tcase(suite, tc);
	return suite;
}

int
main(void)
{
	SRunner *runner = srunner_create(make_suite());

	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
