/* SPDX-License-Identifier: MIT
 *
 * check_wire_pb.c - what one peer packs the other reads back, what nobody should send is refused,
 * and what is hostile costs nothing.
 */
#include "wire_pb.h"

#include <check.h>
#include <grpc/status.h>
#include <stdlib.h>
#include <string.h>

#include "codes.h"
#include "mem.h"
#include "merkle.h"
#include "name.h"

#define PEER       "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define OTHER      "baaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define ROOT       "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define NUMBER_MAX ((1ull << 53) - 1)

/* --- samples --- */

static struct node_record
sample_node(void)
{
	struct node_record node = { .name = "host \xc3\xa4",
				    .version = "0.1.0",
				    .address_count = 2,
				    .addresses = { "http://127.0.0.1:5001", "http://[::1]:5001" },
				    .epoch = 1795363602163,
				    .seq = 7,
				    .file_count = 3,
				    .byte_count = 1ull << 44 };

	strcpy(node.id, PEER);
	return node;
}

static struct content_id
sample_content(void)
{
	struct content_id content = { .size_bytes = 1ull << 44 };

	ck_assert(digest_parse_hex(ROOT, &content.root));
	return content;
}

static struct change_page *
sample_page(void)
{
	struct change_page *page = change_page_new();
	struct change added = { .seq = 5,
				.name = (char *)"a/\xc3\xbc.txt",
				.content = sample_content(),
				.mtime_ns = -1795363366834658712,
				.mode = 0750 };
	struct change removed = { .seq = 6, .name = (char *)"gone", .is_removed = true };

	strcpy(page->peer, PEER);
	page->epoch = 3, page->since = 4, page->through = 6, page->head = 9, page->is_reset = true;
	page->file_count = 1, page->byte_count = 1ull << 44;
	ck_assert(change_page_add(page, &added));
	ck_assert(change_page_add(page, &removed));
	return page;
}

/* Of ten pieces. */
#define PIECES 10

static struct holding_question
sample_question(void)
{
	struct holding_question question = { .content = sample_content(),
					     .since = UINT64_MAX,
					     .wait_ms = HOLDINGS_WAIT_MAX_MS };

	strcpy(question.peer, PEER);
	return question;
}

static struct holding_answer
sample_news(void)
{
	static uint64_t pieces[] = { 9, 0, 3 }, coming[] = { 5 };
	static char peers[2][PEER_ID_SIZE] = { PEER, OTHER };

	return (struct holding_answer){ .next = 7,
					.pieces = pieces,
					.piece_count = 3,
					.coming = coming,
					.coming_count = 1,
					.peers = peers,
					.peer_count = 2 };
}

static struct holding_answer
sample_full(void)
{
	static unsigned char bits[] = { 0xa5, 0x40 };
	struct holding_answer answer = sample_news();

	answer.is_full = true;
	answer.bits = bits;
	answer.bits_len = sizeof(bits);
	answer.piece_count = answer.coming_count = 0;
	return answer;
}

/* --- there and back --- */

/* Packs `message`, frees it, and unpacks it again. */
static void *
travel(void *message)
{
	const ProtobufCMessage *base = message;
	const ProtobufCMessageDescriptor *descriptor = base->descriptor;
	struct error err = { 0 };
	size_t len = protobuf_c_message_get_packed_size(base);
	uint8_t *data = mem_alloc(len + 1);

	ck_assert_uint_eq(protobuf_c_message_pack(base, data), len);
	protobuf_c_message_free_unpacked(message, NULL);
	void *back = wire_pb_unpack(descriptor, data, len, &err);
	ck_assert_msg(back != NULL, "%s", err.text);
	free(data);
	return back;
}

static void
drop(void *message)
{
	protobuf_c_message_free_unpacked(message, NULL);
}

static void
assert_same_node(const struct node_record *a, const struct node_record *b)
{
	ck_assert_str_eq(a->id, b->id);
	ck_assert_str_eq(a->name, b->name);
	ck_assert_str_eq(a->version, b->version);
	ck_assert_uint_eq(a->address_count, b->address_count);
	for (size_t i = 0; i < a->address_count; i++)
		ck_assert_str_eq(a->addresses[i], b->addresses[i]);
	ck_assert_uint_eq(a->epoch, b->epoch);
	ck_assert_uint_eq(a->seq, b->seq);
	ck_assert_uint_eq(a->file_count, b->file_count);
	ck_assert_uint_eq(a->byte_count, b->byte_count);
}

START_TEST(test_a_content_comes_back)
{
	struct content_id content = sample_content(), back, empty = { 0 };
	P2p__V1__Content *message = travel(wire_pb_of_content(&content));

	ck_assert_int_eq(wire_pb_content(message, &back, NULL), P2P_OK);
	ck_assert(content_equal(&content, &back));
	drop(message);
	merkle_empty_root(&empty.root);
	message = travel(wire_pb_of_content(&empty));
	ck_assert_int_eq(wire_pb_content(message, &back, NULL), P2P_OK);
	ck_assert(content_equal(&empty, &back));
	drop(message);
}
END_TEST

START_TEST(test_a_node_record_comes_back_as_it_was)
{
	struct node_record node = sample_node(), back;
	P2p__V1__Node *message = travel(wire_pb_of_node(&node));

	ck_assert_int_eq(wire_pb_node(message, &back, NULL), P2P_OK);
	assert_same_node(&node, &back);
	drop(message);
	node.version[0] = '\0';
	node.address_count = 0;
	message = travel(wire_pb_of_node(&node));
	ck_assert_int_eq(wire_pb_node(message, &back, NULL), P2P_OK);
	assert_same_node(&node, &back);
	drop(message);
}
END_TEST

START_TEST(test_a_greeting_comes_back_with_a_view_or_none)
{
	struct node_hello hello = { .node = sample_node() }, back;

	for (int told = 0; told < 2; told++) {
		hello.view.is_told = told == 1;
		for (uint32_t i = 0; told == 1 && i < NODE_VIEW_SUMS; i++)
			hello.view.sums[i] = UINT32_MAX - i;
		P2p__V1__RegisterRequest *message = travel(wire_pb_of_hello(&hello));
		ck_assert_int_eq(wire_pb_hello(message, &back, NULL), P2P_OK);
		assert_same_node(&hello.node, &back.node);
		ck_assert(back.view.is_told == hello.view.is_told);
		ck_assert_mem_eq(back.view.sums, hello.view.sums, sizeof(back.view.sums));
		drop(message);
	}
}
END_TEST

