/* SPDX-License-Identifier: MIT
 *
 * check_file.c - nothing outside of the root is ever reached, and writes are whole.
 *
 * Each test has a directory of its own, with `root` to work beneath and `outside` that must
 * stay out of reach.
 */
#include "file.h"

#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define SWAPS 20000 /* of a directory and a symbolic link, in each race */

static char base[256]; /* the test's directory, and where it works */
static int root_fd;

static void
put(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");

	ck_assert_ptr_nonnull(file);
	fputs(text, file);
	fclose(file);
}

/* Answers the content of a small file, "(none)" if there is none. */
static const char *
get(const char *path)
{
	static char text[256];
	FILE *file = fopen(path, "r");

	if (file == NULL)
		return "(none)";
	text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
	fclose(file);
	return text;
}

static void
set_up(void)
{
	const char *temporary = getenv("TMPDIR");

	snprintf(base, sizeof(base), "%s/check_file.XXXXXX", temporary ? temporary : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(base));
	ck_assert_int_eq(chdir(base), 0);
	ck_assert_int_eq(mkdir("root", 0755), 0);
	ck_assert_int_eq(mkdir("root/dir", 0755), 0);
	ck_assert_int_eq(mkdir("outside", 0755), 0);
	put("root/dir/file", "inside");
	put("outside/file", "SECRET");
	ck_assert_int_eq(symlink("../outside", "root/link"), 0);
	ck_assert_int_eq(file_open_root("root", false, &root_fd, NULL), 0);
}

static int
remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

