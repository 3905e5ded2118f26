/* SPDX-License-Identifier: MIT
 *
 * check_holdings.c - what is held is told: all of it, then what is new, to those who wait.
 *
 * Contents here are made up: nothing looks at their bytes.
 */
#include "holdings.h"

#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "clock.h"
#include "mem.h"
#include "merkle.h"

#define BOUND_MS    20000
#define PIECE_BYTES MERKLE_PIECE_MIN
#define FEW         20     /* pieces of a small content */
#define MANY        200000 /* and of a large one */
#define LONG_MS     HOLDINGS_WAIT_MAX_MS

static struct loop *loop;
static struct holdings *holdings;

static void
setup(void)
{
	struct error err;

	loop = loop_new(&err);
	ck_assert_ptr_nonnull(loop);
	holdings = holdings_new(loop);
}

static void
teardown(void)
{
	holdings_stop(holdings);
	holdings_free(holdings);
	loop_free(loop);
}

/* The number-th content of `pieces` pieces, the last a byte long. */
static struct content_id
content_of(unsigned number, uint64_t pieces)
{
	struct content_id content = { .size_bytes = (pieces - 1) * PIECE_BYTES + 1 };

	while (merkle_piece_count(content.size_bytes, merkle_piece_bytes(content.size_bytes)) <
	       pieces)
		content.size_bytes *= 2;
	memcpy(content.root.bytes, &number, sizeof(number));
	return content;
}

static size_t
pieces_of(const struct content_id *content)
{
	return (size_t)merkle_piece_count(content->size_bytes,
					  merkle_piece_bytes(content->size_bytes));
}

