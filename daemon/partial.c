/* SPDX-License-Identifier: MIT
 *
 * partial.c - a content on its way to the disk: opening, asking, reading.
 *
 * The module is in six files, by what each has to know:
 *	partial.c	descriptors, the lock, the bits
 *	partial_load.c	what the disk holds
 *	partial_sink.c	bytes that come in
 *	partial_torn.c	pieces of which a part is here
 *	partial_sync.c	durability, and the end of it all
 *	partial_have.c	the form of the have file
 *
 * Opening takes the lock on the have file and decides nothing; partial_load()
 * does.  The lock is an flock(2): it goes with the descriptor, so no crash
 * leaves one behind.
 *
 * Bits are atomic bytes: set after the write with release order, read with
 * acquire order, so that who sees a bit sees the bytes.  Reading takes no lock.
 * Whether there is room, which pieces to ask for, and who may name the file,
 * is the caller's.
 */
#include "partial_inner.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <unistd.h>

#include "mem.h"

#define LOCK_TRIES 16 /* while the locked file turns out to be removed already */

void
partial_stem(const struct content_id *content, char ret[PARTIAL_STEM_SIZE])
{
	char hex[DIGEST_HEX_SIZE];

	digest_hex(&content->root, hex);
	snprintf(ret, PARTIAL_STEM_SIZE, "%s-%llu", hex, (unsigned long long)content->size_bytes);
}

/* Refuses what no content can be. */
static int
check_content(const struct content_id *content, struct error *err)
{
	if (content->size_bytes > MERKLE_CONTENT_MAX)
		return error_set(err, P2P_TOO_LARGE, "a content of %llu bytes is over the limit",
				 (unsigned long long)content->size_bytes);
	if (!merkle_content_valid(content))
		return error_set(err, P2P_BAD_CONTENT, "an empty content cannot have this root");
	return P2P_OK;
}

/* Takes both descriptors. */
static struct partial *
make_partial(enum partial_kind kind, struct store *store, const struct content_id *content,
	     int data_fd, int have_fd)
{
	struct partial *partial = mem_zero(1, sizeof(*partial));
	struct stat st;

	partial->kind = kind;
	partial->store = store;
	partial->content = *content;
	partial->piece_bytes = merkle_piece_bytes(content->size_bytes);
	partial->count = merkle_piece_count(content->size_bytes, partial->piece_bytes);
	partial->data_fd = data_fd;
	partial->have_fd = have_fd;
	partial->mode_mask = fstat(data_fd, &st) < 0 ? 0600 : st.st_mode & PARTIAL_MODES;
	partial->layer = mem_zero(partial->count + 1, sizeof(*partial->layer));
	partial->bits = mem_zero(partial->count / 8 + 1, sizeof(*partial->bits));
	partial->claims = mem_zero(partial->count / 8 + 1, sizeof(*partial->claims));
	if (partial->count > 0)
		have_init(&partial->have, have_fd, content, partial->piece_bytes, partial->count);
	if (partial->count == 1)
		partial->layer[0] = content->root;
	atomic_init(&partial->has_layer, partial->count <= 1);
	pthread_mutex_init(&partial->torn_mu, NULL);
	return partial;
}

static int
lock(int have_fd, struct error *err)
{
	if (flock(have_fd, LOCK_EX | LOCK_NB) == 0)
		return P2P_OK;
	if (errno == EWOULDBLOCK)
		return error_set(err, P2P_EXISTS, "the partial file is in use already");
	return error_errno(err, "cannot lock the have file");
}

int
partial_check_regular(int fd, struct stat *ret_stat, struct error *err)
{
	if (fstat(fd, ret_stat) < 0)
		return error_errno(err, "cannot stat a partial file");
	if (!S_ISREG(ret_stat->st_mode))
		return error_set(err, P2P_FORBIDDEN, "a partial file is no regular file");
	return P2P_OK;
}

