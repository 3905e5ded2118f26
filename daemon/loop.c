/* SPDX-License-Identifier: MIT
 *
 * loop.c - the mind's thread, on libuv.
 *
 * One uv loop, one mailbox.  The mailbox is a list under a mutex, and one uv_async_t that is
 * rung when the list stops being empty: a thousand posts are one wake-up.  A post is a small
 * allocation that goes with the message; a call lies on the stack of the asker, who sleeps on
 * his own condition until it is answered.
 *
 * Messages are taken one at a time, so that whatever has not begun is in the list: that is
 * where loop_refuse_calls() finds every asker that waits, even if it is itself run by a message.
 * One ring runs as many messages as there were when it began; what they post in turn waits until
 * descriptors and timers had their chance.
 *
 * Who is the mind is known from the first loop_run() or loop_turn() on.  Before that everybody
 * may touch what belongs to it (main() builds the house), but a call is answered at once only
 * for the thread that made the loop; a hand that was started early waits for the mind.
 *
 * uv handles are freed in their close callbacks, hence *_free() is safe inside of a handle's own
 * callback.  loop_free() runs what was still posted, then lets the closing handles finish.  A
 * timer, watch or signal that its owner forgot to free is a bug, and asserted.
 *
 * Left to others: SIGPIPE, and joining the threads that post before loop_free() is called.
 */
#include "loop.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <uv.h>

#include "mem.h"

struct message {
	struct message *next;
	loop_fn fn; /* of a post, else NULL */
	void *arg;
	struct call *call; /* of a call, else NULL */
};

struct call {
	struct message message;
	loop_ask_fn fn;
	pthread_cond_t answered;
	bool is_done;
	int answer;
};

struct loop {
	uv_loop_t uv;
	uv_async_t bell;
	uv_timer_t turn_timer;      /* ends the waiting of loop_turn() */
	_Atomic(const void *) mind; /* a thread's `self`, NULL before the first run */
	const void *maker;          /* the thread of loop_new() */
	atomic_bool is_stopping;
	unsigned long turned; /* callbacks run so far; mind */

	pthread_mutex_t mu; /* guards what follows, and every call's answer */
	struct message *head, **tail;
	size_t count;
	bool is_refusing;
};

struct loop_timer {
	uv_timer_t uv;
	struct loop *loop;
	loop_fn fn;
	void *arg;
};

struct loop_watch {
	uv_poll_t uv;
	struct loop *loop;
	loop_watch_fn fn;
	void *arg;
	unsigned events; /* asked for */
};

struct loop_signal {
	uv_signal_t uv;
	struct loop *loop;
	loop_fn fn;
	void *arg;
};

static_assert((int)LOOP_READ == (int)UV_READABLE && (int)LOOP_WRITE == (int)UV_WRITABLE,
	      "events are handed through as they are");

/* Its address tells this thread from all others that live. */
static _Thread_local char self;

/* The mailbox. */

static void
ring(struct loop *loop)
{
	int ret = uv_async_send(&loop->bell);

	assert(ret == 0);
	(void)ret;
}

/* Holds mu. */
static void
append(struct loop *loop, struct message *message)
{
	message->next = NULL;
	*loop->tail = message;
	loop->tail = &message->next;
	if (loop->count++ == 0)
		ring(loop);
}

static struct message *
take(struct loop *loop)
{
	pthread_mutex_lock(&loop->mu);
	struct message *message = loop->head;
	if (message != NULL) {
		loop->head = message->next;
		if (loop->head == NULL)
			loop->tail = &loop->head;
		loop->count--;
	}
	pthread_mutex_unlock(&loop->mu);
	return message;
}

/* Holds mu.  The call belongs to its asker again, who may return at once. */
static void
answer(struct call *call, int value)
{
	call->answer = value;
	call->is_done = true;
	pthread_cond_signal(&call->answered);
}

static void
run_message(struct loop *loop, struct message *message)
{
	loop->turned++;
	if (message->call == NULL) {
		message->fn(message->arg);
		free(message);
		return;
	}
	int value = message->call->fn(message->arg);
	pthread_mutex_lock(&loop->mu);
	answer(message->call, value);
	pthread_mutex_unlock(&loop->mu);
}

static size_t
waiting(struct loop *loop)
{
	pthread_mutex_lock(&loop->mu);
	size_t count = loop->count;
	pthread_mutex_unlock(&loop->mu);
	return count;
}

