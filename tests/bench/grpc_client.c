/* SPDX-License-Identifier: MIT
 *
 * grpc_client.c - what a C program takes to ask a gRPC server of p2p.proto, for the benchmarks:
 *
 *	grpc_client download PORT NAME BYTES	one Download from the beginning, every byte dropped: prints seconds
 *	grpc_client stat PORT NAME SECONDS	Stat, 64 outstanding: prints calls a second
 *	grpc_client stare PORT NAME COUNT	begins COUNT Downloads, each on a connection of its own, reads one message of each and
 *						then none; prints "staring" and stays until standard input ends
 *
 * One thread, one completion queue.  A tool for the benchmarks, so every failure just ends it with 1.
 */
#include <grpc/byte_buffer.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "p2p.pb-c.h"

#define OUTSTANDING	64
#define MESSAGE_MAX	(8 << 20)
#define STARES_MAX	1024

static grpc_completion_queue *queue;
static gpr_timespec never;

static void __attribute__((noreturn, format(printf, 1, 2)))
die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("grpc_client: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	_exit(1);
}

static double
now_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static grpc_arg
integer(const char *key, int value)
{
	return (grpc_arg){ .type = GRPC_ARG_INTEGER, .key = (char *)key, .value.integer = value };
}

static grpc_channel *
connect_to(const char *port)
{
	grpc_arg list[] = {
		integer(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1),
		integer(GRPC_ARG_ENABLE_HTTP_PROXY, 0),
		integer(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, MESSAGE_MAX),
	};
	grpc_channel_args args = { sizeof(list) / sizeof(list[0]), list };
	char target[32];

	snprintf(target, sizeof(target), "ipv4:127.0.0.1:%s", port);
	grpc_channel_credentials *credentials = grpc_insecure_credentials_create();
	grpc_channel *channel = grpc_channel_create(target, credentials, &args);
	grpc_channel_credentials_release(credentials);
	return channel;
}

static grpc_byte_buffer *
pack(const ProtobufCMessage *message)
{
	grpc_slice slice = grpc_slice_malloc(protobuf_c_message_get_packed_size(message));

	protobuf_c_message_pack(message, GRPC_SLICE_START_PTR(slice));
	grpc_byte_buffer *buffer = grpc_raw_byte_buffer_create(&slice, 1);
	grpc_slice_unref(slice);
	return buffer;
}

static void
start(grpc_call *call, const grpc_op *ops, size_t count, void *tag)
{
	grpc_call_error error = grpc_call_start_batch(call, ops, count, tag, NULL);

	if (error != GRPC_CALL_OK)
		die("a batch was refused: %s", grpc_call_error_to_string(error));
}

/* One call of either kind. */
struct ask {
	grpc_call *call;
	grpc_metadata_array initial, trailing;
	grpc_byte_buffer *request;	/* the core takes what is in it */
	grpc_byte_buffer *answer;
	grpc_status_code status;
	grpc_slice details;
	bool is_over;		/* the status is here */
};

static void
ask_begin(struct ask *ask, grpc_channel *channel, const char *path)
{
	memset(ask, 0, sizeof(*ask));
	ask->call = grpc_channel_create_call(channel, NULL, GRPC_PROPAGATE_DEFAULTS, queue,
	    grpc_slice_from_static_string(path), NULL, never, NULL);
	grpc_metadata_array_init(&ask->initial);
	grpc_metadata_array_init(&ask->trailing);
}

static void
ask_end(struct ask *ask)
{
	grpc_metadata_array_destroy(&ask->initial);
	grpc_metadata_array_destroy(&ask->trailing);
	grpc_byte_buffer_destroy(ask->request);
	if (ask->is_over)
		grpc_slice_unref(ask->details);
	grpc_call_unref(ask->call);
}

static void
check_status(const struct ask *ask)
{
	if (ask->status != GRPC_STATUS_OK)
		die("status %d: %.*s", ask->status, (int)GRPC_SLICE_LENGTH(ask->details),
		    (const char *)GRPC_SLICE_START_PTR(ask->details));
}

static P2p__V1__FileSpec
spec_of(char *name)
{
	P2p__V1__FileSpec spec = P2P__V1__FILE_SPEC__INIT;

	spec.by_case = P2P__V1__FILE_SPEC__BY_NAME;
	spec.name = name;
	return spec;
}

/* --- download, stare --- */

static void
download_begin(struct ask *ask, char *name)
{
	P2p__V1__FileSpec spec = spec_of(name);
	P2p__V1__DownloadRequest request = P2P__V1__DOWNLOAD_REQUEST__INIT;

	request.file = &spec;
	ask->request = pack(&request.base);
	grpc_op first[] = {
		{ .op = GRPC_OP_SEND_INITIAL_METADATA },
		{ .op = GRPC_OP_SEND_MESSAGE, .data.send_message.send_message = ask->request },
		{ .op = GRPC_OP_SEND_CLOSE_FROM_CLIENT },
		{ .op = GRPC_OP_RECV_INITIAL_METADATA,
		    .data.recv_initial_metadata.recv_initial_metadata = &ask->initial },
	};
	grpc_op last = { .op = GRPC_OP_RECV_STATUS_ON_CLIENT,
		.data.recv_status_on_client = { .trailing_metadata = &ask->trailing,
		    .status = &ask->status,
		    .status_details = &ask->details } };
	start(ask->call, first, 4, NULL);
	start(ask->call, &last, 1, &ask->is_over);
}

static void
read_next(struct ask *ask)
{
	grpc_op op = { .op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = &ask->answer };

	start(ask->call, &op, 1, &ask->answer);
}

