/* SPDX-License-Identifier: MIT
 *
 * download_follow.c - who has which pieces: told to others, and learned from them.
 *
 * Every holder that is known of is followed: asked what it has, and again as soon as it answered, from where that answer ended.  It
 * answers when it has news, so that a piece is known of a round trip after it was verified.  Others of whom it tells that they
 * follow it, and those who follow us, are holders too, to be followed in their turn: that is how those who fetch a content find each
 * other.  Of those that are told of, a few at random are enough; if all took all, the first to come would have their places full
 * of each other, and hundreds that come later would be used by nobody.  If all holders of the catalog are gone, everybody is asked now
 * and then: somebody may have got a part before.
 *
 * Between an answer and the next question lies a short pause that grows with the number of holders: what happens meanwhile comes in one
 * answer, and what is said stays small beside what is carried.
 *
 * A holder of the catalog has all until it says otherwise.  A question that fails says no more than that: runs find out
 * themselves whether a holder is there.
 *
 * Contents below DOWNLOAD_FOLLOW_BYTES are over before it would help: nobody follows them, nobody is told.
 */
#include "download_internal.h"

#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "log.h"
#include "mem.h"

#define WAIT_MS		20000	/* that an answer without news may take */
#define FAILED_MS	2000	/* until a holder that did not answer is asked again */
#define LACKED_MIN_MS	100	/* and one that has nothing of it: it may be about to begin; doubled each time */
#define LACKED_MAX_MS	30000
#define FOLLOWS_MAX	(2 * SWARM_SOURCES_MAX)	/* with those who turn out to have nothing */
#define HOLDERS_A_PAUSE	5	/* the pause is DOWNLOAD_FOLLOW_MS for so many holders, twice that for twice as many ... */

/* --- telling --- */

static void
on_piece(void *arg, uint64_t piece)
{
	holding_add(arg, piece);
}

void
download_offer(struct download *download)
{
	struct partial *partial = download->partial;
	if (download->holding != NULL || !download->target->is_offered ||
	    download->content.size_bytes < DOWNLOAD_FOLLOW_BYTES)
		return;
	int fd = partial_dup(partial);
	if (fd < 0)
		return;
	struct digest *layer = partial_layer(partial);
	download->holding = holdings_begin(download->means->holdings, &download->content, fd,
	    layer, partial_piece_count(partial));
	download->followers_cursor = 0;
	free(layer);
	if (download->holding == NULL)
		return;
	partial_listen(partial, on_piece, download->holding);
	for (uint64_t i = 0; i < partial_piece_count(partial); i++)
		if (partial_has(partial, i))
			holding_add(download->holding, i);
}

/* --- learning --- */

static void
set_timer(struct download *download)
{
	uint64_t first_us = UINT64_MAX, now_us = clock_us();
	for (const struct follow *follow = download->follows; follow; follow = follow->next)
		if (follow->request == NULL && follow->due_us < first_us)
			first_us = follow->due_us;
	if (first_us != UINT64_MAX)
		loop_timer_start(download->follow_timer,
		    first_us > now_us ? (first_us - now_us + 999) / 1000 : 0);
}

static struct follow *
find(const struct download *download, const char *peer)
{
	struct follow *follow = download->follows;
	while (follow != NULL && strcmp(follow->peer, peer) != 0)
		follow = follow->next;
	return follow;
}

static void
add_follow(struct download *download, const char *peer)
{
	struct follow *follow = mem_zero(1, sizeof(*follow));
	follow->download = download;
	memcpy(follow->peer, peer, PEER_ID_SIZE);
	follow->next = download->follows;
	download->follows = follow;
	download->follow_count++;
}

/* It may have something by now: it is asked soon, if it had nothing or did not answer. */
static void
ask_soon(struct follow *follow)
{
	uint64_t soon_us = follow->asked_us + LACKED_MIN_MS * 1000;
	if (follow->request != NULL || follow->since != 0 || follow->due_us == UINT64_MAX ||
	    follow->due_us < soon_us)
		return;
	follow->lacks = 0;
	follow->due_us = soon_us;
	set_timer(follow->download);
}

