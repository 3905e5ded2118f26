/* SPDX-License-Identifier: MIT
 *
 * util.h - allocation that ends the process where it fails, for p2pctl.  Everything is freed by free().
 */
#ifndef P2PCTL_UTIL_H
#define P2PCTL_UTIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void	*util_zero(size_t count, size_t bytes);
void	*util_grow(void *old, size_t count, size_t bytes);
char	*util_string(const char *text);
char	*util_format(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* A decimal number and nothing else. */
bool	 util_number(const char *text, uint64_t *ret);

#endif
