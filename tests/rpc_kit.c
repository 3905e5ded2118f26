/* SPDX-License-Identifier: MIT
 *
 * rpc_kit.c - a small gRPC client for tests.
 *
 * Every step is one batch, and its tag, the address of something of the call, is plucked at
 * once.  Only the status is asked for when the call begins and plucked when it ends.
 */
#include "rpc_kit.h"

#include <check.h>
#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc_security.h>
#include <grpc/slice.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MESSAGE_MAX (64 << 20) /* bytes that this client takes */

static grpc_arg
number(const char *key, int value)
{
	return (grpc_arg){ GRPC_ARG_INTEGER, (char *)key, { .integer = value } };
}

void
rpc_kit_connect(struct rpc_kit *kit, uint16_t port)
{
	char target[64];
	grpc_arg args[] = {
		number(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1),
		number(GRPC_ARG_ENABLE_HTTP_PROXY, 0),
		number(GRPC_ARG_ENABLE_RETRIES, 0),
		number(GRPC_ARG_HTTP2_BDP_PROBE, 0), /* who does not read takes 64 KiB */
		number(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, MESSAGE_MAX),
	};
	grpc_channel_args list = { sizeof(args) / sizeof(args[0]), args };

	grpc_init();
	kit->queue = grpc_completion_queue_create_for_pluck(NULL);
	snprintf(target, sizeof(target), "ipv4:127.0.0.1:%u", port);
	grpc_channel_credentials *insecure = grpc_insecure_credentials_create();
	kit->channel = grpc_channel_create(target, insecure, &list);
	grpc_channel_credentials_release(insecure);
}

void
rpc_kit_close(struct rpc_kit *kit)
{
	grpc_channel_destroy(kit->channel);
	grpc_completion_queue_shutdown(kit->queue);
	grpc_completion_queue_destroy(kit->queue);
	grpc_shutdown_blocking();
}

/* Starts a batch; `tag` is anything that no other batch of the call has at this moment. */
static void
start(struct rpc_kit_call *call, const grpc_op *ops, size_t count, void *tag)
{
	grpc_call_error error = grpc_call_start_batch(call->call, ops, count, tag, NULL);

	ck_assert_int_eq(error, GRPC_CALL_OK);
}

static bool
wait(struct rpc_kit_call *call, void *tag)
{
	grpc_event event = grpc_completion_queue_pluck(call->kit->queue, tag,
						       gpr_inf_future(GPR_CLOCK_REALTIME), NULL);

	ck_assert_int_eq(event.type, GRPC_OP_COMPLETE);
	return event.success;
}

void
rpc_kit_open(struct rpc_kit_call *call, struct rpc_kit *kit, const char *path, unsigned deadline_ms)
{
	unsigned ms = deadline_ms != 0 ? deadline_ms : RPC_KIT_WAIT_MS;
	gpr_timespec deadline =
	    gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis(ms, GPR_TIMESPAN));
	grpc_slice method = grpc_slice_from_copied_string(path);

	memset(call, 0, sizeof(*call));
	call->kit = kit;
	call->details = grpc_empty_slice();
	call->call = grpc_channel_create_call(kit->channel, NULL, GRPC_PROPAGATE_DEFAULTS,
					      kit->queue, method, NULL, deadline, NULL);
	grpc_slice_unref(method);
	grpc_metadata_array_init(&call->initial);
	grpc_metadata_array_init(&call->trailing);
	grpc_op status = { .op = GRPC_OP_RECV_STATUS_ON_CLIENT };
	status.data.recv_status_on_client.trailing_metadata = &call->trailing;
	status.data.recv_status_on_client.status = &call->status;
	status.data.recv_status_on_client.status_details = &call->details;
	start(call, &status, 1, call);
	grpc_op headers = { .op = GRPC_OP_SEND_INITIAL_METADATA };
	start(call, &headers, 1, &call->initial);
	wait(call, &call->initial);
}

static bool
send_slice(struct rpc_kit_call *call, grpc_slice slice)
{
	grpc_op op = { .op = GRPC_OP_SEND_MESSAGE };
	grpc_byte_buffer *buffer = grpc_raw_byte_buffer_create(&slice, 1);

	grpc_slice_unref(slice);
	op.data.send_message.send_message = buffer;
	start(call, &op, 1, &call->status);
	bool is_sent = wait(call, &call->status);
	grpc_byte_buffer_destroy(buffer);
	return is_sent;
}