START_TEST(test_a_view_of_too_few_or_many_sums_is_refused)
{
	struct node_hello hello = { .node = sample_node(), .view = { .is_told = true } }, back;
	P2p__V1__RegisterRequest *message = wire_pb_of_hello(&hello);
	uint32_t sums[NODE_VIEW_SUMS + 1] = { 0 }, *own = message->view;
	struct error err;

	message->view = sums;
	for (message->n_view = 1; message->n_view <= NODE_VIEW_SUMS + 1; message->n_view++) {
		int code = wire_pb_hello(message, &back, &err);

		ck_assert_int_eq(code,
				 message->n_view == NODE_VIEW_SUMS ? P2P_OK : P2P_BAD_REQUEST);
		ck_assert(code == P2P_OK || strncmp(err.text, "view: ", 6) == 0);
	}
	message->view = own;
	message->n_view = NODE_VIEW_SUMS;
	drop(message);
}
END_TEST

START_TEST(test_an_answer_with_a_thousand_peers_of_eight_addresses_comes_back)
{
	struct node_record mine = sample_node(), theirs, *back = NULL;
	struct node_record *known = mem_zero(NODE_KNOWN_MAX, sizeof(*known));
	size_t count;

	mine.address_count = NODE_ADDRESSES_MAX;
	for (size_t i = 0; i < NODE_ADDRESSES_MAX; i++)
		strcpy(mine.addresses[i], "http://example.org:65535");
	for (size_t i = 0; i < NODE_KNOWN_MAX; i++)
		known[i] = mine, known[i].seq = i;
	P2p__V1__RegisterResponse *message =
	    travel(wire_pb_of_registered(&mine, known, NODE_KNOWN_MAX));
	ck_assert_int_eq(wire_pb_registered(message, &theirs, &back, &count, NULL), P2P_OK);
	ck_assert_uint_eq(count, NODE_KNOWN_MAX);
	assert_same_node(&mine, &theirs);
	assert_same_node(&known[999], &back[999]);
	drop(message);
	free(back);
	message = travel(wire_pb_of_registered(&mine, NULL, 0));
	ck_assert_int_eq(wire_pb_registered(message, &theirs, &back, &count, NULL), P2P_OK);
	ck_assert_uint_eq(count, 0);
	ck_assert_ptr_null(back);
	drop(message);
	free(known);
}
END_TEST

START_TEST(test_a_notice_comes_back)
{
	struct notice notice = { .peer = PEER, .epoch = 1, .seq = NUMBER_MAX, .is_lost = _i == 1 };
	struct notice back;
	P2p__V1__Notice *message = travel(wire_pb_of_notice(&notice));

	ck_assert_int_eq(wire_pb_notice(message, &back, NULL), P2P_OK);
	ck_assert_str_eq(back.peer, PEER);
	ck_assert_uint_eq(back.epoch, 1);
	ck_assert_uint_eq(back.seq, NUMBER_MAX);
	ck_assert(back.is_lost == notice.is_lost);
	drop(message);
}
END_TEST

START_TEST(test_a_page_of_changes_comes_back_to_the_nanosecond)
{
	struct change_page *page = sample_page(), *back;
	P2p__V1__ChangesResponse *message = travel(wire_pb_of_changes(page));

	ck_assert_int_eq(wire_pb_changes(message, &back, NULL), P2P_OK);
	ck_assert_str_eq(back->peer, PEER);
	ck_assert(back->epoch == 3 && back->since == 4 && back->through == 6 && back->head == 9);
	ck_assert(back->is_reset && back->file_count == 1 && back->byte_count == 1ull << 44);
	ck_assert_uint_eq(back->count, 2);
	ck_assert_uint_eq(back->items[0].seq, 5);
	ck_assert_str_eq(back->items[0].name, page->items[0].name);
	ck_assert(content_equal(&back->items[0].content, &page->items[0].content));
	ck_assert_int_eq(back->items[0].mtime_ns, page->items[0].mtime_ns);
	ck_assert_uint_eq(back->items[0].mode, 0750);
	ck_assert(back->items[1].is_removed);
	ck_assert_uint_eq(back->items[1].content.size_bytes, 0);
	drop(message);
	change_page_free(page);
	change_page_free(back);
}
END_TEST

START_TEST(test_a_full_page_of_long_names_fits_into_a_message)
{
	struct change_page *page = change_page_new(), *back;
	char name[NAME_SIZE];
	struct change change = { .name = name, .content = sample_content(), .mode = 0644 };

	memset(name, 'n', NAME_MAX_BYTES);
	name[NAME_MAX_BYTES] = '\0';
	strcpy(page->peer, PEER);
	for (change.seq = 1; change.seq <= CHANGE_PAGE_MAX; change.seq++)
		ck_assert(change_page_add(page, &change));
	P2p__V1__ChangesResponse *message = travel(wire_pb_of_changes(page));
	ck_assert_int_eq(wire_pb_changes(message, &back, NULL), P2P_OK);
	ck_assert_uint_eq(back->count, CHANGE_PAGE_MAX);
	drop(message);
	change_page_free(page);
	change_page_free(back);
}
END_TEST

START_TEST(test_the_largest_layer_fits_into_a_message)
{
	P2p__V1__LayerResponse *message = mem_alloc(sizeof(*message));

	p2p__v1__layer_response__init(message);
	message->nodes.len = (size_t)MERKLE_LAYER_MAX * DIGEST_BYTES;
	message->nodes.data = mem_zero(1, message->nodes.len);
	message->piece = MERKLE_PIECE_MAX;
	message = travel(message);
	ck_assert_uint_eq(message->nodes.len, (size_t)MERKLE_LAYER_MAX * DIGEST_BYTES);
	drop(message);
}
END_TEST

