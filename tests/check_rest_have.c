/* SPDX-License-Identifier: MIT
 *
 * check_rest_have.c - contents that are still being fetched, and questions about them that wait:
 * over a real daemon, by raw sockets and by our own client.
 */
#include <arpa/inet.h>
#include <check.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "daemon_kit.h"
#include "holdings_inner.h"
#include "mem.h"
#include "merkle.h"
#include "rest_client.h"
#include "service_internal.h"

#define SIZE       (10u * MERKLE_PIECE_MIN + 5) /* 11 pieces */
#define PIECES     11
#define PIECE      MERKLE_PIECE_MIN
#define PEER       "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define OTHER      "baaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define ANSWER_MAX (1u << 18)
#define WAITERS    40

static struct daemon_kit kit;
static struct holdings *holdings;
static unsigned char *data;
static struct content_id content;
static char path[160]; /* of the content, with its size */
static struct holding *holding;

static void
setup(void)
{
	char hex[DIGEST_HEX_SIZE];

	daemon_kit_start(&kit, "");
	holdings = daemon_kit_service(&kit)->parts.holdings;
	data = daemon_kit_bytes(SIZE, 7);
	daemon_kit_content(data, SIZE, &content);
	digest_hex(&content.root, hex);
	snprintf(path, sizeof(path), "/v1/contents/%s%%s?size=%u", hex, SIZE);
	holding = NULL;
}

static void
teardown(void)
{
	holdings_end(holding);
	daemon_kit_stop(&kit);
	free(data);
}

/* A download of the content begins; its bytes are all there, none is verified. */
static void
begin(void)
{
	struct merkle_builder *builder = merkle_builder_new();
	struct content_id id;
	struct digest *layer;
	size_t count;
	int fd = memfd_create("partial", MFD_CLOEXEC);

	ck_assert_int_eq(merkle_builder_feed(builder, data, SIZE), P2P_OK);
	merkle_builder_end(builder, &id, &layer, &count);
	merkle_builder_free(builder);
	ck_assert_int_eq(pwrite(fd, data, SIZE, 0), SIZE);
	holding = holdings_begin(holdings, &content, fd, layer, count);
	ck_assert_ptr_nonnull(holding);
	free(layer);
}

static size_t
count_waiting(void)
{
	size_t count = 0;

	pthread_mutex_lock(&holdings->mu);
	for (size_t i = 0; i < HOLDINGS_BUCKETS; i++)
		for (struct holding *at = holdings->buckets[i]; at != NULL; at = at->next)
			for (struct holding_waiter *one = at->waiters; one != NULL; one = one->next)
				count++;
	pthread_mutex_unlock(&holdings->mu);
	return count;
}

static void
until_waiting(size_t count)
{
	uint64_t end_ms = clock_ms() + KIT_WAIT_MS;

	while (count_waiting() != count)
		daemon_kit_breathe(end_ms, "another number of waiting questions");
}

/* --- a client --- */

