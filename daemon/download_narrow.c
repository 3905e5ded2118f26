/* SPDX-License-Identifier: MIT
 *
 * download_narrow.c - a piece that came wrong is narrowed to its leaves: what is wrong with it, and who sent that.
 *
 * A piece may have come from several, when a run was broken off and another went on with it.  So its leaves are asked for, of somebody
 * who has the piece; they prove themselves, for they fold to the piece's own hash, and cannot be lied about.  Held against what came
 * they tell the bad leaves from the good: the good ones stay, the bad ones are asked for again, and who sent them is dropped for this
 * content and named.  A single source is known to have lied without that, and is dropped at once; but what it sent right stays.
 *
 * Until then the piece is held back from the swarm.  Whoever is no suspect is asked first, a suspect only if there is nobody else; who
 * refuses (a peer of an earlier version, one with too many such questions) or is slow is passed over.  If none is left the piece is
 * dropped and comes anew; if it had several senders, from then on each piece comes whole from one, so that blame needs no proof.
 */
#include "download_internal.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "log.h"
#include "mem.h"
#include "metrics.h"

#define ASKING_MAX 2 /* questions under way: answering them costs the other side */
#define TRIES_MAX  4 /* holders that are asked about one piece */

struct narrowing {
	struct download *download;
	struct narrowing *next;
	uint64_t piece;
	uint64_t suspects, asked; /* sources, as bits */
	unsigned tries;
	bool is_begun;
	char peer[PEER_ID_SIZE]; /* that is asked, */
	uint64_t asked_us;       /* and since when */
	struct wire_run wire;
	struct transport_request *request; /* under way, or NULL */
	struct digest *leaves;
	size_t count;
	struct partial_narrowed narrowed;
	int code;
	struct error error;
};

static void start_narrowings(struct download *download);

static bool
is_over(const struct download *download)
{
	return download->is_stopping || download->is_broken;
}

static void
end(struct narrowing *narrowing)
{
	struct download *download = narrowing->download;
	struct narrowing **link = &download->narrowings;
	while (*link != narrowing)
		link = &(*link)->next;
	*link = narrowing->next;
	swarm_release(download->swarm, narrowing->piece);
	free(narrowing->leaves);
	free(narrowing);
	/* Others may end within this call: the download is not to end before we are done with it. */
	if (!is_over(download))
		start_narrowings(download);
	download->busy--;
	download_step(download);
}

/* Without proofs. */
static void
give_up(struct narrowing *narrowing)
{
	struct download *download = narrowing->download;
	uint64_t suspects = narrowing->suspects;
	if (!is_over(download)) {
		log_debug("nobody tells the leaves of piece %llu: it is fetched anew",
			  (unsigned long long)narrowing->piece);
		metrics_add(METRIC_WASTED_BAD,
			    merkle_piece_length(download->content.size_bytes,
						partial_piece_bytes(download->partial),
						narrowing->piece));
		if ((suspects & (suspects - 1)) != 0)
			partial_all_or_none(download->partial);
	}
	partial_drop_torn(download->partial, narrowing->piece);
	end(narrowing);
}

/* --- judging --- */

static void
blame(const struct narrowing *narrowing)
{
	struct download *download = narrowing->download;
	const struct partial_narrowed *narrowed = &narrowing->narrowed;
	char how[128];
	snprintf(
	    how, sizeof(how),
	    "sent bytes that are not those of the content: %u of %u leaves of piece %llu are wrong",
	    narrowed->bad_leaves, narrowed->leaves, (unsigned long long)narrowing->piece);
	for (unsigned i = 0; i < SWARM_SOURCES_MAX; i++) {
		if ((narrowed->liars >> i & 1) == 0)
			continue;
		download_source_lied(download, swarm_source_name(download->swarm, i), how);
		download_distrust(download, i);
	}
}

static void ask_somebody(struct narrowing *narrowing);

static void
work_narrow(void *arg)
{
	struct narrowing *narrowing = arg;
	narrowing->code =
	    partial_narrow(narrowing->download->partial, narrowing->piece, narrowing->leaves,
			   narrowing->count, &narrowing->narrowed, &narrowing->error);
}

static void
done_narrow(void *arg)
{
	struct narrowing *narrowing = arg;
	struct download *download = narrowing->download;
	if (narrowing->code != P2P_OK) {
		download_source_lied(download, narrowing->peer,
				     "answered leaves that do not fit their piece");
		ask_somebody(narrowing);
		return;
	}
	log_debug("%u of %u leaves of piece %llu are wrong: %llu bytes are asked for again",
		  narrowing->narrowed.bad_leaves, narrowing->narrowed.leaves,
		  (unsigned long long)narrowing->piece,
		  (unsigned long long)narrowing->narrowed.bad_bytes);
	metrics_add(METRIC_WASTED_BAD, narrowing->narrowed.bad_bytes);
	blame(narrowing);
	end(narrowing);
}

