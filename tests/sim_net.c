/* SPDX-License-Identifier: MIT
 *
 * sim_net.c - flows that share links fairly.
 *
 * The rates are max-min fair, as many long TCP connections come to share a network: nobody's rate
 * could grow without taking from one that is no faster.  Each link has a level, the rate of a
 * flow that this link holds back; a flow's rate is the lower of its two links' levels.  A link's
 * level is right if its flows fill it, given what their other ends let them have.
 *
 * When flows come and go, the levels of their links are made right again, then those of the links
 * at the other ends if that made a difference, and so on (it is the distributed algorithm of
 * Charny, 1994, which converges to max-min).  A level that is right within TOLERANCE is left
 * alone, so that a change reaches only those whom it concerns: that is what makes hundreds of
 * hosts with thousands of flows cheap.  The price is that a link may be used by so much more or
 * less than it has.
 *
 * A flow's bytes are brought up to date when its rate changes; a heap has the flows by the time
 * at which they reach their goals.
 */
#include "sim_net.h"

#include <assert.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

#include "mem.h"

#define TOLERANCE      0.01
#define STEPS_PER_LINK 8 /* levels computed at once, for each link that changed; others wait */

struct sim_link {
	int end;                /* 0: an up-link, 1: a down-link */
	double capacity, level; /* bytes per microsecond */
	struct sim_flow **flows;
	size_t count, room;
	bool is_waiting;  /* in the queue of those to be looked at */
	bool has_changed; /* its flows or its capacity are others */
};

struct sim_net {
	size_t link_count;
	struct sim_link *links;  /* a host's up-link, its down-link, the next host's ... */
	struct sim_link **queue; /* a ring of link_count places: each link is in it at most once */
	size_t queue_start, queue_count;
	struct sim_flow **heap;
	size_t heap_count, heap_room;
};

struct sim_net *
sim_net_new(size_t hosts)
{
	struct sim_net *net = mem_zero(1, sizeof(*net));
	net->link_count = 2 * hosts;
	net->links = mem_zero(net->link_count, sizeof(*net->links));
	net->queue = mem_zero(net->link_count, sizeof(struct sim_link *));
	for (size_t i = 0; i < net->link_count; i++)
		net->links[i].end = i % 2;
	return net;
}

void
sim_net_free(struct sim_net *net)
{
	for (size_t i = 0; i < net->heap_count; i++)
		free(net->heap[i]);
	for (size_t i = 0; i < net->link_count; i++)
		free(net->links[i].flows);
	free(net->links);
	free(net->queue);
	free(net->heap);
	free(net);
}

/* --- the heap --- */

static void
heap_put(struct sim_net *net, size_t place, struct sim_flow *flow)
{
	net->heap[place] = flow;
	flow->heap_place = place;
}

static void
heap_up(struct sim_net *net, struct sim_flow *flow)
{
	size_t place = flow->heap_place;
	for (; place > 0 && net->heap[(place - 1) / 2]->due_us > flow->due_us;
	     place = (place - 1) / 2)
		heap_put(net, place, net->heap[(place - 1) / 2]);
	heap_put(net, place, flow);
}

static void
heap_down(struct sim_net *net, struct sim_flow *flow)
{
	size_t place = flow->heap_place, child;
	while ((child = 2 * place + 1) < net->heap_count) {
		if (child + 1 < net->heap_count &&
		    net->heap[child + 1]->due_us < net->heap[child]->due_us)
			child++;
		if (net->heap[child]->due_us >= flow->due_us)
			break;
		heap_put(net, place, net->heap[child]);
		place = child;
	}
	heap_put(net, place, flow);
}

static void
heap_add(struct sim_net *net, struct sim_flow *flow)
{
	if (net->heap_count == net->heap_room) {
		net->heap_room = net->heap_room ? 2 * net->heap_room : 256;
		net->heap = mem_grow(net->heap, net->heap_room, sizeof(struct sim_flow *));
	}
	heap_put(net, net->heap_count++, flow);
	heap_up(net, flow);
}

static void
heap_remove(struct sim_net *net, struct sim_flow *flow)
{
	struct sim_flow *last = net->heap[--net->heap_count];
	if (last == flow)
		return;
	heap_put(net, flow->heap_place, last);
	heap_up(net, last);
	heap_down(net, last);
}

static void
set_due(struct sim_net *net, struct sim_flow *flow)
{
	uint64_t due_us = UINT64_MAX;
	if (flow->bytes >= flow->goal)
		due_us = flow->settled_us;
	else if (flow->rate > 0)
		due_us = flow->settled_us + (uint64_t)ceil((flow->goal - flow->bytes) / flow->rate);
	uint64_t was_us = flow->due_us;
	flow->due_us = due_us;
	if (due_us < was_us)
		heap_up(net, flow);
	else if (due_us > was_us)
		heap_down(net, flow);
}

/* --- levels --- */

static void
look_at(struct sim_net *net, struct sim_link *link)
{
	if (link->is_waiting)
		return;
	link->is_waiting = true;
	net->queue[(net->queue_start + net->queue_count++) % net->link_count] = link;
}

static double
other_level(const struct sim_link *link, const struct sim_flow *flow)
{
	return flow->link[1 - link->end]->level;
}

