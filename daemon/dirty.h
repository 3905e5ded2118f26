/* SPDX-License-Identifier: MIT
 *
 * dirty.h - the names that the indexer has to look at, each once, and when.  No I/O.
 * Mind's thread.
 *
 * A name waits until it is due, is ready, perhaps large, is worked on, perhaps written to the catalog, and leaves - or waits
 * again.
 */
#ifndef P2PD_DIRTY_H
#define P2PD_DIRTY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#define DIRTY_NEVER UINT64_MAX

enum dirty_state { DIRTY_WAITING, DIRTY_READY, DIRTY_LARGE, DIRTY_RUNNING, DIRTY_COMMITTING, DIRTY_STATES };

struct dirty {
	TAILQ_ENTRY(dirty) link;
	enum dirty_state state;
	uint64_t due_ms;	/* clock_ms() when waiting is over */
	uint64_t size_bytes;	/* as far as known */
	bool is_writing;	/* somebody wrote and did not close since */
	bool is_closed;		/* somebody closed it after writing, or moved it here, and nobody wrote since */
	bool is_again;		/* something happened while it was worked on or committed: it is looked at again */
	bool is_first;		/* found by the first scan; kept for the indexer */
	bool has_waited;	/* once for its rest, as such; kept for the indexer */
	unsigned failures;	/* in a row, of reading it; kept for the indexer */
	unsigned holds;		/* one of our writers has it: it stays waiting */
	uint64_t batch;		/* that brings what was found of it to the catalog; kept for the indexer */
	bool is_noted;		/* has to be looked at; false: known for its holds only */
	char name[];
};

TAILQ_HEAD(dirty_list, dirty);

struct dirty_set {
	void *tree; /* tsearch by name */
	struct dirty_list lists[DIRTY_STATES];
	size_t counts[DIRTY_STATES];
	size_t count;
	uint64_t bytes; /* of size_bytes, of all that do not wait */
};

void		 dirty_init(struct dirty_set *set);
void		 dirty_fini(struct dirty_set *set);
/* The entry of this name, or NULL. */
struct dirty	*dirty_find(const struct dirty_set *set, const char *name);
/*
 * The name has to be looked at, at `due_ms`: makes an entry, or moves the time of one that is there -
 * a later event starts the wait anew.  One that is worked on, or committed, is marked is_again.
 */
struct dirty	*dirty_note(struct dirty_set *set, const char *name, uint64_t due_ms);
/* The same for all names with this prefix that are worked on or committed. */
void		 dirty_void(struct dirty_set *set, const char *prefix, uint64_t due_ms);
/* Moves an entry between the states. */
void		 dirty_move(struct dirty_set *set, struct dirty *dirty, enum dirty_state state);
void		 dirty_wait(struct dirty_set *set, struct dirty *dirty, uint64_t due_ms);
void		 dirty_resize(struct dirty_set *set, struct dirty *dirty, uint64_t size_bytes);
/* It has been looked at: forgets it (an entry with holds stays for them). */
void		 dirty_done(struct dirty_set *set, struct dirty *dirty);
/* Makes ready what is due; answers when the next one will be (clock_ms), or DIRTY_NEVER. */
uint64_t	 dirty_wake(struct dirty_set *set, uint64_t now_ms);

/* A hold keeps the name from being looked at; work on it is void.  Nests. */
void		 dirty_hold(struct dirty_set *set, const char *name);
/* Ends one; after the last one, a name that has to be looked at is due at `due_ms`. */
void		 dirty_release(struct dirty_set *set, const char *name, uint64_t due_ms);

#endif
