/* SPDX-License-Identifier: MIT
 *
 * check_rpc_methods.c - what the gRPC face answers about peers, files and events, asked of a real daemon over a real connection.
 */
#include <check.h>
#include <grpc/status.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "daemon_kit.h"
#include "event_queue.h"
#include "mem.h"
#include "p2p.pb-c.h"
#include "rpc_kit.h"
#include "service_internal.h"

#define BIG_BYTES (3u << 20)
#define UNKNOWN   "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define MANY      250 /* files named so */
#define FLOOD     20000

#define INVALID GRPC_STATUS_INVALID_ARGUMENT

static struct daemon_kit daemon_a;
static struct rpc_kit client;
static struct service *service;
static unsigned char *big;
static struct content_id big_content;

/* --- the world --- */

static void
await_files(uint64_t count)
{
	uint64_t end_ms = clock_ms() + KIT_WAIT_MS;
	struct service_node node;

	for (;; daemon_kit_breathe(end_ms, "all files are known")) {
		ck_assert_int_eq(service_node_quick(service, &node), P2P_OK);
		if (node.self.file_count == count)
			return;
	}
}

static void
setup(void)
{
	daemon_kit_start(&daemon_a, "");
	service = daemon_kit_service(&daemon_a);
	big = daemon_kit_bytes(BIG_BYTES, 1);
	daemon_kit_content(big, BIG_BYTES, &big_content);
	daemon_kit_write(&daemon_a, "big.bin", big, BIG_BYTES);
	daemon_kit_write(&daemon_a, "empty", "", 0);
	await_files(2);
	rpc_kit_connect(&client, daemon_rpc_port(daemon_a.daemon));
}

static void
teardown(void)
{
	rpc_kit_close(&client);
	daemon_kit_stop(&daemon_a);
	free(big);
}

static void
write_many(void)
{
	for (unsigned i = 0; i < MANY; i++) {
		char name[32];

		snprintf(name, sizeof(name), "many-%03u", i);
		daemon_kit_write(&daemon_a, name, name, strlen(name));
	}
	await_files(MANY + 2);
}

/* --- asking --- */

static struct rpc_kit_status status;

static void
drop(void *message)
{
	protobuf_c_message_free_unpacked(message, NULL);
}

/* The answer to a unary call that must succeed. */
static void *
ask(const char *path, const void *request, const ProtobufCMessageDescriptor *type)
{
	ProtobufCMessage *answer = rpc_kit_unary(&client, path, request, type, 0, &status);

	ck_assert_msg(status.code == GRPC_STATUS_OK, "%s: %s", path, status.details);
	ck_assert_ptr_nonnull(answer);
	return answer;
}

/* How the call ended begins so. */
static void
expect(int code, const char *begin)
{
	ck_assert_msg(status.code == code && strncmp(status.details, begin, strlen(begin)) == 0,
		      "wanted %d %s, got %d %s", code, begin, status.code, status.details);
}

/* The request must end with this status, whatever the shape of the method. */
static void
refused(const char *path, const void *request, int code, const char *begin)
{
	ck_assert_ptr_null(rpc_kit_unary(&client, path, request, NULL, 0, &status));
	expect(code, begin);
}

/* Opens a server stream. */
static void
open_stream(struct rpc_kit_call *call, const char *path, const void *request)
{
	rpc_kit_open(call, &client, path, 0);
	rpc_kit_send(call, request);
	rpc_kit_send_end(call);
}

static void
finish_well(struct rpc_kit_call *call)
{
	rpc_kit_finish(call, &status);
	expect(GRPC_STATUS_OK, "");
}

static P2p__V1__Content
content_message(struct content_id *content)
{
	P2p__V1__Content message = P2P__V1__CONTENT__INIT;

	message.size = content->size_bytes;
	message.root = (ProtobufCBinaryData){ DIGEST_BYTES, content->root.bytes };
	return message;
}

/* --- peers --- */

#define REGISTER "/p2p.v1.Peers/Register"
#define LIST     "/p2p.v1.Peers/List"
#define LEAVE    "/p2p.v1.Peers/Leave"
#define NOTIFY   "/p2p.v1.Peers/Notify"

/* What List tells of a peer; PEER_STATE_UNSPECIFIED if it does not. */
static P2p__V1__PeerState
state_of(const char *id, char *ret_address)
{
	P2p__V1__ListPeersRequest request = P2P__V1__LIST_PEERS_REQUEST__INIT;
	P2p__V1__PeerState state = P2P__V1__PEER_STATE__PEER_STATE_UNSPECIFIED;
	struct rpc_kit_call call;
	P2p__V1__Peer *peer;

	open_stream(&call, LIST, &request);
	while ((peer = (P2p__V1__Peer *)rpc_kit_read(&call, &p2p__v1__peer__descriptor)) != NULL) {
		if (strcmp(peer->id, id) == 0) {
			state = peer->state;
			snprintf(ret_address, NODE_ADDRESS_SIZE, "%s", peer->address);
		}
		drop(peer);
	}
	finish_well(&call);
	return state;
}

