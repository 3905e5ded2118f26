/* SPDX-License-Identifier: MIT
 *
 * check_rpc_have.c - which pieces are held, asked of a real daemon by gRPC: at once, or when there is news; and the bytes of a content
 * of which only some are here.
 *
 * The partial content is told to the daemon as a download would tell it.
 */
#include <check.h>
#include <fcntl.h>
#include <grpc/status.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "daemon_kit.h"
#include "mem.h"
#include "merkle.h"
#include "p2p.pb-c.h"
#include "rpc_kit.h"
#include "service_internal.h"

#define HAVE     "/p2p.v1.Files/Have"
#define LAYER    "/p2p.v1.Files/Layer"
#define DOWNLOAD "/p2p.v1.Files/Download"

#define PIECE  MERKLE_PIECE_MIN
#define PIECES 11
#define SIZE   ((PIECES - 1) * PIECE + 1000) /* of the partial content */
#define ME     "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define OTHER  "baaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define LONG   30000 /* ms */
#define SOON   5000  /* ms, much less */

static struct daemon_kit kit;
static struct rpc_kit client;
static struct holdings *holdings;
static struct content_id whole, partial;
static unsigned char *bytes; /* of the partial content */
static struct digest *layer; /* its layer */
static size_t layer_count;
static struct holding *holding; /* NULL: it is not being fetched */

/* --- the world --- */

static void
setup(void)
{
	struct merkle_builder *builder = merkle_builder_new();

	daemon_kit_start(&kit, "");
	daemon_kit_write(&kit, "whole", "all of it", 9);
	daemon_kit_content("all of it", 9, &whole);
	daemon_kit_wait_file(&kit, "whole", 9);
	holdings = daemon_kit_service(&kit)->parts.holdings;
	bytes = daemon_kit_bytes(SIZE, 3);
	merkle_builder_feed(builder, bytes, SIZE);
	merkle_builder_end(builder, &partial, &layer, &layer_count);
	merkle_builder_free(builder);
	ck_assert_uint_eq(layer_count, PIECES);
	rpc_kit_connect(&client, daemon_rpc_port(kit.daemon));
}

static void
end_fetch(void)
{
	holdings_end(holding);
	holding = NULL;
}

static void
teardown(void)
{
	rpc_kit_close(&client);
	end_fetch();
	daemon_kit_stop(&kit);
	free(bytes);
	free(layer);
}

/* The partial content is being fetched; its file has good bytes in `good` alone. */
static void
begin_fetch(uint64_t good)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/partial", kit.root);
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, SIZE), 0);
	ck_assert_int_eq(pwrite(fd, bytes + good * PIECE, PIECE, (off_t)(good * PIECE)), PIECE);
	holding = holdings_begin(holdings, &partial, fd, layer, layer_count);
	ck_assert_ptr_nonnull(holding);
	holding_add(holding, good);
}

/* --- asking --- */

static struct rpc_kit_status status;

static void
drop(void *message)
{
	protobuf_c_message_free_unpacked(message, NULL);
}

static P2p__V1__Content
content_message(struct content_id *content)
{
	P2p__V1__Content message = P2P__V1__CONTENT__INIT;

	message.size = content->size_bytes;
	message.root = (ProtobufCBinaryData){ DIGEST_BYTES, content->root.bytes };
	return message;
}

static void
open_by(struct rpc_kit_call *call, struct rpc_kit *by, struct content_id *content, const char *peer,
	uint64_t since, uint32_t wait_ms, unsigned deadline_ms)
{
	P2p__V1__HaveRequest request = P2P__V1__HAVE_REQUEST__INIT;
	P2p__V1__Content message = content_message(content);

	request.content = &message;
	request.peer = (char *)peer;
	request.since = since;
	request.wait_ms = wait_ms;
	rpc_kit_open(call, by, HAVE, deadline_ms);
	rpc_kit_send(call, &request.base);
	rpc_kit_send_end(call);
}

/* One that waits has sent its headers. */
static void
open_waiting(struct rpc_kit_call *call, struct content_id *content, uint64_t since,
	     unsigned deadline_ms)
{
	open_by(call, &client, content, "", since, LONG, deadline_ms);
	rpc_kit_await_headers(call);
}

