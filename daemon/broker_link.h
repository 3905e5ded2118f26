/* SPDX-License-Identifier: MIT
 *
 * broker_link.h - one connection to a broker: it publishes, and says what came.  librabbitmq's only room.
 *
 * One thread at a time, which these functions may hold for as long as they say; link_break() is for any other.
 */
#ifndef P2PD_BROKER_LINK_H
#define P2PD_BROKER_LINK_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "amqp_url.h"
#include "error.h"

#define LINK_CONNECT_MS	3000	/* for TCP, and TLS, together */
#define LINK_ANSWER_MS	10000	/* for each answer that is waited for, and for the greeting as a whole */
#define LINK_CLOSE_MS	500	/* for a good-bye */
#define LINK_MESSAGE_MAX 1024	/* bytes of a message that is taken; longer ones are told as rubbish */
/* Who keeps fewer bytes than this unconfirmed is not held up by link_publish(): the kernel takes them. */
#define LINK_UNCONFIRMED_MAX	(64u << 10)

struct broker_link;

/* By which another thread ends a wait. */
struct link_guard {
	pthread_mutex_t mu;
	int fd;				/* of the connection, -1 without one */
};
void	link_guard_init(struct link_guard *guard);
void	link_guard_fini(struct link_guard *guard);
/* Whoever waits for the broker waits no more: its connection is dead.  Any thread. */
void	link_break(struct link_guard *guard);

struct link_terms {
	const struct amqp_url *url;
	const char *password;
	const char *ca;			/* of an amqps url: a file of certificates */
	const char *exchange;		/* topic, durable; is declared */
	const char *name;		/* of the connection, for the broker's own list */
	const char *listen_key;		/* messages with this binding key are told; NULL: none */
	uint32_t heartbeat_s;
};

/* Connects, logs in, declares.  Gives a link, NULL and err if not: P2P_UNREACHABLE, P2P_TIMEOUT, P2P_FORBIDDEN, P2P_BAD_ANSWER.
 * The error has no password in it. */
struct broker_link *link_open(const struct link_terms *terms, struct link_guard *guard, struct error *err);
/* With a good-bye if it `is_well`. */
void	link_close(struct broker_link *link, bool is_well);
int	link_fd(const struct broker_link *link);	/* to wait for LINK_NOTHING to become something */

struct link_message {
	const char *key, *type, *id;	/* id may be NULL */
	const char *app;
	const char *body;		/* JSON */
	int64_t wall_ms;
	bool is_lasting;		/* persistent, and confirmed: its tag is the next number from 1; else a passing one, dropped
					 * by the broker after a minute */
};
/* P2P_OK, or err as link_next(). */
int	link_publish(struct broker_link *link, const struct link_message *message, struct error *err);

enum link_what {
	LINK_NOTHING,		/* has come; wait */
	LINK_OTHER,		/* nothing that matters; go on */
	LINK_CONFIRMED,		/* the message `tag`, or all up to it */
	LINK_REFUSED,		/* the same, but the broker did not take them */
	LINK_MESSAGE,		/* `data`, `len`, borrowed until the next call */
	LINK_RUBBISH,		/* a message that is too long */
	LINK_BLOCKED,		/* the broker takes no messages for now, and why: `data` */
	LINK_UNBLOCKED,
};
struct link_news {
	enum link_what what;
	uint64_t tag;
	bool is_multiple;
	const char *data;
	size_t len;
};
/* Never waits.  Must be called at least once a heartbeat: it is what sends them.  An error is the end of the connection. */
int	link_next(struct broker_link *link, struct link_news *ret, struct error *err);

#endif
