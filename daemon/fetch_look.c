/* SPDX-License-Identifier: MIT
 *
 * fetch_look.c - what directories of the network's tree are like, for a user whose own directories are to be so.
 *
 * A fetch into a user's descriptors knows nothing of directories: the user's program makes them, and
 * asks here when all files have landed.  This peer's share counts first, then those who have files
 * below the directory (directories.c).
 */
#include "fetch_internal.h"

#include <assert.h>
#include <stdlib.h>

#include "directories.h"
#include "mem.h"

struct fetch_look {
	struct fetches *fetches;
	struct fetch_look *next;
	struct directories *asking;
	char **names;
	size_t count;
	fetch_look_fn done;
	void *arg;
};

static void
done_asking(void *arg, const struct directory *found)
{
	struct fetch_look *look = arg;
	struct fetches *fetches = look->fetches;
	struct fetch_look **link = &fetches->looks;
	while (*link != look)
		link = &(*link)->next;
	*link = look->next;
	fetches->finishing_count--;
	look->done(look->arg, found);
	directories_free(look->asking);
	for (size_t i = 0; i < look->count; i++)
		free(look->names[i]);
	free(look->names);
	free(look);
	fetches_maybe_stopped(fetches);
}

void
fetch_look_at_directories(struct fetches *fetches, char **names, size_t count, fetch_look_fn done,
    void *arg)
{
	assert(loop_is_mine(fetches->means.loop));
	struct fetch_look *look = mem_zero(1, sizeof(*look));
	*look = (struct fetch_look){ .fetches = fetches,
		.next = fetches->looks,
		.asking = directories_new(&fetches->means),
		.names = names,
		.count = count,
		.done = done,
		.arg = arg };
	fetches->looks = look;
	fetches->finishing_count++;
	directories_ask(look->asking, (const char *const *)names, count, true, done_asking, look);
	if (fetches->is_stopping)
		directories_stop(look->asking);
}

void
fetch_looks_stop(struct fetches *fetches)
{
	for (struct fetch_look *look = fetches->looks; look != NULL; look = look->next)
		directories_stop(look->asking);
}
