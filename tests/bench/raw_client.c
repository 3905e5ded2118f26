/* SPDX-License-Identifier: MIT
 *
 * raw_client.c - the limit of a fetch verified by OpenSSL alone: raw_client PORT PATH BYTES FILE
 *
 * Two threads, each with a connection of its own to an HTTP server on 127.0.0.1, take ranges of 4 MiB in turn until
 * all BYTES of PATH are in FILE.  A block of 256 KiB is received, hashed leaf by leaf while it is in the cache, and
 * written.  Nothing is scheduled, compared, made durable or retried: whatever does more, and hashes by OpenSSL too, can only
 * be slower.  p2pd hashes leaves side by side where libIPSec_MB is there, and may be faster.
 *
 * A tool for the benchmarks, so every failure just ends it with 1.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNECTIONS	2
#define RANGE_BYTES	(UINT64_C(4) << 20)
#define BLOCK_BYTES	(256u << 10)
#define LEAF_BYTES	(16u << 10)
#define HEADER_MAX	4096
#define DIGEST_BYTES	32

struct job {
	uint16_t port;
	const char *path;
	uint64_t size_bytes;
	int out;
	atomic_uint_fast64_t next;	/* offset of the next range that nobody took */
};

struct worker {
	const struct job *job;
	int in;
	EVP_MD *md;
	EVP_MD_CTX *ctx;
	unsigned char leaf[DIGEST_BYTES];
	unsigned char block[BLOCK_BYTES];
};

static void __attribute__((noreturn, format(printf, 1, 2)))
die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("raw_client: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	_exit(1);
}

static int
open_connection(uint16_t port)
{
	struct sockaddr_in to = {
		.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)) != 0)
		die("cannot connect to port %u: %m", port);
	return fd;
}

static void
ask(const struct worker *worker, uint64_t first, uint64_t len)
{
	char request[HEADER_MAX];
	int size = snprintf(request, sizeof(request),
	    "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nRange: bytes=%llu-%llu\r\n\r\n",
	    worker->job->path, (unsigned long long)first, (unsigned long long)(first + len - 1));

	if (size >= HEADER_MAX || send(worker->in, request, (size_t)size, MSG_NOSIGNAL) != size)
		die("cannot send a request: %m");
}

/* Reads the header and no byte more: looks first, then takes what belongs to it. */
static void
skip_header(const struct worker *worker)
{
	char text[HEADER_MAX + 1];
	const char *end;

	do {
		ssize_t len = recv(worker->in, text, HEADER_MAX, MSG_PEEK);
		if (len <= 0)
			die("no answer: %m");
		text[len] = '\0';
		end = strstr(text, "\r\n\r\n");
		if (end == NULL && len == HEADER_MAX)
			die("the answer's header is too long");
	} while (end == NULL);
	if (strncmp(text, "HTTP/1.1 206 ", 13) != 0)
		die("the answer is not 206: %.40s", text);
	size_t len = (size_t)(end + 4 - text);
	if (recv(worker->in, text, len, MSG_WAITALL) != (ssize_t)len)
		die("the answer broke off: %m");
}

static void
hash_block(struct worker *worker, size_t len)
{
	for (size_t at = 0; at < len; at += LEAF_BYTES) {
		size_t leaf = len - at < LEAF_BYTES ? len - at : LEAF_BYTES;
		if (EVP_DigestInit_ex2(worker->ctx, worker->md, NULL) != 1 ||
		    EVP_DigestUpdate(worker->ctx, worker->block + at, leaf) != 1 ||
		    EVP_DigestFinal_ex(worker->ctx, worker->leaf, NULL) != 1)
			die("cannot hash");
	}
}

static void
take_range(struct worker *worker, uint64_t first, uint64_t len)
{
	ask(worker, first, len);
	skip_header(worker);
	for (uint64_t at = 0; at < len;) {
		size_t part = len - at < BLOCK_BYTES ? (size_t)(len - at) : BLOCK_BYTES;
		if (recv(worker->in, worker->block, part, MSG_WAITALL) != (ssize_t)part)
			die("the body broke off: %m");
		hash_block(worker, part);
		if (pwrite(worker->job->out, worker->block, part, (off_t)(first + at)) != (ssize_t)part)
			die("cannot write: %m");
		at += part;
	}
}

static void *
work(void *arg)
{
	struct job *job = arg;
	struct worker *worker = calloc(1, sizeof(*worker));

	if (worker == NULL)
		die("out of memory");
	worker->job = job;
	worker->in = open_connection(job->port);
	worker->md = EVP_MD_fetch(NULL, "SHA256", NULL);
	worker->ctx = EVP_MD_CTX_new();
	if (worker->md == NULL || worker->ctx == NULL)
		die("no SHA-256");
	for (;;) {
		uint64_t first = atomic_fetch_add(&job->next, RANGE_BYTES);
		if (first >= job->size_bytes)
			break;
		uint64_t left = job->size_bytes - first;
		take_range(worker, first, left < RANGE_BYTES ? left : RANGE_BYTES);
	}
	EVP_MD_CTX_free(worker->ctx);
	EVP_MD_free(worker->md);
	close(worker->in);
	free(worker);
	return NULL;
}

int
main(int argc, char **argv)
{
	pthread_t threads[CONNECTIONS];

	if (argc != 5) {
		fputs("usage: raw_client PORT PATH BYTES FILE\n", stderr);
		return 2;
	}
	struct job job = {
		.port = (uint16_t)atoi(argv[1]),
		.path = argv[2],
		.size_bytes = strtoull(argv[3], NULL, 10),
		.out = open(argv[4], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666),
	};
	if (job.out < 0)
		die("cannot create %s: %m", argv[4]);
	for (int i = 0; i < CONNECTIONS; i++)
		if (pthread_create(&threads[i], NULL, work, &job) != 0)
			die("cannot start a thread");
	for (int i = 0; i < CONNECTIONS; i++)
		pthread_join(threads[i], NULL);
	if (close(job.out) != 0)
		die("cannot close %s: %m", argv[4]);
	return 0;
}
