/* SPDX-License-Identifier: MIT
 *
 * rpc_probe.c - the face is called from outside, as by a client, and started anew if it does not
 * answer.
 *
 * Every PROBE_EVERY_MS a round asks grpc.health.v1 Check of each address that this host still has,
 * over a new connection.
 * If one does not answer within PROBE_DEADLINE_MS the round has failed, and the next one begins
 * at once; when FAILURES_MAX have failed in a row, rpc_restart().  So a fault is over 11 s after
 * its beginning: PROBE_EVERY_MS + FAILURES_MAX * PROBE_DEADLINE_MS.
 *
 * All of it is done on the mind, with plain sockets and a request that is a constant.  The
 * library has a client too, but it would share the server's fate, needs a thread that is not
 * stuck to say that the server is, and costs an idle daemon a megabyte.  An answer is whatever
 * headers come back on the request's stream: they come from the method, so accept, transport,
 * queue and poller are alive.
 *
 * While this process has no descriptors to spare a failure says nothing about the listener, and
 * a new one would be no better; then it is asked again RETRY_MS later.
 *
 * Whenever the timer rings connections that are too many are swept away (rpc_guard.c), before
 * anything else: what holds all descriptors may be just those.
 */
#include "rpc_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "loop.h"
#include "mem.h"

#define PROBE_EVERY_MS    5000
#define PROBE_DEADLINE_MS 3000
#define RETRY_MS          1000
#define FAILURES_MAX      2
#define SPARE_MAX         4 /* descriptors: both ends of an ask, and as many for somebody else */

#define FRAME_HEAD    9 /* bytes */
#define FRAME_HEADERS 1 /* type */
#define STREAM        1

/* RFC 9113, 7541: the least that is a call of Check with an empty message. */
/* clang-format off */
static const char request[] =
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    "\x00\x00\x00\x04\x00\x00\x00\x00\x00"	       /* SETTINGS: none */
    "\x00\x00\x46\x01\x04\x00\x00\x00\x01"	       /* HEADERS, and they end */
    "\x83\x86"					       /* :method POST, :scheme http */
    "\x04\x1c/grpc.health.v1.Health/Check"	       /* :path */
    "\x01\x04p2pd"				       /* :authority */
    "\x0f\x10\x10" "application/grpc"		       /* content-type */
    "\x00\x02te\x08trailers"			       /* te */
    "\x00\x00\x05\x00\x01\x00\x00\x00\x01" "\0\0\0\0\0"; /* DATA, END_STREAM: a message of 0 bytes */
/* clang-format on */

struct ask {
	struct rpc_probe *probe;
	int fd;
	struct loop_watch *watch; /* NULL: it is not under way */
	bool is_sent;
	uint8_t head[FRAME_HEAD]; /* of the frame that is being read */
	size_t head_len, body_left;
};

struct rpc_probe {
	struct rpc *rpc;
	struct loop_timer *timer; /* to the next round, or to the deadline of this one */
	size_t left;              /* asks of this round that are under way */
	bool has_failed;
	unsigned failures; /* rounds in a row */
	struct ask asks[CONFIG_LIST_MAX];
};

/* --- one ask --- */

static void
hang_up(struct ask *ask)
{
	if (ask->watch == NULL)
		return;
	loop_watch_free(ask->watch);
	ask->watch = NULL;
	close(ask->fd);
}

/* Reads frames over; true if one of them is the answer. */
static bool
is_answer(struct ask *ask, const uint8_t *data, size_t len)
{
	for (size_t at = 0; at < len;) {
		if (ask->body_left > 0) {
			size_t part = len - at < ask->body_left ? len - at : ask->body_left;
			ask->body_left -= part;
			at += part;
			continue;
		}
		ask->head[ask->head_len++] = data[at++];
		if (ask->head_len < FRAME_HEAD)
			continue;
		if (ask->head[3] == FRAME_HEADERS && ask->head[8] == STREAM)
			return true;
		ask->body_left =
		    (size_t)ask->head[0] << 16 | (size_t)ask->head[1] << 8 | ask->head[2];
		ask->head_len = 0;
	}
	return false;
}

static void settle(struct ask *ask, bool is_good);

