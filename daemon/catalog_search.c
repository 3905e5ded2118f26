/* SPDX-License-Identifier: MIT
 *
 * catalog_search.c - who has what: searches by name, by root, and holders.
 *
 * The entries are clustered by name, so a search is one walk in the order of the answer, from a
 * lower to an upper bound, with a LIKE or GLOB as the only thing computed a row.  Rows of one name
 * come together; they are gathered, sorted by content, and told as one result for each content.
 * Nothing larger than the holders of one name is ever in memory, and a page that is full ends the
 * walk at the next result.
 *
 * A cursor is the last result told - root, size and name in hex - and the next page begins the walk
 * at its name. It needs no state here, and stays good while entries come and go.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "catalog_db.h"
#include "mem.h"

#define ROOT_ROWS_MAX     20000                   /* looked at for one prefix of a root */
#define HOLDERS_MAX_BYTES (64u << 20)             /* of the text of one result's holders */
#define PATTERN_MAX       (4 * NAME_MAX_BYTES)    /* bytes of a glob */
#define CURSOR_HEAD       (2 * DIGEST_BYTES + 16) /* characters before the name */

/* --- results --- */

struct holder {
	struct content_id content;
	int64_t mtime_ns;
	uint32_t mode;
	int64_t peer_no;
	char peer[PEER_ID_SIZE];
};

struct gather {
	catalog_found_fn fn;
	void *arg;
	bool local_only;
	uint32_t limit;
	uint32_t told;
	bool is_enough;       /* fn said so */
	bool is_more;         /* there is another beyond the limit */
	char name[NAME_SIZE]; /* of the holders gathered */
	struct holder *holders;
	size_t count, capacity;
	struct buf text;
	char last_name[NAME_SIZE]; /* the last result told, or where to start behind */
	struct content_id last_content;
};

static void
gather_init(struct gather *gather, catalog_found_fn fn, void *arg, uint32_t limit)
{
	*gather = (struct gather){ .fn = fn, .arg = arg, .limit = limit };
	buf_init(&gather->text, HOLDERS_MAX_BYTES);
}

static void
gather_fini(struct gather *gather)
{
	free(gather->holders);
	buf_fini(&gather->text);
}

static int
compare_contents(const struct content_id *a, const struct content_id *b)
{
	if (a->size_bytes != b->size_bytes)
		return a->size_bytes < b->size_bytes ? -1 : 1;
	return memcmp(a->root.bytes, b->root.bytes, DIGEST_BYTES);
}

static int
compare_holders(const void *a, const void *b)
{
	const struct holder *x = a, *y = b;
	int by_content = compare_contents(&x->content, &y->content);
	return by_content ? by_content : strcmp(x->peer, y->peer);
}

/* Tells holders[from..to), which have one content. */
static void
tell(struct gather *gather, size_t from, size_t to)
{
	struct catalog_found found = {
		.name = gather->name,
		.content = gather->holders[from].content,
		.mtime_ns = INT64_MIN,
		.holder_count = (uint32_t)(to - from),
	};
	buf_reset(&gather->text);
	for (size_t i = from; i < to; i++) {
		const struct holder *holder = &gather->holders[i];
		buf_adds(&gather->text, holder->peer);
		buf_adds(&gather->text, " ");
		found.is_local |= holder->peer_no == SELF_NO;
		if (holder->mtime_ns >= found.mtime_ns) {
			found.mtime_ns = holder->mtime_ns;
			found.mode = holder->mode;
		}
	}
	if (gather->local_only && !found.is_local)
		return;
	if (gather->told == gather->limit) {
		gather->is_more = true;
		return;
	}
	found.holders = gather->text.data;
	gather->told++;
	snprintf(gather->last_name, sizeof(gather->last_name), "%s", gather->name);
	gather->last_content = found.content;
	gather->is_enough = !gather->fn(gather->arg, &found);
}

static bool
is_behind_last(const struct gather *gather, const struct content_id *content)
{
	int by_name = strcmp(gather->name, gather->last_name);
	return by_name > 0 ||
	       (by_name == 0 && compare_contents(content, &gather->last_content) > 0);
}

/* Tells what was gathered of one name. */
static void
flush(struct gather *gather)
{
	size_t count = gather->count;
	gather->count = 0;
	if (count > 1)
		qsort(gather->holders, count, sizeof(*gather->holders), compare_holders);
	for (size_t from = 0, to; from < count; from = to) {
		for (to = from + 1; to < count; to++)
			if (!content_equal(&gather->holders[from].content,
					   &gather->holders[to].content))
				break;
		if (gather->is_enough || gather->is_more)
			return;
		if (gather->last_name[0] == '\0' ||
		    is_behind_last(gather, &gather->holders[from].content))
			tell(gather, from, to);
	}
}

