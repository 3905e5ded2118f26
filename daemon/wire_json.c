/* SPDX-License-Identifier: MIT
 *
 * wire_json.c - what the REST face says, as JSON.
 *
 * Each encoder builds a jansson tree and prints it compactly; field order is the order in which a
 * person would want to read.  Nothing here fails: every value was checked where it came in, and
 * memory does not run out (the constructor below gives jansson the allocator that ends the
 * process).  Text that may hold foreign bytes (an error that quotes a name) is repaired to valid
 * UTF-8.
 *
 * What a document may grow to is bounded by what goes in: pages have at most 1,000 rows, and a row
 * of a search names at most HOLDERS_SHOWN of its holders beside their number, so that every
 * document stays below WIRE_JSON_MAX.
 *
 * Paths of this host (the share, the configuration) and what a reload complained of are for the
 * owner, who asks over the control socket; they are not told to the network.
 *
 * The way back is in wire_json_parse.c.
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

#define HOLDERS_SHOWN  16 /* peer ids in one row of a search */
#define CANDIDATES_MAX 64 /* rows in one problem document */

static __attribute__((constructor)) void
use_our_allocator(void)
{
	json_set_alloc_funcs(mem_alloc, free);
}

/* --- values --- */

/* A copy of `text` in which every byte that is not part of valid UTF-8 became `?`. */
static json_t *
repaired(const char *text)
{
	size_t len = strlen(text);
	char *copy = mem_string(text);
	json_t *value;

	for (size_t i = 0; i < len; i++)
		if ((unsigned char)copy[i] >= 0x80)
			copy[i] = '?';
	value = json_string(copy);
	free(copy);
	return value;
}

static void
put_text(json_t *object, const char *key, const char *text)
{
	json_t *value = json_string(text);

	json_object_set_new(object, key, value != NULL ? value : repaired(text));
}

static void
put_number(json_t *object, const char *key, uint64_t number)
{
	json_object_set_new(object, key, json_integer((json_int_t)number));
}

static void
put_bool(json_t *object, const char *key, bool value)
{
	json_object_set_new(object, key, json_boolean(value));
}

static void
put_time(json_t *object, const char *key, int64_t wall_ms)
{
	char text[CLOCK_RFC3339_SIZE];

	clock_rfc3339(wall_ms, text);
	put_text(object, key, text);
}

static void
put_content(json_t *object, const struct content_id *content)
{
	char hex[DIGEST_HEX_SIZE];

	digest_hex(&content->root, hex);
	put_number(object, "size", content->size_bytes);
	put_text(object, "root", hex);
}

/* Permission bits as people write them. */
static void
put_mode(json_t *object, uint32_t mode)
{
	char text[8];

	snprintf(text, sizeof(text), "%04o", mode & 0777);
	put_text(object, "mode", text);
}

static void
put_mtime(json_t *object, int64_t mtime_ns)
{
	put_time(object, "mtime", mtime_ns / 1000000);
	json_object_set_new(object, "mtime_ns", json_integer(mtime_ns));
}

/* Prints and frees the tree. */
static char *
whole(json_t *tree)
{
	char *text = json_dumps(tree, JSON_COMPACT);

	json_decref(tree);
	return text != NULL ? text : mem_string("{}");
}

/* {"<key>": [...]} */
static char *
whole_list(const char *key, json_t *list)
{
	json_t *tree = json_object();

	json_object_set_new(tree, key, list);
	return whole(tree);
}

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

	put_text(row, "name", found->name);
	put_content(row, &found->content);
	put_mtime(row, found->mtime_ns);
	put_mode(row, found->mode);
	put_bool(row, "local", found->is_local);
	put_number(row, "holder_count", found->holder_count);
	json_object_set_new(row, "holders", holders_of(found->holders));
	return row;
}

struct wire_found {
	json_t *files;
};

struct wire_found *
wire_found_new(void)
{
	struct wire_found *found = mem_zero(1, sizeof(*found));

	found->files = json_array();
	return found;
}

