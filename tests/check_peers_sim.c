/* SPDX-License-Identifier: MIT
 *
 * check_peers_sim.c - what membership costs and how fast it is, with many peers on a simulated network.
 *
 * Prints what it finds.  The thresholds are what was promised; every run is the same as the last, so they do not fail by chance.
 * PEERS_SIM_PEERS in the environment is another number for the large network: 1000 take some minutes and 2 GB.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "peers_sim.h"

#define SECOND ((uint64_t)1000)
#define MINUTE (60 * SECOND)
#define CASE_S 300 /* on a busy machine */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define LARGE 20
#else
#define LARGE 72
#endif

static size_t
large_count(void)
{
	const char *text = getenv("PEERS_SIM_PEERS");

	return text != NULL ? strtoul(text, NULL, 10) : LARGE;
}

static bool
is_meshed(struct peers_sim *sim, void *arg)
{
	(void)arg;
	return peers_sim_is_meshed(sim);
}

/* All of them start within a second, and know each other. */
static struct peers_sim *
new_mesh(size_t count)
{
	struct peers_sim *sim = peers_sim_new(count, 1);

	for (size_t i = 0; i < count; i++) {
		peers_sim_start(sim, i);
		peers_sim_run(sim, SECOND / count, NULL, NULL);
	}
	uint64_t took_ms = peers_sim_run(sim, 10 * MINUTE, is_meshed, NULL);
	printf("%zu peers, one seed: all know all after %.1f s\n", count,
	       (double)(took_ms + SECOND) / 1000);
	ck_assert(peers_sim_is_meshed(sim));
	peers_sim_run(sim, 5 * MINUTE, NULL, NULL); /* until all have been told everything */
	return sim;
}

/* --- what it costs --- */

static void
look_at_idle(size_t count)
{
	struct peers_sim *sim = new_mesh(count);
	uint64_t most = 0, all = 0, messages = 0;

	for (size_t i = 0; i < count; i++)
		peers_sim_sent(sim, i);
	peers_sim_run(sim, 10 * MINUTE, NULL, NULL);
	for (size_t i = 0; i < count; i++) {
		struct peers_sim_traffic sent = peers_sim_sent(sim, i);

		all += sent.bytes;
		messages += sent.messages;
		most = sent.bytes > most ? sent.bytes : most;
	}
	double mean_bps = (double)all / (double)count / 600, most_bps = (double)most / 600;
	printf("%zu peers, idle: each sends %.0f bytes/s in the mean, %.0f at most, in %.2f "
	       "messages/s; "
	       "%zu bytes a peer are remembered\n",
	       count, mean_bps, most_bps, (double)messages / (double)count / 600,
	       peers_sim_bytes_a_peer());
	ck_assert_double_le(most_bps, 1000);
	ck_assert(peers_sim_is_meshed(sim));
	ck_assert_uint_eq(peers_sim_false_alarms(sim), 0);
	peers_sim_free(sim);
}

START_TEST(test_an_idle_network_of_sixteen_says_little)
{
	look_at_idle(16);
}
END_TEST

START_TEST(test_an_idle_network_of_many_says_no_more)
{
	look_at_idle(large_count());
}
END_TEST

/* --- how fast it is --- */

static bool
is_missed_by_all(struct peers_sim *sim, void *peer)
{
	return peers_sim_not_away(sim, *(size_t *)peer) == 0;
}

START_TEST(test_a_dead_peer_is_missed_by_all_and_nobody_else_is)
{
	static const size_t counts[] = { 3, 16, LARGE };
	size_t count = counts[_i / 2], dead = count / 2;
	bool is_silent = _i % 2 == 1;
	struct peers_sim *sim = new_mesh(count);

	peers_sim_kill(sim, dead, is_silent);
	uint64_t took_ms = peers_sim_run(sim, 10 * MINUTE, is_missed_by_all, &dead);
	printf("%zu peers, one dies%s: away for all after %.1f s\n", count,
	       is_silent ? " silently" : "", (double)took_ms / 1000);
	ck_assert_uint_le(took_ms, MINUTE);
	ck_assert_uint_eq(peers_sim_false_alarms(sim), 0);

	peers_sim_start(sim, dead);
	took_ms = peers_sim_run(sim, 10 * MINUTE, is_meshed, NULL);
	printf("%zu peers, it comes back: here for all after %.1f s\n", count,
	       (double)took_ms / 1000);
	ck_assert_uint_le(took_ms, 30 * SECOND);
	peers_sim_free(sim);
}
END_TEST

static bool
is_known_to_all(struct peers_sim *sim, void *peer)
{
	return peers_sim_up_to_date(sim, *(size_t *)peer) == peers_sim_running(sim) - 1;
}

static bool
is_known_to_most(struct peers_sim *sim, void *peer)
{
	return peers_sim_up_to_date(sim, *(size_t *)peer) * 100 >=
	       (peers_sim_running(sim) - 1) * 99;
}

START_TEST(test_a_change_is_soon_known_to_all)
{
	size_t counts[] = { 16, large_count() }, count = counts[_i], peer = 1;
	struct peers_sim *sim = new_mesh(count);

	peers_sim_change(sim, peer);
	uint64_t most_ms = peers_sim_run(sim, MINUTE, is_known_to_most, &peer);
	uint64_t all_ms = most_ms + peers_sim_run(sim, 10 * MINUTE, is_known_to_all, &peer);
	printf("%zu peers, a file appears: 99 %% know after %.2f s, all after %.2f s\n", count,
	       (double)most_ms / 1000, (double)all_ms / 1000);
	ck_assert_uint_le(most_ms, SECOND);
	ck_assert_uint_le(all_ms, 30 * SECOND);
	peers_sim_free(sim);
}
END_TEST

/* --- partitions --- */

START_TEST(test_two_halves_find_each_other_again)
{
	static const size_t counts[] = { 3, 16, LARGE };
	size_t count = counts[_i];
	struct peers_sim *sim = new_mesh(count);

	peers_sim_cut(sim, count / 2);
	peers_sim_run(sim, MINUTE, NULL, NULL);
	for (size_t i = 0; i < count; i++)
		peers_sim_change(sim, i);
	peers_sim_run(sim, 4 * MINUTE, NULL, NULL);
	ck_assert(peers_sim_is_meshed(sim)); /* each half */
	peers_sim_cut(sim, 0);
	uint64_t took_ms = peers_sim_run(sim, 10 * MINUTE, is_meshed, NULL);
	printf("%zu peers, two halves after 5 minutes: all know all after %.1f s\n", count,
	       (double)took_ms / 1000);
	ck_assert_uint_le(took_ms, count > 3 ? MINUTE : 10 * SECOND);
	peers_sim_free(sim);
}
END_TEST

int
main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0); /* what was found is told before it is judged */
	Suite *suite = suite_create("peers_sim");
	TCase *all = tcase_create("all");

	tcase_set_timeout(all, CASE_S);
	tcase_add_test(all, test_an_idle_network_of_sixteen_says_little);
	tcase_add_test(all, test_an_idle_network_of_many_says_no_more);
	tcase_add_loop_test(all, test_a_dead_peer_is_missed_by_all_and_nobody_else_is, 0, 6);
	tcase_add_loop_test(all, test_a_change_is_soon_known_to_all, 0, 2);
	tcase_add_loop_test(all, test_two_halves_find_each_other_again, 0, 3);
	suite_add_tcase(suite, all);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