/* Ends a call that must have an answer. */
static P2p__V1__HaveResponse *
read_answer(struct rpc_kit_call *call)
{
	P2p__V1__HaveResponse *answer =
	    (P2p__V1__HaveResponse *)rpc_kit_read(call, &p2p__v1__have_response__descriptor);

	rpc_kit_finish(call, &status);
	ck_assert_msg(status.code == GRPC_STATUS_OK, "%d: %s", status.code, status.details);
	ck_assert_ptr_nonnull(answer);
	return answer;
}

static P2p__V1__HaveResponse *
ask(struct content_id *content, const char *peer, uint64_t since, uint32_t wait_ms)
{
	struct rpc_kit_call call;

	open_by(&call, &client, content, peer, since, wait_ms, 0);
	return read_answer(&call);
}

static void
refused(struct content_id *content, uint32_t wait_ms, int code)
{
	struct rpc_kit_call call;

	open_by(&call, &client, content, "", 0, wait_ms, 0);
	ck_assert_ptr_null(rpc_kit_read(&call, &p2p__v1__have_response__descriptor));
	rpc_kit_finish(&call, &status);
	ck_assert_msg(status.code == code, "%d: %s", status.code, status.details);
}

/* Ends a call that may have been cancelled meanwhile; whatever it was told does not matter. */
static void
finish_either(struct rpc_kit_call *call, bool is_cancelled)
{
	ck_assert_ptr_null(rpc_kit_read(call, NULL));
	rpc_kit_finish(call, &status);
	ck_assert_msg(status.code == GRPC_STATUS_OK ||
			  (is_cancelled && status.code == GRPC_STATUS_CANCELLED),
		      "%d: %s", status.code, status.details);
}

/* Where one who knows all that there is goes on. */
static uint64_t
next_of(struct content_id *content, const char *peer)
{
	P2p__V1__HaveResponse *answer = ask(content, peer, 0, 0);
	uint64_t next = answer->next;

	ck_assert_uint_ne(next, 0);
	drop(answer);
	return next;
}

/* The answer tells exactly that this piece came, and its `next` is given. */
static uint64_t
expect_piece(P2p__V1__HaveResponse *answer, uint64_t piece)
{
	uint64_t next = answer->next;

	ck_assert(!answer->full && !answer->complete);
	ck_assert_uint_eq(answer->bits.len, 0);
	ck_assert_uint_eq(answer->n_pieces, 1);
	ck_assert_uint_eq(answer->pieces[0], piece);
	drop(answer);
	return next;
}

/* --- at once --- */

START_TEST(test_a_whole_content_is_complete)
{
	P2p__V1__HaveResponse *answer = ask(&whole, "", 0, 0);

	ck_assert(answer->complete);
	ck_assert_uint_eq(answer->bits.len, 0);
	drop(answer);
	refused(&partial, 0, GRPC_STATUS_NOT_FOUND);
	refused(&partial, LONG, GRPC_STATUS_NOT_FOUND);
	refused(&whole, LONG + 1, GRPC_STATUS_INVALID_ARGUMENT);
}
END_TEST

START_TEST(test_a_content_that_is_being_fetched_is_told_piece_by_piece)
{
	begin_fetch(9);
	P2p__V1__HaveResponse *answer = ask(&partial, "", 0, LONG);
	ck_assert(answer->full && !answer->complete);
	ck_assert_uint_eq(answer->bits.len, (PIECES + 7) / 8);
	ck_assert_uint_eq(answer->bits.data[0], 0);
	ck_assert_uint_eq(answer->bits.data[1], 0x40);
	uint64_t next = answer->next;
	drop(answer);

	holding_add(holding, 3);
	next = expect_piece(ask(&partial, "", next, LONG), 3);
	answer = ask(&partial, "", next, 0);
	ck_assert(!answer->full && answer->n_pieces == 0);
	drop(answer);
	end_fetch();
	refused(&partial, 0, GRPC_STATUS_NOT_FOUND);
}
END_TEST

