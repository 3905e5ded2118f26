/* SPDX-License-Identifier: MIT
 *
 * fetch.c - p2pctl fetch, into the share.
 *
 * All that is named is started first and then waited for together.  The fetches belong to the
 * daemon: Ctrl-C, or a lost connection, ends p2pctl and not them, and says so.  What lands outside
 * of the share (-o) is in land_tree.c.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl.h"
#include "follow.h"
#include "json.h"
#include "render.h"
#include "util.h"

struct fetching {
	struct ctl *ctl;
	struct follow follow;
	struct reply all; /* for the JSON document */
	int exit_code;
};

/* --- which of several contents --- */

const struct record *
fetch_choose(struct ctl *ctl, const char *name, const char *prefix, struct reply *found,
	     int *ret_exit)
{
	struct request request;
	const struct record *chosen = NULL;
	size_t fitting = 0;

	request_init(&request, "search");
	request_word(&request, name);
	request_pair(&request, "match", "exact");
	if (request.is_too_long) {
		ctl_complain("the name is too long");
		*ret_exit = EXIT_USAGE;
		return NULL;
	}
	request.text[request.len] = '\0';
	*ret_exit = show_collect(ctl, request.text, 1000, found);
	if (*ret_exit != EXIT_DONE)
		return NULL;
	for (size_t i = 0; i < found->count; i++) {
		const char *root = record_text(&found->records[i], "root");

		if (root != NULL && strncasecmp(root, prefix, strlen(prefix)) == 0) {
			chosen = &found->records[i];
			fitting++;
		}
	}
	if (fitting == 1)
		return chosen;
	*ret_exit = EXIT_REFUSED;
	if (fitting == 0)
		ctl_complain("no content of %s has a root that begins with %s", ctl_escape(name),
			     ctl_escape(prefix));
	else
		ctl_complain("more than one content of %s fits", ctl_escape(name));
	show_candidates(ctl, found, "file", name);
	return NULL;
}

/* Adds root= and size= of the content that --id names. */
static bool
add_content(struct fetching *fetching, struct request *request, const char *name)
{
	struct reply found = { 0 };
	const struct record *chosen = fetch_choose(
	    fetching->ctl, name, fetching->ctl->values[OPT_ID], &found, &fetching->exit_code);

	if (chosen != NULL) {
		request_pair(request, "root", record_text(chosen, "root"));
		request_pair(request, "size", record_text(chosen, "size"));
	}
	reply_fini(&found);
	return chosen != NULL;
}

/* --- starting --- */

static void
keep(struct fetching *fetching, const struct reply *reply)
{
	/* A record that the daemon would give of it; there is nothing to ask for. */
	if (ctl_has(fetching->ctl, OPT_JSON))
		json_print_reply(reply, NULL);
}

/* Tells what was started; true if there is something to wait for. */
static bool
tell_started(struct fetching *fetching, const struct reply *reply, const char *what)
{
	const struct ctl *ctl = fetching->ctl;
	uint64_t id = record_number(&reply->final, "fetch", 0),
		 files = record_number(&reply->final, "files", 0);
	uint64_t present = record_number(&reply->final, "present", 0);
	char size[RENDER_CELL_SIZE];

	if (id == 0) {
		keep(fetching, reply);
		if (!ctl_has(ctl, OPT_JSON) && !ctl_has(ctl, OPT_QUIET))
			printf("%s: all is here already (%" PRIu64 " file%s)\n", ctl_escape(what),
			       present, present == 1 ? "" : "s");
		return false;
	}
	if (!ctl_has(ctl, OPT_DETACH))
		return true;
	keep(fetching, reply);
	render_size(record_number(&reply->final, "bytes", 0), size);
	if (!ctl_has(ctl, OPT_JSON) && !ctl_has(ctl, OPT_QUIET))
		printf("fetch %" PRIu64 " started: %" PRIu64 " file%s, %s\n", id, files,
		       files == 1 ? "" : "s", size);
	return false;
}

