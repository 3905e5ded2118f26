/* SPDX-License-Identifier: MIT
 *
 * check_store.c - files that are served from where they lie, and uploads that are whole or not
 * there.
 */
#include "store.h"

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <unistd.h>

#include "mem.h"

static char root[256];
static struct store *store;
static struct error err;

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

	snprintf(root, sizeof(root), "%s/check_store.XXXXXX", tmp != NULL ? tmp : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(root));
	store = store_new(root, &err);
	ck_assert_msg(store != NULL, "%s", err.text);
}

static void
teardown(void)
{
	store_free(store);
	nftw(root, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static unsigned char *
make_content(size_t size, unsigned seed)
{
	unsigned char *data = mem_alloc(size + 1);

	for (size_t i = 0; i < size; i++)
		data[i] = (unsigned char)((i * 2654435761u + seed) >> 13);
	return data;
}

static int
open_in_share(const char *name, int flags)
{
	int fd = openat(store_root_fd(store), name, flags | O_CLOEXEC, 0644);

	ck_assert_int_ge(fd, 0);
	return fd;
}

static void
write_file(const char *name, const void *data, size_t len)
{
	int fd = open_in_share(name, O_WRONLY | O_CREAT | O_TRUNC);

	ck_assert_int_eq(P2P_OK, file_pwrite(fd, data, len, 0, NULL));
	close(fd);
}

static struct content_id
id_of(const void *data, size_t len)
{
	struct merkle_builder *builder = merkle_builder_new();
	struct content_id id;
	struct digest *layer;
	size_t count;

	ck_assert_int_eq(P2P_OK, merkle_builder_feed(builder, data, len));
	merkle_builder_end(builder, &id, &layer, &count);
	merkle_builder_free(builder);
	free(layer);
	return id;
}

static bool
has_bytes(const char *name, const void *data, size_t len)
{
	unsigned char *found = mem_alloc(len + 1);
	int fd = open_in_share(name, O_RDONLY);
	bool is_same = read(fd, found, len + 1) == (ssize_t)len && memcmp(found, data, len) == 0;

	close(fd);
	free(found);
	return is_same;
}

static int
count_temp_files(void)
{
	char path[512];
	int count = 0;
	struct dirent *entry;

	snprintf(path, sizeof(path), "%s/%s", root, STORE_TEMP_DIR);
	DIR *dir = opendir(path);
	ck_assert_ptr_nonnull(dir);
	while ((entry = readdir(dir)) != NULL)
		count += entry->d_name[0] != '.';
	closedir(dir);
	return count;
}

/* Opens `name` as it is now. */
static struct store_reader *
read_now(const char *name, const void *data, size_t len)
{
	struct content_id id = id_of(data, len);
	struct store_reader *reader = NULL;
	struct file_sig sig;
	struct stat st;

	ck_assert_int_eq(0, fstatat(store_root_fd(store), name, &st, 0));
	file_sig_of(&st, &sig);
	ck_assert_msg(store_open(store, name, &id, &sig, &reader, &err) == P2P_OK, "%s", err.text);
	return reader;
}

/* Waits until the clock of the file system has moved on: its stamps are coarse. */
static void
let_time_pass(void)
{
	struct stat first, now;
	int fd = open_in_share("clock", O_RDWR | O_CREAT);

	ck_assert_int_eq(0, futimens(fd, NULL));
	fstat(fd, &first);
	do {
		ck_assert_int_eq(0, futimens(fd, NULL));
		fstat(fd, &now);
	} while (now.st_ctim.tv_nsec == first.st_ctim.tv_nsec &&
		 now.st_ctim.tv_sec == first.st_ctim.tv_sec);
	close(fd);
}

static struct store_upload *
upload_of(const void *data, size_t len)
{
	struct store_upload *upload = store_upload_new(store, len, 1 << 30, 0, &err);

	ck_assert_msg(upload != NULL, "%s", err.text);
	ck_assert_int_eq(P2P_OK, store_upload_feed(upload, data, len, &err));
	return upload;
}

static void
make_temp_dir(void)
{
	store_upload_free(upload_of("x", 1));
}

START_TEST(test_nothing_is_made_in_the_share_before_it_is_needed)
{
	struct stat st;

	ck_assert_int_lt(fstatat(store_root_fd(store), STORE_TEMP_DIR, &st, 0), 0);
	ck_assert_int_eq(ENOENT, errno);
	make_temp_dir();
	ck_assert_int_eq(0, fstatat(store_root_fd(store), STORE_TEMP_DIR, &st, 0));
}
END_TEST

/* Nothing can be made, named or removed. */
static void
check_nothing_is_written(struct store_upload *upload)
{
	struct store_written written;

	ck_assert_int_eq(P2P_IO, store_check_place(store, &err));
	ck_assert_ptr_null(store_upload_new(store, 1, 1, 0, &err));
	ck_assert_int_eq(P2P_IO, err.code);
	ck_assert_int_eq(P2P_IO, store_upload_commit(upload, "new", 0644, 0, FILE_KEEP_EXISTING,
						     &written, &err));
	ck_assert_int_eq(P2P_IO, store_remove(store, "old", NULL, &err));
	store_upload_free(upload);
}

START_TEST(test_a_share_that_is_no_longer_at_its_place_is_not_written_to)
{
	char elsewhere[300];
	struct store_upload *upload = upload_of("abc", 3);

	write_file("old", "old", 3);
	snprintf(elsewhere, sizeof(elsewhere), "%s-moved", root);
	ck_assert_int_eq(P2P_OK, store_check_place(store, &err));
	ck_assert_int_eq(0, rename(root, elsewhere));
	ck_assert_int_eq(0, mkdir(root, 0755));
	check_nothing_is_written(upload);
	ck_assert(has_bytes("old", "old", 3));
	ck_assert_int_eq(0, rmdir(root)); /* nothing was made in its place */
	ck_assert_int_eq(0, rename(elsewhere, root));
	ck_assert_int_eq(P2P_OK, store_check_place(store, &err));
	ck_assert_int_eq(P2P_OK, store_remove(store, "old", NULL, &err));
}
END_TEST

START_TEST(test_a_barred_store_is_not_written_to_until_it_is_open_again)
{
	struct store_upload *upload = upload_of("abc", 3);

	write_file("old", "old", 3);
	store_bar(store, "is it mounted?");
	check_nothing_is_written(upload);
	ck_assert_str_eq("is it mounted?", err.text);
	store_bar(store, NULL);
	ck_assert_int_eq(P2P_OK, store_remove(store, "old", NULL, &err));
}
END_TEST

START_TEST(test_the_temporary_directory_is_ours_alone)
{
	struct stat st;

	make_temp_dir();
	ck_assert_int_eq(0, fstatat(store_root_fd(store), STORE_TEMP_DIR, &st, 0));
	ck_assert_uint_eq(0700, st.st_mode & 07777);
	ck_assert_int_eq(0, fchmodat(store_root_fd(store), STORE_TEMP_DIR, 0755, 0));
	struct store *again = store_new(root, &err);
	ck_assert_ptr_nonnull(again);
	store_free(again);
	ck_assert_int_eq(0, fstatat(store_root_fd(store), STORE_TEMP_DIR, &st, 0));
	ck_assert_uint_eq(0700, st.st_mode & 07777);
}
END_TEST

START_TEST(test_a_temporary_directory_that_is_a_symlink_is_not_followed)
{
	char path[512], outside[512];

	snprintf(path, sizeof(path), "%s/inner", root);
	ck_assert_int_eq(0, mkdir(path, 0755));
	snprintf(outside, sizeof(outside), "%s/inner/%s", root, STORE_TEMP_DIR);
	ck_assert_int_eq(0, symlink("/tmp", outside));
	struct store *bad = store_new(path, &err);
	if (bad != NULL) { /* served, but nothing can be written through the link */
		ck_assert_ptr_null(store_upload_new(bad, 1, 1, 0, &err));
		store_free(bad);
	}
}
END_TEST

START_TEST(test_uploads_that_a_crash_left_are_removed_and_nothing_else)
{
	make_temp_dir();
	write_file(STORE_TEMP_DIR "/upload-0123", "x", 1);
	write_file(STORE_TEMP_DIR "/abc-12.data", "x", 1);
	ck_assert_int_eq(2, count_temp_files());
	store_free(store);
	store = store_new(root, &err);
	ck_assert_int_eq(1, count_temp_files());
}
END_TEST

START_TEST(test_an_upload_appears_whole_with_mode_and_time)
{
	static const size_t sizes[] = { 0, 1, 16384, 65536, STORE_BLOCK, STORE_BLOCK + 1, 3000001 };
	size_t size = sizes[_i];
	unsigned char *data = make_content(size, 1);
	struct content_id id = id_of(data, size);
	struct store_written written;
	struct stat st;

	umask(027);
	struct store_upload *upload = store_upload_new(store, UINT64_MAX, 1 << 30, 0, &err);
	for (size_t at = 0, step = 1; at < size; at += step, step = step * 3 + 1)
		ck_assert_int_eq(P2P_OK,
				 store_upload_feed(upload, data + at,
						   size - at < step ? size - at : step, &err));
	ck_assert_int_eq(1, count_temp_files());
	ck_assert_int_eq(P2P_OK, store_upload_commit(upload, "a/b/c.bin", 0766, -1500000001,
						     FILE_KEEP_EXISTING, &written, &err));
	store_upload_free(upload);
	ck_assert(has_bytes("a/b/c.bin", data, size));
	ck_assert(content_equal(&id, &written.content));
	ck_assert_uint_eq(merkle_piece_count(size, merkle_piece_bytes(size)), written.layer_count);
	ck_assert_int_eq(0, fstatat(store_root_fd(store), "a/b/c.bin", &st, 0));
	ck_assert_uint_eq(0740, st.st_mode & 07777);
	ck_assert_int_eq(-2, st.st_mtim.tv_sec);
	ck_assert_int_eq(499999999, st.st_mtim.tv_nsec);
	struct file_sig sig;
	file_sig_of(&st, &sig);
	ck_assert(file_sig_equal(&sig, &written.sig));
	ck_assert_int_eq(0, count_temp_files());
	free(written.layer);
	free(data);
}
END_TEST

START_TEST(test_an_abandoned_upload_leaves_nothing)
{
	store_upload_free(upload_of("abc", 3));
	ck_assert_int_eq(0, count_temp_files());
	store_upload_free(NULL);
}
END_TEST

START_TEST(test_a_taken_name_is_kept_unless_the_content_is_the_same_or_replacing_is_asked_for)
{
	unsigned char *data = make_content(100000, 1), *other = make_content(100000, 2);
	struct store_written written;
	struct stat st;

	write_file("name", other, 100000);
	struct store_upload *upload = upload_of(data, 100000);
	ck_assert_int_eq(P2P_EXISTS, store_upload_commit(upload, "name", 0644, 0,
							 FILE_KEEP_EXISTING, &written, &err));
	ck_assert(has_bytes("name", other, 100000));
	/* It can be committed again. */
	ck_assert_int_eq(
	    P2P_OK, store_upload_commit(upload, "name", 0644, 0, FILE_REPLACE, &written, &err));
	store_upload_free(upload);
	free(written.layer);
	ck_assert(has_bytes("name", data, 100000));

	upload = upload_of(data, 100000);
	ck_assert_int_eq(P2P_OK, store_upload_commit(upload, "name", 0600, 0, FILE_KEEP_EXISTING,
						     &written, &err));
	store_upload_free(upload);
	ck_assert_int_eq(0, fstatat(store_root_fd(store), "name", &st, 0));
	ck_assert_uint_eq(written.sig.inode, st.st_ino);
	ck_assert_uint_ne(0600, st.st_mode & 0777); /* the file that was there */
	ck_assert_int_eq(0, count_temp_files());
	free(written.layer);
	free(data);
	free(other);
}
END_TEST

START_TEST(test_a_directory_or_fifo_at_the_name_is_never_replaced_by_accident)
{
	struct store_written written;

	ck_assert_int_eq(0, mkdirat(store_root_fd(store), "dir", 0755));
	ck_assert_int_eq(0, mkfifoat(store_root_fd(store), "fifo", 0644));
	struct store_upload *upload = upload_of("abc", 3);
	ck_assert_int_eq(P2P_EXISTS, store_upload_commit(upload, "fifo", 0644, 0,
							 FILE_KEEP_EXISTING, &written, &err));
	ck_assert_int_eq(P2P_EXISTS, store_upload_commit(upload, "dir", 0644, 0, FILE_KEEP_EXISTING,
							 &written, &err));
	ck_assert_int_lt(store_upload_commit(upload, "dir", 0644, 0, FILE_REPLACE, &written, &err),
			 0);
	ck_assert_int_eq(P2P_OK, store_upload_commit(upload, "free", 0644, 0, FILE_KEEP_EXISTING,
						     &written, &err));
	free(written.layer);
	store_upload_free(upload);
}
END_TEST

START_TEST(test_names_of_ours_and_names_outside_are_refused)
{
	static const char *const names[] = {
		"../x", "/x", "a/../b", "", ".p2pd-partial/x", "a//b"
	};
	struct content_id id = id_of("abc", 3);
	struct file_sig sig = { 0 };
	struct store_written written;
	struct store_reader *reader;

	make_temp_dir();
	write_file(STORE_TEMP_DIR "/x", "abc", 3);
	struct store_upload *upload = upload_of("abc", 3);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		ck_assert_int_eq(P2P_BAD_NAME, store_upload_commit(upload, names[i], 0644, 0,
								   FILE_REPLACE, &written, &err));
		ck_assert_int_eq(P2P_BAD_NAME,
				 store_open(store, names[i], &id, &sig, &reader, &err));
		ck_assert_int_eq(P2P_BAD_NAME, store_remove(store, names[i], NULL, &err));
	}
	store_upload_free(upload);
	ck_assert_int_eq(1, count_temp_files());
}
END_TEST

START_TEST(test_sizes_are_held_to_what_was_announced_and_allowed)
{
	struct store_written written;

	ck_assert_ptr_null(store_upload_new(store, 11, 10, 0, &err));
	ck_assert_int_eq(P2P_TOO_LARGE, err.code);
	ck_assert_ptr_null(store_upload_new(store, UINT64_MAX - 1, UINT64_MAX, 0, &err));
	ck_assert_int_eq(P2P_TOO_LARGE, err.code);
	ck_assert_ptr_null(store_upload_new(store, 1, 10, UINT64_MAX, &err));
	ck_assert_int_eq(P2P_NO_SPACE, err.code);

	struct store_upload *upload = store_upload_new(store, 4, 10, 0, &err);
	ck_assert_int_eq(P2P_OK, store_upload_feed(upload, "abc", 3, &err));
	ck_assert_int_eq(P2P_BAD_CONTENT,
			 store_upload_commit(upload, "x", 0644, 0, FILE_REPLACE, &written, &err));
	ck_assert_int_eq(P2P_BAD_CONTENT, store_upload_feed(upload, "de", 2, &err));
	/* After a failed feed it stays failed. */
	ck_assert_int_eq(P2P_BAD_CONTENT,
			 store_upload_commit(upload, "x", 0644, 0, FILE_REPLACE, &written, &err));
	store_upload_free(upload);

	upload = store_upload_new(store, UINT64_MAX, 10, 0, &err);
	ck_assert_int_eq(P2P_TOO_LARGE, store_upload_feed(upload, "0123456789a", 11, &err));
	store_upload_free(upload);
	ck_assert_int_eq(0, count_temp_files());
}
END_TEST

START_TEST(test_a_user_file_is_taken_by_descriptor)
{
	unsigned char *data = make_content(1000001, 3);
	struct content_id id = id_of(data, 1000001);
	struct store_written written;

	write_file("source", data, 1000001);
	int fd = open_in_share("source", O_RDONLY);
	lseek(fd, 12345, SEEK_SET); /* from its beginning, wherever the offset is */
	struct store_upload *upload = store_upload_new(store, UINT64_MAX, 1 << 30, 0, &err);
	ck_assert_int_eq(P2P_OK, store_upload_feed_fd(upload, fd, NULL, &err));
	ck_assert_int_eq(P2P_OK, store_upload_commit(upload, "copy", 0644, 0, FILE_KEEP_EXISTING,
						     &written, &err));
	ck_assert(content_equal(&id, &written.content));
	ck_assert(has_bytes("copy", data, 1000001));
	store_upload_free(upload);
	close(fd);
	free(written.layer);
	free(data);
}
END_TEST

START_TEST(test_an_upload_of_a_user_file_that_nobody_wants_any_more_ends_and_leaves_nothing)
{
	atomic_bool is_abandoned = true;

	write_file("source", "abc", 3);
	int fd = open_in_share("source", O_RDONLY);
	struct store_upload *upload = store_upload_new(store, UINT64_MAX, 1 << 30, 0, &err);
	ck_assert_int_eq(P2P_CANCELLED, store_upload_feed_fd(upload, fd, &is_abandoned, &err));
	store_upload_free(upload);
	ck_assert_int_eq(0, count_temp_files());
	close(fd);
}
END_TEST

START_TEST(test_a_descriptor_of_no_regular_file_is_refused)
{
	int ends[2];

	ck_assert_int_eq(0, pipe(ends));
	struct store_upload *upload = store_upload_new(store, UINT64_MAX, 1 << 30, 0, &err);
	ck_assert_int_eq(P2P_FORBIDDEN, store_upload_feed_fd(upload, ends[0], NULL, &err));
	store_upload_free(upload);
	close(ends[0]);
	close(ends[1]);
}
END_TEST

START_TEST(test_a_file_that_changed_before_opening_is_a_conflict)
{
	struct content_id id = id_of("abc", 3);
	struct store_reader *reader = NULL;
	struct file_sig sig;
	struct stat st;

	write_file("f", "abc", 3);
	fstatat(store_root_fd(store), "f", &st, 0);
	file_sig_of(&st, &sig);
	let_time_pass();
	write_file("f", "abd", 3);
	ck_assert_int_eq(P2P_CONFLICT, store_open(store, "f", &id, &sig, &reader, &err));
	ck_assert_int_eq(P2P_CONFLICT, store_remove(store, "f", &sig, &err));
	ck_assert_int_eq(P2P_NOT_FOUND, store_open(store, "g", &id, &sig, &reader, &err));
	ck_assert_int_eq(0, mkfifoat(store_root_fd(store), "fifo", 0644));
	ck_assert_int_eq(P2P_FORBIDDEN, store_open(store, "fifo", &id, &sig, &reader, &err));
	ck_assert_int_eq(0, symlinkat("f", store_root_fd(store), "link"));
	ck_assert_int_eq(P2P_FORBIDDEN, store_open(store, "link", &id, &sig, &reader, &err));
	ck_assert_ptr_null(reader);
	ck_assert_int_eq(P2P_OK, store_remove(store, "f", NULL, &err));
	ck_assert_int_eq(P2P_NOT_FOUND, store_remove(store, "f", NULL, &err));
}
END_TEST

START_TEST(test_a_reader_notices_bytes_that_may_have_changed)
{
	struct timespec times[2];
	struct stat st;
	int fd;

	for (int way = 0; way < 4; way++) {
		write_file("f", "abcdef", 6);
		struct store_reader *reader = read_now("f", "abcdef", 6);
		ck_assert_int_eq(P2P_OK, store_reader_check(reader));
		let_time_pass();
		fd = open_in_share("f", O_RDWR);
		fstat(fd, &st);
		switch (way) {
		case 0: /* truncated */
			ck_assert_int_eq(0, ftruncate(fd, 3));
			break;
		case 1: /* written */
			ck_assert_int_eq(1, pwrite(fd, "x", 1, 2));
			break;
		case 2: /* grown */
			ck_assert_int_eq(1, pwrite(fd, "x", 1, 6));
			break;
		case 3: /* written, and the time set back */
			ck_assert_int_eq(1, pwrite(fd, "x", 1, 2));
			times[0] = st.st_atim;
			times[1] = st.st_mtim;
			ck_assert_int_eq(0, futimens(fd, times));
			break;
		}
		close(fd);
		ck_assert_int_eq(P2P_CONFLICT, store_reader_check(reader));
		store_reader_unref(reader);
	}
}
END_TEST

START_TEST(test_a_reader_goes_on_with_the_old_bytes_after_replacing_and_removing)
{
	struct store_written written;
	char bytes[3];

	write_file("f", "old", 3);
	struct store_reader *reader = store_reader_ref(read_now("f", "old", 3));
	store_reader_unref(reader);
	let_time_pass();
	struct store_upload *upload = upload_of("new", 3);
	ck_assert_int_eq(P2P_OK,
			 store_upload_commit(upload, "f", 0644, 0, FILE_REPLACE, &written, &err));
	store_upload_free(upload);
	free(written.layer);
	ck_assert_int_eq(P2P_OK, store_reader_check(reader));
	ck_assert_int_eq(P2P_OK, file_pread(reader->fd, bytes, 3, 0, NULL));
	ck_assert_mem_eq("old", bytes, 3);
	store_reader_unref(reader);

	reader = read_now("f", "new", 3);
	ck_assert_int_eq(P2P_OK, store_remove(store, "f", &reader->sig, &err));
	ck_assert_int_eq(P2P_OK, store_reader_check(reader));
	store_reader_unref(reader);
}
END_TEST

START_TEST(test_a_temporary_directory_that_somebody_removed_is_made_again)
{
	make_temp_dir();
	ck_assert_int_eq(0, unlinkat(store_root_fd(store), STORE_TEMP_DIR, AT_REMOVEDIR));
	store_upload_free(upload_of("abc", 3));
}
END_TEST

START_TEST(test_a_write_past_the_file_size_limit_fails_and_leaves_nothing)
{
	struct rlimit limit = { 1 << 20, 1 << 20 };
	unsigned char *data = make_content(2 << 20, 1);
	struct store_written written;

	signal(SIGXFSZ, SIG_IGN);
	struct store_upload *upload = store_upload_new(store, UINT64_MAX, 1 << 30, 0, &err);
	ck_assert_int_eq(0, setrlimit(RLIMIT_FSIZE, &limit));
	ck_assert_int_eq(P2P_IO, store_upload_feed(upload, data, 2 << 20, &err));
	ck_assert_int_eq(P2P_IO, store_upload_feed(upload, "x", 1, &err));
	ck_assert_int_eq(P2P_IO,
			 store_upload_commit(upload, "f", 0644, 0, FILE_REPLACE, &written, &err));
	store_upload_free(upload);
	ck_assert_int_eq(0, count_temp_files());
	free(data);
}
END_TEST

/* True if there is a file system of 1 MiB at the directory, seen by this process alone. */
static bool
mount_small(const char *path, const char *options)
{
	if (unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
	    mount("check_store", path, "tmpfs", 0, options) == 0)
		return true;
	printf("skipped: no small tmpfs in a mount namespace: %s\n", strerror(errno));
	return false;
}

START_TEST(test_a_full_disk_is_no_space_and_the_next_upload_works_once_there_is_room)
{
	unsigned char *data = make_content(2 << 20, 1);
	char path[512];
	struct store_written written;

	snprintf(path, sizeof(path), "%s/small", root);
	ck_assert_int_eq(0, mkdir(path, 0755));
	if (mount_small(path, "size=1m")) {
		struct store *small = store_new(path, &err);
		ck_assert_msg(small != NULL, "%s", err.text);
		ck_assert_ptr_null(store_upload_new(small, 2 << 20, 1 << 30, 0, &err));
		ck_assert_int_eq(P2P_NO_SPACE, err.code);
		struct store_upload *upload = store_upload_new(small, UINT64_MAX, 1 << 30, 0, &err);
		ck_assert_int_eq(P2P_NO_SPACE, store_upload_feed(upload, data, 2 << 20, &err));
		store_upload_free(upload);
		upload = store_upload_new(small, 500000, 1 << 30, 0, &err);
		ck_assert_int_eq(P2P_OK, store_upload_feed(upload, data, 500000, &err));
		ck_assert_int_eq(P2P_OK, store_upload_commit(upload, "f", 0644, 0, FILE_REPLACE,
							     &written, &err));
		store_upload_free(upload);
		free(written.layer);
		/* The reserve is kept from what is written later, too. */
		ck_assert_ptr_null(store_upload_new(small, 100000, 1 << 30, 500000, &err));
		store_free(small);
		umount2(path, MNT_DETACH);
	}
	free(data);
}
END_TEST

START_TEST(test_a_read_only_share_is_served_but_not_written)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/small", root);
	ck_assert_int_eq(0, mkdir(path, 0755));
	if (mount_small(path, "size=1m,ro")) {
		struct store *small = store_new(path, &err);
		ck_assert_msg(small != NULL, "%s", err.text);
		ck_assert_ptr_null(store_upload_new(small, 1, 1, 0, &err));
		ck_assert_int_eq(P2P_FORBIDDEN, err.code);
		store_free(small);
		umount2(path, MNT_DETACH);
	}
}
END_TEST

