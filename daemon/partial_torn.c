/* SPDX-License-Identifier: MIT
 *
 * partial_torn.c - pieces of which a part is here: who sent which leaf, and which leaves are good.
 *
 * A piece is torn when the run that brought it was cut in its midst, or when all of it came and it
 * is wrong.  Its leaves lie in the file; their hashes, as the bytes came in, and who sent each, are
 * kept here in memory.  The next run goes on where leaves are missing, and may be of another
 * source.
 *
 * When the last leaf is there the piece is judged as a whole.  If it is wrong, somebody has to be
 * asked for its true leaves, which prove themselves: they fold to the piece's own hash, which the
 * layer has.  Held against them each leaf is right or wrong, whoever sent the wrong ones is known,
 * and the right ones stay.  From then on each leaf is judged as it comes in.
 *
 *	here in part --> all here, right: verified
 *	     ^      \--> all here, wrong: bad --> narrowed: here in part, and proven
 *	     \--------------------------------------/
 *
 * A sink takes the record of its piece out of the list while it feeds, so it needs no lock for it.
 * Records are few and lost with the partial: after a kill a torn piece comes anew.  Nothing of a
 * torn piece is ever readable or claimed.
 */
#include "partial_inner.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"

#define GAP_LEAVES \
	16 /* good ones between two holes that are asked for again: cheaper than two runs */

static uint32_t
leaf_count_of(const struct partial *partial, uint64_t piece)
{
	return (uint32_t)merkle_leaf_count(
	    merkle_piece_length(partial->content.size_bytes, partial->piece_bytes, piece));
}

static uint32_t
leaf_length(const struct partial *partial, uint64_t piece, uint32_t leaf)
{
	uint32_t left =
	    merkle_piece_length(partial->content.size_bytes, partial->piece_bytes, piece) -
	    leaf * MERKLE_LEAF_BYTES;
	return left < MERKLE_LEAF_BYTES ? left : MERKLE_LEAF_BYTES;
}

void
torn_reset(struct torn *torn, const struct partial *partial, uint64_t piece)
{
	torn->piece = piece;
	torn->leaf_count = leaf_count_of(partial, piece);
	torn->here_count = 0;
	torn->is_bad = torn->is_proven = false;
	memset(torn->senders, TORN_MISSING, torn->leaf_count);
}

struct torn *
torn_new(const struct partial *partial, uint64_t piece)
{
	size_t most = partial->piece_bytes / MERKLE_LEAF_BYTES;
	/* Not cleared: a hash counts only where there is a sender. */
	struct torn *torn = mem_alloc(sizeof(*torn) + most * sizeof(struct digest) + most);
	torn->next = NULL;
	torn->leaves = (struct digest *)(torn + 1);
	torn->senders = (unsigned char *)(torn->leaves + most);
	torn_reset(torn, partial, piece);
	return torn;
}

size_t
torn_take(struct torn *torn, uint32_t first, uint32_t count, const struct digest *leaves,
	  unsigned char sender)
{
	for (uint32_t i = 0; i < count; i++) {
		uint32_t at = first + i;
		if (torn->is_proven && !digest_equal(&torn->leaves[at], &leaves[i]))
			return i;
		torn->leaves[at] = leaves[i];
		torn->here_count += torn->senders[at] == TORN_MISSING;
		torn->senders[at] = sender;
	}
	return count;
}

bool
torn_is_right(const struct torn *torn, const struct partial *partial)
{
	struct digest node;
	merkle_fold_piece(hasher_mine(), torn->leaves, torn->leaf_count, partial->piece_bytes,
			  partial->count == 1, &node);
	return digest_equal(&node, &partial->layer[torn->piece]);
}

static bool
is_missing(const struct torn *torn, uint32_t leaf)
{
	return leaf < torn->leaf_count && torn->senders[leaf] == TORN_MISSING;
}

void
torn_hole(const struct torn *torn, uint32_t *ret_first, uint32_t *ret_end)
{
	uint32_t first = 0;
	while (first < torn->leaf_count && !is_missing(torn, first))
		first++;
	assert(first < torn->leaf_count);
	uint32_t end = first;
	for (uint32_t at = first; at < torn->leaf_count && at - end <= GAP_LEAVES; at++)
		if (is_missing(torn, at))
			end = at + 1;
	*ret_first = first;
	*ret_end = end;
}

/* --- the list --- */

/* Holds torn_mu.  NULL: it is not torn. */
static struct torn **
find(struct partial *partial, uint64_t piece)
{
	struct torn **link = &partial->torn;
	while (*link != NULL && (*link)->piece != piece)
		link = &(*link)->next;
	return link;
}

