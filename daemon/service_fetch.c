/* SPDX-License-Identifier: MIT
 *
 * service_fetch.c - from what a user says to what is fetched.
 *
 * A name, an id, a directory or a glob is looked up in the catalog, in this order, and the first that fits anything counts:
 *   - a file of exactly this name; several contents under it are ambiguous;
 *   - the root in hex, whole or at least CATALOG_ID_PREFIX_MIN digits; several contents are ambiguous;
 *   - a directory: everything below it;
 *   - with * ? or [ in it a glob.
 * What is here already, with this name and this content, is not fetched into the share again.
 */
#include "service_internal.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mem.h"

#define CANDIDATES_MAX	64	/* contents told when a name is ambiguous */

/* What was found so far. */
struct resolved {
	struct fetch_item *items;
	bool *is_present;	/* beside items[]: it is here already */
	size_t count, room;
	bool is_cut;		/* more than FETCH_ITEMS_MAX */
};

static bool
add_found(void *arg, const struct catalog_found *found)
{
	struct resolved *resolved = arg;
	if (resolved->count == FETCH_ITEMS_MAX) {
		resolved->is_cut = true;
		return false;
	}
	if (resolved->count == resolved->room) {
		resolved->room = resolved->room ? 2 * resolved->room : 8;
		resolved->items =
		    mem_grow(resolved->items, resolved->room, sizeof(*resolved->items));
		resolved->is_present =
		    mem_grow(resolved->is_present, resolved->room, sizeof(*resolved->is_present));
	}
	resolved->is_present[resolved->count] = found->is_local;
	resolved->items[resolved->count++] = (struct fetch_item){
		.name = mem_string(found->name),
		.content = found->content,
		.mtime_ns = found->mtime_ns,
		.mode = found->mode,
	};
	return true;
}

static void
truncate_resolved(struct resolved *resolved, size_t count)
{
	while (resolved->count > count)
		free(resolved->items[--resolved->count].name);
}

static void
resolved_fini(struct resolved *resolved)
{
	truncate_resolved(resolved, 0);
	free(resolved->items);
	free(resolved->is_present);
}

static int
search_all(struct service *service, enum catalog_match match, const char *text,
    struct resolved *resolved, struct error *err)
{
	char cursor[CATALOG_CURSOR_SIZE] = "", next[CATALOG_CURSOR_SIZE];
	do {
		struct catalog_query query = { .match = match,
			.text = text,
			.limit = CATALOG_PAGE_MAX,
			.cursor = cursor[0] ? cursor : NULL };
		int code = catalog_search(service->parts.catalog, &query, add_found, resolved,
		    next, err);
		if (code != P2P_OK)
			return code;
		memcpy(cursor, next, sizeof(cursor));
	} while (cursor[0] != '\0' && !resolved->is_cut);
	if (resolved->is_cut)
		return error_set(err, P2P_TOO_MANY, "\"%s\" fits more than %d files", text,
		    FETCH_ITEMS_MAX);
	return P2P_OK;
}

/* Tells the contents that stand under `name` (or all with this prefix of a root). */
struct telling {
	service_candidate_fn fn;
	void *arg;
	unsigned left;
};

static bool
tell_candidate(void *arg, const struct catalog_found *found)
{
	struct telling *telling = arg;
	if (telling->fn != NULL)
		telling->fn(telling->arg, found);
	return --telling->left > 0;
}

static int
ambiguous_name(struct service *service, const char *name, service_candidate_fn fn, void *arg,
    struct error *err)
{
	char cursor[CATALOG_CURSOR_SIZE];
	struct telling telling = { fn, arg, CANDIDATES_MAX };
	struct catalog_query query = { .match = CATALOG_EXACT,
		.text = name,
		.limit = CANDIDATES_MAX };
	(void)catalog_search(service->parts.catalog, &query, tell_candidate, &telling, cursor,
	    NULL);
	return error_set(err, P2P_AMBIGUOUS,
	    "\"%s\" has different contents on different peers: name the one that you want by its id",
	    name);
}

static int
resolve_name(struct service *service, const char *name, service_candidate_fn fn, void *arg,
    struct resolved *resolved, struct error *err)
{
	int code = search_all(service, CATALOG_EXACT, name, resolved, err);
	if (code == P2P_OK && resolved->count > 1)
		code = ambiguous_name(service, name, fn, arg, err);
	return code;
}

static bool
is_id_prefix(const char *what)
{
	size_t len = strlen(what);
	return len >= CATALOG_ID_PREFIX_MIN && len <= 2 * DIGEST_BYTES &&
	    strspn(what, "0123456789abcdefABCDEF") == len;
}

