/* SPDX-License-Identifier: MIT
 *
 * check_rest.c - the REST face over a real daemon, asked by raw sockets and by libcurl; and its
 * pure parts by themselves.
 */
#include "daemon.h"

#include <arpa/inet.h>
#include <check.h>
#include <curl/curl.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "buf.h"
#include "clock.h"
#include "digest.h"
#include "log.h"
#include "mem.h"
#include "merkle.h"
#include "rest.h"
#include "rest_guard.h"
#include "rest_parse.h"

#define ANSWER_MAX   (1u << 20)
#define WAIT_MS      10000
#define BIG_BYTES    (3u << 20)
#define UNKNOWN_ROOT "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

/* --- a daemon in a thread --- */

static char root[128];
static struct daemon *peer;
static struct config *config;
static pthread_t mind;
static uint16_t port;

static void *
run_daemon(void *arg)
{
	(void)arg;
	daemon_run(peer);
	daemon_free(peer);
	return NULL;
}

static void
stop_daemon(void *arg)
{
	daemon_stop(arg);
}

static void
write_file(const char *name, const void *data, size_t len)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/%s", root, name);
	FILE *file = fopen(path, "w");
	ck_assert_ptr_nonnull(file);
	ck_assert_uint_eq(fwrite(data, 1, len, file), len);
	fclose(file);
}

static unsigned char *
big_content(void)
{
	unsigned char *data = mem_alloc(BIG_BYTES);

	for (size_t i = 0; i < BIG_BYTES; i++)
		data[i] = (unsigned char)((i * 2654435761u) >> 11);
	return data;
}

