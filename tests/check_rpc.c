/* SPDX-License-Identifier: MIT
 *
 * check_rpc.c - the gRPC face itself: calls of every shape, in every state, with methods of our
 * own in the place of the table's; limits, cancelling, waking, the way down.  What the real
 * methods do is tested with each of them.
 *
 * No daemon is behind it: a loop, a pool, and what rpc.c asks of service.
 */
#include "rpc.h"

#include <arpa/inet.h>
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grpc/slice.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "health.pb-c.h"
#include "log.h"
#include "loop.h"
#include "mem.h"
#include "metrics.h"
#include "pool.h"
#include "rpc_internal.h"
#include "rpc_kit.h"

#define WAIT_MS   10000
#define FAR_BYTES (64u << 20)
#define BLOCK     (64u << 10)
#define LARGE     (4u << 20) /* bytes of a large answer */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define IS_SANITIZED true /* its own memory would be measured */
#else
#define IS_SANITIZED false
#endif

/* --- what the methods of this file saw --- */

static struct {
	atomic_uint begun, ended; /* calls of Hold and of the streams */
	atomic_uint steps;        /* that run at this moment; two of one call would be a fault */
	atomic_uint last_takes;   /* take(NULL) of a client stream */
	atomic_uint nexts;        /* of Feed */
	atomic_uint large;        /* answers of Large, and calls of it that were refused: */
	atomic_uint refused;
	atomic_bool may_go;       /* lets Hold go on */
	atomic_bool was_twice;
	char host[NODE_ADDRESS_SIZE];
} seen;

static bool
is_soon(bool (*is_so)(void *), void *arg)
{
	uint64_t end_ms = clock_ms() + WAIT_MS;

	while (!is_so(arg)) {
		if (clock_ms() > end_ms)
			return false;
		poll(NULL, 0, 1);
	}
	return true;
}

static bool
all_ended(void *arg)
{
	(void)arg;
	return atomic_load(&seen.ended) == atomic_load(&seen.begun);
}

static bool
one_begun(void *arg)
{
	return atomic_load(&seen.begun) >= *(unsigned *)arg;
}

/* --- methods --- */

typedef P2p__V1__LeaveRequest text_message;
#define TEXT &p2p__v1__leave_request__descriptor
#define DATA &p2p__v1__download_response__descriptor

struct count {
	atomic_uint steps;
	uint64_t sum;
	unsigned left;
	bool is_woken;
	pthread_t waker;
};

static struct count *
state_of(struct rpc_call *call)
{
	struct rpc_call_head *head = rpc_head(call);

	if (head->state == NULL) {
		head->state = mem_zero(1, sizeof(struct count));
		atomic_fetch_add(&seen.begun, 1);
	}
	return head->state;
}

static void
enter(struct rpc_call *call)
{
	if (atomic_fetch_add(&state_of(call)->steps, 1) != 0)
		atomic_store(&seen.was_twice, true);
}

static int
leave(struct rpc_call *call, int answer)
{
	atomic_fetch_sub(&state_of(call)->steps, 1);
	return answer;
}

static void
free_state(struct rpc_call *call)
{
	struct count *count = rpc_head(call)->state;

	if (count == NULL)
		return;
	if (atomic_load(&count->steps) != 0)
		atomic_store(&seen.was_twice, true);
	free(count);
	rpc_head(call)->state = NULL;
	atomic_fetch_add(&seen.ended, 1);
}

static void
reply_text(struct rpc_call *call, const char *text)
{
	text_message message = P2P__V1__LEAVE_REQUEST__INIT;

	message.id = (char *)text;
	rpc_reply(call, &message.base);
}

static int
echo(struct rpc_call *call, const ProtobufCMessage *message, struct error *err)
{
	(void)err;
	if (!rpc_head(call)->method->waits)
		rpc_from_host(call, seen.host);
	reply_text(call, ((const text_message *)message)->id);
	return RPC_END;
}

static int
large(struct rpc_call *call, const ProtobufCMessage *message, struct error *err)
{
	int code = rpc_check_room(call, err);

	(void)message;
	atomic_fetch_add(code == P2P_OK ? &seen.large : &seen.refused, 1);
	if (code != P2P_OK)
		return code;
	char *text = mem_alloc(LARGE + 1);
	memset(text, 'x', LARGE);
	text[LARGE] = '\0';
	reply_text(call, text);
	free(text);
	return RPC_END;
}

static int
fail_always(struct rpc_call *call, const ProtobufCMessage *message, struct error *err)
{
	(void)message;
	reply_text(call, "never sent");
	return error_set(err, P2P_NOT_FOUND, "there is no such thing");
}

/* Blocks a worker until it may go, or the call is over. */
static int
hold(struct rpc_call *call, const ProtobufCMessage *message, struct error *err)
{
	(void)message;
	enter(call);
	while (!atomic_load(&seen.may_go) && !atomic_load(&rpc_head(call)->is_over))
		poll(NULL, 0, 1);
	reply_text(call, "held");
	return leave(call, atomic_load(&seen.may_go)
			       ? RPC_END
			       : error_set(err, P2P_CANCELLED, "nobody wants to know"));
}

/* A stream of as many blocks as the text says; "0" has no end. */
static int
feed(struct rpc_call *call, const ProtobufCMessage *message, struct error *err)
{
	(void)err;
	enter(call);
	state_of(call)->left = (unsigned)atoi(((const text_message *)message)->id);
	return leave(call, RPC_MORE);
}

static int
feed_next(struct rpc_call *call, struct error *err)
{
	struct count *count = state_of(call);

	enter(call);
	atomic_fetch_add(&seen.nexts, 1);
	if (count->sum == 1000 * BLOCK)
		return leave(call, error_set(err, P2P_IO, "the disk is gone"));
	if (count->left != 0 && count->sum == (uint64_t)count->left * BLOCK)
		return leave(call, RPC_END);
	grpc_slice slice = grpc_slice_malloc(BLOCK);
	memset(GRPC_SLICE_START_PTR(slice), 'x', BLOCK);
	rpc_reply_bytes(call, 2, slice);
	count->sum += BLOCK;
	return leave(call, RPC_MORE);
}

/* Says a word each time that another thread has woken it; the text is how often. */
static void *
wake(void *arg)
{
	rpc_wake(arg);
	rpc_wake(arg);
	rpc_call_unref(arg);
	return NULL;
}

static int
wait_next(struct rpc_call *call, struct error *err)
{
	struct count *count = state_of(call);

	(void)err;
	enter(call);
	if (count->is_woken) {
		pthread_join(count->waker, NULL);
		count->is_woken = false;
		if (count->left-- == 0)
			return leave(call, RPC_END);
		reply_text(call, "woken");
		return leave(call, RPC_MORE);
	}
	count->is_woken = true;
	pthread_create(&count->waker, NULL, wake, rpc_call_ref(call));
	return leave(call, RPC_WAIT);
}

