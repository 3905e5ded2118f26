/* SPDX-License-Identifier: MIT
 *
 * check_rest_client.c - the HTTP transport against a server that says exactly what a script says,
 * byte by byte.
 */
#include "rest_client.h"

#include <arpa/inet.h>
#include <check.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "mem.h"
#include "merkle.h"
#include "metrics.h"
#include "wire_json.h"

#define ID      "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define ROOT    "0101010101010101010101010101010101010101010101010101010101010101"
#define WAIT_MS 8000 /* for anything at all */
#define PART    "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 4-11/16\r\nContent-Length: 8\r\n"
#define END     "Connection: close\r\n\r\n"

/* What the server answers to every request. */
struct script {
	const char *data;
	size_t len;
	size_t step;  /* bytes at a time; 0: all */
	int pause_ms; /* between two steps */
	bool hold;    /* then keep the connection open, silent */
	bool hurry;   /* the client has little time: the test is about that */
};

struct server {
	struct script script;
	int fd, stop[2];
	pthread_t thread;
	char address[NODE_ADDRESS_SIZE];
	atomic_uint accepted;
	char request[4096]; /* the newest; read it after the answer came */
};

/* True after `wait_ms`, false when the server is to stop. */
static bool
server_pause(struct server *server, int wait_ms)
{
	struct pollfd fd = { .fd = server->stop[0], .events = POLLIN };

	return poll(&fd, 1, wait_ms) == 0;
}

static void
server_answer(struct server *server, int fd)
{
	const struct script *script = &server->script;
	size_t len = 0;

	while (len < sizeof(server->request) - 1) {
		ssize_t got = recv(fd, server->request + len, sizeof(server->request) - 1 - len, 0);

		if (got <= 0)
			return;
		len += (size_t)got;
		server->request[len] = '\0';
		if (strstr(server->request, "\r\n\r\n") != NULL)
			break;
	}
	for (size_t at = 0; at < script->len;) {
		size_t step = script->step == 0 || script->step > script->len - at
				  ? script->len - at
				  : script->step;
		ssize_t sent = send(fd, script->data + at, step, MSG_NOSIGNAL);

		if (sent <= 0)
			return;
		at += (size_t)sent;
		if (script->pause_ms > 0 && !server_pause(server, script->pause_ms))
			return;
	}
	if (script->hold)
		server_pause(server, -1);
}

static void *
server_run(void *arg)
{
	struct server *server = arg;

	for (;;) {
		struct pollfd fds[2] = { { .fd = server->fd, .events = POLLIN },
					 { .fd = server->stop[0], .events = POLLIN } };

		if (poll(fds, 2, -1) <= 0 || fds[1].revents != 0)
			return NULL;
		int fd = accept(server->fd, NULL, NULL);
		atomic_fetch_add(&server->accepted, 1);
		server_answer(server, fd);
		shutdown(fd, SHUT_WR);
		close(fd);
	}
}

static void
server_start(struct server *server, const struct script *script)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(address);

	*server = (struct server){ .script = *script };
	server->fd = socket(AF_INET, SOCK_STREAM, 0);
	ck_assert_int_eq(bind(server->fd, (struct sockaddr *)&address, len), 0);
	ck_assert_int_eq(listen(server->fd, 16), 0);
	getsockname(server->fd, (struct sockaddr *)&address, &len);
	node_address_make(WIRE_REST, "127.0.0.1", ntohs(address.sin_port), server->address);
	ck_assert_int_eq(pipe(server->stop), 0);
	pthread_create(&server->thread, NULL, server_run, server);
}

static void
server_stop(struct server *server)
{
	ck_assert_int_eq(write(server->stop[1], "x", 1), 1);
	pthread_join(server->thread, NULL);
	close(server->fd);
	close(server->stop[0]);
	close(server->stop[1]);
}

/* What came of one request. */
struct outcome {
	bool is_done;
	int code;
	char text[ERROR_TEXT_MAX];
	struct node_record theirs;
	size_t known_count, layer_count;
	uint32_t round_trip_us;
	struct change_page *page;
	struct holding_answer held;
	char fed[64]; /* the first bytes */
	size_t fed_len;
	atomic_bool is_over; /* done was called: no feed may come */
	int sink_answer;
};

static void
on_done(void *arg, int code, const struct error *err)
{
	struct outcome *outcome = arg;

	ck_assert(!outcome->is_done);
	ck_assert_int_eq(err->code, code);
	outcome->is_done = true;
	outcome->code = code;
	memcpy(outcome->text, err->text, sizeof(outcome->text));
	atomic_store(&outcome->is_over, true);
}

static void
on_greet(void *arg, int code, const struct error *err, const struct transport_greeting *greeting)
{
	struct outcome *outcome = arg;

	ck_assert((greeting != NULL) == (code == P2P_OK));
	if (greeting != NULL) {
		outcome->theirs = *greeting->theirs;
		outcome->known_count = greeting->known_count;
		outcome->round_trip_us = greeting->round_trip_us;
	}
	on_done(arg, code, err);
}

static void
on_pull(void *arg, int code, const struct error *err, struct change_page *page)
{
	((struct outcome *)arg)->page = page;
	on_done(arg, code, err);
}

static void
on_layer(void *arg, int code, const struct error *err, const struct digest *layer, size_t count)
{
	ck_assert((layer != NULL) == (code == P2P_OK));
	((struct outcome *)arg)->layer_count = count;
	on_done(arg, code, err);
}

static void
on_have(void *arg, int code, const struct error *err, struct holding_answer *answer)
{
	ck_assert((answer != NULL) == (code == P2P_OK));
	if (answer != NULL)
		((struct outcome *)arg)->held = *answer;
	on_done(arg, code, err);
}

