/* SPDX-License-Identifier: MIT
 *
 * check_merkle.c - the tree against libtorrent's vectors, and against a plain reading of BEP 52.
 */
#include "merkle.h"

#include <check.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"

#ifndef TESTS_DIR
#define TESTS_DIR "tests"
#endif

static unsigned char *
make_content(size_t size)
{
	unsigned char *data = mem_alloc(size + 1);

	for (uint64_t i = 0; i < size; i++)
		data[i] = (unsigned char)((i * 2654435761u) >> 13);
	return data;
}

/* The specification, read plainly: all leaves, filled up to a power of two, level by level. */
static void
plain_tree(const unsigned char *data, uint64_t size, uint32_t piece_bytes, struct digest *layer,
	   size_t *count, struct digest *root)
{
	struct hasher *hasher = hasher_mine();
	size_t width = 1;
	uint64_t leaves = merkle_leaf_count(size);
	while (width < leaves)
		width *= 2;
	struct digest *row = mem_zero(width, sizeof(*row));
	for (uint64_t i = 0; i < leaves; i++) {
		size_t at = i * MERKLE_LEAF_BYTES;
		size_t len = size - at < MERKLE_LEAF_BYTES ? size - at : MERKLE_LEAF_BYTES;
		hasher_digest(hasher, data + at, len, &row[i]);
	}
	*count = 0;
	for (uint32_t bytes = MERKLE_LEAF_BYTES;; bytes *= 2) {
		if (bytes == piece_bytes || (width == 1 && *count == 0)) {
			*count = merkle_piece_count(size, piece_bytes);
			memcpy(layer, row, *count * sizeof(*row));
		}
		if (width == 1)
			break;
		width /= 2;
		for (size_t i = 0; i < width; i++)
			hasher_pair(hasher, &row[2 * i], &row[2 * i + 1], &row[i]);
	}
	*root = row[0];
	free(row);
}

static json_t *
load_vectors(void)
{
	const char *dir = getenv("srcdir");
	char path[4096];
	json_error_t error;

	snprintf(path, sizeof(path), "%s/%s/bep52.json", dir != NULL ? dir : ".", TESTS_DIR);
	json_t *root = json_load_file(path, 0, &error);
	ck_assert_msg(root != NULL, "%s: %s", path, error.text);
	return root;
}

static void
build(const unsigned char *data, size_t size, size_t step, struct content_id *id,
      struct digest **layer, size_t *count)
{
	struct merkle_builder *builder = merkle_builder_new();

	for (size_t at = 0; at < size; at += step)
		ck_assert_int_eq(P2P_OK, merkle_builder_feed(builder, data + at,
							     size - at < step ? size - at : step));
	merkle_builder_end(builder, id, layer, count);
	merkle_builder_free(builder);
}

START_TEST(test_every_vector_of_libtorrent_agrees)
{
	json_t *file = load_vectors(), *vector;
	json_t *vectors = json_object_get(file, "vectors");
	size_t i;

	ck_assert_uint_ge(json_array_size(vectors), 10);
	json_array_foreach(vectors, i, vector)
	{
		size_t size = (size_t)json_integer_value(json_object_get(vector, "size"));
		unsigned char *data = make_content(size);
		static const size_t steps[] = { 1 << 20, 16384, 16383, 100003, 997 };
		for (size_t s = 0; s < sizeof(steps) / sizeof(steps[0]); s++) {
			struct content_id id;
			struct digest *layer;
			size_t count;
			char hex[DIGEST_HEX_SIZE];
			build(data, size, steps[s], &id, &layer, &count);
			digest_hex(&id.root, hex);
			ck_assert_str_eq(json_string_value(json_object_get(vector, "root")), hex);
			ck_assert_uint_eq(size, id.size_bytes);
			ck_assert_uint_eq(merkle_piece_count(size, merkle_piece_bytes(size)),
					  count);
			free(layer);
		}
		struct digest sum;
		char hex[DIGEST_HEX_SIZE];
		hasher_digest(hasher_mine(), data, size, &sum);
		digest_hex(&sum, hex);
		ck_assert_str_eq(json_string_value(json_object_get(vector, "sha256")), hex);
		free(data);
	}
	json_decref(file);
}
END_TEST

START_TEST(test_an_empty_content_has_the_hash_of_nothing_and_no_layer)
{
	struct content_id id;
	struct digest *layer, empty;
	size_t count;
	char hex[DIGEST_HEX_SIZE];

	build(NULL, 0, 1, &id, &layer, &count);
	ck_assert_ptr_null(layer);
	ck_assert_uint_eq(0, count);
	merkle_empty_root(&empty);
	ck_assert(digest_equal(&empty, &id.root));
	digest_hex(&empty, hex);
	ck_assert_str_eq("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", hex);
	ck_assert_uint_eq(0, merkle_leaf_count(0));
	ck_assert_uint_eq(0, merkle_piece_count(0, MERKLE_PIECE_MIN));
}
END_TEST

