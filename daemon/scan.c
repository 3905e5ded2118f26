/* SPDX-License-Identifier: MIT
 *
 * scan.c - walks a tree of the share and says what differs from the catalog.
 *
 * Two sorted streams are merged: the names on disk and those in the catalog.  The catalog gives its
 * names by their bytes. The disk is walked in the same order: each directory is read whole and
 * sorted, a directory's name with a `/` behind it, for that is how it stands within the names of
 * its files ("a.txt" comes before "a/x", "a0" after it). Memory is bounded by the deepest chain of
 * directories, not by the tree.
 *
 * A file costs one fstatat(2) and is never opened.  Directories are opened from the descriptor of
 * their parent, one part at a time and without following links, so no swap leads out of the share;
 * each is watched before it is read.
 *
 * What is found goes out in steps, so that neither a worker nor memory is taken by a large share.
 * Findings are hints: between the reading here and the deed anything may happen, and whoever acts
 * on one looks again.
 *
 * What cannot be read is not taken for gone.  Forbidden directories are - nobody can be served from
 * them - but after an I/O error, or with no descriptors left, the names beneath are left as they
 * are.  And a share that as a whole seems to have vanished (removed, or its mount is missing and we
 * look at the bare mount point) is trouble to be reported, not the removal of every file.
 */
#include "scan.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "file.h"
#include "indexer.h"
#include "listing.h"
#include "mem.h"
#include "name.h"

/* Directories that can hold a file whose name has not too many parts; the share itself is the
 * first. */
#define DEPTH_MAX NAME_MAX_PARTS
/* A name may get longer than allowed by one part before that is noticed. */
#define PATH_BYTES (NAME_SIZE + NAME_PART_MAX + 2)

struct frame {
	int fd;
	size_t prefix_len; /* of scan->path */
	struct listing listing;
};

struct scan {
	struct scan_place place;
	char *prefix;
	bool is_begun;
	struct stat root;

	struct catalog_scan *rows;
	const char *row; /* the next name of the catalog; NULL at its end */
	struct catalog_local local;

	char path[PATH_BYTES];
	unsigned base_depth; /* parts of the prefix */
	unsigned depth;      /* frames in use */
	struct frame frames[DEPTH_MAX];

	unsigned visited; /* entries, in this step */
	size_t bad_count; /* in all */
	struct scan_report report;
};

struct scan *
scan_new(const struct scan_place *place, const char *prefix)
{
	struct scan *scan = mem_zero(1, sizeof(*scan));

	scan->place = *place;
	scan->prefix = mem_string(prefix);
	scan->report.found = mem_zero(SCAN_STEP_FOUND, sizeof(struct scan_found));
	for (const char *at = prefix; *at != '\0'; at++)
		scan->base_depth += *at == '/';
	return scan;
}

static void
reset_report(struct scan *scan)
{
	for (size_t i = 0; i < scan->report.count; i++) {
		free(scan->report.found[i].name);
		free(scan->report.found[i].why);
	}
	scan->report.count = 0;
	scan->visited = 0;
}

static void
pop_frame(struct scan *scan)
{
	struct frame *frame = &scan->frames[--scan->depth];

	listing_fini(&frame->listing);
	close(frame->fd);
}

void
scan_free(struct scan *scan)
{
	if (scan == NULL)
		return;
	while (scan->depth > 0)
		pop_frame(scan);
	catalog_scan_free(scan->rows);
	reset_report(scan);
	free(scan->report.found);
	free(scan->prefix);
	free(scan);
}

const struct scan_report *
scan_report(const struct scan *scan)
{
	return &scan->report;
}

const char *
scan_prefix(const struct scan *scan)
{
	return scan->prefix;
}

static bool
is_full(const struct scan *scan)
{
	return scan->report.count == SCAN_STEP_FOUND || scan->visited >= SCAN_STEP_ENTRIES ||
	       atomic_load(scan->place.is_stopping);
}

/* Only while the report is not full. */
static void
add_found(struct scan *scan, const char *name, const char *why, uint64_t size_bytes)
{
	if (why != NULL && ++scan->bad_count > INDEXER_TROUBLE_MAX) {
		scan->report.unlisted++;
		return;
	}
	scan->report.found[scan->report.count++] = (struct scan_found){
		.name = mem_string(name),
		.why = mem_string(why),
		.size_bytes = size_bytes,
	};
}

/* --- the catalog's side --- */

static int
next_row(struct scan *scan)
{
	int rc = catalog_scan_next(scan->rows, &scan->row, &scan->local);

	if (rc <= 0)
		scan->row = NULL;
	if (rc < 0)
		error_set(&scan->report.trouble, rc, "the catalog cannot be read");
	return rc < 0 ? rc : P2P_OK;
}

/* Reports rows before `path` (NULL: all that are left) as missing on disk.  1 if the report is full
 * before that. */
static int
pass_rows(struct scan *scan, const char *path)
{
	while (scan->row != NULL && (path == NULL || strcmp(scan->row, path) < 0)) {
		if (is_full(scan))
			return 1;
		add_found(scan, scan->row, NULL, 0);
		scan->visited++;
		int code = next_row(scan);
		if (code != P2P_OK)
			return code;
	}
	return 0;
}