/* Opens and locks the have file of the share that has the stem.  Who held the lock before may
 * have removed the file meanwhile: then the name stands for another one. */
int
partial_lock_share(struct store *store, const char *stem, int *ret_fd, struct error *err)
{
	char base[PARTIAL_BASE_SIZE];
	struct stat st;
	int fd;

	snprintf(base, sizeof(base), "%s" PARTIAL_HAVE_SUFFIX, stem);
	for (int i = 0; i < LOCK_TRIES; i++) {
		int rc = store_open_temp(store, base, O_RDWR | O_CREAT, 0600, &fd, err);
		if (rc < 0)
			return rc;
		rc = partial_check_regular(fd, &st, err);
		if (rc == P2P_OK)
			rc = lock(fd, err);
		if (rc == P2P_OK)
			rc = partial_check_regular(fd, &st, err);
		if (rc == P2P_OK && st.st_nlink > 0) {
			*ret_fd = fd;
			return P2P_OK;
		}
		close(fd);
		if (rc < 0)
			return rc;
	}
	return error_set(err, P2P_EXISTS, "the partial file is in use already");
}

bool
partial_is_begun(struct store *store, const struct content_id *content)
{
	char stem[PARTIAL_STEM_SIZE], base[PARTIAL_BASE_SIZE];
	int fd;

	partial_stem(content, stem);
	snprintf(base, sizeof(base), "%s" PARTIAL_DATA_SUFFIX, stem);
	if (store_open_temp(store, base, O_PATH, 0, &fd, NULL) < 0)
		return false;
	close(fd);
	return true;
}

struct partial *
partial_open_share(struct store *store, const struct content_id *content, struct error *err)
{
	char stem[PARTIAL_STEM_SIZE], base[PARTIAL_BASE_SIZE];
	struct stat st;
	int data_fd, have_fd;

	partial_stem(content, stem);
	if (check_content(content, err) < 0 || partial_lock_share(store, stem, &have_fd, err) < 0)
		return NULL;
	snprintf(base, sizeof(base), "%s" PARTIAL_DATA_SUFFIX, stem);
	/* With the mode of a new file, to learn the umask; the directory keeps others out. */
	if (store_open_temp(store, base, O_RDWR | O_CREAT, PARTIAL_MODES, &data_fd, err) < 0) {
		close(have_fd);
		return NULL;
	}
	if (partial_check_regular(data_fd, &st, err) < 0) {
		close(data_fd);
		close(have_fd);
		return NULL;
	}
	return make_partial(PARTIAL_SHARE, store, content, data_fd, have_fd);
}

/* What came from outside must be two files that can be read, and written at any place. */
static int
check_foreign(int data_fd, int have_fd, struct error *err)
{
	struct stat data, have;
	int data_flags = fcntl(data_fd, F_GETFL), have_flags = fcntl(have_fd, F_GETFL);

	int rc = partial_check_regular(data_fd, &data, err);
	if (rc == P2P_OK)
		rc = partial_check_regular(have_fd, &have, err);
	if (rc < 0)
		return rc;
	if ((data_flags & O_ACCMODE) != O_RDWR || (have_flags & O_ACCMODE) != O_RDWR ||
	    ((data_flags | have_flags) & O_APPEND) != 0)
		return error_set(err, P2P_FORBIDDEN,
				 "a partial file is not open to read and write");
	if (data.st_dev == have.st_dev && data.st_ino == have.st_ino)
		return error_set(err, P2P_BAD_REQUEST, "the two partial files are the same one");
	return lock(have_fd, err);
}

struct partial *
partial_open_foreign(int data_fd, int have_fd, const struct content_id *content, struct error *err)
{
	if (check_content(content, err) < 0 || check_foreign(data_fd, have_fd, err) < 0) {
		close(data_fd);
		close(have_fd);
		return NULL;
	}
	return make_partial(PARTIAL_FOREIGN, NULL, content, data_fd, have_fd);
}

