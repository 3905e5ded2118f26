/* SPDX-License-Identifier: MIT
 *
 * rest.c - the REST face: listeners, and the way up and down.
 *
 * One libmicrohttpd daemon per address of [rest] listen, each with a few threads that sleep in
 * epoll.  The listening sockets are ours: so the error of a bind names the address, IPv6 stays
 * IPv6, and accepted sockets inherit the congestion control of [network] congestion.
 *
 * There are more threads than cores, because handlers wait for disks: an upload that syncs holds up
 * the other connections of its thread, and only those.
 *
 * Life cycle: rest_new() on the mind; the library's threads then live by themselves and reach the
 * mind by loop_call() and loop_post() alone.  rest_free(), again on the mind, after
 * loop_refuse_calls(): first nobody waits any more (event streams detached, suspended connections
 * resumed), then the library is stopped and joined, then the timers go.  Posts that are still under
 * way hold references and find nothing to do.
 */
#include "rest_internal.h"

#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "log.h"
#include "mem.h"

#define THREADS_MIN 4
#define THREADS_MAX 16

/* --- shared things --- */

struct rest *
rest_ref(struct rest *rest)
{
	atomic_fetch_add(&rest->refs, 1);
	return rest;
}

void
rest_unref(struct rest *rest)
{
	if (atomic_fetch_sub(&rest->refs, 1) > 1)
		return;
	config_unref(rest->config);
	pthread_mutex_destroy(&rest->mu);
	free(rest);
}

struct config *
rest_config(struct rest *rest)
{
	pthread_mutex_lock(&rest->mu);
	struct config *config = config_ref(rest->config);
	pthread_mutex_unlock(&rest->mu);
	return config;
}

void
rest_configure(struct rest *rest, struct config *config)
{
	pthread_mutex_lock(&rest->mu);
	struct config *old = rest->config;
	rest->config = config_ref(config);
	pthread_mutex_unlock(&rest->mu);
	config_unref(old);
}

/* --- listening --- */

static struct addrinfo *
resolve(const char *address, struct error *err)
{
	struct addrinfo hints = { .ai_family = AF_UNSPEC,
				  .ai_socktype = SOCK_STREAM,
				  .ai_flags = AI_PASSIVE | AI_NUMERICSERV };
	struct addrinfo *found = NULL;
	char host[256], service[8];
	uint16_t port;

	if (config_split_address(address, host, sizeof(host), &port, err) != P2P_OK)
		return NULL;
	snprintf(service, sizeof(service), "%u", port);
	int failed = getaddrinfo(host, service, &hints, &found);
	if (failed != 0) {
		error_set(err, P2P_IO, "cannot listen on %s: %s", address, gai_strerror(failed));
		return NULL;
	}
	return found;
}

static int
open_socket(const struct addrinfo *at, const char *address, const char *congestion,
	    struct error *err)
{
	int fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int yes = 1;

	if (fd < 0)
		goto fail;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) != 0)
		goto fail;
	if (at->ai_family == AF_INET6 &&
	    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &yes, sizeof(yes)) != 0)
		goto fail;
	if (congestion != NULL && setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, congestion,
					     (socklen_t)strlen(congestion)) != 0)
		log_warn("[network] congestion = %s: %s; the system's is used", congestion,
			 strerror(errno));
	if (bind(fd, at->ai_addr, at->ai_addrlen) != 0 || listen(fd, SOMAXCONN) != 0)
		goto fail;
	return fd;
fail:
	error_errno(err, "cannot listen on %s", address);
	if (fd >= 0)
		close(fd);
	return -1;
}

static uint16_t
bound_port(int fd)
{
	struct sockaddr_storage address;
	socklen_t len = sizeof(address);

	if (getsockname(fd, (struct sockaddr *)&address, &len) != 0)
		return 0;
	if (address.ss_family == AF_INET6)
		return ntohs(((struct sockaddr_in6 *)&address)->sin6_port);
	return ntohs(((struct sockaddr_in *)&address)->sin_port);
}

/* --- the library --- */

static void __attribute__((format(printf, 2, 0)))
log_library(void *arg, const char *format, va_list args)
{
	char line[256];

	(void)arg;
	vsnprintf(line, sizeof(line), format, args);
	line[strcspn(line, "\n")] = '\0';
	log_debug("microhttpd: %s", line);
}

