/* SPDX-License-Identifier: MIT
 *
 * control_socket.c - the file of the control socket: made, taken over, removed.
 *
 * What lies at the path decides: nothing is fine; a socket that nobody listens on is stale (the
 * daemon was killed) and replaced; one that somebody listens on, and anything that is no socket, is
 * refused and kept.
 *
 * Two daemons that start at once must not both find the stale one and remove each other's new one.
 * So looking and binding happen under a lock (flock) on the directory, which the kernel drops with
 * us and which leaves no file behind.
 *
 * The file is born with mode 0600 (umask while binding) and opened to the group only then, so at no
 * moment can anybody connect who should not.  At the end it is removed only if it still is the
 * inode that we made: somebody may have replaced it.  A socket that the service manager made is
 * left to it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "control_internal.h"
#include "mem.h"

#define BACKLOG       128
#define LOCK_TRIES    100 /* with LOCK_PAUSE_MS between them */
#define LOCK_PAUSE_MS 20

static int
make_address(const char *path, struct sockaddr_un *ret, struct error *err)
{
	size_t len = strlen(path);

	*ret = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (len == 0 || path[0] != '/')
		return error_set(err, P2P_BAD_REQUEST,
				 "[control] socket: \"%s\" is no absolute path", path);
	if (len >= sizeof(ret->sun_path))
		return error_set(err, P2P_BAD_REQUEST,
				 "[control] socket: %s has %zu bytes, the system takes at most %zu",
				 path, len, sizeof(ret->sun_path) - 1);
	memcpy(ret->sun_path, path, len + 1);
	return P2P_OK;
}

/* Opens the socket's directory; makes it, but not its parents. */
static int
open_directory(const char *path, gid_t group, int *ret_fd, struct error *err)
{
	const char *slash = strrchr(path, '/');
	char *dir = slash == path ? mem_string("/") : mem_format("%.*s", (int)(slash - path), path);
	bool has_group = group != (gid_t)-1;
	int code = P2P_OK;

	bool is_new = mkdir(dir, has_group ? 0750 : 0700) == 0;
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0) {
		code = error_errno(err, "Cannot open the directory of the control socket, %s", dir);
	} else if (is_new && has_group && fchown(fd, (uid_t)-1, group) != 0) {
		code = error_errno(err, "Cannot give %s to the group of [control] group", dir);
		close(fd);
	} else {
		*ret_fd = fd;
	}
	free(dir);
	return code;
}

static int
lock_directory(int dir_fd, const char *path, struct error *err)
{
	for (int i = 0; flock(dir_fd, LOCK_EX | LOCK_NB) != 0; i++) {
		struct timespec pause = { .tv_nsec = LOCK_PAUSE_MS * 1000000L };

		if ((errno != EWOULDBLOCK && errno != EINTR) || i == LOCK_TRIES)
			return error_errno(err, "Cannot lock the directory of %s", path);
		nanosleep(&pause, NULL);
	}
	return P2P_OK;
}

/* Removes a stale socket. */
static int
clear_path(const char *path, const struct sockaddr_un *address, struct error *err)
{
	struct stat st;

	if (lstat(path, &st) != 0)
		return errno == ENOENT ? P2P_OK : error_errno(err, "Cannot look at %s", path);
	if (!S_ISSOCK(st.st_mode))
		return error_set(err, P2P_EXISTS, "%s is there and is no socket; it is kept", path);

	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return error_errno(err, "Cannot make a socket");
	int why = connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 ? 0 : errno;
	close(fd);
	if (why == 0 || why == EAGAIN)
		return error_set(err, P2P_EXISTS, "Another p2pd listens on %s", path);
	errno = why;
	if (why != ECONNREFUSED)
		return error_errno(err, "Cannot tell whether somebody listens on %s", path);
	if (unlink(path) != 0)
		return error_errno(err, "Cannot remove the stale socket %s", path);
	return P2P_OK;
}

/* Where the group is ours already, as in a service of its own user, no right to change it is needed. */
static bool
give_to_group(const char *path, gid_t group)
{
	struct stat st;

	if (lstat(path, &st) != 0)
		return false;
	if (st.st_gid != group && lchown(path, (uid_t)-1, group) != 0)
		return false;
	return chmod(path, 0660) == 0;
}

static int
bind_path(int fd, const char *path, const struct sockaddr_un *address, gid_t group,
	  struct error *err)
{
	mode_t before = umask(0177);
	int ret = bind(fd, (const struct sockaddr *)address, sizeof(*address));

	umask(before);
	if (ret != 0)
		return error_errno(err, "Cannot bind the control socket %s", path);
	if (group != (gid_t)-1 && !give_to_group(path, group))
		return error_errno(err, "Cannot give %s to the group of [control] group", path);
	if (listen(fd, BACKLOG) != 0)
		return error_errno(err, "Cannot listen on %s", path);
	return P2P_OK;
}

/* Holds the directory's lock. */
static int
open_locked(const char *path, const struct sockaddr_un *address, gid_t group,
	    struct control_socket *ret, struct error *err)
{
	int code = clear_path(path, address, err);

	if (code != P2P_OK)
		return code;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return error_errno(err, "Cannot make a socket");

	struct stat st;
	code = bind_path(fd, path, address, group, err);
	if (code == P2P_OK && lstat(path, &st) != 0)
		code = error_errno(err, "Cannot look at %s", path);
	if (code != P2P_OK) {
		close(fd); /* a file that was bound is stale now, and the next start replaces it */
		return code;
	}
	*ret = (struct control_socket){
		.fd = fd, .path = mem_string(path), .device = st.st_dev, .inode = st.st_ino
	};
	return P2P_OK;
}

int
control_socket_open(const char *path, gid_t group, struct control_socket *ret, struct error *err)
{
	struct sockaddr_un address;
	int dir_fd = -1;
	int code = make_address(path, &address, err);

	if (code == P2P_OK)
		code = open_directory(path, group, &dir_fd, err);
	if (code != P2P_OK)
		return code;
	code = lock_directory(dir_fd, path, err);
	if (code == P2P_OK)
		code = open_locked(path, &address, group, ret, err);
	close(dir_fd);
	return code;
}

int
control_socket_adopt(int fd, struct control_socket *ret, struct error *err)
{
	int domain = 0, type = 0, is_listening = 0;
	socklen_t len = sizeof(int);

	if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) != 0 || domain != AF_UNIX ||
	    getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) != 0 || type != SOCK_STREAM ||
	    getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &is_listening, &len) != 0 || !is_listening) {
		close(fd);
		return error_set(
		    err, P2P_BAD_REQUEST,
		    "The socket that was handed over is no listening Unix stream socket");
	}
	fcntl(fd, F_SETFD, FD_CLOEXEC);
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	*ret = (struct control_socket){ .fd = fd };
	return P2P_OK;
}

void
control_socket_close(struct control_socket *sock)
{
	struct stat st;

	if (sock->fd < 0)
		return;
	if (sock->path != NULL && lstat(sock->path, &st) == 0 && st.st_dev == sock->device &&
	    st.st_ino == sock->inode)
		unlink(sock->path);
	close(sock->fd);
	free(sock->path);
	*sock = (struct control_socket){ .fd = -1 };
}