START_TEST(test_those_who_follow_hear_of_each_other_and_of_what_is_sent)
{
	struct rpc_kit_call call;

	begin_fetch(0);
	uint64_t next = next_of(&partial, ME);
	open_by(&call, &client, &partial, ME, next, LONG, 0);
	drop(ask(&partial, OTHER, 0, 0));
	P2p__V1__HaveResponse *answer = read_answer(&call);
	ck_assert_uint_eq(answer->n_peers, 1);
	ck_assert_str_eq(answer->peers[0], OTHER);
	next = answer->next;
	drop(answer);

	open_by(&call, &client, &partial, ME, next, LONG, 0);
	rpc_kit_await_headers(&call);
	holdings_sending(holdings, &partial, 0, 10);
	answer = read_answer(&call);
	ck_assert_uint_eq(answer->n_coming, 1);
	ck_assert_uint_eq(answer->coming[0], 0);
	drop(answer);
}
END_TEST

/* --- waiting --- */

START_TEST(test_a_question_waits_until_there_is_a_piece)
{
	struct rpc_kit_call call;

	begin_fetch(0);
	uint64_t next = next_of(&partial, "");
	for (uint64_t piece = 1; piece < PIECES; piece++) {
		uint64_t begin_ms = clock_ms();

		open_waiting(&call, &partial, next, 0);
		holding_add(holding, piece);
		next = expect_piece(read_answer(&call), piece);
		ck_assert_uint_lt(clock_ms() - begin_ms, SOON);
	}
}
END_TEST

START_TEST(test_a_question_is_answered_when_its_time_is_over)
{
	begin_fetch(0);
	uint64_t next = next_of(&partial, ""), begin_ms = clock_ms();
	P2p__V1__HaveResponse *answer = ask(&partial, "", next, 300);
	uint64_t took_ms = clock_ms() - begin_ms;

	ck_assert_uint_ge(took_ms, 290);
	ck_assert_uint_lt(took_ms, SOON);
	ck_assert(!answer->full && !answer->complete && answer->n_pieces == 0);
	ck_assert_uint_ne(answer->next, 0);
	next = answer->next;
	drop(answer);
	holding_add(holding, 5);
	expect_piece(ask(&partial, "", next, LONG), 5);
}
END_TEST

START_TEST(test_a_deadline_and_a_cancel_end_a_wait)
{
	struct rpc_kit_call late, left;

	begin_fetch(0);
	uint64_t next = next_of(&partial, "");
	open_waiting(&late, &partial, next, 200);
	rpc_kit_finish(&late, &status);
	ck_assert_int_eq(status.code, GRPC_STATUS_DEADLINE_EXCEEDED);
	for (unsigned i = 0; i < 200; i++) {
		if (i % 2 == 0)
			open_waiting(&left, &partial, next, 0);
		else
			open_by(&left, &client, &partial, "", next, LONG, 0);
		rpc_kit_cancel(&left);
		rpc_kit_finish(&left, &status);
		ck_assert_int_eq(status.code, GRPC_STATUS_CANCELLED);
	}
	holding_add(holding, 1);
	expect_piece(ask(&partial, "", next, LONG), 1);
}
END_TEST

START_TEST(test_pieces_and_cancels_may_meet)
{
	enum { CALLS = 40, ROUNDS = PIECES - 1 };
	static struct rpc_kit_call calls[CALLS];

	begin_fetch(0);
	uint64_t next = next_of(&partial, "");
	for (unsigned round = 1; round <= ROUNDS; round++) {
		for (unsigned i = 0; i < CALLS; i++)
			open_by(&calls[i], &client, &partial, "", next, LONG, 0);
		for (unsigned i = 0; i < CALLS; i++) {
			if (i == CALLS / 2)
				holding_add(holding, round);
			if (i % 2 == 0)
				rpc_kit_cancel(&calls[i]);
		}
		for (unsigned i = 0; i < CALLS; i++)
			finish_either(&calls[i], i % 2 == 0);
		next = expect_piece(ask(&partial, "", next, LONG), round);
	}
}
END_TEST

START_TEST(test_who_waits_for_a_fetch_that_ends_is_told)
{
	struct rpc_kit_call call;

	begin_fetch(0);
	open_waiting(&call, &partial, next_of(&partial, ""), 0);
	end_fetch();
	ck_assert_ptr_null(rpc_kit_read(&call, NULL));
	rpc_kit_finish(&call, &status);
	ck_assert_int_eq(status.code, GRPC_STATUS_NOT_FOUND);
}
END_TEST

