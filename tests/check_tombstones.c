/* SPDX-License-Identifier: MIT
 *
 * check_tombstones.c - removals are remembered up to a limit, and nobody who follows a catalog keeps what is gone.
 *
 * What is in the tables is read through a connection of the test's own.
 */
#include <check.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "catalog_kit.h"
#include "clock.h"
#include "mem.h"

#define WAIT_MS 10000
#define KEPT    8
#define AT_MOST (KEPT + KEPT / 8) /* tombstones, when the scribe rests */

static char *
path_of(const struct kit *kit)
{
	return mem_format("%s/catalog.db", kit->dir);
}

/* The first column of the first row; -1: none. */
static int64_t
ask(const struct kit *kit, const char *sql)
{
	char *path = path_of(kit);
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

#define TOMBSTONES    "SELECT count(*) FROM entry WHERE peer=1 AND root IS NULL"
#define TOMBSTONES_OF "SELECT count(*) FROM entry WHERE peer=2 AND root IS NULL"
#define FLOOR         "SELECT floor FROM peer WHERE no=1"
/* Peers whose row does not count what there is, or who have a tombstone at their floor or below. */
#define NONSENSE                                                                            \
	"SELECT count(*) FROM peer p WHERE"                                                 \
	" entry_count<>(SELECT count(*) FROM entry WHERE peer=p.no)"                        \
	" OR file_count<>(SELECT count(*) FROM entry WHERE peer=p.no AND root IS NOT NULL)" \
	" OR name_bytes<>(SELECT coalesce(sum(length(CAST(n.name AS BLOB))),0)"             \
	" FROM entry e, name n WHERE e.peer=p.no AND n.id=e.name)"                          \
	" OR EXISTS(SELECT 1 FROM entry WHERE peer=p.no AND root IS NULL AND seq<=p.floor)"
/* Names that nobody has, and that wait for nothing either. */
#define LOST_NAMES                                                           \
	"SELECT count(*) FROM name WHERE id NOT IN (SELECT name FROM entry)" \
	" AND id NOT IN (SELECT name FROM orphan)"

/* The scribe does it when it has the time. */
static void
wait_until_at_most(const struct kit *kit, const char *sql, int64_t most)
{
	for (uint64_t until_ms = clock_ms() + WAIT_MS;
	     ask(kit, sql) > most && clock_ms() < until_ms;)
		usleep(2000);
	ck_assert_int_le(ask(kit, sql), most);
}

static struct kit *
open_kit(const char *self)
{
	struct kit *kit = kit_new();
	kit_close(kit);
	snprintf(kit->self, sizeof(kit->self), "%s", kit_peer(self));
	kit_open(kit, NULL);
	ck_assert_ptr_nonnull(kit->catalog);
	catalog_limit_tombstones(kit->catalog, KEPT);
	return kit;
}

/* Files that come and go: 2 seqs each. */
static void
churn(struct kit *kit, const char *stem, int count)
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

static uint64_t
epoch_of(const struct kit *kit)
{
	struct catalog_head head;
	catalog_head(kit->catalog, &head);
	return head.epoch;
}

static bool
is_reset(const struct kit *kit, uint64_t since, uint64_t begun)
{
	struct change_question question = { .peer = kit->self,
					    .epoch = epoch_of(kit),
					    .since = since,
					    .begun = begun,
					    .limit = 2 };
	struct change_page *page;
	ck_assert_int_eq(catalog_changes(kit->catalog, &question, &page), P2P_OK);
	bool answer = page->is_reset;
	ck_assert(!answer || page->since == 0);
	change_page_free(page);
	return answer;
}

static void
check_floor(const struct kit *kit, uint64_t floor)
{
	ck_assert_int_eq(ask(kit, FLOOR), (int64_t)floor);
	ck_assert_int_eq(ask(kit, NONSENSE), 0);
	ck_assert(is_reset(kit, floor - 1, floor - 1));
	ck_assert(is_reset(kit, floor - 1, 1));
	ck_assert(!is_reset(kit, floor, floor));
	/* In the midst of what began when those removals were known. */
	ck_assert(!is_reset(kit, 1, floor));
	ck_assert(!is_reset(kit, 1, floor + 1));
	/* Who does not say where he began. */
	ck_assert(!is_reset(kit, 1, 0));
}

START_TEST(test_the_oldest_removals_are_forgotten_and_the_floor_is_remembered)
{
	struct kit *kit = open_kit("a");
	churn(kit, "first", KEPT);
	ck_assert_int_eq(ask(kit, FLOOR), 0);
	ck_assert_int_eq(ask(kit, TOMBSTONES), KEPT);
	ck_assert(!is_reset(kit, 1, 1));
	churn(kit, "then", 200);
	wait_until_at_most(kit, TOMBSTONES, KEPT);
	check_floor(kit, 2 * 200);
	kit_reopen(kit);
	check_floor(kit, 2 * 200);
	/* The names go too, and those that stay can be had again. */
	wait_until_at_most(kit, "SELECT count(*) FROM name", KEPT);
	wait_until_at_most(kit, "SELECT count(*) FROM orphan", 0);
	catalog_limit_tombstones(kit->catalog, KEPT);
	ck_assert_int_eq(kit_put(kit, "first-00000", "x", 5), P2P_OK);
	char *found = kit_search(kit, CATALOG_SUBSTRING, "first", false, 10);
	ck_assert_str_eq(found, "first-00000:1*\n");
	free(found);
	ck_assert_int_eq(ask(kit, NONSENSE), 0);
	kit_free(kit);
}
END_TEST

START_TEST(test_there_are_never_many_more_than_are_kept)
{
	struct kit *kit = open_kit("a");
	for (int i = 0; i < 40; i++) {
		char *stem = mem_format("round-%d", i);
		churn(kit, stem, 1 + i % 7);
		free(stem);
		wait_until_at_most(kit, TOMBSTONES, AT_MOST);
	}
	ck_assert_int_ge(ask(kit, TOMBSTONES), KEPT);
	ck_assert_int_eq(ask(kit, NONSENSE), 0);
	kit_free(kit);
}
END_TEST

START_TEST(test_as_many_are_kept_as_there_are_files)
{
	struct kit *kit = open_kit("a");
	for (int i = 0; i < 40; i++) {
		char *name = mem_format("stays-%d", i);
		kit_put(kit, name, "x", 5);
		free(name);
	}
	churn(kit, "goes", 45);
	ck_assert_int_eq(kit_commit(kit, catalog_batch_new()), P2P_OK);
	ck_assert_int_eq(ask(kit, TOMBSTONES), 45);
	churn(kit, "goes too", 45);
	wait_until_at_most(kit, TOMBSTONES, 45);
	ck_assert_int_eq(ask(kit, TOMBSTONES), 40);
	ck_assert_int_eq(ask(kit, NONSENSE), 0);
	kit_free(kit);
}
END_TEST

/* --- of others --- */

START_TEST(test_what_a_peer_had_removed_before_leaves_nothing)
{
	struct kit *kit = open_kit("a");
	struct change_page *page = kit_page(kit_peer("b"), 7, 0);
	page->is_reset = true;
	kit_page_add(page, 11, "gone", NULL, 0);
	kit_page_add(page, 12, "there", "x", 5);
	page->head = 20;
	ck_assert_int_eq(kit_give(kit, page), P2P_OK);
	/* What was removed later does, as long as there is room. */
	page = kit_page(kit_peer("b"), 7, 12);
	kit_page_add(page, 20, "gone too", NULL, 0);
	kit_page_add(page, 21, "there", NULL, 0);
	kit_page_add(page, 22, "came and went", NULL, 0);
	ck_assert_int_eq(kit_give(kit, page), P2P_OK);
	ck_assert_int_eq(ask(kit, "SELECT count(*) FROM name"), 2);
	ck_assert_int_eq(ask(kit, TOMBSTONES_OF), 2);
	ck_assert_int_eq(ask(kit, "SELECT floor FROM peer WHERE no=2"), 20);
	page = kit_page(kit_peer("b"), 7, 22);
	for (uint64_t seq = 23; seq < 100; seq++) {
		char *name = mem_format("%d", (int)seq);
		kit_page_add(page, seq, name, NULL, 0);
		free(name);
	}
	ck_assert_int_eq(kit_give(kit, page), P2P_OK);
	wait_until_at_most(kit, TOMBSTONES_OF, AT_MOST);
	ck_assert_int_eq(ask(kit, NONSENSE), 0);
	kit_free(kit);
}
END_TEST

START_TEST(test_a_removal_below_the_floor_takes_the_entry_along)
{
	struct kit *kit = open_kit("a");
	struct change_page *page = kit_page(kit_peer("b"), 7, 0);
	page->is_reset = true;
	kit_page_add(page, 1, "n", "x", 5);
	kit_page_add(page, 2, "m", "x", 5);
	page->head = 20;
	ck_assert_int_eq(kit_give(kit, page), P2P_OK);
	/* No honest peer tells that: it was gone by then. */
	page = kit_page(kit_peer("b"), 7, 2);
	kit_page_add(page, 3, "n", NULL, 0);
	ck_assert_int_eq(kit_give(kit, page), P2P_OK);
	ck_assert_int_eq(ask(kit, NONSENSE), 0);
	wait_until_at_most(kit, "SELECT count(*) FROM name", 1);
	ck_assert_int_eq(ask(kit, LOST_NAMES), 0);
	kit_free(kit);
}
END_TEST

/* --- following --- */

/* Somebody who follows the catalog of `of`, as `from` has it. */
struct follower {
	struct kit *kit, *from;
	const char *of;
	uint64_t epoch, since, begun;
	unsigned resets;
};

static void
recall(void *arg, const struct catalog_peer *peer)
{
	struct follower *follower = arg;
	if (strcmp(peer->id, follower->of) != 0)
		return;
	follower->epoch = peer->epoch;
	follower->since = peer->seq;
	follower->begun = peer->floor;
}

/* Takes one page of 3; true if there is more. */
static bool
pull_page(struct follower *follower)
{
	struct change_question question = { follower->of, follower->epoch, follower->since,
					    follower->begun > follower->since ? follower->begun
									      : follower->since,
					    3 };
	struct change_page *page;
	int code = catalog_changes(follower->from->catalog, &question, &page);
	if (code == P2P_NOT_FOUND)
		return false;
	ck_assert_int_eq(code, P2P_OK);
	bool has_more = page->through < page->head;
	follower->resets += page->is_reset;
	kit_clear(follower->kit);
	ck_assert_int_eq(kit_give(follower->kit, page), P2P_OK);
	ck_assert_int_eq(catalog_peers(follower->kit->catalog, recall, follower), P2P_OK);
	return has_more;
}

static void
pull_all(struct follower *follower)
{
	for (int pages = 0; pull_page(follower); pages++)
		ck_assert_int_lt(pages, 1000);
}

/* All files of a peer, a line each; free(). */
static char *
files_of(struct kit *kit, const char *peer)
{
	struct change_page *page;
	struct buf text;
	buf_init(&text, 1 << 20);
	buf_adds(&text, "");
	ck_assert_int_eq(catalog_changes(kit->catalog, KIT_ASK(peer, 0, 0, CHANGE_PAGE_MAX), &page),
			 P2P_OK);
	ck_assert_uint_eq(page->through, page->head);
	for (size_t i = 0; i < page->count; i++)
		if (!page->items[i].is_removed)
			buf_addf(&text, "%llu %s\n", (unsigned long long)page->items[i].seq,
				 page->items[i].name);
	change_page_free(page);
	return buf_give(&text);
}

static void
check_same(struct kit *a, struct kit *b)
{
	char *of_a = files_of(a, a->self), *of_b = files_of(b, a->self);
	ck_assert_str_eq(of_b, of_a);
	free(of_a);
	free(of_b);
	ck_assert_int_eq(ask(b, NONSENSE), 0);
}

static void
put_many(struct kit *kit, const char *stem, int count)
{
	kit_clear(kit);
	struct catalog_batch *batch = catalog_batch_new();
	for (int i = 0; i < count; i++) {
		char *name = mem_format("%s-%d", stem, i);
		struct catalog_local file = kit_file("x", 5);
		catalog_batch_put(batch, name, &file, NULL, 0);
		free(name);
	}
	ck_assert_int_eq(kit_commit(kit, batch), P2P_OK);
}

START_TEST(test_who_was_away_for_long_begins_anew_once_and_has_no_removed_file)
{
	struct kit *a = open_kit("a"), *b = open_kit("b");
	struct follower follower = { .kit = b, .from = a, .of = a->self };
	put_many(a, "stays", 20);
	put_many(a, "goes", 3);
	pull_all(&follower);
	ck_assert_uint_eq(follower.resets, 1);
	for (int i = 0; i < 3; i++) {
		char *name = mem_format("goes-%d", i);
		kit_remove(a, name);
		free(name);
	}
	churn(a, "log", 100);
	wait_until_at_most(a, TOMBSTONES, 22);
	pull_all(&follower);
	ck_assert_uint_eq(follower.resets, 2);
	check_same(a, b);
	/* He has what was removed up to now, and needs no more of it. */
	churn(a, "log", 100);
	wait_until_at_most(a, TOMBSTONES, 22);
	kit_reopen(b);
	pull_all(&follower);
	check_same(a, b);
	kit_free(a);
	kit_free(b);
}
END_TEST

START_TEST(test_who_began_before_the_floor_moved_goes_on)
{
	struct kit *a = open_kit("a"), *b = open_kit("b");
	struct follower follower = { .kit = b, .from = a, .of = a->self };
	put_many(a, "stays", 12);
	churn(a, "log", 12);
	pull_page(&follower);
	uint64_t begun = follower.begun;
	ck_assert_uint_eq(begun, 12 + 24);
	/* Moves it, not beyond where he began. */
	churn(a, "later", 6);
	wait_until_at_most(a, TOMBSTONES, 13);
	int64_t floor = ask(a, FLOOR);
	ck_assert_int_gt(floor, (int64_t)follower.since);
	ck_assert_int_le(floor, (int64_t)begun);
	kit_reopen(b);
	pull_all(&follower);
	ck_assert_uint_eq(follower.resets, 1);
	check_same(a, b);
	kit_free(a);
	kit_free(b);
}
END_TEST

START_TEST(test_who_began_too_long_ago_begins_once_more)
{
	struct kit *a = open_kit("a"), *b = open_kit("b");
	struct follower follower = { .kit = b, .from = a, .of = a->self };
	put_many(a, "stays", 12);
	pull_page(&follower);
	kit_remove(a, "stays-0");
	churn(a, "log", 100);
	wait_until_at_most(a, TOMBSTONES, 13);
	ck_assert_int_gt(ask(a, FLOOR), (int64_t)follower.begun);
	pull_all(&follower);
	ck_assert_uint_eq(follower.resets, 2);
	check_same(a, b);
	kit_free(a);
	kit_free(b);
}
END_TEST

START_TEST(test_what_is_half_there_can_be_followed_as_far_as_it_is)
{
	struct kit *a = open_kit("a"), *b = open_kit("b"), *c = open_kit("c");
	struct follower direct = { .kit = b, .from = a, .of = a->self };
	struct follower indirect = { .kit = c, .from = b, .of = a->self };
	put_many(a, "stays", 20);
	churn(a, "log", 50);
	for (int i = 0; i < 4; i++)
		pull_page(&direct);
	pull_all(&indirect);
	ck_assert_uint_eq(indirect.since, 12);
	ck_assert_uint_eq(indirect.resets, 1);
	/* What c has is not known to be without removed files, for b forgot them. */
	pull_all(&direct);
	pull_all(&indirect);
	check_same(a, c);
	kit_free(a);
	kit_free(b);
	kit_free(c);
}
END_TEST

static void
change_something(struct kit *kit, unsigned *seed, unsigned *made)
{
	char *name = mem_format("%s-%u", rand_r(seed) % 2 ? "again" : "new",
				rand_r(seed) % 2 ? (unsigned)rand_r(seed) % 30 : ++*made);
	kit_clear(kit);
	if (rand_r(seed) % 5 < 2)
		kit_put(kit, name, "x", (uint64_t)rand_r(seed) % 100 + 1);
	else if (rand_r(seed) % 5 == 0)
		churn(kit, name, rand_r(seed) % 12);
	else
		kit_remove(kit, name);
	free(name);
}

/* b follows a, and c follows a by what b has of it; neither is ever where a is, until the end. */
START_TEST(test_whatever_happens_in_between_followers_end_with_the_same)
{
	struct kit *a = open_kit("a"), *b = open_kit("b"), *c = open_kit("c");
	struct follower direct = { .kit = b, .from = a, .of = a->self };
	struct follower indirect = { .kit = c, .from = b, .of = a->self };
	unsigned seed = (unsigned)_i + 1, made = 0;
	for (int step = 0; step < 250; step++) {
		int what = rand_r(&seed) % 8;
		if (what < 4)
			change_something(a, &seed, &made);
		else if (what < 6)
			pull_page(&direct);
		else
			pull_page(&indirect);
		if (step % 100 == 50) {
			kit_reopen(step % 200 == 50 ? a : b);
			catalog_limit_tombstones(a->catalog, KEPT);
			catalog_limit_tombstones(b->catalog, KEPT);
		}
	}
	pull_all(&direct);
	check_same(a, b);
	pull_all(&indirect);
	check_same(a, c);
	ck_assert_int_gt(ask(a, FLOOR), 0);
	kit_free(a);
	kit_free(b);
	kit_free(c);
}
END_TEST

/* --- sudden ends --- */

static void
churn_for_ever(const char *dir, unsigned round, int fd)
{
	struct kit *kit = kit_new_at(dir);
	catalog_limit_tombstones(kit->catalog, KEPT);
	for (unsigned i = 0;; i++) {
		char *stem = mem_format("%u-%u", round, i);
		churn(kit, stem, 30);
		free(stem);
		if (write(fd, "", 1) != 1)
			_exit(1);
	}
}

static void
churn_and_kill(const char *dir, unsigned round, unsigned times)
{
	int fds[2];
	char byte;
	ck_assert_int_eq(pipe(fds), 0);
	pid_t child = fork();
	if (child == 0)
		churn_for_ever(dir, round, fds[1]);
	for (unsigned i = 0; i < times; i++)
		ck_assert_int_eq(read(fds[0], &byte, 1), 1);
	usleep(round % 5 * 700);
	kill(child, SIGKILL);
	ck_assert_int_eq(waitpid(child, NULL, 0), child);
	close(fds[0]);
	close(fds[1]);
}

START_TEST(test_a_kill_in_between_leaves_the_floor_and_what_is_above_it_in_step)
{
	struct kit *kit = kit_new();
	for (unsigned round = 0; round < 20; round++) {
		kit_close(kit);
		churn_and_kill(kit->dir, round, 1 + round % 4);
		kit_open(kit, NULL);
		ck_assert_ptr_nonnull(kit->catalog);
		ck_assert_msg(kit->note == NULL, "%s", kit->note);
		ck_assert_int_eq(ask(kit, NONSENSE), 0);
		ck_assert_int_eq(ask(kit, LOST_NAMES), 0);
		/* Every second seq is a removal, and of those above the floor all are here. */
		ck_assert_int_eq(ask(kit, "SELECT seq-floor-2*(SELECT count(*) FROM entry"
					  " WHERE peer=1) FROM peer WHERE no=1"),
				 0);
	}
	catalog_limit_tombstones(kit->catalog, KEPT);
	churn(kit, "last", 1);
	wait_until_at_most(kit, TOMBSTONES, AT_MOST);
	kit_free(kit);
}
END_TEST

/* --- the version before --- */

static void
make_version_4(const struct kit *kit)
{
	char *path = path_of(kit);
	sqlite3 *db;
	ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
	ck_assert_int_eq(sqlite3_exec(db,
				      "ALTER TABLE peer DROP COLUMN floor; ALTER TABLE peer DROP "
				      "COLUMN name_bytes; PRAGMA user_version=4",
				      NULL, NULL, NULL),
			 SQLITE_OK);
	sqlite3_close(db);
	free(path);
}

START_TEST(test_a_catalog_of_version_4_keeps_its_content_and_forgets_old_removals)
{
	struct kit *kit = open_kit("a");
	kit_put(kit, "kept", "x", 5);
	kit_give_one(kit, kit_peer("b"), 1, "theirs", "y", 5);
	catalog_limit_tombstones(kit->catalog, 1000);
	churn(kit, "log", 500);
	uint64_t epoch = epoch_of(kit);
	kit_close(kit);
	make_version_4(kit);
	kit_open(kit, NULL);
	ck_assert_ptr_nonnull(kit->catalog);
	ck_assert_msg(kit->note == NULL, "%s", kit->note);
	ck_assert_uint_eq(epoch_of(kit), epoch);
	ck_assert_int_eq(ask(kit, "SELECT seq FROM peer WHERE no=1"), 1001);
	ck_assert_int_eq(ask(kit, "SELECT max(floor) FROM peer"), 0);
	ck_assert_int_eq(ask(kit, TOMBSTONES), 500);
	char *found = kit_search(kit, CATALOG_SUBSTRING, "", false, 10);
	ck_assert_str_eq(found, "kept:1*\ntheirs:1\n");
	free(found);
	catalog_limit_tombstones(kit->catalog, KEPT);
	churn(kit, "one", 1);
	wait_until_at_most(kit, TOMBSTONES, AT_MOST);
	ck_assert_int_eq(ask(kit, NONSENSE), 0);
	kit_free(kit);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("tombstones");
	TCase *all = tcase_create("all");
	tcase_set_timeout(all, 120);
	tcase_add_test(all, test_the_oldest_removals_are_forgotten_and_the_floor_is_remembered);
	tcase_add_test(all, test_there_are_never_many_more_than_are_kept);
	tcase_add_test(all, test_as_many_are_kept_as_there_are_files);
	tcase_add_test(all, test_what_a_peer_had_removed_before_leaves_nothing);
	tcase_add_test(all, test_a_removal_below_the_floor_takes_the_entry_along);
	tcase_add_test(all, test_who_was_away_for_long_begins_anew_once_and_has_no_removed_file);
	tcase_add_test(all, test_who_began_before_the_floor_moved_goes_on);
	tcase_add_test(all, test_who_began_too_long_ago_begins_once_more);
	tcase_add_test(all, test_what_is_half_there_can_be_followed_as_far_as_it_is);
	tcase_add_loop_test(all, test_whatever_happens_in_between_followers_end_with_the_same, 0,
			    12);
	tcase_add_test(all, test_a_kill_in_between_leaves_the_floor_and_what_is_above_it_in_step);
	tcase_add_test(all, test_a_catalog_of_version_4_keeps_its_content_and_forgets_old_removals);
	suite_add_tcase(suite, all);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed > 0;
}
