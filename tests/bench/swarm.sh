# shellcheck shell=bash
# SPDX-License-Identifier: MIT
#
# swarm - one host has a file and many fetch it at once, in a lab of slow links (lab.sh): the time until the last of them
# has a verified copy, against size / rate, which is what the links allow if the seed sends each byte once and everybody
# passes it on at once; and what the seed had to send.  Headers of Ethernet, IP and TCP alone make the time 1.05 of that.
# aria2 and libtorrent do the same beside it, with their own defaults, in the same lab and in turn; libtorrent also by TCP
# alone, which suits it better here than its default mix with uTP.
#
# Each run begins with fresh processes and empty directories in /dev/shm, and is timed from when the fetchers are told to
# go: by then the seed has hashed its file, and every p2pd knows all the others and the catalog.  The others find each
# other by a tracker, which takes aria2 two seconds; as this is not what is to be compared, their time begins when their
# seed begins to send, and ours with `p2pctl fetch`.  All share the processors of one machine: the row "processors busy"
# says whether the figures are theirs or those of the links.
#
# SWARM_CASES: of "8x50 15x100 staggered slow killed"; also others, as FETCHERSxMBITxMIB.
# SWARM_ROUNDS (ROUNDS, but at most 3).  SWARM_REFERENCES: of "aria2 libtorrent libtorrent_tcp", or "no".
# SWARM_TRANSPORT: of "auto rest grpc"; the first is the headline, and the only one in disturbed cases and over 8 hosts.
# SWARM_KEEP: a directory that gets, of each run, logs, configurations, metrics, times and the traffic of every link.

SWARM_CASES=${SWARM_CASES:-8x50 15x100 staggered slow killed}
SWARM_REFERENCES=${SWARM_REFERENCES:-aria2 libtorrent libtorrent_tcp}
SWARM_TRANSPORT=${SWARM_TRANSPORT:-auto rest grpc}
SWARM_KEEP=${SWARM_KEEP-}
STAGGER_S=1	# between two fetchers that start one after the other
DOWN_S=1	# of a host that was killed
FIRST_BYTES=$((32 << 10))	# sent by the seed of a reference: more than greetings
TIMES_MAX=${SWARM_TIMES_MAX:-30}	# times the bound after which a run has failed

# shellcheck source=lab.sh
. "$HERE/lab.sh"

bench_swarm() {
	local case
	needs python3 curl
	ROUNDS=${SWARM_ROUNDS:-$((ROUNDS < 3 ? ROUNDS : 3))}
	for case in $SWARM_CASES; do
		case $case in
		staggered | slow | killed) disturbed_case "$case" ;;
		*) plain_case "$case" ;;
		esac
	done
}

# case_begin NAME FETCHERS MBIT MIB: the lab and the file.
case_begin() {
	CASE=$1 FETCHERS=$2 MBIT=$3 MIB=$4
	BOUND=$(calculate "$MIB * 1048576 * 8 / ($MBIT * 1e6)")
	room_for "$SHM" $(((MIB << 20) * (FETCHERS + 3)))
	lab_up $((FETCHERS + 1)) "$MBIT"
	make_file $((MIB << 20)) "$S/one.bin"
}
case_end() {
	lab_down
	rm "$S/one.bin"
}

# --- cases ---

plain_case() { # FETCHERSxMBIT[xMIB]
	local name=$1 size runs=() run at transports
	IFS=x read -r at run size <<<"$name"
	case_begin "$name" "$at" "$run" "${size:-$((run < 100 ? 32 : 128))}"
	read -ra transports <<<"$SWARM_TRANSPORT"
	((FETCHERS <= 8)) || transports=("${transports[0]}")
	for at in "${transports[@]}"; do runs+=("p2pd_$at"); done
	[[ $SWARM_REFERENCES != no ]] || SWARM_REFERENCES=
	for at in $SWARM_REFERENCES; do ! has_reference "$at" || runs+=("$at"); done
	in_turn "${runs[@]}"
	plain_rows "${transports[@]}"
	case_end
}