static char *ask(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* `more` are further lines of the configuration. */
static void
start(const char *more)
{
	const char *tmp = getenv("TMPDIR");
	struct error err = { 0 };
	char path[256], *text;

	log_open(LOG_LEVEL_ERROR);
	snprintf(root, sizeof(root), "%.60s/check_rest.XXXXXX", tmp != NULL ? tmp : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(root));
	snprintf(path, sizeof(path), "%s/share", root);
	ck_assert_int_eq(mkdir(path, 0755), 0);
	write_file("share/a.txt", "hello\n", 6);
	write_file("share/empty", "", 0);
	unsigned char *big = big_content();
	write_file("share/big.bin", big, BIG_BYTES);
	free(big);
	text = mem_format("[node]\nname = tester\nstate = %s/state\nlog = error\n"
			  "[control]\nsocket = %s/sock\n[grpc]\nlisten =\n[share]\ndirectory = "
			  "%s/share\nsettle = 0\n"
			  "%s[rest]\nlisten = 127.0.0.1:0\n",
			  root, root, root, more);
	write_file("p2pd.conf", text, strlen(text));
	free(text);
	snprintf(path, sizeof(path), "%s/p2pd.conf", root);
	config = config_load(path, &err);
	ck_assert_msg(config != NULL, "%s", err.text);
	peer = daemon_new(NULL, config, &err);
	ck_assert_msg(peer != NULL, "%s", err.text);
	port = daemon_rest_port(peer);
	ck_assert_int_eq(pthread_create(&mind, NULL, run_daemon, NULL), 0);

	uint64_t end_ms = clock_ms() + WAIT_MS;
	for (bool is_ready = false; !is_ready; free(text)) {
		text =
		    ask("GET /v1/node HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nConnection: close\r\n\r\n",
			port);
		is_ready =
		    strstr(text, "\"ready\":true") != NULL && strstr(text, "\"files\":3") != NULL;
		ck_assert(clock_ms() < end_ms);
	}
}

static int
remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

static void
stop(void)
{
	loop_post(daemon_loop(peer), stop_daemon, peer);
	pthread_join(mind, NULL);
	config_unref(config);
	nftw(root, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

/* --- a client --- */

static int
dial(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_port = htons(port),
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

static void
say(int fd, const char *text)
{
	ck_assert_int_eq(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

/* Everything until the end, or until `until` was seen; NUL-terminated, to be freed. */
static char *
hear(int fd, const char *until)
{
	char *text = mem_zero(1, ANSWER_MAX);
	size_t len = 0;

	while (len < ANSWER_MAX - 1 && (until == NULL || strstr(text, until) == NULL)) {
		struct pollfd wait = { .fd = fd, .events = POLLIN };

		ck_assert_msg(poll(&wait, 1, WAIT_MS) == 1, "no answer in time: %s", text);
		ssize_t got = recv(fd, text + len, ANSWER_MAX - 1 - len, 0);
		if (got <= 0)
			break;
		len += (size_t)got;
	}
	return text;
}

static char *
ask(const char *format, ...)
{
	char *text;
	va_list args;

	va_start(args, format);
	ck_assert_int_ge(vasprintf(&text, format, args), 0);
	va_end(args);
	int fd = dial();
	/* A server that refuses early may close before all was sent. */
	send(fd, text, strlen(text), MSG_NOSIGNAL);
	free(text);
	text = hear(fd, NULL);
	close(fd);
	return text;
}

/* Asks with a good Host and "Connection: close"; `fields` end in CRLF each. */
static char *
ask_for(const char *method, const char *target, const char *fields, const char *body)
{
	return ask("%s %s HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nConnection: close\r\n%s\r\n%s", method,
		   target, port, fields, body);
}

static int
status_of(const char *answer)
{
	int status = 0;

	ck_assert_msg(sscanf(answer, "HTTP/1.%*d %d", &status) == 1, "no answer: \"%.200s\"",
		      answer);
	return status;
}

static void
expect(const char *method, const char *target, const char *fields, const char *body, int status,
       const char *slug)
{
	char *answer = ask_for(method, target, fields, body);

	ck_assert_msg(status_of(answer) == status, "%s %s (%s): %.600s", method, target, fields,
		      answer);
	if (slug != NULL) {
		char *wanted = mem_format("\"slug\":\"%s\"", slug);

		ck_assert_ptr_nonnull(strstr(answer, "application/problem+json"));
		ck_assert_msg(strstr(answer, wanted) != NULL, "%s", answer);
		free(wanted);
	}
	free(answer);
}

static size_t
open_descriptors(void)
{
	size_t count = 0;
	DIR *dir = opendir("/proc/self/fd");

	while (readdir(dir) != NULL)
		count++;
	closedir(dir);
	return count;
}

/* Puts a small file and answers its root. */
static void
put_root(const char *name, const char *data, char ret_hex[DIGEST_HEX_SIZE])
{
	struct digest node;
	char *target = mem_format("/v1/files/%s", name);
	char *fields = mem_format("Content-Length: %zu\r\n", strlen(data));

	expect("PUT", target, fields, data, 201, NULL);
	merkle_piece_node(hasher_mine(), data, strlen(data), MERKLE_PIECE_MIN, true, &node);
	digest_hex(&node, ret_hex);
	free(target);
	free(fields);
}

/* --- pure parts --- */

START_TEST(test_targets_that_lead_astray_are_refused)
{
	static const char *const bad[] = { "",
					   "x",
					   "*",
					   "http://h/x",
					   "/..",
					   "/../x",
					   "/a/../b",
					   "/a/.",
					   "/%2e%2e/x",
					   "/%2E./x",
					   "/.%2e",
					   "/%252e%252e/x",
					   "/%252e%252e%252fx",
					   "/a%2fb",
					   "/a%2Fb",
					   "/%00",
					   "/a%00b",
					   "/%",
					   "/%4",
					   "/%zz",
					   "/%c0%ae%c0%ae/x",
					   "/%e0%80%af",
					   "/%ff",
					   "/%ed%a0%80",
					   "/x?a=1&a=2",
					   "/x?a=%00",
					   "/x?a=%ff",
					   "/x?a=%4" };

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct rest_target target = { .path = NULL };
		char *text = mem_string(bad[i]);

		ck_assert_msg(rest_target_parse(text, &target, NULL) == P2P_BAD_REQUEST, "%s",
			      bad[i]);
		ck_assert_ptr_null(target.path);
		free(text);
	}
}
END_TEST

START_TEST(test_targets_are_decoded_exactly_once)
{
	char text[] = "/v1/files/a/100%25.txt%20%c3%bc+?q=a+b%2Fc&x&y=";
	struct rest_target target;

	ck_assert_int_eq(rest_target_parse(text, &target, NULL), P2P_OK);
	ck_assert_str_eq(target.path, "/v1/files/a/100%.txt \xc3\xbc+");
	ck_assert_str_eq(rest_target_param(&target, "q"), "a b/c");
	ck_assert_str_eq(rest_target_param(&target, "x"), "");
	ck_assert_ptr_null(rest_target_param(&target, "z"));
}
END_TEST

START_TEST(test_ranges_are_one_or_none)
{
	static const struct {
		const char *text;
		enum rest_range is;
		uint64_t first, len;
	} all[] = {
		{ "bytes=0-0", REST_RANGE_PART, 0, 1 },
		{ "bytes=5-", REST_RANGE_PART, 5, 5 },
		{ "bytes=-3", REST_RANGE_PART, 7, 3 },
		{ "bytes=-99", REST_RANGE_PART, 0, 10 },
		{ "bytes=9-18446744073709551615", REST_RANGE_PART, 9, 1 },
		{ "items=1-2", REST_RANGE_WHOLE, 0, 0 },
		{ "bytes=5-2", REST_RANGE_BAD, 0, 0 },
		{ "bytes=10-", REST_RANGE_BAD, 0, 0 },
		{ "bytes=-0", REST_RANGE_BAD, 0, 0 },
		{ "bytes=0-1,3-4", REST_RANGE_BAD, 0, 0 },
		{ "bytes=18446744073709551616-", REST_RANGE_BAD, 0, 0 },
		{ "bytes=", REST_RANGE_BAD, 0, 0 },
		{ "bytes=a-b", REST_RANGE_BAD, 0, 0 },
		{ "bytes=--1", REST_RANGE_BAD, 0, 0 },
	};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		uint64_t first = 0, len = 0;

		ck_assert_msg(rest_range_parse(all[i].text, 10, &first, &len) == all[i].is, "%s",
			      all[i].text);
		if (all[i].is == REST_RANGE_PART) {
			ck_assert_uint_eq(first, all[i].first);
			ck_assert_uint_eq(len, all[i].len);
		}
	}
}
END_TEST

START_TEST(test_dates_and_entity_tags_are_read_strictly)
{
	char date[REST_DATE_SIZE];
	int64_t wall_s = 0;

	rest_date(784111777, date);
	ck_assert_str_eq(date, "Sun, 06 Nov 1994 08:49:37 GMT");
	ck_assert(rest_date_parse(date, &wall_s));
	ck_assert_int_eq(wall_s, 784111777);
	ck_assert(!rest_date_parse("Mon, 06 Nov 1994 08:49:37 GMT", &wall_s));
	ck_assert(!rest_date_parse("Sunday, 06-Nov-94 08:49:37 GMT", &wall_s));
	ck_assert(rest_etag_in("\"a\", \"b\"", "\"b\"", false));
	ck_assert(rest_etag_in("W/\"b\"", "\"b\"", true));
	ck_assert(!rest_etag_in("W/\"b\"", "\"b\"", false));
	ck_assert(rest_etag_in("*", "\"b\"", false));
	ck_assert(!rest_etag_in("\"b", "\"b\"", true));
	ck_assert(!rest_etag_in("b", "\"b\"", true));
}
END_TEST

START_TEST(test_the_guard_knows_its_own_names_and_no_others)
{
	struct config ours = {
		.node_name = (char *)"tester",
		.rest_host = { 2, { (char *)"files.example", (char *)"proxy.example:8080" } },
		.network_advertise = { 1, { (char *)"http://nat.example:7000" } }
	};
	static const struct {
		const char *host;
		int code;
	} all[] = {
		{ "127.0.0.1:5001", P2P_OK },
		{ "localhost:5001", P2P_OK },
		{ "LOCALHOST:5001", P2P_OK },
		{ "tester:5001", P2P_OK },
		{ "files.example", P2P_OK },
		{ "files.example:99", P2P_OK },
		{ "proxy.example:8080", P2P_OK },
		{ "nat.example:7000", P2P_OK },
		{ "nat.example:5001", P2P_OK },
		{ "127.0.0.1", P2P_MISDIRECTED },
		{ "127.0.0.1:5002", P2P_MISDIRECTED },
		{ "127.0.0.2:5001", P2P_MISDIRECTED },
		{ "localhost", P2P_MISDIRECTED },
		{ "evil.test", P2P_MISDIRECTED },
		{ "evil.test:5001", P2P_MISDIRECTED },
		{ "localhost.evil.test:5001", P2P_MISDIRECTED },
		{ "proxy.example", P2P_MISDIRECTED },
		{ "[::1]:5001", P2P_MISDIRECTED },
		{ "127.0.0.1:5001x", P2P_MISDIRECTED },
		{ "user@127.0.0.1:5001", P2P_MISDIRECTED },
		{ "2130706433:5001", P2P_MISDIRECTED },
		{ ":5001", P2P_MISDIRECTED },
		{ "", P2P_BAD_REQUEST },
	};
	struct rest_local local;

	rest_local_make("127.0.0.1", 5001, &local);
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		struct rest_claims claims = { .host_count = 1, .host = all[i].host };
		ck_assert_msg(rest_guard(&ours, &local, &claims, NULL) == all[i].code, "%s",
			      all[i].host);
	}
	rest_local_make("fe80::1%eth0", 80, &local);
	struct rest_claims v6 = { .host_count = 1, .host = "[FE80:0::1]" };
	ck_assert_int_eq(rest_guard(&ours, &local, &v6, NULL), P2P_OK);
	v6.host = "localhost";
	ck_assert_int_eq(rest_guard(&ours, &local, &v6, NULL), P2P_MISDIRECTED);
}
END_TEST

START_TEST(test_the_guard_refuses_pages_of_other_sites)
{
	struct config ours = { .node_name = (char *)"tester" };
	struct rest_local local;
	struct rest_claims claims = { .host_count = 1, .host = "localhost:5001" };

	rest_local_make("127.0.0.1", 5001, &local);
	claims.origin = "http://localhost:5001";
	ck_assert_int_eq(rest_guard(&ours, &local, &claims, NULL), P2P_OK);
	claims.origin = "null";
	ck_assert_int_eq(rest_guard(&ours, &local, &claims, NULL), P2P_FORBIDDEN);
	claims.origin = "http://127.0.0.1:5001";
	ck_assert_int_eq(rest_guard(&ours, &local, &claims, NULL), P2P_FORBIDDEN);
	claims.origin = NULL;
	claims.fetch_site = "same-site";
	ck_assert_int_eq(rest_guard(&ours, &local, &claims, NULL), P2P_FORBIDDEN);
	claims.fetch_site = "none";
	ck_assert_int_eq(rest_guard(&ours, &local, &claims, NULL), P2P_OK);
	claims.host_count = 2;
	ck_assert_int_eq(rest_guard(&ours, &local, &claims, NULL), P2P_BAD_REQUEST);
}
END_TEST

/* --- documents --- */

static bool
openapi_has(const char *path, const char *method)
{
	char *key = mem_format("    \"%s\": {", path), lower[16] = "";
	const char *at = strstr(rest_openapi(), key);
	const char *end = at != NULL ? strstr(at, "\n    }") : NULL;

	for (size_t i = 0; method[i] != '\0'; i++)
		lower[i] = (char)(method[i] | 0x20);
	free(key);
	key = mem_format("\n      \"%s\": {", lower);
	const char *found = at != NULL ? strstr(at, key) : NULL;
	free(key);
	return found != NULL && found < end;
}

START_TEST(test_the_description_has_every_route_and_nothing_else)
{
	struct rest_route route;
	size_t rows = 0, described = 0;

	for (; rest_route(rows, &route); rows++)
		ck_assert_msg(openapi_has(route.path, route.method), "%s %s", route.method,
			      route.path);
	for (const char *at = rest_openapi(); (at = strstr(at, "\"operationId\"")) != NULL; at++)
		described++;
	ck_assert_uint_eq(rows, described);
}
END_TEST

START_TEST(test_the_manual_has_every_route_and_nothing_else)
{
	const char *top = getenv("srcdir");
	char *path = mem_format("%s/man/p2pd-rest.7", top != NULL ? top : "."), line[512];
	FILE *page = fopen(path, "r");
	struct rest_route route;
	size_t rows = 0, described = 0;

	ck_assert_msg(page != NULL, "%s", path);
	while (fgets(line, sizeof(line), page) != NULL)
		described += strncmp(line, ".It Ic ", 7) == 0;
	for (; rest_route(rows, &route); rows++) {
		char *wanted = mem_format(".It Ic %s %s\n", route.method, route.path);
		bool is_there = false;

		rewind(page);
		while (fgets(line, sizeof(line), page) != NULL)
			is_there = is_there || strcmp(line, wanted) == 0;
		ck_assert_msg(is_there, "%s", wanted);
		free(wanted);
	}
	ck_assert_uint_eq(rows, described);
	fclose(page);
	free(path);
}
END_TEST

/* --- files --- */

START_TEST(test_a_file_is_read_whole_in_part_and_conditionally)
{
	char etag[128] = "", fields[256], *answer;

	start("");
	answer = ask_for("GET", "/v1/files/a.txt", "", "");
	ck_assert_int_eq(status_of(answer), 200);
	ck_assert_ptr_nonnull(strstr(answer, "\r\n\r\nhello\n"));
	ck_assert_ptr_nonnull(strstr(answer, "X-Content-Type-Options: nosniff"));
	ck_assert_ptr_nonnull(strstr(answer, "Content-Security-Policy: sandbox"));
	ck_assert_int_eq(sscanf(strstr(answer, "ETag: "), "ETag: %100s", etag), 1);
	free(answer);
	snprintf(fields, sizeof(fields), "If-None-Match: %s\r\n", etag);
	expect("GET", "/v1/files/a.txt", fields, "", 304, NULL);
	snprintf(fields, sizeof(fields), "If-Match: \"%s\"\r\n", UNKNOWN_ROOT);
	expect("GET", "/v1/files/a.txt", fields, "", 412, "precondition-failed");
	answer = ask_for("GET", "/v1/files/a.txt", "Range: bytes=1-2\r\n", "");
	ck_assert_int_eq(status_of(answer), 206);
	ck_assert_ptr_nonnull(strstr(answer, "Content-Range: bytes 1-2/6"));
	ck_assert_ptr_nonnull(strstr(answer, "\r\n\r\nel"));
	free(answer);
	snprintf(fields, sizeof(fields), "Range: bytes=1-2\r\nIf-Range: \"%s\"\r\n", UNKNOWN_ROOT);
	expect("GET", "/v1/files/a.txt", fields, "", 200, NULL);
	answer = ask_for("GET", "/v1/files/a.txt", "Range: bytes=5-2\r\n", "");
	ck_assert_int_eq(status_of(answer), 416);
	ck_assert_ptr_nonnull(strstr(answer, "Content-Range: bytes */6"));
	free(answer);
	answer = ask_for("HEAD", "/v1/files/big.bin", "Range: bytes=1-2\r\n", "");
	ck_assert_int_eq(status_of(answer), 200);
	ck_assert_ptr_nonnull(strstr(answer, "Content-Length: 3145728"));
	ck_assert_str_eq(strstr(answer, "\r\n\r\n"), "\r\n\r\n");
	free(answer);
	expect("GET", "/v1/files/empty", "", "", 200, NULL);
	expect("GET", "/v1/files/nothing", "", "", 404, "not-found");
	stop();
}
END_TEST

struct collected {
	size_t len;
	unsigned char *data;
};

static size_t
collect(char *data, size_t one, size_t len, void *arg)
{
	struct collected *into = arg;

	(void)one;
	if (into->len + len > BIG_BYTES)
		return 0;
	memcpy(into->data + into->len, data, len);
	into->len += len;
	return len;
}

START_TEST(test_large_files_come_whole_to_curl)
{
	struct collected got = { 0, mem_alloc(BIG_BYTES) };
	unsigned char *big = big_content();
	CURL *curl = curl_easy_init();

	start("");
	char *url = mem_format("http://127.0.0.1:%u/v1/files/big.bin?scope=network", port);
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_PROXY, "");
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, collect);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, &got);
	ck_assert_int_eq(curl_easy_perform(curl), CURLE_OK);
	ck_assert_uint_eq(got.len, BIG_BYTES);
	ck_assert_int_eq(memcmp(got.data, big, BIG_BYTES), 0);
	curl_easy_cleanup(curl);
	stop();
	free(url);
	free(big);
	free(got.data);
}
END_TEST

