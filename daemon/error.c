/* SPDX-License-Identifier: MIT
 *
 * error.c - a code and one sentence, without allocation.
 *
 * The sentence is formatted beside `err` first, so that an error may be wrapped in itself:
 *
 *	return error_set(err, err->code, "peer %s: %s", peer, err->text);
 *
 * A sentence too long is cut on a whole UTF-8 character, because it goes on into JSON.
 * Where errno speaks, the name before it is cut rather than the reason behind it.
 */
#include "error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* The largest length <= len at which `text` may be cut without splitting a character. */
static size_t
whole_characters(const char *text, size_t len)
{
	size_t start = len;

	while (start > 0 && len - start < 3 && ((unsigned char)text[start - 1] & 0xc0) == 0x80)
		start--;
	if (start == 0)
		return len;

	unsigned char lead = (unsigned char)text[start - 1];
	size_t wants = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 1;
	return len - start + 1 < wants ? start - 1 : len;
}

/* Formats into text[cap], cut on a whole character. */
static void __attribute__((format(printf, 3, 0)))
format_cut(char *text, size_t cap, const char *format, va_list args)
{
	int len = vsnprintf(text, cap, format, args);

	if (len < 0)
		text[0] = '\0';
	else if ((size_t)len >= cap)
		text[whole_characters(text, cap - 1)] = '\0';
}

static int
code_of_errno(int number)
{
	switch (number) {
	case ENOSPC:
	case EDQUOT:
		return P2P_NO_SPACE;
	case ENOENT:
	case ENOTDIR:
		return P2P_NOT_FOUND;
	case EACCES:
	case EPERM:
	case EROFS:
	case ELOOP:
	case EXDEV:
		return P2P_FORBIDDEN;
	case EEXIST:
	case EISDIR:
	case ENOTEMPTY:
		return P2P_EXISTS;
	case ENAMETOOLONG:
		return P2P_BAD_NAME;
	default:
		return P2P_IO;
	}
}

int
error_set(struct error *err, int code, const char *format, ...)
{
	if (err == NULL)
		return code;

	struct error made = { .code = code };
	va_list args;

	va_start(args, format);
	format_cut(made.text, sizeof(made.text), format, args);
	va_end(args);
	*err = made;
	return code;
}

int
error_errno(struct error *err, const char *format, ...)
{
	int saved = errno;
	int code = code_of_errno(saved);

	if (err == NULL)
		return code;

	struct error made = { .code = code };
	char space[128];
	const char *reason = strerror_r(saved, space, sizeof(space));
	size_t tail = strnlen(reason, sizeof(space)) + 2;
	va_list args;

	va_start(args, format);
	format_cut(made.text, sizeof(made.text) - tail, format, args);
	va_end(args);

	size_t len = strlen(made.text);
	snprintf(made.text + len, sizeof(made.text) - len, ": %s", reason);
	*err = made;
	errno = saved;
	return code;
}
