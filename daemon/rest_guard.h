/* SPDX-License-Identifier: MIT
 *
 * rest_guard.h - whether a request was meant for this peer, and not sent by a page in
 * somebody's browser.  No I/O; any thread.
 */
#ifndef P2PD_REST_GUARD_H
#define P2PD_REST_GUARD_H

#include <stdbool.h>
#include <stdint.h>

#include "config.h"
#include "error.h"

#define REST_LITERAL_SIZE	64	/* bytes of "[v6]:port", with NUL */

/* Our side of a connection. */
struct rest_local {
	char host[REST_LITERAL_SIZE];		/* literal address without brackets or zone */
	char literal[REST_LITERAL_SIZE];	/* as it stands in Host: "127.0.0.1:5001", "[::1]:5001" */
	uint16_t port;
	bool is_loopback;
};

/* What a request says of where it wants to go and where it comes from; NULL if absent. */
struct rest_claims {
	unsigned host_count;
	const char *host;
	const char *origin;
	const char *fetch_site;		/* Sec-Fetch-Site */
};

/* Fills in the literal forms; `host` as getnameinfo() gives it (a zone is cut off). */
void	rest_local_make(const char *host, uint16_t port, struct rest_local *ret);
/* 0; P2P_BAD_REQUEST: no Host or several; P2P_MISDIRECTED: a Host that is none of ours;
 * P2P_FORBIDDEN: from another site. */
int	rest_guard(const struct config *config, const struct rest_local *local,
	    const struct rest_claims *claims, struct error *err);

#endif