START_TEST(test_contents_are_found_by_root_and_size)
{
	char root_hex[65] = "", target[256], *answer;

	start("");
	answer = ask_for("GET", "/v1/files/big.bin", "If-None-Match: *\r\n", "");
	ck_assert_int_eq(sscanf(strstr(answer, "ETag: \""), "ETag: \"%64[0-9a-f]", root_hex), 1);
	free(answer);
	snprintf(target, sizeof(target), "/v1/contents/%s?size=%u", root_hex, BIG_BYTES);
	expect("HEAD", target, "", "", 200, NULL);
	snprintf(target, sizeof(target), "/v1/contents/%s/have?size=%u", root_hex, BIG_BYTES);
	expect("GET", target, "", "", 200, NULL);
	snprintf(target, sizeof(target), "/v1/contents/%s/have?size=%u", root_hex, BIG_BYTES - 1);
	expect("GET", target, "", "", 404, "not-found");
	snprintf(target, sizeof(target), "/v1/contents/%s/layer?size=%u&piece=131072", root_hex,
		 BIG_BYTES);
	answer = ask_for("GET", target, "", "");
	ck_assert_int_eq(status_of(answer), 200);
	ck_assert_ptr_nonnull(strstr(answer, "P2pd-Piece-Bytes: 131072"));
	ck_assert_ptr_nonnull(strstr(answer, "Content-Length: 768"));
	free(answer);
	snprintf(target, sizeof(target), "/v1/contents/%s", root_hex);
	expect("GET", target, "", "", 400, "bad-request");
	expect("GET", "/v1/contents/zz?size=1", "", "", 400, "bad-request");
	stop();
}
END_TEST

