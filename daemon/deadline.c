/* SPDX-License-Identifier: MIT
 *
 * deadline.c - ends the process if something takes too long.
 *
 * A thread of its own watches the clock, for every other may be what hangs: the mind itself may wait for a disk.
 */
#include "deadline.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "log.h"
#include "mem.h"
#include "thread.h"

struct deadline {
	const char *complaint;
	struct timespec until; /* of the monotonic clock */
	pthread_t watcher;
	pthread_mutex_t mu; /* guards what follows */
	pthread_cond_t lifted;
	bool is_lifted;
};

static void *
watch(void *arg)
{
	struct deadline *deadline = arg;
	int code = 0;

	pthread_mutex_lock(&deadline->mu);
	while (!deadline->is_lifted && code != ETIMEDOUT)
		code = pthread_cond_timedwait(&deadline->lifted, &deadline->mu, &deadline->until);
	bool is_lifted = deadline->is_lifted;
	pthread_mutex_unlock(&deadline->mu);
	if (!is_lifted) {
		log_warn("%s", deadline->complaint);
		_exit(0);
	}
	return NULL;
}

static void
destroy(struct deadline *deadline)
{
	pthread_cond_destroy(&deadline->lifted);
	pthread_mutex_destroy(&deadline->mu);
	free(deadline);
}

struct deadline *
deadline_set(uint32_t ms, const char *complaint)
{
	struct deadline *deadline = mem_zero(1, sizeof(*deadline));
	pthread_condattr_t attr;

	deadline->complaint = complaint;
	pthread_mutex_init(&deadline->mu, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&deadline->lifted, &attr);
	pthread_condattr_destroy(&attr);
	clock_gettime(CLOCK_MONOTONIC, &deadline->until);
	deadline->until.tv_sec += ms / 1000;
	deadline->until.tv_nsec += ms % 1000 * 1000000l;
	if (deadline->until.tv_nsec >= 1000000000l) {
		deadline->until.tv_nsec -= 1000000000l;
		deadline->until.tv_sec++;
	}
	if (thread_start(&deadline->watcher, NULL, "p2pd-deadline", watch, deadline) == 0)
		return deadline;
	destroy(deadline);
	return NULL;
}

void
deadline_lift(struct deadline *deadline)
{
	if (deadline == NULL)
		return;
	pthread_mutex_lock(&deadline->mu);
	deadline->is_lifted = true;
	pthread_cond_signal(&deadline->lifted);
	pthread_mutex_unlock(&deadline->mu);
	pthread_join(deadline->watcher, NULL);
	destroy(deadline);
}
