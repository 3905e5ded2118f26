/* SPDX-License-Identifier: MIT
 *
 * rpc_batch.c - Files/DownloadMany: many small contents by one call.
 *
 * Contents are read one after the other (service_batch) and gathered into a message until that is
 * about as large as a block of Download; the next one is read when it has left.  So a call holds as
 * much as a Download, and counts as one.
 *
 * Under a limit of bandwidth a content that has no turn yet ends the message before it, and when it
 * would be the first of its message, the call waits.
 */
#include "rpc_internal.h"

#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "mem.h"
#include "metrics.h"
#include "p2p.pb-c.h"

#define MESSAGE_COUNT 256 /* contents of one message, at most */

struct many {
	struct service_batch *batch;
	struct throttle *throttle;
	struct throttle_wait turn_wait;
	struct rate_turn turn;
	char from_host[NODE_ADDRESS_SIZE];
	/* The one that comes next. */
	bool has_next, is_over;
	int code;
	const unsigned char *data; /* the batch's */
	size_t len;
};

/* The message that is being made. */
struct gathered {
	unsigned char *data;
	size_t len, count;
	P2p__V1__SmallContent contents[MESSAGE_COUNT];
	P2p__V1__SmallContent *list[MESSAGE_COUNT];
};

static void
wake(void *arg)
{
	rpc_wake(arg);
}

static int
take_contents(const P2p__V1__DownloadManyRequest *request, struct content_id **ret,
	      struct error *err)
{
	if (request->n_contents > BATCH_COUNT_MAX)
		return error_set(err, P2P_TOO_MANY, "at most %d contents go by one call",
				 BATCH_COUNT_MAX);
	struct content_id *contents = mem_zero(request->n_contents + 1, sizeof(*contents));
	for (size_t i = 0; i < request->n_contents; i++) {
		int code = wire_pb_content(request->contents[i], &contents[i], err);
		if (code != P2P_OK) {
			free(contents);
			return code;
		}
	}
	*ret = contents;
	return P2P_OK;
}

RPC_TAKE(rpc_download_many)
{
	const P2p__V1__DownloadManyRequest *request = (const P2p__V1__DownloadManyRequest *)message;
	struct rpc_call_head *head = rpc_head(call);
	struct service_batch *batch;
	struct content_id *contents = NULL;
	int code = rpc_download_place(head, err);

	if (code == P2P_OK)
		code = take_contents(request, &contents, err);
	if (code != P2P_OK)
		return code;
	code = service_batch_new(head->service, contents, request->n_contents, &batch, err);
	free(contents);
	if (code != P2P_OK)
		return code;
	struct many *many = mem_zero(1, sizeof(*many));
	many->batch = batch;
	many->throttle = service_throttle(head->service);
	many->turn_wait.wake = wake;
	many->turn_wait.arg = call;
	rpc_from_host(call, many->from_host);
	head->state = many;
	return RPC_MORE;
}

/* The next content stands in `many`, unless there is none. */
static bool
has_next(struct many *many)
{
	if (!many->has_next && !many->is_over) {
		many->has_next =
		    service_batch_next(many->batch, &many->code, &many->data, &many->len) != 0;
		many->is_over = !many->has_next;
	}
	return many->has_next;
}

static bool
has_turn(struct many *many)
{
	struct rate *rate = throttle_up(many->throttle);
	size_t most = many->len > RATE_STEP_MAX ? many->len : RATE_STEP_MAX;

	if (many->len == 0)
		return true;
	if (rate_ask(rate, many->from_host, &many->turn, many->len, most, clock_us()) < many->len)
		return false;
	rate_pass(&many->turn, many->len);
	return true;
}

static void
add(struct gathered *gathered, struct many *many)
{
	P2p__V1__SmallContent *content = &gathered->contents[gathered->count];

	p2p__v1__small_content__init(content);
	content->status = (uint32_t)wire_pb_grpc_status(many->code);
	content->data.data = gathered->data + gathered->len;
	content->data.len = many->len;
	memcpy(content->data.data, many->data, many->len);
	gathered->len += many->len;
	gathered->list[gathered->count++] = content;
	many->has_next = false;
}

static void
say(struct rpc_call *call, struct gathered *gathered)
{
	P2p__V1__DownloadManyResponse response = P2P__V1__DOWNLOAD_MANY_RESPONSE__INIT;

	response.n_contents = gathered->count;
	response.contents = gathered->list;
	rpc_reply(call, &response.base);
	metrics_add(METRIC_RPC_BYTES_OUT, gathered->len);
}

RPC_NEXT(rpc_download_many_next)
{
	struct many *many = rpc_head(call)->state;
	struct gathered *gathered = mem_alloc(sizeof(*gathered));
	bool waits = false;

	(void)err;
	gathered->len = gathered->count = 0;
	gathered->data = mem_alloc(RPC_BLOCK + BATCH_CONTENT_MAX);
	while (gathered->len < RPC_BLOCK && gathered->count < MESSAGE_COUNT && has_next(many)) {
		waits = !has_turn(many);
		if (waits)
			break;
		add(gathered, many);
	}
	size_t count = gathered->count;
	if (count > 0)
		say(call, gathered);
	free(gathered->data);
	free(gathered);
	if (count == 0 && waits) {
		throttle_wait(many->throttle, &many->turn_wait, throttle_up(many->throttle),
			      &many->turn);
		return RPC_WAIT;
	}
	return has_next(many) ? RPC_MORE : RPC_END;
}

RPC_DONE(rpc_download_many_end)
{
	struct many *many = rpc_head(call)->state;

	if (many == NULL)
		return;
	throttle_forget(many->throttle, &many->turn_wait);
	rate_leave(throttle_up(many->throttle), &many->turn);
	service_batch_free(many->batch);
	free(many);
}
