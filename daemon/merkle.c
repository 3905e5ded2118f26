/* SPDX-License-Identifier: MIT
 *
 * merkle.c - leaves, piece layers and roots.
 *
 * Everything here is one operation: fold a row of nodes into the node some
 * levels above them.  A spine does it: the left edge of the tree as it grows,
 * at most one finished node at each level, as a binary counter has digits.
 * A node is added like one is counted: each carry is one hash.  That needs no
 * memory but the spine and each inner node is hashed exactly once.  Where the
 * row ends early, the missing part is filled by padding, whose node at each
 * level is hashed only then.
 *
 * A piece that is the whole content is not filled up to the height of a
 * piece, but only to the power of two that holds its leaves: BEP 52 has no
 * layer for it, and its node is the root.
 *
 * The builder cannot know the size before the end, so it keeps the layer at
 * the smallest piece size and folds it, in place, to the next one whenever
 * BUILDER_NODES are held.  This never folds too far: a content with so many
 * pieces is given an even larger piece size by merkle_piece_bytes().  Memory
 * is a leaf, a spine and some nodes; only past 256 GiB (pieces of the largest
 * size) does the layer grow, up to MERKLE_LAYER_MAX nodes, 8 MiB.
 */
#include "merkle.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"

#define PIECES_WANTED 1024u /* more of them double the piece size */
#define BUILDER_NODES 4096u /* so many make the builder double its piece size */
#define SPINE_LEVELS  32    /* of a row of nodes: MERKLE_CONTENT_MAX is 30 over the leaves */

static_assert(BUILDER_NODES > 2 * PIECES_WANTED, "the builder would fold too far");
static_assert(MERKLE_CONTENT_MAX / MERKLE_PIECE_MAX == MERKLE_LAYER_MAX, "layer limit");

/* The left edge of a growing tree. */
struct spine {
	struct digest nodes[SPINE_LEVELS]; /* [h]: valid if bit h of count is set */
	uint64_t count;                    /* nodes added */
};

uint64_t
merkle_leaf_count(uint64_t size_bytes)
{
	return merkle_piece_count(size_bytes, MERKLE_LEAF_BYTES);
}

uint64_t
merkle_piece_count(uint64_t size_bytes, uint32_t piece_bytes)
{
	return size_bytes / piece_bytes + (size_bytes % piece_bytes != 0);
}

uint32_t
merkle_piece_length(uint64_t size_bytes, uint32_t piece_bytes, uint64_t index)
{
	assert(index < merkle_piece_count(size_bytes, piece_bytes));
	uint64_t left = size_bytes - index * piece_bytes;
	return left < piece_bytes ? (uint32_t)left : piece_bytes;
}

uint32_t
merkle_piece_bytes(uint64_t size_bytes)
{
	uint32_t piece_bytes = MERKLE_PIECE_MIN;

	while (piece_bytes < MERKLE_PIECE_MAX &&
	       merkle_piece_count(size_bytes, piece_bytes) > PIECES_WANTED)
		piece_bytes *= 2;
	return piece_bytes;
}

bool
merkle_piece_valid(uint64_t piece_bytes)
{
	return piece_bytes >= MERKLE_LEAF_BYTES && piece_bytes <= MERKLE_PIECE_MAX &&
	       (piece_bytes & (piece_bytes - 1)) == 0;
}

void
merkle_empty_root(struct digest *ret)
{
	hasher_digest(hasher_mine(), "", 0, ret);
}

bool
merkle_content_valid(const struct content_id *content)
{
	struct digest empty;

	if (content->size_bytes > 0)
		return content->size_bytes <= MERKLE_CONTENT_MAX;
	merkle_empty_root(&empty);
	return digest_equal(&empty, &content->root);
}

/* How many levels above the leaves the node of a piece is. */
static unsigned
piece_height(uint32_t piece_bytes)
{
	return (unsigned)__builtin_ctz(piece_bytes / MERKLE_LEAF_BYTES);
}

/* How many levels above a row of nodes the one node is that has them all. */
static unsigned
levels_over(uint64_t count)
{
	return count <= 1 ? 0 : 64 - (unsigned)__builtin_clzll(count - 1);
}

static void
spine_add(struct spine *spine, struct hasher *hasher, const struct digest *node)
{
	struct digest carry = *node;
	unsigned level = 0;

	for (; spine->count >> level & 1; level++)
		hasher_pair(hasher, &spine->nodes[level], &carry, &carry);
	spine->nodes[level] = carry;
	spine->count++;
}

