/* SPDX-License-Identifier: MIT
 *
 * store_upload.c - a new file in the share whose content id shows only at its end.
 *
 * An upload is a file "upload-<random>" in STORE_TEMP_DIR.  Bytes are gathered
 * into blocks of STORE_BLOCK (larger ones are written from where they lie),
 * written, and hashed while they are in the cache; the free space is looked at
 * every few blocks, so that the reserve stays even if others write too.
 * Nothing is preallocated: an announced size costs nothing.
 *
 * Commit sets mode and time, syncs once, and renames.  If the name is taken
 * and may not be replaced, the file that has it is hashed: the very same
 * content counts as done, so that a repeated upload is no error.
 *
 * A write or sync that failed is final.  Of a failed sync the kernel may have
 * forgotten the pages, and a second one would succeed without the bytes being
 * there.  Such an upload is broken and can only be freed.  One that failed
 * only for its name can be committed again under another.
 */
#include "store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "mem.h"
#include "name.h"

#define TEMP_PATH        STORE_TEMP_DIR "/" STORE_UPLOAD_PREFIX
#define TEMP_PATH_SIZE   (sizeof(TEMP_PATH) + 16) /* with 16 hex digits */
#define ROOM_CHECK_BYTES (16u << 20)              /* written between two looks at the free space */

struct store_upload {
	struct store *store;
	int fd;
	char temp[TEMP_PATH_SIZE]; /* beneath the share */
	mode_t mode_mask;          /* permission bits that the umask leaves */
	uint64_t expect_bytes;     /* announced, or UINT64_MAX */
	uint64_t max_bytes;
	uint64_t reserve_bytes;
	struct content_id expected; /* if has_expected */
	bool has_expected;
	uint64_t written_bytes;         /* in the file and hashed; the rest is in block[] */
	uint64_t room_at_bytes;         /* written_bytes at which to look at the free space */
	unsigned char *block;           /* STORE_BLOCK bytes, made when first needed */
	size_t fill;                    /* bytes in block[] */
	struct merkle_builder *builder; /* NULL once ended: then `made` is filled */
	struct store_written made;      /* but for its sig */
	struct error broken;            /* what every later call answers, if its code is not 0 */
	bool is_committed;
};

/* Opens a file of a new name.  Mode 0777 asks which bits the umask, or the directory's default
 * ACL, leaves to a new file; in a directory of mode 0700 nobody can use them. */
static int
make_temp(struct store_upload *upload, struct error *err)
{
	uint64_t random;
	struct stat st;

	if (getrandom(&random, sizeof(random), 0) != sizeof(random))
		return error_errno(err, "no random number for a temporary name");
	snprintf(upload->temp, sizeof(upload->temp), TEMP_PATH "%016llx",
		 (unsigned long long)random);
	int rc = store_open_temp(upload->store, upload->temp + strlen(STORE_TEMP_DIR) + 1,
				 O_RDWR | O_CREAT | O_EXCL, 0777, &upload->fd, err);
	if (rc < 0)
		return rc;
	upload->mode_mask = fstat(upload->fd, &st) < 0 ? 0700 : st.st_mode & 0777;
	return P2P_OK;
}

struct store_upload *
store_upload_new(struct store *store, uint64_t expect_bytes, uint64_t max_bytes,
		 uint64_t reserve_bytes, struct error *err)
{
	uint64_t known_bytes = expect_bytes == UINT64_MAX ? 0 : expect_bytes;

	if (max_bytes > MERKLE_CONTENT_MAX)
		max_bytes = MERKLE_CONTENT_MAX;
	if (known_bytes > max_bytes) {
		error_set(err, P2P_TOO_LARGE, "%llu bytes are over the limit of %llu",
			  (unsigned long long)known_bytes, (unsigned long long)max_bytes);
		return NULL;
	}
	if (known_bytes > store_room(store, reserve_bytes)) {
		error_set(err, P2P_NO_SPACE, "%llu bytes do not fit on the disk of the share",
			  (unsigned long long)known_bytes);
		return NULL;
	}
	struct store_upload *upload = mem_zero(1, sizeof(*upload));
	upload->store = store;
	upload->fd = -1;
	upload->expect_bytes = expect_bytes;
	upload->max_bytes = max_bytes;
	upload->reserve_bytes = reserve_bytes;
	upload->builder = merkle_builder_new();
	if (make_temp(upload, err) < 0) {
		store_upload_free(upload);
		return NULL;
	}
	return upload;
}

void
store_upload_free(struct store_upload *upload)
{
	if (upload == NULL)
		return;
	if (upload->fd >= 0) {
		if (!upload->is_committed)
			file_remove(store_root_fd(upload->store), upload->temp, false, NULL);
		close(upload->fd);
	}
	merkle_builder_free(upload->builder);
	free(upload->made.layer);
	free(upload->block);
	free(upload);
}

