/* SPDX-License-Identifier: MIT
 *
 * thread.c - starts threads that take no signals.
 *
 * A signal that meets a thread in the midst of a read or write makes it short, and is for the mind alone.  The mask is
 * inherited, so it is set around the start, not in the thread, which may be interrupted before it gets there.
 */
#include "thread.h"

#include <signal.h>
#include <stddef.h>

int
thread_start(pthread_t *ret, const pthread_attr_t *attr, const char *name, void *(*run)(void *),
	     void *arg)
{
	sigset_t all, before;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int failed = pthread_create(ret, attr, run, arg);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (failed == 0 && name != NULL)
		pthread_setname_np(*ret, name);
	return failed;
}