bool
wire_found_add(void *arg, const struct catalog_found *row)
{
	struct wire_found *found = arg;

	json_array_append_new(found->files, row_of(row));
	return true;
}

char *
wire_found_end(struct wire_found *found, const char *cursor)
{
	json_t *tree = json_object();

	json_object_set_new(tree, "files", found->files);
	if (cursor != NULL && cursor[0] != '\0')
		put_text(tree, "cursor", cursor);
	free(found);
	return whole(tree);
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

	put_text(tree, "type", type);
	put_text(tree, "title", code_title(err->code));
	put_number(tree, "status", (uint64_t)code_http(err->code));
	if (err->text[0] != '\0')
		put_text(tree, "detail", err->text);
	put_text(tree, "slug", slug);
	if (candidates != NULL && json_array_size(candidates->list) > 0)
		json_object_set(tree, "candidates", candidates->list);
	free(type);
	return whole(tree);
}

/* --- this peer and others --- */

static json_t *
record_of(const struct node_record *node)
{
	json_t *tree = json_object();
	json_t *addresses = json_array();

	put_text(tree, "id", node->id);
	put_text(tree, "name", node->name);
	put_text(tree, "version", node->version);
	for (size_t i = 0; i < node->address_count; i++)
		json_array_append_new(addresses, json_string(node->addresses[i]));
	json_object_set_new(tree, "addresses", addresses);
	put_number(tree, "epoch", node->epoch);
	put_number(tree, "seq", node->seq);
	put_number(tree, "files", node->file_count);
	put_number(tree, "bytes", node->byte_count);
	return tree;
}

static json_t *
index_of(const struct indexer_status *index)
{
	json_t *tree = json_object();

	put_bool(tree, "ready", index->is_ready);
	put_bool(tree, "scanning", index->is_scanning);
	put_number(tree, "scans", index->scans);
	put_number(tree, "queued_files", index->queued_files);
	put_number(tree, "queued_bytes", index->queued_bytes);
	put_number(tree, "hashed_files", index->hashed_files);
	put_number(tree, "hashed_bytes", index->hashed_bytes);
	put_number(tree, "unshareable", index->unshareable);
	return tree;
}

char *
wire_node(const struct service_node *node)
{
	json_t *tree = record_of(&node->self);

	put_number(tree, "uptime_ms", node->uptime_ms);
	put_number(tree, "peers_here", node->peers_here);
	put_number(tree, "peers_known", node->peers_known);
	put_number(tree, "fetches_active", node->fetches_active);
	put_number(tree, "free_bytes", node->free_bytes);
	json_object_set_new(tree, "index", index_of(&node->index));
	if (node->trouble[0] != '\0')
		put_text(tree, "trouble", node->trouble);
	return whole(tree);
}

static json_t *
peer_of(const struct peer_info *peer)
{
	json_t *tree = json_object();

	put_text(tree, "id", peer->id);
	put_text(tree, "name", peer->name);
	put_text(tree, "version", peer->version);
	put_text(tree, "address", peer->address);
	put_text(tree, "state", peer_state_name(peer->state));
	if (peer->round_trip_us != 0)
		put_number(tree, "round_trip_us", peer->round_trip_us);
	put_number(tree, "files", peer->file_count);
	put_number(tree, "bytes", peer->byte_count);
	put_number(tree, "epoch", peer->epoch);
	put_number(tree, "seq", peer->seq);
	if (peer->heard_ms_ago != UINT64_MAX)
		put_number(tree, "heard_ms_ago", peer->heard_ms_ago);
	if (peer->heard_wall_ms != 0)
		put_time(tree, "heard", peer->heard_wall_ms);
	return tree;
}

char *
wire_peers(const struct peer_info *peers, size_t count)
{
	json_t *list = json_array();

	for (size_t i = 0; i < count; i++)
		json_array_append_new(list, peer_of(&peers[i]));
	return whole_list("peers", list);
}

char *
wire_register_request(const struct node_record *mine)
{
	return whole(record_of(mine));
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
	return whole(tree);
}

