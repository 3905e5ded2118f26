# shellcheck shell=bash
# SPDX-License-Identifier: MIT
#
# sim - networks of up to a thousand peers, simulated: the daemon's membership and catalog on a clock, a wire and a disk of the test
# (tests/check_peers_sim.c, which tells what a network goes through).  A simulation is the same each time, so one is enough; its traffic
# and times are exact, and memory is that of the modules, without a daemon's threads, faces and libraries.  What it prints goes
# to standard error.
#
# SIM_PEERS: the sizes.  The time that they take grows with the square: a hundred peers take ten seconds of one processor.

# figure SIZE PATTERN: the number at the place of \(...\) in what was printed of this size.
figure() { sed -n "s/^[0-9]* peers, $2.*/\1/p" "$D/$1"; }

bench_sim() {
	local size tool
	tool=$(dirname "$P2PD")/tests/check_peers_sim
	[[ -x $tool ]] || skip_bench "tests/check_peers_sim is missing"
	for size in ${SIM_PEERS:-16 100 300}; do
		TMPDIR=$S PEERS_SIM_PEERS=$size "$tool" >"$D/$size" || die "$size peers: $(tail -n 1 "$D/$size")"
		grep '^[0-9]* peers' "$D/$size" >&2
		sample "sim_idle_$size" "$(figure "$size" 'idle: each sends \([0-9.]*\)')"
		sample "sim_change_$size" "$(figure "$size" 'a file changes: .* 99 % after \([0-9.]*\)')"
		sample "sim_memory_$size" "$(figure "$size" 'memory of each: \([0-9.]*\)')"
		row "sim_idle_$size" "$size simulated peers, idle: each sends" simulated - B/s "<=" 1000 300
		row "sim_change_$size" "... a file is in 99 % of the catalogs" simulated - s "<=" 0.5 0.1
		row "sim_memory_$size" "... membership and catalog of each, resident" simulated - kB "<=" $((2000 + 10 * size)) $((1000 + 5 * size))
	done
}