/* False: the talk is over. */
static bool
start(struct fetching *fetching, const char *what)
{
	struct ctl *ctl = fetching->ctl;
	struct request request;
	struct reply reply;
	bool goes_on = true;

	request_init(&request, "fetch");
	request_word(&request, what);
	if (ctl_has(ctl, OPT_REPLACE))
		request_pair(&request, "replace", "yes");
	if (ctl_has(ctl, OPT_PRIORITY))
		request_pair(&request, "priority", ctl->values[OPT_PRIORITY]);
	if (ctl_has(ctl, OPT_ID) && !add_content(fetching, &request, what))
		return false;
	if (conn_ask(ctl->conn, &request, NULL, 0, &reply) != CONN_OK) {
		fetching->exit_code = ctl_lost(ctl, NULL);
		return false;
	}
	if (reply.final.code >= 400) {
		fetching->exit_code = ctl_refused(ctl, what, &reply);
		show_candidates(ctl, &reply, "candidate", what);
	} else if (tell_started(fetching, &reply, what)) {
		goes_on = follow_add(&fetching->follow, &reply.final, what, NULL) != NULL;
		if (!goes_on)
			fetching->exit_code = ctl_lost(ctl, "what was started goes on");
	}
	reply_fini(&reply);
	return goes_on;
}

/* --- waiting --- */

static void
tell_ended(struct fetching *fetching, const struct follow_job *job)
{
	char size[RENDER_CELL_SIZE];

	render_size(job->total_bytes, size);
	if (job->state == FOLLOW_FAILED) {
		ctl_complain("%s: %s", ctl_escape(job->what), ctl_sentence(job->note));
		fetching->exit_code = EXIT_REFUSED;
	} else if (!ctl_has(fetching->ctl, OPT_QUIET) && !ctl_has(fetching->ctl, OPT_JSON)) {
		printf("%s: done, %" PRIu64 " file%s, %s\n", ctl_escape(job->what),
		       job->total_files, job->total_files == 1 ? "" : "s", size);
		fflush(stdout);
	}
}

static void
keep_ended(struct fetching *fetching, uint64_t id)
{
	struct request request;
	struct reply reply;
	char number[24];

	snprintf(number, sizeof(number), "%" PRIu64, id);
	request_init(&request, "fetches");
	request_word(&request, number);
	if (conn_ask(fetching->ctl->conn, &request, NULL, 0, &reply) == CONN_OK)
		reply_append(&fetching->all, &reply);
}

/* Ctrl-C: they go on; says how to see them. */
static void
tell_detached(const struct follow *follow)
{
	for (size_t i = 0; i < follow->count; i++)
		if (follow->jobs[i]->state == FOLLOW_GOING)
			ctl_complain("fetch %" PRIu64
				     " goes on; see it with `p2pctl fetches %" PRIu64
				     "`, end it with `p2pctl cancel %" PRIu64 "`",
				     follow->jobs[i]->id, follow->jobs[i]->id, follow->jobs[i]->id);
}

static void
wait_for_all(struct fetching *fetching)
{
	struct follow_job *job;
	int result = CONN_OK;

	conn_catch_signals(fetching->ctl->conn);
	while ((job = follow_next(&fetching->follow, &result)) != NULL) {
		tell_ended(fetching, job);
		if (ctl_has(fetching->ctl, OPT_JSON))
			keep_ended(fetching, job->id);
	}
	if (result == CONN_INTERRUPTED) {
		tell_detached(&fetching->follow);
		fetching->exit_code = EXIT_REFUSED;
	} else if (result != CONN_OK) {
		fetching->exit_code =
		    ctl_lost(fetching->ctl, "the fetch goes on when the daemon is back");
	}
}

int
fetch_files(struct ctl *ctl)
{
	struct fetching fetching = { .ctl = ctl };
	bool goes_on = true;

	if (ctl_has(ctl, OPT_OUTPUT))
		return land_files(ctl);
	if (!ctl_has(ctl, OPT_DETACH)) {
		int ret = follow_begin(&fetching.follow, ctl);
		if (ret != EXIT_DONE)
			return ret;
	}
	for (int i = 0; goes_on && i < ctl->arg_count; i++)
		goes_on = start(&fetching, ctl->args[i]);
	if (goes_on && fetching.follow.going + fetching.follow.count > 0)
		wait_for_all(&fetching);
	if (ctl_has(ctl, OPT_JSON) && fetching.all.count > 0)
		json_print_reply(&fetching.all, "fetches");
	fetching.follow.ctl = ctl;
	follow_end(&fetching.follow);
	reply_fini(&fetching.all);
	return fetching.exit_code;
}