/* One content may stand under many names: the first is taken. */
static int
resolve_id(struct service *service, const char *hex, service_candidate_fn fn, void *arg,
    struct resolved *resolved, struct error *err)
{
	int code = catalog_find_root(service->parts.catalog, hex, CANDIDATES_MAX, add_found,
	    resolved);
	if (code != P2P_OK && code != P2P_NOT_FOUND)
		return error_set(err, code, "the catalog cannot be read");
	for (size_t i = 1; i < resolved->count; i++) {
		if (content_equal(&resolved->items[i].content, &resolved->items[0].content))
			continue;
		struct telling telling = { fn, arg, CANDIDATES_MAX };
		(void)catalog_find_root(service->parts.catalog, hex, CANDIDATES_MAX,
		    tell_candidate, &telling);
		return error_set(err, P2P_AMBIGUOUS,
		    "more than one content begins with %s: give more digits", hex);
	}
	/* A name under which it is here already, if there is one, answers best. */
	for (size_t i = 1; i < resolved->count; i++) {
		if (!resolved->is_present[i] || resolved->is_present[0])
			continue;
		struct fetch_item first = resolved->items[0];
		resolved->items[0] = resolved->items[i];
		resolved->items[i] = first;
		resolved->is_present[0] = true;
	}
	truncate_resolved(resolved, resolved->count ? 1 : 0);
	return P2P_OK;
}

/* In a tree a name with two contents cannot be decided for the user.  Rows come ordered by name. */
static int
check_tree(struct service *service, const struct resolved *resolved, service_candidate_fn fn,
    void *arg, struct error *err)
{
	for (size_t i = 1; i < resolved->count; i++)
		if (strcmp(resolved->items[i - 1].name, resolved->items[i].name) == 0)
			return ambiguous_name(service, resolved->items[i].name, fn, arg, err);
	return P2P_OK;
}

static int
resolve_directory(struct service *service, const char *what, struct resolved *resolved,
    struct error *err)
{
	char directory[NAME_SIZE];
	size_t len = strlen(what);
	while (len > 0 && what[len - 1] == '/')
		len--;
	memcpy(directory, what, len);
	directory[len] = '\0';
	/* "" or "/" is the whole tree of the network. */
	return search_all(service, CATALOG_UNDER, directory, resolved, err);
}

static int
resolve(struct service *service, const char *what, service_candidate_fn fn, void *arg,
    struct resolved *resolved, struct error *err)
{
	if (what[0] == '\0' || strlen(what) > NAME_MAX_BYTES)
		return error_set(err, P2P_BAD_REQUEST,
		    "a name, an id, a directory or a glob of 1 to %d bytes is wanted",
		    NAME_MAX_BYTES);
	int code = resolve_name(service, what, fn, arg, resolved, err);
	if (code == P2P_OK && resolved->count == 0 && is_id_prefix(what))
		code = resolve_id(service, what, fn, arg, resolved, err);
	if (code != P2P_OK || resolved->count != 0)
		return code;
	code = resolve_directory(service, what, resolved, err);
	if (code == P2P_OK && resolved->count == 0 && strpbrk(what, "*?[") != NULL)
		code = search_all(service, CATALOG_GLOB, what, resolved, err);
	if (code == P2P_OK)
		code = check_tree(service, resolved, fn, arg, err);
	if (code == P2P_OK && resolved->count == 0)
		code = error_set(err, P2P_NOT_FOUND,
		    "no peer has a file, a directory or a content \"%s\"", what);
	return code;
}

/* Exactly this content, under a name of the caller's choice; mode and mtime as a holder has them. */
static int
resolve_content(struct service *service, const char *name, const struct content_id *content,
    bool is_foreign, struct resolved *resolved, struct error *err)
{
	int code = is_foreign ? P2P_OK : name_check(name, strlen(name), err);
	if (code != P2P_OK)
		return code;
	char hex[DIGEST_HEX_SIZE];
	digest_hex(&content->root, hex);
	struct resolved all = { 0 };
	(void)catalog_find_root(service->parts.catalog, hex, CANDIDATES_MAX, add_found, &all);
	struct catalog_found wanted = { .name = name, .content = *content, .mode = 0644 };
	bool is_known = false;
	for (size_t i = 0; i < all.count; i++) {
		if (!content_equal(&all.items[i].content, content))
			continue;
		bool is_same_name = strcmp(all.items[i].name, name) == 0;
		if (is_known && !is_same_name)
			continue;
		is_known = true;
		wanted.mtime_ns = all.items[i].mtime_ns;
		wanted.mode = all.items[i].mode;
		wanted.is_local = is_same_name && all.is_present[i];
	}
	resolved_fini(&all);
	if (!is_known)
		return error_set(err, P2P_NOT_FOUND, "no peer has the content %s of %llu bytes",
		    hex, (unsigned long long)content->size_bytes);
	add_found(resolved, &wanted);
	return P2P_OK;
}

