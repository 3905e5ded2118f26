/* SPDX-License-Identifier: MIT
 *
 * catalog_apply.c - carries out what batches ask for.  The scribe's thread, inside of its
 * transaction.
 *
 * Our own files and those that other peers tell of go the same last step, apply_entry(): look at
 * the old entry, write the new one, keep the peer's counts, and note what is to be told.  What
 * differs comes before: our own changes get the next seq and bring a row of `local` and a layer;
 * the pages of another peer bring their own seqs, and are checked as a whole before their first row
 * is written (catalog_pages.c).
 *
 * A refusal (P2P_CONFLICT, P2P_BAD_ANSWER, P2P_TOO_MANY, P2P_BAD_REQUEST) leaves the connection
 * healthy; a failure of the database is seen by db->failure as well.  In both cases the caller
 * undoes the savepoint: nothing is cleaned up here.
 */
#include <stdlib.h>
#include <string.h>

#include "catalog_apply.h"
#include "clock.h"
#include "mem.h"
#include "merkle.h"

/* --- what is told --- */

void
apply_tell_cut(struct apply *apply, const char *peer)
{
	struct catalog_commit *commit = &apply->batch->commit;
	if (!commit->is_cut)
		commit->cut_peer = peer;
	else if (commit->cut_peer != NULL && strcmp(commit->cut_peer, peer) != 0)
		commit->cut_peer = NULL;
	commit->is_cut = true;
}

static void
tell(struct apply *apply, int kind, const char *peer, const struct change *change)
{
	struct catalog_batch *batch = apply->batch;
	if (apply->is_mute)
		return;
	if (batch->commit.count == CATALOG_TOLD_MAX) {
		apply_tell_cut(apply, peer);
		return;
	}
	size_t n = batch->commit.count++;
	/* Grows at powers of two. */
	if ((n & (n - 1)) == 0)
		batch->told = mem_grow(batch->told, n ? 2 * n : 1, sizeof(*batch->told));
	batch->told[n] = (struct catalog_told){ .peer = peer, .name = change->name };
	batch->told[n].kind = kind;
	if (change->is_removed)
		return;
	batch->told[n].content = change->content;
	batch->told[n].mtime_ns = change->mtime_ns;
}

/* The same for the outbox, which has room for each change. */
static int
box_tell(struct apply *apply, int kind, const struct peer_row *row, const char *peer,
	 const struct change *change)
{
	const struct outbox_terms *terms = apply->db->box_terms;
	if (terms == NULL || apply->is_mute || (row->no != SELF_NO && !terms->with_others))
		return P2P_OK;
	return box_add_change(apply->db, &apply->box, kind, peer, row->epoch, change);
}

static int
tell_all(struct apply *apply, int kind, const struct peer_row *row, const char *peer,
	 const struct change *change)
{
	tell(apply, kind, peer, change);
	return box_tell(apply, kind, row, peer, change);
}

/* --- entries --- */

int
peer_row_load(struct db *db, const char *id, struct peer_row *ret)
{
	int found = db_start(db, SQL_PEER_GET, db_text(id));
	if (found != 1)
		return found;
	*ret = (struct peer_row){
		.no = (int64_t)db_col_int(db, SQL_PEER_GET, 0),
		.epoch = db_col_int(db, SQL_PEER_GET, 1),
		.seq = db_col_int(db, SQL_PEER_GET, 2),
		.entry_count = db_col_int(db, SQL_PEER_GET, 3),
		.file_count = db_col_int(db, SQL_PEER_GET, 4),
		.byte_count = db_col_int(db, SQL_PEER_GET, 5),
		.floor = db_col_int(db, SQL_PEER_GET, 6),
		.name_bytes = db_col_int(db, SQL_PEER_GET, 7),
	};
	db_end(db, SQL_PEER_GET);
	return 1;
}

int
peer_row_save(struct db *db, const struct peer_row *row)
{
	return db_run(db, SQL_PEER_SAVE, db_int((uint64_t)row->no), db_int(row->epoch),
		      db_int(row->seq), db_int(row->entry_count), db_int(row->file_count),
		      db_int(row->byte_count), db_int(row->floor), db_int(row->name_bytes));
}

struct old_entry {
	bool exists, is_live;
	struct content_id content; /* of a live one */
	uint64_t seq;
};

