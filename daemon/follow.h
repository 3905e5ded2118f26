/* SPDX-License-Identifier: MIT
 *
 * follow.h - follows: what appears in the network and fits a pattern is fetched into the share.
 *
 * A follow is a pattern, kept in the catalog (catalog_follow.h).  It begins with what is known of every peer's files at that
 * moment; from then on each version that appears is judged once: taken, or not because it is here, was here and removed, is
 * older, or finds another file under its name.  It only ever adds, or replaces when told so; it never removes.
 */
#ifndef P2PD_FOLLOW_H
#define P2PD_FOLLOW_H

#include "catalog_follow.h"
#include "events.h"
#include "fetch.h"
#include "pool.h"

#define FOLLOW_SETTLE_MS	200	/* from news to the look at it, so that a burst becomes one fetch */
#define FOLLOW_SPACE_MS		1000	/* between two looks that began a fetch */
#define FOLLOW_ITEMS_MAX	10000	/* files that one look takes; the next one goes on */
#define FOLLOW_CHANGES_MAX	100000	/* changes that one look reads */
#define FOLLOW_FETCHES_MAX	(FETCH_ACTIVE_MAX / 2)	/* with more fetches under way nothing is begun */

/* --- rules: pure, any thread --- */

/* True if the pattern means the name: as a glob, or, without * ? [, as the name itself or a directory above it. */
bool	follow_fits(const char *pattern, const char *name);
/* Where a file of the network lands: `name`, or place/name.  False if that is no name. */
bool	follow_land(const char *place, const char *name, char ret[NAME_SIZE]);
/* True if `a` is to be preferred to `b`: of a later time, or of the same with the greater root.  A total order over versions,
 * so that peers that follow each other agree. */
bool	follow_is_newer(const struct catalog_version *a, const struct catalog_version *b);

enum follow_verdict {
	FOLLOW_TAKE,
	FOLLOW_PRESENT,		/* it is here, or on its way */
	FOLLOW_PASSED,		/* it was here and was removed, or was known before; or is older than that */
	FOLLOW_OLDER,		/* than what it would replace */
	FOLLOW_HELD		/* another file has its name, and must not be replaced */
};
/* Judges a version by what the share has under the name where it lands, and what is passed over; either may be NULL. */
enum follow_verdict follow_judge(const struct catalog_version *version, const struct catalog_version *here,
	    const struct catalog_version *passed, bool replace);

/* --- the follows of this peer: mind's thread --- */

struct follows;

struct follows	*follows_new(struct loop *loop, struct pool *pool, struct catalog *catalog, struct fetches *fetches,
		     struct events *events);
/* Looks at what came while we were away.  After fetches_start(). */
void		 follows_start(struct follows *follows);
/* Catalogs of others changed. */
void		 follows_notice(struct follows *follows);
/* A follow was added or changed. */
void		 follows_added(struct follows *follows);
/* Begins nothing more. */
void		 follows_stop(struct follows *follows);
/* After the pool and the catalog have stopped, and what they posted was run. */
void		 follows_free(struct follows *follows);

#endif
