/* SPDX-License-Identifier: MIT
 *
 * check_partial_torn.c - pieces of which a part is here: runs that go on where another ended, wrong pieces that are narrowed to
 * their leaves, and who is to blame.
 */
#include "partial.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"
#include "partial_kit.h"

#define LEAF        MERKLE_LEAF_BYTES
#define BIT(sender) (UINT64_C(1) << (sender))

/* From cut to cut: at every byte where that is cheap. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define CUT_STEP 13
#else
#define CUT_STEP 1
#endif

static struct partial *partial;

static void
teardown(void)
{
	partial_free(partial);
	partial_kit_teardown();
}

static void
open_again(void)
{
	uint64_t read_bytes;

	partial = partial_open_share(store, &id, &err);
	ck_assert_msg(partial != NULL, "%s", err.text);
	ck_assert_int_eq(P2P_OK, partial_load(partial, &read_bytes, &err));
	ck_assert_int_eq(P2P_OK, partial_set_layer(partial, layer, count, &err));
}

/* Pieces smaller than a block, of 4 leaves, and larger, of 32. */
static void
use_pieces(int which)
{
	use_content(which == 0 ? KIT_SMALL_PIECES : KIT_LARGE_PIECES);
	ck_assert(which == 0 ? piece_bytes == 65536 : piece_bytes == 2 * STORE_BLOCK);
	open_again();
}

static uint32_t
leaf_count(uint64_t piece)
{
	return (uint32_t)merkle_leaf_count(merkle_piece_length(size, piece_bytes, piece));
}

/* What a run of this piece is to bring: leaves [*ret, ...) of it; answers how many. */
static uint32_t
wanted_leaves(uint64_t piece, unsigned sender, uint32_t *ret)
{
	uint64_t offset, len, pieces;
	struct partial_sink *sink = partial_sink_new_from(partial, piece, 1, sender);

	partial_sink_span(sink, &offset, &len, &pieces);
	partial_sink_end(sink, NULL, NULL);
	ck_assert_uint_eq(pieces, 1);
	*ret = (uint32_t)((offset - piece * piece_bytes) / LEAF);
	return (uint32_t)merkle_leaf_count(len);
}

/* The sender gives what is wanted of the piece, from where it goes on, at most so many leaves.  Of those whose bit is set in `bad`
 * (bit 0: the piece's first leaf) one bit is wrong.  Answers the code of the last feed. */
static int
give(uint64_t piece, unsigned sender, uint32_t most, uint32_t bad, uint64_t *ret_verified)
{
	uint64_t offset, len, pieces, wasted, verified;
	struct partial_sink *sink = partial_sink_new_from(partial, piece, 1, sender);
	unsigned char leaf[LEAF];
	int code = P2P_OK;

	partial_sink_span(sink, &offset, &len, &pieces);
	for (uint64_t at = 0; at < len && at / LEAF < most && code == P2P_OK; at += LEAF) {
		size_t part = len - at < LEAF ? len - at : LEAF;
		uint64_t index = (offset + at) % piece_bytes / LEAF;
		memcpy(leaf, data + offset + at, part);
		if (index < 32 && (bad >> index & 1) != 0)
			leaf[index * 131 % part] ^= 4;
		code = partial_sink_feed(sink, leaf, part, &err);
	}
	partial_sink_end(sink, &verified, &wasted);
	if (ret_verified != NULL)
		*ret_verified = verified;
	return code;
}

/* The true leaves of a piece; `wrong` may be the number of one that is not, or UINT32_MAX. */
static int
narrow(uint64_t piece, uint32_t wrong, struct partial_narrowed *ret)
{
	struct digest *leaves = mem_alloc(leaf_count(piece) * sizeof(*leaves));

	merkle_leaves(hasher_mine(), data + piece * piece_bytes,
		      merkle_piece_length(size, piece_bytes, piece), leaves);
	if (wrong != UINT32_MAX)
		leaves[wrong].bytes[7] ^= 1;
	int code = partial_narrow(partial, piece, leaves, leaf_count(piece), ret, &err);
	free(leaves);
	return code;
}

