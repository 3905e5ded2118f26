/* SPDX-License-Identifier: MIT
 *
 * name.c - what a shared name may be.
 *
 * Every name from outside passes name_check() at the edge, before anything is done with it,
 * so that one rule holds on the disk, in the catalog and on every wire.  The rule keeps out
 * what reaches elsewhere (`..`), what two hosts would spell differently (not NFC), and what
 * people cannot see (control, bidirectional and invisible characters).
 *
 * Nearly all names are printable ASCII, and those never touch the Unicode tables.  Nothing
 * here allocates: a part has at most 255 bytes, so it is normalised on the stack.
 *
 * Errors show the name escaped: it may be anything at all.
 */
#include "name.h"

#include <stdint.h>
#include <string.h>
#include <utf8proc.h>

#include "line.h"

#define SHOWN_BYTES 160 /* of a name in an error, escaped */
/* Canonical decomposition makes at most four characters of one. */
#define PART_CHARS_MAX (4 * NAME_PART_MAX)

static int
refuse(struct error *err, const char *name, size_t len, const char *rule)
{
	char head[SHOWN_BYTES], shown[SHOWN_BYTES];

	if (len >= sizeof(head))
		len = sizeof(head) - 1;
	memcpy(head, name, len);
	head[len] = '\0';
	line_escape(head, shown, sizeof(shown));
	return error_set(err, P2P_BAD_NAME, "name '%s' %s", shown, rule);
}

static bool
is_invisible(int32_t c)
{
	return c == 0x61c || (c >= 0x200b && c <= 0x200f) || (c >= 0x202a && c <= 0x202e) ||
	       (c >= 0x2060 && c <= 0x2064) || (c >= 0x2066 && c <= 0x2069);
}

/* What is wrong with the characters of a part, or NULL. */
static const char *
check_characters(const utf8proc_uint8_t *part, size_t len, bool *ret_ascii)
{
	bool is_ascii = true;

	for (size_t i = 0; i < len;) {
		utf8proc_int32_t c = part[i];
		utf8proc_ssize_t step = 1;

		if (c >= 0x80) {
			is_ascii = false;
			step = utf8proc_iterate(part + i, (utf8proc_ssize_t)(len - i), &c);
			if (step <= 0)
				return "is not valid UTF-8";
		}
		if (c < 0x20 || (c >= 0x7f && c <= 0x9f))
			return "holds a control character";
		if (is_invisible(c))
			return "holds an invisible or bidirectional character";
		i += (size_t)step;
	}
	*ret_ascii = is_ascii;
	return NULL;
}

/* True if the valid UTF-8 of a part, at most NAME_PART_MAX bytes, is in NFC. */
static bool
is_nfc(const utf8proc_uint8_t *part, size_t len)
{
	const utf8proc_option_t options = UTF8PROC_STABLE | UTF8PROC_COMPOSE;
	utf8proc_int32_t chars[PART_CHARS_MAX];
	utf8proc_ssize_t count =
	    utf8proc_decompose(part, (utf8proc_ssize_t)len, chars, PART_CHARS_MAX, options);

	if (count < 0 || count > PART_CHARS_MAX)
		return false;
	count = utf8proc_normalize_utf32(chars, count, options);

	utf8proc_ssize_t n = 0;
	for (size_t i = 0; i < len; n++) {
		utf8proc_int32_t c;

		i += (size_t)utf8proc_iterate(part + i, (utf8proc_ssize_t)(len - i), &c);
		if (n >= count || chars[n] != c)
			return false;
	}
	return n == count;
}

/* What is wrong with a part, or NULL. */
static const char *
part_flaw(const char *part, size_t len)
{
	if (len == 0)
		return "has an empty part";
	if (len > NAME_PART_MAX)
		return "has a part of more than 255 bytes";
	if ((len == 1 && part[0] == '.') || (len == 2 && part[0] == '.' && part[1] == '.'))
		return "has a part '.' or '..'";
	if (memchr(part, '/', len) != NULL)
		return "holds a '/'";
	if (len >= strlen(NAME_TEMP_PREFIX) &&
	    memcmp(part, NAME_TEMP_PREFIX, strlen(NAME_TEMP_PREFIX)) == 0)
		return "has a part that begins with '" NAME_TEMP_PREFIX
		       "', which p2pd keeps for itself";

	const utf8proc_uint8_t *bytes = (const utf8proc_uint8_t *)part;
	bool is_ascii = true;
	const char *flaw = check_characters(bytes, len, &is_ascii);
	if (flaw == NULL && !is_ascii && !is_nfc(bytes, len))
		flaw = "is not in Unicode normal form C";
	return flaw;
}

