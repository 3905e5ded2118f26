/* SPDX-License-Identifier: MIT
 *
 * rest_client_lane.c - one thread, one curl multi, any number of HTTP exchanges.
 *
 * Exchanges come in through an inbox under a mutex and curl_multi_wakeup(); from then on only the
 * lane's thread touches them, but for the mark of cancelling.  With nothing under way the thread
 * sleeps in curl_multi_poll() without a time-out.
 *
 * What curl is told: HTTP/1.1 over http only, no redirect, no proxy, no netrc, no signals, no
 * decoding; connections are kept by the multi.  A connection's address is judged when its socket is
 * opened, after the name was resolved, so that a name cannot show one address to us and another to
 * the kernel.
 *
 * Stalls are measured here and not by CURLOPT_LOW_SPEED_*: curl averages over about 5 s, in whole
 * seconds, and counts the time that a sink spends on its disk against the peer.  Our clock stands
 * still while callbacks run.
 *
 * Under a limit of bandwidth (rate.h) bytes go to the sink in their turn.  An exchange that comes too
 * early is paused: curl keeps what it has read, reads no more, and the peer's sending stops by
 * itself.  Such a pause is ours, so the clock of its stall stands still.
 *
 * Header bytes are counted because curl keeps every header for curl_easy_header() and 7.88 knows no
 * limit for their sum.
 *
 * Left to rest_client.c: what a request says and what an answer means.
 */
#include "rest_client_lane.h"

#include <assert.h>
#include <curl/curl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "mem.h"
#include "thread.h"
#include "transport_limit.h"

#define SPARE_MAX     8           /* easy handles kept for the next exchange */
#define CONNECTS_MAX  64          /* idle connections kept */
#define READ_BUFFER   (512 << 10) /* bytes; with curl's 16 KiB a third of the speed is lost */
#define ANSWER_BUFFER (16 << 10)  /* bytes */
#define HEADERS_MAX   (64 << 10)  /* bytes of an answer's header in all */
#define PROBLEM_MAX   (64 << 10)  /* bytes of the body of an answer that is no 2xx */
#define AGENT         "p2pd/" PACKAGE_VERSION

struct lane {
	CURLM *multi;
	pthread_t thread;
	/* The thread's. */
	struct lane_exchange *active;
	CURL *spare[SPARE_MAX];
	size_t spare_count;
	uint64_t busy_ms; /* spent in sinks so far */

	pthread_mutex_t mu; /* guards what follows */
	struct lane_exchange *inbox, **inbox_tail;
	bool has_cancels, is_ending;
};

/* Time that goes by while this thread waits for the network, and only then. */
static uint64_t
idle_clock_ms(const struct lane *lane)
{
	return clock_ms() - lane->busy_ms;
}

/* Where we may connect to. */

static curl_socket_t
open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *to)
{
	struct lane_exchange *exchange = arg;

	(void)purpose;
	if (address_is_refused(exchange->guard, &to->addr)) {
		exchange->is_refused = true;
		return CURL_SOCKET_BAD;
	}
	return socket(to->family, to->socktype | SOCK_CLOEXEC, to->protocol);
}

/* What arrives. */

static size_t
on_header(char *data, size_t one, size_t len, void *arg)
{
	struct lane_exchange *exchange = arg;

	(void)data;
	(void)one;
	exchange->header_bytes += len;
	if (exchange->header_bytes <= HEADERS_MAX)
		return len;
	error_set(&exchange->error, P2P_BAD_ANSWER, "%s answered with a header over %d bytes",
		  exchange->url, HEADERS_MAX);
	return 0;
}

const char *
lane_header(const struct lane_exchange *exchange, const char *name)
{
	struct curl_header *header;

	if (curl_easy_header(exchange->easy, name, 0, CURLH_HEADER, -1, &header) != CURLHE_OK)
		return NULL;
	return header->amount == 1 ? header->value : "";
}

/* Once an answer: sets the status, and lets the owner judge a 2xx. */
static int
judge(struct lane_exchange *exchange)
{
	long status = 0;

	if (exchange->is_judged)
		return P2P_OK;
	exchange->is_judged = true;
	curl_easy_getinfo(exchange->easy, CURLINFO_RESPONSE_CODE, &status);
	exchange->status = (int)status;
	if (status / 100 != 2)
		exchange->answer.max_bytes = PROBLEM_MAX;
	else if (exchange->ops->accept != NULL)
		return exchange->ops->accept(exchange);
	return P2P_OK;
}

