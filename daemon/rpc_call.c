/* SPDX-License-Identifier: MIT
 *
 * rpc_call.c - one call, from its request to its status.
 *
 *	asked --> a stage --> a batch --> the next stage --> ... --> status
 *	    \-- closed: the client left, or all is said ------------------> over
 *
 * The library is given batches of operations and gives back tags when they are done.  A call has
 * two batches under way at most: `closed`, which lasts as long as the call, and one that
 * receives or sends a message, `passed`.  As there is only one of those, a stream that is not
 * read stops by itself: the next stage waits for the message before it.
 *
 * What is done between two batches is a stage, a function that either starts a batch or runs a
 * step of the method, names the stage after it, and tells whether that one may begin at once.
 * The two life cycles:
 *
 *	unary, server stream	take, then say_next again and again (a unary one: once it need not wait)
 *	client stream, both	ask_message, take_message, ask_message ... take_end
 *
 * Who runs: stages of a call never run twice at once, although tags come on the poller's thread,
 * steps of methods that wait run on the pool, and anyone may rpc_wake().  `turn` sees to that.
 * Who finds it IDLE has the turn, and runs what can be run; who finds somebody else RUNNING
 * leaves the word AGAIN, and that one looks once more.  Hence no lock, and batches of one call
 * are never started by two threads.  Who has the turn but not the right thread hands it on: to
 * the pool by a job, to the poller by a doorbell, which is an empty batch that the queue gives
 * back at once.
 *
 * Who frees: `holds` counts the two batches and the stages (as one).  When the last one goes, so
 * does the library's call, and the server may lose its queue.  `refs` keep the memory, for those
 * that may wake a call that is over.
 *
 * A client that breaks off looks for a moment like one that has sent all: the library answers
 * "no more messages", and tells that it was a cancellation a little later.  An upload must not
 * be finished then.  So the headers of a client stream are sent between the last message and the
 * end; to a client that is gone they cannot be sent.  Some clients do end a stream before they
 * cancel it, so that this does not tell all: methods ask for more (rpc_upload.c).
 */
#include "rpc_internal.h"

#include <assert.h>
#include <stdlib.h>

#include "mem.h"
#include "metrics.h"
#include "rpc_message.h"

#define PATH_SHOWN 200 /* bytes of an unknown method's name in the answer */

enum turn {
	IDLE,
	RUNNING, /* somebody runs, or has been sent for */
	AGAIN,   /* ... and something has happened since */
	OVER,
};

struct rpc_call {
	struct rpc_call_head head;
	struct rpc_server *server;
	atomic_uint refs, holds, turn;
	struct rpc_tag asked, closed, passed, rung;

	grpc_call *call;
	gpr_timespec deadline;
	void *registered;          /* of its method */
	grpc_call_details details; /* of an unknown method */
	grpc_metadata_array metadata;
	int is_cancelled; /* as the library says it; is_over is what counts */

	bool (*stage)(struct rpc_call *call); /* these belong to who has the turn */
	bool has_headers, has_ended;
	grpc_byte_buffer *reply;
	size_t reply_bytes, leaving_bytes; /* of it, and of the one before */
	size_t kept_bytes;

	bool has_place;

	atomic_bool is_passing; /* a message is under way; until it has passed it has: */
	bool has_failed;
	grpc_byte_buffer *received;
};

static int take_unknown(struct rpc_call *call, const ProtobufCMessage *message, struct error *err);
static const struct rpc_method unknown = { .shape = RPC_UNARY, .take = take_unknown };

/* --- who keeps it --- */

struct rpc_call *
rpc_call_ref(struct rpc_call *call)
{
	atomic_fetch_add(&call->refs, 1);
	return call;
}

void
rpc_call_unref(struct rpc_call *call)
{
	if (atomic_fetch_sub(&call->refs, 1) == 1)
		free(call);
}

static void
note_vain(struct rpc_call *call)
{
	char *peer = grpc.call_get_peer(call->call);

	rpc_guard_note_vain(call->head.rpc->guard, peer);
	gpr.free(peer);
}

/* The last one gives back what is the library's. */
static void
release(struct rpc_call *call)
{
	if (atomic_fetch_sub(&call->holds, 1) > 1)
		return;
	grpc.byte_buffer_destroy(call->reply);
	grpc.byte_buffer_destroy(call->received);
	grpc.metadata_array_destroy(&call->metadata);
	grpc.call_details_destroy(&call->details);
	if (call->call != NULL && call->is_cancelled)
		note_vain(call);
	if (call->call != NULL)
		grpc.call_unref(call->call);
	rpc_room_clear(&call->head.rpc->room,
		       call->reply_bytes + call->leaving_bytes + call->kept_bytes);
	if (call->has_place)
		rpc_room_leave(&call->head.rpc->room);
	if (call->head.place != NULL)
		atomic_fetch_sub(call->head.place, 1);
	if (call->head.lasts)
		rpc_watchers_let_go(&call->head.rpc->watchers);
	rpc_server_release(call->server);
	rpc_call_unref(call);
}

