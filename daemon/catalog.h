/* SPDX-License-Identifier: MIT
 *
 * catalog.h - what is known of every peer's files, in SQLite.
 *
 * One thread writes, the scribe: catalog_submit() hands it a batch, one transaction each (small ones that wait together
 * may share one), and a post answers once it is committed.  Anybody may read at any time, on any thread but the mind
 * (reading touches the disk): readers use their own read-only connections (WAL) and never wait for the scribe.
 *
 * This peer's own files are entries like any other's, under its own id, numbered 1, 2, 3 ... within an epoch; beside them stand
 * their signatures on disk and piece layers.  A removed entry stays as a tombstone, so that others learn of it; the oldest go
 * when there are too many (catalog_tombstones.c).
 *
 * A database that is damaged, of a foreign version or no database is set aside ("catalog.db.damaged-<time>") and a new one is begun
 * with a new epoch; the indexer fills it from the share.
 */
#ifndef P2PD_CATALOG_H
#define P2PD_CATALOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "change.h"
#include "error.h"
#include "file.h"
#include "loop.h"
#include "name.h"

#define CATALOG_FILES_PER_PEER	10000000ull	/* entries believed of one other peer, tombstones included */
#define CATALOG_FILES_OF_OTHERS	50000000ull	/* the same of all others together: 20 GB of disk, about */
#define CATALOG_NAMES_PER_PEER	(1ull << 30)	/* bytes of the names of those of one peer */
#define CATALOG_TOMBSTONES_MIN	10000ull	/* removals remembered of a peer; of our own as many as files, if that is more */
#define CATALOG_PAGE_MAX	1000		/* rows of one answer to a search */
#define CATALOG_CURSOR_SIZE	(NAME_SIZE * 2 + 128)	/* bytes of a cursor's text, with NUL */
#define CATALOG_ID_PREFIX_MIN	8		/* hex digits of a root that may stand for it */

struct catalog;

/* Opens or makes <state_fd>/catalog.db at `state_directory`.  *ret_set_aside (may be NULL) says why a damaged one was set aside,
 * NULL if none was; gives: free().  NULL and err. */
struct catalog	*catalog_new(struct loop *loop, const char *state_directory, const char *self,
		     char **ret_set_aside, struct error *err);
/* What is believed of others; a page that brings more is P2P_TOO_MANY. */
struct catalog_limits {
	uint64_t files_per_peer, files_of_others, names_per_peer;	/* entries, entries, bytes */
};
/* Others than CATALOG_FILES_PER_PEER, CATALOG_FILES_OF_OTHERS and CATALOG_NAMES_PER_PEER; before the first submit. */
void		 catalog_limit(struct catalog *catalog, const struct catalog_limits *limits);
/* Another than CATALOG_TOMBSTONES_MIN, from the next commit on. */
void		 catalog_limit_tombstones(struct catalog *catalog, uint64_t count);
/* Commits what was submitted and stops the scribe.  Completions are still posted; the head may be asked, nothing be submitted. */
void		 catalog_stop(struct catalog *catalog);
/* The same if need be, and closes. */
void		 catalog_free(struct catalog *catalog);

/* --- state of our own files; any thread, the mind too (kept in memory) --- */
struct catalog_head {
	uint64_t epoch, seq;		/* of our newest committed change */
	uint64_t file_count, byte_count;	/* shared files */
};
void		 catalog_head(const struct catalog *catalog, struct catalog_head *ret);

/* --- reading; any thread but the mind --- */

/* One of our own files. */
struct catalog_local {
	struct content_id content;
	struct file_sig sig;
	int64_t mtime_ns;
	uint32_t mode;
};
/* P2P_OK, P2P_NOT_FOUND, P2P_IO. */
int		 catalog_find_local(struct catalog *catalog, const char *name, struct catalog_local *ret);
/* Any of our files with this content; its name into ret_name[NAME_SIZE]. */
int		 catalog_find_content(struct catalog *catalog, const struct content_id *content,
		     char *ret_name, struct catalog_local *ret);
