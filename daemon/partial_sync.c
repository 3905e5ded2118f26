/* SPDX-License-Identifier: MIT
 *
 * partial_sync.c - makes pieces durable, and ends a partial: a file, or nothing.
 *
 * A sync looks at the bits first, then syncs the data, which covers at least
 * those pieces, and only then records them.  The have file lags behind; it
 * never runs ahead.
 *
 * A failed sync is final for this partial.  The kernel may have marked the
 * lost pages clean, so that another sync would succeed without them.  The bits
 * on the disk are dropped if that is still possible, so that the next load
 * reads everything again; where it is not, they claim what an earlier sync
 * made durable, which is true.
 *
 * Closing is the last sync, and one that notes the times of the data file: who
 * changes it afterwards is found out by the next load.  That holds to the grain
 * of those times, so the clock that makes them is let go on first.
 *
 * Publishing is one rename of a file that is whole and durable.  The have file,
 * which is the lock, goes last.
 */
#include "partial_inner.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "mem.h"
#include "name.h"

#define PATH_SIZE (sizeof(STORE_TEMP_DIR) + PARTIAL_BASE_SIZE)

static void
temp_path(const char *stem, const char *suffix, char ret[PATH_SIZE])
{
	snprintf(ret, PATH_SIZE, STORE_TEMP_DIR "/%s%s", stem, suffix);
}

/* After a sync of the data failed. */
static int
break_partial(struct partial *partial, int code)
{
	atomic_store(&partial->is_broken, true);
	if (partial->count > 0 && partial->have_fd >= 0)
		(void)have_drop_bits(&partial->have, NULL);
	return code;
}

static int
check_sound(const struct partial *partial, struct error *err)
{
	if (!atomic_load(&partial->is_broken))
		return P2P_OK;
	return error_set(err, P2P_IO, "an earlier sync of the partial file failed");
}

/* The names of both files, once: who had them open before may have been killed before this. */
static int
sync_names(struct partial *partial, struct error *err)
{
	int fd;

	if (partial->kind != PARTIAL_SHARE || partial->is_named)
		return P2P_OK;
	int rc = file_open_beneath(store_root_fd(partial->store), STORE_TEMP_DIR,
				   O_RDONLY | O_DIRECTORY, 0, &fd, err);
	if (rc < 0)
		return rc;
	if (fsync(fd) < 0)
		rc = error_errno(err, "cannot sync the directory of partial files");
	close(fd);
	partial->is_named = rc == P2P_OK;
	return rc;
}

static int
store_bits(struct partial *partial, const unsigned char *bits, bool is_last, struct error *err)
{
	struct stat st;

	int rc = partial_check_regular(partial->data_fd, &st, err);
	if (rc == P2P_OK)
		rc = have_store(&partial->have, &st, partial->layer, bits, err);
	if (rc == P2P_OK && is_last)
		rc = have_stamp(&partial->have, &st, err);
	if (rc == P2P_OK)
		rc = have_sync(&partial->have, err);
	return rc == P2P_OK ? sync_names(partial, err) : rc;
}

/* Files get their times from a clock that moves every few milliseconds.  Once it has moved on, nobody can change the
 * file and leave it the times that it has. */
static void
outlast_tick(int fd)
{
	struct timespec now, tick;
	struct stat st;

	if (fstat(fd, &st) < 0 || clock_gettime(CLOCK_REALTIME_COARSE, &now) < 0 ||
	    clock_getres(CLOCK_REALTIME_COARSE, &tick) < 0 || st.st_ctim.tv_sec < now.tv_sec ||
	    (st.st_ctim.tv_sec == now.tv_sec && st.st_ctim.tv_nsec < now.tv_nsec))
		return;
	nanosleep(&tick, NULL);
}

/* Makes durable what is verified, and records it.  The last time, the times of the file are part of that. */
static int
record(struct partial *partial, bool is_last, struct error *err)
{
	int rc = P2P_OK;