/* --- starting --- */

struct start_ask {
	struct service *service;
	struct fetch_request *request;
	uint64_t id;
	struct error *err;
	bool is_taken;		/* the mind got it, and with it what the request owns */
};

static int
ask_start(void *arg)
{
	struct start_ask *ask = arg;
	ask->is_taken = true;
	return fetch_start(ask->service->parts.fetches, ask->request, &ask->id, ask->err);
}

/* Drops what is here already from what will be fetched into the share. */
static uint32_t
drop_present(struct resolved *resolved)
{
	size_t kept = 0;
	uint32_t present = 0;
	for (size_t i = 0; i < resolved->count; i++) {
		if (resolved->is_present[i]) {
			free(resolved->items[i].name);
			present++;
		} else {
			resolved->items[kept++] = resolved->items[i];
		}
	}
	resolved->count = kept;
	return present;
}

static void
close_target(const struct service_fetch *fetch)
{
	if (fetch->data_fd >= 0)
		close(fetch->data_fd);
	if (fetch->have_fd >= 0)
		close(fetch->have_fd);
}

/* A name that is taken by other bytes is said at once; in a tree each file answers for itself. */
static int
check_taken(struct service *service, const struct resolved *resolved, struct error *err)
{
	struct catalog_local existing;
	if (resolved->count != 1 ||
	    catalog_find_local(service->parts.catalog, resolved->items[0].name, &existing) != P2P_OK)
		return P2P_OK;
	return error_set(err, P2P_EXISTS,
	    "this peer has another content under \"%s\": replace it explicitly, or fetch to another place",
	    resolved->items[0].name);
}

static int
start(struct service *service, const struct service_fetch *fetch, struct resolved *resolved,
    struct service_fetch_started *ret, struct error *err)
{
	uint64_t bytes = 0;
	for (size_t i = 0; i < resolved->count; i++)
		bytes += resolved->items[i].content.size_bytes;
	uint32_t files = (uint32_t)resolved->count;
	struct fetch_request request = {
		.what = fetch->what,
		.items = resolved->items,
		.count = resolved->count,
		.replace = fetch->replace,
		.priority = fetch->priority,
		.data_fd = fetch->data_fd,
		.have_fd = fetch->have_fd,
	};
	struct start_ask ask = { service, &request, 0, err, false };
	int code = service_ask(service, ask_start, &ask, err);
	if (ask.is_taken) {
		resolved->items = NULL;
		resolved->count = 0;
	}
	if (code != P2P_OK)
		return code;
	/* What is answered now must survive a kill: the scribe writes in order, so once this empty batch is through, the
	 * fetch stands in the catalog.  One that cannot be written costs the memory over a restart, not the fetch. */
	if (fetch->data_fd < 0)
		(void)catalog_submit_wait(service->parts.catalog, catalog_batch_new());
	*ret = (struct service_fetch_started){ ask.id, files, ret->present, bytes };
	return P2P_OK;
}

int
service_fetch(struct service *service, const struct service_fetch *fetch, service_candidate_fn fn,
    void *arg, struct service_fetch_started *ret, struct error *err)
{
	bool is_foreign = fetch->data_fd >= 0;
	bool is_taken = false;
	struct resolved resolved = { 0 };
	int code = service_allow(service, fetch->origin, true, "starting fetches", err);
	if (code == P2P_OK && fetch->content != NULL)
		code = resolve_content(service, fetch->what, fetch->content, is_foreign, &resolved,
		    err);
	else if (code == P2P_OK)
		code = resolve(service, fetch->what, fn, arg, &resolved, err);
	if (code == P2P_OK && is_foreign && resolved.count != 1)
		code = error_set(err, P2P_BAD_REQUEST,
		    "\"%s\" is %zu files: one target takes one file", fetch->what, resolved.count);
	if (code != P2P_OK)
		goto out;

	uint32_t present = is_foreign ? 0 : drop_present(&resolved);
	*ret = (struct service_fetch_started){ .present = present };
	if (resolved.count == 0)
		goto out;
	if (!is_foreign && !fetch->replace)
		code = check_taken(service, &resolved, err);
	if (code == P2P_OK) {
		code = start(service, fetch, &resolved, ret, err);
		is_taken = resolved.items == NULL;
	}
out:
	if (!is_taken)
		close_target(fetch);
	resolved_fini(&resolved);
	return code;
}

