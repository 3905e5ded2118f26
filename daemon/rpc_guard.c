/* SPDX-License-Identifier: MIT
 *
 * rpc_guard.c - how many connections the face may have: in all, and from one address.
 *
 * The library accepts by itself, whoever comes, and cannot be told to stop.  So the bound is kept
 * afterwards: a sweep, begun by the probe each time that its timer rings, looks at our own
 * descriptors, takes those that are connected to a port of the face, and shuts down what is too
 * many, beginning with those that were silent longest.  The library finds them dead and closes
 * them.  The bounds are those of REST, rest_conn.c, and as there loopback, where all users of this
 * host come from, may have half of all; but at most a quarter of the open files that this process
 * may have.
 *
 * It has to work when there are no descriptors left, for then it is wanted most, and a free one
 * would be taken by the next connection.  So it takes none: it keeps two from the beginning, the
 * list of descriptors and a slot.
 *
 * The descriptors are the library's, and others', and may be closed and used anew while we look.
 * What is looked at is known by its cookie, which no other socket ever has.  What is to be shut
 * down is put into the slot first, where it stays what it is, and must still have that cookie.
 *
 * A sweep is a job on the pool: with many thousand connections it takes a while, and a list of
 * them should not delay the mind.  There is one at a time.  It knows nothing of the face but the
 * ports that it was given, and has a reference to the guard, so the way down does not wait for
 * it; the pool does, when it is freed.
 */
#include "rpc_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"
#include "mem.h"
#include "metrics.h"
#include "pool.h"

#define FILES_SHARE 4 /* of the open files we may have, one in so many may be a connection */

struct conn {
	int fd;
	uint64_t cookie;
	struct in6_addr from;
	uint32_t silent_ms;
	bool is_over; /* the limit of its address */
};

struct conns {
	struct conn *items;
	size_t count, room;
};

struct rpc_guard {
	atomic_uint refs;    /* the face's, and the sweep's */
	atomic_bool is_busy; /* a sweep is under way: what follows is its own */
	struct pool *pool;
	uint32_t connections, per_address;
	DIR *dir; /* our descriptors; NULL: it cannot be read */
	int slot; /* holds nothing of interest between two looks; -1: it has to be made */
	uint16_t ports[CONFIG_LIST_MAX];
	size_t port_count;
};

/* --- one descriptor --- */

/* IPv4 as IPv6 writes it.  False if it is neither. */
static bool
split(const struct sockaddr_storage *at, struct in6_addr *ret_host, uint16_t *ret_port)
{
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)at;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)at;

	if (at->ss_family == AF_INET6) {
		*ret_host = v6->sin6_addr;
		*ret_port = ntohs(v6->sin6_port);
		return true;
	}
	*ret_host = (struct in6_addr){ .s6_addr = { [10] = 0xff, [11] = 0xff } };
	memcpy(&ret_host->s6_addr[12], &v4->sin_addr, sizeof(v4->sin_addr));
	*ret_port = ntohs(v4->sin_port);
	return at->ss_family == AF_INET;
}

static bool
is_loopback(const struct in6_addr *host)
{
	return IN6_IS_ADDR_LOOPBACK(host) ||
	       (IN6_IS_ADDR_V4MAPPED(host) && host->s6_addr[12] == IN_LOOPBACKNET);
}

/* No socket of ours that calls somebody has one of these ports: the system gives it none that is
 * bound. */
static bool
is_to_face(const struct rpc_guard *guard, int fd)
{
	struct sockaddr_storage at = { 0 };
	socklen_t len = sizeof(at);
	struct in6_addr host;
	uint16_t port;

	if (getsockname(fd, (struct sockaddr *)&at, &len) != 0 || !split(&at, &host, &port))
		return false;
	for (size_t i = 0; i < guard->port_count; i++)
		if (guard->ports[i] == port)
			return true;
	return false;
}

/* False if it is none of ours, or has been shut down already and waits for the library. */
static bool
look(const struct rpc_guard *guard, int fd, struct conn *ret)
{
	struct sockaddr_storage at = { 0 };
	struct tcp_info info = { 0 };
	struct conn conn = { .fd = fd };
	socklen_t at_len = sizeof(at), info_len = sizeof(info), cookie_len = sizeof(conn.cookie);
	uint16_t port;

	if (!is_to_face(guard, fd) || getpeername(fd, (struct sockaddr *)&at, &at_len) != 0 ||
	    !split(&at, &conn.from, &port) ||
	    getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &info_len) != 0 ||
	    (info.tcpi_state != TCP_ESTABLISHED && info.tcpi_state != TCP_CLOSE_WAIT) ||
	    getsockopt(fd, SOL_SOCKET, SO_COOKIE, &conn.cookie, &cookie_len) != 0)
		return false;
	conn.silent_ms = info.tcpi_last_data_recv;
	*ret = conn;
	return true;
}

static bool
is_still(const struct rpc_guard *guard, const struct conn *conn, int fd)
{
	struct conn now;

	return look(guard, fd, &now) && now.cookie == conn->cookie;
}

/* A file may have got the number just now, and to close that would end this process's locks on it
 * (fcntl(2)).  It is kept, then, for good. */
