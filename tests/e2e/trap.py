# SPDX-License-Identifier: MIT
"""trap.py LOG ADDRESS:PORT... - listens there; LOG gets a line, ADDRESS:PORT, for each connection.  Who asks is told 404."""
import socket
import sys
import threading


def serve(listener, place):
    while True:
        connection, _ = listener.accept()
        with open(sys.argv[1], "a", encoding="ascii") as log:
            log.write(place + "\n")
        try:
            connection.settimeout(1)
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        except OSError:
            pass
        connection.close()


for place in sys.argv[2:]:
    host, _, port = place.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, int(port)), family=family)
    threading.Thread(target=serve, args=(listener, place)).start()
