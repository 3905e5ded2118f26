/* SPDX-License-Identifier: MIT
 *
 * swarm_sim.c - the events of a swarm: asks, pieces, news, comings and goings.
 *
 * Each host that fetches has a struct swarm, the very one of the daemon, and does with it what a
 * download does: asks for what swarm_next() says, breaks off what swarm_give_up() says, looks
 * again whenever something came and every TICK_US.
 *
 * An ask is half a round trip on its way; then its bytes flow (sim_net.c) and arrive half a round
 * trip later, piece by piece. An ask for what the other does not have, or of one who is not
 * there, is answered with that.  Connections are open and warm, disks and hashes cost nothing:
 * what is measured is the choice, not the machine.
 *
 * News spreads by the rules of holdings.h.  Who fetches follows the seeds and whoever it learns
 * of, as long as swarm_source() has room.  The first answer has everything: what is held, who
 * else follows.  Then each has a log: piece verified, piece on its way from here to somebody,
 * peer that follows; a follower gets what is new 20 to 60 ms after the first of it happened, but
 * only when its next question has come, a round trip after the last answer.
 *
 * Of those that it is told of a host follows SWARM_TOLD_MAX, at random; those who follow it
 * are sources too, while there is room.  Without the limit the first to come fill all places of
 * each other, and of 500 nobody uses the last 250.  Few are also better than many: what one waits
 * for is then in fewer hands.  Who is complete follows nobody, but stays and sends.
 */
#include "swarm_sim.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "holdings.h"
#include "mem.h"
#include "sim_bound.h"
#include "sim_net.h"
#include "swarm.h"

#define TICK_US         100000 /* a download looks again so often, whatever happens */
#define COALESCE_MIN_US 20000  /* news waits for more of it */
#define COALESCE_MAX_US 60000
#define SILENCE_US \
	5000000 /* a question to one who does not answer at all has failed after so long */

enum kind {
	APPEAR, /* a host begins, or comes back */
	VANISH, /* an absence begins */
	TICK,
	ASKED,         /* an ask arrives at the source */
	ARRIVED,       /* bytes of it arrive at who asked */
	REFUSED,       /* "I do not have it" does */
	BROKEN,        /* the end of the connection does */
	FOLLOWED,      /* a first question arrives */
	FOLLOW_BROKEN, /* the end of the connection does, at the follower */
	TOLD_ALL,      /* the first answer does */
	TELLING,       /* an answer leaves */
	TOLD,          /* it arrives */
};

struct event {
	uint64_t us, order;
	enum kind kind;
	uint32_t host, life; /* to whom it happens; not if that is another life by then */
	uint32_t index;      /* of a transfer, a follow, an absence */
	uint32_t generation; /* of the transfer or follow */
	uint64_t value;      /* bytes, or an end in a log */
	unsigned char *bits; /* owned */
};

/* One ask. */
struct transfer {
	uint32_t generation;      /* grows when the place is used anew */
	uint32_t to, from, place; /* place: in the transfers of `to` */
	const struct swarm_ask *ask;
	struct sim_flow *flow;  /* while bytes leave */
	bool is_waiting;        /* at the source, for its turn */
	uint64_t sent, arrived; /* bytes at ends of pieces */
	uint32_t next_free;
};

/* One host follows another. */
struct follow {
	uint32_t generation; /* grows when it begins anew or ends */
	uint32_t of;
	bool is_asked;    /* the question is on its way, or stands */
	bool is_up;       /* it is in the other's list */
	bool is_telling;  /* an answer is on its way, or will be */
	uint64_t cursor;  /* in the other's log: told up to here */
	uint64_t free_us; /* not before then is the next question there */
};

struct news {
	enum { NEWS_PIECE, NEWS_COMING, NEWS_PEER } kind;
	uint32_t value;
	uint64_t us;
};

struct host {
	const struct sim_host *link;
	uint32_t life;
	bool is_there, is_complete;
	struct swarm *swarm;
	unsigned char *bits; /* what it has */
	uint64_t finish_us;  /* UINT64_MAX: not yet */
	uint32_t *transfers; /* to here, under way */
	size_t transfer_count, transfer_room;
	struct follow follows[SWARM_SOURCES_MAX];
	size_t follow_count;
	struct {
		uint32_t host, index; /* of the follow, at that host */
	} * followers;
	size_t follower_count, follower_room;
	uint32_t *queue; /* transfers that wait for a place among those that flow from here */
	size_t queue_start, queue_count, queue_room;
	size_t sending;
	struct news *log;
	size_t log_count, log_room;
};

