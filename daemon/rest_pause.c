/* SPDX-License-Identifier: MIT
 *
 * rest_pause.c - connections that wait for the mind.
 *
 * libmicrohttpd asks a content reader for bytes again and again; one that has none must suspend its
 * connection, or the thread spins.  Suspending and resuming race with each other, so both happen
 * under the pause's lock: a wake that comes first is remembered and makes the next wait return at
 * once.  A handler that has to wait before it answers suspends its connection in the same way; the
 * library runs it again when the connection was resumed.
 *
 * A suspended connection does not notice that its client left.  So the watch of rest_conn.c, which
 * runs as long as there are connections, looks at those that wait, once a second.
 *
 * Stopping the library while a connection is suspended ends the process.  rest_free() therefore
 * ends every pause first: those that wait are resumed, and from then on no reader suspends any
 * more.
 */
#include "rest_internal.h"

void
rest_pause_init(struct rest_pause *pause, struct rest_request *req)
{
	struct rest *rest = req->rest;

	*pause =
	    (struct rest_pause){ .rest = rest_ref(rest), .mhd = req->mhd, .fd = req->conn->fd };
	pthread_mutex_init(&pause->mu, NULL);

	pthread_mutex_lock(&rest->mu);
	pause->is_over = rest->is_stopping;
	pause->next = rest->pauses;
	pause->link = &rest->pauses;
	if (pause->next != NULL)
		pause->next->link = &pause->next;
	rest->pauses = pause;
	pthread_mutex_unlock(&rest->mu);
}

void
rest_pause_fini(struct rest_pause *pause)
{
	struct rest *rest = pause->rest;

	pthread_mutex_lock(&rest->mu);
	*pause->link = pause->next;
	if (pause->next != NULL)
		pause->next->link = pause->link;
	pthread_mutex_unlock(&rest->mu);
	pthread_mutex_destroy(&pause->mu);
	rest_unref(rest);
}

/* Holds mu.  True if the connection is suspended now. */
static bool
suspend(struct rest_pause *pause)
{
	bool must_wait = !pause->is_over && !pause->is_woken;

	pause->is_woken = false;
	if (!must_wait)
		return false;
	pause->is_suspended = true;
	MHD_suspend_connection(pause->mhd);
	return true;
}

bool
rest_pause_wait(struct rest_pause *pause)
{
	pthread_mutex_lock(&pause->mu);
	bool goes_on = !pause->is_over;
	suspend(pause);
	pthread_mutex_unlock(&pause->mu);
	return goes_on;
}

bool
rest_pause_suspend(struct rest_pause *pause)
{
	pthread_mutex_lock(&pause->mu);
	bool waits = suspend(pause);
	pthread_mutex_unlock(&pause->mu);
	return waits;
}

/* Holds mu. */
static void
resume(struct rest_pause *pause)
{
	pause->is_woken = !pause->is_suspended;
	if (!pause->is_suspended)
		return;
	pause->is_suspended = false;
	MHD_resume_connection(pause->mhd);
}

void
rest_pause_wake(struct rest_pause *pause)
{
	pthread_mutex_lock(&pause->mu);
	resume(pause);
	pthread_mutex_unlock(&pause->mu);
}

void
rest_pause_look(struct rest_pause *pause)
{
	pthread_mutex_lock(&pause->mu);
	if (pause->is_suspended && rest_conn_is_gone(pause->fd)) {
		pause->is_over = true;
		resume(pause);
	}
	pthread_mutex_unlock(&pause->mu);
}

void
rest_pause_end(struct rest_pause *pause)
{
	pthread_mutex_lock(&pause->mu);
	pause->is_over = true;
	resume(pause);
	pthread_mutex_unlock(&pause->mu);
}
