#!/bin/bash
# SPDX-License-Identifier: MIT
#
# b14 - the directories that a fetch makes are like those of who has the tree, by both wires, also after a kill; those that
# were there stay as they are; and nothing that a holder says of them, or does not, harms a fetch.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

umask 022
line_new a
for peer in a b c; do grpc_new $peer; done
peer_new a "network.advertise=http://127.0.0.1:${LINE[a]}"
peer_new b "network.seed=http://127.0.0.1:${LINE[a]}" network.transport=rest
peer_new c "network.seed=http://127.0.0.1:${PORT[a]}" network.transport=grpc
# make_tree DIRECTORY: files in directories within each other, each of these with a time of its own, long ago.
make_tree() {
	python3 - "$1" <<'PY'
import os, random, sys
top = sys.argv[1]
random.seed(14)
for i in range(300):
    path = os.path.join(top, f"part {i % 7}", *(f"level{j}" for j in range(i % 5)))
    os.makedirs(path, exist_ok=True)
    with open(os.path.join(path, f"file {i}"), "wb") as file:
        file.write(random.randbytes(random.randrange(1, 4000)))
with open(os.path.join(top, "part 6", "large"), "wb") as file:
    file.write(random.randbytes(3 << 20))
os.chmod(os.path.join(top, "part 1"), 0o2750)
os.chmod(os.path.join(top, "part 2", "level0"), 0o700)
os.chmod(os.path.join(top, "part 3"), 0o777)
os.chmod(os.path.join(top, "part 4"), 0o511)
for at, (path, _, _) in enumerate(os.walk(top, topdown=False)):
    os.utime(path, ns=(0, 10 ** 18 + at * 12345678901))
PY
}
make_tree "$TMP/a/share/tree"
mkdir -p "$TMP/c/share/tree/part 5"
chmod 711 "$TMP/c/share/tree/part 5"
touch -d 2005-05-05 "$TMP/c/share/tree"
peer_start a
peer_start b
peer_start c
is_equal() { diff -r "$TMP/a/share/tree" "$TMP/$1/share/tree"; }
# As the umask lets a fetch make them; the owner keeps his rights.
wanted_of() { (cd "$1" && find . -type d -printf '%P %m %T@\n' | sed 's/ 2750 / 750 /; s/ 777 / 755 /; s/ 511 / 711 /' | sort); }
dirs_of() { (cd "$1" && find . -type d -printf '%P %m %T@\n' | sort); }
told() { # PEER JSON: what it tells of directories
	rest "$1" /v1/directories -H 'Content-Type: application/json' -d "{\"names\": $2}"
}
last="tree/part 4/level0/level1/level2/level3/file 39"

# --- by both wires ---
for peer in b c; do
	ok "$peer knows the tree" until_true 30 lists $peer "$last"
	ok "$peer fetches it" ctl $peer -q fetch tree
	ok "$peer: and it is equal" is_equal $peer
done
is "by REST, the directories have modes and times" "$(dirs_of "$TMP/b/share/tree")" "$(wanted_of "$TMP/a/share/tree")"
is "by gRPC, too" "$(dirs_of "$TMP/c/share/tree" | grep -vE '^(part 5)? ')" "$(wanted_of "$TMP/a/share/tree" | grep -vE '^(part 5)? ')"
is "one that was there keeps its mode" "$(stat -c %a "$TMP/c/share/tree/part 5")" 711
ok "and has the time of what came into it" test "$TMP/c/share/tree" -nt "$TMP/c/conf"
looks=$(dirs_of "$TMP/b/share/tree" | grep -v '^part 0 ')
rm "$TMP/b/share/tree/part 0/file 0"
ok "it is forgotten there" until_true 20 eval '[[ -z $(ctl b search --local --exact "tree/part 0/file 0") ]]'
ok "a file that is missing is fetched again" ctl b -q fetch tree
is "and the other directories are as they were" "$(dirs_of "$TMP/b/share/tree" | grep -v '^part 0 ')" "$looks"

# --- to a place of the user's own ---
mkdir "$TMP/own" "$TMP/own/there"
chmod 705 "$TMP/own/there"
land() { (umask 027 && ctl "$1" -q fetch "$2" -o "$3"); }
masked_of() { wanted_of "$1" | sed 's/ 755 / 750 /; s/ 711 / 710 /'; }
for peer in b c; do # which have the tree themselves; a is asked of the rest
	ok "$peer: a tree is fetched to become a new directory" land $peer tree "$TMP/own/$peer"
	is "$peer: and has modes and times" "$(dirs_of "$TMP/own/$peer")" "$(masked_of "$TMP/$peer/share/tree")"
