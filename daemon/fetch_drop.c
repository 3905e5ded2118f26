/* SPDX-License-Identifier: MIT
 *
 * fetch_drop.c - files of a fetch that are no longer wanted.
 *
 * Who asked for a file may come to know that its content will be of no use: there is a newer
 * version, or nobody has it any more and it would be waited for in vain.  The file then counts as
 * if it had never been asked for; the fetch goes on with the others, and ends when it was the last.
 * One that is under way is stopped first, and what it had is dropped.
 */
#include "fetch_internal.h"

#include <stdlib.h>
#include <string.h>

uint32_t
fetch_total_files(const struct fetch *fetch)
{
	return (uint32_t)fetch->count - fetch->dropped_files;
}

void
fetch_forget_item(struct fetch *fetch, size_t index)
{
	fetch->item_states[index] = ITEM_DROPPED;
	fetch->dropped_files++;
	fetch->total_bytes -= fetch->items[index].content.size_bytes;
}

static int
compare_name(const void *name, const void *item)
{
	return strcmp(name, ((const struct fetch_item *)item)->name);
}

/* Of a batch nothing is stopped: the others are wanted. */
static void
stop_unwanted(struct fetch *fetch, size_t index)
{
	fetch->item_states[index] = ITEM_UNWANTED;
	for (struct active *active = fetch->actives; active != NULL; active = active->next)
		if (active->batch == NULL && active->index == index)
			fetch_item_stop(active);
}

void
fetch_drop_item(struct fetches *fetches, uint64_t id, const char *name,
		const struct content_id *content)
{
	struct fetch *fetch = fetch_find(fetches, id);
	if (fetch == NULL || fetch_is_ended(fetch) || fetch->is_foreign)
		return;
	/* Those who drop have their items in order. */
	const struct fetch_item *item =
	    bsearch(name, fetch->items, fetch->count, sizeof(*item), compare_name);
	if (item == NULL || !content_equal(&item->content, content))
		return;
	size_t index = (size_t)(item - fetch->items);
	if (fetch->item_states[index] == ITEM_ACTIVE) {
		stop_unwanted(fetch, index);
	} else if (fetch->item_states[index] == ITEM_QUEUED ||
		   fetch->item_states[index] == ITEM_PUT_OFF) {
		fetch->queued_count--;
		fetch_forget_item(fetch, index);
		(void)fetch_settle(fetch);
	}
}
