/* SPDX-License-Identifier: MIT
 *
 * fuzz_line.c - whatever line is accepted, quoting its words and pairs anew makes a line
 * that says the same; and any text survives quoting, and escapes to something harmless.
 */
#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "line.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Quotes `word` behind `used` bytes of out[cap]; answers the new length. */
static size_t
append(const char *before, const char *word, char *out, size_t cap, size_t used)
{
	size_t head = strlen(before);

	assert(used + head < cap);
	memcpy(out + used, before, head);
	used += head;

	size_t len = line_quote(word, out + used, cap - used);
	assert(len < cap - used);
	assert(len == strlen(out + used));
	return used + len;
}

static void
check_same(const struct line *a, const struct line *b)
{
	assert(a->word_count == b->word_count && a->pair_count == b->pair_count);
	for (size_t i = 0; i < a->word_count; i++)
		assert(strcmp(a->words[i], b->words[i]) == 0);
	for (size_t i = 0; i < a->pair_count; i++) {
		assert(strcmp(a->keys[i], b->keys[i]) == 0);
		assert(strcmp(line_value(b, a->keys[i]), a->values[i]) == 0);
	}
}

static void
check_line(const char *text, size_t len)
{
	static struct line first, second;
	static char again[5 * LINE_MAX_BYTES];
	const char *why = NULL;
	size_t used = 0;

	if (line_parse(text, len, &first, &why) < 0) {
		assert(why != NULL && first.word_count == 0 && first.pair_count == 0);
		return;
	}
	assert(len < LINE_MAX_BYTES && memchr(text, '\n', len) == NULL);
	assert(first.word_count + first.pair_count <= LINE_MAX_WORDS);
	for (size_t i = 0; i < first.word_count; i++)
		used = append(" ", first.words[i], again, sizeof(again), used);
	for (size_t i = 0; i < first.pair_count; i++) {
		char before[LINE_MAX_BYTES + 4];

		snprintf(before, sizeof(before), " %s=", first.keys[i]);
		used = append(before, first.values[i], again, sizeof(again), used);
	}
	/* An escape is longer than its byte: only what fits in a line again can be compared. */
	if (used >= LINE_MAX_BYTES)
		return;
	assert(line_parse(again, used, &second, &why) == 0);
	check_same(&first, &second);
}

static void
check_text(const char *text)
{
	static struct line line;
	char quoted[LINE_MAX_BYTES], escaped[256];
	const char *why;
	int code;
	bool is_final;

	size_t len = line_quote(text, quoted, sizeof(quoted));
	if (len < sizeof(quoted)) {
		assert(line_parse(quoted, len, &line, &why) == 0);
		assert(line.word_count == 1 && line.pair_count == 0);
		assert(strcmp(line.words[0], text) == 0);
	}
	for (size_t cap = 1; cap <= sizeof(escaped); cap *= 4) {
		len = line_escape(text, escaped, cap);
		assert(len < cap && len == strlen(escaped));
		for (size_t i = 0; i < len; i++)
			assert((unsigned char)escaped[i] >= 0x20 && escaped[i] != 0x7f);
	}
	if (line_reply(text, &code, &is_final) != NULL)
		assert(code >= 100 && code <= 999 && is_final == (text[3] != '-'));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);

	if (size > 0)
		memcpy(text, data, size);
	text[size] = '\0';
	check_text(text);

	/* Without room behind it, so that ASan sees a read past the end. */
	char *exact = malloc(size > 0 ? size : 1);
	if (size > 0)
		memcpy(exact, data, size);
	check_line(exact, size);
	free(exact);
	free(text);
	return 0;
}
