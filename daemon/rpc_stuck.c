/* SPDX-License-Identifier: MIT
 *
 * rpc_stuck.c - notices that the poller does not come back from the library.
 *
 * The thread that waits for the queue reads the sockets too, inside the library, and the library
 * (1.51) reads a socket for as long as there is something in it.  A client that sends calls and
 * takes them back faster than they are read keeps the thread there: none of the calls is handed to
 * us, and each of them stays in memory, some 14 KB.  On a busy machine ten thousand a second are
 * enough for that.
 *
 * So there is a second thread, which sleeps.  What wakes it is a timer on the processor time of the
 * first, so that an idle face has no timer at all: whenever the poller has used STUCK_MS and not
 * once come back from the queue, the guard is told (rpc_guard.c).  It does not help the poller with
 * the queue: with two threads in it the library forgets to watch some connections.
 *
 * Where it cannot be set up the face works without.
 */
#include "rpc_internal.h"

#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "log.h"
#include "thread.h"

#define STUCK_MS     50       /* of processor time */
#define STUCK_SIGNAL SIGRTMIN /* to that thread alone */

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

static bool
set_timer(struct rpc_server *server, timer_t *ret)
{
	clockid_t clock;
	struct sigevent notify = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = STUCK_SIGNAL };
	struct itimerspec every = { { 0, STUCK_MS * 1000000l }, { 0, STUCK_MS * 1000000l } };

	notify.sigev_notify_thread_id = gettid();
	if (pthread_getcpuclockid(server->poller, &clock) != 0 ||
	    timer_create(clock, &notify, ret) != 0)
		return false;
	return timer_settime(*ret, 0, &every, NULL) == 0;
}

static void *
watch(void *arg)
{
	struct rpc_server *server = arg;
	unsigned turns = 0;
	sigset_t set;
	timer_t timer;

	sigemptyset(&set);
	sigaddset(&set, STUCK_SIGNAL);
	bool has_timer = set_timer(server, &timer);
	if (!has_timer)
		log_debug("gRPC: there is no timer on processor time");
	while (!atomic_load(&server->stuck.is_over)) {
		if (sigwaitinfo(&set, NULL) < 0)
			continue;
		unsigned now = atomic_load(&server->stuck.turns);
		if (now == turns)
			rpc_guard_note_stuck(server->rpc->guard, now);
		turns = now;
	}
	if (has_timer)
		timer_delete(timer);
	return NULL;
}

void
rpc_stuck_start(struct rpc_server *server)
{
	server->stuck.is_there =
	    thread_start(&server->stuck.thread, NULL, "p2pd-stuck", watch, server) == 0;
}

void
rpc_stuck_stop(struct rpc_server *server)
{
	if (!server->stuck.is_there)
		return;
	atomic_store(&server->stuck.is_over, true);
	pthread_kill(server->stuck.thread, STUCK_SIGNAL);
	pthread_join(server->stuck.thread, NULL);
}