# One after the other, every other round in reverse order; there is nothing to warm up.
in_turn() {
	local round at
	for ((round = 1; round <= ROUNDS; round++)); do
		for ((at = 0; at < $#; at++)); do
			if ((round % 2)); then plain_run "${@:at+1:1}"; else plain_run "${@:$#-at:1}"; fi
		done
		note_plain "$@"
	done
}

plain_run() { # p2pd_TRANSPORT or a reference
	run_begin "$1" plain
	case $1 in
	p2pd_*) run_p2pd "${1#p2pd_}" plain ;;
	aria2) run_aria2 ;;
	*) run_libtorrent "$1" ;;
	esac
	run_end "$1"
}
note_plain() {
	local run ours=$1
	for run; do
		sample "$CASE.$run" "${TOOK[$run]}" "$BOUND"
		sample "$CASE.$run.seed" "${SENT[$run]}" "$MIB"
		sample "$CASE.$run.cpu" "${BUSY[$run]}"
		[[ $run == p2pd_* ]] || sample "$CASE.beside.$run" "${TOOK[$ours]}" "${TOOK[$run]}"
	done
	sample "$CASE.counted" "${COUNTED[$ours]}" "$MIB"
}
plain_rows() { # TRANSPORT...
	local bar=1.35 ours=p2pd_$1 other
	((FETCHERS <= 8)) || bar=1.3
	row "$CASE.$ours" "$CASE: last of $FETCHERS, $MIB MiB" "p2pd, transport $1" "size / rate" s "<=" "$bar" 1.1
	row "$CASE.$ours.seed" "$CASE: sent by the seed" "p2pd, on the link" size MiB "<=" 1.4 1.1
	row "$CASE.counted" "$CASE: sent by the seed, /metrics" "p2pd, file bytes" size MiB "<=" 1.4 1.1
	row "$CASE.$ours.cpu" "$CASE: processors busy" "p2pd" - % "<=" 90 60
	for other in "${@:2}"; do
		row "$CASE.p2pd_$other" "$CASE: by $other alone" "p2pd, transport $other" "size / rate" s "<=" "$bar" 1.1
	done
	for other in $SWARM_REFERENCES; do
		[[ -e $D/samples.$CASE.beside.$other ]] || continue
		row "$CASE.beside.$other" "$CASE: beside $other" "p2pd, transport $1" "$other" s "<=" 1 0.667
		row "$CASE.$other.cpu" "$CASE: processors busy, $other" "$other" - % "<=" 90 60
	done
}

# What the links allow each host, when something is amiss, from its own start; the worst host counts, by its ratio:
#   staggered  size / rate: the seed's first bytes are at the earlier hosts, which have uploads to spare.
#   slow       host 2, with a tenth of the rate: ten times size / rate.  The others: size / rate; they do not need it.
#   killed     the first half of the fetchers, killed when half of size / rate is over: that, and the time they were
#              down.  The others: size / rate; with half of the uploads gone there is still one for each download.
disturbed_case() {
	local round ours=p2pd_${SWARM_TRANSPORT%% *}
	case_begin "$1" 8 50 32
	[[ $1 != slow ]] || lab_speed 2 "$((MBIT / 10))" || die "lab_speed"
	for ((round = 1; round <= ROUNDS; round++)); do
		run_begin "$ours" "$1"
		run_p2pd "${ours#p2pd_}" "$1"
		run_end "$ours"
		sample "$1" "${TOOK[$ours]}" "${ALLOWED[$ours]}"
	done
	row "$1" "8x50 $1: worst host" "p2pd, transport ${ours#p2pd_}" "what its links allow" s "<=" 1.6 1.3
	case_end
}

# --- one run ---

RUNS=0
declare -A TOOK=() ALLOWED=() SENT=() BUSY=() OWN=() COUNTED=()	# s, s, MiB, %, %, MiB; by run

run_begin() { # RUN HOW
	local host
	RUN=$S/$((++RUNS)) HOW=$2
	for ((host = 1; host <= FETCHERS + 1; host++)); do mkdir -p "$RUN/h$host/share"; done
	COUNTED[$1]=0
}

