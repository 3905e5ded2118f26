/* SPDX-License-Identifier: MIT
 *
 * fetch.h - fetches: from "I want this" to verified bytes under their name.  Mind's thread.
 *
 * A fetch is one or many files (a tree), each with its content id, and where they land: in the share, or in two descriptors
 * that the user opened.  A fetch into the share is remembered by the catalog and goes on after a restart.  A fetch never
 * gives up because holders are away or the disk is full: it waits, says why, and goes on by itself.
 */
#ifndef P2PD_FETCH_H
#define P2PD_FETCH_H

#include "catalog.h"
#include "config.h"
#include "events.h"
#include "holdings.h"
#include "indexer.h"
#include "loop.h"
#include "partial.h"
#include "peers.h"
#include "pool.h"
#include "store.h"
#include "throttle.h"
#include "transport.h"

#define FETCH_ITEMS_MAX		1000000	/* files of one fetch */
#define FETCH_ENDED_KEPT	100	/* ended fetches that are still listed */
#define FETCH_ACTIVE_MAX	1000	/* fetches that have not ended */

enum fetch_state { FETCH_QUEUED, FETCH_MOVING, FETCH_WAITING, FETCH_DONE, FETCH_FAILED, FETCH_CANCELLED };
const char	*fetch_state_name(enum fetch_state state);	/* "queued", "moving", "waiting", "done", "failed", "cancelled" */

/*
 * A file of a fetch of a higher priority is begun before one of a lower, and what is under way of it asks each holder for more at once.  Of one
 * priority fetches take turns, but for those that were put in front.
 */
enum fetch_priority { FETCH_LOW = -1, FETCH_NORMAL = 0, FETCH_HIGH = 1 };
const char	*fetch_priority_name(enum fetch_priority priority);	/* "low", "normal", "high" */
bool		 fetch_priority_parse(const char *name, enum fetch_priority *ret);
/* A number that was stored once; the nearest if there is none of it. */
enum fetch_priority fetch_priority_of(int32_t number);

/* One file that is wanted. */
struct fetch_item {
	char *name;			/* in the share, or for people */
	struct content_id content;
	int64_t mtime_ns;
	uint32_t mode;
};

struct fetch_request {
	const char *what;		/* as the user said it; copied */
	struct fetch_item *items;	/* takes the array and the names (malloc) */
	size_t count;			/* 1 to FETCH_ITEMS_MAX */
	bool replace;			/* files of these names may be replaced */
	enum fetch_priority priority;
	uint64_t front;			/* of one that is taken up: where it stood; else 0 */
	int data_fd, have_fd;		/* a foreign target of one item; takes both; -1: the share */
	struct catalog_batch *also;	/* what is written in the transaction that enters it; takes; or NULL */
};

#define FETCH_HOLDERS_MAX	256	/* holders of one fetch that are told apart */

enum fetch_holder_state {
	HOLDER_ASKED,		/* something is being asked of it */
	HOLDER_IDLE,
	HOLDER_RESTING,		/* left alone for a while, because it was slow or failed */
	HOLDER_BARRED,		/* left alone because it sent wrong bytes */
};
const char	*fetch_holder_state_name(enum fetch_holder_state state);	/* "asked", "idle", "resting", "barred" */

/* A peer that files of a fetch come from, or might. */
struct fetch_holder {
	char peer[PEER_ID_SIZE];
	char name[NODE_NAME_SIZE];	/* as it calls itself; "": unknown */
	enum fetch_holder_state state;
	const char *why;		/* it rests or is barred; static; or NULL */
	uint64_t rest_ms;		/* for so long still */
	bool is_whole;			/* it holds all of every file under way that it holds anything of */
	uint64_t pieces_held;		/* of the files under way */
	unsigned asks;			/* under way */
	uint64_t rate_bps;		/* bytes per second while it is asked, as last measured; 0: unknown */
	uint64_t bytes, pieces;		/* verified, that came from it since the fetch or the daemon started */
	double carried[WIRE_COUNT];	/* bytes by wire, lately: see fetch_wires_name() */
};
/* "rest", "grpc", "rest+grpc", by what carried a share worth naming; NULL if nothing came. */
const char	*fetch_wires_name(const double carried[WIRE_COUNT]);