static void
wait_end(struct rpc_call *call)
{
	struct count *count = rpc_head(call)->state;

	if (count != NULL && count->is_woken)
		pthread_join(count->waker, NULL);
	free_state(call);
}

/* A stream that nobody wakes. */
static int
sleep_next(struct rpc_call *call, struct error *err)
{
	(void)call, (void)err;
	return RPC_WAIT;
}

static int
sum(struct rpc_call *call, const ProtobufCMessage *message, struct error *err)
{
	struct count *count = state_of(call);
	char text[32];

	enter(call);
	if (message != NULL) {
		size_t len = ((const P2p__V1__UploadRequest *)message)->data.len;
		if (len == 7)
			return leave(call, error_set(err, P2P_NO_SPACE, "no room for seven"));
		count->sum += len;
		return leave(call, RPC_MORE);
	}
	atomic_fetch_add(&seen.last_takes, 1);
	snprintf(text, sizeof(text), "%llu", (unsigned long long)count->sum);
	reply_text(call, text);
	return leave(call, RPC_END);
}

static int
chat(struct rpc_call *call, const ProtobufCMessage *message, struct error *err)
{
	(void)err;
	enter(call);
	if (message == NULL)
		return leave(call, RPC_END);
	reply_text(call, ((const text_message *)message)->id);
	return leave(call, RPC_MORE);
}

#define UPLOAD &p2p__v1__upload_request__descriptor
#define HEALTH &grpc__health__v1__health_check_request__descriptor

/* clang-format off */
const struct rpc_method rpc_methods[] = {
	{ "/t.T/Echo", "", RPC_UNARY, false, TEXT, echo, NULL, NULL },
	{ "/t.T/EchoWaits", "", RPC_UNARY, true, TEXT, echo, NULL, NULL },
	{ "/t.T/Large", "", RPC_UNARY, true, TEXT, large, NULL, NULL },
	{ "/t.T/Fail", "", RPC_UNARY, false, TEXT, fail_always, NULL, NULL },
	{ "/t.T/Hold", "", RPC_UNARY, true, TEXT, hold, NULL, free_state },
	{ "/t.T/Feed", "", RPC_SERVER_STREAM, false, TEXT, feed, feed_next, free_state },
	{ "/t.T/FeedWaits", "", RPC_SERVER_STREAM, true, TEXT, feed, feed_next, free_state },
	{ "/t.T/Wait", "", RPC_SERVER_STREAM, false, TEXT, feed, wait_next, wait_end },
	{ "/t.T/WaitWaits", "", RPC_SERVER_STREAM, true, TEXT, feed, wait_next, wait_end },
	{ "/t.T/Sleep", "", RPC_SERVER_STREAM, false, TEXT, feed, sleep_next, free_state },
	{ "/t.T/Sum", "", RPC_CLIENT_STREAM, false, UPLOAD, sum, NULL, free_state },
	{ "/t.T/SumWaits", "", RPC_CLIENT_STREAM, true, UPLOAD, sum, NULL, free_state },
	{ "/t.T/Chat", "", RPC_BOTH_STREAM, false, TEXT, chat, NULL, free_state },
	{ "/t.T/ChatWaits", "", RPC_BOTH_STREAM, true, TEXT, chat, NULL, free_state },
	{ "/grpc.health.v1.Health/Check", "", RPC_UNARY, false, HEALTH, rpc_health_check, NULL, NULL },
	{ "/grpc.health.v1.Health/Watch", "", RPC_SERVER_STREAM, false, HEALTH,
	    rpc_health_watch, rpc_health_watch_next, rpc_health_watch_end },
};
/* clang-format on */
const size_t rpc_method_count = sizeof(rpc_methods) / sizeof(rpc_methods[0]);

/* --- a face --- */

struct service {
	struct loop *loop;
	struct pool *pool;
};

struct loop *
service_loop(struct service *service)
{
	return service->loop;
}

struct pool *
service_pool(struct service *service)
{
	return service->pool;
}

static struct service service;
static struct rpc *face;
static uint16_t port;
static pthread_t mind;
static pthread_barrier_t is_up;

static struct config *
make_config(const char *lines)
{
	struct error err = { 0 };
	char *text = mem_format("[grpc]\n%s", lines);
	struct config *config = config_parse("test", text, strlen(text), &err);

	ck_assert_msg(config != NULL, "%s", err.text);
	free(text);
	return config;
}

static void *
run_mind(void *arg)
{
	struct config *config = arg;
	struct error err = { 0 };

	service.loop = loop_new(&err);
	service.pool = pool_new(service.loop, 2);
	face = rpc_new(&service, config, &err);
	if (face == NULL)
		fprintf(stderr, "%s\n", err.text);
	pthread_barrier_wait(&is_up);
	loop_run(service.loop);
	loop_refuse_calls(service.loop);
	rpc_free(face);
	pool_free(service.pool);
	loop_free(service.loop);
	config_unref(config);
	return NULL;
}

static void
start_with(const char *lines)
{
	log_open(LOG_LEVEL_ERROR);
	pthread_barrier_init(&is_up, NULL, 2);
	pthread_create(&mind, NULL, run_mind, make_config(lines));
	pthread_barrier_wait(&is_up);
	pthread_barrier_destroy(&is_up);
	ck_assert_ptr_nonnull(face);
	ck_assert_uint_ge(rpc_ports(face, &port, 1), 1);
}

static void
start(void)
{
	start_with("listen = 127.0.0.1:0\n");
}

static void
stop(void)
{
	loop_stop(service.loop);
	pthread_join(mind, NULL);
	ck_assert(all_ended(NULL));
	ck_assert(!atomic_load(&seen.was_twice));
}

/* --- small steps of the tests --- */

static void
open_text(struct rpc_kit_call *call, struct rpc_kit *kit, const char *path, const char *text)
{
	text_message message = P2P__V1__LEAVE_REQUEST__INIT;

	message.id = (char *)text;
	rpc_kit_open(call, kit, path, 0);
	rpc_kit_send(call, &message.base);
}

static void
check_text(ProtobufCMessage *message, const char *text)
{
	ck_assert_ptr_nonnull(message);
	ck_assert_str_eq(((text_message *)message)->id, text);
	protobuf_c_message_free_unpacked(message, NULL);
}

static bool
send_bytes(struct rpc_kit_call *call, size_t len)
{
	P2p__V1__UploadRequest message = P2P__V1__UPLOAD_REQUEST__INIT;

	message.data.data = mem_zero(1, len + 1);
	message.data.len = len;
	bool is_sent = rpc_kit_send(call, &message.base);
	free(message.data.data);
	return is_sent;
}

