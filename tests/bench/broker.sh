# shellcheck shell=bash
# SPDX-License-Identifier: MIT
#
# broker - a RabbitMQ that is away for five minutes while two peers get new files, one of which is killed every few seconds: what
# never arrives at an independent client, and what arrives out of order.
#
# BROKER_AWAY_S (300): for how long it is away.

broker_client() { /usr/bin/python3 "$HERE/../e2e/broker_client.py" "$@"; }
broker_peer() { # NAME [SEED]
	peer_new "$1" "$D/$1" "${2-}"
	printf '[amqp]\nurl = %s\nnotices = no\n' "$BROKER_URL" >>"$D/$1/conf"
	peer_start "$1"
}
broker_file() { # PEER NUMBER
	echo "$1 $2" >"$D/$1/share/$1-$2"
	echo "$1-$2" >>"$D/names"
}
outboxes_are_empty() {
	[[ $(field a outbox_events) == 0 && $(field b outbox_events) == 0 ]]
}

bench_broker() {
	# shellcheck source=../e2e/broker.sh
	. "$HERE/../e2e/broker.sh"
	[[ -x $RABBIT/rabbitmq-server ]] || skip_bench "there is no rabbitmq-server"
	/usr/bin/python3 -c 'import pika' 2>/dev/null || skip_bench "there is no python3-pika"
	local TMP=$D end number=0 lost order twice
	broker_new
	BROKER_URL=amqp://p2p:S3cret%25pass@$BROKER
	broker_spawn
	broker_wait
	broker_client "$BROKER_URL" declare all 'file.*'
	broker_peer a
	broker_peer b a
	/usr/bin/python3 "$HERE/../e2e/broker_client.py" "$BROKER_URL" listen all "$D/events" &
	HELPERS+=("$!")
	while ((number < 100)); do
		broker_file a $((++number))
		broker_file b $number
	done
	broker_kill
	end=$((SECONDS + ${BROKER_AWAY_S:-300}))
	while ((SECONDS < end)); do
		broker_file a $((++number))
		broker_file b $number
		if ((number % 50 == 0)); then
			kill -KILL "${PID[a]}"
			wait "${PID[a]}" 2>/dev/null
			broker_file a $((++number))
			peer_start a
		fi
		sleep 0.1
	done
	until_true 60 0.5 finds b "a-$number"
	broker_spawn
	broker_wait
	ctl a reload >/dev/null
	ctl b reload >/dev/null
	until_true 120 0.5 outboxes_are_empty
	sleep 2 # what is confirmed is on its way to the client
	read -r lost order twice < <(broker_client count "$D/events" "$D/names")
	say "$(wc -l <"$D/names") files while the broker was away ${BROKER_AWAY_S:-300} s; $twice messages came twice"
	sample lost "$lost"
	sample order "$order"
	row lost "broker away, peer killed: events lost" "RabbitMQ, pika" - events "<=" 0 0
	row order "broker away, peer killed: out of order" "RabbitMQ, pika" - events "<=" 0 0
}
