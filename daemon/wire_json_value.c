/* SPDX-License-Identifier: MIT
 *
 * wire_json_value.c - the values that the documents of JSON are made of, each written one way everywhere.
 *
 * Memory does not run out: jansson is given the allocator that ends the process.  Text that may hold foreign
 * bytes (an error that quotes a name) is repaired to valid UTF-8.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "mem.h"
#include "wire_json_inner.h"

static __attribute__((constructor)) void
use_our_allocator(void)
{
	json_set_alloc_funcs(mem_alloc, free);
}

/* A copy of `text` in which every byte that is not part of valid UTF-8 became `?`. */
static json_t *
repaired(const char *text)
{
	size_t len = strlen(text);
	char *copy = mem_string(text);
	json_t *value;

	for (size_t i = 0; i < len; i++)
		if ((unsigned char)copy[i] >= 0x80)
			copy[i] = '?';
	value = json_string(copy);
	free(copy);
	return value;
}

void
wire_json_put_text(json_t *object, const char *key, const char *text)
{
	json_t *value = json_string(text);

	json_object_set_new(object, key, value != NULL ? value : repaired(text));
}

void
wire_json_put_number(json_t *object, const char *key, uint64_t number)
{
	json_object_set_new(object, key, json_integer((json_int_t)number));
}

void
wire_json_put_bool(json_t *object, const char *key, bool value)
{
	json_object_set_new(object, key, json_boolean(value));
}

void
wire_json_put_time(json_t *object, const char *key, int64_t wall_ms)
{
	char text[CLOCK_RFC3339_SIZE];

	clock_rfc3339(wall_ms, text);
	wire_json_put_text(object, key, text);
}

void
wire_json_put_content(json_t *object, const struct content_id *content)
{
	char hex[DIGEST_HEX_SIZE];

	digest_hex(&content->root, hex);
	wire_json_put_number(object, "size", content->size_bytes);
	wire_json_put_text(object, "root", hex);
}

/* Permission bits as people write them. */
void
wire_json_put_mode(json_t *object, uint32_t mode)
{
	char text[8];

	snprintf(text, sizeof(text), "%04o", mode & 0777);
	wire_json_put_text(object, "mode", text);
}

void
wire_json_put_mtime(json_t *object, int64_t mtime_ns)
{
	wire_json_put_time(object, "mtime", mtime_ns / 1000000);
	json_object_set_new(object, "mtime_ns", json_integer(mtime_ns));
}

/* Prints and frees the tree. */
char *
wire_json_whole(json_t *tree)
{
	char *text = json_dumps(tree, JSON_COMPACT);

	json_decref(tree);
	return text != NULL ? text : mem_string("{}");
}

/* {"<key>": [...]} */
char *
wire_json_whole_list(const char *key, json_t *list)
{
	json_t *tree = json_object();

	json_object_set_new(tree, key, list);
	return wire_json_whole(tree);
}