/* Leaves rows alone whose names begin with `prefix`: it cannot be read now. */
static int
skip_rows(struct scan *scan, const char *prefix)
{
	size_t len = strlen(prefix);

	while (scan->row != NULL && strncmp(scan->row, prefix, len) == 0) {
		int code = next_row(scan);
		if (code != P2P_OK)
			return code;
	}
	return P2P_OK;
}

/* --- directories --- */

static void
follow_directory(struct scan *scan, int fd)
{
	if (scan->place.watch == NULL || scan->report.is_watch_full)
		return;
	if (watch_add(scan->place.watch, fd, scan->path) == P2P_TOO_MANY)
		scan->report.is_watch_full = true;
}

/* The directory at scan->path could not be read.  True if it counts as gone. */
static bool
counts_as_gone(int error)
{
	return error == ENOENT || error == ENOTDIR || error == ELOOP || error == EACCES ||
	       error == EPERM || error == ESTALE;
}

/* Notes why the directory at scan->path is not read, and settles its rows. */
static int
miss_directory(struct scan *scan, int error)
{
	if (error == EACCES || error == EPERM) {
		add_found(scan, scan->path, "the directory cannot be read: Permission denied", 0);
		return P2P_OK;
	}
	if (counts_as_gone(error))
		return P2P_OK;
	error_set(&scan->report.trouble, P2P_IO, "the directory '%s' cannot be read: %s",
		  scan->path, strerror(error));
	return skip_rows(scan, scan->path);
}

/* Takes `fd`, the directory at scan->path, and reads it into a new frame. */
static int
push_frame(struct scan *scan, int fd)
{
	struct frame *frame = &scan->frames[scan->depth];
	*frame = (struct frame){ .fd = fd, .prefix_len = strlen(scan->path) };

	follow_directory(scan, fd);
	int error = listing_read(&frame->listing, fd);
	if (error != 0) {
		listing_fini(&frame->listing);
		close(fd);
		return miss_directory(scan, error);
	}
	scan->depth++;
	return P2P_OK;
}

/* --- entries --- */

static bool
is_bad_name(struct scan *scan, const char *part, size_t part_len, struct error *err)
{
	size_t len = strlen(scan->path);
	bool is_dir = part[part_len - 1] == '/';

	if (len - is_dir > NAME_MAX_BYTES)
		return name_check(scan->path, len - is_dir, err) != P2P_OK;
	return name_check_part(part, part_len - is_dir, err) != P2P_OK;
}