static void
on_event(void *arg, unsigned events)
{
	struct ask *ask = arg;
	uint8_t data[1024];

	(void)events;
	if (!ask->is_sent) {
		ask->is_sent = true;
		loop_watch_set(ask->watch, LOOP_READ);
		if (send(ask->fd, request, sizeof(request) - 1, MSG_NOSIGNAL) !=
		    sizeof(request) - 1)
			settle(ask, false);
		return;
	}
	ssize_t len = recv(ask->fd, data, sizeof(data), 0);
	if (len > 0 && is_answer(ask, data, (size_t)len))
		settle(ask, true);
	else if (len == 0 || (len < 0 && errno != EAGAIN && errno != EINTR))
		settle(ask, false);
}

/* To a wildcard address is to this host. */
static bool
start(struct ask *ask, struct rpc_probe *probe, const struct rpc_address *address)
{
	int fd = socket(address->at.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return false;
	*ask = (struct ask){ .probe = probe, .fd = fd };
	if (connect(fd, (const struct sockaddr *)&address->at, address->at_len) == 0 ||
	    errno == EINPROGRESS)
		ask->watch = loop_watch_new(probe->rpc->loop, fd, on_event, ask);
	if (ask->watch == NULL)
		close(fd);
	else
		loop_watch_set(ask->watch, LOOP_WRITE);
	return ask->watch != NULL;
}

/* --- rounds --- */

static void judge(struct rpc_probe *probe);

static void
settle(struct ask *ask, bool is_good)
{
	struct rpc_probe *probe = ask->probe;

	hang_up(ask);
	probe->has_failed |= !is_good;
	if (--probe->left == 0)
		judge(probe);
}

static void
begin_round(struct rpc_probe *probe)
{
	struct rpc *rpc = probe->rpc;

	probe->has_failed = false;
	probe->left = 0;
	for (size_t i = 0; i < rpc->address_count; i++) {
		if (!rpc_address_is_here(&rpc->addresses[i]))
			continue;
		if (start(&probe->asks[i], probe, &rpc->addresses[i]))
			probe->left++;
		else
			probe->has_failed = true;
	}
	if (probe->left > 0)
		loop_timer_start(probe->timer, PROBE_DEADLINE_MS);
	else
		judge(probe);
}

static void
drop_round(struct rpc_probe *probe)
{
	for (size_t i = 0; i < probe->rpc->address_count; i++)
		hang_up(&probe->asks[i]);
	probe->left = 0;
}

static bool
has_descriptors(void)
{
	int spare[SPARE_MAX], count = 0;

	while (count < SPARE_MAX &&
	       (spare[count] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) >= 0)
		count++;
	for (int i = 0; i < count; i++)
		close(spare[i]);
	return count == SPARE_MAX;
}

static void
restart(struct rpc_probe *probe)
{
	probe->failures = 0;
	rpc_restart(probe->rpc);
	loop_timer_start(probe->timer, probe->rpc->server != NULL ? PROBE_EVERY_MS : RETRY_MS);
}

/* The round is over. */
static void
judge(struct rpc_probe *probe)
{
	if (probe->has_failed && !has_descriptors()) {
		loop_timer_start(probe->timer, RETRY_MS);
		return;
	}
	probe->failures = probe->has_failed ? probe->failures + 1 : 0;
	if (probe->failures == FAILURES_MAX)
		restart(probe);
	else if (probe->has_failed)
		begin_round(probe);
	else
		loop_timer_start(probe->timer, PROBE_EVERY_MS);
}

static void
on_timer(void *arg)
{
	struct rpc_probe *probe = arg;

	rpc_guard_sweep(probe->rpc->guard, probe->rpc);
	if (probe->left > 0) {
		drop_round(probe);
		probe->has_failed = true;
		judge(probe);
	} else if (probe->rpc->server == NULL) {
		restart(probe);
	} else if (has_descriptors()) {
		begin_round(probe);
	} else {
		loop_timer_start(probe->timer, RETRY_MS);
	}
}

struct rpc_probe *
rpc_probe_new(struct rpc *rpc)
{
	struct rpc_probe *probe = mem_zero(1, sizeof(*probe));

	probe->rpc = rpc;
	probe->timer = loop_timer_new(rpc->loop, on_timer, probe);
	loop_timer_start(probe->timer, rpc->server != NULL ? PROBE_EVERY_MS : RETRY_MS);
	return probe;
}

void
rpc_probe_free(struct rpc_probe *probe)
{
	if (probe == NULL)
		return;
	drop_round(probe);
	loop_timer_free(probe->timer);
	free(probe);
}
