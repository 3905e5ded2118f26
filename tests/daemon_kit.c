/* SPDX-License-Identifier: MIT
 *
 * daemon_kit.c - a real daemon in a thread of the test, with a directory of its own.
 *
 * It is made by the thread that runs it, for until it runs its maker passes for the mind.  The directory lies in $TMPDIR and goes with the daemon.
 */
#include "daemon_kit.h"

#include <check.h>
#include <dirent.h>
#include <ftw.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clock.h"
#include "log.h"
#include "mem.h"

/* --- the daemon --- */

static void *
run_daemon(void *arg)
{
	struct daemon_kit *kit = arg;
	struct error err = { 0 };

	kit->daemon = daemon_new(NULL, kit->config, &err);
	if (kit->daemon == NULL)
		fprintf(stderr, "%s\n", err.text);
	pthread_barrier_wait(&kit->made);
	if (kit->daemon == NULL)
		return NULL;
	daemon_run(kit->daemon);
	daemon_free(kit->daemon);
	return NULL;
}

static void
stop_daemon(void *arg)
{
	daemon_stop(arg);
}

void
daemon_kit_breathe(uint64_t end_ms, const char *what)
{
	ck_assert_msg(clock_ms() < end_ms, "in vain: %s", what);
	poll(NULL, 0, 2);
}

void
daemon_kit_again(struct daemon_kit *kit, const char *lines)
{
	struct error err = { 0 };
	struct service_node node = { 0 };
	char *text = mem_format("[node]\nname = tester\nstate = %s/state\nlog = error\n"
				"[control]\nsocket = %s/sock\n[rest]\nlisten = 127.0.0.1:0\n"
				"[grpc]\nlisten = 127.0.0.1:0\n"
				"[share]\ndirectory = %s/share\nsettle = 0\n%s",
				kit->root, kit->root, kit->root, lines);

	log_open(LOG_LEVEL_ERROR);
	kit->config = config_parse("test", text, strlen(text), &err);
	ck_assert_msg(kit->config != NULL, "%s", err.text);
	free(text);
	pthread_barrier_init(&kit->made, NULL, 2);
	ck_assert_int_eq(pthread_create(&kit->mind, NULL, run_daemon, kit), 0);
	pthread_barrier_wait(&kit->made);
	pthread_barrier_destroy(&kit->made);
	ck_assert_ptr_nonnull(kit->daemon);
	uint64_t end_ms = clock_ms() + KIT_WAIT_MS;
	for (;; daemon_kit_breathe(end_ms, "the share is read")) {
		ck_assert_int_eq(service_node_quick(daemon_kit_service(kit), &node), P2P_OK);
		if (node.index.is_ready)
			return;
	}
}

void
daemon_kit_start(struct daemon_kit *kit, const char *lines)
{
	const char *tmp = getenv("TMPDIR");
	char path[256];

	snprintf(kit->root, sizeof(kit->root), "%.80s/daemon_kit.XXXXXX",
		 tmp != NULL ? tmp : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(kit->root));
	snprintf(path, sizeof(path), "%s/share", kit->root);
	ck_assert_int_eq(mkdir(path, 0755), 0);
	daemon_kit_again(kit, lines);
}

void
daemon_kit_halt(struct daemon_kit *kit)
{
	loop_post(daemon_loop(kit->daemon), stop_daemon, kit->daemon);
	pthread_join(kit->mind, NULL);
	config_unref(kit->config);
}

static int
remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

void
daemon_kit_stop(struct daemon_kit *kit)
{
	daemon_kit_halt(kit);
	nftw(kit->root, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

struct service *
daemon_kit_service(struct daemon_kit *kit)
{
	return daemon_service(kit->daemon);
}

/* --- its files --- */

void
daemon_kit_write(struct daemon_kit *kit, const char *name, const void *data, size_t len)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/share/%s", kit->root, name);
	FILE *file = fopen(path, "w");
	ck_assert_ptr_nonnull(file);
	ck_assert_uint_eq(fwrite(data, 1, len, file), len);
	ck_assert_int_eq(fclose(file), 0);
}

void
daemon_kit_wait_file(struct daemon_kit *kit, const char *name, uint64_t size_bytes)
{
	uint64_t end_ms = clock_ms() + KIT_WAIT_MS;

	for (;; daemon_kit_breathe(end_ms, name)) {
		struct store_reader *reader;

		if (service_open(daemon_kit_service(kit), name, &reader, NULL, NULL) != P2P_OK)
			continue;
		uint64_t got_bytes = reader->content.size_bytes;
		store_reader_unref(reader);
		if (got_bytes == size_bytes)
			return;
	}
}

size_t
daemon_kit_temporaries(struct daemon_kit *kit)
{
	char path[256];
	size_t count = 0;

	snprintf(path, sizeof(path), "%s/share/%s", kit->root, STORE_TEMP_DIR);
	DIR *dir = opendir(path);
	for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;)
		count +=
		    strncmp(entry->d_name, STORE_UPLOAD_PREFIX, strlen(STORE_UPLOAD_PREFIX)) == 0;
	if (dir != NULL)
		closedir(dir);
	return count;
}

void
daemon_kit_wait_temporaries(struct daemon_kit *kit, size_t count)
{
	uint64_t end_ms = clock_ms() + KIT_WAIT_MS;

	while (daemon_kit_temporaries(kit) != count)
		daemon_kit_breathe(end_ms, "another number of temporary files");
}

size_t
daemon_kit_descriptors(const char *path)
{
	size_t count = 0;
	DIR *dir = opendir("/proc/self/fd");

	for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
		char link[512], target[1024];

		snprintf(link, sizeof(link), "/proc/self/fd/%.255s", entry->d_name);
		ssize_t len = readlink(link, target, sizeof(target) - 1);
		if (len < 0)
			continue;
		target[len] = '\0';
		count += strstr(target, path) != NULL;
	}
	closedir(dir);
	return count;
}

/* --- bytes --- */

unsigned char *
daemon_kit_bytes(size_t len, unsigned seed)
{
	unsigned char *data = mem_alloc(len + 1);

	for (size_t i = 0; i < len; i++)
		data[i] = (unsigned char)((i * 2654435761u + seed * 40503u) >> 11);
	return data;
}

void
daemon_kit_content(const void *data, size_t len, struct content_id *ret)
{
	struct merkle_builder *builder = merkle_builder_new();
	struct digest *layer;
	size_t count;

	ck_assert_int_eq(merkle_builder_feed(builder, data, len), P2P_OK);
	merkle_builder_end(builder, ret, &layer, &count);
	free(layer);
	merkle_builder_free(builder);
}
