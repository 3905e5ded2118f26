/* SPDX-License-Identifier: MIT
 *
 * land.c - p2pctl fetch -o: files that land where the user says, with the user's rights.
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
 * Where things land:
 *   a file, -o PATH           PATH; or PATH/last-part if PATH is a directory or ends with /
 *   a directory, -o PATH      PATH/last-part/... if PATH is a directory or ends with /;
 *                             else PATH becomes it
 *   a glob, -o PATH           PATH/whole-name
 *
 * Names come from the network: each part is checked, and directories are opened one by one without
 * following symbolic links, so nothing lands outside of PATH.  Of a tree what is there already with
 * the same size and time is left alone, which is how an interrupted tree goes on.
 *
 * At most WINDOW files are under way, on one connection; so the cost of a round trip is shared, and
 * the daemon decides what is really fetched at once.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "ctl.h"
#include "follow.h"
#include "json.h"
#include "util.h"

#define WINDOW 8
/* for a fetch to end whose p2pctl was killed a moment ago: tries, and milliseconds between them */
#define LOCK_TRIES    40
#define LOCK_PAUSE_MS 50
#define BASE_MAX \
	235 /* bytes of a target's name that its helpers' names begin with; they stay below 255 */
#define HELPER_SIZE (BASE_MAX + 24)

/* One file that is to land. */
struct landing {
	char *what;         /* as the daemon knows it */
	char *root, *size;  /* which content; NULL: the daemon resolves */
	char *path;         /* below the base directory */
	long long mtime_ns; /* 0: not known */
	mode_t mode;
	int dir_fd;  /* of the directory that holds it, or -1 */
	int have_fd; /* holds the lock while the fetch is under way, or -1 */
	char *name;  /* in that directory */
	char part[HELPER_SIZE], have[HELPER_SIZE];
};

struct lander {
	struct ctl *ctl;
	struct follow follow;
	int base_fd; /* everything lands below */
	bool is_tree;
	struct landing *items;
	size_t count, cap;
	size_t done, present, failed;
	int exit_code;
};

/* Lets go of the directory and the lock. */
static void
landing_close(struct landing *item)
{
	if (item->have_fd >= 0)
		close(item->have_fd);
	if (item->dir_fd >= 0)
		close(item->dir_fd);
	item->have_fd = item->dir_fd = -1;
}

static void
landing_fini(struct landing *item)
{
	landing_close(item);
	free(item->what);
	free(item->root);
	free(item->size);
	free(item->path);
	free(item->name);
}

static void
fail(struct lander *lander, const char *what, const char *why)
{
	ctl_complain("%s: %s", ctl_escape(what), ctl_escape(why));
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

/* Opens the directory that `path` lies in, beneath base_fd, making what is missing; the last part
 * into *ret_name. */
static int
open_beneath(int base_fd, const char *path, char **ret_name)
{
	int fd = dup(base_fd);

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
		int next = mkdirat(fd, part, 0777) == 0 || errno == EEXIST
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

		fail(lander, item->what, text != NULL ? text : "the daemon did not begin it");
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
		fail(lander, item->path, "is there already; --replace replaces it");
		return false;
	}
	return true;
}

static void
fail_helper(struct lander *lander, const struct landing *item, const char *helper)
{
	char text[HELPER_SIZE + 64];

	if (errno == EWOULDBLOCK)
		fail(lander, item->path, "another p2pctl is fetching it");
	else if (errno == EPERM) {
		snprintf(text, sizeof(text), "%s, beside it, is not a file of yours alone", helper);
		fail(lander, item->path, text);
	} else
		fail(lander, item->path, strerror(errno));
}

