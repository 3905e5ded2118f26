/* SPDX-License-Identifier: MIT
 *
 * store.c - complete files to read, new files to write.
 *
 * Reading.  store_open() opens a name beneath the share and holds the open
 * file against what the catalog knows of it.  From then on only the descriptor
 * counts: whatever is renamed over the name, a reader goes on with the bytes
 * that it opened.  store_reader_check() finds out whether those bytes may have
 * been changed in place.
 *
 * Writing is in store_upload.c and partial.c.  Both make their files in
 * STORE_TEMP_DIR, which is ours alone (mode 0700) and on the share's own file
 * system, and end with store_seal() and one rename: the final name appears
 * with everything behind it durable, or not at all.  Uploads that a crash left
 * are removed by the next store_new(); partials are kept, and go on.
 *
 * A share on a file system that is mounted read-only is served; an upload to
 * it fails with the reason.  Nothing here knows the catalog: who commits or
 * removes tells it.
 */
#include "store_inner.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "log.h"
#include "mem.h"
#include "name.h"

#define PERMISSION_BITS 0777u /* no set-uid, set-gid or sticky bit is ever made */
#define NS_PER_S        1000000000

/* Opens STORE_TEMP_DIR and sees that only we can look into it.  Gives its fd. */
static int
open_temp_dir(int root_fd, bool may_make, int *ret_fd, struct error *err)
{
	struct stat st;
	int fd;

	if (may_make && mkdirat(root_fd, STORE_TEMP_DIR, 0700) < 0 && errno != EEXIST)
		return error_errno(err, "cannot make the directory '%s' in the share",
				   STORE_TEMP_DIR);
	int rc = file_open_beneath(root_fd, STORE_TEMP_DIR, O_RDONLY | O_DIRECTORY, 0, &fd, err);
	if (rc < 0)
		return rc;
	if (fstat(fd, &st) < 0 || ((st.st_mode & 07077) != 0 && fchmod(fd, 0700) < 0)) {
		rc = error_errno(err, "cannot make '%s' in the share private", STORE_TEMP_DIR);
		close(fd);
		return rc;
	}
	*ret_fd = fd;
	return P2P_OK;
}

/* Removes what uploads left that a crash ended.  Takes the fd. */
static void
remove_left_uploads(int temp_fd)
{
	DIR *dir = fdopendir(temp_fd);
	struct dirent *entry;

	if (dir == NULL) {
		close(temp_fd);
		return;
	}
	while ((entry = readdir(dir)) != NULL)
		if (strncmp(entry->d_name, STORE_UPLOAD_PREFIX, strlen(STORE_UPLOAD_PREFIX)) == 0 &&
		    unlinkat(temp_fd, entry->d_name, 0) < 0)
			log_debug("cannot remove the left upload '%s'", entry->d_name);
	closedir(dir);
}

static int
check_writable(int root_fd, struct error *err)
{
	if (faccessat(root_fd, ".", W_OK, AT_EACCESS) < 0)
		return error_errno(err, "no file can be made in it");
	return P2P_OK;
}

/* STORE_TEMP_DIR is not made before it is needed: this may be a bare mount point. */
struct store *
store_new(const char *share_directory, struct error *err)
{
	struct error why;
	int root_fd, temp_fd;

	if (file_open_root(share_directory, true, &root_fd, err) < 0)
		return NULL;
	int rc = open_temp_dir(root_fd, false, &temp_fd, &why);
	if (rc == P2P_OK)
		remove_left_uploads(temp_fd);
	else if (rc == P2P_NOT_FOUND)
		rc = check_writable(root_fd, &why);
	if (rc == P2P_FORBIDDEN) {
		log_info("the share is served, but cannot be written to: %s", why.text);
	} else if (rc < 0) {
		error_set(err, rc, "%s: %s", share_directory, why.text);
		close(root_fd);
		return NULL;
	}
	struct store *store = mem_zero(1, sizeof(*store));
	store->root_fd = root_fd;
	store->directory = mem_string(share_directory);
	pthread_mutex_init(&store->mu, NULL);
	return store;
}

void
store_free(struct store *store)
{
	if (store == NULL)
		return;
	close(store->root_fd);
	pthread_mutex_destroy(&store->mu);
	free(store->directory);
	free(store);
}

