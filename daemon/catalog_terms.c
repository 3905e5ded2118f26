/* SPDX-License-Identifier: MIT
 *
 * catalog_terms.c - what the index is asked, so that it names few candidates and misses none.
 *
 * The index knows of each key (name_search_key()) which three characters in a row it has, and
 * nothing of their order.  A text of n characters has n - 2 such threes, its terms.  Here they are
 * listed; which few of them are asked for is chosen by catalog_choice.c, and whoever is a candidate
 * then is looked at again as a whole (catalog_search.c).
 *
 * A text does not say where in the name its `/` will be: the last one of a name has another mark
 * in the key than those before it.  Such a place is TERM_EITHER here, and a three with it is asked for
 * as one or the other.  The key has no quotes, so neither has a term.
 *
 * A beginning of the last part has one term with the mark and two characters, which much else has
 * that lies in a directory of the wanted name.  So it is also asked for its second and third
 * character, which a key has behind its end.
 */
#include <string.h>

#include "catalog_search.h"

#define TERM_CHARS   3
#define PIECE_SIZE   (NAME_KEY_SIZE + 2)
#define PIECE_MAX    (TERMS_MAX * 3 / 4) /* terms of one piece: others may have some as well */
#define GLOB_SPECIAL "*?["

static bool
is_first_byte(char c)
{
	return ((unsigned char)c & 0xc0) != 0x80;
}

static bool
has_term(const struct terms *terms, const char *term, size_t len)
{
	for (unsigned i = 0; i < terms->count; i++)
		if (strlen(terms->list[i]) == len && memcmp(terms->list[i], term, len) == 0)
			return true;
	return false;
}

static void
add_term(struct terms *terms, const char *term, size_t len)
{
	const char *either = memchr(term, TERM_EITHER, len);
	bool has_two = either != NULL &&
		       memchr(either + 1, TERM_EITHER, len - (size_t)(either + 1 - term)) != NULL;

	if (has_two || terms->count == TERMS_MAX || has_term(terms, term, len))
		return;
	memcpy(terms->list[terms->count], term, len);
	terms->list[terms->count++][len] = '\0';
}

/* Adds the terms of a piece of a key; of a long one PIECE_MAX, evenly spread. */
static void
add_piece(struct terms *terms, const char *piece)
{
	size_t starts[PIECE_SIZE + 1], chars = 0, at = 0;

	for (; piece[at] != '\0'; at++)
		if (is_first_byte(piece[at]))
			starts[chars++] = at;
	starts[chars] = at;
	if (chars < TERM_CHARS)
		return;
	size_t last = chars - TERM_CHARS;
	size_t count = last < PIECE_MAX ? last + 1 : PIECE_MAX;
	for (size_t i = 0; i < count; i++) {
		size_t from = count > 1 ? i * last / (count - 1) : 0;

		add_term(terms, piece + starts[from], starts[from + TERM_CHARS] - starts[from]);
	}
}

/*
 * As text[0..len) stands in a key, with TERM_EITHER for each `/` or, if all but the last are known to be
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
		*ret++ = TERM_EITHER;
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
	char piece[PIECE_SIZE + 2], rest[TERM_SIZE], *at = piece;
	bool has_slash = strchr(text, '/') != NULL;

	/* A text with a `/` that is the whole name begins where the key does. */
	if (has_slash && fit != NAME_FIT_INSIDE)
		*at++ = ' ';
	else if (fit == NAME_FIT_WORD)
		*at++ = TERM_EITHER;
	else if (fit != NAME_FIT_INSIDE)
		*at++ = NAME_KEY_LAST;
	at = write_piece(text, strlen(text), true, at);
	if (piece[0] == NAME_KEY_LAST) {
		rest[0] = NAME_KEY_END;
		name_key_rest(piece + 1, rest + 1);
		add_piece(terms, rest);
	}
	if (fit == NAME_FIT_WHOLE) {
		*at++ = NAME_KEY_END;
		*at = '\0';
	}
	add_piece(terms, piece);
}

void
terms_directory(struct terms *terms, const char *directory)
{
	char folded[NAME_FOLDED_SIZE], piece[PIECE_SIZE + 2], *at = piece;

	if (!name_fold(directory, strlen(directory), folded, sizeof(folded)))
		return;
	*at++ = ' ';
	at = name_words(folded, strlen(folded), at);
	*at++ = TERM_EITHER;
	*at = '\0';
	add_piece(terms, piece);
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
			add_piece(terms, piece);
		}
		glob += len;
		if (*glob == '[')
			glob = set_end(glob);
		else if (*glob != '\0')
			glob++;
	}
}