START_TEST(test_room_is_what_the_reserve_leaves)
{
	uint64_t room = store_room(store, 0);

	ck_assert_uint_gt(room, 0);
	ck_assert_uint_eq(0, store_room(store, UINT64_MAX));
	ck_assert_uint_le(store_room(store, 1 << 20), room);
}
END_TEST

START_TEST(test_a_file_matches_only_its_own_content)
{
	const size_t size = 600000;
	unsigned char *data = make_content(size, 1);
	struct merkle_builder *builder = merkle_builder_new();
	struct content_id content, longer;
	struct digest *layer;
	size_t layer_count;
	struct file_sig sig = { 0 };
	atomic_bool is_stopping = true;

	ck_assert_int_eq(merkle_builder_feed(builder, data, size), P2P_OK);
	merkle_builder_end(builder, &content, &layer, &layer_count);
	merkle_builder_free(builder);
	free(layer);
	longer = content;
	longer.size_bytes++;
	write_file("f", data, size);
	ck_assert_int_eq(store_match(store, "f", &content, NULL, &sig), P2P_OK);
	ck_assert_uint_eq(sig.size_bytes, size);
	ck_assert_int_eq(store_match(store, "f", &content, &is_stopping, NULL), P2P_CANCELLED);
	ck_assert_int_eq(store_match(store, "f", &longer, NULL, NULL), P2P_EXISTS);
	ck_assert_int_eq(store_match(store, "none", &content, NULL, NULL), P2P_NOT_FOUND);
	ck_assert_int_eq(mkdirat(store_root_fd(store), "d", 0755), 0);
	ck_assert_int_eq(store_match(store, "d", &content, NULL, NULL), P2P_EXISTS);
	data[size - 1] ^= 1;
	write_file("f", data, size);
	ck_assert_int_eq(store_match(store, "f", &content, NULL, NULL), P2P_EXISTS);
	free(data);
}
END_TEST

