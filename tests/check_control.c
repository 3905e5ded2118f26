/* SPDX-License-Identifier: MIT
 *
 * check_control.c - the control face over a real daemon, on its socket.
 *
 * The daemon runs on a thread of its own within the test; the test is an ordinary client of the
 * socket that waits for lines with a bound.  Numbers of cases are those of the catalogue of bad
 * inputs: 20 to 25.
 */
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <grp.h>
#include <poll.h>
#include <pthread.h>
#include <pwd.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "control_internal.h"
#include "daemon.h"

#define WAIT_MS 8000

/* --- a daemon --- */

struct node {
	char dir[128], config[160], socket[160];
	struct daemon *daemon;
	pthread_t thread;
	sem_t ready;
};

static int
remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	(void)st, (void)kind, (void)ftw;
	return remove(path);
}

static void *
run_node(void *arg)
{
	struct node *node = arg;
	struct error err = { 0 };
	struct config *config = config_load(node->config, &err);

	ck_assert_msg(config != NULL, "%s", err.text);
	node->daemon = daemon_new(node->config, config, &err);
	ck_assert_msg(node->daemon != NULL, "%s", err.text);
	sem_post(&node->ready);
	daemon_run(node->daemon);
	daemon_free(node->daemon);
	config_unref(config);
	return NULL;
}

static struct node *
node_start(const char *more)
{
	const char *tmp = getenv("TMPDIR");
	struct node *node = calloc(1, sizeof(*node));

	snprintf(node->dir, sizeof(node->dir), "%s/control-XXXXXX", tmp != NULL ? tmp : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(node->dir));
	ck_assert_int_eq(chmod(node->dir, 0755), 0);
	snprintf(node->config, sizeof(node->config), "%s/p2pd.conf", node->dir);
	snprintf(node->socket, sizeof(node->socket), "%s/run/p2pd.sock", node->dir);
	FILE *file = fopen(node->config, "w");
	fprintf(
	    file,
	    "[node]\nname = test\nstate = %s/state\nlog = error\n[share]\ndirectory = %s/share\n"
	    "[rest]\nlisten = 127.0.0.1:0\n[grpc]\nlisten =\n[control]\nsocket = %s\n%s",
	    node->dir, node->dir, node->socket, more);
	fclose(file);
	signal(SIGPIPE, SIG_IGN);
	sem_init(&node->ready, 0, 0);
	ck_assert_int_eq(pthread_create(&node->thread, NULL, run_node, node), 0);
	sem_wait(&node->ready);
	return node;
}

static void
stop_daemon(void *arg)
{
	daemon_stop(arg);
}

