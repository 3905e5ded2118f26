/* SPDX-License-Identifier: MIT
 *
 * buf.h - a growing byte string that is born with its maximum.
 *
 * Append blindly, check once: a buffer that would pass its maximum becomes `full`,
 * keeps what it had and ignores the rest.  Out of memory ends the process (mem.h).
 * One thread at a time.
 */
#ifndef P2PD_BUF_H
#define P2PD_BUF_H

#include <stdbool.h>
#include <stddef.h>

struct buf {
	char *data;		/* always NUL behind len, unless nothing was ever added */
	size_t len;		/* bytes in use */
	size_t cap;		/* bytes allocated */
	size_t max_bytes;	/* of len */
	bool full;		/* something did not fit */
};

void	 buf_init(struct buf *buf, size_t max_bytes);
void	 buf_fini(struct buf *buf);
/* Empties it, keeps the memory, forgives `full`. */
void	 buf_reset(struct buf *buf);
void	 buf_add(struct buf *buf, const void *data, size_t len);
void	 buf_adds(struct buf *buf, const char *string);
void	 buf_addf(struct buf *buf, const char *format, ...)
	     __attribute__((format(printf, 2, 3)));
/* Drops the first `len` bytes. */
void	 buf_drop(struct buf *buf, size_t len);
/* Gives the NUL-terminated bytes (free()); the buffer is empty afterwards. */
char	*buf_give(struct buf *buf);

#endif
