#!/bin/bash
# SPDX-License-Identifier: MIT
#
# check_docs.sh [SOURCE DIRECTORY] - holds the manual against the programs: every option that `p2pd --help` tells is
# in p2pd(8) and no other, every gRPC method and status is in p2pd-grpc(7), every metric in p2pd-rest(7),
# every event in p2pd-amqp(7), every page is clean for mandoc, and what a page refers to by .Xr is there or not ours.
# (The keys of p2pd.conf(5) are held by check_config.)
set -u
P2PD=$(realpath "${P2PD:-./p2pd}")
cd "${1:-${srcdir:-.}}" || exit 1
failed=0

fail() {
	echo "not ok - $1"
	failed=1
}

# Differences of two lists of words, one a line, told as what is missing where.
compare() { # WHAT LIST-OF-THE-PROGRAM LIST-OF-THE-PAGE
	local word
	for word in $(comm -23 <(sort -u <<<"$2") <(sort -u <<<"$3")); do fail "$1: $word is not in the page"; done
	for word in $(comm -13 <(sort -u <<<"$2") <(sort -u <<<"$3")); do fail "$1: $word is only in the page"; done
}

# The options at the beginning of the lines of --help, "-c" and "--config".
options_of_help() {
	"$P2PD" --help | sed -n 's/^  *\(-.*\)$/\1/p' | sed 's/   .*//' | grep -oE '(^|[ ,])--?[A-Za-z][a-z-]*' | tr -d ' ,'
}

# The tags of the list of options: ".It Fl c , Fl Fl config Ar file".
options_of_page() {
	sed -n '/^\.It Fl /p' man/p2pd.8 | grep -oE 'Fl (Fl )?[A-Za-z][a-z-]*' | sed 's/^Fl Fl /--/; s/^Fl /-/'
}

check_options() {
	local help page
	help=$(options_of_help)
	page=$(options_of_page)
	[[ $(wc -l <<<"$help") -ge 8 ]] || fail "p2pd --help shows hardly any options: $help"
	compare "p2pd --help and p2pd.8" "$help" "$page"
	# The synopsis has the same ones by their letters, or by their names where they have none.
	local synopsis
	synopsis=$(sed -n '/^\.Sh SYNOPSIS/,/^\.Sh DESCRIPTION/p' man/p2pd.8 | grep -oE 'Fl (Fl )?[A-Za-z-]+' |
		sed 's/^Fl Fl /--/; s/^Fl //' | grep -oE '^--.*|[A-Za-z]' | sed 's/^[A-Za-z]$/-&/')
	local word
	for word in $synopsis; do
		grep -qxe "$word" <<<"$help" || fail "p2pd.8: the synopsis has $word, --help has not"
	done
}

check_lint() {
	command -v mandoc >/dev/null || { echo "skipped: no mandoc"; return; }
	local said
	said=$(mandoc -T lint -W warning man/*.[1-8] 2>&1) || fail "mandoc: $said"
}

# Sections of a page that another page names must exist; ours are p2p*.
check_references() {
	local name section
	while read -r name section; do
		[[ -e man/$name.$section ]] || fail "a page refers to $name($section), which is not there"
	done < <(sed -nE 's/^\.Xr (p2p[^ ]*) ([1-8]).*/\1 \2/p' man/*.[1-8] | sort -u)
}

# "Service/Method" of the protocol files, and the page's items; and the slugs with their statuses.
check_grpc() {
	local methods slugs
	methods=$(awk '/^service /{ service = $2 } /^  rpc /{ sub(/\(.*/, "", $2); print service "/" $2 }' proto/*.proto)
	[[ $(wc -l <<<"$methods") -ge 15 ]] || fail "proto/ shows hardly any methods: $methods"
	compare "proto/ and p2pd-grpc.7" "$methods" "$(sed -n 's/^\.It Ic \([A-Z][A-Za-z]*\/[A-Za-z]*\)$/\1/p' man/p2pd-grpc.7)"
	slugs=$(sed -n 's/^CODE([A-Z_]*,[^"]*"\([a-z-]*\)",[^,]*GRPC_STATUS_\([A-Z_]*\),.*/\1=\2/p; s/^CODE([A-Z_]*,[^"]*"\([a-z-]*\)",[^,]*,[^,]*GRPC_STATUS_\([A-Z_]*\),.*/\1=\2/p' proto/codes.def)
	[[ $(wc -l <<<"$slugs") -eq $(grep -c '^CODE(' proto/codes.def) ]] || fail "codes.def is not understood"
	compare "codes.def and p2pd-grpc.7" "$slugs" \
		"$(sed -n 's/^\.It Sy \([a-z-]*\) Ta Dv \([A-Z_]*\)$/\1=\2/p' man/p2pd-grpc.7)"
}

# The names of the counters and gauges, and the items of the page's section; and the values of the counters' labels.
check_metrics() {
	local names section value
	names=$( (sed -n 's/^METRIC([^"]*"\(p2pd_[a-z_]*\)".*/\1/p' daemon/metrics.def
		grep -o '"p2pd_[a-z_]*"' daemon/rest_health.c | tr -d '"') | sort -u)
	[[ $(wc -l <<<"$names") -ge 20 ]] || fail "the daemon has hardly any metrics: $names"
	section=$(sed -n '/^\.Sh METRICS/,/^\.Sh EXAMPLES/p' man/p2pd-rest.7)
	compare "the metrics and p2pd-rest.7" "$names" "$(grep -o 'p2pd_[a-z_]*' <<<"$section")"
	for value in $(grep -o '=\\"[a-z]*' daemon/metrics.def | tr -d '=\\"' | sort -u); do
		grep -qw "$value" <<<"$section" || fail "p2pd-rest.7: no metric has the label value $value"
	done
}

# What may be published: every event that is kept, and that some are lost; as routing keys, and in the schema.
check_amqp() {
	local kinds
	kinds=$(sed -n 's/^EVENT([A-Z_]*,[[:space:]]*"\([a-z-]*\)",.*true,.*/\1/p; s/^EVENT(EVENTS_LOST,.*/events-lost/p' daemon/events.def)
	[[ $(wc -l <<<"$kinds") -ge 12 ]] || fail "events.def is not understood: $kinds"
	compare "events.def and the keys of p2pd-amqp.7" "$(sed 's/-/./' <<<"$kinds")" \
		"$(sed -n 's/^\.It Li \([a-z]*\.[a-z]*\) Ta .*/\1/p' man/p2pd-amqp.7)"
	compare "events.def and the schema of p2pd-amqp.7" "$kinds" \
		"$(sed -n '/"event": {"enum"/,/\]/p' man/p2pd-amqp.7 | grep -oE '"[a-z]+-[a-z]+"' | tr -d '"')"
}

check_options
check_grpc
check_metrics
check_amqp
check_lint
check_references
[[ $failed == 0 ]] && echo "ok - the manual fits"
exit "$failed"
