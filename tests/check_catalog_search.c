/* SPDX-License-Identifier: MIT
 *
 * check_catalog_search.c - searches: what fits, in which order, page by page, whatever the index
 * holds by then; filters; and databases of before there was an index.
 */
#include "catalog.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "buf.h"
#include "catalog_db.h"
#include "catalog_kit.h"
#include "catalog_search.h"
#include "clock.h"
#include "mem.h"

#define WAIT_MS 30000

/* --- short ways --- */

static void
put_all(struct kit *kit, const char *const *names, size_t count)
{
	struct catalog_batch *batch = catalog_batch_new();
	struct catalog_local file = kit_file("x", 5);
	for (size_t i = 0; i < count; i++)
		catalog_batch_put(batch, names[i], &file, NULL, 0);
	ck_assert_int_eq(kit_commit(kit, batch), P2P_OK);
}

/* Files that no search of these tests wants, enough to be indexed. */
static void
put_filler(struct kit *kit, unsigned first, unsigned count)
{
	struct catalog_batch *batch = catalog_batch_new();
	struct catalog_local file = kit_file("x", 5);
	for (unsigned i = first; i < first + count; i++) {
		char name[40];
		snprintf(name, sizeof(name), "00/%06u.bin", i);
		catalog_batch_put(batch, name, &file, NULL, 0);
	}
	ck_assert_int_eq(kit_commit(kit, batch), P2P_OK);
}

/* How many names the index took, and whether this one is still in the catalog. */
static int64_t
indexed(struct kit *kit, const char *name, bool *ret_has)
{
	struct db *db = reader_take(kit->catalog);
	int64_t id, last = names_indexed(db);
	*ret_has = name_row_find(db, name, &id) == 1;
	reader_give(kit->catalog, db);
	return last;
}

static void
await_index(struct kit *kit, int64_t count)
{
	uint64_t end = clock_ms() + WAIT_MS;
	bool has;
	while (indexed(kit, "x", &has) < count && clock_ms() < end)
		usleep(1000);
	ck_assert_int_ge(indexed(kit, "x", &has), count);
}

static bool
add_line(void *arg, const struct catalog_found *found)
{
	buf_addf(arg, "%s\n", found->name);
	return true;
}

/* All pages of a query, a name a line. */
static char *
search(struct kit *kit, struct catalog_query query)
{
	char cursor[CATALOG_CURSOR_SIZE] = "", next[CATALOG_CURSOR_SIZE];
	struct error err = { 0 };
	struct buf buf;
	buf_init(&buf, 1 << 24);
	buf_adds(&buf, "");
	if (query.limit == 0)
		query.limit = 3;
	do {
		query.cursor = cursor;
		int code = catalog_search(kit->catalog, &query, add_line, &buf, next, &err);
		ck_assert_msg(code == P2P_OK, "%s", err.text);
		memcpy(cursor, next, sizeof(cursor));
	} while (cursor[0] != '\0');
	return buf_give(&buf);
}

static void
check_found(struct kit *kit, struct catalog_query query, const char *want)
{
	char *found = search(kit, query);
	ck_assert_msg(strcmp(found, want) == 0, "\"%s\" found:\n%swanted:\n%s", query.text, found,
		      want);
	free(found);
}

#define FINDS(kit, word, want) check_found((kit), (struct catalog_query){ .text = (word) }, (want))

/* --- what fits --- */

START_TEST(test_case_and_composition_of_accents_make_no_difference)
{
	struct kit *kit = kit_new();
	static const char *const names[] = { "Plan/Straße.txt", "été.pdf", "Σίσυφος", "ИЮЛЬ",
					     "ﬁnal" };
	put_all(kit, names, 5);
	for (int indexed = 0; indexed < 2; indexed++) {
		FINDS(kit, "STRASSE", "Plan/Straße.txt\n");
		FINDS(kit, "straße", "Plan/Straße.txt\n");
		FINDS(kit, "E\xcc\x81TE\xcc\x81", "été.pdf\n");
		FINDS(kit, "ete", "");
		FINDS(kit, "ΣΊΣΥΦΟΣ", "Σίσυφος\n");
		FINDS(kit, "июль", "ИЮЛЬ\n");
		FINDS(kit, "FINAL", "ﬁnal\n");
		check_found(kit,
			    (struct catalog_query){ .match = CATALOG_EXACT,
						    .text = "e\xcc\x81te\xcc\x81.pdf" },
			    "été.pdf\n");
		FINDS(kit, "\xff\xfe\xfd", "");
		put_filler(kit, 0, 300);
		await_index(kit, 5);
	}
	kit_free(kit);
}
END_TEST

