/* SPDX-License-Identifier: MIT
 *
 * file.c - files beneath one directory handle, and writes that are whole or not at all.
 *
 * Whoever can write into a share can swap any part of it for a symbolic link at any moment.
 * So no path is ever checked and then used: the kernel resolves it beneath a held directory
 * and fails where it would leave (openat2), and whatever renames or removes holds the
 * parent's descriptor and names only the last part.  Names with `.`, `..` or an empty part
 * are refused here once more, although name_check() stands at the edge.
 *
 * Opening never waits: O_NONBLOCK keeps a FIFO from holding a thread, and fstat() on what
 * was opened, not on its name, says whether it is a regular file.
 *
 * What is renamed or removed is durable when the call answers 0: the directory is synced,
 * and so is the directory above each one that is made.  A failed fsync is an error, never
 * tried again.  Nothing here knows what the bytes mean.
 */
#include "file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "mem.h"

#define OPEN_TRIES  64    /* while openat2() answers EAGAIN: a rename raced with it */
#define READ_CHUNK  16384 /* bytes read at once into a buffer */
#define TEMP_TRIES  8
#define TEMP_PREFIX ".p2pd-" /* NAME_TEMP_PREFIX of name.h, which lies above: never shared */
/* Without O_NOFOLLOW, with which a link is ENOTDIR, not ELOOP; RESOLVE_NO_SYMLINKS is stricter. */
#define DIRECTORY (O_RDONLY | O_DIRECTORY | O_CLOEXEC)

void
file_sig_of(const struct stat *st, struct file_sig *ret)
{
	/* Times past 2262 wrap, which does no harm where only equality counts. */
	*ret = (struct file_sig){
		.size_bytes = (uint64_t)st->st_size,
		.mtime_ns = (int64_t)((uint64_t)st->st_mtim.tv_sec * 1000000000u +
				      (uint64_t)st->st_mtim.tv_nsec),
		.ctime_ns = (int64_t)((uint64_t)st->st_ctim.tv_sec * 1000000000u +
				      (uint64_t)st->st_ctim.tv_nsec),
		.device = st->st_dev,
		.inode = st->st_ino,
	};
}

bool
file_sig_equal(const struct file_sig *a, const struct file_sig *b)
{
	return a->size_bytes == b->size_bytes && a->mtime_ns == b->mtime_ns &&
	       a->ctime_ns == b->ctime_ns && a->inode == b->inode;
}

/* Makes the directories above `path` and `path` itself.  0, or -1 with errno. */
static int
make_path(const char *path)
{
	char *copy = mem_string(path);
	int rc = 0;

	for (char *at = copy + 1; rc == 0; at++) {
		char c = *at;

		if (c != '/' && c != '\0')
			continue;
		*at = '\0';
		if (mkdir(copy, 0755) < 0 && errno != EEXIST)
			rc = -1;
		*at = c;
		if (c == '\0')
			break;
	}
	free(copy);
	return rc;
}

int
file_open_root(const char *path, bool make, int *ret_fd, struct error *err)
{
	int fd = open(path, DIRECTORY);

	if (fd < 0 && errno == ENOENT && make && path[0] != '\0') {
		if (make_path(path) < 0)
			return error_errno(err, "cannot make the directory '%s'", path);
		fd = open(path, DIRECTORY);
	}
	if (fd < 0)
		return error_errno(err, "cannot open the directory '%s'", path);
	*ret_fd = fd;
	return 0;
}

/* True if `name` has no empty part, `.` or `..`, and is short enough for the kernel. */
static bool
stays_beneath(const char *name)
{
	if (strlen(name) >= PATH_MAX)
		return false;
	for (const char *part = name;;) {
		size_t len = strcspn(part, "/");

		if (len == 0 || (len == 1 && part[0] == '.') ||
		    (len == 2 && part[0] == '.' && part[1] == '.'))
			return false;
		if (part[len] == '\0')
			return true;
		part += len + 1;
	}
}

static int
check_beneath(const char *name, struct error *err)
{
	if (stays_beneath(name))
		return 0;
	return error_set(err, P2P_BAD_NAME, "no name of a file beneath a directory: '%s'", name);
}

