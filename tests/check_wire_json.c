/* SPDX-License-Identifier: MIT
 *
 * check_wire_json.c - what one peer writes the other reads back, and what nobody should write is
 * refused.
 */
#include "wire_json.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "codes.h"
#include "mem.h"
#include "merkle.h"

#define PEER "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define ROOT "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

static struct node_record
sample_node(void)
{
	struct node_record node = { .name = "host \"a\"",
				    .version = "0.1.0",
				    .address_count = 3,
				    .addresses = { "http://127.0.0.1:5001", "http://[::1]:5001",
						   "grpc://[::1]:50051" },
				    .epoch = 1795363602163,
				    .seq = 7,
				    .file_count = 3,
				    .byte_count = 1ull << 44 };

	strcpy(node.id, PEER);
	return node;
}

static struct content_id
sample_content(void)
{
	struct content_id content = { .size_bytes = 1ull << 44 };

	ck_assert(digest_parse_hex(ROOT, &content.root));
	return content;
}

START_TEST(test_a_node_record_comes_back_as_it_was)
{
	struct node_record node = sample_node(), back;
	struct node_hello hello = { .node = node }, heard;
	char *text = wire_register_request(&hello);

	ck_assert_int_eq(wire_register_request_parse(text, strlen(text), &heard, NULL), P2P_OK);
	back = heard.node;
	ck_assert_str_eq(back.id, node.id);
	ck_assert_str_eq(back.name, node.name);
	ck_assert_uint_eq(back.address_count, 3);
	ck_assert_str_eq(back.addresses[1], node.addresses[1]);
	ck_assert_str_eq(back.addresses[2], "grpc://[::1]:50051");
	ck_assert_uint_eq(back.epoch, node.epoch);
	ck_assert_uint_eq(back.byte_count, node.byte_count);
	free(text);
}
END_TEST

START_TEST(test_a_view_comes_back_and_none_stays_none)
{
	struct node_hello hello = { .node = sample_node() }, back;

	for (int told = 0; told < 2; told++) {
		hello.view.is_told = told == 1;
		for (uint32_t i = 0; told == 1 && i < NODE_VIEW_SUMS; i++)
			hello.view.sums[i] = UINT32_MAX - i;
		char *text = wire_register_request(&hello);
		ck_assert_int_eq(wire_register_request_parse(text, strlen(text), &back, NULL),
				 P2P_OK);
		ck_assert(back.view.is_told == hello.view.is_told);
		ck_assert_mem_eq(back.view.sums, hello.view.sums, sizeof(back.view.sums));
		free(text);
	}
}
END_TEST

START_TEST(test_what_is_no_view_is_refused)
{
	static const char *const bad[] = { "1",
					   "null",
					   "[]",
					   "[1]",
					   "[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]",
					   "[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,-1]",
					   "[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,4294967296]",
					   "[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,1.5]",
					   "[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,\"1\"]" };
	struct node_hello hello = { .node = sample_node() }, back;
	char *good = wire_register_request(&hello);

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct error err;
		char *text = mem_format("{\"view\":%s,%s", bad[i], good + 1);

		ck_assert_int_eq(wire_register_request_parse(text, strlen(text), &back, &err),
				 P2P_BAD_REQUEST);
		ck_assert_msg(strncmp(err.text, "view: ", 6) == 0, "%s", err.text);
		free(text);
	}
	free(good);
}
END_TEST

START_TEST(test_an_answer_with_a_thousand_peers_comes_back)
{
	struct node_record mine = sample_node(), theirs;
	struct node_record *known = mem_zero(NODE_KNOWN_MAX, sizeof(*known)), *back;
	size_t count;

	for (size_t i = 0; i < NODE_KNOWN_MAX; i++)
		known[i] = mine;
	char *text = wire_register_answer(&mine, known, NODE_KNOWN_MAX);
	ck_assert_int_eq(
	    wire_register_answer_parse(text, strlen(text), &theirs, &back, &count, NULL), P2P_OK);
	ck_assert_uint_eq(count, NODE_KNOWN_MAX);
	ck_assert_str_eq(back[999].name, mine.name);
	free(back);
	free(known);
	free(text);
}
END_TEST

