/* SPDX-License-Identifier: MIT
 *
 * check_swarm_sim.c - how close a swarm comes to what its links allow.
 *
 * Prints a table: finish ÷ bound of the last (worst) and of the best 50, 90, 99 of a hundred,
 * copies sent by the seed, bytes sent in vain.  The thresholds are what was promised, not what
 * was measured; every run is the same as the last, so they do not fail by chance.
 * SWARM_SIM_PEERS in the environment is another number for the large swarm: 500 takes ten seconds
 * or so.
 */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"
#include "sim_bound.h"
#include "sim_net.h"
#include "swarm_sim.h"

#define MBIT   (1000000 / 8) /* bytes per second */
#define MIB    ((uint64_t)1 << 20)
#define SECOND ((uint64_t)1000000)
#define CASE_S 120 /* on a busy machine */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define LARGE 40
#else
#define LARGE 100
#endif

/* Equal hosts; the first is the seed.  free(). */
static struct sim_host *
equal_hosts(size_t count, uint64_t rate_bps, uint32_t delay_us)
{
	struct sim_host *hosts = mem_zero(count, sizeof(*hosts));
	for (size_t i = 0; i < count; i++)
		hosts[i] = (struct sim_host){ .up_bps = rate_bps,
					      .down_bps = rate_bps,
					      .delay_us = delay_us,
					      .is_seed = i == 0 };
	return hosts;
}

static struct sim
new_sim(struct sim_host *hosts, size_t count, uint64_t size_bytes)
{
	uint32_t piece_bytes = 64u << 10;
	while (size_bytes / piece_bytes > 1024)
		piece_bytes *= 2;
	return (struct sim){ .size_bytes = size_bytes,
			     .piece_bytes = piece_bytes,
			     .seed = 1,
			     .hosts = hosts,
			     .host_count = count,
			     .limit_us = 300 * SECOND };
}

static struct sim_result
run(const char *name, const struct sim *sim)
{
	struct sim_result result;
	sim_run(sim, &result);
	printf("%-28s bound %6.2f s, last %6.2f s; ÷ bound: "
	       "worst %.3f p50 %.3f p90 %.3f p99 %.3f; "
	       "seed %.2f copies, wasted %.1f %%, %llu asks\n",
	       name, result.bound_s, result.end_s, result.worst, result.p50, result.p90, result.p99,
	       result.seed_copies, 100 * result.wasted, (unsigned long long)result.asks);
	fflush(stdout);
	ck_assert_uint_eq(result.finished, result.fetchers);
	return result;
}

/* --- the network itself --- */

static double
rate_of(const struct sim_flow *flow)
{
	return (double)(sim_net_bytes(flow, SECOND) - sim_net_bytes(flow, 0));
}

START_TEST(test_flows_share_a_link_and_take_what_others_cannot_use)
{
	struct sim_net *net = sim_net_new(4);
	for (size_t i = 0; i < 4; i++)
		sim_net_links(net, 0, i, i == 0 ? 9000000 : 1000000, i == 1 ? 1000000 : 100000000);
	/* The seed to a slow one, and to two fast ones; the slow one's link is shared with
	 * another's flow. */
	struct sim_flow *slow = sim_net_start(net, 0, 0, 1, 1000000000, NULL);
	struct sim_flow *fast = sim_net_start(net, 0, 0, 2, 1000000000, NULL);
	struct sim_flow *other = sim_net_start(net, 0, 3, 1, 1000000000, NULL);
	ck_assert_uint_lt(sim_net_next_us(net, 0), UINT64_MAX);
	ck_assert_double_eq_tol(rate_of(slow), 500000, 10000);
	ck_assert_double_eq_tol(rate_of(other), 500000, 10000);
	ck_assert_double_eq_tol(rate_of(fast), 8500000, 170000);
	sim_net_free(net);
}
END_TEST

START_TEST(test_a_flow_is_due_when_its_bytes_have_passed)
{
	struct sim_net *net = sim_net_new(2);
	sim_net_links(net, 0, 0, 1000000, 0);
	sim_net_links(net, 0, 1, 0, 2000000);
	struct sim_flow *flow = sim_net_start(net, 0, 0, 1, 500000, NULL);
	ck_assert_uint_eq(sim_net_next_us(net, 0), 500000);
	sim_net_links(net, 250000, 0, 500000, 0);
	ck_assert_uint_eq(sim_net_next_us(net, 250000), 750000);
	sim_net_links(net, 250000, 0, 0, 0);
	ck_assert_uint_eq(sim_net_next_us(net, 250000), UINT64_MAX);
	ck_assert_uint_eq(sim_net_stop(net, 900000, flow), 250000);
	sim_net_free(net);
}
END_TEST

