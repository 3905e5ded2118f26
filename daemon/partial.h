/* SPDX-License-Identifier: MIT
 *
 * partial.h - a content on its way to the disk: verified pieces, and a record of them that never lies.
 *
 * A partial is two files: the bytes, and the `have` file, a small record of which pieces are verified and
 * durable.  In the share both lie in STORE_TEMP_DIR, named by the content; for a user's own target
 * (p2pctl fetch -o) both descriptors come from outside.
 *
 * Life: partial_open_*() -> partial_load() -> partial_set_layer(), unless the load brought it ->
 * for each range a partial_sink: feed, end
 * -> partial_sync() now and then -> partial_publish() (share) or partial_finish() (foreign) -> partial_free(),
 * or partial_close() before the end.
 *
 * A piece counts in partial_have() as soon as its bytes are in the file and match the layer.  The have file
 * claims it only after the bytes were synced.  A failed sync is never taken for done: what it covered is
 * verified again from the disk by the next partial_load().  So is all of a data file that somebody changed after
 * partial_close().
 *
 * Threads: sinks feed on any thread, several sinks at once, over different pieces.  Bits are read by any
 * thread.  load, sync, close, publish and finish block on the disk: workers, one at a time.
 */
#ifndef P2PD_PARTIAL_H
#define P2PD_PARTIAL_H

#include <stdbool.h>
#include <stdint.h>

#include "store.h"

#define PARTIAL_HAVE_MAX	(9u << 20)	/* bytes of a have file: header, layer, two slots of bits */

struct partial;

/* Opens or makes the partial of `content` in the share; mutually exclusive by a lock on the have file: P2P_EXISTS if it is
 * in use by somebody.  Blocks on the disk. */
struct partial	*partial_open_share(struct store *store, const struct content_id *content, struct error *err);
/* The same over two descriptors that are open read-write on regular files; takes both, even on failure. */
struct partial	*partial_open_foreign(int data_fd, int have_fd, const struct content_id *content, struct error *err);
/* An anonymous one (O_TMPFILE in the share) without a have file, for streaming through. */
struct partial	*partial_open_anonymous(struct store *store, const struct content_id *content, struct error *err);
/* True if something of `content` may lie in the share from an earlier time. */
bool		 partial_is_begun(struct store *store, const struct content_id *content);
/* Closes; keeps the files.  To the next partial_load() that is what a kill is: changes since the last sync are taken
 * to be ours. */
void		 partial_free(struct partial *partial);

const struct content_id *partial_content(const struct partial *partial);
uint32_t	 partial_piece_bytes(const struct partial *partial);
uint64_t	 partial_piece_count(const struct partial *partial);

/*
 * The layer, once it is known (count = partial_piece_count, at partial_piece_bytes).  Checks it against the root:
 * P2P_BAD_CONTENT if it does not fit.  Writes it into the have file at once, so that after a kill nobody is asked for it again;
 * it is durable with the next sync.  Borrows.  Worker.  A content of one piece has its root as layer by itself.
 */
int		 partial_set_layer(struct partial *partial, const struct digest *layer, size_t count, struct error *err);
bool		 partial_has_layer(const struct partial *partial);
/* A copy of the layer (free()), NULL for an empty content; needs partial_has_layer(). */
struct digest	*partial_layer(const struct partial *partial);

/*
 * Takes up what is on the disk.  The have file stores the layer too, so that a resumed fetch needs no holder for it.
 * A have file that belongs to these very bytes is believed, and nothing is read but what came after the last sync before a kill.  One that is damaged, of another content,
 * or that does not fit the data file (its inode, its length; after partial_close() its times) is ignored: then the existing bytes are read and verified
 * again if the layer is known, and dropped otherwise.  What had to be read is recorded before this returns.  *ret_read_bytes says how much was read to verify.
 */
int		 partial_load(struct partial *partial, uint64_t *ret_read_bytes, struct error *err);

bool		 partial_has(const struct partial *partial, uint64_t piece);
uint64_t	 partial_have_count(const struct partial *partial);	/* pieces verified */
uint64_t	 partial_have_bytes(const struct partial *partial);
bool		 partial_is_complete(const struct partial *partial);
/* The bits, most significant first, ⌈count / 8⌉ bytes into bits[]. */
void		 partial_bits(const struct partial *partial, unsigned char *bits);

/* From now on fn(arg, piece) is told of each piece when it is verified, on the thread that fed it.  NULL: nobody is.  Not while sinks feed. */
void		 partial_listen(struct partial *partial, void (*fn)(void *arg, uint64_t piece), void *arg);
/* Another descriptor of the bytes; -1 and errno. */
int		 partial_dup(const struct partial *partial);
/* Reads verified bytes: P2P_NOT_FOUND unless every piece that the range touches is verified, P2P_BAD_RANGE outside of
 * the content. */
int		 partial_read(const struct partial *partial, void *data, size_t len, uint64_t offset, struct error *err);
/* Gives back the disk space of whole pieces before `offset` (for streaming through): an anonymous one's, others keep
 * theirs.  Such pieces still count as had, but are no longer in partial_bits() and partial_read(). */
void		 partial_punch(struct partial *partial, uint64_t offset);

