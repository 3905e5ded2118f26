# SPDX-License-Identifier: MIT
"""fresh_probe.py COUNT HOME... - how soon is a file that is closed at one peer found at each of the others?

A HOME is a peer's directory with `share` and `sock`.  COUNT files are written one after the other, each in the share of one of
them at random; the next when all know the last.  Nobody is polled, which would take the processors from those who work:
an event of a peer makes us ask that peer for the name, and the time is that of its answer.  Prints
"fresh P50 P99 MOST", in seconds.
"""
import os
import random
import selectors
import socket
import sys
import time

WAIT_S = 30     # for one file to be known everywhere


class Line:
    """One connection to a control socket."""
    def __init__(self, home):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(os.path.join(home, "sock"))
        self.held = b""
        while not self.lines():
            pass

    def lines(self):
        """What has come; waits for something."""
        data = self.socket.recv(65536)
        if not data:
            sys.exit("a peer closed the connection")
        *whole, self.held = (self.held + data).split(b"\n")
        return whole

    def ask(self, text):
        """The lines of the reply, the final one last."""
        self.socket.sendall(text.encode() + b"\n")
        lines = []
        while not lines or lines[-1][3:4] != b" ":
            lines += self.lines()
        return lines


class Peer:
    def __init__(self, home):
        self.share = os.path.join(home, "share")
        self.questions, self.events = Line(home), Line(home)
        self.events.ask("watch kind=file-added")

    def finds(self, name):
        return len(self.questions.ask(f"search {name} match=exact")) > 1

    def is_told(self, name):
        return any(name.encode() in line for line in self.events.lines())


def spread(peers, number):
    """Seconds until each of the others finds a new file."""
    owner, name = random.choice(peers), f"fresh-{number}"
    with selectors.DefaultSelector() as waiting:
        for peer in peers:
            waiting.register(peer.events.socket, selectors.EVENT_READ, peer)
        file = open(os.path.join(owner.share, name), "wb")
        file.write(random.randbytes(4096))
        begin = time.monotonic()
        file.close()
        took = {}
        while len(took) < len(peers):
            ready = waiting.select(WAIT_S)
            if not ready:
                sys.exit(f"{name} is known to {len(took)} peers after {WAIT_S} s")
            for key, _ in ready:
                if key.data.is_told(name) and key.data.finds(name):
                    took[key.data] = time.monotonic() - begin
    del took[owner]
    return took.values()


def main():
    count, *homes = sys.argv[1:]
    peers = [Peer(home) for home in homes]
    times = []
    for number in range(int(count)):
        times += spread(peers, number)
        time.sleep(random.uniform(0.05, 0.2))
    times.sort()
    at = [times[min(len(times) - 1, int(len(times) * part))] for part in (0.5, 0.99, 1)]
    print("fresh", *(f"{seconds:.4f}" for seconds in at))


main()
