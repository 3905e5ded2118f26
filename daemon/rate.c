/* SPDX-License-Identifier: MIT
 *
 * rate.c - token buckets, kept as the moment at which each is empty of debt.
 *
 * A bucket is one number: the moment from which the next byte may pass if nothing stays unused.
 * Reserving moves it by the time that the bytes take at the limit; a bucket that was idle lags
 * behind the clock by RATE_BURST_MS at most, and that is the burst.  A stream's bytes may pass at
 * the later one of two moments: that of all streams together and that of its peer.
 *
 * Because bytes are reserved when they are asked for, the moments of those who wait follow one
 * another in the order of asking.  A stream asks again only after its turn: hence round robin,
 * whoever is slow or fast, without a queue.  What is reserved at a time is about 25 ms worth of the
 * tighter limit, so that timers are few; and less the longer the wait is, so that a round stays
 * short: it grows with the root of their number, to 3 s for 1,500.
 *
 * A peer with sixty streams asks sixty times in a round, so each of them reserves a sixtieth of
 * what the only stream of another peer does: per round, all peers get the same, and who comes new
 * waits no longer than if each had one.  The parts become no smaller than RATE_SHARE_MIN: below a
 * limit of 600 KB/s, sixty streams get more than their peer's share, but not by much.
 *
 * Peers have their buckets in sets of WAYS, by a hash of their key.  One without streams holds
 * nothing worth knowing, or little, and gives its place to a newcomer.  If all of a set have streams
 * the newcomer shares the least busy one of them, with its debt: both are slower than they might be.
 *
 * No limit costs one relaxed load.
 */
#include "rate.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"

#define NS_PER_S      1000000000ull
#define NS_PER_US     1000ull
#define BURST_NS      (RATE_BURST_MS * 1000000ull)
#define STEPS_PER_S   40                 /* of the tighter limit: so much is reserved at a time */
#define ROUND_NS      (250 * 1000000ull) /* whoever waits longer reserves less */
#define WAYS          8
#define SETS          (RATE_PEERS_MAX / WAYS)
#define RESERVE_BYTES (1ull << 32) /* at a time: a product with NS_PER_S fits */

struct bucket {
	uint64_t free_ns; /* the next byte may pass then */
};

struct peer_bucket {
	char key[RATE_PEER_SIZE];
	struct bucket bucket; /* used if each peer has a limit */
	unsigned streams;
};

struct rate {
	atomic_bool is_limited;
	atomic_uint change;
	pthread_mutex_t mu; /* guards what follows */
	uint64_t all_bps, each_bps;
	struct bucket all;
	struct peer_bucket *peers; /* [RATE_PEERS_MAX]; NULL without a limit */
};

struct rate *
rate_new(void)
{
	struct rate *rate = mem_zero(1, sizeof(*rate));

	pthread_mutex_init(&rate->mu, NULL);
	return rate;
}

void
rate_free(struct rate *rate)
{
	if (rate == NULL)
		return;
	pthread_mutex_destroy(&rate->mu);
	free(rate->peers);
	free(rate);
}

void
rate_set(struct rate *rate, uint64_t all_bps, uint64_t each_bps, uint64_t now_us)
{
	assert(all_bps <= RATE_MAX && each_bps <= RATE_MAX);
	pthread_mutex_lock(&rate->mu);
	rate->all_bps = all_bps;
	rate->each_bps = each_bps;
	rate->all.free_ns = now_us * NS_PER_US; /* no burst: nothing was saved under this limit */
	free(rate->peers);
	bool is_limited = all_bps > 0 || each_bps > 0;
	rate->peers = is_limited ? mem_zero(RATE_PEERS_MAX, sizeof(*rate->peers)) : NULL;
	atomic_fetch_add(&rate->change, 1);
	atomic_store(&rate->is_limited, is_limited);
	pthread_mutex_unlock(&rate->mu);
}

bool
rate_is_limited(const struct rate *rate)
{
	return rate != NULL && atomic_load_explicit(&rate->is_limited, memory_order_relaxed);
}

unsigned
rate_change(const struct rate *rate)
{
	return rate != NULL ? atomic_load(&rate->change) : 0;
}

/* --- buckets --- */

static uint64_t
time_of(size_t bytes, uint64_t bps)
{
	assert(bytes <= RESERVE_BYTES);
	return (uint64_t)bytes * NS_PER_S / bps;
}

/* Answers the moment from which the bytes may pass. */
static uint64_t
bucket_take(struct bucket *bucket, size_t bytes, uint64_t bps, uint64_t now_ns)
{
	uint64_t earliest_ns = now_ns > BURST_NS ? now_ns - BURST_NS : 0;

	if (bucket->free_ns < earliest_ns)
		bucket->free_ns = earliest_ns;
	uint64_t due_ns = bucket->free_ns;
	bucket->free_ns += time_of(bytes, bps);
	return due_ns;
}

static void
bucket_give_back(struct bucket *bucket, size_t bytes, uint64_t bps)
{
	uint64_t time_ns = time_of(bytes, bps);

	bucket->free_ns -= time_ns < bucket->free_ns ? time_ns : bucket->free_ns;
}

static size_t
set_of(const char *key)
{
	uint64_t hash = 14695981039346656037ull; /* FNV-1a */

	for (; *key != '\0'; key++)
		hash = (hash ^ (unsigned char)*key) * 1099511628211ull;
	return (size_t)((hash ^ hash >> 32) % SETS);
}

static bool
is_less_busy(const struct peer_bucket *a, const struct peer_bucket *b)
{
	if ((a->streams > 0) != (b->streams > 0))
		return a->streams == 0;
	return a->bucket.free_ns < b->bucket.free_ns;
}

