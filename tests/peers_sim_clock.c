/* SPDX-License-Identifier: MIT
 *
 * peers_sim_clock.c - the time of a simulation.
 *
 * What is to come is a heap of events, those of one moment in the order in which they were posted.  Time stands still while one
 * runs, and jumps to the next.  The functions of clock.h and loop.h that the simulated modules call are defined here, and taken
 * before those of the library: a timer is an event, and so is a post.
 */
#include "peers_sim_clock.h"

#include <assert.h>
#include <stddef.h>
#include <stdlib.h>

#include "clock.h"
#include "loop.h"
#include "mem.h"

#define BEGIN_WALL_MS 1700000000000
#define LOOK_US       10000 /* between two looks at whether something is reached */

struct event_of_sim {
	uint64_t at_us, order;
	void (*fn)(void *arg);
	void *arg;
};

struct loop_timer {
	loop_fn fn;
	void *arg;
	uint64_t at_us;     /* UINT64_MAX: not */
	uint64_t posted_us; /* when the event comes that counts; UINT64_MAX: none */
	unsigned posted;    /* events */
	bool is_freed;
};

static struct {
	uint64_t now_us, order;
	struct event_of_sim *heap;
	size_t count, room;
} sim;

/* --- events --- */

static bool
is_sooner(const struct event_of_sim *a, const struct event_of_sim *b)
{
	return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

static void
post_at(uint64_t at_us, void (*fn)(void *arg), void *arg)
{
	struct event_of_sim event = { at_us, sim.order++, fn, arg };
	size_t place = sim.count++;

	if (place == sim.room) {
		sim.room = sim.room > 0 ? 2 * sim.room : 1024;
		sim.heap = mem_grow(sim.heap, sim.room, sizeof(*sim.heap));
	}
	for (; place > 0 && is_sooner(&event, &sim.heap[(place - 1) / 2]); place = (place - 1) / 2)
		sim.heap[place] = sim.heap[(place - 1) / 2];
	sim.heap[place] = event;
}

static struct event_of_sim
take_first(void)
{
	struct event_of_sim first = sim.heap[0], last = sim.heap[--sim.count];
	size_t place = 0, child;

	while ((child = 2 * place + 1) < sim.count) {
		if (child + 1 < sim.count && is_sooner(&sim.heap[child + 1], &sim.heap[child]))
			child++;
		if (!is_sooner(&sim.heap[child], &last))
			break;
		sim.heap[place] = sim.heap[child];
		place = child;
	}
	sim.heap[place] = last;
	return first;
}

static void
run_first(void)
{
	struct event_of_sim event = take_first();

	sim.now_us = event.at_us;
	event.fn(event.arg);
}

/* --- life --- */

void
sim_clock_begin(void)
{
	assert(sim.heap == NULL);
	sim.now_us = 1000000;
}

void
sim_clock_end(void)
{
	while (sim.count > 0)
		run_first();
	free(sim.heap);
	sim.heap = NULL;
	sim.room = 0;
}

uint64_t
sim_now_us(void)
{
	return sim.now_us;
}

void
sim_post(uint64_t after_us, void (*fn)(void *arg), void *arg)
{
	post_at(sim.now_us + after_us, fn, arg);
}

uint64_t
sim_clock_run(uint64_t ms, bool (*is_reached)(void *arg), void *arg)
{
	uint64_t begin_us = sim.now_us, end_us = begin_us + ms * 1000, look_us = begin_us;

	while (sim.now_us < end_us) {
		uint64_t next_us = sim.count > 0 ? sim.heap[0].at_us : UINT64_MAX;

		if (is_reached != NULL && next_us > look_us) {
			sim.now_us = look_us;
			if (is_reached(arg))
				break;
			look_us += LOOK_US;
		} else if (next_us > end_us) {
			sim.now_us = end_us;
		} else {
			run_first();
		}
	}
	return (sim.now_us - begin_us) / 1000;
}

/* --- clock.h --- */

uint64_t
clock_us(void)
{
	return sim.now_us;
}

uint64_t
clock_ms(void)
{
	return sim.now_us / 1000;
}

int64_t
clock_wall_ms(void)
{
	return BEGIN_WALL_MS + (int64_t)(sim.now_us / 1000);
}

/* --- loop.h --- */

bool
loop_is_mine(const struct loop *loop)
{
	(void)loop;
	return true;
}

void
loop_post(struct loop *loop, loop_fn fn, void *arg)
{
	(void)loop;
	post_at(sim.now_us, fn, arg);
}

struct loop_timer *
loop_timer_new(struct loop *loop, loop_fn fn, void *arg)
{
	struct loop_timer *timer = mem_zero(1, sizeof(*timer));

	(void)loop;
	timer->fn = fn;
	timer->arg = arg;
	timer->at_us = timer->posted_us = UINT64_MAX;
	return timer;
}

static void post_timer(struct loop_timer *timer);

/* Only the event that was posted last counts: that is the earliest, too. */
static void
on_timer_event(void *arg)
{
	struct loop_timer *timer = arg;

	timer->posted--;
	if (timer->is_freed) {
		if (timer->posted == 0)
			free(timer);
		return;
	}
	if (timer->posted_us != sim.now_us)
		return;
	timer->posted_us = UINT64_MAX;
	if (timer->at_us <= sim.now_us) {
		timer->at_us = UINT64_MAX;
		timer->fn(timer->arg);
	} else if (timer->at_us != UINT64_MAX) {
		post_timer(timer);
	}
}

static void
post_timer(struct loop_timer *timer)
{
	timer->posted++;
	timer->posted_us = timer->at_us;
	post_at(timer->at_us, on_timer_event, timer);
}

void
loop_timer_start(struct loop_timer *timer, uint64_t after_ms)
{
	timer->at_us = sim.now_us + after_ms * 1000;
	if (timer->at_us < timer->posted_us)
		post_timer(timer);
}

void
loop_timer_stop(struct loop_timer *timer)
{
	timer->at_us = UINT64_MAX;
}

void
loop_timer_free(struct loop_timer *timer)
{
	timer->is_freed = true;
	if (timer->posted == 0)
		free(timer);
}
