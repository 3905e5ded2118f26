/* SPDX-License-Identifier: MIT
 *
 * control.c - the control face: the line protocol of p2pd-control(7) on a Unix-domain socket.
 *
 * This file begins and ends the face and accepts.  The rest is in
 *   control_socket.c    the socket's file: stale, live, foreign
 *   control_access.c    who is in the group
 *   control_conn.c      a connection: bytes to lines, one command at a time, replies to bytes
 *   control_commands.c  the commands
 *   control_watch.c     events
 *   control_reply.c     how a line of a reply is written
 *
 * Everything lives on the mind but the commands that read a disk: such a command goes to the pool
 * by itself, with its line, its descriptors and an empty reply, and comes back as a completion.  A
 * connection that ends meanwhile leaves an orphan, which frees itself; so does all that is under
 * way when the face stops.  The mind waits for nobody: neither for a reader (queues are bounded,
 * control_internal.h adds them up) nor for a name service.
 *
 * Running out of descriptors stops accepting for a moment; those who connect meanwhile wait in the
 * kernel.
 */
#include "control.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "control_internal.h"
#include "mem.h"

#define ACCEPT_PAUSE_MS 500 /* when descriptors ran out */
#define ACCEPT_AT_ONCE  64  /* in one turn of the loop */

/* One more than CONTROL_CONNECTIONS_MAX: told so, as far as the socket takes it at once, and
 * closed. */
static void
refuse_connection(int fd)
{
	struct error err;
	struct buf line;

	error_set(&err, P2P_TOO_MANY, "There are %d connections already", CONTROL_CONNECTIONS_MAX);
	buf_init(&line, LINE_MAX_BYTES);
	reply_add_error(&line, &err);
	send(fd, line.data, line.len, MSG_NOSIGNAL | MSG_DONTWAIT);
	buf_fini(&line);
	close(fd);
}

static void
on_connect(void *arg, unsigned events)
{
	struct control *control = arg;

	(void)events;
	for (int i = 0; i < ACCEPT_AT_ONCE; i++) {
		int fd = accept4(control->socket.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd < 0 && (errno == EINTR || errno == ECONNABORTED))
			continue;
		if (fd < 0 && errno != EAGAIN) {
			log_warn("control: cannot accept: %s", strerror(errno));
			loop_watch_set(control->watch, 0);
			loop_timer_start(control->accept_timer, ACCEPT_PAUSE_MS);
		}
		if (fd < 0)
			return;
		if (control->conn_count == CONTROL_CONNECTIONS_MAX)
			refuse_connection(fd);
		else
			conn_new(control, fd);
	}
}

static void
on_accept_timer(void *arg)
{
	struct control *control = arg;

	loop_watch_set(control->watch, LOOP_READ);
}

static int
open_socket(struct control *control, const struct config *config, int listen_fd, struct error *err)
{
	if (listen_fd >= 0)
		return control_socket_adopt(listen_fd, &control->socket, err);
	return control_socket_open(config->control_socket,
				   control->has_group ? control->group : (gid_t)-1,
				   &control->socket, err);
}

struct control *
control_new(struct service *service, struct config *config, int listen_fd, struct error *err)
{
	struct control *control = mem_zero(1, sizeof(*control));
	int code = P2P_OK;

	assert(loop_is_mine(service_loop(service)));
	*control = (struct control){
		.service = service,
		.loop = service_loop(service),
		.pool = service_pool(service),
		.has_group = config->control_group != NULL,
		.socket.fd = -1,
	};
	if (control->has_group)
		code = access_group(config->control_group, &control->group, err);
	if (code != P2P_OK && listen_fd >= 0)
		close(listen_fd);
	if (code == P2P_OK)
		code = open_socket(control, config, listen_fd, err);
	if (code != P2P_OK) {
		free(control);
		return NULL;
	}
	control->watch = loop_watch_new(control->loop, control->socket.fd, on_connect, control);
	control->accept_timer = loop_timer_new(control->loop, on_accept_timer, control);
	loop_watch_set(control->watch, LOOP_READ);
	return control;
}

void
control_stop(struct control *control)
{
	if (control == NULL || control->watch == NULL)
		return;
	assert(loop_is_mine(control->loop));
	loop_watch_free(control->watch);
	control->watch = NULL;
	loop_timer_free(control->accept_timer);
	control_socket_close(&control->socket);
	while (control->conns != NULL)
		conn_free(control->conns);

	/* Completions may come when we, and the service, are gone: from now on these look after
	 * themselves. */
	for (struct command *command = control->running; command != NULL; command = command->next)
		command->control = NULL;
	control->running = NULL;
}

void
control_free(struct control *control)
{
	if (control == NULL)
		return;
	control_stop(control);
	free(control);
}
