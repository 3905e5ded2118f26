/* SPDX-License-Identifier: MIT
 *
 * check_catalog.c - what goes into the catalog comes out of it, is told, is found; and others speak
 * for themselves only. Damage, full disks and sudden ends are in check_catalog_faults.c.
 */
#include "catalog.h"

#include <check.h>
#include <sqlite3.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "catalog_kit.h"
#include "mem.h"
#include "merkle.h"

#define MIB (1ull << 20)

static struct catalog_head
head_of(struct kit *kit)
{
	struct catalog_head head;
	catalog_head(kit->catalog, &head);
	return head;
}

/* --- our own files --- */

START_TEST(test_a_new_catalog_is_empty_and_has_an_epoch)
{
	struct kit *kit = kit_new();
	struct catalog_head head = head_of(kit);
	struct catalog_local file;
	ck_assert_ptr_null(kit->note);
	ck_assert_uint_gt(head.epoch, 0);
	ck_assert_uint_eq(head.seq, 0);
	ck_assert_uint_eq(head.file_count, 0);
	ck_assert_int_eq(catalog_find_local(kit->catalog, "a", &file), P2P_NOT_FOUND);
	kit_free(kit);
}
END_TEST

START_TEST(test_a_file_comes_back_as_it_was_put_after_a_restart_too)
{
	struct kit *kit = kit_new();
	struct catalog_local want = kit_file("x", 5), got;
	ck_assert_int_eq(kit_put(kit, "a/b", "x", 5), P2P_OK);
	struct catalog_head head = head_of(kit);
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(catalog_find_local(kit->catalog, "a/b", &got), P2P_OK);
		ck_assert(content_equal(&got.content, &want.content));
		ck_assert(file_sig_equal(&got.sig, &want.sig));
		ck_assert_int_eq(got.mtime_ns, -5);
		ck_assert_uint_eq(got.mode, 0644);
		ck_assert_uint_eq(head_of(kit).epoch, head.epoch);
		ck_assert_uint_eq(head_of(kit).seq, 1);
		ck_assert_uint_eq(head_of(kit).file_count, 1);
		ck_assert_uint_eq(head_of(kit).byte_count, 5);
		kit_reopen(kit);
		ck_assert_ptr_null(kit->note);
	}
	kit_free(kit);
}
END_TEST

START_TEST(test_the_same_file_again_only_renews_its_signature)
{
	struct kit *kit = kit_new();
	kit_put(kit, "a", "x", 5);
	kit_clear(kit);
	struct catalog_local file = kit_file("x", 5), got;
	file.sig.inode = 99;
	struct catalog_batch *batch = catalog_batch_new();
	catalog_batch_put(batch, "a", &file, NULL, 0);
	ck_assert_uint_eq(catalog_batch_size(batch), 1);
	ck_assert_int_eq(kit_commit(kit, batch), P2P_OK);
	ck_assert_uint_eq(kit->commits, 0);
	ck_assert_uint_eq(head_of(kit).seq, 1);
	ck_assert_int_eq(catalog_find_local(kit->catalog, "a", &got), P2P_OK);
	ck_assert_uint_eq(got.sig.inode, 99);

	/* Another mtime is a change for the other peers, though nobody has new bytes to see. */
	file.mtime_ns = 1;
	batch = catalog_batch_new();
	catalog_batch_put(batch, "a", &file, NULL, 0);
	ck_assert_int_eq(kit_commit(kit, batch), P2P_OK);
	ck_assert_uint_eq(head_of(kit).seq, 2);
	ck_assert_uint_eq(kit->ours, 1);
	ck_assert_uint_eq(kit->told_count, 0);
	kit_free(kit);
}
END_TEST

START_TEST(test_adding_changing_and_removing_is_told)
{
	struct kit *kit = kit_new();
	kit_put(kit, "a", "x", 5);
	kit_put(kit, "a", "y", 7);
	ck_assert_uint_eq(head_of(kit).byte_count, 7);
	kit_remove(kit, "a");
	ck_assert_uint_eq(head_of(kit).byte_count, 0);
	ck_assert_uint_eq(kit->told_count, 3);
	ck_assert_uint_eq(kit->ours, 3);
	ck_assert_int_eq(kit->told[0].kind, CATALOG_ADDED);
	ck_assert_int_eq(kit->told[1].kind, CATALOG_CHANGED);
	ck_assert_int_eq(kit->told[2].kind, CATALOG_REMOVED);
	struct content_id y = kit_content("y", 7), zero = { 0 };
	ck_assert(content_equal(&kit->told[1].content, &y));
	ck_assert(content_equal(&kit->told[2].content, &zero));
	ck_assert_str_eq(kit->told[2].name, "a");
	ck_assert_str_eq(kit->told[2].peer, kit->self);

	kit_clear(kit);
	ck_assert_int_eq(kit_remove(kit, "a"), P2P_OK);
	ck_assert_int_eq(kit_remove(kit, "never there"), P2P_OK);
	ck_assert_uint_eq(kit->commits, 0);
	ck_assert_uint_eq(head_of(kit).seq, 3);
	kit_put(kit, "a", "x", 5);
	ck_assert_int_eq(kit->told[0].kind, CATALOG_ADDED);
	kit_free(kit);
}
END_TEST

START_TEST(test_many_changes_are_told_up_to_the_limit)
{
	struct kit *kit = kit_new();
	struct catalog_batch *batch = catalog_batch_new();
	struct catalog_local file = kit_file("x", 5);
	for (int i = 0; i <= CATALOG_TOLD_MAX; i++) {
		char name[32];
		snprintf(name, sizeof(name), "f%d", i);
		catalog_batch_put(batch, name, &file, NULL, 0);
	}
	ck_assert_int_eq(kit_commit(kit, batch), P2P_OK);
	ck_assert_uint_eq(kit->told_count, CATALOG_TOLD_MAX);
	ck_assert_uint_eq(kit->cuts, 1);
	ck_assert_str_eq(kit->cut_peer, kit->self);
	kit_free(kit);
}
END_TEST

