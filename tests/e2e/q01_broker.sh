#!/bin/bash
# SPDX-License-Identifier: MIT
#
# q01 - events and notices by a real RabbitMQ, seen with an independent client: in order, none lost, whatever is killed or
# stopped meanwhile; and nothing else waits for a broker that is not well.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=broker.sh
. "$HERE/broker.sh"
broker_skip

client() { /usr/bin/python3 "$HERE/broker_client.py" "$@"; }
broker_line() { ctl "$1" status | sed -n 's/^broker	//p'; }
broker_says() { broker_line "$1" | grep -q -e "$2"; }
waiting() { metric "$1" p2pd_amqp_outbox_events; }
has_waiting() { (($(waiting "$1") >= $2)); }
outbox_is_empty() { [[ $(waiting "$1") == 0 ]]; }
got() { grep -c -e "$1" "$TMP/events"; }
has_got() { (($(got "$2") >= $1)); }
# put_files PEER PREFIX COUNT: small ones, each its own.
put_files() {
	local i
	for ((i = 1; i <= $3; i++)); do echo "$2 $i" >"$TMP/$1/share/$2-$i"; done
}
has_files() { (($(ctl "$1" search "$2-" | wc -l) == $3)); }

broker_new
url=amqp://p2p@$BROKER
echo 'not it' >"$TMP/password"
chmod 600 "$TMP/password"
peer_new a "amqp.url=$url" "amqp.password_file=$TMP/password" amqp.heartbeat=1s
peer_new b "network.seed=http://127.0.0.1:${PORT[a]}" "amqp.url=$url" "amqp.password_file=$TMP/password" amqp.heartbeat=1s

broker_spawn

# --- what is no broker at all; judged at the end ---
started=$SECONDS
not_one=(silent garbage huge hangup between)
for name in "${not_one[@]}"; do
	port=$(free_port)
	python3 "$HERE/false_broker.py" "$port" "$name" >"$TMP/$name.asked" &
	HELPERS+=("$!")
	peer_new "$name" "amqp.url=amqp://guest@127.0.0.1:$port"
	peer_start "$name"
done

# --- the library is loaded when it is wanted ---
soname=$(grep -aoE 'librabbitmq\.so\.[0-9]+' "$P2PD" | head -n 1)
mkdir "$TMP/lib"
echo "not a library" >"$TMP/lib/$soname"
peer_new bare "amqp.url=$url"
peer_new none
peer_start none
LD_LIBRARY_PATH=$TMP/lib peer_start bare
ok "p2pd is not linked to it" not grep rabbitmq <(ldd "$P2PD")
ok "who has no broker has not loaded it" not grep -q rabbitmq "/proc/${PID[none]}/maps"
ok "and shows none" not grep -q ^broker <(ctl none status)
ok "a peer without it comes up, and says what is missing" until_true 5 broker_says bare "away .*$soname"

# --- there is none ---
peer_start a
peer_start b
ok "without a broker the peer comes up and says that it is away" until_true 5 broker_says a 'away .*connecting'
ok "the log says it too" log_has a "AMQP: no connection to $BROKER: connecting: .*events wait in the outbox"
until_true 10 sees b a
put_files a first 5
ok "other peers see its files as ever" until_true 10 has_files b first 5
ok "what happens waits in the outbox" until_true 5 has_waiting a 6

# --- it refuses ---
broker_wait
ctl a reload
ctl b reload
ok "a wrong password is told as such" until_true 15 broker_says a 'away .*logging in: the broker says 403 ACCESS_REFUSED'
client "amqp://p2p:S3cret%25pass@$BROKER" declare all '#'
/usr/bin/python3 "$HERE/broker_client.py" "amqp://p2p:S3cret%25pass@$BROKER" listen all "$TMP/events" &
HELPERS+=("$!")
chmod 604 "$TMP/password"
ctl a reload
ok "a password that everybody can read is not used" until_true 5 broker_says a 'away .*chmod 600'
printf 'S3cret%%pass\n' >"$TMP/password"
chmod 600 "$TMP/password"
ctl a reload
ctl b reload
ok "with the right one it is connected" until_true 10 broker_says a "^$BROKER connected"
ok "and so is the other" until_true 10 broker_says b connected
ok "an independent client gets what waited" until_true 10 has_got 5 '"type": "file-added".*first-'
ok "and what happened besides" until_true 10 has_got 2 '"key": "peer.here"'
ok "the outbox is empty then" until_true 5 outbox_is_empty a

