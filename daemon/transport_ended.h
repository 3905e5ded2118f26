/* SPDX-License-Identifier: MIT
 *
 * transport_ended.h - how the requests of a wire end: handed back by hands, concluded on the mind, each once.
 *
 * A wire embeds a transport_turn in each of its requests and adds it when the request begins.  Whoever ends the request, on any
 * thread, hands the turn back; soon after the mind calls conclude() with it, which calls done and frees.
 */
#ifndef P2PD_TRANSPORT_ENDED_H
#define P2PD_TRANSPORT_ENDED_H

#include <pthread.h>

#include "loop.h"

struct transport_turn {
	struct transport_turn *next, *prev;	/* all that live; mind */
	struct transport_turn *next_ended;
};

typedef void	(*transport_conclude_fn)(void *arg, struct transport_turn *turn);

struct transport_ended {
	struct loop *loop;
	transport_conclude_fn conclude;
	void *arg;
	struct transport_turn *live;

	pthread_mutex_t mu;		/* guards what follows */
	struct transport_turn *list, **tail;
};

/* Borrows the loop. */
void	transport_ended_init(struct transport_ended *ended, struct loop *loop,
	    transport_conclude_fn conclude, void *arg);
/* Nothing lives any more.  The mind may have been rung before: call this from a post of your own, which comes later. */
void	transport_ended_fini(struct transport_ended *ended);
/* Mind. */
void	transport_ended_add(struct transport_ended *ended, struct transport_turn *turn);
/* Any thread; once for each turn. */
void	transport_ended_hand_back(struct transport_ended *ended, struct transport_turn *turn);
/* Mind.  On the way down, when every hand has handed back: concludes all, and what their done functions begin too, which must
 * be handed back at once. */
void	transport_ended_conclude_all(struct transport_ended *ended);

#endif
