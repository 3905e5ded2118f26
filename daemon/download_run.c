/* SPDX-License-Identifier: MIT
 *
 * download_run.c - runs of pieces: asked of whom the swarm says, received, judged.
 *
 * A run goes to a sink that hashes and writes on the hand that receives it; the mind hears of its end, and judges whose fault it was: a
 * sink that found wrong bytes means that the source lied, a sink that could not write means that our disk has trouble,
 * anything else that the source failed.  A wrong piece of which several sent a part is
 * first narrowed (download_narrow.c).
 */
#include "download_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "log.h"
#include "mem.h"

/* --- the end of a run --- */

/* On a hand's thread. */
static int
feed_run(void *arg, const void *data, size_t len, struct error *err)
{
	struct run *run = arg;
	atomic_fetch_add_explicit(&run->came_bytes, len, memory_order_relaxed);
	run->sink_code = partial_sink_feed(run->sink, data, len, &run->sink_error);
	if (run->sink_code != P2P_OK && err != NULL)
		*err = run->sink_error;
	return run->sink_code;
}

static void
unlink_run(struct run *run)
{
	struct download *download = run->download;
	struct run **link = &download->runs;
	while (*link != run)
		link = &(*link)->next;
	*link = run->next;
	download->run_count--;
	download->busy--;
}

/* Others of whom bytes are in the piece that turned out wrong, or who may have sent what is wrong with it. */
static bool
has_others(const struct download *download, const struct run *run, uint64_t suspects)
{
	return suspects != 0 &&
	    suspects != UINT64_C(1) << swarm_ask_source(download->swarm, run->ask);
}

/* The sink ended it: the source lied, somebody did, or our disk has trouble. */
static enum swarm_end
judge_sink(struct download *download, const struct run *run, uint64_t suspects)
{
	if (run->sink_code == P2P_BAD_CONTENT) {
		char how[ERROR_TEXT_MAX + 64];
		if (has_others(download, run, suspects))
			return SWARM_DONE;
		snprintf(how, sizeof(how), "sent bytes that are not those of the content: %s",
		    run->sink_error.text);
		download_source_lied(download, run->ask->peer, how);
		return SWARM_LIED;
	}
	download->is_short |= run->sink_code == P2P_NO_SPACE;
	download_pause(download, DOWNLOAD_RETRY_MS, run->sink_code, run->sink_error.text);
	return SWARM_DONE;
}

/* Judges how a run ended: whose fault it was, and what follows. */
static enum swarm_end
judge_run(struct download *download, const struct run *run, int code, const struct error *err,
    uint64_t suspects)
{
	bool is_to_blame = download_end_wire(download, run->ask->peer, &run->wire,
	    run->sink_code != P2P_OK ? WIRE_UNJUDGED : download_wire_outcome(code),
	    atomic_load(&run->came_bytes));
	if (run->sink_code != P2P_OK)
		return judge_sink(download, run, suspects);
	if (code == P2P_OK || code == P2P_CANCELLED || code == P2P_SHUTTING_DOWN)
		return SWARM_DONE;
	log_debug("peer %s broke off: %s", run->ask->peer, err->text);
	download_note_failure(download, err->text);
	/* A crowd here is no failure of the source, but makes another wire welcome. */
	if (!is_to_blame || code == P2P_TOO_MANY)
		return SWARM_DONE;
	if (code == P2P_NOT_FOUND) {
		download_follow_anew(download, run->ask->peer);
		return SWARM_LACKED;
	}
	peers_doubt(download->means->peers, run->ask->peer);
	return SWARM_FAILED;
}

static void
done_run(void *arg, int code, const struct error *err)
{
	struct run *run = arg;
	struct download *download = run->download;
	uint64_t verified, wasted_bytes;
	unlink_run(run);
	partial_sink_end(run->sink, &verified, &wasted_bytes);
	download_count_run(download, run, code, verified, wasted_bytes);
	download_note_carried(download, run);
	uint64_t piece = run->ask->pieces.first + verified;
	uint64_t suspects = verified < run->ask->pieces.count
	    ? partial_suspects(download->partial, piece)
	    : 0;
	enum swarm_end how = judge_run(download, run, code, err, suspects);
	/* Nothing that a liar gave is worth going on with. */
	if (swarm_is_barred(download->swarm, run->ask->peer, clock_us()))
		download_distrust(download, swarm_ask_source(download->swarm, run->ask));
	if (code == P2P_OK)
		swarm_came(download->swarm, run->ask, atomic_load(&run->came_bytes), clock_us());
	swarm_ended(download->swarm, run->ask, verified, how, clock_us());
	free(run);
	if (suspects != 0)
		download_narrow(download, piece, suspects);
	download_tell_moved(download);
	download_step(download);
}