START_TEST(test_the_best_fit_comes_first_and_then_what_is_new)
{
	struct kit *kit = kit_new();
	static const char *const names[] = {
		"a/myreports/x", "Report",       "docs/old report.txt",
		"b/report/y",    "docs/report",  "report.pdf",
		"a/reports.csv", "not-Report-2", "prereport",
	};
	static const char want[] = "docs/report\nReport\n"
				   "a/reports.csv\nreport.pdf\n"
				   "not-Report-2\nb/report/y\ndocs/old report.txt\n"
				   "prereport\na/myreports/x\n";
	put_all(kit, names, 9);
	for (int indexed = 0; indexed < 2; indexed++) {
		for (uint32_t limit = 1; limit < 12; limit += 5)
			check_found(kit, (struct catalog_query){ .text = "REPORT", .limit = limit },
				    want);
		FINDS(kit, "docs/report", "docs/report\n");
		FINDS(kit, "s/r", "docs/report\n");
		put_filler(kit, 0, 300);
		await_index(kit, 9);
	}
	kit_free(kit);
}
END_TEST

START_TEST(test_short_texts_are_found)
{
	struct kit *kit = kit_new();
	static const char *const names[] = { "q", "zq/x", "a/qz", "東京.txt", "in/東" };
	put_all(kit, names, 5);
	for (int indexed = 0; indexed < 2; indexed++) {
		FINDS(kit, "q", "q\na/qz\nzq/x\n");
		FINDS(kit, "zq", "zq/x\n");
		FINDS(kit, "qz", "a/qz\n");
		FINDS(kit, "東京", "東京.txt\n");
		FINDS(kit, "京", "東京.txt\n");
		put_filler(kit, 0, 300);
		await_index(kit, 5);
	}
	kit_free(kit);
}
END_TEST

/* --- against a search that cannot be wrong --- */

#define RANDOM_NAMES 900
#define PLAIN_MAX    3000

static unsigned
draw(unsigned *state, unsigned below)
{
	*state = *state * 1103515245u + 12345u;
	return (*state >> 16) % below;
}

/* Few characters, so that much fits. */
static void
random_text(unsigned *state, unsigned least, unsigned most, char *ret)
{
	static const char *const chars[] = {
		"a", "B", "b", "ä", "Ä", "/", ".", "-", "写", "ß", "s"
	};
	unsigned count = least + draw(state, most - least + 1);
	ret[0] = '\0';
	for (unsigned i = 0; i < count; i++)
		strcat(ret, chars[draw(state, 11)]);
}

struct plain {
	char *names[PLAIN_MAX];
	size_t count;
};

static void
plain_fill(struct plain *plain, unsigned *state)
{
	char name[200];
	while (plain->count < RANDOM_NAMES) {
		random_text(state, 3, 14, name);
		bool is_new = name_check(name, strlen(name), NULL) == P2P_OK;
		for (size_t i = 0; i < plain->count && is_new; i++)
			is_new = strcmp(plain->names[i], name) != 0;
		if (is_new)
			plain->names[plain->count++] = mem_string(name);
	}
}

static enum name_fit
plain_fit(const char *name, const char *text)
{
	char folded[NAME_FOLDED_SIZE], wanted[NAME_FOLDED_SIZE];
	ck_assert(name_fold(name, strlen(name), folded, sizeof(folded)));
	ck_assert(name_fold(text, strlen(text), wanted, sizeof(wanted)));
	size_t chars = 0;
	for (const char *p = wanted; *p != '\0'; p++)
		chars += ((unsigned char)*p & 0xc0) != 0x80;
	enum name_fit fit = name_fit(folded, wanted);
	return chars > 1 || fit == NAME_FIT_WHOLE || fit == NAME_FIT_NONE ? fit : NAME_FIT_INSIDE;
}

static char *
plain_search(const struct plain *plain, const struct catalog_query *query)
{
	struct buf buf;
	const char *directory = query->filter->directory;
	size_t len = directory != NULL ? strlen(directory) : 0;
	buf_init(&buf, 1 << 24);
	buf_adds(&buf, "");
	for (int fit = 0; fit < NAME_FIT_NONE; fit++)
		for (size_t i = plain->count; i-- > 0;) {
			const char *name = plain->names[i];
			enum name_fit is =
			    query->match == CATALOG_GLOB
				? (name_match(query->text, name) ? NAME_FIT_INSIDE : NAME_FIT_NONE)
				: plain_fit(name, query->text);
			if ((int)is == fit &&
			    (len == 0 || (strncmp(name, directory, len) == 0 && name[len] == '/')))
				buf_addf(&buf, "%s\n", name);
		}
	return buf_give(&buf);
}

