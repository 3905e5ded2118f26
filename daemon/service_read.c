/* SPDX-License-Identifier: MIT
 *
 * service_read.c - files of ours to read.
 *
 * A file is opened through the catalog: its entry says which bytes it must have, store_open() refuses whatever does not
 * look so any more.  Small files are kept open from one request to the next (a web server's open-file cache): an entry is
 * good while our catalog has not moved, and its bytes are checked by fstat at every use.  As soon as a commit
 * changes our files all are closed, so that no deleted file is kept alive.
 *
 * A content that is asked for by its id may also be one that is still being fetched (holdings.h): the catalog is looked at
 * first, for a whole file is better than pieces.
 */
#include "service_internal.h"

#include <stdlib.h>
#include <string.h>

#include "mem.h"

/* --- the cache --- */

void
service_readers_init(struct reader_cache *cache)
{
	pthread_mutex_init(&cache->mutex, NULL);
}

static void
empty_slot(struct cached_reader *slot)
{
	if (slot->reader == NULL)
		return;
	store_reader_unref(slot->reader);
	free(slot->name);
	*slot = (struct cached_reader){ 0 };
}

void
service_readers_clear(struct reader_cache *cache)
{
	pthread_mutex_lock(&cache->mutex);
	for (size_t i = 0; i < READER_CACHE_SLOTS; i++)
		empty_slot(&cache->slots[i]);
	pthread_mutex_unlock(&cache->mutex);
}

void
service_readers_fini(struct reader_cache *cache)
{
	service_readers_clear(cache);
	pthread_mutex_destroy(&cache->mutex);
}

/* FNV-1a: names are short, and nobody gains by collisions in a cache of 256. */
static struct cached_reader *
slot_of(struct reader_cache *cache, const char *name)
{
	uint32_t hash = 2166136261u;
	for (const unsigned char *c = (const unsigned char *)name; *c != '\0'; c++)
		hash = (hash ^ *c) * 16777619u;
	return &cache->slots[hash % READER_CACHE_SLOTS];
}

static struct store_reader *
find_cached(struct service *service, const char *name, uint64_t seq, struct catalog_local *ret_file)
{
	struct store_reader *reader = NULL;
	pthread_mutex_lock(&service->readers.mutex);
	struct cached_reader *slot = slot_of(&service->readers, name);
	if (slot->reader != NULL && slot->seq == seq && strcmp(slot->name, name) == 0) {
		reader = store_reader_ref(slot->reader);
		*ret_file = slot->file;
	}
	pthread_mutex_unlock(&service->readers.mutex);
	if (reader != NULL && store_reader_check(reader) != P2P_OK) {
		store_reader_unref(reader);
		reader = NULL;
	}
	return reader;
}

static void
keep_cached(struct service *service, const char *name, uint64_t seq, struct store_reader *reader,
    const struct catalog_local *file)
{
	if (reader->content.size_bytes > READER_CACHE_FILE_MAX)
		return;
	pthread_mutex_lock(&service->readers.mutex);
	struct cached_reader *slot = slot_of(&service->readers, name);
	empty_slot(slot);
	*slot = (struct cached_reader){ mem_string(name), store_reader_ref(reader), *file, seq };
	pthread_mutex_unlock(&service->readers.mutex);
}

/* --- opening --- */

static int
open_local(struct service *service, const char *name, const struct catalog_local *file,
    struct store_reader **ret, struct error *err)
{
	int code = store_open(service->parts.store, name, &file->content, &file->sig, ret, err);
	if (code == P2P_CONFLICT)
		error_set(err, code, "\"%s\" has changed and is being read anew", name);
	return code;
}

int
service_stat(struct service *service, const char *name, struct catalog_local *ret, struct error *err)
{
	int code = name_check(name, strlen(name), err);
	if (code != P2P_OK)
		return code;
	code = catalog_find_local(service->parts.catalog, name, ret);
	if (code == P2P_NOT_FOUND)
		return error_set(err, code, "this peer has no file \"%s\"", name);
	if (code != P2P_OK)
		return error_set(err, code, "the catalog cannot be read");
	return P2P_OK;
}

int
service_open(struct service *service, const char *name, struct store_reader **ret,
    struct catalog_local *ret_file, struct error *err)
{
	struct catalog_local file;
	struct catalog_head head;
	catalog_head(service->parts.catalog, &head);
	struct store_reader *reader = find_cached(service, name, head.seq, &file);
	if (reader == NULL) {
		int code = service_stat(service, name, &file, err);
		if (code == P2P_OK)
			code = open_local(service, name, &file, &reader, err);
		if (code != P2P_OK)
			return code;
		keep_cached(service, name, head.seq, reader, &file);
	}
	*ret = reader;
	if (ret_file != NULL)
		*ret_file = file;
	return P2P_OK;
}

static int
no_content(const struct content_id *content, struct error *err)
{
	char hex[DIGEST_HEX_SIZE];
	digest_hex(&content->root, hex);
	return error_set(err, P2P_NOT_FOUND, "this peer has no content %s of %llu bytes", hex,
	    (unsigned long long)content->size_bytes);
}

int
service_stat_content(struct service *service, const struct content_id *content, char *ret_name,
    struct catalog_local *ret, struct error *err)
{
	int code = catalog_find_content(service->parts.catalog, content, ret_name, ret);
	if (code == P2P_NOT_FOUND)
		return no_content(content, err);
	if (code != P2P_OK)
		return error_set(err, code, "the catalog cannot be read");
	return P2P_OK;
}

