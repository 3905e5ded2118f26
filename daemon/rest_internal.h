/* SPDX-License-Identifier: MIT
 *
 * rest_internal.h - what the files of the REST face share.  Nobody else includes it.
 *
 * rest.c          listeners, life cycle
 * rest_conn.c     connections: how many, and how long they may take
 * rest_request.c  one request, from its first line to its completion
 * rest_answer.c   responses
 * rest_route.c    the table
 * rest_api.c rest_health.c rest_files.c rest_layer.c rest_batch.c rest_have.c rest_upload.c rest_gateway.c
 * rest_events.c
 *                 what the table points to
 * rest_pause.c    connections that wait for the mind
 * rest_throttle.c file bytes under a limit of bandwidth
 * rest_parse.c rest_guard.c
 *                 pure
 *
 * Threads: requests live on one of libmicrohttpd's threads each.  `struct rest` is shared; what
 * is not constant in it is under `mu`, or said to be the mind's.
 */
#ifndef P2PD_REST_INTERNAL_H
#define P2PD_REST_INTERNAL_H

#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>

#include "buf.h"
#include "metrics.h"
#include "rest.h"
#include "rest_guard.h"
#include "rest_parse.h"
#include "wire_json.h"

/* bytes of memory for a request's header, and its answer's */
#define REST_HEADER_MAX		(32u << 10)
#define REST_IDLE_S		60		/* a connection without a byte either way */
/* bytes of a refused body that are read for the sake of a good answer */
#define REST_DRAIN_MAX		(1u << 20)
#define REST_BODY_BPS		1024		/* bytes per second that a body must bring at least, over [rest] body_timeout */
/* bytes: answers up to this are read into memory and sent at once */
#define REST_INLINE_MAX		(64u << 10)
#define REST_HEARTBEAT_MS	15000		/* between comments on an event stream */

/* --- the face --- */

struct rest_pacer;
struct rest_pause;
struct rest_stream;

struct rest_listener {
	struct rest *rest;
	struct MHD_Daemon *daemon;
	uint16_t port;
};

struct rest {
	struct service *service;	/* borrowed */
	struct loop *loop;		/* borrowed */
	atomic_uint refs;		/* the owner's, and one for each post under way */
	size_t listener_count;
	struct rest_listener listeners[CONFIG_LIST_MAX];

	pthread_mutex_t mu;		/* all until the next blank line */
	struct config *config;
	struct rest_conn *conns;	/* every open connection */
	unsigned conn_count;
	bool is_watched;		/* the watch timer runs, or was asked to */
	struct rest_pause *pauses;	/* connections that may be suspended */
	bool is_stopping;

	struct loop_timer *watch_timer;	/* the mind's */
	struct loop_timer *beat_timer;	/* the mind's */
	struct rest_stream *streams;	/* the mind's: event streams */
};

struct rest	*rest_ref(struct rest *rest);
void		 rest_unref(struct rest *rest);
struct config	*rest_config(struct rest *rest);	/* gives a reference */

/* --- connections (rest_conn.c) --- */

/* How many there may be at once: [rest] connections, or as many as fit below the limit on open files. */
unsigned	 rest_conn_max(const struct config *config);

/* Where a connection stands, for the deadlines. */
enum rest_step {
	REST_STEP_HEADER,	/* a header is due: from the start, or since its first bytes */
	REST_STEP_BODY,
	REST_STEP_REPLY,
	REST_STEP_IDLE,		/* kept alive */
};

struct rest_conn {
	struct rest_conn *next, **link;	/* in rest->conns */
	struct rest *rest;
	int fd;				/* borrowed from the library */
	struct rest_local local;
	char peer[REST_LITERAL_SIZE];	/* literal address of the client */
	atomic_uint step;		/* a count in the upper bits, enum rest_step in the lower two; one writer */
	unsigned seen_step;		/* the rest is the watch's, on the mind */
	uint64_t since_ms;
	uint64_t seen_bytes;		/* received in all when the window began */
	bool is_due;			/* a header's clock runs */
	bool is_ended;			/* the library was told again that the client sends no more */
};

enum MHD_Result	 rest_conn_accept(void *listener, const struct sockaddr *address, socklen_t len);
void		 rest_conn_notify(void *listener, struct MHD_Connection *mhd, void **context,
		     enum MHD_ConnectionNotificationCode code);
/* The client closed, and all that it sent was read. */
bool		 rest_conn_is_gone(int fd);
void		 rest_conn_step(struct rest_conn *conn, enum rest_step step);

/* --- requests (rest_request.c) --- */

struct rest_request;
typedef int	(*rest_handler)(struct rest_request *req);

#define REST_WAITS		1	/* answer of a handler: it suspended the connection, and is run again after that */

