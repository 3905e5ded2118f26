/* SPDX-License-Identifier: MIT
 *
 * rest_batch.c - POST /v1/contents/batch: many small contents by one request.
 *
 * The answer is begun before it is known which of them are here, so its status is 200 and its length
 * is open; each content brings a head of its own (batch.h).  The library asks for bytes as they can
 * leave: then the next content is read, whole, and given out piece by piece.  One content is held
 * at a time, however many were asked for and however slowly they are taken.  Under a limit of
 * bandwidth the bytes leave in their turn (rest_throttle.c); heads are not counted.
 */
#include "rest_internal.h"

#include <stdlib.h>
#include <string.h>

#include "mem.h"

#define BLOCK (64u << 10) /* bytes asked for at once, at most */

struct answer {
	struct rest_pacer pacer;
	struct service_batch *batch;
	unsigned char head[BATCH_HEAD_BYTES];
	size_t head_left;
	const unsigned char *data; /* of the content at hand: the batch's */
	size_t data_left;
};

static bool
take_next(struct answer *answer)
{
	int code;

	if (service_batch_next(answer->batch, &code, &answer->data, &answer->data_left) == 0)
		return false;
	batch_head(code, answer->head);
	answer->head_left = BATCH_HEAD_BYTES;
	return true;
}

static size_t
give_head(struct answer *answer, char *to, size_t max)
{
	size_t len = answer->head_left < max ? answer->head_left : max;

	memcpy(to, answer->head + BATCH_HEAD_BYTES - answer->head_left, len);
	answer->head_left -= len;
	return len;
}

/* As many as may leave now; else what the reader is to return. */
static ssize_t
give_data(struct answer *answer, char *to, size_t max)
{
	ssize_t may =
	    rest_pacer_ask(&answer->pacer, answer->data_left < max ? answer->data_left : max);

	if (may <= 0)
		return may;
	memcpy(to, answer->data, (size_t)may);
	answer->data += may;
	answer->data_left -= (size_t)may;
	rest_pacer_pass(&answer->pacer, (size_t)may);
	metrics_add(METRIC_REST_BYTES_OUT, (uint64_t)may);
	return may;
}

/* Fills what it is given: a chunk of the answer for each small file would cost more than the file. */
static ssize_t
read_some(void *arg, uint64_t at, char *data, size_t max)
{
	struct answer *answer = arg;
	size_t len = 0;

	(void)at;
	while (len < max) {
		if (answer->head_left > 0) {
			len += give_head(answer, data + len, max - len);
		} else if (answer->data_left > 0) {
			/* Nobody is made to wait for a turn with bytes in his hand. */
			if (len > 0 && rest_pacer_is_limited(&answer->pacer))
				break;
			ssize_t more = give_data(answer, data + len, max - len);
			if (more <= 0)
				return more;
			len += (size_t)more;
		} else if (!take_next(answer)) {
			return len > 0 ? (ssize_t)len : MHD_CONTENT_READER_END_OF_STREAM;
		}
	}
	return (ssize_t)len;
}

static void
answer_free(void *arg)
{
	struct answer *answer = arg;

	rest_pacer_fini(&answer->pacer);
	service_batch_free(answer->batch);
	free(answer);
}

int
rest_post_batch(struct rest_request *req)
{
	struct service *service = req->rest->service;
	struct content_id *contents;
	struct service_batch *batch;
	size_t count;
	int code = wire_batch_parse(req->body.data, req->body.len, &contents, &count, &req->err);

	if (code != P2P_OK)
		return code;
	code = service_batch_new(service, contents, count, &batch, &req->err);
	free(contents);
	if (code != P2P_OK)
		return code;

	struct answer *answer = mem_zero(1, sizeof(*answer));
	rest_pacer_init(&answer->pacer, req, throttle_up(service_throttle(service)));
	answer->batch = batch;
	struct MHD_Response *response = MHD_create_response_from_callback(
	    MHD_SIZE_UNKNOWN, BLOCK, read_some, answer, answer_free);
	rest_field(response, MHD_HTTP_HEADER_CONTENT_TYPE, "application/octet-stream");
	return rest_answer(req, MHD_HTTP_OK, response);
}
