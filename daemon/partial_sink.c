/* SPDX-License-Identifier: MIT
 *
 * partial_sink.c - a run of pieces as it comes in: hashed, held against the layer, written.
 *
 * Bytes are gathered into a block of STORE_BLOCK.  One that is full is hashed
 * leaf by leaf, then written: hash and write meet the same bytes while they are
 * in the cache, and nothing is read back.  Even large runs of bytes are copied
 * first: measured, hashing from this one warm block is faster than hashing
 * where they lie, by more than the copy costs.  A run starts where a piece
 * starts, and blocks and pieces are powers of two, so a block is either some
 * whole pieces or a part of one.
 *
 * Small pieces are held against the layer before the block is written: of a
 * block with a wrong piece only what stands before it reaches the disk.  A
 * large piece shows only at its end whether it is right; until then its blocks
 * lie in the file, but its bit is not set, so nobody reads them.
 *
 * A bit is set only after the write succeeded, and a verified piece never
 * gets other bytes: whoever reads it does not see it change.  That is why two
 * sinks must not feed one piece, and why a piece is claimed while it is fed.
 *
 * All memory is taken at the beginning: a block, and the leaves of one piece.
 */
#include "partial_inner.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"

struct partial_sink {
	struct partial *partial;
	uint64_t first;    /* piece of the run */
	uint64_t count;    /* pieces of the run */
	uint64_t verified; /* of them, from the first on */
	uint64_t offset;   /* in the file, where the next block begins */
	uint64_t end;      /* in the file, where the run ends */
	uint64_t received_bytes;
	uint64_t verified_bytes;
	int failed;            /* 0, or the code of the failure */
	size_t piece_fill;     /* bytes of the current piece whose leaves are in leaves[] */
	size_t fill;           /* bytes in block[] */
	struct digest *leaves; /* of one piece */
	unsigned char block[]; /* STORE_BLOCK, or the whole run if that is less */
};

struct partial_sink *
partial_sink_new(struct partial *partial, uint64_t first, uint64_t count)
{
	assert(partial_has_layer(partial));
	assert(count > 0 && first < partial->count && count <= partial->count - first);
	for (uint64_t i = first; i < first + count; i++)
		if (partial_set_bit(partial->claims, i))
			assert(!"a piece is fed by two sinks");

	uint64_t offset = first * partial->piece_bytes, end = offset + count * partial->piece_bytes;
	if (end > partial->content.size_bytes)
		end = partial->content.size_bytes;
	size_t block_bytes = end - offset < STORE_BLOCK ? end - offset : STORE_BLOCK;
	/* Not cleared: the block need not be. */
	struct partial_sink *sink = mem_alloc(sizeof(*sink) + block_bytes);
	sink->partial = partial;
	sink->first = first;
	sink->count = count;
	sink->verified = sink->received_bytes = sink->verified_bytes = 0;
	sink->offset = offset;
	sink->end = end;
	sink->failed = P2P_OK;
	sink->piece_fill = sink->fill = 0;
	sink->leaves = mem_alloc(partial->piece_bytes / MERKLE_LEAF_BYTES * sizeof(struct digest));
	return sink;
}

/* True if the piece whose leaves are all there is the one of the layer. */
static bool
is_right_piece(struct partial_sink *sink, struct hasher *hasher, uint64_t piece)
{
	struct partial *partial = sink->partial;
	struct digest node;

	merkle_fold_piece(hasher, sink->leaves, merkle_leaf_count(sink->piece_fill),
			  partial->piece_bytes, partial->count == 1, &node);
	return digest_equal(&node, &partial->layer[piece]);
}

/* Hashes a block.  How many pieces end in it, and how many of its bytes are worth writing;
 * P2P_BAD_CONTENT if one that ends in it is wrong. */
