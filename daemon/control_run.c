/* SPDX-License-Identifier: MIT
 *
 * control_run.c - one command of a connection: from its line to its reply, or to the look at the
 * peer's rights that comes before it.
 *
 * A line is parsed and held against the table of commands.  What the row says of its place decides
 * who runs it: the mind at once, a worker of the pool, or the mind later, when somebody calls
 * command_end().  While one is under way its connection takes no other line.  All that are under way
 * hang in control->running, so that the end of the face finds them.
 *
 * A connection may end before its command: then the command is an orphan.  It runs to its end, its
 * reply goes nowhere, and a fetch that it began into the peer's descriptors is cancelled.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "control_internal.h"
#include "log.h"
#include "mem.h"
#include "metrics.h"

static void
command_free(struct command *command)
{
	for (size_t i = 0; i < CONTROL_FDS_MAX; i++)
		if (command->fds[i] >= 0)
			close(command->fds[i]);
	buf_fini(&command->reply);
	free(command);
}

static struct command *
command_new(struct conn *conn)
{
	struct command *command = mem_zero(1, sizeof(*command));

	command->control = conn->control;
	command->conn = conn;
	command->service = conn->control->service;
	for (size_t i = 0; i < CONTROL_FDS_MAX; i++)
		command->fds[i] = -1;
	buf_init(&command->reply, CONTROL_REPLY_MAX);
	return command;
}

static void
check_reply(struct command *command)
{
	if (command->reply.full || command->code == 0) {
		buf_reset(&command->reply);
		reply_errorf(command, P2P_INTERNAL, "The answer is too large");
	}
}

/* Any thread but the mind, or the mind. */
static void
command_run(void *arg)
{
	struct command *command = arg;

	command->row->run(command);
	check_reply(command);
}

static void
check_rights(void *arg)
{
	struct command *command = arg;

	command->is_allowed = access_is_member(command->uid, command->gid);
}

static void
count_reply(int code)
{
	if (code >= 500)
		metrics_add(METRIC_CONTROL_FAILED, 1);
	else if (code >= 400)
		metrics_add(METRIC_CONTROL_REFUSED, 1);
}

/* A fetch into the peer's descriptors lives no longer than its connection. */
static void
own_fetch(struct conn *conn, uint64_t fetch)
{
	if (conn->fetch_count == conn->fetch_cap) {
		size_t kept = 0;

		/* Only so many can be under way at once; those that ended need no ending. */
		for (size_t i = 0; i < conn->fetch_count; i++) {
			struct fetch_info info;

			if (service_fetch_get(conn->control->service, conn->fetches[i], &info,
					      NULL) != P2P_OK)
				continue;
			if (info.state < FETCH_DONE)
				conn->fetches[kept++] = conn->fetches[i];
			fetch_info_fini(&info);
		}
		conn->fetch_count = kept;
		if (2 * kept >= conn->fetch_cap) {
			conn->fetch_cap = conn->fetch_cap == 0 ? 16 : 2 * conn->fetch_cap;
			conn->fetches =
			    mem_grow(conn->fetches, conn->fetch_cap, sizeof(*conn->fetches));
		}
	}
	conn->fetches[conn->fetch_count++] = fetch;
}

void
command_cancel_fetch(struct service *service, uint64_t fetch)
{
	struct fetch_info info;

	if (service_fetch_get(service, fetch, &info, NULL) != P2P_OK)
		return;
	if (info.state < FETCH_DONE)
		service_cancel(service, SERVICE_OWNER, fetch, NULL);
	fetch_info_fini(&info);
}

/* The reply is whole: into the queue with it. */
static void
command_finish(struct conn *conn, struct command *command)
{
	count_reply(command->code);
	buf_add(&conn->out, command->reply.data, command->reply.len);
	conn->reply_len = conn->out.len;
	if (command->fetch != 0)
		own_fetch(conn, command->fetch);
	command_free(command);
	watcher_go(conn);
}

static void
rights_finish(struct conn *conn, struct command *command)
{
	bool is_allowed = command->is_allowed;

	command_free(command);
	if (!is_allowed) {
		log_info("control: refused user %u, who is not in the group of [control] group",
			 conn->uid);
		conn_end_with_error(
		    conn, P2P_FORBIDDEN,
		    "Only root, the daemon's own user and members of [control] group "
		    "may control it");
		return;
	}
	conn->allowed_until_ms = clock_ms() + CONTROL_ACCESS_MS;
	if (!conn->is_greeted)
		conn_greet(conn);
}

