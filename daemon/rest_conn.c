/* SPDX-License-Identifier: MIT
 *
 * rest_conn.c - connections: how many there may be, and how long they may take.
 *
 * The library's own timeout counts silence only, so a client that sends a byte now and then would
 * hold its place for ever.  Here every connection has a step, written by the one library thread
 * that serves it, and a timer on the mind looks at all of them once a second, as long as there are
 * any:
 *
 * - HEADER: the whole header is due [rest] header_timeout seconds after the connection began, or, on
 *   one kept alive, after the first bytes of the next request were seen
 * - BODY: at least REST_BODY_BPS, over [rest] body_timeout seconds
 * - REPLY: the library's own timeout will do
 * - IDLE: so it will here; but bytes that arrive start a header's clock
 *
 * Bytes are those that the kernel counts (TCP_INFO), so the way of a request costs nothing but one
 * store per step.  Who is late is shut down (never closed: the descriptor is the library's), and
 * the library then finds it dead.  The list's lock makes sure that it still is the same descriptor:
 * the library reports an end before it closes.
 *
 * Limits are checked when the library asks about a new connection: so many in all, so many from one
 * address; loopback, where all users of this host come from, may have half of all.
 */
#include "rest_internal.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <linux/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "clock.h"
#include "log.h"
#include "mem.h"

#define WATCH_MS       1000
#define FILES_RESERVED 256 /* open files that are not for connections */
#define STEP_MASK      3u
#define STEP_STRIDE    4u

static void
address_text(const struct sockaddr *address, socklen_t len, char ret[REST_LITERAL_SIZE],
	     uint16_t *ret_port)
{
	char service[8] = "0";

	if (getnameinfo(address, len, ret, REST_LITERAL_SIZE, service, sizeof(service),
			NI_NUMERICHOST | NI_NUMERICSERV) != 0)
		strcpy(ret, "unknown");
	if (ret_port != NULL)
		*ret_port = (uint16_t)atoi(service);
}

/* --- limits --- */

/*
 * At the limit on open files accept() fails, and the library asks again at once, for ever.  So fewer are
 * taken than that limit would let in, when each has a file open too.
 */
unsigned
rest_conn_max(const struct config *config)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
		return config->rest_connections;
	uint64_t files = limit.rlim_cur;
	uint64_t fit = files > 2 * FILES_RESERVED ? (files - FILES_RESERVED) / 2 : files / 8;
	return fit < config->rest_connections ? (unsigned)fit : config->rest_connections;
}

enum MHD_Result
rest_conn_accept(void *arg, const struct sockaddr *address, socklen_t len)
{
	struct rest *rest = ((struct rest_listener *)arg)->rest;
	char peer[REST_LITERAL_SIZE];
	unsigned same = 0;

	address_text(address, len, peer, NULL);
	pthread_mutex_lock(&rest->mu);
	for (const struct rest_conn *conn = rest->conns; conn != NULL; conn = conn->next)
		same += strcmp(conn->peer, peer) == 0;
	unsigned all = rest_conn_max(rest->config);
	unsigned each = config_is_loopback(peer) ? (all + 1) / 2 : rest->config->rest_per_address;
	bool is_welcome = rest->conn_count < all && same < each;
	pthread_mutex_unlock(&rest->mu);

	if (!is_welcome)
		log_debug("a connection from %s is over the limit", peer);
	return is_welcome ? MHD_YES : MHD_NO;
}

/* --- deadlines --- */

void
rest_conn_step(struct rest_conn *conn, enum rest_step step)
{
	unsigned old = atomic_load_explicit(&conn->step, memory_order_relaxed);

	atomic_store_explicit(&conn->step, ((old & ~STEP_MASK) + STEP_STRIDE) | step,
			      memory_order_relaxed);
}

/* Bytes that the kernel received on this connection in all. */
static uint64_t
received_bytes(const struct rest_conn *conn)
{
	struct tcp_info info = { .tcpi_bytes_received = 0 };
	socklen_t len = sizeof(info);

	if (getsockopt(conn->fd, IPPROTO_TCP, TCP_INFO, &info, &len) != 0)
		return 0;
	return info.tcpi_bytes_received;
}

/* Notes that the connection is at another step than when it was seen last. */
static void
see_step(struct rest_conn *conn, unsigned step, uint64_t now_ms)
{
	bool is_header = (step & STEP_MASK) == REST_STEP_HEADER;
	bool goes_on = is_header && conn->is_due && step - conn->seen_step <= STEP_STRIDE;

	conn->seen_step = step;
	conn->is_due = is_header;
	if (!goes_on)
		conn->since_ms = now_ms;
	if (!is_header)
		conn->seen_bytes = received_bytes(conn);
}

/* Holds mu.  True if a body came too slowly; begins the next window. */
static bool
is_slow(struct rest_conn *conn, uint64_t now_ms)
{
	uint64_t window_ms = conn->rest->config->rest_body_timeout_s * 1000ull;

	if (now_ms - conn->since_ms < window_ms)
		return false;

	uint64_t bytes = received_bytes(conn);
	bool is_late = bytes - conn->seen_bytes < REST_BODY_BPS * window_ms / 1000;
	conn->since_ms = now_ms;
	conn->seen_bytes = bytes;
	return is_late;
}

