/* SPDX-License-Identifier: MIT
 *
 * service.h - everything that any face may ask of this peer, and nothing else.
 *
 * What two faces need is decided here: rights, conditions, what a NAME or ID means, limits, what an error says.  A face
 * decodes, calls, encodes.  Functions marked (disk) read the catalog or files and are for the hands: MHD's threads, the pool;
 * never the mind.  All others may be called by any thread and ask the mind by loop_call().
 * P2P_SHUTTING_DOWN may be the answer of any.
 */
#ifndef P2PD_SERVICE_H
#define P2PD_SERVICE_H

#include "batch.h"
#include "catalog.h"
#include "config.h"
#include "events.h"
#include "fetch.h"
#include "follow.h"
#include "holdings.h"
#include "indexer.h"
#include "node.h"
#include "peers.h"
#include "pool.h"
#include "store.h"
#include "throttle.h"

struct service;

/* Who asks: the owner through the control socket may do everything, a network face what [share] remote allows. */
enum service_origin { SERVICE_OWNER, SERVICE_NETWORK };

/* The message broker: how it is. */
struct service_broker {
	bool is_configured;		/* false: the rest is zero */
	bool is_connected;
	bool is_blocked;		/* connected, but it takes no messages for now */
	uint64_t for_ms;		/* it is connected or away; since the start if it never was */
	char address[300];		/* host:port */
	char why[ERROR_TEXT_MAX];	/* it is away or blocked, or "" */
	uint64_t outbox_events, outbox_bytes;	/* that wait for it */
	uint64_t lost_events;		/* that were dropped for want of room, ever */
};

struct service_parts {
	struct loop *loop;
	struct pool *pool;
	struct store *store;
	struct catalog *catalog;
	struct indexer *indexer;
	struct peers *peers;
	struct fetches *fetches;
	struct follows *follows;	/* NULL: what is followed is only written down */
	struct holdings *holdings;
	struct events *events;
	struct throttle *throttle;	/* NULL: no limits of bandwidth */
	/* Reads the configuration again; mind.  The report has a line for each key that needs a restart. */
	int (*reload)(void *arg, struct buf *report, struct error *err);
	void *reload_arg;
	void (*broker)(void *arg, struct service_broker *ret);	/* any thread; NULL: there is none */
	void *broker_arg;
};

struct service	*service_new(const struct service_parts *parts, struct config *config);
/* Mind: the way down begins.  From now on what breaks off is dropped. */
void		 service_stop(struct service *service);
void		 service_free(struct service *service);
/* Mind: a new configuration is in force. */
void		 service_configure(struct service *service, struct config *config);
/* The configuration in force; gives a reference.  Any thread. */
struct config	*service_config(struct service *service);
struct loop	*service_loop(struct service *service);		/* borrowed; for faces that live on the mind */
struct pool	*service_pool(struct service *service);		/* borrowed */
struct throttle	*service_throttle(struct service *service);	/* borrowed; may be NULL */

/* --- this peer --- */
struct service_node {
	struct node_record self;
	uint64_t uptime_ms;
	uint32_t peers_here, peers_known;
	uint32_t fetches_active;
	struct indexer_status index;	/* its `trouble` is NULL here: */
	char trouble[256];		/* "" if all is well */
	char reload_error[ERROR_TEXT_MAX];	/* why the last reload was refused, or "" */
	char share[1024];		/* the directory */
	char config_source[1024];	/* the file, or "" for the defaults */
	struct service_broker broker;
	uint64_t free_bytes;		/* that may still be written to the share */
};
int	service_node(struct service *service, struct service_node *ret);	/* (disk: statvfs) */
/* The same without the disk: free_bytes is 0. For the control face on the mind. */
int	service_node_quick(struct service *service, struct service_node *ret);

/* --- peers --- */
int	service_peers(struct service *service, struct peer_info **ret, size_t *ret_count);	/* gives: free() */
int	service_register(struct service *service, const struct node_hello *hello, const char *from_host,
	    struct node_record *ret_mine, struct node_record **ret_known, size_t *ret_count, struct error *err);