static int
old_entry_load(struct db *db, int64_t name_id, int64_t peer_no, struct old_entry *ret)
{
	*ret = (struct old_entry){ 0 };
	int found =
	    db_start(db, SQL_ENTRY_GET, db_int((uint64_t)name_id), db_int((uint64_t)peer_no));
	if (found != 1)
		return found;
	ret->exists = true;
	ret->is_live = !db_col_is_null(db, SQL_ENTRY_GET, 1);
	ret->content.size_bytes = db_col_int(db, SQL_ENTRY_GET, 0);
	db_col_digest(db, SQL_ENTRY_GET, 1, &ret->content.root);
	ret->seq = db_col_int(db, SQL_ENTRY_GET, 2);
	db_end(db, SQL_ENTRY_GET);
	return 0;
}

/* By ENTRY_ADD or ENTRY_PUT. */
static int
write_entry(struct db *db, enum sql sql, int64_t name_id, int64_t peer_no,
	    const struct change *change)
{
	if (change->is_removed)
		return db_run(db, sql, db_int((uint64_t)name_id), db_int((uint64_t)peer_no),
			      db_int(0), db_null(), db_int(0), db_int(0), db_int(change->seq));
	return db_run(db, sql, db_int((uint64_t)name_id), db_int((uint64_t)peer_no),
		      db_int(change->content.size_bytes), db_digest(&change->content.root),
		      db_int((uint64_t)change->mtime_ns), db_int(change->mode),
		      db_int(change->seq));
}

/* Most entries of a large catalog are new, and take one statement.  1: written in the place of *ret_old,
 * 0: what is there is newer, or a code. */
static int
replace_entry(struct db *db, int64_t name_id, int64_t peer_no, const struct change *change,
	      struct old_entry *ret_old)
{
	*ret_old = (struct old_entry){ 0 };
	int code = write_entry(db, SQL_ENTRY_ADD, name_id, peer_no, change);
	if (code < 0 || sqlite3_changes(db->handle) > 0)
		return code < 0 ? code : 1;
	code = old_entry_load(db, name_id, peer_no, ret_old);
	if (code < 0 || ret_old->seq >= change->seq)
		return code;
	code = write_entry(db, SQL_ENTRY_PUT, name_id, peer_no, change);
	return code < 0 ? code : 1;
}

/* The last trace of a file that was removed before the floor.  Answers as replace_entry(). */
static int
drop_entry(struct db *db, int64_t name_id, int64_t peer_no, const struct change *change,
	   struct old_entry *ret_old)
{
	int code = old_entry_load(db, name_id, peer_no, ret_old);
	if (code < 0 || !ret_old->exists || ret_old->seq >= change->seq)
		return code;
	code = db_run(db, SQL_ENTRY_DROP, db_int((uint64_t)name_id), db_int((uint64_t)peer_no));
	if (code == P2P_OK)
		code = db_run(db, SQL_ORPHAN_ADD, db_int((uint64_t)name_id));
	return code < 0 ? code : 1;
}

bool
change_leaves_entry(const struct peer_row *row, const struct change *change)
{
	return !change->is_removed || change->seq > row->floor;
}

int
apply_entry(struct apply *apply, struct peer_row *row, const char *peer,
	    const struct change *change, int64_t name_id)
{
	struct old_entry old;
	bool is_kept = change_leaves_entry(row, change);
	int code = is_kept ? replace_entry(apply->db, name_id, row->no, change, &old)
			   : drop_entry(apply->db, name_id, row->no, change, &old);
	if (code <= 0)
		return code;
	row->entry_count += is_kept;
	row->entry_count -= old.exists;
	if (is_kept && !old.exists)
		row->name_bytes += strlen(change->name);
	else if (!is_kept && old.exists)
		row->name_bytes -= strlen(change->name);
	if (old.is_live) {
		row->file_count--;
		row->byte_count -= old.content.size_bytes;
	}
	if (!change->is_removed) {
		row->file_count++;
		row->byte_count += change->content.size_bytes;
	}
	if (change->is_removed && old.is_live)
		return tell_all(apply, CATALOG_REMOVED, row, peer, change);
	if (!change->is_removed && !old.is_live)
		return tell_all(apply, CATALOG_ADDED, row, peer, change);
	if (!change->is_removed && !content_equal(&old.content, &change->content))
		return tell_all(apply, CATALOG_CHANGED, row, peer, change);
	return P2P_OK;
}

