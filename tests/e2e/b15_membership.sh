#!/bin/bash
# SPDX-License-Identifier: MIT
#
# b15 - who is in the network: one seed, which may be down at first and gone later; a peer that is started anew, that moves, that dies
# and is forgotten; two networks that meet; and nobody is given up who is only slow.
# shellcheck disable=SC2317 # functions are called by ok
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

PORT[a]=$(free_port)
for peer in b c d stays; do peer_new $peer "network.seed=$(url a)" network.forget=60s; done
peer_new a network.forget=60s
random_file 1000 "$TMP/d/share/of-d"
random_file 1000 "$TMP/c/share/of-c"

id_of() { ctl "$1" --json status | grep -o '"id":"[a-z2-7]*"' | head -n 1 | cut -d '"' -f 4; }
# all_see PEER...: each of these sees each other one.
all_see() {
	local peer other
	for peer; do for other; do [[ $peer == "$other" ]] || sees "$peer" "$other" || return; done; done
}
knows() { [[ -n $(state_of "$1" "$2") ]]; }
alone() { [[ -z $(ctl "$1" peers) ]]; }

# --- a seed that is down at first ---
for peer in b c d stays; do peer_start $peer; done
ok "without the seed each is alone" never_true 3 eval '! alone b || ! alone c'
is "each says once that it misses it, and why" "$(grep -c "Seed $(url a) does not answer, .*: ." "$TMP/b/log")" 1
peer_start a
ok "it is tried again: with one seed all know all" until_true 30 all_see a b c d stays
ok "and says when it is there" log_has b "Seed $(url a) answers"
ok "and what they have" until_true 10 lists stays of-d

# --- a peer that dies: suspected, away, and at the end forgotten ---
# Its time counts from when it was last heard of, which may be seconds before it dies: each of so many is greeted more rarely.
heard=$(($(now_us) - 1000 * $(ctl stays peers | awk -F '\t' '$1 == "d" { print $4 }')))
died=$(now_us)
peer_kill d
ok "a dead peer is suspected" until_true 10 sees stays d suspect
ok "and then away" until_true 20 sees stays d away
ctl stays --json watch --kind peer-forgotten >"$TMP/stays/watch.forgotten" &
HELPERS+=("$!")
ok "what it had stays listed" lists stays of-d
is "as of a peer that is away" "$(ctl stays search --exact of-d --state away | cut -f1)" of-d

# --- the seed goes for good ---
peer_kill a
peer_stop b
peer_start b
ok "started anew without its seed, a peer finds those that it remembers" until_true 15 all_see b c stays
peer_new e "network.seed=$(url c)"
peer_start e
ok "any peer serves as the seed of a new one" until_true 15 all_see b c e stays

# --- a peer that moves ---
id=$(id_of c)
peer_stop c
old=$(url c)
PORT[c]=$(free_port)
peer_new c "network.seed=$(url a)" network.forget=60s
peer_start c
is "a peer that moved to another port is the same" "$(id_of c)" "$id"
moved() { ctl "$1" peers | grep -P "^c\there\t.*\t$(url c)\t.*$id" && ! ctl "$1" peers | grep -F "	$old	"; }
for peer in b e stays; do ok "and is found there by $peer" until_true 15 moved $peer; done
is "its file has one holder still" "$(ctl stays search --exact of-c | cut -f3)" 1
ok "and comes from where it is now" ctl stays -q fetch of-c

# --- two networks that meet ---
peer_new f
peer_new g "network.seed=$(url f)"
random_file 1000 "$TMP/g/share/of-g"
peer_start f
peer_start g
ok "two others are a network of their own" until_true 15 all_see f g
peer_new f "network.seed=$(url stays)"
ok "one of them is told of one of us" ctl f -q reload
ok "and all know all" until_true 30 all_see b c e f g stays
ok "also what is on the far side" until_true 10 lists b of-g
ok "in both directions" until_true 10 lists g of-c

# --- who is only slow ---
ok "the seed that went is away by now" until_true 40 sees stays a away
ctl stays watch --kind peer-away >"$TMP/stays/watch" &
HELPERS+=("$!")
kill -STOP "${PID[g]}"
for _ in 1 2 3 4; do
	timeout 5 bash -c 'while :; do :; done' &
	HELPERS+=("$!")
done
ok "nobody is given up who pauses, nor on a busy machine" never_true 4 not sees stays g
kill -CONT "${PID[g]}"
ok "nor later" never_true 2 grep -q . "$TMP/stays/watch"

# --- the end of the dead one ---
if (($(now_us) - died < 55000000)); then
	ok "the dead one is away until its time has come" sees stays d away
	ok "and what it had is listed until then" lists stays of-d
fi
ok "it is forgotten then" until_true 60 not knows stays d
ok "not before" test $(($(now_us) - heard)) -gt 59900000
ok "and that is an event" until_true 5 grep -q '"event":"peer-forgotten".*"peer_name":"d"' "$TMP/stays/watch.forgotten"
fields() { grep -oE "\"(id|time|peer|peer_name)\":\"[^\"]*\"" <<<"$1" | sort; }
stream=$(grep -m 1 '^data: .*peer-forgotten' < <(curl -sN --noproxy '*' -m $((10 * FACTOR)) "$(url stays)/v1/events?kind=peer-forgotten" \
	-H 'Last-Event-ID: 0-0'))
is "the same in the event stream" "$(fields "$stream")" "$(fields "$(cat "$TMP/stays/watch.forgotten")")"
ok "what it had goes with it" until_true 10 not lists stays of-d
ok "all others are there" all_see b c e f g stays
peer_start d
ok "back from the dead it is welcome, by those whom it remembers" until_true 20 all_see d stays
ok "with what it has" until_true 10 lists stays of-d
finish
