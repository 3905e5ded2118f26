/* SPDX-License-Identifier: MIT
 *
 * control_watch.c - events for a connection that watches.
 *
 * An event is one final line "6CC name id=RUN-ID ...", put into the queue between two replies.  Its
 * id is where to go on after it (watch after=); passing news, which has no number of its own,
 * carries that of the newest kept event told.
 *
 * A reader that is slower than the events costs nothing: once CONTROL_EVENTS_MAX bytes are queued
 * we stop listening and remember how far we told; when the queue is empty we ask `events` again
 * from there.  What it has dropped by then it tells itself, as events-lost.  Progress is not kept
 * by anybody: of each fetch only the newest one waits, and it is written when the queue is empty.
 *
 * Listening and the reply to `watch` do not overlap: watcher_go() starts it once the reply is in
 * the queue.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "control_commands.h"
#include "event_filter.h"
#include "mem.h"

struct watcher {
	struct conn *conn;
	struct events *events;
	struct events_listener *listener; /* NULL: before the start, and while the queue is full */
	uint64_t told_id;                 /* go on after this one */
	uint64_t fetch;                   /* of this one only; 0: all */
	struct event_filter filter;       /* of these only */
	bool wants_progress;
	bool is_full;            /* something was left out since we last listened */
	struct event **progress; /* the newest of each fetch, not written yet */
	size_t progress_count, progress_cap;
};

void
watcher_free(struct watcher *watcher)
{
	if (watcher == NULL)
		return;
	if (watcher->listener != NULL)
		events_listener_free(watcher->listener);
	for (size_t i = 0; i < watcher->progress_count; i++)
		event_unref(watcher->progress[i]);
	free(watcher->progress);
	event_filter_fini(&watcher->filter);
	free(watcher);
}

static void
put_fetch(struct buf *out, const struct event *event)
{
	if (event->fetch == 0)
		return;
	reply_number(out, "fetch", event->fetch);
	reply_number(out, "total_bytes", event->total_bytes);
	reply_number(out, "done_bytes", event->done_bytes);
	reply_number(out, "total_files", event->total_files);
	reply_number(out, "done_files", event->done_files);
	reply_number(out, "rate_bps", event->rate_bps);
	reply_number(out, "sources", event->sources);
}

static void
put_event(struct watcher *watcher, const struct event *event)
{
	struct buf *out = &watcher->conn->out;
	char time[CLOCK_RFC3339_SIZE];

	if (event_has_id(event))
		watcher->told_id = event->id;
	clock_rfc3339(event->wall_ms, time);
	buf_addf(out, "%d %s id=%" PRIu64 "-%" PRIu64 " time=%s", event_code(event->kind),
		 event_name(event->kind), events_run(watcher->events), watcher->told_id, time);
	reply_text(out, "peer", event->peer[0] != '\0' ? event->peer : NULL);
	reply_text(out, "peer_name", event->peer_name);
	reply_text(out, "name", event->name);
	if (event->has_content) {
		char hex[DIGEST_HEX_SIZE];

		digest_hex(&event->content.root, hex);
		reply_text(out, "root", hex);
		reply_number(out, "size", event->content.size_bytes);
	}
	if (event->mtime_ns != 0)
		reply_signed(out, "mtime_ns", event->mtime_ns);
	if (event->kind == EVENT_EVENTS_LOST && event->lost != 0)
		reply_number(out, "lost", event->lost);
	if (event->follow != 0)
		reply_number(out, "follow", event->follow);
	put_fetch(out, event);
	reply_text(out, "slug", event->code != P2P_OK ? code_slug(event->code) : NULL);
	reply_text(out, "text", event_text(event));
	reply_end(out);
	conn_wake(watcher->conn);
}

/* Takes the waiting progress of a fetch from the list, or answers NULL. */
static struct event *
take_progress(struct watcher *watcher, uint64_t fetch)
{
	for (size_t i = 0; i < watcher->progress_count; i++) {
		struct event *event = watcher->progress[i];

		if (event->fetch != fetch)
			continue;
		watcher->progress[i] = watcher->progress[--watcher->progress_count];
		return event;
	}
	return NULL;
}

static void
add_progress(struct watcher *watcher, struct event *event)
{
	if (watcher->progress_count == watcher->progress_cap) {
		watcher->progress_cap = watcher->progress_cap == 0 ? 8 : 2 * watcher->progress_cap;
		watcher->progress =
		    mem_grow(watcher->progress, watcher->progress_cap, sizeof(*watcher->progress));
	}
	watcher->progress[watcher->progress_count++] = event_ref(event);
}