done
peer_stop c
rm -r "$TMP/c/share/tree"
peer_start c
ok "c does not have it any more" until_true 20 eval '[[ -z $(ctl c search --local "file 39") ]]'
ok "c: the tree is fetched into a directory" land c tree "$TMP/own/there"
looks=$(dirs_of "$TMP/own/there/tree" | grep -v '^part 0 ') # of which b, who may have been asked, has a time of its own
is "c: and has modes and times" "$looks" "$(masked_of "$TMP/a/share/tree" | grep -v '^part 0 ')"
is "c: the directory keeps its mode" "$(stat -c %a "$TMP/own/there")" 705
rm "$TMP/own/there/tree/part 0/file 0"
ok "a file that is missing is fetched again" land c tree "$TMP/own/there"
is "and the other directories are as they were" "$(dirs_of "$TMP/own/there/tree" | grep -v '^part 0 ')" "$looks"
ok "a glob is fetched" land c 'tree/part 1/*' "$TMP/own/glob"
is "and has modes and times" "$(dirs_of "$TMP/own/glob/tree/part 1")" "$(masked_of "$TMP/a/share/tree/part 1")"
echo 'print(ask("directories nobody ../x /etc"))' >"$TMP/talk"
is "nobody tells of what is not there" "$(python3 "$HERE/talk.py" "$TMP/c/sock" "$TMP/talk")" "200 count=0"

# --- what is told ---
ln -s /etc "$TMP/a/share/link"
is "what is no directory of the share is not told of" "$(told a '["tree/part 2/level0", "../share/tree", "link", "link/ssh", "'"$last"'", "nobody", "", "/", "tree/"]')" \
	'{"directories":['"$(stat -c '{"mtime_ns":%.9Y,"mode":"0%a"}' "$TMP/a/share/tree/part 2/level0" | tr -d .)"',null,null,null,null,null,null,null,null]}'
is "nor of more than a thousand" "$(rest_status a /v1/directories -H 'Content-Type: application/json' -d "{\"names\": [\"a\"$(printf ',"a"%.0s' {1..1000})]}")" 429
is "nor of none" "$(rest_status a /v1/directories -H 'Content-Type: application/json' -d '{"names": []}')" 400

# --- killed ---
peer_stop b
rm -r "$TMP/b/share/tree"
peer_stop c
echo $((1 << 20)) >"$TMP/a/rate"
peer_start b
ok "b sees the holder" until_true 10 sees b a
id=$(fetch_start b tree)
ok "some of it is here" until_true 60 test -d "$TMP/b/share/tree/part 4/level0"
is "a directory that is being made is not told of" "$(told b '["tree", "tree/part 4"]')" '{"directories":[null,null]}'
peer_kill b
echo 0 >"$TMP/a/rate"
peer_start b
ok "killed and started again, it goes on by itself" until_true 60 fetch_is b "$id" "done"
ok "and is equal" is_equal b
is "and so are the directories that it made before" "$(dirs_of "$TMP/b/share/tree")" "$(wanted_of "$TMP/a/share/tree")"
ok "now they are told of" eval '[[ $(told b "[\"tree\"]") == *mtime_ns* ]]'
peer_stop a
peer_stop b

# --- holders of another making ---
peer_new d network.transport=rest # knows nobody but those who come
peer_start d
new_dirs() { # NAME: all of them have the mode of a new one, and a time of today
	local old
	old=$(find "$TMP/d/share/$1" -type d \( -not -perm 755 -o -not -newer "$TMP/d/conf" \))
	[[ -z $old ]] || { echo "$old"; return 1; }
}
for mood in unknown told bits ages fewer crowd others silent; do
	make_tree "$TMP/foreign/$mood"
	rm "$TMP/foreign/$mood/part 6/large" # it knows no layers
	touch -d 2003-03-03 "$TMP/foreign/$mood/part 6"
	python3 "$HERE/foreign_tree.py" "$(free_port)" "$(url d)" "$TMP/foreign" many $mood >"$TMP/$mood.log" 2>&1 &
	helper=$!
	HELPERS+=("$helper")
	ok "$mood: the tree is known" until_true 30 lists d "$mood/${last#tree/}"
	ok "$mood: it is fetched" timeout $((60 * FACTOR)) "$P2PCTL" -s "$TMP/d/sock" -q fetch $mood
	ok "$mood: and is equal" diff -r "$TMP/foreign/$mood" "$TMP/d/share/$mood"
	if [[ $mood == told ]]; then
		is "$mood: and so are its directories" "$(dirs_of "$TMP/d/share/$mood")" "$(wanted_of "$TMP/foreign/$mood")"
	else
		ok "$mood: and its directories are new ones" new_dirs $mood
	fi
	is "$mood: that was asked once" "$(grep -c '/v1/directories' "$TMP/$mood.log")" 1
	[[ $mood != silent ]] || break
	kill $helper
	wait $helper 2>/dev/null
	rm -r "$TMP/foreign/$mood"
done
# Of what it has itself it would tell at once.
rm -r "$TMP/d/share/silent"
asked() { (($(grep -c '/v1/directories' "$TMP/silent.log") == $1)); }
for count in 2 3; do
	echo 's.sendall(b"directories \"silent/part 1\"\n"); line()' >"$TMP/talk"
	python3 "$HERE/talk.py" "$TMP/d/sock" "$TMP/talk" &
	HELPERS+=("$!")
	ok "who asks waits for the silent one" until_true 20 asked $count
	((count == 3)) || kill "$!"
done
ok "p2pd answers others meanwhile" ctl d status
ok "one that stops waits for nobody" peer_stop d
finish
