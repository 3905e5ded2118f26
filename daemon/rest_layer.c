/* SPDX-License-Identifier: MIT
 *
 * rest_layer.c - GET /v1/contents/{root}/layer: what proves the pieces of a content, and the leaves
 * of a piece.
 *
 * The layer of pieces is stored and answered at once.  Leaves are hashed when they are asked for,
 * which takes up to a tenth of a second and more on a slow disk: the connection is suspended
 * meanwhile and a worker does it, so that the other connections of its thread go on.
 *
 * The work is shared by two who may each go first: the request, whose client may leave, and the
 * job.  Under its lock the request takes its pause away when it ends, and the last of the two
 * frees.
 */
#include "rest_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "mem.h"

struct rest_leaves {
	struct service *service;
	struct content_id content;
	uint64_t first, count;
	struct rest_pause pause; /* the request's */
	pthread_mutex_t mu;      /* guards what follows */
	bool has_request;        /* it may be woken */
	bool is_done;
	unsigned users; /* the request, the job */
	struct digest *nodes;
	int code;
	struct error error;
};

static int
answer_nodes(struct rest_request *req, struct digest *nodes, size_t count, uint32_t piece_bytes)
{
	char text[16];
	struct MHD_Response *response =
	    MHD_create_response_from_buffer(count * sizeof(*nodes), nodes, MHD_RESPMEM_MUST_FREE);

	snprintf(text, sizeof(text), "%" PRIu32, piece_bytes);
	rest_field(response, "P2pd-Piece-Bytes", text);
	rest_field(response, MHD_HTTP_HEADER_CONTENT_TYPE, "application/octet-stream");
	return rest_answer(req, MHD_HTTP_OK, response);
}

/* --- leaves --- */

/* Holds mu, and gives it up. */
static void
leave(struct rest_leaves *leaves)
{
	bool is_last = --leaves->users == 0;

	pthread_mutex_unlock(&leaves->mu);
	if (!is_last)
		return;
	pthread_mutex_destroy(&leaves->mu);
	free(leaves->nodes);
	free(leaves);
}

/* On the pool. */
static void
work_leaves(void *arg)
{
	struct rest_leaves *leaves = arg;
	struct digest *nodes = NULL;
	struct error error = { .code = P2P_OK };
	int code = service_leaves(leaves->service, &leaves->content, leaves->first, leaves->count,
				  &nodes, &error);

	pthread_mutex_lock(&leaves->mu);
	leaves->nodes = nodes;
	leaves->code = code;
	leaves->error = error;
	leaves->is_done = true;
	if (leaves->has_request)
		rest_pause_wake(&leaves->pause);
	leave(leaves);
}

void
rest_leaves_free(struct rest_leaves *leaves)
{
	if (leaves == NULL)
		return;
	pthread_mutex_lock(&leaves->mu);
	leaves->has_request = false;
	rest_pause_fini(&leaves->pause);
	leave(leaves);
}

static int
begin_leaves(struct rest_request *req, const struct content_id *content)
{
	uint64_t first, count;
	int code = rest_request_number(req, "first", UINT64_MAX, 0, &first);

	if (code == P2P_OK)
		code = rest_request_number(req, "count", MERKLE_PIECE_MAX / MERKLE_LEAF_BYTES, 0,
					   &count);
	if (code != P2P_OK)
		return code;
	struct rest_leaves *leaves = mem_zero(1, sizeof(*leaves));
	leaves->service = req->rest->service;
	leaves->content = *content;
	leaves->first = first;
	leaves->count = count;
	leaves->users = 2;
	leaves->has_request = true;
	pthread_mutex_init(&leaves->mu, NULL);
	rest_pause_init(&leaves->pause, req);
	req->leaves = leaves;
	pool_submit(service_pool(leaves->service), POOL_SOON, work_leaves, NULL, leaves);
	return P2P_OK;
}

static bool
is_done(struct rest_leaves *leaves)
{
	pthread_mutex_lock(&leaves->mu);
	bool answer = leaves->is_done;
	pthread_mutex_unlock(&leaves->mu);
	return answer;
}

/* Also when the connection was resumed: answers what came. */
static int
get_leaves(struct rest_request *req, const struct content_id *content)
{
	int code = req->leaves == NULL ? begin_leaves(req, content) : P2P_OK;

	if (code != P2P_OK)
		return code;
	struct rest_leaves *leaves = req->leaves;
	if (!is_done(leaves) && rest_pause_suspend(&leaves->pause))
		return REST_WAITS;
	if (!is_done(leaves))
		return error_set(&req->err, P2P_SHUTTING_DOWN, "this peer is stopping");
	/* The job is over: all is ours. */
	if (leaves->code != P2P_OK) {
		req->err = leaves->error;
		return leaves->code;
	}
	struct digest *nodes = leaves->nodes;
	leaves->nodes = NULL;
	return answer_nodes(req, nodes, leaves->count, MERKLE_LEAF_BYTES);
}

/* --- the layer --- */

static int
get_pieces(struct rest_request *req, const struct content_id *content, uint32_t wanted_bytes)
{
	struct digest *layer;
	size_t count;
	uint32_t piece_bytes;

	if (rest_target_param(&req->target, "first") != NULL ||
	    rest_target_param(&req->target, "count") != NULL)
		return error_set(&req->err, P2P_BAD_REQUEST,
				 "first, count: they go with a piece of %u", MERKLE_LEAF_BYTES);
	int code = service_layer(req->rest->service, content, wanted_bytes, &layer, &count,
				 &piece_bytes, &req->err);
	return code != P2P_OK ? code : answer_nodes(req, layer, count, piece_bytes);
}

int
rest_get_layer(struct rest_request *req)
{
	struct content_id content;
	uint64_t wanted;
	int code = rest_request_content(req, &content);

	if (code == P2P_OK)
		code = rest_request_number(req, "piece", MERKLE_PIECE_MAX, 0, &wanted);
	if (code != P2P_OK)
		return code;
	if (wanted == MERKLE_LEAF_BYTES && rest_target_param(&req->target, "count") != NULL)
		return get_leaves(req, &content);
	return get_pieces(req, &content, (uint32_t)wanted);
}
