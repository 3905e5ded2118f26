/* SPDX-License-Identifier: MIT
 *
 * rpc_download.c - Files/Download: bytes of a file from any offset, from here or through the
 * network.
 *
 * The first message says what it is; then come blocks, each read into a slice that leaves
 * without being copied.  The next one is read when the one before has left, so a call holds one
 * block however large the file is and however slowly its reader reads.  The library holds as much
 * again, and does not count it against its quota; so there are RPC_DOWNLOADS_MAX calls at most.
 *
 * What is in the page cache is read where the call runs, on the face's thread: to hand it to
 * another and back costs more than the reading.  What is not, is read by the pool, which wakes
 * the call: no disk holds up the face.  The pool's job has a reference of its own, so that a
 * call that ends does not wait for it.
 *
 * Under a limit of bandwidth (throttle.h) a block is as long as may leave now, and a call that may
 * send nothing waits until its turn.
 *
 * A content may be asked for while it is still being fetched here: then just the bytes that are
 * asked for must have been verified, and are opened.
 *
 * After every block the file is looked at: once it changed, the call ends in P2P_CONFLICT and
 * whoever receives it cannot take what came for the whole.  What others hold is a fetch_stream,
 * whose bytes are verified before they are read; where it has none yet the call waits, and the
 * stream wakes it.
 *
 * A range is as in REST: it begins within the file, or at its very end if it asks for the rest,
 * and what it asks for beyond the end is not there.
 */
#include "rpc_internal.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "clock.h"
#include "mem.h"

/* The number of DownloadResponse.data. */
#define DATA_FIELD 2

/*
 * RPC_BLOCK is 256 KiB: 1 MiB moved no more bytes in a second, and each reader that does not read
 * would hold four times as much.  Whoever stores what comes writes best in pieces of that size
 * anyway (store.h).
 */
_Static_assert(RPC_BLOCK <= 1u << 20, "p2p.proto promises at most 1 MiB of data");

/* A block that the pool reads. */
struct block {
	grpc_slice slice;
	int code;
	struct error error;
	atomic_bool is_ready; /* ... and the pool is done with it */
};

struct download {
	atomic_uint refs;      /* the call's, and the pool's */
	struct rpc_call *call; /* a reference, for whoever wakes it */
	struct pool *pool;
	struct store_reader *reader; /* one of the two */
	struct fetch_stream *stream;
	struct content_id content;
	P2p__V1__File *file; /* until the first message has said it */
	uint64_t at, end;    /* what is to be sent still */
	struct block block;  /* the one at `at`, if is_reading */
	bool is_reading;
	struct throttle *throttle;
	struct throttle_wait turn_wait;
	struct rate_turn turn;
	char from_host[NODE_ADDRESS_SIZE];
};

static void
download_unref(struct download *download)
{
	if (atomic_fetch_sub(&download->refs, 1) > 1)
		return;
	if (download->is_reading)
		grpc.slice_unref(download->block.slice);
	store_reader_unref(download->reader);
	p2p__v1__file__free_unpacked(download->file, NULL);
	rpc_call_unref(download->call);
	free(download);
}

/* --- what is asked for --- */

static int
open_local(struct download *download, struct service *service, const char *name, struct error *err)
{
	struct catalog_local file;
	int code = service_open(service, name, &download->reader, &file, err);

	if (code != P2P_OK)
		return code;
	download->content = file.content;
	download->file = wire_pb_of_found(&(struct catalog_found){
	    .name = name,
	    .content = file.content,
	    .mtime_ns = file.mtime_ns,
	    .mode = file.mode,
	    .is_local = true,
	    .holders = "",
	});
	return P2P_OK;
}

/* What the catalog says of the content that is streamed. */
static bool
take_found(void *arg, const struct catalog_found *found)
{
	struct download *download = arg;

	if (!content_equal(&found->content, &download->content))
		return true;
	download->file = wire_pb_of_found(found);
	return false;
}

static int
open_network(struct download *download, struct service *service, const char *name,
	     struct error *err)
{
	struct catalog_query query = {
		.match = CATALOG_EXACT,
		.text = name,
		.limit = CATALOG_PAGE_MAX,
	};
	char cursor[CATALOG_CURSOR_SIZE];
	int code = service_stream(service, name, &download->content, &download->reader,
				  &download->stream, err);

	if (code == P2P_OK)
		code = service_search(service, &query, take_found, download, cursor, err);
	if (code == P2P_OK && download->file == NULL) /* its last holder has just left */
		code = error_set(err, P2P_NOT_FOUND, "no peer has a file \"%s\"", name);
	return code;
}

