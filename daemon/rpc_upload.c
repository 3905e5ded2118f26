/* SPDX-License-Identifier: MIT
 *
 * rpc_upload.c - Files/Upload: a file that comes in as a stream of messages.
 *
 * The first message has the header and may have bytes, the others have bytes.  They go to service
 * as they come, and the file gets its name after the end of the stream: one that breaks off before
 * leaves nothing to be seen.
 *
 * The end alone does not prove that the client has said all.  @grpc/grpc-js, when it cancels, ends
 * the stream and resets it a moment later, and to the server that is a clean end.  So the file has
 * to be known as whole: by is_last in the last message, by the size, or by the expected content.
 *
 * Under a limit of bandwidth (throttle.h) a message is paid for after it came, and the next one is
 * read when its turn has come.
 *
 * What a step refuses is dropped there and then, so that the status finds nothing of it left.  What
 * is cut off, whether the call is over or the stream ended before the file did, is service's to
 * keep if it has an id, and the client goes on another time.
 */
#include "rpc_internal.h"

#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "mem.h"
#include "metrics.h"

#define DATA_MAX (1u << 20) /* bytes of a file in one message */

struct upload {
	struct service_upload *upload; /* NULL: not begun, ended or refused */
	bool is_begun;
	bool is_whole;          /* is_last came */
	struct rpc_paced paced; /* if it is begun */
	struct rate_turn turn;
	struct throttle_wait turn_wait;
	char from_host[NODE_ADDRESS_SIZE];
};

/* --- the header --- */

/* The parts that are more than a number; `root` and `expect` are what `put` then points to. */
static int
parse_contents(const P2p__V1__UploadHeader *header, struct service_put *put, struct digest *root,
	       struct content_id *expect, struct error *err)
{
	if (header->if_root.len != 0 && header->if_root.len != sizeof(root->bytes))
		return error_set(err, P2P_BAD_REQUEST, "if_root: wanted %zu bytes or none",
				 sizeof(root->bytes));
	if (header->if_root.len != 0) {
		memcpy(root->bytes, header->if_root.data, sizeof(root->bytes));
		put->if_match = root;
	}
	if (header->expect == NULL)
		return P2P_OK;
	int code = wire_pb_content(header->expect, expect, err);
	if (code == P2P_OK)
		put->expect = expect;
	return code;
}

static int
begin(struct upload *upload, struct rpc_call *call, const P2p__V1__UploadHeader *header,
      struct error *err)
{
	struct service_put put = {
		.origin = SERVICE_NETWORK,
		.name = header->name,
		.expect_bytes = header->has_size ? header->size : UINT64_MAX,
		.replace = header->replace,
		.if_absent = header->if_absent,
		.mode = header->mode,
		.mtime_ns = header->mtime_ns,
		.upload_id = header->upload_id[0] != '\0' ? header->upload_id : NULL,
		.offset = header->offset,
	};
	struct digest root;
	struct content_id expect;

	if (header->mode > 0777)
		return error_set(err, P2P_BAD_REQUEST, "mode: wanted permission bits, up to 0777");
	if (header->has_size && header->size > MERKLE_CONTENT_MAX)
		return error_set(err, P2P_TOO_LARGE, "size: over the limit of any content");
	int code = parse_contents(header, &put, &root, &expect, err);
	if (code == P2P_OK)
		code = service_put_begin(rpc_head(call)->service, &put, &upload->upload, err);
	if (code != P2P_OK)
		return code;
	upload->is_begun = true;
	rpc_paced_add(&upload->paced, call);
	return P2P_OK;
}

/* --- the stream --- */

