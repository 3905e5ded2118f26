/* SPDX-License-Identifier: MIT
 *
 * catalog_kit.c - see catalog_kit.h.  What cannot fail in a test that is right, fails the test
 * here.
 */
#include "catalog_kit.h"

#include <check.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "buf.h"
#include "clock.h"
#include "mem.h"

#define WAIT_MS 30000

/* --- life cycle --- */

static void
on_commit(void *arg, const struct catalog_commit *commit)
{
	struct kit *kit = arg;
	kit->commits++;
	kit->wall_ms = commit->wall_ms;
	kit->cuts += commit->is_cut;
	kit->ours += commit->is_ours;
	snprintf(kit->cut_peer, sizeof(kit->cut_peer), "%s",
		 commit->cut_peer ? commit->cut_peer : "");
	for (size_t i = 0; i < commit->count; i++) {
		ck_assert_uint_lt(kit->told_count, KIT_TOLD_MAX);
		struct kit_told *told = &kit->told[kit->told_count++];
		told->kind = commit->told[i].kind;
		told->content = commit->told[i].content;
		snprintf(told->peer, sizeof(told->peer), "%s", commit->told[i].peer);
		snprintf(told->name, sizeof(told->name), "%s", commit->told[i].name);
	}
}

void
kit_open(struct kit *kit, struct error *err)
{
	free(kit->note);
	kit->note = NULL;
	kit->catalog = catalog_new(kit->loop, kit->dir, kit->self, &kit->note, err);
	if (kit->catalog != NULL)
		catalog_on_commit(kit->catalog, on_commit, kit);
}

struct kit *
kit_new_at(const char *dir)
{
	struct kit *kit = mem_zero(1, sizeof(*kit));
	struct error err = { 0 };
	snprintf(kit->dir, sizeof(kit->dir), "%s", dir);
	snprintf(kit->self, sizeof(kit->self), "%s", kit_peer("self"));
	kit->loop = loop_new(NULL);
	ck_assert_ptr_nonnull(kit->loop);
	kit_open(kit, &err);
	ck_assert_msg(kit->catalog != NULL, "%s", err.text);
	return kit;
}

