/* SPDX-License-Identifier: MIT
 *
 * check_fetch.c - fetches between whole daemons, each with its mind in a thread of this process, over loopback.
 */
#include "daemon.h"

#include <check.h>
#include <dirent.h>
#include <ftw.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clock.h"
#include "log.h"
#include "mem.h"
#include "metrics.h"

#define WAIT_MS	   30000
#define PAUSE_US   2000
#define HOSTS	   3
#define BIG_BYTES  (24u << 20)
#define LATE_BYTES (9u << 20)

/* --- daemons in threads --- */

struct host {
	char root[128];
	struct daemon *daemon;
	struct config *config;
	pthread_t mind;
	pthread_barrier_t made;
};

static char top[96];
static struct host hosts[HOSTS];

static void *
run_daemon(void *arg)
{
	struct host *host = arg;
	struct error err = { 0 };
	/* Made here, for until it runs its maker passes for the mind. */
	host->daemon = daemon_new(NULL, host->config, &err);
	if (host->daemon == NULL)
		fprintf(stderr, "%s\n", err.text);
	pthread_barrier_wait(&host->made);
	if (host->daemon == NULL)
		return NULL;
	daemon_run(host->daemon);
	daemon_free(host->daemon);
	return NULL;
}

static void
stop_daemon(void *arg)
{
	daemon_stop(arg);
}

/* A port of loopback on which nobody listens, and that the system lends to nobody; each time another. */
static unsigned
free_port(void)
{
	static unsigned tried;
	struct sockaddr_in address = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	unsigned port;
	bool is_free;
	do {
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		port = 15000 + ((unsigned)getpid() * 64 + tried++) % 16000;
		address.sin_port = htons((uint16_t)port);
		is_free = bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
		close(fd);
	} while (!is_free && tried < 1000);
	ck_assert(is_free);
	return port;
}

/* `seed` is the number of another host, or -1; `more` are further lines of [share], then maybe of other sections.  Without
 * [rest] or [grpc] there, REST listens on any port and gRPC not at all. */
static struct host *
start(int which, int seed, const char *more)
{
	struct host *host = &hosts[which];
	struct error err = { 0 };
	char path[256], *text, *seed_line;
	snprintf(host->root, sizeof(host->root), "%s/%c", top, 'a' + which);
	snprintf(path, sizeof(path), "%s/share", host->root);
	(void)mkdir(host->root, 0755);
	(void)mkdir(path, 0755);
	seed_line = seed < 0 ? mem_string("")
			     : mem_format("seed = http://127.0.0.1:%u\n",
				   daemon_rest_port(hosts[seed].daemon));
	text = mem_format("[node]\nname = %c\nstate = %s/state\nlog = error\n"
			  "[control]\nsocket = %s/sock\n%s%s"
			  "[network]\n%s[share]\ndirectory = %s/share\n%s",
	    'a' + which, host->root, host->root,
	    strstr(more, "[rest]") == NULL ? "[rest]\nlisten = 127.0.0.1:0\n" : "",
	    strstr(more, "[grpc]") == NULL ? "[grpc]\nlisten =\n" : "", seed_line, host->root,
	    more);
	host->config = config_parse("test", text, strlen(text), &err);
	ck_assert_msg(host->config != NULL, "%s", err.text);
	free(text);
	free(seed_line);
	pthread_barrier_init(&host->made, NULL, 2);
	ck_assert_int_eq(pthread_create(&host->mind, NULL, run_daemon, host), 0);
	pthread_barrier_wait(&host->made);
	ck_assert_ptr_nonnull(host->daemon);
	return host;
}

static void
stop(struct host *host)
{
	loop_post(daemon_loop(host->daemon), stop_daemon, host->daemon);
	pthread_join(host->mind, NULL);
	pthread_barrier_destroy(&host->made);
	config_unref(host->config);
	host->daemon = NULL;
}

static int
remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

static void
set_up(void)
{
	const char *tmp = getenv("TMPDIR");
	log_open(LOG_LEVEL_ERROR);
	snprintf(top, sizeof(top), "%.60s/check_fetch.XXXXXX", tmp != NULL ? tmp : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(top));
}

