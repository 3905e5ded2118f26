/* SPDX-License-Identifier: MIT
 *
 * rest_request.c - one request, from its first line to its completion.
 *
 * The library tells of a request in this order:
 *
 *   rest_request_new      its first line came; the object that everything else hangs from is made
 *   rest_request_handle   once when the header is complete: judged by the guard, routed, and
 * refused if need be; then for each part of the body; and once more at the end: the handler runs
 *                         (again, after it had suspended the connection to wait)
 *   rest_request_done     whatever became of it; everything is freed
 *
 * Answers are queued in the last call.  The library also takes one in the first, but closes the
 * connection after it, so that is kept for refusals while the client waits for "100 Continue", and
 * for what cannot be framed.  The short body of a refused request is read and dropped.  A refusal
 * in the middle of a body, or before a long one, is written past the library (rest_answer_raw); up
 * to REST_DRAIN_MAX bytes of the body are then still read, because closing upon unread bytes would
 * tear the answer from the client's hands.
 *
 * What could be understood in two ways is refused, and the connection closed: two lengths, a length
 * beside chunks, codings that we do not know.
 */
#include "rest_internal.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "mem.h"

/* --- beginning --- */

void *
rest_request_new(void *arg, const char *uri, struct MHD_Connection *mhd)
{
	struct rest *rest = ((struct rest_listener *)arg)->rest;
	const union MHD_ConnectionInfo *info =
	    MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	size_t len = strlen(uri);
	struct rest_request *req = mem_alloc(sizeof(*req) + len + 1);

	memset(req, 0, sizeof(*req));
	memcpy(req->text, uri, len + 1);
	req->rest = rest;
	req->conn = info->socket_context;
	req->mhd = mhd;
	rest_conn_step(req->conn, REST_STEP_HEADER);
	return req;
}

/* The fields that we look at, and where they go. */
static const struct field {
	const char *name;
	size_t at;
} fields[] = {
#define FIELD(name, member)                              \
	{                                                \
		name, offsetof(struct rest_head, member) \
	}
	FIELD("Host", claims.host),
	FIELD("Origin", claims.origin),
	FIELD("Sec-Fetch-Site", claims.fetch_site),
	FIELD("Content-Type", content_type),
	FIELD("Content-Encoding", content_encoding),
	FIELD("Content-Length", content_length),
	FIELD("Transfer-Encoding", transfer_encoding),
	FIELD("Expect", expect),
	FIELD("Range", range),
	FIELD("If-Range", if_range),
	FIELD("If-Match", if_match),
	FIELD("If-None-Match", if_none_match),
	FIELD("If-Modified-Since", if_modified_since),
	FIELD("Last-Event-ID", last_event_id),
	FIELD("P2pd-Mode", mode),
	FIELD("P2pd-Mtime", mtime),
#undef FIELD
};

static enum MHD_Result
take_field(void *arg, enum MHD_ValueKind kind, const char *name, const char *value)
{
	struct rest_head *head = arg;

	(void)kind;
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
		if (strcasecmp(name, fields[i].name) == 0)
			*(const char **)((char *)head + fields[i].at) = value != NULL ? value : "";
	head->claims.host_count += strcasecmp(name, "Host") == 0;
	head->content_length_count += strcasecmp(name, "Content-Length") == 0;
	return MHD_YES;
}

/* Refuses what two readers could frame differently. */
static int
check_framing(struct rest_request *req)
{
	const struct rest_head *head = &req->head;

	req->must_close = true;
	if (head->content_length_count > 1)
		return error_set(&req->err, P2P_BAD_REQUEST, "Content-Length is given twice");
	if (head->transfer_encoding != NULL && head->content_length != NULL)
		return error_set(&req->err, P2P_BAD_REQUEST,
				 "Content-Length and Transfer-Encoding exclude each other");
	if (head->transfer_encoding != NULL && strcasecmp(head->transfer_encoding, "chunked") != 0)
		return error_set(&req->err, P2P_BAD_REQUEST,
				 "the only Transfer-Encoding is chunked");
	req->must_close = false;
	return P2P_OK;
}

static int
check_guard(struct rest_request *req)
{
	struct config *config = rest_config(req->rest);
	int code = rest_guard(config, &req->conn->local, &req->head.claims, &req->err);

	config_unref(config);
	return code;
}

static int
check_media(struct rest_request *req)
{
	const char *wanted = req->row->body == REST_JSON ? "application/json" : req->row->media;

	if (req->row->body == REST_NO_BODY) {
		if (!req->has_body)
			return P2P_OK;
		return error_set(&req->err, P2P_BAD_REQUEST, "this request has no body");
	}
	if (req->head.content_encoding != NULL &&
	    strcasecmp(req->head.content_encoding, "identity") != 0)
		return error_set(&req->err, P2P_BAD_MEDIA,
				 "Content-Encoding: nothing is decoded here; send the bytes as "
				 "they are");
	if (wanted == NULL)
		return P2P_OK;
	if (req->head.content_type == NULL || !rest_media_is(req->head.content_type, wanted))
		return error_set(&req->err, P2P_BAD_MEDIA, "the body has to be %s", wanted);
	return P2P_OK;
}

