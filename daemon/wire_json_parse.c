/* SPDX-License-Identifier: MIT
 *
 * wire_json_parse.c - what comes in as JSON, read with suspicion.
 *
 * Before jansson allocates anything, scan_shape() walks the bytes once and refuses what is nested
 * too deeply or has too many values: a tree costs some thirty times its text, so four mebibytes of
 * "[0,0,0..." would be a hundred in memory.  jansson then refuses what is not JSON, NUL in strings,
 * lone surrogates, numbers that do not fit, and duplicate keys.
 *
 * Fields are taken one after the other through a `struct fields`, whose first failure sticks, so
 * that a decoder reads as a list of what it wants and checks once at its end.  Results are built
 * aside; outputs stay untouched on failure.
 *
 * Whether a name may be shared, and whether seqs join on to what is known, is decided by those who
 * use the answer (catalog, service), not here.
 */
#include "wire_json.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "codes.h"
#include "mem.h"
#include "merkle.h"
#include "name.h"

#define DEPTH_MAX  16                 /* arrays and objects within each other */
#define VALUES_MAX 65536              /* commas and brackets of one document */
#define WHAT_MAX   NAME_MAX_BYTES     /* bytes of what a fetch asks for */
#define NUMBER_MAX ((1ull << 53) - 1) /* what every JSON reader keeps exactly */

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

/* The document's outermost object into *ret, to be released. */
static int
load_object(const char *data, size_t len, json_t **ret, struct error *err)
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

/* An object that is being read; `code` is the first failure. */
struct fields {
	json_t *object;
	struct error *err;
	int code;
};

static void
refuse(struct fields *from, const char *key, const char *wanted)
{
	if (from->code == P2P_OK)
		from->code = error_set(from->err, P2P_BAD_REQUEST, "%s: wanted %s", key, wanted);
}

static bool
has(const struct fields *from, const char *key)
{
	return json_object_get(from->object, key) != NULL;
}

static uint64_t
take_number(struct fields *from, const char *key, uint64_t max)
{
	json_t *value = json_object_get(from->object, key);
	json_int_t number = json_integer_value(value);

	if (!json_is_integer(value) || number < 0 || (uint64_t)number > max) {
		refuse(from, key, "a whole number in range");
		return 0;
	}
	return (uint64_t)number;
}

static bool
take_bool(struct fields *from, const char *key, bool fallback)
{
	json_t *value = json_object_get(from->object, key);

	if (value != NULL && !json_is_boolean(value))
		refuse(from, key, "true or false");
	return value != NULL ? json_is_true(value) : fallback;
}

/* A string of 1 to max bytes, borrowed; "" if refused. */
static const char *
take_text(struct fields *from, const char *key, size_t max)
{
	json_t *value = json_object_get(from->object, key);
	size_t len = json_string_length(value);

	if (!json_is_string(value) || len == 0 || len > max) {
		refuse(from, key, "a string that is neither empty nor too long");
		return "";
	}
	return json_string_value(value);
}

/* The same, copied into ret[size]. */
static void
take_text_into(struct fields *from, const char *key, char *ret, size_t size)
{
	const char *text = take_text(from, key, size - 1);

	memcpy(ret, text, strlen(text) + 1);
}

static void
take_peer(struct fields *from, const char *key, char ret[PEER_ID_SIZE])
{
	take_text_into(from, key, ret, PEER_ID_SIZE);
	if (from->code == P2P_OK && !digest_is_base32(ret))
		refuse(from, key, "a peer id");
}

static void
take_content(struct fields *from, struct content_id *ret)
{
	ret->size_bytes = take_number(from, "size", MERKLE_CONTENT_MAX);
	if (!digest_parse_hex(take_text(from, "root", DIGEST_HEX_SIZE - 1), &ret->root))
		refuse(from, "root", "64 hex digits");
}

