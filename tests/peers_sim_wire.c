/* SPDX-License-Identifier: MIT
 *
 * peers_sim_wire.c - the wire between simulated peers.
 *
 * A request takes half a round trip to its peer and half back, 0.2 to 20 ms for each pair.  There it is answered by what answers it in
 * the daemon: the peers module, or for a page of changes the catalog.  Who is dead refuses at once, or lets it run into the
 * time-out of a connect; so does a cut.
 *
 * What a message weighs: its JSON, for it is REST that peers know of each other first; the header of HTTP as it is sent to a daemon
 * and by one, and the segments of a connection of its own, for an idle one is not kept so long.  The JSON of pages is made by the
 * daemon's own encoder; that of smaller messages is reckoned from their parts, and of every CHECK_EACH-th compared with what the
 * encoder makes.
 */
#include "peers_sim_wire.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"
#include "peers_internal.h"
#include "peers_sim_clock.h"
#include "wire_json.h"

#define CHECK_EACH     64
#define REQUEST_HEADER 210 /* bytes of HTTP before a body */
#define ANSWER_HEADER  180
#define CALLER_TCP     (60 + 5 * 52) /* SYN, and ACK, request, ACK, FIN, ACK, without what they carry */
#define CALLED_TCP     (60 + 4 * 52)

enum kind { GREET, LEAVE, NOTIFY, PULL };

