/* SPDX-License-Identifier: MIT
 *
 * wire_pb.c - what the gRPC face says, as p2p.proto's messages and statuses.
 *
 * Nothing here fails: every value was checked where it came in, and memory does not run out.
 * Messages are made of parts that free_unpacked() frees; empty strings are protobuf-c's own, which
 * it leaves alone.
 *
 * Text that may hold foreign bytes (an error that quotes a name) is repaired to valid UTF-8,
 * without which a client could not read the whole message.
 *
 * The way back is in wire_pb_unpack.c and wire_pb_parse.c.
 */
#include "wire_pb.h"

#include <grpc/status.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "codes.h"
#include "mem.h"
#include "name.h"

#define MODE_MAX 0777

/* --- statuses --- */

/* A copy of `text` in which every byte that is not part of valid UTF-8 became `?`. */
static char *
copy_text(const char *text)
{
	size_t len = strlen(text), good;
	char *copy = memcpy(mem_alloc(len + 1), text, len + 1);

	for (size_t at = 0; (good = name_utf8_span(copy + at, len - at)) < len - at; at += good)
		copy[at + good] = '?';
	return copy;
}

char *
wire_pb_status(const struct error *err)
{
	char *raw = mem_format("%s: %s", code_slug(err->code),
			       err->text[0] != '\0' ? err->text : code_title(err->code));
	char *text = copy_text(raw);

	free(raw);
	return text;
}

bool
wire_pb_status_parse(const char *details, struct error *ret)
{
	char slug[32];
	size_t len = strcspn(details, ":");

	if (len >= sizeof(slug) || strncmp(details + len, ": ", 2) != 0)
		return false;
	memcpy(slug, details, len);
	slug[len] = '\0';

	int code = code_of_slug(slug);
	if (strcmp(code_slug(code), slug) != 0)
		return false;
	error_set(ret, code, "%s", details + len + 2);
	return true;
}

int
wire_pb_grpc_status(int code)
{
	static const int statuses[] = {
#define CODE(symbol, slug, http, grpc, title) grpc,
#include "codes.def"
#undef CODE
	};

	if (code == P2P_OK)
		return GRPC_STATUS_OK;
	if (code <= P2P_CODES_START || code >= P2P_CODES_END)
		return GRPC_STATUS_INTERNAL;
	return statuses[code - P2P_CODES_START - 1];
}

int
wire_pb_code_of_status(int grpc_status)
{
	static const int codes[] = {
		[GRPC_STATUS_OK] = P2P_OK,
		[GRPC_STATUS_CANCELLED] = P2P_CANCELLED,
		[GRPC_STATUS_UNKNOWN] = P2P_BAD_ANSWER,
		[GRPC_STATUS_INVALID_ARGUMENT] = P2P_BAD_REQUEST,
		[GRPC_STATUS_DEADLINE_EXCEEDED] = P2P_TIMEOUT,
		[GRPC_STATUS_NOT_FOUND] = P2P_NOT_FOUND,
		[GRPC_STATUS_ALREADY_EXISTS] = P2P_EXISTS,
		[GRPC_STATUS_PERMISSION_DENIED] = P2P_FORBIDDEN,
		[GRPC_STATUS_UNAUTHENTICATED] = P2P_FORBIDDEN,
		[GRPC_STATUS_RESOURCE_EXHAUSTED] = P2P_TOO_MANY,
		[GRPC_STATUS_FAILED_PRECONDITION] = P2P_PRECONDITION,
		[GRPC_STATUS_ABORTED] = P2P_CONFLICT,
		[GRPC_STATUS_OUT_OF_RANGE] = P2P_BAD_RANGE,
		[GRPC_STATUS_UNIMPLEMENTED] = P2P_BAD_METHOD,
		/* The library's own, when it cannot make sense of what came. */
		[GRPC_STATUS_INTERNAL] = P2P_BAD_ANSWER,
		[GRPC_STATUS_UNAVAILABLE] = P2P_UNREACHABLE,
		[GRPC_STATUS_DATA_LOSS] = P2P_BAD_CONTENT,
	};

	if (grpc_status < 0 || (size_t)grpc_status >= sizeof(codes) / sizeof(codes[0]))
		return P2P_BAD_ANSWER;
	return codes[grpc_status];
}

/* --- parts that go out --- */

/* NULL and "" as the library's own empty string, which it does not free. */
static char *
new_text(const char *text)
{
	return text != NULL && text[0] != '\0' ? copy_text(text) : (char *)protobuf_c_empty_string;
}

/* At most `count` peer ids of a list (NULL: none), each followed by one blank. */
static char **
new_ids(const char *list, size_t count, size_t *ret_count)
{
	char **ids = list != NULL && count > 0 ? mem_zero(count, sizeof(*ids)) : NULL;
	size_t n = 0;

	for (size_t len; ids != NULL && n < count && (len = strcspn(list, " ")) > 0; n++) {
		ids[n] = mem_alloc(len + 1);
		memcpy(ids[n], list, len);
		ids[n][len] = '\0';
		list += len;
		list += *list == ' ';
	}
	*ret_count = n;
	return ids;
}

