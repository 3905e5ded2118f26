/* SPDX-License-Identifier: MIT
 *
 * peers_greet.c - greetings: who is here.
 *
 * One thing proves that a peer is here: its answer to a greeting of ours, with its id.  Whatever is
 * worth greeting has a `greeted`: when it is due, how long to wait after a failure, which address
 * is next.  peers (greeted at each heart-beat, or with back-off while away) and candidates (tried,
 * then dropped; seeds: tried for ever) share the sending and differ in what an end means.  The
 * numbers under way are bounded, and bounded apart, so that a crowd of sayings delays no
 * heart-beat.
 *
 * A few greetings leave in a heart-beat, however many peers there are: of many, each is greeted more
 * rarely.  Still somebody soon finds out that a peer is gone, and tells others, who then greet it
 * themselves (peers_gossip.c).  Of two that are here, whoever calls first saves the other the call.
 *
 * Failures: the first makes a peer suspect, PEERS_AWAY_FAILURES in a row away; each moves on to its
 * next address.  An answer by another id takes the address from the peer that was expected and is
 * as good as any other proof for the one that answered.
 *
 * A peer that flaps, or that others call back to life again and again, is asked at ever longer
 * intervals (peers_nudge); and so is one that only we cannot reach, of which every answer tells us
 * (is_heeded).  Whoever tells of somebody that we missed is greeted again soon, not at the next
 * heart-beat, as long as that goes on to help (ask_on): so two networks that meet are one soon.
 */
#include "peers_internal.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "log.h"
#include "mem.h"

struct greeting {
	struct peers *peers;
	struct peer *peer; /* one of these; NULL once it was removed */
	struct candidate *candidate;
	size_t *slots; /* that it is counted in */
	char address[NODE_ADDRESS_SIZE];
	struct transport_request *request;
};

/* What lasts longer after each failure, up to a bound. */
static void
back_off(struct peers *peers, struct greeted *greet, uint64_t max_ms)
{
	greet->back_off_ms =
	    greet->back_off_ms == 0 ? peers->pace.again_ms : 2 * greet->back_off_ms;
	if (greet->back_off_ms > max_ms)
		greet->back_off_ms = max_ms;
	greet->due_ms = clock_ms() + peers_jitter(peers, greet->back_off_ms);
}

bool
peers_may_again(const struct peers *peers, struct back_off *back_off)
{
	uint64_t now_ms = clock_ms(), wait_ms = 2 * back_off->wait_ms;

	if (now_ms < back_off->due_ms)
		return false;
	if (wait_ms == 0)
		wait_ms = peers->pace.again_ms;
	if (wait_ms > peers->pace.again_max_ms)
		wait_ms = peers->pace.again_max_ms;
	*back_off = (struct back_off){ .due_ms = now_ms + wait_ms, .wait_ms = wait_ms };
	return true;
}

/* The time between two greetings of each of so many, if about PEERS_BEAT_GREETINGS leave in a beat. */
static uint64_t
round_ms(uint64_t beat_ms, size_t count)
{
	return count > PEERS_BEAT_GREETINGS ? beat_ms * count / PEERS_BEAT_GREETINGS : beat_ms;
}

static uint64_t
beat_ms(const struct peers *peers)
{
	return peers->config->network_heartbeat_s * 1000ull;
}

/* Peers. */

void
peers_save(struct peers *peers, struct peer *peer)
{
	uint64_t now_ms = clock_ms();
	char addresses[NODE_ADDRESSES_MAX * NODE_ADDRESS_SIZE] = "";
	size_t len = 0;

	if (!peer->is_unsaved && now_ms - peer->saved_ms < peers->pace.save_ms)
		return;
	peer->is_unsaved = false;
	peer->saved_ms = now_ms;
	for (size_t i = 0; i < peer->addresses.count; i++)
		len += (size_t)snprintf(addresses + len, sizeof(addresses) - len, "%s%s",
					i > 0 ? " " : "", peer->addresses.items[i]);

	struct catalog_batch *batch = catalog_batch_new();
	catalog_batch_peer(batch, &(struct catalog_peer){
				      .id = peer->id,
				      .name = peer->name,
				      .addresses = addresses,
				      .heard_wall_ms = peer->heard_wall_ms,
				  });
	catalog_submit(peers->catalog, batch, NULL, NULL);
}