/* The layer at merkle_piece_bytes() of a content of ours.  Gives (free()); for one piece the root alone. */
int		 catalog_layer(struct catalog *catalog, const struct content_id *content,
		     struct digest **ret_layer, size_t *ret_count);

/* One name with one content, somewhere in the network; or, of CATALOG_LEVEL, a subdirectory. */
struct catalog_found {
	bool is_directory;		/* then its name ends with `/`, and what is said of a file is zero */
	const char *name;
	struct content_id content;
	int64_t mtime_ns;		/* the newest among the holders' */
	uint32_t mode;
	bool is_local;			/* we have it */
	uint32_t holder_count;
	const char *holders;		/* their peer ids, each followed by one blank; this peer's included */
	uint64_t files, bytes;		/* of a subdirectory: what CATALOG_UNDER would tell of it, and its bytes */
	bool is_cut;			/* there is, or may be, more than these */
};
typedef bool	(*catalog_found_fn)(void *arg, const struct catalog_found *found);	/* false: enough */

enum catalog_match {
	CATALOG_SUBSTRING,	/* somewhere in the name, whatever the case (name_fold()); "": everything */
	CATALOG_GLOB,		/* the whole name, as name_match() */
	CATALOG_EXACT,		/* the whole name */
	CATALOG_UNDER,		/* everything below directory `text`; "": everything */
	CATALOG_ROOT,		/* contents whose root begins with these hex digits, CATALOG_ID_PREFIX_MIN at least, either case */
	CATALOG_LEVEL,		/* what lies in directory `text` itself, and its subdirectories; "": the network's whole tree */
};
#define CATALOG_LEVEL_LOOKS 100	/* names of a subdirectory that are looked at; it is skipped then, and is_cut */
/* What else a result must be. */
enum catalog_state { CATALOG_ANY_STATE, CATALOG_HERE, CATALOG_AWAY };
struct catalog_filter {
	uint64_t size_min, size_max;		/* bytes, both included */
	int64_t mtime_min_ns, mtime_max_ns;	/* the same, of the newest among the holders' */
	const char *directory;			/* somewhere below it; NULL: anywhere */
	const char *holder;			/* this peer is one of the holders; NULL: whoever */
	enum catalog_state state;		/* HERE: one of the holders is (we always are); AWAY: none is */
	bool (*is_here)(void *arg, const char *peer);	/* asked for `state`; any thread */
	void *is_here_arg;
};
#define CATALOG_FILTER_NONE { .size_max = UINT64_MAX, .mtime_min_ns = INT64_MIN, .mtime_max_ns = INT64_MAX }

struct catalog_query {
	enum catalog_match match;
	const char *text;		/* at most NAME_MAX_BYTES */
	bool local_only;
	uint32_t limit;			/* rows, 1 to CATALOG_PAGE_MAX */
	const char *cursor;		/* from the page before, or NULL */
	const struct catalog_filter *filter;	/* or NULL; borrowed */
};
/*
 * Calls fn for a page of what fits: SUBSTRING best fit first (enum name_fit) and of equals the name first that became known here last;
 * GLOB in the latter order; EXACT, UNDER, LEVEL and "" by name (bytes, a subdirectory's with its slash); ROOT by root.  Contents of one name by size and root.
 * If there is or may be more, ret_cursor[CATALOG_CURSOR_SIZE] is where to go on, else it is "".  What a page costs is bounded, so
 * it may be short, even empty, and have a cursor all the same.
 * P2P_BAD_REQUEST for a cursor of something else, a limit, text or root that cannot be; P2P_IO.
 */
int		 catalog_search(struct catalog *catalog, const struct catalog_query *query,
		     catalog_found_fn fn, void *arg, char *ret_cursor, struct error *err);
/* The first page of CATALOG_ROOT, at most `limit`. */
int		 catalog_find_root(struct catalog *catalog, const char *hex_prefix, uint32_t limit,
		     catalog_found_fn fn, void *arg);