/* The level at which the flows fill the link: those whose other end holds them back have less,
 * the others share the rest. */
static double
right_level(const struct sim_link *link)
{
	size_t sharers = link->count, before;
	if (sharers == 0)
		return link->capacity;
	double level = link->capacity / (double)sharers;
	do {
		double rest = link->capacity;
		before = sharers;
		sharers = link->count;
		for (size_t i = 0; i < link->count; i++) {
			double other = other_level(link, link->flows[i]);
			if (other >= level)
				continue;
			rest -= other;
			sharers--;
		}
		if (sharers == 0)
			return link->capacity;
		level = rest / (double)sharers;
	} while (sharers < before);
	return level;
}

static void
set_rate(struct sim_net *net, struct sim_flow *flow, uint64_t now_us)
{
	double up = flow->link[0]->level, down = flow->link[1]->level;
	double rate = up < down ? up : down;
	if (rate == flow->rate)
		return;
	flow->bytes += flow->rate * (double)(now_us - flow->settled_us);
	flow->settled_us = now_us;
	flow->rate = rate;
	set_due(net, flow);
}

static void
make_right(struct sim_net *net, struct sim_link *link, uint64_t now_us)
{
	double was = link->level, level = right_level(link);
	bool is_new = fabs(level - was) > TOLERANCE * was;
	if (!is_new && !link->has_changed)
		return;
	link->has_changed = false;
	if (is_new)
		link->level = level;
	for (size_t i = 0; i < link->count; i++) {
		struct sim_flow *flow = link->flows[i];
		double other = other_level(link, flow);
		/* Who is held back at the other end before and after does not notice. */
		if (is_new && (other > was || other > level))
			look_at(net, flow->link[1 - link->end]);
		set_rate(net, flow, now_us);
	}
}

static void
settle(struct sim_net *net, uint64_t now_us)
{
	size_t steps = STEPS_PER_LINK * net->queue_count;
	for (; net->queue_count > 0 && steps > 0; steps--) {
		struct sim_link *link = net->queue[net->queue_start];
		net->queue_start = (net->queue_start + 1) % net->link_count;
		net->queue_count--;
		link->is_waiting = false;
		make_right(net, link, now_us);
	}
}

static void
change(struct sim_net *net, struct sim_link *link)
{
	link->has_changed = true;
	look_at(net, link);
}

void
sim_net_links(struct sim_net *net, uint64_t now_us, size_t host, uint64_t up_bps, uint64_t down_bps)
{
	net->links[2 * host].capacity = (double)up_bps / 1e6;
	net->links[2 * host + 1].capacity = (double)down_bps / 1e6;
	change(net, &net->links[2 * host]);
	change(net, &net->links[2 * host + 1]);
	settle(net, now_us);
}

/* --- flows --- */

static void
join(struct sim_flow *flow, struct sim_link *link)
{
	if (link->count == link->room) {
		link->room = link->room ? 2 * link->room : 16;
		link->flows = mem_grow(link->flows, link->room, sizeof(struct sim_flow *));
	}
	flow->link[link->end] = link;
	flow->place[link->end] = link->count;
	link->flows[link->count++] = flow;
}

static void
part(struct sim_flow *flow, struct sim_link *link)
{
	struct sim_flow *last = link->flows[--link->count];
	link->flows[flow->place[link->end]] = last;
	last->place[link->end] = flow->place[link->end];
}

struct sim_flow *
sim_net_start(struct sim_net *net, uint64_t now_us, size_t from, size_t to, uint64_t goal,
	      void *arg)
{
	struct sim_flow *flow = mem_zero(1, sizeof(*flow));
	flow->arg = arg;
	flow->goal = (double)goal;
	flow->settled_us = now_us;
	flow->due_us = UINT64_MAX;
	join(flow, &net->links[2 * from]);
	join(flow, &net->links[2 * to + 1]);
	heap_add(net, flow);
	change(net, flow->link[0]);
	change(net, flow->link[1]);
	return flow;
}

void
sim_net_goal(struct sim_net *net, struct sim_flow *flow, uint64_t goal)
{
	flow->goal = (double)goal;
	set_due(net, flow);
}

uint64_t
sim_net_bytes(const struct sim_flow *flow, uint64_t now_us)
{
	double bytes = flow->bytes + flow->rate * (double)(now_us - flow->settled_us);
	return (uint64_t)(bytes < flow->goal ? bytes : flow->goal);
}

uint64_t
sim_net_stop(struct sim_net *net, uint64_t now_us, struct sim_flow *flow)
{
	uint64_t bytes = sim_net_bytes(flow, now_us);
	heap_remove(net, flow);
	for (int end = 0; end < 2; end++) {
		part(flow, flow->link[end]);
		change(net, flow->link[end]);
	}
	free(flow);
	return bytes;
}

uint64_t
sim_net_next_us(struct sim_net *net, uint64_t now_us)
{
	settle(net, now_us);
	return net->heap_count != 0 ? net->heap[0]->due_us : UINT64_MAX;
}

struct sim_flow *
sim_net_first(struct sim_net *net)
{
	assert(net->heap_count != 0);
	return net->heap[0];
}
