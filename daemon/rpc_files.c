/* SPDX-License-Identifier: MIT
 *
 * rpc_files.c - p2p.v1.Files, what is asked about files: Search, Stat, Layer, Changes.
 *
 * A search is a stream of pages.  Each step reads one from the catalog, from the cursor where the
 * page before ended, and is not begun before that has left: a client that does not read costs one
 * page of memory, and holds nothing open in the database.  A page also ends at PAGE_BYTES, so that
 * files with a thousand holders each still fit into what clients accept.
 *
 * Stat is asked often, by programs that walk what they know: it opens nothing and allocates
 * nothing, its answer is put together from what lies on the stack.
 *
 * Bytes are moved in rpc_download.c and rpc_upload.c; Have, which waits, is in rpc_have.c.
 */
#include "rpc_internal.h"

#include <stdlib.h>
#include <string.h>

#include "codes.h"
#include "mem.h"
#include "name.h"

#define PAGE_ROWS   100                /* files in one message */
#define PAGE_BYTES  (1u << 20)         /* of the names and holders in it, or one file more */
#define HOLDER_SIZE 65                 /* of how a peer is called, with NUL */
#define NUMBER_MAX  ((1ull << 53) - 1) /* what every JSON reader keeps exactly: as over REST */

/* --- Search --- */

struct search {
	struct catalog_query query;
	struct catalog_filter filter;
	char *text, *directory, *holder;  /* what these two point to */
	char cursor[CATALOG_CURSOR_SIZE]; /* where the next page begins */
	uint64_t left;                    /* files that may still be told */
	bool is_done;
};

static int
read_match(P2p__V1__Match match, enum catalog_match *ret, struct error *err)
{
	static const enum catalog_match matches[] = {
		[P2P__V1__MATCH__MATCH_SUBSTRING] = CATALOG_SUBSTRING,
		[P2P__V1__MATCH__MATCH_GLOB] = CATALOG_GLOB,
		[P2P__V1__MATCH__MATCH_EXACT] = CATALOG_EXACT,
		[P2P__V1__MATCH__MATCH_UNDER] = CATALOG_UNDER,
		[P2P__V1__MATCH__MATCH_ROOT] = CATALOG_ROOT,
		[P2P__V1__MATCH__MATCH_LEVEL] = CATALOG_LEVEL,
	};

	if ((unsigned)match >= sizeof(matches) / sizeof(matches[0]))
		return error_set(err, P2P_BAD_REQUEST, "match: %d is not known here", (int)match);
	*ret = matches[match];
	return P2P_OK;
}

static int
read_scope(P2p__V1__Scope scope, bool *ret_is_local, struct error *err)
{
	if (scope != P2P__V1__SCOPE__SCOPE_NETWORK && scope != P2P__V1__SCOPE__SCOPE_LOCAL)
		return error_set(err, P2P_BAD_REQUEST, "scope: %d is not known here", (int)scope);
	*ret_is_local = scope == P2P__V1__SCOPE__SCOPE_LOCAL;
	return P2P_OK;
}

static int
check_filter(const P2p__V1__Filter *filter, struct error *err)
{
	if (filter == NULL)
		return P2P_OK;
	if (strlen(filter->directory) > NAME_MAX_BYTES)
		return error_set(err, P2P_BAD_REQUEST, "directory: wanted at most %d bytes",
				 NAME_MAX_BYTES);
	if (strlen(filter->holder) >= HOLDER_SIZE)
		return error_set(err, P2P_BAD_REQUEST, "holder: wanted at most %d bytes",
				 HOLDER_SIZE - 1);
	if ((unsigned)filter->state > P2P__V1__STATE__STATE_AWAY)
		return error_set(err, P2P_BAD_REQUEST, "state: %d is not known here",
				 (int)filter->state);
	return P2P_OK;
}

/* A copy, or NULL of nothing. */
static char *
copy_text(const char *text)
{
	return text[0] != '\0' ? mem_string(text) : NULL;
}

static void
keep_filter(struct search *search, const P2p__V1__Filter *filter)
{
	static const enum catalog_state states[] = {
		[P2P__V1__STATE__STATE_ANY] = CATALOG_ANY_STATE,
		[P2P__V1__STATE__STATE_HERE] = CATALOG_HERE,
		[P2P__V1__STATE__STATE_AWAY] = CATALOG_AWAY,
	};
	struct catalog_filter *keep = &search->filter;

	*keep = (struct catalog_filter)CATALOG_FILTER_NONE;
	search->query.filter = keep;
	if (filter == NULL)
		return;
	keep->directory = search->directory = copy_text(filter->directory);
	keep->holder = search->holder = copy_text(filter->holder);
	keep->state = states[filter->state];
	keep->size_min = filter->size_min;
	if (filter->has_size_max)
		keep->size_max = filter->size_max;
	if (filter->has_mtime_min)
		keep->mtime_min_ns = filter->mtime_min_ns;
	if (filter->has_mtime_max)
		keep->mtime_max_ns = filter->mtime_max_ns;
}

