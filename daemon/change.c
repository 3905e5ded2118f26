/* SPDX-License-Identifier: MIT
 *
 * change.c - pages of changes.
 *
 * A page is filled by the catalog (to be sent) or by a wire's decoder (as received), handed on, and freed by
 * whoever has it last.  It owns the names of its items.  Whether what it says makes sense is for the catalog to judge.
 */
#include "change.h"

#include <stdlib.h>

#include "mem.h"

struct change_page *
change_page_new(void)
{
	return mem_zero(1, sizeof(struct change_page));
}

bool
change_page_add(struct change_page *page, const struct change *change)
{
	if (page->count == CHANGE_PAGE_MAX)
		return false;
	/* Grows at powers of two, so that a page of one change stays small. */
	if ((page->count & (page->count - 1)) == 0)
		page->items = mem_grow(page->items, page->count ? 2 * page->count : 1,
		    sizeof(*page->items));
	page->items[page->count] = *change;
	page->items[page->count].name = mem_string(change->name);
	page->count++;
	return true;
}

void
change_page_free(struct change_page *page)
{
	if (page == NULL)
		return;
	for (size_t i = 0; i < page->count; i++)
		free(page->items[i].name);
	free(page->items);
	free(page);
}
