/* SPDX-License-Identifier: MIT
 *
 * partial_have.h - the record of a partial on the disk: which pieces are verified and durable.
 *
 * For the files of partial.c alone.  Blocks on the disk; one thread at a time.
 */
#ifndef P2PD_PARTIAL_HAVE_H
#define P2PD_PARTIAL_HAVE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "digest.h"
#include "error.h"

struct have {
	int fd;			/* borrowed */
	struct content_id content;
	uint32_t piece_bytes;
	uint64_t count;		/* pieces */
	bool has_header;	/* the file begins with the header of this very data file */
	struct digest header;	/* its digest; each slot names it */
	uint64_t generation;	/* of the newest slot, 0 if there is none */
	unsigned next_slot;	/* the one to write next */
};

/* What a have file told. */
struct have_loaded {
	bool has_layer;		/* layer[] was filled; not yet held against the root */
	bool has_bits;		/* bits[] count: they belong to this very data file, which nobody
				 * changed since it was stamped, if it was */
	bool is_untouched;	/* it was stamped, and is so still: what the bits do not name is not there */
};

/* Nothing is read yet.  The content is within limits; 1 piece or more. */
void	 have_init(struct have *have, int fd, const struct content_id *content, uint32_t piece_bytes,
	     uint64_t count);
/* ⌈count / 8⌉ */
size_t	 have_bits_bytes(const struct have *have);
/* Reads what is there, into layer[count] and bits[have_bits_bytes()].  Whatever does not fit or is damaged is as
 * good as not there.  data_stat is that of the data file. */
void	 have_load(struct have *have, const struct stat *data_stat, struct digest *layer, unsigned char *bits,
	     struct have_loaded *ret);
/* Takes the stamp off: the data file is going to be written.  Holds from now on for a kill; after a power cut the
 * stamp may be back, and cost reading the data file. */
int	 have_unstamp(struct have *have, struct error *err);
/* Durably drops the bits, and the stamp; a layer stays. */
int	 have_drop_bits(struct have *have, struct error *err);
/* Stores the layer for a later load, not durably: it claims no piece, so it may be lost, or there before any byte is.
 * Does nothing if it is there. */
int	 have_store_layer(struct have *have, const struct stat *data_stat, const struct digest *layer,
	     struct error *err);
/* Stores the bits, which must already be true on the disk, and the layer if it is not there yet.  Durable after
 * have_sync(). */
int	 have_store(struct have *have, const struct stat *data_stat, const struct digest *layer,
	     const unsigned char *bits, struct error *err);
/* After have_store(), and before have_sync(): the data file is closed now, and this is how it looks. */
int	 have_stamp(struct have *have, const struct stat *data_stat, struct error *err);
int	 have_sync(struct have *have, struct error *err);

#endif