/* --- encoders --- */

P2p__V1__Content *
wire_pb_of_content(const struct content_id *content)
{
	P2p__V1__Content *message = mem_alloc(sizeof(*message));

	p2p__v1__content__init(message);
	message->size = content->size_bytes;
	message->root.len = DIGEST_BYTES;
	message->root.data = memcpy(mem_alloc(DIGEST_BYTES), content->root.bytes, DIGEST_BYTES);
	return message;
}

P2p__V1__DownloadManyRequest *
wire_pb_of_batch(const struct batch *batch)
{
	P2p__V1__DownloadManyRequest *message = mem_alloc(sizeof(*message));

	p2p__v1__download_many_request__init(message);
	message->n_contents = batch->count;
	message->contents = mem_zero(batch->count, sizeof(P2p__V1__Content *));
	for (size_t i = 0; i < batch->count; i++)
		message->contents[i] = wire_pb_of_content(&batch->contents[i].id);
	return message;
}

P2p__V1__DirectoriesResponse *
wire_pb_of_directories(const struct directory *found, size_t count)
{
	P2p__V1__DirectoriesResponse *message = mem_alloc(sizeof(*message));

	p2p__v1__directories_response__init(message);
	message->n_directories = count;
	message->directories = mem_zero(count, sizeof(P2p__V1__Directory *));
	for (size_t i = 0; i < count; i++) {
		P2p__V1__Directory *directory = mem_alloc(sizeof(*directory));

		p2p__v1__directory__init(directory);
		directory->is_there = found[i].is_there;
		directory->mtime_ns = found[i].mtime_ns;
		directory->mode = found[i].mode;
		message->directories[i] = directory;
	}
	return message;
}

P2p__V1__Node *
wire_pb_of_node(const struct node_record *node)
{
	P2p__V1__Node *message = mem_alloc(sizeof(*message));

	p2p__v1__node__init(message);
	message->id = new_text(node->id);
	message->name = new_text(node->name);
	message->version = new_text(node->version);
	if (node->address_count > 0)
		message->addresses = mem_zero(node->address_count, sizeof(char *));
	for (size_t i = 0; i < node->address_count; i++)
		message->addresses[i] = copy_text(node->addresses[i]);
	message->n_addresses = node->address_count;
	message->epoch = node->epoch;
	message->seq = node->seq;
	message->file_count = node->file_count;
	message->byte_count = node->byte_count;
	return message;
}

P2p__V1__RegisterRequest *
wire_pb_of_hello(const struct node_hello *hello)
{
	P2p__V1__RegisterRequest *message = mem_alloc(sizeof(*message));

	p2p__v1__register_request__init(message);
	message->node = wire_pb_of_node(&hello->node);
	if (hello->view.is_told) {
		message->n_view = NODE_VIEW_SUMS;
		message->view = mem_zero(NODE_VIEW_SUMS, sizeof(*message->view));
		memcpy(message->view, hello->view.sums, sizeof(hello->view.sums));
	}
	return message;
}

P2p__V1__Notice *
wire_pb_of_notice(const struct notice *notice)
{
	P2p__V1__Notice *message = mem_alloc(sizeof(*message));

	p2p__v1__notice__init(message);
	message->peer = new_text(notice->peer);
	message->epoch = notice->epoch;
	message->seq = notice->seq;
	message->lost = notice->is_lost;
	return message;
}

static P2p__V1__PeerState
state_of(enum peer_state state)
{
	switch (state) {
	case PEER_HERE:
		return P2P__V1__PEER_STATE__PEER_STATE_HERE;
	case PEER_SUSPECT:
		return P2P__V1__PEER_STATE__PEER_STATE_SUSPECT;
	case PEER_AWAY:
		return P2P__V1__PEER_STATE__PEER_STATE_AWAY;
	}
	return P2P__V1__PEER_STATE__PEER_STATE_UNSPECIFIED;
}

P2p__V1__Peer *
wire_pb_of_peer(const struct peer_info *peer)
{
	P2p__V1__Peer *message = mem_alloc(sizeof(*message));

	p2p__v1__peer__init(message);
	message->id = new_text(peer->id);
	message->name = new_text(peer->name);
	message->version = new_text(peer->version);
	message->address = new_text(peer->address);
	message->state = state_of(peer->state);
	message->round_trip_us = peer->round_trip_us;
	message->file_count = peer->file_count;
	message->byte_count = peer->byte_count;
	message->epoch = peer->epoch;
	message->seq = peer->seq;
	message->heard_ms = peer->heard_wall_ms;
	return message;
}

P2p__V1__File *
wire_pb_of_found(const struct catalog_found *found)
{
	P2p__V1__File *message = mem_alloc(sizeof(*message));

	p2p__v1__file__init(message);
	message->name = new_text(found->name);
	message->content = wire_pb_of_content(&found->content);
	message->mtime_ns = found->mtime_ns;
	message->mode = found->mode & MODE_MAX;
	message->is_local = found->is_local;
	message->holders = new_ids(found->holders, found->holder_count, &message->n_holders);
	return message;
}

