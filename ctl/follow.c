/* SPDX-License-Identifier: MIT
 *
 * follow.c - waits for fetches and shows how far they are.
 *
 * Subscribed before the first fetch begins, we miss nothing but what happens to a fetch before its
 * number is known to us: it may even be done before the reply that names it.  So each is asked for
 * once (`fetches N`) when it is added, and all of them again when the daemon says that events were
 * lost.
 *
 * With --verbose each is asked again whenever something is told of it: the reply has its sources.
 *
 * A fetch that waits has not failed: that nobody holds its bytes now is shown, and goes on being
 * waited for.
 */
#include "follow.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util.h"

static struct follow_job *
find_job(const struct follow *follow, uint64_t id)
{
	for (size_t i = 0; i < follow->count; i++)
		if (follow->jobs[i]->id == id)
			return follow->jobs[i];
	return NULL;
}

static void
set_note(struct follow *follow, struct follow_job *job, const char *text, bool is_waiting)
{
	bool is_news = text != NULL && (job->note == NULL || strcmp(job->note, text) != 0);

	free(job->note);
	job->note = util_string(text);
	if (is_news && is_waiting && !follow->ctl->shows_progress &&
	    !ctl_has(follow->ctl, OPT_QUIET))
		ctl_complain("fetch %" PRIu64 " waits: %s", job->id, ctl_sentence(text));
}

static void
set_state(struct follow *follow, struct follow_job *job, enum follow_state state)
{
	if (job->state == FOLLOW_GOING && state != FOLLOW_GOING)
		follow->going--;
	job->state = state;
}

static void
take_numbers(struct follow_job *job, const struct record *record)
{
	job->done_bytes = record_number(record, "done_bytes", job->done_bytes);
	job->total_bytes = record_number(record, "total_bytes", job->total_bytes);
	job->done_files = record_number(record, "done_files", job->done_files);
	job->total_files = record_number(record, "total_files", job->total_files);
	job->rate_bps = record_number(record, "rate_bps", 0);
	job->sources = record_number(record, "sources", 0);
}

/* May come while a reply is awaited: only marks. */
static void
on_event(void *arg, const struct record *event)
{
	struct follow *follow = arg;
	struct follow_job *job = find_job(follow, record_number(event, "fetch", 0));

	if (strcmp(event->word, "events-lost") == 0)
		follow->must_ask = true;
	if (job == NULL || job->state != FOLLOW_GOING)
		return;
	take_numbers(job, event);
	job->is_stale = follow->wants_sources;
	if (strcmp(event->word, "fetch-waiting") == 0)
		set_note(follow, job, record_text(event, "text"), true);
	else if (strcmp(event->word, "fetch-progress") == 0)
		set_note(follow, job, NULL, false);
	if (strcmp(event->word, "fetch-done") == 0)
		set_state(follow, job, FOLLOW_DONE);
	if (strcmp(event->word, "fetch-failed") == 0 ||
	    strcmp(event->word, "fetch-cancelled") == 0) {
		const char *text = record_text(event, "text");

		set_note(follow, job, text != NULL ? text : record_text(event, "slug"), false);
		set_state(follow, job, FOLLOW_FAILED);
	}
}

/* One that is not listed any more is remembered as it was. */
static void
take_sources(struct follow *follow, struct follow_job *job, const struct reply *reply)
{
	job->is_stale = false;
	if (reply->final.code < 400)
		sources_take(&follow->sources, job->id, reply);
}

/* Asks how a fetch is. */
static int
ask_job(struct follow *follow, struct follow_job *job)
{
	struct request request;
	struct reply reply;
	char number[24];

	snprintf(number, sizeof(number), "%" PRIu64, job->id);
	request_init(&request, "fetches");
	request_word(&request, number);
	int result = conn_ask(follow->ctl->conn, &request, NULL, 0, &reply);
	if (result != CONN_OK)
		return result;
	if (follow->wants_sources)
		take_sources(follow, job, &reply);
	if (job->state == FOLLOW_GOING && reply.count >= 1) {
		const char *state = record_text(&reply.records[0], "state");
		const char *text = record_text(&reply.records[0], "text");

		take_numbers(job, &reply.records[0]);
		set_note(follow, job, text, state != NULL && strcmp(state, "waiting") == 0);
		if (state != NULL && strcmp(state, "done") == 0)
			set_state(follow, job, FOLLOW_DONE);
		if (state != NULL &&
		    (strcmp(state, "failed") == 0 || strcmp(state, "cancelled") == 0)) {
			if (text == NULL)
				set_note(follow, job, state, false);
			set_state(follow, job, FOLLOW_FAILED);
		}
	} else if (job->state == FOLLOW_GOING) {
		/* Ended so long ago that it is no longer listed, or somebody took it from the list.
		 */
		set_note(follow, job, "the daemon knows it no longer", false);
		set_state(follow, job, FOLLOW_FAILED);
	}
	reply_fini(&reply);
	return CONN_OK;
}