/* When one that was heard now is to be greeted. */
static uint64_t
next_beat_ms(struct peers *peers)
{
	uint64_t ms = round_ms(beat_ms(peers), peers->count - peers->away);

	/*
	 * A long time is spread from now on: those that came together would call all at once again and
	 * again, and one whom all have just seen would not be missed before the first of them calls.  The
	 * sooner of two calls, which saves the other, comes after 5/6 of the time.
	 */
	if (ms > beat_ms(peers))
		return clock_ms() + peers_random(peers) % (ms * 5 / 2);
	return clock_ms() + peers_jitter(peers, ms);
}

void
peers_heard(struct peers *peers, struct peer *peer)
{
	(void)peers;
	peer->heard_ms = clock_ms();
	peer->heard_wall_ms = clock_wall_ms();
	peer->silent_ms = (int64_t)peer->heard_ms;
}

/* One greeting shows two peers to each other, if they hear each other; but that we can reach it only
 * its answers show. */
void
peers_called(struct peers *peers, struct peer *peer)
{
	uint64_t unproven_ms =
	    PEERS_UNPROVEN_BEATS * round_ms(beat_ms(peers), peers->count - peers->away);

	peers_heard(peers, peer);
	if (peer->greet.greeting == NULL && peer->heard_ms - peer->proven_ms < unproven_ms)
		peer->greet.due_ms = next_beat_ms(peers);
}

void
peers_lose(struct peers *peers, struct peer *peer, uint64_t again_ms)
{
	uint64_t now_ms = clock_ms();

	peer->flaps = now_ms - peer->turned_ms < peers->pace.again_max_ms ? peer->flaps + 1 : 0;
	peers_set_state(peers, peer, PEER_AWAY);
	peer->turned_ms = now_ms;
	peer->greet.back_off_ms = again_ms;
	peer->greet.due_ms = now_ms + peers_jitter(peers, again_ms);
	peers_tell_event(peers, EVENT_PEER_AWAY, peer);
	peers_changed(peers, peer);
}

void
peers_nudge(struct peers *peers, struct peer *peer)
{
	const struct peers_pace *pace = &peers->pace;
	uint64_t now_ms = clock_ms();
	uint64_t due_ms = peer->greet.begun_ms + pace->again_ms;

	if (peer->state == PEER_HERE)
		return;
	if (peer->state == PEER_AWAY && peer->turned_ms > 0) {
		uint64_t wait_ms = peer->flaps < 16 ? pace->again_ms << peer->flaps : UINT64_MAX;

		if (wait_ms > pace->again_max_ms)
			wait_ms = pace->again_max_ms;
		if (due_ms < peer->turned_ms + wait_ms)
			due_ms = peer->turned_ms + wait_ms;
	}
	if (due_ms < now_ms)
		due_ms = now_ms;
	if (due_ms < peer->greet.due_ms)
		peer->greet.due_ms = due_ms;
}

static void
peer_failed(struct peers *peers, struct peer *peer)
{
	struct greeted *greet = &peer->greet;

	peer->failures++;
	greet->at++;
	if (peer->state == PEER_AWAY) {
		uint64_t most_ms = beat_ms(peers) < peers->pace.again_max_ms
				       ? beat_ms(peers)
				       : peers->pace.again_max_ms;

		back_off(peers, greet, round_ms(most_ms, peers->away));
		return;
	}
	if (peer->state == PEER_HERE || peer->failures >= PEERS_AWAY_FAILURES)
		peers_lost(peers, peer);
	if (peer->failures >= PEERS_AWAY_FAILURES) {
		peers_lose(peers, peer, peers->pace.again_ms);
		return;
	}
	greet->due_ms = clock_ms() + peers->pace.again_ms;
	if (peer->state == PEER_HERE) {
		peers_set_state(peers, peer, PEER_SUSPECT);
		peers_changed(peers, peer);
	}
}