/* Asks for a batch by this body; gives the answer, whose status must be this. */
static char *
ask_batch(const char *body, int status)
{
	char *fields =
	    mem_format("Content-Type: application/json\r\nContent-Length: %zu\r\n", strlen(body));
	char *answer = ask_for("POST", "/v1/contents/batch", fields, body);

	ck_assert_msg(status_of(answer) == status, "%.200s: %.400s", body, answer);
	free(fields);
	return answer;
}

#define NOBODYS                                                                                    \
	"{\"root\":\"0101010101010101010101010101010101010101010101010101010101010101\",\"size\":" \
	"5}"
#define EMPTY                                                                             \
	"{\"root\":\"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\"," \
	"\"size\":0}"

/* By a client of another making, as its users would. */
START_TEST(test_many_small_contents_come_in_the_order_asked)
{
	static const unsigned char wanted[] = "\0\310second\1\224\0\310first\0\310second";
	unsigned char got[64];
	char roots[2][DIGEST_HEX_SIZE], *command;
	size_t len;
	FILE *pipe;

	start("");
	put_root("one", "first", roots[0]);
	put_root("two", "second", roots[1]);
	command = mem_format("curl -sS --noproxy '*' -H 'Content-Type: application/json' -d "
			     "'{\"contents\":[{\"root\":\"%s\",\"size\":6}," NOBODYS
			     ",{\"root\":\"%s\",\"size\":5},{\"root\":\"%s\",\"size\":6}]}' "
			     "http://127.0.0.1:%u/v1/contents/batch",
			     roots[1], roots[0], roots[1], port);
	pipe = popen(command, "r");
	len = fread(got, 1, sizeof(got), pipe);
	ck_assert_int_eq(pclose(pipe), 0);
	ck_assert_uint_eq(len, sizeof(wanted) - 1);
	ck_assert_mem_eq(got, wanted, len);
	free(command);
	stop();
}
END_TEST

START_TEST(test_batches_that_ask_for_too_much_are_refused)
{
	static const struct {
		const char *body;
		int status;
	} bodies[] = {
		{ "{}", 400 },
		{ "{\"contents\":[]}", 400 },
		{ "{\"contents\":7}", 400 },
		{ "{\"contents\":[7]}", 400 },
		{ "{\"contents\":[{\"root\":\"00\",\"size\":1}]}", 400 },
		{ "{\"contents\":[{\"root\":7,\"size\":1}]}", 400 },
		{ "{\"contents\":[" EMPTY "]", 400 },
		{ "{\"contents\":[" EMPTY "]}", 200 },
		{ "{\"contents\":[{\"root\":"
		  "\"0101010101010101010101010101010101010101010101010101010101"
		  "010101\",\"size\":65537}]}",
		  413 },
		{ "{\"contents\":[{\"root\":"
		  "\"0101010101010101010101010101010101010101010101010101010101"
		  "010101\",\"size\":-1}]}",
		  400 },
		{ "{\"contents\":[{\"root\":"
		  "\"0101010101010101010101010101010101010101010101010101010101"
		  "010101\",\"size\":0}]}",
		  400 },
	};

	start("");
	for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++)
		free(ask_batch(bodies[i].body, bodies[i].status));
	/* One more than may be asked for; and of the same number, more bytes than may. */
	for (unsigned count = 1025; count >= 1024; count--) {
		struct buf body;

		buf_init(&body, 1 << 20);
		for (unsigned i = 0; i < count; i++)
			buf_addf(&body, "%s{\"root\":\"%064x\",\"size\":%u}",
				 i > 0 ? "," : "{\"contents\":[", i, count == 1024 ? 8193 : 1);
		buf_adds(&body, "]}");
		free(ask_batch(body.data, count == 1024 ? 413 : 429));
		buf_fini(&body);
	}
	stop();
}
END_TEST

START_TEST(test_a_file_is_put_once_and_replaced_only_with_the_right)
{
	start("");
	expect("PUT", "/v1/files/d/new%20one.txt", "Content-Length: 3\r\n", "abc", 201, NULL);
	expect("GET", "/v1/files/d/new%20one.txt", "", "", 200, NULL);
	expect("PUT", "/v1/files/d/new%20one.txt", "Content-Length: 3\r\n", "abc", 200, NULL);
	expect("PUT", "/v1/files/d/new%20one.txt", "Content-Length: 3\r\n", "abd", 403,
	       "forbidden");
	expect("PUT", "/v1/files/x.txt", "Transfer-Encoding: chunked\r\n", "3\r\nabc\r\n0\r\n\r\n",
	       201, NULL);
	expect("PUT", "/v1/files/x.txt", "Content-Length: 3\r\nIf-None-Match: *\r\n", "abc", 412,
	       "precondition-failed");
	expect("DELETE", "/v1/files/x.txt", "", "", 403, "forbidden");
	expect("PUT", "/v1/files/.p2pd-x", "Content-Length: 1\r\n", "a", 400, "bad-name");
	expect("POST", "/v1/fetches", "Content-Type: application/json\r\nContent-Length: 14\r\n",
	       "{\"what\":\"abc\"}", 403, "forbidden");
	stop();
}
END_TEST

START_TEST(test_with_all_rights_files_are_replaced_and_removed)
{
	char fields[200];

	start("remote = all\n");
	expect("PUT", "/v1/files/a.txt", "Content-Length: 3\r\n", "abd", 200, NULL);
	snprintf(fields, sizeof(fields), "Content-Length: 3\r\nIf-Match: \"%s\"\r\n", UNKNOWN_ROOT);
	expect("PUT", "/v1/files/a.txt", fields, "xyz", 412, "precondition-failed");
	expect("PUT", "/v1/files/none", "Content-Length: 3\r\nIf-Match: *\r\n", "xyz", 412,
	       "precondition-failed");
	expect("DELETE", "/v1/files/a.txt", "", "", 204, NULL);
	expect("GET", "/v1/files/a.txt", "", "", 404, "not-found");
	stop();
}
END_TEST

