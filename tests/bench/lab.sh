# shellcheck shell=bash
# SPDX-License-Identifier: MIT
#
# lab.sh - a network of hosts in one machine: network namespaces on a bridge, each host's link as slow as is wanted.
#
# lab_up makes the switch and hosts 1 to N, lab_in runs a command in a host, lab_down removes all of it.  Every host has
# one link, eth0, with the address that lab_address tells; a token bucket at either end of the link shapes what the host
# sends and what it gets.  The switch has an address too (lab_address 0), on a link of no limit, for what belongs to no
# host.  There is no delay but that of queues: at most 50 ms in either direction.  lab_plug parts the hosts into two networks.
#
# The namespaces have no names: each is held by a process that sleeps, and is entered by that process's id, so two runs
# cannot meet, and nothing stays behind however a run ends, since the holders end with the shell that made them.  That
# also works for users who are not root, inside of the namespace that run.sh makes.  Addresses are only set inside.
#
# Congestion control is reno in all of them: bbr, the default of some machines, paces by itself and hides what the
# queues do; cubic may not be set inside of a namespace.  IPv6 is off, so that all programs use the same addresses.

LAB_NET=10.213.7
LAB_HOSTS=()	# process ids that hold the namespaces; 0 is the switch
LAB_SPEED=()	# Mbit/s now, by host

lab_address() { echo "$LAB_NET.$(($1 == 0 ? 254 : $1))"; }
# lab_in HOST COMMAND...
lab_in() { setpriv --pdeathsig KILL nsenter -t "${LAB_HOSTS[$1]}" -n "${@:2}"; }
# lab_start HOST LOG COMMAND...: behind; the command's own process id into LAB_STARTED.  It ends with us.
lab_start() {
	setpriv --pdeathsig KILL nsenter -t "${LAB_HOSTS[$1]}" -n "${@:3}" >"$2" 2>&1 &
	LAB_STARTED=$!
}

# lab_up COUNT [MBIT]: without a rate the links have no limit.  Skips the benchmark where the machine cannot.
lab_up() {
	local host
	needs ip unshare nsenter setpriv ${2:+tc}
	for ((host = 0; host <= $1; host++)); do lab_hold "$host" || lab_cannot "no network namespaces"; done
	lab_switch 2>"$D/lab" || lab_cannot "no bridge: $(tail -n 1 "$D/lab")"
	for ((host = 1; host <= $1; host++)); do
		lab_link "$host" 2>"$D/lab" || lab_cannot "no veth: $(tail -n 1 "$D/lab")"
		[[ -z ${2-} ]] || lab_speed "$host" "$2" 2>"$D/lab" || lab_cannot "no tbf: $(tail -n 1 "$D/lab")"
	done
}
lab_cannot() {
	lab_down
	skip_bench "no lab, $1"
}

lab_hold() {
	local own held
	setpriv --pdeathsig KILL unshare -n sleep infinity 2>/dev/null &
	LAB_HOSTS[$1]=$!
	own=$(readlink "/proc/$BASHPID/ns/net")
	while held=$(readlink "/proc/${LAB_HOSTS[$1]}/ns/net") && [[ -n $held ]]; do
		[[ $held == "$own" ]] || return 0
		sleep 0.002
	done 2>/dev/null
	return 1
}
lab_sysctl() {
	lab_in "$1" sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1 \
	    net.ipv4.tcp_congestion_control=reno
}
lab_switch() {
	lab_sysctl 0 &&
	    lab_in 0 ip -batch - <<-IP
		link set lo up
		link add br0 type bridge stp_state 0 forward_delay 0
		addr add $(lab_address 0)/24 dev br0
		link set br0 up
		link add br1 type bridge stp_state 0 forward_delay 0
		link set br1 up
	IP
}
# lab_plug HOST 0|1: into this switch.  There are two, without a link between them; all hosts begin at the first.  What is
# on its way when the plug is drawn is lost, and connections hang, as when a cable is cut.
lab_plug() { lab_in 0 ip link set "p$1" master "br$2"; }
lab_link() {
	lab_sysctl "$1" &&
	    lab_in 0 ip -batch - <<-IP &&
		link add p$1 type veth peer name eth0 netns ${LAB_HOSTS[$1]}
		link set p$1 master br0 up
	IP
	    lab_in "$1" ip -batch - <<-IP
		link set lo up
		addr add $(lab_address "$1")/24 dev eth0
		link set eth0 up
	IP
}
# lab_speed HOST MBIT: from now on, in both directions.
lab_speed() {
	local shape="root tbf rate ${2}mbit burst 64kb latency 50ms"
	LAB_SPEED[$1]=$2
	# shellcheck disable=SC2086
	lab_in "$1" tc qdisc replace dev eth0 $shape && lab_in 0 tc qdisc replace dev "p$1" $shape
}

# Bytes that the host's link carried since it is there, with all headers: to the switch, and from it.
lab_sent() { awk '$1 == "eth0:" { print $10 }' "/proc/${LAB_HOSTS[$1]}/net/dev"; }
lab_got() { awk '$1 == "eth0:" { print $2 }' "/proc/${LAB_HOSTS[$1]}/net/dev"; }

# Whatever still runs in a host keeps its namespace; end that first.
lab_down() {
	local pid
	for pid in ${LAB_HOSTS[@]+"${LAB_HOSTS[@]}"}; do
		kill -KILL "$pid"
		wait "$pid"
	done 2>/dev/null
	LAB_HOSTS=()
}