START_TEST(test_a_page_of_changes_comes_back_to_the_nanosecond)
{
	struct change_page *page = change_page_new(), *back;
	struct change added = { .seq = 5,
				.name = (char *)"a/\xc3\xbc.txt",
				.content = sample_content(),
				.mtime_ns = 1795363366834658712,
				.mode = 0750 };
	struct change removed = { .seq = 6, .name = (char *)"gone", .is_removed = true };

	strcpy(page->peer, PEER);
	page->epoch = 3, page->since = 4, page->through = 6, page->head = 9, page->is_reset = true;
	ck_assert(change_page_add(page, &added));
	ck_assert(change_page_add(page, &removed));
	char *text = wire_changes(page);
	ck_assert_int_eq(wire_changes_parse(text, strlen(text), &back, NULL), P2P_OK);
	ck_assert_uint_eq(back->count, 2);
	ck_assert(back->is_reset);
	ck_assert_uint_eq(back->head, 9);
	ck_assert_str_eq(back->items[0].name, added.name);
	ck_assert(content_equal(&back->items[0].content, &added.content));
	ck_assert_int_eq(back->items[0].mtime_ns, added.mtime_ns);
	ck_assert_uint_eq(back->items[0].mode, 0750);
	ck_assert(back->items[1].is_removed);
	free(text);
	change_page_free(page);
	change_page_free(back);
}
END_TEST

START_TEST(test_a_notice_comes_back)
{
	struct notice notice = { .epoch = 1, .seq = (1ull << 53) - 1, .is_lost = _i == 1 }, back;

	strcpy(notice.peer, PEER);
	char *text = wire_notice(&notice);
	ck_assert_int_eq(wire_notice_parse(text, strlen(text), &back, NULL), P2P_OK);
	ck_assert_uint_eq(back.seq, notice.seq);
	ck_assert(back.is_lost == notice.is_lost);
	free(text);
}
END_TEST

START_TEST(test_a_problem_comes_back_with_its_code)
{
	struct error err = { .code = P2P_NO_SPACE, .text = "the disk \"/x\" is full" }, back;
	char *text = wire_problem(&err, NULL);

	ck_assert_ptr_nonnull(strstr(text, "\"status\":507"));
	ck_assert(wire_problem_parse(text, strlen(text), &back));
	ck_assert_int_eq(back.code, P2P_NO_SPACE);
	ck_assert_str_eq(back.text, err.text);
	free(text);
	ck_assert(!wire_problem_parse("<html>", 6, &back));
	ck_assert(!wire_problem_parse("{\"a\":1}", 7, &back));
}
END_TEST

START_TEST(test_a_problem_that_quotes_broken_utf8_is_still_json)
{
	struct error err = { .code = P2P_BAD_NAME, .text = "the name \xff\xfe" }, back;
	char *text = wire_problem(&err, NULL);

	ck_assert(wire_problem_parse(text, strlen(text), &back));
	ck_assert_str_eq(back.text, "the name ??");
	free(text);
}
END_TEST

START_TEST(test_a_row_names_at_most_sixteen_holders_and_their_number)
{
	struct catalog_found row = { .name = "n",
				     .content = sample_content(),
				     .holder_count = 100 };
	char holders[100 * 53 + 1] = "";
	const char *at;
	unsigned shown = 0;

	for (int i = 0; i < 100; i++)
		strcat(holders, PEER " ");
	row.holders = holders;
	struct wire_found *found = wire_found_new(false);
	ck_assert(wire_found_add(found, &row));
	char *text = wire_found_end(found, "next");
	for (at = text; (at = strstr(at, PEER)) != NULL; at++)
		shown++;
	ck_assert_uint_eq(shown, 16);
	ck_assert_ptr_nonnull(strstr(text, "\"holder_count\":100"));
	ck_assert_ptr_nonnull(strstr(text, "\"cursor\":\"next\""));
	free(text);
}
END_TEST

START_TEST(test_a_level_has_its_subdirectories_beside_its_files)
{
	struct catalog_found file = { .name = "f", .content = sample_content(), .holders = "" };
	struct catalog_found directory = { .is_directory = true,
					   .name = "d/",
					   .holders = "",
					   .files = 3,
					   .bytes = 70,
					   .is_cut = true };
	struct wire_found *found = wire_found_new(true);
	ck_assert(wire_found_add(found, &directory));
	ck_assert(wire_found_add(found, &file));
	char *text = wire_found_end(found, "");
	ck_assert_ptr_nonnull(strstr(text, "{\"files\":[{\"name\":\"f\","));
	ck_assert_ptr_nonnull(
	    strstr(text, "\"directories\":[{\"name\":\"d/\",\"files\":3,\"bytes\":70,"
			 "\"more\":true}]}"));
	free(text);
	text = wire_found_end(wire_found_new(true), "");
	ck_assert_str_eq(text, "{\"files\":[],\"directories\":[]}");
	free(text);
	text = wire_found_end(wire_found_new(false), "");
	ck_assert_str_eq(text, "{\"files\":[]}");
	free(text);
}
END_TEST

