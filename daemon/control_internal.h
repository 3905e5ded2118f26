/* SPDX-License-Identifier: MIT
 *
 * control_internal.h - what the files of the control face share.  For control*.c alone.  Mind's thread, but for
 * the functions of a command that runs on the pool: those touch the command only, and never its connection.
 */
#ifndef P2PD_CONTROL_INTERNAL_H
#define P2PD_CONTROL_INTERNAL_H

#include <stdatomic.h>
#include <sys/types.h>

#include "buf.h"
#include "control.h"
#include "line.h"

#define CONTROL_IN_MAX		(4 * LINE_MAX_BYTES)	/* bytes received and not yet run, of one connection */
#define CONTROL_START_MAX	(64u << 10)	/* with more bytes than this to send no further command is begun */
#define CONTROL_EVENTS_MAX	(256u << 10)	/* ... and no further event is queued: it stays with `events` */
#define CONTROL_REPLY_MAX	(640u << 10)	/* bytes of one reply */
#define CONTROL_PAGE_MAX	200		/* rows of one page of search and ls */
#define CONTROL_CANDIDATES_MAX	100		/* told of an ambiguous fetch */
#define CONTROL_FDS_MAX		2		/* descriptors held for the next command */
#define CONTROL_STALL_MS	10000		/* without a byte taken of a reply */
#define CONTROL_ACCESS_MS	1000		/* for which a look at the group is believed */

/* The three together are all that one connection can have queued. */
_Static_assert(CONTROL_START_MAX + CONTROL_EVENTS_MAX + CONTROL_REPLY_MAX + LINE_MAX_BYTES <= CONTROL_QUEUE_MAX,
	       "a connection's queue is bounded");

struct command;
struct watcher;

typedef void	(*command_fn)(struct command *command);

/* Where a command runs, and when it is answered. */
enum command_place {
	COMMAND_MIND,	/* at once */
	COMMAND_HAND,	/* on the pool */
	COMMAND_LATER,	/* on the mind; after that somebody calls command_end(), there too */
};

/* A row of control.def. */
struct command_row {
	const char *name, *syntax, *help;
	size_t min_words, max_words;
	enum command_place place;
	command_fn run;
};

/* The row called `name`, or NULL; the row at `index`, or NULL past the end. */
const struct command_row *command_find(const char *name);
const struct command_row *command_at(size_t index);

/* One request, from its line to its reply.  Owned by its connection; by the pool while it runs there; by who
 * answers it later. */
struct command {
	struct control *control;	/* mind's; NULL once the face stopped */
	struct conn *conn;		/* mind's; NULL once the connection ended */
	struct command *next, **link;	/* of control->running */
	struct service *service;
	const struct command_row *row;	/* NULL: a look at the peer's rights */
	struct line line;
	int fds[CONTROL_FDS_MAX];	/* that came along; -1: none, or handed on */
	bool has_extra_fds;		/* more came than are held */
	struct buf reply;
	int code;			/* of the final line; 0 until it is written */
	atomic_bool is_abandoned;	/* whoever asked is gone; set by the mind, read by the hand */
	uint64_t fetch;			/* begun with to=fd: ends with the connection */
	uid_t uid;			/* row NULL: whose rights; and the answer: */
	gid_t gid;
	bool is_allowed;
};

struct conn {
	struct control *control;
	struct conn *next, **link;
	int fd;
	struct loop_watch *watch;
	uid_t uid;
	uint64_t allowed_until_ms;	/* UINT64_MAX for root and our own user */
	bool is_greeted;
	bool is_eof;			/* the peer will send no more */
	bool is_closing;		/* ends once everything is sent */
	bool is_dead;			/* is freed by conn_settle() */

	char *in;			/* [CONTROL_IN_MAX] */
	size_t in_len;
	int fds[CONTROL_FDS_MAX];
	size_t fd_count;
	bool has_extra_fds;
	struct loop_timer *line_timer;	/* while a line is unfinished */

	struct buf out;
	size_t reply_len;		/* bytes of `out` up to the end of the newest reply */
	struct loop_timer *stall_timer;	/* while reply_len > 0 */

