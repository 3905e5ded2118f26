/* SPDX-License-Identifier: MIT
 *
 * store_directory.c - the attributes of directories of the share.
 *
 * They are read where a holder of a tree is asked for them, and set where a tree was fetched.  Both
 * open beneath the share, without following links, and work on what is open; a name that no file
 * could lie below is not there.
 *
 * A directory that was made here got what the umask, or a default ACL, left of all permissions.  So
 * its own mode is the mask for the one that is to be kept: bits are only ever taken.  Those of the
 * owner stay, for this daemon goes on working there, and so do the set-group-ID bit that it may have
 * from the directory above and others that only an administrator gives.
 *
 * Nothing here is synced.  A power cut may cost a time or a mode, but never a file.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "name.h"
#include "store_inner.h"

#define KEPT_BITS (07000u | S_IRWXU)

static int
open_directory(struct store *store, const char *name, int flags, int *ret_fd, struct error *err)
{
	int rc = name_check(name, strlen(name), err);

	if (rc < 0)
		return rc;
	return file_open_beneath(store->root_fd, name, flags | O_DIRECTORY, 0, ret_fd, err);
}

int
store_stat_directory(struct store *store, const char *name, struct directory *ret,
		     struct error *err)
{
	struct file_sig sig;
	struct stat st;
	int fd;
	int rc = open_directory(store, name, O_PATH, &fd, err);

	if (rc < 0)
		return rc;
	if (fstat(fd, &st) < 0) {
		rc = error_errno(err, "cannot stat the directory '%s'", name);
	} else {
		file_sig_of(&st, &sig);
		*ret = (struct directory){ .is_there = true,
					   .mtime_ns = sig.mtime_ns,
					   .mode = st.st_mode & DIRECTORY_MODE_MAX };
	}
	close(fd);
	return rc;
}

int
store_set_directory(struct store *store, const char *name, const struct directory *directory,
		    struct error *err)
{
	struct stat st;
	int fd;
	int rc = store_check_place(store, err);

	if (rc == P2P_OK)
		rc = open_directory(store, name, O_RDONLY, &fd, err);
	if (rc < 0)
		return rc;
	if (fstat(fd, &st) < 0) {
		rc = error_errno(err, "cannot stat the directory '%s'", name);
	} else {
		mode_t mode = st.st_mode & (KEPT_BITS | directory->mode);
		const struct timespec times[2] = { { .tv_nsec = UTIME_OMIT },
						   store_timespec(directory->mtime_ns) };

		if (mode != (st.st_mode & 07777) && fchmod(fd, mode) < 0)
			rc = error_errno(err, "cannot set the mode of '%s'", name);
		else if (directory->mtime_ns != 0 && futimens(fd, times) < 0)
			rc = error_errno(err, "cannot set the time of '%s'", name);
	}
	close(fd);
	return rc;
}
