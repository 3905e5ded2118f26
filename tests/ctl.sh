#!/bin/bash
# SPDX-License-Identifier: MIT
#
# ctl.sh - p2pctl against real daemons, and its documents against the tables.
#
# $P2PD and $P2PCTL are the programs, $srcdir the tree.  Everything happens below one temporary directory, on loopback.
set -u
srcdir=${srcdir:-$(dirname "$0")/..}
dir=$(mktemp -d "${TMPDIR:-/tmp}/ctl-XXXXXX")
pids=
failed=0
# shellcheck disable=SC2154
trap 'for one in $pids; do kill "$one" 2>/dev/null; done; wait; rm -rf "$dir"' EXIT

# check TEXT COMMAND...: the command must succeed.
check() {
	local text=$1
	shift
	"$@" || { echo "FAILED: $text"; failed=1; }
}

# ends EXIT COMMAND...: the command must end with that status.
ends() {
	local want=$1 got
	shift
	"$@" > "$dir/out" 2> "$dir/err"
	got=$?
	[ "$got" = "$want" ] || { echo "FAILED: $* ended with $got, not $want"; cat "$dir/out" "$dir/err"; failed=1; }
}

says() { grep -qF -- "$1" "$dir/out" "$dir/err" || { echo "FAILED: \"$1\" is not in:"; cat "$dir/out" "$dir/err"; failed=1; }; }

# until_true COMMAND...: waits for it, 15 s at most.
until_true() {
	for _ in $(seq 150); do
		"$@" > "$dir/out" 2> "$dir/err" && return 0
		sleep 0.1
	done
	echo "FAILED: never came true: $*"
	failed=1
	return 1
}

# start NAME LINES...: a daemon with the share $dir/NAME/share.
start() {
	local name=$1
	mkdir -p "$dir/$name"
	printf '[node]\nname = %s\nstate = %s\nlog = error\n[share]\ndirectory = %s\nsettle = 10ms\n[rest]\nlisten = 127.0.0.1:0\n[grpc]\nlisten =\n[control]\nsocket = %s\n[network]\nheartbeat = 1s\n%s\n' \
	    "$name" "$dir/$name/state" "$dir/$name/share" "$dir/$name/sock" "${2:-}" > "$dir/$name/conf"
	"$P2PD" -c "$dir/$name/conf" 2> "$dir/$name/log" &
	pids="$pids $!"
	until_true "$P2PCTL" -s "$dir/$name/sock" status
}
a() { "$P2PCTL" -s "$dir/a/sock" "$@"; }
b() { "$P2PCTL" -s "$dir/b/sock" "$@"; }

# --- documents and tables -------------------------------------------------------------------------

commands=$(sed -n 's/^COMMAND(\([a-z]*\),.*/\1/p' "$srcdir/proto/control.def")
options=$(sed -n "s/^OPTION([A-Z]*,[^\"]*\"\([a-z]*\)\".*/\1/p" "$srcdir/ctl/options.def")
events=$(sed -n 's/^EVENT([A-Z_]*,[^"]*"\([a-z-]*\)",[^0-9]*\([0-9]*\),.*/\1:\2/p' "$srcdir/daemon/events.def")
codes=$(sed -n 's/^CODE([A-Z_]*,[^"]*"\([a-z-]*\)",[^0-9]*\([0-9]*\),.*/\1:\2/p' "$srcdir/proto/codes.def")
check "the tables can be read" test -n "$commands" -a -n "$options" -a -n "$events" -a -n "$codes"
for command in $commands; do
	check "p2pd-control(7) has the command $command" grep -q "^\.It Ic $command\b" "$srcdir/man/p2pd-control.7"
	case $command in quit | directories) continue ;; esac # of p2pctl itself
	check "p2pctl(1) has the command $command" grep -q "^\.It Ic $command\b" "$srcdir/man/p2pctl.1"
	check "completion has the command $command" grep -qx "$command" <("$P2PCTL" --complete)
done
for option in $options; do
	check "p2pctl(1) has --$option" grep -q "^\.It .*Fl -$option\b" "$srcdir/man/p2pctl.1"
	check "help has --$option" grep -q -- "--$option\b" <("$P2PCTL" --help; for c in $commands; do "$P2PCTL" help "$c" 2>&1; done)
done
for event in $events; do
	check "p2pd-control(7) has the event $event" grep -q "^\.It Li ${event#*:} ${event%:*}\b" "$srcdir/man/p2pd-control.7"
