/* SPDX-License-Identifier: MIT
 *
 * control_commands.c - the table of the control commands, what their handlers share, and the
 * commands about this peer.
 *
 * proto/control.def is expanded here into the table that control_conn.c dispatches by (it checks
 * the number of words, and the keys against the syntax), and thereby into `help`;
 * control_commands.h expands it into the prototypes of the handlers.  A handler decodes what is
 * left, asks service, and writes records and one final line into command->reply.  It decides
 * nothing that another face would have to decide too.
 *
 * Handlers marked HAND in the table run on the pool and touch nothing but their command; in
 * particular not command->conn, which may be gone.
 */
#include "control_commands.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"

/* A list ends its page before its reply has less room than this. */
#define ROOM_FOR_MORE (2 * LINE_MAX_BYTES)

static const struct command_row rows[] = {
#define COMMAND(name, syntax, help, min, max, where) \
	{ #name, syntax, help, min, max, COMMAND_##where, cmd_##name },
#include "control.def"
#undef COMMAND
};

const struct command_row *
command_at(size_t index)
{
	return index < sizeof(rows) / sizeof(rows[0]) ? &rows[index] : NULL;
}

const struct command_row *
command_find(const char *name)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (strcmp(rows[i].name, name) == 0)
			return &rows[i];
	return NULL;
}

/* --- decoding --- */

const char *
command_argument(const struct command *command)
{
	return command->line.word_count > 1 ? command->line.words[1] : NULL;
}

bool
command_parse_number(const char *text, int base, uint64_t max, uint64_t *ret)
{
	uint64_t number = 0;

	if (text[0] == '\0')
		return false;
	for (; *text != '\0'; text++) {
		if (*text < '0' || *text >= '0' + base)
			return false;
		uint64_t digit = (uint64_t)(*text - '0');
		if (number > (max - digit) / (uint64_t)base)
			return false;
		number = number * (uint64_t)base + digit;
	}
	*ret = number;
	return true;
}

bool
command_take_number(struct command *command, const char *key, int base, uint64_t max, uint64_t *ret)
{
	const char *text = line_value(&command->line, key);

	if (text == NULL || command_parse_number(text, base, max, ret))
		return true;
	reply_errorf(command, P2P_BAD_REQUEST, "%s= wants %s number of at most %" PRIu64, key,
		     base == 8 ? "an octal" : "a", max);
	return false;
}

bool
command_take_choice(struct command *command, const char *key, const char *const *words, size_t *ret)
{
	const char *text = line_value(&command->line, key);

	if (text == NULL)
		return true;
	for (size_t i = 0; words[i] != NULL; i++)
		if (strcmp(words[i], text) == 0) {
			*ret = i;
			return true;
		}
	struct buf all;
	buf_init(&all, 256);
	for (size_t i = 0; words[i] != NULL; i++)
		buf_addf(&all, "%s%s", i == 0 ? "" : ", ", words[i]);
	reply_errorf(command, P2P_BAD_REQUEST, "%s= takes one of: %s", key, all.data);
	buf_fini(&all);
	return false;
}

bool
command_take_flag(struct command *command, const char *key, bool *ret)
{
	static const char *const words[] = { "no", "yes", NULL };
	size_t index = *ret;

	if (!command_take_choice(command, key, words, &index))
		return false;
	*ret = index == 1;
	return true;
}

void
reply_content(struct buf *out, const struct content_id *content)
{
	char hex[DIGEST_HEX_SIZE];

	digest_hex(&content->root, hex);
	reply_text(out, "root", hex);
	reply_number(out, "size", content->size_bytes);
}

void
reply_signed(struct buf *out, const char *key, int64_t number)
{
	buf_addf(out, " %s=%" PRId64, key, number);
}

void
command_put_count(struct command *command, size_t count)
{
	reply_final(command, 200);
	reply_number(&command->reply, "count", count);
	reply_end(&command->reply);
}

