/* SPDX-License-Identifier: MIT
 *
 * peers.c - who is in the network: the door of the module.
 *
 * A peers object is made, told what the catalog remembers, started; it then greets, pulls and tells
 * by itself until it is stopped.  All of that hangs from one timer, set to the next moment at which
 * anything is due: an idle daemon without peers and seeds does not wake.  peers_internal.h says
 * which file does what.
 *
 * What comes in from the network (registration, good-bye, notice) is never believed: it is a reason
 * to greet or to pull, and how often it can be one is bounded.
 *
 * peers_stop() says good-bye; requests that are under way then end with the transport.  What the
 * catalog still answers later finds no peers object any more, and needs none.
 */
#include "peers_internal.h"

#include <arpa/inet.h>
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "clock.h"
#include "log.h"
#include "mem.h"
#include "metrics.h"

const struct peers_pace peers_usual_pace = {
	.again_ms = 1000,
	.again_max_ms = 60000,
	.tell_ms = 50,
	.quiet_ms = 5000,
	.resync_ms = 60000,
	.unwritten_max_ms = 8000,
	.rpc_again_ms = 60000,
	.save_ms = 5 * 60000,
	.stop_ms = 1000,
	.grace_ms = 10 * 60000,
};

const char *
peer_state_name(enum peer_state state)
{
	switch (state) {
	case PEER_HERE:
		return "here";
	case PEER_SUSPECT:
		return "suspect";
	case PEER_AWAY:
		return "away";
	}
	return "?";
}

/* What the other files lean on. */

/* xorshift64: nothing secret hangs on it. */
uint64_t
peers_random(struct peers *peers)
{
	peers->random ^= peers->random << 13;
	peers->random ^= peers->random >> 7;
	peers->random ^= peers->random << 17;
	return peers->random;
}

uint64_t
peers_jitter(struct peers *peers, uint64_t ms)
{
	return ms - ms / 5 + peers_random(peers) % (2 * (ms / 5) + 1);
}

void
peers_tell_event(struct peers *peers, enum event_kind kind, const struct peer *peer)
{
	struct event *event = event_new(kind);

	memcpy(event->peer, peer->id, sizeof(event->peer));
	event->peer_name = peer->name[0] != '\0' ? mem_string(peer->name) : NULL;
	events_publish(peers->events, event);
}

void
peers_changed(struct peers *peers, const struct peer *peer)
{
	if (peers->on_change != NULL)
		peers->on_change(peers->on_change_arg, peer->id, peer->state);
}

/* Forgetting. */

/* When a peer that is away is to be forgotten; PEERS_NEVER for others. */
static uint64_t
forget_moment(const struct peers *peers, const struct peer *peer)
{
	int64_t moment_ms = peer->silent_ms + (int64_t)peers->config->network_forget_s * 1000;

	if (peer->state != PEER_AWAY || peer->greet.greeting != NULL || peer->pull != NULL ||
	    peer->telling != NULL)
		return PEERS_NEVER;
	return moment_ms > 0 ? (uint64_t)moment_ms : 0;
}

static void
forget(struct peers *peers, struct peer *peer)
{
	struct catalog_batch *batch = catalog_batch_new();
	char id[PEER_ID_SIZE];

	memcpy(id, peer->id, sizeof(id));
	catalog_batch_forget(batch, id, peer->name[0] != '\0' ? peer->name : NULL);
	catalog_submit(peers->catalog, batch, NULL, NULL);
	peers_tell_event(peers, EVENT_PEER_FORGOTTEN, peer);
	peers_remove(peers, peer);
	peers_seeds_lost(peers, id);
	if (peers->on_change != NULL)
		peers->on_change(peers->on_change_arg, id, PEER_AWAY);
}

static void
forget_due(struct peers *peers, uint64_t now_ms)
{
	/* Backwards, because the last one takes the place of one that goes. */
	for (size_t i = peers->count; i-- > 0;)
		if (forget_moment(peers, peers->all[i]) <= now_ms)
			forget(peers, peers->all[i]);
}

static uint64_t
forget_next(const struct peers *peers)
{
	uint64_t next_ms = PEERS_NEVER;

	for (size_t i = 0; i < peers->count; i++) {
		uint64_t moment_ms = forget_moment(peers, peers->all[i]);

		if (moment_ms < next_ms)
			next_ms = moment_ms;
	}
	return next_ms;
}

/* The timer. */

static uint64_t
earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

