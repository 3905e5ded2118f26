#!/bin/bash
# SPDX-License-Identifier: MIT
#
# f14 - a peer comes and goes, once a second or so, killed or stopped in turn: the others keep what they know of it, and
# little more; they do not ask more often than it comes, fill no log, and have it again soon after it stays.
#
# FLAPS=N: how often (20; a run in the night takes 3600).
# shellcheck disable=SC2016,SC2034,SC2317 # eval expands late; functions are called by ok
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

flaps=${FLAPS:-20}
peer_new a
peer_new b "network.seed=$(url a)"
peer_new c "network.seed=$(url a)"
random_file 1000000 "$TMP/c/share/file.bin"
random_file 1000000 "$TMP/b/share/own.bin"
for peer in a b c; do peer_start $peer; done
for peer in a b; do ok "$peer has c's file" until_true 20 lists $peer file.bin; done

resident_kib() { awk '$1 == "VmRSS:" { print $2 }' "/proc/${PID[a]}/status"; }
descriptors() { find "/proc/${PID[a]}/fd" -mindepth 1 | wc -l; }
lines() { wc -l <"$TMP/a/log"; }
state_bytes() { du -sb "$TMP/a/state" | cut -f1; }
at_most() { echo "$1 of at most $2"; (($1 <= $2)); }
before_kib=$(resident_kib) before_fds=$(descriptors) before_lines=$(lines) before_pulls=$(metric a p2pd_pulls_total)
before_state=$(state_bytes)

for ((i = 0; i < flaps; i++)); do
	if ((i % 2)); then peer_kill c; else peer_stop c; fi
	sleep 0.$((RANDOM % 7))
	peer_spawn c
	until_true 10 eval 'ctl c status >/dev/null'
	sleep 0.$((RANDOM % 7))
done
echo "# $(($(resident_kib) - before_kib)) KiB, $(($(lines) - before_lines)) lines, $(($(metric a p2pd_pulls_total) - before_pulls)) pulls"
ok "it is one peer" eval '(($(ctl a peers | wc -l) == 2))'
# Who came and went so often is left alone for a minute at most.
ok "once it stays it is here within a minute or so" until_true 75 sees a c
ok "and what it has is known, once" eval '[[ $(ctl a search --exact file.bin | cut -f3) == 1 ]]'
ok "no more pulls than comings" at_most $(($(metric a p2pd_pulls_total) - before_pulls)) $((3 * flaps))
ok "few lines in the log" at_most $(($(lines) - before_lines)) $((4 * flaps))
ok "no memory is kept" at_most $(($(resident_kib) - before_kib)) $((16384 * FACTOR))
ok "nor on the disk, but for the journal" at_most $(($(state_bytes) - before_state)) $((4 << 20))
ok "nor descriptors" until_true 20 eval 'at_most $(descriptors) $((before_fds + 4))'
ok "a fetch from it works" ctl a -q fetch file.bin
ok "and is equal" cmp "$TMP/c/share/file.bin" "$TMP/a/share/file.bin"
ok "the others are not disturbed" eval 'sees a b && sees b a'
finish
