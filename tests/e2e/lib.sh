# shellcheck shell=bash
# SPDX-License-Identifier: MIT
#
# lib.sh - what the scenarios share; a scenario sources it first and calls `finish` last.
#
# A scenario makes peers (peer_new), starts them (peer_start), and talks to them only through p2pctl (ctl) and curl
# (rest).  Nothing sleeps blindly: until_true polls a condition, with a bound.  Each check prints "ok" or "not ok"; the
# last line counts them.  Exit code: 0 passed, 77 all skipped, 1 failed.
#
# On the way out every daemon gets SIGTERM and must end with 0, no log may hold a sanitizer's report, and the
# temporary directory goes, unless E2E_KEEP is set.
#
# P2PD, P2PCTL: the binaries.  TIMEOUT_FACTOR: multiplies every bound, for sanitizers and slow machines.

set -u
: "${P2PD:?the path of p2pd}" "${P2PCTL:?the path of p2pctl}"
FACTOR=${TIMEOUT_FACTOR:-1}
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
TMP=$(mktemp -d "${TMPDIR:-/tmp}/p2pd-e2e.XXXXXX")
chmod 711 "$TMP"
PORTS=${BUILDDIR:-${TMPDIR:-/tmp}}/p2pd-e2e.ports	# the last one that was drawn
declare -A PID=() PORT=() GRPC_PORT=()	# of peers, by name
HELPERS=()			# process ids of what else runs
MOUNTS=()			# what was mounted
passed=0 failed=0 skipped=0
unset http_proxy HTTP_PROXY all_proxy ALL_PROXY JOURNAL_STREAM NOTIFY_SOCKET
export LC_ALL=C.UTF-8

# --- checks ---

# ok NAME COMMAND...: the command must succeed.
ok() {
	local name=$1
	shift
	if "$@" >"$TMP/check" 2>&1; then
		echo "ok - $name"
		passed=$((passed + 1))
	else
		echo "not ok - $name"
		{ echo "   ran: $*"; head -c 2000 "$TMP/check"; } | sed 's/^/# /'
		failed=$((failed + 1))
	fi
}

# is NAME GOT WANTED
is() { ok "$1" is_same "$2" "$3"; }
is_same() { [[ $1 == "$2" ]] || { echo "got \"$1\", wanted \"$2\""; return 1; }; }
not() { ! "$@"; }
# exits CODE COMMAND...
exits() {
	local code=0
	"${@:2}" || code=$?
	is_same "$code" "$1"
}
skip() {
	echo "skipped: $1"
	skipped=$((skipped + 1))
}

now_us() { echo "${EPOCHREALTIME/[.,]/}"; }

# until_true SECONDS COMMAND...: polls every 50 ms.
until_true() {
	local end=$(($(now_us) + $1 * FACTOR * 1000000))
	shift
	until "$@" >/dev/null 2>&1; do
		(($(now_us) < end)) || { "$@"; return; }
		sleep 0.05
	done
}

# never_true SECONDS COMMAND...: it must not come true in that time.
never_true() {
	local end=$(($(now_us) + $1 * 1000000))
	shift
	while (($(now_us) < end)); do
		! "$@" >/dev/null 2>&1 || { echo "came true: $*"; return 1; }
		sleep 0.05
	done
}

# checks_of COMMAND...: a program that prints "ok - ..." and "not ok - ..." itself; its checks count, and it must end well.
checks_of() {
	local line
	while IFS= read -r line; do
		echo "$line"
		case $line in
		'ok - '*) passed=$((passed + 1)) ;;
		'not ok - '*) failed=$((failed + 1)) ;;
		'skipped: '*) skipped=$((skipped + 1)) ;;
		esac
	done < <("$@" 2>&1; echo $? >"$TMP/checks.code")
	is "the checks came to their end" "$(cat "$TMP/checks.code")" 0
}

# --- peers ---

# Outside of the range that outgoing connections take their ports from; one after the other, so that scenarios that run side by
# side never draw the same before they listen.
free_port() {
	local port
	(
		flock 9
		read -r port <&9 || port=$((RANDOM % 16000))
		while port=$(((port + 1) % 16000)); (: <>"/dev/tcp/127.0.0.1/$((15000 + port))") 2>/dev/null; do :; done
		echo "$port" >"$PORTS"
		echo "$((15000 + port))"
	) 9<>"$PORTS"
}

# grpc_new NAME: the peer gets a gRPC face too.  Call before peer_new.
grpc_new() { GRPC_PORT[$1]=$(free_port); }

# peer_new NAME [SECTION.KEY=VALUE ...]: a directory and a configuration; a pair replaces the usual one.
peer_new() {
	local name=$1 dir=$TMP/$1 pair section given
	shift
	mkdir -p "$dir/share"
	[[ -n ${PORT[$name]-} ]] || PORT[$name]=$(free_port)
	given=" $*"
	for pair in "node.name=$name" "node.state=$dir/state" "share.directory=$dir/share" share.settle=100ms \
	    share.reserve=1M "rest.listen=127.0.0.1:${PORT[$name]}" \
	    "grpc.listen=${GRPC_PORT[$name]+127.0.0.1:${GRPC_PORT[$name]}}" "control.socket=$dir/sock" network.heartbeat=1s; do
		[[ $given == *" ${pair%%=*}="* ]] || set -- "$@" "$pair"
	done
	for section in node share rest grpc control network fetch amqp security; do
		echo "[$section]"
		for pair; do [[ $pair != "$section".* ]] || echo "${pair#*.}"; done
	done >"$dir/conf"
}

