/* SPDX-License-Identifier: MIT
 *
 * check_rpc_transfer.c - Download and Upload of the gRPC face, asked by a client of the C core.
 *
 * The client waits for each step.  So a test decides when a message is read, and a reader that does not read is one that is
 * not asked to.
 */
#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "daemon_kit.h"
#include "mem.h"
#include "p2p.pb-c.h"
#include "rpc_kit.h"

#define BIG     (32u << 20) /* more than anything in between holds */
#define CHUNK   (64u << 10)
#define READERS 32
#define ROUNDS  12

#define DOWNLOADS 256 /* as many as there may be */

#define DOWNLOAD "/p2p.v1.Files/Download"
#define UPLOAD   "/p2p.v1.Files/Upload"
#define STAT     "/p2p.v1.Files/Stat"

static struct daemon_kit kit;
static struct rpc_kit near;
static unsigned char *big;

/* --- a client --- */

struct client {
	struct rpc_kit_call call;
	struct rpc_kit_status end;
	bool is_open; /* may be sent to */
};

static void
open_by(struct client *client, struct rpc_kit *by, const char *path, unsigned deadline_ms)
{
	client->is_open = true;
	rpc_kit_open(&client->call, by, path, deadline_ms);
}

static void
say_all(struct client *client)
{
	client->is_open = false;
	rpc_kit_send_end(&client->call);
}

/* Ends the call. */
static int
hang_up(struct client *client)
{
	/* The library tells no status before it was asked for the headers. */
	if (!client->call.has_initial)
		rpc_kit_await_headers(&client->call);
	rpc_kit_finish(&client->call, &client->end);
	return client->end.code;
}

static void
cancel(struct client *client)
{
	rpc_kit_cancel(&client->call);
	hang_up(client);
}

static void
expect_status(struct client *client, int status, const char *words)
{
	hang_up(client);
	ck_assert_msg(client->end.code == status, "%d: %s", client->end.code, client->end.details);
	ck_assert_msg(strstr(client->end.details, words) != NULL, "%s", client->end.details);
}

/* --- setting up --- */

static void
setup(void)
{
	daemon_kit_start(&kit, "remote = upload\n");
	big = daemon_kit_bytes(BIG, 7);
	daemon_kit_write(&kit, "big.bin", big, BIG);
	daemon_kit_write(&kit, "small", "hello\n", 6);
	daemon_kit_write(&kit, "empty", "", 0);
	daemon_kit_wait_file(&kit, "big.bin", BIG);
	daemon_kit_wait_file(&kit, "small", 6);
	daemon_kit_wait_file(&kit, "empty", 0);
	rpc_kit_connect(&near, daemon_rpc_port(kit.daemon));
}

static void
teardown(void)
{
	free(big);
	rpc_kit_close(&near);
	daemon_kit_stop(&kit);
}

static bool
has_file(const char *name)
{
	struct store_reader *reader;

	if (service_open(daemon_kit_service(&kit), name, &reader, NULL, NULL) != P2P_OK)
		return false;
	store_reader_unref(reader);
	return true;
}

/* --- downloads --- */

static void
ask_by(struct client *client, struct rpc_kit *by, const P2p__V1__DownloadRequest *request)
{
	open_by(client, by, DOWNLOAD, 0);
	rpc_kit_send(&client->call, &request->base);
	say_all(client);
}

/* Asks for a part of a file of this peer. */
static void
ask(struct client *client, const char *name, uint64_t offset, uint64_t length)
{
	P2p__V1__FileSpec spec = P2P__V1__FILE_SPEC__INIT;
	P2p__V1__DownloadRequest request = P2P__V1__DOWNLOAD_REQUEST__INIT;

	spec.by_case = P2P__V1__FILE_SPEC__BY_NAME;
	spec.name = (char *)name;
	request.file = &spec;
	request.offset = offset;
	request.length = length;
	request.scope = P2P__V1__SCOPE__SCOPE_LOCAL;
	ask_by(client, &near, &request);
}

static P2p__V1__DownloadResponse *
hear(struct client *client)
{
	return (void *)rpc_kit_read(&client->call, &p2p__v1__download_response__descriptor);
}

/* The first message: what it is. */
static void
hear_file(struct client *client, const char *name, uint64_t size_bytes)
{
	P2p__V1__DownloadResponse *first = hear(client);

	if (first == NULL) {
		hang_up(client);
		ck_abort_msg("%d: %s", client->end.code, client->end.details);
	}
	ck_assert_ptr_nonnull(first->file);
	ck_assert_uint_eq(first->data.len, 0);
	ck_assert_str_eq(first->file->name, name);
	ck_assert_uint_eq(first->file->content->size, size_bytes);
	p2p__v1__download_response__free_unpacked(first, NULL);
}

/* The bytes, which must be those at `data`.  How many came. */
static size_t
hear_bytes(struct client *client, const unsigned char *data, size_t max)
{
	size_t len = 0;
	P2p__V1__DownloadResponse *next;

	while (len < max && (next = hear(client)) != NULL) {
		ck_assert_ptr_null(next->file);
		ck_assert_uint_gt(next->data.len, 0);
		ck_assert_uint_le(next->data.len, 1u << 20);
		ck_assert_uint_le(len + next->data.len, max + (1u << 20));
		ck_assert_mem_eq(next->data.data, data + len, next->data.len);
		len += next->data.len;
		p2p__v1__download_response__free_unpacked(next, NULL);
	}
	return len;
}

