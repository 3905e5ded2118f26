/* SPDX-License-Identifier: MIT
 *
 * check_line.c - the line protocol's words: what one end quotes, the other reads back.
 */
#include "line.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static struct line line;
static const char *why;

static int
parse(const char *text)
{
	return line_parse(text, strlen(text), &line, &why);
}

START_TEST(test_words_and_pairs_are_told_apart)
{
	ck_assert_int_eq(parse("  fetch  data.tar limit=10 to=a=b Key=x 9=x "), 0);
	ck_assert_uint_eq(line.word_count, 4);
	ck_assert_str_eq(line.words[0], "fetch");
	ck_assert_str_eq(line.words[1], "data.tar");
	ck_assert_str_eq(line.words[2], "Key=x");
	ck_assert_str_eq(line.words[3], "9=x");
	ck_assert_uint_eq(line.pair_count, 2);
	ck_assert_str_eq(line_value(&line, "limit"), "10");
	ck_assert_str_eq(line_value(&line, "to"), "a=b");
	ck_assert_ptr_null(line_value(&line, "fetch"));
}
END_TEST

START_TEST(test_a_quoted_word_is_a_plain_word_whatever_it_holds)
{
	ck_assert_int_eq(parse("\"a=b\" \"\" name=\"a \\\"b\\\" \\\\ \\n\\t\\x1b\" empty="), 0);
	ck_assert_uint_eq(line.word_count, 2);
	ck_assert_str_eq(line.words[0], "a=b");
	ck_assert_str_eq(line.words[1], "");
	ck_assert_str_eq(line_value(&line, "name"), "a \"b\" \\ \n\t\x1b");
	ck_assert_str_eq(line_value(&line, "empty"), "");
}
END_TEST

START_TEST(test_an_empty_line_has_no_words)
{
	ck_assert_int_eq(parse(""), 0);
	ck_assert_uint_eq(line.word_count + line.pair_count, 0);
	ck_assert_int_eq(parse("   "), 0);
	ck_assert_uint_eq(line.word_count + line.pair_count, 0);
}
END_TEST

static const char *const refused[] = {
	"a\tb",
	"a\rb",
	"a\x1b[2Jb",
	"a\x7f",
	"\"a\tb\"",
	"a\xc2\x85",
	"\"open",
	"\"open\\\"",
	"k=\"open",
	"a\"b",
	"a\\nb",
	"\"a\"b",
	"\"\\q\"",
	"\"\\",
	"\"\\x\"",
	"\"\\x4\"",
	"\"\\xg0\"",
	"\"\\x00\"",
	"bad \xff byte",
	"\xc0\xaf",
	"\xed\xa0\x80",
	"\xe2\x82",
	"\xf4\x90\x80\x80",
	"k=1 other=2 k=3",
};

START_TEST(test_a_line_that_breaks_a_rule_is_refused_with_a_reason)
{
	why = NULL;
	ck_assert_int_eq(parse(refused[_i]), -1);
	ck_assert_ptr_nonnull(why);
	ck_assert_uint_eq(line.word_count + line.pair_count, 0);
}
END_TEST

START_TEST(test_a_nul_is_refused)
{
	ck_assert_int_eq(line_parse("a\0b", 3, &line, &why), -1);
}
END_TEST

START_TEST(test_a_line_may_have_64_words_and_not_65)
{
	char text[2 * (LINE_MAX_WORDS + 1) + 1] = "";

	for (int i = 0; i < LINE_MAX_WORDS; i++)
		strcat(text, "w ");
	ck_assert_int_eq(parse(text), 0);
	ck_assert_uint_eq(line.word_count, LINE_MAX_WORDS);
	strcat(text, "w");
	ck_assert_int_eq(parse(text), -1);
}
END_TEST

START_TEST(test_a_line_may_have_8192_bytes_with_its_line_feed_and_not_more)
{
	static char text[LINE_MAX_BYTES + 1];

	memset(text, 'w', LINE_MAX_BYTES);
	ck_assert_int_eq(line_parse(text, LINE_MAX_BYTES - 1, &line, &why), 0);
	ck_assert_uint_eq(strlen(line.words[0]), LINE_MAX_BYTES - 1);
	ck_assert_int_eq(line_parse(text, LINE_MAX_BYTES, &line, &why), -1);
}
END_TEST

static const struct {
	const char *word, *quoted;
} quotes[] = {
	{ "plain", "plain" },
	{ "", "\"\"" },
	{ "two words", "\"two words\"" },
	{ "a\"b\\c", "\"a\\\"b\\\\c\"" },
	{ "\n\t\r", "\"\\n\\t\\x0d\"" },
	{ "k=v", "\"k=v\"" },
	{ "K=v", "K=v" },
	{ "h\xc3\xa9", "h\xc3\xa9" },
	{ "\xff!", "\"\\xff!\"" },
	{ "\xc2\x9b", "\"\\xc2\\x9b\"" },
};

START_TEST(test_a_word_is_quoted_only_where_it_must_be)
{
	char out[64];
	size_t len = line_quote(quotes[_i].word, out, sizeof(out));

	ck_assert_str_eq(out, quotes[_i].quoted);
	ck_assert_uint_eq(len, strlen(out));
}
END_TEST

