/* SPDX-License-Identifier: MIT
 *
 * holdings.c - which pieces are held here, told to those who fetch them too.
 *
 * A holding is a content with a log (holdings_log.c).  The log is a ring of numbered entries: this piece is verified,
 * that piece is on its way to somebody, such a peer follows.  Who follows asks from where his last
 * answer ended; the entries since then are the answer, and if there are none he waits, in the
 * holding's list.  Whoever adds an entry wakes that list, and those woken ask once more: nothing is
 * kept for each of them, and one that comes late gets all that happened meanwhile in one answer
 * (holdings_answer.c).
 *
 * A partial holding lives from holdings_begin() to holdings_end(), which belong to a download.  A
 * whole one needs nothing but its log, and lives as long as somebody follows; when a download ends,
 * its holding goes on as a whole one for those who follow it.  Whether it is whole, the catalog
 * knows and who asks says.  Whole ones make room for partial ones: everybody can make us note them.
 *
 * One mutex for everything; it is held for a copy of 32 KiB or a walk through the log at most, never
 * across a system call other than waking.  wake() runs under it, therefore never after
 * holdings_forget().  One timer, of the mind, for waits that are over and followers that do not
 * come back; a thread that needs it earlier posts.
 */
#include "holdings_inner.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "mem.h"
#include "merkle.h"

#define SENDING_MAX  1024 /* pieces of one sending that are told: more are not on their way soon */
#define SENDING_LOOK 64   /* newest entries in which the same piece is not told as coming twice */

/* --- the table --- */

/* Roots are evenly spread by themselves. */
static struct holding **
bucket_of(struct holdings *holdings, const struct content_id *content)
{
	return &holdings->buckets[content->root.bytes[0] % HOLDINGS_BUCKETS];
}

/* Holds mu. */
struct holding *
holdings_find(struct holdings *holdings, const struct content_id *content)
{
	struct holding *at = *bucket_of(holdings, content);

	while (at != NULL && !content_equal(&at->content, content))
		at = at->next;
	return at;
}

/* Holds mu. */
struct holding *
holdings_add(struct holdings *holdings, const struct content_id *content)
{
	struct holding **bucket = bucket_of(holdings, content);
	struct holding *holding = mem_zero(1, sizeof(*holding));

	holding->holdings = holdings;
	holding->content = *content;
	holding->piece_bytes = merkle_piece_bytes(content->size_bytes);
	holding->piece_count =
	    (size_t)merkle_piece_count(content->size_bytes, holding->piece_bytes);
	holding_restart(holding);
	holding->next = *bucket;
	*bucket = holding;
	holdings->count++;
	return holding;
}

/* Gives the reader, to be dropped without the lock: it may be the last. */
static struct store_reader *
drop_pieces(struct holding *holding)
{
	struct store_reader *reader = holding->reader;

	free(holding->layer);
	free(holding->bits);
	holding->reader = NULL;
	holding->layer = NULL;
	holding->bits = NULL;
	return reader;
}

/* Holds mu.  It is not partial, and nobody waits. */
static void
free_holding(struct holding *holding)
{
	struct holdings *holdings = holding->holdings;
	struct holding **link = bucket_of(holdings, &holding->content);

	assert(holding->waiters == NULL && holding->reader == NULL);
	while (*link != holding)
		link = &(*link)->next;
	*link = holding->next;
	holdings->count--;
	free(holding->log);
	free(holding->followers);
	free(holding);
}

/* --- those who wait --- */

static void
take_out(struct holding_waiter *waiter)
{
	*waiter->link = waiter->next;
	if (waiter->next != NULL)
		waiter->next->link = waiter->link;
	waiter->next = NULL;
	waiter->link = NULL;
}

/* Holds mu. */
static void
wake(struct holding_waiter *waiter)
{
	take_out(waiter);
	waiter->wake(waiter->arg);
}

/* Holds mu. */
void
holding_wake_all(struct holding *holding)
{
	while (holding->waiters != NULL)
		wake(holding->waiters);
}

