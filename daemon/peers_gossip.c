/* SPDX-License-Identifier: MIT
 *
 * peers_gossip.c - what peers tell each other of themselves and of third ones.
 *
 * Three things travel: who is in the network (records in the answer to a greeting), that a catalog
 * moved (notices), that a peer does not answer (notices, too).  None of them is believed.  A record
 * is a reason to greet, a notice to pull or to greet; so nothing false spreads further than to who
 * was told it, since everybody passes on only what he has found out himself: news of a catalog after
 * the pull that brought them, a loss after the peer left a greeting of his own without an answer.
 *
 * What an idle network says does not grow with it.  A caller hears of the peers that changed lately
 * and since it was told last, the longest ago first, PEERS_TOLD_MAX in an answer; what is older than
 * PEERS_NEWS_MS has gone round.  What was lost on its way is mended by his view of who is here
 * (peers_view.c): whom it shows him to miss he is told of before all news, and whom he may miss as far
 * as there is room.  A difference may last, as between two one of which does not reach a third; so
 * beyond PEERS_MENDS_MAX of these records an answer has one.  Who tells no view hears of
 * PEERS_TOLD_RANDOM at random in its place.  A stranger hears of PEERS_TOLD_MAX that he may not know:
 * each of those knows others.  And whom it shows to be here for him, but who is away for us, he is
 * told to be lost, ever more rarely: of many that went at once, some losses reach nobody in time.
 *
 * While there are few all are told of an own change.  Beyond PEERS_DIRECT_MAX it is told to some, at
 * random, and whoever it was news for tells some in turn: with PEERS_FANOUT each, everybody hears of
 * it in about as many steps as the logarithm of their number, but for one in hundreds, whom the next
 * greeting tells.
 */
#include "peers_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "log.h"
#include "mem.h"
#include "metrics.h"

struct telling {
	struct peers *peers;
	struct peer *peer;
};

void
peers_touch(struct peers *peers, struct peer *peer)
{
	peer->generation = ++peers->generation;
	peer->touched_ms = clock_ms();
}

/* --- notices of others --- */

static struct notice
notice_of(const char *id, uint64_t epoch, uint64_t seq)
{
	struct notice notice = { .epoch = epoch, .seq = seq };

	memcpy(notice.peer, id, PEER_ID_SIZE);
	return notice;
}

static struct notice
notice_of_loss(const struct peer *peer)
{
	struct notice notice = notice_of(peer->id, peer->epoch, peer->seq);

	notice.is_lost = true;
	return notice;
}

static void
on_relayed(void *arg, int code, const struct error *err)
{
	struct peers *peers = arg;

	(void)code;
	(void)err;
	peers->requests--;
	peers->relays--;
}

static void
relay_to(struct peers *peers, const struct peer *to, const struct notice *notice)
{
	peers->relays++;
	peers->requests++;
	metrics_add(METRIC_NOTICES_OUT, 1);
	peers->transport->ops->notify(peers->transport, to->addresses.items[0], notice, on_relayed,
				      peers);
}

/* --- who is in the network --- */

static int
longest_ago(const void *a, const void *b)
{
	const struct peer *left = *(struct peer *const *)a, *right = *(struct peer *const *)b;

	return left->generation < right->generation ? -1 : left->generation > right->generation;
}

/* Brings `count` of the list to its front, at random. */
static void
shuffle(struct peers *peers, struct peer **list, size_t list_count, size_t count)
{
	for (size_t i = 0; i < count && i < list_count; i++) {
		size_t other = i + peers_random(peers) % (list_count - i);
		struct peer *taken = list[other];

		list[other] = list[i];
		list[i] = taken;
	}
}

