#!/bin/bash
# SPDX-License-Identifier: MIT
#
# s02 - p2pd as a service of a real systemd: installed, started, used, reloaded, hung, stopped, under its whole
# confinement and among the users of a machine.
#
# The guest is a Debian in a directory, booted by systemd-nspawn with a throw-away overlay and a network of its own.
# The directory is made once ($P2PD_GUEST_ROOT, else guest/ in the build tree).  A system call that the unit
# forbids kills the service here, where the unit as it is only lets the call fail: what is needed must not be forbidden.
# Functions are handed over by name.
# shellcheck disable=SC2317,SC2016
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

: "${BUILDDIR:?the build tree}"
ROOT=${P2PD_GUEST_ROOT:-$BUILDDIR/guest}
PACKAGES=systemd,systemd-sysv,dbus,iproute2,procps,curl,libmicrohttpd12,libcurl4,libuv1,libsqlite3-0
PACKAGES+=,libjansson4,libssl3,libinih1,libutf8proc2,libgrpc29,libprotobuf-c1
[ "$(dpkg --print-architecture)" != amd64 ] || PACKAGES+=,libipsec-mb1
HOST_ADDRESS=192.0.2.1	# of the guest, on its loopback device; not a loopback address

# --- the guest ---

# A root that was made for other packages is made anew; one that somebody else gave us is taken as it is.
make_root() {
	[[ -z ${P2PD_GUEST_ROOT-} || ! -e $ROOT/usr ]] || return 0
	[[ $(cat "$ROOT/.packages" 2>/dev/null) != "$PACKAGES" ]] || return 0
	rm -rf "$ROOT" "$ROOT.new"
	mkdir -p "$(dirname "$ROOT")"
	mmdebstrap --quiet --variant=minbase --include="$PACKAGES" bookworm "$ROOT.new" &&
		echo "$PACKAGES" >"$ROOT.new/.packages" && mv "$ROOT.new" "$ROOT"
}

# in_guest COMMAND...: as root of the guest, with nothing of our environment.
in_guest() {
	nsenter -t "$init" -m -p -n -u -i -C env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin \
		HOME=/root LC_ALL=C.UTF-8 "$@"
}
as() { in_guest runuser -u "$1" -- env HOME="/home/$1" "${@:2}"; }

is_booted() {
	init=$(pgrep -P "$guest" | head -n 1)
	[[ -n $init ]] && in_guest systemctl is-system-running 2>/dev/null | grep -qE '^(running|degraded)'
}

boot() {
	systemd-nspawn -q -D "$ROOT" --boot --register=no --keep-unit --private-network --machine="p2pd-$$" \
		--volatile=overlay --console=read-only --bind-ro="$TMP/stage:/stage" \
		</dev/null >"$TMP/boot.log" 2>&1 &
	guest=$!
	HELPERS+=("$guest")
	until_true 30 is_booted
}

# --- what is asked often ---

show() { in_guest systemctl show -P "$1" p2pd; }
pctl() { in_guest p2pctl "$@"; }
owner_and_mode() { in_guest stat -c '%U:%G %a' "$1"; }
journal() { in_guest journalctl -q -o cat _SYSTEMD_UNIT=p2pd.service "$@"; }
journal_has() { journal | grep -q -e "$1"; }
status_has() { in_guest grep -qE "^$1:[[:space:]]+$2\$" "/proc/$(show MainPID)/status"; }
# in_service COMMAND...: sees the files as the service does.
in_service() { in_guest nsenter -t "$(show MainPID)" -m "$@"; }
lists_file() { pctl search --exact "$1" | grep -q .; }
lists_peer() { pctl peers | grep -q "^$1"; }
lists_own() { pctl search --exact "$1" --local | grep -q .; }
write_file() { in_guest tee "$1" >/dev/null; }
# drop_in NAME: what `systemctl edit` would write, from standard input.
drop_in() {
	in_guest mkdir -p /etc/systemd/system/p2pd.service.d
	write_file "/etc/systemd/system/p2pd.service.d/$1.conf"
	in_guest systemctl daemon-reload
}
configure() { write_file "$conf"; }

# --- can it be done here? ---

[[ $(id -u) == 0 ]] || skip_all "only root boots a guest"
for tool in systemd-nspawn nsenter mmdebstrap make; do
	command -v $tool >/dev/null || skip_all "no $tool (apt-get install systemd-container mmdebstrap)"
done
if ldd "$P2PD" | grep -qE 'lib(a|t|ub)san'; then skip_all "a sanitizer's build is not for the guest"; fi
make_root >"$TMP/root.log" 2>&1 || skip_all "no guest can be made: $(tail -n 1 "$TMP/root.log")"
ok "make install with DESTDIR" \
	env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL make -C "$BUILDDIR" -s install DESTDIR="$TMP/stage"
[[ -n $(find "$TMP/stage" -name p2pd.service) ]] || skip_all "the build tree installs no unit"
boot || skip_all "no guest boots here: $(tail -n 1 "$TMP/boot.log")"

