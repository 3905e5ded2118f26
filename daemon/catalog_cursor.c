/* SPDX-License-Identifier: MIT
 *
 * catalog_cursor.c - where a page ended, as text.
 *
 * A cursor is the place itself, in hex: the next page is computed from it and from nothing that is
 * kept here, so it costs the daemon nothing, never expires, and stays right while entries come and
 * go. It is refused by another search and by another database, whose names have other numbers: these have another tag.
 * Anybody may send anything as a cursor: whatever it says is only where to begin.
 */
#include <stdio.h>
#include <string.h>

#include "catalog_search.h"

#define HEAD_BYTES (1 + 4 + 1 + 8 + 8 + 8 + DIGEST_BYTES)

_Static_assert(2 * (HEAD_BYTES + NAME_MAX_BYTES) < CATALOG_CURSOR_SIZE, "cursors fit");

static unsigned char *
put_number(unsigned char *at, uint64_t number, int bytes)
{
	for (int i = bytes - 1; i >= 0; i--)
		*at++ = (unsigned char)(number >> (8 * i));
	return at;
}

static const unsigned char *
get_number(const unsigned char *at, uint64_t *ret, int bytes)
{
	*ret = 0;
	for (int i = 0; i < bytes; i++)
		*ret = *ret << 8 | *at++;
	return at;
}

void
cursor_write(const struct place *place, uint32_t tag, char *ret)
{
	unsigned char bytes[HEAD_BYTES + NAME_SIZE], *at = bytes;

	at = put_number(at, place->order, 1);
	at = put_number(at, tag, 4);
	at = put_number(at, place->fit, 1);
	at = put_number(at, (uint64_t)place->name_id, 8);
	at = put_number(at, (uint64_t)place->peer_no, 8);
	at = put_number(at, place->content.size_bytes, 8);
	memcpy(at, place->content.root.bytes, DIGEST_BYTES);
	at += DIGEST_BYTES;
	size_t len = place->order == SEARCH_BY_NAME ? strlen(place->name) : 0;
	memcpy(at, place->name, len);
	for (const unsigned char *p = bytes; p < at + len; p++)
		ret += sprintf(ret, "%02x", *p);
}

static int
hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

bool
hex_decode(const char *hex, size_t digits, unsigned char *ret)
{
	for (size_t i = 0; i < digits; i += 2) {
		int high = hex_value(hex[i]), low = hex_value(hex[i + 1]);
		if (high < 0 || low < 0)
			return false;
		ret[i / 2] = (unsigned char)(high << 4 | low);
	}
	return true;
}

bool
cursor_read(const char *cursor, uint32_t tag, struct place *place)
{
	unsigned char bytes[HEAD_BYTES + NAME_SIZE];
	uint64_t order, of_tag, fit, name_id, peer_no, size_bytes;
	size_t digits = strlen(cursor);
	if (digits < 2 * HEAD_BYTES || digits > 2 * (HEAD_BYTES + NAME_MAX_BYTES) ||
	    digits % 2 != 0 || !hex_decode(cursor, digits, bytes))
		return false;
	const unsigned char *at = get_number(bytes, &order, 1);
	at = get_number(at, &of_tag, 4);
	at = get_number(at, &fit, 1);
	at = get_number(at, &name_id, 8);
	at = get_number(at, &peer_no, 8);
	at = get_number(at, &size_bytes, 8);
	size_t len = digits / 2 - HEAD_BYTES;
	if (order != (uint64_t)place->order || of_tag != tag || fit >= NAME_FIT_NONE ||
	    name_id > INT64_MAX || peer_no > INT64_MAX || memchr(at + DIGEST_BYTES, 0, len) != NULL)
		return false;
	place->is_begun = true;
	place->fit = (enum name_fit)fit;
	place->name_id = (int64_t)name_id;
	place->peer_no = (int64_t)peer_no;
	place->content.size_bytes = size_bytes;
	memcpy(place->content.root.bytes, at, DIGEST_BYTES);
	memcpy(place->name, at + DIGEST_BYTES, len);
	place->name[len] = '\0';
	return true;
}