START_TEST(test_a_content_id_that_no_file_can_have_is_told)
{
	struct content_id content = { 0 };

	ck_assert(!merkle_content_valid(&content));
	merkle_empty_root(&content.root);
	ck_assert(merkle_content_valid(&content));
	content.size_bytes = MERKLE_CONTENT_MAX;
	ck_assert(merkle_content_valid(&content));
	content.size_bytes++;
	ck_assert(!merkle_content_valid(&content));
}
END_TEST

static const size_t sizes[] = { 1,       16384,   16385,         49153,        65535,
				65536,   65537,   131072,        196609,       1048576,
				1048577, 3 << 20, (3 << 20) + 1, (5 << 20) - 1 };

START_TEST(test_pieces_of_every_size_agree_with_the_plain_tree)
{
	size_t size = sizes[_i];
	unsigned char *data = make_content(size);
	struct hasher *hasher = hasher_new();

	for (uint32_t piece = MERKLE_LEAF_BYTES; piece <= 8u << 20; piece *= 2) {
		size_t count;
		struct digest *layer = mem_zero(merkle_leaf_count(size) + 1, sizeof(*layer)), root;
		plain_tree(data, size, piece, layer, &count, &root);
		for (size_t i = 0; i < count; i++) {
			uint32_t len = merkle_piece_length(size, piece, i);
			struct digest node, folded, leaves[512];
			merkle_piece_node(hasher, data + i * piece, len, piece, count == 1, &node);
			ck_assert(digest_equal(&layer[i], &node));
			merkle_leaves(hasher, data + i * piece, len, leaves);
			merkle_fold_piece(hasher, leaves, merkle_leaf_count(len), piece, count == 1,
					  &folded);
			ck_assert(digest_equal(&layer[i], &folded));
		}
		struct digest top, *copy = mem_alloc(count * sizeof(*copy));
		memcpy(copy, layer, count * sizeof(*copy));
		merkle_layer_root(hasher, layer, count, piece, &top);
		ck_assert(digest_equal(&root, &top));
		ck_assert_mem_eq(copy, layer, count * sizeof(*copy));
		free(copy);
		free(layer);
	}
	hasher_free(hasher);
	free(data);
}
END_TEST

START_TEST(test_a_layer_folds_to_every_coarser_layer)
{
	size_t size = sizes[_i];
	unsigned char *data = make_content(size);
	struct hasher *hasher = hasher_mine();
	struct digest *fine = mem_zero(512, sizeof(*fine)),
		      *coarse = mem_zero(512, sizeof(*coarse));

	for (uint32_t from = MERKLE_LEAF_BYTES; from <= 8u << 20; from *= 2)
		for (uint32_t to = from; to <= 16u << 20; to *= 2) {
			size_t fine_count, count;
			struct digest root;
			plain_tree(data, size, from, fine, &fine_count, &root);
			plain_tree(data, size, to, coarse, &count, &root);
			ck_assert_uint_eq(
			    count, merkle_fold_layer(hasher, fine, fine_count, size, from, to));
			ck_assert_mem_eq(coarse, fine, count * sizeof(*fine));
		}
	free(fine);
	free(coarse);
	free(data);
}
END_TEST

START_TEST(test_the_builder_folds_a_large_content_in_bounded_memory)
{
	/* 600 MiB and a bit: past two doublings of the builder's own piece size. */
	const uint64_t size = (600ull << 20) + 12345;
	unsigned char *block = make_content(1 << 20);
	struct merkle_builder *builder = merkle_builder_new();
	struct hasher *hasher = hasher_mine();
	uint32_t piece = merkle_piece_bytes(size);
	ck_assert_uint_eq(1u << 20, piece);
	struct digest whole, last, *layer;
	struct content_id id;
	size_t count;

	for (uint64_t left = size; left > 0;) {
		size_t len = left < 1 << 20 ? (size_t)left : 1 << 20;
		ck_assert_int_eq(P2P_OK, merkle_builder_feed(builder, block, len));
		left -= len;
	}
	merkle_builder_end(builder, &id, &layer, &count);
	merkle_builder_free(builder);
	merkle_piece_node(hasher, block, piece, piece, false, &whole);
	merkle_piece_node(hasher, block, 12345, piece, false, &last);
	ck_assert_uint_eq(601, count);
	for (size_t i = 0; i < 600; i++)
		ck_assert(digest_equal(&whole, &layer[i]));
	ck_assert(digest_equal(&last, &layer[600]));
	struct digest root;
	merkle_layer_root(hasher, layer, count, piece, &root);
	ck_assert(digest_equal(&root, &id.root));
	free(layer);
	free(block);
}
END_TEST

START_TEST(test_a_root_does_not_bind_the_length_but_the_content_id_does)
{
	unsigned char *data = make_content(32768);
	struct hasher *hasher = hasher_mine();
	struct digest leaves[2];
	merkle_leaves(hasher, data, 32768, leaves);
	struct content_id large, small;
	struct digest *layer;
	size_t count;

	build(data, 32768, 32768, &large, &layer, &count);
	free(layer);
	build((const unsigned char *)leaves, 64, 64, &small, &layer, &count);
	free(layer);
	ck_assert(digest_equal(&large.root, &small.root));
	ck_assert(!content_equal(&large, &small));
	free(data);
}
END_TEST

