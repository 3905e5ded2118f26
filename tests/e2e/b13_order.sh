#!/bin/bash
# SPDX-License-Identifier: MIT
#
# b13 - which fetch comes first: turns within a priority, higher before lower, what is put in front, what a restart keeps, and that nobody
# waits for ever.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

MIB=$((1024 * 1024))
peer_new a
peer_new c "network.seed=$(url a)" share.remote=all fetch.parallel=1
for name in big{1..6}; do random_file $((12 * MIB)) "$TMP/a/share/$name"; done
for name in p q r x y z u v one last; do random_file 100000 "$TMP/a/share/$name"; done
for tree in tree long; do for i in $(seq 24); do random_file 400000 "$TMP/a/share/$tree/$i"; done; done
for i in $(seq 1100); do random_file 4000 "$TMP/a/share/crumbs/$i"; done
random_file 1000 "$TMP/a/share/crumb"
peer_start a
peer_start c
ok "c knows the files" until_true 20 eval 'lists c last && lists c tree/24 && lists c long/24 && lists c big6 && lists c crumbs/1100 && lists c crumb'
may_send() { ctl a limit upload "$1" >"$TMP/limit"; }
parallel() {
	peer_new c "network.seed=$(url a)" share.remote=all "fetch.parallel=$1"
	ctl c reload >"$TMP/reload"
}
is_over() { fetch_is c "$1" "done"; }
goes_on() { fetch_is c "$1" moving; }
# ended NAME...: in this order the log says that they were done.
ended() {
	local names
	printf -v names '%s|' "$@"
	is_same "$(grep -oE "fetch [0-9]+ of \"(${names%|})\": done" "$TMP/c/log" | sed 's/.*"\(.*\)".*/\1/' | tr '\n' ' ')" "$* "
}
priority_of() { ctl c fetches "$1" | cut -f14; }

# --- within a priority ---

may_send 2M
tree=$(fetch_start c tree)
ok "a tree is being fetched, one file at a time" until_true 10 fetch_beyond c "$tree" 1
one=$(fetch_start c one)
ok "a single file gets its turn" until_true 20 is_over "$one"
ok "while the tree goes on" goes_on "$tree"
may_send 0
ok "the tree is done" until_true 20 is_over "$tree"

may_send 2M
big=$(fetch_start c big1)
ok "a large file has the only place" until_true 10 fetch_beyond c "$big" 1
for name in p q r; do fetch=$(fetch_start c $name); done
is "a fetch has the normal priority" "$(priority_of "$fetch")" normal
ok "the last one is put in front" ctl c prioritize "$fetch" front
is "and is shown there" "$(priority_of "$fetch")" "normal front"
may_send 0
ok "they are done" until_true 20 eval 'is_over $((fetch - 1)) && is_over $((fetch - 2)) && is_over "$fetch"'
ok "it came first, the others in their order" ended r p q

# --- priorities ---

may_send 2M
big=$(fetch_start c big2)
ok "a large file has the only place again" until_true 10 fetch_beyond c "$big" 1
low=$(fetch_start c x --priority low)
normal=$(fetch_start c y)
high=$(fetch_start c z --priority high)
ok "a high one does not wait for it" until_true 10 is_over "$high"
ok "which is not broken off" goes_on "$big"
is "the others wait" "$(fetch_field c "$normal" 2) $(fetch_field c "$low" 2)" "queued queued"
may_send 0
ok "they are done, too" until_true 20 eval 'is_over "$low" && is_over "$normal"'
ok "the low one was the last" ended z y x

may_send 2M
big=$(fetch_start c big3 --priority low)
ok "a large file of low priority is on its way" until_true 10 fetch_beyond c "$big" 1
urgent=$(fetch_start c big4)
ok "so is one that comes later" until_true 10 fetch_beyond c "$urgent" 1
ok "it is made high" ctl c prioritize "$urgent" high
asks() { ctl c --json fetches "$1" | python3 -c 'import json, sys; print(sum(h["asks"] for h in json.load(sys.stdin)["holders"]))'; }
ok "then more is asked for it at once" until_true 10 eval '(($(asks "$urgent") > 2 * $(asks "$big")))'
ok "and it is done first" until_true 30 is_over "$urgent"
ok "before the other, which began first" goes_on "$big"
may_send 0
ok "which is done then" until_true 20 is_over "$big"

parallel 2
may_send 2M
long=$(fetch_start c long --priority high)
urgent=$(fetch_start c big5 --priority high)
both_move() { fetch_beyond c "$long" 1 && goes_on "$urgent"; }
ok "two of high priority have both places" until_true 10 both_move
low=$(fetch_start c last --priority low)
ok "a low one does not wait until they are done" until_true 20 is_over "$low"
either_goes_on() { goes_on "$long" || goes_on "$urgent"; }
ok "which they are not" either_goes_on
may_send 0
both_are_over() { is_over "$long" && is_over "$urgent"; }
ok "in the end they are" until_true 20 both_are_over

# --- small files, which come many at once ---

parallel 8
may_send 100K
crumbs=$(fetch_start c crumbs)
ok "a tree has as many batches under way as there may be" until_true 20 fetch_beyond c "$crumbs" 1
crumb=$(fetch_start c crumb)
ok "a small file does not wait until one of them ends" until_true 10 is_over "$crumb"
is "which none has" "$(fetch_field c "$crumbs" 8)" 0
may_send 0
ok "the tree is done" until_true 30 is_over "$crumbs"

# --- what is kept, and what is refused ---

parallel 1
may_send 10K
big=$(fetch_start c big6 --priority low)
u=$(fetch_start c u)
started=$(rest c /v1/fetches -H 'Content-Type: application/json' -d '{"what": "v", "priority": "low"}')
v=$(grep -o '"id": *[0-9]*' <<<"$started" | grep -o '[0-9]*$')
ok "two at once are changed" ctl c prioritize "$u" "$v" front
ok "c is stopped" peer_stop c
peer_start c
is "after a restart each has its priority" "$(priority_of "$big"), $(priority_of "$u"), $(priority_of "$v")" "low, normal front, low front"
is "REST says it too" "$(rest c "/v1/fetches/$v" | grep -oE '"(priority|front)": *[a-z"]*' | tr -d ' "' | tr '\n' ' ')" "priority:low front:true "
ok "a priority that there is not is refused" exits 1 ctl c prioritize "$u" highest
ok "so is a fetch that there is not" exits 1 ctl c prioritize 999 low
ok "one that has ended" eval 'ctl c cancel "$big" && until_true 5 fetch_is c "$big" cancelled && exits 1 ctl c prioritize "$big" high'
ok "a fetch of a wrong priority" exits 1 ctl c fetch y --priority urgent
is "and over REST" "$(rest_status c /v1/fetches -H 'Content-Type: application/json' -d '{"what": "v", "priority": "urgent"}')" 400
finish
