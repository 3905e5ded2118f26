/* SPDX-License-Identifier: MIT
 *
 * check_address_guard.c - the rule, address by address.
 */
#include "address_guard.h"

#include <arpa/inet.h>
#include <check.h>
#include <netinet/in.h>
#include <stdlib.h>

#define PORT 5001

static bool
is_refused_by(const struct address_guard *guard, const char *text, uint16_t port)
{
	struct sockaddr_in four = { .sin_family = AF_INET, .sin_port = htons(port) };
	struct sockaddr_in6 six = { .sin6_family = AF_INET6, .sin6_port = htons(port) };

	if (inet_pton(AF_INET, text, &four.sin_addr) == 1)
		return address_is_refused(guard, (const struct sockaddr *)&four);
	ck_assert_int_eq(inet_pton(AF_INET6, text, &six.sin6_addr), 1);
	return address_is_refused(guard, (const struct sockaddr *)&six);
}

static bool
is_refused(const char *text, bool refuse_private)
{
	const struct address_guard guard = { .refuse_private = refuse_private };

	return is_refused_by(&guard, text, PORT);
}

START_TEST(test_peers_live_here)
{
	static const char *const open[] = { "192.0.2.7",   "10.1.2.3", "172.16.0.1", "192.168.1.1",
					    "2001:db8::7", "fd00::7",  "64:ff9a::1" };

	for (size_t i = 0; i < sizeof(open) / sizeof(open[0]); i++) {
		ck_assert_msg(!is_refused(open[i], false), "%s", open[i]);
		ck_assert_msg(!is_refused(open[i], true), "%s", open[i]);
	}
}
END_TEST

START_TEST(test_nobody_connects_there)
{
	static const char *const never[] = {
		"0.0.0.0", "0.1.2.3", "224.0.0.1",        "255.255.255.255", "::",
		"ff02::1", "ff0e::1", "::ffff:224.0.0.1", "::ffff:0.0.0.0",
	};

	for (size_t i = 0; i < sizeof(never) / sizeof(never[0]); i++) {
		ck_assert_msg(is_refused(never[i], false), "%s", never[i]);
		ck_assert_msg(is_refused(never[i], true), "%s", never[i]);
	}
	ck_assert(address_is_refused(&(struct address_guard){ 0 },
				     &(struct sockaddr){ .sa_family = AF_UNIX }));
}
END_TEST

START_TEST(test_what_is_of_this_host_is_refused_to_who_can_be_reached)
{
	static const char *const own[] = {
		"127.0.0.1",
		"127.9.9.9",
		"169.254.169.254",
		"::1",
		"fe80::1",
		"::ffff:127.0.0.1",
		"::ffff:192.0.2.1",
		"::127.0.0.1",
		"64:ff9b::127.0.0.1",
		"64:ff9b:1::a9fe:a9fe",
	};

	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++) {
		ck_assert_msg(!is_refused(own[i], false), "%s", own[i]);
		ck_assert_msg(is_refused(own[i], true), "%s", own[i]);
	}
}
END_TEST

/* A host has 127.0.0.0/8 and, as a rule, ::1; it has none of the addresses for documents. */
START_TEST(test_where_we_listen_we_do_not_connect)
{
	struct address_guard guard = { 0 };

	address_guard_own(&guard, "127.0.0.7", PORT);
	address_guard_own(&guard, "2001:db8::7", PORT);
	ck_assert(is_refused_by(&guard, "127.0.0.7", PORT));
	ck_assert(is_refused_by(&guard, "::ffff:127.0.0.7", PORT));
	ck_assert(is_refused_by(&guard, "2001:db8::7", PORT));
	ck_assert(!is_refused_by(&guard, "127.0.0.7", PORT + 1));
	/* Another peer of this host, at another of its addresses. */
	ck_assert(!is_refused_by(&guard, "127.0.0.8", PORT));
	ck_assert(!is_refused_by(&guard, "2001:db8::8", PORT));
}
END_TEST

START_TEST(test_a_wildcard_and_a_name_stand_for_every_address_of_this_host)
{
	static const char *const all[] = { "0.0.0.0", "::", "host-a.example" };

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		struct address_guard guard = { 0 };

		address_guard_own(&guard, all[i], PORT);
		ck_assert_msg(is_refused_by(&guard, "127.0.0.8", PORT), "%s", all[i]);
		ck_assert_msg(is_refused_by(&guard, "::ffff:127.0.0.8", PORT), "%s", all[i]);
		ck_assert_msg(!is_refused_by(&guard, "127.0.0.8", PORT + 1), "%s", all[i]);
		ck_assert_msg(!is_refused_by(&guard, "192.0.2.7", PORT), "%s", all[i]);
		ck_assert_msg(!is_refused_by(&guard, "2001:db8::7", PORT), "%s", all[i]);
	}
}
END_TEST

START_TEST(test_more_places_than_are_remembered_are_no_harm)
{
	struct address_guard guard = { 0 };

	for (uint16_t i = 0; i <= ADDRESS_OWN_MAX; i++)
		address_guard_own(&guard, "127.0.0.1", PORT + i);
	ck_assert(is_refused_by(&guard, "127.0.0.1", PORT + ADDRESS_OWN_MAX - 1));
	ck_assert(!is_refused_by(&guard, "127.0.0.1", PORT + ADDRESS_OWN_MAX));
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("address_guard");
	TCase *tcase = tcase_create("rule");

	tcase_add_test(tcase, test_peers_live_here);
	tcase_add_test(tcase, test_nobody_connects_there);
	tcase_add_test(tcase, test_what_is_of_this_host_is_refused_to_who_can_be_reached);
	tcase_add_test(tcase, test_where_we_listen_we_do_not_connect);
	tcase_add_test(tcase, test_a_wildcard_and_a_name_stand_for_every_address_of_this_host);
	tcase_add_test(tcase, test_more_places_than_are_remembered_are_no_harm);
	suite_add_tcase(suite, tcase);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
