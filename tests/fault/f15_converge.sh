#!/bin/bash
# SPDX-License-Identifier: MIT
#
# f15 - four peers on hosts of their own, files of all shares changed at random, and everything that can go wrong with peers and
# lines between them, at random too.  When it is over every catalog is soon equal to what is on the disks, no removed file
# is back, and it stays so when each peer is started anew.
#
# SEED=N: of the writes and of the faults; printed, and the faults with it if something is wrong.  The moments are the machine's.
# SECONDS_OF_FAULTS=N (20): minutes by hand.  FAULTS: of the kinds below.  CONVERGED_WITHIN=N (30): seconds after the last fault
# and the last write.  Needs network namespaces; is skipped without.
# shellcheck disable=SC2034,SC2317 # functions are called by name
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
# What lab.sh wants of who uses it.
needs() { local tool; for tool; do command -v "$tool" >/dev/null || skip_all "$tool is missing"; done; }
skip_bench() { skip_all "$1"; }
D=$TMP
# shellcheck source-path=SCRIPTDIR source=../bench/lab.sh
. "$FAULT/../bench/lab.sh"

RANDOM=${SEED:=$RANDOM}
echo "# SEED=$SEED"
read -ra kinds <<<"${FAULTS:-split plug oneway kill crash pause full clock}"
peers=(a b c d)
declare -A HOST=([a]=1 [b]=2 [c]=3 [d]=4)
homes=("${peers[@]/#/$TMP/}")

lab_up ${#peers[@]}
peer_spawn() {
	[[ ! -e $TMP/$1/log ]] || cat "$TMP/$1/log" >>"$TMP/$1/log.old"
	lab_start "${HOST[$1]}" "$TMP/$1/log" "$P2PD" -c "$TMP/$1/conf"
	PID[$1]=$LAB_STARTED
}

# A clock that can be set, and a disk that can be full: of the state, for into the share the daemon writes nothing here.
faulty() {
	fault_plan "$1" "calls=write pwrite fallocate ftruncate create mkdir" "below=$TMP/$1/state" when nth=1 every=1 do=ENOSPC
	echo "FAULT_CLOCK=$TMP/$1/clock" >>"$TMP/$1/fault"
	echo 0 >"$TMP/$1/clock"
}
clock() {
	echo "$2" >"$TMP/$1/clock.new"
	mv "$TMP/$1/clock.new" "$TMP/$1/clock"
}

for peer in "${peers[@]}"; do
	address=$(lab_address ${HOST[$peer]})
	peer_new "$peer" "rest.listen=$address:5001" "grpc.listen=$address:50051" network.heartbeat=5s security.open_network=yes \
	    "network.seed=http://$(lab_address 1):5001"
	faulty "$peer"
	peer_start "$peer"
done
knows_all() { (($(ctl "$1" peers | grep -c '	here	') == ${#peers[@]} - 1)); }
for peer in "${peers[@]}"; do ok "$peer knows the others" until_true 20 knows_all "$peer"; done

# --- faults: each begins on a peer, and is undone ---

split() { # the peer and the next one from the others
	lab_plug "${HOST[$1]}" 1
	lab_plug $((HOST[$1] % ${#peers[@]} + 1)) 1
}
unsplit() { local host; for host in "${HOST[@]}"; do lab_plug "$host" 0; done; }
plug() { lab_plug "${HOST[$1]}" 1; }
unplug() { lab_plug "${HOST[$1]}" 0; }
oneway() { # the peer hears the next one, and is not heard
	lab_in "${HOST[$1]}" ip route replace blackhole "$(lab_address $((HOST[$1] % ${#peers[@]} + 1)))/32"
}
unoneway() { lab_in "${HOST[$1]}" ip route del blackhole "$(lab_address $((HOST[$1] % ${#peers[@]} + 1)))/32"; }
kill_peer() { ! alive "$1" || peer_kill "$1"; }
unkill() { alive "$1" || peer_spawn "$1"; }
crash() {
	kill_peer "$1"
	peer_spawn "$1"
}
uncrash() { :; }
pause() { kill -STOP "${PID[$1]}"; }
unpause() { kill -CONT "${PID[$1]}"; }
full() { fault_on "$1"; }
unfull() { fault_off "$1"; }
clock_jump() {
	local jumps=(-3600 3600 315360000 -1000000000 10 -10)
	clock "$1" "${jumps[RANDOM % ${#jumps[@]}]}"
}
unclock() { clock "$1" 0; }

declare -A ACTIVE=()	# kind, by peer: one at a time of each
begin_fault() {
	local kind=${kinds[RANDOM % ${#kinds[@]}]} peer=${peers[RANDOM % ${#peers[@]}]}
	[[ -z ${ACTIVE[$peer]-} ]] || return
	ACTIVE[$peer]=$kind
	echo "# $((($(now_us) - begin) / 1000)) ms: $kind $peer" >>"$TMP/faults"
	case $kind in
	kill) kill_peer "$peer" ;;
	clock) clock_jump "$peer" ;;
	*) "$kind" "$peer" ;;
	esac
}
end_fault() {
	local kind=${ACTIVE[$1]}
	unset "ACTIVE[$1]"
	echo "# $((($(now_us) - begin) / 1000)) ms: un$kind $1" >>"$TMP/faults"
	"un$kind" "$1"
}
some_active() { local names=("${!ACTIVE[@]}"); end_fault "${names[RANDOM % ${#names[@]}]}"; }

mkdir "$TMP/aside"
python3 "$FAULT/writer.py" "$SEED" "$TMP/end" "$TMP/aside" "${homes[@]/%//share}" >"$TMP/written" &
writer=$!
HELPERS+=("$writer")
begin=$(now_us)
end=$((begin + ${SECONDS_OF_FAULTS:-20} * 1000000))
while (($(now_us) < end)); do
	if ((${#ACTIVE[@]} > 0 && RANDOM % 4 < ${#ACTIVE[@]})); then some_active; else begin_fault; fi
	sleep "$((RANDOM % 3)).$((RANDOM % 10))"
done
for peer in "${!ACTIVE[@]}"; do end_fault "$peer"; done
touch "$TMP/end"
ok "the writer came to its end" wait "$writer"
echo "# $(cat "$TMP/written")"

# --- what became of it ---

for peer in "${peers[@]}"; do
	ok "$peer is alive" alive "$peer"
	alive "$peer" || peer_spawn "$peer"
done
over=$(now_us)
tell_truth() { python3 "$FAULT/truth.py" "$P2PCTL" "${homes[@]}"; }
ok "every catalog is equal to what is on the disks" until_true "${CONVERGED_WITHIN:-30}" tell_truth
echo "# after $((($(now_us) - over) / 1000)) ms: $(tell_truth | tail -n 1)"
for peer in "${peers[@]}"; do
	ok "$peer ends" peer_stop "$peer"
	peer_start "$peer"
done
for peer in "${peers[@]}"; do ok "$peer, started anew, knows the others" until_true 20 knows_all "$peer"; done
ok "every catalog is equal to the disks still" until_true 20 tell_truth
for peer in "${peers[@]}"; do ok "$peer's catalog is sound" catalog_is_sound "$peer"; done
((failed == 0)) || cat "$TMP/faults"
finish
