/* SPDX-License-Identifier: MIT
 *
 * peers_table.c - peers and candidates, and their addresses.
 *
 * A peer is somebody who answered a greeting with this id, now or in an earlier run.  A candidate
 * is a saying: "somebody, or this id, is at these addresses".  The two are kept apart so that
 * nobody can put an address under another's name or crowd out a peer that is here: a saying only
 * leads to a greeting, and what answers becomes, or improves, a peer.
 *
 * Both tables are bounded, and of the candidates each host that says things has a bounded part.  A
 * saying of the same id by the same host replaces the earlier one.  What several hosts say alike is
 * one candidate, or the table would be full of a newcomer that all tell of, and have no room for the
 * next; but none of them can replace it any more, for then one could take back what another said.
 */
#include "peers_internal.h"

#include <arpa/inet.h>
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "log.h"
#include "mem.h"

/* Addresses. */

static size_t
index_of(const struct addresses *addresses, const char *address)
{
	size_t i = 0;

	while (i < addresses->count && strcmp(addresses->items[i], address) != 0)
		i++;
	return i;
}

bool
addresses_have(const struct addresses *addresses, const char *address)
{
	return index_of(addresses, address) < addresses->count;
}

/* In whatever order. */
static bool
addresses_equal(const struct addresses *a, const struct addresses *b)
{
	if (a->count != b->count)
		return false;
	for (size_t i = 0; i < a->count; i++)
		if (!addresses_have(b, a->items[i]))
			return false;
	return true;
}

void
addresses_add(struct addresses *addresses, const char *address)
{
	if (addresses_have(addresses, address) || addresses->count == NODE_ADDRESSES_MAX)
		return;
	snprintf(addresses->items[addresses->count++], NODE_ADDRESS_SIZE, "%s", address);
}

void
addresses_remove(struct addresses *addresses, const char *address)
{
	size_t at = index_of(addresses, address);

	if (at == addresses->count)
		return;
	addresses->count--;
	memmove(addresses->items[at], addresses->items[at + 1],
		(addresses->count - at) * sizeof(addresses->items[0]));
}

void
addresses_prefer(struct addresses *addresses, const char *address)
{
	char kept[NODE_ADDRESS_SIZE]; /* `address` may be one of the items */

	snprintf(kept, sizeof(kept), "%s", address);
	addresses_remove(addresses, kept);
	if (addresses->count == NODE_ADDRESSES_MAX)
		addresses->count--;
	memmove(addresses->items[1], addresses->items[0],
		addresses->count * sizeof(addresses->items[0]));
	addresses->count++;
	memcpy(addresses->items[0], kept, sizeof(kept));
}

/* The host and the port behind it. */
static bool
split(const char *address, char ret_host[NODE_ADDRESS_SIZE], const char **ret_port)
{
	const char *begin = strstr(address, "://");
	const char *colon = strrchr(address, ':');

	if (begin == NULL || colon <= begin + 3)
		return false;
	begin += 3;
	const char *stop = colon;
	if (*begin == '[' && stop[-1] == ']') {
		begin++;
		stop--;
	}
	snprintf(ret_host, NODE_ADDRESS_SIZE, "%.*s", (int)(stop - begin), begin);
	*ret_port = colon + 1;
	return true;
}

bool
address_host(const char *address, char ret_host[NODE_ADDRESS_SIZE])
{
	const char *ignored;

	return split(address, ret_host, &ignored);
}

bool
addresses_have_host(const struct addresses *addresses, const char *host)
{
	char theirs[NODE_ADDRESS_SIZE];

	for (size_t i = 0; i < addresses->count; i++)
		if (address_host(addresses->items[i], theirs) && strcmp(theirs, host) == 0)
			return true;
	return false;
}

void
addresses_by_wire(const struct addresses *addresses, enum wire wire, char ret[NODE_ADDRESS_SIZE])
{
	char best[NODE_ADDRESS_SIZE], host[NODE_ADDRESS_SIZE];
	const char *found = NULL;

	ret[0] = '\0';
	if (addresses->count == 0 || !address_host(addresses->items[0], best))
		return;
	for (size_t i = 0; i < addresses->count; i++) {
		const char *address = addresses->items[i];

		if (node_address_wire(address) != wire || !address_host(address, host))
			continue;
		if (found == NULL)
			found = address;
		if (strcmp(host, best) == 0) {
			found = address;
			break;
		}
	}
	if (found != NULL)
		snprintf(ret, NODE_ADDRESS_SIZE, "%s", found);
}