struct kit *
kit_new(void)
{
	const char *tmp = getenv("TMPDIR");
	char dir[200];
	snprintf(dir, sizeof(dir), "%s/catalog-XXXXXX", tmp ? tmp : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	return kit_new_at(dir);
}

void
kit_close(struct kit *kit)
{
	catalog_free(kit->catalog);
	kit->catalog = NULL;
	loop_turn(kit->loop, 0);
}

void
kit_reopen(struct kit *kit)
{
	struct error err = { 0 };
	kit_close(kit);
	kit_open(kit, &err);
	ck_assert_msg(kit->catalog != NULL, "%s", err.text);
}

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

void
kit_remove_tree(const char *dir)
{
	nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

void
kit_free(struct kit *kit)
{
	kit_close(kit);
	loop_free(kit->loop);
	kit_remove_tree(kit->dir);
	free(kit->note);
	free(kit);
}

void
kit_clear(struct kit *kit)
{
	kit->told_count = kit->commits = kit->cuts = kit->ours = 0;
	kit->cut_peer[0] = '\0';
}

/* --- writing --- */

static void
note_code(void *arg, int code)
{
	*(int *)arg = code;
}

int
kit_commit(struct kit *kit, struct catalog_batch *batch)
{
	int code = 1;
	uint64_t end = clock_ms() + WAIT_MS;
	catalog_submit(kit->catalog, batch, note_code, &code);
	while (code == 1 && clock_ms() < end)
		loop_turn(kit->loop, 100);
	ck_assert_int_le(code, 0);
	return code;
}

const char *
kit_peer(const char *seed)
{
	static char ids[8][PEER_ID_SIZE];
	static unsigned next;
	struct digest digest;
	hasher_digest(hasher_mine(), seed, strlen(seed), &digest);
	char *id = ids[next++ % 8];
	digest_base32(&digest, id);
	return id;
}

struct content_id
kit_content(const char *seed, uint64_t size_bytes)
{
	struct content_id content = { .size_bytes = size_bytes };
	hasher_digest(hasher_mine(), seed, strlen(seed), &content.root);
	return content;
}

struct catalog_local
kit_file(const char *seed, uint64_t size_bytes)
{
	return (struct catalog_local){
		.content = kit_content(seed, size_bytes),
		.sig = { size_bytes, -5, INT64_MAX, UINT64_MAX, 1ull << 63 },
		.mtime_ns = -5,
		.mode = 0644,
	};
}

int
kit_put(struct kit *kit, const char *name, const char *seed, uint64_t size_bytes)
{
	struct catalog_batch *batch = catalog_batch_new();
	struct catalog_local file = kit_file(seed, size_bytes);
	catalog_batch_put(batch, name, &file, NULL, 0);
	return kit_commit(kit, batch);
}

int
kit_remove(struct kit *kit, const char *name)
{
	struct catalog_batch *batch = catalog_batch_new();
	catalog_batch_remove(batch, name);
	return kit_commit(kit, batch);
}

struct change_page *
kit_page(const char *peer, uint64_t epoch, uint64_t since)
{
	struct change_page *page = change_page_new();
	snprintf(page->peer, sizeof(page->peer), "%s", peer);
	page->epoch = epoch;
	page->since = page->through = page->head = since;
	return page;
}

void
kit_page_add(struct change_page *page, uint64_t seq, const char *name, const char *seed,
	     uint64_t size_bytes)
{
	struct change change = { .seq = seq, .name = (char *)name, .is_removed = seed == NULL };
	if (seed != NULL) {
		change.content = kit_content(seed, size_bytes);
		change.mtime_ns = 1000 + (int64_t)seq;
		change.mode = 0600;
	}
	ck_assert(change_page_add(page, &change));
	page->through = page->head = seq;
}

int
kit_give(struct kit *kit, struct change_page *page)
{
	struct catalog_batch *batch = catalog_batch_new();
	catalog_batch_page(batch, page);
	return kit_commit(kit, batch);
}

int
kit_give_one(struct kit *kit, const char *peer, uint64_t seq, const char *name, const char *seed,
	     uint64_t size_bytes)
{
	struct change_page *page = kit_page(peer, 7, seq - 1);
	kit_page_add(page, seq, name, seed, size_bytes);
	return kit_give(kit, page);
}

/* --- reading --- */

static bool
write_found(void *arg, const struct catalog_found *found)
{
	size_t blanks = 0;
	if (found->is_directory) {
		buf_addf(arg, "%s %llu %llu%s\n", found->name, (unsigned long long)found->files,
			 (unsigned long long)found->bytes, found->is_cut ? "+" : "");
		return true;
	}
	for (const char *p = found->holders; *p != '\0'; p++)
		blanks += *p == ' ';
	ck_assert_uint_eq(blanks, found->holder_count);
	ck_assert_uint_eq(strlen(found->holders), blanks * PEER_ID_SIZE);
	buf_addf(arg, "%s:%u%s\n", found->name, found->holder_count, found->is_local ? "*" : "");
	return true;
}

char *
kit_search(struct kit *kit, enum catalog_match match, const char *text, bool local_only,
	   uint32_t limit)
{
	struct buf buf;
	char cursor[CATALOG_CURSOR_SIZE] = "", next[CATALOG_CURSOR_SIZE];
	buf_init(&buf, 1 << 24);
	buf_adds(&buf, "");
	do {
		struct catalog_query query = {
			.match = match,
			.text = text,
			.local_only = local_only,
			.limit = limit,
			.cursor = cursor,
		};
		ck_assert_int_eq(
		    catalog_search(kit->catalog, &query, write_found, &buf, next, NULL), P2P_OK);
		memcpy(cursor, next, sizeof(cursor));
	} while (cursor[0] != '\0');
	return buf_give(&buf);
}
