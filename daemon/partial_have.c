/* SPDX-License-Identifier: MIT
 *
 * partial_have.c - the record of a partial on the disk.
 *
 * The file is a header, two slots, and a stamp where the partial was closed in order:
 *
 *	header	SHA-256 of the rest, magic, version, piece size, content id,
 *		number of pieces, device and inode of the data file, the layer
 *	slot	SHA-256 of the rest, digest of the header, generation, bits
 *	stamp	SHA-256 of the rest, digest of the header, generation of the
 *		newest slot, mtime and ctime of the data file
 *
 * all numbers little-endian.  Where a slot begins follows from the content
 * alone, which the caller knows, so no number in the file is ever a size for
 * us, and a file that was made for another content cannot lead us anywhere.
 *
 * The header is written once, as soon as the layer is known; before that no
 * piece can be verified and there is nothing to record.  It is not synced for
 * itself: it says what would be right, not what is there, and who loads it
 * holds it against the root.  The slots are written in
 * turn, always the older one: a crash in the middle of a write leaves the
 * other valid, and its claims stay true, because a verified piece is never
 * written again.  That a slot names its header keeps one of an earlier life of
 * the file from being believed.
 *
 * The stamp says how the data file was when we had written our last to it.  If
 * its times are others now, somebody else wrote, and the bits do not count.  A
 * file without a stamp was in use when we ended: its times tell nothing, for
 * our own writes after the last sync moved them too, so its bits do count.  The
 * stamp is cut off before anything is written again.  One that comes back after
 * a power cut is of an older generation than the newest slot, or makes us read
 * once too often.
 *
 * The digests find damage and torn writes, not forgery: who can write this
 * file can write the data too, and what is served is in our own directory.
 */
#include "partial_have.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "file.h"
#include "mem.h"
#include "partial.h"

#define MAGIC         "p2pdhave"
#define HAVE_VERSION  2u    /* 1 had no stamp */
#define ALIGN_BYTES   4096u /* slots do not share a page, nor a sector, with anything */
#define AT_MAGIC      32    /* offsets in the header */
#define AT_VERSION    40
#define AT_PIECE      44
#define AT_SIZE       48
#define AT_ROOT       56
#define AT_COUNT      88
#define AT_DEVICE     96
#define AT_INODE      104
#define AT_LAYER      112
#define AT_HEADER     32 /* offsets in a slot */
#define AT_GENERATION 64
#define AT_BITS       72
#define AT_MTIME      72 /* offsets in a stamp, which begins like a slot */
#define AT_CTIME      80
#define STAMP_BYTES   88
#define SLOTS         2u

static_assert(AT_LAYER + MERKLE_LAYER_MAX * DIGEST_BYTES + ALIGN_BYTES +
		      SLOTS * (AT_BITS + MERKLE_LAYER_MAX / 8 + ALIGN_BYTES) + STAMP_BYTES <=
		  PARTIAL_HAVE_MAX,
	      "the largest have file is over its limit");

static void
put32(unsigned char *at, uint32_t value)
{
	for (int i = 0; i < 4; i++)
		at[i] = (unsigned char)(value >> (8 * i));
}

static void
put64(unsigned char *at, uint64_t value)
{
	for (int i = 0; i < 8; i++)
		at[i] = (unsigned char)(value >> (8 * i));
}

static uint64_t
get64(const unsigned char *at)
{
	uint64_t value = 0;

	for (int i = 7; i >= 0; i--)
		value = value << 8 | at[i];
	return value;
}

static uint64_t
align(uint64_t bytes)
{
	return (bytes + ALIGN_BYTES - 1) / ALIGN_BYTES * ALIGN_BYTES;
}

static size_t
header_bytes(const struct have *have)
{
	return AT_LAYER + have->count * DIGEST_BYTES;
}

static size_t
slot_bytes(const struct have *have)
{
	return AT_BITS + have_bits_bytes(have);
}

static uint64_t
slot_offset(const struct have *have, unsigned slot)
{
	return align(header_bytes(have)) + slot * align(slot_bytes(have));
}

static uint64_t
stamp_offset(const struct have *have)
{
	return slot_offset(have, SLOTS);
}

void
have_init(struct have *have, int fd, const struct content_id *content, uint32_t piece_bytes,
	  uint64_t count)
{
	assert(count > 0 && count <= MERKLE_LAYER_MAX);
	*have = (struct have){
		.fd = fd,
		.content = *content,
		.piece_bytes = piece_bytes,
		.count = count,
	};
}