START_TEST(test_a_flipped_bit_in_any_leaf_changes_the_node)
{
	const uint32_t piece = 256 << 10;
	unsigned char *data = make_content(piece);
	struct hasher *hasher = hasher_mine();
	struct digest right, node;

	merkle_piece_node(hasher, data, piece, piece, false, &right);
	for (size_t leaf = 0; leaf < piece / MERKLE_LEAF_BYTES; leaf++) {
		unsigned char *byte = &data[leaf * MERKLE_LEAF_BYTES + leaf * 977];
		*byte ^= (unsigned char)(1u << (leaf & 7));
		merkle_piece_node(hasher, data, piece, piece, false, &node);
		ck_assert(!digest_equal(&right, &node));
		*byte ^= (unsigned char)(1u << (leaf & 7));
	}
	free(data);
}
END_TEST

START_TEST(test_swapped_siblings_and_claimed_padding_do_not_fit)
{
	/* Three pieces: the fourth node is padding.  Swapped, or with the padding
	 * claimed as data, the layer has another root or another count. */
	size_t size = 3 * 65536;
	unsigned char *data = make_content(size);
	struct content_id id;
	struct digest *layer, root, padded[4], swapped[3];
	size_t count;
	struct hasher *hasher = hasher_mine();

	build(data, size, size, &id, &layer, &count);
	ck_assert_uint_eq(3, count);
	memcpy(swapped, layer, sizeof(swapped));
	swapped[0] = layer[1];
	swapped[1] = layer[0];
	merkle_layer_root(hasher, swapped, 3, 65536, &root);
	ck_assert(!digest_equal(&id.root, &root));
	/* The padding's node as a fourth piece gives the same root: only the count tells. */
	memcpy(padded, layer, 3 * sizeof(*layer));
	memset(&padded[3], 0, sizeof(padded[3]));
	for (int level = 0; level < 2; level++)
		hasher_pair(hasher, &padded[3], &padded[3], &padded[3]);
	merkle_layer_root(hasher, padded, 4, 65536, &root);
	ck_assert(digest_equal(&id.root, &root));
	ck_assert_uint_ne(4, merkle_piece_count(id.size_bytes, 65536));
	free(layer);
	free(data);
}
END_TEST

START_TEST(test_the_piece_size_follows_the_content)
{
	ck_assert_uint_eq(MERKLE_PIECE_MIN, merkle_piece_bytes(0));
	ck_assert_uint_eq(MERKLE_PIECE_MIN, merkle_piece_bytes(64ull << 20));
	ck_assert_uint_eq(128u << 10, merkle_piece_bytes((64ull << 20) + 1));
	ck_assert_uint_eq(1u << 20, merkle_piece_bytes(1ull << 30));
	ck_assert_uint_eq(MERKLE_PIECE_MAX, merkle_piece_bytes(MERKLE_CONTENT_MAX));
	ck_assert_uint_eq(MERKLE_PIECE_MAX, merkle_piece_bytes(UINT64_MAX));
	ck_assert_uint_eq(MERKLE_LAYER_MAX,
			  merkle_piece_count(MERKLE_CONTENT_MAX, MERKLE_PIECE_MAX));
	ck_assert_uint_eq((1ull << 50), merkle_leaf_count(UINT64_MAX));
	ck_assert(merkle_piece_valid(16384) && merkle_piece_valid(64u << 20));
	ck_assert(!merkle_piece_valid(0) && !merkle_piece_valid(8192) &&
		  !merkle_piece_valid(128ull << 20) && !merkle_piece_valid(65535) &&
		  !merkle_piece_valid((1ull << 32) + 65536));
	ck_assert_uint_eq(1, merkle_piece_length(65537, 65536, 1));
	ck_assert_uint_eq(65536, merkle_piece_length(131072, 65536, 1));
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("merkle");
	TCase *tree = tcase_create("tree");
	const int size_count = (int)(sizeof(sizes) / sizeof(sizes[0]));

	tcase_set_timeout(tree, 120);
	tcase_add_test(tree, test_every_vector_of_libtorrent_agrees);
	tcase_add_test(tree, test_an_empty_content_has_the_hash_of_nothing_and_no_layer);
	tcase_add_test(tree, test_a_content_id_that_no_file_can_have_is_told);
	tcase_add_loop_test(tree, test_pieces_of_every_size_agree_with_the_plain_tree, 0,
			    size_count);
	tcase_add_loop_test(tree, test_a_layer_folds_to_every_coarser_layer, 0, size_count);
	tcase_add_test(tree, test_the_builder_folds_a_large_content_in_bounded_memory);
	tcase_add_test(tree, test_a_root_does_not_bind_the_length_but_the_content_id_does);
	tcase_add_test(tree, test_a_flipped_bit_in_any_leaf_changes_the_node);
	tcase_add_test(tree, test_swapped_siblings_and_claimed_padding_do_not_fit);
	tcase_add_test(tree, test_the_piece_size_follows_the_content);
	suite_add_tcase(suite, tree);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