/* --- whose turn it is --- */

static bool advance(struct rpc_call *call);

/* Runs what can be run now.  The caller has the turn. */
static void
run(struct rpc_call *call)
{
	unsigned turn;

	do {
		turn = RUNNING;
		atomic_exchange(&call->turn, turn);
		while (advance(call))
			continue;
		if (call->has_ended) {
			atomic_store(&call->turn, OVER);
			release(call);
			return;
		}
	} while (!atomic_compare_exchange_strong(&call->turn, &turn, IDLE));
}

/* True if the turn is the caller's now; otherwise who has it will look again. */
static bool
take_turn(struct rpc_call *call)
{
	unsigned turn = atomic_load(&call->turn);

	do {
		if (turn == OVER)
			return false;
	} while (!atomic_compare_exchange_weak(&call->turn, &turn, turn == IDLE ? RUNNING : AGAIN));
	return turn == IDLE;
}

static void
run_job(void *arg)
{
	run(arg);
}

static void
run_on_pool(struct rpc_call *call)
{
	pool_submit(service_pool(call->head.service), POOL_SOON, run_job, NULL, call);
}

/* Something has happened.  Poller. */
static void
proceed(struct rpc_call *call)
{
	if (!take_turn(call))
		return;
	if (call->head.waits)
		run_on_pool(call);
	else
		run(call);
}

/* --- batches --- */

/* The tag holds the call until it is back. */
static void
start(struct rpc_call *call, const grpc_op *ops, size_t count, struct rpc_tag *tag)
{
	atomic_fetch_add(&call->holds, 1);
	grpc_call_error error = grpc.call_start_batch(call->call, ops, count, tag, NULL);
	assert(error == GRPC_CALL_OK);
	(void)error;
}

/* A message, either way. */
static void
pass(struct rpc_call *call, const grpc_op *ops, size_t count)
{
	atomic_store(&call->is_passing, true);
	start(call, ops, count, &call->passed);
}

/* It has left, but its last bytes may still be the library's until the next one has. */
static void
drop_reply(struct rpc_call *call)
{
	grpc.byte_buffer_destroy(call->reply);
	call->reply = NULL;
	rpc_room_clear(&call->head.rpc->room, call->leaving_bytes);
	call->leaving_bytes = call->reply_bytes;
	call->reply_bytes = 0;
}

static void
on_passed(void *owner, bool success)
{
	struct rpc_call *call = owner;

	/* All that was written before the batch began is seen here.  The library sees to that
	 * too, unseen by a sanitizer. */
	(void)atomic_load(&call->is_passing);
	if (call->reply != NULL)
		drop_reply(call);
	call->has_failed = !success;
	atomic_store(&call->is_passing, false);
	proceed(call);
	release(call);
}

static void
on_closed(void *owner, bool success)
{
	struct rpc_call *call = owner;

	(void)success;
	atomic_store(&call->head.is_over, true);
	proceed(call);
	release(call);
}

static void
on_rung(void *owner, bool success)
{
	struct rpc_call *call = owner;

	(void)success;
	run(call);
	release(call);
}

void
rpc_wake(struct rpc_call *call)
{
	if (!take_turn(call))
		return;
	if (call->head.waits)
		run_on_pool(call);
	else
		start(call, NULL, 0, &call->rung);
}

bool
rpc_is_waiting(struct rpc_call *call)
{
	return atomic_load(&call->is_passing);
}

/* The library's cancellation carries the status to the client, and ends the batches. */
void
rpc_break(struct rpc_call *call, const struct error *err)
{
	char *text = wire_pb_status(err);

	metrics_add(code_http(err->code) < 500 ? METRIC_RPC_REFUSED : METRIC_RPC_FAILED, 1);
	grpc.call_cancel_with_status(call->call, (grpc_status_code)wire_pb_grpc_status(err->code),
				     text, NULL);
	free(text);
}

/* Appends the headers if they are still due, and the reply if there is one; answers how many
 * operations there are. */
static size_t
add_reply(struct rpc_call *call, grpc_op *ops)
{
	size_t count = 0;

	if (!call->has_headers)
		ops[count++].op = GRPC_OP_SEND_INITIAL_METADATA;
	call->has_headers = true;
	if (call->reply != NULL) {
		ops[count].op = GRPC_OP_SEND_MESSAGE;
		ops[count++].data.send_message.send_message = call->reply;
	}
	return count;
}