static void
node_stop(struct node *node)
{
	loop_post(daemon_loop(node->daemon), stop_daemon, node->daemon);
	pthread_join(node->thread, NULL);
	ck_assert_int_ne(access(node->socket, F_OK), 0);
	nftw(node->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	sem_destroy(&node->ready);
	free(node);
}

/* --- a client --- */

struct client {
	int fd;
	char in[1 << 20];
	size_t len;
	char line[LINE_MAX_BYTES + 1];
};

static int
connect_to(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(address.sun_path, path);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	close(fd);
	return -1;
}

/* Waits for bytes; false at the end of the connection. */
static bool
receive(struct client *client, int wait_ms)
{
	struct pollfd pollfd = { .fd = client->fd, .events = POLLIN };

	ck_assert_msg(poll(&pollfd, 1, wait_ms) == 1, "nothing came within %d ms, after: %s",
		      wait_ms, client->line);
	ssize_t got = read(client->fd, client->in + client->len, sizeof(client->in) - client->len);
	if (got <= 0)
		return false;
	client->len += (size_t)got;
	return true;
}

/* The next line without its LF; NULL at the end. */
static const char *
next_line(struct client *client)
{
	char *end;

	while ((end = memchr(client->in, '\n', client->len)) == NULL)
		if (!receive(client, WAIT_MS))
			return NULL;
	size_t len = (size_t)(end - client->in);
	ck_assert_uint_lt(len, LINE_MAX_BYTES);
	memcpy(client->line, client->in, len);
	client->line[len] = '\0';
	client->len -= len + 1;
	memmove(client->in, end + 1, client->len);
	return client->line;
}

/* The final line of the next reply; how many lines stood before it into *ret_count. */
static const char *
final_line(struct client *client, size_t *ret_count)
{
	size_t count = 0;

	for (;; count++) {
		const char *line = next_line(client);

		ck_assert_msg(line != NULL, "the connection ended");
		if (line[3] == ' ') {
			if (ret_count != NULL)
				*ret_count = count;
			return line;
		}
	}
}

static struct client *
client_new(struct node *node)
{
	struct client *client = calloc(1, sizeof(*client));

	client->fd = connect_to(node->socket);
	ck_assert_int_ge(client->fd, 0);
	ck_assert_int_eq(strncmp(next_line(client), "220 p2pd control=1 ", 19), 0);
	return client;
}

static void
client_free(struct client *client)
{
	close(client->fd);
	free(client);
}

static void
say(struct client *client, const char *text)
{
	ck_assert_int_eq(write(client->fd, text, strlen(text)), (ssize_t)strlen(text));
}

static void
say_with(struct client *client, const char *text, const int *fds, size_t count)
{
	_Alignas(struct cmsghdr) char rights[CMSG_SPACE(8 * sizeof(int))] = { 0 };
	struct iovec data = { (char *)text, strlen(text) };
	struct msghdr message = { .msg_iov = &data,
				  .msg_iovlen = 1,
				  .msg_control = rights,
				  .msg_controllen = CMSG_SPACE(count * sizeof(int)) };
	struct cmsghdr *head = CMSG_FIRSTHDR(&message);

	head->cmsg_level = SOL_SOCKET;
	head->cmsg_type = SCM_RIGHTS;
	head->cmsg_len = CMSG_LEN(count * sizeof(int));
	memcpy(CMSG_DATA(head), fds, count * sizeof(int));
	ck_assert_int_eq(sendmsg(client->fd, &message, 0), (ssize_t)strlen(text));
}

static void
expect(struct client *client, const char *start)
{
	const char *line = final_line(client, NULL);

	ck_assert_msg(strncmp(line, start, strlen(start)) == 0, "wanted \"%s...\", got \"%s\"",
		      start, line);
}

static void
ask(struct client *client, const char *request, const char *start)
{
	say(client, request);
	say(client, "\n");
	expect(client, start);
}

static int
file_with(const char *text)
{
	int fd = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	return fd;
}

static void
put(struct client *client, const char *name, const char *text)
{
	int fd = file_with(text);
	char line[LINE_MAX_BYTES];

	snprintf(line, sizeof(line), "put \"%s\"\n", name);
	say_with(client, line, &fd, 1);
	close(fd);
	expect(client, "200 name=");
}

/* --- lines --- */

START_TEST(test_every_command_of_the_table_is_helped)
{
	struct node *node = node_start("");
	struct client *client = client_new(node);
	size_t count = 0, rows = 0;

	while (command_at(rows) != NULL)
		rows++;
	say(client, "help\n");
	const char *line = final_line(client, &count);
	ck_assert_int_eq(strncmp(line, "200 count=", 10), 0);
	ck_assert_uint_eq(count, rows);
	ask(client, "help search", "200 count=1");
	ask(client, "help nothing", "404 slug=not-found text=");
	ask(client, "status", "200 ok");
	ask(client, "peers", "200 count=0");
	ask(client, "fetches", "200 count=0");
	ask(client, "quit", "221 bye");
	ck_assert_ptr_null(next_line(client));
	client_free(client);
	node_stop(node);
}
END_TEST

/* 22 */
START_TEST(test_many_commands_in_one_write_and_one_in_many_get_the_same_answers)
{
	struct node *node = node_start("");
	struct client *client = client_new(node);
	char all[4096] = "", first[LINE_MAX_BYTES];

	ask(client, "search x", "200 count=0");
	strcpy(first, client->line);
	for (int i = 0; i < 100; i++)
		strcat(all, i % 2 == 0 ? "search x\n" : "peers\n");
	say(client, all);
	for (int i = 0; i < 100; i++)
		ck_assert_str_eq(final_line(client, NULL), i % 2 == 0 ? first : "200 count=0");
	for (const char *at = "search     x               \n"; *at != '\0'; at++)
		ck_assert_int_eq(write(client->fd, at, 1), 1);
	ck_assert_str_eq(final_line(client, NULL), first);
	client_free(client);
	node_stop(node);
}
END_TEST

/* 21 */
START_TEST(test_a_bad_line_is_refused_and_the_next_one_works)
{
	static const struct {
		const char *text;
		size_t len;
	} bad[] = {
		{ "stat\0us\n", 8 },
		{ "status\r\n", 8 },
		{ "status \x1b[0m\n", 12 },
		{ "ls \xff\xfe\n", 6 },
		{ "ls \"open\n", 9 },
		{ "ls \"\\q\"\n", 8 },
		{ "\n", 1 },
		{ "fly\n", 4 },
		{ "search\n", 7 },
		{ "search a b\n", 11 },
		{ "search a speed=1\n", 17 },
		{ "search a limit=0\n", 17 },
		{ "search a limit=-1\n", 18 },
		{ "search a match=some\n", 20 },
		{ "search a limit=99999999999999999999\n", 36 },
		{ "cancel x\n", 9 },
		{ "watch fetch=0\n", 14 },
		{ "fetch a root=12 size=3\n", 23 },
		{ "fetch a size=3\n", 15 },
		{ "watch after=x\n", 14 },
	};
	struct node *node = node_start("");
	struct client *client = client_new(node);

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		ck_assert_int_eq(write(client->fd, bad[i].text, bad[i].len), (ssize_t)bad[i].len);
		expect(client, "400 slug=bad-request text=");
		ask(client, "peers", "200 count=0");
	}
	ask(client, "cancel 77", "404 slug=not-found");
	ask(client, "fetch nothing-like-this", "404 slug=not-found");
	client_free(client);
	node_stop(node);
}
END_TEST

