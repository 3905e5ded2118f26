/* SPDX-License-Identifier: MIT
 *
 * wire_pb_parse.c - p2p.proto's messages that came in, read with suspicion.
 *
 * Fields are taken one after the other through a `struct fields`, whose first failure sticks, so
 * that a decoder reads as a list of what it wants and checks once at its end.  Results are built
 * aside; outputs stay untouched on failure.  Numbers end at 2^53 - 1 as they do in JSON, because
 * what comes in here goes out there.
 *
 * Messages come from wire_pb_unpack(), so that their strings are UTF-8; it is checked again where
 * no other rule implies it, since it costs nothing.
 *
 * Whether a name may be shared, and whether seqs join on to what is known, is decided by those who
 * use the answer (catalog, service), not here.
 */
#include "wire_pb.h"

#include <stdlib.h>
#include <string.h>

#include "codes.h"
#include "mem.h"
#include "merkle.h"
#include "name.h"

#define NUMBER_MAX ((1ull << 53) - 1) /* what every JSON reader keeps exactly */
#define MODE_MAX   0777

/* --- fields that come in --- */

/* A message that is being read; `code` is the first failure. */
struct fields {
	struct error *err;
	int code;
};

static void
refuse(struct fields *from, const char *field, const char *wanted)
{
	if (from->code == P2P_OK)
		from->code = error_set(from->err, P2P_BAD_REQUEST, "%s: wanted %s", field, wanted);
}

static uint64_t
take_number(struct fields *from, const char *field, uint64_t number)
{
	if (number > NUMBER_MAX)
		refuse(from, field, "a number below 2^53");
	return number;
}

/* Copies into ret[size]. */
static void
take_text(struct fields *from, const char *field, const char *text, char *ret, size_t size)
{
	size_t len = strlen(text);

	if (len >= size)
		refuse(from, field, "a text that is not too long");
	else if (name_utf8_span(text, len) != len)
		refuse(from, field, "valid UTF-8");
	else
		memcpy(ret, text, len + 1);
}

static void
take_peer(struct fields *from, const char *field, const char *text, char ret[PEER_ID_SIZE])
{
	if (digest_is_base32(text))
		memcpy(ret, text, PEER_ID_SIZE);
	else
		refuse(from, field, "a peer id: 52 characters of base32");
}

static void
take_content(struct fields *from, const P2p__V1__Content *message, struct content_id *ret)
{
	if (message == NULL) {
		refuse(from, "content", "a size and a root");
		return;
	}
	if (message->root.len != DIGEST_BYTES) {
		refuse(from, "root", "32 bytes");
		return;
	}
	ret->size_bytes = message->size;
	memcpy(ret->root.bytes, message->root.data, DIGEST_BYTES);
	if (ret->size_bytes > MERKLE_CONTENT_MAX)
		refuse(from, "size", "at most 2^44 bytes");
	else if (!merkle_content_valid(ret))
		refuse(from, "root", "that of nothing for an empty content");
}

/* --- decoders --- */

int
wire_pb_content(const P2p__V1__Content *message, struct content_id *ret, struct error *err)
{
	struct fields from = { .err = err };
	struct content_id content;

	take_content(&from, message, &content);
	if (from.code == P2P_OK)
		*ret = content;
	return from.code;
}

int
wire_pb_node(const P2p__V1__Node *message, struct node_record *ret, struct error *err)
{
	struct fields from = { .err = err };
	struct node_record node = { .address_count = 0 };

	if (message == NULL)
		return error_set(err, P2P_BAD_REQUEST, "node: wanted a peer's record");
	take_peer(&from, "id", message->id, node.id);
	take_text(&from, "name", message->name, node.name, sizeof(node.name));
	take_text(&from, "version", message->version, node.version, sizeof(node.version));
	if (message->n_addresses > NODE_ADDRESSES_MAX)
		refuse(&from, "addresses", "at most 8");
	for (size_t i = 0; from.code == P2P_OK && i < message->n_addresses; i++)
		take_text(&from, "addresses", message->addresses[i],
			  node.addresses[node.address_count++], NODE_ADDRESS_SIZE);
	node.epoch = take_number(&from, "epoch", message->epoch);
	node.seq = take_number(&from, "seq", message->seq);
	node.file_count = take_number(&from, "file_count", message->file_count);
	node.byte_count = take_number(&from, "byte_count", message->byte_count);
	if (from.code == P2P_OK)
		from.code = node_check(&node, err);
	if (from.code == P2P_OK)
		*ret = node;
	return from.code;
}

