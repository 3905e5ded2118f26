/* SPDX-License-Identifier: MIT
 *
 * check_pool.c - who works when: order, priority, the bounded share of bulk work, the way down.
 *
 * Jobs stop at a gate where the test lets them pass, so that who runs at once is a fact and not
 * luck.
 */
#include "pool.h"

#include <check.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

#include "clock.h"

#define BOUND_MS  20000
#define MANY_JOBS 2000

struct yard {
	struct loop *loop;
	struct pool *pool;
	pthread_mutex_t mu; /* guards what follows */
	pthread_cond_t changed;
	int tickets; /* to pass the gate, one for each job */
	int started, finished;
	int running, most_running;
	int order[MANY_JOBS]; /* the numbers of jobs as they started */
	int done;             /* completions; the mind's */
};

struct job {
	struct yard *yard;
	int number;
};

static void
yard_init(struct yard *yard, unsigned bulk_workers)
{
	*yard = (struct yard){ .loop = loop_new(NULL) };
	ck_assert_ptr_nonnull(yard->loop);
	yard->pool = pool_new(yard->loop, bulk_workers);
	pthread_mutex_init(&yard->mu, NULL);
	pthread_cond_init(&yard->changed, NULL);
}

static void
yard_fini(struct yard *yard)
{
	pool_free(yard->pool);
	loop_free(yard->loop);
	pthread_cond_destroy(&yard->changed);
	pthread_mutex_destroy(&yard->mu);
}

static void
let_pass(struct yard *yard, int jobs)
{
	pthread_mutex_lock(&yard->mu);
	yard->tickets += jobs;
	pthread_cond_broadcast(&yard->changed);
	pthread_mutex_unlock(&yard->mu);
}

static void
begin(struct job *job)
{
	struct yard *yard = job->yard;

	pthread_mutex_lock(&yard->mu);
	yard->order[yard->started++] = job->number;
	if (++yard->running > yard->most_running)
		yard->most_running = yard->running;
	pthread_cond_broadcast(&yard->changed);
	pthread_mutex_unlock(&yard->mu);
}

static void
end(struct job *job)
{
	struct yard *yard = job->yard;

	pthread_mutex_lock(&yard->mu);
	yard->finished++;
	yard->running--;
	pthread_cond_broadcast(&yard->changed);
	pthread_mutex_unlock(&yard->mu);
}

static void
work_at_once(void *arg)
{
	begin(arg);
	end(arg);
}

static void
work_behind_gate(void *arg)
{
	struct job *job = arg;

	begin(job);
	pthread_mutex_lock(&job->yard->mu);
	while (job->yard->tickets == 0)
		pthread_cond_wait(&job->yard->changed, &job->yard->mu);
	job->yard->tickets--;
	pthread_mutex_unlock(&job->yard->mu);
	end(job);
}

static void
complete(void *arg)
{
	struct job *job = arg;

	ck_assert(loop_is_mine(job->yard->loop));
	job->yard->done++;
	free(job);
}

static void
submit(struct yard *yard, enum pool_queue queue, pool_fn work, int number)
{
	struct job *job = malloc(sizeof(*job));

	*job = (struct job){ yard, number };
	pool_submit(yard->pool, queue, work, complete, job);
}

/* Waits for a counter of the yard. */
static void
wait_for(struct yard *yard, const int *counter, int wanted)
{
	struct timespec end;

	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += BOUND_MS / 1000;
	pthread_mutex_lock(&yard->mu);
	while (*counter < wanted)
		ck_assert_int_eq(pthread_cond_timedwait(&yard->changed, &yard->mu, &end), 0);
	pthread_mutex_unlock(&yard->mu);
}

static void
turn_until_done(struct yard *yard, int wanted)
{
	uint64_t end_ms = clock_ms() + BOUND_MS;

	while (yard->done < wanted) {
		ck_assert_uint_lt(clock_ms(), end_ms);
		loop_turn(yard->loop, 100);
	}
}

START_TEST(test_every_job_is_done_once_and_completes_on_the_mind)
{
	static struct yard yard;

	yard_init(&yard, 2);
	loop_turn(yard.loop, 0);
	for (int i = 0; i < MANY_JOBS; i++)
		submit(&yard, i % 3 == 0 ? POOL_SOON : POOL_BULK, work_at_once, i);
	turn_until_done(&yard, MANY_JOBS);
	loop_turn(yard.loop, 0);
	ck_assert_int_eq(yard.done, MANY_JOBS);
	ck_assert_int_eq(yard.finished, MANY_JOBS);
	yard_fini(&yard);
}
END_TEST

START_TEST(test_bulk_jobs_start_in_order)
{
	static struct yard yard;

	yard_init(&yard, 1);
	for (int i = 0; i < MANY_JOBS; i++)
		submit(&yard, POOL_BULK, work_at_once, i);
	turn_until_done(&yard, MANY_JOBS);
	for (int i = 0; i < MANY_JOBS; i++)
		ck_assert_int_eq(yard.order[i], i);
	ck_assert_int_eq(yard.most_running, 1);
	yard_fini(&yard);
}
END_TEST

