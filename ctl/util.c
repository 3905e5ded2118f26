/* SPDX-License-Identifier: MIT
 *
 * util.c - allocation for a short-lived program: without memory there is nothing to clean up.
 */
#include "util.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *
or_die(void *memory)
{
	if (memory == NULL) {
		fputs("p2pctl: out of memory\n", stderr);
		exit(1);
	}
	return memory;
}

void *
util_zero(size_t count, size_t bytes)
{
	return or_die(calloc(count > 0 ? count : 1, bytes > 0 ? bytes : 1));
}

void *
util_grow(void *old, size_t count, size_t bytes)
{
	return or_die(reallocarray(old, count > 0 ? count : 1, bytes));
}

char *
util_string(const char *text)
{
	return text == NULL ? NULL : or_die(strdup(text));
}

char *
util_format(const char *format, ...)
{
	va_list args;
	char *ret = NULL;

	va_start(args, format);
	if (vasprintf(&ret, format, args) < 0)
		ret = NULL;
	va_end(args);
	return or_die(ret);
}

bool
util_number(const char *text, uint64_t *ret)
{
	uint64_t number = 0;

	if (text == NULL || text[0] == '\0')
		return false;
	for (; *text != '\0'; text++) {
		if (*text < '0' || *text > '9' || number > (UINT64_MAX - 9) / 10)
			return false;
		number = 10 * number + (uint64_t)(*text - '0');
	}
	*ret = number;
	return true;
}