START_TEST(test_a_layer_lives_as_long_as_some_file_has_the_content)
{
	struct kit *kit = kit_new();
	struct catalog_local file = kit_file("big", 3 * MIB);
	size_t count = merkle_piece_count(3 * MIB, merkle_piece_bytes(3 * MIB)), got_count;
	struct digest *layer = mem_zero(count, sizeof(*layer)), *got;
	layer[count - 1].bytes[3] = 9;
	struct catalog_batch *batch = catalog_batch_new();
	catalog_batch_put(batch, "a", &file, layer, count);
	catalog_batch_put(batch, "b", &file, NULL, 0);
	ck_assert_int_eq(kit_commit(kit, batch), P2P_OK);
	kit_remove(kit, "a");
	ck_assert_int_eq(catalog_layer(kit->catalog, &file.content, &got, &got_count), P2P_OK);
	ck_assert_uint_eq(got_count, count);
	ck_assert_int_eq(got[count - 1].bytes[3], 9);
	free(got);
	kit_put(kit, "b", "other", 1);
	got = NULL;
	ck_assert_int_eq(catalog_layer(kit->catalog, &file.content, &got, &got_count),
			 P2P_NOT_FOUND);
	ck_assert_ptr_null(got);
	kit_free(kit);
}
END_TEST

START_TEST(test_the_layer_of_one_piece_is_the_root)
{
	struct kit *kit = kit_new();
	struct digest *got;
	size_t count;
	struct content_id small = kit_content("s", 100), empty = kit_content("e", 0);
	kit_put(kit, "s", "s", 100);
	kit_put(kit, "e", "e", 0);
	ck_assert_int_eq(catalog_layer(kit->catalog, &small, &got, &count), P2P_OK);
	ck_assert_uint_eq(count, 1);
	ck_assert(digest_equal(&got[0], &small.root));
	free(got);
	ck_assert_int_eq(catalog_layer(kit->catalog, &empty, &got, &count), P2P_OK);
	ck_assert_uint_eq(count, 0);
	ck_assert_ptr_null(got);
	small.size_bytes = 101;
	ck_assert_int_eq(catalog_layer(kit->catalog, &small, &got, &count), P2P_NOT_FOUND);
	kit_free(kit);
}
END_TEST

START_TEST(test_a_content_is_size_and_root)
{
	struct kit *kit = kit_new();
	char name[NAME_SIZE];
	struct catalog_local file;
	kit_put(kit, "a", "x", 64);
	struct content_id same = kit_content("x", 64), longer = kit_content("x", 32768);
	ck_assert_int_eq(catalog_find_content(kit->catalog, &same, name, &file), P2P_OK);
	ck_assert_str_eq(name, "a");
	ck_assert_int_eq(catalog_find_content(kit->catalog, &longer, name, &file), P2P_NOT_FOUND);
	kit_free(kit);
}
END_TEST

static int
scan_count(struct catalog_scan *scan, const char *first)
{
	const char *name;
	struct catalog_local file;
	char last[NAME_SIZE] = "";
	int count = 0, more;
	while ((more = catalog_scan_next(scan, &name, &file)) > 0) {
		if (count++ == 0)
			ck_assert_str_eq(name, first);
		ck_assert_int_gt(strcmp(name, last), 0);
		snprintf(last, sizeof(last), "%s", name);
	}
	ck_assert_int_eq(more, 0);
	ck_assert_int_eq(catalog_scan_next(scan, &name, &file), 0);
	return count;
}

START_TEST(test_a_scan_goes_by_bytes_beneath_a_prefix_in_one_view)
{
	struct kit *kit = kit_new();
	static const char *const names[] = { "a/z", "a/B", "a/\xc3\xa9", "a", "ab", "b", "a0" };
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		kit_put(kit, names[i], "x", 1);
	struct catalog_scan *all = catalog_scan_new(kit->catalog, "");
	struct catalog_scan *some = catalog_scan_new(kit->catalog, "a/");
	kit_put(kit, "a/new", "x", 1);
	kit_remove(kit, "b");
	ck_assert_int_eq(scan_count(all, "a"), 7);
	ck_assert_int_eq(scan_count(some, "a/B"), 3);
	catalog_scan_free(all);
	catalog_scan_free(some);
	struct catalog_scan *later = catalog_scan_new(kit->catalog, "a/");
	ck_assert_int_eq(scan_count(later, "a/B"), 4);
	catalog_scan_free(later);
	kit_free(kit);
}
END_TEST

/* --- other peers --- */

START_TEST(test_pages_follow_one_another_and_may_come_twice)
{
	struct kit *kit = kit_new();
	const char *b = kit_peer("b");
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(kit_give_one(kit, b, 1, "a", "x", 5), P2P_OK);
		ck_assert_int_eq(kit_give_one(kit, b, 2, "a", "y", 6), P2P_OK);
		ck_assert_int_eq(kit_give_one(kit, b, 3, "c", "y", 6), P2P_OK);
	}
	ck_assert_uint_eq(kit->told_count, 3);
	ck_assert_uint_eq(kit->ours, 0);

	/* One that overlaps brings only what is new; an old row does not undo a newer one. */
	struct change_page *page = kit_page(b, 7, 0);
	kit_page_add(page, 1, "a", "x", 5);
	kit_page_add(page, 4, "d", "x", 5);
	ck_assert_int_eq(kit_give(kit, page), P2P_OK);
	char *found = kit_search(kit, CATALOG_SUBSTRING, "", false, 10);
	ck_assert_str_eq(found, "a:1\nc:1\nd:1\n");
	free(found);
	struct change_page *got;
	ck_assert_int_eq(catalog_changes(kit->catalog, KIT_ASK(b, 7, 0, 10), &got), P2P_OK);
	ck_assert_uint_eq(got->count, 3);
	ck_assert_uint_eq(got->items[0].seq, 2);
	ck_assert_uint_eq(got->items[0].content.size_bytes, 6);
	ck_assert_uint_eq(got->head, 4);
	ck_assert_uint_eq(got->byte_count, 17);
	change_page_free(got);
	kit_free(kit);
}
END_TEST

START_TEST(test_a_gap_is_a_conflict_and_changes_nothing)
{
	struct kit *kit = kit_new();
	const char *b = kit_peer("b");
	ck_assert_int_eq(kit_give_one(kit, b, 3, "a", "x", 5), P2P_CONFLICT);
	ck_assert_int_eq(kit_give_one(kit, b, 1, "a", "x", 5), P2P_OK);
	ck_assert_int_eq(kit_give_one(kit, b, 3, "c", "x", 5), P2P_CONFLICT);
	/* Another epoch that does not begin at its beginning. */
	struct change_page *page = kit_page(b, 8, 1);
	kit_page_add(page, 2, "z", "x", 5);
	ck_assert_int_eq(kit_give(kit, page), P2P_CONFLICT);
	char *found = kit_search(kit, CATALOG_SUBSTRING, "", false, 10);
	ck_assert_str_eq(found, "a:1\n");
	free(found);
	kit_free(kit);
}
END_TEST

