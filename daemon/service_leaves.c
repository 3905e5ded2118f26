/* SPDX-License-Identifier: MIT
 *
 * service_leaves.c - the leaf hashes under one piece, for somebody to whom a piece came wrong.
 *
 * They are the nodes of the tree at height 0 (a hash request of BEP 52 with base layer 0).  Nobody
 * keeps them: they are made anew from the bytes, when a bad piece is to be narrowed to its leaves,
 * which is rare.  Whoever asks holds them against the piece's own hash, so they need no further
 * proof, and a wrong answer harms only its sender.
 *
 * To ask costs nothing, to answer costs reading and hashing of up to 64 MiB.  So few are made at
 * once, and whoever comes when all turns are taken is refused; he asks another holder, or later.
 */
#include "service_internal.h"

#include <stdlib.h>

#include "mem.h"

/* The leaves that were asked for lie under one piece of the content. */
static int
check_span(const struct content_id *content, uint64_t first, uint64_t count, struct error *err)
{
	uint64_t leaf_count = merkle_leaf_count(content->size_bytes);
	uint64_t piece_leaves = merkle_piece_bytes(content->size_bytes) / MERKLE_LEAF_BYTES;

	if (first >= leaf_count || count > leaf_count - first)
		return error_set(err, P2P_BAD_RANGE, "the content has %llu leaves",
				 (unsigned long long)leaf_count);
	if (count == 0 || first / piece_leaves != (first + count - 1) / piece_leaves)
		return error_set(err, P2P_BAD_REQUEST,
				 "count: wanted leaves of one piece, which has %llu",
				 (unsigned long long)piece_leaves);
	return P2P_OK;
}

static int
hash_span(const struct store_reader *reader, uint64_t offset, size_t len, struct digest *leaves,
	  struct error *err)
{
	struct hasher *hasher = hasher_mine();
	unsigned char *block = mem_alloc(STORE_BLOCK);
	int code = P2P_OK;

	for (size_t at = 0; code == P2P_OK && at < len; at += STORE_BLOCK) {
		size_t part = len - at < STORE_BLOCK ? len - at : STORE_BLOCK;
		code = file_pread(reader->fd, block, part, offset + at, err);
		if (code == P2P_OK)
			merkle_leaves(hasher, block, part, &leaves[at / MERKLE_LEAF_BYTES]);
	}
	free(block);
	if (code == P2P_OK && store_reader_check(reader) != P2P_OK)
		code = error_set(err, P2P_CONFLICT, "the file changed meanwhile");
	return code;
}

static int
make_leaves(struct service *service, const struct content_id *content, uint64_t first,
	    uint64_t count, struct digest **ret, struct error *err)
{
	struct store_reader *reader;
	uint64_t offset = first * MERKLE_LEAF_BYTES, end = offset + count * MERKLE_LEAF_BYTES;
	size_t len = (end < content->size_bytes ? end : content->size_bytes) - offset;
	int code = service_find_content(service, content, offset, len, &reader, err);

	if (code != P2P_OK)
		return code;
	struct digest *leaves = mem_alloc(count * sizeof(*leaves));
	code = hash_span(reader, offset, len, leaves, err);
	store_reader_unref(reader);
	if (code == P2P_OK)
		*ret = leaves;
	else
		free(leaves);
	return code;
}

int
service_leaves(struct service *service, const struct content_id *content, uint64_t first,
	       uint64_t count, struct digest **ret, struct error *err)
{
	int code = check_span(content, first, count, err);

	if (code != P2P_OK)
		return code;
	if (atomic_fetch_add(&service->leaves_under_way, 1) < SERVICE_LEAVES_MAX)
		code = make_leaves(service, content, first, count, ret, err);
	else
		code = error_set(err, P2P_TOO_MANY,
				 "leaves are being hashed for %d others, which is the most",
				 SERVICE_LEAVES_MAX);
	atomic_fetch_sub(&service->leaves_under_way, 1);
	return code;
}
