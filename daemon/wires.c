/* SPDX-License-Identifier: MIT
 *
 * wires.c - one transport over two.
 *
 * Who asks has an address and does not care what speaks there: its scheme says it.  A verb is
 * handed on as it is, and its request is the wire's own, so that nothing is between a wire and who
 * waits for it: a cancel finds the wire in the request.
 *
 * The one thing that is done here is to refuse: for an address whose wire is missing there is
 * nobody to hand on to.  Such a request is a `refused`, ended by a message to the mind, because no
 * done function may be called before its verb has answered.  Its wire is this transport, by which a
 * cancel knows it.
 *
 * Which of a peer's addresses is used is decided by others (peers: what answered last; wire_choice:
 * what is faster).
 */
#include "wires.h"

#include <assert.h>
#include <stdlib.h>

#include "mem.h"

struct wires {
	struct transport transport; /* first */
	struct loop *loop;
	struct transport *wires[WIRE_COUNT];
};

enum verb { GREET, PULL, LAYER, HAVE, OTHER };

/* A request that no wire took. */
struct refused {
	struct transport_request head; /* first */
	enum verb verb;
	union {
		transport_greet_fn greet;
		transport_pull_fn pull;
		transport_layer_fn layer;
		transport_have_fn have;
		transport_done_fn done;
	} fn;
	void *arg;
	struct error error;
};

static struct wires *
wires_of(struct transport *transport)
{
	return (struct wires *)transport;
}

/* The wire of an address, or NULL. */
static struct transport *
wire_to(struct transport *transport, const char *address)
{
	assert(loop_is_mine(wires_of(transport)->loop));
	return wires_of(transport)->wires[node_address_wire(address)];
}

/* --- refusing --- */

static void
tell_refused(void *arg)
{
	struct refused *refused = arg;
	const struct error *err = &refused->error;
	switch (refused->verb) {
	case GREET:
		refused->fn.greet(refused->arg, err->code, err, NULL);
		break;
	case PULL:
		refused->fn.pull(refused->arg, err->code, err, NULL);
		break;
	case LAYER:
		refused->fn.layer(refused->arg, err->code, err, NULL, 0);
		break;
	case HAVE:
		refused->fn.have(refused->arg, err->code, err, NULL);
		break;
	case OTHER:
		refused->fn.done(refused->arg, err->code, err);
		break;
	}
	free(refused);
}

/* The caller adds its function before the mind turns. */
static struct refused *
refuse(struct transport *transport, enum verb verb, const char *address, void *arg)
{
	struct refused *refused = mem_zero(1, sizeof(*refused));
	refused->head.wire = transport;
	refused->verb = verb;
	refused->arg = arg;
	error_set(&refused->error, P2P_UNREACHABLE, "%s: this peer does not speak %s", address,
		  node_address_wire(address) == WIRE_GRPC ? "gRPC" : "REST");
	loop_post(wires_of(transport)->loop, tell_refused, refused);
	return refused;
}

/* --- the verbs --- */

static struct transport_request *
greet(struct transport *transport, const char *address, const struct node_hello *hello,
      transport_greet_fn fn, void *arg)
{
	struct transport *wire = wire_to(transport, address);
	if (wire != NULL)
		return wire->ops->greet(wire, address, hello, fn, arg);
	struct refused *refused = refuse(transport, GREET, address, arg);
	refused->fn.greet = fn;
	return &refused->head;
}

static struct transport_request *
leave(struct transport *transport, const char *address, const char *self, transport_done_fn fn,
      void *arg)
{
	struct transport *wire = wire_to(transport, address);
	if (wire != NULL)
		return wire->ops->leave(wire, address, self, fn, arg);
	struct refused *refused = refuse(transport, OTHER, address, arg);
	refused->fn.done = fn;
	return &refused->head;
}

static struct transport_request *
notify(struct transport *transport, const char *address, const struct notice *notice,
       transport_done_fn fn, void *arg)
{
	struct transport *wire = wire_to(transport, address);
	if (wire != NULL)
		return wire->ops->notify(wire, address, notice, fn, arg);
	struct refused *refused = refuse(transport, OTHER, address, arg);
	refused->fn.done = fn;
	return &refused->head;
}