bool
command_is_full(const struct command *command)
{
	return command->reply.len > CONTROL_REPLY_MAX - ROOM_FOR_MORE;
}

/* --- this peer --- */

static void
put_node(struct buf *out, const struct service_node *node)
{
	reply_record(out, 200, "node");
	reply_text(out, "id", node->self.id);
	reply_text(out, "name", node->self.name);
	reply_text(out, "version", node->self.version);
	reply_number(out, "uptime_ms", node->uptime_ms);
	reply_number(out, "epoch", node->self.epoch);
	reply_number(out, "seq", node->self.seq);
	reply_end(out);
	for (size_t i = 0; i < node->self.address_count; i++) {
		reply_record(out, 200, "address");
		reply_text(out, "url", node->self.addresses[i]);
		reply_end(out);
	}
	reply_record(out, 200, "network");
	reply_number(out, "peers_here", node->peers_here);
	reply_number(out, "peers_known", node->peers_known);
	reply_number(out, "fetches_active", node->fetches_active);
	reply_end(out);
}

static void
put_share(struct buf *out, const struct service_node *node)
{
	const struct indexer_status *index = &node->index;

	reply_record(out, 200, "share");
	reply_text(out, "directory", node->share);
	reply_number(out, "files", node->self.file_count);
	reply_number(out, "bytes", node->self.byte_count);
	reply_flag(out, "ready", index->is_ready);
	reply_flag(out, "scanning", index->is_scanning);
	reply_number(out, "scans", index->scans);
	reply_number(out, "queued_files", index->queued_files);
	reply_number(out, "queued_bytes", index->queued_bytes);
	reply_number(out, "hashed_files", index->hashed_files);
	reply_number(out, "hashed_bytes", index->hashed_bytes);
	reply_number(out, "unshareable", index->unshareable);
	reply_number(out, "free_bytes", node->free_bytes);
	reply_end(out);
}

static void
put_broker(struct buf *out, const struct service_broker *broker)
{
	if (!broker->is_configured)
		return;
	reply_record(out, 200, "broker");
	reply_text(out, "address", broker->address);
	reply_text(out, "state",
		   !broker->is_connected ? "away"
		   : broker->is_blocked  ? "blocked"
					 : "connected");
	reply_number(out, "for_ms", broker->for_ms);
	reply_number(out, "outbox_events", broker->outbox_events);
	reply_number(out, "outbox_bytes", broker->outbox_bytes);
	reply_number(out, "lost_events", broker->lost_events);
	reply_text(out, "why", broker->why[0] != '\0' ? broker->why : NULL);
	reply_end(out);
}

static void
put_trouble(struct buf *out, const char *what, const char *text)
{
	if (text[0] == '\0')
		return;
	reply_record(out, 200, "trouble");
	reply_text(out, "what", what);
	reply_text(out, "text", text);
	reply_end(out);
}

void
cmd_status(struct command *command)
{
	struct service_node *node = mem_zero(1, sizeof(*node));
	struct buf *out = &command->reply;
	int code = service_node(command->service, node);

	if (code != P2P_OK) {
		reply_errorf(command, code, "%s", code_title(code));
		free(node);
		return;
	}
	put_node(out, node);
	put_share(out, node);
	put_broker(out, &node->broker);
	reply_record(out, 200, "config");
	reply_text(out, "file", node->config_source[0] != '\0' ? node->config_source : NULL);
	reply_end(out);
	put_trouble(out, "share", node->trouble);
	put_trouble(out, "reload", node->reload_error);
	reply_final(command, 200);
	buf_adds(out, " ok"); /* a final line has a blank behind its code */
	reply_end(out);
	free(node);
}