static uint64_t
length_of(grpc_byte_buffer *buffer)
{
	return buffer->data.raw.slice_buffer.length;
}

static void
download(const char *port, char *name, uint64_t wanted)
{
	struct ask ask;
	grpc_channel *channel = connect_to(port);
	uint64_t came = 0, messages = 0;

	double begin = now_s();
	ask_begin(&ask, channel, "/p2p.v1.Files/Download");
	download_begin(&ask, name);
	read_next(&ask);
	for (bool is_read_out = false; !ask.is_over || !is_read_out;) {
		grpc_event event = grpc_completion_queue_next(queue, never, NULL);
		if (event.tag == &ask.is_over) {
			ask.is_over = true;
		} else if (event.tag == &ask.answer && ask.answer == NULL) {
			is_read_out = true;
		} else if (event.tag == &ask.answer) {
			came += length_of(ask.answer);
			messages++;
			grpc_byte_buffer_destroy(ask.answer);
			read_next(&ask);
		}
	}
	double took = now_s() - begin;
	check_status(&ask);
	/* Each message adds a few bytes of framing, the first one describes the file. */
	if (came < wanted || came > wanted + messages * 16 + 2048)
		die("%llu bytes came instead of %llu", (unsigned long long)came, (unsigned long long)wanted);
	printf("%.6f\n", took);
	ask_end(&ask);
	grpc_channel_destroy(channel);
}

static void
stare(const char *port, char *name, int count)
{
	static struct ask asks[STARES_MAX];

	if (count < 1 || count > STARES_MAX)
		die("COUNT is 1 to %d", STARES_MAX);
	for (int i = 0; i < count; i++) {
		ask_begin(&asks[i], connect_to(port), "/p2p.v1.Files/Download");
		download_begin(&asks[i], name);
		read_next(&asks[i]);
	}
	for (int i = 0; i < count;) {
		grpc_event event = grpc_completion_queue_next(queue, never, NULL);
		for (int j = 0; j < count; j++) {
			if (event.tag == &asks[j].is_over)
				die("a download ended");
			i += event.tag == &asks[j].answer;
		}
	}
	puts("staring");
	fflush(stdout);
	for (char c; read(STDIN_FILENO, &c, 1) > 0;)
		;
}

/* --- stat --- */

static void
stat_start(struct ask *ask, grpc_channel *channel, const ProtobufCMessage *message)
{
	ask_begin(ask, channel, "/p2p.v1.Files/Stat");
	ask->request = pack(message);
	grpc_op ops[] = {
		{ .op = GRPC_OP_SEND_INITIAL_METADATA },
		{ .op = GRPC_OP_SEND_MESSAGE, .data.send_message.send_message = ask->request },
		{ .op = GRPC_OP_SEND_CLOSE_FROM_CLIENT },
		{ .op = GRPC_OP_RECV_INITIAL_METADATA,
		    .data.recv_initial_metadata.recv_initial_metadata = &ask->initial },
		{ .op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = &ask->answer },
		{ .op = GRPC_OP_RECV_STATUS_ON_CLIENT,
		    .data.recv_status_on_client = { .trailing_metadata = &ask->trailing,
			.status = &ask->status,
			.status_details = &ask->details } },
	};

	start(ask->call, ops, 6, ask);
}

static void
ask_stat(const char *port, char *name, double seconds)
{
	P2p__V1__FileSpec spec = spec_of(name);
	P2p__V1__StatRequest message = P2P__V1__STAT_REQUEST__INIT;
	static struct ask asks[OUTSTANDING];
	grpc_channel *channel = connect_to(port);
	uint64_t count = 0;

	message.file = &spec;
	double begin = now_s(), end = begin + seconds;
	for (int i = 0; i < OUTSTANDING; i++)
		stat_start(&asks[i], channel, &message.base);
	for (int left = OUTSTANDING; left > 0;) {
		grpc_event event = grpc_completion_queue_next(queue, never, NULL);
		struct ask *ask = event.tag;
		ask->is_over = true;
		check_status(ask);
		if (ask->answer == NULL || length_of(ask->answer) < 40)
			die("an answer lacks the file");
		grpc_byte_buffer_destroy(ask->answer);
		ask_end(ask);
		count++;
		if (now_s() < end)
			stat_start(ask, channel, &message.base);
		else
			left--;
	}
	printf("%.0f\n", (double)count / (now_s() - begin));
	grpc_channel_destroy(channel);
}

int
main(int argc, char **argv)
{
	if (argc != 5) {
		fputs("usage: grpc_client download PORT NAME BYTES | stat PORT NAME SECONDS | stare PORT NAME COUNT\n",
		    stderr);
		return 2;
	}
	/* Large slices come and go: without this the heap is trimmed and faulted in again for each. */
	mallopt(M_MMAP_THRESHOLD, 32 << 20);
	mallopt(M_TRIM_THRESHOLD, 256 << 20);
	mallopt(M_TOP_PAD, 16 << 20);
	grpc_init();
	never = gpr_inf_future(GPR_CLOCK_REALTIME);
	queue = grpc_completion_queue_create_for_next(NULL);
	if (strcmp(argv[1], "download") == 0)
		download(argv[2], argv[3], strtoull(argv[4], NULL, 10));
	else if (strcmp(argv[1], "stat") == 0)
		ask_stat(argv[2], argv[3], atof(argv[4]));
	else if (strcmp(argv[1], "stare") == 0)
		stare(argv[2], argv[3], atoi(argv[4]));
	else
		die("%s is none of download, stat, stare", argv[1]);
	fflush(stdout);
	_exit(0);
}