/* openat2(2), which has no wrapper in glibc 2.36.  The fd, or -1 with errno. */
static int
open_beneath(int dir_fd, const char *name, int flags, mode_t mode)
{
	struct open_how how = {
		/* Strict about flags: O_PATH, which opens nothing, goes with no O_NONBLOCK. */
		.flags = (unsigned)(flags | O_CLOEXEC | (flags & O_PATH ? 0 : O_NONBLOCK)),
		/* The kernel refuses a mode where nothing can be made. */
		.mode = (flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE ? mode : 0,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
	};
	long fd = -1;

	for (int i = 0; i < OPEN_TRIES; i++) {
		fd = syscall(SYS_openat2, dir_fd, name, &how, sizeof(how));
		if (fd >= 0 || (errno != EAGAIN && errno != EINTR))
			break;
	}
	return (int)fd;
}

int
file_open_beneath(int root_fd, const char *name, int flags, mode_t mode, int *ret_fd,
		  struct error *err)
{
	int rc = check_beneath(name, err);
	if (rc < 0)
		return rc;

	int fd = open_beneath(root_fd, name, flags | O_NOFOLLOW, mode);
	if (fd < 0)
		return error_errno(err, "cannot open '%s'", name);
	*ret_fd = fd;
	return 0;
}

/* Answers the stat of `fd` if it is a regular file. */
static int
stat_regular(int fd, const char *name, struct stat *ret_stat, struct error *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return error_errno(err, "cannot stat '%s'", name);
	if (!S_ISREG(st.st_mode))
		return error_set(err, P2P_FORBIDDEN, "'%s' is no regular file", name);
	*ret_stat = st;
	return 0;
}

int
file_open_regular(int root_fd, const char *name, int *ret_fd, struct stat *ret_stat,
		  struct error *err)
{
	int rc = check_beneath(name, err);
	if (rc < 0)
		return rc;

	int fd = open_beneath(root_fd, name, O_RDONLY | O_NOCTTY | O_NOFOLLOW, 0);
	/* A socket, or a device without a driver. */
	if (fd < 0 && (errno == ENXIO || errno == ENODEV))
		return error_set(err, P2P_FORBIDDEN, "'%s' is no regular file", name);
	if (fd < 0)
		return error_errno(err, "cannot open '%s'", name);

	rc = stat_regular(fd, name, ret_stat, err);
	if (rc < 0) {
		close(fd);
		return rc;
	}
	*ret_fd = fd;
	return 0;
}

/* 0, or -1 with errno.  Some file systems cannot sync a directory and need not. */
int
file_sync_directory(int fd)
{
	return fsync(fd) < 0 && errno != EINVAL && errno != ENOTSUP ? -1 : 0;
}

/* Opens the directory `part`, one part, in `dir_fd`, and makes it if it is missing.  The fd, or
 * -1 with errno. */
static int
enter_directory(int dir_fd, const char *part)
{
	int fd = open_beneath(dir_fd, part, DIRECTORY, 0);

	if (fd >= 0 || errno != ENOENT)
		return fd;
	if (mkdirat(dir_fd, part, 0777) == 0) {
		if (file_sync_directory(dir_fd) < 0)
			return -1;
	} else if (errno != EEXIST) {
		return -1;
	}
	return open_beneath(dir_fd, part, DIRECTORY, 0);
}

/* Opens the directory path[0..len) part by part, making what is missing.  Takes `dir_fd`; the fd,
 * or -1 with errno. */
static int
walk_directories(int dir_fd, const char *path, size_t len)
{
	char part[NAME_MAX + 1];
	size_t part_len;

	for (size_t at = 0; at < len && dir_fd >= 0; at += part_len + 1) {
		int next = -1;

		part_len = strcspn(path + at, "/");
		if (part_len > NAME_MAX) {
			errno = ENAMETOOLONG;
		} else {
			memcpy(part, path + at, part_len);
			part[part_len] = '\0';
			next = enter_directory(dir_fd, part);
		}

		int saved = errno;
		close(dir_fd);
		errno = saved;
		dir_fd = next;
	}
	return dir_fd;
}

int
file_open_parent(int root_fd, const char *name, bool make, int *ret_fd, const char **ret_base,
		 struct error *err)
{
	int rc = check_beneath(name, err);
	if (rc < 0)
		return rc;

	const char *slash = strrchr(name, '/');
	size_t len = slash != NULL ? (size_t)(slash - name) : 0;
	char path[PATH_MAX];
	memcpy(path, name, len);
	path[len] = '\0';

	/* `.` rather than a dup: a descriptor of its own has an offset of its own. */
	int fd = open_beneath(root_fd, len > 0 ? path : ".", DIRECTORY, 0);
	if (fd < 0 && errno == ENOENT && make && len > 0)
		fd = walk_directories(open_beneath(root_fd, ".", DIRECTORY, 0), path, len);
	if (fd < 0 && errno == ENOTDIR && make)
		return error_set(err, P2P_EXISTS,
				 "'%s' cannot be a directory: a file is in the way", path);
	if (fd < 0)
		return error_errno(err, "cannot open the directory of '%s'", name);
	*ret_fd = fd;
	*ret_base = slash != NULL ? slash + 1 : name;
	return 0;
}

/* renameat2(2), and a way for file systems that know no flags (NFS). */
int
file_move(int from_fd, const char *from, int to_fd, const char *to, enum file_replace replace)
{
	if (replace == FILE_REPLACE)
		return renameat(from_fd, from, to_fd, to);
	if (renameat2(from_fd, from, to_fd, to, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno != EINVAL)
		return -1;
	/* A second link fails if the name is taken, which is all that we need. */
	if (linkat(from_fd, from, to_fd, to, 0) < 0)
		return -1;
	return unlinkat(from_fd, from, 0);
}

int
file_rename(int root_fd, const char *from, const char *to, enum file_replace replace,
	    struct error *err)
{
	int from_fd = -1, to_fd = -1;
	const char *from_base, *to_base;

	int rc = file_open_parent(root_fd, from, false, &from_fd, &from_base, err);
	if (rc < 0)
		goto out;
	rc = file_open_parent(root_fd, to, true, &to_fd, &to_base, err);
	if (rc < 0)
		goto out;
	if (file_move(from_fd, from_base, to_fd, to_base, replace) < 0)
		rc = error_errno(err, "cannot rename a file to '%s'", to);
	else if (file_sync_directory(to_fd) < 0)
		rc = error_errno(err, "cannot sync the directory of '%s'", to);
out:
	if (to_fd >= 0)
		close(to_fd);
	if (from_fd >= 0)
		close(from_fd);
	return rc;
}

/* Removes the directories above `name` from the inside out, as long as they are empty. */
static void
prune_above(int root_fd, const char *name)
{
	char *path = mem_string(name);
	char *slash;

	while ((slash = strrchr(path, '/')) != NULL) {
		const char *base;
		int fd;

		*slash = '\0';
		if (file_open_parent(root_fd, path, false, &fd, &base, NULL) < 0)
			break;

		int rc = unlinkat(fd, base, AT_REMOVEDIR);
		close(fd);
		if (rc < 0)
			break;
	}
	free(path);
}

int
file_remove(int root_fd, const char *name, bool prune, struct error *err)
{
	const char *base;
	struct stat st;
	int fd;

	int rc = file_open_parent(root_fd, name, false, &fd, &base, err);
	if (rc < 0)
		return rc;

	/* If it is swapped in between, another entry of the same directory goes: no harm outside.
	 */
	if (fstatat(fd, base, &st, AT_SYMLINK_NOFOLLOW) < 0)
		rc = error_errno(err, "cannot remove '%s'", name);
	else if (!S_ISREG(st.st_mode))
		rc = error_set(err, P2P_FORBIDDEN, "'%s' is no regular file", name);
	else if (unlinkat(fd, base, 0) < 0)
		rc = error_errno(err, "cannot remove '%s'", name);
	else if (file_sync_directory(fd) < 0)
		rc = error_errno(err, "cannot sync the directory of '%s'", name);
	close(fd);
	if (rc == 0 && prune)
		prune_above(root_fd, name);
	return rc;
}

int
file_pread(int fd, void *data, size_t len, uint64_t offset, struct error *err)
{
	for (size_t done = 0; done < len;) {
		ssize_t n = pread(fd, (char *)data + done, len - done, (off_t)(offset + done));

		if (n == 0)
			return error_set(err, P2P_IO,
					 "the file ends at byte %llu, before byte %llu",
					 (unsigned long long)(offset + done),
					 (unsigned long long)(offset + len));
		if (n < 0 && errno != EINTR)
			return error_errno(err, "cannot read at byte %llu",
					   (unsigned long long)(offset + done));
		if (n > 0)
			done += (size_t)n;
	}
	return 0;
}

size_t
file_pread_cached(int fd, void *data, size_t len, uint64_t offset)
{
	struct iovec part = { data, len };

	/* To preadv2() -1 is no offset, but the file's position. */
	if (offset > INT64_MAX)
		return 0;
	ssize_t got = preadv2(fd, &part, 1, (off_t)offset, RWF_NOWAIT);

	return got > 0 ? (size_t)got : 0;
}

int
file_pwrite(int fd, const void *data, size_t len, uint64_t offset, struct error *err)
{
	for (size_t done = 0; done < len;) {
		ssize_t n =
		    pwrite(fd, (const char *)data + done, len - done, (off_t)(offset + done));

		if (n < 0 && errno != EINTR)
			return error_errno(err, "cannot write at byte %llu",
					   (unsigned long long)(offset + done));
		if (n > 0)
			done += (size_t)n;
	}
	return 0;
}

/* Appends the file to `buf`, as far as it fits. */
static int
read_chunks(int fd, struct buf *buf, struct error *err)
{
	char chunk[READ_CHUNK];
	off_t offset = 0;

	while (!buf->full) {
		ssize_t n = pread(fd, chunk, sizeof(chunk), offset);

		if (n == 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return error_errno(err, "cannot read at byte %llu",
					   (unsigned long long)offset);
		if (n > 0) {
			buf_add(buf, chunk, (size_t)n);
			offset += n;
		}
	}
	return error_set(err, P2P_TOO_LARGE, "the file has more than %zu bytes", buf->max_bytes);
}

int
file_read_all(int fd, struct buf *buf, struct error *err)
{
	size_t len = buf->len;
	bool full = buf->full;
	int rc = read_chunks(fd, buf, err);

	if (rc < 0) {
		buf->len = len;
		buf->full = full;
		if (buf->data != NULL)
			buf->data[len] = '\0';
	}
	return rc;
}

int
file_read_path(const char *path, struct buf *buf, struct error *err)
{
	struct error why;
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	if (fd < 0 && (errno == ENXIO || errno == ENODEV))
		return error_set(err, P2P_FORBIDDEN, "'%s' is no regular file", path);
	if (fd < 0)
		return error_errno(err, "cannot open '%s'", path);

	int rc = stat_regular(fd, path, &st, err);
	if (rc == 0 && (rc = file_read_all(fd, buf, &why)) < 0)
		error_set(err, rc, "%s: '%s'", why.text, path);
	close(fd);
	return rc;
}

/* Opens a new file with a name of ours in `dir_fd`.  The fd, or -1 with errno. */
static int
open_temporary(int dir_fd, mode_t mode, char name[32])
{
	int fd = -1;

	for (int i = 0; i < TEMP_TRIES; i++) {
		uint64_t random;

		if (getrandom(&random, sizeof(random), 0) != sizeof(random))
			break;
		snprintf(name, 32, TEMP_PREFIX "%016llx", (unsigned long long)random);
		fd = open_beneath(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode);
		if (fd >= 0 || errno != EEXIST)
			break;
	}
	return fd;
}

int
file_write_atomic(int dir_fd, const char *name, const void *data, size_t len, mode_t mode,
		  struct error *err)
{
	char temp[32];
	int rc = check_beneath(name, err);

	if (rc < 0)
		return rc;
	if (strchr(name, '/') != NULL)
		return error_set(err, P2P_BAD_NAME, "'%s' is not one part", name);

	int fd = open_temporary(dir_fd, mode, temp);
	if (fd < 0)
		return error_errno(err, "cannot make a temporary file for '%s'", name);

	rc = file_pwrite(fd, data, len, 0, err);
	if (rc == 0 && fsync(fd) < 0)
		rc = error_errno(err, "cannot sync '%s'", name);
	close(fd);
	if (rc == 0 && renameat(dir_fd, temp, dir_fd, name) < 0)
		rc = error_errno(err, "cannot replace '%s'", name);
	if (rc < 0) {
		unlinkat(dir_fd, temp, 0);
		return rc;
	}
	if (file_sync_directory(dir_fd) < 0)
		return error_errno(err, "cannot sync the directory of '%s'", name);
	return 0;
}

/* True for a name as open_temporary() makes them. */
static bool
is_temporary(const char *name)
{
	const size_t prefix = strlen(TEMP_PREFIX);

	return strncmp(name, TEMP_PREFIX, prefix) == 0 && strlen(name) == prefix + 16 &&
	       strspn(name + prefix, "0123456789abcdef") == 16;
}

void
file_sweep_temporary(int dir_fd)
{
	struct dirent *entry;
	int fd = open_beneath(dir_fd, ".", DIRECTORY, 0);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);

	if (dir == NULL) {
		if (fd >= 0)
			close(fd);
		return;
	}
	while ((entry = readdir(dir)) != NULL)
		if (is_temporary(entry->d_name))
			unlinkat(dir_fd, entry->d_name, 0); /* else the next sweep does */
	closedir(dir);
}