static void
expect_part(const char *name, const unsigned char *data, uint64_t size_bytes, uint64_t offset,
	    uint64_t length, uint64_t len)
{
	struct client client;

	ask(&client, name, offset, length);

	hear_file(&client, name, size_bytes);
	ck_assert_uint_eq(hear_bytes(&client, data + offset, SIZE_MAX / 2), len);
	expect_status(&client, GRPC_STATUS_OK, "");
}

START_TEST(test_a_file_is_streamed_from_any_offset)
{
	expect_part("big.bin", big, BIG, 0, 0, BIG);
	expect_part("big.bin", big, BIG, 1, 0, BIG - 1);
	expect_part("big.bin", big, BIG, 300001, 1, 1);
	expect_part("big.bin", big, BIG, 5, 262144, 262144);
	expect_part("big.bin", big, BIG, BIG - 1, 0, 1);
	expect_part("big.bin", big, BIG, BIG - 3, UINT64_MAX, 3);
	expect_part("big.bin", big, BIG, BIG, 0, 0);
	expect_part("empty", big, 0, 0, 0, 0);
	expect_part("small", (const unsigned char *)"hello\n", 6, 2, 3, 3);
}
END_TEST

/* On a disk such bytes are read by the pool; where the file system has no disk they stay. */
START_TEST(test_a_file_that_is_not_cached_is_streamed_all_the_same)
{
	char *path = mem_format("%s/share/big.bin", kit.root);
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	for (int from = 0; from < 3; from++) {
		ck_assert_int_eq(fdatasync(fd), 0);
		ck_assert_int_eq(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
		expect_part("big.bin", big, BIG, (uint64_t)from * 100000, 0, BIG - (uint64_t)from * 100000);
	}
	close(fd);
	free(path);
}
END_TEST

START_TEST(test_an_offset_beyond_the_end_is_out_of_range)
{
	static const struct {
		const char *name;
		uint64_t offset, length;
	} all[] = { { "big.bin", BIG + 1, 0 },
		    { "big.bin", BIG, 1 },
		    { "big.bin", UINT64_MAX, 0 },
		    { "big.bin", UINT64_MAX, UINT64_MAX },
		    { "empty", 0, 1 },
		    { "empty", 1, 0 } };

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		struct client client;

		ask(&client, all[i].name, all[i].offset, all[i].length);
		ck_assert_ptr_null(hear(&client));
		expect_status(&client, GRPC_STATUS_OUT_OF_RANGE, "bad-range: ");
	}
}
END_TEST

START_TEST(test_a_content_is_streamed_by_its_id)
{
	P2p__V1__Content content = P2P__V1__CONTENT__INIT;
	P2p__V1__FileSpec spec = P2P__V1__FILE_SPEC__INIT;
	P2p__V1__DownloadRequest request = P2P__V1__DOWNLOAD_REQUEST__INIT;
	struct content_id id;

	daemon_kit_content(big, BIG, &id);
	content.size = BIG;
	content.root.data = id.root.bytes;
	content.root.len = sizeof(id.root.bytes);
	spec.by_case = P2P__V1__FILE_SPEC__BY_CONTENT;
	spec.content = &content;
	request.file = &spec;
	request.offset = BIG - 10;
	struct client client;

	ask_by(&client, &near, &request);
	hear_file(&client, "", BIG);
	ck_assert_uint_eq(hear_bytes(&client, big + BIG - 10, SIZE_MAX / 2), 10);
	expect_status(&client, GRPC_STATUS_OK, "");

	content.size--;
	ask_by(&client, &near, &request);
	expect_status(&client, GRPC_STATUS_NOT_FOUND, "not-found: ");
	content.root.len--;
	ask_by(&client, &near, &request);
	expect_status(&client, GRPC_STATUS_INVALID_ARGUMENT, "bad-request: ");
}
END_TEST

START_TEST(test_what_is_not_there_is_not_found)
{
	P2p__V1__DownloadRequest nothing = P2P__V1__DOWNLOAD_REQUEST__INIT;
	struct client client;

	ask(&client, "none", 0, 0);

	expect_status(&client, GRPC_STATUS_NOT_FOUND, "not-found: ");
	ask(&client, "../small", 0, 0);
	expect_status(&client, GRPC_STATUS_INVALID_ARGUMENT, "bad-name: ");
	ask_by(&client, &near, &nothing);
	expect_status(&client, GRPC_STATUS_INVALID_ARGUMENT, "bad-request: ");
	nothing.scope = 77;
	ask_by(&client, &near, &nothing);
	expect_status(&client, GRPC_STATUS_INVALID_ARGUMENT, "bad-request: ");
}
END_TEST

/* What a test does to the share behind the daemon's back. */
static void
change_big(off_t at)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/share/big.bin", kit.root);
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	if (at < 0)
		ck_assert_int_eq(ftruncate(fd, -at), 0);
	else
		ck_assert_int_eq(pwrite(fd, "changed", 7, at), 7);
	close(fd);
}

START_TEST(test_a_file_that_changes_meanwhile_does_not_end_well)
{
	/* Ahead of the reader, behind it, cut to before where it is. */
	static const off_t all[] = { BIG - 100, 0, -1000 };
	struct client client;

	ask(&client, "big.bin", 0, 0);

	hear_file(&client, "big.bin", BIG);
	hear_bytes(&client, big, 1u << 20);
	change_big(all[_i]);
	ck_assert_uint_lt(hear_bytes(&client, big + (1u << 20), SIZE_MAX / 2), BIG - (2u << 20));
	expect_status(&client, GRPC_STATUS_ABORTED, "conflict: ");
}
END_TEST