RPC_TAKE(rpc_search)
{
	const P2p__V1__SearchRequest *request = (const P2p__V1__SearchRequest *)message;
	struct catalog_query query = { .limit = PAGE_ROWS };
	int code = read_match(request->match, &query.match, err);

	if (code == P2P_OK)
		code = read_scope(request->scope, &query.local_only, err);
	if (code == P2P_OK)
		code = check_filter(request->filter, err);
	if (code != P2P_OK)
		return code;
	if (strlen(request->text) > NAME_MAX_BYTES)
		return error_set(err, P2P_BAD_REQUEST, "text: wanted at most %d bytes",
				 NAME_MAX_BYTES);
	if (strlen(request->cursor) >= CATALOG_CURSOR_SIZE)
		return error_set(err, P2P_BAD_REQUEST, "cursor: wanted one that was told");

	struct search *search = mem_zero(1, sizeof(*search));
	search->text = mem_string(request->text);
	strcpy(search->cursor, request->cursor);
	search->query = query;
	search->query.text = search->text;
	search->query.cursor = search->cursor;
	keep_filter(search, request->filter);
	search->left = request->limit != 0 ? request->limit : UINT64_MAX;
	rpc_head(call)->state = search;
	return RPC_MORE;
}

/* The rows of one page. */
struct page {
	struct rpc_call_head *head;
	P2p__V1__File *files[PAGE_ROWS];
	P2p__V1__Subdirectory *directories[PAGE_ROWS];
	size_t count, directory_count;
	size_t bytes;
};

/* catalog_found_fn */
static bool
add_row(void *arg, const struct catalog_found *found)
{
	struct page *page = arg;

	if (found->is_directory)
		page->directories[page->directory_count++] = wire_pb_of_subdirectory(found);
	else
		page->files[page->count++] = wire_pb_of_found(found);
	page->bytes += strlen(found->name) + (size_t)found->holder_count * PEER_ID_SIZE;
	return page->bytes < PAGE_BYTES && !page->head->is_over;
}

RPC_NEXT(rpc_search_next)
{
	struct search *search = rpc_head(call)->state;
	struct page page = { .head = rpc_head(call) };
	P2p__V1__SearchResponse response = P2P__V1__SEARCH_RESPONSE__INIT;
	char cursor[CATALOG_CURSOR_SIZE];

	if (search->is_done)
		return RPC_END;
	if (search->left < PAGE_ROWS)
		search->query.limit = (uint32_t)search->left;
	int code = rpc_check_room(call, err);
	if (code == P2P_OK)
		code =
		    service_search(page.head->service, &search->query, add_row, &page, cursor, err);
	if (code == P2P_OK) {
		strcpy(search->cursor, cursor);
		search->left -= page.count + page.directory_count;
		search->is_done = search->left == 0 || cursor[0] == '\0';
		response.files = page.files;
		response.n_files = page.count;
		response.directories = page.directories;
		response.n_directories = page.directory_count;
		response.cursor = cursor;
		rpc_reply(call, &response.base);
	}
	for (size_t i = 0; i < page.count; i++)
		p2p__v1__file__free_unpacked(page.files[i], NULL);
	for (size_t i = 0; i < page.directory_count; i++)
		p2p__v1__subdirectory__free_unpacked(page.directories[i], NULL);
	return code != P2P_OK ? code : RPC_MORE;
}

RPC_DONE(rpc_search_end)
{
	struct search *search = rpc_head(call)->state;

	if (search == NULL)
		return;
	free(search->text);
	free(search->directory);
	free(search->holder);
	free(search);
}

/* --- Stat --- */

static int
stat_file(struct service *service, const P2p__V1__FileSpec *spec, struct catalog_local *ret,
	  char *ret_name, struct error *err)
{
	struct content_id content;
	int code;

	if (spec->by_case == P2P__V1__FILE_SPEC__BY_NAME) {
		code = service_stat(service, spec->name, ret, err);
		if (code == P2P_OK)
			strcpy(ret_name, spec->name);
		return code;
	}
	code = wire_pb_content(spec->content, &content, err);
	return code != P2P_OK ? code : service_stat_content(service, &content, ret_name, ret, err);
}

static int
check_stat(const P2p__V1__StatRequest *request, struct error *err)
{
	const P2p__V1__FileSpec *spec = request->file;
	size_t id_len = strlen(request->upload_id);

	if (spec == NULL || spec->by_case == P2P__V1__FILE_SPEC__BY__NOT_SET)
		return error_set(err, P2P_BAD_REQUEST, "file: wanted a name or a content");
	if (id_len > SERVICE_UPLOAD_ID_MAX)
		return error_set(err, P2P_BAD_REQUEST, "upload_id: wanted at most %d bytes",
				 SERVICE_UPLOAD_ID_MAX);
	if (id_len > 0 && spec->by_case != P2P__V1__FILE_SPEC__BY_NAME)
		return error_set(err, P2P_BAD_REQUEST, "upload_id: it goes with a name");
	return P2P_OK;
}

