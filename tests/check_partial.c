/* SPDX-License-Identifier: MIT
 *
 * check_partial.c - pieces that come in, a record of them that never lies, and one file at the end.
 */
#include "partial.h"

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "mem.h"
#include "partial_kit.h"

static struct partial *
open_loaded(uint64_t *read_bytes)
{
	struct partial *partial = partial_open_share(store, &id, &err);

	ck_assert_msg(partial != NULL, "%s", err.text);
	ck_assert_msg(partial_load(partial, read_bytes, &err) == P2P_OK, "%s", err.text);
	return partial;
}

static struct partial *
open_new(void)
{
	uint64_t read_bytes = 1;
	struct partial *partial = open_loaded(&read_bytes);

	ck_assert_uint_eq(0, read_bytes);
	ck_assert_int_eq(P2P_OK, partial_set_layer(partial, layer, count, &err));
	return partial;
}

/* Feeds right bytes of [first, first + pieces) in steps; how many pieces were verified. */
static uint64_t
feed(struct partial *partial, uint64_t first, uint64_t pieces, size_t step)
{
	struct partial_sink *sink = partial_sink_new(partial, first, pieces);
	size_t end = (first + pieces) * piece_bytes < size ? (first + pieces) * piece_bytes : size;
	uint64_t verified, wasted;

	for (size_t at = first * piece_bytes; at < end; at += step)
		ck_assert_int_eq(
		    P2P_OK,
		    partial_sink_feed(sink, data + at, end - at < step ? end - at : step, &err));
	partial_sink_end(sink, &verified, &wasted);
	ck_assert_uint_eq(0, wasted);
	return verified;
}

/* Every claimed piece has the right bytes in the file.  How many there are. */
static uint64_t
check_claims(struct partial *partial)
{
	unsigned char *bytes = mem_alloc(piece_bytes), *bits = mem_zero(count / 8 + 1, 1);
	uint64_t have = 0;

	partial_bits(partial, bits);
	for (uint64_t i = 0; i < count; i++) {
		uint32_t len = merkle_piece_length(size, piece_bytes, i);
		bool is_set = (bits[i / 8] & (0x80u >> i % 8)) != 0;
		ck_assert_int_eq(is_set, partial_has(partial, i));
		int rc = partial_read(partial, bytes, len, i * piece_bytes, &err);
		ck_assert_int_eq(is_set ? P2P_OK : P2P_NOT_FOUND, rc);
		if (is_set)
			ck_assert(memcmp(bytes, data + i * piece_bytes, len) == 0);
		have += is_set;
	}
	for (uint64_t i = count; i < (count + 7) / 8 * 8; i++)
		ck_assert(!(bits[i / 8] & (0x80u >> i % 8)));
	ck_assert_uint_eq(have, partial_have_count(partial));
	free(bits);
	free(bytes);
	return have;
}

static void
path_of(const char *suffix, char path[512])
{
	char stem[PARTIAL_STEM_SIZE];

	partial_stem(&id, stem);
	snprintf(path, 512, "%s/%s/%s%s", root, STORE_TEMP_DIR, stem, suffix);
}

static int
open_raw(const char *suffix, int flags)
{
	char path[512];

	path_of(suffix, path);
	int fd = open(path, flags | O_CLOEXEC, 0600);
	ck_assert_int_ge(fd, 0);
	return fd;
}

static int
count_temp_files(void)
{
	char path[512];
	int found = 0;
	struct dirent *entry;

	snprintf(path, sizeof(path), "%s/%s", root, STORE_TEMP_DIR);
	DIR *dir = opendir(path);
	ck_assert_ptr_nonnull(dir);
	while ((entry = readdir(dir)) != NULL)
		found += entry->d_name[0] != '.';
	closedir(dir);
	return found;
}

static const size_t sizes[] = {
	1, 16385, 65536, 65537, 262144, 262145, 1000001, (65 << 20) + 12345, KIT_LARGE_PIECES
};
#define SIZES (int)(sizeof(sizes) / sizeof(sizes[0]))

START_TEST(test_a_content_comes_in_and_is_published_with_mode_and_time)
{
	struct file_sig sig, now;
	struct stat st;

	umask(022);
	use_content(sizes[_i]);
	struct partial *partial = open_new();
	ck_assert_uint_eq(count, partial_piece_count(partial));
	ck_assert_uint_eq(piece_bytes, partial_piece_bytes(partial));
	ck_assert_int_eq(P2P_CONFLICT,
			 partial_publish(partial, "f", 0644, 0, FILE_KEEP_EXISTING, &sig, &err));
	uint64_t half = count / 2;
	if (half > 0)
		ck_assert_uint_eq(half, feed(partial, 0, half, 16384));
	ck_assert_uint_eq(count - half, feed(partial, half, count - half, 300001));
	ck_assert_uint_eq(count, check_claims(partial));
	ck_assert_uint_eq(size, partial_have_bytes(partial));
	ck_assert(partial_is_complete(partial));
	ck_assert_int_eq(P2P_OK, partial_sync(partial, &err));
	ck_assert_int_eq(P2P_OK, partial_publish(partial, "dir/f", 0777, 1234567890123456789,
						 FILE_KEEP_EXISTING, &sig, &err));
	ck_assert_uint_eq(count, check_claims(partial)); /* it is still served */
	ck_assert_int_eq(P2P_OK, partial_sync(partial, &err));
	partial_free(partial);
	ck_assert_int_eq(0, fstatat(store_root_fd(store), "dir/f", &st, 0));
	ck_assert_uint_eq(0755, st.st_mode & 07777);
	file_sig_of(&st, &now);
	ck_assert(file_sig_equal(&now, &sig));
	ck_assert_int_eq(1234567890123456789, sig.mtime_ns);
	ck_assert_uint_eq(size, sig.size_bytes);
	ck_assert_int_eq(0, count_temp_files());
}
END_TEST

