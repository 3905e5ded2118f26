/* SPDX-License-Identifier: MIT
 *
 * sources.c - whom the bytes of fetches come from.
 *
 * The daemon tells the holders of each fetch; a person who waits for several wants to know what
 * each peer gives, so rows of one peer are summed.  What fetches gave that ended stays in the sum:
 * a tree of ten thousand files, each a fetch of its own, ends with one row a peer.
 */
#include "sources.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "util.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define ID_SHOWN     12 /* letters of a peer's id where it has no name: enough to find it */

struct source {
	uint64_t fetch; /* 0: a sum over fetches */
	char *peer, *name, *state, *transport, *why;
	bool is_whole;
	uint64_t asks, rate_bps, bytes, pieces;
};

static void
fini(struct source *source)
{
	free(source->peer);
	free(source->name);
	free(source->state);
	free(source->transport);
	free(source->why);
}

static void
drop(struct sources *sources, size_t at)
{
	fini(&sources->all[at]);
	sources->all[at] = sources->all[--sources->count];
}

static struct source *
add(struct sources *sources)
{
	sources->all = util_grow(sources->all, sources->count + 1, sizeof(*sources->all));
	struct source *fresh = &sources->all[sources->count++];
	*fresh = (struct source){ 0 };
	return fresh;
}

static char *
copy_of(const struct record *holder, const char *key)
{
	const char *text = record_text(holder, key);

	return text != NULL ? util_string(text) : NULL;
}

void
sources_take(struct sources *sources, uint64_t fetch, const struct reply *reply)
{
	for (size_t i = sources->count; i-- > 0;)
		if (sources->all[i].fetch == fetch)
			drop(sources, i);
	for (size_t i = 0; i < reply->count; i++) {
		const struct record *holder = &reply->records[i];
		const char *whole = record_text(holder, "whole");

		if (strcmp(holder->word, "holder") != 0 || record_text(holder, "peer") == NULL ||
		    record_number(holder, "fetch", fetch) != fetch)
			continue;
		*add(sources) = (struct source){
			.fetch = fetch,
			.peer = copy_of(holder, "peer"),
			.name = copy_of(holder, "name"),
			.state = copy_of(holder, "state"),
			.transport = copy_of(holder, "transport"),
			.why = copy_of(holder, "text"),
			.is_whole = whole != NULL && strcmp(whole, "yes") == 0,
			.asks = record_number(holder, "asks", 0),
			.rate_bps = record_number(holder, "rate_bps", 0),
			.bytes = record_number(holder, "bytes", 0),
			.pieces = record_number(holder, "verified_pieces", 0),
		};
	}
}

/* --- sums --- */

static void
take_text(char **to, const char *text)
{
	if (text == NULL)
		return;
	free(*to);
	*to = util_string(text);
}

/* The state that is shown is one that has a reason, or else one of a fetch that asks. */
static void
sum_up(struct source *sum, const struct source *one)
{
	if (sum->state == NULL || one->why != NULL || (sum->why == NULL && one->asks > 0))
		take_text(&sum->state, one->state);
	if (sum->name == NULL)
		take_text(&sum->name, one->name);
	if (sum->transport == NULL || one->asks > 0)
		take_text(&sum->transport, one->transport);
	take_text(&sum->why, one->why);
	sum->is_whole |= one->is_whole;
	sum->asks += one->asks;
	sum->rate_bps += one->rate_bps;
	sum->bytes += one->bytes;
	sum->pieces += one->pieces;
}

static struct source *
sum_of(struct sources *sources, const char *peer)
{
	for (size_t i = 0; i < sources->count; i++)
		if (sources->all[i].fetch == 0 && strcmp(sources->all[i].peer, peer) == 0)
			return &sources->all[i];
	struct source *fresh = add(sources);
	fresh->peer = util_string(peer);
	return fresh;
}

void
sources_end_fetch(struct sources *sources, uint64_t fetch)
{
	for (size_t i = sources->count; i-- > 0;) {
		if (sources->all[i].fetch != fetch)
			continue;
		struct source one = sources->all[i];

		sources->all[i] = sources->all[--sources->count];
		one.asks = one.rate_bps = 0;
		sum_up(sum_of(sources, one.peer), &one);
		fini(&one);
	}
}

void
sources_fini(struct sources *sources)
{
	while (sources->count > 0)
		drop(sources, sources->count - 1);
	free(sources->all);
	*sources = (struct sources){ 0 };
}

/* --- showing --- */

static void
add_cells(struct table *table, const struct source *source)
{
	char text[RENDER_CELL_SIZE];

	snprintf(text, sizeof(text), "%.*s", ID_SHOWN, source->peer);
	table_text(table, source->name != NULL ? source->name : text);
	table_text(table, source->state);
	render_size(source->rate_bps, text);
	strcat(text, "/s");
	if (source->asks == 0 && table->is_terminal)
		table_text(table, NULL);
	else
		table_either(table, text, source->rate_bps);
	table_size(table, source->bytes);
	table_number(table, source->pieces);
	table_text(table, source->is_whole ? "all" : "part");
	table_text(table, source->transport);
	table_sentence(table, source->why);
	if (!table->is_terminal)
		table_text(table, source->peer);
}

static int
by_peer(const void *a, const void *b)
{
	return strcmp(((const struct source *)a)->peer, ((const struct source *)b)->peer);
}

void
sources_print(const struct sources *sources, FILE *out, bool is_terminal, size_t max_rows)
{
	static const char *const heads[] = { "SOURCE", "STATE", ">RATE", ">GOT", ">PIECES",
					     "HAS",    "BY",    "WHY",   "PEER" };
	struct sources sums = { 0 };
	struct table table;

	for (size_t i = 0; i < sources->count; i++)
		sum_up(sum_of(&sums, sources->all[i].peer), &sources->all[i]);
	/* Rows do not jump while one looks at them. */
	if (sums.count > 0)
		qsort(sums.all, sums.count, sizeof(*sums.all), by_peer);
	size_t shown = sums.count > max_rows && max_rows > 0 ? max_rows - 1 : sums.count;
	table_init(&table, is_terminal, heads, COUNT(heads) - is_terminal);
	table.out = out;
	for (size_t i = 0; i < shown; i++)
		add_cells(&table, &sums.all[i]);
	table_end(&table);
	if (shown < sums.count)
		fprintf(out, "and %zu more\n", sums.count - shown);
	sources_fini(&sums);
}

void
sources_print_each(const struct sources *sources, FILE *out, bool is_terminal)
{
	static const char *const heads[] = { ">FETCH",  "SOURCE", "STATE", ">RATE", ">GOT",
					     ">PIECES", "HAS",    "BY",    "WHY",   "PEER" };
	struct table table;

	table_init(&table, is_terminal, heads, COUNT(heads) - is_terminal);
	table.out = out;
	for (size_t i = 0; i < sources->count; i++) {
		table_number(&table, sources->all[i].fetch);
		add_cells(&table, &sources->all[i]);
	}
	table_end(&table);
}
