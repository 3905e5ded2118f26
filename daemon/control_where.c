/* SPDX-License-Identifier: MIT
 *
 * control_where.c - the control command where: who has a file.  It runs on the pool.
 *
 * A name is looked for as it is; what is no name, but may be the beginning of a root, as a content.
 * A row is one holder of one content under one name.  A peer that the catalog knows and the peers
 * do not any more is away.  All pages of the search make one reply; should it be full, it says that
 * there are more.
 */
#include <stdlib.h>
#include <string.h>

#include "control_commands.h"

struct where {
	struct command *command;
	struct node_record self;
	struct peer_info *peers;
	size_t peer_count;
	size_t count; /* rows */
	bool is_cut;
};

static const struct peer_info *
find_peer(const struct where *where, const char *id)
{
	for (size_t i = 0; i < where->peer_count; i++)
		if (strcmp(where->peers[i].id, id) == 0)
			return &where->peers[i];
	return NULL;
}

static void
put_holder(struct where *where, const struct catalog_found *found, const char *id)
{
	struct buf *out = &where->command->reply;
	const struct peer_info *peer = find_peer(where, id);
	bool is_self = strcmp(id, where->self.id) == 0;

	reply_record(out, 200, "holder");
	reply_text(out, "name", found->name);
	reply_content(out, &found->content);
	reply_text(out, "peer", id);
	reply_text(out, "peer_name", is_self ? where->self.name : peer != NULL ? peer->name : NULL);
	reply_text(out, "state",
		   is_self        ? "here"
		   : peer != NULL ? peer_state_name(peer->state)
				  : peer_state_name(PEER_AWAY));
	reply_text(out, "address", peer != NULL && peer->address[0] ? peer->address : NULL);
	reply_end(out);
	where->count++;
}

/* catalog_found_fn */
static bool
on_found(void *arg, const struct catalog_found *found)
{
	struct where *where = arg;
	char id[PEER_ID_SIZE];

	for (const char *at = found->holders; *at != '\0'; at += PEER_ID_SIZE) {
		where->is_cut = command_is_full(where->command);
		if (where->is_cut)
			return false;
		memcpy(id, at, PEER_ID_SIZE - 1);
		id[PEER_ID_SIZE - 1] = '\0';
		put_holder(where, found, id);
	}
	return true;
}

static int
look(struct where *where, enum catalog_match match, struct error *err)
{
	char cursor[CATALOG_CURSOR_SIZE] = "", next[CATALOG_CURSOR_SIZE] = "";
	struct catalog_query query = { .match = match,
				       .text = command_argument(where->command),
				       .limit = CONTROL_PAGE_MAX };
	int code;

	do {
		query.cursor = cursor[0] != '\0' ? cursor : NULL;
		code = service_search(where->command->service, &query, on_found, where, next, err);
		memcpy(cursor, next, sizeof(cursor));
	} while (code == P2P_OK && cursor[0] != '\0' && !where->is_cut);
	return code;
}

static bool
may_be_root(const char *text)
{
	size_t len = strlen(text);

	return len >= CATALOG_ID_PREFIX_MIN && len <= 2 * DIGEST_BYTES &&
	       strspn(text, "0123456789abcdefABCDEF") == len;
}

static int
answer(struct where *where, struct error *err)
{
	const char *text = command_argument(where->command);
	int code = look(where, CATALOG_EXACT, err);

	if (code == P2P_OK && where->count == 0 && may_be_root(text))
		code = look(where, CATALOG_ROOT, err);
	if (code == P2P_OK && where->count == 0)
		code = error_set(err, P2P_NOT_FOUND, "no peer has a file or a content \"%.256s\"",
				 text);
	return code;
}

void
cmd_where(struct command *command)
{
	struct where where = { .command = command };
	struct service_node node;
	struct error err;
	int code = service_node_quick(command->service, &node);

	if (code == P2P_OK)
		code = service_peers(command->service, &where.peers, &where.peer_count);
	if (code != P2P_OK) {
		reply_errorf(command, code, "%s", code_title(code));
		return;
	}
	where.self = node.self;
	if (answer(&where, &err) == P2P_OK) {
		reply_final(command, 200);
		reply_number(&command->reply, "count", where.count);
		if (where.is_cut)
			reply_flag(&command->reply, "more", true);
		reply_end(&command->reply);
	} else {
		buf_reset(&command->reply);
		reply_error(command, &err);
	}
	free(where.peers);
}