START_TEST(test_an_empty_content_is_complete_at_once)
{
	struct file_sig sig;

	use_content(0);
	struct partial *partial = open_new();
	ck_assert(partial_is_complete(partial));
	ck_assert_int_eq(P2P_OK, partial_sync(partial, &err));
	ck_assert_int_eq(P2P_OK,
			 partial_publish(partial, "f", 0644, 0, FILE_KEEP_EXISTING, &sig, &err));
	ck_assert_uint_eq(0, sig.size_bytes);
	partial_free(partial);
	id.root.bytes[0] ^= 1;
	ck_assert_ptr_null(partial_open_share(store, &id, &err));
	ck_assert_int_eq(P2P_BAD_CONTENT, err.code);
	id.size_bytes = MERKLE_CONTENT_MAX + 1;
	ck_assert_ptr_null(partial_open_share(store, &id, &err));
	ck_assert_int_eq(P2P_TOO_LARGE, err.code);
	ck_assert_int_eq(0, count_temp_files());
}
END_TEST

START_TEST(test_a_layer_that_does_not_fit_is_refused)
{
	use_content(1000001);
	uint64_t read_bytes;
	struct partial *partial = open_loaded(&read_bytes);

	ck_assert(!partial_has_layer(partial));
	ck_assert_int_eq(P2P_BAD_CONTENT, partial_set_layer(partial, layer, count - 1, &err));
	struct digest swap = layer[0];
	layer[0] = layer[1];
	layer[1] = swap;
	ck_assert_int_eq(P2P_BAD_CONTENT, partial_set_layer(partial, layer, count, &err));
	layer[1] = layer[0];
	layer[0] = swap;
	ck_assert(!partial_has_layer(partial));
	ck_assert_int_eq(P2P_OK, partial_set_layer(partial, layer, count, &err));
	ck_assert(partial_has_layer(partial));
	partial_free(partial);
}
END_TEST

START_TEST(test_a_flipped_bit_in_any_leaf_stops_at_its_piece_and_the_piece_can_come_again)
{
	/* Pieces smaller than a block, and larger. */
	use_content(_i == 0 ? KIT_SMALL_PIECES : KIT_LARGE_PIECES);
	const uint64_t target = 2;
	struct partial *partial = open_new();

	ck_assert(_i == 0 ? piece_bytes < STORE_BLOCK : piece_bytes > STORE_BLOCK);
	for (size_t leaf = 0; leaf < piece_bytes / MERKLE_LEAF_BYTES; leaf++) {
		size_t at = target * piece_bytes + leaf * MERKLE_LEAF_BYTES + leaf * 131 % 16384;
		uint64_t verified, wasted;
		data[at] ^= (unsigned char)(1u << (leaf & 7));
		struct partial_sink *sink = partial_sink_new(partial, 1, 3);
		ck_assert_int_eq(P2P_BAD_CONTENT, partial_sink_feed(sink, data + piece_bytes,
								    3 * piece_bytes, &err));
		partial_sink_end(sink, &verified, &wasted);
		data[at] ^= (unsigned char)(1u << (leaf & 7));
		ck_assert_uint_eq(1, verified);
		ck_assert_uint_eq(2 * piece_bytes, wasted);
		ck_assert(partial_has(partial, 1) && !partial_has(partial, 2));
		ck_assert(!partial_has(partial, 3));
	}
	ck_assert_uint_eq(count - 1, feed(partial, 1, count - 1, 1 << 20));
	ck_assert_uint_eq(1, feed(partial, 0, 1, 4099));
	ck_assert_uint_eq(count, check_claims(partial));
	partial_discard(partial);
	ck_assert_int_eq(0, count_temp_files());
}
END_TEST

START_TEST(test_wrong_bytes_never_damage_a_piece_that_is_verified)
{
	use_content(_i == 0 ? KIT_SMALL_PIECES : KIT_LARGE_PIECES);
	struct partial *partial = open_new();
	unsigned char *wrong = mem_zero(2, piece_bytes);

	feed(partial, 0, 2, 1 << 20);
	struct partial_sink *sink = partial_sink_new(partial, 0, 2);
	ck_assert_int_eq(P2P_BAD_CONTENT, partial_sink_feed(sink, wrong, 2 * piece_bytes, &err));
	partial_sink_end(sink, NULL, NULL);
	ck_assert_uint_eq(2, check_claims(partial));
	free(wrong);
	partial_discard(partial);
}
END_TEST

START_TEST(test_bytes_past_the_end_are_bad_and_a_cut_run_keeps_its_whole_pieces)
{
	uint64_t verified, wasted;

	use_content(5 * 65536 + 100);
	struct partial *partial = open_new();
	struct partial_sink *sink = partial_sink_new(partial, 5, 1);
	memset(data + size, 'x', 1);
	ck_assert_int_eq(P2P_BAD_CONTENT, partial_sink_feed(sink, data + 5 * 65536, 101, &err));
	partial_sink_end(sink, &verified, &wasted);
	ck_assert_uint_eq(1, verified);
	ck_assert_uint_eq(1, wasted);

	sink = partial_sink_new(partial, 0, 5);
	ck_assert_int_eq(P2P_OK, partial_sink_feed(sink, data, 2 * 65536 + 7, &err));
	ck_assert(!partial_has(partial, 0));
	partial_sink_end(sink, &verified, &wasted);
	ck_assert_uint_eq(2, verified);
	ck_assert_uint_eq(7, wasted);
	ck_assert_uint_eq(3, check_claims(partial));

	sink = partial_sink_new(partial, 2, 1);
	partial_sink_end(sink, &verified, &wasted);
	ck_assert_uint_eq(0, verified);
	ck_assert_int_eq(P2P_BAD_RANGE, partial_read(partial, data, 2, size - 1, &err));
	ck_assert_int_eq(P2P_BAD_RANGE, partial_read(partial, data, SIZE_MAX, 1, &err));
	ck_assert_int_eq(P2P_NOT_FOUND, partial_read(partial, data, 2, 2 * 65536 - 1, &err));
	partial_discard(partial);
}
END_TEST

struct worker {
	pthread_t thread;
	struct partial *partial;
	uint64_t first, pieces;
};

static void *
feed_in_thread(void *arg)
{
	struct worker *worker = arg;

	for (uint64_t i = 0; i < worker->pieces; i += 3) {
		uint64_t part = worker->pieces - i < 3 ? worker->pieces - i : 3;
		feed(worker->partial, worker->first + i, part, 16000);
	}
	return NULL;
}

