/* SPDX-License-Identifier: MIT
 *
 * rpc_have.c - Files/Have: which pieces are here, and what is new of them.
 *
 * A call is asked and answered once; between the two it may wait for news, for as long as its
 * caller said.  A call that waits is a struct and no thread: it stands with the holdings as a
 * waiter, and when there is something to tell, or the time is over, they wake it; then it asks
 * again, without waiting, and answers whatever there is.
 *
 *	take: ask ----> answer
 *	   \-- waits --> next, when woken: ask again --> answer
 *
 * There may be RPC_WAITS_MAX that wait.  Who waits has sent its headers, so that its caller sees
 * that it is listened to.  A caller that cancels, goes away or comes to its deadline ends the call
 * like any other; end() takes it from the waiters, and after that nobody wakes it.
 *
 * On the way down the holdings wake all who wait, and these answer as if their time were over.
 * They stand among the watchers (rpc_watchers.c), who are given a moment to say their last word.
 */
#include "rpc_internal.h"

#include <stdlib.h>

#include "holdings.h"
#include "mem.h"

struct wait {
	struct rpc_watcher watcher;
	struct holding_waiter waiter;
	struct holding_question question;
	struct service *service;
	struct rpc_call *call; /* which outlives this: end() forgets the waiter */
	atomic_bool is_woken;
};

/* holding_waiter.wake */
static void
wake(void *arg)
{
	struct wait *wait = arg;

	atomic_store(&wait->is_woken, true);
	rpc_wake(wait->call);
}

static void
reply(struct rpc_call *call, struct holding_answer *answer)
{
	P2p__V1__HaveResponse *message = wire_pb_of_answer(answer);

	holding_answer_fini(answer);
	rpc_reply(call, &message->base);
	p2p__v1__have_response__free_unpacked(message, NULL);
}

/* Asks; the answer comes at once. */
static int
answer_now(struct rpc_call *call, const struct holding_question *question, struct error *err)
{
	struct holding_answer answer = { 0 };
	bool waits;
	int code = service_have(rpc_head(call)->service, question, NULL, &answer, &waits, err);

	if (code != P2P_OK)
		return code;
	reply(call, &answer);
	return RPC_END;
}

/* Until all of the call has left. */
static int
take_place(struct rpc_call_head *head, struct error *err)
{
	atomic_uint *waits = &head->rpc->waits;

	if (atomic_fetch_add(waits, 1) >= RPC_WAITS_MAX) {
		atomic_fetch_sub(waits, 1);
		return error_set(err, P2P_TOO_MANY, "%u wait for news already, which is the most",
				 RPC_WAITS_MAX);
	}
	head->place = waits;
	return RPC_WAIT;
}

/* Asks; the answer may have to wait. */
static int
answer_later(struct rpc_call *call, const struct holding_question *question, struct error *err)
{
	struct holding_answer answer = { 0 };
	struct wait *wait = mem_zero(1, sizeof(*wait));
	bool waits = false;

	wait->call = call;
	wait->question = *question;
	wait->service = rpc_head(call)->service;
	wait->waiter = (struct holding_waiter){ .wake = wake, .arg = wait };
	rpc_watcher_add(&wait->watcher, call);
	rpc_head(call)->state = wait;
	int code = service_have(wait->service, question, &wait->waiter, &answer, &waits, err);
	if (code != P2P_OK)
		return code;
	if (!waits) {
		reply(call, &answer);
		return RPC_END;
	}
	holding_answer_fini(&answer);
	return take_place(rpc_head(call), err);
}

RPC_TAKE(rpc_have)
{
	const P2p__V1__HaveRequest *request = (const P2p__V1__HaveRequest *)message;
	struct holding_question question;
	int code = wire_pb_question(request, &question, err);

	if (code != P2P_OK)
		return code;
	return question.wait_ms > 0 ? answer_later(call, &question, err)
				    : answer_now(call, &question, err);
}

/* Also called when the headers have left. */
RPC_NEXT(rpc_have_next)
{
	struct wait *wait = rpc_head(call)->state;

	if (!atomic_load(&wait->is_woken) && !rpc_watcher_is_stopping(&wait->watcher))
		return RPC_WAIT;
	return answer_now(call, &wait->question, err);
}

RPC_DONE(rpc_have_end)
{
	struct wait *wait = rpc_head(call)->state;

	if (wait == NULL)
		return;
	service_have_forget(wait->service, &wait->waiter);
	rpc_watcher_remove(&wait->watcher);
	free(wait);
}
