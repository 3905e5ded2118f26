/* SPDX-License-Identifier: MIT
 *
 * throttle.c - two rates, and a heap of those who wait.
 *
 * Whoever serves or receives file bytes asks the rate of his direction (rate.h), and if it is not
 * his turn yet stands here until it is.  All of them share one timer of the mind, set to the
 * earliest; a thread that comes with an earlier one sends the mind a word.  A thousand that wait
 * cost a thousand entries of a heap, and no thread sleeps for any of them.
 *
 * When a limit changes all are woken, ask again, and get their turn under the new one.
 *
 * Wakes are called under the lock, so that who has called throttle_forget() may go.
 */
#include "throttle.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "mem.h"

struct throttle {
	struct loop *loop;
	struct loop_timer *timer; /* the mind's */
	struct rate *up, *down;
	pthread_mutex_t mu; /* guards what follows */
	uint64_t bps[THROTTLE_LIMITS];
	struct throttle_wait **heap; /* from 1 on; the earliest first */
	size_t count, cap;
	uint64_t armed_us; /* the timer will look then, or was asked to; UINT64_MAX: never */
};

static const char *const names[THROTTLE_LIMITS] = {
#define LIMIT(symbol, name) [THROTTLE_##symbol] = name,
#include "limit.def"
#undef LIMIT
};

const char *
throttle_name(enum throttle_limit limit)
{
	return names[limit];
}

bool
throttle_find(const char *name, enum throttle_limit *ret)
{
	for (int i = 0; i < THROTTLE_LIMITS; i++)
		if (strcmp(names[i], name) == 0) {
			*ret = (enum throttle_limit)i;
			return true;
		}
	return false;
}

/* --- the heap; holds mu --- */

static void
put_at(struct throttle *throttle, size_t at, struct throttle_wait *wait)
{
	throttle->heap[at] = wait;
	wait->at = at;
}

static void
rise(struct throttle *throttle, size_t at)
{
	struct throttle_wait *wait = throttle->heap[at];

	for (; at > 1 && throttle->heap[at / 2]->due_us > wait->due_us; at /= 2)
		put_at(throttle, at, throttle->heap[at / 2]);
	put_at(throttle, at, wait);
}

static void
sink(struct throttle *throttle, size_t at)
{
	struct throttle_wait *wait = throttle->heap[at];

	for (size_t child; (child = 2 * at) <= throttle->count; at = child) {
		if (child < throttle->count &&
		    throttle->heap[child + 1]->due_us < throttle->heap[child]->due_us)
			child++;
		if (throttle->heap[child]->due_us >= wait->due_us)
			break;
		put_at(throttle, at, throttle->heap[child]);
	}
	put_at(throttle, at, wait);
}

static void
heap_add(struct throttle *throttle, struct throttle_wait *wait)
{
	if (throttle->count + 1 >= throttle->cap) {
		throttle->cap = throttle->cap > 0 ? 2 * throttle->cap : 16;
		throttle->heap = mem_grow(throttle->heap, throttle->cap, sizeof(*throttle->heap));
	}
	put_at(throttle, ++throttle->count, wait);
	rise(throttle, throttle->count);
}

static void
heap_remove(struct throttle *throttle, struct throttle_wait *wait)
{
	size_t at = wait->at;
	struct throttle_wait *last = throttle->heap[throttle->count--];

	wait->at = 0;
	if (last == wait)
		return;
	put_at(throttle, at, last);
	rise(throttle, at);
	sink(throttle, last->at);
}

/* --- the timer --- */

/* Mind.  Holds mu. */
static void
arm(struct throttle *throttle, uint64_t now_us)
{
	throttle->armed_us = UINT64_MAX;
	if (throttle->count == 0)
		return;
	uint64_t due_us = throttle->heap[1]->due_us;
	throttle->armed_us = due_us;
	loop_timer_start(throttle->timer, due_us > now_us ? (due_us - now_us + 999) / 1000 : 0);
}

/* Mind.  Wakes those whose turn has come. */
static void
look(void *arg)
{
	struct throttle *throttle = arg;
	uint64_t now_us = clock_us();

	pthread_mutex_lock(&throttle->mu);
	while (throttle->count > 0 && throttle->heap[1]->due_us <= now_us) {
		struct throttle_wait *wait = throttle->heap[1];

		heap_remove(throttle, wait);
		wait->wake(wait->arg);
	}
	arm(throttle, now_us);
	pthread_mutex_unlock(&throttle->mu);
}

