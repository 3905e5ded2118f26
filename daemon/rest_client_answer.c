/* SPDX-License-Identifier: MIT
 *
 * rest_client_answer.c - what an answer over HTTP means.  On the lane's thread.
 *
 * Nothing of an answer to read() reaches the sink before its header fits: 206 with exactly our
 * range (or 200 with exactly our length if we wanted all), and the root as ETag if there is one.  A
 * problem document becomes its code, except for codes that speak of the answering daemon's own
 * disk, end or crowd: told of ours they would mislead, so they become P2P_UNREACHABLE.
 *
 * What an answer came to stays in its request, which is handed back to the mind.
 */
#include "rest_client_inner.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "metrics.h"
#include "wire_json.h"

static struct request *
request_of(struct lane_exchange *exchange)
{
	return (struct request *)((char *)exchange - offsetof(struct request, exchange));
}

/* True for codes that a daemon says of its own disk, its own end, its own caller, its own crowd. */
static bool
is_own_affair(int code)
{
	return code == P2P_SHUTTING_DOWN || code == P2P_CANCELLED || code == P2P_NO_SPACE ||
	       code == P2P_IO || code == P2P_TOO_MANY || code == P2P_OK;
}

/* An answer that is no 2xx into the request's error. */
static void
take_refusal(struct lane_exchange *exchange)
{
	struct error problem = { .code = P2P_OK };

	if (exchange->answer.len == 0 ||
	    !wire_problem_parse(exchange->answer.data, exchange->answer.len, &problem))
		error_set(&exchange->error, P2P_BAD_ANSWER, "%s answered with HTTP status %d",
			  exchange->url, exchange->status);
	else
		error_set(&exchange->error,
			  is_own_affair(problem.code) ? P2P_UNREACHABLE : problem.code,
			  "%s answered: %s", exchange->url, problem.text);
}

static int
take_greeting(struct request *request, const char *data, size_t len, struct error *err)
{
	int code = wire_register_answer_parse(data, len, &request->theirs, &request->known,
					      &request->known_count, err);

	if (code == P2P_OK)
		code = node_check(&request->theirs, err);
	for (size_t i = 0; code == P2P_OK && i < request->known_count; i++)
		code = node_check(&request->known[i], err);
	return code;
}

static int
take_answer(struct request *request, struct error *err)
{
	const struct buf *answer = &request->exchange.answer;
	const char *data = answer->data != NULL ? answer->data : "";

	switch (request->verb) {
	case GREET:
		return take_greeting(request, data, answer->len, err);
	case PULL:
		return wire_changes_parse(data, answer->len, &request->page, err);
	case LAYER:
		if (answer->len == request->node_count * sizeof(struct digest))
			return P2P_OK;
		return error_set(err, P2P_BAD_ANSWER, "a layer of %zu nodes in %zu bytes",
				 request->node_count, answer->len);
	case HAVE:
		return wire_have_parse(data, answer->len, &request->content, &request->held, err);
	case READ:
		if (request->received == request->len)
			return P2P_OK;
		return error_set(err, P2P_BAD_ANSWER, "%" PRIu64 " bytes instead of %" PRIu64,
				 request->received, request->len);
	case BATCH:
		return batch_end(request->batch, err);
	case DIRECTORIES:
		return wire_directories_answer_parse(data, answer->len, request->directories, err);
	case LEAVE:
	case NOTIFY:
		return P2P_OK;
	}
	return P2P_OK;
}

static void
on_ended(struct lane_exchange *exchange)
{
	struct request *request = request_of(exchange);
	struct error why = { .code = P2P_OK };

	if (exchange->error.code == P2P_OK && exchange->status / 100 != 2)
		take_refusal(exchange);
	else if (exchange->error.code == P2P_OK && take_answer(request, &why) != P2P_OK)
		error_set(&exchange->error, P2P_BAD_ANSWER, "%s answered what makes no sense: %s",
			  request->address, why.text);
	rest_client_hand_back(request);
}

/* --- reads --- */

static bool
header_is(const struct lane_exchange *exchange, const char *name, const char *wanted)
{
	const char *value = lane_header(exchange, name);

	return value != NULL && strcmp(value, wanted) == 0;
}

static bool
is_our_etag(const struct lane_exchange *exchange, const struct content_id *content)
{
	char hex[DIGEST_HEX_SIZE], quoted[DIGEST_HEX_SIZE + 2];

	digest_hex(&content->root, hex);
	snprintf(quoted, sizeof(quoted), "\"%s\"", hex);
	return lane_header(exchange, "ETag") == NULL || header_is(exchange, "ETag", quoted);
}

static int
accept_read(struct lane_exchange *exchange)
{
	struct request *request = request_of(exchange);
	uint64_t size = request->content.size_bytes;
	char range[96], length[24];

	snprintf(range, sizeof(range), "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64, request->offset,
		 request->offset + request->len - 1, size);
	snprintf(length, sizeof(length), "%" PRIu64, request->len);
	bool is_whole = request->len == size && exchange->status == 200 &&
			header_is(exchange, "Content-Length", length);
	bool is_part = exchange->status == 206 && header_is(exchange, "Content-Range", range) &&
		       (lane_header(exchange, "Content-Length") == NULL ||
			header_is(exchange, "Content-Length", length));

	if ((is_whole || is_part) && is_our_etag(exchange, &request->content))
		return P2P_OK;
	return error_set(&exchange->error, P2P_BAD_ANSWER,
			 "%s answered with HTTP status %d and something else than %s",
			 request->address, exchange->status, range);
}

static int
feed_read(struct lane_exchange *exchange, const void *data, size_t len)
{
	struct request *request = request_of(exchange);

	if (len > request->len - request->received)
		return error_set(&exchange->error, P2P_BAD_ANSWER,
				 "%s sent more than %" PRIu64 " bytes", request->address,
				 request->len);

	struct error err = { .code = P2P_OK };
	int code = request->sink.feed(request->sink.arg, data, len, &err);

	if (code != P2P_OK) {
		exchange->error = err;
		exchange->error.code = code; /* a sink that gave no text still ended it */
		return code;
	}
	request->received += len;
	metrics_add(METRIC_REST_BYTES_IN, len);
	return P2P_OK;
}

/* --- batches --- */

static int
accept_batch(struct lane_exchange *exchange)
{
	if (exchange->status == 200)
		return P2P_OK;
	return error_set(&exchange->error, P2P_BAD_ANSWER, "%s answered with HTTP status %d",
			 exchange->url, exchange->status);
}

static int
feed_batch(struct lane_exchange *exchange, const void *data, size_t len)
{
	struct request *request = request_of(exchange);
	struct error err = { .code = P2P_OK };
	int code = batch_feed(request->batch, data, len, &err);

	metrics_add(METRIC_REST_BYTES_IN, len);
	if (code == P2P_OK)
		return P2P_OK;
	return error_set(&exchange->error, code, "%s: %s", request->address, err.text);
}

const struct lane_ops rest_client_batch_ops = { .accept = accept_batch,
						.feed = feed_batch,
						.ended = on_ended };
const struct lane_ops rest_client_small_ops = { .ended = on_ended };
const struct lane_ops rest_client_read_ops = { .accept = accept_read,
					       .feed = feed_read,
					       .ended = on_ended };
