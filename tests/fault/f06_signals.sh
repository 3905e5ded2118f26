#!/bin/bash
# SPDX-License-Identifier: MIT
#
# f06 - two daemons on one state directory; SIGTERM with 32 fetches under way, once and twice; a thousand SIGHUP under load;
# a long SIGSTOP.
#
# STOP_SECONDS: how long the peer is stopped (4; a run in the night takes 60).
# shellcheck disable=SC2016,SC2034,SC2317 # eval expands late; functions are called by ok
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

stop_seconds=${STOP_SECONDS:-4}
fetches=32
line_new a $((4 << 20))
seed=http://127.0.0.1:${LINE[a]}
peer_new a "network.advertise=$seed"
for i in $(seq "$fetches"); do random_file $((1 << 20)) "$TMP/a/share/many/$i.bin"; done
random_file $((24 << 20)) "$TMP/a/share/long.bin"
peer_new b "network.seed=$seed" fetch.parallel=32
peer_start a
peer_start b
until_true 10 eval 'lists b long.bin && lists b many/32.bin'

# --- a second daemon ---
twin() {
	sed "s|$TMP/b/sock|$TMP/twin.sock|; s|:${PORT[b]}|:$(free_port)|" "$TMP/b/conf" >"$TMP/twin.conf"
	timeout $((5 * FACTOR)) "$P2PD" -c "$TMP/twin.conf" >"$TMP/twin.log" 2>&1
}
ok "a second daemon on the state directory ends with 1" exits 1 twin
ok "and says why" grep -q "error: another p2pd uses the state directory" "$TMP/twin.log"
ok "the first does not mind" ctl b status
ok "and has its socket" eval '[[ -S $TMP/b/sock && ! -e $TMP/twin.sock ]]'

# --- SIGTERM with many fetches under way ---
start_many() {
	local n
	for n in $(seq "$fetches"); do fetch_start b "many/$n.bin" >/dev/null || return; done
	until_true 10 eval '(($(ctl b fetches | grep -c moving) >= 8))'
}
# ends_within SECONDS: after SIGTERM; answers the exit code in $code.
ends_within() {
	local begun pid=${PID[b]}
	begun=$(now_us)
	until_true "$1" dead b || return
	echo "it took $((($(now_us) - begun) / 1000)) ms"
	unset "PID[b]"
	wait "$pid"
	code=$?
}
have_bytes() { ctl b fetches | awk -F '\t' '{ n += $3 } END { print n + 0 }'; }
code=
ok "32 fetches are under way" start_many
sleep 1
proven=$(have_bytes)
kill -TERM "${PID[b]}"
ok "SIGTERM: it ends within 5 s" ends_within 5
is "SIGTERM: with 0" "$code" 0
peer_start b
ok "it goes on with all of them" eval '(($(ctl b fetches | wc -l) + $(find "$TMP/b/share/many" -type f 2>/dev/null | wc -l) >= fetches))'
ok "where it stopped" until_true 5 eval '(($(have_bytes) + $(find "$TMP/b/share/many" -type f -printf "%s\n" 2>/dev/null | awk "{ n += \$1 } END { print n + 0 }") >= proven))'
kill -TERM "${PID[b]}"
kill -TERM "${PID[b]}"
ok "SIGTERM twice: it ends at once" ends_within 1
peer_start b
echo 0 >"$TMP/a/rate"
ok "all are fetched in the end" until_true 30 diff -r "$TMP/a/share/many" "$TMP/b/share/many"

# --- a thousand SIGHUP under load ---
echo $((8 << 20)) >"$TMP/a/rate"
id=$(fetch_start b long.bin)
until_true 10 fetch_is b "$id" moving
before=$(awk '/VmRSS/ { print $2 }' "/proc/${PID[b]}/status")
for i in $(seq 1000); do
	kill -HUP "${PID[b]}"
	((i % 100 != 0)) || sleep 0.05
done
ok "a thousand SIGHUP: it answers" until_true 5 ctl b status
ok "and moves on" until_true 20 fetch_is b "$id" "done"
ok "exactly" cmp "$TMP/a/share/long.bin" "$TMP/b/share/long.bin"
ok "and did not grow much" test "$(awk '/VmRSS/ { print $2 }' "/proc/${PID[b]}/status")" -lt $((before + 65536))
ok "SIGPIPE is nothing" eval 'kill -PIPE "${PID[b]}"; sleep 0.1; ctl b status'

# --- stopped and continued ---
ok "(it is removed again)" ctl b rm long.bin
echo $((4 << 20)) >"$TMP/a/rate"
id=$(fetch_start b long.bin)
until_true 10 fetch_beyond b "$id" 1000000
kill -STOP "${PID[b]}"
sleep "$stop_seconds"
kill -CONT "${PID[b]}"
ok "stopped and continued: it answers" until_true 2 ctl b status
ok "the peers see each other within 10 s" until_true 10 eval 'sees a b && sees b a'
echo 0 >"$TMP/a/rate"
ok "the fetch goes on" until_true 15 fetch_is b "$id" "done"
ok "exactly" cmp "$TMP/a/share/long.bin" "$TMP/b/share/long.bin"

# The holder stops in the middle.
ok "(it is removed again)" ctl b rm long.bin
echo $((4 << 20)) >"$TMP/a/rate"
id=$(fetch_start b long.bin)
until_true 10 fetch_beyond b "$id" 1000000
kill -STOP "${PID[a]}"
sleep "$stop_seconds"
ok "the holder stopped: the fetching peer answers" ctl b status
kill -CONT "${PID[a]}"
echo 0 >"$TMP/a/rate"
ok "it continued: the fetch goes on" until_true 30 fetch_is b "$id" "done"
ok "exactly" cmp "$TMP/a/share/long.bin" "$TMP/b/share/long.bin"
finish
