/* SPDX-License-Identifier: MIT
 *
 * partial_sink.c - a run of pieces as it comes in: hashed, held against the layer, written.
 *
 * Bytes are gathered into a block of STORE_BLOCK.  One that is full is hashed
 * leaf by leaf, then written: hash and write meet the same bytes while they are
 * in the cache, and nothing is read back.  Even large runs of bytes are copied
 * first: measured, hashing from this one warm block is faster than hashing
 * where they lie, by more than the copy costs.
 *
 * A run is whole pieces, or, if its first piece is torn (partial_torn.c), a
 * hole of that one.  Before a torn piece in its midst it ends, for that one is
 * better gone on with.  Runs of whole pieces have blocks that are either some
 * whole pieces or a part of one, for both are powers of two.
 *
 * Pieces are held against the layer before the block that ends them is
 * written.  The blocks of a large piece, and all of one that is wrong, lie in
 * the file without its bit: nobody reads them.
 *
 * A bit is set only after the write succeeded, and a verified piece never
 * gets other bytes: whoever reads it does not see it change.  That is why two
 * sinks must not feed one piece, and why a piece is claimed while it is fed.
 *
 * All memory is taken at the beginning: a block, and the record of one piece.
 */
#include "partial_inner.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"

#define NOBODY       254 /* a sender from whom nothing is kept but whole pieces */
#define BLOCK_LEAVES (STORE_BLOCK / MERKLE_LEAF_BYTES)

struct partial_sink {
	struct partial *partial;
	unsigned char sender;
	uint64_t first;    /* piece of the run */
	uint64_t count;    /* pieces of the run */
	uint64_t verified; /* of them, from the first on */
	uint64_t begin;    /* in the file, where the run begins */
	uint64_t offset;   /* ... where the next block begins */
	uint64_t end;      /* ... where the run ends */
	uint64_t received_bytes;
	uint64_t useful_bytes; /* of verified pieces */
	uint64_t open_bytes;   /* of the current piece, in the file */
	int failed;            /* 0, or the code of the failure */
	bool is_unwritten;     /* the record has leaves that did not get into the file */
	struct torn *torn;     /* what is here of the current piece */
	size_t fill;           /* bytes in block[] */
	unsigned char block[]; /* STORE_BLOCK, or the whole run if that is less */
};

/* What a sink is to bring: `torn` if it goes on with a piece. */
struct span {
	uint64_t count, begin, end;
	struct torn *torn;
};

static void
find_span(struct partial *partial, uint64_t first, uint64_t count, unsigned char sender,
	  struct span *ret)
{
	uint64_t begin = first * partial->piece_bytes, size_bytes = partial->content.size_bytes;
	struct torn *torn = torn_remove(partial, first);
	uint32_t hole, hole_end;

	/* A bad one that nobody narrows is worth nothing. */
	if (torn != NULL && (sender == NOBODY || torn->is_bad)) {
		free(torn);
		torn = NULL;
	}
	*ret = (struct span){ .count = 1, .begin = begin, .torn = torn };
	if (torn != NULL) {
		torn_hole(torn, &hole, &hole_end);
		ret->begin = begin + (uint64_t)hole * MERKLE_LEAF_BYTES;
		ret->end = begin + (uint64_t)hole_end * MERKLE_LEAF_BYTES;
	} else {
		while (ret->count < count && !torn_has(partial, first + ret->count))
			ret->count++;
		ret->end = begin + ret->count * partial->piece_bytes;
	}
	if (ret->end > size_bytes)
		ret->end = size_bytes;
}

static struct partial_sink *
make_sink(struct partial *partial, uint64_t first, uint64_t count, unsigned char sender)
{
	struct span span;

	assert(partial_has_layer(partial));
	assert(count > 0 && first < partial->count && count <= partial->count - first);
	find_span(partial, first, count, sender, &span);
	for (uint64_t i = first; i < first + span.count; i++)
		if (partial_set_bit(partial->claims, i))
			assert(!"a piece is fed by two sinks");

	uint64_t len = span.end - span.begin;
	/* Not cleared: the block need not be. */
	struct partial_sink *sink =
	    mem_alloc(sizeof(*sink) + (len < STORE_BLOCK ? len : STORE_BLOCK));
	*sink = (struct partial_sink){
		.partial = partial,
		.sender = sender,
		.first = first,
		.count = span.count,
		.begin = span.begin,
		.offset = span.begin,
		.end = span.end,
		.torn = span.torn != NULL ? span.torn : torn_new(partial, first),
	};
	return sink;
}

struct partial_sink *
partial_sink_new(struct partial *partial, uint64_t first, uint64_t count)
{
	return make_sink(partial, first, count, NOBODY);
}

struct partial_sink *
partial_sink_new_from(struct partial *partial, uint64_t first, uint64_t count, unsigned sender)
{
	assert(sender < PARTIAL_SENDERS);
	return make_sink(partial, first, count, (unsigned char)sender);
}

void
partial_sink_span(const struct partial_sink *sink, uint64_t *ret_offset, uint64_t *ret_len,
		  uint64_t *ret_pieces)
{
	*ret_offset = sink->begin;
	*ret_len = sink->end - sink->begin;
	*ret_pieces = sink->count;
}

