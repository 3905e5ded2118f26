# shellcheck shell=bash
# SPDX-License-Identifier: MIT
#
# fresh - sixteen peers on loopback, and files that are closed one after the other, each in the share of one of them: the time from the
# close until a search at each of the others finds the file.  fresh_probe.py makes the files and asks.
#
# FRESH_PEERS (16), FRESH_FILES (200).

bench_fresh() {
	local at count=${FRESH_PEERS:-16} homes=() knows
	needs python3
	for ((at = 1; at <= count; at++)); do
		peer_new "n$at" "$S/n$at" "$( ((at == 1)) || echo n1)"
		peer_start "n$at"
		homes+=("$S/n$at")
	done
	knows() { (($(ctl "$1" peers | grep -c '	here	') == count - 1)); }
	for ((at = 1; at <= count; at++)); do until_true 60 0.1 knows "n$at"; done
	await_quiet
	python3 "$HERE/fresh_probe.py" "${FRESH_FILES:-200}" "${homes[@]}" >"$D/times" || die "fresh_probe.py"
	while read -r _ p50 p99 most; do
		say "from close to search elsewhere: p50 $p50 s, p99 $p99 s, most $most s"
		sample median "$p50"
		sample p99 "$p99"
	done <"$D/times"
	row p99 "closed, in search on $((count - 1)) others, p99" "p2pd" - s "<=" 0.5 0.1
	row median "closed, in search on $((count - 1)) others, p50" "p2pd" - s "<=" 0.5 0.1
}
