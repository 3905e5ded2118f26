/* SPDX-License-Identifier: MIT
 *
 * holdings_answer.c - what a face is told of a holding: everything, or what is new.
 *
 * An answer is made from the log's entries since the last one.  What is no news is left out: one's own
 * name among the peers, a follower that was forgotten meanwhile, single pieces of what is whole.  If
 * nothing is left, the question may wait.  Everything is told at once, instead, to who comes for the
 * first time, or from another life, or has fallen behind the log; and if what is new would be
 * too much for one answer.
 *
 * Who asks with an id is a follower from then on, until he does not come back.
 */
#include "holdings_inner.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "mem.h"

/* --- followers --- */

/* Holds mu.  A place for a new one, or NULL if there are too many. */
static struct holding_follower *
free_place(struct holding *holding)
{
	size_t room = holding->follower_room;

	for (size_t i = 0; i < room; i++)
		if (holding->followers[i].id[0] == '\0')
			return &holding->followers[i];
	if (room == HOLDINGS_FOLLOWERS_MAX)
		return NULL;
	size_t more = room > 0 ? 2 * room : 4;
	holding->followers = mem_grow(holding->followers, more, sizeof(*holding->followers));
	memset(holding->followers + room, 0, (more - room) * sizeof(*holding->followers));
	holding->follower_room = more;
	return &holding->followers[room];
}

static struct holding_follower *
find_follower(struct holding *holding, const char *id)
{
	for (size_t i = 0; i < holding->follower_room; i++)
		if (strcmp(holding->followers[i].id, id) == 0)
			return &holding->followers[i];
	return NULL;
}

/* Holds mu.  Notes that a peer asks; a new one is told of. */
static void
note_follower(struct holding *holding, const char *id)
{
	if (id[0] == '\0')
		return;
	struct holding_follower *follower = find_follower(holding, id);
	bool is_new = follower == NULL;
	if (is_new)
		follower = free_place(holding);
	if (follower == NULL)
		return;
	follower->asked_ms = clock_ms();
	holdings_look_at(holding->holdings, follower->asked_ms + holding->holdings->forget_ms);
	if (!is_new)
		return;
	memcpy(follower->id, id, strlen(id) + 1);
	holding->follower_count++;
	holding_log(holding, HOLDING_PEER, (uint64_t)(follower - holding->followers));
	holding_wake_all(holding);
}

/* True if the entry is news for `self`. */
static bool
is_news(const struct holding *holding, uint64_t entry, const char *self, bool is_whole)
{
	switch (holding_entry_kind(entry)) {
	case HOLDING_PIECE:
		return !is_whole;
	case HOLDING_PEER: {
		const char *id = holding->followers[holding_entry_value(entry)].id;
		return id[0] != '\0' && strcmp(id, self) != 0;
	}
	case HOLDING_COMING:
	case HOLDING_KINDS:
		break;
	}
	return true;
}

/* The cursor is one more than the number of the next entry. */
void
holding_new_followers(struct holding *holding, uint64_t *cursor,
		      void (*fn)(void *arg, const char *peer), void *arg)
{
	struct holdings *holdings = holding->holdings;

	pthread_mutex_lock(&holdings->mu);
	bool has_all = *cursor != 0 && *cursor - 1 >= holding_log_begin(holding);
	for (size_t i = 0; !has_all && i < holding->follower_room; i++)
		if (holding->followers[i].id[0] != '\0')
			fn(arg, holding->followers[i].id);
	for (uint64_t at = *cursor - 1; has_all && at < holding->log_end; at++) {
		uint64_t entry = holding_entry(holding, at);

		if (holding_entry_kind(entry) == HOLDING_PEER && is_news(holding, entry, "", true))
			fn(arg, holding->followers[holding_entry_value(entry)].id);
	}
	*cursor = holding->log_end + 1;
	pthread_mutex_unlock(&holdings->mu);
}

/* --- answers --- */

void
holding_answer_fini(struct holding_answer *answer)
{
	free(answer->bits);
	free(answer->pieces);
	free(answer->coming);
	free(answer->peers);
	*answer = (struct holding_answer){ 0 };
}

/* How many entries of each kind are news. */
struct news {
	size_t counts[HOLDING_KINDS], all;
	bool is_too_much;
};

static struct news
count_news(const struct holding *holding, uint64_t from, const char *self, bool is_whole)
{
	struct news news = { .all = 0 };

	for (uint64_t at = from; at < holding->log_end; at++) {
		uint64_t entry = holding_entry(holding, at);

		if (is_news(holding, entry, self, is_whole)) {
			news.counts[holding_entry_kind(entry)]++;
			news.all++;
		}
	}
	for (size_t kind = 0; kind < HOLDING_KINDS; kind++)
		news.is_too_much = news.is_too_much || news.counts[kind] > HOLDINGS_NEWS_MAX;
	return news;
}

