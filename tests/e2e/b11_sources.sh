#!/bin/bash
# SPDX-License-Identifier: MIT
#
# b11 - whom the bytes of a fetch come from: as p2pctl shows it while it waits and afterwards, on a terminal, for scripts, and
# over REST.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

MIB=$((1024 * 1024))
grpc_new b
peer_new a
peer_new b "network.seed=$(url a)"
peer_new c "network.seed=$(url a)"
for name in piped shown slow stall; do
	random_file $((8 * MIB)) "$TMP/a/share/$name"
	cp "$TMP/a/share/$name" "$TMP/b/share/$name"
done
for i in $(seq 20); do
	random_file 100000 "$TMP/a/share/landed/$i"
	random_file 100000 "$TMP/a/share/tree/$i"
	random_file 1000 "$TMP/a/share/crumbs/$i"
done
for peer in a b c; do peer_start $peer; done
ok "c sees both holders" until_true 20 eval 'sees c a && sees c b'
for name in piped shown slow stall; do
	ok "c knows both have $name" until_true 20 eval '[[ $(ctl c search --exact '$name' | cut -f3) == 2 ]]'
done
ok "c knows the trees" until_true 20 eval 'lists c tree/20 && lists c crumbs/20'
may_send() { ctl "$1" limit upload "$2" >"$TMP/limit"; }
id_of() { ctl c peers | awk -F '\t' -v name="$1" '$1 == name { print $9 }'; }

# --- for scripts ---

may_send a 8M
may_send b 8M
ctl c fetch -v piped >"$TMP/out" 2>"$TMP/err"
is "what is printed is what it was without -v" "$(cat "$TMP/out")" "piped: done, 1 file, 8.0 MiB"
is "each source has a row" "$(cut -f1 "$TMP/err" | sort | tr '\n' ' ')" "a b "
is "and all bytes are somebody's" "$(awk -F '\t' '{ sum += $4 } END { print sum }' "$TMP/err")" $((8 * MIB))
ok "both gave some" awk -F '\t' '$4 == 0 { exit 1 }' "$TMP/err"
is "they have all of it" "$(cut -f6 "$TMP/err" | sort -u)" all
is "a has REST only" "$(awk -F '\t' '$1 == "a" { print $7 }' "$TMP/err")" rest
is "the last cell is who it is" "$(awk -F '\t' '$1 == "a" { print $9 }' "$TMP/err")" "$(id_of a)"
mkdir "$TMP/land"
ctl c fetch -v landed -o "$TMP/land/" >"$TMP/out" 2>"$TMP/err"
is "they are summed where each file is a fetch of its own" "$(cut -f1,4 "$TMP/err")" "a	2000000"
ctl c fetch -q -v tree >"$TMP/out" 2>"$TMP/err"
is "with -q there is none of it" "$(cat "$TMP/out" "$TMP/err")" ""
holders_of() { # WHAT: bytes and pieces of each
	ctl c --json fetches | python3 -c 'import json, sys
all = json.load(sys.stdin)
ids = [f["id"] for f in all["fetches"] if f["what"] == sys.argv[1]]
print([(h["bytes"], h["verified_pieces"]) for h in all["holders"] if h["fetch"] in ids])' "$1"
}
is "in a fetch of many files they are summed, too" "$(holders_of tree)" "[(2000000, 40)]"
ctl c fetch -v crumbs >"$TMP/out" 2>"$TMP/err"
is "those of small files that came together are somebody's, too" "$(cut -f1,4-7 "$TMP/err")" "a	20000	20	all	rest"
is "and stay so" "$(holders_of crumbs)" "[(20000, 20)]"
ok "--trace shows the protocol" eval 'ctl c --trace status 2>&1 >/dev/null | grep -q "^> status"'
is "-v does not" "$(ctl c -v status 2>&1 >/dev/null)" ""

# --- while it runs ---

