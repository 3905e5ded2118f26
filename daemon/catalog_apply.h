/* SPDX-License-Identifier: MIT
 *
 * catalog_apply.h - what the files that carry out batches share.  The scribe's thread, inside of its
 * transaction.  Not for others.
 *
 * Answers are P2P_OK or a code; after one the caller undoes its savepoint.
 */
#ifndef P2PD_CATALOG_APPLY_H
#define P2PD_CATALOG_APPLY_H

#include "catalog_db.h"

struct apply {
	struct db *db;
	struct catalog_batch *batch; /* in which is told what was changed */
	struct peer_row *self;
	struct box box;
	bool is_mute; /* what is being written was announced as a whole */
};

/* Forgets what an earlier try told. */
void apply_begin(struct apply *apply, struct db *db, struct catalog_batch *batch,
		 struct peer_row *self);
/* More changed than is told, of this peer. */
void apply_tell_cut(struct apply *apply, const char *peer);
/* Brings one change into the entries of the peer of `row`, unless it is older than what is there.
 * `name_id` is the number of its name. */
int apply_entry(struct apply *apply, struct peer_row *row, const char *peer,
		const struct change *change, int64_t name_id);
/* False: it is a removal that is not to be told of again. */
bool change_leaves_entry(const struct peer_row *row, const struct change *change);
int peer_row_save(struct db *db, const struct peer_row *row);

/* --- catalog_pages.c --- */

/* A page that a peer gave us. */
int apply_page(struct apply *apply, const struct change_page *page);
/* Forgets all entries of a peer; that is told as one thing. */
int apply_drop_entries(struct apply *apply, struct peer_row *row, const char *peer);

#endif
