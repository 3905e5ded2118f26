/* SPDX-License-Identifier: MIT
 *
 * holdings.h - which pieces of a content this peer holds, for those who fetch it too.  Any thread.
 *
 * Two kinds of holding.  A partial one is made by a download (holdings_begin ... holdings_end): its verified pieces can be read,
 * and are told as they come.  A whole one stands in the catalog; it is noted here only while somebody follows it, so that those who
 * follow learn of each other, and of what the others are being sent.
 *
 * A peer follows by asking again and again, each time from where the last answer ended; an answer waits until there is something
 * to tell.  What is told is a log: piece verified, piece on its way to somebody, peer that follows.  It is bounded; who fell too far
 * behind gets everything at once instead.
 */
#ifndef P2PD_HOLDINGS_H
#define P2PD_HOLDINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "change.h"
#include "digest.h"
#include "error.h"
#include "loop.h"
#include "store.h"

#define HOLDINGS_MAX		1024		/* contents at once; a whole one more is told without being noted */
#define HOLDINGS_FOLLOWERS_MAX	1024		/* peers that follow one content; more are answered, but not told of */
#define HOLDINGS_LOG_MAX	16384		/* entries of one content's log that are kept */
#define HOLDINGS_WHOLE_LOG_MAX	4096		/* the same of a whole one */
#define HOLDINGS_WAIT_MAX_MS	30000		/* longest time that an answer may wait */
#define HOLDINGS_FORGET_MS	60000		/* a follower that does not ask again is forgotten after so long, whole holdings without one too */
#define HOLDINGS_NEWS_MAX	4096		/* pieces of one answer that is no full one, and likewise pieces on their way of any */

struct holdings;

struct holdings	*holdings_new(struct loop *loop);
/* Mind.  Wakes whoever waits; from then on nobody waits any more, and an answer comes at once. */
void		 holdings_stop(struct holdings *holdings);
/* Mind.  Nobody waits, no partial holding is left. */
void		 holdings_free(struct holdings *holdings);
/* Followers are forgotten after so long instead of HOLDINGS_FORGET_MS; for tests, which cannot wait for so long. */
void		 holdings_forget_after(struct holdings *holdings, uint64_t forget_ms);

/* --- what a download tells --- */

struct holding;

/*
 * A content is being brought here: fd has its verified pieces (takes it, a duplicate of the partial's), `layer` is its layer at
 * merkle_piece_bytes() (borrows; count nodes).  No piece is held yet.  Gives a holding, to be ended.  NULL if HOLDINGS_MAX of them are noted (whole ones make room), or
 * another download of the same content has begun and not ended: then fd is closed, and nobody is told.
 */
struct holding	*holdings_begin(struct holdings *holdings, const struct content_id *content, int fd,
		     const struct digest *layer, size_t count);
/* A piece is verified and stands in the file, for good.  Telling twice is nothing. */
void		 holding_add(struct holding *holding, uint64_t piece);
/* Who follows and was not told before: *cursor is where the last call ended, 0 at first.  fn runs before this returns; it may not call
 * this module. */
void		 holding_new_followers(struct holding *holding, uint64_t *cursor,
		     void (*fn)(void *arg, const char *peer), void *arg);
/* Its pieces are no longer to be had from here, unless the catalog now has the whole content.  Open readers stay good.  NULL is nothing. */
void		 holdings_end(struct holding *holding);

/* --- what a face asks --- */

/* A question of somebody who follows, or just asks. */
struct holding_question {
	struct content_id content;
	uint64_t since;			/* `next` of the last answer; 0: everything */
	uint32_t wait_ms;		/* how long the answer may wait for news; at most HOLDINGS_WAIT_MAX_MS */
	char peer[PEER_ID_SIZE];	/* who follows, and may be told of to others; "": nobody */
};

/* What is held.  Zero is an answer without news. */
struct holding_answer {
	uint64_t next;			/* ask from here next time; 0: there will be no news, it is not noted */
	bool is_whole;			/* all pieces are held */
	bool is_full;			/* `bits` says which are held (unless is_whole), `peers` are all who follow; else only what is new */
	unsigned char *bits;		/* most significant bit first, ⌈pieces / 8⌉ bytes; owned, NULL if there are none */
	size_t bits_len;
	uint64_t *pieces;		/* held since; owned */
	size_t piece_count;
	uint64_t *coming;		/* on their way from here to somebody, since; in a full answer the newest HOLDINGS_NEWS_MAX that are known; owned */
	size_t coming_count;
	char (*peers)[PEER_ID_SIZE];	/* who follow too; owned */
	size_t peer_count;
};
void		 holding_answer_fini(struct holding_answer *answer);

/* One who waits.  The caller's; zeroed at first, constant while it waits. */
struct holding_waiter {
	void (*wake)(void *arg);	/* once, on any thread; must not call back into holdings */
	void *arg;
	struct holding_waiter *next, **link;	/* ours */
	uint64_t until_ms;			/* ours */
};

/*
 * Answers what is held.  is_whole says that the catalog has the content: the caller looked.  P2P_NOT_FOUND if it is neither whole nor
 * being fetched.  With a waiter, and nothing to tell yet: `wait_ms` is waited for; *ret is an answer without news then (its `next` is
 * as asked), *ret_waits is true, and wake() comes once, when there is something, when the time is over, or at the stop; then ask
 * again without a waiter.  waiter may be NULL.
 */
int		 holdings_ask(struct holdings *holdings, const struct holding_question *question, bool is_whole,
		     struct holding_waiter *waiter, struct holding_answer *ret, bool *ret_waits);
/* It does not wait any more; wake() does not run any more when this returns.  Also for one that never waited. */
void		 holdings_forget(struct holdings *holdings, struct holding_waiter *waiter);

/* A reader of bytes [offset, offset + len) of a partial holding, if all of their pieces are held: gives a reference.  P2P_NOT_FOUND. */
int		 holdings_open(struct holdings *holdings, const struct content_id *content, uint64_t offset, uint64_t len,
		     struct store_reader **ret);
/* The layer of a partial holding (free()).  P2P_NOT_FOUND. */
int		 holdings_layer(struct holdings *holdings, const struct content_id *content, struct digest **ret, size_t *ret_count);
/* Bytes [offset, offset + len) go out to somebody now: told to those who follow.  Nothing unless several do. */
void		 holdings_sending(struct holdings *holdings, const struct content_id *content, uint64_t offset, uint64_t len);

#endif
