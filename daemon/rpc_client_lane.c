/* SPDX-License-Identifier: MIT
 *
 * rpc_client_lane.c - one thread, one completion queue, any number of gRPC calls.
 *
 * Exchanges come in through an inbox under a mutex; a bell wakes the thread: an empty batch on a
 * call of its own (to nowhere, on a lame channel), whose tag comes out of the queue at once.  It is
 * rung and noted under the mutex, so that at most one is on its way.  From then on only the lane's
 * thread touches an exchange, but for the mark of cancelling.
 *
 * An exchange waits until there is room for another call and a channel for it; then it is one call
 * (rpc_client_call.c) until that ends.
 *
 * With nothing to look after the thread waits in its queue without a time-out.  Deadlines of small
 * calls are the library's; what is looked after here are stalls (on a clock that stands still while
 * sinks work, and while a message waits for its turn under a limit), those turns, exchanges that wait
 * for a call to end, and idle channels.
 *
 * Left to rpc_client.c: what a request says and what an answer means.
 */
#include "rpc_client_lane.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

#include "clock.h"
#include "mem.h"
#include "rpc_client_call.h"
#include "rpc_library.h"
#include "thread.h"
#include "transport_limit.h"

struct rpc_commons {
	grpc_resource_quota *quota;
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
give_up(struct rpc_lane *lane, struct rpc_exchange *exchange, int code, const char *what)
{
	lane->look_ms = 0; /* its message may wait for its turn */
	if (exchange->error.code == P2P_OK)
		error_set(&exchange->error, code, "%s: %s", exchange->address, what);
	rpc_lane_call_cancel(exchange->call);
}

/* One that waits. */
static void
turn_away(struct rpc_lane *lane, struct rpc_exchange *exchange, int code, const char *what)
{
	list_remove(&lane->waiting, exchange);
	error_set(&exchange->error, code, "%s: %s", exchange->address, what);
	exchange->ops->ended(exchange);
}

/* Beginning. */

static void
call_begin(struct rpc_lane *lane, struct rpc_exchange *exchange, struct rpc_channel *channel)
{
	transport_stall_begin(&exchange->stall, exchange->limits.stall_ms,
			      exchange->limits.stall_bps, idle_clock_ms(lane));
	lane->look_ms = 0;
	list_add(&lane->active, exchange);
	lane->calls++;
	rpc_lane_call_begin(lane, lane->queue, exchange, channel);
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

void
rpc_lane_call_ended(struct rpc_lane *lane, struct rpc_exchange *exchange,
		    struct rpc_channel *channel, bool is_doubtful)
{
	rpc_channel_leave(&lane->channels, channel, is_doubtful);
	look_within(lane, RPC_CLIENT_CHANNEL_IDLE_MS);
	list_remove(&lane->active, exchange);
	lane->calls--;
	rate_leave(exchange->rate, &exchange->turn);
	exchange->ops->ended(exchange);
	begin_waiting(lane);
}

void
rpc_lane_call_paused(struct rpc_lane *lane, struct rpc_exchange *exchange)
{
	exchange->is_paused = true;
	exchange->paused_ms = idle_clock_ms(lane);
	look_within(lane, transport_limit_wait_ms(exchange->rate, &exchange->turn, clock_us()));
}

void
rpc_lane_was_busy(struct rpc_lane *lane, uint64_t ms)
{
	lane->busy_ms += ms;
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

/* How long its message still has to wait, if anybody wants it. */
static int
turn_ms(const struct rpc_exchange *exchange, uint64_t now_us)
{
	if (exchange->error.code != P2P_OK || atomic_load(&exchange->is_cancelled))
		return 0;
	return transport_limit_wait_ms(exchange->rate, &exchange->turn, now_us);
}

static void
look_for_turns(struct rpc_lane *lane)
{
	uint64_t now_us = clock_us();

	for (struct rpc_exchange *exchange = lane->active.first, *next; exchange != NULL;
	     exchange = next) {
		next = exchange->next;
		if (!exchange->is_paused)
			continue;
		int wait_ms = turn_ms(exchange, now_us);
		if (wait_ms > 0) {
			look_within(lane, wait_ms);
			continue;
		}
		exchange->is_paused = false;
		transport_stall_skip(&exchange->stall, idle_clock_ms(lane) - exchange->paused_ms);
		rpc_lane_call_go_on(exchange->call);
	}
}

static void
look_for_stalls(struct rpc_lane *lane)
{
	for (struct rpc_exchange *exchange = lane->active.first; exchange != NULL;
	     exchange = exchange->next) {
		if (exchange->is_paused)
			continue;
		int wait_ms = transport_stall_look(&exchange->stall, idle_clock_ms(lane));

		if (wait_ms == 0)
			give_up(lane, exchange, P2P_TIMEOUT,
				"no or too few bytes came for too long");
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

		bool is_late = exchange->until_ms != 0 && exchange->until_ms <= now_ms;

		if (wait_ms == 0 || is_late) {
			turn_away(lane, exchange, is_late ? P2P_TIMEOUT : P2P_TOO_MANY,
				  "too much else is under way here");
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
			give_up(lane, exchange, P2P_CANCELLED, "cancelled");
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
		give_up(lane, exchange, P2P_SHUTTING_DOWN, why);
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
	look_for_turns(lane);
	look_for_stalls(lane);
	look_at_waiting(lane);
	look_within(lane, rpc_channels_look(&lane->channels));
}

static gpr_timespec
next_look(const struct rpc_lane *lane)
{
	uint64_t now_ms = clock_ms();

	if (lane->look_ms == UINT64_MAX)
		return gpr.inf_future(GPR_CLOCK_MONOTONIC);
	uint64_t wait_ms = lane->look_ms > now_ms ? lane->look_ms - now_ms : 0;
	return gpr.time_add(gpr.now(GPR_CLOCK_MONOTONIC),
			    gpr.time_from_millis((int64_t)wait_ms, GPR_TIMESPAN));
}

/* Nothing else is in the queue any more. */
static void
close_channels(struct rpc_lane *lane)
{
	for (size_t left = rpc_channels_settle(&lane->channels, lane->queue, lane); left > 0;
	     left--)
		grpc.completion_queue_next(lane->queue, gpr.inf_future(GPR_CLOCK_MONOTONIC), NULL);
	rpc_channels_fini(&lane->channels);
}

static void *
run(void *arg)
{
	struct rpc_lane *lane = arg;

	while (!lane->is_stopping || lane->active.first != NULL) {
		grpc_event event = grpc.completion_queue_next(lane->queue, next_look(lane), NULL);

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
	grpc.call_start_batch(lane->bell, NULL, 0, &lane->bell_tag, NULL);
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

struct rpc_commons *
rpc_commons_new(struct error *err)
{
	if (rpc_library_load(err) != P2P_OK)
		return NULL;
	struct rpc_commons *commons = mem_zero(1, sizeof(*commons));
	grpc.init();
	commons->quota = grpc.resource_quota_create("rpc_client");
	grpc.resource_quota_resize(commons->quota, RPC_CLIENT_MEMORY_MAX);
	return commons;
}

void
rpc_commons_free(struct rpc_commons *commons)
{
	if (commons == NULL)
		return;
	grpc.resource_quota_unref(commons->quota);
	grpc.shutdown_blocking();
	free(commons);
}

/* Without its thread. */
static void
dismantle(struct rpc_lane *lane)
{
	grpc.call_unref(lane->bell);
	grpc.channel_destroy(lane->nowhere);
	grpc.completion_queue_shutdown(lane->queue);
	while (grpc.completion_queue_next(lane->queue, gpr.inf_future(GPR_CLOCK_MONOTONIC), NULL)
		   .type != GRPC_QUEUE_SHUTDOWN)
		;
	grpc.completion_queue_destroy(lane->queue);
	pthread_mutex_destroy(&lane->mu);
	free(lane);
}

struct rpc_lane *
rpc_lane_new(struct rpc_commons *commons, const struct rpc_lane_room *room, struct error *err)
{
	struct rpc_lane *lane = mem_zero(1, sizeof(*lane));

	lane->channels.quota = commons->quota;
	lane->channels.room = *room;
	lane->calls_max = room->calls_max;
	lane->look_ms = UINT64_MAX;
	lane->inbox_tail = &lane->inbox;
	lane->bell_tag = (struct rpc_tag){ .step = on_bell, .arg = lane };
	pthread_mutex_init(&lane->mu, NULL);
	lane->queue = grpc.completion_queue_create_for_next(NULL);
	lane->nowhere = grpc.lame_client_channel_create("bell", GRPC_STATUS_UNAVAILABLE, "a bell");
	lane->bell = grpc.channel_create_call(lane->nowhere, NULL, GRPC_PROPAGATE_DEFAULTS,
					      lane->queue, grpc.slice_from_static_string("/bell"),
					      NULL, gpr.inf_future(GPR_CLOCK_MONOTONIC), NULL);
	if (thread_start(&lane->thread, NULL, "p2pd-grpc", run, lane) == 0)
		return lane;
	error_set(err, P2P_IO, "Cannot start a thread for gRPC requests");
	dismantle(lane);
	return NULL;
}

void
rpc_lane_stop(struct rpc_lane *lane)
{
	if (lane == NULL)
		return;
	pthread_mutex_lock(&lane->mu);
	if (!lane->is_ending)
		ring(lane);
	lane->is_ending = true;
	pthread_mutex_unlock(&lane->mu);
}

void
rpc_lane_free(struct rpc_lane *lane)
{
	if (lane == NULL)
		return;
	rpc_lane_stop(lane);
	pthread_join(lane->thread, NULL);
	dismantle(lane);
}