/* 20 */
START_TEST(test_a_line_that_is_too_long_ends_the_connection)
{
	struct node *node = node_start("");
	struct client *client = client_new(node);
	char text[LINE_MAX_BYTES];

	memset(text, 'a', sizeof(text));
	ck_assert_int_eq(write(client->fd, text, sizeof(text)), (ssize_t)sizeof(text));
	expect(client, "413 slug=too-large");
	ck_assert_ptr_null(next_line(client));
	client_free(client);
	node_stop(node);
}
END_TEST

/* 20, 23 */
START_TEST(test_who_does_not_finish_a_line_or_does_not_read_is_closed_in_ten_seconds)
{
	struct node *node = node_start("");
	struct client *slow = client_new(node), *deaf = client_new(node);
	uint64_t began = clock_ms();

	say(slow, "statu");
	/* Each reply of `help` has some 2 KiB: several MiB that nobody reads. */
	for (int i = 0; i < 4000; i++)
		if (send(deaf->fd, "help\n", 5, MSG_DONTWAIT) < 0)
			break;
	struct pollfd pollfd = { .fd = slow->fd, .events = POLLIN };
	ck_assert_int_eq(poll(&pollfd, 1, 13000), 1);
	ck_assert_uint_ge(clock_ms() - began, 9000);
	expect(slow, "400 slug=bad-request text=\"The line was not finished");
	ck_assert_ptr_null(next_line(slow));
	/* The hang-up shows without our reading. */
	pollfd = (struct pollfd){ .fd = deaf->fd, .events = 0 };
	ck_assert_int_eq(poll(&pollfd, 1, 5000), 1);
	ck_assert_int_ne(pollfd.revents & POLLHUP, 0);
	client_free(slow);
	client_free(deaf);
	node_stop(node);
}
END_TEST

START_TEST(test_replies_come_though_the_client_has_sent_its_end)
{
	struct node *node = node_start("");
	struct client *client = client_new(node);

	say(client, "peers\nsearch x\npeers\n");
	shutdown(client->fd, SHUT_WR);
	for (int i = 0; i < 3; i++)
		expect(client, "200 count=0");
	ck_assert_ptr_null(next_line(client));
	client_free(client);
	node_stop(node);
}
END_TEST

/* --- files --- */

