/* SPDX-License-Identifier: MIT
 *
 * check_store_small.c - many small files at once: each whole under its name, or nothing of it.
 */
#include "store_small.h"

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COUNT     (2 * STORE_SMALL_GROUP + 44) /* files: three groups */
#define NAME_ROOM 64
#define MTIME_NS  1234567890123456789

static char root[256];
static struct store *store;
static struct store_small files[COUNT];
static char names[COUNT][NAME_ROOM], texts[COUNT][NAME_ROOM];

static int
remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

static void
setup(void)
{
	const char *tmp = getenv("TMPDIR");
	struct error err = { 0 };

	umask(022);
	snprintf(root, sizeof(root), "%.200s/check_small.XXXXXX", tmp != NULL ? tmp : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(root));
	store = store_new(root, &err);
	ck_assert_msg(store != NULL, "%s", err.text);
	for (size_t i = 0; i < COUNT; i++) {
		snprintf(names[i], NAME_ROOM, "d%zu/e/file%zu", i / 50, i);
		snprintf(texts[i], NAME_ROOM, "bytes of %zu", i);
		files[i] = (struct store_small){ .name = names[i],
						 .data = texts[i],
						 .len = strlen(texts[i]),
						 .mode = i % 2 ? 07777 : 0640,
						 .mtime_ns = MTIME_NS };
	}
}

static void
teardown(void)
{
	store_free(store);
	nftw(root, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static bool
has_bytes(const char *name, const char *text)
{
	char found[NAME_ROOM] = "";
	int fd = openat(store_root_fd(store), name, O_RDONLY | O_CLOEXEC);
	ssize_t len = fd < 0 ? -1 : read(fd, found, sizeof(found) - 1);

	if (fd >= 0)
		close(fd);
	return len == (ssize_t)strlen(text) && strcmp(found, text) == 0;
}

static void
write_file(const char *name, const char *text)
{
	int fd = openat(store_root_fd(store), name, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, text, strlen(text)), (int)strlen(text));
	close(fd);
}

static unsigned
count_entries(const char *path)
{
	unsigned count = 0;
	DIR *dir = opendir(path);

	if (dir == NULL && errno == ENOENT)
		return 0; /* it is made when it is needed */
	ck_assert_ptr_nonnull(dir);
	for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
		count += entry->d_name[0] != '.';
	closedir(dir);
	return count;
}

static unsigned
count_temp_files(void)
{
	char path[300];

	snprintf(path, sizeof(path), "%s/" STORE_TEMP_DIR, root);
	return count_entries(path);
}

static void
put(size_t count, enum file_replace replace)
{
	unsigned open_before = count_entries("/proc/self/fd");

	store_put_small(store, files, count, replace, 0, NULL);
	ck_assert_uint_eq(count_entries("/proc/self/fd"), open_before);
	ck_assert_uint_eq(count_temp_files(), 0);
}

START_TEST(test_each_file_stands_there_with_mode_time_and_signature)
{
	put(COUNT, FILE_KEEP_EXISTING);
	for (size_t i = 0; i < COUNT; i++) {
		struct file_sig sig;
		struct stat st;

		ck_assert_msg(files[i].error.code == P2P_OK, "%s", files[i].error.text);
		ck_assert(has_bytes(names[i], texts[i]));
		ck_assert_int_eq(fstatat(store_root_fd(store), names[i], &st, 0), 0);
		ck_assert_uint_eq(st.st_mode & 07777, i % 2 ? 0755 : 0640);
		file_sig_of(&st, &sig);
		ck_assert(file_sig_equal(&sig, &files[i].sig));
		ck_assert_int_eq(sig.mtime_ns, MTIME_NS);
	}
}
END_TEST

START_TEST(test_what_cannot_be_put_leaves_the_others_alone)
{
	ck_assert_int_eq(mkdirat(store_root_fd(store), "d0", 0755), 0);
	ck_assert_int_eq(mkdirat(store_root_fd(store), "d0/e", 0755), 0);
	write_file(names[3], "another");
	write_file("d1", "a file where a directory should be");
	ck_assert_int_eq(symlinkat("/tmp", store_root_fd(store), "d2"), 0);
	files[5].name = "../outside";
	files[6].name = STORE_TEMP_DIR "/x";
	files[7].name = "d0/e"; /* a directory */
	put(200, FILE_KEEP_EXISTING);
	for (size_t i = 0; i < 200; i++) {
		bool is_bad = i == 3 || (i >= 5 && i <= 7) || i / 50 == 1 || i / 50 == 2;

		ck_assert_msg((files[i].error.code != P2P_OK) == is_bad, "%zu: %s", i,
			      files[i].error.text);
		if (!is_bad)
			ck_assert(has_bytes(names[i], texts[i]));
	}
	ck_assert_int_eq(files[3].error.code, P2P_EXISTS);
	ck_assert(has_bytes(names[3], "another"));
	ck_assert_int_eq(files[7].error.code, P2P_EXISTS);
}
END_TEST

START_TEST(test_a_file_is_replaced_when_that_is_asked_for)
{
	ck_assert_int_eq(mkdirat(store_root_fd(store), "d0", 0755), 0);
	ck_assert_int_eq(mkdirat(store_root_fd(store), "d0/e", 0755), 0);
	write_file(names[3], "another");
	put(10, FILE_REPLACE);
	ck_assert_int_eq(files[3].error.code, P2P_OK);
	ck_assert(has_bytes(names[3], texts[3]));
}
END_TEST

START_TEST(test_nothing_is_begun_without_room_or_after_a_stop)
{
	atomic_bool is_stopping = true;

	store_put_small(store, files, COUNT, FILE_KEEP_EXISTING, UINT64_MAX / 2, NULL);
	for (size_t i = 0; i < COUNT; i++)
		ck_assert_int_eq(files[i].error.code, P2P_NO_SPACE);
	store_put_small(store, files, COUNT, FILE_KEEP_EXISTING, 0, &is_stopping);
	for (size_t i = 0; i < COUNT; i++)
		ck_assert_int_eq(files[i].error.code, P2P_CANCELLED);
	ck_assert_uint_eq(count_temp_files(), 0);
	ck_assert_uint_eq(count_entries(root), 0);
}
END_TEST

START_TEST(test_a_temporary_directory_that_was_removed_is_made_again)
{
	for (int i = 0; i < 2; i++) { /* at first it is not there, either */
		put(10, FILE_REPLACE);
		ck_assert_int_eq(files[0].error.code, P2P_OK);
		ck_assert_int_eq(files[9].error.code, P2P_OK);
		ck_assert_int_eq(unlinkat(store_root_fd(store), STORE_TEMP_DIR, AT_REMOVEDIR), 0);
	}
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("store_small");
	TCase *tcase = tcase_create("put");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_set_timeout(tcase, 30);
	tcase_add_test(tcase, test_each_file_stands_there_with_mode_time_and_signature);
	tcase_add_test(tcase, test_what_cannot_be_put_leaves_the_others_alone);
	tcase_add_test(tcase, test_a_file_is_replaced_when_that_is_asked_for);
	tcase_add_test(tcase, test_nothing_is_begun_without_room_or_after_a_stop);
	tcase_add_test(tcase, test_a_temporary_directory_that_was_removed_is_made_again);
	suite_add_tcase(suite, tcase);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
