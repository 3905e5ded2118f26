/* SPDX-License-Identifier: MIT
 *
 * download_internal.h - what download.c (opening, durability, the whole), download_reason.c (why nothing
 * moves), download_holders.c, download_wire.c, download_layer.c, download_run.c (runs), download_view.c and
 * download_count.c (what is told), download_narrow.c (pieces that came wrong) and download_follow.c (what holders have) share.
 */
#ifndef P2PD_DOWNLOAD_INTERNAL_H
#define P2PD_DOWNLOAD_INTERNAL_H

#include <stdatomic.h>

#include "download.h"

#define DOWNLOAD_TICK_MS	25	/* while runs are under way: how often it is looked whether more may be asked for, */
#define DOWNLOAD_TELL_MS	200	/* and what came is told */
#define DOWNLOAD_STILL_MS	3000	/* nothing comes of what was asked for: it is told */

/* A run of pieces that was asked for. */
struct run {
	struct download *download;
	struct run *next;
	const struct swarm_ask *ask;	/* until it ended */
	struct partial_sink *sink;
	struct wire_run wire;		/* by which it goes */
	atomic_uint_least64_t came_bytes;	/* written by a hand */
	uint64_t seen_bytes;		/* of them, when it was looked last */
	struct transport_request *request;
	int sink_code;		/* why the sink ended it; written by a hand, read after done */
	struct error sink_error;
};

/* A holder that is asked again and again what it has. */
struct follow {
	struct download *download;
	struct follow *next;
	char peer[PEER_ID_SIZE];
	uint64_t since;			/* of the question */
	uint64_t due_us;		/* when it is asked next; UINT64_MAX: never */
	uint64_t asked_us;		/* when it was last */
	unsigned lacks;			/* answers in a row that it has nothing */
	struct wire_run wire;
	struct transport_request *request;	/* under way, or NULL */
	bool is_cancelled;
	bool is_stale;			/* all of it is asked for the next time */
};

struct download {
	struct download_means *means;
	struct content_id content;
	uint64_t reserve_bytes;
	const struct download_target *target;
	const struct download_events *events;
	void *arg;

	struct partial *partial;	/* NULL until it is opened and loaded */
	struct swarm *swarm;		/* lives with the partial */
	uint64_t window_from, window_to;	/* bytes */
	struct holding *holding;	/* by which our pieces are served, or NULL */
	struct run *runs;		/* under way */
	struct narrowing *narrowings;	/* of pieces that came wrong */
	struct follow *follows;
	unsigned follow_count;
	uint64_t followers_cursor;	/* those who follow us are known up to here */
	char self[PEER_ID_SIZE];	/* who follows; "" until it is needed */
	struct transport_request *layer_request;	/* under way, or NULL */
	char layer_peer[PEER_ID_SIZE];	/* of whom, */
	uint64_t layer_asked_us;	/* and since when */
	double carried[WIRE_COUNT];	/* bytes of ended runs, fading; */
	double source_carried[SWARM_SOURCES_MAX][WIRE_COUNT];	/* the same of each source of the swarm */
	unsigned run_count, weight;
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
	uint64_t moved_ms;		/* and when that was */
	uint64_t ticked_ms;		/* when it was looked at for that last */
	uint64_t asked_holders_ms;	/* when the catalog was asked for them last */
	struct error wait;		/* why it does not move, as last told; P2P_OK: it does */
	uint64_t waits_ms;		/* and when that was */
	struct error failure;		/* what the last holder did that failed, since bytes came; or P2P_OK */
	uint64_t still_ms;		/* since when nothing came of what is asked for; 0: nothing was */
	size_t holders_named, holders_away;	/* of the catalog, when it was asked last */
	struct loop_timer *retry;	/* something may be tried again */
	struct loop_timer *tick;	/* progress and syncs while runs are under way */
	struct loop_timer *follow_timer;	/* the next question of a follow */
};

/* --- download.c --- */

/* Looks at where things stand and starts whatever can be started. */
void	download_step(struct download *download);
/* Tells that more is verified, if it is so. */
void	download_tell_moved(struct download *download);
/* Starts nothing for a while, for a reason that is ours and no peer's. */
void	download_pause(struct download *download, uint64_t ms, int code, const char *text);

/* --- download_reason.c --- */

