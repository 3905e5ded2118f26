/* SPDX-License-Identifier: MIT
 *
 * fuzz_name.c - a name that is accepted keeps the rule, stated here once more in another
 * way (code points first, and utf8proc's own NFC); and a glob comes to an end.
 *
 * The input is a name; if it holds a NUL, a glob stands before it.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "name.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Decodes strictly; the number of code points, or -1. */
static long
decode(const uint8_t *data, size_t len, int32_t *chars)
{
	long count = 0;

	for (size_t i = 0; i < len;) {
		utf8proc_int32_t c;
		utf8proc_ssize_t step = utf8proc_iterate(data + i, (utf8proc_ssize_t)(len - i), &c);

		if (step <= 0)
			return -1;
		chars[count++] = c;
		i += (size_t)step;
	}
	return count;
}

static bool
is_forbidden(int32_t c)
{
	static const int32_t list[] = { 0x7f,   0x61c,  0x200b, 0x200c, 0x200d, 0x200e, 0x200f,
					0x202a, 0x202b, 0x202c, 0x202d, 0x202e, 0x2060, 0x2061,
					0x2062, 0x2063, 0x2064, 0x2066, 0x2067, 0x2068, 0x2069 };

	for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++)
		if (c == list[i])
			return true;
	return c < 0x20 || (c >= 0x80 && c < 0xa0);
}

static bool
is_nfc(const char *text)
{
	utf8proc_uint8_t *made = utf8proc_NFC((const utf8proc_uint8_t *)text);
	bool is_same = made != NULL && strcmp((const char *)made, text) == 0;

	free(made);
	return is_same;
}

/* True if every part between slashes is one that a directory may hold and we do not keep. */
static bool
has_good_parts(const char *name)
{
	char copy[NAME_SIZE], *rest = copy, *part;
	size_t count = 0;

	strcpy(copy, name);
	while ((part = strsep(&rest, "/")) != NULL) {
		size_t len = strlen(part);

		if (len < 1 || len > 255 || strcmp(part, ".") == 0 || strcmp(part, "..") == 0 ||
		    strncmp(part, ".p2pd-", 6) == 0)
			return false;
		count++;
	}
	return count <= 16;
}

static bool
keeps_the_rule(const uint8_t *data, size_t len)
{
	int32_t chars[NAME_MAX_BYTES];
	char name[NAME_SIZE];

	if (len == 0 || len > NAME_MAX_BYTES)
		return false;

	long count = decode(data, len, chars);
	if (count < 0)
		return false;
	for (long i = 0; i < count; i++)
		if (is_forbidden(chars[i]))
			return false;
	memcpy(name, data, len);
	name[len] = '\0';
	return is_nfc(name) && has_good_parts(name);
}

static void
check_name(const uint8_t *data, size_t len)
{
	struct error err = { .code = 0 };
	const char *name = (const char *)data;
	int rc = name_check(name, len, &err);

	assert(rc == (keeps_the_rule(data, len) ? 0 : P2P_BAD_NAME));
	assert(name_check(name, len, NULL) == rc);
	assert(err.code == rc && (rc == 0 || err.text[0] != '\0'));
	if (memchr(name, '/', len) == NULL)
		assert(name_check_part(name, len, NULL) == rc);
}

static void
check_glob(const char *glob, const char *name)
{
	bool is_match = name_match(glob, name);

	/* A `*` more can only gain, and a name without specials matches itself. */
	char *wider = malloc(strlen(glob) + 2);
	strcpy(wider, glob);
	strcat(wider, "*");
	if (is_match && strchr(glob, '[') == NULL)
		assert(name_match(wider, name));
	free(wider);
	if (strpbrk(name, "*?[") == NULL)
		assert(name_match(name, name));
	assert(name_match("*", name));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *exact = malloc(size > 0 ? size : 1);
	char *text = malloc(size + 2);

	if (size > 0)
		memcpy(exact, data, size);
	check_name(exact, size);
	free(exact);

	if (size > 0)
		memcpy(text, data, size);
	text[size] = text[size + 1] = '\0';
	check_glob(text, text + strlen(text) + 1);
	check_glob("*[^a]?*", text);
	free(text);
	return 0;
}