/* Registers another daemon, which says only that it listens on every address. */
static void
register_other(struct daemon_kit *other, struct service_node *ret)
{
	P2p__V1__RegisterRequest request = P2P__V1__REGISTER_REQUEST__INIT;
	P2p__V1__Node node = P2P__V1__NODE__INIT;
	char address[NODE_ADDRESS_SIZE], *addresses[] = { address };

	ck_assert_int_eq(service_node_quick(daemon_kit_service(other), ret), P2P_OK);
	snprintf(address, sizeof(address), "http://0.0.0.0:%u", daemon_rest_port(other->daemon));
	node.id = ret->self.id;
	node.name = (char *)"other";
	node.addresses = addresses;
	node.n_addresses = 1;
	node.epoch = ret->self.epoch;
	request.node = &node;
	P2p__V1__RegisterResponse *answer =
	    ask(REGISTER, &request, &p2p__v1__register_response__descriptor);
	ck_assert_str_eq(answer->node->name, "tester");
	ck_assert_uint_eq(answer->node->file_count, 2);
	drop(answer);
}

START_TEST(test_a_peer_registers_is_greeted_where_it_came_from_and_leaves)
{
	static struct daemon_kit other;
	struct service_node node;
	char address[NODE_ADDRESS_SIZE] = "";
	P2p__V1__LeaveRequest leave = P2P__V1__LEAVE_REQUEST__INIT;
	P2p__V1__Notice notice = P2P__V1__NOTICE__INIT;

	daemon_kit_start(&other, "");
	register_other(&other, &node);
	uint64_t end_ms = clock_ms() + KIT_WAIT_MS;
	while (state_of(node.self.id, address) != P2P__V1__PEER_STATE__PEER_STATE_HERE)
		daemon_kit_breathe(end_ms, "the peer is here");
	ck_assert_ptr_nonnull(strstr(address, "://127.0.0.1:"));

	notice.peer = node.self.id;
	notice.epoch = node.self.epoch;
	notice.seq = 1;
	drop(ask(NOTIFY, &notice, &p2p__v1__notify_response__descriptor));
	leave.id = node.self.id;
	drop(ask(LEAVE, &leave, &p2p__v1__leave_response__descriptor));
	ck_assert_int_eq(state_of(node.self.id, address), P2P__V1__PEER_STATE__PEER_STATE_AWAY);
	daemon_kit_stop(&other);
}
END_TEST

START_TEST(test_what_peers_should_not_say_is_refused)
{
	P2p__V1__RegisterRequest request = P2P__V1__REGISTER_REQUEST__INIT;
	P2p__V1__Node node = P2P__V1__NODE__INIT;
	P2p__V1__LeaveRequest leave = P2P__V1__LEAVE_REQUEST__INIT;
	P2p__V1__Notice notice = P2P__V1__NOTICE__INIT;
	char *addresses[] = { (char *)"gopher://x:1" };

	refused(REGISTER, &request, INVALID, "bad-request: node");
	request.node = &node;
	refused(REGISTER, &request, INVALID, "bad-request: id");
	node.id = (char *)UNKNOWN;
	refused(REGISTER, &request, INVALID, "bad-request: ");
	node.name = (char *)"n";
	node.addresses = addresses;
	node.n_addresses = 1;
	refused(REGISTER, &request, INVALID, "bad-request: ");
	refused(LEAVE, &leave, INVALID, "bad-request: id");
	leave.id = (char *)UNKNOWN;
	refused(LEAVE, &leave, GRPC_STATUS_NOT_FOUND, "not-found: ");
	refused(NOTIFY, &notice, INVALID, "bad-request: peer");
	notice.peer = (char *)UNKNOWN;
	refused(NOTIFY, &notice, GRPC_STATUS_NOT_FOUND, "not-found: ");
	notice.seq = UINT64_MAX;
	refused(NOTIFY, &notice, INVALID, "bad-request: seq");
}
END_TEST

/* --- search --- */

#define SEARCH "/p2p.v1.Files/Search"

static P2p__V1__SearchResponse *
read_page(struct rpc_kit_call *call)
{
	return (P2p__V1__SearchResponse *)rpc_kit_read(call, &p2p__v1__search_response__descriptor);
}

/* Reads a search for "many-" to its end; no name may come twice since *at was 0, which counts them.  The last cursor is left in the room. */
static size_t
read_many(struct rpc_kit_call *call, unsigned *at, char *cursor)
{
	static bool seen[MANY];
	P2p__V1__SearchResponse *page;
	size_t pages = 0;

	if (*at == 0)
		memset(seen, 0, sizeof(seen));
	for (; (page = read_page(call)) != NULL; pages++) {
		ck_assert_uint_le(page->n_files, 100);
		for (size_t i = 0; i < page->n_files; i++) {
			const char *name = page->files[i]->name;
			unsigned number = 0;

			ck_assert_int_eq(sscanf(name, "many-%03u", &number), 1);
			ck_assert_uint_lt(number, MANY);
			ck_assert(!seen[number]);
			seen[number] = true;
			++*at;
			ck_assert(page->files[i]->is_local && page->files[i]->n_holders == 1);
			ck_assert_uint_eq(page->files[i]->content->size, strlen(name));
		}
		snprintf(cursor, CATALOG_CURSOR_SIZE, "%s", page->cursor);
		drop(page);
	}
	finish_well(call);
	return pages;
}

