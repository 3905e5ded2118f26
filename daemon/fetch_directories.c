/* SPDX-License-Identifier: MIT
 *
 * fetch_directories.c - the directories that a fetch makes in the share get the attributes of the original.
 *
 * Which they are is noted before they are made: where a file is looked at (on the pool) those above
 * it that are not there are put into the catalog, under the fetch's number.  So it is known after a
 * restart, too, and a directory that was there before the fetch is never touched.
 *
 * They come with the names of files and get their attributes after the last of these has its own,
 * since each file that is put into a directory changes its time.  Then the fetch takes its notes,
 * DIRECTORIES_MAX by DIRECTORIES_MAX in descending order, so that what lies deeper comes first; asks
 * who has these trees (directories.c); and sets what was told (on the pool).  It ends when that is
 * done, whether anybody told anything or not.
 *
 * The notes go to the scribe without waiting for him: he writes them in the time in which the bytes
 * are asked for.  A kill in between costs a directory its attributes; so does one between the last
 * file and the end of this, and a cancel.
 */
#include "fetch_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "directories.h"
#include "log.h"
#include "mem.h"

/* --- what will be made --- */

static bool
share_directory(const char *a, const char *b)
{
	const char *end_a = strrchr(a, '/'), *end_b = strrchr(b, '/');
	size_t len_a = end_a != NULL ? (size_t)(end_a - a) : 0;
	size_t len_b = end_b != NULL ? (size_t)(end_b - b) : 0;
	return len_a == len_b && memcmp(a, b, len_a) == 0;
}

void
fetch_note_directories(struct fetch_notes *notes, const char *name)
{
	struct fetch *fetch = notes->fetch;
	struct store *store = fetch->fetches->means.store;
	char path[NAME_SIZE], *slash;
	struct directory directory;
	if (notes->last != NULL && share_directory(notes->last, name))
		return;
	notes->last = name;
	memcpy(path, name, strlen(name) + 1);
	while ((slash = strrchr(path, '/')) != NULL) {
		*slash = '\0';
		if (store_stat_directory(store, path, &directory, NULL) != P2P_NOT_FOUND)
			break;
		if (notes->batch == NULL)
			notes->batch = catalog_batch_new();
		catalog_batch_making(notes->batch, fetch->id, path);
	}
}

void
fetch_notes_end(struct fetch_notes *notes)
{
	if (notes->batch == NULL)
		return;
	atomic_store(&notes->fetch->makes_directories, true);
	catalog_submit(notes->fetch->fetches->means.catalog, notes->batch, NULL, NULL);
	notes->batch = NULL;
}

/* --- what was made --- */

struct fetch_directories {
	struct fetch *fetch;
	struct directories *asking;
	bool is_stopping;
	const struct directory *found; /* of asking; NULL: there is nothing to be set */
	size_t count;
	char *names[DIRECTORIES_MAX]; /* owned */
	char before[NAME_SIZE];       /* the last one that was looked at; "": none */
};

static void
collect_name(void *arg, const char *directory)
{
	struct fetch_directories *directories = arg;
	directories->names[directories->count++] = mem_string(directory);
}

/* On the pool. */
static void
set_found(struct fetch_directories *directories)
{
	struct store *store = directories->fetch->fetches->means.store;
	for (size_t i = 0; directories->found != NULL && i < directories->count; i++) {
		struct error err;
		if (directories->found[i].is_there &&
		    store_set_directory(store, directories->names[i], &directories->found[i],
					&err) != P2P_OK)
			log_debug("%s", err.text);
	}
	directories->found = NULL;
}

static void
drop_names(struct fetch_directories *directories)
{
	for (size_t i = 0; i < directories->count; i++)
		free(directories->names[i]);
	directories->count = 0;
}

/* On the pool: sets what was told, and takes the next notes. */
static void
work(void *arg)
{
	struct fetch_directories *directories = arg;
	const struct fetch *fetch = directories->fetch;
	const char *before = directories->before;
	set_found(directories);
	drop_names(directories);
	struct catalog_view *view = catalog_view_new(fetch->fetches->means.catalog);
	if (view == NULL)
		return;
	(void)catalog_view_making(view, fetch->id, before[0] != '\0' ? before : NULL,
				  DIRECTORIES_MAX, collect_name, directories);
	catalog_view_free(view);
	if (directories->count > 0)
		snprintf(directories->before, sizeof(directories->before), "%s",
			 directories->names[directories->count - 1]);
}

static void
end(struct fetch_directories *directories)
{
	struct fetch *fetch = directories->fetch;
	struct fetches *fetches = fetch->fetches;
	drop_names(directories);
	directories_free(directories->asking);
	free(directories);
	fetch->directories = NULL;
	fetch->has_set_directories = true;
	fetches->finishing_count--;
	(void)fetch_settle(fetch);
	fetches_maybe_stopped(fetches);
}

static void done_work(void *arg);

static void
done_asking(void *arg, const struct directory *found)
{
	struct fetch_directories *directories = arg;
	directories->found = found;
	if (directories->is_stopping)
		end(directories);
	else
		pool_submit(directories->fetch->fetches->means.pool, POOL_SOON, work, done_work,
			    directories);
}

static void
done_work(void *arg)
{
	struct fetch_directories *directories = arg;
	if (directories->count == 0 || directories->is_stopping)
		end(directories);
	else
		directories_ask(directories->asking, (const char *const *)directories->names,
				directories->count, false, done_asking, directories);
}

bool
fetch_finish_directories(struct fetch *fetch)
{
	struct fetches *fetches = fetch->fetches;
	if (fetch->directories != NULL)
		return true;
	if (fetch->is_cancelled || fetch->has_set_directories ||
	    !atomic_load(&fetch->makes_directories))
		return false;
	struct fetch_directories *directories = mem_zero(1, sizeof(*directories));
	directories->fetch = fetch;
	directories->asking = directories_new(&fetches->means);
	fetch->directories = directories;
	fetches->finishing_count++;
	pool_submit(fetches->means.pool, POOL_SOON, work, done_work, directories);
	return true;
}

void
fetch_stop_directories(struct fetch *fetch)
{
	if (fetch->directories == NULL)
		return;
	fetch->directories->is_stopping = true;
	directories_stop(fetch->directories->asking);
}
