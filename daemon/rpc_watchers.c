/* SPDX-License-Identifier: MIT
 *
 * rpc_watchers.c - calls that last until somebody ends them, and the good-bye to them.
 *
 * Those who watch (health, events) wait for news for as long as they like.  On the way down they
 * should hear why it is over, and not find themselves cancelled: so they stand in a list,
 * rpc_watchers_stop() wakes them, and gives them FAREWELL_MS until their last word has left, which
 * is a little after their end.  One whose client does not read is not waited for any longer.
 */
#include "rpc_internal.h"

#include <errno.h>
#include <time.h>

#define FAREWELL_MS 200

void
rpc_watchers_init(struct rpc_watchers *watchers)
{
	pthread_condattr_t attr;

	pthread_mutex_init(&watchers->mu, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&watchers->left, &attr);
	pthread_condattr_destroy(&attr);
}

void
rpc_watchers_fini(struct rpc_watchers *watchers)
{
	pthread_cond_destroy(&watchers->left);
	pthread_mutex_destroy(&watchers->mu);
}

void
rpc_watcher_add(struct rpc_watcher *watcher, struct rpc_call *call)
{
	struct rpc_watchers *watchers = &rpc_head(call)->rpc->watchers;

	watcher->call = call;
	rpc_head(call)->lasts = true;
	pthread_mutex_lock(&watchers->mu);
	watcher->next = watchers->first;
	watcher->link = &watchers->first;
	if (watcher->next != NULL)
		watcher->next->link = &watcher->next;
	watchers->first = watcher;
	watchers->count++;
	pthread_mutex_unlock(&watchers->mu);
}

void
rpc_watcher_remove(struct rpc_watcher *watcher)
{
	struct rpc_watchers *watchers = &rpc_head(watcher->call)->rpc->watchers;

	pthread_mutex_lock(&watchers->mu);
	*watcher->link = watcher->next;
	if (watcher->next != NULL)
		watcher->next->link = watcher->link;
	pthread_mutex_unlock(&watchers->mu);
}

void
rpc_watchers_let_go(struct rpc_watchers *watchers)
{
	pthread_mutex_lock(&watchers->mu);
	watchers->count--;
	pthread_cond_signal(&watchers->left);
	pthread_mutex_unlock(&watchers->mu);
}

bool
rpc_watcher_is_stopping(const struct rpc_watcher *watcher)
{
	return atomic_load(&rpc_head(watcher->call)->rpc->watchers.is_stopping);
}

void
rpc_watchers_stop(struct rpc_watchers *watchers)
{
	struct timespec until;
	int code = 0;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += FAREWELL_MS * 1000000l;
	until.tv_sec += until.tv_nsec / 1000000000l;
	until.tv_nsec %= 1000000000l;
	atomic_store(&watchers->is_stopping, true);
	pthread_mutex_lock(&watchers->mu);
	for (struct rpc_watcher *watcher = watchers->first; watcher != NULL;
	     watcher = watcher->next)
		rpc_wake(watcher->call);
	while (watchers->count > 0 && code != ETIMEDOUT)
		code = pthread_cond_timedwait(&watchers->left, &watchers->mu, &until);
	pthread_mutex_unlock(&watchers->mu);
}
