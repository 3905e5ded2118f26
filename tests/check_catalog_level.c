/* SPDX-License-Identifier: MIT
 *
 * check_catalog_level.c - one level of a directory: its files, and what its subdirectories weigh, page by page, in one
 * order; bounded however much lies beneath.
 */
#include "catalog.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "catalog_kit.h"
#include "mem.h"

/* Whatever the pages' size. */
static void
expect(struct kit *kit, const char *directory, bool local_only, const char *want)
{
	static const uint32_t limits[] = { 1, 2, 3, 1000 };
	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
		char *got = kit_search(kit, CATALOG_LEVEL, directory, local_only, limits[i]);
		ck_assert_str_eq(got, want);
		free(got);
	}
}

/* `count` files PREFIXnnnnn of 2 bytes, or without them. */
static void
change_many(struct kit *kit, const char *prefix, unsigned count, bool is_there)
{
	struct catalog_batch *batch = catalog_batch_new();
	struct catalog_local file = kit_file("x", 2);
	for (unsigned i = 0; i < count; i++) {
		char *name = mem_format("%s%05u", prefix, i);
		if (is_there)
			catalog_batch_put(batch, name, &file, NULL, 0);
		else
			catalog_batch_remove(batch, name);
		free(name);
	}
	ck_assert_int_eq(kit_commit(kit, batch), P2P_OK);
	kit_clear(kit);
}

START_TEST(test_files_and_subdirectories_come_by_name_with_what_lies_beneath)
{
	struct kit *kit = kit_new();
	static const char *const names[] = { "a-b",   "a/x",       "a/y/deep/z", "a0",
					     "b",     "c/d/e/f/g", "c/d0",       "c/d1/x",
					     "c/d-1", "\xc3\xa4/x" };
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		kit_put(kit, names[i], "x", i + 1);
	expect(kit, "", false, "a-b:1*\na/ 2 5\na0:1*\nb:1*\nc/ 4 30\n\xc3\xa4/ 1 10\n");
	expect(kit, "a", false, "a/x:1*\na/y/ 1 3\n");
	expect(kit, "a/", false, "a/x:1*\na/y/ 1 3\n");
	expect(kit, "c", false, "c/d-1:1*\nc/d/ 1 6\nc/d0:1*\nc/d1/ 1 8\n");
	expect(kit, "c/d/e/f", false, "c/d/e/f/g:1*\n");
	expect(kit, "b", false, "");
	expect(kit, "a/y/deep/z/none", false, "");
	/* However its accents are composed. */
	expect(kit, "a\xcc\x88", false, "\xc3\xa4/x:1*\n");
	kit_free(kit);
}
END_TEST

START_TEST(test_a_content_of_a_name_counts_once_however_many_have_it)
{
	struct kit *kit = kit_new();
	const char *b = kit_peer("b"), *c = kit_peer("c");
	kit_put(kit, "d/same", "s", 100);
	kit_give_one(kit, b, 1, "d/same", "s", 100);
	kit_give_one(kit, c, 1, "d/same", "s", 100);
	kit_give_one(kit, c, 2, "d/two", "t", 7);
	kit_give_one(kit, b, 2, "d/two", "u", 8);
	kit_give_one(kit, b, 3, "e/theirs", "v", 1);
	expect(kit, "", false, "d/ 3 115\ne/ 1 1\n");
	expect(kit, "", true, "d/ 1 100\n");
	kit_free(kit);
}
END_TEST

/* catalog_found_fn: rows, files, bytes */
static bool
add_directory(void *arg, const struct catalog_found *found)
{
	uint64_t *sums = arg;
	ck_assert_str_eq(found->name, "d/");
	sums[0]++, sums[1] += found->files, sums[2] += found->bytes;
	return true;
}

START_TEST(test_the_filter_is_for_what_lies_beneath_too)
{
	struct kit *kit = kit_new();
	struct catalog_filter filter = CATALOG_FILTER_NONE;
	struct catalog_query query = {
		.match = CATALOG_LEVEL, .text = "", .limit = 10, .filter = &filter
	};
	char cursor[CATALOG_CURSOR_SIZE];
	uint64_t sums[3] = { 0 };
	kit_put(kit, "d/small", "s", 1);
	kit_put(kit, "d/large", "l", 1000);
	kit_put(kit, "e/small", "s", 1);
	filter.size_min = 500;
	ck_assert_int_eq(catalog_search(kit->catalog, &query, add_directory, sums, cursor, NULL),
			 P2P_OK);
	ck_assert_uint_eq(sums[0], 1);
	ck_assert_uint_eq(sums[1], 1);
	ck_assert_uint_eq(sums[2], 1000);
	kit_free(kit);
}
END_TEST

START_TEST(test_a_large_subdirectory_is_told_as_at_least_so_much)
{
	struct kit *kit = kit_new();
	change_many(kit, "just/", CATALOG_LEVEL_LOOKS, true);
	change_many(kit, "large/", CATALOG_LEVEL_LOOKS + 1, true);
	change_many(kit, "larger/sub/", 3 * CATALOG_LEVEL_LOOKS, true);
	kit_put(kit, "large0", "x", 5);
	kit_put(kit, "z/x", "x", 5);
	expect(kit, "", false,
	       "just/ 100 200\nlarge/ 100 200+\nlarge0:1*\nlarger/ 100 200+\nz/ 1 5\n");
	expect(kit, "larger", true, "larger/sub/ 100 200+\n");
	kit_free(kit);
}
END_TEST

