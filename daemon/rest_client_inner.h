/* SPDX-License-Identifier: MIT
 *
 * rest_client_inner.h - what the files of the HTTP transport share: rest_client.c (what is asked; mind), rest_client_answer.c (what
 * an answer means; a lane's thread).
 */
#ifndef P2PD_REST_CLIENT_INNER_H
#define P2PD_REST_CLIENT_INNER_H

#include "rest_client.h"
#include "rest_client_lane.h"
#include "transport_ended.h"

enum verb { GREET, LEAVE, NOTIFY, PULL, LAYER, HAVE, READ, BATCH, DIRECTORIES };

struct request {
	struct transport_request head; /* first: others know only this */
	struct lane_exchange exchange; /* the lane knows only this */
	struct rest_client *client;
	struct lane *lane;
	enum verb verb;
	bool is_cancelled; /* the mind's own mark */
	union {
		transport_done_fn done;
		transport_greet_fn greet;
		transport_pull_fn pull;
		transport_layer_fn layer;
		transport_have_fn have;
	} fn;
	void *arg;
	char address[NODE_ADDRESS_SIZE];
	/* What came of it, by verb. */
	struct node_record theirs, *known;
	size_t known_count;
	struct change_page *page;
	/* layer: nodes expected.  have: of which content, and what is held.  read: what of which content, and how much of it came. */
	size_t node_count;
	struct content_id content;
	struct holding_answer held;
	uint64_t offset, len, received;
	struct transport_sink sink;
	struct batch *batch; /* the caller's; so is */
	struct directory_question *directories;
	uint64_t *outstanding; /* of its lane */

	struct transport_turn turn;
};

struct rest_client {
	struct transport transport; /* first */
	struct loop *loop;
	struct rest_client_limits limits;
	struct transport_limit throttle;
	struct address_guard guard;
	bool is_ending;
	struct lane *small; /* all but reads */
	unsigned lane_count;
	struct lane *lanes[REST_CLIENT_LANES_MAX];
	uint64_t outstanding[REST_CLIENT_LANES_MAX]; /* bytes that reads still want; mind */
	struct transport_ended ended;
};

/* --- rest_client.c --- */
/* Any thread: the mind shall conclude it. */
void	rest_client_hand_back(struct request *request);

/* --- rest_client_answer.c --- */
extern const struct lane_ops rest_client_small_ops;	/* the whole answer is gathered */
extern const struct lane_ops rest_client_read_ops;	/* it goes to the sink as it comes */
extern const struct lane_ops rest_client_batch_ops;	/* it goes to the batch as it comes */

#endif