START_TEST(test_a_search_streams_pages_and_goes_on_at_a_cursor)
{
	P2p__V1__SearchRequest request = P2P__V1__SEARCH_REQUEST__INIT;
	char cursor[CATALOG_CURSOR_SIZE] = "";
	struct rpc_kit_call call;
	unsigned at = 0;

	write_many();
	request.text = (char *)"MANY-";
	open_stream(&call, SEARCH, &request);
	ck_assert_uint_eq(read_many(&call, &at, cursor), 3);
	ck_assert_uint_eq(at, MANY);
	ck_assert_str_eq(cursor, "");

	/* Limits that end within a page, at its end, and behind all. */
	request.cursor = cursor;
	at = 0;
	request.limit = 30;
	open_stream(&call, SEARCH, &request);
	ck_assert_uint_eq(read_many(&call, &at, cursor), 1);
	ck_assert_uint_eq(at, 30);
	request.limit = 200;
	open_stream(&call, SEARCH, &request);
	ck_assert_uint_eq(read_many(&call, &at, cursor), 2);
	ck_assert_uint_eq(at, 230);
	open_stream(&call, SEARCH, &request);
	read_many(&call, &at, cursor);
	ck_assert_uint_eq(at, MANY);
	ck_assert_str_eq(cursor, "");
}
END_TEST

/* How many files a request finds. */
static size_t
count_found(const P2p__V1__SearchRequest *request)
{
	struct rpc_kit_call call;
	P2p__V1__SearchResponse *page;
	size_t count = 0;

	open_stream(&call, SEARCH, request);
	while ((page = read_page(&call)) != NULL) {
		count += page->n_files;
		drop(page);
	}
	finish_well(&call);
	return count;
}

START_TEST(test_a_search_matches_as_it_is_told)
{
	P2p__V1__SearchRequest request = P2P__V1__SEARCH_REQUEST__INIT;

	ck_assert_uint_eq(count_found(&request), 2);
	request.text = (char *)"B";
	ck_assert_uint_eq(count_found(&request), 1);
	request.match = P2P__V1__MATCH__MATCH_GLOB;
	ck_assert_uint_eq(count_found(&request), 0);
	request.text = (char *)"*.bin";
	request.scope = P2P__V1__SCOPE__SCOPE_LOCAL;
	ck_assert_uint_eq(count_found(&request), 1);
	request.match = P2P__V1__MATCH__MATCH_EXACT;
	ck_assert_uint_eq(count_found(&request), 0);
	request.text = (char *)"empty";
	ck_assert_uint_eq(count_found(&request), 1);
	request.match = P2P__V1__MATCH__MATCH_UNDER;
	ck_assert_uint_eq(count_found(&request), 0);
	request.text = (char *)"";
	ck_assert_uint_eq(count_found(&request), 2);
}
END_TEST

START_TEST(test_a_search_leaves_what_its_filter_says)
{
	P2p__V1__SearchRequest request = P2P__V1__SEARCH_REQUEST__INIT;
	P2p__V1__Filter filter = P2P__V1__FILTER__INIT;

	request.filter = &filter;
	ck_assert_uint_eq(count_found(&request), 2);
	filter.size_min = 1;
	ck_assert_uint_eq(count_found(&request), 1);
	filter.size_min = 0;
	filter.has_size_max = true;
	ck_assert_uint_eq(count_found(&request), 1);
	filter.has_size_max = false;
	filter.has_mtime_max = true;
	ck_assert_uint_eq(count_found(&request), 0);
	filter.has_mtime_max = false;
	filter.has_mtime_min = true;
	ck_assert_uint_eq(count_found(&request), 2);
	filter.state = P2P__V1__STATE__STATE_AWAY;
	ck_assert_uint_eq(count_found(&request), 0);
	filter.state = P2P__V1__STATE__STATE_HERE;
	ck_assert_uint_eq(count_found(&request), 2);
	filter.directory = (char *)"nowhere";
	ck_assert_uint_eq(count_found(&request), 0);
	filter.holder = (char *)"nobody";
	refused(SEARCH, &request, INVALID, "bad-request: holder");
	filter.state = (P2p__V1__State)3;
	refused(SEARCH, &request, INVALID, "bad-request: state");
}
END_TEST

