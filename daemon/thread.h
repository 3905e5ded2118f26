/* SPDX-License-Identifier: MIT
 *
 * thread.h - threads of ours: they take no signals, and have a name.
 */
#ifndef P2PD_THREAD_H
#define P2PD_THREAD_H

#include <pthread.h>

/* pthread_create() with every signal blocked in the new thread: they are the mind's.  `attr` and `name` (at most 15 bytes,
 * for ps and top) may be NULL.  0, or the errno of pthread_create().  Any thread. */
int	thread_start(pthread_t *ret, const pthread_attr_t *attr, const char *name, void *(*run)(void *), void *arg);

#endif
