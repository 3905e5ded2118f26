/* SPDX-License-Identifier: MIT
 *
 * pool.h - the hands that hash and wait for disks.
 *
 * A job is run by some worker, and its completion is a post to the mind.  Two queues: what
 * somebody waits for (SOON) goes first; bulk work (BULK: indexing, big syncs) never has all
 * workers at once, so a long scan delays nobody's answer.
 */
#ifndef P2PD_POOL_H
#define P2PD_POOL_H

#include "loop.h"

struct pool;

enum pool_queue { POOL_SOON, POOL_BULK };

typedef void	(*pool_fn)(void *arg);

/* `bulk_workers` threads may do BULK work; two more are kept for SOON.  0: as many as there are cores. */
struct pool	*pool_new(struct loop *loop, unsigned bulk_workers);
unsigned	 pool_bulk_workers(const struct pool *pool);
/* Finishes every job that was submitted and joins the workers; completions are still posted.  Not from a worker. */
void		 pool_free(struct pool *pool);
/* Any thread.  work(arg) on a worker, then done(arg) on the mind (done may be NULL).
 * Jobs start in the order of their submission within a queue. */
void		 pool_submit(struct pool *pool, enum pool_queue queue, pool_fn work, loop_fn done, void *arg);

#endif
