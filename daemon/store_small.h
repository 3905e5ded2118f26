/* SPDX-License-Identifier: MIT
 *
 * store_small.h - many small new files at once: each whole and durable under its name or not at all, and the disk waited for
 * together.  Blocks on the disk; any thread but the mind.
 */
#ifndef P2PD_STORE_SMALL_H
#define P2PD_STORE_SMALL_H

#include "store.h"

#define STORE_SMALL_GROUP	128	/* files that are open at once */

/* One file.  The caller fills the first five and has verified the bytes. */
struct store_small {
	const char *name;		/* borrowed, like data */
	const void *data;
	size_t len;
	mode_t mode;			/* of it only 0777 less the umask counts */
	int64_t mtime_ns;		/* 0: now */

	struct error error;		/* what became of it: code P2P_OK, or why it is not there */
	struct file_sig sig;		/* if it is */

	int fd;				/* for store_small.c alone */
	char temp[sizeof(STORE_UPLOAD_PREFIX) + 16];
};

/*
 * Puts all of them into the share; those of one directory should stand together.  What is not P2P_OK afterwards left nothing behind, but
 * if the directory could not be synced.  FILE_KEEP_EXISTING: P2P_EXISTS if something has the name.  P2P_NO_SPACE where it would not leave
 * reserve_bytes free; P2P_CANCELLED for those that were not begun when *is_stopping (may be NULL) was set.
 */
void	store_put_small(struct store *store, struct store_small *files, size_t count, enum file_replace replace,
	    uint64_t reserve_bytes, const atomic_bool *is_stopping);

#endif