static void
wait_closed(uint64_t within_ms)
{
	uint64_t end_ms = clock_ms() + within_ms;

	while (daemon_kit_descriptors("big.bin") != 0)
		daemon_kit_breathe(end_ms, "the file is closed");
}

START_TEST(test_a_cancelled_download_closes_its_file_within_a_second)
{
	struct client client;

	ask(&client, "big.bin", 0, 0);

	hear_file(&client, "big.bin", BIG);
	hear_bytes(&client, big, 1u << 20);
	ck_assert_uint_ge(daemon_kit_descriptors("big.bin"), 1);
	cancel(&client);
	wait_closed(1000);
}
END_TEST

START_TEST(test_readers_that_do_not_read_hold_up_nobody)
{
	struct client clients[READERS];
	struct rpc_kit other;
	P2p__V1__FileSpec spec = P2P__V1__FILE_SPEC__INIT;
	P2p__V1__DownloadRequest request = P2P__V1__DOWNLOAD_REQUEST__INIT;

	rpc_kit_connect(&other, daemon_rpc_port(kit.daemon));
	spec.by_case = P2P__V1__FILE_SPEC__BY_NAME;
	spec.name = (char *)"big.bin";
	request.file = &spec;
	for (size_t i = 0; i < READERS; i++)
		ask_by(&clients[i], i % 2 == 0 ? &near : &other, &request);
	for (size_t i = 0; i < READERS; i++)
		hear_file(&clients[i], "big.bin", BIG);
	expect_part("small", (const unsigned char *)"hello\n", 6, 0, 0, 6);
	for (size_t i = 0; i < READERS; i++)
		cancel(&clients[i]);
	rpc_kit_close(&other);
	wait_closed(1000);
}
END_TEST

static bool
is_answered(void)
{
	struct client client;
	P2p__V1__DownloadResponse *next;

	ask(&client, "small", 0, 0);
	while ((next = hear(&client)) != NULL)
		p2p__v1__download_response__free_unpacked(next, NULL);
	return hang_up(&client) == GRPC_STATUS_OK;
}

/* Half of them have said their last block, and it waits for its reader. */
START_TEST(test_downloads_are_as_many_as_the_limit_lets)
{
	struct client *clients = mem_zero(DOWNLOADS, sizeof(*clients));
	struct rpc_kit others[3];
	P2p__V1__FileSpec spec = P2P__V1__FILE_SPEC__INIT;
	P2p__V1__DownloadRequest request = P2P__V1__DOWNLOAD_REQUEST__INIT;
	struct client refused;

	for (size_t i = 0; i < 3; i++)
		rpc_kit_connect(&others[i], daemon_rpc_port(kit.daemon));
	spec.by_case = P2P__V1__FILE_SPEC__BY_NAME;
	spec.name = (char *)"big.bin";
	request.file = &spec;
	for (size_t i = 0; i < DOWNLOADS; i++) {
		request.length = i % 2 == 0 ? 0 : 256u << 10;
		ask_by(&clients[i], &others[i % 3], &request);
		hear_file(&clients[i], "big.bin", BIG);
	}
	ask(&refused, "small", 0, 0);
	ck_assert_ptr_null(hear(&refused));
	expect_status(&refused, GRPC_STATUS_RESOURCE_EXHAUSTED, "too-many: 256 downloads");
	cancel(&clients[0]);
	for (uint64_t end_ms = clock_ms() + KIT_WAIT_MS; !is_answered();)
		daemon_kit_breathe(end_ms, "a place is free again");
	for (size_t i = 1; i < DOWNLOADS; i++)
		cancel(&clients[i]);
	for (size_t i = 0; i < 3; i++)
		rpc_kit_close(&others[i]);
	free(clients);
	wait_closed(1000);
}
END_TEST

/* --- through the network --- */

static struct daemon_kit far;

static void
ask_far(struct client *client, struct rpc_kit *by)
{
	P2p__V1__FileSpec spec = P2P__V1__FILE_SPEC__INIT;
	P2p__V1__DownloadRequest request = P2P__V1__DOWNLOAD_REQUEST__INIT;

	spec.by_case = P2P__V1__FILE_SPEC__BY_NAME;
	spec.name = (char *)"big.bin";
	request.file = &spec;
	request.offset = 77777;
	ask_by(client, by, &request);
}

START_TEST(test_what_others_hold_is_streamed_through)
{
	char *lines =
	    mem_format("[network]\nseed = http://127.0.0.1:%u\n", daemon_rest_port(kit.daemon));
	uint64_t end_ms = clock_ms() + KIT_WAIT_MS;

	daemon_kit_start(&far, lines);
	free(lines);
	struct rpc_kit by;
	rpc_kit_connect(&by, daemon_rpc_port(far.daemon));
	struct client client;

	ask_far(&client, &by);
	P2p__V1__DownloadResponse *first;
	while ((first = hear(&client)) == NULL) {
		expect_status(&client, GRPC_STATUS_NOT_FOUND, "");
		daemon_kit_breathe(end_ms, "the peers know each other");
		ask_far(&client, &by);
	}
	ck_assert(!first->file->is_local);
	ck_assert_uint_eq(first->file->n_holders, 1);
	p2p__v1__download_response__free_unpacked(first, NULL);
	ck_assert_uint_eq(hear_bytes(&client, big + 77777, SIZE_MAX / 2), BIG - 77777);
	expect_status(&client, GRPC_STATUS_OK, "");

	/* In its middle, and while it may be waiting. */
	ask_far(&client, &by);
	hear_file(&client, "big.bin", BIG);
	hear_bytes(&client, big + 77777, 1u << 20);
	cancel(&client);
	ask_far(&client, &by);
	cancel(&client);
	rpc_kit_close(&by);
	daemon_kit_stop(&far);
	wait_closed(1000);
}
END_TEST