START_TEST(test_a_form_stores_each_of_its_files)
{
	static const char body[] =
	    "--bb\r\nContent-Disposition: form-data; name=\"f\"; filename=\"one\"\r\n\r\n1\r\n"
	    "--bb\r\nContent-Disposition: form-data; name=\"name\"\r\n\r\nd/two\r\n"
	    "--bb\r\nContent-Disposition: form-data; name=\"f\"; filename=\"x\"\r\n\r\n22\r\n"
	    "--bb--\r\n";
	char fields[128];

	start("");
	snprintf(fields, sizeof(fields),
		 "Content-Type: multipart/form-data; boundary=bb\r\nContent-Length: %zu\r\n",
		 strlen(body));
	expect("POST", "/v1/files", fields, body, 201, NULL);
	expect("GET", "/v1/files/one", "", "", 200, NULL);
	expect("GET", "/v1/files/d/two", "", "", 200, NULL);
	expect("GET", "/v1/files/x", "", "", 404, "not-found");
	expect("POST", "/v1/files", "Content-Type: text/plain\r\nContent-Length: 1\r\n", "x", 415,
	       "unsupported-media");
	stop();
}
END_TEST

/* The parser is told of a part's beginning before any of its bytes came. */
START_TEST(test_a_form_may_come_in_any_pieces)
{
	static const char *const pieces[] = {
		"--bb\r\nContent-Disposition: form-data; name=\"f\"; filename=\"one\"\r\n\r\na",
		"bcdefgh\r\n--bb\r\nContent-Disposition: form-data; name=\"f\"; filename=\"two\""
		"\r\n\r\n",
		"\r\n--bb\r\nContent-Disposition: form-data; name=\"f\"; filename=\"three\"\r\n\r\n"
		"x\r\n--bb--\r\n",
	};
	size_t len = strlen(pieces[0]) + strlen(pieces[1]) + strlen(pieces[2]);

	start("");
	int fd = dial();
	char *head = mem_format(
	    "POST /v1/files HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nConnection: close\r\n"
	    "Content-Type: multipart/form-data; boundary=bb\r\nContent-Length: %zu\r\n\r\n",
	    port, len);
	say(fd, head);
	for (size_t i = 0; i < 3; i++) {
		say(fd, pieces[i]);
		/* Another request's answer: what was said before has been read by then, or soon. */
		expect("GET", "/healthz", "", "", 200, NULL);
		poll(NULL, 0, 50);
	}
	char *answer = hear(fd, NULL);
	ck_assert_msg(status_of(answer) == 201, "%s", answer);
	ck_assert_ptr_nonnull(strstr(answer, "\"one\",\"size\":8"));
	ck_assert_ptr_nonnull(strstr(answer, "\"two\",\"size\":0"));
	ck_assert_ptr_nonnull(strstr(answer, "\"three\",\"size\":1"));
	free(answer);
	free(head);
	close(fd);
	stop();
}
END_TEST

START_TEST(test_bodies_that_want_decoding_are_refused)
{
	start("");
	expect("PUT", "/v1/files/z", "Content-Encoding: gzip\r\nContent-Length: 1\r\n", "x", 415,
	       "unsupported-media");
	expect("PUT", "/v1/files/z", "Content-Encoding: identity\r\nContent-Length: 1\r\n", "x",
	       201, NULL);
	stop();
}
END_TEST

/* Uploads of these sizes are refused before their body, with an answer that arrives. */
START_TEST(test_a_refused_upload_still_gets_its_answer)
{
	static const size_t sizes[] = { 1000, 500000, 50000000 };
	char *some = mem_zero(1, 1u << 16);

	start("remote = read\n");
	for (size_t i = 0; i < 3; i++) {
		int fd = dial();
		char *head = mem_format(
		    "PUT /v1/files/n HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nConnection: close\r\n"
		    "Content-Length: %zu\r\n\r\n",
		    port, sizes[i]);

		say(fd, head);
		for (size_t sent = 0; sent < sizes[i];) {
			size_t len = sizes[i] - sent < 1u << 16 ? sizes[i] - sent : 1u << 16;
			ssize_t got = send(fd, some, len, MSG_NOSIGNAL);
			if (got <= 0)
				break;
			sent += (size_t)got;
		}
		char *answer = hear(fd, NULL);
		ck_assert_int_eq(status_of(answer), 403);
		ck_assert_ptr_nonnull(strstr(answer, "[share] remote"));
		free(answer);
		free(head);
		close(fd);
	}
	char *early =
	    ask("PUT /v1/files/n HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nExpect: 100-continue\r\n"
		"Content-Length: 50000000\r\n\r\n",
		port);
	ck_assert_int_eq(status_of(early), 403);
	free(early);
	free(some);
	stop();
}
END_TEST

START_TEST(test_an_upload_whose_client_leaves_is_never_seen)
{
	start("");
	int fd = dial();
	char *head = mem_format("PUT /v1/files/half HTTP/1.1\r\nHost: 127.0.0.1:%u\r\n"
				"Content-Length: 100000\r\n\r\nabc",
				port);
	say(fd, head);
	close(fd);
	expect("GET", "/v1/files/half", "", "", 404, "not-found");
	char *path = mem_format("%s/share/.p2pd-partial", root);
	uint64_t end_ms = clock_ms() + WAIT_MS;
	for (unsigned left = 1; left > 0;) {
		DIR *dir = opendir(path);
		left = 0;
		for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;)
			left += strncmp(entry->d_name, "upload-", 7) == 0;
		if (dir != NULL)
			closedir(dir);
		ck_assert(clock_ms() < end_ms);
	}
	free(path);
	free(head);
	stop();
}
END_TEST

/* --- the other routes --- */

START_TEST(test_every_route_answers_and_every_other_method_is_refused)
{
	static const char *const odd[] = { "TRACE", "OPTIONS", "PATCH", "BREW" };
	struct rest_route route;

	start("");
	for (size_t i = 0; rest_route(i, &route); i++) {
		char *path = mem_string(route.path), *var = strchr(path, '{');

		if (var != NULL) {
			const char *after = strchr(var, '}') + 1;

			*var = 'x';
			memmove(var + 1, after, strlen(after) + 1);
		}
		for (size_t j = 0; j < sizeof(odd) / sizeof(odd[0]); j++) {
			char *answer = ask_for(odd[j], path, "", "");

			ck_assert_msg(status_of(answer) == 405, "%s %s: %s", odd[j], path, answer);
			ck_assert_ptr_nonnull(strstr(strstr(answer, "Allow: "), route.method));
			free(answer);
		}
		free(path);
	}
	expect("GET", "/v1/nothing", "", "", 404, "not-found");
	expect("GET", "/v1/peers", "", "", 200, NULL);
	expect("GET", "/v1/catalog", "", "", 200, NULL);
	expect("GET", "/v1/catalog?limit=0", "", "", 400, "bad-request");
	expect("GET", "/v1/catalog?begun=7", "", "", 200, NULL);
	expect("GET", "/v1/catalog?begun=9007199254740992", "", "", 400, "bad-request");
	expect("GET", "/v1/files?match=odd", "", "", 400, "bad-request");
	expect("GET", "/v1/fetches", "", "", 200, NULL);
	expect("GET", "/v1/fetches/1", "", "", 404, "not-found");
	expect("GET", "/healthz", "", "", 200, NULL);
	expect("GET", "/v1/openapi.json", "", "", 200, NULL);
	expect("POST", "/v1/notices", "Content-Length: 2\r\n", "{}", 415, "unsupported-media");
	expect("POST", "/v1/notices", "Content-Type: application/json\r\nContent-Length: 2\r\n",
	       "{}", 400, "bad-request");
	stop();
}
END_TEST

