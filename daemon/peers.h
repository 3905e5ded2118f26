/* SPDX-License-Identifier: MIT
 *
 * peers.h - who is in the network: registration, heart-beat, notices, and pulling of catalogs.  Mind's thread.
 *
 * A peer is believed to be here only after it answered a greeting of ours, at an address, with its id; what others
 * say of it, and its own registration, are reasons to greet it, no more.  Its catalog is pulled from itself.
 */
#ifndef P2PD_PEERS_H
#define P2PD_PEERS_H

#include "catalog.h"
#include "config.h"
#include "events.h"
#include "loop.h"
#include "node.h"
#include "transport.h"

#define PEERS_MAX	1000	/* peers known at once; more registrations are refused with P2P_TOO_MANY */

enum peer_state {
	PEER_HERE,		/* answered our last greeting */
	PEER_SUSPECT,		/* did not answer the last one; asked again soon */
	PEER_AWAY,		/* did not answer several, or said good-bye */
};
const char	*peer_state_name(enum peer_state state);	/* "here", "suspect", "away" */

struct peer_info {
	char id[PEER_ID_SIZE];
	char name[NODE_NAME_SIZE];
	char version[NODE_VERSION_SIZE];
	char address[NODE_ADDRESS_SIZE];	/* the one that answered last, else the first known */
	/* By wire, "" if there is none: at the same host as `address` if it has one, else the first known. */
	char wire_address[WIRE_COUNT][NODE_ADDRESS_SIZE];
	enum peer_state state;
	uint32_t round_trip_us;		/* smoothed; 0 if never measured */
	uint64_t file_count, byte_count;	/* that it says it shares */
	uint64_t epoch, seq;		/* how far we have its catalog */
	uint64_t heard_ms_ago;		/* UINT64_MAX if not since our start */
	int64_t heard_wall_ms;		/* 0 if never */
};

struct peers;

/* `self` is copied; its epoch, seq and counts are taken from the catalog at each use.  Borrows the rest; the
 * transport outlives it.  `remembered` come from catalog_peers(), read before the mind runs. */
struct peers	*peers_new(struct loop *loop, struct transport *transport, struct catalog *catalog,
		     struct events *events, struct config *config, const struct node_record *self);
/* Before start: a peer that the catalog remembers. */
void		 peers_remember(struct peers *peers, const struct catalog_peer *peer);
/* Before start: our record anew, now that the addresses are known. */
void		 peers_set_self(struct peers *peers, const struct node_record *self);
void		 peers_start(struct peers *peers);
void		 peers_configure(struct peers *peers, struct config *config);
/* Says good-bye to all that are here (bounded: 1 s), then calls done. */
void		 peers_stop(struct peers *peers, loop_fn done, void *arg);
/* Frees; no request may be under way (the transport is stopped). */
void		 peers_free(struct peers *peers);

/* Our record as it is now. */
void		 peers_self(const struct peers *peers, struct node_record *ret);

/* Somebody registered with us from `from_host` (literal address): gives those that we know and he, by his view, may not (free()).
 * P2P_TOO_MANY; P2P_BAD_REQUEST for our own id or a bad record. */
int		 peers_registered(struct peers *peers, const struct node_hello *hello, const char *from_host,
		     struct node_record **ret_known, size_t *ret_count, struct error *err);
/* A peer said good-bye: it is asked once whether that is true if `from_host` is none of its addresses' hosts. */
int		 peers_left(struct peers *peers, const char *id, const char *from_host);
/* A notice came: pulls, if it is news, at most once at a time for a peer, and no more than once in 5 s for notices that brought nothing.
 * P2P_NOT_FOUND for an unknown peer. */
int		 peers_noticed(struct peers *peers, const struct notice *notice);
/* Our own catalog moved on: tell the others, at once or 50 ms after the last time. */
void		 peers_tell(struct peers *peers);

/* A copy of all, ordered by name then id; gives: free().  This peer is not among them. */
struct peer_info *peers_list(const struct peers *peers, size_t *ret_count);
/* False if unknown. */
bool		 peers_find(const struct peers *peers, const char *id, struct peer_info *ret);
/* Who is to be had at this address, as far as anybody is; false if nobody is known there. */
bool		 peers_at(const struct peers *peers, const char *address, char ret_id[PEER_ID_SIZE]);
/* A fetch could not reach this peer: greets it now. */
void		 peers_doubt(struct peers *peers, const char *id);

/* Called after a peer came, went, changed or was forgotten (away, and peers_find() does not know it any more); one listener
 * (the fetches, which may now go on). */
void		 peers_on_change(struct peers *peers, void (*fn)(void *arg, const char *id, enum peer_state state), void *arg);

#endif