/* --- uploads --- */

static P2p__V1__UploadHeader
header_of(const char *name)
{
	P2p__V1__UploadHeader header = P2P__V1__UPLOAD_HEADER__INIT;

	header.name = (char *)name;
	return header;
}

static bool
put_message(struct client *client, P2p__V1__UploadHeader *header, const void *data, size_t len)
{
	P2p__V1__UploadRequest request = P2P__V1__UPLOAD_REQUEST__INIT;

	request.header = header;
	request.data.data = (uint8_t *)data;
	request.data.len = len;
	return rpc_kit_send(&client->call, &request.base);
}

static void
put_bytes(struct client *client, const unsigned char *data, size_t len)
{
	for (size_t at = 0; at < len; at += CHUNK)
		if (!put_message(client, NULL, data + at, len - at < CHUNK ? len - at : CHUNK))
			return;
}

/* That was all, and the file is whole. */
static void
say_whole(struct client *client)
{
	P2p__V1__UploadRequest request = P2P__V1__UPLOAD_REQUEST__INIT;

	request.is_last = true;
	rpc_kit_send(&client->call, &request.base);
	say_all(client);
}

static void
begin(struct client *client, P2p__V1__UploadHeader *header)
{
	open_by(client, &near, UPLOAD, 0);
	put_message(client, header, NULL, 0);
}

/* Ends an upload well; what it became must be those bytes. */
static void
expect_stored(struct client *client, const unsigned char *data, size_t len, bool is_new)
{
	struct content_id content;

	if (client->is_open)
		say_whole(client);
	P2p__V1__UploadResponse *response =
	    (void *)rpc_kit_read(&client->call, &p2p__v1__upload_response__descriptor);
	expect_status(client, GRPC_STATUS_OK, "");
	ck_assert_ptr_nonnull(response);
	daemon_kit_content(data, len, &content);
	ck_assert_uint_eq(response->content->size, len);
	ck_assert_uint_eq(response->content->root.len, sizeof(content.root.bytes));
	ck_assert_mem_eq(response->content->root.data, content.root.bytes,
			 sizeof(content.root.bytes));
	ck_assert_int_eq(response->is_new, is_new);
	p2p__v1__upload_response__free_unpacked(response, NULL);
}

/* Sends all of `data` under `header`; answers the ended call. */
static void
put(struct client *client, P2p__V1__UploadHeader *header, const void *data, size_t len)
{
	begin(client, header);
	put_bytes(client, data, len);
	say_whole(client);
}

static void
expect_refused(P2p__V1__UploadHeader *header, grpc_status_code status, const char *words)
{
	struct client client;

	put(&client, header, "abc", 3);

	expect_status(&client, status, words);
	ck_assert_uint_eq(daemon_kit_temporaries(&kit), 0);
}

START_TEST(test_an_upload_is_there_when_it_is_answered)
{
	P2p__V1__UploadHeader header = header_of("new/file"), nothing = header_of("nothing");

	header.size = BIG;
	header.has_size = true;
	header.mode = 0600;
	header.mtime_ns = 1500000000123456789;
	struct client client;

	put(&client, &header, big, BIG);
	expect_stored(&client, big, BIG, true);
	expect_part("new/file", big, BIG, 0, 0, BIG);
	struct store_reader *reader;
	struct catalog_local file;
	ck_assert_int_eq(service_open(daemon_kit_service(&kit), "new/file", &reader, &file, NULL),
			 P2P_OK);
	store_reader_unref(reader);
	ck_assert_uint_eq(file.mode, 0600);
	ck_assert_int_eq(file.mtime_ns, 1500000000123456789);

	/* The same again is no change; the header's message may have bytes, others none. */
	header.size = 3;
	header.name = (char *)"small3";
	for (int i = 0; i < 2; i++) {
		open_by(&client, &near, UPLOAD, 0);
		put_message(&client, &header, "ab", 2);
		put_message(&client, NULL, NULL, 0);
		put_message(&client, NULL, "c", 1);
		put_message(&client, NULL, NULL, 0);
		expect_stored(&client, (const unsigned char *)"abc", 3, i == 0);
	}
	put(&client, &nothing, "", 0);
	expect_stored(&client, big, 0, true);
	ck_assert_uint_eq(daemon_kit_temporaries(&kit), 0);
}
END_TEST