done
for code in $codes; do
	check "p2pd-control(7) has the code $code" grep -q "^\.It Li ${code#*:} ${code%:*}\b" "$srcdir/man/p2pd-control.7"
done
if command -v mandoc > /dev/null; then
	check "the manual pages are clean" mandoc -T lint -W warning "$srcdir/man/p2pctl.1" "$srcdir/man/p2pd-control.7"
fi
check "the bash completion parses" bash -n "$srcdir/etc/completion/p2pctl.bash"
complete_bash() {
	bash -c '
		p2pctl() { "$P2PCTL" "$@"; }
		source "$1"
		shift
		COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
		_p2pctl p2pctl "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
		printf "%s\n" "${COMPREPLY[@]}"' bash "$srcdir/etc/completion/p2pctl.bash" "$@"
}
check "bash completes a command" test "$(complete_bash p2pctl rel)" = reload
check "bash completes an option" test "$(complete_bash p2pctl fetch --det)" = --detach
if command -v zsh > /dev/null; then
	check "the zsh completion parses" zsh -n "$srcdir/etc/completion/_p2pctl"
fi
if command -v fish > /dev/null; then
	check "fish completes a command" test "$(HOME=$dir PATH="$(dirname "$P2PCTL"):$PATH" fish --no-config \
	    -c "source $srcdir/etc/completion/p2pctl.fish; complete -C 'p2pctl rel'")" = reload
fi

# --- usage ----------------------------------------------------------------------------------------

ends 2 "$P2PCTL"
ends 2 "$P2PCTL" fly
ends 2 "$P2PCTL" peers --limit 3
ends 2 "$P2PCTL" search a b
ends 2 "$P2PCTL" search a --limit none
ends 2 "$P2PCTL" search a --glob --content
ends 2 "$P2PCTL" search a --size 10
ends 2 "$P2PCTL" search a --size 2k..1k
ends 2 "$P2PCTL" search a --size 99999999999999999999..
ends 2 "$P2PCTL" search a --newer 10
ends 2 "$P2PCTL" search a --older d
ends 2 "$P2PCTL" fetch a b -o c
ends 0 "$P2PCTL" --help
ends 0 "$P2PCTL" help fetch
ends 0 "$P2PCTL" --version
ends 3 "$P2PCTL" -s "$dir/nobody" status
says "is p2pd running?"
ends 3 env P2PD_SOCKET="$dir/nobody" "$P2PCTL" status
says "$dir/nobody"

# --- one peer -------------------------------------------------------------------------------------

start a
ends 0 a status
says "name	a"
ends 0 a peers
mkdir -p "$dir/src/deep"
head -c 3000000 /dev/urandom > "$dir/src/big"
echo hello > "$dir/src/deep/hello"
printf 'esc\033[31m' > "$dir/src/deep/other"
ln -s /etc/passwd "$dir/src/link"
touch -d 2001-02-03T04:05:06Z "$dir/src/big"
ends 0 a put "$dir/src/big" --as data/big
says "data/big	3000000	"
ends 1 a put "$dir/src/deep/hello" --as data/big
says "already-exists"
ends 1 a put "$dir/src"
says "no regular file; -r"
ends 0 a put -r "$dir/src/deep"
ends 0 a put -r "$dir/src/deep"
ends 1 a put "$dir/none"
ends 0 a put "$dir/src/deep/hello" --as 'odd "name" = x'
ends 0 a search hello
says "deep/hello	6	1	yes	"
ends 0 a search 'odd "name" = x' --exact
says 'odd "name" = x	6	'
ends 0 a search HELLO --in deep --size 6..6 --newer 1d --holder a --state here
check "a filter lets through what it says" test "$(cut -f 1 "$dir/out")" = deep/hello
for filter in --size=..5 --older=1d --in=data --state=away; do
	ends 0 a search HELLO --in deep "$filter"
	check "$filter leaves nothing" test ! -s "$dir/out"
done
ends 1 a search HELLO --holder nobody
says "no peer is called"
for outside in /deep ../deep deep//x; do
	ends 1 a search HELLO --in "$outside"
	says "a directory of the network is one such as"
	ends 1 a ls "$outside"
	says "a directory of the network is one such as"
