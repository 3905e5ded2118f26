# shellcheck shell=bash
# SPDX-License-Identifier: MIT
#
# idle - a daemon that nobody asks for anything: its memory after ten seconds, then how often any of its threads ran
# in twenty.  The rounds run side by side: idle daemons do not disturb each other.

IDLE_S=20

resident_mib() { awk '/^VmRSS:/ { printf "%.1f\n", $2 / 1024 }' "/proc/${PID[$1]}/status"; }
own_mib() { awk '/^Pss:/ { printf "%.1f\n", $2 / 1024 }' "/proc/${PID[$1]}/smaps_rollup"; }
switches() { awk '/ctxt_switches:/ { sum += $2 } END { print sum }' "/proc/${PID[$1]}"/task/*/status; }

bench_idle() {
	local i
	local -a before=()
	for ((i = 0; i < ROUNDS; i++)); do
		peer_new "p$i" "$D/p$i"
		peer_start "p$i"
	done
	sleep 10
	for ((i = 0; i < ROUNDS; i++)); do
		sample idle "$(resident_mib "p$i")"
		before[i]=$(switches "p$i")
	done
	say "proportional set size of one among $ROUNDS: $(own_mib p0 2>/dev/null || echo unreadable) MiB"
	sleep "$IDLE_S"
	for ((i = 0; i < ROUNDS; i++)); do
		sample wakeups "$(calculate "($(switches "p$i") - ${before[i]}) / $IDLE_S")"
	done
	row idle "idle: resident" "VmRSS" - MiB "<=" 15 8
	row wakeups "idle: wake-ups" "context switches of all threads" - /s "<=" 1 1
}