START_TEST(test_a_stream_that_is_no_upload_is_refused)
{
	P2p__V1__UploadHeader header = header_of("a");
	struct client client;

	open_by(&client, &near, UPLOAD, 0);

	say_all(&client);
	expect_status(&client, GRPC_STATUS_INVALID_ARGUMENT, "bad-request: the stream ended");
	open_by(&client, &near, UPLOAD, 0);
	put_message(&client, NULL, "abc", 3);
	expect_status(&client, GRPC_STATUS_INVALID_ARGUMENT, "has no header");
	begin(&client, &header);
	put_message(&client, &header, NULL, 0);
	expect_status(&client, GRPC_STATUS_INVALID_ARGUMENT, "a header came after");
	begin(&client, &header);
	put_message(&client, NULL, big, (1u << 20) + 1);
	expect_status(&client, GRPC_STATUS_INVALID_ARGUMENT, "too-large: ");
	ck_assert_uint_eq(daemon_kit_temporaries(&kit), 0);
	ck_assert(!has_file("a"));
	begin(&client, &header);
	put_message(&client, NULL, big, 1u << 20);
	expect_stored(&client, big, 1u << 20, true);
}
END_TEST

START_TEST(test_a_header_that_makes_no_sense_is_refused)
{
	P2p__V1__UploadHeader header = header_of("a");
	P2p__V1__Content content = P2P__V1__CONTENT__INIT;

	header.mode = 01777;
	expect_refused(&header, GRPC_STATUS_INVALID_ARGUMENT, "mode: ");
	header = header_of("../a");
	expect_refused(&header, GRPC_STATUS_INVALID_ARGUMENT, "bad-name: ");
	header = header_of("");
	expect_refused(&header, GRPC_STATUS_INVALID_ARGUMENT, "bad-name: ");
	header = header_of("a");
	header.if_root.data = big;
	header.if_root.len = 31;
	expect_refused(&header, GRPC_STATUS_INVALID_ARGUMENT, "if_root: ");
	header = header_of("a");
	header.expect = &content;
	expect_refused(&header, GRPC_STATUS_INVALID_ARGUMENT, "bad-request: ");
	header = header_of("a");
	header.has_size = true;
	header.size = UINT64_MAX;
	expect_refused(&header, GRPC_STATUS_INVALID_ARGUMENT, "too-large: ");
	header = header_of("a");
	header.offset = 3;
	expect_refused(&header, GRPC_STATUS_INVALID_ARGUMENT, "upload id");
	header.upload_id = (char *)"\n";
	expect_refused(&header, GRPC_STATUS_INVALID_ARGUMENT, "upload id");
	header.upload_id = (char *)"id";
	expect_refused(&header, GRPC_STATUS_NOT_FOUND, "not-found: ");
	ck_assert(!has_file("a"));
}
END_TEST

START_TEST(test_bytes_that_are_not_those_announced_are_data_loss)
{
	P2p__V1__UploadHeader header = header_of("a");
	P2p__V1__Content content = P2P__V1__CONTENT__INIT;
	struct content_id id;

	header.has_size = true;
	header.size = 4;
	expect_refused(&header, GRPC_STATUS_DATA_LOSS, "3 bytes came of the 4");
	header.size = 2;
	expect_refused(&header, GRPC_STATUS_DATA_LOSS, "more bytes came");
	header = header_of("a");
	daemon_kit_content("abd", 3, &id);
	content.size = 3;
	content.root.data = id.root.bytes;
	content.root.len = sizeof(id.root.bytes);
	header.expect = &content;
	header.upload_id = (char *)"id";
	expect_refused(&header, GRPC_STATUS_DATA_LOSS, "bad-content: ");
	ck_assert(!has_file("a"));
	struct client client;

	put(&client, &header, "abd", 3);
	expect_stored(&client, (const unsigned char *)"abd", 3, true);
}
END_TEST

START_TEST(test_conditions_and_rights_are_as_over_rest)
{
	P2p__V1__UploadHeader header = header_of("small");
	struct content_id id;

	expect_refused(&header, GRPC_STATUS_ALREADY_EXISTS, "already-exists: ");
	header.if_absent = true;
	expect_refused(&header, GRPC_STATUS_FAILED_PRECONDITION, "precondition-failed: ");
	header = header_of("small");
	header.replace = true;
	expect_refused(&header, GRPC_STATUS_PERMISSION_DENIED, "remote = all");
	header = header_of("small");
	daemon_kit_content("hello\n", 6, &id);
	header.if_root.data = id.root.bytes;
	header.if_root.len = sizeof(id.root.bytes);
	expect_refused(&header, GRPC_STATUS_PERMISSION_DENIED, "remote = all");
	expect_part("small", (const unsigned char *)"hello\n", 6, 0, 0, 6);
}
END_TEST

START_TEST(test_files_are_replaced_where_the_share_allows_it)
{
	rpc_kit_close(&near);
	daemon_kit_halt(&kit);
	daemon_kit_again(&kit, "remote = all\n");
	rpc_kit_connect(&near, daemon_rpc_port(kit.daemon));
	P2p__V1__UploadHeader header = header_of("small");
	struct content_id id;

	daemon_kit_content("hello\n", 6, &id);
	header.if_root.data = id.root.bytes;
	header.if_root.len = sizeof(id.root.bytes);
	struct client client;

	put(&client, &header, "one", 3);
	expect_stored(&client, (const unsigned char *)"one", 3, false);
	expect_refused(&header, GRPC_STATUS_FAILED_PRECONDITION, "precondition-failed: ");
	header = header_of("small");
	header.replace = true;
	put(&client, &header, "two", 3);
	expect_stored(&client, (const unsigned char *)"two", 3, false);
	expect_part("small", (const unsigned char *)"two", 3, 0, 0, 3);
}
END_TEST

