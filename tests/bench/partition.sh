# shellcheck shell=bash
# SPDX-License-Identifier: MIT
#
# partition - three peers on hosts of their own (lab.sh), parted for a minute, one from two, while files are made, changed
# and removed on both sides: the time from the heal until each has the catalogs of all.  Afterwards every catalog is held against the
# disks, by names, sizes and roots, so that a removed file that came back fails the run.
#
# PARTITION_S (60): for how long.  It takes at most 3 rounds.

# shellcheck source=lab.sh
. "$HERE/lab.sh"

bench_partition() {
	local at round homes=() names=()
	needs python3
	ROUNDS=$((ROUNDS < 3 ? ROUNDS : 3))
	lab_up 3
	for at in 1 2 3; do
		partition_peer "$at"
		homes+=("$S/n$at") names+=("n$at")
	done
	for at in 1 2 3; do until_true 60 0.1 knows_two "n$at"; done
	mkdir "$S/aside"
	for ((round = 1; round <= ROUNDS; round++)); do partition_round "$round"; done
	for at in 1 2 3; do peer_stop "n$at" || die "n$at"; done
	lab_down
	row heal "parted ${PARTITION_S:-60} s: heal to equal" "3 peers" - s "<=" 10 2
}

partition_peer() { # HOST
	local address
	address=$(lab_address "$1")
	mkdir -p "$S/n$1/share"
	HOME_OF[n$1]=$S/n$1
	cat >"$S/n$1/conf" <<-CONF
		[node]
		name = n$1
		state = $S/n$1/state
		[share]
		directory = $S/n$1/share
		reserve = 1M
		[rest]
		listen = $address:5001
		[grpc]
		listen = $address:50051
		[control]
		socket = $S/n$1/sock
		[network]
		seed = http://$(lab_address 1):5001
		[security]
		open_network = yes
	CONF
	lab_start "$1" "$S/n$1/log" "$DISK/bin/p2pd" -c "$S/n$1/conf"
	PID[n$1]=$LAB_STARTED
	until_true 60 0.05 is_ready "n$1"
}
knows_two() { (($(ctl "$1" peers | grep -c '	here	') == 2)); }
is_alone() { ! ctl "$1" peers | grep '	here	'; }

partition_round() { # ROUND
	local writer took
	rm -f "$S/end"
	python3 "$HERE/../fault/writer.py" "$1" "$S/end" "$S/aside" "${homes[@]/%//share}" >"$S/written" &
	writer=$!
	HELPERS+=("$writer")
	sleep 2
	lab_plug 1 1
	sleep "${PARTITION_S:-60}"
	is_alone n1 || die "the partition is none"
	touch "$S/end"
	wait "$writer" || die "writer.py"
	await_quiet
	lab_plug 1 0
	took=$(python3 "$HERE/agree_probe.py" "$(now_us)" "${homes[@]}") || die "agree_probe.py"
	say "equal $took s after the heal; $(cat "$S/written")"
	until_true 10 0.5 python3 "$HERE/../fault/truth.py" "$DISK/bin/p2pctl" "${homes[@]}"
	sample heal "$took"
}