/* --- a run of pieces as it comes in --- */
struct partial_sink;

/* Pieces [first, first + count), none of them being fed by another sink (asserted).  Needs the layer.  A piece that is
 * verified already may be fed again: wrong bytes do not harm it. */
struct partial_sink *partial_sink_new(struct partial *partial, uint64_t first, uint64_t count);
/*
 * The same for bytes that a sender gives, a number below PARTIAL_SENDERS by which the caller knows him.  What he sent of a piece stays
 * if the run ends in its midst; the next run of that piece goes on there.  So the run may be less than was asked for: it is what
 * partial_sink_span() says.
 */
#define PARTIAL_SENDERS		64
#define PARTIAL_TORN_MAX	64		/* pieces of which a part is kept, each with 33 bytes a leaf */
struct partial_sink *partial_sink_new_from(struct partial *partial, uint64_t first, uint64_t count,
		     unsigned sender);
/* The bytes to be fed, and how many pieces they belong to, from the first on. */
void		 partial_sink_span(const struct partial_sink *sink, uint64_t *ret_offset, uint64_t *ret_len,
		     uint64_t *ret_pieces);
/* Takes the next bytes.  Hashes and writes inline, in blocks of STORE_BLOCK.  P2P_BAD_CONTENT at the first piece (or leaf that is
 * proven to be another) that does not match, or for bytes past the end; P2P_NO_SPACE, P2P_IO from the disk.  After a failure only
 * end. */
int		 partial_sink_feed(struct partial_sink *sink, const void *data, size_t len, struct error *err);
/* Frees; answers how many pieces of the run were verified, counted from `first`, and bytes that were received
 * and are of no use: neither of a verified piece, nor kept. */
void		 partial_sink_end(struct partial_sink *sink, uint64_t *ret_verified, uint64_t *ret_wasted_bytes);

/* --- pieces that came wrong --- */

/* The senders of a piece that came whole and is wrong (bit i: sender i); one of them at least lied.  0: there is no such piece, and who
 * fed it was found out by himself. */
uint64_t	 partial_suspects(struct partial *partial, uint64_t piece);

struct partial_narrowed {
	uint64_t liars;			/* senders of bad leaves; bit i: sender i */
	uint32_t leaves, bad_leaves;	/* of the piece */
	uint64_t bad_bytes;		/* in the bad ones */
};
/* Narrows a bad piece, which nobody feeds meanwhile, to its bad leaves; the others stay.  Borrows the leaves, of all the piece.
 * P2P_BAD_CONTENT if they are not its leaves: whoever gave them lied. */
int		 partial_narrow(struct partial *partial, uint64_t piece, const struct digest *leaves, size_t count,
		     struct partial_narrowed *ret, struct error *err);
/* What is here of a torn or bad piece is forgotten.  Nothing if it is neither. */
void		 partial_drop_torn(struct partial *partial, uint64_t piece);
/* What this sender gave of torn pieces is forgotten, unless it is proven.  Answers how many bytes those were. */
uint64_t	 partial_distrust(struct partial *partial, unsigned sender);
/* From now on each piece comes whole from one sender, so that blame is exact without proofs. */
void		 partial_all_or_none(struct partial *partial);

/* --- durability --- */

/* fdatasync of the bytes, then the have file atomically enough: never claims what is not durable.  Cheap when nothing is new.
 * On failure the partial is marked broken: every later sync and publish fails too, until it is opened and loaded anew. */
int		 partial_sync(struct partial *partial, struct error *err);
/* Ends the use of a partial that was loaded, and is not fed any more (asserted): syncs, notes how the data file looks now, and
 * frees.  The next partial_load() reads nothing if the file still looks so, and verifies it again if not.  One that is
 * broken, published or finished is just freed; if the sync fails, it is as after partial_free(). */
void		 partial_close(struct partial *partial);
/* All pieces verified: durable, mode and mtime set, renamed to `name` in the share, have file removed. Fills *ret_sig.
 * Of the mode only 0777 less the umask counts.  P2P_CONFLICT while pieces are missing.
 * FILE_KEEP_EXISTING: P2P_EXISTS if another file has the name. */
int		 partial_publish(struct partial *partial, const char *name, mode_t mode, int64_t mtime_ns,
		     enum file_replace replace, struct file_sig *ret_sig, struct error *err);
/* The same for a foreign one: durable; mode and mtime are set as given if the file is ours to set them (else that is left
 * to its owner, without an error); the owner of the descriptors renames.  Loaded once more after that, it is verified again. */
int		 partial_finish(struct partial *partial, mode_t mode, int64_t mtime_ns, struct error *err);
/* Removes both files (share) or empties them (foreign), and frees. */
void		 partial_discard(struct partial *partial);
/* Removes partials of the share whose content no fetch wants (`is_wanted` says). */
void		 partial_sweep(struct store *store, bool (*is_wanted)(void *arg, const char *stem), void *arg);
/* The stem of the two file names of a content: "<root in hex>-<size>". */
#define PARTIAL_STEM_SIZE (DIGEST_HEX_SIZE + 21)
void		 partial_stem(const struct content_id *content, char ret[PARTIAL_STEM_SIZE]);

#endif
