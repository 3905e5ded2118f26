/* SPDX-License-Identifier: MIT
 *
 * rpc_client_lane.c - one thread, one completion queue, any number of gRPC calls.
 *
 * Exchanges come in through an inbox under a mutex; a bell wakes the thread: an empty batch on a call of its own
 * (to nowhere, on a lame channel), whose tag comes out of the queue at once.  It is rung and noted
 * under the mutex, so that at most one is on its way.  From then on only the lane's thread touches an exchange, but for
 * the mark of cancelling.
 *
 * One exchange is one call of three batches at most at a time, each with a tag inside the call's
 * struct and a step that runs when it is done:
 *
 *	send	  header, request, end of requests
 *	receive	  header and first message; then one message, again and again, until there is none
 *	status	  the end of the call, beside the others from the start
 *
 * `pending` counts them; the exchange ends when none is left, whatever the call came to.  To end it
 * earlier is to note an error and to cancel the call: then all three come back soon.
 *
 * The next message is asked for before the one at hand goes to its sink, so that the peer may send
 * while we hash; flow control lets no more than that come, and all lanes together may hold
 * RPC_CLIENT_MEMORY_MAX.  Messages are given as the slices in which they arrived, without a copy.
 *
 * With nothing to look after the thread waits in its queue without a time-out.  Deadlines of small calls are the
 * library's; what is looked after here are stalls (on a clock that stands still while sinks work),
 * exchanges that wait for their turn, and idle channels.
 *
 * Left to rpc_client.c: what a request says and what an answer means.
 */
#include "rpc_client_lane.h"

#include <assert.h>
#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "clock.h"
#include "mem.h"
#include "name.h"
#include "rpc_client_channel.h"

struct rpc_library {
	grpc_resource_quota *quota;
};

/* What a completion queue gives back. */
struct rpc_tag {
	void (*step)(void *arg);
	void *arg;
};

struct exchange_list {
	struct rpc_exchange *first, *last;
};

struct rpc_lane {
	pthread_t thread;
	grpc_completion_queue *queue;
	grpc_channel *nowhere;
	grpc_call *bell;
	struct rpc_tag bell_tag;
	/* The thread's. */
	struct rpc_channels channels;
	struct exchange_list active, waiting; /* with a call; for one */
	unsigned calls, calls_max;
	uint64_t busy_ms; /* spent in sinks so far */
	uint64_t look_ms; /* when to look after things again */
	bool is_stopping;

	pthread_mutex_t mu; /* guards what follows */
	struct rpc_exchange *inbox, **inbox_tail;
	bool has_rung, has_cancels, is_ending;
};

struct rpc_lane_call {
	struct rpc_lane *lane;
	struct rpc_exchange *exchange;
	struct rpc_channel *channel;
	grpc_call *core;
	unsigned pending; /* batches */
	struct rpc_tag send_tag, receive_tag, status_tag;
	uint64_t begin_us; /* when the request could leave; 0: not yet */

	/* What the batches point at. */
	grpc_byte_buffer *request, *message;
	grpc_metadata_array headers, trailers;
	grpc_status_code status;
	grpc_slice details;
	grpc_byte_buffer_reader reader; /* of the message that is at the owner */
};

static uint64_t
now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* Time that goes by while this thread waits for the network, and only then. */
static uint64_t
idle_clock_ms(const struct rpc_lane *lane)
{
	return clock_ms() - lane->busy_ms;
}

static void
look_within(struct rpc_lane *lane, int wait_ms)
{
	uint64_t at_ms =
	    wait_ms == TRANSPORT_STALL_NEVER ? UINT64_MAX : clock_ms() + (uint64_t)wait_ms;

	if (at_ms < lane->look_ms)
		lane->look_ms = at_ms;
}

static void
list_add(struct exchange_list *list, struct rpc_exchange *exchange)
{
	exchange->next = NULL;
	exchange->prev = list->last;
	*(list->last != NULL ? &list->last->next : &list->first) = exchange;
	list->last = exchange;
}

static void
list_remove(struct exchange_list *list, struct rpc_exchange *exchange)
{
	*(exchange->prev != NULL ? &exchange->prev->next : &list->first) = exchange->next;
	*(exchange->next != NULL ? &exchange->next->prev : &list->last) = exchange->prev;
	exchange->next = exchange->prev = NULL;
}

/* Ending. */