static void
expect_piece(uint64_t piece)
{
	uint32_t len = merkle_piece_length(size, piece_bytes, piece);
	unsigned char *bytes = mem_alloc(len);

	ck_assert(partial_has(partial, piece));
	ck_assert_int_eq(P2P_OK, partial_read(partial, bytes, len, piece * piece_bytes, &err));
	ck_assert(memcmp(bytes, data + piece * piece_bytes, len) == 0);
	free(bytes);
}

START_TEST(test_a_piece_goes_on_where_a_run_was_cut)
{
	uint32_t first;
	uint64_t verified;

	use_pieces(_i);
	uint32_t all = leaf_count(2);
	ck_assert_int_eq(give(2, 1, 3, 0, &verified), P2P_OK);
	ck_assert_uint_eq(verified, 0);
	ck_assert_uint_eq(wanted_leaves(2, 5, &first), all - 3);
	ck_assert_uint_eq(first, 3);
	ck_assert_int_eq(give(2, 2, UINT32_MAX, 0, &verified), P2P_OK);
	ck_assert_uint_eq(verified, 1);
	ck_assert_uint_eq(partial_suspects(partial, 2), 0);
	expect_piece(2);
}
END_TEST

START_TEST(test_a_cut_at_any_byte_costs_less_than_a_leaf)
{
	use_pieces(0);
	for (size_t beyond = 0; beyond <= LEAF; beyond += beyond < LEAF - CUT_STEP ? CUT_STEP : 1) {
		uint64_t verified, wasted, offset, len, pieces;
		struct partial_sink *sink = partial_sink_new_from(partial, 2, 1, 1);

		ck_assert_int_eq(
		    P2P_OK, partial_sink_feed(sink, data + 2 * piece_bytes, LEAF + beyond, &err));
		partial_sink_end(sink, &verified, &wasted);
		ck_assert_uint_eq(verified, 0);
		ck_assert_uint_eq(wasted, beyond % LEAF);
		sink = partial_sink_new_from(partial, 2, 1, 2);
		partial_sink_span(sink, &offset, &len, &pieces);
		ck_assert_uint_eq(offset, 2 * piece_bytes + (beyond < LEAF ? 1 : 2) * LEAF);
		ck_assert_uint_eq(offset + len, 3 * piece_bytes);
		partial_sink_end(sink, NULL, NULL);
		if (beyond < LEAF)
			partial_drop_torn(partial, 2);
	}
	ck_assert_int_eq(give(2, 2, UINT32_MAX, 0, NULL), P2P_OK);
	expect_piece(2);
}
END_TEST

START_TEST(test_a_run_ends_before_a_torn_piece)
{
	uint64_t offset, len, pieces;

	use_pieces(_i);
	ck_assert_int_eq(give(3, 1, 1, 0, NULL), P2P_OK);
	struct partial_sink *sink = partial_sink_new_from(partial, 1, 4, 2);
	partial_sink_span(sink, &offset, &len, &pieces);
	ck_assert_uint_eq(offset, piece_bytes);
	ck_assert_uint_eq(len, 2 * piece_bytes);
	ck_assert_uint_eq(pieces, 2);
	/* What it does not bring another may. */
	ck_assert_int_eq(give(3, 3, UINT32_MAX, 0, NULL), P2P_OK);
	ck_assert_int_eq(partial_sink_feed(sink, data + offset, len, &err), P2P_OK);
	partial_sink_end(sink, NULL, NULL);
	for (uint64_t piece = 1; piece < 4; piece++)
		expect_piece(piece);
}
END_TEST

/* Every leaf in turn. */
START_TEST(test_one_wrong_leaf_costs_one_leaf)
{
	struct partial_narrowed narrowed;
	uint32_t first;

	use_pieces(_i);
	for (uint32_t leaf = 0; leaf < leaf_count(1); leaf++) {
		uint64_t piece = leaf % (count - 1), verified, before = partial_have_count(partial);
		ck_assert_int_eq(give(piece, 9, UINT32_MAX, 1u << leaf, &verified),
				 P2P_BAD_CONTENT);
		ck_assert_uint_eq(verified, 0);
		ck_assert_uint_eq(partial_suspects(partial, piece), BIT(9));
		ck_assert_int_eq(narrow(piece, UINT32_MAX, &narrowed), P2P_OK);
		ck_assert_uint_eq(narrowed.liars, BIT(9));
		ck_assert_uint_eq(narrowed.leaves, leaf_count(piece));
		ck_assert_uint_eq(narrowed.bad_leaves, 1);
		ck_assert_uint_eq(narrowed.bad_bytes, LEAF);
		ck_assert_uint_eq(partial_suspects(partial, piece), 0);
		ck_assert_uint_eq(wanted_leaves(piece, 1, &first), 1);
		ck_assert_uint_eq(first, leaf);
		ck_assert_int_eq(give(piece, 1, UINT32_MAX, 0, NULL), P2P_OK);
		ck_assert_uint_eq(partial_have_count(partial), before + 1);
		expect_piece(piece);
	}
}
END_TEST

