/* SPDX-License-Identifier: MIT
 *
 * batch.h - many small contents by one request: how much may be asked for, and how the answer is cut.  No I/O; one thread at a time.
 *
 * Over REST the answer is one body: for each content, in the order in which they were asked for, a head of BATCH_HEAD_BYTES, and behind
 * it the bytes of the content if the head says so.  A head is an HTTP status, most significant byte first: 200, and the bytes
 * follow, as many as the content id says; or 400 to 599, and it is not to be had here now.  Over gRPC each content is a message of
 * its own.
 */
#ifndef P2PD_BATCH_H
#define P2PD_BATCH_H

#include <stdbool.h>
#include <stddef.h>

#include "digest.h"
#include "error.h"
#include "merkle.h"

#define BATCH_CONTENT_MAX	MERKLE_PIECE_MIN	/* bytes of one content: it is one piece */
#define BATCH_COUNT_MAX		1024			/* contents of one request */
#define BATCH_BYTES_MAX		(8u << 20)		/* bytes of all of them */
#define BATCH_HEAD_BYTES	2

/* True for a content that may stand in a batch. */
bool	batch_fits(const struct content_id *content);
/* What may be asked for at once: P2P_BAD_REQUEST if there is none, or one that no content can be, P2P_TOO_MANY,
 * P2P_TOO_LARGE. */
int	batch_check(const struct content_id *contents, size_t count, struct error *err);

/* --- giving --- */

/* The head of a content: P2P_OK, or the code that says why it is not given. */
void	batch_head(int code, unsigned char ret[BATCH_HEAD_BYTES]);

/* --- taking --- */

/* One content that is asked for. */
struct batch_content {
	struct content_id id;
	unsigned char *data;	/* room for its bytes; borrowed */
	int code;		/* P2P_OK: they are there, as they came; P2P_NOT_FOUND: the other side does not give it; P2P_INTERNAL: nothing came */
};

/* What is asked for, and how far the answer has come.  The caller fills the first four. */
struct batch {
	struct batch_content *contents;	/* borrowed */
	size_t count;
	/* Content `index` came, or was refused; in order.  A negative answer ends all.  A hand's thread. */
	int (*arrived)(void *arg, size_t index, struct error *err);
	void *arg;

	size_t at;			/* contents that were told */
	size_t fill;			/* bytes of the head, or of the content */
	bool is_amid;			/* of a content: its head was 200 */
	unsigned char head[BATCH_HEAD_BYTES];
};

/* Bytes of all that is asked for. */
uint64_t batch_bytes(const struct batch *batch);
/* Before the first bytes. */
void	batch_begin(struct batch *batch);
/* The next bytes of a body.  P2P_BAD_ANSWER for what is none, or is too long; or what arrived() answered. */
int	batch_feed(struct batch *batch, const void *data, size_t len, struct error *err);
/* The next content as a whole: code P2P_OK and its bytes, or why not.  As above. */
int	batch_take(struct batch *batch, int code, const void *data, size_t len, struct error *err);
/* At the end of the answer: P2P_BAD_ANSWER if something is missing. */
int	batch_end(const struct batch *batch, struct error *err);

#endif
