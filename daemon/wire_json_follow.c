/* SPDX-License-Identifier: MIT
 *
 * wire_json_follow.c - follows as JSON.
 */
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "mem.h"
#include "wire_json.h"
#include "wire_json_fields.h"
#include "wire_json_inner.h"

static json_t *
follow_of(const struct service_follow_info *info)
{
	char since[CLOCK_RFC3339_SIZE];

	clock_rfc3339(info->since_wall_ms, since);
	return json_pack("{s:I, s:s, s:s, s:b, s:s, s:I, s:I}", "id", (json_int_t)info->id,
			 "pattern", info->pattern, "place", info->place, "replace", info->replace,
			 "since", since, "files", (json_int_t)info->files, "bytes",
			 (json_int_t)info->bytes);
}

char *
wire_follows(const struct service_follow_info *infos, size_t count)
{
	json_t *list = json_array();

	for (size_t i = 0; i < count; i++)
		json_array_append_new(list, follow_of(&infos[i]));
	return wire_json_whole_list("follows", list);
}

char *
wire_follow_added(uint64_t id)
{
	return wire_json_whole(json_pack("{s:I}", "id", (json_int_t)id));
}

int
wire_follow_request_parse(const char *data, size_t len, struct wire_follow_request *ret,
			  struct error *err)
{
	json_t *tree;
	json_error_t why;
	const char *pattern, *place = "";
	int replace = 0;
	int code = wire_json_load(data, len, &tree, err);

	if (code != P2P_OK)
		return code;
	if (json_unpack_ex(tree, &why, 0, "{s:s, s?s, s?b}", "pattern", &pattern, "place", &place,
			   "replace", &replace) != 0)
		code = error_set(err, P2P_BAD_REQUEST, "no follow: %s", why.text);
	else
		*ret = (struct wire_follow_request){ mem_string(pattern), mem_string(place),
						     replace != 0 };
	json_decref(tree);
	return code;
}

void
wire_follow_request_fini(struct wire_follow_request *request)
{
	free(request->pattern);
	free(request->place);
}