void
holdings_forget(struct holdings *holdings, struct holding_waiter *waiter)
{
	pthread_mutex_lock(&holdings->mu);
	if (waiter->link != NULL)
		take_out(waiter);
	pthread_mutex_unlock(&holdings->mu);
}

/* Posted: starts the timer at the time that was asked for. */
static void
start_timer(void *arg)
{
	struct holdings *holdings = arg;
	uint64_t now_ms = clock_ms();

	pthread_mutex_lock(&holdings->mu);
	holdings->is_posted = false;
	uint64_t at_ms = holdings->timer_at_ms;
	bool is_wanted = at_ms != UINT64_MAX && holdings->timer != NULL;
	pthread_mutex_unlock(&holdings->mu);
	if (is_wanted)
		loop_timer_start(holdings->timer, at_ms > now_ms ? at_ms - now_ms : 0);
}

/* Holds mu.  Any thread. */
void
holdings_look_at(struct holdings *holdings, uint64_t at_ms)
{
	if (at_ms >= holdings->timer_at_ms || holdings->is_stopped)
		return;
	holdings->timer_at_ms = at_ms;
	if (!holdings->is_posted)
		loop_post(holdings->loop, start_timer, holdings);
	holdings->is_posted = true;
}

/* Holds mu. */
void
holding_wait(struct holding *holding, struct holding_waiter *waiter, uint32_t wait_ms)
{
	waiter->until_ms = clock_ms() + wait_ms;
	waiter->next = holding->waiters;
	waiter->link = &holding->waiters;
	if (waiter->next != NULL)
		waiter->next->link = &waiter->next;
	holding->waiters = waiter;
	holdings_look_at(holding->holdings, waiter->until_ms);
}

/* --- the timer; mind --- */

/* Holds mu.  Ends waits that are over; answers when the next one is. */
static uint64_t
end_waits(struct holding *holding, uint64_t now_ms)
{
	uint64_t next_ms = UINT64_MAX;
	struct holding_waiter *next;

	for (struct holding_waiter *at = holding->waiters; at != NULL; at = next) {
		next = at->next;
		if (at->until_ms <= now_ms)
			wake(at);
		else if (at->until_ms < next_ms)
			next_ms = at->until_ms;
	}
	return next_ms;
}

/* Holds mu.  Forgets those who did not come back; answers when to look again. */
static uint64_t
forget_followers(struct holding *holding, uint64_t now_ms)
{
	uint64_t next_ms = UINT64_MAX;

	for (size_t i = 0; i < holding->follower_room; i++) {
		struct holding_follower *follower = &holding->followers[i];
		uint64_t until_ms = follower->asked_ms + holding->holdings->forget_ms;

		if (follower->id[0] == '\0')
			continue;
		if (until_ms <= now_ms) {
			follower->id[0] = '\0';
			holding->follower_count--;
		} else if (until_ms < next_ms) {
			next_ms = until_ms;
		}
	}
	return next_ms;
}

static bool
is_idle(const struct holding *holding)
{
	return holding->reader == NULL && holding->follower_count == 0 && holding->waiters == NULL;
}

static void
look(void *arg)
{
	struct holdings *holdings = arg;
	uint64_t now_ms = clock_ms(), next_ms = UINT64_MAX;
	struct holding *next;

	pthread_mutex_lock(&holdings->mu);
	holdings->timer_at_ms = UINT64_MAX;
	for (size_t i = 0; i < HOLDINGS_BUCKETS; i++) {
		for (struct holding *at = holdings->buckets[i]; at != NULL; at = next) {
			next = at->next;
			uint64_t wait_ms = end_waits(at, now_ms);
			uint64_t forget_ms = forget_followers(at, now_ms);
			if (is_idle(at))
				free_holding(at);
			next_ms = wait_ms < next_ms ? wait_ms : next_ms;
			next_ms = forget_ms < next_ms ? forget_ms : next_ms;
		}
	}
	holdings_look_at(holdings, next_ms);
	pthread_mutex_unlock(&holdings->mu);
}

