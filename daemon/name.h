/* SPDX-License-Identifier: MIT
 *
 * name.h - what a shared name may be.  Any thread.
 *
 * Valid UTF-8 in NFC; parts divided by `/`, each 1 to 255 bytes, at most 16 parts and 1,024
 * bytes; no part `.` or `..`; no C0, C1 or DEL; none of the invisible and bidirectional
 * U+061C U+200B-200F U+202A-202E U+2060-2064 U+2066-2069; no part with the daemon's own
 * temporary prefix.
 */
#ifndef P2PD_NAME_H
#define P2PD_NAME_H

#include <stdbool.h>
#include <stddef.h>

#include "error.h"

#define NAME_MAX_BYTES	1024	/* of a whole name, without NUL */
#define NAME_SIZE	(NAME_MAX_BYTES + 1)
#define NAME_PART_MAX	255	/* bytes of one part */
#define NAME_MAX_PARTS	16
#define NAME_TEMP_PREFIX ".p2pd-"	/* files of ours that are not shared */

/* 0, or P2P_BAD_NAME with a sentence that says which rule. */
int	name_check(const char *name, size_t len, struct error *err);
/* The same of one part (a directory entry). */
int	name_check_part(const char *part, size_t len, struct error *err);
/* How many bytes of `text` are valid UTF-8, from its beginning on; `len` if all are.  No rule on characters. */
size_t	name_utf8_span(const char *text, size_t len);
/* True if `name` matches `glob`: `*` any run of characters (`/` included), `?` one character,
 * [abc] [a-z] [^a] sets, as SQLite's GLOB does. */
bool	name_match(const char *glob, const char *name);
/* 0, or P2P_BAD_REQUEST if `glob` can match no name at all, for it has a set that is not closed. */
int	name_glob_check(const char *glob, struct error *err);
/* The same as name_match(); but a pattern without * ? [ means that name itself, and as a directory all below it. */
bool	name_is_meant(const char *pattern, const char *name);

/* --- looking for names; see name_fold.c --- */

#define NAME_FOLDED_SIZE	(3 * NAME_MAX_BYTES + 1)	/* folding makes no text longer than this */

/* `len` bytes of UTF-8, at most NAME_MAX_BYTES, in normal form C; false if they are no UTF-8 or ret[size] is too small. */
bool	name_compose(const char *text, size_t len, char *ret, size_t size);
/* The same with its case folded: what two names have in common that differ in nothing else. */
bool	name_fold(const char *text, size_t len, char *ret, size_t size);

/* Which Unicode tables these two go by; folding may differ with others. */
const char *name_tables(void);

/* How well a text fits a name, best first. */
enum name_fit {
	NAME_FIT_WHOLE,		/* it is the name, or its last part */
	NAME_FIT_BEGIN,		/* the last part begins with it */
	NAME_FIT_WORD,		/* a word begins with it */
	NAME_FIT_INSIDE,
	NAME_FIT_NONE,
};
/* Both folded; `text` not empty. */
enum name_fit name_fit(const char *name, const char *text);
/* True if a word of `text` may begin at `at`: nothing, or a separator, stands before. */
bool	name_begins_word(const char *text, const char *at);

/* What an index for searches holds of a name: its words divided by blanks, a mark before its last part and one at its end.
 * A name with directories has a blank first.  Behind the end stand the second and the third character of the last part
 * once more: an index of threes could not tell otherwise what begins with three characters from what has them elsewhere. */
#define NAME_KEY_LAST		'\x02'
#define NAME_KEY_END		'\x03'
#define NAME_KEY_SIZE		(NAME_FOLDED_SIZE + 3 + 2 * 4)
#define NAME_KEY_VERSION	2	/* of these rules */
void	name_search_key(const char *folded, char *ret);
/* What stands behind the end, of a last part that begins with these words; "" if they are too short.  Answers its end. */
char	*name_key_rest(const char *words, char *ret);
/* A piece of a folded name as it stands in a key, without marks, into ret[len + 1]; answers its end. */
char	*name_words(const char *folded, size_t len, char *ret);

#endif
