/* SPDX-License-Identifier: MIT
 *
 * control_follows.c - the control commands about follows: follow, unfollow, follows.  On the pool.
 */
#include "control_commands.h"

void
cmd_follow(struct command *command)
{
	struct service_follow follow = { .origin = SERVICE_OWNER,
					 .pattern = command_argument(command),
					 .place = line_value(&command->line, "place") };
	struct error err;
	uint64_t id;

	if (!command_take_flag(command, "replace", &follow.replace))
		return;
	if (service_follow(command->service, &follow, &id, &err) != P2P_OK) {
		reply_error(command, &err);
		return;
	}
	reply_final(command, 200);
	reply_number(&command->reply, "follow", id);
	reply_end(&command->reply);
}

/* A number means a follow; what is none, a pattern. */
void
cmd_unfollow(struct command *command)
{
	const char *text = command_argument(command);
	struct error err;
	uint64_t id;
	size_t count = 1;
	int code =
	    command_parse_number(text, 10, UINT64_MAX, &id)
		? service_unfollow(command->service, SERVICE_OWNER, id, &err)
		: service_unfollow_pattern(command->service, SERVICE_OWNER, text, &count, &err);

	if (code == P2P_OK)
		command_put_count(command, count);
	else
		reply_error(command, &err);
}

static void
put_follow(struct buf *out, const struct service_follow_info *info)
{
	reply_record(out, 200, "follow");
	reply_number(out, "id", info->id);
	reply_text(out, "pattern", info->pattern);
	reply_text(out, "place", info->place[0] != '\0' ? info->place : NULL);
	reply_flag(out, "replace", info->replace);
	reply_signed(out, "since_wall_ms", info->since_wall_ms);
	reply_number(out, "files", info->files);
	reply_number(out, "bytes", info->bytes);
	reply_end(out);
}

void
cmd_follows(struct command *command)
{
	struct service_follow_info *infos;
	struct error err;
	uint64_t after = 0, next = 0;
	size_t count, told = 0;

	if (!command_take_number(command, "after", 10, UINT64_MAX, &after))
		return;
	if (service_follows(command->service, &infos, &count, &err) != P2P_OK) {
		reply_error(command, &err);
		return;
	}
	for (size_t i = 0; i < count && next == 0; i++) {
		if (infos[i].id <= after)
			continue;
		put_follow(&command->reply, &infos[i]);
		told++;
		if (command_is_full(command) && i + 1 < count)
			next = infos[i].id;
	}
	service_follows_free(infos, count);
	reply_final(command, 200);
	reply_number(&command->reply, "count", told);
	if (next != 0)
		reply_number(&command->reply, "after", next);
	reply_end(&command->reply);
}