done
ends 1 a search --glob 'deep[x'
says "for a '[' has no ']'"
ends 1 a watch --match 'deep[x'
says "for a '[' has no ']'"
ends 0 a search "$(a search deep/hello --exact | cut -f 5 | cut -c 1-10)" --content
check "a content is found under all its names" test "$(cut -f 1 "$dir/out" | sort | tr '\n' ' ')" = 'deep/hello odd "name" = x '
ends 0 a where deep/hello
check "where tells the holder" test "$(cut -f 1,2,3,5 "$dir/out")" = "$(printf 'a\there\t6\tdeep/hello')"
ends 0 a --json where deep/hello
check "where is JSON" python3 -c 'import json,sys; d=json.load(open(sys.argv[1])); assert d["count"] == 1 and d["holders"][0]["peer_name"] == "a" and d["holders"][0]["size"] == 6' "$dir/out"
ends 1 a where nowhere
ends 0 a du
check "du adds up each directory" grep -qx "$(printf '[0-9]*\t2\tdeep/')" "$dir/out"
check "and all in the last row" test "$(tail -n 1 "$dir/out" | cut -f 1)" = "$(head -n -1 "$dir/out" | awk '{ sum += $1 } END { print sum }')"
ends 0 a --json du deep
check "du is JSON" python3 -c 'import json,sys; d=json.load(open(sys.argv[1])); assert [p["name"] for p in d["parts"]] == ["deep/hello", "deep/other"] and d["all"]["files"] == 2' "$dir/out"
ends 0 a ls deep
check "a directory lists two files" test "$(wc -l < "$dir/out")" = 2
ends 0 a ls
check "ls shows a subdirectory as one line, with its bytes and files" grep -qx "$(printf 'deep/\t%s\t-\t-\t-\t-\t2' "$(a du deep | tail -n 1 | cut -f 1)")" "$dir/out"
check "and the files beside it" grep -q "$(printf '^odd .*\tyes\t.*\t-$')" "$dir/out"
check "and nothing from within" eval '! grep -q ^deep/[a-z] "$dir/out"'
ends 1 a ls nothing
check "ls names what nobody has" grep -q 'no peer has a file or a directory "nothing"' "$dir/err"
ends 1 a du nothing
ends 0 a du deep/hello
check "du weighs a single file" grep -qx "$(printf '%s\t1\tdeep/hello' "$(a search --exact deep/hello | cut -f 2)")" "$dir/out"
ends 1 a ls --local deep/nothing
check "or what is not shared here" grep -q 'this peer does not share a file or a directory "deep/nothing"' "$dir/err"
ends 0 a ls -R
check "ls -R shows all, with the names below" eval 'grep -q ^deep/hello "$dir/out" && ! grep -q "^deep/	" "$dir/out"'
check "in the columns of a search" test "$(a search "" | sort)" = "$(sort "$dir/out")"
ends 0 a ls --recursive deep/
check "of one directory too" test "$(cut -f 1 "$dir/out" | tr '\n' ' ')" = "deep/hello deep/other "
ends 0 a ls --limit 1
check "the limit of ls holds" test "$(wc -l < "$dir/out")" = 1
ends 0 a --json ls
check "subdirectories are JSON" python3 -c 'import json,sys; d=json.load(open(sys.argv[1])); assert [x for x in d["directories"] if x["name"] == "deep/"][0]["files"] == 2 and d["directories"][0]["more"] is False; assert all("/" not in f["name"] for f in d["files"])' "$dir/out"
ends 0 a --json ls --local deep
check "where there are none the list is empty" python3 -c 'import json,sys; assert json.load(open(sys.argv[1]))["directories"] == []' "$dir/out"
ends 0 a search '' --limit 3
check "the limit holds" test "$(wc -l < "$dir/out")" = 3
ends 0 a --json ls deep
check "one document of JSON" python3 -c 'import json,sys; d=json.load(open(sys.argv[1])); assert [f["name"] for f in d["files"]] == ["deep/hello", "deep/other"] and d["files"][0]["size"] == 6 and d["files"][0]["local"] is True' "$dir/out"
ends 0 a --json status
check "status is JSON" python3 -c 'import json,sys; d=json.load(open(sys.argv[1])); assert d["node"]["name"] == "a" and d["share"]["files"] >= 4' "$dir/out"
ends 0 a --json peers
check "an empty list is one" python3 -c 'import json,sys; assert json.load(open(sys.argv[1]))["peers"] == []' "$dir/out"
ends 1 a --json rm none
check "an error is JSON" python3 -c 'import json,sys; json.load(open(sys.argv[1]))' "$dir/out"
ends 0 a fetch data/big
says "here already"
ends 1 a fetch no-such-thing
says "not-found"
ends 1 a cancel 99
ends 0 a rm 'odd "name" = x'
printf x > "$dir/a/share/$(printf 'bad\001name')"
ends 0 a reload
until_true eval 'a ls --unshareable | grep -qF "bad\\x01name"'
ends 0 a ls --unshareable
says "name 'bad\x01name' holds"
ends 1 a put "$dir/src/deep/hello" --as "$(printf 'bad\nname')"
says "name 'bad\x0aname' holds"
check "unshareable names are JSON" eval 'a --json ls --unshareable | python3 -c "import json,sys; json.load(sys.stdin)"'

