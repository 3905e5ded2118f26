/* SPDX-License-Identifier: MIT
 *
 * examine.c - looks at names of the share and hashes what is new.
 *
 * Each name is opened beneath the share and judged by fstat(2): is it there, is it a regular file,
 * is it what the catalog says already?  Only then comes the question whether it rests.  Three
 * witnesses are heard:
 *
 *  - its mtime: younger than the settle time means that somebody may still be writing.  Unless the
 * other two know better, and this is not one of many changes: then it is taken as soon as it is
 * closed, for that is what most programs do once, at the end;
 *  - a read lease: the kernel refuses one (EAGAIN) exactly while somebody has the file open for
 * writing.  It is given back at once.  Should a writer come in between, the kernel makes him wait
 * for us - a moment - and sends us the signal that we chose, SIGURG, which by default is nothing.
 * Leases are granted for our own files, and to CAP_LEASE; elsewhere this witness is silent;
 *  - inotify, through `is_writing`: a write was seen and no close since.  It is asked where there
 * is no lease.
 *
 * A file that is open for writing but untouched for EXAMINE_QUIET_MS is taken as it is: some
 * programs keep files open for ever.  Nothing wrong is offered by that, for every change later
 * leads here again.
 *
 * The bytes that were hashed are those of one state of the file only if fstat says the same before
 * and after; else the verdict is to wait.  And since the times of a file move in ticks, what was
 * changed within the last TICK_MS is not hashed: another change in the same tick would not show.  Small files are hashed here in passing; large ones in
 * slices of whole pieces, which depend on nothing but the descriptor and write to different nodes
 * of one layer.
 */
#include "examine.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "mem.h"
#include "merkle.h"

#define WAIT_MIN_MS  50   /* between two looks at a file that does not rest */
#define CLOCKS_MS    10   /* by which timers and the wall clock may disagree */
#define TICK_MS      20   /* more than the tick of any kernel; newer ones count finer */
#define WAIT_OPEN_MS 1000 /* for a file that is open for writing; its close is an event anyway */

enum writer { WRITER_NONE, WRITER_THERE, WRITER_UNKNOWN };

void
examined_fini(struct examined *item)
{
	free(item->layer);
	free(item->why);
	item->layer = NULL;
	item->why = NULL;
}

static void
judge(struct examined *item, enum verdict verdict, const char *why)
{
	item->verdict = verdict;
	free(item->why);
	item->why = mem_string(why);
}

static void
judge_waiting(struct examined *item, uint32_t wait_ms)
{
	item->verdict = EXAMINE_WAIT;
	item->wait_ms = wait_ms < WAIT_MIN_MS ? WAIT_MIN_MS : wait_ms;
}

/* What it says when a thing is no regular file. */
static const char *
kind_of(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFLNK:
		return "a symbolic link is not followed";
	case S_IFIFO:
		return "a FIFO is no file";
	case S_IFSOCK:
		return "a socket is no file";
	default:
		return "a device is no file";
	}
}

/* Asks for the name without opening it: opening a device has effects. */
static int
stat_name(struct examiner *examiner, const char *name, struct stat *ret, struct error *err)
{
	int dir_fd;
	const char *base;
	int code =
	    file_open_parent(store_root_fd(examiner->store), name, false, &dir_fd, &base, err);
	if (code != P2P_OK)
		return code;
	if (fstatat(dir_fd, base, ret, AT_SYMLINK_NOFOLLOW) != 0)
		code = error_errno(err, "cannot look at it");
	close(dir_fd);
	return code;
}