static mode_t
look_of(const char *name, int64_t *ret_mtime_ns)
{
	struct stat st;

	ck_assert_int_eq(fstatat(store_root_fd(store), name, &st, 0), 0);
	*ret_mtime_ns = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
	return st.st_mode & 07777;
}

START_TEST(test_of_a_directory_permissions_are_only_taken_and_none_of_its_owner)
{
	struct directory wanted = { .is_there = true, .mtime_ns = -1500000000, .mode = 0050 },
			 found;
	int64_t mtime_ns;

	ck_assert_int_eq(mkdirat(store_root_fd(store), "d", 0700), 0);
	ck_assert_int_eq(mkdirat(store_root_fd(store), "d/e", 0700), 0);
	ck_assert_int_eq(fchmodat(store_root_fd(store), "d/e", 02775, 0), 0);
	ck_assert_int_eq(store_set_directory(store, "d/e", &wanted, &err), P2P_OK);
	ck_assert_int_eq(look_of("d/e", &mtime_ns), 02750);
	ck_assert_int_eq(mtime_ns, -1500000000);
	ck_assert_int_eq(store_stat_directory(store, "d/e", &found, &err), P2P_OK);
	ck_assert(found.is_there && found.mode == 0750 && found.mtime_ns == -1500000000);
	wanted = (struct directory){ .is_there = true, .mode = 0777 };
	ck_assert_int_eq(store_set_directory(store, "d/e", &wanted, &err), P2P_OK);
	ck_assert_int_eq(look_of("d/e", &mtime_ns), 02750);
	ck_assert_int_eq(mtime_ns, -1500000000); /* 0: it keeps its own */
}
END_TEST