# The gun, for all: notes what the figures are taken from.  gun_end waits for the fetchers' h*/times (begin and end, in
# microseconds) and takes the figures.
gun_begin() {
	await_quiet
	SENT_BEFORE=$(lab_sent 1)
	note_begin
	[[ -z $SWARM_KEEP ]] || watch_links
}
# For the others: not before their seed sends.
gun_moves() {
	local before=$SENT_BEFORE
	moves() { (($(lab_sent 1) - before > FIRST_BYTES)); }
	until_true 60 0.01 moves
	note_begin
}
note_begin() {
	BUSY_BEFORE=$(busy_ticks) OWN_BEFORE=$(own_ticks)
	BEGIN=$(now_us)
}
# What the peers alone took, in user and in kernel; of one that was killed only what came after.
own_ticks() {
	local pid files=()
	for pid in ${PID[@]+"${PID[@]}"} ${STARTED[@]+"${STARTED[@]}"}; do files+=("/proc/$pid/stat"); done
	cat "${files[@]}" 2>/dev/null | awk '{ sub(/.*\) /, ""); sum += $12 + $13 } END { printf "%d\n", sum }'
}
gun_end() { # RUN
	local end host limit
	limit=$((BEGIN + $(awk "BEGIN { printf \"%d\", $BOUND * $TIMES_MAX * 1e6 }")))
	for ((host = 2; host <= FETCHERS + 1; host++)); do
		until [[ -s $RUN/h$host/times ]]; do
			[[ ! -e $RUN/h$host/failed ]] || fail_run "$1" "host $host: $(tail -n 1 "$RUN/h$host/errors")"
			(($(now_us) < limit)) || fail_run "$1" "host $host has not got it after $TIMES_MAX times size / rate"
			sleep 0.02
		done
	done
	end=$(now_us)
	BUSY[$1]=$(calculate "($(busy_ticks) - $BUSY_BEFORE) * 1e6 / ($end - $BEGIN) / $(nproc)")
	OWN[$1]=$(calculate "($(own_ticks) - $OWN_BEFORE) * 1e6 / ($end - $BEGIN) / $(nproc)")
	SENT[$1]=$(calculate "($(lab_sent 1) - $SENT_BEFORE) / 1048576")
	take_times "$1"
}
# Of the host that took the longest by what it was allowed.
take_times() { # RUN
	local host begin end
	for ((host = 2; host <= FETCHERS + 1; host++)); do
		read -r begin end <"$RUN/h$host/times"
		((begin >= BEGIN)) || begin=$BEGIN
		echo "$host $(((end - begin) / 1000)) $(allowed "$host")"
	done >"$RUN/times"
	read -r TOOK["$1"] ALLOWED["$1"] < <(awk '{ ratio = $2 / 1000 / $3 }
	    ratio > worst { worst = ratio; line = $2 / 1000 " " $3 } END { print line }' "$RUN/times")
}
allowed() { # HOST: seconds
	case $HOW:$1 in
	slow:2) calculate "$BOUND * 10" ;;
	killed:*) if is_killed "$1"; then calculate "$BOUND + $DOWN_S"; else echo "$BOUND"; fi ;;
	*) echo "$BOUND" ;;
	esac
}
is_killed() { (($1 <= 1 + FETCHERS / 2)); }

run_end() { # RUN
	local host
	for ((host = 2; host <= FETCHERS + 1; host++)); do
		cmp "$S/one.bin" "$RUN/h$host/share/one.bin" || fail_run "$1" "host $host fetched something else"
	done
	printf 'bench: %s %s: %.2f of %.2f s, ratio %.2f; seed sent %.2f of size; processors busy %.0f %% (by these %.0f %%)\n' \
	    "$CASE" "$1" "${TOOK[$1]}" "${ALLOWED[$1]}" "$(calculate "${TOOK[$1]} / ${ALLOWED[$1]}")" \
	    "$(calculate "${SENT[$1]} / $MIB")" "${BUSY[$1]}" "${OWN[$1]}" >&2
	keep "$1"
	rm -rf "$RUN"
}
fail_run() { # RUN WHY
	keep "$1"
	die "$CASE $1: $2"
}
keep() { # RUN
	local to
	[[ -n $SWARM_KEEP ]] || return 0
	to=$SWARM_KEEP/$CASE.$1.$RUNS
	rm -rf "$RUN"/h*/share
	mkdir -p "$SWARM_KEEP" && rm -rf "$to" && cp -r "$RUN" "$to" && rm -rf "$to"/h*/state || die "cannot keep $RUN"
}
# Every quarter of a second, how much each link has carried: time in ms, host, KiB sent, KiB got.
watch_links() {
	local files
	files=$(printf '/proc/%s/net/dev ' "${LAB_HOSTS[@]:1}")
	# shellcheck disable=SC2086
	while [[ -e $RUN ]]; do
		awk -v now="$((($(now_us) - BEGIN) / 1000))" 'FNR == 1 { host++ }
		    $1 == "eth0:" { printf "%d h%d %d %d\n", now, host, $10 / 1024, $2 / 1024 }' $files
		sleep 0.25
	done >"$RUN/traffic" 2>/dev/null &
}

