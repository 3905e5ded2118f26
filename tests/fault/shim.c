/* SPDX-License-Identifier: MIT
 *
 * shim.c - faults on demand: a library for LD_PRELOAD that stands between a program and the kernel.
 *
 * It counts calls of some kinds, with one atomic counter for all threads, and at the nth of them something else happens
 * than was asked for: an error, a part of the work, or the end of the process.  What is counted is said by the
 * environment, read once:
 *
 *	FAULT_CALLS	kinds of calls, with spaces between: the names in CALLS below (pwrite64 is pwrite, and so on),
 *			or a group: disk (all that change a disk), sync, net
 *	FAULT_BELOW	only calls on files below these directories, with colons between; without it on any
 *			descriptor.  Without a link on the way: the kernel's own names are compared
 *	FAULT_WHEN	only while this file exists
 *	FAULT_NTH	the nth counted call, from 1 (the default)
 *	FAULT_EVERY	and then each so many; without it no other
 *	FAULT_DO	the name of an errno (ENOSPC, EIO, EMFILE, ENFILE, EINTR, EAGAIN, ENOMEM, EDQUOT, EROFS): the
 *			call fails with it;  short: half of the bytes are moved;  kill: SIGKILL instead of the call;
 *			tear: half of the bytes, then SIGKILL;  none (the default): nothing
 *	FAULT_LOG	file to which a line is appended for each call that met the fault: number, kind, path
 *
 * FAULT_CLOCK, which needs nothing of these, is a file with a number: so many seconds the wall clock is off, from the moment
 * that it is written.  The clocks that only go on are left alone, as when somebody sets the time.
 *
 * With FAULT_DO=none and FAULT_EVERY=1 the log is a record of all counted calls; its length is the number of points at
 * which the same run can be killed.
 *
 * The program reaches the kernel through glibc's symbols, as do SQLite, libuv, libcurl and libmicrohttpd; openat2 and
 * renameat2 through syscall(2) are seen as well.  What glibc calls inside itself (stdio, opendir) is not.  Nor is what
 * changes through a mapping, as SQLite's index of its journal, which is no loss: it is made anew after a crash.
 */
#define _GNU_SOURCE
#undef _FILE_OFFSET_BITS
#undef _FORTIFY_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* CALL(kind, groups) */
#define CALLS(CALL) \
	CALL(write, DISK) \
	CALL(pwrite, DISK) \
	CALL(fsync, DISK | SYNC) \
	CALL(fdatasync, DISK | SYNC) \
	CALL(rename, DISK) \
	CALL(link, DISK) \
	CALL(unlink, DISK) \
	CALL(mkdir, DISK) \
	CALL(ftruncate, DISK) \
	CALL(fallocate, DISK) \
	CALL(fchmod, DISK) \
	CALL(futimens, DISK) \
	CALL(create, DISK) /* open with O_CREAT; it is open, too */ \
	CALL(open, 0) \
	CALL(read, 0) \
	CALL(pread, 0) \
	CALL(sendfile, NET) \
	CALL(socket, NET) \
	CALL(accept, NET) \
	CALL(recv, NET) \
	CALL(send, NET) \
	CALL(malloc, 0) /* and its like; its path is "/malloc" */

enum group { DISK = 1, SYNC = 2, NET = 4 };

#define AS_ENUM(kind, groups) CALL_##kind,
enum call { CALLS(AS_ENUM) CALL_COUNT };

static const struct {
	const char *name;
	unsigned groups;
} calls[] = {
#define AS_ROW(kind, groups) { #kind, groups },
	CALLS(AS_ROW)
};

static const struct {
	const char *name;
	int code;
} errors[] = {
	{ "ENOSPC", ENOSPC }, { "EIO", EIO },	    { "EMFILE", EMFILE },
	{ "ENFILE", ENFILE }, { "EINTR", EINTR },   { "EAGAIN", EAGAIN },
	{ "ENOMEM", ENOMEM }, { "EDQUOT", EDQUOT }, { "EROFS", EROFS },
};

/* What becomes of a call. */
enum fate { PASS, FAIL, SHORTEN, DIE, TEAR };

static struct {
	unsigned long counted; /* bits by enum call */
	const char *below;     /* or NULL */
	const char *when;      /* or NULL */
	const char *clock;     /* or NULL */
	unsigned long nth, every;
	enum fate fate;
	int error; /* of FAIL */
	int log_fd;
	bool is_on; /* last: the rest is there */
} plan = { .log_fd = -1 };

static atomic_ulong counter;

/* The next of the same name, which may be a sanitizer's. */
#define REAL(name) \
	static __typeof__(name) *real; \
	if (real == NULL) \
	real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

/* --- the plan --- */

