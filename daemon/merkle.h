/* SPDX-License-Identifier: MIT
 *
 * merkle.h - the tree over a file's leaves, as BitTorrent v2 (BEP 52) defines it.
 * No I/O.  Any thread; a builder belongs to one thread at a time.
 *
 * A leaf is 16 KiB (the last may be shorter), hashed by SHA-256.  The tree is filled up to
 * a power of two with leaves of 32 zero bytes.  A piece is a power-of-two number of leaves;
 * the piece layer is the tree's nodes at that height.  A content that fits in one piece has
 * a layer of one node, its root.  An empty content has root SHA-256 of nothing, no leaf, no piece.
 */
#ifndef P2PD_MERKLE_H
#define P2PD_MERKLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "digest.h"
#include "error.h"

#define MERKLE_LEAF_BYTES	16384u
#define MERKLE_PIECE_MIN	(64u << 10)	/* bytes: the smallest piece that we choose ourselves */
#define MERKLE_PIECE_MAX	(64u << 20)	/* bytes */
#define MERKLE_CONTENT_MAX	(1ull << 44)	/* bytes (16 TiB) of one content */
#define MERKLE_LAYER_MAX	(1u << 18)	/* nodes of a layer of our choice: CONTENT_MAX / PIECE_MAX */

/* The number of leaves, and of pieces of `piece_bytes`, of a content; 0 for an empty one. */
uint64_t merkle_leaf_count(uint64_t size_bytes);
uint64_t merkle_piece_count(uint64_t size_bytes, uint32_t piece_bytes);
/* The length of piece `index` (the last may be shorter). */
uint32_t merkle_piece_length(uint64_t size_bytes, uint32_t piece_bytes, uint64_t index);
/* The piece size that suits a content: MERKLE_PIECE_MIN, doubled while there would be more than
 * 1,024 pieces, up to MERKLE_PIECE_MAX.  Every peer chooses the same. */
uint32_t merkle_piece_bytes(uint64_t size_bytes);
/* True if piece_bytes is a power of two from MERKLE_LEAF_BYTES to MERKLE_PIECE_MAX. */
bool	 merkle_piece_valid(uint64_t piece_bytes);

/* The root of an empty content: SHA-256 of nothing. */
void	 merkle_empty_root(struct digest *ret);
/* False for what no content can be: over MERKLE_CONTENT_MAX, or empty with another root. */
bool	 merkle_content_valid(const struct content_id *content);

/*
 * The node over one piece: hashes `len` bytes (1 to piece_bytes) as leaves and folds them to the
 * height of a piece, or, with `alone` (the content is this one piece), only to the power of two
 * that holds its leaves: the root.  `piece_bytes` need not be chosen by us but must be valid.
 */
void	 merkle_piece_node(struct hasher *hasher, const void *data, size_t len,
	     uint32_t piece_bytes, bool alone, struct digest *ret);
/* The digests of the leaves of `len` bytes into leaves[⌈len / leaf⌉]. */
void	 merkle_leaves(struct hasher *hasher, const void *data, size_t len, struct digest *leaves);
/* Folds leaves (as above) into the node of their piece.  Borrows the leaves and leaves them as they are. */
void	 merkle_fold_piece(struct hasher *hasher, const struct digest *leaves, size_t count,
	     uint32_t piece_bytes, bool alone, struct digest *ret);
/* Folds the layer of pieces of `from_bytes` to the layer of `to_bytes` (>= from), in place; answers
 * the new count.  size_bytes is that of the whole content. */
size_t	 merkle_fold_layer(struct hasher *hasher, struct digest *layer, size_t count,
	     uint64_t size_bytes, uint32_t from_bytes, uint32_t to_bytes);
/* The root over a layer.  Borrows the layer and leaves it as it is. */
void	 merkle_layer_root(struct hasher *hasher, const struct digest *layer, size_t count,
	     uint32_t piece_bytes, struct digest *ret);

/*
 * A builder hashes a content of unknown length as it streams by, in bounded memory, and gives the
 * content id and the layer at merkle_piece_bytes() of the size.
 */
struct merkle_builder;
struct merkle_builder *merkle_builder_new(void);
void	 merkle_builder_free(struct merkle_builder *builder);
/* P2P_TOO_LARGE past MERKLE_CONTENT_MAX. */
int	 merkle_builder_feed(struct merkle_builder *builder, const void *data, size_t len);
/* Ends the content.  Gives the layer (free()), NULL and 0 for an empty content; the layer of a content
 * of one piece is its root alone. */
void	 merkle_builder_end(struct merkle_builder *builder, struct content_id *ret_id,
	     struct digest **ret_layer, size_t *ret_count);

#endif
