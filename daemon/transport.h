/* SPDX-License-Identifier: MIT
 *
 * transport.h - the verbs that peers and fetch need of a wire, whatever the wire is.
 *
 * Every verb is called on the mind and starts one request; its done function is called on the mind exactly once, also after
 * transport_cancel() (with P2P_CANCELLED, soon) and at shutdown.  Failures: P2P_UNREACHABLE (no connection, or it broke),
 * P2P_TIMEOUT, P2P_BAD_ANSWER, P2P_TOO_MANY (a read had no turn here, for others are under way: no fault of the peer), or the
 * code that the other side answered.  `err` in a done function is never NULL and has a
 * sentence that names the address.  Each verb has deadlines of its own: no request lives for ever.
 *
 * What comes from outside is checked here for form and limits (node_check, sizes, counts) before it is handed on.
 */
#ifndef P2PD_TRANSPORT_H
#define P2PD_TRANSPORT_H

#include "batch.h"
#include "change.h"
#include "digest.h"
#include "directory.h"
#include "error.h"
#include "holdings.h"
#include "node.h"

struct transport;

/* What a request of every wire begins with. */
struct transport_request {
	struct transport *wire;
};

typedef void	(*transport_done_fn)(void *arg, int code, const struct error *err);

/* An answered greeting; valid during the call only. */
struct transport_greeting {
	const struct node_record *theirs;
	const struct node_record *known;	/* peers that it knows */
	size_t known_count;
	uint32_t round_trip_us;
};
/* `greeting` is NULL when code is not P2P_OK. */
typedef void	(*transport_greet_fn)(void *arg, int code, const struct error *err,
		     const struct transport_greeting *greeting);
/* Gives the page; NULL when code is not P2P_OK. */
typedef void	(*transport_pull_fn)(void *arg, int code, const struct error *err, struct change_page *page);
/* Borrows the layer; NULL when code is not P2P_OK. */
typedef void	(*transport_layer_fn)(void *arg, int code, const struct error *err,
		     const struct digest *layer, size_t count);

/* Gives what the answer owns, for it is moved out of the call (holding_answer_fini); NULL when code is not P2P_OK. */
typedef void	(*transport_have_fn)(void *arg, int code, const struct error *err, struct holding_answer *answer);

/* Takes bytes as they arrive, in order, on a hand's thread, never after done.  A negative answer ends the request with that code. */
struct transport_sink {
	int (*feed)(void *arg, const void *data, size_t len, struct error *err);
	void *arg;
};

/* Deadlines, in milliseconds. */
#define TRANSPORT_CONNECT_MS	3000
#define TRANSPORT_ANSWER_MS	10000	/* greet, notify, pull, layer, leaves, directories: for the whole; have: after its wait_ms */
#define TRANSPORT_STALL_MS	10000	/* read: ends after so long below TRANSPORT_STALL_BPS */
#define TRANSPORT_STALL_BPS	1024	/* bytes per second */

struct transport_ops {
	const char *name;		/* "rest", "grpc" */
	struct transport_request *(*greet)(struct transport *, const char *address,
	    const struct node_hello *hello, transport_greet_fn fn, void *arg);
	struct transport_request *(*leave)(struct transport *, const char *address,
	    const char *self, transport_done_fn fn, void *arg);
	struct transport_request *(*notify)(struct transport *, const char *address,
	    const struct notice *notice, transport_done_fn fn, void *arg);
	struct transport_request *(*pull)(struct transport *, const char *address,
	    const struct change_question *question, transport_pull_fn fn, void *arg);
	/* The piece layer of a content at piece_bytes; checked to have merkle_piece_count() nodes, not against the root. */
	struct transport_request *(*layer)(struct transport *, const char *address,
	    const struct content_id *content, uint32_t piece_bytes, transport_layer_fn fn, void *arg);
	/* The hashes of `count` leaves from leaf `first` on, all under one piece of merkle_piece_bytes(); checked to be so many, not against
	 * the piece.  A peer of an earlier version answers P2P_BAD_REQUEST. */
	struct transport_request *(*leaves)(struct transport *, const char *address,
	    const struct content_id *content, uint64_t first, uint32_t count, transport_layer_fn fn, void *arg);
	/* Which pieces of a content are held there.  The answer may take wait_ms longer than others.  Pieces are below merkle_piece_count()
	 * at merkle_piece_bytes(), bits have the right length, peers are well-formed ids; more than HOLDINGS_NEWS_MAX pieces or peers of
	 * an answer that is not full are P2P_BAD_ANSWER, in a full one HOLDINGS_FOLLOWERS_MAX peers are the most. */
	struct transport_request *(*have)(struct transport *, const char *address,
	    const struct holding_question *question, transport_have_fn fn, void *arg);
	/* Exactly [offset, offset + len) of a content goes to the sink (copied struct); fewer or more bytes: P2P_BAD_ANSWER. */
	struct transport_request *(*read)(struct transport *, const char *address,
	    const struct content_id *content, uint64_t offset, uint64_t len,
	    const struct transport_sink *sink, transport_done_fn fn, void *arg);
	/* Many small contents (batch_check() holds): each goes to its place and is told in the order asked, on a hand's thread.  Borrows the
	 * batch until done, which the wire begins and ends: P2P_OK means that each of them was told.  Bytes are as they came, not
	 * verified.  A peer that knows no such question answers P2P_NOT_FOUND, P2P_BAD_METHOD or P2P_BAD_ANSWER. */
	struct transport_request *(*batch)(struct transport *, const char *address, struct batch *batch,
	    transport_done_fn fn, void *arg);
	/* What directories of the other side's share are like.  Borrows the question until done.  Modes are permission bits, times whatever
	 * the other side says.  A peer of an earlier version answers P2P_NOT_FOUND, P2P_BAD_METHOD or P2P_BAD_ANSWER. */
	struct transport_request *(*directories)(struct transport *, const char *address,
	    struct directory_question *question, transport_done_fn fn, void *arg);
	void (*cancel)(struct transport_request *);
};

/* A wire begins with this. */
struct transport {
	const struct transport_ops *ops;
};

#endif
