/* SPDX-License-Identifier: MIT
 *
 * record.c - what a program asks of its disk, in order: a library for LD_PRELOAD that lets every call through and notes
 * those that change files or directories, with the bytes, so that replay.py can tell what a power cut would have left.
 *
 *	RECORD_BELOW	directories, with colons between, without a link on the way: nothing else is noted
 *	RECORD_DIR	where to: `log` has a line for each call, with tabs between its words; `bytes` what was written, one write
 *			after the other; `keep` a second name for each file that was made, by its inode
 *
 * The second names are there so that a file that was removed can come back as the same inode.  The lines:
 *
 *	open INODE PATH T	made, if it was not there; T is 1 if it was emptied
 *	write INODE OFFSET LENGTH, truncate INODE LENGTH, punch INODE OFFSET LENGTH
 *	sync INODE, syncdir PATH
 *	mkdir PATH, unlink PATH, rename FROM TO, exchange FROM TO, link INODE PATH
 *
 * One call after the other: a lock is held from before each call until its line is written, so the lines stand in the order
 * of what they tell.  What is done to the mode and the times of a file is not noted, nor what goes through a mapping.
 */
#define _GNU_SOURCE
#undef _FILE_OFFSET_BITS
#undef _FORTIFY_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/falloc.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static const char *below, *dir;
static int log_fd = -1, bytes_fd = -1;
static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;

#define REAL(name) \
	static __typeof__(name) *real; \
	if (real == NULL) \
	real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

/* --- what is noted, and how --- */

static int
open_log(const char *name)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC,
			    0644);
}

__attribute__((constructor)) static void
begin(void)
{
	dir = getenv("RECORD_DIR");
	below = getenv("RECORD_BELOW");
	if (dir == NULL || below == NULL)
		return;
	log_fd = open_log("log");
	bytes_fd = open_log("bytes");
}

static bool
is_below(const char *path)
{
	for (const char *at = below; at != NULL && *at != '\0';) {
		size_t len = strcspn(at, ":");

		if (len > 0 && strncmp(path, at, len) == 0 &&
		    (path[len] == '/' || path[len] == '\0'))
			return true;
		at += len + (at[len] == ':');
	}
	return false;
}

/* The path of `fd`, and of `name` in it if there is one; false if it is none of ours. */
static bool
path_of(int fd, const char *name, char ret[PATH_MAX])
{
	char link[32];
	ssize_t len = 0;
	int saved = errno;

	if (name == NULL || name[0] != '/') {
		snprintf(link, sizeof(link), fd == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/%d",
			 fd);
		len = syscall(SYS_readlinkat, AT_FDCWD, link, ret, PATH_MAX - 1);
		len = len < 0 ? 0 : len;
	}
	ret[len] = '\0';
	if (name != NULL)
		snprintf(ret + len, PATH_MAX - (size_t)len, "%s%s", name[0] != '/' ? "/" : "", name);
	errno = saved;
	return log_fd >= 0 && is_below(ret);
}

__attribute__((format(printf, 1, 2))) static void
note(const char *format, ...)
{
	char line[2 * PATH_MAX + 128];
	int saved = errno;
	va_list list;

	va_start(list, format);
	int len = vsnprintf(line, sizeof(line), format, list);
	va_end(list);
	(void)!syscall(SYS_write, log_fd, line, (size_t)len);
	errno = saved;
}

static unsigned long
inode_of(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 ? st.st_ino : 0;
}

/* A second name for a file that may be new. */
static void
keep(int fd, unsigned long inode)
{
	char from[32], to[PATH_MAX];
	int saved = errno;

	snprintf(from, sizeof(from), "/proc/self/fd/%d", fd);
	snprintf(to, sizeof(to), "%s/keep/%lu", dir, inode);
	syscall(SYS_linkat, AT_FDCWD, from, AT_FDCWD, to, AT_SYMLINK_FOLLOW);
	errno = saved;
}

/* A call that answers 0 or -1, and what is noted if it succeeded. */
#define TURN(call, is_ours, ...) \
	do { \
		pthread_mutex_lock(&turn); \
		int rc = (call); \
		if (rc == 0 && (is_ours)) \
			note(__VA_ARGS__); \
		pthread_mutex_unlock(&turn); \
		return rc; \
	} while (0)

