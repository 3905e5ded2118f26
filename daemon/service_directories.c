/* SPDX-License-Identifier: MIT
 *
 * service_directories.c - what directories of the share are like, for a peer that fetched what is below them.
 *
 * One that a fetch of ours is still making has the time of its newest file and the mode of a new
 * directory: who copied these would hand on what is nobody's.  So it is not told of before the fetch
 * has ended.
 *
 * The other way round, a user who fetched a tree to a place of his own may ask us what its
 * directories are like.
 */
#include "service_internal.h"

int
service_directories(struct service *service, const struct directory_question *question,
		    struct error *err)
{
	if (question->count == 0)
		return error_set(err, P2P_BAD_REQUEST, "names: wanted at least one");
	if (question->count > DIRECTORIES_MAX)
		return error_set(err, P2P_TOO_MANY, "at most %d directories are told of at once",
				 DIRECTORIES_MAX);
	struct catalog_view *view = catalog_view_new(service->parts.catalog);
	if (view == NULL)
		return error_set(err, P2P_IO, "the catalog cannot be read");
	for (size_t i = 0; i < question->count; i++) {
		struct directory *found = &question->found[i];

		*found = (struct directory){ .is_there = false };
		if (!catalog_view_is_making(view, question->names[i]))
			(void)store_stat_directory(service->parts.store, question->names[i], found,
						   NULL);
	}
	catalog_view_free(view);
	return P2P_OK;
}

void
service_look_at_directories(struct service *service, char **names, size_t count, fetch_look_fn done,
			    void *arg)
{
	fetch_look_at_directories(service->parts.fetches, names, count, done, arg);
}
