/* SPDX-License-Identifier: MIT
 *
 * wire_json_parse.c - what peers and clients say in JSON, read with suspicion (wire_json_fields.c).
 *
 * Results are built aside; outputs stay untouched on failure.
 *
 * Whether a name may be shared, and whether seqs join on to what is known, is decided by those who
 * use the answer (catalog, service), not here.
 */
#include "wire_json.h"

#include <stdlib.h>
#include <string.h>

#include "codes.h"
#include "mem.h"
#include "name.h"
#include "wire_json_fields.h"

#define WHAT_MAX   NAME_MAX_BYTES     /* bytes of what a fetch asks for */
#define NUMBER_MAX ((1ull << 53) - 1) /* what every JSON reader keeps exactly */

/* --- node records --- */

static void
take_addresses(struct fields *from, struct node_record *ret)
{
	json_t *list = fields_list(from, "addresses", NODE_ADDRESSES_MAX);

	for (size_t i = 0; list != NULL && i < json_array_size(list); i++) {
		json_t *item = json_array_get(list, i);

		if (!json_is_string(item) || json_string_length(item) >= NODE_ADDRESS_SIZE) {
			fields_refuse(from, "addresses", "strings that are not too long");
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

	fields_peer(&from, "id", node.id);
	fields_text_into(&from, "name", node.name, sizeof(node.name));
	fields_text_into(&from, "version", node.version, sizeof(node.version));
	take_addresses(&from, &node);
	node.epoch = fields_number(&from, "epoch", NUMBER_MAX);
	node.seq = fields_number(&from, "seq", NUMBER_MAX);
	node.file_count = fields_number(&from, "files", NUMBER_MAX);
	node.byte_count = fields_number(&from, "bytes", NUMBER_MAX);
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
		fields_refuse(from, "view", "a list of 16 sums");
	for (size_t i = 0; from->code == P2P_OK && i < json_array_size(list); i++) {
		json_t *item = json_array_get(list, i);
		json_int_t sum = json_integer_value(item);

		if (!json_is_integer(item) || sum < 0 || sum > UINT32_MAX)
			fields_refuse(from, "view", "sums of 32 bits");
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
	json_t *peers = fields_list(&from, "peers", NODE_KNOWN_MAX);
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

	fields_peer(&from, "peer", notice.peer);
	notice.epoch = fields_number(&from, "epoch", NUMBER_MAX);
	notice.seq = fields_number(&from, "seq", NUMBER_MAX);
	notice.is_lost = fields_bool(&from, "lost", false);
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
	struct change change = { .seq = fields_number(&from, "seq", NUMBER_MAX) };

	/* change_page_add() copies: the name is only lent, in spite of its type. */
	change.name = (char *)fields_text(&from, "name", NAME_MAX_BYTES);
	change.is_removed = fields_bool(&from, "removed", false);
	if (!change.is_removed) {
		fields_content(&from, &change.content);
		change.mtime_ns = fields_mtime(&from);
		change.mode = fields_mode(&from);
	}
	if (from.code == P2P_OK)
		change_page_add(page, &change);
	return from.code;
}

static int
read_changes(struct fields *from, struct change_page *page)
{
	fields_peer(from, "peer", page->peer);
	page->epoch = fields_number(from, "epoch", NUMBER_MAX);
	page->since = fields_number(from, "since", NUMBER_MAX);
	page->through = fields_number(from, "through", NUMBER_MAX);
	page->head = fields_number(from, "head", NUMBER_MAX);
	page->is_reset = fields_bool(from, "reset", false);
	page->file_count = fields_number(from, "files", NUMBER_MAX);
	page->byte_count = fields_number(from, "bytes", NUMBER_MAX);

	json_t *list = fields_list(from, "changes", CHANGE_PAGE_MAX);
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
	struct wire_fetch_request request = { .has_content = fields_have(&from, "root") };
	const char *what = fields_text(&from, request.has_content ? "name" : "what", WHAT_MAX);

	if (request.has_content && fields_have(&from, "what"))
		fields_refuse(&from, "what", "either this or root, size and name");
	if (request.has_content)
		fields_content(&from, &request.content);
	request.replace = fields_bool(&from, "replace", false);
	if (fields_have(&from, "priority") &&
	    !fetch_priority_parse(fields_text(&from, "priority", WHAT_MAX), &request.priority))
		fields_refuse(&from, "priority", "low, normal or high");
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
