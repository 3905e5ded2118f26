/* SPDX-License-Identifier: MIT
 *
 * show.c - the commands that list: status, peers, search, ls, fetches.
 *
 * Lists of files come in pages; they are read on until the end, or until --limit.  Each page is
 * shown as it comes where that is possible (piped), and at the end where the widths of the columns
 * or the one JSON document want all.
 *
 * Columns for scripts are fixed: p2pctl(1) names them, and a new one is added behind the last.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl.h"
#include "json.h"
#include "render.h"
#include "sources.h"
#include "util.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define ROOT_SHOWN   12 /* digits of a root on a terminal: enough to name it */

int
show_ask(struct ctl *ctl, const struct request *request, struct reply *ret)
{
	if (conn_ask(ctl->conn, request, NULL, 0, ret) != CONN_OK)
		return ctl_lost(ctl, NULL);
	if (ret->final.code < 400)
		return EXIT_DONE;
	int exit_code = ctl_refused(ctl, NULL, ret);
	reply_fini(ret);
	return exit_code;
}

static const struct record *
find_record(const struct reply *reply, const char *word)
{
	static const struct record none = { 0 };

	for (size_t i = 0; i < reply->count; i++)
		if (strcmp(reply->records[i].word, word) == 0)
			return &reply->records[i];
	return &none;
}

static bool
is_yes(const struct record *record, const char *key)
{
	const char *text = record_text(record, key);

	return text != NULL && strcmp(text, "yes") == 0;
}

/* --- status --- */

static void
print_pair(const struct ctl *ctl, const char *name, const char *text)
{
	if (ctl->is_terminal)
		printf("%-10s %s\n", name, ctl_escape(text));
	else
		printf("%s\t%s\n", name, ctl_escape(text));
}

static void
print_share(const struct ctl *ctl, const struct record *share)
{
	char size[RENDER_CELL_SIZE], *text;
	uint64_t bytes = record_number(share, "bytes", 0),
		 queued = record_number(share, "queued_files", 0);
	const char *state = !is_yes(share, "ready")     ? "first scan"
			    : is_yes(share, "scanning") ? "scanning"
							: "ready";

	print_pair(ctl, "share", record_text(share, "directory"));
	render_size(bytes, size);
	if (ctl->is_terminal)
		text = util_format("%" PRIu64 " (%s)", record_number(share, "files", 0), size);
	else
		text =
		    util_format("%" PRIu64 "\t%" PRIu64, record_number(share, "files", 0), bytes);
	printf(ctl->is_terminal ? "%-10s %s\n" : "%s\t%s\n", "files", text);
	free(text);
	render_size(record_number(share, "queued_bytes", 0), size);
	text = queued == 0 ? util_string(state)
			   : util_format("%s, %" PRIu64 " files (%s) to hash", state, queued, size);
	print_pair(ctl, "index", text);
	free(text);
	if (ctl->is_terminal)
		render_size(record_number(share, "free_bytes", 0), size);
	print_pair(ctl, "free", ctl->is_terminal ? size : record_text(share, "free_bytes"));
	if (record_number(share, "unshareable", 0) > 0) {
		text = util_format("%" PRIu64 " (p2pctl ls --unshareable)",
				   record_number(share, "unshareable", 0));
		print_pair(ctl, "unshared", text);
		free(text);
	}
}

static void
print_broker(const struct ctl *ctl, const struct record *broker)
{
	char since[RENDER_CELL_SIZE];
	const char *address = record_text(broker, "address"), *state = record_text(broker, "state"),
		   *why = record_text(broker, "why");
	if (address == NULL)
		return; /* it has none */
	uint64_t waiting = record_number(broker, "outbox_events", 0),
		 lost = record_number(broker, "lost_events", 0);

	render_duration(record_number(broker, "for_ms", 0), since);
	char *text =
	    util_format("%s %s for %s%s%s, %" PRIu64 " events wait", address,
			state, since, why != NULL ? ": " : "", why != NULL ? why : "", waiting);
	print_pair(ctl, "broker", text);
	free(text);
	if (lost == 0)
		return;
	text = util_format("%" PRIu64 " (the outbox was full)", lost);
	print_pair(ctl, "lost", text);
	free(text);
}

