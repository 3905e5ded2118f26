/* SPDX-License-Identifier: MIT
 *
 * catalog_level.c - one level of a directory: its files, and its subdirectories with what they weigh.
 *
 * All names below a directory stand together in the index, and all of one subdirectory do: from 'a/'
 * to before 'a0', since '0' follows '/'.  So a level is walked name by name where there are files,
 * and in leaps over subdirectories: each is looked into, CATALOG_LEVEL_LOOKS names deep, and then
 * the walk begins anew behind it.  What a level costs depends on the rows that it has and not on
 * what lies beneath them.
 *
 * Within those looks a subdirectory is weighed exactly, by the same filter as its files would be;
 * beyond them only "at least so much" is said.  One that holds nothing that fits is not told at all:
 * the names of removed files stay in the index for a while.  If so many of them come first that
 * nothing is found by those looks, they go on until something is, or the time of the page is over.
 *
 * A page ends between two rows once it has looked at PAGE_LOOKS names of subdirectories or its time is over, and never
 * before it has moved.
 */
#include <stdio.h>
#include <string.h>

#include "catalog_search.h"

#define PAGE_LOOKS 2000 /* into subdirectories; some ms */

struct level {
	struct search *search;
	struct wish *wish;
	enum sql sql;
	struct db_arg high;
	char low[NAME_FOLDED_SIZE + 1]; /* where the statement was begun */
	size_t below;                   /* bytes of a name before the part that is this level's */
	unsigned looks;
	bool has_moved;
	int more; /* what the statement said last */
};

/* A subdirectory. */
struct inside {
	struct catalog_found found;
	char name[NAME_SIZE]; /* with its slash */
	size_t len;
	unsigned looks;
};

static void
begin_at(struct level *level, const char *low)
{
	snprintf(level->low, sizeof(level->low), "%s", low);
	level->more = db_start(level->search->db, level->sql, db_text(level->low), level->high);
}

static const char *
name_at_hand(const struct level *level)
{
	return db_col_text(level->search->db, level->sql, 1);
}

static bool
is_inside(const struct level *level, const struct inside *inside)
{
	return strncmp(name_at_hand(level), inside->name, inside->len) == 0;
}

/* The row at hand into the sum. */
static int
weigh(struct level *level, struct inside *inside)
{
	struct search *search = level->search;
	search->name_id = (int64_t)db_col_int(search->db, level->sql, 0);
	search->name = name_at_hand(level);
	inside->looks++;
	if (!search_is_in_directory(level->wish, search->name))
		return P2P_OK;
	int code = search_read_name(search);
	if (code == P2P_OK)
		search_weigh_name(search, &inside->found.files, &inside->found.bytes);
	return code;
}

/* So far nothing in it fits, and this page has no time for more: the next one goes on at this row. */
static bool
is_too_late(struct level *level, const struct inside *inside)
{
	if (inside->found.files > 0 || inside->looks % CATALOG_LEVEL_LOOKS != 0 ||
	    !search_is_late(level->wish))
		return false;
	search_pass_name(level->search);
	level->search->is_more = true;
	return true;
}

/* Looks into the subdirectory of the row at hand, and leaves the statement behind it.  1, 0 the page
 * ends, or a code. */
static int
look_into(struct level *level, struct inside *inside)
{
	struct db *db = level->search->db;
	while (level->more > 0 && is_inside(level, inside)) {
		if (inside->looks >= CATALOG_LEVEL_LOOKS && inside->found.files > 0) {
			inside->found.is_cut = true;
			db_end(db, level->sql);
			inside->name[inside->len - 1] = '0';
			begin_at(level, inside->name);
			inside->name[inside->len - 1] = '/';
			break;
		}
		int code = weigh(level, inside);
		if (code < 0)
			return code;
		if (is_too_late(level, inside))
			return 0;
		level->more = db_next(db, level->sql);
	}
	return level->more < 0 ? level->more : 1;
}

/* `len` bytes of the name at hand are a subdirectory's, with its slash. */
static int
take_directory(struct level *level, size_t len)
{
	struct search *search = level->search;
	struct inside inside = { .len = len, .found = { .is_directory = true, .holders = "" } };
	if (level->has_moved && (level->looks >= PAGE_LOOKS || search_is_late(level->wish))) {
		search->is_more = true;
		return 0;
	}
	memcpy(inside.name, name_at_hand(level), len);
	inside.name[len] = '\0';
	inside.found.name = inside.name;
	int code = look_into(level, &inside);
	level->looks += inside.looks;
	level->has_moved = true;
	if (code <= 0 || inside.found.files == 0)
		return code;
	return search_tell_directory(search, &inside.found) ? 1 : 0;
}

static int
take_file(struct level *level)
{
	int code = search_look(level->search, level->wish, level->sql);
	level->has_moved = true;
	if (code > 0)
		level->more = db_next(level->search->db, level->sql);
	return code;
}

int
search_by_level(struct search *search, struct wish *wish, const char *low,
		const struct db_arg *high)
{
	struct level level = { .search = search, .wish = wish, .high = *high };
	size_t len = strlen(wish->text);
	int code = 1;
	level.sql = search->query->local_only ? SQL_WALK_LOCAL : SQL_WALK_BY_NAME;
	level.below = len == 0 ? 0 : wish->text[len - 1] == '/' ? len : len + 1;
	begin_at(&level, low);
	while (level.more > 0 && code > 0) {
		const char *name = name_at_hand(&level);
		const char *slash = strchr(name + level.below, '/');
		code = slash != NULL ? take_directory(&level, (size_t)(slash - name) + 1)
				     : take_file(&level);
	}
	if (level.more > 0)
		db_end(search->db, level.sql);
	return level.more < 0 ? level.more : code;
}