START_TEST(test_a_question_what_is_held_comes_back)
{
	struct holding_question question = sample_question(), back;
	P2p__V1__HaveRequest *message = travel(wire_pb_of_question(&question));

	ck_assert_int_eq(wire_pb_question(message, &back, NULL), P2P_OK);
	ck_assert(content_equal(&back.content, &question.content));
	ck_assert(back.since == UINT64_MAX && back.wait_ms == HOLDINGS_WAIT_MAX_MS);
	ck_assert_str_eq(back.peer, PEER);
	drop(message);
	question = (struct holding_question){ .content = sample_content() };
	message = travel(wire_pb_of_question(&question));
	ck_assert_int_eq(wire_pb_question(message, &back, NULL), P2P_OK);
	ck_assert(back.since == 0 && back.wait_ms == 0 && back.peer[0] == '\0');
	drop(message);
}
END_TEST

/* What comes back of an answer of PIECES pieces: fini. */
static struct holding_answer
travel_answer(const struct holding_answer *answer)
{
	P2p__V1__HaveResponse *message = travel(wire_pb_of_answer(answer));
	struct holding_answer back;

	ck_assert_int_eq(wire_pb_answer(message, PIECES, &back, NULL), P2P_OK);
	drop(message);
	ck_assert_uint_eq(back.next, answer->next);
	ck_assert(back.is_whole == answer->is_whole && back.is_full == answer->is_full);
	return back;
}

START_TEST(test_what_is_held_comes_back_as_bits_as_news_or_as_all)
{
	struct holding_answer full = sample_full(), news = sample_news();
	struct holding_answer all = { .is_whole = true, .is_full = true, .next = UINT64_MAX };
	struct holding_answer nothing = { 0 }, back = travel_answer(&full);

	ck_assert_uint_eq(back.bits_len, 2);
	ck_assert_mem_eq(back.bits, full.bits, 2);
	ck_assert_uint_eq(back.peer_count, 2);
	ck_assert_str_eq(back.peers[1], OTHER);
	holding_answer_fini(&back);
	back = travel_answer(&news);
	ck_assert_ptr_null(back.bits);
	ck_assert_uint_eq(back.piece_count, 3);
	ck_assert_mem_eq(back.pieces, news.pieces, 3 * sizeof(uint64_t));
	ck_assert_uint_eq(back.coming_count, 1);
	ck_assert_uint_eq(back.coming[0], 5);
	holding_answer_fini(&back);
	back = travel_answer(&all);
	ck_assert(back.bits_len == 0 && back.peer_count == 0);
	holding_answer_fini(&back);
	back = travel_answer(&nothing);
	ck_assert(back.bits == NULL && back.pieces == NULL && back.peers == NULL);
	holding_answer_fini(&back);
}
END_TEST

START_TEST(test_as_much_as_an_answer_may_tell_comes_back)
{
	struct holding_answer full = { .is_full = true, .bits_len = MERKLE_LAYER_MAX / 8 };
	struct holding_answer news = { .piece_count = HOLDINGS_NEWS_MAX,
				       .coming_count = HOLDINGS_NEWS_MAX,
				       .peer_count = HOLDINGS_NEWS_MAX };
	struct holding_answer back;

	full.bits = mem_zero(1, full.bits_len);
	full.bits[full.bits_len - 1] = 1;
	P2p__V1__HaveResponse *message = travel(wire_pb_of_answer(&full));
	ck_assert_int_eq(wire_pb_answer(message, MERKLE_LAYER_MAX, &back, NULL), P2P_OK);
	ck_assert_mem_eq(back.bits, full.bits, full.bits_len);
	drop(message);
	holding_answer_fini(&back);
	holding_answer_fini(&full);
	news.pieces = mem_zero(HOLDINGS_NEWS_MAX, sizeof(uint64_t));
	news.coming = mem_zero(HOLDINGS_NEWS_MAX, sizeof(uint64_t));
	news.peers = mem_zero(HOLDINGS_NEWS_MAX, sizeof(*news.peers));
	for (size_t i = 0; i < HOLDINGS_NEWS_MAX; i++) {
		news.pieces[i] = MERKLE_LAYER_MAX - 1 - i;
		strcpy(news.peers[i], PEER);
	}
	message = travel(wire_pb_of_answer(&news));
	ck_assert_int_eq(wire_pb_answer(message, MERKLE_LAYER_MAX, &back, NULL), P2P_OK);
	ck_assert_mem_eq(back.pieces, news.pieces, HOLDINGS_NEWS_MAX * sizeof(uint64_t));
	ck_assert_str_eq(back.peers[HOLDINGS_NEWS_MAX - 1], PEER);
	drop(message);
	holding_answer_fini(&back);
	holding_answer_fini(&news);
}
END_TEST

START_TEST(test_who_tells_only_that_all_is_here_is_understood)
{
	/* What was told before there were pieces. */
	struct error err;
	struct holding_answer back;
	P2p__V1__HaveResponse *message = (P2p__V1__HaveResponse *)wire_pb_unpack(
	    &p2p__v1__have_response__descriptor, "\x08\x01", 2, &err);

	ck_assert_int_eq(wire_pb_answer(message, PIECES, &back, NULL), P2P_OK);
	ck_assert(back.is_whole && back.next == 0 && back.peer_count == 0);
	drop(message);
	holding_answer_fini(&back);
}
END_TEST

START_TEST(test_a_peer_is_told_with_its_state)
{
	static const struct {
		enum peer_state state;
		P2p__V1__PeerState told;
	} states[] = { { PEER_HERE, P2P__V1__PEER_STATE__PEER_STATE_HERE },
		       { PEER_SUSPECT, P2P__V1__PEER_STATE__PEER_STATE_SUSPECT },
		       { PEER_AWAY, P2P__V1__PEER_STATE__PEER_STATE_AWAY } };
	struct peer_info peer = { .id = PEER,
				  .name = "n",
				  .version = "v",
				  .address = "http://h:1",
				  .round_trip_us = 250,
				  .file_count = 1,
				  .byte_count = 2,
				  .epoch = 3,
				  .seq = 4,
				  .heard_ms_ago = UINT64_MAX,
				  .heard_wall_ms = 1795363366834 };

	for (size_t i = 0; i < 3; i++) {
		peer.state = states[i].state;
		P2p__V1__Peer *message = travel(wire_pb_of_peer(&peer));
		ck_assert_int_eq(message->state, states[i].told);
		ck_assert_str_eq(message->id, PEER);
		ck_assert_str_eq(message->address, "http://h:1");
		ck_assert_int_eq(message->heard_ms, 1795363366834);
		ck_assert(message->round_trip_us == 250 && message->file_count == 1 &&
			  message->byte_count == 2 && message->epoch == 3 && message->seq == 4);
		drop(message);
	}
}
END_TEST

