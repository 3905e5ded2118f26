/* SPDX-License-Identifier: MIT
 *
 * download_view.c - what is told of a download: whom its bytes come from, and by which wire.
 *
 * Of a wire it is remembered what came by it lately: each run that ends makes the earlier ones
 * count for less, for the download as a whole and for each of its holders.  All else is the swarm's.
 */
#include "download_internal.h"

#include <string.h>

#include "clock.h"
#include "mem.h"

static void
add_carried(double carried[WIRE_COUNT], enum wire by, uint64_t bytes)
{
	for (enum wire wire = WIRE_REST; wire < WIRE_COUNT; wire++)
		carried[wire] *= DOWNLOAD_CARRIED_FADING;
	carried[by] += (double)bytes;
}

void
download_note_carried(struct download *download, const struct run *run)
{
	uint64_t came_bytes = atomic_load(&run->came_bytes);

	if (came_bytes == 0)
		return;
	if (came_bytes != run->seen_bytes)
		download_note_bytes(download);
	add_carried(download->carried, run->wire.wire, came_bytes);
	add_carried(download->source_carried[swarm_ask_source(download->swarm, run->ask)],
		    run->wire.wire, came_bytes);
}

void
download_carried(const struct download *download, double carried[WIRE_COUNT])
{
	for (enum wire wire = WIRE_REST; wire < WIRE_COUNT; wire++)
		carried[wire] += download->carried[wire];
	for (const struct run *run = download->runs; run != NULL; run = run->next)
		carried[run->wire.wire] += (double)atomic_load(&run->came_bytes);
}

size_t
download_sources(const struct download *download, const char *ret[SWARM_SOURCES_MAX])
{
	size_t count = 0;

	for (const struct run *run = download->runs; run != NULL; run = run->next) {
		size_t i = 0;

		while (i < count && strcmp(ret[i], run->ask->peer) != 0)
			i++;
		if (i == count && count < SWARM_SOURCES_MAX)
			ret[count++] = run->ask->peer;
	}
	return count;
}

struct download_view *
download_views(const struct download *download, size_t *ret_count)
{
	size_t count = download->swarm != NULL ? swarm_source_count(download->swarm) : 0;
	struct download_view *views = mem_zero(count + 1, sizeof(*views));
	uint64_t now_us = clock_us();

	for (size_t i = 0; i < count; i++) {
		swarm_view(download->swarm, i, now_us, &views[i].source);
		memcpy(views[i].carried, download->source_carried[i], sizeof(views[i].carried));
	}
	for (const struct run *run = download->runs; run != NULL; run = run->next)
		views[swarm_ask_source(download->swarm, run->ask)].carried[run->wire.wire] +=
		    (double)atomic_load(&run->came_bytes);
	*ret_count = count;
	return views;
}