START_TEST(test_who_waits_when_the_daemon_stops_has_an_answer)
{
	enum { CALLS = 100 };
	static struct rpc_kit_call calls[CALLS];
	uint64_t next = next_of(&whole, ME), begin_ms = clock_ms();

	for (unsigned i = 0; i < CALLS; i++) {
		open_by(&calls[i], &client, &whole, ME, next, LONG, LONG);
		rpc_kit_await_headers(&calls[i]);
	}
	daemon_kit_halt(&kit);
	for (unsigned i = 0; i < CALLS; i++) {
		P2p__V1__HaveResponse *answer = read_answer(&calls[i]);

		ck_assert(answer->complete);
		drop(answer);
	}
	ck_assert_uint_lt(clock_ms() - begin_ms, SOON);
	daemon_kit_again(&kit, "");
}
END_TEST

/* As many as there may be: RPC_WAITS_MAX, RPC_STREAMS_MAX on a connection. */
#define CONNECTIONS 8
#define PER         128

START_TEST(test_a_thousand_waits_leave_nothing)
{
	static struct rpc_kit by[CONNECTIONS];
	static struct rpc_kit_call calls[CONNECTIONS][PER];

	begin_fetch(0);
	uint64_t next = next_of(&partial, "");
	size_t before = daemon_kit_descriptors("socket:");
	for (unsigned c = 0; c < CONNECTIONS; c++) {
		rpc_kit_connect(&by[c], daemon_rpc_port(kit.daemon));
		for (unsigned i = 0; i < PER; i++)
			open_by(&calls[c][i], &by[c], &partial, "", next, LONG, LONG);
		for (unsigned i = 0; i < PER; i++)
			rpc_kit_await_headers(&calls[c][i]);
	}
	/* Another is refused if it has to wait, and not held up if it has not. */
	uint64_t begin_ms = clock_ms();
	struct rpc_kit_call more;
	open_by(&more, &client, &partial, "", next, LONG, 0);
	ck_assert_ptr_null(rpc_kit_read(&more, NULL));
	rpc_kit_finish(&more, &status);
	ck_assert_int_eq(status.code, GRPC_STATUS_RESOURCE_EXHAUSTED);
	drop(ask(&partial, "", 0, LONG));
	drop(ask(&whole, "", 0, 0));
	ck_assert_uint_lt(clock_ms() - begin_ms, SOON);

	for (unsigned c = 0; c < CONNECTIONS; c++)
		for (unsigned i = 0; i < PER; i += 2)
			rpc_kit_cancel(&calls[c][i]);
	holding_add(holding, 1);
	for (unsigned c = 0; c < CONNECTIONS; c++) {
		for (unsigned i = 0; i < PER; i++)
			finish_either(&calls[c][i], i % 2 == 0);
		rpc_kit_close(&by[c]);
	}
	uint64_t end_ms = clock_ms() + KIT_WAIT_MS;
	while (daemon_kit_descriptors("socket:") > before)
		daemon_kit_breathe(end_ms, "the connections are closed");
	/* There is room again. */
	expect_piece(ask(&partial, "", next, LONG), 1);
	next = next_of(&partial, "");
	drop(ask(&partial, "", next, 10));
}
END_TEST

/* --- bytes of what is partly here --- */

/* Bytes of the partial content; answers how the call ended.  What comes must be theirs; *ret_len says how much. */
static int
download(uint64_t offset, uint64_t length, size_t *ret_len)
{
	P2p__V1__DownloadRequest request = P2P__V1__DOWNLOAD_REQUEST__INIT;
	P2p__V1__Content content = content_message(&partial);
	P2p__V1__FileSpec spec = P2P__V1__FILE_SPEC__INIT;
	P2p__V1__DownloadResponse *part;
	struct rpc_kit_call call;

	spec.by_case = P2P__V1__FILE_SPEC__BY_CONTENT;
	spec.content = &content;
	request.file = &spec;
	request.offset = offset;
	request.length = length;
	request.scope = P2P__V1__SCOPE__SCOPE_LOCAL;
	rpc_kit_open(&call, &client, DOWNLOAD, 0);
	rpc_kit_send(&call, &request.base);
	rpc_kit_send_end(&call);
	*ret_len = 0;
	while ((part = (P2p__V1__DownloadResponse *)rpc_kit_read(
		    &call, &p2p__v1__download_response__descriptor)) != NULL) {
		if (part->file != NULL)
			ck_assert(!part->file->is_local);
		if (part->data.len > 0)
			ck_assert_mem_eq(part->data.data, bytes + offset + *ret_len,
					 part->data.len);
		*ret_len += part->data.len;
		drop(part);
	}
	rpc_kit_finish(&call, &status);
	return status.code;
}