START_TEST(test_searches_that_make_no_sense_are_refused)
{
	P2p__V1__SearchRequest request = P2P__V1__SEARCH_REQUEST__INIT;
	char long_text[CATALOG_CURSOR_SIZE + 1];

	memset(long_text, 'a', sizeof(long_text) - 1);
	long_text[sizeof(long_text) - 1] = '\0';
	request.match = (P2p__V1__Match)(P2P__V1__MATCH__MATCH_LEVEL + 1);
	refused(SEARCH, &request, INVALID, "bad-request: match");
	request.match = (P2p__V1__Match)-1;
	refused(SEARCH, &request, INVALID, "bad-request: match");
	request.match = P2P__V1__MATCH__MATCH_EXACT;
	request.scope = (P2p__V1__Scope)2;
	refused(SEARCH, &request, INVALID, "bad-request: scope");
	request.scope = P2P__V1__SCOPE__SCOPE_LOCAL;
	request.text = long_text;
	refused(SEARCH, &request, INVALID, "bad-request: text");
	request.text = (char *)"";
	request.cursor = long_text;
	refused(SEARCH, &request, INVALID, "bad-request: cursor");
	request.cursor = (char *)"no cursor";
	refused(SEARCH, &request, INVALID, "bad-request: the cursor is none of this search");
	request.cursor = (char *)"";
	request.text = (char *)"a\xff";
	refused(SEARCH, &request, INVALID, "bad-request: text: not valid UTF-8");
}
END_TEST

START_TEST(test_bytes_that_are_no_message_are_refused)
{
	static const char *const bytes[] = { "\x0a",
					     "\x0a\x05"
					     "abc",
					     "\x0a\xff\xff\xff\xff\x07", "\x0b\x0c", "\x10\xff" };

	for (size_t i = 0; i < sizeof(bytes) / sizeof(bytes[0]); i++) {
		struct rpc_kit_call call;

		rpc_kit_open(&call, &client, SEARCH, 0);
		rpc_kit_send_raw(&call, bytes[i], strlen(bytes[i]));
		rpc_kit_send_end(&call);
		ck_assert_ptr_null(read_page(&call));
		rpc_kit_finish(&call, &status);
		expect(INVALID, "bad-request: ");
	}
}
END_TEST

START_TEST(test_searches_may_be_left_at_any_moment)
{
	P2p__V1__SearchRequest request = P2P__V1__SEARCH_REQUEST__INIT;
	struct rpc_kit_call calls[40];

	write_many();
	for (unsigned i = 0; i < 40; i++)
		open_stream(&calls[i], SEARCH, &request);
	/* Some were read a little, none to the end. */
	for (unsigned i = 0; i < 40; i++) {
		if (i % 2 == 0)
			drop(read_page(&calls[i]));
		rpc_kit_cancel(&calls[i]);
	}
	for (unsigned i = 0; i < 40; i++) {
		rpc_kit_finish(&calls[i], &status);
		ck_assert_int_eq(status.code, GRPC_STATUS_CANCELLED);
	}
	ck_assert_uint_eq(count_found(&request), MANY + 2);
}
END_TEST

/* --- stat --- */

#define STAT "/p2p.v1.Files/Stat"

/* Leaves an upload of `len` bytes behind. */
static void
break_off(const char *name, const char *id, size_t len)
{
	struct service_put put = {
		.origin = SERVICE_NETWORK, .name = name, .expect_bytes = UINT64_MAX, .upload_id = id
	};
	struct service_upload *upload;

	ck_assert_int_eq(service_put_begin(service, &put, &upload, NULL), P2P_OK);
	ck_assert_int_eq(service_put_feed(upload, big, len, NULL), P2P_OK);
	service_put_park(upload);
}

START_TEST(test_stat_tells_of_files_by_name_and_by_content)
{
	P2p__V1__StatRequest request = P2P__V1__STAT_REQUEST__INIT;
	P2p__V1__FileSpec spec = P2P__V1__FILE_SPEC__INIT;
	P2p__V1__Content content = content_message(&big_content);

	request.file = &spec;
	for (int by_content = 0; by_content < 2; by_content++) {
		spec.by_case =
		    by_content ? P2P__V1__FILE_SPEC__BY_CONTENT : P2P__V1__FILE_SPEC__BY_NAME;
		if (by_content)
			spec.content = &content;
		else
			spec.name = (char *)"big.bin";
		P2p__V1__StatResponse *answer =
		    ask(STAT, &request, &p2p__v1__stat_response__descriptor);
		ck_assert_str_eq(answer->file->name, "big.bin");
		ck_assert_uint_eq(answer->file->content->size, BIG_BYTES);
		ck_assert_mem_eq(answer->file->content->root.data, big_content.root.bytes, 32);
		ck_assert(answer->file->is_local && answer->file->mtime_ns > 0);
		ck_assert_uint_eq(answer->upload_offset, 0);
		drop(answer);
	}
	content.size--;
	refused(STAT, &request, GRPC_STATUS_NOT_FOUND, "not-found: ");
	content.size = UINT64_MAX;
	refused(STAT, &request, INVALID, "bad-request: size");
	content.root.len = 31;
	refused(STAT, &request, INVALID, "bad-request: root");
}
END_TEST

