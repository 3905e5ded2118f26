/* SPDX-License-Identifier: MIT
 *
 * fetch_internal.h - what fetch.c (the jobs), fetch_order.c, fetch_item.c (one file of a job), fetch_batch*.c (many), fetch_directories.c, fetch_look.c and fetch_stream.c
 * share.  Mind's thread.
 */
#ifndef P2PD_FETCH_INTERNAL_H
#define P2PD_FETCH_INTERNAL_H

#include "download.h"
#include "fetch.h"

#define FETCH_PROGRESS_MS	250	/* between two progress events of a fetch */

#define FETCH_BATCHES_MAX	4		/* batches under way, of all fetches: each is held in memory until it is on the disk */
#define FETCH_BATCH_FILES	256		/* of one batch: as many as a commit tells one by one (CATALOG_TOLD_MAX) */
#define FETCH_BATCH_BYTES	(4u << 20)	/* of one batch */
#define FETCH_BATCH_TRIES	2		/* batches that may fail to bring a file before it is brought alone */

enum item_state {
	ITEM_QUEUED,
	ITEM_PUT_OFF,	/* queued, but not for this pass */
	ITEM_ACTIVE,
	ITEM_UNWANTED,	/* is being brought, but no longer wanted */
	ITEM_DONE,
	ITEM_FAILED,
	ITEM_DROPPED,	/* as if it had never been asked for */
};

struct fetch_batch;

/* One file that is being brought here, or many small ones together. */
struct active {
	struct fetch *fetch;
	size_t index;			/* of the item in its fetch; of a batch the first one's */
	struct fetch_batch *batch;	/* or NULL */
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
	enum fetch_priority priority;
	uint64_t front;			/* of its priority the highest goes first; 0: it takes turns */
	uint64_t begun_order;		/* when a file of it was begun last */
	bool is_passed;			/* it has nothing to begin, as was just found out */
	bool is_foreign;
	int data_fd, have_fd;		/* of a foreign one, -1 else */
	size_t count;
	struct fetch_item *items;
	unsigned char *item_states;	/* enum item_state */
	unsigned char *item_tries;	/* batches that did not bring it */
	size_t cursor;			/* items below were begun, or put off, */
	size_t *again;			/* but these are to be looked at once more, the last one first; some may be active by now */
	size_t again_count, again_room;
	size_t queued_count;		/* those that are put off included */
	struct error put_off;		/* why files were passed over in this pass, or P2P_OK */
	bool is_resting;		/* nothing is begun until retry_at_ms */
	uint64_t retry_at_ms;		/* when the next pass begins (clock_ms); 0: not yet known */
	unsigned vain_passes;		/* in a row, that brought no file */
	struct active *actives;
	unsigned active_count;
	unsigned moving_count;		/* of those the ones that are not waiting */

	atomic_bool makes_directories;	/* some of the share are noted in the catalog, */
	struct fetch_directories *directories;	/* and are getting their attributes, */
	bool has_set_directories;	/* or got them */

	enum fetch_state state;
	bool is_cancelled;
	uint64_t total_bytes, done_bytes;	/* done_bytes: of whole items */
	uint32_t done_files, failed_files;
	uint32_t dropped_files;		/* that are no longer wanted, of `count` */
	int64_t started_wall_ms, ended_wall_ms;
	uint64_t ended_order;		/* among those that ended */
	uint64_t told_bytes;		/* at the last progress event */
	uint64_t rated_bytes, rated_ms;	/* when the rate was last measured */
	uint64_t rate_bps;
	double carried[WIRE_COUNT];	/* of ended downloads, see download_carried(); */
	struct fetch_holder *holders;	/* and what they knew of holders */
	size_t holder_count;
	struct error trouble;		/* why it waits, or ended without its bytes; code P2P_OK if neither */
	struct error failure;		/* of the first file that failed */
};