static void
on_bell(uv_async_t *bell)
{
	struct loop *loop = bell->data;

	for (size_t left = waiting(loop); left > 0; left--) {
		struct message *message = take(loop);
		if (message == NULL) /* refused meanwhile */
			break;
		run_message(loop, message);
	}
	if (waiting(loop) > 0)
		ring(loop);
	if (atomic_load(&loop->is_stopping))
		uv_stop(&loop->uv);
}

void
loop_post(struct loop *loop, loop_fn fn, void *arg)
{
	struct message *message = mem_zero(1, sizeof(*message));

	message->fn = fn;
	message->arg = arg;
	pthread_mutex_lock(&loop->mu);
	append(loop, message);
	pthread_mutex_unlock(&loop->mu);
}

static bool
answers_at_once(const struct loop *loop)
{
	const void *mind = atomic_load(&loop->mind);

	return (mind != NULL ? mind : loop->maker) == &self;
}

int
loop_call(struct loop *loop, loop_ask_fn fn, void *arg)
{
	if (answers_at_once(loop))
		return fn(arg);

	struct call call = { .fn = fn, .answer = P2P_SHUTTING_DOWN };
	call.message.arg = arg;
	call.message.call = &call;
	pthread_cond_init(&call.answered, NULL);

	pthread_mutex_lock(&loop->mu);
	if (!loop->is_refusing) {
		append(loop, &call.message);
		while (!call.is_done)
			pthread_cond_wait(&call.answered, &loop->mu);
	}
	pthread_mutex_unlock(&loop->mu);
	pthread_cond_destroy(&call.answered);
	return call.answer;
}

void
loop_refuse_calls(struct loop *loop)
{
	assert(loop_is_mine(loop));
	pthread_mutex_lock(&loop->mu);
	loop->is_refusing = true;
	for (struct message **at = &loop->head; *at != NULL;) {
		struct message *message = *at;
		if (message->call == NULL) {
			at = &message->next;
			continue;
		}
		*at = message->next;
		loop->count--;
		answer(message->call, P2P_SHUTTING_DOWN);
	}
	loop->tail = &loop->head;
	while (*loop->tail != NULL)
		loop->tail = &(*loop->tail)->next;
	pthread_mutex_unlock(&loop->mu);
}

/* The loop. */

bool
loop_is_mine(const struct loop *loop)
{
	const void *mind = atomic_load(&loop->mind);

	return mind == NULL || mind == &self;
}

struct loop *
loop_new(struct error *err)
{
	struct loop *loop = mem_zero(1, sizeof(*loop));
	int ret = uv_loop_init(&loop->uv);

	if (ret != 0)
		goto fail;
	ret = uv_async_init(&loop->uv, &loop->bell, on_bell);
	if (ret != 0) {
		uv_loop_close(&loop->uv);
		goto fail;
	}
	loop->bell.data = loop;
	uv_timer_init(&loop->uv, &loop->turn_timer);
	loop->turn_timer.data = loop;
	loop->maker = &self;
	loop->tail = &loop->head;
	pthread_mutex_init(&loop->mu, NULL);
	return loop;
fail:
	error_set(err, P2P_IO, "cannot make an event loop: %s", uv_strerror(ret));
	free(loop);
	return NULL;
}

void
loop_run(struct loop *loop)
{
	atomic_store(&loop->mind, &self);
	while (!atomic_exchange(&loop->is_stopping, false))
		uv_run(&loop->uv, UV_RUN_DEFAULT);
}

void
loop_stop(struct loop *loop)
{
	atomic_store(&loop->is_stopping, true);
	ring(loop);
}

static void
on_turn_timer(uv_timer_t *timer)
{
	/* If it was due before the poll began, the poll would have nothing to end it. */
	uv_stop(timer->loop);
}

void
loop_turn(struct loop *loop, int wait_ms)
{
	unsigned long turned = loop->turned;

	atomic_store(&loop->mind, &self);
	uv_run(&loop->uv, UV_RUN_NOWAIT);
	if (loop->turned != turned || wait_ms <= 0)
		return;
	uv_timer_start(&loop->turn_timer, on_turn_timer, (uint64_t)wait_ms, 0);
	uv_run(&loop->uv, UV_RUN_ONCE);
	uv_timer_stop(&loop->turn_timer);
}

static void
check_is_closing(uv_handle_t *handle, void *arg)
{
	(void)arg;
	assert(uv_is_closing(handle)); /* else somebody forgot to free it */
	(void)handle;
}