static int
feed(void *arg, const void *data, size_t len, struct error *err)
{
	struct outcome *outcome = arg;

	ck_assert(!atomic_load(&outcome->is_over));
	for (size_t i = 0; i < len; i++, outcome->fed_len++)
		if (outcome->fed_len < sizeof(outcome->fed))
			outcome->fed[outcome->fed_len] = ((const char *)data)[i];
	if (outcome->sink_answer != P2P_OK)
		return error_set(err, outcome->sink_answer, "the sink has had enough");
	return P2P_OK;
}

/* A client, a server, a loop. */
struct stage {
	struct loop *loop;
	struct transport *client;
	struct server server;
	struct outcome outcome;
};

static const struct rest_client_limits short_limits = {
	.connect_ms = 500, .answer_ms = 400, .stall_ms = 300, .stall_bps = 1000
};
/* Whatever else the machine does. */
static const struct rest_client_limits patient_limits = {
	.connect_ms = WAIT_MS, .answer_ms = WAIT_MS, .stall_ms = WAIT_MS, .stall_bps = 1
};

static void
stage_open(struct stage *stage, const struct script *script)
{
	memset(stage, 0, sizeof(*stage));
	stage->loop = loop_new(NULL);
	stage->client = rest_client_new(stage->loop, 2, NULL);
	rest_client_limit(stage->client, script->hurry ? &short_limits : &patient_limits);
	server_start(&stage->server, script);
}

static void
stage_wait(struct stage *stage)
{
	uint64_t until_ms = clock_ms() + WAIT_MS;

	while (!stage->outcome.is_done && clock_ms() < until_ms)
		loop_turn(stage->loop, 50);
	ck_assert(stage->outcome.is_done);
}

static void
stage_close(struct stage *stage)
{
	rest_client_free(stage->client);
	server_stop(&stage->server);
	loop_free(stage->loop);
	change_page_free(stage->outcome.page);
	holding_answer_fini(&stage->outcome.held);
}

static struct content_id
content(uint64_t size)
{
	struct content_id id = { .size_bytes = size };

	memset(id.root.bytes, 1, sizeof(id.root.bytes));
	return id;
}

static struct transport_request *
start_read(struct stage *stage, uint64_t size, uint64_t offset, uint64_t len)
{
	struct content_id id = content(size);
	struct transport_sink sink = { .feed = feed, .arg = &stage->outcome };

	return stage->client->ops->read(stage->client, stage->server.address, &id, offset, len,
					&sink, on_done, &stage->outcome);
}

static struct script
text_script(const char *text)
{
	return (struct script){ .data = text, .len = strlen(text) };
}

/* Reads [4, 12) of 16 bytes; what the sink got is in the stage's outcome afterwards. */
static void
read_once(struct stage *stage, const struct script *script)
{
	stage_open(stage, script);
	start_read(stage, 16, 4, 8);
	stage_wait(stage);
	stage_close(stage);
}

static void
expect_read(const char *answer, int code, size_t fed)
{
	struct stage stage;
	struct script script = text_script(answer);

	read_once(&stage, &script);
	ck_assert_msg(stage.outcome.code == code, "%s instead of %s: %s\n%s",
		      code_slug(stage.outcome.code), code_slug(code), stage.outcome.text, answer);
	ck_assert_uint_eq(stage.outcome.fed_len, fed);
	if (code != P2P_OK)
		ck_assert_ptr_nonnull(strstr(stage.outcome.text, stage.server.address));
}

START_TEST(test_a_range_reaches_the_sink)
{
	struct stage stage;
	struct script script = text_script(PART "ETag: \"" ROOT "\"\r\n" END "45678901");
	uint64_t before = metrics_get(METRIC_REST_BYTES_IN);

	read_once(&stage, &script);
	ck_assert_int_eq(stage.outcome.code, P2P_OK);
	ck_assert_mem_eq(stage.outcome.fed, "45678901", 8);
	ck_assert_uint_eq(metrics_get(METRIC_REST_BYTES_IN) - before, 8);
	ck_assert_ptr_nonnull(
	    strstr(stage.server.request, "GET /v1/contents/" ROOT "?size=16 HTTP/1.1\r\n"));
	ck_assert_ptr_nonnull(strstr(stage.server.request, "Range: bytes=4-11\r\n"));
	ck_assert_ptr_nonnull(strstr(stage.server.request, "User-Agent: p2pd/"));
	ck_assert_ptr_null(strstr(stage.server.request, "Accept-Encoding"));
}
END_TEST

START_TEST(test_a_whole_content_may_come_as_200)
{
	struct stage stage;
	struct script script =
	    text_script("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n" END "12345678");

	stage_open(&stage, &script);
	start_read(&stage, 8, 0, 8);
	stage_wait(&stage);
	ck_assert_int_eq(stage.outcome.code, P2P_OK);
	ck_assert_uint_eq(stage.outcome.fed_len, 8);
	stage_close(&stage);
}
END_TEST

