/* SPDX-License-Identifier: MIT
 *
 * rest_api.c - the routes that speak JSON: this peer, peers, search, catalogs, notices, fetches.
 *
 * Each handler decodes, asks service, encodes; nothing is decided here.
 */
#include "rest_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"

#define NUMBER_MAX     ((1ull << 53) - 1)
#define SEARCH_DEFAULT 100 /* rows of an answer that asked for no limit */

int
rest_get_node(struct rest_request *req)
{
	struct service_node node;
	int code = service_node(req->rest->service, &node);

	if (code != P2P_OK)
		return error_set(&req->err, code, "%s", code_title(code));
	return rest_answer_json(req, MHD_HTTP_OK, wire_node(&node));
}

/* --- peers --- */

int
rest_get_peers(struct rest_request *req)
{
	struct peer_info *peers;
	size_t count;
	int code = service_peers(req->rest->service, &peers, &count);

	if (code != P2P_OK)
		return error_set(&req->err, code, "%s", code_title(code));
	char *text = wire_peers(peers, count);
	free(peers);
	return rest_answer_json(req, MHD_HTTP_OK, text);
}

int
rest_post_peers(struct rest_request *req)
{
	struct node_hello hello;
	struct node_record mine, *known;
	size_t count;
	int code = wire_register_request_parse(req->body.data, req->body.len, &hello, &req->err);

	if (code == P2P_OK)
		code = service_register(req->rest->service, &hello, req->conn->peer, &mine, &known,
					&count, &req->err);
	if (code != P2P_OK)
		return code;
	char *text = wire_register_answer(&mine, known, count);
	free(known);
	return rest_answer_json(req, MHD_HTTP_OK, text);
}

int
rest_delete_peer(struct rest_request *req)
{
	if (!digest_is_base32(req->var))
		return error_set(&req->err, P2P_BAD_REQUEST, "the path has no peer id");

	int code = service_leave(req->rest->service, req->var, req->conn->peer, &req->err);
	return code != P2P_OK ? code : rest_answer_empty(req, MHD_HTTP_NO_CONTENT);
}

int
rest_post_notice(struct rest_request *req)
{
	struct notice notice;
	int code = wire_notice_parse(req->body.data, req->body.len, &notice, &req->err);

	if (code == P2P_OK)
		code = service_notice(req->rest->service, &notice, &req->err);
	return code != P2P_OK ? code : rest_answer_empty(req, MHD_HTTP_NO_CONTENT);
}

/* --- search and catalogs --- */

static int
parse_match(struct rest_request *req, enum catalog_match *ret)
{
	static const char *const words[] = {
		[CATALOG_SUBSTRING] = "substring", [CATALOG_GLOB] = "glob",
		[CATALOG_EXACT] = "exact",         [CATALOG_UNDER] = "under",
		[CATALOG_ROOT] = "root",           [CATALOG_LEVEL] = "level",
	};
	const char *text = rest_target_param(&req->target, "match");

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (text == NULL || strcmp(text, words[i]) == 0) {
			*ret = (enum catalog_match)i;
			return P2P_OK;
		}
	}
	return error_set(&req->err, P2P_BAD_REQUEST,
			 "match: wanted substring, glob, exact, under, level or root");
}

static int
parse_scope(struct rest_request *req, bool *ret_is_local)
{
	const char *text = rest_target_param(&req->target, "scope");

	if (text != NULL && strcmp(text, "network") != 0 && strcmp(text, "local") != 0)
		return error_set(&req->err, P2P_BAD_REQUEST, "scope: wanted network or local");
	*ret_is_local = text != NULL && strcmp(text, "local") == 0;
	return P2P_OK;
}

/* A limit of rows, 1 to max. */
static int
parse_limit(struct rest_request *req, uint32_t max, uint32_t fallback, uint32_t *ret)
{
	uint64_t limit;
	int code = rest_request_number(req, "limit", max, fallback, &limit);

	if (code == P2P_OK && limit == 0)
		code = error_set(&req->err, P2P_BAD_REQUEST, "limit: wanted 1 to %u", max);
	if (code == P2P_OK)
		*ret = (uint32_t)limit;
	return code;
}

static int
parse_state(struct rest_request *req, enum catalog_state *ret)
{
	const char *text = rest_target_param(&req->target, "state");

	if (text == NULL)
		return P2P_OK;
	if (strcmp(text, "here") != 0 && strcmp(text, "away") != 0)
		return error_set(&req->err, P2P_BAD_REQUEST, "state: wanted here or away");
	*ret = strcmp(text, "here") == 0 ? CATALOG_HERE : CATALOG_AWAY;
	return P2P_OK;
}

static int
parse_filter(struct rest_request *req, struct catalog_filter *ret)
{
	uint64_t mtime_min = 0, mtime_max = INT64_MAX;
	int code = rest_request_number(req, "size_min", UINT64_MAX, ret->size_min, &ret->size_min);

	if (code == P2P_OK)
		code =
		    rest_request_number(req, "size_max", UINT64_MAX, ret->size_max, &ret->size_max);
	if (code == P2P_OK)
		code = rest_request_number(req, "mtime_min_ns", INT64_MAX, 0, &mtime_min);
	if (code == P2P_OK)
		code = rest_request_number(req, "mtime_max_ns", INT64_MAX, INT64_MAX, &mtime_max);
	if (code == P2P_OK)
		code = parse_state(req, &ret->state);
	/* What is older than 1970 is told as long as nobody asks for a time. */
	if (rest_target_param(&req->target, "mtime_min_ns") != NULL)
		ret->mtime_min_ns = (int64_t)mtime_min;
	ret->mtime_max_ns = (int64_t)mtime_max;
	ret->directory = rest_target_param(&req->target, "in");
	ret->holder = rest_target_param(&req->target, "holder");
	return code;
}

