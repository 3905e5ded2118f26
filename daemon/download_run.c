/* SPDX-License-Identifier: MIT
 *
 * download_run.c - what a download asks of its source: the piece layer, and runs of pieces.
 *
 * A run goes to a sink that hashes and writes on the hand that receives it; the mind hears of its
 * end, and judges whose fault it was: a sink that found wrong bytes means that the source lied, a
 * sink that could not write means that our disk has trouble, anything else that the source failed.
 *
 * Each request goes by one of the source's wires (wire_choice.h).  Trouble that may be the wire's
 * alone makes the others go by the source's other wire, and is the source's failure only when none
 * of them is left.  A liar lies on every wire.
 */
#include "download_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "log.h"
#include "mem.h"
#include "metrics.h"

/* --- sources --- */

static void
cancel_runs_of(struct download *download, const char *peer)
{
	for (struct run *run = download->runs; run != NULL; run = run->next)
		if (strcmp(run->peer, peer) == 0)
			download->means->transport->ops->cancel(run->request);
}

static void
leave_source(struct download *download, const char *peer, bool lied)
{
	swarm_source_failed(download->swarm, peer, clock_ms(), lied);
	if (strcmp(download->source, peer) == 0)
		download->source[0] = '\0';
}

static void
source_failed(struct download *download, const char *peer)
{
	leave_source(download, peer, false);
	peers_doubt(download->means->peers, peer);
}

/* Several runs may find the same liar out before the others are cancelled: that is told once. */
static void
source_lied(struct download *download, const char *peer, const char *how)
{
	if (!swarm_source_is_barred(download->swarm, peer, clock_ms()))
		log_warn("peer %s %s; it is not asked again for this content for %u minutes", peer,
		    how, SWARM_LIAR_MS / 60000);
	leave_source(download, peer, true);
	cancel_runs_of(download, peer);
}

unsigned
download_wires(const struct download_means *means, const struct peer_info *peer)
{
	static const unsigned allowed[] = {
		[TRANSPORT_AUTO] = WIRE_BIT(WIRE_REST) | WIRE_BIT(WIRE_GRPC),
		[TRANSPORT_GRPC] = WIRE_BIT(WIRE_GRPC),
		[TRANSPORT_REST] = WIRE_BIT(WIRE_REST),
	};
	unsigned wires = 0;
	for (enum wire wire = WIRE_REST; wire < WIRE_COUNT; wire++)
		if (peer->wire_address[wire][0] != '\0')
			wires |= WIRE_BIT(wire);
	return wires & allowed[means->config->network_transport];
}

/* True if the source in use may be asked. */
static bool
find_source(struct download *download, struct peer_info *ret_peer)
{
	if (!peers_find(download->means->peers, download->source, ret_peer) ||
	    ret_peer->state == PEER_AWAY)
		return false;
	download->is_barred = download_wires(download->means, ret_peer) == 0;
	return !download->is_barred;
}

static void
tell_nobody(struct download *download, bool was_barred)
{
	static const char *const barred[] = {
		[TRANSPORT_AUTO] = "no holder of it has an address at which it can be asked",
		[TRANSPORT_GRPC] = "no holder of it that can be reached now has a gRPC face, and "
				   "[network] transport is grpc",
		[TRANSPORT_REST] = "no holder of it that can be reached now has a REST face, and "
				   "[network] transport is rest",
	};
	if (download->is_barred && !was_barred)
		download->wait_code = P2P_OK; /* another reason is news, of whatever code */
	download_tell_waiting(download, P2P_NO_HOLDER,
	    download->is_barred ? barred[download->means->config->network_transport]
				: "no holder of it can be reached now");
}

/* Finds somebody to ask; without, says so and sets the timer for the next look. */
bool
download_choose_source(struct download *download, struct peer_info *ret_peer)
{
	bool was_barred = download->is_barred;
	uint64_t now_ms = clock_ms(), retry_ms;
	while (swarm_choose(download->swarm, now_ms, download->source, &retry_ms)) {
		if (find_source(download, ret_peer))
			return true;
		swarm_source_failed(download->swarm, download->source, now_ms, false);
	}
	download->source[0] = '\0';
	/* Runs under way may still end well; only when none is left there is nobody. */
	if (download->run_count == 0)
		tell_nobody(download, was_barred);
	uint64_t wait_ms = DOWNLOAD_RETRY_MS;
	if (retry_ms != UINT64_MAX && retry_ms - now_ms < wait_ms)
		wait_ms = retry_ms - now_ms;
	loop_timer_start(download->retry, wait_ms);
	return false;
}

