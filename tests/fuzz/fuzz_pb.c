/* SPDX-License-Identifier: MIT
 *
 * fuzz_pb.c - protobuf messages, fed with anything.  The first byte chooses the message.
 *
 * What is accepted must survive being packed and read again.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"
#include "wire_pb.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t len);

static const ProtobufCMessageDescriptor *const descriptors[] = {
	&p2p__v1__changes_response__descriptor,
	&p2p__v1__register_response__descriptor,
	&p2p__v1__node__descriptor,
	&p2p__v1__notice__descriptor,
	&p2p__v1__content__descriptor,
	&p2p__v1__search_request__descriptor,
	&p2p__v1__stat_request__descriptor,
	&p2p__v1__upload_request__descriptor,
	&p2p__v1__download_request__descriptor,
	&p2p__v1__event__descriptor,
	/* The corpus counts on the numbers of those above. */
	&p2p__v1__have_request__descriptor,
	&p2p__v1__have_response__descriptor,
	&p2p__v1__directories_request__descriptor,
	&p2p__v1__directories_response__descriptor,
	&p2p__v1__register_request__descriptor,
};
#define PIECES      2000 /* of the content of an answer */
#define DESCRIPTORS (sizeof(descriptors) / sizeof(descriptors[0]))

/* Packs and frees `message`, and unpacks it again. */
static void *
travel(void *message)
{
	const ProtobufCMessage *base = message;
	const ProtobufCMessageDescriptor *descriptor = base->descriptor;
	size_t len = protobuf_c_message_get_packed_size(base);
	uint8_t *data = mem_alloc(len + 1);

	protobuf_c_message_pack(base, data);
	protobuf_c_message_free_unpacked(message, NULL);
	void *back = wire_pb_unpack(descriptor, data, len, NULL);
	free(data);
	return back;
}

static void
drop(void *message)
{
	protobuf_c_message_free_unpacked(message, NULL);
}

static void
try_changes(const void *message)
{
	struct change_page *page, *again;
	struct error err;

	if (wire_pb_changes(message, &page, &err) != P2P_OK)
		return;
	P2p__V1__ChangesResponse *back = travel(wire_pb_of_changes(page));
	assert(back != NULL && wire_pb_changes(back, &again, &err) == P2P_OK);
	assert(again->count == page->count && again->head == page->head);
	drop(back);
	change_page_free(page);
	change_page_free(again);
}

static void
try_registered(const void *message)
{
	struct node_record theirs, *known;
	struct error err;
	size_t count;

	if (wire_pb_registered(message, &theirs, &known, &count, &err) == P2P_OK)
		free(known);
}

static void
try_node(const void *message)
{
	struct node_record node, again;
	struct error err;

	if (wire_pb_node(message, &node, &err) != P2P_OK)
		return;
	P2p__V1__Node *back = travel(wire_pb_of_node(&node));
	assert(back != NULL && wire_pb_node(back, &again, &err) == P2P_OK);
	assert(strcmp(node.name, again.name) == 0 && node.seq == again.seq);
	drop(back);
}

static void
try_hello(const void *message)
{
	struct node_hello hello, again;
	struct error err;

	if (wire_pb_hello(message, &hello, &err) != P2P_OK)
		return;
	P2p__V1__RegisterRequest *back = travel(wire_pb_of_hello(&hello));
	assert(back != NULL && wire_pb_hello(back, &again, &err) == P2P_OK);
	assert(hello.view.is_told == again.view.is_told);
	assert(memcmp(hello.view.sums, again.view.sums, sizeof(hello.view.sums)) == 0);
	drop(back);
}

static void
try_small(const void *message, size_t which)
{
	struct content_id content, again;
	struct notice notice;
	struct error err;

	if (which == 3) {
		wire_pb_notice(message, &notice, &err);
	} else if (wire_pb_content(message, &content, &err) == P2P_OK) {
		P2p__V1__Content *back = travel(wire_pb_of_content(&content));
		assert(back != NULL && wire_pb_content(back, &again, &err) == P2P_OK);
		assert(content_equal(&content, &again));
		drop(back);
	}
}

static void
try_question(const void *message)
{
	struct holding_question question, again;
	struct error err;

	if (wire_pb_question(message, &question, &err) != P2P_OK)
		return;
	P2p__V1__HaveRequest *back = travel(wire_pb_of_question(&question));
	assert(back != NULL && wire_pb_question(back, &again, &err) == P2P_OK);
	assert(again.since == question.since && again.wait_ms == question.wait_ms);
	drop(back);
}

static void
try_answer(const void *message)
{
	struct holding_answer answer, again;
	struct error err;

	if (wire_pb_answer(message, PIECES, &answer, &err) != P2P_OK)
		return;
	P2p__V1__HaveResponse *back = travel(wire_pb_of_answer(&answer));
	assert(back != NULL && wire_pb_answer(back, PIECES, &again, &err) == P2P_OK);
	assert(again.piece_count == answer.piece_count && again.bits_len == answer.bits_len);
	drop(back);
	holding_answer_fini(&answer);
	holding_answer_fini(&again);
}

static void
try_directories(const void *message)
{
	struct directory found[3];
	struct directory_question question = { .count = 3, .found = found };
	struct error err;

	if (wire_pb_directories(message, &question, &err) != P2P_OK)
		return;
	P2p__V1__DirectoriesResponse *back = travel(wire_pb_of_directories(found, 3));
	assert(back != NULL && wire_pb_directories(back, &question, &err) == P2P_OK);
	drop(back);
}

int
LLVMFuzzerTestOneInput(const unsigned char *data, size_t len)
{
	if (len == 0)
		return 0;

	size_t which = data[0] % DESCRIPTORS;
	struct error err;
	ProtobufCMessage *message = wire_pb_unpack(descriptors[which], data + 1, len - 1, &err);

	if (message == NULL)
		return 0;
	if (which == 0)
		try_changes(message);
	else if (which == 1)
		try_registered(message);
	else if (which == 2)
		try_node(message);
	else if (which <= 4)
		try_small(message, which);
	else if (which == 10)
		try_question(message);
	else if (which == 11)
		try_answer(message);
	else if (which == 13)
		try_directories(message);
	else if (which == 14)
		try_hello(message);
	/* Whatever was unpacked can be packed, and that unpacked. */
	message = travel(message);
	assert(message != NULL);
	drop(message);
	return 0;
}
