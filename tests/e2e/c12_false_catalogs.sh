#!/bin/bash
# SPDX-License-Identifier: MIT
#
# c12 - peers whose catalogs are not right: what makes no sense is refused as a whole and not asked for again at once, what
# comes twice changes nothing, a catalog that begins anew all the time is followed once a minute at most, and nobody else's suffers.
# shellcheck disable=SC2317 # functions are called by ok
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

refused=(huge nothing reordered beyond gap foreign)
peer_new a
peer_start a

false_start() { # MOOD
	python3 "$HERE/false_catalog.py" "$(free_port)" "$(url a)" "$1" >"$TMP/$1.log" 2>&1 &
	HELPERS+=("$!")
}
questions() { grep -c ^asked "$TMP/$1.log"; }
was_asked() { test "$(questions "$1")" -ge "${2:-1}"; }
names() { ctl a search "$1-" | cut -f1 | sort | tr '\n' ' '; }
has() { is_same "$(names "$1")" "$2"; }
few_questions() { test "$(questions "$1")" -le 3; }

for mood in "${refused[@]}" twice replayed future flapping; do false_start "$mood"; done
for mood in "${refused[@]}"; do
	ok "$mood: the catalog is asked for" until_true 20 was_asked "$mood"
done
false_start honest
ok "honest: both files are found" until_true 20 has honest "honest-1 honest-2 "
ok "twice: a name is one file" until_true 20 has twice "twice-1 "
is "twice: ... as the later change has it" "$(ctl a --json search twice-1 | grep -o '"size": *[0-9]*' | grep -o '[0-9]*$')" 2
ok "future: an epoch far ahead is one like any other" until_true 20 has future "future-1 future-2 "
ok "replayed: the page counts once" until_true 20 has replayed "replayed-1 replayed-2 "
ok "flapping: it is followed once more" until_true 20 was_asked flapping 2

# A dozen heart-beats later.
ok "the peers are greeted on" until_true 30 eval '(($(metric a p2pd_uptime_seconds) >= 15))'
for mood in "${refused[@]}" replayed flapping; do
	ok "$mood: it is not asked again and again" few_questions "$mood"
done
for mood in "${refused[@]}"; do is "$mood: nothing of it is taken" "$(names "$mood")" ""; done
ok "the log says why" log_has a "is not taken for 60 s"
ok "honest: both files are still found" has honest "honest-1 honest-2 "

finish