/* Opens a file without a name, or one that loses its name at once, where the file system knows no
 * O_TMPFILE or the directory must be made again. */
static int
open_nameless(struct store *store, int *ret_fd, struct error *err)
{
	const int root_fd = store_root_fd(store);
	char path[sizeof(STORE_TEMP_DIR "/" STORE_UPLOAD_PREFIX) + 16];
	uint64_t random;

	if (file_open_beneath(root_fd, STORE_TEMP_DIR, O_TMPFILE | O_RDWR, 0600, ret_fd, NULL) == 0)
		return P2P_OK;
	if (getrandom(&random, sizeof(random), 0) != sizeof(random))
		return error_errno(err, "no random number for a temporary name");
	snprintf(path, sizeof(path), STORE_TEMP_DIR "/" STORE_UPLOAD_PREFIX "%016llx",
		 (unsigned long long)random);
	int rc = store_open_temp(store, path + sizeof(STORE_TEMP_DIR), O_RDWR | O_CREAT | O_EXCL,
				 0600, ret_fd, err);
	if (rc == P2P_OK)
		file_remove(root_fd, path, false, NULL); /* else the next start does */
	return rc;
}

struct partial *
partial_open_anonymous(struct store *store, const struct content_id *content, struct error *err)
{
	int fd;

	if (check_content(content, err) < 0 || open_nameless(store, &fd, err) < 0)
		return NULL;
	if (ftruncate(fd, (off_t)content->size_bytes) < 0) {
		error_errno(err, "cannot make a temporary file of %llu bytes",
			    (unsigned long long)content->size_bytes);
		close(fd);
		return NULL;
	}
	return make_partial(PARTIAL_ANONYMOUS, store, content, fd, -1);
}

void
partial_free(struct partial *partial)
{
	if (partial == NULL)
		return;
	close(partial->data_fd);
	if (partial->have_fd >= 0)
		close(partial->have_fd); /* and the lock with it */
	torn_free_all(partial);
	pthread_mutex_destroy(&partial->torn_mu);
	free(partial->layer);
	free(partial->bits);
	free(partial->claims);
	free(partial);
}

const struct content_id *
partial_content(const struct partial *partial)
{
	return &partial->content;
}

uint32_t
partial_piece_bytes(const struct partial *partial)
{
	return partial->piece_bytes;
}

uint64_t
partial_piece_count(const struct partial *partial)
{
	return partial->count;
}

bool
partial_has_layer(const struct partial *partial)
{
	return atomic_load_explicit(&partial->has_layer, memory_order_acquire);
}

/* For a load after a kill.  What cannot be written now is no reason to stop: the next sync tries again, and tells. */
static void
keep_layer(struct partial *partial, const struct digest *layer)
{
	struct stat st;

	/* The layer of a single piece is its root. */
	if (partial->is_loaded && partial->have_fd >= 0 && partial->count > 1 &&
	    fstat(partial->data_fd, &st) == 0)
		(void)have_store_layer(&partial->have, &st, layer, NULL);
}

int
partial_set_layer(struct partial *partial, const struct digest *layer, size_t count,
		  struct error *err)
{
	struct digest root;

	if (count != partial->count)
		return error_set(err, P2P_BAD_CONTENT, "a layer of %zu nodes, not %llu", count,
				 (unsigned long long)partial->count);
	if (count == 0)
		return P2P_OK;
	merkle_layer_root(hasher_mine(), layer, count, partial->piece_bytes, &root);
	if (!digest_equal(&root, &partial->content.root))
		return error_set(err, P2P_BAD_CONTENT, "the layer does not match the content id");
	/* Only one layer has this root: once there, it stays, as sinks read it unlocked. */
	if (partial_has_layer(partial))
		return P2P_OK;
	/* First: from the moment that it is known a sync may write, too. */
	keep_layer(partial, layer);
	memcpy(partial->layer, layer, count * sizeof(*layer));
	atomic_store_explicit(&partial->has_layer, true, memory_order_release);
	return P2P_OK;
}

