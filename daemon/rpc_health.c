/* SPDX-License-Identifier: MIT
 *
 * rpc_health.c - grpc.health.v1: whether this peer, or a service of it, is served.
 *
 * It always is, as long as somebody answers: services are not switched off one by one.  What is
 * known by name are the services of the table of methods.
 *
 * Watch says so once and then waits for the only change there is, the way down: then it says
 * NOT_SERVING, and ends.
 */
#include "rpc_internal.h"

#include <stdlib.h>
#include <string.h>

#include "health.pb-c.h"
#include "mem.h"

typedef Grpc__Health__V1__HealthCheckRequest request_message;
typedef Grpc__Health__V1__HealthCheckResponse response_message;

enum {
	SERVING = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING,
	NOT_SERVING = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__NOT_SERVING,
	SERVICE_UNKNOWN = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVICE_UNKNOWN,
};

struct health_watch {
	struct rpc_watcher watcher;
	int said; /* the status that was told last; 0: none */
	bool is_known;
};

static void
reply(struct rpc_call *call, int status)
{
	response_message message = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;

	message.status = (Grpc__Health__V1__HealthCheckResponse__ServingStatus)status;
	rpc_reply(call, &message.base);
}

/* "" is the peer as a whole. */
static bool
is_service(const char *name)
{
	size_t len = strlen(name);

	if (len == 0)
		return true;
	for (size_t i = 0; i < rpc_method_count; i++)
		if (strncmp(rpc_methods[i].path + 1, name, len) == 0 &&
		    rpc_methods[i].path[1 + len] == '/')
			return true;
	return false;
}

int
rpc_health_check(struct rpc_call *call, const ProtobufCMessage *message, struct error *err)
{
	const request_message *request = (const request_message *)message;

	if (!is_service(request->service))
		return error_set(err, P2P_NOT_FOUND, "there is no such service");
	reply(call, SERVING);
	return RPC_END;
}

/* --- watching --- */

int
rpc_health_watch(struct rpc_call *call, const ProtobufCMessage *message, struct error *err)
{
	const request_message *request = (const request_message *)message;
	struct health_watch *watch = mem_zero(1, sizeof(*watch));

	(void)err;
	watch->is_known = is_service(request->service);
	rpc_watcher_add(&watch->watcher, call);
	rpc_head(call)->state = watch;
	return RPC_MORE;
}

int
rpc_health_watch_next(struct rpc_call *call, struct error *err)
{
	struct health_watch *watch = rpc_head(call)->state;
	bool is_stopping = rpc_watcher_is_stopping(&watch->watcher);
	int status = !watch->is_known ? SERVICE_UNKNOWN : is_stopping ? NOT_SERVING : SERVING;

	if (status != watch->said) {
		watch->said = status;
		reply(call, status);
		return RPC_MORE;
	}
	return is_stopping ? error_set(err, P2P_SHUTTING_DOWN, "the daemon is stopping") : RPC_WAIT;
}

void
rpc_health_watch_end(struct rpc_call *call)
{
	struct health_watch *watch = rpc_head(call)->state;

	if (watch == NULL)
		return;
	rpc_watcher_remove(&watch->watcher);
	free(watch);
}