START_TEST(test_a_reset_or_another_epoch_replaces_the_peers_entries_only)
{
	struct kit *kit = kit_new();
	const char *b = kit_peer("b"), *c = kit_peer("c");
	kit_put(kit, "a", "x", 5);
	kit_give_one(kit, b, 1, "a", "x", 5);
	kit_give_one(kit, c, 1, "a", "x", 5);
	for (int reset = 0; reset < 2; reset++) {
		struct change_page *page = kit_page(b, 8, 0);
		page->is_reset = reset;
		kit_page_add(page, 1, reset ? "new" : "newer", "x", 5);
		kit_clear(kit);
		ck_assert_int_eq(kit_give(kit, page), P2P_OK);
		ck_assert_uint_eq(kit->cuts, 1);
		ck_assert_str_eq(kit->cut_peer, b);
		char *found = kit_search(kit, CATALOG_SUBSTRING, "", false, 10);
		ck_assert_str_eq(found, reset ? "a:2*\nnew:1\n" : "a:2*\nnewer:1\n");
		free(found);
	}
	kit_free(kit);
}
END_TEST

/* Page k of what must be refused with P2P_BAD_ANSWER; NULL after the last. */
static struct change_page *
bad_page(struct kit *kit, int k)
{
	struct change_page *page = kit_page(k == 0 ? kit->self : kit_peer("b"), 7, 0);
	kit_page_add(page, 1, "good", "x", 5);
	kit_page_add(page, 2, "bad", "x", 5);
	switch (k) {
	case 0:
		return page; /* our own id */
	case 1:
		strcpy(page->peer, "no peer id");
		return page;
	case 2:
		page->items[1].content.size_bytes = MERKLE_CONTENT_MAX + 1;
		return page;
	case 3:
		page->items[1].content.size_bytes = 1ull << 63;
		return page;
	case 4:
		page->items[1].seq = 1; /* not ascending */
		return page;
	case 5:
		page->through = 1; /* a row beyond it */
		return page;
	case 6:
		page->head = 1;
		return page;
	case 7:
		page->epoch = 0;
		return page;
	case 8:
		page->items[1].seq = page->through = page->head = UINT64_MAX;
		return page;
	case 9:
		page->items[1].mode = 04755;
		return page;
	case 10:
		page->is_reset = true;
		page->since = 1;
		page->items[0].seq = 2;
		page->items[1].seq = page->through = page->head = 3;
		return page;
	}
	static const char *const names[] = { "../x",   "/etc/passwd", "a//b", "",
					     "a/./b",  "a\nb",        "\xff", "a/\xe2\x80\xae.txt",
					     ".p2pd-x" };
	size_t n = (size_t)k - 11;
	if (n < sizeof(names) / sizeof(names[0])) {
		free(page->items[1].name);
		page->items[1].name = mem_string(names[n]);
		return page;
	}
	change_page_free(page);
	return NULL;
}

START_TEST(test_a_page_that_makes_no_sense_is_refused_as_a_whole)
{
	struct kit *kit = kit_new();
	struct change_page *page;
	int k = 0;
	for (; (page = bad_page(kit, k)) != NULL; k++)
		ck_assert_msg(kit_give(kit, page) == P2P_BAD_ANSWER, "page %d", k);
	ck_assert_int_gt(k, 15);
	/* Nothing has but one root. */
	ck_assert_int_eq(kit_give_one(kit, kit_peer("b"), 1, "empty", "x", 0), P2P_BAD_ANSWER);
	ck_assert_uint_eq(kit->commits, 0);
	char *found = kit_search(kit, CATALOG_SUBSTRING, "", false, 10);
	ck_assert_str_eq(found, "");
	free(found);
	kit_free(kit);
}
END_TEST

/* Half a million rows are nothing for a sanitizer. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define IS_SLOW true
#else
#define IS_SLOW false
#endif

START_TEST(test_sizes_that_add_up_to_nonsense_are_refused)
{
	struct kit *kit = kit_new();
	uint64_t seq = 0, refused = 0;
	/* 2^63 / 2^44 files of the largest size would be needed. */
	while (seq < (1u << 19) + 1000 && !refused) {
		struct change_page *page = kit_page(kit_peer("b"), 7, seq);
		for (int i = 0; i < CHANGE_PAGE_MAX; i++) {
			char name[32];
			snprintf(name, sizeof(name), "%llu", (unsigned long long)++seq);
			kit_page_add(page, seq, name, "x", MERKLE_CONTENT_MAX);
		}
		kit_clear(kit);
		refused = kit_give(kit, page) == P2P_BAD_ANSWER;
	}
	ck_assert(refused);
	kit_free(kit);
}
END_TEST

START_TEST(test_a_peer_and_all_peers_together_have_so_many_files_and_no_more)
{
	struct kit *kit = kit_new();
	const char *b = kit_peer("b"), *c = kit_peer("c");
	catalog_limit(kit->catalog, &(struct catalog_limits){ 3, 4, 100 });
	for (uint64_t seq = 1; seq <= 3; seq++) {
		char name[] = { (char)('a' + seq), '\0' };
		ck_assert_int_eq(kit_give_one(kit, b, seq, name, "x", 5), P2P_OK);
	}
	ck_assert_int_eq(kit_give_one(kit, b, 4, "z", "x", 5), P2P_TOO_MANY);
	/* A tombstone takes as much room as a file; a name that is there already takes none. */
	ck_assert_int_eq(kit_give_one(kit, b, 4, "z", NULL, 0), P2P_TOO_MANY);
	ck_assert_int_eq(kit_give_one(kit, b, 4, "b", "y", 6), P2P_OK);

	ck_assert_int_eq(kit_give_one(kit, c, 1, "p", "x", 5), P2P_OK);
	ck_assert_int_eq(kit_give_one(kit, c, 2, "q", "x", 5), P2P_TOO_MANY);
	/* Our own are not counted. */
	ck_assert_int_eq(kit_put(kit, "own", "x", 5), P2P_OK);
	/* What goes makes room. */
	struct catalog_batch *batch = catalog_batch_new();
	catalog_batch_forget(batch, b, NULL);
	ck_assert_int_eq(kit_commit(kit, batch), P2P_OK);
	ck_assert_int_eq(kit_give_one(kit, c, 2, "q", "x", 5), P2P_OK);
	kit_free(kit);
}
END_TEST

