/* SPDX-License-Identifier: MIT
 *
 * rest_files.c - bytes: by name, by content id, from here or through the network.
 *
 * All of them end in answer_bytes(): conditions first, then the range, then the body.  The entity
 * tag is the root, so that two peers give the same one for the same bytes, and a range asked of one
 * goes on at the other.
 *
 * Bodies up to REST_INLINE_MAX are read into memory and leave together with the header; larger ones
 * go from the file to the socket in the kernel; under a limit of bandwidth see rest_throttle.c.
 *
 * What others put here is shown by browsers in a sandbox without rights (Content-Security-Policy),
 * whatever it is.
 */
#include "rest_internal.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mem.h"

/* What is asked for, and where its bytes come from: one of reader and stream.  Owned. */
struct source {
	struct content_id content;
	struct store_reader *reader;
	struct fetch_stream *stream;
	const char *type; /* media type */
	int64_t mtime_ns; /* 0: not known */
	bool is_for_ever; /* what this path names never changes */
};

/* A part of it. */
struct part {
	uint64_t first, len;
	bool is_whole;
};

static void
source_fini(struct source *source)
{
	store_reader_unref(source->reader);
	if (source->stream != NULL)
		fetch_stream_close(source->stream);
}

/* --- conditions --- */

static bool
is_unchanged(const struct rest_head *head, const struct source *source, const char *etag)
{
	int64_t since_s;

	if (head->if_none_match != NULL)
		return rest_etag_in(head->if_none_match, etag, true);
	return head->if_modified_since != NULL && source->mtime_ns != 0 &&
	       rest_date_parse(head->if_modified_since, &since_s) &&
	       source->mtime_ns / 1000000000 <= since_s;
}

/* Which part of it is wanted. */
static int
find_part(struct rest_request *req, const struct source *source, const char *etag, struct part *ret)
{
	const struct rest_head *head = &req->head;
	uint64_t size_bytes = source->content.size_bytes;
	struct part part = { .len = size_bytes, .is_whole = true };

	if (head->range != NULL && !req->is_head &&
	    (head->if_range == NULL || strcasecmp(head->if_range, etag) == 0)) {
		switch (rest_range_parse(head->range, size_bytes, &part.first, &part.len)) {
		case REST_RANGE_WHOLE:
			break;
		case REST_RANGE_PART:
			part.is_whole = false;
			break;
		case REST_RANGE_BAD:
			snprintf(req->content_range, sizeof(req->content_range), "bytes */%" PRIu64,
				 size_bytes);
			return error_set(&req->err, P2P_BAD_RANGE,
					 "wanted one range within %" PRIu64 " bytes", size_bytes);
		}
	}
	*ret = part;
	return P2P_OK;
}

/* --- bodies --- */

static struct MHD_Response *
inline_response(struct rest_request *req, const struct source *source, const struct part *part)
{
	char *data = mem_alloc(part->len + 1);

	if (file_pread(source->reader->fd, data, part->len, part->first, &req->err) != P2P_OK ||
	    store_reader_check(source->reader) != P2P_OK) {
		free(data);
		return NULL;
	}
	return MHD_create_response_from_buffer(part->len, data, MHD_RESPMEM_MUST_FREE);
}

/* The library closes what it sends from, so it gets a descriptor of its own. */
static struct MHD_Response *
file_response(struct rest_request *req, const struct source *source, const struct part *part)
{
	int fd = fcntl(source->reader->fd, F_DUPFD_CLOEXEC, 0);

	if (fd < 0) {
		error_errno(&req->err, "cannot open the file once more");
		return NULL;
	}
	return MHD_create_response_from_fd_at_offset64(part->len, fd, part->first);
}

/* NULL, and req->err: it could not be read. */
static struct MHD_Response *
body_response(struct rest_request *req, struct source *source, const struct part *part)
{
	error_set(&req->err, P2P_CONFLICT, "the file changed while it was read");
	if (source->stream != NULL) {
		struct fetch_stream *stream = source->stream;

		source->stream = NULL;
		return rest_gateway_response(req, stream, part->first, part->len);
	}
	if (!req->is_head && part->len > 0 && rest_is_paced(req))
		return rest_paced_response(req, source->reader, part->first, part->len);
	if (!req->is_head && part->len <= REST_INLINE_MAX)
		return inline_response(req, source, part);
	return file_response(req, source, part);
}

static void
add_fields(struct MHD_Response *response, const struct source *source, const struct part *part,
	   const char *etag)
{
	char text[80];

	rest_field(response, MHD_HTTP_HEADER_ETAG, etag);
	rest_field(response, MHD_HTTP_HEADER_ACCEPT_RANGES, "bytes");
	rest_field(response, MHD_HTTP_HEADER_CONTENT_TYPE, source->type);
	rest_field(response, MHD_HTTP_HEADER_CONTENT_SECURITY_POLICY, "sandbox");
	rest_field(response, MHD_HTTP_HEADER_CACHE_CONTROL,
		   source->is_for_ever ? "max-age=31536000, immutable" : "no-cache");
	if (source->mtime_ns != 0) {
		rest_date(source->mtime_ns / 1000000000, text);
		rest_field(response, MHD_HTTP_HEADER_LAST_MODIFIED, text);
	}
	if (!part->is_whole) {
		snprintf(text, sizeof(text), "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64, part->first,
			 part->first + part->len - 1, source->content.size_bytes);
		rest_field(response, MHD_HTTP_HEADER_CONTENT_RANGE, text);
	}
}