static struct holding *
begin(const struct content_id *content)
{
	size_t count = pieces_of(content);
	struct digest *layer = mem_zero(count, sizeof(*layer));
	int fd = memfd_create("partial", MFD_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	for (size_t i = 0; i < count; i++)
		memcpy(layer[i].bytes, &i, sizeof(i));
	struct holding *holding = holdings_begin(holdings, content, fd, layer, count);
	free(layer);
	return holding;
}

/* Ids of peers, in a way. */
static void
name_peer(char ret[PEER_ID_SIZE], unsigned number)
{
	snprintf(ret, PEER_ID_SIZE, "%052u", number);
}

static struct holding_question
question_of(const struct content_id *content, uint64_t since, unsigned peer)
{
	struct holding_question question = { .content = *content, .since = since };

	if (peer != 0)
		name_peer(question.peer, peer);
	return question;
}

static int
try(const struct holding_question *question, bool is_whole, struct holding_answer *ret)
{
	bool waits;

	return holdings_ask(holdings, question, is_whole, NULL, ret, &waits);
}

/* Asks without waiting; freed with holding_answer_fini(). */
static struct holding_answer
ask(const struct content_id *content, bool is_whole, uint64_t since, unsigned peer)
{
	struct holding_question question = question_of(content, since, peer);
	struct holding_answer answer;

	ck_assert_int_eq(try(&question, is_whole, &answer), P2P_OK);
	return answer;
}

/* The same, for its `next` alone. */
static uint64_t
next_of(const struct content_id *content, bool is_whole, uint64_t since, unsigned peer)
{
	struct holding_answer answer = ask(content, is_whole, since, peer);
	uint64_t next = answer.next;

	holding_answer_fini(&answer);
	return next;
}

static bool
is_news_less(const struct holding_answer *answer)
{
	return !answer->is_full && answer->piece_count == 0 && answer->coming_count == 0 &&
	       answer->peer_count == 0;
}

static bool
has(const uint64_t *pieces, size_t count, uint64_t piece)
{
	for (size_t i = 0; i < count; i++)
		if (pieces[i] == piece)
			return true;
	return false;
}

static bool
names(const struct holding_answer *answer, unsigned peer)
{
	char id[PEER_ID_SIZE];

	name_peer(id, peer);
	for (size_t i = 0; i < answer->peer_count; i++)
		if (strcmp(answer->peers[i], id) == 0)
			return true;
	return false;
}

/* Somebody who waits. */
struct sleeper {
	struct holding_waiter waiter;
	atomic_int woken;
};

static void
wake(void *arg)
{
	struct sleeper *sleeper = arg;

	atomic_fetch_add(&sleeper->woken, 1);
}

/* True if it waits. */
static bool
wait_for(struct sleeper *sleeper, const struct content_id *content, bool is_whole, uint64_t since,
	 unsigned peer, uint32_t wait_ms)
{
	struct holding_question question = question_of(content, since, peer);
	struct holding_answer answer;
	bool waits;

	*sleeper = (struct sleeper){ .waiter = { .wake = wake, .arg = sleeper } };
	question.wait_ms = wait_ms;
	ck_assert_int_eq(
	    holdings_ask(holdings, &question, is_whole, &sleeper->waiter, &answer, &waits), P2P_OK);
	if (waits) {
		ck_assert(is_news_less(&answer));
		ck_assert_uint_eq(answer.next, since);
	}
	holding_answer_fini(&answer);
	return waits;
}

static void
turn_until_woken(struct sleeper *sleeper)
{
	uint64_t end_ms = clock_ms() + BOUND_MS;

	while (atomic_load(&sleeper->woken) == 0) {
		ck_assert_uint_lt(clock_ms(), end_ms);
		loop_turn(loop, 10);
	}
}

/* --- what is told --- */

START_TEST(test_what_is_neither_whole_nor_being_fetched_is_not_found)
{
	struct content_id content = content_of(1, FEW);
	struct holding_question question = question_of(&content, 0, 7);
	struct holding_answer answer;
	struct store_reader *reader;
	struct digest *layer;
	size_t count;

	ck_assert_int_eq(try(&question, false, &answer), P2P_NOT_FOUND);
	ck_assert_int_eq(holdings_open(holdings, &content, 0, 1, &reader), P2P_NOT_FOUND);
	ck_assert_int_eq(holdings_layer(holdings, &content, &layer, &count), P2P_NOT_FOUND);
	holdings_sending(holdings, &content, 0, 1);
}
END_TEST

START_TEST(test_a_first_answer_is_full_and_the_next_has_what_is_new)
{
	struct content_id content = content_of(1, FEW);
	struct holding *holding = begin(&content);

	holding_add(holding, 0);
	holding_add(holding, 9);
	struct holding_answer answer = ask(&content, false, 0, 0);
	ck_assert(answer.is_full && !answer.is_whole);
	ck_assert_uint_eq(answer.bits_len, (FEW + 7) / 8);
	ck_assert_uint_eq(answer.bits[0], 0x80);
	ck_assert_uint_eq(answer.bits[1], 0x40);
	ck_assert_uint_eq(answer.bits[2], 0);
	ck_assert_uint_eq(answer.piece_count, 0);
	ck_assert_uint_ne(answer.next, 0);
	uint64_t next = answer.next;
	holding_answer_fini(&answer);

	holding_add(holding, 3);
	holding_add(holding, 9); /* is nothing */
	answer = ask(&content, false, next, 0);
	ck_assert(!answer.is_full && !answer.is_whole);
	ck_assert_ptr_null(answer.bits);
	ck_assert_uint_eq(answer.piece_count, 1);
	ck_assert_uint_eq(answer.pieces[0], 3);
	next = answer.next;
	holding_answer_fini(&answer);

	answer = ask(&content, false, next, 0);
	ck_assert(is_news_less(&answer));
	ck_assert_uint_eq(answer.next, next);
	holding_answer_fini(&answer);
	holdings_end(holding);
}
END_TEST

START_TEST(test_a_number_of_another_life_is_answered_in_full)
{
	struct content_id content = content_of(1, FEW);
	struct holding *holding = begin(&content);

	holding_add(holding, 5);
	uint64_t next = next_of(&content, false, 0, 1);
	for (int life = 0; life < 3; life++) {
		holdings_end(holding);
		holding = begin(&content);
		ck_assert_ptr_nonnull(holding);
		holding_add(holding, 6);
		struct holding_answer answer = ask(&content, false, next, 1);
		ck_assert(answer.is_full);
		ck_assert_uint_eq(answer.bits[0], 0x02);
		ck_assert_uint_ne(answer.next, next);
		next = answer.next;
		holding_answer_fini(&answer);
	}
	/* Made-up ones too. */
	const uint64_t others[] = { 1, UINT64_MAX, next + 2, next ^ 1ull << 63, next ^ 1ull << 40 };
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		struct holding_answer answer = ask(&content, false, others[i], 1);
		ck_assert(answer.is_full);
		holding_answer_fini(&answer);
	}
	holdings_end(holding);
}
END_TEST

START_TEST(test_what_is_more_than_one_answer_may_have_is_told_in_full)
{
	struct content_id content = content_of(1, 8192);
	struct holding *holding = begin(&content);
	size_t count = pieces_of(&content);
	uint64_t next = next_of(&content, false, 0, 0);

	ck_assert_uint_gt(count, 2 * HOLDINGS_NEWS_MAX - 1);
	for (size_t i = 0; i < HOLDINGS_NEWS_MAX; i++)
		holding_add(holding, i);
	struct holding_answer answer = ask(&content, false, next, 0);
	ck_assert(!answer.is_full);
	ck_assert_uint_eq(answer.piece_count, HOLDINGS_NEWS_MAX);
	holding_answer_fini(&answer);

	holding_add(holding, HOLDINGS_NEWS_MAX);
	answer = ask(&content, false, next, 0);
	ck_assert(answer.is_full);
	ck_assert_uint_eq(answer.bits_len, (count + 7) / 8);
	for (size_t i = 0; i < answer.bits_len; i++)
		ck_assert_uint_eq(answer.bits[i], i < HOLDINGS_NEWS_MAX / 8    ? 0xff
						  : i == HOLDINGS_NEWS_MAX / 8 ? 0x80
									       : 0);
	holding_answer_fini(&answer);
	holdings_end(holding);
}
END_TEST