START_TEST(test_of_several_senders_just_those_of_wrong_leaves_are_blamed)
{
	struct partial_narrowed narrowed;
	uint32_t first;

	use_pieces(_i);
	ck_assert_int_eq(give(2, 1, 1, 0, NULL), P2P_OK);
	ck_assert_int_eq(give(2, 2, 2, 1u << 2, NULL), P2P_OK);
	ck_assert_int_eq(give(2, 3, UINT32_MAX, 0, NULL), P2P_BAD_CONTENT);
	ck_assert_uint_eq(partial_suspects(partial, 2), BIT(1) | BIT(2) | BIT(3));
	ck_assert_int_eq(narrow(2, 0, &narrowed), P2P_BAD_CONTENT); /* who tells leaves may lie */
	ck_assert_uint_eq(partial_suspects(partial, 2), BIT(1) | BIT(2) | BIT(3));
	ck_assert_int_eq(narrow(2, UINT32_MAX, &narrowed), P2P_OK);
	ck_assert_uint_eq(narrowed.liars, BIT(2));
	ck_assert_uint_eq(narrowed.bad_leaves, 1);
	ck_assert_uint_eq(wanted_leaves(2, 1, &first), 1);
	ck_assert_uint_eq(first, 2);
	ck_assert_int_eq(give(2, 1, UINT32_MAX, 0, NULL), P2P_OK);
	expect_piece(2);
}
END_TEST

START_TEST(test_of_a_narrowed_piece_a_wrong_leaf_is_found_as_it_comes)
{
	struct partial_narrowed narrowed;
	uint32_t first;

	use_pieces(_i);
	ck_assert_int_eq(give(2, 1, UINT32_MAX, 7, NULL), P2P_BAD_CONTENT);
	ck_assert_int_eq(narrow(2, UINT32_MAX, &narrowed), P2P_OK);
	ck_assert_uint_eq(narrowed.bad_leaves, 3);
	ck_assert_uint_eq(wanted_leaves(2, 2, &first), 3);
	/* The second of three: the first stays, and its sender is the one who lies. */
	ck_assert_int_eq(give(2, 2, UINT32_MAX, 2, NULL), P2P_BAD_CONTENT);
	ck_assert_uint_eq(partial_suspects(partial, 2), 0);
	partial_distrust(partial, 2);
	ck_assert_uint_eq(wanted_leaves(2, 3, &first), 2);
	ck_assert_uint_eq(first, 1);
	ck_assert_int_eq(give(2, 3, UINT32_MAX, 0, NULL), P2P_OK);
	expect_piece(2);
}
END_TEST

START_TEST(test_holes_far_apart_are_filled_one_by_one)
{
	struct partial_narrowed narrowed;
	uint32_t first;

	use_pieces(1);
	ck_assert_int_eq(give(2, 1, UINT32_MAX, 1u << 3 | 1u << 5 | 1u << 30, NULL),
			 P2P_BAD_CONTENT);
	ck_assert_int_eq(narrow(2, UINT32_MAX, &narrowed), P2P_OK);
	ck_assert_uint_eq(wanted_leaves(2, 2, &first), 3); /* with the good one between */
	ck_assert_uint_eq(first, 3);
	ck_assert_int_eq(give(2, 2, UINT32_MAX, 0, NULL), P2P_OK);
	ck_assert(!partial_has(partial, 2));
	ck_assert_uint_eq(wanted_leaves(2, 2, &first), 1);
	ck_assert_uint_eq(first, 30);
	ck_assert_int_eq(give(2, 2, UINT32_MAX, 0, NULL), P2P_OK);
	expect_piece(2);
}
END_TEST