static int
start_item(struct lander *lander, struct landing *item)
{
	int result = CONN_OK;

	item->dir_fd = open_beneath(lander->base_fd, item->path, &item->name);
	if (item->dir_fd < 0) {
		fail(lander, item->path,
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

/* Every byte is verified and durable: the final name. */
static void
finish_item(struct lander *lander, struct landing *item)
{
	bool replaces = ctl_has(lander->ctl, OPT_REPLACE);

	set_attributes(item);
	int failed = replaces ? renameat(item->dir_fd, item->part, item->dir_fd, item->name)
			      : rename_new(item->dir_fd, item->part, item->name);

	if (failed) {
		fail(lander, item->path,
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

/* --- all of them --- */

static void
end_job(struct lander *lander, struct follow_job *job)
{
	struct landing *item = job->arg;

	if (job->state == FOLLOW_DONE)
		finish_item(lander, item);
	else
		fail(lander, item->what, job->note != NULL ? job->note : "failed");
	landing_close(item);
	follow_drop(&lander->follow, job);
}

static void
count_down(struct lander *lander, const struct landing *item)
{
	uint64_t size = 0;

	util_number(item->size, &size);
	lander->follow.more_files--;
	lander->follow.more_bytes -= size;
}

static int
run_all(struct lander *lander)
{
	size_t next = 0;
	int result = CONN_OK;

	for (;;) {
		while (result == CONN_OK && next < lander->count && lander->follow.going < WINDOW) {
			struct landing *item = &lander->items[next++];
			size_t before = lander->follow.count;

			count_down(lander, item);
			result = start_item(lander, item);
			if (lander->follow.count == before)
				landing_close(item);
		}
		if (result != CONN_OK)
			return result;
		struct follow_job *job = follow_next(&lander->follow, &result);
		if (job == NULL && (result != CONN_OK || next == lander->count))
			return result;
		if (job != NULL)
			end_job(lander, job);
	}
}

/* --- what is meant --- */

static void
add_item(struct lander *lander, const struct record *file, const char *path)
{
	if (lander->count == lander->cap) {
		lander->cap = lander->cap == 0 ? 64 : 2 * lander->cap;
		lander->items = util_grow(lander->items, lander->cap, sizeof(*lander->items));
	}
	struct landing *item = &lander->items[lander->count++];
	*item = (struct landing){ .dir_fd = -1, .have_fd = -1, .path = util_string(path) };
	item->what = util_string(record_text(file, "name"));
	item->root = util_string(record_text(file, "root"));
	item->size = util_string(record_text(file, "size"));
	const char *mtime = record_text(file, "mtime_ns");
	const char *mode = record_text(file, "mode");
	item->mtime_ns = mtime != NULL ? strtoll(mtime, NULL, 10) : 0;
	item->mode = mode != NULL ? (mode_t)strtoul(mode, NULL, 8) & 0777 : 0666;
	lander->follow.more_files++;
	lander->follow.more_bytes += record_number(file, "size", 0);
}

static int
find(struct ctl *ctl, const char *command, const char *match, const char *what, struct reply *ret)
{
	struct request request;

	request_init(&request, command);
	request_word(&request, what);
	if (match != NULL)
		request_pair(&request, "match", match);
	if (request.is_too_long) {
		ctl_complain("the name is too long");
		return EXIT_USAGE;
	}
	request.text[request.len] = '\0';
	return show_collect(ctl, request.text, UINT64_MAX, ret);
}

/* Rows of one name stand together. */
static bool
has_doubles(const struct reply *files)
{
	bool found = false;

	for (size_t i = 1; i < files->count; i++)
		if (strcmp(record_text(&files->records[i - 1], "name"),
			   record_text(&files->records[i], "name")) == 0) {
			ctl_complain("%s has more than one content; fetch it by itself with --id",
				     ctl_escape(record_text(&files->records[i], "name")));
			found = true;
		}
	return found;
}

static const char *
last_part(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash != NULL ? slash + 1 : path;
}

/* True if things go below PATH rather than becoming it. */
static bool
is_container(const char *path)
{
	struct stat st;
	size_t len = strlen(path);

	return (len > 0 && path[len - 1] == '/') || (stat(path, &st) == 0 && S_ISDIR(st.st_mode));
}

static int
open_base(struct lander *lander, const char *path, bool make)
{
	if (make && mkdir(path, 0777) != 0 && errno != EEXIST) {
		ctl_complain("cannot make %s: %s", ctl_escape(path), strerror(errno));
		return EXIT_REFUSED;
	}
	lander->base_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (lander->base_fd >= 0)
		return EXIT_DONE;
	ctl_complain("cannot open the directory %s: %s", ctl_escape(path), strerror(errno));
	return EXIT_REFUSED;
}

/* One file.  `file` may lack all but its name: then the daemon resolves it. */
static int
plan_file(struct lander *lander, const struct record *file, const char *output)
{
	if (is_container(output)) {
		if (record_text(file, "root") == NULL) {
			ctl_complain("no file has this name; to fetch by an id, say -o %s%sNAME",
				     ctl_escape(output),
				     output[strlen(output) - 1] == '/' ? "" : "/");
			return EXIT_REFUSED;
		}
		add_item(lander, file, last_part(record_text(file, "name")));
		return open_base(lander, output, true);
	}
	const char *name = last_part(output);
	char *directory =
	    name == output ? util_string(".") : util_format("%.*s", (int)(name - output), output);
	add_item(lander, file, name);
	int ret = open_base(lander, directory, false);
	free(directory);
	return ret;
}

/* What lies below directory `top`, or fits a glob (top NULL). */
static int
plan_tree(struct lander *lander, const struct reply *files, const char *top, const char *output)
{
	size_t skip = 0;

	if (has_doubles(files))
		return EXIT_REFUSED;
	lander->is_tree = true;
	if (top != NULL) {
		size_t len = strlen(top);

		while (len > 0 && top[len - 1] == '/')
			len--;
		skip = len > 0 ? len + 1 : 0;
		if (is_container(output))
			while (skip > 0 && (skip == len + 1 || top[skip - 1] != '/'))
				skip--;
	}
	for (size_t i = 0; i < files->count; i++) {
		const char *name = record_text(&files->records[i], "name");

		if (name != NULL && strlen(name) > skip)
			add_item(lander, &files->records[i], name + skip);
	}
	return open_base(lander, output, true);
}

/* Finds out what is meant, in the daemon's own order: a name, a glob, a directory, an id. */
static int
plan(struct lander *lander, const char *what, const char *output)
{
	struct ctl *ctl = lander->ctl;
	struct reply files = { 0 };
	int ret;

	if (what[0] == '\0') {
		ctl_complain("a name, an id, a directory or a glob is wanted");
		return EXIT_USAGE;
	}
	if (ctl_has(ctl, OPT_ID)) {
		const struct record *chosen =
		    fetch_choose(ctl, what, ctl->values[OPT_ID], &files, &ret);

		if (chosen != NULL)
			ret = plan_file(lander, chosen, output);
		goto out;
	}
	ret = find(ctl, "search", "exact", what, &files);
	if (ret != EXIT_DONE)
		goto out;
	if (files.count > 0) {
		ret = EXIT_REFUSED;
		if (files.count == 1)
			ret = plan_file(lander, &files.records[0], output);
		else
			ctl_complain("%s has more than one content", ctl_escape(what));
		if (files.count > 1)
			show_candidates(ctl, &files, "file", what);
		goto out;
	}
	reply_fini(&files);
	bool is_glob = strpbrk(what, "*?[") != NULL;
	ret = find(ctl, is_glob ? "search" : "ls", is_glob ? "glob" : NULL, what, &files);
	if (ret == EXIT_DONE && files.count > 0) {
		ret = plan_tree(lander, &files, is_glob ? NULL : what, output);
	} else if (ret == EXIT_DONE) {
		char *keys[] = { (char *)"name" }, *values[] = { (char *)what };
		struct record unknown = { .count = 1, .keys = keys, .values = values };

		ret = plan_file(lander, &unknown, output);
	}
out:
	reply_fini(&files);
	return ret;
}

static void
tell_end(const struct lander *lander, int result)
{
	if (result == CONN_INTERRUPTED)
		ctl_complain("stopped; the same command goes on where it stopped");
	if (ctl_has(lander->ctl, OPT_JSON)) {
		char done[24], present[24], failed[24];
		char *keys[] = { (char *)"done_files", (char *)"present", (char *)"failed_files" };
		char *values[] = { done, present, failed };
		struct reply reply = {
			.final = { .code = 200, .count = 3, .keys = keys, .values = values }
		};

		snprintf(done, sizeof(done), "%zu", lander->done);
		snprintf(present, sizeof(present), "%zu", lander->present);
		snprintf(failed, sizeof(failed), "%zu", lander->failed);
		json_print_reply(&reply, NULL);
	} else if (lander->present > 0 && !ctl_has(lander->ctl, OPT_QUIET)) {
		printf("%zu file%s here already\n", lander->present,
		       lander->present == 1 ? " is" : "s are");
	}
}

int
land_files(struct ctl *ctl)
{
	struct lander lander = { .ctl = ctl, .base_fd = -1 };
	int result = CONN_OK;
	int ret = follow_begin(&lander.follow, ctl);

	if (ret == EXIT_DONE)
		ret = plan(&lander, ctl->args[0], ctl->values[OPT_OUTPUT]);
	if (ret == EXIT_DONE) {
		conn_catch_signals(ctl->conn);
		result = run_all(&lander);
		ret = result == CONN_OK ? lander.exit_code
		      : result == CONN_INTERRUPTED
			  ? EXIT_REFUSED
			  : ctl_lost(ctl, "the same command goes on where it stopped");
		tell_end(&lander, result);
	}
	follow_end(&lander.follow);
	for (size_t i = 0; i < lander.count; i++)
		landing_fini(&lander.items[i]);
	free(lander.items);
	if (lander.base_fd >= 0)
		close(lander.base_fd);
	return ret;
}