static void
on_progress(struct watcher *watcher, struct event *event)
{
	if (!watcher->wants_progress)
		return;
	event_unref(take_progress(watcher, event->fetch));
	if (watcher->conn->out.len == 0)
		put_event(watcher, event);
	else if (watcher->progress_count < FETCH_ACTIVE_MAX)
		add_progress(watcher, event);
}

static bool
is_wanted(const struct watcher *watcher, const struct event *event)
{
	if (watcher->fetch != 0 && event->fetch != watcher->fetch &&
	    event->kind != EVENT_EVENTS_LOST)
		return false;
	return event_filter_passes(&watcher->filter, event);
}

static void
on_event(void *arg, struct event *event)
{
	struct watcher *watcher = arg;

	if (watcher->is_full)
		return;
	if (!is_wanted(watcher, event)) {
		if (event->id != 0)
			watcher->told_id = event->id;
		return;
	}
	if (event->kind == EVENT_FETCH_PROGRESS) {
		on_progress(watcher, event);
		return;
	}
	if (watcher->conn->out.len > CONTROL_EVENTS_MAX) {
		watcher->is_full = true;
		if (watcher->listener != NULL)
			events_listener_free(watcher->listener);
		watcher->listener = NULL;
		return;
	}
	if (event->fetch != 0)
		event_unref(take_progress(watcher, event->fetch));
	put_event(watcher, event);
}

static void
put_progress(struct watcher *watcher)
{
	for (size_t i = 0; i < watcher->progress_count; i++) {
		put_event(watcher, watcher->progress[i]);
		event_unref(watcher->progress[i]);
	}
	watcher->progress_count = 0;
}

void
watcher_go(struct conn *conn)
{
	struct watcher *watcher = conn->watcher;

	if (watcher == NULL)
		return;
	if (conn->out.len == 0)
		put_progress(watcher);
	if (watcher->listener != NULL || conn->out.len > CONTROL_EVENTS_MAX)
		return;
	watcher->is_full = false;
	watcher->listener = events_listen(watcher->events, watcher->told_id, on_event, watcher);
	if (watcher->is_full) {
		events_listener_free(watcher->listener);
		watcher->listener = NULL;
	}
}

static bool
read_fetch(struct command *command, struct watcher *watcher)
{
	const char *text = line_value(&command->line, "fetch");
	char *end;

	if (text == NULL)
		return true;
	watcher->fetch = strtoull(text, &end, 10);
	if (text[0] >= '1' && text[0] <= '9' && *end == '\0')
		return true;
	reply_errorf(command, P2P_BAD_REQUEST, "fetch= wants the number of a fetch");
	return false;
}

static bool
read_progress(struct command *command, struct watcher *watcher)
{
	const char *text = line_value(&command->line, "progress");

	watcher->wants_progress = text != NULL && strcmp(text, "yes") == 0;
	if (text == NULL || watcher->wants_progress || strcmp(text, "no") == 0)
		return true;
	reply_errorf(command, P2P_BAD_REQUEST, "progress= wants yes or no");
	return false;
}

static bool
read_after(struct command *command, struct watcher *watcher)
{
	struct error err;

	if (service_event_position(command->service, line_value(&command->line, "after"),
				   &watcher->told_id, &err) == P2P_OK)
		return true;
	reply_error(command, &err);
	return false;
}

static bool
read_filter(struct command *command, struct watcher *watcher)
{
	struct error err;

	if (event_filter_init(&watcher->filter, line_value(&command->line, "kind"),
			      line_value(&command->line, "match"), &err) == P2P_OK)
		return true;
	reply_error(command, &err);
	return false;
}

void
watcher_command(struct command *command)
{
	struct conn *conn = command->conn;
	struct watcher *watcher = mem_zero(1, sizeof(*watcher));

	watcher->conn = conn;
	watcher->events = service_events(command->service);
	if (!read_fetch(command, watcher) || !read_progress(command, watcher) ||
	    !read_filter(command, watcher) || !read_after(command, watcher)) {
		watcher_free(watcher);
		return;
	}
	uint64_t last_id = events_last_id(watcher->events);

	reply_final(command, 200);
	buf_addf(&command->reply, " after=%" PRIu64 "-%" PRIu64, events_run(watcher->events),
		 watcher->told_id <= last_id ? watcher->told_id : events_gone_id(watcher->events));
	reply_end(&command->reply);
	watcher_free(conn->watcher);
	/* Whoever has sent its end already listens no more. */
	conn->watcher = watcher;
	if (conn->is_eof) {
		watcher_free(watcher);
		conn->watcher = NULL;
	}
}