/* A peer that fetches the same.  True if it is followed from now on. */
static bool
hear_of(struct download *download, const char *id, bool has_room)
{
	struct follow *follow = find(download, id);
	struct peer_info peer;
	if (follow != NULL)
		ask_soon(follow);
	if (follow != NULL || !has_room || download->follow_count == FOLLOWS_MAX ||
	    strcmp(id, download->self) == 0 ||
	    !peers_find(download->means->peers, id, &peer) || peer.state == PEER_AWAY ||
	    !swarm_source(download->swarm, peer.id, peer.round_trip_us))
		return false;
	add_follow(download, id);
	return true;
}

static size_t
count_open(const struct download *download)
{
	size_t count = 0;
	uint64_t now_us = clock_us();
	for (const struct follow *follow = download->follows; follow; follow = follow->next)
		count += swarm_is_open(download->swarm, follow->peer, now_us);
	return count;
}

/* In random order. */
static void
take_peers(struct download *download, const struct holding_answer *answer)
{
	size_t open = answer->peer_count != 0 ? count_open(download) : 0;
	for (size_t i = 0; i < answer->peer_count; i++) {
		char id[PEER_ID_SIZE];
		size_t other = i + swarm_random(download->swarm) % (answer->peer_count - i);
		memcpy(id, answer->peers[other], PEER_ID_SIZE);
		memcpy(answer->peers[other], answer->peers[i], PEER_ID_SIZE);
		open += hear_of(download, id, open < SWARM_TOLD_MAX);
	}
}

static void
take_follower(void *arg, const char *peer)
{
	hear_of(arg, peer, true);
}

static void
take_answer(struct download *download, struct follow *follow, const struct holding_answer *answer)
{
	struct peer_info peer;
	if (peers_find(download->means->peers, follow->peer, &peer))
		swarm_source(download->swarm, peer.id, peer.round_trip_us);
	if (answer->is_whole)
		swarm_holds_all(download->swarm, follow->peer);
	else if (answer->is_full && answer->bits != NULL)
		swarm_holds(download->swarm, follow->peer, answer->bits);
	for (size_t i = 0; i < answer->piece_count; i++)
		swarm_holds_too(download->swarm, follow->peer, answer->pieces[i]);
	for (size_t i = 0; i < answer->coming_count; i++)
		swarm_coming(download->swarm, answer->coming[i]);
	take_peers(download, answer);
}

static uint64_t
pause_us(const struct download *download)
{
	uint64_t shares = (download->follow_count + HOLDERS_A_PAUSE - 1) / HOLDERS_A_PAUSE;
	return shares * DOWNLOAD_FOLLOW_MS * 1000;
}

/* How long one is left alone that told nothing. */
static uint64_t
failed_ms(struct follow *follow, int code)
{
	if (code != P2P_NOT_FOUND && code != P2P_BAD_METHOD && code != P2P_BAD_ANSWER)
		return FAILED_MS;
	uint64_t wait_ms = LACKED_MIN_MS;
	for (unsigned i = 0; i < follow->lacks && wait_ms < LACKED_MAX_MS; i++)
		wait_ms *= 2;
	follow->lacks++;
	return wait_ms < LACKED_MAX_MS ? wait_ms : LACKED_MAX_MS;
}

static void
answered(void *arg, int code, const struct error *err, struct holding_answer *answer)
{
	struct follow *follow = arg;
	struct download *download = follow->download;
	uint64_t now_us = clock_us();
	follow->request = NULL;
	download->busy--;
	download_end_wire(download, follow->peer, &follow->wire, download_wire_outcome(code), 0);
	if (code == P2P_OK) {
		if (!follow->is_cancelled)
			take_answer(download, follow, answer);
		follow->since = follow->is_stale ? 0 : answer->next;
		follow->due_us = answer->next != 0 ? now_us + pause_us(download) : UINT64_MAX;
		follow->is_stale = false;
		follow->lacks = 0;
		holding_answer_fini(answer);
	} else {
		log_debug("peer %s does not say what it has: %s", follow->peer, err->text);
		/* A peer of an earlier version knows no such question, and may have all, as the catalog says. */
		if (code == P2P_NOT_FOUND && follow->since != 0 && !follow->is_cancelled)
			swarm_lacks(download->swarm, follow->peer);
		follow->since = 0;
		follow->due_us = now_us + failed_ms(follow, code) * 1000;
	}
	if (!follow->is_cancelled)
		set_timer(download);
	download_step(download);
}

