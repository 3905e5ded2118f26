/* SPDX-License-Identifier: MIT
 *
 * check_outbox.c - what happens to files is in the outbox exactly once and in its order, whatever ends in between; and
 * what does not fit is counted.
 */
#include "catalog_outbox.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "catalog_kit.h"
#include "mem.h"

static const struct outbox_terms own = { .max_entries = 1000, .max_bytes = 1 << 20 };

static struct kit *
kit_with_box(const struct outbox_terms *terms)
{
	struct kit *kit = kit_new();
	catalog_outbox_enable(kit->catalog, terms);
	return kit;
}

/* All of it as "no kind name seq lost body;". */
static char *
read_box(struct kit *kit)
{
	struct outbox_entry entries[OUTBOX_READ_MAX];
	uint64_t after = 0;
	size_t count;
	struct buf text;
	buf_init(&text, 1 << 20);
	buf_adds(&text, "");
	do {
		ck_assert_int_eq(
		    catalog_outbox_read(kit->catalog, after, entries, OUTBOX_READ_MAX, &count),
		    P2P_OK);
		for (size_t i = 0; i < count; i++) {
			const struct outbox_entry *entry = &entries[i];
			ck_assert_uint_gt(entry->no, after);
			after = entry->no;
			buf_addf(&text, "%llu %s %s %llu %llu %s;", (unsigned long long)entry->no,
				 event_name(entry->kind), entry->name ? entry->name : "-",
				 (unsigned long long)entry->seq, (unsigned long long)entry->lost,
				 entry->body ? entry->body : "-");
			outbox_entry_fini(&entries[i]);
		}
	} while (count > 0);
	return buf_give(&text);
}

static void
expect(struct kit *kit, const char *want)
{
	char *got = read_box(kit);
	ck_assert_str_eq(got, want);
	free(got);
}

static void
drop(struct kit *kit, uint64_t through)
{
	struct catalog_batch *batch = catalog_batch_new();
	catalog_batch_outbox_drop(batch, through);
	ck_assert_int_eq(kit_commit(kit, batch), P2P_OK);
}

static void
expect_size(struct kit *kit, uint64_t want)
{
	uint64_t entries, bytes;
	catalog_outbox_size(kit->catalog, &entries, &bytes);
	ck_assert_uint_eq(entries, want);
	ck_assert_int_eq(bytes == 0, want == 0);
}

START_TEST(test_each_change_is_in_it_once_and_in_order)
{
	struct kit *kit = kit_with_box(&own);
	kit_put(kit, "a", "x", 5);
	kit_put(kit, "b", "y", 5);
	kit_put(kit, "a", "z", 6);
	kit_put(kit, "a", "z", 6);
	kit_remove(kit, "b");
	kit_remove(kit, "never was");
	expect(kit, "1 file-added a 1 0 -;2 file-added b 2 0 -;3 file-changed a 3 0 -;"
		    "4 file-removed b 4 0 -;");
	expect_size(kit, 4);
	kit_free(kit);
}
END_TEST

START_TEST(test_a_file_comes_with_its_peer_epoch_and_content)
{
	struct kit *kit = kit_with_box(&own);
	struct outbox_entry entry;
	struct content_id content = kit_content("x", 5);
	struct catalog_head head;
	size_t count;
	kit_put(kit, "a", "x", 5);
	catalog_head(kit->catalog, &head);
	ck_assert_int_eq(catalog_outbox_read(kit->catalog, 0, &entry, 1, &count), P2P_OK);
	ck_assert_uint_eq(count, 1);
	ck_assert_str_eq(entry.peer, kit->self);
	ck_assert_uint_eq(entry.epoch, head.epoch);
	ck_assert(content_equal(&entry.content, &content));
	ck_assert_int_eq(entry.mtime_ns, kit_file("x", 5).mtime_ns);
	ck_assert_int_gt(entry.wall_ms, 1500000000000);
	/* The time that other listeners are told of it. */
	ck_assert_int_eq(entry.wall_ms, kit->wall_ms);
	ck_assert_ptr_null(entry.peer_name);
	outbox_entry_fini(&entry);
	kit_free(kit);
}
END_TEST

START_TEST(test_more_changes_than_are_told_at_once_are_all_in_it)
{
	struct kit *kit = kit_with_box(&own);
	struct catalog_batch *batch = catalog_batch_new();
	struct catalog_local file = kit_file("x", 5);
	char name[32];
	for (int i = 0; i < CATALOG_TOLD_MAX + 300; i++) {
		snprintf(name, sizeof(name), "f%04d", i);
		catalog_batch_put(batch, name, &file, NULL, 0);
	}
	ck_assert_int_eq(kit_commit(kit, batch), P2P_OK);
	expect_size(kit, CATALOG_TOLD_MAX + 300);
	kit_free(kit);
}
END_TEST

