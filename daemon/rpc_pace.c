/* SPDX-License-Identifier: MIT
 *
 * rpc_pace.c - uploads whose clients send too slowly.
 *
 * An upload holds a descriptor and a temporary file, and its client may have no deadline.  So, as
 * over REST, it has to bring PACE_BPS at least, over [rest] body_timeout seconds; one that does not
 * is ended as P2P_TIMEOUT, and what came is kept if it has an id.
 *
 * Once a second, as long as there are uploads, all of them are looked at.  Only the looks that
 * find a call waiting for its client count: a disk that is slow is no fault of the client's.  A
 * call that has not even sent its header holds nothing but itself, and does not stand here.
 */
#include "rpc_internal.h"

#include <assert.h>

#include "log.h"

#define PACE_BPS 1024 /* bytes per second, as REST_BODY_BPS */
#define LOOK_MS  1000

/* Holds mu.  True if its window is over and it brought too little; begins the next one. */
static bool
is_slow(const struct rpc_pace *pace, struct rpc_paced *paced)
{
	if (!rpc_is_waiting(paced->call) || ++paced->waits < pace->window_s)
		return false;
	paced->waits = 0;
	return atomic_exchange(&paced->bytes, 0) < (uint64_t)PACE_BPS * pace->window_s;
}

static void
end_slow(const struct rpc_pace *pace, struct rpc_call *call)
{
	struct error err = { 0 };

	error_set(&err, P2P_TIMEOUT, "less than %u KiB of the file came in %u s",
		  PACE_BPS * pace->window_s / 1024, pace->window_s);
	log_debug("gRPC: an upload is too slow");
	rpc_break(call, &err);
}

/* Mind. */
static void
look(void *arg)
{
	struct rpc_pace *pace = arg;

	pthread_mutex_lock(&pace->mu);
	for (struct rpc_paced *paced = pace->first; paced != NULL; paced = paced->next)
		if (is_slow(pace, paced))
			end_slow(pace, paced->call);
	pace->is_watched = pace->first != NULL;
	if (pace->is_watched)
		loop_timer_start(pace->timer, LOOK_MS);
	pthread_mutex_unlock(&pace->mu);
}

/* Mind. */
static int
ask_watch(void *arg)
{
	struct rpc_pace *pace = arg;

	loop_timer_start(pace->timer, LOOK_MS);
	return P2P_OK;
}

void
rpc_pace_init(struct rpc_pace *pace, struct loop *loop, uint32_t window_s)
{
	pthread_mutex_init(&pace->mu, NULL);
	pace->loop = loop;
	pace->window_s = window_s;
	pace->timer = loop_timer_new(loop, look, pace);
}

void
rpc_pace_fini(struct rpc_pace *pace)
{
	assert(pace->first == NULL);
	loop_timer_free(pace->timer);
	pthread_mutex_destroy(&pace->mu);
}

void
rpc_paced_add(struct rpc_paced *paced, struct rpc_call *call)
{
	struct rpc_pace *pace = &rpc_head(call)->rpc->pace;

	paced->call = call;
	pthread_mutex_lock(&pace->mu);
	paced->next = pace->first;
	paced->link = &pace->first;
	if (paced->next != NULL)
		paced->next->link = &paced->next;
	pace->first = paced;
	bool is_first = !pace->is_watched;
	pace->is_watched = true;
	pthread_mutex_unlock(&pace->mu);
	/* Refused on the way down, when all calls end anyway. */
	if (is_first)
		(void)loop_call(pace->loop, ask_watch, pace);
}

void
rpc_paced_remove(struct rpc_paced *paced)
{
	struct rpc_pace *pace = &rpc_head(paced->call)->rpc->pace;

	pthread_mutex_lock(&pace->mu);
	*paced->link = paced->next;
	if (paced->next != NULL)
		paced->next->link = paced->link;
	pthread_mutex_unlock(&pace->mu);
}