static void
on_done(void *arg)
{
	struct command *command = arg;
	struct conn *conn = command->conn;

	if (command->control != NULL) {
		*command->link = command->next;
		if (command->next != NULL)
			command->next->link = command->link;
	}
	if (conn == NULL) {
		if (command->control != NULL && command->fetch != 0)
			command_cancel_fetch(command->service, command->fetch);
		command_free(command);
		return;
	}
	conn->command = NULL;
	if (command->row == NULL)
		rights_finish(conn, command);
	else
		command_finish(conn, command);
	conn_settle(conn);
}

void
command_end(struct command *command)
{
	check_reply(command);
	on_done(command);
}

/* It is under way, and ends by on_done(). */
static void
command_launch(struct conn *conn, struct command *command)
{
	struct control *control = conn->control;

	conn->command = command;
	command->next = control->running;
	command->link = &control->running;
	if (command->next != NULL)
		command->next->link = &command->next;
	control->running = command;
	if (command->row != NULL && command->row->place == COMMAND_LATER)
		command->row->run(command);
	else
		pool_submit(control->pool, POOL_SOON,
			    command->row != NULL ? command_run : check_rights, on_done, command);
}

void
command_ask_rights(struct conn *conn)
{
	struct command *command = command_new(conn);

	command->uid = conn->uid;
	command->gid = conn->control->group;
	command_launch(conn, command);
}

static bool
is_known_key(const struct command_row *row, const char *key)
{
	size_t len = strlen(key);

	/* A key stands in the syntax behind a bracket or a blank, with its `=`. */
	for (const char *at = row->syntax; (at = strstr(at, key)) != NULL; at += len)
		if (at > row->syntax && (at[-1] == '[' || at[-1] == ' ') && at[len] == '=')
			return true;
	return false;
}

/* Finds the row of the line, or writes the error. */
static bool
find_row(struct command *command)
{
	struct line *line = &command->line;

	if (line->word_count == 0) {
		reply_errorf(command, P2P_BAD_REQUEST, "A line begins with a command; try help");
		return false;
	}
	const struct command_row *row = command_find(line->words[0]);
	if (row == NULL) {
		reply_errorf(command, P2P_BAD_REQUEST, "There is no command \"%.40s\"; try help",
			     line->words[0]);
		return false;
	}
	if (line->word_count - 1 < row->min_words || line->word_count - 1 > row->max_words) {
		reply_errorf(command, P2P_BAD_REQUEST, "Too %s words; the syntax is: %s",
			     line->word_count - 1 < row->min_words ? "few" : "many", row->syntax);
		return false;
	}
	for (size_t i = 0; i < line->pair_count; i++)
		if (!is_known_key(row, line->keys[i])) {
			reply_errorf(command, P2P_BAD_REQUEST,
				     "%s takes no %.40s=; the syntax is: %s", row->name,
				     line->keys[i], row->syntax);
			return false;
		}
	command->row = row;
	return true;
}

/* Descriptors wait for a command that wants some: put, and fetch to=fd. */
static void
hand_over_fds(struct conn *conn, struct command *command)
{
	if (strcmp(command->row->name, "put") != 0 && line_value(&command->line, "to") == NULL)
		return;
	for (size_t i = 0; i < conn->fd_count; i++)
		command->fds[i] = conn->fds[i];
	command->has_extra_fds = conn->has_extra_fds;
	conn->fd_count = 0;
	conn->has_extra_fds = false;
}

void
command_run_line(struct conn *conn, const char *text, size_t len)
{
	struct command *command = command_new(conn);
	const char *why;

	metrics_add(METRIC_CONTROL_REQUESTS, 1);
	if (line_parse(text, len, &command->line, &why) != 0) {
		reply_errorf(command, P2P_BAD_REQUEST, "%s", why);
	} else if (find_row(command)) {
		hand_over_fds(conn, command);
		if (command->row->place != COMMAND_MIND) {
			command_launch(conn, command);
			return;
		}
		command_run(command);
	}
	command_finish(conn, command);
}
