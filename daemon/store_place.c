/* SPDX-License-Identifier: MIT
 *
 * store_place.c - is the share still where its owner looks for it?
 *
 * We hold the share by a descriptor of its directory, so whatever happens to
 * the path, nothing is ever read or written elsewhere.  But a directory that
 * was removed, or whose file system was unmounted under us, would take what is
 * written now with it, and one that was the bare mount point of what was not
 * mounted would hide it later.  Then what is there is served, for as long as
 * it can be read, and nothing is written: whoever is about to make a file, or
 * to give one its name, asks here first.
 *
 * That the mount is missing since before we started cannot be seen from here.
 * The indexer, which knows what the share had, bars the store.
 */
#include "store_inner.h"

#include <stdio.h>
#include <sys/stat.h>

void
store_bar(struct store *store, const char *why)
{
	pthread_mutex_lock(&store->mu);
	snprintf(store->barred, sizeof(store->barred), "%s", why != NULL ? why : "");
	pthread_mutex_unlock(&store->mu);
}

static int
check_barred(struct store *store, struct error *err)
{
	int rc = P2P_OK;

	pthread_mutex_lock(&store->mu);
	if (store->barred[0] != '\0')
		rc = error_set(err, P2P_IO, "%s", store->barred);
	pthread_mutex_unlock(&store->mu);
	return rc;
}

int
store_check_place(struct store *store, struct error *err)
{
	struct stat root, path;

	if (fstat(store->root_fd, &root) < 0)
		return error_errno(err, "the share cannot be read");
	if (root.st_nlink == 0)
		return error_set(err, P2P_IO, "the share '%s' was removed", store->directory);
	if (stat(store->directory, &path) < 0 || path.st_dev != root.st_dev ||
	    path.st_ino != root.st_ino)
		return error_set(err, P2P_IO,
				 "'%s' is no longer the directory that is shared (moved, "
				 "unmounted, or mounted over)",
				 store->directory);
	return check_barred(store, err);
}
