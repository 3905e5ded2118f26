# shellcheck shell=bash
# SPDX-License-Identifier: MIT
#
# liars - one honest holder and three that lie, each with a link of its own in the lab (lab.sh), against the honest one alone: what do
# lies cost?  The liars are peers of another making (../e2e/foreign_peer.py says what they do), which say that they have all of the
# file, so each is asked at once.  Every run begins with fresh peers, who know nothing of each other's past.
#
# LIARS_MIXES: three moods each, with commas ("lying,short,range html,drip,lying").

LIARS_MIXES=${LIARS_MIXES:-lying,short,range html,drip,lying}
LIARS_MBIT=50 LIARS_MIB=32
LIARS=()	# process ids

bench_liars() {
	local mix runs=(liars_alone)
	needs python3
	room_for "$SHM" $(((LIARS_MIB << 20) * 4))
	lab_up 5 $LIARS_MBIT
	make_file $((LIARS_MIB << 20)) "$S/one.bin"
	for mix in $LIARS_MIXES; do
		eval "liars_with_${mix//,/_}() { liars_run \"\${FUNCNAME[0]}\" ${mix//,/ }; }"
		runs+=("liars_with_${mix//,/_}")
	done
	note_round() {
		for mix in $LIARS_MIXES; do
			sample "$mix" "${FIGURE[liars_with_${mix//,/_}]}" "${FIGURE[liars_alone]}"
		done
	}
	rounds "${runs[@]}"
	for mix in $LIARS_MIXES; do
		row "$mix" "1 honest, 3 liars, $LIARS_MIB MiB" "$mix" "the honest one alone" s "<=" 1.3 1.1
	done
	lab_down
}
liars_alone() { liars_run liars_alone; }

# liars_run NAME MOOD...: host 1 is honest, host 2 fetches, the others lie.  Hosts are made as for swarm.
liars_run() {
	local name=$1 host=2 mood
	shift
	FETCHERS=$(($# + 1))	# others that host 2 is to know
	RUN=$S/run
	mkdir -p "$RUN/h1/share" "$RUN/h2/share"
	cp "$S/one.bin" "$RUN/h1/share/one.bin"
	for host in 1 2; do host_new "$host" rest && host_spawn "$host"; done
	for host in 1 2; do until_true 60 0.02 is_ready "h$host"; done
	for mood; do liar_start $((++host)) "$mood"; done
	until_true 60 0.05 knows_all 2
	until_true 60 0.05 holders_are $#
	timed "$name" ctl h2 -q fetch one.bin
	cmp "$S/one.bin" "$RUN/h2/share/one.bin" || die "$name: something else was fetched"
	say "$name: ${FIGURE[$name]} s"
	liars_end
	for host in 1 2; do peer_stop "h$host"; done
	rm -rf "$RUN"
}
holders_are() { [[ $(ctl h2 search --exact one.bin | cut -f3) == $(($1 + 1)) ]]; }
liar_start() { # HOST MOOD
	lab_start "$1" "$RUN/liar$1" python3 "$HERE/../e2e/foreign_peer.py" "$(lab_address "$1"):5001" \
	    "http://$(lab_address 2):5001" "$S/one.bin" one.bin "$2"
	LIARS+=("$LAB_STARTED")
	HELPERS+=("$LAB_STARTED")
}
liars_end() {
	((${#LIARS[@]} > 0)) || return 0 # or it would wait for all
	kill "${LIARS[@]}"
	wait "${LIARS[@]}"
	LIARS=() HELPERS=()
} 2>/dev/null