void
peers_arm(struct peers *peers)
{
	if (!peers->is_started || peers->is_stopping)
		return;
	peers->next.greet_ms = peers_greet_next(peers);
	peers->next.pull_ms = peers_pull_next(peers);
	peers->next.forget_ms = forget_next(peers);
	uint64_t next_ms = earlier(earlier(peers->next.greet_ms, peers->next.pull_ms),
				   earlier(peers->tell_due_ms, peers->next.forget_ms));
	uint64_t now_ms = clock_ms();

	if (next_ms == PEERS_NEVER)
		loop_timer_stop(peers->timer);
	else
		loop_timer_start(peers->timer, next_ms > now_ms ? next_ms - now_ms : 0);
}

static void
on_timer(void *arg)
{
	struct peers *peers = arg;
	uint64_t now_ms = clock_ms();

	if (peers->is_stopping) {
		loop_fn stopped = peers->stopped;

		peers->stopped = NULL;
		if (stopped != NULL)
			stopped(peers->stopped_arg);
		return;
	}
	if (peers->next.forget_ms <= now_ms)
		forget_due(peers, now_ms);
	if (peers->next.greet_ms <= now_ms)
		peers_greet_due(peers, now_ms);
	if (peers->next.pull_ms <= now_ms)
		peers_pull_due(peers, now_ms);
	peers_tell_due(peers, now_ms);
	peers_arm(peers);
}

/* Life. */

struct peers *
peers_new(struct loop *loop, struct transport *transport, struct catalog *catalog,
	  struct events *events, struct config *config, const struct node_record *self)
{
	struct peers *peers = mem_zero(1, sizeof(*peers));

	assert(loop_is_mine(loop));
	peers->loop = loop;
	peers->transport = transport;
	peers->catalog = catalog;
	peers->events = events;
	peers->config = config_ref(config);
	peers->self = *self;
	peers->pace = peers_usual_pace;
	peers->generation = 1;
	peers->mends = PEERS_MENDS_MAX;
	peers->tell_due_ms = PEERS_NEVER;
	peers->timer = loop_timer_new(loop, on_timer, peers);
	if (getrandom(&peers->random, sizeof(peers->random), GRND_NONBLOCK) < 0 ||
	    peers->random == 0)
		peers->random = clock_ms() | 1;
	return peers;
}

/* Those that the form check refuses now are left out. */
static void
remember_addresses(struct peer *peer, const char *list)
{
	while (*list != '\0') {
		size_t len = strcspn(list, " ");
		char address[NODE_ADDRESS_SIZE];

		if (len < sizeof(address)) {
			snprintf(address, sizeof(address), "%.*s", (int)len, list);
			if (node_address_check(address, NULL) == P2P_OK)
				addresses_add(&peer->addresses, address);
		}
		list += len;
		list += strspn(list, " ");
	}
}

void
peers_remember(struct peers *peers, const struct catalog_peer *told)
{
	assert(loop_is_mine(peers->loop) && !peers->is_started);
	if (strcmp(told->id, peers->self.id) == 0 || peers_lookup(peers, told->id) != NULL)
		return;
	struct peer *peer = peers_add(peers, told->id);
	if (peer == NULL)
		return;

	uint64_t now_ms = clock_ms();
	int64_t forget_ms = (int64_t)peers->config->network_forget_s * 1000;
	int64_t silent_ms = clock_wall_ms() - told->heard_wall_ms;
	/* The wall clock may be wrong: whatever it says, there is some time to show up. */
	int64_t silent_max_ms = forget_ms - (int64_t)peers->pace.grace_ms;

	if (silent_max_ms < 0)
		silent_max_ms = 0;
	if (silent_ms > silent_max_ms)
		silent_ms = silent_max_ms;
	peer->silent_ms = (int64_t)now_ms - (silent_ms > 0 ? silent_ms : 0);
	peer->heard_wall_ms = told->heard_wall_ms;
	peer->saved_ms = now_ms;
	peer->epoch = told->epoch;
	peer->seq = told->seq;
	peer->begun = told->floor;
	peer->file_count = told->file_count;
	peer->byte_count = told->byte_count;
	snprintf(peer->name, sizeof(peer->name), "%s", told->name != NULL ? told->name : "");
	remember_addresses(peer, told->addresses != NULL ? told->addresses : "");
	peer->greet.due_ms = 0;
}

void
peers_set_self(struct peers *peers, const struct node_record *self)
{
	assert(loop_is_mine(peers->loop));
	peers->self = *self;
}

void
peers_start(struct peers *peers)
{
	assert(loop_is_mine(peers->loop) && !peers->is_started);
	peers->is_started = true;
	peers_set_seeds(peers, &peers->config->network_seed);
	peers_arm(peers);
}

