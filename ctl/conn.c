/* SPDX-License-Identifier: MIT
 *
 * conn.c - p2pctl's end of the control protocol.
 *
 * One request is under way at a time, and its reply is read whole before anything is shown: the
 * daemon closes the connection of whoever asks and does not read, and a pager must not be able to
 * bring that about.  Events may stand between a request and its reply; they go to whoever asked for
 * them, in order.
 *
 * Signals that shall end a waiting are blocked but for the moment of ppoll(), so none is missed.
 */
#include "conn.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "util.h"

#define IN_MAX     (2 * LINE_MAX_BYTES)
#define REPLY_ROWS 100000 /* of one reply; more is no daemon of ours */

struct conn {
	int fd;
	bool is_traced, catches;
	char *why; /* NULL while all is well */
	char in[IN_MAX];
	size_t len;
	conn_event_fn on_event;
	void *event_arg;
};

static volatile sig_atomic_t was_interrupted;

/* --- records --- */

const char *
record_text(const struct record *record, const char *key)
{
	for (size_t i = 0; i < record->count; i++)
		if (strcmp(record->keys[i], key) == 0)
			return record->values[i];
	return NULL;
}

uint64_t
record_number(const struct record *record, const char *key, uint64_t fallback)
{
	uint64_t number;

	return util_number(record_text(record, key), &number) ? number : fallback;
}

void
record_fini(struct record *record)
{
	free(record->keys);
	free(record->memory);
	*record = (struct record){ 0 };
}

void
reply_fini(struct reply *reply)
{
	for (size_t i = 0; i < reply->count; i++)
		record_fini(&reply->records[i]);
	free(reply->records);
	record_fini(&reply->final);
	*reply = (struct reply){ 0 };
}

void
reply_append(struct reply *to, struct reply *from)
{
	to->records = util_grow(to->records, to->count + from->count, sizeof(*to->records));
	for (size_t i = 0; i < from->count; i++)
		to->records[to->count++] = from->records[i];
	from->count = 0;
	record_fini(&to->final);
	to->final = from->final;
	from->final = (struct record){ 0 };
	reply_fini(from);
}

static char *
put_copy(char **at, const char *text)
{
	char *copy = *at;

	*at = stpcpy(copy, text) + 1;
	return copy;
}

/* Copies what was parsed into as little memory as it needs: there may be many records. */
static void
record_fill(struct record *record, const struct line *line)
{
	const char *word = line->word_count > 0 ? line->words[0] : "";
	size_t bytes = strlen(word) + 1;

	for (size_t i = 0; i < line->pair_count; i++)
		bytes += strlen(line->keys[i]) + strlen(line->values[i]) + 2;
	char *at = record->memory = util_zero(bytes, 1);
	record->word = put_copy(&at, word);
	record->count = line->pair_count;
	record->keys = util_zero(2 * line->pair_count, sizeof(*record->keys));
	record->values = record->keys + line->pair_count;
	for (size_t i = 0; i < line->pair_count; i++) {
		record->keys[i] = put_copy(&at, line->keys[i]);
		record->values[i] = put_copy(&at, line->values[i]);
	}
}

/* --- requests --- */

static void
add_text(struct request *request, const char *before, const char *text)
{
	size_t room = sizeof(request->text) - 1; /* for the LF */
	size_t before_len = strlen(before);

	if (before_len >= room - request->len)
		goto too_long;
	memcpy(request->text + request->len, before, before_len);
	request->len += before_len;
	size_t len = line_quote(text, request->text + request->len, room - request->len);
	if (len == room - request->len)
		goto too_long;
	request->len += len;
	return;
too_long:
	request->is_too_long = true;
}

void
request_init(struct request *request, const char *command)
{
	request->len = 0;
	request->is_too_long = false;
	add_text(request, "", command);
}

void
request_word(struct request *request, const char *word)
{
	add_text(request, " ", word);
}

void
request_pair(struct request *request, const char *key, const char *value)
{
	char before[64];

	snprintf(before, sizeof(before), " %s=", key);
	add_text(request, before, value);
}

void
request_number(struct request *request, const char *key, uint64_t number)
{
	char text[24];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)number);
	request_pair(request, key, text);
}

/* --- the connection --- */

/* `format` has one %s, for `detail`. */
static int
lost(struct conn *conn, const char *format, const char *detail)
{
	free(conn->why);
	conn->why = util_format(format, detail);
	return CONN_LOST;
}

