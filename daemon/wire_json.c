/* SPDX-License-Identifier: MIT
 *
 * wire_json.c - what the REST face says, as JSON.
 *
 * Each encoder builds a jansson tree and prints it compactly; field order is the order in which a
 * person would want to read.  Nothing here fails: every value was checked where it came in, and
 * memory does not run out (wire_json_value.c).
 *
 * What a document may grow to is bounded by what goes in: pages have at most 1,000 rows, and a row
 * of a search names at most HOLDERS_SHOWN of its holders beside their number, so that every
 * document stays below WIRE_JSON_MAX.
 *
 * Paths of this host (the share, the configuration) and what a reload complained of are for the
 * owner, who asks over the control socket; they are not told to the network.
 *
 * Fetches and events are in wire_json_fetch.c; the way back is in wire_json_parse.c.
 */
#include "wire_json.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "codes.h"
#include "mem.h"
#include "wire_json_inner.h"

#define HOLDERS_SHOWN  16 /* peer ids in one row of a search */
#define CANDIDATES_MAX 64 /* rows in one problem document */

/* --- rows of a search --- */

static json_t *
holders_of(const char *holders)
{
	json_t *list = json_array();

	for (unsigned shown = 0; holders != NULL && *holders != '\0' && shown < HOLDERS_SHOWN;
	     shown++) {
		size_t len = strcspn(holders, " ");

		json_array_append_new(list, json_stringn(holders, len));
		holders += len;
		holders += strspn(holders, " ");
	}
	return list;
}

static json_t *
row_of(const struct catalog_found *found)
{
	json_t *row = json_object();

	wire_json_put_text(row, "name", found->name);
	wire_json_put_content(row, &found->content);
	wire_json_put_mtime(row, found->mtime_ns);
	wire_json_put_mode(row, found->mode);
	wire_json_put_bool(row, "local", found->is_local);
	wire_json_put_number(row, "holder_count", found->holder_count);
	json_object_set_new(row, "holders", holders_of(found->holders));
	return row;
}

static json_t *
directory_of(const struct catalog_found *found)
{
	json_t *row = json_object();

	wire_json_put_text(row, "name", found->name);
	wire_json_put_number(row, "files", found->files);
	wire_json_put_number(row, "bytes", found->bytes);
	wire_json_put_bool(row, "more", found->is_cut);
	return row;
}

struct wire_found {
	json_t *files, *directories; /* directories NULL: none is asked for */
};

struct wire_found *
wire_found_new(bool with_directories)
{
	struct wire_found *found = mem_zero(1, sizeof(*found));

	found->files = json_array();
	if (with_directories)
		found->directories = json_array();
	return found;
}

bool
wire_found_add(void *arg, const struct catalog_found *row)
{
	struct wire_found *found = arg;

	if (row->is_directory)
		json_array_append_new(found->directories, directory_of(row));
	else
		json_array_append_new(found->files, row_of(row));
	return true;
}

char *
wire_found_end(struct wire_found *found, const char *cursor)
{
	json_t *tree = json_object();

	json_object_set_new(tree, "files", found->files);
	if (found->directories != NULL)
		json_object_set_new(tree, "directories", found->directories);
	if (cursor != NULL && cursor[0] != '\0')
		wire_json_put_text(tree, "cursor", cursor);
	free(found);
	return wire_json_whole(tree);
}

/* --- problems --- */

struct wire_candidates {
	json_t *list;
};

struct wire_candidates *
wire_candidates_new(void)
{
	struct wire_candidates *candidates = mem_zero(1, sizeof(*candidates));

	candidates->list = json_array();
	return candidates;
}

void
wire_candidates_add(void *arg, const struct catalog_found *found)
{
	struct wire_candidates *candidates = arg;

	if (json_array_size(candidates->list) < CANDIDATES_MAX)
		json_array_append_new(candidates->list, row_of(found));
}

void
wire_candidates_free(struct wire_candidates *candidates)
{
	if (candidates == NULL)
		return;
	json_decref(candidates->list);
	free(candidates);
}