static uint32_t
take_mode(struct fields *from)
{
	const char *text = take_text(from, "mode", 4);
	uint32_t mode = 0;

	for (const char *at = text; *at != '\0'; at++) {
		if (*at < '0' || *at > '7')
			refuse(from, "mode", "octal digits");
		mode = mode << 3 | (uint32_t)(*at & 7);
	}
	if (mode > 0777)
		refuse(from, "mode", "permission bits");
	return mode;
}

/* An array of at most `max` elements; NULL if refused. */
static json_t *
take_list(struct fields *from, const char *key, size_t max)
{
	json_t *list = json_object_get(from->object, key);

	if (json_is_array(list) && json_array_size(list) <= max)
		return list;
	refuse(from, key, "a list that is not too long");
	return NULL;
}

/* --- node records --- */

static void
take_addresses(struct fields *from, struct node_record *ret)
{
	json_t *list = take_list(from, "addresses", NODE_ADDRESSES_MAX);

	for (size_t i = 0; list != NULL && i < json_array_size(list); i++) {
		json_t *item = json_array_get(list, i);

		if (!json_is_string(item) || json_string_length(item) >= NODE_ADDRESS_SIZE) {
			refuse(from, "addresses", "strings that are not too long");
			return;
		}
		strcpy(ret->addresses[i], json_string_value(item));
		ret->address_count = i + 1;
	}
}

static int
read_record(json_t *object, struct node_record *ret, struct error *err)
{
	struct fields from = { .object = object, .err = err };
	struct node_record node = { .address_count = 0 };

	take_peer(&from, "id", node.id);
	take_text_into(&from, "name", node.name, sizeof(node.name));
	take_text_into(&from, "version", node.version, sizeof(node.version));
	take_addresses(&from, &node);
	node.epoch = take_number(&from, "epoch", NUMBER_MAX);
	node.seq = take_number(&from, "seq", NUMBER_MAX);
	node.file_count = take_number(&from, "files", NUMBER_MAX);
	node.byte_count = take_number(&from, "bytes", NUMBER_MAX);
	if (from.code == P2P_OK)
		from.code = node_check(&node, err);
	if (from.code == P2P_OK)
		*ret = node;
	return from.code;
}

int
wire_register_request_parse(const char *data, size_t len, struct node_record *ret,
			    struct error *err)
{
	json_t *tree;
	int code = load_object(data, len, &tree, err);

	if (code != P2P_OK)
		return code;
	code = read_record(tree, ret, err);
	json_decref(tree);
	return code;
}

/* The records of a list into *ret_known (given), NULL for none. */
static int
read_records(json_t *list, struct node_record **ret_known, size_t *ret_count, struct error *err)
{
	size_t count = json_array_size(list);
	struct node_record *known = count > 0 ? mem_zero(count, sizeof(*known)) : NULL;

	for (size_t i = 0; i < count; i++) {
		int code = read_record(json_array_get(list, i), &known[i], err);

		if (code != P2P_OK) {
			free(known);
			return code;
		}
	}
	*ret_known = known;
	*ret_count = count;
	return P2P_OK;
}

int
wire_register_answer_parse(const char *data, size_t len, struct node_record *ret_theirs,
			   struct node_record **ret_known, size_t *ret_count, struct error *err)
{
	json_t *tree;
	int code = load_object(data, len, &tree, err);

	if (code != P2P_OK)
		return code;

	struct fields from = { .object = tree, .err = err };
	json_t *peers = take_list(&from, "peers", NODE_KNOWN_MAX);
	struct node_record theirs;

	code = from.code;
	if (code == P2P_OK)
		code = read_record(json_object_get(tree, "node"), &theirs, err);
	if (code == P2P_OK)
		code = read_records(peers, ret_known, ret_count, err);
	if (code == P2P_OK)
		*ret_theirs = theirs;
	json_decref(tree);
	return code;
}

