/* SPDX-License-Identifier: MIT
 *
 * download.c - one content on its way here.
 *
 * Life: open (a worker opens the partial, takes up what is on the disk and asks the catalog for holders) -> layer (asked of
 * a holder and checked against the root) -> runs of pieces, of all holders at once, while they are asked what they have and others are
 * told what we have -> all verified -> `ended`.
 * download_step() looks at where things stand and starts whatever can be started; everything that ends (a job, a request,
 * a timer) notes what it brought and calls download_step() again.  There is no other control flow.
 *
 * What cannot be done now is retried: a holder that fails is left alone for a while, with none left the catalog is asked
 * again; a disk that is full or fails pauses the download.  A partial whose sync failed is closed and opened anew, so
 * that nothing is believed that did not reach the disk.
 *
 * `busy` counts jobs and requests under way: each of them points here, so the download ends only when none is left.
 * Bytes never pass the mind: the sink of a run hashes and writes on the hand that receives them.
 */
#include "download_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "log.h"
#include "mem.h"
#include "metrics.h"

/* Until a partial that somebody else has open is tried again; doubled each time.  A small file of the same bytes has it for
 * milliseconds, a large one for hours. */
#define LOCKED_MIN_MS	5
#define LOCKED_MAX_MS	1000

/* --- saying what goes on --- */

void
download_tell_moved(struct download *download)
{
	uint64_t have_bytes = partial_have_bytes(download->partial);
	if (have_bytes == download->told_bytes)
		return;
	download->told_bytes = have_bytes;
	download->moved_ms = clock_ms();
	download_tell_waiting(download, P2P_OK, NULL);
	download->events->moved(download->arg);
}

/* Starts nothing for a while, for a reason that is ours and no peer's. */
void
download_pause(struct download *download, uint64_t ms, int code, const char *text)
{
	download->paused_until_ms = clock_ms() + ms;
	loop_timer_start(download->retry, ms);
	if (code != P2P_EXISTS)
		download_tell_waiting(download, code, text);
}

/* --- opening --- */

struct opening {
	struct holders holders;		/* its `download` is ours */
	struct partial *partial;
	int code;
	struct error error;
};

static int
check_room(const struct download *download, const struct partial *partial, struct error *err)
{
	if (download->reserve_bytes == UINT64_MAX)
		return P2P_OK;
	int code = store_check_place(download->means->store, err);
	if (code != P2P_OK)
		return code;
	uint64_t missing_bytes = download->content.size_bytes - partial_have_bytes(partial);
	uint64_t room_bytes = store_room(download->means->store, download->reserve_bytes);
	if (missing_bytes <= room_bytes)
		return P2P_OK;
	return error_set(err, P2P_NO_SPACE,
	    "the share has room for %llu more bytes, %llu are needed",
	    (unsigned long long)room_bytes, (unsigned long long)missing_bytes);
}

static void
work_open(void *arg)
{
	struct opening *opening = arg;
	struct download *download = opening->holders.download;
	struct partial *partial = download->target->open(download->arg, &opening->error);
	if (partial == NULL) {
		opening->code = opening->error.code;
		return;
	}
	uint64_t read_bytes;
	opening->code = partial_load(partial, &read_bytes, &opening->error);
	if (opening->code != P2P_OK) {
		partial_free(partial);
		return;
	}
	metrics_add(METRIC_HASHED_AGAIN, read_bytes);
	if (read_bytes != 0)
		log_debug("verified %llu bytes on the disk again", (unsigned long long)read_bytes);
	opening->code = check_room(download, partial, &opening->error);
	if (opening->code != P2P_OK) {
		partial_close(partial);
		return;
	}
	opening->partial = partial;
	if (download->target->fill != NULL)
		download->target->fill(download->arg, partial);
	download_find_holders(&opening->holders);
}

static void
apply_window(struct download *download)
{
	uint64_t piece_bytes = partial_piece_bytes(download->partial);
	uint64_t to = download->window_to;
	if (to > download->content.size_bytes)
		to = download->content.size_bytes;
	if (download->window_from == 0 && download->window_to == UINT64_MAX)
		return;
	swarm_window(download->swarm, download->window_from / piece_bytes,
	    (to + piece_bytes - 1) / piece_bytes);
}

