/* SPDX-License-Identifier: MIT
 *
 * fetch_internal.h - what fetch.c (the jobs), fetch_item.c (one file of a job) and fetch_stream.c share.  Mind's thread.
 */
#ifndef P2PD_FETCH_INTERNAL_H
#define P2PD_FETCH_INTERNAL_H

#include "download.h"
#include "fetch.h"

#define FETCH_PROGRESS_MS	250	/* between two progress events of a fetch */

enum item_state { ITEM_QUEUED, ITEM_ACTIVE, ITEM_DONE, ITEM_FAILED };

/* One file that is being brought here. */
struct active {
	struct fetch *fetch;
	size_t index;			/* of the item in its fetch */
	struct active *next;		/* of the same fetch */
	struct download *download;	/* NULL before and after */
	struct holding *holding;	/* by which it is served between the download and its entry in the catalog, or NULL */
	uint64_t have_bytes;		/* verified, as last seen */
	bool is_waiting;		/* it does not count as moving */
	bool is_put_off;		/* it is stopped to be tried again after the others */
	atomic_bool is_stopping;	/* workers look at it between blocks */
};

struct fetch {
	struct fetches *fetches;
	struct fetch *next;		/* ascending id */
	uint64_t id;
	char *what;
	bool replace;
	bool is_foreign;
	int data_fd, have_fd;		/* of a foreign one, -1 else */
	size_t count;
	struct fetch_item *items;
	unsigned char *item_states;	/* enum item_state */
	size_t cursor;			/* items below were looked at by the scheduler */
	size_t queued_count;
	struct error put_off;		/* why files were passed over in this pass, or P2P_OK */
	bool is_resting;		/* nothing is begun until retry_at_ms */
	uint64_t retry_at_ms;		/* when the next pass begins (clock_ms); 0: not yet known */
	unsigned vain_passes;		/* in a row, that brought no file */
	struct active *actives;
	unsigned active_count;

	enum fetch_state state;
	bool is_cancelled;
	uint64_t total_bytes, done_bytes;	/* done_bytes: of whole items */
	uint32_t done_files, failed_files;
	int64_t started_wall_ms, ended_wall_ms;
	uint64_t ended_order;		/* among those that ended */
	uint64_t told_bytes;		/* at the last progress event */
	uint64_t rated_bytes, rated_ms;	/* when the rate was last measured */
	uint64_t rate_bps;
	double carried[WIRE_COUNT];	/* of ended downloads, see download_carried() */
	struct error trouble;		/* why it waits, or ended without its bytes; code P2P_OK if neither */
	struct error failure;		/* of the first file that failed */
};

struct fetches {
	struct download_means means;	/* its config is a reference */
	struct indexer *indexer;
	struct events *events;
	struct fetch *first;
	uint64_t next_id, ended_count;
	unsigned moving_count;		/* actives that are not waiting */
	unsigned active_count;		/* actives, of all fetches */
	unsigned stream_count;
	struct fetch_stream *streams;
	struct loop_timer *progress;	/* while something moves */
	struct loop_timer *retry;	/* while an item waits to be tried again */
	bool is_started, is_stopping;
	loop_fn stopped;		/* fetches_stop() */
	void *stopped_arg;
};

/* --- fetch_item.c --- */

/* Begins to bring an item here; ends by fetch_item_ended(). */
void	fetch_item_start(struct fetch *fetch, size_t index);
/* Ends it soon; what is verified stays on the disk unless the fetch is cancelled. */
void	fetch_item_stop(struct active *active);

/* --- fetch.c --- */

/* After anything ended: ends the fetch if it is over; answers whether it was, and it may be gone then. */
bool	fetch_settle(struct fetch *fetch);
/* Nothing may be under way any more: tells fetches_stop() so. */
void	fetches_maybe_stopped(struct fetches *fetches);

/* --- fetch_order.c --- */

/* An item is over: P2P_OK, P2P_CANCELLED (it was stopped), or why not; after transient trouble (P2P_NO_HOLDER among it) it is tried again
 * later.  The active is gone afterwards. */
void	fetch_item_ended(struct active *active, int code, const char *text);
/* Trouble that passes: an item that met it is tried again. */
bool	fetch_is_transient(int code);
/* It waits (code), or moves again (P2P_OK). */
void	fetch_item_waiting(struct active *active, int code, const char *text);
/* Something moved: progress is told soon. */
void	fetch_item_moved(struct fetch *fetch);
/* Starts what may be started. */
void	fetches_schedule(struct fetches *fetches);
/* A peer came: what was put off may be had soon; then set the timer. */
void	fetch_retry_soon(struct fetch *fetch);
void	fetches_set_retry_timer(struct fetches *fetches);
void	fetches_on_retry(void *fetches);	/* the timer's function */

/* --- fetch_tell.c --- */

void	fetch_publish(struct fetch *fetch, enum event_kind kind);
bool	fetch_is_ended(const struct fetch *fetch);
struct fetch *fetch_find(const struct fetches *fetches, uint64_t id);	/* NULL if there is none */
void	fetches_on_progress(void *fetches);	/* the timer's function */

/* --- fetch_stream.c --- */
void	fetch_streams_stop(struct fetches *fetches);
void	fetch_streams_peer_here(struct fetches *fetches, const char *id);

#endif
