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
 * Who sends calls and takes them back at once costs us much and himself little (CVE-2023-44487), and
 * the library has no measure against it.  So calls in vain are counted by connection: those that
 * were taken back, and those for which the face had no place (rpc_room.c), for on a busy machine
 * that comes first.  A connection with more than VAIN_MAX of them within VAIN_MS is shut down too,
 * at once.  What it sent and nobody has read is thrown away: it would be more of the same.
 *
 * If calls come so fast that not even the first is handed to us, rpc_stuck.c tells.  Then the one who
 * sends most is at fault, as all others wait.
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

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clock.h"
#include "log.h"
#include "mem.h"
#include "metrics.h"
#include "pool.h"
#include "rpc_message.h"

#define FILES_SHARE  4     /* of the open files we may have, one in so many may be a connection */
#define VAIN_MAX     1000  /* calls that a connection may make in vain ... */
#define VAIN_MS      10000 /* ... in such a time */
#define CALLERS_MAX  64    /* connections that are counted: those with most of them */
#define FLOOD_MIN    (64u << 10) /* bytes: who sent less is not who keeps the poller */
#define DISCARDS_MAX 64          /* times that ... */
#define DISCARD      (1u << 20)  /* ... so many bytes are thrown away */

/* TCP_INFO: what the C library's header knows of it, and what follows (linux/tcp.h). */
struct info {
	struct tcp_info tcp;
	uint64_t pacing_rate, max_pacing_rate, bytes_acked, bytes_received;
};
_Static_assert(offsetof(struct info, pacing_rate) == 104, "the kernel's struct tcp_info");

/* A connection that makes calls in vain. */
struct caller {
	struct in6_addr from;
	uint16_t port;
	unsigned count;
	uint64_t until_ms;
};

struct conn {
	int fd;
	uint64_t cookie;
	struct in6_addr from;
	uint16_t port;
	uint32_t silent_ms;
	uint64_t received; /* bytes, ever */
	bool is_flooding;
	bool is_over; /* the limit of its address, or one of the others */
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
	atomic_bool is_stuck; /* the poller, since this turn: */
	atomic_uint stuck_turns;
	struct conns seen; /* when it was told last; the sweep's */
	unsigned seen_turns;
	pthread_mutex_t mu; /* guards what follows */
	struct caller callers[CALLERS_MAX];
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
	struct info info = { 0 };
	struct conn conn = { .fd = fd };
	socklen_t at_len = sizeof(at), info_len = sizeof(info), cookie_len = sizeof(conn.cookie);

	if (!is_to_face(guard, fd) || getpeername(fd, (struct sockaddr *)&at, &at_len) != 0 ||
	    !split(&at, &conn.from, &conn.port) ||
	    getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &info_len) != 0 ||
	    (info.tcp.tcpi_state != TCP_ESTABLISHED && info.tcp.tcpi_state != TCP_CLOSE_WAIT) ||
	    getsockopt(fd, SOL_SOCKET, SO_COOKIE, &conn.cookie, &cookie_len) != 0)
		return false;
	conn.silent_ms = info.tcp.tcpi_last_data_recv;
	conn.received = info.bytes_received;
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
	for (int i = 0; is_shut && i < DISCARDS_MAX; i++)
		if (recv(guard->slot, NULL, DISCARD, MSG_TRUNC | MSG_DONTWAIT) <= 0)
			break;
	empty_slot(guard);
	return is_shut;
}

/* --- calls in vain --- */

/* The port behind the last colon; the host before it. */
static bool
read_peer(const char *peer, struct in6_addr *ret_from, uint16_t *ret_port)
{
	char host[NODE_ADDRESS_SIZE];
	struct sockaddr_storage at = { 0 };
	const char *port = strrchr(peer, ':');
	bool is_v4 = strncmp(peer, "ipv4:", 5) == 0;

	rpc_message_host(peer, host);
	at.ss_family = is_v4 ? AF_INET : AF_INET6;
	void *to = is_v4 ? (void *)&((struct sockaddr_in *)&at)->sin_addr
			 : (void *)&((struct sockaddr_in6 *)&at)->sin6_addr;
	uint16_t none;
	if (port == NULL || inet_pton(at.ss_family, host, to) != 1 || !split(&at, ret_from, &none))
		return false;
	*ret_port = (uint16_t)atoi(port + 1);
	return true;
}

static bool
is_of(const struct caller *caller, const struct in6_addr *from, uint16_t port)
{
	return caller->port == port && memcmp(&caller->from, from, sizeof(*from)) == 0;
}

/* Its own, or else that of whom we miss least.  Holds mu. */
static struct caller *
find_caller(struct rpc_guard *guard, const struct in6_addr *from, uint16_t port, uint64_t now_ms)
{
	struct caller *least = &guard->callers[0];

	for (struct caller *at = guard->callers; at < guard->callers + CALLERS_MAX; at++) {
		if (at->until_ms <= now_ms)
			*at = (struct caller){ 0 };
		if (is_of(at, from, port))
			return at;
		if (at->count < least->count)
			least = at;
	}
	*least = (struct caller){ .from = *from, .port = port, .until_ms = now_ms + VAIN_MS };
	return least;
}