may_send a 1M
may_send b 1M
fetch=$(fetch_start c slow)
ok "it goes on" until_true 10 fetch_beyond c "$fetch" $MIB
rest c "/v1/fetches/$fetch" >"$TMP/fetch.json"
rest c /v1/fetches >"$TMP/fetches.json"
holders() { # FILE EXPRESSION: of the list of holders h
	python3 -c 'import json, sys
h = sorted(json.load(open(sys.argv[1]))["holders"], key=lambda one: one["name"])
print(eval(sys.argv[2]))' "$@"
}
is "REST names them" "$(holders "$TMP/fetch.json" '[one["name"] for one in h]')" "['a', 'b']"
is "with their ids" "$(holders "$TMP/fetch.json" 'h[0]["peer"]')" "$(id_of a)"
ok "asked, at a rate, with what they have" holders "$TMP/fetch.json" \
	'[1 / (one["whole"] and one["pieces"] > 0 and one["asks"] > 0 and one["rate_bps"] > 0) for one in h]'
ok "the list of fetches leaves them out" not grep -q holders "$TMP/fetches.json"
ok "the control protocol has as many" test "$(ctl c --json fetches "$fetch" | grep -o '"peer":' | wc -l)" = 2
ok "fetches -v has a row for each" test "$(ctl c fetches -v | awk -F '\t' -v id="$fetch" 'NF == 10 && $1 == id' | wc -l)" = 2
python3 "$HERE/on_terminal.py" 200 "$P2PCTL" -s "$TMP/c/sock" fetches >"$TMP/terminal"
ok "on a terminal fetches has heads" grep -q 'FETCH.*STATE.*BY' "$TMP/terminal"
python3 "$HERE/on_terminal.py" 200 "$P2PCTL" -s "$TMP/c/sock" fetches "$fetch" >"$TMP/terminal"
ok "and of one fetch the sources" grep -q 'SOURCE.*STATE.*RATE' "$TMP/terminal"
ok "and whom they are" grep -q '^a .*asked.*/s.*all' "$TMP/terminal"
may_send a 0
may_send b 0
ok "it is done" until_true 20 fetch_is c "$fetch" "done"
is "and it is told still whom it came from" \
	"$(ctl c --json fetches "$fetch" | python3 -c 'import json, sys; print(sum(h["bytes"] for h in json.load(sys.stdin)["holders"]))')" \
	$((8 * MIB))

# --- one that sends nothing any more ---

may_send a 1M
may_send b 1M
fetch=$(fetch_start c stall)
ok "both send" until_true 10 eval '(($(fetch_field c "$fetch" 7) == 2))'
ok "for a while" until_true 10 fetch_beyond c "$fetch" $MIB
kill -STOP "${PID[b]}"
resting() { ctl c fetches -v "$fetch" | awk -F '\t' '$1 == "b" && $2 == "resting" && $8 ~ /nothing/ { found = 1 } END { exit !found }'; }
ok "b is left alone, and it is said why" until_true 15 resting
may_send a 0
ok "a sends the rest" until_true 20 fetch_is c "$fetch" "done"
ok "and the stall is counted" test "$(metric c 'p2pd_asks_total{end="stalled"}')" -ge 1
kill -CONT "${PID[b]}"
ok "the file is right" cmp "$TMP/a/share/stall" "$TMP/c/share/stall"
ok "whole holders gave every piece" eval \
	'(($(metric c "p2pd_pieces_total{result=\"verified\",holder=\"whole\"}") == $(metric c "p2pd_pieces_total{result=\"verified\"}")))'

# --- on a terminal ---

may_send a 2M
may_send b 2M
python3 "$HERE/on_terminal.py" 60 "$P2PCTL" -s "$TMP/c/sock" fetch -v shown >"$TMP/terminal"
is "it is done" $? 0
ok "the table stands below the progress and is drawn anew" grep -qP '\x1b\[3A' "$TMP/terminal"
ok "with both of them" grep -qP '^a .*asked' "$TMP/terminal"
ok "no line is wider than the terminal" python3 -c 'import re, sys
text = re.sub(r"\x1b\[[0-9]*[A-Za-z]", "\r", open(sys.argv[1]).read().split("shown: done")[0])
sys.exit(max(len(line) for line in re.split("[\r\n]", text)) > 59)' "$TMP/terminal"
ok "at the end stands what each gave" eval 'sed "0,/shown: done/d" "$TMP/terminal" | grep -q SOURCE'
finish
