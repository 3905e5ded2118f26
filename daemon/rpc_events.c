/* SPDX-License-Identifier: MIT
 *
 * rpc_events.c - p2p.v1.Events/Watch: what happens, as it happens.
 *
 * A watch lives between two threads.  The mind subscribes it, puts events into its queue
 * (event_queue.h) and wakes the call; the call's steps take them out, one to a message, and wait
 * again.  Since a step is begun only after the message before has left, a client that does not read
 * holds back nothing but its own queue, which is bounded.
 *
 * Two references: the mind's, from subscribing to detaching, with which goes one to the call, and
 * the call's own.  The call's end posts the detaching; whatever the mind still tells until then is
 * for nobody.  On the way down a watch ends with the word that the daemon is stopping
 * (rpc_watchers.c), and the posts are run before the events go.
 */
#include "rpc_internal.h"

#include <stdlib.h>

#include "codes.h"
#include "event_filter.h"
#include "event_queue.h"
#include "loop.h"
#include "mem.h"

struct watch {
	struct rpc_watcher watcher;       /* the call's: among those that wait for the end */
	struct rpc_call *call;            /* a reference */
	struct service *service;          /* of the call, which may be over before us */
	const char *after;                /* borrowed, while subscribing */
	struct error *err;                /* the same */
	struct events_listener *listener; /* the mind's */
	struct event_queue queue;         /* from the mind to the call */
	struct event_filter filter;       /* fixed */
	uint64_t run;
};

static void
watch_free(struct watch *watch)
{
	event_queue_fini(&watch->queue);
	event_filter_fini(&watch->filter);
	rpc_call_unref(watch->call);
	free(watch);
}

/* --- the mind's side --- */

/* events_fn */
static void
on_event(void *arg, struct event *event)
{
	struct watch *watch = arg;

	if (event_filter_passes(&watch->filter, event) && event_queue_add(&watch->queue, event))
		rpc_wake(watch->call);
}

/* loop_ask_fn */
static int
subscribe(void *arg)
{
	struct watch *watch = arg;
	struct events *events = service_events(watch->service);
	uint64_t after;
	int code = service_event_position(watch->service, watch->after, &after, watch->err);

	if (code != P2P_OK)
		return code;
	watch->run = events_run(events);
	watch->listener = events_listen(events, after, on_event, watch);
	return P2P_OK;
}

/* Posted when the call is over. */
static void
detach(void *arg)
{
	struct watch *watch = arg;

	events_listener_free(watch->listener);
	watch_free(watch);
}

/* --- the call's side --- */

RPC_TAKE(rpc_watch)
{
	const P2p__V1__WatchRequest *request = (const P2p__V1__WatchRequest *)message;
	struct service *service = rpc_head(call)->service;
	struct watch *watch = mem_zero(1, sizeof(*watch));

	watch->call = rpc_call_ref(call);
	watch->service = service;
	watch->after = request->after;
	watch->err = err;
	event_queue_init(&watch->queue, request->with_progress);
	int code = event_filter_init(&watch->filter, request->kind, request->match, err);
	if (code == P2P_OK)
		code = loop_call(service_loop(service), subscribe, watch);
	if (code != P2P_OK) {
		watch_free(watch);
		if (code == P2P_SHUTTING_DOWN)
			error_set(err, code, "the daemon is stopping");
		return code;
	}
	rpc_watcher_add(&watch->watcher, call);
	rpc_head(call)->state = watch;
	return RPC_MORE;
}

RPC_NEXT(rpc_watch_next)
{
	struct watch *watch = rpc_head(call)->state;
	struct event *event = event_queue_take(&watch->queue);

	if (event == NULL && rpc_watcher_is_stopping(&watch->watcher))
		return error_set(err, P2P_SHUTTING_DOWN, "the daemon is stopping");
	if (event == NULL)
		return RPC_WAIT;
	P2p__V1__Event *message = wire_pb_of_event(event, watch->run);
	event_unref(event);
	rpc_reply(call, &message->base);
	p2p__v1__event__free_unpacked(message, NULL);
	return RPC_MORE;
}

RPC_DONE(rpc_watch_end)
{
	struct watch *watch = rpc_head(call)->state;

	if (watch == NULL)
		return;
	rpc_watcher_remove(&watch->watcher);
	loop_post(service_loop(watch->service), detach, watch);
}
