#!/bin/bash
# SPDX-License-Identifier: MIT
#
# f02 - the disk is full (ENOSPC) from the nth call on, for some n of a fetch, a put, an upload and new files: a fetch waits
# and says why, a put is refused with no-space, nothing is damaged; when there is room again everything goes on by itself.
#
# NO_SPACE_POINTS=N: so many n of each (3).  The disk that is really full is in ../e2e/c03_full_disk.sh.
# shellcheck disable=SC2016,SC2317 # eval expands late; functions are called by ok
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

points=${NO_SPACE_POINTS:-3}
kinds="write pwrite fallocate ftruncate create mkdir"	# what needs room
peer_new a
peer_start a
mkdir "$TMP/mine"
random_file $((1 << 20)) "$TMP/mine/put"

# Full from the nth call below the directories on.
fill_up() { # DIRECTORIES N
	peer_stop b
	fault_plan b "calls=$kinds" "below=$1" when nth="$2" every=1 do=ENOSPC
	peer_start b
	until_true 10 lists b "$what"
	fault_on b
}
no_space() { [[ $(ctl b --json fetches "$id") == *no-space* ]]; }
is_exact() { fetch_is b "$id" "done" && cmp "$TMP/a/share/$what" "$TMP/b/share/$what"; }
is_ours() { [[ -n $(root_of b "$1") ]]; }
is_done() { fetch_is b "$id" "done"; }
has_pulled() { (($(metric b p2pd_pulls_total) > $1)); }
sound() { ctl b status >/dev/null && catalog_is_sound b && no_temporary b; }
put_is_refused() { ctl b put "$TMP/mine/put" --as "put-$1" 2>&1 | grep no-space; }

peer_new b "network.seed=$(url a)"
what=first
random_file 1000 "$TMP/a/share/first"
peer_start b
for ((i = 1; i <= points; i++)); do
	what=fetch-$i.bin
	random_file $((3 << 20)) "$TMP/a/share/$what"
	n=$(((i - 1) * 14 / points + RANDOM % 4 + 1))
	fill_up "$TMP/b/share" "$n"
	id=$(fetch_start b "$what")
	ok "a fetch, full from call $n on: it waits" until_true 10 no_space
	ok "call $n: it has no final name" not test -e "$TMP/b/share/$what"
	ok "call $n: the daemon is sound" sound
	fault_off b
	ok "call $n: with room it gets done by itself" until_true 20 is_done
	ok "call $n: and is equal" cmp "$TMP/a/share/$what" "$TMP/b/share/$what"
	ok "call $n: and nothing is left" until_true 5 nothing_partial b

	fill_up "$TMP/b/share" $((RANDOM % 3 + 1))
	ok "a put is refused with no-space" put_is_refused "$i"
	is "so is an upload" "$(rest_status b "/v1/files/put-$i" -T "$TMP/mine/put")" 507
	ok "neither has a name" not test -e "$TMP/b/share/put-$i"
	ok "nor leaves anything" until_true 5 nothing_partial b
	fault_off b
	ok "with room it is taken" ctl b put "$TMP/mine/put" --as "put-$i"
	ok "and listed" until_true 10 lists b "put-$i"
done

# --- the catalog's disk ---
for ((i = 1; i <= points; i++)); do
	what=later-$i
	random_file 500000 "$TMP/a/share/$what"
	fill_up "$TMP/b/state" $((RANDOM % 12 + 1))
	random_file 1000 "$TMP/b/share/own-$i"
	id=$(fetch_start b "$what" 2>/dev/null)
	random_file 1000 "$TMP/a/share/news-$i"
	ok "no room for the catalog: it is met" until_true 10 faulted b
	ok "the daemon answers" eval 'ctl b status && ctl b search first'
	# A put may be refused or taken; one that was taken must stay.
	taken=
	if ctl b put "$TMP/mine/put" --as "cat-$i" 2>"$TMP/why"; then taken=yes; fi
	ok "a put is taken, or refused with the reason" test -n "$taken" -o -s "$TMP/why"
	before=$(metric b p2pd_pulls_total)
	random_file 1000 "$TMP/a/share/late-$i"
	ok "what others have new is asked for, and cannot be noted" until_true 10 has_pulled "$before"
	fault_off b
	ok "with room new files are indexed by themselves" until_true 20 lists b "own-$i"
	ok "and those of others learnt" until_true 20 lists b "news-$i"
	ok "all of them" until_true 20 lists b "late-$i"
	if [[ -z $id ]]; then id=$(fetch_start b "$what"); fi
	ok "and the fetch gets done" until_true 20 is_exact
	ok "and is listed as ours" until_true 20 is_ours "$what"
	if [[ -n $taken ]]; then ok "the put is there" until_true 20 is_ours "cat-$i"; fi
	ok "the daemon is sound" sound
done
finish