START_TEST(test_stat_tells_how_far_an_upload_came)
{
	P2p__V1__StatRequest request = P2P__V1__STAT_REQUEST__INIT;
	P2p__V1__FileSpec spec = P2P__V1__FILE_SPEC__INIT;
	P2p__V1__StatResponse *answer;

	break_off("new.bin", "mine", 1u << 20);
	spec.by_case = P2P__V1__FILE_SPEC__BY_NAME;
	spec.name = (char *)"new.bin";
	request.file = &spec;
	refused(STAT, &request, GRPC_STATUS_NOT_FOUND, "not-found: ");
	request.upload_id = (char *)"other";
	refused(STAT, &request, GRPC_STATUS_NOT_FOUND, "not-found: ");
	request.upload_id = (char *)"mine";
	answer = ask(STAT, &request, &p2p__v1__stat_response__descriptor);
	ck_assert_ptr_null(answer->file);
	ck_assert_uint_eq(answer->upload_offset, 1u << 20);
	drop(answer);
	/* An upload that would replace a file is told beside it. */
	spec.name = (char *)"big.bin";
	answer = ask(STAT, &request, &p2p__v1__stat_response__descriptor);
	ck_assert_ptr_nonnull(answer->file);
	ck_assert_uint_eq(answer->upload_offset, 0);
	drop(answer);
}
END_TEST

START_TEST(test_stats_that_make_no_sense_are_refused)
{
	static const char *const names[] = { "", "../x", "/x", "a//b", "a\x01", ".p2pd-x" };
	P2p__V1__StatRequest request = P2P__V1__STAT_REQUEST__INIT;
	P2p__V1__FileSpec spec = P2P__V1__FILE_SPEC__INIT;
	P2p__V1__Content content = content_message(&big_content);

	refused(STAT, &request, INVALID, "bad-request: file");
	request.file = &spec;
	refused(STAT, &request, INVALID, "bad-request: file");
	spec.by_case = P2P__V1__FILE_SPEC__BY_NAME;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		spec.name = (char *)names[i];
		refused(STAT, &request, INVALID, "bad-name: ");
	}
	spec.name = (char *)"nothing";
	refused(STAT, &request, GRPC_STATUS_NOT_FOUND, "not-found: ");
	request.upload_id = (char *)UNKNOWN "aaaaaaaaaaaaa";
	refused(STAT, &request, INVALID, "bad-request: upload_id");
	request.upload_id = (char *)"a";
	spec.by_case = P2P__V1__FILE_SPEC__BY_CONTENT;
	spec.content = &content;
	refused(STAT, &request, INVALID, "bad-request: upload_id");
}
END_TEST

/* --- layer, have --- */

#define LAYER "/p2p.v1.Files/Layer"
#define HAVE  "/p2p.v1.Files/Have"

START_TEST(test_the_layer_of_a_content_is_told_as_fine_as_it_is_kept_or_coarser)
{
	P2p__V1__LayerRequest request = P2P__V1__LAYER_REQUEST__INIT;
	P2p__V1__Content content = content_message(&big_content);
	struct digest *wanted;
	size_t count;
	uint32_t finest;

	request.content = &content;
	ck_assert_int_eq(service_layer(service, &big_content, 0, &wanted, &count, &finest, NULL),
			 P2P_OK);
	P2p__V1__LayerResponse *answer = ask(LAYER, &request, &p2p__v1__layer_response__descriptor);
	ck_assert_uint_eq(answer->piece, finest);
	ck_assert_uint_eq(answer->nodes.len, count * DIGEST_BYTES);
	ck_assert_mem_eq(answer->nodes.data, wanted, count * DIGEST_BYTES);
	drop(answer);
	free(wanted);
	request.piece = 4u << 20;
	answer = ask(LAYER, &request, &p2p__v1__layer_response__descriptor);
	ck_assert_uint_eq(answer->nodes.len, DIGEST_BYTES);
	ck_assert_mem_eq(answer->nodes.data, big_content.root.bytes, DIGEST_BYTES);
	drop(answer);
	request.piece = finest / 2;
	refused(LAYER, &request, INVALID, "bad-request: piece");
	request.piece = finest + 1;
	refused(LAYER, &request, INVALID, "bad-request: piece");
	request.piece = UINT32_MAX;
	refused(LAYER, &request, INVALID, "bad-request: piece");
}
END_TEST

START_TEST(test_the_leaves_of_a_piece_are_told)
{
	P2p__V1__LayerRequest request = P2P__V1__LAYER_REQUEST__INIT;
	P2p__V1__Content content = content_message(&big_content);
	uint32_t piece_bytes = merkle_piece_bytes(BIG_BYTES);
	uint32_t leaf_count = piece_bytes / MERKLE_LEAF_BYTES;
	struct digest *leaves = mem_alloc(leaf_count * sizeof(*leaves));

	merkle_leaves(hasher_mine(), big + piece_bytes, piece_bytes, leaves);
	request.content = &content;
	request.piece = MERKLE_LEAF_BYTES;
	request.first = request.count = leaf_count;
	P2p__V1__LayerResponse *answer = ask(LAYER, &request, &p2p__v1__layer_response__descriptor);
	ck_assert_uint_eq(answer->piece, MERKLE_LEAF_BYTES);
	ck_assert_uint_eq(answer->nodes.len, leaf_count * DIGEST_BYTES);
	ck_assert_mem_eq(answer->nodes.data, leaves, leaf_count * DIGEST_BYTES);
	drop(answer);
	free(leaves);
	request.first++;
	refused(LAYER, &request, INVALID, "bad-request: count");
	request.first = UINT64_MAX;
	refused(LAYER, &request, GRPC_STATUS_OUT_OF_RANGE, "bad-range: ");
	request.first = 0;
	request.count = UINT32_MAX;
	refused(LAYER, &request, GRPC_STATUS_OUT_OF_RANGE, "bad-range: ");
	request.count = 1;
	request.piece = piece_bytes;
	refused(LAYER, &request, INVALID, "bad-request: first, count");
	atomic_store(&service->leaves_under_way, SERVICE_LEAVES_MAX);
	request.piece = MERKLE_LEAF_BYTES;
	refused(LAYER, &request, GRPC_STATUS_RESOURCE_EXHAUSTED, "too-many: ");
}
END_TEST

