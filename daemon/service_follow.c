/* SPDX-License-Identifier: MIT
 *
 * service_follow.c - follows: what may be followed, by whom, and the list of them.
 *
 * A follow starts fetches, so that from the network it wants the same right as one.  What it means
 * and does is follow.h's; here a pattern is checked, entered, and waited for until it is durable.
 */
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "mem.h"
#include "service_internal.h"

/* --- the list --- */

struct service_follow_list {
	struct service_follow_info *infos;
	size_t count, room;
};

static void
add_info(void *arg, const struct catalog_follow *follow)
{
	struct service_follow_list *list = arg;
	if (list->count == list->room) {
		list->room = list->room ? 2 * list->room : 8;
		list->infos = mem_grow(list->infos, list->room, sizeof(*list->infos));
	}
	list->infos[list->count++] = (struct service_follow_info){
		.id = follow->no,
		.pattern = mem_string(follow->pattern),
		.place = mem_string(follow->place),
		.replace = follow->replace,
		.since_wall_ms = follow->since_wall_ms,
		.files = follow->files,
		.bytes = follow->bytes,
	};
}

void
service_follows_free(struct service_follow_info *infos, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		free(infos[i].pattern);
		free(infos[i].place);
	}
	free(infos);
}

int
service_follows(struct service *service, struct service_follow_info **ret, size_t *ret_count,
		struct error *err)
{
	struct service_follow_list list = { 0 };
	int code = catalog_follows(service->parts.catalog, add_info, &list);
	if (code != P2P_OK) {
		service_follows_free(list.infos, list.count);
		return error_set(err, code, "the catalog cannot be read");
	}
	*ret = list.infos;
	*ret_count = list.count;
	return P2P_OK;
}

/* --- adding --- */

/* A directory may be written with a slash behind it. */
static void
strip(const char *text, char ret[NAME_SIZE + 1])
{
	size_t len = strnlen(text, NAME_SIZE);
	while (len > 1 && text[len - 1] == '/')
		len--;
	memcpy(ret, text, len);
	ret[len] = '\0';
}

static int
check(const char *pattern, const char *place, struct error *err)
{
	struct error why;
	if (name_check(pattern, strlen(pattern), &why) != P2P_OK)
		return error_set(err, P2P_BAD_REQUEST, "no name of a file can fit the pattern: %s",
				 why.text);
	if (name_glob_check(pattern, err) != P2P_OK)
		return P2P_BAD_REQUEST;
	if (place[0] != '\0' && name_check(place, strlen(place), &why) != P2P_OK)
		return error_set(err, P2P_BAD_REQUEST,
				 "what is followed lands in a directory of the share, such as "
				 "\"mirror/a\", and nowhere else: %s",
				 why.text);
	return P2P_OK;
}

static int
ask_added(void *arg)
{
	struct service *service = arg;
	if (service->parts.follows != NULL)
		follows_added(service->parts.follows);
	return P2P_OK;
}

/* Its number, now that it stands in the catalog. */
static int
find(struct service *service, const char *pattern, const char *place, uint64_t *ret_id,
     struct error *err)
{
	struct service_follow_info *infos;
	size_t count;
	int code = service_follows(service, &infos, &count, err);
	if (code != P2P_OK)
		return code;
	*ret_id = 0;
	for (size_t i = 0; i < count; i++)
		if (strcmp(infos[i].pattern, pattern) == 0 && strcmp(infos[i].place, place) == 0)
			*ret_id = infos[i].id;
	service_follows_free(infos, count);
	return *ret_id != 0 ? P2P_OK : error_set(err, P2P_CONFLICT, "it was removed meanwhile");
}

int
service_follow(struct service *service, const struct service_follow *follow, uint64_t *ret_id,
	       struct error *err)
{
	char pattern[NAME_SIZE + 1], place[NAME_SIZE + 1];
	int code = service_allow(service, follow->origin, true, "following", err);
	if (code != P2P_OK)
		return code;
	strip(follow->pattern, pattern);
	strip(follow->place != NULL ? follow->place : "", place);
	code = check(pattern, place, err);
	if (code != P2P_OK)
		return code;
	struct catalog_batch *batch = catalog_batch_new();
	catalog_batch_follow(batch, &(struct catalog_follow){ .pattern = pattern,
							      .place = place,
							      .replace = follow->replace,
							      .since_wall_ms = clock_wall_ms() });
	code = catalog_submit_wait(service->parts.catalog, batch);
	if (code == P2P_TOO_MANY)
		return error_set(err, code, "there are %d follows, which is the most",
				 CATALOG_FOLLOWS_MAX);
	if (code != P2P_OK)
		return error_set(err, code, "the catalog cannot be written");
	code = find(service, pattern, place, ret_id, err);
	return code == P2P_OK ? service_ask(service, ask_added, service, err) : code;
}

/* --- removing --- */

static bool
is_meant(const struct service_follow_info *info, uint64_t id, const char *pattern)
{
	return pattern != NULL ? strcmp(info->pattern, pattern) == 0 : info->id == id;
}

static int
unfollow(struct service *service, enum service_origin origin, uint64_t id, const char *pattern,
	 size_t *ret_count, struct error *err)
{
	struct service_follow_info *infos;
	size_t count, found = 0;
	int code = service_allow(service, origin, true, "following", err);
	if (code == P2P_OK)
		code = service_follows(service, &infos, &count, err);
	if (code != P2P_OK)
		return code;
	struct catalog_batch *batch = catalog_batch_new();
	for (size_t i = 0; i < count; i++) {
		if (!is_meant(&infos[i], id, pattern))
			continue;
		catalog_batch_unfollow(batch, infos[i].id);
		found++;
	}
	service_follows_free(infos, count);
	code = catalog_submit_wait(service->parts.catalog, batch);
	if (code != P2P_OK)
		return error_set(err, code, "the catalog cannot be written");
	*ret_count = found;
	return P2P_OK;
}

int
service_unfollow(struct service *service, enum service_origin origin, uint64_t id,
		 struct error *err)
{
	size_t count;
	int code = unfollow(service, origin, id, NULL, &count, err);
	if (code == P2P_OK && count == 0)
		code = error_set(err, P2P_NOT_FOUND, "there is no follow %llu",
				 (unsigned long long)id);
	return code;
}

int
service_unfollow_pattern(struct service *service, enum service_origin origin, const char *text,
			 size_t *ret_count, struct error *err)
{
	char pattern[NAME_SIZE + 1];
	strip(text, pattern);
	int code = unfollow(service, origin, 0, pattern, ret_count, err);
	if (code == P2P_OK && *ret_count == 0)
		code = error_set(err, P2P_NOT_FOUND, "nothing follows \"%.200s\"", pattern);
	return code;
}
