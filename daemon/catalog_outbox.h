/* SPDX-License-Identifier: MIT
 *
 * catalog_outbox.h - events on their way to a broker, in the catalog's own file.
 *
 * What happens to a file is written into the outbox by the very transaction that writes it into the catalog: there is no moment at
 * which one is on the disk and the other is not.  Entries are numbered 1, 2, 3 ... for as long as the catalog lives, and leave when
 * they are dropped by number.  The outbox is bounded: when it is full its oldest entries go, and one EVENT_EVENTS_LOST that counts
 * them takes their place.
 */
#ifndef P2PD_CATALOG_OUTBOX_H
#define P2PD_CATALOG_OUTBOX_H

#include "catalog.h"
#include "events.h"

#define OUTBOX_BODY_MAX		16384	/* bytes of an entry's body */
#define OUTBOX_READ_MAX		256	/* entries read at once */

struct outbox_terms {
	uint64_t max_entries, max_bytes;	/* 1 at least; a few more while a transaction is written */
	bool with_others;		/* also what happens to other peers' files */
};

struct outbox_entry {
	uint64_t no;
	enum event_kind kind;
	int64_t wall_ms;
	/* Of a file: */
	char peer[PEER_ID_SIZE];	/* whose; "" if it concerns no file */
	char *peer_name;		/* that peer's name for people, or NULL; not known of ourselves; for reading only */
	uint64_t epoch, seq;		/* the change, in that peer's numbering */
	char *name;			/* NULL for EVENT_FILES_CHANGED */
	struct content_id content;	/* zero for a removal */
	int64_t mtime_ns;		/* likewise */
	/* Of anything else: */
	char *body;			/* as it was given, or NULL */
	uint64_t lost;			/* EVENT_EVENTS_LOST: entries dropped, at most */
};

/* From now on, for good: commits fill the outbox.  If changes of our own files were committed while nobody did, an
 * EVENT_EVENTS_LOST says how many.  Before the first submit. */
void	 catalog_outbox_enable(struct catalog *catalog, const struct outbox_terms *terms);
/* How much waits.  Any thread. */
void	 catalog_outbox_size(const struct catalog *catalog, uint64_t *ret_entries, uint64_t *ret_bytes);
/* Entries dropped for want of room since the catalog was begun.  Any thread. */
uint64_t catalog_outbox_lost(const struct catalog *catalog);

/* The oldest entries after `after`, at most OUTBOX_READ_MAX; gives each: outbox_entry_fini().  P2P_IO.  Any thread but the mind. */
int	 catalog_outbox_read(struct catalog *catalog, uint64_t after, struct outbox_entry *ret, size_t max,
	    size_t *ret_count);
void	 outbox_entry_fini(struct outbox_entry *entry);

/* Puts an event that concerns no file into the outbox; the body (JSON, at most OUTBOX_BODY_MAX bytes, else it is nothing) is copied. */
void	 catalog_batch_outbox(struct catalog_batch *batch, enum event_kind kind, int64_t wall_ms, const char *body);
/* Entries up to this number have arrived. */
void	 catalog_batch_outbox_drop(struct catalog_batch *batch, uint64_t through);

#endif