char *
wire_problem(const struct error *err, const struct wire_candidates *candidates)
{
	json_t *tree = json_object();
	const char *slug = code_slug(err->code);
	char *type = mem_format("about:blank#%s", slug);

	wire_json_put_text(tree, "type", type);
	wire_json_put_text(tree, "title", code_title(err->code));
	wire_json_put_number(tree, "status", (uint64_t)code_http(err->code));
	if (err->text[0] != '\0')
		wire_json_put_text(tree, "detail", err->text);
	wire_json_put_text(tree, "slug", slug);
	if (candidates != NULL && json_array_size(candidates->list) > 0)
		json_object_set(tree, "candidates", candidates->list);
	free(type);
	return wire_json_whole(tree);
}

/* --- this peer and others --- */

static json_t *
record_of(const struct node_record *node)
{
	json_t *tree = json_object();
	json_t *addresses = json_array();

	wire_json_put_text(tree, "id", node->id);
	wire_json_put_text(tree, "name", node->name);
	wire_json_put_text(tree, "version", node->version);
	for (size_t i = 0; i < node->address_count; i++)
		json_array_append_new(addresses, json_string(node->addresses[i]));
	json_object_set_new(tree, "addresses", addresses);
	wire_json_put_number(tree, "epoch", node->epoch);
	wire_json_put_number(tree, "seq", node->seq);
	wire_json_put_number(tree, "files", node->file_count);
	wire_json_put_number(tree, "bytes", node->byte_count);
	return tree;
}

static json_t *
index_of(const struct indexer_status *index)
{
	json_t *tree = json_object();

	wire_json_put_bool(tree, "ready", index->is_ready);
	wire_json_put_bool(tree, "scanning", index->is_scanning);
	wire_json_put_number(tree, "scans", index->scans);
	wire_json_put_number(tree, "queued_files", index->queued_files);
	wire_json_put_number(tree, "queued_bytes", index->queued_bytes);
	wire_json_put_number(tree, "hashed_files", index->hashed_files);
	wire_json_put_number(tree, "hashed_bytes", index->hashed_bytes);
	wire_json_put_number(tree, "unshareable", index->unshareable);
	return tree;
}

char *
wire_node(const struct service_node *node)
{
	json_t *tree = record_of(&node->self);

	wire_json_put_number(tree, "uptime_ms", node->uptime_ms);
	wire_json_put_number(tree, "peers_here", node->peers_here);
	wire_json_put_number(tree, "peers_known", node->peers_known);
	wire_json_put_number(tree, "fetches_active", node->fetches_active);
	wire_json_put_number(tree, "free_bytes", node->free_bytes);
	json_object_set_new(tree, "index", index_of(&node->index));
	if (node->trouble[0] != '\0')
		wire_json_put_text(tree, "trouble", node->trouble);
	return wire_json_whole(tree);
}

static json_t *
peer_of(const struct peer_info *peer)
{
	json_t *tree = json_object();

	wire_json_put_text(tree, "id", peer->id);
	wire_json_put_text(tree, "name", peer->name);
	wire_json_put_text(tree, "version", peer->version);
	wire_json_put_text(tree, "address", peer->address);
	wire_json_put_text(tree, "state", peer_state_name(peer->state));
	if (peer->round_trip_us != 0)
		wire_json_put_number(tree, "round_trip_us", peer->round_trip_us);
	wire_json_put_number(tree, "files", peer->file_count);
	wire_json_put_number(tree, "bytes", peer->byte_count);
	wire_json_put_number(tree, "epoch", peer->epoch);
	wire_json_put_number(tree, "seq", peer->seq);
	if (peer->heard_ms_ago != UINT64_MAX)
		wire_json_put_number(tree, "heard_ms_ago", peer->heard_ms_ago);
	if (peer->heard_wall_ms != 0)
		wire_json_put_time(tree, "heard", peer->heard_wall_ms);
	return tree;
}

char *
wire_peers(const struct peer_info *peers, size_t count)
{
	json_t *list = json_array();

	for (size_t i = 0; i < count; i++)
		json_array_append_new(list, peer_of(&peers[i]));
	return wire_json_whole_list("peers", list);
}

char *
wire_register_request(const struct node_hello *hello)
{
	json_t *tree = record_of(&hello->node);
	json_t *sums = json_array();

	for (size_t i = 0; hello->view.is_told && i < NODE_VIEW_SUMS; i++)
		json_array_append_new(sums, json_integer(hello->view.sums[i]));
	if (hello->view.is_told)
		json_object_set(tree, "view", sums);
	json_decref(sums);
	return wire_json_whole(tree);
}

