#!/bin/bash
# SPDX-License-Identifier: MIT
#
# demo.sh BUILD - three peers on loopback share real files of this machine: what p2pd does, in half a minute.
#
# Everything is temporary: the daemons are stopped and their files removed at the end.
set -eu
build=$(cd "${1:?the build directory}" && pwd)
work=$(mktemp -d)
pids=()

cleanup() {
	for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
	for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
	rm -rf "$work"
}
trap cleanup EXIT

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
ctl() { # PEER COMMAND...
	local peer=$1
	shift
	"$build/p2pctl" -s "$work/$peer/p2pd.sock" "$@"
}
show() { # PEER COMMAND...
	local peer=$1
	shift
	printf '\nhost-%s$ p2pctl %s\n' "$peer" "$*"
	ctl "$peer" "$@"
}
until_true() { # SECONDS COMMAND...
	local end=$((SECONDS + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $end ] || { echo "demo: gave up waiting for: $*" >&2; exit 1; }
		sleep 0.05
	done
}

start_peer() { # PEER SEED
	mkdir -p "$work/$1/share"
	cat >"$work/$1/p2pd.conf" <<-CONF
		[node]
		name = host-$1
		state = $work/$1/state
		[share]
		directory = $work/$1/share
		[rest]
		listen = 127.0.0.1:0
		[grpc]
		listen = 127.0.0.1:0
		[control]
		socket = $work/$1/p2pd.sock
		[network]
		${2:+seed = $2}
	CONF
	"$build/p2pd" -c "$work/$1/p2pd.conf" 2>"$work/$1/log" &
	pids+=($!)
	until_true 20 ctl "$1" status
}
address_of() { sed -n 's/.*REST on \(http[^ ]*\).*/\1/p' "$work/$1/log" | head -n 1; }
count_here() { [ "$(ctl "$1" peers | cut -f 2 | grep -c here)" = "$2" ]; }
all_listed() { [ "$(ctl "$1" ls -R | wc -l)" = "$2" ]; }

library=$(find /usr/lib /usr/bin -xdev -type f -size +8M -printf '%s %p\n' 2>/dev/null | sort -n | tail -n 1 | cut -d' ' -f2-)
tree=/usr/include

say "Three peers on this machine; b and c know only the address of a."
start_peer a ""
cp "$library" "$work/a/share/"
cp -r "$tree" "$work/a/share/include" 2>/dev/null || true
find "$work/a/share" -type l -delete
find "$work/a/share" -depth -type d -empty -delete
files=$(find "$work/a/share" -type f | wc -l)
start_peer b "$(address_of a)"
start_peer c "$(address_of a)"
until_true 30 count_here c 2
until_true 30 count_here b 2
show b peers

name=$(basename "$library")
say "Host a has got $name and a tree of $((files - 1)) small files.  Host c searches for them."
until_true 120 all_listed c "$files"
show c search "${name:0:6}" --limit 5

say "Host b fetches the large file, each piece verified."
show b fetch "$name"
cmp "$library" "$work/b/share/$name" && echo "byte for byte the same"

say "Host c fetches the whole tree."
show c fetch include
diff -r "$work/a/share/include" "$work/c/share/include" && echo "file for file the same"

say "Host c fetches the large file to a place of its own; both a and b hold it now."
show c fetch "$name" -o "$work/copy"
cmp "$library" "$work/copy" && echo "byte for byte the same"

say "And from a script:"
printf '\nany$ curl %s/v1/files?q=%s\n' "$(address_of c)" "${name:0:6}"
curl -s "$(address_of c)/v1/files?q=${name:0:6}&limit=2"
echo

say "That was all of it.  What next:"
cat <<'NEXT'
  sudo make -C build install       then: sudo systemctl start p2pd
  p2pctl help                      what you can ask of your peer
  man p2pd, man p2pctl             the manual pages (from here: man -l man/p2pctl.1)
NEXT
