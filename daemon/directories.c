/* SPDX-License-Identifier: MIT
 *
 * directories.c - asks those who have a tree what its directories are like.
 *
 * The catalog names, for each directory, peers who have files below it (a job on the pool).  Of those
 * that can be reached the one that has most of what is open is asked for all of that; what he does not
 * tell of is asked of the next, until all is told or nobody is left.
 *
 * Nothing is proven here, and nothing has to be: who has the files of a tree may say what its
 * directories are like, as he says it of the files' modes and times.  So the first answer counts.
 * Nor may it take long, for somebody who has all of his files waits for it: a peer that fails is asked
 * no more, and after FAILED_MAX of them nobody is.  A peer of an earlier version does not know the
 * question, and is one of those.
 */
#include "directories.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "log.h"
#include "mem.h"

#define FAILED_MAX  3
#define HOLDERS_MAX 64 /* bits of a word */

struct directories {
	struct download_means *means;
	bool is_stopping;
	/* Peers that failed, over all questions; and whether one was asked again by its other wire. */
	size_t failed_count;
	char failed[FAILED_MAX][PEER_ID_SIZE];
	bool has_changed_wire;
	/* The question at hand. */
	const char *const *names;
	size_t count;
	bool own;
	directories_done_fn done;
	void *arg;
	struct directory found[DIRECTORIES_MAX];
	uint64_t holders_of[DIRECTORIES_MAX]; /* that may tell of it: bits of holders[] */
	size_t holder_count;
	char holders[HOLDERS_MAX][PEER_ID_SIZE];
	/* What one of them is asked. */
	size_t holder;
	struct wire_run wire;
	struct transport_request *request; /* under way, or NULL */
	struct directory_question question;
	const char *asked_names[DIRECTORIES_MAX];
	size_t asked[DIRECTORIES_MAX]; /* places in names[] */
	struct directory answers[DIRECTORIES_MAX];
};

/* --- who may tell --- */

struct look {
	struct directories *directories;
	size_t index; /* the directory at hand */
};

static void
collect_holder(void *arg, const char *peer)
{
	struct look *look = arg;
	struct directories *directories = look->directories;
	size_t i = 0;

	while (i < directories->holder_count && strcmp(directories->holders[i], peer) != 0)
		i++;
	if (i == HOLDERS_MAX)
		return;
	if (i == directories->holder_count)
		memcpy(directories->holders[directories->holder_count++], peer, PEER_ID_SIZE);
	directories->holders_of[look->index] |= 1ull << i;
}

static bool
is_own(struct directories *directories, struct catalog_view *view, size_t index)
{
	const char *name = directories->names[index];

	return directories->own && !catalog_view_is_making(view, name) &&
	       store_stat_directory(directories->means->store, name, &directories->found[index],
				    NULL) == P2P_OK;
}

/* On the pool. */
static void
work_look(void *arg)
{
	struct look look = { .directories = arg };
	struct directories *directories = arg;
	struct catalog_view *view = catalog_view_new(directories->means->catalog);

	/* Without the catalog nobody is known, and nothing is told. */
	for (; view != NULL && look.index < directories->count; look.index++)
		if (!is_own(directories, view, look.index))
			(void)catalog_view_holders_below(view, directories->names[look.index],
							 collect_holder, &look);
	catalog_view_free(view);
}

/* --- whom to ask --- */

static bool
has_failed(const struct directories *directories, const char *peer)
{
	for (size_t i = 0; i < directories->failed_count; i++)
		if (strcmp(directories->failed[i], peer) == 0)
			return true;
	return false;
}

static size_t
count_open(const struct directories *directories, size_t holder)
{
	size_t count = 0;

	for (size_t i = 0; i < directories->count; i++)
		count += (directories->holders_of[i] & 1ull << holder) != 0;
	return count;
}

/* Who can tell most, and can be reached. */
static bool
choose(struct directories *directories, struct peer_info *ret)
{
	struct download_means *means = directories->means;
	size_t best = 0;

	for (size_t i = 0; i < directories->holder_count; i++) {
		struct peer_info peer;
		size_t count = count_open(directories, i);

		if (count <= best || has_failed(directories, directories->holders[i]) ||
		    !peers_find(means->peers, directories->holders[i], &peer) ||
		    peer.state == PEER_AWAY || download_wires(means, &peer) == 0)
			continue;
		best = count;
		directories->holder = i;
		*ret = peer;
	}
	return best > 0;
}

