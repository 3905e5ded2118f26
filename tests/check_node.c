/* SPDX-License-Identifier: MIT
 *
 * check_node.c - which addresses and records are believed to be such.
 */
#include "node.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ID "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static struct node_record
make_record(void)
{
	struct node_record node = { .address_count = 1 };

	strcpy(node.id, ID);
	strcpy(node.name, "host a");
	strcpy(node.version, "0.1.0");
	strcpy(node.addresses[0], "http://10.0.0.1:5001");
	return node;
}

START_TEST(test_plain_addresses_are_taken)
{
	static const char *const good[] = { "http://10.0.0.1:5001",     "http://host-a:1",
					    "http://a.b.example:65535", "http://[::1]:5001",
					    "http://[2001:db8::5]:80",  "http://0.0.0.0:5001",
					    "http://[::]:5001",         "http://my_host:5001",
					    "grpc://10.0.0.1:50051",    "grpc://[::1]:1",
					    "grpc://host-a.example:80" };

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		ck_assert_msg(node_address_check(good[i], NULL) == P2P_OK, "%s", good[i]);
}
END_TEST

START_TEST(test_tricks_with_addresses_are_refused)
{
	static const char *const bad[] = { "",
					   "http://",
					   "https://a:1",
					   "file:///etc/passwd",
					   "gopher://a:70",
					   "http://a",
					   "http://a:",
					   "http://a:0",
					   "http://a:65536",
					   "http://a:080",
					   "http://a:+1",
					   "http://a:1 ",
					   "http://a:1/",
					   "http://a:1?x",
					   "http://a:1#x",
					   "http://u@a:1",
					   "http://u:p@a:1",
					   "http://:1",
					   "http://2130706433:1",
					   "http://0x7f000001:1",
					   "http://0177.0.0.1:1",
					   "http://127.1:1",
					   "http://a.0x7f:1",
					   "http://256.0.0.1:1",
					   "http://[::ffff:127.0.0.1]:1",
					   "http://[::127.0.0.1]:1",
					   "http://[fe80::1%eth0]:1",
					   "http://[::1:1",
					   "http://::1:1",
					   "http://[]:1",
					   "http://[::1]",
					   "http://[::1]x:1",
					   "http://a..b:1",
					   "http://a.:1",
					   "http://-a:1",
					   "http://a-:1",
					   "http://a b:1",
					   "http://a\n:1",
					   "http://\xc3\xa4:1",
					   "HTTP://a:1",
					   "grpc://",
					   "grpc:a:1",
					   "grpc:/a:1",
					   "grpcs://a:1",
					   "GRPC://a:1",
					   "grpc://a",
					   "grpc://a:0",
					   "grpc://a:1/",
					   "grpc://u@a:1",
					   "grpc://127.1:1",
					   "grpc://[::ffff:127.0.0.1]:1",
					   "grpc://http://a:1",
					   "http://grpc://a:1",
					   "dns:///a:1",
					   "unix:/run/x",
					   "a:1",
					   "http://a:1:2",
					   "http://a%00:1" };
	char longest[NODE_ADDRESS_SIZE * 2];

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct error err = { .code = P2P_OK };

		ck_assert_msg(node_address_check(bad[i], &err) == P2P_BAD_REQUEST, "%s", bad[i]);
		ck_assert_int_eq(err.code, P2P_BAD_REQUEST);
	}
	snprintf(longest, sizeof(longest), "http://%0*d:1", NODE_ADDRESS_SIZE, 1);
	ck_assert_int_eq(node_address_check(longest, NULL), P2P_BAD_REQUEST);
}
END_TEST

START_TEST(test_made_addresses_pass_the_check)
{
	char address[NODE_ADDRESS_SIZE];

	node_address_make(WIRE_REST, "2001:db8::5", 5001, address);
	ck_assert_str_eq(address, "http://[2001:db8::5]:5001");
	ck_assert_int_eq(node_address_check(address, NULL), P2P_OK);
	node_address_make(WIRE_REST, "10.1.2.3", 80, address);
	ck_assert_str_eq(address, "http://10.1.2.3:80");
	node_address_make(WIRE_GRPC, "10.1.2.3", 50051, address);
	ck_assert_str_eq(address, "grpc://10.1.2.3:50051");
	ck_assert_int_eq(node_address_check(address, NULL), P2P_OK);
	ck_assert_int_eq(node_address_wire(address), WIRE_GRPC);
	node_address_make(WIRE_GRPC, "::1", 50051, address);
	ck_assert_str_eq(address, "grpc://[::1]:50051");
}
END_TEST

START_TEST(test_a_record_is_checked_field_by_field)
{
	struct node_record node = make_record();
	struct error err;

	ck_assert_int_eq(node_check(&node, &err), P2P_OK);
	node.id[0] = 'A';
	ck_assert_int_eq(node_check(&node, &err), P2P_BAD_REQUEST);
	ck_assert_ptr_nonnull(strstr(err.text, "\"id\""));
	node = make_record();
	strcpy(node.name, "a\x1b[2J");
	ck_assert_int_eq(node_check(&node, &err), P2P_BAD_REQUEST);
	ck_assert_ptr_nonnull(strstr(err.text, "\"name\""));
	node = make_record();
	memset(node.name, 'a', sizeof(node.name)); /* no NUL */
	ck_assert_int_eq(node_check(&node, &err), P2P_BAD_REQUEST);
	node = make_record();
	strcpy(node.version, "1 2");
	ck_assert_int_eq(node_check(&node, &err), P2P_BAD_REQUEST);
	ck_assert_ptr_nonnull(strstr(err.text, "\"version\""));
	node = make_record();
	node.address_count = NODE_ADDRESSES_MAX + 1;
	ck_assert_int_eq(node_check(&node, &err), P2P_BAD_REQUEST);
	node = make_record();
	strcpy(node.addresses[0], "http://a");
	ck_assert_int_eq(node_check(&node, &err), P2P_BAD_REQUEST);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("node");
	TCase *tcase = tcase_create("node");

	tcase_add_test(tcase, test_plain_addresses_are_taken);
	tcase_add_test(tcase, test_tricks_with_addresses_are_refused);
	tcase_add_test(tcase, test_made_addresses_pass_the_check);
	tcase_add_test(tcase, test_a_record_is_checked_field_by_field);
	suite_add_tcase(suite, tcase);

	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