static void
reply_stat(struct rpc_call *call, const char *name, struct catalog_local *local, uint64_t offset)
{
	P2p__V1__StatResponse response = P2P__V1__STAT_RESPONSE__INIT;
	P2p__V1__Content content = P2P__V1__CONTENT__INIT;
	P2p__V1__File file = P2P__V1__FILE__INIT;

	response.upload_offset = offset;
	if (local != NULL) {
		content.size = local->content.size_bytes;
		content.root.data = local->content.root.bytes;
		content.root.len = DIGEST_BYTES;
		file.name = (char *)name;
		file.content = &content;
		file.mtime_ns = local->mtime_ns;
		file.mode = local->mode & 0777;
		file.is_local = true;
		response.file = &file;
	}
	rpc_reply(call, &response.base);
}

RPC_TAKE(rpc_stat)
{
	const P2p__V1__StatRequest *request = (const P2p__V1__StatRequest *)message;
	struct service *service = rpc_head(call)->service;
	struct catalog_local file;
	char name[NAME_SIZE];
	uint64_t offset = 0;
	int code = check_stat(request, err);

	if (code != P2P_OK)
		return code;
	bool has_upload = false;
	int found = stat_file(service, request->file, &file, name, err);
	if (found != P2P_OK && found != P2P_NOT_FOUND)
		return found;
	if (request->upload_id[0] != '\0')
		has_upload = service_upload_offset(service, request->file->name, request->upload_id,
						   &offset) == P2P_OK;
	if (found != P2P_OK && !has_upload)
		return found;
	reply_stat(call, name, found == P2P_OK ? &file : NULL, offset);
	return RPC_END;
}

/* --- Layer --- */

static int
find_nodes(struct service *service, const P2p__V1__LayerRequest *request, struct digest **ret,
	   size_t *ret_count, uint32_t *ret_piece, struct error *err)
{
	struct content_id content;
	int code = wire_pb_content(request->content, &content, err);

	if (code != P2P_OK)
		return code;
	if (request->piece == MERKLE_LEAF_BYTES && request->count != 0) {
		*ret_count = request->count;
		*ret_piece = MERKLE_LEAF_BYTES;
		return service_leaves(service, &content, request->first, request->count, ret, err);
	}
	if (request->first != 0 || request->count != 0)
		return error_set(err, P2P_BAD_REQUEST, "first, count: they go with a piece of %u",
				 MERKLE_LEAF_BYTES);
	return service_layer(service, &content, request->piece, ret, ret_count, ret_piece, err);
}

RPC_TAKE(rpc_layer)
{
	const P2p__V1__LayerRequest *request = (const P2p__V1__LayerRequest *)message;
	P2p__V1__LayerResponse response = P2P__V1__LAYER_RESPONSE__INIT;
	struct digest *layer;
	size_t count;
	int code = rpc_check_room(call, err);

	if (code == P2P_OK)
		code = find_nodes(rpc_head(call)->service, request, &layer, &count, &response.piece,
				  err);
	if (code != P2P_OK)
		return code;
	response.nodes.data = (uint8_t *)layer;
	response.nodes.len = count * sizeof(*layer);
	rpc_reply(call, &response.base);
	free(layer);
	return RPC_END;
}

/* --- Changes --- */

static int
check_changes(const P2p__V1__ChangesRequest *request, struct error *err)
{
	if (request->peer[0] != '\0' && !digest_is_base32(request->peer))
		return error_set(err, P2P_BAD_REQUEST, "peer: wanted a peer id");
	if (request->epoch > NUMBER_MAX)
		return error_set(err, P2P_BAD_REQUEST, "epoch: wanted a number below 2^53");
	if (request->since > NUMBER_MAX)
		return error_set(err, P2P_BAD_REQUEST, "since: wanted a number below 2^53");
	if (request->begun > NUMBER_MAX)
		return error_set(err, P2P_BAD_REQUEST, "begun: wanted a number below 2^53");
	if (request->limit > CHANGE_PAGE_MAX)
		return error_set(err, P2P_BAD_REQUEST, "limit: wanted 1 to %d", CHANGE_PAGE_MAX);
	return P2P_OK;
}

RPC_TAKE(rpc_changes)
{
	const P2p__V1__ChangesRequest *request = (const P2p__V1__ChangesRequest *)message;
	struct change_question question = {
		.peer = request->peer[0] != '\0' ? request->peer : NULL,
		.epoch = request->epoch,
		.since = request->since,
		.begun = request->begun,
		.limit = request->limit != 0 ? request->limit : CHANGE_PAGE_MAX,
	};
	struct change_page *page;
	int code = rpc_check_room(call, err);

	if (code == P2P_OK)
		code = check_changes(request, err);
	if (code == P2P_OK)
		code = service_changes(rpc_head(call)->service, &question, &page, err);
	if (code != P2P_OK)
		return code;

	P2p__V1__ChangesResponse *response = wire_pb_of_changes(page);
	change_page_free(page);
	rpc_reply(call, &response->base);
	p2p__v1__changes_response__free_unpacked(response, NULL);
	return RPC_END;
}
