/* SPDX-License-Identifier: MIT
 *
 * check_scribe.c - in which order the scribe writes what waits: ours is not kept waiting for catalogs of others.
 *
 * The scribe is no thread here: each test says when it writes the next group.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "catalog_db.h"
#include "catalog_follow.h"
#include "catalog_kit.h"
#include "follow_kit.h"

#define PAGES 200 /* some groups of them */

/* --- in the place of the scribe's thread --- */

int
scribe_start(struct catalog *catalog)
{
	(void)catalog;
	return 0;
}

void
scribe_wake(struct catalog *catalog)
{
	(void)catalog;
}

void
scribe_end(struct catalog *catalog)
{
	while (write_waiting(catalog))
		;
}

/* --- what is done, in order --- */

static struct kit *kit;
static char peer[PEER_ID_SIZE];
static char done_text[4 * PAGES];
static unsigned pages_done;

static void
setup(void)
{
	kit = kit_new();
	strcpy(peer, kit_peer("peer"));
}

static void
teardown(void)
{
	kit_free(kit);
}

static void
note(void *arg, int code)
{
	const char *what = arg;
	ck_assert_int_eq(code, P2P_OK);
	pages_done += *what == 'p';
	strcat(done_text, what);
}

static void
submit(struct catalog_batch *batch, const char *what)
{
	catalog_submit(kit->catalog, batch, note, (void *)what);
}

/* One group; what it completed. */
static const char *
write_group(void)
{
	done_text[0] = '\0';
	ck_assert(write_waiting(kit->catalog));
	loop_turn(kit->loop, 0);
	kit_clear(kit);
	return done_text;
}

static void
submit_ours(const char *name, const char *what)
{
	struct catalog_batch *batch = catalog_batch_new();
	struct catalog_local file = kit_file("x", 5);
	catalog_batch_put(batch, name, &file, NULL, 0);
	submit(batch, what);
}

/* The first changes of the peer, again and again: only the first time is there much to do. */
static void
submit_pages(unsigned count)
{
	char name[32];
	for (; count > 0; count--) {
		struct change_page *page = kit_page(peer, 7, 0);
		struct catalog_batch *batch = catalog_batch_new();
		for (unsigned i = 1; i <= CHANGE_PAGE_MAX; i++) {
			snprintf(name, sizeof(name), "theirs %u", i);
			kit_page_add(page, i, name, "x", 5);
		}
		catalog_batch_page(batch, page);
		submit(batch, "p");
	}
}

static int64_t
names_in_index(void)
{
	struct db *db = reader_take(kit->catalog);
	int64_t indexed = names_indexed(db);
	reader_give(kit->catalog, db);
	return indexed;
}

/* --- tests --- */

START_TEST(test_ours_waits_for_the_group_that_was_begun_and_for_no_more)
{
	submit_pages(PAGES);
	write_group();
	ck_assert_uint_lt(pages_done, PAGES / 2);
	submit_ours("a", "a");
	submit_ours("b", "b");
	ck_assert_str_eq(write_group(), "ab");
	while (pages_done < PAGES)
		write_group();
	ck_assert(!write_waiting(kit->catalog));
	/* The list is in order. */
	submit_ours("c", "c");
	ck_assert_str_eq(write_group(), "c");
}
END_TEST

START_TEST(test_nor_for_the_index_of_the_names_of_others)
{
	/* So much that pages have their turn next. */
	struct catalog_batch *batch = catalog_batch_new();
	for (int i = 0; i < 64000; i++)
		catalog_batch_remove(batch, "unknown");
	submit_pages(PAGES);
	submit(batch, "a");
	ck_assert_str_eq(write_group(), "a");
	submit_ours("b", "b");
	write_group();
	ck_assert_uint_gt(pages_done, 0);
	ck_assert_int_eq(names_in_index(), 0);
	ck_assert_str_eq(write_group(), "b");
	ck_assert_int_gt(names_in_index(), 0);
}
END_TEST

START_TEST(test_pages_have_their_turn_however_much_of_ours_there_is)
{
	unsigned turns = 0;
	submit_pages(PAGES);
	for (; pages_done < PAGES; turns++) {
		submit_ours("a", "a");
		write_group();
		ck_assert_uint_lt(turns, 64 * 5);
	}
	ck_assert_uint_ge(turns, 64 * 3);
}
END_TEST

START_TEST(test_who_is_forgotten_is_not_brought_back_by_what_came_before)
{
	struct catalog_batch *batch = catalog_batch_new();
	struct change_page *page;
	submit_pages(1);
	catalog_batch_forget(batch, peer, NULL);
	submit(batch, "f");
	submit_ours("a", "a");
	ck_assert_str_eq(write_group(), "pfa");
	ck_assert_int_eq(catalog_changes(kit->catalog, KIT_ASK(peer, 0, 0, 10), &page),
			 P2P_NOT_FOUND);
}
END_TEST

START_TEST(test_a_follow_begins_behind_what_was_told_before_it)
{
	struct catalog_batch *batch = catalog_batch_new();
	submit_pages(1);
	catalog_batch_follow(
	    batch, &(struct catalog_follow){ .pattern = "*", .place = "", .since_wall_ms = 1 });
	submit(batch, "f");
	ck_assert_str_eq(write_group(), "pf");
	char *found = follow_kit_look(kit, false);
	ck_assert_str_eq(found, "");
	free(found);
}
END_TEST

START_TEST(test_ours_stays_in_order)
{
	struct catalog_local file;
	submit_pages(PAGES);
	write_group();
	submit_ours("a", "1");
	struct catalog_batch *batch = catalog_batch_new();
	catalog_batch_remove(batch, "a");
	submit(batch, "2");
	submit_pages(1);
	submit_ours("b", "3");
	ck_assert_str_eq(write_group(), "123");
	ck_assert_int_eq(catalog_find_local(kit->catalog, "a", &file), P2P_NOT_FOUND);
	ck_assert_int_eq(catalog_find_local(kit->catalog, "b", &file), P2P_OK);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("scribe");
	TCase *all = tcase_create("all");
	tcase_set_timeout(all, 60);
	tcase_add_checked_fixture(all, setup, teardown);
	tcase_add_test(all, test_ours_waits_for_the_group_that_was_begun_and_for_no_more);
	tcase_add_test(all, test_nor_for_the_index_of_the_names_of_others);
	tcase_add_test(all, test_pages_have_their_turn_however_much_of_ours_there_is);
	tcase_add_test(all, test_who_is_forgotten_is_not_brought_back_by_what_came_before);
	tcase_add_test(all, test_a_follow_begins_behind_what_was_told_before_it);
	tcase_add_test(all, test_ours_stays_in_order);
	suite_add_tcase(suite, all);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed > 0;
}