static int
find_part(struct download *download, const P2p__V1__DownloadRequest *request, struct error *err)
{
	uint64_t size_bytes = download->content.size_bytes;

	if (request->offset > size_bytes || (request->offset == size_bytes && request->length != 0))
		return error_set(err, P2P_BAD_RANGE, "offset %llu lies beyond the %llu bytes",
				 (unsigned long long)request->offset,
				 (unsigned long long)size_bytes);
	uint64_t rest = size_bytes - request->offset;
	uint64_t len = request->length != 0 && request->length < rest ? request->length : rest;
	download->at = request->offset;
	download->end = request->offset + len;
	return P2P_OK;
}

/* Of a content that is still being fetched just these bytes may be here. */
static int
open_content(struct download *download, struct service *service,
	     const P2p__V1__DownloadRequest *request, struct error *err)
{
	struct stat st;
	int code = wire_pb_content(request->file->content, &download->content, err);

	if (code == P2P_OK)
		code = find_part(download, request, err);
	if (code == P2P_OK)
		code = service_open_content(service, &download->content, download->at,
					    download->end - download->at, &download->reader, err);
	if (code != P2P_OK)
		return code;
	if (fstat(download->reader->fd, &st) < 0)
		return error_errno(err, "cannot stat the file");
	download->file = wire_pb_of_found(&(struct catalog_found){
	    .name = "",
	    .content = download->content,
	    .mtime_ns = download->reader->sig.mtime_ns,
	    .mode = st.st_mode & 0777,
	    .is_local = !download->reader->is_partial,
	    .holders = "",
	});
	return P2P_OK;
}

static int
open_source(struct download *download, struct service *service,
	    const P2p__V1__DownloadRequest *request, struct error *err)
{
	const P2p__V1__FileSpec *spec = request->file;
	bool is_network = request->scope == P2P__V1__SCOPE__SCOPE_NETWORK;

	if (!is_network && request->scope != P2P__V1__SCOPE__SCOPE_LOCAL)
		return error_set(err, P2P_BAD_REQUEST, "scope: wanted network or local");
	if (spec != NULL && spec->by_case == P2P__V1__FILE_SPEC__BY_CONTENT)
		return open_content(download, service, request, err);
	if (spec == NULL || spec->by_case != P2P__V1__FILE_SPEC__BY_NAME)
		return error_set(err, P2P_BAD_REQUEST, "file: wanted a name or a content");
	int code = open_local(download, service, spec->name, err);
	if (code == P2P_NOT_FOUND && is_network)
		code = open_network(download, service, spec->name, err);
	if (code == P2P_OK)
		code = find_part(download, request, err);
	return code;
}

static void
wake(void *arg)
{
	rpc_wake(arg);
}

static void
take_limits(struct download *download, struct rpc_call *call)
{
	download->throttle = service_throttle(rpc_head(call)->service);
	download->turn_wait.wake = wake;
	download->turn_wait.arg = call;
	rpc_from_host(call, download->from_host);
}

static void
say_file(struct rpc_call *call, struct download *download)
{
	P2p__V1__DownloadResponse response = P2P__V1__DOWNLOAD_RESPONSE__INIT;

	response.file = download->file;
	rpc_reply(call, &response.base);
	p2p__v1__file__free_unpacked(download->file, NULL);
	download->file = NULL;
}

/* Until all of the call has left, not only until its end: the last block may wait for its reader
 * like any other. */
int
rpc_download_place(struct rpc_call_head *head, struct error *err)
{
	atomic_uint *downloads = &head->rpc->downloads;

	if (atomic_fetch_add(downloads, 1) >= RPC_DOWNLOADS_MAX) {
		atomic_fetch_sub(downloads, 1);
		return error_set(err, P2P_TOO_MANY, "%u downloads are under way, which is the most",
				 RPC_DOWNLOADS_MAX);
	}
	head->place = downloads;
	return P2P_OK;
}

RPC_TAKE(rpc_download)
{
	const P2p__V1__DownloadRequest *request = (const P2p__V1__DownloadRequest *)message;
	struct rpc_call_head *head = rpc_head(call);
	int code = rpc_download_place(head, err);

	if (code != P2P_OK)
		return code;
	struct download *download = mem_zero(1, sizeof(*download));
	head->state = download;
	download->refs = 1;
	download->call = rpc_call_ref(call);
	download->pool = service_pool(head->service);
	take_limits(download, call);
	code = open_source(download, head->service, request, err);
	if (code != P2P_OK)
		return code;
	say_file(call, download);
	head->waits = download->stream != NULL;
	return download->at < download->end ? RPC_MORE : RPC_END;
}

/* --- whose turn it is --- */