/* Its addresses are now the one that answered and those that it claims.  True if that is news. */
static bool
take_addresses(struct peer *peer, const char *address, const struct node_record *theirs)
{
	char host[NODE_ADDRESS_SIZE];
	struct addresses claimed, now = { 0 };

	address_host(address, host);
	addresses_claimed(theirs, host, &claimed);
	/* What works is not given up for what somebody else said. */
	if (peer->state == PEER_HERE && peer->addresses.count > 0)
		addresses_add(&now, peer->addresses.items[0]);
	addresses_add(&now, address);
	for (size_t i = 0; i < claimed.count; i++)
		addresses_add(&now, claimed.items[i]);
	if (memcmp(&now, &peer->addresses, sizeof(now)) == 0)
		return false;
	peer->addresses = now;
	return true;
}

static bool
take_names(struct peer *peer, const struct node_record *theirs)
{
	bool is_new =
	    strcmp(peer->name, theirs->name) != 0 || strcmp(peer->version, theirs->version) != 0;

	snprintf(peer->name, sizeof(peer->name), "%s", theirs->name);
	snprintf(peer->version, sizeof(peer->version), "%s", theirs->version);
	return is_new;
}

/* Others see a peer that may be away here: is that a reason to try again? */
static bool
is_heeded(struct peers *peers, struct peer *peer)
{
	return peer->state != PEER_AWAY || peers_may_again(peers, &peer->heed);
}

/* Those that others know are worth a try, if we do not see them ourselves.  True if there are such. */
static bool
take_known(struct peers *peers, const char *address, const struct transport_greeting *greeting)
{
	char host[NODE_ADDRESS_SIZE];
	bool is_missed = false;

	address_host(address, host);
	for (size_t i = 0; i < greeting->known_count && i < NODE_KNOWN_MAX; i++) {
		const struct node_record *known = &greeting->known[i];
		struct peer *peer = peers_lookup(peers, known->id);
		struct addresses claimed;

		if (strcmp(known->id, peers->self.id) == 0)
			continue;
		if (peer != NULL) {
			peers_news(peer, known->epoch, known->seq, false);
			if (!is_heeded(peers, peer))
				continue;
			peers_nudge(peers, peer);
		}
		addresses_claimed(known, host, &claimed);
		if (peer != NULL && peer->state != PEER_AWAY)
			continue;
		is_missed = true;
		if (claimed.count > 0)
			peers_add_candidate(peers, known->id, host, &claimed);
	}
	return is_missed;
}

/* Who knew of some that we missed may know of more: he is asked on when these were tried.  One at a
 * time, for where many are missed everybody knows of some; and ever more rarely while it helps nothing,
 * for there may be some whom we never reach. */
static void
ask_on(struct peers *peers, struct peer *peer)
{
	size_t here = peers->count - peers->away;

	if (clock_ms() < peers->ask_on.due_ms)
		return;
	if (here != peers->ask_on_here)
		peers->ask_on.wait_ms = 0;
	peers->ask_on_here = here;
	peers_may_again(peers, &peers->ask_on);
	if (peers->ask_on.due_ms < peer->greet.due_ms)
		peer->greet.due_ms = peers->ask_on.due_ms;
}

