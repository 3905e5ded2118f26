/* SPDX-License-Identifier: MIT
 *
 * wire_json_have.c - what somebody says that he holds of a content, read from JSON.
 *
 * An answer may have a number or a bit for each piece of a content, which nothing but the content's
 * size bounds: it is read against that size, and who asks allows as many bytes as the largest honest
 * answer has (wire_have_max).
 */
#include <stdlib.h>
#include <string.h>

#include "mem.h"
#include "merkle.h"
#include "wire_json.h"
#include "wire_json_fields.h"

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
	const char *text = fields_text(from, key, 20);
	uint64_t number = 0;

	for (const char *at = text; *at != '\0'; at++) {
		unsigned digit = (unsigned)(*at - '0');

		if (digit > 9 || number > (UINT64_MAX - digit) / 10) {
			fields_refuse(from, key, "a string of digits, below 2^64");
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
	json_t *list = fields_list(from, key, HOLDINGS_NEWS_MAX);
	size_t count = json_array_size(list);
	uint64_t *pieces = count > 0 ? mem_alloc(count * sizeof(*pieces)) : NULL;

	for (size_t i = 0; i < count; i++) {
		json_t *item = json_array_get(list, i);
		json_int_t piece = json_integer_value(item);

		if (!json_is_integer(item) || piece < 0 || (uint64_t)piece >= end) {
			fields_refuse(from, key, "numbers of pieces");
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
	json_t *list = fields_list(from, "peers", max);
	size_t count = json_array_size(list);

	ret->peers = count > 0 ? mem_zero(count, sizeof(*ret->peers)) : NULL;
	ret->peer_count = count;
	for (size_t i = 0; i < count; i++) {
		const char *id = json_string_value(json_array_get(list, i));

		if (id == NULL || !digest_is_base32(id)) {
			fields_refuse(from, "peers", "ids of peers");
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
		fields_refuse(from, "bits", "two hex digits for each eight pieces");
		return;
	}
	ret->bits = len > 0 ? mem_alloc(len) : NULL;
	ret->bits_len = len;
	for (size_t i = 0; i < len; i++) {
		int high = hex_digit(hex[2 * i]), low = hex_digit(hex[2 * i + 1]);

		if (high < 0 || low < 0) {
			fields_refuse(from, "bits", "lower-case hex digits");
			return;
		}
		ret->bits[i] = (unsigned char)(high << 4 | low);
	}
	if (piece_count % 8 != 0 && (ret->bits[len - 1] & 0xff >> piece_count % 8) != 0)
		fields_refuse(from, "bits", "none beyond the last piece");
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

	fields_content(&from, &named);
	if (!content_equal(&named, content))
		fields_refuse(&from, "root", "the content that was asked for");
	answer.is_whole = fields_bool(&from, "complete", false);
	answer.is_full = fields_bool(&from, "full", false);
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
