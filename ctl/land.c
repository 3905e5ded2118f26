/* SPDX-License-Identifier: MIT
 *
 * land.c - p2pctl fetch -o: one file that lands where the user says, with the user's rights.
 *
 * For each file two are opened beside the target, `.NAME.p2pd-part` for the bytes and
 * `.NAME.p2pd-have` for the daemon's record of what is verified, and their descriptors go to the
 * daemon.  When it says that every byte is verified and durable, the first gets the final name, by
 * one rename that replaces nothing unless --replace is given, and the second is removed.
 * Interrupted, both stay, and the same command goes on where it stopped.
 *
 * The second file is locked (flock) from before the daemon gets it until the first has its name: so
 * two p2pctl that want the same target do not take each other's files away.  The daemon shares the
 * lock, because it shares the descriptor.  Mode and time are set here too: the daemon may be
 * another user, who may not.
 *
 * Names come from the network: each part is checked, and directories are opened one by one without
 * following symbolic links, so nothing lands outside of the base directory.
 *
 * Which files are meant, where each belongs and how many are under way is decided in land_tree.c.
 */
#include "land.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "util.h"

/* for a fetch to end whose p2pctl was killed a moment ago: tries, and milliseconds between them */
#define LOCK_TRIES    40
#define LOCK_PAUSE_MS 50
/* bytes of a target's name that its helpers' names begin with; they stay below 255 */
#define BASE_MAX 235

_Static_assert(BASE_MAX + sizeof("..p2pd-part") <= LAND_HELPER_SIZE, "helpers' names fit");

void
land_fail(struct lander *lander, const char *what, const char *why)
{
	ctl_complain("%s: %s", ctl_escape(what), ctl_sentence(why));
	lander->failed++;
	if (lander->exit_code == EXIT_DONE)
		lander->exit_code = EXIT_REFUSED;
}

/* --- where it lands --- */

static bool
is_safe_part(const char *part, size_t len)
{
	return len > 0 && len <= 255 && !(len == 1 && part[0] == '.') &&
	       !(len == 2 && part[0] == '.' && part[1] == '.');
}

/* The directory path[0..len) was made for a file.  Its name in the network's tree ends as that of the file does. */
static void
note_made(struct lander *lander, const struct landing *item, size_t len)
{
	size_t rest = strlen(item->path) - len, whole = strlen(item->what);

	if (!lander->is_tree || whole < rest)
		return;
	char *name = util_format("%.*s", (int)(whole - rest), item->what);
	land_note_directory(lander, item->path, len, name);
	free(name);
}

/* Opens the directory that the item's path lies in, beneath the base, making what is missing; the last part
 * into *ret_name. */
