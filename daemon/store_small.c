/* SPDX-License-Identifier: MIT
 *
 * store_small.c - many small new files, for the price of few waits.
 *
 * What makes one file durable is a wait for the disk, and another for the directory that gets its
 * name.  Of thousands of small files nearly all the time would go there.  So a group goes through
 * each step together:
 *
 *	write	each into a temporary file, as an upload is, with its mode and time; the kernel is told
 *		to begin to write it out, which it does while we are at the next one
 *	sync	each by fsync(): what is on its way already is not waited for twice, and with a journal
 *		the first one commits for all
 *	name	each renamed; when the directory changes, and at the end, it is synced, once
 *
 * The order for each file is that of any other new file (store_upload.c, partial_sync.c): no name
 * before bytes, mode and time are durable, and nothing counts as done before the name is.  A kill
 * leaves temporary files, which the next start removes, and whole files.
 *
 * syncfs() would wait for everything that anybody has written to this disk, and would not say which
 * file failed.  Descriptors stay open from write to sync, so that no error of the disk gets lost.
 */
#include "store_small.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "name.h"

#define BLOCK_BYTES 4096 /* a file takes its bytes rounded up to these, about */

struct group {
	struct store *store;
	struct store_small *files;
	size_t count;
	enum file_replace replace;
	mode_t mode_mask; /* permission bits that the umask leaves */
	int temp_fd;      /* STORE_TEMP_DIR, once a file was made there */
};

/* --- writing --- */

static void
fail(struct store_small *file, int code, const char *why)
{
	error_set(&file->error, code, "\"%s\": %s", file->name, why);
}

/* Mode 0777 asks which bits the umask, or a default ACL, leaves to a new file; nobody but us gets into that directory. */
static int
make_temp(struct group *group, struct store_small *file, struct error *err)
{
	uint64_t random;
	struct stat st;

	if (getrandom(&random, sizeof(random), 0) != sizeof(random))
		return error_errno(err, "no random number for a temporary name");
	snprintf(file->temp, sizeof(file->temp), STORE_UPLOAD_PREFIX "%016llx",
		 (unsigned long long)random);
	int rc = store_open_temp(group->store, file->temp, O_RDWR | O_CREAT | O_EXCL, 0777,
				 &file->fd, err);
	if (rc == P2P_OK && group->mode_mask == 0)
		group->mode_mask = fstat(file->fd, &st) < 0 ? 0600 : st.st_mode & 0777;
	return rc;
}

static int
write_file(struct group *group, struct store_small *file, struct error *err)
{
	int rc = name_check(file->name, strlen(file->name), err);

	if (rc == P2P_OK)
		rc = make_temp(group, file, err);
	if (rc == P2P_OK)
		rc = file_pwrite(file->fd, file->data, file->len, 0, err);
	if (rc == P2P_OK)
		rc = store_set_attributes(file->fd, file->mode & group->mode_mask, file->mtime_ns,
					  err);
	/* A hint: whether it came to pass is seen by fsync(). */
	if (rc == P2P_OK)
		(void)sync_file_range(file->fd, 0, 0, SYNC_FILE_RANGE_WRITE);
	return rc;
}

/* What was begun and cannot be ended. */
static void
drop_temp(struct group *group, struct store_small *file)
{
	char path[sizeof(STORE_TEMP_DIR) + sizeof(file->temp)];

	if (file->fd < 0)
		return;
	snprintf(path, sizeof(path), STORE_TEMP_DIR "/%s", file->temp);
	file_remove(store_root_fd(group->store), path, false, NULL); /* else the next start does */
	close(file->fd);
	file->fd = -1;
}

static void
write_group(struct group *group, const atomic_bool *is_stopping)
{
	for (size_t i = 0; i < group->count; i++) {
		struct store_small *file = &group->files[i];
		if (is_stopping != NULL && atomic_load(is_stopping))
			fail(file, P2P_CANCELLED, "it was stopped");
		else
			write_file(group, file, &file->error);
	}
}

static void
sync_group(struct group *group)
{
	for (size_t i = 0; i < group->count; i++) {
		struct store_small *file = &group->files[i];
		if (file->error.code == P2P_OK && fsync(file->fd) < 0)
			error_errno(&file->error, "cannot sync the new file");
		if (file->error.code != P2P_OK)
			drop_temp(group, file);
	}
}

/* --- naming --- */

