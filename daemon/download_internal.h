/* SPDX-License-Identifier: MIT
 *
 * download_internal.h - what download.c (opening, holders, durability, the whole) and download_run.c (layer, runs) share.
 */
#ifndef P2PD_DOWNLOAD_INTERNAL_H
#define P2PD_DOWNLOAD_INTERNAL_H

#include <stdatomic.h>

#include "download.h"

#define DOWNLOAD_TICK_MS	200	/* how often progress is looked at while runs are under way */

/* A run of pieces that was asked for. */
struct run {
	struct download *download;
	struct run *next;
	struct swarm_run pieces;
	char peer[PEER_ID_SIZE];
	struct partial_sink *sink;
	struct wire_run wire;		/* by which it goes */
	atomic_uint_least64_t came_bytes;	/* written by a hand */
	struct transport_request *request;
	int sink_code;		/* why the sink ended it; written by a hand, read after done */
	struct error sink_error;
};

struct download {
	const struct download_means *means;
	struct content_id content;
	uint64_t reserve_bytes;
	const struct download_target *target;
	const struct download_events *events;
	void *arg;

	struct partial *partial;	/* NULL until it is opened and loaded */
	struct swarm *swarm;		/* lives with the partial */
	uint64_t window_from, window_to;	/* bytes */
	char source[PEER_ID_SIZE];	/* in use, or "" */
	struct run *runs;		/* under way */
	struct transport_request *layer_request;	/* under way, or NULL */
	double carried[WIRE_COUNT];	/* bytes of ended runs, fading */
	unsigned run_count;
	unsigned busy;			/* jobs and requests under way */
	bool is_opening, is_asking_layer, is_asking_holders, is_syncing;
	bool is_broken;			/* the partial is to be opened anew */
	bool is_barred;			/* holders were met that may not be asked */
	bool is_short;			/* the disk had too little room: look before more is asked for */
	bool is_stopping, is_ended;
	uint64_t paused_until_ms;	/* nothing is started before */
	uint64_t locked_ms;		/* the last pause because somebody else has the partial */
	uint64_t synced_ms;		/* when the last sync began */
	uint64_t told_bytes;		/* verified bytes at the last `moved` */
	int wait_code;			/* as last told */
	struct loop_timer *retry;	/* something may be tried again */
	struct loop_timer *tick;	/* progress and syncs while runs are under way */
};

/* --- download.c --- */

/* Looks at where things stand and starts whatever can be started. */
void	download_step(struct download *download);
/* Tells that more is verified, if it is so. */
void	download_tell_moved(struct download *download);
/* Tells once why nothing moves; P2P_OK: it does again. */
void	download_tell_waiting(struct download *download, int code, const char *text);
/* Starts nothing for a while, for a reason that is ours and no peer's. */
void	download_pause(struct download *download, uint64_t ms, int code, const char *text);

/* --- download_run.c --- */

/* Finds somebody to ask; without, says so and sets the timer for the next look. */
bool	download_choose_source(struct download *download, struct peer_info *ret_peer);
void	download_ask_layer(struct download *download, const struct peer_info *peer);
/* As many runs as may be under way. */
void	download_start_runs(struct download *download, const struct peer_info *peer);

#endif
