/* SPDX-License-Identifier: MIT
 *
 * codes.c - look-ups in the table of errors.
 *
 * codes.def is the table; this file expands it once and answers from it.  The
 * gRPC column is expanded by the gRPC face, which alone knows its symbols.
 */
#include "codes.h"

#include <stddef.h>
#include <string.h>

struct row {
	const char *slug;
	const char *title;
	int http;
};

static const struct row rows[] = {
#define CODE(symbol, slug, http, grpc, title) { slug, title, http },
#include "codes.def"
#undef CODE
};

static const struct row *
find_row(int code)
{
	if (code <= P2P_CODES_START || code >= P2P_CODES_END)
		code = P2P_INTERNAL;
	return &rows[code - P2P_CODES_START - 1];
}

const char *
code_slug(int code)
{
	return find_row(code)->slug;
}

const char *
code_title(int code)
{
	return find_row(code)->title;
}

int
code_http(int code)
{
	return code == P2P_OK ? 200 : find_row(code)->http;
}

int
code_of_slug(const char *slug)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (strcmp(rows[i].slug, slug) == 0)
			return P2P_CODES_START + 1 + (int)i;
	return P2P_INTERNAL;
}
