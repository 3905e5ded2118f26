/* SPDX-License-Identifier: MIT
 *
 * check_passed.c - what follows pass over: as long as it could come back, and no longer.
 *
 * What is in the tables is read through a connection of the test's own.
 */
#include <check.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "catalog_follow.h"
#include "catalog_kit.h"
#include "clock.h"
#include "follow_kit.h"
#include "mem.h"

#define WAIT_MS 10000
#define KEPT    8
#define AT_MOST (KEPT + KEPT / 8) /* removals of a peer, when the scribe rests */

static struct kit *kit;
static char peer_a[PEER_ID_SIZE], peer_b[PEER_ID_SIZE];

static void
setup(void)
{
	kit = kit_new();
	catalog_limit_tombstones(kit->catalog, KEPT);
	strcpy(peer_a, kit_peer("peer a"));
	strcpy(peer_b, kit_peer("peer b"));
}

static void
teardown(void)
{
	kit_free(kit);
}

/* --- the tables --- */

/* Runs it; answers the first column of the first row, -1: none. */
static int64_t
ask(const char *sql)
{
	char *path = mem_format("%s/catalog.db", kit->dir);
	sqlite3 *db;
	sqlite3_stmt *stmt;
	int64_t answer = -1;
	ck_assert_int_eq(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
	sqlite3_busy_timeout(db, WAIT_MS);
	ck_assert_int_eq(sqlite3_prepare_v2(db, sql, -1, &stmt, NULL), SQLITE_OK);
	if (sqlite3_step(stmt) == SQLITE_ROW)
		answer = sqlite3_column_int64(stmt, 0);
	sqlite3_finalize(stmt);
	sqlite3_close(db);
	free(path);
	return answer;
}

#define REMOVED    "SELECT count(*) FROM follow_passed"
#define KNOWN      "SELECT count(*) FROM follow_known"
#define TOMBSTONES "SELECT count(*) FROM entry WHERE peer=1 AND root IS NULL"
#define UNSWEPT    "SELECT count(*) FROM orphan"

/* The scribe does it when it has the time. */
static void
wait_until_at_most(const char *sql, int64_t most)
{
	for (uint64_t until_ms = clock_ms() + WAIT_MS; ask(sql) > most && clock_ms() < until_ms;)
		usleep(2000);
	ck_assert_int_le(ask(sql), most);
}

static void
rest(void)
{
	wait_until_at_most(TOMBSTONES, AT_MOST);
	wait_until_at_most(UNSWEPT, 0);
}

/* --- what happens --- */

/* Files of ours that come and go. */
static void
churn(const char *stem, int count)
{
	kit_clear(kit);
	struct catalog_batch *batch = catalog_batch_new();
	for (int i = 0; i < count; i++) {
		char *name = mem_format("%s-%05d", stem, i);
		struct catalog_local file = kit_file("x", 5);
		catalog_batch_put(batch, name, &file, NULL, 0);
		catalog_batch_remove(batch, name);
		free(name);
	}
	ck_assert_int_eq(kit_commit(kit, batch), P2P_OK);
}

static void
give(const char *peer, uint64_t seq, const char *name, const char *seed)
{
	ck_assert_int_eq(kit_give_one(kit, peer, seq, name, seed, 10), P2P_OK);
}

static void
forget(const char *peer)
{
	struct catalog_batch *batch = catalog_batch_new();
	catalog_batch_forget(batch, peer, NULL);
	ck_assert_int_eq(kit_commit(kit, batch), P2P_OK);
}

static void
put_and_remove(const char *name, const char *seed)
{
	kit_put(kit, name, seed, 10);
	kit_remove(kit, name);
}

static int
count_passed(const char *name)
{
	struct catalog_version passed[CATALOG_PASSED_MAX];
	return catalog_passed_over(kit->catalog, name, peer_a, passed);
}

/* The first page of a peer that begins anew; it will have files up to `head`. */
static struct change_page *
page_anew(const char *peer, uint64_t epoch, uint64_t head, const char *name, const char *seed)
{
	struct change_page *page = kit_page(peer, epoch, 0);
	if (name != NULL)
		kit_page_add(page, 1, name, seed, 10);
	page->head = head;
	return page;
}

/* --- removed here --- */

START_TEST(test_of_files_that_come_and_go_no_more_is_remembered_than_their_removals)
{
	ck_assert_int_eq(follow_kit_add(kit, "*", "", false), P2P_OK);
	ck_assert_int_eq(follow_kit_add(kit, "*.iso", "in/here", false), P2P_OK);
	for (int i = 0; i < 5; i++) {
		char *stem = mem_format("in/here/round-%d", i);
		churn(stem, 100);
		free(stem);
	}
	rest();
	ck_assert_int_le(ask(REMOVED), AT_MOST);
	ck_assert_int_ge(ask(REMOVED), KEPT);
	/* The youngest are those that are. */
	ck_assert_int_eq(count_passed("in/here/round-4-00099"), 1);
	ck_assert_int_eq(count_passed("in/here/round-4-00000"), 0);
}
END_TEST

START_TEST(test_what_others_have_stays_removed_however_long_ago_that_was)
{
	follow_kit_add(kit, "*", "", false);
	follow_kit_add(kit, "*", "in", false);
	give(peer_a, 1, "theirs", "1");
	give(peer_a, 2, "landed", "2");
	follow_kit_expect(kit, "in/landed in/theirs landed theirs ");
	put_and_remove("theirs", "1");
	put_and_remove("in/landed", "2");
	churn("log", 100);
	rest();
	ck_assert_int_eq(ask(TOMBSTONES), KEPT);
	kit_reopen(kit);
	catalog_limit_tombstones(kit->catalog, KEPT);
	/* Now somebody else brings it. */
	kit_put(kit, "landed", "2", 10);
	give(peer_b, 1, "theirs", "1");
	give(peer_b, 2, "landed", "2");
	ck_assert_int_eq(count_passed("theirs"), 1);
	ck_assert_int_eq(count_passed("in/landed"), 1);
	/* Removed by them too, it can still come back. */
	give(peer_a, 3, "theirs", NULL);
	give(peer_b, 3, "theirs", NULL);
	churn("more", 100);
	rest();
	ck_assert_int_eq(count_passed("theirs"), 1);
}
END_TEST

START_TEST(test_with_the_last_that_knew_a_name_its_removal_is_forgotten)
{
	follow_kit_add(kit, "*", "", false);
	follow_kit_add(kit, "x*", "in", false);
	give(peer_a, 1, "x", "1");
	give(peer_b, 1, "x", "1");
	follow_kit_expect(kit, "in/x x ");
	put_and_remove("x", "1");
	put_and_remove("in/x", "1");
	churn("log", 100);
	rest();
	forget(peer_a);
	rest();
	ck_assert_int_eq(count_passed("x"), 1);
	ck_assert_int_eq(count_passed("in/x"), 1);
	forget(peer_b);
	rest();
	ck_assert_int_eq(count_passed("x"), 0);
	ck_assert_int_eq(count_passed("in/x"), 0);
}
END_TEST

START_TEST(test_without_follows_nothing_is_remembered)
{
	follow_kit_add(kit, "*", "", false);
	put_and_remove("x", "1");
	ck_assert_int_eq(count_passed("x"), 1);
	ck_assert_int_eq(follow_kit_end(kit, 1), P2P_OK);
	put_and_remove("y", "1");
	ck_assert_int_eq(ask(REMOVED), 0);
}
END_TEST

START_TEST(test_with_a_follow_goes_what_only_it_could_bring)
{
	follow_kit_add(kit, "*", "in", false);
	follow_kit_add(kit, "other", "", false);
	give(peer_a, 1, "x", "1");
	follow_kit_expect(kit, "in/x ");
	put_and_remove("in/x", "1");
	churn("log", 100);
	rest();
	ck_assert_int_eq(count_passed("in/x"), 1);
	ck_assert_int_eq(follow_kit_end(kit, 1), P2P_OK);
	ck_assert_int_eq(count_passed("in/x"), 0);
	ck_assert_int_eq(ask(REMOVED), KEPT);
}
END_TEST

START_TEST(test_a_catalog_that_swept_nothing_is_swept_when_it_is_opened)
{
	follow_kit_add(kit, "*", "", false);
	put_and_remove("x", "1");
	kit_close(kit);
	ask("INSERT INTO follow_passed VALUES('long gone',1,x'00',1)");
	ask("DROP TABLE follow_known");
	kit_open(kit, NULL);
	ck_assert_ptr_null(kit->note);
	ck_assert_int_eq(count_passed("x"), 1);
	ck_assert_int_eq(ask(REMOVED), 1);
}
END_TEST

/* --- known of a peer that begins anew --- */

/* Three files that were there before the follow, and one that was not looked at. */
static void
begin(void)
{
	give(peer_a, 1, "one", "1");
	give(peer_a, 2, "two", "2");
	give(peer_a, 3, "three", "3");
	follow_kit_add(kit, "*", "", false);
	give(peer_a, 4, "unseen", "4");
}

START_TEST(test_what_a_peer_had_is_known_until_it_has_told_all_anew)
{
	begin();
	ck_assert_int_eq(kit_give(kit, page_anew(peer_a, 8, 5, "one", "1")), P2P_OK);
	rest(); /* the names of the others are gone */
	ck_assert_int_eq(ask(KNOWN), 3);
	follow_kit_expect(kit, "");
	kit_reopen(kit);
	give(peer_b, 1, "theirs", "1");
	follow_kit_expect(kit, "theirs ");
	struct change_page *page = kit_page(peer_a, 8, 1);
	kit_page_add(page, 3, "two", "2", 10);
	page->head = 5;
	ck_assert_int_eq(kit_give(kit, page), P2P_OK);
	follow_kit_expect(kit, "");
	ck_assert_int_eq(ask(KNOWN), 3);
	page = kit_page(peer_a, 8, 3);
	kit_page_add(page, 4, "unseen", "4", 10);
	kit_page_add(page, 5, "three", "changed", 10);
	ck_assert_int_eq(kit_give(kit, page), P2P_OK);
	follow_kit_expect(kit, "three unseen ");
	ck_assert_int_eq(ask(KNOWN), 0);
	follow_kit_expect(kit, "");
}
END_TEST

START_TEST(test_a_peer_that_begins_anew_twice_is_still_known)
{
	begin();
	ck_assert_int_eq(kit_give(kit, page_anew(peer_a, 8, 5, "one", "1")), P2P_OK);
	follow_kit_expect(kit, "");
	ck_assert_int_eq(kit_give(kit, page_anew(peer_a, 9, 2, "two", "2")), P2P_OK);
	follow_kit_expect(kit, "");
	struct change_page *page = kit_page(peer_a, 9, 1);
	kit_page_add(page, 2, "one", "1", 10);
	ck_assert_int_eq(kit_give(kit, page), P2P_OK);
	follow_kit_expect(kit, "");
	ck_assert_int_eq(ask(KNOWN), 0);
}
END_TEST

START_TEST(test_it_is_not_known_for_ever_if_nothing_fits_or_nothing_comes)
{
	give(peer_a, 1, "one", "1");
	give(peer_b, 1, "one", "1");
	follow_kit_add(kit, "o*", "", false);
	ck_assert_int_eq(kit_give(kit, page_anew(peer_a, 8, 1, "two", "2")), P2P_OK);
	ck_assert_int_eq(kit_give(kit, page_anew(peer_b, 8, 0, NULL, NULL)), P2P_OK);
	ck_assert_int_eq(ask(KNOWN), 2);
	follow_kit_expect(kit, "");
	ck_assert_int_eq(ask(KNOWN), 0);
}
END_TEST

START_TEST(test_what_was_known_of_a_peer_goes_with_it_and_with_the_last_follow)
{
	begin();
	give(peer_b, 1, "one", "1");
	follow_kit_expect(kit, "one unseen ");
	ck_assert_int_eq(kit_give(kit, page_anew(peer_a, 8, 5, "one", "1")), P2P_OK);
	ck_assert_int_eq(kit_give(kit, page_anew(peer_b, 8, 5, "two", "2")), P2P_OK);
	ck_assert_int_eq(ask(KNOWN), 5);
	forget(peer_a);
	ck_assert_int_eq(ask(KNOWN), 1);
	ck_assert_int_eq(follow_kit_end(kit, 1), P2P_OK);
	ck_assert_int_eq(ask(KNOWN), 0);
}
END_TEST

START_TEST(test_a_peer_that_begins_anew_for_ever_piles_up_nothing)
{
	const uint64_t most = 20;
	char name[32];
	catalog_limit(kit->catalog, &(struct catalog_limits){ most, 10 * most, 1 << 20 });
	follow_kit_add(kit, "*", "", false);
	for (uint64_t epoch = 1; epoch < 40; epoch++) {
		struct change_page *page = kit_page(peer_a, epoch, 0);
		for (uint64_t seq = 1; seq <= most / 2; seq++) {
			snprintf(name, sizeof(name), "%d-%d", (int)epoch, (int)seq);
			kit_page_add(page, seq, name, "x", 10);
		}
		page->head = most; /* it never comes there */
		ck_assert_int_eq(kit_give(kit, page), P2P_OK);
		free(follow_kit_look(kit, true));
		ck_assert_int_le(ask(KNOWN), (int64_t)(2 * most));
	}
	ck_assert_int_gt(ask(KNOWN), 0);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("passed");
	TCase *all = tcase_create("all");
	tcase_set_timeout(all, 60);
	tcase_add_checked_fixture(all, setup, teardown);
	tcase_add_test(all,
		       test_of_files_that_come_and_go_no_more_is_remembered_than_their_removals);
	tcase_add_test(all, test_what_others_have_stays_removed_however_long_ago_that_was);
	tcase_add_test(all, test_with_the_last_that_knew_a_name_its_removal_is_forgotten);
	tcase_add_test(all, test_without_follows_nothing_is_remembered);
	tcase_add_test(all, test_with_a_follow_goes_what_only_it_could_bring);
	tcase_add_test(all, test_a_catalog_that_swept_nothing_is_swept_when_it_is_opened);
	tcase_add_test(all, test_what_a_peer_had_is_known_until_it_has_told_all_anew);
	tcase_add_test(all, test_a_peer_that_begins_anew_twice_is_still_known);
	tcase_add_test(all, test_it_is_not_known_for_ever_if_nothing_fits_or_nothing_comes);
	tcase_add_test(all, test_what_was_known_of_a_peer_goes_with_it_and_with_the_last_follow);
	tcase_add_test(all, test_a_peer_that_begins_anew_for_ever_piles_up_nothing);
	suite_add_tcase(suite, all);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed > 0;
}
