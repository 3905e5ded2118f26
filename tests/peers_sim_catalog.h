/* SPDX-License-Identifier: MIT
 *
 * peers_sim_catalog.h - the catalogs of simulated peers, and what should stand in them.
 */
#ifndef P2PD_PEERS_SIM_CATALOG_H
#define P2PD_PEERS_SIM_CATALOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "catalog.h"

#define SIM_FILES_MAX	8	/* of one peer */

/* The files of a peer, as they are. */
struct sim_share {
	size_t count;
	struct sim_file {
		char name[48];
		struct catalog_local is;
	} files[SIM_FILES_MAX];
	uint64_t seq;		/* changes so far, the first files included */
};

/* Gives an empty share its first files, one of which everybody has, and tells the catalog of its peer, the `index`-th. */
void	sim_share_fill(struct sim_share *share, struct catalog *catalog, size_t index, size_t count);
/* One file more, or less, or another under an old name, as `random` has it; and tells the catalog. */
void	sim_share_change(struct sim_share *share, struct catalog *catalog, size_t index, uint64_t random);
/* True if what `catalog` has of the files of peer `id` is this, entry by entry. */
bool	sim_share_is_known(const struct sim_share *share, struct catalog *catalog, const char *id);

/* What catalogs take, in bytes. */
struct sim_room {
	uint64_t cache, schema, statements;	/* in memory, by SQLite's own count, of all connections */
	uint64_t disk;				/* with the log */
};
void	sim_room_add(struct sim_room *room, struct catalog *catalog);

#endif
