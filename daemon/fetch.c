/* SPDX-License-Identifier: MIT
 *
 * fetch.c - the fetches of this peer: their beginning, their end, and their life as a whole.
 *
 * A fetch into the share is in the catalog from its start to its end; what was done is marked there with the very
 * commit that enters the file.  After a restart fetches_resume() takes up the rest.  The last FETCH_ENDED_KEPT that
 * ended are still listed.
 *
 * fetch_order.c decides which file is brought next, fetch_item.c brings one, fetch_batch.c many small ones,
 * fetch_directories.c looks after the directories that they came into, fetch_stream.c streams one through,
 * fetch_tell.c tells how far they are; this file knows nothing of pieces.
 */
#include "fetch_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "log.h"
#include "mem.h"
#include "metrics.h"

/* --- ending --- */

static void
close_target(struct fetch *fetch)
{
	if (fetch->data_fd >= 0)
		close(fetch->data_fd);
	if (fetch->have_fd >= 0)
		close(fetch->have_fd);
	fetch->data_fd = fetch->have_fd = -1;
}

static void
free_fetch(struct fetch *fetch)
{
	close_target(fetch);
	for (size_t i = 0; i < fetch->count; i++)
		free(fetch->items[i].name);
	free(fetch->items);
	free(fetch->item_states);
	free(fetch->item_tries);
	free(fetch->again);
	free(fetch->holders);
	free(fetch->what);
	free(fetch);
}

static void
unlink_fetch(struct fetch *fetch)
{
	struct fetch **link = &fetch->fetches->first;
	while (*link != fetch)
		link = &(*link)->next;
	*link = fetch->next;
}

/* Only the newest of those that ended are kept in the list. */
static void
drop_oldest_ended(struct fetches *fetches)
{
	unsigned ended = 0;
	struct fetch *oldest = NULL;
	for (struct fetch *fetch = fetches->first; fetch != NULL; fetch = fetch->next) {
		if (!fetch_is_ended(fetch))
			continue;
		/* Not the lowest number: what took long and ended just now is still to be seen. */
		if (oldest == NULL || fetch->ended_order < oldest->ended_order)
			oldest = fetch;
		ended++;
	}
	if (ended <= FETCH_ENDED_KEPT)
		return;
	unlink_fetch(oldest);
	free_fetch(oldest);
}

static void
forget_in_catalog(struct fetch *fetch)
{
	if (fetch->is_foreign)
		return;
	struct catalog_batch *batch = catalog_batch_new();
	catalog_batch_fetch_done(batch, fetch->id);
	catalog_submit(fetch->fetches->means.catalog, batch, NULL, NULL);
}

static enum event_kind
event_of_end(enum fetch_state state)
{
	return state == FETCH_DONE	  ? EVENT_FETCH_DONE
	    : state == FETCH_CANCELLED ? EVENT_FETCH_CANCELLED
				       : EVENT_FETCH_FAILED;
}

static void
finish(struct fetch *fetch)
{
	fetch->ended_wall_ms = clock_wall_ms();
	fetch->ended_order = ++fetch->fetches->ended_count;
	fetch->rate_bps = 0;
	if (fetch->is_cancelled) {
		fetch->state = FETCH_CANCELLED;
		error_set(&fetch->trouble, P2P_CANCELLED, "it was cancelled");
	} else {
		fetch->state = fetch->failed_files == 0 ? FETCH_DONE : FETCH_FAILED;
		fetch->trouble = fetch->failure;
	}
	close_target(fetch);
	forget_in_catalog(fetch);
	metrics_add(fetch->state == FETCH_DONE ? METRIC_FETCHES_DONE : METRIC_FETCHES_FAILED, 1);
	log_info("fetch %llu of \"%s\": %s%s%s", (unsigned long long)fetch->id, fetch->what,
	    fetch_state_name(fetch->state), fetch->trouble.code ? ": " : "",
	    fetch->trouble.code ? fetch->trouble.text : "");
	fetch_publish(fetch, event_of_end(fetch->state));
	drop_oldest_ended(fetch->fetches);
}

/* After anything ended: is the fetch over?  Then it may be gone, too. */
bool
fetch_settle(struct fetch *fetch)
{
	if (fetch_is_ended(fetch) || fetch->fetches->is_stopping)
		return false;
	bool is_over =
	    fetch->active_count == 0 && (fetch->queued_count == 0 || fetch->is_cancelled);
	if (!is_over || fetch_finish_directories(fetch))
		return false;
	finish(fetch);
	return true;
}

/* --- starting and ending a fetch --- */