static void
tear_down(void)
{
	for (int i = 0; i < HOSTS; i++)
		if (hosts[i].daemon != NULL)
			stop(&hosts[i]);
	nftw(top, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

/* --- files --- */

static void
write_bytes(int which, const char *name, unsigned char seed, size_t len)
{
	char path[256];
	snprintf(path, sizeof(path), "%s/%c", top, 'a' + which);
	(void)mkdir(path, 0755);
	snprintf(path, sizeof(path), "%s/%c/share", top, 'a' + which);
	(void)mkdir(path, 0755);
	snprintf(path, sizeof(path), "%s/%c/share/t", top, 'a' + which);
	(void)mkdir(path, 0755);
	snprintf(path, sizeof(path), "%s/%c/share/%s", top, 'a' + which, name);
	FILE *file = fopen(path, "w");
	ck_assert_ptr_nonnull(file);
	for (size_t i = 0; i < len; i++)
		fputc((int)((i * 2654435761u >> 9) + seed), file);
	fclose(file);
}

static bool
is_same_file(int a, int b, const char *name)
{
	char *command = mem_format("cmp -s %s/%c/share/%s %s/%c/share/%s", top, 'a' + a, name, top,
	    'a' + b, name);
	int status = system(command);
	free(command);
	return status == 0;
}

static size_t
count_partials(const struct host *host)
{
	char path[256];
	size_t count = 0;
	snprintf(path, sizeof(path), "%s/share/.p2pd-partial", host->root);
	DIR *dir = opendir(path);
	if (dir == NULL)
		return 0; /* nothing was ever begun */
	for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
		count += entry->d_name[0] != '.';
	closedir(dir);
	return count;
}

/* --- asking --- */

static bool
count_found(void *arg, const struct catalog_found *found)
{
	*(size_t *)arg += found->holder_count != 0;
	return true;
}

/* Waits until the host knows of so many names. */
static void
wait_for_names(struct host *host, size_t wanted)
{
	uint64_t end_ms = clock_ms() + WAIT_MS;
	char cursor[CATALOG_CURSOR_SIZE];
	struct catalog_query query = { .match = CATALOG_SUBSTRING, .text = "", .limit = 1000 };
	for (;;) {
		size_t count = 0;
		ck_assert_int_eq(service_search(daemon_service(host->daemon), &query, count_found,
				     &count, cursor, NULL), P2P_OK);
		if (count == wanted)
			return;
		ck_assert_msg(clock_ms() < end_ms, "%zu names, not %zu", count, wanted);
		usleep(PAUSE_US);
	}
}

static void
wait_until_away(struct host *host)
{
	uint64_t end_ms = clock_ms() + WAIT_MS;
	for (bool is_away = false; !is_away;) {
		struct peer_info *peers;
		size_t count;
		ck_assert_int_eq(service_peers(daemon_service(host->daemon), &peers, &count), P2P_OK);
		for (size_t i = 0; i < count; i++)
			is_away = is_away || peers[i].state == PEER_AWAY;
		free(peers);
		ck_assert(clock_ms() < end_ms);
		usleep(PAUSE_US);
	}
}

static uint64_t
fetch(struct host *host, const char *what)
{
	struct error err = { 0 };
	struct service_fetch_started started = { 0 };
	struct service_fetch wanted = { .origin = SERVICE_OWNER, .what = what, .data_fd = -1,
		.have_fd = -1 };
	int code = service_fetch(daemon_service(host->daemon), &wanted, NULL, NULL, &started, &err);
	ck_assert_msg(code == P2P_OK, "%s", err.text);
	return started.id;
}

/* Waits for a state; answers why it is in it. */
static int
wait_for_state(struct host *host, uint64_t id, enum fetch_state wanted, uint32_t done_files)
{
	uint64_t end_ms = clock_ms() + WAIT_MS;
	for (;;) {
		struct fetch_info info;
		ck_assert_int_eq(service_fetch_get(daemon_service(host->daemon), id, &info, NULL),
		    P2P_OK);
		bool is_there = info.state == wanted && info.done_files == done_files;
		int code = info.code;
		ck_assert_msg(is_there || clock_ms() < end_ms, "%s, %u files: %s",
		    fetch_state_name(info.state), info.done_files, info.text ? info.text : "");
		fetch_info_fini(&info);
		if (is_there)
			return code;
		usleep(PAUSE_US);
	}
}

/* What is told of a fetch, to be freed. */
static struct fetch_info
look_at(struct host *host, uint64_t id)
{
	struct fetch_info info = { 0 };
	ck_assert_int_eq(service_fetch_get(daemon_service(host->daemon), id, &info, NULL), P2P_OK);
	return info;
}

static void
cancel(struct host *host, uint64_t id)
{
	ck_assert_int_eq(service_cancel(daemon_service(host->daemon), SERVICE_OWNER, id, NULL),
	    P2P_OK);
}

/* --- tests --- */

START_TEST(test_files_that_nobody_has_now_do_not_hold_up_the_others)
{
	char name[32];
	for (int i = 0; i < 40; i++) {
		snprintf(name, sizeof(name), "t/a%d", i);
		write_bytes(0, name, (unsigned char)i, 3000 + (size_t)i);
		snprintf(name, sizeof(name), "t/b%d", i);
		write_bytes(1, name, (unsigned char)i, 5000 + (size_t)i);
	}
	struct host *c = start(2, -1, "settle = 0\n");
	struct host *a = start(0, 2, "settle = 0\n");
	start(1, 2, "settle = 0\n");
	wait_for_names(c, 80);
	stop(a);
	wait_until_away(c);

	uint64_t id = fetch(c, "t");
	ck_assert_int_eq(wait_for_state(c, id, FETCH_WAITING, 40), P2P_NO_HOLDER);
	ck_assert(is_same_file(1, 2, "t/b39"));
	ck_assert_uint_eq(count_partials(c), 0);
	start(0, 2, "settle = 0\n");
	ck_assert_int_eq(wait_for_state(c, id, FETCH_DONE, 80), P2P_OK);
	ck_assert(is_same_file(0, 2, "t/a39"));
}
END_TEST

/* As a crash leaves it between the name and the entry in the catalog. */
START_TEST(test_a_file_that_stands_there_already_counts_as_fetched)
{
	write_bytes(0, "t/same", 1, LATE_BYTES);
	write_bytes(0, "t/other", 1, LATE_BYTES);
	struct host *b = start(1, -1, "settle = 60000\n");
	start(0, 1, "settle = 0\n");
	wait_for_names(b, 2);
	/* Not yet indexed: they are too large to be taken before they have settled. */
	write_bytes(1, "t/same", 1, LATE_BYTES);
	write_bytes(1, "t/other", 2, LATE_BYTES);
	ck_assert_int_eq(wait_for_state(b, fetch(b, "t/same"), FETCH_DONE, 1), P2P_OK);
	ck_assert_int_eq(wait_for_state(b, fetch(b, "t/other"), FETCH_FAILED, 0), P2P_EXISTS);
	ck_assert(!is_same_file(0, 1, "t/other"));
	ck_assert_uint_eq(count_partials(b), 0);
}
END_TEST

START_TEST(test_a_fetch_cancelled_while_the_disk_is_full_leaves_nothing)
{
	write_bytes(0, "t/big", 1, 200000);
	struct host *b = start(1, -1, "settle = 0\nreserve = 1000T\n");
	start(0, 1, "settle = 0\n");
	wait_for_names(b, 1);
	uint64_t id = fetch(b, "t/big");
	ck_assert_int_eq(wait_for_state(b, id, FETCH_WAITING, 0), P2P_NO_SPACE);
	ck_assert_uint_ne(count_partials(b), 0);
	cancel(b, id);
	wait_for_state(b, id, FETCH_CANCELLED, 0);
	ck_assert_uint_eq(count_partials(b), 0);
}
END_TEST

START_TEST(test_a_fetch_can_be_cancelled_at_any_moment)
{
	write_bytes(0, "t/big", 1, BIG_BYTES / 4);
	for (int i = 0; i < 20; i++) {
		char name[32];
		snprintf(name, sizeof(name), "t/s%d", i % 15);
		write_bytes(0, name, (unsigned char)i, (size_t)i * 1000);
	}
	struct host *b = start(1, -1, "settle = 0\n");
	start(0, 1, "settle = 0\n");
	wait_for_names(b, 16);
	for (unsigned i = 0; i < 30; i++) {
		uint64_t id = fetch(b, "t");
		if (id == 0)
			break;
		usleep(i * i * 150);
		cancel(b, id);
		struct fetch_info info = { 0 };
		uint64_t end_ms = clock_ms() + WAIT_MS;
		do {
			fetch_info_fini(&info);
			/* One that had ended before is gone from the list now. */
			if (service_fetch_get(daemon_service(b->daemon), id, &info, NULL) != P2P_OK)
				memset(&info, 0, sizeof(info)), info.state = FETCH_CANCELLED;
			ck_assert(clock_ms() < end_ms);
		} while (info.state != FETCH_CANCELLED);
		fetch_info_fini(&info);
		ck_assert_uint_eq(count_partials(b), 0);
	}
}
END_TEST

START_TEST(test_a_fetch_goes_on_after_stops_at_any_moment)
{
	write_bytes(0, "t/big", 1, BIG_BYTES);
	for (int i = 0; i < 50; i++) {
		char name[32];
		snprintf(name, sizeof(name), "t/s%d", i);
		write_bytes(0, name, (unsigned char)i, (size_t)i * 1000);
	}
	start(0, -1, "settle = 0\n");
	struct host *b = start(1, 0, "settle = 0\n");
	wait_for_names(b, 51);
	uint64_t id = fetch(b, "t");
	for (unsigned i = 0; i < 6; i++) {
		usleep(i * 15000);
		stop(b);
		b = start(1, 0, "settle = 0\n");
	}
	uint64_t end_ms = clock_ms() + WAIT_MS;
	struct fetch_info info;
	/* A fetch that has ended is not remembered over a restart. */
	for (bool is_done = false; !is_done; usleep(PAUSE_US)) {
		is_done = service_fetch_get(daemon_service(b->daemon), id, &info, NULL) != P2P_OK;
		if (!is_done) {
			ck_assert_int_ne(info.state, FETCH_FAILED);
			is_done = info.state == FETCH_DONE;
			fetch_info_fini(&info);
		}
		ck_assert(clock_ms() < end_ms);
	}
	ck_assert(is_same_file(0, 1, "t/big"));
	ck_assert(is_same_file(0, 1, "t/s49"));
	ck_assert_uint_eq(count_partials(b), 0);
}
END_TEST

/* --- wires --- */

#define GRPC_TOO "[grpc]\nlisten = 127.0.0.1:0\n"

static void
check_transport(struct host *host, uint64_t id, const char *wanted)
{
	struct fetch_info info = look_at(host, id);
	ck_assert_msg(info.transport != NULL && strcmp(info.transport, wanted) == 0, "%s, not %s",
	    info.transport != NULL ? info.transport : "none", wanted);
	fetch_info_fini(&info);
}

START_TEST(test_a_fetch_goes_by_the_other_wire_when_one_is_closed)
{
	unsigned port = free_port();
	char *more = mem_format("settle = 0\n[rest]\nlisten = 127.0.0.1:%u\n[network]\n"
				"advertise = http://127.0.0.1:%u\nadvertise = grpc://127.0.0.1:%u\n",
	    port, port, free_port());
	write_bytes(0, "t/big", 1, BIG_BYTES);
	write_bytes(0, "t/small", 1, 1000);
	start(0, -1, more);
	struct host *b = start(1, 0, "settle = 0\n");
	wait_for_names(b, 2);
	uint64_t id = fetch(b, "t/big");
	ck_assert_int_eq(wait_for_state(b, id, FETCH_DONE, 1), P2P_OK);
	ck_assert(is_same_file(0, 1, "t/big"));
	check_transport(b, id, "rest");
	id = fetch(b, "t/small");
	ck_assert_int_eq(wait_for_state(b, id, FETCH_DONE, 1), P2P_OK);
	check_transport(b, id, "rest");
	free(more);
}
END_TEST

START_TEST(test_a_holder_without_the_wanted_face_is_not_asked_and_that_is_told)
{
	write_bytes(0, "t/big", 1, 200000);
	start(0, -1, "settle = 0\n");
	struct host *b = start(1, 0, "settle = 0\n[network]\ntransport = grpc\n");
	wait_for_names(b, 1);
	uint64_t id = fetch(b, "t/big");
	ck_assert_int_eq(wait_for_state(b, id, FETCH_WAITING, 0), P2P_NO_HOLDER);
	struct fetch_info info = look_at(b, id);
	ck_assert_msg(strstr(info.text, "gRPC face") != NULL, "%s", info.text);
	ck_assert_ptr_null(info.transport);
	fetch_info_fini(&info);
	/* One who has it comes. */
	write_bytes(2, "t/big", 1, 200000);
	start(2, 1, "settle = 0\n" GRPC_TOO);
	ck_assert_int_eq(wait_for_state(b, id, FETCH_DONE, 1), P2P_OK);
	check_transport(b, id, "grpc");
}
END_TEST

START_TEST(test_only_the_wanted_wire_is_used)
{
	write_bytes(0, "t/big", 1, BIG_BYTES);
	write_bytes(0, "t/small", 1, 1000);
	start(0, -1, "settle = 0\n" GRPC_TOO);
	struct host *b = start(1, 0, "settle = 0\n[network]\ntransport = grpc\n");
	struct host *c = start(2, 0, "settle = 0\n[network]\ntransport = rest\n");
	wait_for_names(b, 2);
	wait_for_names(c, 2);
	uint64_t id = fetch(c, "t");
	ck_assert_int_eq(wait_for_state(c, id, FETCH_DONE, 2), P2P_OK);
	check_transport(c, id, "rest");
	ck_assert(is_same_file(0, 2, "t/big"));
	stop(c);
	id = fetch(b, "t");
	ck_assert_int_eq(wait_for_state(b, id, FETCH_DONE, 2), P2P_OK);
	check_transport(b, id, "grpc");
	ck_assert(is_same_file(0, 1, "t/big"));
}
END_TEST

START_TEST(test_auto_measures_both_wires)
{
	static const char *const big[] = { "t/big", "t/big-2", "t/big-3", "t/big-4" };
	for (unsigned i = 0; i < 4; i++)
		write_bytes(0, big[i], 1 + i, BIG_BYTES);
	write_bytes(0, "t/small", 1, 1000);
	start(0, -1, "settle = 0\n" GRPC_TOO);
	struct host *b = start(1, 0, "settle = 0\n");
	wait_for_names(b, 5);
	/* What is small tries nothing. */
	uint64_t id = fetch(b, "t/small");
	ck_assert_int_eq(wait_for_state(b, id, FETCH_DONE, 1), P2P_OK);
	check_transport(b, id, "rest");
	uint64_t by_rest = metrics_get(METRIC_REST_BYTES_OUT);
	uint64_t by_grpc = metrics_get(METRIC_RPC_BYTES_OUT);
	/* On a busy machine all of a file may have been asked for before the turn of a wire comes. */
	bool is_measured = false;
	for (unsigned i = 0; i < 4 && !is_measured; i++) {
		id = fetch(b, big[i]);
		ck_assert_int_eq(wait_for_state(b, id, FETCH_DONE, 1), P2P_OK);
		ck_assert(is_same_file(0, 1, big[i]));
		is_measured = metrics_get(METRIC_REST_BYTES_OUT) > by_rest &&
			      metrics_get(METRIC_RPC_BYTES_OUT) > by_grpc;
	}
	ck_assert(is_measured);
}
END_TEST

static Suite *
fetch_suite(void)
{
	Suite *suite = suite_create("fetch");
	TCase *tcase = tcase_create("daemons");
	tcase_set_timeout(tcase, 120);
	tcase_add_checked_fixture(tcase, set_up, tear_down);
	tcase_add_test(tcase, test_files_that_nobody_has_now_do_not_hold_up_the_others);
	tcase_add_test(tcase, test_a_file_that_stands_there_already_counts_as_fetched);
	tcase_add_test(tcase, test_a_fetch_cancelled_while_the_disk_is_full_leaves_nothing);
	tcase_add_test(tcase, test_a_fetch_can_be_cancelled_at_any_moment);
	tcase_add_test(tcase, test_a_fetch_goes_on_after_stops_at_any_moment);
	tcase_add_test(tcase, test_a_fetch_goes_by_the_other_wire_when_one_is_closed);
	tcase_add_test(tcase, test_a_holder_without_the_wanted_face_is_not_asked_and_that_is_told);
	tcase_add_test(tcase, test_only_the_wanted_wire_is_used);
	tcase_add_test(tcase, test_auto_measures_both_wires);
	suite_add_tcase(suite, tcase);
	return suite;
}

int
main(void)
{
	SRunner *runner = srunner_create(fetch_suite());
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
