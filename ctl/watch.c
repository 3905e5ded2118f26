/* SPDX-License-Identifier: MIT
 *
 * watch.c - p2pctl watch: what happens, as it happens.
 *
 * On a terminal a line is a time and a sentence; piped it is tab-separated (id, time, event, name,
 * peer, text); with --json it is one object.  The id of the last line, given to --after, goes on
 * from there.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "ctl.h"
#include "json.h"
#include "render.h"

/* The clock's time of an RFC 3339 text in UTC, as it is here. */
static void
local_time(const char *text, char ret[16])
{
	struct tm utc = { 0 }, here;

	snprintf(ret, 16, "--:--:--");
	if (text == NULL || strptime(text, "%Y-%m-%dT%H:%M:%S", &utc) == NULL)
		return;
	time_t when = timegm(&utc);
	strftime(ret, 16, "%H:%M:%S", localtime_r(&when, &here));
}

static void
print_for_people(const struct record *event)
{
	const char *peer = record_text(event, "peer_name"), *name = record_text(event, "name");
	const char *text = record_text(event, "text"), *size = record_text(event, "size");
	char when[16], human[RENDER_CELL_SIZE];

	local_time(record_text(event, "time"), when);
	printf("%s  %-14s", when, ctl_escape(event->word));
	if (record_text(event, "fetch") != NULL)
		printf("  fetch %s", ctl_escape(record_text(event, "fetch")));
	if (name != NULL)
		printf("  %s", ctl_escape(name));
	render_size(record_number(event, "size", 0), human);
	if (size != NULL)
		printf("  %s", human);
	if (peer == NULL)
		peer = record_text(event, "peer");
	if (peer != NULL)
		printf("  %s", ctl_escape(peer));
	if (text != NULL)
		printf("  (%s)", ctl_sentence(text));
	putchar('\n');
}

static void
print_event(const struct ctl *ctl, const struct record *event)
{
	if (ctl_has(ctl, OPT_JSON)) {
		json_print_event(event);
	} else if (ctl->is_terminal) {
		print_for_people(event);
	} else {
		printf("%s\t%s\t%s\t", ctl_escape(record_text(event, "id")),
		       ctl_escape(record_text(event, "time")), ctl_escape(event->word));
		printf("%s\t%s\t%s\n", ctl_escape(record_text(event, "name")),
		       ctl_escape(record_text(event, "peer")),
		       ctl_sentence(record_text(event, "text")));
	}
	fflush(stdout);
}

int
watch_events(struct ctl *ctl)
{
	struct request request;
	struct reply reply;
	struct record event;
	int result;

	request_init(&request, "watch");
	if (ctl_has(ctl, OPT_AFTER))
		request_pair(&request, "after", ctl->values[OPT_AFTER]);
	if (ctl_has(ctl, OPT_KIND))
		request_pair(&request, "kind", ctl->values[OPT_KIND]);
	if (ctl_has(ctl, OPT_MATCH))
		request_pair(&request, "match", ctl->values[OPT_MATCH]);
	if (conn_ask(ctl->conn, &request, NULL, 0, &reply) != CONN_OK)
		return ctl_lost(ctl, NULL);
	if (reply.final.code >= 400) {
		int ret = ctl_refused(ctl, NULL, &reply);

		reply_fini(&reply);
		return ret;
	}
	reply_fini(&reply);
	conn_catch_signals(ctl->conn);
	while ((result = conn_next_event(ctl->conn, -1, &event)) == CONN_OK) {
		print_event(ctl, &event);
		record_fini(&event);
		if (ferror(stdout))
			return EXIT_REFUSED;
	}
	/* Ctrl-C is how one ends it. */
	return result == CONN_INTERRUPTED
		   ? EXIT_DONE
		   : ctl_lost(ctl, "`p2pctl watch --after ID` goes on after the last one");
}
