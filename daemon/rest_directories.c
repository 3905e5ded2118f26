/* SPDX-License-Identifier: MIT
 *
 * rest_directories.c - POST /v1/directories: what directories of this peer's share are like.
 *
 * A question rather than a resource: who asks has made hundreds of them, and asks once.
 */
#include "rest_internal.h"

#include <stdlib.h>

#include "mem.h"

int
rest_post_directories(struct rest_request *req)
{
	struct directory_question question;
	char **names;
	int code = wire_directories_parse(req->body.data, req->body.len, &names, &question.count,
					  &req->err);

	if (code != P2P_OK)
		return code;
	question.names = (const char *const *)names;
	question.found = mem_zero(question.count, sizeof(*question.found));
	code = service_directories(req->rest->service, &question, &req->err);
	if (code == P2P_OK)
		code = rest_answer_json(req, MHD_HTTP_OK,
					wire_directories_answer(question.found, question.count));
	wire_directories_free(names, question.count);
	free(question.found);
	return code;
}
