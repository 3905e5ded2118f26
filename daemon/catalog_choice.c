/* SPDX-License-Identifier: MIT
 *
 * catalog_choice.c - which terms the index is asked for.
 *
 * A text has many terms (catalog_terms.c), and each of them is found in all names that fit.  To ask
 * for one costs a walk through its list, which for a common one is half of all names; not to ask for
 * it costs a look at each name that has all the others.  What is cheaper depends on how common the
 * terms are and on how they go together, and both are seen in a few names.
 *
 * So terms are taken one by one, each time the one that makes the whole cheapest, until another
 * would cost more than it spares.  To begin with they are judged by names from all over the catalog.
 * What none of these has is rare; whether it is rare enough shows in the walk.  When so many
 * candidates did not fit, these are known best of what the question lets pass, and terms that they
 * lack are added to it.
 *
 * A choice is about time alone: whatever is asked, no name that fits is missed.  It is made anew
 * for each search, and nothing is kept that could grow old.
 */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "catalog_search.h"

#define ASK_MAX       6  /* terms of a question */
#define SAMPLE_OF_ALL 32 /* names that tell what all are like */
/* What it takes, in nanoseconds, about: to look at a name, to pass one in the list of a term, to
 * open a list. */
#define LOOK_NS 2500.0
#define STEP_NS 20.0
#define OPEN_NS 60000.0

/* --- samples --- */

void
sample_init(struct sample *sample)
{
	*sample = (struct sample){ 0 };
	buf_init(&sample->keys, SAMPLE_MAX * NAME_KEY_SIZE);
}

void
sample_fini(struct sample *sample)
{
	buf_fini(&sample->keys);
}

void
sample_clear(struct sample *sample)
{
	buf_reset(&sample->keys);
	sample->count = 0;
}

void
sample_add(struct sample *sample, const char *name)
{
	char key[NAME_KEY_SIZE];

	assert(sample->count < SAMPLE_MAX);
	name_row_key(name, key);
	buf_add(&sample->keys, key, strlen(key) + 1);
	sample->count++;
}

void
sample_take(struct sample *sample, struct db *db, int64_t indexed)
{
	for (int64_t i = 0; i < SAMPLE_OF_ALL; i++) {
		int64_t id = 1 + (indexed - 1) / SAMPLE_OF_ALL * i;

		/* That one, or the next below. */
		if (db_start(db, SQL_WALK_NEWEST, db_int((uint64_t)id), db_int(0)) != 1)
			continue;
		sample_add(sample, db_col_text(db, SQL_WALK_NEWEST, 1));
		db_end(db, SQL_WALK_NEWEST);
	}
}

/* A term with `mark` for TERM_EITHER. */
static void
put_mark(const char *term, char mark, char *ret)
{
	char c;

	do
		*ret++ = (c = *term++) == TERM_EITHER ? mark : c;
	while (c != '\0');
}

/* Which of the sample have the term, a bit each. */
static uint64_t
names_with(const struct sample *sample, const char *term)
{
	char as_blank[TERM_SIZE], as_last[TERM_SIZE];
	const char *key = sample->keys.data;
	uint64_t mask = 0;

	put_mark(term, ' ', as_blank);
	put_mark(term, NAME_KEY_LAST, as_last);
	for (unsigned i = 0; i < sample->count; i++, key += strlen(key) + 1)
		if (strstr(key, as_blank) != NULL || strstr(key, as_last) != NULL)
			mask |= 1ull << i;
	return mask;
}

static unsigned
bits(uint64_t mask)
{
	return (unsigned)__builtin_popcountll(mask);
}

/* --- the choice --- */

/* A walk through `names`, by what is asked now: what it lets pass is like `left`. */
struct prospect {
	double names;
	double look_ns;            /* at all that pass */
	uint64_t left;             /* of a sample */
	uint64_t masks[TERMS_MAX]; /* who of it has each term */
};

static bool
is_taken(const struct question *question, unsigned term)
{
	return (question->taken & 1ull << term) != 0;
}

