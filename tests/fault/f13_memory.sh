#!/bin/bash
# SPDX-License-Identifier: MIT
#
# f13 - no memory: malloc fails at some call of a start, a fetch, a put and a search, and the daemon answers with an error or
# ends, as it was made to; the kernel kills it for it is over its group's limit; a group of 64 MiB with peers that tell of
# whatever fills memory is enough.  Each time the catalog is sound, no file is half there, and the fetch goes on at the next start.
#
# MALLOC_POINTS=N: so many (8).
# shellcheck disable=SC2016,SC2317 # eval expands late; functions are called by ok
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

points=${MALLOC_POINTS:-8}
size=$((12 << 20))
peer_new a
random_file $size "$TMP/a/share/big.bin"
random_file 100000 "$TMP/mine"
peer_start a
peer_new b "network.seed=$(url a)"

goes_on() {
	dead b || peer_kill b
	[[ -z ${PID[b]-} ]] || peer_buried b
	no_half_file "$TMP/b/share" "$TMP/a/share" || return
	fault_plan b
	peer_start b || return
	catalog_is_sound b || return
	until_true 10 lists b big.bin || return
	ctl b -q fetch big.bin && cmp "$TMP/a/share/big.bin" "$TMP/b/share/big.bin" || return
	until_true 10 nothing_partial b && catalog_is_sound b
}
again() {
	ctl b -q rm big.bin
	peer_stop b
}

# --- malloc fails ---

# All that is done, with the nth of its allocations failing; counts them if there is none.
use_b() {
	fault_plan b calls=malloc when "$@"
	fault_on b
	peer_spawn b
	until_true 10 eval 'dead b || ready b'
	dead b || until_true 5 eval 'dead b || lists b big.bin'
	ctl b search --exact big.bin >/dev/null 2>&1
	timeout 5 "$P2PCTL" -s "$TMP/b/sock" -q fetch big.bin >/dev/null 2>&1
	timeout 5 "$P2PCTL" -s "$TMP/b/sock" -q put "$TMP/mine" --as mine.bin --replace >/dev/null 2>&1
	[[ $(rest_status b "/v1/files?q=big" -m 5 2>/dev/null) == [0245]* ]]
	fault_off b
}
fails_at() {
	use_b nth="$1" do=ENOMEM
	faulted b || echo "# call $1 was not reached" >&3
	dead b || ctl b status >/dev/null || return
	goes_on
}
if grep -q 'asan\|tsan' <(ldd "$BUILDDIR/p2pd" 2>/dev/null); then
	skip "malloc that fails: a sanitizer has its own"
else
	# In powers: most of what there is to meet is met early.
	for ((i = 1; i <= points; i++)); do
		at=$(((1 << (i * 13 / points)) + RANDOM % (1 << (i * 13 / points))))
		ok "malloc fails at call $at: an error or an end, and it goes on" fails_at $at
		again
	done
fi

# --- a group with a limit ---

group=/sys/fs/cgroup/memory/p2pd-f13-$$
limit_bytes() { echo "$1" >"$group/memory.limit_in_bytes"; }
# From its first page on.
printf '#!/bin/bash\necho $$ >%s/cgroup.procs && exec %s "$@"\n' "$group" "$P2PD" >"$TMP/p2pd-in-group"
chmod +x "$TMP/p2pd-in-group"
spawn_in_group() {
	local P2PD=$TMP/p2pd-in-group
	peer_spawn b
}
start_in_group() {
	spawn_in_group
	until_true 20 ready b && until_true 20 lists b big.bin
}
if ! mkdir "$group" 2>/dev/null || ! limit_bytes $((64 << 20)) 2>/dev/null; then
	rmdir "$group" 2>/dev/null
	skip "limits of memory: no group of version 1 can be made here"
	finish
fi
ok "it starts in 64 MiB" start_in_group
for mood in crowd flood vast; do
	port=$(free_port)
	python3 "$HERE/foreign_peer.py" "$port" "$(url b)" "$TMP/a/share/big.bin" big.bin empty $mood >/dev/null 2>&1 &
	HELPERS+=("$!")
	until_true 15 bash -c ": <>/dev/tcp/127.0.0.1/$port"
done
holders_are() { [[ $(ctl b search --exact big.bin | cut -f3) == "$1" ]]; }
ok "peers that tell too much are known" until_true 30 holders_are 4
ok "64 MiB are enough for a fetch beside them" timeout $((60 * FACTOR)) "$P2PCTL" -s "$TMP/b/sock" -q fetch big.bin
ok "which is equal" cmp "$TMP/a/share/big.bin" "$TMP/b/share/big.bin"
echo "# at most $(($(cat "$group/memory.max_usage_in_bytes") >> 20)) MiB, the cache of files among them"
is "the kernel killed nothing" "$(awk '$1 == "oom_kill" { print $2 }' "$group/memory.oom_control")" 0
ctl b -q rm big.bin

# Less and less, until it is too little.
peer_stop b
killed_in() {
	limit_bytes "$1" || return
	spawn_in_group
	until_true 10 eval 'dead b || { ready b && lists b big.bin; }'
	timeout 10 "$P2PCTL" -s "$TMP/b/sock" -q fetch big.bin 2>/dev/null
	until_true 1 dead b 2>/dev/null && return
	ctl b -q rm big.bin 2>/dev/null
	peer_stop b
	return 1
}
for mib in 16 12 8 6 5 4 3; do ! killed_in $((mib << 20)) || break; done
ok "the kernel kills it at $mib MiB" dead b
ok "and it goes on" goes_on
peer_stop b
rmdir "$group"
finish
