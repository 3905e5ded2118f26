/* SPDX-License-Identifier: MIT
 *
 * check_peers_sim.c - what a network costs and how fast it agrees, with many peers on a simulated network.
 *
 * Each size of a network has two lives.  In a good one it comes together, is idle, files change, some miss one of the others, one more
 * peer joins.  In a hard one, one dies and comes back, it is cut in two and heals, and one cannot reach another.  At the end every
 * catalog must be the truth, entry by entry.  Two, for libcheck takes no test that lasts longer than 2,147 s.  What is found is printed; the thresholds are what was promised.  Every run is the same as the last, so they do not
 * fail by chance.
 *
 * How it grows with the number n of peers, by what was printed for 16 to 1,000 (tests/bench/README.md has the figures):
 *  - idle, a peer sends the same whatever n is; and of a change, once not all are told directly (PEERS_DIRECT_MAX);
 *  - to come together costs each peer a greeting and a pull for each other, which is n; all together n * n, like this simulation;
 *  - whom somebody misses he is told of by one of his next greetings, whatever n is;
 *  - half of the catalogs have a change a little later for each time that n doubles; the last one, if no notice reaches it, hears of
 *    it by a greeting, within seconds;
 *  - memory and disk of a peer are n times the entry of a peer and the entries of its files, beside what n does not change.
 *
 * PEERS_SIM_PEERS in the environment is the one size to be looked at instead, CK_RUN_CASE (good, hard) the one life; TMPDIR in memory
 * makes that faster.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "mem.h"
#include "peers_sim.h"
#include "peers_sim_catalog.h"
#include "peers_sim_clock.h"
#include "peers_sim_wire.h"

#define SECOND SIM_SECOND_MS
#define MINUTE SIM_MINUTE_MS

#define CASE_S           3600 /* a thousand peers, on a busy machine */
#define MEETING_MESSAGES 6    /* of each peer, for each other */
#define CHANGES          20
#define CHANGED          100 /* peers whose files change while the network is cut, about */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define LARGE 20
#else
#define LARGE 72
#endif

/* A network in the midst of its life. */
struct life {
	struct peers_sim *sim;
	size_t count;    /* the last one joins late */
	double idle_bps; /* bytes a second that each peer sends, in the mean */
};

static bool
is_meshed(struct peers_sim *sim, void *arg)
{
	(void)arg;
	return peers_sim_is_meshed(sim);
}

static bool
is_parted(struct peers_sim *sim, void *arg)
{
	(void)arg;
	return peers_sim_is_parted(sim);
}

static bool
is_equal(struct peers_sim *sim, void *arg)
{
	(void)arg;
	return peers_sim_is_equal(sim);
}

static bool
is_missed_by_all(struct peers_sim *sim, void *peer)
{
	return peers_sim_not_away(sim, *(size_t *)peer) == 0;
}

/* Seconds until all know all, and until all have the files of all. */
struct agreement {
	double meshed_s, equal_s;
};

static struct agreement
wait_for_agreement(struct life *life)
{
	uint64_t meshed_ms = peers_sim_run(life->sim, 10 * MINUTE, is_meshed, NULL);
	uint64_t equal_ms = peers_sim_run(life->sim, 10 * MINUTE, is_equal, NULL);

	ck_assert_uint_lt(meshed_ms, 10 * MINUTE);
	ck_assert_uint_lt(equal_ms, 10 * MINUTE);
	return (struct agreement){ (double)meshed_ms / 1000,
				   (double)(meshed_ms + equal_ms) / 1000 };
}

/* What all sent since the last call. */
static struct sim_traffic
take_traffic(struct life *life, uint64_t *ret_most_bytes)
{
	struct sim_traffic all = { 0 };
	uint64_t most = 0;

	for (size_t i = 0; i < life->count; i++) {
		struct sim_traffic sent = peers_sim_sent(life->sim, i);

		all.bytes += sent.bytes;
		all.messages += sent.messages;
		most = sent.bytes > most ? sent.bytes : most;
	}
	if (ret_most_bytes != NULL)
		*ret_most_bytes = most;
	return all;
}

