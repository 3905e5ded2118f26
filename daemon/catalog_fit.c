/* SPDX-License-Identifier: MIT
 *
 * catalog_fit.c - names that a text or a pattern fits, best first.
 *
 * How well a text fits is a rank (enum name_fit); of equals comes first what became known here
 * last.  In this order a walk can go on from any point: each rank is a walk of its own, from the
 * newest name to the oldest, through what the index offers as candidates for this rank. A pattern
 * is one such walk without ranks.
 *
 * The index helps with three characters or more, and not yet with the names of the tail.  Where it
 * cannot help the walk goes over all names.
 *
 * What the index is asked is made better on the way, if much of what it names does not fit
 * (catalog_choice.c): the walk goes on where it was with another question.
 *
 * Most texts fit few names or none.  Those are all found in one walk, and sorted; only if there are
 * more candidates than that is good for, each rank is walked.  Both ways tell the same in the same
 * order, so that pages may be made in either.
 */
#include <stdlib.h>
#include <string.h>

#include "catalog_search.h"
#include "mem.h"

#define PROBE_MAX      600  /* candidates that are looked at all at once */
#define PROBE_HOPELESS 6000 /* ... which is not tried if about so many are expected */
#define PROBE_LEAST    16   /* so many that fit tell how many more there will be */
#define DOUBTS_MAX     3    /* how often a walk may ask the index better */

/* --- matches --- */

struct match {
	enum name_fit fit;
	int64_t name_id;
};

/* Whatever fits, in any way. */
struct matches {
	struct match list[PROBE_MAX];
	size_t count;
	size_t seen;     /* candidates */
	int64_t indexed; /* where walks through the index begin */
};

/* In the order in which they are told. */
static int
compare_matches(const void *a, const void *b)
{
	const struct match *x = a, *y = b;
	if (x->fit != y->fit)
		return x->fit < y->fit ? -1 : 1;
	return (x->name_id < y->name_id) - (x->name_id > y->name_id);
}

/* What fits is too much to be sorted, or will be, if all is as what was seen, down to this number. */
static bool
is_too_much(const struct matches *matches, int64_t at)
{
	int64_t walked = matches->indexed - at;
	if (matches->seen == PROBE_MAX)
		return true;
	return matches->count >= PROBE_LEAST && walked > 0 &&
	       (double)matches->count * (double)matches->indexed / (double)walked > PROBE_MAX;
}

/* Adds what fits among the rows of a walk.  1 all were seen, 0 they are too many, SEARCH_DOUBT, or a code. */
static int
collect(struct search *search, struct wish *wish, enum sql sql, int more, struct matches *matches)
{
	int code = 1;
	while (more > 0 && code == 1) {
		const char *name = db_col_text(search->db, sql, 1);
		enum name_fit fit =
		    search_is_in_directory(wish, name) ? search_fit_of(wish, name) : NAME_FIT_NONE;
		search->name_id = (int64_t)db_col_int(search->db, sql, 0);
		matches->seen++;
		if (fit != NAME_FIT_NONE)
			matches->list[matches->count++] =
			    (struct match){ .fit = fit, .name_id = search->name_id };
		else if (!search_refuse(wish, name))
			code = SEARCH_DOUBT;
		if (is_too_much(matches, search->name_id))
			code = 0;
		if (code == 1)
			more = db_next(search->db, sql);
	}
	if (more > 0)
		db_end(search->db, sql);
	return more < 0 ? more : code;
}

/* --- one rank after the other --- */

/* All that fits better is done. */
static void
enter_fit(struct place *place, enum name_fit fit)
{
	place->is_begun = true;
	place->fit = fit;
	place->name_id = INT64_MAX;
	place->content = (struct content_id){ 0 };
}

/* The index knows names up to `indexed`, and those behind are walked. */
static int
start_walk(struct search *search, enum sql sql, const struct question *question, int64_t from,
	   int64_t to)
{
	if (sql == SQL_WALK_NEWEST)
		return db_start(search->db, sql, db_int((uint64_t)from), db_int((uint64_t)to));
	return db_start(search->db, sql, db_int((uint64_t)from), db_int((uint64_t)to),
			db_text(question->text));
}

/* What the index is to be asked for names that fit so, or better if it is INSIDE. */
static void
make_question(struct search *search, struct wish *wish, enum name_fit fit, int64_t indexed,
	      struct question *ret)
{
	ret->terms.count = 0;
	if (wish->glob != NULL)
		terms_glob(&ret->terms, wish->glob);
	else
		terms_fit(&ret->terms, wish->text, fit);
	if (wish->directory != NULL)
		terms_directory(&ret->terms, wish->directory);
	if (ret->terms.count > 0 && wish->all.count == 0)
		sample_take(&wish->all, search->db, indexed);
	question_begin(ret, &wish->all, (double)indexed);
}

/* Asks the index for names from `from` down, and better if too much does not fit.  An answer of a walk; of a probe
 * 0 too if so much will not fit that it would not come to its end. */
