/* SPDX-License-Identifier: MIT
 *
 * fetch_batch_work.c - what a batch does on the pool: looks before anything is asked for, and makes files of what came.
 *
 * Looking is for each file what fetch_item.c does for one: does it stand there already, is another
 * content in its way, are its bytes in the share under another name, who has it.  The catalog answers
 * all of it in one view.  What an earlier fetch left a partial of is brought alone: that is where
 * partials are known.
 *
 * Keeping is store_put_small(), and then one batch of entries for the catalog: each file's, and that
 * it is done.  The bytes were verified when they came (fetch_batch_verify(), on the hand that
 * received them), so nothing else is ever kept.
 */
#include "fetch_internal.h"

#include <stdlib.h>
#include <string.h>

#include "mem.h"
#include "store_small.h"

static struct download_means *
means_of(const struct fetch_batch *batch)
{
	return &batch->active->fetch->fetches->means;
}

bool
fetch_batch_verify(const struct batch_item *item)
{
	const struct content_id *content = &item->file->content;
	struct digest root;
	if (content->size_bytes == 0)
		return true; /* its root was looked at when it was picked: batch_fits() */
	merkle_piece_node(hasher_mine(), item->data, content->size_bytes, BATCH_CONTENT_MAX, true,
	    &root);
	return digest_equal(&root, &content->root);
}

/* --- looking --- */

struct look {
	struct fetch_batch *batch;
	struct batch_item *item;	/* the one at hand */
	struct fetch_notes notes;
};

static void
collect_holder(void *arg, const char *peer)
{
	struct look *look = arg;
	struct fetch_batch *batch = look->batch;
	size_t i = 0;
	while (i < batch->holder_count && memcmp(batch->holders[i], peer, PEER_ID_SIZE) != 0)
		i++;
	if (i == SWARM_SOURCES_MAX)
		return;
	if (i == batch->holder_count)
		memcpy(batch->holders[batch->holder_count++], peer, PEER_ID_SIZE);
	look->item->holders |= 1ull << i;
}

/* The same content stands in the share, maybe under another name: it costs no network. */
static bool
is_copied(const struct fetch_batch *batch, struct catalog_view *view, struct batch_item *item)
{
	struct store *store = means_of(batch)->store;
	const struct content_id *content = &item->file->content;
	char name[NAME_SIZE];
	struct catalog_local local;
	struct store_reader *reader;
	if (content->size_bytes == 0)
		return true;
	if (catalog_view_find_content(view, content, name, &local) != P2P_OK ||
	    store_open(store, name, &local.content, &local.sig, &reader, NULL) != P2P_OK)
		return false;
	int code = file_pread(reader->fd, item->data, content->size_bytes, 0, NULL);
	store_reader_unref(reader);
	return code == P2P_OK && fetch_batch_verify(item);
}

/* A kill between the rename and the entry in the catalog, or after a partial: nobody needs it any more. */
static void
drop_partial(struct store *store, const struct content_id *content)
{
	if (partial_is_begun(store, content))
		partial_discard(partial_open_share(store, content, NULL));
}

static void
look_at(struct look *look, struct catalog_view *view)
{
	struct fetch_batch *batch = look->batch;
	struct batch_item *item = look->item;
	const struct active *active = batch->active;
	struct store *store = means_of(batch)->store;
	const struct content_id *content = &item->file->content;
	bool is_present;
	int code = fetch_look_at_name(means_of(batch), view, item->file, active->fetch->replace,
	    &active->is_stopping, &is_present, &item->error);
	item->step = BATCH_OVER;
	if (code != P2P_OK)
		return;
	if (is_present) {
		drop_partial(store, content);
		return;
	}
	item->step = BATCH_AGAIN;
	item->is_alone = partial_is_begun(store, content);
	if (item->is_alone)
		return;
	fetch_note_directories(&look->notes, item->file->name);
	item->step = is_copied(batch, view, item) ? BATCH_BROUGHT : BATCH_WANTED;
	if (item->step == BATCH_BROUGHT)
		atomic_fetch_add(&batch->came_bytes, content->size_bytes);
	else
		(void)catalog_view_holders(view, content, collect_holder, look);
}

void
fetch_batch_look(void *arg)
{
	struct fetch_batch *batch = arg;
	struct catalog_view *view = catalog_view_new(means_of(batch)->catalog);
	struct look look = { .batch = batch, .notes = { .fetch = batch->active->fetch } };
	for (size_t i = 0; i < batch->count; i++) {
		look.item = &batch->items[i];
		if (view != NULL && !batch->active->is_stopping) {
			look_at(&look, view);
			continue;
		}
		look.item->step = BATCH_OVER;
		error_set(&look.item->error, view == NULL ? P2P_IO : P2P_CANCELLED,
		    "the catalog cannot be read");
	}
	catalog_view_free(view);
	fetch_notes_end(&look.notes);
}

/* --- keeping --- */

static void
enter(struct fetch_batch *batch, const struct fetch_item *file, const struct file_sig *sig)
{
	struct catalog_local entry = {
		.content = file->content,
		.sig = *sig,
		.mtime_ns = sig->mtime_ns,
		.mode = file->mode,
	};
	if (batch->entries == NULL)
		batch->entries = catalog_batch_new();
	catalog_batch_put(batch->entries, file->name, &entry, NULL, 0);
	catalog_batch_fetch_item_done(batch->entries, batch->active->fetch->id, file->name);
}

static void
note_kept(struct fetch_batch *batch, struct batch_item *item, const struct store_small *small)
{
	const struct active *active = batch->active;
	item->step = BATCH_OVER;
	item->error = small->error;
	if (small->error.code == P2P_OK)
		enter(batch, item->file, &small->sig);
	/* Somebody else brought it meanwhile: the indexer makes its entry. */
	else if (small->error.code == P2P_EXISTS &&
	    store_match(means_of(batch)->store, item->file->name, &item->file->content,
		&active->is_stopping, NULL) == P2P_OK)
		item->error.code = P2P_OK;
}

void
fetch_batch_keep(void *arg)
{
	struct fetch_batch *batch = arg;
	const struct active *active = batch->active;
	const struct download_means *means = means_of(batch);
	struct store_small *small = mem_grow(NULL, batch->count, sizeof(*small));
	size_t count = 0;
	for (size_t i = 0; i < batch->count; i++) {
		const struct batch_item *item = &batch->items[i];
		if (item->step == BATCH_BROUGHT)
			small[count++] = (struct store_small){ .name = item->file->name,
				.data = item->data,
				.len = (size_t)item->file->content.size_bytes,
				.mode = item->file->mode,
				.mtime_ns = item->file->mtime_ns };
	}
	store_put_small(means->store, small, count,
	    active->fetch->replace ? FILE_REPLACE : FILE_KEEP_EXISTING,
	    batch->reserve_bytes, &active->is_stopping);
	count = 0;
	for (size_t i = 0; i < batch->count; i++)
		if (batch->items[i].step == BATCH_BROUGHT)
			note_kept(batch, &batch->items[i], &small[count++]);
	free(small);
}