START_TEST(test_put_takes_one_readable_regular_file)
{
	struct node *node = node_start("");
	struct client *client = client_new(node);
	int fds[4] = { file_with("one"), file_with("two"), file_with("three"), file_with("four") },
	    ends[2];

	ask(client, "put a",
	    "400 slug=bad-request text=\"put wants one descriptor (SCM_RIGHTS) with its line, not "
	    "0\"");
	say_with(client, "put a\n", fds, 2);
	expect(client, "400 slug=bad-request");
	say_with(client, "put a\n", fds, 4);
	expect(client, "400 slug=bad-request");
	ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
	say_with(client, "put a\n", ends, 1);
	expect(client, "400 slug=bad-request text=\"Descriptor 1 is no regular file\"");
	char path[64];
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fds[0]);
	int write_only = open(path, O_WRONLY | O_CLOEXEC);
	say_with(client, "put a\n", &write_only, 1);
	expect(client, "403 slug=forbidden text=\"Descriptor 1 is not open for reading\"");
	say_with(client, "put ../a\n", fds, 1);
	expect(client, "400 slug=bad-name");
	/* Descriptors wait for a command that wants them. */
	say_with(client, "peers\nput \"b c\" mode=640 mtime=1000000000000000000\n", fds, 1);
	expect(client, "200 count=0");
	expect(client, "200 name=\"b c\" root=");
	ask(client, "search \"b c\" match=exact", "200 count=1");
	ask(client, "rm \"b c\"", "200 name=\"b c\"");
	ask(client, "rm \"b c\"", "404 slug=not-found");
	for (size_t i = 0; i < 4; i++)
		close(fds[i]);
	close(write_only);
	close(ends[0]);
	close(ends[1]);
	client_free(client);
	node_stop(node);
}
END_TEST

START_TEST(test_a_search_goes_on_at_its_cursor)
{
	struct node *node = node_start("");
	struct client *client = client_new(node);
	size_t count;

	put(client, "d/one", "1");
	put(client, "d/two", "22");
	put(client, "three", "333");
	say(client, "search \"\" limit=2\n");
	const char *cursor = strstr(final_line(client, &count), " cursor=");
	ck_assert_ptr_nonnull(cursor);
	ck_assert_uint_eq(count, 2);
	char next[LINE_MAX_BYTES];
	snprintf(next, sizeof(next), "search \"\" limit=2%s", cursor);
	ask(client, next, "200 count=1");
	ck_assert_ptr_null(strstr(client->line, "cursor"));
	ask(client, "ls d", "200 count=2");
	ask(client, "ls", "200 count=2");
	ask(client, "ls recursive=yes", "200 count=3");
	ask(client, "ls d/one", "200 count=1");
	ask(client, "ls recursive=yes three", "200 count=1");
	ask(client, "ls nothing", "404 slug=not-found");
	ask(client, "search d match=level", "200 count=2");
	ask(client, "search O match=substring scope=local", "200 count=2");
	ask(client, "search \"*e\" match=glob", "200 count=2");
	ask(client, "ls unshareable=yes", "200 count=0");
	ask(client, "search x cursor=rubbish", "400 slug=bad-request");
	ask(client, "fetch three", "200 fetch=0 files=0 present=1");
	client_free(client);
	node_stop(node);
}
END_TEST

START_TEST(test_fetch_to_descriptors_wants_two_that_can_be_written)
{
	struct node *node = node_start("");
	struct client *client = client_new(node);
	int fds[2] = { file_with(""), open("/dev/null", O_RDWR | O_CLOEXEC) };

	put(client, "three", "333");
	ask(client, "fetch three to=fd", "400 slug=bad-request text=\"fetch wants two descriptors");
	ask(client, "fetch three to=moon", "400 slug=bad-request");
	say_with(client, "fetch three to=fd\n", fds, 2);
	expect(client, "400 slug=bad-request text=\"Descriptor 2 is no regular file\"");
	close(fds[1]);
	fds[1] = open(node->config, O_RDONLY | O_CLOEXEC);
	say_with(client, "fetch three to=fd\n", fds, 2);
	expect(client, "403 slug=forbidden");
	close(fds[1]);
	fds[1] = file_with("");
	say_with(client, "fetch nothing to=fd\n", fds, 2);
	expect(client, "404 slug=not-found");
	close(fds[0]);
	close(fds[1]);
	client_free(client);
	node_stop(node);
}
END_TEST

/* --- events --- */

static void
wait_for_event(struct client *client, const char *start, char *ret_id)
{
	const char *line;

	do
		line = final_line(client, NULL);
	while (strncmp(line, start, strlen(start)) != 0);
	ck_assert_int_eq(sscanf(strstr(line, " id="), " id=%63s", ret_id), 1);
}

