/* SPDX-License-Identifier: MIT
 *
 * rest_route.c - the table of what the REST face offers.
 *
 * One row a route: how it is asked for, what it does in a sentence, what becomes of its body, and
 * who answers.  p2pd-rest(7) and the OpenAPI description are held against it by a test.  Rows are
 * tried in order; the first path that fits decides, and its methods are those of all rows with that
 * path.
 *
 * Rights are not here: service decides them, for every face alike.
 */
#include "rest_internal.h"

#include <stdio.h>
#include <string.h>

static const struct rest_row rows[] = {
	{ "GET", "/v1/node", "this peer: id, name, version, addresses, counts, uptime",
	  REST_NO_BODY, .run = rest_get_node },
	{ "GET", "/v1/peers", "the peers that this one knows", REST_NO_BODY,
	  .run = rest_get_peers },
	{ "POST", "/v1/peers", "register: the caller's record in, ours and those we know out",
	  REST_JSON, .run = rest_post_peers },
	{ "DELETE", "/v1/peers/{id}", "that peer says good-bye", REST_NO_BODY,
	  .run = rest_delete_peer },
	{ "GET", "/v1/files", "search the network's files by name", REST_NO_BODY,
	  .run = rest_get_search },
	{ "POST", "/v1/files", "add files from a form", REST_STREAM, .media = "multipart/form-data",
	  .begin = rest_form_begin, .feed = rest_form_feed, .run = rest_form_files },
	{ "GET", "/v1/files/{name}", "the bytes of a file", REST_NO_BODY, .run = rest_get_file },
	{ "HEAD", "/v1/files/{name}", "what GET would say of it", REST_NO_BODY,
	  .run = rest_get_file },
	{ "PUT", "/v1/files/{name}", "add or replace a file of this peer", REST_STREAM,
	  .begin = rest_put_begin, .feed = rest_put_feed, .run = rest_put_file },
	{ "DELETE", "/v1/files/{name}", "remove a file of this peer", REST_NO_BODY,
	  .run = rest_delete_file },
	{ "POST", "/v1/contents/batch", "many small contents by one request", REST_JSON,
	  .run = rest_post_batch },
	{ "GET", "/v1/contents/{root}", "the bytes of a content that this peer holds", REST_NO_BODY,
	  .run = rest_get_content },
	{ "HEAD", "/v1/contents/{root}", "what GET would say of it", REST_NO_BODY,
	  .run = rest_get_content },
	{ "GET", "/v1/contents/{root}/layer", "the piece layer of a content, or leaves", REST_NO_BODY,
	  .run = rest_get_layer },
	{ "GET", "/v1/contents/{root}/have", "which pieces of a content this peer holds",
	  REST_NO_BODY, .run = rest_get_have },
	{ "POST", "/v1/directories", "what directories of this peer are like", REST_JSON,
	  .run = rest_post_directories },
	{ "GET", "/v1/catalog", "the changes of one peer's files since a sequence number",
	  REST_NO_BODY, .run = rest_get_catalog },
	{ "POST", "/v1/notices", "a peer's catalog moved on", REST_JSON, .run = rest_post_notice },
	{ "GET", "/v1/events", "what happens, as it happens", REST_NO_BODY,
	  .run = rest_get_events },
	{ "GET", "/v1/fetches", "the fetches of this peer", REST_NO_BODY, .run = rest_get_fetches },
	{ "POST", "/v1/fetches", "start fetching into the share", REST_JSON,
	  .run = rest_post_fetches },
	{ "GET", "/v1/fetches/{id}", "one fetch", REST_NO_BODY, .run = rest_get_fetch },
	{ "DELETE", "/v1/fetches/{id}", "cancel a fetch, or take an ended one from the list",
	  REST_NO_BODY, .run = rest_delete_fetch },
	{ "GET", "/v1/follows", "what is followed", REST_NO_BODY, .run = rest_get_follows },
	{ "POST", "/v1/follows", "fetch what appears and fits, from now on", REST_JSON,
	  .run = rest_post_follows },
	{ "DELETE", "/v1/follows/{id}", "follow that no longer", REST_NO_BODY,
	  .run = rest_delete_follow },
	{ "GET", "/healthz", "whether the daemon lives", REST_NO_BODY, .run = rest_get_health },
	{ "GET", "/metrics", "counters and gauges for Prometheus", REST_NO_BODY,
	  .run = rest_get_metrics },
	{ "GET", "/v1/openapi.json", "this interface as OpenAPI 3.1", REST_NO_BODY,
	  .run = rest_get_openapi },
};

#define ROW_COUNT (sizeof(rows) / sizeof(rows[0]))

bool
rest_route(size_t index, struct rest_route *ret)
{
	if (index >= ROW_COUNT)
		return false;
	*ret = (struct rest_route){ rows[index].method, rows[index].path, rows[index].help };
	return true;
}

/* The methods of a path, for Allow. */
static void
list_methods(const char *path, char *ret, size_t size)
{
	size_t len = 0;

	for (size_t i = 0; i < ROW_COUNT; i++) {
		if (strcmp(rows[i].path, path) != 0)
			continue;
		len += (size_t)snprintf(ret + len, size - len, "%s%s", len > 0 ? ", " : "",
					rows[i].method);
	}
}

int
rest_route_find(struct rest_request *req, const char *method)
{
	char *path = req->target.path;
	const struct rest_row *fits = NULL;
	size_t at, len;

	for (size_t i = 0; i < ROW_COUNT; i++) {
		if (!rest_path_match(rows[i].path, path, &at, &len))
			continue;
		if (fits == NULL)
			fits = &rows[i];
		if (strcmp(rows[i].method, method) == 0) {
			req->row = &rows[i];
			path[at + len] = '\0';
			req->var = path + at;
			return P2P_OK;
		}
	}
	if (fits == NULL)
		return error_set(&req->err, P2P_NOT_FOUND, "there is no %.256s here", path);
	list_methods(fits->path, req->allow, sizeof(req->allow));
	return error_set(&req->err, P2P_BAD_METHOD, "%s offers %s", fits->path, req->allow);
}
