/* SPDX-License-Identifier: MIT
 *
 * broker_inner.h - what the files of the broker share, and nobody else.
 *
 *	broker.c		life, the thread, status
 *	broker_publish.c	from the outbox to the broker, in order
 *	broker_notices.c	notices, both ways
 *	broker_link.c		one connection
 */
#ifndef P2PD_BROKER_INNER_H
#define P2PD_BROKER_INNER_H

#include <stdatomic.h>

#include "broker.h"
#include "broker_link.h"

#define BROKER_WINDOW		128	/* messages that are not confirmed yet */
#define BROKER_CONFIRM_MS	60000	/* a broker that confirms nothing for so long is given up */
#define BROKER_NOTICES_MAX	1000	/* from others, until the mind takes them; the oldest go first */
#define BROKER_TELL_MS		50	/* own changes are gathered for one notice */
#define BROKER_QUIET_MS		60000	/* between two lines of the log about rubbish */

/* On their way, in order; the broker's thread. */
struct publisher {
	struct broker *broker;
	struct sent {
		uint64_t no;		/* in the outbox */
		size_t bytes;
		bool is_confirmed;
	} window[BROKER_WINDOW];	/* a ring */
	size_t first, count, bytes;
	uint64_t first_tag;		/* of the ring's first */
	uint64_t read_no;		/* sent up to here */
	uint64_t arrived_no;		/* confirmed without a gap up to here */
	uint64_t dropped_no;		/* of those, out of the outbox */
	uint64_t moved_ms;		/* when the broker last confirmed something, or had nothing to confirm */
	bool has_more;			/* the outbox may have more than was read */
};

/* From others; under its own lock. */
struct inbox {
	pthread_mutex_t mu;
	struct notice items[BROKER_NOTICES_MAX];	/* a ring */
	size_t first, count;
	bool is_posted;			/* the mind is on its way */
};

struct broker {
	struct broker_parts parts;
	struct config *config;		/* a reference */
	struct amqp_url url;		/* is_on only */
	bool is_on;
	struct events_listener *listener;
	bool is_stopped;		/* the mind's: nothing more goes into the outbox */

	pthread_t thread;
	bool has_thread;
	int wake_fd;			/* an eventfd: there is something to do */
	atomic_bool is_stopping, is_outbox_moved, is_notice_due, is_retry_wanted;
	struct link_guard guard;

	/* The broker's thread. */
	struct broker_link *link;
	struct publisher publisher;
	uint64_t told_ms;		/* when our last notice left */
	uint64_t rubbish_ms;		/* when rubbish was last complained of */
	bool is_blocked;

	struct inbox *inbox;

	pthread_mutex_t mu;		/* of what follows, for broker_status() */
	bool is_connected;
	bool is_blocked_told;
	uint64_t since_ms;
	char why[ERROR_TEXT_MAX];
};

/* broker_publish.c; broker's thread */
void	publisher_begin(struct publisher *publisher);	/* a new connection: what was not confirmed goes once more */
/* Sends what the window has room for. */
int	publisher_fill(struct publisher *publisher, struct error *err);
/* P2P_BAD_ANSWER if the broker means something that was not sent; P2P_UNREACHABLE if it refused one. */
int	publisher_answered(struct publisher *publisher, const struct link_news *news, struct error *err);
/* Lets what arrived out of the outbox: when it is worth a transaction, or at once. */
void	publisher_drop(struct publisher *publisher, bool at_once);
bool	publisher_is_stuck(const struct publisher *publisher, uint64_t now_ms);
/* "file-added": "file.added" */
void	broker_routing_key(enum event_kind kind, char ret[32]);

/* broker_notices.c */
/* Sends ours if one is due; otherwise *ret_wait_ms is lowered to when it is.  Broker's thread. */
int	notices_tell(struct broker *broker, uint64_t now_ms, int *ret_wait_ms, struct error *err);
/* One came, or (data NULL) something too long. */
void	notices_take(struct broker *broker, const char *data, size_t len);

#endif
