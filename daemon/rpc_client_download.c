/* SPDX-License-Identifier: MIT
 *
 * rpc_client_download.c - the protobuf framing of DownloadResponse, by hand.
 *
 * protobuf-c unpacks from one block and copies every field: for file bytes that is two copies too
 * many.  The framing is simple enough to be read where it lies: a field is a key (number and form,
 * a varint), then a varint, 4 or 8 bytes, or a length and as many bytes.  The two fields that we
 * know are told as they pass, everything else is skipped, as protobuf wants it of unknown fields.
 *
 * State is kept between bytes, so that a message may be cut anywhere.  A length is compared with
 * what is left of the message before a byte of the field is told.  Groups are refused: they are
 * older than proto3 and nothing of ours ever had them.
 *
 * What the fields say, and in which order they may come, is for rpc_client_answer.c.
 */
#include "rpc_client_download.h"

#include "codes.h"

#define FIELD_FILE  1
#define FIELD_DATA  2
#define FIELD_MAX   ((1u << 29) - 1) /* of protobuf */
#define VARINT_BITS 64

enum form { FORM_VARINT = 0, FORM_64 = 1, FORM_BYTES = 2, FORM_32 = 5 };

void
download_parser_begin(struct download_parser *parser, const struct download_parser_ops *ops,
		      void *arg, size_t total)
{
	*parser =
	    (struct download_parser){ .ops = ops, .arg = arg, .left = total, .at = DOWNLOAD_KEY };
}

static bool
is_field(const struct download_parser *parser, unsigned number)
{
	return parser->key == (number << 3 | FORM_BYTES);
}

/* Some bytes of the value at hand; all of it was told when field_left is 0. */
static int
take_value(struct download_parser *parser, const unsigned char *data, size_t len)
{
	parser->field_left -= len;
	parser->left -= len;
	if (parser->field_left == 0)
		parser->at = DOWNLOAD_KEY;
	if (is_field(parser, FIELD_FILE))
		return parser->ops->file(parser->arg, data, len, parser->field_left == 0);
	if (is_field(parser, FIELD_DATA) && len > 0)
		return parser->ops->data(parser->arg, data, len);
	return P2P_OK;
}

static int
begin_value(struct download_parser *parser, uint64_t len)
{
	if (len > parser->left)
		return P2P_BAD_ANSWER;
	parser->at = DOWNLOAD_VALUE;
	parser->field_left = (size_t)len;
	return len == 0 ? take_value(parser, NULL, 0) : P2P_OK;
}

static int
take_key(struct download_parser *parser, uint64_t key)
{
	if (key >> 3 == 0 || key >> 3 > FIELD_MAX)
		return P2P_BAD_ANSWER;
	parser->key = (uint32_t)key;
	switch (key & 7) {
	case FORM_VARINT:
		parser->at = DOWNLOAD_VARINT;
		return P2P_OK;
	case FORM_BYTES:
		parser->at = DOWNLOAD_LENGTH;
		return P2P_OK;
	case FORM_64:
		return begin_value(parser, 8);
	case FORM_32:
		return begin_value(parser, 4);
	default:
		return P2P_BAD_ANSWER;
	}
}

static int
take_varint(struct download_parser *parser, unsigned char byte)
{
	if (parser->shift >= VARINT_BITS)
		return P2P_BAD_ANSWER;
	parser->left--;
	parser->varint |= (uint64_t)(byte & 0x7f) << parser->shift;
	parser->shift += 7;
	if (byte >= 0x80)
		return P2P_OK;

	uint64_t value = parser->varint;
	parser->varint = 0;
	parser->shift = 0;
	if (parser->at == DOWNLOAD_KEY)
		return take_key(parser, value);
	if (parser->at == DOWNLOAD_LENGTH)
		return begin_value(parser, value);
	parser->at = DOWNLOAD_KEY;
	return P2P_OK;
}

int
download_parser_feed(struct download_parser *parser, const void *data, size_t len)
{
	const unsigned char *at = data, *end = at + len;
	int code = P2P_OK;

	if (len > parser->left)
		return P2P_BAD_ANSWER;
	while (code == P2P_OK && at < end) {
		size_t step = 1;

		if (parser->at == DOWNLOAD_VALUE) {
			size_t here = (size_t)(end - at);

			step = parser->field_left < here ? parser->field_left : here;
			code = take_value(parser, at, step);
		} else {
			code = take_varint(parser, *at);
		}
		at += step;
	}
	return code;
}

int
download_parser_end(const struct download_parser *parser)
{
	bool is_whole = parser->left == 0 && parser->at == DOWNLOAD_KEY && parser->shift == 0;

	return is_whole ? P2P_OK : P2P_BAD_ANSWER;
}