START_TEST(test_a_found_file_is_told_with_all_its_holders)
{
	struct catalog_found found = { .name = "a/b",
				       .content = sample_content(),
				       .mtime_ns = -1,
				       .mode = 0100644,
				       .is_local = true,
				       .holder_count = 2,
				       .holders = PEER " " OTHER " " };
	P2p__V1__File *message = travel(wire_pb_of_found(&found));

	ck_assert_str_eq(message->name, "a/b");
	ck_assert_uint_eq(message->content->size, found.content.size_bytes);
	ck_assert_uint_eq(message->n_holders, 2);
	ck_assert_str_eq(message->holders[0], PEER);
	ck_assert_str_eq(message->holders[1], OTHER);
	ck_assert(message->is_local && message->mtime_ns == -1 && message->mode == 0644);
	drop(message);
	/* A list that is shorter than its number, and none at all. */
	found.holder_count = 5;
	message = wire_pb_of_found(&found);
	ck_assert_uint_eq(message->n_holders, 2);
	drop(message);
	found.holders = NULL;
	message = wire_pb_of_found(&found);
	ck_assert_uint_eq(message->n_holders, 0);
	drop(message);
}
END_TEST

START_TEST(test_a_subdirectory_is_told_with_what_it_weighs)
{
	struct catalog_found found = {
		.is_directory = true, .name = "a/", .files = 100, .bytes = 7, .is_cut = true
	};
	P2p__V1__Subdirectory *message = travel(wire_pb_of_subdirectory(&found));

	ck_assert_str_eq(message->name, "a/");
	ck_assert(message->files == 100 && message->bytes == 7 && message->more);
	drop(message);
}
END_TEST

START_TEST(test_an_event_is_told_with_its_id_and_repaired_text)
{
	struct event *event = event_new(EVENT_FETCH_FAILED);
	event->id = 12;
	event->wall_ms = 5;
	strcpy(event->peer, PEER);
	event->name = mem_string("f");
	event->content = sample_content();
	event->has_content = true;
	event->fetch = 3;
	event->done_bytes = 10, event->total_bytes = 20, event->sources = 2;
	event->code = P2P_NO_HOLDER;
	event->text = mem_string("bad \xff\xc3\xa4\xc3 byte");
	P2p__V1__Event *message = travel(wire_pb_of_event(event, 77));

	ck_assert_str_eq(message->id, "77-12");
	ck_assert_str_eq(message->event, "fetch-failed");
	ck_assert_str_eq(message->slug, "no-holder");
	ck_assert_str_eq(message->text, "bad ?\xc3\xa4? byte");
	ck_assert_str_eq(message->peer_name, "");
	ck_assert_ptr_nonnull(message->content);
	ck_assert(message->fetch == 3 && message->done_bytes == 10 && message->sources == 2);
	drop(message);
	event_unref(event);
	event = event_new(EVENT_EVENTS_LOST);
	message = travel(wire_pb_of_event(event, 77));
	/* Where to go on after it, also if that is the beginning. */
	ck_assert_str_eq(message->id, "77-0");
	ck_assert_str_eq(message->slug, "");
	ck_assert_str_eq(message->text, "");
	ck_assert_ptr_null(message->content);
	drop(message);
	event_unref(event);
}
END_TEST

/* --- statuses --- */

START_TEST(test_every_code_has_a_status_and_comes_back_by_its_slug)
{
	for (int code = P2P_CODES_START + 1; code < P2P_CODES_END; code++) {
		struct error err, back = { 0 };
		int status = wire_pb_grpc_status(code);

		error_set(&err, code, "what: %d went wrong", code);
		char *text = wire_pb_status(&err);
		ck_assert_int_gt(status, GRPC_STATUS_OK);
		ck_assert_int_le(status, GRPC_STATUS_UNAUTHENTICATED);
		ck_assert(wire_pb_status_parse(text, &back));
		ck_assert_int_eq(back.code, code);
		ck_assert_str_eq(back.text, err.text);
		ck_assert_int_lt(wire_pb_code_of_status(status), 0);
		free(text);
	}
	ck_assert_int_eq(wire_pb_grpc_status(P2P_OK), GRPC_STATUS_OK);
	ck_assert_int_eq(wire_pb_grpc_status(P2P_NOT_FOUND), GRPC_STATUS_NOT_FOUND);
	ck_assert_int_eq(wire_pb_grpc_status(P2P_NO_SPACE), GRPC_STATUS_RESOURCE_EXHAUSTED);
	ck_assert_int_eq(wire_pb_grpc_status(-1), GRPC_STATUS_INTERNAL);
	ck_assert_int_eq(wire_pb_grpc_status(P2P_CODES_START), GRPC_STATUS_INTERNAL);
}
END_TEST

START_TEST(test_a_status_without_a_sentence_tells_the_title_and_foreign_bytes_are_repaired)
{
	struct error err = { .code = P2P_NOT_FOUND };
	char *text = wire_pb_status(&err);

	ck_assert_str_eq(text, "not-found: No such thing");
	free(text);
	error_set(&err, P2P_BAD_NAME, "no \xfe");
	text = wire_pb_status(&err);
	ck_assert_str_eq(text, "bad-name: no ?");
	free(text);
}
END_TEST

START_TEST(test_statuses_of_others_are_no_slugs)
{
	static const char *const texts[] = {
		"",
		":",
		": ",
		"not-found",
		"not-found:",
		"not-found:x",
		"Deadline Exceeded",
		"Socket closed: not-found: x",
		"nonsense: x",
		"failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:1",
	};
	struct error err = { .code = 5 };

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		ck_assert_msg(!wire_pb_status_parse(texts[i], &err), "%s", texts[i]);
	ck_assert_int_eq(err.code, 5);
	ck_assert_int_eq(wire_pb_code_of_status(GRPC_STATUS_OK), P2P_OK);
	ck_assert_int_eq(wire_pb_code_of_status(GRPC_STATUS_UNAVAILABLE), P2P_UNREACHABLE);
	ck_assert_int_eq(wire_pb_code_of_status(GRPC_STATUS_DEADLINE_EXCEEDED), P2P_TIMEOUT);
	ck_assert_int_eq(wire_pb_code_of_status(99), P2P_BAD_ANSWER);
	ck_assert_int_eq(wire_pb_code_of_status(-1), P2P_BAD_ANSWER);
}
END_TEST

