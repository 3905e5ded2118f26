/* SPDX-License-Identifier: MIT
 *
 * service_search.c - searches: limits, and what a filter says of peers.
 *
 * People call a peer by its name or by the beginning of its id; the catalog knows ids.  Who is here
 * is the mind's knowledge; a search that asks for it takes a copy first, and holds nobody up. A peer
 * that did not answer once is still here (peers.h).
 */
#include "service_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ID_PREFIX_MIN 8 /* characters of an id that may stand for it */

/* What the filter needs to know of peers; sorted by id. */
struct crowd {
	struct peer_info *peers;
	size_t count;
};

static int
compare_ids(const void *a, const void *b)
{
	return strcmp(((const struct peer_info *)a)->id, ((const struct peer_info *)b)->id);
}

static int
crowd_take(struct service *service, struct crowd *ret, struct error *err)
{
	int code = service_peers(service, &ret->peers, &ret->count);
	if (code != P2P_OK)
		return error_set(err, code, "%s", code_title(code));
	qsort(ret->peers, ret->count, sizeof(*ret->peers), compare_ids);
	return P2P_OK;
}

/* struct catalog_filter's is_here. */
static bool
is_here(void *arg, const char *peer)
{
	const struct crowd *crowd = arg;
	struct peer_info wanted;
	snprintf(wanted.id, sizeof(wanted.id), "%s", peer);
	const struct peer_info *found =
	    bsearch(&wanted, crowd->peers, crowd->count, sizeof(wanted), compare_ids);
	return found != NULL && found->state != PEER_AWAY;
}

static bool
is_called(const char *text, const char *id, const char *name)
{
	size_t len = strlen(text);
	return strcmp(text, name) == 0 || strcmp(text, id) == 0 ||
	       (len >= ID_PREFIX_MIN && strncmp(text, id, len) == 0);
}

/* The id of the one peer that is called so, ourselves included. */
static int
find_holder(struct service *service, const struct crowd *crowd, const char *text,
    char ret[PEER_ID_SIZE], struct error *err)
{
	struct service_node node;
	unsigned found = 0;
	int code = service_node_quick(service, &node);
	if (code != P2P_OK)
		return error_set(err, code, "%s", code_title(code));
	if (is_called(text, node.self.id, node.self.name)) {
		memcpy(ret, node.self.id, PEER_ID_SIZE);
		found++;
	}
	for (size_t i = 0; i < crowd->count; i++)
		if (is_called(text, crowd->peers[i].id, crowd->peers[i].name)) {
			memcpy(ret, crowd->peers[i].id, PEER_ID_SIZE);
			found++;
		}
	if (found == 1)
		return P2P_OK;
	return error_set(err, P2P_BAD_REQUEST,
	    found == 0 ? "holder: no peer is called \"%.64s\""
		       : "holder: more than one peer is called \"%.64s\"; give the id",
	    text);
}

/* With slashes behind it, or without; none but these is the top. */
static int
check_directory(const char *directory, struct error *err)
{
	size_t len = strlen(directory);
	struct error why;
	while (len > 0 && directory[len - 1] == '/')
		len--;
	if (len == 0 || name_check(directory, len, &why) == P2P_OK)
		return P2P_OK;
	return error_set(err, P2P_BAD_REQUEST,
	    "a directory of the network is one such as \"photos/2026\": %s", why.text);
}

static int
check_search(const struct catalog_query *query, struct error *err)
{
	const struct catalog_filter *filter = query->filter;
	if (strlen(query->text) > NAME_MAX_BYTES)
		return error_set(err, P2P_BAD_REQUEST, "a search is at most %d bytes long",
		    NAME_MAX_BYTES);
	if (query->limit < 1 || query->limit > CATALOG_PAGE_MAX)
		return error_set(err, P2P_BAD_REQUEST, "limit is 1 to %d", CATALOG_PAGE_MAX);
	if (query->match == CATALOG_GLOB && name_glob_check(query->text, err) != P2P_OK)
		return P2P_BAD_REQUEST;
	if (query->match == CATALOG_LEVEL && check_directory(query->text, err) != P2P_OK)
		return P2P_BAD_REQUEST;
	if (filter != NULL && filter->directory != NULL)
		return check_directory(filter->directory, err);
	return P2P_OK;
}

int
service_search(struct service *service, const struct catalog_query *query, catalog_found_fn fn,
    void *arg, char *ret_cursor, struct error *err)
{
	struct catalog_query asked = *query;
	struct catalog_filter filter = CATALOG_FILTER_NONE;
	struct crowd crowd = { 0 };
	char holder[PEER_ID_SIZE];
	int code = check_search(query, err);
	if (code != P2P_OK)
		return code;
	if (query->filter != NULL)
		filter = *query->filter;
	if (filter.state != CATALOG_ANY_STATE || filter.holder != NULL)
		code = crowd_take(service, &crowd, err);
	if (code == P2P_OK && filter.holder != NULL)
		code = find_holder(service, &crowd, filter.holder, holder, err);
	if (code == P2P_OK) {
		filter.holder = filter.holder != NULL ? holder : NULL;
		filter.is_here = is_here;
		filter.is_here_arg = &crowd;
		asked.filter = &filter;
		code = catalog_search(service->parts.catalog, &asked, fn, arg, ret_cursor, err);
	}
	free(crowd.peers);
	return code;
}
