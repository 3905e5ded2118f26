#!/bin/bash
# SPDX-License-Identifier: MIT
#
# layers.sh [SOURCE DIRECTORY] - holds the includes against the layers of the house:
# a file of daemon/ includes only from its own layer or a lower one, third-party headers stay
# in their room, and ctl/ shares nothing with daemon/ but proto/.
set -u
cd "${1:-${srcdir:-.}}" || exit 1
failed=0

# The layer of a file of daemon/ by its name without suffix; modules with several files share a prefix.
layer_of() {
	case $1 in
	mem | error | log | buf | digest | clock | file | name | name_fold | metrics | key | change | node | rate | address_guard | thread | deadline) echo 0 ;;
	config | config_* | amqp_url | loop | throttle | pool | sdnotify) echo 1 ;;
	merkle | batch | directory) echo 20 ;;
	store | store_* | partial | partial_*) echo 21 ;;
	events | event_queue | event_filter | holdings | holdings_*) echo 22 ;;
	catalog | catalog_*) echo 23 ;;
	indexer | indexer_* | scan | listing | watch | dirty | examine) echo 24 ;;
	transport | transport_* | wires) echo 25 ;;
	peers | peers_*) echo 26 ;;
	swarm | swarm_* | wire_choice) echo 27 ;;
	fetch | fetch_* | download | download_* | directories) echo 28 ;;
	follow | follow_*) echo 29 ;;
	service | service_*) echo 30 ;;
	rest | rest_* | rpc | rpc_* | control | control_* | wire_json | wire_json_* | wire_pb | wire_pb_* | broker | broker_* | openapi | descriptors) echo 40 ;;
	daemon | daemon_*) echo 50 ;;
	main) echo 51 ;;
	*) echo none ;;
	esac
}

complain() {
	echo "layers: $*" >&2
	failed=1
}

for file in daemon/*.[ch]; do
	stem=$(basename "${file%.[ch]}")
	mine=$(layer_of "$stem")
	[ "$mine" != none ] || complain "$file has no layer: give it one in tests/layers.sh"
	while read -r header; do
		case $header in
		*.def) continue ;;
		esac
		[ -e "daemon/$header" ] || continue	# of proto/
		theirs=$(layer_of "${header%.h}")
		[ "$theirs" -le "$mine" ] || complain "$file includes $header, which is of a higher layer"
	done < <(sed -n 's/^#include "\([^"]*\)".*/\1/p' "$file")
done

# header pattern -> files that may include it
room() {
	local pattern=$1 allowed=$2 file
	while read -r file; do
		[[ $file =~ $allowed ]] || complain "$file includes <$pattern>, which is not its room"
	done < <(grep -lE "^#include <$pattern" daemon/*.[ch] proto/*.[ch] ctl/*.[ch])
}
room 'microhttpd\.h' '^daemon/rest(_[a-z]+)*\.[ch]$'
room 'curl/' '^daemon/rest_client(_[a-z]+)*\.[ch]$'
room 'grpc/' '^daemon/rpc(_[a-z]+)*\.[ch]$|^daemon/wire_pb\.c$'
room 'protobuf-c/' '^daemon/(rpc|wire_pb)(_[a-z]+)*\.[ch]$'
room 'sqlite3\.h' '^daemon/catalog(_[a-z]+)*\.[ch]$'
room 'amqp(_[a-z]+)*\.h' '^daemon/broker_(library|link)\.[ch]$'
room 'ini\.h' '^daemon/config\.c$'
room 'uv\.h' '^daemon/loop\.c$'
room 'jansson\.h' '^(daemon/wire_json(_[a-z]+)*|ctl/json)\.[ch]$'
room 'intel-ipsec-mb\.h' '^daemon/digest\.c$'
room 'openssl/' '^daemon/(digest|key)\.c$'
room 'utf8proc\.h' '^daemon/name(_fold)?\.c$'

for file in ctl/*.[ch] proto/*.[ch]; do
	while read -r header; do
		[ -e "ctl/$header" ] || [ -e "proto/$header" ] || complain "$file includes $header, which is neither of ctl/ nor of proto/"
	done < <(sed -n 's/^#include "\([^"]*\)".*/\1/p' "$file")
done

[ $failed = 0 ] && echo "layers: every include points downward"
exit $failed
