#!/bin/bash
# SPDX-License-Identifier: MIT
#
# ctl_fetch.sh - p2pctl fetch when things happen in its middle: Ctrl-C, a daemon that is killed, a p2pctl that is killed, two at
# once, traps beside the target, a daemon of another user.
#
# A holder that is stopped (SIGSTOP) makes every fetch wait, so what is tried always befalls one that is under way.
# $P2PD and $P2PCTL are the programs.  Everything happens below one temporary directory, on loopback.
set -u
dir=$(mktemp -d "${TMPDIR:-/tmp}/ctl_fetch-XXXXXX")
declare -A pid
failed=0
finish() {
	local one
	for one in "${pid[@]}"; do kill -CONT "$one"; kill "$one"; done 2>/dev/null
	wait
	rm -rf "$dir"
}
trap finish EXIT

# check TEXT COMMAND...: the command must succeed.
check() {
	local text=$1
	shift
	"$@" || { echo "FAILED: $text"; failed=1; }
}

# is TEXT GOT WANTED
is() { [ "$2" = "$3" ] || { echo "FAILED: $1: \"$2\", not \"$3\""; cat "$dir/err"; failed=1; }; }

# says TEXT: what p2pctl said on standard error has it.
says() { grep -qF -- "$1" "$dir/err" || { echo "FAILED: \"$1\" is not in:"; cat "$dir/err"; failed=1; }; }

# until_true COMMAND...: waits for it, 15 s at most.
until_true() {
	for _ in $(seq 300); do
		"$@" > "$dir/log" 2>&1 && return 0
		sleep 0.05
	done
	echo "FAILED: never came true: $*"
	failed=1
	return 1
}

