# shellcheck shell=bash
# SPDX-License-Identifier: MIT
#
# idle - a daemon that nobody asks for anything: its memory after ten seconds, then how often any of its threads ran
# in twenty; with both network faces, as it is by default, and with REST alone.  The rounds run side by side: idle daemons do not disturb each other.

IDLE_S=20

resident_mib() { awk '/^VmRSS:/ { printf "%.1f\n", $2 / 1024 }' "/proc/${PID[$1]}/status"; }
own_mib() { awk '/^Pss:/ { printf "%.1f\n", $2 / 1024 }' "/proc/${PID[$1]}/smaps_rollup"; }
switches() { awk '/ctxt_switches:/ { sum += $2 } END { print sum }' "/proc/${PID[$1]}"/task/*/status; }

bench_idle() {
	local i
	local -a before=() before_rest=()
	for ((i = 0; i < ROUNDS; i++)); do
		peer_new "p$i" "$D/p$i"
		peer_start "p$i"
		peer_new "r$i" "$D/r$i"
		sed -i '/^\[grpc\]/{ n; s/.*/listen =/ }' "$D/r$i/conf"
		peer_start "r$i"
	done
	sleep 10
	for ((i = 0; i < ROUNDS; i++)); do
		sample idle "$(resident_mib "p$i")"
		sample idle_rest "$(resident_mib "r$i")"
		before[i]=$(switches "p$i")
		before_rest[i]=$(switches "r$i")
	done
	say "proportional set size of one among $((2 * ROUNDS)): $(own_mib p0 2>/dev/null || echo unreadable) MiB"
	sleep "$IDLE_S"
	for ((i = 0; i < ROUNDS; i++)); do
		sample wakeups "$(calculate "($(switches "p$i") - ${before[i]}) / $IDLE_S")"
		sample wakeups_rest "$(calculate "($(switches "r$i") - ${before_rest[i]}) / $IDLE_S")"
	done
	row idle "idle: resident, both faces" "VmRSS" - MiB "<=" 24 16
	row idle_rest "idle: resident, REST alone" "VmRSS" - MiB "<=" 15 8
	row wakeups_rest "idle: wake-ups, REST alone" "context switches of all threads" - /s "<=" 1 1
	# The library's own timers run twice a second; the rest is the face asking itself whether it is there.
	row wakeups "idle: wake-ups, both faces" "context switches of all threads" - /s "<=" 1 1
}
