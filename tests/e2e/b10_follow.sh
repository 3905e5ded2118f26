#!/bin/bash
# SPDX-License-Identifier: MIT
#
# b10 - follows: what appears and fits is fetched from then on, once, across restarts and kills, and never over other files; two
# who follow each other come to rest.  FOLLOW_BURST: files of the burst.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

burst=${FOLLOW_BURST:-2000}
peer_new a
peer_new b "network.seed=$(url a)"
peer_new c "network.seed=$(url a)"
A=$TMP/a/share B=$TMP/b/share C=$TMP/c/share
mkdir -p "$A/logs"
echo old >"$A/logs/old.log"
for peer in a b c; do peer_start $peer; done
until_true 20 eval 'lists b logs/old.log && lists c logs/old.log && sees b c && sees c b'

# has PEER FILE: fetched, and equal to what a has.
has() { cmp "$A/$2" "$TMP/$1/share/${3:-$2}"; }
idle() { ! ctl "$1" fetches | cut -f2 | grep -qvE '^(done|failed|cancelled)$'; }
# The peer knows the file of a as it is now.
knows() { [[ $(ctl "$1" --json search --exact "$2" | grep -o "\"holder_count\": *[0-9]*" | head -n 1) ]] && lists "$1" "$2"; }
fetches_of() { ctl "$1" fetches | wc -l; }
# said PEER EVENT WHAT: an event since watch_from
watch_from() {
	"$P2PCTL" -s "$TMP/$1/sock" --json watch >"$TMP/$1/events" 2>"$TMP/$1/watch.err" &
	HELPERS+=("$!")
}
said() { grep "\"event\": *\"$2\"" "$TMP/$1/events" | grep -qF -- "$3"; }

# --- appears, fits ---
watch_from b
first=$(ctl b follow 'logs/*.log')
ok "a follow has a number" eval '[[ $first =~ ^[0-9]+$ ]]'
is "and is listed" "$(ctl b follows | cut -f1-4,6)" "$first	logs/*.log	-	no	0"
echo new >"$A/logs/new.log"
echo other >"$A/logs/new.txt"
ok "what appears and fits is fetched" until_true 10 has b logs/new.log
ok "it is said which follow it was, and which fetch" until_true 5 said b follow-matched "\"follow\":$first"
ok "and that it is done" until_true 5 said b fetch-done 'logs/*.log'
ok "what was there before is not" not test -e "$B/logs/old.log"
ok "nor what does not fit" not test -e "$B/logs/new.txt"
is "it is counted" "$(ctl b follows | cut -f6,7)" "1	4"
is "the same again is the same follow" "$(ctl b follow 'logs/*.log')" "$first"
ok "a pattern that no name can fit is refused" exits 1 ctl b follow '../x'
ok "also for a set that is not closed" exits 1 ctl b follow 'a[b'
ok "a place outside of the share is refused" exits 2 ctl b follow 'x*' -o /etc
ok "also by the daemon" exits 1 ctl b follow 'x*' -o ../etc

# --- other bytes here, replaced ---
echo mine >"$B/logs/held.log"
until_true 10 lists b logs/held.log
echo theirs >"$A/logs/held.log"
ok "where another file has the name this is said" until_true 10 said b follow-held '"name":"logs/held.log"'
is "and it stays" "$(cat "$B/logs/held.log")" mine
echo newer >"$A/logs/new.log"
ok "without --replace a newer version is held too" until_true 10 said b follow-held '"name":"logs/new.log"'
is "and the older stays" "$(cat "$B/logs/new.log")" new
is "--replace is another word for the same follow" "$(ctl b follow 'logs/*.log' --replace)" "$first"
echo "newer still" >"$A/logs/new.log"
ok "then a newer version takes its place" until_true 10 has b logs/new.log
echo "of c, but older" >"$C/logs-old" && touch -d 2001-01-01 "$C/logs-old" && mkdir -p "$C/logs" && mv "$C/logs-old" "$C/logs/new.log"
until_true 10 eval '(($(ctl b search --exact logs/new.log | wc -l) == 2))'
ok "an older one does not" never_true 2 not has b logs/new.log
rm "$C/logs/new.log"

# --- removed here ---
ok "it is removed here" ctl b rm logs/new.log
echo later >"$A/logs/later.log"
ok "others still come" until_true 10 has b logs/later.log
touch "$A/logs/new.log"
ok "(c fetches it: another holder)" eval 'until_true 10 ctl c fetch logs/new.log'
ok "what was removed does not come back, touched or offered by another" never_true 2 test -e "$B/logs/new.log"
echo "a new version" >"$A/logs/new.log"
ok "a new version does" until_true 10 has b logs/new.log

# --- down, killed ---
peer_stop b
echo meanwhile >"$A/logs/meanwhile.log"
peer_start b
ok "what appeared while the daemon was down is fetched" until_true 20 has b logs/meanwhile.log
begun() { ctl b follows | awk -F '\t' '$2 == "logs/*.log" { print $6 }'; }
before=$(begun)
came() { find "$B/logs" -name "kill-$1-*" | grep -q .; }
for round in 1 2 3 4 5 6; do
	for i in $(seq 200); do echo "$round $i" >"$A/logs/kill-$round-$i.log"; done
	# In the midst of them, or some moment before.
	if ((round % 2)); then until_true 20 came $round; else sleep $((RANDOM % 2)).$((RANDOM % 10)); fi
	peer_kill b
	peer_start b
