# SPDX-License-Identifier: MIT
"""names.py FILE - a name server at 127.0.0.1:53.  Lines of FILE, which is read anew for each question: NAME ADDRESS..."""
import socket
import struct
import sys

TYPES = {1: socket.AF_INET, 28: socket.AF_INET6}


def addresses_of(name, family):
    """The packed addresses of this family; None: there is no such name."""
    with open(sys.argv[1], encoding="ascii") as file:
        for line in file:
            words = line.split()
            if words and words[0] == name:
                return [socket.inet_pton(family, word) for word in words[1:]
                        if (":" in word) == (family == socket.AF_INET6)]
    return None


def answer(question):
    """The whole message: of one question, without compression in it."""
    labels, at = [], 12
    while question[at]:
        labels.append(question[at + 1:at + 1 + question[at]].decode())
        at += 1 + question[at]
    kind = struct.unpack(">H", question[at + 1:at + 3])[0]
    found = addresses_of(".".join(labels).lower(), TYPES[kind]) if kind in TYPES else []
    head = question[:2] + struct.pack(">5H", 0x8180 if found is not None else 0x8183, 1, len(found or []), 0, 0)
    records = [struct.pack(">HHHIH", 0xC00C, kind, 1, 0, len(each)) + each for each in found or []]
    return head + question[12:at + 5] + b"".join(records)


server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", 53))
while True:
    data, client = server.recvfrom(4096)
    server.sendto(answer(data), client)
