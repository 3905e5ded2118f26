/* SPDX-License-Identifier: MIT
 *
 * rpc_fake.c - one thread, one queue, one generic method.
 *
 * A call is received whole (its one message), then its reply is sent message by message, then the
 * status.  RECV_CLOSE runs beside all this; a call is freed when its last batch came back.
 */
#include "rpc_fake.h"

#include <assert.h>
#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/support/alloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "mem.h"

struct call;

struct tag {
	void (*step)(struct call *call);
	struct call *call;
};

struct call {
	struct rpc_fake *fake;
	struct call *next; /* all that were begun */
	grpc_call *core;
	grpc_call_details details;
	grpc_metadata_array headers;
	grpc_byte_buffer *request, *message;
	int is_cancelled;
	unsigned pending;
	struct tag begun, received, sent, closed;
	struct rpc_fake_reply reply;
	size_t at;
	uint64_t due_ms; /* of the next message; 0: none is due */
};

struct rpc_fake {
	rpc_fake_fn fn;
	void *arg;
	grpc_server *server;
	grpc_completion_queue *queue;
	pthread_t thread;
	uint16_t port;
	atomic_uint calls, live;
	struct call *all;
	unsigned objects; /* calls, those that wait to begin included */
	bool is_stopped;
	struct tag stopped;
};

void
rpc_fake_add(struct rpc_fake_reply *reply, const void *data, size_t len)
{
	assert(reply->count < RPC_FAKE_MESSAGES_MAX);
	reply->messages[reply->count] = mem_alloc(len + 1);
	if (len > 0)
		memcpy(reply->messages[reply->count], data, len);
	reply->lens[reply->count++] = len;
}

static void
start(struct call *call, const grpc_op *ops, size_t count, struct tag *tag,
      void (*step)(struct call *))
{
	*tag = (struct tag){ .step = step, .call = call };
	call->pending++;
	grpc_call_error ret = grpc_call_start_batch(call->core, ops, count, tag, NULL);
	assert(ret == GRPC_CALL_OK);
	(void)ret;
}

static void
call_free(struct call *call)
{
	struct rpc_fake *fake = call->fake;

	for (struct call **at = &fake->all; *at != NULL; at = &(*at)->next)
		if (*at == call) {
			*at = call->next;
			break;
		}
	for (size_t i = 0; i < call->reply.count; i++)
		free(call->reply.messages[i]);
	grpc_byte_buffer_destroy(call->request);
	grpc_byte_buffer_destroy(call->message);
	grpc_metadata_array_destroy(&call->headers);
	grpc_call_details_destroy(&call->details);
	if (call->core != NULL) {
		grpc_call_unref(call->core);
		atomic_fetch_sub(&fake->live, 1);
	}
	fake->objects--;
	free(call);
}

static void
on_closed(struct call *call)
{
	call->due_ms = 0;
}

static void
on_ended(struct call *call)
{
	(void)call;
}

static void
send_status(struct call *call)
{
	const char *text = call->reply.details != NULL ? call->reply.details : "";
	grpc_slice details = grpc_slice_from_static_string(text);
	grpc_op op = { .op = GRPC_OP_SEND_STATUS_FROM_SERVER };

	op.data.send_status_from_server.status = (grpc_status_code)call->reply.status;
	op.data.send_status_from_server.status_details = &details;
	start(call, &op, 1, &call->sent, on_ended);
}

static void on_sent(struct call *call);

static void
send_next(struct call *call)
{
	call->due_ms = 0;
	if (call->at < call->reply.count) {
		grpc_slice slice = grpc_slice_from_copied_buffer(call->reply.messages[call->at],
								 call->reply.lens[call->at]);
		grpc_op op = { .op = GRPC_OP_SEND_MESSAGE };

		grpc_byte_buffer_destroy(call->message);
		call->message = grpc_raw_byte_buffer_create(&slice, 1);
		grpc_slice_unref(slice);
		call->at++;
		op.data.send_message.send_message = call->message;
		start(call, &op, 1, &call->sent, on_sent);
	} else if (call->reply.hang_up) {
		grpc_call_cancel(call->core, NULL);
	} else if (!call->reply.hold) {
		send_status(call);
	}
}

static void
on_sent(struct call *call)
{
	if (call->reply.pause_ms > 0)
		call->due_ms = clock_ms() + (uint64_t)call->reply.pause_ms;
	else
		send_next(call);
}

static void
on_headers(struct call *call)
{
	send_next(call);
}

static void
on_received(struct call *call)
{
	char *method = grpc_slice_to_c_string(call->details.method);
	grpc_op op = { .op = GRPC_OP_SEND_INITIAL_METADATA };
	grpc_byte_buffer_reader reader;

	if (call->request != NULL && grpc_byte_buffer_reader_init(&reader, call->request)) {
		grpc_slice all = grpc_byte_buffer_reader_readall(&reader);

		call->fake->fn(call->fake->arg, method, GRPC_SLICE_START_PTR(all),
			       GRPC_SLICE_LENGTH(all), &call->reply);
		grpc_slice_unref(all);
		grpc_byte_buffer_reader_destroy(&reader);
	}
	gpr_free(method);
	start(call, &op, 1, &call->sent, on_headers);
}