void
loop_free(struct loop *loop)
{
	if (loop == NULL)
		return;
	atomic_store(&loop->mind, &self);
	loop_refuse_calls(loop);
	for (struct message *message; (message = take(loop)) != NULL;)
		run_message(loop, message);

	uv_close((uv_handle_t *)&loop->bell, NULL);
	uv_close((uv_handle_t *)&loop->turn_timer, NULL);
	uv_walk(&loop->uv, check_is_closing, NULL);
	uv_run(&loop->uv, UV_RUN_DEFAULT);
	int ret = uv_loop_close(&loop->uv);
	assert(ret == 0);
	(void)ret;
	pthread_mutex_destroy(&loop->mu);
	free(loop);
}

/* What hangs from a handle is freed once libuv let go of it. */
static void
on_close(uv_handle_t *handle)
{
	free(handle->data);
}

/* Timers. */

static void
on_timer(uv_timer_t *uv)
{
	struct loop_timer *timer = uv->data;

	timer->loop->turned++;
	timer->fn(timer->arg);
}

struct loop_timer *
loop_timer_new(struct loop *loop, loop_fn fn, void *arg)
{
	assert(loop_is_mine(loop));
	struct loop_timer *timer = mem_zero(1, sizeof(*timer));

	*timer = (struct loop_timer){ .loop = loop, .fn = fn, .arg = arg };
	uv_timer_init(&loop->uv, &timer->uv);
	timer->uv.data = timer;
	return timer;
}

void
loop_timer_start(struct loop_timer *timer, uint64_t after_ms)
{
	assert(loop_is_mine(timer->loop));
	/* libuv counts from when the loop last woke; the caller counts from now. */
	uv_update_time(&timer->loop->uv);
	uv_timer_start(&timer->uv, on_timer, after_ms, 0);
}

void
loop_timer_stop(struct loop_timer *timer)
{
	assert(loop_is_mine(timer->loop));
	uv_timer_stop(&timer->uv);
}

bool
loop_timer_active(const struct loop_timer *timer)
{
	return uv_is_active((const uv_handle_t *)&timer->uv) != 0;
}

void
loop_timer_free(struct loop_timer *timer)
{
	if (timer == NULL)
		return;
	assert(loop_is_mine(timer->loop));
	uv_close((uv_handle_t *)&timer->uv, on_close);
}

/* Descriptors. */

static void
on_poll(uv_poll_t *uv, int status, int events)
{
	struct loop_watch *watch = uv->data;

	watch->loop->turned++;
	if (status == 0) {
		watch->fn(watch->arg, (unsigned)events);
		return;
	}
	/* libuv stops polling at an error; whoever reads it off the socket may go on. */
	uv_poll_start(uv, (int)watch->events, on_poll);
	watch->fn(watch->arg, watch->events);
}

struct loop_watch *
loop_watch_new(struct loop *loop, int fd, loop_watch_fn fn, void *arg)
{
	assert(loop_is_mine(loop));
	struct loop_watch *watch = mem_zero(1, sizeof(*watch));

	*watch = (struct loop_watch){ .loop = loop, .fn = fn, .arg = arg };
	if (uv_poll_init(&loop->uv, &watch->uv, fd) != 0) {
		free(watch);
		return NULL;
	}
	watch->uv.data = watch;
	return watch;
}

void
loop_watch_set(struct loop_watch *watch, unsigned events)
{
	assert(loop_is_mine(watch->loop));
	if (events == watch->events)
		return;
	watch->events = events;
	if (events == 0)
		uv_poll_stop(&watch->uv);
	else
		uv_poll_start(&watch->uv, (int)events, on_poll);
}

void
loop_watch_free(struct loop_watch *watch)
{
	if (watch == NULL)
		return;
	assert(loop_is_mine(watch->loop));
	uv_close((uv_handle_t *)&watch->uv, on_close);
}

/* Signals. */

static void
on_signal(uv_signal_t *uv, int signo)
{
	struct loop_signal *sig = uv->data;

	(void)signo;
	sig->loop->turned++;
	sig->fn(sig->arg);
}

struct loop_signal *
loop_signal_new(struct loop *loop, int signo, loop_fn fn, void *arg)
{
	assert(loop_is_mine(loop));
	struct loop_signal *sig = mem_zero(1, sizeof(*sig));

	*sig = (struct loop_signal){ .loop = loop, .fn = fn, .arg = arg };
	uv_signal_init(&loop->uv, &sig->uv);
	sig->uv.data = sig;
	int ret = uv_signal_start(&sig->uv, on_signal, signo);
	assert(ret == 0); /* else the number is none */
	(void)ret;
	return sig;
}

void
loop_signal_free(struct loop_signal *sig)
{
	if (sig == NULL)
		return;
	assert(loop_is_mine(sig->loop));
	uv_close((uv_handle_t *)&sig->uv, on_close);
}