START_TEST(test_contents_are_here_or_not)
{
	P2p__V1__LayerRequest layer = P2P__V1__LAYER_REQUEST__INIT;
	P2p__V1__HaveRequest have = P2P__V1__HAVE_REQUEST__INIT;
	P2p__V1__Content content = content_message(&big_content);

	refused(HAVE, &have, INVALID, "bad-request: content");
	refused(LAYER, &layer, INVALID, "bad-request: content");
	have.content = layer.content = &content;
	P2p__V1__HaveResponse *answer = ask(HAVE, &have, &p2p__v1__have_response__descriptor);
	ck_assert(answer->complete);
	drop(answer);
	content.size++;
	refused(HAVE, &have, GRPC_STATUS_NOT_FOUND, "not-found: ");
	refused(LAYER, &layer, GRPC_STATUS_NOT_FOUND, "not-found: ");
	content.size = 0;
	refused(HAVE, &have, INVALID, "bad-request: root");
	content.size = 1ull << 45;
	refused(LAYER, &layer, INVALID, "bad-request: size");
}
END_TEST

/* --- changes --- */

#define CHANGES "/p2p.v1.Files/Changes"

START_TEST(test_changes_are_told_from_where_one_is)
{
	P2p__V1__ChangesRequest request = P2P__V1__CHANGES_REQUEST__INIT;
	P2p__V1__ChangesResponse *all =
	    ask(CHANGES, &request, &p2p__v1__changes_response__descriptor);

	/* Whoever knows no epoch begins anew. */
	ck_assert(all->is_reset && all->since == 0 && all->through == all->head);
	ck_assert_uint_eq(all->file_count, 2);
	ck_assert_uint_eq(all->n_changes, 2);
	ck_assert_uint_eq(all->byte_count, BIG_BYTES);
	request.peer = all->peer;
	request.epoch = all->epoch;
	request.since = all->changes[0]->seq;
	request.limit = 1;
	P2p__V1__ChangesResponse *rest =
	    ask(CHANGES, &request, &p2p__v1__changes_response__descriptor);
	ck_assert(!rest->is_reset);
	ck_assert_uint_eq(rest->n_changes, 1);
	ck_assert_uint_eq(rest->changes[0]->seq, all->changes[1]->seq);
	ck_assert_str_eq(rest->changes[0]->name, all->changes[1]->name);
	drop(rest);
	request.since = all->head;
	rest = ask(CHANGES, &request, &p2p__v1__changes_response__descriptor);
	ck_assert(!rest->is_reset && rest->n_changes == 0);
	drop(rest);
	drop(all);
}
END_TEST

START_TEST(test_changes_that_cannot_be_told_are_refused)
{
	P2p__V1__ChangesRequest request = P2P__V1__CHANGES_REQUEST__INIT;

	request.limit = 1001;
	refused(CHANGES, &request, INVALID, "bad-request: limit");
	request.limit = 1000;
	request.epoch = 1ull << 53;
	refused(CHANGES, &request, INVALID, "bad-request: epoch");
	request.epoch = 0;
	request.begun = 1ull << 53;
	refused(CHANGES, &request, INVALID, "bad-request: begun");
	request.begun = 0;
	request.since = UINT64_MAX;
	refused(CHANGES, &request, INVALID, "bad-request: since");
	request.since = 0;
	request.peer = (char *)"somebody";
	refused(CHANGES, &request, INVALID, "bad-request: peer");
	request.peer = (char *)UNKNOWN;
	refused(CHANGES, &request, GRPC_STATUS_NOT_FOUND, "not-found: ");
}
END_TEST

/* --- events --- */

#define WATCH "/p2p.v1.Events/Watch"

struct happening {
	enum event_kind kind;
	const char *name;
	unsigned times;
};

/* loop_ask_fn */
static int
publish_here(void *arg)
{
	const struct happening *happening = arg;

	for (unsigned i = 0; i < happening->times; i++) {
		struct event *event = event_new(happening->kind);

		event->name = mem_string(happening->name);
		events_publish(service_events(service), event);
	}
	return P2P_OK;
}