int
rest_get_search(struct rest_request *req)
{
	const char *text = rest_target_param(&req->target, "q");
	struct catalog_filter filter = CATALOG_FILTER_NONE;
	struct catalog_query query = { .text = text != NULL ? text : "",
				       .cursor = rest_target_param(&req->target, "cursor"),
				       .filter = &filter };
	char cursor[CATALOG_CURSOR_SIZE] = "";
	int code = parse_match(req, &query.match);

	if (code == P2P_OK)
		code = parse_scope(req, &query.local_only);
	if (code == P2P_OK)
		code = parse_limit(req, CATALOG_PAGE_MAX, SEARCH_DEFAULT, &query.limit);
	if (code == P2P_OK)
		code = parse_filter(req, &filter);
	if (code != P2P_OK)
		return code;

	struct wire_found *found = wire_found_new(query.match == CATALOG_LEVEL);
	code = service_search(req->rest->service, &query, wire_found_add, found, cursor, &req->err);
	char *page = wire_found_end(found, cursor);
	if (code == P2P_OK)
		return rest_answer_json(req, MHD_HTTP_OK, page);
	free(page);
	return code;
}

int
rest_get_catalog(struct rest_request *req)
{
	struct change_question question = { .peer = rest_target_param(&req->target, "peer") };
	struct change_page *page;

	if (question.peer != NULL && !digest_is_base32(question.peer))
		return error_set(&req->err, P2P_BAD_REQUEST, "peer: wanted a peer id");
	int code = rest_request_number(req, "epoch", NUMBER_MAX, 0, &question.epoch);
	if (code == P2P_OK)
		code = rest_request_number(req, "since", NUMBER_MAX, 0, &question.since);
	if (code == P2P_OK)
		code = rest_request_number(req, "begun", NUMBER_MAX, 0, &question.begun);
	if (code == P2P_OK)
		code = parse_limit(req, CHANGE_PAGE_MAX, CHANGE_PAGE_MAX, &question.limit);
	if (code == P2P_OK)
		code = service_changes(req->rest->service, &question, &page, &req->err);
	if (code != P2P_OK)
		return code;
	char *text = wire_changes(page);
	change_page_free(page);
	return rest_answer_json(req, MHD_HTTP_OK, text);
}

/* --- fetches --- */

int
rest_get_fetches(struct rest_request *req)
{
	struct fetch_info *infos;
	size_t count;
	int code = service_fetches(req->rest->service, &infos, &count);

	if (code != P2P_OK)
		return error_set(&req->err, code, "%s", code_title(code));
	char *text = wire_fetches(infos, count);
	for (size_t i = 0; i < count; i++)
		fetch_info_fini(&infos[i]);
	free(infos);
	return rest_answer_json(req, MHD_HTTP_OK, text);
}

static int
answer_started(struct rest_request *req, const struct service_fetch_started *started)
{
	char *text = wire_fetch_started(started);

	if (started->id == 0)
		return rest_answer_json(req, MHD_HTTP_OK, text);

	char place[48];
	struct MHD_Response *response =
	    MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_FREE);

	snprintf(place, sizeof(place), "/v1/fetches/%" PRIu64, started->id);
	rest_field(response, MHD_HTTP_HEADER_LOCATION, place);
	rest_field(response, MHD_HTTP_HEADER_CONTENT_TYPE, "application/json");
	return rest_answer(req, MHD_HTTP_ACCEPTED, response);
}

int
rest_post_fetches(struct rest_request *req)
{
	struct wire_fetch_request wanted;
	int code = wire_fetch_request_parse(req->body.data, req->body.len, &wanted, &req->err);

	if (code != P2P_OK)
		return code;

	struct service_fetch fetch = { .origin = SERVICE_NETWORK,
				       .what = wanted.what,
				       .content = wanted.has_content ? &wanted.content : NULL,
				       .replace = wanted.replace,
				       .priority = wanted.priority,
				       .data_fd = -1,
				       .have_fd = -1 };
	struct service_fetch_started started;

	code = service_fetch(req->rest->service, &fetch, rest_candidate, req, &started, &req->err);
	free(wanted.what);
	return code != P2P_OK ? code : answer_started(req, &started);
}

static int
parse_fetch_id(struct rest_request *req, uint64_t *ret)
{
	if (!rest_number(req->var, NUMBER_MAX, ret))
		return error_set(&req->err, P2P_BAD_REQUEST, "the path has no number of a fetch");
	return P2P_OK;
}

int
rest_get_fetch(struct rest_request *req)
{
	struct fetch_info info;
	uint64_t id;
	int code = parse_fetch_id(req, &id);

	if (code == P2P_OK)
		code = service_fetch_get(req->rest->service, id, &info, &req->err);
	if (code != P2P_OK)
		return code;
	char *text = wire_fetch(&info);
	fetch_info_fini(&info);
	return rest_answer_json(req, MHD_HTTP_OK, text);
}

int
rest_delete_fetch(struct rest_request *req)
{
	uint64_t id;
	int code = parse_fetch_id(req, &id);

	if (code == P2P_OK)
		code = service_cancel(req->rest->service, SERVICE_NETWORK, id, &req->err);
	return code != P2P_OK ? code : rest_answer_empty(req, MHD_HTTP_NO_CONTENT);
}
