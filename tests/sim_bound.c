/* SPDX-License-Identifier: MIT
 *
 * sim_bound.c - the earliest time at which a swarm could be done.
 *
 * Nobody can be done before its own link let one copy in.  Nobody before the seeds let one copy
 * out; and the last not before all links together let out as many copies as there are fetchers: Kumar
 * and Ross, "Peer-assisted file distribution: the minimum distribution time" (2006), who also show
 * that a fluid reaches the largest of the three.  So it is a bound for the last.  Here each host is
 * held against the two that concern all, and its own link's: who has a slow link is not
 * expected to be faster than it, and slows nobody's bound but its own.
 *
 * Links count while their host is there: what could pass is a sum over time.  What a host that
 * comes back empty has lost counts for its own link; that others must send it again does not,
 * so with such hosts the bound is a little low.
 */
#include "sim_bound.h"

/* How long a host was there by then. */
static double
there_s(const struct sim *sim, size_t host, double by_s)
{
	double from_s = (double)sim->hosts[host].start_us / 1e6;
	double there = by_s > from_s ? by_s - from_s : 0;
	for (size_t i = 0; i < sim->absence_count; i++) {
		const struct sim_absence *absence = &sim->absences[i];
		double gone_s = (double)absence->from_us / 1e6;
		double back_s = (double)absence->to_us / 1e6;
		if (absence->host == host && by_s > gone_s)
			there -= (by_s < back_s ? by_s : back_s) - gone_s;
	}
	return there;
}

/* True if links could have let out one copy of the seeds, and one for each fetcher, by then. */
static bool
could_be_out(const struct sim *sim, size_t host, double by_s)
{
	(void)host;
	double seeds = 0, all = 0, copies = 0;
	for (size_t i = 0; i < sim->host_count; i++) {
		double bytes = (double)sim->hosts[i].up_bps * there_s(sim, i, by_s);
		all += bytes;
		seeds += sim->hosts[i].is_seed ? bytes : 0;
		copies += !sim->hosts[i].is_seed;
	}
	return seeds >= (double)sim->size_bytes && all >= copies * (double)sim->size_bytes;
}

/* Who comes back empty begins then. */
static bool
could_be_in(const struct sim *sim, size_t host, double by_s)
{
	double there = there_s(sim, host, by_s);
	for (size_t i = 0; i < sim->absence_count; i++) {
		const struct sim_absence *absence = &sim->absences[i];
		if (absence->host == host && absence->is_empty)
			there -= there_s(sim, host, (double)absence->from_us / 1e6);
	}
	return (double)sim->hosts[host].down_bps * there >= (double)sim->size_bytes;
}

/* The earliest time at which a claim that stays true is true. */
static double
earliest_s(const struct sim *sim, size_t host,
	   bool (*is_so)(const struct sim *sim, size_t host, double by_s))
{
	double low_s = 0, high_s = 1e6;
	while (high_s - low_s > 1e-6) {
		double middle_s = (low_s + high_s) / 2;
		if (is_so(sim, host, middle_s))
			high_s = middle_s;
		else
			low_s = middle_s;
	}
	return high_s;
}

double
sim_bound_out_s(const struct sim *sim)
{
	return earliest_s(sim, 0, could_be_out);
}

double
sim_bound_in_s(const struct sim *sim, size_t host)
{
	return earliest_s(sim, host, could_be_in);
}