/* The node `levels` above the nodes that were added, which are `height` above the leaves. */
static void
spine_end(const struct spine *spine, struct hasher *hasher, unsigned height, unsigned levels,
	  struct digest *ret)
{
	assert(spine->count > 0 && spine->count <= 1ull << levels);
	if (spine->count == 1ull << levels) {
		*ret = spine->nodes[levels];
		return;
	}
	struct digest pad = { { 0 } };
	for (unsigned i = 0; i < height; i++)
		hasher_pair(hasher, &pad, &pad, &pad);
	struct digest node = pad;
	for (unsigned level = 0; level < levels; level++) {
		if (spine->count >> level & 1)
			hasher_pair(hasher, &spine->nodes[level], &node, &node);
		else
			hasher_pair(hasher, &node, &pad, &node);
		hasher_pair(hasher, &pad, &pad, &pad);
	}
	*ret = node;
}

/* The same of a row of nodes.  `ret` may be one of them. */
static void
fold(struct hasher *hasher, const struct digest *nodes, size_t count, unsigned height,
     unsigned levels, struct digest *ret)
{
	struct spine spine = { .count = 0 };

	for (size_t i = 0; i < count; i++)
		spine_add(&spine, hasher, &nodes[i]);
	spine_end(&spine, hasher, height, levels, ret);
}

void
merkle_leaves(struct hasher *hasher, const void *data, size_t len, struct digest *leaves)
{
	const unsigned char *bytes = data;
	size_t whole = len / MERKLE_LEAF_BYTES, rest = len % MERKLE_LEAF_BYTES;

	if (whole > 0)
		hasher_blocks(hasher, data, MERKLE_LEAF_BYTES, whole, leaves);
	if (rest > 0)
		hasher_digest(hasher, bytes + len - rest, rest, &leaves[whole]);
}

void
merkle_piece_node(struct hasher *hasher, const void *data, size_t len, uint32_t piece_bytes,
		  bool alone, struct digest *ret)
{
	const unsigned char *bytes = data;
	struct spine spine = { .count = 0 };

	assert(merkle_piece_valid(piece_bytes) && len > 0 && len <= piece_bytes);
	for (size_t at = 0; at < len; at += MERKLE_LEAF_BYTES) {
		size_t part = len - at < MERKLE_LEAF_BYTES ? len - at : MERKLE_LEAF_BYTES;
		struct digest leaf;
		hasher_digest(hasher, bytes + at, part, &leaf);
		spine_add(&spine, hasher, &leaf);
	}
	spine_end(&spine, hasher, 0, alone ? levels_over(spine.count) : piece_height(piece_bytes),
		  ret);
}

void
merkle_fold_piece(struct hasher *hasher, const struct digest *leaves, size_t count,
		  uint32_t piece_bytes, bool alone, struct digest *ret)
{
	assert(merkle_piece_valid(piece_bytes));
	fold(hasher, leaves, count, 0, alone ? levels_over(count) : piece_height(piece_bytes), ret);
}

size_t
merkle_fold_layer(struct hasher *hasher, struct digest *layer, size_t count, uint64_t size_bytes,
		  uint32_t from_bytes, uint32_t to_bytes)
{
	assert(merkle_piece_valid(from_bytes) && merkle_piece_valid(to_bytes));
	assert(from_bytes <= to_bytes && count == merkle_piece_count(size_bytes, from_bytes));
	size_t group = to_bytes / from_bytes;
	if (group == 1 || count <= 1)
		return count;
	/* A content that fits in one piece of the new size has its root there. */
	unsigned levels = count <= group ? levels_over(count) : levels_over(group);
	size_t made = 0;
	for (size_t at = 0; at < count; at += group) {
		size_t part = count - at < group ? count - at : group;
		fold(hasher, &layer[at], part, piece_height(from_bytes), levels, &layer[made++]);
	}
	return made;
}

void
merkle_layer_root(struct hasher *hasher, const struct digest *layer, size_t count,
		  uint32_t piece_bytes, struct digest *ret)
{
	assert(merkle_piece_valid(piece_bytes));
	fold(hasher, layer, count, piece_height(piece_bytes), levels_over(count), ret);
}

struct merkle_builder {
	uint64_t size_bytes;  /* fed */
	uint32_t piece_bytes; /* of nodes[] */
	struct spine piece;   /* the leaves of the piece that is not whole yet */
	struct digest *nodes; /* of whole pieces */
	size_t count;         /* of nodes in use */
	size_t cap;           /* of nodes allocated */
	size_t leaf_fill;     /* bytes in leaf[] */
	unsigned char leaf[MERKLE_LEAF_BYTES];
};