struct fetches {
	struct download_means means;	/* its config is a reference */
	struct indexer *indexer;
	struct events *events;
	struct fetch *first;
	uint64_t next_id, ended_count, begun_count, front_count;
	unsigned moving_count;		/* actives that are not waiting */
	unsigned active_count;		/* actives, of all fetches */
	unsigned batch_count;		/* batches among them */
	struct fetch_shunned *shunned;	/* peers that are asked for no batch for a while (fetch_batch.c) */
	unsigned finishing_count;	/* fetches with all their files, whose directories are being looked after */
	struct fetch_look *looks;	/* looks at directories: these are among them */
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

/* What stands under the item's name here.  *ret_is_present: its very content; an answer that is not P2P_OK: why it cannot be brought.
 * `view` may be NULL.  On the pool. */
int	fetch_look_at_name(const struct download_means *means, struct catalog_view *view, const struct fetch_item *item,
	    bool replace, const atomic_bool *is_stopping, bool *ret_is_present, struct error *err);

/* --- fetch_batch.c --- */

/* Begins to bring these items here, by as few requests and waits for the disk as can be; ends by fetch_active_ended().  Copies the
 * indices: 2 to FETCH_BATCH_FILES of items that may stand in a batch, FETCH_BATCH_BYTES in all. */
void	fetch_batch_start(struct fetch *fetch, const size_t *indices, size_t count);
/* It is stopped: breaks off what it waits for. */
void	fetch_batch_stop(struct active *active);
/* Verified bytes of it. */
uint64_t fetch_batch_bytes(const struct active *active);
/* Whom it asks now; NULL: nobody. */
const char *fetch_batch_source(const struct active *active);
/* The same, as a download tells of its holders; false: nobody. */
bool	fetch_batch_view(const struct fetch_batch *batch, struct download_view *ret);
void	fetch_batches_fini(struct fetches *fetches);

/* --- fetch_batch_work.c --- */

/* What is known of one item of a batch. */
enum batch_step {
	BATCH_WANTED,	/* it is to be asked for */
	BATCH_BROUGHT,	/* its bytes are in data, verified */
	BATCH_AGAIN,	/* this batch does not bring it */
	BATCH_OVER,	/* error.code: P2P_OK, it is here; or why it failed */
};
struct batch_item {
	size_t index;			/* in its fetch */
	const struct fetch_item *file;
	unsigned char *data;		/* room for its bytes */
	enum batch_step step;
	bool is_alone;			/* of one that is again: another batch would not do */
	uint64_t holders;		/* bits of fetch_batch.holders */
	struct error error;
};

struct fetch_batch {
	struct active *active;
	uint64_t reserve_bytes;		/* that must stay free on the disk */
	size_t count;
	struct batch_item *items;
	unsigned char *data;
	/* Peers that the catalog names for some of them. */
	size_t holder_count;
	char holders[SWARM_SOURCES_MAX][PEER_ID_SIZE];
	/* What is asked for, of whom. */
	struct batch ask;
	struct batch_item **asked;	/* beside ask.contents */
	char peer[PEER_ID_SIZE];	/* "": nobody */
	struct wire_run wire;
	struct transport_request *request;	/* under way, or NULL */
	bool has_lied;			/* written by a hand, read after the end; */
	uint64_t wasted_bytes;		/* so are those of a wrong content */
	atomic_uint_least64_t came_bytes;	/* verified */
	struct catalog_batch *entries;	/* of what was put into the share */
};

/* Jobs on the pool: what is here, and who has the rest; and from bytes in memory to files. */
void	fetch_batch_look(void *batch);
void	fetch_batch_keep(void *batch);
/* Are these the item's bytes?  Any thread. */
bool	fetch_batch_verify(const struct batch_item *item);

/* --- fetch_directories.c --- */

/* Directories that files need and that are not there, as they are come upon.  On the pool. */
struct fetch_notes {
	struct fetch *fetch;
	struct catalog_batch *batch;	/* NULL: none yet */
	const char *last;		/* the file before; borrowed; or NULL */
};
/* A file of this name will be brought.  Files of one directory had best come together. */
void	fetch_note_directories(struct fetch_notes *notes, const char *name);
/* Writes them, before the files' own entries. */
void	fetch_notes_end(struct fetch_notes *notes);
/* All files are over: true while the directories that were made are looked after; then fetch_settle() is called again. */
bool	fetch_finish_directories(struct fetch *fetch);
/* Breaks that off. */
void	fetch_stop_directories(struct fetch *fetch);

/* --- fetch_look.c --- */
void	fetch_looks_stop(struct fetches *fetches);

/* --- fetch.c --- */

/* After anything ended: ends the fetch if it is over; answers whether it was, and it may be gone then. */
bool	fetch_settle(struct fetch *fetch);
/* Nothing may be under way any more: tells fetches_stop() so. */
void	fetches_maybe_stopped(struct fetches *fetches);

/* --- fetch_order.c --- */

/* An item is over: P2P_OK, P2P_CANCELLED (it was stopped), or why not; after transient trouble (P2P_NO_HOLDER among it) it is tried again
 * later.  The active is gone afterwards. */
void	fetch_item_ended(struct active *active, int code, const char *text);
/* The same in two steps, for who brings several: first each item, with an active that goes on; then the active. */
void	fetch_item_over(struct fetch *fetch, size_t index, int code, const char *text);
void	fetch_active_ended(struct active *active);
/* An item of a batch is to be looked at once more, soon; alone: not in a batch. */
void	fetch_item_again(struct fetch *fetch, size_t index, bool alone);
/* A new active, which counts from now on. */
struct active *fetch_active_new(struct fetch *fetch, size_t index);
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

/* --- fetch_drop.c --- */

/* The item that is not begun, or not any more, is no longer wanted. */
void	fetch_forget_item(struct fetch *fetch, size_t index);
/* Files of it that are wanted. */
uint32_t fetch_total_files(const struct fetch *fetch);

/* --- fetch_turn.c --- */

/* The fetch that may begin a file now; NULL: none.  One that is passed is not looked at. */
struct fetch *fetch_next_turn(struct fetches *fetches);
/* The weight of its downloads beside those of others. */
unsigned fetch_weight(const struct fetch *fetch);

/* --- fetch_tell.c --- */

void	fetch_publish(struct fetch *fetch, enum event_kind kind);
bool	fetch_is_ended(const struct fetch *fetch);
struct fetch *fetch_find(const struct fetches *fetches, uint64_t id);	/* NULL if there is none */
void	fetches_on_progress(void *fetches);	/* the timer's function */

/* --- fetch_holders.c --- */

/* A download ended: whom its bytes came from is kept with the fetch. */
void	fetch_keep_holders(struct fetch *fetch, const struct download *download);
/* The same of a batch that was asked of one holder. */
void	fetch_keep_holder(struct fetch *fetch, const struct download_view *view);
/* Those that are kept and those of the files under way, as one list.  Gives: free(). */
struct fetch_holder *fetch_list_holders(const struct fetch *fetch, size_t *ret_count);

/* --- fetch_stream.c --- */
void	fetch_streams_stop(struct fetches *fetches);
void	fetch_streams_peer_here(struct fetches *fetches, const char *id);

#endif
