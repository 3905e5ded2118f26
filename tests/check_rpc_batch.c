/* SPDX-License-Identifier: MIT
 *
 * check_rpc_batch.c - DownloadMany of the gRPC face, asked by a client of the C core.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon_kit.h"
#include "mem.h"
#include "metrics.h"
#include "p2p.pb-c.h"
#include "rpc_kit.h"
#include "wire_pb.h"

#define MANY  "/p2p.v1.Files/DownloadMany"
#define FILES 40
#define BYTES 30000 /* of each: several messages for all */

static struct daemon_kit kit;
static struct rpc_kit near;
static unsigned char *bytes[FILES];
static struct content_id ids[FILES];

static void
setup(void)
{
	char name[32];

	daemon_kit_start(&kit, "remote = upload\n");
	for (unsigned i = 0; i < FILES; i++) {
		snprintf(name, sizeof(name), "small%u", i);
		bytes[i] = daemon_kit_bytes(BYTES + i, i);
		daemon_kit_content(bytes[i], BYTES + i, &ids[i]);
		daemon_kit_write(&kit, name, bytes[i], BYTES + i);
	}
	for (unsigned i = 0; i < FILES; i++) {
		snprintf(name, sizeof(name), "small%u", i);
		daemon_kit_wait_file(&kit, name, BYTES + i);
	}
	rpc_kit_connect(&near, daemon_rpc_port(kit.daemon));
}

static void
teardown(void)
{
	for (unsigned i = 0; i < FILES; i++)
		free(bytes[i]);
	rpc_kit_close(&near);
	daemon_kit_stop(&kit);
}

static void
ask(struct rpc_kit_call *call, const struct content_id *wanted, size_t count)
{
	P2p__V1__DownloadManyRequest request = P2P__V1__DOWNLOAD_MANY_REQUEST__INIT;

	request.n_contents = count;
	request.contents = mem_zero(count + 1, sizeof(P2p__V1__Content *));
	for (size_t i = 0; i < count; i++)
		request.contents[i] = wire_pb_of_content(&wanted[i]);
	rpc_kit_open(call, &near, MANY, 0);
	rpc_kit_send(call, &request.base);
	rpc_kit_send_end(call);
	for (size_t i = 0; i < count; i++)
		p2p__v1__content__free_unpacked(request.contents[i], NULL);
	free(request.contents);
}

static void
expect_status(struct rpc_kit_call *call, int status, const char *words)
{
	struct rpc_kit_status end;

	if (!call->has_initial)
		rpc_kit_await_headers(call);
	rpc_kit_finish(call, &end);
	ck_assert_msg(end.code == status, "%d: %s", end.code, end.details);
	ck_assert_msg(strstr(end.details, words) != NULL, "%s", end.details);
}

static P2p__V1__DownloadManyResponse *
hear(struct rpc_kit_call *call)
{
	return (void *)rpc_kit_read(call, &p2p__v1__download_many_response__descriptor);
}

START_TEST(test_contents_come_in_the_order_asked_with_their_status)
{
	struct rpc_kit_call call;
	P2p__V1__DownloadManyResponse *next;
	struct content_id wanted[FILES];
	uint64_t before = metrics_get(METRIC_RPC_BYTES_OUT), total = 0;
	size_t at = 0, messages = 0;

	/* Backwards; the third is nobody's, the fourth is empty and not here. */
	for (size_t i = 0; i < FILES; i++)
		wanted[i] = ids[FILES - 1 - i];
	wanted[2].root.bytes[0] ^= 1;
	wanted[3].size_bytes = 0;
	merkle_empty_root(&wanted[3].root);
	ask(&call, wanted, FILES);
	while ((next = hear(&call)) != NULL) {
		ck_assert_uint_gt(next->n_contents, 0);
		messages++;
		for (size_t i = 0; i < next->n_contents; i++, at++) {
			const P2p__V1__SmallContent *content = next->contents[i];
			bool is_here = at != 2 && at != 3;

			ck_assert_uint_eq(content->status,
					  is_here ? GRPC_STATUS_OK : GRPC_STATUS_NOT_FOUND);
			ck_assert_uint_eq(content->data.len, is_here ? wanted[at].size_bytes : 0);
			if (is_here)
				ck_assert_mem_eq(content->data.data, bytes[FILES - 1 - at],
						 content->data.len);
			total += content->data.len;
		}
		p2p__v1__download_many_response__free_unpacked(next, NULL);
	}
	expect_status(&call, GRPC_STATUS_OK, "");
	ck_assert_uint_eq(at, FILES);
	ck_assert_uint_ge(messages, 2);
	ck_assert_uint_eq(metrics_get(METRIC_RPC_BYTES_OUT) - before, total);
}
END_TEST

START_TEST(test_too_much_at_once_is_refused)
{
	struct rpc_kit_call call;
	struct content_id *many = mem_zero(1025, sizeof(*many));

	ask(&call, many, 0);
	expect_status(&call, GRPC_STATUS_INVALID_ARGUMENT, "bad-request");
	for (size_t i = 0; i < 1025; i++)
		many[i] = ids[0];
	ask(&call, many, 1025);
	expect_status(&call, GRPC_STATUS_RESOURCE_EXHAUSTED, "too-many");
	ask(&call, many, 1024); /* 30 MB */
	expect_status(&call, GRPC_STATUS_INVALID_ARGUMENT, "too-large");
	many[0].size_bytes = 65537;
	ask(&call, many, 1);
	expect_status(&call, GRPC_STATUS_INVALID_ARGUMENT, "too-large");
	many[0].size_bytes = 0;
	ask(&call, many, 1);
	expect_status(&call, GRPC_STATUS_INVALID_ARGUMENT, "bad-request");
	free(many);
}
END_TEST

START_TEST(test_a_call_that_is_cancelled_leaves_no_file_open)
{
	struct rpc_kit_call call;
	struct rpc_kit_status end;
	size_t before = daemon_kit_descriptors("/share/");

	for (unsigned i = 0; i < 20; i++) {
		ask(&call, ids, FILES);
		if (i % 2)
			p2p__v1__download_many_response__free_unpacked(hear(&call), NULL);
		rpc_kit_cancel(&call);
		if (!call.has_initial)
			rpc_kit_await_headers(&call);
		rpc_kit_finish(&call, &end);
	}
	ask(&call, ids, 1);
	p2p__v1__download_many_response__free_unpacked(hear(&call), NULL);
	expect_status(&call, GRPC_STATUS_OK, "");
	ck_assert_uint_le(daemon_kit_descriptors("/share/"), before + 1);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("rpc_batch");
	TCase *tcase = tcase_create("many");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, test_contents_come_in_the_order_asked_with_their_status);
	tcase_add_test(tcase, test_too_much_at_once_is_refused);
	tcase_add_test(tcase, test_a_call_that_is_cancelled_leaves_no_file_open);
	suite_add_tcase(suite, tcase);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
