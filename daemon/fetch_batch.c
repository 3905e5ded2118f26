/* SPDX-License-Identifier: MIT
 *
 * fetch_batch.c - many small files of a fetch at once, from wanted to standing under their names.
 *
 * Alone, a small file costs a request, two waits for the disk and a transaction; its bytes hardly count.  A batch goes
 * through the steps of fetch_item.c together, one of them each: look what is here, and who has the rest (a job on the
 * pool) -> ask one holder for all that it has (a request; each content is verified on the hand that receives it) -> keep (a
 * job: files, durable, named) -> enter them in the catalog (one transaction).  The indexer is held off all the names from the
 * first to the last step.  Several batches are under way, so that the network, the disk and the scribe work at the same time.
 *
 * A batch never fails as a whole.  What it does not bring - the holder has it not, breaks off, or lies - goes back to be
 * asked for in another batch, and then alone, as fetch_order.c says; what came before stays.  A holder that sent wrong
 * bytes, or that knows no such question, is asked for no batch for a while; for single files it is judged by those.
 *
 * Until it is kept a batch is in memory.  A kill costs what was not kept, FETCH_BATCHES_MAX batches at most.
 */
#include "fetch_internal.h"

#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "log.h"
#include "mem.h"
#include "metrics.h"

#define SHUN_MS		SWARM_LIAR_MS	/* no batch is asked of who lied, or knows no batches */
#define SHUN_BRIEFLY_MS	5000		/* or could not be reached */
#define SHUNNED_MAX	SWARM_SOURCES_MAX	/* peers that this is remembered of */

static struct download_means *
means_of(const struct fetch_batch *batch)
{
	return &batch->active->fetch->fetches->means;
}

/* --- peers that are asked for no batch --- */

struct fetch_shunned {
	size_t count;
	struct {
		char peer[PEER_ID_SIZE];
		uint64_t until_ms;	/* by clock_ms() */
	} list[SHUNNED_MAX];
};

static bool
is_shunned(const struct fetches *fetches, const char *peer)
{
	const struct fetch_shunned *shunned = fetches->shunned;
	for (size_t i = 0; shunned != NULL && i < shunned->count; i++)
		if (strcmp(shunned->list[i].peer, peer) == 0)
			return clock_ms() < shunned->list[i].until_ms;
	return false;
}

/* In the place of its own, a new one, or the one that ends first. */
static void
shun(struct fetches *fetches, const char *peer, uint64_t ms)
{
	if (fetches->shunned == NULL)
		fetches->shunned = mem_zero(1, sizeof(*fetches->shunned));
	struct fetch_shunned *shunned = fetches->shunned;
	size_t at = 0, first = 0;
	while (at < shunned->count && strcmp(shunned->list[at].peer, peer) != 0) {
		if (shunned->list[at].until_ms < shunned->list[first].until_ms)
			first = at;
		at++;
	}
	if (at == SHUNNED_MAX)
		at = first;
	else if (at == shunned->count)
		shunned->count++;
	memcpy(shunned->list[at].peer, peer, PEER_ID_SIZE);
	shunned->list[at].until_ms = clock_ms() + ms;
}

void
fetch_batches_fini(struct fetches *fetches)
{
	free(fetches->shunned);
}

/* --- the end --- */

static void
batch_free(struct fetch_batch *batch)
{
	free(batch->items);
	free(batch->data);
	free(batch->ask.contents);
	free(batch->asked);
	free(batch);
}

static void
end(struct fetch_batch *batch)
{
	struct active *active = batch->active;
	struct fetch *fetch = active->fetch;
	for (size_t i = 0; i < batch->count; i++) {
		const struct batch_item *item = &batch->items[i];
		indexer_release(fetch->fetches->indexer, item->file->name);
		if (item->step == BATCH_OVER)
			fetch_item_over(fetch, item->index, item->error.code, item->error.text);
		else if (active->is_stopping)
			fetch_item_over(fetch, item->index, P2P_CANCELLED, NULL);
		else
			fetch_item_again(fetch, item->index, item->is_alone);
	}
	fetch->fetches->batch_count--;
	batch_free(batch);
	active->batch = NULL;
	fetch_active_ended(active);
}

