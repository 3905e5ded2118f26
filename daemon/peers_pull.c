/* SPDX-License-Identifier: MIT
 *
 * peers_pull.c - catalogs: what the others have.
 *
 * Whenever a peer is said to be at another (epoch, seq) than what we have of it, its catalog is
 * pulled from itself, page by page; each page goes to the scribe.  While it writes one, the next is
 * asked for, up to PEERS_PAGES_MAX, unless another peer waits for one of the PEERS_PULLS_MAX turns:
 * then the turn passes on, so that an endless catalog delays only itself.  So a pull holds few
 * pages in memory, and what it brought is never lost.  Pages are committed in the order in which
 * they were asked for; once one of them fails, what comes behind it is of no use and dropped.
 *
 * A page goes by gRPC where the peer has it, which costs both sides far less than JSON, else by the
 * address that answered last.  A peer's gRPC that fails is left alone for pace.rpc_again_ms, and
 * the page asked for again by REST at once.  Who has no gRPC face of his own asks so only when much
 * is to be pulled: a few changes are not worth loading the library.
 *
 * Who may make us pull: the peer's own answer, at once.  A notice or registration may come from
 * anybody, so if the pull it led to brought nothing, the next ones wait for pace.quiet_ms; genuine
 * news are pulled at once.  A page that makes no sense, or a catalog that begins anew twice in
 * pace.resync_ms, holds everything up until that has passed.
 *
 * BEGINNING ANEW.  A peer does not remember its removals for ever (catalog_tombstones.c).  Who comes too late for
 * them is answered from the beginning, and from then on says with each question at which of the peer's heads that was; so do
 * the pages that are asked for ahead.
 *
 * A page that our own catalog cannot take, as on a full disk, is no fault of the peer: it is asked for
 * again soon, then less and less often up to pace.unwritten_max_ms; until one is taken, of one peer at a time.
 *
 * After a failed pull the peer is greeted soon, the more often it fails the later: its answer says
 * again where it is, or there is none, and it is away.  For a beat of its own it may be an hour, where
 * peers are many.
 */
#include "peers_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "log.h"
#include "mem.h"
#include "metrics.h"

#define PULL_FAR (10 * CHANGE_PAGE_MAX) /* changes that are worth loading the gRPC library */

struct pull {
	struct peers *peers;
	struct peer *peer;
	uint64_t epoch, since; /* asked for, or to be asked for next */
	uint64_t begun;        /* at this head of the peer */
	enum wire wire;
	struct transport_request *request;
	bool is_asking, has_more;
	bool is_first;    /* nothing is had of this peer yet */
	unsigned commits; /* under way */
	int code;         /* the first failure of a commit */
};

/* A page with the scribe.  Outlives peers if need be, which then takes its name out. */
struct commit {
	struct peers *peers;
	struct pull *pull;
	uint64_t to_epoch, to_seq; /* where the page leads */
	uint64_t begun;
	bool is_last;
	struct commit *next;
};

/* When to pull. */

/* The caller arms: once, whatever many peers an answer tells of. */
static void
want(struct peer *peer, uint64_t after_ms)
{
	if (after_ms < peer->hold_until_ms)
		after_ms = peer->hold_until_ms;
	if (!peer->pull_wanted || after_ms < peer->pull_after_ms)
		peer->pull_after_ms = after_ms;
	peer->pull_wanted = true;
}

static bool
is_had(const struct peer *peer, uint64_t epoch, uint64_t seq)
{
	return epoch == peer->epoch && seq <= peer->seq;
}

bool
peers_news(struct peer *peer, uint64_t epoch, uint64_t seq, bool is_answer)
{
	uint64_t now_ms = clock_ms();

	if (epoch == 0 || is_had(peer, epoch, seq))
		return false;
	/* One that is late does not hide a newer one that waits. */
	if (!peer->pull_wanted || epoch != peer->wanted_epoch || seq > peer->wanted_seq) {
		peer->wanted_epoch = epoch;
		peer->wanted_seq = seq;
	}
	want(peer, is_answer || now_ms > peer->quiet_until_ms ? now_ms : peer->quiet_until_ms);
	return true;
}

/* Its catalog begins anew.  False if it did so a moment ago: then not before resync_ms. */
static bool
may_resync(struct peers *peers, struct peer *peer)
{
	uint64_t now_ms = clock_ms();

	if (peer->resync_ms != 0 && now_ms - peer->resync_ms < peers->pace.resync_ms) {
		peer->hold_until_ms = peer->resync_ms + peers->pace.resync_ms;
		return false;
	}
	peer->resync_ms = now_ms;
	return true;
}