	/* Before the data is synced: what is set later is not covered. */
	unsigned char *bits = mem_alloc(have_bits_bytes(&partial->have));
	partial_bits(partial, bits);
	int failed = is_last ? fsync(partial->data_fd) : fdatasync(partial->data_fd);
	if (failed)
		rc = break_partial(partial, error_errno(err, "cannot sync the partial file"));
	else if (is_last)
		outlast_tick(partial->data_fd);
	if (rc == P2P_OK && (rc = store_bits(partial, bits, is_last, err)) < 0)
		atomic_store(&partial->is_broken, true); /* the data is safe, the record is not */
	if (rc == P2P_OK) {
		partial->synced_count = 0;
		for (size_t i = 0; i < have_bits_bytes(&partial->have); i++)
			partial->synced_count += (unsigned)__builtin_popcount(bits[i]);
	}
	free(bits);
	return rc;
}

static bool
is_recorded(const struct partial *partial)
{
	return partial->kind != PARTIAL_ANONYMOUS && !partial->is_published && partial->count > 0 &&
	       partial_has_layer(partial);
}

int
partial_sync(struct partial *partial, struct error *err)
{
	int rc = check_sound(partial, err);

	if (rc < 0 || !is_recorded(partial) ||
	    (partial->have.generation > 0 && partial_have_count(partial) == partial->synced_count))
		return rc;
	return record(partial, false, err);
}

static bool
is_fed(const struct partial *partial)
{
	for (uint64_t i = 0; i < (partial->count + 7) / 8; i++)
		if (atomic_load_explicit(&partial->claims[i], memory_order_acquire) != 0)
			return true;
	return false;
}

void
partial_close(struct partial *partial)
{
	assert(!is_fed(partial));
	/* If this fails, the next load believes what an earlier sync made durable, or reads. */
	if (!atomic_load(&partial->is_broken) && is_recorded(partial))
		(void)record(partial, true, NULL);
	partial_free(partial);
}

static int
check_ready(const struct partial *partial, struct error *err)
{
	if (!partial_is_complete(partial))
		return error_set(err, P2P_CONFLICT, "only %llu of %llu pieces are here",
				 (unsigned long long)partial_have_count(partial),
				 (unsigned long long)partial->count);
	return check_sound(partial, err);
}

int
partial_publish(struct partial *partial, const char *name, mode_t mode, int64_t mtime_ns,
		enum file_replace replace, struct file_sig *ret_sig, struct error *err)
{
	char stem[PARTIAL_STEM_SIZE], path[PATH_SIZE];
	struct stat st;

	assert(partial->kind == PARTIAL_SHARE && !partial->is_published);
	int rc = check_ready(partial, err);
	if (rc == P2P_OK)
		rc = store_check_place(partial->store, err);
	if (rc == P2P_OK)
		rc = name_check(name, strlen(name), err);
	if (rc < 0)
		return rc;
	rc = store_seal(partial->data_fd, mode & partial->mode_mask, mtime_ns, err);
	if (rc < 0)
		return break_partial(partial, rc);
	int root_fd = store_root_fd(partial->store);
	partial_stem(&partial->content, stem);
	temp_path(stem, PARTIAL_DATA_SUFFIX, path);
	rc = file_rename(root_fd, path, name, replace, err);
	if (rc < 0)
		return rc;
	partial->is_published = true;
	temp_path(stem, PARTIAL_HAVE_SUFFIX, path);
	file_remove(root_fd, path, false, NULL); /* else the next sweep does */
	/* Only now: the rename moved the ctime. */
	if (fstat(partial->data_fd, &st) < 0)
		return error_errno(err, "cannot stat '%s'", name);
	file_sig_of(&st, ret_sig);
	return P2P_OK;
}