/* --- keeping --- */

static void
entered(void *arg, int code)
{
	struct fetch_batch *batch = arg;
	for (size_t i = 0; code != P2P_OK && i < batch->count; i++) {
		struct batch_item *item = &batch->items[i];
		if (item->step == BATCH_OVER && item->error.code == P2P_OK)
			error_set(&item->error, code,
			    "\"%s\" is here, but the catalog could not be written",
			    item->file->name);
	}
	end(batch);
}

static void
done_keep(void *arg)
{
	struct fetch_batch *batch = arg;
	struct catalog_batch *entries = batch->entries;
	batch->entries = NULL;
	if (entries != NULL)
		catalog_submit(means_of(batch)->catalog, entries, entered, batch);
	else
		end(batch);
}

static void
keep(struct fetch_batch *batch)
{
	bool has_some = false;
	for (size_t i = 0; i < batch->count; i++)
		has_some |= batch->items[i].step == BATCH_BROUGHT;
	if (has_some && !batch->active->is_stopping)
		pool_submit(means_of(batch)->pool, POOL_SOON, fetch_batch_keep, done_keep, batch);
	else
		end(batch);
}

/* --- asking --- */

/* On a hand's thread. */
static int
arrived(void *arg, size_t index, struct error *err)
{
	struct fetch_batch *batch = arg;
	struct batch_item *item = batch->asked[index];
	if (batch->ask.contents[index].code != P2P_OK)
		return P2P_OK;
	if (!fetch_batch_verify(item)) {
		batch->has_lied = true;
		batch->wasted_bytes += item->file->content.size_bytes;
		return error_set(err, P2P_BAD_CONTENT, "the bytes of \"%s\" are not those of its content id",
		    item->file->name);
	}
	item->step = BATCH_BROUGHT;
	atomic_fetch_add(&batch->came_bytes, item->file->content.size_bytes);
	return P2P_OK;
}

/* What an end says of the wire; a question that is not known there says nothing. */
static enum wire_outcome
outcome_of(int code)
{
	if (code == P2P_OK)
		return WIRE_WORKED;
	return code == P2P_UNREACHABLE || code == P2P_TIMEOUT ? WIRE_FAILED : WIRE_UNJUDGED;
}

/* Several batches may find the same liar out before the others are broken off: that is told once. */
static void
bar_liar(struct fetches *fetches, const struct fetch_batch *batch, const struct error *err)
{
	if (!is_shunned(fetches, batch->peer)) {
		metrics_add(METRIC_HOLDERS_BARRED, 1);
		log_warn("peer %s sent wrong bytes: %s; it is not asked for many files at once for %u minutes",
		    batch->peer, err->text, SHUN_MS / 60000);
	}
	shun(fetches, batch->peer, SHUN_MS);
	for (struct fetch *fetch = fetches->first; fetch != NULL; fetch = fetch->next)
		for (struct active *active = fetch->actives; active; active = active->next)
			if (active->batch != NULL && active->batch != batch &&
			    strcmp(active->batch->peer, batch->peer) == 0)
				fetch_batch_stop(active);
}

/* Whose fault it was that it did not end well, and what follows. */
static void
judge(struct fetch_batch *batch, int code, const struct error *err)
{
	struct fetches *fetches = batch->active->fetch->fetches;
	if (code == P2P_OK || code == P2P_CANCELLED || code == P2P_SHUTTING_DOWN)
		return;
	if (batch->has_lied) {
		bar_liar(fetches, batch, err);
	} else if (code == P2P_UNREACHABLE || code == P2P_TIMEOUT || code == P2P_TOO_MANY) {
		log_debug("peer %s broke off: %s", batch->peer, err->text);
		shun(fetches, batch->peer, SHUN_BRIEFLY_MS);
		if (code != P2P_TOO_MANY)
			peers_doubt(fetches->means.peers, batch->peer);
	} else {
		log_debug("peer %s gives its files one by one: %s", batch->peer, err->text);
		shun(fetches, batch->peer, SHUN_MS);
	}
}

