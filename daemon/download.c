/* SPDX-License-Identifier: MIT
 *
 * download.c - one content on its way here.
 *
 * Life: open (a worker opens the partial, takes up what is on the disk and asks the catalog for holders) -> layer (asked of
 * the holder in use and checked against the root) -> runs of pieces, several under way -> all verified -> `ended`.
 * download_step() looks at where things stand and starts whatever can be started; everything that ends (a job, a request,
 * a timer) notes what it brought and calls download_step() again.  There is no other control flow.
 *
 * What cannot be done now is retried: a holder that fails is changed for the next one, with none left the catalog is asked
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

/* Until a partial that somebody else has open is tried again; doubled each time.  A small file of the same bytes has it for
 * milliseconds, a large one for hours. */
#define LOCKED_MIN_MS	5
#define LOCKED_MAX_MS	1000

/* --- saying what goes on --- */

void
download_tell_waiting(struct download *download, int code, const char *text)
{
	if (download->wait_code == code)
		return;
	download->wait_code = code;
	download->events->waiting(download->arg, code, text);
}

void
download_tell_moved(struct download *download)
{
	uint64_t have_bytes = partial_have_bytes(download->partial);
	if (have_bytes == download->told_bytes)
		return;
	download->told_bytes = have_bytes;
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

/* --- holders --- */

/* Peer ids that the catalog names as holders, collected on a worker. */
struct holders {
	struct download *download;
	size_t count;
	char peers[SWARM_SOURCES_MAX][PEER_ID_SIZE];
};

static void
collect_holder(void *arg, const char *peer)
{
	struct holders *holders = arg;
	if (holders->count < SWARM_SOURCES_MAX)
		memcpy(holders->peers[holders->count++], peer, PEER_ID_SIZE);
}

static void
find_holders(struct holders *holders)
{
	/* A catalog that cannot be read has no holders to tell; the retry asks it again. */
	(void)catalog_holders(holders->download->means->catalog, &holders->download->content,
	    collect_holder, holders);
}

static void
take_holders(struct download *download, const struct holders *holders)
{
	for (size_t i = 0; i < holders->count; i++) {
		struct peer_info peer;
		if (peers_find(download->means->peers, holders->peers[i], &peer) &&
		    peer.state != PEER_AWAY)
			swarm_source(download->swarm, peer.id, peer.round_trip_us);
	}
}

static void
work_holders(void *arg)
{
	find_holders(arg);
}

static void
done_holders(void *arg)
{
	struct holders *holders = arg;
	struct download *download = holders->download;
	download->busy--;
	download->is_asking_holders = false;
	if (download->swarm != NULL)
		take_holders(download, holders);
	free(holders);
	download_step(download);
}

static void
ask_holders(struct download *download)
{
	if (download->is_asking_holders || download->swarm == NULL)
		return;
	struct holders *holders = mem_zero(1, sizeof(*holders));
	holders->download = download;
	download->is_asking_holders = true;
	download->busy++;
	pool_submit(download->means->pool, POOL_SOON, work_holders, done_holders, holders);
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
	find_holders(&opening->holders);
}

static void
apply_window(struct download *download)
{
	uint64_t piece_bytes = partial_piece_bytes(download->partial);
	uint64_t to = download->window_to;
	if (to > download->content.size_bytes)
		to = download->content.size_bytes;
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
	download->swarm = swarm_new(count, partial_piece_bytes(partial), seed ^ clock_ms());
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
		take_holders(download, &opening->holders);
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
	download->events->ended(download->arg, download->is_stopping ? P2P_CANCELLED : P2P_OK);
}

static void
drop_broken(struct download *download)
{
	partial_free(download->partial);
	swarm_free(download->swarm);
	download->partial = NULL;
	download->swarm = NULL;
	download->is_broken = false;
	download->told_bytes = 0;
}

void
download_step(struct download *download)
{
	if (download->is_ended)
		return;
	bool is_complete = download->partial != NULL && !download->is_broken &&
	    partial_is_complete(download->partial);
	if (download->is_stopping || is_complete) {
		if (download->busy == 0)
			end(download);
		return;
	}
	if (download->is_broken && download->busy == 0)
		drop_broken(download);
	if (download->is_broken || clock_ms() < download->paused_until_ms)
		return;
	if (download->partial == NULL) {
		open_partial(download);
		return;
	}
	if (download->is_short) {
		sync_partial(download);
		return;
	}
	struct peer_info peer;
	if (!download_choose_source(download, &peer))
		return;
	if (partial_has_layer(download->partial))
		download_start_runs(download, &peer);
	else
		download_ask_layer(download, &peer);
}

static void
on_tick(void *arg)
{
	struct download *download = arg;
	if (download->partial == NULL || download->run_count == 0)
		return;
	loop_timer_start(download->tick, DOWNLOAD_TICK_MS);
	if (clock_ms() - download->synced_ms >= DOWNLOAD_SYNC_MS)
		sync_partial(download);
	download_tell_moved(download);
}

static void
on_retry(void *arg)
{
	struct download *download = arg;
	if (download->partial != NULL && download->source[0] == '\0')
		ask_holders(download);
	download_step(download);
}

/* The first step is taken from here, so that nothing is told before download_new() has answered. */
struct download *
download_new(const struct download_means *means, const struct content_id *content,
    uint64_t reserve_bytes, const struct download_target *target,
    const struct download_events *events, void *arg)
{
	assert(loop_is_mine(means->loop));
	struct download *download = mem_zero(1, sizeof(*download));
	download->means = means;
	download->content = *content;
	download->reserve_bytes = reserve_bytes;
	download->target = target;
	download->events = events;
	download->arg = arg;
	download->window_to = UINT64_MAX;
	download->retry = loop_timer_new(means->loop, on_retry, download);
	download->tick = loop_timer_new(means->loop, on_tick, download);
	open_partial(download);
	return download;
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
	for (struct run *run = download->runs; run != NULL; run = run->next)
		download->means->transport->ops->cancel(run->request);
	if (download->layer_request != NULL)
		download->means->transport->ops->cancel(download->layer_request);
	download->busy++;
	loop_post(download->means->loop, step_once, download);
}

struct partial *
download_free(struct download *download)
{
	assert(download->is_ended && download->busy == 0);
	struct partial *partial = download->partial;
	loop_timer_free(download->retry);
	loop_timer_free(download->tick);
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

const char *
download_source(const struct download *download)
{
	return download->run_count != 0 && download->source[0] != '\0' ? download->source : NULL;
}

void
download_peer_here(struct download *download, const char *id)
{
	if (download->swarm == NULL || download->is_ended)
		return;
	swarm_source_forgive(download->swarm, id);
	if (download->source[0] == '\0')
		ask_holders(download);
}
