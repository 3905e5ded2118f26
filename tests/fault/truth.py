# SPDX-License-Identifier: MIT
"""truth.py P2PCTL HOME... - does everybody know what everybody has?

A HOME is a peer's directory with `share` and `sock`.  What lies in a share, by its names, sizes and roots (hashed here, not by
the daemon), is held against what each peer's catalog has of that share's owner: nothing may be missing, be another content,
or be there that is not on disk.  Says how each catalog differs; exit code 1 if one does, or cannot be asked.
"""
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
import bep52  # noqa: E402

PARTS_MAX = 16  # of a name that can be shared
TOLD_MAX = 5    # differences of one catalog


def truth_of(share):
    """{(name, size, root)}"""
    found = set()
    for directory, _, names in os.walk(share):
        for name in names:
            path = os.path.join(directory, name)
            name = os.path.relpath(path, share)
            if name.startswith(".p2pd-") or name.count("/") >= PARTS_MAX:
                continue
            with open(path, "rb") as file:
                data = file.read()
            found.add((name, len(data), bep52.root_of(data).hex()))
    return found


def ask(p2pctl, home, *words):
    answer = subprocess.run([p2pctl, "-s", os.path.join(home, "sock"), "--json", *words], capture_output=True, text=True, timeout=20)
    if answer.returncode != 0:
        raise OSError(f"{os.path.basename(home)}: {' '.join(words)}: {answer.stderr.strip()}")
    return json.loads(answer.stdout)


def differences(truth, known):
    for sign, these in (("misses", truth - known), ("should not have", known - truth)):
        for name, size, root in sorted(these)[:TOLD_MAX]:
            yield f"{sign} {name} of {size} bytes, {root[:8]}"
        if len(these) > TOLD_MAX:
            yield f"{sign} {len(these) - TOLD_MAX} more"


def compare(p2pctl, homes):
    truths = {home: truth_of(os.path.join(home, "share")) for home in homes}
    ids = {home: ask(p2pctl, home, "status")["node"]["id"] for home in homes}
    is_same = True
    for asked in homes:
        for owner in homes:
            files = ask(p2pctl, asked, "search", "", "--holder", ids[owner])["files"]
            known = {(file["name"], file["size"], file["root"]) for file in files}
            for difference in differences(truths[owner], known):
                print(f"{os.path.basename(asked)}, of {os.path.basename(owner)}'s: {difference}")
                is_same = False
    return is_same, sum(map(len, truths.values()))


def main():
    p2pctl, *homes = sys.argv[1:]
    try:
        is_same, count = compare(p2pctl, homes)
    except (OSError, ValueError, KeyError, subprocess.TimeoutExpired) as why:
        print(why)
        return 1
    if is_same:
        print(f"{count} files")
    return 0 if is_same else 1


sys.exit(main())