/* --- the chapters of a life --- */

/* All start within a second. */
static void
come_together(struct life *life)
{
	size_t count = life->count - 1;

	for (size_t i = 0; i < count; i++) {
		peers_sim_start(life->sim, i);
		peers_sim_run(life->sim, SECOND / count, NULL, NULL);
	}
	struct agreement took = wait_for_agreement(life);
	struct sim_traffic sent = take_traffic(life, NULL);

	printf("%zu peers, one seed: all know all after %.1f s, and their files after %.1f s; each "
	       "sent %.0f kB in %.0f messages\n",
	       count, took.meshed_s + 1, took.equal_s + 1,
	       (double)sent.bytes / (double)count / 1000, (double)sent.messages / (double)count);
	/* A greeting and a pull for each other, or two; among hundreds, notices that are passed on, too. */
	if (count <= LARGE)
		ck_assert_uint_le(sent.messages, MEETING_MESSAGES * count * (count - 1));
	peers_sim_run(life->sim, 5 * MINUTE, NULL, NULL); /* until all have been told everything */
	ck_assert_uint_eq(peers_sim_false_alarms(life->sim), 0);
}

static void
be_idle(struct life *life)
{
	double count = (double)life->count - 1;
	uint64_t most;

	take_traffic(life, NULL);
	peers_sim_run(life->sim, 10 * MINUTE, NULL, NULL);
	struct sim_traffic sent = take_traffic(life, &most);

	life->idle_bps = (double)sent.bytes / count / 600;
	printf("%zu peers, idle: each sends %.0f bytes/s in the mean, %.0f at most, in %.2f "
	       "messages/s\n",
	       life->count - 1, life->idle_bps, (double)most / 600,
	       (double)sent.messages / count / 600);
	ck_assert_double_le((double)most / 600, 1000);
	ck_assert(peers_sim_is_meshed(life->sim));
	ck_assert_uint_eq(peers_sim_false_alarms(life->sim), 0);
}

static int
compare_times(const void *a, const void *b)
{
	uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;

	return left < right ? -1 : left > right;
}

static void
print_spread(struct life *life, uint64_t *times_us, size_t count, double over_s)
{
	struct sim_traffic sent = take_traffic(life, NULL);
	double peers = (double)life->count - 1;

	qsort(times_us, count, sizeof(*times_us), compare_times);
	printf("%zu peers, a file changes: half of the catalogs have it after %.3f s, 99 %% after "
	       "%.3f s, all after %.3f s; each peer sends %.0f bytes more\n",
	       life->count - 1, (double)times_us[count / 2] / 1e6,
	       (double)times_us[count * 99 / 100] / 1e6, (double)times_us[count - 1] / 1e6,
	       ((double)sent.bytes / peers - life->idle_bps * over_s) / CHANGES);
	ck_assert_uint_le(times_us[count * 99 / 100], 500000);
	ck_assert_uint_le(times_us[count - 1], 30000000);
}

/* One after the other; what is told of each goes on for a minute. */
static void
change_files(struct life *life)
{
	size_t others = life->count - 2, count = 0;
	uint64_t *times_us = mem_zero(CHANGES * (others + 1), sizeof(*times_us));
	uint64_t begin_us = sim_now_us();

	take_traffic(life, NULL);
	for (size_t i = 0; i < CHANGES; i++) {
		size_t had = peers_sim_spread(life->sim, i * 7 % (life->count - 1), 10 * MINUTE,
					      times_us + count);
		ck_assert_uint_eq(had, others);
		count += had;
		peers_sim_run(life->sim, SECOND, NULL, NULL);
	}
	peers_sim_run(life->sim, MINUTE, NULL, NULL);
	print_spread(life, times_us, count, (double)(sim_now_us() - begin_us) / 1e6);
	free(times_us);
}