START_TEST(test_answers_that_do_not_fit_feed_nothing)
{
	expect_read("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n" END "45678901", P2P_BAD_ANSWER, 0);
	expect_read("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n" END "<html>oh no</html>",
		    P2P_BAD_ANSWER, 0);
	expect_read("HTTP/1.1 206 P\r\nContent-Range: bytes 0-7/16\r\n" END "01234567",
		    P2P_BAD_ANSWER, 0);
	expect_read("HTTP/1.1 206 P\r\nContent-Range: bytes 4-11/17\r\n" END "45678901",
		    P2P_BAD_ANSWER, 0);
	expect_read("HTTP/1.1 206 P\r\nContent-Range: bytes 4-11/*\r\n" END "45678901",
		    P2P_BAD_ANSWER, 0);
	expect_read("HTTP/1.1 206 P\r\n" END "45678901", P2P_BAD_ANSWER, 0);
	expect_read(PART "Content-Range: bytes 4-11/16\r\n" END "45678901", P2P_BAD_ANSWER, 0);
	expect_read(PART "ETag: \"00\"\r\n" END "45678901", P2P_BAD_ANSWER, 0);
	expect_read("HTTP/1.1 206 P\r\nContent-Range: bytes 4-11/16\r\nContent-Length: 9\r\n" END
		    "456789012",
		    P2P_BAD_ANSWER, 0);
	expect_read("HTTP/1.1 204 No Content\r\n" END, P2P_BAD_ANSWER, 0);
	expect_read(
	    "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n" END,
	    P2P_BAD_ANSWER, 0);
	expect_read("HTTP/1.1 404 Not Found\r\n" END "<html>", P2P_BAD_ANSWER, 0);
	expect_read("this is no HTTP at all\r\n\r\n", P2P_BAD_ANSWER, 0);
}
END_TEST

START_TEST(test_too_many_and_too_few_bytes)
{
	static const char chunked[] = "HTTP/1.1 206 P\r\nContent-Range: bytes 4-11/16\r\n"
				      "Transfer-Encoding: chunked\r\n" END;
	char text[512];

	snprintf(text, sizeof(text), "%s4\r\n4567\r\n5\r\n89012\r\n0\r\n\r\n", chunked);
	struct stage stage;
	struct script script = text_script(text);
	read_once(&stage, &script);
	ck_assert_int_eq(stage.outcome.code, P2P_BAD_ANSWER);
	ck_assert_uint_le(stage.outcome.fed_len, 8);

	snprintf(text, sizeof(text), "%s4\r\n4567\r\n0\r\n\r\n", chunked);
	expect_read(text, P2P_BAD_ANSWER, 4);
	/* The connection broke: nobody lied. */
	expect_read(PART END "4567", P2P_UNREACHABLE, 4);
}
END_TEST

START_TEST(test_a_break_at_every_byte_of_the_header_is_no_success)
{
	static const char answer[] = PART "ETag: \"" ROOT "\"\r\n" END "45678901";
	struct stage stage;

	for (size_t len = 0; len < sizeof(answer) - 1; len++) {
		struct script script = { .data = answer, .len = len };

		read_once(&stage, &script);
		ck_assert_msg(stage.outcome.code == P2P_UNREACHABLE ||
				  stage.outcome.code == P2P_BAD_ANSWER,
			      "%s after %zu bytes", code_slug(stage.outcome.code), len);
		ck_assert_uint_lt(stage.outcome.fed_len, 8);
	}
}
END_TEST

START_TEST(test_a_stall_and_a_drip_end_in_time)
{
	struct stage stage;
	struct script stall = {
		.data = PART END "45", .len = strlen(PART END "45"), .hold = true, .hurry = true
	};
	struct script drip = { .data = PART END "45678901",
			       .len = strlen(PART END "45678901"),
			       .step = 1,
			       .pause_ms = 20,
			       .hurry = true };
	struct script mute = { .hold = true, .hurry = true };
	const struct script *const scripts[] = { &stall, &drip, &mute };

	for (size_t i = 0; i < 3; i++) {
		uint64_t begin_ms = clock_ms();

		read_once(&stage, scripts[i]);
		ck_assert_int_eq(stage.outcome.code, P2P_TIMEOUT);
		ck_assert_uint_ge(clock_ms() - begin_ms, short_limits.stall_ms - 50);
		ck_assert_uint_le(clock_ms() - begin_ms, 4 * short_limits.stall_ms + 1000);
	}
}
END_TEST

START_TEST(test_a_slow_but_steady_peer_is_not_ended)
{
	enum { SIZE = 6000 };
	static char text[SIZE + 128];
	struct stage stage;
	int head =
	    snprintf(text, sizeof(text), "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n" END, SIZE);
	struct script script = {
		.data = text,
		.len = (size_t)head + SIZE,
		.step = 100,
		.pause_ms = 20,
		.hurry = true,
	};

	memset(text + head, 'x', SIZE);
	stage_open(&stage, &script);
	start_read(&stage, SIZE, 0, SIZE);
	stage_wait(&stage);
	ck_assert_msg(stage.outcome.code == P2P_OK, "%s", stage.outcome.text);
	ck_assert_uint_eq(stage.outcome.fed_len, SIZE);
	stage_close(&stage);
}
END_TEST

START_TEST(test_a_cancel_at_any_time_ends_with_cancelled)
{
	struct script script = { .data = PART END "45678901",
				 .len = strlen(PART END "45678901"),
				 .step = 16,
				 .pause_ms = 1 };
	struct stage stage;

	stage_open(&stage, &script);
	for (int turns = 0; turns < 40; turns++) {
		memset(&stage.outcome, 0, sizeof(stage.outcome));
		struct transport_request *request = start_read(&stage, 16, 4, 8);
		uint64_t until_ms = clock_ms() + (uint64_t)turns / 4;
		while (clock_ms() < until_ms) /* the loop stands still, so the request is alive */
			sched_yield();
		stage.client->ops->cancel(request);
		ck_assert(!stage.outcome.is_done);
		stage_wait(&stage);
		ck_assert_int_eq(stage.outcome.code, P2P_CANCELLED);
	}
	stage_close(&stage);
}
END_TEST

START_TEST(test_a_sink_ends_the_read_with_its_own_code)
{
	struct script script = text_script(PART END "45678901");
	struct stage stage;

	stage_open(&stage, &script);
	stage.outcome.sink_answer = P2P_NO_SPACE;
	start_read(&stage, 16, 4, 8);
	stage_wait(&stage);
	ck_assert_int_eq(stage.outcome.code, P2P_NO_SPACE);
	ck_assert_str_eq(stage.outcome.text, "the sink has had enough");
	stage_close(&stage);
}
END_TEST