# --- notices ---
ok "a notice goes by the broker" until_true 5 has_got 1 "\"key\": \"notice.$(ctl a status | sed -n 's/^peer	//p')\", \"type\": \"notice\""
amqp=$(command -v amqp-consume)
if [[ -n $amqp ]]; then
	timeout $((20 * FACTOR)) amqp-consume --url="amqp://p2p:S3cret%25pass@$BROKER" -e p2pd -r file.changed -c 1 -- cat >"$TMP/other" 2>&1 &
	other=$!
	bound() { broker_ctl list_bindings routing_key | grep -q '^file.changed$'; }
	until_true 15 bound
	echo changed >"$TMP/a/share/first-1"
	wait "$other"
	ok "a second kind of client gets it by its routing key" grep -q '"event":"file-changed".*"name":"first-1"' "$TMP/other"
else
	skip "there is no amqp-consume"
	echo changed >"$TMP/a/share/first-1"
fi

# --- rubbish ---
admin=amqp://p2p:S3cret%25pass@$BROKER
rubbish=$(metric b p2pd_amqp_rubbish_total)
client "$admin" publish notice.x 8388608
printf '\xff\xfe{"peer":\x80' | client "$admin" publish notice.y
echo '{"peer":"../../etc/passwd","epoch":1,"seq":1}' | client "$admin" publish notice
echo '{"peer":"'"$(printf 'a%.0s' {1..52})"'","epoch":1,"seq":99}' | client "$admin" publish notice.a.b.c
id_of_a=$(ctl a status | sed -n 's/^peer	//p')
pulls=$(metric b p2pd_pulls_total) forged=$SECONDS
for _ in 1 2 3 4 5; do echo '{"peer":"'"$id_of_a"'","epoch":1,"seq":9999}'; done | while read -r line; do client "$admin" publish notice.z <<<"$line"; done
rubbish_came() { (($(metric b p2pd_amqp_rubbish_total) == rubbish + 3)); }
ok "what is no notice is counted" until_true 10 rubbish_came
is "and told once" "$(grep -c 'what is no notice' "$TMP/b/log")" 1
ok "it stays connected" broker_says b connected
asked=$(metric b p2pd_pulls_total) # one in 5 s, and this may have taken longer
ok "forged notices lead to one question to the peer itself at most" test "$asked" -le $((pulls + 1 + (SECONDS - forged) / 5))
ok "and takes nothing from what is known of it" has_files b first 5
put_files a late 1
until_true 10 has_files b late 1
pulls=$(metric b p2pd_pulls_total) epoch=$(rest a /v1/node | grep -o '"epoch": *[0-9]*' | grep -o '[0-9]*$')
for seq in 3 1 1 2; do client "$admin" publish notice.z <<<'{"peer":"'"$id_of_a"'","epoch":'"$epoch"',"seq":'$seq'}'; done
client "$admin" publish notice.z <<<'{'
rubbish_came() { (($(metric b p2pd_amqp_rubbish_total) == rubbish + 4)); }
ok "what is published is taken in turn" until_true 10 rubbish_came
is "notices that come late, or twice, or in disorder ask for nothing" "$(metric b p2pd_pulls_total)" "$pulls"

# --- it is killed, and so are we ---
broker_kill
ok "a broker that is killed is noticed" until_true 10 broker_says a away
put_files a second 20
put_files b other 10
ok "other peers see new files" until_true 10 has_files b second 20
rm "$TMP/a/share/first-2"
until_true 10 has_waiting a 21
peer_kill a
put_files a third 10
broker_spawn
peer_start a
until_true 10 has_files a third 10
broker_wait
ctl a reload
ctl b reload
ok "it comes back, and is connected" until_true 30 broker_says a connected
ok "everything arrives" until_true 20 has_got 10 '"type": "file-added".*third-'
ok "of the other peer too" until_true 20 has_got 10 '"type": "file-added".*other-'
ok "and the outbox is empty" until_true 10 outbox_is_empty a

# --- it hangs ---
kill -STOP "$(broker_pid)"
put_files a fourth 10
ok "with a broker that hangs other peers see new files" until_true 10 has_files b fourth 10
ok "and get them" ctl b -q fetch fourth-1
ok "it is given up by its missing heartbeats" until_true 10 broker_says a away
kill -CONT "$(broker_pid)"
ctl a reload
ctl b reload
ok "when it goes on, they arrive" until_true 30 has_got 10 '"type": "file-added".*fourth-'