static int
answer_unchanged(struct rest_request *req, const char *etag)
{
	struct MHD_Response *response =
	    MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);

	rest_field(response, MHD_HTTP_HEADER_ETAG, etag);
	return rest_answer(req, MHD_HTTP_NOT_MODIFIED, response);
}

/* Answers with what is asked of `source`, and frees what it holds. */
static int
answer_bytes(struct rest_request *req, struct source *source)
{
	struct MHD_Response *response;
	struct part part = { .is_whole = true };
	char etag[REST_ETAG_SIZE];
	int code = P2P_OK;

	rest_etag(&source->content.root, etag);
	if (req->head.if_match != NULL && !rest_etag_in(req->head.if_match, etag, false)) {
		code = error_set(&req->err, P2P_PRECONDITION, "the content is %s", etag);
		goto out;
	}
	if (is_unchanged(&req->head, source, etag)) {
		answer_unchanged(req, etag);
		goto out;
	}
	code = find_part(req, source, etag, &part);
	if (code != P2P_OK)
		goto out;
	response = body_response(req, source, &part);
	if (response == NULL) {
		code = req->err.code;
		goto out;
	}
	add_fields(response, source, &part, etag);
	if (!req->is_head && source->reader != NULL)
		metrics_add(METRIC_REST_BYTES_OUT, part.len);
	rest_answer(req, part.is_whole ? MHD_HTTP_OK : MHD_HTTP_PARTIAL_CONTENT, response);
out:
	source_fini(source);
	return code;
}

/* --- by name --- */

static int
open_local(struct rest_request *req, struct source *ret)
{
	struct catalog_local file;
	int code = service_open(req->rest->service, req->var, &ret->reader, &file, &req->err);

	if (code != P2P_OK)
		return code;
	ret->content = ret->reader->content;
	ret->mtime_ns = file.mtime_ns;
	return P2P_OK;
}

static int
open_network(struct rest_request *req, struct source *ret)
{
	return service_stream(req->rest->service, req->var, &ret->content, &ret->reader,
			      &ret->stream, &req->err);
}

int
rest_get_file(struct rest_request *req)
{
	struct source source = { .type = rest_media_of(req->var) };
	const char *scope = rest_target_param(&req->target, "scope");
	int code;

	if (scope == NULL || strcmp(scope, "local") == 0)
		code = open_local(req, &source);
	else if (strcmp(scope, "network") == 0)
		code = open_network(req, &source);
	else
		code = error_set(&req->err, P2P_BAD_REQUEST, "scope: wanted network or local");
	return code != P2P_OK ? code : answer_bytes(req, &source);
}

int
rest_delete_file(struct rest_request *req)
{
	const char *match = req->head.if_match;
	struct digest root;
	bool is_any = match == NULL || strcmp(match, "*") == 0;

	if (!is_any && !rest_etag_parse(match, &root))
		return error_set(&req->err, P2P_BAD_REQUEST,
				 "If-Match: wanted one entity tag or *");

	int code = service_remove(req->rest->service, SERVICE_NETWORK, req->var,
				  is_any ? NULL : &root, &req->err);
	return code != P2P_OK ? code : rest_answer_empty(req, MHD_HTTP_NO_CONTENT);
}

/* --- by content id --- */

int
rest_request_content(struct rest_request *req, struct content_id *ret)
{
	if (!digest_parse_hex(req->var, &ret->root))
		return error_set(&req->err, P2P_BAD_REQUEST,
				 "the path has no root: wanted 64 hex digits");
	if (rest_target_param(&req->target, "size") == NULL)
		return error_set(&req->err, P2P_BAD_REQUEST,
				 "size: a content is named by its root and size");
	return rest_request_number(req, "size", MERKLE_CONTENT_MAX, 0, &ret->size_bytes);
}

/* Only the part that is asked for need be here: what is still being fetched is served as far as it is verified. */
int
rest_get_content(struct rest_request *req)
{
	struct source source = { .type = "application/octet-stream", .is_for_ever = true };
	char etag[REST_ETAG_SIZE];
	struct part part;
	int code = rest_request_content(req, &source.content);

	if (code != P2P_OK)
		return code;
	/* A bad range is refused after the content was found. */
	rest_etag(&source.content.root, etag);
	if (find_part(req, &source, etag, &part) != P2P_OK)
		part = (struct part){ .len = source.content.size_bytes, .is_whole = true };
	code = service_open_content(req->rest->service, &source.content, part.first, part.len,
				    &source.reader, &req->err);
	return code != P2P_OK ? code : answer_bytes(req, &source);
}