/* True if the name is that of a regular file which may be shared; else the item is judged. */
static bool
is_shareable(struct examiner *examiner, struct examined *item, struct stat *ret)
{
	struct error err = { 0 };
	int code = stat_name(examiner, item->name, ret, &err);

	/* FORBIDDEN: a parent is a symbolic link by now, or cannot be entered. */
	if (code == P2P_NOT_FOUND || code == P2P_FORBIDDEN)
		item->verdict = EXAMINE_GONE;
	else if (code != P2P_OK)
		judge(item, EXAMINE_FAILED, err.text);
	else if (S_ISDIR(ret->st_mode))
		item->verdict = EXAMINE_GONE;
	else if (name_check(item->name, strlen(item->name), &err) != P2P_OK)
		judge(item, EXAMINE_BAD, err.text);
	else if (!S_ISREG(ret->st_mode))
		judge(item, EXAMINE_BAD, kind_of(ret->st_mode));
	else if ((uint64_t)ret->st_size > MERKLE_CONTENT_MAX)
		judge(item, EXAMINE_BAD, "larger than a content may be");
	else
		return true;
	return false;
}

static enum writer
find_writer(int fd)
{
	if (fcntl(fd, F_SETSIG, SIGURG) != 0)
		return WRITER_UNKNOWN;
	if (fcntl(fd, F_SETLEASE, F_RDLCK) == 0) {
		fcntl(fd, F_SETLEASE, F_UNLCK);
		return WRITER_NONE;
	}
	return errno == EAGAIN ? WRITER_THERE : WRITER_UNKNOWN;
}

/* How long ago a file's time was, by the wall clock that made it.  One in the future tells nothing. */
static int64_t
age_ms(const struct timespec *time)
{
	int64_t age = clock_wall_ms() - ((int64_t)time->tv_sec * 1000 + time->tv_nsec / 1000000);

	return age < 0 ? INT64_MAX : age;
}

/* Nothing is risked by taking it though it is young: it is soon hashed, and not again and again. */
static bool
is_cheap(const struct examiner *examiner, const struct file_sig *sig,
	 const struct catalog_local *known)
{
	int64_t apart_ns = (int64_t)examiner->settle_ms * 1000000;

	return sig->size_bytes <= EXAMINE_LARGE &&
	       (known == NULL || sig->mtime_ns - known->sig.mtime_ns >= apart_ns);
}

/* True if nobody seems to write; else the item is judged.  `known` is what the catalog has of this
 * name, or NULL. */
static bool
is_at_rest(struct examiner *examiner, struct examined *item, int fd, const struct stat *st,
	   const struct catalog_local *known)
{
	int64_t age = age_ms(&st->st_mtim), settle = examiner->settle_ms;
	bool may_be_young = is_cheap(examiner, &item->file.sig, known);

	/* One wait for both, since the first index waits only once for a file. */
	if (age_ms(&st->st_ctim) < TICK_MS) {
		judge_waiting(item, age >= settle || may_be_young
					? TICK_MS
					: (uint32_t)(settle - age) + CLOCKS_MS);
		return false;
	}
	if (age >= settle && age >= EXAMINE_QUIET_MS)
		return true;
	enum writer writer = find_writer(fd);
	bool is_closed = writer == WRITER_NONE || (writer == WRITER_UNKNOWN && item->is_closed);

	if (age < settle && !(is_closed && may_be_young)) {
		judge_waiting(item, (uint32_t)(settle - age) + CLOCKS_MS);
		return false;
	}
	if (is_closed || (writer == WRITER_UNKNOWN && !item->is_writing))
		return true;
	judge_waiting(item, WAIT_OPEN_MS);
	return false;
}

/* Fills the entry, all but its content. */
static void
describe(struct examined *item, const struct stat *st)
{
	file_sig_of(st, &item->file.sig);
	item->file.content.size_bytes = (uint64_t)st->st_size;
	item->file.mtime_ns = item->file.sig.mtime_ns;
	item->file.mode = st->st_mode & 0777;
}

