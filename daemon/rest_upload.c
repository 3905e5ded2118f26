/* SPDX-License-Identifier: MIT
 *
 * rest_upload.c - files that come in: PUT of one, POST of a form with many.
 *
 * Both feed service's uploads as the bytes arrive; nothing is visible before its end, and what was
 * begun is dropped when the client goes away.
 *
 * A PUT replaces only where [share] remote allows it.  Elsewhere it adds, and a different file that
 * is there already is refused at the end, when its content is known: the same one put again is no
 * change and welcome.
 *
 * In a form every part with a file name is a file, stored under that name, or under the value of a
 * field called "name" that came before it.  Files are stored one by one: when a later one fails,
 * those before it stay.
 */
#include "rest_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"
#include "name.h"

#define FORM_BUFFER     (16u << 10) /* bytes that the form's parser may hold */
#define FORM_FILES_MAX  1000        /* files of one form */
#define FORM_ANSWER_MAX (4u << 20)

/* True if [share] remote lets the network replace files. */
static bool
may_replace(struct rest_request *req)
{
	struct config *config = rest_config(req->rest);
	bool may = config->share_remote == REMOTE_ALL;

	config_unref(config);
	return may;
}

/* Ends the upload.  What would have replaced a file is refused for want of the right to. */
static int
end_upload(struct rest_request *req, const char *name, struct service_stored *ret)
{
	int code = service_put_end(req->upload, ret, &req->err);

	service_put_free(req->upload);
	req->upload = NULL;
	if (code == P2P_EXISTS && !may_replace(req))
		code = error_set(&req->err, P2P_FORBIDDEN,
				 "a different file \"%.256s\" is here; replacing files over the "
				 "network wants [share] "
				 "remote = all here",
				 name);
	return code;
}

/* --- PUT --- */

/* If-Match: * - there has to be a file. */
static int
check_exists(struct rest_request *req)
{
	struct store_reader *reader;

	if (service_open(req->rest->service, req->var, &reader, NULL, NULL) != P2P_OK)
		return error_set(&req->err, P2P_PRECONDITION, "there is no file \"%.256s\"",
				 req->var);
	store_reader_unref(reader);
	return P2P_OK;
}

static int
parse_conditions(struct rest_request *req, struct service_put *put, struct digest *root)
{
	const char *match = req->head.if_match, *none = req->head.if_none_match;

	if (none != NULL && strcmp(none, "*") != 0)
		return error_set(&req->err, P2P_BAD_REQUEST, "If-None-Match: wanted * here");
	put->if_absent = none != NULL;
	if (match == NULL)
		return P2P_OK;
	if (strcmp(match, "*") == 0)
		return check_exists(req);
	if (!rest_etag_parse(match, root))
		return error_set(&req->err, P2P_BAD_REQUEST,
				 "If-Match: wanted one entity tag or *");
	put->if_match = root;
	return P2P_OK;
}

/* P2pd-Mode and P2pd-Mtime. */
static int
parse_attributes(struct rest_request *req, struct service_put *put)
{
	uint32_t mode;
	uint64_t mtime_ns;

	if (req->head.mode != NULL) {
		if (!rest_mode(req->head.mode, &mode))
			return error_set(&req->err, P2P_BAD_REQUEST,
					 "P2pd-Mode: wanted octal, up to 0777");
		put->mode = (mode_t)mode;
	}
	if (req->head.mtime != NULL) {
		if (!rest_number(req->head.mtime, INT64_MAX, &mtime_ns))
			return error_set(&req->err, P2P_BAD_REQUEST,
					 "P2pd-Mtime: wanted nanoseconds since 1970");
		put->mtime_ns = (int64_t)mtime_ns;
	}
	return P2P_OK;
}

int
rest_put_begin(struct rest_request *req)
{
	struct service_put put = { .origin = SERVICE_NETWORK,
				   .name = req->var,
				   .expect_bytes = UINT64_MAX,
				   .replace = may_replace(req) };
	struct digest root;
	int code = parse_conditions(req, &put, &root);

	if (code == P2P_OK)
		code = parse_attributes(req, &put);
	if (code == P2P_OK && req->head.transfer_encoding == NULL) {
		if (req->head.content_length == NULL)
			return error_set(&req->err, P2P_BAD_REQUEST, "the length is missing");
		if (!rest_number(req->head.content_length, UINT64_MAX - 1, &put.expect_bytes))
			return error_set(&req->err, P2P_BAD_REQUEST, "Content-Length is no length");
	}
	if (code == P2P_OK)
		code = service_put_begin(req->rest->service, &put, &req->upload, &req->err);
	return code;
}

int
rest_put_feed(struct rest_request *req, const char *data, size_t len)
{
	metrics_add(METRIC_REST_BYTES_IN, len);
	return service_put_feed(req->upload, data, len, &req->err);
}

int
rest_put_file(struct rest_request *req)
{
	struct service_stored stored;
	char etag[REST_ETAG_SIZE];
	int code = end_upload(req, req->var, &stored);

	if (code != P2P_OK)
		return code;

	char *text = wire_stored(req->var, &stored);
	struct MHD_Response *response =
	    MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_FREE);
	struct buf place;

	rest_etag(&stored.content.root, etag);
	rest_field(response, MHD_HTTP_HEADER_ETAG, etag);
	rest_field(response, MHD_HTTP_HEADER_CONTENT_TYPE, "application/json");
	if (stored.is_new) {
		buf_init(&place, NAME_MAX_BYTES * 3 + 32);
		buf_adds(&place, "/v1/files/");
		rest_path_add(&place, req->var);
		rest_field(response, MHD_HTTP_HEADER_LOCATION, place.data);
		buf_fini(&place);
	}
	return rest_answer(req, stored.is_new ? MHD_HTTP_CREATED : MHD_HTTP_OK, response);
}