START_TEST(test_metrics_are_prometheus_text)
{
	char name[128] = "";

	start("");
	char *answer = ask_for("GET", "/metrics", "", ""),
	     *rest_of = strstr(answer, "\r\n\r\n") + 4, *line;
	ck_assert_ptr_nonnull(strstr(answer, "version=0.0.4"));
	while ((line = strsep(&rest_of, "\n")) != NULL && line[0] != '\0') {
		char found[128], kind[16];
		if (sscanf(line, "# TYPE %127s %15s", found, kind) == 2) {
			ck_assert_str_ne(found, name);
			strcpy(name, found);
		} else if (line[0] != '#') {
			ck_assert_msg(strncmp(line, name, strlen(name)) == 0, "%s", line);
			ck_assert_ptr_nonnull(strrchr(line, ' '));
		}
	}
	free(answer);
	stop();
}
END_TEST

START_TEST(test_events_come_as_they_happen_and_go_on_after_the_last_seen)
{
	char id[64] = "";

	start("");
	int fd = dial();
	char *text = mem_format("GET /v1/events HTTP/1.1\r\nHost: 127.0.0.1:%u\r\n\r\n", port);
	say(fd, text);
	free(hear(fd, "retry: 2000"));
	expect("PUT", "/v1/files/seen.txt", "Content-Length: 3\r\n", "abc", 201, NULL);
	char *heard = hear(fd, "seen.txt");
	ck_assert_ptr_nonnull(strstr(heard, "event: file-added"));
	ck_assert_int_eq(sscanf(strstr(heard, "id: "), "id: %60s", id), 1);
	close(fd);
	free(heard);
	free(text);

	expect("PUT", "/v1/files/later.txt", "Content-Length: 3\r\n", "abc", 201, NULL);
	fd = dial();
	text = mem_format(
	    "GET /v1/events HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nLast-Event-ID: %s\r\n\r\n", port, id);
	say(fd, text);
	heard = hear(fd, "later.txt");
	ck_assert_ptr_null(strstr(heard, "seen.txt"));
	free(heard);
	free(text);
	close(fd);
	/* What nobody kept is told as a gap. */
	fd = dial();
	text = mem_format(
	    "GET /v1/events HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nLast-Event-ID: 1-1\r\n\r\n", port);
	say(fd, text);
	heard = hear(fd, "later.txt");
	char *lost = strstr(heard, "event: events-lost");
	ck_assert_ptr_nonnull(lost);
	ck_assert_int_eq(sscanf(strstr(heard, "id: "), "id: %60s", id), 1);
	ck_assert(strstr(heard, "id: ") < lost);
	free(heard);
	close(fd);
	/* Its id goes on without the gap. */
	fd = dial();
	free(text);
	text = mem_format(
	    "GET /v1/events HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nLast-Event-ID: %s\r\n\r\n", port, id);
	say(fd, text);
	heard = hear(fd, "later.txt");
	ck_assert_ptr_null(strstr(heard, "events-lost"));
	free(heard);
	free(text);
	expect("GET", "/v1/events?kind=nonsense", "", "", 400, "bad-request");
	/* Only what is asked for. */
	close(fd);
	fd = dial();
	text = mem_format(
	    "GET /v1/events?kind=file&match=m* HTTP/1.1\r\nHost: 127.0.0.1:%u\r\n\r\n", port);
	say(fd, text);
	free(hear(fd, "retry: 2000"));
	expect("PUT", "/v1/files/other.txt", "Content-Length: 3\r\n", "abc", 201, NULL);
	expect("PUT", "/v1/files/mine.txt", "Content-Length: 3\r\n", "abc", 201, NULL);
	heard = hear(fd, "mine.txt");
	ck_assert_ptr_null(strstr(heard, "other.txt"));
	free(heard);
	free(text);
	expect("GET", "/v1/events", "Last-Event-ID: nonsense\r\n", "", 400, "bad-request");
	/* With the stream still open. */
	stop();
	close(fd);
}
END_TEST

/* --- two peers --- */

/* Waits until the peer asked knows a file. */
static void
await_file(const char *name)
{
	char *target = mem_format("/v1/files?match=exact&q=%s", name);
	uint64_t end_ms = clock_ms() + WAIT_MS;

	for (bool is_there = false; !is_there;) {
		char *answer = ask_for("GET", target, "", "");

		is_there = strstr(answer, "\"holder_count\":1") != NULL;
		free(answer);
		ck_assert_msg(clock_ms() < end_ms, "%s never came", name);
	}
	free(target);
}

START_TEST(test_a_gateway_streams_what_another_peer_holds)
{
	enum { LEN = 400000 };
	char *body = mem_zero(1, LEN + 1), fields[64], first_root[sizeof(root)], *seed;

	for (size_t i = 0; i < LEN; i++)
		body[i] = (char)('a' + (i * 2654435761u >> 13) % 26);
	start("");
	snprintf(fields, sizeof(fields), "Content-Length: %d\r\n", LEN);
	expect("PUT", "/v1/files/far.txt", fields, body, 201, NULL);

	struct daemon *first_peer = peer;
	struct config *first_config = config;
	pthread_t first_mind = mind;
	strcpy(first_root, root);
	seed = mem_format("[network]\nseed = http://127.0.0.1:%u\n[share]\n", port);
	start(seed);
	await_file("far.txt");
	expect("GET", "/v1/files/far.txt", "", "", 404, "not-found");
	char *answer = ask_for("GET", "/v1/files/far.txt?scope=network", "", "");
	ck_assert_int_eq(status_of(answer), 200);
	ck_assert_str_eq(strstr(answer, "\r\n\r\n") + 4, body);
	free(answer);
	answer =
	    ask_for("GET", "/v1/files/far.txt?scope=network", "Range: bytes=200000-200009\r\n", "");
	ck_assert_int_eq(status_of(answer), 206);
	ck_assert_int_eq(strncmp(strstr(answer, "\r\n\r\n") + 4, body + 200000, 10), 0);
	free(answer);
	stop();

	peer = first_peer;
	config = first_config;
	mind = first_mind;
	strcpy(root, first_root);
	stop();
	free(seed);
	free(body);
}
END_TEST

