/* SPDX-License-Identifier: MIT
 *
 * catalog_search.c - who has what: which names a search looks at, and in which order.
 *
 * A search walks over names, looks at each whether it fits, and tells what stands under it
 * (catalog_found.c). There are three orders, and each is one in which a walk can go on from any
 * point:
 *
 *  - by name (bytes): an exact name, a directory, everything;
 *  - by fit: a substring or a pattern (catalog_fit.c);
 *  - by root: whatever has a content whose root begins so.
 *
 * What a page costs is bounded, whatever is asked: after LOOKS_MAX looks in vain, or LOOK_MS, the page ends
 * with what it has, and its cursor goes on from there. A page may therefore be short, or empty, and
 * still not be the last: only a page without a cursor is.
 *
 * All reads of a page are one transaction: its view is of one moment, and the scribe never waits.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "catalog_search.h"
#include "clock.h"
#include "mem.h"

/*
 * What a page may cost: so many looks that lead to nothing.  To read the entries of a name costs
 * as much as some looks.  The clock is for a disk that is slow.
 */
#define LOOKS_MAX         2000
#define LOOKS_TO_READ     2
#define LOOK_MS           50
#define LOOKS_PER_CLOCK   16          /* the clock is asked so often */
#define HOLDERS_MAX_BYTES (64u << 20) /* of the text of one result's holders */

static const struct catalog_filter no_filter = CATALOG_FILTER_NONE;

/* --- looking at one name --- */

bool
search_is_in_directory(const struct wish *wish, const char *name)
{
	return wish->directory == NULL ||
	       (strncmp(name, wish->directory, wish->directory_len) == 0 &&
		name[wish->directory_len] == '/');
}

enum name_fit
search_fit_of(const struct wish *wish, const char *name)
{
	char folded[NAME_FOLDED_SIZE];
	if (wish->glob != NULL)
		return name_match(wish->glob, name) ? NAME_FIT_INSIDE : NAME_FIT_NONE;
	if (!name_fold(name, strlen(name), folded, sizeof(folded)))
		return NAME_FIT_NONE;
	enum name_fit fit = name_fit(folded, wish->text);
	bool is_ranked = !wish->is_short || fit == NAME_FIT_WHOLE || fit == NAME_FIT_NONE;
	return is_ranked ? fit : NAME_FIT_INSIDE;
}

bool
search_is_late(const struct wish *wish)
{
	return clock_ms() > wish->until_ms;
}

/* Is there anything left to spend on another look? */
static bool
may_look(struct search *search, struct wish *wish)
{
	bool is_late =
	    wish->looks++ % LOOKS_PER_CLOCK == LOOKS_PER_CLOCK - 1 && search_is_late(wish);
	if (is_late || wish->spent >= LOOKS_MAX) {
		search->is_more = true;
		return false;
	}
	wish->spent++;
	return true;
}

/* What told something was not in vain. */
static void
forgive_look(const struct search *search, struct wish *wish, uint32_t told)
{
	if (search->told > told)
		wish->spent -= 1 + LOOKS_TO_READ;
}

/* Reads the entries of the name at hand.  P2P_OK or a code. */
static int
read_name(struct search *search, struct wish *wish)
{
	wish->spent += LOOKS_TO_READ;
	return search_read_name(search);
}

/* The name at hand fits: 1 go on, 0 the page ends, or a code. */
static int
tell_name(struct search *search, struct wish *wish)
{
	uint32_t told = search->told;
	int code = read_name(search, wish);
	if (code < 0)
		return code;
	if (!search_tell_name(search))
		return 0;
	forgive_look(search, wish, told);
	return 1;
}

void
search_pass_name(struct search *search)
{
	struct place *place = &search->place;
	place->is_begun = true;
	place->name_id = search->name_id;
	memset(&place->content, 0xff, sizeof(place->content));
	if (place->order == SEARCH_BY_NAME)
		snprintf(place->name, sizeof(place->name), "%s", search->name);
}

bool
search_refuse(struct wish *wish, const char *name)
{
	if (wish->doubts == 0)
		return true;
	sample_add(&wish->refused, name);
	return wish->refused.count < SAMPLE_MAX;
}