/* Notes why, unless there is a reason already, and ends the call. */
static void
give_up(struct rpc_exchange *exchange, int code, const char *what)
{
	if (exchange->error.code == P2P_OK)
		error_set(&exchange->error, code, "%s: %s", exchange->address, what);
	grpc_call_cancel(exchange->call->core, NULL);
}

/* One that waits. */
static void
turn_away(struct rpc_lane *lane, struct rpc_exchange *exchange, int code, const char *what)
{
	list_remove(&lane->waiting, exchange);
	error_set(&exchange->error, code, "%s: %s", exchange->address, what);
	exchange->ops->ended(exchange);
}

static bool
is_control(char c)
{
	return (unsigned char)c < ' ' || c == 0x7f;
}

/* The words of a status come from outside: what is no printable UTF-8 becomes '?'. */
static void
take_details(struct rpc_exchange *exchange, grpc_slice details)
{
	const char *text = (const char *)GRPC_SLICE_START_PTR(details);
	size_t len = GRPC_SLICE_LENGTH(details);

	if (len > sizeof(exchange->details) - 1)
		len = sizeof(exchange->details) - 1;
	for (size_t at = 0; at < len;) {
		size_t end = at + name_utf8_span(text + at, len - at);

		for (; at < end; at++)
			exchange->details[at] = is_control(text[at]) ? '?' : text[at];
		if (at < len)
			exchange->details[at++] = '?';
	}
	exchange->details[len] = '\0';
}

static void
call_free(struct rpc_lane_call *call)
{
	grpc_call_unref(call->core);
	grpc_byte_buffer_destroy(call->request);
	grpc_byte_buffer_destroy(call->message);
	grpc_metadata_array_destroy(&call->headers);
	grpc_metadata_array_destroy(&call->trailers);
	grpc_slice_unref(call->details);
	free(call);
}

static void begin_waiting(struct rpc_lane *lane);

/* The last batch came back. */
static void
finish(struct rpc_lane_call *call)
{
	struct rpc_lane *lane = call->lane;
	struct rpc_exchange *exchange = call->exchange;
	bool is_doubtful = call->status == GRPC_STATUS_UNAVAILABLE ||
			   call->status == GRPC_STATUS_DEADLINE_EXCEEDED ||
			   exchange->error.code == P2P_TIMEOUT;

	exchange->status = (int)call->status;
	take_details(exchange, call->details);
	rpc_channel_leave(&lane->channels, call->channel, is_doubtful);
	look_within(lane, RPC_CLIENT_CHANNEL_IDLE_MS);
	list_remove(&lane->active, exchange);
	lane->calls--;
	exchange->call = NULL;
	call_free(call);
	exchange->ops->ended(exchange);
	begin_waiting(lane);
}

static void
came_back(struct rpc_lane_call *call)
{
	if (--call->pending == 0)
		finish(call);
}

/* Batches. */

static void
start_batch(struct rpc_lane_call *call, const grpc_op *batch, size_t count, struct rpc_tag *tag,
	    void (*step)(void *))
{
	*tag = (struct rpc_tag){ .step = step, .arg = call };
	call->pending++;
	grpc_call_error ret = grpc_call_start_batch(call->core, batch, count, tag, NULL);
	assert(ret == GRPC_CALL_OK); /* else the batch is malformed, or one too many */
	(void)ret;
}

static void
on_sent(void *arg)
{
	struct rpc_lane_call *call = arg;

	if (call->begin_us == 0)
		call->begin_us = now_us();
	came_back(call);
}

static void
send_request(struct rpc_lane_call *call)
{
	grpc_slice body =
	    grpc_slice_from_copied_buffer(call->exchange->body, call->exchange->body_len);

	call->request = grpc_raw_byte_buffer_create(&body, 1);
	grpc_slice_unref(body);
	const grpc_op batch[] = {
		{ .op = GRPC_OP_SEND_INITIAL_METADATA },
		{ .op = GRPC_OP_SEND_MESSAGE, .data.send_message.send_message = call->request },
		{ .op = GRPC_OP_SEND_CLOSE_FROM_CLIENT },
	};
	start_batch(call, batch, 3, &call->send_tag, on_sent);
}

static void
on_status(void *arg)
{
	came_back(arg);
}

static void
receive_status(struct rpc_lane_call *call)
{
	const grpc_op batch = { .op = GRPC_OP_RECV_STATUS_ON_CLIENT,
				.data.recv_status_on_client = {
				    .trailing_metadata = &call->trailers,
				    .status = &call->status,
				    .status_details = &call->details,
				} };

	start_batch(call, &batch, 1, &call->status_tag, on_status);
}