size_t
have_bits_bytes(const struct have *have)
{
	return (have->count + 7) / 8;
}

/* Everything of the header but digest and layer. */
static void
encode_header(const struct have *have, const struct stat *data_stat, unsigned char *ret)
{
	memcpy(ret + AT_MAGIC, MAGIC, 8);
	put32(ret + AT_VERSION, HAVE_VERSION);
	put32(ret + AT_PIECE, have->piece_bytes);
	put64(ret + AT_SIZE, have->content.size_bytes);
	memcpy(ret + AT_ROOT, have->content.root.bytes, DIGEST_BYTES);
	put64(ret + AT_COUNT, have->count);
	put64(ret + AT_DEVICE, data_stat->st_dev);
	put64(ret + AT_INODE, data_stat->st_ino);
}

/* Puts the SHA-256 of what follows in front. */
static void
seal(unsigned char *record, size_t len)
{
	struct digest digest;

	hasher_digest(hasher_mine(), record + DIGEST_BYTES, len - DIGEST_BYTES, &digest);
	memcpy(record, digest.bytes, DIGEST_BYTES);
}

static bool
is_sealed(const unsigned char *record, size_t len)
{
	struct digest digest;

	hasher_digest(hasher_mine(), record + DIGEST_BYTES, len - DIGEST_BYTES, &digest);
	return memcmp(record, digest.bytes, DIGEST_BYTES) == 0;
}

static void
load_header(struct have *have, const struct stat *data_stat, struct digest *layer,
	    struct have_loaded *ret)
{
	size_t len = header_bytes(have);
	unsigned char *header = mem_alloc(len);
	unsigned char expected[AT_LAYER];

	encode_header(have, data_stat, expected);
	if (file_pread(have->fd, header, len, 0, NULL) == P2P_OK && is_sealed(header, len) &&
	    memcmp(header + AT_MAGIC, expected + AT_MAGIC, AT_DEVICE - AT_MAGIC) == 0) {
		memcpy(layer, header + AT_LAYER, have->count * DIGEST_BYTES);
		memcpy(have->header.bytes, header, DIGEST_BYTES);
		ret->has_layer = true;
		have->has_header =
		    memcmp(header + AT_DEVICE, expected + AT_DEVICE, AT_LAYER - AT_DEVICE) == 0;
	}
	free(header);
}

/* True if the slot is whole, of our header, and claims no piece that there is not. */
static bool
is_slot_good(const struct have *have, const unsigned char *slot)
{
	size_t len = slot_bytes(have);
	unsigned spare = (unsigned)(8 - have->count % 8) % 8;

	return is_sealed(slot, len) &&
	       memcmp(slot + AT_HEADER, have->header.bytes, DIGEST_BYTES) == 0 &&
	       (slot[len - 1] & ((1u << spare) - 1)) == 0;
}

static void
load_slots(struct have *have, unsigned char *bits, struct have_loaded *ret)
{
	unsigned char *slot = mem_alloc(slot_bytes(have));

	for (unsigned i = 0; i < SLOTS; i++) {
		if (file_pread(have->fd, slot, slot_bytes(have), slot_offset(have, i), NULL) < 0 ||
		    !is_slot_good(have, slot))
			continue;
		uint64_t generation = get64(slot + AT_GENERATION);
		if (generation == UINT64_MAX || generation <= have->generation)
			continue;
		memcpy(bits, slot + AT_BITS, have_bits_bytes(have));
		have->generation = generation;
		have->next_slot = (i + 1) % SLOTS;
		ret->has_bits = true;
	}
	free(slot);
}

static void
encode_stamp(const struct have *have, const struct stat *data_stat, unsigned char ret[STAMP_BYTES])
{
	struct file_sig sig;

	file_sig_of(data_stat, &sig);
	memcpy(ret + AT_HEADER, have->header.bytes, DIGEST_BYTES);
	put64(ret + AT_GENERATION, have->generation);
	put64(ret + AT_MTIME, (uint64_t)sig.mtime_ns);
	put64(ret + AT_CTIME, (uint64_t)sig.ctime_ns);
	seal(ret, STAMP_BYTES);
}