/* Pulling. */

static void
hold(struct peers *peers, struct peer *peer, const char *why)
{
	log_warn("The catalog of peer %s is not taken for %u s: %s", peer->id,
		 (unsigned)(peers->pace.resync_ms / 1000), why);
	peer->hold_until_ms = clock_ms() + peers->pace.resync_ms;
	peer->pull_wanted = false;
}

/* The catalog refused the page for what is in it. */
static bool
is_their_fault(int code)
{
	return code == P2P_BAD_ANSWER || code == P2P_BAD_REQUEST || code == P2P_TOO_MANY;
}

/* The catalog could not be written, and has said so in the log. */
static void
rest_unwritten(struct peers *peers)
{
	uint64_t rest_ms = peers->pace.again_ms;

	for (unsigned i = 0; i < peers->unwritten && rest_ms < peers->pace.unwritten_max_ms; i++)
		rest_ms *= 2;
	if (rest_ms > peers->pace.unwritten_max_ms)
		rest_ms = peers->pace.unwritten_max_ms;
	peers->unwritten++;
	peers->write_after_ms = clock_ms() + rest_ms;
}

/* What follows from how the commits went. */
static void
conclude(struct peers *peers, struct peer *peer, int code, bool has_more)
{
	if (code == P2P_CONFLICT) {
		/* The replica is not where we thought: all of it again. */
		peer->epoch = peer->seq = peer->begun = 0;
		may_resync(peers, peer);
		want(peer, clock_ms());
	} else if (code == P2P_TOO_MANY) {
		hold(peers, peer,
		     "it, or all peers together, have more files than a catalog takes");
	} else if (is_their_fault(code)) {
		hold(peers, peer, code_title(code));
	} else if (code != P2P_OK) {
		rest_unwritten(peers);
		want(peer, peers->write_after_ms);
	} else if (has_more) {
		want(peer, clock_ms());
	} else if (peer->pull_wanted && is_had(peer, peer->wanted_epoch, peer->wanted_seq)) {
		peer->pull_wanted = false;
	}
}

/* Nothing of it is under way. */
static void
end_pull(struct pull *pull)
{
	pull->peer->pull = NULL;
	pull->peers->pulls--;
	free(pull);
}

static bool
is_waiting(const struct peer *peer)
{
	return peer->pull_wanted && peer->pull == NULL && peer->state != PEER_AWAY &&
	       peer->addresses.count > 0;
}

/* May it go on, or does somebody else need the turn? */
static bool
keeps_turn(const struct peers *peers)
{
	uint64_t now_ms = clock_ms();

	for (size_t i = 0; peers->pulls >= PEERS_PULLS_MAX && i < peers->count; i++)
		if (is_waiting(peers->all[i]) && peers->all[i]->pull_after_ms <= now_ms)
			return false;
	return true;
}

static void ask(struct pull *pull);

/* Asks for the next page, waits for what is under way, or comes to its end. */
static void
go_on(struct pull *pull)
{
	struct peers *peers = pull->peers;

	if (pull->is_asking)
		return;
	if (pull->commits > 0) {
		if (pull->has_more && pull->code == P2P_OK && !peers->is_stopping &&
		    peers->pages < PEERS_PAGES_MAX && keeps_turn(peers))
			ask(pull);
		return;
	}
	struct peer *peer = pull->peer;
	int code = pull->code;
	bool has_more = pull->has_more;

	end_pull(pull);
	conclude(peers, peer, code, has_more);
	if (!peers->is_stopping)
		peers_arm(peers);
}

/* Takes what the scribe wrote into account. */
static void
advance(struct peers *peers, const struct commit *commit)
{
	struct peer *peer = commit->pull->peer;
	bool has_moved = peer->epoch != commit->to_epoch || peer->seq != commit->to_seq;

	peers->unwritten = 0;
	peer->epoch = commit->to_epoch;
	peer->seq = commit->to_seq;
	peer->begun = commit->begun;
	/* Who comes to know a peer pulls of himself: a first pull is news for nobody else, unless it was told as such. */
	if (has_moved && commit->is_last && (!commit->pull->is_first || peer->is_noticed))
		peers_moved(peers, peer);
}