static int
gather(struct lane_exchange *exchange, const void *data, size_t len)
{
	buf_add(&exchange->answer, data, len);
	if (!exchange->answer.full)
		return P2P_OK;
	return error_set(&exchange->error, P2P_BAD_ANSWER, "%s answered with more than %zu bytes",
			 exchange->url, exchange->answer.max_bytes);
}

/* True once so many bytes may go to the sink.  False: it is paused. */
static bool
has_turn(struct lane_exchange *exchange, size_t len)
{
	if (!rate_is_limited(exchange->rate))
		return true; /* before the clock is asked, for every 16 KiB */
	if (rate_ask(exchange->rate, exchange->rate_key, &exchange->turn, len,
		     len > RATE_STEP_MAX ? len : RATE_STEP_MAX, clock_us()) >= len)
		return true;
	exchange->is_paused = true;
	exchange->paused_ms = idle_clock_ms(exchange->lane);
	return false;
}

static size_t
on_body(char *data, size_t one, size_t len, void *arg)
{
	struct lane_exchange *exchange = arg;
	struct lane *lane = exchange->lane;
	int code;

	(void)one;
	if (atomic_load(&exchange->is_cancelled))
		return CURL_WRITEFUNC_ERROR; /* ended by look_for_cancels() or by finish() */
	code = judge(exchange);
	if (code != P2P_OK)
		return CURL_WRITEFUNC_ERROR;
	bool is_fed = exchange->status / 100 == 2 && exchange->ops->feed != NULL;
	if (is_fed && !has_turn(exchange, len))
		return CURL_WRITEFUNC_PAUSE;
	transport_stall_count(&exchange->stall, len);
	if (is_fed) {
		uint64_t begin = clock_ms();

		rate_pass(&exchange->turn, len);
		code = exchange->ops->feed(exchange, data, len);
		lane->busy_ms += clock_ms() - begin;
	} else {
		code = gather(exchange, data, len);
	}
	return code == P2P_OK ? len : CURL_WRITEFUNC_ERROR;
}

/* Beginning and ending. */

static void
set_rules(CURL *easy)
{
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http");
	curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(easy, CURLOPT_PROXY, "");
	curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(easy, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
	curl_easy_setopt(easy, CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_TCP_NODELAY, 1L);
	curl_easy_setopt(easy, CURLOPT_USERAGENT, AGENT);
	/* Else a resolver that hangs would hold up the whole lane when its exchange ends; its
	 * thread cleans up by itself. */
	curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
	curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, open_socket);
}

/* Under a limit no more than passes at a time: bytes that come in small parts are not taken for a
 * stall by whoever waits for them, and curl keeps as much while it is paused. */
static long
buffer_bytes(const struct lane_exchange *exchange)
{
	if (exchange->ops->feed == NULL)
		return ANSWER_BUFFER;
	size_t step = rate_step(exchange->rate);
	return step < READ_BUFFER ? (long)step : READ_BUFFER;
}

static void
set_request(CURL *easy, struct lane_exchange *exchange)
{
	const struct lane_limits *limits = &exchange->limits;

	curl_easy_setopt(easy, CURLOPT_PRIVATE, exchange);
	curl_easy_setopt(easy, CURLOPT_HEADERDATA, exchange);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, exchange);
	curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, exchange);
	curl_easy_setopt(easy, CURLOPT_URL, exchange->url);
	curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)limits->connect_ms);
	curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)limits->total_ms);
	curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, buffer_bytes(exchange));
	if (exchange->range[0] != '\0')
		curl_easy_setopt(easy, CURLOPT_RANGE, exchange->range);
	if (exchange->body != NULL) {
		struct curl_slist *headers =
		    curl_slist_append(NULL, "Content-Type: application/json");

		exchange->headers = curl_slist_append(headers, "Expect:");
		curl_easy_setopt(easy, CURLOPT_HTTPHEADER, exchange->headers);
		curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE,
				 (curl_off_t)strlen(exchange->body));
		curl_easy_setopt(easy, CURLOPT_POSTFIELDS, exchange->body);
	}
	curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, exchange->method);
}

/* Out of the list, and the owner's again. */
static void
end(struct lane *lane, struct lane_exchange *exchange)
{
	if (exchange->prev != NULL)
		exchange->prev->next = exchange->next;
	else if (lane->active == exchange)
		lane->active = exchange->next;
	if (exchange->next != NULL)
		exchange->next->prev = exchange->prev;
	exchange->next = exchange->prev = NULL;
	rate_leave(exchange->rate, &exchange->turn);
	exchange->ops->ended(exchange);
}

