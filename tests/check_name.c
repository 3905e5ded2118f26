/* SPDX-License-Identifier: MIT
 *
 * check_name.c - what a shared name may be, and globs, held against SQLite's own.
 */
#include "name.h"

#include <check.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static int
check(const char *name)
{
	return name_check(name, strlen(name), NULL);
}

static const char *const accepted[] = {
	"a",         "a/b/c.tar",
	"...",       ".hidden",
	"a..b",      "with space",
	"~",         "back\\slash",
	"h\xc3\xa9", "\xe6\x97\xa5\xe6\x9c\xac/\xf0\x9f\x8e\x89",
	".p2pd",     "x.p2pd-y",
	"-rf",       "\xea\xb0\x80",
};

START_TEST(test_an_ordinary_name_is_accepted)
{
	ck_assert_int_eq(check(accepted[_i]), 0);
}
END_TEST

static const struct {
	const char *name, *rule;
} refused[] = {
	{ "", "empty" },
	{ "/a", "empty part" },
	{ "a/", "empty part" },
	{ "a//b", "empty part" },
	{ ".", "'..'" },
	{ "..", "'..'" },
	{ "a/../b", "'..'" },
	{ "a/.", "'..'" },
	{ "a\nb", "control" },
	{ "a\x7f", "control" },
	{ "a\xc2\x85", "control" },
	{ "\xd8\x9c", "invisible" },
	{ "a\xe2\x80\x8b", "invisible" },
	{ "a\xe2\x80\x8f", "invisible" },
	{ "a\xe2\x80\xae", "invisible" },
	{ "a\xe2\x81\xa0", "invisible" },
	{ "a\xe2\x81\xa4", "invisible" },
	{ "a\xe2\x81\xa9", "invisible" },
	{ "\xff", "UTF-8" },
	{ "\xc0\xae\xc0\xae", "UTF-8" },
	{ "\xed\xa0\x80", "UTF-8" },
	{ "\xe2\x82", "UTF-8" },
	{ "\xf4\x90\x80\x80", "UTF-8" },
	{ "e\xcc\x81", "normal form" },
	{ "a/\xe1\x84\x80\xe1\x85\xa1", "normal form" },
	{ "\xe2\x84\xab", "normal form" },
	{ "\xf0\x9d\x85\x9e", "normal form" },
	{ ".p2pd-x", "keeps for itself" },
	{ "a/.p2pd-", "keeps for itself" },
};

START_TEST(test_a_name_that_breaks_a_rule_is_refused_by_that_rule)
{
	struct error err;

	ck_assert_int_eq(name_check(refused[_i].name, strlen(refused[_i].name), &err),
			 P2P_BAD_NAME);
	ck_assert_int_eq(err.code, P2P_BAD_NAME);
	ck_assert_msg(strstr(err.text, refused[_i].rule) != NULL, "'%s' lacks '%s'", err.text,
		      refused[_i].rule);
}
END_TEST

START_TEST(test_neighbours_of_the_invisible_characters_are_accepted)
{
	ck_assert_int_eq(check("\xe2\x80\x8a"), P2P_OK); /* U+200A */
	ck_assert_int_eq(check("\xe2\x80\x90"), P2P_OK); /* U+2010 */
	ck_assert_int_eq(check("\xe2\x80\xaf"), P2P_OK); /* U+202F */
	ck_assert_int_eq(check("\xe2\x81\xaa"), P2P_OK); /* U+206A */
	ck_assert_int_eq(check("\xc2\xa0"), P2P_OK);     /* U+00A0 */
}
END_TEST

START_TEST(test_a_nul_in_a_name_is_refused)
{
	ck_assert_int_eq(name_check("a\0b", 3, NULL), P2P_BAD_NAME);
}
END_TEST

START_TEST(test_a_part_may_have_255_bytes_and_not_256)
{
	char part[257];

	memset(part, 'x', 256);
	part[256] = '\0';
	ck_assert_int_eq(name_check_part(part, 255, NULL), 0);
	ck_assert_int_eq(name_check_part(part, 256, NULL), P2P_BAD_NAME);
	ck_assert_int_eq(name_check_part("a/b", 3, NULL), P2P_BAD_NAME);
}
END_TEST