static void
print_trouble(const struct ctl *ctl, const struct record *trouble)
{
	const char *what = record_text(trouble, "what"), *text = record_text(trouble, "text");
	bool is_reload = what != NULL && strcmp(what, "reload") == 0;
	char *line = util_format(is_reload ? "the last reload changed nothing: %s" : "%s",
				 text != NULL ? text : "");

	print_pair(ctl, "trouble", line);
	free(line);
}

static void
print_status(const struct ctl *ctl, const struct reply *reply)
{
	const struct record *node = find_record(reply, "node"),
			    *network = find_record(reply, "network");
	char up[RENDER_CELL_SIZE];

	print_pair(ctl, "name", record_text(node, "name"));
	print_pair(ctl, "peer", record_text(node, "id"));
	print_pair(ctl, "version", record_text(node, "version"));
	render_duration(record_number(node, "uptime_ms", 0), up);
	print_pair(ctl, "up", up);
	for (size_t i = 0; i < reply->count; i++)
		if (strcmp(reply->records[i].word, "address") == 0)
			print_pair(ctl, "address", record_text(&reply->records[i], "url"));
	char *peers = util_format("%" PRIu64 " here, %" PRIu64 " known",
				  record_number(network, "peers_here", 0),
				  record_number(network, "peers_known", 0));
	print_pair(ctl, "peers", peers);
	free(peers);
	print_pair(ctl, "fetches", record_text(network, "fetches_active"));
	print_share(ctl, find_record(reply, "share"));
	print_broker(ctl, find_record(reply, "broker"));
	const char *file = record_text(find_record(reply, "config"), "file");
	print_pair(ctl, "config", file != NULL ? file : "defaults");
	for (size_t i = 0; i < reply->count; i++)
		if (strcmp(reply->records[i].word, "trouble") == 0)
			print_trouble(ctl, &reply->records[i]);
}

int
show_status(struct ctl *ctl)
{
	struct request request;
	struct reply reply;

	request_init(&request, "status");
	int ret = show_ask(ctl, &request, &reply);
	if (ret != EXIT_DONE)
		return ret;
	if (ctl_has(ctl, OPT_JSON))
		json_print_reply(&reply, NULL);
	else
		print_status(ctl, &reply);
	reply_fini(&reply);
	return EXIT_DONE;
}

/* --- peers --- */

static void
add_peer(struct table *table, const struct record *peer)
{
	uint64_t rtt = record_number(peer, "round_trip_us", 0),
		 heard = record_number(peer, "heard_ms_ago", UINT64_MAX);
	char text[RENDER_CELL_SIZE];

	table_text(table, record_text(peer, "name"));
	table_text(table, record_text(peer, "state"));
	render_round_trip(rtt, text);
	if (rtt == 0)
		table_text(table, NULL);
	else
		table_either(table, text, rtt);
	render_age(heard, text);
	if (heard == UINT64_MAX)
		table_text(table, table->is_terminal ? "never" : NULL);
	else
		table_either(table, text, heard);
	table_number(table, record_number(peer, "files", 0));
	table_size(table, record_number(peer, "bytes", 0));
	table_text(table, record_text(peer, "address"));
	table_text(table, record_text(peer, "version"));
	table_text(table, record_text(peer, "id"));
}

int
show_peers(struct ctl *ctl)
{
	static const char *const heads[] = { "NAME",  "STATE",   ">ROUND TRIP", ">HEARD", ">FILES",
					     ">SIZE", "ADDRESS", "VERSION",     "ID" };
	struct request request;
	struct reply reply;
	struct table table;

	request_init(&request, "peers");
	int ret = show_ask(ctl, &request, &reply);
	if (ret != EXIT_DONE)
		return ret;
	if (ctl_has(ctl, OPT_JSON)) {
		json_print_reply(&reply, "peers");
	} else {
		table_init(&table, ctl->is_terminal, heads, COUNT(heads));
		for (size_t i = 0; i < reply.count; i++)
			add_peer(&table, &reply.records[i]);
		table_end(&table);
		if (reply.count == 0 && ctl->is_terminal && !ctl_has(ctl, OPT_QUIET))
			puts("No other peers are known; [network] seed in p2pd.conf names one to "
			     "begin with.");
	}
	reply_fini(&reply);
	return EXIT_DONE;
}

