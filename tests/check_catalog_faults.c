/* SPDX-License-Identifier: MIT
 *
 * check_catalog_faults.c - damaged files, full disks and sudden ends: the catalog never crashes,
 * always ends with one that works, says what it set aside, and keeps what it acknowledged.
 */
#include "catalog.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "catalog_kit.h"
#include "mem.h"

#define FILES 400
#define KILLS 50
#define FLIPS 60

static char *
path_of(struct kit *kit, const char *suffix)
{
	return mem_format("%s/catalog.db%s", kit->dir, suffix);
}

static off_t
size_of(struct kit *kit, const char *suffix)
{
	struct stat st;
	char *path = path_of(kit, suffix);
	off_t size = stat(path, &st) == 0 ? st.st_size : -1;
	free(path);
	return size;
}

/* Overwrites `len` bytes at `offset`. */
static void
overwrite(struct kit *kit, const char *suffix, off_t offset, const void *data, size_t len)
{
	char *path = path_of(kit, suffix);
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(pwrite(fd, data, len, offset), (ssize_t)len);
	close(fd);
	free(path);
}

static void
cut(struct kit *kit, const char *suffix, off_t size)
{
	char *path = path_of(kit, suffix);
	ck_assert_int_eq(truncate(path, size), 0);
	free(path);
}

/* A batch of `count` files numbered from `first`. */
static struct catalog_batch *
many(unsigned first, unsigned count)
{
	struct catalog_batch *batch = catalog_batch_new();
	for (unsigned i = first; i < first + count; i++) {
		char name[64];
		snprintf(name, sizeof(name), "dir/some-file-%06u", i);
		struct catalog_local file = kit_file(name, i);
		catalog_batch_put(batch, name, &file, NULL, 0);
	}
	return batch;
}

static uint64_t
epoch_of(struct kit *kit)
{
	struct catalog_head head;
	catalog_head(kit->catalog, &head);
	return head.epoch;
}

static void
check_works(struct kit *kit)
{
	struct catalog_local file;
	ck_assert_int_eq(kit_put(kit, "works", "x", 1), P2P_OK);
	ck_assert_int_eq(catalog_find_local(kit->catalog, "works", &file), P2P_OK);
}

/* Opens what was damaged: it is set aside, named in the note, and a new one works. */
static void
check_set_aside(struct kit *kit, uint64_t old_epoch)
{
	struct error err = { 0 };
	kit_open(kit, &err);
	ck_assert_msg(kit->catalog != NULL, "%s", err.text);
	ck_assert_ptr_nonnull(kit->note);
	const char *at = strstr(kit->note, "catalog.db.damaged-");
	ck_assert_ptr_nonnull(at);
	ck_assert_uint_ne(epoch_of(kit), old_epoch);
	check_works(kit);
	kit_reopen(kit);
	ck_assert_ptr_null(kit->note);
}

/* --- damage --- */

static void
damage_empty(struct kit *kit)
{
	cut(kit, "", 0);
}

static void
damage_short(struct kit *kit)
{
	cut(kit, "", size_of(kit, "") / 2 + 77);
}

static void
damage_header(struct kit *kit)
{
	overwrite(kit, "", 0, "What is this?", 13);
}

static void
damage_version(struct kit *kit)
{
	overwrite(kit, "", 60, "\0\0\1\0", 4); /* user_version */
}

static void
damage_application(struct kit *kit)
{
	overwrite(kit, "", 68, "\0\0\0\2", 4);
}

static void
damage_garbage(struct kit *kit)
{
	unsigned char noise[4096];
	unsigned seed = 5;
	for (size_t i = 0; i < sizeof(noise); i++)
		noise[i] = (unsigned char)((seed = seed * 1103515245 + 12345) >> 16);
	for (off_t at = 0; at < size_of(kit, ""); at += sizeof(noise))
		overwrite(kit, "", at, noise, sizeof(noise));
}

