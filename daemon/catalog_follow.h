/* SPDX-License-Identifier: MIT
 *
 * catalog_follow.h - what the catalog remembers of follows: the patterns, how far each peer's changes were looked at for
 * them, and versions that they pass over.  Reading: any thread but the mind.
 *
 * A follow is told what changed since its marks; a mark is written in the transaction that enters what it led to, so that a
 * kill neither loses nor doubles.  A version is passed over when this peer removed it from its share, or when it was known
 * already of the peer that has it before that one began to number its changes anew: only a newer one of that name counts.
 */
#ifndef P2PD_CATALOG_FOLLOW_H
#define P2PD_CATALOG_FOLLOW_H

#include "catalog.h"

#define CATALOG_FOLLOWS_MAX	256

struct catalog_follow {
	uint64_t no;			/* 1, 2, 3 ... */
	const char *pattern;		/* a glob, or a name, or a directory: follow_fits() */
	const char *place;		/* the directory of the share under which it lands, or "" */
	bool replace;			/* newer versions replace files here */
	int64_t since_wall_ms;
	uint64_t files, bytes;		/* that were begun to be fetched for it */
};
typedef void	(*catalog_follow_fn)(void *arg, const struct catalog_follow *follow);
/* In order of their number. */
int		 catalog_follows(struct catalog *catalog, catalog_follow_fn fn, void *arg);

/* How far the changes of a peer were looked at for a follow; (0, 0) if they never were. */
struct catalog_mark {
	uint64_t epoch, seq;
};
int		 catalog_follow_mark(struct catalog *catalog, uint64_t follow, const char *peer, struct catalog_mark *ret);

/* One version of a file. */
struct catalog_version {
	struct content_id content;
	int64_t mtime_ns;
};
/* The versions of that name in the share that follows pass over when `peer` has them.  How many, or P2P_IO. */
#define CATALOG_PASSED_MAX	2	/* one that was removed here, one that was known of this peer */
int		 catalog_passed_over(struct catalog *catalog, const char *name, const char *peer,
		     struct catalog_version ret[CATALOG_PASSED_MAX]);
/* True while versions are passed over because they were known of this peer. */
bool		 catalog_is_anew(struct catalog *catalog, const char *peer);

/* Calls fn for every fetch that has not yet brought its file of that name. */
typedef void	(*catalog_wanted_fn)(void *arg, uint64_t fetch, const char *what, const struct catalog_version *version);
int		 catalog_wanted(struct catalog *catalog, const char *name, catalog_wanted_fn fn, void *arg);

/* From now on; the same pattern and place again changes `replace` only.  P2P_TOO_MANY beyond CATALOG_FOLLOWS_MAX. */
void		 catalog_batch_follow(struct catalog_batch *batch, const struct catalog_follow *follow);
/* Unknown ones are nothing. */
void		 catalog_batch_unfollow(struct catalog_batch *batch, uint64_t no);
/* These two are nothing if the follow is gone. */
void		 catalog_batch_mark(struct catalog_batch *batch, uint64_t follow, const char *peer, const struct catalog_mark *mark);
void		 catalog_batch_followed(struct catalog_batch *batch, uint64_t follow, uint64_t files, uint64_t bytes);

#endif
