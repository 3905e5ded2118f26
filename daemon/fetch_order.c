/* SPDX-License-Identifier: MIT
 *
 * fetch_order.c - which file of which fetch is brought next, and whether a fetch moves or waits.
 *
 * A fetch is queued, moves while at least one of its files does, waits when all that were begun wait, and ends when
 * every file is done or failed, or when it is cancelled.  fetches_schedule() starts files: at most [fetch] parallel move at
 * once in all, taken from the fetches as fetch_turn.c says, and a fetch has no more than that begun.  A file that waits keeps
 * its place but does not count as moving, so that it holds up no other fetch's.
 *
 * Small files go many to a batch (fetch_batch.c), which counts as one.  What a batch does not bring is looked at once more
 * before the rest, and after FETCH_BATCH_TRIES brought alone.
 *
 * A file that cannot be had now (its holders are away) is put off as long as others of its fetch are queued, so that a few that
 * nobody has do not hold up thousands that somebody has.  When the cursor has passed the last file, those that were put off are
 * tried again after a while, which doubles while nothing comes of it, or when a peer comes.  Trouble of our own (a full disk, a
 * catalog that cannot be written) would meet the next file too: then the whole fetch rests.
 */
#include "fetch_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "log.h"
#include "mem.h"

#define RETRY_MS	5000	/* until files that were put off are tried again; doubles */
#define RETRY_DOUBLINGS	4
#define LOOK_AHEAD	4096	/* files behind the next one among which others for its batch are looked for */
#define PEER_RETRY_MS	1000	/* the same, after a peer came: peers may come and go often */

/* --- states --- */

static void
set_moving(struct fetch *fetch)
{
	if (fetch->state == FETCH_QUEUED || fetch->state == FETCH_WAITING) {
		fetch->state = FETCH_MOVING;
		fetch->trouble.code = P2P_OK;
		fetch->rated_ms = 0;
		fetch->rate_bps = 0;
	}
	if (!loop_timer_active(fetch->fetches->progress))
		loop_timer_start(fetch->fetches->progress, FETCH_PROGRESS_MS);
}

static void
set_waiting(struct fetch *fetch, int code, const char *text)
{
	bool is_news = fetch->state != FETCH_WAITING || fetch->trouble.code != code;
	fetch->state = FETCH_WAITING;
	fetch->rate_bps = 0;
	error_set(&fetch->trouble, code, "%s", text ? text : code_title(code));
	if (is_news) {
		log_info("fetch %llu of \"%s\" waits: %s", (unsigned long long)fetch->id,
		    fetch->what, fetch->trouble.text);
		fetch_publish(fetch, EVENT_FETCH_WAITING);
	}
}

/* --- putting files off --- */

/* Sets the timer for the fetch that is to be tried again first. */
void
fetches_set_retry_timer(struct fetches *fetches)
{
	uint64_t now_ms = clock_ms(), first_ms = UINT64_MAX;
	for (const struct fetch *fetch = fetches->first; fetch != NULL; fetch = fetch->next)
		if (fetch->retry_at_ms != 0 && fetch->retry_at_ms < first_ms)
			first_ms = fetch->retry_at_ms;
	if (first_ms != UINT64_MAX)
		loop_timer_start(fetches->retry, first_ms > now_ms ? first_ms - now_ms : 0);
}

static void
put_off(struct fetch *fetch, int code, const char *text)
{
	error_set(&fetch->put_off, code, "%s", text != NULL && text[0] ? text : code_title(code));
	/* What is ours to blame would meet the next file as well. */
	if (code != P2P_NO_HOLDER)
		fetch->is_resting = true;
}

/* The next file that is queued; false: there is none now, for what is queued was put off. */
static bool
find_next(struct fetch *fetch, size_t *ret_index)
{
	while (fetch->again_count > 0 &&
	    fetch->item_states[fetch->again[fetch->again_count - 1]] != ITEM_QUEUED)
		fetch->again_count--;
	while (fetch->cursor < fetch->count && fetch->item_states[fetch->cursor] != ITEM_QUEUED)
		fetch->cursor++;
	if (fetch->again_count == 0 && fetch->cursor == fetch->count)
		return false;
	*ret_index = fetch->again_count > 0 ? fetch->again[fetch->again_count - 1] : fetch->cursor;
	return true;
}

/* If nothing more can be begun now: when again?  And if nothing is under way either, the fetch waits. */
static void
settle_put_off(struct fetch *fetch)
{
	size_t next;
	if (fetch->put_off.code == P2P_OK || fetch->queued_count == 0 || fetch->is_cancelled ||
	    fetch->fetches->is_stopping ||
	    (!fetch->is_resting && find_next(fetch, &next)))
		return;
	if (fetch->retry_at_ms == 0) {
		unsigned doublings = fetch->is_resting ? 0 : fetch->vain_passes;
		fetch->retry_at_ms = clock_ms() + ((uint64_t)RETRY_MS << doublings);
		fetches_set_retry_timer(fetch->fetches);
	}
	if (fetch->active_count == 0)
		set_waiting(fetch, fetch->put_off.code, fetch->put_off.text);
}