START_TEST(test_one_fetch_has_its_holders_and_a_list_has_none)
{
	struct fetch_holder holders[2] = {
		{ .peer = PEER,
		  .name = "a",
		  .state = HOLDER_ASKED,
		  .is_whole = true,
		  .pieces_held = 7,
		  .asks = 3,
		  .rate_bps = 1000,
		  .bytes = 5,
		  .pieces = 1,
		  .carried = { [WIRE_REST] = 5, [WIRE_GRPC] = 0.1 } },
		{ .peer = PEER, .state = HOLDER_BARRED, .why = "it lied", .rest_ms = 9 },
	};
	char what[] = "x";
	struct fetch_info info = {
		.id = 4, .what = what, .eta_ms = UINT64_MAX, .holders = holders, .holder_count = 2
	};
	char *one = wire_fetch(&info), *all = wire_fetches(&info, 1);

	ck_assert_ptr_nonnull(strstr(one, "\"holders\":[{\"peer\":\"" PEER "\",\"name\":\"a\","
					  "\"state\":\"asked\",\"whole\":true,\"pieces\":7,"
					  "\"asks\":3,\"rate_bps\":1000,\"bytes\":5,"
					  "\"verified_pieces\":1,\"transport\":\"rest\"},"));
	ck_assert_ptr_nonnull(strstr(one, "\"state\":\"barred\""));
	ck_assert_ptr_nonnull(strstr(one, "\"rest_ms\":9,\"detail\":\"it lied\"}]"));
	ck_assert_ptr_null(strstr(all, "holders"));
	free(one);
	free(all);
}
END_TEST

START_TEST(test_a_fetch_is_asked_for_by_word_or_by_content)
{
	static const char by_word[] = "{\"what\":\"a*\",\"replace\":true,\"more\":[1]}";
	static const char by_content[] = "{\"root\":\"" ROOT "\",\"size\":5,\"name\":\"x\"}";
	struct wire_fetch_request wanted;

	ck_assert_int_eq(wire_fetch_request_parse(by_word, strlen(by_word), &wanted, NULL), P2P_OK);
	ck_assert_str_eq(wanted.what, "a*");
	ck_assert(wanted.replace && !wanted.has_content);
	free(wanted.what);
	ck_assert_int_eq(wire_fetch_request_parse(by_content, strlen(by_content), &wanted, NULL),
			 P2P_OK);
	ck_assert(wanted.has_content && wanted.content.size_bytes == 5);
	ck_assert_str_eq(wanted.what, "x");
	free(wanted.what);
}
END_TEST

START_TEST(test_a_follow_is_asked_for_by_its_pattern_alone_or_with_more)
{
	static const char short_one[] = "{\"pattern\":\"a*\"}";
	static const char long_one[] = "{\"pattern\":\"a\",\"place\":\"b/c\",\"replace\":true}";
	static const char *const bad[] = { "{}",
					   "[]",
					   "{\"pattern\":1}",
					   "{\"pattern\":null}",
					   "{\"pattern\":\"a\",\"replace\":1}",
					   "{\"pattern\":\"a\",\"place\":[]}" };
	struct wire_follow_request wanted;

	ck_assert_int_eq(wire_follow_request_parse(short_one, strlen(short_one), &wanted, NULL),
			 P2P_OK);
	ck_assert_str_eq(wanted.pattern, "a*");
	ck_assert_str_eq(wanted.place, "");
	ck_assert(!wanted.replace);
	wire_follow_request_fini(&wanted);
	ck_assert_int_eq(wire_follow_request_parse(long_one, strlen(long_one), &wanted, NULL),
			 P2P_OK);
	ck_assert_str_eq(wanted.place, "b/c");
	ck_assert(wanted.replace);
	wire_follow_request_fini(&wanted);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert_msg(wire_follow_request_parse(bad[i], strlen(bad[i]), &wanted, NULL) ==
				  P2P_BAD_REQUEST,
			      "%s", bad[i]);
}
END_TEST

