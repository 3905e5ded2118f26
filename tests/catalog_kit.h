/* SPDX-License-Identifier: MIT
 *
 * catalog_kit.h - a catalog in a directory of its own, and short ways to fill it; for tests.
 */
#ifndef P2PD_CATALOG_KIT_H
#define P2PD_CATALOG_KIT_H

#include "catalog.h"

#define KIT_TOLD_MAX 600

/* A copy of what was told. */
struct kit_told {
	int kind;
	char peer[PEER_ID_SIZE];
	char name[NAME_SIZE];
	struct content_id content;
};

struct kit {
	char dir[256];
	struct loop *loop;
	struct catalog *catalog;
	char *note; /* what was set aside at the last kit_open(), or NULL */
	char self[PEER_ID_SIZE];

	/* What was told since kit_clear(). */
	struct kit_told told[KIT_TOLD_MAX];
	size_t told_count;
	int64_t wall_ms; /* of the last */
	unsigned commits, cuts, ours;
	char cut_peer[PEER_ID_SIZE];
};

/* Makes a directory beneath $TMPDIR and opens a catalog there. */
struct kit *kit_new(void);
/* The same in `dir`, which stays. */
struct kit *kit_new_at(const char *dir);
void kit_free(struct kit *kit);
/* Closes and opens again; kit->note is renewed. */
void kit_reopen(struct kit *kit);
void kit_close(struct kit *kit);
/* NULL kit->catalog and `err` if it cannot be opened. */
void kit_open(struct kit *kit, struct error *err);
/* Submits, waits, answers the code. */
int kit_commit(struct kit *kit, struct catalog_batch *batch);
void kit_clear(struct kit *kit);

/* The peer id of a made-up key; in one of 8 static buffers. */
const char *kit_peer(const char *seed);
/* A content whose root is the digest of `seed`. */
struct content_id kit_content(const char *seed, uint64_t size_bytes);
struct catalog_local kit_file(const char *seed, uint64_t size_bytes);
int kit_put(struct kit *kit, const char *name, const char *seed, uint64_t size_bytes);
int kit_remove(struct kit *kit, const char *name);

/* A page of `peer` after `since`, still empty, through = head = since. */
struct change_page *kit_page(const char *peer, uint64_t epoch, uint64_t since);
/* Adds a file, or a tombstone if `seed` is NULL, and moves through and head. */
void kit_page_add(struct change_page *page, uint64_t seq, const char *name, const char *seed,
		  uint64_t size_bytes);
int kit_give(struct kit *kit, struct change_page *page);
/* A question for changes, in place. */
#define KIT_ASK(of, of_epoch, after, most)             \
	(&(struct change_question){ .peer = (of),      \
				    .epoch = (of_epoch), \
				    .since = (after),  \
				    .limit = (most) })
/* Gives a peer one file. */
int kit_give_one(struct kit *kit, const char *peer, uint64_t seq, const char *name,
		 const char *seed, uint64_t size_bytes);

/* Runs catalog_search for all pages of `limit` and writes "name:holders[*]\n" (* if local) for
 * each; "name/ files bytes[+]\n" of a subdirectory. */
char *kit_search(struct kit *kit, enum catalog_match match, const char *text, bool local_only,
		 uint32_t limit);

/* Removes a directory and what is in it. */
void kit_remove_tree(const char *dir);

#endif