void
store_upload_expect(struct store_upload *upload, const struct content_id *content)
{
	upload->has_expected = content != NULL;
	if (content != NULL)
		upload->expected = *content;
}

uint64_t
store_upload_bytes(const struct store_upload *upload)
{
	return upload->written_bytes + upload->fill;
}

/* Breaks the upload for good if `rc` is an error. */
static int
settle(struct store_upload *upload, int rc, const struct error *why, struct error *err)
{
	if (rc == P2P_OK)
		return P2P_OK;
	upload->broken = *why;
	if (err != NULL)
		*err = *why;
	return rc;
}

static int
check_usable(const struct store_upload *upload, struct error *err)
{
	if (upload->broken.code == P2P_OK)
		return P2P_OK;
	if (err != NULL)
		*err = upload->broken;
	return upload->broken.code;
}

static int
write_block(struct store_upload *upload, const void *data, size_t len, struct error *err)
{
	if (upload->written_bytes >= upload->room_at_bytes) {
		if (store_room(upload->store, upload->reserve_bytes) < len)
			return error_set(err, P2P_NO_SPACE, "the disk of the share is full");
		upload->room_at_bytes = upload->written_bytes + ROOM_CHECK_BYTES;
	}
	int rc = file_pwrite(upload->fd, data, len, upload->written_bytes, err);
	if (rc < 0)
		return rc;
	upload->written_bytes += len;
	if (merkle_builder_feed(upload->builder, data, len) < 0)
		return error_set(err, P2P_TOO_LARGE, "the file is over the limit of any content");
	return P2P_OK;
}

static int
flush(struct store_upload *upload, struct error *err)
{
	size_t len = upload->fill;

	if (len == 0)
		return P2P_OK;
	upload->fill = 0;
	return write_block(upload, upload->block, len, err);
}

static int
check_size(const struct store_upload *upload, size_t len, struct error *err)
{
	uint64_t taken_bytes = store_upload_bytes(upload);

	if (len > upload->expect_bytes - taken_bytes)
		return error_set(err, P2P_BAD_CONTENT, "more bytes came than the %llu announced",
				 (unsigned long long)upload->expect_bytes);
	if (len > upload->max_bytes - taken_bytes)
		return error_set(err, P2P_TOO_LARGE, "the file is over the limit of %llu bytes",
				 (unsigned long long)upload->max_bytes);
	return P2P_OK;
}

static unsigned char *
block_of(struct store_upload *upload)
{
	if (upload->block == NULL)
		upload->block = mem_alloc(STORE_BLOCK);
	return upload->block;
}

static int
feed(struct store_upload *upload, const unsigned char *data, size_t len, struct error *err)
{
	int rc = check_size(upload, len, err);

	while (rc == P2P_OK && len > 0) {
		size_t part = STORE_BLOCK - upload->fill;
		if (part == STORE_BLOCK && len >= STORE_BLOCK) {
			rc = write_block(upload, data, part, err);
		} else {
			part = len < part ? len : part;
			memcpy(block_of(upload) + upload->fill, data, part);
			upload->fill += part;
			if (upload->fill == STORE_BLOCK)
				rc = flush(upload, err);
		}
		data += part;
		len -= part;
	}
	return rc;
}

int
store_upload_feed(struct store_upload *upload, const void *data, size_t len, struct error *err)
{
	struct error why;
	int rc = check_usable(upload, err);

	if (rc < 0)
		return rc;
	return settle(upload, feed(upload, data, len, &why), &why, err);
}

/* Reads the block at `offset`, less at the end.  How much, or a code. */
static ssize_t
read_block(int fd, unsigned char *block, uint64_t offset, struct error *err)
{
	size_t len = 0;

	while (len < STORE_BLOCK) {
		ssize_t n = pread(fd, block + len, STORE_BLOCK - len, (off_t)(offset + len));
		if (n == 0)
			break;
		if (n < 0 && errno != EINTR)
			return error_errno(err, "cannot read the file");
		if (n > 0)
			len += (size_t)n;
	}
	return (ssize_t)len;
}