START_TEST(test_several_sinks_at_once_while_others_read_and_sync)
{
	enum { THREADS = 4 };
	struct worker workers[THREADS];
	unsigned char bits[128], byte;

	use_content((12 << 20) + 999);
	struct partial *partial = open_new();
	for (uint64_t i = 0; i < THREADS; i++) {
		uint64_t first = count * i / THREADS;
		workers[i] = (struct worker){ .partial = partial,
					      .first = first,
					      .pieces = count * (i + 1) / THREADS - first };
		pthread_create(&workers[i].thread, NULL, feed_in_thread, &workers[i]);
	}
	while (!partial_is_complete(partial)) {
		ck_assert_int_eq(P2P_OK, partial_sync(partial, &err));
		partial_bits(partial, bits);
		for (uint64_t i = 0; i < count; i++)
			if (partial_has(partial, i)) {
				ck_assert_int_eq(
				    P2P_OK, partial_read(partial, &byte, 1, i * piece_bytes, &err));
				ck_assert_uint_eq(data[i * piece_bytes], byte);
			}
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(workers[i].thread, NULL);
	ck_assert_uint_eq(count, check_claims(partial));
	partial_discard(partial);
}
END_TEST

START_TEST(test_a_resume_reads_nothing_and_needs_no_layer)
{
	uint64_t read_bytes;

	use_content((3 << 20) + 5);
	struct partial *partial = open_new();
	feed(partial, 3, 9, 16384);
	ck_assert_int_eq(P2P_OK, partial_sync(partial, &err));
	feed(partial, 20, 2, 16384);
	ck_assert_int_eq(P2P_OK, partial_sync(partial, &err));
	ck_assert_int_eq(P2P_OK, partial_sync(partial, &err));
	partial_free(partial);
	for (int round = 0; round < 3; round++) {
		partial = open_loaded(&read_bytes);
		ck_assert_uint_eq(0, read_bytes);
		ck_assert(partial_has_layer(partial));
		ck_assert_uint_eq(11 + (uint64_t)round, check_claims(partial));
		feed(partial, 40 + (uint64_t)round, 1, 16384);
		ck_assert_int_eq(P2P_OK, partial_sync(partial, &err));
		partial_free(partial);
	}
}
END_TEST

START_TEST(test_what_came_after_the_last_sync_is_verified_and_nothing_else_is_read)
{
	uint64_t read_bytes;

	use_content((3 << 20) + 5);
	struct partial *partial = open_new();
	feed(partial, 3, 9, 16384);
	ck_assert_int_eq(P2P_OK, partial_sync(partial, &err));
	feed(partial, 20, 2, 16384);
	int fd = partial_dup(partial);
	ck_assert_int_eq(1, pwrite(fd, "x", 1, 30 * 65536 + 7)); /* a piece that was torn */
	close(fd);
	partial_free(partial);
	partial = open_loaded(&read_bytes);
	ck_assert_uint_eq(3 * 65536, read_bytes);
	ck_assert_uint_eq(11, check_claims(partial));
	ck_assert(partial_has(partial, 20) && partial_has(partial, 21));
	ck_assert(!partial_has(partial, 30));
	partial_free(partial);
}
END_TEST

/* Somebody writes a wrong byte into the data file, and may give it its old mtime again. */
static void
edit(uint64_t offset, bool keeps_mtime)
{
	struct stat st;
	unsigned char byte;
	int fd = open_raw(".data", O_RDWR);

	ck_assert_int_eq(0, fstat(fd, &st));
	ck_assert_int_eq(1, pread(fd, &byte, 1, (off_t)offset));
	byte ^= 1;
	ck_assert_int_eq(1, pwrite(fd, &byte, 1, (off_t)offset));
	struct timespec times[2] = { st.st_atim, st.st_mtim };
	if (keeps_mtime)
		ck_assert_int_eq(0, futimens(fd, times));
	close(fd);
}

START_TEST(test_a_kill_before_the_first_sync_costs_reading_and_no_question)
{
	uint64_t read_bytes = 0;

	use_content(KIT_SMALL_PIECES);
	partial_free(open_new()); /* not a byte came */
	struct partial *partial = open_loaded(&read_bytes);
	ck_assert_uint_eq(0, read_bytes);
	ck_assert(partial_has_layer(partial));
	feed(partial, 1, 2, 16384);
	partial_free(partial);

	partial = open_loaded(&read_bytes);
	ck_assert(partial_has_layer(partial));
	ck_assert_uint_eq(2 * piece_bytes, read_bytes);
	ck_assert_uint_eq(2, check_claims(partial));
	partial_free(partial); /* what was read is not read again */
	partial = open_loaded(&read_bytes);
	ck_assert_uint_eq(0, read_bytes);
	ck_assert_uint_eq(2, check_claims(partial));
	partial_free(partial);
}
END_TEST

START_TEST(test_a_layer_that_was_kept_and_then_damaged_is_not_believed)
{
	uint64_t read_bytes = 0;

	use_content(KIT_SMALL_PIECES);
	struct partial *partial = open_new();
	feed(partial, 0, 1, 16384);
	partial_free(partial);
	int fd = open_raw(".have", O_RDWR);
	ck_assert_int_eq(1, pwrite(fd, "x", 1, 112)); /* in its first node */
	close(fd);
	partial = open_loaded(&read_bytes);
	ck_assert(!partial_has_layer(partial));
	ck_assert_uint_eq(0, partial_have_count(partial));
	partial_free(partial);
}
END_TEST

START_TEST(test_a_closed_partial_that_is_untouched_is_resumed_without_reading)
{
	uint64_t read_bytes;

	use_content((3 << 20) + 5);
	struct partial *partial = open_new();
	feed(partial, 3, 9, 16384);
	ck_assert_int_eq(P2P_OK, partial_sync(partial, &err));
	feed(partial, 20, 2, 16384); /* the close syncs it */
	/* The first half of a piece that never ends. */
	struct partial_sink *sink = partial_sink_new(partial, 40, 1);
	ck_assert_int_eq(P2P_OK, partial_sink_feed(sink, data, piece_bytes / 2, &err));
	partial_sink_end(sink, NULL, NULL);
	partial_close(partial);
	for (uint64_t round = 0; round < 6; round++) {
		partial = open_loaded(&read_bytes);
		ck_assert_uint_eq(0, read_bytes);
		ck_assert(partial_has_layer(partial));
		ck_assert_uint_eq(11 + round / 2, check_claims(partial));
		if (round % 2 == 1)
			feed(partial, 30 + round / 2, 1, 16384);
		partial_close(partial);
	}
}
END_TEST

START_TEST(test_half_a_large_piece_is_not_read_after_a_close_in_order)
{
	uint64_t read_bytes = 1;

	use_content(KIT_LARGE_PIECES);
	struct partial *partial = open_new();
	feed(partial, 3, 1, 65536);
	struct partial_sink *sink = partial_sink_new(partial, 40, 1);
	ck_assert_int_eq(P2P_OK,
			 partial_sink_feed(sink, data + 40 * piece_bytes, STORE_BLOCK, &err));
	partial_sink_end(sink, NULL, NULL);
	partial_close(partial);
	partial = open_loaded(&read_bytes);
	ck_assert_uint_eq(0, read_bytes);
	partial_free(partial); /* of this kill nothing is to be told apart from writing */
	partial = open_loaded(&read_bytes);
	ck_assert_uint_eq(piece_bytes, read_bytes);
	ck_assert_uint_eq(1, check_claims(partial));
	partial_free(partial);
}
END_TEST

START_TEST(test_a_closed_partial_that_was_edited_is_read_again_and_loses_the_wrong_piece)
{
	uint64_t read_bytes;

	use_content(40 * 65536 + 1);
	struct partial *partial = open_new();
	feed(partial, 3, 9, 16384);
	partial_close(partial);
	edit(5 * 65536 + 77, _i == 1);
	/* Even if the first look is followed by a crash, the second is not deceived. */
	for (int round = 0; round < 2; round++) {
		partial = open_loaded(&read_bytes);
		ck_assert_uint_ge(read_bytes, (round == 0 ? 9 : 1) * 65536);
		ck_assert_uint_le(read_bytes, (round == 0 ? 13 : 4) * 65536); /* no holes */
		ck_assert_uint_eq(8, check_claims(partial));
		ck_assert(!partial_has(partial, 5));
		partial_free(partial);
	}
	partial = open_loaded(&read_bytes);
	ck_assert_uint_eq(1, feed(partial, 5, 1, 16384));
	partial_close(partial);
	partial = open_loaded(&read_bytes);
	ck_assert_uint_eq(0, read_bytes);
	ck_assert_uint_eq(9, check_claims(partial));
	partial_discard(partial);
}
END_TEST

START_TEST(test_a_kill_keeps_what_is_proven_though_the_file_has_other_times)
{
	static const unsigned unclaimed[] = { 0, 1, 1, 1 }, held[] = { 9, 10, 12, 13 };
	uint64_t read_bytes;

	use_content(40 * 65536 + 1);
	struct partial *partial = open_new();
	feed(partial, 3, 9, 16384);
	partial_close(partial);
	for (uint64_t round = 0; round < 4; round++) {
		partial = open_loaded(&read_bytes);
		ck_assert_uint_eq(unclaimed[round] * 65536, read_bytes);
		ck_assert_uint_eq(held[round], check_claims(partial));
		if (round == 1) {
			feed(partial, 12, 1, 16384);
			ck_assert_int_eq(P2P_OK, partial_sync(partial, &err));
		}
		feed(partial, 20 + round, 1, 16384); /* moves the times, and is not recorded */
		partial_free(partial);
	}
}
END_TEST

START_TEST(test_a_stamp_of_an_earlier_close_tells_nothing)
{
	unsigned char stamp[88];
	uint64_t read_bytes;
	struct stat st;

	use_content(40 * 65536 + 1);
	struct partial *partial = open_new();
	feed(partial, 3, 9, 16384);
	partial_close(partial);
	int fd = open_raw(".have", O_RDWR);
	ck_assert_int_eq(0, fstat(fd, &st));
	off_t at = st.st_size - (off_t)sizeof(stamp);
	ck_assert_int_eq(sizeof(stamp), pread(fd, stamp, sizeof(stamp), at));
	partial = open_loaded(&read_bytes);
	feed(partial, 20, 1, 16384);
	ck_assert_int_eq(P2P_OK, partial_sync(partial, &err));
	partial_free(partial);
	/* As if the power had gone, and the disk had never heard that it was cut off. */
	ck_assert_int_eq(0, fstat(fd, &st));
	ck_assert_int_le(st.st_size, at);
	ck_assert_int_eq(sizeof(stamp), pwrite(fd, stamp, sizeof(stamp), at));
	close(fd);
	partial = open_loaded(&read_bytes);
	ck_assert_uint_eq(0, read_bytes);
	ck_assert_uint_eq(10, check_claims(partial));
	partial_discard(partial);
}
END_TEST

START_TEST(test_a_have_file_of_an_older_version_is_not_believed)
{
	uint64_t read_bytes;
	struct digest digest;

	use_content(40 * 65536 + 1);
	struct partial *partial = open_new();
	feed(partial, 3, 9, 16384);
	partial_close(partial);
	size_t len = 112 + count * sizeof(struct digest), slot_len = 72 + (count + 7) / 8;
	unsigned char *file = mem_zero(2, 4096);
	int fd = open_raw(".have", O_RDWR);
	ck_assert_int_ge(pread(fd, file, 8192, 0), 4096 + (ssize_t)slot_len);
	/* Whole and right in all else. */
	file[40] = 1;
	hasher_digest(hasher_mine(), file + 32, len - 32, &digest);
	memcpy(file, &digest, sizeof(digest));
	memcpy(file + 4096 + 32, &digest, sizeof(digest));
	hasher_digest(hasher_mine(), file + 4096 + 32, slot_len - 32, &digest);
	memcpy(file + 4096, &digest, sizeof(digest));
	ck_assert_int_eq(8192, pwrite(fd, file, 8192, 0));
	close(fd);
	free(file);
	partial = partial_open_share(store, &id, &err);
	ck_assert_int_eq(P2P_OK, partial_set_layer(partial, layer, count, &err));
	ck_assert_int_eq(P2P_OK, partial_load(partial, &read_bytes, &err));
	ck_assert_uint_ge(read_bytes, 9 * 65536);
	ck_assert_uint_eq(9, check_claims(partial));
	partial_discard(partial);
}
END_TEST

START_TEST(test_a_damaged_have_file_is_ignored_and_the_bytes_are_verified_again)
{
	uint64_t read_bytes;
	struct stat st;

	use_content(40 * 65536 + 1);
	/* A bit flipped in each region, the file cut at some lengths, other bytes altogether. */
	for (int damage = 0; damage < 9; damage++) {
		struct partial *partial = open_new();
		feed(partial, 3, 9, 16384);
		ck_assert_int_eq(P2P_OK, partial_sync(partial, &err));
		partial_free(partial);
		int fd = open_raw(".have", O_RDWR);
		ck_assert_int_eq(0, fstat(fd, &st));
		static const off_t flips[] = { 0, 40, 50, 100, 200, 4096, 4096 + 40, 4096 + 73 };
		if (damage < 8) {
			unsigned char byte;
			ck_assert_int_eq(1, pread(fd, &byte, 1, flips[damage]));
			byte ^= 1;
			ck_assert_int_eq(1, pwrite(fd, &byte, 1, flips[damage]));
		} else {
			ck_assert_int_eq(0, ftruncate(fd, 4100));
		}
		close(fd);
		partial = partial_open_share(store, &id, &err);
		ck_assert_int_eq(P2P_OK, partial_set_layer(partial, layer, count, &err));
		ck_assert_int_eq(P2P_OK, partial_load(partial, &read_bytes, &err));
		ck_assert_uint_ge(read_bytes, 9 * 65536);
		ck_assert_uint_le(read_bytes, 13 * 65536); /* holes are not read */
		ck_assert_uint_eq(9, check_claims(partial));
		partial_discard(partial);
	}
}
END_TEST

START_TEST(test_without_a_have_file_and_without_a_layer_the_bytes_are_dropped)
{
	uint64_t read_bytes;
	struct stat st;
	char path[512];

	use_content(40 * 65536 + 1);
	struct partial *partial = open_new();
	feed(partial, 3, 9, 16384);
	ck_assert_int_eq(P2P_OK, partial_sync(partial, &err));
	partial_free(partial);
	path_of(".have", path);
	ck_assert_int_eq(0, unlink(path));
	partial = open_loaded(&read_bytes);
	ck_assert_uint_eq(0, read_bytes);
	ck_assert(!partial_has_layer(partial));
	ck_assert_uint_eq(0, check_claims(partial));
	path_of(".data", path);
	ck_assert_int_eq(0, stat(path, &st));
	ck_assert_uint_eq(size, (uint64_t)st.st_size);
	ck_assert_int_eq(0, st.st_blocks);
	partial_free(partial);
}
END_TEST

START_TEST(test_a_data_file_that_was_cut_or_exchanged_is_not_believed)
{
	uint64_t read_bytes;
	char path[512], other[520];

	use_content(40 * 65536 + 1);
	for (int way = 0; way < 2; way++) {
		struct partial *partial = open_new();
		feed(partial, 0, 20, 16384);
		ck_assert_int_eq(P2P_OK, partial_sync(partial, &err));
		partial_free(partial);
		path_of(".data", path);
		snprintf(other, sizeof(other), "%s.x", path);
		if (way == 0) {
			ck_assert_int_eq(0, truncate(path, 10 * 65536 + 5));
		} else {
			ck_assert_int_eq(0, rename(path, other)); /* keeps the inode from reuse */
			int fd = open(path, O_RDWR | O_CREAT, 0600);
			ck_assert_int_eq(P2P_OK, file_pwrite(fd, data, 10 * 65536, 0, NULL));
			ck_assert_int_eq(0, ftruncate(fd, (off_t)size));
			close(fd);
		}
		/* Even if the first look is followed by a crash, the second is not deceived. */
		for (int round = 0; round < 2; round++) {
			partial = open_loaded(&read_bytes);
			ck_assert(partial_has_layer(partial)); /* of the have file: it is proven */
			ck_assert_uint_ge(read_bytes, (round == 0 ? 10 : 0) * 65536);
			ck_assert_uint_eq(10, check_claims(partial));
			partial_free(partial);
		}
		partial = open_loaded(&read_bytes);
		partial_discard(partial);
		unlink(other);
	}
}
END_TEST

START_TEST(test_a_have_file_of_another_content_is_ignored)
{
	uint64_t read_bytes;
	char path[512], other[512];

	use_content(40 * 65536 + 1);
	struct partial *partial = open_new();
	feed(partial, 0, 20, 16384);
	ck_assert_int_eq(P2P_OK, partial_sync(partial, &err));
	partial_free(partial);
	path_of(".have", path);
	use_content(40 * 65536 + 2);
	path_of(".have", other);
	ck_assert_int_eq(0, rename(path, other));
	partial = open_loaded(&read_bytes);
	ck_assert(!partial_has_layer(partial));
	ck_assert_uint_eq(0, check_claims(partial));
	partial_discard(partial);

	/* A huge one costs nothing. */
	int fd = open_raw(".have", O_RDWR | O_CREAT);
	ck_assert_int_eq(0, ftruncate(fd, (off_t)1 << 40));
	close(fd);
	partial = open_loaded(&read_bytes);
	ck_assert_uint_eq(0, check_claims(partial));
	partial_discard(partial);
}
END_TEST

START_TEST(test_a_slot_of_an_earlier_life_of_the_have_file_is_not_believed)
{
	enum { SLOTS = 3 * 4096 };
	unsigned char *slots = mem_zero(1, SLOTS);
	char path[512], other[520];
	uint64_t read_bytes;

	use_content(40 * 65536 + 1);
	struct partial *partial = open_new();
	for (uint64_t i = 0; i < 20; i++) {
		feed(partial, i, 1, 16384);
		ck_assert_int_eq(P2P_OK, partial_sync(partial, &err));
	}
	partial_free(partial);
	int fd = open_raw(".have", O_RDWR);
	ssize_t len = pread(fd, slots, SLOTS, 4096);
	ck_assert_int_gt(len, 4096);
	path_of(".data", path);
	snprintf(other, sizeof(other), "%s.x", path);
	ck_assert_int_eq(0, rename(path, other));
	partial = open_new();
	feed(partial, 30, 1, 16384);
	ck_assert_int_eq(P2P_OK, partial_sync(partial, &err));
	partial_free(partial);
	/* As if the disk had kept the old blocks: of a higher generation, and whole. */
	ck_assert_int_eq(len, pwrite(fd, slots, (size_t)len, 4096));
	close(fd);
	partial = open_loaded(&read_bytes);
	ck_assert_uint_eq(1, check_claims(partial));
	ck_assert(partial_has(partial, 30));
	partial_discard(partial);
	free(slots);
}
END_TEST

START_TEST(test_one_content_is_open_once_at_a_time)
{
	use_content(100000);
	struct partial *partial = open_new();

	ck_assert_ptr_null(partial_open_share(store, &id, &err));
	ck_assert_int_eq(P2P_EXISTS, err.code);
	partial_free(partial);
	partial = partial_open_share(store, &id, &err);
	ck_assert_ptr_nonnull(partial);
	partial_discard(partial);
}
END_TEST

START_TEST(test_a_taken_name_is_never_overwritten_unless_asked_for)
{
	struct file_sig sig = { 0 };

	use_content(100000);
	struct partial *partial = open_new();
	feed(partial, 0, count, 50000);
	int fd = openat(store_root_fd(store), "f", O_WRONLY | O_CREAT, 0644);
	ck_assert_int_eq(5, write(fd, "other", 5));
	close(fd);
	ck_assert_int_eq(P2P_EXISTS,
			 partial_publish(partial, "f", 0644, 0, FILE_KEEP_EXISTING, &sig, &err));
	ck_assert_uint_eq(0, sig.inode);
	ck_assert_int_eq(P2P_BAD_NAME, partial_publish(partial, STORE_TEMP_DIR "/f", 0644, 0,
						       FILE_REPLACE, &sig, &err));
	ck_assert_int_eq(P2P_OK, partial_publish(partial, "f", 0644, 0, FILE_REPLACE, &sig, &err));
	ck_assert_uint_eq(size, sig.size_bytes);
	partial_discard(partial); /* keeps what is published */
	ck_assert_int_eq(0, faccessat(store_root_fd(store), "f", R_OK, 0));
}
END_TEST

/* Two files in the share, as a user would hand them over. */
static struct partial *
open_foreign(int *data_fd)
{
	int have_fd = openat(store_root_fd(store), "u.have", O_RDWR | O_CREAT, 0600);

	*data_fd = openat(store_root_fd(store), "u.part", O_RDWR | O_CREAT, 0600);
	return partial_open_foreign(*data_fd, have_fd, &id, &err);
}

START_TEST(test_a_foreign_partial_resumes_finishes_and_is_emptied_when_discarded)
{
	uint64_t read_bytes;
	struct stat st;
	int fd;

	use_content(10 * 65536);
	for (int round = 0; round < 2; round++) {
		struct partial *partial = open_foreign(&fd);
		ck_assert_int_eq(P2P_OK, partial_load(partial, &read_bytes, &err));
		ck_assert_uint_eq(0, read_bytes);
		ck_assert_int_eq(P2P_OK, partial_set_layer(partial, layer, count, &err));
		feed(partial, (uint64_t)round * 5, 5, 16384);
		if (round == 0)
			ck_assert_int_eq(P2P_CONFLICT, partial_finish(partial, 0640, 1, &err));
		else
			ck_assert_int_eq(P2P_OK, partial_finish(partial, 0750, 1000000001, &err));
		ck_assert_int_eq(P2P_OK, partial_sync(partial, &err));
		partial_free(partial);
	}
	ck_assert_int_eq(0, fstatat(store_root_fd(store), "u.part", &st, 0));
	ck_assert_uint_eq(0750, st.st_mode & 07777);
	ck_assert_int_eq(1, st.st_mtim.tv_sec);
	struct partial *partial = open_foreign(&fd);
	ck_assert_int_eq(P2P_OK, partial_load(partial, &read_bytes, &err));
	/* Its owner may have done anything to it since it was finished. */
	ck_assert_uint_eq(size, read_bytes);
	ck_assert_uint_eq(count, check_claims(partial));
	partial_discard(partial);
	ck_assert_int_eq(0, fstatat(store_root_fd(store), "u.part", &st, 0));
	ck_assert_int_eq(0, st.st_size);
}
END_TEST

START_TEST(test_a_foreign_partial_that_was_edited_after_its_close_is_read_again)
{
	uint64_t read_bytes;
	int fd;

	use_content(10 * 65536);
	for (int round = 0; round < 3; round++) {
		struct partial *partial = open_foreign(&fd);
		ck_assert_int_eq(P2P_OK, partial_load(partial, &read_bytes, &err));
		ck_assert_uint_eq(round == 2 ? 5 * 65536 : 0, read_bytes);
		ck_assert_uint_eq(round == 0 ? 0 : round == 1 ? 5 : 4, check_claims(partial));
		if (round == 0) {
			ck_assert_int_eq(P2P_OK, partial_set_layer(partial, layer, count, &err));
			feed(partial, 0, 5, 16384);
		}
		partial_close(partial);
		if (round == 1) {
			fd = openat(store_root_fd(store), "u.part", O_RDWR);
			ck_assert_int_eq(5, pwrite(fd, "wrong", 5, 100000));
			close(fd);
		}
	}
}
END_TEST

START_TEST(test_foreign_descriptors_that_cannot_do_are_refused_and_closed)
{
	use_content(100);
	for (int way = 0; way < 4; way++) {
		int data_fd = openat(store_root_fd(store), "d",
				     (way == 0   ? O_RDONLY
				      : way == 1 ? O_RDWR | O_APPEND
						 : O_RDWR) |
					 O_CREAT,
				     0600);
		int have_fd = way == 2 ? dup(data_fd)
			      : way == 3
				  ? open("/dev/null", O_RDWR)
				  : openat(store_root_fd(store), "h", O_RDWR | O_CREAT, 0600);
		ck_assert_ptr_null(partial_open_foreign(data_fd, have_fd, &id, &err));
		ck_assert_int_eq(way == 2 ? P2P_BAD_REQUEST : P2P_FORBIDDEN, err.code);
		ck_assert_int_eq(-1, fcntl(data_fd, F_GETFD));
		ck_assert_int_eq(-1, fcntl(have_fd, F_GETFD));
	}
}
END_TEST

START_TEST(test_a_failed_sync_is_never_taken_for_done)
{
	uint64_t read_bytes;
	int fd, ends[2];

	use_content(10 * 65536);
	struct partial *partial = open_foreign(&fd);
	ck_assert_int_eq(P2P_OK, partial_load(partial, &read_bytes, &err));
	ck_assert_int_eq(P2P_OK, partial_set_layer(partial, layer, count, &err));
	feed(partial, 0, 2, 16384);
	ck_assert_int_eq(P2P_OK, partial_sync(partial, &err));
	feed(partial, 2, 8, 16384);
	/* A pipe in the place of the data file cannot be synced; then all is well again. */
	int saved = dup(fd);
	ck_assert_int_eq(0, pipe(ends));
	ck_assert_int_eq(fd, dup2(ends[1], fd));
	ck_assert_int_lt(partial_sync(partial, &err), 0);
	ck_assert_int_eq(fd, dup2(saved, fd));
	ck_assert_int_eq(P2P_IO, partial_sync(partial, &err));
	ck_assert_int_eq(P2P_IO, partial_finish(partial, 0644, 0, &err));
	partial_close(partial);
	close(saved);
	close(ends[0]);
	close(ends[1]);
	/* What the sync covered is read from the disk, not believed. */
	partial = open_foreign(&fd);
	ck_assert_int_eq(P2P_OK, partial_load(partial, &read_bytes, &err));
	ck_assert_uint_eq(size, read_bytes);
	ck_assert_uint_eq(count, check_claims(partial));
	ck_assert_int_eq(P2P_OK, partial_finish(partial, 0644, 0, &err));
	partial_free(partial);
}
END_TEST

START_TEST(test_an_anonymous_partial_streams_through_and_gives_its_space_back)
{
	unsigned char bits[128] = { 0 }, byte;
	uint64_t read_bytes;

	use_content((8 << 20) + 1);
	/* In the second round the directory is there already. */
	if (_i == 1)
		ck_assert_int_eq(0, mkdirat(store_root_fd(store), STORE_TEMP_DIR, 0700));
	struct partial *partial = partial_open_anonymous(store, &id, &err);
	ck_assert_msg(partial != NULL, "%s", err.text);
	ck_assert_int_eq(P2P_OK, partial_load(partial, &read_bytes, &err));
	ck_assert_int_eq(P2P_OK, partial_set_layer(partial, layer, count, &err));
	feed(partial, 0, count, 16384);
	ck_assert_int_eq(P2P_OK, partial_sync(partial, &err));
	partial_punch(partial, 10 * piece_bytes + 5);
	ck_assert_int_eq(P2P_NOT_FOUND, partial_read(partial, &byte, 1, 9 * piece_bytes, &err));
	ck_assert_int_eq(P2P_OK, partial_read(partial, &byte, 1, 10 * piece_bytes, &err));
	ck_assert_uint_eq(data[10 * piece_bytes], byte);
	partial_bits(partial, bits);
	ck_assert_uint_eq(0x00, bits[0]);
	ck_assert_uint_eq(0x3f, bits[1]);
	ck_assert(partial_is_complete(partial));
	partial_punch(partial, UINT64_MAX);
	partial_bits(partial, bits);
	ck_assert_uint_eq(0, bits[count / 8]);
	partial_discard(partial);
	ck_assert_int_eq(0, count_temp_files());
}
END_TEST

static bool
want_only(void *arg, const char *stem)
{
	return strcmp(arg, stem) == 0;
}

START_TEST(test_a_sweep_removes_what_nobody_wants_and_nobody_uses)
{
	char wanted[PARTIAL_STEM_SIZE];

	for (size_t bytes = 100000; bytes < 100003; bytes++) {
		use_content(bytes);
		partial_free(open_new());
	}
	partial_stem(&id, wanted);
	use_content(100003);
	struct partial *in_use = open_new();
	close(openat(store_root_fd(store), STORE_TEMP_DIR "/upload-1", O_WRONLY | O_CREAT, 0600));
	ck_assert_int_eq(9, count_temp_files());
	partial_sweep(store, want_only, wanted);
	ck_assert_int_eq(5, count_temp_files());
	partial_free(in_use);
	partial_sweep(store, want_only, wanted);
	ck_assert_int_eq(3, count_temp_files());
}
END_TEST

/* Feeds one piece after the other and syncs; tells by a byte how many are durable. */
static void
feed_until_killed(int fd)
{
	uint64_t read_bytes;
	struct store *mine = store_new(root, &err);
	struct partial *partial = partial_open_share(mine, &id, &err);

	if (partial == NULL || partial_load(partial, &read_bytes, &err) < 0 ||
	    partial_set_layer(partial, layer, count, &err) < 0)
		_exit(1);
	for (uint64_t i = 0; i < count; i++) {
		if (partial_has(partial, i))
			continue;
		struct partial_sink *sink = partial_sink_new(partial, i, 1);
		if (partial_sink_feed(sink, data + i * piece_bytes,
				      merkle_piece_length(size, piece_bytes, i), &err) < 0)
			_exit(2);
		partial_sink_end(sink, NULL, NULL);
		if (partial_sync(partial, &err) < 0)
			_exit(3);
		unsigned char synced = (unsigned char)(i + 1);
		if (write(fd, &synced, 1) != 1)
			_exit(4);
	}
	_exit(0);
}

START_TEST(test_a_kill_at_any_moment_loses_nothing_and_claims_nothing_wrong)
{
	unsigned seed = 12345;
	uint64_t synced = 0, read_bytes;

	use_content(200 * 65536 - 77);
	for (int round = 0; round < 100; round++) {
		int ends[2];
		unsigned char last;
		ck_assert_int_eq(0, pipe(ends));
		pid_t child = fork();
		ck_assert_int_ge(child, 0);
		if (child == 0)
			feed_until_killed(ends[1]);
		close(ends[1]);
		struct timespec pause = { .tv_nsec = rand_r(&seed) % 6000000 };
		nanosleep(&pause, NULL);
		kill(child, SIGKILL);
		while (read(ends[0], &last, 1) == 1)
			synced = last;
		close(ends[0]);
		int status;
		ck_assert_int_eq(child, waitpid(child, &status, 0));
		ck_assert(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);

		struct partial *partial = open_loaded(&read_bytes);
		uint64_t have = check_claims(partial);
		ck_assert_uint_ge(have, synced);
		/* What was not synced, and a torn one. */
		if (synced > 0)
			ck_assert_uint_le(read_bytes, (have - synced + 1) * 65536);
		for (uint64_t i = 0; i < synced; i++)
			ck_assert(partial_has(partial, i));
		if (partial_is_complete(partial)) {
			synced = 0;
			partial_discard(partial);
		} else {
			partial_free(partial);
		}
	}
}
END_TEST

START_TEST(test_a_write_that_fails_sets_no_bit_and_a_full_disk_can_go_on_later)
{
	struct rlimit limit = { 5 << 20, RLIM_INFINITY }, none;
	uint64_t verified;

	use_content(10 << 20);
	signal(SIGXFSZ, SIG_IGN);
	struct partial *partial = open_new();
	ck_assert_int_eq(0, getrlimit(RLIMIT_FSIZE, &none));
	limit.rlim_max = none.rlim_max;
	ck_assert_int_eq(0, setrlimit(RLIMIT_FSIZE, &limit));
	struct partial_sink *sink = partial_sink_new(partial, 0, count);
	ck_assert_int_eq(P2P_IO, partial_sink_feed(sink, data, size, &err));
	partial_sink_end(sink, &verified, NULL);
	ck_assert_uint_eq((5 << 20) / piece_bytes, verified);
	ck_assert_uint_eq(verified, check_claims(partial));
	ck_assert_int_eq(P2P_OK, partial_sync(partial, &err));
	ck_assert_int_eq(0, setrlimit(RLIMIT_FSIZE, &none));
	feed(partial, verified, count - verified, 16384);
	ck_assert_uint_eq(count, check_claims(partial));
	partial_discard(partial);
}
END_TEST

START_TEST(test_a_full_file_system_is_no_space_and_goes_on_when_there_is_room)
{
	char path[512];
	uint64_t read_bytes, verified;

	use_content(2 << 20);
	snprintf(path, sizeof(path), "%s/small", root);
	ck_assert_int_eq(0, mkdir(path, 0755));
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("check_partial", path, "tmpfs", 0, "size=1m") < 0) {
		printf("skipped: no small tmpfs in a mount namespace: %s\n", strerror(errno));
		return;
	}
	struct store *small = store_new(path, &err);
	struct partial *partial = partial_open_share(small, &id, &err);
	ck_assert_int_eq(P2P_OK, partial_load(partial, &read_bytes, &err));
	ck_assert_int_eq(P2P_OK, partial_set_layer(partial, layer, count, &err));
	ck_assert_int_eq(P2P_OK, partial_sync(partial, &err));
	struct partial_sink *sink = partial_sink_new(partial, 0, count);
	ck_assert_int_eq(P2P_NO_SPACE, partial_sink_feed(sink, data, size, &err));
	partial_sink_end(sink, &verified, NULL);
	ck_assert_uint_eq(verified, check_claims(partial));
	ck_assert_uint_lt(verified, count);
	ck_assert_int_eq(0, mount("check_partial", path, "tmpfs", MS_REMOUNT, "size=8m"));
	feed(partial, verified, count - verified, 16384);
	ck_assert_int_eq(P2P_OK, partial_sync(partial, &err));
	ck_assert_uint_eq(count, check_claims(partial));
	partial_free(partial);
	store_free(small);
	umount2(path, MNT_DETACH);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("partial");
	TCase *all = tcase_create("partial");

	tcase_set_timeout(all, 300);
	tcase_add_unchecked_fixture(all, partial_kit_prepare, NULL);
	tcase_add_checked_fixture(all, partial_kit_setup, partial_kit_teardown);
	tcase_add_loop_test(all, test_a_content_comes_in_and_is_published_with_mode_and_time, 0,
			    SIZES);
	tcase_add_test(all, test_an_empty_content_is_complete_at_once);
	tcase_add_test(all, test_a_layer_that_does_not_fit_is_refused);
	tcase_add_loop_test(
	    all, test_a_flipped_bit_in_any_leaf_stops_at_its_piece_and_the_piece_can_come_again, 0,
	    2);
	tcase_add_loop_test(all, test_wrong_bytes_never_damage_a_piece_that_is_verified, 0, 2);
	tcase_add_test(all, test_bytes_past_the_end_are_bad_and_a_cut_run_keeps_its_whole_pieces);
	tcase_add_test(all, test_several_sinks_at_once_while_others_read_and_sync);
	tcase_add_test(all, test_a_resume_reads_nothing_and_needs_no_layer);
	tcase_add_test(all, test_a_kill_before_the_first_sync_costs_reading_and_no_question);
	tcase_add_test(all, test_half_a_large_piece_is_not_read_after_a_close_in_order);
	tcase_add_test(all, test_a_layer_that_was_kept_and_then_damaged_is_not_believed);
	tcase_add_test(all, test_a_closed_partial_that_is_untouched_is_resumed_without_reading);
	tcase_add_loop_test(
	    all, test_a_closed_partial_that_was_edited_is_read_again_and_loses_the_wrong_piece, 0,
	    2);
	tcase_add_test(all,
		       test_what_came_after_the_last_sync_is_verified_and_nothing_else_is_read);
	tcase_add_test(all, test_a_kill_keeps_what_is_proven_though_the_file_has_other_times);
	tcase_add_test(all, test_a_stamp_of_an_earlier_close_tells_nothing);
	tcase_add_test(all, test_a_have_file_of_an_older_version_is_not_believed);
	tcase_add_test(all, test_a_damaged_have_file_is_ignored_and_the_bytes_are_verified_again);
	tcase_add_test(all, test_without_a_have_file_and_without_a_layer_the_bytes_are_dropped);
	tcase_add_test(all, test_a_data_file_that_was_cut_or_exchanged_is_not_believed);
	tcase_add_test(all, test_a_have_file_of_another_content_is_ignored);
	tcase_add_test(all, test_a_slot_of_an_earlier_life_of_the_have_file_is_not_believed);
	tcase_add_test(all, test_one_content_is_open_once_at_a_time);
	tcase_add_test(all, test_a_taken_name_is_never_overwritten_unless_asked_for);
	tcase_add_test(all, test_a_foreign_partial_resumes_finishes_and_is_emptied_when_discarded);
	tcase_add_test(all, test_a_foreign_partial_that_was_edited_after_its_close_is_read_again);
	tcase_add_test(all, test_foreign_descriptors_that_cannot_do_are_refused_and_closed);
	tcase_add_test(all, test_a_failed_sync_is_never_taken_for_done);
	tcase_add_loop_test(all, test_an_anonymous_partial_streams_through_and_gives_its_space_back,
			    0, 2);
	tcase_add_test(all, test_a_sweep_removes_what_nobody_wants_and_nobody_uses);
	tcase_add_test(all, test_a_kill_at_any_moment_loses_nothing_and_claims_nothing_wrong);
	tcase_add_test(all, test_a_write_that_fails_sets_no_bit_and_a_full_disk_can_go_on_later);
	tcase_add_test(all, test_a_full_file_system_is_no_space_and_goes_on_when_there_is_room);
	suite_add_tcase(suite, all);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
