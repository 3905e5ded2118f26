/* SPDX-License-Identifier: MIT
 *
 * fetch_tell.c - what is told of fetches: events as they move, and a copy of their state for who asks.
 *
 * While something moves a timer looks FETCH_PROGRESS_MS by FETCH_PROGRESS_MS at what was verified, blends it into the rate, and
 * publishes progress of those that got further.  Without moving fetches there is no timer.
 */
#include "fetch_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "mem.h"

#define RATE_MS		1000	/* over which a rate is measured before it is blended in */
#define SOURCES_COUNTED	64	/* holders told apart; more are not counted */

const char *
fetch_state_name(enum fetch_state state)
{
	switch (state) {
	case FETCH_QUEUED:
		return "queued";
	case FETCH_MOVING:
		return "moving";
	case FETCH_WAITING:
		return "waiting";
	case FETCH_DONE:
		return "done";
	case FETCH_FAILED:
		return "failed";
	case FETCH_CANCELLED:
		return "cancelled";
	}
	return "?";
}

static uint64_t
done_bytes_of(const struct fetch *fetch)
{
	uint64_t bytes = fetch->done_bytes;
	for (const struct active *active = fetch->actives; active != NULL; active = active->next)
		bytes += active->batch != NULL ? fetch_batch_bytes(active) : active->have_bytes;
	return bytes < fetch->total_bytes ? bytes : fetch->total_bytes;
}

static uint32_t
count_sources(const struct fetch *fetch)
{
	const char *seen[SOURCES_COUNTED], *sources[SWARM_SOURCES_MAX];
	uint32_t count = 0;
	for (const struct active *active = fetch->actives; active != NULL; active = active->next) {
		size_t more = active->download ? download_sources(active->download, sources) : 0;
		if (active->batch != NULL && (sources[0] = fetch_batch_source(active)) != NULL)
			more = 1;
		while (more-- > 0) {
			uint32_t i = 0;
			while (i < count && strcmp(seen[i], sources[more]) != 0)
				i++;
			if (i == count && count < SOURCES_COUNTED)
				seen[count++] = sources[more];
		}
	}
	return count;
}

void
fetch_publish(struct fetch *fetch, enum event_kind kind)
{
	struct event *event = event_new(kind);
	event->name = mem_string(fetch->what);
	event->fetch = fetch->id;
	if (fetch->count == 1) {
		event->content = fetch->items[0].content;
		event->has_content = true;
	}
	event->done_bytes = done_bytes_of(fetch);
	event->total_bytes = fetch->total_bytes;
	event->rate_bps = fetch->rate_bps;
	event->done_files = fetch->done_files;
	event->total_files = fetch_total_files(fetch);
	event->sources = count_sources(fetch);
	event->code = fetch->trouble.code;
	event->text = fetch->trouble.code != P2P_OK ? mem_string(fetch->trouble.text) : NULL;
	events_publish(fetch->fetches->events, event);
}

static void
measure_rate(struct fetch *fetch)
{
	uint64_t now_ms = clock_ms(), bytes = done_bytes_of(fetch);
	uint64_t passed_ms = now_ms - fetch->rated_ms;
	if (fetch->rated_ms == 0) {
		fetch->rated_ms = now_ms;
		fetch->rated_bytes = bytes;
		return;
	}
	if (passed_ms < (fetch->rate_bps == 0 ? FETCH_PROGRESS_MS : RATE_MS))
		return;
	uint64_t moved = bytes > fetch->rated_bytes ? bytes - fetch->rated_bytes : 0;
	uint64_t bps = moved * 1000 / passed_ms;
	fetch->rate_bps = fetch->rate_bps == 0 ? bps : (fetch->rate_bps * 2 + bps) / 3;
	fetch->rated_ms = now_ms;
	fetch->rated_bytes = bytes;
}

bool
fetch_is_ended(const struct fetch *fetch)
{
	return fetch->state == FETCH_DONE || fetch->state == FETCH_FAILED ||
	    fetch->state == FETCH_CANCELLED;
}

