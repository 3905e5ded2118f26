/* SPDX-License-Identifier: MIT
 *
 * follow.c - the follows of this peer: when to look, and what becomes of what was found.
 *
 * News (a commit of other peers' changes, a new follow, the start) sets a timer; when it is over a
 * look is taken on the pool (follow_pass.c), and what it found is begun here: one fetch for each
 * follow, with the marks in the transaction that enters it.  The next look waits until that is
 * written, for it asks the catalog what is on its way.  News meanwhile is remembered.  So a burst
 * becomes one fetch or a few, one look is under way at a time, and what is kept here is next to
 * nothing: everything that matters stands in the catalog.
 *
 * With too many fetches under way nothing is begun and no mark is moved: it is looked at later.
 */
#include "follow_inner.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "log.h"
#include "mem.h"

#define TROUBLE_MS 5000 /* until the next look after one that failed */

struct follows {
	struct loop *loop;
	struct pool *pool;
	struct catalog *catalog;
	struct fetches *fetches;
	struct events *events;
	struct loop_timer *timer;
	struct follow_pass *pass; /* from the look to the writing of what it found */
	bool is_started, is_stopping;
	bool has_none;     /* there are no follows: nothing is news */
	bool is_wanted;    /* there was news since the look began */
	bool has_trouble;  /* the last look failed, and that was said */
	uint64_t begun_ms; /* when a fetch was begun last, by clock_ms() */
};

static void
set_timer(struct follows *follows, uint64_t delay_ms)
{
	if (follows->pass == NULL && follows->is_started && !follows->is_stopping &&
	    !loop_timer_active(follows->timer))
		loop_timer_start(follows->timer, delay_ms);
}

/* Soon, but with a space behind the last fetch. */
static uint64_t
next_delay_ms(const struct follows *follows)
{
	uint64_t now_ms = clock_ms(), next_ms = follows->begun_ms + FOLLOW_SPACE_MS;
	bool has_begun = follows->begun_ms != 0 && next_ms > now_ms + FOLLOW_SETTLE_MS;
	return has_begun ? next_ms - now_ms : FOLLOW_SETTLE_MS;
}

void
follows_notice(struct follows *follows)
{
	assert(loop_is_mine(follows->loop));
	if (follows->has_none)
		return;
	follows->is_wanted = true;
	set_timer(follows, next_delay_ms(follows));
}

void
follows_added(struct follows *follows)
{
	follows->has_none = false;
	follows_notice(follows);
}

/* --- what was found --- */

static void
publish(struct follows *follows, const struct follow_lot *lot, const char *name,
	struct event *event)
{
	event->name = mem_string(name);
	event->follow = lot->no;
	events_publish(follows->events, event);
}

static void
tell_begun(struct follows *follows, const struct follow_lot *lot, uint64_t fetch, size_t files,
	   uint64_t bytes)
{
	struct event *event = event_new(EVENT_FOLLOW_MATCHED);
	event->fetch = fetch;
	event->total_files = (uint32_t)files;
	event->total_bytes = bytes;
	log_info("follow %llu of \"%s\": %zu files appeared, fetch %llu brings them",
		 (unsigned long long)lot->no, lot->pattern, files, (unsigned long long)fetch);
	publish(follows, lot, lot->pattern, event);
}

static void
tell_held(struct follows *follows, const struct follow_lot *lot)
{
	if (lot->held == 0)
		return;
	struct event *event = event_new(EVENT_FOLLOW_HELD);
	event->code = P2P_EXISTS;
	event->text =
	    lot->held == 1
		? mem_format("another file has the name \"%s\" here", lot->held_name)
		: mem_format("other files have the names of %zu files here, \"%s\" among them",
			     lot->held, lot->held_name);
	log_info("follow %llu of \"%s\": %s", (unsigned long long)lot->no, lot->pattern,
		 event->text);
	publish(follows, lot, lot->held_name, event);
}

static void
add_marks(struct catalog_batch *batch, const struct follow_lot *lot)
{
	for (size_t i = 0; i < lot->move_count; i++)
		catalog_batch_mark(batch, lot->no, lot->moves[i].peer, &lot->moves[i].mark);
}

/* The finds of a follow as a request; they stay in order. */
static uint64_t
collect(struct follow_pass *pass, size_t lot, struct fetch_request *ret)
{
	uint64_t bytes = 0;
	*ret = (struct fetch_request){ .what = pass->lots[lot].pattern,
				       .replace = pass->lots[lot].replace,
				       .data_fd = -1,
				       .have_fd = -1 };
	ret->items = mem_zero(pass->find_count, sizeof(*ret->items));
	for (size_t i = 0; i < pass->find_count; i++) {
		struct follow_find *find = &pass->finds[i];
		if (find->lot != lot)
			continue;
		ret->items[ret->count++] = (struct fetch_item){
			.name = find->name,
			.content = find->version.content,
			.mtime_ns = find->version.mtime_ns,
			.mode = find->mode,
		};
		find->name = NULL;
		bytes += find->version.content.size_bytes;
	}
	return bytes;
}