START_TEST(test_only_verified_bytes_of_a_partial_content_are_served)
{
	static const struct {
		uint64_t offset, length, len;
		int code;
	} rows[] = {
		{ 3 * PIECE, PIECE, PIECE, GRPC_STATUS_OK },
		{ 3 * PIECE + 7, PIECE - 8, PIECE - 8, GRPC_STATUS_OK },
		{ 4 * PIECE - 1, 1, 1, GRPC_STATUS_OK },
		{ 3 * PIECE - 1, 2, 0, GRPC_STATUS_NOT_FOUND },
		{ 3 * PIECE, PIECE + 1, 0, GRPC_STATUS_NOT_FOUND },
		{ 4 * PIECE, 1, 0, GRPC_STATUS_NOT_FOUND },
		{ 3 * PIECE, 0, 0, GRPC_STATUS_NOT_FOUND }, /* to the end */
		{ 0, 0, 0, GRPC_STATUS_NOT_FOUND },
		{ 0, SIZE, 0, GRPC_STATUS_NOT_FOUND },
		{ SIZE, 1, 0, GRPC_STATUS_OUT_OF_RANGE },
		{ UINT64_MAX, UINT64_MAX, 0, GRPC_STATUS_OUT_OF_RANGE },
	};
	size_t len;

	ck_assert_int_eq(download(3 * PIECE, PIECE, &len), GRPC_STATUS_NOT_FOUND);
	begin_fetch(3);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		ck_assert_msg(download(rows[i].offset, rows[i].length, &len) == rows[i].code,
			      "row %zu: %d %s", i, status.code, status.details);
		ck_assert_uint_eq(len, rows[i].len);
	}
	end_fetch();
	ck_assert_int_eq(download(3 * PIECE, PIECE, &len), GRPC_STATUS_NOT_FOUND);
}
END_TEST

START_TEST(test_the_layer_of_a_partial_content_is_told)
{
	P2p__V1__LayerRequest request = P2P__V1__LAYER_REQUEST__INIT;
	P2p__V1__Content content = content_message(&partial);

	begin_fetch(0);
	request.content = &content;
	request.piece = PIECE;
	P2p__V1__LayerResponse *answer = (P2p__V1__LayerResponse *)rpc_kit_unary(
	    &client, LAYER, &request.base, &p2p__v1__layer_response__descriptor, 0, &status);
	ck_assert_ptr_nonnull(answer);
	ck_assert_uint_eq(answer->nodes.len, PIECES * DIGEST_BYTES);
	ck_assert_mem_eq(answer->nodes.data, layer, PIECES * DIGEST_BYTES);
	drop(answer);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("rpc_have");
	TCase *tcase = tcase_create("have");

	tcase_set_timeout(tcase, 60);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, test_a_whole_content_is_complete);
	tcase_add_test(tcase, test_a_content_that_is_being_fetched_is_told_piece_by_piece);
	tcase_add_test(tcase, test_those_who_follow_hear_of_each_other_and_of_what_is_sent);
	tcase_add_test(tcase, test_a_question_waits_until_there_is_a_piece);
	tcase_add_test(tcase, test_a_question_is_answered_when_its_time_is_over);
	tcase_add_test(tcase, test_a_deadline_and_a_cancel_end_a_wait);
	tcase_add_test(tcase, test_pieces_and_cancels_may_meet);
	tcase_add_test(tcase, test_who_waits_for_a_fetch_that_ends_is_told);
	tcase_add_test(tcase, test_who_waits_when_the_daemon_stops_has_an_answer);
	tcase_add_test(tcase, test_a_thousand_waits_leave_nothing);
	tcase_add_test(tcase, test_only_verified_bytes_of_a_partial_content_are_served);
	tcase_add_test(tcase, test_the_layer_of_a_partial_content_is_told);
	suite_add_tcase(suite, tcase);

	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed > 0;
}