/* Calls fn with the peer id of every holder of a content (this peer excluded). */
int		 catalog_holders(struct catalog *catalog, const struct content_id *content,
		     void (*fn)(void *arg, const char *peer), void *arg);

/* Many questions at once, in one consistent view of what is known: each costs less than alone.  Not to be kept for long. */
struct catalog_view;
struct catalog_view *catalog_view_new(struct catalog *catalog);	/* NULL: it cannot be read now */
void		 catalog_view_free(struct catalog_view *view);
/* As catalog_find_local(), catalog_find_content() and catalog_holders(). */
int		 catalog_view_find_local(struct catalog_view *view, const char *name, struct catalog_local *ret);
int		 catalog_view_find_content(struct catalog_view *view, const struct content_id *content,
		     char *ret_name, struct catalog_local *ret);
int		 catalog_view_holders(struct catalog_view *view, const struct content_id *content,
		     void (*fn)(void *arg, const char *peer), void *arg);

/* Calls fn with the peer id of those, this peer excluded, who have files below a directory; looks at the first of these files only. */
int		 catalog_view_holders_below(struct catalog_view *view, const char *directory,
		     void (*fn)(void *arg, const char *peer), void *arg);
/* A fetch that goes on is making this directory. */
bool		 catalog_view_is_making(struct catalog_view *view, const char *directory);
/* Directories that a fetch is making, in descending order: at most `limit` of those below `before` in it (NULL: from the first on). */
int		 catalog_view_making(struct catalog_view *view, uint64_t fetch, const char *before, size_t limit,
		     void (*fn)(void *arg, const char *directory), void *arg);

/* A page of the changes of a peer, ours or another's.  Gives the page.  P2P_NOT_FOUND for a peer that we know nothing of. */
int		 catalog_changes(struct catalog *catalog, const struct change_question *question,
		     struct change_page **ret);

/* What is remembered of a peer, over restarts too. */
struct catalog_peer {
	const char *id;
	const char *name;		/* for people */
	const char *addresses;		/* http://host:port, grpc://host:port, divided by blanks */
	uint64_t epoch, seq;		/* how far we have its catalog */
	uint64_t file_count, byte_count;	/* that we have of it */
	int64_t heard_wall_ms;		/* when it last answered */
	uint64_t floor;			/* what to ask on with: `begun` of struct change_question */
};
int		 catalog_peers(struct catalog *catalog, void (*fn)(void *arg, const struct catalog_peer *peer), void *arg);

/* Our own files whose name begins with `prefix`, ascending by bytes of the name, in one consistent view; for the indexer. */
struct catalog_scan;
struct catalog_scan *catalog_scan_new(struct catalog *catalog, const char *prefix);	/* NULL: P2P_IO */
/* 1 a row (name borrowed until the next call), 0 the end, or a negative code. */
int		 catalog_scan_next(struct catalog_scan *scan, const char **ret_name, struct catalog_local *ret);
void		 catalog_scan_free(struct catalog_scan *scan);

/* Fetches that survive a restart. */
struct catalog_fetch_item {
	const char *name;
	struct content_id content;
	int64_t mtime_ns;
	uint32_t mode;
};
/* Which fetch comes first; the higher numbers do. */
struct catalog_rank {
	int32_t priority;
	int64_t front;			/* among those of a priority */
};
typedef void	(*catalog_fetch_fn)(void *arg, uint64_t fetch, const char *what, bool replace,
		     const struct catalog_rank *rank, const struct catalog_fetch_item *item);	/* once an item, by fetch and position */
int		 catalog_fetches(struct catalog *catalog, catalog_fetch_fn fn, void *arg);

/* --- writing --- */

struct catalog_batch;
struct catalog_batch *catalog_batch_new(void);
void		 catalog_batch_free(struct catalog_batch *batch);	/* one that was not submitted */
size_t		 catalog_batch_size(const struct catalog_batch *batch);	/* operations in it */