	struct command *command;	/* under way on the pool */
	struct watcher *watcher;	/* NULL unless it watches */
	uint64_t *fetches;		/* begun with to=fd */
	size_t fetch_count, fetch_cap;
};

/* --- control_socket.c: the socket's file --- */

struct control_socket {
	int fd;				/* listening; -1 after control_socket_close() */
	char *path;			/* NULL: handed over by the service manager */
	dev_t device;			/* of the file, to know our own */
	ino_t inode;
};
/* Listens on `path`; group (gid_t)-1: only the owner. */
int		 control_socket_open(const char *path, gid_t group, struct control_socket *ret, struct error *err);
/* Takes over a listening socket; takes `fd`, even on failure. */
int		 control_socket_adopt(int fd, struct control_socket *ret, struct error *err);
/* Closes; removes the file if it still is ours. */
void		 control_socket_close(struct control_socket *sock);

struct control {
	struct service *service;	/* borrowed */
	struct loop *loop;		/* borrowed, of the service */
	struct pool *pool;		/* borrowed, of the service */
	bool has_group;
	gid_t group;			/* of [control] group */
	struct control_socket socket;
	struct loop_watch *watch;	/* of the listening socket */
	struct loop_timer *accept_timer;	/* while descriptors are short */
	struct conn *conns;
	size_t conn_count;
	struct command *running;	/* on the pool */
};

/* --- control_conn.c: one connection --- */

/* Takes `fd`.  Greets at once, or after a look at the peer's rights. */
void		 conn_new(struct control *control, int fd);
/* Ends it now: what it had begun on the pool becomes an orphan. */
void		 conn_free(struct conn *conn);
/* After something was put into conn->out from outside of the connection's own turn. */
void		 conn_wake(struct conn *conn);
/* The first line that it sends: who we are. */
void		 conn_greet(struct conn *conn);
/* Says why, and ends once that is sent. */
void		 conn_end_with_error(struct conn *conn, int code, const char *text);
/* After anything happened to it; may free it. */
void		 conn_settle(struct conn *conn);

/* --- control_run.c: one command of it --- */

/* Runs the line of `len` bytes, or begins to; no other command is under way. */
void		 command_run_line(struct conn *conn, const char *text, size_t len);
/* Asks the pool whether the peer may control us; greets, goes on, or ends with an error. */
void		 command_ask_rights(struct conn *conn);
/* A command that is answered later has its reply; nothing is known of its connection.  Frees it. */
void		 command_end(struct command *command);
/* A fetch into descriptors of a connection that ended; one that has ended itself stays as it is. */
void		 command_cancel_fetch(struct service *service, uint64_t fetch);

/* --- control_reply.c: lines of a reply.  Any thread --- */

/* Begins a line "CCC-word" of a record; then pairs; then reply_end(). */
void		 reply_record(struct buf *out, int code, const char *word);
/* Begins the final line "CCC"; then pairs; then reply_end(). */
void		 reply_final(struct command *command, int code);
/* Adds key=value.  A text that would make the line too long is cut; a NULL one is left out. */
void		 reply_text(struct buf *out, const char *key, const char *text);
void		 reply_number(struct buf *out, const char *key, uint64_t number);
void		 reply_flag(struct buf *out, const char *key, bool flag);	/* yes or no */
void		 reply_end(struct buf *out);
/* A whole final line "CCC slug=... text=..." of an error. */
void		 reply_error(struct command *command, const struct error *err);
void		 reply_errorf(struct command *command, int code, const char *format, ...)
		     __attribute__((format(printf, 3, 4)));
/* The line of an error to nobody's command. */
void		 reply_add_error(struct buf *out, const struct error *err);

/* --- control_watch.c --- */

/* Subscribes as a `watch` command asks; a former subscription of the connection ends. */
void		 watcher_command(struct command *command);
/* After the command's reply is in the queue: what happened since, then what happens.  Nothing if nobody watches. */
void		 watcher_go(struct conn *conn);
void		 watcher_free(struct watcher *watcher);

/* --- control_access.c --- */

/* The number of the group of that name. */
int		 access_group(const char *name, gid_t *ret, struct error *err);
/* Whether `uid` is a member of the group now; asks the name service, hence for the pool. */
bool		 access_is_member(uid_t uid, gid_t group);

#endif