/* --- files --- */

int
show_collect(struct ctl *ctl, const char *base, uint64_t limit, struct reply *ret)
{
	struct reply all = { 0 };
	char *cursor = NULL;

	for (;;) {
		struct request request = { .len = strlen(base) };
		struct reply page;

		memcpy(request.text, base, request.len);
		if (limit - all.count < UINT32_MAX)
			request_number(&request, "limit", limit - all.count);
		if (cursor != NULL)
			request_pair(&request, "cursor", cursor);
		free(cursor);
		int exit_code = show_ask(ctl, &request, &page);
		if (exit_code != EXIT_DONE) {
			reply_fini(&all);
			return exit_code;
		}
		cursor = util_string(record_text(&page.final, "cursor"));
		reply_append(&all, &page);
		if (cursor == NULL || all.count >= limit)
			break;
	}
	free(cursor);
	*ret = all;
	return EXIT_DONE;
}

static void
add_file(struct table *table, const struct record *file)
{
	const char *root = record_text(file, "root");
	char shown[ROOT_SHOWN + 1];

	table_text(table, record_text(file, "name"));
	table_size(table, record_number(file, "size", 0));
	table_number(table, record_number(file, "holder_count", 0));
	table_text(table, is_yes(file, "local") ? "yes" : "no");
	snprintf(shown, sizeof(shown), "%s", root != NULL ? root : "-");
	table_text(table, table->is_terminal ? shown : root);
	if (!table->is_terminal)
		table_text(table, record_text(file, "mtime_ns"));
}

/* The cells of a file that a subdirectory has too: the others have a dash. */
static void
add_directory(struct table *table, const struct record *directory)
{
	const char *more = is_yes(directory, "more") ? "+" : "";
	uint64_t bytes = record_number(directory, "bytes", 0);
	char size[RENDER_CELL_SIZE];

	render_size(bytes, size);
	char *weight = table->is_terminal ? util_format("%s%s", size, more)
					  : util_format("%" PRIu64 "%s", bytes, more);
	char *files = util_format("%" PRIu64 "%s", record_number(directory, "files", 0), more);
	table_text(table, record_text(directory, "name"));
	table_text(table, weight);
	for (int i = 0; i < (table->is_terminal ? 3 : 4); i++)
		table_text(table, NULL);
	table_text(table, files);
	free(weight);
	free(files);
}

/* What a search found, or one level of a directory. */
static void
print_files(const struct ctl *ctl, const struct reply *reply, bool is_level)
{
	static const char *const heads[] = { "NAME", ">SIZE",  ">HOLDERS", "HERE",
					     "ROOT", ">FILES", NULL };
	static const char *const piped[] = { "NAME", ">SIZE", ">HOLDERS", "HERE",
					     "ROOT", "MTIME", ">FILES" };
	struct table table;

	table_init(&table, ctl->is_terminal, ctl->is_terminal ? heads : piped,
		   5 + !ctl->is_terminal + is_level);
	for (size_t i = 0; i < reply->count; i++) {
		if (strcmp(reply->records[i].word, "directory") == 0) {
			add_directory(&table, &reply->records[i]);
			continue;
		}
		add_file(&table, &reply->records[i]);
		if (is_level)
			table_text(&table, NULL);
	}
	table_end(&table);
}

static void
print_unshareable(const struct ctl *ctl, const struct reply *reply)
{
	static const char *const heads[] = { "NAME", "WHY" };
	struct table table;

	table_init(&table, ctl->is_terminal, heads, COUNT(heads));
	for (size_t i = 0; i < reply->count; i++) {
		table_text(&table, record_text(&reply->records[i], "name"));
		table_sentence(&table, record_text(&reply->records[i], "why"));
	}
	table_end(&table);
}