static void
damage_schema(struct kit *kit)
{
	static unsigned char pages[4 << 20]; /* the text of a CREATE is in any of them */
	char *path = path_of(kit, "");
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t len = pread(fd, pages, sizeof(pages), 0);
	ck_assert_int_gt(len, 0);
	close(fd);
	free(path);
	char *at = memmem(pages, (size_t)len, "heard_wall_ms INTEGER", 21);
	ck_assert_ptr_nonnull(at);
	overwrite(kit, "", (unsigned char *)at - pages, "heard_wall_xx", 13);
}

static void
damage_marked(struct kit *kit)
{
	overwrite(kit, ".suspect", 0, "", 0);
}

static void (*const damages[])(struct kit *kit) = { damage_empty,       damage_short,
						    damage_header,      damage_version,
						    damage_application, damage_garbage,
						    damage_schema,      damage_marked };

START_TEST(test_a_database_that_is_not_ours_is_set_aside_and_begun_anew)
{
	struct kit *kit = kit_new();
	ck_assert_int_eq(kit_commit(kit, many(0, 200)), P2P_OK);
	uint64_t epoch = epoch_of(kit);
	kit_close(kit);
	damages[_i](kit);
	check_set_aside(kit, epoch);
	kit_free(kit);
}
END_TEST

START_TEST(test_the_catalog_of_another_peer_id_is_set_aside)
{
	struct kit *kit = kit_new();
	uint64_t epoch = epoch_of(kit);
	kit_close(kit);
	snprintf(kit->self, sizeof(kit->self), "%s", kit_peer("new key"));
	check_set_aside(kit, epoch);
	kit_free(kit);
}
END_TEST

START_TEST(test_what_cannot_be_opened_is_an_error_and_stays)
{
	struct kit *kit = kit_new();
	struct error err = { 0 };
	kit_close(kit);
	char *path = path_of(kit, "");
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(mkdir(path, 0700), 0);
	kit_open(kit, &err);
	ck_assert_ptr_null(kit->catalog);
	ck_assert_int_lt(err.code, 0);
	ck_assert_ptr_nonnull(strstr(err.text, path));
	ck_assert_ptr_null(kit->note);
	ck_assert_int_eq(rmdir(path), 0);
	free(path);
	kit_free(kit);
}
END_TEST

/* Everything that reads; codes may be anything, crashes may not. */
static bool
go_on(void *arg, const struct catalog_found *found)
{
	(void)arg, (void)found;
	return true;
}

static void
read_everything(struct kit *kit)
{
	char cursor[CATALOG_CURSOR_SIZE];
	struct catalog_query query = { .text = "", .limit = CATALOG_PAGE_MAX };
	(void)catalog_search(kit->catalog, &query, go_on, NULL, cursor, NULL);
	struct change_page *page;
	if (catalog_changes(kit->catalog, KIT_ASK(kit->self, 1, 0, 1000), &page) == P2P_OK)
		change_page_free(page);
	struct catalog_scan *scan = catalog_scan_new(kit->catalog, "");
	const char *name;
	struct catalog_local file;
	while (scan != NULL && catalog_scan_next(scan, &name, &file) > 0)
		;
	catalog_scan_free(scan);
}

START_TEST(test_flipped_bits_never_crash_and_a_restart_always_helps)
{
	unsigned seed = 1, noticed = 0;
	for (int i = 0; i < FLIPS; i++) {
		struct kit *kit = kit_new();
		ck_assert_int_eq(kit_commit(kit, many(0, FILES)), P2P_OK);
		kit_close(kit);
		off_t size = size_of(kit, "");
		for (int k = 0; k <= i % 4; k++) {
			seed = seed * 1103515245 + 12345;
			unsigned char byte = (unsigned char)(seed >> 8);
			overwrite(kit, "", (seed >> 4) % size, &byte, 1);
		}
		struct error err = { 0 };
		kit_open(kit, &err);
		ck_assert_msg(kit->catalog != NULL, "%s", err.text);
		noticed += kit->note != NULL;
		read_everything(kit);
		(void)kit_commit(kit, many(0, FILES));
		kit_clear(kit);
		(void)kit_commit(kit, many(FILES, FILES));
		kit_clear(kit);
		kit_reopen(kit);
		noticed += kit->note != NULL;
		check_works(kit);
		kit_free(kit);
	}
	ck_assert_uint_gt(noticed, 0);
}
END_TEST