void
throttle_wait(struct throttle *throttle, struct throttle_wait *wait, const struct rate *rate,
	      const struct rate_turn *turn)
{
	pthread_mutex_lock(&throttle->mu);
	if (wait->at != 0)
		heap_remove(throttle, wait);
	/* Under the lock: either the change is seen here, or it finds us in the heap. */
	wait->due_us = rate_change(rate) == turn->change ? turn->due_us : 0;
	heap_add(throttle, wait);
	bool is_earlier = wait->due_us < throttle->armed_us;
	if (is_earlier)
		throttle->armed_us = wait->due_us;
	pthread_mutex_unlock(&throttle->mu);
	if (is_earlier)
		loop_post(throttle->loop, look, throttle);
}

void
throttle_forget(struct throttle *throttle, struct throttle_wait *wait)
{
	if (throttle == NULL)
		return;
	pthread_mutex_lock(&throttle->mu);
	if (wait->at != 0)
		heap_remove(throttle, wait);
	pthread_mutex_unlock(&throttle->mu);
}

/* --- the limits --- */

/* Mind.  Puts them in force, and has everybody ask again. */
static void
apply(struct throttle *throttle, const uint64_t bps[THROTTLE_LIMITS])
{
	uint64_t now_us = clock_us();

	assert(loop_is_mine(throttle->loop));
	pthread_mutex_lock(&throttle->mu);
	bool is_same = memcmp(throttle->bps, bps, sizeof(throttle->bps)) == 0;
	memcpy(throttle->bps, bps, sizeof(throttle->bps));
	if (!is_same) {
		rate_set(throttle->up, bps[THROTTLE_UPLOAD], bps[THROTTLE_UPLOAD_PER_PEER], now_us);
		rate_set(throttle->down, bps[THROTTLE_DOWNLOAD], bps[THROTTLE_DOWNLOAD_PER_PEER],
			 now_us);
		for (size_t i = 1; i <= throttle->count; i++)
			throttle->heap[i]->due_us = 0; /* equal ones are a heap */
	}
	pthread_mutex_unlock(&throttle->mu);
	look(throttle);
}

void
throttle_configure(struct throttle *throttle, const struct config *config)
{
	const uint64_t bps[THROTTLE_LIMITS] = {
		[THROTTLE_UPLOAD] = config->network_upload_limit,
		[THROTTLE_DOWNLOAD] = config->network_download_limit,
		[THROTTLE_UPLOAD_PER_PEER] = config->network_upload_limit_per_peer,
		[THROTTLE_DOWNLOAD_PER_PEER] = config->network_download_limit_per_peer,
	};

	apply(throttle, bps);
}

void
throttle_set(struct throttle *throttle, enum throttle_limit limit, uint64_t bps)
{
	uint64_t all[THROTTLE_LIMITS];

	memcpy(all, throttle->bps, sizeof(all)); /* only the mind changes them */
	all[limit] = bps;
	apply(throttle, all);
}

uint64_t
throttle_get(struct throttle *throttle, enum throttle_limit limit)
{
	pthread_mutex_lock(&throttle->mu);
	uint64_t bps = throttle->bps[limit];
	pthread_mutex_unlock(&throttle->mu);
	return bps;
}

struct rate *
throttle_up(struct throttle *throttle)
{
	return throttle != NULL ? throttle->up : NULL;
}

struct rate *
throttle_down(struct throttle *throttle)
{
	return throttle != NULL ? throttle->down : NULL;
}

/* --- life --- */

struct throttle *
throttle_new(struct loop *loop)
{
	struct throttle *throttle = mem_zero(1, sizeof(*throttle));

	throttle->loop = loop;
	throttle->timer = loop_timer_new(loop, look, throttle);
	throttle->up = rate_new();
	throttle->down = rate_new();
	throttle->armed_us = UINT64_MAX;
	pthread_mutex_init(&throttle->mu, NULL);
	return throttle;
}

/* The last post: a word that somebody sent the mind before has been heard. */
static void
free_throttle(void *arg)
{
	struct throttle *throttle = arg;

	assert(throttle->count == 0);
	rate_free(throttle->up);
	rate_free(throttle->down);
	pthread_mutex_destroy(&throttle->mu);
	free(throttle->heap);
	free(throttle);
}

void
throttle_free(struct throttle *throttle)
{
	if (throttle == NULL)
		return;
	loop_timer_free(throttle->timer);
	throttle->timer = NULL;
	loop_post(throttle->loop, free_throttle, throttle);
}