# --- installed ---

in_guest cp -a /stage/. /
conf=/$(cd "$TMP/stage" && find . -name p2pd.conf -path '*/p2pd/*' | sed 's|^\./||')
in_guest systemd-sysusers
in_guest useradd -m alice
in_guest useradd -m bob
in_guest ip address add $HOST_ADDRESS/32 dev lo
echo "$HOST_ADDRESS bob.test" | in_guest tee -a /etc/hosts >/dev/null
ok "the guest has every library" not in_guest sh -c 'ldd "$(command -v p2pd)" | grep "not found"'
drop_in kill <<<$'[Service]\nSystemCallErrorNumber=kill'

# --- just installed, nothing configured ---

ok "systemctl enable" in_guest systemctl enable -q p2pd
ok "systemctl start waits until it is ready" in_guest systemctl start p2pd
if ((failed > 0)); then
	journal | tail -n 20
	exit 1
fi
is "  and it is active" "$(show ActiveState)/$(show SubState)" active/running
is "  and says what it does" "$(show StatusText)" "sharing /var/lib/p2pd/share"
is "it runs as its own user" "$(in_guest stat -c %U:%G "/proc/$(show MainPID)")" p2pd:p2pd
is "the state directory is its own" "$(owner_and_mode /var/lib/p2pd)" "p2pd:p2pd 750"
is "  and so is the socket's" "$(owner_and_mode /run/p2pd)" "p2pd:p2pd 750"
is "the socket is its user's only" "$(owner_and_mode /run/p2pd/p2pd.sock)" "p2pd:p2pd 600"
is "the key is its user's only" "$(in_guest find /var/lib/p2pd -name '*.pem' -printf '%u:%g %m')" "p2pd:p2pd 600"
ok "it has no capability" status_has CapEff 0+
ok "  and gets none" status_has NoNewPrivs 1
ok "  and is under a system call filter" status_has Seccomp 2
ok "/usr is read-only for it" not in_service touch /usr/p2pd
ok "  and /etc" not in_service touch /etc/p2pd
ok "no home is seen by it" not in_service test -e /home/alice
ok "only loopback is listened on" not in_guest sh -c "ss -Hltn | grep -vE '(127\.0\.0\.1|\[::1\]|\[::ffff:127\.0\.0\.1\]):'"
ok "root controls it" pctl status
ok "another user does not" not as alice p2pctl -s /run/p2pd/p2pd.sock status
ok "nothing was worth a warning" not grep -q . <(journal -p warning)
# A file of another user, hence one that no lease can be had on.
in_guest sh -c 'echo dropped >/var/lib/p2pd/share/dropped.txt'
ok "a file that root drops into the share is shared" until_true 10 lists_own dropped.txt

# --- configured: the network, a group that controls ---

configure <<END
[rest]
listen = 127.0.0.1:5001
listen = $HOST_ADDRESS:5001
[control]
group = p2pd
[network]
seed = http://bob.test:5101
heartbeat = 1s
[security]
open_network = yes
END
in_guest usermod -aG p2pd alice
ok "restart with a network address" in_guest systemctl restart p2pd
is "the socket is the group's" "$(owner_and_mode /run/p2pd/p2pd.sock)" "p2pd:p2pd 660"
ok "a member of the group controls it" as alice p2pctl -s /run/p2pd/p2pd.sock status
ok "  and nobody else" not as bob p2pctl -s /run/p2pd/p2pd.sock status

# Her home is closed to the service; what she hands over is not.
as alice sh -c 'umask 077; head -c 3000000 /dev/urandom >~/own.bin'
ok "she puts a file of her own" as alice p2pctl -s /run/p2pd/p2pd.sock put /home/alice/own.bin
ok "  and it is in the share" in_guest cmp /home/alice/own.bin /var/lib/p2pd/share/own.bin

# --- a second peer, of an ordinary user ---

write_file /home/bob/p2pd.conf <<END
[node]
name = bob
state = /home/bob/state
[share]
directory = /home/bob/share
[rest]
listen = $HOST_ADDRESS:5101
host = bob.test
[grpc]
listen = $HOST_ADDRESS:50151
[control]
socket = /home/bob/p2pd.sock
[network]
heartbeat = 1s
[security]
open_network = yes
END
as bob sh -c 'head -c 20000000 /dev/urandom >~/big.bin'
# Not as a child of ours: nsenter stops itself with its child, which a guest that goes down stops first.
in_guest systemd-run -q --uid=bob --unit=bob "$(in_guest which p2pd)" -c /home/bob/p2pd.conf
bctl() { as bob p2pctl -s /home/bob/p2pd.sock "$@"; }
ok "bob's peer starts" until_true 10 bctl status
ok "bob puts a file" bctl put /home/bob/big.bin
ok "the service finds its seed by name, and the file" until_true 30 lists_file big.bin
ok "it fetches it" pctl fetch big.bin
ok "  and tells by which wire" grep -qE '"transport": *"(rest|grpc|rest\+grpc)"' <(pctl --json fetches)
ok "  byte for byte" in_guest cmp /home/bob/big.bin /var/lib/p2pd/share/big.bin
ok "alice fetches it into her home" as alice p2pctl -s /run/p2pd/p2pd.sock fetch big.bin -o /home/alice/got.bin
ok "  byte for byte" in_guest cmp /home/bob/big.bin /home/alice/got.bin
is "  and it is hers" "$(in_guest stat -c %U /home/alice/got.bin)" alice
ok "REST on the network address" in_guest sh -c \
	"curl -sS --fail http://$HOST_ADDRESS:5001/v1/files/big.bin | cmp - /home/bob/big.bin"

