/* SPDX-License-Identifier: MIT
 *
 * service_internal.h - what the parts of service share: service.c (this peer, peers, the daemon), service_read.c (files to read),
 * service_put.c (changing the share), service_fetch.c (what NAME or ID means, fetches, streams).
 */
#ifndef P2PD_SERVICE_INTERNAL_H
#define P2PD_SERVICE_INTERNAL_H

#include <pthread.h>

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

struct service {
	struct service_parts parts;
	uint64_t started_ms;
	char reload_error[ERROR_TEXT_MAX];	/* mind's */
	pthread_mutex_t mutex;
	struct config *config;		/* under the mutex; a reference */
	struct reader_cache readers;
};

/* --- service_read.c --- */
void	service_readers_init(struct reader_cache *cache);
/* Closes what is kept open: files changed. */
void	service_readers_clear(struct reader_cache *cache);
void	service_readers_fini(struct reader_cache *cache);

/* --- service_put.c --- */
/* P2P_OK if somebody from `origin` may add a file, or with `changes` also replace, remove and fetch; else P2P_FORBIDDEN and a text that
 * names the key. */
int	service_allow(struct service *service, enum service_origin origin, bool changes, const char *what,
	    struct error *err);

/* loop_call with the text for a daemon that is stopping. */
int	service_ask(struct service *service, loop_ask_fn fn, void *arg, struct error *err);

#endif