bool
torn_has(struct partial *partial, uint64_t piece)
{
	pthread_mutex_lock(&partial->torn_mu);
	bool has = *find(partial, piece) != NULL;
	pthread_mutex_unlock(&partial->torn_mu);
	return has;
}

struct torn *
torn_remove(struct partial *partial, uint64_t piece)
{
	pthread_mutex_lock(&partial->torn_mu);
	struct torn **link = find(partial, piece), *torn = *link;
	if (torn != NULL) {
		*link = torn->next;
		partial->torn_count--;
	}
	pthread_mutex_unlock(&partial->torn_mu);
	return torn;
}

bool
torn_keep(struct partial *partial, struct torn *torn)
{
	pthread_mutex_lock(&partial->torn_mu);
	assert(*find(partial, torn->piece) == NULL);
	bool is_kept = partial->torn_count < PARTIAL_TORN_MAX && torn->here_count > 0 &&
		       torn->leaf_count > 1 && (torn->is_proven || !partial->is_all_or_none);
	if (is_kept) {
		torn->next = partial->torn;
		partial->torn = torn;
		partial->torn_count++;
	}
	pthread_mutex_unlock(&partial->torn_mu);
	return is_kept;
}

void
torn_free_all(struct partial *partial)
{
	while (partial->torn != NULL) {
		struct torn *torn = partial->torn;
		partial->torn = torn->next;
		free(torn);
	}
}

/* --- judging --- */

uint64_t
partial_suspects(struct partial *partial, uint64_t piece)
{
	uint64_t set = 0;
	pthread_mutex_lock(&partial->torn_mu);
	const struct torn *torn = *find(partial, piece);
	for (uint32_t i = 0; torn != NULL && torn->is_bad && i < torn->leaf_count; i++)
		set |= UINT64_C(1) << torn->senders[i];
	pthread_mutex_unlock(&partial->torn_mu);
	return set;
}

/* Makes true leaves of what the record has.  `leaves` fit the piece. */
static void
narrow(struct partial *partial, struct torn *torn, const struct digest *leaves,
       struct partial_narrowed *ret)
{
	*ret = (struct partial_narrowed){ .leaves = torn->leaf_count };
	for (uint32_t i = 0; i < torn->leaf_count; i++) {
		if (digest_equal(&torn->leaves[i], &leaves[i]))
			continue;
		ret->liars |= UINT64_C(1) << torn->senders[i];
		ret->bad_leaves++;
		ret->bad_bytes += leaf_length(partial, torn->piece, i);
		torn->senders[i] = TORN_MISSING;
		torn->here_count--;
	}
	memcpy(torn->leaves, leaves, torn->leaf_count * sizeof(*leaves));
	torn->is_bad = false;
	torn->is_proven = true;
}

int
partial_narrow(struct partial *partial, uint64_t piece, const struct digest *leaves, size_t count,
	       struct partial_narrowed *ret, struct error *err)
{
	struct digest node;
	if (count != leaf_count_of(partial, piece))
		return error_set(err, P2P_BAD_CONTENT, "%zu leaves, not %u", count,
				 leaf_count_of(partial, piece));
	merkle_fold_piece(hasher_mine(), leaves, count, partial->piece_bytes, partial->count == 1,
			  &node);
	if (!digest_equal(&node, &partial->layer[piece]))
		return error_set(err, P2P_BAD_CONTENT, "the leaves do not fit piece %llu",
				 (unsigned long long)piece);
	struct torn *torn = torn_remove(partial, piece);
	assert(torn != NULL && torn->is_bad);
	narrow(partial, torn, leaves, ret);
	if (!torn_keep(partial, torn))
		free(torn);
	return P2P_OK;
}

void
partial_drop_torn(struct partial *partial, uint64_t piece)
{
	free(torn_remove(partial, piece));
}

uint64_t
partial_distrust(struct partial *partial, unsigned sender)
{
	uint64_t bytes = 0;
	pthread_mutex_lock(&partial->torn_mu);
	for (struct torn **link = &partial->torn; *link != NULL;) {
		struct torn *torn = *link;
		for (uint32_t i = 0; !torn->is_bad && !torn->is_proven && i < torn->leaf_count;
		     i++) {
			if (torn->senders[i] != sender)
				continue;
			torn->senders[i] = TORN_MISSING;
			torn->here_count--;
			bytes += leaf_length(partial, torn->piece, i);
		}
		if (torn->here_count > 0) {
			link = &torn->next;
			continue;
		}
		*link = torn->next;
		partial->torn_count--;
		free(torn);
	}
	pthread_mutex_unlock(&partial->torn_mu);
	return bytes;
}

void
partial_all_or_none(struct partial *partial)
{
	pthread_mutex_lock(&partial->torn_mu);
	partial->is_all_or_none = true;
	pthread_mutex_unlock(&partial->torn_mu);
}