static void
on_committed(void *arg, int code)
{
	struct commit *commit = arg;
	struct peers *peers = commit->peers;
	struct pull *pull = commit->pull;

	pull->commits--;
	if (peers == NULL) {
		if (pull->commits == 0)
			free(pull);
		free(commit);
		return;
	}
	peers->pages--;
	for (struct commit **at = &peers->commits; *at != NULL; at = &(*at)->next)
		if (*at == commit) {
			*at = commit->next;
			break;
		}
	if (pull->code == P2P_OK)
		pull->code = code;
	if (pull->code == P2P_OK)
		advance(peers, commit);
	free(commit);
	go_on(pull);
}

static void
submit(struct pull *pull, struct change_page *page)
{
	struct peers *peers = pull->peers;
	struct catalog_batch *batch = catalog_batch_new();
	struct commit *commit = mem_zero(1, sizeof(*commit));

	if (page->is_reset)
		pull->begun = page->head;
	pull->epoch = page->epoch;
	pull->since = page->through;
	pull->has_more = page->through < page->head;
	pull->peer->file_count = page->file_count;
	pull->peer->byte_count = page->byte_count;
	*commit = (struct commit){ .peers = peers,
				   .pull = pull,
				   .to_epoch = page->epoch,
				   .to_seq = page->through,
				   .begun = pull->begun,
				   .is_last = !pull->has_more,
				   .next = peers->commits };
	peers->commits = commit;
	peers->pages++;
	pull->commits++;
	catalog_batch_page(batch, page);
	catalog_submit(peers->catalog, batch, on_committed, commit);
}

/* Is this what was asked for?  What is in it is for the catalog to judge. */
static bool
fits(const struct pull *pull, const struct change_page *page)
{
	if (strcmp(page->peer, pull->peer->id) != 0 || page->epoch == 0 ||
	    page->through < page->since || page->head < page->through)
		return false;
	/* One that leads nowhere and promises more would be asked for again for ever. */
	if (page->through == page->since && page->head > page->through)
		return false;
	return page->is_reset ? page->since == 0
			      : page->epoch == pull->epoch && page->since == pull->since;
}

/* Hands the page to the scribe, if it is any good. */
static void
take_page(struct pull *pull, struct change_page *page)
{
	struct peers *peers = pull->peers;
	struct peer *peer = pull->peer;

	pull->has_more = false;
	peer->pull_failures = 0;
	if (!fits(pull, page)) {
		hold(peers, peer, "its page is not what was asked for");
	} else if (!page->is_reset && page->through == page->since) {
		peer->quiet_until_ms = clock_ms() + peers->pace.quiet_ms;
		if (peer->pull_wanted && peer->pull_after_ms < peer->quiet_until_ms)
			peer->pull_after_ms = peer->quiet_until_ms;
	} else if (page->is_reset && pull->epoch != 0 && !may_resync(peers, peer)) {
		want(peer, peer->hold_until_ms);
	} else {
		submit(pull, page);
		return;
	}
	change_page_free(page);
}

/* Is there REST to go by when its gRPC fails?  Then it does, for a while. */
static bool
leave_rpc(struct pull *pull, const struct error *err)
{
	struct peer *peer = pull->peer;
	char other[NODE_ADDRESS_SIZE];

	addresses_by_wire(&peer->addresses, WIRE_REST, other);
	if (pull->wire != WIRE_GRPC || other[0] == '\0')
		return false;
	log_debug("The catalog of peer %s goes by REST: %s", peer->id, err->text);
	peer->rpc_after_ms = clock_ms() + pull->peers->pace.rpc_again_ms;
	return true;
}

/* Is it still here?  Its answer makes us pull again. */
static void
doubt(struct peers *peers, struct peer *peer)
{
	const struct peers_pace *pace = &peers->pace;
	uint64_t wait_ms =
	    peer->pull_failures < 16 ? pace->again_ms << peer->pull_failures : UINT64_MAX;

	if (wait_ms > pace->again_max_ms)
		wait_ms = pace->again_max_ms;
	peer->pull_failures++;
	if (peer->state != PEER_AWAY && peer->greet.greeting == NULL &&
	    peer->greet.due_ms > clock_ms() + wait_ms)
		peer->greet.due_ms = clock_ms() + wait_ms;
}

/* The page did not come. */
static void
not_come(struct pull *pull, int code, const struct error *err)
{
	struct peers *peers = pull->peers;
	struct peer *peer = pull->peer;

	pull->has_more = false;
	if (code == P2P_BAD_ANSWER)
		hold(peers, peer, err->text);
	else if (leave_rpc(pull, err))
		want(peer, clock_ms());
	else
		doubt(peers, peer);
}

