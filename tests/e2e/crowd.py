#!/usr/bin/python3
# SPDX-License-Identifier: MIT
#
# crowd.py rest|grpc PORT COUNT READY [STUBS] - downloads the file "big" COUNT times at once, each anew when it is done, until killed.
# Makes the file READY when each has had its first bytes.  REST comes from 127.0.0.2, gRPC from 127.0.0.1.
import socket
import sys
import threading

wire, port, count, ready = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
fed = threading.Semaphore(0)


def by_rest():
    is_first = True
    while True:
        with socket.create_connection(("127.0.0.1", port), source_address=("127.0.0.2", 0)) as line:
            line.sendall(b"GET /v1/files/big HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nConnection: close\r\n\r\n" % port)
            buffer = bytearray(1 << 18)
            while line.recv_into(buffer) > 0:
                if is_first:
                    fed.release()
                is_first = False


def by_grpc():
    sys.path.insert(0, sys.argv[5])
    import grpc
    import p2p_pb2 as pb
    import p2p_pb2_grpc as stubs

    files = stubs.FilesStub(grpc.insecure_channel("127.0.0.1:%d" % port))

    def one():
        is_first = True
        while True:
            for _ in files.Download(pb.DownloadRequest(file=pb.FileSpec(name="big"))):
                if is_first:
                    fed.release()
                is_first = False

    return one


work = by_rest if wire == "rest" else by_grpc()
for _ in range(count):
    threading.Thread(target=work, daemon=True).start()
for _ in range(count):
    fed.acquire()
open(ready, "w").close()
threading.Event().wait()
