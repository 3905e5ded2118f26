/* SPDX-License-Identifier: MIT
 *
 * conn.h - p2pctl's end of the control protocol: connect, greet, ask.  One thread; waits.
 */
#ifndef P2PCTL_CONN_H
#define P2PCTL_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "line.h"

/* One line of a reply, or an event. */
struct record {
	int code;
	bool is_final;
	char *word;			/* "peer", "file" ...; of an event its name; "" for none */
	size_t count;
	char **keys, **values;
	char *memory;			/* of all the texts */
};

struct reply {
	size_t count;
	struct record *records;		/* without the final one */
	struct record final;
};

/* NULL if there is no such key. */
const char	*record_text(const struct record *record, const char *key);
/* `fallback` if there is no such key, or no number. */
uint64_t	 record_number(const struct record *record, const char *key, uint64_t fallback);
void		 record_fini(struct record *record);
void		 reply_fini(struct reply *reply);
/* Moves `from`'s records behind `to`'s, and its final line into `to`. */
void		 reply_append(struct reply *to, struct reply *from);

/* A request line that is built word by word. */
struct request {
	char text[LINE_MAX_BYTES];
	size_t len;
	bool is_too_long;		/* such a one is refused by conn_ask() */
};
void		 request_init(struct request *request, const char *command);
void		 request_word(struct request *request, const char *word);
void		 request_pair(struct request *request, const char *key, const char *value);
void		 request_number(struct request *request, const char *key, uint64_t number);

struct conn;

/* Why the talk ended. */
enum conn_result {
	CONN_OK = 0,
	CONN_LOST = -1,			/* conn_why() says why */
	CONN_INTERRUPTED = -2,		/* SIGINT or SIGTERM came, after conn_catch_signals() */
	CONN_TIMEOUT = -3,
};

typedef void	(*conn_event_fn)(void *arg, const struct record *event);	/* borrows */

/* Where the daemon's socket is if nobody says.  Gives: free(). */
char		*conn_default_socket(void);
/* Connects and reads the greeting.  Never NULL; if conn_why() is not NULL it did not work. */
struct conn	*conn_open(const char *socket, bool is_traced);
void		 conn_close(struct conn *conn);
const char	*conn_why(const struct conn *conn);
/* Events that come while a reply is awaited go to `fn` (else they are dropped). */
void		 conn_on_event(struct conn *conn, conn_event_fn fn, void *arg);
/* From now on SIGINT and SIGTERM end a waiting with CONN_INTERRUPTED. */
void		 conn_catch_signals(struct conn *conn);
/* Sends the line, with `fd_count` descriptors (borrowed), and reads the reply into *ret: gives, reply_fini(). */
int		 conn_ask(struct conn *conn, const struct request *request, const int *fds, size_t fd_count,
		     struct reply *ret);
/* Waits up to timeout_ms (-1: for ever) for one event.  Gives: record_fini(). */
int		 conn_next_event(struct conn *conn, int timeout_ms, struct record *ret);

#endif