START_TEST(test_a_problem_becomes_its_code_but_not_one_of_our_own)
{
	expect_read("HTTP/1.1 404 N\r\nContent-Type: application/problem+json\r\n" END
		    "{\"type\":\"about:blank\",\"title\":\"No such "
		    "thing\",\"status\":404,\"detail\":\"gone\",\"slug\":\"not-found\"}",
		    P2P_NOT_FOUND, 0);
	expect_read("HTTP/1.1 507 N\r\nContent-Type: application/problem+json\r\n" END
		    "{\"type\":\"about:blank\",\"title\":\"The disk is "
		    "full\",\"status\":507,\"detail\":\"full\",\"slug\":\"no-space\"}",
		    P2P_UNREACHABLE, 0);
}
END_TEST

START_TEST(test_nobody_there_is_unreachable)
{
	struct script script = { 0 };
	struct stage stage;

	stage_open(&stage, &script);
	/* A port that was ours a moment ago. */
	shutdown(stage.server.fd, SHUT_RD);
	struct notice notice = { .peer = ID, .epoch = 1, .seq = 1 };
	stage.client->ops->notify(stage.client, "http://127.0.0.1:1", &notice, on_done,
				  &stage.outcome);
	stage_wait(&stage);
	ck_assert_int_eq(stage.outcome.code, P2P_UNREACHABLE);
	stage_close(&stage);
}
END_TEST

START_TEST(test_refused_addresses_see_no_connection)
{
	struct script script = text_script(PART END "45678901");
	struct stage stage;

	stage_open(&stage, &script);
	const char *port = strrchr(stage.server.address, ':');
	struct address_guard own = { 0 }, private = { .refuse_private = true };
	address_guard_own(&own, "127.0.0.1", (uint16_t)atoi(port + 1));
	for (int i = 0; i < 2; i++) {
		rest_client_guard(stage.client, i == 0 ? &own : &private);
		memset(&stage.outcome, 0, sizeof(stage.outcome));
		start_read(&stage, 16, 4, 8);
		stage_wait(&stage);
		ck_assert_int_eq(stage.outcome.code, P2P_UNREACHABLE);
		ck_assert_ptr_nonnull(strstr(stage.outcome.text, "no connection goes to"));
	}
	/* By name too. */
	memset(&stage.outcome, 0, sizeof(stage.outcome));
	snprintf(stage.server.address, sizeof(stage.server.address), "http://localhost%s", port);
	start_read(&stage, 16, 4, 8);
	stage_wait(&stage);
	ck_assert_int_eq(stage.outcome.code, P2P_UNREACHABLE);
	ck_assert_uint_eq(atomic_load(&stage.server.accepted), 0);
	stage_close(&stage);
}
END_TEST

/* Greets a server that answers `body`. */
static void
greet_once(struct stage *stage, const char *head, const char *body, size_t len)
{
	char *text = mem_alloc(len + 256);
	int head_len = snprintf(text, 256, "%s", head);
	struct node_hello hello = {
		.node = { .id = ID, .name = "me", .version = "1" },
		.view = { .is_told = true, .sums = { 7 } },
	};

	memcpy(text + head_len, body, len);
	stage_open(stage, &(struct script){ .data = text, .len = (size_t)head_len + len });
	stage->client->ops->greet(stage->client, stage->server.address, &hello, on_greet,
				  &stage->outcome);
	stage_wait(stage);
	stage_close(stage);
	free(text);
}

START_TEST(test_a_greeting_gives_both_sides_records)
{
	struct node_record records[2] = {
		{ .id = ID,
		  .name = "a",
		  .version = "1",
		  .address_count = 1,
		  .addresses = { "http://10.0.0.1:5001" },
		  .epoch = 3,
		  .seq = 4 },
		{ .id = "baaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
		  .name = "b",
		  .version = "1" }
	};
	char *body = wire_register_answer(&records[0], &records[1], 1);
	struct stage stage;

	greet_once(&stage, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n" END, body,
		   strlen(body));
	ck_assert_msg(stage.outcome.code == P2P_OK, "%s", stage.outcome.text);
	ck_assert_str_eq(stage.outcome.theirs.name, "a");
	ck_assert_uint_eq(stage.outcome.theirs.seq, 4);
	ck_assert_uint_eq(stage.outcome.known_count, 1);
	ck_assert_uint_gt(stage.outcome.round_trip_us, 0);
	ck_assert_ptr_nonnull(strstr(stage.server.request, "POST /v1/peers HTTP/1.1\r\n"));
	ck_assert_ptr_nonnull(strstr(stage.server.request, "Content-Type: application/json\r\n"));
	ck_assert_ptr_nonnull(strstr(stage.server.request, "\"view\":[7,0,"));
	free(body);
}
END_TEST

START_TEST(test_greetings_that_make_no_sense_are_bad_answers)
{
	struct stage stage;
	size_t big = WIRE_JSON_MAX + 4096;
	char *body = mem_alloc(big);

	memset(body, ' ', big);
	greet_once(&stage, "HTTP/1.1 200 OK\r\n" END, body, big);
	ck_assert_int_eq(stage.outcome.code, P2P_BAD_ANSWER);
	greet_once(&stage, "HTTP/1.1 200 OK\r\n" END, "<html>", 6);
	ck_assert_int_eq(stage.outcome.code, P2P_BAD_ANSWER);
	greet_once(&stage, "HTTP/1.1 200 OK\r\n" END, "", 0);
	ck_assert_int_eq(stage.outcome.code, P2P_BAD_ANSWER);
	free(body);
}
END_TEST

