/* SPDX-License-Identifier: MIT
 *
 * pool.c - worker threads and their two queues.
 *
 * All workers are alike.  A free one takes the oldest SOON job, and if there is none the oldest
 * BULK job, unless as many as may do BULK at once already do.  As there are two workers more
 * than that, a job that somebody waits for finds a free hand however long the scan is.  SOON
 * may take every worker: it is meant for what is short and for what people look at.
 *
 * One mutex, one condition.  A submission wakes one worker if a job can start; a worker that took
 * a job wakes the next one if there is more to start.  Nobody is woken in vain but at the end.
 *
 * The pool is our own and not libuv's, because that one has four threads for the whole process,
 * no priorities and no bounded share.  Stacks are small (jobs keep their buffers elsewhere) and
 * all signals are blocked, so that signals find the mind.
 *
 * No queue limit is kept here: who submits bounds what he has under way.
 */
#include "pool.h"

#include <assert.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "mem.h"
#include "thread.h"

#define STACK_BYTES      (256u << 10)
#define SOON_WORKERS     2 /* more than BULK can ever have */
#define BULK_WORKERS_MAX 64

struct job {
	struct job *next;
	pool_fn work;
	loop_fn done;
	void *arg;
};

struct queue {
	struct job *head, **tail;
};

struct pool {
	struct loop *loop;
	unsigned bulk_workers;
	unsigned worker_count;
	pthread_t *workers;

	pthread_mutex_t mu; /* guards what follows */
	pthread_cond_t wake;
	struct queue queues[2]; /* by enum pool_queue */
	unsigned bulk_running;
	bool is_stopping;
};

/* Holds mu. */
static bool
can_start(const struct pool *pool, enum pool_queue queue)
{
	if (pool->queues[queue].head == NULL)
		return false;
	return queue == POOL_SOON || pool->bulk_running < pool->bulk_workers;
}

/* Holds mu. */
static struct job *
pop(struct queue *queue)
{
	struct job *job = queue->head;

	queue->head = job->next;
	if (queue->head == NULL)
		queue->tail = &queue->head;
	return job;
}

/* Holds mu. */
static bool
is_finished(const struct pool *pool)
{
	return pool->is_stopping && pool->queues[POOL_SOON].head == NULL &&
	       pool->queues[POOL_BULK].head == NULL;
}

/* Holds mu.  Waits for a job; NULL when there will be none. */
static struct job *
next_job(struct pool *pool, enum pool_queue *ret_queue)
{
	for (;;) {
		*ret_queue = can_start(pool, POOL_SOON) ? POOL_SOON : POOL_BULK;
		if (can_start(pool, *ret_queue))
			break;
		if (is_finished(pool))
			return NULL;
		pthread_cond_wait(&pool->wake, &pool->mu);
	}
	struct job *job = pop(&pool->queues[*ret_queue]);
	if (*ret_queue == POOL_BULK)
		pool->bulk_running++;
	if (can_start(pool, POOL_SOON) || can_start(pool, POOL_BULK))
		pthread_cond_signal(&pool->wake);
	return job;
}

static void
run_job(struct pool *pool, struct job *job)
{
	job->work(job->arg);
	if (job->done != NULL)
		loop_post(pool->loop, job->done, job->arg);
	free(job);
}

static void *
work(void *arg)
{
	struct pool *pool = arg;
	enum pool_queue queue;

	pthread_mutex_lock(&pool->mu);
	for (struct job *job; (job = next_job(pool, &queue)) != NULL;) {
		pthread_mutex_unlock(&pool->mu);
		run_job(pool, job);
		pthread_mutex_lock(&pool->mu);
		if (queue == POOL_BULK)
			pool->bulk_running--;
	}
	pthread_cond_broadcast(&pool->wake); /* the others are finished too */
	pthread_mutex_unlock(&pool->mu);
	return NULL;
}

static unsigned
core_count(void)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set) != 0)
		return 1;
	return (unsigned)CPU_COUNT(&set);
}

static void
start_worker(struct pool *pool, const pthread_attr_t *attr)
{
	pthread_t *thread = &pool->workers[pool->worker_count];
	int ret = thread_start(thread, attr, "p2pd-hand", work, pool);

	if (ret != 0) {
		/* As with memory: without hands there is no daemon. */
		log_error("cannot start a worker thread: %s", strerror(ret));
		exit(EXIT_FAILURE);
	}
	pool->worker_count++;
}

struct pool *
pool_new(struct loop *loop, unsigned bulk_workers)
{
	struct pool *pool = mem_zero(1, sizeof(*pool));

	if (bulk_workers == 0)
		bulk_workers = core_count();
	if (bulk_workers > BULK_WORKERS_MAX)
		bulk_workers = BULK_WORKERS_MAX;
	pool->loop = loop;
	pool->bulk_workers = bulk_workers;
	pthread_mutex_init(&pool->mu, NULL);
	pthread_cond_init(&pool->wake, NULL);
	for (size_t i = 0; i < 2; i++)
		pool->queues[i].tail = &pool->queues[i].head;

	unsigned wanted = bulk_workers + SOON_WORKERS;
	pool->workers = mem_zero(wanted, sizeof(*pool->workers));
	pthread_attr_t attr;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	while (pool->worker_count < wanted)
		start_worker(pool, &attr);
	pthread_attr_destroy(&attr);
	return pool;
}

unsigned
pool_bulk_workers(const struct pool *pool)
{
	return pool->bulk_workers;
}

void
pool_free(struct pool *pool)
{
	if (pool == NULL)
		return;
	pthread_mutex_lock(&pool->mu);
	pool->is_stopping = true;
	pthread_cond_broadcast(&pool->wake);
	pthread_mutex_unlock(&pool->mu);
	for (unsigned i = 0; i < pool->worker_count; i++)
		pthread_join(pool->workers[i], NULL);

	assert(pool->bulk_running == 0);
	pthread_cond_destroy(&pool->wake);
	pthread_mutex_destroy(&pool->mu);
	free(pool->workers);
	free(pool);
}

void
pool_submit(struct pool *pool, enum pool_queue queue, pool_fn work_fn, loop_fn done, void *arg)
{
	struct job *job = mem_zero(1, sizeof(*job));

	*job = (struct job){ .work = work_fn, .done = done, .arg = arg };
	pthread_mutex_lock(&pool->mu);
	*pool->queues[queue].tail = job;
	pool->queues[queue].tail = &job->next;
	if (can_start(pool, queue))
		pthread_cond_signal(&pool->wake);
	pthread_mutex_unlock(&pool->mu);
}