static int
put_entry(struct apply *apply, struct peer_row *row, const char *peer, const struct change *change)
{
	int64_t name_id;
	int code = name_row_need(apply->db, change->name, &name_id);
	return code < 0 ? code : apply_entry(apply, row, peer, change, name_id);
}

/* --- our own files --- */

static int
drop_layer(struct db *db, const struct content_id *content)
{
	return db_run(db, SQL_LAYER_DROP, db_digest(&content->root), db_int(content->size_bytes));
}

static int
write_local(struct db *db, const struct op *op)
{
	const struct catalog_local *file = &op->put.file;
	int code =
	    db_run(db, SQL_LOCAL_PUT, db_text(op->name), db_int(file->content.size_bytes),
		   db_digest(&file->content.root), db_int((uint64_t)file->mtime_ns),
		   db_int(file->mode), db_int(file->sig.size_bytes),
		   db_int((uint64_t)file->sig.mtime_ns), db_int((uint64_t)file->sig.ctime_ns),
		   db_int(file->sig.device), db_int(file->sig.inode));
	/* The layer of one piece is the root, which we have. */
	if (code == P2P_OK && op->put.layer_count > 1)
		code = db_run(db, SQL_LAYER_PUT, db_digest(&file->content.root),
			      db_int(file->content.size_bytes),
			      db_blob(op->put.layer, op->put.layer_count * sizeof(*op->put.layer)));
	return code;
}

/* What `local` has under this name: 1 and *ret (without its signature), 0, or a code. */
static int
old_local_load(struct db *db, const char *name, struct catalog_local *ret)
{
	int found = db_start(db, SQL_LOCAL_GET, db_text(name));
	if (found != 1)
		return found;
	ret->content.size_bytes = db_col_int(db, SQL_LOCAL_GET, 1);
	db_col_digest(db, SQL_LOCAL_GET, 2, &ret->content.root);
	ret->mtime_ns = (int64_t)db_col_int(db, SQL_LOCAL_GET, 3);
	ret->mode = (uint32_t)db_col_int(db, SQL_LOCAL_GET, 4);
	db_end(db, SQL_LOCAL_GET);
	return 1;
}

static int
put_own_entry(struct apply *apply, struct change *change)
{
	change->seq = ++apply->self->seq;
	return put_entry(apply, apply->self, apply->batch->self, change);
}

static int
apply_put(struct apply *apply, const struct op *op)
{
	const struct catalog_local *file = &op->put.file;
	struct catalog_local old = { 0 };
	int had = old_local_load(apply->db, op->name, &old);
	if (had < 0)
		return had;
	int code = write_local(apply->db, op);
	if (code < 0)
		return code;

	bool same_content = had && content_equal(&old.content, &file->content);
	if (same_content && old.mtime_ns == file->mtime_ns && old.mode == file->mode)
		return P2P_OK;
	struct change change = {
		.name = op->name,
		.content = file->content,
		.mtime_ns = file->mtime_ns,
		.mode = file->mode,
	};
	code = put_own_entry(apply, &change);
	if (code == P2P_OK && had && !same_content)
		code = drop_layer(apply->db, &old.content);
	return code;
}

static int
apply_remove(struct apply *apply, const struct op *op)
{
	struct catalog_local old = { 0 };
	int had = old_local_load(apply->db, op->name, &old);
	if (had <= 0)
		return had;
	int code = db_run(apply->db, SQL_LOCAL_DROP, db_text(op->name));
	if (code == P2P_OK)
		code = drop_layer(apply->db, &old.content);
	if (code == P2P_OK)
		code = passed_removed_here(apply->db, op->name, &old);
	struct change change = { .name = op->name, .is_removed = true };
	return code == P2P_OK ? put_own_entry(apply, &change) : code;
}

/* --- peers --- */

static int
apply_peer(struct apply *apply, const struct op *op)
{
	if (!digest_is_base32(op->peer.id))
		return P2P_BAD_REQUEST;
	return db_run(apply->db, SQL_PEER_NOTE, db_text(op->peer.id), db_text(op->name),
		      db_text(op->peer.addresses), db_int((uint64_t)op->peer.heard_wall_ms));
}