START_TEST(test_a_watcher_goes_on_where_it_was)
{
	struct node *node = node_start("");
	struct client *watcher = client_new(node), *client = client_new(node);
	char id[64], same[64], line[256];

	ask(watcher, "watch", "200 after=");
	put(client, "one", "1");
	wait_for_event(watcher, "610 file-added ", id);
	ask(watcher, "peers", "200 count=0"); /* further commands are taken */
	close(watcher->fd);
	put(client, "two", "2");
	free(watcher);
	watcher = client_new(node);
	snprintf(line, sizeof(line), "watch after=%s", id);
	ask(watcher, line, "200 after=");
	wait_for_event(watcher, "610 file-added ", same);
	ck_assert_ptr_nonnull(strstr(watcher->line, " name=two "));
	ck_assert_str_ne(id, same);
	/* What nobody kept is told as a gap; its id goes on without it. */
	ask(watcher, "watch after=12345-1", "200 after=");
	wait_for_event(watcher, "690 events-lost ", id);
	ck_assert_ptr_nonnull(strstr(watcher->line, " text="));
	wait_for_event(watcher, "610 file-added ", same);
	wait_for_event(watcher, "610 file-added ", same);
	snprintf(line, sizeof(line), "watch after=%s", id);
	ask(watcher, line, "200 after=");
	ck_assert_int_eq(strncmp(final_line(watcher, NULL), "610 file-added ", 15), 0);
	ck_assert_ptr_nonnull(strstr(watcher->line, " mtime_ns="));
	wait_for_event(watcher, "610 file-added ", same);
	/* Only what is asked for. */
	ask(watcher, "watch kind=file-removed,peer match=t*", "200 after=");
	put(client, "three", "3");
	ask(client, "rm three", "200");
	wait_for_event(watcher, "612 file-removed ", same);
	ask(watcher, "watch kind=nothing", "400 slug=bad-request");
	client_free(watcher);
	client_free(client);
	node_stop(node);
}
END_TEST

/* A watcher that does not read costs the daemon a bounded queue, and gets all that is kept when it
 * reads again. */
START_TEST(test_a_slow_watcher_gets_its_events_later)
{
	struct node *node = node_start("");
	struct client *watcher = client_new(node), *client = client_new(node);
	char name[900], id[64];
	int small = 4096;

	setsockopt(watcher->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	ask(watcher, "watch", "200 after=");
	for (int i = 0; i < 600; i++) {
		int len = snprintf(name, sizeof(name), "%03d-", i);

		for (int part = 0; part < 4; part++, len++) {
			memset(name + len, 'a' + part, 200);
			len += 200;
			name[len] = part < 3 ? '/' : '\0';
		}
		put(client, name, "x");
	}
	for (int i = 0; i < 600; i++) {
		wait_for_event(watcher, "610 file-added ", id);
		ck_assert_int_eq(atoi(strstr(watcher->line, " name=") + 6), i);
	}
	client_free(watcher);
	client_free(client);
	node_stop(node);
}
END_TEST

/* --- connections --- */

static int
count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int count = 0;

	while (readdir(dir) != NULL)
		count++;
	closedir(dir);
	return count;
}

START_TEST(test_connections_that_vanish_leave_nothing)
{
	struct node *node = node_start("");
	struct client *client = client_new(node);
	int fds[2] = { file_with("x"), file_with("y") };

	put(client, "a", "b");
	ask(client, "search a", "200 count=1");
	int before = count_fds();
	for (int i = 0; i < 200; i++) {
		struct client *gone = client_new(node);

		say_with(gone,
			 i % 3 == 0   ? "search a\nsearch b\n"
			 : i % 3 == 1 ? "put z replace=yes\n"
				      : "watch\nput",
			 fds, i % 3 == 1 ? 1 : 2);
		client_free(gone);
	}
	/* The catalog may keep some readers open; a leak would be of hundreds. */
	before += 30;
	for (int i = 0; i < 200 && count_fds() > before; i++) {
		ask(client, "search a", "200 count=1");
		poll(NULL, 0, 5);
	}
	ck_assert_int_le(count_fds(), before);
	close(fds[0]);
	close(fds[1]);
	client_free(client);
	node_stop(node);
}
END_TEST

