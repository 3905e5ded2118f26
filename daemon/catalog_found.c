/* SPDX-License-Identifier: MIT
 *
 * catalog_found.c - what a search tells of a name: one result for each content that stands under
 * it.
 *
 * The entries of a name are read, sorted by content, and each run of one content is a result if the
 * filter lets it pass.  Nothing larger than the holders of one name is ever in memory.
 */
#include <stdlib.h>
#include <string.h>

#include "catalog_search.h"
#include "mem.h"

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
	return by_content ? by_content : (x->peer_no > y->peer_no) - (x->peer_no < y->peer_no);
}

/* Takes the row at hand. */
static void
add_holder(struct search *search)
{
	struct db *db = search->db;
	if (search->count == search->capacity) {
		search->capacity = search->capacity ? 2 * search->capacity : 16;
		search->holders =
		    mem_grow(search->holders, search->capacity, sizeof(*search->holders));
	}
	struct holder *holder = &search->holders[search->count++];
	holder->content.size_bytes = db_col_int(db, SQL_ENTRIES_OF_NAME, 0);
	db_col_digest(db, SQL_ENTRIES_OF_NAME, 1, &holder->content.root);
	holder->mtime_ns = (int64_t)db_col_int(db, SQL_ENTRIES_OF_NAME, 2);
	holder->mode = (uint32_t)db_col_int(db, SQL_ENTRIES_OF_NAME, 3);
	holder->peer_no = (int64_t)db_col_int(db, SQL_ENTRIES_OF_NAME, 4);
}

int
search_read_name(struct search *search)
{
	search->count = 0;
	int more = db_start(search->db, SQL_ENTRIES_OF_NAME, db_int((uint64_t)search->name_id));
	for (; more > 0; more = db_next(search->db, SQL_ENTRIES_OF_NAME))
		add_holder(search);
	if (search->count > 1)
		qsort(search->holders, search->count, sizeof(*search->holders), compare_holders);
	return more;
}

/* Borrowed until the next call; "" if it cannot be read. */
static const char *
peer_id(struct search *search, int64_t no)
{
	struct known_peer *peer = &search->known[no % KNOWN_PEERS];
	if (peer->no == no)
		return peer->id;
	*peer = (struct known_peer){ 0 };
	int found = db_start(search->db, SQL_PEER_ID, db_int((uint64_t)no));
	if (found < 0)
		search->failure = found;
	if (found == 1) {
		peer->no = no;
		strncpy(peer->id, db_col_text(search->db, SQL_PEER_ID, 0), PEER_ID_SIZE - 1);
		db_end(search->db, SQL_PEER_ID);
	}
	return peer->id;
}

/* --- the filter --- */

/* What holders[from..to) have in common, but who they are. */
static void
make_found(const struct search *search, size_t from, size_t to, struct catalog_found *ret)
{
	*ret = (struct catalog_found){
		.name = search->name,
		.content = search->holders[from].content,
		.mtime_ns = INT64_MIN,
		.holder_count = (uint32_t)(to - from),
	};
	for (size_t i = from; i < to; i++) {
		const struct holder *holder = &search->holders[i];
		ret->is_local |= holder->peer_no == SELF_NO;
		if (holder->mtime_ns >= ret->mtime_ns) {
			ret->mtime_ns = holder->mtime_ns;
			ret->mode = holder->mode;
		}
	}
}

/* Borrows search->text. */
static void
name_holders(struct search *search, size_t from, size_t to, struct catalog_found *found)
{
	buf_reset(&search->text);
	for (size_t i = from; i < to; i++) {
		buf_adds(&search->text, peer_id(search, search->holders[i].peer_no));
		buf_adds(&search->text, " ");
	}
	found->holders = search->text.data;
}

/* Is one of holders[from..to) among those that the filter wants? */
static bool
has_wanted_holder(struct search *search, size_t from, size_t to)
{
	const char *holder = search->filter->holder;
	if (holder == NULL)
		return true;
	for (size_t i = from; i < to; i++)
		if (strcmp(peer_id(search, search->holders[i].peer_no), holder) == 0)
			return true;
	return false;
}

