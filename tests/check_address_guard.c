/* SPDX-License-Identifier: MIT
 *
 * check_address_guard.c - the rule, address by address.
 */
#include "address_guard.h"

#include <arpa/inet.h>
#include <check.h>
#include <netinet/in.h>
#include <stdlib.h>

static bool
is_refused(const char *text, bool refuse_private)
{
	struct sockaddr_in four = { .sin_family = AF_INET };
	struct sockaddr_in6 six = { .sin6_family = AF_INET6 };

	if (inet_pton(AF_INET, text, &four.sin_addr) == 1)
		return address_is_refused((const struct sockaddr *)&four, refuse_private);
	ck_assert_int_eq(inet_pton(AF_INET6, text, &six.sin6_addr), 1);
	return address_is_refused((const struct sockaddr *)&six, refuse_private);
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
	ck_assert(address_is_refused(&(struct sockaddr){ .sa_family = AF_UNIX }, false));
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

int
main(void)
{
	Suite *suite = suite_create("address_guard");
	TCase *tcase = tcase_create("rule");

	tcase_add_test(tcase, test_peers_live_here);
	tcase_add_test(tcase, test_nobody_connects_there);
	tcase_add_test(tcase, test_what_is_of_this_host_is_refused_to_who_can_be_reached);
	suite_add_tcase(suite, tcase);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
