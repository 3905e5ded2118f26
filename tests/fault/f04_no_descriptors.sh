#!/bin/bash
# SPDX-License-Identifier: MIT
#
# f04 - no file descriptors (EMFILE, ENFILE), first for those who connect, then for files, then by a limit that is really
# low: the daemon lives, does not flood its log, and serves again within a second after it ended; by the limit it does
# not spin either.
# shellcheck disable=SC2016,SC2317 # eval expands late; functions are called by ok
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

peer_new a
random_file $((2 << 20)) "$TMP/a/share/file.bin"
peer_start a
peer_new b "network.seed=$(url a)"
random_file 100000 "$TMP/b/share/own.bin"

serves() { rest b /v1/files/own.bin -m 1 | cmp - "$TMP/b/share/own.bin" && ctl b status; }
# Ticks (10 ms) of processor time.
spent() { awk '{ print $14 + $15 }' "/proc/${PID[b]}/stat"; }
within_a_second() {
	local begun
	begun=$(now_us)
	until_true 5 serves || return
	echo "it took $((($(now_us) - begun) / 1000)) ms"
	(($(now_us) - begun < 1000000 * FACTOR))
}
lines() { wc -l <"$TMP/b/log"; }

for error in EMFILE ENFILE; do
	fault_plan b calls="accept socket" when every=1 do=$error
	peer_start b
	until_true 10 lists b file.bin
	fault_on b
	said=$(lines)
	for _ in $(seq 8); do rest b /healthz -m 2 >/dev/null 2>&1 & done
	"$P2PCTL" -s "$TMP/b/sock" status >/dev/null 2>&1 &
	ctl_pid=$!
	sleep 2
	ok "$error on accept: it was met" faulted b
	ok "$error on accept: it lives" alive b
	ok "$error on accept: it does not flood its log" test $(($(lines) - said)) -lt 20
	fault_off b
	ok "$error on accept: it serves within a second" within_a_second
	# Whoever waited is served or closed, not forgotten.
	kill "$ctl_pid" 2>/dev/null
	ok "$error on accept: a fetch works" ctl b fetch file.bin
	ok "$error on accept: it stops" eval 'ctl b -q rm file.bin && peer_stop b'
done

fault_plan b calls=open "below=$(disk_of b)" when every=1 do=EMFILE
peer_start b
until_true 10 lists b file.bin
fault_on b
id=$(fetch_start b file.bin)
random_file 1000 "$TMP/b/share/new"
ok "EMFILE on open: a file is answered with an error, not with wrong bytes" \
	eval '[[ $(rest_status b /v1/files/own.bin) == 5* ]]'
ok "EMFILE on open: the file is still listed" lists b own.bin
ok "EMFILE on open: the fetch waits" until_true 5 fetch_is b "$id" waiting
ok "EMFILE on open: a put is refused" exits 1 ctl b put "$TMP/a/share/file.bin" --as other
fault_off b
ok "EMFILE on open: it serves within a second" within_a_second
ok "EMFILE on open: the fetch goes on" until_true 15 fetch_is b "$id" "done"
ok "EMFILE on open: and is equal" cmp "$TMP/a/share/file.bin" "$TMP/b/share/file.bin"
ok "EMFILE on open: the new file is indexed by itself" until_true 20 lists b new
ok "EMFILE on open: nothing was taken for removed" lists a own.bin
peer_stop b

# The real thing: few descriptors, many who connect and stay.
fault_plan b
(ulimit -n 64; exec "$P2PD" -c "$TMP/b/conf" >"$TMP/b/log" 2>&1) &
PID[b]=$!
if until_true 10 ready b 2>/dev/null; then
	python3 - "${PORT[b]}" <<'END' &
import socket, sys, time
held = []
for _ in range(120):
    s = socket.socket()
    s.settimeout(1)
    try:
        s.connect(("127.0.0.1", int(sys.argv[1])))
    except OSError:
        pass
    held.append(s)
time.sleep(3)
END
	holder=$!
	sleep 1
	before=$(spent)
	sleep 1
	ok "64 descriptors, 120 connections: it lives" alive b
	ok "it does not spin" test $(($(spent) - before)) -lt $((50 * FACTOR))
	wait "$holder"
	ok "all closed again: it serves within a second" within_a_second
else
	ok "64 descriptors are too few to start: it says so" grep -q . "$TMP/b/log"
	peer_buried b
fi
finish