START_TEST(test_without_one_nothing_is_kept)
{
	struct kit *kit = kit_new();
	kit_put(kit, "a", "x", 5);
	expect(kit, "");
	expect_size(kit, 0);
	kit_free(kit);
}
END_TEST

START_TEST(test_numbers_are_never_given_twice)
{
	struct kit *kit = kit_with_box(&own);
	kit_put(kit, "a", "x", 5);
	kit_put(kit, "b", "x", 5);
	drop(kit, 2);
	expect_size(kit, 0);
	kit_reopen(kit);
	catalog_outbox_enable(kit->catalog, &own);
	kit_put(kit, "c", "x", 5);
	expect(kit, "3 file-added c 3 0 -;");
	kit_free(kit);
}
END_TEST

START_TEST(test_dropping_is_up_to_a_number)
{
	struct kit *kit = kit_with_box(&own);
	kit_put(kit, "a", "x", 5);
	kit_put(kit, "b", "x", 5);
	kit_put(kit, "c", "x", 5);
	drop(kit, 2);
	drop(kit, 1);
	expect(kit, "3 file-added c 3 0 -;");
	expect_size(kit, 1);
	kit_free(kit);
}
END_TEST

START_TEST(test_other_events_stand_between_the_files_as_they_came)
{
	struct kit *kit = kit_with_box(&own);
	struct catalog_batch *batch = catalog_batch_new();
	char *long_body = mem_zero(1, OUTBOX_BODY_MAX + 2);
	memset(long_body, 'x', OUTBOX_BODY_MAX + 1);
	kit_put(kit, "a", "x", 5);
	catalog_batch_outbox(batch, EVENT_PEER_HERE, 1600000000000, "{\"x\":1}");
	catalog_batch_outbox(batch, EVENT_PEER_AWAY, 1600000000000, long_body);
	ck_assert_int_eq(kit_commit(kit, batch), P2P_OK);
	kit_put(kit, "b", "x", 5);
	expect(kit, "1 file-added a 1 0 -;2 peer-here - 0 0 {\"x\":1};3 file-added b 2 0 -;");
	free(long_body);
	kit_free(kit);
}
END_TEST

START_TEST(test_others_files_are_in_it_only_if_wanted)
{
	const struct outbox_terms all = { 1000, 1 << 20, true };
	const char *peer = kit_peer("p");
	struct kit *kit = kit_with_box(&own);
	kit_give_one(kit, peer, 1, "theirs", "x", 5);
	expect(kit, "");
	catalog_outbox_enable(kit->catalog, &all);
	kit_give_one(kit, peer, 2, "theirs too", "x", 5);
	/* Another numbering: all their files are others, told as one thing. */
	struct change_page *page = kit_page(peer, 77, 0);
	page->is_reset = true;
	kit_page_add(page, 1, "theirs", "y", 5);
	ck_assert_int_eq(kit_give(kit, page), P2P_OK);
	expect(kit, "1 file-added theirs too 2 0 -;2 files-changed - 0 0 -;");
	kit_free(kit);
}
END_TEST

START_TEST(test_others_files_come_with_the_name_of_the_peer)
{
	const struct outbox_terms all = { 1000, 1 << 20, true };
	const struct catalog_peer peer = { .id = kit_peer("p"),
					   .name = "their name",
					   .addresses = "" };
	struct kit *kit = kit_with_box(&all);
	struct catalog_batch *batch = catalog_batch_new();
	struct outbox_entry entry;
	size_t count;
	catalog_batch_peer(batch, &peer);
	ck_assert_int_eq(kit_commit(kit, batch), P2P_OK);
	kit_give_one(kit, peer.id, 1, "theirs", "x", 5);
	ck_assert_int_eq(catalog_outbox_read(kit->catalog, 0, &entry, 1, &count), P2P_OK);
	ck_assert_uint_eq(count, 1);
	ck_assert_str_eq(entry.peer_name, "their name");
	ck_assert_int_eq(entry.wall_ms, kit->wall_ms);
	outbox_entry_fini(&entry);
	/* Also if the peer was forgotten before that was sent. */
	batch = catalog_batch_new();
	catalog_batch_forget(batch, peer.id, NULL);
	ck_assert_int_eq(kit_commit(kit, batch), P2P_OK);
	ck_assert_int_eq(catalog_outbox_read(kit->catalog, 0, &entry, 1, &count), P2P_OK);
	ck_assert_str_eq(entry.name, "theirs");
	ck_assert_str_eq(entry.peer_name, "their name");
	outbox_entry_fini(&entry);
	kit_free(kit);
}
END_TEST