/* Gives the handle back, so that nothing of curl's points at the exchange any more, and ends it. */
static void
release(struct lane *lane, struct lane_exchange *exchange)
{
	CURL *easy = exchange->easy;

	curl_multi_remove_handle(lane->multi, easy);
	curl_easy_reset(easy);
	curl_slist_free_all(exchange->headers);
	exchange->easy = exchange->headers = NULL;
	if (lane->spare_count < SPARE_MAX)
		lane->spare[lane->spare_count++] = easy;
	else
		curl_easy_cleanup(easy);
	end(lane, exchange);
}

static void
fail(struct lane *lane, struct lane_exchange *exchange, int code, const char *what)
{
	error_set(&exchange->error, code, "%s: %s", exchange->url, what);
	release(lane, exchange);
}

static void
begin(struct lane *lane, struct lane_exchange *exchange)
{
	CURL *easy = lane->spare_count > 0 ? lane->spare[--lane->spare_count] : curl_easy_init();

	if (easy == NULL)
		abort(); /* out of memory, as in mem.c */
	exchange->lane = lane;
	exchange->easy = easy;
	transport_stall_begin(&exchange->stall, exchange->limits.stall_ms,
			      exchange->limits.stall_bps, idle_clock_ms(lane));
	buf_init(&exchange->answer, exchange->answer_max);
	exchange->next = lane->active;
	if (lane->active != NULL)
		lane->active->prev = exchange;
	lane->active = exchange;
	set_rules(easy);
	set_request(easy, exchange);
	CURLMcode code = curl_multi_add_handle(lane->multi, easy);
	if (code != CURLM_OK)
		fail(lane, exchange, P2P_INTERNAL, curl_multi_strerror(code));
}

static int
code_of(CURLcode result)
{
	switch (result) {
	case CURLE_OPERATION_TIMEDOUT:
		return P2P_TIMEOUT;
	case CURLE_WEIRD_SERVER_REPLY:
	case CURLE_UNSUPPORTED_PROTOCOL: /* HTTP/0.9, or no HTTP at all */
	case CURLE_BAD_CONTENT_ENCODING:
	case CURLE_FILESIZE_EXCEEDED:
	case CURLE_HTTP2:
		return P2P_BAD_ANSWER;
	default:
		return P2P_UNREACHABLE;
	}
}

static void
finish(struct lane *lane, struct lane_exchange *exchange, CURLcode result)
{
	curl_off_t sent_us = 0, begun_us = 0;

	curl_easy_getinfo(exchange->easy, CURLINFO_PRETRANSFER_TIME_T, &sent_us);
	curl_easy_getinfo(exchange->easy, CURLINFO_STARTTRANSFER_TIME_T, &begun_us);
	exchange->round_trip_us = begun_us > sent_us ? (uint32_t)(begun_us - sent_us) : 1;

	if (atomic_load(&exchange->is_cancelled))
		fail(lane, exchange, P2P_CANCELLED, "cancelled");
	else if (exchange->error.code != P2P_OK) /* one of our callbacks ended it */
		release(lane, exchange);
	else if (result == CURLE_COULDNT_CONNECT && exchange->is_refused)
		fail(lane, exchange, P2P_UNREACHABLE, "no connection goes to such an address");
	else if (result != CURLE_OK)
		fail(lane, exchange, code_of(result), curl_easy_strerror(result));
	else {
		judge(exchange); /* an answer without a body; a refusal stands in its error */
		release(lane, exchange);
	}
}

static void
reap(struct lane *lane)
{
	int left;

	for (CURLMsg *message; (message = curl_multi_info_read(lane->multi, &left)) != NULL;) {
		struct lane_exchange *exchange;

		if (message->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&exchange);
		finish(lane, exchange, message->data.result);
	}
}

/* Goes on with one whose turn has come, or may have changed.  Curl hands over what it kept at once,
 * which may well pause it again. */
static void
resume(struct lane *lane, struct lane_exchange *exchange)
{
	exchange->is_paused = false;
	transport_stall_skip(&exchange->stall, idle_clock_ms(lane) - exchange->paused_ms);
	CURLcode result = curl_easy_pause(exchange->easy, CURLPAUSE_CONT);
	if (result != CURLE_OK)
		finish(lane, exchange, result);
}

static int
turn_ms(const struct lane_exchange *exchange)
{
	return transport_limit_wait_ms(exchange->rate, &exchange->turn, clock_us());
}

/* Goes on with those whose turn has come. */
static void
look_for_turns(struct lane *lane)
{
	for (struct lane_exchange *exchange = lane->active, *next; exchange != NULL;
	     exchange = next) {
		next = exchange->next;
		if (exchange->is_paused && turn_ms(exchange) == 0)
			resume(lane, exchange);
	}
}