START_TEST(test_what_a_distrusted_sender_gave_comes_anew)
{
	uint32_t first;

	use_pieces(_i);
	ck_assert_int_eq(give(2, 1, 2, 1, NULL), P2P_OK);
	ck_assert_int_eq(give(2, 2, 1, 0, NULL), P2P_OK);
	ck_assert_int_eq(give(3, 1, 2, 1, NULL), P2P_OK);
	partial_distrust(partial, 1);
	ck_assert_uint_eq(wanted_leaves(3, 1, &first), leaf_count(3));
	ck_assert_uint_eq(first, 0);
	wanted_leaves(2, 1, &first);
	ck_assert_uint_eq(first, 0);
	while (!partial_has(partial, 2))
		ck_assert_int_eq(give(2, 3, UINT32_MAX, 0, NULL), P2P_OK);
	expect_piece(2);
}
END_TEST

START_TEST(test_the_last_piece_is_as_long_as_it_is)
{
	struct partial_narrowed narrowed;
	uint64_t last;

	use_pieces(1);
	last = count - 1;
	ck_assert_uint_eq(leaf_count(last), 6); /* the last leaf has 99 bytes */
	ck_assert_int_eq(give(last, 1, UINT32_MAX, 1u << 5, NULL), P2P_BAD_CONTENT);
	ck_assert_int_eq(narrow(last, UINT32_MAX, &narrowed), P2P_OK);
	ck_assert_uint_eq(narrowed.bad_bytes, 99);
	ck_assert_int_eq(give(last, 2, UINT32_MAX, 0, NULL), P2P_OK);
	expect_piece(last);
}
END_TEST

START_TEST(test_leaves_that_are_too_few_or_too_many_are_no_proof)
{
	struct partial_narrowed narrowed;
	struct digest leaves[8] = { { { 0 } } };

	use_content(3 * LEAF); /* one piece, whose tree has a padding leaf */
	open_again();
	merkle_leaves(hasher_mine(), data, size, leaves);
	ck_assert_int_eq(give(0, 1, UINT32_MAX, 2, NULL), P2P_BAD_CONTENT);
	for (size_t n = 0; n <= 8; n++)
		if (n != 3)
			ck_assert_int_eq(partial_narrow(partial, 0, leaves, n, &narrowed, &err),
					 P2P_BAD_CONTENT);
	struct digest swapped[3] = { leaves[1], leaves[0], leaves[2] };
	ck_assert_int_eq(partial_narrow(partial, 0, swapped, 3, &narrowed, &err), P2P_BAD_CONTENT);
	ck_assert_int_eq(partial_narrow(partial, 0, leaves, 3, &narrowed, &err), P2P_OK);
	ck_assert_int_eq(give(0, 2, UINT32_MAX, 0, NULL), P2P_OK);
	expect_piece(0);
}
END_TEST

START_TEST(test_without_proofs_a_piece_comes_whole_from_one)
{
	uint32_t first;

	use_pieces(_i);
	ck_assert_int_eq(give(2, 1, 2, 1, NULL), P2P_OK);
	ck_assert_int_eq(give(2, 2, UINT32_MAX, 0, NULL), P2P_BAD_CONTENT);
	partial_drop_torn(partial, 2);
	partial_all_or_none(partial);
	ck_assert_int_eq(give(2, 1, 2, 0, NULL), P2P_OK);
	ck_assert_uint_eq(wanted_leaves(2, 2, &first), leaf_count(2));
	ck_assert_int_eq(give(2, 1, UINT32_MAX, 1, NULL), P2P_BAD_CONTENT);
	ck_assert_uint_eq(partial_suspects(partial, 2), 0);
	ck_assert_int_eq(give(2, 2, UINT32_MAX, 0, NULL), P2P_OK);
	expect_piece(2);
}
END_TEST

