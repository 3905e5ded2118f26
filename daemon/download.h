/* SPDX-License-Identifier: MIT
 *
 * download.h - one content on its way here: finds holders, gets the layer, asks for runs of pieces, until all are verified.
 * Mind's thread.  Used by fetch.c and fetch_stream.c alone.
 *
 * A download never fails because of others: without holders, or with a full disk, it waits, says why, and goes on by itself.
 */
#ifndef P2PD_DOWNLOAD_H
#define P2PD_DOWNLOAD_H

#include "fetch.h"
#include "swarm.h"
#include "throttle.h"
#include "wire_choice.h"

#define DOWNLOAD_DEPTH		4		/* runs under way for each connection to a holder, at most */
#define DOWNLOAD_RUNS_MAX	64		/* runs under way of one content, in all */
#define DOWNLOAD_PEER_RUNS	20		/* runs under way at one holder for all contents, about: it has few connections for each of us; shared by weight */
#define DOWNLOAD_WEIGHT		4		/* at first */
#define DOWNLOAD_FOLLOW_BYTES	(1u << 20)	/* of a content this large holders are asked which pieces they have, and ours are told */
#define DOWNLOAD_FOLLOW_MS	20		/* between an answer to that and the next question, at least; grows with the holders */
#define DOWNLOAD_DRY_MS		1000		/* without anything to ask for, and nothing under way: it waits */
#define DOWNLOAD_SYNC_MS	1000		/* between two syncs: what a kill can cost at most is twice that */
#define DOWNLOAD_RETRY_MS	5000		/* until a full disk or absent holders are looked at again */

/* What downloads work with; borrowed. */
struct download_means {
	struct loop *loop;
	struct pool *pool;
	struct store *store;
	struct catalog *catalog;
	struct peers *peers;
	struct transport *transport;
	struct config *config;
	struct holdings *holdings;
	struct wire_choice *wires;
	struct throttle *throttle;	/* may be NULL */
	unsigned download_count, weights;	/* that there are, and the sum of their weights; kept by download.c */
};

struct download;

struct download_events {
	/* More is verified than before. */
	void (*moved)(void *arg);
	/* It cannot move, and why; code P2P_OK: it moves again.  P2P_TIMEOUT, P2P_TOO_MANY: something is asked for, and nothing
	 * comes, of the holders or through our own limit of bandwidth. */
	void (*waiting)(void *arg, int code, const char *text);
	/* All pieces are verified, or it was stopped (P2P_CANCELLED).  Nothing is under way any more: the partial is the
	 * caller's alone, to publish or to drop, and the download is to be freed.  Told once. */
	void (*ended)(void *arg, int code);
};

/* Where the bytes go.  Both run on the pool. */
struct download_target {
	/* Opens the partial.  NULL and err: P2P_EXISTS means that somebody else is at it, and is tried again. */
	struct partial *(*open)(void *arg, struct error *err);
	/* After it was opened and loaded: may bring in pieces that lie nearby.  NULL: there are none. */
	void (*fill)(void *arg, struct partial *partial);
	/* Verified pieces are served to others meanwhile: it lies in the share. */
	bool is_offered;
};

/* Begins.  Target and events are static.  reserve_bytes: bytes that must stay free in the store, or UINT64_MAX to
 * not look (the partial lies elsewhere). */
struct download	*download_new(struct download_means *means, const struct content_id *content,
		     uint64_t reserve_bytes, const struct download_target *target,
		     const struct download_events *events, void *arg);
/* How much it asks a holder for at once, beside the others: twice the weight, about twice as much.  1 or more. */
void		 download_set_weight(struct download *download, unsigned weight);
/* Ends it as soon as nothing is under way; `ended` is called then (later, never within this call). */
void		 download_stop(struct download *download);
/* After `ended`.  Gives the partial, NULL if it never was opened, and by which its pieces are served (NULL: they are not); that one goes on until
 * holdings_end().  ret_holding may be NULL for a target that is not offered. */
struct partial	*download_free(struct download *download, struct holding **ret_holding);

/* NULL until it was opened and loaded.  Borrowed; readers may be on any thread. */
struct partial	*download_partial(struct download *download);
/* Only pieces that hold bytes of [from, to) are asked for (streaming). */
void		 download_window(struct download *download, uint64_t from, uint64_t to);
/* The peers that something is being asked of now, each once, into ret[] (valid until the mind goes on); answers how many. */
size_t		 download_sources(const struct download *download, const char *ret[SWARM_SOURCES_MAX]);
/* A holder that is known of, for people. */
struct download_view {
	struct swarm_view source;
	double carried[WIRE_COUNT];	/* bytes that came from it by each wire lately */
};
/* All of them.  Gives (free()). */
struct download_view *download_views(const struct download *download, size_t *ret_count);
/* Counts in the metrics a batch of small files that was asked of one holder: how it ended, the files that came, each of one piece, and the
 * bytes that came in vain. */
void		 download_count_batch(int code, bool has_lied, uint64_t verified, uint64_t wasted_bytes);
/* The wires (WIRE_BIT) by which this peer may be asked: those that it has and [network] transport allows. */
unsigned	 download_wires(const struct download_means *means, const struct peer_info *peer);
/* Adds the bytes that came by each wire lately: of one run as many as they were, the more runs ago the less. */
void		 download_carried(const struct download *download, double carried[WIRE_COUNT]);
#define DOWNLOAD_CARRIED_FADING	(15.0 / 16)	/* with each run */
/* A peer came back: look again if that helps. */
void		 download_peer_here(struct download *download, const char *id);

#endif
