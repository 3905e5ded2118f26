/* SPDX-License-Identifier: MIT
 *
 * check_rpc_directories.c - Directories of the gRPC face, asked by a client of the C core.
 */
#include <check.h>
#include <fcntl.h>
#include <grpc/status.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon_kit.h"
#include "p2p.pb-c.h"
#include "rpc_kit.h"
#include "wire_pb.h"

static struct daemon_kit kit;
static struct rpc_kit near;

static void
make(const char *name, mode_t mode, time_t mtime)
{
	struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, { .tv_sec = mtime, .tv_nsec = 7 } };
	char path[256];

	snprintf(path, sizeof(path), "%s/share/%s", kit.root, name);
	ck_assert_int_eq(mkdir(path, 0700), 0);
	ck_assert_int_eq(chmod(path, mode), 0);
	ck_assert_int_eq(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void
setup(void)
{
	char path[256];

	daemon_kit_start(&kit, "remote = read\n");
	make("d", 02750, 1000);
	make("d with \303\274", 0700, -1000);
	snprintf(path, sizeof(path), "%s/share/link", kit.root);
	ck_assert_int_eq(symlink("d", path), 0);
	rpc_kit_connect(&near, daemon_rpc_port(kit.daemon));
}

static void
teardown(void)
{
	rpc_kit_close(&near);
	daemon_kit_stop(&kit);
}

/* Asks; NULL if the answer is that status. */
static P2p__V1__DirectoriesResponse *
ask(const char *const *names, size_t count, int status)
{
	P2p__V1__DirectoriesRequest request = P2P__V1__DIRECTORIES_REQUEST__INIT;
	P2p__V1__DirectoriesResponse *response = NULL;
	struct rpc_kit_status end;
	struct rpc_kit_call call;

	request.n_names = count;
	request.names = (char **)names;
	rpc_kit_open(&call, &near, "/p2p.v1.Files/Directories", 0);
	rpc_kit_send(&call, &request.base);
	rpc_kit_send_end(&call);
	if (status == GRPC_STATUS_OK)
		response = (void *)rpc_kit_read(&call, &p2p__v1__directories_response__descriptor);
	if (!call.has_initial)
		rpc_kit_await_headers(&call);
	rpc_kit_finish(&call, &end);
	ck_assert_msg(end.code == status, "%d: %s", end.code, end.details);
	return response;
}

START_TEST(test_directories_of_the_share_are_told_in_the_order_asked)
{
	static const char *const names[] = { "nobody", "d with \303\274", "../share/d", "d",
					     "link" };
	P2p__V1__DirectoriesResponse *response = ask(names, 5, GRPC_STATUS_OK);

	ck_assert_ptr_nonnull(response);
	ck_assert_uint_eq(response->n_directories, 5);
	for (size_t i = 0; i < 5; i++)
		ck_assert(response->directories[i]->is_there == (i == 1 || i == 3));
	ck_assert_uint_eq(response->directories[1]->mode, 0700);
	ck_assert_int_eq(response->directories[1]->mtime_ns, -1000000000000 + 7);
	ck_assert_uint_eq(response->directories[3]->mode, 0750);
	ck_assert_int_eq(response->directories[3]->mtime_ns, 1000000000000 + 7);
	p2p__v1__directories_response__free_unpacked(response, NULL);
}
END_TEST

START_TEST(test_as_many_as_may_be_asked_about_are_told_and_no_more)
{
	static const char *names[DIRECTORIES_MAX + 1];
	P2p__V1__DirectoriesResponse *response;

	for (size_t i = 0; i <= DIRECTORIES_MAX; i++)
		names[i] = "d";
	response = ask(names, DIRECTORIES_MAX, GRPC_STATUS_OK);
	ck_assert_uint_eq(response->n_directories, DIRECTORIES_MAX);
	p2p__v1__directories_response__free_unpacked(response, NULL);
	ask(names, DIRECTORIES_MAX + 1, GRPC_STATUS_RESOURCE_EXHAUSTED);
	ask(names, 0, GRPC_STATUS_INVALID_ARGUMENT);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("rpc_directories");
	TCase *tcase = tcase_create("directories");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, test_directories_of_the_share_are_told_in_the_order_asked);
	tcase_add_test(tcase, test_as_many_as_may_be_asked_about_are_told_and_no_more);
	suite_add_tcase(suite, tcase);

	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
