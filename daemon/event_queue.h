/* SPDX-License-Identifier: MIT
 *
 * event_queue.h - events on their way from the mind to one reader on another thread.
 *
 * The mind adds, the reader takes.  The queue is bounded: a reader too slow for it loses what came
 * meanwhile and is told so (events-lost) in the place of the gap.  Adding never waits.  Any thread.
 */
#ifndef P2PD_EVENT_QUEUE_H
#define P2PD_EVENT_QUEUE_H

#include <pthread.h>

#include "events.h"

/* Events that wait for one reader: all that a replay may bring, and some. */
#define EVENT_QUEUE_MAX	(EVENTS_KEPT + 1024)

struct event_queue {
	bool wants_progress;		/* set before the first add, then fixed */
	pthread_mutex_t mu;
	struct event **ring;
	size_t first, count, cap;
	uint64_t lost, lost_id;		/* events dropped at its end, and the last of them; 0: none */
};

void	event_queue_init(struct event_queue *queue, bool wants_progress);
void	event_queue_fini(struct event_queue *queue);	/* drops what still waits */
/* Keeps a reference, or notes that there was no room.  False for progress that is not wanted: there
 * is nothing new to read. */
bool	event_queue_add(struct event_queue *queue, struct event *event);
/* The next event, or what stands for a gap; NULL if there is none.  Gives a reference. */
struct event *event_queue_take(struct event_queue *queue);

#endif