int	service_leave(struct service *service, const char *id, const char *from_host, struct error *err);
int	service_notice(struct service *service, const struct notice *notice, struct error *err);
int	service_changes(struct service *service, const struct change_question *question,
	    struct change_page **ret, struct error *err);	/* (disk); its peer NULL: this one */

/* --- files --- */
/* As catalog_search(); the filter's holder may be an id, the first 8 characters of one or more, or a peer's name (P2P_BAD_REQUEST if
 * that is no one peer), and its is_here is ours. */
int	service_search(struct service *service, const struct catalog_query *query, catalog_found_fn fn, void *arg,
	    char *ret_cursor, struct error *err);	/* (disk) */
void	service_unshareable(struct service *service, void (*fn)(void *arg, const char *name, const char *why), void *arg);
/* Opens a file of ours.  Gives a reader.  *ret_file (may be NULL) has its mtime and mode.  (disk) */
int	service_open(struct service *service, const char *name, struct store_reader **ret,
	    struct catalog_local *ret_file, struct error *err);
/* Opens bytes [offset, offset + len) of a content, also of one that is still being fetched if these are verified; the reader is good for
 * these bytes alone.  P2P_NOT_FOUND, P2P_BAD_RANGE past the end. (disk) */
int	service_open_content(struct service *service, const struct content_id *content, uint64_t offset,
	    uint64_t len, struct store_reader **ret, struct error *err);
/* What the catalog says of a file of ours, or of any with this content (its name into ret_name[NAME_SIZE]); opens nothing.  (disk) */
int	service_stat(struct service *service, const char *name, struct catalog_local *ret, struct error *err);
int	service_stat_content(struct service *service, const struct content_id *content, char *ret_name,
	    struct catalog_local *ret, struct error *err);
/* The layer of a content of ours; piece_bytes 0: the one we choose; coarser ones are folded, finer ones are
 * P2P_BAD_REQUEST with a text that names the finest.  Gives: free().  (disk) */
int	service_layer(struct service *service, const struct content_id *content, uint32_t piece_bytes,
	    struct digest **ret_layer, size_t *ret_count, uint32_t *ret_piece_bytes, struct error *err);
/* The hashes of `count` leaves from leaf `first` on, which lie under one piece of merkle_piece_bytes(), of a content of ours or of verified
 * pieces of one that is being fetched.  Hashes their bytes; so SERVICE_LEAVES_MAX are at it at once, and more are P2P_TOO_MANY.
 * P2P_BAD_RANGE past the end, P2P_BAD_REQUEST, P2P_NOT_FOUND.  Gives: free().  (disk) */
#define SERVICE_LEAVES_MAX	2
int	service_leaves(struct service *service, const struct content_id *content, uint64_t first, uint64_t count,
	    struct digest **ret, struct error *err);
/* Which pieces of a content we hold, and what is new: see holdings_ask().  P2P_NOT_FOUND, P2P_BAD_REQUEST.  (disk) */
int	service_have(struct service *service, const struct holding_question *question,
	    struct holding_waiter *waiter, struct holding_answer *ret, bool *ret_waits, struct error *err);
void	service_have_forget(struct service *service, struct holding_waiter *waiter);

/* What these directories of the share are like; those that a fetch is still making, and names that cannot be, are not there.
 * P2P_BAD_REQUEST for none, P2P_TOO_MANY over DIRECTORIES_MAX, P2P_IO.  (disk) */
int	service_directories(struct service *service, const struct directory_question *question, struct error *err);
/* Mind: fetch_look_at_directories(). */
void	service_look_at_directories(struct service *service, char **names, size_t count, fetch_look_fn done, void *arg);

/* --- many small contents, one after the other --- */
struct service_batch;
/* Checks what is asked for (batch_check) and takes a copy.  Gives. */
int	service_batch_new(struct service *service, const struct content_id *contents, size_t count,
	    struct service_batch **ret, struct error *err);
/* The next content: 1, and *ret_code says whether its bytes are in *ret_data (borrowed until the next call), or why not; 0: there is
 * none any more.  One thread at a time.  (disk) */
