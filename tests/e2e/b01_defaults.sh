#!/bin/bash
# SPDX-License-Identifier: MIT
#
# b01 - just installed, nothing configured: an ordinary user starts p2pd, and it works, on loopback.
# And what it says when it cannot start.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

# As an ordinary user with a home of his own: nobody, if we are root.
home=$TMP/home
mkdir -m 700 "$home"
as_user=(env -u XDG_CONFIG_HOME -u XDG_STATE_HOME -u XDG_DATA_HOME -u XDG_RUNTIME_DIR -u STATE_DIRECTORY
    -u RUNTIME_DIRECTORY "HOME=$home")
if ((EUID == 0)); then
	chown nobody "$home"
	as_user=(setpriv --reuid=nobody --regid=nogroup --clear-groups "${as_user[@]}")
fi

mkdir -p "$TMP/user"
control() { "${as_user[@]}" "$P2PCTL" "$@"; }
start_user() {
	"${as_user[@]}" "$P2PD" >"$TMP/user/log" 2>&1 &
	PID[user]=$!
}

if ! "${as_user[@]}" test -x "$P2PD" -a -x "$P2PCTL"; then
	skip "an ordinary user cannot reach the binaries"
elif (: <>/dev/tcp/127.0.0.1/5001) 2>/dev/null; then
	skip "somebody listens on port 5001, the default"
else
	start_user
	ok "it comes up without configuration" until_true 10 log_has user "REST on http://127.0.0.1:5001"
	ok "it says where its state and its share are" log_has user \
	    "state $home/.local/state/p2pd, share $home/.local/share/p2pd/share"
	ok "it says where its control socket is" log_has user "control on $home/.local/state/p2pd/p2pd.sock"
	ok "p2pctl finds the socket by itself" until_true 5 control status
	ok "status names the share" grep -q "^share	$home/.local/share/p2pd/share$" <(control status)
	ok "the key is its owner's alone" test "$(stat -c %a "$home"/.local/state/p2pd/*key* | sort -u)" = 600
	ok "the socket is its owner's alone" test "$(stat -c %a "$home/.local/state/p2pd/p2pd.sock")" = 600
	ok "it listens on loopback only" not grep -E '^ *[0-9]+: 00000000:1389 ' /proc/net/tcp
	ok "a file in the share is offered" bash -c "echo hello >'$home/.local/share/p2pd/share/hello.txt'"
	ok "and found" until_true 5 eval 'control ls | grep -q "^hello.txt"'

	before=$(control status | grep '^peer')
	ok "it ends with 0" peer_stop user
	ok "its socket is gone" not test -e "$home/.local/state/p2pd/p2pd.sock"
	ok "p2pctl says that it cannot connect, with 3" exits 3 control status
	start_user
	ok "it starts again" until_true 10 control status
	is "and is the same peer" "$(control status | grep '^peer')" "$before"
	ok "and ends again" peer_stop user
fi

# --- what does not start, and says why ---

# refused NAME: the start fails with 1, within a bound.
refused() {
	peer_spawn "$1"
	(until_true 10 not kill -0 "${PID[$1]}")
	wait "${PID[$1]}"
	local code=$?
	unset "PID[$1]"
	is_same "$code" 1
}

peer_new a
peer_start a
PORT[b]=${PORT[a]}
peer_new b
ok "a port that is taken is an error" refused b
ok "which names the port" log_has b "${PORT[a]}"
ok "and how often it happened: one line" test "$(grep -c error: "$TMP/b/log")" = 1

peer_new second "node.state=$TMP/a/state"
ok "a second daemon on one state directory is refused" refused second
ok "and says so" log_has second "another p2pd uses the state directory $TMP/a/state"

peer_new third "control.socket=$TMP/a/sock"
ok "a second daemon on one control socket is refused" refused third
ok "and names it" log_has third "$TMP/a/sock"
ok "the first lives on" ctl a status

bad() { # NAME LINE WHAT: a configuration with one line more
	printf '%s\n' "[node]" "state = $TMP/x" "$2" >"$TMP/second/conf"
	ok "$1 is refused" refused second
	ok "$1: file and line are named" log_has second "$TMP/second/conf:3: .*$3"
}
bad "an unknown key" "colour = blue" "colour"
bad "a bad value" "log = loud" "error, warning, info or debug"
bad "a duplicate key" "state = /tmp" "state"
bad "a relative path" "name = a/b" "name"
printf '[rest]\nlisten = 0.0.0.0:0\n' >"$TMP/second/conf"
ok "a network address without authentication is refused" refused second
ok "and the key that allows it is named" log_has second "open_network"
ok "p2pd -t finds the same" exits 1 "$P2PD" -t -c "$TMP/second/conf"
ok "a missing file is refused" exits 1 "$P2PD" -c "$TMP/nothing"
ok "wrong usage is 2" exits 2 "$P2PD" --wrong
finish