START_TEST(test_who_fell_behind_the_log_is_told_in_full)
{
	struct content_id content = content_of(1, MANY);
	struct holding *holding = begin(&content);
	uint64_t first = next_of(&content, false, 0, 0), next = first;

	for (size_t i = 0; i < 3 * HOLDINGS_LOG_MAX; i++) {
		holding_add(holding, i);
		if (i % HOLDINGS_NEWS_MAX == HOLDINGS_NEWS_MAX / 2 - 1) {
			struct holding_answer answer = ask(&content, false, next, 0);
			ck_assert(!answer.is_full);
			ck_assert_uint_eq(answer.pieces[answer.piece_count - 1], i);
			next = answer.next;
			holding_answer_fini(&answer);
		}
	}
	struct holding_answer answer = ask(&content, false, first, 0);
	ck_assert(answer.is_full);
	holding_answer_fini(&answer);
	holdings_end(holding);
}
END_TEST

START_TEST(test_a_whole_content_is_noted_for_followers_only)
{
	struct content_id content = content_of(1, FEW);
	struct holding_answer answer = ask(&content, true, 0, 0);

	ck_assert(answer.is_whole && answer.is_full);
	ck_assert_ptr_null(answer.bits);
	ck_assert_uint_eq(answer.next, 0);
	holding_answer_fini(&answer);

	answer = ask(&content, true, 0, 1);
	ck_assert(answer.is_whole && answer.is_full);
	ck_assert_uint_ne(answer.next, 0);
	ck_assert_uint_eq(answer.peer_count, 0);
	holding_answer_fini(&answer);
}
END_TEST

START_TEST(test_followers_are_told_of_each_other_and_not_of_themselves)
{
	struct content_id content = content_of(1, FEW);
	uint64_t first = next_of(&content, true, 0, 1);
	struct holding_answer answer = ask(&content, true, 0, 2);

	ck_assert_uint_eq(answer.peer_count, 1);
	ck_assert(names(&answer, 1));
	uint64_t second = answer.next;
	holding_answer_fini(&answer);

	next_of(&content, true, 0, 3);
	answer = ask(&content, true, first, 1);
	ck_assert(!answer.is_full);
	ck_assert_uint_eq(answer.peer_count, 2);
	ck_assert(names(&answer, 2) && names(&answer, 3));
	holding_answer_fini(&answer);
	answer = ask(&content, true, second, 2);
	ck_assert_uint_eq(answer.peer_count, 1);
	ck_assert(names(&answer, 3));
	holding_answer_fini(&answer);
	answer = ask(&content, true, 0, 0); /* nobody hears of who has no name */
	ck_assert_uint_eq(answer.peer_count, 3);
	holding_answer_fini(&answer);
}
END_TEST

/* What holding_new_followers() told: as many names, and the last of them. */
struct heard {
	size_t count;
	char last[PEER_ID_SIZE];
};

static void
hear(void *arg, const char *peer)
{
	struct heard *heard = arg;

	heard->count++;
	memcpy(heard->last, peer, PEER_ID_SIZE);
}

static struct heard
new_followers(struct holding *holding, uint64_t *cursor)
{
	struct heard heard = { .count = 0 };

	holding_new_followers(holding, cursor, hear, &heard);
	return heard;
}

START_TEST(test_who_fetches_hears_of_each_who_follows_him_once)
{
	struct content_id content = content_of(1, MANY);
	uint64_t cursor = 0;
	char third[PEER_ID_SIZE];

	next_of(&content, true, 0, 1); /* before it began */
	struct holding *holding = begin(&content);
	next_of(&content, false, 0, 2);
	ck_assert_uint_eq(new_followers(holding, &cursor).count, 2);
	ck_assert_uint_eq(new_followers(holding, &cursor).count, 0);
	uint64_t next = next_of(&content, false, 0, 3);
	holding_add(holding, 0);
	next_of(&content, false, next, 3); /* he asks again */
	struct heard heard = new_followers(holding, &cursor);
	ck_assert_uint_eq(heard.count, 1);
	name_peer(third, 3);
	ck_assert_str_eq(heard.last, third);

	/* More happened than the log has. */
	next_of(&content, false, 0, 4);
	for (size_t i = 0; i < 2 * HOLDINGS_LOG_MAX; i++)
		holding_add(holding, i);
	ck_assert_uint_eq(new_followers(holding, &cursor).count, 4);
	ck_assert_uint_eq(new_followers(holding, &cursor).count, 0);
	holdings_end(holding);
}
END_TEST