int
search_look(struct search *search, struct wish *wish, enum sql sql)
{
	if (!may_look(search, wish))
		return 0;
	search->name_id = (int64_t)db_col_int(search->db, sql, 0);
	search->name = db_col_text(search->db, sql, 1);
	bool fits = search_is_in_directory(wish, search->name);
	if (fits && search->place.order == SEARCH_BY_FIT)
		fits = search_fit_of(wish, search->name) == search->place.fit;
	int code = fits ? tell_name(search, wish) : 1;
	if (code <= 0)
		return code;
	search_pass_name(search);
	return fits || search_refuse(wish, search->name) ? 1 : SEARCH_DOUBT;
}

int
search_run(struct search *search, struct wish *wish, enum sql sql, int more)
{
	int code = 1;
	while (more > 0 && code == 1) {
		code = search_look(search, wish, sql);
		if (code == 1)
			more = db_next(search->db, sql);
	}
	if (more > 0)
		db_end(search->db, sql);
	return more < 0 ? more : code;
}

/* --- by name --- */

struct bounds {
	char low[NAME_FOLDED_SIZE + 1], high[NAME_FOLDED_SIZE + 1]; /* high "": no end */
};

static void
bound_directory(struct bounds *bounds, const char *directory, size_t len)
{
	if (len == 0)
		return;
	snprintf(bounds->low, sizeof(bounds->low), "%.*s/", (int)len, directory);
	/* '0' follows '/'. */
	snprintf(bounds->high, sizeof(bounds->high), "%.*s0", (int)len, directory);
}

static void
bound(const struct search *search, const struct wish *wish, struct bounds *ret)
{
	ret->low[0] = ret->high[0] = '\0';
	if (search->query->match == CATALOG_EXACT) {
		strcpy(ret->low, wish->text);
		/* No name has a control character: nothing but the text itself lies below. */
		snprintf(ret->high, sizeof(ret->high), "%s\x01", wish->text);
	} else if (search->query->match == CATALOG_UNDER || search->query->match == CATALOG_LEVEL) {
		size_t len = strlen(wish->text);
		bound_directory(ret, wish->text,
				len > 0 && wish->text[len - 1] == '/' ? len - 1 : len);
	}
	if (ret->high[0] == '\0' && wish->directory != NULL)
		bound_directory(ret, wish->directory, wish->directory_len);
}

static int
walk_by_name(struct search *search, struct wish *wish)
{
	enum sql sql = search->query->local_only ? SQL_WALK_LOCAL : SQL_WALK_BY_NAME;
	struct bounds bounds;
	bound(search, wish, &bounds);
	/* From the cursor on, if that is further; the place moves on during the walk. */
	if (strcmp(search->place.name, bounds.low) > 0)
		strcpy(bounds.low, search->place.name);
	struct db_arg high = bounds.high[0] ? db_text(bounds.high) : db_blob(NULL, 0);
	if (search->query->match == CATALOG_LEVEL)
		return search_by_level(search, wish, bounds.low, &high);
	return search_run(search, wish, sql, db_start(search->db, sql, db_text(bounds.low), high));
}

/* --- by root --- */

/* The lowest and the highest root that begin so. */
static bool
root_bounds(const char *hex, struct digest *ret_low, struct digest *ret_high)
{
	size_t len = strlen(hex);
	char digits[DIGEST_HEX_SIZE];
	if (len < CATALOG_ID_PREFIX_MIN || len > 2 * DIGEST_BYTES)
		return false;
	memset(digits, '0', sizeof(digits));
	memcpy(digits, hex, len);
	if (!hex_decode(digits, 2 * DIGEST_BYTES, ret_low->bytes))
		return false;
	memset(digits, 'f', sizeof(digits));
	memcpy(digits, hex, len);
	return hex_decode(digits, 2 * DIGEST_BYTES, ret_high->bytes);
}