static void expect(struct rpc_fake *fake);

static void
on_begun(struct call *call)
{
	grpc_op close = { .op = GRPC_OP_RECV_CLOSE_ON_SERVER };
	grpc_op receive = { .op = GRPC_OP_RECV_MESSAGE };

	if (call->core == NULL)
		return;
	expect(call->fake);
	atomic_fetch_add(&call->fake->calls, 1);
	atomic_fetch_add(&call->fake->live, 1);
	close.data.recv_close_on_server.cancelled = &call->is_cancelled;
	start(call, &close, 1, &call->closed, on_closed);
	receive.data.recv_message.recv_message = &call->request;
	start(call, &receive, 1, &call->received, on_received);
}

static void
expect(struct rpc_fake *fake)
{
	struct call *call = mem_zero(1, sizeof(*call));

	call->fake = fake;
	call->next = fake->all;
	fake->all = call;
	fake->objects++;
	grpc_metadata_array_init(&call->headers);
	grpc_call_details_init(&call->details);
	call->begun = (struct tag){ .step = on_begun, .call = call };
	call->pending = 1;
	grpc_server_request_call(fake->server, &call->core, &call->details, &call->headers,
				 fake->queue, fake->queue, &call->begun);
}

/* Sends what is due; answers when to look again. */
static gpr_timespec
look(struct rpc_fake *fake)
{
	uint64_t now_ms = clock_ms(), next_ms = now_ms + 1000000;

	for (struct call *call = fake->all; call != NULL; call = call->next) {
		if (call->due_ms != 0 && call->due_ms <= now_ms)
			send_next(call);
		if (call->due_ms != 0 && call->due_ms < next_ms)
			next_ms = call->due_ms;
	}
	return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
			    gpr_time_from_millis((int64_t)(next_ms - now_ms), GPR_TIMESPAN));
}

static void *
run(void *arg)
{
	struct rpc_fake *fake = arg;

	while (!fake->is_stopped || fake->objects > 0) {
		grpc_event event = grpc_completion_queue_next(fake->queue, look(fake), NULL);
		struct tag *tag = event.tag;

		if (event.type != GRPC_OP_COMPLETE)
			continue;
		if (tag == &fake->stopped) {
			fake->is_stopped = true;
			continue;
		}
		struct call *call = tag->call;
		/* A failed batch leads nowhere. */
		if (event.success || tag == &call->closed)
			tag->step(call);
		if (--call->pending == 0 && call->due_ms == 0)
			call_free(call);
	}
	return NULL;
}

struct rpc_fake *
rpc_fake_new(rpc_fake_fn fn, void *arg, uint16_t port, unsigned extra)
{
	struct rpc_fake *fake = mem_zero(1, sizeof(*fake));
	grpc_arg reuse = { .type = GRPC_ARG_INTEGER, .key = (char *)GRPC_ARG_ALLOW_REUSEPORT };
	grpc_channel_args args = { .num_args = 1, .args = &reuse };

	grpc_init();
	fake->fn = fn;
	fake->arg = arg;
	fake->port = port;
	fake->queue = grpc_completion_queue_create_for_next(NULL);
	fake->server = grpc_server_create(&args, NULL);
	grpc_server_register_completion_queue(fake->server, fake->queue, NULL);
	grpc_server_credentials *insecure = grpc_insecure_server_credentials_create();
	for (unsigned i = 0; i <= extra; i++) {
		char address[32];

		snprintf(address, sizeof(address), "127.0.0.%u:%u", i + 1, fake->port);
		fake->port = (uint16_t)grpc_server_add_http2_port(fake->server, address, insecure);
		if (fake->port == 0)
			abort();
	}
	grpc_server_credentials_release(insecure);
	grpc_server_start(fake->server);
	expect(fake);
	pthread_create(&fake->thread, NULL, run, fake);
	return fake;
}

void
rpc_fake_free(struct rpc_fake *fake)
{
	grpc_server_shutdown_and_notify(fake->server, fake->queue, &fake->stopped);
	grpc_server_cancel_all_calls(fake->server);
	pthread_join(fake->thread, NULL);
	grpc_server_destroy(fake->server);
	grpc_completion_queue_shutdown(fake->queue);
	while (grpc_completion_queue_next(fake->queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL)
		   .type != GRPC_QUEUE_SHUTDOWN)
		;
	grpc_completion_queue_destroy(fake->queue);
	grpc_shutdown_blocking();
	free(fake);
}

uint16_t
rpc_fake_port(const struct rpc_fake *fake)
{
	return fake->port;
}

unsigned
rpc_fake_calls(struct rpc_fake *fake)
{
	return atomic_load(&fake->calls);
}

unsigned
rpc_fake_live(struct rpc_fake *fake)
{
	return atomic_load(&fake->live);
}