/* The peer answered at this address. */
static void
peer_answered(struct peers *peers, struct peer *peer, const char *address,
	      const struct transport_greeting *greeting)
{
	const struct node_record *theirs = greeting->theirs;
	enum peer_state was = peer->state;
	bool is_new = take_addresses(peer, address, theirs);

	is_new = take_names(peer, theirs) || is_new;
	peer->file_count = theirs->file_count;
	peer->byte_count = theirs->byte_count;
	peer->round_trip_us =
	    peer->round_trip_us == 0
		? greeting->round_trip_us
		: (uint32_t)((7 * (uint64_t)peer->round_trip_us + greeting->round_trip_us) / 8);
	peers_heard(peers, peer);
	peer->proven_ms = peer->heard_ms;
	peers_set_state(peers, peer, PEER_HERE);
	peer->failures = 0;
	peer->heed = peer->contest = (struct back_off){ 0 };
	peer->greet.back_off_ms = 0;
	peer->greet.at = 0;
	peer->greet.due_ms = next_beat_ms(peers);
	if (is_new || was == PEER_AWAY) {
		peer->is_unsaved = true;
		peers_touch(peers, peer);
	}
	peers_save(peers, peer);
	if (was == PEER_AWAY) {
		peer->turned_ms = clock_ms();
		/* What was before, it hears of as a stranger; one that was here goes on from there. */
		if (peer->told_generation == 0)
			peer->told_generation = peers->generation;
		peers_tell_event(peers, EVENT_PEER_HERE, peer);
	}
	peers_news(peer, theirs->epoch, theirs->seq, true);
	if (take_known(peers, address, greeting))
		ask_on(peers, peer);
	if (is_new || was != PEER_HERE)
		peers_changed(peers, peer);
}

/* Whoever answered becomes known.  False if that is ourselves, or there is no room. */
static bool
adopt(struct peers *peers, const char *address, const struct transport_greeting *greeting)
{
	const char *id = greeting->theirs->id;

	if (strcmp(id, peers->self.id) == 0)
		return false;
	struct peer *peer = peers_lookup(peers, id);
	if (peer == NULL)
		peer = peers_add(peers, id);
	if (peer == NULL) {
		log_debug("%s is not remembered: %d peers are known already", address, PEERS_MAX);
		return false;
	}
	peer_answered(peers, peer, address, greeting);
	return true;
}

/* Candidates. */

/* Once, until it answers: it may be down, or its name be misspelt. */
static void
tell_missing(struct candidate *candidate, const struct error *err)
{
	if (!candidate->is_seed || candidate->is_told_missing)
		return;
	candidate->is_told_missing = true;
	log_info("Seed %s does not answer, and is tried again: %s", candidate->addresses.items[0],
		 err->text);
}

static void
candidate_failed(struct peers *peers, struct candidate *candidate, const struct error *err)
{
	struct greeted *greet = &candidate->greet;

	tell_missing(candidate, err);
	if (++greet->at % candidate->addresses.count != 0) {
		greet->due_ms = clock_ms();
		return;
	}
	candidate->tries++;
	if (!candidate->is_seed && candidate->tries >= PEERS_CANDIDATE_TRIES)
		peers_remove_candidate(peers, candidate);
	else
		back_off(peers, greet, peers->pace.again_max_ms);
}

static void
candidate_answered(struct peers *peers, struct candidate *candidate, const char *address,
		   const struct transport_greeting *greeting)
{
	const char *id = greeting->theirs->id;
	bool is_adopted = adopt(peers, address, greeting);

	if (!candidate->is_seed) {
		peers_remove_candidate(peers, candidate);
		return;
	}
	if (candidate->is_told_missing)
		log_info("Seed %s answers", address);
	candidate->is_told_missing = false;
	candidate->is_self = strcmp(id, peers->self.id) == 0;
	candidate->is_reached = is_adopted;
	snprintf(candidate->id, sizeof(candidate->id), "%s", id);
	if (!candidate->is_self && !is_adopted) {
		back_off(peers, &candidate->greet, peers->pace.again_max_ms);
		return;
	}
	candidate->greet.back_off_ms = 0;
	candidate->greet.due_ms = PEERS_NEVER;
}

static bool
is_listed(const struct config_list *list, const char *item)
{
	for (size_t i = 0; i < list->count; i++)
		if (strcmp(list->items[i], item) == 0)
			return true;
	return false;
}

void
peers_set_seeds(struct peers *peers, const struct config_list *seeds)
{
	/* First out, then in: so there is always room. */
	for (size_t i = peers->candidate_count; i-- > 0;) {
		struct candidate *candidate = peers->candidates[i];

		if (!candidate->is_seed || is_listed(seeds, candidate->addresses.items[0]))
			continue;
		if (candidate->greet.greeting != NULL)
			candidate->greet.greeting->candidate = NULL;
		candidate->greet.greeting = NULL;
		peers_remove_candidate(peers, candidate);
	}
	for (size_t i = 0; i < seeds->count; i++)
		peers_add_seed(peers, seeds->items[i]);
}

