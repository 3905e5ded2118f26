/* SPDX-License-Identifier: MIT
 *
 * events.c - the newest events, and who listens to them.
 *
 * Kept events are numbered without gaps, so a ring indexed by the number holds the newest
 * EVENTS_KEPT of them, and where a listener goes on is arithmetic.  An event is shared by
 * reference: the ring has one, and whoever must send it later on takes another.
 *
 * A listener may be freed or added at any time, also from inside a callback.  While somebody is
 * being told, a freed one stays in the list as a dead entry, swept by the outermost call; an added
 * one does not hear of the event that is just being told, unless it asked for it as a kept one.
 *
 * What belongs into an event and when it is worth one is for the publishers; turning it into text,
 * for the faces.
 */
#include "events.h"

#include <assert.h>
#include <stdlib.h>

#include "clock.h"
#include "codes.h"
#include "mem.h"

struct row {
	const char *name;
	int code;
	bool is_kept;
	const char *help;
};

static const struct row rows[] = {
#define EVENT(symbol, name, code, kept, help) { name, code, kept, help },
#include "events.def"
#undef EVENT
};

struct events_listener {
	struct events *events;
	struct events_listener *next;
	events_fn fn; /* NULL: dead, to be swept */
	void *arg;
	uint64_t born; /* the turn of its birth */
};

struct events {
	uint64_t run;
	uint64_t last_id;
	uint64_t turn;    /* counts publications */
	unsigned telling; /* calls to listeners on the stack */
	struct events_listener *listeners, **tail;
	struct event *ring[EVENTS_KEPT]; /* by id % EVENTS_KEPT */
};

/* --- kinds --- */

const char *
event_name(enum event_kind kind)
{
	return rows[kind].name;
}

int
event_code(enum event_kind kind)
{
	return rows[kind].code;
}

bool
event_is_kept(enum event_kind kind)
{
	return rows[kind].is_kept;
}

const char *
event_help(enum event_kind kind)
{
	return rows[kind].help;
}

bool
event_has_id(const struct event *event)
{
	return event->id != 0 || event->kind == EVENT_EVENTS_LOST;
}

const char *
event_text(const struct event *event)
{
	if (event->text != NULL && event->text[0] != '\0')
		return event->text;
	return event->code != P2P_OK ? code_title(event->code) : NULL;
}

/* --- events --- */

struct event *
event_new(enum event_kind kind)
{
	struct event *event = mem_zero(1, sizeof(*event));
	event->kind = kind;
	atomic_init(&event->refs, 1);
	return event;
}

struct event *
event_ref(struct event *event)
{
	atomic_fetch_add(&event->refs, 1);
	return event;
}

void
event_unref(struct event *event)
{
	if (event == NULL || atomic_fetch_sub(&event->refs, 1) != 1)
		return;
	free(event->peer_name);
	free(event->name);
	free(event->text);
	free(event);
}

/* --- the list --- */

struct events *
events_new(void)
{
	struct events *events = mem_zero(1, sizeof(*events));
	events->run = (uint64_t)clock_wall_ms();
	events->tail = &events->listeners;
	return events;
}

/* Frees the dead. */
static void
sweep(struct events *events)
{
	struct events_listener **at = &events->listeners;
	while (*at != NULL) {
		struct events_listener *listener = *at;
		if (listener->fn != NULL) {
			at = &listener->next;
			continue;
		}
		*at = listener->next;
		free(listener);
	}
	events->tail = at;
}

void
events_free(struct events *events)
{
	if (events == NULL)
		return;
	assert(events->telling == 0 && events->listeners == NULL);
	for (size_t i = 0; i < EVENTS_KEPT; i++)
		event_unref(events->ring[i]);
	free(events);
}

uint64_t
events_run(const struct events *events)
{
	return events->run;
}

uint64_t
events_last_id(const struct events *events)
{
	return events->last_id;
}

uint64_t
events_gone_id(const struct events *events)
{
	return events->last_id > EVENTS_KEPT ? events->last_id - EVENTS_KEPT : 0;
}

static void
tell_end(struct events *events)
{
	if (--events->telling == 0)
		sweep(events);
}

void
events_publish(struct events *events, struct event *event)
{
	assert(events->telling == 0);
	if (event->wall_ms == 0)
		event->wall_ms = clock_wall_ms();
	if (event_is_kept(event->kind)) {
		event->id = ++events->last_id;
		struct event **slot = &events->ring[event->id % EVENTS_KEPT];
		event_unref(*slot);
		*slot = event_ref(event);
	}
	events->turn++;
	events->telling++;
	for (struct events_listener *at = events->listeners; at != NULL; at = at->next)
		if (at->fn != NULL && at->born != events->turn)
			at->fn(at->arg, event);
	tell_end(events);
	event_unref(event);
}

/* --- listeners --- */

/* The gap between `after_id` and what is still at hand. */
static void
tell_lost(struct events_listener *listener, uint64_t after_id)
{
	struct event *event = event_new(EVENT_EVENTS_LOST);
	event->wall_ms = clock_wall_ms();
	event->id = events_gone_id(listener->events);
	if (after_id < event->id) {
		event->lost = event->id - after_id;
		event->text =
		    mem_format("%llu events are kept no longer", (unsigned long long)event->lost);
	} else {
		event->text = mem_string("no such event was in the daemon's present run, of which "
					 "follows all that it knows");
	}
	listener->fn(listener->arg, event);
	event_unref(event);
}

/* What is still at hand after `after_id`. */
static void
replay(struct events_listener *listener, uint64_t after_id)
{
	struct events *events = listener->events;
	uint64_t gone = events_gone_id(events);
	/* An id that was never given is one of another run: what came between is gone. */
	if (after_id < gone || after_id > events->last_id) {
		tell_lost(listener, after_id);
		after_id = gone;
	}
	for (uint64_t id = after_id; id < events->last_id && listener->fn != NULL; id++)
		listener->fn(listener->arg, events->ring[(id + 1) % EVENTS_KEPT]);
}

struct events_listener *
events_listen(struct events *events, uint64_t after_id, events_fn fn, void *arg)
{
	struct events_listener *listener = mem_zero(1, sizeof(*listener));
	listener->events = events;
	listener->fn = fn;
	listener->arg = arg;
	/* Outside of a publication the turn is over: 0 is none. */
	listener->born = events->telling > 0 ? events->turn : 0;
	*events->tail = listener;
	events->tail = &listener->next;
	events->telling++;
	replay(listener, after_id);
	tell_end(events);
	return listener;
}

void
events_listener_free(struct events_listener *listener)
{
	if (listener == NULL)
		return;
	listener->fn = NULL;
	if (listener->events->telling == 0)
		sweep(listener->events);
}