/* None of these is a notice. */
static const char *const bad_notices[] = {
	"",
	"null",
	"[]",
	"{",
	"{\"peer\":\"" PEER "\",\"epoch\":1,\"seq\":1,\"seq\":2}",
	"{\"peer\":\"" PEER "\",\"epoch\":1}",
	"{\"peer\":\"" PEER "\",\"epoch\":-1,\"seq\":1}",
	"{\"peer\":\"" PEER "\",\"epoch\":1e999,\"seq\":1}",
	"{\"peer\":\"" PEER "\",\"epoch\":1.5,\"seq\":1}",
	"{\"peer\":\"" PEER "\",\"epoch\":9007199254740992,\"seq\":1}",
	"{\"peer\":\"" PEER "\",\"epoch\":99999999999999999999,\"seq\":1}",
	"{\"peer\":\"" PEER "\",\"epoch\":\"1\",\"seq\":1}",
	"{\"peer\":\"" PEER "a\",\"epoch\":1,\"seq\":1}",
	"{\"peer\":\"\\ud800\",\"epoch\":1,\"seq\":1}",
	"{\"peer\":\"a\\u0000b\",\"epoch\":1,\"seq\":1}",
	"{\"peer\":\"\xff\",\"epoch\":1,\"seq\":1}",
	"{\"peer\":\"" PEER "\",\"epoch\":1,\"seq\":1}x",
};

START_TEST(test_what_is_no_notice_is_refused_and_leaves_the_output_alone)
{
	struct notice notice = { .seq = 77 };
	struct error err = { 0 };

	ck_assert_int_eq(wire_notice_parse(bad_notices[_i], strlen(bad_notices[_i]), &notice, &err),
			 P2P_BAD_REQUEST);
	ck_assert_uint_eq(notice.seq, 77);
	ck_assert_int_eq(err.code, P2P_BAD_REQUEST);
	ck_assert_str_ne(err.text, "");
}
END_TEST

/* `count` times `text`, malloc'ed. */
static char *
repeat(const char *text, size_t count)
{
	size_t len = strlen(text);
	char *all = mem_alloc(len * count + 1);

	for (size_t i = 0; i < count; i++)
		memcpy(all + i * len, text, len + 1);
	return all;
}

START_TEST(test_depth_values_and_length_have_limits)
{
	struct notice notice;
	struct error err;
	char *deep = repeat("[", 100000), *wide = repeat("0,", 1000000), *text;

	ck_assert_int_eq(wire_notice_parse(deep, 100000, &notice, &err), P2P_BAD_REQUEST);
	ck_assert_ptr_nonnull(strstr(err.text, "deeper"));
	text = mem_format("{\"x\":[%s0]}", wide);
	ck_assert_int_eq(wire_notice_parse(text, strlen(text), &notice, &err), P2P_BAD_REQUEST);
	ck_assert_ptr_nonnull(strstr(err.text, "values"));
	free(text);
	free(wide);
	free(deep);
	text = repeat(" ", WIRE_JSON_MAX + 1);
	ck_assert_int_eq(wire_notice_parse(text, WIRE_JSON_MAX + 1, &notice, &err), P2P_TOO_LARGE);
	free(text);
}
END_TEST

START_TEST(test_contents_out_of_range_are_refused)
{
	static const char *const bad[] = {
		"{\"root\":\"" ROOT "\",\"size\":17592186044417,\"name\":\"x\"}",
		"{\"root\":\"" ROOT "0\",\"size\":1,\"name\":\"x\"}",
		"{\"root\":\"zz\",\"size\":1,\"name\":\"x\"}",
		"{\"root\":\"" ROOT "\",\"size\":1}",
		"{\"root\":\"" ROOT "\",\"size\":1,\"name\":\"x\",\"what\":\"y\"}",
		"{\"what\":\"\"}",
		"{\"what\":\"x\",\"replace\":1}",
	};
	struct wire_fetch_request wanted;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert_msg(wire_fetch_request_parse(bad[i], strlen(bad[i]), &wanted, NULL) ==
				  P2P_BAD_REQUEST,
			      "%s", bad[i]);
}
END_TEST