/* Targets are decoded by rest_parse.c, and only there. */
static size_t
leave_escaped(void *arg, struct MHD_Connection *mhd, char *text)
{
	(void)arg, (void)mhd;
	return strlen(text);
}

static unsigned
thread_count(void)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);

	if (cores * 2 < THREADS_MIN)
		return THREADS_MIN;
	return cores * 2 > THREADS_MAX ? THREADS_MAX : (unsigned)cores * 2;
}

/* Takes fd.  Connections are counted by rest_conn_accept(), so the library's own limit, which it
 * divides among its threads, is set where it never decides. */
static struct MHD_Daemon *
start_daemon(struct rest_listener *listener, int fd, const struct config *config)
{
	unsigned flags =
	    MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG;
	unsigned threads = thread_count();

	/* clang-format off */
	return MHD_start_daemon(flags, 0, rest_conn_accept, listener, rest_request_handle, listener,
	    MHD_OPTION_EXTERNAL_LOGGER, log_library, NULL,
	    MHD_OPTION_LISTEN_SOCKET, fd,
	    MHD_OPTION_THREAD_POOL_SIZE, threads,
	    MHD_OPTION_CONNECTION_LIMIT, (config->rest_connections + 1) * threads,
	    MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)REST_HEADER_MAX,
	    MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)REST_IDLE_S,
	    MHD_OPTION_STRICT_FOR_CLIENT, 1,
	    MHD_OPTION_UNESCAPE_CALLBACK, leave_escaped, NULL,
	    MHD_OPTION_URI_LOG_CALLBACK, rest_request_new, listener,
	    MHD_OPTION_NOTIFY_COMPLETED, rest_request_done, listener,
	    MHD_OPTION_NOTIFY_CONNECTION, rest_conn_notify, listener,
	    MHD_OPTION_END);
	/* clang-format on */
}

static int
start_listener(struct rest *rest, const char *address, struct error *err)
{
	struct rest_listener *listener = &rest->listeners[rest->listener_count];
	struct addrinfo *at = resolve(address, err);

	if (at == NULL)
		return err != NULL ? err->code : P2P_IO;
	int fd = open_socket(at, address, rest->config->network_congestion, err);
	freeaddrinfo(at);
	if (fd < 0)
		return P2P_IO;

	listener->rest = rest;
	listener->port = bound_port(fd);
	listener->daemon = start_daemon(listener, fd, rest->config);
	if (listener->daemon == NULL) {
		close(fd);
		return error_set(err, P2P_INTERNAL, "cannot listen on %s: no HTTP server", address);
	}
	rest->listener_count++;
	return P2P_OK;
}

/* --- up and down --- */

struct rest *
rest_new(struct service *service, struct config *config, struct error *err)
{
	struct rest *rest = mem_zero(1, sizeof(*rest));

	rest->service = service;
	rest->loop = service_loop(service);
	rest->config = config_ref(config);
	rest->refs = 1;
	pthread_mutex_init(&rest->mu, NULL);
	if (rest_conn_max(config) < config->rest_connections)
		log_warn("[rest] connections = %u does not fit the limit on open files: %u are taken at once",
		    config->rest_connections, rest_conn_max(config));
	for (size_t i = 0; i < config->rest_listen.count; i++) {
		if (start_listener(rest, config->rest_listen.items[i], err) != P2P_OK) {
			rest_free(rest);
			return NULL;
		}
	}
	return rest;
}

size_t
rest_ports(const struct rest *rest, uint16_t *ports, size_t max)
{
	for (size_t i = 0; i < rest->listener_count && i < max; i++)
		ports[i] = rest->listeners[i].port;
	return rest->listener_count;
}

/* From now on nobody waits. */
static void
end_pauses(struct rest *rest)
{
	pthread_mutex_lock(&rest->mu);
	rest->is_stopping = true;
	for (struct rest_pause *pause = rest->pauses; pause != NULL; pause = pause->next)
		rest_pause_end(pause);
	pthread_mutex_unlock(&rest->mu);
}

void
rest_free(struct rest *rest)
{
	if (rest == NULL)
		return;
	assert(loop_is_mine(rest->loop));
	end_pauses(rest);
	rest_events_stop(rest);
	for (size_t i = 0; i < rest->listener_count; i++)
		MHD_stop_daemon(rest->listeners[i].daemon);
	rest_events_stop(rest);
	loop_timer_free(rest->watch_timer);
	loop_timer_free(rest->beat_timer);
	rest_unref(rest);
}