/* --- refusals --- */

/* Refused, and the sentence names the field. */
#define ck_assert_refused(call, field)                                                         \
	do {                                                                                   \
		struct error err = { 0 };                                                      \
		ck_assert_int_eq(call, P2P_BAD_REQUEST);                                       \
		ck_assert_msg(strstr(err.text, field) != NULL, "%s: \"%s\"", field, err.text); \
	} while (0)

START_TEST(test_contents_that_cannot_be_are_refused)
{
	struct content_id content = sample_content(), back = { .size_bytes = 99 };
	uint8_t bytes[64] = { 0 };

	ck_assert_refused(wire_pb_content(NULL, &back, &err), "content");
	P2p__V1__Content message = P2P__V1__CONTENT__INIT;
	ck_assert_refused(wire_pb_content(&message, &back, &err), "root");
	message.root = (ProtobufCBinaryData){ 31, bytes };
	ck_assert_refused(wire_pb_content(&message, &back, &err), "root");
	message.root.len = 33;
	ck_assert_refused(wire_pb_content(&message, &back, &err), "root");
	message.root = (ProtobufCBinaryData){ 32, content.root.bytes };
	ck_assert_refused(wire_pb_content(&message, &back, &err), "root");
	message.size = MERKLE_CONTENT_MAX + 1;
	ck_assert_refused(wire_pb_content(&message, &back, &err), "size");
	message.size = UINT64_MAX;
	ck_assert_refused(wire_pb_content(&message, &back, &err), "size");
	ck_assert_uint_eq(back.size_bytes, 99);
}
END_TEST

/* Refuses the sample node after one change of its message. */
#define refuse_node(field, change)                                             \
	do {                                                                   \
		struct node_record node = sample_node(), back = { .seq = 99 }; \
		P2p__V1__Node *whole = wire_pb_of_node(&node), it = *whole;    \
		change;                                                        \
		ck_assert_refused(wire_pb_node(&it, &back, &err), field);      \
		ck_assert_uint_eq(back.seq, 99);                               \
		drop(whole);                                                   \
	} while (0)