/* Bytes that may leave now; 0: the call is woken when there are some. */
static size_t
allowed_bytes(struct download *download)
{
	struct rate *rate = throttle_up(download->throttle);
	uint64_t left = download->end - download->at;
	size_t len = rate_ask(rate, download->from_host, &download->turn, 1,
			      left < RPC_BLOCK ? (size_t)left : RPC_BLOCK, clock_us());

	if (len == 0)
		throttle_wait(download->throttle, &download->turn_wait, rate, &download->turn);
	return len;
}

/* --- the bytes, from here --- */

static void
read_block(void *arg)
{
	struct download *download = arg;
	struct block *block = &download->block;

	block->code = file_pread(download->reader->fd, GRPC_SLICE_START_PTR(block->slice),
				 GRPC_SLICE_LENGTH(block->slice), download->at, &block->error);
	atomic_store(&block->is_ready, true);
	rpc_wake(download->call);
	download_unref(download);
}

/* Takes the slice. */
static int
have_read(struct download *download, grpc_slice slice)
{
	download->block.slice = slice;
	atomic_store(&download->block.is_ready, false);
	download->is_reading = true;
	atomic_fetch_add(&download->refs, 1);
	pool_submit(download->pool, POOL_SOON, read_block, NULL, download);
	return RPC_WAIT;
}

/* Takes the slice.  The file is looked at after the bytes were read: then they are those of the
 * content. */
static int
say_block(struct rpc_call *call, struct download *download, grpc_slice slice, struct error *err)
{
	if (download->reader != NULL && store_reader_check(download->reader) != P2P_OK) {
		grpc.slice_unref(slice);
		return error_set(err, P2P_CONFLICT, "the file changed while it was read");
	}
	download->at += GRPC_SLICE_LENGTH(slice);
	rate_pass(&download->turn, GRPC_SLICE_LENGTH(slice));
	rpc_reply_bytes(call, DATA_FIELD, slice);
	return download->at < download->end ? RPC_MORE : RPC_END;
}

static int
say_read(struct rpc_call *call, struct download *download, struct error *err)
{
	struct block *block = &download->block;

	if (!atomic_load(&block->is_ready))
		return RPC_WAIT;
	/* One that became shorter is told as changed, by say_block(). */
	if (block->code != P2P_OK && store_reader_check(download->reader) == P2P_OK) {
		*err = block->error;
		return block->code;
	}
	download->is_reading = false;
	return say_block(call, download, block->slice, err);
}

static int
say_local(struct rpc_call *call, struct download *download, struct error *err)
{
	if (download->is_reading)
		return say_read(call, download, err);
	size_t max = allowed_bytes(download);
	if (max == 0)
		return RPC_WAIT;
	grpc_slice slice = grpc.slice_malloc_large(max);
	size_t len = file_pread_cached(download->reader->fd, GRPC_SLICE_START_PTR(slice),
				       GRPC_SLICE_LENGTH(slice), download->at);
	if (len == 0)
		return have_read(download, slice);
	GRPC_SLICE_SET_LENGTH(slice, len);
	return say_block(call, download, slice, err);
}

/* --- the bytes, from others --- */

/* As much of a block as is verified. */
static int
read_stream(const struct download *download, unsigned char *data, size_t max, size_t *ret_len,
	    struct error *err)
{
	size_t len = 0, part;

	do {
		int code = fetch_stream_read(download->stream, data + len, max - len,
					     download->at + len, &part);
		if (code != P2P_OK)
			return error_set(err, code, "what others hold of it cannot be had now");
		len += part;
	} while (part > 0 && len < max);
	*ret_len = len;
	return P2P_OK;
}

static int
say_streamed(struct rpc_call *call, struct download *download, struct error *err)
{
	size_t max = allowed_bytes(download), len = 0;

	if (max == 0)
		return RPC_WAIT;
	grpc_slice slice = grpc.slice_malloc_large(max);
	int code =
	    read_stream(download, GRPC_SLICE_START_PTR(slice), GRPC_SLICE_LENGTH(slice), &len, err);

	if (code == P2P_OK && len > 0) {
		GRPC_SLICE_SET_LENGTH(slice, len);
		return say_block(call, download, slice, err);
	}
	grpc.slice_unref(slice);
	if (code != P2P_OK)
		return code;
	fetch_stream_wait(download->stream, download->at, wake, call);
	return RPC_WAIT;
}

RPC_NEXT(rpc_download_next)
{
	struct download *download = rpc_head(call)->state;

	return download->stream != NULL ? say_streamed(call, download, err)
					: say_local(call, download, err);
}

RPC_DONE(rpc_download_end)
{
	struct download *download = rpc_head(call)->state;

	if (download == NULL)
		return;
	throttle_forget(download->throttle, &download->turn_wait);
	rate_leave(throttle_up(download->throttle), &download->turn);
	/* No wake comes after the stream is closed. */
	if (download->stream != NULL)
		fetch_stream_close(download->stream);
	download_unref(download);
}