/* Tells why nothing moves; P2P_OK: it does again. */
void	download_tell_waiting(struct download *download, int code, const char *text);
/* What a holder did instead of giving what it was asked for, in words. */
void	download_note_failure(struct download *download, const char *text);
/* Bytes come. */
void	download_note_bytes(struct download *download);
/* Tells it if something was asked for, and nothing comes. */
void	download_tell_still(struct download *download);
/* Tells why nobody can be asked. */
void	download_tell_nobody(struct download *download);

/* --- download_holders.c --- */

/* Peer ids that the catalog names as holders, collected on a worker. */
struct holders {
	struct download *download;
	size_t count;
	char peers[SWARM_SOURCES_MAX][PEER_ID_SIZE];
};

void	download_find_holders(struct holders *holders);	/* on a worker */
void	download_take_holders(struct download *download, const struct holders *holders);
/* The same, as a job of its own. */
void	download_ask_holders(struct download *download);
/* Nothing is under way, and there was nobody to ask: says so, and looks again later. */
void	download_wait_for_holders(struct download *download);
/* A holder failed, or lied; the second is told, and what else it is asked is broken off. */
void	download_source_failed(struct download *download, const char *peer);
void	download_source_lied(struct download *download, const char *peer, const char *how);
/* Forgets what a holder gave of pieces that are not whole. */
void	download_distrust(struct download *download, unsigned source);
/* Looks the peer up.  False if it may not be asked now: it is away, or has no wire that may be used. */
bool	download_find_peer(struct download *download, const char *peer, struct peer_info *ret);

/* --- download_wire.c --- */

/* A limit of bandwidth for downloads is in force: bytes wait for their turn here. */
bool	download_is_limited(const struct download_means *means);
/* Chooses the wire of a request that begins. */
void	download_begin_wire(const struct download *download, const struct peer_info *peer, enum wire_use use,
	    struct wire_run *ret);
/* What an end says of the wire: nothing, if it was ours or about the content. */
enum wire_outcome download_wire_outcome(int code);
/* A request ended; answers whether the source is to blame, for it has no other wire that may be tried now. */
bool	download_end_wire(const struct download *download, const char *peer, const struct wire_run *run,
	    enum wire_outcome outcome, uint64_t bytes);

/* --- download_layer.c --- */

/* Asks somebody for the piece layer; false: there is nobody now. */
bool	download_ask_layer(struct download *download);
/* Asks somebody else if it does not come. */
void	download_hurry_layer(struct download *download);

/* --- download_view.c --- */

/* A run ended that brought bytes; before swarm_ended(). */
void	download_note_carried(struct download *download, const struct run *run);

/* --- download_count.c --- */

/* A run ended with this code: for the metrics; before swarm_ended(). */
void	download_count_run(const struct download *download, const struct run *run, int code, uint64_t verified,
	    uint64_t wasted_bytes);

/* --- download_run.c --- */

/* As many runs as may be under way; breaks off what is better asked elsewhere. */
void	download_start_runs(struct download *download);
void	download_stop_runs(struct download *download);

/* --- download_narrow.c --- */

/* A piece came wrong, and `suspects` (swarm's numbers of them, as bits) sent its bytes: finds out which bytes are wrong, blames who sent
 * them, and keeps the others.  The piece is not asked for meanwhile. */
void	download_narrow(struct download *download, uint64_t piece, uint64_t suspects);
/* Asks somebody else if an answer does not come. */
void	download_hurry_narrowings(struct download *download);
void	download_stop_narrowings(struct download *download);

/* --- download_follow.c --- */

/* Our pieces are told to those who ask, from now on.  Needs the layer. */
void	download_offer(struct download *download);
/* Follows every holder that is known of; and, when there is none to be asked, everybody who is here: who fetches it stands in no catalog. */
void	download_follow(struct download *download);
void	download_follow_everybody(struct download *download);
/* What it said it has is wrong: it is asked for all of it again. */
void	download_follow_anew(struct download *download, const char *peer);
/* It came back, and may have something. */
void	download_follow_soon(struct download *download, const char *peer);
void	download_follow_due(void *download);	/* the timer's function */
/* Asks nobody any more; those under way end soon. */
void	download_stop_follows(struct download *download);
void	download_free_follows(struct download *download);

#endif