static bool
is_wanted_state(struct search *search, size_t from, size_t to)
{
	const struct catalog_filter *filter = search->filter;
	bool is_here = false;
	if (filter->state == CATALOG_ANY_STATE)
		return true;
	for (size_t i = from; i < to && !is_here; i++)
		is_here = search->holders[i].peer_no == SELF_NO ||
			  filter->is_here(filter->is_here_arg,
					  peer_id(search, search->holders[i].peer_no));
	return is_here == (filter->state == CATALOG_HERE);
}

static bool
is_wanted(const struct search *search, const struct catalog_found *found)
{
	const struct catalog_filter *filter = search->filter;
	return (!search->query->local_only || found->is_local) &&
	       found->content.size_bytes >= filter->size_min &&
	       found->content.size_bytes <= filter->size_max &&
	       found->mtime_ns >= filter->mtime_min_ns && found->mtime_ns <= filter->mtime_max_ns;
}

/* --- telling --- */

/* Does what holders[from..to) have in common pass the filter?  If so it is in *ret. */
static bool
make_wanted(struct search *search, size_t from, size_t to, struct catalog_found *ret)
{
	make_found(search, from, to, ret);
	return is_wanted(search, ret) && has_wanted_holder(search, from, to) &&
	       is_wanted_state(search, from, to);
}

/* False: there is no room for it on this page. */
static bool
tell_found(struct search *search, const struct catalog_found *found)
{
	if (search->told == search->query->limit) {
		search->is_more = true;
		return false;
	}
	search->told++;
	search->is_enough = !search->fn(search->arg, found);
	return true;
}

/* False: the page ends before this one, or behind it. */
static bool
tell(struct search *search, size_t from, size_t to)
{
	struct catalog_found found;
	if (!make_wanted(search, from, to, &found))
		return true;
	name_holders(search, from, to, &found);
	return tell_found(search, &found);
}

/* The end of the run of one content that begins at `from`. */
static size_t
run_end(const struct search *search, size_t from)
{
	size_t to = from + 1;
	while (to < search->count &&
	       content_equal(&search->holders[from].content, &search->holders[to].content))
		to++;
	return to;
}

/* Was this content of the name at hand told by the page before? */
static bool
is_told(const struct search *search, const struct content_id *content)
{
	const struct place *place = &search->place;
	bool is_same = place->is_begun &&
		       (place->order == SEARCH_BY_NAME ? strcmp(place->name, search->name) == 0
						       : place->name_id == search->name_id);
	return is_same && compare_contents(content, &place->content) <= 0;
}

/* All up to this content of the name at hand is done. */
static void
move_place(struct search *search, const struct content_id *content)
{
	struct place *place = &search->place;
	place->is_begun = true;
	place->name_id = search->name_id;
	place->content = *content;
	if (place->order == SEARCH_BY_NAME && strcmp(place->name, search->name) != 0)
		strcpy(place->name, search->name);
}

bool
search_tell_name(struct search *search)
{
	for (size_t from = 0, to; from < search->count; from = to) {
		to = run_end(search, from);
		if (is_told(search, &search->holders[from].content))
			continue;
		if (!tell(search, from, to))
			return false;
		move_place(search, &search->holders[from].content);
		if (search->is_enough)
			return false;
	}
	return true;
}

bool
search_tell_content(struct search *search, const struct content_id *content, int64_t peer_no)
{
	for (size_t from = 0, to; from < search->count; from = to) {
		to = run_end(search, from);
		if (!content_equal(&search->holders[from].content, content) ||
		    search->holders[from].peer_no != peer_no)
			continue;
		if (!tell(search, from, to))
			return false;
	}
	move_place(search, content);
	search->place.peer_no = peer_no;
	return !search->is_enough;
}

void
search_weigh_name(struct search *search, uint64_t *files, uint64_t *bytes)
{
	struct catalog_found found;
	for (size_t from = 0, to; from < search->count; from = to) {
		to = run_end(search, from);
		if (!make_wanted(search, from, to, &found))
			continue;
		*files += 1;
		*bytes += found.content.size_bytes;
	}
}

bool
search_tell_directory(struct search *search, const struct catalog_found *directory)
{
	struct place *place = &search->place;
	if (!tell_found(search, directory))
		return false;
	/* Goes on behind all that lies in it: '0' follows '/'.  A file may have just this name. */
	place->is_begun = true;
	place->content = (struct content_id){ 0 };
	strcpy(place->name, directory->name);
	place->name[strlen(place->name) - 1] = '0';
	return !search->is_enough;
}