START_TEST(test_the_bound_is_what_the_narrowest_of_three_takes)
{
	struct sim_host *hosts = equal_hosts(3, 1000000, 0);
	struct sim sim = new_sim(hosts, 3, 8000000);
	hosts[0].up_bps = 4000000;
	hosts[1].up_bps = hosts[2].up_bps = 0;
	hosts[2].down_bps = 500000;
	ck_assert_double_eq_tol(sim_bound_out_s(&sim), 4, 0.001); /* two copies, by the seed */
	hosts[1].up_bps = hosts[2].up_bps = 10000000;
	ck_assert_double_eq_tol(sim_bound_out_s(&sim), 2, 0.001); /* the first of them */
	ck_assert_double_eq_tol(sim_bound_in_s(&sim, 2), 16, 0.001);
	struct sim_absence absence = { .host = 2, .from_us = SECOND, .to_us = 4 * SECOND };
	sim.absences = &absence;
	sim.absence_count = 1;
	ck_assert_double_eq_tol(sim_bound_in_s(&sim, 2), 19, 0.001);
	absence.is_empty = true;
	ck_assert_double_eq_tol(sim_bound_in_s(&sim, 2), 20, 0.001);
	free(hosts);
}
END_TEST

/* --- one source --- */

START_TEST(test_one_source_keeps_a_short_pipe_full)
{
	struct sim_host *hosts = equal_hosts(2, 1000 * MBIT, 250);
	struct sim sim = new_sim(hosts, 2, 512 * MIB);
	ck_assert_double_le(run("1 + 1, 1 Gbit/s, 1 ms", &sim).worst, 1 / 0.97);
	free(hosts);
}
END_TEST

START_TEST(test_one_source_keeps_a_long_pipe_full)
{
	struct sim_host *hosts = equal_hosts(2, 1000 * MBIT, 25000);
	struct sim sim = new_sim(hosts, 2, 2048 * MIB);
	ck_assert_double_le(run("1 + 1, 1 Gbit/s, 100 ms", &sim).worst, 1 / 0.9);
	free(hosts);
}
END_TEST

/* --- swarms --- */

START_TEST(test_eight_take_hardly_longer_than_one)
{
	struct sim_host *hosts = equal_hosts(9, 50 * MBIT, 250);
	struct sim sim = new_sim(hosts, 9, 32 * MIB);
	for (sim.seed = 1; sim.seed <= 3; sim.seed++) {
		struct sim_result result = run("1 + 8, 50 Mbit/s, 32 MiB", &sim);
		ck_assert_double_le(result.worst, 1.2);
		ck_assert_double_le(result.seed_copies, 1.2);
		ck_assert_double_le(result.wasted, 0.02);
	}
	free(hosts);
}
END_TEST

START_TEST(test_fifteen_take_hardly_longer_than_one)
{
	struct sim_host *hosts = equal_hosts(16, 100 * MBIT, 250);
	struct sim sim = new_sim(hosts, 16, 128 * MIB);
	struct sim_result result = run("1 + 15, 100 Mbit/s, 128 MiB", &sim);
	ck_assert_double_le(result.worst, 1.2);
	ck_assert_double_le(result.seed_copies, 1.2);
	free(hosts);
}
END_TEST

START_TEST(test_a_small_content_is_spread_too)
{
	struct sim_host *hosts = equal_hosts(9, 50 * MBIT, 250);
	struct sim sim = new_sim(hosts, 9, 4 * MIB);
	ck_assert_double_le(run("1 + 8, 50 Mbit/s, 4 MiB", &sim).worst, 1.6);
	free(hosts);
}
END_TEST

START_TEST(test_far_apart_they_still_share)
{
	struct sim_host *hosts = equal_hosts(9, 50 * MBIT, 25000);
	struct sim sim = new_sim(hosts, 9, 32 * MIB);
	ck_assert_double_le(run("1 + 8, 100 ms", &sim).worst, 1.5);
	free(hosts);
}
END_TEST

START_TEST(test_starts_one_second_apart_cost_nothing)
{
	struct sim_host *hosts = equal_hosts(9, 50 * MBIT, 250);
	for (size_t i = 1; i < 9; i++)
		hosts[i].start_us = (i - 1) * SECOND;
	struct sim sim = new_sim(hosts, 9, 32 * MIB);
	ck_assert_double_le(run("1 + 8, starts 1 s apart", &sim).worst, 1.3);
	free(hosts);
}
END_TEST

START_TEST(test_a_slow_host_holds_nobody_up)
{
	struct sim_host *hosts = equal_hosts(9, 50 * MBIT, 250);
	hosts[4].up_bps = hosts[4].down_bps = 5 * MBIT;
	struct sim sim = new_sim(hosts, 9, 32 * MIB);
	ck_assert_double_le(run("1 + 8, one at a tenth", &sim).worst, 1.3);
	free(hosts);
}
END_TEST

