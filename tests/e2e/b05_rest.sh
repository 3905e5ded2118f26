#!/bin/bash
# SPDX-License-Identifier: MIT
#
# b05 - the REST face as a script meets it: bytes in and out, conditions, errors, events, rights, and what it refuses.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

peer_new a
peer_new b "network.seed=$(url a)"
random_file 3000000 "$TMP/file"
random_file 5000000 "$TMP/b/share/of b.bin"
peer_start a
peer_start b
secret=$TMP/secret
echo secret >"$secret"
share=$TMP/a/share file=/v1/files/in/file.bin

# answers STATUS PEER PATH [curl's arguments]
answers() { is_same "$(rest_status "${@:2}")" "$1"; }
body_is() { cmp "$1" <(rest "${@:2}"); }
slug_is() { [[ $(rest "${@:2}") == *"\"slug\":\"$1\""* ]]; }

ok "PUT makes a file" answers 201 a $file -T "$TMP/file"
ok "which lies in the share" cmp "$TMP/file" "$share/in/file.bin"
ok "the same once more changes nothing" answers 200 a $file -T "$TMP/file"
ok "GET gives it back" body_is "$TMP/file" a $file
rest a $file -I | tr -d '\r' >"$TMP/head"
root=$(root_of a in/file.bin)
ok "HEAD tells the length" grep -qix 'content-length: 3000000' "$TMP/head"
ok "and the root as entity tag" grep -qix "etag: \"$root\"" "$TMP/head"
ok "a range is a part" body_is <(tail -c +101 "$TMP/file" | head -c 200000) a $file -r 100-200099
ok "with 206" answers 206 a $file -r 0-0
ok "the last bytes" body_is <(tail -c 10 "$TMP/file") a $file -r -10
ok "a range beyond the end is 416" answers 416 a $file -r 3000000-
ok "a range of another tag gives the whole" answers 200 a $file -r 0-9 -H 'If-Range: "other"'
ok "If-None-Match is 304" answers 304 a $file -H "If-None-Match: \"$root\""
ok "If-Match of another is 412" answers 412 a $file -H 'If-Match: "other"'
ok "bytes by content id" body_is "$TMP/file" a "/v1/contents/$root?size=3000000"
ok "a root with another size is nothing" answers 404 a "/v1/contents/$root?size=2999999"
ok "a layer" answers 200 a "/v1/contents/$root/layer?size=3000000"

ok "a form makes files" answers 201 a /v1/files -F "file=@$TMP/file;filename=form.bin"
ok "and they are equal" cmp "$TMP/file" "$share/form.bin"
ok "nothing is half-visible: a short upload leaves nothing" eval \
    '! curl -s -m 2 -H "Content-Length: 5000000" -T - "$(url a)/v1/files/short.bin" <"$TMP/secret"; [[ ! -e $share/short.bin ]]'

# --- errors ---
rest a /v1/files/nothing -i | tr -d '\r' >"$TMP/problem"
ok "an error is problem+json" grep -qi '^content-type: application/problem+json' "$TMP/problem"
ok "with status, title and slug" grep -q '"title":"No such thing".*"status":404.*"slug":"not-found"' "$TMP/problem"
ok "an unknown route is 404" answers 404 a /v1/nothing
ok "an unknown method is 405" answers 405 a /v1/node -X DELETE
ok "a body that is no JSON is 400" answers 400 a /v1/peers -H 'Content-Type: application/json' -d '{'
ok "a body of another type is 415" answers 415 a /v1/peers -d x=1

# --- rights ---
ln -s "$secret" "$share/link"
ok "nor a link that lies in the share" not grep -q '^2' <(rest_status a /v1/files/link -T "$TMP/file")
ok "which is as it was" test -L "$share/link"
ok "an upload does not replace" slug_is forbidden a "$file?x=1" -T "$secret" -H "If-Match: \"$root\""
ok "nor by itself" not answers 200 a $file -T "$secret"
ok "the file is as it was" cmp "$TMP/file" "$share/in/file.bin"
ok "If-None-Match: * is 412" answers 412 a $file -T "$secret" -H 'If-None-Match: *'
ok "deleting is refused" answers 403 a $file -X DELETE
ok "and names the key" grep -q 'remote = all' <(rest a $file -X DELETE)
ok "starting a fetch is refused" answers 403 a /v1/fetches -H 'Content-Type: application/json' -d '{"what":"of b.bin"}'
peer_new a share.remote=all
ok "remote = all comes into force by reload" ctl a reload
ok "now If-Match replaces" answers 200 a $file -T "$secret" -H "If-Match: \"$root\""
ok "and it is so" cmp "$secret" "$share/in/file.bin"
ok "a fetch is started" answers 202 a /v1/fetches -H 'Content-Type: application/json' -d '{"what":"of b.bin"}'
ok "and done" until_true 10 cmp "$TMP/b/share/of b.bin" "$share/of b.bin"
ok "the list has it" grep -q '"state":"done"' <(rest a /v1/fetches)
ok "and a file is deleted" answers 204 a $file -X DELETE
ok "on the disk too" not test -e "$share/in/file.bin"
peer_new a share.remote=read
ok "remote = read comes into force" ctl a reload
ok "then uploads are refused" answers 403 a /v1/files/new.bin -T "$TMP/file"