void
peers_seeds_lost(struct peers *peers, const char *id)
{
	for (size_t i = 0; i < peers->candidate_count; i++) {
		struct candidate *candidate = peers->candidates[i];

		if (!candidate->is_reached || strcmp(candidate->id, id) != 0)
			continue;
		candidate->is_reached = false;
		back_off(peers, &candidate->greet, peers->pace.again_max_ms);
	}
}

/* The sending. */

static void
on_greeted(void *arg, int code, const struct error *err, const struct transport_greeting *answer)
{
	struct greeting *greeting = arg;
	struct peers *peers = greeting->peers;
	struct peer *peer = greeting->peer;
	struct candidate *candidate = greeting->candidate;
	char address[NODE_ADDRESS_SIZE];

	memcpy(address, greeting->address, sizeof(address));
	--*greeting->slots;
	peers->requests--;
	free(greeting);
	if (peer != NULL)
		peer->greet.greeting = NULL;
	if (candidate != NULL)
		candidate->greet.greeting = NULL;
	if (peers->is_stopping)
		return;
	if (code != P2P_OK)
		log_debug("Greeting failed: %s", err->text);

	if (peer != NULL && code == P2P_OK && strcmp(answer->theirs->id, peer->id) == 0) {
		peer_answered(peers, peer, address, answer);
	} else if (peer != NULL) {
		if (code == P2P_OK)
			addresses_remove(&peer->addresses, address);
		peer_failed(peers, peer);
		if (code == P2P_OK)
			adopt(peers, address, answer);
	} else if (candidate != NULL && code == P2P_OK) {
		candidate_answered(peers, candidate, address, answer);
	} else if (candidate != NULL) {
		candidate_failed(peers, candidate, err);
	}
	peers_arm(peers);
}

static void
greet(struct peers *peers, struct peer *peer, struct candidate *candidate)
{
	struct greeted *greet = peer != NULL ? &peer->greet : &candidate->greet;
	const struct addresses *addresses = peer != NULL ? &peer->addresses : &candidate->addresses;
	struct greeting *greeting = mem_zero(1, sizeof(*greeting));
	const struct peer *called = peer != NULL ? peer : peers_lookup(peers, candidate->id);
	struct node_hello hello;

	greeting->peers = peers;
	greeting->peer = peer;
	greeting->candidate = candidate;
	greeting->slots =
	    peer != NULL && peer->state != PEER_AWAY ? &peers->greetings : &peers->tries;
	memcpy(greeting->address, addresses->items[greet->at % addresses->count],
	       NODE_ADDRESS_SIZE);
	++*greeting->slots;
	peers->requests++;
	greet->greeting = greeting;
	greet->begun_ms = clock_ms();
	greet->due_ms = PEERS_NEVER;
	peers_self(peers, &hello.node);
	peers_view(peers, called, &hello.view);
	greeting->request = peers->transport->ops->greet(peers->transport, greeting->address,
							 &hello, on_greeted, greeting);
}

/* Is it here already, at all of these addresses?  Many may have told of it before one of them led there. */
static bool
is_found(const struct peers *peers, const struct candidate *candidate)
{
	const struct peer *peer = candidate->is_seed ? NULL : peers_lookup(peers, candidate->id);

	if (peer == NULL || peer->state != PEER_HERE)
		return false;
	for (size_t i = 0; i < candidate->addresses.count; i++)
		if (!addresses_have(&peer->addresses, candidate->addresses.items[i]))
			return false;
	return true;
}

void
peers_greet_due(struct peers *peers, uint64_t now_ms)
{
	struct candidate *candidate;
	struct peer *peer;

	while (peers_turn(peers, now_ms, &peer, &candidate))
		if (candidate != NULL && is_found(peers, candidate))
			peers_remove_candidate(peers, candidate);
		else
			greet(peers, peer, candidate);
}
