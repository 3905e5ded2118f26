/* SPDX-License-Identifier: MIT
 *
 * wire_choice.c - by which wire a peer is asked next.
 *
 * MEASURING.  A run's own speed says little: alone it has the whole line, beside three others a
 * quarter, and the runs of a peer overlap all the time, on both wires and for several contents.  So
 * the time in which a peer is busy is split evenly among the runs that are under way at each
 * moment, whichever wire they use.  Each peer has a clock for that, which advances by 1/n of the
 * time that passes with n runs under way and stands still with none; a run's share of the busy time
 * is what that clock advanced between its begin and its end.  The rate of a wire is the bytes of
 * its runs over their shares.  With one wire in use this is bytes per busy second, exactly; with
 * both in use both are measured under the same load, so a single run by one wire can be held
 * against three by the other.
 *
 * Runs are gathered until they have brought WIRE_SAMPLE_MIN bytes: that is a sample.  Bytes and
 * shares are kept as two fading sums, whose quotient weighs a sample by its length, and whose memory
 * is about four samples.  The first one of a wire pays for its connection: the second one replaces it.
 *
 * CHOOSING.  A wire of which nothing is known is tried with one run; meanwhile the other is used if
 * it is known, else REST.  Then the better one, which REST is unless the other was faster by a
 * margin; once taken, the other stays until it is faster no more. Now and then a run goes by the
 * one that is not in use, for lines change.
 *
 * FAILING.  A wire that failed is not used for a while if there is another, and for longer each
 * time; afterwards it is in doubt, and tried with one request at a time until one ended well.  With
 * every wire backing off, the one whose time is up first is used: to be patient with the peer as a
 * whole is up to the caller.
 */
#include "wire_choice.h"

#include <stdlib.h>
#include <string.h>

#include "mem.h"
#include "peers.h"

#define FADING 0.75 /* of the sums, with each sample */

/* One wire of a peer. */
struct line {
	double bytes, share_us; /* fading sums over samples */
	double gathered_bytes, gathered_us; /* of the next one */
	unsigned samples;       /* that were added, at most 2 are counted */
	unsigned under_way;
	unsigned failures; /* since it last worked */
	uint64_t failed_us;
	uint64_t not_before_us; /* backing off until then */
};

struct entry {
	char peer[PEER_ID_SIZE];
	struct line lines[WIRE_COUNT];
	enum wire better;
	unsigned settled_runs; /* in a row by the better one */
	unsigned measured;     /* runs under way that share the peer's time */
	double share_us;       /* the peer's clock */
	uint64_t at_us;        /* when it was last advanced */
};

struct wire_choice {
	size_t count, room;
	struct entry *entries;
};

struct wire_choice *
wire_choice_new(void)
{
	return mem_zero(1, sizeof(struct wire_choice));
}

void
wire_choice_free(struct wire_choice *choice)
{
	if (choice == NULL)
		return;
	free(choice->entries);
	free(choice);
}

/* --- peers --- */

static struct entry *
find(const struct wire_choice *choice, const char *peer)
{
	for (size_t i = 0; i < choice->count; i++)
		if (strcmp(choice->entries[i].peer, peer) == 0)
			return &choice->entries[i];
	return NULL;
}

/* NULL when full. */
static struct entry *
find_or_add(struct wire_choice *choice, const char *peer)
{
	struct entry *entry = find(choice, peer);
	if (entry != NULL || choice->count == PEERS_MAX)
		return entry;
	if (choice->count == choice->room) {
		choice->room = choice->room != 0 ? 2 * choice->room : 8;
		choice->entries = mem_grow(choice->entries, choice->room, sizeof(*choice->entries));
	}
	entry = &choice->entries[choice->count++];
	*entry = (struct entry){ .better = WIRE_REST };
	memcpy(entry->peer, peer, strnlen(peer, PEER_ID_SIZE - 1));
	return entry;
}

void
wire_choice_forget(struct wire_choice *choice, const char *peer)
{
	struct entry *entry = find(choice, peer);
	if (entry != NULL)
		*entry = choice->entries[--choice->count];
}

/* --- measuring --- */

static void
advance(struct entry *entry, uint64_t now_us)
{
	if (entry->measured != 0 && now_us > entry->at_us)
		entry->share_us += (double)(now_us - entry->at_us) / entry->measured;
	entry->at_us = now_us;
}

/* Bytes per microsecond. */
static double
rate(const struct line *line)
{
	return line->bytes / line->share_us;
}

/* Which one is better, now that there is another sample. */
static void
compare(struct entry *entry)
{
	const struct line *rest = &entry->lines[WIRE_REST], *grpc = &entry->lines[WIRE_GRPC];
	if (rest->samples == 0 || grpc->samples == 0)
		return;
	if (entry->better == WIRE_GRPC && rate(grpc) <= rate(rest))
		entry->better = WIRE_REST;
	else if (rate(grpc) > rate(rest) * (100 + WIRE_MARGIN_PERCENT) / 100)
		entry->better = WIRE_GRPC;
}

static void
add_run(struct entry *entry, struct line *line, uint64_t bytes, double share_us)
{
	line->gathered_bytes += (double)bytes;
	line->gathered_us += share_us > 1 ? share_us : 1;
	if (line->gathered_bytes < WIRE_SAMPLE_MIN)
		return;
	double fading = line->samples == 1 ? 0 : FADING;
	line->bytes = line->bytes * fading + line->gathered_bytes;
	line->share_us = line->share_us * fading + line->gathered_us;
	line->gathered_bytes = line->gathered_us = 0;
	if (line->samples < 2)
		line->samples++;
	compare(entry);
}

