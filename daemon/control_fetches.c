/* SPDX-License-Identifier: MIT
 *
 * control_fetches.c - the control commands about fetches: fetch (on the pool), fetches, prioritize,
 * cancel.
 *
 * A fetch with to=fd gets two descriptors that the user opened; command->fetch then tells the
 * connection that it is to be ended with it.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control_commands.h"

/* The argument as the number of a fetch. */
static bool
take_fetch(struct command *command, uint64_t *ret)
{
	if (command_parse_number(command_argument(command), 10, UINT64_MAX, ret))
		return true;
	reply_errorf(command, P2P_BAD_REQUEST, "A fetch is named by its number; see fetches");
	return false;
}

struct candidates {
	struct command *command;
	size_t count;
};

static void
on_candidate(void *arg, const struct catalog_found *candidate)
{
	struct candidates *all = arg;

	if (all->count++ < CONTROL_CANDIDATES_MAX)
		reply_file(&all->command->reply, 409, "candidate", candidate);
}

/* root= and size=, both or none. */
static bool
take_content(struct command *command, struct content_id *content, const struct content_id **ret)
{
	const char *root = line_value(&command->line, "root");

	if ((root == NULL) != (line_value(&command->line, "size") == NULL)) {
		reply_errorf(command, P2P_BAD_REQUEST,
			     "root= and size= go together: a root does not bind the length");
		return false;
	}
	if (root == NULL)
		return true;
	if (!digest_parse_hex(root, &content->root)) {
		reply_errorf(command, P2P_BAD_REQUEST, "root= wants 64 hex digits");
		return false;
	}
	*ret = content;
	return command_take_number(command, "size", 10, INT64_MAX, &content->size_bytes);
}

/* to=fd: hands the two descriptors on. */
static bool
take_target(struct command *command, struct service_fetch *fetch)
{
	static const char *const targets[] = { "share", "fd", NULL };
	size_t target = 0;

	if (!command_take_choice(command, "to", targets, &target))
		return false;
	if (target == 0)
		return true;
	if (!command_check_fds(command, 2, O_RDWR))
		return false;
	fetch->data_fd = command->fds[0];
	fetch->have_fd = command->fds[1];
	return true;
}

static void
put_started(struct command *command, const struct service_fetch_started *started)
{
	struct buf *out = &command->reply;

	reply_final(command, started->id != 0 ? 202 : 200);
	reply_number(out, "fetch", started->id);
	reply_number(out, "files", started->files);
	reply_number(out, "present", started->present);
	reply_number(out, "bytes", started->bytes);
	reply_end(out);
}

static bool
take_priority(struct command *command, enum fetch_priority *ret)
{
	const char *text = line_value(&command->line, "priority");

	if (text == NULL || fetch_priority_parse(text, ret))
		return true;
	reply_errorf(command, P2P_BAD_REQUEST, "priority= wants low, normal or high");
	return false;
}

void
cmd_fetch(struct command *command)
{
	struct service_fetch fetch = { .origin = SERVICE_OWNER,
				       .what = command_argument(command),
				       .data_fd = -1,
				       .have_fd = -1 };
	struct content_id content;
	struct service_fetch_started started = { 0 };
	struct candidates all = { .command = command };
	struct error err;

	if (!command_take_flag(command, "replace", &fetch.replace) ||
	    !take_priority(command, &fetch.priority) ||
	    !take_content(command, &content, &fetch.content) || !take_target(command, &fetch))
		return;
	bool is_foreign = fetch.data_fd >= 0;
	if (is_foreign)
		command->fds[0] = command->fds[1] = -1; /* taken, even on failure */
	int code = service_fetch(command->service, &fetch, on_candidate, &all, &started, &err);
	if (code == P2P_OK) {
		if (is_foreign)
			command->fetch = started.id;
		put_started(command, &started);
		return;
	}
	if (code != P2P_AMBIGUOUS)
		buf_reset(&command->reply);
	reply_error(command, &err);
}

static void
put_fetch_progress(struct buf *out, const struct fetch_info *info)
{
	reply_number(out, "total_bytes", info->total_bytes);
	reply_number(out, "done_bytes", info->done_bytes);
	reply_number(out, "total_files", info->total_files);
	reply_number(out, "done_files", info->done_files);
	reply_number(out, "failed_files", info->failed_files);
	reply_number(out, "rate_bps", info->rate_bps);
	if (info->eta_ms != UINT64_MAX)
		reply_number(out, "eta_ms", info->eta_ms);
	reply_number(out, "sources", info->sources);
}