/* A text or a glob, in a directory or not; what is looked for is known to fit something now and then. */
static void
random_query(const struct plain *plain, unsigned *state, char *text, struct catalog_query *ret,
	     struct catalog_filter *filter)
{
	*ret =
	    (struct catalog_query){ .text = text, .filter = filter, .limit = 1 + draw(state, 20) };
	random_text(state, 1, 6, text);
	if (draw(state, 3) == 0) {
		const char *name = plain->names[draw(state, RANDOM_NAMES)];
		strcpy(text, name);
	}
	if (draw(state, 3) == 0) {
		char part[100];
		random_text(state, 1, 4, part);
		sprintf(text, draw(state, 2) ? "*%s*" : "%s*", part);
		random_text(state, 0, 3, part);
		strcat(text, part);
		ret->match = CATALOG_GLOB;
	}
	static const char *const directories[] = { "a", "b", "s", "B", "写", "ä" };
	filter->directory = draw(state, 4) == 0 ? directories[draw(state, 6)] : NULL;
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define QUERIES 300
#else
#define QUERIES 1500
#endif

START_TEST(test_the_index_finds_what_a_plain_look_at_all_names_finds)
{
	static struct plain plain;
	unsigned state = 20231;
	struct kit *kit = kit_new();
	plain_fill(&plain, &state);
	put_all(kit, (const char *const *)plain.names, plain.count);
	await_index(kit, 500);
	for (int i = 0; i < QUERIES; i++) {
		char text[300];
		struct catalog_query query;
		struct catalog_filter filter = CATALOG_FILTER_NONE;
		random_query(&plain, &state, text, &query, &filter);
		char *want = plain_search(&plain, &query);
		check_found(kit, query, want);
		free(want);
	}
	for (size_t i = 0; i < plain.count; i++)
		free(plain.names[i]);
	kit_free(kit);
}
END_TEST

/* Names as people give them, and pieces of these. */

#define TREE_NAMES PLAIN_MAX

static void
tree_name(unsigned *state, char *ret)
{
	static const char *const words[] = { "report", "reports", "resume", "Straße", "summer",
					     "sport",  "portal",  "写真",   "final",  "nature" };
	static const char *const ends[] = { "jpg", "tar.gz", "pdf", "c" };
	unsigned parts = draw(state, 4);
	*ret = '\0';
	for (unsigned i = 0; i < parts; i++)
		ret += sprintf(ret, "%s %u/", words[draw(state, 10)], 2010 + draw(state, 9));
	sprintf(ret, "%s-%s_%03u.%s", words[draw(state, 10)], words[draw(state, 10)],
		draw(state, 1000), ends[draw(state, 4)]);
}

/* So many characters of a name, with something else at the end now and then. */
static void
piece_of(const char *name, unsigned *state, char *ret)
{
	size_t len = strlen(name), from = draw(state, (unsigned)len);
	while (((unsigned char)name[from] & 0xc0) == 0x80)
		from--;
	size_t to = from + 3 + draw(state, 40);
	if (to > len)
		to = len;
	while (((unsigned char)name[to] & 0xc0) == 0x80)
		to++;
	sprintf(ret, "%.*s%s", (int)(to - from), name + from,
		draw(state, 4) == 0 ? "-report.pdf" : "");
}

START_TEST(test_long_pieces_of_paths_are_found_as_a_plain_look_finds_them)
{
	static struct plain plain;
	unsigned state = 77;
	struct kit *kit = kit_new();
	char name[200], text[300];
	while (plain.count < TREE_NAMES) {
		tree_name(&state, name);
		bool is_new = true;
		for (size_t i = 0; i < plain.count && is_new; i++)
			is_new = strcmp(plain.names[i], name) != 0;
		if (is_new)
			plain.names[plain.count++] = mem_string(name);
	}
	put_all(kit, (const char *const *)plain.names, plain.count);
	await_index(kit, TREE_NAMES - 256);
	for (int i = 0; i < QUERIES / 5; i++) {
		struct catalog_filter filter = CATALOG_FILTER_NONE;
		struct catalog_query query = { .text = text, .filter = &filter };
		query.limit = 1 + draw(&state, 50);
		piece_of(plain.names[draw(&state, TREE_NAMES)], &state, text);
		filter.directory = draw(&state, 4) == 0 ? "summer 2012" : NULL;
		char *want = plain_search(&plain, &query);
		check_found(kit, query, want);
		free(want);
	}
	for (size_t i = 0; i < plain.count; i++)
		free(plain.names[i]);
	kit_free(kit);
}
END_TEST

/* --- what the index is asked --- */

START_TEST(test_the_index_is_asked_for_what_few_names_have)
{
	static struct question question;
	struct sample all;
	sample_init(&all);
	for (int i = 0; i < 32; i++)
		sample_add(&all, "home/anna/Pictures/2019/IMG_1234.jpg");
	terms_fit(&question.terms, "home/anna/zebra.jpg", NAME_FIT_INSIDE);
	question_begin(&question, &all, 1e6);
	ck_assert_msg(strstr(question.text, "z") != NULL, "%s", question.text);
	ck_assert_ptr_null(strstr(question.text, "hom"));
	ck_assert_ptr_null(strstr(question.text, "jpg"));
	ck_assert_double_eq(question.candidates, 0);
	sample_fini(&all);
}
END_TEST

START_TEST(test_a_question_learns_from_the_names_that_did_not_fit)
{
	static struct question question;
	struct sample all, refused;
	sample_init(&all);
	sample_init(&refused);
	for (int i = 0; i < 32; i++)
		sample_add(&all, "x");
	for (int i = 0; i < 64; i++)
		sample_add(&refused, "contract 2019/kernel");
	terms_fit(&question.terms, "kernel-2", NAME_FIT_INSIDE);
	question_begin(&question, &all, 1e6);
	ck_assert_str_eq(question.text, "\"ker\"");
	ck_assert(question_improve(&question, &refused, 1000, 1e6));
	ck_assert_str_eq(question.text, "\"ker\" AND \"el \"");
	/* They have all that could be asked for; or so few are left that it is not worth it. */
	sample_clear(&refused);
	sample_add(&refused, "kernel-2");
	ck_assert(!question_improve(&question, &refused, 1000, 1e6));
	sample_clear(&refused);
	sample_add(&refused, "ker el");
	ck_assert(!question_improve(&question, &refused, 1000, 1000));
	sample_fini(&all);
	sample_fini(&refused);
}
END_TEST

START_TEST(test_a_beginning_is_told_from_the_same_text_in_a_directory)
{
	static struct question question;
	struct sample all, refused;
	sample_init(&all);
	sample_init(&refused);
	for (int i = 0; i < 32; i++)
		sample_add(&all, "comb");
	for (int i = 0; i < 64; i++)
		sample_add(&refused, "home/höhle/home/ho me/holiday");
	terms_fit(&question.terms, "home", NAME_FIT_BEGIN);
	question_begin(&question, &all, 1e6);
	ck_assert_str_eq(question.text, "\"\x02ho\"");
	ck_assert(question_improve(&question, &refused, 1000, 1e6));
	ck_assert_str_eq(question.text, "\"\x03om\" AND \"\x02ho\"");
	/* What fits has it, and of what is shorter nothing of the kind is asked. */
	sample_clear(&all);
	sample_add(&all, "a/Home");
	sample_add(&all, "homer");
	memset(&question, 0, sizeof(question));
	terms_fit(&question.terms, "hom", NAME_FIT_BEGIN);
	question_begin(&question, &all, 1e6);
	ck_assert_double_eq(question.candidates, 1e6);
	memset(&question, 0, sizeof(question));
	terms_fit(&question.terms, "ho", NAME_FIT_BEGIN);
	ck_assert_uint_eq(question.terms.count, 1);
	sample_fini(&all);
	sample_fini(&refused);
}
END_TEST

/* --- pages --- */

START_TEST(test_a_page_ends_after_so_many_looks_and_goes_on)
{
	struct kit *kit = kit_new();
	char cursor[CATALOG_CURSOR_SIZE];
	struct buf buf;
	kit_put(kit, "zq", "x", 1);
	put_filler(kit, 0, 5000);
	struct catalog_query query = { .text = "q", .limit = 10 };
	buf_init(&buf, 1000);
	buf_adds(&buf, "");
	ck_assert_int_eq(catalog_search(kit->catalog, &query, add_line, &buf, cursor, NULL),
			 P2P_OK);
	ck_assert_str_eq(buf.data, "");
	ck_assert_str_ne(cursor, "");
	buf_fini(&buf);
	FINDS(kit, "q", "zq\n");
	kit_free(kit);
}
END_TEST

START_TEST(test_pages_tell_all_that_stays_once_while_names_come_and_go)
{
	struct kit *kit = kit_new();
	char cursor[CATALOG_CURSOR_SIZE] = "", next[CATALOG_CURSOR_SIZE], name[40], word[40];
	struct buf buf;
	for (int i = 0; i < 400; i++) {
		snprintf(name, sizeof(name), "%s%03d", i % 3 ? "tree" : "d/of tree", i);
		kit_put(kit, name, "x", 1);
	}
	buf_init(&buf, 1 << 20);
	buf_adds(&buf, "");
	struct catalog_query query = { .text = "tree", .limit = 20, .cursor = cursor };
	for (int page = 0;; page++) {
		ck_assert_int_eq(catalog_search(kit->catalog, &query, add_line, &buf, next, NULL),
				 P2P_OK);
		memcpy(cursor, next, sizeof(cursor));
		if (cursor[0] == '\0')
			break;
		snprintf(name, sizeof(name), "tree-new%d", page);
		kit_put(kit, name, "x", 1);
		snprintf(name, sizeof(name), "tree%03d", 1 + 3 * page);
		kit_remove(kit, name);
	}
	for (int i = 0; i < 400; i++) {
		bool is_removed = i % 3 == 1 && i < 3 * 40;
		snprintf(word, sizeof(word), "%s%03d\n", i % 3 ? "tree" : "d/of tree", i);
		const char *at = strstr(buf.data, word);
		ck_assert_msg(is_removed || at != NULL, "%s is missing", word);
		ck_assert_msg(at == NULL || strstr(at + 1, word) == NULL, "%s came twice", word);
	}
	buf_fini(&buf);
	kit_free(kit);
}
END_TEST

START_TEST(test_a_cursor_of_another_search_or_another_catalog_is_refused)
{
	struct kit *kit = kit_new(), *other = kit_new();
	char cursor[CATALOG_CURSOR_SIZE], next[CATALOG_CURSOR_SIZE];
	struct error err;
	struct buf buf;
	buf_init(&buf, 1000);
	kit_put(kit, "tree1", "x", 1);
	kit_put(kit, "tree2", "x", 1);
	struct catalog_query query = { .text = "tree", .limit = 1 };
	ck_assert_int_eq(catalog_search(kit->catalog, &query, add_line, &buf, cursor, &err),
			 P2P_OK);
	query.cursor = cursor;
	ck_assert_int_eq(catalog_search(kit->catalog, &query, add_line, &buf, next, &err), P2P_OK);
	struct catalog_head a, b;
	catalog_head(kit->catalog, &a);
	catalog_head(other->catalog, &b);
	if (a.epoch != b.epoch)
		ck_assert_int_eq(catalog_search(other->catalog, &query, add_line, &buf, next, &err),
				 P2P_BAD_REQUEST);
	query.text = "ree";
	ck_assert_int_eq(catalog_search(kit->catalog, &query, add_line, &buf, next, &err),
			 P2P_BAD_REQUEST);
	query.text = "tree";
	query.filter = &(struct catalog_filter){ .directory = "tree1", .size_max = UINT64_MAX };
	ck_assert_int_eq(catalog_search(kit->catalog, &query, add_line, &buf, next, &err),
			 P2P_BAD_REQUEST);
	query.filter = NULL;
	query.match = CATALOG_UNDER;
	ck_assert_int_eq(catalog_search(kit->catalog, &query, add_line, &buf, next, &err),
			 P2P_BAD_REQUEST);
	buf_fini(&buf);
	kit_free(kit);
	kit_free(other);
}
END_TEST

/* --- filters --- */

static bool
is_b(void *arg, const char *peer)
{
	return strcmp(arg, peer) == 0;
}

START_TEST(test_filters_leave_what_they_say)
{
	struct kit *kit = kit_new();
	const char *b = kit_peer("b"), *c = kit_peer("c");
	kit_put(kit, "a/mine", "m", 10);
	kit_give_one(kit, b, 1, "a/theirs", "t", 1000);
	kit_give_one(kit, c, 1, "a/away", "w", 5000);
	kit_give_one(kit, c, 2, "ab/both", "t", 1000);
	kit_give_one(kit, b, 2, "ab/both", "t", 1000);
	struct catalog_filter filter = CATALOG_FILTER_NONE;
	struct catalog_query query = { .text = "", .filter = &filter };
	filter.size_min = 1000;
	filter.size_max = 1000;
	check_found(kit, query, "a/theirs\nab/both\n");
	filter = (struct catalog_filter)CATALOG_FILTER_NONE;
	filter.holder = c;
	check_found(kit, query, "a/away\nab/both\n");
	filter.holder = kit->self;
	check_found(kit, query, "a/mine\n");
	filter.holder = NULL;
	filter.is_here = is_b;
	filter.is_here_arg = (void *)b;
	filter.state = CATALOG_HERE;
	check_found(kit, query, "a/mine\na/theirs\nab/both\n");
	filter.state = CATALOG_AWAY;
	check_found(kit, query, "a/away\n");
	filter.state = CATALOG_ANY_STATE;
	filter.directory = "a/";
	check_found(kit, query, "a/away\na/mine\na/theirs\n");
	query.text = "th";
	check_found(kit, query, "a/theirs\n");
	filter.directory = NULL;
	/* kit_page_add() gives mtime 1000 + seq, kit_file() -5. */
	filter.mtime_max_ns = 0;
	query.text = "";
	check_found(kit, query, "a/mine\n");
	filter.mtime_min_ns = 1002;
	filter.mtime_max_ns = INT64_MAX;
	check_found(kit, query, "ab/both\n");
	kit_free(kit);
}
END_TEST

START_TEST(test_a_content_is_found_under_all_its_names_page_by_page)
{
	struct kit *kit = kit_new();
	const char *b = kit_peer("b"), *c = kit_peer("c");
	struct content_id x = kit_content("x", 5);
	char hex[DIGEST_HEX_SIZE];
	digest_hex(&x.root, hex);
	kit_put(kit, "one", "x", 5);
	kit_give_one(kit, b, 1, "one", "x", 5);
	kit_give_one(kit, b, 2, "two", "x", 5);
	kit_give_one(kit, c, 1, "two", "x", 5);
	kit_give_one(kit, c, 2, "d/three", "x", 5);
	kit_give_one(kit, c, 3, "four", "y", 5);
	struct catalog_filter filter = CATALOG_FILTER_NONE;
	struct catalog_query query = { .match = CATALOG_ROOT, .text = hex, .filter = &filter };
	for (query.limit = 1; query.limit < 5; query.limit++)
		check_found(kit, query, "one\ntwo\nd/three\n");
	filter.directory = "d";
	check_found(kit, query, "d/three\n");
	query.match = CATALOG_EXACT;
	query.text = "";
	check_found(kit, query, "");
	kit_free(kit);
}
END_TEST

/* --- what goes, and what was there before --- */

START_TEST(test_names_that_nobody_has_any_more_leave_the_index)
{
	struct kit *kit = kit_new();
	const char *b = kit_peer("b");
	bool has = true;
	kit_give_one(kit, b, 1, "theirs alone", "x", 5);
	kit_give_one(kit, b, 2, "both", "x", 5);
	kit_put(kit, "both", "x", 5);
	put_filler(kit, 0, 300);
	await_index(kit, 2);
	struct catalog_batch *batch = catalog_batch_new();
	catalog_batch_forget(batch, b, NULL);
	ck_assert_int_eq(kit_commit(kit, batch), P2P_OK);
	FINDS(kit, "alone", "");
	FINDS(kit, "both", "both\n");
	for (uint64_t end = clock_ms() + WAIT_MS; has && clock_ms() < end;)
		indexed(kit, "theirs alone", &has);
	ck_assert(!has);
	indexed(kit, "both", &has);
	ck_assert(has);
	/* It may come again. */
	kit_put(kit, "theirs alone", "x", 5);
	FINDS(kit, "alone", "theirs alone\n");
	FINDS(kit, "both", "both\n");
	kit_free(kit);
}
END_TEST

/* Version 1 as it was, with a file of ours, one of another peer, a tombstone, and a fetch. */
static const char version_1[] =
    "CREATE TABLE meta(key TEXT PRIMARY KEY, value) WITHOUT ROWID;"
    "CREATE TABLE peer(no INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE,"
    " name TEXT NOT NULL DEFAULT '', addresses TEXT NOT NULL DEFAULT '',"
    " epoch INTEGER NOT NULL DEFAULT 0, seq INTEGER NOT NULL DEFAULT 0,"
    " entry_count INTEGER NOT NULL DEFAULT 0, file_count INTEGER NOT NULL DEFAULT 0,"
    " byte_count INTEGER NOT NULL DEFAULT 0, heard_wall_ms INTEGER NOT NULL DEFAULT 0);"
    "CREATE TABLE entry(name TEXT NOT NULL, peer INTEGER NOT NULL, size INTEGER NOT NULL,"
    " root BLOB, mtime_ns INTEGER NOT NULL, mode INTEGER NOT NULL, seq INTEGER NOT NULL,"
    " PRIMARY KEY(name, peer)) WITHOUT ROWID;"
    "CREATE INDEX entry_seq ON entry(peer, seq);"
    "CREATE INDEX entry_root ON entry(root, size, peer) WHERE root IS NOT NULL;"
    "CREATE TABLE local(name TEXT PRIMARY KEY NOT NULL, size INTEGER NOT NULL,"
    " root BLOB NOT NULL, mtime_ns INTEGER NOT NULL, mode INTEGER NOT NULL,"
    " sig_size INTEGER NOT NULL, sig_mtime_ns INTEGER NOT NULL, sig_ctime_ns INTEGER NOT NULL,"
    " sig_device INTEGER NOT NULL, sig_inode INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE INDEX local_root ON local(root, size);"
    "CREATE TABLE layer(id INTEGER PRIMARY KEY, root BLOB NOT NULL, size INTEGER NOT NULL,"
    " nodes BLOB NOT NULL, UNIQUE(root, size));"
    "CREATE TABLE fetch(id INTEGER PRIMARY KEY, what TEXT NOT NULL, replace_it INTEGER NOT NULL);"
    "CREATE TABLE fetch_item(fetch INTEGER NOT NULL, position INTEGER NOT NULL,"
    " name TEXT NOT NULL, size INTEGER NOT NULL, root BLOB NOT NULL, mtime_ns INTEGER NOT NULL,"
    " mode INTEGER NOT NULL, PRIMARY KEY(fetch, position)) WITHOUT ROWID;"
    "CREATE INDEX fetch_item_name ON fetch_item(fetch, name);"
    "PRAGMA application_id=1882353764; PRAGMA user_version=1;"
    "INSERT INTO meta VALUES('open', 0);"
    "INSERT INTO local VALUES('both', 5, zeroblob(32), 7, 420, 5, 7, 7, 1, 1);"
    "INSERT INTO entry VALUES('both', 1, 5, zeroblob(32), 7, 420, 2),"
    " ('gone', 1, 0, NULL, 0, 0, 3), ('both', 2, 5, zeroblob(32), 9, 384, 1);"
    "INSERT INTO fetch VALUES(4, 'what', 1);"
    "INSERT INTO fetch_item VALUES(4, 0, 'item', 5, zeroblob(32), 1, 420);";

static void
write_version_1(struct kit *kit)
{
	char *path = mem_format("%s/catalog.db", kit->dir);
	char *peers =
	    mem_format("INSERT INTO peer(no,id,epoch,seq,entry_count,file_count,byte_count)"
		       " VALUES(1,'%s',77,3,2,1,5),(2,'%s',8,1,1,1,5);",
		       kit->self, kit_peer("b"));
	sqlite3 *handle;
	unlink(path);
	ck_assert_int_eq(sqlite3_open(path, &handle), SQLITE_OK);
	ck_assert_int_eq(sqlite3_exec(handle, version_1, NULL, NULL, NULL), SQLITE_OK);
	ck_assert_int_eq(sqlite3_exec(handle, peers, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(handle);
	free(peers);
	free(path);
}

static void
count_item(void *arg, uint64_t fetch, const char *what, bool replace,
	   const struct catalog_rank *rank, const struct catalog_fetch_item *item)
{
	ck_assert_uint_eq(fetch, 4);
	ck_assert_str_eq(what, "what");
	ck_assert(replace);
	ck_assert_int_eq(rank->priority, 0);
	ck_assert_int_eq(rank->front, 0);
	ck_assert_str_eq(item->name, "item");
	++*(int *)arg;
}

START_TEST(test_a_database_of_version_1_becomes_one_of_today_and_loses_nothing)
{
	struct kit *kit = kit_new();
	struct error err = { 0 };
	struct catalog_local file;
	int items = 0;
	kit_close(kit);
	write_version_1(kit);
	for (int i = 0; i < 2; i++) {
		kit_open(kit, &err);
		ck_assert_msg(kit->catalog != NULL, "%s", err.text);
		ck_assert_ptr_null(kit->note);
		struct catalog_head head;
		catalog_head(kit->catalog, &head);
		ck_assert_uint_eq(head.epoch, 77);
		ck_assert_uint_eq(head.seq, 3);
		ck_assert_int_eq(catalog_find_local(kit->catalog, "both", &file), P2P_OK);
		char *found = kit_search(kit, CATALOG_SUBSTRING, "OT", false, 10);
		ck_assert_str_eq(found, "both:2*\n");
		free(found);
		struct change_page *page;
		ck_assert_int_eq(
		    catalog_changes(kit->catalog, KIT_ASK(kit->self, 77, 0, 10), &page), P2P_OK);
		ck_assert_uint_eq(page->count, 2);
		ck_assert_str_eq(page->items[1].name, "gone");
		ck_assert(page->items[1].is_removed);
		change_page_free(page);
		ck_assert_int_eq(catalog_fetches(kit->catalog, count_item, &items), P2P_OK);
		kit_close(kit);
	}
	ck_assert_int_eq(items, 2);
	kit_open(kit, &err);
	kit_free(kit);
}
END_TEST

/* Changes the file while nobody has it open. */
static void
change_file(struct kit *kit, const char *sql)
{
	char *path = mem_format("%s/catalog.db", kit->dir);
	sqlite3 *handle;
	ck_assert_int_eq(sqlite3_open(path, &handle), SQLITE_OK);
	ck_assert_int_eq(sqlite3_exec(handle, sql, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(handle);
	free(path);
}

START_TEST(test_an_index_of_other_rules_is_made_anew)
{
	struct kit *kit = kit_new();
	struct error err = { 0 };
	kit_put(kit, "zebra", "x", 1);
	put_filler(kit, 0, 1000);
	await_index(kit, 745);
	kit_close(kit);
	change_file(kit, "INSERT INTO find(find) VALUES('delete-all');"
			 "UPDATE meta SET value='15.0.0' WHERE key='unicode'");
	kit_open(kit, &err);
	ck_assert_msg(kit->catalog != NULL, "%s", err.text);
	FINDS(kit, "zebra", "zebra\n");
	await_index(kit, 1001);
	FINDS(kit, "zebra", "zebra\n");
	kit_free(kit);
}
END_TEST

/* Of the index. */
static int
count_pieces(struct kit *kit)
{
	char *path = mem_format("%s/catalog.db", kit->dir);
	sqlite3 *handle;
	sqlite3_stmt *stmt;
	ck_assert_int_eq(sqlite3_open_v2(path, &handle, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
	ck_assert_int_eq(sqlite3_prepare_v2(handle, "SELECT count(DISTINCT segid) FROM find_idx",
					    -1, &stmt, NULL),
			 SQLITE_OK);
	ck_assert_int_eq(sqlite3_step(stmt), SQLITE_ROW);
	int count = sqlite3_column_int(stmt, 0);
	sqlite3_finalize(stmt);
	sqlite3_close(handle);
	free(path);
	return count;
}

START_TEST(test_the_pieces_of_the_index_become_one_when_nobody_writes)
{
	struct kit *kit = kit_new();
	uint64_t end = clock_ms() + WAIT_MS;
	kit_put(kit, "zebra", "x", 1);
	for (unsigned i = 0; i < 6; i++) {
		put_filler(kit, 1000 * i, 1000);
		await_index(kit, 1000 * i + 745);
		kit_clear(kit);
	}
	while (count_pieces(kit) > 1 && clock_ms() < end)
		usleep(10000);
	ck_assert_int_eq(count_pieces(kit), 1);
	FINDS(kit, "zebra", "zebra\n");
	FINDS(kit, "004321.bin", "00/004321.bin\n");
	kit_free(kit);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("catalog search");
	TCase *all = tcase_create("all");
	tcase_set_timeout(all, 120);
	tcase_add_test(all, test_case_and_composition_of_accents_make_no_difference);
	tcase_add_test(all, test_the_best_fit_comes_first_and_then_what_is_new);
	tcase_add_test(all, test_short_texts_are_found);
	tcase_add_test(all, test_the_index_finds_what_a_plain_look_at_all_names_finds);
	tcase_add_test(all, test_long_pieces_of_paths_are_found_as_a_plain_look_finds_them);
	tcase_add_test(all, test_the_index_is_asked_for_what_few_names_have);
	tcase_add_test(all, test_a_question_learns_from_the_names_that_did_not_fit);
	tcase_add_test(all, test_a_beginning_is_told_from_the_same_text_in_a_directory);
	tcase_add_test(all, test_a_page_ends_after_so_many_looks_and_goes_on);
	tcase_add_test(all, test_pages_tell_all_that_stays_once_while_names_come_and_go);
	tcase_add_test(all, test_a_cursor_of_another_search_or_another_catalog_is_refused);
	tcase_add_test(all, test_filters_leave_what_they_say);
	tcase_add_test(all, test_a_content_is_found_under_all_its_names_page_by_page);
	tcase_add_test(all, test_names_that_nobody_has_any_more_leave_the_index);
	tcase_add_test(all, test_an_index_of_other_rules_is_made_anew);
	tcase_add_test(all, test_the_pieces_of_the_index_become_one_when_nobody_writes);
	tcase_add_test(all, test_a_database_of_version_1_becomes_one_of_today_and_loses_nothing);
	suite_add_tcase(suite, all);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed > 0;
}