# --- two peers ------------------------------------------------------------------------------------

url=$(a --json status | python3 -c 'import json,sys; print(json.load(sys.stdin)["addresses"][0]["url"])')
start b "seed = $url"
until_true eval 'b search big | grep -q data/big'
ends 0 b peers
says "a	here	"
ends 0 timeout 30 "$P2PCTL" -s "$dir/b/sock" fetch data/big
says "data/big: done, 1 file"
check "the bytes are the same" cmp "$dir/src/big" "$dir/b/share/data/big"
ends 0 b fetches
says "done"
ends 0 timeout 30 "$P2PCTL" -s "$dir/b/sock" fetch deep -o "$dir/tree"
check "a tree lands" cmp "$dir/src/deep/hello" "$dir/tree/hello"
ends 0 timeout 30 "$P2PCTL" -s "$dir/b/sock" fetch deep -o "$dir/tree/"
check "a tree lands below" cmp "$dir/src/deep/other" "$dir/tree/deep/other"
ends 0 timeout 30 "$P2PCTL" -s "$dir/b/sock" fetch deep -o "$dir/tree/"
says "2 files are here already"
ends 0 timeout 30 "$P2PCTL" -s "$dir/b/sock" fetch 'deep/h*' -o "$dir/glob"
check "a glob lands with whole names" cmp "$dir/src/deep/hello" "$dir/glob/deep/hello"
ends 0 timeout 30 "$P2PCTL" -s "$dir/b/sock" fetch deep/hello -o "$dir/one"
check "a file lands" cmp "$dir/src/deep/hello" "$dir/one"
check "no helpers stay" test -z "$(find "$dir" -name '.*p2pd-part' -o -name '.*p2pd-have')"
ends 1 timeout 30 "$P2PCTL" -s "$dir/b/sock" fetch deep/other -o "$dir/one"
says "--replace"
check "the file is kept" cmp "$dir/src/deep/hello" "$dir/one"
ends 0 timeout 30 "$P2PCTL" -s "$dir/b/sock" fetch deep/other -o "$dir/one" --replace
check "the file is replaced" cmp "$dir/src/deep/other" "$dir/one"
ends 1 timeout 30 "$P2PCTL" -s "$dir/b/sock" fetch nothing -o "$dir/nothing"
check "nothing stays of nothing" test ! -e "$dir/.nothing.p2pd-part"

# Two contents of one name: both are told, and one can be chosen.
echo "another hello" > "$dir/other-hello"
ends 0 b put "$dir/other-hello" --as twice
ends 0 a put "$dir/src/deep/hello" --as twice
until_true eval 'test "$(b search twice | wc -l)" = 2'
ends 1 b fetch twice -o "$dir/twice"
says "Say which"
root=$(b search twice | awk -F'\t' '$2 == 6 { print substr($5, 1, 12) }')
ends 0 timeout 30 "$P2PCTL" -s "$dir/b/sock" fetch twice --id "$root" -o "$dir/twice"
check "the chosen one landed" cmp "$dir/src/deep/hello" "$dir/twice"

# Events, and going on after the last one.
"$P2PCTL" -s "$dir/b/sock" watch > "$dir/events" &
watcher=$!
pids="$pids $watcher"
touch "$dir/src/empty"
until_true eval 'a rm twice; a put "$dir/src/empty" --as "new-$RANDOM"; grep -q file-added "$dir/events"'
kill -INT "$watcher"
wait "$watcher"
id=$(tail -n1 "$dir/events" | cut -f1)
# (In the foreground: the SIGCONT that it sends besides would hang a leak check that has just begun.)
ends 124 timeout --foreground -k 20 1 "$P2PCTL" -s "$dir/b/sock" watch --after 1-1 --json
check "after another run events were lost" python3 -c 'import json,sys; assert json.loads(open(sys.argv[1]).readline())["event"] == "events-lost"' "$dir/out"
check "an event has an id" test -n "$id"

exit $failed