START_TEST(test_the_names_of_a_peer_have_so_many_bytes_and_no_more)
{
	struct kit *kit = kit_new();
	const char *b = kit_peer("b");
	catalog_limit(kit->catalog, &(struct catalog_limits){ 100, 100, 10 });
	ck_assert_int_eq(kit_give_one(kit, b, 1, "h\u00e4user", "x", 5), P2P_OK); /* 7 bytes */
	ck_assert_int_eq(kit_give_one(kit, b, 2, "four", "x", 5), P2P_TOO_MANY);
	ck_assert_int_eq(kit_give_one(kit, b, 2, "two", "x", 5), P2P_OK);
	/* Removed, it has its name still; what is there changes as it likes. */
	ck_assert_int_eq(kit_give_one(kit, b, 3, "two", NULL, 0), P2P_OK);
	ck_assert_int_eq(kit_give_one(kit, b, 4, "a", "x", 5), P2P_TOO_MANY);
	kit_reopen(kit);
	catalog_limit(kit->catalog, &(struct catalog_limits){ 100, 100, 10 });
	ck_assert_int_eq(kit_give_one(kit, b, 4, "a", "x", 5), P2P_TOO_MANY);
	ck_assert_int_eq(kit_give_one(kit, b, 4, "two", "y", 5), P2P_OK);
	kit_free(kit);
}
END_TEST

static void
copy_peer(void *arg, const struct catalog_peer *peer)
{
	struct buf *buf = arg;
	buf_addf(buf, "%s %s %s %llu/%llu %llu %llu %lld\n", peer->id, peer->name, peer->addresses,
		 (unsigned long long)peer->epoch, (unsigned long long)peer->seq,
		 (unsigned long long)peer->file_count, (unsigned long long)peer->byte_count,
		 (long long)peer->heard_wall_ms);
}

START_TEST(test_peers_are_remembered_over_restarts_and_forgotten_when_told)
{
	struct kit *kit = kit_new();
	const char *b = kit_peer("b");
	struct catalog_peer peer = {
		.id = b,
		.name = "host-b",
		.addresses = "http://b:1 http://b:2",
		.heard_wall_ms = 12345,
	};
	struct change_page *page;
	struct catalog_batch *batch = catalog_batch_new();
	catalog_batch_peer(batch, &peer);
	ck_assert_int_eq(kit_commit(kit, batch), P2P_OK);
	ck_assert_int_eq(catalog_changes(kit->catalog, KIT_ASK(b, 7, 0, 1), &page), P2P_NOT_FOUND);
	kit_give_one(kit, b, 1, "a", "x", 5);
	kit_put(kit, "own", "x", 5);
	kit_reopen(kit);
	struct buf buf;
	buf_init(&buf, 10000);
	ck_assert_int_eq(catalog_peers(kit->catalog, copy_peer, &buf), P2P_OK);
	char *want = mem_format("%s host-b http://b:1 http://b:2 7/1 1 5 12345\n", b);
	ck_assert_str_eq(buf.data, want);
	free(want);

	kit_clear(kit);
	batch = catalog_batch_new();
	catalog_batch_forget(batch, b, NULL);
	catalog_batch_forget(batch, kit_peer("unknown"), NULL);
	ck_assert_int_eq(kit_commit(kit, batch), P2P_OK);
	ck_assert_uint_eq(kit->cuts, 1);
	ck_assert_str_eq(kit->cut_peer, b);
	buf_reset(&buf);
	ck_assert_int_eq(catalog_peers(kit->catalog, copy_peer, &buf), P2P_OK);
	ck_assert_uint_eq(buf.len, 0);
	buf_fini(&buf);
	char *found = kit_search(kit, CATALOG_SUBSTRING, "", false, 10);
	ck_assert_str_eq(found, "own:1*\n");
	free(found);
	batch = catalog_batch_new();
	catalog_batch_forget(batch, kit->self, NULL);
	ck_assert_int_eq(kit_commit(kit, batch), P2P_BAD_REQUEST);
	kit_free(kit);
}
END_TEST

/* Pulls all changes of one peer from one catalog into another. */
static void
pull(struct kit *from, struct kit *to, const char *peer, uint32_t limit)
{
	uint64_t epoch = 0, since = 0, head;
	do {
		struct change_page *page;
		ck_assert_int_eq(
		    catalog_changes(from->catalog, KIT_ASK(peer, epoch, since, limit), &page),
		    P2P_OK);
		epoch = page->epoch;
		since = page->through;
		head = page->head;
		ck_assert_int_eq(kit_give(to, page), P2P_OK);
	} while (since < head);
}

START_TEST(test_a_pulled_catalog_equals_the_original_with_its_tombstones)
{
	struct kit *a = kit_new(), *b = kit_new();
	/* Both are the same peer; what the one pulls from the other is of a third. */
	for (int i = 0; i < 30; i++) {
		char name[32];
		snprintf(name, sizeof(name), "f%02d", i % 20);
		kit_give_one(a, kit_peer("c"), (uint64_t)i + 1, name, i % 7 ? "x" : NULL, 5);
	}
	pull(a, b, kit_peer("c"), 3);
	char *x = kit_search(a, CATALOG_SUBSTRING, "", false, 1000);
	char *y = kit_search(b, CATALOG_SUBSTRING, "", false, 4);
	ck_assert_str_eq(x, y);
	ck_assert_ptr_nonnull(strstr(x, "f02:1\n"));
	ck_assert_ptr_null(strstr(x, "f08:"));
	free(x);
	free(y);
	kit_free(a);
	kit_free(b);
}
END_TEST

START_TEST(test_changes_that_cannot_be_joined_are_served_from_the_beginning)
{
	struct kit *kit = kit_new();
	struct change_page *page;
	kit_put(kit, "a", "x", 5);
	kit_put(kit, "b", "x", 5);
	kit_remove(kit, "a");
	uint64_t epoch = head_of(kit).epoch;
	ck_assert_int_eq(catalog_changes(kit->catalog, KIT_ASK(kit->self, epoch, 2, 9), &page),
			 P2P_OK);
	ck_assert(!page->is_reset);
	ck_assert_uint_eq(page->count, 1);
	ck_assert(page->items[0].is_removed);
	ck_assert_uint_eq(page->through, 3);
	change_page_free(page);
	ck_assert_int_eq(catalog_changes(kit->catalog, KIT_ASK(kit->self, epoch, 3, 9), &page),
			 P2P_OK);
	ck_assert(!page->is_reset);
	ck_assert_uint_eq(page->count, 0);
	change_page_free(page);
	for (int i = 0; i < 2; i++) {
		uint64_t since = i ? 1 : 4;
		ck_assert_int_eq(catalog_changes(kit->catalog,
						 KIT_ASK(kit->self, epoch + (uint64_t)i, since, 1),
						 &page),
				 P2P_OK);
		ck_assert(page->is_reset);
		ck_assert_uint_eq(page->since, 0);
		ck_assert_uint_eq(page->count, 1);
		ck_assert_uint_eq(page->through, 2);
		ck_assert_uint_eq(page->file_count, 1);
		change_page_free(page);
	}
	ck_assert_int_eq(catalog_changes(kit->catalog, KIT_ASK(kit_peer("?"), 1, 0, 1), &page),
			 P2P_NOT_FOUND);
	kit_free(kit);
}
END_TEST

