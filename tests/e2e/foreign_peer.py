# SPDX-License-Identifier: MIT
"""foreign_peer.py PORT SEED-URL FILE NAME honest|lying - a peer of another making: it offers one file, by the REST
interface as it is documented.  When lying it turns one bit in each range that it serves; its layer is true."""
import base64
import hashlib
import json
import os
import re
import sys
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

port, seed, path, name, mood = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4], sys.argv[5]
LEAF = 16384
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


LEAVES = [sha(content[at:at + LEAF]) for at in range(0, len(content), LEAF)]
ROOT = fold(LEAVES, None, bytes(32))[0].hex()
ID = base64.b32encode(sha(b"foreign" + str(port).encode())).decode().rstrip("=").lower()
EPOCH = int(time.time() * 1000)
RECORD = {"id": ID, "name": "foreign", "version": "0", "addresses": [f"http://127.0.0.1:{port}"],
          "epoch": EPOCH, "seq": 1, "files": 1, "bytes": len(content)}
CHANGE = {"seq": 1, "name": name, "size": len(content), "root": ROOT, "mode": "0644",
          "mtime_ns": os.stat(path).st_mtime_ns}


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
        self.wfile.write(body)

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/v1/peers":
            self.answer(200, json.dumps({"node": RECORD, "peers": []}).encode())
        else:
            self.answer(200)

    def do_GET(self):
        query = dict(re.findall(r"[?&](\w+)=([^&]*)", self.path))
        if self.path.startswith("/v1/catalog"):
            since = int(query.get("since", 0)) if int(query.get("epoch", 0)) == EPOCH else 0
            self.answer(200, json.dumps({
                "peer": ID, "epoch": EPOCH, "since": since, "through": 1, "head": 1,
                "reset": int(query.get("epoch", 0)) != EPOCH, "files": 1, "bytes": len(content),
                "changes": [CHANGE] if since == 0 else []}).encode())
        elif self.path.startswith(f"/v1/contents/{ROOT}/layer"):
            piece = int(query["piece"])
            nodes = fold(LEAVES, (piece // LEAF).bit_length() - 1, bytes(32))
            self.answer(200, b"".join(nodes), "application/octet-stream", P2pd_Piece_Bytes=str(piece))
        elif self.path.startswith(f"/v1/contents/{ROOT}?"):
            first, last = map(int, re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers["Range"]).groups())
            body = bytearray(content[first:last + 1])
            if mood == "lying":
                body[len(body) // 2] ^= 1
            self.answer(206, bytes(body), "application/octet-stream", ETag=f'"{ROOT}"',
                        Content_Range=f"bytes {first}-{last}/{len(content)}")
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


threading.Thread(target=register, daemon=True).start()
ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