static int
dial(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_port = htons(daemon_rest_port(kit.daemon)),
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

/* `under` is the content, "/have" or "/layer"; `fields` end in CRLF each. */
static void
say(int fd, const char *method, const char *under, const char *query, const char *fields)
{
	char target[256];

	snprintf(target, sizeof(target), path, under);
	char *text = mem_format("%s %s%s HTTP/1.1\r\nHost: 127.0.0.1:%u\r\n%s\r\n", method, target,
				query, daemon_rest_port(kit.daemon), fields);
	ck_assert_int_eq(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
	free(text);
}

/* Until the end, or a closing brace: of JSON without objects within. */
static char *
hear(int fd, bool is_json)
{
	char *text = mem_zero(1, ANSWER_MAX);
	size_t len = 0;

	while (len < ANSWER_MAX - 1 && (!is_json || strchr(text, '}') == NULL)) {
		struct pollfd wait = { .fd = fd, .events = POLLIN };

		ck_assert_msg(poll(&wait, 1, KIT_WAIT_MS) == 1, "no answer in time: %s", text);
		ssize_t got = recv(fd, text + len, ANSWER_MAX - 1 - len, 0);
		if (got <= 0)
			break;
		len += (size_t)got;
	}
	return text;
}

static char *
ask(const char *method, const char *under, const char *query, const char *fields)
{
	char *more = mem_format("Connection: close\r\n%s", fields);
	int fd = dial();

	say(fd, method, under, query, more);
	free(more);
	char *answer = hear(fd, false);
	close(fd);
	return answer;
}

static void
expect(const char *method, const char *under, const char *query, const char *fields, int status,
       const char *part)
{
	char *answer = ask(method, under, query, fields);
	int got = 0;

	sscanf(answer, "HTTP/1.%*d %d", &got);
	ck_assert_msg(got == status, "%s %s%s (%s): %.600s", method, under, query, fields, answer);
	ck_assert_msg(part == NULL || strstr(answer, part) != NULL, "%s", answer);
	free(answer);
}

/* The `next` of an answer, as a query. */
static char *
since_of(const char *answer)
{
	char next[24] = "";
	const char *at = strstr(answer, "\"next\":\"");

	ck_assert_msg(at != NULL && sscanf(at, "\"next\":\"%23[0-9]\"", next) == 1, "%s", answer);
	return mem_format("&since=%s", next);
}

static char *
first_since(const char *query)
{
	char *answer = ask("GET", "/have", query, "");
	char *since = since_of(answer);

	free(answer);
	return since;
}

/* --- what is held --- */

START_TEST(test_a_whole_content_is_complete)
{
	expect("GET", "/have", "", "", 404, "\"slug\":\"not-found\"");
	daemon_kit_write(&kit, "whole", data, SIZE);
	daemon_kit_wait_file(&kit, "whole", SIZE);
	expect("GET", "/have", "", "", 200,
	       "\"complete\":true,\"next\":\"0\",\"full\":true,\"pieces\":[],\"coming\":[],"
	       "\"peers\":[]}");
	char *answer = ask("GET", "/have", "&peer=" PEER, "");
	ck_assert_ptr_null(strstr(answer, "\"next\":\"0\""));
	ck_assert_ptr_nonnull(strstr(answer, "\"peers\":[]}"));
	free(answer);
	expect("GET", "/have", "&peer=" OTHER, "", 200, "\"peers\":[\"" PEER "\"]}");
	/* What is sent is told to those who follow. */
	expect("GET", "", "", "Range: bytes=65535-65536\r\n", 206, NULL);
	expect("GET", "/have", "&peer=" OTHER, "", 200, "\"coming\":[1,0]");
}
END_TEST

START_TEST(test_a_partial_content_tells_its_pieces_and_gives_only_these)
{
	begin();
	holding_add(holding, 1);
	holding_add(holding, 2);
	holding_add(holding, PIECES - 1);
	expect("GET", "/have", "", "", 200, "\"complete\":false");
	expect("GET", "/have", "", "", 200, "\"full\":true,\"bits\":\"6020\",\"pieces\":[]");

	expect("GET", "", "", "Range: bytes=65536-196607\r\n", 206,
	       "Content-Range: bytes 65536-196607/655365");
	expect("GET", "", "", "Range: bytes=-5\r\n", 206, NULL);
	expect("GET", "", "", "Range: bytes=65535-65536\r\n", 404, "still being fetched");
	expect("GET", "", "", "Range: bytes=655365-\r\n", 404, "still being fetched");
	expect("GET", "", "", "", 404, "still being fetched");
	expect("HEAD", "", "", "", 404, NULL);
	expect("HEAD", "", "", "Range: bytes=65536-65537\r\n", 404, NULL);
	expect("GET", "/layer", "", "", 200, "Content-Length: 352");

	int fd = dial();
	say(fd, "GET", "", "", "Range: bytes=65537-65546\r\nConnection: close\r\n");
	char *answer = hear(fd, false);
	close(fd);
	ck_assert_mem_eq(strstr(answer, "\r\n\r\n") + 4, data + 65537, 10);
	free(answer);

	holdings_end(holding);
	holding = NULL;
	expect("GET", "", "", "Range: bytes=65536-65537\r\n", 404, "has no content");
	expect("GET", "/have", "", "", 404, "has no content");
	expect("GET", "/layer", "", "", 404, "has no content");
}
END_TEST

/* Expects the hashes of leaves [first, first + count). */
static void
expect_leaves(size_t first, size_t count)
{
	struct digest leaves[PIECE / MERKLE_LEAF_BYTES];
	char query[64], length[48];
	size_t at = first * MERKLE_LEAF_BYTES, end = at + count * MERKLE_LEAF_BYTES;

	merkle_leaves(hasher_mine(), data + at, (end < SIZE ? end : SIZE) - at, leaves);
	snprintf(query, sizeof(query), "&piece=16384&first=%zu&count=%zu", first, count);
	snprintf(length, sizeof(length), "Content-Length: %zu", count * DIGEST_BYTES);
	int fd = dial();
	say(fd, "GET", "/layer", query, "Connection: close\r\n");
	char *answer = hear(fd, false);
	close(fd);
	ck_assert_msg(strstr(answer, length) != NULL, "%s", answer);
	ck_assert_ptr_nonnull(strstr(answer, "P2pd-Piece-Bytes: 16384"));
	ck_assert_mem_eq(strstr(answer, "\r\n\r\n") + 4, leaves, count * DIGEST_BYTES);
	free(answer);
}

START_TEST(test_the_leaves_of_a_verified_piece_are_told)
{
	begin();
	holding_add(holding, 1);
	holding_add(holding, PIECES - 1);
	expect_leaves(4, 4);
	expect_leaves(6, 1);
	expect_leaves((PIECES - 1) * (PIECE / MERKLE_LEAF_BYTES), 1); /* shorter than a leaf */
	expect("GET", "/layer", "&piece=16384&first=0&count=4", "", 404, "still being fetched");
}
END_TEST

START_TEST(test_leaves_that_are_no_question_are_refused)
{
	static const char *const bad[] = {
		"&piece=16384&first=4&count=5", "&piece=16384&first=4&count=0",
		"&piece=16384&first=7&count=2", "&piece=16384&first=4&count=4097",
		"&piece=16384&first=x&count=4", "&piece=16384",
		"&piece=16384&first=4",         "&piece=65536&first=0&count=1",
		"&piece=32768&first=0&count=1", "&first=0",
	};

	begin();
	holding_add(holding, 1);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		expect("GET", "/layer", bad[i], "", 400, "bad-request");
	expect("GET", "/layer", "&piece=16384&first=44&count=1", "", 416, "bad-range");
	expect("GET", "/layer", "&piece=16384&first=18446744073709551615&count=1", "", 416,
	       "bad-range");
}
END_TEST

START_TEST(test_leaves_are_hashed_for_few_at_once)
{
	struct service *service = daemon_kit_service(&kit);

	begin();
	holding_add(holding, 1);
	atomic_store(&service->leaves_under_way, SERVICE_LEAVES_MAX);
	expect("GET", "/layer", "&piece=16384&first=4&count=4", "", 429, "too-many");
	ck_assert_uint_eq(atomic_load(&service->leaves_under_way), SERVICE_LEAVES_MAX);
	atomic_store(&service->leaves_under_way, SERVICE_LEAVES_MAX - 1);
	expect_leaves(4, 4);
	ck_assert_uint_eq(atomic_load(&service->leaves_under_way), SERVICE_LEAVES_MAX - 1);
}
END_TEST

/* Whoever asked may be gone before the answer is made. */
START_TEST(test_clients_that_leave_while_leaves_are_hashed_harm_nothing)
{
	begin();
	holding_add(holding, 1);
	for (int i = 0; i < 200; i++) {
		int fd = dial();
		say(fd, "GET", "/layer", "&piece=16384&first=4&count=4", "");
		close(fd);
	}
	/* Theirs may still be under way. */
	uint64_t end_ms = clock_ms() + KIT_WAIT_MS;
	char *answer;
	while (strstr(answer = ask("GET", "/layer", "&piece=16384&first=4&count=4", ""), " 429 ")) {
		free(answer);
		daemon_kit_breathe(end_ms, "leaves are hashed for others");
	}
	free(answer);
}
END_TEST

START_TEST(test_questions_that_make_no_sense_are_refused)
{
	static const char *const bad[] = {
		"&since=x",    "&since=-1",      "&since=18446744073709551616",
		"&wait=30001", "&wait=x",        "&peer=x",
		"&peer=",      "&peer=" PEER "a"
	};

	begin();
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		expect("GET", "/have", bad[i], "", 400, "\"slug\":\"bad-request\"");
	expect("GET", "/have", "&since=18446744073709551615&peer=" PEER, "", 200, "\"full\":true");
}
END_TEST

/* --- waiting --- */

START_TEST(test_a_question_waits_for_the_next_piece_and_the_connection_goes_on)
{
	int fd = dial();

	begin();
	char *since = first_since("&peer=" PEER);
	for (int piece = 0; piece < 5; piece++) {
		char *query = mem_format("&peer=" PEER "&wait=30000%s", since), *wanted;

		say(fd, "GET", "/have", query, "");
		until_waiting(1);
		holding_add(holding, (uint64_t)piece);
		char *answer = hear(fd, true);
		wanted = mem_format("\"full\":false,\"pieces\":[%d],", piece);
		ck_assert_msg(strstr(answer, wanted) != NULL, "%s", answer);
		ck_assert_msg(strstr(answer, "Content-Length: ") != NULL, "%s", answer);
		free(since);
		since = since_of(answer);
		free(answer);
		free(wanted);
		free(query);
	}
	free(since);
	close(fd);
	until_waiting(0);
}
END_TEST

START_TEST(test_a_wait_without_news_is_over_after_its_time)
{
	begin();
	char *since = first_since("&peer=" PEER),
	     *query = mem_format("&peer=" PEER "&wait=300%s", since);
	uint64_t begun_ms = clock_ms();
	char *answer = ask("GET", "/have", query, ""), *next = since_of(answer);

	ck_assert_uint_ge(clock_ms() - begun_ms, 300);
	ck_assert_str_eq(since, next);
	ck_assert_ptr_nonnull(
	    strstr(answer, "\"full\":false,\"pieces\":[],\"coming\":[],\"peers\":[]}"));
	free(next);
	free(answer);
	free(query);
	free(since);
}
END_TEST

START_TEST(test_many_wait_and_one_piece_wakes_them_all)
{
	int fds[WAITERS];

	begin();
	char *since = first_since(""), *query = mem_format("&wait=30000%s", since);
	for (int i = 0; i < WAITERS; i++) {
		fds[i] = dial();
		say(fds[i], "GET", "/have", query, "");
	}
	until_waiting(WAITERS);
	holding_add(holding, 4);
	for (int i = 0; i < WAITERS; i++) {
		char *answer = hear(fds[i], true);

		ck_assert_msg(strstr(answer, "\"pieces\":[4]") != NULL, "%s", answer);
		free(answer);
		close(fds[i]);
	}
	until_waiting(0);
	free(query);
	free(since);
}
END_TEST

START_TEST(test_what_goes_while_somebody_waits_is_not_found)
{
	begin();
	char *since = first_since("&peer=" PEER),
	     *query = mem_format("&peer=" PEER "&wait=30000%s", since);
	int fd = dial();

	say(fd, "GET", "/have", query, "");
	until_waiting(1);
	holdings_end(holding);
	holding = NULL;
	char *answer = hear(fd, true);
	ck_assert_msg(strncmp(answer, "HTTP/1.1 404 ", 13) == 0, "%s", answer);
	close(fd);
	free(answer);
	free(query);
	free(since);
}
END_TEST

START_TEST(test_what_becomes_whole_while_somebody_waits_is_complete)
{
	begin();
	char *since = first_since("&peer=" PEER),
	     *query = mem_format("&peer=" PEER "&wait=30000%s", since);
	int fd = dial();

	say(fd, "GET", "/have", query, "");
	until_waiting(1);
	daemon_kit_write(&kit, "whole", data, SIZE);
	daemon_kit_wait_file(&kit, "whole", SIZE);
	holdings_end(holding);
	holding = NULL;
	char *answer = hear(fd, true);
	ck_assert_msg(strstr(answer, "\"complete\":true") != NULL, "%s", answer);
	ck_assert_ptr_null(strstr(answer, "\"next\":\"0\""));
	close(fd);
	free(answer);
	free(query);
	free(since);
}
END_TEST

START_TEST(test_a_client_that_leaves_is_forgotten_soon)
{
	begin();
	char *since = first_since(""), *query = mem_format("&wait=30000%s", since);

	for (int way = 0; way < 2; way++) {
		int fd = dial();

		say(fd, "GET", "/have", query, "");
		until_waiting(1);
		if (way == 1) { /* torn, not closed */
			struct linger linger = { .l_onoff = 1 };
			setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
		}
		uint64_t begun_ms = clock_ms();
		close(fd);
		until_waiting(0);
		ck_assert_uint_lt(clock_ms() - begun_ms, 5000); /* a second and a bit, if quiet */
	}
	free(query);
	free(since);
}
END_TEST

START_TEST(test_a_daemon_stops_while_questions_wait)
{
	int fds[WAITERS];

	daemon_kit_write(&kit, "whole", data, SIZE);
	daemon_kit_wait_file(&kit, "whole", SIZE);
	char *since = first_since("&peer=" PEER),
	     *query = mem_format("&peer=" PEER "&wait=30000%s", since);
	for (int i = 0; i < WAITERS; i++) {
		fds[i] = dial();
		say(fds[i], "GET", "/have", query, "");
	}
	until_waiting(WAITERS);
	uint64_t begun_ms = clock_ms();
	daemon_kit_halt(&kit);
	ck_assert_uint_lt(clock_ms() - begun_ms, 8000);
	for (int i = 0; i < WAITERS; i++) {
		free(hear(fds[i], false));
		close(fds[i]);
	}
	daemon_kit_again(&kit, "");
	free(query);
	free(since);
}
END_TEST

/* --- by our own client --- */

struct outcome {
	bool is_done;
	int code;
	struct holding_answer held;
};

static void
on_have(void *arg, int code, const struct error *err, struct holding_answer *answer)
{
	struct outcome *outcome = arg;

	ck_assert_int_eq(err->code, code);
	outcome->is_done = true;
	outcome->code = code;
	outcome->held = answer != NULL ? *answer : (struct holding_answer){ 0 };
}

static void
turn_until_done(struct loop *loop, struct outcome *outcome)
{
	uint64_t end_ms = clock_ms() + KIT_WAIT_MS;

	while (!outcome->is_done) {
		ck_assert_uint_lt(clock_ms(), end_ms);
		loop_turn(loop, 10);
	}
}

START_TEST(test_our_client_follows_a_holder)
{
	struct loop *loop = loop_new(NULL);
	struct transport *client = rest_client_new(loop, 1, NULL);
	struct holding_question question = { .content = content, .peer = PEER };
	struct outcome outcome = { .is_done = false };
	char address[NODE_ADDRESS_SIZE];

	node_address_make(WIRE_REST, "127.0.0.1", daemon_rest_port(kit.daemon), address);
	client->ops->have(client, address, &question, on_have, &outcome);
	turn_until_done(loop, &outcome);
	ck_assert_int_eq(outcome.code, P2P_NOT_FOUND);

	begin();
	holding_add(holding, 8);
	outcome.is_done = false;
	client->ops->have(client, address, &question, on_have, &outcome);
	turn_until_done(loop, &outcome);
	ck_assert(outcome.code == P2P_OK && outcome.held.is_full);
	ck_assert_mem_eq(outcome.held.bits, "\x00\x80", 2);
	question.since = outcome.held.next;
	holding_answer_fini(&outcome.held);

	question.wait_ms = HOLDINGS_WAIT_MAX_MS;
	outcome.is_done = false;
	client->ops->have(client, address, &question, on_have, &outcome);
	until_waiting(1);
	holding_add(holding, 0);
	turn_until_done(loop, &outcome);
	ck_assert(outcome.code == P2P_OK && !outcome.held.is_full);
	ck_assert_uint_eq(outcome.held.piece_count, 1);
	ck_assert_uint_eq(outcome.held.pieces[0], 0);
	question.since = outcome.held.next;
	holding_answer_fini(&outcome.held);

	outcome.is_done = false;
	struct transport_request *request =
	    client->ops->have(client, address, &question, on_have, &outcome);
	until_waiting(1);
	client->ops->cancel(request);
	turn_until_done(loop, &outcome);
	ck_assert_int_eq(outcome.code, P2P_CANCELLED);
	until_waiting(0);
	rest_client_free(client);
	loop_free(loop);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("rest_have");
	TCase *all = tcase_create("all");

	tcase_add_checked_fixture(all, setup, teardown);
	tcase_set_timeout(all, 60);
	tcase_add_test(all, test_a_whole_content_is_complete);
	tcase_add_test(all, test_a_partial_content_tells_its_pieces_and_gives_only_these);
	tcase_add_test(all, test_the_leaves_of_a_verified_piece_are_told);
	tcase_add_test(all, test_leaves_that_are_no_question_are_refused);
	tcase_add_test(all, test_leaves_are_hashed_for_few_at_once);
	tcase_add_test(all, test_clients_that_leave_while_leaves_are_hashed_harm_nothing);
	tcase_add_test(all, test_questions_that_make_no_sense_are_refused);
	tcase_add_test(all, test_a_question_waits_for_the_next_piece_and_the_connection_goes_on);
	tcase_add_test(all, test_a_wait_without_news_is_over_after_its_time);
	tcase_add_test(all, test_many_wait_and_one_piece_wakes_them_all);
	tcase_add_test(all, test_what_goes_while_somebody_waits_is_not_found);
	tcase_add_test(all, test_what_becomes_whole_while_somebody_waits_is_complete);
	tcase_add_test(all, test_a_client_that_leaves_is_forgotten_soon);
	tcase_add_test(all, test_a_daemon_stops_while_questions_wait);
	tcase_add_test(all, test_our_client_follows_a_holder);
	suite_add_tcase(suite, all);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
