#!/bin/bash
# SPDX-License-Identifier: MIT
#
# b09 - a tree of thousands of small files, and a few larger ones: by both wires many to a request; from holders that lack
# some of them, lie, or know no such question; killed in the middle and gone on with; cancelled.  All bytes are right each time.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

small=3000
line_new a
seed=http://127.0.0.1:${LINE[a]}
for peer in a b c d; do grpc_new $peer; done
peer_new a "network.advertise=$seed"
peer_new b "network.seed=$seed" network.transport=rest
peer_new c "network.seed=http://127.0.0.1:${PORT[a]}" network.transport=grpc
python3 - "$TMP/a/share" $small <<'PY'
import os, random, sys
top, small = sys.argv[1], int(sys.argv[2])
random.seed(9)
def write(name, data):
    path = os.path.join(top, "tree", name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(data)
for i in range(small):
    depth = "/".join(f"level{j}" for j in range(i % 9))
    size = (0, 1, 16384, 16385, 65535, 65536)[i % 60] if i % 60 < 6 else random.randrange(1, 6000)
    write(f"part{i % 40}/{depth}/file {i}".replace("//", "/"), random.randbytes(size))
    if i % 100 == 7:
        write(f"copies/{i}", b"the same in all of them")
for i in range(4):
    write(f"part{i}/large {i}", random.randbytes((65537, 300000, 2000000, 5000000)[i]))
PY
chmod 750 "$TMP/a/share/tree/part7/"*7
touch -d 2001-02-03T04:05:06.789 "$TMP/a/share/tree/copies/"*
peer_start a
peer_start b
peer_start c
files=$(find "$TMP/a/share/tree" -type f | wc -l)
is_equal() { diff -r "$TMP/a/share/tree" "$TMP/$1/share/tree"; }
looks_of() { (cd "$TMP/$1/share" && find tree -type f -printf '%p %m %T@\n' | sort); }
nothing_left() { ! find "$TMP/$1/share/.p2pd-partial" -type f | grep -q .; }
requests() { metric "$1" "p2pd_requests_total{face=\"$2\"}"; }
path=part9/level0/level1/level2/level3/level4/level5/level6/level7
last="tree/$path/file 2969"

# --- by both wires ---
for peer in b c; do
	wire=rest holder=a
	[[ $peer == b ]] || wire=grpc holder=b # a tells of no gRPC address
	ok "$peer knows the tree" until_true 30 lists $peer "$last"
	before=$(requests $holder $wire)
	ok "a tree is fetched by $wire" ctl $peer -q fetch tree
	ok "and is equal" is_equal $peer
	is "and has modes and times" "$(looks_of $peer)" "$(looks_of a)"
	ok "and nothing is left of its making" nothing_left $peer
	asked=$(($(requests $holder $wire) - before))
	ok "$files files took $asked requests" eval "((asked > 3 && asked < 150))"
done
ok "what came is offered" until_true 10 eval '[[ $(ctl a search --exact "$last" | cut -f3) == 3 ]]'
ctl c -q rm "$last"
ok "what is here already is not fetched again" ctl c -q fetch tree
ok "and the missing one is here again" is_equal c

# --- killed, and cancelled ---
peer_stop b
rm -r "$TMP/b/share/tree"
echo $((2 << 20)) >"$TMP/a/rate"
peer_start b
peer_stop c
ok "b sees the holder" until_true 10 sees b a
id=$(fetch_start b tree)
for share in 1 2; do
	ok "$share of 3 is here" until_true 60 fetch_beyond b "$id" $((share * 5 << 20))
	peer_kill b
	wrong=$(cd "$TMP/b/share" && find tree -type f -exec sh -c 'for f; do cmp -s "$f" "$0/$f" || echo "$f"; done' "$TMP/a/share" {} +)
	is "killed: whatever has its name is whole" "$wrong" ""
	peer_start b
done
echo 0 >"$TMP/a/rate"
ok "started again, it goes on by itself" until_true 60 fetch_is b "$id" "done"
ok "and is equal" is_equal b
ok "and nothing is left of its making" nothing_left b
peer_stop b
rm -r "$TMP/b/share/tree"
echo $((2 << 20)) >"$TMP/a/rate"
peer_start b
ok "b sees the holder again" until_true 10 sees b a
id=$(fetch_start b tree)
ok "another one is on its way" until_true 60 fetch_beyond b "$id" $((3 << 20))
ok "it is cancelled" ctl b cancel "$id"
ok "and ends soon" until_true 10 fetch_is b "$id" cancelled
echo 0 >"$TMP/a/rate"
ok "nothing of it is left half" until_true 10 nothing_left b
ok "a tree of which some is here is fetched" ctl b -q fetch tree
ok "and is equal" is_equal b
peer_stop b

# --- holders of another making ---
peer_new d network.transport=rest # knows nobody but those who come
peer_start d
mkdir "$TMP/foreign"
cp -a "$TMP/a/share/tree" "$TMP/foreign/"
find "$TMP/foreign" -name 'large *' -delete
find "$TMP/foreign" -path '*/part[1-7]*' -name 'file *' -delete
find "$TMP/foreign" -type d -empty -delete
for mood in many none lacking lying short long html drip; do
	mv "$TMP/foreign/"* "$TMP/foreign/$mood"
	port=$(free_port)
	python3 "$HERE/foreign_tree.py" "$port" "$(url d)" "$TMP/foreign" $mood >"$TMP/$mood.log" 2>&1 &
	helper=$!
	HELPERS+=("$helper")
	count=$(find "$TMP/foreign" -type f | wc -l)
	ok "$mood: the tree is known" until_true 30 eval '(($(ctl d search --exact "$mood/$path/file 2969" | wc -l) == 1))'
	ok "$mood: it is fetched" timeout $((90 * FACTOR)) "$P2PCTL" -s "$TMP/d/sock" -q fetch $mood
	ok "$mood: and is equal" diff -r "$TMP/foreign/$mood" "$TMP/d/share/$mood"
	echo "# $mood: $count files, asked for $(grep -c 'POST /v1/contents/batch' "$TMP/$mood.log") times many, $(grep -c 'GET /v1/contents/' "$TMP/$mood.log") times one"
	kill $helper
	wait $helper 2>/dev/null
	rm -r "$TMP/d/share/$mood"
	ok "$mood: it is forgotten here" until_true 20 eval '[[ -z $(ctl d search --local --exact "$mood/$path/file 2969") ]]'
done
one() { grep -c 'GET /v1/contents/' "$TMP/$1.log"; }
ok "many: none was asked for by itself" test "$(one many)" -eq 0
ok "lying: it is named" log_has d "sent wrong bytes"
ok "lying: only once" test "$(grep -c "sent wrong bytes" "$TMP/d/log")" -eq 1
finish