START_TEST(test_an_endless_header_and_a_slow_one_end)
{
	enum { LINES = 4000 };
	static char text[LINES * 40];
	size_t len = (size_t)sprintf(text, "HTTP/1.1 200 OK\r\n");
	struct notice notice = { .peer = ID, .epoch = 1, .seq = 1 };
	struct stage stage;

	for (int i = 0; i < LINES; i++)
		len += (size_t)sprintf(text + len, "X-%d: 0123456789012345678\r\n", i);
	for (int slow = 0; slow < 2; slow++) {
		stage_open(&stage, &(struct script){ .data = text,
						     .len = len,
						     .step = slow ? 1 : 0,
						     .pause_ms = slow ? 10 : 0,
						     .hurry = slow });
		stage.client->ops->notify(stage.client, stage.server.address, &notice, on_done,
					  &stage.outcome);
		stage_wait(&stage);
		ck_assert_int_eq(stage.outcome.code, slow ? P2P_TIMEOUT : P2P_BAD_ANSWER);
		stage_close(&stage);
	}
}
END_TEST

START_TEST(test_a_layer_has_exactly_its_nodes)
{
	static char text[256];
	int head = snprintf(text, sizeof(text),
			    "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n" END);
	struct content_id id = content(3 * MERKLE_PIECE_MIN);
	struct stage stage;

	for (int bytes = 95; bytes <= 97; bytes++) {
		stage_open(&stage, &(struct script){ .data = text, .len = (size_t)(head + bytes) });
		stage.client->ops->layer(stage.client, stage.server.address, &id, MERKLE_PIECE_MIN,
					 on_layer, &stage.outcome);
		stage_wait(&stage);
		ck_assert_int_eq(stage.outcome.code, bytes == 96 ? P2P_OK : P2P_BAD_ANSWER);
		ck_assert_uint_eq(stage.outcome.layer_count, bytes == 96 ? 3 : 0);
		stage_close(&stage);
	}
}
END_TEST

START_TEST(test_leaves_are_exactly_those_that_were_asked_for)
{
	static char text[256];
	int head = snprintf(text, sizeof(text),
			    "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n" END);
	struct content_id id = content(3 * MERKLE_PIECE_MIN);
	struct stage stage;

	for (int bytes = 95; bytes <= 97; bytes++) {
		stage_open(&stage, &(struct script){ .data = text, .len = (size_t)(head + bytes) });
		stage.client->ops->leaves(stage.client, stage.server.address, &id, 4, 3, on_layer,
					  &stage.outcome);
		stage_wait(&stage);
		ck_assert_int_eq(stage.outcome.code, bytes == 96 ? P2P_OK : P2P_BAD_ANSWER);
		ck_assert_uint_eq(stage.outcome.layer_count, bytes == 96 ? 3 : 0);
		stage_close(&stage);
	}
}
END_TEST

START_TEST(test_a_pull_gives_the_page)
{
	struct change_page *page = change_page_new();
	struct change change = {
		.seq = 1, .name = (char *)"x", .content = content(5), .mode = 0644
	};
	struct change_question question = {
		.peer = ID, .epoch = 7, .since = 8, .begun = 10, .limit = 9
	};
	struct stage stage;
	char text[4096];

	strcpy(page->peer, ID);
	page->epoch = page->through = page->head = 1;
	page->is_reset = true;
	change_page_add(page, &change);
	char *body = wire_changes(page);
	snprintf(text, sizeof(text), "HTTP/1.1 200 OK\r\n" END "%s", body);
	stage_open(&stage, &(struct script){ .data = text, .len = strlen(text) });
	stage.client->ops->pull(stage.client, stage.server.address, &question, on_pull,
				&stage.outcome);
	stage_wait(&stage);
	ck_assert_msg(stage.outcome.code == P2P_OK, "%s", stage.outcome.text);
	ck_assert_uint_eq(stage.outcome.page->count, 1);
	ck_assert_ptr_nonnull(strstr(stage.server.request, "GET /v1/catalog?peer=" ID
							   "&epoch=7&since=8&begun=10&limit=9 "));
	stage_close(&stage);
	change_page_free(page);
	free(body);
}
END_TEST

/* --- batches --- */

struct three {
	struct batch batch;
	struct batch_content contents[3];
	unsigned char data[16];
	unsigned told;
	unsigned refused_at; /* arrived() refuses this one; 0: none */
};

static int
on_arrived(void *arg, size_t index, struct error *err)
{
	struct three *three = arg;

	ck_assert_uint_eq(index, three->told);
	if (++three->told == three->refused_at)
		return error_set(err, P2P_BAD_CONTENT, "these are others");
	return P2P_OK;
}

/* Asks for contents of 4, 0 and 8 bytes. */
static void
ask_for_three(struct stage *stage, struct three *three, const struct script *script)
{
	static const unsigned char sizes[] = { 4, 0, 8 };

	for (size_t i = 0; i < 3; i++)
		three->contents[i] =
		    (struct batch_content){ .id = content(sizes[i]), .data = three->data + 4 * i };
	merkle_empty_root(&three->contents[1].id.root);
	three->batch = (struct batch){
		.contents = three->contents, .count = 3, .arrived = on_arrived, .arg = three
	};
	stage_open(stage, script);
	stage->client->ops->batch(stage->client, stage->server.address, &three->batch, on_done,
				  &stage->outcome);
	stage_wait(stage);
	stage_close(stage);
}

static void
expect_three(const char *head, const char *body, size_t len, int code, unsigned told)
{
	struct stage stage;
	struct three three = { .told = 0 };
	char *text = mem_alloc(strlen(head) + len + 1);

	memcpy(stpcpy(text, head), body, len);
	struct script script = {
		.data = text, .len = strlen(head) + len, .step = 3, .pause_ms = 1
	};
	ask_for_three(&stage, &three, &script);
	ck_assert_msg(stage.outcome.code == code, "%s instead of %s: %s",
		      code_slug(stage.outcome.code), code_slug(code), stage.outcome.text);
	ck_assert_uint_eq(three.told, told);
	free(text);
}