START_TEST(test_more_followers_than_can_be_told_of_are_answered_too)
{
	struct content_id content = content_of(1, FEW);

	for (unsigned i = 1; i <= HOLDINGS_FOLLOWERS_MAX + 10; i++)
		ck_assert_uint_ne(next_of(&content, true, 0, i), 0);
	struct holding_answer answer = ask(&content, true, 0, 1);
	ck_assert_uint_eq(answer.peer_count, HOLDINGS_FOLLOWERS_MAX - 1);
	holding_answer_fini(&answer);
}
END_TEST

START_TEST(test_what_is_sent_to_somebody_is_told_to_followers)
{
	struct content_id content = content_of(1, FEW);

	holdings_sending(holdings, &content, 0, content.size_bytes); /* nobody follows */
	next_of(&content, true, 0, 1);
	holdings_sending(holdings, &content, 0, content.size_bytes); /* to the only one who does */
	next_of(&content, true, 0, 3);
	uint64_t next = next_of(&content, true, 0, 1);
	holdings_sending(holdings, &content, PIECE_BYTES - 1, 2);
	holdings_sending(holdings, &content, PIECE_BYTES, 16384); /* more of the same piece */
	holdings_sending(holdings, &content, content.size_bytes - 1, 1);
	struct holding_answer answer = ask(&content, true, next, 1);
	ck_assert(!answer.is_full);
	ck_assert_uint_eq(answer.coming_count, 3);
	ck_assert(has(answer.coming, 3, 0) && has(answer.coming, 3, 1) &&
		  has(answer.coming, 3, FEW - 1));
	holding_answer_fini(&answer);

	/* Who comes later hears of it too. */
	answer = ask(&content, true, 0, 2);
	ck_assert(answer.is_full);
	ck_assert_uint_eq(answer.coming_count, 3);
	holding_answer_fini(&answer);
}
END_TEST

START_TEST(test_never_more_pieces_on_their_way_than_an_answer_may_have)
{
	struct content_id content = content_of(1, MANY);
	uint32_t piece_bytes = merkle_piece_bytes(content.size_bytes);
	next_of(&content, true, 0, 2);
	uint64_t next = next_of(&content, true, 0, 1);

	holdings_sending(holdings, &content, 0, content.size_bytes);
	struct holding_answer answer = ask(&content, true, next, 1);
	ck_assert(!answer.is_full);
	ck_assert_uint_gt(answer.coming_count, 0);
	ck_assert_uint_lt(answer.coming_count, HOLDINGS_NEWS_MAX);
	holding_answer_fini(&answer);
	for (uint64_t at = 0; at < 2 * HOLDINGS_LOG_MAX; at++)
		holdings_sending(holdings, &content, at * piece_bytes, piece_bytes);
	answer = ask(&content, true, next, 1);
	ck_assert(answer.is_full);
	ck_assert_uint_eq(answer.coming_count, HOLDINGS_NEWS_MAX);
	ck_assert_uint_eq(answer.coming[0], 2 * HOLDINGS_LOG_MAX - 1);
	holding_answer_fini(&answer);
}
END_TEST

START_TEST(test_a_partial_that_became_whole_says_so_to_who_follows)
{
	struct content_id content = content_of(1, FEW);
	struct holding *holding = begin(&content);
	struct sleeper sleeper;

	uint64_t next = next_of(&content, false, 0, 1);
	ck_assert(wait_for(&sleeper, &content, false, next, 1, LONG_MS));
	holdings_end(holding);
	ck_assert_int_eq(sleeper.woken, 1);
	struct holding_answer answer = ask(&content, true, next, 1);
	ck_assert(answer.is_whole && !answer.is_full);
	ck_assert_uint_ne(answer.next, next);
	uint64_t whole = answer.next;
	holding_answer_fini(&answer);
	ck_assert(wait_for(&sleeper, &content, true, whole, 1, LONG_MS));
	holdings_forget(holdings, &sleeper.waiter);

	/* It is removed from the share, and fetched again. */
	struct holding_question question = question_of(&content, whole, 1);
	ck_assert_int_eq(try(&question, false, &answer), P2P_NOT_FOUND);
	holding = begin(&content);
	answer = ask(&content, false, whole, 1);
	ck_assert(answer.is_full && !answer.is_whole);
	holding_answer_fini(&answer);
	holdings_end(holding);
}
END_TEST