static void
publish(enum event_kind kind, const char *name, unsigned times)
{
	struct happening happening = { kind, name, times };

	ck_assert_int_eq(loop_call(service_loop(service), publish_here, &happening), P2P_OK);
}

/* A watch that has begun. */
static void
watch(struct rpc_kit_call *call, const char *after, bool with_progress)
{
	P2p__V1__WatchRequest request = P2P__V1__WATCH_REQUEST__INIT;

	request.after = (char *)after;
	request.with_progress = with_progress;
	open_stream(call, WATCH, &request);
	rpc_kit_await_headers(call);
}

static P2p__V1__Event *
read_event(struct rpc_kit_call *call)
{
	return (P2p__V1__Event *)rpc_kit_read(call, &p2p__v1__event__descriptor);
}

/* The next event is this; its id into ret_id[64] (may be NULL). */
static void
expect_event(struct rpc_kit_call *call, const char *kind, const char *name, char *ret_id)
{
	P2p__V1__Event *event = read_event(call);

	ck_assert_ptr_nonnull(event);
	ck_assert_str_eq(event->event, kind);
	ck_assert_str_eq(event->name, name);
	ck_assert_int_gt(event->time_ms, 0);
	if (ret_id != NULL)
		snprintf(ret_id, 64, "%s", event->id);
	drop(event);
}

static void
leave(struct rpc_kit_call *call)
{
	rpc_kit_cancel(call);
	rpc_kit_finish(call, &status);
	ck_assert_int_eq(status.code, GRPC_STATUS_CANCELLED);
}

START_TEST(test_events_come_as_they_happen_and_go_on_after_the_last_seen)
{
	struct rpc_kit_call call;
	char first[64], ignored[64];

	publish(EVENT_FILE_ADDED, "before", 1);
	watch(&call, "", false);
	publish(EVENT_FILE_ADDED, "one", 1);
	publish(EVENT_FETCH_PROGRESS, "progress", 1);
	publish(EVENT_FILE_REMOVED, "two", 1);
	expect_event(&call, "file-added", "one", first);
	expect_event(&call, "file-removed", "two", ignored);
	ck_assert_str_ne(first, ignored);
	leave(&call);

	publish(EVENT_FILE_CHANGED, "three", 1);
	watch(&call, first, false);
	expect_event(&call, "file-removed", "two", NULL);
	expect_event(&call, "file-changed", "three", NULL);
	publish(EVENT_FILE_ADDED, "four", 1);
	expect_event(&call, "file-added", "four", NULL);
	leave(&call);

	/* A real one: whoever puts a file is heard of. */
	watch(&call, "", false);
	daemon_kit_write(&daemon_a, "real", "x", 1);
	P2p__V1__Event *event = read_event(&call);
	ck_assert_str_eq(event->event, "file-added");
	ck_assert_str_eq(event->name, "real");
	ck_assert_str_eq(event->peer_name, "tester");
	ck_assert_uint_eq(event->content->size, 1);
	drop(event);
	leave(&call);
}
END_TEST

START_TEST(test_only_the_kinds_and_names_that_are_asked_for_are_told)
{
	P2p__V1__WatchRequest request = P2P__V1__WATCH_REQUEST__INIT;
	struct rpc_kit_call call;

	request.kind = (char *)"file-added,peer";
	request.match = (char *)"w*";
	open_stream(&call, WATCH, &request);
	rpc_kit_await_headers(&call);
	publish(EVENT_FILE_ADDED, "other", 1);
	publish(EVENT_FILE_REMOVED, "wanted", 1);
	publish(EVENT_FILE_ADDED, "wanted", 1);
	expect_event(&call, "file-added", "wanted", NULL);
	leave(&call);
	request.kind = (char *)"nonsense";
	refused(WATCH, &request, INVALID, "bad-request: ");
}
END_TEST

START_TEST(test_progress_is_told_to_those_who_ask_for_it)
{
	struct rpc_kit_call call;
	char id[64];

	watch(&call, "", true);
	publish(EVENT_FETCH_PROGRESS, "progress", 2);
	expect_event(&call, "fetch-progress", "progress", id);
	ck_assert_str_eq(id, "");
	expect_event(&call, "fetch-progress", "progress", NULL);
	leave(&call);
}
END_TEST

START_TEST(test_what_nobody_kept_is_told_as_a_gap)
{
	P2p__V1__WatchRequest request = P2P__V1__WATCH_REQUEST__INIT;
	struct rpc_kit_call call;

	watch(&call, "1-1", false);
	expect_event(&call, "events-lost", "", NULL);
	leave(&call);
	request.after = (char *)"nonsense";
	refused(WATCH, &request, INVALID, "bad-request: ");
	request.after = (char *)"1-";
	refused(WATCH, &request, INVALID, "bad-request: ");
}
END_TEST

