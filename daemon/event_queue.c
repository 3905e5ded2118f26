/* SPDX-License-Identifier: MIT
 *
 * event_queue.c - events on their way to one reader.
 *
 * A ring that doubles until EVENT_QUEUE_MAX.  When it is full, everything is dropped until the
 * reader has taken all that stands before the gap; then it finds an events-lost, and behind it what
 * came since; its id is that of the last one dropped, where a reader that comes back goes on.
 * Progress is dropped without a word: more of it will come.  The events are shared with all other readers, so that a slow one costs little more
 * than pointers.
 *
 * Waking the reader is for the owner of the queue.
 */
#include "event_queue.h"

#include <stdlib.h>

#include "clock.h"
#include "mem.h"

#define CAP_MIN 64

void
event_queue_init(struct event_queue *queue, bool wants_progress)
{
	*queue = (struct event_queue){ .wants_progress = wants_progress };
	pthread_mutex_init(&queue->mu, NULL);
}

void
event_queue_fini(struct event_queue *queue)
{
	for (size_t i = 0; i < queue->count; i++)
		event_unref(queue->ring[(queue->first + i) % queue->cap]);
	free(queue->ring);
	pthread_mutex_destroy(&queue->mu);
}

/* Holds mu. */
static void
grow(struct event_queue *queue)
{
	size_t cap = queue->cap > 0 ? queue->cap * 2 : CAP_MIN;
	struct event **ring = mem_zero(cap, sizeof(struct event *));

	for (size_t i = 0; i < queue->count; i++)
		ring[i] = queue->ring[(queue->first + i) % queue->cap];
	free(queue->ring);
	queue->ring = ring;
	queue->cap = cap;
	queue->first = 0;
}

/* Holds mu. */
static void
note_lost(struct event_queue *queue, const struct event *event)
{
	queue->lost++;
	queue->lost_id = event->id;
}

/* What stands for the gap; holds mu. */
static struct event *
take_lost(struct event_queue *queue)
{
	struct event *event = event_new(EVENT_EVENTS_LOST);

	event->wall_ms = clock_wall_ms();
	event->id = queue->lost_id;
	event->lost = queue->lost;
	event->text = mem_format("you read too slowly: %llu events were dropped",
				 (unsigned long long)queue->lost);
	queue->lost = queue->lost_id = 0;
	return event;
}

bool
event_queue_add(struct event_queue *queue, struct event *event)
{
	if (event->kind == EVENT_FETCH_PROGRESS && !queue->wants_progress)
		return false;
	pthread_mutex_lock(&queue->mu);
	bool has_room = queue->lost == 0 && queue->count < EVENT_QUEUE_MAX;
	if (has_room && queue->count == queue->cap)
		grow(queue);
	if (has_room)
		queue->ring[(queue->first + queue->count++) % queue->cap] = event_ref(event);
	else if (event->id != 0)
		note_lost(queue, event);
	pthread_mutex_unlock(&queue->mu);
	return true;
}

struct event *
event_queue_take(struct event_queue *queue)
{
	struct event *event = NULL;

	pthread_mutex_lock(&queue->mu);
	if (queue->count > 0) {
		event = queue->ring[queue->first];
		queue->first = (queue->first + 1) % queue->cap;
		queue->count--;
	} else if (queue->lost != 0) {
		event = take_lost(queue);
	}
	pthread_mutex_unlock(&queue->mu);
	return event;
}