START_TEST(test_who_was_told_whole_hears_in_full_when_it_no_longer_is)
{
	struct content_id content = content_of(1, FEW);
	struct holding *holding = begin(&content);

	holding_add(holding, 1);
	uint64_t next = next_of(&content, true, 0, 1); /* a copy in the share */
	holding_add(holding, 2);
	struct holding_answer answer = ask(&content, true, next, 1);
	ck_assert(is_news_less(&answer) && answer.is_whole);
	holding_answer_fini(&answer);
	answer = ask(&content, false, next, 1); /* which is removed */
	ck_assert(answer.is_full && !answer.is_whole);
	ck_assert_uint_eq(answer.bits[0], 0x60);
	holding_answer_fini(&answer);
	holdings_end(holding);
}
END_TEST

/* --- waiting --- */

struct adder {
	struct holding *holding;
	uint64_t first, end;
};

static void *
add_pieces(void *arg)
{
	const struct adder *adder = arg;

	for (uint64_t i = adder->first; i < adder->end; i++)
		holding_add(adder->holding, i);
	return NULL;
}

START_TEST(test_a_question_waits_until_another_thread_adds_a_piece)
{
	struct content_id content = content_of(1, FEW);
	struct adder adder = { begin(&content), 4, 6 };
	struct sleeper sleeper;
	pthread_t thread;

	uint64_t next = next_of(&content, false, 0, 1);
	ck_assert(wait_for(&sleeper, &content, false, next, 1, LONG_MS));
	loop_turn(loop, 0);
	ck_assert_int_eq(sleeper.woken, 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, add_pieces, &adder), 0);
	turn_until_woken(&sleeper);
	pthread_join(thread, NULL);
	ck_assert_int_eq(sleeper.woken, 1);
	holdings_forget(holdings, &sleeper.waiter);
	struct holding_answer answer = ask(&content, false, next, 1);
	ck_assert_uint_eq(answer.piece_count, 2);
	ck_assert_uint_eq(answer.pieces[0], 4);
	holding_answer_fini(&answer);
	holdings_end(adder.holding);
}
END_TEST

START_TEST(test_what_is_news_already_is_not_waited_for)
{
	struct content_id content = content_of(1, FEW);
	struct holding *holding = begin(&content);
	struct sleeper sleeper;

	ck_assert(!wait_for(&sleeper, &content, false, 0, 1, LONG_MS));
	uint64_t next = next_of(&content, false, 0, 1);
	ck_assert(!wait_for(&sleeper, &content, false, next, 1, 0));
	holding_add(holding, 1);
	ck_assert(!wait_for(&sleeper, &content, false, next, 1, LONG_MS));
	holdings_forget(holdings, &sleeper.waiter); /* never waited */
	ck_assert_int_eq(sleeper.woken, 0);
	/* Nor what will never come. */
	struct content_id other = content_of(2, FEW);
	ck_assert(!wait_for(&sleeper, &other, true, 5, 0, LONG_MS));
	holdings_end(holding);
}
END_TEST

START_TEST(test_a_wait_is_over_after_its_time)
{
	struct content_id content = content_of(1, FEW);
	struct holding *holding = begin(&content);
	struct sleeper late, soon;

	uint64_t next = next_of(&content, false, 0, 0), begun_ms = clock_ms();
	ck_assert(wait_for(&late, &content, false, next, 0, LONG_MS));
	ck_assert(wait_for(&soon, &content, false, next, 0, 50));
	turn_until_woken(&soon);
	ck_assert_uint_ge(clock_ms() - begun_ms, 50);
	ck_assert_int_eq(late.woken, 0);
	struct holding_answer answer = ask(&content, false, next, 0);
	ck_assert(is_news_less(&answer));
	ck_assert_uint_eq(answer.next, next);
	holding_answer_fini(&answer);
	/* The timer goes on for others. */
	ck_assert(wait_for(&soon, &content, false, next, 0, 20));
	turn_until_woken(&soon);
	holdings_forget(holdings, &late.waiter);
	holdings_end(holding);
	ck_assert_int_eq(late.woken, 0);
}
END_TEST

START_TEST(test_the_stop_wakes_all_and_from_then_on_nobody_waits)
{
	struct content_id partial = content_of(1, FEW), whole = content_of(2, FEW);
	struct holding *holding = begin(&partial);
	struct sleeper sleepers[2];

	uint64_t next[2] = { next_of(&partial, false, 0, 1), next_of(&whole, true, 0, 1) };
	ck_assert(wait_for(&sleepers[0], &partial, false, next[0], 1, LONG_MS));
	ck_assert(wait_for(&sleepers[1], &whole, true, next[1], 1, LONG_MS));
	holdings_stop(holdings);
	ck_assert_int_eq(sleepers[0].woken, 1);
	ck_assert_int_eq(sleepers[1].woken, 1);
	ck_assert(!wait_for(&sleepers[0], &partial, false, next[0], 1, LONG_MS));
	ck_assert(!wait_for(&sleepers[1], &whole, true, next[1], 1, LONG_MS));
	holdings_end(holding);
}
END_TEST

