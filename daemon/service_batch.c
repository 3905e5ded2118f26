/* SPDX-License-Identifier: MIT
 *
 * service_batch.c - many small contents, one after the other, for whoever asked for all of them at once.
 *
 * The catalog is asked for LOOK_AHEAD of them in one view, which is not kept while bytes are read
 * and sent, for a reader may be slow.  Each file is opened, read whole, and looked at once more: what
 * is given are the bytes that the catalog describes, or nothing.  What the catalog does not have
 * may be on its way here and verified; that, and what changed since the catalog was asked, is looked
 * for again by itself.  So a batch holds one content and a few names, however many it is asked for.
 */
#include "service_internal.h"

#include <stdlib.h>
#include <string.h>

#include "mem.h"

#define LOOK_AHEAD 32 /* contents that the catalog is asked for at once */

struct looked {
	bool is_found;
	struct catalog_local file;
	char name[NAME_SIZE];
};

struct service_batch {
	struct service *service;
	struct content_id *contents;
	size_t count;
	size_t at;			/* the next to be given */
	size_t looked_from, looked_to;	/* these stand in looked[] */
	struct looked looked[LOOK_AHEAD];
	unsigned char data[BATCH_CONTENT_MAX];
};

int
service_batch_new(struct service *service, const struct content_id *contents, size_t count,
    struct service_batch **ret, struct error *err)
{
	int code = batch_check(contents, count, err);
	if (code != P2P_OK)
		return code;
	/* Not cleared: most of it is room. */
	struct service_batch *batch = mem_alloc(sizeof(*batch));
	batch->service = service;
	batch->contents = mem_grow(NULL, count, sizeof(*contents));
	memcpy(batch->contents, contents, count * sizeof(*contents));
	batch->count = count;
	batch->at = batch->looked_from = batch->looked_to = 0;
	*ret = batch;
	return P2P_OK;
}

void
service_batch_free(struct service_batch *batch)
{
	if (batch == NULL)
		return;
	free(batch->contents);
	free(batch);
}

static void
look_ahead(struct service_batch *batch)
{
	size_t left = batch->count - batch->at;
	struct catalog_view *view = catalog_view_new(batch->service->parts.catalog);
	batch->looked_from = batch->at;
	batch->looked_to = batch->at + (left < LOOK_AHEAD ? left : LOOK_AHEAD);
	for (size_t i = batch->looked_from; i < batch->looked_to; i++) {
		struct looked *looked = &batch->looked[i - batch->looked_from];
		looked->is_found = view != NULL &&
		    catalog_view_find_content(view, &batch->contents[i], looked->name,
			&looked->file) == P2P_OK;
	}
	catalog_view_free(view);
}

static int
read_whole(struct service_batch *batch, struct store_reader *reader)
{
	int code = file_pread(reader->fd, batch->data, reader->content.size_bytes, 0, NULL);
	if (store_reader_check(reader) != P2P_OK)
		code = P2P_CONFLICT;
	store_reader_unref(reader);
	return code;
}

static int
read_next(struct service_batch *batch, const struct content_id *content)
{
	struct service *service = batch->service;
	const struct looked *looked = &batch->looked[batch->at - batch->looked_from];
	struct store_reader *reader;
	if (looked->is_found &&
	    store_open(service->parts.store, looked->name, &looked->file.content,
		&looked->file.sig, &reader, NULL) == P2P_OK)
		return read_whole(batch, reader);
	int code = service_open_content(service, content, 0, content->size_bytes, &reader, NULL);
	return code == P2P_OK ? read_whole(batch, reader) : code;
}

int
service_batch_next(struct service_batch *batch, int *ret_code, const unsigned char **ret_data,
    size_t *ret_len)
{
	if (batch->at == batch->count)
		return 0;
	if (batch->at == batch->looked_to)
		look_ahead(batch);
	const struct content_id *content = &batch->contents[batch->at];
	*ret_code = read_next(batch, content);
	*ret_data = batch->data;
	*ret_len = *ret_code == P2P_OK ? (size_t)content->size_bytes : 0;
	batch->at++;
	return 1;
}