/* Opens the name if there is something to hash; else -1 and the item is judged. */
static int
open_fresh(struct examiner *examiner, struct examined *item)
{
	struct stat st;
	if (!is_shareable(examiner, item, &st))
		return -1;
	describe(item, &st);
	struct catalog_local known;
	bool is_known = catalog_find_local(examiner->catalog, item->name, &known) == P2P_OK;
	if (is_known && file_sig_equal(&known.sig, &item->file.sig)) {
		item->verdict = EXAMINE_SAME;
		return -1;
	}

	int fd;
	struct error err = { 0 };
	int code = file_open_regular(store_root_fd(examiner->store), item->name, &fd, &st, &err);
	if (code == P2P_NOT_FOUND)
		item->verdict = EXAMINE_GONE;
	else if (code != P2P_OK)
		judge(item, code == P2P_FORBIDDEN ? EXAMINE_BAD : EXAMINE_FAILED, err.text);
	if (code != P2P_OK)
		return -1;

	describe(item, &st);
	if (is_at_rest(examiner, item, fd, &st, is_known ? &known : NULL))
		return fd;
	close(fd);
	return -1;
}

/* What a worker hashes with: one block of bytes and the leaves of one piece. */
struct scratch {
	unsigned char *block;
	struct digest *leaves;
	size_t leaf_room;
};

static void
scratch_init(struct scratch *scratch, uint32_t piece_bytes)
{
	scratch->block = mem_alloc(STORE_BLOCK);
	scratch->leaf_room = piece_bytes / MERKLE_LEAF_BYTES;
	scratch->leaves = mem_zero(scratch->leaf_room, sizeof(struct digest));
}

static void
scratch_fini(struct scratch *scratch)
{
	free(scratch->block);
	free(scratch->leaves);
}

/* Hashes piece `index` of the open file into *ret. */
static int
hash_piece(struct scratch *scratch, int fd, uint64_t size_bytes, uint32_t piece_bytes,
	   uint64_t index, struct digest *ret, struct error *err)
{
	struct hasher *hasher = hasher_mine();
	uint32_t length = merkle_piece_length(size_bytes, piece_bytes, index);
	uint32_t done = 0;

	while (done < length) {
		uint32_t part = length - done < STORE_BLOCK ? length - done : STORE_BLOCK;
		int code = file_pread(fd, scratch->block, part, index * piece_bytes + done, err);
		if (code != P2P_OK)
			return code;
		merkle_leaves(hasher, scratch->block, part,
			      &scratch->leaves[done / MERKLE_LEAF_BYTES]);
		done += part;
	}
	merkle_fold_piece(hasher, scratch->leaves,
			  (length + MERKLE_LEAF_BYTES - 1) / MERKLE_LEAF_BYTES, piece_bytes,
			  size_bytes <= piece_bytes, ret);
	return P2P_OK;
}

static void
make_layer(struct examined *item, uint32_t piece_bytes)
{
	item->layer_count = merkle_piece_count(item->file.content.size_bytes, piece_bytes);
	item->layer = mem_zero(item->layer_count, sizeof(struct digest));
}

static void
make_root(struct examined *item, uint32_t piece_bytes)
{
	struct digest *root = &item->file.content.root;

	if (item->layer_count == 0)
		merkle_empty_root(root);
	else
		merkle_layer_root(hasher_mine(), item->layer, item->layer_count, piece_bytes, root);
	if (item->layer_count > 1)
		return;
	free(item->layer);
	item->layer = NULL;
	item->layer_count = 0;
}

/* The file was read: is it still what it was when it was opened? */
static void
judge_hashed(struct examiner *examiner, struct examined *item, int fd, uint32_t piece_bytes)
{
	struct stat st;
	struct file_sig sig;

	if (fstat(fd, &st) != 0) {
		judge(item, EXAMINE_FAILED, "cannot look at it");
		return;
	}
	file_sig_of(&st, &sig);
	if (!file_sig_equal(&sig, &item->file.sig)) {
		judge_waiting(item, examiner->settle_ms);
		return;
	}
	make_root(item, piece_bytes);
	item->verdict = EXAMINE_HASHED;
}

