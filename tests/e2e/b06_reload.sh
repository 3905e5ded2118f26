#!/bin/bash
# SPDX-License-Identifier: MIT
#
# b06 - reading the configuration again: by signal and by command; a bad file leaves the old one in force.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

peer_new a share.remote=read
peer_new b
peer_start a
peer_start b
echo x >"$TMP/file"
hup() { kill -HUP "${PID[a]}"; }
upload() { [[ $(rest_status a "/v1/files/$1" -T "$TMP/file") == "$2" ]]; }
trouble() { ctl a status | grep -q "^trouble	.*$1"; }

ok "before: uploads are refused" upload one 403
peer_new a share.remote=upload
hup
ok "after SIGHUP they are not" until_true 5 upload one 201
ok "the log says so" log_has a "configuration read again"

peer_new a share.remote=nonsense "network.seed=$(url b)"
ok "p2pctl reload of a bad file fails with 1" exits 1 ctl a reload
ok "and names file, line and what is accepted" grep -q "conf:[0-9]*: .*read, upload or all" <(ctl a reload 2>&1)
ok "status reports it" trouble "conf:[0-9]*"
ok "the old settings are in force" upload two 201
ok "none of the new ones is" not sees a b
hup
ok "SIGHUP with it says so in the log" until_true 5 log_has a "stays as it was.*conf:[0-9]*"
ok "and the daemon lives" ctl a status
mv "$TMP/a/conf" "$TMP/a/conf.away"
ok "a file that is gone is bad too" exits 1 ctl a reload
ok "and reported" trouble conf

peer_new a share.remote=upload "network.seed=$(url b)" node.log=debug
ok "a good file is taken" ctl a reload
ok "the trouble is over" not trouble .
ok "a new seed is asked at once" until_true 5 sees a b
ok "and the other side sees it" until_true 5 sees b a

peer_new a node.name=other share.settle=200ms "network.seed=$(url b)"
ok "what wants a restart is named" grep -q '^node.name differs\|node name differs\|\[node\] name differs' <(ctl a reload)
ok "each of them" grep -q 'settle.* wants a restart' <(ctl a reload)
ok "and nothing else" not grep -q 'seed\|directory\|remote' <(ctl a reload)
is "until then the name is the old one" "$(ctl a status | grep ^name)" "name	a"
ok "in the log as well" eval 'hup; until_true 5 log_has a "name.*restart"'

echo y >"$TMP/a/share/scanned"
ok "a reload scans the share" eval 'ctl a reload; until_true 5 lists a scanned'
for _ in $(seq 100); do hup; done
ok "a hundred signals do no harm" until_true 10 ctl a status
ok "it restarts" peer_stop a
ok "with the new configuration" peer_start a
is "now the name is the new one" "$(ctl a status | grep ^name)" "name	other"
finish