static void
tell_news(const struct holding *holding, uint64_t from, const char *self, const struct news *news,
	  struct holding_answer *ret)
{
	ret->pieces = mem_zero(news->counts[HOLDING_PIECE] + 1, sizeof(*ret->pieces));
	ret->coming = mem_zero(news->counts[HOLDING_COMING] + 1, sizeof(*ret->coming));
	ret->peers = mem_zero(news->counts[HOLDING_PEER] + 1, sizeof(*ret->peers));
	for (uint64_t at = from; at < holding->log_end; at++) {
		uint64_t entry = holding_entry(holding, at), value = holding_entry_value(entry);

		if (!is_news(holding, entry, self, ret->is_whole))
			continue;
		switch (holding_entry_kind(entry)) {
		case HOLDING_PIECE:
			ret->pieces[ret->piece_count++] = value;
			break;
		case HOLDING_COMING:
			ret->coming[ret->coming_count++] = value;
			break;
		case HOLDING_PEER:
			strcpy(ret->peers[ret->peer_count++], holding->followers[value].id);
			break;
		case HOLDING_KINDS:
			break;
		}
	}
}

static void
tell_all_peers(const struct holding *holding, const char *self, struct holding_answer *ret)
{
	ret->peers = mem_zero(holding->follower_count + 1, sizeof(*ret->peers));
	for (size_t i = 0; i < holding->follower_room; i++) {
		const char *id = holding->followers[i].id;

		if (id[0] != '\0' && strcmp(id, self) != 0)
			strcpy(ret->peers[ret->peer_count++], id);
	}
}

/* The newest of what is on its way: who comes later shall not ask for it first. */
static void
tell_all_coming(const struct holding *holding, struct holding_answer *ret)
{
	uint64_t begin = holding_log_begin(holding);

	ret->coming = mem_zero(HOLDINGS_NEWS_MAX, sizeof(*ret->coming));
	for (uint64_t at = holding->log_end; at > begin && ret->coming_count < HOLDINGS_NEWS_MAX;) {
		uint64_t entry = holding_entry(holding, --at);

		if (holding_entry_kind(entry) == HOLDING_COMING)
			ret->coming[ret->coming_count++] = holding_entry_value(entry);
	}
}

static void
tell_all(const struct holding *holding, const char *self, struct holding_answer *ret)
{
	ret->is_full = true;
	if (!ret->is_whole && holding_bits_len(holding) > 0) {
		ret->bits_len = holding_bits_len(holding);
		ret->bits = mem_alloc(ret->bits_len);
		memcpy(ret->bits, holding->bits, ret->bits_len);
	}
	tell_all_peers(holding, self, ret);
	tell_all_coming(holding, ret);
}

/* Holds mu.  The holding that a question is about; NULL if there is none, or none is noted. */
static struct holding *
find_asked(struct holdings *holdings, const struct holding_question *question, bool is_whole)
{
	struct holding *holding = holdings_find(holdings, &question->content);

	if (holding != NULL)
		return holding->reader != NULL || is_whole ? holding : NULL;
	if (!is_whole || question->peer[0] == '\0' || holdings->count >= HOLDINGS_MAX ||
	    holdings->is_stopped)
		return NULL;
	return holdings_add(holdings, &question->content);
}

/* Holds mu.  True if there was something to tell, or whoever asks does not wait for it. */
static bool
answer(struct holding *holding, const struct holding_question *question, bool may_wait,
       struct holding_answer *ret)
{
	uint64_t from = holding_next_number(question->since);
	bool was_whole = holding_next_whole(question->since);
	bool is_full = !holding_knows(holding, question->since) || (was_whole && !ret->is_whole);
	bool is_now_whole = ret->is_whole && !was_whole;
	struct news news = { .all = 0 };

	if (!is_full)
		news = count_news(holding, from, question->peer, ret->is_whole);
	if (!is_full && !is_now_whole && news.all == 0 && may_wait) {
		ret->next = question->since;
		return false;
	}
	ret->next = holding_next(holding, holding->log_end, ret->is_whole);
	if (is_full || news.is_too_much)
		tell_all(holding, question->peer, ret);
	else
		tell_news(holding, from, question->peer, &news, ret);
	return true;
}

int
holdings_ask(struct holdings *holdings, const struct holding_question *question, bool is_whole,
	     struct holding_waiter *waiter, struct holding_answer *ret, bool *ret_waits)
{
	struct holding_answer told = { .is_whole = is_whole, .is_full = true };
	int code = P2P_OK;
	bool waits = false;

	assert(question->wait_ms <= HOLDINGS_WAIT_MAX_MS);
	pthread_mutex_lock(&holdings->mu);
	struct holding *holding = find_asked(holdings, question, is_whole);
	if (holding != NULL) {
		bool may_wait = waiter != NULL && question->wait_ms > 0 && !holdings->is_stopped;

		told.is_full = false;
		note_follower(holding, question->peer);
		waits = !answer(holding, question, may_wait, &told);
		if (waits)
			holding_wait(holding, waiter, question->wait_ms);
	} else if (!is_whole) {
		code = P2P_NOT_FOUND;
	}
	pthread_mutex_unlock(&holdings->mu);
	if (code != P2P_OK)
		return code;
	*ret = told;
	*ret_waits = waits;
	return P2P_OK;
}
