# SPDX-License-Identifier: MIT
#
# stat_server.py PROTO - a server of p2p.proto in Python that answers Stat, on a free port of loopback, which it prints: the
# reference for unary calls.  It answers from memory; whoever also looks into a catalog does more.

import os
import subprocess
import sys
import tempfile
from concurrent import futures

import grpc

PROTO = os.path.abspath(sys.argv[1])

with tempfile.TemporaryDirectory() as stubs:
    subprocess.run(
        [sys.executable, "-m", "grpc_tools.protoc", "-I" + os.path.dirname(PROTO), "--python_out=" + stubs,
         "--grpc_python_out=" + stubs, PROTO], check=True)
    sys.path.insert(0, stubs)
    import p2p_pb2
    import p2p_pb2_grpc


class Files(p2p_pb2_grpc.FilesServicer):
    known = {"one.bin": p2p_pb2.File(name="one.bin", content=p2p_pb2.Content(size=4096, root=b"\x5a" * 32),
                                     mtime_ns=1, mode=0o644, is_local=True)}

    def Stat(self, request, context):
        file = self.known.get(request.file.name)
        if file is None:
            context.abort(grpc.StatusCode.NOT_FOUND, "not-found: no such file")
        return p2p_pb2.StatResponse(file=file)


server = grpc.server(futures.ThreadPoolExecutor(max_workers=2))
p2p_pb2_grpc.add_FilesServicer_to_server(Files(), server)
print(server.add_insecure_port("127.0.0.1:0"), flush=True)
server.start()
server.wait_for_termination()
