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
#include "wire_json_inner.h"

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

/* None, or all of it. */
static void
take_view(struct fields *from, struct node_view *ret)
{
	json_t *list = json_object_get(from->object, "view");

	ret->is_told = list != NULL;
	if (list != NULL && json_array_size(list) != NODE_VIEW_SUMS)
		refuse(from, "view", "a list of 16 sums");
	for (size_t i = 0; from->code == P2P_OK && i < json_array_size(list); i++) {
		json_t *item = json_array_get(list, i);
		json_int_t sum = json_integer_value(item);

		if (!json_is_integer(item) || sum < 0 || sum > UINT32_MAX)
			refuse(from, "view", "sums of 32 bits");
		else
			ret->sums[i] = (uint32_t)sum;
	}
}

int
wire_register_request_parse(const char *data, size_t len, struct node_hello *ret, struct error *err)
{
	json_t *tree;
	int code = wire_json_load(data, len, &tree, err);

	if (code != P2P_OK)
		return code;

	struct fields from = { .object = tree, .err = err };
	struct node_hello hello = { .node = { .address_count = 0 } };

	take_view(&from, &hello.view);
	if (from.code == P2P_OK)
		from.code = read_record(tree, &hello.node, err);
	if (from.code == P2P_OK)
		*ret = hello;
	json_decref(tree);
	return from.code;
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
	int code = wire_json_load(data, len, &tree, err);

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
	int code = wire_json_load(data, len, &tree, err);

	if (code != P2P_OK)
		return code;

	struct fields from = { .object = tree, .err = err };
	struct notice notice = { .epoch = 0 };

	take_peer(&from, "peer", notice.peer);
	notice.epoch = take_number(&from, "epoch", NUMBER_MAX);
	notice.seq = take_number(&from, "seq", NUMBER_MAX);
	notice.is_lost = take_bool(&from, "lost", false);
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
	int code = wire_json_load(data, len, &tree, err);

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

/* --- holdings --- */

#define NUMBER_TEXT 24  /* bytes: a piece's number with its comma */
#define ANSWER_TEXT 512 /* and all that is in every answer */

size_t
wire_have_max(uint64_t piece_count)
{
	return ANSWER_TEXT + (size_t)(piece_count + 7) / 8 * 2 +
	       2 * HOLDINGS_NEWS_MAX * NUMBER_TEXT + HOLDINGS_NEWS_MAX * (PEER_ID_SIZE + 2);
}

/* A 64-bit number in decimal digits, as a string. */
static uint64_t
take_wide_number(struct fields *from, const char *key)
{
	const char *text = take_text(from, key, 20);
	uint64_t number = 0;

	for (const char *at = text; *at != '\0'; at++) {
		unsigned digit = (unsigned)(*at - '0');

		if (digit > 9 || number > (UINT64_MAX - digit) / 10) {
			refuse(from, key, "a string of digits, below 2^64");
			return 0;
		}
		number = number * 10 + digit;
	}
	return number;
}

/* Numbers of pieces below `end`, given; the list may have HOLDINGS_NEWS_MAX. */
static uint64_t *
take_pieces(struct fields *from, const char *key, uint64_t end, size_t *ret_count)
{
	json_t *list = take_list(from, key, HOLDINGS_NEWS_MAX);
	size_t count = json_array_size(list);
	uint64_t *pieces = count > 0 ? mem_alloc(count * sizeof(*pieces)) : NULL;

	for (size_t i = 0; i < count; i++) {
		json_t *item = json_array_get(list, i);
		json_int_t piece = json_integer_value(item);

		if (!json_is_integer(item) || piece < 0 || (uint64_t)piece >= end) {
			refuse(from, key, "numbers of pieces");
			break;
		}
		pieces[i] = (uint64_t)piece;
	}
	*ret_count = count;
	return pieces;
}

static void
take_peers(struct fields *from, size_t max, struct holding_answer *ret)
{
	json_t *list = take_list(from, "peers", max);
	size_t count = json_array_size(list);

	ret->peers = count > 0 ? mem_zero(count, sizeof(*ret->peers)) : NULL;
	ret->peer_count = count;
	for (size_t i = 0; i < count; i++) {
		const char *id = json_string_value(json_array_get(list, i));

		if (id == NULL || !digest_is_base32(id)) {
			refuse(from, "peers", "ids of peers");
			return;
		}
		strcpy(ret->peers[i], id);
	}
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* A bit for each piece, none beyond. */
static void
take_bits(struct fields *from, uint64_t piece_count, struct holding_answer *ret)
{
	json_t *value = json_object_get(from->object, "bits");
	const char *hex = json_string_value(value);
	size_t len = (size_t)(piece_count + 7) / 8;

	if (hex == NULL || json_string_length(value) != 2 * len) {
		refuse(from, "bits", "two hex digits for each eight pieces");
		return;
	}
	ret->bits = len > 0 ? mem_alloc(len) : NULL;
	ret->bits_len = len;
	for (size_t i = 0; i < len; i++) {
		int high = hex_digit(hex[2 * i]), low = hex_digit(hex[2 * i + 1]);

		if (high < 0 || low < 0) {
			refuse(from, "bits", "lower-case hex digits");
			return;
		}
		ret->bits[i] = (unsigned char)(high << 4 | low);
	}
	if (piece_count % 8 != 0 && (ret->bits[len - 1] & 0xff >> piece_count % 8) != 0)
		refuse(from, "bits", "none beyond the last piece");
}

int
wire_have_parse(const char *data, size_t len, const struct content_id *content,
		struct holding_answer *ret, struct error *err)
{
	uint64_t count =
	    merkle_piece_count(content->size_bytes, merkle_piece_bytes(content->size_bytes));
	json_t *tree;
	int code = wire_json_load(data, len, &tree, err);

	if (code != P2P_OK)
		return code;

	struct fields from = { .object = tree, .err = err };
	struct holding_answer answer = { .next = take_wide_number(&from, "next") };
	struct content_id named = *content;

	take_content(&from, &named);
	if (!content_equal(&named, content))
		refuse(&from, "root", "the content that was asked for");
	answer.is_whole = take_bool(&from, "complete", false);
	answer.is_full = take_bool(&from, "full", false);
	if (answer.is_full && !answer.is_whole)
		take_bits(&from, count, &answer);
	answer.pieces = take_pieces(&from, "pieces", count, &answer.piece_count);
	answer.coming = take_pieces(&from, "coming", count, &answer.coming_count);
	take_peers(&from, answer.is_full ? HOLDINGS_FOLLOWERS_MAX : HOLDINGS_NEWS_MAX, &answer);
	if (from.code == P2P_OK)
		*ret = answer;
	else
		holding_answer_fini(&answer);
	json_decref(tree);
	return from.code;
}

/* --- fetches and problems --- */

int
wire_fetch_request_parse(const char *data, size_t len, struct wire_fetch_request *ret,
			 struct error *err)
{
	json_t *tree;
	int code = wire_json_load(data, len, &tree, err);

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
	if (has(&from, "priority") &&
	    !fetch_priority_parse(take_text(&from, "priority", WHAT_MAX), &request.priority))
		refuse(&from, "priority", "low, normal or high");
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

	if (wire_json_load(data, len, &tree, NULL) != P2P_OK)
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
