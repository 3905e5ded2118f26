/* SPDX-License-Identifier: MIT
 *
 * follow_pass.c - one look at what changed in the network, for all follows.  On the pool.
 *
 * For each peer the changes behind the lowest mark are read once, page by page, and each is shown
 * to every follow whose mark lies below it.  What is taken is collected for all; in the end each
 * name stays once, in its newest version, for the first follow that wanted it: two peers that have
 * different files of one name are no quarrel here.
 *
 * A follow that lands elsewhere gives names that others may follow in turn, and again: a file is
 * here, too, if this peer has its content under the tail of its name, be it as such or in its own
 * place.  So what went round comes to rest after one turn.
 *
 * A version that is being fetched for the same pattern gives way to a newer one, and to nobody's
 * having it any more: it would be waited for in vain.
 *
 * A mark is moved with what was found behind it.  Where nothing was, it is moved only now and then:
 * to look twice at what does not fit costs less than a transaction for every change of every peer.
 * Of a peer that begins anew it is moved in any case, for what was known of it is kept until it
 * has come to where the peer was (catalog_passed.c).
 */
#include "follow_inner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"

#define LAZY_CHANGES 1000 /* that fit nothing, until the mark is moved nevertheless */

/* Room for one more in an array that grows by doubling. */
#define MAKE_ROOM(array, count, room)                                          \
	do {                                                                   \
		if ((count) == (room)) {                                       \
			(room) = (room) ? 2 * (room) : 8;                      \
			(array) = mem_grow((array), (room), sizeof(*(array))); \
		}                                                              \
	} while (0)

/* --- what there is --- */

static void
add_lot(void *arg, const struct catalog_follow *follow)
{
	struct follow_pass *pass = arg;
	MAKE_ROOM(pass->lots, pass->lot_count, pass->lot_room);
	pass->lots[pass->lot_count++] = (struct follow_lot){
		.no = follow->no,
		.pattern = mem_string(follow->pattern),
		.place = mem_string(follow->place),
		.replace = follow->replace,
	};
}

static void
add_peer(void *arg, const struct catalog_peer *peer)
{
	struct follow_pass *pass = arg;
	if (peer->epoch == 0)
		return; /* it told nothing yet */
	MAKE_ROOM(pass->peers, pass->peer_count, pass->peer_room);
	struct follow_peer *copy = &pass->peers[pass->peer_count++];
	*copy = (struct follow_peer){ .epoch = peer->epoch, .seq = peer->seq };
	snprintf(copy->id, sizeof(copy->id), "%s", peer->id);
}

/* --- one version --- */

/* What is known of a name where something of this peer would land. */
static int
judge(struct follow_pass *pass, const struct follow_lot *lot, const char *peer, const char *name,
      const struct catalog_version *version, enum follow_verdict *ret)
{
	struct catalog_local local;
	struct catalog_version here, passed[CATALOG_PASSED_MAX];
	int found = catalog_find_local(pass->catalog, name, &local);
	if (found != P2P_OK && found != P2P_NOT_FOUND)
		return found;
	int count = catalog_passed_over(pass->catalog, name, peer, passed);
	if (count < 0)
		return count;
	if (found == P2P_OK)
		here = (struct catalog_version){ local.content, local.mtime_ns };
	const struct catalog_version *is_here = found == P2P_OK ? &here : NULL;
	*ret = follow_judge(version, is_here, NULL, lot->replace);
	for (int i = 0; i < count && *ret == FOLLOW_TAKE; i++)
		*ret = follow_judge(version, is_here, &passed[i], lot->replace);
	return P2P_OK;
}

static bool
is_here(struct follow_pass *pass, const char *name, const struct content_id *content)
{
	struct catalog_local local;
	return catalog_find_local(pass->catalog, name, &local) == P2P_OK &&
	       content_equal(&local.content, content);
}

/* Is it here under a tail of its name? */
static bool
went_round(struct follow_pass *pass, const struct follow_lot *lot, const struct change *change)
{
	char landed[NAME_SIZE];
	if (lot->place[0] == '\0')
		return false;
	for (const char *tail = change->name; tail != NULL;
	     tail = strchr(tail, '/') != NULL ? strchr(tail, '/') + 1 : NULL) {
		if (is_here(pass, tail, &change->content))
			return true;
		if (follow_land(lot->place, tail, landed) &&
		    is_here(pass, landed, &change->content))
			return true;
	}
	return false;
}

/* A version against those of its name that are being fetched. */
struct rivalry {
	struct follow_pass *pass;
	const struct follow_lot *lot;
	const char *name;
	const struct catalog_version *version; /* NULL: it was removed */
	bool is_wanted; /* this very version, or a newer one, is on its way */
};