#define STREAM "HTTP/1.1 200 OK\r\n" END
#define THREE  "\0\310abcd\1\224\0\31012345678"

START_TEST(test_a_batch_is_told_content_by_content)
{
	struct stage stage;
	struct three three = { .told = 0 };
	static const char text[] = STREAM THREE;
	struct script script = { .data = text, .len = sizeof(text) - 1 };

	ask_for_three(&stage, &three, &script);
	ck_assert_int_eq(stage.outcome.code, P2P_OK);
	ck_assert_uint_eq(three.told, 3);
	ck_assert_int_eq(three.contents[0].code, P2P_OK);
	ck_assert_int_eq(three.contents[1].code, P2P_NOT_FOUND);
	ck_assert_int_eq(three.contents[2].code, P2P_OK);
	ck_assert_mem_eq(three.data, "abcd", 4);
	ck_assert_mem_eq(three.data + 8, "12345678", 8);
	ck_assert_ptr_nonnull(strstr(stage.server.request, "POST /v1/contents/batch HTTP/1.1\r\n"));
	expect_three(STREAM, THREE, sizeof(THREE) - 1, P2P_OK, 3);
}
END_TEST

START_TEST(test_answers_to_a_batch_that_make_no_sense_end_it)
{
	struct stage stage;
	struct three three = { .refused_at = 2 };
	static const char text[] = STREAM THREE;
	struct script script = { .data = text, .len = sizeof(text) - 1 };

	/* Cut at every byte. */
	for (size_t len = 0; len < sizeof(THREE) - 1; len++)
		expect_three(STREAM, THREE, len, P2P_BAD_ANSWER, len < 6 ? 0 : len < 8 ? 1 : 2);
	expect_three(STREAM, THREE "x", sizeof(THREE), P2P_BAD_ANSWER, 3);
	expect_three(STREAM, "\0\311abcd", 6, P2P_BAD_ANSWER, 0);
	expect_three(STREAM, "<html><body>Please log in.", 26, P2P_BAD_ANSWER, 0);
	expect_three("HTTP/1.1 204 No Content\r\n" END, "", 0, P2P_BAD_ANSWER, 0);
	expect_three("HTTP/1.1 206 Partial Content\r\n" END, THREE, sizeof(THREE) - 1,
		     P2P_BAD_ANSWER, 0);
	expect_three("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n" END, "", 0, P2P_BAD_ANSWER,
		     0);
	/* And what the caller does not believe. */
	ask_for_three(&stage, &three, &script);
	ck_assert_int_eq(stage.outcome.code, P2P_BAD_CONTENT);
	ck_assert_uint_eq(three.told, 2);
}
END_TEST

START_TEST(test_the_end_ends_all_and_later_requests_too)
{
	struct script script = { .hold = true };
	struct stage stage;

	stage_open(&stage, &script);
	start_read(&stage, 16, 4, 8);
	stage_close(&stage);
	ck_assert(stage.outcome.is_done);
	ck_assert_int_eq(stage.outcome.code, P2P_SHUTTING_DOWN);
}
END_TEST

/* --- what is held --- */

#define HELD_SIZE   (20u * MERKLE_PIECE_MIN - 1) /* 20 pieces */
#define HELD_HEAD   "{\"size\":1310719,\"root\":\"" ROOT "\","
#define HELD_PEER   "\"" ID "\""
#define HELD_HEADER "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n" END

static struct transport_request *
start_have(struct stage *stage, uint64_t since, uint32_t wait_ms, const char *peer)
{
	struct holding_question question = { .content = content(HELD_SIZE),
					     .since = since,
					     .wait_ms = wait_ms };

	snprintf(question.peer, sizeof(question.peer), "%s", peer);
	return stage->client->ops->have(stage->client, stage->server.address, &question, on_have,
					&stage->outcome);
}

START_TEST(test_what_is_held_is_asked_for_and_told)
{
	struct stage stage;
	struct script script = text_script(
	    HELD_HEADER HELD_HEAD
	    "\"complete\":false,\"next\":\"18446744073709551615\",\"full\":true,"
	    "\"bits\":\"80a010\",\"pieces\":[],\"coming\":[3,19],\"peers\":[" HELD_PEER "]}");

	stage_open(&stage, &script);
	start_have(&stage, 1ull << 63, 0, ID);
	stage_wait(&stage);
	ck_assert_msg(stage.outcome.code == P2P_OK, "%s", stage.outcome.text);
	const struct holding_answer *held = &stage.outcome.held;
	ck_assert(held->is_full && !held->is_whole);
	ck_assert_uint_eq(held->next, UINT64_MAX);
	ck_assert_uint_eq(held->bits_len, 3);
	ck_assert_mem_eq(held->bits, "\x80\xa0\x10", 3);
	ck_assert_uint_eq(held->piece_count, 0);
	ck_assert_uint_eq(held->coming_count, 2);
	ck_assert(held->coming[0] == 3 && held->coming[1] == 19);
	ck_assert_uint_eq(held->peer_count, 1);
	ck_assert_str_eq(held->peers[0], ID);
	ck_assert_ptr_nonnull(strstr(stage.server.request,
				     "GET /v1/contents/" ROOT "/have?size=1310719&since="
				     "9223372036854775808&wait=0&peer=" ID " HTTP/1.1\r\n"));
	stage_close(&stage);
}
END_TEST

