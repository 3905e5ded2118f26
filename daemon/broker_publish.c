/* SPDX-License-Identifier: MIT
 *
 * broker_publish.c - from the outbox to the broker, in order.
 *
 * The window holds what was sent and is not confirmed.  Confirms may come one by one, in any order,
 * or for all up to one; what leaves the outbox is only the part before the first gap.  A connection
 * that ends forgets the window, and the next one begins behind what was confirmed: then a message
 * may arrive a second time, with the id of the first, but none is ever left out or overtaken.
 *
 * A message that the broker refuses (a queue that is full and rejects, a disk that fails) would be
 * overtaken by those behind it.  So the connection is given up, and everything from there on sent
 * again after the back-off.
 *
 * The window is small in bytes, so that it fits into the socket's buffer and publishing does not
 * wait for the broker (broker_link.c).
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker_inner.h"
#include "catalog_outbox.h"
#include "clock.h"
#include "mem.h"
#include "metrics.h"
#include "wire_json.h"

#define DROP_WORTH \
	64 /* confirmed entries for which a transaction is begun while more are on their way */

void
broker_routing_key(enum event_kind kind, char ret[32])
{
	snprintf(ret, 32, "%s", event_name(kind));
	char *dash = strchr(ret, '-');
	if (dash != NULL)
		*dash = '.';
}

/* --- messages --- */

/* What happened to a file, or that something is missing, as the event stream would say it. */
static char *
body_of_entry(const struct broker *broker, const struct outbox_entry *entry)
{
	struct event *event = event_new(entry->kind);
	event->wall_ms = entry->wall_ms;
	memcpy(event->peer, entry->peer, sizeof(event->peer));
	if (strcmp(entry->peer, broker->parts.self) == 0)
		event->peer_name = mem_string(broker->config->node_name);
	else if (entry->peer_name != NULL)
		event->peer_name = mem_string(entry->peer_name);
	if (entry->name != NULL)
		event->name = mem_string(entry->name);
	event->content = entry->content;
	event->mtime_ns = entry->mtime_ns;
	event->has_content = entry->kind == EVENT_FILE_ADDED || entry->kind == EVENT_FILE_CHANGED;
	event->lost = entry->lost;
	if (entry->kind == EVENT_EVENTS_LOST)
		event->text = mem_format("%llu events were not kept for the broker",
					 (unsigned long long)entry->lost);
	char *body = wire_event(event, 0);
	event_unref(event);
	return body;
}

static int
send_entry(struct broker *broker, const struct outbox_entry *entry, const char *id,
	   const char *body, struct error *err)
{
	char key[32];
	broker_routing_key(entry->kind, key);
	const struct link_message message = {
		.key = key,
		.type = event_name(entry->kind),
		.id = id,
		.app = "p2pd",
		.body = body,
		.wall_ms = entry->wall_ms,
		.is_lasting = true,
	};
	return link_publish(broker->link, &message, err);
}

/* 1: sent; 0: there is no room for it now; or a code. */
static int
publish(struct publisher *publisher, const struct outbox_entry *entry, struct error *err)
{
	struct broker *broker = publisher->broker;
	struct catalog_head head;
	char id[WIRE_MESSAGE_ID_SIZE];
	catalog_head(broker->parts.catalog, &head);
	snprintf(id, sizeof(id), "%s-%" PRIu64 "-%" PRIu64, broker->parts.self, head.epoch,
		 entry->no);
	char *bare = entry->body != NULL ? mem_string(entry->body) : body_of_entry(broker, entry);
	char *body = wire_message(bare, &(struct wire_message){ .id = id,
								.publisher = broker->parts.self,
								.epoch = entry->epoch,
								.seq = entry->seq });
	size_t bytes = strlen(body);
	int code = 0;
	if (publisher->count == 0 || publisher->bytes + bytes <= LINK_UNCONFIRMED_MAX)
		code = send_entry(broker, entry, id, body, err) == P2P_OK ? 1 : err->code;
	free(bare);
	free(body);
	if (code != 1)
		return code;
	size_t at = (publisher->first + publisher->count++) % BROKER_WINDOW;
	publisher->window[at] = (struct sent){ .no = entry->no, .bytes = bytes };
	publisher->bytes += bytes;
	publisher->read_no = entry->no;
	return 1;
}