int
name_check_part(const char *part, size_t len, struct error *err)
{
	const char *flaw = part_flaw(part, len);

	return flaw == NULL ? 0 : refuse(err, part, len, flaw);
}

int
name_check(const char *name, size_t len, struct error *err)
{
	if (len == 0)
		return refuse(err, name, len, "is empty");
	if (len > NAME_MAX_BYTES)
		return refuse(err, name, len, "has more than 1024 bytes");

	const char *end = name + len;
	size_t parts = 0;
	for (const char *part = name;;) {
		const char *slash = memchr(part, '/', (size_t)(end - part));
		const char *stop = slash != NULL ? slash : end;
		const char *flaw = part_flaw(part, (size_t)(stop - part));

		if (flaw != NULL)
			return refuse(err, name, len, flaw);
		if (++parts > NAME_MAX_PARTS)
			return refuse(err, name, len, "has more than 16 parts");
		if (slash == NULL)
			return 0;
		part = slash + 1;
	}
}

size_t
name_utf8_span(const char *text, size_t len)
{
	const utf8proc_uint8_t *bytes = (const utf8proc_uint8_t *)text;
	size_t i = 0;

	while (i < len) {
		utf8proc_int32_t c;
		utf8proc_ssize_t step = 1;

		if (bytes[i] >= 0x80)
			step = utf8proc_iterate(bytes + i, (utf8proc_ssize_t)(len - i), &c);
		if (step <= 0)
			return i;
		i += (size_t)step;
	}
	return len;
}

/* Takes one character; a byte that is no UTF-8 counts as one, beyond Unicode.  0 at the end. */
static int32_t
next_char(const char **text)
{
	const unsigned char *at = (const unsigned char *)*text;
	utf8proc_int32_t c;

	if (*at < 0x80) {
		*text += *at != '\0';
		return *at;
	}

	utf8proc_ssize_t step = utf8proc_iterate(at, -1, &c);
	if (step <= 0) {
		(*text)++;
		return 0x110000 + *at;
	}
	*text += step;
	return c;
}

/* Takes a set, behind its `[`; true if it is closed.  Is `c` in it? */
static bool
take_set(const char **glob, int32_t c, bool *ret_has)
{
	bool has = false, invert = false;
	int32_t before = 0; /* what a range may begin with; 0 is nothing */
	int32_t member = next_char(glob);

	if (member == '^') {
		invert = true;
		member = next_char(glob);
	}
	/* A `]` that stands first is a member. */
	if (member == ']') {
		has = c == ']';
		member = next_char(glob);
	}
	for (; member != 0 && member != ']'; member = next_char(glob)) {
		if (member == '-' && before != 0 && **glob != ']' && **glob != '\0') {
			int32_t last = next_char(glob);

			has = has || (c >= before && c <= last);
			before = 0;
		} else {
			has = has || c == member;
			before = member;
		}
	}
	*ret_has = has != invert;
	return member == ']';
}

/* Takes one character of `name` and what stands for it in `glob`; true if they agree. */
static bool
match_one(const char **glob, const char **name)
{
	int32_t c = next_char(name);
	int32_t wanted = next_char(glob);
	bool has;

	if (wanted == '?')
		return true;
	return wanted == '[' ? take_set(glob, c, &has) && has : wanted == c;
}

int
name_glob_check(const char *glob, struct error *err)
{
	bool has;

	for (const char *at = glob; *at != '\0';)
		if (next_char(&at) == '[' && !take_set(&at, 0, &has))
			return error_set(err, P2P_BAD_REQUEST,
					 "no name fits \"%.64s\", for a '[' has no ']'; "
					 "[[] stands for the character",
					 glob);
	return P2P_OK;
}

/*
 * Walks both once.  On a mismatch the last `*` takes one character more; earlier ones need
 * not be tried again, since whatever they could gain the last can gain too.  So the time is
 * at most the product of both lengths.
 */
bool
name_match(const char *glob, const char *name)
{
	const char *star = NULL;  /* behind the last `*` */
	const char *taken = NULL; /* behind what it took so far */

	while (*name != '\0' || *glob == '*') {
		if (*glob == '*') {
			star = ++glob;
			taken = name;
		} else if (*glob == '\0' || !match_one(&glob, &name)) {
			if (star == NULL || *taken == '\0')
				return false;
			next_char(&taken);
			glob = star;
			name = taken;
		}
	}
	return *glob == '\0';
}

bool
name_is_meant(const char *pattern, const char *name)
{
	if (strpbrk(pattern, "*?[") != NULL)
		return name_match(pattern, name);
	size_t len = strlen(pattern);
	return strncmp(pattern, name, len) == 0 && (name[len] == '\0' || name[len] == '/');
}