static int
hash_block(struct partial_sink *sink, const unsigned char *data, size_t len, uint64_t *ret_pieces,
	   size_t *ret_good)
{
	struct partial *partial = sink->partial;
	struct hasher *hasher = hasher_mine();
	uint64_t piece = sink->first + sink->verified;

	*ret_pieces = 0;
	*ret_good = 0;
	for (size_t at = 0; at < len;) {
		size_t piece_len =
		    merkle_piece_length(partial->content.size_bytes, partial->piece_bytes, piece);
		size_t part = piece_len - sink->piece_fill;
		part = part < len - at ? part : len - at;
		merkle_leaves(hasher, data + at, part,
			      &sink->leaves[sink->piece_fill / MERKLE_LEAF_BYTES]);
		sink->piece_fill += part;
		at += part;
		if (sink->piece_fill == piece_len) {
			if (!is_right_piece(sink, hasher, piece))
				return P2P_BAD_CONTENT;
			sink->piece_fill = 0;
			piece++;
			++*ret_pieces;
		}
		*ret_good = at;
	}
	return P2P_OK;
}

static void
count_pieces(struct partial_sink *sink, uint64_t pieces)
{
	struct partial *partial = sink->partial;

	for (; pieces > 0; pieces--) {
		uint64_t piece = sink->first + sink->verified++;
		sink->verified_bytes +=
		    merkle_piece_length(partial->content.size_bytes, partial->piece_bytes, piece);
		partial_mark(partial, piece);
	}
}

static int
take_block(struct partial_sink *sink, const unsigned char *data, size_t len, struct error *err)
{
	struct partial *partial = sink->partial;
	uint64_t piece = sink->first + sink->verified, pieces;
	size_t good;

	int bad = hash_block(sink, data, len, &pieces, &good);
	/* A part of a large piece that is verified already may hold other bytes than these,
	 * for all we know until its end.  Whole pieces were just found to be equal. */
	bool is_known = partial->piece_bytes > STORE_BLOCK && partial_has(partial, piece);
	if (good > 0 && !is_known) {
		int rc = file_pwrite(partial->data_fd, data, good, sink->offset, err);
		if (rc < 0)
			return rc;
	}
	sink->offset += len;
	count_pieces(sink, pieces);
	if (bad == P2P_OK)
		return P2P_OK;
	return error_set(err, P2P_BAD_CONTENT, "piece %llu does not match the content id",
			 (unsigned long long)(sink->first + sink->verified));
}

/* Gathers, and takes what is due: a whole block, or what ends the run. */
static int
feed(struct partial_sink *sink, const unsigned char *data, size_t len, struct error *err)
{
	while (len > 0) {
		uint64_t left = sink->end - sink->offset;
		size_t due = left < STORE_BLOCK ? (size_t)left : STORE_BLOCK;
		if (due == 0)
			return error_set(err, P2P_BAD_CONTENT,
					 "more bytes came than were asked for");
		size_t part = due - sink->fill < len ? due - sink->fill : len;
		memcpy(sink->block + sink->fill, data, part);
		sink->fill += part;
		data += part;
		len -= part;
		if (sink->fill < due)
			break;
		sink->fill = 0;
		int rc = take_block(sink, sink->block, due, err);
		if (rc < 0)
			return rc;
	}
	return P2P_OK;
}

int
partial_sink_feed(struct partial_sink *sink, const void *data, size_t len, struct error *err)
{
	assert(sink->failed == P2P_OK);
	sink->received_bytes += len;
	sink->failed = feed(sink, data, len, err);
	return sink->failed;
}

void
partial_sink_end(struct partial_sink *sink, uint64_t *ret_verified, uint64_t *ret_wasted_bytes)
{
	struct partial *partial = sink->partial;

	/* The run was cut: whole pieces that wait in the block still count. */
	size_t whole = sink->fill - sink->fill % partial->piece_bytes;
	if (sink->failed == P2P_OK && whole > 0)
		take_block(sink, sink->block, whole, NULL);
	for (uint64_t i = sink->first; i < sink->first + sink->count; i++)
		atomic_fetch_and_explicit(&partial->claims[i >> 3],
					  (unsigned char)~(0x80u >> (i & 7)), memory_order_release);
	if (ret_verified != NULL)
		*ret_verified = sink->verified;
	if (ret_wasted_bytes != NULL)
		*ret_wasted_bytes = sink->received_bytes - sink->verified_bytes;
	free(sink->leaves);
	free(sink);
}
