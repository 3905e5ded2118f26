#!/bin/bash
# SPDX-License-Identifier: MIT
#
# q02 - one event format on four faces: p2pctl watch, the event stream of REST, gRPC's Watch and a real RabbitMQ are held against each
# other, field by field, for every kind of event; each goes on after the last event that was seen; and each says so when it cannot.
# What is compared, and what differs by design, stands in faces.py.  It takes a minute: earlier nobody is forgotten.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=broker.sh
. "$HERE/broker.sh"

python=/usr/bin/python3 # the one that Debian's packages are for
$python -c 'import grpc, grpc_tools.protoc, google.protobuf' 2>"$TMP/check" ||
	skip_all "python3-grpcio or python3-grpc-tools is missing"
no_broker=$(broker_skip)
has_broker() { [[ -z $no_broker ]]; }
has_broker || skip "${no_broker#skipped: }"

mkdir "$TMP/stubs"
$python -m grpc_tools.protoc -I "$HERE/../../proto" --python_out="$TMP/stubs" --grpc_python_out="$TMP/stubs" p2p.proto
export PYTHONPATH=$TMP/stubs PYTHONDONTWRITEBYTECODE=1
faces() { $python "$HERE/faces.py" "$@"; }
A=$TMP/a/share B=$TMP/b/share

# --- listeners ---

# listen DIRECTORY AFTER: three of them, each writing its own file there.
listen() {
	heard=$TMP/$1
	mkdir -p "$heard"
	"$P2PCTL" -s "$TMP/a/sock" --json watch --after "$2" >>"$heard/ctl" &
	listeners=("$!")
	$python "$HERE/faces.py" rest "${PORT[a]}" "$heard/rest" "$2" &
	listeners+=("$!")
	$python "$HERE/faces.py" grpc "${GRPC_PORT[a]}" "$heard/grpc" "$2" &
	listeners+=("$!")
	HELPERS+=("${listeners[@]}")
}
cut() {
	kill "${listeners[@]}"
	wait "${listeners[@]}" 2>/dev/null
}
last_id() { tail -n 1 "$heard/ctl" | grep -oE '"id": ?"[0-9-]+"' | grep -oE '[0-9-]+'; }
said() { grep -E "\"event\": ?\"$1\"" "$heard/ctl" | grep -qF -e "${2-}"; }
# causes KIND TEXT [COMMAND...]: after the command p2pctl tells of this kind, with the text.
causes() {
	"${@:3}"
	ok "there is $1 of $2" until_true 20 said "$1" "$2"
}
# The broker is reached by a line of its own, which can be cut.
line_up() {
	$python "$HERE/slow_line.py" "$line" "${BROKER##*:}" "$TMP/unlimited" &
	line_pid=$!
	HELPERS+=("$line_pid")
	until_true 10 bash -c ": <>/dev/tcp/127.0.0.1/$line"
	ctl a -q reload
}
line_down() { kill "$line_pid"; wait "$line_pid" 2>/dev/null; }
consume() {
	$python "$HERE/broker_client.py" "$admin" listen all "$TMP/amqp" &
	consumer=$!
	HELPERS+=("$consumer")
}
# mark NAME: a file that all have heard of is the last thing that happened.
heard_all() {
	local face
	for face in ctl rest grpc; do grep -qF "\"$1\"" "$heard/$face" || return; done
	! has_broker || [[ -n ${2-} ]] || grep -qF "\"$1\"" "$TMP/amqp" # a second word: leave it out
}
mark() {
	echo "$1" >"$A/$1"
	ok "all have heard of $1" until_true 30 heard_all "$1"
	! has_broker || cp "$TMP/amqp" "$heard/amqp"
}
outbox_is_empty() { [[ $(metric a p2pd_amqp_outbox_events) == 0 ]]; }
compare() { checks_of $python "$HERE/faces.py" check "$@"; }

# --- beginning ---

has_broker && broker_new && broker_spawn
grpc_new a
peer_new b share.settle=0
line=$(free_port)
broker=()
has_broker && broker=("amqp.url=amqp://p2p:S3cret%25pass@127.0.0.1:$line" amqp.relay=yes amqp.outbox_events=1000)
peer_new a "network.seed=$(url b)" share.settle=0 network.forget=60s "${broker[@]}"
mkdir "$B/many"
for i in {1..300}; do echo "$i" >"$B/many/$i"; done
peer_start b
peer_start a
listen first "$(faces run "${PORT[a]}")-0"

# --- every kind ---

