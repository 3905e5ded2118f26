/* SPDX-License-Identifier: MIT
 *
 * wire_pb.h - p2p.proto's messages as the daemon's own structs, both ways, for the gRPC face and client.
 * No I/O; any thread.
 *
 * Encoders give a message that owns its parts, as if it had been unpacked: ..._free_unpacked(message, NULL) frees it.
 * Decoders refuse what is malformed or out of range, P2P_BAD_REQUEST with the field's name; outputs are untouched then.
 * What comes from a wire is unpacked by wire_pb_unpack(), which sees what protobuf-c does not look for.
 */
#ifndef P2PD_WIRE_PB_H
#define P2PD_WIRE_PB_H

#include <stddef.h>

#include "batch.h"
#include "catalog.h"
#include "change.h"
#include "directory.h"
#include "error.h"
#include "events.h"
#include "holdings.h"
#include "node.h"
#include "peers.h"
#include "p2p.pb-c.h"

#define WIRE_PB_MAX	((8u << 20) + (64u << 10))	/* bytes of one message, either way */

#define WIRE_PB_VALUES_MAX 65536	/* values of one message, those of its parts included, and each one of a packed field */

/* Unpacks one message.  Refused with P2P_BAD_REQUEST, before anything is allocated, is what is malformed, has more than WIRE_PB_VALUES_MAX
 * values (a value of two bytes costs a hundred in memory), or a string that is not UTF-8 or holds a NUL; P2P_TOO_LARGE over
 * WIRE_PB_MAX.  Unknown fields are ignored.  Gives: protobuf_c_message_free_unpacked(message, NULL).  NULL and err. */
ProtobufCMessage *wire_pb_unpack(const ProtobufCMessageDescriptor *descriptor, const void *data, size_t len, struct error *err);

/* "slug: a sentence", and back: the code of the slug, and the sentence; false if it is none. */
char	*wire_pb_status(const struct error *err);	/* gives: free() */
bool	 wire_pb_status_parse(const char *details, struct error *ret);
/* The grpc_status_code of a code, and a code for a status that tells no slug. */
int	 wire_pb_grpc_status(int code);
int	 wire_pb_code_of_status(int grpc_status);

/* Decoding refuses what merkle_content_valid() refuses, and a missing message (NULL). */
int	 wire_pb_content(const P2p__V1__Content *message, struct content_id *ret, struct error *err);
int	 wire_pb_node(const P2p__V1__Node *message, struct node_record *ret, struct error *err);
int	 wire_pb_hello(const P2p__V1__RegisterRequest *message, struct node_hello *ret, struct error *err);
int	 wire_pb_notice(const P2p__V1__Notice *message, struct notice *ret, struct error *err);
/* Gives the page. */
int	 wire_pb_changes(const P2p__V1__ChangesResponse *message, struct change_page **ret, struct error *err);
/* Gives known: free(). */
int	 wire_pb_registered(const P2p__V1__RegisterResponse *message, struct node_record *ret_theirs,
	     struct node_record **ret_known, size_t *ret_count, struct error *err);
int	 wire_pb_question(const P2p__V1__HaveRequest *message, struct holding_question *ret, struct error *err);
/* Of a content of so many pieces, at merkle_piece_bytes().  Gives: holding_answer_fini(). */
int	 wire_pb_answer(const P2p__V1__HaveResponse *message, uint64_t piece_count, struct holding_answer *ret,
	     struct error *err);

/* Into question->found, where what was read of an answer that is refused stays. */
int	 wire_pb_directories(const P2p__V1__DirectoriesResponse *message, struct directory_question *question,
	     struct error *err);

/* Encoders. */
P2p__V1__Content	*wire_pb_of_content(const struct content_id *content);
P2p__V1__DownloadManyRequest *wire_pb_of_batch(const struct batch *batch);
P2p__V1__Node		*wire_pb_of_node(const struct node_record *node);
P2p__V1__RegisterRequest *wire_pb_of_hello(const struct node_hello *hello);
P2p__V1__Notice		*wire_pb_of_notice(const struct notice *notice);
P2p__V1__Peer		*wire_pb_of_peer(const struct peer_info *peer);
P2p__V1__File		*wire_pb_of_found(const struct catalog_found *found);
P2p__V1__Subdirectory	*wire_pb_of_subdirectory(const struct catalog_found *found);
P2p__V1__ChangesResponse *wire_pb_of_changes(const struct change_page *page);
P2p__V1__RegisterResponse *wire_pb_of_registered(const struct node_record *mine, const struct node_record *known, size_t count);
P2p__V1__HaveRequest	*wire_pb_of_question(const struct holding_question *question);
P2p__V1__HaveResponse	*wire_pb_of_answer(const struct holding_answer *answer);
P2p__V1__DirectoriesResponse *wire_pb_of_directories(const struct directory *found, size_t count);
P2p__V1__Event		*wire_pb_of_event(const struct event *event, uint64_t run);

#endif