void
peers_configure(struct peers *peers, struct config *config)
{
	assert(loop_is_mine(peers->loop));
	config_ref(config);
	config_unref(peers->config);
	peers->config = config;
	if (!peers->is_started || peers->is_stopping)
		return;
	/* A heart-beat that became shorter shall not wait for the old one. */
	uint64_t latest_ms =
	    clock_ms() + peers_jitter(peers, config->network_heartbeat_s * 1000ull);
	for (size_t i = 0; i < peers->count; i++)
		if (peers->all[i]->state == PEER_HERE && peers->all[i]->greet.greeting == NULL)
			peers->all[i]->greet.due_ms =
			    earlier(peers->all[i]->greet.due_ms, latest_ms);
	peers_set_seeds(peers, &config->network_seed);
	peers_arm(peers);
}

void
peers_stop(struct peers *peers, loop_fn done, void *arg)
{
	assert(loop_is_mine(peers->loop) && !peers->is_stopping);
	peers->is_stopping = true;
	peers->stopped = done;
	peers->stopped_arg = arg;
	if (peers->is_started)
		peers_leave_all(peers);
	loop_timer_start(peers->timer, peers->leavings > 0 ? peers->pace.stop_ms : 0);
}

void
peers_free(struct peers *peers)
{
	if (peers == NULL)
		return;
	assert(loop_is_mine(peers->loop) && peers->requests == 0);
	peers_drop_commits(peers);
	while (peers->candidate_count > 0)
		peers_remove_candidate(peers, peers->candidates[0]);
	while (peers->count > 0)
		peers_remove(peers, peers->all[0]);
	loop_timer_free(peers->timer);
	config_unref(peers->config);
	free(peers);
}

/* What others say. */

void
peers_self(const struct peers *peers, struct node_record *ret)
{
	struct catalog_head head;

	assert(loop_is_mine(peers->loop));
	catalog_head(peers->catalog, &head);
	*ret = peers->self;
	ret->epoch = head.epoch;
	ret->seq = head.seq;
	ret->file_count = head.file_count;
	ret->byte_count = head.byte_count;
}

/* IPv4 in IPv6, as a dual-stack listener sees it, without the wrapping. */
static const char *
plain_host(const char *host)
{
	static const char wrapping[] = "::ffff:";
	struct in_addr four;
	bool is_wrapped = strncasecmp(host, wrapping, sizeof(wrapping) - 1) == 0 &&
			  inet_pton(AF_INET, host + sizeof(wrapping) - 1, &four) == 1;

	return is_wrapped ? host + sizeof(wrapping) - 1 : host;
}

/* A caller whom we know: `claimed` are its addresses as it says. */
static void
take_registration(struct peers *peers, struct peer *peer, const struct node_record *theirs,
		  const char *from_host, const struct addresses *claimed)
{
	bool is_new = false;

	for (size_t i = 0; i < claimed->count; i++)
		is_new = is_new || !addresses_have(&peer->addresses, claimed->items[i]);
	if (is_new)
		peers_add_candidate(peers, theirs->id, from_host, claimed);
	if (peer->state == PEER_HERE && addresses_have_host(&peer->addresses, from_host))
		peers_called(peers, peer);
	peers_nudge(peers, peer);
	peers_news(peer, theirs->epoch, theirs->seq, false);
}

/* A caller whom we do not know.  False if there is no room. */
static bool
take_stranger(struct peers *peers, const char *id, const char *from_host,
	      const struct addresses *claimed)
{
	struct candidate *candidate =
	    peers->count < PEERS_MAX ? peers_add_candidate(peers, id, from_host, claimed) : NULL;

	if (candidate == NULL)
		return false;
	/* Others may have told of it before it was up, and it is not to wait until we try again. */
	if (candidate->greet.greeting == NULL && addresses_have_host(claimed, from_host))
		candidate->greet.due_ms = earlier(candidate->greet.due_ms,
						  candidate->greet.begun_ms + peers->pace.again_ms);
	return true;
}

int
peers_registered(struct peers *peers, const struct node_hello *hello, const char *from_host,
		 struct node_record **ret_known, size_t *ret_count, struct error *err)
{
	const struct node_record *theirs = &hello->node;
	const char *host = plain_host(from_host);
	struct addresses claimed;

	assert(loop_is_mine(peers->loop));
	if (node_check(theirs, err) != P2P_OK)
		return P2P_BAD_REQUEST;
	if (strcmp(theirs->id, peers->self.id) == 0)
		return error_set(err, P2P_BAD_REQUEST, "\"id\" is that of this peer");

	struct peer *peer = peers_lookup(peers, theirs->id);
	addresses_claimed(theirs, host, &claimed);
	if (peer != NULL) {
		take_registration(peers, peer, theirs, host, &claimed);
	} else if (claimed.count > 0 && !take_stranger(peers, theirs->id, host, &claimed)) {
		return error_set(err, P2P_TOO_MANY, "This peer knows too many others already");
	}
	/* Without an address that we could call, a caller gets its answer and no more. */
	peers_tell_known(peers, peer, &hello->view, ret_known, ret_count);
	peers_arm(peers);
	return P2P_OK;
}