static bool
count_row(void *arg, const struct catalog_found *found)
{
	ck_assert(found->is_directory);
	++*(unsigned *)arg;
	return true;
}

START_TEST(test_many_subdirectories_come_in_pages_that_end_after_so_many_looks)
{
	struct kit *kit = kit_new();
	char cursor[CATALOG_CURSOR_SIZE] = "", next[CATALOG_CURSOR_SIZE];
	unsigned count = 0, pages = 0;
	for (unsigned i = 0; i < 30; i++) {
		char *prefix = mem_format("%02u/", i);
		change_many(kit, prefix, CATALOG_LEVEL_LOOKS, true);
		free(prefix);
	}
	do {
		struct catalog_query query = {
			.match = CATALOG_LEVEL, .text = "", .limit = 100, .cursor = cursor
		};
		unsigned before = count;
		ck_assert_int_eq(
		    catalog_search(kit->catalog, &query, count_row, &count, next, NULL), P2P_OK);
		ck_assert_uint_gt(count, before);
		memcpy(cursor, next, sizeof(cursor));
		pages++;
	} while (cursor[0] != '\0');
	ck_assert_uint_eq(count, 30);
	ck_assert_uint_gt(pages, 1);
	kit_free(kit);
}
END_TEST

START_TEST(test_what_nobody_has_any_more_is_no_subdirectory)
{
	struct kit *kit = kit_new();
	kit_put(kit, "a", "x", 1);
	change_many(kit, "gone/", 2 * CATALOG_LEVEL_LOOKS + 10, true);
	change_many(kit, "mostly/", 2 * CATALOG_LEVEL_LOOKS + 10, true);
	kit_put(kit, "mostly/not", "x", 5);
	kit_put(kit, "z", "x", 1);
	change_many(kit, "gone/", 2 * CATALOG_LEVEL_LOOKS + 10, false);
	change_many(kit, "mostly/", 2 * CATALOG_LEVEL_LOOKS + 10, false);
	expect(kit, "", false, "a:1*\nmostly/ 1 5\nz:1*\n");
	expect(kit, "gone", false, "");
	kit_free(kit);
}
END_TEST

/* What CATALOG_LEVEL must say, from what CATALOG_UNDER says: "name:holders*" lines. */
static char *
level_of(char *lines, size_t below)
{
	struct buf out;
	char at[64] = "";
	unsigned files = 0;
	buf_init(&out, 1 << 20);
	buf_adds(&out, "");
	for (char *line = strtok(lines, "\n");; line = strtok(NULL, "\n")) {
		const char *slash = line != NULL ? strchr(line + below, '/') : NULL;
		int len = slash != NULL ? (int)(slash - line) + 1 : 0;
		if (files > 0 && (len != (int)strlen(at) || strncmp(line, at, (size_t)len) != 0)) {
			buf_addf(&out, "%s %u %u\n", at, files, 3 * files);
			files = 0;
		}
		if (line == NULL)
			return buf_give(&out);
		if (slash == NULL)
			buf_addf(&out, "%s\n", line);
		else if (files++ == 0)
			snprintf(at, sizeof(at), "%.*s", len, line);
	}
}

START_TEST(test_any_tree_is_told_as_its_files_say)
{
	static const char letters[] = "ab-0/";
	static const char *const directories[] = { "", "a", "b", "-", "0", "a/a" };
	struct kit *kit = kit_new();
	struct catalog_batch *batch = catalog_batch_new();
	struct catalog_local file = kit_file("x", 3);
	srandom(7);
	for (unsigned i = 0; i < 400; i++) {
		char name[12] = "";
		size_t len = 1 + (size_t)random() % 9;
		for (size_t at = 0; at < len; at++)
			name[at] = letters[(size_t)random() % (sizeof(letters) - 1)];
		struct error err;
		if (name_check(name, len, &err) == P2P_OK)
			catalog_batch_put(batch, name, &file, NULL, 0);
	}
	ck_assert_int_eq(kit_commit(kit, batch), P2P_OK);
	for (size_t i = 0; i < sizeof(directories) / sizeof(directories[0]); i++) {
		size_t len = strlen(directories[i]);
		char *all = kit_search(kit, CATALOG_UNDER, directories[i], false, 1000);
		ck_assert(len > 1 || all[0] != '\0');
		char *want = level_of(all, len > 0 ? len + 1 : 0);
		expect(kit, directories[i], false, want);
		expect(kit, directories[i], true, want);
		free(want);
		free(all);
	}
	kit_free(kit);
}
END_TEST

static Suite *
suite(void)
{
	Suite *suite = suite_create("catalog_level");
	TCase *tcase = tcase_create("all");
	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, test_files_and_subdirectories_come_by_name_with_what_lies_beneath);
	tcase_add_test(tcase, test_a_content_of_a_name_counts_once_however_many_have_it);
	tcase_add_test(tcase, test_the_filter_is_for_what_lies_beneath_too);
	tcase_add_test(tcase, test_a_large_subdirectory_is_told_as_at_least_so_much);
	tcase_add_test(tcase, test_many_subdirectories_come_in_pages_that_end_after_so_many_looks);
	tcase_add_test(tcase, test_what_nobody_has_any_more_is_no_subdirectory);
	tcase_add_test(tcase, test_any_tree_is_told_as_its_files_say);
	suite_add_tcase(suite, tcase);
	return suite;
}

int
main(void)
{
	SRunner *runner = srunner_create(suite());
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
