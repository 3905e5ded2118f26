/* SPDX-License-Identifier: MIT
 *
 * holdings_inner.h - what the files of holdings share: holdings.c (the table, life, downloads, bytes), holdings_log.c (what happened),
 * holdings_answer.c (what a face is told).  Everything is under `mu`, but for what is said to be the mind's.
 */
#ifndef P2PD_HOLDINGS_INNER_H
#define P2PD_HOLDINGS_INNER_H

#include <pthread.h>

#include "holdings.h"

#define HOLDINGS_BUCKETS	256

enum holding_kind { HOLDING_PIECE, HOLDING_COMING, HOLDING_PEER, HOLDING_KINDS };

struct holding_follower {
	char id[PEER_ID_SIZE];		/* "": the place is free */
	uint64_t asked_ms;
};

struct holding {
	struct holding *next;		/* in its bucket */
	struct holdings *holdings;
	struct content_id content;
	uint32_t piece_bytes;
	size_t piece_count;

	/* Of a partial one. */
	struct store_reader *reader;	/* NULL: it is none */
	struct digest *layer;
	unsigned char *bits;		/* most significant first */

	uint64_t life;			/* random, not 0; the log is of this one */
	uint64_t *log;			/* by number % log_room */
	size_t log_room;
	uint64_t log_end;		/* number of the next entry */

	struct holding_follower *followers;
	size_t follower_room, follower_count;
	struct holding_waiter *waiters;
};

struct holdings {
	struct loop *loop;
	pthread_mutex_t mu;
	struct holding *buckets[HOLDINGS_BUCKETS];
	unsigned count;
	bool is_stopped;
	uint64_t forget_ms;
	struct loop_timer *timer;	/* the mind's; NULL: the end */
	uint64_t timer_at_ms;		/* when it runs, or shall run; UINT64_MAX: not */
	bool is_posted;			/* the mind is asked to start it */
};

/* --- holdings.c --- */
struct holding	*holdings_find(struct holdings *holdings, const struct content_id *content);
/* A whole one, at first. */
struct holding	*holdings_add(struct holdings *holdings, const struct content_id *content);
/* ⌈pieces / 8⌉ */
size_t		 holding_bits_len(const struct holding *holding);
void		 holding_wait(struct holding *holding, struct holding_waiter *waiter, uint32_t wait_ms);
void		 holding_wake_all(struct holding *holding);
/* The timer shall run then, or earlier.  Any thread. */
void		 holdings_look_at(struct holdings *holdings, uint64_t at_ms);

/* --- holdings_log.c --- */
/* An empty log, of another life: whatever was told before is void. */
void		 holding_restart(struct holding *holding);
/* Adds an entry; the value is a piece, or the place of a follower.  Those who wait are to be woken then. */
void		 holding_log(struct holding *holding, enum holding_kind kind, uint64_t value);
/* The number of the oldest entry that is kept; log_end is that of the next. */
uint64_t	 holding_log_begin(const struct holding *holding);
uint64_t	 holding_entry(const struct holding *holding, uint64_t number);
enum holding_kind holding_entry_kind(uint64_t entry);
uint64_t	 holding_entry_value(uint64_t entry);
/* True if one of the `newest` entries is this. */
bool		 holding_in_log(const struct holding *holding, enum holding_kind kind, uint64_t value, uint64_t newest);
/* What an answer that ends with entry `number` is gone on after by; and back. */
uint64_t	 holding_next(const struct holding *holding, uint64_t number, bool is_whole);
uint64_t	 holding_next_number(uint64_t next);
bool		 holding_next_whole(uint64_t next);
/* True if the log tells all that happened since then. */
bool		 holding_knows(const struct holding *holding, uint64_t since);

#endif