/* --- bytes --- */

static void
note_write(int fd, off_t at, const struct iovec *parts, int count, size_t len)
{
	note("write\t%lu\t%lld\t%zu\n", inode_of(fd), (long long)at, len);
	for (int i = 0; i < count && len > 0; i++) {
		size_t part = parts[i].iov_len < len ? parts[i].iov_len : len;
		(void)!syscall(SYS_write, bytes_fd, parts[i].iov_base, part);
		len -= part;
	}
}

#define AT_POSITION (lseek(fd, 0, SEEK_CUR) - n)
#define WRITES(symbol, params, args, where, parts, count) \
	ssize_t symbol params \
	{ \
		REAL(symbol); \
		char path[PATH_MAX]; \
		if (!path_of(fd, NULL, path)) \
			return real args; \
		pthread_mutex_lock(&turn); \
		ssize_t n = real args; \
		if (n > 0) \
			note_write(fd, where, parts, count, (size_t)n); \
		pthread_mutex_unlock(&turn); \
		return n; \
	}
#define ONE (&(struct iovec){ (void *)data, len })

WRITES(write, (int fd, const void *data, size_t len), (fd, data, len), AT_POSITION, ONE, 1)
WRITES(writev, (int fd, const struct iovec *parts, int count), (fd, parts, count), AT_POSITION, parts, count)
WRITES(pwrite, (int fd, const void *data, size_t len, off_t at), (fd, data, len, at), at, ONE, 1)
WRITES(pwrite64, (int fd, const void *data, size_t len, off64_t at), (fd, data, len, at), at, ONE, 1)

static int
do_truncate(int (*real)(int, off_t), int fd, off_t len)
{
	char path[PATH_MAX];

	TURN(real(fd, len), path_of(fd, NULL, path), "truncate\t%lu\t%lld\n", inode_of(fd),
	     (long long)len);
}

int
ftruncate(int fd, off_t len)
{
	REAL(ftruncate);

	return do_truncate(real, fd, len);
}

int
ftruncate64(int fd, off64_t len)
{
	REAL(ftruncate64);

	return do_truncate(real, fd, len);
}

static int
do_fallocate(int (*real)(int, int, off_t, off_t), int fd, int mode, off_t at, off_t len)
{
	char path[PATH_MAX];
	struct stat st;

	if ((mode & FALLOC_FL_PUNCH_HOLE) != 0)
		TURN(real(fd, mode, at, len), path_of(fd, NULL, path), "punch\t%lu\t%lld\t%lld\n",
		     inode_of(fd), (long long)at, (long long)len);
	/* What it does to the length is all that can be seen of it. */
	TURN(real(fd, mode, at, len), path_of(fd, NULL, path) && fstat(fd, &st) == 0,
	     "truncate\t%lu\t%lld\n", (unsigned long)st.st_ino, (long long)st.st_size);
}

int
fallocate(int fd, int mode, off_t at, off_t len)
{
	REAL(fallocate);

	return do_fallocate(real, fd, mode, at, len);
}

int
fallocate64(int fd, int mode, off64_t at, off64_t len)
{
	REAL(fallocate64);

	return do_fallocate(real, fd, mode, at, len);
}

static int
do_sync(int (*real)(int), int fd)
{
	char path[PATH_MAX];
	struct stat st;

	if (!path_of(fd, NULL, path) || fstat(fd, &st) < 0)
		return real(fd);
	if (S_ISDIR(st.st_mode))
		TURN(real(fd), true, "syncdir\t%s\n", path);
	TURN(real(fd), true, "sync\t%lu\n", (unsigned long)st.st_ino);
}

int
fsync(int fd)
{
	REAL(fsync);

	return do_sync(real, fd);
}

int
fdatasync(int fd)
{
	REAL(fdatasync);

	return do_sync(real, fd);
}

/* --- names --- */