struct message {
	struct sim_host *from, *to;
	struct peers *asker; /* of `from`; its life may be over when the answer comes */
	enum kind kind;
	uint64_t half_us;
	struct node_hello hello;
	char peer[PEER_ID_SIZE];
	struct notice notice;
	struct change_question question; /* of `peer` */
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
is_cut(const struct sim_host *from, const struct sim_host *to)
{
	const struct sim_net *net = from->net;

	return (from->index < net->cut) != (to->index < net->cut) ||
	       (from == net->one_way.from && to == net->one_way.to);
}

bool
sim_host_reaches(const struct sim_host *from, const struct sim_host *to)
{
	return to->peers != NULL && !is_cut(from, to);
}

/* 0.1 to 10 ms, the same for a pair in both directions. */
static uint64_t
half_trip_us(const struct sim_host *a, const struct sim_host *b)
{
	uint64_t low = a->index < b->index ? a->index : b->index, high = a->index + b->index - low;

	return 100 + (low * 7919 + high * 104729) % 9900;
}

/* --- what a message weighs --- */

static size_t
measure(char *text)
{
	size_t bytes = strlen(text);

	free(text);
	return bytes;
}

static size_t
digits(uint64_t number)
{
	size_t count = 1;

	for (; number >= 10; number /= 10)
		count++;
	return count;
}

/* An empty one has a digit for each number. */
static size_t
weigh_record(const struct node_record *record)
{
	static size_t empty;
	size_t bytes = strlen(record->id) + strlen(record->name) + strlen(record->version) +
		       digits(record->epoch) + digits(record->seq) + digits(record->file_count) +
		       digits(record->byte_count) - 4;

	if (empty == 0)
		empty = measure(wire_register_request(&(struct node_hello){ 0 }));
	for (size_t i = 0; i < record->address_count; i++)
		bytes += strlen(record->addresses[i]) + 2 + (i > 0);
	return empty + bytes;
}

/* Each sum with a comma or the closing bracket behind it. */
static size_t
weigh_view(const struct node_view *view)
{
	size_t bytes = view->is_told ? strlen(",\"view\":[") : 0;

	for (size_t i = 0; view->is_told && i < NODE_VIEW_SUMS; i++)
		bytes += digits(view->sums[i]) + 1;
	return bytes;
}

static size_t
weigh_registered(const struct message *message)
{
	static const struct node_record nobody;
	static size_t empty;
	size_t bytes = weigh_record(&message->theirs);

	if (empty == 0)
		empty = measure(wire_register_answer(&nobody, NULL, 0)) - weigh_record(&nobody);
	for (size_t i = 0; i < message->known_count; i++)
		bytes += weigh_record(&message->known[i]) + (i > 0);
	return empty + bytes;
}

static size_t
weigh_notice(const struct notice *notice)
{
	static size_t empty[2];
	size_t *mine = &empty[notice->is_lost];

	if (*mine == 0)
		*mine = measure(wire_notice(&(struct notice){ .is_lost = notice->is_lost }));
	return *mine + strlen(notice->peer) + digits(notice->epoch) + digits(notice->seq) - 2;
}

/* Of some messages, lest the encoders be most of what a simulation does. */
static bool
is_checked(void)
{
	static unsigned turn;

	return turn++ % CHECK_EACH == 0;
}

static size_t
weigh_request(const struct message *message)
{
	size_t bytes = 0;

	if (message->kind == GREET) {
		bytes = weigh_record(&message->hello.node) + weigh_view(&message->hello.view);
		if (is_checked())
			ck_assert_uint_eq(bytes, measure(wire_register_request(&message->hello)));
	} else if (message->kind == NOTIFY) {
		bytes = weigh_notice(&message->notice);
		if (is_checked())
			ck_assert_uint_eq(bytes, measure(wire_notice(&message->notice)));
	}
	return REQUEST_HEADER + CALLER_TCP + bytes;
}

static size_t
weigh_answer(const struct message *message)
{
	size_t bytes = 0;

	if (message->kind == GREET && message->code == P2P_OK) {
		bytes = weigh_registered(message);
		if (is_checked())
			ck_assert_uint_eq(
			    bytes, measure(wire_register_answer(&message->theirs, message->known,
								message->known_count)));
	} else if (message->kind == PULL && message->code == P2P_OK) {
		bytes = measure(wire_changes(message->page));
	}
	return ANSWER_HEADER + CALLED_TCP + bytes;
}

/* --- what becomes of it --- */

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

static void
answer(struct message *message)
{
	struct sim_host *to = message->to;
	struct error err;

	switch (message->kind) {
	case GREET:
		message->code = peers_registered(to->peers, &message->hello, message->from->name,
						 &message->known, &message->known_count, &err);
		peers_self(to->peers, &message->theirs);
		break;
	case LEAVE:
		peers_left(to->peers, message->peer, message->from->name);
		break;
	case NOTIFY:
		message->code = peers_noticed(to->peers, &message->notice);
		break;
	case PULL:
		message->code = catalog_changes(to->catalog, &message->question, &message->page);
		break;
	}
	to->sent.bytes += weigh_answer(message);
}

static void
arrive(void *arg)
{
	struct message *message = arg;
	struct sim_host *to = message->to;
	uint64_t back_us = message->half_us;

	if (sim_host_reaches(message->from, to)) {
		answer(message);
	} else {
		message->code = P2P_UNREACHABLE;
		if (is_cut(message->from, to) || to->is_silent)
			back_us = TRANSPORT_CONNECT_MS * 1000;
	}
	sim_post(back_us, come_back, message);
}

static struct message *
post(struct transport *transport, enum kind kind, const char *address, void *arg)
{
	struct message *message = mem_zero(1, sizeof(*message));
	struct sim_host *from = (struct sim_host *)transport;
	unsigned high, low;

	address = strstr(address, "://");
	if (sscanf(address, "://10.1.%u.%u:", &high, &low) != 2)
		abort();
	message->from = from;
	message->asker = from->peers;
	message->to = &from->net->hosts[high * 250 + low];
	message->kind = kind;
	message->arg = arg;
	message->half_us = half_trip_us(from, message->to);
	sim_post(message->half_us, arrive, message);
	return message;
}

static struct transport_request *
send_off(struct message *message)
{
	message->from->sent.messages++;
	message->from->sent.bytes += weigh_request(message);
	return NULL;
}

static struct transport_request *
wire_greet(struct transport *transport, const char *address, const struct node_hello *hello,
	   transport_greet_fn fn, void *arg)
{
	struct message *message = post(transport, GREET, address, arg);

	message->hello = *hello;
	message->fn.greet = fn;
	return send_off(message);
}

static struct transport_request *
wire_leave(struct transport *transport, const char *address, const char *self, transport_done_fn fn,
	   void *arg)
{
	struct message *message = post(transport, LEAVE, address, arg);

	snprintf(message->peer, sizeof(message->peer), "%s", self);
	message->fn.done = fn;
	return send_off(message);
}

static struct transport_request *
wire_notify(struct transport *transport, const char *address, const struct notice *notice,
	    transport_done_fn fn, void *arg)
{
	struct message *message = post(transport, NOTIFY, address, arg);

	message->notice = *notice;
	message->fn.done = fn;
	return send_off(message);
}

static struct transport_request *
wire_pull(struct transport *transport, const char *address, const struct change_question *question,
	  transport_pull_fn fn, void *arg)
{
	struct message *message = post(transport, PULL, address, arg);

	snprintf(message->peer, sizeof(message->peer), "%s", question->peer);
	message->question = *question;
	message->question.peer = message->peer;
	message->fn.pull = fn;
	return send_off(message);
}

static const struct transport_ops wire_ops = { .name = "simulated",
					       .greet = wire_greet,
					       .leave = wire_leave,
					       .notify = wire_notify,
					       .pull = wire_pull };

/* --- hosts --- */

void
sim_net_init(struct sim_net *net, size_t count)
{
	*net =
	    (struct sim_net){ .hosts = mem_zero(count, sizeof(struct sim_host)), .count = count };
	for (size_t i = 0; i < count; i++) {
		struct sim_host *host = &net->hosts[i];

		host->transport.ops = &wire_ops;
		host->net = net;
		host->index = i;
		snprintf(host->name, sizeof(host->name), "10.1.%zu.%zu", i / 250, i % 250);
	}
}

void
sim_net_fini(struct sim_net *net)
{
	free(net->hosts);
}

void
sim_host_stop(struct sim_host *host)
{
	struct peers *dead = host->peers;

	host->peers = NULL;
	loop_timer_stop(dead->timer);
	dead->is_stopping = true;
	free_if_done(dead);
}

struct sim_traffic
sim_host_sent(struct sim_host *host)
{
	struct sim_traffic sent = host->sent;

	host->sent = (struct sim_traffic){ 0 };
	return sent;
}
