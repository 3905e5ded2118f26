/* SPDX-License-Identifier: MIT
 *
 * fetch_stream.c - a content streamed through: fetched in order, a window ahead of its one reader.
 *
 * The bytes go through an anonymous file in the share's file system, are verified like any others, and their space is given
 * back behind the reader, so that neither memory nor disk depends on the size of the content.
 *
 * Two sides share a stream.  The mind owns the download and tells what came (on_moved, on_waiting).  The reader,
 * on a thread of its face, reads what is verified, waits to be woken where it is not, and closes.  What both touch is
 * under `mutex`.  The stream is freed by the mind, when the reader has closed it and the download has ended.
 *
 * A stream has a reader who waits, so it does not wait itself: without holders, or without disk space, it fails.
 */
#include "fetch_internal.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

#include "mem.h"

#define WINDOW_BYTES	(16u << 20)	/* fetched ahead of the reader; four pieces at least */

struct fetch_stream {
	struct fetches *fetches;
	struct content_id content;
	/* The mind's alone. */
	struct fetch_stream *next;
	struct download *download;	/* NULL once it has ended */
	struct partial *left;		/* by the ended download */
	bool is_closed;

	pthread_mutex_t mutex;
	pthread_cond_t woken;		/* no wake is under way any more */
	/* Under the mutex. */
	struct partial *partial;	/* once it is open; stays until the stream is freed */
	int code;			/* why it failed */
	void (*wake)(void *arg);	/* the reader waits; NULL: it does not */
	void *wake_arg;
	uint64_t wake_offset;
	bool is_waking;
	/* The reader's alone. */
	uint64_t window_from;		/* what the mind was told last */
};

/* --- the mind's side --- */

/* Holds the mutex. */
static bool
can_answer(const struct fetch_stream *stream, uint64_t offset)
{
	if (stream->code != P2P_OK)
		return true;
	if (stream->partial == NULL)
		return false;
	return offset >= stream->content.size_bytes ||
	    partial_has(stream->partial, offset / partial_piece_bytes(stream->partial));
}

/* Wakes the reader if there is something for it. */
static void
maybe_wake(struct fetch_stream *stream)
{
	pthread_mutex_lock(&stream->mutex);
	void (*wake)(void *) = stream->wake;
	if (wake != NULL && can_answer(stream, stream->wake_offset)) {
		stream->wake = NULL;
		stream->is_waking = true;
		/* Not under the mutex: the reader's face may take locks of its own. */
		pthread_mutex_unlock(&stream->mutex);
		wake(stream->wake_arg);
		pthread_mutex_lock(&stream->mutex);
		stream->is_waking = false;
		pthread_cond_broadcast(&stream->woken);
	}
	pthread_mutex_unlock(&stream->mutex);
}

static void
fail(struct fetch_stream *stream, int code)
{
	pthread_mutex_lock(&stream->mutex);
	if (stream->code == P2P_OK)
		stream->code = code;
	pthread_mutex_unlock(&stream->mutex);
	maybe_wake(stream);
}

static void
on_moved(void *arg)
{
	struct fetch_stream *stream = arg;
	pthread_mutex_lock(&stream->mutex);
	stream->partial = download_partial(stream->download);
	pthread_mutex_unlock(&stream->mutex);
	maybe_wake(stream);
}

static void
on_waiting(void *arg, int code, const char *text)
{
	(void)text;
	/* What is asked for may still come; if not, its run ends by itself. */
	if (code != P2P_OK && code != P2P_TIMEOUT && code != P2P_TOO_MANY)
		fail(arg, code);
}

static void
work_free_partial(void *arg)
{
	partial_free(arg);
}

static void
free_stream(struct fetch_stream *stream)
{
	struct fetches *fetches = stream->fetches;
	struct fetch_stream **link = &fetches->streams;
	while (*link != stream)
		link = &(*link)->next;
	*link = stream->next;
	if (stream->left != NULL)
		pool_submit(fetches->means.pool, POOL_SOON, work_free_partial, NULL, stream->left);
	pthread_cond_destroy(&stream->woken);
	pthread_mutex_destroy(&stream->mutex);
	free(stream);
	fetches->stream_count--;
	fetches_maybe_stopped(fetches);
}

static void
on_ended(void *arg, int code)
{
	struct fetch_stream *stream = arg;
	if (code == P2P_OK)
		on_moved(stream);
	stream->left = download_free(stream->download, NULL);
	stream->download = NULL;
	if (stream->is_closed)
		free_stream(stream);
}

static struct partial *
open_anonymous(void *arg, struct error *err)
{
	const struct fetch_stream *stream = arg;
	return partial_open_anonymous(stream->fetches->means.store, &stream->content, err);
}