# --- p2pd ---

run_p2pd() { # TRANSPORT HOW
	local host fetchers=() run=p2pd_$1
	cp "$S/one.bin" "$RUN/h1/share/one.bin"
	for ((host = 1; host <= FETCHERS + 1; host++)); do host_new "$host" "$1"; done
	for ((host = 1; host <= FETCHERS + 1; host++)); do host_spawn "$host"; done
	for ((host = 1; host <= FETCHERS + 1; host++)); do until_true 60 0.02 is_ready "h$host"; done
	for ((host = 1; host <= FETCHERS + 1; host++)); do until_true 60 0.05 knows_all "$host"; done
	gun_begin
	for ((host = 2; host <= FETCHERS + 1; host++)); do
		fetch_one "$host" "$2" &
		fetchers+=("$!")
	done
	[[ $2 != killed ]] || kill_half
	gun_end "$run"
	COUNTED[$run]=$(calculate "$(bytes_out 1) / 1048576")
	wait "${fetchers[@]}"
	[[ -z $SWARM_KEEP ]] || keep_state
	for ((host = 1; host <= FETCHERS + 1; host++)); do peer_stop "h$host"; done
}

host_new() { # HOST TRANSPORT
	local home=$RUN/h$1 address
	address=$(lab_address "$1")
	HOME_OF[h$1]=$home
	cat >"$home/conf" <<-CONF
		[node]
		name = h$1
		state = $home/state
		log = ${SWARM_LOG:-info}
		[share]
		directory = $home/share
		reserve = 1M
		[rest]
		listen = $address:5001
		[grpc]
		listen = $address:50051
		[control]
		socket = $home/sock
		[network]
		transport = $2
		$( (($1 == 1)) || echo "seed = http://$(lab_address 1):5001")
		[security]
		open_network = yes
	CONF
}
host_spawn() {
	local home=$RUN/h$1
	[[ ! -e $home/log ]] || mv "$home/log" "$home/log.killed"
	lab_start "$1" "$home/log" "$DISK/bin/p2pd" -c "$home/conf"
	PID[h$1]=$LAB_STARTED
}
# The host knows every other and the file.
knows_all() {
	(($(ctl "h$1" peers | grep -c $'^[^\t]*\there') == FETCHERS)) && finds "h$1" one.bin
}
# As a user would; a host that is killed takes its fetch up by itself, and is done when the file has its name.
fetch_one() { # HOST HOW
	local begin
	[[ $2 != staggered ]] || sleep $((($1 - 2) * STAGGER_S))
	begin=$(now_us)
	if ! ctl "h$1" -q fetch one.bin; then
		[[ $2 == killed ]] && is_killed "$1" || { : >"$RUN/h$1/failed"; return; }
		until [[ -e $RUN/h$1/share/one.bin || ! -e $RUN ]]; do sleep 0.02; done
	fi
	echo "$begin $(now_us)" >"$RUN/h$1/times"
} 2>>"$RUN/h$1/errors"
kill_half() {
	local host
	sleep "$(calculate "$BOUND / 2")"
	for ((host = 2; host <= FETCHERS + 1; host++)); do ! is_killed "$host" || kill -KILL "${PID[h$host]}"; done
	sleep "$DOWN_S"
	for ((host = 2; host <= FETCHERS + 1; host++)); do
		is_killed "$host" || continue
		wait "${PID[h$host]}"
		host_spawn "$host"
	done
} 2>/dev/null
metrics() { lab_in "$1" curl -sS "http://$(lab_address "$1"):5001/metrics"; }
bytes_out() { metrics "$1" | awk '/^p2pd_bytes_total.*direction="out"/ { sum += $2 } END { printf "%d\n", sum }'; }
keep_state() {
	local host
	for ((host = 1; host <= FETCHERS + 1; host++)); do
		metrics "$host" >"$RUN/h$host/metrics"
		ctl "h$host" --json fetches >"$RUN/h$host/fetches"
		ctl "h$host" peers >"$RUN/h$host/peers"
	done
}