/* --- life --- */

struct holdings *
holdings_new(struct loop *loop)
{
	struct holdings *holdings = mem_zero(1, sizeof(*holdings));

	holdings->loop = loop;
	holdings->forget_ms = HOLDINGS_FORGET_MS;
	holdings->timer = loop_timer_new(loop, look, holdings);
	holdings->timer_at_ms = UINT64_MAX;
	pthread_mutex_init(&holdings->mu, NULL);
	return holdings;
}

void
holdings_forget_after(struct holdings *holdings, uint64_t forget_ms)
{
	pthread_mutex_lock(&holdings->mu);
	holdings->forget_ms = forget_ms;
	pthread_mutex_unlock(&holdings->mu);
}

void
holdings_stop(struct holdings *holdings)
{
	assert(loop_is_mine(holdings->loop));
	loop_timer_stop(holdings->timer);
	pthread_mutex_lock(&holdings->mu);
	holdings->is_stopped = true;
	holdings->timer_at_ms = UINT64_MAX;
	for (size_t i = 0; i < HOLDINGS_BUCKETS; i++)
		for (struct holding *at = holdings->buckets[i]; at != NULL; at = at->next)
			holding_wake_all(at);
	pthread_mutex_unlock(&holdings->mu);
}

/* The last post: start_timer() was run, if it was posted. */
static void
free_last(void *arg)
{
	struct holdings *holdings = arg;

	pthread_mutex_destroy(&holdings->mu);
	free(holdings);
}

void
holdings_free(struct holdings *holdings)
{
	if (holdings == NULL)
		return;
	loop_timer_free(holdings->timer);
	pthread_mutex_lock(&holdings->mu);
	holdings->is_stopped = true;
	holdings->timer = NULL;
	for (size_t i = 0; i < HOLDINGS_BUCKETS; i++)
		while (holdings->buckets[i] != NULL)
			free_holding(holdings->buckets[i]);
	pthread_mutex_unlock(&holdings->mu);
	loop_post(holdings->loop, free_last, holdings);
}

/* --- what a download tells --- */

size_t
holding_bits_len(const struct holding *holding)
{
	return (holding->piece_count + 7) / 8;
}

static bool
has_piece(const struct holding *holding, uint64_t piece)
{
	return (holding->bits[piece / 8] & 0x80u >> piece % 8) != 0;
}

/* Holds mu.  True if there is room for one more. */
static bool
make_room(struct holdings *holdings)
{
	for (size_t i = 0; holdings->count >= HOLDINGS_MAX && i < HOLDINGS_BUCKETS; i++) {
		struct holding *at = holdings->buckets[i];

		while (at != NULL && at->reader != NULL)
			at = at->next;
		if (at != NULL) {
			holding_wake_all(at);
			free_holding(at);
		}
	}
	return holdings->count < HOLDINGS_MAX;
}

/* Holds mu.  Takes the fd. */
static void
begin_partial(struct holding *holding, int fd, const struct digest *layer, size_t count)
{
	assert(count == holding->piece_count);
	holding->reader = store_reader_of_partial(fd, &holding->content);
	holding->bits = mem_zero(holding_bits_len(holding) + 1, 1);
	holding->layer = mem_alloc(count * sizeof(*layer) + 1);
	if (count > 0)
		memcpy(holding->layer, layer, count * sizeof(*layer));
	holding_restart(holding);
	holding_wake_all(holding);
}

struct holding *
holdings_begin(struct holdings *holdings, const struct content_id *content, int fd,
	       const struct digest *layer, size_t count)
{
	pthread_mutex_lock(&holdings->mu);
	struct holding *holding = holdings_find(holdings, content);
	if (holding == NULL && make_room(holdings))
		holding = holdings_add(holdings, content);
	else if (holding != NULL && holding->reader != NULL)
		holding = NULL;
	if (holding != NULL)
		begin_partial(holding, fd, layer, count);
	pthread_mutex_unlock(&holdings->mu);
	if (holding == NULL)
		close(fd);
	return holding;
}

