/* SPDX-License-Identifier: MIT
 *
 * fuzz_rest.c - targets, routing, and header fields, fed with anything.
 *
 * The first line is a target, the second a field.  What comes out of a target holds no escape from
 * the share; a range lies within its content.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"
#include "rest_guard.h"
#include "rest_parse.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t len);

static void
check_parts(const char *path)
{
	assert(path[0] == '/');
	while (*path == '/') {
		size_t len = strcspn(++path, "/");

		assert(!(len == 1 && path[0] == '.'));
		assert(!(len == 2 && path[0] == '.' && path[1] == '.'));
		path += len;
	}
	assert(*path == '\0');
}

static void
try_target(char *text)
{
	static const char *const patterns[] = { "/v1/node", "/v1/peers/{id}", "/v1/files/{name}",
						"/v1/contents/{root}",
						"/v1/contents/{root}/layer" };
	struct rest_target target;
	struct error err;
	size_t at, len;

	if (rest_target_parse(text, &target, &err) != P2P_OK)
		return;
	check_parts(target.path);
	for (size_t i = 0; i < sizeof(patterns) / sizeof(patterns[0]); i++)
		if (rest_path_match(patterns[i], target.path, &at, &len))
			assert(at + len <= strlen(target.path));

	/* What is written into a Location leads back to the same path. */
	struct rest_target again;
	struct buf buf;
	buf_init(&buf, 1u << 20);
	rest_path_add(&buf, target.path);
	assert(rest_target_parse(buf.data, &again, &err) == P2P_OK);
	assert(strcmp(again.path, target.path) == 0);
	buf_fini(&buf);
}

static void
try_field(const char *text)
{
	struct config config = { .node_name = (char *)"tester",
				 .rest_host = { 1, { (char *)"a.example" } } };
	struct rest_claims claims = {
		.host_count = 1, .host = text, .origin = text, .fetch_site = NULL
	};
	struct rest_local local;
	struct digest digest;
	uint64_t first, len;
	int64_t wall_s;
	uint32_t mode;

	for (uint64_t size = 0; size <= 1000; size += 500)
		if (rest_range_parse(text, size, &first, &len) == REST_RANGE_PART)
			assert(len > 0 && first < size && len <= size - first);
	rest_etag_in(text, "\"x\"", true);
	rest_etag_parse(text, &digest);
	rest_date_parse(text, &wall_s);
	rest_mode(text, &mode);
	rest_media_is(text, "application/json");
	rest_media_of(text);
	rest_local_make("127.0.0.1", 5001, &local);
	rest_guard(&config, &local, &claims, NULL);
}

int
LLVMFuzzerTestOneInput(const unsigned char *data, size_t len)
{
	char *text = mem_alloc(len + 1);

	memcpy(text, data, len);
	text[len] = '\0';
	char *field = strchr(text, '\n');
	if (field != NULL)
		*field++ = '\0';
	if (field != NULL)
		try_field(field);
	try_target(text);
	free(text);
	return 0;
}