START_TEST(test_node_records_that_make_no_sense_are_refused)
{
	char *nine[9], long_text[256];
	struct node_record unused;

	memset(long_text, 'a', sizeof(long_text));
	long_text[255] = '\0';
	for (size_t i = 0; i < 9; i++)
		nine[i] = (char *)"http://h:1";
	ck_assert_refused(wire_pb_node(NULL, &unused, &err), "node");
	refuse_node("id", it.id = (char *)"");
	refuse_node("id", it.id = (char *)PEER "a");
	refuse_node("id", it.id = (char *)"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
	refuse_node("name", it.name = (char *)"");
	refuse_node("name", it.name = long_text);
	refuse_node("name", it.name = (char *)"\xff");
	refuse_node("name", it.name = (char *)"a\nb");
	refuse_node("version", it.version = long_text);
	refuse_node("version", it.version = (char *)"1 2");
	refuse_node("addresses", (it.addresses = nine, it.n_addresses = 9));
	refuse_node("addresses", (nine[0] = long_text, it.addresses = nine, it.n_addresses = 1));
	refuse_node("address", (nine[0] = (char *)"ftp://h:1", it.addresses = nine));
	refuse_node("address", (nine[0] = (char *)"", it.addresses = nine));
	refuse_node("epoch", it.epoch = NUMBER_MAX + 1);
	refuse_node("seq", it.seq = UINT64_MAX);
	refuse_node("file_count", it.file_count = 1ull << 63);
	refuse_node("byte_count", it.byte_count = 1ull << 63);
}
END_TEST

START_TEST(test_a_bad_answer_to_a_registration_is_refused_as_a_whole)
{
	struct node_record mine = sample_node(), theirs = { .seq = 99 }, *known = &mine;
	size_t count = 5;
	P2p__V1__RegisterResponse *message = wire_pb_of_registered(&mine, &mine, 1);
	P2p__V1__RegisterResponse it = *message;
	P2p__V1__Node *too_many[NODE_KNOWN_MAX + 1];

	for (size_t i = 0; i <= NODE_KNOWN_MAX; i++)
		too_many[i] = message->node;
	it.node = NULL;
	ck_assert_refused(wire_pb_registered(&it, &theirs, &known, &count, &err), "node");
	it.node = message->node;
	it.known = too_many;
	it.n_known = NODE_KNOWN_MAX + 1;
	ck_assert_refused(wire_pb_registered(&it, &theirs, &known, &count, &err), "known");
	it.n_known = 2;
	P2p__V1__Node bad = *message->node;
	bad.seq = UINT64_MAX;
	too_many[1] = &bad;
	ck_assert_refused(wire_pb_registered(&it, &theirs, &known, &count, &err), "seq");
	ck_assert(theirs.seq == 99 && known == &mine && count == 5);
	drop(message);
}
END_TEST

START_TEST(test_notices_that_make_no_sense_are_refused)
{
	P2p__V1__Notice message = P2P__V1__NOTICE__INIT;
	struct notice back = { .seq = 99 };

	ck_assert_refused(wire_pb_notice(&message, &back, &err), "peer");
	message.peer = (char *)PEER;
	message.epoch = NUMBER_MAX + 1;
	ck_assert_refused(wire_pb_notice(&message, &back, &err), "epoch");
	message.epoch = 1;
	message.seq = UINT64_MAX;
	ck_assert_refused(wire_pb_notice(&message, &back, &err), "seq");
	ck_assert_uint_eq(back.seq, 99);
}
END_TEST

#define refuse_page(field, change)                                                       \
	do {                                                                             \
		struct change_page *page = sample_page(), *back = page;                  \
		P2p__V1__ChangesResponse *whole = wire_pb_of_changes(page), it = *whole; \
		P2p__V1__Change item = *whole->changes[0];                               \
		P2p__V1__Change *items[] = { whole->changes[1], &item };                 \
		it.changes = items;                                                      \
		change;                                                                  \
		ck_assert_refused(wire_pb_changes(&it, &back, &err), field);             \
		ck_assert_ptr_eq(back, page);                                            \
		drop(whole);                                                             \
		change_page_free(page);                                                  \
	} while (0)

START_TEST(test_pages_that_make_no_sense_are_refused)
{
	P2p__V1__Content content = P2P__V1__CONTENT__INIT;
	char long_name[NAME_SIZE + 1];

	memset(long_name, 'n', NAME_SIZE);
	long_name[NAME_SIZE] = '\0';
	refuse_page("peer", it.peer = (char *)"");
	refuse_page("epoch", it.epoch = UINT64_MAX);
	refuse_page("since", it.since = UINT64_MAX);
	refuse_page("through", it.through = UINT64_MAX);
	refuse_page("head", it.head = UINT64_MAX);
	refuse_page("file_count", it.file_count = UINT64_MAX);
	refuse_page("byte_count", it.byte_count = UINT64_MAX);
	refuse_page("changes", it.n_changes = CHANGE_PAGE_MAX + 1);
	refuse_page("seq", item.seq = UINT64_MAX);
	refuse_page("name", item.name = (char *)"");
	refuse_page("name", item.name = (char *)"a\xc0\x80");
	refuse_page("name", item.name = long_name);
	refuse_page("content", item.content = NULL);
	refuse_page("root", item.content = &content);
	refuse_page("mode", item.mode = 01000);
	refuse_page("mode", item.mode = UINT32_MAX);
}
END_TEST

#define refuse_question(field, change)                                        \
	do {                                                                  \
		struct holding_question question = sample_question(), back;   \
		P2p__V1__HaveRequest *whole = wire_pb_of_question(&question); \
		P2p__V1__HaveRequest it = *whole;                             \
		back.since = 99;                                              \
		change;                                                       \
		ck_assert_refused(wire_pb_question(&it, &back, &err), field); \
		ck_assert_uint_eq(back.since, 99);                            \
		drop(whole);                                                  \
	} while (0)

START_TEST(test_questions_that_make_no_sense_are_refused)
{
	P2p__V1__Content content = P2P__V1__CONTENT__INIT;

	refuse_question("content", it.content = NULL);
	refuse_question("root", it.content = &content);
	refuse_question("wait_ms", it.wait_ms = HOLDINGS_WAIT_MAX_MS + 1);
	refuse_question("wait_ms", it.wait_ms = UINT32_MAX);
	refuse_question("peer", it.peer = (char *)"a");
	refuse_question("peer", it.peer = (char *)PEER "a");
}
END_TEST

/* Refuses a sample answer after one change of its message. */
#define refuse_answer(sample, field, change)                                        \
	do {                                                                        \
		struct holding_answer answer = sample(), back = { .next = 99 };     \
		P2p__V1__HaveResponse *whole = wire_pb_of_answer(&answer);          \
		P2p__V1__HaveResponse it = *whole;                                  \
		change;                                                             \
		ck_assert_refused(wire_pb_answer(&it, PIECES, &back, &err), field); \
		ck_assert(back.next == 99 && back.peers == NULL);                   \
		drop(whole);                                                        \
	} while (0)

START_TEST(test_answers_about_pieces_that_make_no_sense_are_refused)
{
	uint64_t many[HOLDINGS_NEWS_MAX + 1] = { 0 }, beyond[] = { 0, PIECES };
	char *peers[HOLDINGS_NEWS_MAX + 1];
	unsigned char behind[] = { 0xa5, 0x60 };

	for (size_t i = 0; i <= HOLDINGS_NEWS_MAX; i++)
		peers[i] = (char *)PEER;
	refuse_answer(sample_full, "bits", it.bits.len = 1);
	refuse_answer(sample_full, "bits", it.bits.len = 0);
	refuse_answer(sample_full, "bits", it.full = false);
	refuse_answer(sample_full, "bits", (it.full = false, it.complete = true));
	refuse_answer(sample_full, "bits", (it.complete = true, it.bits.len = 1));
	refuse_answer(sample_full, "bits", it.bits.data = behind);
	refuse_answer(sample_full, "peers",
		      (it.peers = peers, it.n_peers = HOLDINGS_FOLLOWERS_MAX + 1));
	refuse_answer(sample_news, "peers", (it.peers = peers, it.n_peers = HOLDINGS_NEWS_MAX + 1));
	refuse_answer(sample_news, "peers", (peers[1] = (char *)"", it.peers = peers));
	refuse_answer(sample_news, "pieces",
		      (it.pieces = many, it.n_pieces = HOLDINGS_NEWS_MAX + 1));
	refuse_answer(sample_news, "pieces", (it.pieces = beyond, it.n_pieces = 2));
	refuse_answer(sample_news, "coming",
		      (it.coming = many, it.n_coming = HOLDINGS_NEWS_MAX + 1));
	refuse_answer(sample_news, "coming", (it.coming = beyond, it.n_coming = 2));
	many[0] = UINT64_MAX;
	refuse_answer(sample_news, "pieces", (it.pieces = many, it.n_pieces = 1));
}
END_TEST

/* --- hostile bytes --- */

#define refuse_bytes(descriptor, bytes, word)                                                      \
	do {                                                                                       \
		struct error err = { 0 };                                                          \
		ck_assert_ptr_null(wire_pb_unpack(&(descriptor), bytes, sizeof(bytes) - 1, &err)); \
		ck_assert_int_eq(err.code, P2P_BAD_REQUEST);                                       \
		ck_assert_msg(strstr(err.text, word) != NULL, "%s: \"%s\"", word, err.text);       \
	} while (0)

START_TEST(test_malformed_bytes_are_refused)
{
#define SEARCH p2p__v1__search_request__descriptor
	refuse_bytes(SEARCH, "\x0a", "well-formed"); /* no length */
	refuse_bytes(SEARCH,
		     "\x0a\x05"
		     "abc",
		     "well-formed");                                     /* too short */
	refuse_bytes(SEARCH, "\x0a\xff\xff\xff\xff\x07", "well-formed"); /* 2^31 - 1 bytes */
	refuse_bytes(SEARCH, "\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "well-formed");
	refuse_bytes(SEARCH, "\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "well-formed");
	refuse_bytes(SEARCH, "\x10\xff", "well-formed"); /* half a number */
	refuse_bytes(SEARCH,
		     "\x07"
		     "abcd",
		     "well-formed");                     /* field 0 */
	refuse_bytes(SEARCH, "\x0b\x0c", "well-formed"); /* a group */
	refuse_bytes(SEARCH, "\x7b\x7c", "well-formed"); /* an unknown one */
	refuse_bytes(SEARCH, "\x0e", "well-formed");     /* form 6 */
	refuse_bytes(SEARCH,
		     "\x79"
		     "1234567",
		     "well-formed"); /* short of 8 bytes */
	refuse_bytes(SEARCH,
		     "\x7d"
		     "123",
		     "well-formed");                                     /* short of 4 */
	refuse_bytes(SEARCH, "\xff\xff\xff\xff\x7f\x00", "well-formed"); /* a tag over 2^32 */
	refuse_bytes(SEARCH, "\x0a\x02\xc3\x28", "text: not valid UTF-8");
	refuse_bytes(SEARCH, "\x0a\x03\xed\xa0\x80", "text: not valid UTF-8"); /* a surrogate */
	refuse_bytes(SEARCH, "\x0a\x02\xc0\xaf", "text: not valid UTF-8");     /* overlong */
	refuse_bytes(SEARCH, "\x2a\x01\xff", "cursor: not valid UTF-8");
	refuse_bytes(SEARCH,
		     "\x0a\x03"
		     "a\0b",
		     "text: a NUL");
	/* Within a message, a list and a choice. */
	refuse_bytes(p2p__v1__register_request__descriptor, "\x0a\x03\x12\x01\xff", "name");
	refuse_bytes(p2p__v1__register_request__descriptor, "\x0a\x03\x22\x01\xff", "addresses");
	refuse_bytes(p2p__v1__register_request__descriptor, "\x0a\x02\x12\x05", "well-formed");
	refuse_bytes(p2p__v1__stat_request__descriptor, "\x0a\x03\x0a\x01\xff", "name");
}
END_TEST

/* The two bytes of `each` over and over, `bytes` in all. */
static char *
flood(const char *each, size_t bytes)
{
	char *data = mem_alloc(bytes);

	for (size_t at = 0; at + 2 <= bytes; at += 2)
		memcpy(data + at, each, 2);
	return data;
}

START_TEST(test_a_flood_of_empty_values_is_refused_before_it_costs_memory)
{
	static const struct {
		const ProtobufCMessageDescriptor *descriptor;
		const char *each;
	} floods[] = {
		{ &p2p__v1__changes_response__descriptor, "\x4a\x00" },   /* empty changes */
		{ &p2p__v1__register_response__descriptor, "\x12\x00" },  /* empty nodes */
		{ &p2p__v1__search_response__descriptor, "\x0a\x00" },    /* empty files */
		{ &p2p__v1__list_peers_request__descriptor, "\x78\x01" }, /* unknown fields */
		{ &p2p__v1__node__descriptor, "\x22\x00" },               /* empty addresses */
	};

	for (size_t i = 0; i < sizeof(floods) / sizeof(floods[0]); i++) {
		char *data = flood(floods[i].each, 1u << 20);
		struct error err = { 0 };

		ck_assert_ptr_null(wire_pb_unpack(floods[i].descriptor, data, 1u << 20, &err));
		ck_assert_int_eq(err.code, P2P_BAD_REQUEST);
		ck_assert_ptr_nonnull(strstr(err.text, "values"));
		free(data);
	}
}
END_TEST

START_TEST(test_values_are_counted_through_all_parts_of_a_message)
{
	/* One node with addresses up to the limit: itself, and WIRE_PB_VALUES_MAX - 1 within. */
	size_t len = 2 * (WIRE_PB_VALUES_MAX - 1);
	char *data = mem_alloc(len + 6);
	char *addresses = flood("\x22\x00", len);
	struct error err;

	data[0] = 0x0a;
	data[1] = (char)(0x80 | (len & 0x7f));
	data[2] = (char)(0x80 | (len >> 7 & 0x7f));
	data[3] = (char)(len >> 14);
	memcpy(data + 4, addresses, len);
	data[len + 4] = 0x78;
	data[len + 5] = 0x01;
	ProtobufCMessage *message =
	    wire_pb_unpack(&p2p__v1__register_request__descriptor, data, len + 4, &err);
	ck_assert_ptr_nonnull(message);
	drop(message);
	ck_assert_ptr_null(
	    wire_pb_unpack(&p2p__v1__register_request__descriptor, data, len + 6, &err));
	free(addresses);
	free(data);
}
END_TEST

/* Packed numbers of one byte each, so many; is_taken says what is to come of them. */
static void
try_packed(size_t count, bool is_taken)
{
	unsigned char *data = mem_zero(1, count + 4);
	struct error err = { 0 };

	ck_assert_uint_lt(count, 1 << 21);
	data[0] = 5 << 3 | 2; /* HaveResponse.pieces */
	data[1] = (unsigned char)(0x80 | (count & 0x7f));
	data[2] = (unsigned char)(0x80 | (count >> 7 & 0x7f));
	data[3] = (unsigned char)(count >> 14);
	ProtobufCMessage *message =
	    wire_pb_unpack(&p2p__v1__have_response__descriptor, data, count + 4, &err);
	ck_assert_msg((message != NULL) == is_taken, "%zu: %s", count, err.text);
	if (!is_taken)
		ck_assert_ptr_nonnull(strstr(err.text, "values"));
	else
		drop(message);
	free(data);
}

START_TEST(test_each_value_of_a_packed_field_is_counted)
{
	try_packed(WIRE_PB_VALUES_MAX - 1, true);
	try_packed(WIRE_PB_VALUES_MAX, false);
	try_packed((1 << 21) - 1, false);
}
END_TEST

START_TEST(test_a_message_over_the_limit_is_refused_unread)
{
	struct error err;

	ck_assert_ptr_null(wire_pb_unpack(&SEARCH, "", WIRE_PB_MAX + 1, &err));
	ck_assert_int_eq(err.code, P2P_TOO_LARGE);
}
END_TEST

START_TEST(test_unknown_fields_and_unknown_enum_values_pass_the_unpacking)
{
	struct error err;
	P2p__V1__SearchRequest *request =
	    (P2p__V1__SearchRequest *)wire_pb_unpack(&SEARCH,
						     "\x10\x63\xfa\x07\x02\xff\xff\x7d"
						     "1234\x79"
						     "12345678",
						     21, &err);

	ck_assert_ptr_nonnull(request);
	ck_assert_int_eq(request->match, 99);
	drop(request);
	request = (P2p__V1__SearchRequest *)wire_pb_unpack(&SEARCH, NULL, 0, &err);
	ck_assert_ptr_nonnull(request);
	ck_assert_str_eq(request->text, "");
	drop(request);
}
END_TEST

/* Reads a message as far as anybody would, whatever it is. */
static void
read_all(const ProtobufCMessage *message)
{
	struct node_record node, *known;
	struct change_page *page;
	struct holding_question question;
	struct holding_answer answer;
	size_t count;

	if (message->descriptor == &p2p__v1__register_response__descriptor) {
		if (wire_pb_registered((const void *)message, &node, &known, &count, NULL) ==
		    P2P_OK)
			free(known);
	} else if (message->descriptor == &p2p__v1__changes_response__descriptor) {
		if (wire_pb_changes((const void *)message, &page, NULL) == P2P_OK)
			change_page_free(page);
	} else if (message->descriptor == &p2p__v1__have_request__descriptor) {
		wire_pb_question((const void *)message, &question, NULL);
	} else if (message->descriptor == &p2p__v1__have_response__descriptor) {
		if (wire_pb_answer((const void *)message, PIECES, &answer, NULL) == P2P_OK)
			holding_answer_fini(&answer);
	}
}

/* Unpacks each beginning of a message from memory of exactly that length, and the whole with each byte turned around. */
static void
harm(ProtobufCMessage *message)
{
	const ProtobufCMessageDescriptor *descriptor = message->descriptor;
	size_t len = protobuf_c_message_get_packed_size(message);
	uint8_t *data = mem_alloc(len);
	struct error err;

	protobuf_c_message_pack(message, data);
	drop(message);
	for (size_t cut = 0; cut < len; cut++) {
		uint8_t *part = memcpy(mem_alloc(cut > 0 ? cut : 1), data, cut);
		ProtobufCMessage *back = wire_pb_unpack(descriptor, part, cut, &err);

		if (back != NULL)
			read_all(back), drop(back);
		free(part);
	}
	for (size_t at = 0; at < len; at++) {
		for (unsigned bit = 0; bit < 8; bit++) {
			data[at] ^= (uint8_t)(1u << bit);
			ProtobufCMessage *back = wire_pb_unpack(descriptor, data, len, &err);
			if (back != NULL)
				read_all(back), drop(back);
			data[at] ^= (uint8_t)(1u << bit);
		}
	}
	free(data);
}

START_TEST(test_messages_cut_or_bent_at_every_byte_do_no_harm)
{
	struct node_record node = sample_node();
	struct change_page *page = sample_page();

	harm(&wire_pb_of_registered(&node, &node, 1)->base);
	harm(&wire_pb_of_changes(page)->base);
	change_page_free(page);
	struct holding_question question = sample_question();
	struct holding_answer full = sample_full(), news = sample_news();
	harm(&wire_pb_of_question(&question)->base);
	harm(&wire_pb_of_answer(&full)->base);
	harm(&wire_pb_of_answer(&news)->base);
}
END_TEST

static Suite *
suite(void)
{
	Suite *suite = suite_create("wire_pb");
	TCase *tcase = tcase_create("messages");

	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, test_a_content_comes_back);
	tcase_add_test(tcase, test_a_node_record_comes_back_as_it_was);
	tcase_add_test(tcase, test_a_greeting_comes_back_with_a_view_or_none);
	tcase_add_test(tcase, test_a_view_of_too_few_or_many_sums_is_refused);
	tcase_add_test(tcase, test_an_answer_with_a_thousand_peers_of_eight_addresses_comes_back);
	tcase_add_loop_test(tcase, test_a_notice_comes_back, 0, 2);
	tcase_add_test(tcase, test_a_page_of_changes_comes_back_to_the_nanosecond);
	tcase_add_test(tcase, test_a_full_page_of_long_names_fits_into_a_message);
	tcase_add_test(tcase, test_the_largest_layer_fits_into_a_message);
	tcase_add_test(tcase, test_a_question_what_is_held_comes_back);
	tcase_add_test(tcase, test_what_is_held_comes_back_as_bits_as_news_or_as_all);
	tcase_add_test(tcase, test_as_much_as_an_answer_may_tell_comes_back);
	tcase_add_test(tcase, test_who_tells_only_that_all_is_here_is_understood);
	tcase_add_test(tcase, test_a_peer_is_told_with_its_state);
	tcase_add_test(tcase, test_a_found_file_is_told_with_all_its_holders);
	tcase_add_test(tcase, test_an_event_is_told_with_its_id_and_repaired_text);
	tcase_add_test(tcase, test_every_code_has_a_status_and_comes_back_by_its_slug);
	tcase_add_test(
	    tcase, test_a_status_without_a_sentence_tells_the_title_and_foreign_bytes_are_repaired);
	tcase_add_test(tcase, test_statuses_of_others_are_no_slugs);
	tcase_add_test(tcase, test_contents_that_cannot_be_are_refused);
	tcase_add_test(tcase, test_node_records_that_make_no_sense_are_refused);
	tcase_add_test(tcase, test_a_bad_answer_to_a_registration_is_refused_as_a_whole);
	tcase_add_test(tcase, test_notices_that_make_no_sense_are_refused);
	tcase_add_test(tcase, test_pages_that_make_no_sense_are_refused);
	tcase_add_test(tcase, test_questions_that_make_no_sense_are_refused);
	tcase_add_test(tcase, test_answers_about_pieces_that_make_no_sense_are_refused);
	tcase_add_test(tcase, test_malformed_bytes_are_refused);
	tcase_add_test(tcase, test_a_flood_of_empty_values_is_refused_before_it_costs_memory);
	tcase_add_test(tcase, test_a_subdirectory_is_told_with_what_it_weighs);
	tcase_add_test(tcase, test_values_are_counted_through_all_parts_of_a_message);
	tcase_add_test(tcase, test_each_value_of_a_packed_field_is_counted);
	tcase_add_test(tcase, test_a_message_over_the_limit_is_refused_unread);
	tcase_add_test(tcase, test_unknown_fields_and_unknown_enum_values_pass_the_unpacking);
	tcase_add_test(tcase, test_messages_cut_or_bent_at_every_byte_do_no_harm);
	suite_add_tcase(suite, tcase);
	return suite;
}

int
main(void)
{
	SRunner *runner = srunner_create(suite());

	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed > 0;
}
