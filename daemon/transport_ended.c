/* SPDX-License-Identifier: MIT
 *
 * transport_ended.c - the way of an ended request from a hand to the mind.
 *
 * Ended turns wait in a list under a mutex.  Who puts the first one into an empty list rings the
 * mind; it takes the whole list, so that a burst of ends costs one post.  A turn is concluded
 * after it left both lists, and its owner may free it then.
 *
 * The post is made inside the mutex, so that a last post of the owner, made after he took the last
 * turn, comes later than any ring.
 */
#include "transport_ended.h"

#include <assert.h>
#include <stddef.h>

void
transport_ended_init(struct transport_ended *ended, struct loop *loop,
		     transport_conclude_fn conclude, void *arg)
{
	*ended = (struct transport_ended){ .loop = loop, .conclude = conclude, .arg = arg };
	ended->tail = &ended->list;
	pthread_mutex_init(&ended->mu, NULL);
}

void
transport_ended_fini(struct transport_ended *ended)
{
	assert(ended->live == NULL && ended->list == NULL);
	pthread_mutex_destroy(&ended->mu);
}

void
transport_ended_add(struct transport_ended *ended, struct transport_turn *turn)
{
	turn->prev = NULL;
	turn->next = ended->live;
	if (ended->live != NULL)
		ended->live->prev = turn;
	ended->live = turn;
}

static void
leave(struct transport_ended *ended, struct transport_turn *turn)
{
	if (turn->prev != NULL)
		turn->prev->next = turn->next;
	else
		ended->live = turn->next;
	if (turn->next != NULL)
		turn->next->prev = turn->prev;
}

/* Mind. */
static void
conclude_ended(void *arg)
{
	struct transport_ended *ended = arg;

	pthread_mutex_lock(&ended->mu);
	struct transport_turn *list = ended->list;
	ended->list = NULL;
	ended->tail = &ended->list;
	pthread_mutex_unlock(&ended->mu);

	for (struct transport_turn *next; list != NULL; list = next) {
		next = list->next_ended;
		leave(ended, list);
		ended->conclude(ended->arg, list);
	}
}

void
transport_ended_hand_back(struct transport_ended *ended, struct transport_turn *turn)
{
	pthread_mutex_lock(&ended->mu);
	bool was_empty = ended->list == NULL;

	turn->next_ended = NULL;
	*ended->tail = turn;
	ended->tail = &turn->next_ended;
	if (was_empty)
		loop_post(ended->loop, conclude_ended, ended);
	pthread_mutex_unlock(&ended->mu);
}

void
transport_ended_conclude_all(struct transport_ended *ended)
{
	while (ended->live != NULL)
		conclude_ended(ended);
}
