/* SPDX-License-Identifier: MIT
 *
 * check_indexer.c - the catalog follows the share, with all the real modules, in a temporary
 * directory.
 *
 * The test is the mind: it turns the loop until what it waits for is so, or WAIT_MS are over.  That
 * something does not happen is shown by a file put there later that has appeared meanwhile, or by a
 * whole scan.  Everything that the catalog ever commits passes by on_commit(), which knows what
 * must never be seen.
 */
#include "indexer.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "clock.h"
#include "mem.h"

#define WAIT_MS   30000
#define SETTLE_MS 100
#define SELF      "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static char top[256], share[300], state[300], outside[300];
static struct loop *loop;
static struct pool *pool;
static struct store *store;
static struct catalog *catalog;
static struct events *events;
static struct events_listener *listener;
static struct indexer *indexer;
static struct config config;

/* A size that no committed file may have, and the only one that `whole_name` may have. */
static uint64_t forbidden_bytes;
static uint32_t settle_ms;
static const char *whole_name;
static uint64_t whole_bytes;
static char *last_trouble;

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

	snprintf(top, sizeof(top), "%s/check_indexer.XXXXXX", tmp != NULL ? tmp : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(top));
	snprintf(share, sizeof(share), "%s/share", top);
	snprintf(state, sizeof(state), "%s/state", top);
	snprintf(outside, sizeof(outside), "%s/outside", top);
	ck_assert_int_eq(0, mkdir(share, 0755));
	ck_assert_int_eq(0, mkdir(state, 0755));
	ck_assert_int_eq(0, mkdir(outside, 0755));
	log_open(LOG_LEVEL_ERROR);
	forbidden_bytes = UINT64_MAX;
	settle_ms = SETTLE_MS;
}

static void
on_commit(void *arg, const struct catalog_commit *commit)
{
	(void)arg;
	for (size_t i = 0; i < commit->count; i++) {
		const struct catalog_told *told = &commit->told[i];
		if (told->kind == CATALOG_REMOVED)
			continue;
		ck_assert_msg(told->content.size_bytes != forbidden_bytes, "%s", told->name);
		if (whole_name != NULL && strcmp(told->name, whole_name) == 0)
			ck_assert_uint_eq(whole_bytes, told->content.size_bytes);
	}
}

static void
on_event(void *arg, struct event *event)
{
	(void)arg;
	if (event->kind != EVENT_INDEX_TROUBLE)
		return;
	free(last_trouble);
	last_trouble = mem_string(event->text);
}

static void
start(void)
{
	struct error err = { 0 };
	char *set_aside;

	config = (struct config){ .share_directory = share, .share_settle_ms = settle_ms };
	loop = loop_new(&err);
	pool = pool_new(loop, 2);
	store = store_new(share, &err);
	ck_assert_msg(store != NULL, "%s", err.text);
	catalog = catalog_new(loop, state, SELF, &set_aside, &err);
	ck_assert_msg(catalog != NULL, "%s", err.text);
	catalog_on_commit(catalog, on_commit, NULL);
	events = events_new();
	listener = events_listen(events, 0, on_event, NULL);
	indexer = indexer_new(loop, pool, store, catalog, events, &config);
	indexer_start(indexer);
}

/* The way down as main() goes it. */
static void
stop(void)
{
	if (indexer == NULL)
		return;
	indexer_stop(indexer);
	pool_free(pool);
	indexer_free(indexer);
	catalog_free(catalog);
	loop_free(loop);
	events_listener_free(listener);
	events_free(events);
	store_free(store);
	indexer = NULL;
}

static void
teardown(void)
{
	stop();
	free(last_trouble);
	nftw(top, remove_entry, 32, FTW_DEPTH | FTW_PHYS);
}

static struct indexer_status
status(void)
{
	struct indexer_status ret;

	indexer_status(indexer, &ret);
	return ret;
}

