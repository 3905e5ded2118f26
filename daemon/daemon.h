/* SPDX-License-Identifier: MIT
 *
 * daemon.h - all of p2pd put together: one peer.  The mind's thread.
 *
 * main.c runs one; tests may run several in one process.
 */
#ifndef P2PD_DAEMON_H
#define P2PD_DAEMON_H

#include <stddef.h>
#include <stdint.h>

#include "config.h"
#include "error.h"
#include "loop.h"
#include "service.h"

#define DAEMON_STOP_MS	4500	/* an orderly way down takes no longer */

struct daemon;

/* Brings everything up and listens.  config_path is read again on reload (NULL: as config_load_usual()).  Borrows the path, takes a reference of the
 * configuration.  NULL and err; nothing is left behind then. */
struct daemon	*daemon_new(const char *config_path, struct config *config, struct error *err);
/* Runs until daemon_stop().  The calling thread is the mind meanwhile. */
void		 daemon_run(struct daemon *daemon);
/* Begins the way down: no new work, good-bye to the peers, verified bytes synced.  A second call ends it at once. */
void		 daemon_stop(struct daemon *daemon);
/* Reads the configuration again, as by SIGHUP; the outcome is logged. */
void		 daemon_reload(struct daemon *daemon);
/* After daemon_run() returned. */
void		 daemon_free(struct daemon *daemon);

struct loop	*daemon_loop(struct daemon *daemon);
struct service	*daemon_service(struct daemon *daemon);
/* The port of the first REST listener, 0 if there is none. */
uint16_t	 daemon_rest_port(const struct daemon *daemon);
/* The same of gRPC. */
uint16_t	 daemon_rpc_port(const struct daemon *daemon);

#endif