/* Our own file is there with this content.  Takes the layer (may be NULL for contents of one piece or none).
 * The same content, mtime and mode as before: only the signature is renewed, no new seq. */
void		 catalog_batch_put(struct catalog_batch *batch, const char *name, const struct catalog_local *file,
		     struct digest *layer, size_t layer_count);
/* Our own file is gone; unknown names are nothing. */
void		 catalog_batch_remove(struct catalog_batch *batch, const char *name);
/* A page that `page->peer` itself gave us.  Takes it.  It is checked as a whole before a row is written: ascending seqs that join
 * on to what we have (P2P_CONFLICT if there is a gap: pull from where catalog_peers says), names by name_check, sizes up to
 * MERKLE_CONTENT_MAX, CATALOG_FILES_PER_PEER, CATALOG_FILES_OF_OTHERS, CATALOG_NAMES_PER_PEER (P2P_BAD_ANSWER, P2P_TOO_MANY).  is_reset, or another epoch: its old entries go first.
 * Our own id is refused. */
void		 catalog_batch_page(struct catalog_batch *batch, struct change_page *page);
/* Remembers name, addresses and heard_wall_ms of a peer. */
void		 catalog_batch_peer(struct catalog_batch *batch, const struct catalog_peer *peer);
/* Forgets a peer and all its entries.  Its name for people, or NULL, goes with what is told of that. */
void		 catalog_batch_forget(struct catalog_batch *batch, const char *peer, const char *name);
void		 catalog_batch_fetch(struct catalog_batch *batch, uint64_t fetch, const char *what, bool replace,
		     const struct catalog_fetch_item *items, size_t count);
/* Of one that was put in before; at first both are 0. */
void		 catalog_batch_fetch_rank(struct catalog_batch *batch, uint64_t fetch, const struct catalog_rank *rank);
void		 catalog_batch_fetch_item_done(struct catalog_batch *batch, uint64_t fetch, const char *name);
/* The fetch will make this directory of the share, which is not there; known until the fetch is done. */
void		 catalog_batch_making(struct catalog_batch *batch, uint64_t fetch, const char *directory);
void		 catalog_batch_fetch_done(struct catalog_batch *batch, uint64_t fetch);

/* Any thread.  Takes the batch.  Batches are written in the order of their submission, but pages may be overtaken by what is none and
 * neither forgets a peer nor begins a follow.  done(arg, code) on the mind once it is durable in the database, or failed as a whole
 * (P2P_NO_SPACE, P2P_IO, or as catalog_batch_page says); done may be NULL. */
typedef void	(*catalog_done_fn)(void *arg, int code);
void		 catalog_submit(struct catalog *catalog, struct catalog_batch *batch, catalog_done_fn done, void *arg);

/* The same, and waits for the scribe itself rather than for the mind: for the hands, also while the mind is busy ending.  Never the mind. */
int		 catalog_submit_wait(struct catalog *catalog, struct catalog_batch *batch);

/* What a commit changed, told on the mind after it and before the batch's done(). */
#define CATALOG_TOLD_MAX 256	/* changes told one by one; beyond it only that there were more */
struct catalog_told {
	enum { CATALOG_ADDED, CATALOG_CHANGED, CATALOG_REMOVED } kind;
	const char *peer;
	const char *name;
	struct content_id content;	/* zero for a removal, like what follows */
	int64_t mtime_ns;
};
struct catalog_commit {
	int64_t wall_ms;		/* when it was written: of all that is told */
	size_t count;
	const struct catalog_told *told;
	bool is_cut;			/* more changed than is told (of `cut_peer`, if one) */
	const char *cut_peer;
	const char *cut_name;		/* for people, of a `cut_peer` that was forgotten; or NULL */
	bool is_ours;			/* our own head moved: peers want a notice */
};
typedef void	(*catalog_commit_fn)(void *arg, const struct catalog_commit *commit);
/* Before the first submit.  One listener. */
void		 catalog_on_commit(struct catalog *catalog, catalog_commit_fn fn, void *arg);

#endif