/* Turns the loop until `condition` holds. */
#define wait_until(condition)                                                               \
	do {                                                                                \
		uint64_t end_ = clock_ms() + WAIT_MS;                                       \
		while (!(condition)) {                                                      \
			ck_assert_msg(clock_ms() < end_, "waited in vain for " #condition); \
			loop_turn(loop, 10);                                                \
		}                                                                           \
	} while (0)

static void
start_and_index(void)
{
	start();
	wait_until(status().is_ready);
}

static void
scan_again(void)
{
	wait_until(!status().is_scanning);
	uint64_t scans = status().scans;
	indexer_rescan(indexer);
	wait_until(status().scans > scans && status().queued_files == 0);
}

/* --- the share --- */

static const char *
path_of(const char *directory, const char *name)
{
	static _Thread_local char paths[4][2048];
	static _Thread_local unsigned next;
	char *path = paths[next++ % 4];

	snprintf(path, sizeof(paths[0]), "%s/%s", directory, name);
	return path;
}

static unsigned char *
make_content(size_t size, unsigned seed)
{
	unsigned char *data = mem_alloc(size + 1);

	for (size_t i = 0; i < size; i++)
		data[i] = (unsigned char)((i * 2654435761u + seed * 40503u) >> 13);
	return data;
}

static void
write_path(const char *path, size_t size, unsigned seed)
{
	unsigned char *data = make_content(size, seed);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	ck_assert_msg(fd >= 0, "%s: %s", path, strerror(errno));
	ck_assert_int_eq((ssize_t)size, write(fd, data, size));
	close(fd);
	free(data);
}

static void
write_file(const char *name, size_t size, unsigned seed)
{
	write_path(path_of(share, name), size, seed);
}

static void
make_directory(const char *name)
{
	ck_assert_int_eq(0, mkdir(path_of(share, name), 0755));
}

static void
move(const char *from, const char *to)
{
	ck_assert_int_eq(0, rename(path_of(share, from), path_of(share, to)));
}

/* --- the catalog --- */

static bool
is_known(const char *name)
{
	struct catalog_local local;

	return catalog_find_local(catalog, name, &local) == P2P_OK;
}

/* True if the catalog has the name with this content, and the layer of it. */
static bool
has(const char *name, size_t size, unsigned seed)
{
	struct catalog_local local;
	if (catalog_find_local(catalog, name, &local) != P2P_OK)
		return false;

	unsigned char *data = make_content(size, seed);
	struct merkle_builder *builder = merkle_builder_new();
	struct content_id id;
	struct digest *layer, *found = NULL;
	size_t count, found_count = 0;
	merkle_builder_feed(builder, data, size);
	merkle_builder_end(builder, &id, &layer, &count);
	merkle_builder_free(builder);
	free(data);

	bool is_same = content_equal(&id, &local.content);
	if (is_same && count > 1) {
		ck_assert_int_eq(P2P_OK, catalog_layer(catalog, &id, &found, &found_count));
		ck_assert_uint_eq(count, found_count);
		ck_assert_mem_eq(layer, found, count * sizeof(*layer));
	}
	free(layer);
	free(found);
	return is_same;
}

/* Puts a file there and waits until it is known: whatever came before it has had its chance. */
static void
pass_barrier(void)
{
	static unsigned count;
	char name[32];

	snprintf(name, sizeof(name), "barrier-%u", count++);
	write_file(name, 10, count);
	wait_until(is_known(name));
}

struct why {
	const char *name, *part;
	bool is_found;
};

static void
find_why(void *arg, const char *name, const char *why)
{
	struct why *wanted = arg;

	if (strcmp(name, wanted->name) == 0 && strstr(why, wanted->part) != NULL)
		wanted->is_found = true;
}

static bool
is_unshareable(const char *name, const char *part_of_why)
{
	struct why wanted = { name, part_of_why, false };

	indexer_unshareable(indexer, find_why, &wanted);
	return wanted.is_found;
}

/* --- scans --- */

START_TEST(test_what_is_there_at_start_is_in_the_catalog_when_ready)
{
	make_directory("a");
	make_directory("a/x");
	write_file("a.txt", 100, 1);
	write_file("a/x/empty", 0, 0);
	write_file("a/one leaf", 16384, 2);
	write_file("a0", 65537, 3);
	write_file("pieces", 5 << 20, 4);
	write_file("large", (70 << 20) + 12345, 5);
	start_and_index();

	ck_assert(has("a.txt", 100, 1));
	ck_assert(has("a/x/empty", 0, 0));
	ck_assert(has("a/one leaf", 16384, 2));
	ck_assert(has("a0", 65537, 3));
	ck_assert(has("pieces", 5 << 20, 4));
	ck_assert(has("large", (70 << 20) + 12345, 5));
	struct catalog_head head;
	catalog_head(catalog, &head);
	ck_assert_uint_eq(6, head.file_count);
	ck_assert_uint_eq(6, status().hashed_files);
	ck_assert_uint_eq(head.byte_count, status().hashed_bytes);
	ck_assert_ptr_null(status().trouble);
}
END_TEST

START_TEST(test_what_was_just_written_is_in_the_catalog_when_ready)
{
	settle_ms = 400;
	write_file("large", 9 << 20, 1);
	start_and_index();
	stop();
	unlink(path_of(share, "large"));
	write_file("large", 9 << 20, 2);
	/* Soon enough for the clock that ticks to be waited for before it. */
	start_and_index();
	ck_assert(has("large", 9 << 20, 2));
}
END_TEST

START_TEST(test_a_restart_with_an_unchanged_share_reads_no_bytes)
{
	make_directory("d");
	write_file("d/one", 1000, 1);
	write_file("d.two", 20 << 20, 2);
	start_and_index();
	stop();
	start_and_index();
	scan_again();
	ck_assert_uint_eq(0, status().hashed_bytes);
	ck_assert_uint_eq(0, status().hashed_files);
	ck_assert(has("d/one", 1000, 1));
	ck_assert(has("d.two", 20 << 20, 2));
}
END_TEST

START_TEST(test_what_changed_while_we_were_away_is_found)
{
	make_directory("d");
	make_directory("e");
	write_file("d/changed", 1000, 1);
	write_file("d/gone", 1000, 2);
	write_file("e/gone too", 1000, 3);
	write_file("same", 1000, 4);
	start_and_index();
	stop();
	write_file("d/changed", 1000, 5);
	write_file("d/new", 1000, 6);
	unlink(path_of(share, "d/gone"));
	unlink(path_of(share, "e/gone too"));
	rmdir(path_of(share, "e"));
	start_and_index();
	wait_until(has("d/changed", 1000, 5) && has("d/new", 1000, 6));
	ck_assert(!is_known("d/gone"));
	ck_assert(!is_known("e/gone too"));
	ck_assert_uint_eq(2000, status().hashed_bytes);
}
END_TEST

START_TEST(test_more_files_than_one_step_of_a_scan_tells)
{
	char name[32];

	make_directory("many");
	for (int i = 0; i < 5000; i++) {
		snprintf(name, sizeof(name), "many/%d", i);
		write_file(name, (size_t)i % 7, 1);
	}
	start_and_index();
	struct catalog_head head;
	catalog_head(catalog, &head);
	ck_assert_uint_eq(5000, head.file_count);
	stop();
	for (int i = 0; i < 5000; i++) {
		snprintf(name, sizeof(name), "many/%d", i);
		unlink(path_of(share, name));
	}
	write_file("left", 1, 1);
	start_and_index();
	wait_until(is_known("left"));
	catalog_head(catalog, &head);
	ck_assert_uint_eq(1, head.file_count);
}
END_TEST

START_TEST(test_what_cannot_be_shared_is_listed_and_stops_nothing)
{
	char deep[200] = "deep";
	make_directory(deep);
	for (int i = 0; i < 16; i++) {
		strcat(deep, "/d");
		make_directory(deep);
	}
	strcat(deep, "/file");
	write_file(deep, 10, 1);
	write_file("good", 10, 2);
	write_file("bad\nname", 10, 3);
	write_file("bad\xff", 10, 3);
	make_directory("bad\tdirectory");
	write_file("bad\tdirectory/file", 10, 3);
	write_file(".p2pd-mine", 10, 3);
	ck_assert_int_eq(0, mkfifo(path_of(share, "fifo"), 0644));
	ck_assert_int_eq(0, symlink(share, path_of(share, "link")));
	if (geteuid() == 0 && mknod(path_of(share, "null"), S_IFCHR | 0666, makedev(1, 3)) == 0)
		write_file("is root", 10, 4);
	start_and_index();

	ck_assert(has("good", 10, 2));
	ck_assert(!is_known("link/good"));
	ck_assert(is_unshareable("bad\nname", ""));
	ck_assert(is_unshareable("bad\xff", "UTF-8"));
	ck_assert(is_unshareable("bad\tdirectory/", ""));
	ck_assert(is_unshareable("fifo", "FIFO"));
	ck_assert(is_unshareable("link", "symbolic link"));
	ck_assert(is_unshareable("deep/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/", "deep"));
	ck_assert(!is_unshareable(".p2pd-mine", ""));
	ck_assert(!is_known("is root") || is_unshareable("null", "device"));
	ck_assert_uint_eq(6 + is_known("is root"), status().unshareable);

	/* And by events, there and gone again. */
	ck_assert_int_eq(0, mkfifo(path_of(share, "fifo 2"), 0644));
	wait_until(is_unshareable("fifo 2", "FIFO"));
	unlink(path_of(share, "fifo 2"));
	wait_until(!is_unshareable("fifo 2", ""));
	unlink(path_of(share, "bad\tdirectory/file"));
	rmdir(path_of(share, "bad\tdirectory"));
	wait_until(!is_unshareable("bad\tdirectory/", ""));
}
END_TEST

START_TEST(test_a_file_without_permission_is_listed_until_it_has_it)
{
	if (geteuid() == 0) {
		const char *paths[] = { top, share, state };
		for (int i = 0; i < 3; i++)
			ck_assert_int_eq(0, chown(paths[i], 65534, 65534));
		ck_assert_int_eq(0, setresgid(65534, 65534, 65534));
		ck_assert_int_eq(0, setresuid(65534, 65534, 65534));
	}
	write_file("secret", 10, 1);
	write_file("open", 10, 2);
	make_directory("closed");
	write_file("closed/file", 10, 3);
	chmod(path_of(share, "secret"), 0);
	chmod(path_of(share, "closed"), 0);
	start_and_index();
	wait_until(is_unshareable("secret", "ermission"));
	ck_assert(is_unshareable("closed/", "ermission"));
	ck_assert(has("open", 10, 2));
	scan_again();
	ck_assert(is_unshareable("secret", "ermission"));
	chmod(path_of(share, "secret"), 0644);
	chmod(path_of(share, "closed"), 0755);
	wait_until(has("secret", 10, 1) && has("closed/file", 10, 3));
	ck_assert_uint_eq(0, status().unshareable);
	chmod(path_of(share, "secret"), 0);
	wait_until(!is_known("secret"));
}
END_TEST

/* --- events --- */

START_TEST(test_a_file_that_appears_changes_moves_and_goes_is_followed)
{
	start_and_index();
	write_file("file", 1000, 1);
	wait_until(has("file", 1000, 1));
	write_file("file", 1000, 2);
	wait_until(has("file", 1000, 2));
	ck_assert_int_eq(0, chmod(path_of(share, "file"), 0600));
	struct catalog_local local;
	wait_until(catalog_find_local(catalog, "file", &local) == P2P_OK && local.mode == 0600);
	move("file", "moved");
	wait_until(has("moved", 1000, 2) && !is_known("file"));
	ck_assert_int_eq(0, link(path_of(share, "moved"), path_of(share, "linked")));
	wait_until(has("linked", 1000, 2));
	unlink(path_of(share, "moved"));
	wait_until(!is_known("moved"));
	write_path(path_of(outside, "in"), 500, 3);
	ck_assert_int_eq(0, rename(path_of(outside, "in"), path_of(share, "in")));
	wait_until(has("in", 500, 3));
	ck_assert_int_eq(0, truncate(path_of(share, "in"), 400));
	wait_until(has("in", 400, 3));
}
END_TEST

START_TEST(test_directories_that_appear_move_and_go_are_followed)
{
	start_and_index();
	make_directory("a");
	make_directory("a/b");
	write_file("a/b/early", 10, 1);
	wait_until(has("a/b/early", 10, 1));
	write_file("a/b/late", 10, 2);
	wait_until(has("a/b/late", 10, 2));

	move("a", "z");
	wait_until(has("z/b/early", 10, 1) && has("z/b/late", 10, 2));
	wait_until(!is_known("a/b/early") && !is_known("a/b/late"));
	write_file("z/b/later", 10, 3);
	wait_until(has("z/b/later", 10, 3));

	ck_assert_int_eq(0, rename(path_of(share, "z/b"), path_of(outside, "b")));
	wait_until(!is_known("z/b/early") && !is_known("z/b/later"));
	write_path(path_of(outside, "b/not ours"), 10, 4);
	ck_assert_int_eq(0, rename(path_of(outside, "b"), path_of(share, "c")));
	wait_until(has("c/early", 10, 1) && has("c/not ours", 10, 4));
	ck_assert(!is_known("z/b/not ours"));

	nftw(path_of(share, "c"), remove_entry, 16, FTW_DEPTH | FTW_PHYS);
	wait_until(!is_known("c/early") && !is_known("c/not ours"));
	struct catalog_head head;
	catalog_head(catalog, &head);
	ck_assert_uint_eq(0, head.file_count);
}
END_TEST

/* Writes `whole_name` in steps, each longer apart than the settle time is long. */
static void *
write_slowly(void *arg)
{
	int fd = *(int *)arg;
	unsigned char *data = make_content(whole_bytes, 1);
	struct timespec pause = { .tv_nsec = SETTLE_MS * 1500000L };

	for (uint64_t done = 0; done < whole_bytes; done += whole_bytes / 8) {
		ck_assert_int_ge(write(fd, data + done, whole_bytes / 8), 0);
		nanosleep(&pause, NULL);
	}
	close(fd);
	free(data);
	return NULL;
}

START_TEST(test_a_file_that_is_written_in_small_steps_is_only_offered_whole)
{
	pthread_t writer;

	whole_name = "slow";
	whole_bytes = 8000;
	/* Once from before the start, and so found by the scan; once under our eyes. */
	int fd = open(path_of(share, "slow"), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	if (_i == 0)
		start();
	else
		start_and_index();
	pthread_create(&writer, NULL, write_slowly, &fd);
	wait_until(has("slow", 8000, 1));
	pthread_join(writer, NULL);
	ck_assert_uint_eq(1, status().hashed_files);
}
END_TEST

START_TEST(test_a_file_that_is_held_open_for_writing_waits_for_its_close)
{
	start_and_index();
	int fd = open(path_of(share, "open"), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	ck_assert_int_eq(4, write(fd, "half", 4));
	pass_barrier();
	pass_barrier();
	scan_again();
	ck_assert(!is_known("open"));
	close(fd);
	wait_until(is_known("open"));
}
END_TEST

START_TEST(test_a_file_that_is_closed_is_known_long_before_the_settle_time_is_over)
{
	settle_ms = 10 * WAIT_MS;
	start_and_index();
	write_file("closed", 100, 1);
	wait_until(has("closed", 100, 1));
	write_path(path_of(outside, "moved"), 100, 2);
	ck_assert_int_eq(0, rename(path_of(outside, "moved"), path_of(share, "moved")));
	wait_until(has("moved", 100, 2));
	/* But the next change so soon after it is one of many, perhaps. */
	write_file("closed", 200, 3);
	pass_barrier();
	pass_barrier();
	ck_assert(has("closed", 100, 1));
}
END_TEST

static void *
open_and_close(void *arg)
{
	const atomic_bool *is_over = arg;

	while (!atomic_load(is_over)) {
		int fd = open(path_of(share, "busy"), O_WRONLY | O_CLOEXEC);
		ck_assert_int_ge(fd, 0);
		close(fd);
	}
	return NULL;
}

START_TEST(test_a_writer_that_comes_while_we_ask_for_one_is_no_harm)
{
	pthread_t thread;
	atomic_bool is_over = false;

	write_file("busy", 100, 1);
	start_and_index();
	pthread_create(&thread, NULL, open_and_close, &is_over);
	uint64_t files = status().hashed_files;
	for (unsigned i = 0; i < 20; i++) {
		pass_barrier();
		write_file("busy2", 100, i);
	}
	wait_until(status().hashed_files > files + 20);
	atomic_store(&is_over, true);
	pthread_join(thread, NULL);
	wait_until(has("busy", 100, 1));
}
END_TEST

START_TEST(test_a_held_name_is_left_to_its_writer)
{
	start_and_index();
	indexer_hold(indexer, "held");
	indexer_hold(indexer, "held");
	write_file("held", 10, 1);
	pass_barrier();
	scan_again();
	ck_assert(!is_known("held"));
	indexer_release(indexer, "held");
	pass_barrier();
	ck_assert(!is_known("held"));
	indexer_release(indexer, "held");
	wait_until(has("held", 10, 1));

	indexer_hold(indexer, "nothing");
	indexer_release(indexer, "nothing");
	pass_barrier();
	ck_assert(!is_known("nothing"));
}
END_TEST

START_TEST(test_lost_events_are_made_up_for_by_a_scan)
{
	start_and_index();
	write_file("goes", 10, 1);
	wait_until(is_known("goes"));
	/* The mind is away meanwhile; the kernel keeps 16,384 events by default. */
	for (unsigned i = 0; i < 9000; i++) {
		move("goes", "came");
		move("came", "goes");
	}
	write_file("after", 10, 2);
	move("goes", "came");
	wait_until(last_trouble != NULL);
	ck_assert_ptr_nonnull(strstr(last_trouble, "fs.inotify.max_queued_events"));
	wait_until(has("after", 10, 2) && has("came", 10, 1) && !is_known("goes"));
	wait_until(status().trouble == NULL);
}
END_TEST

START_TEST(test_too_few_watches_are_told_once_and_scans_go_on)
{
	/* A user namespace has a limit of its own. */
	if (unshare(CLONE_NEWUSER) != 0)
		return;
	int fd = open("/proc/sys/user/max_inotify_watches", O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, "2", 1) != 1)
		return;
	close(fd);
	make_directory("a");
	make_directory("b");
	make_directory("c");
	write_file("c/file", 10, 1);
	start_and_index();
	ck_assert(has("c/file", 10, 1));
	ck_assert_ptr_nonnull(status().trouble);
	ck_assert_ptr_nonnull(strstr(status().trouble, "fs.inotify.max_user_watches"));
	ck_assert_ptr_nonnull(last_trouble);
	free(last_trouble);
	last_trouble = NULL;
	write_file("c/new", 10, 2);
	scan_again();
	wait_until(has("c/new", 10, 2));
	ck_assert_ptr_null(last_trouble);
}
END_TEST

/* --- swaps and vanishing --- */

START_TEST(test_a_file_or_directory_that_becomes_a_symlink_is_removed)
{
	forbidden_bytes = 777;
	write_path(path_of(outside, "file"), 777, 9);
	make_directory("d");
	write_file("d/file", 10, 1);
	write_file("file", 10, 2);
	start_and_index();
	unlink(path_of(share, "file"));
	ck_assert_int_eq(0, symlink(path_of(outside, "file"), path_of(share, "file")));
	ck_assert_int_eq(0, rename(path_of(share, "d"), path_of(top, "d")));
	ck_assert_int_eq(0, symlink(outside, path_of(share, "d")));
	wait_until(!is_known("file") && !is_known("d/file"));
	wait_until(is_unshareable("file", "link") && is_unshareable("d", "link"));
	scan_again();
	ck_assert(!is_known("file") && !is_known("d/file"));
}
END_TEST

static void *
swap(void *arg)
{
	const atomic_bool *is_over = arg;
	char real[400], link[400];

	snprintf(real, sizeof(real), "%s/d", share);
	snprintf(link, sizeof(link), "%s/l", share);
	while (!atomic_load(is_over))
		ck_assert_int_eq(0, renameat2(AT_FDCWD, real, AT_FDCWD, link, RENAME_EXCHANGE));
	return NULL;
}

/* The mind goes on for so many steps while the directory is away: its coming back falls between the look that finds its file gone, the
 * commit of that, and the scans on either side. */
START_TEST(test_a_directory_that_is_soon_back_loses_no_file)
{
	make_directory("d");
	write_file("d/file", 10, 1);
	start_and_index();
	for (unsigned i = 0; i < 72; i++) {
		ck_assert_int_eq(0, rename(path_of(share, "d"), path_of(outside, "d")));
		for (unsigned steps = i % 24; steps > 0; steps--)
			loop_turn(loop, 1);
		ck_assert_int_eq(0, rename(path_of(outside, "d"), path_of(share, "d")));
		pass_barrier();
		wait_until(!status().is_scanning && status().queued_files == 0);
		wait_until(has("d/file", 10, 1));
	}
}
END_TEST

START_TEST(test_a_directory_that_is_swapped_with_a_symlink_leads_nowhere)
{
	pthread_t thread;
	atomic_bool is_over = false;

	forbidden_bytes = 777;
	write_path(path_of(outside, "file"), 777, 9);
	make_directory("d");
	write_file("d/file", 10, 1);
	ck_assert_int_eq(0, symlink(outside, path_of(share, "l")));
	start();
	pthread_create(&thread, NULL, swap, &is_over);
	for (unsigned i = 0; i < 100; i++) {
		indexer_rescan(indexer);
		uint64_t scans = status().scans;
		wait_until(status().scans > scans);
	}
	atomic_store(&is_over, true);
	pthread_join(thread, NULL);

	struct stat st;
	ck_assert_int_eq(0, lstat(path_of(share, "d"), &st));
	bool is_swapped = S_ISLNK(st.st_mode);
	wait_until(has(is_swapped ? "l/file" : "d/file", 10, 1));
	wait_until(!is_known(is_swapped ? "d/file" : "l/file"));
}
END_TEST

START_TEST(test_a_share_whose_mount_is_missing_keeps_its_catalog)
{
	/* Only root can mount, and not everywhere. */
	if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
	    mount("none", share, "tmpfs", 0, NULL) != 0)
		return;
	write_file("file", 10, 1);
	start_and_index();
	stop();
	ck_assert_int_eq(0, umount2(share, MNT_DETACH));
	start();
	wait_until(status().trouble != NULL);
	ck_assert_ptr_nonnull(strstr(status().trouble, "mounted"));
	ck_assert(is_known("file"));
	ck_assert(!status().is_ready);
}
END_TEST

START_TEST(test_a_full_disk_under_the_catalog_is_told_and_healed)
{
	/* Only root can mount, and not everywhere. */
	if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
	    mount("none", state, "tmpfs", 0, "size=1m") != 0)
		return;
	start_and_index();
	char block[4096] = { 1 };
	int fd = open(path_of(state, "filler"), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	while (write(fd, block, sizeof(block)) > 0)
		;
	close(fd);
	char name[300];
	for (int i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "%0200d", i);
		write_file(name, 10, 1);
	}
	wait_until(status().trouble != NULL);
	ck_assert_ptr_nonnull(strstr(status().trouble, "catalog"));
	unlink(path_of(state, "filler"));
	ck_assert_int_eq(0, mount("none", state, NULL, MS_REMOUNT, "size=64m"));
	struct catalog_head head;
	wait_until((catalog_head(catalog, &head), head.file_count == 1000));
	wait_until(status().trouble == NULL);
	stop();
	umount2(state, MNT_DETACH);
}
END_TEST