int
show_files(struct ctl *ctl)
{
	bool unshareable = ctl_has(ctl, OPT_UNSHAREABLE);
	bool is_level = strcmp(ctl->command, "ls") == 0 && !ctl_has(ctl, OPT_RECURSIVE);
	uint64_t limit = UINT64_MAX;
	struct request request;
	struct reply reply;

	request_init(&request, ctl->command);
	if (ctl->arg_count > 0)
		request_word(&request, ctl->args[0]);
	if (ctl_has(ctl, OPT_GLOB) || ctl_has(ctl, OPT_EXACT) || ctl_has(ctl, OPT_CONTENT))
		request_pair(&request, "match",
			     ctl_has(ctl, OPT_GLOB)    ? "glob"
			     : ctl_has(ctl, OPT_EXACT) ? "exact"
						       : "root");
	filter_request(ctl, &request);
	if (ctl_has(ctl, OPT_LOCAL))
		request_pair(&request, "scope", "local");
	if (unshareable)
		request_pair(&request, "unshareable", "yes");
	if (ctl_has(ctl, OPT_RECURSIVE))
		request_pair(&request, "recursive", "yes");
	if (ctl_has(ctl, OPT_LIMIT))
		util_number(ctl->values[OPT_LIMIT], &limit);
	if (request.is_too_long) {
		ctl_complain("the text is too long");
		return EXIT_USAGE;
	}
	request.text[request.len] = '\0';
	int ret = show_collect(ctl, request.text, limit, &reply);
	if (ret != EXIT_DONE)
		return ret;
	if (ctl_has(ctl, OPT_JSON))
		json_print_reply(&reply, unshareable ? "unshareable"
					 : is_level  ? "files directories"
						     : "files");
	else if (unshareable)
		print_unshareable(ctl, &reply);
	else
		print_files(ctl, &reply, is_level);
	reply_fini(&reply);
	return EXIT_DONE;
}

void
show_candidates(const struct ctl *ctl, const struct reply *reply, const char *word,
		const char *name)
{
	const char *example = NULL;

	if (ctl_has(ctl, OPT_JSON))
		return;
	for (size_t i = 0; i < reply->count; i++) {
		const struct record *one = &reply->records[i];
		char size[RENDER_CELL_SIZE];

		if (strcmp(one->word, word) != 0)
			continue;
		render_size(record_number(one, "size", 0), size);
		fprintf(stderr, "  %.*s  %10s  %" PRIu64 " holder%s  %s\n", ROOT_SHOWN,
			ctl_escape(record_text(one, "root")), size,
			record_number(one, "holder_count", 0),
			record_number(one, "holder_count", 0) == 1 ? "" : "s",
			ctl_escape(record_text(one, "name")));
		example = record_text(one, "root");
	}
	if (example != NULL)
		fprintf(stderr,
			"Say which, as in `p2pctl fetch %.*s` or `p2pctl fetch --id %.*s %s`.\n",
			ROOT_SHOWN, ctl_escape(example), ROOT_SHOWN, ctl_escape(example),
			ctl_escape(name));
}

/* --- fetches --- */

static void
add_fetch(struct table *table, const struct record *fetch)
{
	uint64_t done = record_number(fetch, "done_bytes", 0),
		 total = record_number(fetch, "total_bytes", 0);
	uint64_t eta = record_number(fetch, "eta_ms", UINT64_MAX);
	char text[RENDER_CELL_SIZE];

	table_number(table, record_number(fetch, "id", 0));
	table_text(table, record_text(fetch, "state"));
	snprintf(text, sizeof(text), "%d%%",
		 total > 0 ? (int)(100 * ((double)done / (double)total)) : 100);
	table_either(table, text, done);
	table_size(table, total);
	render_size(record_number(fetch, "rate_bps", 0), text);
	strcat(text, "/s");
	table_either(table, text, record_number(fetch, "rate_bps", 0));
	render_duration(eta, text);
	if (eta == UINT64_MAX)
		table_text(table, NULL);
	else
		table_either(table, text, eta);
	table_number(table, record_number(fetch, "sources", 0));
	table_number(table, record_number(fetch, "done_files", 0));
	table_number(table, record_number(fetch, "total_files", 0));
	table_text(table, record_text(fetch, "to"));
	table_text(table, record_text(fetch, "what"));
	table_sentence(table, record_text(fetch, "text"));
	table_text(table, record_text(fetch, "transport"));
	snprintf(text, sizeof(text), "%s%s",
		 record_text(fetch, "priority") != NULL ? record_text(fetch, "priority") : "-",
		 is_yes(fetch, "front") ? " front" : "");
	table_text(table, text);
}

