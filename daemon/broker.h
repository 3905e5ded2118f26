/* SPDX-License-Identifier: MIT
 *
 * broker.h - events to a message broker (AMQP 0-9-1), and notices by it.  Mind's thread, but for broker_status().
 *
 * It has a thread of its own, which alone speaks to the broker; nobody ever waits for it.  Without [amqp] url nothing of this
 * exists: broker_new() gives one that does nothing, has no thread and loads no library.
 */
#ifndef P2PD_BROKER_H
#define P2PD_BROKER_H

#include "catalog.h"
#include "config.h"
#include "events.h"
#include "loop.h"
#include "peers.h"
#include "service.h"

struct broker;

struct broker_parts {
	struct loop *loop;
	struct catalog *catalog;
	struct events *events;
	struct peers *peers;
	const char *self;		/* this peer's id */
};

/* Begins to fill the outbox, and to connect.  Borrows the parts.  After catalog_on_commit(), before the catalog's first change.  NULL
 * and err if it cannot have what it needs; that there is no library, or no broker, is told by its status and the log. */
struct broker	*broker_new(const struct broker_parts *parts, struct config *config, struct error *err);
/* Connects now if it pauses after a failure: something may have been mended.  NULL is nothing. */
void		 broker_retry(struct broker *broker);
/* Begins to end its thread, and waits for nothing; events still go into the outbox.  NULL is nothing. */
void		 broker_stop(struct broker *broker);
/* Waits for that; after a second the connection is broken off.  From now on events are nothing.  While the catalog still takes batches.
 * NULL is nothing. */
void		 broker_join(struct broker *broker);
/* Once the catalog has delivered everything, and before events and peers are freed.  NULL is nothing. */
void		 broker_free(struct broker *broker);

/* How it is.  Any thread. */
void		 broker_status(const struct broker *broker, struct service_broker *ret);

#endif
