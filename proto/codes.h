/* SPDX-License-Identifier: MIT
 *
 * codes.h - the one list of errors, as an enum and as look-ups.  Any thread.
 */
#ifndef P2PD_CODES_H
#define P2PD_CODES_H

enum code {
	P2P_OK = 0,
	P2P_CODES_START = -1000,	/* codes count up from here */
#define CODE(symbol, slug, http, grpc, title) P2P_##symbol,
#include "codes.def"
#undef CODE
	P2P_CODES_END
};

/* The slug of an error code, "internal" for what is none. */
const char	*code_slug(int code);
/* The fixed title of an error code (RFC 9457 `title`). */
const char	*code_title(int code);
/* The HTTP status, which is the control code too; 200 for P2P_OK. */
int		 code_http(int code);
/* The code of a slug; P2P_INTERNAL if there is no such slug.  Borrows. */
int		 code_of_slug(const char *slug);

#endif
