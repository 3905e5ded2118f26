#!/usr/bin/python3
# SPDX-License-Identifier: MIT
#
# false_broker.py PORT silent|garbage|huge|hangup - accepts connections and is no broker: says nothing for ever, noise for ever, one
# frame that announces 4 GiB, or good-bye at once.  It tells a line for each connection.
"""A broker that is none."""
import os
import socket
import struct
import sys
import threading


def serve(connection, how):
    """One connection."""
    try:
        if how == "hangup":
            return
        if how == "huge":
            connection.sendall(struct.pack(">BHI", 1, 0, 0xFFFFFFFE) + b"\0" * 65536)
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