static int
take_message(struct rpc_call *call, struct upload *upload, const P2p__V1__UploadRequest *message,
	     struct error *err)
{
	if (!upload->is_begun && message->header == NULL)
		return error_set(err, P2P_BAD_REQUEST, "the first message has no header");
	if (upload->is_whole)
		return error_set(err, P2P_BAD_REQUEST, "a message came after the one with is_last");
	if (upload->is_begun && message->header != NULL)
		return error_set(err, P2P_BAD_REQUEST, "a header came after the first message");
	if (message->data.len > DATA_MAX)
		return error_set(err, P2P_TOO_LARGE, "data: at most %u bytes in one message",
				 DATA_MAX);
	int code = upload->is_begun ? P2P_OK : begin(upload, call, message->header, err);
	upload->is_whole = message->is_last;
	if (code != P2P_OK || message->data.len == 0)
		return code;
	metrics_add(METRIC_RPC_BYTES_IN, message->data.len);
	atomic_fetch_add(&upload->paced.bytes, message->data.len);
	return service_put_feed(upload->upload, message->data.data, message->data.len, err);
}

static void
wake(void *arg)
{
	struct rpc_call *call = arg;

	atomic_store(&rpc_head(call)->holds_off, false);
	rpc_wake(call);
}

/* RPC_MORE, or RPC_WAIT if the next message is to be read later. */
static int
pay(struct rpc_call *call, struct upload *upload, size_t len)
{
	struct throttle *throttle = service_throttle(rpc_head(call)->service);
	struct rate *rate = throttle_down(throttle);

	if (len == 0 || !rate_is_limited(rate))
		return RPC_MORE;
	if (upload->from_host[0] == '\0')
		rpc_from_host(call, upload->from_host);
	size_t may = rate_ask(rate, upload->from_host, &upload->turn, len, len, clock_us());
	/* What came is taken, whenever it should have come. */
	rate_pass(&upload->turn, len);
	if (may >= len)
		return RPC_MORE;
	atomic_store(&rpc_head(call)->holds_off, true);
	upload->turn_wait.wake = wake;
	upload->turn_wait.arg = call;
	throttle_wait(throttle, &upload->turn_wait, rate, &upload->turn);
	return RPC_WAIT;
}

static void
say_stored(struct rpc_call *call, const struct service_stored *stored)
{
	P2p__V1__UploadResponse response = P2P__V1__UPLOAD_RESPONSE__INIT;

	response.content = wire_pb_of_content(&stored->content);
	response.is_new = stored->is_new;
	rpc_reply(call, &response.base);
	p2p__v1__content__free_unpacked(response.content, NULL);
}

static int
finish(struct rpc_call *call, struct upload *upload, struct error *err)
{
	struct service_stored stored;

	if (!upload->is_begun)
		return error_set(err, P2P_BAD_REQUEST, "the stream ended before its header");
	if (!upload->is_whole && !service_put_is_sized(upload->upload))
		return error_set(err, P2P_BAD_CONTENT,
				 "the stream ended without is_last, a size or an expected content: "
				 "the file may be cut");
	int code = service_put_end(upload->upload, &stored, err);
	if (code == P2P_OK)
		say_stored(call, &stored);
	return code;
}

static struct upload *
upload_of(struct rpc_call_head *head)
{
	if (head->state == NULL)
		head->state = mem_zero(1, sizeof(struct upload));
	return head->state;
}

RPC_TAKE(rpc_upload)
{
	struct upload *upload = upload_of(rpc_head(call));
	int code = message != NULL
		       ? take_message(call, upload, (const P2p__V1__UploadRequest *)message, err)
		       : finish(call, upload, err);

	if (code == P2P_OK && message != NULL)
		return pay(call, upload, ((const P2p__V1__UploadRequest *)message)->data.len);
	/* Kept before the answer goes out: whoever reads that may go on at once. */
	if (message == NULL && service_put_can_go_on(upload->upload))
		service_put_park(upload->upload);
	else
		service_put_free(upload->upload);
	upload->upload = NULL;
	return code == P2P_OK ? RPC_END : code;
}

RPC_DONE(rpc_upload_end)
{
	struct upload *upload = rpc_head(call)->state;

	if (upload == NULL)
		return;
	struct throttle *throttle = service_throttle(rpc_head(call)->service);
	throttle_forget(throttle, &upload->turn_wait);
	rate_leave(throttle_down(throttle), &upload->turn);
	if (upload->is_begun)
		rpc_paced_remove(&upload->paced);
	service_put_park(upload->upload);
	free(upload);
}