/* If the data file was closed after the newest slot: is it as it was then? */
static void
load_stamp(const struct have *have, const struct stat *data_stat, struct have_loaded *ret)
{
	unsigned char stamp[STAMP_BYTES], expected[STAMP_BYTES];

	encode_stamp(have, data_stat, expected);
	if (file_pread(have->fd, stamp, STAMP_BYTES, stamp_offset(have), NULL) < 0 ||
	    !is_sealed(stamp, STAMP_BYTES) ||
	    memcmp(stamp + AT_HEADER, expected + AT_HEADER, AT_MTIME - AT_HEADER) != 0)
		return;
	ret->is_untouched =
	    memcmp(stamp + AT_MTIME, expected + AT_MTIME, STAMP_BYTES - AT_MTIME) == 0;
	ret->has_bits = ret->is_untouched;
}

void
have_load(struct have *have, const struct stat *data_stat, struct digest *layer,
	  unsigned char *bits, struct have_loaded *ret)
{
	*ret = (struct have_loaded){ 0 };
	have->has_header = false;
	have->generation = 0;
	have->next_slot = 0;
	load_header(have, data_stat, layer, ret);
	/* A data file of another length was cut, or was never ours. */
	if (have->has_header && (uint64_t)data_stat->st_size == have->content.size_bytes)
		load_slots(have, bits, ret);
	if (ret->has_bits)
		load_stamp(have, data_stat, ret);
}

int
have_unstamp(struct have *have, struct error *err)
{
	struct stat st;

	if (fstat(have->fd, &st) < 0)
		return error_errno(err, "cannot stat the have file");
	if ((uint64_t)st.st_size > stamp_offset(have) &&
	    ftruncate(have->fd, (off_t)stamp_offset(have)) < 0)
		return error_errno(err, "cannot cut the have file");
	return P2P_OK;
}

int
have_drop_bits(struct have *have, struct error *err)
{
	struct stat st;

	if (fstat(have->fd, &st) < 0)
		return error_errno(err, "cannot stat the have file");
	have->generation = 0;
	have->next_slot = 0;
	if ((uint64_t)st.st_size <= header_bytes(have))
		return P2P_OK;
	if (ftruncate(have->fd, (off_t)header_bytes(have)) < 0 || fdatasync(have->fd) < 0)
		return error_errno(err, "cannot cut the have file");
	return P2P_OK;
}

int
have_store_layer(struct have *have, const struct stat *data_stat, const struct digest *layer,
		 struct error *err)
{
	if (have->has_header)
		return P2P_OK;
	size_t len = header_bytes(have);
	unsigned char *header = mem_alloc(len);

	encode_header(have, data_stat, header);
	memcpy(header + AT_LAYER, layer, have->count * DIGEST_BYTES);
	seal(header, len);
	int rc = file_pwrite(have->fd, header, len, 0, err);
	if (rc == P2P_OK) {
		memcpy(have->header.bytes, header, DIGEST_BYTES);
		have->has_header = true;
	}
	free(header);
	return rc;
}

static int
store_slot(struct have *have, const unsigned char *bits, struct error *err)
{
	size_t len = slot_bytes(have);
	unsigned char *slot = mem_alloc(len);

	memcpy(slot + AT_HEADER, have->header.bytes, DIGEST_BYTES);
	put64(slot + AT_GENERATION, have->generation + 1);
	memcpy(slot + AT_BITS, bits, have_bits_bytes(have));
	seal(slot, len);
	int rc = file_pwrite(have->fd, slot, len, slot_offset(have, have->next_slot), err);
	if (rc == P2P_OK) {
		have->generation++;
		have->next_slot = (have->next_slot + 1) % SLOTS;
	}
	free(slot);
	return rc;
}

int
have_store(struct have *have, const struct stat *data_stat, const struct digest *layer,
	   const unsigned char *bits, struct error *err)
{
	int rc = have_store_layer(have, data_stat, layer, err);

	return rc == P2P_OK ? store_slot(have, bits, err) : rc;
}

int
have_stamp(struct have *have, const struct stat *data_stat, struct error *err)
{
	unsigned char stamp[STAMP_BYTES];

	encode_stamp(have, data_stat, stamp);
	return file_pwrite(have->fd, stamp, STAMP_BYTES, stamp_offset(have), err);
}

int
have_sync(struct have *have, struct error *err)
{
	if (fdatasync(have->fd) < 0)
		return error_errno(err, "cannot sync the have file");
	return P2P_OK;
}