START_TEST(test_answers_about_what_is_held_that_make_no_sense_are_refused)
{
#define REST ",\"coming\":[],\"peers\":[]}"
	static const char *const bad[] = {
		"{}",
		"[]",
		HELD_HEAD "\"complete\":false,\"next\":\"1\",\"full\":true,\"pieces\":[]" REST,
		HELD_HEAD "\"complete\":false,\"next\":\"1\",\"full\":true,\"bits\":\"8000\","
			  "\"pieces\":[]" REST,
		HELD_HEAD "\"complete\":false,\"next\":\"1\",\"full\":true,\"bits\":\"80000000\","
			  "\"pieces\":[]" REST,
		HELD_HEAD "\"complete\":false,\"next\":\"1\",\"full\":true,\"bits\":\"800008\","
			  "\"pieces\":[]" REST,
		HELD_HEAD "\"complete\":false,\"next\":\"1\",\"full\":true,\"bits\":\"80000g\","
			  "\"pieces\":[]" REST,
		HELD_HEAD "\"complete\":false,\"next\":\"1\",\"full\":false,\"pieces\":[20]" REST,
		HELD_HEAD "\"complete\":false,\"next\":\"1\",\"full\":false,\"pieces\":[-1]" REST,
		HELD_HEAD
		"\"complete\":false,\"next\":\"1\",\"full\":false,\"pieces\":[\"1\"]" REST,
		HELD_HEAD "\"complete\":false,\"next\":\"1\",\"full\":false,\"pieces\":{}" REST,
		HELD_HEAD "\"complete\":false,\"next\":1,\"full\":false,\"pieces\":[]" REST,
		HELD_HEAD "\"complete\":false,\"next\":\"-1\",\"full\":false,\"pieces\":[]" REST,
		HELD_HEAD "\"complete\":false,\"next\":\"18446744073709551616\",\"full\":false,"
			  "\"pieces\":[]" REST,
		HELD_HEAD "\"complete\":false,\"next\":\"1\",\"full\":false,\"pieces\":[],"
			  "\"coming\":[20],\"peers\":[]}",
		HELD_HEAD "\"complete\":false,\"next\":\"1\",\"full\":false,\"pieces\":[],"
			  "\"coming\":[],\"peers\":[\"x\"]}",
		HELD_HEAD
		"\"complete\":false,\"next\":\"1\",\"full\":false,\"pieces\":[],\"coming\":[]}",
		"{\"size\":1310718,\"root\":\"" ROOT
		"\",\"complete\":true,\"next\":\"1\",\"full\":true,\"pieces\":[]" REST,
	};
	struct stage stage;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char *text = mem_format("%s%s", HELD_HEADER, bad[i]);
		struct script script = text_script(text);

		stage_open(&stage, &script);
		start_have(&stage, 0, 0, "");
		stage_wait(&stage);
		ck_assert_msg(stage.outcome.code == P2P_BAD_ANSWER, "%s: %s", bad[i],
			      stage.outcome.text);
		stage_close(&stage);
		free(text);
	}
#undef REST
}
END_TEST

/* An answer that is not full with so many pieces, or a full one with so many peers. */
static int
code_of_many(size_t pieces, size_t peers)
{
	struct stage stage;
	struct buf text;

	buf_init(&text, 8u << 20);
	buf_addf(&text, "%s%s\"complete\":%s,\"next\":\"1\",\"full\":%s,\"pieces\":[", HELD_HEADER,
		 HELD_HEAD, peers > 0 ? "true" : "false", peers > 0 ? "true" : "false");
	for (size_t i = 0; i < pieces; i++)
		buf_addf(&text, "%s%zu", i > 0 ? "," : "", i % 20);
	buf_adds(&text, "],\"coming\":[],\"peers\":[");
	for (size_t i = 0; i < peers; i++)
		buf_addf(&text, "%s%s", i > 0 ? "," : "", HELD_PEER);
	buf_adds(&text, "]}");
	struct script script = { .data = text.data, .len = text.len };
	stage_open(&stage, &script);
	start_have(&stage, 0, 0, "");
	stage_wait(&stage);
	stage_close(&stage);
	buf_fini(&text);
	return stage.outcome.code;
}

START_TEST(test_no_answer_about_what_is_held_has_more_than_it_may)
{
	ck_assert_int_eq(code_of_many(HOLDINGS_NEWS_MAX, 0), P2P_OK);
	ck_assert_int_eq(code_of_many(HOLDINGS_NEWS_MAX + 1, 0), P2P_BAD_ANSWER);
	ck_assert_int_eq(code_of_many(0, HOLDINGS_FOLLOWERS_MAX), P2P_OK);
	ck_assert_int_eq(code_of_many(0, HOLDINGS_FOLLOWERS_MAX + 1), P2P_BAD_ANSWER);
	ck_assert_int_eq(code_of_many(1000000, 0), P2P_BAD_ANSWER);
}
END_TEST

/* The answer comes long after its beginning. */
static int
code_of_late(uint32_t wait_ms)
{
	struct stage stage;
	struct script script =
	    text_script(HELD_HEADER HELD_HEAD "\"complete\":true,\"next\":\"0\",\"full\":true,"
					      "\"pieces\":[],\"coming\":[],\"peers\":[]}");

	script.step = script.len - 1;
	script.pause_ms = 900;
	script.hurry = true;
	stage_open(&stage, &script);
	start_have(&stage, 5, wait_ms, ID);
	stage_wait(&stage);
	stage_close(&stage);
	return stage.outcome.code;
}

START_TEST(test_a_question_that_may_wait_has_so_much_more_time)
{
	ck_assert_int_eq(code_of_late(0), P2P_TIMEOUT);
	ck_assert_int_eq(code_of_late(3000), P2P_OK);
}
END_TEST