/* --- asking --- */

static void
answered(void *arg, int code, const struct error *err, const struct digest *leaves, size_t count)
{
	struct narrowing *narrowing = arg;
	struct download *download = narrowing->download;
	narrowing->request = NULL;
	/* A refusal says nothing of the wire: an older peer, or one that is asked too much. */
	download_end_wire(download, narrowing->peer, &narrowing->wire,
			  code == P2P_OK ? WIRE_WORKED : WIRE_UNJUDGED, 0);
	if (code != P2P_OK || is_over(download)) {
		log_debug("peer %s tells no leaves: %s", narrowing->peer, err->text);
		ask_somebody(narrowing);
		return;
	}
	free(narrowing->leaves);
	narrowing->leaves = mem_grow(NULL, count, sizeof(*leaves));
	memcpy(narrowing->leaves, leaves, count * sizeof(*leaves));
	narrowing->count = count;
	pool_submit(download->means->pool, POOL_SOON, work_narrow, done_narrow, narrowing);
}

/* Whom to ask; false: there is nobody. */
static bool
choose(struct narrowing *narrowing, struct peer_info *ret)
{
	struct download *download = narrowing->download;
	while (narrowing->tries < TRIES_MAX) {
		unsigned source =
		    swarm_choose_for(download->swarm, narrowing->piece,
				     narrowing->asked | narrowing->suspects, clock_us());
		if (source == UINT_MAX)
			source = swarm_choose_for(download->swarm, narrowing->piece,
						  narrowing->asked, clock_us());
		if (source == UINT_MAX)
			return false;
		narrowing->asked |= UINT64_C(1) << source;
		if (!download_find_peer(download, swarm_source_name(download->swarm, source), ret))
			continue;
		narrowing->tries++;
		return true;
	}
	return false;
}

static void
ask_somebody(struct narrowing *narrowing)
{
	struct download *download = narrowing->download;
	struct transport *transport = download->means->transport;
	uint32_t piece_bytes = partial_piece_bytes(download->partial);
	struct peer_info peer;
	if (is_over(download) || !choose(narrowing, &peer)) {
		give_up(narrowing);
		return;
	}
	memcpy(narrowing->peer, peer.id, PEER_ID_SIZE);
	narrowing->asked_us = clock_us();
	download_begin_wire(download, &peer, WIRE_SMALL, &narrowing->wire);
	uint32_t length =
	    merkle_piece_length(download->content.size_bytes, piece_bytes, narrowing->piece);
	narrowing->request = transport->ops->leaves(
	    transport, peer.wire_address[narrowing->wire.wire], &download->content,
	    narrowing->piece * (piece_bytes / MERKLE_LEAF_BYTES),
	    (uint32_t)merkle_leaf_count(length), answered, narrowing);
}

/* As many as may be under way. */
static void
start_narrowings(struct download *download)
{
	unsigned asking = 0;
	for (const struct narrowing *at = download->narrowings; at != NULL; at = at->next)
		asking += at->is_begun;
	for (struct narrowing *at = download->narrowings; at != NULL; at = at->next) {
		if (at->is_begun)
			continue;
		if (asking >= ASKING_MAX)
			return;
		/* It may end within this call, and then the list is another. */
		at->is_begun = true;
		ask_somebody(at);
		start_narrowings(download);
		return;
	}
}

void
download_narrow(struct download *download, uint64_t piece, uint64_t suspects)
{
	struct narrowing *narrowing = mem_zero(1, sizeof(*narrowing));
	narrowing->download = download;
	narrowing->piece = piece;
	narrowing->suspects = suspects;
	narrowing->next = download->narrowings;
	download->narrowings = narrowing;
	download->busy += 2;
	swarm_hold(download->swarm, piece);
	if (!loop_timer_active(download->tick))
		loop_timer_start(download->tick, DOWNLOAD_TICK_MS);
	start_narrowings(download);
	/* It may have ended already, but the download is still our caller's. */
	download->busy--;
}

void
download_hurry_narrowings(struct download *download)
{
	uint64_t now_us = clock_us();
	for (struct narrowing *at = download->narrowings; at != NULL; at = at->next) {
		if (at->request == NULL || now_us - at->asked_us < SWARM_STALL_US)
			continue;
		/* Several ticks may pass until the end is told. */
		at->asked_us = now_us;
		download->means->transport->ops->cancel(at->request);
	}
}

void
download_stop_narrowings(struct download *download)
{
	for (struct narrowing *at = download->narrowings; at != NULL; at = at->next)
		if (at->request != NULL)
			download->means->transport->ops->cancel(at->request);
}
