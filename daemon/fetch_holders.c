/* SPDX-License-Identifier: MIT
 *
 * fetch_holders.c - whom the bytes of a fetch come from, over all of its files.
 *
 * A download knows the holders of its own content, a batch the one that it asks.  What they knew of them when they
 * ended is kept with the fetch, so that each holder's bytes are those of the whole fetch, and are still told after
 * its end.  What holders do just now is added from what is under way: asks and rates are summed over files.
 *
 * Nothing is decided by any of this: it is for people.
 */
#include "fetch_internal.h"

#include <stdlib.h>
#include <string.h>

#include "mem.h"

#define WIRE_SHARE_MIN 0.1 /* of the bytes: a wire that brought less was only tried */

const char *
fetch_holder_state_name(enum fetch_holder_state state)
{
	static const char *const names[] = {
		[HOLDER_ASKED] = "asked",
		[HOLDER_IDLE] = "idle",
		[HOLDER_RESTING] = "resting",
		[HOLDER_BARRED] = "barred",
	};

	return names[state];
}

const char *
fetch_wires_name(const double carried[WIRE_COUNT])
{
	double rest = carried[WIRE_REST], grpc = carried[WIRE_GRPC];

	if (rest + grpc <= 0)
		return NULL;
	if (grpc < WIRE_SHARE_MIN * (rest + grpc))
		return wire_name(WIRE_REST);
	if (rest < WIRE_SHARE_MIN * (rest + grpc))
		return wire_name(WIRE_GRPC);
	return "rest+grpc";
}

/* --- one holder of one download, into the list --- */

struct list {
	struct fetch_holder *holders;
	size_t count;
};

/* NULL: there are FETCH_HOLDERS_MAX others. */
static struct fetch_holder *
find_or_add(struct list *list, const char *peer)
{
	for (size_t i = 0; i < list->count; i++)
		if (strcmp(list->holders[i].peer, peer) == 0)
			return &list->holders[i];
	if (list->count == FETCH_HOLDERS_MAX)
		return NULL;
	list->holders = mem_grow(list->holders, list->count + 1, sizeof(*list->holders));
	struct fetch_holder *fresh = &list->holders[list->count++];
	*fresh = (struct fetch_holder){ .state = HOLDER_IDLE };
	memcpy(fresh->peer, peer, PEER_ID_SIZE);
	return fresh;
}

static void
add_counts(struct fetch_holder *holder, const struct download_view *view)
{
	holder->bytes += view->source.bytes;
	holder->pieces += view->source.pieces;
	for (enum wire wire = WIRE_REST; wire < WIRE_COUNT; wire++)
		holder->carried[wire] += view->carried[wire];
}

static const char *
why_of(enum swarm_rest rest)
{
	switch (rest) {
	case SWARM_RESTS_NOT:
		return NULL;
	case SWARM_RESTS_SLOW:
		return "others are faster";
	case SWARM_RESTS_STALLED:
		return "it sent nothing for a while";
	case SWARM_RESTS_LACKED:
		return "it does not have what it was said to have";
	case SWARM_RESTS_FAILED:
		return "it could not be reached, or broke off";
	case SWARM_RESTS_LIED:
		return "it sent wrong bytes";
	}
	return NULL;
}

static enum fetch_holder_state
state_of(const struct swarm_view *source)
{
	if (source->rest == SWARM_RESTS_LIED)
		return HOLDER_BARRED;
	if (source->rest != SWARM_RESTS_NOT)
		return HOLDER_RESTING;
	return source->asks != 0 ? HOLDER_ASKED : HOLDER_IDLE;
}

/* It may be barred for one file and asked for another: what is worse is what a person looks for.  But what a file under
 * way says stands above what was. */
static void
add_state(struct fetch_holder *holder, const struct swarm_view *source)
{
	enum fetch_holder_state state = state_of(source);
	bool is_first = holder->pieces_held == 0;

	holder->is_whole = source->is_whole && (is_first || holder->is_whole);
	holder->pieces_held += source->pieces_held;
	holder->asks += source->asks;
	holder->rate_bps += source->rate_bps;
	if (is_first || state > holder->state ||
	    (state == HOLDER_ASKED && holder->state == HOLDER_IDLE)) {
		holder->state = state;
		holder->why = why_of(source->rest);
		holder->rest_ms = source->rest_us / 1000;
	}
}

/* Of a download that ended it is worth knowing who had all of it, and who lied. */
static void
keep_state(struct fetch_holder *holder, const struct swarm_view *source)
{
	holder->is_whole = source->is_whole;
	if (source->rest != SWARM_RESTS_LIED)
		return;
	holder->state = HOLDER_BARRED;
	holder->why = why_of(source->rest);
}

static void
add_view(struct list *list, const struct download_view *view, bool is_under_way)
{
	struct fetch_holder *holder = find_or_add(list, view->source.peer);

	if (holder == NULL)
		return;
	add_counts(holder, view);
	if (is_under_way)
		add_state(holder, &view->source);
	else
		keep_state(holder, &view->source);
}

static void
add_download(struct list *list, const struct download *download, bool is_under_way)
{
	size_t count;
	struct download_view *views = download_views(download, &count);

	for (size_t i = 0; i < count; i++)
		add_view(list, &views[i], is_under_way);
	free(views);
}

static void
add_active(struct list *list, const struct active *active)
{
	struct download_view view;

	if (active->download != NULL)
		add_download(list, active->download, true);
	else if (active->batch != NULL && fetch_batch_view(active->batch, &view))
		add_view(list, &view, true);
}

/* --- of a fetch --- */

void
fetch_keep_holders(struct fetch *fetch, const struct download *download)
{
	struct list list = { fetch->holders, fetch->holder_count };

	add_download(&list, download, false);
	fetch->holders = list.holders;
	fetch->holder_count = list.count;
}

void
fetch_keep_holder(struct fetch *fetch, const struct download_view *view)
{
	struct list list = { fetch->holders, fetch->holder_count };

	add_view(&list, view, false);
	fetch->holders = list.holders;
	fetch->holder_count = list.count;
}

struct fetch_holder *
fetch_list_holders(const struct fetch *fetch, size_t *ret_count)
{
	struct list list = { mem_zero(fetch->holder_count + 1, sizeof(*list.holders)),
			     fetch->holder_count };
	struct peer_info peer;

	if (fetch->holder_count > 0)
		memcpy(list.holders, fetch->holders, fetch->holder_count * sizeof(*list.holders));
	for (const struct active *active = fetch->actives; active != NULL; active = active->next)
		add_active(&list, active);
	for (size_t i = 0; i < list.count; i++)
		if (peers_find(fetch->fetches->means.peers, list.holders[i].peer, &peer))
			memcpy(list.holders[i].name, peer.name, sizeof(peer.name));
	*ret_count = list.count;
	return list.holders;
}