/* --- a block --- */

/* What came of a block. */
struct taken {
	uint64_t pieces; /* that it made whole */
	uint64_t useful; /* bytes of the run in them */
	size_t good;     /* of its bytes, that are worth writing */
	bool is_bad;     /* what follows those is wrong, or the piece in which they end is */
};

/* Takes the next bytes of the current piece, as far as they are not proven to be others. */
static size_t
take_leaves(struct partial_sink *sink, const unsigned char *data, size_t part, uint64_t offset)
{
	struct digest leaves[BLOCK_LEAVES];
	uint64_t begin = sink->torn->piece * sink->partial->piece_bytes;
	uint32_t count = (uint32_t)merkle_leaf_count(part);

	merkle_leaves(hasher_mine(), data, part, leaves);
	size_t taken = torn_take(sink->torn, (uint32_t)((offset - begin) / MERKLE_LEAF_BYTES),
				 count, leaves, sink->sender);
	return taken == count ? part : taken * MERKLE_LEAF_BYTES;
}

/* All of the current piece is here: is it right?  Then the next one is the current. */
static bool
end_piece(struct partial_sink *sink, struct taken *taken)
{
	struct torn *torn = sink->torn;

	torn->is_bad = !torn->is_proven && !torn_is_right(torn, sink->partial);
	if (torn->is_bad)
		return false;
	taken->pieces++;
	taken->useful += sink->open_bytes;
	sink->open_bytes = 0;
	if (torn->piece + 1 < sink->first + sink->count)
		torn_reset(torn, sink->partial, torn->piece + 1);
	return true;
}

/* Hashes a block.  Of a piece that is verified already only what is found to be equal is worth writing. */
static struct taken
hash_block(struct partial_sink *sink, const unsigned char *data, size_t len)
{
	struct partial *partial = sink->partial;
	struct taken ret = { .good = 0 };

	for (size_t at = 0; at < len && !ret.is_bad;) {
		struct torn *torn = sink->torn;
		uint64_t offset = sink->offset + at, piece = torn->piece;
		uint64_t left =
		    piece * partial->piece_bytes - offset +
		    merkle_piece_length(partial->content.size_bytes, partial->piece_bytes, piece);
		size_t part = left < len - at ? (size_t)left : len - at;
		size_t took = take_leaves(sink, data + at, part, offset);
		bool is_whole = took == part && torn->here_count == torn->leaf_count;

		sink->open_bytes += took;
		ret.is_bad = took < part || (is_whole && !end_piece(sink, &ret));
		if ((is_whole && !ret.is_bad) || !partial_has(partial, piece))
			ret.good = at + took;
		at += part;
	}
	return ret;
}

static void
count_pieces(struct partial_sink *sink, const struct taken *taken)
{
	for (uint64_t i = 0; i < taken->pieces; i++)
		partial_mark(sink->partial, sink->first + sink->verified++);
	sink->useful_bytes += taken->useful;
}

static int
take_block(struct partial_sink *sink, const unsigned char *data, size_t len, struct error *err)
{
	struct taken taken = hash_block(sink, data, len);

	if (taken.good > 0) {
		int rc = file_pwrite(sink->partial->data_fd, data, taken.good, sink->offset, err);
		sink->is_unwritten = rc < 0;
		if (rc < 0)
			return rc;
	}
	sink->offset += len;
	count_pieces(sink, &taken);
	if (!taken.is_bad)
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

/* --- the end --- */

/* The run was cut: what waits in the block still counts, as far as it can be judged, or kept. */
static void
take_rest(struct partial_sink *sink)
{
	size_t unit = sink->sender == NOBODY ? sink->partial->piece_bytes : MERKLE_LEAF_BYTES;
	size_t whole = sink->fill - sink->fill % unit;

	if (sink->failed == P2P_OK && whole > 0)
		sink->failed = take_block(sink, sink->block, whole, NULL);
}

/* What is here of a piece that is not whole, or wrong, may be of use later. */
static void
keep_torn(struct partial_sink *sink)
{
	if (sink->sender == NOBODY || sink->is_unwritten ||
	    partial_has(sink->partial, sink->torn->piece) || !torn_keep(sink->partial, sink->torn))
		free(sink->torn);
	else
		sink->useful_bytes += sink->open_bytes;
}

void
partial_sink_end(struct partial_sink *sink, uint64_t *ret_verified, uint64_t *ret_wasted_bytes)
{
	take_rest(sink);
	/* Before somebody else may feed it. */
	keep_torn(sink);
	for (uint64_t i = sink->first; i < sink->first + sink->count; i++)
		atomic_fetch_and_explicit(&sink->partial->claims[i >> 3],
					  (unsigned char)~(0x80u >> (i & 7)), memory_order_release);
	if (ret_verified != NULL)
		*ret_verified = sink->verified;
	if (ret_wasted_bytes != NULL)
		*ret_wasted_bytes = sink->received_bytes - sink->useful_bytes;
	free(sink);
}