char *
wire_notice(const struct notice *notice)
{
	json_t *tree = json_object();

	put_text(tree, "peer", notice->peer);
	put_number(tree, "epoch", notice->epoch);
	put_number(tree, "seq", notice->seq);
	if (notice->is_lost)
		put_bool(tree, "lost", true);
	return whole(tree);
}

/* --- catalogs --- */

static json_t *
change_of(const struct change *change)
{
	json_t *tree = json_object();

	put_number(tree, "seq", change->seq);
	put_text(tree, "name", change->name);
	if (change->is_removed) {
		put_bool(tree, "removed", true);
		return tree;
	}
	put_content(tree, &change->content);
	json_object_set_new(tree, "mtime_ns", json_integer(change->mtime_ns));
	put_mode(tree, change->mode);
	return tree;
}

char *
wire_changes(const struct change_page *page)
{
	json_t *tree = json_object();
	json_t *list = json_array();

	put_text(tree, "peer", page->peer);
	put_number(tree, "epoch", page->epoch);
	put_number(tree, "since", page->since);
	put_number(tree, "through", page->through);
	put_number(tree, "head", page->head);
	put_bool(tree, "reset", page->is_reset);
	put_number(tree, "files", page->file_count);
	put_number(tree, "bytes", page->byte_count);
	for (size_t i = 0; i < page->count; i++)
		json_array_append_new(list, change_of(&page->items[i]));
	json_object_set_new(tree, "changes", list);
	return whole(tree);
}

/* --- files --- */

char *
wire_stored(const char *name, const struct service_stored *stored)
{
	json_t *tree = json_object();

	put_text(tree, "name", name);
	put_content(tree, &stored->content);
	put_bool(tree, "new", stored->is_new);
	return whole(tree);
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
	put_text(object, "bits", hex);
	free(hex);
}

char *
wire_have(const struct content_id *content, const struct holding_answer *answer)
{
	json_t *tree = json_object(), *peers = json_array();
	char next[24];

	put_content(tree, content);
	put_bool(tree, "complete", answer->is_whole);
	snprintf(next, sizeof(next), "%" PRIu64, answer->next);
	put_text(tree, "next", next);
	put_bool(tree, "full", answer->is_full);
	if (answer->is_full && !answer->is_whole)
		put_bits(tree, answer);
	put_pieces(tree, "pieces", answer->pieces, answer->piece_count);
	put_pieces(tree, "coming", answer->coming, answer->coming_count);
	for (size_t i = 0; i < answer->peer_count; i++)
		json_array_append_new(peers, json_string(answer->peers[i]));
	json_object_set_new(tree, "peers", peers);
	return whole(tree);
}

/* --- fetches and events --- */

/* Why something waits or failed, if it does. */
static void
put_reason(json_t *object, int code, const char *text)
{
	if (code == P2P_OK)
		return;
	put_text(object, "slug", code_slug(code));
	put_text(object, "detail", text != NULL ? text : code_title(code));
}

static json_t *
fetch_of(const struct fetch_info *info)
{
	json_t *tree = json_object();

	put_number(tree, "id", info->id);
	put_text(tree, "what", info->what != NULL ? info->what : "");
	put_text(tree, "state", fetch_state_name(info->state));
	put_bool(tree, "foreign", info->is_foreign);
	put_text(tree, "priority", fetch_priority_name(info->priority));
	put_bool(tree, "front", info->is_front);
	put_number(tree, "done_bytes", info->done_bytes);
	put_number(tree, "total_bytes", info->total_bytes);
	put_number(tree, "done_files", info->done_files);
	put_number(tree, "failed_files", info->failed_files);
	put_number(tree, "total_files", info->total_files);
	put_number(tree, "rate_bps", info->rate_bps);
	if (info->eta_ms != UINT64_MAX)
		put_number(tree, "eta_ms", info->eta_ms);
	put_number(tree, "sources", info->sources);
	if (info->transport != NULL)
		put_text(tree, "transport", info->transport);
	put_time(tree, "started", info->started_wall_ms);
	if (info->ended_wall_ms != 0)
		put_time(tree, "ended", info->ended_wall_ms);
	if (info->current != NULL)
		put_text(tree, "current", info->current);
	put_reason(tree, info->code, info->text);
	if (info->code == P2P_OK && info->text != NULL)
		put_text(tree, "detail", info->text);
	return tree;
}

