#!/bin/bash
# SPDX-License-Identifier: MIT
#
# s01 - the installed unit without a running systemd: every key is known, and the service is confined.  That it
# works when it is so confined is s02's to show.
# Functions are handed over by name.
# shellcheck disable=SC2317,SC2016
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
EXPOSURE=15	# tenths, of systemd's own measure; 100 is a service without any confinement

: "${BUILDDIR:?the build tree}"
command -v systemd-analyze >/dev/null || skip_all "no systemd-analyze"

# The flags of a surrounding make are not this one's.
install_stage() { env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL make -C "$BUILDDIR" -s install DESTDIR="$TMP/stage"; }
# What systemd does not understand it only mentions, and answers 0.
is_silent() { [[ -z $("$@" 2>&1 | tee /dev/stderr) ]]; }
value_of() { sed -n "s/^$1=//p" "$unit" | head -n 1; }
exists_in_stage() { [[ -x $TMP/stage/$1 ]]; }
page_of() { find "$TMP/stage" -path "*/man$2/$1.$2*"; }	# compressed or not

ok "make install with DESTDIR" install_stage
unit=$(find "$TMP/stage" -name p2pd.service)
[[ -n $unit ]] || skip_all "the build tree installs no unit (--with-systemdsystemunitdir=no)"

program=$(value_of ExecStart)
ok "ExecStart is a program that was installed" exists_in_stage "${program%% *}"
ok "no @word@ was left unsubstituted" not grep -E '^[^#]*@[a-z]+@' "$unit"

# The programs of the unit are looked for on this machine: here they lie in the stage.
mkdir "$TMP/unit"
sed -E "s|^(Exec[A-Za-z]+=)(${program%% *})|\1$TMP/stage\2|" "$unit" >"$TMP/unit/p2pd.service"
ok "systemd-analyze verify has nothing to say" is_silent systemd-analyze verify --man=no "$TMP/unit/p2pd.service"
echo 'Colour=green' >>"$TMP/unit/p2pd.service"
ok "  and would say it" not is_silent systemd-analyze verify --man=no "$TMP/unit/p2pd.service"

ok "exposure of at most $((EXPOSURE / 10)).$((EXPOSURE % 10))" \
	systemd-analyze security --offline=true --threshold=$EXPOSURE "$unit"
echo "# $(systemd-analyze security --offline=true "$unit" 2>/dev/null | tail -n 1)"

for page in $(value_of Documentation | grep -o 'man:[^ ]*'); do
	name=${page#man:} section=${page##*(}
	ok "the page $name is installed" grep -q . <(page_of "${name%(*}" "${section%)}")
done

users=$(find "$TMP/stage" -path '*/sysusers.d/p2pd.conf')
ok "sysusers.d makes the unit's user" grep -q "^u $(value_of User) " "$users"
if command -v systemd-sysusers >/dev/null; then
	mkdir -p "$TMP/root/etc"
	ok "  and systemd-sysusers takes it" systemd-sysusers --root="$TMP/root" "$users"
	ok "  and its home is the state directory" grep -q "^p2pd:.*:/var/lib/p2pd:.*nologin$" "$TMP/root/etc/passwd"
fi
finish