START_TEST(test_a_waiting_one_is_told_of_peers_and_of_what_is_on_its_way)
{
	struct content_id content = content_of(1, FEW);
	struct sleeper sleeper;

	uint64_t next = next_of(&content, true, 0, 1);
	ck_assert(wait_for(&sleeper, &content, true, next, 1, LONG_MS));
	next_of(&content, true, 0, 2);
	ck_assert_int_eq(sleeper.woken, 1);
	next = next_of(&content, true, next, 1);
	ck_assert(wait_for(&sleeper, &content, true, next, 1, LONG_MS));
	next_of(&content, true, next, 2); /* no news: it follows already */
	ck_assert_int_eq(sleeper.woken, 0);
	holdings_sending(holdings, &content, 0, 1);
	ck_assert_int_eq(sleeper.woken, 1);
}
END_TEST

START_TEST(test_who_does_not_come_back_is_forgotten)
{
	struct content_id content = content_of(1, FEW);
	uint64_t end_ms = clock_ms() + BOUND_MS;

	holdings_forget_after(holdings, 100);
	uint64_t next = next_of(&content, true, 0, 1);
	uint64_t since = next_of(&content, true, 0, 2);
	struct holding_answer answer = ask(&content, true, next, 1);
	ck_assert(names(&answer, 2));
	for (;;) { /* 1 comes back again and again */
		holding_answer_fini(&answer);
		loop_turn(loop, 10);
		answer = ask(&content, true, 0, 1);
		if (!names(&answer, 2))
			break;
		ck_assert_uint_lt(clock_ms(), end_ms);
	}
	ck_assert_uint_eq(answer.peer_count, 0);
	holding_answer_fini(&answer);
	/* What happened is not told for somebody who went. */
	answer = ask(&content, true, next, 1);
	ck_assert(!names(&answer, 2));
	holding_answer_fini(&answer);

	/* Without followers the holding goes, and comes again with another life. */
	do {
		loop_turn(loop, 10);
		answer = ask(&content, true, 0, 0);
		next = answer.next;
		holding_answer_fini(&answer);
		ck_assert_uint_lt(clock_ms(), end_ms);
	} while (next != 0);
	answer = ask(&content, true, since, 2);
	ck_assert(answer.is_full);
	holding_answer_fini(&answer);
}
END_TEST

/* --- room --- */

START_TEST(test_too_many_contents_are_not_noted)
{
	static struct holding *held[HOLDINGS_MAX];
	struct content_id content;

	for (unsigned i = 0; i < HOLDINGS_MAX; i++) { /* whole ones are, as many as fit */
		content = content_of(i, 1);
		ck_assert_uint_ne(next_of(&content, true, 0, 1), 0);
	}
	content = content_of(HOLDINGS_MAX, 1);
	struct holding_answer answer = ask(&content, true, 0, 1);
	ck_assert(answer.is_whole && answer.is_full);
	ck_assert_uint_eq(answer.next, 0);
	holding_answer_fini(&answer);

	for (unsigned i = 0; i < HOLDINGS_MAX; i++) { /* and make room for partial ones */
		content = content_of(HOLDINGS_MAX + i, 1);
		held[i] = begin(&content);
		ck_assert_ptr_nonnull(held[i]);
	}
	content = content_of(0, 1);
	ck_assert_ptr_null(begin(&content));
	for (unsigned i = 0; i < HOLDINGS_MAX; i++)
		holdings_end(held[i]);
}
END_TEST

START_TEST(test_a_second_download_of_the_same_content_tells_nobody)
{
	struct content_id content = content_of(1, FEW);
	struct holding *holding = begin(&content);
	int fd = memfd_create("second", MFD_CLOEXEC);
	struct digest layer[FEW] = { 0 };

	ck_assert_ptr_null(holdings_begin(holdings, &content, fd, layer, FEW));
	ck_assert_int_eq(close(fd), -1);
	holdings_end(holding);
	holdings_end(NULL);
}
END_TEST

/* --- bytes --- */

