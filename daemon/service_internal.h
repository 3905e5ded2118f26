/* SPDX-License-Identifier: MIT
 *
 * service_internal.h - what the parts of service share: service.c (this peer, peers, the daemon), service_read.c (files to read),
 * service_search.c (searches), service_leaves.c (leaf hashes), service_batch.c (many small ones), service_put.c (changing the share),
 * service_park.c (uploads that broke off), service_fetch.c (what NAME or ID means, fetches, streams),
 * service_follow.c (follows).
 */
#ifndef P2PD_SERVICE_INTERNAL_H
#define P2PD_SERVICE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "service.h"

#define READER_CACHE_SLOTS	256		/* small files that are kept open between two requests */
#define READER_CACHE_FILE_MAX	(1u << 20)	/* bytes of such a file */

/* One small file of ours, open; valid while our catalog stays at `seq`. */
struct cached_reader {
	char *name;
	struct store_reader *reader;
	struct catalog_local file;
	uint64_t seq;
};

struct reader_cache {
	pthread_mutex_t mutex;
	struct cached_reader slots[READER_CACHE_SLOTS];
};

/* An upload on its way, or parked. */
struct service_upload {
	struct service *service;
	char name[NAME_SIZE];
	char id[SERVICE_UPLOAD_ID_MAX + 1];	/* "": it cannot go on later */
	bool is_replacing;		/* a different file of this name may go */
	bool if_absent;			/* condition: nothing has this name */
	bool has_match;			/* condition: the file of this name has the root `match` */
	struct digest match;
	bool is_held;			/* the indexer keeps off the name */
	bool is_over;			/* it failed or ended: nothing to go on with */
	mode_t mode;
	int64_t mtime_ns;
	uint64_t expect_bytes;		/* announced, or UINT64_MAX */
	struct store_upload *upload;
	atomic_uint_fast64_t bytes;	/* that came */
	/* In the lot, under its mutex. */
	struct service_upload *next;
	bool is_listed, is_parked;
	uint64_t until_ms;		/* by clock_ms(), if it is parked */
};

/* All uploads with an id. */
struct parking_lot {
	pthread_mutex_t mutex;
	struct service_upload *first;	/* those that are parked: in the order in which they came */
	unsigned parked;
	bool is_closed;			/* on the way down: nothing is parked any more */
	uint64_t park_ms;		/* SERVICE_PARK_MS; tests cannot wait for so long */
	struct loop_timer *timer;	/* mind's: the first whose time will be over; NULL once closed */
};

/* A name that somebody is just giving to a file, or taking from one. */
struct name_turn {
	const char *name;
	struct name_turn *next;
};

/* One at a time for each name: what is found there stays there until it is done. */
struct name_turns {
	pthread_mutex_t mutex;		/* guards the list */
	pthread_cond_t left;		/* a name is free again */
	struct name_turn *first;
};

struct service {
	struct service_parts parts;
	uint64_t started_ms;
	char reload_error[ERROR_TEXT_MAX];	/* mind's */
	pthread_mutex_t mutex;
	struct config *config;		/* under the mutex; a reference */
	struct reader_cache readers;
	struct parking_lot lot;
	struct name_turns turns;
	atomic_uint leaves_under_way;	/* questions for leaves that are being answered */
};

/* --- service_read.c --- */
/* As service_open_content(), for reading here: nothing leaves to others, and nobody is told so. */
int	service_find_content(struct service *service, const struct content_id *content, uint64_t offset,
	    uint64_t len, struct store_reader **ret, struct error *err);
void	service_readers_init(struct reader_cache *cache);
/* Closes what is kept open: files changed. */
void	service_readers_clear(struct reader_cache *cache);
void	service_readers_fini(struct reader_cache *cache);

/* --- service_put.c --- */
/* P2P_OK if somebody from `origin` may add a file, or with `changes` also replace, remove and fetch; else P2P_FORBIDDEN and a text that
 * names the key. */
int	service_allow(struct service *service, enum service_origin origin, bool changes, const char *what,
	    struct error *err);
void	service_turns_init(struct name_turns *turns);
void	service_turns_fini(struct name_turns *turns);
/* The indexer may have the name again. */
void	service_put_release(struct service_upload *upload);

/* --- service_park.c --- */
void	service_lot_init(struct service *service);
/* Mind: nothing is parked any more, no timer runs. */
void	service_lot_close(struct parking_lot *lot);
/* Drops what is parked; closed before.  (disk) */
void	service_lot_fini(struct parking_lot *lot);
int	service_upload_id_check(const char *id, struct error *err);
/*
 * Lists `fresh`, whose name and id are set, as being sent.  If it goes on at `offset` it gets the bytes of the one that is
 * parked; if it begins, such a one is dropped.  P2P_CONFLICT, P2P_NOT_FOUND, P2P_BAD_RANGE, P2P_BAD_REQUEST.  (disk)
 */
int	service_lot_enter(struct service_upload *fresh, uint64_t offset, struct error *err);
/* Takes it from the list, if it is there. */
void	service_lot_leave(struct service_upload *upload);

/* loop_call with the text for a daemon that is stopping. */
int	service_ask(struct service *service, loop_ask_fn fn, void *arg, struct error *err);

#endif