START_TEST(test_one_connection_too_many_is_told_so)
{
	struct node *node = node_start("");
	int fds[CONTROL_CONNECTIONS_MAX + 1];
	char text[64] = "";

	for (size_t i = 0; i <= CONTROL_CONNECTIONS_MAX; i++) {
		fds[i] = connect_to(node->socket);
		ck_assert_int_ge(fds[i], 0);
		ck_assert_int_gt(read(fds[i], text, sizeof(text) - 1), 0);
	}
	ck_assert_int_eq(strncmp(text, "429 slug=too-many", 17), 0);
	for (size_t i = 0; i <= CONTROL_CONNECTIONS_MAX; i++)
		close(fds[i]);
	node_stop(node);
}
END_TEST

/* Connects as another user with one group, and tells by its exit status what the first line's code
 * was. */
static int
greeting_code_for(struct node *node, uid_t uid, gid_t group)
{
	pid_t pid = fork();

	if (pid == 0) {
		struct pollfd pollfd = { .events = POLLIN };
		char code[4] = "";

		if (setgroups(1, &group) != 0 || setgid(uid) != 0 || setuid(uid) != 0)
			_exit(1);
		pollfd.fd = connect_to(node->socket);
		if (pollfd.fd < 0 || poll(&pollfd, 1, WAIT_MS) != 1 ||
		    read(pollfd.fd, code, 3) != 3)
			_exit(2);
		_exit(atoi(code) == 220 ? 22 : atoi(code) == 403 ? 43 : 3);
	}
	int status = 0;
	waitpid(pid, &status, 0);
	return WEXITSTATUS(status);
}

/* 24: the group's members may, and whoever only has the group from earlier times may not. */
START_TEST(test_only_members_of_the_group_may)
{
	if (geteuid() != 0 || getgrnam("nogroup") == NULL)
		return; /* needs to become another user */
	struct node *node = node_start("group = nogroup\n");
	struct stat st;

	ck_assert_int_eq(stat(node->socket, &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0660);
	ck_assert_uint_eq(st.st_gid, getgrnam("nogroup")->gr_gid);
	ck_assert_int_eq(greeting_code_for(node, 65534, 65534), 22);
	ck_assert_int_eq(greeting_code_for(node, 1, 65534), 43);
	ck_assert_int_eq(greeting_code_for(node, 1, 1), 2);
	node_stop(node);
}
END_TEST

/* Another user, who asks again and again until he is refused; tells so by its exit status. */
static void
ask_until_refused(struct node *node, uid_t uid, gid_t group, int greeted_fd)
{
	struct pollfd pollfd = { .events = POLLIN };
	uint64_t end_ms = clock_ms() + WAIT_MS;
	char text[4096];

	if (setgroups(1, &group) != 0 || setgid(uid) != 0 || setuid(uid) != 0)
		_exit(1);
	pollfd.fd = connect_to(node->socket);
	for (bool is_first = true; clock_ms() < end_ms; is_first = false) {
		ssize_t got = pollfd.fd >= 0 && poll(&pollfd, 1, WAIT_MS) == 1
				  ? read(pollfd.fd, text, sizeof(text))
				  : -1;

		if (got < 3)
			_exit(2);
		if (strncmp(text, "403", 3) == 0)
			_exit(is_first ? 3 : 43);
		if (is_first && write(greeted_fd, "g", 1) != 1)
			_exit(4);
		poll(NULL, 0, 50);
		if (write(pollfd.fd, "help quit\n", 10) != 10)
			_exit(5);
	}
	_exit(6);
}

static void
write_group(const char *path, const char *members)
{
	FILE *file = fopen(path, "w");

	ck_assert_ptr_nonnull(file);
	fprintf(file, "root:x:0:\nnogroup:x:65534:%s\n", members);
	ck_assert_int_eq(fclose(file), 0);
}

/* 24: who is taken out of the group has his next command refused, connected or not. */
START_TEST(test_who_leaves_the_group_is_refused_his_next_command)
{
	char path[] = "/tmp/control-group-XXXXXX", byte;
	struct passwd *user = getpwuid(1);
	int greeted[2], status = 0;

	/* Needs to become another user, and a group file of its own. */
	if (geteuid() != 0 || user == NULL || unshare(CLONE_NEWNS) != 0)
		return;
	int fd = mkstemp(path);
	ck_assert_int_ge(fd, 0);
	fchmod(fd, 0644);
	close(fd);
	write_group(path, user->pw_name);
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
	    mount(path, "/etc/group", NULL, MS_BIND, NULL) != 0) {
		unlink(path);
		return;
	}
	struct node *node = node_start("group = nogroup\n");
	ck_assert_int_eq(pipe(greeted), 0);
	pid_t pid = fork();
	if (pid == 0)
		ask_until_refused(node, 1, 65534, greeted[1]);
	close(greeted[1]);
	ck_assert_int_eq(read(greeted[0], &byte, 1), 1);
	write_group("/etc/group", "");
	waitpid(pid, &status, 0);
	ck_assert_int_eq(WEXITSTATUS(status), 43);
	close(greeted[0]);
	node_stop(node);
	umount("/etc/group");
	unlink(path);
}
END_TEST

