#!/bin/bash
# SPDX-License-Identifier: MIT
#
# b02 - the share is followed: what is dropped, renamed, changed, deleted; what is half-written; what cannot be shared.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

peer_new a
share=$TMP/a/share
random_file 100000 "$share/before/start.bin"
peer_start a

unlisted() { ! lists a "$1"; }
root_is() { [[ $(root_of a "$1") == "$2" ]]; }
size_is() { [[ $(ctl a search --exact "$1" | cut -f2) == "$2" ]]; }

ok "a file that lay there before the start is listed" lists a before/start.bin
is "with its size" "$(ctl a ls before | cut -f1,2)" "before/start.bin	100000"

random_file 70000 "$TMP/a/file"
cp "$TMP/a/file" "$share/dropped.bin"
ok "a dropped file is listed" until_true 5 lists a dropped.bin
root=$(root_of a dropped.bin)

mv "$share/dropped.bin" "$share/renamed.bin"
ok "a renamed file has its new name" until_true 5 lists a renamed.bin
ok "and not its old one" until_true 5 unlisted dropped.bin
is "and the content that it had" "$(root_of a renamed.bin)" "$root"

mkdir -p "$share/deep/er/still"
mv "$share/renamed.bin" "$share/deep/er/still/moved.bin"
ok "a file moved into a new directory is followed" until_true 5 lists a deep/er/still/moved.bin
mv "$share/deep" "$share/other"
ok "and with a directory that is renamed" until_true 5 lists a other/er/still/moved.bin
ok "whose old names go" until_true 5 unlisted deep/er/still/moved.bin

printf changed! | dd of="$share/other/er/still/moved.bin" bs=1 seek=5 conv=notrunc status=none
ok "a changed file has another root" until_true 5 not root_is other/er/still/moved.bin "$root"
ok "and is listed again" until_true 5 lists a other/er/still/moved.bin
rm -r "$share/other"
ok "a deleted tree is no longer listed" until_true 5 unlisted other/er/still/moved.bin

: >"$share/empty"
ok "an empty file is listed" until_true 5 lists a empty
is "its root is SHA-256 of nothing" "$(root_of a empty)" "$(printf '' | sha256sum | cut -d' ' -f1)"
printf hello >"$share/one"
ok "a short file is listed" until_true 5 lists a one
is "the root of one leaf is its SHA-256" "$(root_of a one)" "$(printf hello | sha256sum | cut -d' ' -f1)"

# A writer that takes its time: its file must not be offered before it is done.
exec 7>"$share/slow.bin"
head -c 50000 /dev/urandom >&7
ok "a file that is still written is not offered" never_true 2 lists a slow.bin
head -c 50000 /dev/urandom >&7
ok "however long it takes" never_true 1 lists a slow.bin
exec 7>&-
ok "once closed it is" until_true 5 lists a slow.bin
ok "as a whole" size_is slow.bin 100000

# --- not shareable ---
ln -s /etc/passwd "$share/link"
mkfifo "$share/fifo"
echo x >"$share/"$'bad\x01name'
echo x >"$share/"$'not\xffutf8'
echo x >"$share/"$'e\xcc\x81.txt' # not NFC
mkdir "$share/many"
(cd "$share/many" && seq -f 'file-%g' 1 200 | xargs touch)
listed_bad() { (($(ctl a ls --unshareable | wc -l) >= 5)); }
hashed() { ctl a --json status | grep -o '"hashed_bytes": *[0-9]*' | grep -o '[0-9]*$'; }
count_is() { (($(ctl a ls many | wc -l) == $1)); }
ok "what cannot be shared is told" until_true 5 listed_bad
ctl a ls --unshareable >"$TMP/a/bad"
ok "each with a reason" not grep -vP '^.+\t.{5,}$' "$TMP/a/bad"
ok "a symbolic link" grep -q '^link	.*link' "$TMP/a/bad"
ok "a fifo" grep -qP '^fifo\t' "$TMP/a/bad"
ok "a control character, which is not printed" grep -qP '^bad\\x01name\t' "$TMP/a/bad"
ok "what is no UTF-8" grep -qP '^not\\xffutf8\t.*UTF-8' "$TMP/a/bad"
ok "what is not NFC" grep -qP '\t.*normal form' "$TMP/a/bad"
ok "and none stops the scan" until_true 10 count_is 200
ok "nor is listed" not grep -E '^(link|fifo|bad|not)' <(ctl a ls -R)

# --- a start with an unchanged share ---
files=$(ctl a status | grep ^files)
ok "it stops" peer_stop a
ok "and starts" peer_start a
is "the files are those from before" "$(ctl a status | grep ^files)" "$files"
is "and no byte was hashed" "$(hashed)" 0
ok "it stops once more" peer_stop a
rm "$share/one"
printf world >"$share/two"
ok "and starts" peer_start a
ok "what was deleted meanwhile is gone" until_true 5 unlisted one
ok "what came meanwhile is here" until_true 5 lists a two
is "only that was hashed" "$(hashed)" 5
is "the metric says the same" "$(metric a p2pd_hashed_bytes_total)" 5
finish
