/* SPDX-License-Identifier: MIT
 *
 * control_reply.c - the lines of a reply.
 *
 * A reply is any number of records "CCC-word key=value ..." and one final line "CCC key=value ...".
 * An error's final line is "CCC slug=SLUG text=SENTENCE".  Everything is built in a struct buf, so
 * it works on any thread and the connection may be gone meanwhile.
 *
 * No line is longer than LINE_MAX_BYTES: a text that is too long for its share of the line is cut
 * on a whole character.  That befalls only what no command takes as an argument anyway: names of
 * files that cannot be shared, and sentences.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "control_internal.h"

/* Three texts of this length and some numbers fit in one line; and every shareable name and every
 * cursor fits here.
 */
#define TEXT_MAX (CATALOG_CURSOR_SIZE + 3)
#define CUT_MAX  512 /* bytes of a text that was cut: quoted, each may become four */

static_assert(4 * CUT_MAX + 3 <= TEXT_MAX, "what was cut fits");

void
reply_record(struct buf *out, int code, const char *word)
{
	buf_addf(out, "%d-%s", code, word);
}

void
reply_final(struct command *command, int code)
{
	command->code = code;
	buf_addf(&command->reply, "%d", code);
}

void
reply_text(struct buf *out, const char *key, const char *text)
{
	char quoted[TEXT_MAX];

	if (text == NULL)
		return;
	if (line_quote(text, quoted, sizeof(quoted)) == sizeof(quoted)) {
		char cut[CUT_MAX + 1];
		size_t len = CUT_MAX;

		while (len > 0 && ((unsigned char)text[len] & 0xc0) == 0x80)
			len--;
		memcpy(cut, text, len);
		cut[len] = '\0';
		line_quote(cut, quoted, sizeof(quoted));
	}
	buf_addf(out, " %s=%s", key, quoted);
}

void
reply_number(struct buf *out, const char *key, uint64_t number)
{
	buf_addf(out, " %s=%" PRIu64, key, number);
}

void
reply_flag(struct buf *out, const char *key, bool flag)
{
	buf_addf(out, " %s=%s", key, flag ? "yes" : "no");
}

void
reply_end(struct buf *out)
{
	buf_adds(out, "\n");
}

void
reply_add_error(struct buf *out, const struct error *err)
{
	buf_addf(out, "%d slug=%s", code_http(err->code), code_slug(err->code));
	reply_text(out, "text", err->text[0] != '\0' ? err->text : code_title(err->code));
	reply_end(out);
}

void
reply_error(struct command *command, const struct error *err)
{
	command->code = code_http(err->code);
	reply_add_error(&command->reply, err);
}

void
reply_errorf(struct command *command, int code, const char *format, ...)
{
	struct error err = { .code = code };
	va_list args;

	va_start(args, format);
	vsnprintf(err.text, sizeof(err.text), format, args);
	va_end(args);
	reply_error(command, &err);
}
