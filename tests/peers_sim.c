/* SPDX-License-Identifier: MIT
 *
 * peers_sim.c - the network, the clock and the catalogs that many peers are simulated on.
 *
 * The peers module is the daemon's own.  What it stands on is replaced here by definitions of the same names, which the linker takes
 * before those of the library: the loop (timers are events of the simulation), the clock, the catalog (of each other peer just how far
 * its files are known), the events (only those of peers that went are looked at).
 *
 * A request takes half a round trip to its peer and half back, 0.2 to 20 ms for each pair.  Who is dead refuses at once, or lets it
 * run into the time-out of a connect; so does a cut.  What a message weighs: its JSON, by the daemon's own encoder, the header of
 * HTTP as it is sent to a daemon and by one, and the segments of a connection of its own, for an idle one is not kept so long.
 */
#include "peers_sim.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "catalog.h"
#include "clock.h"
#include "events.h"
#include "loop.h"
#include "mem.h"
#include "peers_internal.h"
#include "wire_json.h"

#define REQUEST_HEADER 210 /* bytes of HTTP before a body */
#define ANSWER_HEADER  180
#define CALLER_TCP     (60 + 5 * 52) /* SYN, and ACK, request, ACK, FIN, ACK, without what they carry */
#define CALLED_TCP     (60 + 4 * 52)
#define REFUSED_TCP    60
#define SCRIBE_MS      5 /* until a batch is committed */

struct event_of_sim {
	uint64_t at_us, order;
	void (*fn)(void *arg);
	void *arg;
};

struct loop {
	int unused;
};

struct loop_timer {
	loop_fn fn;
	void *arg;
	uint64_t at_us;     /* UINT64_MAX: not */
	uint64_t posted_us; /* when the event comes that counts; UINT64_MAX: none */
	unsigned posted;    /* events */
	bool is_freed;
};

struct catalog {
	struct catalog_head head;
};

struct catalog_batch {
	struct change_page *page;
};

struct sim_peer {
	struct transport transport; /* first */
	struct peers_sim *sim;
	size_t index;
	char host[32];
	struct node_record self;
	struct catalog catalog;
	struct config *config;
	struct peers *peers;          /* NULL: it does not run */
	bool is_silent;               /* it is dead, and nobody says so */
	struct peer_info *remembered; /* by its catalog, of the life before */
	size_t remembered_count;
	struct peers_sim_traffic sent;
};

struct peers_sim {
	uint64_t now_us, order, random;
	struct event_of_sim *heap;
	size_t heap_count, heap_room;
	struct sim_peer *all;
	size_t count, cut;
	unsigned false_alarms;
};

/* The clock has no argument; one simulation runs at a time. */
static struct peers_sim *current;

