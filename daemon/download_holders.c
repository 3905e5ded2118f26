/* SPDX-License-Identifier: MIT
 *
 * download_holders.c - who has the content, by the catalog; what becomes of a holder that fails; and waiting for holders.
 *
 * The catalog is asked on a worker: at the beginning, whenever a peer comes, every DOWNLOAD_RETRY_MS while runs are under way, and when
 * there is nobody left to ask.
 */
#include "download_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "log.h"
#include "mem.h"
#include "metrics.h"

/* --- the catalog --- */

static void
collect_holder(void *arg, const char *peer)
{
	struct holders *holders = arg;
	if (holders->count < SWARM_SOURCES_MAX)
		memcpy(holders->peers[holders->count++], peer, PEER_ID_SIZE);
}

void
download_find_holders(struct holders *holders)
{
	/* A catalog that cannot be read has no holders to tell; the retry asks it again. */
	(void)catalog_holders(holders->download->means->catalog, &holders->download->content,
	    collect_holder, holders);
}

void
download_take_holders(struct download *download, const struct holders *holders)
{
	download->holders_named = holders->count;
	download->holders_away = 0;
	for (size_t i = 0; i < holders->count; i++) {
		struct peer_info peer;
		size_t known = swarm_source_count(download->swarm);
		if (!peers_find(download->means->peers, holders->peers[i], &peer) ||
		    peer.state == PEER_AWAY) {
			download->holders_away++;
			continue;
		}
		swarm_source(download->swarm, peer.id, peer.round_trip_us);
		/* Of one that is known already the last word is its own, not the catalog's. */
		if (swarm_source_count(download->swarm) > known)
			swarm_holds_all(download->swarm, peer.id);
	}
}

void
download_source_failed(struct download *download, const char *peer)
{
	swarm_source_failed(download->swarm, peer, clock_us(), SWARM_FAILED);
	peers_doubt(download->means->peers, peer);
}

/* Several runs may find the same liar out before the others are broken off: that is told once. */
void
download_source_lied(struct download *download, const char *peer, const char *how)
{
	uint64_t now_us = clock_us();
	char text[ERROR_TEXT_MAX];
	snprintf(text, sizeof(text), "peer %s %s", peer, how);
	download_note_failure(download, text);
	if (!swarm_is_barred(download->swarm, peer, now_us)) {
		metrics_add(METRIC_HOLDERS_BARRED, 1);
		log_warn("peer %s %s; it is not asked again for this content for %u minutes", peer,
		    how, SWARM_LIAR_MS / 60000);
	}
	swarm_source_failed(download->swarm, peer, now_us, SWARM_LIED);
	for (struct run *run = download->runs; run != NULL; run = run->next)
		if (strcmp(run->ask->peer, peer) == 0)
			download->means->transport->ops->cancel(run->request);
}

void
download_distrust(struct download *download, unsigned source)
{
	metrics_add(METRIC_WASTED_BAD, partial_distrust(download->partial, source));
}

static void
work_holders(void *arg)
{
	download_find_holders(arg);
}

static void
done_holders(void *arg)
{
	struct holders *holders = arg;
	struct download *download = holders->download;
	download->busy--;
	download->is_asking_holders = false;
	if (download->swarm != NULL)
		download_take_holders(download, holders);
	free(holders);
	download_step(download);
}

void
download_ask_holders(struct download *download)
{
	if (download->is_asking_holders || download->swarm == NULL)
		return;
	struct holders *holders = mem_zero(1, sizeof(*holders));
	holders->download = download;
	download->is_asking_holders = true;
	download->asked_holders_ms = clock_ms();
	download->busy++;
	pool_submit(download->means->pool, POOL_SOON, work_holders, done_holders, holders);
}

/* --- waiting --- */

/* Some holder may be asked, only not for what is missing: it is fetching, too. */
static bool
has_company(const struct download *download)
{
	uint64_t now_us = clock_us();
	for (const struct follow *follow = download->follows; follow; follow = follow->next)
		if (follow->since != 0 && swarm_is_open(download->swarm, follow->peer, now_us))
			return true;
	return false;
}

/* Nothing is under way, and there was nobody to ask. */
void
download_wait_for_holders(struct download *download)
{
	uint64_t now_ms = clock_ms(), now_us = clock_us();
	download->still_ms = 0;
	uint64_t retry_us = swarm_retry_us(download->swarm, now_us), wait_ms = DOWNLOAD_RETRY_MS;
	if (retry_us != UINT64_MAX && (retry_us - now_us) / 1000 < wait_ms)
		wait_ms = (retry_us - now_us) / 1000 + 1;
	if (!has_company(download)) {
		download_tell_nobody(download);
		download_follow_everybody(download);
	} else if (now_ms - download->moved_ms >= DOWNLOAD_DRY_MS) {
		download_tell_waiting(download, P2P_NO_HOLDER,
		    "those who can be reached do not have the missing pieces");
	} else if (wait_ms > DOWNLOAD_DRY_MS) {
		wait_ms = DOWNLOAD_DRY_MS;
	}
	loop_timer_start(download->retry, wait_ms);
}