struct fetch_info {
	uint64_t id;
	char *what;			/* owned by the copy: fetch_info_fini() */
	enum fetch_state state;
	enum fetch_priority priority;
	bool is_front;			/* it goes before the others of its priority */
	bool is_foreign;
	uint64_t total_bytes, done_bytes;	/* verified */
	uint32_t total_files, done_files, failed_files;
	uint64_t rate_bps;		/* bytes per second, over the last seconds */
	uint64_t eta_ms;		/* UINT64_MAX: unknown */
	uint32_t sources;		/* holders that bytes come from now */
	int64_t started_wall_ms, ended_wall_ms;
	char *current;			/* a file that is being fetched, or NULL */
	const char *transport;		/* "rest", "grpc", "rest+grpc": by what bytes came lately; NULL: none did */
	int code;			/* why it waits or failed; P2P_OK: neither, */
	char *text;			/* in words; with P2P_OK why it is not its turn; or NULL */
	struct fetch_holder *holders;	/* of fetch_get() only: all that are known of */
	size_t holder_count;
};
void		 fetch_info_fini(struct fetch_info *info);

struct fetches;

struct fetches	*fetches_new(struct loop *loop, struct pool *pool, struct store *store, struct catalog *catalog,
		     struct indexer *indexer, struct peers *peers, struct transport *transport,
		     struct holdings *holdings, struct events *events, struct throttle *throttle, struct config *config);
/* Takes up a fetch that the catalog remembers, before start. */
void		 fetches_resume(struct fetches *fetches, uint64_t id, struct fetch_request *request);
void		 fetches_start(struct fetches *fetches);
void		 fetches_configure(struct fetches *fetches, struct config *config);
/* Stops moving: cancels requests, syncs what is verified; done(arg) when nothing is under way any more. */
void		 fetches_stop(struct fetches *fetches, loop_fn done, void *arg);
void		 fetches_free(struct fetches *fetches);

/* Starts one.  Takes what the request says, even on failure.  P2P_TOO_MANY, P2P_SHUTTING_DOWN. */
int		 fetch_start(struct fetches *fetches, struct fetch_request *request, uint64_t *ret_id, struct error *err);
/* Ends it; verified pieces in the share are dropped.  P2P_NOT_FOUND.  One that has ended is only taken from the list. */
int		 fetch_cancel(struct fetches *fetches, uint64_t id);
/* From now on it has this priority and takes turns; or, to the front, the priority that it had and goes before all others of that, also those
 * that were put in front before.  P2P_NOT_FOUND; P2P_CONFLICT: it has ended. */
int		 fetch_prioritize(struct fetches *fetches, uint64_t id, enum fetch_priority priority);
int		 fetch_to_front(struct fetches *fetches, uint64_t id);
/* A copy of one, or of all in order of their number (gives; fini each, free the array). */
int		 fetch_get(const struct fetches *fetches, uint64_t id, struct fetch_info *ret);
struct fetch_info *fetches_list(const struct fetches *fetches, size_t *ret_count);
/* The file of this name and content is no longer wanted, if it did not come yet: the fetch ends without it.  Its entry in
 * the catalog is the caller's. */
void		 fetch_drop_item(struct fetches *fetches, uint64_t id, const char *name, const struct content_id *content);
uint32_t	 fetches_active(const struct fetches *fetches);

/* What directories of the network's tree are like: as this peer's share has them, or those who have files below them.  1 to DIRECTORIES_MAX;
 * takes the array and the names.  done(arg) comes once, later; `found` is beside the names and good for the call; what nobody tells of
 * is not there. */
typedef void	(*fetch_look_fn)(void *arg, const struct directory *found);
void		 fetch_look_at_directories(struct fetches *fetches, char **names, size_t count, fetch_look_fn done,
		     void *arg);

/* --- streaming a content through (gateway) --- */

struct fetch_stream;
/* Fetches a content in order, a window ahead of the reader, into an anonymous file.  Mind. */
struct fetch_stream *fetch_stream_new(struct fetches *fetches, const struct content_id *content);
/* Any thread: bytes from `offset` that are verified, at most `len`; P2P_OK with *ret_len = 0: not there yet; P2P_NO_HOLDER,
 * P2P_TIMEOUT, ... when it failed.  Offsets only ascend. */
int		 fetch_stream_read(struct fetch_stream *stream, void *data, size_t len, uint64_t offset, size_t *ret_len);
/* Any thread: wake(arg) is called once, on the mind, when a read at `offset` can answer or the stream failed; at once if it can now
 * (then maybe on the calling thread). */
void		 fetch_stream_wait(struct fetch_stream *stream, uint64_t offset, void (*wake)(void *arg), void *arg);
/* Any thread; takes the stream.  No wake comes after this returned, provided that the caller holds no lock that wake takes. */
void		 fetch_stream_close(struct fetch_stream *stream);

#endif
