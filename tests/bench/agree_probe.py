# SPDX-License-Identifier: MIT
"""agree_probe.py BEGIN HOME... - prints how many seconds after BEGIN each of these peers has the catalogs of all the others.

BEGIN is in microseconds since 1970.  A HOME is a peer's directory with the control socket `sock`.  A peer has the catalog of another when it has it up to where that
says to be itself: two questions to each, fifty times a second.
"""
import os
import re
import socket
import sys
import time

WAIT_S = 120


class Line:
    def __init__(self, home):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(WAIT_S)
        self.socket.connect(os.path.join(home, "sock"))
        self.file = self.socket.makefile("rb")
        self.file.readline()

    def ask(self, text):
        """The records of the reply, as dictionaries of its pairs."""
        self.socket.sendall(text.encode() + b"\n")
        records = []
        while True:
            line = self.file.readline().decode()
            if not line:
                sys.exit("a peer closed the connection")
            records.append(dict(re.findall(r'(\w+)=("[^"]*"|\S+)', line)))
            if line[3] == " ":
                return records


def heads(line):
    """What a peer says of itself: {id: (epoch, seq)}, and of the others."""
    own, others = {}, {}
    for record in line.ask("status"):
        if "epoch" in record:
            own[record["id"]] = record["epoch"], record["seq"]
    for record in line.ask("peers"):
        if "epoch" in record:
            others[record["id"]] = record["epoch"], record["seq"]
    return own, others


def do_agree(lines):
    said = [heads(line) for line in lines]
    truth = {peer: head for own, _ in said for peer, head in own.items()}
    return all({**own, **others} == truth for own, others in said)


def main():
    begin = int(sys.argv[1]) / 1e6
    lines = [Line(home) for home in sys.argv[2:]]
    while not do_agree(lines):
        if time.time() - begin > WAIT_S:
            sys.exit("they do not agree")
        time.sleep(0.02)
    print(f"{time.time() - begin:.3f}")


main()
