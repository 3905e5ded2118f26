/* SPDX-License-Identifier: MIT
 *
 * peers_sim_catalog.c - the catalogs of simulated peers, and what should stand in them.
 *
 * A catalog is the daemon's own, on a file of its own, with two differences.  Its scribe is no thread but a timer: what the thread
 * would write is written when the time has come that a disk takes for it, by the same functions (catalog_write.c).  And a sync does
 * nothing: what a disk would take is part of that time.
 *
 * Beside each catalog there is the truth about the files of its peer, which nobody reads but who compares.  All that a catalog has
 * of a peer is asked for in the way in which other peers ask for it.
 */
#include "peers_sim_catalog.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "catalog_db.h"
#include "mem.h"
#include "peers_sim_clock.h"

#define SYNC_MS   5    /* until a group of batches is committed */
#define REST_MS   1000 /* as the scribe's thread */
#define LOG_PAGES 256  /* a thousand logs of 16 MiB, the daemon's, would take 16 GiB */

/* --- the disk and the scribe, in the place of the daemon's --- */

int
fsync(int fd)
{
	(void)fd;
	return 0;
}

int
fdatasync(int fd)
{
	(void)fd;
	return 0;
}

static void
begin_writing(struct loop *loop)
{
	loop->is_writing = true;
	loop_timer_start(loop->scribe, SYNC_MS);
}

/* What waits has been written, as of now; or nothing has come for long enough. */
static void
on_scribe(void *arg)
{
	struct catalog *catalog = arg;
	struct loop *loop = catalog->loop;

	loop->is_writing = false;
	if (!write_waiting(catalog)) {
		sqlite3_db_release_memory(catalog->writer->handle);
		return;
	}
	if (catalog->first != NULL) {
		begin_writing(loop);
		return;
	}
	while (write_chores(catalog))
		;
	loop_timer_start(loop->scribe, REST_MS);
}

int
scribe_start(struct catalog *catalog)
{
	sqlite3_wal_autocheckpoint(catalog->writer->handle, LOG_PAGES);
	catalog->loop->scribe = loop_timer_new(catalog->loop, on_scribe, catalog);
	catalog->loop->is_writing = false;
	return 0;
}

void
scribe_wake(struct catalog *catalog)
{
	if (!catalog->loop->is_writing)
		begin_writing(catalog->loop);
}

void
scribe_end(struct catalog *catalog)
{
	while (write_waiting(catalog))
		;
	loop_timer_free(catalog->loop->scribe);
	catalog->loop->scribe = NULL;
}

/* --- files --- */

static void
write_file(struct sim_file *file, uint64_t content)
{
	struct catalog_local *is = &file->is;

	*is = (struct catalog_local){ .mtime_ns = 1700000000000000000 + (int64_t)(content >> 8),
				      .mode = 0644 };
	is->content.size_bytes = 1 + content % 16384; /* of one leaf: no layer */
	for (size_t i = 0; i < DIGEST_BYTES; i++)
		is->content.root.bytes[i] =
		    (unsigned char)((content + i) * 0x9e3779b97f4a7c15u >> 56);
	is->sig.size_bytes = is->content.size_bytes;
}

static void
put(struct catalog_batch *batch, struct sim_share *share, const struct sim_file *file)
{
	share->seq++;
	catalog_batch_put(batch, file->name, &file->is, NULL, 0);
}

/* The number of the change is part of the name: none comes twice. */
static struct sim_file *
add_file(struct sim_share *share, size_t index)
{
	struct sim_file *file = &share->files[share->count++];

	snprintf(file->name, sizeof(file->name), "host-%zu/results/run-%llu.csv", index,
		 (unsigned long long)share->seq);
	return file;
}

void
sim_share_fill(struct sim_share *share, struct catalog *catalog, size_t index, size_t count)
{
	struct catalog_batch *batch = catalog_batch_new();

	while (share->count < count) {
		struct sim_file *file = add_file(share, index);
		bool is_everybodys = share->count == 1;

		if (is_everybodys)
			snprintf(file->name, sizeof(file->name), "shared/readme.txt");
		write_file(file, is_everybodys ? 1 : 1000 * index + share->count);
		put(batch, share, file);
	}
	catalog_submit(catalog, batch, NULL, NULL);
}

void
sim_share_change(struct sim_share *share, struct catalog *catalog, size_t index, uint64_t random)
{
	struct catalog_batch *batch = catalog_batch_new();
	struct sim_file *file = &share->files[random / 3 % share->count];

	if (random % 3 == 0 && share->count > 1) {
		catalog_batch_remove(batch, file->name);
		*file = share->files[--share->count];
		share->seq++;
	} else {
		if (random % 3 == 1 && share->count < SIM_FILES_MAX)
			file = add_file(share, index);
		write_file(file, random);
		put(batch, share, file);
	}
	catalog_submit(catalog, batch, NULL, NULL);
}

/* --- comparing --- */

static bool
has_file(const struct sim_share *share, const struct change *change)
{
	for (size_t i = 0; i < share->count; i++) {
		const struct sim_file *file = &share->files[i];

		if (strcmp(file->name, change->name) == 0)
			return content_equal(&file->is.content, &change->content) &&
			       file->is.mtime_ns == change->mtime_ns &&
			       file->is.mode == change->mode;
	}
	return false;
}

static bool
is_all_of(const struct sim_share *share, const struct change_page *page)
{
	size_t live = 0;

	for (size_t i = 0; i < page->count; i++) {
		const struct change *change = &page->items[i];

		if (change->is_removed)
			continue;
		live++;
		if (!has_file(share, change))
			return false;
	}
	/* Names are unique in both: as many, and each of them found, are the same. */
	return live == share->count && page->file_count == share->count &&
	       page->head == share->seq && page->through == page->head;
}

bool
sim_share_is_known(const struct sim_share *share, struct catalog *catalog, const char *id)
{
	struct change_question question = { .peer = id, .limit = CHANGE_PAGE_MAX };
	struct change_page *page;

	if (catalog_changes(catalog, &question, &page) != P2P_OK)
		return false;
	bool is_known = is_all_of(share, page);

	change_page_free(page);
	return is_known;
}

/* --- room --- */

static uint64_t
ask(struct db *db, int what)
{
	int now = 0, most;

	ck_assert_int_eq(sqlite3_db_status(db->handle, what, &now, &most, 0), SQLITE_OK);
	return (uint64_t)now;
}

static void
add_connection(struct sim_room *room, struct db *db)
{
	room->cache += ask(db, SQLITE_DBSTATUS_CACHE_USED);
	room->schema += ask(db, SQLITE_DBSTATUS_SCHEMA_USED);
	room->statements += ask(db, SQLITE_DBSTATUS_STMT_USED);
}

static uint64_t
size_of(const char *path, const char *suffix)
{
	char *name = mem_format("%s%s", path, suffix);
	struct stat st;
	uint64_t bytes = stat(name, &st) == 0 ? (uint64_t)st.st_size : 0;

	free(name);
	return bytes;
}

void
sim_room_add(struct sim_room *room, struct catalog *catalog)
{
	add_connection(room, catalog->writer);
	for (struct db *reader = catalog->idle; reader != NULL; reader = reader->next)
		add_connection(room, reader);
	room->disk += size_of(catalog->site.path, "") + size_of(catalog->site.path, "-wal");
}