static struct transport_request *
pull(struct transport *transport, const char *address, const struct change_question *question,
     transport_pull_fn fn, void *arg)
{
	struct transport *wire = wire_to(transport, address);
	if (wire != NULL)
		return wire->ops->pull(wire, address, question, fn, arg);
	struct refused *refused = refuse(transport, PULL, address, arg);
	refused->fn.pull = fn;
	return &refused->head;
}

static struct transport_request *
layer(struct transport *transport, const char *address, const struct content_id *content,
      uint32_t piece_bytes, transport_layer_fn fn, void *arg)
{
	struct transport *wire = wire_to(transport, address);
	if (wire != NULL)
		return wire->ops->layer(wire, address, content, piece_bytes, fn, arg);
	struct refused *refused = refuse(transport, LAYER, address, arg);
	refused->fn.layer = fn;
	return &refused->head;
}

static struct transport_request *
leaves(struct transport *transport, const char *address, const struct content_id *content,
       uint64_t first, uint32_t count, transport_layer_fn fn, void *arg)
{
	struct transport *wire = wire_to(transport, address);
	if (wire != NULL)
		return wire->ops->leaves(wire, address, content, first, count, fn, arg);
	struct refused *refused = refuse(transport, LAYER, address, arg);
	refused->fn.layer = fn;
	return &refused->head;
}

static struct transport_request *
have(struct transport *transport, const char *address, const struct holding_question *question,
     transport_have_fn fn, void *arg)
{
	struct transport *wire = wire_to(transport, address);
	if (wire != NULL)
		return wire->ops->have(wire, address, question, fn, arg);
	struct refused *refused = refuse(transport, HAVE, address, arg);
	refused->fn.have = fn;
	return &refused->head;
}

static struct transport_request *
read_bytes(struct transport *transport, const char *address, const struct content_id *content,
	   uint64_t offset, uint64_t len, const struct transport_sink *sink, transport_done_fn fn,
	   void *arg)
{
	struct transport *wire = wire_to(transport, address);
	if (wire != NULL)
		return wire->ops->read(wire, address, content, offset, len, sink, fn, arg);
	struct refused *refused = refuse(transport, OTHER, address, arg);
	refused->fn.done = fn;
	return &refused->head;
}

static struct transport_request *
batch(struct transport *transport, const char *address, struct batch *contents,
      transport_done_fn fn, void *arg)
{
	struct transport *wire = wire_to(transport, address);
	if (wire != NULL)
		return wire->ops->batch(wire, address, contents, fn, arg);
	struct refused *refused = refuse(transport, OTHER, address, arg);
	refused->fn.done = fn;
	return &refused->head;
}

static struct transport_request *
directories(struct transport *transport, const char *address, struct directory_question *question,
	    transport_done_fn fn, void *arg)
{
	struct transport *wire = wire_to(transport, address);
	if (wire != NULL)
		return wire->ops->directories(wire, address, question, fn, arg);
	struct refused *refused = refuse(transport, OTHER, address, arg);
	refused->fn.done = fn;
	return &refused->head;
}

static void cancel(struct transport_request *request);

static const struct transport_ops ops = {
	.name = "wires",
	.greet = greet,
	.leave = leave,
	.notify = notify,
	.pull = pull,
	.layer = layer,
	.leaves = leaves,
	.have = have,
	.read = read_bytes,
	.batch = batch,
	.directories = directories,
	.cancel = cancel,
};

static void
cancel(struct transport_request *request)
{
	if (request->wire->ops != &ops) {
		request->wire->ops->cancel(request);
		return;
	}
	struct refused *refused = (struct refused *)request;
	error_set(&refused->error, P2P_CANCELLED, "it was cancelled");
}

struct transport *
wires_new(struct loop *loop, struct transport *rest, struct transport *rpc)
{
	struct wires *wires = mem_zero(1, sizeof(*wires));
	wires->transport.ops = &ops;
	wires->loop = loop;
	wires->wires[WIRE_REST] = rest;
	wires->wires[WIRE_GRPC] = rpc;
	return &wires->transport;
}

void
wires_free(struct transport *transport)
{
	free(transport);
}
