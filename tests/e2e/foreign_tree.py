# SPDX-License-Identifier: MIT
"""foreign_tree.py PORT SEED-URL DIRECTORY MOOD... - a peer of another making: it offers all files of a directory, by the REST
interface as it is documented.  File by file it is honest.  How it answers who asks for many at once follows from its moods:

    many        gives them
    none        knows no such question: 404
    lacking     does not have every third
    lying       turns a bit in every fiftieth
    short       ends in the middle of one
    long        goes on after the last
    html        answers a page, with 200
    drip        gives a byte a second, for ever

It knows no question about directories, unless one of these says how it answers:

    told        what they are like
    bits        with modes that have more than permission bits
    ages        with times that no clock has
    fewer       of one less than was asked
    crowd       of many more
    others      of others, by their names
    silent      never
"""
import base64
import json
import os
import re
import struct
import sys
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from bep52 import root_of, sha

port, seed, top, moods = int(sys.argv[1]), sys.argv[2], sys.argv[3], set(sys.argv[4:])
PAGE = 1000
BYTES, CHANGES = {}, []
for directory, _, names in sorted(os.walk(top)):
    for name in sorted(names):
        path = os.path.join(directory, name)
        with open(path, "rb") as file:
            data = file.read()
        root = root_of(data).hex()
        BYTES[root, len(data)] = data
        CHANGES.append({"seq": len(CHANGES) + 1, "name": os.path.relpath(path, top), "size": len(data), "root": root,
                        "mode": "0644", "mtime_ns": os.stat(path).st_mtime_ns})
ID = base64.b32encode(sha(f"tree {port} {time.time()}".encode())).decode().rstrip("=").lower()
EPOCH = int(time.time() * 1000)
TOTAL = sum(change["size"] for change in CHANGES)
RECORD = {"id": ID, "name": "tree", "version": "0", "addresses": [f"http://127.0.0.1:{port}"],
          "epoch": EPOCH, "seq": len(CHANGES), "files": len(CHANGES), "bytes": TOTAL}


def batch_of(wanted):
    """The answer to those who ask for many."""
    answer = bytearray()
    for at, content in enumerate(wanted):
        data = bytearray(BYTES.get((content["root"], content["size"]), b""))
        if ("lacking" in moods and at % 3 == 0) or (not data and content["size"]):
            answer += struct.pack(">H", 404)
            continue
        if "lying" in moods and at % 50 == 49 and data:
            data[len(data) // 2] ^= 1
        answer += struct.pack(">H", 200) + data
    if "short" in moods:
        del answer[len(answer) // 2:]
    if "long" in moods:
        answer += b"and more"
    if "html" in moods:
        return b"<html><body>Please log in.</body></html>"
    return bytes(answer)


def directory_of(name):
    try:
        look = os.stat(os.path.join(top, name))
    except OSError:
        return None
    return {"mtime_ns": 2 ** 70 if "ages" in moods else look.st_mtime_ns,
            "mode": "7777" if "bits" in moods else f"{look.st_mode & 0o777:04o}"}


def directories_of(names):
    """The answer to those who ask what directories are like."""
    found = [directory_of(name) for name in names]
    if "fewer" in moods:
        found.pop()
    if "crowd" in moods:
        found *= 1000
    if "others" in moods:
        found = {"../" + name: directory_of(name) for name in names}
    if "silent" in moods:
        print("silent: /v1/directories", file=sys.stderr, flush=True)
        time.sleep(3600)
    return {"directories": found}


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

    def drip(self, body):
        self.send_response(200)
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = False
        for byte in body:
            if self.close_connection:
                return
            self.pass_on(bytes([byte]))
            time.sleep(1)

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/v1/peers":
            self.answer(200, json.dumps({"node": RECORD, "peers": []}).encode())
        elif self.path == "/v1/directories":
            if moods & {"told", "bits", "ages", "fewer", "crowd", "others", "silent"}:
                self.answer(200, json.dumps(directories_of(json.loads(body)["names"])).encode())
            else:
                self.answer(404)
        elif self.path != "/v1/contents/batch":
            self.answer(200)
        elif "none" in moods:
            self.answer(404)
        elif "drip" in moods:
            self.drip(batch_of(json.loads(body)["contents"]))
        else:
            self.answer(200, batch_of(json.loads(body)["contents"]), "application/octet-stream")

    def answer_catalog(self, query):
        is_known = int(query.get("epoch", 0)) == EPOCH
        since = int(query.get("since", 0)) if is_known else 0
        page = CHANGES[since:since + min(PAGE, int(query.get("limit", PAGE)))]
        self.answer(200, json.dumps({
            "peer": ID, "epoch": EPOCH, "since": since, "through": since + len(page), "head": len(CHANGES),
            "reset": not is_known, "files": len(CHANGES), "bytes": TOTAL, "changes": page}).encode())

    def do_GET(self):
        query = dict(re.findall(r"[?&](\w+)=([^&]*)", self.path))
        content = re.fullmatch(r"/v1/contents/([0-9a-f]{64})\?.*", self.path)
        data = BYTES.get((content[1], int(query["size"]))) if content else None
        if self.path.startswith("/v1/catalog"):
            self.answer_catalog(query)
        elif data is None:
            self.answer(404)
        else:
            first, last = map(int, re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers["Range"]).groups())
            self.answer(206, data[first:last + 1], "application/octet-stream", ETag=f'"{content[1]}"',
                        Content_Range=f"bytes {first}-{last}/{len(data)}")


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
Server(("127.0.0.1", port), Handler).serve_forever()
