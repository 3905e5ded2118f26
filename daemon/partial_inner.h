/* SPDX-License-Identifier: MIT
 *
 * partial_inner.h - what the files of partial.c share.  For them alone.
 */
#ifndef P2PD_PARTIAL_INNER_H
#define P2PD_PARTIAL_INNER_H

#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>

#include "partial.h"
#include "partial_have.h"

#define PARTIAL_DATA_SUFFIX ".data"
#define PARTIAL_HAVE_SUFFIX ".have"
#define PARTIAL_BASE_SIZE   (PARTIAL_STEM_SIZE + 5)	/* of a name in STORE_TEMP_DIR */
#define PARTIAL_MODES	    0777u	/* permission bits that a published file may get, less the umask */

#define TORN_MISSING	255	/* in senders[]: this leaf is not here */

/* A piece of which some leaves are here.  In the partial's list, or a sink's own. */
struct torn {
	struct torn *next;
	uint64_t piece;
	uint32_t leaf_count;
	uint32_t here_count;		/* of them, in the file */
	bool is_bad;			/* all are here, and do not fit */
	bool is_proven;			/* leaves[] are the true ones, of all: each that comes is judged at once */
	struct digest *leaves;		/* else of those that are here */
	unsigned char *senders;		/* who sent each, or TORN_MISSING */
};

enum partial_kind { PARTIAL_SHARE, PARTIAL_FOREIGN, PARTIAL_ANONYMOUS };

struct partial {
	enum partial_kind kind;
	struct store *store;		/* NULL for a foreign one */
	struct content_id content;
	uint32_t piece_bytes;
	uint64_t count;			/* pieces */
	int data_fd;
	int have_fd;			/* -1 for an anonymous one */
	mode_t mode_mask;		/* permission bits that a published file may get */
	struct have have;
	struct digest *layer;		/* count nodes; written once, before has_layer */
	atomic_bool has_layer;
	atomic_uchar *bits;		/* verified pieces, most significant bit first */
	atomic_uchar *claims;		/* pieces that a sink feeds, likewise */
	atomic_uint_fast64_t have_count;
	atomic_uint_fast64_t have_bytes;
	atomic_uint_fast64_t punched;	/* pieces before this one gave their space back */
	uint64_t synced_count;		/* verified pieces that the have file claims */
	bool is_loaded;			/* it is known what the have file has */
	bool is_named;			/* the names of both files are durable */
	void (*on_piece)(void *arg, uint64_t piece);	/* partial_listen(), or NULL */
	void *on_piece_arg;
	pthread_mutex_t torn_mu;	/* guards what follows of torn pieces */
	struct torn *torn;
	unsigned torn_count;
	bool is_all_or_none;		/* partial_all_or_none() */
	bool is_published;		/* or finished: the record is over */
	atomic_bool is_broken;		/* a sync failed: nothing is durable any more by us */
};

/* Sets the bit of a piece in bits or claims; answers what it was. */
static inline bool
partial_set_bit(atomic_uchar *bits, uint64_t piece)
{
	unsigned char mask = (unsigned char)(0x80u >> (piece & 7));

	return atomic_fetch_or_explicit(&bits[piece >> 3], mask, memory_order_acq_rel) & mask;
}

/* Counts a piece whose bytes are in the file and match. */
void	 partial_mark(struct partial *partial, uint64_t piece);

/* --- partial_torn.c --- */
/* A record of a piece of which nothing is here; free(). */
struct torn *torn_new(const struct partial *partial, uint64_t piece);
/* The same record for another piece. */
void	 torn_reset(struct torn *torn, const struct partial *partial, uint64_t piece);
/* Notes leaves that came.  Answers how many were taken: fewer if the one after them is proven to be another. */
size_t	 torn_take(struct torn *torn, uint32_t first, uint32_t count, const struct digest *leaves,
	     unsigned char sender);
/* Do its leaves, which are all here, fit the layer? */
bool	 torn_is_right(const struct torn *torn, const struct partial *partial);
/* The leaves [first, end) to be asked for next.  Some are missing (asserted). */
void	 torn_hole(const struct torn *torn, uint32_t *ret_first, uint32_t *ret_end);
bool	 torn_has(struct partial *partial, uint64_t piece);
/* Gives the record, or NULL if the piece is not torn. */
struct torn *torn_remove(struct partial *partial, uint64_t piece);
/* Takes the record if it is worth it; false: it stays the caller's. */
bool	 torn_keep(struct partial *partial, struct torn *torn);
void	 torn_free_all(struct partial *partial);

/* Answers the stat of a partial file; P2P_FORBIDDEN if it is no regular file. */
int	 partial_check_regular(int fd, struct stat *ret_stat, struct error *err);
/* Opens and locks the have file of a stem in the share; P2P_EXISTS if it is in use. */
int	 partial_lock_share(struct store *store, const char *stem, int *ret_fd, struct error *err);

#endif