# start NAME [SEED [RUNNER...]]: a daemon with the share $dir/NAME/share.
start() {
	local name=$1 seed=${2:-}
	shift $(($# < 2 ? $# : 2))
	mkdir -p "$dir/$name"
	printf '[node]\nname = %s\nstate = %s\n[share]\ndirectory = %s\nsettle = 10ms\n[rest]\nlisten = 127.0.0.1:0\n[grpc]\nlisten =\n[control]\nsocket = %s\n[network]\nheartbeat = 1s\n%s\n' \
	    "$name" "$dir/$name/state" "$dir/$name/share" "$dir/$name/sock" "${seed:+seed = $seed}" > "$dir/$name/conf"
	[ $# -eq 0 ] || chown -R nobody "$dir/$name"
	"$@" "$P2PD" -c "$dir/$name/conf" 2>> "$dir/$name/log" &
	pid[$name]=$!
	until_true "$P2PCTL" -s "$dir/$name/sock" status
}
address() { sed -n 's/.*REST on \(http[^ ]*\).*/\1/p' "$dir/$1/log" | tail -n 1; }
b() { "$P2PCTL" -s "$dir/b/sock" "$@"; }
knows() { [ "$("$P2PCTL" -s "$dir/$1/sock" search --exact "$2" | wc -l)" = 1 ]; }

# fetch WORD...: begins `p2pctl fetch` at b; its number is $ctl.  (env: a background job of a shell ignores SIGINT from its start.)
fetch() {
	: > "$dir/err"	# now: what is asked of it must not be answered by the one before
	env --default-signal=INT "$P2PCTL" -s "$dir/b/sock" fetch "$@" > "$dir/out" 2> "$dir/err" &
	ctl=$!
}
# ended STATUS: it ends so.
ended() {
	wait "$ctl"
	is "p2pctl ended with" $? "$1"
}
under_way() { b fetches | cut -f2 | grep -qE 'running|waiting|queued'; }

umask 022
mkdir -p "$dir/a/share/tree" "$dir/to"
head -c 30000000 /dev/urandom > "$dir/a/share/big.bin"
printf 'one' > "$dir/a/share/tree/one"
printf 'two' > "$dir/a/share/tree/two"
chmod 755 "$dir/a/share/tree/two"
touch -d '2020-02-02 02:02:02' "$dir/a/share/tree/two"
start a
start b "$(address a)"
until_true knows b big.bin
until_true knows b tree/two

# --- Ctrl-C and a daemon that is killed -----------------------------------------------------------

kill -STOP "${pid[a]}"
fetch big.bin
until_true under_way
kill -INT "$ctl"
ended 1
says "goes on; see it with"
check "the fetch outlives p2pctl" under_way

fetch big.bin
until_true grep -q . "$dir/err"
kill -9 "${pid[b]}"
ended 3
says "goes on when the daemon is back"
wait "${pid[b]}" 2>/dev/null

start b "$(address a)"
fetch big.bin -o "$dir/to/big.bin"
until_true test -e "$dir/to/.big.bin.p2pd-part"
until_true grep -q waits "$dir/err"
kill -9 "${pid[b]}"
ended 3
says "the same command goes on where it stopped"
check "what is half done has no final name" test ! -e "$dir/to/big.bin"
wait "${pid[b]}" 2>/dev/null
start b "$(address a)"

# --- a p2pctl that is stopped or killed, and two at once ------------------------------------------

fetch big.bin -o "$dir/to/big.bin"
until_true grep -q waits "$dir/err"
kill -INT "$ctl"
ended 1
says "the same command goes on where it stopped"

fetch big.bin -o "$dir/to/big.bin"
until_true grep -q waits "$dir/err"
kill -9 "$ctl"
wait "$ctl" 2>/dev/null
fetch big.bin -o "$dir/to/big.bin"
first=$ctl
until_true grep -q waits "$dir/err"
b fetch big.bin -o "$dir/to/big.bin" > "$dir/out2" 2> "$dir/err"
is "the second of two" $? 1
says "another p2pctl is fetching it"
check "the first keeps its files" test -e "$dir/to/.big.bin.p2pd-have"
kill -CONT "${pid[a]}"
ctl=$first
ended 0
check "every byte came" cmp "$dir/a/share/big.bin" "$dir/to/big.bin"
is "nothing is left beside it" "$(ls -A "$dir/to")" big.bin
b fetch big.bin -o "$dir/to/big.bin" > "$dir/out" 2> "$dir/err"
is "a name that is taken" $? 1
says "--replace"

# --- modes, times, and trees ----------------------------------------------------------------------

(umask 027 && b fetch tree -o "$dir/to/tree" > "$dir/out" 2> "$dir/err")
is "modes are masked, times kept" "$(stat -c '%a %Y' "$dir/to/tree/two")" "750 $(stat -c %Y "$dir/a/share/tree/two")"
rm "$dir/to/tree/one"
b fetch 'tree/*' -o "$dir/to" > "$dir/out" 2> "$dir/err"
is "a tree goes on" "$?: $(cat "$dir/out")" "0: tree/one
1 file is here already"
b fetch '' -o "$dir/to/none" > "$dir/out" 2> "$dir/err"
is "the empty name" "$? $(ls -d "$dir"/to/none 2>/dev/null)" "2 "

# --- traps: nothing lands through what others laid ------------------------------------------------

mkdir "$dir/outside"
ln -s "$dir/outside" "$dir/to/link"
mkdir "$dir/to/trap"
ln -s "$dir/outside" "$dir/to/trap/tree"
b fetch 'tree/*' -o "$dir/to/trap" > "$dir/out" 2> "$dir/err"
is "a symbolic link to a directory" $? 1
is "nothing came outside" "$(ls -A "$dir/outside")" ""
echo mine > "$dir/outside/mine"
ln "$dir/outside/mine" "$dir/to/.x.p2pd-part"
b fetch tree/one -o "$dir/to/x" > "$dir/out" 2> "$dir/err"
is "another name of a file beside the target" "$? $(cat "$dir/outside/mine")" "1 mine"
says ".x.p2pd-part"
rm "$dir/to/.x.p2pd-part"
ln -s "$dir/outside/mine" "$dir/to/.x.p2pd-have"
b fetch tree/one -o "$dir/to/x" > "$dir/out" 2> "$dir/err"
is "a symbolic link beside the target" "$? $(cat "$dir/outside/mine")" "1 mine"
rm "$dir/to/.x.p2pd-have"

# --- a daemon of another user may neither chmod nor set times -------------------------------------

if [ "$(id -u)" = 0 ] && command -v setpriv > /dev/null; then
	chmod 755 "$dir"
	start n "$(address a)" setpriv --reuid nobody --clear-groups
	until_true knows n tree/two
	"$P2PCTL" -s "$dir/n/sock" fetch tree/two -o "$dir/to/theirs" > "$dir/out" 2> "$dir/err"
	is "mode and time by another user's daemon" "$(stat -c '%a %Y' "$dir/to/theirs")" \
	    "$(stat -c '%a %Y' "$dir/a/share/tree/two")"
fi

exit $failed
