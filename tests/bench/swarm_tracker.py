#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""swarm_tracker.py - what aria2 and libtorrent need of BitTorrent beside themselves, in the lab of swarm.sh.

    torrent FILE ANNOUNCE PIECE_BYTES   FILE's torrent (version 1) to standard output
    track ADDRESS PORT LOG              a tracker for any torrent (Debian's opentracker is whitelist only); LOG gets
                                        a line for each announce: who, and how many bytes it lacks
"""
import hashlib
import os
import socket
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

INTERVAL_S = 1800


def bencode(value):
    if isinstance(value, int):
        return b"i%de" % value
    if isinstance(value, str):
        value = value.encode()
    if isinstance(value, bytes):
        return b"%d:%s" % (len(value), value)
    return b"d" + b"".join(bencode(key) + bencode(value[key]) for key in sorted(value)) + b"e"


def torrent(path, announce, piece_bytes):
    pieces = []
    with open(path, "rb") as file:
        while piece := file.read(piece_bytes):
            pieces.append(hashlib.sha1(piece).digest())
    return bencode({"announce": announce, "info": {"name": os.path.basename(path), "length": os.path.getsize(path),
                                                   "piece length": piece_bytes, "pieces": b"".join(pieces)}})


class Tracker(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    swarms = {}     # info hash -> set of (address, port)
    log = None

    def do_GET(self):
        asked = dict(parse_qsl(urlsplit(self.path).query, encoding="latin-1"))
        me = (self.client_address[0], int(asked["port"]))
        peers = self.swarms.setdefault(asked["info_hash"], set())
        others = [socket.inet_aton(host) + port.to_bytes(2, "big") for host, port in list(peers) if (host, port) != me]
        if asked.get("event") == "stopped":
            peers.discard(me)
        else:
            peers.add(me)
        print(me[0], asked.get("left", "-"), asked.get("event", "-"), file=self.log, flush=True)
        body = bencode({"interval": INTERVAL_S, "min interval": INTERVAL_S, "peers": b"".join(others)})
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64


def main():
    if sys.argv[1] == "torrent":
        sys.stdout.buffer.write(torrent(sys.argv[2], sys.argv[3], int(sys.argv[4])))
        return
    Tracker.log = open(sys.argv[4], "w", encoding="ascii")
    Server((sys.argv[2], int(sys.argv[3])), Tracker).serve_forever()


main()