/* Of the largest content that there can be. */
static struct holding_answer
largest_answer(bool is_full)
{
	struct content_id content = sample_content();
	size_t count =
	    (size_t)merkle_piece_count(content.size_bytes, merkle_piece_bytes(content.size_bytes));
	struct holding_answer answer = { .next = UINT64_MAX,
					 .is_full = is_full,
					 .piece_count = is_full ? 0 : HOLDINGS_NEWS_MAX,
					 .coming_count = HOLDINGS_NEWS_MAX,
					 .peer_count =
					     is_full ? HOLDINGS_FOLLOWERS_MAX : HOLDINGS_NEWS_MAX };

	answer.bits_len = is_full ? count / 8 : 0;
	answer.bits = mem_alloc(count / 8);
	memset(answer.bits, 0xa5, count / 8);
	answer.pieces = mem_zero(HOLDINGS_NEWS_MAX, sizeof(*answer.pieces));
	answer.coming = mem_zero(HOLDINGS_NEWS_MAX, sizeof(*answer.coming));
	answer.peers = mem_zero(HOLDINGS_NEWS_MAX, sizeof(*answer.peers));
	for (size_t i = 0; i < HOLDINGS_NEWS_MAX; i++) {
		answer.pieces[i] = answer.coming[i] = count - 1 - i;
		strcpy(answer.peers[i], PEER);
	}
	return answer;
}

START_TEST(test_the_largest_answer_about_what_is_held_comes_back)
{
	struct content_id content = sample_content();
	uint64_t count =
	    merkle_piece_count(content.size_bytes, merkle_piece_bytes(content.size_bytes));

	ck_assert_uint_eq(count, MERKLE_LAYER_MAX);
	for (int is_full = 0; is_full < 2; is_full++) {
		struct holding_answer answer = largest_answer(is_full), back;
		char *text = wire_have(&content, &answer);
		struct error err;

		ck_assert_uint_le(strlen(text), wire_have_max(count));
		ck_assert_uint_le(wire_have_max(count), WIRE_JSON_MAX);
		ck_assert_msg(wire_have_parse(text, strlen(text), &content, &back, &err) == P2P_OK,
			      "%s", err.text);
		ck_assert_uint_eq(back.next, UINT64_MAX);
		ck_assert(back.is_full == answer.is_full && !back.is_whole);
		ck_assert_uint_eq(back.bits_len, answer.bits_len);
		ck_assert(back.bits_len == 0 || memcmp(back.bits, answer.bits, back.bits_len) == 0);
		ck_assert_uint_eq(back.piece_count, answer.piece_count);
		ck_assert_mem_eq(back.coming, answer.coming,
				 HOLDINGS_NEWS_MAX * sizeof(*back.coming));
		ck_assert_uint_eq(back.peer_count, answer.peer_count);
		ck_assert_str_eq(back.peers[back.peer_count - 1], PEER);
		holding_answer_fini(&answer);
		holding_answer_fini(&back);
		free(text);
	}
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("wire_json");
	TCase *both = tcase_create("both ways"), *hostile = tcase_create("hostile");

	tcase_add_test(both, test_a_node_record_comes_back_as_it_was);
	tcase_add_test(both, test_a_view_comes_back_and_none_stays_none);
	tcase_add_test(both, test_an_answer_with_a_thousand_peers_comes_back);
	tcase_add_test(both, test_a_page_of_changes_comes_back_to_the_nanosecond);
	tcase_add_loop_test(both, test_a_notice_comes_back, 0, 2);
	tcase_add_test(both, test_the_largest_answer_about_what_is_held_comes_back);
	tcase_add_test(both, test_a_problem_comes_back_with_its_code);
	tcase_add_test(both, test_a_problem_that_quotes_broken_utf8_is_still_json);
	tcase_add_test(both, test_a_row_names_at_most_sixteen_holders_and_their_number);
	tcase_add_test(both, test_a_level_has_its_subdirectories_beside_its_files);
	tcase_add_test(both, test_one_fetch_has_its_holders_and_a_list_has_none);
	tcase_add_test(both, test_a_fetch_is_asked_for_by_word_or_by_content);
	tcase_add_test(both, test_a_follow_is_asked_for_by_its_pattern_alone_or_with_more);
	tcase_add_loop_test(hostile, test_what_is_no_notice_is_refused_and_leaves_the_output_alone,
			    0, (int)(sizeof(bad_notices) / sizeof(bad_notices[0])));
	tcase_add_test(hostile, test_depth_values_and_length_have_limits);
	tcase_add_test(hostile, test_contents_out_of_range_are_refused);
	tcase_add_test(hostile, test_what_is_no_view_is_refused);
	suite_add_tcase(suite, both);
	suite_add_tcase(suite, hostile);

	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