START_TEST(test_a_refused_batch_leaves_nothing_in_it)
{
	const struct outbox_terms all = { 1000, 1 << 20, true };
	struct kit *kit = kit_with_box(&all);
	struct catalog_batch *batch = catalog_batch_new();
	struct catalog_local file = kit_file("x", 5);
	struct change_page *page = kit_page(kit_peer("p"), 5, 7);
	kit_page_add(page, 8, "gap", "x", 5);
	catalog_batch_put(batch, "a", &file, NULL, 0);
	catalog_batch_page(batch, page);
	ck_assert_int_eq(kit_commit(kit, batch), P2P_CONFLICT);
	expect_size(kit, 0);
	kit_put(kit, "b", "x", 5);
	expect(kit, "1 file-added b 1 0 -;");
	kit_free(kit);
}
END_TEST

START_TEST(test_a_full_one_drops_the_oldest_and_counts_them)
{
	const struct outbox_terms few = { .max_entries = 20, .max_bytes = 1 << 20 };
	struct kit *kit = kit_with_box(&few);
	char name[32];
	for (int i = 1; i <= 21; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		kit_put(kit, name, "x", 5);
	}
	struct outbox_entry entries[2];
	size_t count;
	ck_assert_int_eq(catalog_outbox_read(kit->catalog, 0, entries, 2, &count), P2P_OK);
	ck_assert_uint_eq(count, 2);
	ck_assert_int_eq(entries[0].kind, EVENT_EVENTS_LOST);
	/* Every number stands for one event. */
	ck_assert_uint_eq(entries[0].lost, entries[0].no);
	ck_assert_uint_eq(entries[1].no, entries[0].no + 1);
	ck_assert_uint_eq(catalog_outbox_lost(kit->catalog), entries[0].lost);
	outbox_entry_fini(&entries[0]);
	outbox_entry_fini(&entries[1]);

	for (int i = 22; i <= 500; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		kit_put(kit, name, "x", 5);
	}
	ck_assert_int_eq(catalog_outbox_read(kit->catalog, 0, entries, 2, &count), P2P_OK);
	ck_assert_uint_eq(entries[0].lost, entries[0].no);
	ck_assert_uint_eq(entries[1].seq, entries[0].no + 1);
	outbox_entry_fini(&entries[0]);
	outbox_entry_fini(&entries[1]);
	uint64_t held, bytes;
	catalog_outbox_size(kit->catalog, &held, &bytes);
	ck_assert_uint_le(held, 20);
	ck_assert_uint_ge(held, 17);
	kit_free(kit);
}
END_TEST

START_TEST(test_bytes_are_bounded_too)
{
	const struct outbox_terms small = { .max_entries = 1000, .max_bytes = 10000 };
	struct kit *kit = kit_with_box(&small);
	char *body = mem_zero(1, 3000);
	memset(body, 'x', 2999);
	for (int i = 0; i < 10; i++) {
		struct catalog_batch *batch = catalog_batch_new();
		catalog_batch_outbox(batch, EVENT_PEER_HERE, 1, body);
		kit_commit(kit, batch);
	}
	uint64_t entries, bytes;
	catalog_outbox_size(kit->catalog, &entries, &bytes);
	ck_assert_uint_le(bytes, 10000);
	ck_assert_uint_ge(entries, 2);
	free(body);
	kit_free(kit);
}
END_TEST

START_TEST(test_what_happened_without_one_is_told_as_lost)
{
	struct kit *kit = kit_new();
	kit_put(kit, "before", "x", 5);
	catalog_outbox_enable(kit->catalog, &own); /* for the first time: nobody expects the past */
	kit_put(kit, "a", "x", 5);
	kit_reopen(kit);
	kit_put(kit, "b", "x", 5);
	kit_put(kit, "c", "x", 5);
	kit_reopen(kit);
	catalog_outbox_enable(kit->catalog, &own);
	kit_put(kit, "d", "x", 5);
	expect(kit, "1 file-added a 2 0 -;2 events-lost - 0 2 -;3 file-added d 5 0 -;");
	kit_reopen(kit);
	catalog_outbox_enable(kit->catalog, &own);
	kit_put(kit, "e", "x", 5);
	char *text = read_box(kit);
	ck_assert_ptr_nonnull(strstr(text, ";4 file-added e 6 0 -;"));
	free(text);
	kit_free(kit);
}
END_TEST

