/* SPDX-License-Identifier: MIT
 *
 * control_conn.c - one connection of the control face: bytes to lines, one command at a time,
 * replies to bytes.
 *
 * Whatever happens to a connection (bytes, room to send, a timer, a completion) does its part and
 * then calls conn_settle(), the one place that runs lines, sends, decides what to wait for next, and
 * frees a connection that is dead. Nothing else frees one, but the end of the face.  Events are put
 * into the queue from anywhere on the mind, even from within a command of this very connection;
 * they only ask for the next chance to send (conn_wake()).
 *
 * Bounds: a line has LINE_MAX_BYTES and, once begun, CONTROL_LINE_TIMEOUT_MS; lines that wait for
 * the command before them fill CONTROL_IN_MAX, then we stop reading; no command begins while more
 * than CONTROL_START_MAX is unsent; and a reply of which the reader takes nothing for
 * CONTROL_STALL_MS ends the connection.
 *
 * Descriptors that came along are held, two at most, for the next command that wants some.
 *
 * A peer that has sent its end (shutdown) still gets the replies to what it asked; a subscription
 * ends with it, and so does what belongs to the connection: fetches into the peer's descriptors.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "control_internal.h"
#include "mem.h"
#include "metrics.h"

#define RIGHTS_MAX 16 /* descriptors taken off one message; the kernel closes further ones */

static void
put_error(struct conn *conn, int code, const char *text)
{
	struct error err;

	error_set(&err, code, "%s", text);
	reply_add_error(&conn->out, &err);
	conn->reply_len = conn->out.len;
	metrics_add(METRIC_CONTROL_REFUSED, 1);
}

/* Says why, and ends once that is sent. */
void
conn_end_with_error(struct conn *conn, int code, const char *text)
{
	put_error(conn, code, text);
	conn->is_closing = true;
	conn->in_len = 0;
}

void
conn_greet(struct conn *conn)
{
	struct service_node *node = mem_zero(1, sizeof(*node));

	if (service_node_quick(conn->control->service, node) == P2P_OK) {
		buf_addf(&conn->out, "220 p2pd control=1 version=%s", PACKAGE_VERSION);
		reply_text(&conn->out, "peer", node->self.id);
		reply_text(&conn->out, "name", node->self.name);
		reply_end(&conn->out);
		conn->reply_len = conn->out.len;
	} else {
		conn_end_with_error(conn, P2P_SHUTTING_DOWN, code_title(P2P_SHUTTING_DOWN));
	}
	conn->is_greeted = true;
	free(node);
}

/* --- bytes in --- */

/* Runs the first line if it is whole and may begin now.  True if something was done. */
static bool
take_line(struct conn *conn)
{
	if (conn->is_dead || conn->is_closing || !conn->is_greeted || conn->command != NULL ||
	    conn->in_len == 0 || conn->out.len > CONTROL_START_MAX)
		return false;

	char *end = memchr(conn->in, '\n', conn->in_len);
	size_t len = end != NULL ? (size_t)(end - conn->in) : conn->in_len;
	if (len >= LINE_MAX_BYTES) {
		conn_end_with_error(conn, P2P_TOO_LARGE, "The line is too long");
		return true;
	}
	if (end == NULL) {
		/* What was begun and never ended was not asked. */
		if (conn->is_eof)
			conn->in_len = 0;
		return false;
	}
	if (clock_ms() >= conn->allowed_until_ms) {
		command_ask_rights(conn);
		return true;
	}
	command_run_line(conn, conn->in, len);
	if (conn->in_len > 0) { /* else the command closed the connection and emptied it */
		conn->in_len -= len + 1;
		memmove(conn->in, conn->in + len + 1, conn->in_len);
	}
	return true;
}

static void
hold_fds(struct conn *conn, struct msghdr *message)
{
	for (struct cmsghdr *at = CMSG_FIRSTHDR(message); at != NULL;
	     at = CMSG_NXTHDR(message, at)) {
		if (at->cmsg_level != SOL_SOCKET || at->cmsg_type != SCM_RIGHTS)
			continue;
		size_t count = (at->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < count; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(at) + i * sizeof(int), sizeof(fd));
			if (conn->fd_count < CONTROL_FDS_MAX) {
				conn->fds[conn->fd_count++] = fd;
			} else {
				close(fd);
				conn->has_extra_fds = true;
			}
		}
	}
	if (message->msg_flags & MSG_CTRUNC)
		conn->has_extra_fds = true;
}

/* The peer sends no more.  If it does not listen either, which is not the same, nobody wants what runs for it. */
static void
note_eof(struct conn *conn)
{
	struct pollfd end = { .fd = conn->fd };

	conn->is_eof = true;
	watcher_free(conn->watcher);
	conn->watcher = NULL;
	if (conn->command != NULL && poll(&end, 1, 0) == 1 && (end.revents & POLLHUP) != 0)
		atomic_store(&conn->command->is_abandoned, true);
}