START_TEST(test_half_of_them_killed_and_back_go_on)
{
	struct sim_host *hosts = equal_hosts(9, 50 * MBIT, 250);
	struct sim_absence absences[4];
	for (size_t i = 0; i < 4; i++)
		absences[i] = (struct sim_absence){ .host = i + 1,
						    .from_us = 2700000,
						    .to_us = 4200000,
						    .is_silent = _i == 1,
						    .is_empty = _i == 2 };
	struct sim sim = new_sim(hosts, 9, 32 * MIB);
	sim.absences = absences;
	sim.absence_count = 4;
	const char *names[] = { "1 + 8, 4 killed and back", "the same, silently",
				"the same, back empty" };
	ck_assert_double_le(run(names[_i], &sim).worst, 1.6);
	free(hosts);
}
END_TEST

/* --- the large one --- */

static uint64_t
draw(uint64_t *random, uint64_t below)
{
	*random = *random * 6364136223846793005u + 1442695040888963407u;
	return (*random >> 33) % below;
}

static size_t
large_count(void)
{
	const char *text = getenv("SWARM_SIM_PEERS");
	return text != NULL ? strtoul(text, NULL, 10) : LARGE;
}

START_TEST(test_many_unequal_links_and_churn)
{
	static const unsigned up_mbit[] = { 10, 20, 50, 100 }, down_mbit[] = { 50, 100, 100, 200 };
	uint64_t random = 4711;
	size_t count = large_count() + 1;
	struct sim_host *hosts = equal_hosts(count, 100 * MBIT, 1000);
	struct sim_absence *absences = mem_zero(count, sizeof(*absences));
	struct sim sim = new_sim(hosts, count, 32 * MIB);
	sim.absences = absences;
	for (size_t i = 1; i < count; i++) {
		size_t kind = draw(&random, 4);
		hosts[i].up_bps = up_mbit[kind] * MBIT;
		hosts[i].down_bps = down_mbit[kind] * MBIT;
		hosts[i].delay_us = 500 + (uint32_t)draw(&random, 15000);
		hosts[i].start_us = draw(&random, SECOND / 2);
		if (draw(&random, 10) != 0)
			continue;
		struct sim_absence *absence = &absences[sim.absence_count++];
		absence->host = i;
		absence->from_us = SECOND / 2 + draw(&random, 5 * SECOND);
		absence->to_us = absence->from_us + SECOND + draw(&random, 2 * SECOND);
		absence->is_silent = draw(&random, 3) == 0;
		absence->is_empty = draw(&random, 2) == 0;
	}
	char name[64];
	snprintf(name, sizeof(name), "1 + %zu unequal, 10 %% churn", count - 1);
	ck_assert_double_le(run(name, &sim).p99, 1.8);
	free(hosts);
	free(absences);
}
END_TEST

START_TEST(test_the_same_seed_makes_the_same_run)
{
	struct sim_host *hosts = equal_hosts(9, 50 * MBIT, 250);
	struct sim_absence absence = { .host = 3, .from_us = SECOND, .to_us = 2 * SECOND };
	struct sim sim = new_sim(hosts, 9, 8 * MIB);
	sim.absences = &absence;
	sim.absence_count = 1;
	struct sim_result first, again, other;
	sim_run(&sim, &first);
	sim_run(&sim, &again);
	sim.seed = 2;
	sim_run(&sim, &other);
	ck_assert_uint_eq(first.fingerprint, again.fingerprint);
	ck_assert_uint_ne(first.fingerprint, other.fingerprint);
	free(hosts);
}
END_TEST

static TCase *
add_case(Suite *suite, const char *name)
{
	TCase *tcase = tcase_create(name);
	tcase_set_timeout(tcase, CASE_S);
	suite_add_tcase(suite, tcase);
	return tcase;
}

int
main(void)
{
	Suite *suite = suite_create("swarm_sim");
	TCase *net = add_case(suite, "net"), *pair = add_case(suite, "one source");
	TCase *swarm = add_case(suite, "swarm"), *large = add_case(suite, "large");
	tcase_add_test(net, test_flows_share_a_link_and_take_what_others_cannot_use);
	tcase_add_test(net, test_a_flow_is_due_when_its_bytes_have_passed);
	tcase_add_test(net, test_the_bound_is_what_the_narrowest_of_three_takes);
	tcase_add_test(pair, test_one_source_keeps_a_short_pipe_full);
	tcase_add_test(pair, test_one_source_keeps_a_long_pipe_full);
	tcase_add_test(swarm, test_eight_take_hardly_longer_than_one);
	tcase_add_test(swarm, test_fifteen_take_hardly_longer_than_one);
	tcase_add_test(swarm, test_a_small_content_is_spread_too);
	tcase_add_test(swarm, test_far_apart_they_still_share);
	tcase_add_test(swarm, test_starts_one_second_apart_cost_nothing);
	tcase_add_test(swarm, test_a_slow_host_holds_nobody_up);
	tcase_add_loop_test(swarm, test_half_of_them_killed_and_back_go_on, 0, 3);
	tcase_add_test(swarm, test_the_same_seed_makes_the_same_run);
	tcase_add_test(large, test_many_unequal_links_and_churn);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
