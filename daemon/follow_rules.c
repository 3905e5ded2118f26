/* SPDX-License-Identifier: MIT
 *
 * follow_rules.c - what a follow means, and what becomes of a version that it means.
 *
 * Versions of one name are ordered by their time, and by their root where that is equal.  Fetches
 * keep the time, so the order is the same on every peer: those who follow each other and replace
 * come to rest at the newest version, whoever had it first, and a version that went round comes
 * back as one that is here.
 *
 * Nothing here asks anybody anything.
 */
#include "follow.h"

#include <stdio.h>
#include <string.h>

#include "name.h"

bool
follow_fits(const char *pattern, const char *name)
{
	return name_is_meant(pattern, name);
}

bool
follow_land(const char *place, const char *name, char ret[NAME_SIZE])
{
	int len = snprintf(ret, NAME_SIZE, "%s%s%s", place, place[0] != '\0' ? "/" : "", name);
	return len < NAME_SIZE && name_check(ret, (size_t)len, NULL) == P2P_OK;
}

bool
follow_is_newer(const struct catalog_version *a, const struct catalog_version *b)
{
	if (a->mtime_ns != b->mtime_ns)
		return a->mtime_ns > b->mtime_ns;
	int by_root = memcmp(a->content.root.bytes, b->content.root.bytes, DIGEST_BYTES);
	return by_root != 0 ? by_root > 0 : a->content.size_bytes > b->content.size_bytes;
}

enum follow_verdict
follow_judge(const struct catalog_version *version, const struct catalog_version *here,
	     const struct catalog_version *passed, bool replace)
{
	if (here != NULL && content_equal(&version->content, &here->content))
		return FOLLOW_PRESENT;
	if (here != NULL && !replace)
		return FOLLOW_HELD;
	if (here != NULL)
		return follow_is_newer(version, here) ? FOLLOW_TAKE : FOLLOW_OLDER;
	/* Touched or offered by another it is still the same. */
	if (passed != NULL && (content_equal(&version->content, &passed->content) ||
			       !follow_is_newer(version, passed)))
		return FOLLOW_PASSED;
	return FOLLOW_TAKE;
}