# --- reload ---

pid=$(show MainPID)
in_guest cp "$conf" /root/good.conf
in_guest sh -c "printf '[node]\nlog = debug\n' >>$conf"
ok "systemctl reload" in_guest systemctl reload p2pd
ok "  reads the file again" until_true 10 journal_has 'configuration read again'
ok "  and the service is running" until_true 10 in_guest systemctl is-active -q p2pd
in_guest sh -c "echo 'colour = green' >>$conf"
ok "a bad file fails the reload" not in_guest systemctl reload p2pd
ok "  and the journal says which line" until_true 10 journal_has "p2pd.conf:[0-9]*: .*colour"
ok "the signal alone is refused too" in_guest systemctl kill -s HUP --kill-who=main p2pd
ok "  and the journal says so" until_true 10 journal_has 'the configuration stays as it was'
is "  and the same process runs on" "$(show ActiveState) $(show MainPID)" "active $pid"
in_guest cp /root/good.conf "$conf"

# --- a daemon that hangs ---

drop_in watchdog <<<$'[Service]\nWatchdogSec=2'
in_guest systemctl restart p2pd
is "it hangs, and no restart so far" "$(show NRestarts)" 0
pid=$(show MainPID)
[[ $pid != 0 ]] || exit 1	# kill would mean our own process group
in_guest kill -STOP "$pid"
is_restarted() { [[ $(show NRestarts) == 1 && $(show ActiveState) == active ]]; }
ok "the watchdog starts it anew, once" until_true 30 is_restarted
ok "  and everything is there" until_true 10 lists_own big.bin
ok "  and the same bytes" in_guest sh -c \
	"curl -sS --fail http://127.0.0.1:5001/v1/files/big.bin | cmp - /home/bob/big.bin"
ok "  and the peers" until_true 20 lists_peer bob
is "  and it stays up" "$(show NRestarts)" 1

# --- a share elsewhere, as the manual has it ---

in_guest install -d -o p2pd -g p2pd /srv/data
in_guest sh -c "printf '[share]\ndirectory = /srv/data\n' >>$conf"
drop_in share <<<$'[Service]\nReadWritePaths=/srv/data'
ok "it starts on a share elsewhere" in_guest systemctl restart p2pd
ok "  and takes files there" as alice p2pctl -s /run/p2pd/p2pd.sock put /home/alice/own.bin
ok "  where they are its own" test "$(in_guest stat -c %U /srv/data/own.bin)" = p2pd

in_guest install -d -o p2pd -g p2pd /home/data
in_guest sed -i 's|^directory = .*|directory = /home/data|' "$conf"
drop_in share <<<$'[Service]\nProtectHome=tmpfs\nBindPaths=/home/data'
ok "it starts on a share below /home" in_guest systemctl restart p2pd
ok "  and takes files there" as alice p2pctl -s /run/p2pd/p2pd.sock put /home/alice/own.bin
ok "  and they are there" in_guest cmp /home/alice/own.bin /home/data/own.bin
ok "  and it sees no other home" not in_service test -e /home/alice

# --- the end ---

ok "systemctl stop" in_guest systemctl stop p2pd
is "  is a success" "$(show Result) $(show ExecMainCode) $(show ExecMainStatus)" "success 1 0"
ok "  and the socket is gone" not in_guest test -e /run/p2pd

cat >"$TMP/journal.py" <<'END'
import collections, json, sys
seen = collections.Counter()
for line in sys.stdin:
    entry = json.loads(line)
    text, level = entry["MESSAGE"], entry.get("PRIORITY")
    seen[level] += 1
    if not isinstance(text, str) or not text.isprintable() or text[:1] in "<{ " or text[:2] == "20":
        sys.exit("garbage: %r" % (text,))
print(dict(seen))
if not {"3", "6"} <= set(seen) <= {"3", "4", "6", "7"}:
    sys.exit("levels: %r" % (seen,))
END
in_guest journalctl -q -o json _SYSTEMD_UNIT=p2pd.service _COMM=p2pd >"$TMP/journal"
ok "every line of the journal has its level and no garbage" python3 "$TMP/journal.py" <"$TMP/journal"
in_guest systemctl poweroff
wait "$guest"
finish
