# SPDX-License-Identifier: MIT
"""foreign_peer.py [ADDRESS:]PORT SEED-URL FILE NAME MOOD... - a peer of another making: it offers one file, by the REST interface as it is
documented.  Its layer is true.  What else it does follows from its moods.

Of ranges:
    honest      gives them
    lying       turns one bit in each
    halting     gives the first half, and then nothing, for ever
    short       ends in the middle, by a length that says so
    range       says that it begins elsewhere
    html        answers a page, with 200
    drip        gives a byte a second, for ever
    empty       has nothing of what it claims: 404
    busy        has no time: 503
    mute        takes the question, and says nothing

Of the layer, and the leaves of a piece (true ones, if none of these):
    layerless   has no time for the layer: 503
    older       does not know that question, nor the one what it holds
    misproving  answers leaves of another piece

Of what it says to hold (all of it, if none of these):
    partial     pieces, all of them
    beyond      bits behind the last piece
    outside     numbers of pieces that there are not
    crowd       all, and new peers in each answer, as many as go in, which nobody has heard of
    flood       pieces and pieces on their way, as many as go in, again and again, and never waits
    vast        an answer without an end
    silent      nothing: the question is not answered

Of any question:
    PATTERN=URL is sent on to URL, by a 302, if its path begins with PATTERN, a regular expression
"""
import base64
import hashlib
import itertools
import json
import os
import re
import sys
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

place, seed, path, name, moods = sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4], set(sys.argv[5:])
address, port = ("127.0.0.1:" + place).split(":")[-2:]
LEAF, PIECE_MIN, PIECES_WANTED, NEWS_MAX, FOLLOWERS_MAX = 16384, 65536, 1024, 4096, 256
with open(path, "rb") as file:
    content = file.read()


def sha(data):
    return hashlib.sha256(data).digest()


def fold(nodes, levels, padding):
    """Up so many levels of the tree (None: to its root); what is missing on the right is padding."""
    while levels != 0 and (levels is not None or len(nodes) > 1):
        nodes = nodes + [padding] * (len(nodes) % 2)
        nodes = [sha(nodes[i] + nodes[i + 1]) for i in range(0, len(nodes), 2)]
        padding = sha(padding + padding)
        levels = levels and levels - 1
    return nodes


def peer_id(text):
    return base64.b32encode(sha(text.encode())).decode().rstrip("=").lower()


