/* SPDX-License-Identifier: MIT
 *
 * daemon_take_up.h - at the start: peers and fetches as the catalog remembers them.  For daemon.c.
 */
#ifndef P2PD_DAEMON_TAKE_UP_H
#define P2PD_DAEMON_TAKE_UP_H

#include "catalog.h"
#include "fetch.h"
#include "peers.h"
#include "store.h"

/* Borrowed, all of them. */
struct take_up {
	struct catalog *catalog;
	struct peers *peers;
	struct fetches *fetches;
	struct store *store;
	const char *state;	/* its directory, for errors */
};

/* Before the loop runs.  P2P_OK, or what the catalog's reading answered, and err. */
int	daemon_take_up(const struct take_up *parts, struct error *err);

#endif