/* Here and there one does not know of another, which goes on believing that it does.  Somebody else has to tell. */
static void
mend_gaps(struct life *life)
{
	size_t running = life->count - 1, gaps = running / 3;

	take_traffic(life, NULL);
	for (size_t i = 0; i < gaps; i++)
		peers_sim_forget(life->sim, 3 * i, 3 * i + 1 + i % 2);
	uint64_t took_ms = peers_sim_run(life->sim, 10 * MINUTE, is_meshed, NULL);

	printf("%zu peers, a third of them misses one: all know all after %.1f s\n", running,
	       (double)took_ms / 1000);
	ck_assert_uint_le(took_ms, MINUTE);
	peers_sim_run(life->sim, MINUTE, NULL, NULL);
}

static void
let_join(struct life *life)
{
	take_traffic(life, NULL);
	peers_sim_start(life->sim, life->count - 1);
	struct agreement took = wait_for_agreement(life);
	uint64_t most;
	struct sim_traffic sent = take_traffic(life, &most);

	printf("%zu peers, the last joins: knows all and is known to all after %.1f s, with all "
	       "files after %.1f s; all together sent %.0f kB, one of them %.0f\n",
	       life->count, took.meshed_s, took.equal_s, (double)sent.bytes / 1000,
	       (double)most / 1000);
	ck_assert_double_le(took.equal_s, 60);
}

static void
die_and_come_back(struct life *life, size_t dead, bool is_silent)
{
	peers_sim_kill(life->sim, dead, is_silent);
	uint64_t away_ms = peers_sim_run(life->sim, 10 * MINUTE, is_missed_by_all, &dead);
	peers_sim_start(life->sim, dead);
	struct agreement took = wait_for_agreement(life);

	printf("%zu peers, one dies%s: away for all after %.1f s; it comes back: here for all "
	       "after %.1f s\n",
	       life->count, is_silent ? " silently" : "", (double)away_ms / 1000, took.meshed_s);
	ck_assert_uint_le(away_ms, MINUTE);
	ck_assert_double_le(took.equal_s, 30);
	ck_assert_uint_eq(peers_sim_false_alarms(life->sim), 0);
}

/* Files change on both sides, and nobody hears of it on the other. */
static void
part_and_heal(struct life *life)
{
	peers_sim_cut(life->sim, life->count / 2);
	uint64_t parted_ms = peers_sim_run(life->sim, 5 * MINUTE, is_parted, NULL);
	for (size_t i = 0; i < life->count; i += 1 + life->count / CHANGED)
		peers_sim_change(life->sim, i);
	peers_sim_run(life->sim, 4 * MINUTE, NULL, NULL);
	ck_assert(peers_sim_is_meshed(life->sim)); /* each half */
	ck_assert(!peers_sim_is_equal(life->sim));
	peers_sim_cut(life->sim, 0);
	struct agreement took = wait_for_agreement(life);

	printf(
	    "%zu peers, two halves: away for each other after %.1f s; together after minutes: all "
	    "know all after %.1f s, and their files after %.1f s\n",
	    life->count, (double)parted_ms / 1000, took.meshed_s, took.equal_s);
	ck_assert_uint_le(parted_ms, 3 * MINUTE);
	ck_assert_uint_eq(peers_sim_false_alarms(life->sim), 0);
	ck_assert_double_le(took.equal_s, life->count > 3 ? 60 : 10);
}

/* One does not reach another, of which all tell it; it finds out when there is something to be had there.  In the end it does. */
static void
miss_for_ever(struct life *life)
{
	size_t missed = life->count / 2;

	peers_sim_block(life->sim, 1, missed);
	peers_sim_change(life->sim, missed);
	peers_sim_run(life->sim, 5 * MINUTE, NULL, NULL);
	take_traffic(life, NULL);
	peers_sim_run(life->sim, 10 * MINUTE, NULL, NULL);
	struct sim_traffic sent = peers_sim_sent(life->sim, 1);

	printf("%zu peers, one does not reach another that the others do: it sends %.0f bytes/s, "
	       "in %.2f "
	       "messages/s\n",
	       life->count, (double)sent.bytes / 600, (double)sent.messages / 600);
	ck_assert_uint_eq(peers_sim_not_away(life->sim, missed), life->count - 2);
	ck_assert_double_le((double)sent.bytes / 600, 1000);
	peers_sim_unblock(life->sim);
	ck_assert_double_le(wait_for_agreement(life).equal_s, 60);
	ck_assert_uint_eq(peers_sim_false_alarms(life->sim), 0);
}

