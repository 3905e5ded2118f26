/* SPDX-License-Identifier: MIT
 *
 * partial_kit.h - a share of its own, and a content with all that is known of it; for the tests of partial.h.
 */
#ifndef P2PD_PARTIAL_KIT_H
#define P2PD_PARTIAL_KIT_H

#include "partial.h"

#define KIT_SMALL_PIECES (5 * 65536)		/* 64 KiB: several in a block of the store */
#define KIT_LARGE_PIECES ((256 << 20) + 5 * MERKLE_LEAF_BYTES + 99) /* 512 KiB: several blocks in one */

/* The share, for the time of a test. */
extern char root[256];
extern struct store *store;
extern struct error err;

/* The content in use. */
extern unsigned char *data;
extern size_t size;
extern struct content_id id;
extern struct digest *layer;
extern size_t count;		/* pieces */
extern uint32_t piece_bytes;

/* Fixtures: before all tests, in the process that they are forked from, for large contents take long to make; before and after each. */
void	partial_kit_prepare(void);
void	partial_kit_setup(void);
void	partial_kit_teardown(void);

/* Makes it the content in use. */
void	use_content(size_t bytes);

#endif