START_TEST(test_only_verified_pieces_can_be_read_also_when_it_has_ended)
{
	struct content_id content = content_of(1, FEW);
	struct holding *holding = begin(&content);
	struct store_reader *reader, *other;

	holding_add(holding, 2);
	holding_add(holding, 3);
	const struct {
		uint64_t offset, len;
		int code;
	} rows[] = {
		{ 2 * PIECE_BYTES, 2 * PIECE_BYTES, P2P_OK },
		{ 3 * PIECE_BYTES + 5, 1, P2P_OK },
		{ 2 * PIECE_BYTES - 1, 2, P2P_NOT_FOUND },
		{ 4 * PIECE_BYTES - 1, 2, P2P_NOT_FOUND },
		{ 0, content.size_bytes, P2P_NOT_FOUND },
		{ content.size_bytes - 1, 1, P2P_NOT_FOUND },
		{ content.size_bytes, 1, P2P_NOT_FOUND },
		{ UINT64_MAX, 2, P2P_NOT_FOUND },
		{ 1, UINT64_MAX, P2P_NOT_FOUND },
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int code = holdings_open(holdings, &content, rows[i].offset, rows[i].len, &reader);
		ck_assert_int_eq(code, rows[i].code);
		if (code == P2P_OK)
			store_reader_unref(reader);
	}
	ck_assert_int_eq(holdings_open(holdings, &content, 2 * PIECE_BYTES, 1, &reader), P2P_OK);
	ck_assert(content_equal(&reader->content, &content));
	ck_assert_int_eq(pwrite(reader->fd, "x", 1, 2 * PIECE_BYTES), 1);
	ck_assert_int_eq(store_reader_check(reader), P2P_OK);
	holdings_end(holding);
	char byte;
	ck_assert_int_eq(pread(reader->fd, &byte, 1, 2 * PIECE_BYTES), 1);
	ck_assert_int_eq(store_reader_check(reader), P2P_OK);
	store_reader_unref(reader);
	ck_assert_int_eq(holdings_open(holdings, &content, 2 * PIECE_BYTES, 1, &other),
			 P2P_NOT_FOUND);
}
END_TEST

START_TEST(test_the_layer_of_a_partial_is_given)
{
	struct content_id content = content_of(1, FEW);
	struct holding *holding = begin(&content);
	struct digest *layer;
	size_t count, second;

	ck_assert_int_eq(holdings_layer(holdings, &content, &layer, &count), P2P_OK);
	ck_assert_uint_eq(count, FEW);
	memcpy(&second, layer[1].bytes, sizeof(second));
	ck_assert_uint_eq(second, 1);
	free(layer);
	holdings_end(holding);
}
END_TEST

START_TEST(test_an_empty_content_can_be_held)
{
	struct content_id content = { .size_bytes = 0 };

	merkle_empty_root(&content.root);
	struct holding *holding =
	    holdings_begin(holdings, &content, memfd_create("empty", MFD_CLOEXEC), NULL, 0);
	struct holding_answer answer = ask(&content, false, 0, 1);
	ck_assert(answer.is_full);
	ck_assert_uint_eq(answer.bits_len, 0);
	holding_answer_fini(&answer);
	struct store_reader *reader;
	ck_assert_int_eq(holdings_open(holdings, &content, 0, 0, &reader), P2P_OK);
	store_reader_unref(reader);
	holdings_sending(holdings, &content, 0, 0);
	holdings_end(holding);
}
END_TEST

/* --- threads --- */

#define FOLLOWERS    4
#define RACED_PIECES 600

/* One who follows as a face does, until he knows of all pieces. */
struct racer {
	struct content_id content;
	unsigned peer;
	size_t pieces;
	pthread_mutex_t mu;
	pthread_cond_t woken;
	bool is_woken;
};

static void
wake_racer(void *arg)
{
	struct racer *racer = arg;

	pthread_mutex_lock(&racer->mu);
	racer->is_woken = true;
	pthread_cond_signal(&racer->woken);
	pthread_mutex_unlock(&racer->mu);
}

static void *
follow(void *arg)
{
	struct racer *racer = arg;
	struct holding_question question = question_of(&racer->content, 0, racer->peer);
	bool known[RACED_PIECES] = { false };

	while (racer->pieces < RACED_PIECES) {
		struct holding_waiter waiter = { .wake = wake_racer, .arg = racer };
		struct holding_answer answer;
		bool waits;

		/* Every third time it leaves before its time. */
		question.wait_ms = racer->pieces % 3 == 0 ? LONG_MS : 1;
		racer->is_woken = false;
		if (holdings_ask(holdings, &question, false, &waiter, &answer, &waits) != P2P_OK)
			return NULL;
		for (size_t i = 0; i < RACED_PIECES && answer.bits != NULL; i++)
			if ((answer.bits[i / 8] & 0x80 >> i % 8) != 0 && !known[i])
				racer->pieces += known[i] = true;
		for (size_t i = 0; i < answer.piece_count; i++)
			if (!known[answer.pieces[i]])
				racer->pieces += known[answer.pieces[i]] = true;
		question.since = answer.next;
		holding_answer_fini(&answer);
		if (waits && racer->peer % 2 == 0) {
			pthread_mutex_lock(&racer->mu);
			while (!racer->is_woken)
				pthread_cond_wait(&racer->woken, &racer->mu);
			pthread_mutex_unlock(&racer->mu);
		}
		holdings_forget(holdings, &waiter);
		holdings_sending(holdings, &racer->content, 0, 3 * PIECE_BYTES);
	}
	return NULL;
}

