# shellcheck shell=bash
# SPDX-License-Identifier: MIT
#
# broker.sh - a real RabbitMQ on loopback, beneath $TMP/rabbit; to be sourced behind lib.sh, by benchmarks too.
#
# broker_start, broker_kill and broker_pid; BROKER is host:port for clients, BROKER_TLS the same with TLS and the
# certificate of $TMP/ca.pem.

RABBIT=/usr/lib/rabbitmq/bin

# broker_until SECONDS COMMAND...: polls.
broker_until() {
	local end=$((SECONDS + $1 * ${FACTOR:-1}))
	shift
	until "$@" >/dev/null 2>&1; do
		((SECONDS < end)) || return 1
		sleep 0.1
	done
}

broker_skip() {
	[[ -x $RABBIT/rabbitmq-server ]] || skip_all "there is no rabbitmq-server"
	grep -qa 'librabbitmq\.so' "$P2PD" || skip_all "p2pd was built without AMQP"
	/usr/bin/python3 -c 'import pika' 2>/dev/null || skip_all "there is no python3-pika"
}

certificate() { # FILE NAME: signed by the authority FILE-ca
	local dir=$TMP/$1
	openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj "/CN=an authority" -keyout "$dir-ca.key" -out "$dir-ca.pem" 2>/dev/null
	openssl req -newkey rsa:2048 -nodes -subj "/CN=$2" -keyout "$dir.key" -out "$dir.csr" 2>/dev/null
	openssl x509 -req -in "$dir.csr" -CA "$dir-ca.pem" -CAkey "$dir-ca.key" -CAcreateserial -days 2 \
		-extfile <(echo "subjectAltName=DNS:$2") -out "$dir.pem" 2>/dev/null
}

broker_new() {
	local dir=$TMP/rabbit port tls epmd
	port=$(free_port) tls=$(free_port) epmd=$(free_port)
	# shellcheck disable=SC2034
	BROKER=127.0.0.1:$port BROKER_TLS=localhost:$tls
	mkdir -p "$dir"/{mnesia,log,home,conf}
	certificate broker localhost
	: >"$dir/conf/env"
	echo '[].' >"$dir/conf/plugins"
	cat >"$dir/conf/rabbitmq.conf" <<-END
		listeners.tcp.1 = 127.0.0.1:$port
		listeners.ssl.1 = 127.0.0.1:$tls
		ssl_options.cacertfile = $TMP/broker-ca.pem
		ssl_options.certfile = $TMP/broker.pem
		ssl_options.keyfile = $TMP/broker.key
		default_user = p2p
		default_pass = S3cret%pass
		disk_free_limit.absolute = 1MB
		vm_memory_high_watermark.absolute = 512MB
		log.file = rabbit.log
	END
	BROKER_ENV=(HOME="$dir/home" ERL_EPMD_ADDRESS=127.0.0.1 ERL_EPMD_PORT="$epmd" RABBITMQ_NODENAME="rmq$$@localhost"
		RABBITMQ_BASE="$dir" RABBITMQ_MNESIA_BASE="$dir/mnesia" RABBITMQ_LOG_BASE="$dir/log" RABBITMQ_PID_FILE="$dir/pid"
		RABBITMQ_CONFIG_FILE="$dir/conf/rabbitmq.conf" RABBITMQ_CONF_ENV_FILE="$dir/conf/env"
		RABBITMQ_ENABLED_PLUGINS_FILE="$dir/conf/plugins" RABBITMQ_DIST_PORT="$(free_port)"
		RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS='-kernel inet_dist_use_interface {127,0,0,1}')
	# Otherwise the broker starts one that stays.
	epmd -port "$epmd" -address 127.0.0.1 >/dev/null 2>&1 &
	HELPERS+=("$!")
	broker_until 5 bash -c ": <>/dev/tcp/127.0.0.1/$epmd"
}

# Begins to start it.
broker_spawn() {
	rm -f "$TMP/rabbit/pid"
	env "${BROKER_ENV[@]}" "$RABBIT/rabbitmq-server" >>"$TMP/rabbit/out" 2>&1 </dev/null &
}
broker_pid() { cat "$TMP/rabbit/pid"; }
broker_is_up() { (: <>"/dev/tcp/${BROKER%:*}/${BROKER#*:}") 2>/dev/null && [[ -e $TMP/rabbit/pid ]]; }
broker_is_down() { ! broker_is_up; }
broker_wait() {
	broker_until 60 broker_is_up || { sed 's/^/# /' "$TMP/rabbit/out"; exit 1; }
	HELPERS+=("$(broker_pid)")
}
broker_kill() {
	kill -KILL "$(broker_pid)"
	broker_until 10 broker_is_down
}
broker_ctl() { env "${BROKER_ENV[@]}" "$RABBIT/rabbitmqctl" -q "$@"; }