static void on_received(void *arg);

static void
receive_message(struct rpc_lane_call *call, bool is_first)
{
	const grpc_op batch[] = {
		{ .op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = &call->message },
		{ .op = GRPC_OP_RECV_INITIAL_METADATA,
		  .data.recv_initial_metadata.recv_initial_metadata = &call->headers },
	};

	start_batch(call, batch, is_first ? 2 : 1, &call->receive_tag, on_received);
}

/* Lets the owner have a message. */
static void
deliver(struct rpc_lane_call *call, grpc_byte_buffer *message)
{
	struct rpc_lane *lane = call->lane;
	struct rpc_exchange *exchange = call->exchange;
	uint64_t begin_ms = clock_ms();

	/* We offered no compression, and the library does not unpack. */
	if (message->data.raw.compression != GRPC_COMPRESS_NONE ||
	    !grpc_byte_buffer_reader_init(&call->reader, message)) {
		give_up(exchange, P2P_BAD_ANSWER, "answered with a compressed message");
		return;
	}
	if (exchange->ops->message(exchange, grpc_byte_buffer_length(message)) != P2P_OK)
		grpc_call_cancel(call->core, NULL);
	grpc_byte_buffer_reader_destroy(&call->reader);
	lane->busy_ms += clock_ms() - begin_ms;
}

bool
rpc_exchange_next(struct rpc_exchange *exchange, const void **ret_data, size_t *ret_len)
{
	grpc_slice *slice;

	/* A long message ends early too. */
	if (atomic_load(&exchange->is_cancelled) ||
	    !grpc_byte_buffer_reader_peek(&exchange->call->reader, &slice))
		return false;
	*ret_data = GRPC_SLICE_START_PTR(*slice);
	*ret_len = GRPC_SLICE_LENGTH(*slice);
	return true;
}

static void
on_received(void *arg)
{
	struct rpc_lane_call *call = arg;
	struct rpc_exchange *exchange = call->exchange;
	grpc_byte_buffer *message = call->message;

	call->message = NULL;
	if (exchange->round_trip_us == 0) {
		uint64_t end_us = now_us();

		exchange->round_trip_us = call->begin_us > 0 && end_us > call->begin_us
					      ? (uint32_t)(end_us - call->begin_us)
					      : 1;
	}
	if (message != NULL && exchange->error.code == P2P_OK &&
	    !atomic_load(&exchange->is_cancelled)) {
		receive_message(call, false);
		deliver(call, message);
	}
	grpc_byte_buffer_destroy(message);
	came_back(call);
}

/* Beginning. */

static gpr_timespec
deadline_of(const struct rpc_exchange *exchange)
{
	uint64_t now_ms = clock_ms();

	if (exchange->until_ms == 0)
		return gpr_inf_future(GPR_CLOCK_MONOTONIC);
	uint64_t left_ms = exchange->until_ms > now_ms ? exchange->until_ms - now_ms : 0;
	return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
			    gpr_time_from_millis((int64_t)left_ms, GPR_TIMESPAN));
}

static void
call_begin(struct rpc_lane *lane, struct rpc_exchange *exchange, struct rpc_channel *channel)
{
	struct rpc_lane_call *call = mem_zero(1, sizeof(*call));

	call->lane = lane;
	call->exchange = exchange;
	call->channel = channel;
	call->details = grpc_empty_slice();
	grpc_metadata_array_init(&call->headers);
	grpc_metadata_array_init(&call->trailers);
	call->core = grpc_channel_create_call(
	    rpc_channel_core(channel), NULL, GRPC_PROPAGATE_DEFAULTS, lane->queue,
	    grpc_slice_from_static_string(exchange->method), NULL, deadline_of(exchange), NULL);
	if (rpc_channel_is_ready(channel))
		call->begin_us = now_us();
	exchange->call = call;
	transport_stall_begin(&exchange->stall, exchange->limits.stall_ms,
			      exchange->limits.stall_bps, idle_clock_ms(lane));
	lane->look_ms = 0;
	list_add(&lane->active, exchange);
	lane->calls++;
	receive_status(call);
	send_request(call);
	receive_message(call, true);
}

/* Those that wait, as far as there is room now. */
static void
begin_waiting(struct rpc_lane *lane)
{
	while (lane->waiting.first != NULL && lane->calls < lane->calls_max && !lane->is_stopping) {
		struct rpc_exchange *exchange = lane->waiting.first;
		struct rpc_channel *channel = rpc_channel_take(&lane->channels, exchange);

		if (channel == NULL)
			return;
		list_remove(&lane->waiting, exchange);
		call_begin(lane, exchange, channel);
	}
}