char *
conn_default_socket(void)
{
	static const char system_socket[] = "/run/p2pd/p2pd.sock";
	const char *given = getenv("P2PD_SOCKET"), *runtime = getenv("XDG_RUNTIME_DIR");

	if (given != NULL && given[0] != '\0')
		return util_string(given);
	if (geteuid() == 0 || access(system_socket, F_OK) == 0)
		return util_string(system_socket);
	if (runtime != NULL && runtime[0] == '/')
		return util_format("%s/p2pd/p2pd.sock", runtime);

	/* As the daemon does for a user without XDG_RUNTIME_DIR: in its state directory. */
	const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
	if (state != NULL && state[0] == '/')
		return util_format("%s/p2pd/p2pd.sock", state);
	return util_format("%s/.local/state/p2pd/p2pd.sock", home != NULL ? home : "");
}

static int
connect_to(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	if (strlen(path) >= sizeof(address.sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	strcpy(address.sun_path, path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
		int why = errno;

		close(fd);
		errno = why;
		return -1;
	}
	return fd;
}

static void
on_signal(int signo)
{
	(void)signo;
	was_interrupted = 1;
}

void
conn_catch_signals(struct conn *conn)
{
	struct sigaction action = { .sa_handler = on_signal };
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	conn->catches = true;
}

/* Waits until there is something to read. */
static int
await(struct conn *conn, int timeout_ms)
{
	struct pollfd pollfd = { .fd = conn->fd, .events = POLLIN };
	struct timespec timeout = { .tv_sec = timeout_ms / 1000,
				    .tv_nsec = timeout_ms % 1000 * 1000000L };
	sigset_t set;

	sigprocmask(SIG_SETMASK, NULL, &set);
	if (conn->catches) {
		sigdelset(&set, SIGINT);
		sigdelset(&set, SIGTERM);
	}
	for (;;) {
		int ready = ppoll(&pollfd, 1, timeout_ms < 0 ? NULL : &timeout, &set);

		if (was_interrupted)
			return CONN_INTERRUPTED;
		if (ready == 0)
			return CONN_TIMEOUT;
		if (ready > 0)
			return CONN_OK;
		if (errno != EINTR)
			return lost(conn, "cannot wait for the daemon: %s", strerror(errno));
	}
}

static int
receive(struct conn *conn, int timeout_ms)
{
	int result = await(conn, timeout_ms);

	if (result != CONN_OK)
		return result;
	if (conn->len == IN_MAX)
		return lost(conn, "%s", "the daemon sent a line that is too long");
	ssize_t got = read(conn->fd, conn->in + conn->len, IN_MAX - conn->len);
	if (got == 0)
		return lost(conn, "%s", "the daemon closed the connection");
	if (got < 0 && errno != EINTR)
		return lost(conn, "the connection to the daemon broke: %s", strerror(errno));
	if (got > 0)
		conn->len += (size_t)got;
	return CONN_OK;
}

static int
parse_record(struct conn *conn, const char *text, struct record *ret)
{
	struct record record = { 0 };
	struct line line;
	const char *rest = line_reply(text, &record.code, &record.is_final), *why;

	if (rest == NULL || line_parse(rest, strlen(rest), &line, &why) != 0)
		return lost(conn, "what the daemon sent makes no sense: %.60s", text);
	record_fill(&record, &line);
	*ret = record;
	return CONN_OK;
}

static int
read_record(struct conn *conn, int timeout_ms, struct record *ret)
{
	char *end;

	while ((end = memchr(conn->in, '\n', conn->len)) == NULL) {
		int result = receive(conn, timeout_ms);

		if (result != CONN_OK)
			return result;
	}
	*end = '\0';
	if (conn->is_traced)
		fprintf(stderr, "< %s\n", conn->in);
	int result = parse_record(conn, conn->in, ret);
	size_t used = (size_t)(end - conn->in) + 1;
	conn->len -= used;
	memmove(conn->in, end + 1, conn->len);
	return result;
}

static bool
is_event(const struct record *record)
{
	return record->code >= 600 && record->code < 700;
}

static int
send_request(struct conn *conn, const struct request *request, const int *fds, size_t fd_count)
{
	_Alignas(struct cmsghdr) char rights[CMSG_SPACE(2 * sizeof(int))] = { 0 };
	char text[LINE_MAX_BYTES + 1];
	struct iovec data = { text, request->len + 1 };
	struct msghdr message = { .msg_iov = &data, .msg_iovlen = 1 };

	memcpy(text, request->text, request->len);
	text[request->len] = '\n';
	if (conn->is_traced)
		fprintf(stderr, "> %.*s\n", (int)request->len, text);
	if (fd_count > 0) {
		message.msg_control = rights;
		message.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
		struct cmsghdr *head = CMSG_FIRSTHDR(&message);
		head->cmsg_level = SOL_SOCKET;
		head->cmsg_type = SCM_RIGHTS;
		head->cmsg_len = CMSG_LEN(fd_count * sizeof(int));
		memcpy(CMSG_DATA(head), fds, fd_count * sizeof(int));
	}
	while (data.iov_len > 0) {
		ssize_t sent = sendmsg(conn->fd, &message, MSG_NOSIGNAL);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0)
			return lost(conn, "the connection to the daemon broke: %s",
				    strerror(errno));
		data.iov_base = (char *)data.iov_base + sent;
		data.iov_len -= (size_t)sent;
		message.msg_control = NULL; /* they went with the first byte */
		message.msg_controllen = 0;
	}
	return CONN_OK;
}

/* Reads up to the final line. */
static int
read_reply(struct conn *conn, struct reply *reply)
{
	for (;;) {
		struct record record;
		int result = read_record(conn, -1, &record);

		if (result != CONN_OK)
			return result;
		if (is_event(&record)) {
			if (conn->on_event != NULL)
				conn->on_event(conn->event_arg, &record);
			record_fini(&record);
		} else if (record.is_final) {
			reply->final = record;
			return CONN_OK;
		} else {
			if (reply->count == REPLY_ROWS) {
				record_fini(&record);
				return lost(conn, "%s", "the daemon's reply is too long");
			}
			if ((reply->count & (reply->count - 1)) == 0)
				reply->records = util_grow(reply->records, 2 * reply->count + 1,
							   sizeof(*reply->records));
			reply->records[reply->count++] = record;
		}
	}
}

int
conn_ask(struct conn *conn, const struct request *request, const int *fds, size_t fd_count,
	 struct reply *ret)
{
	struct reply reply = { 0 };

	if (request->is_too_long)
		return lost(conn, "%s", "the request is too long for one line");
	int result = send_request(conn, request, fds, fd_count);
	/* A reason that was sent before the daemon closed is better than ours. */
	if (result == CONN_OK)
		result = read_reply(conn, &reply);
	if (result == CONN_OK)
		*ret = reply;
	else
		reply_fini(&reply);
	return result;
}

int
conn_next_event(struct conn *conn, int timeout_ms, struct record *ret)
{
	for (;;) {
		struct record record;
		int result = read_record(conn, timeout_ms, &record);

		if (result != CONN_OK)
			return result;
		if (is_event(&record)) {
			*ret = record;
			return CONN_OK;
		}
		record_fini(&record);
	}
}

/* Reads the greeting, which may be a refusal. */
static void
greet(struct conn *conn)
{
	struct reply hello = { 0 };

	if (read_reply(conn, &hello) != CONN_OK)
		return;
	const char *version = record_text(&hello.final, "control"),
		   *text = record_text(&hello.final, "text");
	if (hello.final.code != 220)
		lost(conn, "the daemon refuses: %s", text != NULL ? text : "no reason given");
	else if (version == NULL || strcmp(version, "1") != 0)
		lost(conn, "the daemon speaks version %s of the protocol, p2pctl only 1",
		     version != NULL ? version : "?");
	reply_fini(&hello);
}

struct conn *
conn_open(const char *socket, bool is_traced)
{
	struct conn *conn = util_zero(1, sizeof(*conn));

	conn->is_traced = is_traced;
	conn->fd = connect_to(socket);
	if (conn->fd >= 0)
		greet(conn);
	else if (errno == EACCES)
		lost(conn, "cannot connect to %s: you may not; the daemon's [control] group may",
		     socket);
	else if (errno == ENOENT || errno == ECONNREFUSED)
		lost(conn,
		     "cannot connect to %s: is p2pd running?  Try `systemctl start p2pd`, or "
		     "`p2pd` in a "
		     "terminal; -s names another socket",
		     socket);
	else
		lost(conn, "cannot connect to the daemon: %s", strerror(errno));
	return conn;
}

void
conn_close(struct conn *conn)
{
	if (conn == NULL)
		return;
	if (conn->fd >= 0)
		close(conn->fd);
	free(conn->why);
	free(conn);
}

const char *
conn_why(const struct conn *conn)
{
	return conn->why;
}

void
conn_on_event(struct conn *conn, conn_event_fn fn, void *arg)
{
	conn->on_event = fn;
	conn->event_arg = arg;
}