START_TEST(test_a_slow_reader_is_told_of_the_gap_and_holds_nobody_up)
{
	struct rpc_kit_call slow, quick;
	char name[1000];
	unsigned long run = 0, last = 0, id, told = 0;
	bool has_lost = false;

	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	watch(&slow, "", false);
	watch(&quick, "", false);
	publish(EVENT_FILE_ADDED, "first", 1);
	expect_event(&quick, "file-added", "first", NULL);
	publish(EVENT_FILE_ADDED, name, FLOOD);
	/* The mind is free, and others are answered, while nobody reads. */
	for (unsigned i = 0; i < 100; i++) {
		expect_event(&quick, "file-added", name, NULL);
		publish(EVENT_PEER_HERE, "others", 1);
	}
	leave(&quick);

	for (bool is_last = false; !is_last;) {
		P2p__V1__Event *event = read_event(&slow);

		ck_assert_ptr_nonnull(event);
		is_last = strcmp(event->name, "last") == 0;
		if (strcmp(event->event, "events-lost") == 0) {
			ck_assert(!has_lost);
			has_lost = true;
			publish(EVENT_FILE_ADDED, "last", 1);
		} else {
			ck_assert_int_eq(sscanf(event->id, "%lu-%lu", &run, &id), 2);
			ck_assert(last == 0 || has_lost || id == last + 1);
			ck_assert_uint_gt(id, last);
			last = id;
			told++;
		}
		drop(event);
	}
	ck_assert(has_lost);
	ck_assert_uint_ge(told, EVENT_QUEUE_MAX);
	ck_assert_uint_lt(told, FLOOD);
	leave(&slow);
}
END_TEST

START_TEST(test_watches_may_be_left_while_events_rain)
{
	struct rpc_kit_call calls[16];

	for (unsigned round = 0; round < 10; round++) {
		for (unsigned i = 0; i < 16; i++)
			watch(&calls[i], "", i % 2 == 0);
		publish(EVENT_FILE_ADDED, "rain", 50);
		for (unsigned i = 0; i < 16; i++) {
			if (i % 3 == 0)
				expect_event(&calls[i], "file-added", "rain", NULL);
			leave(&calls[i]);
		}
	}
	publish(EVENT_FILE_ADDED, "after", 1);
}
END_TEST

START_TEST(test_a_watch_hears_that_the_daemon_stops)
{
	struct rpc_kit_call call, unread;

	watch(&call, "", false);
	watch(&unread, "", false);
	publish(EVENT_FILE_ADDED, "one", 1);
	expect_event(&call, "file-added", "one", NULL);
	daemon_kit_halt(&daemon_a);
	ck_assert_ptr_null(read_event(&call));
	rpc_kit_finish(&call, &status);
	expect(GRPC_STATUS_UNAVAILABLE, "shutting-down: ");
	drop(read_event(&unread));
	ck_assert_ptr_null(read_event(&unread));
	rpc_kit_finish(&unread, &status);
	expect(GRPC_STATUS_UNAVAILABLE, "shutting-down: ");
	daemon_kit_again(&daemon_a, "");
}
END_TEST

static Suite *
suite(void)
{
	Suite *suite = suite_create("rpc_methods");
	TCase *tcase = tcase_create("methods");

	tcase_set_timeout(tcase, 60);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, test_a_peer_registers_is_greeted_where_it_came_from_and_leaves);
	tcase_add_test(tcase, test_what_peers_should_not_say_is_refused);
	tcase_add_test(tcase, test_a_search_streams_pages_and_goes_on_at_a_cursor);
	tcase_add_test(tcase, test_a_search_matches_as_it_is_told);
	tcase_add_test(tcase, test_a_search_leaves_what_its_filter_says);
	tcase_add_test(tcase, test_searches_that_make_no_sense_are_refused);
	tcase_add_test(tcase, test_bytes_that_are_no_message_are_refused);
	tcase_add_test(tcase, test_searches_may_be_left_at_any_moment);
	tcase_add_test(tcase, test_stat_tells_of_files_by_name_and_by_content);
	tcase_add_test(tcase, test_stat_tells_how_far_an_upload_came);
	tcase_add_test(tcase, test_stats_that_make_no_sense_are_refused);
	tcase_add_test(tcase, test_the_layer_of_a_content_is_told_as_fine_as_it_is_kept_or_coarser);
	tcase_add_test(tcase, test_the_leaves_of_a_piece_are_told);
	tcase_add_test(tcase, test_contents_are_here_or_not);
	tcase_add_test(tcase, test_changes_are_told_from_where_one_is);
	tcase_add_test(tcase, test_changes_that_cannot_be_told_are_refused);
	tcase_add_test(tcase, test_events_come_as_they_happen_and_go_on_after_the_last_seen);
	tcase_add_test(tcase, test_progress_is_told_to_those_who_ask_for_it);
	tcase_add_test(tcase, test_what_nobody_kept_is_told_as_a_gap);
	tcase_add_test(tcase, test_a_slow_reader_is_told_of_the_gap_and_holds_nobody_up);
	tcase_add_test(tcase, test_only_the_kinds_and_names_that_are_asked_for_are_told);
	tcase_add_test(tcase, test_watches_may_be_left_while_events_rain);
	tcase_add_test(tcase, test_a_watch_hears_that_the_daemon_stops);
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