int	service_batch_next(struct service_batch *batch, int *ret_code, const unsigned char **ret_data, size_t *ret_len);
void	service_batch_free(struct service_batch *batch);	/* NULL is nothing */

/* --- changing the share --- */
#define SERVICE_UPLOAD_ID_MAX	64		/* bytes of printable ASCII, one at least */
#define SERVICE_PARKED_MAX	32		/* broken uploads that are kept; the oldest goes first */
#define SERVICE_PARK_MS		(10 * 60 * 1000)	/* and for so long */
struct service_put {
	enum service_origin origin;
	const char *name;
	uint64_t expect_bytes;		/* UINT64_MAX: not announced */
	bool replace;			/* an existing other file may be replaced (needs remote = all on the network) */
	bool if_absent;			/* If-None-Match: *: any existing file is P2P_PRECONDITION */
	const struct digest *if_match;	/* If-Match: the root that it must have now, else P2P_PRECONDITION; implies replace */
	mode_t mode;			/* 0: 0644 */
	int64_t mtime_ns;		/* 0: now */
	const struct content_id *expect;	/* what must come, else P2P_BAD_CONTENT and nothing is kept; or NULL */
	const char *upload_id;		/* the sender's own: it may go on later; NULL: it may not */
	uint64_t offset;		/* goes on with the upload of this id at this byte; 0: begins it anew */
};
struct service_upload;
struct service_stored {
	struct content_id content;
	bool is_new;			/* nothing had this name before */
};
/*
 * Checks name, rights, conditions, room.  Gives an upload.  One that goes on is checked in the same way, and has the attributes of
 * the new put; its announced size must be the old one, if there is one.  With an id also: P2P_CONFLICT while the same upload is
 * being sent, P2P_NOT_FOUND if none can go on, P2P_BAD_RANGE (the text names the right offset).  (disk)
 */
int	service_put_begin(struct service *service, const struct service_put *put, struct service_upload **ret,
	    struct error *err);
int	service_put_feed(struct service_upload *upload, const void *data, size_t len, struct error *err);	/* (disk) */
/* All of a file; P2P_CANCELLED once *is_abandoned (may be NULL).  (disk) */
int	service_put_feed_fd(struct service_upload *upload, int fd, const atomic_bool *is_abandoned,
	    struct error *err);
/* True if it was said how many bytes will come, by a size or an expected content: then service_put_end() finds what is missing.
 * Otherwise only the sender knows the end. */
bool	service_put_is_sized(const struct service_upload *upload);
/* The file is durable, has its name and stands in the catalog when this returns P2P_OK.  The conditions are judged again: of two
 * that are sent at once, the second sees the first one's file.  If fewer bytes came than announced it is P2P_BAD_CONTENT, and can
 * go on.  The upload stays to be freed.  (disk) */
int	service_put_end(struct service_upload *upload, struct service_stored *ret, struct error *err);
void	service_put_free(struct service_upload *upload);	/* drops what was not ended; NULL is nothing (disk) */
/* True if it has an id and some bytes, and did not fail or end.  NULL cannot. */
bool	service_put_can_go_on(const struct service_upload *upload);
/* Takes an upload whose sender went away.  One that can go on is kept for that; any other is dropped.  Any thread. */
void	service_put_park(struct service_upload *upload);
/* The bytes that an upload has which was not ended, kept or on its way.  P2P_NOT_FOUND.  Any thread. */
int	service_upload_offset(struct service *service, const char *name, const char *upload_id, uint64_t *ret_offset);
/* if_match as above, or NULL.  (disk) */
int	service_remove(struct service *service, enum service_origin origin, const char *name,
	    const struct digest *if_match, struct error *err);