static int
visit_directory(struct scan *scan, const struct frame *frame, const char *part)
{
	/* What is in here would have one part too many. */
	if (scan->base_depth + scan->depth >= DEPTH_MAX) {
		add_found(scan, scan->path, "its files are too deep", 0);
		return P2P_OK;
	}
	char name[NAME_PART_MAX + 2];
	size_t len = strlen(part) - 1;
	memcpy(name, part, len);
	name[len] = '\0';

	int fd =
	    openat(frame->fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	return fd < 0 ? miss_directory(scan, errno) : push_frame(scan, fd);
}

static int
visit_file(struct scan *scan, const struct frame *frame, const char *part)
{
	struct stat st;
	bool is_row = scan->row != NULL && strcmp(scan->row, scan->path) == 0;

	if (fstatat(frame->fd, part, &st, AT_SYMLINK_NOFOLLOW) != 0) {
		/* Gone since the directory was read, or unreadable: whoever looks closer will find
		 * out. */
		if (is_row)
			add_found(scan, scan->path, NULL, 0);
	} else {
		struct file_sig sig;
		file_sig_of(&st, &sig);
		if (!is_row || !file_sig_equal(&sig, &scan->local.sig))
			add_found(scan, scan->path, NULL, sig.size_bytes);
	}
	return is_row ? next_row(scan) : P2P_OK;
}

static const char *
kind_of(unsigned char type)
{
	switch (type) {
	case DT_LNK:
		return "a symbolic link is not followed";
	case DT_FIFO:
		return "a FIFO is no file";
	case DT_SOCK:
		return "a socket is no file";
	default:
		return "a device is no file";
	}
}

/* 1 if the report is full: the same entry comes again in the next step. */
static int
visit_entry(struct scan *scan, struct frame *frame)
{
	struct listing *listing = &frame->listing;
	const char *part = listing->names[listing->next];
	size_t len = strlen(part);
	memcpy(scan->path + frame->prefix_len, part, len + 1);

	int rc = pass_rows(scan, scan->path);
	if (rc != 0)
		return rc;
	if (is_full(scan))
		return 1;
	listing->next++;
	scan->visited++;

	unsigned char type = listing_type(part);
	struct error err = { 0 };
	if (is_bad_name(scan, part, len, &err))
		add_found(scan, scan->path, err.text, 0);
	else if (type == DT_DIR)
		return visit_directory(scan, frame, part);
	else if (type == DT_REG)
		return visit_file(scan, frame, part);
	else
		add_found(scan, scan->path, kind_of(type), 0);
	return P2P_OK;
}

/* --- beginning and end --- */

/* The share itself: is it still there, and is it what the path leads to? */
static int
check_root(struct scan *scan)
{
	struct error *trouble = &scan->report.trouble;
	struct stat path;

	if (fstat(scan->place.root_fd, &scan->root) != 0)
		return error_errno(trouble, "the share '%s' cannot be read", scan->place.directory);
	if (scan->root.st_nlink == 0)
		return error_set(trouble, P2P_NOT_FOUND,
				 "the share '%s' was removed; make it again and restart p2pd",
				 scan->place.directory);
	if (stat(scan->place.directory, &path) != 0 || path.st_dev != scan->root.st_dev ||
	    path.st_ino != scan->root.st_ino)
		error_set(
		    trouble, P2P_CONFLICT,
		    "'%s' is no longer the directory that is shared (moved, or mounted over); "
		    "restart p2pd to share what is there now",
		    scan->place.directory);
	return P2P_OK;
}

/*
 * An empty share, and the catalog has files that were on another file system: we probably look at
 * the mount point of what was not mounted.
 */
static int
check_mount(struct scan *scan)
{
	if (scan->prefix[0] != '\0' || scan->depth == 0 || scan->frames[0].listing.count > 0 ||
	    scan->row == NULL || scan->local.sig.device == (uint64_t)scan->root.st_dev)
		return P2P_OK;
	return error_set(
	    &scan->report.trouble, P2P_NOT_FOUND,
	    "the share '%s' is empty, but its files were on another file system: is it mounted?",
	    scan->place.directory);
}

/* Opens the directory that scan->path names by all its parts: an event, or a scan of its parent,
 * has brought it. */
static int
open_subtree(struct scan *scan, int *ret_fd, struct error *err)
{
	size_t len = strlen(scan->path) - 1;

	scan->path[len] = '\0';
	int code = file_open_beneath(scan->place.root_fd, scan->path, O_RDONLY | O_DIRECTORY, 0,
				     ret_fd, err);
	if (code == P2P_OK && name_check(scan->path, len, err) != P2P_OK)
		code = P2P_BAD_NAME;
	else if (code == P2P_OK && scan->base_depth >= DEPTH_MAX)
		code = error_set(err, P2P_BAD_NAME, "its files are too deep");
	if (code == P2P_BAD_NAME)
		close(*ret_fd);
	scan->path[len] = '/';
	return code;
}

static int
open_prefix(struct scan *scan)
{
	struct error err = { 0 };
	int fd;

	if (strlen(scan->prefix) > NAME_SIZE)
		return P2P_OK; /* nothing in there has a name that can be shared */
	strcpy(scan->path, scan->prefix);
	if (scan->prefix[0] == '\0') {
		fd = openat(scan->place.root_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd < 0)
			return error_errno(&scan->report.trouble, "the share '%s' cannot be read",
					   scan->place.directory);
		return push_frame(scan, fd);
	}

	switch (open_subtree(scan, &fd, &err)) {
	case P2P_OK:
		return push_frame(scan, fd);
	case P2P_NOT_FOUND:
		return P2P_OK;
	case P2P_BAD_NAME:
	case P2P_FORBIDDEN:
		add_found(scan, scan->path, err.text, 0);
		return P2P_OK;
	default:
		scan->report.trouble = err;
		return skip_rows(scan, scan->prefix);
	}
}

static int
begin(struct scan *scan)
{
	scan->is_begun = true;
	int code = check_root(scan);
	if (code != P2P_OK)
		return code;
	scan->rows = catalog_scan_new(scan->place.catalog, scan->prefix);
	if (scan->rows == NULL)
		return error_set(&scan->report.trouble, P2P_IO, "the catalog cannot be read");
	code = next_row(scan);
	if (code == P2P_OK)
		code = open_prefix(scan);
	/* Where the directory is no more, what was beneath it needs no watching. */
	if (code == P2P_OK && scan->depth == 0 && scan->place.watch != NULL)
		watch_drop(scan->place.watch, scan->prefix);
	return code == P2P_OK ? check_mount(scan) : code;
}

int
scan_check_place(const struct scan_place *place, struct error *err)
{
	struct scan *scan = scan_new(place, "");
	int code = begin(scan);

	if (code != P2P_OK)
		*err = scan->report.trouble;
	scan_free(scan);
	return code;
}

int
scan_step(struct scan *scan)
{
	reset_report(scan);
	int rc = scan->is_begun ? P2P_OK : begin(scan);

	while (rc == P2P_OK && scan->depth > 0) {
		struct frame *frame = &scan->frames[scan->depth - 1];
		if (frame->listing.next == frame->listing.count)
			pop_frame(scan);
		else
			rc = visit_entry(scan, frame);
	}
	if (rc == P2P_OK)
		rc = pass_rows(scan, NULL);
	/* The end of reading is the worker's business too, and the catalog wants its reader back.
	 */
	if (rc <= 0) {
		catalog_scan_free(scan->rows);
		scan->rows = NULL;
		scan->row = NULL;
	}
	return rc;
}
