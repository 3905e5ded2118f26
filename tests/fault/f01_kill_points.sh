#!/bin/bash
# SPDX-License-Identifier: MIT
#
# f01 - kill -9 at the nth call that changes the disk, while a peer starts for the first time, indexes, fetches, takes a put
# and an upload, removes, replaces, learns and reloads.  First each of these runs once under the shim, which counts its calls;
# then it is killed at some of them.  After each: it starts, its catalog is sound, no half file has a final name, what
# was promised is kept, and what was begun is brought to its end by itself.
#
# KILL_POINTS=N: so many in all (25); KILL_POINTS=all: every call of each.  RANDOM_SEED repeats a choice; KILL_AT="fetch 26 kill"
# does this one alone, SCENES="fetch tree" these.
# shellcheck disable=SC2016,SC2317 # scenes are called by their names; eval expands late
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

points=${KILL_POINTS:-25}
start_bound_s=4

peer_new a
random_file $((2 << 20)) "$TMP/a/share/big.bin"
for i in 1 2 3; do random_file $((i * 30000)) "$TMP/a/share/tree/$i"; done
: >"$TMP/a/share/tree/empty"
peer_start a

# --- the scenes: NAME_before while no fault is on, NAME while it is, NAME_after when b is up again ---

# What each round begins with: b has learnt a's files, has some of its own, and nothing is under way.
fresh_b() {
	rm -rf "$TMP/b" "$TMP/mine"
	peer_new b "network.seed=$(url a)"
	mkdir "$TMP/mine"
	random_file 100000 "$TMP/mine/old.bin"
	random_file 70000 "$TMP/mine/new.bin"
	cp "$TMP/mine/old.bin" "$TMP/b/share/"
}
has() { until_true 20 cmp "$1/$2" "$TMP/b/share/$2" && until_true 20 lists b "$2"; }
has_tree() { until_true 20 diff -r "$TMP/a/share/tree" "$TMP/b/share/tree" && until_true 20 lists b tree/3; }

first() { until_true 5 eval 'dead b || { ready b && lists b tree/empty && lists b big.bin; }'; }
first_after() { has "$TMP/mine" old.bin && until_true 20 lists b big.bin; }

index() {
	cp "$TMP/mine/new.bin" "$TMP/b/share/new.bin"
	until_true 5 eval 'dead b || lists b new.bin'
}
index_after() { has "$TMP/mine" new.bin; }

# A fetch that was answered comes to its end; one that was not may be asked again.
fetch_promised() { [[ -n $id ]] || ctl b fetch "$1" >/dev/null || return; }
fetch() {
	id=$(fetch_start b big.bin 2>/dev/null)
	until_true 5 eval 'dead b || fetch_is b "$id" done'
}
fetch_after() { fetch_promised big.bin && has "$TMP/a/share" big.bin && until_true 5 nothing_partial b; }

tree() {
	id=$(fetch_start b tree 2>/dev/null)
	until_true 5 eval 'dead b || fetch_is b "$id" done'
}
tree_after() { fetch_promised tree && has_tree && until_true 5 nothing_partial b; }

# An answered put is there; of one that was not answered nothing is there, or all.
put() { ctl b -q put "$TMP/mine/new.bin" 2>/dev/null && answered=yes; }
put_after() {
	until_true 5 nothing_partial b || return
	[[ -n $answered || -e $TMP/b/share/new.bin ]] || return 0
	has "$TMP/mine" new.bin
}
upload() { [[ $(rest_status b /v1/files/new.bin -T "$TMP/mine/new.bin" 2>/dev/null) == 201 ]] && answered=yes; }
upload_after() { put_after; }

# Replaced: the one or the other, never neither.
replace() { ctl b -q put --replace "$TMP/mine/new.bin" --as old.bin 2>/dev/null && answered=yes; }
replace_after() {
	until_true 5 nothing_partial b || return
	if [[ -n $answered ]] || cmp -s "$TMP/mine/new.bin" "$TMP/b/share/old.bin"; then
		cp "$TMP/mine/new.bin" "$TMP/mine/old.bin"
	fi
	has "$TMP/mine" old.bin && until_true 10 offered_is_right
}
offered_is_right() { rest b /v1/files/old.bin | cmp - "$TMP/b/share/old.bin"; }