/* --- contents that are held whole, or in pieces --- */

/* A partial content that was looked for just when it became whole is found by a second look. */
#define LOOKS 2

static int
no_pieces(struct service *service, const struct content_id *content, struct error *err)
{
	struct holding_question question = { .content = *content };
	struct holding_answer answer;
	bool waits;
	if (holdings_ask(service->parts.holdings, &question, false, NULL, &answer, &waits) != P2P_OK)
		return no_content(content, err);
	holding_answer_fini(&answer);
	return error_set(err, P2P_NOT_FOUND,
	    "this content is still being fetched here, and not all of these bytes have come");
}

int
service_find_content(struct service *service, const struct content_id *content, uint64_t offset,
    uint64_t len, struct store_reader **ret, struct error *err)
{
	char name[NAME_SIZE];
	struct catalog_local file;
	struct holdings *holdings = service->parts.holdings;
	int code = P2P_NOT_FOUND;
	if (offset > content->size_bytes || len > content->size_bytes - offset)
		return error_set(err, P2P_BAD_RANGE, "the content has %llu bytes",
		    (unsigned long long)content->size_bytes);
	for (int look = 0; code == P2P_NOT_FOUND && look < LOOKS; look++) {
		code = service_stat_content(service, content, name, &file, err);
		if (code == P2P_OK)
			code = open_local(service, name, &file, ret, err);
		else if (code == P2P_NOT_FOUND)
			code = holdings_open(holdings, content, offset, len, ret);
	}
	return code == P2P_NOT_FOUND ? no_pieces(service, content, err) : code;
}

int
service_open_content(struct service *service, const struct content_id *content, uint64_t offset,
    uint64_t len, struct store_reader **ret, struct error *err)
{
	int code = service_find_content(service, content, offset, len, ret, err);
	if (code == P2P_OK)
		holdings_sending(service->parts.holdings, content, offset, len);
	return code;
}

static int
check_question(const struct holding_question *question, struct error *err)
{
	if (question->wait_ms > HOLDINGS_WAIT_MAX_MS)
		return error_set(err, P2P_BAD_REQUEST, "wait: at most %d milliseconds",
		    HOLDINGS_WAIT_MAX_MS);
	if (question->peer[0] != '\0' && !digest_is_base32(question->peer))
		return error_set(err, P2P_BAD_REQUEST, "peer: wanted a peer id");
	return P2P_OK;
}

int
service_have(struct service *service, const struct holding_question *question,
    struct holding_waiter *waiter, struct holding_answer *ret, bool *ret_waits, struct error *err)
{
	char name[NAME_SIZE];
	struct catalog_local file;
	int code = check_question(question, err);
	if (code != P2P_OK)
		return code;
	code = P2P_NOT_FOUND;
	for (int look = 0; code == P2P_NOT_FOUND && look < LOOKS; look++) {
		code = service_stat_content(service, &question->content, name, &file, err);
		if (code == P2P_OK || code == P2P_NOT_FOUND)
			code = holdings_ask(service->parts.holdings, question, code == P2P_OK,
			    waiter, ret, ret_waits);
	}
	return code;
}

void
service_have_forget(struct service *service, struct holding_waiter *waiter)
{
	holdings_forget(service->parts.holdings, waiter);
}

int
service_layer(struct service *service, const struct content_id *content, uint32_t piece_bytes,
    struct digest **ret_layer, size_t *ret_count, uint32_t *ret_piece_bytes, struct error *err)
{
	uint32_t finest_bytes = merkle_piece_bytes(content->size_bytes);
	if (piece_bytes == 0)
		piece_bytes = finest_bytes;
	if (!merkle_piece_valid(piece_bytes) || piece_bytes < finest_bytes)
		return error_set(err, P2P_BAD_REQUEST,
		    "piece %u: a power of two from %u (the finest of this content) to %u is accepted",
		    piece_bytes, finest_bytes, MERKLE_PIECE_MAX);
	struct digest *layer;
	size_t count;
	int code = P2P_NOT_FOUND;
	for (int look = 0; code == P2P_NOT_FOUND && look < LOOKS; look++) {
		code = catalog_layer(service->parts.catalog, content, &layer, &count);
		if (code == P2P_NOT_FOUND)
			code = holdings_layer(service->parts.holdings, content, &layer, &count);
	}
	if (code == P2P_NOT_FOUND)
		return no_content(content, err);
	if (code != P2P_OK)
		return error_set(err, code, "the catalog cannot be read");
	if (piece_bytes > finest_bytes)
		count = merkle_fold_layer(hasher_mine(), layer, count, content->size_bytes,
		    finest_bytes, piece_bytes);
	*ret_layer = layer;
	*ret_count = count;
	*ret_piece_bytes = piece_bytes;
	return P2P_OK;
}

/* --- what cannot be shared --- */

struct unshareable_ask {
	struct service *service;
	void (*fn)(void *arg, const char *name, const char *why);
	void *arg;
};

static int
ask_unshareable(void *arg)
{
	const struct unshareable_ask *ask = arg;
	indexer_unshareable(ask->service->parts.indexer, ask->fn, ask->arg);
	return P2P_OK;
}

void
service_unshareable(struct service *service,
    void (*fn)(void *arg, const char *name, const char *why), void *arg)
{
	struct unshareable_ask ask = { service, fn, arg };
	(void)loop_call(service->parts.loop, ask_unshareable, &ask);
}