int
wire_pb_hello(const P2p__V1__RegisterRequest *message, struct node_hello *ret, struct error *err)
{
	struct node_hello hello = { .view = { .is_told = message->n_view > 0 } };
	int code = wire_pb_node(message->node, &hello.node, err);

	if (code != P2P_OK)
		return code;
	if (message->n_view != 0 && message->n_view != NODE_VIEW_SUMS)
		return error_set(err, P2P_BAD_REQUEST, "view: wanted %d sums, or none",
				 NODE_VIEW_SUMS);
	if (hello.view.is_told)
		memcpy(hello.view.sums, message->view, sizeof(hello.view.sums));
	*ret = hello;
	return P2P_OK;
}

int
wire_pb_notice(const P2p__V1__Notice *message, struct notice *ret, struct error *err)
{
	struct fields from = { .err = err };
	struct notice notice = { .epoch = 0 };

	take_peer(&from, "peer", message->peer, notice.peer);
	notice.epoch = take_number(&from, "epoch", message->epoch);
	notice.seq = take_number(&from, "seq", message->seq);
	notice.is_lost = message->lost;
	if (from.code == P2P_OK)
		*ret = notice;
	return from.code;
}

int
wire_pb_registered(const P2p__V1__RegisterResponse *message, struct node_record *ret_theirs,
		   struct node_record **ret_known, size_t *ret_count, struct error *err)
{
	size_t count = message->n_known;
	struct node_record theirs;

	if (count > NODE_KNOWN_MAX)
		return error_set(err, P2P_BAD_REQUEST, "known: wanted at most %d", NODE_KNOWN_MAX);

	int code = wire_pb_node(message->node, &theirs, err);
	if (code != P2P_OK)
		return code;

	struct node_record *known = count > 0 ? mem_zero(count, sizeof(*known)) : NULL;
	for (size_t i = 0; i < count; i++) {
		code = wire_pb_node(message->known[i], &known[i], err);
		if (code != P2P_OK) {
			free(known);
			return code;
		}
	}
	*ret_theirs = theirs;
	*ret_known = known;
	*ret_count = count;
	return P2P_OK;
}

static void
take_change(struct fields *from, const P2p__V1__Change *message, struct change_page *page)
{
	struct change change = { .seq = take_number(from, "seq", message->seq),
				 .is_removed = message->is_removed };
	size_t len = strlen(message->name);

	if (len == 0 || len > NAME_MAX_BYTES || name_utf8_span(message->name, len) != len)
		refuse(from, "name", "1 to 1,024 bytes of UTF-8");
	/* change_page_add() copies: the name is only lent. */
	change.name = message->name;
	if (!change.is_removed) {
		take_content(from, message->content, &change.content);
		change.mtime_ns = message->mtime_ns;
		change.mode = message->mode;
		if (change.mode > MODE_MAX)
			refuse(from, "mode", "permission bits, at most 0777");
	}
	if (from->code == P2P_OK)
		change_page_add(page, &change);
}

int
wire_pb_changes(const P2p__V1__ChangesResponse *message, struct change_page **ret,
		struct error *err)
{
	struct fields from = { .err = err };
	struct change_page *page = change_page_new();

	take_peer(&from, "peer", message->peer, page->peer);
	page->epoch = take_number(&from, "epoch", message->epoch);
	page->since = take_number(&from, "since", message->since);
	page->through = take_number(&from, "through", message->through);
	page->head = take_number(&from, "head", message->head);
	page->is_reset = message->is_reset;
	page->file_count = take_number(&from, "file_count", message->file_count);
	page->byte_count = take_number(&from, "byte_count", message->byte_count);
	if (message->n_changes > CHANGE_PAGE_MAX)
		refuse(&from, "changes", "at most 1,000");
	for (size_t i = 0; from.code == P2P_OK && i < message->n_changes; i++)
		take_change(&from, message->changes[i], page);
	if (from.code == P2P_OK)
		*ret = page;
	else
		change_page_free(page);
	return from.code;
}

/* --- what is held --- */

/* `since` and `next` are not numbers to compute with, but what who told them understands. */