/* Another pass over the files that are queued still. */
static void
begin_pass(struct fetch *fetch)
{
	fetch->retry_at_ms = 0;
	fetch->cursor = fetch->again_count = 0;
	memset(fetch->item_tries, 0, fetch->count);
	for (size_t i = 0; i < fetch->count; i++)
		if (fetch->item_states[i] == ITEM_PUT_OFF)
			fetch->item_states[i] = ITEM_QUEUED;
	fetch->is_resting = false;
	fetch->put_off.code = P2P_OK;
	if (fetch->vain_passes < RETRY_DOUBLINGS)
		fetch->vain_passes++;
}

void
fetches_on_retry(void *arg)
{
	struct fetches *fetches = arg;
	uint64_t now_ms = clock_ms();
	for (struct fetch *fetch = fetches->first; fetch != NULL; fetch = fetch->next)
		if (fetch->retry_at_ms != 0 && fetch->retry_at_ms <= now_ms)
			begin_pass(fetch);
	fetches_set_retry_timer(fetches);
	fetches_schedule(fetches);
}

/* A peer came: it may hold what was put off. */
void
fetch_retry_soon(struct fetch *fetch)
{
	uint64_t at_ms = clock_ms() + PEER_RETRY_MS;
	fetch->vain_passes = 0;
	if (fetch->retry_at_ms > at_ms)
		fetch->retry_at_ms = at_ms;
}

/* --- items --- */

/* Trouble that passes: the disk, or that nobody has it now. */
bool
fetch_is_transient(int code)
{
	return code == P2P_NO_SPACE || code == P2P_IO || code == P2P_NO_HOLDER;
}

static void
count_moving(struct fetch *fetch, int more)
{
	fetch->moving_count += (unsigned)more;
	fetch->fetches->moving_count += (unsigned)more;
}

static void
remove_active(struct active *active)
{
	struct fetch *fetch = active->fetch;
	struct active **link = &fetch->actives;
	while (*link != active)
		link = &(*link)->next;
	*link = active->next;
	fetch->active_count--;
	fetch->fetches->active_count--;
	if (!active->is_waiting)
		count_moving(fetch, -1);
	free(active);
}

static void
item_failed(struct fetch *fetch, size_t index, int code, const char *text)
{
	fetch->item_states[index] = ITEM_FAILED;
	/* The first failure is the one that is told. */
	if (fetch->failed_files++ == 0)
		error_set(&fetch->failure, code, "%s",
		    text != NULL && text[0] ? text : code_title(code));
}

void
fetch_item_over(struct fetch *fetch, size_t index, int code, const char *text)
{
	if (code == P2P_OK) {
		fetch->item_states[index] = ITEM_DONE;
		fetch->done_bytes += fetch->items[index].content.size_bytes;
		fetch->done_files++;
		fetch->vain_passes = 0;
		set_moving(fetch);
	} else if (fetch->item_states[index] == ITEM_UNWANTED) {
		fetch_forget_item(fetch, index);
	} else if (code == P2P_CANCELLED || fetch_is_transient(code)) {
		fetch->item_states[index] = code == P2P_CANCELLED ? ITEM_QUEUED : ITEM_PUT_OFF;
		fetch->queued_count++;
	} else {
		item_failed(fetch, index, code, text);
	}
	if (fetch->item_states[index] == ITEM_PUT_OFF)
		put_off(fetch, code, text);
}

void
fetch_item_again(struct fetch *fetch, size_t index, bool alone)
{
	if (fetch->item_states[index] == ITEM_UNWANTED) {
		fetch_forget_item(fetch, index);
		return;
	}
	fetch->item_states[index] = ITEM_QUEUED;
	fetch->queued_count++;
	fetch->item_tries[index] =
	    alone ? FETCH_BATCH_TRIES : (unsigned char)(fetch->item_tries[index] + 1);
	if (fetch->again_count == fetch->again_room) {
		fetch->again_room = fetch->again_room ? 2 * fetch->again_room : FETCH_BATCH_FILES;
		fetch->again = mem_grow(fetch->again, fetch->again_room, sizeof(*fetch->again));
	}
	fetch->again[fetch->again_count++] = index;
}

void
fetch_active_ended(struct active *active)
{
	struct fetch *fetch = active->fetch;
	struct fetches *fetches = fetch->fetches;
	remove_active(active);
	bool is_over = fetch_settle(fetch);
	fetches_schedule(fetches);
	if (!is_over)
		settle_put_off(fetch);
	fetches_maybe_stopped(fetches);
}

void
fetch_item_ended(struct active *active, int code, const char *text)
{
	fetch_item_over(active->fetch, active->index, code, text);
	fetch_active_ended(active);
}