static int
feed_file(struct store_upload *upload, int fd, const atomic_bool *is_abandoned, struct error *err)
{
	struct stat before, after;
	struct file_sig sig_before, sig_after;
	uint64_t offset = 0;

	if (fstat(fd, &before) < 0)
		return error_errno(err, "cannot stat the file");
	if (!S_ISREG(before.st_mode))
		return error_set(err, P2P_FORBIDDEN, "what was handed over is no regular file");
	posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
	int rc = flush(upload, err);
	while (rc == P2P_OK) {
		if (is_abandoned != NULL && atomic_load(is_abandoned))
			return error_set(err, P2P_CANCELLED, "nobody wants the file any more");
		ssize_t len = read_block(fd, block_of(upload), offset, err);
		if (len < 0)
			return (int)len;
		if (len == 0)
			break;
		rc = check_size(upload, (size_t)len, err);
		if (rc == P2P_OK)
			rc = write_block(upload, upload->block, (size_t)len, err);
		offset += (size_t)len;
	}
	if (rc < 0)
		return rc;
	if (fstat(fd, &after) < 0)
		return error_errno(err, "cannot stat the file");
	file_sig_of(&before, &sig_before);
	file_sig_of(&after, &sig_after);
	if (!file_sig_equal(&sig_before, &sig_after) || offset != sig_after.size_bytes)
		return error_set(err, P2P_CONFLICT, "the file changed while it was read");
	return P2P_OK;
}

int
store_upload_feed_fd(struct store_upload *upload, int fd, const atomic_bool *is_abandoned,
		     struct error *err)
{
	struct error why;
	int rc = check_usable(upload, err);

	if (rc < 0)
		return rc;
	return settle(upload, feed_file(upload, fd, is_abandoned, &why), &why, err);
}

/* Ends the bytes: all of them written, the content id known.  Once. */
static int
end_content(struct store_upload *upload, struct error *err)
{
	if (upload->builder == NULL)
		return P2P_OK;
	int rc = flush(upload, err);
	if (rc < 0)
		return rc;
	merkle_builder_end(upload->builder, &upload->made.content, &upload->made.layer,
			   &upload->made.layer_count);
	merkle_builder_free(upload->builder);
	upload->builder = NULL;
	return P2P_OK;
}

/* Gives the file its name, or finds it there.  Fills the sig in either case. */
static int
take_name(struct store_upload *upload, const char *name, enum file_replace replace,
	  struct file_sig *ret_sig, struct error *err)
{
	struct error why;
	struct stat st;
	int root_fd = store_root_fd(upload->store);

	int rc = file_rename(root_fd, upload->temp, name, replace, &why);
	if (rc == P2P_EXISTS && store_match(upload->store, name, &upload->made.content, NULL, ret_sig) == P2P_OK) {
		file_remove(root_fd, upload->temp, false, NULL);
		return P2P_OK;
	}
	if (rc < 0) {
		if (err != NULL)
			*err = why;
		return rc;
	}
	/* Only now: the rename moved the ctime. */
	if (fstat(upload->fd, &st) < 0)
		return error_errno(err, "cannot stat '%s'", name);
	file_sig_of(&st, ret_sig);
	return P2P_OK;
}

/* Before the bytes are synced: what is not wanted need not become durable. */
static int
check_expected(const struct store_upload *upload, struct error *err)
{
	char hex[DIGEST_HEX_SIZE];

	if (!upload->has_expected || content_equal(&upload->made.content, &upload->expected))
		return P2P_OK;
	digest_hex(&upload->made.content.root, hex);
	return error_set(err, P2P_BAD_CONTENT,
			 "what came is another content than expected: %llu bytes, root %s",
			 (unsigned long long)upload->made.content.size_bytes, hex);
}

int
store_upload_commit(struct store_upload *upload, const char *name, mode_t mode, int64_t mtime_ns,
		    enum file_replace replace, struct store_written *ret, struct error *err)
{
	struct error why;
	struct file_sig sig;

	int rc = check_usable(upload, err);
	if (rc == P2P_OK)
		rc = name_check(name, strlen(name), err);
	if (rc < 0)
		return rc;
	uint64_t got_bytes = store_upload_bytes(upload);
	if (upload->expect_bytes != UINT64_MAX && got_bytes != upload->expect_bytes)
		return error_set(err, P2P_BAD_CONTENT, "%llu bytes came of the %llu announced",
				 (unsigned long long)got_bytes,
				 (unsigned long long)upload->expect_bytes);
	rc = end_content(upload, &why);
	if (rc == P2P_OK)
		rc = check_expected(upload, &why);
	if (rc == P2P_OK)
		rc = store_seal(upload->fd, mode & upload->mode_mask, mtime_ns, &why);
	if (settle(upload, rc, &why, err) < 0)
		return rc;
	rc = store_check_place(upload->store, err);
	if (rc == P2P_OK)
		rc = take_name(upload, name, replace, &sig, err);
	if (rc < 0)
		return rc;
	upload->is_committed = true;
	*ret = upload->made;
	ret->sig = sig;
	upload->made.layer = NULL;
	return P2P_OK;
}
