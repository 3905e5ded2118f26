# shellcheck shell=bash
# SPDX-License-Identifier: MIT
#
# lib.sh - what the scenarios of family f share beyond ../e2e/lib.sh: peers that run with faults.
#
# The daemon is started through a wrapper: if the directory of a peer has a file "fault" (lines VARIABLE=value, see shim.c),
# the shim is loaded.  fault_plan writes the file; it holds from the next start of the peer.  A plan with `when` waits until
# fault_on, and ends with fault_off; what met a fault is in $TMP/PEER/faults.
#
# SHIM: the library; built here if `make check` did not.
: "${P2PD:?the path of p2pd}"
FAULT=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=../e2e/lib.sh
. "$FAULT/../e2e/lib.sh"
TMP=$(cd "$TMP" && pwd -P) # the shim compares the kernel's names

SHIM=${SHIM:-${BUILDDIR:-.}/tests/fault/shim.so}
if [[ ! -e $SHIM ]]; then
	SHIM=$TMP/shim.so
	"${CC:-cc}" -std=gnu17 -O2 -fPIC -shared -o "$SHIM" "$FAULT/shim.c" 2>/dev/null || skip_all "no compiler for the shim"
fi
SHIM=$(cd "$(dirname "$SHIM")" && pwd)/shim.so
RANDOM=${RANDOM_SEED:=$RANDOM}
echo "# RANDOM_SEED=$RANDOM_SEED"

cat >"$TMP/p2pd" <<END
#!/bin/bash
plan=\$(dirname "\$2")/fault
[[ -e \$plan ]] || exec "$(realpath "$P2PD")" "\$@"
mapfile -t set <"\$plan"
export LD_PRELOAD="$SHIM" ASAN_OPTIONS="\${ASAN_OPTIONS-}:verify_asan_link_order=0"
exec env "\${set[@]}" "$(realpath "$P2PD")" "\$@"
END
chmod +x "$TMP/p2pd"
P2PD=$TMP/p2pd

# fault_plan PEER [calls=KINDS] [below=DIRECTORIES] [when] [nth=N] [every=N] [do=WHAT]: nothing but the peer clears it.
fault_plan() {
	local dir=$TMP/$1 pair
	rm -f "$dir/fault" "$dir/faults" "$dir/fault-on"
	shift
	(($# > 0)) || return 0
	for pair; do
		case $pair in
		when) echo "FAULT_WHEN=$dir/fault-on" ;;
		*) pair=${pair/=/ }; echo "FAULT_${pair%% *}=${pair#* }" | sed 's/^FAULT_[a-z]*/\U&/' ;;
		esac
	done >"$dir/fault"
	echo "FAULT_LOG=$dir/faults" >>"$dir/fault"
}
fault_on() { : >"$TMP/$1/fault-on"; }
fault_off() { rm -f "$TMP/$1/fault-on"; }
faulted() { [[ -s $TMP/$1/faults ]]; }
fault_count() { if [[ -e $TMP/$1/faults ]]; then wc -l <"$TMP/$1/faults"; else echo 0; fi; }
# Where a peer keeps what must survive.
disk_of() { echo "$TMP/$1/state:$TMP/$1/share"; }

alive() { [[ -n ${PID[$1]-} ]] && [[ $(ps -o stat= -p "${PID[$1]}") == [^Z]* ]]; }
dead() { ! alive "$1"; }
# After a fault that killed it: so that nobody asks it to stop.
peer_buried() {
	{ wait "${PID[$1]}"; } 2>/dev/null
	unset "PID[$1]"
}

# The files of two directories of the same name are the same; those that one has alone do not matter.
none_differs() { ! diff -rq --exclude='.p2pd-*' "$1" "$2" 2>&1 | grep -v '^Only in' | grep .; }
# no_half_file SHARE ORIGINALS...: whatever has a final name is one of the originals of that name.
no_half_file() {
	local share=$1 original
	shift
	for original; do none_differs "$original" "$share" || return; done
}

catalog_of() { find "$TMP/$1/state" -name 'catalog*' -not -name '*-wal' -not -name '*-shm' | head -n 1; }
catalog_is_sound() {
	if command -v sqlite3 >/dev/null; then
		is_same "$(sqlite3 -readonly "$(catalog_of "$1")" 'PRAGMA integrity_check')" ok || return
	fi
	! grep -i 'damaged' "$TMP/$1/log"
}
nothing_partial() { [[ -z $(find "$TMP/$1/share/.p2pd-partial" -type f 2>/dev/null) ]]; }
no_temporary() { ! find "$TMP/$1/state" "$TMP/$1/share" -name '.p2pd-????????????????' | grep .; }
