/* SPDX-License-Identifier: MIT
 *
 * land_directories.c - the directories that p2pctl fetch -o makes, and what they are like in the end.
 *
 * Each that is made is noted, with the name that it has in the network's tree.  When all files have
 * landed, and change no directory's time any more, the daemon is asked what these are like, as many
 * as one line takes, and they get permission bits and times, those that lie deeper first.  Bits are
 * only taken from what the umask left, and none of the owner's.
 *
 * What was there before is not noted and not touched.  Nothing here is an error: without an answer,
 * or where a directory has been moved away, it stays as it was made.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "land.h"
#include "util.h"

#define KEPT_BITS   (07000u | S_IRWXU)
#define ASKED_MAX   (LINE_MAX_WORDS - 1) /* of one line */
#define ASKED_BYTES 1024                 /* that a line has left when it takes no more */

struct made_directory {
	char *path; /* below the base directory; "": itself */
	char *name; /* in the network's tree */
};

void
land_note_directory(struct lander *lander, const char *path, size_t len, const char *name)
{
	/* Grows at powers of two. */
	if ((lander->made_count & (lander->made_count - 1)) == 0)
		lander->made =
		    util_grow(lander->made, 2 * lander->made_count + 1, sizeof(*lander->made));
	lander->made[lander->made_count++] = (struct made_directory){
		.path = util_format("%.*s", (int)len, path),
		.name = util_string(name),
	};
}

static int
open_made(const struct lander *lander, const char *path)
{
	const int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
	int fd = openat(lander->base_fd, ".", flags);

	while (fd >= 0 && path[0] != '\0') {
		size_t len = strcspn(path, "/");
		char part[256];

		memcpy(part, path, len); /* it was made: it is short enough */
		part[len] = '\0';
		int next = openat(fd, part, flags);
		close(fd);
		fd = next;
		path += len + (path[len] == '/');
	}
	return fd;
}

static void
set_attributes(const struct lander *lander, const char *path, const struct record *told)
{
	const char *mode = record_text(told, "mode"), *mtime = record_text(told, "mtime_ns");
	long long mtime_ns = mtime != NULL ? strtoll(mtime, NULL, 10) : 0;
	long long rest_ns = (mtime_ns % 1000000000 + 1000000000) % 1000000000;
	const struct timespec times[2] = { { .tv_nsec = UTIME_OMIT },
					   { .tv_sec = (mtime_ns - rest_ns) / 1000000000,
					     .tv_nsec = rest_ns } };
	int fd = open_made(lander, path);
	struct stat st;

	if (fd < 0)
		return;
	if (mode != NULL && fstat(fd, &st) == 0 && st.st_uid == geteuid())
		(void)fchmod(fd, st.st_mode & (KEPT_BITS | (mode_t)strtoul(mode, NULL, 8)));
	if (mtime_ns != 0)
		(void)futimens(fd, times);
	close(fd);
}

/* Of those from `first` on; answers how many, 0 if nothing more is to be learnt. */
static size_t
ask_some(struct lander *lander, size_t first)
{
	struct request request;
	struct reply reply;
	size_t count = 0, at = 0;

	request_init(&request, "directories");
	while (first + count < lander->made_count && count < ASKED_MAX &&
	       (count == 0 || request.len + 4 * strlen(lander->made[first + count].name) <
				  sizeof(request.text) - ASKED_BYTES))
		request_word(&request, lander->made[first + count++].name);
	if (conn_ask(lander->ctl->conn, &request, NULL, 0, &reply) != CONN_OK)
		return 0;
	bool is_known = reply.final.code < 400;
	/* Records come in the order asked, some may be missing. */
	for (size_t i = 0; i < count && at < reply.count; i++) {
		const struct made_directory *made = &lander->made[first + i];
		const char *name = record_text(&reply.records[at], "name");

		if (name != NULL && strcmp(name, made->name) == 0)
			set_attributes(lander, made->path, &reply.records[at++]);
	}
	reply_fini(&reply);
	return is_known ? count : 0;
}

static int
compare_descending(const void *a, const void *b)
{
	return strcmp(((const struct made_directory *)b)->path,
		      ((const struct made_directory *)a)->path);
}

void
land_set_directories(struct lander *lander)
{
	size_t step = 1;

	if (lander->made_count > 0)
		qsort(lander->made, lander->made_count, sizeof(*lander->made), compare_descending);
	for (size_t at = 0; at < lander->made_count && step > 0; at += step)
		step = ask_some(lander, at);
}

void
land_forget_directories(struct lander *lander)
{
	for (size_t i = 0; i < lander->made_count; i++) {
		free(lander->made[i].path);
		free(lander->made[i].name);
	}
	free(lander->made);
}