/* Whom the bytes came from, and by which wire: for people. */
static void
note_carried(struct fetch_batch *batch, uint64_t bytes, uint64_t pieces)
{
	struct fetch *fetch = batch->active->fetch;
	struct download_view view;
	for (enum wire wire = WIRE_REST; wire < WIRE_COUNT; wire++)
		fetch->carried[wire] *= DOWNLOAD_CARRIED_FADING;
	fetch->carried[batch->wire.wire] += (double)bytes;
	if (!fetch_batch_view(batch, &view))
		return;
	view.source.bytes = bytes;
	view.source.pieces = pieces;
	view.source.rest = batch->has_lied ? SWARM_RESTS_LIED : SWARM_RESTS_NOT;
	view.carried[batch->wire.wire] = (double)bytes;
	fetch_keep_holder(fetch, &view);
}

static void
done_ask(void *arg, int code, const struct error *err)
{
	struct fetch_batch *batch = arg;
	struct download_means *means = means_of(batch);
	uint64_t bytes = 0, pieces = 0;
	for (size_t i = 0; i < batch->ask.count; i++) {
		if (batch->asked[i]->step != BATCH_BROUGHT) {
			batch->asked[i]->step = BATCH_AGAIN;
			continue;
		}
		bytes += batch->asked[i]->file->content.size_bytes;
		pieces++;
	}
	download_count_batch(code, batch->has_lied, pieces, batch->wasted_bytes);
	batch->request = NULL;
	note_carried(batch, bytes, pieces);
	wire_choice_end(means->wires, batch->peer, &batch->wire, outcome_of(code), bytes,
	    clock_us());
	judge(batch, code, err);
	batch->peer[0] = '\0';
	fetch_item_moved(batch->active->fetch);
	keep(batch);
}

static void
ask(struct fetch_batch *batch, size_t holder, const struct peer_info *peer)
{
	struct download_means *means = means_of(batch);
	struct transport *transport = means->transport;
	struct batch *ask = &batch->ask;
	ask->contents = mem_zero(batch->count, sizeof(*ask->contents));
	batch->asked = mem_zero(batch->count, sizeof(struct batch_item *));
	for (size_t i = 0; i < batch->count; i++) {
		struct batch_item *item = &batch->items[i];
		if (item->step != BATCH_WANTED || (item->holders & 1ull << holder) == 0)
			continue;
		batch->asked[ask->count] = item;
		ask->contents[ask->count++] =
		    (struct batch_content){ .id = item->file->content, .data = item->data };
	}
	ask->arrived = arrived;
	ask->arg = batch;
	memcpy(batch->peer, peer->id, PEER_ID_SIZE);
	wire_choice_begin(means->wires, peer->id, download_wires(means, peer), WIRE_SMALL,
	    clock_us(), &batch->wire);
	batch->request = transport->ops->batch(transport,
	    peer->wire_address[batch->wire.wire], ask, done_ask, batch);
}

/* --- whom to ask --- */

static unsigned
batches_at(const struct fetch_batch *batch, const char *peer)
{
	unsigned count = 0;
	const struct fetches *fetches = batch->active->fetch->fetches;
	for (const struct fetch *fetch = fetches->first; fetch != NULL; fetch = fetch->next)
		for (const struct active *active = fetch->actives; active; active = active->next)
			count += active->batch != NULL && strcmp(active->batch->peer, peer) == 0;
	return count;
}

/* Who has most of it; among equals, who is asked least. */
static bool
choose(struct fetch_batch *batch, uint64_t open, size_t *ret_holder)
{
	size_t best = 0;
	unsigned best_load = 0;
	for (size_t i = 0; i < batch->holder_count; i++) {
		size_t has = 0;
		if ((open & 1ull << i) == 0)
			continue;
		for (size_t at = 0; at < batch->count; at++)
			has += batch->items[at].step == BATCH_WANTED &&
			    (batch->items[at].holders & 1ull << i) != 0;
		unsigned load = batches_at(batch, batch->holders[i]);
		if (has > best || (has == best && has > 0 && load < best_load)) {
			best = has;
			best_load = load;
			*ret_holder = i;
		}
	}
	return best > 0;
}