static void
note_holder(void *arg, const char *peer)
{
	(void)peer;
	*(bool *)arg = true;
}

static bool
has_holder(struct follow_pass *pass, const struct content_id *content)
{
	bool has_one = false;
	int code = catalog_holders(pass->catalog, content, note_holder, &has_one);
	return has_one || code != P2P_OK;
}

static void
meet_rival(void *arg, uint64_t fetch, const char *what, const struct catalog_version *rival)
{
	struct rivalry *rivalry = arg;
	struct follow_pass *pass = rivalry->pass;
	const struct catalog_version *version = rivalry->version;
	bool is_same = version != NULL && content_equal(&rival->content, &version->content);
	bool is_ours = strcmp(what, rivalry->lot->pattern) == 0;
	if (version != NULL && (is_same || (is_ours && !follow_is_newer(version, rival)))) {
		rivalry->is_wanted = true;
		return;
	}
	if (!is_ours || (version == NULL && has_holder(pass, &rival->content)))
		return;
	MAKE_ROOM(pass->stales, pass->stale_count, pass->stale_room);
	pass->stales[pass->stale_count++] =
	    (struct follow_stale){ fetch, mem_string(rivalry->name), rival->content };
}

static void
hold(struct follow_lot *lot, const char *name)
{
	if (lot->held++ == 0)
		lot->held_name = mem_string(name);
}

static void
take(struct follow_pass *pass, struct follow_lot *lot, const char *name,
     const struct catalog_version *version, uint32_t mode)
{
	MAKE_ROOM(pass->finds, pass->find_count, pass->find_room);
	pass->finds[pass->find_count++] = (struct follow_find){
		.name = mem_string(name),
		.version = *version,
		.mode = mode,
		.lot = (size_t)(lot - pass->lots),
	};
}

/* One change of a peer that a follow has not seen. */
static int
consider(struct follow_pass *pass, struct follow_lot *lot, const char *peer,
	 const struct change *change)
{
	char name[NAME_SIZE];
	if (!follow_fits(lot->pattern, change->name))
		return P2P_OK;
	/* Whatever is decided is decided once: what was cancelled or failed does not come again by itself. */
	lot->has_found = true;
	if (!follow_land(lot->place, change->name, name)) {
		if (!change->is_removed)
			hold(lot, change->name);
		return P2P_OK;
	}
	struct catalog_version version = { change->content, change->mtime_ns };
	struct rivalry rivalry = { .pass = pass, .lot = lot, .name = name };
	enum follow_verdict verdict = FOLLOW_TAKE;
	if (!change->is_removed) {
		rivalry.version = &version;
		int code = judge(pass, lot, peer, name, &version, &verdict);
		if (code != P2P_OK)
			return code;
		if (verdict == FOLLOW_HELD && !went_round(pass, lot, change))
			hold(lot, name);
		if (verdict != FOLLOW_TAKE || went_round(pass, lot, change))
			return P2P_OK;
	}
	int code = catalog_wanted(pass->catalog, name, meet_rival, &rivalry);
	if (code == P2P_OK && !change->is_removed && !rivalry.is_wanted)
		take(pass, lot, name, &version, change->mode);
	return code;
}

/* --- one peer --- */

/* Where the first of the follows stands.  A peer that is further back than a mark was forgotten and is
 * learnt anew: until it is there again it tells nothing new. */
static int
load_marks(struct follow_pass *pass, const struct follow_peer *peer, uint64_t *ret_from)
{
	uint64_t from = UINT64_MAX;
	for (size_t i = 0; i < pass->lot_count; i++) {
		struct follow_lot *lot = &pass->lots[i];
		int code = catalog_follow_mark(pass->catalog, lot->no, peer->id, &lot->from);
		if (code != P2P_OK)
			return code;
		if (lot->from.epoch != peer->epoch)
			lot->from = (struct catalog_mark){ 0 };
		lot->has_found = false;
		from = lot->from.seq < from ? lot->from.seq : from;
	}
	*ret_from = from;
	return P2P_OK;
}

static int
look_at_page(struct follow_pass *pass, const char *peer, const struct change_page *page)
{
	for (size_t i = 0; i < page->count; i++) {
		const struct change *change = &page->items[i];
		for (size_t j = 0; j < pass->lot_count; j++) {
			if (pass->lots[j].from.seq >= change->seq)
				continue;
			int code = consider(pass, &pass->lots[j], peer, change);
			if (code != P2P_OK)
				return code;
		}
	}
	pass->change_count += page->count;
	return P2P_OK;
}

