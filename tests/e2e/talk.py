# SPDX-License-Identifier: MIT
"""talk.py SOCKET SCRIPT - runs SCRIPT with a connection to a control socket: `s`, past its greeting; line(), ask(), final()."""
import socket
import sys
import time

s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
s.settimeout(20)
held = b""

def line():
    global held
    while b"\n" not in held:
        data = s.recv(65536)
        if not data:
            return None
        held += data
    one, held = held.split(b"\n", 1)
    return one.decode()

def ask(text):
    """The final line."""
    s.sendall(text if isinstance(text, bytes) else text.encode() + b"\n")
    return final()

def final():
    while (one := line()) is not None and one[3:4] == "-":
        pass
    return one

greeting = line()
exec(open(sys.argv[2]).read())