/* Holders that can be reached, and those of them that may be asked for a batch. */
static uint64_t
find_open(const struct fetch_batch *batch, uint64_t *ret_here)
{
	const struct fetches *fetches = batch->active->fetch->fetches;
	uint64_t open = 0, here = 0;
	struct peer_info peer;
	for (size_t i = 0; i < batch->holder_count; i++) {
		if (!peers_find(fetches->means.peers, batch->holders[i], &peer) ||
		    peer.state == PEER_AWAY || download_wires(&fetches->means, &peer) == 0)
			continue;
		here |= 1ull << i;
		if (!is_shunned(fetches, peer.id))
			open |= 1ull << i;
	}
	*ret_here = here;
	return open;
}

/* Files that no batch brings now: put off if nobody who has them is here, else brought alone. */
static void
sort_out(struct fetch_batch *batch, uint64_t open, uint64_t here)
{
	for (size_t i = 0; i < batch->count; i++) {
		struct batch_item *item = &batch->items[i];
		if (item->step != BATCH_WANTED || (item->holders & open) != 0)
			continue;
		item->step = BATCH_AGAIN;
		item->is_alone = true;
		if ((item->holders & here) != 0)
			continue;
		item->step = BATCH_OVER;
		error_set(&item->error, P2P_NO_HOLDER, "no holder of it can be reached now");
	}
}

static void
done_look(void *arg)
{
	struct fetch_batch *batch = arg;
	uint64_t here, open = find_open(batch, &here);
	struct peer_info peer;
	size_t holder = 0;
	sort_out(batch, open, here);
	if (batch->active->is_stopping || !choose(batch, open, &holder) ||
	    !peers_find(means_of(batch)->peers, batch->holders[holder], &peer)) {
		keep(batch);
		return;
	}
	for (size_t i = 0; i < batch->count; i++)
		if (batch->items[i].step == BATCH_WANTED &&
		    (batch->items[i].holders & 1ull << holder) == 0)
			batch->items[i].step = BATCH_AGAIN;
	ask(batch, holder, &peer);
}

/* --- the beginning --- */

/* Room for the bytes of all of them. */
static void
make_room(struct fetch_batch *batch)
{
	size_t bytes = 0;
	for (size_t i = 0; i < batch->count; i++)
		bytes += batch->items[i].file->content.size_bytes;
	batch->data = mem_alloc(bytes + 1);
	bytes = 0;
	for (size_t i = 0; i < batch->count; i++) {
		batch->items[i].data = batch->data + bytes;
		bytes += batch->items[i].file->content.size_bytes;
	}
}

void
fetch_batch_start(struct fetch *fetch, const size_t *indices, size_t count)
{
	struct fetches *fetches = fetch->fetches;
	struct fetch_batch *batch = mem_zero(1, sizeof(*batch));
	batch->active = fetch_active_new(fetch, indices[0]);
	batch->active->batch = batch;
	batch->reserve_bytes = fetches->means.config->share_reserve_bytes;
	batch->count = count;
	batch->items = mem_zero(count, sizeof(*batch->items));
	fetches->batch_count++;
	for (size_t i = 0; i < count; i++) {
		batch->items[i].index = indices[i];
		batch->items[i].file = &fetch->items[indices[i]];
		indexer_hold(fetches->indexer, batch->items[i].file->name);
	}
	make_room(batch);
	pool_submit(fetches->means.pool, POOL_SOON, fetch_batch_look, done_look, batch);
}

void
fetch_batch_stop(struct active *active)
{
	struct fetch_batch *batch = active->batch;
	if (batch->request != NULL)
		means_of(batch)->transport->ops->cancel(batch->request);
}

uint64_t
fetch_batch_bytes(const struct active *active)
{
	return atomic_load(&active->batch->came_bytes);
}

bool
fetch_batch_view(const struct fetch_batch *batch, struct download_view *ret)
{
	if (batch->peer[0] == '\0')
		return false;
	/* What came is counted when it ends; the catalog names nobody who has a part. */
	*ret = (struct download_view){
		.source = { .is_whole = true, .pieces_held = batch->ask.count, .asks = 1 },
	};
	memcpy(ret->source.peer, batch->peer, PEER_ID_SIZE);
	return true;
}

const char *
fetch_batch_source(const struct active *active)
{
	return active->batch->peer[0] != '\0' ? active->batch->peer : NULL;
}
