/* SPDX-License-Identifier: MIT
 *
 * rpc_server.c - one life of the gRPC listener: the library's server, its queue, and the thread
 * that waits for it.
 *
 * There is one completion queue and one thread, the poller; more were slower in every
 * measurement.  The poller also does the library's work on sockets, so what runs on it must not
 * wait for a disk: rpc_call.c sends such steps to the pool.  (Stat and Have look up one key of
 * the catalog, which is in memory as a rule.)
 *
 * Down: the library stops listening, all calls are cancelled, and everyone who waits for the
 * queue gets his tag back and lets go of the server.  Who lets go last, on whatever thread,
 * shuts the queue; then the poller frees what is the library's and ends.  Nothing is begun on a
 * queue that is shut, because whoever could begin something holds the server.
 *
 * A server whose poller is kept busy by a hostile client goes down as soon as it can, beside the
 * one that took its place.
 *
 * The library binds sockets itself and does not say why it could not.  So the address is tried
 * before, for the sake of the error; and the listening sockets are looked for afterwards, for
 * [network] congestion.
 */
#include "rpc_internal.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "log.h"
#include "mem.h"
#include "rpc_credentials.h"
#include "thread.h"

#define HANDSHAKE_MS (10 * 1000)
#define IDLE_MS      (5 * 60 * 1000) /* a connection without a call */
#define PING_MS      (60 * 1000)     /* without a byte, until we ask whether the client lives */
#define PONG_MS      (20 * 1000)
#define PING_MIN_MS  (10 * 1000) /* a client that pings more often ... */
#define PING_STRIKES 3           /* ... so many times, is sent away */
/* bytes: above our own limits, so that what is a little too large gets our answer, not the
 * library's */
#define RECEIVE_MAX (4u << 20)

/* --- the library's settings --- */

static grpc_arg
number(const char *key, int value)
{
	return (grpc_arg){ GRPC_ARG_INTEGER, (char *)key, { .integer = value } };
}

static grpc_server *
make_server(void)
{
	grpc_resource_quota *quota = grpc.resource_quota_create("p2pd");

	grpc.resource_quota_resize(quota, RPC_MEMORY_MAX);
	grpc_arg args[] = {
		{ GRPC_ARG_POINTER,
		  (char *)GRPC_ARG_RESOURCE_QUOTA,
		  { .pointer = { quota, grpc.resource_quota_arg_vtable() } } },
		number(GRPC_ARG_ALLOW_REUSEPORT, 0), /* two daemons would share a port, silently */
		number(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, RECEIVE_MAX),
		number(GRPC_ARG_MAX_CONCURRENT_STREAMS, RPC_STREAMS_MAX),
		number(GRPC_ARG_MAX_METADATA_SIZE, RPC_HEADERS_MAX),
		number(GRPC_COMPRESSION_CHANNEL_ENABLED_ALGORITHMS_BITSET, 1 << GRPC_COMPRESS_NONE),
		number(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, HANDSHAKE_MS),
		number(GRPC_ARG_MAX_CONNECTION_IDLE_MS, IDLE_MS),
		number(GRPC_ARG_KEEPALIVE_TIME_MS, PING_MS),
		number(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, PONG_MS),
		number(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, PING_MIN_MS),
		number(GRPC_ARG_HTTP2_MAX_PING_STRIKES, PING_STRIKES),
	};
	grpc_channel_args list = { sizeof(args) / sizeof(args[0]), args };
	grpc_server *server = grpc.server_create(&list, NULL);
	grpc.resource_quota_unref(quota);
	return server;
}

/* --- listening --- */

/* proc(5): true if a line of the table is of a socket that listens on the port; and if there is no table. */
static bool
lists_listener(const char *table, uint16_t port)
{
	FILE *file = fopen(table, "re");
	char line[512];
	bool is_listed = file == NULL;

	while (!is_listed && fgets(line, sizeof(line), file) != NULL) {
		unsigned local, state;
		is_listed = sscanf(line, " %*d: %*[0-9A-F]:%x %*[0-9A-F]:%*x %x", &local, &state) == 2 &&
			    local == port && state == TCP_LISTEN;
	}
	if (file != NULL)
		fclose(file);
	return is_listed;
}

/* True if nobody listens on a port that is in use: the system gave it to a connection, or had done so a minute ago.  It passes. */
static bool
is_lent(uint16_t port)
{
	return port != 0 && !lists_listener("/proc/self/net/tcp", port) &&
	       (access("/proc/self/net/tcp6", F_OK) != 0 || !lists_listener("/proc/self/net/tcp6", port));
}

/* Says why the library will not be able to bind it. */
static int
try_address(const struct rpc_address *address, struct error *err)
{
	int fd = socket(address->at.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int yes = 1, code = P2P_OK;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) != 0 ||
	    bind(fd, (const struct sockaddr *)&address->at, address->at_len) != 0)
		code = errno == EADDRINUSE && is_lent(address->port)
			   ? error_set(err, P2P_CONFLICT,
				       "cannot listen on %s yet: the system lent the port to an "
				       "outgoing connection of this host (see p2pd-grpc(7))",
				       address->text)
			   : error_errno(err, "cannot listen on %s", address->text);
	if (fd >= 0)
		close(fd);
	return code;
}

/* The library makes one listener for both wildcards, IPv4's and IPv6's. */
static bool
is_bound(const struct rpc *rpc, size_t index)
{
	const struct rpc_address *address = &rpc->addresses[index];

	for (size_t i = 0; i < index; i++)
		if (address->is_wildcard && rpc->addresses[i].is_wildcard && address->port != 0 &&
		    rpc->addresses[i].port == address->port)
			return true;
	return false;
}