/* --- searching --- */

static void
check_search(struct kit *kit, enum catalog_match match, const char *text, bool local_only,
	     const char *want)
{
	for (uint32_t limit = 1; limit < 8; limit += 3) {
		char *found = kit_search(kit, match, text, local_only, limit);
		ck_assert_str_eq(found, want);
		free(found);
	}
}

START_TEST(test_searches_find_what_fits_and_nothing_else)
{
	struct kit *kit = kit_new();
	const char *b = kit_peer("b"), *c = kit_peer("c");
	kit_put(kit, "dir/One_a", "x", 5);
	kit_put(kit, "dir/two%", "y", 5);
	kit_put(kit, "dir", "y", 5);
	kit_put(kit, "dir0", "y", 5);
	kit_give_one(kit, b, 1, "dir/One_a", "x", 5);
	kit_give_one(kit, b, 2, "dir/OneXa", "x", 5);
	kit_give_one(kit, b, 3, "two%", "z", 5);
	kit_give_one(kit, c, 1, "dir/One_a", "other", 5);
	kit_give_one(kit, c, 2, "a[b]*", "other", 5);
	kit_give_one(kit, c, 3, "back\\slash", "other", 5);

	check_search(kit, CATALOG_SUBSTRING, "one_A", false, "dir/One_a:2*\ndir/One_a:1\n");
	check_search(kit, CATALOG_SUBSTRING, "%", false, "two%:1\ndir/two%:1*\n");
	check_search(kit, CATALOG_SUBSTRING, "\\", false, "back\\slash:1\n");
	check_search(kit, CATALOG_SUBSTRING, "nowhere", false, "");
	check_search(kit, CATALOG_GLOB, "dir/*", true, "dir/two%:1*\ndir/One_a:2*\n");
	check_search(kit, CATALOG_GLOB, "*[[]b]?", false, "a[b]*:1\n");
	check_search(kit, CATALOG_GLOB, "DIR*", false, "");
	check_search(kit, CATALOG_GLOB, "two%", false, "two%:1\n");
	check_search(kit, CATALOG_EXACT, "two%", false, "two%:1\n");
	check_search(kit, CATALOG_EXACT, "dir", false, "dir:1*\n");
	check_search(kit, CATALOG_EXACT, "", false, "");
	check_search(kit, CATALOG_UNDER, "dir", true, "dir/One_a:2*\ndir/two%:1*\n");
	check_search(kit, CATALOG_UNDER, "dir/", true, "dir/One_a:2*\ndir/two%:1*\n");
	check_search(kit, CATALOG_UNDER, "", true, "dir:1*\ndir/One_a:2*\ndir/two%:1*\ndir0:1*\n");
	kit_free(kit);
}
END_TEST

static bool
take_one(void *arg, const struct catalog_found *found)
{
	snprintf(arg, NAME_SIZE, "%s", found->name);
	return false;
}

START_TEST(test_cursors_survive_changes_and_damaged_ones_are_refused)
{
	struct kit *kit = kit_new();
	char cursor[CATALOG_CURSOR_SIZE] = "untouched", name[NAME_SIZE], longest[NAME_SIZE];
	memset(longest, 'm', NAME_MAX_BYTES);
	for (size_t i = 200; i < NAME_MAX_BYTES; i += 200)
		longest[i] = '/';
	longest[NAME_MAX_BYTES] = '\0';
	kit_put(kit, longest, "x", 5);
	kit_put(kit, "n", "x", 5);
	kit_put(kit, "o", "x", 5);
	struct catalog_query query = { .match = CATALOG_SUBSTRING, .text = "", .limit = 9 };
	ck_assert_int_eq(catalog_search(kit->catalog, &query, take_one, name, cursor, NULL), 0);
	ck_assert_str_eq(name, longest);
	kit_remove(kit, longest);
	kit_remove(kit, "n");
	char at[CATALOG_CURSOR_SIZE];
	strcpy(at, cursor);
	query.cursor = at;
	ck_assert_int_eq(catalog_search(kit->catalog, &query, take_one, name, cursor, NULL), 0);
	ck_assert_str_eq(name, "o");

	struct error err;
	static const char *const bad[] = { "x", "00", "zz" };
	for (size_t i = 0; i < 3 + 4; i++) {
		if (i < 3)
			strcpy(at, bad[i]);
		else
			strcpy(at, cursor), at[(i - 3) * 26] = i % 2 ? 'x' : '\0';
		if (at[0] == '\0')
			continue;
		ck_assert_msg(catalog_search(kit->catalog, &query, take_one, name, cursor, &err) ==
				  P2P_BAD_REQUEST,
			      "cursor %zu", i);
	}
	query.cursor = NULL;
	query.limit = CATALOG_PAGE_MAX + 1;
	ck_assert_int_eq(catalog_search(kit->catalog, &query, take_one, name, cursor, &err),
			 P2P_BAD_REQUEST);
	kit_free(kit);
}
END_TEST

static bool
add_name(void *arg, const struct catalog_found *found)
{
	buf_addf(arg, "%s:%u ", found->name, found->holder_count);
	return true;
}

static void
add_holder(void *arg, const char *peer)
{
	buf_addf(arg, "%s ", peer);
}