static unsigned long
parse_kinds(const char *text)
{
	unsigned long kinds = 0;
	char copy[512], *rest = copy, *word;

	snprintf(copy, sizeof(copy), "%s", text);
	while ((word = strsep(&rest, " ,")) != NULL) {
		unsigned group = strcmp(word, "disk") == 0   ? DISK
				 : strcmp(word, "sync") == 0 ? SYNC
				 : strcmp(word, "net") == 0  ? NET
							     : 0;
		for (int i = 0; i < CALL_COUNT; i++)
			if ((calls[i].groups & group) != 0 || strcmp(word, calls[i].name) == 0)
				kinds |= 1ul << i;
	}
	return kinds;
}

static unsigned long
number_of(const char *variable, unsigned long otherwise)
{
	const char *text = getenv(variable);

	return text != NULL ? strtoul(text, NULL, 10) : otherwise;
}

static void
parse_fate(const char *text)
{
	plan.fate = strcmp(text, "kill") == 0	 ? DIE
		    : strcmp(text, "tear") == 0	 ? TEAR
		    : strcmp(text, "short") == 0 ? SHORTEN
						 : PASS;
	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
		if (strcmp(text, errors[i].name) != 0)
			continue;
		plan.fate = FAIL;
		plan.error = errors[i].code;
	}
}

