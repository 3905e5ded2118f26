/* SPDX-License-Identifier: MIT
 *
 * download_layer.c - the piece layer of a content that is on its way here: asked of one holder after the other, until one's fits the root.
 * A holder that takes longer than SWARM_SILENT_US (SWARM_STALL_US for a large one) has failed if there is another: without the layer
 * nothing else can begin.
 */
#include "download_internal.h"

#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "log.h"
#include "mem.h"

#define SMALL_LAYER 4096 /* nodes: 128 KiB */

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
		download_source_lied(download, layering->peer,
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
	bool is_to_blame = download_end_wire(download, layering->peer, &layering->wire,
	    download_wire_outcome(code), 0);
	if (code == P2P_OK) {
		/* Checking it hashes up to a quarter of a million nodes: not here. */
		layering->layer = mem_grow(NULL, count, sizeof(*layer));
		memcpy(layering->layer, layer, count * sizeof(*layer));
		layering->count = count;
		pool_submit(download->means->pool, POOL_SOON, work_layer, done_layer, layering);
		return;
	}
	log_debug("peer %s gave no piece layer: %s", layering->peer, err->text);
	if (code != P2P_CANCELLED)
		download_note_failure(download, err->text);
	if (code != P2P_CANCELLED && is_to_blame)
		download_source_failed(download, layering->peer);
	end_layering(layering);
	download_step(download);
}

bool
download_ask_layer(struct download *download)
{
	struct peer_info peer;
	char id[PEER_ID_SIZE];
	uint64_t now_us = clock_us(), retry_us;
	if (download->is_asking_layer)
		return true;
	for (;;) {
		if (!swarm_choose(download->swarm, now_us, id, &retry_us))
			return false;
		if (download_find_peer(download, id, &peer))
			break;
		swarm_source_failed(download->swarm, id, now_us, SWARM_FAILED);
	}
	struct layering *layering = mem_zero(1, sizeof(*layering));
	layering->download = download;
	memcpy(layering->peer, peer.id, PEER_ID_SIZE);
	download_begin_wire(download, &peer, WIRE_SMALL, &layering->wire);
	memcpy(download->layer_peer, peer.id, PEER_ID_SIZE);
	download->layer_asked_us = now_us;
	download->is_asking_layer = true;
	download->busy++;
	if (!loop_timer_active(download->tick))
		loop_timer_start(download->tick, DOWNLOAD_TICK_MS);
	struct transport *transport = download->means->transport;
	download->layer_request = transport->ops->layer(transport,
	    peer.wire_address[layering->wire.wire], &download->content,
	    partial_piece_bytes(download->partial), answered_layer, layering);
	return true;
}

static bool
has_other_holder(const struct download *download, uint64_t now_us)
{
	struct peer_info peer;
	for (size_t i = 0; i < swarm_source_count(download->swarm); i++) {
		const char *id = swarm_source_name(download->swarm, i);
		if (strcmp(id, download->layer_peer) != 0 &&
		    swarm_is_open(download->swarm, id, now_us) &&
		    peers_find(download->means->peers, id, &peer) && peer.state == PEER_HERE)
			return true;
	}
	return false;
}

/* A large layer takes its time. */
static uint64_t
patience_us(const struct download *download)
{
	return partial_piece_count(download->partial) <= SMALL_LAYER ? SWARM_SILENT_US : SWARM_STALL_US;
}

void
download_hurry_layer(struct download *download)
{
	uint64_t now_us = clock_us();
	if (download->layer_request == NULL ||
	    now_us - download->layer_asked_us < patience_us(download) ||
	    !has_other_holder(download, now_us))
		return;
	/* Several ticks may pass until the end is told. */
	download->layer_asked_us = now_us;
	log_debug("peer %s is slow: the piece layer is asked of another", download->layer_peer);
	download_source_failed(download, download->layer_peer);
	download->means->transport->ops->cancel(download->layer_request);
}