# Removed: an answered one stays away.
remove() { ctl b -q rm old.bin 2>/dev/null && answered=yes; }
remove_after() {
	[[ -z $answered || ! -e $TMP/b/share/old.bin ]] || { echo "it is back"; return 1; }
	if [[ -e $TMP/b/share/old.bin ]]; then has "$TMP/mine" old.bin; else until_true 10 not lists b old.bin; fi
}

learn() {
	random_file 1000 "$TMP/a/share/news"
	until_true 5 eval 'dead b || rest b "/v1/files/news?scope=network" | cmp - "$TMP/a/share/news"'
}
learn_after() { until_true 20 lists b news && until_true 20 lists b big.bin; }

reload() { ctl b reload >/dev/null 2>&1; }
reload_after() { first_after; }

stop() { kill -TERM "${PID[b]}"; until_true 5 dead b; }
stop_after() { first_after; }

# --- one round ---

# act SCENE FAULT...: b with the fault on during the scene.
act() {
	local scene=$1
	shift
	fresh_b
	id='' answered=''
	fault_plan b calls=disk "below=$(disk_of b)" when "$@"
	if [[ $scene == first ]]; then
		fault_on b
		peer_spawn b
	else
		peer_start b
		until_true 10 eval 'lists b tree/empty && lists b big.bin'
		fault_on b
	fi
	"$scene"
	fault_off b
}

came_back() {
	local scene=$1 begun
	begun=$(now_us)
	fault_plan b
	no_half_now "$scene" || return
	peer_start b >/dev/null || return
	(($(now_us) - begun < start_bound_s * FACTOR * 1000000)) || { echo "it took $((($(now_us) - begun) / 1000)) ms"; return 1; }
	catalog_is_sound b && "${scene}_after" && no_temporary b && no_half_file "$TMP/b/share" "$TMP/a/share" && catalog_is_sound b
}
# Between the kill and the start.
no_half_now() {
	no_half_file "$TMP/b/share" "$TMP/a/share" || return
	[[ $1 == replace ]] && cmp -s "$TMP/mine/new.bin" "$TMP/b/share/old.bin" && return
	no_half_file "$TMP/b/share" "$TMP/mine"
}

killed_at() { # SCENE N WHAT
	kill_at "$@" && return
	grep -E "fetch|warning|error" "$TMP/b/log" | tail -n 5
	if [[ -n ${PID[b]-} ]]; then peer_kill b; fi
	return 1
}
kill_at() {
	local scene=$1 hit
	act "$scene" "nth=$2" "do=$3"
	if dead b; then peer_buried b 2>/dev/null; else peer_stop b; fi
	hit=$(cat "$TMP/b/faults" 2>/dev/null)
	came_back "$scene" || { echo "at $hit; answered: ${answered:-no} ${id:+fetch $id}"; return 1; }
	peer_stop b || { echo "it does not stop"; return 1; }
}

if [[ -n ${KILL_AT-} ]]; then
	read -r scene at what <<<"$KILL_AT"
	ok "$scene: $what at call $at" killed_at "$scene" "$at" "$what"
	finish
fi
scenes=${SCENES:-"first index fetch tree put upload replace remove learn reload stop"}
declare -A total=()
sum=0
for scene in $scenes; do
	act "$scene" every=1 do=none
	if dead b; then peer_buried b; else peer_stop b; fi
	total[$scene]=$(fault_count b)
	[[ -z ${FAULT_SHOW-} ]] || sed "s|$TMP/b/||; s/^/# $scene: /" "$TMP/b/faults"
	echo "# $scene: ${total[$scene]} calls"
	sum=$((sum + ${total[$scene]}))
done
ok "there is something to kill" test "$sum" -gt 100

# Of each scene its part, one at least, spread evenly from a random start.
for scene in $scenes; do
	n=${total[$scene]}
	((n > 0)) || continue
	share=$n
	if [[ $points != all ]]; then share=$(((points * n + sum - 1) / sum)); fi
	((share <= n)) || share=$n
	for ((i = 0; i < share; i++)); do
		at=$(((n * i + RANDOM % n) / share + 1))
		what=$( ((RANDOM % 3)) && echo kill || echo tear)
		ok "$scene: $what at call $at of $n" killed_at "$scene" "$at" "$what"
	done
done
finish
