/* SPDX-License-Identifier: MIT
 *
 * event_filter.c - which events one listener wants.
 *
 * A face asks before it queues an event, so that what nobody wants cannot crowd out what somebody
 * does.  Ids have gaps then; to go on after one of them is as good as ever.
 */
#include "event_filter.h"

#include <stdlib.h>
#include <string.h>

#include "mem.h"
#include "name.h"

_Static_assert(EVENT_KINDS <= 64, "a bit for each kind");

/* The kinds that a word of `len` bytes means. */
static uint64_t
kinds_of(const char *word, size_t len)
{
	uint64_t kinds = 0;

	for (int kind = 0; kind < EVENT_KINDS && len > 0; kind++) {
		const char *name = event_name((enum event_kind)kind);

		if (strncmp(name, word, len) == 0 && (name[len] == '\0' || name[len] == '-'))
			kinds |= 1ull << kind;
	}
	return kinds;
}

int
event_filter_init(struct event_filter *filter, const char *kinds, const char *match,
		  struct error *err)
{
	*filter = (struct event_filter){ 0 };
	for (const char *word = kinds != NULL ? kinds : ""; *word != '\0';) {
		size_t len = strcspn(word, ",");
		uint64_t more = kinds_of(word, len);

		if (more == 0) {
			filter->kinds = 0;
			return error_set(err, P2P_BAD_REQUEST,
					 "there is no kind of events \"%.*s\"",
					 (int)(len < 40 ? len : 40), word);
		}
		filter->kinds |= more;
		word += len + (word[len] == ',');
	}
	if (match != NULL && strlen(match) > NAME_MAX_BYTES) {
		filter->kinds = 0;
		return error_set(err, P2P_BAD_REQUEST, "the pattern is over %d bytes",
				 NAME_MAX_BYTES);
	}
	if (match != NULL && name_glob_check(match, err) != P2P_OK) {
		filter->kinds = 0;
		return P2P_BAD_REQUEST;
	}
	if (match != NULL && match[0] != '\0')
		filter->match = mem_string(match);
	return P2P_OK;
}

void
event_filter_fini(struct event_filter *filter)
{
	free(filter->match);
	filter->match = NULL;
}

bool
event_filter_passes(const struct event_filter *filter, const struct event *event)
{
	if (event->kind == EVENT_EVENTS_LOST)
		return true;
	if (filter->kinds != 0 && (filter->kinds & 1ull << event->kind) == 0)
		return false;
	return filter->match == NULL ||
	       (event->name != NULL && name_is_meant(filter->match, event->name));
}