/* --- forms --- */

struct rest_form {
	struct MHD_PostProcessor *parser;
	char name[NAME_SIZE];     /* of the file that is coming */
	char filename[NAME_SIZE]; /* the part's own; cut, if it is too long for a name */
	bool has_bytes;           /* of that file some came already */
	struct buf next_name;     /* a field "name", for the next file */
	struct buf stored;        /* JSON of those that are done, divided by commas */
	unsigned files;
	int code; /* the first failure */
};

/* Ends the file that was coming, if one was. */
static int
end_part(struct rest_request *req)
{
	struct rest_form *form = req->form;
	struct service_stored stored;

	if (req->upload == NULL)
		return P2P_OK;

	int code = end_upload(req, form->name, &stored);
	if (code != P2P_OK)
		return code;
	char *text = wire_stored(form->name, &stored);
	buf_adds(&form->stored, form->files++ > 0 ? "," : "");
	buf_adds(&form->stored, text);
	free(text);
	return P2P_OK;
}

static int
begin_part(struct rest_request *req, const char *filename)
{
	struct rest_form *form = req->form;
	int code = end_part(req);

	if (code != P2P_OK)
		return code;
	if (form->files == FORM_FILES_MAX)
		return error_set(&req->err, P2P_TOO_MANY, "more than %d files in one form",
				 FORM_FILES_MAX);

	const char *name = form->next_name.len > 0 ? form->next_name.data : filename;
	if (form->next_name.full || strlen(name) > NAME_MAX_BYTES)
		return error_set(&req->err, P2P_BAD_NAME, "the name is longer than %d bytes",
				 NAME_MAX_BYTES);
	if (form->next_name.len > 0 && strlen(name) != form->next_name.len)
		return error_set(&req->err, P2P_BAD_NAME, "the name holds a NUL");
	strcpy(form->name, name);
	snprintf(form->filename, sizeof(form->filename), "%s", filename);
	form->has_bytes = false;
	buf_reset(&form->next_name);

	struct service_put put = { .origin = SERVICE_NETWORK,
				   .name = form->name,
				   .expect_bytes = UINT64_MAX,
				   .replace = may_replace(req) };
	return service_put_begin(req->rest->service, &put, &req->upload, &req->err);
}

/* The parser tells of a part whose bytes are yet to come twice from its beginning. */
static bool
is_same_part(const struct rest_request *req, const char *filename)
{
	const struct rest_form *form = req->form;

	return req->upload != NULL && !form->has_bytes && form->next_name.len == 0 &&
	       strncmp(form->filename, filename, NAME_SIZE - 1) == 0;
}

static int
take_part(struct rest_request *req, const char *filename, const char *data, uint64_t at, size_t len)
{
	int code = P2P_OK;

	if (at == 0 && !is_same_part(req, filename))
		code = begin_part(req, filename);
	if (code == P2P_OK && len > 0) {
		req->form->has_bytes = true;
		code = rest_put_feed(req, data, len);
	}
	return code;
}

/* A piece of a field, from the library's parser. */
static enum MHD_Result
take_piece(void *arg, enum MHD_ValueKind kind, const char *key, const char *filename,
	   const char *type, const char *coding, const char *data, uint64_t at, size_t len)
{
	struct rest_request *req = arg;
	struct rest_form *form = req->form;

	(void)kind, (void)type, (void)coding;
	if (filename != NULL)
		form->code = take_part(req, filename, data, at, len);
	else if (key != NULL && strcmp(key, "name") == 0)
		buf_add(&form->next_name, data, len);
	return form->code == P2P_OK ? MHD_YES : MHD_NO;
}

int
rest_form_begin(struct rest_request *req)
{
	struct rest_form *form = mem_zero(1, sizeof(*form));

	buf_init(&form->next_name, NAME_MAX_BYTES);
	buf_init(&form->stored, FORM_ANSWER_MAX);
	req->form = form;
	form->parser = MHD_create_post_processor(req->mhd, FORM_BUFFER, take_piece, req);
	if (form->parser == NULL)
		return error_set(&req->err, P2P_BAD_REQUEST, "the form has no boundary");
	return P2P_OK;
}

int
rest_form_feed(struct rest_request *req, const char *data, size_t len)
{
	struct rest_form *form = req->form;
	enum MHD_Result fits = MHD_post_process(form->parser, data, len);

	if (form->code != P2P_OK)
		return form->code;
	return fits == MHD_YES ? P2P_OK
			       : error_set(&req->err, P2P_BAD_REQUEST, "the form is malformed");
}

int
rest_form_files(struct rest_request *req)
{
	struct rest_form *form = req->form;
	bool is_whole = MHD_destroy_post_processor(form->parser) == MHD_YES;

	form->parser = NULL;
	if (form->code != P2P_OK)
		return form->code;
	if (!is_whole)
		return error_set(&req->err, P2P_BAD_REQUEST, "the form ends in its middle");

	int code = end_part(req);
	if (code == P2P_OK && form->files == 0)
		code = error_set(&req->err, P2P_BAD_REQUEST, "the form has no file");
	if (code != P2P_OK)
		return code;
	char *text = mem_format("{\"files\":[%s]}", form->stored.data);
	return rest_answer_json(req, MHD_HTTP_CREATED, text);
}

void
rest_form_free(struct rest_form *form)
{
	if (form == NULL)
		return;
	if (form->parser != NULL)
		MHD_destroy_post_processor(form->parser);
	buf_fini(&form->next_name);
	buf_fini(&form->stored);
	free(form);
}