int
wire_notice_parse(const char *data, size_t len, struct notice *ret, struct error *err)
{
	json_t *tree;
	int code = load_object(data, len, &tree, err);

	if (code != P2P_OK)
		return code;

	struct fields from = { .object = tree, .err = err };
	struct notice notice = { .epoch = 0 };

	take_peer(&from, "peer", notice.peer);
	notice.epoch = take_number(&from, "epoch", NUMBER_MAX);
	notice.seq = take_number(&from, "seq", NUMBER_MAX);
	if (from.code == P2P_OK)
		*ret = notice;
	json_decref(tree);
	return from.code;
}

/* --- catalogs --- */

static int
read_change(json_t *object, struct change_page *page, struct error *err)
{
	struct fields from = { .object = object, .err = err };
	struct change change = { .seq = take_number(&from, "seq", NUMBER_MAX) };
	json_t *mtime = json_object_get(object, "mtime_ns");

	/* change_page_add() copies: the name is only lent, in spite of its type. */
	change.name = (char *)take_text(&from, "name", NAME_MAX_BYTES);
	change.is_removed = take_bool(&from, "removed", false);
	if (!change.is_removed) {
		take_content(&from, &change.content);
		if (!json_is_integer(mtime))
			refuse(&from, "mtime_ns", "nanoseconds since 1970");
		change.mtime_ns = json_integer_value(mtime);
		change.mode = take_mode(&from);
	}
	if (from.code == P2P_OK)
		change_page_add(page, &change);
	return from.code;
}

static int
read_changes(struct fields *from, struct change_page *page)
{
	take_peer(from, "peer", page->peer);
	page->epoch = take_number(from, "epoch", NUMBER_MAX);
	page->since = take_number(from, "since", NUMBER_MAX);
	page->through = take_number(from, "through", NUMBER_MAX);
	page->head = take_number(from, "head", NUMBER_MAX);
	page->is_reset = take_bool(from, "reset", false);
	page->file_count = take_number(from, "files", NUMBER_MAX);
	page->byte_count = take_number(from, "bytes", NUMBER_MAX);

	json_t *list = take_list(from, "changes", CHANGE_PAGE_MAX);
	for (size_t i = 0; i < json_array_size(list) && from->code == P2P_OK; i++)
		from->code = read_change(json_array_get(list, i), page, from->err);
	return from->code;
}

int
wire_changes_parse(const char *data, size_t len, struct change_page **ret, struct error *err)
{
	json_t *tree;
	int code = load_object(data, len, &tree, err);

	if (code != P2P_OK)
		return code;

	struct fields from = { .object = tree, .err = err };
	struct change_page *page = change_page_new();

	code = read_changes(&from, page);
	if (code == P2P_OK)
		*ret = page;
	else
		change_page_free(page);
	json_decref(tree);
	return code;
}

/* --- fetches and problems --- */

int
wire_fetch_request_parse(const char *data, size_t len, struct wire_fetch_request *ret,
			 struct error *err)
{
	json_t *tree;
	int code = load_object(data, len, &tree, err);

	if (code != P2P_OK)
		return code;

	struct fields from = { .object = tree, .err = err };
	struct wire_fetch_request request = { .has_content = has(&from, "root") };
	const char *what = take_text(&from, request.has_content ? "name" : "what", WHAT_MAX);

	if (request.has_content && has(&from, "what"))
		refuse(&from, "what", "either this or root, size and name");
	if (request.has_content)
		take_content(&from, &request.content);
	request.replace = take_bool(&from, "replace", false);
	if (from.code == P2P_OK) {
		request.what = mem_string(what);
		*ret = request;
	}
	json_decref(tree);
	return from.code;
}

bool
wire_problem_parse(const char *data, size_t len, struct error *ret)
{
	json_t *tree;

	if (load_object(data, len, &tree, NULL) != P2P_OK)
		return false;

	const char *slug = json_string_value(json_object_get(tree, "slug"));
	const char *detail = json_string_value(json_object_get(tree, "detail"));

	if (slug != NULL) {
		int code = code_of_slug(slug);

		error_set(ret, code, "%s", detail != NULL ? detail : code_title(code));
	}
	json_decref(tree);
	return slug != NULL;
}