static bool
is_late(struct rest_conn *conn, uint64_t now_ms, uint64_t header_ms)
{
	unsigned step = atomic_load_explicit(&conn->step, memory_order_relaxed);

	if (step != conn->seen_step)
		see_step(conn, step, now_ms);
	if ((step & STEP_MASK) == REST_STEP_BODY)
		return is_slow(conn, now_ms);
	if ((step & STEP_MASK) == REST_STEP_IDLE && !conn->is_due &&
	    received_bytes(conn) != conn->seen_bytes) {
		conn->is_due = true;
		conn->since_ms = now_ms;
	}
	return conn->is_due && now_ms - conn->since_ms >= header_ms;
}

bool
rest_conn_is_gone(int fd)
{
	char byte;
	ssize_t got = recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);

	return got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR);
}

/* An end that came together with the last bytes makes one event with them, and the library, which
 * waits for edges, would learn of it only by its timeout.  This makes another one.  Who has closed
 * his half only still gets his answer. */
static void
tell_end(struct rest_conn *conn)
{
	if (conn->is_ended || !rest_conn_is_gone(conn->fd))
		return;
	shutdown(conn->fd, SHUT_RD);
	conn->is_ended = true;
}

/* The watch: looks at every connection, as long as there are any. */
static void
look(void *arg)
{
	struct rest *rest = arg;
	uint64_t now_ms = clock_ms();

	pthread_mutex_lock(&rest->mu);
	uint64_t header_ms = rest->config->rest_header_timeout_s * 1000ull;
	for (struct rest_conn *conn = rest->conns; conn != NULL; conn = conn->next) {
		tell_end(conn);
		if (!is_late(conn, now_ms, header_ms))
			continue;
		log_debug("a connection from %s is too slow", conn->peer);
		shutdown(conn->fd, SHUT_RDWR);
		conn->since_ms = now_ms;
	}
	for (struct rest_pause *pause = rest->pauses; pause != NULL; pause = pause->next)
		rest_pause_look(pause);
	rest->is_watched = rest->conns != NULL;
	if (rest->is_watched && !rest->is_stopping)
		loop_timer_start(rest->watch_timer, WATCH_MS);
	pthread_mutex_unlock(&rest->mu);
}

/* Posted with a reference. */
static void
start_watch(void *arg)
{
	struct rest *rest = arg;

	pthread_mutex_lock(&rest->mu);
	if (!rest->is_stopping) {
		if (rest->watch_timer == NULL)
			rest->watch_timer = loop_timer_new(rest->loop, look, rest);
		loop_timer_start(rest->watch_timer, WATCH_MS);
	}
	pthread_mutex_unlock(&rest->mu);
	rest_unref(rest);
}

/* --- beginning and end --- */

static struct rest_conn *
conn_new(struct rest *rest, struct MHD_Connection *mhd)
{
	struct rest_conn *conn = mem_zero(1, sizeof(*conn));
	struct sockaddr_storage address = { .ss_family = AF_UNSPEC };
	socklen_t len = sizeof(address);
	char host[REST_LITERAL_SIZE] = "";
	uint16_t port = 0;

	conn->rest = rest;
	conn->fd = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
	if (getsockname(conn->fd, (struct sockaddr *)&address, &len) == 0)
		address_text((struct sockaddr *)&address, len, host, &port);
	rest_local_make(host, port, &conn->local);
	len = sizeof(address);
	if (getpeername(conn->fd, (struct sockaddr *)&address, &len) == 0)
		address_text((struct sockaddr *)&address, len, conn->peer, NULL);
	conn->since_ms = clock_ms();
	conn->is_due = true;
	return conn;
}

static void
conn_open(struct rest *rest, struct rest_conn *conn)
{
	pthread_mutex_lock(&rest->mu);
	conn->next = rest->conns;
	conn->link = &rest->conns;
	if (conn->next != NULL)
		conn->next->link = &conn->next;
	rest->conns = conn;
	rest->conn_count++;
	bool asks = !rest->is_watched && !rest->is_stopping;
	rest->is_watched = rest->is_watched || asks;
	pthread_mutex_unlock(&rest->mu);
	if (asks)
		loop_post(rest->loop, start_watch, rest_ref(rest));
}

static void
conn_close(struct rest *rest, struct rest_conn *conn)
{
	pthread_mutex_lock(&rest->mu);
	*conn->link = conn->next;
	if (conn->next != NULL)
		conn->next->link = conn->link;
	rest->conn_count--;
	pthread_mutex_unlock(&rest->mu);
	free(conn);
}

void
rest_conn_notify(void *arg, struct MHD_Connection *mhd, void **context,
		 enum MHD_ConnectionNotificationCode code)
{
	struct rest *rest = ((struct rest_listener *)arg)->rest;

	if (code == MHD_CONNECTION_NOTIFY_STARTED) {
		*context = conn_new(rest, mhd);
		conn_open(rest, *context);
	} else if (*context != NULL) {
		conn_close(rest, *context);
		*context = NULL;
	}
}
