/* SPDX-License-Identifier: MIT
 *
 * daemon_take_up.c - at the start: peers and fetches as the catalog remembers them.
 *
 * Runs once, before the loop does.  Peers are told to `peers`, which greets them by and by; fetches that had not ended go on
 * under their old numbers; partial files that no fetch wants any more are swept away.
 */
#include "daemon_take_up.h"

#include <stdlib.h>
#include <string.h>

#include "mem.h"
#include "partial.h"

static void
remember_peer(void *arg, const struct catalog_peer *peer)
{
	const struct take_up *parts = arg;
	peers_remember(parts->peers, peer);
}

/* Rows come fetch by fetch; each fetch is handed on when the next one begins. */
struct resuming {
	const struct take_up *parts;
	uint64_t id;
	char *what;
	struct fetch_request request;
	size_t room;
	size_t stem_count, stem_room;	/* partials that are wanted */
	char (*stems)[PARTIAL_STEM_SIZE];
};

static void
resume_collected(struct resuming *resuming)
{
	if (resuming->request.count == 0)
		return;
	resuming->request.what = resuming->what;
	fetches_resume(resuming->parts->fetches, resuming->id, &resuming->request);
	free(resuming->what);
	resuming->what = NULL;
	resuming->request = (struct fetch_request){ .data_fd = -1, .have_fd = -1 };
	resuming->room = 0;
}

static void
remember_fetch(void *arg, uint64_t id, const char *what, bool replace,
    const struct catalog_rank *rank, const struct catalog_fetch_item *item)
{
	struct resuming *resuming = arg;
	struct fetch_request *request = &resuming->request;
	if (id != resuming->id)
		resume_collected(resuming);
	resuming->id = id;
	if (request->count == 0) {
		resuming->what = mem_string(what);
		request->replace = replace;
		request->priority = fetch_priority_of(rank->priority);
		request->front = rank->front > 0 ? (uint64_t)rank->front : 0;
	}
	if (request->count == resuming->room) {
		resuming->room = resuming->room ? 2 * resuming->room : 8;
		request->items = mem_grow(request->items, resuming->room, sizeof(*request->items));
	}
	request->items[request->count++] = (struct fetch_item){ mem_string(item->name),
		item->content, item->mtime_ns, item->mode };
	if (resuming->stem_count == resuming->stem_room) {
		resuming->stem_room = resuming->stem_room ? 2 * resuming->stem_room : 8;
		resuming->stems =
		    mem_grow(resuming->stems, resuming->stem_room, sizeof(*resuming->stems));
	}
	partial_stem(&item->content, resuming->stems[resuming->stem_count++]);
}

static int
compare_stems(const void *a, const void *b)
{
	return strcmp(a, b);
}

static bool
is_wanted(void *arg, const char *stem)
{
	const struct resuming *resuming = arg;
	return bsearch(stem, resuming->stems, resuming->stem_count, sizeof(*resuming->stems),
		   compare_stems) != NULL;
}

int
daemon_take_up(const struct take_up *parts, struct error *err)
{
	struct resuming resuming = { .parts = parts,
		.request = { .data_fd = -1, .have_fd = -1 } };
	int code = catalog_peers(parts->catalog, remember_peer, (void *)parts);
	if (code == P2P_OK)
		code = catalog_fetches(parts->catalog, remember_fetch, &resuming);
	if (code != P2P_OK) {
		error_set(err, code, "the catalog in %s cannot be read",
		    parts->state);
	} else {
		resume_collected(&resuming);
		if (resuming.stem_count != 0)
			qsort(resuming.stems, resuming.stem_count, sizeof(*resuming.stems),
			    compare_stems);
		partial_sweep(parts->store, is_wanted, &resuming);
	}
	free(resuming.stems);
	return code;
}
