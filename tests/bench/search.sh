# shellcheck shell=bash
# SPDX-License-Identifier: MIT
#
# search - a peer that knows 1,000,000 files of 10 others: the first page of searches, asked by one client in turn over the control
# socket and over REST, the client's time from the question to the last byte; and what the catalog takes on disk and in memory.
#
# Half of the peers' names are also another's (SEARCH_NAMES): an entry is a file of one peer.  The catalog is filled by
# catalog_load.c through the catalog's own interface, which is also timed.

SEARCH_ENTRIES=${SEARCH_ENTRIES:-1000000}
SEARCH_NAMES=${SEARCH_NAMES:-400000}
SEARCH_TIMES=${SEARCH_TIMES:-300}
# Common, rare, absent, folded, of two characters, with directories, ends of names, one common word and one rare; then what is no plain
# text: patterns, and filters that leave little of much.  Behind a blank of `TEXT  KEY=VALUE...` is what else is asked.
SEARCH_TEXTS=(report img_2019 999999 zzqqyy STRASSE 写真 re zq anna/pictures/2019 remasterpressure
	home home/anna/pictures/2019 "documents/report 2015/report" "budget 2019/" live/remaster report.pdf report_final
	.jpg 00.jpg tar.gz kernel-2 _test resumé home/anna/Pictures/2019/04
	"*.iso  match=glob" "*report*final*  match=glob" "home/anna/*2019*.jpg  match=glob" "home/anna  match=under"
	"2019  in=home/anna" ".jpg  in=home/anna/Pictures" "report  size_min=536870912" "kernel  mtime_max_ns=1450000000000000000"
	"report  scope=local" "report  state=away" "  size_max=1")
# One stall of the machine spoils the 99th percentile of any question.  So each has its median of all rounds, and what is slowest then
# is the figure.
# slowest WHAT: of the reports of all rounds but the first, which warms up.
slowest() {
	sort -t "$(printf '\t')" -k 5 -k 2,2n "$D/$1".[1-9]* | awk -F '\t' '
		function close_question() { if (count && p99[int((count + 1) / 2)] > most) most = p99[int((count + 1) / 2)] }
		$5 != question { close_question(); question = $5; count = 0 }
		{ p99[++count] = $2 }
		END { close_question(); print most }'
}
# report WHAT: a name for the next round's.
report() { printf '%s\n' "$D/$1.$(find "$D" -name "$1.[0-9]*" | wc -l)"; }

# wanted_text QUESTION, wanted_more QUESTION: the two parts of one of SEARCH_TEXTS.
wanted_text() { printf %s "${1%%  *}"; }
wanted_more() { [[ $1 != *"  "* ]] || printf %s "${1#*  }"; }
ask_control() {
	local text
	local -a lines=()
	for text in "${SEARCH_TEXTS[@]}"; do lines+=("search \"$(wanted_text "$text")\" limit=100 $(wanted_more "$text")"); done
	await_quiet
	"$DISK/bin/catalog_load" control "$D/a/sock" "$SEARCH_TIMES" "${lines[@]}" >"$(report control)" || die "asking by the socket"
}
# One level of the tree, first pages: the top with hundreds of thousands of files beneath, and two directories of it.
ask_level() {
	await_quiet
	"$DISK/bin/catalog_load" control "$D/a/sock" "$SEARCH_TIMES" ls "ls home" "ls data" >"$(report level)" || die "asking for a level"
}
ask_rest() {
	local text more
	local -a targets=()
	for text in "${SEARCH_TEXTS[@]}"; do
		more=$(wanted_more "$text")
		targets+=("/v1/files?limit=100&q=$(wanted_text "$text" | od -An -tx1 -v | tr -d '\n' | sed 's/ /%/g')${more:+&$more}")
	done
	await_quiet
	"$DISK/bin/catalog_load" rest "${PORT[a]}" "$SEARCH_TIMES" "${targets[@]}" >"$(report rest)" || die "asking by REST"
}

bench_search() {
	local id filled small large what
	built_tool catalog_load
	room_for "$DISK" $((SEARCH_ENTRIES * 1200))
	peer_new a "$D/a"
	peer_start a
	small=$(awk '/^VmRSS:/ { print $2 }' "/proc/${PID[a]}/status")
	id=$(ctl a --json status | grep -o '"id": *"[^"]*"' | head -n 1 | cut -d '"' -f 4)
	peer_stop a
	filled=$("$DISK/bin/catalog_load" fill "$D/a/state" "$id" "$SEARCH_ENTRIES" 10 "$SEARCH_NAMES") || die "filling"
	say "filled: entries, names, bytes, KiB at most, seconds: $filled"
	sample fill "$(cut -d ' ' -f 5 <<<"$filled")"
	sample disk "$(calculate "$(cut -d ' ' -f 3 <<<"$filled") / $SEARCH_ENTRIES")"
	peer_start a
	note_round() { :; }
	rounds ask_control ask_rest ask_level
	for what in control rest level; do sample $what "$(slowest $what)"; done
	large=$(awk '/^VmRSS:/ { print $2 }' "/proc/${PID[a]}/status")
	sample resident "$(calculate "($large - $small) * 1024 / $SEARCH_ENTRIES")"
	say "of one round, median, p99, longest in ms, bytes, question:"
	cat "$D/control.1" "$D/rest.1" "$D/level.1" >&2
	row control "search, slowest p99 of ${#SEARCH_TEXTS[@]} questions" "control socket" - ms "<=" 10 3
	row rest "search, slowest p99 of ${#SEARCH_TEXTS[@]} questions" "REST" - ms "<=" 10 3
	row level "ls, slowest p99 of 3 directories" "control socket" - ms "<=" 50 10
	row disk "catalog, disk an entry" "catalog.db" - B "<=" 600 300
	row resident "catalog, memory an entry" "VmRSS after searches, less that before" - B "<=" 250 50
	row fill "catalog, $SEARCH_ENTRIES entries taken over" "pages into the catalog" - s "<=" 30 10
}