/* Begins what one follow found.  True if it must be looked at again. */
static bool
begin_fetch(struct follows *follows, size_t index)
{
	struct follow_pass *pass = follows->pass;
	struct follow_lot *lot = &pass->lots[index];
	struct fetch_request request;
	struct error err;
	uint64_t id, bytes = collect(pass, index, &request);
	size_t files = request.count;
	if (files == 0) {
		free(request.items);
		return false;
	}
	request.also = catalog_batch_new();
	add_marks(request.also, lot);
	catalog_batch_followed(request.also, lot->no, files, bytes);
	int code = fetch_start(follows->fetches, &request, &id, &err);
	if (code == P2P_OK) {
		lot->move_count = 0; /* written with the fetch */
		follows->begun_ms = clock_ms();
		tell_begun(follows, lot, id, files, bytes);
	} else {
		log_warn("follow %llu of \"%s\": %s", (unsigned long long)lot->no, lot->pattern,
			 err.text);
	}
	bool is_later = code == P2P_TOO_MANY || code == P2P_SHUTTING_DOWN;
	if (is_later)
		lot->move_count = 0;
	return is_later;
}

static void
drop_stale(struct follows *follows, struct catalog_batch *batch)
{
	const struct follow_pass *pass = follows->pass;
	for (size_t i = 0; i < pass->stale_count; i++) {
		const struct follow_stale *stale = &pass->stales[i];
		catalog_batch_fetch_item_done(batch, stale->fetch, stale->name);
		fetch_drop_item(follows->fetches, stale->fetch, stale->name, &stale->content);
	}
}

static void
drop_pass(struct follows *follows)
{
	follow_pass_fini(follows->pass);
	free(follows->pass);
	follows->pass = NULL;
}

/* catalog_done_fn: what was found is written, or could not be. */
static void
on_written(void *arg, int code)
{
	struct follows *follows = arg;
	bool has_more = follows->pass->has_more;
	(void)code; /* then memory has it, and a restart looks again */
	drop_pass(follows);
	if (has_more || follows->is_wanted)
		set_timer(follows, next_delay_ms(follows));
}

static void
act(struct follows *follows)
{
	struct follow_pass *pass = follows->pass;
	struct catalog_batch *rest = catalog_batch_new();
	drop_stale(follows, rest);
	for (size_t i = 0; i < pass->lot_count; i++) {
		if (begin_fetch(follows, i))
			pass->has_more = true;
		add_marks(rest, &pass->lots[i]);
		tell_held(follows, &pass->lots[i]);
	}
	/* The scribe writes in order: when this is through, the fetches are. */
	catalog_submit(follows->catalog, rest, on_written, follows);
}

/* --- looking --- */

static void
work(void *arg)
{
	struct follows *follows = arg;
	follow_pass_run(follows->pass);
}

static void
note_trouble(struct follows *follows, int code)
{
	if (code != P2P_OK && !follows->has_trouble)
		log_warn("follows: the catalog cannot be read: %s", code_title(code));
	follows->has_trouble = code != P2P_OK;
}

static void
done(void *arg)
{
	struct follows *follows = arg;
	struct follow_pass *pass = follows->pass;
	if (follows->is_stopping) {
		drop_pass(follows);
		return;
	}
	note_trouble(follows, pass->code);
	if (pass->code != P2P_OK) {
		drop_pass(follows);
		set_timer(follows, TROUBLE_MS);
		return;
	}
	follows->has_none = pass->lot_count == 0 && !follows->is_wanted;
	act(follows);
}

static void
on_timer(void *arg)
{
	struct follows *follows = arg;
	if (fetches_active(follows->fetches) >= FOLLOW_FETCHES_MAX) {
		set_timer(follows, FOLLOW_SPACE_MS);
		return;
	}
	follows->is_wanted = false;
	follows->pass = mem_zero(1, sizeof(*follows->pass));
	follows->pass->catalog = follows->catalog;
	pool_submit(follows->pool, POOL_SOON, work, done, follows);
}

/* --- life --- */

struct follows *
follows_new(struct loop *loop, struct pool *pool, struct catalog *catalog, struct fetches *fetches,
	    struct events *events)
{
	struct follows *follows = mem_zero(1, sizeof(*follows));
	follows->loop = loop;
	follows->pool = pool;
	follows->catalog = catalog;
	follows->fetches = fetches;
	follows->events = events;
	follows->timer = loop_timer_new(loop, on_timer, follows);
	return follows;
}

void
follows_start(struct follows *follows)
{
	follows->is_started = true;
	follows_notice(follows);
}

void
follows_stop(struct follows *follows)
{
	follows->is_stopping = true;
	loop_timer_stop(follows->timer);
}

void
follows_free(struct follows *follows)
{
	if (follows == NULL)
		return;
	if (follows->pass != NULL)
		drop_pass(follows);
	loop_timer_free(follows->timer);
	free(follows);
}