struct run {
	const struct sim *sim;
	struct sim_result *ret;
	uint64_t now_us, order, random, piece_count;
	struct sim_net *net;
	struct host *hosts;
	size_t to_finish;
	struct event *heap;
	size_t heap_count, heap_room;
	struct transfer *transfers;
	size_t transfer_count, transfer_room;
	uint32_t free_transfer; /* UINT32_MAX: none */
	double seed_bytes, sent_bytes, kept_bytes;
};

static uint64_t
draw(struct run *run)
{
	uint64_t x = run->random += 0x9e3779b97f4a7c15u;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

static const char *
name_of(uint32_t host, char ret[PEER_ID_SIZE])
{
	memset(ret, 0, PEER_ID_SIZE);
	snprintf(ret, PEER_ID_SIZE, "%u", host);
	return ret;
}

static bool
has_piece(const struct host *host, uint64_t piece)
{
	return host->bits[piece >> 3] & (0x80u >> (piece & 7));
}

static uint64_t
half_trip_us(const struct run *run, uint32_t a, uint32_t b)
{
	return run->hosts[a].link->delay_us + run->hosts[b].link->delay_us;
}

/* --- events --- */

static bool
is_sooner(const struct event *a, const struct event *b)
{
	return a->us != b->us ? a->us < b->us : a->order < b->order;
}

static void
post(struct run *run, struct event event, uint64_t us)
{
	if (run->heap_count == run->heap_room) {
		run->heap_room = run->heap_room ? 2 * run->heap_room : 1024;
		run->heap = mem_grow(run->heap, run->heap_room, sizeof(*run->heap));
	}
	event.us = us;
	event.order = run->order++;
	event.life = run->hosts[event.host].life;
	size_t place = run->heap_count++;
	for (; place > 0 && is_sooner(&event, &run->heap[(place - 1) / 2]); place = (place - 1) / 2)
		run->heap[place] = run->heap[(place - 1) / 2];
	run->heap[place] = event;
}

static struct event
next_event(struct run *run)
{
	struct event first = run->heap[0], last = run->heap[--run->heap_count];
	size_t place = 0, child;
	while ((child = 2 * place + 1) < run->heap_count) {
		if (child + 1 < run->heap_count &&
		    is_sooner(&run->heap[child + 1], &run->heap[child]))
			child++;
		if (!is_sooner(&run->heap[child], &last))
			break;
		run->heap[place] = run->heap[child];
		place = child;
	}
	run->heap[place] = last;
	return first;
}

/* --- news --- */

/* Sees to it that what is new will be told to a follower. */
static void
tell(struct run *run, uint32_t to, uint32_t index)
{
	struct follow *follow = &run->hosts[to].follows[index];
	const struct host *from = &run->hosts[follow->of];
	if (!follow->is_up || follow->is_telling || follow->cursor == from->log_count)
		return;
	follow->is_telling = true;
	uint64_t us = from->log[follow->cursor].us + COALESCE_MIN_US +
		      draw(run) % (COALESCE_MAX_US - COALESCE_MIN_US);
	if (us < follow->free_us)
		us = follow->free_us;
	struct event telling = {
		.kind = TELLING, .host = to, .index = index, .generation = follow->generation
	};
	post(run, telling, us < run->now_us ? run->now_us : us);
}

static void
log_news(struct run *run, uint32_t from, struct news news)
{
	struct host *host = &run->hosts[from];
	if (host->log_count == host->log_room) {
		host->log_room = host->log_room ? 2 * host->log_room : 256;
		host->log = mem_grow(host->log, host->log_room, sizeof(*host->log));
	}
	news.us = run->now_us;
	host->log[host->log_count++] = news;
	for (size_t i = 0; i < host->follower_count; i++)
		tell(run, host->followers[i].host, host->followers[i].index);
}

static void
begin_follow(struct run *run, uint32_t who, uint32_t index)
{
	struct follow *follow = &run->hosts[who].follows[index];
	follow->generation++;
	follow->is_asked = true;
	follow->is_up = follow->is_telling = false;
	struct event followed = {
		.kind = FOLLOWED, .host = who, .index = index, .generation = follow->generation
	};
	post(run, followed, run->now_us + half_trip_us(run, who, follow->of));
}

/* `who` learns that `of` may have something. */
static void
learn_of(struct run *run, uint32_t who, uint32_t of, size_t most)
{
	struct host *host = &run->hosts[who];
	char name[PEER_ID_SIZE];
	if (who == of || host->swarm == NULL || host->is_complete)
		return;
	uint32_t index = 0;
	while (index < host->follow_count && host->follows[index].of != of)
		index++;
	if (index == host->follow_count && index >= most)
		return;
	if (!swarm_source(host->swarm, name_of(of, name),
			  (uint32_t)(2 * half_trip_us(run, who, of))))
		return;
	if (index == host->follow_count)
		host->follows[host->follow_count++] = (struct follow){ .of = of };
	else if (!host->follows[index].is_asked)
		swarm_forgive(host->swarm, name);
	if (!host->follows[index].is_asked)
		begin_follow(run, who, index);
}

static void
drop_follower(struct run *run, uint32_t of, uint32_t who)
{
	struct host *host = &run->hosts[of];
	for (size_t i = 0; i < host->follower_count; i++) {
		if (host->followers[i].host != who)
			continue;
		host->followers[i] = host->followers[--host->follower_count];
		return;
	}
}

static void
end_follows(struct run *run, uint32_t who)
{
	struct host *host = &run->hosts[who];
	for (size_t i = 0; i < host->follow_count; i++) {
		struct follow *follow = &host->follows[i];
		if (follow->is_up)
			drop_follower(run, follow->of, who);
		follow->generation++;
		follow->is_asked = follow->is_up = follow->is_telling = false;
	}
}

/* A first question has come. */
static void
followed(struct run *run, const struct event *event)
{
	struct follow *follow = &run->hosts[event->host].follows[event->index];
	struct host *of = &run->hosts[follow->of];
	uint64_t half_us = half_trip_us(run, event->host, follow->of);
	struct event answer = *event;
	if (!of->is_there) {
		answer.kind = FOLLOW_BROKEN;
		post(run, answer, run->now_us + half_us);
		return;
	}
	if (of->follower_count == of->follower_room) {
		of->follower_room = of->follower_room ? 2 * of->follower_room : 64;
		of->followers = mem_grow(of->followers, of->follower_room, sizeof(*of->followers));
	}
	if (of->follower_count < HOLDINGS_FOLLOWERS_MAX)
		log_news(run, follow->of, (struct news){ .kind = NEWS_PEER, .value = event->host });
	of->followers[of->follower_count].host = event->host;
	of->followers[of->follower_count++].index = event->index;
	follow->is_up = follow->is_telling = true;
	follow->cursor = of->log_count;
	follow->free_us = run->now_us + 2 * half_us;
	answer.kind = TOLD_ALL;
	answer.bits = mem_alloc((run->piece_count + 7) / 8);
	memcpy(answer.bits, of->bits, (run->piece_count + 7) / 8);
	post(run, answer, run->now_us + half_us);
	learn_of(run, follow->of, event->host, SWARM_SOURCES_MAX);
}

static void
follow_broken(struct run *run, const struct event *event)
{
	struct host *host = &run->hosts[event->host];
	struct follow *follow = &host->follows[event->index];
	char name[PEER_ID_SIZE];
	follow->is_asked = follow->is_telling = false;
	swarm_source_failed(host->swarm, name_of(follow->of, name), run->now_us, SWARM_FAILED);
}

/* Learns of all others that follow, in random order: the first fill the places. */
static void
learn_of_all(struct run *run, uint32_t who, uint32_t of)
{
	struct host *host = &run->hosts[of];
	size_t count = host->follower_count;
	if (count > HOLDINGS_FOLLOWERS_MAX)
		count = HOLDINGS_FOLLOWERS_MAX;
	uint32_t *order = mem_alloc((count + 1) * sizeof(*order));
	for (size_t i = 0; i < count; i++) {
		size_t place = draw(run) % (i + 1);
		order[i] = order[place];
		order[place] = host->followers[i].host;
	}
	for (size_t i = 0; i < count; i++)
		learn_of(run, who, order[i], SWARM_TOLD_MAX);
	free(order);
}

static void pump(struct run *run, uint32_t who);

static void
told_all(struct run *run, const struct event *event)
{
	struct host *host = &run->hosts[event->host];
	struct follow *follow = &host->follows[event->index];
	char name[PEER_ID_SIZE];
	follow->is_telling = false;
	if (run->hosts[follow->of].is_complete)
		swarm_holds_all(host->swarm, name_of(follow->of, name));
	else
		swarm_holds(host->swarm, name_of(follow->of, name), event->bits);
	if (follow->is_up)
		learn_of_all(run, event->host, follow->of);
	tell(run, event->host, event->index);
	pump(run, event->host);
}

static void
telling(struct run *run, const struct event *event)
{
	struct follow *follow = &run->hosts[event->host].follows[event->index];
	uint64_t half_us = half_trip_us(run, event->host, follow->of);
	if (!follow->is_up)
		return;
	struct event answer = *event;
	answer.kind = TOLD;
	answer.value = run->hosts[follow->of].log_count;
	follow->free_us = run->now_us + 2 * half_us;
	post(run, answer, run->now_us + half_us);
}

static void
told(struct run *run, const struct event *event)
{
	struct host *host = &run->hosts[event->host];
	struct follow *follow = &host->follows[event->index];
	struct host *of = &run->hosts[follow->of];
	char name[PEER_ID_SIZE];
	name_of(follow->of, name);
	for (uint64_t i = follow->cursor; i < event->value; i++) {
		const struct news *news = &of->log[i];
		switch (news->kind) {
		case NEWS_PIECE:
			swarm_holds_too(host->swarm, name, news->value);
			break;
		case NEWS_COMING:
			swarm_coming(host->swarm, news->value);
			break;
		case NEWS_PEER:
			learn_of(run, event->host, news->value, SWARM_TOLD_MAX);
			break;
		}
	}
	follow->cursor = event->value;
	follow->is_telling = false;
	tell(run, event->host, event->index);
	pump(run, event->host);
}

/* --- transfers --- */

static struct transfer *
new_transfer(struct run *run, uint32_t to, const struct swarm_ask *ask)
{
	if (run->free_transfer == UINT32_MAX) {
		if (run->transfer_count == run->transfer_room) {
			run->transfer_room = run->transfer_room ? 2 * run->transfer_room : 1024;
			run->transfers =
			    mem_grow(run->transfers, run->transfer_room, sizeof(*run->transfers));
		}
		run->free_transfer = (uint32_t)run->transfer_count++;
		run->transfers[run->free_transfer] = (struct transfer){ .next_free = UINT32_MAX };
	}
	struct transfer *transfer = &run->transfers[run->free_transfer];
	run->free_transfer = transfer->next_free;
	*transfer = (struct transfer){ .generation = transfer->generation + 1,
				       .to = to,
				       .ask = ask,
				       .from = (uint32_t)strtoul(ask->peer, NULL, 10) };
	struct host *host = &run->hosts[to];
	if (host->transfer_count == host->transfer_room) {
		host->transfer_room = host->transfer_room ? 2 * host->transfer_room : 64;
		host->transfers =
		    mem_grow(host->transfers, host->transfer_room, sizeof(*host->transfers));
	}
	transfer->place = (uint32_t)host->transfer_count;
	host->transfers[host->transfer_count++] = (uint32_t)(transfer - run->transfers);
	return transfer;
}

static void
post_transfer(struct run *run, enum kind kind, const struct transfer *transfer, uint64_t bytes)
{
	struct event event = { .kind = kind,
			       .host = transfer->to,
			       .index = (uint32_t)(transfer - run->transfers),
			       .generation = transfer->generation,
			       .value = bytes };
	post(run, event, run->now_us + half_trip_us(run, transfer->to, transfer->from));
}

static uint64_t
bytes_of(const struct run *run, const struct swarm_ask *ask, uint64_t pieces)
{
	uint64_t bytes = pieces * run->sim->piece_bytes;
	return bytes < ask->bytes ? bytes : ask->bytes;
}

/* Bytes begin to leave; whoever follows hears of it. */
static void
start_flow(struct run *run, struct transfer *transfer)
{
	const struct swarm_run *pieces = &transfer->ask->pieces;
	run->hosts[transfer->from].sending++;
	transfer->flow = sim_net_start(run->net, run->now_us, transfer->from, transfer->to,
				       bytes_of(run, transfer->ask, 1),
				       (void *)(uintptr_t)(transfer - run->transfers));
	for (uint64_t i = 0; i < pieces->count; i++)
		log_news(
		    run, transfer->from,
		    (struct news){ .kind = NEWS_COMING, .value = (uint32_t)(pieces->first + i) });
}

static void
start_waiting(struct run *run, struct host *host)
{
	while (host->queue_start < host->queue_count && host->sending < run->sim->sends_max) {
		struct transfer *transfer = &run->transfers[host->queue[host->queue_start++]];
		if (transfer->is_waiting && &run->hosts[transfer->from] == host) {
			transfer->is_waiting = false;
			start_flow(run, transfer);
		}
	}
}

static void
wait_for_place(struct host *host, struct transfer *transfer, uint32_t index)
{
	if (host->queue_count == host->queue_room) {
		host->queue_room = host->queue_room ? 2 * host->queue_room : 64;
		host->queue = mem_grow(host->queue, host->queue_room, sizeof(*host->queue));
	}
	host->queue[host->queue_count++] = index;
	transfer->is_waiting = true;
}

static void
stop_flow(struct run *run, struct transfer *transfer)
{
	if (transfer->flow == NULL)
		return;
	struct host *from = &run->hosts[transfer->from];
	double bytes = (double)sim_net_stop(run->net, run->now_us, transfer->flow);
	transfer->flow = NULL;
	run->sent_bytes += bytes;
	if (from->link->is_seed)
		run->seed_bytes += bytes;
	from->sending--;
	start_waiting(run, from);
}

/* It is over, for the swarm too unless that is gone. */
static void
end_transfer(struct run *run, struct transfer *transfer, enum swarm_end how)
{
	stop_flow(run, transfer);
	uint64_t verified = transfer->arrived == transfer->ask->bytes
				? transfer->ask->pieces.count
				: transfer->arrived / run->sim->piece_bytes;
	if (how == SWARM_FAILED)
		run->ret->failed++;
	struct host *host = &run->hosts[transfer->to];
	swarm_ended(host->swarm, transfer->ask, verified, how, run->now_us);
	uint32_t last = host->transfers[--host->transfer_count];
	host->transfers[transfer->place] = last;
	run->transfers[last].place = transfer->place;
	transfer->ask = NULL;
	transfer->is_waiting = false;
	transfer->generation++;
	transfer->next_free = run->free_transfer;
	run->free_transfer = (uint32_t)(transfer - run->transfers);
}

/* An ask has come to its source. */
static void
asked(struct run *run, struct transfer *transfer)
{
	struct host *from = &run->hosts[transfer->from];
	const struct swarm_run *pieces = &transfer->ask->pieces;
	if (!from->is_there) {
		post_transfer(run, BROKEN, transfer, 0);
		return;
	}
	for (uint64_t i = 0; i < pieces->count; i++) {
		if (has_piece(from, pieces->first + i))
			continue;
		post_transfer(run, REFUSED, transfer, 0);
		return;
	}
	if (run->sim->sends_max == 0 || from->sending < run->sim->sends_max)
		start_flow(run, transfer);
	else
		wait_for_place(from, transfer, (uint32_t)(transfer - run->transfers));
}

/* A piece has left whole. */
static void
sent(struct run *run, struct transfer *transfer)
{
	uint64_t pieces = transfer->sent / run->sim->piece_bytes + 1;
	transfer->sent = bytes_of(run, transfer->ask, pieces);
	if (transfer->sent == transfer->ask->bytes)
		stop_flow(run, transfer);
	else
		sim_net_goal(run->net, transfer->flow, bytes_of(run, transfer->ask, pieces + 1));
	post_transfer(run, ARRIVED, transfer, transfer->sent);
}

static void
verified(struct run *run, uint32_t who, uint64_t piece, uint64_t bytes)
{
	struct host *host = &run->hosts[who];
	assert(!has_piece(host, piece));
	run->kept_bytes += (double)bytes;
	host->bits[piece >> 3] |= (unsigned char)(0x80u >> (piece & 7));
	log_news(run, who, (struct news){ .kind = NEWS_PIECE, .value = (uint32_t)piece });
	uint64_t facts[] = { run->now_us, who, piece };
	for (size_t i = 0; i < 3; i++) /* FNV-1a, by words */
		run->ret->fingerprint = (run->ret->fingerprint ^ facts[i]) * 0x100000001b3u;
}

static void
finish(struct run *run, uint32_t who)
{
	struct host *host = &run->hosts[who];
	host->is_complete = true;
	if (host->finish_us == UINT64_MAX)
		run->to_finish--;
	host->finish_us = run->now_us;
	end_follows(run, who);
}

static struct transfer *
transfer_of(struct run *run, const struct host *host, const struct swarm_ask *ask)
{
	size_t i = 0;
	while (run->transfers[host->transfers[i]].ask != ask)
		i++;
	assert(i < host->transfer_count);
	return &run->transfers[host->transfers[i]];
}

/* Asks whatever there is to ask. */
static void
pump(struct run *run, uint32_t who)
{
	const struct swarm_ask *ask;
	if (run->hosts[who].is_complete)
		return;
	while ((ask = swarm_next(run->hosts[who].swarm, run->now_us)) != NULL) {
		run->ret->asks++;
		post_transfer(run, ASKED, new_transfer(run, who, ask), 0);
	}
}

/* Breaks off whatever is better asked of somebody else. */
static void
give_up(struct run *run, uint32_t who)
{
	struct host *host = &run->hosts[who];
	const struct swarm_ask *ask;
	while ((ask = swarm_give_up(host->swarm, run->now_us)) != NULL) {
		run->ret->given_up++;
		end_transfer(run, transfer_of(run, host, ask), SWARM_DONE);
		pump(run, who);
	}
}

static void
arrived(struct run *run, struct transfer *transfer, uint64_t bytes)
{
	uint32_t who = transfer->to;
	struct host *host = &run->hosts[who];
	uint64_t piece = transfer->ask->pieces.first + transfer->arrived / run->sim->piece_bytes;
	verified(run, who, piece, bytes - transfer->arrived);
	transfer->arrived = bytes;
	swarm_came(host->swarm, transfer->ask, bytes, run->now_us);
	if (bytes == transfer->ask->bytes)
		end_transfer(run, transfer, SWARM_DONE);
	if (swarm_is_complete(host->swarm)) {
		finish(run, who);
		return;
	}
	pump(run, who);
	give_up(run, who);
}

/* What came of the pieces that are not whole yet. */
static void
tell_progress(struct run *run, uint32_t who)
{
	struct host *host = &run->hosts[who];
	for (size_t i = 0; i < host->transfer_count; i++) {
		struct transfer *transfer = &run->transfers[host->transfers[i]];
		if (transfer->flow == NULL)
			continue;
		uint64_t half_us = half_trip_us(run, who, transfer->from);
		uint64_t bytes = sim_net_bytes(transfer->flow, run->now_us);
		/* What left in the last half round trip has not come. */
		double late = transfer->flow->rate * (double)half_us;
		if ((double)bytes > late)
			swarm_came(host->swarm, transfer->ask, bytes - (uint64_t)late, run->now_us);
	}
}

static void
tick(struct run *run, uint32_t who)
{
	struct host *host = &run->hosts[who];
	char name[PEER_ID_SIZE];
	if (host->is_complete)
		return;
	tell_progress(run, who);
	for (uint32_t i = 0; i < host->follow_count; i++)
		if (!host->follows[i].is_asked &&
		    swarm_is_open(host->swarm, name_of(host->follows[i].of, name), run->now_us))
			begin_follow(run, who, i);
	pump(run, who);
	give_up(run, who);
	post(run, (struct event){ .kind = TICK, .host = who }, run->now_us + TICK_US);
}

/* --- comings and goings --- */

static void
appear(struct run *run, uint32_t who)
{
	struct host *host = &run->hosts[who];
	host->is_there = true;
	sim_net_links(run->net, run->now_us, who, host->link->up_bps, host->link->down_bps);
	if (host->link->is_seed || host->is_complete)
		return;
	host->swarm = swarm_new(run->sim->size_bytes, run->sim->piece_bytes, draw(run));
	if (run->sim->asks_max != 0)
		swarm_limit(host->swarm, run->sim->asks_max);
	for (uint64_t i = 0; i < run->piece_count; i++)
		if (has_piece(host, i))
			swarm_have(host->swarm, i);
	host->follow_count = 0;
	for (uint32_t i = 0; i < run->sim->host_count; i++)
		if (run->hosts[i].link->is_seed)
			learn_of(run, who, i, SWARM_SOURCES_MAX);
	post(run, (struct event){ .kind = TICK, .host = who }, run->now_us + draw(run) % TICK_US);
}

/* Those who follow it, and those who wait for its bytes, are told unless it went silently. */
static void
break_connections(struct run *run, uint32_t who, bool is_silent)
{
	struct host *host = &run->hosts[who];
	for (size_t i = 0; i < run->transfer_count; i++) {
		struct transfer *transfer = &run->transfers[i];
		if (transfer->ask == NULL || transfer->from != who ||
		    (transfer->flow == NULL && !transfer->is_waiting))
			continue;
		transfer->is_waiting = false;
		stop_flow(run, transfer);
		if (!is_silent)
			post_transfer(run, BROKEN, transfer, 0);
	}
	for (; host->follower_count > 0; host->follower_count--) {
		uint32_t to = host->followers[host->follower_count - 1].host;
		uint32_t index = host->followers[host->follower_count - 1].index;
		struct follow *follow = &run->hosts[to].follows[index];
		follow->generation++;
		follow->is_up = follow->is_telling = false;
		struct event broken = { .kind = FOLLOW_BROKEN,
					.host = to,
					.index = index,
					.generation = follow->generation };
		post(run, broken,
		     run->now_us + (is_silent ? SILENCE_US : half_trip_us(run, who, to)));
	}
}

static void
abandon_transfers(struct run *run, uint32_t who)
{
	const struct host *host = &run->hosts[who];
	while (host->transfer_count > 0)
		end_transfer(run, &run->transfers[host->transfers[0]], SWARM_DONE);
}

static void
vanish(struct run *run, const struct sim_absence *absence)
{
	uint32_t who = (uint32_t)absence->host;
	struct host *host = &run->hosts[who];
	host->is_there = false;
	host->queue_start = host->queue_count; /* nobody's turn comes any more */
	break_connections(run, who, absence->is_silent);
	if (host->swarm != NULL && !host->is_complete) {
		abandon_transfers(run, who);
		end_follows(run, who);
	}
	swarm_free(host->swarm);
	host->swarm = NULL;
	sim_net_links(run->net, run->now_us, who, 0, 0);
	if (absence->is_empty && !host->link->is_seed) {
		memset(host->bits, 0, (run->piece_count + 7) / 8);
		run->to_finish += host->is_complete;
		host->is_complete = false;
		host->finish_us = UINT64_MAX;
	}
	host->life++;
	post(run, (struct event){ .kind = APPEAR, .host = who }, absence->to_us);
}

/* --- the run --- */

static bool
is_of_follow(enum kind kind)
{
	return kind >= FOLLOWED;
}

static bool
is_void(const struct run *run, const struct event *event)
{
	const struct host *host = &run->hosts[event->host];
	if (event->kind == VANISH)
		return false;
	if (event->life != host->life)
		return true;
	if (event->kind <= TICK)
		return false;
	if (is_of_follow(event->kind))
		return host->is_complete ||
		       host->follows[event->index].generation != event->generation;
	return run->transfers[event->index].generation != event->generation;
}

static void
happen(struct run *run, const struct event *event)
{
	uint32_t who = event->host;
	switch (event->kind) {
	case APPEAR:
		appear(run, who);
		break;
	case VANISH:
		vanish(run, &run->sim->absences[event->index]);
		break;
	case TICK:
		tick(run, who);
		break;
	case ASKED:
		asked(run, &run->transfers[event->index]);
		break;
	case ARRIVED:
		arrived(run, &run->transfers[event->index], event->value);
		break;
	case REFUSED:
	case BROKEN:
		end_transfer(run, &run->transfers[event->index],
			     event->kind == REFUSED ? SWARM_LACKED : SWARM_FAILED);
		pump(run, who);
		break;
	case FOLLOWED:
		followed(run, event);
		break;
	case FOLLOW_BROKEN:
		follow_broken(run, event);
		break;
	case TOLD_ALL:
		told_all(run, event);
		break;
	case TELLING:
		telling(run, event);
		break;
	case TOLD:
		told(run, event);
		break;
	}
}

static void
play(struct run *run)
{
	while (run->to_finish > 0 && run->now_us < run->sim->limit_us) {
		uint64_t flow_us = sim_net_next_us(run->net, run->now_us);
		uint64_t event_us = run->heap_count != 0 ? run->heap[0].us : UINT64_MAX;
		if (flow_us == UINT64_MAX && event_us == UINT64_MAX)
			break;
		if (flow_us <= event_us) {
			run->now_us = flow_us > run->now_us ? flow_us : run->now_us;
			struct sim_flow *flow = sim_net_first(run->net);
			sent(run, &run->transfers[(uintptr_t)flow->arg]);
			continue;
		}
		struct event event = next_event(run);
		run->now_us = event.us;
		if (!is_void(run, &event))
			happen(run, &event);
		free(event.bits);
	}
}

static void
set_up(struct run *run)
{
	const struct sim *sim = run->sim;
	run->piece_count = (sim->size_bytes + sim->piece_bytes - 1) / sim->piece_bytes;
	run->net = sim_net_new(sim->host_count);
	run->hosts = mem_zero(sim->host_count, sizeof(*run->hosts));
	for (uint32_t i = 0; i < sim->host_count; i++) {
		struct host *host = &run->hosts[i];
		host->link = &sim->hosts[i];
		host->is_complete = host->link->is_seed;
		host->finish_us = UINT64_MAX;
		host->bits = mem_alloc((run->piece_count + 7) / 8);
		memset(host->bits, host->is_complete ? 0xff : 0, (run->piece_count + 7) / 8);
		run->to_finish += !host->is_complete;
		post(run, (struct event){ .kind = APPEAR, .host = i }, host->link->start_us);
	}
	for (uint32_t i = 0; i < sim->absence_count; i++) {
		struct event event = { .kind = VANISH,
				       .host = (uint32_t)sim->absences[i].host,
				       .index = i };
		post(run, event, sim->absences[i].from_us);
	}
}

static void
tear_down(struct run *run)
{
	for (size_t i = 0; i < run->sim->host_count; i++) {
		struct host *host = &run->hosts[i];
		swarm_free(host->swarm);
		free(host->bits);
		free(host->followers);
		free(host->log);
		free(host->queue);
		free(host->transfers);
	}
	for (size_t i = 0; i < run->heap_count; i++)
		free(run->heap[i].bits);
	free(run->hosts);
	free(run->heap);
	free(run->transfers);
	sim_net_free(run->net);
}

/* --- the result --- */

static int
by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static void
judge(const struct run *run)
{
	const struct sim *sim = run->sim;
	struct sim_result *ret = run->ret;
	double *ratios = mem_alloc((sim->host_count + 1) * sizeof(*ratios));
	double out_s = sim_bound_out_s(sim);
	for (size_t i = 0; i < sim->host_count; i++) {
		if (sim->hosts[i].is_seed)
			continue;
		bool is_done = run->hosts[i].finish_us != UINT64_MAX;
		double in_s = sim_bound_in_s(sim, i);
		double bound_s = in_s > out_s ? in_s : out_s;
		double finish_s = (double)(is_done ? run->hosts[i].finish_us : sim->limit_us) / 1e6;
		if (bound_s > ret->bound_s)
			ret->bound_s = bound_s;
		if (finish_s > ret->end_s)
			ret->end_s = finish_s;
		ret->finished += is_done;
		ratios[ret->fetchers++] = finish_s / bound_s;
	}
	qsort(ratios, ret->fetchers, sizeof(*ratios), by_size);
	ret->p50 = ratios[(ret->fetchers - 1) * 50 / 100];
	ret->p90 = ratios[(ret->fetchers - 1) * 90 / 100];
	ret->p99 = ratios[(ret->fetchers - 1) * 99 / 100];
	ret->worst = ratios[ret->fetchers - 1];
	free(ratios);
}

void
sim_run(const struct sim *sim, struct sim_result *ret)
{
	*ret = (struct sim_result){ .fingerprint = 0xcbf29ce484222325u };
	struct run run = {
		.sim = sim, .ret = ret, .random = sim->seed, .free_transfer = UINT32_MAX
	};
	set_up(&run);
	play(&run);
	judge(&run);
	ret->seed_copies = run.seed_bytes / (double)sim->size_bytes;
	ret->wasted = run.sent_bytes > 0 ? 1 - run.kept_bytes / run.sent_bytes : 0;
	tear_down(&run);
}