/* Takes the row at hand. */
static void
add_row(struct gather *gather, struct db *db, enum sql sql)
{
	const char *name = db_col_text(db, sql, 0);
	if (strcmp(name, gather->name) != 0) {
		flush(gather);
		snprintf(gather->name, sizeof(gather->name), "%s", name);
	}
	if (gather->count == gather->capacity) {
		gather->capacity = gather->capacity ? 2 * gather->capacity : 16;
		gather->holders =
		    mem_grow(gather->holders, gather->capacity, sizeof(*gather->holders));
	}
	struct holder *holder = &gather->holders[gather->count++];
	holder->content.size_bytes = db_col_int(db, sql, 1);
	db_col_digest(db, sql, 2, &holder->content.root);
	holder->mtime_ns = (int64_t)db_col_int(db, sql, 3);
	holder->mode = (uint32_t)db_col_int(db, sql, 4);
	holder->peer_no = (int64_t)db_col_int(db, sql, 5);
	snprintf(holder->peer, sizeof(holder->peer), "%s", db_col_text(db, sql, 6));
}

/* Walks all rows of a statement that was started; `more` is what that answered. */
static int
gather_rows(struct gather *gather, struct db *db, enum sql sql, int more)
{
	while (more > 0 && !gather->is_enough && !gather->is_more) {
		add_row(gather, db, sql);
		more = db_next(db, sql);
	}
	if (more > 0)
		db_end(db, sql);
	if (more >= 0)
		flush(gather);
	return more < 0 ? more : P2P_OK;
}

/* --- cursors --- */

static void
cursor_write(const struct gather *gather, char *ret)
{
	char root[DIGEST_HEX_SIZE];
	digest_hex(&gather->last_content.root, root);
	int at =
	    sprintf(ret, "%s%016llx", root, (unsigned long long)gather->last_content.size_bytes);
	for (const char *p = gather->last_name; *p != '\0'; p++)
		at += sprintf(ret + at, "%02x", (unsigned char)*p);
}

static int
hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Decodes `digits` (even) characters; false if one is no hex digit. */
static bool
hex_decode(const char *hex, size_t digits, unsigned char *ret)
{
	for (size_t i = 0; i < digits; i += 2) {
		int high = hex_value(hex[i]), low = hex_value(hex[i + 1]);
		if (high < 0 || low < 0)
			return false;
		ret[i / 2] = (unsigned char)(high << 4 | low);
	}
	return true;
}

static bool
cursor_read(const char *cursor, struct gather *gather)
{
	size_t len = strlen(cursor);
	if (len < CURSOR_HEAD + 2 || len >= CATALOG_CURSOR_SIZE || len % 2 != 0)
		return false;
	unsigned char size[8], name[NAME_SIZE] = { 0 };
	size_t name_digits = len - CURSOR_HEAD;
	if (name_digits / 2 > NAME_MAX_BYTES ||
	    !hex_decode(cursor, 2 * DIGEST_BYTES, gather->last_content.root.bytes) ||
	    !hex_decode(cursor + 2 * DIGEST_BYTES, 16, size) ||
	    !hex_decode(cursor + CURSOR_HEAD, name_digits, name) ||
	    memchr(name, 0, name_digits / 2) != NULL)
		return false;
	gather->last_content.size_bytes = 0;
	for (int i = 0; i < 8; i++)
		gather->last_content.size_bytes = gather->last_content.size_bytes << 8 | size[i];
	memcpy(gather->last_name, name, NAME_SIZE);
	return true;
}

/* --- searches by name --- */

/* The bounds of the walk and what a row must fit. */
struct walk {
	struct buf low, high; /* names from low, up to but without high ("": no end) */
	struct buf pattern;
	enum { PLAIN, LIKE, GLOB } kind;
};

static void
walk_init(struct walk *walk)
{
	*walk = (struct walk){ 0 };
	buf_init(&walk->low, 2 * PATTERN_MAX);
	buf_init(&walk->high, 2 * PATTERN_MAX);
	buf_init(&walk->pattern, 4 * PATTERN_MAX);
	buf_adds(&walk->low, "");
	buf_adds(&walk->high, "");
}

static void
walk_fini(struct walk *walk)
{
	buf_fini(&walk->low);
	buf_fini(&walk->high);
	buf_fini(&walk->pattern);
}

static void
bound_substring(struct walk *walk, const char *text)
{
	if (*text == '\0')
		return;
	walk->kind = LIKE;
	buf_adds(&walk->pattern, "%");
	for (const char *p = text; *p != '\0'; p++) {
		if (*p == '%' || *p == '_' || *p == '\\')
			buf_adds(&walk->pattern, "\\");
		buf_add(&walk->pattern, p, 1);
	}
	buf_adds(&walk->pattern, "%");
}

/* What stands before the first special character bounds the walk. */
static void
bound_glob(struct walk *walk, const char *text)
{
	size_t fixed = strcspn(text, "*?[");
	walk->kind = GLOB;
	buf_adds(&walk->pattern, text);
	buf_add(&walk->low, text, fixed);
	/* The successor of a prefix; 0xff is in no name and would not wrap. */
	if (fixed > 0 && (unsigned char)text[fixed - 1] < 0xff) {
		char last = (char)(text[fixed - 1] + 1);
		buf_add(&walk->high, text, fixed - 1);
		buf_add(&walk->high, &last, 1);
	}
}

