/* SPDX-License-Identifier: MIT
 *
 * store.h - the bytes of the share: complete files to read, new files to write.
 *
 * Files are served from where they lie and are checked, at every opening, to be those that the catalog
 * describes.  New files are written under a temporary name in STORE_TEMP_DIR inside of the share (same
 * file system, never shared, never served) and get their name by one rename.  Any thread, except the mind
 * where the disk is touched.
 */
#ifndef P2PD_STORE_H
#define P2PD_STORE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "digest.h"
#include "directory.h"
#include "error.h"
#include "file.h"
#include "merkle.h"

#define STORE_TEMP_DIR	".p2pd-partial"
#define STORE_UPLOAD_PREFIX "upload-"	/* of temporary names that the next start removes */
#define STORE_BLOCK	(256u << 10)	/* bytes of one read or write; larger ones are slower on fresh pages */

struct store;

/* Opens (makes) the share directory, and makes nothing in it before it is needed; removes uploads that a crash left (".p2pd-partial/upload-*").  NULL and err. */
struct store	*store_new(const char *share_directory, struct error *err);
void		 store_free(struct store *store);
int		 store_root_fd(const struct store *store);	/* borrowed */
/*
 * May the share be written to?  P2P_IO and the reason if its directory was removed, or is not what its path leads to any more
 * (moved, unmounted, mounted over), or if the store is barred.  Asked by all that makes, names or removes a file here.
 */
int		 store_check_place(struct store *store, struct error *err);
/* Nothing may be written from now on, for this reason, which is copied; NULL: it may again. */
void		 store_bar(struct store *store, const char *why);
/* Free bytes that may still be written: free space less `reserve_bytes`. */
uint64_t	 store_room(const struct store *store, uint64_t reserve_bytes);

/* Opens (makes, with O_CREAT in flags) the file `base` in STORE_TEMP_DIR; makes that directory again if
 * somebody removed it.  Gives the fd.  Its path beneath the root is STORE_TEMP_DIR "/base". */
int		 store_open_temp(struct store *store, const char *base, int flags, mode_t mode, int *ret_fd,
		     struct error *err);
/* Sets the permission bits and the modification time (mtime_ns 0: now) of a file that is ready. */
int		 store_set_attributes(int fd, mode_t mode, int64_t mtime_ns, struct error *err);
/* The same, and then makes bytes and attributes durable. */
int		 store_seal(int fd, mode_t mode, int64_t mtime_ns, struct error *err);

/* --- directories --- */

/* What a directory of the share is like.  P2P_NOT_FOUND, P2P_BAD_NAME, P2P_FORBIDDEN, P2P_IO. */
int		 store_stat_directory(struct store *store, const char *name, struct directory *ret, struct error *err);
/*
 * A directory that was made here gets these permission bits, as far as it has them, and this time of modification (0: it keeps its own).
 * The owner's bits, and what is no permission bit, are left.  As above.
 */
int		 store_set_directory(struct store *store, const char *name, const struct directory *directory,
		     struct error *err);

/* --- reading --- */

/* A complete file, or one of which some bytes are verified, open.  Immutable and refcounted; any thread. */
struct store_reader {
	int fd;				/* borrowed by users; closed with the last reference */
	struct content_id content;
	struct file_sig sig;		/* of a complete file */
	bool is_partial;
	atomic_uint refs;
};

/*
 * Opens `name` for reading if it still is what `sig` says: P2P_CONFLICT if it changed under us,
 * P2P_NOT_FOUND if it is gone.  Gives a reference.
 */
int		 store_open(struct store *store, const char *name, const struct content_id *content,
		     const struct file_sig *sig, struct store_reader **ret, struct error *err);
/* A reader of a file that is still being brought here: takes fd.  Only what is verified may be read from it, which never changes.
 * Gives a reference. */
struct store_reader *store_reader_of_partial(int fd, const struct content_id *content);
struct store_reader *store_reader_ref(struct store_reader *reader);
void		 store_reader_unref(struct store_reader *reader);
/* P2P_OK while the open file still has the bytes that it had when opened, also after it was removed or
 * replaced by rename; P2P_CONFLICT if they may have changed.  One fstat.  A partial one is always good. */
int		 store_reader_check(const struct store_reader *reader);

/*
 * Is `name` a file with exactly this content?  Reads all of it, unless its size tells.  P2P_OK; P2P_NOT_FOUND: nothing has
 * the name; P2P_EXISTS: something else, or it changed meanwhile; P2P_CANCELLED once *is_stopping (may be NULL); P2P_IO: it cannot be said now.  *ret_sig (may
 * be NULL) is the file's if it matches.
 */
int		 store_match(struct store *store, const char *name, const struct content_id *content,
		     const atomic_bool *is_stopping, struct file_sig *ret_sig);

/* --- writing a new file whose content id is not known before --- */

struct store_upload;

/* What an upload became. */
struct store_written {
	struct content_id content;
	struct file_sig sig;
	struct digest *layer;		/* at merkle_piece_bytes(); gives: free() */
	size_t layer_count;
};

/* Begins an upload.  expect_bytes is the announced size, or UINT64_MAX; P2P_NO_SPACE if it would not
 * leave reserve_bytes free; P2P_TOO_LARGE over max_bytes. */
struct store_upload *store_upload_new(struct store *store, uint64_t expect_bytes, uint64_t max_bytes,
		     uint64_t reserve_bytes, struct error *err);
/* What must come: a commit of anything else is P2P_BAD_CONTENT, and no file takes the name.  NULL: whatever comes.  Copied. */
void		 store_upload_expect(struct store_upload *upload, const struct content_id *content);
/* Bytes that were appended so far. */
uint64_t	 store_upload_bytes(const struct store_upload *upload);
/* Appends and hashes.  One thread at a time.  P2P_TOO_LARGE over max_bytes, P2P_BAD_CONTENT past the announced
 * size, P2P_NO_SPACE where the reserve begins.  After a failure the upload can only be freed. */
int		 store_upload_feed(struct store_upload *upload, const void *data, size_t len, struct error *err);
/* Appends all of a regular file from its beginning (a user's, by descriptor); P2P_CONFLICT if it changes meanwhile,
 * P2P_CANCELLED once *is_abandoned (may be NULL). */
int		 store_upload_feed_fd(struct store_upload *upload, int fd, const atomic_bool *is_abandoned,
		     struct error *err);
/*
 * Makes the file durable and gives it its name (mode as given less the umask; mtime_ns kept, or now if 0).
 * With FILE_KEEP_EXISTING a file of that name that has the very same content counts as done; another one
 * is P2P_EXISTS.  P2P_BAD_CONTENT if fewer bytes came than announced, or others than expected.
 * After failure the upload can be committed again, or freed.
 */
int		 store_upload_commit(struct store_upload *upload, const char *name, mode_t mode, int64_t mtime_ns,
		     enum file_replace replace, struct store_written *ret, struct error *err);
/* Frees; removes the temporary file if it was not committed. */
void		 store_upload_free(struct store_upload *upload);

/* Removes a shared file if it still is what `sig` says (NULL: whatever it is). */
int		 store_remove(struct store *store, const char *name, const struct file_sig *sig, struct error *err);

#endif
