/* SPDX-License-Identifier: MIT
 *
 * dirty.c - the names that the indexer has to look at.
 *
 * Whatever makes a name interesting - an event, a finding of a scan, the end of a hold - ends in
 * one entry here, so that a file that is written a thousand times is looked at once, and never by
 * two workers at a time.  Because of the latter the outcomes for one name reach the catalog in the
 * order in which the disk was read.
 *
 * Life of an entry: WAITING until due_ms; READY, in the order of getting ready; LARGE if it turned
 * out to want all workers for itself; RUNNING while a worker has it; COMMITTING while the catalog
 * has what came of it; gone, or WAITING again.  What happens to a name that is RUNNING makes the
 * worker's outcome void (is_again).  One that is COMMITTING is looked at again after that: before, it
 * would be held against a catalog that is about to change.  An entry with holds never leaves WAITING.
 *
 * When a directory moves, the files beneath it come and go without an event or a trace of their own;
 * so all work on them is void (dirty_void).
 *
 * Entries wait in no particular order; dirty_wake() passes over all of them.  That is a millisecond
 * for 100,000 names, a few times a second while a tree is unpacked, and spares a heap whose keys
 * move with every event.
 */
#include "dirty.h"

#include <assert.h>
#include <search.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"

static int
compare_names(const void *a, const void *b)
{
	return strcmp(a, b);
}

/* The tree's keys are the names inside of the entries. */
static struct dirty *
entry_of(char *name)
{
	return (struct dirty *)(void *)(name - offsetof(struct dirty, name));
}

static void
free_entry(void *name)
{
	free(entry_of(name));
}

void
dirty_init(struct dirty_set *set)
{
	*set = (struct dirty_set){ 0 };
	for (int i = 0; i < DIRTY_STATES; i++)
		TAILQ_INIT(&set->lists[i]);
}

void
dirty_fini(struct dirty_set *set)
{
	tdestroy(set->tree, free_entry);
	dirty_init(set);
}

struct dirty *
dirty_find(const struct dirty_set *set, const char *name)
{
	char **slot = tfind(name, &set->tree, compare_names);

	return slot == NULL ? NULL : entry_of(*slot);
}

static struct dirty *
find_or_make(struct dirty_set *set, const char *name)
{
	struct dirty *dirty = dirty_find(set, name);
	if (dirty != NULL)
		return dirty;

	size_t len = strlen(name);
	dirty = mem_zero(1, sizeof(*dirty) + len + 1);
	memcpy(dirty->name, name, len);
	if (tsearch(dirty->name, &set->tree, compare_names) == NULL)
		abort();
	TAILQ_INSERT_TAIL(&set->lists[DIRTY_WAITING], dirty, link);
	set->counts[DIRTY_WAITING]++;
	set->count++;
	return dirty;
}

static void
forget(struct dirty_set *set, struct dirty *dirty)
{
	dirty_move(set, dirty, DIRTY_WAITING);
	TAILQ_REMOVE(&set->lists[DIRTY_WAITING], dirty, link);
	set->counts[DIRTY_WAITING]--;
	set->count--;
	tdelete(dirty->name, &set->tree, compare_names);
	free(dirty);
}

void
dirty_move(struct dirty_set *set, struct dirty *dirty, enum dirty_state state)
{
	if (dirty->state == state)
		return;
	TAILQ_REMOVE(&set->lists[dirty->state], dirty, link);
	set->counts[dirty->state]--;
	if (dirty->state == DIRTY_WAITING)
		set->bytes += dirty->size_bytes;
	else if (state == DIRTY_WAITING)
		set->bytes -= dirty->size_bytes;
	dirty->state = state;
	TAILQ_INSERT_TAIL(&set->lists[state], dirty, link);
	set->counts[state]++;
}

void
dirty_wait(struct dirty_set *set, struct dirty *dirty, uint64_t due_ms)
{
	dirty->due_ms = due_ms;
	dirty_move(set, dirty, DIRTY_WAITING);
}

void
dirty_resize(struct dirty_set *set, struct dirty *dirty, uint64_t size_bytes)
{
	if (dirty->state != DIRTY_WAITING)
		set->bytes += size_bytes - dirty->size_bytes;
	dirty->size_bytes = size_bytes;
}

static bool
is_in_hand(const struct dirty *dirty)
{
	return dirty->state == DIRTY_RUNNING || dirty->state == DIRTY_COMMITTING;
}

struct dirty *
dirty_note(struct dirty_set *set, const char *name, uint64_t due_ms)
{
	struct dirty *dirty = find_or_make(set, name);

	dirty->is_noted = true;
	dirty->due_ms = due_ms;
	if (is_in_hand(dirty))
		dirty->is_again = true;
	else
		dirty_move(set, dirty, DIRTY_WAITING);
	return dirty;
}

void
dirty_void(struct dirty_set *set, const char *prefix, uint64_t due_ms)
{
	static const enum dirty_state in_hand[] = { DIRTY_RUNNING, DIRTY_COMMITTING };
	size_t len = strlen(prefix);
	struct dirty *dirty;

	for (size_t i = 0; i < 2; i++) {
		TAILQ_FOREACH(dirty, &set->lists[in_hand[i]], link)
		{
			if (strncmp(dirty->name, prefix, len) != 0)
				continue;
			dirty->is_again = true;
			dirty->due_ms = due_ms;
		}
	}
}

void
dirty_done(struct dirty_set *set, struct dirty *dirty)
{
	assert(!dirty->is_again);
	if (dirty->holds == 0) {
		forget(set, dirty);
		return;
	}
	dirty->is_noted = false;
	dirty->is_writing = dirty->is_closed = false;
	dirty_move(set, dirty, DIRTY_WAITING);
}

uint64_t
dirty_wake(struct dirty_set *set, uint64_t now_ms)
{
	uint64_t next = DIRTY_NEVER;
	struct dirty *dirty = TAILQ_FIRST(&set->lists[DIRTY_WAITING]);

	while (dirty != NULL) {
		struct dirty *after = TAILQ_NEXT(dirty, link);
		if (dirty->holds > 0)
			; /* until it is released */
		else if (dirty->due_ms <= now_ms)
			dirty_move(set, dirty, DIRTY_READY);
		else if (dirty->due_ms < next)
			next = dirty->due_ms;
		dirty = after;
	}
	return next;
}

void
dirty_hold(struct dirty_set *set, const char *name)
{
	struct dirty *dirty = find_or_make(set, name);

	dirty->holds++;
	if (is_in_hand(dirty))
		dirty->is_again = true;
	else
		dirty_move(set, dirty, DIRTY_WAITING);
}

void
dirty_release(struct dirty_set *set, const char *name, uint64_t due_ms)
{
	struct dirty *dirty = dirty_find(set, name);

	assert(dirty != NULL && dirty->holds > 0);
	if (--dirty->holds > 0)
		return;
	dirty->due_ms = due_ms;
	if (!dirty->is_noted && dirty->state == DIRTY_WAITING)
		forget(set, dirty);
}