static void
receive(struct conn *conn)
{
	_Alignas(struct cmsghdr) char rights[CMSG_SPACE(RIGHTS_MAX * sizeof(int))];
	struct iovec room = { conn->in + conn->in_len, CONTROL_IN_MAX - conn->in_len };
	struct msghdr message = { .msg_iov = &room,
				  .msg_iovlen = 1,
				  .msg_control = rights,
				  .msg_controllen = sizeof(rights) };

	if (room.iov_len == 0 || conn->is_eof)
		return;
	ssize_t got = recvmsg(conn->fd, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	if (got < 0) {
		if (errno != EAGAIN && errno != EINTR)
			conn->is_dead = true;
		return;
	}
	hold_fds(conn, &message);
	if (got == 0)
		note_eof(conn);
	if (!conn->is_closing)
		conn->in_len += (size_t)got;
}

/* --- bytes out --- */

/* True if something was sent. */
static bool
flush(struct conn *conn)
{
	if (conn->is_dead || conn->out.len == 0)
		return false;
	ssize_t sent = send(conn->fd, conn->out.data, conn->out.len, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (sent <= 0) {
		if (errno != EAGAIN && errno != EINTR)
			conn->is_dead = true;
		return false;
	}
	buf_drop(&conn->out, (size_t)sent);
	conn->reply_len -= conn->reply_len < (size_t)sent ? conn->reply_len : (size_t)sent;
	loop_timer_stop(conn->stall_timer);
	if (conn->out.len == 0)
		watcher_go(conn);
	return true;
}

/* --- what next --- */

static bool
is_finished(const struct conn *conn)
{
	if (conn->is_dead)
		return true;
	if (conn->command != NULL || conn->out.len > 0)
		return false;
	return conn->is_closing || (conn->is_eof && conn->in_len == 0);
}

static void
keep_timer(struct loop_timer *timer, bool is_needed, uint64_t after_ms)
{
	if (!is_needed)
		loop_timer_stop(timer);
	else if (!loop_timer_active(timer))
		loop_timer_start(timer, after_ms);
}

void
conn_settle(struct conn *conn)
{
	while (take_line(conn) || flush(conn))
		;
	/* A queue past its sum is a bug of ours, and must not become the daemon's memory. */
	if (conn->out.full)
		conn->is_dead = true;
	if (is_finished(conn)) {
		conn_free(conn);
		return;
	}
	/* The clock of a line stands still while the command before it runs. */
	bool is_unfinished = conn->in_len > 0 && conn->command == NULL &&
			     memchr(conn->in, '\n', conn->in_len) == NULL;
	keep_timer(conn->line_timer, is_unfinished && !conn->is_eof, CONTROL_LINE_TIMEOUT_MS);
	keep_timer(conn->stall_timer, conn->reply_len > 0, CONTROL_STALL_MS);
	loop_watch_set(conn->watch,
		       (!conn->is_eof && conn->in_len < CONTROL_IN_MAX ? LOOP_READ : 0) |
			   (conn->out.len > 0 ? LOOP_WRITE : 0));
}

void
conn_wake(struct conn *conn)
{
	loop_watch_set(conn->watch,
		       (!conn->is_eof && conn->in_len < CONTROL_IN_MAX ? LOOP_READ : 0) |
			   LOOP_WRITE);
}

static void
on_ready(void *arg, unsigned events)
{
	struct conn *conn = arg;

	if (events & LOOP_READ)
		receive(conn);
	conn_settle(conn);
}

static void
on_line_timer(void *arg)
{
	struct conn *conn = arg;

	conn_end_with_error(conn, P2P_BAD_REQUEST, "The line was not finished in time");
	conn_settle(conn);
}

static void
on_stall_timer(void *arg)
{
	struct conn *conn = arg;

	log_info("control: closed a connection of user %u that did not read its reply", conn->uid);
	conn->is_dead = true;
	conn_settle(conn);
}

/* --- begin and end --- */

void
conn_new(struct control *control, int fd)
{
	struct ucred peer = { .uid = (uid_t)-1 };
	socklen_t len = sizeof(peer);
	struct conn *conn = mem_zero(1, sizeof(*conn));

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0)
		peer.uid = (uid_t)-1;
	*conn = (struct conn){ .control = control,
			       .next = control->conns,
			       .link = &control->conns,
			       .fd = fd,
			       .uid = peer.uid };
	if (conn->next != NULL)
		conn->next->link = &conn->next;
	control->conns = conn;
	control->conn_count++;

	conn->in = mem_alloc(CONTROL_IN_MAX);
	buf_init(&conn->out, CONTROL_QUEUE_MAX);
	conn->watch = loop_watch_new(control->loop, fd, on_ready, conn);
	conn->line_timer = loop_timer_new(control->loop, on_line_timer, conn);
	conn->stall_timer = loop_timer_new(control->loop, on_stall_timer, conn);

	if (peer.uid == 0 || peer.uid == geteuid()) {
		conn->allowed_until_ms = UINT64_MAX;
		conn_greet(conn);
	} else if (control->has_group && peer.uid != (uid_t)-1) {
		command_ask_rights(conn);
	} else {
		log_info("control: refused user %u", peer.uid);
		conn_end_with_error(conn, P2P_FORBIDDEN,
				    "Only root and the daemon's own user may control it ([control] "
				    "group is not set)");
	}
	conn_settle(conn);
}

void
conn_free(struct conn *conn)
{
	struct control *control = conn->control;

	if (conn->command != NULL) {
		conn->command->conn = NULL;
		atomic_store(&conn->command->is_abandoned, true);
	}
	watcher_free(conn->watcher);
	/* At the end of the face the fetches look after themselves: what they have stays on the
	 * disk. */
	for (size_t i = 0; control->watch != NULL && i < conn->fetch_count; i++)
		command_cancel_fetch(control->service, conn->fetches[i]);
	free(conn->fetches);
	loop_timer_free(conn->line_timer);
	loop_timer_free(conn->stall_timer);
	loop_watch_free(conn->watch);
	while (conn->fd_count > 0)
		close(conn->fds[--conn->fd_count]);
	close(conn->fd);
	buf_fini(&conn->out);
	free(conn->in);
	*conn->link = conn->next;
	if (conn->next != NULL)
		conn->next->link = conn->link;
	control->conn_count--;
	free(conn);
}