START_TEST(test_a_verified_piece_is_not_torn_again)
{
	uint32_t first;

	use_pieces(_i);
	ck_assert_int_eq(give(2, 1, UINT32_MAX, 0, NULL), P2P_OK);
	ck_assert_int_eq(give(2, 2, 2, 3, NULL), P2P_OK);
	ck_assert_uint_eq(wanted_leaves(2, 2, &first), leaf_count(2));
	ck_assert_int_eq(give(2, 2, UINT32_MAX, 3, NULL), P2P_BAD_CONTENT);
	ck_assert_uint_eq(partial_suspects(partial, 2), 0);
	expect_piece(2);
}
END_TEST

START_TEST(test_the_record_claims_nothing_of_a_torn_or_bad_piece)
{
	struct partial_narrowed narrowed;

	use_pieces(_i);
	ck_assert_int_eq(give(1, 1, 3, 0, NULL), P2P_OK);
	ck_assert_int_eq(give(2, 1, UINT32_MAX, 1, NULL), P2P_BAD_CONTENT);
	ck_assert_int_eq(give(3, 1, UINT32_MAX, 1, NULL), P2P_BAD_CONTENT);
	ck_assert_int_eq(narrow(3, UINT32_MAX, &narrowed), P2P_OK);
	ck_assert_int_eq(give(4, 1, UINT32_MAX, 0, NULL), P2P_OK);
	for (int kill = 0; kill < 2; kill++) {
		ck_assert_int_eq(partial_sync(partial, &err), P2P_OK);
		ck_assert_uint_eq(partial_have_count(partial), 1);
		if (kill)
			partial_free(partial);
		else
			partial_close(partial);
		open_again();
		ck_assert_uint_eq(partial_have_count(partial), 1);
		expect_piece(4);
	}
	for (uint64_t piece = 1; piece < 4; piece++) {
		ck_assert_int_eq(give(piece, 2, UINT32_MAX, 0, NULL), P2P_OK);
		expect_piece(piece);
	}
}
END_TEST

START_TEST(test_only_so_many_pieces_are_kept_torn)
{
	uint32_t first;
	size_t kept = 0;

	use_pieces(1);
	for (uint64_t piece = 0; piece < 2 * PARTIAL_TORN_MAX; piece++)
		ck_assert_int_eq(give(piece, 1, 1, 0, NULL), P2P_OK);
	for (uint64_t piece = 0; piece < 2 * PARTIAL_TORN_MAX; piece++) {
		wanted_leaves(piece, 2, &first);
		kept += first == 1;
	}
	ck_assert_uint_eq(kept, PARTIAL_TORN_MAX);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("partial_torn");
	TCase *all = tcase_create("all");

	tcase_set_timeout(all, 60);
	tcase_add_unchecked_fixture(all, partial_kit_prepare, NULL);
	tcase_add_checked_fixture(all, partial_kit_setup, teardown);
	tcase_add_loop_test(all, test_a_piece_goes_on_where_a_run_was_cut, 0, 2);
	tcase_add_test(all, test_a_cut_at_any_byte_costs_less_than_a_leaf);
	tcase_add_loop_test(all, test_a_run_ends_before_a_torn_piece, 0, 2);
	tcase_add_loop_test(all, test_one_wrong_leaf_costs_one_leaf, 0, 2);
	tcase_add_loop_test(all, test_of_several_senders_just_those_of_wrong_leaves_are_blamed, 0,
			    2);
	tcase_add_loop_test(all, test_of_a_narrowed_piece_a_wrong_leaf_is_found_as_it_comes, 0, 2);
	tcase_add_test(all, test_holes_far_apart_are_filled_one_by_one);
	tcase_add_loop_test(all, test_what_a_distrusted_sender_gave_comes_anew, 0, 2);
	tcase_add_test(all, test_the_last_piece_is_as_long_as_it_is);
	tcase_add_test(all, test_leaves_that_are_too_few_or_too_many_are_no_proof);
	tcase_add_loop_test(all, test_without_proofs_a_piece_comes_whole_from_one, 0, 2);
	tcase_add_loop_test(all, test_a_verified_piece_is_not_torn_again, 0, 2);
	tcase_add_loop_test(all, test_the_record_claims_nothing_of_a_torn_or_bad_piece, 0, 2);
	tcase_add_test(all, test_only_so_many_pieces_are_kept_torn);
	suite_add_tcase(suite, all);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
