/* SPDX-License-Identifier: MIT
 *
 * rpc_client_call.c - one gRPC call, from its begin to its end.
 *
 * A call is three batches at most at a time, each with a tag inside its struct and a step that
 * runs when it is done:
 *
 *	send	  header, request, end of requests
 *	receive	  header and first message; then one message, again and again, until there is none
 *	status	  the end of the call, beside the others from the start
 *
 * `pending` counts them; the call ends when none is left, whatever it came to.  To end it
 * earlier is to note an error and to cancel it: then all three come back soon.
 *
 * The next message is asked for before the one at hand goes to its sink, so that the peer may send
 * while we hash; flow control lets no more than that come, and all lanes together may hold
 * RPC_CLIENT_MEMORY_MAX.  Messages are given as the slices in which they arrived, without a copy.
 *
 * Under a limit of bandwidth (rate.h) the owner is given what may pass now, and told of the message
 * again when the turn of its next bytes has come.  Meanwhile no other is asked for, and the batch
 * that brought this one counts as pending.
 */
#include "rpc_client_call.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "clock.h"
#include "mem.h"
#include "name.h"
#include "rpc_library.h"

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

	/* The message that is at the owner. */
	grpc_byte_buffer *current;
	grpc_byte_buffer_reader reader;
	const unsigned char *slice_at;   /* what he has not had of the slice at hand */
	size_t slice_left, message_left; /* and of all */
	bool is_paced;                   /* it was begun under a limit */
};

static uint64_t
now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* Ending. */

void
rpc_lane_call_cancel(struct rpc_lane_call *call)
{
	grpc.call_cancel(call->core, NULL);
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
	grpc.call_unref(call->core);
	grpc.byte_buffer_destroy(call->request);
	grpc.byte_buffer_destroy(call->message);
	grpc.metadata_array_destroy(&call->headers);
	grpc.metadata_array_destroy(&call->trailers);
	grpc.slice_unref(call->details);
	free(call);
}

