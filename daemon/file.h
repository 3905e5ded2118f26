/* SPDX-License-Identifier: MIT
 *
 * file.h - files beneath one directory handle, and writes that are whole or not at all.
 *
 * Every `name` here is a path relative to `root_fd` and is resolved by openat2(2) with
 * RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS: whatever somebody swaps in
 * meanwhile, nothing outside is reached.  Functions that block on the disk; not on the mind.
 * Errors: as error_errno() maps them.  Names in errors are quoted as given.
 */
#ifndef P2PD_FILE_H
#define P2PD_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "buf.h"
#include "error.h"

/* What tells that a file is still the same one with the same bytes. */
struct file_sig {
	uint64_t size_bytes;
	int64_t mtime_ns;
	int64_t ctime_ns;
	uint64_t device;
	uint64_t inode;
};

void	file_sig_of(const struct stat *st, struct file_sig *ret);
/* The device is not compared: a file system may get another number at the next boot. */
bool	file_sig_equal(const struct file_sig *a, const struct file_sig *b);

/* Opens the directory `path` (symlinks followed: it comes from the configuration), making it and
 * its parents (mode 0755 less umask) if `make`.  Gives an O_PATH-free, readable directory fd. */
int	file_open_root(const char *path, bool make, int *ret_fd, struct error *err);

/* Opens `name` beneath; flags and mode as open(2); O_CLOEXEC|O_NOFOLLOW|O_NONBLOCK added.  Gives the fd. */
int	file_open_beneath(int root_fd, const char *name, int flags, mode_t mode, int *ret_fd,
	    struct error *err);

/* Opens `name` beneath for reading and answers its stat.  P2P_FORBIDDEN if it is no regular file. */
int	file_open_regular(int root_fd, const char *name, int *ret_fd, struct stat *ret_stat,
	    struct error *err);

/* Opens the directory that holds `name` (root itself where there is no `/`), making missing
 * directories (0777 less umask) if `make`.  *ret_base points to the last part, inside of `name`. */
int	file_open_parent(int root_fd, const char *name, bool make, int *ret_fd,
	    const char **ret_base, struct error *err);

enum file_replace { FILE_KEEP_EXISTING, FILE_REPLACE };

/* Renames `from` to `to`, both beneath, making the directories of `to`; then syncs the directory of `to`.
 * FILE_KEEP_EXISTING: P2P_EXISTS if there is something named `to` (renameat2 RENAME_NOREPLACE). */
int	file_rename(int root_fd, const char *from, const char *to, enum file_replace replace,
	    struct error *err);

/* The two steps of it, for who moves many files into one directory: renames `from` to `to`, each one part in an open directory; makes
 * the names in a directory durable.  0, or -1 with errno; EEXIST: something is named `to`. */
int	file_move(int from_fd, const char *from, int to_fd, const char *to, enum file_replace replace);
int	file_sync_directory(int fd);

/* Removes the regular file `name`, then directories above it that are left empty if `prune`. */
int	file_remove(int root_fd, const char *name, bool prune, struct error *err);

/* Whole reads and writes; short ones and EINTR are carried on.  A read that meets the end early: P2P_IO. */
int	file_pread(int fd, void *data, size_t len, uint64_t offset, struct error *err);
/* What can be read without waiting for a disk, at most len bytes; 0: nothing, or it cannot be told. */
size_t	file_pread_cached(int fd, void *data, size_t len, uint64_t offset);
int	file_pwrite(int fd, const void *data, size_t len, uint64_t offset, struct error *err);

/* Appends the whole file to `buf`; P2P_TOO_LARGE past the buffer's maximum. */
int	file_read_all(int fd, struct buf *buf, struct error *err);
/* The same of a path (any path, for configuration and keys): P2P_FORBIDDEN if it is no regular file. */
int	file_read_path(const char *path, struct buf *buf, struct error *err);

/* Replaces `name` in the directory `dir_fd` atomically and durably: temporary file, fsync, rename, fsync. */
int	file_write_atomic(int dir_fd, const char *name, const void *data, size_t len, mode_t mode,
	    struct error *err);

/* Removes what file_write_atomic() left in a directory when the power went.  Nobody may write there meanwhile. */
void	 file_sweep_temporary(int dir_fd);

#endif
