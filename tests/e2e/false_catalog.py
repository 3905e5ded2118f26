# SPDX-License-Identifier: MIT
"""false_catalog.py PORT SEED-URL MOOD - a peer of another making whose catalog is not right.  It prints a line for each page asked for.

    honest      two files, "honest-1" and "honest-2"; what the others are held against
    huge        a file of 2^63 bytes
    nothing     an empty file with the root of another
    twice       one name in two changes; the second one counts
    reordered   changes in the wrong order
    beyond      a change behind what the page says to go through
    gap         a page that begins later than was asked for
    replayed    the first page again and again, whatever was asked for
    future      an epoch as far in the future as there is
    flapping    another epoch at each greeting and each question
    foreign     the page of another peer
"""
import base64
import hashlib
import json
import re
import sys
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

port, seed, mood = sys.argv[1], sys.argv[2], sys.argv[3]


def peer_id(text):
    return base64.b32encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=").lower()


ID = peer_id(f"{mood} {port} {time.time()}")
EPOCHS = iter(range(int(time.time() * 1000), 2 ** 62))
EPOCH = 2 ** 53 - 1 if mood == "future" else next(EPOCHS)
HEAD = 4 if mood == "replayed" else 2


def change(seq, name, size):
    return {"seq": seq, "name": name, "size": size, "root": hashlib.sha256(name.encode()).hexdigest(), "mode": "0644",
            "mtime_ns": 1}


def changes():
    made = [change(1, f"{mood}-1", 1), change(2, f"{mood}-2", 2)]
    if mood == "huge":
        made[1]["size"] = 2 ** 63
    if mood == "nothing":
        made[1]["size"] = 0
    if mood == "twice":
        made[1]["name"] = made[0]["name"]
    if mood == "reordered":
        made.reverse()
    if mood == "beyond":
        made[1]["seq"] = 3
    return made


def page(query):
    global EPOCH
    asked, since = int(query.get("epoch", 0)), int(query.get("since", 0))
    if mood == "flapping":
        EPOCH = next(EPOCHS)
    is_reset = asked != EPOCH
    since = 0 if is_reset or mood == "replayed" else since
    made = {"peer": peer_id("somebody") if mood == "foreign" else ID, "epoch": EPOCH, "since": since, "through": 2, "head": HEAD,
            "reset": is_reset, "files": 2, "bytes": 3, "changes": [one for one in changes() if one["seq"] > since]}
    if mood == "gap":
        made.update(since=1, reset=False, changes=made["changes"][1:])
    return made


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def answer(self, status, document):
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        global EPOCH
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if mood == "flapping":
            EPOCH = next(EPOCHS)
        self.answer(200, {"node": record(), "peers": []} if self.path == "/v1/peers" else {})

    def do_GET(self):
        if not self.path.startswith("/v1/catalog"):
            self.answer(404, {})
            return
        print("asked", self.path, flush=True)
        self.answer(200, page(dict(re.findall(r"[?&](\w+)=([^&]*)", self.path))))


def record():
    return {"id": ID, "name": mood, "version": "0", "addresses": [f"http://127.0.0.1:{port}"], "epoch": EPOCH, "seq": HEAD,
            "files": 2, "bytes": 3}


def register():
    while True:
        request = urllib.request.Request(seed + "/v1/peers", json.dumps(record()).encode(), {"Content-Type": "application/json"})
        try:
            urllib.request.urlopen(request, timeout=2).read()
            return
        except OSError:
            time.sleep(0.1)


threading.Thread(target=register, daemon=True).start()
ThreadingHTTPServer(("127.0.0.1", int(port)), Handler).serve_forever()