/* The last batch came back. */
static void
finish(struct rpc_lane_call *call)
{
	struct rpc_lane *lane = call->lane;
	struct rpc_exchange *exchange = call->exchange;
	struct rpc_channel *channel = call->channel;
	bool is_doubtful = call->status == GRPC_STATUS_UNAVAILABLE ||
			   call->status == GRPC_STATUS_DEADLINE_EXCEEDED ||
			   exchange->error.code == P2P_TIMEOUT;

	exchange->status = (int)call->status;
	take_details(exchange, call->details);
	exchange->call = NULL;
	call_free(call);
	rpc_lane_call_ended(lane, exchange, channel, is_doubtful);
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
	grpc_call_error ret = grpc.call_start_batch(call->core, batch, count, tag, NULL);
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
	    grpc.slice_from_copied_buffer(call->exchange->body, call->exchange->body_len);

	call->request = grpc.raw_byte_buffer_create(&body, 1);
	grpc.slice_unref(body);
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

/* --- one message, on its way to the owner --- */

static bool
is_wanted(const struct rpc_lane_call *call)
{
	return call->exchange->error.code == P2P_OK && !atomic_load(&call->exchange->is_cancelled);
}

/* The next slice that has bytes; false: there is none. */
static bool
next_slice(struct rpc_lane_call *call)
{
	grpc_slice *slice;

	while (call->slice_left == 0) {
		if (!grpc.byte_buffer_reader_peek(&call->reader, &slice))
			return false;
		call->slice_at = GRPC_SLICE_START_PTR(*slice);
		call->slice_left = GRPC_SLICE_LENGTH(*slice);
	}
	return true;
}

/* Bytes of the slice that may pass now. */
static size_t
allowed_bytes(struct rpc_lane_call *call)
{
	struct rpc_exchange *exchange = call->exchange;
	size_t may = rate_ask(exchange->rate, exchange->rate_key, &exchange->turn, 1,
			      call->message_left, clock_us());

	return may < call->slice_left ? may : call->slice_left;
}

bool
rpc_exchange_next(struct rpc_exchange *exchange, const void **ret_data, size_t *ret_len)
{
	struct rpc_lane_call *call = exchange->call;

	/* A long message ends early too. */
	if (atomic_load(&exchange->is_cancelled) || !next_slice(call))
		return false;
	size_t len = call->is_paced ? allowed_bytes(call) : call->slice_left;
	exchange->is_paused = len == 0;
	if (len == 0)
		return false;
	*ret_data = call->slice_at;
	*ret_len = len;
	call->slice_at += len;
	call->slice_left -= len;
	call->message_left -= len;
	rate_pass(&exchange->turn, len);
	return true;
}

/* Takes up what the batch brought. */
static void
begin_message(struct rpc_lane_call *call)
{
	struct rpc_exchange *exchange = call->exchange;

	call->current = call->message;
	call->message = NULL;
	call->is_paced = rate_is_limited(exchange->rate);
	/* We offered no compression, and the library does not unpack. */
	if (call->current->data.raw.compression != GRPC_COMPRESS_NONE ||
	    !grpc.byte_buffer_reader_init(&call->reader, call->current)) {
		error_set(&exchange->error, P2P_BAD_ANSWER,
			  "%s: answered with a compressed message", exchange->address);
		rpc_lane_call_cancel(call);
		grpc.byte_buffer_destroy(call->current);
		call->current = NULL;
		return;
	}
	call->slice_left = 0;
	call->message_left = grpc.byte_buffer_length(call->current);
	if (!call->is_paced)
		receive_message(call, false);
}

/* The owner has had all that he wanted of it. */
static void
end_message(struct rpc_lane_call *call)
{
	grpc.byte_buffer_reader_destroy(&call->reader);
	grpc.byte_buffer_destroy(call->current);
	call->current = NULL;
	if (call->is_paced && is_wanted(call))
		receive_message(call, false);
}

/* Lets the owner have the message, or what is left of it. */
static void
deliver(struct rpc_lane_call *call)
{
	struct rpc_exchange *exchange = call->exchange;
	uint64_t begin_ms = clock_ms();

	exchange->is_paused = false;
	if (exchange->ops->message(exchange, grpc.byte_buffer_length(call->current)) != P2P_OK)
		rpc_lane_call_cancel(call);
	rpc_lane_was_busy(call->lane, clock_ms() - begin_ms);
}

void
rpc_lane_call_go_on(struct rpc_lane_call *call)
{
	if (call->current == NULL && call->message != NULL && is_wanted(call))
		begin_message(call);
	if (call->current != NULL && is_wanted(call))
		deliver(call);
	if (call->current != NULL && call->exchange->is_paused && is_wanted(call)) {
		rpc_lane_call_paused(call->lane, call->exchange);
		return;
	}
	if (call->current != NULL)
		end_message(call);
	came_back(call);
}

static void
on_received(void *arg)
{
	struct rpc_lane_call *call = arg;
	struct rpc_exchange *exchange = call->exchange;

	if (exchange->round_trip_us == 0) {
		uint64_t end_us = now_us();

		exchange->round_trip_us = call->begin_us > 0 && end_us > call->begin_us
					      ? (uint32_t)(end_us - call->begin_us)
					      : 1;
	}
	rpc_lane_call_go_on(call);
}

/* Beginning. */

static gpr_timespec
deadline_of(const struct rpc_exchange *exchange)
{
	uint64_t now_ms = clock_ms();

	if (exchange->until_ms == 0)
		return gpr.inf_future(GPR_CLOCK_MONOTONIC);
	uint64_t left_ms = exchange->until_ms > now_ms ? exchange->until_ms - now_ms : 0;
	return gpr.time_add(gpr.now(GPR_CLOCK_MONOTONIC),
			    gpr.time_from_millis((int64_t)left_ms, GPR_TIMESPAN));
}

void
rpc_lane_call_begin(struct rpc_lane *lane, grpc_completion_queue *queue,
		    struct rpc_exchange *exchange, struct rpc_channel *channel)
{
	struct rpc_lane_call *call = mem_zero(1, sizeof(*call));

	call->lane = lane;
	call->exchange = exchange;
	call->channel = channel;
	call->details = grpc.empty_slice();
	grpc.metadata_array_init(&call->headers);
	grpc.metadata_array_init(&call->trailers);
	call->core = grpc.channel_create_call(
	    rpc_channel_core(channel), NULL, GRPC_PROPAGATE_DEFAULTS, queue,
	    grpc.slice_from_static_string(exchange->method), NULL, deadline_of(exchange), NULL);
	if (rpc_channel_is_ready(channel))
		call->begin_us = now_us();
	exchange->call = call;
	receive_status(call);
	send_request(call);
	receive_message(call, true);
}