/* --- wires --- */

static void
begin_wire(const struct download *download, const struct peer_info *peer, enum wire_use use,
    struct wire_run *ret)
{
	wire_choice_begin(download->means->wires, peer->id, download_wires(download->means, peer),
	    use, clock_us(), ret);
}

/* What an end says of the wire: nothing, if it was ours or about the content. */
static enum wire_outcome
outcome_of(int code)
{
	switch (code) {
	case P2P_OK:
		return WIRE_WORKED;
	case P2P_CANCELLED:
	case P2P_SHUTTING_DOWN:
	case P2P_NOT_FOUND:
	case P2P_CONFLICT:
	case P2P_BAD_RANGE:
	case P2P_BAD_CONTENT:
	case P2P_IO:
		return WIRE_UNJUDGED;
	default:
		return WIRE_FAILED;
	}
}

/* A request ended; answers whether the source is to blame, for it has no other wire that may be
 * tried now. */
static bool
end_wire(const struct download *download, const char *peer, const struct wire_run *run,
    enum wire_outcome outcome, uint64_t bytes)
{
	const struct download_means *means = download->means;
	struct peer_info info;
	uint64_t now_us = clock_us();
	wire_choice_end(means->wires, peer, run, outcome, bytes, now_us);
	if (outcome != WIRE_FAILED || !peers_find(means->peers, peer, &info))
		return true;
	bool has_other =
	    wire_choice_is_open(means->wires, peer, download_wires(means, &info), now_us);
	log_debug("peer %s failed by %s: %s", peer, wire_name(run->wire),
	    has_other ? "it is asked by another wire" : "it has no other wire to be tried now");
	return !has_other;
}

void
download_carried(const struct download *download, double carried[WIRE_COUNT])
{
	for (enum wire wire = WIRE_REST; wire < WIRE_COUNT; wire++)
		carried[wire] += download->carried[wire];
	for (const struct run *run = download->runs; run != NULL; run = run->next)
		carried[run->wire.wire] += (double)atomic_load(&run->came_bytes);
}

static void
note_carried(struct download *download, const struct run *run)
{
	uint64_t came_bytes = atomic_load(&run->came_bytes);
	if (came_bytes == 0)
		return;
	for (enum wire wire = WIRE_REST; wire < WIRE_COUNT; wire++)
		download->carried[wire] *= DOWNLOAD_CARRIED_FADING;
	download->carried[run->wire.wire] += (double)came_bytes;
}

/* --- the layer --- */

struct layering {
	struct download *download;
	char peer[PEER_ID_SIZE];
	struct wire_run wire;
	struct digest *layer;
	size_t count;
	int code;
	struct error error;
};

static void
end_layering(struct layering *layering)
{
	layering->download->busy--;
	layering->download->is_asking_layer = false;
	free(layering->layer);
	free(layering);
}

static void
work_layer(void *arg)
{
	struct layering *layering = arg;
	layering->code = partial_set_layer(layering->download->partial, layering->layer,
	    layering->count, &layering->error);
}

static void
done_layer(void *arg)
{
	struct layering *layering = arg;
	struct download *download = layering->download;
	if (layering->code == P2P_BAD_CONTENT) {
		source_lied(download, layering->peer,
		    "answered a piece layer that does not fit its root");
	} else if (layering->code != P2P_OK) {
		download_pause(download, DOWNLOAD_RETRY_MS, layering->code, layering->error.text);
	}
	end_layering(layering);
	download_step(download);
}

static void
answered_layer(void *arg, int code, const struct error *err, const struct digest *layer,
    size_t count)
{
	struct layering *layering = arg;
	struct download *download = layering->download;
	download->layer_request = NULL;
	bool is_to_blame = end_wire(download, layering->peer, &layering->wire, outcome_of(code), 0);
	if (code == P2P_OK) {
		/* Checking it hashes up to a quarter of a million nodes: not here. */
		layering->layer = mem_grow(NULL, count, sizeof(*layer));
		memcpy(layering->layer, layer, count * sizeof(*layer));
		layering->count = count;
		pool_submit(download->means->pool, POOL_SOON, work_layer, done_layer, layering);
		return;
	}
	log_debug("peer %s gave no piece layer: %s", layering->peer, err->text);
	if (code != P2P_CANCELLED && is_to_blame)
		source_failed(download, layering->peer);
	end_layering(layering);
	download_step(download);
}