# --- who asks ---
ok "a foreign Host is 421" answers 421 a /v1/node -H 'Host: evil.test'
ok "localhost is known" answers 200 a /v1/node -H "Host: localhost:${PORT[a]}"
ok "a foreign Origin is 403" answers 403 a /v1/node -H 'Origin: http://evil.test'
ok "our own is not" answers 200 a /v1/node -H "Origin: $(url a)"
ok "a page of another site is 403" answers 403 a /v1/node -H 'Sec-Fetch-Site: cross-site'

# --- out of the share ---
ln -s "$TMP" "$share/up"
for path in ../secret ..%2fsecret %2e%2e/secret in/%2e%2e/%2e%2e/secret in%00.bin in%2ffile.bin %c0%ae%c0%ae/secret \
    %252e%252e/secret link up/secret /etc/passwd .p2pd-partial/x; do
	ok "no GET of $path" not answers 200 a "/v1/files/$path"
	ok "nor are its bytes those outside" not grep -q -e '^secret$' -e root: <(rest a "/v1/files/$path")
done
peer_new a share.remote=all
ctl a reload
for path in ../new %2e%2e/new up/new in%2fnew .p2pd-partial/new 'bad%01' 'bidi%e2%80%ae'; do
	ok "no PUT of $path" not grep -q '^2' <(rest_status a "/v1/files/$path" -T "$TMP/file")
done
ok "nothing was written outside" eval '[[ ! -e $TMP/new && $(cat "$secret") == secret ]]'

# --- through the network ---
ok "search" grep -q '"name":"of b.bin"' <(rest b '/v1/files?q=of&match=substring')
mkdir "$share/down"
cp "$TMP/file" "$share/down/file.bin"
until_true 10 lists b down/file.bin
ok "one level of the tree" grep -q '"name":"form.bin".*"directories":\[{"name":"down/","files":1,"bytes":3000000,"more":false}\]' <(rest b '/v1/files?match=level')
ok "and of a directory" grep -q '"name":"down/file.bin".*"directories":\[\]' <(rest b '/v1/files?match=level&q=down')
ok "what b does not have is 404 there" answers 404 b /v1/files/form.bin
ok "but b streams it as a gateway" body_is "$TMP/file" b '/v1/files/form.bin?scope=network'
ok "also a range of it" body_is <(head -c 1500 "$TMP/file" | tail -c 1000) b '/v1/files/form.bin?scope=network' -r 500-1499
ok "and keeps nothing" not test -e "$TMP/b/share/form.bin"

# --- the rest ---
ok "healthz" answers 200 a /healthz
ok "metrics" grep -q '^p2pd_requests_total{face="rest"} [0-9]' <(rest a /metrics)
ok "openapi is JSON and 3.1" eval 'rest a /v1/openapi.json | python3 -c "import json, sys; assert json.load(sys.stdin)[\"openapi\"].startswith(\"3.1\")"'
events() { curl -sN --noproxy '*' -m 2 "$(url a)/v1/events" "$@" >"$TMP/events"; [[ -s $TMP/events ]]; }
events -H 'Last-Event-ID: 0-0' # of another run
ok "the stream of events begins with what was lost" grep -q events-lost "$TMP/events"
id=$(grep '^id: ' "$TMP/events" | tail -n 3 | head -n 1 | cut -d' ' -f2)
last=$(grep '^id: ' "$TMP/events" | tail -n 1 | cut -d' ' -f2)
ok "and goes on after Last-Event-ID" events -H "Last-Event-ID: $id"
ok "up to the newest" grep -qx "id: $last" "$TMP/events"
ok "without that one" not grep -qx "id: $id" "$TMP/events"
finish
