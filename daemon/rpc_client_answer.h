/* SPDX-License-Identifier: MIT
 *
 * rpc_client_answer.h - a request of the gRPC transport, and what the answers to it mean: for rpc_client.c alone.
 */
#ifndef P2PD_RPC_CLIENT_ANSWER_H
#define P2PD_RPC_CLIENT_ANSWER_H

#include <stdbool.h>

#include "buf.h"
#include "rpc_client_download.h"
#include "rpc_client_lane.h"
#include "rpc_client_names.h"
#include "transport.h"
#include "transport_ended.h"
#include "wire_pb.h"

#define RPC_FILE_MAX	(128u << 10)	/* bytes of the File before the data: 1,000 holders */

#define RPC_BATCH_MESSAGE_MAX (512u << 10)	/* bytes of a DownloadManyResponse */

enum verb { GREET, LEAVE, NOTIFY, PULL, LAYER, HAVE, READ, BATCH, DIRECTORIES };

struct rpc_client;

struct rpc_request {
	struct transport_request head; /* first: others know only this */
	struct rpc_exchange exchange;  /* the lane knows only this */
	struct rpc_names_asker asker;  /* before the lane has it */
	struct transport_turn turn;
	struct rpc_client *client;
	struct rpc_lane **lane; /* which it is for; started when needed */
	enum verb verb;
	bool is_at_lane, is_ended_here; /* where its exchange is; mind */
	bool is_cancelled;              /* the mind's own mark */
	union {
		transport_done_fn done;
		transport_greet_fn greet;
		transport_pull_fn pull;
		transport_layer_fn layer;
		transport_have_fn have;
	} fn;
	void *arg;
	char address[NODE_ADDRESS_SIZE];
	/* What came. */
	struct buf answer; /* the one message; of a read: the File; of a batch: the one at hand */
	unsigned messages;
	/* What came of it, by verb. */
	struct node_record theirs, *known;
	size_t known_count;
	struct change_page *page;
	P2p__V1__LayerResponse *layer;
	struct holding_answer held;
	/* layer: nodes expected, and of which pieces.  have: of which content.  read: what of it, and
	 * how much came. */
	size_t node_count;
	uint32_t piece_bytes;
	struct content_id content;
	uint64_t offset, len, received;
	uint64_t carried; /* bytes of all its messages */
	bool has_file;    /* and it is of our content */
	struct download_parser parser;
	bool is_amid;			/* of a message, whose rest comes later */
	struct transport_sink sink;
	struct batch *batch; /* the caller's; so is */
	struct directory_question *directories;
	uint64_t *outstanding; /* of its lane */
};

struct rpc_request *rpc_request_of(struct rpc_exchange *exchange);

/* These on the lane's thread. */

/* The one message of a small answer, as rpc_exchange_ops wants it. */
int	rpc_answer_gather(struct rpc_exchange *exchange, size_t len);
/* A message of an answer to read(): the File, or bytes for the sink. */
int	rpc_answer_feed(struct rpc_exchange *exchange, size_t len);
/* A message of an answer to batch(). */
int	rpc_answer_batch(struct rpc_exchange *exchange, size_t len);
/* It ended: turns what came into the request's results, or into its error. */
void	rpc_answer_judge(struct rpc_request *request);

/* These on the mind. */

/* Calls who asked, with the results or the error. */
void	rpc_answer_tell(struct rpc_request *request);
/* The request with all results that were not given away. */
void	rpc_answer_free(struct rpc_request *request);

#endif