static void
empty_slot(struct rpc_guard *guard)
{
	struct stat st;

	if (fstat(guard->slot, &st) == 0 && S_ISSOCK(st.st_mode))
		dup3(dirfd(guard->dir), guard->slot, O_CLOEXEC);
	else
		guard->slot = -1;
}

static bool
shut(struct rpc_guard *guard, const struct conn *conn)
{
	if (guard->slot < 0)
		guard->slot = fcntl(dirfd(guard->dir), F_DUPFD_CLOEXEC, 0);
	if (guard->slot < 0 || !is_still(guard, conn, conn->fd) ||
	    dup3(conn->fd, guard->slot, O_CLOEXEC) < 0)
		return false;
	bool is_shut = is_still(guard, conn, guard->slot) && shutdown(guard->slot, SHUT_RDWR) == 0;
	empty_slot(guard);
	return is_shut;
}

/* --- all of them --- */

static void
add(struct conns *conns, const struct conn *conn)
{
	if (conns->count == conns->room) {
		conns->room = conns->room != 0 ? 2 * conns->room : 64;
		conns->items = mem_grow(conns->items, conns->room, sizeof(*conns->items));
	}
	conns->items[conns->count++] = *conn;
}

static void
find(const struct rpc_guard *guard, struct conns *conns)
{
	rewinddir(guard->dir);
	for (struct dirent *entry; (entry = readdir(guard->dir)) != NULL;) {
		struct conn conn;
		if (entry->d_name[0] != '.' && look(guard, atoi(entry->d_name), &conn))
			add(conns, &conn);
	}
}

static int
by_silence(const void *left, const void *right)
{
	const struct conn *a = left, *b = right;

	if (a->is_over != b->is_over)
		return a->is_over ? 1 : -1;
	return (a->silent_ms > b->silent_ms) - (a->silent_ms < b->silent_ms);
}

static int
by_address(const void *left, const void *right)
{
	const struct conn *a = left, *b = right;
	int order = memcmp(&a->from, &b->from, sizeof(a->from));

	return order != 0 ? order : by_silence(a, b);
}

/* Puts those that may stay before the others; answers how many they are. */
static size_t
choose(const struct rpc_guard *guard, struct conns *conns, unsigned all)
{
	size_t same = 0, kept = 0;

	if (conns->count == 0)
		return 0;
	qsort(conns->items, conns->count, sizeof(*conns->items), by_address);
	for (struct conn *conn = conns->items; conn < conns->items + conns->count; conn++) {
		bool is_first = conn == conns->items ||
				memcmp(&conn[-1].from, &conn->from, sizeof(conn->from)) != 0;
		same = is_first ? 1 : same + 1;
		conn->is_over =
		    same > (is_loopback(&conn->from) ? (all + 1) / 2 : guard->per_address);
		kept += !conn->is_over;
	}
	qsort(conns->items, conns->count, sizeof(*conns->items), by_silence);
	return kept < all ? kept : all;
}

static unsigned
connections_max(const struct rpc_guard *guard)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 ||
	    limit.rlim_cur / FILES_SHARE >= guard->connections)
		return guard->connections;
	return (unsigned)(limit.rlim_cur / FILES_SHARE);
}

/* --- the sweep --- */

static void
unref(struct rpc_guard *guard)
{
	if (atomic_fetch_sub(&guard->refs, 1) > 1)
		return;
	if (guard->slot >= 0)
		close(guard->slot);
	if (guard->dir != NULL)
		closedir(guard->dir);
	free(guard);
}

static void
sweep(void *arg)
{
	struct rpc_guard *guard = arg;
	struct conns conns = { 0 };
	unsigned all = connections_max(guard);
	size_t closed = 0;

	find(guard, &conns);
	for (size_t i = choose(guard, &conns, all); i < conns.count; i++)
		closed += shut(guard, &conns.items[i]);
	free(conns.items);
	if (closed > 0) {
		log_warn("gRPC: %zu connections were closed: over %u in all, or too many from one "
			 "address",
			 closed, all);
		metrics_add(METRIC_RPC_CLOSED, closed);
	}
	atomic_store(&guard->is_busy, false);
	unref(guard);
}

void
rpc_guard_sweep(struct rpc_guard *guard, const struct rpc *rpc)
{
	if (guard->dir == NULL || atomic_exchange(&guard->is_busy, true))
		return;
	guard->port_count = rpc_ports(rpc, guard->ports, CONFIG_LIST_MAX);
	atomic_fetch_add(&guard->refs, 1);
	pool_submit(guard->pool, POOL_SOON, sweep, NULL, guard);
}

struct rpc_guard *
rpc_guard_new(struct pool *pool, const struct config *config)
{
	struct rpc_guard *guard = mem_zero(1, sizeof(*guard));

	guard->refs = 1;
	guard->pool = pool;
	guard->connections = config->rest_connections;
	guard->per_address = config->rest_per_address;
	guard->dir = opendir("/proc/self/fd");
	guard->slot = -1;
	if (guard->dir == NULL)
		log_warn("connections to [grpc] are not bounded: cannot open /proc/self/fd: %s",
			 strerror(errno));
	else
		guard->slot = fcntl(dirfd(guard->dir), F_DUPFD_CLOEXEC, 0);
	return guard;
}

void
rpc_guard_free(struct rpc_guard *guard)
{
	if (guard != NULL)
		unref(guard);
}