/* Files that got their names in one directory. */
struct naming {
	int dir_fd;      /* -1: there is none yet */
	const char *dir; /* its path, `dir_len` bytes of a name */
	size_t dir_len;
	size_t first; /* of the group */
};

/* The names up to `end` are durable, or those files are not there for all we know. */
static void
end_directory(struct group *group, struct naming *naming, size_t end)
{
	if (naming->dir_fd < 0)
		return;
	bool is_synced = file_sync_directory(naming->dir_fd) == 0;
	for (size_t i = naming->first; i < end && !is_synced; i++)
		if (group->files[i].error.code == P2P_OK)
			fail(&group->files[i], P2P_IO, "its directory cannot be synced");
	close(naming->dir_fd);
	naming->dir_fd = -1;
}

/* The directory of a file into naming->dir_fd; the one before is ended if it is another. */
static int
enter_directory(struct group *group, struct naming *naming, size_t index, const char **ret_base,
		struct error *err)
{
	const char *name = group->files[index].name, *slash = strrchr(name, '/');
	size_t len = slash != NULL ? (size_t)(slash - name) : 0;

	*ret_base = slash != NULL ? slash + 1 : name;
	if (naming->dir_fd >= 0 && len == naming->dir_len && memcmp(naming->dir, name, len) == 0)
		return P2P_OK;
	end_directory(group, naming, index);
	naming->dir = name;
	naming->dir_len = len;
	naming->first = index;
	return file_open_parent(store_root_fd(group->store), name, true, &naming->dir_fd, ret_base,
				err);
}

static int
name_file(struct group *group, struct naming *naming, size_t index, struct error *err)
{
	struct store_small *file = &group->files[index];
	const char *base;
	struct stat st;

	int rc = enter_directory(group, naming, index, &base, err);
	if (rc < 0)
		return rc;
	if (file_move(group->temp_fd, file->temp, naming->dir_fd, base, group->replace) < 0)
		return error_errno(err, "cannot rename a file to '%s'", file->name);
	/* Only now: the rename moved the ctime. */
	if (fstat(file->fd, &st) < 0)
		rc = error_errno(err, "cannot stat '%s'", file->name);
	else
		file_sig_of(&st, &file->sig);
	close(file->fd);
	file->fd = -1;
	return rc;
}

static void
name_group(struct group *group)
{
	struct naming naming = { .dir_fd = -1 };

	for (size_t i = 0; i < group->count; i++) {
		struct store_small *file = &group->files[i];
		if (file->error.code == P2P_OK && name_file(group, &naming, i, &file->error) < 0)
			drop_temp(group, file);
	}
	end_directory(group, &naming, group->count);
}

/* --- the whole --- */

static bool
has_room(const struct group *group, uint64_t reserve_bytes)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < group->count; i++)
		bytes += group->files[i].len + BLOCK_BYTES;
	return store_room(group->store, reserve_bytes) >= bytes;
}

static void
put_group(struct group *group, uint64_t reserve_bytes, const atomic_bool *is_stopping)
{
	struct error why = { .code = P2P_OK };

	if (!has_room(group, reserve_bytes))
		error_set(&why, P2P_NO_SPACE, "the disk of the share is full");
	for (size_t i = 0; i < group->count; i++) {
		group->files[i].error = why;
		group->files[i].fd = -1;
	}
	if (why.code != P2P_OK)
		return;
	write_group(group, is_stopping);
	sync_group(group);
	/* It is there: files were made in it.  If it went since, none of them gets a name. */
	int rc = file_open_beneath(store_root_fd(group->store), STORE_TEMP_DIR,
				   O_RDONLY | O_DIRECTORY, 0, &group->temp_fd, &why);
	if (rc < 0)
		group->temp_fd = -1;
	name_group(group);
	if (rc == P2P_OK)
		close(group->temp_fd);
}

void
store_put_small(struct store *store, struct store_small *files, size_t count,
		enum file_replace replace, uint64_t reserve_bytes, const atomic_bool *is_stopping)
{
	for (size_t at = 0; at < count; at += STORE_SMALL_GROUP) {
		struct group group = {
			.store = store,
			.files = files + at,
			.count = count - at < STORE_SMALL_GROUP ? count - at : STORE_SMALL_GROUP,
			.replace = replace,
		};
		put_group(&group, reserve_bytes, is_stopping);
	}
}