bool
rpc_kit_send(struct rpc_kit_call *call, const ProtobufCMessage *message)
{
	grpc_slice slice = grpc_slice_malloc(protobuf_c_message_get_packed_size(message));

	protobuf_c_message_pack(message, GRPC_SLICE_START_PTR(slice));
	return send_slice(call, slice);
}

bool
rpc_kit_send_raw(struct rpc_kit_call *call, const void *data, size_t len)
{
	return send_slice(call, grpc_slice_from_copied_buffer(data, len));
}

void
rpc_kit_send_end(struct rpc_kit_call *call)
{
	grpc_op op = { .op = GRPC_OP_SEND_CLOSE_FROM_CLIENT };

	start(call, &op, 1, &call->has_ended);
	wait(call, &call->has_ended);
}

static ProtobufCMessage *
unpack(grpc_byte_buffer *buffer, const ProtobufCMessageDescriptor *type)
{
	grpc_byte_buffer_reader reader;

	ck_assert(grpc_byte_buffer_reader_init(&reader, buffer));
	grpc_slice slice = grpc_byte_buffer_reader_readall(&reader);
	ProtobufCMessage *message = protobuf_c_message_unpack(type, NULL, GRPC_SLICE_LENGTH(slice),
							      GRPC_SLICE_START_PTR(slice));
	grpc_slice_unref(slice);
	grpc_byte_buffer_reader_destroy(&reader);
	ck_assert_ptr_nonnull(message);
	return message;
}

void
rpc_kit_await_headers(struct rpc_kit_call *call)
{
	grpc_op op = { .op = GRPC_OP_RECV_INITIAL_METADATA };

	op.data.recv_initial_metadata.recv_initial_metadata = &call->initial;
	start(call, &op, 1, &call->initial);
	call->has_initial = true;
	wait(call, &call->initial);
}

ProtobufCMessage *
rpc_kit_read(struct rpc_kit_call *call, const ProtobufCMessageDescriptor *type)
{
	grpc_byte_buffer *buffer = NULL;
	ProtobufCMessage *message = NULL;
	grpc_op ops[2] = { { .op = GRPC_OP_RECV_MESSAGE },
			   { .op = GRPC_OP_RECV_INITIAL_METADATA } };

	ops[0].data.recv_message.recv_message = &buffer;
	ops[1].data.recv_initial_metadata.recv_initial_metadata = &call->initial;
	start(call, ops, call->has_initial ? 1 : 2, &buffer);
	call->has_initial = true;
	wait(call, &buffer);
	if (buffer != NULL && type != NULL)
		message = unpack(buffer, type);
	grpc_byte_buffer_destroy(buffer);
	return message;
}

void
rpc_kit_cancel(struct rpc_kit_call *call)
{
	grpc_call_cancel(call->call, NULL);
}

void
rpc_kit_finish(struct rpc_kit_call *call, struct rpc_kit_status *ret)
{
	/* The library tells no status before somebody asked for the headers, but at the deadline. */
	if (!call->has_initial)
		rpc_kit_await_headers(call);
	wait(call, call);
	ret->code = call->status;
	snprintf(ret->details, sizeof(ret->details), "%.*s", (int)GRPC_SLICE_LENGTH(call->details),
		 (const char *)GRPC_SLICE_START_PTR(call->details));
	grpc_metadata_array_destroy(&call->initial);
	grpc_metadata_array_destroy(&call->trailing);
	grpc_slice_unref(call->details);
	grpc_call_unref(call->call);
}

ProtobufCMessage *
rpc_kit_unary(struct rpc_kit *kit, const char *path, const ProtobufCMessage *request,
	      const ProtobufCMessageDescriptor *type, unsigned deadline_ms,
	      struct rpc_kit_status *ret)
{
	struct rpc_kit_call call;
	ProtobufCMessage *answer;

	rpc_kit_open(&call, kit, path, deadline_ms);
	rpc_kit_send(&call, request);
	rpc_kit_send_end(&call);
	answer = rpc_kit_read(&call, type);
	rpc_kit_finish(&call, ret);
	return answer;
}
