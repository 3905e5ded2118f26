/* SPDX-License-Identifier: MIT
 *
 * rest_client.h - the transport over HTTP: libcurl.
 *
 * One thread drives all small requests; up to `lanes` further threads move file bytes, each with a curl multi of its own, so
 * that verifying (which the sinks do inline, while the bytes are hot) uses more than one core, and a slow disk behind a sink
 * delays no greeting.  Connections are kept and reused.  http only, no redirects, no proxy, no netrc.
 */
#ifndef P2PD_REST_CLIENT_H
#define P2PD_REST_CLIENT_H

#include <stdbool.h>

#include "address_guard.h"
#include "loop.h"
#include "transport.h"
#include "transport_limit.h"

#define REST_CLIENT_LANES_MAX	8

/* Deadlines; at first those of transport.h. */
struct rest_client_limits {
	unsigned connect_ms;		/* of a connection */
	unsigned answer_ms;		/* of a small request in all */
	unsigned stall_ms;		/* read: ends after so long below stall_bps */
	unsigned stall_bps;		/* bytes per second */
};

/* lanes 1 to 8.  Gives a transport; NULL and err. */
struct transport *rest_client_new(struct loop *loop, unsigned lanes, struct error *err);
/* Mind.  Before the first request. */
void		 rest_client_limit(struct transport *transport, const struct rest_client_limits *limits);
/* Mind.  Before the first request: the limits of bandwidth of reads. */
void		 rest_client_throttle(struct transport *transport, const struct transport_limit *limit);
/* Mind.  Before the first request: where it may not connect to, whatever a name resolved to (P2P_UNREACHABLE).  Copies the guard;
 * at first it is all zero. */
void		 rest_client_guard(struct transport *transport, const struct address_guard *guard);
/* Mind.  Ends every request (their done functions are called, with P2P_SHUTTING_DOWN, before this returns) and joins the threads. */
void		 rest_client_free(struct transport *transport);

#endif