static void
check_echo(struct rpc_kit *kit, const char *path)
{
	text_message request = P2P__V1__LEAVE_REQUEST__INIT;
	struct rpc_kit_status status;

	request.id = (char *)"hello";
	check_text(rpc_kit_unary(kit, path, &request.base, TEXT, 0, &status), "hello");
	ck_assert_int_eq(status.code, GRPC_STATUS_OK);
	ck_assert_str_eq(status.details, "");
}

static void
check_status(const struct rpc_kit_status *status, int code, const char *details)
{
	ck_assert_msg(status->code == code, "%d: %s", status->code, status->details);
	ck_assert_str_eq(status->details, details);
}

/* --- unary --- */

START_TEST(test_a_unary_call_is_answered_on_either_thread)
{
	struct rpc_kit kit;

	start();
	rpc_kit_connect(&kit, port);
	check_echo(&kit, "/t.T/Echo");
	check_echo(&kit, "/t.T/EchoWaits");
	ck_assert_str_eq(seen.host, "127.0.0.1");
	ck_assert_uint_eq(metrics_get(METRIC_RPC_REQUESTS), 2);
	rpc_kit_close(&kit);
	stop();
}
END_TEST

START_TEST(test_an_error_becomes_a_status_with_its_slug)
{
	struct rpc_kit kit;
	struct rpc_kit_status status;
	text_message request = P2P__V1__LEAVE_REQUEST__INIT;

	start();
	rpc_kit_connect(&kit, port);
	ck_assert_ptr_null(rpc_kit_unary(&kit, "/t.T/Fail", &request.base, TEXT, 0, &status));
	check_status(&status, GRPC_STATUS_NOT_FOUND, "not-found: there is no such thing");
	ck_assert_uint_eq(metrics_get(METRIC_RPC_REFUSED), 1);
	rpc_kit_close(&kit);
	stop();
}
END_TEST

START_TEST(test_an_unknown_method_is_answered_at_once_and_every_time)
{
	struct rpc_kit kit;
	struct rpc_kit_status status;
	text_message request = P2P__V1__LEAVE_REQUEST__INIT;

	start();
	rpc_kit_connect(&kit, port);
	for (int i = 0; i < 3; i++) {
		rpc_kit_unary(&kit, "/t.T/None", &request.base, TEXT, 0, &status);
		check_status(&status, GRPC_STATUS_UNIMPLEMENTED,
			     "method-not-allowed: there is no /t.T/None here");
	}
	rpc_kit_close(&kit);
	stop();
}
END_TEST

START_TEST(test_what_is_no_message_is_refused)
{
	struct rpc_kit kit;
	struct rpc_kit_call call;
	struct rpc_kit_status status;

	start();
	rpc_kit_connect(&kit, port);
	rpc_kit_open(&call, &kit, "/t.T/Echo", 0);
	rpc_kit_send_raw(&call, "\x0a\x7fxy", 4);
	rpc_kit_send_end(&call);
	rpc_kit_finish(&call, &status);
	check_status(&status, GRPC_STATUS_INVALID_ARGUMENT,
		     "bad-request: the message is no well-formed protobuf");
	rpc_kit_open(&call, &kit, "/t.T/Echo", 0);
	rpc_kit_send_end(&call);
	rpc_kit_finish(&call, &status);
	check_status(&status, GRPC_STATUS_INVALID_ARGUMENT,
		     "bad-request: there is no p2p.v1.LeaveRequest");
	rpc_kit_close(&kit);
	stop();
}
END_TEST

START_TEST(test_a_message_over_the_limit_is_refused)
{
	struct rpc_kit kit;
	struct rpc_kit_call call;
	struct rpc_kit_status status;
	char *data = mem_zero(1, 5u << 20);

	start();
	rpc_kit_connect(&kit, port);
	rpc_kit_open(&call, &kit, "/t.T/Echo", 0);
	rpc_kit_send_raw(&call, data, RPC_REQUEST_MAX + 1);
	rpc_kit_finish(&call, &status);
	ck_assert_int_eq(status.code, GRPC_STATUS_INVALID_ARGUMENT);
	ck_assert_ptr_nonnull(strstr(status.details, "too-large: "));

	rpc_kit_open(&call, &kit, "/t.T/Sum", 0);
	ck_assert(send_bytes(&call, 1u << 20));
	send_bytes(&call, RPC_MESSAGE_MAX);
	rpc_kit_finish(&call, &status);
	ck_assert_int_eq(status.code, GRPC_STATUS_INVALID_ARGUMENT);
	ck_assert_ptr_nonnull(strstr(status.details, "too-large: "));

	/* Far beyond it is the library that answers. */
	rpc_kit_open(&call, &kit, "/t.T/Sum", 0);
	rpc_kit_send_raw(&call, data, 5u << 20);
	rpc_kit_finish(&call, &status);
	ck_assert_int_eq(status.code, GRPC_STATUS_RESOURCE_EXHAUSTED);
	free(data);
	rpc_kit_close(&kit);
	stop();
}
END_TEST

START_TEST(test_a_blocked_step_holds_up_nobody_and_hears_that_the_client_left)
{
	struct rpc_kit kit;
	struct rpc_kit_call call;
	struct rpc_kit_status status;
	unsigned one = 1;

	start();
	rpc_kit_connect(&kit, port);
	open_text(&call, &kit, "/t.T/Hold", "");
	ck_assert(is_soon(one_begun, &one));
	check_echo(&kit, "/t.T/Echo");
	rpc_kit_cancel(&call);
	rpc_kit_finish(&call, &status);
	ck_assert_int_eq(status.code, GRPC_STATUS_CANCELLED);
	ck_assert(is_soon(all_ended, NULL));
	rpc_kit_close(&kit);
	stop();
}
END_TEST

START_TEST(test_a_deadline_ends_the_call_here_too)
{
	struct rpc_kit kit;
	struct rpc_kit_status status;
	text_message request = P2P__V1__LEAVE_REQUEST__INIT;

	start();
	rpc_kit_connect(&kit, port);
	check_echo(&kit, "/t.T/Echo");
	rpc_kit_unary(&kit, "/t.T/Hold", &request.base, TEXT, 100, &status);
	ck_assert_int_eq(status.code, GRPC_STATUS_DEADLINE_EXCEEDED);
	ck_assert(is_soon(all_ended, NULL));
	ck_assert_uint_eq(atomic_load(&seen.begun), 1);
	rpc_kit_close(&kit);
	stop();
}
END_TEST

/* --- server streams --- */

static void
read_feed(struct rpc_kit *kit, const char *path)
{
	struct rpc_kit_call call;
	struct rpc_kit_status status;
	ProtobufCMessage *message;
	size_t len = 0;

	open_text(&call, kit, path, "100");
	while ((message = rpc_kit_read(&call, DATA)) != NULL) {
		len += ((P2p__V1__DownloadResponse *)message)->data.len;
		protobuf_c_message_free_unpacked(message, NULL);
	}
	rpc_kit_finish(&call, &status);
	check_status(&status, GRPC_STATUS_OK, "");
	ck_assert_uint_eq(len, 100 * BLOCK);
}