void
fetch_item_waiting(struct active *active, int code, const char *text)
{
	struct fetch *fetch = active->fetch;
	bool is_waiting = code != P2P_OK;
	/* Others may be had: this one gives them its place.  What it has stays on the disk. */
	if (code == P2P_NO_HOLDER && fetch->queued_count > 0 && !active->is_stopping) {
		active->is_put_off = true;
		fetch_item_stop(active);
		return;
	}
	if (is_waiting != active->is_waiting) {
		active->is_waiting = is_waiting;
		count_moving(fetch, is_waiting ? -1 : 1);
	}
	if (!is_waiting) {
		set_moving(fetch);
		return;
	}
	if (fetch->moving_count == 0)
		set_waiting(fetch, code, text);
	fetches_schedule(fetch->fetches);
}

void
fetch_item_moved(struct fetch *fetch)
{
	set_moving(fetch);
}

/* --- which files next --- */

struct active *
fetch_active_new(struct fetch *fetch, size_t index)
{
	struct active *active = mem_zero(1, sizeof(*active));
	active->fetch = fetch;
	active->index = index;
	active->next = fetch->actives;
	fetch->actives = active;
	fetch->active_count++;
	fetch->fetches->active_count++;
	count_moving(fetch, 1);
	/* One that waits goes on waiting until something comes of it. */
	if (fetch->state == FETCH_QUEUED)
		set_moving(fetch);
	return active;
}

static void
take_item(struct fetch *fetch, size_t index)
{
	fetch->item_states[index] = ITEM_ACTIVE;
	fetch->queued_count--;
}

/* A file that is all of its fetch has none to go with, and need not wait for a batch to end. */
static bool
is_batchable(const struct fetch *fetch, size_t index)
{
	return !fetch->is_foreign && fetch->count > 1 &&
	    fetch->item_tries[index] < FETCH_BATCH_TRIES &&
	    batch_fits(&fetch->items[index].content);
}

/* What a batch is made of. */
struct pick {
	size_t indices[FETCH_BATCH_FILES];
	size_t count;
	uint64_t bytes;
};

static bool
pick_item(struct fetch *fetch, struct pick *pick, size_t index)
{
	uint64_t bytes = fetch->items[index].content.size_bytes;
	if (pick->count == FETCH_BATCH_FILES || !is_batchable(fetch, index) ||
	    bytes > FETCH_BATCH_BYTES - pick->bytes)
		return false;
	take_item(fetch, index);
	pick->indices[pick->count++] = index;
	pick->bytes += bytes;
	return true;
}

/* Small files from here on; between them large ones are left for later. */
static void
pick_batch(struct fetch *fetch, struct pick *pick)
{
	size_t end = fetch->count - fetch->cursor < LOOK_AHEAD ? fetch->count
							       : fetch->cursor + LOOK_AHEAD;
	pick->count = pick->bytes = 0;
	while (fetch->again_count > 0) {
		size_t index = fetch->again[fetch->again_count - 1];
		if (fetch->item_states[index] == ITEM_QUEUED && !pick_item(fetch, pick, index))
			break;
		fetch->again_count--;
	}
	for (size_t i = fetch->cursor; i < end && pick->count < FETCH_BATCH_FILES; i++)
		if (fetch->item_states[i] == ITEM_QUEUED)
			(void)pick_item(fetch, pick, i);
}

static void
start_alone(struct fetch *fetch, size_t index)
{
	take_item(fetch, index);
	fetch_item_start(fetch, index);
}

/* No batch may be begun now: a large file that stands not far behind. */
static bool
start_large(struct fetch *fetch)
{
	for (size_t i = fetch->cursor; i < fetch->count && i - fetch->cursor < LOOK_AHEAD; i++) {
		if (fetch->item_states[i] != ITEM_QUEUED || is_batchable(fetch, i))
			continue;
		start_alone(fetch, i);
		return true;
	}
	return false;
}

static void
start_batch(struct fetch *fetch)
{
	struct pick pick;
	pick_batch(fetch, &pick);
	if (pick.count == 1)
		fetch_item_start(fetch, pick.indices[0]);
	else
		fetch_batch_start(fetch, pick.indices, pick.count);
}

/* False: nothing that is queued can be begun now. */
static bool
start_next(struct fetch *fetch)
{
	size_t index;
	if (!find_next(fetch, &index))
		return false;
	if (!is_batchable(fetch, index))
		start_alone(fetch, index);
	else if (fetch->fetches->batch_count < FETCH_BATCHES_MAX)
		start_batch(fetch);
	else
		return start_large(fetch);
	return true;
}

/* fetch_turn.c says whose turn it is; who can begin nothing now is passed, and keeps its place in the line. */
void
fetches_schedule(struct fetches *fetches)
{
	struct fetch *fetch;
	if (!fetches->is_started || fetches->is_stopping)
		return;
	for (fetch = fetches->first; fetch != NULL; fetch = fetch->next)
		fetch->is_passed = false;
	while ((fetch = fetch_next_turn(fetches)) != NULL) {
		fetch->is_passed = !start_next(fetch);
		if (!fetch->is_passed)
			fetch->begun_order = ++fetches->begun_count;
	}
}
