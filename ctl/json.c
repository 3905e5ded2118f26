/* SPDX-License-Identifier: MIT
 *
 * json.c - records of the control protocol as JSON (jansson).
 *
 * The protocol has texts only; which of them are numbers and truths is the table below, and
 * whatever it does not name stays a text: a mode is one, though it looks like a number.  The names,
 * and which of them are numbers, are those of the REST face.
 *
 * All output is ASCII: what is beyond is written as \u escapes.  A text that is no valid UTF-8 (the
 * name of a file that cannot be shared) is shown escaped as on a terminal.
 */
#include "json.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util.h"

static const char *const numbers[] = {
	"after",
	"asks",
	"bytes",
	"count",
	"done_bytes",
	"done_files",
	"ended_wall_ms",
	"epoch",
	"eta_ms",
	"failed_files",
	"fetch",
	"fetches_active",
	"files",
	"follow",
	"for_ms",
	"free_bytes",
	"hashed_bytes",
	"hashed_files",
	"heard_ms_ago",
	"heard_wall_ms",
	"holder_count",
	"id",
	"lost",
	"lost_events",
	"mtime_ns",
	"outbox_bytes",
	"outbox_events",
	"peers_here",
	"peers_known",
	"pieces",
	"present",
	"queued_bytes",
	"queued_files",
	"rate",
	"rate_bps",
	"rest_ms",
	"round_trip_us",
	"scans",
	"seq",
	"since_wall_ms",
	"size",
	"sources",
	"started_wall_ms",
	"total_bytes",
	"total_files",
	"unshareable",
	"uptime_ms",
	"verified_pieces",
};
static const char *const truths[] = { "front",   "local",    "more", "new", "ready",
				      "replace", "scanning", "whole" };

/* Kinds of records that may repeat, and what an array of them is called. */
static const struct {
	const char *word, *plural;
} lists[] = {
	{ "address", "addresses" },
	{ "candidate", "candidates" },
	{ "command", "commands" },
	{ "directory", "directories" },
	{ "fetch", "fetches" },
	{ "file", "files" },
	{ "follow", "follows" },
	{ "holder", "holders" },
	{ "limit", "limits" },
	{ "part", "parts" },
	{ "peer", "peers" },
	{ "restart", "restarts" },
	{ "trouble", "troubles" },
	{ "unshareable", "unshareable" },
};

static bool
is_among(const char *key, const char *const *words, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(words[i], key) == 0)
			return true;
	return false;
}

static json_t *
text_value(const char *text)
{
	json_t *value = json_string(text);

	if (value != NULL)
		return value;
	size_t cap = 10 * strlen(text) + 1;
	char *escaped = util_zero(cap, 1);
	line_escape(text, escaped, cap);
	value = json_string(escaped);
	free(escaped);
	return value;
}

static json_t *
make_value(const char *key, const char *text)
{
	char *end;

	if (is_among(key, truths, sizeof(truths) / sizeof(truths[0])))
		return json_boolean(strcmp(text, "yes") == 0);
	if (is_among(key, numbers, sizeof(numbers) / sizeof(numbers[0]))) {
		long long number = strtoll(text, &end, 10);

		if (end != text && *end == '\0')
			return json_integer(number);
	}
	return text_value(text);
}

static void
add_pairs(json_t *object, const struct record *record)
{
	for (size_t i = 0; i < record->count; i++)
		json_object_set_new(object, record->keys[i],
				    make_value(record->keys[i], record->values[i]));
}

static const char *
plural_of(const char *word)
{
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
		if (strcmp(lists[i].word, word) == 0)
			return lists[i].plural;
	return NULL;
}

static void
add_record(json_t *document, const struct record *record)
{
	const char *plural = plural_of(record->word);
	json_t *object = json_object();

	add_pairs(object, record);
	if (plural == NULL) {
		json_object_set_new(document, record->word, object);
		return;
	}
	json_t *list = json_object_get(document, plural);
	if (list == NULL) {
		list = json_array();
		json_object_set_new(document, plural, list);
	}
	json_array_append_new(list, object);
}

static void
add_lists(json_t *document, const char *names)
{
	for (size_t len; names != NULL && (len = strcspn(names, " ")) > 0;) {
		char *name = util_format("%.*s", (int)len, names);

		json_object_set_new(document, name, json_array());
		free(name);
		names += len + strspn(names + len, " ");
	}
}

static void
print_document(json_t *document)
{
	json_dumpf(document, stdout, JSON_ENSURE_ASCII | JSON_COMPACT);
	putchar('\n');
	json_decref(document);
}

void
json_print_reply(const struct reply *reply, const char *always)
{
	json_t *document = json_object();
	int code = reply->final.code;

	if (code >= 400) {
		json_t *error = json_object();

		json_object_set_new(error, "code", json_integer(code));
		add_pairs(error, &reply->final);
		json_object_set_new(document, "error", error);
	} else {
		add_pairs(document, &reply->final);
		add_lists(document, always);
	}
	for (size_t i = 0; i < reply->count; i++)
		add_record(document, &reply->records[i]);
	print_document(document);
}

void
json_print_event(const struct record *event)
{
	json_t *object = json_object();

	json_object_set_new(object, "event", text_value(event->word));
	json_object_set_new(object, "code", json_integer(event->code));
	add_pairs(object, event);
	print_document(object);
	fflush(stdout);
}