until_true 20 lists a many/300
id=$(sed -n 's/^.*"peer": *"\([a-z2-7]*\)".*$/\1/p' "$heard/ctl" | head -n 1)
causes peer-here "$id"
causes files-changed "$id"
# Who leaves now is forgotten at the end of all this.
peer_new c "network.seed=$(url a)"
echo of-c >"$TMP/c/share/of-c"
causes file-added of-c peer_start c
gone=$(grep -F '"of-c"' "$heard/ctl" | sed -n 's/^.*"peer": *"\([a-z2-7]*\)".*$/\1/p')
causes peer-away "$gone" peer_stop c
odd='odd "näme" \ &.txt'
: >"$TMP/empty"
echo of-a >"$TMP/of-a"
causes file-added odd cp "$TMP/of-a" "$A/$odd"
causes file-changed odd cp "$TMP/empty" "$A/$odd"
causes file-removed odd rm "$A/$odd"
causes file-added of-b cp "$TMP/of-a" "$B/of-b"
causes file-changed of-b cp "$P2PCTL" "$B/of-b"
causes file-added gone cp "$TMP/empty" "$B/gone"
causes file-removed gone rm "$B/gone"
causes fetch-started of-b ctl a -q fetch of-b
causes fetch-done of-b
ctl a follow 'wanted-*' >"$TMP/check"
echo mine >"$A/wanted-2"
until_true 20 lists a wanted-2
causes follow-matched wanted cp "$TMP/of-a" "$B/wanted-1"
causes fetch-done wanted
causes follow-held wanted-2 cp "$TMP/of-a" "$B/wanted-2"
mv "$A" "$TMP/elsewhere"
causes index-trouble a/share ctl a -q reload
mv "$TMP/elsewhere" "$A"
ctl a -q reload
head -c 300000 /dev/urandom >"$B/slow"
for name in never taken; do cp "$P2PCTL" "$B/$name" && echo $name >>"$B/$name"; done
until_true 20 eval 'lists a slow && lists a never && lists a taken'

# --- its progress, which is not kept ---
all=$heard
after=$(last_id)
heard=$TMP/progress
mkdir "$heard"
progress=()
for face in rest:"${PORT[a]}" grpc:"${GRPC_PORT[a]}" control:"$TMP/a/sock"; do
	file=${face%%:*}
	$python "$HERE/faces.py" "$file" "${face#*:}" "$heard/${file/control/ctl}" "$after" progress &
	progress+=("$!")
done
HELPERS+=("${progress[@]}")
listening() { [[ -s $heard/ctl && -s $heard/rest && -s $heard/grpc ]]; }
echo here >"$A/listening"
until_true 20 listening
ctl a -q limit download 300K
ctl a -q fetch slow
ctl a -q limit download 0
ok "a fetch that moves is told on three faces" until_true 20 eval 'for face in ctl rest grpc; do grep -q fetch-done "$heard/$face"; done'
compare "$heard" progress
kill "${progress[@]}"
wait "${progress[@]}" 2>/dev/null
heard=$all

peer_stop b
causes peer-away "$id"
fetch=$(fetch_start a never)
causes fetch-waiting never
causes fetch-cancelled never ctl a -q cancel "$fetch"
fetch=$(fetch_start a taken)
causes fetch-waiting taken
echo mine >"$A/taken"
peer_start b
causes fetch-failed taken
ok "there is peer-forgotten of $gone, when its minute is over" until_true 80 said peer-forgotten "$gone"
ok "it is told with its name" said peer-forgotten '"peer_name":"c"'
sed -i 's/^forget = .*/forget = 1h/' "$TMP/a/conf" # nobody else
ctl a -q reload
# Until now the outbox kept what happened.
if has_broker; then
	admin=amqp://p2p:S3cret%25pass@$BROKER
	broker_wait
	$python "$HERE/broker_client.py" "$admin" declare all '#'
	consume
	line_up
fi
mark end-of-all-kinds
compare "$heard" live
compare "$heard" unbroken
has_broker && compare "$heard" broker

# --- a break: each goes on after the last that was seen ---
after=$(last_id)
cut
has_broker && { kill "$consumer"; wait "$consumer" 2>/dev/null; }
cp "$TMP/of-a" "$A/missed-1"
until_true 20 lists a missed-1
has_broker && { until_true 20 outbox_is_empty; line_down; }
cp "$TMP/of-a" "$A/missed-2"
peer_stop b
until_true 20 eval 'lists a missed-2 && sees a b away'
listen first "$after"
has_broker && { line_up; consume; }
mark end-of-the-break
ok "what was missed has come" grep -q missed-2 "$heard/grpc"
compare "$heard" live
compare "$heard" unbroken
has_broker && compare "$heard" broker

# --- more than is kept ---
after=$(last_id)
cut
has_broker && line_down
# Two events each at least: started, cancelled.
cat >"$TMP/script" <<'END'
number = int(ask("fetch never").split("fetch=")[1].split()[0])
for _ in range(23):
    numbers = range(number, number + 90)
    s.sendall("".join(f"cancel {n}\nfetch never\n" for n in numbers).encode())
    for n in numbers:
        assert final().startswith("2")
        assert f"fetch={n + 1}" in final()
    number += 90
assert ask(f"cancel {number}").startswith("2")
END
ok "more happens than is kept" $python "$HERE/talk.py" "$TMP/a/sock" "$TMP/script"
listen many "$after"
until_true 20 heard_all never "but the broker"
has_broker && line_up
mark end-of-many
compare "$heard" live
compare "$heard" lost "$after"
has_broker && compare "$heard" broker_lost

# --- another run ---
after=$(last_id)
cut
peer_stop a
echo meanwhile >"$A/meanwhile"
peer_start a
listen anew "$after"
causes events-lost ""
causes file-added meanwhile
mark end-of-all
compare "$heard" live
compare "$heard" lost "$after"
compare "$TMP/first" kinds "$TMP/many" "$heard"
has_broker && compare "$heard" broker_anew
cut
finish