static void
put_fetch(struct buf *out, const struct fetch_info *info)
{
	reply_record(out, 200, "fetch");
	reply_number(out, "id", info->id);
	reply_text(out, "state", fetch_state_name(info->state));
	reply_text(out, "what", info->what);
	reply_text(out, "to", info->is_foreign ? "fd" : "share");
	reply_text(out, "priority", fetch_priority_name(info->priority));
	reply_text(out, "front", info->is_front ? "yes" : "no");
	put_fetch_progress(out, info);
	reply_signed(out, "started_wall_ms", info->started_wall_ms);
	if (info->ended_wall_ms != 0)
		reply_signed(out, "ended_wall_ms", info->ended_wall_ms);
	reply_text(out, "current", info->current);
	reply_text(out, "transport", info->transport);
	reply_text(out, "slug", info->code != P2P_OK ? code_slug(info->code) : NULL);
	reply_text(out, "text", info->text);
	reply_end(out);
}

/* Of one fetch: whom it comes from. */
static void
put_holder(struct buf *out, uint64_t id, const struct fetch_holder *holder)
{
	reply_record(out, 200, "holder");
	reply_number(out, "fetch", id);
	reply_text(out, "peer", holder->peer);
	reply_text(out, "name", holder->name[0] != '\0' ? holder->name : NULL);
	reply_text(out, "state", fetch_holder_state_name(holder->state));
	reply_text(out, "whole", holder->is_whole ? "yes" : "no");
	reply_number(out, "pieces", holder->pieces_held);
	reply_number(out, "asks", holder->asks);
	reply_number(out, "rate_bps", holder->rate_bps);
	reply_number(out, "bytes", holder->bytes);
	reply_number(out, "verified_pieces", holder->pieces);
	reply_text(out, "transport", fetch_wires_name(holder->carried));
	if (holder->rest_ms != 0)
		reply_number(out, "rest_ms", holder->rest_ms);
	reply_text(out, "text", holder->why);
	reply_end(out);
}

static void
answer_one_fetch(struct command *command)
{
	struct fetch_info info;
	struct error err;
	uint64_t id;

	if (!take_fetch(command, &id))
		return;
	if (service_fetch_get(command->service, id, &info, &err) != P2P_OK) {
		reply_error(command, &err);
		return;
	}
	put_fetch(&command->reply, &info);
	for (size_t i = 0; i < info.holder_count; i++)
		put_holder(&command->reply, id, &info.holders[i]);
	command_put_count(command, 1);
	fetch_info_fini(&info);
}

void
cmd_fetches(struct command *command)
{
	struct fetch_info *all = NULL;
	size_t count = 0, told = 0;
	uint64_t after = 0, next = 0;

	if (command_argument(command) != NULL) {
		answer_one_fetch(command);
		return;
	}
	if (!command_take_number(command, "after", 10, UINT64_MAX, &after))
		return;
	int code = service_fetches(command->service, &all, &count);
	if (code != P2P_OK) {
		reply_errorf(command, code, "%s", code_title(code));
		return;
	}
	for (size_t i = 0; i < count; i++) {
		if (all[i].id > after && next == 0) {
			put_fetch(&command->reply, &all[i]);
			told++;
			if (command_is_full(command) && i + 1 < count)
				next = all[i].id;
		}
		fetch_info_fini(&all[i]);
	}
	free(all);
	reply_final(command, 200);
	reply_number(&command->reply, "count", told);
	if (next != 0)
		reply_number(&command->reply, "after", next);
	reply_end(&command->reply);
}

void
cmd_prioritize(struct command *command)
{
	struct error err;
	uint64_t id;

	if (!take_fetch(command, &id))
		return;
	if (service_prioritize(command->service, SERVICE_OWNER, id, command->line.words[2],
			       &err) != P2P_OK) {
		reply_error(command, &err);
		return;
	}
	reply_final(command, 200);
	reply_number(&command->reply, "fetch", id);
	reply_end(&command->reply);
}

void
cmd_cancel(struct command *command)
{
	struct error err;
	uint64_t id;

	if (!take_fetch(command, &id))
		return;
	if (service_cancel(command->service, SERVICE_OWNER, id, &err) != P2P_OK) {
		reply_error(command, &err);
		return;
	}
	reply_final(command, 200);
	reply_number(&command->reply, "fetch", id);
	reply_end(&command->reply);
}