static void
take_partial(struct download *download, struct partial *partial)
{
	uint64_t count = partial_piece_count(partial);
	uint64_t seed;
	memcpy(&seed, download->content.root.bytes, sizeof(seed));
	download->partial = partial;
	download->swarm = swarm_new(download->content.size_bytes, partial_piece_bytes(partial),
	    seed ^ clock_us());
	for (uint64_t i = 0; i < count; i++)
		if (partial_has(partial, i))
			swarm_have(download->swarm, i);
	apply_window(download);
	download_tell_moved(download);
}

static uint64_t
locked_wait_ms(struct download *download)
{
	uint64_t ms = download->locked_ms != 0 ? 2 * download->locked_ms : LOCKED_MIN_MS;
	download->locked_ms = ms < LOCKED_MAX_MS ? ms : LOCKED_MAX_MS;
	return download->locked_ms;
}

static void
done_open(void *arg)
{
	struct opening *opening = arg;
	struct download *download = opening->holders.download;
	download->busy--;
	download->is_opening = false;
	if (opening->code == P2P_OK) {
		take_partial(download, opening->partial);
		download_take_holders(download, &opening->holders);
	} else {
		download_pause(download,
		    opening->code == P2P_EXISTS ? locked_wait_ms(download) : DOWNLOAD_RETRY_MS,
		    opening->code, opening->error.text);
	}
	free(opening);
	download_step(download);
}

static void
open_partial(struct download *download)
{
	if (download->is_opening)
		return;
	struct opening *opening = mem_zero(1, sizeof(*opening));
	opening->holders.download = download;
	download->is_opening = true;
	download->busy++;
	pool_submit(download->means->pool, POOL_SOON, work_open, done_open, opening);
}

/* --- durability --- */

struct syncing {
	struct download *download;
	int code;
	bool is_short;		/* it is synced, but the rest would not fit on the disk */
	struct error error;
};

static void
work_sync(void *arg)
{
	struct syncing *syncing = arg;
	const struct download *download = syncing->download;
	syncing->code = partial_sync(download->partial, &syncing->error);
	/* Others fill the disk too: what fitted at the beginning may not fit any more. */
	syncing->is_short = syncing->code == P2P_OK &&
	    check_room(download, download->partial, &syncing->error) != P2P_OK;
}

static void
done_sync(void *arg)
{
	struct syncing *syncing = arg;
	struct download *download = syncing->download;
	download->busy--;
	download->is_syncing = false;
	download->is_short = syncing->is_short;
	if (syncing->code != P2P_OK)
		download->is_broken = true;
	if (syncing->code != P2P_OK || syncing->is_short)
		download_pause(download, DOWNLOAD_RETRY_MS, syncing->error.code,
		    syncing->error.text);
	free(syncing);
	download_step(download);
}

static void
sync_partial(struct download *download)
{
	if (download->is_syncing || download->is_broken)
		return;
	struct syncing *syncing = mem_zero(1, sizeof(*syncing));
	syncing->download = download;
	download->is_syncing = true;
	download->synced_ms = clock_ms();
	download->busy++;
	pool_submit(download->means->pool, POOL_BULK, work_sync, done_sync, syncing);
}

/* --- the whole --- */

static void
end(struct download *download)
{
	download->is_ended = true;
	loop_timer_stop(download->retry);
	loop_timer_stop(download->tick);
	loop_timer_stop(download->follow_timer);
	download->events->ended(download->arg, download->is_stopping ? P2P_CANCELLED : P2P_OK);
}

static void
drop_broken(struct download *download)
{
	holdings_end(download->holding);
	download_free_follows(download);
	partial_free(download->partial);
	swarm_free(download->swarm);
	download->holding = NULL;
	download->partial = NULL;
	download->swarm = NULL;
	memset(download->source_carried, 0, sizeof(download->source_carried));
	download->is_broken = false;
	download->told_bytes = 0;
}

/* Asks whom it can. */
static void
ask_around(struct download *download)
{
	bool is_busy;
	download->is_barred = false;
	if (partial_has_layer(download->partial)) {
		download_offer(download);
		download_start_runs(download);
		/* A window may be full: its reader is to come on, nobody else. */
		is_busy = download->run_count != 0 || !swarm_has_missing(download->swarm);
	} else {
		is_busy = download_ask_layer(download);
	}
	download_follow(download);
	if (!is_busy)
		download_wait_for_holders(download);
}

