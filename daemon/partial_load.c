/* SPDX-License-Identifier: MIT
 *
 * partial_load.c - finds out what the disk holds of a content.
 *
 * A have file that belongs to the data file is believed, and what it claims is
 * not read; unless the partial was closed in order and the data file changed
 * since, which was not us then.  Otherwise its bits are dropped for good
 * *before* the data file is given its full length, for that length is one of
 * the signs of belonging: in the other order a crash in between would leave a
 * have file that claims holes.
 *
 * Whatever else has bytes is read and held against the layer, holes aside:
 * after a kill that is what came since the last sync, and after a close in
 * order parts of pieces only, which are not looked at.  What is found right is
 * recorded at once, so that the next kill does not have it read again.  Without a layer nothing
 * tells right from wrong, and all is dropped.
 *
 * What is read must be the disk.  After a failed sync the kernel may keep pages
 * that it could not write and call them clean: dirty pages are written out
 * first, and the cache is dropped, so that only what is really there verifies.
 * A piece that cannot be read is one that is not there.
 */
#include "partial_inner.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "mem.h"

/* Hashes one piece from the disk; true if it is right. */
static bool
verify_piece(struct partial *partial, uint64_t piece, unsigned char *block, struct digest *leaves)
{
	size_t len = merkle_piece_length(partial->content.size_bytes, partial->piece_bytes, piece);
	uint64_t offset = piece * partial->piece_bytes;
	struct hasher *hasher = hasher_mine();
	struct digest node;

	for (size_t at = 0; at < len; at += STORE_BLOCK) {
		size_t part = len - at < STORE_BLOCK ? len - at : STORE_BLOCK;
		/* What cannot be read is not there: it is fetched again. */
		if (file_pread(partial->data_fd, block, part, offset + at, NULL) < 0)
			return false;
		merkle_leaves(hasher, block, part, &leaves[at / MERKLE_LEAF_BYTES]);
	}
	merkle_fold_piece(hasher, leaves, merkle_leaf_count(len), partial->piece_bytes,
			  partial->count == 1, &node);
	return digest_equal(&node, &partial->layer[piece]);
}

/* The first piece at or after `piece` that has any bytes on the disk; count if there is none. */
static uint64_t
next_piece_with_data(const struct partial *partial, uint64_t piece)
{
	off_t at = lseek(partial->data_fd, (off_t)(piece * partial->piece_bytes), SEEK_DATA);

	if (at >= 0)
		return (uint64_t)at / partial->piece_bytes;
	return errno == ENXIO ? partial->count : piece; /* EINVAL: it cannot tell */
}

/* The first piece at or after `piece` that is to be verified. */
static uint64_t
next_unproven(const struct partial *partial, uint64_t piece)
{
	while (piece < partial->count &&
	       (piece = next_piece_with_data(partial, piece)) < partial->count &&
	       partial_has(partial, piece))
		piece++;
	return piece;
}

/* What has bytes, and is not known to be right. */
static int
verify_rest(struct partial *partial, uint64_t *ret_read_bytes, struct error *err)
{
	uint64_t piece = next_unproven(partial, 0), read_bytes = 0;

	if (piece >= partial->count)
		return P2P_OK;
	/* What is read must be the disk, not pages that a failed sync left in memory. */
	if (fdatasync(partial->data_fd) < 0)
		return error_errno(err, "cannot sync the partial file");
	posix_fadvise(partial->data_fd, 0, 0, POSIX_FADV_DONTNEED);

	unsigned char *block = mem_alloc(STORE_BLOCK);
	struct digest *leaves =
	    mem_alloc(partial->piece_bytes / MERKLE_LEAF_BYTES * sizeof(*leaves));
	for (; piece < partial->count; piece = next_unproven(partial, piece + 1)) {
		if (verify_piece(partial, piece, block, leaves))
			partial_mark(partial, piece);
		read_bytes +=
		    merkle_piece_length(partial->content.size_bytes, partial->piece_bytes, piece);
	}
	free(leaves);
	free(block);
	*ret_read_bytes = read_bytes;
	return P2P_OK;
}

static void
believe_bits(struct partial *partial, const unsigned char *bits)
{
	for (uint64_t i = 0; i < partial->count; i++)
		if (bits[i >> 3] & (0x80u >> (i & 7)))
			partial_mark(partial, i);
	partial->synced_count = partial_have_count(partial);
}

/* Reads the have file.  True if its bits are believed; its layer is taken in any case.  *ret_is_settled: there is nothing
 * else to be found in the data file. */
static bool
load_have(struct partial *partial, const struct stat *data_stat, bool *ret_is_settled)
{
	struct have_loaded loaded;
	struct digest *layer = mem_alloc(partial->count * sizeof(*layer));
	unsigned char *bits = mem_alloc(have_bits_bytes(&partial->have));

	have_load(&partial->have, data_stat, layer, bits, &loaded);
	bool is_proven =
	    loaded.has_layer && partial_set_layer(partial, layer, partial->count, NULL) == P2P_OK;
	/* A record around a wrong layer is none, and is not to be carried on. */
	partial->have.has_header = partial->have.has_header && is_proven;
	bool is_believed = is_proven && loaded.has_bits;
	if (is_believed) {
		believe_bits(partial, bits);
		/* A stamp that stays costs reading after a kill, no more. */
		(void)have_unstamp(&partial->have, NULL);
	}
	free(bits);
	free(layer);
	*ret_is_settled = is_believed && loaded.is_untouched;
	return is_believed;
}

/* Gives the data file its full length, empty if nothing could tell which of its bytes are right. */
static int
fit_data(struct partial *partial, const struct stat *data_stat, struct error *err)
{
	off_t size = (off_t)partial->content.size_bytes;

	if (!partial_has_layer(partial) && data_stat->st_blocks > 0 &&
	    ftruncate(partial->data_fd, 0) < 0)
		return error_errno(err, "cannot empty the partial file");
	if (ftruncate(partial->data_fd, size) < 0)
		return error_errno(err, "cannot make the partial file %llu bytes long",
				   (unsigned long long)size);
	return P2P_OK;
}

int
partial_load(struct partial *partial, uint64_t *ret_read_bytes, struct error *err)
{
	uint64_t read_bytes = 0;
	bool is_settled = false;
	struct stat st;

	if (partial->kind == PARTIAL_ANONYMOUS) {
		*ret_read_bytes = 0;
		return P2P_OK;
	}
	int rc = partial_check_regular(partial->data_fd, &st, err);
	if (rc < 0)
		return rc;
	if (partial->count == 0 || !load_have(partial, &st, &is_settled)) {
		if (partial->count > 0)
			rc = have_drop_bits(&partial->have, err);
		if (rc == P2P_OK)
			rc = fit_data(partial, &st, err);
	}
	if (rc == P2P_OK && partial_has_layer(partial) && !is_settled)
		rc = verify_rest(partial, &read_bytes, err);
	if (rc == P2P_OK && read_bytes > 0)
		rc = partial_sync(partial, err);
	partial->is_loaded = rc == P2P_OK;
	if (rc == P2P_OK)
		*ret_read_bytes = read_bytes;
	return rc;
}