int
follow_begin(struct follow *follow, struct ctl *ctl)
{
	struct request request;
	struct reply reply;

	*follow = (struct follow){ .ctl = ctl };
	follow->wants_sources =
	    ctl_has(ctl, OPT_VERBOSE) && !ctl_has(ctl, OPT_QUIET) && !ctl_has(ctl, OPT_JSON);
	conn_on_event(ctl->conn, on_event, follow);
	request_init(&request, "watch");
	request_pair(&request, "progress", "yes");
	if (conn_ask(ctl->conn, &request, NULL, 0, &reply) != CONN_OK)
		return ctl_lost(ctl, NULL);
	int ret = reply.final.code >= 400 ? ctl_refused(ctl, NULL, &reply) : EXIT_DONE;
	reply_fini(&reply);
	return ret;
}

struct follow_job *
follow_add(struct follow *follow, const struct record *started, const char *what, void *arg)
{
	struct follow_job *job = util_zero(1, sizeof(*job));

	job->id = record_number(started, "fetch", 0);
	job->total_bytes = record_number(started, "bytes", 0);
	job->total_files = record_number(started, "files", 0);
	job->what = util_string(what);
	job->arg = arg;
	follow->jobs = util_grow(follow->jobs, follow->count + 1, sizeof(struct follow_job *));
	follow->jobs[follow->count++] = job;
	follow->going++;
	return ask_job(follow, job) == CONN_OK ? job : NULL;
}

/* The sources, as lines for below the progress; gives. */
static char *
make_table(const struct follow *follow)
{
	char *text = NULL;
	size_t len, room = render_progress_room();
	FILE *out = open_memstream(&text, &len);

	if (out == NULL)
		return NULL;
	if (room > 1)
		sources_print(&follow->sources, out, true, room - 1);
	fclose(out);
	return text;
}

static void
show_progress(const struct follow *follow)
{
	struct progress all = { .done_bytes = follow->past_bytes,
				.total_bytes = follow->past_bytes + follow->more_bytes,
				.done_files = follow->past_files,
				.total_files = follow->past_files + follow->more_files };

	for (size_t i = 0; i < follow->count; i++) {
		const struct follow_job *job = follow->jobs[i];

		all.done_bytes += job->done_bytes;
		all.total_bytes += job->total_bytes;
		all.done_files += job->done_files;
		all.total_files += job->total_files;
		if (job->state != FOLLOW_GOING)
			continue;
		all.rate_bps += job->rate_bps;
		all.note = job->note != NULL ? job->note : all.note;
		if (job->sources > all.sources)
			all.sources = job->sources;
	}
	if (follow->ctl->shows_progress) {
		char *below = follow->wants_sources ? make_table(follow) : NULL;

		render_progress(&all, below);
		free(below);
	}
}

static int
ask_all(struct follow *follow)
{
	int result = CONN_OK;

	follow->must_ask = false;
	for (size_t i = 0; i < follow->count && result == CONN_OK; i++)
		if (follow->jobs[i]->state == FOLLOW_GOING)
			result = ask_job(follow, follow->jobs[i]);
	return result;
}

static int
ask_stale(struct follow *follow)
{
	int result = CONN_OK;

	for (size_t i = 0; i < follow->count && result == CONN_OK; i++)
		if (follow->jobs[i]->is_stale)
			result = ask_job(follow, follow->jobs[i]);
	return result;
}

static struct follow_job *
find_ended(const struct follow *follow)
{
	for (size_t i = 0; i < follow->count; i++)
		if (follow->jobs[i]->state != FOLLOW_GOING && !follow->jobs[i]->is_told)
			return follow->jobs[i];
	return NULL;
}

struct follow_job *
follow_next(struct follow *follow, int *ret_result)
{
	int result = CONN_OK;
	struct follow_job *job;

	while ((job = find_ended(follow)) == NULL && follow->going > 0 && result == CONN_OK) {
		struct record event;

		show_progress(follow);
		result = conn_next_event(follow->ctl->conn, -1, &event);
		if (result != CONN_OK)
			break;
		on_event(follow, &event);
		record_fini(&event);
		if (follow->must_ask)
			result = ask_all(follow);
		if (result == CONN_OK)
			result = ask_stale(follow);
	}
	/* It may have ended while another was asked. */
	if (job != NULL && job->is_stale)
		result = ask_job(follow, job);
	if (follow->ctl->shows_progress)
		render_progress_end();
	if (job != NULL)
		job->is_told = true;
	*ret_result = job != NULL ? CONN_OK : result;
	return job;
}

static void
job_free(struct follow_job *job)
{
	free(job->note);
	free(job->what);
	free(job);
}

void
follow_drop(struct follow *follow, struct follow_job *job)
{
	for (size_t i = 0; i < follow->count; i++)
		if (follow->jobs[i] == job)
			follow->jobs[i] = follow->jobs[--follow->count];
	follow->past_bytes += job->done_bytes;
	follow->past_files++;
	sources_end_fetch(&follow->sources, job->id);
	job_free(job);
}

void
follow_end(struct follow *follow)
{
	conn_on_event(follow->ctl->conn, NULL, NULL);
	if (follow->sources.count > 0)
		sources_print(&follow->sources, stderr, follow->ctl->shows_progress, SIZE_MAX);
	sources_fini(&follow->sources);
	for (size_t i = 0; i < follow->count; i++)
		job_free(follow->jobs[i]);
	free(follow->jobs);
	*follow = (struct follow){ .ctl = follow->ctl };
}