START_TEST(test_a_root_is_found_by_its_prefix_and_its_holders_are_listed)
{
	struct kit *kit = kit_new();
	const char *b = kit_peer("b"), *c = kit_peer("c");
	struct content_id x = kit_content("x", 5);
	char hex[DIGEST_HEX_SIZE];
	digest_hex(&x.root, hex);
	kit_put(kit, "q", "x", 5);
	kit_give_one(kit, b, 1, "q", "x", 5);
	kit_give_one(kit, b, 2, "p", "x", 5);
	kit_give_one(kit, b, 3, "other", "y", 5);
	kit_give_one(kit, c, 1, "longer", "x", 6);
	struct buf buf;
	buf_init(&buf, 10000);
	for (int len = 2 * DIGEST_BYTES; len >= CATALOG_ID_PREFIX_MIN; len -= 28) {
		hex[len] = '\0';
		buf_reset(&buf);
		ck_assert_int_eq(catalog_find_root(kit->catalog, hex, 10, add_name, &buf), P2P_OK);
		ck_assert_str_eq(buf.data, "q:2 p:1 longer:1 ");
		hex[0] = hex[0] >= 'a' ? (char)(hex[0] - 'a' + 'A') : hex[0];
	}
	ck_assert_int_eq(catalog_find_root(kit->catalog, "1234567", 10, add_name, &buf),
			 P2P_BAD_REQUEST);
	ck_assert_int_eq(catalog_find_root(kit->catalog, "1234567g", 10, add_name, &buf),
			 P2P_BAD_REQUEST);
	buf_reset(&buf);
	ck_assert_int_eq(catalog_holders(kit->catalog, &x, add_holder, &buf), P2P_OK);
	ck_assert_uint_eq(buf.len, PEER_ID_SIZE);
	ck_assert_int_eq(strncmp(buf.data, b, PEER_ID_SIZE - 1), 0);
	buf_fini(&buf);
	kit_free(kit);
}
END_TEST

/* --- fetches, batches --- */

static void
add_item(void *arg, uint64_t fetch, const char *what, bool replace, const struct catalog_rank *rank,
	 const struct catalog_fetch_item *item)
{
	buf_addf(arg, "%llu %s%s %s %llu", (unsigned long long)fetch, what, replace ? "!" : "",
		 item->name, (unsigned long long)item->content.size_bytes);
	if (rank->priority != 0 || rank->front != 0)
		buf_addf(arg, " %d/%lld", rank->priority, (long long)rank->front);
	buf_adds(arg, ";");
}

static void
check_fetches(struct kit *kit, const char *want)
{
	struct buf buf;
	buf_init(&buf, 10000);
	buf_adds(&buf, "");
	ck_assert_int_eq(catalog_fetches(kit->catalog, add_item, &buf), P2P_OK);
	ck_assert_str_eq(buf.data, want);
	buf_fini(&buf);
}

START_TEST(test_the_rank_of_a_fetch_survives_a_restart)
{
	struct kit *kit = kit_new();
	struct catalog_fetch_item item = { .name = "z", .content = kit_content("x", 5) };
	struct catalog_batch *batch = catalog_batch_new();
	catalog_batch_fetch(batch, 3, "one", false, &item, 1);
	catalog_batch_fetch_rank(batch, 3, &(struct catalog_rank){ .priority = 1 });
	catalog_batch_fetch(batch, 4, "two", false, &item, 1);
	catalog_batch_fetch_rank(batch, 5, &(struct catalog_rank){ .priority = 1 });
	ck_assert_int_eq(kit_commit(kit, batch), P2P_OK);
	batch = catalog_batch_new();
	catalog_batch_fetch_rank(batch, 4, &(struct catalog_rank){ .priority = -1, .front = 7 });
	ck_assert_int_eq(kit_commit(kit, batch), P2P_OK);
	kit_reopen(kit);
	check_fetches(kit, "3 one z 5 1/0;4 two z 5 -1/7;");
	kit_free(kit);
}
END_TEST