enum rest_body {
	REST_NO_BODY,
	REST_JSON,	/* gathered in req->body before the handler runs */
	REST_STREAM,	/* given to feed() as it comes */
};

/* A row of the table: rest_route.c. */
struct rest_row {
	const char *method, *path, *help;
	enum rest_body body;
	rest_handler run;		/* answers, or returns a code with req->err filled, or REST_WAITS */
	rest_handler begin;		/* REST_STREAM: before the first byte */
	int (*feed)(struct rest_request *req, const char *data, size_t len);
	const char *media;		/* REST_STREAM: the only Content-Type taken, NULL: any */
};

/* Header fields that we look at; borrowed from the library. */
struct rest_head {
	struct rest_claims claims;
	const char *content_type;
	const char *content_encoding;
	const char *content_length;
	unsigned content_length_count;
	const char *transfer_encoding;
	const char *expect;
	const char *range, *if_range;
	const char *if_match, *if_none_match, *if_modified_since;
	const char *last_event_id;
	const char *mode, *mtime;	/* P2pd-Mode, P2pd-Mtime */
};

struct rest_form;
struct rest_have;
struct rest_leaves;

struct rest_request {
	struct rest *rest;
	struct rest_conn *conn;
	struct MHD_Connection *mhd;
	const struct rest_row *row;
	struct rest_target target;
	const char *var;		/* the value of the row's {variable} */
	struct rest_head head;
	bool is_begun, is_head, has_body;
	bool is_answered;		/* an answer was queued, or written past the library */
	bool must_close;		/* what follows on the connection cannot be trusted */
	int code;			/* why it is refused already; P2P_OK */
	uint64_t body_bytes;		/* that came */
	uint64_t drained_bytes;		/* of them after it was refused */
	struct buf body;
	struct service_upload *upload;	/* PUT */
	struct rest_form *form;		/* POST of a form */
	struct rest_have *have;		/* a question that may wait */
	struct rest_leaves *leaves;	/* leaf hashes that are being made */
	struct rest_pacer *pacer;	/* REST_STREAM under a limit of bandwidth */
	struct wire_candidates *candidates;	/* for P2P_AMBIGUOUS */
	char content_range[48];		/* goes with a P2P_BAD_RANGE, "" for none */
	char allow[48];			/* goes with a P2P_BAD_METHOD */
	struct error err;
	char text[];			/* the target, decoded in place */
};

void		*rest_request_new(void *listener, const char *uri, struct MHD_Connection *mhd);
enum MHD_Result	 rest_request_handle(void *listener, struct MHD_Connection *mhd,
		     const char *url, const char *method, const char *version, const char *data,
		     size_t *data_size, void **context);
void		 rest_request_done(void *listener, struct MHD_Connection *mhd, void **context,
		     enum MHD_RequestTerminationCode why);
/* A decimal parameter; `fallback` if it was not given. P2P_BAD_REQUEST. */
int		 rest_request_number(struct rest_request *req, const char *key, uint64_t max,
		     uint64_t fallback, uint64_t *ret);
/* The root of the path and the size of the query.  P2P_BAD_REQUEST. (rest_files.c) */
int		 rest_request_content(struct rest_request *req, struct content_id *ret);
void		 rest_candidate(void *req, const struct catalog_found *found);	/* service_candidate_fn */

/* --- answers (rest_answer.c) --- */

/* Adds a header field to a response. */
void		 rest_field(struct MHD_Response *response, const char *name, const char *value);
/* Queues, drops our reference, counts.  Always P2P_OK: the request is answered. */
int		 rest_answer(struct rest_request *req, unsigned status, struct MHD_Response *response);
/* takes text (free()) */
int		 rest_answer_json(struct rest_request *req, unsigned status, char *text);
int		 rest_answer_empty(struct rest_request *req, unsigned status);
/* The problem document for req->code and req->err. */
void		 rest_answer_problem(struct rest_request *req);
/* The same, written past the library while a body still comes; the connection ends after it. */
void		 rest_answer_raw(struct rest_request *req);

/* --- the table (rest_route.c) --- */

/* Finds the row; P2P_NOT_FOUND, P2P_BAD_METHOD with req->allow. */
int		 rest_route_find(struct rest_request *req, const char *method);

int	rest_get_node(struct rest_request *req);
int	rest_get_peers(struct rest_request *req);
int	rest_post_peers(struct rest_request *req);
int	rest_delete_peer(struct rest_request *req);
int	rest_get_search(struct rest_request *req);
int	rest_get_catalog(struct rest_request *req);
int	rest_post_notice(struct rest_request *req);
int	rest_get_fetches(struct rest_request *req);
int	rest_post_fetches(struct rest_request *req);
int	rest_get_fetch(struct rest_request *req);
int	rest_delete_fetch(struct rest_request *req);