/* --- asking --- */

static void ask_next(struct directories *directories);

/* He told, or will not: of none of it is he asked again. */
static void
take_answers(struct directories *directories, bool is_told)
{
	for (size_t i = 0; i < directories->question.count; i++) {
		size_t at = directories->asked[i];

		directories->holders_of[at] &= ~(1ull << directories->holder);
		if (!is_told || !directories->answers[i].is_there)
			continue;
		directories->found[at] = directories->answers[i];
		directories->holders_of[at] = 0;
	}
}

static enum wire_outcome
outcome_of(int code)
{
	if (code == P2P_OK)
		return WIRE_WORKED;
	return code == P2P_UNREACHABLE || code == P2P_TIMEOUT ? WIRE_FAILED : WIRE_UNJUDGED;
}

/* Its other wire may be better; but that is tried once, and not for each peer. */
static bool
may_change_wire(struct directories *directories, const char *peer, enum wire_outcome outcome)
{
	const struct download_means *means = directories->means;
	struct peer_info info;
	bool may =
	    outcome == WIRE_FAILED && !directories->has_changed_wire &&
	    peers_find(means->peers, peer, &info) &&
	    wire_choice_is_open(means->wires, peer, download_wires(means, &info), clock_us());

	directories->has_changed_wire |= may;
	return may;
}

static void
done_ask(void *arg, int code, const struct error *err)
{
	struct directories *directories = arg;
	const char *peer = directories->holders[directories->holder];
	enum wire_outcome outcome = outcome_of(code);

	directories->request = NULL;
	wire_choice_end(directories->means->wires, peer, &directories->wire, outcome, 0,
			clock_us());
	if (code == P2P_OK) {
		take_answers(directories, true);
	} else if (!may_change_wire(directories, peer, outcome)) {
		log_debug("peer %s tells nothing of its directories: %s", peer, err->text);
		memcpy(directories->failed[directories->failed_count++], peer, PEER_ID_SIZE);
		take_answers(directories, false);
	}
	ask_next(directories);
}

static void
ask(struct directories *directories, const struct peer_info *peer)
{
	struct download_means *means = directories->means;
	struct directory_question *question = &directories->question;

	*question = (struct directory_question){ .names = directories->asked_names,
						 .found = directories->answers };
	for (size_t i = 0; i < directories->count; i++) {
		if ((directories->holders_of[i] & 1ull << directories->holder) == 0)
			continue;
		directories->asked[question->count] = i;
		directories->asked_names[question->count++] = directories->names[i];
	}
	wire_choice_begin(means->wires, peer->id, download_wires(means, peer), WIRE_SMALL,
			  clock_us(), &directories->wire);
	directories->request = means->transport->ops->directories(
	    means->transport, peer->wire_address[directories->wire.wire], question, done_ask,
	    directories);
}

static void
ask_next(struct directories *directories)
{
	struct peer_info peer;

	if (!directories->is_stopping && directories->failed_count < FAILED_MAX &&
	    choose(directories, &peer))
		ask(directories, &peer);
	else
		directories->done(directories->arg, directories->found);
}

static void
done_look(void *arg)
{
	ask_next(arg);
}

void
directories_ask(struct directories *directories, const char *const *names, size_t count, bool own,
		directories_done_fn done, void *arg)
{
	assert(loop_is_mine(directories->means->loop) && directories->request == NULL);
	assert(count >= 1 && count <= DIRECTORIES_MAX);
	directories->names = names;
	directories->count = count;
	directories->own = own;
	directories->done = done;
	directories->arg = arg;
	directories->holder_count = 0;
	memset(directories->found, 0, count * sizeof(directories->found[0]));
	memset(directories->holders_of, 0, count * sizeof(directories->holders_of[0]));
	pool_submit(directories->means->pool, POOL_SOON, work_look, done_look, directories);
}

void
directories_stop(struct directories *directories)
{
	directories->is_stopping = true;
	if (directories->request != NULL)
		directories->means->transport->ops->cancel(directories->request);
}

struct directories *
directories_new(struct download_means *means)
{
	struct directories *directories = mem_zero(1, sizeof(*directories));

	directories->means = means;
	return directories;
}

void
directories_free(struct directories *directories)
{
	free(directories);
}