START_TEST(test_bulk_work_never_has_more_than_its_share)
{
	static struct yard yard;

	yard_init(&yard, 3);
	ck_assert_uint_eq(pool_bulk_workers(yard.pool), 3);
	for (int i = 0; i < 20; i++)
		submit(&yard, POOL_BULK, work_behind_gate, i);
	wait_for(&yard, &yard.running, 3);
	/* The two others are free: they do what is wanted soon, again and again. */
	for (int i = 0; i < 50; i++) {
		submit(&yard, POOL_SOON, work_at_once, 100);
		turn_until_done(&yard, i + 1);
	}
	ck_assert_int_eq(yard.started, 3 + 50);
	let_pass(&yard, 20);
	turn_until_done(&yard, 20 + 50);
	ck_assert_int_le(yard.most_running, 4);
	yard_fini(&yard);
}
END_TEST

START_TEST(test_soon_goes_before_bulk_and_may_have_all_workers)
{
	static struct yard yard;

	yard_init(&yard, 1);
	for (int i = 0; i < 3; i++)
		submit(&yard, POOL_SOON, work_behind_gate, i);
	wait_for(&yard, &yard.running, 3);
	submit(&yard, POOL_BULK, work_at_once, 100);
	for (int i = 3; i < 6; i++)
		submit(&yard, POOL_SOON, work_behind_gate, i);
	for (int i = 3; i < 6; i++) {
		let_pass(&yard, 1); /* one worker becomes free */
		wait_for(&yard, &yard.started, i + 1);
		ck_assert_int_eq(yard.order[i], i);
	}
	let_pass(&yard, 3);
	turn_until_done(&yard, 7);
	ck_assert_int_eq(yard.order[6], 100);
	yard_fini(&yard);
}
END_TEST

START_TEST(test_freeing_finishes_what_was_submitted)
{
	static struct yard yard;

	yard_init(&yard, 2);
	for (int i = 0; i < 500; i++)
		submit(&yard, POOL_BULK, work_at_once, i);
	pool_free(yard.pool);
	yard.pool = NULL;
	ck_assert_int_eq(yard.finished, 500);
	ck_assert_int_lt(yard.done, 500); /* completions are only posted */
	turn_until_done(&yard, 500);
	yard_fini(&yard);
}
END_TEST

static void
submit_another(void *arg)
{
	struct job *job = arg;

	begin(job);
	end(job);
	if (job->number > 0)
		submit(job->yard, POOL_BULK, submit_another, job->number - 1);
}

START_TEST(test_a_job_may_submit_jobs_even_on_the_way_down)
{
	static struct yard yard;

	yard_init(&yard, 1);
	submit(&yard, POOL_BULK, submit_another, 99);
	pool_free(yard.pool);
	yard.pool = NULL;
	ck_assert_int_eq(yard.finished, 100);
	yard_fini(&yard);
	ck_assert_int_eq(yard.done, 100);
}
END_TEST

struct facts {
	bool blocks_term;
	size_t stack_bytes;
};

static void
look_around(void *arg)
{
	struct facts *facts = arg;
	pthread_attr_t attr;
	sigset_t set;

	pthread_sigmask(SIG_SETMASK, NULL, &set);
	facts->blocks_term = sigismember(&set, SIGTERM) == 1;
	pthread_getattr_np(pthread_self(), &attr);
	pthread_attr_getstacksize(&attr, &facts->stack_bytes);
	pthread_attr_destroy(&attr);
}

START_TEST(test_workers_leave_signals_to_the_mind_and_have_small_stacks)
{
	struct loop *loop = loop_new(NULL);
	struct pool *pool = pool_new(loop, 0);
	struct facts facts = { 0 };
	sigset_t mine;

	ck_assert_uint_ge(pool_bulk_workers(pool), 1);
	pool_submit(pool, POOL_SOON, look_around, NULL, &facts); /* no completion */
	pool_free(pool);
	ck_assert(facts.blocks_term);
	ck_assert_uint_le(facts.stack_bytes, 1u << 20);
	pthread_sigmask(SIG_SETMASK, NULL, &mine);
	ck_assert_int_eq(sigismember(&mine, SIGTERM), 0);
	loop_free(loop);
	pool_free(NULL);
}
END_TEST

static Suite *
pool_suite(void)
{
	Suite *suite = suite_create("pool");
	TCase *tcase = tcase_create("pool");

	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, test_every_job_is_done_once_and_completes_on_the_mind);
	tcase_add_test(tcase, test_bulk_jobs_start_in_order);
	tcase_add_test(tcase, test_bulk_work_never_has_more_than_its_share);
	tcase_add_test(tcase, test_soon_goes_before_bulk_and_may_have_all_workers);
	tcase_add_test(tcase, test_freeing_finishes_what_was_submitted);
	tcase_add_test(tcase, test_a_job_may_submit_jobs_even_on_the_way_down);
	tcase_add_test(tcase, test_workers_leave_signals_to_the_mind_and_have_small_stacks);
	suite_add_tcase(suite, tcase);
	return suite;
}

int
main(void)
{
	SRunner *runner = srunner_create(pool_suite());

	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
