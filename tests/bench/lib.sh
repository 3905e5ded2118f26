# shellcheck shell=bash
# SPDX-License-Identifier: MIT
#
# lib.sh - what the benchmarks share.
#
# A benchmark is a function bench_NAME in NAME.sh.  It calls needs for its tools, makes its peers and its data, calls
# round for all rounds (which note figures with sample), and row for each line of the table.  It runs in a shell of
# its own: whatever it started is ended, and its data removed, when that shell ends.  A figure of ours and one of the
# reference belong together, and so the ratio is theirs, never that of two medians.

ROUNDS=${ROUNDS:-5}
BIG=$((${BENCH_BIG:-4096} << 20))
ONE=$((${BENCH_ONE:-1024} << 20))
PATIENCE_S=${BENCH_QUIET:-10}
QUIET_TICKS=4		# of 1/100 s that all processors together may be busy in 0.2 s
TSV=${BENCH_TSV:-$PWD/bench.tsv}
export LC_ALL=C.UTF-8
unset http_proxy HTTP_PROXY all_proxy ALL_PROXY JOURNAL_STREAM NOTIFY_SOCKET
DISK=$(mktemp -d "${BENCH_DIR:-/var/tmp}/p2pd-bench.XXXXXX") || exit 1
SHM=$(mktemp -d "${BENCH_SHM:-/dev/shm}/p2pd-bench.XXXXXX") || exit 1
CHILD=			# the shell of the benchmark that runs
trap 'rm -rf "$DISK" "$SHM"' EXIT
trap '[[ -z $CHILD ]] || { kill "$CHILD"; wait "$CHILD"; }; exit 1' INT TERM HUP
mkdir "$DISK/bin"
cp "$P2PD" "$DISK/bin/p2pd" && cp "$P2PCTL" "$DISK/bin/p2pctl" || exit 1
CONGESTION=$(cat /proc/sys/net/ipv4/tcp_congestion_control)
ROWS=$DISK/rows		# lines: what, ours, reference, unit, sense, bar, aim, file of samples
: >"$ROWS"

say() { echo "bench: $*" >&2; }
die() {
	say "failed: $*"
	exit 1
}
# needs TOOL...: else the benchmark is skipped, and a line says why.
needs() {
	local tool
	for tool; do
		command -v "$tool" >/dev/null || skip_bench "$tool is missing"
	done
}
skip_bench() {
	printf '%s\tskipped: %s\n' "$BENCH" "$1" >>"$ROWS"
	exit 0
}

# --- one benchmark ---

run_bench() {
	say "$1 ..."
	(
		BENCH=$1
		D=$DISK/$1 S=$SHM/$1 # data of this benchmark, on disk and in memory
		declare -A PID=() PORT=() GRPC_PORT=() HOME_OF=()
		HELPERS=()
		mkdir "$D" "$S"
		trap end_bench EXIT
		trap 'exit 1' INT TERM HUP
		"bench_$1"
	) &
	CHILD=$! # behind, so that a signal to us is heard at once
	wait "$CHILD" && CHILD= && return
	CHILD=
	printf '%s\tfailed\n' "$1" >>"$ROWS"
	return 1
}

end_bench() {
	local code=$? name pid
	trap - EXIT
	for name in "${!PID[@]}"; do peer_stop "$name" || code=1; done
	for pid in ${HELPERS[@]+"${HELPERS[@]}"}; do
		kill "$pid" 2>/dev/null
		wait "$pid" 2>/dev/null
	done
	if ((code != 0)); then tail -n 20 "$D"/*/log "$S"/*/log 2>/dev/null | cut -c 1-300 >&2; fi
	rm -rf "$D" "$S"
	exit "$code"
}