char *
wire_register_answer(const struct node_record *mine, const struct node_record *known, size_t count)
{
	json_t *tree = json_object();
	json_t *peers = json_array();

	json_object_set_new(tree, "node", record_of(mine));
	for (size_t i = 0; i < count; i++)
		json_array_append_new(peers, record_of(&known[i]));
	json_object_set_new(tree, "peers", peers);
	return wire_json_whole(tree);
}

char *
wire_notice(const struct notice *notice)
{
	json_t *tree = json_object();

	wire_json_put_text(tree, "peer", notice->peer);
	wire_json_put_number(tree, "epoch", notice->epoch);
	wire_json_put_number(tree, "seq", notice->seq);
	if (notice->is_lost)
		wire_json_put_bool(tree, "lost", true);
	return wire_json_whole(tree);
}

/* --- catalogs --- */

static json_t *
change_of(const struct change *change)
{
	json_t *tree = json_object();

	wire_json_put_number(tree, "seq", change->seq);
	wire_json_put_text(tree, "name", change->name);
	if (change->is_removed) {
		wire_json_put_bool(tree, "removed", true);
		return tree;
	}
	wire_json_put_content(tree, &change->content);
	json_object_set_new(tree, "mtime_ns", json_integer(change->mtime_ns));
	wire_json_put_mode(tree, change->mode);
	return tree;
}

char *
wire_changes(const struct change_page *page)
{
	json_t *tree = json_object();
	json_t *list = json_array();

	wire_json_put_text(tree, "peer", page->peer);
	wire_json_put_number(tree, "epoch", page->epoch);
	wire_json_put_number(tree, "since", page->since);
	wire_json_put_number(tree, "through", page->through);
	wire_json_put_number(tree, "head", page->head);
	wire_json_put_bool(tree, "reset", page->is_reset);
	wire_json_put_number(tree, "files", page->file_count);
	wire_json_put_number(tree, "bytes", page->byte_count);
	for (size_t i = 0; i < page->count; i++)
		json_array_append_new(list, change_of(&page->items[i]));
	json_object_set_new(tree, "changes", list);
	return wire_json_whole(tree);
}

/* --- files --- */

char *
wire_stored(const char *name, const struct service_stored *stored)
{
	json_t *tree = json_object();

	wire_json_put_text(tree, "name", name);
	wire_json_put_content(tree, &stored->content);
	wire_json_put_bool(tree, "new", stored->is_new);
	return wire_json_whole(tree);
}

/* --- holdings --- */

static void
put_pieces(json_t *object, const char *key, const uint64_t *pieces, size_t count)
{
	json_t *list = json_array();

	for (size_t i = 0; i < count; i++)
		json_array_append_new(list, json_integer((json_int_t)pieces[i]));
	json_object_set_new(object, key, list);
}

static void
put_bits(json_t *object, const struct holding_answer *answer)
{
	static const char digits[] = "0123456789abcdef";
	char *hex = mem_alloc(2 * answer->bits_len + 1);

	for (size_t i = 0; i < answer->bits_len; i++) {
		hex[2 * i] = digits[answer->bits[i] >> 4];
		hex[2 * i + 1] = digits[answer->bits[i] & 15];
	}
	hex[2 * answer->bits_len] = '\0';
	wire_json_put_text(object, "bits", hex);
	free(hex);
}

char *
wire_have(const struct content_id *content, const struct holding_answer *answer)
{
	json_t *tree = json_object(), *peers = json_array();
	char next[24];

	wire_json_put_content(tree, content);
	wire_json_put_bool(tree, "complete", answer->is_whole);
	snprintf(next, sizeof(next), "%" PRIu64, answer->next);
	wire_json_put_text(tree, "next", next);
	wire_json_put_bool(tree, "full", answer->is_full);
	if (answer->is_full && !answer->is_whole)
		put_bits(tree, answer);
	put_pieces(tree, "pieces", answer->pieces, answer->piece_count);
	put_pieces(tree, "coming", answer->coming, answer->coming_count);
	for (size_t i = 0; i < answer->peer_count; i++)
		json_array_append_new(peers, json_string(answer->peers[i]));
	json_object_set_new(tree, "peers", peers);
	return wire_json_whole(tree);
}
