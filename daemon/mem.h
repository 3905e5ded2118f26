/* SPDX-License-Identifier: MIT
 *
 * mem.h - allocation that does not fail: out of memory ends the process with a line in
 * the log.  Sizes from outside are compared with a named limit before they come here.
 * Everything is freed by free().  Any thread.
 */
#ifndef P2PD_MEM_H
#define P2PD_MEM_H

#include <stddef.h>

void	*mem_alloc(size_t bytes);			/* not cleared */
void	*mem_zero(size_t count, size_t bytes);		/* cleared; the product is checked */
void	*mem_grow(void *old, size_t count, size_t bytes);	/* realloc; the product is checked */
void	*mem_copy(const void *data, size_t count, size_t bytes);	/* of an array, as mem_zero(); NULL of nothing */
char	*mem_string(const char *string);		/* strdup; NULL gives NULL */
char	*mem_format(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