/* --- fetches --- */
struct service_fetch {
	enum service_origin origin;
	const char *what;		/* a name, an id (root in hex, or its first 8 digits or more), a directory, or a glob */
	const struct content_id *content;	/* instead: exactly this (`what` is then the name to land under, or to show) */
	bool replace;
	enum fetch_priority priority;
	int data_fd, have_fd;		/* -1, or a foreign target; takes both, even on failure */
};
/* One of several contents that fit; told when the answer is P2P_AMBIGUOUS. */
typedef void	(*service_candidate_fn)(void *arg, const struct catalog_found *candidate);
struct service_fetch_started {
	uint64_t id;
	uint32_t files;			/* that will be fetched; 0: all are here already, nothing was started, id is 0 */
	uint32_t present;		/* that fit and are here already */
	uint64_t bytes;
};
/* Resolves and starts.  fn may be NULL.  (disk) */
int	service_fetch(struct service *service, const struct service_fetch *fetch, service_candidate_fn fn, void *arg,
	    struct service_fetch_started *ret, struct error *err);
int	service_fetch_get(struct service *service, uint64_t id, struct fetch_info *ret, struct error *err);
int	service_fetches(struct service *service, struct fetch_info **ret, size_t *ret_count);	/* gives */
/* rank: "low", "normal", "high", or "front" (before the others of its priority).  P2P_BAD_REQUEST, P2P_NOT_FOUND, P2P_CONFLICT: it has
 * ended. */
int	service_prioritize(struct service *service, enum service_origin origin, uint64_t id, const char *rank,
	    struct error *err);
int	service_cancel(struct service *service, enum service_origin origin, uint64_t id, struct error *err);

/* --- follows --- */
struct service_follow {
	enum service_origin origin;	/* the network wants remote = all, as for a fetch */
	const char *pattern;		/* a glob for the whole name; or a name, or a directory */
	const char *place;		/* the directory of the share under which it lands; NULL or "": under its own name */
	bool replace;
};
struct service_follow_info {
	uint64_t id;
	char *pattern, *place;
	bool replace;
	int64_t since_wall_ms;
	uint64_t files, bytes;		/* that were begun to be fetched for it */
};
/* From now on, and durable when this returns.  The same pattern and place again changes `replace`.  P2P_BAD_REQUEST, P2P_TOO_MANY. (disk) */
int	service_follow(struct service *service, const struct service_follow *follow, uint64_t *ret_id, struct error *err);
/* Fetches that it began go on.  P2P_NOT_FOUND. (disk) */
int	service_unfollow(struct service *service, enum service_origin origin, uint64_t id, struct error *err);
/* All of this pattern; their number into *ret_count. (disk) */
int	service_unfollow_pattern(struct service *service, enum service_origin origin, const char *pattern,
	    size_t *ret_count, struct error *err);
/* In order of their number.  Gives: service_follows_free(). (disk) */
int	service_follows(struct service *service, struct service_follow_info **ret, size_t *ret_count, struct error *err);
void	service_follows_free(struct service_follow_info *infos, size_t count);

/* --- gateway: a file that we may not hold, streamed from those who do --- */
/* If it is here, *ret_reader is given; else *ret_stream.  P2P_AMBIGUOUS as with fetch.  (disk) */
int	service_stream(struct service *service, const char *name, struct content_id *ret_content,
	    struct store_reader **ret_reader, struct fetch_stream **ret_stream, struct error *err);

/* --- events --- */
/* Mind only (REST calls it through loop_call on service_loop()). */
struct events	*service_events(struct service *service);
/* Parses "<run>-<id>" (Last-Event-ID): the id to go on after; for an id of another run one that makes an events-lost come
 * first; the newest for NULL or "". P2P_BAD_REQUEST.  Mind. */
int	service_event_position(struct service *service, const char *text, uint64_t *ret_after, struct error *err);

/* --- the daemon --- */
int	service_reload(struct service *service, struct buf *report, struct error *err);	/* mind */
/* The limits of bandwidth in force, in bytes per second; 0: none. */
void	service_limits(struct service *service, uint64_t ret_bps[THROTTLE_LIMITS]);
/* Mind.  Changes one until the next reload or restart.  P2P_BAD_REQUEST: no such limit, or no rate. */
int	service_set_limit(struct service *service, const char *name, const char *rate, struct error *err);

#endif
