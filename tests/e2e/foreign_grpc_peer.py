# SPDX-License-Identifier: MIT
"""foreign_grpc_peer.py PORT SEED-PORT FILE NAME [lying] - a peer of another making: it offers one file, by the gRPC interface
alone.  It registers until it is ended; SIGTERM makes it say good-bye.  One that lies turns a bit in the first leaf of each range.
Wants the generated stubs in PYTHONPATH."""
import base64
import os
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import p2p_pb2 as pb
import p2p_pb2_grpc as stubs
from bep52 import layer_of, root_of, sha

port, seed, path, name = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
is_lying = "lying" in sys.argv[5:]
with open(path, "rb") as file:
    BYTES = file.read()

CONTENT = pb.Content(size=len(BYTES), root=root_of(BYTES))
ID = base64.b32encode(sha(b"foreign" + str(port).encode())).decode().rstrip("=").lower()
NODE = pb.Node(id=ID, name="foreign", version="0", addresses=[f"grpc://127.0.0.1:{port}"],
               epoch=int(time.time() * 1000), seq=1, file_count=1, byte_count=len(BYTES))
CHANGE = pb.Change(seq=1, name=name, content=CONTENT, mtime_ns=os.stat(path).st_mtime_ns, mode=0o644)
FILE = pb.File(name=name, content=CONTENT, mtime_ns=CHANGE.mtime_ns, mode=0o644, is_local=True, holders=[ID])


class Peers(stubs.PeersServicer):
    def Register(self, request, context):
        return pb.RegisterResponse(node=NODE)

    def Leave(self, request, context):
        return pb.LeaveResponse()

    def Notify(self, request, context):
        return pb.NotifyResponse()


class Files(stubs.FilesServicer):
    def Changes(self, request, context):
        anew = request.epoch != NODE.epoch
        since = 0 if anew else request.since
        return pb.ChangesResponse(peer=ID, epoch=NODE.epoch, since=since, through=1, head=1, is_reset=anew,
                                  file_count=1, byte_count=len(BYTES), changes=[CHANGE] if since == 0 else [])

    def Layer(self, request, context):
        return pb.LayerResponse(piece=request.piece, nodes=b"".join(layer_of(BYTES, request.piece)))

    def Download(self, request, context):
        end = request.offset + request.length if request.length else len(BYTES)
        data = bytearray(BYTES[request.offset:end])
        if is_lying:
            data[min(1000, len(data) - 1)] ^= 4
            print("lied at", request.offset, file=sys.stderr, flush=True)
        yield pb.DownloadResponse(file=FILE)
        for at in range(0, len(data), 100000):
            yield pb.DownloadResponse(data=bytes(data[at:at + 100000]))


server = grpc.server(ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)])
stubs.add_PeersServicer_to_server(Peers(), server)
stubs.add_FilesServicer_to_server(Files(), server)
if server.add_insecure_port(f"127.0.0.1:{port}") != port:
    sys.exit("the port is taken")
server.start()
ended = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: ended.set())
others = stubs.PeersStub(grpc.insecure_channel(f"127.0.0.1:{seed}", options=[("grpc.enable_http_proxy", 0)]))
while not ended.is_set():
    try:
        others.Register(pb.RegisterRequest(node=NODE), timeout=5)
    except grpc.RpcError as error:
        print(error.code(), error.details(), file=sys.stderr)
    ended.wait(1)
others.Leave(pb.LeaveRequest(id=ID), timeout=5)
server.stop(None)
