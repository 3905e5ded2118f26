/* SPDX-License-Identifier: MIT
 *
 * follows.c - what p2pctl does about follows: follow, follows.  (unfollow is in change.c.)
 *
 * A follow belongs to the daemon and outlives us, so it lands in the share.  -o names a directory
 * of it; one that is given as a path of this host is understood if the share has it.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ctl.h"
#include "json.h"
#include "render.h"
#include "util.h"

/* --- follow --- */

/* The part of `path` below the directory `share`, or NULL. */
static const char *
below(const char *share, const char *path)
{
	size_t len = strlen(share);

	while (len > 0 && share[len - 1] == '/')
		len--;
	if (strncmp(share, path, len) != 0 || (path[len] != '/' && path[len] != '\0'))
		return NULL;
	return path + len + strspn(path + len, "/");
}

/* The directory of the share that -o means; NULL and *ret_exit if it means none.  Gives. */
static char *
place_of(struct ctl *ctl, const char *path, int *ret_exit)
{
	const char *share = NULL, *rest = path;
	struct request request;
	struct reply reply;

	if (path[0] != '/')
		return util_string(path);
	request_init(&request, "status");
	if (conn_ask(ctl->conn, &request, NULL, 0, &reply) != CONN_OK) {
		*ret_exit = ctl_lost(ctl, NULL);
		return NULL;
	}
	for (size_t i = 0; i < reply.count; i++)
		if (strcmp(reply.records[i].word, "share") == 0)
			share = record_text(&reply.records[i], "directory");
	rest = share != NULL ? below(share, path) : NULL;
	char *place = rest != NULL ? util_string(rest) : NULL;
	if (place == NULL) {
		ctl_complain("%s is not in the share, %s; what is followed lands there: name a "
			     "directory of it, as in -o mirror",
			     ctl_escape(path), ctl_escape(share));
		*ret_exit = EXIT_USAGE;
	}
	reply_fini(&reply);
	return place;
}

int
follows_add(struct ctl *ctl)
{
	const char *pattern = ctl->args[0];
	struct request request;
	struct reply reply;
	char *place = NULL;
	int ret = EXIT_DONE;

	if (ctl_has(ctl, OPT_OUTPUT)) {
		place = place_of(ctl, ctl->values[OPT_OUTPUT], &ret);
		if (place == NULL)
			return ret;
	}
	request_init(&request, "follow");
	request_word(&request, pattern);
	if (place != NULL && place[0] != '\0')
		request_pair(&request, "place", place);
	if (ctl_has(ctl, OPT_REPLACE))
		request_pair(&request, "replace", "yes");
	free(place);
	if (request.is_too_long) {
		ctl_complain("the pattern is too long");
		return EXIT_USAGE;
	}
	if (conn_ask(ctl->conn, &request, NULL, 0, &reply) != CONN_OK)
		return ctl_lost(ctl, NULL);
	if (reply.final.code >= 400)
		ret = ctl_refused(ctl, NULL, &reply);
	else if (ctl_has(ctl, OPT_JSON))
		json_print_reply(&reply, NULL);
	else if (!ctl_has(ctl, OPT_QUIET))
		printf(ctl->is_terminal ? "follow %s: what appears from now on is fetched\n"
					: "%s\n",
		       ctl_escape(record_text(&reply.final, "follow")));
	reply_fini(&reply);
	return ret;
}

/* --- follows --- */

static void
add_row(struct table *table, const struct record *follow)
{
	uint64_t since_ms = record_number(follow, "since_wall_ms", 0);
	time_t since = (time_t)(since_ms / 1000);
	char text[RENDER_CELL_SIZE];
	struct tm here;

	table_number(table, record_number(follow, "id", 0));
	table_text(table, record_text(follow, "pattern"));
	table_text(table, record_text(follow, "place"));
	table_text(table, record_text(follow, "replace"));
	strftime(text, sizeof(text), "%Y-%m-%d %H:%M", localtime_r(&since, &here));
	table_either(table, text, since_ms);
	table_number(table, record_number(follow, "files", 0));
	table_size(table, record_number(follow, "bytes", 0));
}

/* All of them, however many replies they fill. */
static int
collect(struct ctl *ctl, struct reply *ret)
{
	struct reply all = { 0 };
	uint64_t after = 0;

	do {
		struct request request;
		struct reply page;

		request_init(&request, "follows");
		if (after > 0)
			request_number(&request, "after", after);
		if (conn_ask(ctl->conn, &request, NULL, 0, &page) != CONN_OK) {
			reply_fini(&all);
			return ctl_lost(ctl, NULL);
		}
		if (page.final.code >= 400) {
			int exit_code = ctl_refused(ctl, NULL, &page);

			reply_fini(&page);
			reply_fini(&all);
			return exit_code;
		}
		after = record_number(&page.final, "after", 0);
		reply_append(&all, &page);
	} while (after > 0);
	*ret = all;
	return EXIT_DONE;
}

int
follows_show(struct ctl *ctl)
{
	static const char *const heads[] = { ">FOLLOW", "PATTERN", "TO",   "REPLACE",
					     "SINCE",   ">FILES",  ">SIZE" };
	struct reply reply;
	struct table table;
	int ret = collect(ctl, &reply);

	if (ret != EXIT_DONE)
		return ret;
	if (ctl_has(ctl, OPT_JSON)) {
		json_print_reply(&reply, "follows");
	} else {
		table_init(&table, ctl->is_terminal, heads, sizeof(heads) / sizeof(heads[0]));
		for (size_t i = 0; i < reply.count; i++)
			add_row(&table, &reply.records[i]);
		table_end(&table);
		if (reply.count == 0 && ctl->is_terminal && !ctl_has(ctl, OPT_QUIET))
			puts("Nothing is followed; `p2pctl follow PATTERN` begins it.");
	}
	reply_fini(&reply);
	return EXIT_DONE;
}
