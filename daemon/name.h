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

#endif