static void
begin(struct rpc_lane *lane, struct rpc_exchange *exchange)
{
	const struct rpc_lane_limits *limits = &exchange->limits;

	exchange->until_ms = limits->total_ms > 0 ? clock_ms() + limits->total_ms : 0;
	transport_stall_begin(&exchange->stall, limits->stall_ms, limits->stall_bps,
			      idle_clock_ms(lane));
	lane->look_ms = 0;
	list_add(&lane->waiting, exchange);
}

/* Looking after things. */

static void
look_for_stalls(struct rpc_lane *lane)
{
	for (struct rpc_exchange *exchange = lane->active.first; exchange != NULL;
	     exchange = exchange->next) {
		int wait_ms = transport_stall_look(&exchange->stall, idle_clock_ms(lane));

		if (wait_ms == 0)
			give_up(exchange, P2P_TIMEOUT, "no or too few bytes came for too long");
		else
			look_within(lane, wait_ms);
	}
}

static void
look_at_waiting(struct rpc_lane *lane)
{
	uint64_t now_ms = clock_ms();

	for (struct rpc_exchange *exchange = lane->waiting.first, *next; exchange != NULL;
	     exchange = next) {
		next = exchange->next;
		int wait_ms = transport_stall_look(&exchange->stall, idle_clock_ms(lane));

		if (wait_ms == 0 || (exchange->until_ms != 0 && exchange->until_ms <= now_ms)) {
			turn_away(lane, exchange, P2P_TIMEOUT, "too much else is under way");
			continue;
		}
		look_within(lane, wait_ms);
		if (exchange->until_ms != 0)
			look_within(lane, (int)(exchange->until_ms - now_ms));
	}
}

static void
look_for_cancels(struct rpc_lane *lane)
{
	for (struct rpc_exchange *exchange = lane->active.first; exchange != NULL;
	     exchange = exchange->next)
		if (atomic_load(&exchange->is_cancelled))
			give_up(exchange, P2P_CANCELLED, "cancelled");
	for (struct rpc_exchange *exchange = lane->waiting.first, *next; exchange != NULL;
	     exchange = next) {
		next = exchange->next;
		if (atomic_load(&exchange->is_cancelled))
			turn_away(lane, exchange, P2P_CANCELLED, "cancelled");
	}
}

static void
stop(struct rpc_lane *lane)
{
	static const char why[] = "this peer is stopping";

	lane->is_stopping = true;
	while (lane->waiting.first != NULL)
		turn_away(lane, lane->waiting.first, P2P_SHUTTING_DOWN, why);
	for (struct rpc_exchange *exchange = lane->active.first; exchange != NULL;
	     exchange = exchange->next)
		give_up(exchange, P2P_SHUTTING_DOWN, why);
}

/* The thread. */

/* Takes what came in. */
static void
on_bell(void *arg)
{
	struct rpc_lane *lane = arg;

	pthread_mutex_lock(&lane->mu);
	struct rpc_exchange *list = lane->inbox;
	bool has_cancels = lane->has_cancels, is_ending = lane->is_ending;
	lane->inbox = NULL;
	lane->inbox_tail = &lane->inbox;
	lane->has_cancels = lane->has_rung = false;
	pthread_mutex_unlock(&lane->mu);

	for (struct rpc_exchange *next; list != NULL; list = next) {
		next = list->next;
		begin(lane, list);
	}
	if (has_cancels)
		look_for_cancels(lane);
	begin_waiting(lane);
	if (is_ending)
		stop(lane);
}

static void
look_after_things(struct rpc_lane *lane)
{
	if (clock_ms() < lane->look_ms)
		return;
	lane->look_ms = UINT64_MAX;
	look_for_stalls(lane);
	look_at_waiting(lane);
	look_within(lane, rpc_channels_look(&lane->channels));
}

static gpr_timespec
next_look(const struct rpc_lane *lane)
{
	uint64_t now_ms = clock_ms();

	if (lane->look_ms == UINT64_MAX)
		return gpr_inf_future(GPR_CLOCK_MONOTONIC);
	uint64_t wait_ms = lane->look_ms > now_ms ? lane->look_ms - now_ms : 0;
	return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
			    gpr_time_from_millis((int64_t)wait_ms, GPR_TIMESPAN));
}