static int
apply_forget(struct apply *apply, const struct op *op)
{
	struct peer_row row;
	if (strcmp(op->peer.id, apply->batch->self) == 0)
		return P2P_BAD_REQUEST;
	int found = peer_row_load(apply->db, op->peer.id, &row);
	if (found <= 0)
		return found;
	int code = apply_drop_entries(apply, &row, op->peer.id);
	if (apply->batch->commit.cut_peer == op->peer.id)
		apply->batch->commit.cut_name = op->name;
	apply->is_mute = false;
	if (code == P2P_OK)
		code = db_run(apply->db, SQL_PEER_DROP, db_int((uint64_t)row.no));
	return code == P2P_OK ? passed_looked_at(apply->db, op->peer.id) : code;
}

/* --- fetches --- */

static int
apply_fetch_done(struct apply *apply, const struct op *op)
{
	int code = db_run(apply->db, SQL_ITEM_DROP_ALL, db_int(op->fetch.id));
	if (code == P2P_OK)
		code = db_run(apply->db, SQL_MAKING_DROP_ALL, db_int(op->fetch.id));
	return code < 0 ? code : db_run(apply->db, SQL_FETCH_DROP, db_int(op->fetch.id));
}

static int
apply_fetch(struct apply *apply, const struct op *op)
{
	int code = apply_fetch_done(apply, op);
	if (code == P2P_OK)
		code = db_run(apply->db, SQL_FETCH_PUT, db_int(op->fetch.id), db_text(op->name),
			      db_int(op->fetch.replace));
	for (size_t i = 0; i < op->fetch.count && code == P2P_OK; i++) {
		const struct catalog_fetch_item *item = &op->fetch.items[i];
		code = db_run(apply->db, SQL_ITEM_PUT, db_int(op->fetch.id), db_int(i),
			      db_text(item->name), db_int(item->content.size_bytes),
			      db_digest(&item->content.root), db_int((uint64_t)item->mtime_ns),
			      db_int(item->mode));
	}
	return code;
}

/* --- all of them --- */

static int
apply_op(struct apply *apply, const struct op *op)
{
	switch (op->kind) {
	case OP_PUT:
		return apply_put(apply, op);
	case OP_REMOVE:
		return apply_remove(apply, op);
	case OP_PAGE:
		return apply_page(apply, op->page);
	case OP_PEER:
		return apply_peer(apply, op);
	case OP_FORGET:
		return apply_forget(apply, op);
	case OP_FETCH:
		return apply_fetch(apply, op);
	case OP_ITEM_DONE:
		return db_run(apply->db, SQL_ITEM_DROP, db_int(op->fetch.id), db_text(op->name));
	case OP_MAKING:
		return db_run(apply->db, SQL_MAKING_PUT, db_text(op->name), db_int(op->fetch.id));
	case OP_FETCH_RANK:
		return db_run(apply->db, SQL_FETCH_RANK, db_int(op->fetch.id),
			      db_int(op->fetch.rank.priority), db_int(op->fetch.rank.front));
	case OP_FETCH_DONE:
		return apply_fetch_done(apply, op);
	case OP_FOLLOW:
	case OP_UNFOLLOW:
	case OP_MARK:
	case OP_FOLLOWED:
		return follow_apply(apply->db, op);
	case OP_BOX:
		return box_apply(apply->db, &apply->box, apply->self, op);
	}
	return P2P_INTERNAL;
}

void
apply_begin(struct apply *apply, struct db *db, struct catalog_batch *batch, struct peer_row *self)
{
	*apply = (struct apply){ .db = db, .batch = batch, .self = self };
	/* It may be the second try. */
	batch->commit = (struct catalog_commit){ .wall_ms = clock_wall_ms() };
	apply->box.wall_ms = batch->commit.wall_ms;
	free(batch->told);
	batch->told = NULL;
}

int
batch_apply(struct db *db, struct catalog_batch *batch, struct peer_row *self)
{
	struct apply apply;
	uint64_t seq = self->seq;
	apply_begin(&apply, db, batch, self);
	for (size_t i = 0; i < batch->count; i++) {
		int code = apply_op(&apply, &batch->ops[i]);
		if (code < 0)
			return code;
	}
	batch->commit.told = batch->told;
	batch->commit.is_ours = self->seq != seq;
	int code = box_end(db, &apply.box, self, batch->commit.is_ours);
	if (code < 0)
		return code;
	return batch->commit.is_ours ? peer_row_save(db, self) : P2P_OK;
}
