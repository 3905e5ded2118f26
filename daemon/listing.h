/* SPDX-License-Identifier: MIT
 *
 * listing.h - the entries of one directory, in the order of whole names.  One thread at a time.
 */
#ifndef P2PD_LISTING_H
#define P2PD_LISTING_H

#include <stddef.h>

struct listing {
	char *arena;		/* of each entry: its d_type, its name, for a directory a `/`, NUL */
	size_t used, room;	/* bytes of the arena */
	const char **names;	/* sorted; into the arena */
	size_t count, next;	/* `next` is the user's place in it */
};

/*
 * Reads the directory that is open as `dir_fd` (borrowed) into *ret, without our own temporary files.
 * 0, or an errno; listing_fini() is due either way.
 */
int		 listing_read(struct listing *ret, int dir_fd);
void		 listing_fini(struct listing *listing);
/* The kind (DT_*) of a name of the listing. */
unsigned char	 listing_type(const char *name);

#endif
