/* SPDX-License-Identifier: MIT
 *
 * rpc.c - the gRPC face: where it listens, the way up and down, and the restart.
 *
 * The library listens, so the face is at the mercy of the library's faults.  Version 1.51 has
 * known ones: it stops accepting for good when descriptors have run out once, and a header can
 * keep its thread busy for as long as somebody feeds it.  Therefore the face calls itself
 * (rpc_probe.c), and the whole listener is a thing that can be thrown away (rpc_server.c):
 * rpc_restart() lets the old one go down by itself and puts another in its place, at the same
 * ports.  There may be OLD_MAX that do not come down; with so many nothing is gained by one more.
 * An address may have gone since the start, with its network.  It takes no other with it: it is
 * not asked and not bound until it is back.
 *
 * A port can be taken though nobody listens on it: 50051, that gRPC has by custom, lies where the
 * system takes the ports of outgoing connections from.  That is no reason not to start; the probe
 * brings up the listener when the port is free.
 *
 * On the way down all of them are waited for.  One that never comes down is ended with the
 * process, by daemon.c's deadline.
 */
#include "rpc_internal.h"

#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "log.h"
#include "mem.h"
#include "metrics.h"

#define OLD_MAX    4           /* servers that have not come down yet */
#define LOG_GAP_MS (60 * 1000) /* between two warnings of the library */

/* --- addresses --- */

static uint16_t *
port_of(const struct rpc_address *address)
{
	if (address->at.ss_family == AF_INET6)
		return &((struct sockaddr_in6 *)&address->at)->sin6_port;
	return &((struct sockaddr_in *)&address->at)->sin_port;
}

uint16_t
rpc_address_port(const struct rpc_address *address)
{
	return ntohs(*port_of(address));
}

void
rpc_address_set_port(struct rpc_address *address, uint16_t port)
{
	address->port = port;
	*port_of(address) = htons(port);
}

static bool
is_wildcard(const struct rpc_address *address)
{
	if (address->at.ss_family == AF_INET6)
		return IN6_IS_ADDR_UNSPECIFIED(&((struct sockaddr_in6 *)&address->at)->sin6_addr);
	return ((struct sockaddr_in *)&address->at)->sin_addr.s_addr == htonl(INADDR_ANY);
}

