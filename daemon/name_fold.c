/* SPDX-License-Identifier: MIT
 *
 * name_fold.c - names as people look for them: whatever the case, and however accents are composed.
 *
 * Two texts are alike if they fold to the same: full case folding of Unicode ("STRASSE" is alike
 * "straße"), then normal form C (a text typed on a host that decomposes accents is alike the name
 * that has them composed).  Nothing else is taken away: an accent makes another letter.
 *
 * A word is a run of letters, marks and digits; what stands between words are separators, `/`
 * among them.  name_search_key() writes a folded name with one kind of separator, so that an index
 * over it needs to know nothing of what people put between words, and with marks around its last
 * part and what begins it, so that "begins with" is something that an index can find as well.
 *
 * What is ASCII, and followed by ASCII, never touches the Unicode tables.  Nothing here allocates.
 */
#include "name.h"

#include <stdint.h>
#include <string.h>
#include <utf8proc.h>

/*
 * Decomposed and folded, one character makes at most four, and more of them only if it had more
 * than one byte: twice the bytes are enough.
 */
#define FOLD_CHARS_MAX (2 * NAME_MAX_BYTES)

/* --- folding --- */

/* Writes chars as UTF-8; false if they do not fit. */
static bool
write_chars(const utf8proc_int32_t *chars, utf8proc_ssize_t count, char *ret, size_t size)
{
	size_t len = 0;

	for (utf8proc_ssize_t i = 0; i < count; i++) {
		utf8proc_uint8_t bytes[4];
		size_t step = (size_t)utf8proc_encode_char(chars[i], bytes);

		if (len + step >= size)
			return false;
		memcpy(ret + len, bytes, step);
		len += step;
	}
	ret[len] = '\0';
	return true;
}

static bool
map(const char *text, size_t len, utf8proc_option_t options, char *ret, size_t size)
{
	utf8proc_int32_t chars[FOLD_CHARS_MAX];
	utf8proc_ssize_t count;

	options |= UTF8PROC_STABLE | UTF8PROC_COMPOSE;
	count = utf8proc_decompose((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)len, chars,
				   FOLD_CHARS_MAX, options);
	if (count < 0 || count > FOLD_CHARS_MAX)
		return false;
	count = utf8proc_normalize_utf32(chars, count, options);
	return count >= 0 && write_chars(chars, count, ret, size);
}

/* The bytes from text[at] that must be mapped together, 0 if it is an ASCII character that stands for itself. */
static size_t
joined_bytes(const char *text, size_t len, size_t at)
{
	size_t end = at + 1;

	/* An ASCII character joins nothing before it, but marks behind it may join it. */
	while (end < len && (unsigned char)text[end] >= 0x80)
		end++;
	return end == at + 1 && (unsigned char)text[at] < 0x80 ? 0 : end - at;
}

static bool
map_parts(const char *text, size_t len, bool is_folded, char *ret, size_t size)
{
	char *end = ret + size - 1;

	for (size_t at = 0, joined; at < len; at += joined ? joined : 1) {
		char c = text[at];

		if (ret == end)
			return false;
		joined = joined_bytes(text, len, at);
		if (joined == 0)
			*ret++ = is_folded && c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
		else if (map(text + at, joined, is_folded ? UTF8PROC_CASEFOLD : 0, ret,
			     (size_t)(end - ret) + 1))
			ret += strlen(ret);
		else
			return false;
	}
	*ret = '\0';
	return true;
}

bool
name_compose(const char *text, size_t len, char *ret, size_t size)
{
	return map_parts(text, len, false, ret, size);
}

bool
name_fold(const char *text, size_t len, char *ret, size_t size)
{
	return map_parts(text, len, true, ret, size);
}

const char *
name_tables(void)
{
	return utf8proc_unicode_version();
}

/* --- words --- */

static bool
is_of_word(utf8proc_int32_t c)
{
	if (c < 0x80)
		return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z');

	utf8proc_category_t category = utf8proc_category(c);
	return category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_NO;
}

bool
name_begins_word(const char *text, const char *at)
{
	utf8proc_int32_t c;

	if (at == text)
		return true;
	/* To the first byte of the character before. */
	const char *before = at - 1;
	while (before > text && ((unsigned char)*before & 0xc0) == 0x80)
		before--;
	return utf8proc_iterate((const utf8proc_uint8_t *)before, at - before, &c) <= 0 ||
	       !is_of_word(c);
}

/* Appends text[0..len) with blanks for separators. */
static char *
add_words(const char *text, size_t len, char *ret)
{
	for (size_t i = 0; i < len;) {
		utf8proc_int32_t c = (unsigned char)text[i];
		utf8proc_ssize_t step = 1;

		if (c >= 0x80)
			step = utf8proc_iterate((const utf8proc_uint8_t *)text + i,
						(utf8proc_ssize_t)(len - i), &c);
		if (step <= 0)
			step = 1;
		if (is_of_word(c)) {
			memcpy(ret, text + i, (size_t)step);
			ret += step;
		} else {
			*ret++ = ' ';
		}
		i += (size_t)step;
	}
	return ret;
}

char *
name_words(const char *folded, size_t len, char *ret)
{
	char *end = add_words(folded, len, ret);

	*end = '\0';
	return end;
}

/* Behind the character at hand, or the end. */
static const char *
skip_char(const char *text)
{
	if (*text != '\0')
		text++;
	while (((unsigned char)*text & 0xc0) == 0x80)
		text++;
	return text;
}

char *
name_key_rest(const char *words, char *ret)
{
	const char *second = skip_char(words), *third = skip_char(second);
	size_t len = *third != '\0' ? (size_t)(skip_char(third) - second) : 0;

	memcpy(ret, second, len);
	ret[len] = '\0';
	return ret + len;
}

void
name_search_key(const char *folded, char *ret)
{
	const char *slash = strrchr(folded, '/');
	const char *base = slash != NULL ? slash + 1 : folded;

	if (slash != NULL) {
		*ret++ = ' ';
		ret = add_words(folded, (size_t)(slash - folded), ret);
	}
	*ret++ = NAME_KEY_LAST;
	const char *words = ret;
	ret = name_words(base, strlen(base), ret);
	name_key_rest(words, ret + 1);
	*ret = NAME_KEY_END;
}

/* --- how well a name fits --- */

enum name_fit
name_fit(const char *name, const char *text)
{
	const char *slash = strrchr(name, '/');
	const char *base = slash != NULL ? slash + 1 : name;
	size_t len = strlen(text);

	if (strcmp(base, text) == 0 || strcmp(name, text) == 0)
		return NAME_FIT_WHOLE;
	if (strncmp(base, text, len) == 0)
		return NAME_FIT_BEGIN;
	const char *first = strstr(name, text);
	for (const char *at = first; at != NULL; at = strstr(at + 1, text))
		if (name_begins_word(name, at))
			return NAME_FIT_WORD;
	return first != NULL ? NAME_FIT_INSIDE : NAME_FIT_NONE;
}