void
fetches_on_progress(void *arg)
{
	struct fetches *fetches = arg;
	bool has_moving = false;
	for (struct fetch *fetch = fetches->first; fetch != NULL; fetch = fetch->next) {
		if (fetch->state != FETCH_MOVING)
			continue;
		has_moving = true;
		measure_rate(fetch);
		if (done_bytes_of(fetch) == fetch->told_bytes)
			continue;
		fetch->told_bytes = done_bytes_of(fetch);
		fetch_publish(fetch, EVENT_FETCH_PROGRESS);
	}
	if (has_moving)
		loop_timer_start(fetches->progress, FETCH_PROGRESS_MS);
}

/* By what bytes came lately, or NULL. */
static const char *
transport_of(const struct fetch *fetch)
{
	double carried[WIRE_COUNT];
	memcpy(carried, fetch->carried, sizeof(carried));
	for (const struct active *active = fetch->actives; active != NULL; active = active->next)
		if (active->download != NULL)
			download_carried(active->download, carried);
	return fetch_wires_name(carried);
}

/* All is well, but others are fetched first: what to say of that, or NULL. */
static char *
turn_text(const struct fetch *fetch)
{
	unsigned parallel = fetch->fetches->means.config->fetch_parallel;
	if (fetch_is_ended(fetch) || fetch->is_cancelled || fetch->active_count != 0 ||
	    fetch->fetches->moving_count < parallel)
		return NULL;
	return mem_format("waits for its turn: %u file%s at once, which is the most ([fetch] parallel)",
	    parallel, parallel == 1 ? " is fetched" : "s are fetched");
}

static void
fill_info(const struct fetch *fetch, struct fetch_info *ret)
{
	uint64_t done_bytes = done_bytes_of(fetch);
	*ret = (struct fetch_info){
		.id = fetch->id,
		.what = mem_string(fetch->what),
		.state = fetch->state,
		.priority = fetch->priority,
		.is_front = fetch->front != 0,
		.is_foreign = fetch->is_foreign,
		.total_bytes = fetch->total_bytes,
		.done_bytes = done_bytes,
		.total_files = fetch_total_files(fetch),
		.done_files = fetch->done_files,
		.failed_files = fetch->failed_files,
		.rate_bps = fetch->rate_bps,
		.eta_ms = UINT64_MAX,
		.sources = count_sources(fetch),
		.started_wall_ms = fetch->started_wall_ms,
		.ended_wall_ms = fetch->ended_wall_ms,
		.transport = transport_of(fetch),
		.code = fetch->trouble.code,
		.text = fetch->trouble.code != P2P_OK ? mem_string(fetch->trouble.text) : NULL,
	};
	if (fetch->state == FETCH_MOVING && fetch->rate_bps != 0)
		ret->eta_ms = (fetch->total_bytes - done_bytes) * 1000 / fetch->rate_bps;
	if (ret->text == NULL)
		ret->text = turn_text(fetch);
	if (fetch->actives != NULL)
		ret->current = mem_string(fetch->items[fetch->actives->index].name);
}

struct fetch *
fetch_find(const struct fetches *fetches, uint64_t id)
{
	struct fetch *fetch = fetches->first;
	while (fetch != NULL && fetch->id != id)
		fetch = fetch->next;
	return fetch;
}

void
fetch_info_fini(struct fetch_info *info)
{
	free(info->what);
	free(info->current);
	free(info->text);
	free(info->holders);
}

int
fetch_get(const struct fetches *fetches, uint64_t id, struct fetch_info *ret)
{
	assert(loop_is_mine(fetches->means.loop));
	const struct fetch *fetch = fetch_find(fetches, id);
	if (fetch == NULL)
		return P2P_NOT_FOUND;
	fill_info(fetch, ret);
	ret->holders = fetch_list_holders(fetch, &ret->holder_count);
	return P2P_OK;
}

struct fetch_info *
fetches_list(const struct fetches *fetches, size_t *ret_count)
{
	assert(loop_is_mine(fetches->means.loop));
	size_t count = 0;
	for (const struct fetch *fetch = fetches->first; fetch != NULL; fetch = fetch->next)
		count++;
	struct fetch_info *infos = mem_zero(count + 1, sizeof(*infos));
	struct fetch_info *info = infos;
	for (const struct fetch *fetch = fetches->first; fetch != NULL; fetch = fetch->next)
		fill_info(fetch, info++);
	*ret_count = count;
	return infos;
}