/* --- sudden ends --- */

static void
tell_parent(void *arg, int code)
{
	unsigned char byte = code == P2P_OK ? 1 : 0;
	if (write(*(int *)arg, &byte, 1) != 1)
		_exit(1);
}

/* Commits batches of 20 for ever, a byte into the pipe for each acknowledged one. */
static void
commit_for_ever(const char *dir, unsigned first, int fd)
{
	struct kit *kit = kit_new_at(dir);
	for (unsigned at = first;; at += 20) {
		catalog_submit(kit->catalog, many(at, 20), tell_parent, &fd);
		loop_turn(kit->loop, at % 60 ? 0 : 5);
	}
}

/* Runs a child until it acknowledged `enough` batches, kills it, and answers how many there were.
 */
static unsigned
run_and_kill(const char *dir, unsigned first, unsigned enough)
{
	int fds[2];
	unsigned acknowledged = 0;
	char bytes[256];
	ck_assert_int_eq(pipe(fds), 0);
	pid_t child = fork();
	if (child == 0) {
		close(fds[0]);
		commit_for_ever(dir, first, fds[1]);
	}
	close(fds[1]);
	ssize_t got;
	while (acknowledged < enough && (got = read(fds[0], bytes, sizeof(bytes))) > 0)
		for (ssize_t i = 0; i < got; i++)
			acknowledged += bytes[i] == 1;
	kill(child, SIGKILL);
	while ((got = read(fds[0], bytes, sizeof(bytes))) > 0)
		for (ssize_t i = 0; i < got; i++)
			acknowledged += bytes[i] == 1;
	close(fds[0]);
	ck_assert_int_eq(waitpid(child, NULL, 0), child);
	return acknowledged;
}

START_TEST(test_kill_9_loses_nothing_that_was_acknowledged)
{
	struct kit *kit = kit_new();
	uint64_t epoch = epoch_of(kit);
	unsigned next = 0;
	for (unsigned round = 0; round < KILLS; round++) {
		kit_close(kit);
		unsigned done = run_and_kill(kit->dir, next, 1 + round % 7);
		kit_open(kit, NULL);
		ck_assert_ptr_nonnull(kit->catalog);
		ck_assert_msg(kit->note == NULL, "%s", kit->note);
		ck_assert_uint_eq(epoch_of(kit), epoch);
		for (unsigned i = next; i < next + 20 * done; i++) {
			char name[64];
			struct catalog_local file;
			snprintf(name, sizeof(name), "dir/some-file-%06u", i);
			ck_assert_int_eq(catalog_find_local(kit->catalog, name, &file), P2P_OK);
		}
		struct catalog_head head;
		catalog_head(kit->catalog, &head);
		/* All of a batch or nothing of it. */
		ck_assert_uint_eq(head.file_count % 20, 0);
		ck_assert_uint_eq(head.seq, head.file_count);
		next = (unsigned)head.file_count;
	}
	kit_free(kit);
}
END_TEST

/* _i: 0 the log is gone, 1 it is garbage, 2 it is torn at its end. */
START_TEST(test_a_lost_log_is_noticed_and_a_torn_one_is_used)
{
	struct kit *kit = kit_new();
	uint64_t epoch = epoch_of(kit);
	kit_close(kit);
	ck_assert_uint_gt(run_and_kill(kit->dir, 0, 5), 0);
	ck_assert_int_gt(size_of(kit, "-wal"), 4096);
	char *wal = path_of(kit, "-wal");
	if (_i == 0)
		ck_assert_int_eq(unlink(wal), 0);
	else if (_i == 1)
		overwrite(kit, "-wal", 0, "garbage garbage garbage garbage garbage", 39);
	else
		cut(kit, "-wal", size_of(kit, "-wal") - 1000);
	free(wal);
	if (_i < 2) {
		check_set_aside(kit, epoch);
	} else {
		kit_open(kit, NULL);
		ck_assert_ptr_nonnull(kit->catalog);
		ck_assert_ptr_null(kit->note);
		check_works(kit);
	}
	kit_free(kit);
}
END_TEST