static uint64_t
draw(struct peers_sim *sim)
{
	uint64_t x = sim->random += 0x9e3779b97f4a7c15u;

	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

/* --- events --- */

static bool
is_sooner(const struct event_of_sim *a, const struct event_of_sim *b)
{
	return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

static void
post_at(struct peers_sim *sim, uint64_t at_us, void (*fn)(void *arg), void *arg)
{
	struct event_of_sim event = { at_us, sim->order++, fn, arg };
	size_t place = sim->heap_count++;

	if (place == sim->heap_room) {
		sim->heap_room = sim->heap_room > 0 ? 2 * sim->heap_room : 1024;
		sim->heap = mem_grow(sim->heap, sim->heap_room, sizeof(*sim->heap));
	}
	for (; place > 0 && is_sooner(&event, &sim->heap[(place - 1) / 2]); place = (place - 1) / 2)
		sim->heap[place] = sim->heap[(place - 1) / 2];
	sim->heap[place] = event;
}

static struct event_of_sim
take_first(struct peers_sim *sim)
{
	struct event_of_sim first = sim->heap[0], last = sim->heap[--sim->heap_count];
	size_t place = 0, child;

	while ((child = 2 * place + 1) < sim->heap_count) {
		if (child + 1 < sim->heap_count &&
		    is_sooner(&sim->heap[child + 1], &sim->heap[child]))
			child++;
		if (!is_sooner(&sim->heap[child], &last))
			break;
		sim->heap[place] = sim->heap[child];
		place = child;
	}
	sim->heap[place] = last;
	return first;
}

/* --- the clock --- */

uint64_t
clock_us(void)
{
	return current->now_us;
}

uint64_t
clock_ms(void)
{
	return current->now_us / 1000;
}

int64_t
clock_wall_ms(void)
{
	return 1700000000000 + (int64_t)(current->now_us / 1000);
}

/* --- the loop --- */

bool
loop_is_mine(const struct loop *loop)
{
	(void)loop;
	return true;
}

struct loop_timer *
loop_timer_new(struct loop *loop, loop_fn fn, void *arg)
{
	struct loop_timer *timer = mem_zero(1, sizeof(*timer));

	(void)loop;
	timer->fn = fn;
	timer->arg = arg;
	timer->at_us = timer->posted_us = UINT64_MAX;
	return timer;
}

static void post_timer(struct loop_timer *timer);

/* Only the event that was posted last counts: that is the earliest, too. */
static void
on_timer_event(void *arg)
{
	struct loop_timer *timer = arg;

	timer->posted--;
	if (timer->is_freed) {
		if (timer->posted == 0)
			free(timer);
		return;
	}
	if (timer->posted_us != current->now_us)
		return;
	timer->posted_us = UINT64_MAX;
	if (timer->at_us <= current->now_us) {
		timer->at_us = UINT64_MAX;
		timer->fn(timer->arg);
	} else if (timer->at_us != UINT64_MAX) {
		post_timer(timer);
	}
}

static void
post_timer(struct loop_timer *timer)
{
	timer->posted++;
	timer->posted_us = timer->at_us;
	post_at(current, timer->at_us, on_timer_event, timer);
}

void
loop_timer_start(struct loop_timer *timer, uint64_t after_ms)
{
	timer->at_us = current->now_us + after_ms * 1000;
	if (timer->at_us < timer->posted_us)
		post_timer(timer);
}

void
loop_timer_stop(struct loop_timer *timer)
{
	timer->at_us = UINT64_MAX;
}

void
loop_timer_free(struct loop_timer *timer)
{
	timer->is_freed = true;
	if (timer->posted == 0)
		free(timer);
}

/* --- catalogs and events --- */

void
catalog_head(const struct catalog *catalog, struct catalog_head *ret)
{
	*ret = catalog->head;
}

struct catalog_batch *
catalog_batch_new(void)
{
	return mem_zero(1, sizeof(struct catalog_batch));
}

void
catalog_batch_page(struct catalog_batch *batch, struct change_page *page)
{
	batch->page = page;
}

void
catalog_batch_peer(struct catalog_batch *batch, const struct catalog_peer *peer)
{
	(void)batch;
	(void)peer;
}

void
catalog_batch_forget(struct catalog_batch *batch, const char *peer)
{
	(void)batch;
	(void)peer;
}

struct commit_of_sim {
	void (*done)(void *arg, int code);
	void *arg;
};

static void
committed(void *arg)
{
	struct commit_of_sim *commit = arg;

	commit->done(commit->arg, P2P_OK);
	free(commit);
}

void
catalog_submit(struct catalog *catalog, struct catalog_batch *batch,
	       void (*done)(void *arg, int code), void *arg)
{
	(void)catalog;
	change_page_free(batch->page);
	free(batch);
	if (done == NULL)
		return;
	struct commit_of_sim *commit = mem_alloc(sizeof(*commit));
	*commit = (struct commit_of_sim){ done, arg };
	post_at(current, current->now_us + SCRIBE_MS * 1000, committed, commit);
}

struct event *
event_new(enum event_kind kind)
{
	struct event *event = mem_zero(1, sizeof(*event));

	event->kind = kind;
	return event;
}

static bool can_reach(const struct sim_peer *from, const struct sim_peer *to);
static struct sim_peer *peer_of(struct peers_sim *sim, const char *id);

/* The struct of the events is any place that tells whose they are. */
void
events_publish(struct events *events, struct event *event)
{
	struct sim_peer *mine = (struct sim_peer *)(void *)events;
	const struct sim_peer *theirs = peer_of(mine->sim, event->peer);

	mine->sim->false_alarms += event->kind == EVENT_PEER_AWAY && can_reach(mine, theirs);
	free(event->peer_name);
	free(event);
}

/* --- the wire --- */

enum kind { GREET, LEAVE, NOTIFY, PULL };

struct message {
	struct sim_peer *from, *to;
	struct peers *asker; /* of `from`; its life may be over when the answer comes */
	enum kind kind;
	uint64_t half_us;
	struct node_record mine;
	char peer[PEER_ID_SIZE];
	struct notice notice;
	uint64_t epoch, since;
	union {
		transport_done_fn done;
		transport_greet_fn greet;
		transport_pull_fn pull;
	} fn;
	void *arg;
	/* The answer. */
	int code;
	struct node_record theirs, *known;
	size_t known_count;
	struct change_page *page;
};

static bool
can_reach(const struct sim_peer *from, const struct sim_peer *to)
{
	bool is_cut = (from->index < from->sim->cut) != (to->index < to->sim->cut);

	return to->peers != NULL && !is_cut;
}

static struct sim_peer *
peer_of(struct peers_sim *sim, const char *id)
{
	size_t index = 0;

	for (const char *at = id; *at >= 'a' && *at <= 'j'; at++)
		index = 10 * index + (size_t)(*at - 'a');
	return &sim->all[index];
}

/* 0.1 to 10 ms, the same for a pair in both directions. */
static uint64_t
half_trip_us(const struct sim_peer *a, const struct sim_peer *b)
{
	uint64_t low = a->index < b->index ? a->index : b->index, high = a->index + b->index - low;

	return 100 + (low * 7919 + high * 104729) % 9900;
}

static void
weigh(struct sim_peer *sender, size_t headers, char *text)
{
	sender->sent.bytes += headers + (text != NULL ? strlen(text) : 0);
	free(text);
}

static void
weigh_request(struct message *message)
{
	char *text = NULL;

	if (message->kind == GREET)
		text = wire_register_request(&message->mine);
	else if (message->kind == NOTIFY)
		text = wire_notice(&message->notice);
	message->from->sent.messages++;
	weigh(message->from, REQUEST_HEADER + CALLER_TCP, text);
}

static void
weigh_answer(struct message *message)
{
	char *text = NULL;

	if (message->kind == GREET && message->code == P2P_OK)
		text = wire_register_answer(&message->theirs, message->known, message->known_count);
	else if (message->kind == PULL && message->code == P2P_OK)
		text = wire_changes(message->page);
	weigh(message->to, ANSWER_HEADER + CALLED_TCP, text);
}

/* The caller hears what came of it. */
static void
hand_back(struct message *message)
{
	struct error err = { .code = P2P_OK };
	struct transport_greeting greeting = { .theirs = &message->theirs,
					       .known = message->known,
					       .known_count = message->known_count,
					       .round_trip_us = (uint32_t)(2 * message->half_us) };

	if (message->code != P2P_OK)
		error_set(&err, message->code, "no");
	if (message->kind == GREET) {
		message->fn.greet(message->arg, message->code, &err,
				  message->code == P2P_OK ? &greeting : NULL);
	} else if (message->kind == PULL) {
		message->fn.pull(message->arg, message->code, &err, message->page);
		message->page = NULL;
	} else {
		message->fn.done(message->arg, message->code, &err);
	}
}

static void
free_if_done(struct peers *dead)
{
	if (dead->requests == 0)
		peers_free(dead);
}

static void
come_back(void *arg)
{
	struct message *message = arg;
	struct peers *asker = message->asker;

	if (asker->is_stopping) {
		message->code = P2P_SHUTTING_DOWN;
		change_page_free(message->page);
		message->page = NULL;
	}
	hand_back(message);
	if (asker->is_stopping)
		free_if_done(asker);
	free(message->known);
	free(message);
}

static struct change_page *
page_of(const struct sim_peer *peer, uint64_t epoch, uint64_t since)
{
	struct change_page *page = change_page_new();
	const struct catalog_head *head = &peer->catalog.head;
	struct change change = { .name = (char *)"results/2026-11-23/run.csv",
				 .mtime_ns = 1700000000000000000,
				 .mode = 0644,
				 .content.size_bytes = 123456 };

	memcpy(page->peer, peer->self.id, PEER_ID_SIZE);
	page->epoch = head->epoch;
	page->is_reset = epoch != head->epoch;
	page->since = page->is_reset ? 0 : since;
	page->through = page->head = head->seq;
	page->file_count = head->file_count;
	for (uint64_t seq = page->since + 1; seq <= head->seq; seq++) {
		change.seq = seq;
		change_page_add(page, &change);
	}
	return page;
}

static void
answer(struct message *message)
{
	struct sim_peer *to = message->to;
	struct error err;

	switch (message->kind) {
	case GREET:
		message->code = peers_registered(to->peers, &message->mine, message->from->host,
						 &message->known, &message->known_count, &err);
		peers_self(to->peers, &message->theirs);
		break;
	case LEAVE:
		peers_left(to->peers, message->peer, message->from->host);
		break;
	case NOTIFY:
		message->code = peers_noticed(to->peers, &message->notice);
		break;
	case PULL:
		message->page = page_of(to, message->epoch, message->since);
		break;
	}
	weigh_answer(message);
}

static void
arrive(void *arg)
{
	struct message *message = arg;
	struct sim_peer *to = message->to;
	uint64_t back_us = message->half_us;

	if (can_reach(message->from, to)) {
		answer(message);
	} else {
		bool is_cut = (message->from->index < to->sim->cut) != (to->index < to->sim->cut);

		message->code = P2P_UNREACHABLE;
		if (is_cut || to->is_silent)
			back_us = TRANSPORT_CONNECT_MS * 1000;
	}
	post_at(to->sim, to->sim->now_us + back_us, come_back, message);
}

static struct message *
post(struct transport *transport, enum kind kind, const char *address, void *arg)
{
	struct message *message = mem_zero(1, sizeof(*message));
	struct sim_peer *from = (struct sim_peer *)transport;
	unsigned high, low;

	address = strstr(address, "://");
	if (sscanf(address, "://10.1.%u.%u:", &high, &low) != 2)
		abort();
	message->from = from;
	message->asker = from->peers;
	message->to = &from->sim->all[high * 250 + low];
	message->kind = kind;
	message->arg = arg;
	message->half_us = half_trip_us(from, message->to);
	post_at(from->sim, from->sim->now_us + message->half_us, arrive, message);
	return message;
}

static struct transport_request *
wire_greet(struct transport *transport, const char *address, const struct node_record *mine,
	   transport_greet_fn fn, void *arg)
{
	struct message *message = post(transport, GREET, address, arg);

	message->mine = *mine;
	message->fn.greet = fn;
	weigh_request(message);
	return NULL;
}

static struct transport_request *
wire_leave(struct transport *transport, const char *address, const char *self, transport_done_fn fn,
	   void *arg)
{
	struct message *message = post(transport, LEAVE, address, arg);

	snprintf(message->peer, sizeof(message->peer), "%s", self);
	message->fn.done = fn;
	weigh_request(message);
	return NULL;
}

static struct transport_request *
wire_notify(struct transport *transport, const char *address, const struct notice *notice,
	    transport_done_fn fn, void *arg)
{
	struct message *message = post(transport, NOTIFY, address, arg);

	message->notice = *notice;
	message->fn.done = fn;
	weigh_request(message);
	return NULL;
}

static struct transport_request *
wire_pull(struct transport *transport, const char *address, const char *peer, uint64_t epoch,
	  uint64_t since, uint32_t limit, transport_pull_fn fn, void *arg)
{
	struct message *message = post(transport, PULL, address, arg);

	(void)limit;
	(void)peer;
	message->epoch = epoch;
	message->since = since;
	message->fn.pull = fn;
	weigh_request(message);
	return NULL;
}

static const struct transport_ops wire_ops = { .name = "simulated",
					       .greet = wire_greet,
					       .leave = wire_leave,
					       .notify = wire_notify,
					       .pull = wire_pull };

/* --- the network --- */

static void
set_up(struct peers_sim *sim, size_t index)
{
	struct sim_peer *peer = &sim->all[index];
	struct config_list *seeds;

	peer->transport.ops = &wire_ops;
	peer->sim = sim;
	peer->index = index;
	snprintf(peer->host, sizeof(peer->host), "10.1.%zu.%zu", index / 250, index % 250);
	/* Well-formed, and the number can be read back: its digits as letters. */
	memset(peer->self.id, 'q', PEER_ID_SIZE - 1);
	for (size_t at = 6, rest = index; at-- > 0; rest /= 10)
		peer->self.id[at] = (char)('a' + rest % 10);
	snprintf(peer->self.name, sizeof(peer->self.name), "host-%zu", index);
	snprintf(peer->self.version, sizeof(peer->self.version), "0.1.0");
	node_address_make(WIRE_REST, peer->host, 5001, peer->self.addresses[0]);
	node_address_make(WIRE_GRPC, peer->host, 50051, peer->self.addresses[1]);
	peer->self.address_count = 2;
	peer->catalog.head = (struct catalog_head){ .epoch = 1, .seq = 1, .file_count = 1 };
	peer->config = config_load(NULL, NULL);
	seeds = &peer->config->network_seed;
	if (index > 0)
		seeds->items[seeds->count++] = mem_string(sim->all[0].self.addresses[0]);
}

struct peers_sim *
peers_sim_new(size_t count, uint64_t seed)
{
	struct peers_sim *sim = mem_zero(1, sizeof(*sim));

	assert(current == NULL);
	current = sim;
	sim->now_us = 1000000;
	sim->random = seed;
	sim->count = count;
	sim->all = mem_zero(count, sizeof(*sim->all));
	for (size_t i = 0; i < count; i++)
		set_up(sim, i);
	return sim;
}

static void
remember(const struct sim_peer *peer)
{
	for (size_t i = 0; i < peer->remembered_count; i++) {
		const struct peer_info *info = &peer->remembered[i];
		char addresses[2 * NODE_ADDRESS_SIZE];

		snprintf(addresses, sizeof(addresses), "%s %s", info->wire_address[WIRE_REST],
			 info->wire_address[WIRE_GRPC]);
		peers_remember(peer->peers,
			       &(struct catalog_peer){ .id = info->id,
						       .name = info->name,
						       .addresses = addresses,
						       .epoch = info->epoch,
						       .seq = info->seq,
						       .heard_wall_ms = info->heard_wall_ms });
	}
}

void
peers_sim_start(struct peers_sim *sim, size_t index)
{
	struct sim_peer *peer = &sim->all[index];

	peer->peers = peers_new(NULL, &peer->transport, &peer->catalog,
				(struct events *)(void *)peer, peer->config, &peer->self);
	peer->peers->random = draw(sim) | 1;
	remember(peer);
	peers_start(peer->peers);
}

void
peers_sim_kill(struct peers_sim *sim, size_t index, bool is_silent)
{
	struct sim_peer *peer = &sim->all[index];
	struct peers *dead = peer->peers;

	free(peer->remembered);
	peer->remembered = peers_list(dead, &peer->remembered_count);
	peer->is_silent = is_silent;
	peer->peers = NULL;
	loop_timer_stop(dead->timer);
	dead->is_stopping = true;
	free_if_done(dead);
}

void
peers_sim_cut(struct peers_sim *sim, size_t first)
{
	sim->cut = first;
}

void
peers_sim_change(struct peers_sim *sim, size_t index)
{
	sim->all[index].catalog.head.seq++;
	peers_tell(sim->all[index].peers);
}

uint64_t
peers_sim_run(struct peers_sim *sim, uint64_t ms,
	      bool (*is_reached)(struct peers_sim *sim, void *arg), void *arg)
{
	uint64_t begin_us = sim->now_us, end_us = begin_us + ms * 1000, look_us = begin_us;

	while (sim->now_us < end_us) {
		uint64_t next_us = sim->heap_count > 0 ? sim->heap[0].at_us : UINT64_MAX;

		if (is_reached != NULL && next_us > look_us) {
			sim->now_us = look_us;
			if (is_reached(sim, arg))
				break;
			look_us += 10000;
			continue;
		}
		if (next_us > end_us) {
			sim->now_us = end_us;
			break;
		}
		struct event_of_sim event = take_first(sim);
		sim->now_us = event.at_us;
		event.fn(event.arg);
	}
	return (sim->now_us - begin_us) / 1000;
}

void
peers_sim_free(struct peers_sim *sim)
{
	for (size_t i = 0; i < sim->count; i++)
		if (sim->all[i].peers != NULL)
			peers_sim_kill(sim, i, false);
	while (sim->heap_count > 0) {
		struct event_of_sim event = take_first(sim);
		event.fn(event.arg);
	}
	for (size_t i = 0; i < sim->count; i++) {
		config_unref(sim->all[i].config);
		free(sim->all[i].remembered);
	}
	free(sim->all);
	free(sim->heap);
	free(sim);
	current = NULL;
}

/* --- what came of it --- */

/* Of the running peers but for the `index`-th, those for which test() is true of what they know of that. */
static size_t
count_views(struct peers_sim *sim, size_t index,
	    bool (*test)(const struct peer *view, const struct sim_peer *peer))
{
	const struct sim_peer *peer = &sim->all[index];
	size_t count = 0;

	for (size_t i = 0; i < sim->count; i++) {
		if (i == index || sim->all[i].peers == NULL)
			continue;
		const struct peer *view = peers_lookup(sim->all[i].peers, peer->self.id);
		count += view != NULL && test(view, peer);
	}
	return count;
}

static bool
is_here(const struct peer *view, const struct sim_peer *peer)
{
	(void)peer;
	return view->state == PEER_HERE;
}

static bool
is_not_away(const struct peer *view, const struct sim_peer *peer)
{
	(void)peer;
	return view->state != PEER_AWAY;
}

static bool
is_up_to_date(const struct peer *view, const struct sim_peer *peer)
{
	return view->seq == peer->catalog.head.seq;
}

size_t
peers_sim_seen_here(struct peers_sim *sim, size_t peer)
{
	return count_views(sim, peer, is_here);
}

size_t
peers_sim_not_away(struct peers_sim *sim, size_t peer)
{
	return count_views(sim, peer, is_not_away);
}

size_t
peers_sim_up_to_date(struct peers_sim *sim, size_t peer)
{
	return count_views(sim, peer, is_up_to_date);
}

size_t
peers_sim_running(const struct peers_sim *sim)
{
	size_t count = 0;

	for (size_t i = 0; i < sim->count; i++)
		count += sim->all[i].peers != NULL;
	return count;
}

bool
peers_sim_is_meshed(struct peers_sim *sim)
{
	for (size_t i = 0; i < sim->count; i++) {
		const struct sim_peer *from = &sim->all[i];

		if (from->peers == NULL)
			continue;
		for (size_t j = 0; j < sim->count; j++) {
			const struct sim_peer *to = &sim->all[j];

			if (i == j || !can_reach(from, to))
				continue;
			const struct peer *view = peers_lookup(from->peers, to->self.id);
			if (view == NULL || view->state != PEER_HERE)
				return false;
		}
	}
	return true;
}

struct peers_sim_traffic
peers_sim_sent(struct peers_sim *sim, size_t peer)
{
	struct peers_sim_traffic sent = sim->all[peer].sent;

	sim->all[peer].sent = (struct peers_sim_traffic){ 0 };
	return sent;
}

unsigned
peers_sim_false_alarms(const struct peers_sim *sim)
{
	return sim->false_alarms;
}

size_t
peers_sim_bytes_a_peer(void)
{
	return sizeof(struct peer) + sizeof(struct peer *);
}