/* What the walk costs with a term more. */
static double
cost_with(const struct question *question, const struct prospect *prospect, unsigned term)
{
	double pass = (double)bits(prospect->left & prospect->masks[term]) / bits(prospect->left);

	return OPEN_NS + prospect->names * STEP_NS * question->shares[term] +
	       prospect->look_ns * pass;
}

/* Takes the term that makes it cheapest; false if it is cheaper without. */
static bool
take_one(struct question *question, struct prospect *prospect)
{
	double least = prospect->look_ns;
	unsigned best = TERMS_MAX;

	for (unsigned i = 0; i < question->terms.count; i++) {
		double cost = is_taken(question, i) ? least : cost_with(question, prospect, i);

		if (cost < least) {
			best = i;
			least = cost;
		}
	}
	if (best == TERMS_MAX)
		return false;
	uint64_t left = prospect->left & prospect->masks[best];
	prospect->look_ns *= (double)bits(left) / bits(prospect->left);
	prospect->left = left;
	question->taken |= 1ull << best;
	return true;
}

static void
take_what_pays(struct question *question, struct prospect *prospect)
{
	while (prospect->left != 0 && bits(question->taken) < ASK_MAX &&
	       take_one(question, prospect))
		;
}

static void
look_at_sample(const struct question *question, const struct sample *sample, struct prospect *ret)
{
	ret->left = sample->count == SAMPLE_MAX ? UINT64_MAX : (1ull << sample->count) - 1;
	for (unsigned i = 0; i < question->terms.count; i++)
		ret->masks[i] = names_with(sample, question->terms.list[i]);
}

/* --- in words --- */

/* Appends a term as a quoted string; a key has no quotes, so neither has a term. */
static char *
write_term(const char *term, char *at, const char *end)
{
	char as_blank[TERM_SIZE], as_last[TERM_SIZE];

	put_mark(term, ' ', as_blank);
	put_mark(term, NAME_KEY_LAST, as_last);
	if (strcmp(as_blank, as_last) == 0)
		return at + snprintf(at, (size_t)(end - at), "\"%s\"", as_blank);
	return at + snprintf(at, (size_t)(end - at), "(\"%s\" OR \"%s\")", as_blank, as_last);
}

_Static_assert(ASK_MAX *(2 * TERM_SIZE + sizeof("(\"\" OR \"\") AND ")) < QUESTION_SIZE,
	       "questions fit");
_Static_assert(TERMS_MAX <= 64 && SAMPLE_MAX <= 64, "each has its bit");

static void
write_text(struct question *question)
{
	char *at = question->text, *end = question->text + sizeof(question->text);

	*at = '\0';
	for (unsigned i = 0; i < question->terms.count; i++) {
		if (!is_taken(question, i))
			continue;
		if (at > question->text)
			at += snprintf(at, (size_t)(end - at), " AND ");
		at = write_term(question->terms.list[i], at, end);
	}
}

/* --- the question --- */

void
question_begin(struct question *question, const struct sample *sample, double names)
{
	/* Whatever it costs, the index is asked for something. */
	struct prospect prospect = { .names = names, .look_ns = names * LOOK_NS + 1e15 };
	unsigned all = sample->count;

	question->taken = 0;
	look_at_sample(question, sample, &prospect);
	for (unsigned i = 0; i < question->terms.count; i++)
		question->shares[i] = (bits(prospect.masks[i]) + 0.5) / (all + 1);
	if (prospect.left != 0 && take_one(question, &prospect)) {
		prospect.look_ns = names * LOOK_NS * bits(prospect.left) / all;
		take_what_pays(question, &prospect);
	}
	question->candidates = all > 0 ? names * bits(prospect.left) / all : 0;
	write_text(question);
}

bool
question_improve(struct question *question, const struct sample *refused, double walked,
		 double names)
{
	struct prospect prospect = { .names = names,
				     .look_ns = names * LOOK_NS * refused->count / walked };
	uint64_t taken = question->taken;

	look_at_sample(question, refused, &prospect);
	take_what_pays(question, &prospect);
	write_text(question);
	return question->taken != taken;
}
