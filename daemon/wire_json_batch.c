/* SPDX-License-Identifier: MIT
 *
 * wire_json_batch.c - many small contents that are asked for by one request: the request's body, both ways.
 *
 * It has up to BATCH_COUNT_MAX rows of one form and is written for each few hundred files of a tree,
 * so it is printed as it is, without a tree of values between; what comes in is read with the same
 * suspicion as any other document.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "buf.h"
#include "mem.h"
#include "wire_json.h"
#include "wire_json_fields.h"

char *
wire_batch(const struct batch *batch)
{
	struct buf text;
	char hex[DIGEST_HEX_SIZE];

	buf_init(&text, WIRE_JSON_MAX);
	buf_adds(&text, "{\"contents\":[");
	for (size_t i = 0; i < batch->count; i++) {
		const struct content_id *id = &batch->contents[i].id;

		digest_hex(&id->root, hex);
		buf_addf(&text, "%s{\"root\":\"%s\",\"size\":%" PRIu64 "}", i > 0 ? "," : "", hex,
			 id->size_bytes);
	}
	buf_adds(&text, "]}");
	return buf_give(&text);
}

static int
read_list(json_t *list, struct content_id *contents, size_t count, struct error *err)
{
	for (size_t i = 0; i < count; i++) {
		struct fields from = { .object = json_array_get(list, i), .err = err };

		fields_content(&from, &contents[i]);
		if (from.code != P2P_OK)
			return from.code;
	}
	return batch_check(contents, count, err);
}

int
wire_batch_parse(const char *data, size_t len, struct content_id **ret, size_t *ret_count,
		 struct error *err)
{
	json_t *tree;
	int code = wire_json_load(data, len, &tree, err);

	if (code != P2P_OK)
		return code;
	json_t *list = json_object_get(tree, "contents");
	size_t count = json_array_size(list); /* of what is no array: 0 */
	if (count > BATCH_COUNT_MAX) {
		json_decref(tree);
		return error_set(err, P2P_TOO_MANY, "contents: at most %d", BATCH_COUNT_MAX);
	}
	struct content_id *contents = mem_zero(count + 1, sizeof(*contents));
	code = read_list(list, contents, count, err);
	json_decref(tree);
	if (code != P2P_OK) {
		free(contents);
		return code;
	}
	*ret = contents;
	*ret_count = count;
	return P2P_OK;
}