START_TEST(test_no_directory_outside_of_the_share_is_looked_at_or_changed)
{
	static const char *const names[] = { "..",           ".",        "",     "/",
					     "link",         "link/ssh", "d/..", "d//e",
					     STORE_TEMP_DIR, "file",     "d/",   "nobody" };
	struct directory directory = { .is_there = true, .mtime_ns = 5, .mode = 0 };
	int64_t mtime_ns, before_ns;

	ck_assert_int_eq(mkdirat(store_root_fd(store), "d", 0755), 0);
	ck_assert_int_eq(mkdirat(store_root_fd(store), STORE_TEMP_DIR, 0700), 0);
	ck_assert_int_eq(symlinkat("/etc", store_root_fd(store), "link"), 0);
	write_file("file", "x", 1);
	mode_t mode = look_of(".", &before_ns);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		ck_assert_msg(store_stat_directory(store, names[i], &directory, &err) < 0, "%s",
			      names[i]);
		ck_assert_msg(store_set_directory(store, names[i], &directory, &err) < 0, "%s",
			      names[i]);
	}
	ck_assert(directory.mtime_ns == 5); /* untouched */
	ck_assert_int_eq(look_of(".", &mtime_ns), mode);
	ck_assert_int_eq(mtime_ns, before_ns);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("store");
	TCase *reading = tcase_create("reading"), *writing = tcase_create("writing");

	tcase_add_checked_fixture(reading, setup, teardown);
	tcase_add_checked_fixture(writing, setup, teardown);
	tcase_add_test(reading, test_a_file_that_changed_before_opening_is_a_conflict);
	tcase_add_test(reading, test_a_reader_notices_bytes_that_may_have_changed);
	tcase_add_test(reading,
		       test_a_reader_goes_on_with_the_old_bytes_after_replacing_and_removing);
	tcase_add_test(writing, test_nothing_is_made_in_the_share_before_it_is_needed);
	tcase_add_test(writing, test_a_share_that_is_no_longer_at_its_place_is_not_written_to);
	tcase_add_test(writing, test_a_barred_store_is_not_written_to_until_it_is_open_again);
	tcase_add_test(writing, test_the_temporary_directory_is_ours_alone);
	tcase_add_test(writing, test_a_temporary_directory_that_is_a_symlink_is_not_followed);
	tcase_add_test(writing, test_uploads_that_a_crash_left_are_removed_and_nothing_else);
	tcase_add_loop_test(writing, test_an_upload_appears_whole_with_mode_and_time, 0, 7);
	tcase_add_test(writing, test_an_abandoned_upload_leaves_nothing);
	tcase_add_test(
	    writing,
	    test_a_taken_name_is_kept_unless_the_content_is_the_same_or_replacing_is_asked_for);
	tcase_add_test(writing, test_a_directory_or_fifo_at_the_name_is_never_replaced_by_accident);
	tcase_add_test(writing, test_names_of_ours_and_names_outside_are_refused);
	tcase_add_test(writing, test_sizes_are_held_to_what_was_announced_and_allowed);
	tcase_add_test(writing, test_a_user_file_is_taken_by_descriptor);
	tcase_add_test(
	    writing,
	    test_an_upload_of_a_user_file_that_nobody_wants_any_more_ends_and_leaves_nothing);
	tcase_add_test(writing, test_a_descriptor_of_no_regular_file_is_refused);
	tcase_add_test(writing, test_a_temporary_directory_that_somebody_removed_is_made_again);
	tcase_add_test(writing, test_a_write_past_the_file_size_limit_fails_and_leaves_nothing);
	tcase_add_test(writing,
		       test_a_full_disk_is_no_space_and_the_next_upload_works_once_there_is_room);
	tcase_add_test(writing, test_a_read_only_share_is_served_but_not_written);
	tcase_add_test(writing, test_room_is_what_the_reserve_leaves);
	tcase_add_test(writing, test_a_file_matches_only_its_own_content);
	tcase_add_test(writing,
		       test_of_a_directory_permissions_are_only_taken_and_none_of_its_owner);
	tcase_add_test(writing, test_no_directory_outside_of_the_share_is_looked_at_or_changed);
	suite_add_tcase(suite, reading);
	suite_add_tcase(suite, writing);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