static bool
is_wildcard(const char *host)
{
	struct in_addr four;
	struct in6_addr six;

	return (inet_pton(AF_INET, host, &four) == 1 && four.s_addr == INADDR_ANY) ||
	       (inet_pton(AF_INET6, host, &six) == 1 && IN6_IS_ADDR_UNSPECIFIED(&six));
}

/* One address that somebody claims, made usable.  False if it is not believed. */
static bool
take_claim(const char *claim, const char *from_host, char ret[NODE_ADDRESS_SIZE])
{
	char host[NODE_ADDRESS_SIZE];
	const char *port;

	if (!split(claim, host, &port))
		return false;
	if (is_wildcard(host))
		node_address_make(node_address_wire(claim), from_host, (uint16_t)atoi(port), ret);
	else if (config_is_loopback(host) && !config_is_loopback(from_host))
		return false;
	else
		snprintf(ret, NODE_ADDRESS_SIZE, "%s", claim);
	return true;
}

void
addresses_claimed(const struct node_record *theirs, const char *from_host, struct addresses *ret)
{
	char address[NODE_ADDRESS_SIZE];

	*ret = (struct addresses){ 0 };
	for (enum wire wire = WIRE_REST; wire < WIRE_COUNT; wire++)
		for (size_t i = 0; i < theirs->address_count; i++)
			if (node_address_wire(theirs->addresses[i]) == wire &&
			    take_claim(theirs->addresses[i], from_host, address))
				addresses_add(ret, address);
}

/* Peers. */

static size_t
bucket_index(const char *id)
{
	uint32_t hash = 2166136261u; /* FNV-1a */

	for (const char *c = id; *c != '\0'; c++)
		hash = (hash ^ (unsigned char)*c) * 16777619u;
	return hash % PEERS_BUCKETS;
}

static struct peer **
bucket_of(const struct peers *peers, const char *id)
{
	return (struct peer **)&peers->buckets[bucket_index(id)];
}

struct peer *
peers_lookup(const struct peers *peers, const char *id)
{
	struct peer *peer = *bucket_of(peers, id);

	while (peer != NULL && strcmp(peer->id, id) != 0)
		peer = peer->next_same;
	return peer;
}

struct peer *
peers_add(struct peers *peers, const char *id)
{
	assert(peers_lookup(peers, id) == NULL);
	if (peers->count == PEERS_MAX)
		return NULL;

	struct peer *peer = mem_zero(1, sizeof(*peer));
	struct peer **bucket = bucket_of(peers, id);

	snprintf(peer->id, sizeof(peer->id), "%s", id);
	peer->mark = peers_mark(id);
	peer->state = PEER_AWAY;
	peer->heard_ms = PEERS_NEVER;
	peer->greet.due_ms = PEERS_NEVER;
	peer->next_same = *bucket;
	*bucket = peer;
	peers->all[peers->count++] = peer;
	peers->away++;
	return peer;
}

void
peers_set_state(struct peers *peers, struct peer *peer, enum peer_state state)
{
	if ((peer->state == PEER_AWAY) != (state == PEER_AWAY))
		peers_view_turn(peers, peer);
	peers->away += state == PEER_AWAY;
	peers->away -= peer->state == PEER_AWAY;
	peer->state = state;
}

void
peers_remove(struct peers *peers, struct peer *peer)
{
	assert(peer->greet.greeting == NULL && peer->pull == NULL && peer->telling == NULL &&
	       peer->leaving == NULL);
	peers_set_state(peers, peer, PEER_AWAY);
	peers->away--;
	for (struct peer **at = bucket_of(peers, peer->id); *at != NULL; at = &(*at)->next_same)
		if (*at == peer) {
			*at = peer->next_same;
			break;
		}
	for (size_t i = 0; i < peers->count; i++)
		if (peers->all[i] == peer) {
			peers->all[i] = peers->all[--peers->count];
			break;
		}
	free(peer);
}