/* Holds mu.  The peer's bucket; of a newcomer one that nobody needs, or else the least busy. */
static struct peer_bucket *
find_peer(struct rate *rate, const char *peer)
{
	char key[RATE_PEER_SIZE];

	snprintf(key, sizeof(key), "%s", peer);
	struct peer_bucket *set = &rate->peers[set_of(key) * WAYS], *least = set;
	for (size_t i = 0; i < WAYS; i++) {
		if (strcmp(set[i].key, key) == 0)
			return &set[i];
		if (is_less_busy(&set[i], least))
			least = &set[i];
	}
	if (least->streams == 0)
		strcpy(least->key, key);
	return least;
}

/* Holds mu.  The bucket that the stream is counted in, from its first asking on; NULL: nobody is known. */
static struct peer_bucket *
enter(struct rate *rate, const char *peer, struct rate_turn *turn)
{
	if (turn->peer == 0 && peer != NULL) {
		struct peer_bucket *found = find_peer(rate, peer);

		found->streams++;
		turn->peer = (unsigned)(found - rate->peers) + 1;
	}
	return turn->peer != 0 ? &rate->peers[turn->peer - 1] : NULL;
}

/* --- streams --- */

/* Holds mu.  Bytes that are reserved at a time by one who will wait so long for them, one of so many
 * streams of its peer. */
static size_t
step_of(const struct rate *rate, bool has_peer, unsigned streams, uint64_t wait_ns)
{
	uint64_t bps = rate->all_bps > 0 ? rate->all_bps : UINT64_MAX;

	if (has_peer && rate->each_bps > 0 && rate->each_bps < bps)
		bps = rate->each_bps;
	uint64_t step = bps / STEPS_PER_S;
	if (step > RATE_STEP_MAX)
		step = RATE_STEP_MAX;
	if (wait_ns > ROUND_NS)
		step = (uint64_t)((double)step * ROUND_NS / (double)wait_ns);
	if (step < RATE_STEP_MIN)
		step = RATE_STEP_MIN;
	step /= streams;
	return step < RATE_SHARE_MIN ? RATE_SHARE_MIN : (size_t)step;
}

static uint64_t
wait_of(const struct bucket *bucket, uint64_t now_ns)
{
	return bucket->free_ns > now_ns ? bucket->free_ns - now_ns : 0;
}

size_t
rate_step(struct rate *rate)
{
	if (!rate_is_limited(rate))
		return SIZE_MAX;
	pthread_mutex_lock(&rate->mu);
	size_t step = step_of(rate, true, 1, 0);
	pthread_mutex_unlock(&rate->mu);
	return step;
}

/* Holds mu.  What is missing, or a step if that is more. */
static void
reserve(struct rate *rate, const char *peer, struct rate_turn *turn, size_t least, size_t most,
	uint64_t now_ns)
{
	struct peer_bucket *mine = enter(rate, peer, turn);
	struct bucket *all = rate->all_bps > 0 ? &rate->all : NULL;
	struct bucket *each = mine != NULL && rate->each_bps > 0 ? &mine->bucket : NULL;
	uint64_t all_ns = all != NULL ? wait_of(all, now_ns) : 0;
	uint64_t each_ns = each != NULL ? wait_of(each, now_ns) : 0;
	size_t bytes = step_of(rate, mine != NULL, mine != NULL ? mine->streams : 1,
			       all_ns > each_ns ? all_ns : each_ns);

	if (bytes > most - turn->bytes)
		bytes = most - turn->bytes;
	if (bytes < least - turn->bytes)
		bytes = least - turn->bytes;
	all_ns = all != NULL ? bucket_take(all, bytes, rate->all_bps, now_ns) : 0;
	each_ns = each != NULL ? bucket_take(each, bytes, rate->each_bps, now_ns) : 0;
	turn->bytes += bytes;
	turn->due_us = ((all_ns > each_ns ? all_ns : each_ns) + NS_PER_US - 1) / NS_PER_US;
}

size_t
rate_ask(struct rate *rate, const char *peer, struct rate_turn *turn, size_t least, size_t most,
	 uint64_t now_us)
{
	assert(least > 0 && least <= most);
	if (!rate_is_limited(rate))
		return most;
	pthread_mutex_lock(&rate->mu);
	unsigned change = atomic_load(&rate->change);
	if (turn->change != change)
		*turn = (struct rate_turn){ .change = change };
	if (turn->bytes < least)
		reserve(rate, peer, turn, least, most, now_us * NS_PER_US);
	pthread_mutex_unlock(&rate->mu);
	if (now_us < turn->due_us)
		return 0;
	return turn->bytes < most ? turn->bytes : most;
}

void
rate_pass(struct rate_turn *turn, size_t bytes)
{
	turn->bytes -= bytes < turn->bytes ? bytes : turn->bytes;
}

/* Holds mu. */
static void
leave(struct rate *rate, struct rate_turn *turn)
{
	struct peer_bucket *mine = turn->peer != 0 ? &rate->peers[turn->peer - 1] : NULL;

	if (rate->all_bps > 0)
		bucket_give_back(&rate->all, turn->bytes, rate->all_bps);
	if (mine == NULL)
		return;
	if (rate->each_bps > 0)
		bucket_give_back(&mine->bucket, turn->bytes, rate->each_bps);
	mine->streams--;
}

void
rate_leave(struct rate *rate, struct rate_turn *turn)
{
	if (turn->bytes == 0 && turn->peer == 0)
		return;
	pthread_mutex_lock(&rate->mu);
	if (turn->change == atomic_load(&rate->change))
		leave(rate, turn);
	pthread_mutex_unlock(&rate->mu);
	*turn = (struct rate_turn){ 0 };
}
