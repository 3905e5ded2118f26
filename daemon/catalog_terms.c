/* SPDX-License-Identifier: MIT
 *
 * catalog_terms.c - what the index is asked, so that it names few candidates and misses none.
 *
 * The index knows of each key (name_search_key()) which three characters in a row it has, and
 * nothing of their order.  A text of n characters has n - 2 such threes; of these a few are asked
 * for, evenly spread: those that lie apart tell nearly as much as all of them, and each costs a
 * walk through its list. Whoever is a candidate is looked at again as a whole (catalog_search.c).
 *
 * A text does not say where in the name its `/` will be: the last one of a name has another mark
 * in the key than those before it.  Such a place is EITHER here, and a three with it is asked for
 * as one or the other.  The key has no quotes, so neither has a term.
 */
#include <stdlib.h>
#include <string.h>

#include "catalog_search.h"
#include "mem.h"

#define EITHER       '\x01' /* a blank or NAME_KEY_LAST */
#define TERM_CHARS   3
#define PIECE_SIZE   (NAME_KEY_SIZE + 2)
#define TEXT_MAX     (TERMS_MAX * 64) /* bytes of a question */
#define GLOB_SPECIAL "*?["

void
terms_init(struct terms *terms)
{
	*terms = (struct terms){ 0 };
	buf_init(&terms->text, TEXT_MAX);
	buf_adds(&terms->text, "");
}

void
terms_fini(struct terms *terms)
{
	buf_fini(&terms->text);
}

static bool
is_first_byte(char c)
{
	return ((unsigned char)c & 0xc0) != 0x80;
}

/* Adds one, as a quoted string, with `mark` for EITHER. */
static void
add_quoted(struct buf *text, const char *term, size_t len, char mark)
{
	buf_adds(text, "\"");
	for (size_t i = 0; i < len; i++)
		buf_add(text, term[i] == EITHER ? &mark : &term[i], 1);
	buf_adds(text, "\"");
}

static void
add_term(struct terms *terms, const char *term, size_t len)
{
	const char *either = memchr(term, EITHER, len);
	bool has_two =
	    either != NULL && memchr(either + 1, EITHER, len - (size_t)(either + 1 - term)) != NULL;

	if (has_two || terms->count == TERMS_MAX)
		return;
	if (terms->count++ > 0)
		buf_adds(&terms->text, " AND ");
	if (either != NULL)
		buf_adds(&terms->text, "(");
	add_quoted(&terms->text, term, len, ' ');
	if (either != NULL) {
		buf_adds(&terms->text, " OR ");
		add_quoted(&terms->text, term, len, NAME_KEY_LAST);
		buf_adds(&terms->text, ")");
	}
}

/* Adds up to `most` terms of a piece of a key. */
static void
add_piece(struct terms *terms, const char *piece, unsigned most)
{
	size_t starts[PIECE_SIZE + 1], chars = 0, at = 0;

	for (; piece[at] != '\0'; at++)
		if (is_first_byte(piece[at]))
			starts[chars++] = at;
	starts[chars] = at;
	if (chars < TERM_CHARS)
		return;
	size_t last = chars - TERM_CHARS;
	size_t count = (chars + TERM_CHARS - 1) / TERM_CHARS;
	if (count > most)
		count = most;
	for (size_t i = 0; i < count; i++) {
		size_t from = count > 1 ? i * last / (count - 1) : 0;

		add_term(terms, piece + starts[from], starts[from + TERM_CHARS] - starts[from]);
	}
}

/*
 * As text[0..len) stands in a key, with EITHER for each `/` or, if all but the last are known to be
 * no name's last, for that one alone.
 */
static char *
write_piece(const char *text, size_t len, bool is_last_alone, char *ret)
{
	while (len > 0) {
		const char *slash =
		    is_last_alone ? memrchr(text, '/', len) : memchr(text, '/', len);
		size_t part = slash != NULL ? (size_t)(slash - text) : len;

		ret = name_words(text, part, ret);
		text += part;
		len -= part;
		if (len == 0)
			break;
		*ret++ = EITHER;
		text++;
		len--;
		if (is_last_alone)
			is_last_alone = false; /* none is behind it */
	}
	*ret = '\0';
	return ret;
}

void
terms_fit(struct terms *terms, const char *text, enum name_fit fit)
{
	char piece[PIECE_SIZE + 2], *at = piece;
	bool has_slash = strchr(text, '/') != NULL;

	/* A text with a `/` that is the whole name begins where the key does. */
	if (has_slash && fit != NAME_FIT_INSIDE)
		*at++ = ' ';
	else if (fit == NAME_FIT_WORD)
		*at++ = EITHER;
	else if (fit != NAME_FIT_INSIDE)
		*at++ = NAME_KEY_LAST;
	at = write_piece(text, strlen(text), true, at);
	if (fit == NAME_FIT_WHOLE) {
		*at++ = NAME_KEY_END;
		*at = '\0';
	}
	add_piece(terms, piece, TERMS_MAX);
}

void
terms_directory(struct terms *terms, const char *directory)
{
	char folded[NAME_FOLDED_SIZE], piece[PIECE_SIZE + 2], *at = piece;

	if (!name_fold(directory, strlen(directory), folded, sizeof(folded)))
		return;
	*at++ = ' ';
	at = name_words(folded, strlen(folded), at);
	*at++ = EITHER;
	*at = '\0';
	add_piece(terms, piece, TERMS_MAX / 2);
}

/* The end of a set that begins at `[`; NULL if it is not closed. */
static const char *
set_end(const char *glob)
{
	glob++;
	if (*glob == '^')
		glob++;
	if (*glob == ']')
		glob++;
	const char *end = strchr(glob, ']');
	return end != NULL ? end + 1 : NULL;
}

void
terms_glob(struct terms *terms, const char *glob)
{
	char folded[NAME_FOLDED_SIZE], piece[PIECE_SIZE + 2];

	while (glob != NULL && *glob != '\0') {
		size_t len = strcspn(glob, GLOB_SPECIAL);

		if (len > 0 && name_fold(glob, len, folded, sizeof(folded))) {
			char *end = write_piece(folded, strlen(folded), false, piece);
			if (glob[len] == '\0') {
				*end++ = NAME_KEY_END;
				*end = '\0';
			}
			add_piece(terms, piece, TERMS_MAX / 2);
		}
		glob += len;
		if (*glob == '[')
			glob = set_end(glob);
		else if (*glob != '\0')
			glob++;
	}
}
