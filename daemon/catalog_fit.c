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
 * Most texts fit few names or none.  Those are all found in one walk, and sorted; only if there are
 * more candidates than that is good for, each rank is walked.  Both ways tell the same in the same
 * order, so that pages may be made in either.
 */
#include <stdlib.h>
#include <string.h>

#include "catalog_search.h"
#include "mem.h"

#define PROBE_MAX 300 /* candidates that are looked at all at once */

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

/* What the index is asked for names that fit so, or better if it is INSIDE.  To be freed by terms_fini(). */
static void
make_terms(const struct wish *wish, enum name_fit fit, struct terms *ret)
{
	terms_init(ret);
	if (wish->glob != NULL)
		terms_glob(ret, wish->glob);
	else
		terms_fit(ret, wish->text, fit);
	if (wish->directory != NULL)
		terms_directory(ret, wish->directory);
}

/* Names from `from` down, but not to `to`, as far as the index cannot spare a look. */
static int
walk_span(struct search *search, struct wish *wish, const struct terms *terms, int64_t from,
	  int64_t to)
{
	enum sql sql = terms != NULL && terms->text.len > 0 ? SQL_WALK_INDEX : SQL_WALK_NEWEST;
	if (from <= to)
		return 1;
	int more = sql == SQL_WALK_INDEX
		       ? db_start(search->db, sql, db_int((uint64_t)from), db_int((uint64_t)to),
				  db_text(terms->text.data))
		       : db_start(search->db, sql, db_int((uint64_t)from), db_int((uint64_t)to));
	return search_run(search, wish, sql, more);
}

/* The names that fit as search->place says, from there on. */
static int
walk_fit(struct search *search, struct wish *wish, int64_t indexed)
{
	struct terms terms;
	make_terms(wish, search->place.fit, &terms);
	int64_t from = search->place.is_begun ? search->place.name_id : INT64_MAX;
	int code = walk_span(search, wish, NULL, from, indexed);
	if (code > 0)
		code = walk_span(search, wish, &terms, from < indexed ? from : indexed, 0);
	terms_fini(&terms);
	return code;
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

struct match {
	enum name_fit fit;
	int64_t name_id;
};

/* Whatever fits, in any way. */
struct matches {
	struct match list[PROBE_MAX];
	size_t count;
	size_t seen; /* candidates */
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

/* Adds what fits among the rows of a walk.  1 all were seen, 0 they are too many, or a code. */
static int
collect(struct search *search, struct wish *wish, enum sql sql, int more, struct matches *matches)
{
	for (; more > 0 && matches->seen < PROBE_MAX && !search_is_late(wish); matches->seen++) {
		const char *name = db_col_text(search->db, sql, 1);
		enum name_fit fit =
		    search_is_in_directory(wish, name) ? search_fit_of(wish, name) : NAME_FIT_NONE;
		if (fit != NAME_FIT_NONE)
			matches->list[matches->count++] =
			    (struct match){ .fit = fit,
					    .name_id = (int64_t)db_col_int(search->db, sql, 0) };
		more = db_next(search->db, sql);
	}
	if (more > 0)
		db_end(search->db, sql);
	return more < 0 ? more : more == 0;
}

static int
collect_all(struct search *search, struct wish *wish, int64_t indexed, struct matches *ret)
{
	struct terms terms;
	int code = 0;
	ret->count = ret->seen = 0;
	make_terms(wish, NAME_FIT_INSIDE, &terms);
	if (terms.text.len > 0)
		code = collect(search, wish, SQL_WALK_NEWEST,
			       db_start(search->db, SQL_WALK_NEWEST, db_int(INT64_MAX),
					db_int((uint64_t)indexed)),
			       ret);
	if (code > 0)
		code = collect(search, wish, SQL_WALK_INDEX,
			       db_start(search->db, SQL_WALK_INDEX, db_int((uint64_t)indexed),
					db_int(0), db_text(terms.text.data)),
			       ret);
	terms_fini(&terms);
	return code;
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

int
search_by_fit(struct search *search, struct wish *wish)
{
	int64_t indexed = names_indexed(search->db);
	struct matches *matches = mem_alloc(sizeof(*matches));
	int code = collect_all(search, wish, indexed, matches);
	if (code > 0)
		code = tell_matches(search, matches);
	else if (code == 0)
		code = walk_fits(search, wish, indexed);
	free(matches);
	return code;
}