int
wire_pb_question(const P2p__V1__HaveRequest *message, struct holding_question *ret,
		 struct error *err)
{
	struct fields from = { .err = err };
	struct holding_question question = { .since = message->since, .wait_ms = message->wait_ms };

	take_content(&from, message->content, &question.content);
	if (question.wait_ms > HOLDINGS_WAIT_MAX_MS)
		refuse(&from, "wait_ms", "at most 30,000");
	if (message->peer[0] != '\0')
		take_peer(&from, "peer", message->peer, question.peer);
	if (from.code == P2P_OK)
		*ret = question;
	return from.code;
}

static void
check_pieces(struct fields *from, const char *field, const uint64_t *pieces, size_t count,
	     uint64_t piece_count)
{
	if (count > HOLDINGS_NEWS_MAX)
		refuse(from, field, "at most 4,096");
	for (size_t i = 0; from->code == P2P_OK && i < count; i++)
		if (pieces[i] >= piece_count)
			refuse(from, field, "pieces that the content has");
}

/* One bit for each piece, and no more, where there are to be any. */
static void
check_bits(struct fields *from, const P2p__V1__HaveResponse *message, uint64_t piece_count)
{
	const ProtobufCBinaryData *bits = &message->bits;
	unsigned used = (unsigned)(piece_count % 8);

	if (bits->len == 0 && (!message->full || message->complete))
		return;
	if (!message->full || bits->len != (piece_count + 7) / 8)
		refuse(from, "bits", "one for each piece");
	else if (used != 0 && (bits->data[bits->len - 1] & (0xff >> used)) != 0)
		refuse(from, "bits", "none behind the last piece");
}

static void
check_peers(struct fields *from, const P2p__V1__HaveResponse *message)
{
	char unused[PEER_ID_SIZE];

	if (message->n_peers > (message->full ? HOLDINGS_FOLLOWERS_MAX : HOLDINGS_NEWS_MAX))
		refuse(from, "peers", "not so many");
	for (size_t i = 0; from->code == P2P_OK && i < message->n_peers; i++)
		take_peer(from, "peers", message->peers[i], unused);
}

/* All of it was checked. */
static void
copy_answer(const P2p__V1__HaveResponse *message, struct holding_answer *ret)
{
	*ret = (struct holding_answer){
		.next = message->next,
		.is_whole = message->complete,
		.is_full = message->full,
		.bits_len = message->complete ? 0 : message->bits.len,
		.piece_count = message->n_pieces,
		.coming_count = message->n_coming,
		.peer_count = message->n_peers,
	};
	ret->bits = mem_copy(message->bits.data, ret->bits_len, 1);
	ret->pieces = mem_copy(message->pieces, ret->piece_count, sizeof(uint64_t));
	ret->coming = mem_copy(message->coming, ret->coming_count, sizeof(uint64_t));
	if (ret->peer_count > 0)
		ret->peers = mem_zero(ret->peer_count, sizeof(*ret->peers));
	for (size_t i = 0; i < ret->peer_count; i++)
		memcpy(ret->peers[i], message->peers[i], PEER_ID_SIZE);
}

int
wire_pb_answer(const P2p__V1__HaveResponse *message, uint64_t piece_count,
	       struct holding_answer *ret, struct error *err)
{
	struct fields from = { .err = err };

	check_bits(&from, message, piece_count);
	check_pieces(&from, "pieces", message->pieces, message->n_pieces, piece_count);
	check_pieces(&from, "coming", message->coming, message->n_coming, piece_count);
	check_peers(&from, message);
	if (from.code == P2P_OK)
		copy_answer(message, ret);
	return from.code;
}

/* --- directories --- */

int
wire_pb_directories(const P2p__V1__DirectoriesResponse *message,
		    struct directory_question *question, struct error *err)
{
	if (message->n_directories != question->count)
		return error_set(err, P2P_BAD_REQUEST, "directories: wanted %zu of them",
				 question->count);
	for (size_t i = 0; i < question->count; i++) {
		const P2p__V1__Directory *directory = message->directories[i];

		question->found[i] = (struct directory){ .is_there = directory->is_there };
		if (!directory->is_there)
			continue;
		if (directory->mode > DIRECTORY_MODE_MAX)
			return error_set(err, P2P_BAD_REQUEST,
					 "mode: wanted permission bits, at most 0777");
		question->found[i].mtime_ns = directory->mtime_ns;
		question->found[i].mode = directory->mode;
	}
	return P2P_OK;
}