static void
note_open(int at_fd, const char *name, int flags, int fd)
{
	char path[PATH_MAX];

	if (fd < 0 || (flags & (O_CREAT | O_TRUNC | __O_TMPFILE)) == 0 ||
	    !path_of(at_fd, name, path))
		return;
	keep(fd, inode_of(fd));
	if ((flags & __O_TMPFILE) == 0)
		note("open\t%lu\t%s\t%d\n", inode_of(fd), path, (flags & O_TRUNC) != 0);
}

#define OPENS(symbol, first, first_name, dir_fd) \
	int symbol(first const char *name, int flags, ...) \
	{ \
		REAL(symbol); \
		va_list list; \
		va_start(list, flags); \
		mode_t mode = (flags & (O_CREAT | __O_TMPFILE)) != 0 ? va_arg(list, mode_t) : 0; \
		va_end(list); \
		pthread_mutex_lock(&turn); \
		int fd_made = real(first_name name, flags, mode); \
		note_open(dir_fd, name, flags, fd_made); \
		pthread_mutex_unlock(&turn); \
		return fd_made; \
	}
#define AND() ,
#define FD_AND fd,

OPENS(open, , , AT_FDCWD)
OPENS(open64, , , AT_FDCWD)
OPENS(openat, int fd AND(), FD_AND, fd)
OPENS(openat64, int fd AND(), FD_AND, fd)

static int
do_rename(int from_fd, const char *from, int to_fd, const char *to, unsigned flags)
{
	char from_path[PATH_MAX], to_path[PATH_MAX];
	bool is_ours = path_of(from_fd, from, from_path);

	is_ours = path_of(to_fd, to, to_path) && is_ours;
	TURN((int)syscall(SYS_renameat2, from_fd, from, to_fd, to, flags), is_ours, "%s\t%s\t%s\n",
	     (flags & RENAME_EXCHANGE) != 0 ? "exchange" : "rename", from_path, to_path);
}

int
rename(const char *from, const char *to)
{
	return do_rename(AT_FDCWD, from, AT_FDCWD, to, 0);
}

int
renameat(int from_fd, const char *from, int to_fd, const char *to)
{
	return do_rename(from_fd, from, to_fd, to, 0);
}

int
renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags)
{
	return do_rename(from_fd, from, to_fd, to, flags);
}

int
linkat(int from_fd, const char *from, int to_fd, const char *to, int flags)
{
	REAL(linkat);
	char path[PATH_MAX];
	struct stat st;

	TURN(real(from_fd, from, to_fd, to, flags),
	     path_of(to_fd, to, path) && fstatat(to_fd, to, &st, AT_SYMLINK_NOFOLLOW) == 0,
	     "link\t%lu\t%s\n", (unsigned long)st.st_ino, path);
}

int
unlinkat(int fd, const char *name, int flags)
{
	REAL(unlinkat);
	char path[PATH_MAX];

	TURN(real(fd, name, flags), path_of(fd, name, path), "unlink\t%s\n", path);
}

int
unlink(const char *name)
{
	return unlinkat(AT_FDCWD, name, 0);
}

int
rmdir(const char *name)
{
	return unlinkat(AT_FDCWD, name, AT_REMOVEDIR);
}

int
mkdirat(int fd, const char *name, mode_t mode)
{
	REAL(mkdirat);
	char path[PATH_MAX];

	TURN(real(fd, name, mode), path_of(fd, name, path), "mkdir\t%s\n", path);
}

int
mkdir(const char *name, mode_t mode)
{
	return mkdirat(AT_FDCWD, name, mode);
}

/* --- syscall(2) --- */

static long
do_openat2(long (*real)(long, ...), const long args[6])
{
	pthread_mutex_lock(&turn);
	long fd = real(SYS_openat2, args[0], args[1], args[2], args[3]);
	note_open((int)args[0], (const char *)args[1], (int)*(const unsigned long long *)args[2],
		  (int)fd);
	pthread_mutex_unlock(&turn);
	return fd;
}

long
syscall(long number, ...)
{
	REAL(syscall);
	long args[6];
	va_list list;

	va_start(list, number);
	for (int i = 0; i < 6; i++)
		args[i] = va_arg(list, long);
	va_end(list);
	if (number == SYS_openat2)
		return do_openat2(real, args);
	return real(number, args[0], args[1], args[2], args[3], args[4], args[5]);
}