START_TEST(test_nothing_is_seen_of_an_upload_before_its_end)
{
	P2p__V1__UploadHeader header = header_of("a");
	struct client client;

	begin(&client, &header);

	put_bytes(&client, big, 2u << 20);
	daemon_kit_wait_temporaries(&kit, 1);
	ck_assert(!has_file("a"));
	cancel(&client);
	daemon_kit_wait_temporaries(&kit, 0);
	ck_assert(!has_file("a"));
}
END_TEST

/* Bytes that the peer has of an upload; UINT64_MAX: none. */
static uint64_t
stat_upload(const char *name, const char *id)
{
	P2p__V1__FileSpec spec = P2P__V1__FILE_SPEC__INIT;
	P2p__V1__StatRequest request = P2P__V1__STAT_REQUEST__INIT;
	struct client client;

	open_by(&client, &near, STAT, 0);

	spec.by_case = P2P__V1__FILE_SPEC__BY_NAME;
	spec.name = (char *)name;
	request.file = &spec;
	request.upload_id = (char *)id;
	rpc_kit_send(&client.call, &request.base);
	say_all(&client);
	P2p__V1__StatResponse *response =
	    (void *)rpc_kit_read(&client.call, &p2p__v1__stat_response__descriptor);
	if (hang_up(&client) == GRPC_STATUS_NOT_FOUND)
		return UINT64_MAX;
	ck_assert_ptr_nonnull(response);
	ck_assert_ptr_null(response->file);
	uint64_t offset = response->upload_offset;
	p2p__v1__stat_response__free_unpacked(response, NULL);
	return offset;
}

START_TEST(test_an_upload_broken_anywhere_goes_on_and_is_the_same)
{
	uint64_t end_ms = clock_ms() + 6 * KIT_WAIT_MS;

	uint64_t went_on = 0;

	srand((unsigned)_i);
	for (int broken = 0; broken <= ROUNDS;) {
		uint64_t offset = stat_upload("a", "id");
		P2p__V1__UploadHeader header = header_of("a");

		header.upload_id = (char *)"id";
		header.has_size = true;
		header.size = BIG;
		header.offset = offset == UINT64_MAX ? 0 : offset;
		struct client client;

		begin(&client, &header);
		bool is_last = broken == ROUNDS;
		size_t len = is_last ? BIG - header.offset : (size_t)rand() % (BIG / ROUNDS);
		put_bytes(&client, big + header.offset, broken == 0 ? BIG / ROUNDS : len);
		/* What is cancelled at once may never arrive: the first time something shall. */
		for (offset = 0; broken == 0 && (offset == 0 || offset == UINT64_MAX);
		     offset = stat_upload("a", "id"))
			daemon_kit_breathe(end_ms, "bytes arrive");
		if (is_last)
			say_all(&client);
		P2p__V1__UploadResponse *response =
		    is_last
			? (void *)rpc_kit_read(&client.call, &p2p__v1__upload_response__descriptor)
			: NULL;
		if (!is_last && _i % 2 == 0)
			rpc_kit_cancel(&client.call);
		else if (!is_last)
			grpc_call_cancel_with_status(client.call.call, GRPC_STATUS_ABORTED, "x",
						     NULL);
		hang_up(&client);
		if (response != NULL) {
			went_on = header.offset;
			p2p__v1__upload_response__free_unpacked(response, NULL);
			break;
		}
		/* The one before may not be known to have broken off yet: then it is asked again. */
		ck_assert(client.end.code == GRPC_STATUS_CANCELLED ||
			  client.end.code == GRPC_STATUS_ABORTED ||
			  client.end.code == GRPC_STATUS_OUT_OF_RANGE);
		daemon_kit_breathe(end_ms, "the upload goes on");
		broken += !is_last;
	}
	ck_assert_uint_gt(went_on, 0);
	expect_part("a", big, BIG, 0, 0, BIG);
	ck_assert_uint_eq(daemon_kit_temporaries(&kit), 0);
}
END_TEST

START_TEST(test_a_deadline_that_passes_leaves_an_upload_that_can_go_on)
{
	P2p__V1__UploadHeader header = header_of("a");
	uint64_t end_ms = clock_ms() + KIT_WAIT_MS;

	header.upload_id = (char *)"id";
	struct client client;

	open_by(&client, &near, UPLOAD, 300);
	put_message(&client, &header, "abc", 3);
	expect_status(&client, GRPC_STATUS_DEADLINE_EXCEEDED, "");
	while (stat_upload("a", "id") != 3)
		daemon_kit_breathe(end_ms, "what came is kept");
	ck_assert_uint_eq(stat_upload("a", "other"), UINT64_MAX);
	header.offset = 2;
	do {
		put(&client, &header, "cd", 2);
		hang_up(&client);
		daemon_kit_breathe(end_ms, "the break is known");
	} while (client.end.code == GRPC_STATUS_ABORTED);
	ck_assert_int_eq(client.end.code, GRPC_STATUS_OUT_OF_RANGE);
	ck_assert_ptr_nonnull(strstr(client.end.details, "byte 3"));
	header.offset = 3;
	put(&client, &header, "d", 1);
	expect_stored(&client, (const unsigned char *)"abcd", 4, true);
}
END_TEST

/* Sends "abc" under `header` and ends the stream as a call does that breaks off. */
static void
put_cut(struct client *client, P2p__V1__UploadHeader *header)
{
	begin(client, header);
	put_message(client, NULL, "abc", 3);
	say_all(client);
}