/* Everything that can be said before the body. */
static int
judge(struct rest_request *req, const char *method)
{
	int code = check_framing(req);

	if (code == P2P_OK)
		code = check_guard(req);
	if (code == P2P_OK)
		code = rest_target_parse(req->text, &req->target, &req->err);
	if (code == P2P_OK)
		code = rest_route_find(req, method);
	if (code == P2P_OK)
		code = check_media(req);
	if (code == P2P_OK && req->row->begin != NULL)
		code = req->row->begin(req);
	return code;
}

/* Announced bytes of the body, UINT64_MAX if that is open. */
static uint64_t
announced_bytes(const struct rest_request *req)
{
	uint64_t bytes = 0;

	if (req->head.transfer_encoding != NULL)
		return UINT64_MAX;
	if (req->head.content_length != NULL &&
	    !rest_number(req->head.content_length, UINT64_MAX, &bytes))
		return UINT64_MAX;
	return bytes;
}

static void
begin(struct rest_request *req, const char *method)
{
	metrics_add(METRIC_REST_REQUESTS, 1);
	MHD_get_connection_values(req->mhd, MHD_HEADER_KIND, take_field, &req->head);
	uint64_t bytes = announced_bytes(req);
	req->is_begun = true;
	req->has_body = bytes > 0;
	req->is_head = strcmp(method, "HEAD") == 0;
	rest_conn_step(req->conn, req->has_body ? REST_STEP_BODY : REST_STEP_REPLY);
	buf_init(&req->body, WIRE_JSON_MAX);
	req->code = judge(req, method);

	if (req->code == P2P_OK || !req->has_body)
		return;
	if (req->head.expect != NULL || req->must_close)
		rest_answer_problem(req);
	else if (bytes > REST_DRAIN_MAX && bytes != UINT64_MAX)
		rest_answer_raw(req);
}

/* --- body and end --- */

static void
take_body(struct rest_request *req, const char *data, size_t len)
{
	req->body_bytes += len;
	if (req->code != P2P_OK) {
		req->drained_bytes += len;
		return;
	}
	if (req->row->body == REST_STREAM) {
		req->code = req->row->feed(req, data, len);
	} else {
		buf_add(&req->body, data, len);
		if (req->body.full)
			req->code = error_set(&req->err, P2P_TOO_LARGE,
					      "the body is longer than %u bytes", WIRE_JSON_MAX);
	}
	if (req->code != P2P_OK)
		rest_answer_raw(req);
}

static void
finish(struct rest_request *req)
{
	rest_conn_step(req->conn, REST_STEP_REPLY);
	int code = req->code != P2P_OK ? req->code : req->row->run(req);
	if (code == REST_WAITS)
		return;
	req->code = code;
	if (!req->is_answered)
		rest_answer_problem(req);
}

enum MHD_Result
rest_request_handle(void *listener, struct MHD_Connection *mhd, const char *url, const char *method,
		    const char *version, const char *data, size_t *data_size, void **context)
{
	struct rest_request *req = *context;

	(void)listener, (void)mhd, (void)url, (void)version;
	if (!req->is_begun) {
		begin(req, method);
		return MHD_YES;
	}
	if (*data_size > 0) {
		if (req->code == P2P_OK && req->row->body == REST_STREAM &&
		    rest_body_waits(req, *data_size))
			return MHD_YES;
		take_body(req, data, *data_size);
		*data_size = 0;
		if (req->drained_bytes <= REST_DRAIN_MAX)
			return MHD_YES;
		if (!req->is_answered)
			rest_answer_raw(req);
		return MHD_NO;
	}
	/* Answered already, and the body is over: what was written past the library ends here. */
	if (req->is_answered)
		return MHD_NO;
	finish(req);
	return MHD_YES;
}

void
rest_request_done(void *listener, struct MHD_Connection *mhd, void **context,
		  enum MHD_RequestTerminationCode why)
{
	struct rest_request *req = *context;

	(void)listener, (void)mhd, (void)why;
	if (req == NULL)
		return;
	rest_conn_step(req->conn, REST_STEP_IDLE);
	service_put_free(req->upload);
	rest_form_free(req->form);
	rest_have_free(req->have);
	rest_leaves_free(req->leaves);
	rest_body_free(req);
	wire_candidates_free(req->candidates);
	if (req->is_begun)
		buf_fini(&req->body);
	free(req);
	*context = NULL;
}

/* --- for handlers --- */

int
rest_request_number(struct rest_request *req, const char *key, uint64_t max, uint64_t fallback,
		    uint64_t *ret)
{
	const char *text = rest_target_param(&req->target, key);

	if (text == NULL) {
		*ret = fallback;
		return P2P_OK;
	}
	if (!rest_number(text, max, ret))
		return error_set(&req->err, P2P_BAD_REQUEST, "%s: wanted a number up to %llu", key,
				 (unsigned long long)max);
	return P2P_OK;
}

void
rest_candidate(void *arg, const struct catalog_found *found)
{
	struct rest_request *req = arg;

	if (req->candidates == NULL)
		req->candidates = wire_candidates_new();
	wire_candidates_add(req->candidates, found);
}
