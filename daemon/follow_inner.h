/* SPDX-License-Identifier: MIT
 *
 * follow_inner.h - what follow.c (the life of the follows) and follow_pass.c (one look at what changed) share.
 */
#ifndef P2PD_FOLLOW_INNER_H
#define P2PD_FOLLOW_INNER_H

#include "follow.h"

/* A file that a look found. */
struct follow_find {
	char *name;			/* where it lands; owned */
	struct catalog_version version;
	uint32_t mode;
	size_t lot;			/* whose it is */
};

/* A file of a fetch that is no longer wanted: there is a newer version, or nobody has it any more. */
struct follow_stale {
	uint64_t fetch;
	char *name;			/* owned */
	struct content_id content;
};

struct follow_move {
	char peer[PEER_ID_SIZE];
	struct catalog_mark mark;
};

/* One follow in a look. */
struct follow_lot {
	uint64_t no;
	char *pattern, *place;		/* owned */
	bool replace;
	size_t held;			/* versions that found another file under their name */
	char *held_name;		/* the first of them; owned */
	struct follow_move *moves;	/* marks to be written with what was found */
	size_t move_count, move_room;
	bool has_found;			/* while one peer is looked at: something fits */
	struct catalog_mark from;	/* the same: where it stood */
};

struct follow_peer {
	char id[PEER_ID_SIZE];
	uint64_t epoch, seq;
};

/* A look.  The pool's while it works, else the mind's. */
struct follow_pass {
	struct catalog *catalog;
	struct follow_lot *lots;
	size_t lot_count, lot_room;
	struct follow_peer *peers;
	size_t peer_count, peer_room;
	struct follow_find *finds;	/* in the end ordered by name, each name once */
	size_t find_count, find_room;
	struct follow_stale *stales;
	size_t stale_count, stale_room;
	size_t change_count;		/* that were read */
	bool has_more;			/* it ended at a limit */
	int code;			/* of the catalog */
};

/* On the pool: fills what stands there cleared but for the catalog. */
void	follow_pass_run(struct follow_pass *pass);
void	follow_pass_fini(struct follow_pass *pass);

#endif
