/* SPDX-License-Identifier: MIT
 *
 * fetch_turn.c - which fetch may begin a file next.
 *
 * At most [fetch] parallel files move at once.  A place that is free goes to the fetch of the highest
 * priority that has something to begin; among equals to one that was put in front, else to the one
 * with the fewest files under way, else to the one that has waited longest: so a tree of thousands
 * does not hold up a single file.
 *
 * What is under way is never broken off for a higher priority.  Instead files of lower priorities do
 * not count against the places of the highest one, so that it need not wait for a large file of
 * theirs; until they end, more files move than [fetch] parallel says.  And one place, if there is
 * more than one, is kept for the lower priorities, by turns, so that no fetch waits for ever
 * while others of a higher priority keep coming.  What it takes from them is little: a download asks
 * each holder for as much at once as its weight deserves (download.h).
 */
#include "fetch_internal.h"

#include <assert.h>
#include <string.h>

const char *
fetch_priority_name(enum fetch_priority priority)
{
	switch (priority) {
	case FETCH_LOW:
		return "low";
	case FETCH_NORMAL:
		return "normal";
	case FETCH_HIGH:
		return "high";
	}
	return "?";
}

bool
fetch_priority_parse(const char *name, enum fetch_priority *ret)
{
	for (int i = FETCH_LOW; i <= FETCH_HIGH; i++)
		if (strcmp(name, fetch_priority_name((enum fetch_priority)i)) == 0) {
			*ret = (enum fetch_priority)i;
			return true;
		}
	return false;
}

enum fetch_priority
fetch_priority_of(int32_t number)
{
	if (number < FETCH_LOW)
		return FETCH_LOW;
	return number > FETCH_HIGH ? FETCH_HIGH : (enum fetch_priority)number;
}

unsigned
fetch_weight(const struct fetch *fetch)
{
	switch (fetch->priority) {
	case FETCH_LOW:
		return DOWNLOAD_WEIGHT / 4;
	case FETCH_NORMAL:
		return DOWNLOAD_WEIGHT;
	case FETCH_HIGH:
		return DOWNLOAD_WEIGHT * 4;
	}
	return DOWNLOAD_WEIGHT;
}

/* --- turns --- */

static bool
has_more(const struct fetch *fetch)
{
	return !fetch_is_ended(fetch) && !fetch->is_cancelled && !fetch->is_resting &&
	       !fetch->is_passed && fetch->queued_count > 0 &&
	       fetch->active_count < fetch->fetches->means.config->fetch_parallel;
}

/* What moves and what waits for its turn, of the highest priority and of all below. */
struct places {
	enum fetch_priority top;
	unsigned top_moving, lower_moving;
	bool top_has_more, lower_has_more;
};

static struct places
count_places(const struct fetches *fetches)
{
	struct places places = { .top = FETCH_LOW };

	for (const struct fetch *fetch = fetches->first; fetch != NULL; fetch = fetch->next)
		if (fetch->priority > places.top && (has_more(fetch) || fetch->moving_count > 0))
			places.top = fetch->priority;
	for (const struct fetch *fetch = fetches->first; fetch != NULL; fetch = fetch->next) {
		bool is_top = fetch->priority >= places.top;

		*(is_top ? &places.top_moving : &places.lower_moving) += fetch->moving_count;
		*(is_top ? &places.top_has_more : &places.lower_has_more) |= has_more(fetch);
	}
	return places;
}

static bool
goes_before(const struct fetch *a, const struct fetch *b, bool by_turns)
{
	if (!by_turns && a->priority != b->priority)
		return a->priority > b->priority;
	if (!by_turns && a->front != b->front)
		return a->front > b->front;
	if (!by_turns && a->moving_count != b->moving_count)
		return a->moving_count < b->moving_count;
	return a->begun_order < b->begun_order;
}

/* The first that has something to begin, of those below `below`; by turns alone, or by rank. */
static struct fetch *
choose(const struct fetches *fetches, int below, bool by_turns)
{
	struct fetch *best = NULL;

	for (struct fetch *fetch = fetches->first; fetch != NULL; fetch = fetch->next)
		if ((int)fetch->priority < below && has_more(fetch) &&
		    (best == NULL || goes_before(fetch, best, by_turns)))
			best = fetch;
	return best;
}

struct fetch *
fetch_next_turn(struct fetches *fetches)
{
	unsigned parallel = fetches->means.config->fetch_parallel;
	struct places places = count_places(fetches);
	bool has_lower = places.lower_moving > 0 || places.lower_has_more;
	unsigned top_places = has_lower && parallel > 1 ? parallel - 1 : parallel;

	if (places.top_has_more && places.top_moving < top_places)
		return choose(fetches, FETCH_HIGH + 1, false);
	if (fetches->moving_count >= parallel)
		return NULL;
	return choose(fetches, places.top, places.lower_moving == 0);
}

/* --- changing the rank --- */

static int
find_unended(struct fetches *fetches, uint64_t id, struct fetch **ret)
{
	assert(loop_is_mine(fetches->means.loop));
	*ret = fetch_find(fetches, id);
	if (*ret == NULL)
		return P2P_NOT_FOUND;
	return fetch_is_ended(*ret) ? P2P_CONFLICT : P2P_OK;
}

/* Puts it in force for what is under way and what comes, and remembers it over a restart. */
static void
apply_rank(struct fetch *fetch)
{
	struct fetches *fetches = fetch->fetches;
	struct catalog_rank rank = { fetch->priority, (int64_t)fetch->front };

	for (struct active *active = fetch->actives; active != NULL; active = active->next)
		if (active->download != NULL)
			download_set_weight(active->download, fetch_weight(fetch));
	if (!fetch->is_foreign) {
		struct catalog_batch *batch = catalog_batch_new();

		catalog_batch_fetch_rank(batch, fetch->id, &rank);
		catalog_submit(fetches->means.catalog, batch, NULL, NULL);
	}
	fetches_schedule(fetches);
}

int
fetch_prioritize(struct fetches *fetches, uint64_t id, enum fetch_priority priority)
{
	struct fetch *fetch;
	int code = find_unended(fetches, id, &fetch);

	if (code != P2P_OK)
		return code;
	fetch->priority = priority;
	fetch->front = 0;
	apply_rank(fetch);
	return P2P_OK;
}

int
fetch_to_front(struct fetches *fetches, uint64_t id)
{
	struct fetch *fetch;
	int code = find_unended(fetches, id, &fetch);

	if (code != P2P_OK)
		return code;
	fetch->front = ++fetches->front_count;
	apply_rank(fetch);
	return P2P_OK;
}