START_TEST(test_a_share_that_is_moved_away_or_removed_is_trouble)
{
	write_file("file", 10, 1);
	start_and_index();
	ck_assert_int_eq(0, rename(share, path_of(top, "elsewhere")));
	scan_again();
	ck_assert_ptr_nonnull(strstr(status().trouble, "no longer the directory"));
	ck_assert(has("file", 10, 1));
	ck_assert_int_eq(0, rename(path_of(top, "elsewhere"), share));
	scan_again();
	ck_assert_ptr_null(status().trouble);
	nftw(share, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
	indexer_rescan(indexer);
	wait_until(status().trouble != NULL);
	ck_assert_ptr_nonnull(strstr(status().trouble, "was removed"));
}
END_TEST

/* Between the moments of a stop, in turns of the loop; a sanitizer makes each take long. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define STOPS_STEP 5
#else
#define STOPS_STEP 1
#endif

START_TEST(test_stopping_in_the_middle_loses_nothing)
{
	char name[32];

	for (int i = 0; i < 300; i++) {
		snprintf(name, sizeof(name), "%d", i);
		write_file(name, 1000, (unsigned)i);
	}
	write_file("large", 60 << 20, 1);
	start();
	for (int i = 0; i < _i * STOPS_STEP; i++)
		loop_turn(loop, 5);
	stop();
	start_and_index();
	wait_until(has("large", 60 << 20, 1));
	struct catalog_head head;
	catalog_head(catalog, &head);
	ck_assert_uint_eq(301, head.file_count);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("indexer");
	TCase *scans = tcase_create("scans");
	TCase *news = tcase_create("events");
	TCase *swaps = tcase_create("swaps");
	TCase *cases[] = { scans, news, swaps };

	for (int i = 0; i < 3; i++) {
		tcase_add_checked_fixture(cases[i], setup, teardown);
		tcase_set_timeout(cases[i], 120);
		suite_add_tcase(suite, cases[i]);
	}
	tcase_add_test(scans, test_what_is_there_at_start_is_in_the_catalog_when_ready);
	tcase_add_test(scans, test_what_was_just_written_is_in_the_catalog_when_ready);
	tcase_add_test(scans, test_a_restart_with_an_unchanged_share_reads_no_bytes);
	tcase_add_test(scans, test_what_changed_while_we_were_away_is_found);
	tcase_add_test(scans, test_more_files_than_one_step_of_a_scan_tells);
	tcase_add_test(scans, test_what_cannot_be_shared_is_listed_and_stops_nothing);
	tcase_add_test(scans, test_a_file_without_permission_is_listed_until_it_has_it);
	tcase_add_loop_test(scans, test_stopping_in_the_middle_loses_nothing, 0, 20 / STOPS_STEP);
	tcase_add_test(news, test_a_file_that_appears_changes_moves_and_goes_is_followed);
	tcase_add_test(news, test_directories_that_appear_move_and_go_are_followed);
	tcase_add_loop_test(news, test_a_file_that_is_written_in_small_steps_is_only_offered_whole,
			    0, 2);
	tcase_add_test(news,
		       test_a_file_that_is_closed_is_known_long_before_the_settle_time_is_over);
	tcase_add_test(news, test_a_file_that_is_held_open_for_writing_waits_for_its_close);
	tcase_add_test(news, test_a_writer_that_comes_while_we_ask_for_one_is_no_harm);
	tcase_add_test(news, test_a_held_name_is_left_to_its_writer);
	tcase_add_test(news, test_lost_events_are_made_up_for_by_a_scan);
	tcase_add_test(news, test_too_few_watches_are_told_once_and_scans_go_on);
	tcase_add_test(swaps, test_a_file_or_directory_that_becomes_a_symlink_is_removed);
	tcase_add_test(swaps, test_a_directory_that_is_soon_back_loses_no_file);
	tcase_add_test(swaps, test_a_directory_that_is_swapped_with_a_symlink_leads_nowhere);
	tcase_add_test(swaps, test_a_share_whose_mount_is_missing_keeps_its_catalog);
	tcase_add_test(swaps, test_a_full_disk_under_the_catalog_is_told_and_healed);
	tcase_add_test(swaps, test_a_share_that_is_moved_away_or_removed_is_trouble);

	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