/* Ends what stalled; who waits for his turn cannot.  Answers the milliseconds until somebody is to be
 * looked at again. */
static int
look_for_stalls(struct lane *lane)
{
	int next_ms = TRANSPORT_STALL_NEVER;

	for (struct lane_exchange *exchange = lane->active, *next; exchange != NULL;
	     exchange = next) {
		next = exchange->next;
		int wait_ms = exchange->is_paused
				  ? turn_ms(exchange)
				  : transport_stall_look(&exchange->stall, idle_clock_ms(lane));
		if (exchange->is_paused && wait_ms == 0)
			wait_ms = 1;
		if (wait_ms == 0)
			fail(lane, exchange, P2P_TIMEOUT, "no or too few bytes came for too long");
		else if (wait_ms < next_ms)
			next_ms = wait_ms;
	}
	return next_ms;
}

static void
look_for_cancels(struct lane *lane)
{
	for (struct lane_exchange *exchange = lane->active, *next; exchange != NULL;
	     exchange = next) {
		next = exchange->next;
		if (atomic_load(&exchange->is_cancelled))
			fail(lane, exchange, P2P_CANCELLED, "cancelled");
	}
}

/* The thread. */

/* Takes what came in; false when the lane is to end. */
static bool
take_inbox(struct lane *lane)
{
	pthread_mutex_lock(&lane->mu);
	struct lane_exchange *list = lane->inbox;
	bool has_cancels = lane->has_cancels, is_ending = lane->is_ending;
	lane->inbox = NULL;
	lane->inbox_tail = &lane->inbox;
	lane->has_cancels = false;
	pthread_mutex_unlock(&lane->mu);

	for (struct lane_exchange *next; list != NULL; list = next) {
		next = list->next;
		list->next = NULL;
		begin(lane, list);
	}
	if (has_cancels)
		look_for_cancels(lane);
	return !is_ending;
}

static void *
run(void *arg)
{
	struct lane *lane = arg;

	while (take_inbox(lane)) {
		int running;

		curl_multi_perform(lane->multi, &running);
		reap(lane);
		look_for_turns(lane);
		/* curl shortens this to its own next deadline. */
		curl_multi_poll(lane->multi, NULL, 0, look_for_stalls(lane), NULL);
	}
	while (lane->active != NULL)
		fail(lane, lane->active, P2P_SHUTTING_DOWN, "this peer is stopping");
	return NULL;
}

struct lane *
lane_new(struct error *err)
{
	struct lane *lane = mem_zero(1, sizeof(*lane));

	lane->inbox_tail = &lane->inbox;
	pthread_mutex_init(&lane->mu, NULL);
	curl_global_init(CURL_GLOBAL_DEFAULT);
	lane->multi = curl_multi_init();
	if (lane->multi != NULL) {
		curl_multi_setopt(lane->multi, CURLMOPT_MAXCONNECTS, (long)CONNECTS_MAX);
		if (thread_start(&lane->thread, NULL, "p2pd-http", run, lane) == 0)
			return lane;
	}
	error_set(err, P2P_IO, "Cannot start a thread for HTTP requests");
	curl_multi_cleanup(lane->multi);
	curl_global_cleanup();
	pthread_mutex_destroy(&lane->mu);
	free(lane);
	return NULL;
}

void
lane_free(struct lane *lane)
{
	if (lane == NULL)
		return;
	pthread_mutex_lock(&lane->mu);
	lane->is_ending = true;
	pthread_mutex_unlock(&lane->mu);
	curl_multi_wakeup(lane->multi);
	pthread_join(lane->thread, NULL);

	while (lane->spare_count > 0)
		curl_easy_cleanup(lane->spare[--lane->spare_count]);
	curl_multi_cleanup(lane->multi);
	curl_global_cleanup();
	pthread_mutex_destroy(&lane->mu);
	free(lane);
}

void
lane_start(struct lane *lane, struct lane_exchange *exchange)
{
	pthread_mutex_lock(&lane->mu);
	assert(!lane->is_ending);
	exchange->next = NULL;
	*lane->inbox_tail = exchange;
	lane->inbox_tail = &exchange->next;
	pthread_mutex_unlock(&lane->mu);
	curl_multi_wakeup(lane->multi);
}

void
lane_cancel(struct lane *lane, struct lane_exchange *exchange)
{
	atomic_store(&exchange->is_cancelled, true);
	pthread_mutex_lock(&lane->mu);
	lane->has_cancels = true;
	pthread_mutex_unlock(&lane->mu);
	curl_multi_wakeup(lane->multi);
}