def piece_count():
    piece = PIECE_MIN
    while -(-len(content) // piece) > PIECES_WANTED:
        piece *= 2
    return -(-len(content) // piece)


LEAVES = [sha(content[at:at + LEAF]) for at in range(0, len(content), LEAF)]
ROOT = fold(LEAVES, None, bytes(32))[0].hex()
COUNT = piece_count()
ID = peer_id(f"foreign {place} {time.time()}")
EPOCH = int(time.time() * 1000)
RECORD = {"id": ID, "name": "foreign", "version": "0", "addresses": [f"http://{address}:{port}"],
          "epoch": EPOCH, "seq": 1, "files": 1, "bytes": len(content)}
CHANGE = {"seq": 1, "name": name, "size": len(content), "root": ROOT, "mode": "0644",
          "mtime_ns": os.stat(path).st_mtime_ns}
invented = itertools.count()


def all_bits():
    bits = bytearray(b"\xff" * (-(-COUNT // 8)))
    if COUNT % 8:
        bits[-1] = 0xff00 >> COUNT % 8 & 0xff
    return bytes(bits).hex()


def held(since):
    """What it says to hold, to a question from there on."""
    answer = {"size": len(content), "root": ROOT, "complete": True, "next": "0", "full": True, "pieces": [],
              "coming": [], "peers": []}
    if moods & {"partial", "flood"}:
        answer.update(complete=False, bits=all_bits(), next=str(since + 1))
    if "beyond" in moods:
        answer.update(complete=False, bits=all_bits() + "ff" * 8)
    if "outside" in moods:
        answer.update(complete=False, full=False, pieces=[0, COUNT, 2 ** 62, -1], next="1")
    if "crowd" in moods:
        answer.update(full=since == 0, next=str(since + 1), peers=[
            peer_id(f"nobody {next(invented)}") for _ in range(NEWS_MAX if since else FOLLOWERS_MAX)])
    if "flood" in moods:
        many = [i % COUNT for i in range(NEWS_MAX)]
        answer.update(pieces=many, coming=many)
    return answer


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        print(*args, file=sys.stderr)

    def answer(self, status, body=b"", kind="application/json", **fields):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", kind)
        for key, value in fields.items():
            self.send_header(key.replace("_", "-"), value)
        self.end_headers()
        self.pass_on(body)

    def pass_on(self, body):
        try:
            self.wfile.write(body)
        except OSError:
            self.close_connection = True

    def answer_held(self, query):
        since = int(query.get("since", 0))
        if "silent" in moods:
            time.sleep(3600)
        if "vast" in moods:
            self.send_response(200)
            self.send_header("Content-Length", str(1 << 40))
            self.end_headers()
            while not self.close_connection:
                self.pass_on(b" " * 65536)
            return
        if since and not moods & {"crowd", "flood"}:
            time.sleep(int(query.get("wait", 0)) / 1000)
        self.answer(200, json.dumps(held(since)).encode())

    def refuse(self):
        self.answer(503, json.dumps({"status": 503, "title": "busy", "slug": "too-many",
                                     "detail": "come back later"}).encode(), "application/problem+json")

    def answer_range(self):
        first, last = map(int, re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers["Range"]).groups())
        body = bytearray(content[first:last + 1])
        span, status, kind = f"bytes {first}-{last}/{len(content)}", 206, "application/octet-stream"
        if "empty" in moods:
            self.answer(404)
            return
        if "busy" in moods:
            self.refuse()
            return
        if "mute" in moods:
            print("muted", self.path, file=sys.stderr)
            time.sleep(3600)
        if "lying" in moods:
            body[len(body) // (4 if "halting" in moods else 2)] ^= 1
        if "short" in moods:
            del body[len(body) // 2:]
        if "range" in moods:
            span = f"bytes {first + LEAF}-{last + LEAF}/{len(content)}"
        if "html" in moods:
            status, kind = 200, "text/html"
            body = (b"<html><body>Please log in.</body></html>" * (len(body) // 40 + 1))[:len(body)]
        if not moods & {"drip", "halting"}:
            self.answer(status, bytes(body), kind, ETag=f'"{ROOT}"', Content_Range=span)
            return
        self.send_response(206)
        for key, value in (("Content-Length", len(body)), ("Content-Range", span), ("ETag", f'"{ROOT}"')):
            self.send_header(key, str(value))
        self.end_headers()
        if "halting" in moods:
            self.pass_on(bytes(body[:len(body) // 2]))
            time.sleep(3600)
        for byte in body:
            if self.close_connection:
                return
            self.pass_on(bytes([byte]))
            time.sleep(1)

    def is_sent_on(self):
        for pattern, _, url in (mood.partition("=") for mood in moods):
            if url and re.match(pattern, self.path):
                self.answer(302, Location=url)
                return True
        return False

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.is_sent_on():
            return
        if self.path == "/v1/peers":
            self.answer(200, json.dumps({"node": RECORD, "peers": []}).encode())
        else:
            self.answer(200)

    def do_GET(self):
        query = dict(re.findall(r"[?&](\w+)=([^&]*)", self.path))
        if self.is_sent_on():
            return
        if self.path.startswith("/v1/catalog"):
            since = int(query.get("since", 0)) if int(query.get("epoch", 0)) == EPOCH else 0
            self.answer(200, json.dumps({
                "peer": ID, "epoch": EPOCH, "since": since, "through": 1, "head": 1,
                "reset": int(query.get("epoch", 0)) != EPOCH, "files": 1, "bytes": len(content),
                "changes": [CHANGE] if since == 0 else []}).encode())
        elif self.path.startswith(f"/v1/contents/{ROOT}/layer"):
            piece = int(query["piece"])
            if "layerless" in moods:
                self.refuse()
                return
            if piece == LEAF and "older" in moods:
                self.answer(400)
                return
            nodes = fold(LEAVES, (piece // LEAF).bit_length() - 1, bytes(32))
            if "count" in query:
                first, count = int(query["first"]), int(query["count"])
                if "misproving" in moods:
                    first -= first and count
                nodes = nodes[first:first + count]
            self.answer(200, b"".join(nodes), "application/octet-stream", P2pd_Piece_Bytes=str(piece))
        elif self.path.startswith(f"/v1/contents/{ROOT}/have") and "older" not in moods:
            self.answer_held(query)
        elif self.path.startswith(f"/v1/contents/{ROOT}?"):
            self.answer_range()
        else:
            self.answer(404)


def register():
    while True:
        request = urllib.request.Request(seed + "/v1/peers", json.dumps(RECORD).encode(),
                                         {"Content-Type": "application/json"})
        try:
            urllib.request.urlopen(request, timeout=2).read()
        except OSError:
            pass
        time.sleep(1)


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        pass  # the other side went


threading.Thread(target=register, daemon=True).start()
Server((address, int(port)), Handler).serve_forever()