static int
walk_index(struct search *search, struct wish *wish, struct question *question, int64_t from,
	   struct matches *matches)
{
	enum sql sql = question->text[0] != '\0' ? SQL_WALK_INDEX : SQL_WALK_NEWEST;
	wish->doubts = sql == SQL_WALK_INDEX ? DOUBTS_MAX : 0;
	for (;;) {
		sample_clear(&wish->refused);
		int more = start_walk(search, sql, question, from, 0);
		int code = matches != NULL ? collect(search, wish, sql, more, matches)
					   : search_run(search, wish, sql, more);
		if (code != SEARCH_DOUBT)
			return code;
		double walked = (double)(from - search->name_id + 1),
		       left = (double)search->name_id;
		bool is_better = question_improve(question, &wish->refused, walked, left);
		if (matches != NULL && !is_better && SAMPLE_MAX * left / walked > PROBE_MAX)
			return 0;
		wish->doubts = is_better ? wish->doubts - 1 : 0;
		from = search->name_id - 1;
	}
}

/* The names that fit as search->place says, from there on. */
static int
walk_fit(struct search *search, struct wish *wish, int64_t indexed)
{
	struct question question;
	int64_t from = search->place.is_begun ? search->place.name_id : INT64_MAX;
	int code = 1;
	wish->doubts = 0;
	if (from > indexed)
		code = search_run(search, wish, SQL_WALK_NEWEST,
				  start_walk(search, SQL_WALK_NEWEST, NULL, from, indexed));
	if (code <= 0)
		return code;
	make_question(search, wish, search->place.fit, indexed, &question);
	return walk_index(search, wish, &question, from < indexed ? from : indexed, NULL);
}

static bool
is_possible(const struct wish *wish, enum name_fit fit)
{
	if (wish->glob != NULL)
		return fit == NAME_FIT_INSIDE;
	if (wish->is_short)
		return fit == NAME_FIT_WHOLE || fit == NAME_FIT_INSIDE;
	return fit != NAME_FIT_BEGIN || strchr(wish->text, '/') == NULL;
}

static int
walk_fits(struct search *search, struct wish *wish, int64_t indexed)
{
	int code = 1;
	for (enum name_fit fit = search->place.fit; fit < NAME_FIT_NONE && code > 0; fit++) {
		if (!is_possible(wish, fit))
			continue;
		if (fit != search->place.fit)
			enter_fit(&search->place, fit);
		code = walk_fit(search, wish, indexed);
	}
	return code;
}

/* --- few that fit, all at once --- */

/* 1 all were seen, 0 they are too many, or a code. */
static int
collect_all(struct search *search, struct wish *wish, int64_t indexed, struct matches *ret)
{
	struct question question;
	ret->count = ret->seen = 0;
	ret->indexed = indexed;
	make_question(search, wish, NAME_FIT_INSIDE, indexed, &question);
	if (question.text[0] == '\0' || question.candidates > PROBE_HOPELESS)
		return 0;
	wish->doubts = 0;
	int code = collect(search, wish, SQL_WALK_NEWEST,
			   start_walk(search, SQL_WALK_NEWEST, NULL, INT64_MAX, indexed), ret);
	return code > 0 ? walk_index(search, wish, &question, indexed, ret) : code;
}

/* 1 go on, 0 the page ends, or a code. */
static int
tell_match(struct search *search, const struct match *match)
{
	int found = db_start(search->db, SQL_NAME_GET, db_int((uint64_t)match->name_id));
	if (found != 1)
		return found < 0 ? found : 1;
	search->name_id = match->name_id;
	search->name = db_col_text(search->db, SQL_NAME_GET, 1);
	int code = search_read_name(search);
	bool goes_on = code >= 0 && search_tell_name(search);
	if (goes_on)
		search_pass_name(search);
	db_end(search->db, SQL_NAME_GET);
	return code < 0 ? code : goes_on;
}

/* Tells them from the place on. */
static int
tell_matches(struct search *search, struct matches *matches)
{
	struct match from = { search->place.fit,
			      search->place.is_begun ? search->place.name_id : INT64_MAX };
	int code = 1;
	qsort(matches->list, matches->count, sizeof(matches->list[0]), compare_matches);
	for (size_t i = 0; i < matches->count && code > 0; i++) {
		const struct match *match = &matches->list[i];
		if (compare_matches(match, &from) < 0)
			continue;
		if (match->fit != search->place.fit)
			enter_fit(&search->place, match->fit);
		code = tell_match(search, match);
	}
	return code;
}

/* Several ranks are still to come: to sort what fits spares walks. */
static bool
is_worth_sorting(const struct search *search, const struct wish *wish)
{
	return wish->glob == NULL && !wish->is_short && search->place.fit != NAME_FIT_INSIDE;
}

/* The same answer; *ret_told is false if there are too many. */
static int
tell_sorted(struct search *search, struct wish *wish, int64_t indexed, bool *ret_told)
{
	struct matches *matches = mem_alloc(sizeof(*matches));
	int code = collect_all(search, wish, indexed, matches);
	*ret_told = code > 0;
	if (code > 0)
		code = tell_matches(search, matches);
	free(matches);
	return code;
}

int
search_by_fit(struct search *search, struct wish *wish)
{
	int64_t indexed = names_indexed(search->db);
	bool is_told = false;
	int code = P2P_OK;
	if (is_worth_sorting(search, wish))
		code = tell_sorted(search, wish, indexed, &is_told);
	return code < 0 || is_told ? code : walk_fits(search, wish, indexed);
}