void
partial_mark(struct partial *partial, uint64_t piece)
{
	if (partial_set_bit(partial->bits, piece))
		return;
	atomic_fetch_add(&partial->have_bytes, merkle_piece_length(partial->content.size_bytes,
								   partial->piece_bytes, piece));
	atomic_fetch_add(&partial->have_count, 1);
	if (partial->on_piece != NULL)
		partial->on_piece(partial->on_piece_arg, piece);
}

void
partial_listen(struct partial *partial, void (*fn)(void *arg, uint64_t piece), void *arg)
{
	partial->on_piece_arg = arg;
	partial->on_piece = fn;
}

int
partial_dup(const struct partial *partial)
{
	return fcntl(partial->data_fd, F_DUPFD_CLOEXEC, 3);
}

bool
partial_has(const struct partial *partial, uint64_t piece)
{
	return piece < partial->count &&
	       (atomic_load_explicit(&partial->bits[piece >> 3], memory_order_acquire) &
		(0x80u >> (piece & 7))) != 0;
}

uint64_t
partial_have_count(const struct partial *partial)
{
	return atomic_load(&partial->have_count);
}

uint64_t
partial_have_bytes(const struct partial *partial)
{
	return atomic_load(&partial->have_bytes);
}

bool
partial_is_complete(const struct partial *partial)
{
	return partial_have_count(partial) == partial->count;
}

void
partial_bits(const struct partial *partial, unsigned char *bits)
{
	for (uint64_t i = 0; i < (partial->count + 7) / 8; i++)
		bits[i] = atomic_load_explicit(&partial->bits[i], memory_order_acquire);
	/* What was punched out is had, but cannot be given. */
	uint64_t punched = atomic_load(&partial->punched);
	memset(bits, 0, punched / 8);
	if (punched % 8 != 0)
		bits[punched / 8] &= (unsigned char)(0xffu >> punched % 8);
}

struct digest *
partial_layer(const struct partial *partial)
{
	if (partial->count == 0)
		return NULL;
	assert(partial_has_layer(partial));
	struct digest *copy = mem_grow(NULL, partial->count, sizeof(*copy));
	memcpy(copy, partial->layer, partial->count * sizeof(*copy));
	return copy;
}

int
partial_read(const struct partial *partial, void *data, size_t len, uint64_t offset,
	     struct error *err)
{
	if (offset > partial->content.size_bytes || len > partial->content.size_bytes - offset)
		return error_set(err, P2P_BAD_RANGE, "the range lies outside of the content");
	if (len == 0)
		return P2P_OK;
	uint64_t first = offset / partial->piece_bytes;
	for (uint64_t i = first; i <= (offset + len - 1) / partial->piece_bytes; i++)
		if (!partial_has(partial, i))
			return error_set(err, P2P_NOT_FOUND, "piece %llu is not here yet",
					 (unsigned long long)i);
	int rc = file_pread(partial->data_fd, data, len, offset, err);
	/* Asked after reading: then no hole was read. */
	if (rc == P2P_OK && first < atomic_load(&partial->punched))
		return error_set(err, P2P_NOT_FOUND, "piece %llu is not here any more",
				 (unsigned long long)first);
	return rc;
}

void
partial_punch(struct partial *partial, uint64_t offset)
{
	uint64_t pieces = offset / partial->piece_bytes, from = atomic_load(&partial->punched);

	if (partial->kind != PARTIAL_ANONYMOUS || pieces <= from)
		return;
	if (pieces > partial->count)
		pieces = partial->count;
	atomic_store(&partial->punched, pieces);
	/* A file system without holes keeps the space, no more. */
	(void)fallocate(partial->data_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			(off_t)(from * partial->piece_bytes),
			(off_t)((pieces - from) * partial->piece_bytes));
}