/* --- what it took --- */

static double
resident_bytes(void)
{
	unsigned long long pages = 0, resident = 0;
	FILE *file = fopen("/proc/self/statm", "r");

	if (file != NULL) {
		if (fscanf(file, "%llu %llu", &pages, &resident) != 2)
			resident = 0;
		fclose(file);
	}
	return (double)resident * (double)sysconf(_SC_PAGESIZE);
}

static void
print_memory(struct life *life)
{
	struct sim_room room = peers_sim_room(life->sim);
	double count = (double)life->count;

	printf("%zu peers, memory of each: %.0f kB resident; membership %.0f kB, SQLite's pages "
	       "%.0f kB, schema %.0f kB, statements %.0f kB; on the disk %.0f kB\n",
	       life->count, resident_bytes() / count / 1000,
	       (double)peers_sim_bytes(life->sim) / 1000, (double)room.cache / count / 1000,
	       (double)room.schema / count / 1000, (double)room.statements / count / 1000,
	       (double)room.disk / count / 1000);
}

static struct life
begin(size_t count)
{
	struct life life = { .sim = peers_sim_new(count, 1), .count = count };

	come_together(&life);
	return life;
}

static void
end(struct life *life)
{
	struct rusage used;

	getrusage(RUSAGE_SELF, &used);
	printf("%zu peers, %.0f minutes of life: %.1f s of CPU in all\n", life->count,
	       (double)sim_now_us() / 60e6,
	       (double)used.ru_utime.tv_sec + (double)used.ru_utime.tv_usec / 1e6 +
		   (double)used.ru_stime.tv_sec + (double)used.ru_stime.tv_usec / 1e6);
	ck_assert_uint_eq(peers_sim_wrong(life->sim), 0);
	peers_sim_free(life->sim);
}

/* How many peers the network of a test has; 0: there is no such test. */
static size_t
size_of(int index)
{
	static const size_t sizes[] = { 4, 16, LARGE };
	const char *text = getenv("PEERS_SIM_PEERS");

	if (text == NULL)
		return sizes[index];
	return index == 0 ? strtoul(text, NULL, 10) : 0;
}

START_TEST(test_a_network_agrees_on_the_truth_soon_and_cheaply)
{
	if (size_of(_i) == 0)
		return;
	struct life life = begin(size_of(_i));
	be_idle(&life);
	change_files(&life);
	mend_gaps(&life);
	let_join(&life);
	end(&life);
}
END_TEST

START_TEST(test_it_agrees_again_whatever_happens)
{
	if (size_of(_i) == 0)
		return;
	struct life life = begin(size_of(_i));
	let_join(&life);
	peers_sim_run(life.sim, MINUTE, NULL, NULL);
	die_and_come_back(&life, life.count / 2, false);
	peers_sim_run(life.sim, 10 * SECOND, NULL, NULL); /* all have just seen it */
	die_and_come_back(&life, life.count / 2, true);
	part_and_heal(&life);
	miss_for_ever(&life);
	print_memory(&life);
	end(&life);
}
END_TEST

int
main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0); /* what was found is told before it is judged */
	Suite *suite = suite_create("peers_sim");
	TCase *good = tcase_create("good"), *hard = tcase_create("hard");

	tcase_set_timeout(good, CASE_S);
	tcase_set_timeout(hard, CASE_S);
	tcase_add_loop_test(good, test_a_network_agrees_on_the_truth_soon_and_cheaply, 0, 3);
	tcase_add_loop_test(hard, test_it_agrees_again_whatever_happens, 0, 3);
	suite_add_tcase(suite, good);
	suite_add_tcase(suite, hard);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