P2p__V1__Subdirectory *
wire_pb_of_subdirectory(const struct catalog_found *found)
{
	P2p__V1__Subdirectory *message = mem_alloc(sizeof(*message));

	p2p__v1__subdirectory__init(message);
	message->name = new_text(found->name);
	message->files = found->files;
	message->bytes = found->bytes;
	message->more = found->is_cut;
	return message;
}

P2p__V1__RegisterResponse *
wire_pb_of_registered(const struct node_record *mine, const struct node_record *known, size_t count)
{
	P2p__V1__RegisterResponse *message = mem_alloc(sizeof(*message));

	p2p__v1__register_response__init(message);
	message->node = wire_pb_of_node(mine);
	if (count > 0)
		message->known = mem_zero(count, sizeof(*message->known));
	for (size_t i = 0; i < count; i++)
		message->known[i] = wire_pb_of_node(&known[i]);
	message->n_known = count;
	return message;
}

static P2p__V1__Change *
of_change(const struct change *change)
{
	P2p__V1__Change *message = mem_alloc(sizeof(*message));

	p2p__v1__change__init(message);
	message->seq = change->seq;
	message->name = new_text(change->name);
	message->is_removed = change->is_removed;
	if (!change->is_removed) {
		message->content = wire_pb_of_content(&change->content);
		message->mtime_ns = change->mtime_ns;
		message->mode = change->mode & MODE_MAX;
	}
	return message;
}

P2p__V1__ChangesResponse *
wire_pb_of_changes(const struct change_page *page)
{
	P2p__V1__ChangesResponse *message = mem_alloc(sizeof(*message));

	p2p__v1__changes_response__init(message);
	message->peer = new_text(page->peer);
	message->epoch = page->epoch;
	message->since = page->since;
	message->through = page->through;
	message->head = page->head;
	message->is_reset = page->is_reset;
	message->file_count = page->file_count;
	message->byte_count = page->byte_count;
	if (page->count > 0)
		message->changes = mem_zero(page->count, sizeof(*message->changes));
	for (size_t i = 0; i < page->count; i++)
		message->changes[i] = of_change(&page->items[i]);
	message->n_changes = page->count;
	return message;
}

P2p__V1__HaveRequest *
wire_pb_of_question(const struct holding_question *question)
{
	P2p__V1__HaveRequest *message = mem_alloc(sizeof(*message));

	p2p__v1__have_request__init(message);
	message->content = wire_pb_of_content(&question->content);
	message->since = question->since;
	message->wait_ms = question->wait_ms;
	message->peer = new_text(question->peer);
	return message;
}

P2p__V1__HaveResponse *
wire_pb_of_answer(const struct holding_answer *answer)
{
	P2p__V1__HaveResponse *message = mem_alloc(sizeof(*message));

	p2p__v1__have_response__init(message);
	message->complete = answer->is_whole;
	message->full = answer->is_full;
	message->next = answer->next;
	message->bits.len = answer->bits_len;
	message->bits.data = mem_copy(answer->bits, answer->bits_len, 1);
	message->n_pieces = answer->piece_count;
	message->pieces = mem_copy(answer->pieces, answer->piece_count, sizeof(uint64_t));
	message->n_coming = answer->coming_count;
	message->coming = mem_copy(answer->coming, answer->coming_count, sizeof(uint64_t));
	message->n_peers = answer->peer_count;
	if (answer->peer_count > 0)
		message->peers = mem_zero(answer->peer_count, sizeof(char *));
	for (size_t i = 0; i < answer->peer_count; i++)
		message->peers[i] = new_text(answer->peers[i]);
	return message;
}

P2p__V1__Event *
wire_pb_of_event(const struct event *event, uint64_t run)
{
	P2p__V1__Event *message = mem_alloc(sizeof(*message));

	p2p__v1__event__init(message);
	if (event_has_id(event))
		message->id = mem_format("%" PRIu64 "-%" PRIu64, run, event->id);
	message->event = new_text(event_name(event->kind));
	message->time_ms = event->wall_ms;
	message->peer = new_text(event->peer);
	message->peer_name = new_text(event->peer_name);
	message->name = new_text(event->name);
	if (event->has_content)
		message->content = wire_pb_of_content(&event->content);
	message->mtime_ns = event->mtime_ns;
	message->lost = event->lost;
	message->follow = event->follow;
	message->fetch = event->fetch;
	message->done_bytes = event->done_bytes;
	message->total_bytes = event->total_bytes;
	message->rate_bps = event->rate_bps;
	message->done_files = event->done_files;
	message->total_files = event->total_files;
	message->sources = event->sources;
	if (event->code != P2P_OK)
		message->slug = new_text(code_slug(event->code));
	message->text = new_text(event_text(event));
	return message;
}