# --- it is full ---
until_true 10 broker_says a connected
broker_ctl set_vm_memory_high_watermark absolute 1000
put_files a fifth 10
ok "a broker without memory is said to block" until_true 20 broker_says a ' blocked for .*low on memory'
ok "meanwhile other peers see new files" until_true 10 has_files b fifth 10
ok "and get them" ctl b -q fetch fifth-1
broker_ctl set_vm_memory_high_watermark absolute 512MB
ok "when it has some again, they arrive" until_true 20 has_got 10 '"type": "file-added".*fifth-'
ok "and it is connected" until_true 5 broker_says a ' connected'

# --- TLS ---
cp "$TMP/password" "$TMP/amqp-password"
peer_new tls "amqp.url=amqps://p2p@$BROKER_TLS" "amqp.ca=$TMP/broker-ca.pem" amqp.exchange=elsewhere
certificate foreign localhost
peer_new foreign "amqp.url=amqps://p2p@$BROKER_TLS" "amqp.ca=$TMP/foreign-ca.pem" "amqp.password_file=$TMP/password" amqp.exchange=elsewhere
peer_new name "amqp.url=amqps://p2p@127.0.0.1:${BROKER_TLS#*:}" "amqp.ca=$TMP/broker-ca.pem" "amqp.password_file=$TMP/password"
peer_new plain "amqp.url=amqp://p2p@127.0.0.1:${BROKER_TLS#*:}" "amqp.password_file=$TMP/password"
peer_new secret "amqp.url=amqps://p2p@localhost:${BROKER#*:}" "amqp.ca=$TMP/broker-ca.pem" "amqp.password_file=$TMP/password"
CREDENTIALS_DIRECTORY=$TMP peer_start tls
for name in foreign name plain secret; do peer_start $name; done
ok "by TLS, with a password that systemd keeps, it is connected" until_true 10 broker_says tls connected
ok "a broker whose certificate is of another authority is refused" until_true 10 broker_says foreign 'away.*SSL'
ok "and so is one of another name" until_true 10 broker_says name 'away.*SSL'
ok "without TLS there is no connection to where it is spoken" until_true 20 broker_says plain 'away .*logging in'
ok "nor with it to where it is not" until_true 20 broker_says secret 'away .*SSL'
for name in foreign name plain secret; do ok "peer $name serves as ever" rest $name /v1/node; done

# --- no broker at all ---
ok "noise is no broker" until_true 20 broker_says garbage 'away .*logging in'
ok "nor is a frame of 4 GiB" until_true 20 broker_says huge 'away .*logging in'
ok "nor is silence" until_true 20 broker_says silent 'away .*timed out'
ok "nor is good-bye" until_true 20 broker_says hangup 'away .*logging in'
ok "who says in the midst of a message that it is blocked is heard" until_true 20 log_has between 'takes no messages for now: yyy'
rubbish_of_between() { (($(metric between p2pd_amqp_rubbish_total) >= 1)); }
ok "and the message is taken as it came, for rubbish" until_true 20 rubbish_of_between
for name in "${not_one[@]}"; do ok "a peer with $name serves as ever" rest "$name" /v1/node; done
# After 1, 2, 4 s and so on, a fifth more or less.
asked=$(wc -l <"$TMP/hangup.asked") seconds=$((SECONDS - started))
ok "who hangs up is asked ever more rarely: $asked times in $seconds s" test "$asked" -ge 2 -a $((1 << (asked - 2))) -le $((2 * seconds))

# --- all in all ---
until_true 10 outbox_is_empty a
until_true 10 outbox_is_empty b
checks_of client check "$TMP/events"
not_in_logs() { ! grep -r -e 'S3cret' -e 'not it' "$TMP"/*/log "$TMP"/*/log.old; }
ok "no password is in a log" not_in_logs
ok "none is in the process list" not grep -qa S3cret <(cat /proc/"${PID[a]}"/cmdline /proc/"${PID[a]}"/environ /proc/"${PID[tls]}"/cmdline)
ok "p2pctl tells programs too" grep -q '"state":"connected",.*"outbox_events":0,' <(ctl a --json status)
ok "metrics tell of the broker" test "$(metric a p2pd_amqp_connected)" = 1
finish