static bool
can_bind(const void *address, socklen_t len)
{
	int fd =
	    socket(((const struct sockaddr *)address)->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool can = fd >= 0 && bind(fd, address, len) == 0;

	if (fd >= 0)
		close(fd);
	return can;
}

/* A port that is free on both loopbacks, and that the system lends to nobody meanwhile; into *six, too.  0: there is none. */
static unsigned
free_port_of_both(struct sockaddr_in6 *six)
{
	struct sockaddr_in four = { .sin_family = AF_INET,
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

	for (unsigned i = 0; i < 100; i++) {
		unsigned free_port = 15000 + ((unsigned)getpid() + i) % 16000;
		four.sin_port = six->sin6_port = htons((uint16_t)free_port);
		if (can_bind(&four, sizeof(four)) && can_bind(six, sizeof(*six)))
			return free_port;
	}
	return 0;
}

START_TEST(test_a_peer_listens_on_ipv6_too)
{
	struct sockaddr_in6 address = { .sin6_family = AF_INET6, .sin6_addr = in6addr_loopback };
	unsigned six = free_port_of_both(&address);
	int fd;

	if (six == 0)
		return; /* without IPv6 there is nothing to try */
	char *more =
	    mem_format("[rest]\nlisten = 127.0.0.1:%u\nlisten = [::1]:%u\n[share]\n", six, six);
	start(more);
	free(more);

	static const char *const hosts[] = { "[::1]", "localhost", "[0:0:0:0:0:0:0:1]",
					     "evil.test" };
	for (size_t i = 0; i < 4; i++) {
		fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
		ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
		char *text = mem_format("GET /healthz HTTP/1.1\r\nHost: %s:%u\r\n"
					"Connection: close\r\n\r\n",
					hosts[i], six);
		say(fd, text);
		free(text);
		text = hear(fd, NULL);
		ck_assert_msg(status_of(text) == (i < 3 ? 200 : 421), "%s: %s", hosts[i], text);
		free(text);
		close(fd);
	}
	stop();
}
END_TEST

/* --- misbehaviour --- */

static const struct {
	const char *request; /* %u: the port */
	int status;
} hostile[] = {
	{ "GET /v1/node HTTP/1.1\r\nHost: evil.test\r\nConnection: close\r\n\r\n", 421 },
	{ "GET /v1/node HTTP/1.1\r\nConnection: close\r\n\r\n", 400 },
	{ "GET /v1/node HTTP/1.0\r\n\r\n", 400 },
	{ "GET /v1/node HTTP/1.1\r\nHost: 127.0.0.1:%1$u\r\nHost: 127.0.0.1:%1$u\r\nConnection: "
	  "close\r\n\r\n",
	  400 },
	{ "GET /v1/node HTTP/1.1\r\nHost: 127.0.0.1:%1$u\r\nOrigin: "
	  "http://evil.test\r\nConnection: close\r\n\r\n",
	  403 },
	{ "GET /v1/node HTTP/1.1\r\nHost: 127.0.0.1:%1$u\r\nSec-Fetch-Site: "
	  "cross-site\r\nConnection: close\r\n\r\n",
	  403 },
	{ "GET http://127.0.0.1:%1$u/v1/node HTTP/1.1\r\nHost: 127.0.0.1:%1$u\r\nConnection: "
	  "close\r\n\r\n",
	  400 },
	{ "CONNECT evil.test:80 HTTP/1.1\r\nHost: 127.0.0.1:%1$u\r\nConnection: close\r\n\r\n",
	  400 },
	{ "GET /v1/files/%%2e%%2e/%%2e%%2e/etc/passwd HTTP/1.1\r\nHost: "
	  "127.0.0.1:%1$u\r\nConnection: close\r\n\r\n",
	  400 },
	{ "GET /v1/files/%%252e%%252e/x HTTP/1.1\r\nHost: 127.0.0.1:%1$u\r\nConnection: "
	  "close\r\n\r\n",
	  400 },
	{ "GET /v1/files/a%%00 HTTP/1.1\r\nHost: 127.0.0.1:%1$u\r\nConnection: close\r\n\r\n",
	  400 },
	{ "GET /v1/files/%%c0%%ae HTTP/1.1\r\nHost: 127.0.0.1:%1$u\r\nConnection: close\r\n\r\n",
	  400 },
	{ "PUT /v1/files/n HTTP/1.1\r\nHost: 127.0.0.1:%1$u\r\nContent-Length: -1\r\n\r\n", 400 },
	{ "PUT /v1/files/n HTTP/1.1\r\nHost: 127.0.0.1:%1$u\r\nContent-Length: "
	  "18446744073709551616\r\n\r\n",
	  413 },
	{ "PUT /v1/files/n HTTP/1.1\r\nHost: 127.0.0.1:%1$u\r\nContent-Length: "
	  "1\r\nContent-Length: 2\r\n\r\nab",
	  400 },
	{ "PUT /v1/files/n HTTP/1.1\r\nHost: 127.0.0.1:%1$u\r\nContent-Length: "
	  "3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	  400 },
	{ "PUT /v1/files/n HTTP/1.1\r\nHost: 127.0.0.1:%1$u\r\nTransfer-Encoding: gzip\r\n\r\nabc",
	  400 },
	{ "GET /v1/node HTTP/1.1\r\nHost: 127.0.0.1:%1$u\r\nContent-Length: 3\r\nConnection: "
	  "close\r\n\r\nabc",
	  400 },
};

START_TEST(test_misbehaviour_is_answered_with_its_status)
{
	start("");
	for (size_t i = 0; i < sizeof(hostile) / sizeof(hostile[0]); i++) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-security"
		char *answer = ask(hostile[i].request, port);
#pragma GCC diagnostic pop
		ck_assert_msg(status_of(answer) == hostile[i].status, "%s\n%s", hostile[i].request,
			      answer);
		free(answer);
	}
	stop();
}
END_TEST

START_TEST(test_a_header_over_its_limit_is_refused)
{
	char *long_value = mem_zero(1, 40001), *many = mem_zero(1, 120001);

	start("");
	memset(long_value, 'x', 40000);
	for (int i = 0; i < 10000; i++)
		strcpy(many + (size_t)i * 6, "A: b\r\n");
	char *answer =
	    ask("GET /v1/node HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nX: %s\r\n\r\n", port, long_value);
	ck_assert_int_eq(status_of(answer), 431);
	free(answer);
	answer = ask("GET /v1/node HTTP/1.1\r\nHost: 127.0.0.1:%u\r\n%s\r\n", port, many);
	ck_assert_int_eq(status_of(answer), 431);
	free(answer);
	free(long_value);
	free(many);
	expect("GET", "/v1/node", "", "", 200, NULL);
	stop();
}
END_TEST

/* Sends a byte every 100 ms; answers after how many milliseconds the other side had enough. */
static uint64_t
trickle(int fd, const char *text)
{
	uint64_t start_ms = clock_ms();
	char byte;

	while (clock_ms() < start_ms + WAIT_MS) {
		struct pollfd wait = { .fd = fd, .events = POLLIN };

		if (*text != '\0' && send(fd, text++, 1, MSG_NOSIGNAL) != 1)
			break;
		if (poll(&wait, 1, 100) == 1 && recv(fd, &byte, 1, 0) <= 0)
			break;
	}
	return clock_ms() - start_ms;
}

START_TEST(test_a_trickled_header_is_cut_off_at_its_deadline)
{
	static const char text[] = "GET "
				   "/v1/"
				   "node?"
				   "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
				   "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

	start("[rest]\nheader_timeout = 1\n[share]\n");
	int fd = dial();
	uint64_t took_ms = trickle(fd, text);
	ck_assert_msg(took_ms >= 900 && took_ms < 4000, "%llu ms", (unsigned long long)took_ms);
	close(fd);

	/* The same behind an answered request. */
	fd = dial();
	char *first = mem_format("GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:%u\r\n\r\n", port);
	say(fd, first);
	free(hear(fd, "ok\n"));
	took_ms = trickle(fd, text);
	ck_assert_msg(took_ms >= 900 && took_ms < 6000, "%llu ms", (unsigned long long)took_ms);
	close(fd);
	free(first);
	stop();
}
END_TEST

START_TEST(test_a_trickled_body_is_cut_off_at_its_deadline)
{
	static const char text[] =
	    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

	start("[rest]\nbody_timeout = 1\n[share]\n");
	int fd = dial();
	char *head = mem_format("PUT /v1/files/slow HTTP/1.1\r\nHost: 127.0.0.1:%u\r\n"
				"Content-Length: 100000\r\n\r\n",
				port);
	say(fd, head);
	uint64_t took_ms = trickle(fd, text);
	ck_assert_msg(took_ms >= 900 && took_ms < 5000, "%llu ms", (unsigned long long)took_ms);
	close(fd);
	free(head);
	expect("GET", "/v1/files/slow", "", "", 404, "not-found");
	stop();
}
END_TEST

START_TEST(test_connections_over_the_limit_are_closed_at_once)
{
	int fds[4];

	start("[rest]\nconnections = 8\n[share]\n");
	for (size_t i = 0; i < 4; i++)
		fds[i] = dial();
	/* The four are known to the daemon once each has answered. */
	for (size_t i = 0; i < 4; i++) {
		char *text =
		    mem_format("GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:%u\r\n\r\n", port);
		say(fds[i], text);
		free(hear(fds[i], "ok\n"));
		free(text);
	}
	uint64_t before_ms = clock_ms();
	int fd = dial();
	char *answer = hear(fd, NULL);
	ck_assert_str_eq(answer, "");
	ck_assert_uint_lt(clock_ms() - before_ms, 1000);
	free(answer);
	close(fd);
	for (size_t i = 0; i < 4; i++)
		close(fds[i]);
	stop();
}
END_TEST

START_TEST(test_clients_that_vanish_leave_no_descriptor_behind)
{
	start("");
	free(ask_for("GET", "/v1/files/big.bin", "Range: bytes=0-9\r\n", ""));
	size_t before = open_descriptors();
	char *text =
		 mem_format("GET /v1/files/big.bin HTTP/1.1\r\nHost: 127.0.0.1:%u\r\n\r\n", port),
	     part[4096];
	char *stream = mem_format("GET /v1/events HTTP/1.1\r\nHost: 127.0.0.1:%u\r\n\r\n", port);
	for (int i = 0; i < 16; i++) {
		int fd = dial();
		say(fd, i % 2 ? text : stream);
		for (int j = 0; j < (i % 2 ? i : 0); j++)
			ck_assert_int_gt(recv(fd, part, sizeof(part), 0), 0);
		if (i % 2 == 0)
			free(hear(fd, "retry"));
		close(fd);
	}
	uint64_t end_ms = clock_ms() + WAIT_MS;
	while (open_descriptors() > before)
		ck_assert_msg(clock_ms() < end_ms, "%zu of %zu", open_descriptors(), before);
	free(text);
	free(stream);
	stop();
}
END_TEST

START_TEST(test_questions_about_directories_that_make_no_sense_are_refused)
{
	static const struct {
		const char *body;
		int status;
	} bodies[] = {
		{ "{}", 400 },
		{ "[]", 400 },
		{ "{\"names\":[]}", 400 },
		{ "{\"names\":\"a\"}", 400 },
		{ "{\"names\":[7]}", 400 },
		{ "{\"names\":[\"a\",null]}", 400 },
		{ "{\"names\":[\"a\\u0000b\"]}", 400 },
		{ "{\"names\":[\"../x\",\"/etc\",\"\"]}", 200 },
	};

	start("");
	for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
		char *fields =
		    mem_format("Content-Type: application/json\r\nContent-Length: %zu\r\n",
			       strlen(bodies[i].body));
		char *answer = ask_for("POST", "/v1/directories", fields, bodies[i].body);

		ck_assert_msg(status_of(answer) == bodies[i].status, "%s: %.400s", bodies[i].body,
			      answer);
		if (bodies[i].status == 200)
			ck_assert_ptr_nonnull(strstr(answer, "{\"directories\":[null,null,null]}"));
		free(answer);
		free(fields);
	}
	stop();
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("rest");
	TCase *pure = tcase_create("pure"), *face = tcase_create("face"),
	      *bad = tcase_create("misbehaviour");

	tcase_set_timeout(face, 60);
	tcase_set_timeout(bad, 60);
	tcase_add_test(pure, test_targets_that_lead_astray_are_refused);
	tcase_add_test(pure, test_targets_are_decoded_exactly_once);
	tcase_add_test(pure, test_ranges_are_one_or_none);
	tcase_add_test(pure, test_dates_and_entity_tags_are_read_strictly);
	tcase_add_test(pure, test_the_guard_knows_its_own_names_and_no_others);
	tcase_add_test(pure, test_the_guard_refuses_pages_of_other_sites);
	tcase_add_test(pure, test_the_description_has_every_route_and_nothing_else);
	tcase_add_test(pure, test_the_manual_has_every_route_and_nothing_else);
	tcase_add_test(face, test_a_file_is_read_whole_in_part_and_conditionally);
	tcase_add_test(face, test_large_files_come_whole_to_curl);
	tcase_add_test(face, test_contents_are_found_by_root_and_size);
	tcase_add_test(face, test_many_small_contents_come_in_the_order_asked);
	tcase_add_test(face, test_batches_that_ask_for_too_much_are_refused);
	tcase_add_test(face, test_a_file_is_put_once_and_replaced_only_with_the_right);
	tcase_add_test(face, test_with_all_rights_files_are_replaced_and_removed);
	tcase_add_test(face, test_a_form_stores_each_of_its_files);
	tcase_add_test(face, test_a_form_may_come_in_any_pieces);
	tcase_add_test(face, test_bodies_that_want_decoding_are_refused);
	tcase_add_test(face, test_a_refused_upload_still_gets_its_answer);
	tcase_add_test(face, test_an_upload_whose_client_leaves_is_never_seen);
	tcase_add_test(face, test_every_route_answers_and_every_other_method_is_refused);
	tcase_add_test(face, test_metrics_are_prometheus_text);
	tcase_add_test(face, test_events_come_as_they_happen_and_go_on_after_the_last_seen);
	tcase_add_test(face, test_a_gateway_streams_what_another_peer_holds);
	tcase_add_test(face, test_a_peer_listens_on_ipv6_too);
	tcase_add_test(face, test_questions_about_directories_that_make_no_sense_are_refused);
	tcase_add_test(bad, test_misbehaviour_is_answered_with_its_status);
	tcase_add_test(bad, test_a_header_over_its_limit_is_refused);
	tcase_add_test(bad, test_a_trickled_header_is_cut_off_at_its_deadline);
	tcase_add_test(bad, test_a_trickled_body_is_cut_off_at_its_deadline);
	tcase_add_test(bad, test_connections_over_the_limit_are_closed_at_once);
	tcase_add_test(bad, test_clients_that_vanish_leave_no_descriptor_behind);
	suite_add_tcase(suite, pure);
	suite_add_tcase(suite, face);
	suite_add_tcase(suite, bad);

	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
