/* SPDX-License-Identifier: MIT
 *
 * follow_kit.h - follows of a kit's catalog, and looks at what they find; for tests.
 */
#ifndef P2PD_FOLLOW_KIT_H
#define P2PD_FOLLOW_KIT_H

#include "catalog_kit.h"

/* Answers the code. */
int follow_kit_add(struct kit *kit, const char *pattern, const char *place, bool replace);
int follow_kit_end(struct kit *kit, uint64_t no);
/* Takes a look, and writes what it led to, unless that is to be forgotten: "name name ... [-stale] [held:N] [more]".
 * Gives. */
char *follow_kit_look(struct kit *kit, bool is_written);
/* The same, written; it must say this. */
void follow_kit_expect(struct kit *kit, const char *wanted);

#endif
