#!/bin/bash
# SPDX-License-Identifier: MIT
#
# b03 - three peers and one seed address: all know all, whatever happens on one is known to the others.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

peer_new a
peer_new b "network.seed=$(url a)"
peer_new c "network.seed=$(url a)"
random_file 200000 "$TMP/a/share/from/a.bin"
random_file 200000 "$TMP/b/share/from/b.bin"
random_file 200000 "$TMP/c/share/from/c.bin"
for peer in a b c; do peer_start $peer; done

for peer in a b c; do
	for other in a b c; do
		[[ $peer == "$other" ]] || ok "$peer sees $other" until_true 5 sees $peer $other
		ok "$peer lists the file of $other" until_true 5 lists $peer from/$other.bin
	done
	is "search from $peer answers for the network" "$(ctl $peer search from/ | cut -f1 | sort | tr '\n' ' ')" \
	    "from/a.bin from/b.bin from/c.bin "
	is "ls --local only for itself" "$(ctl $peer ls --local from | cut -f1)" "from/$peer.bin"
done
is "a row has size, holders and whether it is here" "$(ctl b search --exact from/a.bin | cut -f2-4)" "200000	1	no"
ok "a glob fits" grep -q '^from/b.bin	' <(ctl c search --glob 'from/[b]*')
ok "the peer itself is not in its list" not sees a a
ok "the list has addresses" grep -q "	$(url b)	" <(ctl c peers)

# --- a content with more names than a page, or than a reply has room for ---
names_of() { ctl b where "$(root_of c "$1")" 2>"$TMP/where.err" | wc -l; }
long=$(printf 'n%.0s' {1..240})
long=$long/$long/$long
mkdir -p "$TMP/c/share/few" "$TMP/c/share/$long"
for i in {1..250}; do echo few >"$TMP/c/share/few/$i"; done
for i in {1..1200}; do echo many >"$TMP/c/share/$long/$i"; done
knows_names() { (($(ctl b du few | tail -n 1 | cut -f2) == 250 && $(ctl b du "$long" | tail -n 1 | cut -f2) == 1200)); }
ok "b knows of many names" until_true 20 knows_names
is "where tells all names of a content" "$(names_of few/1)" 250
told=$(names_of "$long/1")
ok "or as many as a reply has room for ($told)" test "$told" -gt 400 -a "$told" -lt 1200
ok "and that there are more" grep -q "there are more" "$TMP/where.err"
rm -r "$TMP/c/share/few" "$TMP/c/share/${long%%/*}"

# --- news ---
ctl b watch >"$TMP/b/watch" &
HELPERS+=("$!")
curl -sN --noproxy '*' "$(url c)/v1/events" >"$TMP/c/events" &
HELPERS+=("$!")
watched() { grep -qP "$1" "$TMP/b/watch"; }
streamed() { grep -q "$1" "$TMP/c/events"; }
# The first event tells that both listen.
arm=0
armed() {
	: >"$TMP/a/share/arm-$arm"
	arm=$((arm + 1))
	watched '\tfile-added\tarm-' && streamed '"arm-'
}
ok "both streams are open" until_true 10 armed

random_file 300000 "$TMP/a/news.bin"
ok "a new file is put on a" ctl a put "$TMP/a/news.bin"
ok "b hears of it soon" until_true 3 watched '\tfile-added\tnews.bin\t'
ok "c hears of it by the event stream" until_true 3 streamed '"news.bin"'
ok "b lists it" until_true 3 lists b news.bin
ok "c lists it" until_true 3 lists c news.bin
ok "a file is removed from a" ctl a rm news.bin
ok "b hears of it soon" until_true 3 watched '\tfile-removed\tnews.bin\t'
ok "c no longer lists it" until_true 3 not lists c news.bin
ok "an event has a name, an id and a JSON body" grep -A2 -B2 -q '^data: {.*"event":"file-added"' "$TMP/c/events"
ok "its id can be gone on after" grep -qP '^id: \d+-\d+$' "$TMP/c/events"

last=$(tail -n 1 "$TMP/b/watch" | cut -f1)
cp "$TMP/a/news.bin" "$TMP/a/share/later.bin"
ok "b lists a later file" until_true 5 lists b later.bin
timeout --foreground -k 20 $((2 * FACTOR)) "$P2PCTL" -s "$TMP/b/sock" watch --after "$last" >"$TMP/b/again"
ok "watch --after goes on after the last one" grep -qP '\tfile-added\tlater.bin\t' "$TMP/b/again"
ok "and tells nothing twice" not grep -qP '\tnews.bin\t' "$TMP/b/again"

# --- come and go ---
ok "c stops in order" peer_stop c
ok "a knows at once that it is away" until_true 3 sees a c away
ok "and b" until_true 3 sees b c away
ok "b is told" until_true 3 watched '\tpeer-away\t'
ok "what it had stays listed, without a holder that is here" lists a from/c.bin
peer_start c
ok "c is back" until_true 5 sees a c
ok "and b is told" until_true 5 watched '\tpeer-here\t'
ok "and c knows both without being told anew" until_true 5 sees c b

peer_kill c
ok "a killed peer is noticed" until_true 15 sees a c away
ok "and by b" until_true 15 sees b c away
peer_start c
ok "and that it is back" until_true 5 sees a c
ok "also by b" until_true 5 sees b c

# The seed is needed to begin with, and then no more.
ok "the seed stops" peer_stop a
ok "b still sees c" sees b c
echo more >"$TMP/c/share/without-seed"
ok "and hears what is new there" until_true 5 lists b without-seed
peer_start a
ok "the seed is back for b" until_true 10 sees b a
ok "and has the news" until_true 10 lists a without-seed
finish
