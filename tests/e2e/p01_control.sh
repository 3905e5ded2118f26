#!/bin/bash
# SPDX-License-Identifier: MIT
#
# p01 - the control socket, abused: what is malformed is refused, what is slow is dropped, and nobody else notices.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

peer_new a
mkdir "$TMP/a/share/many"
(cd "$TMP/a/share/many" && seq -f "$(printf 'n%.0s' $(seq 200))-%g" 1 3000 | xargs touch)
peer_start a
until_true 20 eval '[[ $(ctl a status | grep ^files) == "files	3000"* ]]'
socket=$TMP/a/sock

# talk NAME: runs the Python on standard input with `s`, a connected socket past its greeting, and lines(n).
talk() {
	cat >"$TMP/talk.py" - <(printf '\ns.close()\n')
	ok "$1" timeout $((30 * FACTOR)) python3 "$HERE/talk.py" "$socket" "$TMP/talk.py"
}

talk "the greeting tells protocol and version" <<<'assert greeting.startswith("220 p2pd control=1 version="), greeting'
talk "an unknown command is a 4xx, and the connection lives" <<'END'
assert ask("dance")[0] == "4"
assert ask("status") == "200" or ask("status")[:3] == "200"
END
talk "bad arguments are 400 with a slug" <<'END'
for bad in "fetches x", "cancel", "search", "search a limit=0", "search a limit=-1", "search a colour=blue", "search a scope=moon", \
        'search "open', "fetches 99999999999999999999999", "put x", "fetch x to=fd", "watch after=x":
    answer = ask(bad)
    assert answer[:3] == "400" and "slug=" in answer, (bad, answer)
END
talk "NUL, CR, controls and invalid UTF-8 are 400, and the state is intact" <<'END'
for bad in b"status\0\n", b"status\r\n", b"search \x01\n", b"search \xff\xfe\n", b'search "\\x00"\n', b"\x7f\n":
    assert ask(bad)[:3] == "400", bad
assert ask("status")[:3] == "200"
END
talk "an empty line does no harm" <<'END'
s.sendall(b"\n  \n")
ask("help")
assert ask("quit")[0] == "2" or True
END
talk "a line over the limit is 413, and the end" <<'END'
answer = ask(b"search " + b"x" * 9000 + b"\n")
assert answer[:3] == "413", answer
assert line() is None
END
talk "a line without an end is not kept for ever" <<'END'
s.sendall(b"status")
begun = time.time()
while line() is not None:
    pass
assert time.time() - begun < 15
END
talk "a hundred commands in one write are answered in order" <<'END'
s.sendall(b"".join(b"fetches %d\nstatus\n" % n for n in range(1, 51)))
for n in range(50):
    assert final()[:3] == "404"
    assert final()[:3] == "200"
END
talk "one command in single bytes is answered alike" <<'END'
for byte in b"search nothing-like-this limit=3\n":
    s.sendall(bytes([byte]))
assert final()[:3] == "200"
END
talk "half a command and a close is nothing" <<<'s.sendall(b"reload")'
talk "a reader that stops does not stop others" <<'END'
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
s.setblocking(False)
try:
    for n in range(20000):
        s.send(b"ls many limit=200\n")
except BlockingIOError:
    pass
other = socket.socket(socket.AF_UNIX)
other.connect(sys.argv[1])
other.settimeout(5)
other.recv(1000)
begun = time.time()
other.sendall(b"status\n")
assert b"200" in other.recv(1000)
assert time.time() - begun < 2, "others wait"
time.sleep(12)
s.settimeout(5)
try:
    while s.recv(1 << 20):
        pass
except ConnectionError:
    pass
END
ok "and is told of in the log" log_has a "did not read its reply"
talk "many connections at once are bounded, and then taken again" <<'END'
held_open = []
for n in range(400):
    one = socket.socket(socket.AF_UNIX)
    one.settimeout(0.2)
    try:
        one.connect(sys.argv[1])
    except OSError:
        break
    held_open.append(one)
for one in held_open:
    one.close()
END
ok "the daemon answers as ever" until_true 5 ctl a status
ok "its memory is bounded" test "$(awk '/VmHWM/ { print $2 }' "/proc/${PID[a]}/status")" -lt $((FACTOR > 1 ? 2000000 : 200000))
ok "its descriptors are free again" until_true 5 eval '(($(ls "/proc/${PID[a]}/fd" | wc -l) < 80))'

# A put of what takes long, whose sender is gone: as for Ctrl-C.
truncate -s 16G "$TMP/long"
"$P2PCTL" -s "$socket" -q put "$TMP/long" &
client=$!
until_true 10 eval '[[ -n $(find "$TMP/a/share/.p2pd-partial" -name "upload-*" -size +1M 2>/dev/null) ]]'
ok "a put is under way" kill $client
ok "its sender is gone: it ends soon, and leaves nothing" until_true 5 eval '[[ -z $(find "$TMP/a/share/.p2pd-partial" -type f) ]]'
ok "nor has it got its name" not test -e "$TMP/a/share/long"
wait $client 2>/dev/null

if ((EUID == 0)); then
	chmod 755 "$TMP/a"
	chmod 666 "$socket" # what the file's mode should keep out, the peer's user must
	ok "another user is refused" exits 3 setpriv --reuid=nobody --regid=nogroup --clear-groups "$P2PCTL" -s "$socket" status
	ok "and it is in the log" log_has a "refused user"
else
	skip "another user wants root"
fi
finish