int
partial_finish(struct partial *partial, mode_t mode, int64_t mtime_ns, struct error *err)
{
	assert(partial->kind == PARTIAL_FOREIGN);
	int rc = check_ready(partial, err);
	if (rc < 0)
		return rc;
	/* The file may be another user's, who alone can set these, and will. */
	rc = store_set_attributes(partial->data_fd, mode, mtime_ns, err);
	if (rc < 0 && rc != P2P_FORBIDDEN)
		return rc;
	if (fsync(partial->data_fd) < 0)
		return break_partial(partial, error_errno(err, "cannot sync the file"));
	/* It is out of our hands: if it comes back, it is read. */
	partial->is_published = true;
	if (partial->count > 0)
		(void)have_drop_bits(&partial->have, NULL);
	return P2P_OK;
}

/* Removes both files of the stem.  Holds the lock, which is the have file and so goes last: who
 * makes a new one must not find the old data.  Alone it is not believed: new data is too short. */
static void
remove_pair(struct store *store, const char *stem)
{
	char path[PATH_SIZE];

	temp_path(stem, PARTIAL_DATA_SUFFIX, path);
	file_remove(store_root_fd(store), path, false, NULL);
	temp_path(stem, PARTIAL_HAVE_SUFFIX, path);
	file_remove(store_root_fd(store), path, false, NULL);
}

void
partial_discard(struct partial *partial)
{
	char stem[PARTIAL_STEM_SIZE];

	if (partial == NULL)
		return;
	if (partial->kind == PARTIAL_SHARE && !partial->is_published) {
		partial_stem(&partial->content, stem);
		remove_pair(partial->store, stem);
	} else if (partial->kind == PARTIAL_FOREIGN) {
		/* If this fails, both keep what is true. */
		if (ftruncate(partial->have_fd, 0) == 0)
			(void)!ftruncate(partial->data_fd, 0);
	}
	partial_free(partial);
}

/* True if `base` is the name of a file of ours; then its stem. */
static bool
parse_base(const char *base, char ret_stem[PARTIAL_STEM_SIZE])
{
	char hex[DIGEST_HEX_SIZE];
	struct digest root;
	size_t len = strlen(base);
	const size_t suffix = strlen(PARTIAL_HAVE_SUFFIX), hex_len = DIGEST_HEX_SIZE - 1;

	if (len <= hex_len + 1 + suffix || len - suffix >= PARTIAL_STEM_SIZE ||
	    (strcmp(base + len - suffix, PARTIAL_HAVE_SUFFIX) != 0 &&
	     strcmp(base + len - suffix, PARTIAL_DATA_SUFFIX) != 0))
		return false;
	memcpy(hex, base, hex_len);
	hex[hex_len] = '\0';
	if (!digest_parse_hex(hex, &root) || base[hex_len] != '-' ||
	    strspn(base + hex_len + 1, "0123456789") != len - suffix - hex_len - 1)
		return false;
	memcpy(ret_stem, base, len - suffix);
	ret_stem[len - suffix] = '\0';
	return true;
}

void
partial_sweep(struct store *store, bool (*is_wanted)(void *arg, const char *stem), void *arg)
{
	char stem[PARTIAL_STEM_SIZE];
	struct dirent *entry;
	int fd, have_fd;

	if (file_open_beneath(store_root_fd(store), STORE_TEMP_DIR, O_RDONLY | O_DIRECTORY, 0, &fd,
			      NULL) < 0)
		return;
	DIR *dir = fdopendir(fd);
	if (dir == NULL) {
		close(fd);
		return;
	}
	while ((entry = readdir(dir)) != NULL) {
		if (!parse_base(entry->d_name, stem) || is_wanted(arg, stem))
			continue;
		/* One that is in use is not ours to remove, whatever the list says. */
		if (partial_lock_share(store, stem, &have_fd, NULL) < 0)
			continue;
		remove_pair(store, stem);
		close(have_fd);
	}
	closedir(dir);
}