done
all_killed() { (($(find "$B/logs" -name 'kill-*' | wc -l) == 1200)); }
ok "nothing is lost by kills" until_true 30 all_killed
ok "and it comes to rest" until_true 10 idle b
is "nor begun twice" "$(($(begun) - before))" 1200
is "each is there as it should be" "$(diff -rq "$A/logs" "$B/logs" | grep -c 'kill-.*differ')" 0

# --- unfollow ---
ok "it is followed no longer" ctl b unfollow 'logs/*.log'
is "and not listed" "$(ctl b follows)" ""
ok "twice is an error" exits 1 ctl b unfollow "$first"
echo unfollowed >"$A/logs/unfollowed.log"
until_true 10 lists b logs/unfollowed.log
ok "and nothing more is fetched" never_true 2 test -e "$B/logs/unfollowed.log"

# --- a directory, elsewhere, for another program ---
ok "a directory is followed to a place" ctl c follow logs -o mirror
mkdir -p "$A/logs/deep"
echo deep >"$A/logs/deep/x"
ok "and lands there" until_true 10 has c logs/deep/x mirror/logs/deep/x
ok "a place may be a path below the share" ctl c follow 'never*' -o "$C/mirror/"
is "and is the same place" "$(ctl c follows | cut -f3 | sort -u)" mirror
ok "json has it" eval '[[ $(ctl c --json follows) == *"\"place\":\"mirror\""* ]]'
ok "it is unfollowed by its pattern" ctl c unfollow logs 'never*'

# --- those who follow each other ---
ok "a follows all of b" ctl a follow '*' --replace
ok "b follows all of a" ctl b follow '*' --replace
ok "c follows all to a place" ctl c follow '*' -o copy
echo ping >"$B/ping"
ok "a new file goes round" eval 'until_true 10 has b ping && until_true 10 has c ping copy/ping'
still() {
	local before after
	before=$(find "$A" "$B" "$C" -type f | sort | cksum)
	sleep 2
	after=$(find "$A" "$B" "$C" -type f | sort | cksum)
	[[ $before == "$after" ]] && idle a && idle b && idle c
}
ok "and comes to rest" until_true 30 still
ok "no copy of a copy was made" eval '[[ -z $(find "$A" "$B" "$C" -path "*copy/*copy/*") ]]'
echo pong >"$A/ping"
ok "its change goes round" until_true 10 has b ping
echo "of a" >"$A/both" & echo "of b" >"$B/both"
wait $!
ok "different files of one name become one" until_true 20 eval 'has b both'
ok "and come to rest" until_true 30 still
for peer in a b c; do ok "$peer follows no longer" ctl $peer unfollow '*'; done

# --- it changes while it is fetched; it vanishes ---
line_new d 100000
peer_new d "network.seed=$(url a)" "network.advertise=http://127.0.0.1:${LINE[d]}"
peer_start d
until_true 10 sees b d
ctl b -q follow 'big*'
random_file 3000000 "$TMP/d/share/big"
ok "a large one is on its way" until_true 15 eval '[[ $(ctl b fetches | tail -n 1 | cut -f2) == moving ]]'
number=$(ctl b fetches | tail -n 1 | cut -f1)
echo small >"$TMP/d/share/big"
ok "its new version comes instead" until_true 20 cmp "$TMP/d/share/big" "$B/big"
ok "and the old one is not waited for" until_true 10 fetch_is b "$number" "done"
random_file 3000000 "$TMP/d/share/big-2"
ok "another is on its way" until_true 15 eval '[[ $(ctl b fetches | tail -n 1 | cut -f2) == moving ]]'
number=$(ctl b fetches | tail -n 1 | cut -f1)
rm "$TMP/d/share/big-2"
ok "when nobody has it any more it is not waited for" until_true 20 fetch_is b "$number" "done"
ok "and is not here" not test -e "$B/big-2"
ok "nothing is left of them" until_true 5 eval '[[ -z $(find "$B/.p2pd-partial" -type f) ]]'
peer_stop d

# --- a burst ---
before=$(fetches_of b)
ctl b -q follow 'burst/*'
mkdir "$TMP/burst"
for i in $(seq "$burst"); do echo "$i" >"$TMP/burst/$i"; done
mv "$TMP/burst" "$A/burst"
ok "a burst of $burst files is fetched" until_true 60 diff -rq "$A/burst" "$B/burst"
echo "# $(($(fetches_of b) - before)) fetches for $burst files"
ok "in few fetches" test $(($(fetches_of b) - before)) -le 20
is "and each was begun once" "$(ctl b follows | awk -F '\t' '$2 == "burst/*" { print $6 }')" "$burst"

# --- from the network ---
post() { rest "$1" /v1/follows -H 'Content-Type: application/json' -d "$2" "${@:3}"; }
is "the network may not follow unless remote = all" "$(post b '{"pattern":"x*"}' -o /dev/null -w '%{http_code}')" 403
sed -i 's/^\[share\]$/&\nremote=all/' "$TMP/b/conf"
ctl b -q reload
id=$(post b '{"pattern":"by-rest*","place":"far"}' | grep -o '[0-9]*')
ok "then it may" test -n "$id"
ok "and sees it" eval 'rest b /v1/follows | grep -qF "\"pattern\":\"by-rest*\",\"place\":\"far\""'
echo rest >"$A/by-rest-1"
ok "what appears comes" until_true 10 has b by-rest-1 far/by-rest-1
is "nonsense is refused" "$(post b '{"pattern":1}' -o /dev/null -w '%{http_code}')" 400
is "it may be ended" "$(rest_status b "/v1/follows/$id" -X DELETE)" 204
is "once" "$(rest_status b "/v1/follows/$id" -X DELETE)" 404
finish