/* An entry; the result that it belongs to is told with the first of its holders. */
static int
look_at_entry(struct search *search, struct wish *wish)
{
	struct content_id content;
	if (!may_look(search, wish))
		return 0;
	search->name_id = (int64_t)db_col_int(search->db, SQL_WALK_ROOT, 0);
	search->name = db_col_text(search->db, SQL_WALK_ROOT, 1);
	content.size_bytes = db_col_int(search->db, SQL_WALK_ROOT, 2);
	db_col_digest(search->db, SQL_WALK_ROOT, 3, &content.root);
	search->count = 0;
	uint32_t told = search->told;
	int code = search_is_in_directory(wish, search->name) ? read_name(search, wish) : P2P_OK;
	if (code < 0)
		return code;
	bool goes_on = search_tell_content(search, &content,
					   (int64_t)db_col_int(search->db, SQL_WALK_ROOT, 4));
	forgive_look(search, wish, told);
	return goes_on;
}

static int
walk_by_root(struct search *search, struct wish *wish)
{
	struct digest low, high;
	struct place *place = &search->place;
	struct content_id from;
	if (!root_bounds(search->query->text, &low, &high))
		return P2P_BAD_REQUEST;
	/* Whatever a cursor says, nothing below is shown. */
	bool goes_on =
	    place->is_begun && memcmp(place->content.root.bytes, low.bytes, DIGEST_BYTES) >= 0;
	from = goes_on ? place->content : (struct content_id){ .root = low };
	int code = 1;
	int more = db_start(search->db, SQL_WALK_ROOT, db_digest(&high), db_digest(&from.root),
			    db_int(from.size_bytes), db_int((uint64_t)place->peer_no),
			    db_int((uint64_t)place->name_id));
	while (more > 0 && code > 0) {
		code = look_at_entry(search, wish);
		if (code > 0)
			more = db_next(search->db, SQL_WALK_ROOT);
	}
	if (more > 0)
		db_end(search->db, SQL_WALK_ROOT);
	return more < 0 ? more : code;
}

/* --- the whole --- */

static enum search_order
order_of(const struct catalog_query *query)
{
	if (query->match == CATALOG_ROOT)
		return SEARCH_BY_ROOT;
	bool is_ranked = query->match == CATALOG_GLOB ||
			 (query->match == CATALOG_SUBSTRING && query->text[0] != '\0');
	return is_ranked ? SEARCH_BY_FIT : SEARCH_BY_NAME;
}

/* False: nothing can fit. */
static bool
make_wish(const struct catalog_query *query, const struct catalog_filter *filter, struct wish *ret)
{
	size_t len = strlen(query->text), chars = 0;
	*ret = (struct wish){ .until_ms = clock_ms() + LOOK_MS };
	sample_init(&ret->all);
	sample_init(&ret->refused);
	if (query->match == CATALOG_GLOB)
		ret->glob = query->text;
	if (filter->directory != NULL && filter->directory[0] != '\0') {
		ret->directory = filter->directory;
		ret->directory_len = strlen(filter->directory);
		while (ret->directory_len > 0 && ret->directory[ret->directory_len - 1] == '/')
			ret->directory_len--;
		if (ret->directory_len == 0)
			ret->directory = NULL;
	}
	bool is_text = query->match == CATALOG_SUBSTRING
			   ? name_fold(query->text, len, ret->text, sizeof(ret->text))
			   : name_compose(query->text, len, ret->text, sizeof(ret->text));
	for (const char *p = ret->text; *p != '\0'; p++)
		chars += ((unsigned char)*p & 0xc0) != 0x80;
	ret->is_short = chars < 2;
	return is_text;
}

static uint32_t
hash(uint32_t hash, const char *text) /* FNV-1a */
{
	do
		hash = (hash ^ (unsigned char)*text) * 16777619u;
	while (*text++ != '\0');
	return hash;
}

/* What a cursor belongs to: this catalog, and what is searched where.  Not the other filters, for an age moves with the clock. */
static uint32_t
cursor_tag(const struct search *search, uint64_t epoch)
{
	const struct catalog_query *query = search->query;
	const char *directory = search->filter->directory;
	uint32_t kind = (uint32_t)query->match << 1 | query->local_only;

	return hash(hash((uint32_t)epoch ^ kind, query->text), directory != NULL ? directory : "");
}

