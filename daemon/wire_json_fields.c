/* SPDX-License-Identifier: MIT
 *
 * wire_json_fields.c - documents that come in as JSON, and the fields of an object, read with suspicion.
 *
 * Before jansson allocates anything, scan_shape() walks the bytes once and refuses what is nested
 * too deeply or has too many values: a tree costs some thirty times its text, so four mebibytes of
 * "[0,0,0..." would be a hundred in memory.  jansson then refuses what is not JSON, NUL in strings,
 * lone surrogates, numbers that do not fit, and duplicate keys.
 *
 * Fields are taken one after the other through a `struct fields`, whose first failure sticks, so
 * that a decoder reads as a list of what it wants and checks once at its end.
 */
#include "wire_json_fields.h"

#include <string.h>

#include "directory.h"
#include "merkle.h"
#include "wire_json.h"

#define DEPTH_MAX  16    /* arrays and objects within each other */
#define VALUES_MAX 65536 /* commas and brackets of one document */

/* --- documents --- */

/* Skips a string; `at` points behind its opening quote.  Answers where it goes on. */
static const char *
skip_string(const char *at, const char *end)
{
	while (at < end && *at != '"')
		at += *at == '\\' ? 2 : 1;
	return at < end ? at + 1 : end;
}

/* Refuses documents that would cost more memory than they deserve.  Syntax is jansson's. */
static int
scan_shape(const char *data, size_t len, struct error *err)
{
	const char *end = data + len;
	unsigned depth = 0, values = 0;

	for (const char *at = data; at < end;) {
		char c = *at++;

		if (c == '"')
			at = skip_string(at, end);
		else if (c == '[' || c == '{')
			depth++;
		else if ((c == ']' || c == '}') && depth > 0)
			depth--;
		if (c == '[' || c == '{' || c == ',')
			values++;
		if (depth > DEPTH_MAX)
			return error_set(err, P2P_BAD_REQUEST, "the JSON is nested deeper than %d",
					 DEPTH_MAX);
		if (values > VALUES_MAX)
			return error_set(err, P2P_BAD_REQUEST, "the JSON has more than %d values",
					 VALUES_MAX);
	}
	return P2P_OK;
}

int
wire_json_load(const char *data, size_t len, json_t **ret, struct error *err)
{
	json_error_t why;

	if (len > WIRE_JSON_MAX)
		return error_set(err, P2P_TOO_LARGE, "the JSON is longer than %u bytes",
				 WIRE_JSON_MAX);
	if (len == 0)
		return error_set(err, P2P_BAD_REQUEST, "there is no JSON");

	int code = scan_shape(data, len, err);
	if (code != P2P_OK)
		return code;

	json_t *tree = json_loadb(data, len, JSON_REJECT_DUPLICATES, &why);
	if (tree == NULL)
		return error_set(err, P2P_BAD_REQUEST, "not JSON: line %d: %s", why.line, why.text);
	if (!json_is_object(tree)) {
		json_decref(tree);
		return error_set(err, P2P_BAD_REQUEST, "the JSON is no object");
	}
	*ret = tree;
	return P2P_OK;
}

/* --- fields --- */

void
fields_refuse(struct fields *from, const char *key, const char *wanted)
{
	if (from->code == P2P_OK)
		from->code = error_set(from->err, P2P_BAD_REQUEST, "%s: wanted %s", key, wanted);
}

bool
fields_have(const struct fields *from, const char *key)
{
	return json_object_get(from->object, key) != NULL;
}

uint64_t
fields_number(struct fields *from, const char *key, uint64_t max)
{
	json_t *value = json_object_get(from->object, key);
	json_int_t number = json_integer_value(value);

	if (!json_is_integer(value) || number < 0 || (uint64_t)number > max) {
		fields_refuse(from, key, "a whole number in range");
		return 0;
	}
	return (uint64_t)number;
}

bool
fields_bool(struct fields *from, const char *key, bool fallback)
{
	json_t *value = json_object_get(from->object, key);

	if (value != NULL && !json_is_boolean(value))
		fields_refuse(from, key, "true or false");
	return value != NULL ? json_is_true(value) : fallback;
}

const char *
fields_text(struct fields *from, const char *key, size_t max)
{
	json_t *value = json_object_get(from->object, key);
	size_t len = json_string_length(value);

	if (!json_is_string(value) || len == 0 || len > max) {
		fields_refuse(from, key, "a string that is neither empty nor too long");
		return "";
	}
	return json_string_value(value);
}

void
fields_text_into(struct fields *from, const char *key, char *ret, size_t size)
{
	const char *text = fields_text(from, key, size - 1);

	memcpy(ret, text, strlen(text) + 1);
}

void
fields_peer(struct fields *from, const char *key, char ret[PEER_ID_SIZE])
{
	fields_text_into(from, key, ret, PEER_ID_SIZE);
	if (from->code == P2P_OK && !digest_is_base32(ret))
		fields_refuse(from, key, "a peer id");
}

void
fields_content(struct fields *from, struct content_id *ret)
{
	ret->size_bytes = fields_number(from, "size", MERKLE_CONTENT_MAX);
	if (!digest_parse_hex(fields_text(from, "root", DIGEST_HEX_SIZE - 1), &ret->root))
		fields_refuse(from, "root", "64 hex digits");
}

uint32_t
fields_mode(struct fields *from)
{
	const char *text = fields_text(from, "mode", 4);
	uint32_t mode = 0;

	for (const char *at = text; *at != '\0'; at++) {
		if (*at < '0' || *at > '7')
			fields_refuse(from, "mode", "octal digits");
		mode = mode << 3 | (uint32_t)(*at & 7);
	}
	if (mode > DIRECTORY_MODE_MAX)
		fields_refuse(from, "mode", "permission bits");
	return mode;
}

int64_t
fields_mtime(struct fields *from)
{
	json_t *value = json_object_get(from->object, "mtime_ns");

	if (!json_is_integer(value))
		fields_refuse(from, "mtime_ns", "nanoseconds since 1970");
	return json_integer_value(value);
}

json_t *
fields_list(struct fields *from, const char *key, size_t max)
{
	json_t *list = json_object_get(from->object, key);

	if (json_is_array(list) && json_array_size(list) <= max)
		return list;
	fields_refuse(from, key, "a list that is not too long");
	return NULL;
}