static bool
is_full(const struct follow_pass *pass)
{
	return pass->find_count + CHANGE_PAGE_MAX > FOLLOW_ITEMS_MAX ||
	       pass->stale_count >= FOLLOW_ITEMS_MAX || pass->change_count >= FOLLOW_CHANGES_MAX;
}

/* Is it worth a transaction, if nothing else is? */
static bool
is_due(const struct follow_lot *lot, uint64_t seq, bool is_anew)
{
	if (lot->from.seq == seq)
		return is_anew && lot->from.epoch == 0;
	return is_anew || lot->has_found || seq - lot->from.seq >= LAZY_CHANGES;
}

static void
move_marks(struct follow_pass *pass, const struct follow_peer *peer, uint64_t seq)
{
	bool is_anew = catalog_is_anew(pass->catalog, peer->id);
	for (size_t i = 0; i < pass->lot_count; i++) {
		struct follow_lot *lot = &pass->lots[i];
		if (lot->from.seq > seq || !is_due(lot, seq, is_anew))
			continue;
		MAKE_ROOM(lot->moves, lot->move_count, lot->move_room);
		struct follow_move *move = &lot->moves[lot->move_count++];
		memcpy(move->peer, peer->id, sizeof(move->peer));
		move->mark = (struct catalog_mark){ peer->epoch, seq };
	}
}

static int
look_at_peer(struct follow_pass *pass, const struct follow_peer *peer)
{
	uint64_t from;
	int code = load_marks(pass, peer, &from);
	if (code != P2P_OK)
		return code;
	while (from < peer->seq && code == P2P_OK) {
		struct change_page *page;
		if (is_full(pass)) {
			pass->has_more = true;
			break;
		}
		/* Without `begun`: what is left goes on from here, whatever removals were forgotten. */
		struct change_question question = {
			.peer = peer->id,
			.epoch = peer->epoch,
			.since = from,
			.limit = CHANGE_PAGE_MAX,
		};
		code = catalog_changes(pass->catalog, &question, &page);
		if (code != P2P_OK)
			break;
		/* It began anew just now: there is news of that. */
		bool is_same = page->epoch == peer->epoch && page->since == from;
		if (is_same)
			code = look_at_page(pass, peer->id, page);
		if (is_same && code == P2P_OK)
			from = page->through;
		change_page_free(page);
		if (!is_same)
			break;
	}
	/* After trouble it is looked at again as a whole. */
	if (code == P2P_OK)
		move_marks(pass, peer, from);
	return code == P2P_NOT_FOUND ? P2P_OK : code;
}

/* --- the end --- */

/* By name; the newest version first, and of the same the one of the earlier follow. */
static int
compare_finds(const void *a, const void *b)
{
	const struct follow_find *x = a, *y = b;
	int by_name = strcmp(x->name, y->name);
	if (by_name != 0)
		return by_name;
	if (follow_is_newer(&x->version, &y->version))
		return -1;
	if (follow_is_newer(&y->version, &x->version))
		return 1;
	return x->lot < y->lot ? -1 : x->lot > y->lot;
}

static void
keep_each_name_once(struct follow_pass *pass)
{
	size_t kept = 0;
	if (pass->find_count != 0)
		qsort(pass->finds, pass->find_count, sizeof(*pass->finds), compare_finds);
	for (size_t i = 0; i < pass->find_count; i++) {
		if (kept != 0 && strcmp(pass->finds[kept - 1].name, pass->finds[i].name) == 0)
			free(pass->finds[i].name);
		else
			pass->finds[kept++] = pass->finds[i];
	}
	pass->find_count = kept;
}

void
follow_pass_run(struct follow_pass *pass)
{
	pass->code = catalog_follows(pass->catalog, add_lot, pass);
	if (pass->code == P2P_OK && pass->lot_count != 0)
		pass->code = catalog_peers(pass->catalog, add_peer, pass);
	for (size_t i = 0; i < pass->peer_count && pass->code == P2P_OK; i++)
		pass->code = look_at_peer(pass, &pass->peers[i]);
	keep_each_name_once(pass);
}

void
follow_pass_fini(struct follow_pass *pass)
{
	for (size_t i = 0; i < pass->lot_count; i++) {
		free(pass->lots[i].pattern);
		free(pass->lots[i].place);
		free(pass->lots[i].held_name);
		free(pass->lots[i].moves);
	}
	for (size_t i = 0; i < pass->find_count; i++)
		free(pass->finds[i].name);
	for (size_t i = 0; i < pass->stale_count; i++)
		free(pass->stales[i].name);
	free(pass->lots);
	free(pass->peers);
	free(pass->finds);
	free(pass->stales);
}