START_TEST(test_a_stream_brings_all_that_was_said_and_its_status)
{
	struct rpc_kit kit;
	struct rpc_kit_call call;
	struct rpc_kit_status status;
	ProtobufCMessage *message;

	start();
	rpc_kit_connect(&kit, port);
	read_feed(&kit, "/t.T/Feed");
	read_feed(&kit, "/t.T/FeedWaits");
	open_text(&call, &kit, "/t.T/FeedWaits", "0");
	while ((message = rpc_kit_read(&call, DATA)) != NULL)
		protobuf_c_message_free_unpacked(message, NULL);
	rpc_kit_finish(&call, &status);
	check_status(&status, GRPC_STATUS_INTERNAL, "io-error: the disk is gone");
	rpc_kit_close(&kit);
	stop();
}
END_TEST

START_TEST(test_a_reader_that_does_not_read_stops_the_stream)
{
	struct rpc_kit kit;
	struct rpc_kit_call call;
	struct rpc_kit_status status;
	unsigned one = 1;

	start();
	rpc_kit_connect(&kit, port);
	open_text(&call, &kit, "/t.T/FeedWaits", "0");
	ck_assert(is_soon(one_begun, &one));
	/* It has come to rest when nothing was said for a while. */
	for (unsigned nexts = 0, same = 0; same < 50; poll(NULL, 0, 4)) {
		same = atomic_load(&seen.nexts) == nexts ? same + 1 : 0;
		nexts = atomic_load(&seen.nexts);
	}
	ck_assert_uint_gt(atomic_load(&seen.nexts), 0);
	ck_assert_uint_lt(atomic_load(&seen.nexts), 500);
	rpc_kit_cancel(&call);
	rpc_kit_finish(&call, &status);
	ck_assert(is_soon(all_ended, NULL));
	rpc_kit_close(&kit);
	stop();
}
END_TEST

static void
read_woken(struct rpc_kit *kit, const char *path)
{
	struct rpc_kit_call call;
	struct rpc_kit_status status;
	ProtobufCMessage *message;
	unsigned count = 0;

	open_text(&call, kit, path, "200");
	for (; (message = rpc_kit_read(&call, TEXT)) != NULL; count++)
		check_text(message, "woken");
	rpc_kit_finish(&call, &status);
	check_status(&status, GRPC_STATUS_OK, "");
	ck_assert_uint_eq(count, 200);
}

START_TEST(test_a_stream_that_waits_goes_on_when_somebody_wakes_it)
{
	struct rpc_kit kit;

	start();
	rpc_kit_connect(&kit, port);
	read_woken(&kit, "/t.T/Wait");
	read_woken(&kit, "/t.T/WaitWaits");
	rpc_kit_close(&kit);
	stop();
}
END_TEST

/* --- client streams, both --- */

static void
send_sum(struct rpc_kit *kit, const char *path)
{
	struct rpc_kit_call call;
	struct rpc_kit_status status;

	rpc_kit_open(&call, kit, path, 0);
	for (size_t i = 0; i < 20; i++)
		ck_assert(send_bytes(&call, 1u << 20));
	send_bytes(&call, 1);
	rpc_kit_send_end(&call);
	check_text(rpc_kit_read(&call, TEXT), "20971521");
	rpc_kit_finish(&call, &status);
	check_status(&status, GRPC_STATUS_OK, "");
}

START_TEST(test_a_client_stream_is_taken_and_answered_at_its_end)
{
	struct rpc_kit kit;
	struct rpc_kit_call call;
	struct rpc_kit_status status;

	start();
	rpc_kit_connect(&kit, port);
	send_sum(&kit, "/t.T/Sum");
	send_sum(&kit, "/t.T/SumWaits");
	/* It may be refused before. */
	rpc_kit_open(&call, &kit, "/t.T/SumWaits", 0);
	send_bytes(&call, 10);
	send_bytes(&call, 7);
	rpc_kit_finish(&call, &status);
	check_status(&status, GRPC_STATUS_RESOURCE_EXHAUSTED, "no-space: no room for seven");
	rpc_kit_close(&kit);
	stop();
}
END_TEST

START_TEST(test_a_stream_that_breaks_off_never_looks_finished)
{
	struct rpc_kit kit;
	struct rpc_kit_status status;

	start();
	rpc_kit_connect(&kit, port);
	for (unsigned i = 0; i < 300; i++) {
		struct rpc_kit_call call;

		rpc_kit_open(&call, &kit, i % 2 ? "/t.T/Sum" : "/t.T/SumWaits", 0);
		for (unsigned sent = 0; sent < i % 5; sent++)
			send_bytes(&call, 1000);
		rpc_kit_cancel(&call);
		rpc_kit_finish(&call, &status);
		ck_assert_int_eq(status.code, GRPC_STATUS_CANCELLED);
	}
	rpc_kit_close(&kit);
	/* A connection that breaks is the same. */
	for (unsigned i = 0; i < 20; i++) {
		struct rpc_kit_call call;
		unsigned begun = atomic_load(&seen.begun) + 1;

		rpc_kit_connect(&kit, port);
		rpc_kit_open(&call, &kit, "/t.T/SumWaits", 0);
		send_bytes(&call, 1000);
		ck_assert(is_soon(one_begun, &begun));
		rpc_kit_cancel(&call);
		rpc_kit_finish(&call, &status);
		rpc_kit_close(&kit);
	}
	ck_assert(is_soon(all_ended, NULL));
	ck_assert_uint_eq(atomic_load(&seen.last_takes), 0);
	stop();
}
END_TEST

static void
talk(struct rpc_kit *kit, const char *path)
{
	struct rpc_kit_call call;
	struct rpc_kit_status status;

	rpc_kit_open(&call, kit, path, 0);
	for (unsigned i = 0; i < 50; i++) {
		text_message message = P2P__V1__LEAVE_REQUEST__INIT;
		char text[16];

		snprintf(text, sizeof(text), "%u", i);
		message.id = text;
		rpc_kit_send(&call, &message.base);
		check_text(rpc_kit_read(&call, TEXT), text);
	}
	rpc_kit_send_end(&call);
	ck_assert_ptr_null(rpc_kit_read(&call, TEXT));
	rpc_kit_finish(&call, &status);
	check_status(&status, GRPC_STATUS_OK, "");
}

START_TEST(test_both_sides_may_talk)
{
	struct rpc_kit kit;

	start();
	rpc_kit_connect(&kit, port);
	talk(&kit, "/t.T/Chat");
	talk(&kit, "/t.T/ChatWaits");
	rpc_kit_close(&kit);
	stop();
}
END_TEST

