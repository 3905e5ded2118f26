/* SPDX-License-Identifier: MIT
 *
 * line.c - split, quote and frame one line of the control protocol.
 *
 * Both ends of the socket stand on this file, so that what one quotes the other reads back
 * byte for byte: any string without NUL survives line_quote() and line_parse(), whether it
 * is UTF-8 or not.  The raw line itself is always clean UTF-8 without control characters;
 * everything else travels as an escape.  A blank is a space, and nothing else.
 *
 * The parser walks the line once and writes the words, unquoted, into `text`.  A word never
 * grows by unquoting, and the blank or `=` behind it makes room for its NUL, so `text` is
 * always large enough.
 *
 * line_escape() is for people: it makes any text safe to show, on a terminal or in a log,
 * and is not meant to be read back.
 */
#include "line.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

static const char hex_digits[] = "0123456789abcdef";

/* Takes the parts of a line in turn. */
struct scan {
	const char *at; /* next byte to read */
	const char *end;
	char *out; /* next byte to write, in line->text */
	struct line *line;
};

/*
 * The length in bytes of the UTF-8 character at `text`, of which `len` bytes are there;
 * 0 if there is no valid one.
 */
static size_t
utf8_char(const char *text, size_t len, uint32_t *ret)
{
	static const uint32_t smallest[] = { 0, 0, 0x80, 0x800, 0x10000 };
	const unsigned char *bytes = (const unsigned char *)text;

	if (len == 0)
		return 0;
	if (bytes[0] < 0x80) {
		*ret = bytes[0];
		return 1;
	}

	size_t need = bytes[0] >= 0xf0 ? 4 : bytes[0] >= 0xe0 ? 3 : 2;
	if (bytes[0] < 0xc2 || bytes[0] > 0xf4 || len < need)
		return 0;

	uint32_t c = bytes[0] & (0x7fu >> need);
	for (size_t i = 1; i < need; i++) {
		if ((bytes[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (bytes[i] & 0x3f);
	}
	if (c < smallest[need] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		return 0;
	*ret = c;
	return need;
}

static bool
is_control(uint32_t c)
{
	return c < 0x20 || (c >= 0x7f && c <= 0x9f);
}

/* Characters that show as nothing, break a line, or turn the order of what stands near. */
static bool
is_invisible(uint32_t c)
{
	static const struct {
		uint32_t first, last;
	} ranges[] = {
		{ 0xad, 0xad },     { 0x61c, 0x61c },   { 0x180e, 0x180e },
		{ 0x200b, 0x200f }, { 0x2028, 0x202e }, { 0x2060, 0x206f },
		{ 0xfeff, 0xfeff }, { 0xfff9, 0xfffb }, { 0xe0000, 0xe007f },
	};

	for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++)
		if (c >= ranges[i].first && c <= ranges[i].last)
			return true;
	return false;
}

static int
hex_value(char c)
{
	const char *digit = c == '\0' ? NULL : strchr("0123456789abcdefABCDEF", c);

	if (digit == NULL)
		return -1;
	return c >= 'a' ? c - 'a' + 10 : c >= 'A' ? c - 'A' + 10 : c - '0';
}

/* The length of the key that `text` begins with, if `=` follows; else 0. */
static size_t
key_length(const char *text, size_t len)
{
	size_t i = 0;

	if (len == 0 || text[0] < 'a' || text[0] > 'z')
		return 0;
	while (i < len && ((text[i] >= 'a' && text[i] <= 'z') ||
			   (text[i] >= '0' && text[i] <= '9') || text[i] == '_' || text[i] == '-'))
		i++;
	return i < len && text[i] == '=' ? i : 0;
}

/* Why the raw line cannot be, or NULL. */
static const char *
check_raw(const char *data, size_t len)
{
	if (len >= LINE_MAX_BYTES)
		return "the line is too long";
	for (size_t i = 0; i < len;) {
		uint32_t c = 0;
		size_t step = utf8_char(data + i, len - i, &c);

		if (step == 0)
			return "the line is not valid UTF-8";
		if (is_control(c))
			return "the line holds a control character";
		i += step;
	}
	return NULL;
}

/* Takes one escape, behind its backslash.  NULL, or what is wrong. */
static const char *
take_escape(struct scan *scan)
{
	int high, low;

	switch (scan->at < scan->end ? *scan->at++ : '\0') {
	case '"':
		*scan->out++ = '"';
		return NULL;
	case '\\':
		*scan->out++ = '\\';
		return NULL;
	case 'n':
		*scan->out++ = '\n';
		return NULL;
	case 't':
		*scan->out++ = '\t';
		return NULL;
	case 'x':
		if (scan->end - scan->at < 2)
			return "\\x wants two hex digits";
		high = hex_value(scan->at[0]);
		low = hex_value(scan->at[1]);
		if (high < 0 || low < 0)
			return "\\x wants two hex digits";
		if (high == 0 && low == 0)
			return "a NUL cannot be part of a word";
		*scan->out++ = (char)(high << 4 | low);
		scan->at += 2;
		return NULL;
	default:
		return "an unknown escape";
	}
}

/* Takes the rest of a quoted text, behind its first quote. */
static const char *
take_quoted(struct scan *scan)
{
	while (scan->at < scan->end && *scan->at != '"') {
		char c = *scan->at++;
		const char *why;

		if (c != '\\')
			*scan->out++ = c;
		else if ((why = take_escape(scan)) != NULL)
			return why;
	}
	if (scan->at == scan->end)
		return "a quote is left open";
	scan->at++;
	if (scan->at < scan->end && *scan->at != ' ')
		return "a blank must follow a closing quote";
	return NULL;
}

static const char *
take_bare(struct scan *scan)
{
	while (scan->at < scan->end && *scan->at != ' ') {
		if (*scan->at == '"' || *scan->at == '\\')
			return "a word with a quote or a backslash must be quoted";
		*scan->out++ = *scan->at++;
	}
	return NULL;
}

/* Takes a word or a value; *ret_text points to it, with NUL. */
static const char *
take_text(struct scan *scan, const char **ret_text)
{
	const char *text = scan->out, *why;

	if (scan->at < scan->end && *scan->at == '"') {
		scan->at++;
		why = take_quoted(scan);
	} else {
		why = take_bare(scan);
	}
	*scan->out++ = '\0';
	*ret_text = text;
	return why;
}

/* Takes one word or pair. */
static const char *
take_item(struct scan *scan)
{
	struct line *line = scan->line;

	if (line->word_count + line->pair_count == LINE_MAX_WORDS)
		return "too many words";

	size_t key_len = key_length(scan->at, (size_t)(scan->end - scan->at));
	if (key_len == 0)
		return take_text(scan, &line->words[line->word_count++]);

	const char *key = scan->out;
	memcpy(scan->out, scan->at, key_len);
	scan->out[key_len] = '\0';
	scan->out += key_len + 1;
	scan->at += key_len + 1;
	if (line_value(line, key) != NULL)
		return "a key stands twice";
	line->keys[line->pair_count] = key;
	return take_text(scan, &line->values[line->pair_count++]);
}

int
line_parse(const char *data, size_t len, struct line *ret, const char **ret_why)
{
	const char *why = check_raw(data, len);
	struct scan scan = { .at = data, .end = data + len, .out = ret->text, .line = ret };

	ret->word_count = 0;
	ret->pair_count = 0;
	while (why == NULL) {
		while (scan.at < scan.end && *scan.at == ' ')
			scan.at++;
		if (scan.at == scan.end)
			return 0;
		why = take_item(&scan);
	}
	ret->word_count = 0;
	ret->pair_count = 0;
	*ret_why = why;
	return -1;
}

const char *
line_value(const struct line *line, const char *key)
{
	for (size_t i = 0; i < line->pair_count; i++)
		if (strcmp(line->keys[i], key) == 0)
			return line->values[i];
	return NULL;
}

/* True if a parser would not read the bare word back as it is. */
static bool
must_quote(const char *word, size_t len)
{
	if (len == 0 || key_length(word, len) > 0)
		return true;
	for (size_t i = 0; i < len;) {
		uint32_t c = 0;
		size_t step = utf8_char(word + i, len - i, &c);

		if (step == 0 || is_control(c) || c == ' ' || c == '"' || c == '\\')
			return true;
		i += step;
	}
	return false;
}

/* Writes `step` bytes at `text`, which are the character `c`, or a bad byte if `step` is 0,
 * as it stands inside of quotes: at most 8 bytes.  Answers their number. */
static size_t
quote_char(const char *text, size_t step, uint32_t c, char out[8])
{
	size_t len = 0;

	if (step == 1 && (c == '"' || c == '\\' || c == '\n' || c == '\t')) {
		out[0] = '\\';
		out[1] = c == '\n' ? 'n' : c == '\t' ? 't' : (char)c;
		return 2;
	}
	if (step > 0 && !is_control(c)) {
		memcpy(out, text, step);
		return step;
	}
	for (size_t i = 0; i < (step > 0 ? step : 1); i++) {
		out[len++] = '\\';
		out[len++] = 'x';
		out[len++] = hex_digits[(unsigned char)text[i] >> 4];
		out[len++] = hex_digits[(unsigned char)text[i] & 15];
	}
	return len;
}

/* Writes "..." to out[cap]; answers the length, or cap if it does not fit. */
static size_t
quote_all(const char *word, size_t len, char *out, size_t cap)
{
	size_t used = 0;

	if (cap < 3)
		return cap;
	out[used++] = '"';
	for (size_t i = 0; i < len;) {
		uint32_t c = 0;
		char piece[8];
		size_t step = utf8_char(word + i, len - i, &c);
		size_t piece_len = quote_char(word + i, step, c, piece);

		/* The closing quote and the NUL are still to come. */
		if (piece_len + 2 > cap - used)
			return cap;
		memcpy(out + used, piece, piece_len);
		used += piece_len;
		i += step > 0 ? step : 1;
	}
	out[used++] = '"';
	out[used] = '\0';
	return used;
}

size_t
line_quote(const char *word, char *out, size_t cap)
{
	size_t len = strlen(word), used = cap;

	if (must_quote(word, len)) {
		used = quote_all(word, len, out, cap);
	} else if (len < cap) {
		memcpy(out, word, len + 1);
		used = len;
	}
	if (used == cap && cap > 0)
		out[0] = '\0';
	return used;
}

/* Writes one character (a bad byte if `step` is 0) as people may see it: at most 10 bytes
 * and a NUL.  Answers their number. */
static size_t
escape_char(const char *text, size_t step, uint32_t c, char out[16])
{
	if (step == 0 || c < 0x20 || c == 0x7f)
		return (size_t)snprintf(out, 16, "\\x%02x", (unsigned char)text[0]);
	if (is_control(c) || is_invisible(c))
		return (size_t)snprintf(out, 16, "\\u{%04x}", (unsigned)c);
	if (c == '\\')
		return (size_t)snprintf(out, 16, "\\\\");
	memcpy(out, text, step);
	return step;
}

size_t
line_escape(const char *text, char *out, size_t cap)
{
	size_t len = strlen(text), used = 0;

	if (cap == 0)
		return 0;
	for (size_t i = 0; i < len;) {
		uint32_t c = 0;
		char piece[16];
		size_t step = utf8_char(text + i, len - i, &c);
		size_t piece_len = escape_char(text + i, step, c, piece);

		if (piece_len >= cap - used)
			break;
		memcpy(out + used, piece, piece_len);
		used += piece_len;
		i += step > 0 ? step : 1;
	}
	out[used] = '\0';
	return used;
}

const char *
line_reply(const char *line, int *ret_code, bool *ret_final)
{
	int code = 0;

	for (size_t i = 0; i < 3; i++) {
		if (line[i] < '0' || line[i] > '9')
			return NULL;
		code = 10 * code + (line[i] - '0');
	}
	if (code < 100 || (line[3] != ' ' && line[3] != '-' && line[3] != '\0'))
		return NULL;
	*ret_code = code;
	*ret_final = line[3] != '-';
	return line[3] == '\0' ? line + 3 : line + 4;
}