bool
rpc_address_is_here(const struct rpc_address *address)
{
	struct rpc_address any = *address;
	int fd = socket(address->at.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool is_here = true;

	if (fd < 0)
		return true;
	rpc_address_set_port(&any, 0);
	if (bind(fd, (const struct sockaddr *)&any.at, any.at_len) != 0)
		is_here = errno != EADDRNOTAVAIL;
	close(fd);
	return is_here;
}

/* As rest.c: the first address that a name means. */
static int
resolve(struct rpc_address *address, const char *text, struct error *err)
{
	struct addrinfo hints = { .ai_family = AF_UNSPEC,
				  .ai_socktype = SOCK_STREAM,
				  .ai_flags = AI_PASSIVE };
	struct addrinfo *found = NULL;
	char name[256], host[NODE_ADDRESS_SIZE - 2];
	uint16_t port;
	int code = config_split_address(text, name, sizeof(name), &port, err);

	if (code != P2P_OK)
		return code;
	int failed = getaddrinfo(name, NULL, &hints, &found);
	if (failed == 0) {
		memcpy(&address->at, found->ai_addr, found->ai_addrlen);
		address->at_len = found->ai_addrlen;
		failed = getnameinfo(found->ai_addr, found->ai_addrlen, host, sizeof(host), NULL, 0,
				     NI_NUMERICHOST);
		freeaddrinfo(found);
	}
	if (failed != 0)
		return error_set(err, P2P_IO, "cannot listen on %s: %s", text,
				 gai_strerror(failed));
	snprintf(address->host, sizeof(address->host),
		 address->at.ss_family == AF_INET6 ? "[%s]" : "%s", host);
	address->text = mem_string(text);
	address->is_wildcard = is_wildcard(address);
	rpc_address_set_port(address, port);
	return P2P_OK;
}

/* --- the library's log --- */

/* What a client does wrong is an error to the library, so its lines are not worth many of ours. */
static void
log_library(gpr_log_func_args *args)
{
	static _Atomic uint64_t next_ms;
	uint64_t now_ms = clock_ms(), due_ms = atomic_load(&next_ms);

	if (args->severity == GPR_LOG_SEVERITY_ERROR && now_ms >= due_ms &&
	    atomic_compare_exchange_strong(&next_ms, &due_ms, now_ms + LOG_GAP_MS))
		log_warn("gRPC: %s", args->message);
	else
		log_debug("gRPC: %s", args->message);
}

/* --- up --- */

/*
 * In the library's usual way any thread that waits reads any socket, so that an idle face would
 * read for the busy lanes of a fetch, and every block would change its core: a fetch took a fifth
 * longer.  By poll() the threads of a queue see to the sockets of that queue.  Hundreds of idle
 * connections cost a call a few microseconds then.
 */
void
rpc_prepare(void)
{
	setenv("GRPC_POLL_STRATEGY", "poll", 0);
}

struct rpc *
rpc_new(struct service *service, struct config *config, struct error *err)
{
	struct rpc *rpc = mem_zero(1, sizeof(*rpc));
	struct error missing = { 0 };

	rpc->service = service;
	rpc->loop = service_loop(service);
	rpc_watchers_init(&rpc->watchers);
	rpc_pace_init(&rpc->pace, rpc->loop, config->rest_body_timeout_s);
	if (config->grpc_listen.count == 0)
		return rpc;
	if (rpc_library_load(&missing) != P2P_OK) {
		log_error("gRPC is not served: %s; to do without, leave \"listen =\" in [grpc] "
			  "empty",
			  missing.text);
		return rpc;
	}
	rpc->is_on = true;
	rpc->congestion = mem_string(config->network_congestion);
	gpr.set_log_verbosity(GPR_LOG_SEVERITY_ERROR);
	gpr.set_log_function(log_library);
	grpc.init();
	for (size_t i = 0; i < config->grpc_listen.count; i++) {
		if (resolve(&rpc->addresses[i], config->grpc_listen.items[i], err) != P2P_OK)
			goto fail;
		rpc->address_count++;
	}
	rpc->guard = rpc_guard_new(service_pool(service), config);
	rpc->server = rpc_server_new(rpc, err);
	if (rpc->server == NULL && err->code != P2P_CONFLICT)
		goto fail;
	if (rpc->server == NULL)
		log_warn("gRPC: %s; it is tried every second", err->text);
	rpc_guard_sweep(rpc->guard, rpc); /* from here on it knows the ports */
	rpc->probe = rpc_probe_new(rpc);
	return rpc;
fail:
	rpc_free(rpc);
	return NULL;
}

size_t
rpc_ports(const struct rpc *rpc, uint16_t *ports, size_t max)
{
	for (size_t i = 0; i < rpc->address_count && i < max; i++)
		ports[i] = rpc->addresses[i].port;
	return rpc->address_count;
}

/* --- anew --- */

/* Frees those that have come down; answers how many have not. */
static size_t
reap(struct rpc *rpc)
{
	size_t left = 0;

	for (struct rpc_server **link = &rpc->old, *server; (server = *link) != NULL;) {
		if (atomic_load(&server->is_down)) {
			*link = server->next;
			rpc_server_join(server);
		} else {
			link = &server->next;
			left++;
		}
	}
	return left;
}

static void
retire(struct rpc *rpc)
{
	struct rpc_server *server = rpc->server;

	if (server == NULL)
		return;
	rpc_server_stop(server);
	server->next = rpc->old;
	rpc->old = server;
	rpc->server = NULL;
}

void
rpc_restart(struct rpc *rpc)
{
	struct error err = { 0 };

	assert(loop_is_mine(rpc->loop));
	if (reap(rpc) >= OLD_MAX)
		return;
	if (rpc->server != NULL) {
		log_warn("gRPC does not answer: its listener is started anew");
		metrics_add(METRIC_RPC_RESTARTS, 1);
		retire(rpc);
	}
	/* If the port is not free yet, the probe comes back. */
	rpc->server = rpc_server_new(rpc, &err);
	if (rpc->server == NULL)
		log_debug("gRPC: %s", err.text);
	else
		log_info("gRPC answers again");
}

/* --- down --- */

void
rpc_free(struct rpc *rpc)
{
	if (rpc == NULL)
		return;
	assert(loop_is_mine(rpc->loop));
	rpc_probe_free(rpc->probe);
	rpc_watchers_stop(&rpc->watchers);
	retire(rpc);
	while (rpc->old != NULL) {
		struct rpc_server *server = rpc->old;
		rpc->old = server->next;
		rpc_server_join(server);
	}
	rpc_guard_free(rpc->guard);
	if (rpc->is_on)
		grpc.shutdown_blocking();
	for (size_t i = 0; i < rpc->address_count; i++)
		free(rpc->addresses[i].text);
	rpc_pace_fini(&rpc->pace);
	rpc_watchers_fini(&rpc->watchers);
	free(rpc->congestion);
	free(rpc);
}