static int
bind_address(struct rpc_server *server, struct rpc_address *address, struct error *err)
{
	char target[NODE_ADDRESS_SIZE + 8];
	int code = try_address(address, err);

	if (code != P2P_OK)
		return code;
	snprintf(target, sizeof(target), "%s:%u", address->host, address->port);
	grpc_server_credentials *insecure = rpc_credentials_server();
	int port = grpc.server_add_http2_port(server->server, target, insecure);
	grpc.server_credentials_release(insecure);
	if (port <= 0)
		return error_set(err, P2P_IO, "cannot listen on %s", address->text);
	rpc_address_set_port(address, (uint16_t)port);
	return P2P_OK;
}

/* True for a socket that listens on a port of ours. */
static bool
is_listener(const struct rpc *rpc, int fd)
{
	struct rpc_address found = { 0 };
	socklen_t len = sizeof(found.at), flag_len = sizeof(int);
	int is_listening = 0;

	if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &is_listening, &flag_len) != 0 ||
	    !is_listening || getsockname(fd, (struct sockaddr *)&found.at, &len) != 0 ||
	    (found.at.ss_family != AF_INET && found.at.ss_family != AF_INET6))
		return false;
	for (size_t i = 0; i < rpc->address_count; i++)
		if (rpc_address_port(&found) == rpc->addresses[i].port)
			return true;
	return false;
}

/* Connections inherit it from the socket that listens. */
static void
set_congestion(const struct rpc *rpc)
{
	const char *name = rpc->congestion;
	DIR *dir = name != NULL ? opendir("/proc/self/fd") : NULL;

	for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;) {
		int fd = atoi(entry->d_name);
		if (entry->d_name[0] != '.' && is_listener(rpc, fd) &&
		    setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, (socklen_t)strlen(name)) != 0)
			log_warn("[network] congestion = %s: %s; the system's is used", name,
				 strerror(errno));
	}
	if (dir != NULL)
		closedir(dir);
}

static int
listen_everywhere(struct rpc_server *server, struct error *err)
{
	struct rpc *rpc = server->rpc;
	/* At the start each of them has to be had. */
	bool is_again = rpc->probe != NULL;

	for (size_t i = 0; i < rpc->address_count; i++) {
		struct rpc_address *address = &rpc->addresses[i];
		if (is_bound(rpc, i) || (is_again && !rpc_address_is_here(address)))
			continue;
		int code = bind_address(server, address, err);
		if (code != P2P_OK)
			return code;
	}
	set_congestion(rpc);
	return P2P_OK;
}

/* --- the poller --- */

static void *
poll_queue(void *arg)
{
	struct rpc_server *server = arg;
	const gpr_timespec never = gpr.inf_future(GPR_CLOCK_REALTIME);

	for (;;) {
		grpc_event event = grpc.completion_queue_next(server->queue, never, NULL);
		if (event.type == GRPC_QUEUE_SHUTDOWN)
			break;
		atomic_fetch_add(&server->stuck.turns, 1);
		rpc_tag_run(event.tag, event.success);
	}
	rpc_stuck_stop(server);
	grpc.server_destroy(server->server);
	grpc.completion_queue_destroy(server->queue);
	atomic_store(&server->is_down, true);
	return NULL;
}

static int
start_poller(struct rpc_server *server, struct error *err)
{
	int failed = thread_start(&server->poller, NULL, "p2pd-rpc", poll_queue, server);

	if (failed != 0)
		return error_set(err, P2P_INTERNAL, "cannot start a thread for gRPC: %s",
				 strerror(failed));
	server->has_poller = true;
	return P2P_OK;
}

/* --- up and down --- */

void
rpc_server_hold(struct rpc_server *server)
{
	atomic_fetch_add(&server->holds, 1);
}

void
rpc_server_release(struct rpc_server *server)
{
	if (atomic_fetch_sub(&server->holds, 1) == 1)
		grpc.completion_queue_shutdown(server->queue);
}

static void
on_stopped(void *owner, bool success)
{
	(void)success;
	rpc_server_release(owner);
}

struct rpc_server *
rpc_server_new(struct rpc *rpc, struct error *err)
{
	struct rpc_server *server = mem_zero(1, sizeof(*server));

	server->rpc = rpc;
	server->service = rpc->service;
	server->holds = 1;
	rpc_tag_init(&server->stopped, on_stopped, server);
	server->queue = grpc.completion_queue_create_for_next(NULL);
	server->server = make_server();
	grpc.server_register_completion_queue(server->server, server->queue, NULL);
	rpc_calls_register(server);
	if (listen_everywhere(server, err) != P2P_OK || start_poller(server, err) != P2P_OK) {
		rpc_server_stop(server);
		rpc_server_join(server);
		return NULL;
	}
	rpc_stuck_start(server);
	grpc.server_start(server->server);
	rpc_calls_expect(server);
	return server;
}

void
rpc_server_stop(struct rpc_server *server)
{
	assert(!server->is_stopping);
	atomic_store(&server->is_stopping, true);
	/* With nothing to wait for the poller would free the server under our hands. */
	rpc_server_hold(server);
	grpc.server_shutdown_and_notify(server->server, server->queue, &server->stopped);
	grpc.server_cancel_all_calls(server->server);
	rpc_server_release(server);
}

void
rpc_server_join(struct rpc_server *server)
{
	if (server->has_poller)
		pthread_join(server->poller, NULL);
	else
		poll_queue(server);
	free(server->registered);
	free(server);
}