/* --- the beginning --- */

/* A content that is one run is not worth a trial. */
static enum wire_use
use_of(const struct download *download)
{
	uint64_t size_bytes = download->content.size_bytes;
	bool is_small = size_bytes <= SWARM_ASK_MAX ||
	    size_bytes <= partial_piece_bytes(download->partial);
	return is_small ? WIRE_SMALL : WIRE_BULK;
}

static void
start_run(struct download *download, const struct swarm_ask *ask, const struct peer_info *peer)
{
	struct transport *transport = download->means->transport;
	struct run *run = mem_zero(1, sizeof(*run));
	run->download = download;
	run->ask = ask;
	download_begin_wire(download, peer, use_of(download), &run->wire);
	uint64_t offset, len, pieces;
	run->sink = partial_sink_new_from(download->partial, ask->pieces.first, ask->pieces.count,
	    swarm_ask_source(download->swarm, ask));
	partial_sink_span(run->sink, &offset, &len, &pieces);
	swarm_trim(download->swarm, ask, pieces, len);
	if (download->still_ms == 0)
		download->still_ms = clock_ms();
	run->next = download->runs;
	download->runs = run;
	download->run_count++;
	download->busy++;
	struct transport_sink sink = { .feed = feed_run, .arg = run };
	run->request = transport->ops->read(transport, peer->wire_address[run->wire.wire],
	    &download->content, offset, len, &sink, done_run, run);
}

static void
give_up_runs(struct download *download, uint64_t now_us)
{
	const struct swarm_ask *ask;
	while ((ask = swarm_give_up(download->swarm, now_us)) != NULL) {
		struct run *run = download->runs;
		while (run->ask != ask)
			run = run->next;
		log_debug("peer %s is slow: piece %llu is asked of another", ask->peer,
		    (unsigned long long)ask->pieces.first);
		download->means->transport->ops->cancel(run->request);
	}
}

/* At one holder. */
static unsigned
asks_max(const struct download *download)
{
	unsigned most = download->means->config->network_connections * DOWNLOAD_DEPTH;
	unsigned share = DOWNLOAD_PEER_RUNS * download->weight / download->means->weights;
	if (share == 0)
		share = 1;
	return most < share ? most : share;
}

/* The same, at least: beside lighter ones as many as it is heavier, for they wait in one line.  Alone, or beside its equals, as few
 * as keep the holder busy. */
static unsigned
asks_least(const struct download *download)
{
	const struct download_means *means = download->means;
	unsigned others = means->weights - download->weight;
	if (others == 0)
		return 1;
	unsigned ratio = download->weight * (means->download_count - 1) / others;
	return ratio > 1 ? ratio : 1;
}

/* What came since the last look. */
static void
note_bytes(struct download *download, uint64_t now_us)
{
	bool is_more = false;
	for (struct run *run = download->runs; run != NULL; run = run->next) {
		uint64_t came_bytes = atomic_load(&run->came_bytes);
		is_more |= came_bytes != run->seen_bytes;
		run->seen_bytes = came_bytes;
		swarm_came(download->swarm, run->ask, came_bytes, now_us);
	}
	if (is_more)
		download_note_bytes(download);
}

void
download_start_runs(struct download *download)
{
	struct peer_info peer;
	const struct swarm_ask *ask = NULL;
	uint64_t now_us = clock_us();
	swarm_limit(download->swarm, asks_max(download));
	swarm_press(download->swarm, asks_least(download));
	swarm_patient(download->swarm, download_is_limited(download->means));
	note_bytes(download, now_us);
	while (download->run_count < DOWNLOAD_RUNS_MAX &&
	    (ask = swarm_next(download->swarm, now_us)) != NULL) {
		if (download_find_peer(download, ask->peer, &peer))
			start_run(download, ask, &peer);
		else
			swarm_ended(download->swarm, ask, 0, SWARM_FAILED, now_us);
	}
	if (ask == NULL)
		give_up_runs(download, now_us);
	if (download->run_count != 0 && !loop_timer_active(download->tick))
		loop_timer_start(download->tick, DOWNLOAD_TICK_MS);
}

void
download_stop_runs(struct download *download)
{
	for (struct run *run = download->runs; run != NULL; run = run->next)
		download->means->transport->ops->cancel(run->request);
}
