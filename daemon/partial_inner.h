/* SPDX-License-Identifier: MIT
 *
 * partial_inner.h - what the files of partial.c share.  For them alone.
 */
#ifndef P2PD_PARTIAL_INNER_H
#define P2PD_PARTIAL_INNER_H

#include <limits.h>
#include <stdatomic.h>

#include "partial.h"
#include "partial_have.h"

#define PARTIAL_DATA_SUFFIX ".data"
#define PARTIAL_HAVE_SUFFIX ".have"
#define PARTIAL_BASE_SIZE   (PARTIAL_STEM_SIZE + 5)	/* of a name in STORE_TEMP_DIR */
#define PARTIAL_MODES	    0777u	/* permission bits that a published file may get, less the umask */

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

/* Answers the stat of a partial file; P2P_FORBIDDEN if it is no regular file. */
int	 partial_check_regular(int fd, struct stat *ret_stat, struct error *err);
/* Opens and locks the have file of a stem in the share; P2P_EXISTS if it is in use. */
int	 partial_lock_share(struct store *store, const char *stem, int *ret_fd, struct error *err);

#endif
