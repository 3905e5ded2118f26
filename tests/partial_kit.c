/* SPDX-License-Identifier: MIT
 *
 * partial_kit.c - a share of its own, and a content with all that is known of it.
 */
#include "partial_kit.h"

#include <check.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>

#include "mem.h"

char root[256];
struct store *store;
struct error err;

unsigned char *data;
size_t size;
struct content_id id;
struct digest *layer;
size_t count;
uint32_t piece_bytes;

static int
remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

void
use_content(size_t bytes)
{
	struct merkle_builder *builder;

	if (data != NULL && bytes == size)
		return;
	free(data);
	free(layer);
	size = bytes;
	data = mem_alloc(size + 1);
	for (uint64_t i = 0; i < size; i++)
		data[i] = (unsigned char)((i * 2654435761u) >> 13);
	builder = merkle_builder_new();
	ck_assert_int_eq(P2P_OK, merkle_builder_feed(builder, data, size));
	merkle_builder_end(builder, &id, &layer, &count);
	merkle_builder_free(builder);
	piece_bytes = merkle_piece_bytes(size);
}

void
partial_kit_prepare(void)
{
	use_content(KIT_LARGE_PIECES);
}

void
partial_kit_setup(void)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(root, sizeof(root), "%s/check_partial.XXXXXX", tmp != NULL ? tmp : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(root));
	store = store_new(root, &err);
	ck_assert_msg(store != NULL, "%s", err.text);
}

void
partial_kit_teardown(void)
{
	store_free(store);
	nftw(root, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}