/* --- asking and ending --- */

struct fetch_ask {
	struct service *service;
	uint64_t id;
	struct fetch_info *infos;	/* one to be filled, or the array that was given */
	size_t count;
	enum fetch_priority priority;
	bool is_front;
};

static int
ask_get(void *arg)
{
	struct fetch_ask *ask = arg;
	return fetch_get(ask->service->parts.fetches, ask->id, ask->infos);
}

static int
ask_list(void *arg)
{
	struct fetch_ask *ask = arg;
	ask->infos = fetches_list(ask->service->parts.fetches, &ask->count);
	return P2P_OK;
}

static int
ask_cancel(void *arg)
{
	struct fetch_ask *ask = arg;
	return fetch_cancel(ask->service->parts.fetches, ask->id);
}

static int
ask_rank(void *arg)
{
	struct fetch_ask *ask = arg;
	struct fetches *fetches = ask->service->parts.fetches;
	return ask->is_front ? fetch_to_front(fetches, ask->id)
			     : fetch_prioritize(fetches, ask->id, ask->priority);
}

static int
ask_fetch(struct service *service, loop_ask_fn fn, struct fetch_ask *ask, struct error *err)
{
	int code = service_ask(service, fn, ask, err);
	if (code == P2P_NOT_FOUND)
		error_set(err, code, "there is no fetch %llu", (unsigned long long)ask->id);
	if (code == P2P_CONFLICT)
		error_set(err, code, "fetch %llu has ended", (unsigned long long)ask->id);
	return code;
}

int
service_fetch_get(struct service *service, uint64_t id, struct fetch_info *ret, struct error *err)
{
	struct fetch_ask ask = { .service = service, .id = id, .infos = ret };
	return ask_fetch(service, ask_get, &ask, err);
}

int
service_fetches(struct service *service, struct fetch_info **ret, size_t *ret_count)
{
	struct fetch_ask ask = { .service = service };
	int code = loop_call(service->parts.loop, ask_list, &ask);
	if (code != P2P_OK)
		return code;
	*ret = ask.infos;
	*ret_count = ask.count;
	return P2P_OK;
}

int
service_prioritize(struct service *service, enum service_origin origin, uint64_t id,
    const char *rank, struct error *err)
{
	struct fetch_ask ask = { .service = service, .id = id };
	int code = service_allow(service, origin, true, "changing fetches", err);
	if (code != P2P_OK)
		return code;
	ask.is_front = strcmp(rank, "front") == 0;
	if (!ask.is_front && !fetch_priority_parse(rank, &ask.priority))
		return error_set(err, P2P_BAD_REQUEST, "a fetch is made low, normal or high, or put in front");
	return ask_fetch(service, ask_rank, &ask, err);
}

int
service_cancel(struct service *service, enum service_origin origin, uint64_t id, struct error *err)
{
	int code = service_allow(service, origin, true, "cancelling fetches", err);
	if (code != P2P_OK)
		return code;
	struct fetch_ask ask = { .service = service, .id = id };
	return ask_fetch(service, ask_cancel, &ask, err);
}

/* --- gateway --- */

struct stream_ask {
	struct service *service;
	const struct content_id *content;
	struct fetch_stream *stream;
};

static int
ask_stream(void *arg)
{
	struct stream_ask *ask = arg;
	ask->stream = fetch_stream_new(ask->service->parts.fetches, ask->content);
	return P2P_OK;
}

int
service_stream(struct service *service, const char *name, struct content_id *ret_content,
    struct store_reader **ret_reader, struct fetch_stream **ret_stream, struct error *err)
{
	struct catalog_local file;
	struct store_reader *reader;
	int code = service_open(service, name, &reader, &file, err);
	if (code == P2P_OK) {
		*ret_content = reader->content;
		*ret_reader = reader;
		*ret_stream = NULL;
		return P2P_OK;
	}
	if (code != P2P_NOT_FOUND)
		return code;
	struct resolved resolved = { 0 };
	code = resolve_name(service, name, NULL, NULL, &resolved, err);
	if (code == P2P_OK && resolved.count == 0)
		code = error_set(err, P2P_NOT_FOUND, "no peer has a file \"%s\"", name);
	if (code == P2P_OK) {
		struct content_id content = resolved.items[0].content;
		struct stream_ask ask = { service, &content, NULL };
		code = service_ask(service, ask_stream, &ask, err);
		if (code == P2P_OK) {
			*ret_content = content;
			*ret_reader = NULL;
			*ret_stream = ask.stream;
		}
	}
	resolved_fini(&resolved);
	return code;
}