static int
check_query(const struct catalog_query *query, uint32_t tag, struct place *place, struct error *err)
{
	if (query->limit < 1 || query->limit > CATALOG_PAGE_MAX)
		return error_set(err, P2P_BAD_REQUEST, "the limit must be 1 to %d",
				 CATALOG_PAGE_MAX);
	if (strlen(query->text) > NAME_MAX_BYTES)
		return error_set(err, P2P_BAD_REQUEST, "the text to search for is over %d bytes",
				 NAME_MAX_BYTES);
	if (query->cursor != NULL && *query->cursor != '\0' &&
	    !cursor_read(query->cursor, tag, place))
		return error_set(err, P2P_BAD_REQUEST,
				 "the cursor is none of this search and this catalog");
	return P2P_OK;
}

static int
walk(struct search *search)
{
	struct wish *wish = mem_alloc(sizeof(*wish));
	int code = 1;
	if (make_wish(search->query, search->filter, wish))
		switch (search->place.order) {
		case SEARCH_BY_NAME:
			code = walk_by_name(search, wish);
			break;
		case SEARCH_BY_FIT:
			code = search_by_fit(search, wish);
			break;
		case SEARCH_BY_ROOT:
			code = walk_by_root(search, wish);
			break;
		}
	sample_fini(&wish->all);
	sample_fini(&wish->refused);
	free(wish);
	return code;
}

/* In one view of the database. */
static int
search_in(struct search *search, struct catalog *catalog)
{
	search->db = reader_take(catalog);
	if (search->db == NULL)
		return P2P_IO;
	buf_init(&search->text, HOLDERS_MAX_BYTES);
	int code = db_run_plain(search->db, SQL_READ_BEGIN);
	if (code == P2P_OK) {
		code = walk(search);
		db_run_plain(search->db, SQL_COMMIT);
	}
	reader_give(catalog, search->db);
	buf_fini(&search->text);
	free(search->holders);
	return code < 0 ? code : search->failure;
}

int
catalog_search(struct catalog *catalog, const struct catalog_query *query, catalog_found_fn fn,
	       void *arg, char *ret_cursor, struct error *err)
{
	struct catalog_head head;
	struct search search = { .query = query, .fn = fn, .arg = arg };
	search.filter = query->filter != NULL ? query->filter : &no_filter;
	search.place.order = order_of(query);
	catalog_head(catalog, &head);
	uint32_t tag = cursor_tag(&search, head.epoch);
	int code = check_query(query, tag, &search.place, err);
	if (code < 0)
		return code;
	code = search_in(&search, catalog);
	if (code == P2P_BAD_REQUEST)
		return error_set(err, code, "wanted %d to %d hex digits of a root",
				 CATALOG_ID_PREFIX_MIN, 2 * DIGEST_BYTES);
	if (code < 0)
		return error_set(err, code, "cannot read the catalog");
	ret_cursor[0] = '\0';
	if (search.is_more || search.is_enough)
		cursor_write(&search.place, tag, ret_cursor);
	return P2P_OK;
}

int
catalog_find_root(struct catalog *catalog, const char *hex_prefix, uint32_t limit,
		  catalog_found_fn fn, void *arg)
{
	struct catalog_query query = { .match = CATALOG_ROOT, .text = hex_prefix, .limit = limit };
	char cursor[CATALOG_CURSOR_SIZE];
	return catalog_search(catalog, &query, fn, arg, cursor, NULL);
}

/* Steps from holder to holder in the index: a peer that has the content under a million names costs
 * no more than one that has it once. */
int
db_holders(struct db *db, const struct content_id *content, void (*fn)(void *arg, const char *peer),
	   void *arg)
{
	uint64_t after = SELF_NO;
	int found;
	while ((found = db_start(db, SQL_ENTRY_HOLDER, db_digest(&content->root),
				 db_int(content->size_bytes), db_int(after))) > 0) {
		after = db_col_int(db, SQL_ENTRY_HOLDER, 0);
		fn(arg, db_col_text(db, SQL_ENTRY_HOLDER, 1));
		db_end(db, SQL_ENTRY_HOLDER);
	}
	return found;
}

int
catalog_holders(struct catalog *catalog, const struct content_id *content,
		void (*fn)(void *arg, const char *peer), void *arg)
{
	struct db *db = reader_take(catalog);
	if (db == NULL)
		return P2P_IO;
	int code = db_holders(db, content, fn, arg);
	reader_give(catalog, db);
	return code;
}
