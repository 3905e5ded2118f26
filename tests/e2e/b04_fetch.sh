#!/bin/bash
# SPDX-License-Identifier: MIT
#
# b04 - fetching: large and many, into the share and elsewhere, interrupted, detached, cancelled, ambiguous, replaced.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

line_new a
seed=http://127.0.0.1:${LINE[a]}
peer_new a "network.advertise=$seed"
peer_new b "network.seed=$seed"
peer_new c "network.seed=$seed"
big=$((40 << 20))
random_file $big "$TMP/a/share/big.bin"
random_file $((30 << 20)) "$TMP/a/share/second.bin"
for i in $(seq 300); do random_file $((RANDOM * 2)) "$TMP/a/share/tree/$((i % 17))/file $i"; done
: >"$TMP/a/share/tree/empty"
chmod 755 "$TMP/a/share/tree/empty"
echo "of a" >"$TMP/a/share/same.txt"
echo "of c, another" >"$TMP/c/share/same.txt"
for peer in a b c; do peer_start $peer; done
until_true 20 eval 'lists b tree/empty && lists b big.bin && lists b second.bin'
until_true 20 eval '(($(ctl b search --exact same.txt | wc -l) == 2))'
share=$TMP/b/share
mkdir "$TMP/out"

ok "a large file is fetched" ctl b fetch big.bin
ok "and is equal" cmp "$TMP/a/share/big.bin" "$share/big.bin"
is "and has the time of the original" "$(stat -c %Y "$share/big.bin")" "$(stat -c %Y "$TMP/a/share/big.bin")"
ok "it is offered at once: two holders" until_true 5 eval '[[ $(ctl c search --exact big.bin | cut -f3) == 2 ]]'
ok "what is here already is no error" ctl b fetch big.bin
ok "a tree is fetched" ctl b fetch tree
ok "and is equal" diff -r "$TMP/a/share/tree" "$share/tree"
is "and has the mode of the original" "$(stat -c %a "$share/tree/empty")" 755
ok "a name that nobody has is refused with 1" exits 1 ctl b fetch nothing.bin
ok "a glob is fetched" ctl c fetch 'tree/1/*'
ok "and is equal" diff -r "$TMP/a/share/tree/1" "$TMP/c/share/tree/1"
ok "nothing is left in the partial directories" not grep -q . <(find "$TMP"/[bc]/share/.p2pd-partial -type f)

# --- elsewhere ---
ok "fetch -o FILE lands there" ctl b fetch big.bin -o "$TMP/out/mine.bin"
ok "and is equal" cmp "$TMP/a/share/big.bin" "$TMP/out/mine.bin"
ok "fetch -o DIRECTORY keeps the name" ctl b fetch second.bin -o "$TMP/out"
ok "and is equal" cmp "$TMP/a/share/second.bin" "$TMP/out/second.bin"
ok "and did not land in the share" not test -e "$share/second.bin"
ok "a tree lands in a directory" ctl b fetch tree -o "$TMP/out/"
ok "and is equal" diff -r "$TMP/a/share/tree" "$TMP/out/tree"
is "and beside them nothing is left" "$(find "$TMP/out" -mindepth 1 -maxdepth 1 | wc -l)" 3

# --- interrupted ---
received() { metric b 'p2pd_bytes_total{wire="rest",direction="in"}'; }
moving() { [[ $(ctl b fetches | tail -n 1 | cut -f2) == moving ]]; }
moved() { moving && (($(ctl b fetches | tail -n 1 | cut -f3) > $1)); }
echo $((12 << 20)) >"$TMP/a/rate"
rm "$TMP/out/second.bin"
env --default-signal=INT "$P2PCTL" -s "$TMP/b/sock" fetch second.bin -o "$TMP/out" &
client=$!
ok "a slow fetch is on its way" until_true 20 moved $((10 << 20))
kill -INT $client
wait $client
ok "Ctrl-C leaves no final name" not test -e "$TMP/out/second.bin"
echo 0 >"$TMP/a/rate"
before=$(received)
ok "the same command goes on" ctl b fetch second.bin -o "$TMP/out"
ok "and is equal" cmp "$TMP/a/share/second.bin" "$TMP/out/second.bin"
ok "and what was there is not fetched again" test $(($(received) - before)) -lt $((24 << 20))

# --- detached, cancelled ---
echo $((12 << 20)) >"$TMP/a/rate"
id=$(fetch_start b second.bin)
ok "a detached fetch has a number" test -n "$id"
ok "and is on its way" until_true 10 fetch_is b "$id" moving
ok "its bytes are not under the final name" not test -e "$share/second.bin"
ok "it is cancelled" ctl b cancel "$id"
ok "and says so" until_true 5 fetch_is b "$id" cancelled
ok "nothing of it is left" until_true 5 eval '[[ -z $(find "$share/.p2pd-partial" -type f) ]]'
id=$(fetch_start b second.bin)
ok "it can be fetched anew" until_true 10 fetch_beyond b "$id" 1000000
echo 0 >"$TMP/a/rate"
ok "and gets done by itself" until_true 20 fetch_is b "$id" "done"
ok "and is equal" cmp "$TMP/a/share/second.bin" "$share/second.bin"

# --- one name, two contents ---
ok "an ambiguous name is refused with 1" eval 'ctl b fetch same.txt >"$TMP/b/told" 2>&1; (($? == 1))'
ok "and says so" grep -q ambiguous "$TMP/b/told"
one=$(ctl a search --local --exact same.txt | cut -f5)
two=$(ctl c search --local --exact same.txt | cut -f5)
ok "both candidates are told" eval 'grep -q "${one:0:12}" "$TMP/b/told" && grep -q "${two:0:12}" "$TMP/b/told"'
ok "one is fetched by its id" ctl b fetch --id "${one:0:12}" same.txt
ok "and is that one" cmp "$TMP/a/share/same.txt" "$share/same.txt"
ok "the other does not replace it" exits 1 ctl b fetch --id "$two" same.txt
ok "it is still that one" cmp "$TMP/a/share/same.txt" "$share/same.txt"
ok "unless asked to" ctl b fetch --replace --id "$two" same.txt
ok "then it is the other" cmp "$TMP/c/share/same.txt" "$share/same.txt"
ok "an id alone is enough" ctl b fetch "$one" -o "$TMP/out/by-id"
ok "and is that one" cmp "$TMP/a/share/same.txt" "$TMP/out/by-id"
finish