url() { echo "http://127.0.0.1:${PORT[$1]}"; }
ctl() { "$P2PCTL" -s "$TMP/$1/sock" "${@:2}"; }
# rest NAME PATH [curl's arguments]: the body.
rest() { curl -sS --noproxy '*' -m $((20 * FACTOR)) --path-as-is "${@:3}" "$(url "$1")$2"; }
# The status alone, into a variable or a check.
rest_status() { rest "$@" -o /dev/null -w '%{http_code}'; }
log_has() { grep -q -e "$2" "$TMP/$1/log"; }
# metric PEER NAME: the sum of all that has this name; or NAME{LABELS}, of all that has these labels first.
metric() {
	rest "$1" /metrics | awk -v name="${2%\}}" 'index($1, name) == 1 && substr($1, length(name) + 1) ~ /^([{,}]|$)/ {
		sum += $2
		found = 1
	}
	END { if (found) printf "%.0f\n", sum }'
}
ready() { ctl "$1" status | grep -q "^index	ready$"; }

# Without waiting; each start writes a new log and appends it to the old ones on the way out.
peer_spawn() {
	[[ ! -e $TMP/$1/log ]] || cat "$TMP/$1/log" >>"$TMP/$1/log.old"
	"$P2PD" -c "$TMP/$1/conf" >"$TMP/$1/log" 2>&1 &
	PID[$1]=$!
}

peer_start() {
	peer_spawn "$1"
	until_true 10 log_has "$1" "REST on http" && until_true 20 ready "$1" && return
	echo "# peer $1 does not come up:"
	sed 's/^/# /' "$TMP/$1/log"
	exit 1
}

# SIGTERM; answers the daemon's exit code.
peer_stop() {
	local pid=${PID[$1]}
	unset "PID[$1]"
	kill -TERM "$pid" 2>/dev/null
	(until_true 15 not kill -0 "$pid") || kill -KILL "$pid"
	wait "$pid" 2>/dev/null
}

peer_kill() {
	kill -KILL "${PID[$1]}"
	wait "${PID[$1]}" 2>/dev/null
	unset "PID[$1]"
}

# --- what is asked often ---

# lists PEER NAME: the network's catalog, as this peer has it, has the name.
lists() { ctl "$1" search --exact "$2" | grep -q .; }
root_of() { ctl "$1" search --exact "$2" --local | cut -f5; }
# state_of PEER OTHER: here, suspect, away
state_of() { ctl "$1" peers | awk -F '\t' -v name="$2" '$1 == name { print $2 }'; }
sees() { [[ $(state_of "$1" "$2") == "${3:-here}" ]]; }
# fetch_field PEER NUMBER COLUMN: 2 state, 3 bytes done, 4 bytes, 12 why
fetch_field() { ctl "$1" fetches "$2" | cut -f"$3"; }
fetch_is() { [[ $(fetch_field "$1" "$2" 2) == "$3" ]]; }
fetch_beyond() {
	local at
	at=$(fetch_field "$1" "$2" 3)
	((${at:-0} > $3))
}
# fetch_start PEER ARGUMENT...: detached; answers its number.
fetch_start() { ctl "$1" --json fetch -d "${@:2}" | grep -o '"fetch": *[0-9]*' | head -n 1 | grep -o '[0-9]*$'; }
random_file() { mkdir -p "$(dirname "$2")" && head -c "$1" /dev/urandom >"$2"; }

# throttle PEER: from now on the peer is to be reached by a slow line, $TMP/PEER/rate bytes a second (0: no limit).
# Call between peer_new and peer_start, with network.advertise=http://127.0.0.1:${LINE[PEER]}.
declare -A LINE=()
line_new() {
	LINE[$1]=$(free_port)
	[[ -n ${PORT[$1]-} ]] || PORT[$1]=$(free_port)
	mkdir -p "$TMP/$1"
	echo "${2:-0}" >"$TMP/$1/rate"
	python3 "$HERE/slow_line.py" "${LINE[$1]}" "${PORT[$1]}" "$TMP/$1/rate" &
	HELPERS+=("$!")
	until_true 10 bash -c ": <>/dev/tcp/127.0.0.1/${LINE[$1]}"
}

# --- the way out ---

no_sanitizer_report() {
	! grep -rlE 'ERROR: (Address|Leak)Sanitizer|WARNING: ThreadSanitizer|runtime error:' "$TMP"/*/log* 2>/dev/null
}

end_everything() {
	local name pid
	for name in "${!PID[@]}"; do ok "peer $name ends with 0 on SIGTERM" peer_stop "$name"; done
	for pid in ${HELPERS[@]+"${HELPERS[@]}"}; do
		kill "$pid" 2>/dev/null
		wait "$pid" 2>/dev/null
	done
}

cleanup() {
	local code=$1 mount
	trap - EXIT
	exec >&3 2>&1
	end_everything
	ok "no sanitizer reported" no_sanitizer_report
	if ((code != 0 && code != 77)); then
		echo "not ok - the scenario reached its end"
		failed=$((failed + 1))
	fi
	if ((failed > 0)); then tail -n 25 "$TMP"/*/log 2>/dev/null | cut -c 1-300 | sed 's/^/# /'; fi
	for mount in ${MOUNTS[@]+"${MOUNTS[@]}"}; do umount "$mount"; done
	if [[ -n ${E2E_KEEP-} ]]; then echo "# kept: $TMP"; else rm -rf "$TMP"; fi
	echo "$passed passed, $failed failed, $skipped skipped"
	if ((failed > 0)); then exit 1; fi
	exit "$code"
}
exec 3>&1 # a check that ends the scenario has its output elsewhere
trap 'cleanup $?' EXIT
trap 'exit 1' INT TERM

skip_all() {
	skip "$1"
	exit 77
}
finish() { exit 0; }
