/* SPDX-License-Identifier: MIT
 *
 * catalog_batch.c - what is to be written, put together.
 *
 * A batch is a list of operations that own copies of all they need, so that it can wait for the
 * scribe on its own.  It is built by one thread, handed over by catalog_submit(), carried out by
 * catalog_apply.c and freed on the mind after its completion: what a commit tells borrows from the
 * batch.
 *
 * Nothing is judged here; the scribe does that with the database before it.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "catalog_db.h"
#include "mem.h"
#include "merkle.h"

struct catalog_batch *
catalog_batch_new(void)
{
	return mem_zero(1, sizeof(struct catalog_batch));
}

static void
op_fini(struct op *op)
{
	free(op->name);
	switch (op->kind) {
	case OP_PUT:
		free(op->put.layer);
		break;
	case OP_PAGE:
		change_page_free(op->page);
		break;
	case OP_PEER:
	case OP_FORGET:
		free(op->peer.id);
		free(op->peer.addresses);
		break;
	case OP_FETCH:
		for (size_t i = 0; i < op->fetch.count; i++)
			free((char *)op->fetch.items[i].name);
		free(op->fetch.items);
		break;
	case OP_FOLLOW:
		free(op->follow.place);
		break;
	case OP_UNFOLLOW:
	case OP_MARK:
	case OP_FOLLOWED:
	case OP_REMOVE:
	case OP_ITEM_DONE:
	case OP_MAKING:
	case OP_FETCH_RANK:
	case OP_FETCH_DONE:
	case OP_BOX:
		break;
	}
}

void
catalog_batch_free(struct catalog_batch *batch)
{
	if (batch == NULL)
		return;
	for (size_t i = 0; i < batch->count; i++)
		op_fini(&batch->ops[i]);
	free(batch->ops);
	free(batch->told);
	free(batch);
}

size_t
catalog_batch_size(const struct catalog_batch *batch)
{
	return batch->count;
}

struct op *
batch_add(struct catalog_batch *batch, enum op_kind kind, size_t rows)
{
	if (batch->count == batch->capacity) {
		batch->capacity = batch->capacity ? 2 * batch->capacity : 1;
		batch->ops = mem_grow(batch->ops, batch->capacity, sizeof(*batch->ops));
	}
	struct op *op = &batch->ops[batch->count++];
	*op = (struct op){ .kind = kind };
	batch->rows += rows;
	if (kind == OP_PAGE || kind == OP_FORGET || kind == OP_FOLLOW)
		batch->keeps_place = true;
	return op;
}

void
catalog_batch_put(struct catalog_batch *batch, const char *name, const struct catalog_local *file,
		  struct digest *layer, size_t layer_count)
{
	assert(strlen(name) <= NAME_MAX_BYTES);
	assert(layer_count <= MERKLE_LAYER_MAX);
	struct op *op = batch_add(batch, OP_PUT, 1);
	op->name = mem_string(name);
	op->put.file = *file;
	op->put.layer = layer;
	op->put.layer_count = layer == NULL ? 0 : layer_count;
}

void
catalog_batch_remove(struct catalog_batch *batch, const char *name)
{
	batch_add(batch, OP_REMOVE, 1)->name = mem_string(name);
}

void
catalog_batch_page(struct catalog_batch *batch, struct change_page *page)
{
	batch_add(batch, OP_PAGE, page->count + 1)->page = page;
}

void
catalog_batch_peer(struct catalog_batch *batch, const struct catalog_peer *peer)
{
	struct op *op = batch_add(batch, OP_PEER, 1);
	op->name = mem_string(peer->name == NULL ? "" : peer->name);
	op->peer.id = mem_string(peer->id);
	op->peer.addresses = mem_string(peer->addresses == NULL ? "" : peer->addresses);
	op->peer.heard_wall_ms = peer->heard_wall_ms;
}

void
catalog_batch_forget(struct catalog_batch *batch, const char *peer, const char *name)
{
	struct op *op = batch_add(batch, OP_FORGET, 1);
	op->peer.id = mem_string(peer);
	op->name = name != NULL ? mem_string(name) : NULL;
}

void
catalog_batch_fetch(struct catalog_batch *batch, uint64_t fetch, const char *what, bool replace,
		    const struct catalog_fetch_item *items, size_t count)
{
	struct op *op = batch_add(batch, OP_FETCH, count + 1);
	op->name = mem_string(what);
	op->fetch.id = fetch;
	op->fetch.replace = replace;
	op->fetch.items = mem_zero(count ? count : 1, sizeof(*items));
	op->fetch.count = count;
	for (size_t i = 0; i < count; i++) {
		op->fetch.items[i] = items[i];
		op->fetch.items[i].name = mem_string(items[i].name);
	}
}

void
catalog_batch_fetch_rank(struct catalog_batch *batch, uint64_t fetch,
			 const struct catalog_rank *rank)
{
	struct op *op = batch_add(batch, OP_FETCH_RANK, 1);
	op->fetch.id = fetch;
	op->fetch.rank = *rank;
}

void
catalog_batch_fetch_item_done(struct catalog_batch *batch, uint64_t fetch, const char *name)
{
	struct op *op = batch_add(batch, OP_ITEM_DONE, 1);
	op->name = mem_string(name);
	op->fetch.id = fetch;
}

void
catalog_batch_making(struct catalog_batch *batch, uint64_t fetch, const char *directory)
{
	struct op *op = batch_add(batch, OP_MAKING, 1);
	op->name = mem_string(directory);
	op->fetch.id = fetch;
}

void
catalog_batch_fetch_done(struct catalog_batch *batch, uint64_t fetch)
{
	batch_add(batch, OP_FETCH_DONE, 1)->fetch.id = fetch;
}
