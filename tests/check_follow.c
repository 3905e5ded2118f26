/* SPDX-License-Identifier: MIT
 *
 * check_follow.c - what a follow means, what is taken of what appears, and that marks neither lose nor double.  Real
 * catalogs, no daemons; those are in e2e/b10_follow.sh.  What is passed over, and for how long, is in check_passed.c.
 */
#include "follow_inner.h"

#include <check.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "catalog_kit.h"
#include "follow_kit.h"

/* --- rules --- */

START_TEST(test_a_pattern_means_a_whole_name_or_a_directory)
{
	static const struct {
		const char *pattern, *name;
		bool fits;
	} cases[] = {
		{ "*.iso", "a.iso", true },      { "*.iso", "d/e/a.iso", true },
		{ "*.iso", "a.iso.sig", false }, { "*.ISO", "a.iso", false },
		{ "logs", "logs", true },        { "logs", "logs/x", true },
		{ "logs", "logs/d/x", true },    { "logs", "logs2", false },
		{ "logs", "old/logs", false },   { "logs/*", "logs/x", true },
		{ "logs/*", "logs", false },     { "v[12]", "v1", true },
		{ "v[12]", "v1/x", false },      { "v?", "v1", true },
		{ "a/b", "a/b/c", true },        { "*", "anything/at all", true },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		ck_assert_msg(follow_fits(cases[i].pattern, cases[i].name) == cases[i].fits,
			      "%s, %s", cases[i].pattern, cases[i].name);
}
END_TEST

START_TEST(test_it_lands_below_its_place_if_that_makes_a_name)
{
	char name[NAME_SIZE], deep[NAME_SIZE] = "a";
	ck_assert(follow_land("", "x/y", name));
	ck_assert_str_eq(name, "x/y");
	ck_assert(follow_land("m/n", "x/y", name));
	ck_assert_str_eq(name, "m/n/x/y");
	for (int i = 1; i < NAME_MAX_PARTS; i++)
		strcat(deep, "/a");
	ck_assert(follow_land("", deep, name));
	ck_assert(!follow_land("m", deep, name));
}
END_TEST

static struct catalog_version
version(const char *seed, int64_t mtime_ns)
{
	return (struct catalog_version){ kit_content(seed, 10), mtime_ns };
}

START_TEST(test_versions_are_ordered_by_time_and_then_by_root)
{
	struct catalog_version a = version("a", 5), b = version("b", 5), later = version("a", 6);
	ck_assert(follow_is_newer(&later, &a) && !follow_is_newer(&a, &later));
	ck_assert(follow_is_newer(&later, &b));
	ck_assert(!follow_is_newer(&a, &a));
	ck_assert_int_ne(follow_is_newer(&a, &b), follow_is_newer(&b, &a));
}
END_TEST

START_TEST(test_a_version_is_judged_by_what_is_here_and_what_was)
{
	struct catalog_version one = version("1", 1), touched = version("1", 9),
			       two = version("2", 2), three = version("3", 3);
	ck_assert_int_eq(follow_judge(&two, NULL, NULL, false), FOLLOW_TAKE);
	ck_assert_int_eq(follow_judge(&two, &two, NULL, true), FOLLOW_PRESENT);
	ck_assert_int_eq(follow_judge(&touched, &one, NULL, true), FOLLOW_PRESENT);
	ck_assert_int_eq(follow_judge(&two, &one, NULL, false), FOLLOW_HELD);
	ck_assert_int_eq(follow_judge(&two, &one, NULL, true), FOLLOW_TAKE);
	ck_assert_int_eq(follow_judge(&one, &two, NULL, true), FOLLOW_OLDER);
	ck_assert_int_eq(follow_judge(&two, NULL, &two, false), FOLLOW_PASSED);
	ck_assert_int_eq(follow_judge(&touched, NULL, &one, false), FOLLOW_PASSED);
	ck_assert_int_eq(follow_judge(&one, NULL, &two, true), FOLLOW_PASSED);
	ck_assert_int_eq(follow_judge(&three, NULL, &two, false), FOLLOW_TAKE);
}
END_TEST

/* --- looks --- */

static struct kit *kit;
static char peer_a[PEER_ID_SIZE], peer_b[PEER_ID_SIZE];

static void
setup(void)
{
	kit = kit_new();
	strcpy(peer_a, kit_peer("peer a"));
	strcpy(peer_b, kit_peer("peer b"));
}

static void
teardown(void)
{
	kit_free(kit);
}

static int
follow(const char *pattern, const char *place, bool replace)
{
	return follow_kit_add(kit, pattern, place, replace);
}

static void
expect(const char *wanted)
{
	follow_kit_expect(kit, wanted);
}

static void
give(const char *peer, uint64_t seq, const char *name, const char *seed)
{
	ck_assert_int_eq(kit_give_one(kit, peer, seq, name, seed, 10), P2P_OK);
}

START_TEST(test_what_appears_from_now_on_and_fits_is_found_once)
{
	give(peer_a, 1, "old.log", "1");
	ck_assert_int_eq(follow("*.log", "", false), P2P_OK);
	expect("");
	give(peer_a, 2, "new.log", "2");
	give(peer_a, 3, "new.txt", "3");
	expect("new.log ");
	expect("");
	give(peer_a, 4, "old.log", "4");
	expect("old.log ");
	/* What a peer brings with it that comes later appears, too. */
	give(peer_b, 1, "of b.log", "5");
	expect("of b.log ");
}
END_TEST

START_TEST(test_what_was_found_but_not_written_is_found_again)
{
	follow("*", "", false);
	give(peer_a, 1, "x", "1");
	free(follow_kit_look(kit, false));
	kit_reopen(kit);
	expect("x ");
	kit_reopen(kit);
	expect("");
}
END_TEST

START_TEST(test_what_is_here_held_or_removed_is_not_taken)
{
	follow("*", "", false);
	kit_put(kit, "same", "1", 10);
	kit_put(kit, "other", "mine", 10);
	kit_put(kit, "gone", "1", 10);
	kit_remove(kit, "gone");
	give(peer_a, 1, "same", "1");
	give(peer_a, 2, "other", "2");
	give(peer_a, 3, "gone", "1");
	expect("held:1 ");
	give(peer_a, 4, "gone", "2");
	expect("gone ");
	/* Another one's news of what was removed changes nothing. */
	kit_put(kit, "gone", "2", 10);
	kit_remove(kit, "gone");
	give(peer_b, 1, "gone", "2");
	expect("");
}
END_TEST

START_TEST(test_a_newer_version_replaces_if_it_may)
{
	follow("*", "", true);
	kit_put(kit, "x", "old", 10); /* of time -5 */
	give(peer_a, 1, "x", "1");
	expect("x ");
}
END_TEST

START_TEST(test_a_peer_that_begins_anew_brings_only_what_is_new)
{
	give(peer_a, 1, "before", "1");
	follow("*", "", false);
	give(peer_a, 2, "taken", "2");
	expect("taken ");
	kit_put(kit, "taken", "2", 10);
	give(peer_a, 3, "unseen", "3");
	struct change_page *page = kit_page(peer_a, 8, 0);
	kit_page_add(page, 1, "unseen", "3", 10);
	kit_page_add(page, 2, "taken", "2", 10);
	kit_page_add(page, 3, "before", "1", 10);
	kit_page_add(page, 4, "later", "4", 10);
	ck_assert_int_eq(kit_give(kit, page), P2P_OK);
	expect("later unseen ");
	expect("");
	page = kit_page(peer_a, 8, 4);
	kit_page_add(page, 2000, "before", "changed", 10);
	ck_assert_int_eq(kit_give(kit, page), P2P_OK);
	expect("before ");
}
END_TEST

START_TEST(test_a_peer_that_was_forgotten_goes_on_where_it_was)
{
	give(peer_a, 1, "before", "1");
	follow("*", "", false);
	give(peer_a, 2, "seen", "2");
	expect("seen ");
	struct catalog_batch *batch = catalog_batch_new();
	catalog_batch_forget(batch, peer_a, NULL);
	ck_assert_int_eq(kit_commit(kit, batch), P2P_OK);
	expect("");
	give(peer_a, 1, "before", "1");
	expect("");
	give(peer_a, 2, "seen", "2");
	give(peer_a, 3, "new", "3");
	expect("new ");
}
END_TEST

static void
enter_fetch(uint64_t id, const char *what, const char *name, const char *seed, int64_t mtime_ns)
{
	struct catalog_fetch_item item = { name, kit_content(seed, 10), mtime_ns, 0644 };
	struct catalog_batch *batch = catalog_batch_new();
	catalog_batch_fetch(batch, id, what, false, &item, 1);
	ck_assert_int_eq(kit_commit(kit, batch), P2P_OK);
}

START_TEST(test_what_is_on_its_way_is_not_begun_twice_and_gives_way_to_newer)
{
	follow("*", "", false);
	enter_fetch(5, "*", "x", "1", 1001);
	give(peer_a, 1, "x", "1");
	expect("");
	give(peer_b, 1, "x", "0");
	give(peer_a, 2, "x", "2");
	expect("x -x ");
	/* What a user asked for stays. */
	enter_fetch(6, "y", "y", "1", 1001);
	give(peer_a, 3, "y", "2");
	expect("y ");
}
END_TEST

START_TEST(test_what_nobody_has_any_more_is_not_waited_for)
{
	follow("*", "", false);
	give(peer_a, 1, "x", "1");
	give(peer_b, 1, "x", "1");
	expect("x ");
	enter_fetch(5, "*", "x", "1", 1001);
	give(peer_a, 2, "x", NULL);
	expect("");
	give(peer_b, 2, "x", NULL);
	expect("-x ");
}
END_TEST

START_TEST(test_of_one_name_the_newest_is_taken_for_the_first_that_follows)
{
	follow("*", "", false);
	follow("x*", "", true);
	give(peer_a, 1, "x", "1");
	give(peer_b, 1, "y", "y");
	give(peer_b, 2, "x", "2");
	struct follow_pass pass = { .catalog = kit->catalog };
	follow_pass_run(&pass);
	ck_assert_uint_eq(pass.find_count, 2);
	struct content_id newest = kit_content("2", 10);
	ck_assert_str_eq(pass.finds[0].name, "x");
	ck_assert(content_equal(&pass.finds[0].version.content, &newest));
	ck_assert_uint_eq(pass.finds[0].lot, 0);
	follow_pass_fini(&pass);
}
END_TEST

START_TEST(test_what_went_round_is_here)
{
	follow("*", "in", false);
	kit_put(kit, "x", "1", 10);
	give(peer_a, 1, "theirs/x", "1"); /* our own, as a follower has it */
	give(peer_a, 2, "y", "2");
	expect("in/y ");
	kit_put(kit, "in/y", "2", 10);
	give(peer_b, 1, "theirs/y", "2"); /* what a third one made of it */
	give(peer_b, 2, "in/y", "2");
	expect("");
	give(peer_b, 3, "z/y", "3");
	expect("in/z/y ");
}
END_TEST

START_TEST(test_a_burst_is_taken_in_parts_and_none_is_left)
{
	const uint64_t total = 2 * FOLLOW_ITEMS_MAX + 500;
	follow("*", "", false);
	for (uint64_t seq = 0; seq < total;) {
		struct change_page *page = kit_page(peer_a, 7, seq);
		char name[32], seed[32];
		for (unsigned i = 0; i < CHANGE_PAGE_MAX && seq < total; i++) {
			snprintf(name, sizeof(name), "%08llu", (unsigned long long)++seq);
			snprintf(seed, sizeof(seed), "%llu", (unsigned long long)seq);
			kit_page_add(page, seq, name, seed, 10);
		}
		ck_assert_int_eq(kit_give(kit, page), P2P_OK);
		kit_clear(kit);
	}
	uint64_t found = 0;
	unsigned looks = 0;
	for (bool has_more = true; has_more; looks++) {
		char *text = follow_kit_look(kit, true);
		for (const char *at = text; (at = strchr(at, ' ')) != NULL; at++)
			found++;
		has_more = strstr(text, "more") != NULL;
		free(text);
	}
	ck_assert_uint_eq(found, total);
	ck_assert_uint_eq(looks, 3);
	expect("");
}
END_TEST

static void
count(void *arg, const struct catalog_follow *follow)
{
	ck_assert_uint_gt(follow->no, 0);
	++*(unsigned *)arg;
}

START_TEST(test_there_are_so_many_follows_at_most_and_each_once)
{
	char pattern[32];
	unsigned n = 0;
	for (unsigned i = 0; i < CATALOG_FOLLOWS_MAX; i++) {
		snprintf(pattern, sizeof(pattern), "%u*", i);
		ck_assert_int_eq(follow(pattern, "", false), P2P_OK);
	}
	ck_assert_int_eq(follow("7*", "", true), P2P_OK);
	ck_assert_int_eq(follow("7*", "elsewhere", true), P2P_TOO_MANY);
	ck_assert_int_eq(catalog_follows(kit->catalog, count, &n), P2P_OK);
	ck_assert_uint_eq(n, CATALOG_FOLLOWS_MAX);
}
END_TEST

START_TEST(test_a_mark_of_a_follow_that_is_gone_is_nothing)
{
	struct catalog_mark mark = { 7, 5 };
	follow("*", "", false);
	struct catalog_batch *batch = catalog_batch_new();
	catalog_batch_unfollow(batch, 1);
	catalog_batch_mark(batch, 1, peer_a, &mark);
	catalog_batch_followed(batch, 1, 1, 1);
	ck_assert_int_eq(kit_commit(kit, batch), P2P_OK);
	ck_assert_int_eq(catalog_follow_mark(kit->catalog, 1, peer_a, &mark), P2P_OK);
	ck_assert_uint_eq(mark.seq, 0);
	/* Its number is not given again. */
	follow("*", "", false);
	give(peer_a, 1, "x", "1");
	expect("x ");
	ck_assert_int_eq(catalog_follow_mark(kit->catalog, 2, peer_a, &mark), P2P_OK);
	ck_assert_uint_eq(mark.seq, 1);
}
END_TEST

START_TEST(test_a_catalog_of_before_there_were_follows_gets_them)
{
	sqlite3 *db;
	char path[300];
	give(peer_a, 1, "kept", "1");
	kit_close(kit);
	snprintf(path, sizeof(path), "%s/catalog.db", kit->dir);
	ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
	ck_assert_int_eq(sqlite3_exec(db,
				      "DROP TABLE follow; DROP TABLE follow_mark;"
				      "DROP TABLE follow_passed; DROP TABLE follow_known",
				      NULL, NULL, NULL),
			 SQLITE_OK);
	sqlite3_close(db);
	kit_open(kit, NULL);
	ck_assert_ptr_null(kit->note);
	ck_assert_int_eq(follow("*", "", false), P2P_OK);
	give(peer_a, 2, "x", "2");
	expect("x ");
}
END_TEST

static Suite *
suite(void)
{
	Suite *suite = suite_create("follow");
	TCase *rules = tcase_create("rules"), *looks = tcase_create("looks");
	tcase_add_test(rules, test_a_pattern_means_a_whole_name_or_a_directory);
	tcase_add_test(rules, test_it_lands_below_its_place_if_that_makes_a_name);
	tcase_add_test(rules, test_versions_are_ordered_by_time_and_then_by_root);
	tcase_add_test(rules, test_a_version_is_judged_by_what_is_here_and_what_was);
	suite_add_tcase(suite, rules);
	tcase_add_checked_fixture(looks, setup, teardown);
	tcase_set_timeout(looks, 60);
	tcase_add_test(looks, test_what_appears_from_now_on_and_fits_is_found_once);
	tcase_add_test(looks, test_what_was_found_but_not_written_is_found_again);
	tcase_add_test(looks, test_what_is_here_held_or_removed_is_not_taken);
	tcase_add_test(looks, test_a_newer_version_replaces_if_it_may);
	tcase_add_test(looks, test_a_peer_that_begins_anew_brings_only_what_is_new);
	tcase_add_test(looks, test_a_peer_that_was_forgotten_goes_on_where_it_was);
	tcase_add_test(looks, test_what_is_on_its_way_is_not_begun_twice_and_gives_way_to_newer);
	tcase_add_test(looks, test_what_nobody_has_any_more_is_not_waited_for);
	tcase_add_test(looks, test_of_one_name_the_newest_is_taken_for_the_first_that_follows);
	tcase_add_test(looks, test_what_went_round_is_here);
	tcase_add_test(looks, test_a_burst_is_taken_in_parts_and_none_is_left);
	tcase_add_test(looks, test_there_are_so_many_follows_at_most_and_each_once);
	tcase_add_test(looks, test_a_mark_of_a_follow_that_is_gone_is_nothing);
	tcase_add_test(looks, test_a_catalog_of_before_there_were_follows_gets_them);
	suite_add_tcase(suite, looks);
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