static void
on_page(void *arg, int code, const struct error *err, struct change_page *page)
{
	struct pull *pull = arg;
	struct peers *peers = pull->peers;

	pull->request = NULL;
	pull->is_asking = false;
	peers->requests--;
	if (code == P2P_OK)
		metrics_add(pull->wire == WIRE_GRPC ? METRIC_PULLS_GRPC : METRIC_PULLS_REST, 1);
	if (peers->is_stopping || pull->code != P2P_OK)
		change_page_free(page);
	else if (code == P2P_OK)
		take_page(pull, page);
	else
		not_come(pull, code, err);
	if (pull->commits == 0) {
		/* Nothing came of it that would say how to go on. */
		end_pull(pull);
		if (!peers->is_stopping)
			peers_arm(peers);
		return;
	}
	go_on(pull);
}

static bool
is_worth_rpc(const struct peers *peers, const struct peer *peer)
{
	uint64_t had = peer->wanted_epoch == peer->epoch ? peer->seq : 0;

	return peers->config->grpc_listen.count > 0 || peer->wanted_seq >= had + PULL_FAR;
}

/* By which address the next page comes. */
static void
choose_address(struct pull *pull, char ret[NODE_ADDRESS_SIZE])
{
	const struct peer *peer = pull->peer;

	ret[0] = '\0';
	if (clock_ms() >= peer->rpc_after_ms && is_worth_rpc(pull->peers, peer))
		addresses_by_wire(&peer->addresses, WIRE_GRPC, ret);
	else
		addresses_by_wire(&peer->addresses, WIRE_REST, ret);
	if (ret[0] == '\0')
		memcpy(ret, peer->addresses.items[0], NODE_ADDRESS_SIZE);
	pull->wire = node_address_wire(ret);
}

static void
ask(struct pull *pull)
{
	struct peers *peers = pull->peers;
	struct change_question question = {
		.peer = pull->peer->id,
		.epoch = pull->epoch,
		.since = pull->since,
		.begun = pull->begun > pull->since ? pull->begun : pull->since,
		.limit = CHANGE_PAGE_MAX,
	};
	char address[NODE_ADDRESS_SIZE];

	choose_address(pull, address);
	pull->is_asking = true;
	peers->requests++;
	pull->request =
	    peers->transport->ops->pull(peers->transport, address, &question, on_page, pull);
}

static void
start_pull(struct peers *peers, struct peer *peer)
{
	struct pull *pull = mem_zero(1, sizeof(*pull));

	*pull = (struct pull){ .peers = peers,
			       .peer = peer,
			       .epoch = peer->epoch,
			       .since = peer->seq,
			       .begun = peer->begun,
			       .is_first = peer->epoch == 0 };
	peer->pull = pull;
	peer->pull_wanted = false;
	peers->pulls++;
	ask(pull);
}

static bool
has_room(const struct peers *peers)
{
	return peers->pulls < (peers->unwritten > 0 ? 1 : PEERS_PULLS_MAX);
}

static bool
can_pull(const struct peers *peers, const struct peer *peer)
{
	return is_waiting(peer) && has_room(peers);
}

/* When a peer that can be pulled from may be. */
static uint64_t
pull_moment(const struct peers *peers, const struct peer *peer)
{
	bool must_rest = peers->unwritten > 0 && peers->write_after_ms > peer->pull_after_ms;

	return must_rest ? peers->write_after_ms : peer->pull_after_ms;
}

void
peers_pull_due(struct peers *peers, uint64_t now_ms)
{
	size_t count = peers->count, from = peers->pull_at;

	for (size_t i = 0; i < count && has_room(peers); i++) {
		size_t at = (from + i) % count;
		struct peer *peer = peers->all[at];

		if (!can_pull(peers, peer) || pull_moment(peers, peer) > now_ms)
			continue;
		start_pull(peers, peer);
		peers->pull_at = at + 1;
	}
}

uint64_t
peers_pull_next(const struct peers *peers)
{
	uint64_t next_ms = PEERS_NEVER;

	for (size_t i = 0; i < peers->count && has_room(peers); i++)
		if (can_pull(peers, peers->all[i]) && pull_moment(peers, peers->all[i]) < next_ms)
			next_ms = pull_moment(peers, peers->all[i]);
	return next_ms;
}

void
peers_drop_commits(struct peers *peers)
{
	for (struct commit *commit = peers->commits; commit != NULL; commit = commit->next) {
		commit->peers = NULL;
		commit->pull->peer->pull = NULL;
	}
	peers->commits = NULL;
}
