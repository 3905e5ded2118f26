/* SPDX-License-Identifier: MIT
 *
 * rest_follows.c - the routes of follows.
 */
#include "rest_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NUMBER_MAX ((1ull << 53) - 1)

int
rest_get_follows(struct rest_request *req)
{
	struct service_follow_info *infos;
	size_t count;
	int code = service_follows(req->rest->service, &infos, &count, &req->err);

	if (code != P2P_OK)
		return code;
	char *text = wire_follows(infos, count);
	service_follows_free(infos, count);
	return rest_answer_json(req, MHD_HTTP_OK, text);
}

static int
answer_added(struct rest_request *req, uint64_t id)
{
	char *text = wire_follow_added(id), place[48];
	struct MHD_Response *response =
	    MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_FREE);

	snprintf(place, sizeof(place), "/v1/follows/%" PRIu64, id);
	rest_field(response, MHD_HTTP_HEADER_LOCATION, place);
	rest_field(response, MHD_HTTP_HEADER_CONTENT_TYPE, "application/json");
	return rest_answer(req, MHD_HTTP_CREATED, response);
}

int
rest_post_follows(struct rest_request *req)
{
	struct wire_follow_request wanted;
	uint64_t id;
	int code = wire_follow_request_parse(req->body.data, req->body.len, &wanted, &req->err);

	if (code != P2P_OK)
		return code;
	struct service_follow follow = { .origin = SERVICE_NETWORK,
					 .pattern = wanted.pattern,
					 .place = wanted.place,
					 .replace = wanted.replace };

	code = service_follow(req->rest->service, &follow, &id, &req->err);
	wire_follow_request_fini(&wanted);
	return code != P2P_OK ? code : answer_added(req, id);
}

int
rest_delete_follow(struct rest_request *req)
{
	uint64_t id;

	if (!rest_number(req->var, NUMBER_MAX, &id))
		return error_set(&req->err, P2P_BAD_REQUEST, "the path has no number of a follow");
	int code = service_unfollow(req->rest->service, SERVICE_NETWORK, id, &req->err);
	return code != P2P_OK ? code : rest_answer_empty(req, MHD_HTTP_NO_CONTENT);
}