/* --- the window --- */

void
publisher_begin(struct publisher *publisher)
{
	publisher->first = publisher->count = publisher->bytes = 0;
	publisher->first_tag = 1;
	publisher->read_no = publisher->arrived_no;
	publisher->has_more = true;
	publisher->moved_ms = clock_ms();
}

int
publisher_fill(struct publisher *publisher, struct error *err)
{
	struct outbox_entry entries[BROKER_WINDOW];
	size_t room = BROKER_WINDOW - publisher->count, count = 0;
	int code = 1;
	if (!publisher->has_more || room == 0 || publisher->bytes >= LINK_UNCONFIRMED_MAX)
		return P2P_OK;
	if (publisher->count == 0)
		publisher->moved_ms = clock_ms();
	/* A disk that fails is the catalog's to complain of; the next event tries again. */
	if (catalog_outbox_read(publisher->broker->parts.catalog, publisher->read_no, entries, room,
				&count) != P2P_OK)
		count = 0;
	publisher->has_more = count == room;
	for (size_t i = 0; i < count; i++) {
		if (code == 1)
			code = publish(publisher, &entries[i], err);
		if (code == 0)
			publisher->has_more = true;
		outbox_entry_fini(&entries[i]);
	}
	return code < 0 ? code : P2P_OK;
}

static void
forget_confirmed(struct publisher *publisher)
{
	uint64_t events = 0;
	while (publisher->count > 0 && publisher->window[publisher->first].is_confirmed) {
		const struct sent *sent = &publisher->window[publisher->first];
		publisher->arrived_no = sent->no;
		publisher->bytes -= sent->bytes;
		publisher->first = (publisher->first + 1) % BROKER_WINDOW;
		publisher->first_tag++;
		publisher->count--;
		events++;
	}
	metrics_add(METRIC_AMQP_EVENTS, events);
}

int
publisher_answered(struct publisher *publisher, const struct link_news *news, struct error *err)
{
	uint64_t end = publisher->first_tag + publisher->count;
	uint64_t from = news->is_multiple ? publisher->first_tag : news->tag;
	/* "All" may be said with 0. */
	uint64_t to = news->is_multiple && news->tag == 0 ? end - 1 : news->tag;
	if (news->what == LINK_REFUSED)
		return error_set(err, P2P_UNREACHABLE, "the broker did not take a message");
	if (to >= end || (!news->is_multiple && to < publisher->first_tag))
		return error_set(err, P2P_BAD_ANSWER,
				 "the broker confirms what was not sent to it");
	for (uint64_t tag = from; tag <= to; tag++) {
		size_t at = (publisher->first + (tag - publisher->first_tag)) % BROKER_WINDOW;
		publisher->window[at].is_confirmed = true;
	}
	publisher->moved_ms = clock_ms();
	forget_confirmed(publisher);
	return P2P_OK;
}

void
publisher_drop(struct publisher *publisher, bool at_once)
{
	uint64_t worth = at_once || publisher->count == 0 ? 1 : DROP_WORTH;
	if (publisher->arrived_no - publisher->dropped_no < worth)
		return;
	struct catalog_batch *batch = catalog_batch_new();
	catalog_batch_outbox_drop(batch, publisher->arrived_no);
	catalog_submit(publisher->broker->parts.catalog, batch, NULL, NULL);
	publisher->dropped_no = publisher->arrived_no;
}

bool
publisher_is_stuck(const struct publisher *publisher, uint64_t now_ms)
{
	return publisher->count > 0 && now_ms - publisher->moved_ms > BROKER_CONFIRM_MS;
}