static int
open_beneath(struct lander *lander, const struct landing *item, char **ret_name)
{
	const char *path = item->path;
	int fd = dup(lander->base_fd);

	for (const char *slash; fd >= 0; path = slash + 1) {
		char part[256];
		slash = strchr(path, '/');
		size_t len = slash != NULL ? (size_t)(slash - path) : strlen(path);

		if (!is_safe_part(path, len)) {
			close(fd);
			errno = EINVAL;
			return -1;
		}
		if (slash == NULL) {
			*ret_name = util_string(path);
			return fd;
		}
		memcpy(part, path, len);
		part[len] = '\0';
		bool is_made = mkdirat(fd, part, 0777) == 0;
		if (is_made)
			note_made(lander, item, (size_t)(slash - item->path));
		int next = is_made || errno == EEXIST
			       ? openat(fd, part, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
			       : -1;
		int why = errno;
		close(fd);
		errno = why;
		fd = next;
	}
	return -1;
}

static void
name_helpers(struct landing *item)
{
	int len = (int)strlen(item->name);

	if (len > BASE_MAX)
		len = BASE_MAX;
	snprintf(item->part, sizeof(item->part), ".%.*s.p2pd-part", len, item->name);
	snprintf(item->have, sizeof(item->have), ".%.*s.p2pd-have", len, item->name);
}

/* Whether the target is there: 1 as it should be, -1 something else, 0 nothing. */
static int
look_at_target(const struct landing *item)
{
	struct stat st;

	if (fstatat(item->dir_fd, item->name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return 0;
	long long mtime_ns = (long long)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
	uint64_t size;
	if (S_ISREG(st.st_mode) && item->size != NULL && util_number(item->size, &size) &&
	    (uint64_t)st.st_size == size && mtime_ns == item->mtime_ns)
		return 1;
	return -1;
}

/* --- one file --- */

/* In a directory that others may write to, a helper that is there already may be a trap: one of
 * somebody else's, or another name of a file of ours. */
static int
open_helper(int dir_fd, const char *name)
{
	int fd = openat(dir_fd, name, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
	struct stat st;

	if (fd < 0)
		return -1;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid() &&
	    st.st_nlink <= 1)
		return fd;
	close(fd);
	errno = EPERM;
	return -1;
}

/* True if `name` still is what `fd` has open. */
static bool
is_still(int dir_fd, const char *name, int fd)
{
	struct stat named, opened;

	return fstatat(dir_fd, name, &named, AT_SYMLINK_NOFOLLOW) == 0 && fstat(fd, &opened) == 0 &&
	       named.st_dev == opened.st_dev && named.st_ino == opened.st_ino;
}

/* Opens and locks the have file.  EWOULDBLOCK: somebody keeps it. */
static int
lock_have(const struct landing *item)
{
	for (int tries = 0;; tries++) {
		struct timespec pause = { .tv_nsec = LOCK_PAUSE_MS * 1000000L };
		int fd = open_helper(item->dir_fd, item->have);

		if (fd < 0)
			return -1;
		bool is_locked = flock(fd, LOCK_EX | LOCK_NB) == 0;
		int why = errno;
		/* Who held it before may have ended, and removed it. */
		if (is_locked && is_still(item->dir_fd, item->have, fd))
			return fd;
		close(fd);
		errno = is_locked ? EWOULDBLOCK : why;
		if (errno != EWOULDBLOCK || tries == LOCK_TRIES)
			return -1;
		nanosleep(&pause, NULL);
	}
}

/* Asks the daemon to fetch into the two descriptors. */
static int
ask_fetch(struct lander *lander, struct landing *item, const int fds[2], struct reply *ret)
{
	struct request request;

	request_init(&request, "fetch");
	request_word(&request, item->what);
	request_pair(&request, "to", "fd");
	if (ctl_has(lander->ctl, OPT_PRIORITY))
		request_pair(&request, "priority", lander->ctl->values[OPT_PRIORITY]);
	if (item->root != NULL) {
		request_pair(&request, "root", item->root);
		request_pair(&request, "size", item->size);
	}
	return conn_ask(lander->ctl->conn, &request, fds, 2, ret);
}

/* Nothing was fetched: empty helpers are litter. */
static void
drop_helpers(const struct landing *item)
{
	struct stat st;

	if (fstatat(item->dir_fd, item->part, &st, AT_SYMLINK_NOFOLLOW) != 0 || st.st_size == 0) {
		unlinkat(item->dir_fd, item->part, 0);
		unlinkat(item->dir_fd, item->have, 0);
	}
}

/* The helpers are opened: starts the fetch.  CONN_OK though it may have been refused. */
static int
start_with(struct lander *lander, struct landing *item, const int fds[2])
{
	struct reply reply;
	int result = ask_fetch(lander, item, fds, &reply);

	if (result != CONN_OK)
		return result;
	if (reply.final.code >= 400 || record_number(&reply.final, "fetch", 0) == 0) {
		const char *text = record_text(&reply.final, "text");

		land_fail(lander, item->what, text != NULL ? text : "the daemon did not begin it");
		show_candidates(lander->ctl, &reply, "candidate", item->what);
		drop_helpers(item);
	} else if (follow_add(&lander->follow, &reply.final, item->what, item) == NULL) {
		result = CONN_LOST;
	}
	reply_fini(&reply);
	return result;
}

/* False: it needs no fetching, or may not land. */
static bool
may_begin(struct lander *lander, const struct landing *item)
{
	int there = look_at_target(item);

	if (there > 0 && lander->is_tree) {
		lander->present++;
		return false;
	}
	if (there != 0 && !ctl_has(lander->ctl, OPT_REPLACE)) {
		land_fail(lander, item->path, "is there already; --replace replaces it");
		return false;
	}
	return true;
}

static void
fail_helper(struct lander *lander, const struct landing *item, const char *helper)
{
	char text[LAND_HELPER_SIZE + 64];

	if (errno == EWOULDBLOCK)
		land_fail(lander, item->path, "another p2pctl is fetching it");
	else if (errno == EPERM) {
		snprintf(text, sizeof(text), "%s, beside it, is not a file of yours alone", helper);
		land_fail(lander, item->path, text);
	} else
		land_fail(lander, item->path, strerror(errno));
}

int
land_start(struct lander *lander, struct landing *item)
{
	int result = CONN_OK;

	item->dir_fd = open_beneath(lander, item, &item->name);
	if (item->dir_fd < 0) {
		land_fail(lander, item->path,
			  errno == EINVAL ? "the name would land elsewhere" : strerror(errno));
		return CONN_OK;
	}
	name_helpers(item);
	if (!may_begin(lander, item))
		return CONN_OK;
	item->have_fd = lock_have(item);
	if (item->have_fd < 0) {
		fail_helper(lander, item, item->have);
		return CONN_OK;
	}
	/* Whoever had the lock may have brought it. */
	if (!may_begin(lander, item)) {
		unlinkat(item->dir_fd, item->have, 0);
		return CONN_OK;
	}
	int fds[2] = { open_helper(item->dir_fd, item->part), item->have_fd };
	if (fds[0] < 0) {
		struct stat st;

		fail_helper(lander, item, item->part);
		if (fstat(item->have_fd, &st) == 0 && st.st_size == 0)
			unlinkat(item->dir_fd, item->have, 0);
		return CONN_OK;
	}
	result = start_with(lander, item, fds);
	close(fds[0]);
	return result;
}

/* The bytes get the mode, as far as the user's mask lets them, and the time of the original. */
static void
set_attributes(const struct landing *item)
{
	struct timespec times[2] = { { .tv_nsec = UTIME_OMIT },
				     { .tv_sec = item->mtime_ns / 1000000000,
				       .tv_nsec = item->mtime_ns % 1000000000 } };
	mode_t mask = umask(0);

	umask(mask);
	if (fchmodat(item->dir_fd, item->part, item->mode & ~mask, 0) != 0 ||
	    (item->mtime_ns > 0 &&
	     utimensat(item->dir_fd, item->part, times, AT_SYMLINK_NOFOLLOW) != 0))
		ctl_complain("%s: cannot set mode and time: %s", ctl_escape(item->path),
			     strerror(errno));
}

/* Renames without replacing, also where the file system cannot do that in one call. */
static int
rename_new(int dir_fd, const char *from, const char *to)
{
	if (renameat2(dir_fd, from, dir_fd, to, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return -1;
	return linkat(dir_fd, from, dir_fd, to, 0) == 0 ? unlinkat(dir_fd, from, 0) : -1;
}

void
land_finish(struct lander *lander, struct landing *item)
{
	bool replaces = ctl_has(lander->ctl, OPT_REPLACE);

	set_attributes(item);
	int failed = replaces ? renameat(item->dir_fd, item->part, item->dir_fd, item->name)
			      : rename_new(item->dir_fd, item->part, item->name);

	if (failed) {
		land_fail(lander, item->path,
			  errno == EEXIST
			      ? "something has taken the name meanwhile; --replace replaces it"
			      : strerror(errno));
		return;
	}
	unlinkat(item->dir_fd, item->have, 0);
	fsync(item->dir_fd);
	lander->done++;
	if (!ctl_has(lander->ctl, OPT_QUIET) && !ctl_has(lander->ctl, OPT_JSON)) {
		printf("%s\n", ctl_escape(item->path));
		fflush(stdout);
	}
}

void
land_close(struct landing *item)
{
	if (item->have_fd >= 0)
		close(item->have_fd);
	if (item->dir_fd >= 0)
		close(item->dir_fd);
	item->have_fd = item->dir_fd = -1;
}
