/* SPDX-License-Identifier: MIT
 *
 * rest_answer.c - responses.
 *
 * Whatever a handler has to say goes out through rest_answer(), which is also where answers are
 * counted.  Nothing we serve is to be guessed at by a browser (nosniff), and no answer allows
 * another site to read it: there are no CORS fields anywhere.
 *
 * The library cannot answer while a body is still coming.  When an upload fails midway (the disk
 * is full) the client should learn why before it has sent the rest, so rest_answer_raw() writes the
 * same document to the socket itself, and the connection ends behind it.
 */
#include "rest_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "mem.h"

#define PROBLEM_TYPE "application/problem+json"

void
rest_field(struct MHD_Response *response, const char *name, const char *value)
{
	MHD_add_response_header(response, name, value);
}

static void
count(unsigned status)
{
	if (status >= 500)
		metrics_add(METRIC_REST_FAILED, 1);
	else if (status >= 400)
		metrics_add(METRIC_REST_REFUSED, 1);
}

int
rest_answer(struct rest_request *req, unsigned status, struct MHD_Response *response)
{
	rest_field(response, MHD_HTTP_HEADER_X_CONTENT_TYPE_OPTIONS, "nosniff");
	if (req->must_close)
		rest_field(response, MHD_HTTP_HEADER_CONNECTION, "close");
	count(status);
	req->is_answered = true;
	MHD_queue_response(req->mhd, status, response);
	MHD_destroy_response(response);
	return P2P_OK;
}

static struct MHD_Response *
text_response(char *text, const char *type)
{
	struct MHD_Response *response =
	    MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_FREE);

	rest_field(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	return response;
}

int
rest_answer_json(struct rest_request *req, unsigned status, char *text)
{
	return rest_answer(req, status, text_response(text, "application/json"));
}

int
rest_answer_empty(struct rest_request *req, unsigned status)
{
	return rest_answer(req, status,
			   MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT));
}

void
rest_answer_problem(struct rest_request *req)
{
	struct error err = req->err;

	err.code = req->code;
	struct MHD_Response *response =
	    text_response(wire_problem(&err, req->candidates), PROBLEM_TYPE);
	if (req->code == P2P_BAD_RANGE && req->content_range[0] != '\0')
		rest_field(response, MHD_HTTP_HEADER_CONTENT_RANGE, req->content_range);
	if (req->code == P2P_BAD_METHOD)
		rest_field(response, MHD_HTTP_HEADER_ALLOW, req->allow);
	if (req->code == P2P_TOO_MANY || req->code == P2P_SHUTTING_DOWN)
		rest_field(response, MHD_HTTP_HEADER_RETRY_AFTER, "5");
	rest_answer(req, (unsigned)code_http(req->code), response);
}

void
rest_answer_raw(struct rest_request *req)
{
	struct error err = req->err;
	int status = code_http(req->code);

	err.code = req->code;
	char *body = wire_problem(&err, req->candidates);
	char *text =
	    mem_format("HTTP/1.1 %d %s\r\nContent-Type: " PROBLEM_TYPE "\r\n"
		       "Content-Length: %zu\r\nX-Content-Type-Options: nosniff\r\n"
		       "Connection: close\r\n\r\n%s",
		       status, MHD_get_reason_phrase_for((unsigned)status), strlen(body), body);

	/* It fits the socket's buffer, which is empty: nothing else was sent for this request. */
	if (send(req->conn->fd, text, strlen(text), MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
		shutdown(req->conn->fd, SHUT_WR);
	count((unsigned)status);
	req->is_answered = true;
	free(text);
	free(body);
}