START_TEST(test_every_byte_survives_quoting_and_parsing)
{
	for (int c = 1; c < 256; c++) {
		char word[] = { 'a', (char)c, 'b', '\0' }, out[32];

		line_quote(word, out, sizeof(out));
		ck_assert_int_eq(parse(out), 0);
		ck_assert_uint_eq(line.word_count, 1);
		ck_assert_str_eq(line.words[0], word);
	}
}
END_TEST

START_TEST(test_quoting_into_too_little_room_gives_nothing)
{
	for (size_t i = 0; i < sizeof(quotes) / sizeof(quotes[0]); i++) {
		size_t len = strlen(quotes[i].quoted);

		for (size_t cap = 1; cap <= len; cap++) {
			char *out = malloc(cap); /* so that ASan sees its end */

			ck_assert_uint_eq(line_quote(quotes[i].word, out, cap), cap);
			ck_assert_str_eq(out, "");
			free(out);
		}

		char *out = malloc(len + 1);
		ck_assert_uint_eq(line_quote(quotes[i].word, out, len + 1), len);
		free(out);
	}
	ck_assert_uint_eq(line_quote("a", NULL, 0), 0);
}
END_TEST

static const struct {
	const char *text, *escaped;
} escapes[] = {
	{ "h\xc3\xa9llo", "h\xc3\xa9llo" },
	{ "a\nb\x1b[2J", "a\\x0ab\\x1b[2J" },
	{ "\xc2\x9b\x7f", "\\u{009b}\\x7f" },
	{ "exe.\xe2\x80\xaegpj", "exe.\\u{202e}gpj" },
	{ "\xef\xbb\xbf\xf3\xa0\x80\x81", "\\u{feff}\\u{e0001}" },
	{ "\xff\xc3", "\\xff\\xc3" },
	{ "a\\b", "a\\\\b" },
};

START_TEST(test_what_a_terminal_would_obey_is_escaped)
{
	char out[64];
	size_t len = line_escape(escapes[_i].text, out, sizeof(out));

	ck_assert_str_eq(out, escapes[_i].escaped);
	ck_assert_uint_eq(len, strlen(out));
}
END_TEST

START_TEST(test_an_escaped_text_is_cut_on_a_whole_character)
{
	char out[4];

	ck_assert_uint_eq(line_escape("ab\xc3\xa9", out, sizeof(out)), 2);
	ck_assert_str_eq(out, "ab");
	ck_assert_uint_eq(line_escape("a\xc3\xa9z", out, sizeof(out)), 3);
	ck_assert_uint_eq(line_escape("\n", out, sizeof(out)), 0);
	ck_assert_uint_eq(line_escape("a", out, 1), 0);
	ck_assert_str_eq(out, "");
	ck_assert_uint_eq(line_escape("a", NULL, 0), 0);
}
END_TEST

START_TEST(test_a_reply_is_taken_apart)
{
	int code = 0;
	bool is_final = false;

	ck_assert_str_eq(line_reply("200-a=1", &code, &is_final), "a=1");
	ck_assert_int_eq(code, 200);
	ck_assert(!is_final);
	ck_assert_str_eq(line_reply("404 not-found", &code, &is_final), "not-found");
	ck_assert_int_eq(code, 404);
	ck_assert(is_final);
	ck_assert_str_eq(line_reply("200 ", &code, &is_final), "");
	ck_assert_str_eq(line_reply("200", &code, &is_final), "");
	ck_assert(is_final);
}
END_TEST

START_TEST(test_what_is_no_reply_is_refused)
{
	static const char *const bad[] = { "",     "2",     "20",    "200x",
					   "20 x", "a00 x", "099 x", "2000 x" };
	int code = 7;
	bool is_final = true;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert_ptr_null(line_reply(bad[i], &code, &is_final));
	ck_assert_int_eq(code, 7);
}
END_TEST

#define COUNT(table) ((int)(sizeof(table) / sizeof((table)[0])))

int
main(void)
{
	Suite *suite = suite_create("line");
	TCase *tc = tcase_create("line");

	tcase_add_test(tc, test_words_and_pairs_are_told_apart);
	tcase_add_test(tc, test_a_quoted_word_is_a_plain_word_whatever_it_holds);
	tcase_add_test(tc, test_an_empty_line_has_no_words);
	tcase_add_loop_test(tc, test_a_line_that_breaks_a_rule_is_refused_with_a_reason, 0,
			    COUNT(refused));
	tcase_add_test(tc, test_a_nul_is_refused);
	tcase_add_test(tc, test_a_line_may_have_64_words_and_not_65);
	tcase_add_test(tc, test_a_line_may_have_8192_bytes_with_its_line_feed_and_not_more);
	tcase_add_loop_test(tc, test_a_word_is_quoted_only_where_it_must_be, 0, COUNT(quotes));
	tcase_add_test(tc, test_every_byte_survives_quoting_and_parsing);
	tcase_add_test(tc, test_quoting_into_too_little_room_gives_nothing);
	tcase_add_loop_test(tc, test_what_a_terminal_would_obey_is_escaped, 0, COUNT(escapes));
	tcase_add_test(tc, test_an_escaped_text_is_cut_on_a_whole_character);
	tcase_add_test(tc, test_a_reply_is_taken_apart);
	tcase_add_test(tc, test_what_is_no_reply_is_refused);
	suite_add_tcase(suite, tc);

	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
