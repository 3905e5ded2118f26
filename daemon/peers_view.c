/* SPDX-License-Identifier: MIT
 *
 * peers_view.c - whom each of two peers takes for here, compared without a name being said.
 *
 * Who greets tells his view: which peers he does not take for away, as NODE_VIEW_SUMS sums.  A hash
 * of its id deals each peer into a bucket and gives it a mark of 32 bits; the sum of a bucket is the
 * exclusive or of the marks in it.  Who is greeted has sums of his own.  Where two are equal there
 * is nothing to tell.  Where they differ by the mark of one peer, that one alone is told, if it is
 * the caller who misses it; else some of the bucket are.  So those who agree say next to nothing
 * however many they are, and the last one that somebody misses is found by his next greeting, where
 * chance would take an hour.
 *
 * The two themselves are in neither view: each knows that the other is here.
 *
 * The sums are kept as peers come and go; a greeting costs no walk through all.  Nothing safe hangs
 * on them: who makes up a view, or ids whose marks cancel each other out, has a peer heard of later,
 * from somebody who knows of others; and what an answer to a wrong one may cost is bounded by who
 * gives it (peers_gossip.c).
 */
#include "peers_internal.h"

#include <string.h>

#include "digest.h"

struct peer_mark
peers_mark(const char *id)
{
	struct digest hash;
	const unsigned char *from = hash.bytes;

	hasher_digest(hasher_mine(), id, strlen(id), &hash);
	return (struct peer_mark){ .bucket = from[0] % NODE_VIEW_SUMS,
				   .mark = (uint32_t)from[1] << 24 | (uint32_t)from[2] << 16 |
					   (uint32_t)from[3] << 8 | from[4] };
}

/* Into a view that it is not in, or out of one that it is in. */
static void
turn(struct node_view *view, struct peer_mark mark)
{
	view->sums[mark.bucket] ^= mark.mark;
}

void
peers_view_turn(struct peers *peers, const struct peer *peer)
{
	turn(&peers->view, peer->mark);
}

void
peers_view(const struct peers *peers, const struct peer *but, struct node_view *ret)
{
	*ret = peers->view;
	ret->is_told = true;
	if (but != NULL && but->state != PEER_AWAY)
		turn(ret, but->mark);
}

/* Is it the whole difference of its bucket? */
static bool
explains(struct peer_mark mark, const struct node_view *difference)
{
	return difference->sums[mark.bucket] == mark.mark;
}

static void
subtract(const struct node_view *theirs, struct node_view *view)
{
	for (size_t i = 0; i < NODE_VIEW_SUMS; i++)
		view->sums[i] ^= theirs->sums[i];
}

size_t
peers_missing(const struct peers *peers, const struct peer *caller, const struct node_view *theirs,
	      struct peer **list, size_t list_count)
{
	struct node_view difference;
	bool is_explained[NODE_VIEW_SUMS] = { false };
	struct peer_mark own = peers_mark(peers->self.id);
	size_t count = 0;

	peers_view(peers, caller, &difference);
	subtract(theirs, &difference);
	/* He knows us, too, and met us where he did not expect us. */
	if (explains(own, &difference))
		turn(&difference, own);
	/* If only the caller sees one that is away for us, there is nothing to tell, either. */
	for (size_t i = 0; i < peers->count; i++)
		if (explains(peers->all[i]->mark, &difference))
			is_explained[peers->all[i]->mark.bucket] = true;
	for (size_t i = 0; i < list_count; i++) {
		struct peer *peer = list[i];
		size_t bucket = peer->mark.bucket;

		if (difference.sums[bucket] == 0 ||
		    (is_explained[bucket] && !explains(peer->mark, &difference)))
			continue;
		list[i] = list[count];
		list[count++] = peer;
	}
	return count;
}