START_TEST(test_a_catalog_from_before_gets_one)
{
	static const char *const before[] = {
		"DROP TABLE outbox; DROP TABLE outbox_total",
		"ALTER TABLE outbox DROP COLUMN peer_name",
	};
	struct kit *kit = kit_new();
	char command[512];
	kit_put(kit, "a", "x", 5);
	kit_close(kit);
	snprintf(command, sizeof(command),
		 "python3 -c 'import sqlite3, sys; d = sqlite3.connect(sys.argv[1]);"
		 " d.executescript(sys.argv[2]); d.commit()' %s/catalog.db '%s'",
		 kit->dir, before[_i]);
	ck_assert_int_eq(system(command), 0);
	kit_open(kit, NULL);
	ck_assert_ptr_nonnull(kit->catalog);
	ck_assert_ptr_null(kit->note);
	catalog_outbox_enable(kit->catalog, &own);
	kit_put(kit, "b", "x", 5);
	expect(kit, "1 file-added b 2 0 -;");
	kit_free(kit);
}
END_TEST

/* The child fills as fast as it can and says each seq that it was told is committed, until it is killed. */
static void
fill_until_killed(const char *dir, int out)
{
	struct kit *kit = kit_new_at(dir);
	char name[32];
	catalog_outbox_enable(kit->catalog, &own);
	for (uint64_t i = 0;; i++) {
		struct catalog_head head;
		snprintf(name, sizeof(name), "f%d-%llu", getpid(), (unsigned long long)i);
		kit_put(kit, name, "x", 5);
		catalog_head(kit->catalog, &head);
		if (write(out, &head.seq, sizeof(head.seq)) != sizeof(head.seq))
			_exit(1);
	}
}

START_TEST(test_after_a_kill_it_has_what_the_catalog_has)
{
	struct kit *kit = kit_with_box(&own);
	uint64_t seq = 0, told = 0, next = 0;
	for (int round = 0; round < 3; round++) {
		int ends[2];
		kit_close(kit);
		ck_assert_int_eq(pipe(ends), 0);
		pid_t child = fork();
		if (child == 0)
			fill_until_killed(kit->dir, ends[1]);
		close(ends[1]);
		for (int i = 0; i < 20 + round; i++)
			ck_assert_int_eq(read(ends[0], &told, sizeof(told)), sizeof(told));
		kill(child, SIGKILL);
		waitpid(child, NULL, 0);
		close(ends[0]);
		kit_open(kit, NULL);
		ck_assert_ptr_nonnull(kit->catalog);
		ck_assert_ptr_null(kit->note);
	}
	struct catalog_head head;
	catalog_head(kit->catalog, &head);
	ck_assert_uint_ge(head.seq, told);
	struct outbox_entry entries[OUTBOX_READ_MAX];
	size_t count;
	ck_assert_int_eq(catalog_outbox_read(kit->catalog, 0, entries, OUTBOX_READ_MAX, &count),
			 P2P_OK);
	for (size_t i = 0; i < count; i++) {
		ck_assert_uint_eq(entries[i].no, ++next);
		ck_assert_uint_eq(entries[i].seq, ++seq);
		outbox_entry_fini(&entries[i]);
	}
	ck_assert_uint_eq(seq, head.seq);
	kit_free(kit);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("outbox");
	TCase *tcase = tcase_create("outbox");
	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, test_each_change_is_in_it_once_and_in_order);
	tcase_add_test(tcase, test_a_file_comes_with_its_peer_epoch_and_content);
	tcase_add_test(tcase, test_more_changes_than_are_told_at_once_are_all_in_it);
	tcase_add_test(tcase, test_without_one_nothing_is_kept);
	tcase_add_test(tcase, test_numbers_are_never_given_twice);
	tcase_add_test(tcase, test_dropping_is_up_to_a_number);
	tcase_add_test(tcase, test_other_events_stand_between_the_files_as_they_came);
	tcase_add_test(tcase, test_others_files_are_in_it_only_if_wanted);
	tcase_add_test(tcase, test_others_files_come_with_the_name_of_the_peer);
	tcase_add_test(tcase, test_a_refused_batch_leaves_nothing_in_it);
	tcase_add_test(tcase, test_a_full_one_drops_the_oldest_and_counts_them);
	tcase_add_test(tcase, test_bytes_are_bounded_too);
	tcase_add_test(tcase, test_what_happened_without_one_is_told_as_lost);
	tcase_add_loop_test(tcase, test_a_catalog_from_before_gets_one, 0, 2);
	tcase_add_test(tcase, test_after_a_kill_it_has_what_the_catalog_has);
	suite_add_tcase(suite, tcase);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed > 0;
}