START_TEST(test_threads_add_follow_and_read_at_once)
{
	struct content_id content = content_of(1, RACED_PIECES);
	struct holding *holding = begin(&content);
	struct racer racers[FOLLOWERS];
	struct adder adders[2] = { { holding, 0, 400 }, { holding, 300, RACED_PIECES } };
	pthread_t threads[FOLLOWERS + 2];

	for (unsigned i = 0; i < FOLLOWERS; i++) {
		racers[i] = (struct racer){ .content = content, .peer = i + 1 };
		pthread_mutex_init(&racers[i].mu, NULL);
		pthread_cond_init(&racers[i].woken, NULL);
		ck_assert_int_eq(pthread_create(&threads[i], NULL, follow, &racers[i]), 0);
	}
	for (unsigned i = 0; i < 2; i++)
		ck_assert_int_eq(
		    pthread_create(&threads[FOLLOWERS + i], NULL, add_pieces, &adders[i]), 0);
	for (int i = 0; i < 200; i++) {
		struct store_reader *reader;
		uint64_t at = (uint64_t)(rand() % RACED_PIECES) * PIECE_BYTES;

		loop_turn(loop, 1);
		if (holdings_open(holdings, &content, at, 1, &reader) == P2P_OK)
			store_reader_unref(reader);
	}
	for (unsigned i = 0; i < FOLLOWERS + 2; i++)
		pthread_join(threads[i], NULL);
	for (unsigned i = 0; i < FOLLOWERS; i++) {
		ck_assert_uint_eq(racers[i].pieces, RACED_PIECES);
		pthread_mutex_destroy(&racers[i].mu);
		pthread_cond_destroy(&racers[i].woken);
	}
	holdings_end(holding);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("holdings");
	TCase *all = tcase_create("all");

	tcase_add_checked_fixture(all, setup, teardown);
	tcase_set_timeout(all, 60);
	tcase_add_test(all, test_what_is_neither_whole_nor_being_fetched_is_not_found);
	tcase_add_test(all, test_a_first_answer_is_full_and_the_next_has_what_is_new);
	tcase_add_test(all, test_a_number_of_another_life_is_answered_in_full);
	tcase_add_test(all, test_what_is_more_than_one_answer_may_have_is_told_in_full);
	tcase_add_test(all, test_who_fell_behind_the_log_is_told_in_full);
	tcase_add_test(all, test_a_whole_content_is_noted_for_followers_only);
	tcase_add_test(all, test_followers_are_told_of_each_other_and_not_of_themselves);
	tcase_add_test(all, test_who_fetches_hears_of_each_who_follows_him_once);
	tcase_add_test(all, test_more_followers_than_can_be_told_of_are_answered_too);
	tcase_add_test(all, test_what_is_sent_to_somebody_is_told_to_followers);
	tcase_add_test(all, test_never_more_pieces_on_their_way_than_an_answer_may_have);
	tcase_add_test(all, test_a_partial_that_became_whole_says_so_to_who_follows);
	tcase_add_test(all, test_who_was_told_whole_hears_in_full_when_it_no_longer_is);
	tcase_add_test(all, test_a_question_waits_until_another_thread_adds_a_piece);
	tcase_add_test(all, test_what_is_news_already_is_not_waited_for);
	tcase_add_test(all, test_a_wait_is_over_after_its_time);
	tcase_add_test(all, test_the_stop_wakes_all_and_from_then_on_nobody_waits);
	tcase_add_test(all, test_a_waiting_one_is_told_of_peers_and_of_what_is_on_its_way);
	tcase_add_test(all, test_who_does_not_come_back_is_forgotten);
	tcase_add_test(all, test_too_many_contents_are_not_noted);
	tcase_add_test(all, test_a_second_download_of_the_same_content_tells_nobody);
	tcase_add_test(all, test_only_verified_pieces_can_be_read_also_when_it_has_ended);
	tcase_add_test(all, test_the_layer_of_a_partial_is_given);
	tcase_add_test(all, test_an_empty_content_can_be_held);
	tcase_add_test(all, test_threads_add_follow_and_read_at_once);
	suite_add_tcase(suite, all);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