static void
hash_small(struct examiner *examiner, struct scratch *scratch, struct examined *item, int fd)
{
	uint64_t size = item->file.content.size_bytes;
	uint32_t piece_bytes = merkle_piece_bytes(size);
	struct error err = { 0 };

	make_layer(item, piece_bytes);
	for (size_t i = 0; i < item->layer_count; i++) {
		int code = hash_piece(scratch, fd, size, piece_bytes, i, &item->layer[i], &err);
		if (code != P2P_OK) {
			/* Cut short since we opened it?  Then the wait is the verdict. */
			judge_hashed(examiner, item, fd, piece_bytes);
			if (item->verdict != EXAMINE_WAIT)
				judge(item, EXAMINE_FAILED, err.text);
			return;
		}
	}
	judge_hashed(examiner, item, fd, piece_bytes);
}

static void
examine_file(struct examiner *examiner, struct scratch *scratch, struct examined *item)
{
	int fd = open_fresh(examiner, item);
	if (fd < 0)
		return;
	if (item->file.content.size_bytes > EXAMINE_LARGE)
		item->verdict = EXAMINE_LARGE_FILE;
	else
		hash_small(examiner, scratch, item, fd);
	close(fd);
}

void
examine_files(struct examiner *examiner, struct examined *items, size_t count)
{
	struct scratch scratch;
	scratch_init(&scratch, merkle_piece_bytes(EXAMINE_LARGE));

	uint64_t bytes = 0;
	for (size_t i = 0; i < count; i++) {
		items[i].verdict = EXAMINE_LATER;
		if (bytes >= EXAMINE_BUDGET || atomic_load(&examiner->is_stopping))
			continue;
		examine_file(examiner, &scratch, &items[i]);
		if (items[i].verdict == EXAMINE_HASHED)
			bytes += items[i].file.content.size_bytes;
	}
	scratch_fini(&scratch);
}

struct slicing *
slicing_new(struct examiner *examiner, struct examined *item)
{
	int fd = open_fresh(examiner, item);
	if (fd < 0)
		return NULL;
	posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);

	uint64_t size = item->file.content.size_bytes;
	struct slicing *slicing = mem_zero(1, sizeof(*slicing));
	slicing->fd = fd;
	slicing->piece_bytes = merkle_piece_bytes(size);
	slicing->slice_pieces =
	    slicing->piece_bytes < EXAMINE_SLICE ? EXAMINE_SLICE / slicing->piece_bytes : 1;
	slicing->item = *item;
	make_layer(&slicing->item, slicing->piece_bytes);
	slicing->slice_count = (uint32_t)((slicing->item.layer_count + slicing->slice_pieces - 1) /
					  slicing->slice_pieces);
	return slicing;
}

void
slicing_hash(struct examiner *examiner, struct slicing *slicing, uint32_t slice)
{
	struct examined *item = &slicing->item;
	struct scratch scratch;
	scratch_init(&scratch, slicing->piece_bytes);

	size_t first = (size_t)slice * slicing->slice_pieces;
	size_t end = first + slicing->slice_pieces;
	if (end > item->layer_count)
		end = item->layer_count;
	for (size_t i = first; i < end; i++) {
		if (atomic_load(&examiner->is_stopping) || atomic_load(&slicing->is_spoilt) ||
		    hash_piece(&scratch, slicing->fd, item->file.content.size_bytes,
			       slicing->piece_bytes, i, &item->layer[i], NULL) != P2P_OK) {
			atomic_store(&slicing->is_spoilt, true);
			break;
		}
	}
	scratch_fini(&scratch);
}

void
slicing_end(struct examiner *examiner, struct slicing *slicing, struct examined *ret)
{
	struct examined *item = &slicing->item;

	judge_hashed(examiner, item, slicing->fd, slicing->piece_bytes);
	if (atomic_load(&slicing->is_spoilt) && item->verdict == EXAMINE_HASHED)
		judge(item, EXAMINE_FAILED, "reading failed");
	*ret = *item;
	item->layer = NULL;
	item->why = NULL;
	slicing_free(slicing);
}

void
slicing_free(struct slicing *slicing)
{
	if (slicing == NULL)
		return;
	examined_fini(&slicing->item);
	close(slicing->fd);
	free(slicing);
}