void
download_ask_layer(struct download *download, const struct peer_info *peer)
{
	if (download->is_asking_layer)
		return;
	struct layering *layering = mem_zero(1, sizeof(*layering));
	layering->download = download;
	memcpy(layering->peer, peer->id, PEER_ID_SIZE);
	begin_wire(download, peer, WIRE_SMALL, &layering->wire);
	download->is_asking_layer = true;
	download->busy++;
	struct transport *transport = download->means->transport;
	download->layer_request = transport->ops->layer(transport,
	    peer->wire_address[layering->wire.wire], &download->content,
	    partial_piece_bytes(download->partial), answered_layer, layering);
}

/* --- runs --- */

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

/* Judges how a run ended: whose fault it was, and what follows. */
static void
judge_run(struct download *download, const struct run *run, int code, const struct error *err,
    uint64_t verified)
{
	bool is_to_blame = end_wire(download, run->peer, &run->wire,
	    run->sink_code != P2P_OK ? WIRE_UNJUDGED : outcome_of(code),
	    atomic_load(&run->came_bytes));
	note_carried(download, run);
	if (verified != 0)
		swarm_source_worked(download->swarm, run->peer);
	if (run->sink_code == P2P_BAD_CONTENT) {
		char how[ERROR_TEXT_MAX + 64];
		snprintf(how, sizeof(how), "sent bytes that are not those of the content: %s",
		    run->sink_error.text);
		metrics_add(METRIC_PIECES_BAD, 1);
		source_lied(download, run->peer, how);
	} else if (run->sink_code != P2P_OK) {
		download->is_short |= run->sink_code == P2P_NO_SPACE;
		download_pause(download, DOWNLOAD_RETRY_MS, run->sink_code, run->sink_error.text);
	} else if (code != P2P_OK && code != P2P_CANCELLED && code != P2P_SHUTTING_DOWN) {
		log_debug("peer %s broke off: %s", run->peer, err->text);
		/* A crowd here is no failure of the source, but makes another wire welcome. */
		if (is_to_blame && code != P2P_TOO_MANY)
			source_failed(download, run->peer);
	}
}

static void
done_run(void *arg, int code, const struct error *err)
{
	struct run *run = arg;
	struct download *download = run->download;
	unlink_run(run);
	uint64_t verified, wasted_bytes;
	partial_sink_end(run->sink, &verified, &wasted_bytes);
	swarm_ended(download->swarm, &run->pieces, verified);
	metrics_add(METRIC_PIECES_VERIFIED, verified);
	metrics_add(METRIC_WASTED_BYTES, wasted_bytes);
	judge_run(download, run, code, err, verified);
	free(run);
	download_tell_moved(download);
	download_step(download);
}

static uint64_t
run_length(const struct download *download, const struct swarm_run *pieces)
{
	uint64_t piece_bytes = partial_piece_bytes(download->partial);
	uint64_t end = (pieces->first + pieces->count) * piece_bytes;
	if (end > download->content.size_bytes)
		end = download->content.size_bytes;
	return end - pieces->first * piece_bytes;
}

/* A content that is one run is not worth a trial. */
static enum wire_use
use_of(const struct download *download)
{
	uint64_t size_bytes = download->content.size_bytes;
	bool is_small = size_bytes <= DOWNLOAD_RUN_BYTES ||
	    size_bytes <= partial_piece_bytes(download->partial);
	return is_small ? WIRE_SMALL : WIRE_BULK;
}

static void
start_run(struct download *download, const struct peer_info *peer, const struct swarm_run *pieces)
{
	struct transport *transport = download->means->transport;
	struct run *run = mem_zero(1, sizeof(*run));
	run->download = download;
	run->pieces = *pieces;
	memcpy(run->peer, peer->id, PEER_ID_SIZE);
	begin_wire(download, peer, use_of(download), &run->wire);
	run->sink = partial_sink_new(download->partial, pieces->first, pieces->count);
	run->next = download->runs;
	download->runs = run;
	download->run_count++;
	download->busy++;
	struct transport_sink sink = { .feed = feed_run, .arg = run };
	run->request = transport->ops->read(transport, peer->wire_address[run->wire.wire],
	    &download->content, pieces->first * partial_piece_bytes(download->partial),
	    run_length(download, pieces), &sink, done_run, run);
}

void
download_start_runs(struct download *download, const struct peer_info *peer)
{
	unsigned most = download->means->config->network_connections * DOWNLOAD_DEPTH;
	struct swarm_run pieces;
	while (download->run_count < most &&
	    swarm_next(download->swarm, DOWNLOAD_RUN_BYTES, &pieces))
		start_run(download, peer, &pieces);
	if (download->run_count != 0 && !loop_timer_active(download->tick))
		loop_timer_start(download->tick, DOWNLOAD_TICK_MS);
}