void
holding_add(struct holding *holding, uint64_t piece)
{
	struct holdings *holdings = holding->holdings;

	pthread_mutex_lock(&holdings->mu);
	assert(holding->reader != NULL && piece < holding->piece_count);
	if (!has_piece(holding, piece)) {
		holding->bits[piece / 8] |= (unsigned char)(0x80u >> piece % 8);
		holding_log(holding, HOLDING_PIECE, piece);
		holding_wake_all(holding);
	}
	pthread_mutex_unlock(&holdings->mu);
}

void
holdings_end(struct holding *holding)
{
	if (holding == NULL)
		return;
	struct holdings *holdings = holding->holdings;

	pthread_mutex_lock(&holdings->mu);
	assert(holding->reader != NULL);
	struct store_reader *reader = drop_pieces(holding);
	holding_wake_all(holding);
	if (is_idle(holding))
		free_holding(holding);
	pthread_mutex_unlock(&holdings->mu);
	store_reader_unref(reader);
}

/* --- bytes --- */

/* The pieces that bytes are of: [*ret_first, *ret_end). */
static void
pieces_of(const struct holding *holding, uint64_t offset, uint64_t len, uint64_t *ret_first,
	  uint64_t *ret_end)
{
	*ret_first = offset / holding->piece_bytes;
	*ret_end = len > 0 ? (offset + len - 1) / holding->piece_bytes + 1 : *ret_first;
}

static bool
has_bytes(const struct holding *holding, uint64_t offset, uint64_t len)
{
	uint64_t at, end;

	if (offset > holding->content.size_bytes || len > holding->content.size_bytes - offset)
		return false;
	pieces_of(holding, offset, len, &at, &end);
	while (at < end && has_piece(holding, at))
		at++;
	return at >= end;
}

int
holdings_open(struct holdings *holdings, const struct content_id *content, uint64_t offset,
	      uint64_t len, struct store_reader **ret)
{
	struct store_reader *reader = NULL;

	pthread_mutex_lock(&holdings->mu);
	const struct holding *holding = holdings_find(holdings, content);
	if (holding != NULL && holding->reader != NULL && has_bytes(holding, offset, len))
		reader = store_reader_ref(holding->reader);
	pthread_mutex_unlock(&holdings->mu);
	if (reader == NULL)
		return P2P_NOT_FOUND;
	*ret = reader;
	return P2P_OK;
}

int
holdings_layer(struct holdings *holdings, const struct content_id *content, struct digest **ret,
	       size_t *ret_count)
{
	int code = P2P_NOT_FOUND;

	pthread_mutex_lock(&holdings->mu);
	const struct holding *holding = holdings_find(holdings, content);
	if (holding != NULL && holding->reader != NULL) {
		size_t bytes = holding->piece_count * sizeof(**ret);

		*ret = mem_alloc(bytes + 1);
		memcpy(*ret, holding->layer, bytes);
		*ret_count = holding->piece_count;
		code = P2P_OK;
	}
	pthread_mutex_unlock(&holdings->mu);
	return code;
}

void
holdings_sending(struct holdings *holdings, const struct content_id *content, uint64_t offset,
		 uint64_t len)
{
	uint64_t at, end;

	pthread_mutex_lock(&holdings->mu);
	struct holding *holding = holdings_find(holdings, content);
	/* One alone who follows is the one who is being sent it. */
	if (holding != NULL && holding->follower_count > 1) {
		uint64_t before = holding->log_end;

		pieces_of(holding, offset, len, &at, &end);
		for (end = end - at > SENDING_MAX ? at + SENDING_MAX : end; at < end; at++)
			if (!holding_in_log(holding, HOLDING_COMING, at, SENDING_LOOK))
				holding_log(holding, HOLDING_COMING, at);
		if (holding->log_end != before)
			holding_wake_all(holding);
	}
	pthread_mutex_unlock(&holdings->mu);
}