/* Of version 1: check_catalog_search. */
START_TEST(test_a_catalog_of_version_2_is_brought_up_to_date)
{
	static const char to_version_2[] =
	    "ALTER TABLE fetch DROP COLUMN priority;"
	    "ALTER TABLE fetch DROP COLUMN front;"
	    "DROP TABLE making;"
	    "ALTER TABLE peer DROP COLUMN floor; ALTER TABLE peer DROP COLUMN name_bytes;"
	    "PRAGMA user_version=2";
	struct kit *kit = kit_new();
	struct catalog_fetch_item item = { .name = "z", .content = kit_content("x", 5) };
	struct catalog_batch *batch = catalog_batch_new();
	char path[300];
	sqlite3 *db;
	catalog_batch_fetch(batch, 3, "one", true, &item, 1);
	ck_assert_int_eq(kit_commit(kit, batch), P2P_OK);
	ck_assert_int_eq(kit_put(kit, "kept", "content", 9), P2P_OK);
	kit_close(kit);
	snprintf(path, sizeof(path), "%s/catalog.db", kit->dir);
	ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
	ck_assert_int_eq(sqlite3_exec(db, to_version_2, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
	kit_open(kit, NULL);
	ck_assert_ptr_nonnull(kit->catalog);
	ck_assert_msg(kit->note == NULL, "%s", kit->note);
	check_fetches(kit, "3 one! z 5;");
	struct catalog_local file;
	ck_assert_int_eq(catalog_find_local(kit->catalog, "kept", &file), P2P_OK);
	batch = catalog_batch_new();
	catalog_batch_fetch_rank(batch, 3, &(struct catalog_rank){ .priority = 1 });
	ck_assert_int_eq(kit_commit(kit, batch), P2P_OK);
	kit_reopen(kit);
	ck_assert_ptr_null(kit->note);
	check_fetches(kit, "3 one! z 5 1/0;");
	kit_free(kit);
}
END_TEST

START_TEST(test_fetches_survive_a_restart_without_what_is_done)
{
	struct kit *kit = kit_new();
	struct catalog_fetch_item items[] = {
		{ .name = "z", .content = kit_content("x", 5), .mtime_ns = 1, .mode = 0600 },
		{ .name = "a", .content = kit_content("y", 6), .mtime_ns = 1, .mode = 0600 },
	};
	struct catalog_batch *batch = catalog_batch_new();
	catalog_batch_fetch(batch, 9, "dir", true, items, 2);
	catalog_batch_fetch(batch, 3, "one", false, items, 1);
	ck_assert_int_eq(kit_commit(kit, batch), P2P_OK);
	kit_reopen(kit);
	check_fetches(kit, "3 one z 5;9 dir! z 5;9 dir! a 6;");
	batch = catalog_batch_new();
	catalog_batch_fetch_item_done(batch, 9, "z");
	catalog_batch_fetch_done(batch, 3);
	ck_assert_int_eq(kit_commit(kit, batch), P2P_OK);
	kit_reopen(kit);
	check_fetches(kit, "9 dir! a 6;");
	kit_free(kit);
}
END_TEST

static void
add_directory(void *arg, const char *directory)
{
	buf_addf(arg, "%s;", directory);
}

static void
check_making(struct kit *kit, uint64_t fetch, const char *before, size_t limit, const char *want)
{
	struct catalog_view *view = catalog_view_new(kit->catalog);
	struct buf buf;
	buf_init(&buf, 1000);
	buf_adds(&buf, "");
	ck_assert_int_eq(catalog_view_making(view, fetch, before, limit, add_directory, &buf), 0);
	ck_assert_str_eq(buf.data, want);
	buf_fini(&buf);
	catalog_view_free(view);
}

START_TEST(test_directories_that_a_fetch_makes_are_known_until_it_is_done)
{
	struct kit *kit = kit_new();
	struct catalog_fetch_item item = { .name = "z", .content = kit_content("x", 5) };
	struct catalog_batch *batch = catalog_batch_new();
	catalog_batch_fetch(batch, 3, "one", false, &item, 1);
	catalog_batch_fetch(batch, 4, "two", false, &item, 1);
	catalog_batch_making(batch, 3, "a");
	catalog_batch_making(batch, 3, "a/b");
	catalog_batch_making(batch, 3, "a/b"); /* by another batch of it */
	catalog_batch_making(batch, 3, "c");
	catalog_batch_making(batch, 4, "a");
	catalog_batch_making(batch, 9, "gone"); /* of a fetch that is not there any more */
	ck_assert_int_eq(kit_commit(kit, batch), P2P_OK);
	kit_reopen(kit);
	check_making(kit, 3, NULL, 10, "c;a/b;a;");
	check_making(kit, 3, NULL, 2, "c;a/b;");
	check_making(kit, 3, "a/b", 2, "a;");
	check_making(kit, 9, NULL, 2, "");
	batch = catalog_batch_new();
	catalog_batch_fetch_done(batch, 3);
	ck_assert_int_eq(kit_commit(kit, batch), P2P_OK);
	check_making(kit, 3, NULL, 10, "");
	struct catalog_view *view = catalog_view_new(kit->catalog);
	ck_assert(catalog_view_is_making(view, "a"));
	ck_assert(!catalog_view_is_making(view, "a/b"));
	ck_assert(!catalog_view_is_making(view, "gone"));
	catalog_view_free(view);
	kit_free(kit);
}
END_TEST

struct order {
	int codes[64];
	size_t count;
};

static void
note_order(void *arg, int code)
{
	struct order *order = arg;
	order->codes[order->count++] = code;
}

START_TEST(test_a_bad_batch_fails_alone_and_completions_keep_their_order)
{
	struct kit *kit = kit_new();
	struct order order = { .count = 0 };
	for (int i = 0; i < 64; i++) {
		struct catalog_batch *batch = catalog_batch_new();
		struct catalog_local file = kit_file("x", 1);
		char name[32];
		snprintf(name, sizeof(name), "f%d", i);
		catalog_batch_put(batch, name, &file, NULL, 0);
		if (i % 5 == 0) /* undoes the put as well */
			catalog_batch_page(batch, kit_page(kit_peer("b"), 7, 99));
		catalog_submit(kit->catalog, batch, note_order, &order);
	}
	catalog_free(kit->catalog);
	kit->catalog = NULL;
	while (order.count < 64)
		loop_turn(kit->loop, 10);
	for (int i = 0; i < 64; i++)
		ck_assert_int_eq(order.codes[i], i % 5 == 0 ? P2P_CONFLICT : P2P_OK);
	kit_open(kit, NULL);
	ck_assert_uint_eq(head_of(kit).seq, 64 - 13);
	ck_assert_uint_eq(head_of(kit).file_count, 64 - 13);
	kit_free(kit);
}
END_TEST

/* --- pages together --- */

#define WAITING 12 /* pages */

/* The page of seqs from 10 * n + 1 on: names come again and again, and some are removed again. */
static struct change_page *
crossing_page(int n)
{
	struct change_page *page = kit_page(kit_peer("b"), 7, (uint64_t)(10 * n));
	for (uint64_t seq = page->since + 1; seq <= page->since + 10; seq++) {
		char name[32], seed[32];
		snprintf(name, sizeof(name), "n%llu", (unsigned long long)(seq * 7 % 37));
		snprintf(seed, sizeof(seed), "s%llu", (unsigned long long)(seq * 31 % 101));
		kit_page_add(page, seq, name, seq % 5 == 0 ? NULL : seed, seq);
	}
	page->head = 10 * WAITING;
	return page;
}

/* All that is known of the peer. */
static char *
describe_peer(struct kit *kit)
{
	struct change_page *page;
	struct buf text;
	buf_init(&text, 1 << 20);
	ck_assert_int_eq(
	    catalog_changes(kit->catalog, KIT_ASK(kit_peer("b"), 7, 0, CHANGE_PAGE_MAX), &page),
	    P2P_OK);
	buf_addf(&text, "%llu %llu %llu %llu\n", (unsigned long long)page->epoch,
		 (unsigned long long)page->head, (unsigned long long)page->file_count,
		 (unsigned long long)page->byte_count);
	for (size_t i = 0; i < page->count; i++) {
		const struct change *change = &page->items[i];
		char root[DIGEST_HEX_SIZE];
		digest_hex(&change->content.root, root);
		buf_addf(&text, "%llu %s %d %llu %s\n", (unsigned long long)change->seq,
			 change->name, change->is_removed,
			 (unsigned long long)change->content.size_bytes, root);
	}
	change_page_free(page);
	return buf_give(&text);
}

/* Keeps the scribe busy, and so what comes behind waits together. */
static void
occupy(struct kit *kit)
{
	struct catalog_batch *batch = catalog_batch_new();
	for (int i = 0; i < 4000; i++) {
		struct catalog_local file = kit_file("x", 1);
		char name[32];
		snprintf(name, sizeof(name), "own%d", i);
		catalog_batch_put(batch, name, &file, NULL, 0);
	}
	catalog_submit(kit->catalog, batch, NULL, NULL);
}

static void
submit_waiting(struct kit *kit, struct order *order, int bad)
{
	occupy(kit);
	for (int n = 0; n < WAITING; n++) {
		struct catalog_batch *batch = catalog_batch_new();
		struct change_page *page = crossing_page(n);
		if (n == bad)
			page->items[3].mode = 07777;
		catalog_batch_page(batch, page);
		catalog_submit(kit->catalog, batch, note_order, order);
	}
	while (order->count < WAITING)
		loop_turn(kit->loop, 10);
}

START_TEST(test_pages_that_waited_together_come_to_the_same_as_one_by_one)
{
	struct kit *together = kit_new(), *alone = kit_new();
	struct order order = { .count = 0 };
	submit_waiting(together, &order, -1);
	for (int n = 0; n < WAITING; n++) {
		ck_assert_int_eq(order.codes[n], P2P_OK);
		ck_assert_int_eq(kit_give(alone, crossing_page(n)), P2P_OK);
	}
	char *one = describe_peer(together), *other = describe_peer(alone);
	ck_assert_str_eq(one, other);
	free(one);
	free(other);
	kit_free(together);
	kit_free(alone);
}
END_TEST

START_TEST(test_of_pages_that_waited_together_those_before_a_bad_one_count)
{
	struct kit *kit = kit_new(), *alone = kit_new();
	struct order order = { .count = 0 };
	submit_waiting(kit, &order, 7);
	for (int n = 0; n < WAITING; n++)
		ck_assert_int_eq(order.codes[n], n < 7    ? P2P_OK
						 : n == 7 ? P2P_BAD_ANSWER
							  : P2P_CONFLICT);
	for (int n = 0; n < 7; n++)
		ck_assert_int_eq(kit_give(alone, crossing_page(n)), P2P_OK);
	char *one = describe_peer(kit), *other = describe_peer(alone);
	ck_assert_str_eq(one, other);
	free(one);
	free(other);
	kit_free(kit);
	kit_free(alone);
}
END_TEST

/* --- threads --- */

struct reading {
	struct kit *kit;
	atomic_bool stop;
	atomic_uint reads;
};

static void *
read_on(void *arg)
{
	struct reading *reading = arg;
	struct catalog *catalog = reading->kit->catalog;
	while (!atomic_load(&reading->stop)) {
		struct catalog_local file;
		struct catalog_head head;
		struct change_page *page;
		ck_assert_int_le(catalog_find_local(catalog, "f7", &file), P2P_OK);
		catalog_head(catalog, &head);
		/* Each commit puts or removes exactly one file of 3 bytes. */
		ck_assert_uint_eq(head.byte_count, 3 * head.file_count);
		ck_assert_int_eq(
		    catalog_changes(catalog, KIT_ASK(reading->kit->self, head.epoch, head.seq, 10),
				    &page),
		    P2P_OK);
		ck_assert(!page->is_reset);
		change_page_free(page);
		free(kit_search(reading->kit, CATALOG_GLOB, "f*", true, 3));
		atomic_fetch_add(&reading->reads, 1);
	}
	return NULL;
}

START_TEST(test_any_number_of_threads_read_while_the_scribe_writes)
{
	struct kit *kit = kit_new();
	struct reading reading = { .kit = kit };
	pthread_t threads[12];
	for (size_t i = 0; i < 12; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, read_on, &reading), 0);
	for (int i = 0; i < 200 || atomic_load(&reading.reads) < 50; i++) {
		char name[32];
		snprintf(name, sizeof(name), "f%d", i % 10);
		kit_clear(kit);
		ck_assert_int_eq(i / 10 % 2 ? kit_remove(kit, name) : kit_put(kit, name, "x", 3),
				 P2P_OK);
	}
	atomic_store(&reading.stop, true);
	for (size_t i = 0; i < 12; i++)
		pthread_join(threads[i], NULL);
	kit_free(kit);
}
END_TEST

static Suite *
suite(void)
{
	Suite *suite = suite_create("catalog");
	TCase *tcase = tcase_create("all");
	tcase_set_timeout(tcase, 300);
	tcase_add_test(tcase, test_a_new_catalog_is_empty_and_has_an_epoch);
	tcase_add_test(tcase, test_a_file_comes_back_as_it_was_put_after_a_restart_too);
	tcase_add_test(tcase, test_the_same_file_again_only_renews_its_signature);
	tcase_add_test(tcase, test_adding_changing_and_removing_is_told);
	tcase_add_test(tcase, test_many_changes_are_told_up_to_the_limit);
	tcase_add_test(tcase, test_a_layer_lives_as_long_as_some_file_has_the_content);
	tcase_add_test(tcase, test_the_layer_of_one_piece_is_the_root);
	tcase_add_test(tcase, test_a_content_is_size_and_root);
	tcase_add_test(tcase, test_a_scan_goes_by_bytes_beneath_a_prefix_in_one_view);
	tcase_add_test(tcase, test_pages_follow_one_another_and_may_come_twice);
	tcase_add_test(tcase, test_a_gap_is_a_conflict_and_changes_nothing);
	tcase_add_test(tcase, test_a_reset_or_another_epoch_replaces_the_peers_entries_only);
	tcase_add_test(tcase, test_a_page_that_makes_no_sense_is_refused_as_a_whole);
	if (!IS_SLOW)
		tcase_add_test(tcase, test_sizes_that_add_up_to_nonsense_are_refused);
	tcase_add_test(tcase, test_a_peer_and_all_peers_together_have_so_many_files_and_no_more);
	tcase_add_test(tcase, test_the_names_of_a_peer_have_so_many_bytes_and_no_more);
	tcase_add_test(tcase, test_peers_are_remembered_over_restarts_and_forgotten_when_told);
	tcase_add_test(tcase, test_a_pulled_catalog_equals_the_original_with_its_tombstones);
	tcase_add_test(tcase, test_changes_that_cannot_be_joined_are_served_from_the_beginning);
	tcase_add_test(tcase, test_searches_find_what_fits_and_nothing_else);
	tcase_add_test(tcase, test_cursors_survive_changes_and_damaged_ones_are_refused);
	tcase_add_test(tcase, test_a_root_is_found_by_its_prefix_and_its_holders_are_listed);
	tcase_add_test(tcase, test_fetches_survive_a_restart_without_what_is_done);
	tcase_add_test(tcase, test_the_rank_of_a_fetch_survives_a_restart);
	tcase_add_test(tcase, test_a_catalog_of_version_2_is_brought_up_to_date);
	tcase_add_test(tcase, test_directories_that_a_fetch_makes_are_known_until_it_is_done);
	tcase_add_test(tcase, test_a_bad_batch_fails_alone_and_completions_keep_their_order);
	tcase_add_test(tcase, test_pages_that_waited_together_come_to_the_same_as_one_by_one);
	tcase_add_test(tcase, test_of_pages_that_waited_together_those_before_a_bad_one_count);
	tcase_add_test(tcase, test_any_number_of_threads_read_while_the_scribe_writes);
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
