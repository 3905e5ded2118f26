/* SPDX-License-Identifier: MIT
 *
 * peers_view.c - whom each of two peers takes for here, compared without a name being said.
 *
 * Who greets tells his view: which peers he does not take for away, as NODE_VIEW_SUMS sums.  A hash
 * of its id deals each peer into a bucket and gives it a mark of 32 bits; the sum of a bucket is the
 * exclusive or of the marks in it.  Who is greeted has sums of his own.  Where two are equal there
 * is nothing to tell.  Where they differ by the marks of one peer or two, these alone are told, if it
 * is the caller who misses them; else some of the bucket are.  So those who agree say next to nothing
 * however many they are, and the last ones that somebody misses are found by his next greeting, where
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

/* --- whom a difference means --- */

/* `sum` is the sum of one or two of these marks.  Of more there are too many ways for a sum to tell. */
static struct marks_meant
find_meant(uint32_t sum, const uint32_t *marks, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (marks[i] == sum)
			return (struct marks_meant){ 1, { sum } };
	for (size_t i = 0; i < count; i++)
		for (size_t k = 0; k < i; k++)
			if ((marks[i] ^ marks[k]) == sum)
				return (struct marks_meant){ 2, { marks[i], marks[k] } };
	return (struct marks_meant){ 0 };
}

/*
 * Of all peers, for if only the caller sees one that is away for us, there is nothing to tell, either;
 * and of us, for he may have met us where he did not expect us.
 */
static struct marks_meant
find_in_bucket(const struct peers *peers, size_t bucket, uint32_t sum)
{
	uint32_t marks[1 + PEERS_MAX];
	struct peer_mark own = peers_mark(peers->self.id);
	size_t count = 0;

	if (sum == 0)
		return (struct marks_meant){ 0 };
	if (own.bucket == bucket)
		marks[count++] = own.mark;
	for (size_t i = 0; i < peers->count; i++)
		if (peers->all[i]->mark.bucket == bucket)
			marks[count++] = peers->all[i]->mark.mark;
	return find_meant(sum, marks, count);
}

void
peers_view_differ(const struct peers *peers, const struct peer *caller,
		  const struct node_view *theirs, struct view_difference *ret)
{
	peers_view(peers, caller, &ret->view);
	for (size_t i = 0; i < NODE_VIEW_SUMS; i++)
		ret->view.sums[i] ^= theirs->sums[i];
	for (size_t i = 0; i < NODE_VIEW_SUMS; i++)
		ret->meant[i] = find_in_bucket(peers, i, ret->view.sums[i]);
}

enum view_doubt
peers_view_doubt(const struct view_difference *difference, const struct peer *peer)
{
	const struct marks_meant *meant;

	if (difference == NULL)
		return VIEW_MAY_DIFFER;
	meant = &difference->meant[peer->mark.bucket];
	if (difference->view.sums[peer->mark.bucket] == 0)
		return VIEW_SAME;
	for (size_t i = 0; i < meant->count; i++)
		if (meant->marks[i] == peer->mark.mark)
			return VIEW_DIFFERS;
	return meant->count > 0 ? VIEW_SAME : VIEW_MAY_DIFFER;
}