# --- the others ---

# has_reference NAME: else a line says why not.
has_reference() {
	case $1 in
	aria2) command -v aria2c >/dev/null || { lacks_reference aria2 "aria2c is missing (package aria2)"; return 1; } ;;
	libtorrent | libtorrent_tcp)
		# The packaged one, also where another Python comes first.
		for PYTHON in python3 /usr/bin/python3; do
			! "$PYTHON" -c 'import libtorrent' 2>/dev/null || return 0
		done
		lacks_reference "$1" "there is no libtorrent for Python (package python3-libtorrent)"
		return 1
		;;
	*) die "SWARM_REFERENCES: what is $1?" ;;
	esac
}
lacks_reference() { printf '%s\tskipped: %s\n' "$CASE: beside $1" "$2" >>"$ROWS"; }

# The tracker is in the switch, beside all links.  The seed is ready when it has told the tracker that it lacks nothing.
tracker_start() {
	local url
	url=http://$(lab_address 0):6969/announce
	"$@" "$url" >"$RUN/one.torrent" || die "no torrent: $*"
	lab_start 0 "$RUN/tracker.log" python3 "$HERE/swarm_tracker.py" track "$(lab_address 0)" 6969 "$RUN/announces"
	STARTED=("$LAB_STARTED")
	HELPERS+=("$LAB_STARTED")
	until_true 10 0.02 lab_in 0 curl -s -o "$RUN/answer" "$url?info_hash=x&port=1"
	cp "$S/one.bin" "$RUN/h1/share/one.bin"
}
seed_is_known() { grep -q "^$(lab_address 1) 0 " "$RUN/announces"; }
end_started() {
	kill "${STARTED[@]}"
	wait "${STARTED[@]}"
	HELPERS=() STARTED=()
} 2>/dev/null

torrent_v1() { python3 "$HERE/swarm_tracker.py" torrent "$S/one.bin" "$1" "$PIECE"; }
run_aria2() {
	local host PIECE=$((256 << 10)) # what mktorrent and others take for such sizes
	tracker_start torrent_v1
	printf '#!/bin/bash\necho "$BEGIN ${EPOCHREALTIME/[.,]/}" >"$TIMES"\n' >"$RUN/done"
	chmod +x "$RUN/done"
	aria2_start 1 --check-integrity=true
	until_true 20 0.05 seed_is_known
	gun_begin
	for ((host = 2; host <= FETCHERS + 1; host++)); do aria2_start "$host"; done
	gun_moves
	gun_end aria2
	end_started
}
# It goes on seeding when it has all, as long as it runs.  DHT would look for the world.
aria2_start() { # HOST [OPTION...]
	local home=$RUN/h$1
	HOME=$home BEGIN=$(now_us) TIMES=$home/times lab_start "$1" "$home/log" aria2c --no-conf --dir="$home/share" \
	    --seed-ratio=0 --enable-dht=false --on-bt-download-complete="$RUN/done" "${@:2}" "$RUN/one.torrent"
	STARTED+=("$LAB_STARTED")
	HELPERS+=("$LAB_STARTED")
}

torrent_libtorrent() { "$PYTHON" "$HERE/swarm_libtorrent.py" torrent "$S/one.bin" "$1"; }
run_libtorrent() { # RUN
	local host WIRES=default
	[[ $1 != *_tcp ]] || WIRES=tcp
	tracker_start torrent_libtorrent
	libtorrent_start 1 "$RUN/tracker.log"
	for ((host = 2; host <= FETCHERS + 1; host++)); do libtorrent_start "$host" "$RUN/go"; done
	for ((host = 1; host <= FETCHERS + 1; host++)); do until_true 20 0.05 test -e "$RUN/h$host/ready"; done
	until_true 20 0.05 seed_is_known
	gun_begin
	: >"$RUN/go"
	gun_moves
	gun_end "$1"
	end_started
}
libtorrent_start() { # HOST GO
	local home=$RUN/h$1
	HOME=$home lab_start "$1" "$home/log" "$PYTHON" "$HERE/swarm_libtorrent.py" peer "$WIRES" "$RUN/one.torrent" \
	    "$home/share" "$home/ready" "$2" "$home/times"
	STARTED+=("$LAB_STARTED")
	HELPERS+=("$LAB_STARTED")
}
