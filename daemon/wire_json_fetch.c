/* SPDX-License-Identifier: MIT
 *
 * wire_json_fetch.c - fetches, their holders, and events, as JSON.
 */
#include <inttypes.h>
#include <stdio.h>

#include "codes.h"
#include "wire_json.h"
#include "wire_json_inner.h"

/* Why something waits or failed, if it does. */
static void
put_reason(json_t *object, int code, const char *text)
{
	if (code == P2P_OK)
		return;
	wire_json_put_text(object, "slug", code_slug(code));
	wire_json_put_text(object, "detail", text != NULL ? text : code_title(code));
}

static json_t *
fetch_of(const struct fetch_info *info)
{
	json_t *tree = json_object();

	wire_json_put_number(tree, "id", info->id);
	wire_json_put_text(tree, "what", info->what != NULL ? info->what : "");
	wire_json_put_text(tree, "state", fetch_state_name(info->state));
	wire_json_put_bool(tree, "foreign", info->is_foreign);
	wire_json_put_text(tree, "priority", fetch_priority_name(info->priority));
	wire_json_put_bool(tree, "front", info->is_front);
	wire_json_put_number(tree, "done_bytes", info->done_bytes);
	wire_json_put_number(tree, "total_bytes", info->total_bytes);
	wire_json_put_number(tree, "done_files", info->done_files);
	wire_json_put_number(tree, "failed_files", info->failed_files);
	wire_json_put_number(tree, "total_files", info->total_files);
	wire_json_put_number(tree, "rate_bps", info->rate_bps);
	if (info->eta_ms != UINT64_MAX)
		wire_json_put_number(tree, "eta_ms", info->eta_ms);
	wire_json_put_number(tree, "sources", info->sources);
	if (info->transport != NULL)
		wire_json_put_text(tree, "transport", info->transport);
	wire_json_put_time(tree, "started", info->started_wall_ms);
	if (info->ended_wall_ms != 0)
		wire_json_put_time(tree, "ended", info->ended_wall_ms);
	if (info->current != NULL)
		wire_json_put_text(tree, "current", info->current);
	put_reason(tree, info->code, info->text);
	if (info->code == P2P_OK && info->text != NULL)
		wire_json_put_text(tree, "detail", info->text);
	return tree;
}

static json_t *
holder_of(const struct fetch_holder *holder)
{
	const char *transport = fetch_wires_name(holder->carried);
	json_t *tree = json_object();

	wire_json_put_text(tree, "peer", holder->peer);
	if (holder->name[0] != '\0')
		wire_json_put_text(tree, "name", holder->name);
	wire_json_put_text(tree, "state", fetch_holder_state_name(holder->state));
	wire_json_put_bool(tree, "whole", holder->is_whole);
	wire_json_put_number(tree, "pieces", holder->pieces_held);
	wire_json_put_number(tree, "asks", holder->asks);
	wire_json_put_number(tree, "rate_bps", holder->rate_bps);
	wire_json_put_number(tree, "bytes", holder->bytes);
	wire_json_put_number(tree, "verified_pieces", holder->pieces);
	if (transport != NULL)
		wire_json_put_text(tree, "transport", transport);
	if (holder->rest_ms != 0)
		wire_json_put_number(tree, "rest_ms", holder->rest_ms);
	if (holder->why != NULL)
		wire_json_put_text(tree, "detail", holder->why);
	return tree;
}

char *
wire_fetch(const struct fetch_info *info)
{
	json_t *tree = fetch_of(info), *holders = json_array();

	for (size_t i = 0; i < info->holder_count; i++)
		json_array_append_new(holders, holder_of(&info->holders[i]));
	json_object_set_new(tree, "holders", holders);
	return wire_json_whole(tree);
}

char *
wire_fetches(const struct fetch_info *infos, size_t count)
{
	json_t *list = json_array();

	for (size_t i = 0; i < count; i++)
		json_array_append_new(list, fetch_of(&infos[i]));
	return wire_json_whole_list("fetches", list);
}

char *
wire_fetch_started(const struct service_fetch_started *started)
{
	json_t *tree = json_object();

	wire_json_put_number(tree, "id", started->id);
	wire_json_put_number(tree, "files", started->files);
	wire_json_put_number(tree, "present", started->present);
	wire_json_put_number(tree, "bytes", started->bytes);
	return wire_json_whole(tree);
}

static void
put_progress(json_t *tree, const struct event *event)
{
	wire_json_put_number(tree, "fetch", event->fetch);
	wire_json_put_number(tree, "done_bytes", event->done_bytes);
	wire_json_put_number(tree, "total_bytes", event->total_bytes);
	wire_json_put_number(tree, "done_files", event->done_files);
	wire_json_put_number(tree, "total_files", event->total_files);
	wire_json_put_number(tree, "rate_bps", event->rate_bps);
	wire_json_put_number(tree, "sources", event->sources);
}

char *
wire_event(const struct event *event, uint64_t run)
{
	json_t *tree = json_object();
	char id[48];

	if (event_has_id(event)) {
		snprintf(id, sizeof(id), "%" PRIu64 "-%" PRIu64, run, event->id);
		wire_json_put_text(tree, "id", id);
	}
	wire_json_put_text(tree, "event", event_name(event->kind));
	wire_json_put_time(tree, "time", event->wall_ms);
	if (event->peer[0] != '\0')
		wire_json_put_text(tree, "peer", event->peer);
	if (event->peer_name != NULL)
		wire_json_put_text(tree, "peer_name", event->peer_name);
	if (event->name != NULL)
		wire_json_put_text(tree, "name", event->name);
	if (event->has_content)
		wire_json_put_content(tree, &event->content);
	if (event->mtime_ns != 0)
		wire_json_put_mtime(tree, event->mtime_ns);
	if (event->follow != 0)
		wire_json_put_number(tree, "follow", event->follow);
	if (event->fetch != 0)
		put_progress(tree, event);
	if (event->lost != 0)
		wire_json_put_number(tree, "lost", event->lost);
	if (event->code != P2P_OK)
		wire_json_put_text(tree, "slug", code_slug(event->code));
	if (event_text(event) != NULL)
		wire_json_put_text(tree, "text", event_text(event));
	return wire_json_whole(tree);
}
