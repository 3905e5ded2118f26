/* SPDX-License-Identifier: MIT
 *
 * loop.h - the mind's thread: messages, timers, descriptors, signals.  libuv behind it.
 *
 * The thread that calls loop_run() is the mind.  It never blocks.  Other threads reach it by
 * loop_post() (tell) and loop_call() (ask; the asker waits).  Everything else here is for the
 * mind's thread, or for the time before loop_run().
 */
#ifndef P2PD_LOOP_H
#define P2PD_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "error.h"

struct loop;
struct loop_timer;
struct loop_watch;
struct loop_signal;

typedef void	(*loop_fn)(void *arg);
typedef int	(*loop_ask_fn)(void *arg);
typedef void	(*loop_watch_fn)(void *arg, unsigned events);

enum { LOOP_READ = 1, LOOP_WRITE = 2 };	/* events of a watch; an error or hang-up shows as both asked ones */

struct loop	*loop_new(struct error *err);
/* After loop_run() returned: runs what was still posted, frees.  NULL is nothing. */
void		 loop_free(struct loop *loop);
/* Makes the calling thread the mind until loop_stop(). */
void		 loop_run(struct loop *loop);
/* Any thread. */
void		 loop_stop(struct loop *loop);
/* Runs what is ready now, and waits for at most `wait_ms` if nothing is; for tests.  The caller is the mind. */
void		 loop_turn(struct loop *loop, int wait_ms);

/* True on the mind's thread, and anywhere before the first loop_run()/loop_turn(). */
bool		 loop_is_mine(const struct loop *loop);

/* Any thread.  Runs fn(arg) on the mind, in the order of posting.  Never waits.  A post during or after the
 * way down is run by loop_free() at the latest, so that what it owns is freed. */
void		 loop_post(struct loop *loop, loop_fn fn, void *arg);
/* Any thread.  Runs fn(arg) on the mind and answers what it returned; on the mind itself: at once, always.
 * (Before the first run the mind is the thread of loop_new(); others wait until there is a run.)
 * P2P_SHUTTING_DOWN, with fn not run, once loop_refuse_calls() was called. */
int		 loop_call(struct loop *loop, loop_ask_fn fn, void *arg);
/* Mind.  From now on calls answer P2P_SHUTTING_DOWN; those that wait are woken. */
void		 loop_refuse_calls(struct loop *loop);

/* Mind.  A one-shot timer, monotonic; start again to move it.  An idle timer wakes nobody. */
struct loop_timer *loop_timer_new(struct loop *loop, loop_fn fn, void *arg);
void		 loop_timer_start(struct loop_timer *timer, uint64_t after_ms);
void		 loop_timer_stop(struct loop_timer *timer);
bool		 loop_timer_active(const struct loop_timer *timer);
void		 loop_timer_free(struct loop_timer *timer);	/* stops it; safe inside its own fn */

/* Mind.  Watches a descriptor (borrowed, non-blocking) for a set of events, at first none.
 * NULL if the kernel will not: a regular file, one that is watched already, no memory. */
struct loop_watch *loop_watch_new(struct loop *loop, int fd, loop_watch_fn fn, void *arg);
void		 loop_watch_set(struct loop_watch *watch, unsigned events);
/* Safe inside its own fn; close the fd afterwards. */
void		 loop_watch_free(struct loop_watch *watch);

/* Mind.  Runs fn(arg) on the mind after the signal came. */
struct loop_signal *loop_signal_new(struct loop *loop, int signo, loop_fn fn, void *arg);
void		 loop_signal_free(struct loop_signal *sig);

#endif