START_TEST(test_a_name_may_have_16_parts_and_1024_bytes_and_not_more)
{
	char name[NAME_SIZE + 1];

	ck_assert_int_eq(check("a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a"), 0);
	ck_assert_int_eq(check("a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a"), P2P_BAD_NAME);

	memset(name, 'x', sizeof(name));
	for (size_t i = 204; i < sizeof(name) - 2; i += 205)
		name[i] = '/';
	ck_assert_int_eq(name_check(name, NAME_MAX_BYTES, NULL), 0);
	ck_assert_int_eq(name_check(name, NAME_MAX_BYTES + 1, NULL), P2P_BAD_NAME);
}
END_TEST

START_TEST(test_the_error_shows_a_hostile_name_escaped)
{
	struct error err;

	ck_assert_int_eq(name_check("a\n\xff", 3, &err), P2P_BAD_NAME);
	ck_assert_str_eq(err.text, "name 'a\\x0a\\xff' holds a control character");
}
END_TEST

START_TEST(test_parts_that_grow_by_decomposition_fit)
{
	/* U+0390 decomposes to three characters, and comes together again. */
	char part[254];

	for (size_t i = 0; i < sizeof(part); i += 2)
		memcpy(part + i, "\xce\x90", 2);
	ck_assert_int_eq(name_check_part(part, sizeof(part), NULL), 0);
}
END_TEST

static const struct {
	const char *glob, *name;
	bool is_match;
} globs[] = {
	{ "", "", true },
	{ "", "a", false },
	{ "*", "", true },
	{ "*", "a/b", true },
	{ "*.tar", "a/b.tar", true },
	{ "*.tar", "b.tar.gz", false },
	{ "a?c", "abc", true },
	{ "a?c", "ac", false },
	{ "a?c",
	  "a\xc3\xa9"
	  "c",
	  true },
	{ "?", "\xf0\x9f\x8e\x89", true },
	{ "[abc]x", "bx", true },
	{ "[a-c]x", "dx", false },
	{ "[^a-c]x", "dx", true },
	{ "[^a-c]x", "ax", false },
	{ "[]]", "]", true },
	{ "[^]]", "]", false },
	{ "[a-]", "-", true },
	{ "[-a]", "-", true },
	{ "[a", "a", false },
	{ "[\xc3\xa0-\xc3\xaf]", "\xc3\xa9", true },
	{ "[*]", "*", true },
	{ "[*]", "a", false },
	{ "A", "a", false },
	{ "a*b*c", "aXbXbXc", true },
	{ "a*b*c", "aXbXbX", false },
	{ "**a**", "bab", true },
};

START_TEST(test_a_glob_matches_as_written)
{
	ck_assert_int_eq(name_match(globs[_i].glob, globs[_i].name), globs[_i].is_match);
	ck_assert_int_eq(sqlite3_strglob(globs[_i].glob, globs[_i].name) == 0, globs[_i].is_match);
}
END_TEST

START_TEST(test_a_glob_that_fits_nothing_is_told_from_others)
{
	static const char *const good[] = { "", "*", "a[b]c", "[[]", "[]]", "[^]a]", "a]", "[a-]" };
	static const char *const bad[] = { "[", "a[b", "[]", "[^]", "[a]b[c", "*[a-" };
	struct error err;

	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
		ck_assert_int_eq(name_glob_check(good[i], &err), P2P_OK);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		ck_assert_int_eq(name_glob_check(bad[i], &err), P2P_BAD_REQUEST);
		ck_assert_ptr_nonnull(strstr(err.text, bad[i]));
	}
}
END_TEST

/* Fills text[len] from `letters`, and ends it. */
static void
random_text(unsigned *seed, const char *const *letters, size_t count, size_t len, char *text)
{
	text[0] = '\0';
	for (size_t i = 0; i < len; i++)
		strcat(text, letters[(size_t)rand_r(seed) % count]);
}

