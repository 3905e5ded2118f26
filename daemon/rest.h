/* SPDX-License-Identifier: MIT
 *
 * rest.h - the REST face: libmicrohttpd, routes, and nothing that is not HTTP.
 *
 * p2pd-rest(7) and the OpenAPI description are held against rest_route() by a test.
 */
#ifndef P2PD_REST_H
#define P2PD_REST_H

#include "config.h"
#include "service.h"

struct rest;

/* Starts listening on every [rest] listen address; NULL and err (which names the address).  Borrows the service.  Mind, before the
 * loop runs or in it. */
struct rest	*rest_new(struct service *service, struct config *config, struct error *err);
/* The ports that were bound, in the order of [rest] listen (port 0 became a real one). */
size_t		 rest_ports(const struct rest *rest, uint16_t *ports, size_t max);
void		 rest_configure(struct rest *rest, struct config *config);	/* any thread */
/* Stops listening, ends event streams and gateway streams, waits for the threads.  loop_refuse_calls() was called before.  Mind. */
void		 rest_free(struct rest *rest);

/* The table, for documents and tests. */
struct rest_route {
	const char *method;		/* "GET" */
	const char *path;		/* "/v1/files/{name}" */
	const char *help;
};
bool		 rest_route(size_t index, struct rest_route *ret);
/* The OpenAPI 3.1 document that is served. */
const char	*rest_openapi(void);

#endif