void
peers_record(const struct peer *peer, struct node_record *ret)
{
	*ret = (struct node_record){
		.address_count = peer->addresses.count,
		.epoch = peer->epoch,
		.seq = peer->seq,
		.file_count = peer->file_count,
		.byte_count = peer->byte_count,
	};
	memcpy(ret->id, peer->id, sizeof(ret->id));
	memcpy(ret->name, peer->name, sizeof(ret->name));
	memcpy(ret->version, peer->version, sizeof(ret->version));
	memcpy(ret->addresses, peer->addresses.items, sizeof(ret->addresses));
}

/* Candidates. */

static struct candidate **
candidates_of(const struct peers *peers, const char *id)
{
	return (struct candidate **)&peers->candidate_buckets[bucket_index(id)];
}

/* The one that says the same, whoever said it first; else the one that this host may replace. */
static struct candidate *
find_candidate(const struct peers *peers, const char *id, const char *said_by,
	       const struct addresses *addresses)
{
	struct candidate *replaced = NULL;

	for (struct candidate *at = *candidates_of(peers, id); at != NULL; at = at->next_same) {
		if (strcmp(at->id, id) != 0)
			continue;
		if (addresses_equal(&at->addresses, addresses))
			return at;
		if (!at->is_shared && strcmp(at->said_by, said_by) == 0)
			replaced = at;
	}
	return replaced;
}

static size_t
count_said(const struct peers *peers, const char *said_by)
{
	size_t count = 0;

	for (size_t i = 0; i < peers->candidate_count; i++)
		count += !peers->candidates[i]->is_seed &&
			 strcmp(peers->candidates[i]->said_by, said_by) == 0;
	return count;
}

struct candidate *
peers_add_candidate(struct peers *peers, const char *id, const char *said_by,
		    const struct addresses *addresses)
{
	struct candidate *candidate = find_candidate(peers, id, said_by, addresses);

	if (candidate != NULL) {
		candidate->is_shared =
		    candidate->is_shared || strcmp(candidate->said_by, said_by) != 0;
		candidate->addresses = *addresses;
		return candidate;
	}
	if (peers->candidate_count >= PEERS_CANDIDATES_MAX ||
	    count_said(peers, said_by) >= PEERS_CANDIDATES_HOST)
		return NULL;
	candidate = mem_zero(1, sizeof(*candidate));
	snprintf(candidate->id, sizeof(candidate->id), "%s", id);
	snprintf(candidate->said_by, sizeof(candidate->said_by), "%s", said_by);
	candidate->addresses = *addresses;
	candidate->greet.due_ms = clock_ms(); /* behind those that wait already */
	candidate->next_same = *candidates_of(peers, id);
	*candidates_of(peers, id) = candidate;
	peers->candidates[peers->candidate_count++] = candidate;
	return candidate;
}

static bool
has_seed(const struct peers *peers, const char *address)
{
	for (size_t i = 0; i < peers->candidate_count; i++)
		if (peers->candidates[i]->is_seed &&
		    strcmp(peers->candidates[i]->addresses.items[0], address) == 0)
			return true;
	return false;
}

void
peers_add_seed(struct peers *peers, const char *address)
{
	struct error err;

	if (has_seed(peers, address))
		return;
	if (node_address_check(address, &err) != P2P_OK) {
		log_warn("Seed is ignored: %s", err.text);
		return;
	}
	struct candidate *candidate = mem_zero(1, sizeof(*candidate));
	candidate->is_seed = true;
	addresses_add(&candidate->addresses, address);
	peers->candidates[peers->candidate_count++] = candidate;
}

void
peers_remove_candidate(struct peers *peers, struct candidate *candidate)
{
	assert(candidate->greet.greeting == NULL);
	/* A seed is in no bucket: who it is, is not known before it answers. */
	for (struct candidate **at = candidates_of(peers, candidate->id); *at != NULL;
	     at = &(*at)->next_same)
		if (*at == candidate) {
			*at = candidate->next_same;
			break;
		}
	for (size_t i = 0; i < peers->candidate_count; i++)
		if (peers->candidates[i] == candidate) {
			peers->candidates[i] = peers->candidates[--peers->candidate_count];
			break;
		}
	free(candidate);
}