int
store_root_fd(const struct store *store)
{
	return store->root_fd;
}

uint64_t
store_room(const struct store *store, uint64_t reserve_bytes)
{
	struct statvfs vfs;

	if (fstatvfs(store->root_fd, &vfs) < 0)
		return 0;
	uint64_t free_bytes = (uint64_t)vfs.f_bavail * vfs.f_frsize;
	return free_bytes > reserve_bytes ? free_bytes - reserve_bytes : 0;
}

int
store_open_temp(struct store *store, const char *base, int flags, mode_t mode, int *ret_fd,
		struct error *err)
{
	char path[sizeof(STORE_TEMP_DIR) + NAME_MAX + 1];
	struct error why;

	if ((flags & O_CREAT) != 0 && store_check_place(store, err) < 0)
		return P2P_IO;
	snprintf(path, sizeof(path), "%s/%s", STORE_TEMP_DIR, base);
	int rc = file_open_beneath(store->root_fd, path, flags, mode, ret_fd, &why);
	if (rc != P2P_NOT_FOUND || (flags & O_CREAT) == 0) {
		if (rc < 0 && err != NULL)
			*err = why;
		return rc;
	}
	int temp_fd;
	rc = open_temp_dir(store->root_fd, true, &temp_fd, err);
	if (rc < 0)
		return rc;
	close(temp_fd);
	return file_open_beneath(store->root_fd, path, flags, mode, ret_fd, err);
}

struct timespec
store_timespec(int64_t ns)
{
	struct timespec time = { .tv_nsec = UTIME_NOW };

	if (ns != 0) {
		int64_t rest = ns % NS_PER_S;
		if (rest < 0) /* before 1970 */
			rest += NS_PER_S;
		time.tv_nsec = (long)rest;
		time.tv_sec = (time_t)((ns - rest) / NS_PER_S);
	}
	return time;
}

int
store_set_attributes(int fd, mode_t mode, int64_t mtime_ns, struct error *err)
{
	const struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, store_timespec(mtime_ns) };

	if (fchmod(fd, mode & PERMISSION_BITS) < 0)
		return error_errno(err, "cannot set the mode of the new file");
	if (futimens(fd, times) < 0)
		return error_errno(err, "cannot set the time of the new file");
	return P2P_OK;
}

int
store_seal(int fd, mode_t mode, int64_t mtime_ns, struct error *err)
{
	int rc = store_set_attributes(fd, mode, mtime_ns, err);

	/* Not fdatasync: mode and time must not come back as they were before. */
	if (rc == P2P_OK && fsync(fd) < 0)
		rc = error_errno(err, "cannot sync the new file");
	return rc;
}

/* Opens `name`, which must be one that can be shared: nothing of STORE_TEMP_DIR gets out here. */
static int
open_shared(struct store *store, const char *name, int *ret_fd, struct stat *ret_stat,
	    struct error *err)
{
	int rc = name_check(name, strlen(name), err);

	if (rc < 0)
		return rc;
	return file_open_regular(store->root_fd, name, ret_fd, ret_stat, err);
}

/* Takes the fd. */
static struct store_reader *
reader_new(int fd, const struct content_id *content)
{
	struct store_reader *reader = mem_zero(1, sizeof(*reader));

	reader->fd = fd;
	reader->content = *content;
	atomic_init(&reader->refs, 1);
	return reader;
}

int
store_open(struct store *store, const char *name, const struct content_id *content,
	   const struct file_sig *sig, struct store_reader **ret, struct error *err)
{
	struct file_sig now;
	struct stat st;
	int fd;

	int rc = open_shared(store, name, &fd, &st, err);
	if (rc < 0)
		return rc;
	file_sig_of(&st, &now);
	if (!file_sig_equal(&now, sig) || now.size_bytes != content->size_bytes) {
		close(fd);
		return error_set(err, P2P_CONFLICT, "'%s' was changed on the disk", name);
	}
	struct store_reader *reader = reader_new(fd, content);
	reader->sig = now;
	*ret = reader;
	return P2P_OK;
}

struct store_reader *
store_reader_of_partial(int fd, const struct content_id *content)
{
	struct store_reader *reader = reader_new(fd, content);

	reader->is_partial = true;
	return reader;
}