START_TEST(test_a_waiting_question_is_cancelled_soon)
{
	struct stage stage;
	struct script script = { .data = "", .hold = true };

	stage_open(&stage, &script);
	struct transport_request *request = start_have(&stage, 5, HOLDINGS_WAIT_MAX_MS, ID);
	uint64_t end_ms = clock_ms() + WAIT_MS;
	while (atomic_load(&stage.server.accepted) == 0 && clock_ms() < end_ms)
		loop_turn(stage.loop, 10);
	stage.client->ops->cancel(request);
	ck_assert(!stage.outcome.is_done);
	stage_wait(&stage);
	ck_assert_int_eq(stage.outcome.code, P2P_CANCELLED);
	stage_close(&stage);
}
END_TEST

/* --- directories --- */

#define TOLD "{\"mtime_ns\":-5,\"mode\":\"0750\"}"

/* Asks about two. */
static void
expect_directories(const char *list, int code, struct directory found[2])
{
	static const char *const names[] = { "a", "a/\"b\"" };
	struct directory_question question = { .names = names, .count = 2, .found = found };
	char *text = mem_format("HTTP/1.1 200 OK\r\n" END "{\"directories\":%s}", list);
	struct script script = { .data = text, .len = strlen(text) };
	struct stage stage;

	stage_open(&stage, &script);
	stage.client->ops->directories(stage.client, stage.server.address, &question, on_done,
				       &stage.outcome);
	stage_wait(&stage);
	ck_assert_msg(stage.outcome.code == code, "%s: %s", list, stage.outcome.text);
	ck_assert_ptr_nonnull(strstr(stage.server.request, "POST /v1/directories HTTP/1.1\r\n"));
	stage_close(&stage);
	free(text);
}

START_TEST(test_directories_are_told_in_the_order_asked)
{
	struct directory found[2];

	expect_directories("[null," TOLD "]", P2P_OK, found);
	ck_assert(!found[0].is_there && found[1].is_there);
	ck_assert_int_eq(found[1].mtime_ns, -5);
	ck_assert_uint_eq(found[1].mode, 0750);
}
END_TEST

START_TEST(test_answers_about_directories_that_make_no_sense_are_refused)
{
	static const char *const lists[] = {
		"7",
		"[]",
		"[null]",
		"[null,null,null]",
		"{\"a\":" TOLD ",\"b\":" TOLD "}",
		"[" TOLD ",7]",
		"[" TOLD ",[]]",
		"[" TOLD ",{}]",
		"[" TOLD ",{\"mode\":\"0755\"}]",
		"[" TOLD ",{\"mtime_ns\":1}]",
		"[" TOLD ",{\"mtime_ns\":1,\"mode\":493}]",
		"[" TOLD ",{\"mtime_ns\":1,\"mode\":\"\"}]",
		"[" TOLD ",{\"mtime_ns\":1,\"mode\":\"-1\"}]",
		"[" TOLD ",{\"mtime_ns\":1,\"mode\":\"0789\"}]",
		"[" TOLD ",{\"mtime_ns\":1,\"mode\":\"1777\"}]",
		"[" TOLD ",{\"mtime_ns\":1,\"mode\":\"777777777777777777777777\"}]",
		"[" TOLD ",{\"mtime_ns\":1.5,\"mode\":\"0755\"}]",
		"[" TOLD ",{\"mtime_ns\":9223372036854775808,\"mode\":\"0755\"}]",
	};
	struct directory found[2];

	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
		expect_directories(lists[i], P2P_BAD_ANSWER, found);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("rest_client");
	TCase *tcase = tcase_create("rest_client");

	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, test_a_range_reaches_the_sink);
	tcase_add_test(tcase, test_a_whole_content_may_come_as_200);
	tcase_add_test(tcase, test_answers_that_do_not_fit_feed_nothing);
	tcase_add_test(tcase, test_too_many_and_too_few_bytes);
	tcase_add_test(tcase, test_a_break_at_every_byte_of_the_header_is_no_success);
	tcase_add_test(tcase, test_a_stall_and_a_drip_end_in_time);
	tcase_add_test(tcase, test_a_slow_but_steady_peer_is_not_ended);
	tcase_add_test(tcase, test_a_cancel_at_any_time_ends_with_cancelled);
	tcase_add_test(tcase, test_a_sink_ends_the_read_with_its_own_code);
	tcase_add_test(tcase, test_a_problem_becomes_its_code_but_not_one_of_our_own);
	tcase_add_test(tcase, test_nobody_there_is_unreachable);
	tcase_add_test(tcase, test_refused_addresses_see_no_connection);
	tcase_add_test(tcase, test_a_greeting_gives_both_sides_records);
	tcase_add_test(tcase, test_greetings_that_make_no_sense_are_bad_answers);
	tcase_add_test(tcase, test_an_endless_header_and_a_slow_one_end);
	tcase_add_test(tcase, test_a_layer_has_exactly_its_nodes);
	tcase_add_test(tcase, test_leaves_are_exactly_those_that_were_asked_for);
	tcase_add_test(tcase, test_a_pull_gives_the_page);
	tcase_add_test(tcase, test_a_batch_is_told_content_by_content);
	tcase_add_test(tcase, test_answers_to_a_batch_that_make_no_sense_end_it);
	tcase_add_test(tcase, test_the_end_ends_all_and_later_requests_too);
	tcase_add_test(tcase, test_what_is_held_is_asked_for_and_told);
	tcase_add_test(tcase, test_answers_about_what_is_held_that_make_no_sense_are_refused);
	tcase_add_test(tcase, test_no_answer_about_what_is_held_has_more_than_it_may);
	tcase_add_test(tcase, test_a_question_that_may_wait_has_so_much_more_time);
	tcase_add_test(tcase, test_a_waiting_question_is_cancelled_soon);
	tcase_add_test(tcase, test_directories_are_told_in_the_order_asked);
	tcase_add_test(tcase, test_answers_about_directories_that_make_no_sense_are_refused);
	suite_add_tcase(suite, tcase);

	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
