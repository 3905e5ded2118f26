/* SPDX-License-Identifier: MIT
 *
 * wire_json_message.c - events as messages of a broker.
 *
 * A message is the event as the event stream tells it, with what somebody needs who gets messages
 * of many peers, out of the blue: an id of its own, who publishes it, and where a change stands in
 * its peer's numbering.
 */
#include <jansson.h>

#include "wire_json.h"
#include "wire_json_inner.h"

static void
put_unless_zero(json_t *tree, const char *key, uint64_t number)
{
	if (number != 0)
		wire_json_put_number(tree, key, number);
}

char *
wire_message(const char *body, const struct wire_message *head)
{
	json_t *tree = json_object();
	json_t *event = json_loads(body, 0, NULL);
	json_object_set_new(tree, "id", json_string(head->id));
	json_object_set_new(tree, "publisher", json_string(head->publisher));
	/* It was made by wire_event(); a disk that returned something else is no reason to stop. */
	if (json_is_object(event)) {
		json_object_del(event, "id");
		json_object_update(tree, event);
	}
	json_decref(event);
	put_unless_zero(tree, "epoch", head->epoch);
	put_unless_zero(tree, "seq", head->seq);
	return wire_json_whole(tree);
}