static void
send_reply(struct rpc_call *call)
{
	grpc_op ops[2] = { 0 };

	pass(call, ops, add_reply(call, ops));
}

static void
send_status(struct rpc_call *call, const struct error *err)
{
	grpc_op ops[3] = { 0 };
	size_t count = add_reply(call, ops);
	grpc_slice details = grpc.empty_slice();

	if (err->code != P2P_OK) {
		char *text = wire_pb_status(err);
		details = grpc.slice_from_copied_string(text);
		free(text);
	}
	ops[count].op = GRPC_OP_SEND_STATUS_FROM_SERVER;
	ops[count].data.send_status_from_server.status =
	    err->code == P2P_OK ? GRPC_STATUS_OK : (grpc_status_code)wire_pb_grpc_status(err->code);
	ops[count++].data.send_status_from_server.status_details = &details;
	pass(call, ops, count);
	grpc.slice_unref(details);
}

/* --- stages: true if the next one may begin at once --- */

static bool say_next(struct rpc_call *call);
static bool ask_message(struct rpc_call *call);

static bool
is_reading(const struct rpc_call *call)
{
	return call->head.method->shape == RPC_CLIENT_STREAM ||
	       call->head.method->shape == RPC_BOTH_STREAM;
}

/* No step follows. */
static void
end(struct rpc_call *call)
{
	call->has_ended = true;
	if (call->head.method->end != NULL)
		call->head.method->end(call);
}

/* What follows from the answer of a step. */
static bool
follow(struct rpc_call *call, int answer, struct error *err)
{
	if (answer > RPC_END) {
		assert(is_reading(call) || call->head.method->next != NULL);
		call->stage = is_reading(call) ? ask_message : say_next;
		/* Who has nothing to say yet says at least that it listens. */
		if (call->reply != NULL || (answer == RPC_WAIT && !call->has_headers))
			send_reply(call);
		return answer == RPC_MORE;
	}
	err->code = answer;
	if (answer != P2P_OK) {
		if (call->reply != NULL)
			drop_reply(call);
		metrics_add(code_http(answer) < 500 ? METRIC_RPC_REFUSED : METRIC_RPC_FAILED, 1);
	}
	/* First, so that who sees the status finds nothing left of the call. */
	end(call);
	send_status(call, err);
	return false;
}

/* The step, with the message that was received. */
static bool
take(struct rpc_call *call)
{
	struct error err = { 0 };
	ProtobufCMessage *message = NULL;
	const struct rpc_method *method = call->head.method;
	size_t max = method->shape == RPC_CLIENT_STREAM ? RPC_MESSAGE_MAX : RPC_REQUEST_MAX;
	int answer = P2P_OK;

	if (method->request != NULL)
		answer = rpc_message_unpack(call->received, method->request, max, &message, &err);

	grpc.byte_buffer_destroy(call->received);
	call->received = NULL;
	if (answer == P2P_OK)
		answer = method->take(call, message, &err);
	if (message != NULL)
		protobuf_c_message_free_unpacked(message, NULL);
	return follow(call, answer, &err);
}

static bool
say_next(struct rpc_call *call)
{
	struct error err = { 0 };

	return follow(call, call->head.method->next(call, &err), &err);
}

/* The client has said all. */
static bool
take_end(struct rpc_call *call)
{
	struct error err = { 0 };

	return follow(call, call->head.method->take(call, NULL, &err), &err);
}

static bool
take_message(struct rpc_call *call)
{
	if (call->received != NULL)
		return take(call);
	call->stage = take_end;
	if (!call->has_headers)
		send_reply(call);
	return true;
}

static bool
ask_message(struct rpc_call *call)
{
	grpc_op op = { .op = GRPC_OP_RECV_MESSAGE };

	op.data.recv_message.recv_message = &call->received;
	call->stage = take_message;
	pass(call, &op, 1);
	return true;
}

/* There is no place for it: none of its steps is begun. */
static bool
turn_away(struct rpc_call *call)
{
	struct error err = { 0 };

	return follow(call, rpc_room_refuse(&err), &err);
}

/* True if there may be more to do at once.  The caller has the turn. */
static bool
advance(struct rpc_call *call)
{
	if (call->has_ended)
		return false;
	bool is_passing = atomic_load(&call->is_passing);
	if (atomic_load(&call->head.is_over) || (!is_passing && call->has_failed)) {
		end(call);
		return false;
	}
	return !is_passing && call->stage(call);
}

/* --- from the server --- */

static void
find_place(struct rpc_call *call)
{
	if (call->head.method->take == rpc_health_check)
		return;
	call->has_place = rpc_room_enter(&call->head.rpc->room);
	if (call->has_place)
		return;
	note_vain(call);
	call->stage = turn_away;
	call->head.waits = false;
}

