/* SPDX-License-Identifier: MIT
 *
 * rest_have.c - GET /v1/contents/{root}/have: which pieces are held here, and what is new.
 *
 * A question that may wait, and for which there is nothing to tell, suspends its connection: no
 * thread waits.  Whoever has news wakes it, on any thread, and the library runs the handler once
 * more, which then answers whatever there is.  So status and answer are made at the end, and a
 * content that went meanwhile is a plain 404.
 *
 * The question hangs from the request.  When the request ends, however it does, rest_have_free()
 * takes it from those who wait before the pause goes.
 */
#include "rest_internal.h"

#include <stdlib.h>
#include <string.h>

#include "mem.h"

struct rest_have {
	struct rest_pause pause;
	struct service *service;
	struct holding_question question;
	struct holding_waiter waiter;
	bool has_waited;
};

/* Any thread. */
static void
wake(void *arg)
{
	struct rest_have *have = arg;

	rest_pause_wake(&have->pause);
}

static int
parse_question(struct rest_request *req, struct holding_question *ret)
{
	struct holding_question question = { .since = 0 };
	const char *peer = rest_target_param(&req->target, "peer");
	uint64_t wait_ms;
	int code = rest_request_content(req, &question.content);

	if (code == P2P_OK)
		code = rest_request_number(req, "since", UINT64_MAX, 0, &question.since);
	if (code == P2P_OK)
		code = rest_request_number(req, "wait", HOLDINGS_WAIT_MAX_MS, 0, &wait_ms);
	if (code == P2P_OK && peer != NULL && !digest_is_base32(peer))
		code = error_set(&req->err, P2P_BAD_REQUEST, "peer: wanted a peer id");
	if (code != P2P_OK)
		return code;
	question.wait_ms = (uint32_t)wait_ms;
	if (peer != NULL)
		memcpy(question.peer, peer, PEER_ID_SIZE);
	*ret = question;
	return P2P_OK;
}

static int
begin(struct rest_request *req)
{
	struct holding_question question;
	int code = parse_question(req, &question);

	if (code != P2P_OK)
		return code;
	struct rest_have *have = mem_zero(1, sizeof(*have));
	rest_pause_init(&have->pause, req);
	have->service = req->rest->service;
	have->question = question;
	have->waiter = (struct holding_waiter){ .wake = wake, .arg = have };
	req->have = have;
	return P2P_OK;
}

int
rest_get_have(struct rest_request *req)
{
	struct holding_answer answer;
	bool waits;
	int code = req->have == NULL ? begin(req) : P2P_OK;

	if (code != P2P_OK)
		return code;
	for (struct rest_have *have = req->have;;) {
		code = service_have(have->service, &have->question,
				    have->has_waited ? NULL : &have->waiter, &answer, &waits,
				    &req->err);
		if (code != P2P_OK)
			return code;
		if (!waits)
			break;
		holding_answer_fini(&answer);
		have->has_waited = true;
		if (rest_pause_suspend(&have->pause))
			return REST_WAITS;
	}
	char *text = wire_have(&req->have->question.content, &answer);
	holding_answer_fini(&answer);
	return rest_answer_json(req, MHD_HTTP_OK, text);
}

void
rest_have_free(struct rest_have *have)
{
	if (have == NULL)
		return;
	service_have_forget(have->service, &have->waiter);
	rest_pause_fini(&have->pause);
	free(have);
}