static void
tear_down(void)
{
	close(root_fd);
	ck_assert_int_eq(chdir("/"), 0);
	ck_assert_int_eq(nftw(base, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

/* The number of entries of a directory. */
static int
count_entries(const char *path)
{
	DIR *dir = opendir(path);
	int count = -2; /* `.` and `..` */

	ck_assert_ptr_nonnull(dir);
	while (readdir(dir) != NULL)
		count++;
	closedir(dir);
	return count;
}

static int
open_fds(void)
{
	return count_entries("/proc/self/fd");
}

static int
open_regular(const char *name)
{
	struct stat st;
	int fd = -1;
	int rc = file_open_regular(root_fd, name, &fd, &st, NULL);

	if (rc == 0)
		close(fd);
	else
		ck_assert_int_eq(fd, -1);
	return rc;
}

START_TEST(test_a_regular_file_is_opened_with_its_stat)
{
	struct stat st;
	char text[6];
	int fd;

	ck_assert_int_eq(file_open_regular(root_fd, "dir/file", &fd, &st, NULL), 0);
	ck_assert_int_eq(st.st_size, 6);
	ck_assert_int_eq(file_pread(fd, text, 6, 0, NULL), 0);
	ck_assert_mem_eq(text, "inside", 6);
	ck_assert_int_ne(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
	close(fd);
	ck_assert_int_eq(open_regular("dir/none"), P2P_NOT_FOUND);
	ck_assert_int_eq(open_regular("none/file"), P2P_NOT_FOUND);
	ck_assert_int_eq(open_regular("dir/file/x"), P2P_NOT_FOUND);
}
END_TEST

START_TEST(test_a_name_that_points_elsewhere_is_refused_by_every_function)
{
	static const char *const names[] = { "",
					     "/",
					     ".",
					     "..",
					     "../outside/file",
					     "/etc/passwd",
					     "dir/../dir/file",
					     "dir/./file",
					     "./dir/file",
					     "dir//file",
					     "dir/file/",
					     "dir/..",
					     "dir/." };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const char *last;
		int fd = -1;

		ck_assert_int_eq(open_regular(names[i]), P2P_BAD_NAME);
		ck_assert_int_eq(file_open_beneath(root_fd, names[i], O_RDONLY, 0, &fd, NULL),
				 P2P_BAD_NAME);
		ck_assert_int_eq(file_open_parent(root_fd, names[i], true, &fd, &last, NULL),
				 P2P_BAD_NAME);
		ck_assert_int_eq(file_rename(root_fd, "dir/file", names[i], FILE_REPLACE, NULL),
				 P2P_BAD_NAME);
		ck_assert_int_eq(file_rename(root_fd, names[i], "x", FILE_REPLACE, NULL),
				 P2P_BAD_NAME);
		ck_assert_int_eq(file_remove(root_fd, names[i], true, NULL), P2P_BAD_NAME);
		ck_assert_int_eq(file_write_atomic(root_fd, names[i], "x", 1, 0644, NULL),
				 P2P_BAD_NAME);
		ck_assert_int_eq(fd, -1);
	}
	ck_assert_str_eq(get("outside/file"), "SECRET");
	ck_assert_str_eq(get("root/dir/file"), "inside");
}
END_TEST

START_TEST(test_a_symbolic_link_is_followed_nowhere)
{
	const char *last;
	int fd = -1;

	ck_assert_int_eq(symlink("dir/file", "root/to-inside"), 0);
	ck_assert_int_eq(symlink("/etc/passwd", "root/absolute"), 0);
	ck_assert_int_eq(symlink("../outside/new", "root/dangling"), 0);
	ck_assert_int_eq(open_regular("link/file"), P2P_FORBIDDEN);
	ck_assert_int_eq(open_regular("to-inside"), P2P_FORBIDDEN);
	ck_assert_int_eq(open_regular("absolute"), P2P_FORBIDDEN);
	ck_assert_int_eq(
	    file_open_beneath(root_fd, "dangling", O_WRONLY | O_CREAT, 0644, &fd, NULL),
	    P2P_FORBIDDEN);
	ck_assert_int_eq(file_open_parent(root_fd, "link/x", true, &fd, &last, NULL),
			 P2P_FORBIDDEN);
	ck_assert_int_eq(file_open_parent(root_fd, "link/x/y", true, &fd, &last, NULL),
			 P2P_FORBIDDEN);
	ck_assert_int_eq(file_rename(root_fd, "dir/file", "link/file", FILE_REPLACE, NULL),
			 P2P_FORBIDDEN);
	ck_assert_int_eq(file_rename(root_fd, "link/file", "stolen", FILE_REPLACE, NULL),
			 P2P_FORBIDDEN);
	ck_assert_int_eq(file_remove(root_fd, "link/file", true, NULL), P2P_FORBIDDEN);
	ck_assert_int_eq(file_remove(root_fd, "to-inside", false, NULL), P2P_FORBIDDEN);
	ck_assert_str_eq(get("outside/file"), "SECRET");
	ck_assert_int_eq(count_entries("outside"), 1);
}
END_TEST

START_TEST(test_what_is_no_regular_file_is_refused_at_once)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = "root/socket" };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert_int_eq(mkfifo("root/fifo", 0644), 0);
	ck_assert_int_eq(open_regular("fifo"), P2P_FORBIDDEN);
	ck_assert_int_eq(open_regular("socket"), P2P_FORBIDDEN);
	ck_assert_int_eq(open_regular("dir"), P2P_FORBIDDEN);
	ck_assert_int_eq(file_remove(root_fd, "fifo", false, NULL), P2P_FORBIDDEN);
	ck_assert_int_eq(file_remove(root_fd, "dir", false, NULL), P2P_FORBIDDEN);
	close(fd);
}
END_TEST

START_TEST(test_a_device_is_refused)
{
	struct buf buf;
	int dev_fd, fd = -1;
	struct stat st;

	/* Root alone can make one; /dev has some for everybody. */
	ck_assert_int_eq(file_open_root("/dev", false, &dev_fd, NULL), 0);
	ck_assert_int_eq(file_open_regular(dev_fd, "zero", &fd, &st, NULL), P2P_FORBIDDEN);
	ck_assert_int_eq(fd, -1);
	close(dev_fd);

	buf_init(&buf, 100);
	ck_assert_int_eq(file_read_path("/dev/zero", &buf, NULL), P2P_FORBIDDEN);
	ck_assert_uint_eq(buf.len, 0);
	buf_fini(&buf);
}
END_TEST

START_TEST(test_a_root_is_made_with_its_parents_if_wanted)
{
	int fd = -1;

	ck_assert_int_eq(file_open_root("a/b/c", false, &fd, NULL), P2P_NOT_FOUND);
	ck_assert_int_eq(fd, -1);
	ck_assert_int_eq(file_open_root("a/b/c", true, &fd, NULL), 0);
	close(fd);
	ck_assert_int_eq(file_open_root("a//b/d/", true, &fd, NULL), 0);
	close(fd);
	ck_assert_int_eq(file_open_root("root/link", false, &fd, NULL), 0);
	close(fd);
	ck_assert_int_eq(file_open_root("outside/file", true, &fd, NULL), P2P_NOT_FOUND);
	ck_assert_int_eq(file_open_root("", true, &fd, NULL), P2P_NOT_FOUND);
}
END_TEST

START_TEST(test_the_directories_of_a_name_are_made_if_wanted)
{
	const char *name = "x/y/z/file", *last;
	struct error err;
	int fd = -1;

	ck_assert_int_eq(file_open_parent(root_fd, name, false, &fd, &last, NULL), P2P_NOT_FOUND);
	ck_assert_int_eq(file_open_parent(root_fd, name, true, &fd, &last, NULL), 0);
	ck_assert_ptr_eq(last, name + 6);
	ck_assert_int_eq(faccessat(root_fd, "x/y/z", F_OK, 0), 0);
	close(fd);

	ck_assert_int_eq(file_open_parent(root_fd, "plain", false, &fd, &last, NULL), 0);
	ck_assert_str_eq(last, "plain");
	ck_assert_int_eq(faccessat(fd, "dir/file", F_OK, 0), 0);
	close(fd);

	ck_assert_int_eq(file_open_parent(root_fd, "dir/file/x/y", true, &fd, &last, &err),
			 P2P_EXISTS);
	ck_assert_ptr_nonnull(strstr(err.text, "in the way"));
}
END_TEST

START_TEST(test_a_name_too_long_for_the_kernel_is_a_bad_name)
{
	char name[5000];
	const char *last;
	int fd;

	memset(name, 'x', sizeof(name));
	name[sizeof(name) - 1] = '\0';
	ck_assert_int_eq(open_regular(name), P2P_BAD_NAME);
	name[300] = '\0';
	ck_assert_int_eq(open_regular(name), P2P_BAD_NAME);
	name[280] = '/';
	ck_assert_int_eq(file_open_parent(root_fd, name, true, &fd, &last, NULL), P2P_BAD_NAME);
	memcpy(name, "n/", 2);
	ck_assert_int_eq(file_open_parent(root_fd, name, true, &fd, &last, NULL), P2P_BAD_NAME);
}
END_TEST

START_TEST(test_flags_of_open_are_taken_as_they_are)
{
	struct stat st;
	int fd = -1;

	ck_assert_int_eq(file_open_beneath(root_fd, "dir", O_RDONLY | O_DIRECTORY, 0, &fd, NULL),
			 0);
	close(fd);
	ck_assert_int_eq(file_open_beneath(root_fd, "dir/file", O_PATH, 0, &fd, NULL), 0);
	ck_assert_int_eq(fstat(fd, &st), 0);
	ck_assert_int_eq(st.st_size, 6);
	close(fd);
	ck_assert_int_eq(
	    file_open_beneath(root_fd, "dir/file", O_WRONLY | O_CREAT | O_EXCL, 0600, &fd, NULL),
	    P2P_EXISTS);
	ck_assert_int_eq(file_open_beneath(root_fd, "dir", O_WRONLY | O_TMPFILE, 0600, &fd, NULL),
			 0);
	close(fd);
}
END_TEST

START_TEST(test_a_rename_keeps_or_replaces_as_asked)
{
	put("root/new", "newer");
	ck_assert_int_eq(file_rename(root_fd, "new", "dir/file", FILE_KEEP_EXISTING, NULL),
			 P2P_EXISTS);
	ck_assert_str_eq(get("root/dir/file"), "inside");
	ck_assert_int_eq(file_rename(root_fd, "new", "dir/file", FILE_REPLACE, NULL), 0);
	ck_assert_str_eq(get("root/dir/file"), "newer");
	ck_assert_str_eq(get("root/new"), "(none)");

	ck_assert_int_eq(file_rename(root_fd, "dir/file", "deep/er/file", FILE_KEEP_EXISTING, NULL),
			 0);
	ck_assert_str_eq(get("root/deep/er/file"), "newer");
	ck_assert_int_eq(file_rename(root_fd, "none", "x", FILE_REPLACE, NULL), P2P_NOT_FOUND);
	ck_assert_int_eq(file_rename(root_fd, "deep/er/file", "dir", FILE_REPLACE, NULL),
			 P2P_EXISTS);
}
END_TEST

START_TEST(test_a_rename_over_a_link_replaces_the_link_itself)
{
	ck_assert_int_eq(symlink("../outside/file", "root/trap"), 0);
	ck_assert_int_eq(file_rename(root_fd, "dir/file", "trap", FILE_KEEP_EXISTING, NULL),
			 P2P_EXISTS);
	ck_assert_int_eq(file_rename(root_fd, "dir/file", "trap", FILE_REPLACE, NULL), 0);
	ck_assert_str_eq(get("root/trap"), "inside");
	ck_assert_str_eq(get("outside/file"), "SECRET");
}
END_TEST

START_TEST(test_removing_prunes_what_is_left_empty_and_no_more)
{
	ck_assert_int_eq(mkdir("root/dir/sub", 0755), 0);
	ck_assert_int_eq(mkdir("root/dir/sub/deep", 0755), 0);
	put("root/dir/sub/deep/a", "a");
	put("root/dir/sub/deep/b", "b");

	ck_assert_int_eq(file_remove(root_fd, "dir/sub/deep/a", true, NULL), 0);
	ck_assert_int_eq(faccessat(root_fd, "dir/sub/deep/b", F_OK, 0), 0);
	ck_assert_int_eq(file_remove(root_fd, "dir/sub/deep/b", true, NULL), 0);
	ck_assert_int_ne(faccessat(root_fd, "dir/sub", F_OK, 0), 0);
	ck_assert_int_eq(faccessat(root_fd, "dir/file", F_OK, 0), 0);

	ck_assert_int_eq(file_remove(root_fd, "dir/file", false, NULL), 0);
	ck_assert_int_eq(faccessat(root_fd, "dir", F_OK, 0), 0);
	ck_assert_int_eq(file_remove(root_fd, "dir/file", false, NULL), P2P_NOT_FOUND);
}
END_TEST

START_TEST(test_bytes_are_read_and_written_where_they_belong)
{
	char text[8] = "";
	struct error err;
	int fd;

	ck_assert_int_eq(
	    file_open_beneath(root_fd, "new", O_RDWR | O_CREAT | O_EXCL, 0600, &fd, NULL), 0);
	ck_assert_int_eq(file_pwrite(fd, "world", 5, 3, NULL), 0);
	ck_assert_int_eq(file_pwrite(fd, "hel", 3, 0, NULL), 0);
	ck_assert_int_eq(file_pread(fd, text, 8, 0, NULL), 0);
	ck_assert_mem_eq(text, "helworld", 8);
	/* Just written, so it is in memory: all of it, or a file system that does not say. */
	size_t cached = file_pread_cached(fd, text, 8, 3);
	ck_assert(cached == 5 || cached == 0);
	if (cached == 5)
		ck_assert_mem_eq(text, "world", 5);
	ck_assert_uint_eq(file_pread_cached(fd, text, 8, 8), 0);
	ck_assert_uint_eq(file_pread_cached(fd, text, 8, UINT64_MAX), 0);
	ck_assert_int_eq(file_pread(fd, text, 8, 1, &err), P2P_IO);
	ck_assert_str_eq(err.text, "the file ends at byte 8, before byte 9");
	ck_assert_int_eq(file_pread(fd, text, 1, UINT64_MAX, NULL), P2P_IO);
	ck_assert_int_eq(file_pwrite(fd, text, 1, UINT64_MAX, NULL), P2P_IO);
	close(fd);
	ck_assert_int_eq(file_pwrite(fd, text, 1, 0, NULL), P2P_IO);
}
END_TEST

START_TEST(test_a_whole_file_is_read_up_to_the_maximum)
{
	struct buf buf;
	struct error err;
	char *large = malloc(50001);

	memset(large, 'x', 50000);
	large[50000] = '\0';
	put("large", large);
	buf_init(&buf, 50001);
	buf_adds(&buf, "a");
	ck_assert_int_eq(file_read_path("large", &buf, NULL), 0);
	ck_assert_uint_eq(buf.len, 50001);
	ck_assert_str_eq(buf.data + 1, large);
	buf_fini(&buf);

	buf_init(&buf, 50000);
	buf_adds(&buf, "a");
	ck_assert_int_eq(file_read_path("large", &buf, &err), P2P_TOO_LARGE);
	ck_assert_ptr_nonnull(strstr(err.text, "'large'"));
	ck_assert_str_eq(buf.data, "a");
	ck_assert_uint_eq(buf.len, 1);
	ck_assert(!buf.full);
	ck_assert_int_eq(file_read_path("none", &buf, NULL), P2P_NOT_FOUND);
	ck_assert_int_eq(file_read_path("root", &buf, NULL), P2P_FORBIDDEN);
	buf_fini(&buf);
	free(large);
}
END_TEST

START_TEST(test_an_atomic_write_replaces_whole_and_leaves_no_crumb)
{
	struct stat st;

	ck_assert_int_eq(file_write_atomic(root_fd, "conf", "first", 5, 0600, NULL), 0);
	ck_assert_str_eq(get("root/conf"), "first");
	ck_assert_int_eq(stat("root/conf", &st), 0);
	ck_assert_int_eq(st.st_mode & 07777, 0600);
	ck_assert_int_eq(file_write_atomic(root_fd, "conf", "", 0, 0600, NULL), 0);
	ck_assert_str_eq(get("root/conf"), "");

	/* `dir` and `link` are there before. */
	ck_assert_int_eq(count_entries("root"), 3);
	ck_assert_int_eq(file_write_atomic(root_fd, "dir", "x", 1, 0600, NULL), P2P_EXISTS);
	ck_assert_int_eq(file_write_atomic(root_fd, "dir/x", "x", 1, 0600, NULL), P2P_BAD_NAME);
	ck_assert_int_eq(count_entries("root"), 3);
}
END_TEST

START_TEST(test_only_what_an_atomic_write_left_is_swept)
{
	static const char *const names[] = { ".p2pd-0123456789abcdef", ".p2pd-partial",
					     ".p2pd-0123456789abcdeX", "0123456789abcdef" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		close(openat(root_fd, names[i], O_WRONLY | O_CREAT, 0600));
	file_sweep_temporary(root_fd);
	ck_assert_int_lt(faccessat(root_fd, names[0], F_OK, 0), 0);
	for (size_t i = 1; i < sizeof(names) / sizeof(names[0]); i++)
		ck_assert_int_eq(faccessat(root_fd, names[i], F_OK, 0), 0);
}
END_TEST

START_TEST(test_a_changed_file_has_another_signature)
{
	struct file_sig before, after;
	struct stat st;

	ck_assert_int_eq(stat("root/dir/file", &st), 0);
	file_sig_of(&st, &before);
	file_sig_of(&st, &after);
	ck_assert(file_sig_equal(&before, &after));
	ck_assert_uint_eq(before.size_bytes, 6);

	st.st_mtim.tv_nsec ^= 1;
	file_sig_of(&st, &after);
	ck_assert(!file_sig_equal(&before, &after));
	st.st_mtim.tv_sec = INT64_MAX;
	file_sig_of(&st, &after);
	ck_assert(!file_sig_equal(&before, &after));
}
END_TEST

START_TEST(test_failures_leave_no_descriptor_open)
{
	int before = open_fds();

	for (int i = 0; i < 50; i++) {
		const char *last;
		int fd;

		open_regular("fifo");
		open_regular("dir");
		open_regular("link/file");
		file_open_parent(root_fd, "dir/file/x/y", true, &fd, &last, NULL);
		file_open_parent(root_fd, "link/x/y", true, &fd, &last, NULL);
		file_rename(root_fd, "dir/file", "link/x", FILE_REPLACE, NULL);
		file_rename(root_fd, "dir/none", "dir/x", FILE_REPLACE, NULL);
		file_remove(root_fd, "dir", true, NULL);
		file_write_atomic(root_fd, "dir", "x", 1, 0600, NULL);
	}
	ck_assert_int_eq(open_fds(), before);
}
END_TEST

/* The race: one thread swaps root/dir and root/link as fast as it can. */
static atomic_bool is_done;

static void *
swap_many(void *unused)
{
	(void)unused;
	for (int i = 0; i < SWAPS; i++)
		ck_assert_int_eq(renameat2(root_fd, "dir", root_fd, "link", RENAME_EXCHANGE), 0);
	is_done = true;
	return NULL;
}

/* What must hold at every moment: what can be opened is inside. */
static bool
open_once(void)
{
	char text[6];
	struct stat st;
	int fd = -1;
	int rc = file_open_regular(root_fd, "dir/file", &fd, &st, NULL);

	if (rc < 0) {
		/* The link was there.  Between two renames there is always one of both. */
		ck_assert_int_eq(rc, P2P_FORBIDDEN);
		return false;
	}
	ck_assert_int_eq(file_pread(fd, text, 6, 0, NULL), 0);
	ck_assert_mem_eq(text, "inside", 6);
	close(fd);
	return true;
}

START_TEST(test_no_byte_from_outside_is_read_while_a_directory_is_swapped)
{
	int opened = 0, refused = 0;
	pthread_t thread;

	is_done = false;
	ck_assert_int_eq(pthread_create(&thread, NULL, swap_many, NULL), 0);
	while (!is_done) {
		if (open_once())
			opened++;
		else
			refused++;
	}
	pthread_join(thread, NULL);
	/* Else nothing was tried. */
	ck_assert_int_gt(opened, 0);
	ck_assert_int_gt(refused, 0);
}
END_TEST

START_TEST(test_nothing_is_written_outside_while_a_directory_is_swapped)
{
	pthread_t thread;
	int made = 0;

	put("root/dir/keep", "so that the directory is never empty");
	is_done = false;
	ck_assert_int_eq(pthread_create(&thread, NULL, swap_many, NULL), 0);
	while (!is_done) {
		int fd;

		ck_assert_int_eq(
		    file_open_beneath(root_fd, "new", O_WRONLY | O_CREAT, 0600, &fd, NULL), 0);
		close(fd);
		if (file_rename(root_fd, "new", "dir/sub/new", FILE_REPLACE, NULL) == 0)
			made++;
		file_remove(root_fd, "dir/file", true, NULL);
		file_remove(root_fd, "dir/sub/new", true, NULL);
	}
	pthread_join(thread, NULL);
	ck_assert_int_gt(made, 0);
	ck_assert_str_eq(get("outside/file"), "SECRET");
	ck_assert_int_eq(count_entries("outside"), 1);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("file");
	TCase *tc = tcase_create("file");

	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, test_a_regular_file_is_opened_with_its_stat);
	tcase_add_test(tc, test_a_name_that_points_elsewhere_is_refused_by_every_function);
	tcase_add_test(tc, test_a_symbolic_link_is_followed_nowhere);
	tcase_add_test(tc, test_what_is_no_regular_file_is_refused_at_once);
	tcase_add_test(tc, test_a_device_is_refused);
	tcase_add_test(tc, test_a_root_is_made_with_its_parents_if_wanted);
	tcase_add_test(tc, test_the_directories_of_a_name_are_made_if_wanted);
	tcase_add_test(tc, test_a_name_too_long_for_the_kernel_is_a_bad_name);
	tcase_add_test(tc, test_flags_of_open_are_taken_as_they_are);
	tcase_add_test(tc, test_a_rename_keeps_or_replaces_as_asked);
	tcase_add_test(tc, test_a_rename_over_a_link_replaces_the_link_itself);
	tcase_add_test(tc, test_removing_prunes_what_is_left_empty_and_no_more);
	tcase_add_test(tc, test_bytes_are_read_and_written_where_they_belong);
	tcase_add_test(tc, test_a_whole_file_is_read_up_to_the_maximum);
	tcase_add_test(tc, test_an_atomic_write_replaces_whole_and_leaves_no_crumb);
	tcase_add_test(tc, test_only_what_an_atomic_write_left_is_swept);
	tcase_add_test(tc, test_a_changed_file_has_another_signature);
	tcase_add_test(tc, test_failures_leave_no_descriptor_open);
	tcase_add_test(tc, test_no_byte_from_outside_is_read_while_a_directory_is_swapped);
	tcase_add_test(tc, test_nothing_is_written_outside_while_a_directory_is_swapped);
	suite_add_tcase(suite, tc);

	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
