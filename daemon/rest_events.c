/* SPDX-License-Identifier: MIT
 *
 * rest_events.c - GET /v1/events: what happens, as it happens, as text/event-stream.
 *
 * A stream lives between two threads.  The mind subscribes it, puts events into its queue
 * (event_queue.h), and wakes it; the library's thread takes them out, writes them as text, and
 * waits again.
 *
 * Two references: the mind's, from subscribing to detaching, and the answer's.  When the client
 * leaves, the library frees the answer, which posts the detaching; when the daemon stops,
 * rest_events_stop() detaches all at once.
 *
 * A comment every REST_HEARTBEAT_MS, from one timer for all streams, keeps what is between from
 * dropping a connection that looks dead.
 */
#include "rest_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "event_filter.h"
#include "event_queue.h"
#include "mem.h"

#define TEXT_MAX     (64u << 10)          /* bytes of one event as text */
#define STREAM_BLOCK 4096                 /* bytes asked for at once */

struct rest_stream {
	struct rest_pause pause;
	atomic_uint refs;
	uint64_t run;
	struct event_filter filter; /* fixed */

	struct rest_stream *next, **link; /* the mind's: in rest->streams; link NULL: detached */
	struct events_listener *listener; /* the mind's */

	struct event_queue queue; /* from the mind to the answer */
	atomic_bool wants_beat;

	struct buf text; /* the answer's: what is being written */
	size_t written;
};

static void
stream_unref(struct rest_stream *stream)
{
	if (atomic_fetch_sub(&stream->refs, 1) > 1)
		return;
	event_queue_fini(&stream->queue);
	event_filter_fini(&stream->filter);
	buf_fini(&stream->text);
	rest_pause_fini(&stream->pause);
	free(stream);
}

/* events_fn: mind. */
static void
on_event(void *arg, struct event *event)
{
	struct rest_stream *stream = arg;

	if (event_filter_passes(&stream->filter, event) && event_queue_add(&stream->queue, event))
		rest_pause_wake(&stream->pause);
}

/* --- the answer --- */

static void
write_event(struct rest_stream *stream, struct event *event)
{
	char *data = wire_event(event, stream->run);

	if (event_has_id(event))
		buf_addf(&stream->text, "id: %" PRIu64 "-%" PRIu64 "\n", stream->run, event->id);
	buf_addf(&stream->text, "event: %s\ndata: %s\n\n", event_name(event->kind), data);
	free(data);
	event_unref(event);
}

static ssize_t
read_events(void *arg, uint64_t at, char *data, size_t max)
{
	struct rest_stream *stream = arg;

	(void)at;
	if (stream->written == stream->text.len) {
		struct event *event = event_queue_take(&stream->queue);

		buf_reset(&stream->text);
		stream->written = 0;
		if (event != NULL)
			write_event(stream, event);
		else if (atomic_exchange(&stream->wants_beat, false))
			buf_adds(&stream->text, ":\n\n");
		else
			return rest_pause_wait(&stream->pause) ? 0
							       : MHD_CONTENT_READER_END_WITH_ERROR;
	}

	size_t len = stream->text.len - stream->written;
	if (len > max)
		len = max;
	memcpy(data, stream->text.data + stream->written, len);
	stream->written += len;
	return (ssize_t)len;
}

/* --- the mind's side --- */

static void
detach(struct rest_stream *stream)
{
	if (stream->link == NULL)
		return;
	*stream->link = stream->next;
	if (stream->next != NULL)
		stream->next->link = stream->link;
	stream->link = NULL;
	events_listener_free(stream->listener);
	stream_unref(stream);
}

/* Posted with the answer's reference. */
static void
detach_and_drop(void *arg)
{
	struct rest_stream *stream = arg;

	detach(stream);
	stream_unref(stream);
}

static void
on_beat(void *arg)
{
	struct rest *rest = arg;

	for (struct rest_stream *stream = rest->streams; stream != NULL; stream = stream->next) {
		stream->wants_beat = true;
		rest_pause_wake(&stream->pause);
	}
	if (rest->streams != NULL)
		loop_timer_start(rest->beat_timer, REST_HEARTBEAT_MS);
}

struct subscribe {
	struct rest_request *req;
	struct rest_stream *stream;
};

static int
subscribe(void *arg)
{
	const struct subscribe *ask = arg;
	struct rest_request *req = ask->req;
	struct rest *rest = req->rest;
	struct rest_stream *stream = ask->stream;
	uint64_t after;
	int code =
	    service_event_position(rest->service, req->head.last_event_id, &after, &req->err);

	if (code != P2P_OK)
		return code;
	stream->run = events_run(service_events(rest->service));
	stream->listener = events_listen(service_events(rest->service), after, on_event, stream);
	stream->next = rest->streams;
	stream->link = &rest->streams;
	if (stream->next != NULL)
		stream->next->link = &stream->next;
	rest->streams = stream;
	atomic_fetch_add(&stream->refs, 1);
	if (rest->beat_timer == NULL)
		rest->beat_timer = loop_timer_new(rest->loop, on_beat, rest);
	if (!loop_timer_active(rest->beat_timer))
		loop_timer_start(rest->beat_timer, REST_HEARTBEAT_MS);
	return P2P_OK;
}

void
rest_events_stop(struct rest *rest)
{
	while (rest->streams != NULL)
		detach(rest->streams);
}

/* --- the route --- */

static void
answer_free(void *arg)
{
	struct rest_stream *stream = arg;

	/* The connection is gone; the mind may go on waking until it has detached. */
	rest_pause_end(&stream->pause);
	loop_post(stream->pause.rest->loop, detach_and_drop, stream);
}

static struct rest_stream *
stream_new(struct rest_request *req, bool wants_progress)
{
	struct rest_stream *stream = mem_zero(1, sizeof(*stream));

	rest_pause_init(&stream->pause, req);
	event_queue_init(&stream->queue, wants_progress);
	buf_init(&stream->text, TEXT_MAX);
	/* The first bytes take the header with them, and say how soon to come back. */
	buf_adds(&stream->text, "retry: 2000\n\n");
	stream->refs = 1;
	return stream;
}

int
rest_get_events(struct rest_request *req)
{
	const char *progress = rest_target_param(&req->target, "progress");

	if (progress != NULL && strcmp(progress, "yes") != 0 && strcmp(progress, "no") != 0)
		return error_set(&req->err, P2P_BAD_REQUEST, "progress: wanted yes or no");

	struct event_filter filter;
	int code = event_filter_init(&filter, rest_target_param(&req->target, "kind"),
				     rest_target_param(&req->target, "match"), &req->err);
	if (code != P2P_OK)
		return code;

	struct rest_stream *stream =
	    stream_new(req, progress != NULL && strcmp(progress, "yes") == 0);
	struct subscribe ask = { req, stream };
	stream->filter = filter;
	code = loop_call(req->rest->loop, subscribe, &ask);

	if (code != P2P_OK) {
		if (code == P2P_SHUTTING_DOWN)
			error_set(&req->err, code, "%s", code_title(code));
		stream_unref(stream);
		return code;
	}

	struct MHD_Response *response = MHD_create_response_from_callback(
	    MHD_SIZE_UNKNOWN, STREAM_BLOCK, read_events, stream, answer_free);
	rest_field(response, MHD_HTTP_HEADER_CONTENT_TYPE, "text/event-stream");
	rest_field(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
	return rest_answer(req, MHD_HTTP_OK, response);
}