static json_t *
holder_of(const struct fetch_holder *holder)
{
	const char *transport = fetch_wires_name(holder->carried);
	json_t *tree = json_object();

	put_text(tree, "peer", holder->peer);
	if (holder->name[0] != '\0')
		put_text(tree, "name", holder->name);
	put_text(tree, "state", fetch_holder_state_name(holder->state));
	put_bool(tree, "whole", holder->is_whole);
	put_number(tree, "pieces", holder->pieces_held);
	put_number(tree, "asks", holder->asks);
	put_number(tree, "rate_bps", holder->rate_bps);
	put_number(tree, "bytes", holder->bytes);
	put_number(tree, "verified_pieces", holder->pieces);
	if (transport != NULL)
		put_text(tree, "transport", transport);
	if (holder->rest_ms != 0)
		put_number(tree, "rest_ms", holder->rest_ms);
	if (holder->why != NULL)
		put_text(tree, "detail", holder->why);
	return tree;
}

char *
wire_fetch(const struct fetch_info *info)
{
	json_t *tree = fetch_of(info), *holders = json_array();

	for (size_t i = 0; i < info->holder_count; i++)
		json_array_append_new(holders, holder_of(&info->holders[i]));
	json_object_set_new(tree, "holders", holders);
	return whole(tree);
}

char *
wire_fetches(const struct fetch_info *infos, size_t count)
{
	json_t *list = json_array();

	for (size_t i = 0; i < count; i++)
		json_array_append_new(list, fetch_of(&infos[i]));
	return whole_list("fetches", list);
}

char *
wire_fetch_started(const struct service_fetch_started *started)
{
	json_t *tree = json_object();

	put_number(tree, "id", started->id);
	put_number(tree, "files", started->files);
	put_number(tree, "present", started->present);
	put_number(tree, "bytes", started->bytes);
	return whole(tree);
}

static void
put_progress(json_t *tree, const struct event *event)
{
	put_number(tree, "fetch", event->fetch);
	put_number(tree, "done_bytes", event->done_bytes);
	put_number(tree, "total_bytes", event->total_bytes);
	put_number(tree, "done_files", event->done_files);
	put_number(tree, "total_files", event->total_files);
	put_number(tree, "rate_bps", event->rate_bps);
	put_number(tree, "sources", event->sources);
}

char *
wire_event(const struct event *event, uint64_t run)
{
	json_t *tree = json_object();
	char id[48];

	if (event_has_id(event)) {
		snprintf(id, sizeof(id), "%" PRIu64 "-%" PRIu64, run, event->id);
		put_text(tree, "id", id);
	}
	put_text(tree, "event", event_name(event->kind));
	put_time(tree, "time", event->wall_ms);
	if (event->peer[0] != '\0')
		put_text(tree, "peer", event->peer);
	if (event->peer_name != NULL)
		put_text(tree, "peer_name", event->peer_name);
	if (event->name != NULL)
		put_text(tree, "name", event->name);
	if (event->has_content)
		put_content(tree, &event->content);
	if (event->mtime_ns != 0)
		put_mtime(tree, event->mtime_ns);
	if (event->follow != 0)
		put_number(tree, "follow", event->follow);
	if (event->fetch != 0)
		put_progress(tree, event);
	if (event->lost != 0)
		put_number(tree, "lost", event->lost);
	if (event->code != P2P_OK)
		put_text(tree, "slug", code_slug(event->code));
	if (event->text != NULL || event->code != P2P_OK)
		put_text(tree, "text", event->text != NULL ? event->text : code_title(event->code));
	return whole(tree);
}