struct fetch_stream *
fetch_stream_new(struct fetches *fetches, const struct content_id *content)
{
	static const struct download_target target = { .open = open_anonymous };
	static const struct download_events events = { on_moved, on_waiting, on_ended };
	assert(loop_is_mine(fetches->means.loop));
	struct fetch_stream *stream = mem_zero(1, sizeof(*stream));
	stream->fetches = fetches;
	stream->content = *content;
	pthread_mutex_init(&stream->mutex, NULL);
	pthread_cond_init(&stream->woken, NULL);
	stream->next = fetches->streams;
	fetches->streams = stream;
	fetches->stream_count++;
	/* However large the content is, only the window takes room on the disk. */
	stream->download =
	    download_new(&fetches->means, content, UINT64_MAX, &target, &events, stream);
	download_window(stream->download, 0, WINDOW_BYTES);
	return stream;
}

static void
close_on_mind(void *arg)
{
	struct fetch_stream *stream = arg;
	stream->is_closed = true;
	if (stream->download != NULL)
		download_stop(stream->download);
	else
		free_stream(stream);
}

void
fetch_streams_stop(struct fetches *fetches)
{
	for (struct fetch_stream *stream = fetches->streams; stream; stream = stream->next) {
		fail(stream, P2P_SHUTTING_DOWN);
		if (stream->download != NULL)
			download_stop(stream->download);
	}
}

void
fetch_streams_peer_here(struct fetches *fetches, const char *id)
{
	for (struct fetch_stream *stream = fetches->streams; stream; stream = stream->next)
		if (stream->download != NULL)
			download_peer_here(stream->download, id);
}

/* --- the reader's side --- */

struct moving_window {
	struct fetch_stream *stream;
	uint64_t from, to;
};

static void
move_window(void *arg)
{
	struct moving_window *window = arg;
	if (window->stream->download != NULL)
		download_window(window->stream->download, window->from, window->to);
	free(window);
}

/* Once half of the window is behind the reader it is moved on, and the space behind given back. */
static void
advance(struct fetch_stream *stream, struct partial *partial, uint64_t offset)
{
	uint64_t ahead_bytes = 4ull * partial_piece_bytes(partial);
	if (ahead_bytes < WINDOW_BYTES)
		ahead_bytes = WINDOW_BYTES;
	if (offset < stream->window_from + ahead_bytes / 2)
		return;
	stream->window_from = offset;
	partial_punch(partial, offset);
	struct moving_window *window = mem_alloc(sizeof(*window));
	*window = (struct moving_window){ stream, offset, offset + ahead_bytes };
	loop_post(stream->fetches->means.loop, move_window, window);
}

int
fetch_stream_read(struct fetch_stream *stream, void *data, size_t len, uint64_t offset,
    size_t *ret_len)
{
	pthread_mutex_lock(&stream->mutex);
	struct partial *partial = stream->partial;
	bool is_there = can_answer(stream, offset);
	int code = stream->code;
	pthread_mutex_unlock(&stream->mutex);

	*ret_len = 0;
	if (code != P2P_OK || !is_there || offset >= stream->content.size_bytes)
		return code;
	uint64_t piece_bytes = partial_piece_bytes(partial);
	uint64_t piece_end = (offset / piece_bytes + 1) * piece_bytes;
	if (piece_end > stream->content.size_bytes)
		piece_end = stream->content.size_bytes;
	if (len > piece_end - offset)
		len = piece_end - offset;
	code = partial_read(partial, data, len, offset, NULL);
	if (code != P2P_OK)
		return code;
	*ret_len = len;
	advance(stream, partial, offset + len);
	return P2P_OK;
}

void
fetch_stream_wait(struct fetch_stream *stream, uint64_t offset, void (*wake)(void *arg), void *arg)
{
	/* A reader that begins in the middle (a range) has the window brought to it. */
	if (offset >= stream->window_from + WINDOW_BYTES) {
		stream->window_from = offset;
		struct moving_window *window = mem_alloc(sizeof(*window));
		*window = (struct moving_window){ stream, offset, offset + WINDOW_BYTES };
		loop_post(stream->fetches->means.loop, move_window, window);
	}
	pthread_mutex_lock(&stream->mutex);
	bool is_there = can_answer(stream, offset);
	if (!is_there) {
		stream->wake = wake;
		stream->wake_arg = arg;
		stream->wake_offset = offset;
	}
	pthread_mutex_unlock(&stream->mutex);
	if (is_there)
		wake(arg);
}

void
fetch_stream_close(struct fetch_stream *stream)
{
	pthread_mutex_lock(&stream->mutex);
	stream->wake = NULL;
	while (stream->is_waking)
		pthread_cond_wait(&stream->woken, &stream->mutex);
	pthread_mutex_unlock(&stream->mutex);
	loop_post(stream->fetches->means.loop, close_on_mind, stream);
}
