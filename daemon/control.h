/* SPDX-License-Identifier: MIT
 *
 * control.h - the control face: the line protocol of p2pd-control(7) on a Unix-domain socket.  Mind's thread.
 *
 * control.def (in proto/) is the table of commands.  A command that reads the disk runs on the pool; a connection has at most
 * one command under way; its further lines wait in order.
 */
#ifndef P2PD_CONTROL_H
#define P2PD_CONTROL_H

#include "config.h"
#include "service.h"

#define CONTROL_CONNECTIONS_MAX	256	/* at once */
#define CONTROL_QUEUE_MAX	(1u << 20)	/* bytes buffered for one slow reader before events are dropped, then it is closed */
#define CONTROL_LINE_TIMEOUT_MS	10000	/* for an unfinished line */

struct control;

/*
 * Listens on `socket` ([control] socket), or takes over `listen_fd` if it is >= 0 (socket activation; taken).  A stale socket file is
 * replaced; a live one and a file that is no socket are refused and kept.  Mode 0600, or 0660 and the group of [control] group.
 */
struct control	*control_new(struct service *service, struct config *config, int listen_fd, struct error *err);
/* Closes all connections; commands under way on the pool end by themselves before pool_free() returns.  Removes the socket file. */
void		 control_stop(struct control *control);
void		 control_free(struct control *control);	/* after pool_free() */

#endif
