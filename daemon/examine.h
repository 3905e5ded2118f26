/* SPDX-License-Identifier: MIT
 *
 * examine.h - one name of the share: what it is on disk, whether it rests, and its content id.
 * On workers.
 */
#ifndef P2PD_EXAMINE_H
#define P2PD_EXAMINE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "catalog.h"
#include "store.h"

#define EXAMINE_LARGE	(8u << 20)	/* bytes; longer files are hashed in slices, by all workers */
#define EXAMINE_SLICE	(8u << 20)	/* bytes of a slice at least; whole pieces */
#define EXAMINE_BUDGET	(8u << 20)	/* bytes after which a job of many files ends */
#define EXAMINE_QUIET_MS 60000		/* an open file rests after so long without a write */

/* What every examination needs; outlives them all. */
struct examiner {
	struct store *store;
	struct catalog *catalog;
	uint32_t settle_ms;
	atomic_bool is_stopping;	/* give up soon: EXAMINE_LATER */
};

enum verdict {
	EXAMINE_LATER,		/* not looked at: the job was full, or we are stopping */
	EXAMINE_SAME,		/* it is what the catalog says */
	EXAMINE_GONE,		/* there is no such file */
	EXAMINE_BAD,		/* it cannot be shared: `why` */
	EXAMINE_FAILED,		/* it could not be read this time: `why` */
	EXAMINE_WAIT,		/* it does not rest yet: look again in wait_ms */
	EXAMINE_LARGE_FILE,	/* to be hashed in slices; file.sig is set */
	EXAMINE_HASHED,		/* file and layer are its new entry */
};

struct examined {
	const char *name;	/* in; borrowed */
	bool is_writing;	/* in: a write was seen, and no close since */
	bool is_closed;		/* in: a close after writing was seen, or a move to this name, and no write since */
	enum verdict verdict;
	struct catalog_local file;
	struct digest *layer;	/* owned */
	size_t layer_count;
	uint32_t wait_ms;
	char *why;		/* owned */
};

/* Looks at items in turn, and hashes them unless they are large. */
void		 examine_files(struct examiner *examiner, struct examined *items, size_t count);
/* Frees what the item owns. */
void		 examined_fini(struct examined *item);

/* A large file, open, while it is hashed.  Slices may be hashed by several workers at a time. */
struct slicing {
	int fd;
	uint32_t piece_bytes;
	uint32_t slice_count;
	uint32_t slice_pieces;	/* of a slice; the last may have fewer */
	atomic_bool is_spoilt;	/* a read failed, or we are stopping */
	struct examined item;
};

/* Looks at the name again; NULL if there is nothing to hash: *item says why. */
struct slicing	*slicing_new(struct examiner *examiner, struct examined *item);
void		 slicing_hash(struct examiner *examiner, struct slicing *slicing, uint32_t slice);
/* After every slice: the verdict into *ret, which owns what was in slicing->item.  Frees. */
void		 slicing_end(struct examiner *examiner, struct slicing *slicing, struct examined *ret);
/* Given up. */
void		 slicing_free(struct slicing *slicing);

#endif