static struct fetch *
add_fetch(struct fetches *fetches, uint64_t id, struct fetch_request *request)
{
	struct fetch *fetch = mem_zero(1, sizeof(*fetch));
	fetch->fetches = fetches;
	fetch->id = id;
	fetch->what = mem_string(request->what);
	fetch->replace = request->replace;
	fetch->priority = request->priority;
	fetch->front = request->front;
	if (fetches->front_count < fetch->front)
		fetches->front_count = fetch->front;
	fetch->is_foreign = request->data_fd >= 0;
	fetch->data_fd = request->data_fd;
	fetch->have_fd = request->have_fd;
	fetch->count = request->count;
	fetch->items = request->items;
	fetch->item_states = mem_zero(request->count, 1);
	fetch->item_tries = mem_zero(request->count, 1);
	fetch->queued_count = request->count;
	for (size_t i = 0; i < fetch->count; i++)
		fetch->total_bytes += fetch->items[i].content.size_bytes;
	fetch->started_wall_ms = clock_wall_ms();
	struct fetch **link = &fetches->first;
	while (*link != NULL)
		link = &(*link)->next;
	*link = fetch;
	if (id >= fetches->next_id)
		fetches->next_id = id + 1;
	return fetch;
}

static void
remember_in_catalog(struct fetch *fetch, struct catalog_batch *also)
{
	assert(also == NULL || !fetch->is_foreign);
	if (fetch->is_foreign)
		return;
	struct catalog_fetch_item *items = mem_zero(fetch->count, sizeof(*items));
	for (size_t i = 0; i < fetch->count; i++)
		items[i] = (struct catalog_fetch_item){ fetch->items[i].name,
			fetch->items[i].content, fetch->items[i].mtime_ns, fetch->items[i].mode };
	struct catalog_batch *batch = also != NULL ? also : catalog_batch_new();
	catalog_batch_fetch(batch, fetch->id, fetch->what, fetch->replace, items, fetch->count);
	if (fetch->priority != FETCH_NORMAL)
		catalog_batch_fetch_rank(batch, fetch->id, &(struct catalog_rank){ fetch->priority, 0 });
	/* A catalog that cannot be written costs the memory of this fetch over a restart, not the fetch. */
	catalog_submit(fetch->fetches->means.catalog, batch, NULL, NULL);
	free(items);
}

static void
drop_request(struct fetch_request *request)
{
	for (size_t i = 0; i < request->count; i++)
		free(request->items[i].name);
	free(request->items);
	if (request->data_fd >= 0)
		close(request->data_fd);
	if (request->have_fd >= 0)
		close(request->have_fd);
	catalog_batch_free(request->also);
}

/* The very same file is being fetched already: that fetch is the answer. */
static struct fetch *
find_same(const struct fetches *fetches, const struct fetch_request *request)
{
	if (request->count != 1 || request->data_fd >= 0)
		return NULL;
	for (struct fetch *fetch = fetches->first; fetch != NULL; fetch = fetch->next)
		if (!fetch_is_ended(fetch) && !fetch->is_cancelled && fetch->count == 1 &&
		    !fetch->is_foreign && fetch->replace == request->replace &&
		    content_equal(&fetch->items[0].content, &request->items[0].content) &&
		    strcmp(fetch->items[0].name, request->items[0].name) == 0)
			return fetch;
	return NULL;
}

int
fetch_start(struct fetches *fetches, struct fetch_request *request, uint64_t *ret_id,
    struct error *err)
{
	assert(loop_is_mine(fetches->means.loop));
	assert(request->count >= 1 && request->count <= FETCH_ITEMS_MAX);
	struct fetch *same = find_same(fetches, request);
	if (same != NULL) {
		if (request->also != NULL)
			catalog_submit(fetches->means.catalog, request->also, NULL, NULL);
		request->also = NULL;
		if (request->priority > same->priority)
			(void)fetch_prioritize(fetches, same->id, request->priority);
		drop_request(request);
		*ret_id = same->id;
		return P2P_OK;
	}
	if (fetches->is_stopping || fetches_active(fetches) >= FETCH_ACTIVE_MAX) {
		drop_request(request);
		if (fetches->is_stopping)
			return error_set(err, P2P_SHUTTING_DOWN, "the daemon is stopping");
		return error_set(err, P2P_TOO_MANY, "%d fetches are under way, which is the most",
		    FETCH_ACTIVE_MAX);
	}
	/* In a tree each file answers for itself. */
	if (request->count == 1 && !merkle_content_valid(&request->items[0].content)) {
		drop_request(request);
		return error_set(err, P2P_BAD_CONTENT, "no file can have this content id");
	}
	struct fetch *fetch = add_fetch(fetches, fetches->next_id, request);
	*ret_id = fetch->id;
	remember_in_catalog(fetch, request->also);
	fetch_publish(fetch, EVENT_FETCH_STARTED);
	fetches_schedule(fetches);
	return P2P_OK;
}