/* --- cancelling, in each state and at any moment --- */

static void *
cancel_many(void *arg)
{
	static const char *const paths[] = { "/t.T/Echo",      "/t.T/EchoWaits", "/t.T/Feed",
					     "/t.T/FeedWaits", "/t.T/Wait",      "/t.T/WaitWaits",
					     "/t.T/Sleep",     "/t.T/Chat",      "/t.T/ChatWaits" };
	struct rpc_kit *kit = arg;

	for (unsigned i = 0; i < 180; i++) {
		struct rpc_kit_call call;
		struct rpc_kit_status status;

		open_text(&call, kit, paths[i % 9], "0");
		for (unsigned reads = 0; i % 9 != 6 && reads < i % 4 && reads < (i % 9 < 2);
		     reads++)
			protobuf_c_message_free_unpacked(rpc_kit_read(&call, TEXT), NULL);
		poll(NULL, 0, (int)(i % 3));
		rpc_kit_cancel(&call);
		rpc_kit_finish(&call, &status);
	}
	return NULL;
}

START_TEST(test_calls_that_are_cancelled_leave_nothing)
{
	struct rpc_kit kit;
	pthread_t threads[4];

	start();
	rpc_kit_connect(&kit, port);
	for (size_t i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, cancel_many, &kit);
	for (size_t i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	ck_assert(is_soon(all_ended, NULL));
	check_echo(&kit, "/t.T/Echo");
	rpc_kit_close(&kit);
	stop();
}
END_TEST

/* --- health --- */

static int
ask_health(struct rpc_kit *kit, const char *service_name, struct rpc_kit_status *status)
{
	Grpc__Health__V1__HealthCheckRequest request = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
	request.service = (char *)service_name;
	ProtobufCMessage *answer =
	    rpc_kit_unary(kit, "/grpc.health.v1.Health/Check", &request.base,
			  &grpc__health__v1__health_check_response__descriptor, 0, status);
	int said =
	    answer != NULL ? (int)((Grpc__Health__V1__HealthCheckResponse *)answer)->status : -1;
	if (answer != NULL)
		protobuf_c_message_free_unpacked(answer, NULL);
	return said;
}

static int
read_health(struct rpc_kit_call *call)
{
	ProtobufCMessage *answer =
	    rpc_kit_read(call, &grpc__health__v1__health_check_response__descriptor);
	int said =
	    answer != NULL ? (int)((Grpc__Health__V1__HealthCheckResponse *)answer)->status : -1;

	if (answer != NULL)
		protobuf_c_message_free_unpacked(answer, NULL);
	return said;
}

START_TEST(test_health_knows_the_services)
{
	struct rpc_kit kit;
	struct rpc_kit_status status;

	start();
	rpc_kit_connect(&kit, port);
	ck_assert_int_eq(ask_health(&kit, "", &status), 1);
	ck_assert_int_eq(ask_health(&kit, "t.T", &status), 1);
	ck_assert_int_eq(ask_health(&kit, "t.", &status), -1);
	check_status(&status, GRPC_STATUS_NOT_FOUND, "not-found: there is no such service");
	rpc_kit_close(&kit);
	stop();
}
END_TEST

START_TEST(test_who_watches_health_hears_of_the_end)
{
	struct rpc_kit kit;
	struct rpc_kit_call known, unknown;
	struct rpc_kit_status status;

	start();
	rpc_kit_connect(&kit, port);
	open_text(&known, &kit, "/grpc.health.v1.Health/Watch", "");
	open_text(&unknown, &kit, "/grpc.health.v1.Health/Watch", "nobody");
	ck_assert_int_eq(read_health(&known), 1);
	ck_assert_int_eq(read_health(&unknown), 3);
	stop();
	ck_assert_int_eq(read_health(&known), 2);
	ck_assert_int_eq(read_health(&known), -1);
	rpc_kit_finish(&known, &status);
	check_status(&status, GRPC_STATUS_UNAVAILABLE, "shutting-down: the daemon is stopping");
	rpc_kit_finish(&unknown, &status);
	ck_assert_int_eq(status.code, GRPC_STATUS_UNAVAILABLE);
	rpc_kit_close(&kit);
}
END_TEST

/* --- what may be under way at once --- */

static void
check_refused(struct rpc_kit *kit, const char *path, const char *why)
{
	struct rpc_kit_call call;
	struct rpc_kit_status status;

	open_text(&call, kit, path, "hello");
	ck_assert_ptr_null(rpc_kit_read(&call, TEXT));
	rpc_kit_finish(&call, &status);
	check_status(&status, GRPC_STATUS_RESOURCE_EXHAUSTED, why);
}

/* A call that outlives whatever else the test does. */
static void
open_long(struct rpc_kit_call *call, struct rpc_kit *kit, const char *path)
{
	text_message message = P2P__V1__LEAVE_REQUEST__INIT;

	rpc_kit_open(call, kit, path, 20 * WAIT_MS);
	rpc_kit_send(call, &message.base);
}

static void
cancel_all(struct rpc_kit_call *calls, size_t count)
{
	struct rpc_kit_status status;

	for (size_t i = 0; i < count; i++) {
		rpc_kit_cancel(&calls[i]);
		rpc_kit_finish(&calls[i], &status);
	}
}

static bool
is_room_empty(void *arg)
{
	(void)arg;
	return atomic_load(&face->room.calls) == 0 && atomic_load(&face->room.bytes) == 0;
}

START_TEST(test_calls_are_as_many_as_the_face_has_places)
{
	static const char why[] = "too-many: 2048 calls are under way, which is the most";
	enum { KITS = RPC_CALLS_MAX / RPC_STREAMS_MAX };
	struct rpc_kit kits[KITS], other;
	struct rpc_kit_call *calls = mem_zero(RPC_CALLS_MAX, sizeof(*calls));
	struct rpc_kit_status status;
	unsigned all = RPC_CALLS_MAX;

	start();
	for (size_t i = 0; i < KITS; i++)
		rpc_kit_connect(&kits[i], port);
	rpc_kit_connect(&other, port);
	for (size_t i = 0; i < RPC_CALLS_MAX; i++)
		open_long(&calls[i], &kits[i % KITS], "/t.T/Sleep");
	ck_assert(is_soon(one_begun, &all));
	check_refused(&other, "/t.T/Echo", why);
	check_refused(&other, "/t.T/EchoWaits", why);
	check_refused(&other, "/t.T/Feed", why);
	check_refused(&other, "/t.T/Sum", why);
	check_refused(&other, "/t.T/ChatWaits", why);
	check_refused(&other, "/t.T/Nothing", why);
	ck_assert_int_eq(ask_health(&other, "", &status), 1);
	ck_assert_uint_eq(atomic_load(&seen.begun), RPC_CALLS_MAX);
	cancel_all(calls, RPC_CALLS_MAX);
	ck_assert(is_soon(is_room_empty, NULL));
	check_echo(&other, "/t.T/EchoWaits");
	for (size_t i = 0; i < KITS; i++)
		rpc_kit_close(&kits[i]);
	rpc_kit_close(&other);
	free(calls);
	stop();
}
END_TEST

static bool
one_was_closed(void *arg)
{
	(void)arg;
	return metrics_get(METRIC_RPC_CLOSED) >= 1;
}

static bool
begun_or_closed(void *arg)
{
	return one_begun(arg) || one_was_closed(NULL);
}

START_TEST(test_who_takes_back_one_call_after_the_other_is_sent_away)
{
	struct rpc_kit kit, other;
	struct rpc_kit_call calls[100];

	start();
	rpc_kit_connect(&kit, port);
	rpc_kit_connect(&other, port);
	check_echo(&other, "/t.T/Echo");
	for (unsigned sent = 100; sent <= 1200; sent += 100) {
		for (unsigned i = 0; i < 100; i++)
			open_long(&calls[i], &kit, "/t.T/Sleep");
		ck_assert(is_soon(begun_or_closed, &sent));
		ck_assert(sent > 1000 || !one_was_closed(NULL));
		cancel_all(calls, 100);
	}
	ck_assert(is_soon(one_was_closed, NULL));
	check_echo(&other, "/t.T/Echo");
	rpc_kit_close(&kit);
	rpc_kit_close(&other);
	stop();
}
END_TEST

/* Bytes. */
static size_t
resident(void)
{
	char line[128];
	size_t kib = 0;
	FILE *status = fopen("/proc/self/status", "r");

	while (fgets(line, sizeof(line), status) != NULL)
		sscanf(line, "VmRSS: %zu", &kib);
	fclose(status);
	return kib << 10;
}

static bool
all_larges_known(void *arg)
{
	return atomic_load(&seen.large) + atomic_load(&seen.refused) == *(unsigned *)arg;
}

START_TEST(test_answers_that_nobody_reads_are_held_within_bounds)
{
	static const char why[] = "too-many: 128 MiB of answers wait for clients to read them";
	struct rpc_kit kit, other;
	struct rpc_kit_call calls[RPC_STREAMS_MAX];
	struct rpc_kit_status status;
	text_message request = P2P__V1__LEAVE_REQUEST__INIT;
	unsigned all = RPC_STREAMS_MAX, most = RPC_ANSWERS_MAX / LARGE;

	start();
	rpc_kit_connect(&kit, port);
	rpc_kit_connect(&other, port);
	check_echo(&other, "/t.T/Echo");
	size_t before = resident();
	for (size_t i = 0; i < RPC_STREAMS_MAX; i++)
		open_long(&calls[i], &kit, "/t.T/Large");
	ck_assert(is_soon(all_larges_known, &all));
	/* Four threads run steps: two, and two that the pool keeps for what is wanted soon. */
	ck_assert_uint_ge(atomic_load(&seen.large), most);
	ck_assert_uint_le(atomic_load(&seen.large), most + 4);
	if (!IS_SANITIZED)
		ck_assert_uint_lt(resident() - before, RPC_ANSWERS_MAX + (64u << 20));
	check_refused(&other, "/t.T/Large", why);
	check_echo(&other, "/t.T/Echo");
	read_feed(&other, "/t.T/FeedWaits");
	ck_assert_int_eq(ask_health(&other, "", &status), 1);
	cancel_all(calls, RPC_STREAMS_MAX);
	ck_assert(is_soon(is_room_empty, NULL));
	ProtobufCMessage *answer =
	    rpc_kit_unary(&other, "/t.T/Large", &request.base, TEXT, 0, &status);
	ck_assert_uint_eq(strlen(((text_message *)answer)->id), LARGE);
	protobuf_c_message_free_unpacked(answer, NULL);
	ck_assert(is_soon(is_room_empty, NULL));
	rpc_kit_close(&kit);
	rpc_kit_close(&other);
	stop();
}
END_TEST

/* --- up and down --- */

START_TEST(test_the_way_down_is_clean_with_calls_in_every_state)
{
	static const char *const paths[] = { "/t.T/Hold",  "/t.T/Feed",      "/t.T/FeedWaits",
					     "/t.T/Sleep", "/t.T/ChatWaits", "/t.T/Sum",
					     "/t.T/Chat",  "/t.T/SumWaits" };
	struct rpc_kit kit;
	struct rpc_kit_call calls[8];
	struct rpc_kit_status status;
	unsigned eight = 8;

	start();
	rpc_kit_connect(&kit, port);
	for (size_t i = 0; i < 8; i++) {
		rpc_kit_open(&calls[i], &kit, paths[i], 0);
		send_bytes(&calls[i], 0);
	}
	ck_assert(is_soon(one_begun, &eight));
	stop();
	for (size_t i = 0; i < 8; i++) {
		/* What was sent before would have to be read before the status. */
		rpc_kit_cancel(&calls[i]);
		rpc_kit_finish(&calls[i], &status);
		ck_assert_int_ne(status.code, GRPC_STATUS_OK);
	}
	rpc_kit_close(&kit);
}
END_TEST

static size_t
count_entries(const char *path)
{
	size_t count = 0;
	DIR *dir = opendir(path);

	while (readdir(dir) != NULL)
		count++;
	closedir(dir);
	return count;
}

static bool
has_no_more_descriptors(void *arg)
{
	return count_entries("/proc/self/fd") <= *(size_t *)arg;
}

static bool
has_no_more_threads(void *arg)
{
	return count_entries("/proc/self/task") <= *(size_t *)arg;
}

START_TEST(test_many_lives_in_one_process_leave_no_thread_and_no_descriptor)
{
	struct error err = { 0 };
	const char *times = getenv("RPC_LIVES");
	unsigned lives = times != NULL ? (unsigned)atoi(times) : 50;

	log_open(LOG_LEVEL_ERROR);
	struct config *config = make_config("listen = 127.0.0.1:0\n");
	service.loop = loop_new(&err);
	service.pool = pool_new(service.loop, 1);
	size_t fds = 0, threads = 0;
	for (unsigned i = 0; i < lives; i++) {
		struct rpc_kit kit;
		uint16_t at;

		face = rpc_new(&service, config, &err);
		ck_assert_msg(face != NULL, "%s", err.text);
		rpc_ports(face, &at, 1);
		rpc_kit_connect(&kit, at);
		check_echo(&kit, "/t.T/EchoWaits");
		rpc_kit_close(&kit);
		rpc_free(face);
		if (times != NULL && i % 100 == 99)
			fprintf(stderr, "%u: %zu threads, %zu descriptors\n", i + 1,
				count_entries("/proc/self/task") - 2,
				count_entries("/proc/self/fd") - 3);
		if (i == 4) {
			fds = count_entries("/proc/self/fd");
			threads = count_entries("/proc/self/task");
		}
	}
	/* The library closes some things a moment later. */
	ck_assert(is_soon(has_no_more_descriptors, &fds));
	ck_assert(is_soon(has_no_more_threads, &threads));
	if (times != NULL) {
		struct rusage usage;
		getrusage(RUSAGE_SELF, &usage);
		fprintf(stderr, "%u lives: %zu threads, %zu descriptors, %ld KiB at most\n", lives,
			count_entries("/proc/self/task") - 2, count_entries("/proc/self/fd"),
			usage.ru_maxrss);
	}
	pool_free(service.pool);
	loop_free(service.loop);
	config_unref(config);
}
END_TEST

START_TEST(test_an_address_that_cannot_be_had_is_named)
{
	struct error err = { 0 };
	char *lines;

	start();
	lines = mem_format("listen = 127.0.0.1:0\nlisten = 127.0.0.1:%u\n", port);
	struct config *config = make_config(lines);
	free(lines);
	struct service other = { loop_new(&err), NULL };
	ck_assert_ptr_null(rpc_new(&other, config, &err));
	lines = mem_format("cannot listen on 127.0.0.1:%u: Address already in use", port);
	ck_assert_str_eq(err.text, lines);
	free(lines);
	config_unref(config);
	config = make_config("listen = 192.0.2.1:0\n[security]\nopen_network = yes\n");
	ck_assert_ptr_null(rpc_new(&other, config, &err));
	ck_assert_str_eq(err.text, "cannot listen on 192.0.2.1:0: Cannot assign requested address");
	config_unref(config);
	loop_free(other.loop);
	stop();
}
END_TEST

static bool
are_all_probed(void *arg)
{
	(void)arg;
	return metrics_get(METRIC_RPC_REQUESTS) >= 3;
}

START_TEST(test_it_listens_on_every_address_and_none_is_none)
{
	uint16_t ports[4];
	struct error err = { 0 };

	start_with("listen = 127.0.0.1:0\nlisten = [::1]:0\nlisten = localhost:0\n");
	ck_assert_uint_eq(rpc_ports(face, ports, 4), 3);
	for (size_t i = 0; i < 3; i++)
		ck_assert_uint_ne(ports[i], 0);
	struct sockaddr_in6 at = { .sin6_family = AF_INET6,
				   .sin6_port = htons(ports[1]),
				   .sin6_addr = in6addr_loopback };
	int fd = socket(AF_INET6, SOCK_STREAM, 0);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	close(fd);
	/* The probe calls each of them, and finds nothing wrong. */
	ck_assert(is_soon(are_all_probed, NULL));
	ck_assert_uint_eq(metrics_get(METRIC_RPC_RESTARTS), 0);
	stop();

	struct config *config = make_config("listen =\n");
	struct service other = { loop_new(&err), NULL };
	struct rpc *off = rpc_new(&other, config, &err);
	ck_assert_ptr_nonnull(off);
	ck_assert_uint_eq(rpc_ports(off, ports, 4), 0);
	rpc_free(off);
	loop_free(other.loop);
	config_unref(config);
}
END_TEST

static bool
is_serving(void *arg)
{
	struct rpc_kit kit;
	struct rpc_kit_status status;
	text_message request = P2P__V1__LEAVE_REQUEST__INIT;

	(void)arg;
	rpc_kit_connect(&kit, port);
	request.id = (char *)"x";
	rpc_kit_unary(&kit, "/t.T/Echo", &request.base, NULL, 500, &status);
	rpc_kit_close(&kit);
	return status.code == GRPC_STATUS_OK;
}

/* Mind.  As if the network of the second address had gone, and then the listener failed. */
static int
lose_address(void *arg)
{
	struct sockaddr_in *at = (struct sockaddr_in *)&face->addresses[1].at;

	(void)arg;
	ck_assert_int_eq(inet_pton(AF_INET, "192.0.2.1", &at->sin_addr), 1);
	rpc_restart(face);
	return P2P_OK;
}

START_TEST(test_an_address_that_has_gone_takes_no_other_with_it)
{
	start_with("listen = 127.0.0.1:0\nlisten = 127.0.0.2:0\n");
	ck_assert_int_eq(loop_call(service.loop, lose_address, NULL), P2P_OK);
	ck_assert(is_soon(is_serving, NULL));
	ck_assert_uint_eq(metrics_get(METRIC_RPC_RESTARTS), 1);
	stop();
}
END_TEST

START_TEST(test_congestion_is_that_of_the_configuration)
{
	char name[16] = "";
	socklen_t len = sizeof(name);
	bool is_found = false;

	start_with("listen = 127.0.0.1:0\n[network]\ncongestion = reno\n");
	for (int fd = 3; fd < 256 && !is_found; fd++) {
		struct sockaddr_in at = { 0 };
		socklen_t at_len = sizeof(at);
		is_found = getsockname(fd, (struct sockaddr *)&at, &at_len) == 0 &&
			   ntohs(at.sin_port) == port &&
			   getsockopt(fd, IPPROTO_TCP, 13 /* TCP_CONGESTION */, name, &len) == 0;
	}
	ck_assert(is_found);
	ck_assert_str_eq(name, "reno");
	stop();
}
END_TEST

/* --- the fault that the probe is for --- */

static void
set_descriptors(rlim_t max)
{
	struct rlimit limit;

	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = max;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

/* In a process of its own, for it is the server's descriptors that run out.  It hears the port, and then when to let go. */
static int
start_flood(void)
{
	int pipes[2];

	ck_assert_int_eq(pipe(pipes), 0);
	if (fork() != 0) {
		close(pipes[0]);
		return pipes[1];
	}
	close(pipes[1]);
	uint16_t to;
	char byte;
	if (read(pipes[0], &to, sizeof(to)) != sizeof(to))
		_exit(1);
	struct sockaddr_in at = { .sin_family = AF_INET,
				  .sin_port = htons(to),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	for (int i = 0; i < 200; i++) {
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		(void)!connect(fd, (struct sockaddr *)&at, sizeof(at));
	}
	(void)!read(pipes[0], &byte, 1);
	_exit(0);
}

/* For so many looks in a row: the library has met it too, and not only we. */
static bool
is_out_of_descriptors(void *arg)
{
	unsigned *looks = arg;
	int fd = dup(0);

	*looks = fd < 0 ? *looks + 1 : 0;
	if (fd >= 0)
		close(fd);
	return *looks == 10;
}

START_TEST(test_it_serves_again_after_descriptors_ran_out)
{
	struct rlimit limit;
	unsigned looks = 0;

	int child = start_flood();
	start();
	ck_assert(is_soon(is_serving, NULL));
	getrlimit(RLIMIT_NOFILE, &limit);
	set_descriptors((rlim_t)count_entries("/proc/self/fd") + 60);
	ck_assert_int_eq(write(child, &port, sizeof(port)), sizeof(port));
	ck_assert(is_soon(is_out_of_descriptors, &looks));
	close(child);
	set_descriptors(limit.rlim_cur);
	uint64_t begin_ms = clock_ms();
	bool is_back = false;
	while (!is_back && clock_ms() - begin_ms < 15000)
		is_back = is_serving(NULL);
	ck_assert_msg(is_back, "it did not come back in 15 s");
	if (getenv("RPC_LIVES") != NULL)
		fprintf(stderr, "back after %llu ms, %llu restarts\n",
			(unsigned long long)(clock_ms() - begin_ms),
			(unsigned long long)metrics_get(METRIC_RPC_RESTARTS));
	ck_assert_uint_eq(metrics_get(METRIC_RPC_RESTARTS), 1);
	stop();
}
END_TEST

/* --- too many connections --- */

#define IDLE_MAX 16

/* One that opens HTTP/2, from that address, and says no more. */
static int
connect_idle(const char *from)
{
	static const char opening[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0";
	struct sockaddr_in at = { .sin_family = AF_INET };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_int_eq(inet_pton(AF_INET, from, &at.sin_addr), 1);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	at.sin_port = htons(port);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	ck_assert_int_eq(send(fd, opening, sizeof(opening), 0), sizeof(opening));
	return fd;
}

static bool
is_closed(int fd)
{
	char data[256];
	ssize_t len;

	while ((len = recv(fd, data, sizeof(data), MSG_DONTWAIT)) > 0)
		continue;
	return len == 0 || errno != EAGAIN;
}

/* A call that goes on, and whose connection so is never silent for long. */
static void
chat_once(struct rpc_kit_call *call)
{
	text_message message = P2P__V1__LEAVE_REQUEST__INIT;

	message.id = (char *)"still here";
	ck_assert(rpc_kit_send(call, &message.base));
	check_text(rpc_kit_read(call, TEXT), "still here");
}

static size_t
count_closed(const int *fds, size_t count)
{
	size_t closed = 0;

	for (size_t i = 0; i < count; i++)
		closed += is_closed(fds[i]);
	return closed;
}

/* Of 8 connections in all loopback may have 4 from one address. */
static const struct {
	const char *from[3];
	size_t each, closed;
} crowds[] = {
	{ { "127.0.0.1" }, 10, 7 },
	{ { "127.0.0.2", "127.0.0.3", "127.0.0.4" }, 4, 5 },
};

START_TEST(test_of_too_many_connections_the_silent_ones_are_closed)
{
	struct rpc_kit kit, other;
	struct rpc_kit_call call;
	struct rpc_kit_status status;
	int idle[IDLE_MAX];
	size_t count = 0, closed = 0;

	start_with("listen = 127.0.0.1:0\n[rest]\nconnections = 8\n");
	rpc_kit_connect(&kit, port);
	rpc_kit_open(&call, &kit, "/t.T/Chat", 30000);
	chat_once(&call);
	for (size_t i = 0; i < 3 && crowds[_i].from[i] != NULL; i++)
		for (size_t of = 0; of < crowds[_i].each; of++)
			idle[count++] = connect_idle(crowds[_i].from[i]);
	for (uint64_t end_ms = clock_ms() + WAIT_MS; closed < crowds[_i].closed; poll(NULL, 0, 5)) {
		ck_assert_msg(clock_ms() < end_ms, "%zu of %zu are closed", closed, count);
		chat_once(&call);
		closed = count_closed(idle, count);
	}
	/* One more if the probe's own was there already. */
	ck_assert_uint_le(closed, crowds[_i].closed + 1);
	ck_assert_uint_ge(metrics_get(METRIC_RPC_CLOSED), closed);
	chat_once(&call);
	rpc_kit_connect(&other, port);
	check_echo(&other, "/t.T/Echo");
	rpc_kit_close(&other);
	rpc_kit_cancel(&call);
	rpc_kit_finish(&call, &status);
	rpc_kit_close(&kit);
	for (size_t i = 0; i < count; i++)
		close(idle[i]);
	stop();
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("rpc");
	TCase *calls = tcase_create("calls"), *lives = tcase_create("lives");

	tcase_set_timeout(calls, 60);
	tcase_add_test(calls, test_a_unary_call_is_answered_on_either_thread);
	tcase_add_test(calls, test_an_error_becomes_a_status_with_its_slug);
	tcase_add_test(calls, test_an_unknown_method_is_answered_at_once_and_every_time);
	tcase_add_test(calls, test_what_is_no_message_is_refused);
	tcase_add_test(calls, test_a_message_over_the_limit_is_refused);
	tcase_add_test(calls, test_a_blocked_step_holds_up_nobody_and_hears_that_the_client_left);
	tcase_add_test(calls, test_a_deadline_ends_the_call_here_too);
	tcase_add_test(calls, test_a_stream_brings_all_that_was_said_and_its_status);
	tcase_add_test(calls, test_a_reader_that_does_not_read_stops_the_stream);
	tcase_add_test(calls, test_a_stream_that_waits_goes_on_when_somebody_wakes_it);
	tcase_add_test(calls, test_a_client_stream_is_taken_and_answered_at_its_end);
	tcase_add_test(calls, test_a_stream_that_breaks_off_never_looks_finished);
	tcase_add_test(calls, test_both_sides_may_talk);
	tcase_add_test(calls, test_calls_that_are_cancelled_leave_nothing);
	tcase_add_test(calls, test_health_knows_the_services);
	tcase_add_test(calls, test_calls_are_as_many_as_the_face_has_places);
	tcase_add_test(calls, test_who_takes_back_one_call_after_the_other_is_sent_away);
	tcase_add_test(calls, test_answers_that_nobody_reads_are_held_within_bounds);
	suite_add_tcase(s, calls);

	tcase_set_timeout(lives, 300);
	tcase_add_test(lives, test_who_watches_health_hears_of_the_end);
	tcase_add_test(lives, test_the_way_down_is_clean_with_calls_in_every_state);
	tcase_add_test(lives, test_many_lives_in_one_process_leave_no_thread_and_no_descriptor);
	tcase_add_test(lives, test_an_address_that_cannot_be_had_is_named);
	tcase_add_test(lives, test_it_listens_on_every_address_and_none_is_none);
	tcase_add_test(lives, test_an_address_that_has_gone_takes_no_other_with_it);
	tcase_add_test(lives, test_congestion_is_that_of_the_configuration);
	tcase_add_test(lives, test_it_serves_again_after_descriptors_ran_out);
	tcase_add_loop_test(lives, test_of_too_many_connections_the_silent_ones_are_closed, 0,
			    (int)(sizeof(crowds) / sizeof(crowds[0])));
	suite_add_tcase(s, lives);
	return s;
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