__attribute__((constructor)) static void
make_plan(void)
{
	const char *kinds = getenv("FAULT_CALLS"), *what = getenv("FAULT_DO");
	const char *log = getenv("FAULT_LOG");

	plan.clock = getenv("FAULT_CLOCK");
	if (kinds == NULL)
		return;
	plan.counted = parse_kinds(kinds);
	plan.below = getenv("FAULT_BELOW");
	plan.when = getenv("FAULT_WHEN");
	plan.nth = number_of("FAULT_NTH", 1);
	plan.every = number_of("FAULT_EVERY", 0);
	parse_fate(what != NULL ? what : "none");
	if (log != NULL)
		plan.log_fd = (int)syscall(SYS_openat, AT_FDCWD, log,
					   O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	plan.is_on = true;
}

/* --- whose turn is it? --- */

static bool
is_below(const char *path)
{
	for (const char *at = plan.below; *at != '\0';) {
		size_t len = strcspn(at, ":");

		if (len > 0 && strncmp(path, at, len) == 0 &&
		    (path[len] == '/' || path[len] == '\0'))
			return true;
		at += len + (at[len] == ':');
	}
	return false;
}

/* The path of `fd`, and of `name` in it if there is one. */
static void
path_of(int fd, const char *name, char ret[PATH_MAX])
{
	char link[32];
	ssize_t len = 0;

	if (name == NULL || name[0] != '/') {
		if (fd == AT_FDCWD)
			snprintf(link, sizeof(link), "/proc/self/cwd");
		else
			snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
		len = syscall(SYS_readlinkat, AT_FDCWD, link, ret, PATH_MAX - 1);
		len = len < 0 ? 0 : len;
	}
	ret[len] = '\0';
	if (name != NULL)
		snprintf(ret + len, PATH_MAX - (size_t)len, "%s%s", name[0] != '/' ? "/" : "", name);
}

static void
log_call(unsigned long n, enum call call, const char *path)
{
	char line[PATH_MAX + 64];
	int len = snprintf(line, sizeof(line), "%lu %s %s\n", n, calls[call].name, path);

	if (plan.log_fd >= 0)
		(void)!syscall(SYS_write, plan.log_fd, line, (size_t)len);
}

static void
die(void)
{
	syscall(SYS_kill, syscall(SYS_getpid), SIGKILL);
	for (;;)
		pause();
}

/* Counts the call.  What becomes of it; of FAIL errno is set. */
static enum fate
fate_of(enum call call, int fd, const char *name)
{
	char path[PATH_MAX];
	int saved = errno;

	if (!plan.is_on || (plan.counted & 1ul << call) == 0 || fd == plan.log_fd ||
	    (plan.when != NULL && syscall(SYS_faccessat, AT_FDCWD, plan.when, F_OK) < 0)) {
		errno = saved;
		return PASS;
	}
	path_of(fd, name, path);
	errno = saved;
	if (plan.below != NULL && !is_below(path))
		return PASS;
	unsigned long n = atomic_fetch_add(&counter, 1) + 1;
	bool is_due = n == plan.nth ||
		      (plan.every > 0 && n > plan.nth && (n - plan.nth) % plan.every == 0);
	if (!is_due)
		return PASS;
	log_call(n, call, path);
	if (plan.fate == DIE)
		die();
	errno = plan.fate == FAIL ? plan.error : saved;
	return plan.fate;
}

/* Of a call that moves no bytes. */
static bool
is_refused(enum call call, int fd, const char *name)
{
	enum fate fate = fate_of(call, fd, name);

	if (fate == TEAR)
		die();
	return fate == FAIL;
}

/* --- calls that move bytes --- */

#define HALF(len) ((len) > 1 ? (len) / 2 : (len))

/* SYMBOL(int fd, P data, size_t len, MORE) of the kind `kind`. */
#define MOVES(kind, symbol, data_type, more, more_names) \
	ssize_t symbol(int fd, data_type data, size_t len more) \
	{ \
		REAL(symbol); \
		enum fate fate = fate_of(CALL_##kind, fd, NULL); \
		if (fate == FAIL) \
			return -1; \
		if (fate == SHORTEN || fate == TEAR) \
			len = HALF(len); \
		ssize_t n = real(fd, data, len more_names); \
		if (fate == TEAR) \
			die(); \
		return n; \
	}
#define AND(...) , __VA_ARGS__
#define NOTHING

MOVES(write, write, const void *, NOTHING, NOTHING)
MOVES(pwrite, pwrite, const void *, AND(off_t at), AND(at))
MOVES(pwrite, pwrite64, const void *, AND(off64_t at), AND(at))
MOVES(read, read, void *, NOTHING, NOTHING)
MOVES(pread, pread, void *, AND(off_t at), AND(at))
MOVES(pread, pread64, void *, AND(off64_t at), AND(at))
MOVES(recv, recv, void *, AND(int flags), AND(flags))
MOVES(send, send, const void *, AND(int flags), AND(flags))

ssize_t
sendfile64(int to, int from, off64_t *at, size_t len)
{
	REAL(sendfile64);
	enum fate fate = fate_of(CALL_sendfile, from, NULL);

	if (fate == FAIL)
		return -1;
	return real(to, from, at, fate == PASS ? len : HALF(len));
}

/* Vectors: only the first part of them, where there are several. */
#define VECTORS(kind, symbol) \
	ssize_t symbol(int fd, const struct iovec *parts, int count) \
	{ \
		REAL(symbol); \
		enum fate fate = fate_of(CALL_##kind, fd, NULL); \
		if (fate == FAIL) \
			return -1; \
		ssize_t n = real(fd, parts, fate == PASS ? count : HALF(count)); \
		if (fate == TEAR) \
			die(); \
		return n; \
	}
VECTORS(write, writev)
VECTORS(read, readv)

ssize_t
sendmsg(int fd, const struct msghdr *message, int flags)
{
	REAL(sendmsg);
	struct msghdr part = *message;
	enum fate fate = fate_of(CALL_send, fd, NULL);

	if (fate == FAIL)
		return -1;
	if (fate != PASS)
		part.msg_iovlen = HALF(part.msg_iovlen);
	return real(fd, &part, flags);
}

ssize_t
recvmsg(int fd, struct msghdr *message, int flags)
{
	REAL(recvmsg);

	return is_refused(CALL_recv, fd, NULL) ? -1 : real(fd, message, flags);
}

/* --- calls on one descriptor --- */

#define ON_FD(kind, symbol, more, more_names) \
	int symbol(int fd more) \
	{ \
		REAL(symbol); \
		return is_refused(CALL_##kind, fd, NULL) ? -1 : real(fd more_names); \
	}

ON_FD(fsync, fsync, NOTHING, NOTHING)
ON_FD(fdatasync, fdatasync, NOTHING, NOTHING)
ON_FD(ftruncate, ftruncate, AND(off_t len), AND(len))
ON_FD(ftruncate, ftruncate64, AND(off64_t len), AND(len))
ON_FD(fallocate, fallocate, AND(int mode, off_t at, off_t len), AND(mode, at, len))
ON_FD(fallocate, fallocate64, AND(int mode, off64_t at, off64_t len), AND(mode, at, len))
ON_FD(fchmod, fchmod, AND(mode_t mode), AND(mode))
ON_FD(futimens, futimens, AND(const struct timespec times[2]), AND(times))
ON_FD(accept, accept, AND(struct sockaddr *to, socklen_t *len), AND(to, len))
ON_FD(accept, accept4, AND(struct sockaddr *to, socklen_t *len, int flags), AND(to, len, flags))

int
socket(int domain, int type, int protocol)
{
	REAL(socket);

	return is_refused(CALL_socket, -1, "socket") ? -1 : real(domain, type, protocol);
}

/* --- calls on a name --- */

int
rename(const char *from, const char *to)
{
	REAL(rename);

	return is_refused(CALL_rename, AT_FDCWD, to) ? -1 : real(from, to);
}

int
renameat(int from_fd, const char *from, int to_fd, const char *to)
{
	REAL(renameat);

	return is_refused(CALL_rename, to_fd, to) ? -1 : real(from_fd, from, to_fd, to);
}

int
renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags)
{
	REAL(renameat2);

	return is_refused(CALL_rename, to_fd, to) ? -1 : real(from_fd, from, to_fd, to, flags);
}

int
linkat(int from_fd, const char *from, int to_fd, const char *to, int flags)
{
	REAL(linkat);

	return is_refused(CALL_link, to_fd, to) ? -1 : real(from_fd, from, to_fd, to, flags);
}

int
unlink(const char *name)
{
	REAL(unlink);

	return is_refused(CALL_unlink, AT_FDCWD, name) ? -1 : real(name);
}

int
unlinkat(int fd, const char *name, int flags)
{
	REAL(unlinkat);

	return is_refused(CALL_unlink, fd, name) ? -1 : real(fd, name, flags);
}

int
mkdir(const char *name, mode_t mode)
{
	REAL(mkdir);

	return is_refused(CALL_mkdir, AT_FDCWD, name) ? -1 : real(name, mode);
}

int
mkdirat(int fd, const char *name, mode_t mode)
{
	REAL(mkdirat);

	return is_refused(CALL_mkdir, fd, name) ? -1 : real(fd, name, mode);
}

static bool
is_open_refused(int fd, const char *name, int flags)
{
	return is_refused(CALL_open, fd, name) ||
	       ((flags & O_CREAT) != 0 && is_refused(CALL_create, fd, name));
}

#define OPENS(symbol, first, first_name, dir_fd) \
	int symbol(first const char *name, int flags, ...) \
	{ \
		REAL(symbol); \
		va_list list; \
		va_start(list, flags); \
		mode_t mode = (flags & (O_CREAT | __O_TMPFILE)) != 0 ? va_arg(list, mode_t) : 0; \
		va_end(list); \
		return is_open_refused(dir_fd, name, flags) ? -1 \
							    : real(first_name name, flags, mode); \
	}
#define FD_AND fd,

OPENS(open, , , AT_FDCWD)
OPENS(open64, , , AT_FDCWD)
OPENS(openat, int fd AND(), FD_AND, fd)
OPENS(openat64, int fd AND(), FD_AND, fd)

/* --- memory: glibc's own, for dlsym() itself may ask for some.  A sanitizer has its own, and is not to be had with this. --- */

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t count, size_t bytes);
void *__libc_realloc(void *old, size_t bytes);

static bool
is_memory_refused(void)
{
	return plan.is_on && is_refused(CALL_malloc, -1, "/malloc");
}

void *
malloc(size_t bytes)
{
	return is_memory_refused() ? NULL : __libc_malloc(bytes);
}

void *
calloc(size_t count, size_t bytes)
{
	return is_memory_refused() ? NULL : __libc_calloc(count, bytes);
}

void *
realloc(void *old, size_t bytes)
{
	return is_memory_refused() ? NULL : __libc_realloc(old, bytes);
}
#endif

/* --- the wall clock --- */

/* Seconds. */
static long
clock_off(void)
{
	char text[32] = "";
	int saved = errno;

	if (plan.clock == NULL)
		return 0;
	long fd = syscall(SYS_openat, AT_FDCWD, plan.clock, O_RDONLY | O_CLOEXEC, 0);
	if (fd >= 0) {
		(void)!syscall(SYS_read, fd, text, sizeof(text) - 1);
		syscall(SYS_close, fd);
	}
	errno = saved;
	return strtol(text, NULL, 10);
}

int
clock_gettime(clockid_t clock, struct timespec *ret)
{
	REAL(clock_gettime);
	int rc = real(clock, ret);

	if (rc == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
		ret->tv_sec += clock_off();
	return rc;
}

int
gettimeofday(struct timeval *ret, void *zone)
{
	REAL(gettimeofday);
	int rc = real(ret, zone);

	if (rc == 0)
		ret->tv_sec += clock_off();
	return rc;
}

time_t
time(time_t *ret)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	if (ret != NULL)
		*ret = now.tv_sec;
	return now.tv_sec;
}

/* The kernel knows nothing of our clock.  What is less than fifteen years is the time since it started. */
int
pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex, const struct timespec *until)
{
	struct timespec real_until = *until;
	bool is_wall = until->tv_sec > 15 * 365 * 86400l;

	if (is_wall)
		real_until.tv_sec -= clock_off();
	return pthread_cond_clockwait(cond, mutex, is_wall ? CLOCK_REALTIME : CLOCK_MONOTONIC,
				      &real_until);
}

/* --- syscall(2) --- */

static bool
is_syscall_refused(long number, const long args[6])
{
	const char *name = (const char *)args[1];

	if (number == SYS_openat2)
		return is_open_refused((int)args[0], name, (int)*(const unsigned long long *)args[2]);
	if (number == SYS_renameat2)
		return is_refused(CALL_rename, (int)args[2], (const char *)args[3]);
	return false;
}

/* Our own go to the real one, too, before anything is counted: numbers that are not among ours pass. */
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
	if (is_syscall_refused(number, args))
		return -1;
	return real(number, args[0], args[1], args[2], args[3], args[4], args[5]);
}