/* All fetches, however many replies they fill. */
static int
collect_fetches(struct ctl *ctl, struct reply *ret)
{
	struct reply all = { 0 };
	uint64_t after = 0;

	do {
		struct request request;
		struct reply page;

		request_init(&request, "fetches");
		if (ctl->arg_count > 0)
			request_word(&request, ctl->args[0]);
		if (after > 0)
			request_number(&request, "after", after);
		int exit_code = show_ask(ctl, &request, &page);
		if (exit_code != EXIT_DONE) {
			reply_fini(&all);
			return exit_code;
		}
		after = record_number(&page.final, "after", 0);
		reply_append(&all, &page);
	} while (after > 0);
	*ret = all;
	return EXIT_DONE;
}

/* The same with the sources of each; one that is gone meanwhile has nothing to tell. */
static int
collect_sources(struct ctl *ctl, struct reply *all)
{
	struct reply detailed = { 0 };

	for (size_t i = 0; i < all->count; i++) {
		const char *id = record_text(&all->records[i], "id");
		struct request request;
		struct reply one;

		request_init(&request, "fetches");
		request_word(&request, id != NULL ? id : "0");
		if (conn_ask(ctl->conn, &request, NULL, 0, &one) != CONN_OK) {
			reply_fini(&detailed);
			reply_fini(all);
			return ctl_lost(ctl, NULL);
		}
		if (one.final.code >= 400)
			reply_fini(&one);
		else
			reply_append(&detailed, &one);
	}
	/* The final line counts what is listed. */
	struct record last = detailed.final;
	detailed.final = all->final;
	all->final = last;
	reply_fini(all);
	*all = detailed;
	return EXIT_DONE;
}

static void
print_sources(const struct ctl *ctl, const struct reply *reply)
{
	struct sources sources = { 0 };

	for (size_t i = 0; i < reply->count; i++)
		if (strcmp(reply->records[i].word, "fetch") == 0)
			sources_take(&sources, record_number(&reply->records[i], "id", 0), reply);
	if (sources.count > 0) {
		putchar('\n');
		if (ctl->arg_count > 0)
			sources_print(&sources, stdout, ctl->is_terminal, SIZE_MAX);
		else
			sources_print_each(&sources, stdout, ctl->is_terminal);
	}
	sources_fini(&sources);
}

static void
print_fetches(const struct ctl *ctl, const struct reply *reply)
{
	static const char *const heads[] = { ">FETCH", "STATE",    ">DONE",  ">SIZE",   ">RATE",
					     ">ETA",   ">SOURCES", ">READY", ">FILES",  "TO",
					     "WHAT",   "WHY",      "BY",     "PRIORITY" };
	struct table table;

	table_init(&table, ctl->is_terminal, heads, COUNT(heads));
	for (size_t i = 0; i < reply->count; i++)
		if (strcmp(reply->records[i].word, "fetch") == 0)
			add_fetch(&table, &reply->records[i]);
	table_end(&table);
}

/* Sources are shown with -v, and to a person who asks for one fetch. */
int
show_fetches(struct ctl *ctl)
{
	struct reply reply;

	int ret = collect_fetches(ctl, &reply);
	bool wants_sources = ctl_has(ctl, OPT_VERBOSE) || ctl_has(ctl, OPT_JSON);
	if (ret == EXIT_DONE && ctl->arg_count == 0 && wants_sources)
		ret = collect_sources(ctl, &reply);
	if (ret != EXIT_DONE)
		return ret;
	if (ctl_has(ctl, OPT_JSON)) {
		json_print_reply(&reply, "fetches");
	} else {
		print_fetches(ctl, &reply);
		if (wants_sources || (ctl->is_terminal && ctl->arg_count > 0))
			print_sources(ctl, &reply);
	}
	reply_fini(&reply);
	return EXIT_DONE;
}