START_TEST(test_globs_agree_with_sqlite_on_random_texts)
{
	static const char *const in_glob[] = { "a", "b", "c", "*", "*",       "?",
					       "[", "]", "^", "-", "\xc3\xa9" };
	static const char *const in_name[] = { "a", "b", "c", "]", "-", "^", "\xc3\xa9" };
	unsigned seed = 1;
	int matches = 0;

	for (int i = 0; i < 300000; i++) {
		char glob[32], name[32];

		random_text(&seed, in_glob, 11, (size_t)rand_r(&seed) % 9, glob);
		random_text(&seed, in_name, 7, (size_t)rand_r(&seed) % 7, name);

		bool is_match = sqlite3_strglob(glob, name) == 0;
		ck_assert_msg(name_match(glob, name) == is_match, "'%s' on '%s'", glob, name);
		matches += is_match;
	}
	ck_assert_int_gt(matches, 1000);
}
END_TEST

START_TEST(test_a_hostile_glob_does_not_take_for_ever)
{
	char glob[2 * 500 + 2], name[NAME_SIZE];

	for (size_t i = 0; i < 500; i++)
		memcpy(glob + 2 * i, "*a", 2);
	memcpy(glob + 1000, "b", 2);
	memset(name, 'a', NAME_MAX_BYTES);
	name[NAME_MAX_BYTES] = '\0';

	clock_t start = clock();
	ck_assert(!name_match(glob, name));
	ck_assert_int_lt((clock() - start) / CLOCKS_PER_SEC, 2);
}
END_TEST

static const struct {
	const char *text;
	size_t span;
} spans[] = {
	{ "", 0 },
	{ "abc\x01\n", 5 },
	{ "h\xc3\xa9", 3 },
	{ "\xf0\x9f\x8e\x89!", 5 },
	{ "ab\xff", 2 },
	{ "ab\xc3", 2 },            /* cut within a character */
	{ "\xf0\x9f\x8e", 0 },      /* the same */
	{ "a\xc0\xaf", 1 },         /* overlong */
	{ "a\xed\xa0\x80", 1 },     /* a surrogate */
	{ "a\xf4\x90\x80\x80", 1 }, /* beyond Unicode */
	{ "a\x80", 1 },             /* continues nothing */
};

START_TEST(test_the_span_of_utf8_ends_where_it_is_broken)
{
	ck_assert_uint_eq(name_utf8_span(spans[_i].text, strlen(spans[_i].text)), spans[_i].span);
}
END_TEST

#define COUNT(table) ((int)(sizeof(table) / sizeof((table)[0])))

int
main(void)
{
	Suite *suite = suite_create("name");
	TCase *tc = tcase_create("name");

	tcase_set_timeout(tc, 30);
	tcase_add_loop_test(tc, test_an_ordinary_name_is_accepted, 0, COUNT(accepted));
	tcase_add_loop_test(tc, test_a_name_that_breaks_a_rule_is_refused_by_that_rule, 0,
			    COUNT(refused));
	tcase_add_test(tc, test_neighbours_of_the_invisible_characters_are_accepted);
	tcase_add_test(tc, test_a_nul_in_a_name_is_refused);
	tcase_add_test(tc, test_a_part_may_have_255_bytes_and_not_256);
	tcase_add_test(tc, test_a_name_may_have_16_parts_and_1024_bytes_and_not_more);
	tcase_add_test(tc, test_the_error_shows_a_hostile_name_escaped);
	tcase_add_test(tc, test_parts_that_grow_by_decomposition_fit);
	tcase_add_loop_test(tc, test_a_glob_matches_as_written, 0, COUNT(globs));
	tcase_add_loop_test(tc, test_the_span_of_utf8_ends_where_it_is_broken, 0, COUNT(spans));
	tcase_add_test(tc, test_a_glob_that_fits_nothing_is_told_from_others);
	tcase_add_test(tc, test_globs_agree_with_sqlite_on_random_texts);
	tcase_add_test(tc, test_a_hostile_glob_does_not_take_for_ever);
	suite_add_tcase(suite, tc);

	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