/* Nothing else is in the queue any more. */
static void
close_channels(struct rpc_lane *lane)
{
	for (size_t left = rpc_channels_settle(&lane->channels, lane->queue, lane); left > 0;
	     left--)
		grpc_completion_queue_next(lane->queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
	rpc_channels_fini(&lane->channels);
}

static void *
run(void *arg)
{
	struct rpc_lane *lane = arg;

	while (!lane->is_stopping || lane->active.first != NULL) {
		grpc_event event = grpc_completion_queue_next(lane->queue, next_look(lane), NULL);

		if (event.type == GRPC_OP_COMPLETE) {
			struct rpc_tag *tag = event.tag;

			tag->step(tag->arg);
		}
		look_after_things(lane);
	}
	close_channels(lane);
	return NULL;
}

/* Holds mu. */
static void
ring(struct rpc_lane *lane)
{
	if (lane->has_rung)
		return;
	lane->has_rung = true;
	grpc_call_start_batch(lane->bell, NULL, 0, &lane->bell_tag, NULL);
}

void
rpc_lane_start(struct rpc_lane *lane, struct rpc_exchange *exchange)
{
	pthread_mutex_lock(&lane->mu);
	assert(!lane->is_ending);
	exchange->next = NULL;
	*lane->inbox_tail = exchange;
	lane->inbox_tail = &exchange->next;
	ring(lane);
	pthread_mutex_unlock(&lane->mu);
}

void
rpc_lane_cancel(struct rpc_lane *lane, struct rpc_exchange *exchange)
{
	atomic_store(&exchange->is_cancelled, true);
	pthread_mutex_lock(&lane->mu);
	lane->has_cancels = true;
	ring(lane);
	pthread_mutex_unlock(&lane->mu);
}

/* Life. */

struct rpc_library *
rpc_library_new(void)
{
	struct rpc_library *library = mem_zero(1, sizeof(*library));

	grpc_init();
	library->quota = grpc_resource_quota_create("rpc_client");
	grpc_resource_quota_resize(library->quota, RPC_CLIENT_MEMORY_MAX);
	return library;
}

void
rpc_library_free(struct rpc_library *library)
{
	if (library == NULL)
		return;
	grpc_resource_quota_unref(library->quota);
	grpc_shutdown_blocking();
	free(library);
}

static int
start_thread(struct rpc_lane *lane)
{
	sigset_t all, before;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int ret = pthread_create(&lane->thread, NULL, run, lane);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return ret;
}

/* Without its thread. */
static void
dismantle(struct rpc_lane *lane)
{
	grpc_call_unref(lane->bell);
	grpc_channel_destroy(lane->nowhere);
	grpc_completion_queue_shutdown(lane->queue);
	while (grpc_completion_queue_next(lane->queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL)
		   .type != GRPC_QUEUE_SHUTDOWN)
		;
	grpc_completion_queue_destroy(lane->queue);
	pthread_mutex_destroy(&lane->mu);
	free(lane);
}

struct rpc_lane *
rpc_lane_new(struct rpc_library *library, const struct rpc_lane_room *room, struct error *err)
{
	struct rpc_lane *lane = mem_zero(1, sizeof(*lane));

	lane->channels.quota = library->quota;
	lane->channels.message_max = room->message_max;
	lane->calls_max = room->calls_max;
	lane->look_ms = UINT64_MAX;
	lane->inbox_tail = &lane->inbox;
	lane->bell_tag = (struct rpc_tag){ .step = on_bell, .arg = lane };
	pthread_mutex_init(&lane->mu, NULL);
	lane->queue = grpc_completion_queue_create_for_next(NULL);
	lane->nowhere = grpc_lame_client_channel_create("bell", GRPC_STATUS_UNAVAILABLE, "a bell");
	lane->bell = grpc_channel_create_call(lane->nowhere, NULL, GRPC_PROPAGATE_DEFAULTS,
					      lane->queue, grpc_slice_from_static_string("/bell"),
					      NULL, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
	if (start_thread(lane) == 0)
		return lane;
	error_set(err, P2P_IO, "Cannot start a thread for gRPC requests");
	dismantle(lane);
	return NULL;
}

void
rpc_lane_free(struct rpc_lane *lane)
{
	if (lane == NULL)
		return;
	pthread_mutex_lock(&lane->mu);
	lane->is_ending = true;
	ring(lane);
	pthread_mutex_unlock(&lane->mu);
	pthread_join(lane->thread, NULL);
	dismantle(lane);
}