static void
bound_exact(struct walk *walk, const char *text)
{
	buf_adds(&walk->low, text);
	buf_adds(&walk->high, text);
	/* No name has a control character: nothing but the text itself lies below. */
	buf_adds(&walk->high, "\x01");
}

static void
bound_under(struct walk *walk, const char *text)
{
	size_t len = strlen(text);
	if (len > 0 && text[len - 1] == '/')
		len--;
	if (len == 0)
		return;
	buf_add(&walk->low, text, len);
	buf_adds(&walk->low, "/");
	buf_add(&walk->high, text, len);
	buf_adds(&walk->high, "0"); /* follows '/' */
}

static void
bound(struct walk *walk, const struct catalog_query *query)
{
	switch (query->match) {
	case CATALOG_SUBSTRING:
		bound_substring(walk, query->text);
		return;
	case CATALOG_GLOB:
		bound_glob(walk, query->text);
		return;
	case CATALOG_EXACT:
		bound_exact(walk, query->text);
		return;
	case CATALOG_UNDER:
		bound_under(walk, query->text);
		return;
	}
}

static int
run_walk(struct db *db, const struct walk *walk, struct gather *gather)
{
	static const enum sql statements[2][3] = {
		{ SQL_FIND_ALL, SQL_FIND_ALL_LIKE, SQL_FIND_ALL_GLOB },
		{ SQL_FIND_LOCAL, SQL_FIND_LOCAL_LIKE, SQL_FIND_LOCAL_GLOB },
	};
	enum sql sql = statements[gather->local_only][walk->kind];
	/* From the cursor on, if that is further. */
	const char *low = walk->low.data;
	if (strcmp(gather->last_name, low) > 0)
		low = gather->last_name;
	char *start = mem_string(low); /* last_name moves on during the walk */
	struct db_arg high = walk->high.len ? db_text(walk->high.data) : db_blob(NULL, 0);
	int more = walk->kind == PLAIN
		       ? db_start(db, sql, db_text(start), high)
		       : db_start(db, sql, db_text(start), high, db_text(walk->pattern.data));
	int code = gather_rows(gather, db, sql, more);
	free(start);
	return code;
}

static int
check_query(const struct catalog_query *query, struct gather *gather, struct error *err)
{
	if (query->limit < 1 || query->limit > CATALOG_PAGE_MAX)
		return error_set(err, P2P_BAD_REQUEST, "the limit must be 1 to %d",
				 CATALOG_PAGE_MAX);
	if (strlen(query->text) > PATTERN_MAX)
		return error_set(err, P2P_BAD_REQUEST, "the text to search for is over %d bytes",
				 PATTERN_MAX);
	if (query->cursor != NULL && *query->cursor != '\0' && !cursor_read(query->cursor, gather))
		return error_set(err, P2P_BAD_REQUEST, "the cursor is damaged");
	return P2P_OK;
}

int
catalog_search(struct catalog *catalog, const struct catalog_query *query, catalog_found_fn fn,
	       void *arg, char *ret_cursor, struct error *err)
{
	struct gather gather;
	gather_init(&gather, fn, arg, query->limit);
	gather.local_only = query->local_only;
	int code = check_query(query, &gather, err);
	if (code < 0)
		goto out;
	struct db *db = reader_take(catalog);
	if (db == NULL) {
		code = error_set(err, P2P_IO, "cannot read the catalog");
		goto out;
	}
	struct walk walk;
	walk_init(&walk);
	bound(&walk, query);
	code = run_walk(db, &walk, &gather);
	walk_fini(&walk);
	reader_give(catalog, db);
	if (code < 0) {
		error_set(err, code, "cannot read the catalog");
		goto out;
	}
	ret_cursor[0] = '\0';
	if (gather.is_more || gather.is_enough)
		cursor_write(&gather, ret_cursor);
out:
	gather_fini(&gather);
	return code;
}

/* --- by root, holders --- */

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

int
catalog_find_root(struct catalog *catalog, const char *hex_prefix, uint32_t limit,
		  catalog_found_fn fn, void *arg)
{
	struct digest low, high;
	if (!root_bounds(hex_prefix, &low, &high))
		return P2P_BAD_REQUEST;
	struct db *db = reader_take(catalog);
	if (db == NULL)
		return P2P_IO;
	struct gather gather;
	gather_init(&gather, fn, arg, limit);
	int more =
	    db_start(db, SQL_FIND_ROOT, db_digest(&low), db_digest(&high), db_int(ROOT_ROWS_MAX));
	int code = gather_rows(&gather, db, SQL_FIND_ROOT, more);
	gather_fini(&gather);
	reader_give(catalog, db);
	return code;
}

/* Steps from holder to holder in the index: a peer that has the content under a million names costs
 * no more than one that has it once. */
int
db_holders(struct db *db, const struct content_id *content,
	   void (*fn)(void *arg, const char *peer), void *arg)
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