/* --- failing --- */

static bool
is_backing_off(const struct line *line, uint64_t now_us)
{
	return line->not_before_us > now_us;
}

static void
note_failure(struct line *line, const struct wire_run *run, uint64_t now_us)
{
	/* What was under way when a wire died fails with it: that is one failure. */
	if (line->failures != 0 && run->begun_us <= line->failed_us)
		return;
	uint64_t wait_ms = WIRE_BACKOFF_MIN_MS;
	for (unsigned i = 0; i < line->failures && wait_ms < WIRE_BACKOFF_MAX_MS; i++)
		wait_ms *= 2;
	if (wait_ms > WIRE_BACKOFF_MAX_MS)
		wait_ms = WIRE_BACKOFF_MAX_MS;
	line->failures++;
	line->failed_us = now_us;
	line->not_before_us = now_us + wait_ms * 1000;
}

bool
wire_choice_is_open(const struct wire_choice *choice, const char *peer, unsigned wires,
		    uint64_t now_us)
{
	const struct entry *entry = find(choice, peer);
	for (unsigned wire = 0; entry != NULL && wire < WIRE_COUNT; wire++)
		if ((wires & WIRE_BIT(wire)) && !is_backing_off(&entry->lines[wire], now_us))
			return true;
	return false;
}

/* --- choosing --- */

static enum wire
other(enum wire wire)
{
	return wire == WIRE_REST ? WIRE_GRPC : WIRE_REST;
}

/* One request at a time finds out about a wire. */
static bool
wants_trial(const struct entry *entry, enum wire wire, enum wire_use use)
{
	const struct line *line = &entry->lines[wire];
	if (line->under_way != 0)
		return false;
	if (use == WIRE_SMALL)
		return line->failures != 0 && entry->better == wire;
	return line->failures != 0 || line->samples == 0;
}

/* The wire for one of many, while trials are under way or none is needed. */
static enum wire
settled(const struct entry *entry, enum wire_use use)
{
	bool is_rest_known = entry->lines[WIRE_REST].samples != 0;
	bool is_grpc_known = entry->lines[WIRE_GRPC].samples != 0;
	/* A trial that takes long says something, too. */
	if (use == WIRE_BULK && is_grpc_known && !is_rest_known)
		return WIRE_GRPC;
	bool is_doubtful = entry->lines[entry->better].failures != 0;
	bool is_other_doubtful = entry->lines[other(entry->better)].failures != 0;
	return is_doubtful && !is_other_doubtful ? other(entry->better) : entry->better;
}

/* Neither wire is backing off. */
static enum wire
choose_open(struct entry *entry, enum wire_use use)
{
	if (wants_trial(entry, WIRE_REST, use))
		return WIRE_REST;
	if (wants_trial(entry, WIRE_GRPC, use))
		return WIRE_GRPC;
	enum wire wire = settled(entry, use);
	if (use == WIRE_SMALL || ++entry->settled_runs < WIRE_AGAIN_RUNS)
		return wire;
	entry->settled_runs = 0;
	return other(wire);
}

static enum wire
choose(struct entry *entry, enum wire_use use, uint64_t now_us)
{
	const struct line *rest = &entry->lines[WIRE_REST], *grpc = &entry->lines[WIRE_GRPC];
	bool is_rest_off = is_backing_off(rest, now_us), is_grpc_off = is_backing_off(grpc, now_us);
	if (!is_rest_off && !is_grpc_off)
		return choose_open(entry, use);
	return grpc->not_before_us < rest->not_before_us ? WIRE_GRPC : WIRE_REST;
}

void
wire_choice_begin(struct wire_choice *choice, const char *peer, unsigned wires, enum wire_use use,
		  uint64_t now_us, struct wire_run *ret)
{
	struct entry *entry = find_or_add(choice, peer);
	*ret = (struct wire_run){ .begun_us = now_us };
	if (wires == WIRE_BIT(WIRE_GRPC))
		ret->wire = WIRE_GRPC;
	else if (wires == WIRE_BIT(WIRE_REST) || entry == NULL)
		ret->wire = WIRE_REST;
	else
		ret->wire = choose(entry, use, now_us);
	if (entry == NULL)
		return;
	entry->lines[ret->wire].under_way++;
	advance(entry, now_us);
	ret->share_us = entry->share_us;
	ret->is_measured = use == WIRE_BULK;
	entry->measured += ret->is_measured;
}

void
wire_choice_end(struct wire_choice *choice, const char *peer, const struct wire_run *run,
		enum wire_outcome outcome, uint64_t bytes, uint64_t now_us)
{
	struct entry *entry = find(choice, peer);
	struct line *line = entry != NULL ? &entry->lines[run->wire] : NULL;
	/* One that was forgotten meanwhile, and may have come again. */
	if (line == NULL || line->under_way == 0 || (run->is_measured && entry->measured == 0))
		return;
	line->under_way--;
	advance(entry, now_us);
	entry->measured -= run->is_measured;
	if (outcome == WIRE_FAILED) {
		note_failure(line, run, now_us);
	} else if (outcome == WIRE_WORKED) {
		line->failures = 0;
		line->not_before_us = 0;
		if (run->is_measured && entry->share_us >= run->share_us)
			add_run(entry, line, bytes, entry->share_us - run->share_us);
	}
}