static bool
is_in_vain(struct rpc_guard *guard, const struct conn *conn)
{
	unsigned count = 0;

	pthread_mutex_lock(&guard->mu);
	for (size_t i = 0; i < CALLERS_MAX; i++)
		if (is_of(&guard->callers[i], &conn->from, conn->port))
			count = guard->callers[i].count;
	pthread_mutex_unlock(&guard->mu);
	return count > VAIN_MAX;
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
choose(struct rpc_guard *guard, struct conns *conns, unsigned all)
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
		    conn->is_flooding || is_in_vain(guard, conn) ||
		    same > (is_loopback(&conn->from) ? (all + 1) / 2 : guard->per_address);
		kept += !conn->is_over;
	}
	qsort(conns->items, conns->count, sizeof(*conns->items), by_silence);
	return kept < all ? kept : all;
}

static uint64_t
received_since(const struct conns *seen, const struct conn *conn)
{
	for (size_t i = 0; i < seen->count; i++)
		if (seen->items[i].cookie == conn->cookie)
			return conn->received - seen->items[i].received;
	return conn->received;
}

static void
find_flood(const struct rpc_guard *guard, struct conns *conns)
{
	struct conn *most = NULL;
	uint64_t received = FLOOD_MIN;

	for (struct conn *conn = conns->items; conn < conns->items + conns->count; conn++) {
		uint64_t bytes = received_since(&guard->seen, conn);
		if (bytes < received)
			continue;
		received = bytes;
		most = conn;
	}
	if (most != NULL)
		most->is_flooding = true;
}

static void
forget_seen(struct rpc_guard *guard)
{
	free(guard->seen.items);
	guard->seen = (struct conns){ 0 };
}

/* If the poller is stuck. */
static void
compare(struct rpc_guard *guard, struct conns *conns)
{
	unsigned turns = atomic_load(&guard->stuck_turns);
	bool is_stuck = atomic_exchange(&guard->is_stuck, false);

	if (is_stuck && guard->seen.items != NULL && guard->seen_turns == turns)
		find_flood(guard, conns);
	forget_seen(guard);
	guard->seen_turns = turns;
	for (size_t i = 0; is_stuck && i < conns->count; i++)
		add(&guard->seen, &conns->items[i]);
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
	forget_seen(guard);
	pthread_mutex_destroy(&guard->mu);
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
	compare(guard, &conns);
	for (size_t i = choose(guard, &conns, all); i < conns.count; i++)
		closed += shut(guard, &conns.items[i]);
	free(conns.items);
	if (closed > 0) {
		log_warn("gRPC: %zu connections were closed: over %u in all, too many from one "
			 "address, or with too many calls in vain",
			 closed, all);
		metrics_add(METRIC_RPC_CLOSED, closed);
	}
	atomic_store(&guard->is_busy, false);
	unref(guard);
}

/* False while one is under way, or if there can be none. */
static bool
may_begin(struct rpc_guard *guard)
{
	return guard->dir != NULL && !atomic_exchange(&guard->is_busy, true);
}

static void
begin(struct rpc_guard *guard)
{
	atomic_fetch_add(&guard->refs, 1);
	pool_submit(guard->pool, POOL_SOON, sweep, NULL, guard);
}

void
rpc_guard_sweep(struct rpc_guard *guard, const struct rpc *rpc)
{
	if (!may_begin(guard))
		return;
	guard->port_count = rpc_ports(rpc, guard->ports, CONFIG_LIST_MAX);
	begin(guard);
}

void
rpc_guard_note_vain(struct rpc_guard *guard, const char *peer)
{
	struct in6_addr from;
	uint16_t port;

	if (!read_peer(peer, &from, &port))
		return;
	pthread_mutex_lock(&guard->mu);
	unsigned count = ++find_caller(guard, &from, port, clock_ms())->count;
	pthread_mutex_unlock(&guard->mu);
	/* Those that come while a sweep is under way ask again. */
	if (count > VAIN_MAX && count % 64 == 1 && may_begin(guard))
		begin(guard);
}

void
rpc_guard_note_stuck(struct rpc_guard *guard, unsigned turns)
{
	atomic_store(&guard->stuck_turns, turns);
	atomic_store(&guard->is_stuck, true);
	if (may_begin(guard))
		begin(guard);
}

struct rpc_guard *
rpc_guard_new(struct pool *pool, const struct config *config)
{
	struct rpc_guard *guard = mem_zero(1, sizeof(*guard));

	guard->refs = 1;
	pthread_mutex_init(&guard->mu, NULL);
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