static size_t
lesser(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* An answer in the making: of those that may be told, the first `told` will be. */
struct answer {
	struct peers *peers;
	const struct view_difference *difference; /* NULL: the caller tells no view */
	struct peer **list;
	size_t count, told;
};

/* Takes one of the rest to its front, behind `before` that were taken there. */
static void
to_front(struct answer *answer, size_t at, size_t before)
{
	struct peer *taken = answer->list[at];

	answer->list[at] = answer->list[answer->told + before];
	answer->list[answer->told + before] = taken;
}

/* Those of the rest that the caller misses, or may miss, to its front; answers how many. */
static size_t
missed_first(struct answer *answer, enum view_doubt doubt)
{
	size_t count = 0;

	for (size_t i = answer->told; i < answer->count; i++)
		if (peers_view_doubt(answer->difference, answer->list[i]) == doubt)
			to_front(answer, i, count++);
	return count;
}

/* News that the caller was not told of yet to the front of the rest, in order; answers how many. */
static size_t
untold_first(struct answer *answer, uint64_t told_generation)
{
	uint64_t now_ms = clock_ms();
	size_t count = 0;

	for (size_t i = answer->told; i < answer->count; i++) {
		const struct peer *peer = answer->list[i];

		if (peer->generation > told_generation &&
		    now_ms - peer->touched_ms <= PEERS_NEWS_MS)
			to_front(answer, i, count++);
	}
	qsort(answer->list + answer->told, count, sizeof(*answer->list), longest_ago);
	return count;
}

/* The first `count` of the rest will be told, but not more than `max` and than there is room for; answers
 * how many. */
static size_t
take(struct answer *answer, size_t count, size_t max)
{
	count = lesser(count, lesser(max, PEERS_TOLD_MAX - answer->told));
	answer->told += count;
	return count;
}

static size_t
tell_missed(struct answer *answer, size_t max)
{
	return take(answer, missed_first(answer, VIEW_DIFFERS), max);
}

static size_t
tell_perhaps_missed(struct answer *answer, size_t max)
{
	size_t count = missed_first(answer, VIEW_MAY_DIFFER);

	shuffle(answer->peers, answer->list + answer->told, count, lesser(max, PEERS_TOLD_MAX));
	return take(answer, count, max);
}

static void
tell_news(struct answer *answer, struct peer *caller)
{
	size_t untold = untold_first(answer, caller->told_generation);
	size_t count = take(answer, untold, untold);

	if (count == untold)
		caller->told_generation = answer->peers->generation;
	else if (count > 0)
		caller->told_generation = answer->list[answer->told - 1]->generation;
}

/* What a caller that is here is told.  News come second: after two networks met there are more than an
 * answer has room for, and most of them he knows. */
static void
tell_one_that_is_here(struct answer *answer, struct peer *caller)
{
	struct peers *peers = answer->peers;

	peers->mends = lesser(peers->mends + 1, PEERS_MENDS_MAX);
	size_t max = answer->difference != NULL ? peers->mends : PEERS_TOLD_RANDOM;
	size_t mends = tell_missed(answer, max);
	tell_news(answer, caller);
	mends += tell_perhaps_missed(answer, max - mends);
	if (answer->difference != NULL)
		peers->mends -= mends;
}

/* Away for us and here for a caller: one is wrong.  He may never have heard of the loss; so he does now, of
 * one at a time, and asks it himself.  One that did not turn away in this run is nothing to tell. */
static void
tell_lost(struct peers *peers, const struct peer *caller, const struct view_difference *difference)
{
	if (peers->is_stopping || peers->relays >= PEERS_RELAYS_MAX || caller->addresses.count == 0)
		return;
	for (size_t i = 0; i < peers->count; i++) {
		struct peer *peer = peers->all[i];

		if (peer->state != PEER_AWAY || peer->turned_ms == 0 ||
		    peers_view_doubt(difference, peer) != VIEW_DIFFERS ||
		    !peers_may_again(peers, &peer->contest))
			continue;
		struct notice notice = notice_of_loss(peer);
		relay_to(peers, caller, &notice);
		return;
	}
}

void
peers_tell_known(struct peers *peers, struct peer *caller, const struct node_view *view,
		 struct node_record **ret_known, size_t *ret_count)
{
	struct view_difference difference;
	struct answer answer = { .peers = peers };

	if (view->is_told) {
		peers_view_differ(peers, caller, view, &difference);
		answer.difference = &difference;
	}
	answer.list = mem_zero(peers->count + 1, sizeof(*answer.list));
	for (size_t i = 0; i < peers->count; i++)
		if (peers->all[i] != caller && peers->all[i]->state != PEER_AWAY)
			answer.list[answer.count++] = peers->all[i];
	if (caller != NULL && caller->state == PEER_HERE) {
		tell_one_that_is_here(&answer, caller);
		if (answer.difference != NULL)
			tell_lost(peers, caller, answer.difference);
	} else {
		tell_missed(&answer, PEERS_TOLD_MAX);
		tell_perhaps_missed(&answer, PEERS_TOLD_MAX);
	}
	*ret_known = mem_zero(answer.told + 1, sizeof(**ret_known));
	for (size_t i = 0; i < answer.told; i++)
		peers_record(answer.list[i], &(*ret_known)[i]);
	*ret_count = answer.told;
	free(answer.list);
}

/* --- what happened to others --- */

/* To some that are here, each at most once; whoever it is about is not among them. */
static void
relay(struct peers *peers, const struct notice *notice, size_t count)
{
	struct peer **list = mem_zero(peers->count + 1, sizeof(struct peer *));
	size_t list_count = 0;

	for (size_t i = 0; i < peers->count; i++)
		if (peers->all[i]->state == PEER_HERE && peers->all[i]->addresses.count > 0 &&
		    strcmp(peers->all[i]->id, notice->peer) != 0)
			list[list_count++] = peers->all[i];
	count = lesser(count, list_count);
	count = lesser(count, PEERS_RELAYS_MAX - peers->relays);
	shuffle(peers, list, list_count, count);
	for (size_t i = 0; i < count; i++)
		relay_to(peers, list[i], notice);
	free(list);
}

void
peers_moved(struct peers *peers, struct peer *peer)
{
	struct notice notice = notice_of(peer->id, peer->epoch, peer->seq);

	peers_touch(peers, peer);
	if (!peers->is_stopping && peers->count - peers->away > PEERS_DIRECT_MAX)
		relay(peers, &notice, PEERS_FANOUT);
}

void
peers_lost(struct peers *peers, const struct peer *peer)
{
	struct notice notice = notice_of_loss(peer);

	if (!peers->is_stopping)
		relay(peers, &notice, PEERS_FANOUT);
}

/* --- own notices --- */

static void tell(struct peers *peers, struct peer *peer);

static void
on_told(void *arg, int code, const struct error *err)
{
	struct telling *telling = arg;
	struct peers *peers = telling->peers;
	struct peer *peer = telling->peer;

	(void)code;
	(void)err;
	free(telling);
	peers->requests--;
	peer->telling = NULL;
	if (peer->tell_again && !peers->is_stopping)
		tell(peers, peer);
}

/* One message at a time to each; one that fails is lost, and the heart-beat mends it. */
static void
tell(struct peers *peers, struct peer *peer)
{
	struct catalog_head head;

	peer->tell_again = peer->telling != NULL;
	if (peer->telling != NULL || peer->state != PEER_HERE || peer->addresses.count == 0)
		return;
	catalog_head(peers->catalog, &head);
	struct notice notice = notice_of(peers->self.id, head.epoch, head.seq);
	peer->telling = mem_zero(1, sizeof(*peer->telling));
	*peer->telling = (struct telling){ .peers = peers, .peer = peer };
	peers->requests++;
	metrics_add(METRIC_NOTICES_OUT, 1);
	peers->transport->ops->notify(peers->transport, peer->addresses.items[0], &notice, on_told,
				      peer->telling);
}

static void
tell_some(struct peers *peers)
{
	struct catalog_head head;

	catalog_head(peers->catalog, &head);
	struct notice notice = notice_of(peers->self.id, head.epoch, head.seq);
	relay(peers, &notice, 2 * PEERS_FANOUT);
}

void
peers_tell_due(struct peers *peers, uint64_t now_ms)
{
	if (peers->tell_due_ms > now_ms)
		return;
	peers->tell_due_ms = PEERS_NEVER;
	peers->told_ms = now_ms;
	if (peers->count - peers->away > PEERS_DIRECT_MAX) {
		tell_some(peers);
		return;
	}
	for (size_t i = 0; i < peers->count; i++)
		tell(peers, peers->all[i]);
}

/* --- good-bye --- */

static void
on_left(void *arg, int code, const struct error *err)
{
	struct telling *telling = arg;
	struct peers *peers = telling->peers;

	(void)code;
	(void)err;
	telling->peer->leaving = NULL;
	free(telling);
	peers->requests--;
	/* The timer is what calls peers_stop()'s done; the last answer makes it due. */
	if (--peers->leavings == 0 && peers->stopped != NULL)
		loop_timer_start(peers->timer, 0);
}

void
peers_leave_all(struct peers *peers)
{
	for (size_t i = 0; i < peers->count; i++) {
		struct peer *peer = peers->all[i];

		if (peer->state == PEER_AWAY || peer->addresses.count == 0)
			continue;
		peer->leaving = mem_zero(1, sizeof(*peer->leaving));
		*peer->leaving = (struct telling){ .peers = peers, .peer = peer };
		peers->leavings++;
		peers->requests++;
		peers->transport->ops->leave(peers->transport, peer->addresses.items[0],
					     peers->self.id, on_left, peer->leaving);
	}
}