int
fetch_cancel(struct fetches *fetches, uint64_t id)
{
	assert(loop_is_mine(fetches->means.loop));
	struct fetch *fetch = fetch_find(fetches, id);
	if (fetch == NULL)
		return P2P_NOT_FOUND;
	if (fetch_is_ended(fetch)) {
		unlink_fetch(fetch);
		free_fetch(fetch);
		return P2P_OK;
	}
	fetch->is_cancelled = true;
	for (struct active *active = fetch->actives; active != NULL; active = active->next)
		fetch_item_stop(active);
	fetch_stop_directories(fetch);
	fetch_settle(fetch);
	return P2P_OK;
}

uint32_t
fetches_active(const struct fetches *fetches)
{
	uint32_t count = 0;
	for (const struct fetch *fetch = fetches->first; fetch != NULL; fetch = fetch->next)
		count += !fetch_is_ended(fetch);
	return count;
}

/* --- the life of all of them --- */

/* A peer came: what waits for holders may go on. */
static void
on_peer(void *arg, const char *id, enum peer_state state)
{
	struct fetches *fetches = arg;
	struct peer_info peer;
	if (state != PEER_HERE) {
		if (!peers_find(fetches->means.peers, id, &peer))
			wire_choice_forget(fetches->means.wires, id);
		return;
	}
	for (struct fetch *fetch = fetches->first; fetch != NULL; fetch = fetch->next) {
		for (struct active *active = fetch->actives; active; active = active->next)
			if (active->download != NULL)
				download_peer_here(active->download, id);
		fetch_retry_soon(fetch);
	}
	fetches_set_retry_timer(fetches);
	fetch_streams_peer_here(fetches, id);
}

/* Holders that could not be asked may be asked now. */
static void
look_again(struct fetches *fetches)
{
	size_t count;
	struct peer_info *list = peers_list(fetches->means.peers, &count);
	for (size_t i = 0; i < count; i++)
		on_peer(fetches, list[i].id, list[i].state);
	free(list);
}

struct fetches *
fetches_new(struct loop *loop, struct pool *pool, struct store *store, struct catalog *catalog,
    struct indexer *indexer, struct peers *peers, struct transport *transport,
    struct holdings *holdings, struct events *events, struct throttle *throttle,
    struct config *config)
{
	struct fetches *fetches = mem_zero(1, sizeof(*fetches));
	fetches->means = (struct download_means){ loop, pool, store, catalog, peers, transport,
		config_ref(config), holdings, wire_choice_new(), throttle, 0, 0 };
	fetches->indexer = indexer;
	fetches->events = events;
	fetches->next_id = 1;
	fetches->progress = loop_timer_new(loop, fetches_on_progress, fetches);
	fetches->retry = loop_timer_new(loop, fetches_on_retry, fetches);
	peers_on_change(peers, on_peer, fetches);
	return fetches;
}

void
fetches_resume(struct fetches *fetches, uint64_t id, struct fetch_request *request)
{
	assert(!fetches->is_started && request->count >= 1);
	/* It may have made directories before. */
	atomic_store(&add_fetch(fetches, id, request)->makes_directories, true);
}

void
fetches_start(struct fetches *fetches)
{
	fetches->is_started = true;
	fetches_schedule(fetches);
}

void
fetches_configure(struct fetches *fetches, struct config *config)
{
	struct config *old = fetches->means.config;
	bool has_other_wires = config->network_transport != old->network_transport;
	fetches->means.config = config_ref(config);
	config_unref(old);
	if (has_other_wires)
		look_again(fetches);
	fetches_schedule(fetches);
}

void
fetches_stop(struct fetches *fetches, loop_fn done, void *arg)
{
	assert(loop_is_mine(fetches->means.loop));
	fetches->is_stopping = true;
	fetches->stopped = done;
	fetches->stopped_arg = arg;
	loop_timer_stop(fetches->retry);
	loop_timer_stop(fetches->progress);
	for (struct fetch *fetch = fetches->first; fetch != NULL; fetch = fetch->next) {
		for (struct active *active = fetch->actives; active; active = active->next)
			fetch_item_stop(active);
		fetch_stop_directories(fetch);
	}
	fetch_looks_stop(fetches);
	fetch_streams_stop(fetches);
	fetches_maybe_stopped(fetches);
}

void
fetches_maybe_stopped(struct fetches *fetches)
{
	loop_fn stopped = fetches->stopped;
	if (!fetches->is_stopping || stopped == NULL || fetches->active_count != 0 ||
	    fetches->finishing_count != 0 || fetches->stream_count != 0)
		return;
	fetches->stopped = NULL;
	stopped(fetches->stopped_arg);
}

void
fetches_free(struct fetches *fetches)
{
	if (fetches == NULL)
		return;
	while (fetches->first != NULL) {
		struct fetch *fetch = fetches->first;
		fetches->first = fetch->next;
		free_fetch(fetch);
	}
	loop_timer_free(fetches->progress);
	loop_timer_free(fetches->retry);
	config_unref(fetches->means.config);
	wire_choice_free(fetches->means.wires);
	fetch_batches_fini(fetches);
	free(fetches);
}
