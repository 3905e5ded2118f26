/* SPDX-License-Identifier: MIT
 *
 * fuzz_have.c - loading a partial over have files of any bytes.
 *
 * The input is one byte that chooses, then the have file.  The content is fixed: five pieces, of
 * which the data file holds the first two rightly.  Chosen by bits: 1, the caller knows the layer
 * before; 2, the device and inode in the header are made those of the data file; 4, the digests are
 * made right, so that what lies behind them is reached; 8, the data file has another length; 16, the times in the
 * stamp are made those of the data file; 32, the first of the two loads ends with a close in order.
 *
 * Held: no crash; no bit outside of the content; a count that agrees with the bits; and, unless the
 * digests were made right, only pieces that are really there, since a forged record cannot be told
 * from a true one.  Each load is followed by a sync or a close, and a second load, which must agree
 * with the first and read nothing.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "partial.h"

#define PIECES      5u
#define PIECE_BYTES 65536u
#define SIZE_BYTES  ((PIECES - 1) * PIECE_BYTES + 1000)
#define RIGHT       2u                  /* pieces that the data file holds */
#define HEADER      (112 + PIECES * 32) /* bytes; the form is told in partial_have.c */
#define SLOT_AT     4096u
#define SLOT        73u /* bytes */
#define STAMP_AT    (3 * SLOT_AT)
#define STAMP       88u /* bytes */
#define FILE_BYTES  (STAMP_AT + STAMP)

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t len);

static struct content_id id;
static struct digest *layer;
static size_t layer_count;
static unsigned char content[SIZE_BYTES];

static void
require(bool holds)
{
	if (!holds)
		abort();
}

static void
make_content(void)
{
	struct merkle_builder *builder = merkle_builder_new();

	for (size_t i = 0; i < SIZE_BYTES; i++)
		content[i] = (unsigned char)(((uint64_t)i * 2654435761u) >> 13);
	merkle_builder_feed(builder, content, SIZE_BYTES);
	merkle_builder_end(builder, &id, &layer, &layer_count);
	merkle_builder_free(builder);
	require(layer_count == PIECES);
}

static void
seal(unsigned char *record, size_t len)
{
	struct digest digest;

	hasher_digest(hasher_mine(), record + 32, len - 32, &digest);
	memcpy(record, digest.bytes, 32);
}

/* Makes a file of any bytes pass the outer checks. */
static void
repair(unsigned char *file, int choice, int data_fd)
{
	struct stat st;

	require(fstat(data_fd, &st) == 0);
	if (choice & 2) {
		uint64_t ids[2] = { st.st_dev, st.st_ino };
		memcpy(file + 96, ids, sizeof(ids));
	}
	if (choice & 16) {
		struct file_sig sig;
		file_sig_of(&st, &sig);
		int64_t times[2] = { sig.mtime_ns, sig.ctime_ns };
		memcpy(file + STAMP_AT + 72, times, sizeof(times));
	}
	if (choice & 4) {
		seal(file, HEADER);
		for (unsigned i = 1; i <= 2; i++) {
			memcpy(file + i * SLOT_AT + 32, file, 32);
			seal(file + i * SLOT_AT, SLOT);
		}
		memcpy(file + STAMP_AT + 32, file, 32);
		seal(file + STAMP_AT, STAMP);
	}
}

/* What holds of every partial, whatever it was loaded from. */
static void
check(const struct partial *partial, bool is_forged)
{
	unsigned char bits = 0;
	unsigned found = 0;

	partial_bits(partial, &bits);
	require((bits & (0xffu >> PIECES)) == 0);
	for (unsigned i = 0; i < PIECES; i++) {
		require(partial_has(partial, i) == ((bits & (0x80u >> i)) != 0));
		found += partial_has(partial, i);
		require(is_forged || i < RIGHT || !partial_has(partial, i));
	}
	require(!partial_has(partial, PIECES));
	require(found == partial_have_count(partial));
}

static unsigned char
load_once(int data_fd, int have_fd, int choice, bool is_second)
{
	struct partial *partial = partial_open_foreign(dup(data_fd), dup(have_fd), &id, NULL);
	uint64_t read_bytes = 0;
	unsigned char bits = 0;

	require(partial != NULL);
	if (choice & 1)
		require(partial_set_layer(partial, layer, layer_count, NULL) == P2P_OK);
	require(partial_load(partial, &read_bytes, NULL) == P2P_OK);
	require(read_bytes <= SIZE_BYTES);
	check(partial, (choice & 4) != 0);
	if (is_second && partial_has_layer(partial))
		require(read_bytes == 0);
	partial_bits(partial, &bits);
	if ((choice & 32) && !is_second) {
		partial_close(partial);
		return bits;
	}
	require(partial_sync(partial, NULL) == P2P_OK);
	partial_free(partial);
	return bits;
}

int
LLVMFuzzerTestOneInput(const uint8_t *input, size_t len)
{
	static unsigned char file[FILE_BYTES];

	if (layer == NULL)
		make_content();
	if (len == 0)
		return 0;
	int choice = input[0] & 63;
	int data_fd = memfd_create("data", MFD_CLOEXEC),
	    have_fd = memfd_create("have", MFD_CLOEXEC);
	require(data_fd >= 0 && have_fd >= 0);
	require(file_pwrite(data_fd, content, RIGHT * PIECE_BYTES, 0, NULL) == P2P_OK);
	require(ftruncate(data_fd, choice & 8 ? SIZE_BYTES - 1 : SIZE_BYTES) == 0);
	size_t have_len = len - 1 < FILE_BYTES ? len - 1 : FILE_BYTES;
	memset(file, 0, sizeof(file));
	memcpy(file, input + 1, have_len);
	if (choice & 22) {
		repair(file, choice, data_fd);
		have_len = FILE_BYTES;
	}
	require(file_pwrite(have_fd, file, have_len, 0, NULL) == P2P_OK);
	unsigned char first = load_once(data_fd, have_fd, choice, false);
	require(load_once(data_fd, have_fd, choice, true) == first);
	close(data_fd);
	close(have_fd);
	return 0;
}