static void
ask(struct follow *follow, const struct peer_info *peer)
{
	struct download *download = follow->download;
	struct transport *transport = download->means->transport;
	struct holding_question question = {
		.content = download->content,
		.since = follow->is_stale ? 0 : follow->since,
		.wait_ms = WAIT_MS,
	};
	follow->is_stale = false;
	follow->asked_us = clock_us();
	if (download->target->is_offered)
		memcpy(question.peer, download->self, PEER_ID_SIZE);
	download_begin_wire(download, peer, WIRE_SMALL, &follow->wire);
	download->busy++;
	follow->request = transport->ops->have(transport, peer->wire_address[follow->wire.wire],
	    &question, answered, follow);
}

void
download_follow_due(void *arg)
{
	struct download *download = arg;
	struct peer_info peer;
	uint64_t now_us = clock_us();
	if (download->is_stopping || download->is_ended || download->is_broken ||
	    download->swarm == NULL || partial_is_complete(download->partial))
		return;
	for (struct follow *follow = download->follows; follow; follow = follow->next) {
		if (follow->request != NULL || follow->due_us > now_us)
			continue;
		if (!swarm_is_barred(download->swarm, follow->peer, now_us) &&
		    download_find_peer(download, follow->peer, &peer))
			ask(follow, &peer);
		else
			follow->due_us = now_us + FAILED_MS * 1000;
	}
	set_timer(download);
}

void
download_follow_anew(struct download *download, const char *peer)
{
	struct follow *follow = find(download, peer);
	if (follow == NULL || follow->since == 0)
		return;
	follow->is_stale = true;
	if (follow->request == NULL)
		follow->due_us = clock_us();
	set_timer(download);
}

void
download_follow_soon(struct download *download, const char *peer)
{
	struct follow *follow = find(download, peer);
	if (follow != NULL)
		ask_soon(follow);
}

static void
know_self(struct download *download)
{
	struct node_record self;
	if (download->self[0] != '\0')
		return;
	peers_self(download->means->peers, &self);
	memcpy(download->self, self.id, PEER_ID_SIZE);
}

void
download_follow(struct download *download)
{
	unsigned count = download->follow_count;
	if (download->content.size_bytes < DOWNLOAD_FOLLOW_BYTES)
		return;
	know_self(download);
	if (download->holding != NULL)
		holding_new_followers(download->holding, &download->followers_cursor,
		    take_follower, download);
	for (size_t i = 0; i < swarm_source_count(download->swarm); i++) {
		const char *peer = swarm_source_name(download->swarm, i);
		if (find(download, peer) == NULL)
			add_follow(download, peer);
	}
	if (download->follow_count != count)
		download_follow_due(download);
}

void
download_follow_everybody(struct download *download)
{
	size_t count;
	if (download->content.size_bytes < DOWNLOAD_FOLLOW_BYTES)
		return;
	know_self(download);
	struct peer_info *list = peers_list(download->means->peers, &count);
	for (size_t i = 0; i < count && download->follow_count < FOLLOWS_MAX; i++)
		if (list[i].state == PEER_HERE && find(download, list[i].id) == NULL)
			add_follow(download, list[i].id);
	free(list);
	download_follow_due(download);
}

void
download_stop_follows(struct download *download)
{
	for (struct follow *follow = download->follows; follow; follow = follow->next) {
		if (follow->request != NULL && !follow->is_cancelled)
			download->means->transport->ops->cancel(follow->request);
		follow->is_cancelled = true;
	}
}

void
download_free_follows(struct download *download)
{
	while (download->follows != NULL) {
		struct follow *follow = download->follows;
		download->follows = follow->next;
		free(follow);
	}
}
