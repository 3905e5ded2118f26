/* SPDX-License-Identifier: MIT
 *
 * broker_notices.c - notices by the broker, both ways.
 *
 * A notice is a hint, so nothing here is kept: ours says where the catalog is at the moment it
 * leaves, and several changes make one; a lost one is mended by the heart-beat, as with those that
 * go from peer to peer.  Those are sent as well: not every peer needs to have the broker.
 *
 * By the broker a peer speaks for itself alone: that another one did not answer is told from peer to
 * peer only.
 *
 * Anybody who may publish to the exchange can send one.  It is taken if it is short and well formed;
 * all it can do is to make us ask the peer it names, at the address that we know, by the rules of
 * peers_noticed().  What comes faster than the mind takes it is thrown away, the oldest first, and of
 * one peer only the newest waits.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker_inner.h"
#include "clock.h"
#include "log.h"
#include "metrics.h"
#include "wire_json.h"

/* --- ours --- */

static int
tell(struct broker *broker, struct error *err)
{
	struct catalog_head head;
	struct notice notice;
	char key[16 + PEER_ID_SIZE];
	catalog_head(broker->parts.catalog, &head);
	notice = (struct notice){ .epoch = head.epoch, .seq = head.seq };
	memcpy(notice.peer, broker->parts.self, sizeof(notice.peer));
	snprintf(key, sizeof(key), "notice.%s", broker->parts.self);
	char *body = wire_notice(&notice);
	int code = link_publish(broker->link,
				&(struct link_message){ .key = key,
							.type = "notice",
							.app = "p2pd",
							.body = body,
							.wall_ms = clock_wall_ms() },
				err);
	free(body);
	metrics_add(METRIC_NOTICES_OUT, 1);
	return code;
}

int
notices_tell(struct broker *broker, uint64_t now_ms, int *ret_wait_ms, struct error *err)
{
	if (!broker->config->amqp_notices || !atomic_load(&broker->is_notice_due))
		return P2P_OK;
	uint64_t gone_ms = now_ms - broker->told_ms;
	if (gone_ms < BROKER_TELL_MS) {
		int left_ms = (int)(BROKER_TELL_MS - gone_ms);
		if (left_ms < *ret_wait_ms)
			*ret_wait_ms = left_ms;
		return P2P_OK;
	}
	broker->told_ms = now_ms;
	atomic_store(&broker->is_notice_due, false);
	return tell(broker, err);
}

/* --- those of others --- */

/* Mind. */
static void
hand_over(void *arg)
{
	struct broker *broker = arg;
	struct inbox *inbox = broker->inbox;
	for (;;) {
		struct notice notice;
		pthread_mutex_lock(&inbox->mu);
		bool is_empty = inbox->count == 0;
		if (is_empty) {
			inbox->is_posted = false;
		} else {
			notice = inbox->items[inbox->first];
			inbox->first = (inbox->first + 1) % BROKER_NOTICES_MAX;
			inbox->count--;
		}
		pthread_mutex_unlock(&inbox->mu);
		if (is_empty)
			return;
		peers_noticed(broker->parts.peers, &notice);
	}
}

/* Where one of this peer waits, or a new place at the end, all zero.  Holds mu. */
static struct notice *
place_for(struct inbox *inbox, const char *peer)
{
	for (size_t i = 0; i < inbox->count; i++) {
		struct notice *at = &inbox->items[(inbox->first + i) % BROKER_NOTICES_MAX];
		if (strcmp(at->peer, peer) == 0)
			return at;
	}
	if (inbox->count == BROKER_NOTICES_MAX) {
		inbox->first = (inbox->first + 1) % BROKER_NOTICES_MAX;
		inbox->count--;
		metrics_add(METRIC_AMQP_NOTICES_DROPPED, 1);
	}
	struct notice *at = &inbox->items[(inbox->first + inbox->count++) % BROKER_NOTICES_MAX];
	*at = (struct notice){ 0 };
	return at;
}

static void
put(struct broker *broker, const struct notice *notice)
{
	struct inbox *inbox = broker->inbox;
	pthread_mutex_lock(&inbox->mu);
	struct notice *place = place_for(inbox, notice->peer);
	if (place->epoch != notice->epoch || place->seq <= notice->seq)
		*place = *notice; /* else it is late */
	bool is_posted = inbox->is_posted;
	inbox->is_posted = true;
	pthread_mutex_unlock(&inbox->mu);
	if (!is_posted)
		loop_post(broker->parts.loop, hand_over, broker);
}

static void
complain(struct broker *broker, const char *why)
{
	uint64_t now_ms = clock_ms();
	metrics_add(METRIC_AMQP_RUBBISH, 1);
	if (broker->rubbish_ms != 0 && now_ms - broker->rubbish_ms < BROKER_QUIET_MS)
		return;
	broker->rubbish_ms = now_ms;
	log_warn("AMQP: somebody publishes what is no notice under notice.#: %s", why);
}

void
notices_take(struct broker *broker, const char *data, size_t len)
{
	struct notice notice;
	struct error err;
	if (data == NULL)
		complain(broker, "it is too long");
	else if (wire_notice_parse(data, len, &notice, &err) != P2P_OK)
		complain(broker, err.text);
	else if (notice.is_lost)
		complain(broker, "it says of a peer that it is lost");
	else if (strcmp(notice.peer, broker->parts.self) != 0)
		put(broker, &notice);
}