/* --- 25: the socket's file --- */

START_TEST(test_a_stale_socket_is_replaced_and_a_live_one_and_a_file_are_kept)
{
	char dir[] = "/tmp/control-XXXXXX", path[64];
	struct control_socket first, second;
	struct error err;
	struct stat st;

	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/run/socket", dir);
	ck_assert_int_eq(control_socket_open(path, (gid_t)-1, &first, &err), P2P_OK);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0600);
	ck_assert_int_eq(control_socket_open(path, (gid_t)-1, &second, &err), P2P_EXISTS);
	close(first.fd); /* as after a kill: the file stays */
	ck_assert_int_eq(control_socket_open(path, (gid_t)-1, &second, &err), P2P_OK);
	free(first.path);

	/* Somebody removed the file and another took the place: that one is not ours to remove. */
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(control_socket_open(path, (gid_t)-1, &first, &err), P2P_OK);
	control_socket_close(&second);
	ck_assert_int_eq(stat(path, &st), 0);
	second = first;
	control_socket_close(&second);
	ck_assert_int_ne(stat(path, &st), 0);

	close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	ck_assert_int_eq(control_socket_open(path, (gid_t)-1, &first, &err), P2P_EXISTS);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert(S_ISREG(st.st_mode));
	nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}
END_TEST

START_TEST(test_a_path_that_cannot_be_is_refused)
{
	char path[256];
	struct control_socket sock;
	struct error err;

	memset(path, 'a', sizeof(path) - 1);
	path[0] = '/';
	path[sizeof(path) - 1] = '\0';
	ck_assert_int_eq(control_socket_open(path, (gid_t)-1, &sock, &err), P2P_BAD_REQUEST);
	ck_assert_int_eq(control_socket_open("relative", (gid_t)-1, &sock, &err), P2P_BAD_REQUEST);
	ck_assert_int_eq(control_socket_open("/nonexistent/deeper/socket", (gid_t)-1, &sock, &err),
			 P2P_NOT_FOUND);
	ck_assert_int_eq(control_socket_adopt(open("/dev/null", O_RDONLY | O_CLOEXEC), &sock, &err),
			 P2P_BAD_REQUEST);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("control");
	TCase *tcase = tcase_create("control");

	tcase_set_timeout(tcase, 120);
	tcase_add_test(tcase, test_every_command_of_the_table_is_helped);
	tcase_add_test(tcase, test_many_commands_in_one_write_and_one_in_many_get_the_same_answers);
	tcase_add_test(tcase, test_a_bad_line_is_refused_and_the_next_one_works);
	tcase_add_test(tcase, test_a_line_that_is_too_long_ends_the_connection);
	tcase_add_test(tcase,
		       test_who_does_not_finish_a_line_or_does_not_read_is_closed_in_ten_seconds);
	tcase_add_test(tcase, test_replies_come_though_the_client_has_sent_its_end);
	tcase_add_test(tcase, test_put_takes_one_readable_regular_file);
	tcase_add_test(tcase, test_a_search_goes_on_at_its_cursor);
	tcase_add_test(tcase, test_fetch_to_descriptors_wants_two_that_can_be_written);
	tcase_add_test(tcase, test_a_watcher_goes_on_where_it_was);
	tcase_add_test(tcase, test_a_slow_watcher_gets_its_events_later);
	tcase_add_test(tcase, test_connections_that_vanish_leave_nothing);
	tcase_add_test(tcase, test_one_connection_too_many_is_told_so);
	tcase_add_test(tcase, test_only_members_of_the_group_may);
	tcase_add_test(tcase, test_who_leaves_the_group_is_refused_his_next_command);
	tcase_add_test(tcase, test_a_stale_socket_is_replaced_and_a_live_one_and_a_file_are_kept);
	tcase_add_test(tcase, test_a_path_that_cannot_be_is_refused);
	suite_add_tcase(suite, tcase);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