START_TEST(test_a_stream_that_just_ends_makes_no_file)
{
	P2p__V1__UploadHeader header = header_of("a");
	struct client client;

	put_cut(&client, &header);
	expect_status(&client, GRPC_STATUS_DATA_LOSS,
		      "bad-content: the stream ended without is_last");
	ck_assert_uint_eq(daemon_kit_temporaries(&kit), 0);
	ck_assert(!has_file("a"));
	begin(&client, &header);
	say_all(&client);
	expect_status(&client, GRPC_STATUS_DATA_LOSS, "the file may be cut");

	/* With an id it goes on. */
	header.upload_id = (char *)"id";
	put_cut(&client, &header);
	expect_status(&client, GRPC_STATUS_DATA_LOSS, "the file may be cut");
	ck_assert_uint_eq(stat_upload("a", "id"), 3);
	header.offset = 3;
	put(&client, &header, "d", 1);
	expect_stored(&client, (const unsigned char *)"abcd", 4, true);
}
END_TEST

START_TEST(test_a_stream_that_ends_before_the_announced_size_goes_on)
{
	P2p__V1__UploadHeader header = header_of("a");
	struct client client;

	header.has_size = true;
	header.size = 4;
	header.upload_id = (char *)"id";
	put_cut(&client, &header);
	expect_status(&client, GRPC_STATUS_DATA_LOSS, "3 bytes came of the 4 announced");
	ck_assert_uint_eq(stat_upload("a", "id"), 3);
	/* The size is known from before, and all that came is all. */
	header.has_size = false;
	header.size = 0;
	header.offset = 3;
	begin(&client, &header);
	put_message(&client, NULL, "d", 1);
	say_all(&client);
	expect_stored(&client, (const unsigned char *)"abcd", 4, true);
}
END_TEST

START_TEST(test_what_is_known_as_whole_needs_no_last_message)
{
	P2p__V1__UploadHeader header = header_of("a");
	P2p__V1__Content content = P2P__V1__CONTENT__INIT;
	struct content_id id;
	struct client client;

	header.has_size = true;
	header.size = 3;
	put_cut(&client, &header);
	expect_stored(&client, (const unsigned char *)"abc", 3, true);
	header = header_of("b");
	daemon_kit_content("abc", 3, &id);
	content.size = 3;
	content.root.data = id.root.bytes;
	content.root.len = sizeof(id.root.bytes);
	header.expect = &content;
	put_cut(&client, &header);
	expect_stored(&client, (const unsigned char *)"abc", 3, true);
	/* One message may be all of it. */
	P2p__V1__UploadRequest request = P2P__V1__UPLOAD_REQUEST__INIT;
	header = header_of("c");
	request.header = &header;
	request.is_last = true;
	open_by(&client, &near, UPLOAD, 0);
	rpc_kit_send(&client.call, &request.base);
	say_all(&client);
	expect_stored(&client, big, 0, true);
}
END_TEST

START_TEST(test_nothing_comes_after_the_last_message)
{
	P2p__V1__UploadHeader header = header_of("a");
	P2p__V1__UploadRequest request = P2P__V1__UPLOAD_REQUEST__INIT;
	struct client client;

	header.upload_id = (char *)"id";
	begin(&client, &header);
	put_message(&client, NULL, "abc", 3);
	request.is_last = true;
	rpc_kit_send(&client.call, &request.base);
	put_message(&client, NULL, "d", 1);
	expect_status(&client, GRPC_STATUS_INVALID_ARGUMENT, "bad-request: a message came after");
	ck_assert_uint_eq(stat_upload("a", "id"), UINT64_MAX);
	ck_assert_uint_eq(daemon_kit_temporaries(&kit), 0);
	ck_assert(!has_file("a"));
}
END_TEST

START_TEST(test_who_sends_too_slowly_is_ended)
{
	rpc_kit_close(&near);
	daemon_kit_halt(&kit);
	daemon_kit_again(&kit, "remote = upload\n[rest]\nbody_timeout = 1\n");
	rpc_kit_connect(&near, daemon_rpc_port(kit.daemon));
	P2p__V1__UploadHeader header = header_of("a"), fast = header_of("fast");
	struct client idle, kept, client;
	uint64_t end_ms = clock_ms() + KIT_WAIT_MS;
	size_t sent = 0;

	begin(&client, &fast);
	begin(&idle, &header);
	header.upload_id = (char *)"id";
	begin(&kept, &header);
	put_message(&kept, NULL, "abc", 3);
	daemon_kit_wait_temporaries(&kit, 3);
	/* One of the others is kept, and who sends something is let alone. */
	while (daemon_kit_temporaries(&kit) > 2 || sent < 8 * CHUNK) {
		ck_assert(put_message(&client, NULL, big + sent, 1024));
		sent += 1024;
		daemon_kit_breathe(end_ms, "who sends nothing is ended");
	}
	expect_status(&idle, GRPC_STATUS_DEADLINE_EXCEEDED, "timeout: less than 1 KiB");
	expect_status(&kept, GRPC_STATUS_DEADLINE_EXCEEDED, "timeout: less than 1 KiB");
	while (stat_upload("a", "id") != 3)
		daemon_kit_breathe(end_ms, "what came is kept");
	expect_stored(&client, big, sent, true);
	ck_assert(!has_file("a"));
	header.offset = 3;
	put(&client, &header, "d", 1);
	expect_stored(&client, (const unsigned char *)"abcd", 4, true);
}
END_TEST

