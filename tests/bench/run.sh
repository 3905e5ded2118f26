#!/bin/bash
# SPDX-License-Identifier: MIT
#
# run.sh [NAME...] - the benchmarks: what p2pd takes, as a ratio to a well-known program in the same run.
#
# Without names all of them, in the order of `all` below.  Prints one table, and writes the same with
# every round's figures to $BENCH_TSV (./bench.tsv).  Exit code: 0 whatever the figures are; 1 if something failed or
# a byte was wrong; 2 for wrong usage.
#
# All that is to be compared runs in turn, ROUNDS times, and the ratio is taken round by round: the median is told,
# and the smallest and the largest, which are the noise.  Everything runs in a network namespace of its own, where
# the congestion control can be set to reno without touching the machine (bbr paces even loopback); where that is not
# allowed, everything runs with the system's.  The table says which.
#
# P2PD, P2PCTL: the binaries; copied first, so that a build meanwhile changes nothing.
# The tools of this directory in C are taken from tests/bench/ beside P2PD, where make puts them.
# BENCH_DIR: a directory on a disk for data, about 6 GiB (/var/tmp).  BENCH_SHM: one in memory, about 5 GiB (/dev/shm).
# BENCH_QUIET: how many seconds each measurement waits for a quiet machine before it begins all the same (10).
# ROUNDS (5), BENCH_BIG and BENCH_ONE: sizes in MiB of the large file (4096) and of the fetched one (1024).
set -u
: "${P2PD:?the path of p2pd}" "${P2PCTL:?the path of p2pctl}"
HERE=$(cd "$(dirname "$0")" && pwd)
all=(index fetch wires download calls durable memory idle start search takeover small tree swarm liars fresh partition broker sim)

for name; do
	[[ " ${all[*]} " == *" $name "* ]] || {
		echo "usage: run.sh [${all[*]}]" >&2
		exit 2
	}
done

own_network() { ip link set lo up && sysctl -qw net.ipv4.tcp_congestion_control=reno; }
# As root just the network, else as root of a namespace of one's own; once inside, the script begins anew.
if [[ -z ${BENCH_NETWORK-} ]]; then
	user=()
	((EUID == 0)) || user=(-r)
	export -f own_network
	if unshare "${user[@]}" -n bash -c own_network 2>/dev/null; then
		BENCH_NETWORK=own exec unshare "${user[@]}" -n bash "$0" "$@"
	fi
	export BENCH_NETWORK=system
fi
[[ $BENCH_NETWORK != own ]] || own_network || exit 1

# shellcheck source=lib.sh
. "$HERE/lib.sh"
for name in "${all[@]}"; do
	# shellcheck source=/dev/null
	. "$HERE/$name.sh"
done

failed=0
for name in "${@:-${all[@]}}"; do
	run_bench "$name" || failed=1
done
show_table
exit $failed