void
download_step(struct download *download)
{
	if (download->is_ended)
		return;
	bool is_complete = download->partial != NULL && !download->is_broken &&
	    partial_is_complete(download->partial);
	if (download->is_stopping || is_complete || download->is_broken)
		download_stop_follows(download);
	if (download->is_stopping || is_complete) {
		if (download->busy == 0)
			end(download);
		return;
	}
	if (download->is_broken && download->busy == 0)
		drop_broken(download);
	if (download->is_broken || clock_ms() < download->paused_until_ms)
		return;
	if (download->partial == NULL)
		open_partial(download);
	else if (download->is_short)
		sync_partial(download);
	else
		ask_around(download);
}

static void
on_tick(void *arg)
{
	struct download *download = arg;
	if (download->partial == NULL ||
	    (download->run_count == 0 && download->layer_request == NULL &&
		download->narrowings == NULL))
		return;
	loop_timer_start(download->tick, DOWNLOAD_TICK_MS);
	if (download->layer_request != NULL) {
		download_hurry_layer(download);
		return;
	}
	download_hurry_narrowings(download);
	uint64_t now_ms = clock_ms();
	if (now_ms - download->ticked_ms >= DOWNLOAD_TELL_MS) {
		download->ticked_ms = now_ms;
		if (now_ms - download->synced_ms >= DOWNLOAD_SYNC_MS)
			sync_partial(download);
		if (now_ms - download->asked_holders_ms >= DOWNLOAD_RETRY_MS)
			download_ask_holders(download);
		download_tell_moved(download);
		download_tell_still(download);
	}
	/* More may be asked of who is nearly done; what stalls is given up, and who was left alone for a while may be asked again. */
	download_step(download);
}

static void
on_retry(void *arg)
{
	struct download *download = arg;
	if (download->partial != NULL && download->run_count == 0)
		download_ask_holders(download);
	download_step(download);
}

/* The first step is taken from here, so that nothing is told before download_new() has answered. */
struct download *
download_new(struct download_means *means, const struct content_id *content,
    uint64_t reserve_bytes, const struct download_target *target,
    const struct download_events *events, void *arg)
{
	assert(loop_is_mine(means->loop));
	struct download *download = mem_zero(1, sizeof(*download));
	download->means = means;
	means->download_count++;
	download_set_weight(download, DOWNLOAD_WEIGHT);
	download->content = *content;
	download->reserve_bytes = reserve_bytes;
	download->target = target;
	download->events = events;
	download->arg = arg;
	download->window_to = UINT64_MAX;
	download->retry = loop_timer_new(means->loop, on_retry, download);
	download->tick = loop_timer_new(means->loop, on_tick, download);
	download->follow_timer = loop_timer_new(means->loop, download_follow_due, download);
	open_partial(download);
	return download;
}

void
download_set_weight(struct download *download, unsigned weight)
{
	assert(weight > 0);
	download->means->weights += weight - download->weight;
	download->weight = weight;
}

/* `ended` must not come from within a call of the owner: the last step is taken by a message. */
static void
step_once(void *arg)
{
	struct download *download = arg;
	download->busy--;
	download_step(download);
}

void
download_stop(struct download *download)
{
	assert(loop_is_mine(download->means->loop));
	if (download->is_stopping || download->is_ended)
		return;
	download->is_stopping = true;
	download_stop_runs(download);
	download_stop_narrowings(download);
	if (download->layer_request != NULL)
		download->means->transport->ops->cancel(download->layer_request);
	download->busy++;
	loop_post(download->means->loop, step_once, download);
}

struct partial *
download_free(struct download *download, struct holding **ret_holding)
{
	assert(download->is_ended && download->busy == 0);
	assert(ret_holding != NULL || download->holding == NULL);
	struct partial *partial = download->partial;
	if (download->holding != NULL)
		partial_listen(partial, NULL, NULL);
	if (ret_holding != NULL)
		*ret_holding = download->holding;
	download->means->download_count--;
	download->means->weights -= download->weight;
	loop_timer_free(download->retry);
	loop_timer_free(download->tick);
	loop_timer_free(download->follow_timer);
	download_free_follows(download);
	swarm_free(download->swarm);
	free(download);
	return partial;
}

struct partial *
download_partial(struct download *download)
{
	return download->partial;
}

void
download_window(struct download *download, uint64_t from, uint64_t to)
{
	download->window_from = from;
	download->window_to = to;
	if (download->partial == NULL)
		return;
	apply_window(download);
	if (!download->is_broken && !download->is_stopping)
		download_step(download);
}

void
download_peer_here(struct download *download, const char *id)
{
	if (download->swarm == NULL || download->is_ended)
		return;
	swarm_forgive(download->swarm, id);
	download_follow_soon(download, id);
	download_ask_holders(download);
}
