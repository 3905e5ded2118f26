/* SPDX-License-Identifier: MIT
 *
 * mem.c - allocation that does not fail.
 *
 * A daemon that limps on after malloc failed has a thousand paths that nobody ever ran.
 * p2pd has one: say so and abort.  What was verified is on disk, and the supervisor starts
 * us again.  That is only safe because no size from outside comes here unchecked: each is
 * compared with a named limit by the module that read it.
 *
 * A size of nought is one byte here, so that NULL never means anything but "none".
 */
#include "mem.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"

static void *
or_die(void *memory, size_t count, size_t bytes)
{
	if (memory == NULL) {
		log_error("out of memory: %zu x %zu bytes", count, bytes);
		abort();
	}
	return memory;
}

void *
mem_alloc(size_t bytes)
{
	return or_die(malloc(bytes > 0 ? bytes : 1), 1, bytes);
}

/* The product of both, at least 1; a product that wraps is out of memory too. */
static size_t
product(size_t count, size_t bytes)
{
	size_t total;

	if (__builtin_mul_overflow(count, bytes, &total))
		or_die(NULL, count, bytes);
	return total > 0 ? total : 1;
}

void *
mem_zero(size_t count, size_t bytes)
{
	return or_die(calloc(1, product(count, bytes)), count, bytes);
}

void *
mem_grow(void *old, size_t count, size_t bytes)
{
	return or_die(realloc(old, product(count, bytes)), count, bytes);
}

void *
mem_copy(const void *data, size_t count, size_t bytes)
{
	size_t total = product(count, bytes);

	return count > 0 ? memcpy(mem_alloc(total), data, total) : NULL;
}

char *
mem_string(const char *string)
{
	if (string == NULL)
		return NULL;

	size_t size = strlen(string) + 1;
	return memcpy(mem_alloc(size), string, size);
}

char *
mem_format(const char *format, ...)
{
	va_list args;
	char *ret;

	va_start(args, format);
	int len = vasprintf(&ret, format, args);
	va_end(args);
	return or_die(len < 0 ? NULL : ret, 1, strlen(format));
}