/* --- rest_follows.c --- */
int	rest_get_follows(struct rest_request *req);
int	rest_post_follows(struct rest_request *req);
int	rest_delete_follow(struct rest_request *req);
int	rest_get_health(struct rest_request *req);
int	rest_get_metrics(struct rest_request *req);
int	rest_get_openapi(struct rest_request *req);
int	rest_get_file(struct rest_request *req);
int	rest_delete_file(struct rest_request *req);
int	rest_get_content(struct rest_request *req);
int	rest_get_layer(struct rest_request *req);
void	rest_leaves_free(struct rest_leaves *leaves);	/* NULL is nothing */
int	rest_post_batch(struct rest_request *req);
int	rest_post_directories(struct rest_request *req);
int	rest_get_have(struct rest_request *req);
void	rest_have_free(struct rest_have *have);	/* NULL is nothing */
int	rest_put_begin(struct rest_request *req);
int	rest_put_feed(struct rest_request *req, const char *data, size_t len);
int	rest_put_file(struct rest_request *req);
int	rest_form_begin(struct rest_request *req);
int	rest_form_feed(struct rest_request *req, const char *data, size_t len);
int	rest_form_files(struct rest_request *req);
void	rest_form_free(struct rest_form *form);
int	rest_get_events(struct rest_request *req);

/* --- streams from elsewhere (rest_gateway.c) --- */

/* A response of [first, first + len) of a stream.  Takes the stream. */
struct MHD_Response *rest_gateway_response(struct rest_request *req,
		     struct fetch_stream *stream, uint64_t first, uint64_t len);

/* --- waiting (rest_pause.c) --- */

/*
 * A connection whose content reader, or handler, has to wait.  The reader calls rest_pause_wait() instead of
 * returning bytes; whoever has news calls rest_pause_wake(), on any thread, any number of
 * times.
 */
struct rest_pause {
	struct rest_pause *next, **link;	/* in rest->pauses */
	struct rest *rest;
	struct MHD_Connection *mhd;
	int fd;					/* of the connection; borrowed from the library */
	pthread_mutex_t mu;
	bool is_suspended, is_woken, is_over;	/* under mu */
};
void		 rest_pause_init(struct rest_pause *pause, struct rest_request *req);
void		 rest_pause_fini(struct rest_pause *pause);
/* Suspends the connection unless somebody woke it since the last call.  False: it is over, end
 * the answer. */
bool		 rest_pause_wait(struct rest_pause *pause);
/* The same for a handler, which has no bytes to wait for.  True: the connection is suspended, the handler is to return
 * REST_WAITS.  False: somebody woke it already, or it is over. */
bool		 rest_pause_suspend(struct rest_pause *pause);
void		 rest_pause_wake(struct rest_pause *pause);
/* Ends it if the client left, which a suspended connection does not notice. */
void		 rest_pause_look(struct rest_pause *pause);
/* From now on nothing waits; who waits is woken. */
void		 rest_pause_end(struct rest_pause *pause);

/* --- file bytes under a limit (rest_throttle.c) --- */

/* Whoever gives or takes bytes in their turn.  Embedded; one thread at a time. */
struct rest_pacer {
	struct rest_pause pause;
	struct throttle *throttle;
	struct throttle_wait wait;
	struct rate *rate;
	struct rate_turn turn;
	char peer[REST_LITERAL_SIZE];
};
void		 rest_pacer_init(struct rest_pacer *pacer, struct rest_request *req, struct rate *rate);
void		 rest_pacer_fini(struct rest_pacer *pacer);
/* For a content reader: how many bytes it may give now, 1 to `most`; else what it is to return, 0 (the connection is suspended until
 * its turn) or the end. */
ssize_t		 rest_pacer_ask(struct rest_pacer *pacer, size_t most);
void		 rest_pacer_pass(struct rest_pacer *pacer, size_t len);
/* There is a limit now: rest_pacer_ask() may make the connection wait. */
bool		 rest_pacer_is_limited(const struct rest_pacer *pacer);
/* Files go by rest_paced_response() now. */
bool		 rest_is_paced(struct rest_request *req);
/* Bytes [first, first + len) of a file, in their turn.  Borrows the reader. */
struct MHD_Response *rest_paced_response(struct rest_request *req, struct store_reader *reader,
		     uint64_t first, uint64_t len);
/* The next `len` bytes of a body come before their turn: they are to stay with the library, and the connection is suspended. */
bool		 rest_body_waits(struct rest_request *req, size_t len);
void		 rest_body_free(struct rest_request *req);

/* --- event streams (rest_events.c) --- */

/* Mind.  Ends them all. */
void		 rest_events_stop(struct rest *rest);

#endif