struct store_reader *
store_reader_ref(struct store_reader *reader)
{
	atomic_fetch_add_explicit(&reader->refs, 1, memory_order_relaxed);
	return reader;
}

void
store_reader_unref(struct store_reader *reader)
{
	if (reader == NULL || atomic_fetch_sub_explicit(&reader->refs, 1, memory_order_acq_rel) > 1)
		return;
	close(reader->fd);
	free(reader);
}

/*
 * Size and mtime alone can be deceived: who writes and sets the mtime back (`touch -r`, some
 * copying tools) leaves only the ctime.  But the ctime moves for a chmod or a rename too, where
 * no byte changed.  While the file has a name a moved ctime is therefore taken for a change: the
 * worst that a false alarm costs is one more opening, where a miss would have us send wrong bytes
 * and be dropped as a liar.  A file without a name was replaced or removed, which moved its ctime;
 * nobody can open it any more, so size and mtime tell, and whoever reads it may go on.
 * A partial file is written to all the time, but never again where it was verified.
 */
int
store_reader_check(const struct store_reader *reader)
{
	struct file_sig now;
	struct stat st;

	if (reader->is_partial)
		return P2P_OK;
	if (fstat(reader->fd, &st) < 0)
		return P2P_CONFLICT;
	file_sig_of(&st, &now);
	if (st.st_nlink == 0)
		now.ctime_ns = reader->sig.ctime_ns;
	return file_sig_equal(&now, &reader->sig) ? P2P_OK : P2P_CONFLICT;
}

int
store_remove(struct store *store, const char *name, const struct file_sig *sig, struct error *err)
{
	struct file_sig now;
	struct stat st;
	int fd;

	int rc = store_check_place(store, err);
	if (rc == P2P_OK)
		rc = open_shared(store, name, &fd, &st, err);
	if (rc < 0)
		return rc;
	close(fd);
	file_sig_of(&st, &now);
	if (sig != NULL && !file_sig_equal(&now, sig))
		return error_set(err, P2P_CONFLICT, "'%s' was changed on the disk", name);
	return file_remove(store->root_fd, name, true, err);
}

/* Hashes the open file. */
static int
hash_file(int fd, uint64_t size_bytes, const atomic_bool *is_stopping, struct content_id *ret)
{
	struct merkle_builder *builder = merkle_builder_new();
	unsigned char *block = mem_alloc(STORE_BLOCK);
	struct digest *layer = NULL;
	size_t layer_count;
	int rc = P2P_OK;

	for (uint64_t at = 0; rc == P2P_OK && at < size_bytes; at += STORE_BLOCK) {
		size_t len = size_bytes - at < STORE_BLOCK ? size_bytes - at : STORE_BLOCK;
		rc = file_pread(fd, block, len, at, NULL);
		if (rc == P2P_OK)
			rc = merkle_builder_feed(builder, block, len);
		if (is_stopping != NULL && atomic_load(is_stopping))
			rc = P2P_CANCELLED;
	}
	merkle_builder_end(builder, ret, &layer, &layer_count);
	merkle_builder_free(builder);
	free(layer);
	free(block);
	return rc;
}

int
store_match(struct store *store, const char *name, const struct content_id *content,
	    const atomic_bool *is_stopping, struct file_sig *ret_sig)
{
	struct content_id found = { 0 };
	struct file_sig before, after;
	struct stat st;
	int fd;

	int rc = open_shared(store, name, &fd, &st, NULL);
	/* A symbolic link, a directory: something stands there.  Trouble of the moment says nothing. */
	if (rc == P2P_FORBIDDEN)
		return P2P_EXISTS;
	if (rc < 0)
		return rc;
	file_sig_of(&st, &before);
	rc = P2P_EXISTS;
	if (before.size_bytes == content->size_bytes)
		rc = hash_file(fd, before.size_bytes, is_stopping, &found);
	if (rc == P2P_OK && fstat(fd, &st) < 0)
		rc = P2P_IO;
	file_sig_of(&st, &after);
	if (rc == P2P_OK && (!content_equal(&found, content) || !file_sig_equal(&before, &after)))
		rc = P2P_EXISTS;
	if (rc == P2P_OK && ret_sig != NULL)
		*ret_sig = after;
	close(fd);
	return rc;
}