struct merkle_builder *
merkle_builder_new(void)
{
	/* Not cleared as a whole: the leaf's 16 KiB need not be. */
	struct merkle_builder *builder = mem_alloc(sizeof(*builder));

	builder->size_bytes = 0;
	builder->piece_bytes = MERKLE_PIECE_MIN;
	builder->piece.count = 0;
	builder->nodes = NULL;
	builder->count = builder->cap = 0;
	builder->leaf_fill = 0;
	return builder;
}

void
merkle_builder_free(struct merkle_builder *builder)
{
	if (builder == NULL)
		return;
	free(builder->nodes);
	free(builder);
}

/* Ends the current piece, which is to be `levels` high. */
static void
builder_end_piece(struct merkle_builder *builder, struct hasher *hasher, unsigned levels)
{
	if (builder->count == builder->cap) {
		builder->cap = builder->cap == 0 ? 16 : builder->cap * 2;
		builder->nodes = mem_grow(builder->nodes, builder->cap, sizeof(*builder->nodes));
	}
	spine_end(&builder->piece, hasher, 0, levels, &builder->nodes[builder->count++]);
	builder->piece.count = 0;
}

static void
builder_add_leaf(struct merkle_builder *builder, struct hasher *hasher, const void *data,
		 size_t len)
{
	struct digest leaf;
	unsigned height = piece_height(builder->piece_bytes);

	hasher_digest(hasher, data, len, &leaf);
	spine_add(&builder->piece, hasher, &leaf);
	if (builder->piece.count < 1ull << height)
		return;
	builder_end_piece(builder, hasher, height);
	if (builder->count == BUILDER_NODES && builder->piece_bytes < MERKLE_PIECE_MAX) {
		uint64_t whole_bytes = (uint64_t)builder->count * builder->piece_bytes;
		builder->count =
		    merkle_fold_layer(hasher, builder->nodes, builder->count, whole_bytes,
				      builder->piece_bytes, builder->piece_bytes * 2);
		builder->piece_bytes *= 2;
	}
}

int
merkle_builder_feed(struct merkle_builder *builder, const void *data, size_t len)
{
	const unsigned char *bytes = data;
	struct hasher *hasher = hasher_mine();

	if (len > MERKLE_CONTENT_MAX - builder->size_bytes)
		return P2P_TOO_LARGE;
	builder->size_bytes += len;
	while (len > 0) {
		size_t part = MERKLE_LEAF_BYTES - builder->leaf_fill;
		if (part == MERKLE_LEAF_BYTES && len >= part) {
			builder_add_leaf(builder, hasher, bytes, part);
		} else {
			part = len < part ? len : part;
			memcpy(builder->leaf + builder->leaf_fill, bytes, part);
			builder->leaf_fill += part;
			if (builder->leaf_fill == MERKLE_LEAF_BYTES) {
				builder_add_leaf(builder, hasher, builder->leaf, MERKLE_LEAF_BYTES);
				builder->leaf_fill = 0;
			}
		}
		bytes += part;
		len -= part;
	}
	return P2P_OK;
}

void
merkle_builder_end(struct merkle_builder *builder, struct content_id *ret_id,
		   struct digest **ret_layer, size_t *ret_count)
{
	struct hasher *hasher = hasher_mine();

	if (builder->leaf_fill > 0)
		builder_add_leaf(builder, hasher, builder->leaf, builder->leaf_fill);
	builder->leaf_fill = 0;
	if (builder->piece.count > 0) /* a short last piece, or the only one */
		builder_end_piece(builder, hasher,
				  builder->count == 0 ? levels_over(builder->piece.count)
						      : piece_height(builder->piece_bytes));
	uint32_t piece_bytes = merkle_piece_bytes(builder->size_bytes);
	if (piece_bytes > builder->piece_bytes) {
		builder->count =
		    merkle_fold_layer(hasher, builder->nodes, builder->count, builder->size_bytes,
				      builder->piece_bytes, piece_bytes);
		builder->piece_bytes = piece_bytes;
	}
	assert(builder->count == merkle_piece_count(builder->size_bytes, piece_bytes));
	if (builder->count == 0)
		merkle_empty_root(&ret_id->root);
	else
		merkle_layer_root(hasher, builder->nodes, builder->count, piece_bytes,
				  &ret_id->root);
	ret_id->size_bytes = builder->size_bytes;
	*ret_layer = builder->nodes;
	*ret_count = builder->count;
	builder->nodes = NULL;
	builder->count = builder->cap = 0;
}
