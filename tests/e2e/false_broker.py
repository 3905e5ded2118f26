#!/usr/bin/python3
# SPDX-License-Identifier: MIT
#
# false_broker.py PORT silent|garbage|huge|hangup|between - accepts connections and is no broker: says nothing for ever, noise for
# ever, one frame that announces 4 GiB, or good-bye at once; or it answers like one, and says that it is blocked in the midst of a
# message.  It tells a line for each connection.
"""A broker that is none."""
import os
import socket
import struct
import sys
import threading


def frame(kind, channel, body):
    """As AMQP has it."""
    return struct.pack(">BHI", kind, channel, len(body)) + body + b"\xce"


def method(channel, cls, number, arguments=b""):
    """A frame with a method."""
    return frame(1, channel, struct.pack(">HH", cls, number) + arguments)


def long_text(text):
    """As AMQP has it."""
    return struct.pack(">I", len(text)) + text


# What a client is answered until it consumes, in that order, whatever it asks.
ANSWERS = (
    method(0, 10, 10, b"\0\x09" + long_text(b"") + long_text(b"PLAIN") + long_text(b"en_US"))
    + method(0, 10, 30, struct.pack(">HIH", 16, 131072, 0))
    + method(0, 10, 41, b"\0")
    + method(1, 20, 11, long_text(b""))
    + method(2, 20, 11, long_text(b""))
    + method(1, 40, 11)
    + method(1, 85, 11)
    + method(2, 50, 11, b"\x01q" + struct.pack(">II", 0, 0))
    + method(2, 50, 21)
    + method(2, 60, 21, b"\x01c")
)
# A message of 1 KiB, and between its header and its body that the connection is blocked.
BETWEEN = (
    method(2, 60, 60, b"\x01c" + struct.pack(">QB", 1, 0) + b"\x04p2pd" + b"\x08notice.x")
    + frame(2, 2, struct.pack(">HHQH", 60, 0, 1024, 0))
    + method(0, 10, 60, b"\xc8" + b"y" * 200)
    + frame(3, 2, b"x" * 1024)
)


def serve(connection, how):
    """One connection."""
    try:
        if how == "hangup":
            return
        if how == "huge":
            connection.sendall(struct.pack(">BHI", 1, 0, 0xFFFFFFFE) + b"\0" * 65536)
        if how == "between":
            connection.sendall(ANSWERS + BETWEEN)
        while how == "garbage":
            connection.sendall(os.urandom(4096))
        while connection.recv(4096):
            pass
    except OSError:
        pass
    finally:
        connection.close()


def main():
    """Listens."""
    listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
    while True:
        connection, _ = listener.accept()
        print("connected", flush=True)
        threading.Thread(target=serve, args=(connection, sys.argv[2]), daemon=True).start()


if __name__ == "__main__":
    main()
