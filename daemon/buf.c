/* SPDX-License-Identifier: MIT
 *
 * buf.c - a growing byte string that is born with its maximum.
 *
 * Meant for answers and for input of unknown length: append without looking, and ask once
 * at the end whether it was `full`.  A piece that does not fit is left out whole, and so is
 * everything after it: what is in the buffer is always a prefix of what was meant.
 *
 * Memory doubles up to the maximum.  One byte more than `len` is always there for the NUL,
 * which lets text be handed to anybody who wants a string.
 */
#include "buf.h"

#include <assert.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"

#define FIRST_BYTES 64 /* of the first allocation */

void
buf_init(struct buf *buf, size_t max_bytes)
{
	/* Sums of two lengths and a NUL must not wrap. */
	assert(max_bytes < SIZE_MAX / 2);
	*buf = (struct buf){ .max_bytes = max_bytes };
}

void
buf_fini(struct buf *buf)
{
	free(buf->data);
	*buf = (struct buf){ .max_bytes = buf->max_bytes };
}

void
buf_reset(struct buf *buf)
{
	buf->len = 0;
	buf->full = false;
	if (buf->data != NULL)
		buf->data[0] = '\0';
}

/* True if there is room now for `len` bytes and a NUL; else the buffer is full. */
static bool
make_room(struct buf *buf, size_t len)
{
	if (buf->full || len > buf->max_bytes - buf->len) {
		buf->full = true;
		return false;
	}

	size_t needed = buf->len + len + 1;
	if (needed <= buf->cap)
		return true;

	size_t cap = buf->cap > 0 ? 2 * buf->cap : FIRST_BYTES;
	if (cap > buf->max_bytes + 1)
		cap = buf->max_bytes + 1;
	if (cap < needed)
		cap = needed;
	buf->data = mem_grow(buf->data, cap, 1);
	buf->cap = cap;
	return true;
}

void
buf_add(struct buf *buf, const void *data, size_t len)
{
	if (!make_room(buf, len))
		return;
	if (len > 0)
		memcpy(buf->data + buf->len, data, len);
	buf->len += len;
	buf->data[buf->len] = '\0';
}

void
buf_adds(struct buf *buf, const char *string)
{
	buf_add(buf, string, strlen(string));
}

void
buf_addf(struct buf *buf, const char *format, ...)
{
	va_list args, again;

	va_start(args, format);
	va_copy(again, args);
	/* A size of nought only measures, and then the pointer may be NULL. */
	size_t room = buf->cap - buf->len;
	int len = vsnprintf(buf->data != NULL ? buf->data + buf->len : NULL, room, format, args);

	assert(len >= 0);
	if (make_room(buf, (size_t)len)) {
		if ((size_t)len >= room)
			vsnprintf(buf->data + buf->len, (size_t)len + 1, format, again);
		buf->len += (size_t)len;
	} else if (buf->data != NULL) {
		buf->data[buf->len] = '\0';
	}
	va_end(again);
	va_end(args);
}

void
buf_drop(struct buf *buf, size_t len)
{
	assert(len <= buf->len);
	if (len == 0)
		return;
	buf->len -= len;
	/* With the NUL. */
	memmove(buf->data, buf->data + len, buf->len + 1);
}

char *
buf_give(struct buf *buf)
{
	char *data = buf->data != NULL ? buf->data : mem_zero(1, 1);

	*buf = (struct buf){ .max_bytes = buf->max_bytes };
	return data;
}