static void
put_peer(struct buf *out, const struct peer_info *peer)
{
	reply_record(out, 200, "peer");
	reply_text(out, "id", peer->id);
	reply_text(out, "name", peer->name);
	reply_text(out, "state", peer_state_name(peer->state));
	reply_text(out, "version", peer->version);
	reply_text(out, "address", peer->address);
	if (peer->round_trip_us != 0)
		reply_number(out, "round_trip_us", peer->round_trip_us);
	reply_number(out, "files", peer->file_count);
	reply_number(out, "bytes", peer->byte_count);
	reply_number(out, "epoch", peer->epoch);
	reply_number(out, "seq", peer->seq);
	if (peer->heard_ms_ago != UINT64_MAX)
		reply_number(out, "heard_ms_ago", peer->heard_ms_ago);
	reply_signed(out, "heard_wall_ms", peer->heard_wall_ms);
	reply_end(out);
}

void
cmd_peers(struct command *command)
{
	struct peer_info *peers = NULL;
	size_t count = 0;
	int code = service_peers(command->service, &peers, &count);

	if (code != P2P_OK) {
		reply_errorf(command, code, "%s", code_title(code));
		return;
	}
	/* PEERS_MAX of them always fit: each has less than 700 bytes. */
	for (size_t i = 0; i < count; i++)
		put_peer(&command->reply, &peers[i]);
	command_put_count(command, count);
	free(peers);
}

/* --- limits of bandwidth --- */

void
cmd_limit(struct command *command)
{
	const struct line *line = &command->line;
	uint64_t bps[THROTTLE_LIMITS];
	struct error err;

	if (line->word_count == 2) {
		reply_errorf(command, P2P_BAD_REQUEST, "limit wants a rate behind the name");
		return;
	}
	if (line->word_count == 3 &&
	    service_set_limit(command->service, line->words[1], line->words[2], &err) != P2P_OK) {
		reply_error(command, &err);
		return;
	}
	service_limits(command->service, bps);
	for (int i = 0; i < THROTTLE_LIMITS; i++) {
		reply_record(&command->reply, 200, "limit");
		reply_text(&command->reply, "name", throttle_name((enum throttle_limit)i));
		reply_number(&command->reply, "rate", bps[i]);
		reply_end(&command->reply);
	}
	command_put_count(command, THROTTLE_LIMITS);
}

/* --- the daemon and the connection --- */

void
cmd_watch(struct command *command)
{
	watcher_command(command);
}

void
cmd_reload(struct command *command)
{
	struct buf report;
	struct error err;
	size_t count = 0;
	char *rest = NULL;

	buf_init(&report, CONTROL_REPLY_MAX / 8);
	int code = service_reload(command->service, &report, &err);
	for (char *line = code == P2P_OK && report.len > 0 ? strtok_r(report.data, "\n", &rest)
							   : NULL;
	     line != NULL; line = strtok_r(NULL, "\n", &rest), count++) {
		reply_record(&command->reply, 200, "restart");
		reply_text(&command->reply, "key", line);
		reply_end(&command->reply);
	}
	if (code == P2P_OK)
		command_put_count(command, count);
	else
		reply_error(command, &err);
	buf_fini(&report);
}

static void
put_help(struct buf *out, const struct command_row *row)
{
	reply_record(out, 200, "command");
	reply_text(out, "name", row->name);
	reply_text(out, "syntax", row->syntax);
	reply_text(out, "help", row->help);
	reply_end(out);
}

void
cmd_help(struct command *command)
{
	const char *name = command_argument(command);
	const struct command_row *row;
	size_t count = 0;

	if (name != NULL && command_find(name) == NULL) {
		reply_errorf(command, P2P_NOT_FOUND, "There is no command \"%.40s\"", name);
		return;
	}
	for (size_t i = 0; (row = command_at(i)) != NULL; i++)
		if (name == NULL || strcmp(row->name, name) == 0) {
			put_help(&command->reply, row);
			count++;
		}
	command_put_count(command, count);
}

void
cmd_quit(struct command *command)
{
	reply_final(command, 221);
	buf_adds(&command->reply, " bye");
	reply_end(&command->reply);
	command->conn->is_closing = true;
}
