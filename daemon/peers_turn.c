/* SPDX-License-Identifier: MIT
 *
 * peers_turn.c - whose turn it is to be greeted, and when the next turn comes.
 *
 * Greetings under way are bounded, and bounded apart for peers that are here or suspect and for all
 * others: those that are away, and candidates.  Of the others there may be far more than turns, and
 * each that says nothing keeps its turn for seconds, as a network does that was left behind.  So
 * whoever waits longest comes first.  In any fixed order those in front would be due again before
 * the last had their first turn, and a seed might wait for minutes.
 *
 * Nothing is sent here.
 */
#include "peers_internal.h"

static bool
peer_can_go(const struct peers *peers, const struct peer *peer)
{
	bool has_slot = peer->state == PEER_AWAY ? peers->tries < PEERS_TRIES_MAX
						 : peers->greetings < PEERS_GREETINGS_MAX;

	return has_slot && peer->greet.greeting == NULL && peer->addresses.count > 0;
}

static bool
candidate_can_go(const struct peers *peers, const struct candidate *candidate)
{
	return peers->tries < PEERS_TRIES_MAX && candidate->greet.greeting == NULL;
}

bool
peers_turn(const struct peers *peers, uint64_t now_ms, struct peer **ret_peer,
	   struct candidate **ret_candidate)
{
	uint64_t due_ms = now_ms + 1;

	*ret_peer = NULL;
	*ret_candidate = NULL;
	for (size_t i = 0; i < peers->count; i++) {
		struct peer *peer = peers->all[i];

		if (peer->greet.due_ms < due_ms && peer_can_go(peers, peer)) {
			*ret_peer = peer;
			due_ms = peer->greet.due_ms;
		}
	}
	/* While many are met, all turns are taken most of the time. */
	for (size_t i = 0; i < peers->candidate_count && peers->tries < PEERS_TRIES_MAX; i++) {
		struct candidate *candidate = peers->candidates[i];

		if (candidate->greet.due_ms < due_ms && candidate_can_go(peers, candidate)) {
			*ret_peer = NULL;
			*ret_candidate = candidate;
			due_ms = candidate->greet.due_ms;
		}
	}
	return due_ms <= now_ms;
}

uint64_t
peers_greet_next(const struct peers *peers)
{
	struct candidate *candidate;
	struct peer *peer;

	if (!peers_turn(peers, PEERS_NEVER - 1, &peer, &candidate))
		return PEERS_NEVER;
	return candidate != NULL ? candidate->greet.due_ms : peer->greet.due_ms;
}