/* --- full disk --- */

/* A tmpfs of 2 MiB on `dir`, in a mount namespace of this test's process. */
static bool
mount_small(const char *dir)
{
	if (geteuid() != 0 || unshare(CLONE_NEWNS) < 0)
		return false;
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return false;
	return mount("p2pd-test", dir, "tmpfs", 0, "size=2m") == 0;
}

/* Leaves no page free. */
static void
fill(const char *path)
{
	static const char block[4096];
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	ck_assert_int_ge(fd, 0);
	while (write(fd, block, sizeof(block)) > 0)
		;
	close(fd);
}

START_TEST(test_a_full_disk_is_no_space_and_all_is_well_when_there_is_some_again)
{
	char dir[] = "/tmp/catalog-full-XXXXXX";
	ck_assert_ptr_nonnull(mkdtemp(dir));
	if (!mount_small(dir)) {
		printf("skipped: full disk (needs root and mount namespaces): %s\n",
		       strerror(errno));
		rmdir(dir);
		return;
	}
	struct kit *kit = kit_new_at(dir);
	ck_assert_int_eq(kit_commit(kit, many(0, 100)), P2P_OK);
	char *filler = mem_format("%s/filler", dir);
	fill(filler);

	int code = P2P_OK;
	unsigned at = 1000;
	for (; code == P2P_OK && at < 100000; at += 500)
		code = kit_commit(kit, many(at, 500));
	ck_assert_int_eq(code, P2P_NO_SPACE);
	unsigned failed = at - 500;
	ck_assert_int_eq(kit_commit(kit, many(failed, 500)), P2P_NO_SPACE);
	struct catalog_local file;
	ck_assert_int_eq(catalog_find_local(kit->catalog, "dir/some-file-000050", &file), P2P_OK);
	char name[64];
	snprintf(name, sizeof(name), "dir/some-file-%06u", failed);
	ck_assert_int_eq(catalog_find_local(kit->catalog, name, &file), P2P_NOT_FOUND);

	ck_assert_int_eq(unlink(filler), 0);
	ck_assert_int_eq(kit_commit(kit, many(failed, 500)), P2P_OK);
	fill(filler);
	kit_close(kit);
	ck_assert_int_eq(unlink(filler), 0);
	free(filler);
	kit_open(kit, NULL);
	ck_assert_ptr_nonnull(kit->catalog);
	ck_assert_ptr_null(kit->note);
	ck_assert_int_eq(catalog_find_local(kit->catalog, name, &file), P2P_OK);
	kit_close(kit);
	ck_assert_int_eq(umount(dir), 0);
	kit_free(kit);
}
END_TEST

static Suite *
suite(void)
{
	Suite *suite = suite_create("catalog faults");
	TCase *tcase = tcase_create("all");
	tcase_set_timeout(tcase, 300);
	tcase_add_loop_test(tcase, test_a_database_that_is_not_ours_is_set_aside_and_begun_anew, 0,
			    sizeof(damages) / sizeof(damages[0]));
	tcase_add_test(tcase, test_the_catalog_of_another_peer_id_is_set_aside);
	tcase_add_test(tcase, test_what_cannot_be_opened_is_an_error_and_stays);
	tcase_add_test(tcase, test_flipped_bits_never_crash_and_a_restart_always_helps);
	tcase_add_test(tcase, test_kill_9_loses_nothing_that_was_acknowledged);
	tcase_add_loop_test(tcase, test_a_lost_log_is_noticed_and_a_torn_one_is_used, 0, 3);
	tcase_add_test(tcase,
		       test_a_full_disk_is_no_space_and_all_is_well_when_there_is_some_again);
	suite_add_tcase(suite, tcase);
	return suite;
}

int
main(void)
{
	SRunner *runner = srunner_create(suite());
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
