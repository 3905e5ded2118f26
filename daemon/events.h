/* SPDX-License-Identifier: MIT
 *
 * events.h - what happened, for whoever listens.  Mind's thread, except event_ref/unref and the look-ups.
 *
 * The newest EVENTS_KEPT events of a kept kind stay at hand, so that a listener who was away can go on after the
 * last one seen.  An event is immutable once published.
 */
#ifndef P2PD_EVENTS_H
#define P2PD_EVENTS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "change.h"
#include "loop.h"

#define EVENTS_KEPT	4096
#define EVENTS_OTHER_RUN UINT64_MAX	/* a position that this run never gave */

enum event_kind {
#define EVENT(symbol, name, code, kept, help) EVENT_##symbol,
#include "events.def"
#undef EVENT
	EVENT_KINDS
};

struct event {
	uint64_t id;			/* 1, 2, 3 ... within this run; 0: not kept; of EVENTS_LOST: go on after this one */
	enum event_kind kind;
	int64_t wall_ms;
	char peer[PEER_ID_SIZE];	/* whom it concerns; "" for nobody */
	char *peer_name;		/* that peer's name for people, or NULL */
	char *name;			/* of the file or what is fetched, or NULL */
	struct content_id content;	/* of the file; zero if there is none */
	bool has_content;
	int64_t mtime_ns;		/* of the file, with its content */
	uint64_t follow;		/* the follow's number, 0 for none */
	uint64_t fetch;			/* the fetch's number, 0 for none */
	uint64_t done_bytes, total_bytes, rate_bps;	/* of a fetch; bytes, bytes, bytes per second */
	uint32_t done_files, total_files, sources;	/* of a fetch */
	uint64_t lost;			/* of EVENTS_LOST: how many; 0: unknown */
	int code;			/* why it failed or waits; P2P_OK */
	char *text;			/* the same in words, or NULL */
	atomic_uint refs;
};

const char	*event_name(enum event_kind kind);
int		 event_code(enum event_kind kind);	/* control code, 6xx */
bool		 event_is_kept(enum event_kind kind);
const char	*event_help(enum event_kind kind);
/* Does its id say where to go on after it?  Passing news has none. */
bool		 event_has_id(const struct event *event);
/* Why it failed or waits, or what is to be known besides, in words: what every face tells.  NULL: nothing.  Borrowed from the event. */
const char	*event_text(const struct event *event);

/* A cleared event of this kind with one reference, to be filled and published. */
struct event	*event_new(enum event_kind kind);
struct event	*event_ref(struct event *event);	/* any thread */
void		 event_unref(struct event *event);	/* any thread; NULL is nothing */

struct events;
struct events_listener;
typedef void	(*events_fn)(void *arg, struct event *event);	/* borrows: event_ref to keep */

struct events	*events_new(void);
void		 events_free(struct events *events);
/* A number that differs from run to run; (run, id) names an event for ever. */
uint64_t	 events_run(const struct events *events);
uint64_t	 events_last_id(const struct events *events);
/* The newest id that is no longer at hand; 0: all of this run are. */
uint64_t	 events_gone_id(const struct events *events);

/* Numbers it if its kind is kept, and tells every listener.  Takes the reference. */
void		 events_publish(struct events *events, struct event *event);

/*
 * Calls fn for every event from now on; first, during this call, for the kept ones after `after_id` (events_last_id():
 * none).  If some of those are gone already, or after_id was never given (EVENTS_OTHER_RUN: it is of another run), an
 * EVENTS_LOST comes first, which says what it can of the gap and has the id to go on after, and then whatever is kept.
 * fn must not publish, and may free its own listener.
 */
struct events_listener *events_listen(struct events *events, uint64_t after_id, events_fn fn, void *arg);
void		 events_listener_free(struct events_listener *listener);

#endif
