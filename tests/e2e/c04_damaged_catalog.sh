#!/bin/bash
# SPDX-License-Identifier: MIT
#
# c04 - a catalog that is damaged, empty or gone: it is set aside with a word, and built anew from the share and the network.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

peer_new a
peer_new b "network.seed=$(url a)"
random_file $((4 << 20)) "$TMP/a/share/of-a.bin"
random_file $((4 << 20)) "$TMP/b/share/of-b.bin"
peer_start a
peer_start b
until_true 10 lists b of-a.bin
until_true 10 lists a of-b.bin
state=$TMP/b/state
catalog=$(find "$state" -name 'catalog*' -not -name '*-wal' -not -name '*-shm' | head -n 1)
root=$(ctl b search --exact --local of-b.bin | cut -f5)
peer=$(ctl b status | grep ^peer)
ok "there is a catalog" test -s "$catalog"

recovers() { # WHAT
	# A catalog that begins anew twice in a minute is not pulled: a fresh mind on the other side, too.
	peer_stop a
	peer_start a
	ok "$1: it starts" peer_start b
	is "$1: it is the same peer" "$(ctl b status | grep ^peer)" "$peer"
	ok "$1: its own files are there" until_true 10 lists b of-b.bin
	is "$1: with their content" "$(ctl b search --exact --local of-b.bin | cut -f5)" "$root"
	ok "$1: those of others too" until_true 10 lists b of-a.bin
	ok "$1: others still list its files, once" until_true 10 eval '[[ $(ctl a search --exact of-b.bin | cut -f3) == 1 ]]'
	ok "$1: a fetch works" ctl b fetch of-a.bin
	ok "$1: and is equal" cmp "$TMP/a/share/of-a.bin" "$TMP/b/share/of-a.bin"
	ok "$1: others learn of it" until_true 10 eval '[[ $(ctl a search --exact of-a.bin | cut -f3) == 2 ]]'
	ok "$1: it is removed" ctl b rm of-a.bin
	ok "$1: others learn that too" until_true 10 eval '[[ $(ctl a search --exact of-a.bin | cut -f3) == 1 ]]'
}
no_journal() { rm -f "$catalog-wal" "$catalog-shm"; }

ok "b stops" peer_stop b
no_journal
head -c 200000 /dev/urandom >"$catalog"
recovers "garbage"
ok "garbage: the log says so" log_has b "damaged"
ok "garbage: it was set aside" grep -q . <(find "$state" -name "$(basename "$catalog")?*" -not -name '*-wal' -not -name '*-shm')
ok "garbage: where, is in the log" eval 'file=$(grep -o "/[^ ]*catalog[^ ]*" "$TMP/b/log" | head -n 1); [[ -s $file ]]'

ok "b stops" peer_stop b
no_journal
: >"$catalog"
recovers "an empty file"

ok "b stops" peer_stop b
no_journal
rm "$catalog"
recovers "no file"

# Bits turned in the middle of a real one: found at the start, or when they are met.
ok "b stops" peer_stop b
no_journal
for at in 8200 12400 16500; do printf '\xff\xff\xff\xff\xff\xff\xff\xff' | dd of="$catalog" bs=1 seek=$at conv=notrunc status=none; done
recovers "turned bits"

# A killed daemon leaves its journal, which is no damage.
peer_kill b
ok "b was killed and starts" peer_start b
ok "nothing was set aside" not log_has b damaged
ok "its files are there" lists b of-b.bin
finish