static void
begin(struct rpc_call *call)
{
	grpc_op op = { .op = GRPC_OP_RECV_CLOSE_ON_SERVER };

	metrics_add(METRIC_RPC_REQUESTS, 1);
	find_place(call);
	op.data.recv_close_on_server.cancelled = &call->is_cancelled;
	start(call, &op, 1, &call->closed);
	proceed(call);
}

static void expect(struct rpc_server *server, const struct rpc_method *method, void *registered);

static void
on_asked(void *owner, bool success)
{
	struct rpc_call *call = owner;
	const struct rpc_method *method = call->head.method;

	/* The server goes down. */
	if (!success) {
		release(call);
		return;
	}
	expect(call->server, method, call->registered);
	begin(call);
}

static struct rpc_call *
call_new(struct rpc_server *server, const struct rpc_method *method, void *registered)
{
	struct rpc_call *call = mem_zero(1, sizeof(*call));

	call->head.rpc = server->rpc;
	call->head.service = server->service;
	call->head.method = method;
	call->head.waits = method->waits;
	call->server = server;
	call->registered = registered;
	call->refs = call->holds = 1;
	call->stage = is_reading(call) ? ask_message : take;
	grpc.call_details_init(&call->details);
	grpc.metadata_array_init(&call->metadata);
	rpc_server_hold(server);
	rpc_tag_init(&call->closed, on_closed, call);
	rpc_tag_init(&call->passed, on_passed, call);
	rpc_tag_init(&call->rung, on_rung, call);
	rpc_tag_init(&call->asked, on_asked, call);
	return call;
}

/* Asks for the next call of a method. */
static void
expect(struct rpc_server *server, const struct rpc_method *method, void *registered)
{
	struct rpc_call *call = call_new(server, method, registered);
	grpc_call_error error;

	if (method == &unknown)
		error = grpc.server_request_call(server->server, &call->call, &call->details,
						 &call->metadata, server->queue, server->queue,
						 &call->asked);
	else
		error = grpc.server_request_registered_call(
		    server->server, registered, &call->call, &call->deadline, &call->metadata,
		    is_reading(call) ? NULL : &call->received, server->queue, server->queue,
		    &call->asked);
	assert(error == GRPC_CALL_OK);
	(void)error;
}

void
rpc_calls_register(struct rpc_server *server)
{
	server->registered = mem_zero(rpc_method_count, sizeof(*server->registered));
	for (size_t i = 0; i < rpc_method_count; i++) {
		bool is_first =
		    rpc_methods[i].shape == RPC_UNARY || rpc_methods[i].shape == RPC_SERVER_STREAM;
		server->registered[i] = grpc.server_register_method(
		    server->server, rpc_methods[i].path, NULL,
		    is_first ? GRPC_SRM_PAYLOAD_READ_INITIAL_BYTE_BUFFER : GRPC_SRM_PAYLOAD_NONE,
		    0);
	}
}

void
rpc_calls_expect(struct rpc_server *server)
{
	for (size_t i = 0; i < rpc_method_count; i++)
		expect(server, &rpc_methods[i], server->registered[i]);
	expect(server, &unknown, NULL);
}

static int
take_unknown(struct rpc_call *call, const ProtobufCMessage *message, struct error *err)
{
	char *path = grpc.slice_to_c_string(call->details.method);

	(void)message;
	error_set(err, P2P_BAD_METHOD, "there is no %.*s here", PATH_SHOWN, path);
	gpr.free(path);
	return P2P_BAD_METHOD;
}

/* --- for the methods --- */

void
rpc_keep(struct rpc_call *call, size_t bytes)
{
	call->kept_bytes += bytes;
	rpc_room_fill(&call->head.rpc->room, bytes);
}

void
rpc_reply(struct rpc_call *call, const ProtobufCMessage *message)
{
	assert(call->reply == NULL);
	call->reply = rpc_message_pack(message);
	call->reply_bytes = grpc.byte_buffer_length(call->reply);
	rpc_room_fill(&call->head.rpc->room, call->reply_bytes);
}

void
rpc_reply_bytes(struct rpc_call *call, unsigned field, grpc_slice data)
{
	assert(call->reply == NULL);
	metrics_add(METRIC_RPC_BYTES_OUT, GRPC_SLICE_LENGTH(data));
	call->reply = rpc_message_pack_bytes(field, data);
}

void
rpc_from_host(struct rpc_call *call, char ret_host[NODE_ADDRESS_SIZE])
{
	char *peer = grpc.call_get_peer(call->call);

	rpc_message_host(peer, ret_host);
	gpr.free(peer);
}