# rounds COMMAND...: each once to warm up, then ROUNDS times, every other round in reverse order.  A command is called
# with the number of the round, 0 to warm up, and leaves its figure in FIGURE[COMMAND].
declare -A FIGURE=()
rounds() {
	local round at
	for ((round = 0; round <= ROUNDS; round++)); do
		for ((at = 0; at < $#; at++)); do
			if ((round % 2)); then "${@:at+1:1}" "$round"; else "${@:$#-at:1}" "$round"; fi
		done
		((round == 0)) || note_round
	done
}
note_round() { die "$BENCH has no note_round"; }
# sample KEY OURS [REFERENCE]
sample() { echo "$2 ${3:--}" >>"$D/samples.$1"; }
# row KEY WHAT OURS REFERENCE UNIT SENSE BAR AIM: OURS and REFERENCE say what was run, SENSE is "<=" or ">=".
row() {
	cp "$D/samples.$1" "$DISK/samples.$1"
	printf '%s\t' "${@:2:7}" "$DISK/samples.$1" | sed 's/\t$/\n/' >>"$ROWS"
}

now_us() { echo "${EPOCHREALTIME/[.,]/}"; }
# Waits until the rest of the machine is quiet, but no longer than $PATIENCE_S; rounds that began in noise are counted.
await_quiet() {
	local end=$((SECONDS + PATIENCE_S)) before after
	until before=$(busy_ticks) && sleep 0.2 && after=$(busy_ticks) && ((after - before <= QUIET_TICKS)); do
		((SECONDS < end)) && continue
		echo "$BENCH" >>"$DISK/loud"
		return
	done
}
busy_ticks() { awk '/^cpu / { print $2 + $3 + $4 + $7 + $8 + $9 }' /proc/stat; }
# timed NAME COMMAND...: its seconds into FIGURE[NAME].
timed() {
	local name=$1 begin end
	shift
	await_quiet
	begin=${EPOCHREALTIME/[.,]/}
	"$@" || die "$*"
	end=${EPOCHREALTIME/[.,]/}
	FIGURE[$name]=$(seconds $((end - begin)))
}
seconds() { printf '%d.%06d\n' $(($1 / 1000000)) $(($1 % 1000000)); }
calculate() { awk "BEGIN { printf \"%.6g\\n\", $1 }"; }

# until_true SECONDS POLL COMMAND...
until_true() {
	local end=$(($(now_us) + $1 * 1000000)) poll=$2
	shift 2
	until "$@" >/dev/null 2>&1; do
		(($(now_us) < end)) || die "gave up waiting for: $*"
		sleep "$poll"
	done
}

# --- peers, as in tests/e2e ---

free_port() {
	local port
	while port=$((15000 + RANDOM % 16000)); (: <>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do :; done
	echo "$port"
}
# peer_new NAME DIRECTORY [SEED]: its share is DIRECTORY/share.
peer_new() {
	mkdir -p "$2/share"
	HOME_OF[$1]=$2
	PORT[$1]=$(free_port)
	GRPC_PORT[$1]=$(free_port)
	cat >"$2/conf" <<-CONF
		[node]
		name = $1
		state = $2/state
		[share]
		directory = $2/share
		reserve = 1M
		[rest]
		listen = 127.0.0.1:${PORT[$1]}
		[grpc]
		listen = 127.0.0.1:${GRPC_PORT[$1]}
		[control]
		socket = $2/sock
		[network]
		transport = rest
		${3:+seed = http://127.0.0.1:${PORT[$3]}}
	CONF
}
ctl() { "$DISK/bin/p2pctl" -s "${HOME_OF[$1]}/sock" "${@:2}"; }
is_ready() { [[ $(ctl "$1" status) == *$'\nindex\tready'* ]]; }
peer_spawn() {
	"$DISK/bin/p2pd" -c "${HOME_OF[$1]}/conf" >"${HOME_OF[$1]}/log" 2>&1 &
	PID[$1]=$!
}
# peer_start NAME [POLL]: answers when its index is ready.
peer_start() {
	peer_spawn "$1"
	until_true "${BENCH_PATIENCE:-300}" "${2:-0.05}" is_ready "$1"
}
peer_stop() {
	local pid=${PID[$1]}
	unset "PID[$1]"
	kill "$pid" 2>/dev/null
	wait "$pid" || die "peer $1 ended with $?"
}
# field NAME KEY: a number from the status.
field() { ctl "$1" --json status | grep -o "\"$2\": *[0-9]*" | grep -o '[0-9]*$'; }
finds() { [[ -n $(ctl "$1" search --exact "$2") ]]; }
lacks() { [[ -z $(ctl "$1" search --local --exact "$2") ]]; }

# --- the others ---

# nginx_start ROOT: serves it at $NGINX, in the way that its users know.
nginx_start() {
	local port
	port=$(free_port)
	mkdir -p "$D/nginx"
	cat >"$D/nginx/conf" <<-CONF
		$( ((EUID != 0)) || echo "user root;")
		daemon off;
		worker_processes auto;
		pid $D/nginx/pid;
		error_log $D/nginx/error.log;
		events { worker_connections 1024; }
		http {
			access_log off;
			sendfile on;
			tcp_nopush on;
			keepalive_requests 100000000;
			client_body_temp_path $D/nginx/body;
			proxy_temp_path $D/nginx/proxy;
			fastcgi_temp_path $D/nginx/fastcgi;
			uwsgi_temp_path $D/nginx/uwsgi;
			scgi_temp_path $D/nginx/scgi;
			server { listen 127.0.0.1:$port; root $1; }
		}
	CONF
	nginx -e "$D/nginx/error.log" -c "$D/nginx/conf" &
	HELPERS+=("$!")
	NGINX=http://127.0.0.1:$port NGINX_PORT=$port
	until_true 10 0.05 curl -s -o "$D/nginx/answer" "$NGINX/"
}

# built_tool NAME: one of our tools, made by `make bench` beside P2PD.
built_tool() {
	local built
	built=$(dirname "$P2PD")/tests/bench/$1
	[[ -x $built ]] || skip_bench "$built is not built: make bench builds it"
	cp "$built" "$DISK/bin/$1"
}

# Random, so that no layer below can make it smaller; then read once, so that it is in the page cache.
make_file() { # BYTES PATH
	mkdir -p "$(dirname "$2")"
	if ! head -c "$1" /dev/urandom >"$2" || ! sync "$2" || ! cat "$2" >/dev/null; then die "cannot make $2"; fi
}
room_for() { # DIRECTORY BYTES
	(($(df --output=avail -B1 "$1" | tail -n 1) > $2)) || skip_bench "$1 has no room for $2 bytes"
}

# --- the table ---

show_table() {
	{
		echo "# $(date -u +%FT%TZ), $(nproc) cores, load $(cut -d' ' -f1-3 /proc/loadavg), Linux $(uname -r)"
		echo "# $("$DISK/bin/p2pd" --version | head -n 1); congestion control $CONGESTION ($BENCH_NETWORK" \
		    "network); medians of $ROUNDS rounds in turn"
		[[ ! -e $DISK/loud ]] || echo "# began while others kept the machine busy:" \
		    "$(sort "$DISK/loud" | uniq -c | awk '{ printf "%s%s %s", sep, $1, $2; sep = ", " }')"
	} | tee "$TSV"
	awk -v tsv="$TSV" -f "$HERE/table.awk" "$ROWS"
	echo "# also in $TSV"
}
