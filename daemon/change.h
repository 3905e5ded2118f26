/* SPDX-License-Identifier: MIT
 *
 * change.h - the changes of one peer's files, as they travel between peers and into the catalog.
 * Plain data with one owner; any thread.
 */
#ifndef P2PD_CHANGE_H
#define P2PD_CHANGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "digest.h"

#define PEER_ID_SIZE		DIGEST_BASE32_SIZE
#define CHANGE_PAGE_MAX		1000	/* changes of one page */

struct change {
	uint64_t seq;
	char *name;			/* owned by the page */
	bool is_removed;		/* then the rest is zero */
	struct content_id content;
	int64_t mtime_ns;
	uint32_t mode;			/* permission bits, 0777 at most */
};

struct change_page {
	char peer[PEER_ID_SIZE];	/* whose files */
	uint64_t epoch;
	uint64_t since;			/* changes after this seq ... */
	uint64_t through;		/* ... up to this one are all here */
	uint64_t head;			/* the peer's newest seq when the page was made */
	bool is_reset;			/* epoch or since were not to be served, or removals since are forgotten: drop what you had; this begins at 0 */
	uint64_t file_count, byte_count; /* the peer's files in all */
	size_t count;
	struct change *items;		/* ascending seq */
};

/* What is asked for: a page of the changes of one peer's files. */
struct change_question {
	const char *peer;		/* borrowed */
	uint64_t epoch, since;		/* changes after this seq of this epoch; 0, 0: from the beginning */
	uint64_t begun;			/* `head` of the page that began at 0, from which the asker goes on; or since; 0: not told */
	uint32_t limit;			/* changes of the page, 1 to CHANGE_PAGE_MAX */
};

/* Makes an empty page; room for CHANGE_PAGE_MAX items is made by change_page_add(). */
struct change_page *change_page_new(void);
/* Appends a copy; false (and nothing done) if the page is full. */
bool	change_page_add(struct change_page *page, const struct change *change);
void	change_page_free(struct change_page *page);

#endif