START_TEST(test_of_two_that_replace_the_same_file_one_succeeds)
{
	rpc_kit_close(&near);
	daemon_kit_halt(&kit);
	daemon_kit_again(&kit, "remote = all\n");
	rpc_kit_connect(&near, daemon_rpc_port(kit.daemon));
	P2p__V1__UploadHeader header = header_of("small");
	struct content_id id;
	struct client one, two;

	daemon_kit_content("hello\n", 6, &id);
	header.if_root.data = id.root.bytes;
	header.if_root.len = sizeof(id.root.bytes);
	begin(&one, &header);
	begin(&two, &header);
	put_message(&one, NULL, "one", 3);
	put_message(&two, NULL, "two", 3);
	daemon_kit_wait_temporaries(&kit, 2);
	expect_stored(&two, (const unsigned char *)"two", 3, false);
	say_whole(&one);
	expect_status(&one, GRPC_STATUS_FAILED_PRECONDITION, "precondition-failed: ");
	expect_part("small", (const unsigned char *)"two", 3, 0, 0, 3);
	ck_assert_uint_eq(daemon_kit_temporaries(&kit), 0);
}
END_TEST

START_TEST(test_two_uploads_to_one_name_leave_one_whole_file)
{
	P2p__V1__UploadHeader header = header_of("a");
	struct client one, two;

	begin(&one, &header);
	begin(&two, &header);
	uint64_t end_ms = clock_ms() + KIT_WAIT_MS;

	for (size_t at = 0; at < 1u << 20; at += CHUNK) {
		put_message(&one, NULL, big + at, CHUNK);
		put_message(&two, NULL, big + at + 1, CHUNK);
	}
	expect_stored(&two, big + 1, 1u << 20, true);
	say_whole(&one);
	expect_status(&one, GRPC_STATUS_ALREADY_EXISTS, "already-exists: ");
	expect_part("a", big + 1, 1u << 20, 0, 0, 1u << 20);

	header.name = (char *)"b";
	header.upload_id = (char *)"id";
	begin(&one, &header);
	put_message(&one, NULL, "abc", 3);
	while (stat_upload("b", "id") != 3)
		daemon_kit_breathe(end_ms, "the first one is known");
	begin(&two, &header);
	expect_status(&two, GRPC_STATUS_ABORTED, "conflict: ");
	expect_stored(&one, (const unsigned char *)"abc", 3, true);
}
END_TEST

static Suite *
make_suite(void)
{
	Suite *suite = suite_create("rpc_transfer");
	TCase *down = tcase_create("download"), *up = tcase_create("upload");

	tcase_add_checked_fixture(down, setup, teardown);
	tcase_add_checked_fixture(up, setup, teardown);
	tcase_set_timeout(down, 60);
	tcase_set_timeout(up, 60);
	tcase_add_test(down, test_a_file_is_streamed_from_any_offset);
	tcase_add_test(down, test_a_file_that_is_not_cached_is_streamed_all_the_same);
	tcase_add_test(down, test_an_offset_beyond_the_end_is_out_of_range);
	tcase_add_test(down, test_a_content_is_streamed_by_its_id);
	tcase_add_test(down, test_what_is_not_there_is_not_found);
	tcase_add_loop_test(down, test_a_file_that_changes_meanwhile_does_not_end_well, 0, 3);
	tcase_add_test(down, test_a_cancelled_download_closes_its_file_within_a_second);
	tcase_add_test(down, test_readers_that_do_not_read_hold_up_nobody);
	tcase_add_test(down, test_downloads_are_as_many_as_the_limit_lets);
	tcase_add_test(down, test_what_others_hold_is_streamed_through);
	tcase_add_test(up, test_an_upload_is_there_when_it_is_answered);
	tcase_add_test(up, test_a_stream_that_is_no_upload_is_refused);
	tcase_add_test(up, test_a_header_that_makes_no_sense_is_refused);
	tcase_add_test(up, test_bytes_that_are_not_those_announced_are_data_loss);
	tcase_add_test(up, test_conditions_and_rights_are_as_over_rest);
	tcase_add_test(up, test_files_are_replaced_where_the_share_allows_it);
	tcase_add_test(up, test_nothing_is_seen_of_an_upload_before_its_end);
	tcase_add_loop_test(up, test_an_upload_broken_anywhere_goes_on_and_is_the_same, 0, 2);
	tcase_add_test(up, test_a_deadline_that_passes_leaves_an_upload_that_can_go_on);
	tcase_add_test(up, test_a_stream_that_just_ends_makes_no_file);
	tcase_add_test(up, test_a_stream_that_ends_before_the_announced_size_goes_on);
	tcase_add_test(up, test_what_is_known_as_whole_needs_no_last_message);
	tcase_add_test(up, test_nothing_comes_after_the_last_message);
	tcase_add_test(up, test_who_sends_too_slowly_is_ended);
	tcase_add_test(up, test_of_two_that_replace_the_same_file_one_succeeds);
	tcase_add_test(up, test_two_uploads_to_one_name_leave_one_whole_file);
	suite_add_tcase(suite, down);
	suite_add_tcase(suite, up);
	return suite;
}

int
main(void)
{
	SRunner *runner = srunner_create(make_suite());

	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