int
peers_left(struct peers *peers, const char *id, const char *from_host)
{
	assert(loop_is_mine(peers->loop));
	struct peer *peer = peers_lookup(peers, id);

	if (peer == NULL)
		return P2P_NOT_FOUND;
	if (peer->state == PEER_AWAY)
		return P2P_OK;
	if (!addresses_have_host(&peer->addresses, plain_host(from_host))) {
		peers_doubt(peers, id);
		return P2P_OK;
	}
	/* When it comes back it registers; until then there is no hurry. */
	peers_lose(peers, peer, peers->pace.again_max_ms);
	peers_arm(peers);
	return P2P_OK;
}

int
peers_noticed(struct peers *peers, const struct notice *notice)
{
	assert(loop_is_mine(peers->loop));
	struct peer *peer = peers_lookup(peers, notice->peer);

	metrics_add(METRIC_NOTICES_IN, 1);
	if (peer == NULL)
		return P2P_NOT_FOUND;
	if (notice->is_lost) {
		peers_doubt(peers, notice->peer);
	} else if (peers_news(peer, notice->epoch, notice->seq, false)) {
		peer->is_noticed = true;
		peers_arm(peers);
	}
	return P2P_OK;
}

void
peers_tell(struct peers *peers)
{
	assert(loop_is_mine(peers->loop));
	/* The first change at once; what follows closely is gathered. */
	if (peers->tell_due_ms == PEERS_NEVER)
		peers->tell_due_ms = peers->told_ms + peers->pace.tell_ms;
	peers_arm(peers);
}

void
peers_doubt(struct peers *peers, const char *id)
{
	assert(loop_is_mine(peers->loop));
	struct peer *peer = peers_lookup(peers, id);

	if (peer == NULL || peer->state == PEER_AWAY || peer->greet.greeting != NULL)
		return;
	peer->greet.due_ms =
	    earlier(peer->greet.due_ms, peer->greet.begun_ms + peers->pace.again_ms);
	peers_arm(peers);
}

/* What is asked of us. */

static void
describe(const struct peer *peer, struct peer_info *ret)
{
	*ret = (struct peer_info){
		.state = peer->state,
		.round_trip_us = peer->round_trip_us,
		.file_count = peer->file_count,
		.byte_count = peer->byte_count,
		.epoch = peer->epoch,
		.seq = peer->seq,
		.heard_ms_ago =
		    peer->heard_ms == PEERS_NEVER ? UINT64_MAX : clock_ms() - peer->heard_ms,
		.heard_wall_ms = peer->heard_wall_ms,
	};
	memcpy(ret->id, peer->id, sizeof(ret->id));
	memcpy(ret->name, peer->name, sizeof(ret->name));
	memcpy(ret->version, peer->version, sizeof(ret->version));
	if (peer->addresses.count > 0)
		memcpy(ret->address, peer->addresses.items[0], sizeof(ret->address));
	for (enum wire wire = WIRE_REST; wire < WIRE_COUNT; wire++)
		addresses_by_wire(&peer->addresses, wire, ret->wire_address[wire]);
}

static int
compare_infos(const void *a, const void *b)
{
	const struct peer_info *left = a, *right = b;
	int order = strcmp(left->name, right->name);

	return order != 0 ? order : strcmp(left->id, right->id);
}

struct peer_info *
peers_list(const struct peers *peers, size_t *ret_count)
{
	assert(loop_is_mine(peers->loop));
	struct peer_info *list = mem_zero(peers->count + 1, sizeof(*list));

	for (size_t i = 0; i < peers->count; i++)
		describe(peers->all[i], &list[i]);
	qsort(list, peers->count, sizeof(*list), compare_infos);
	*ret_count = peers->count;
	return list;
}

bool
peers_find(const struct peers *peers, const char *id, struct peer_info *ret)
{
	assert(loop_is_mine(peers->loop));
	const struct peer *peer = peers_lookup(peers, id);

	if (peer == NULL)
		return false;
	describe(peer, ret);
	return true;
}

bool
peers_at(const struct peers *peers, const char *address, char ret_id[PEER_ID_SIZE])
{
	assert(loop_is_mine(peers->loop));
	for (size_t i = 0; i < peers->count; i++)
		if (addresses_have(&peers->all[i]->addresses, address)) {
			memcpy(ret_id, peers->all[i]->id, PEER_ID_SIZE);
			return true;
		}
	return false;
}

void
peers_on_change(struct peers *peers, void (*fn)(void *arg, const char *id, enum peer_state state),
		void *arg)
{
	assert(loop_is_mine(peers->loop));
	peers->on_change = fn;
	peers->on_change_arg = arg;
}
