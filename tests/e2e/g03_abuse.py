# SPDX-License-Identifier: MIT
"""g03_abuse.py GRPC-PORT REST-PORT PID SOCKET FETCHER-SOCKET FETCH  GRPC-PORT REST-PORT PID  GRPC-PORT REST-PORT PID SOCKET - what hostile clients send to the gRPC
face, as bytes on a socket, and whether everybody else is served meanwhile.  The second daemon has few descriptors, the third some more.  Rows of
numbers in the comments are those of the list of threats that the project keeps."""
import http.client
import os
import resource
import socket
import struct
import subprocess
import sys
import threading
import time

import grpc
from checks import FACTOR, check, memory, run_checks, same, until

PORT, REST, PID = map(int, sys.argv[1:4])
SOCKET, FETCHER, FETCH = sys.argv[4:7]
POOR_PORT, POOR_REST, POOR_PID = map(int, sys.argv[7:10])
WANTED_PORT, WANTED_REST, WANTED_PID = map(int, sys.argv[10:13])
WANTED_SOCKET = sys.argv[13]
P2PCTL = os.environ["P2PCTL"]
# Bytes that abuse may cost.  On a quiet machine it is a tenth of it; on a busy one the library gathers calls that it has not
# handed over yet, of some 16 KiB each, until their connection is shut down.
MEMORY = 20000 * (16 << 10)
SERVES = 15        # seconds after which the face serves again, at the latest
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)

# --- HTTP/2, as far as abusing it goes ---

DATA, HEADERS, RST, SETTINGS, PING, CONTINUATION = 0, 1, 3, 4, 6, 9
END_STREAM, END_HEADERS = 1, 4


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0)


def number(value, bits):
    """An HPACK integer behind a prefix of so many bits, whose others are 0."""
    if value < (1 << bits) - 1:
        return bytes([value])
    out, value = bytes([(1 << bits) - 1]), value - ((1 << bits) - 1)
    while value >= 128:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def header(name, value):
    """A literal that nobody has to remember."""
    return b"\0" + number(len(name), 7) + name.encode() + number(len(value), 7) + value.encode()


def request(path="/grpc.health.v1.Health/Check", **changed):
    fields = {":method": "POST", ":scheme": "http", ":path": path, ":authority": "localhost",
              "content-type": "application/grpc", "te": "trailers"} | changed
    return b"".join(header(name, value) for name, value in fields.items())


class Wire:
    """A connection that reads and throws away what it is sent; sending to one that is closed does nothing."""

    def __init__(self, port=PORT, reads=True):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=5 * FACTOR)
        self.is_closed, self.received = False, 0
        self.send(PREFACE)
        if reads:
            threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        try:
            while data := self.socket.recv(1 << 16):
                self.received += len(data)
        except OSError:
            pass
        self.is_closed = True

    def send(self, data):
        """False when nobody takes it any more."""
        try:
            self.socket.sendall(data)
        except OSError:
            self.is_closed = True
        return not self.is_closed

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()


def flood(data, seconds, most, **rest):
    """Sends it again and again, by new connections when one is closed; the bytes that went."""
    end, sent = time.monotonic() + seconds, 0
    while time.monotonic() < end and sent < most:
        with Wire(**rest) as wire:
            while wire.send(data) and time.monotonic() < end and sent < most:
                sent += len(data)
    return sent


# --- the others ---

def get(port=REST):
    """Seconds that REST takes for a small answer."""
    begun = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5 * FACTOR)
    connection.request("GET", "/v1/node")
    same(connection.getresponse().status, 200)
    connection.close()
    return time.monotonic() - begun


def serves(port=PORT):
    """A new connection, a call, the right answer."""
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.use_local_subchannel_pool", 1),
                                                             ("grpc.enable_http_proxy", 0)]) as channel:
        try:
            return channel.unary_unary("/grpc.health.v1.Health/Check")(b"", timeout=2) == b"\x08\x01"
        except grpc.RpcError:
            return False


def ctl(sock, *words):
    return subprocess.run([P2PCTL, "-s", sock, *words], capture_output=True, text=True, check=True, timeout=10 * FACTOR).stdout


def fetched():
    return int(ctl(FETCHER, "fetches", FETCH).split("\t")[2])


def processor():
    """Seconds that the daemon has used."""
    with open(f"/proc/{PID}/stat") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def is_calm():
    """What was begun before is done with."""
    before = processor()
    time.sleep(0.2)
    return processor() - before < 0.05 * FACTOR


class Others:
    """Whoever has nothing to do with it: they are served all the time."""

    def __init__(self, most=MEMORY):
        self.most = most

    def __enter__(self):
        until(10, is_calm)
        self.took, self.failed, self.is_over = [], [], threading.Event()
        with open(f"/proc/{PID}/clear_refs", "w") as file:
            file.write("5")  # VmHWM begins anew
        self.memory, self.bytes, self.processor, self.begun = memory(PID, "VmRSS"), fetched(), processor(), time.monotonic()
        self.thread = threading.Thread(target=self.ask)
        self.thread.start()
        return self

    def ask(self):
        while not self.is_over.wait(0.02):
            try:
                self.took.append(get())
            except Exception as error:
                self.failed.append(error)

    def __exit__(self, kind, *_):
        try:
            if kind is None:
                until(10, lambda: fetched() > self.bytes and len(self.took) + len(self.failed) > 1)
                ctl(SOCKET, "status")
        finally:
            self.is_over.set()
            self.thread.join()
        self.took.sort()
        grown = memory(PID) - self.memory
        if self.took:
            print(f"# REST: {len(self.took)} answers, the middle {self.took[len(self.took) // 2] * 1000:.1f} ms, the slowest "
                  f"{self.took[-1] * 1000:.1f} ms; memory {grown / (1 << 20):+.1f} MiB; processor "
                  f"{(processor() - self.processor) / (time.monotonic() - self.begun) * 100:.0f} %")
        if kind is None:
            same(self.failed, [])
            same(self.took[len(self.took) * 95 // 100] < 2 * FACTOR, True)
            if FACTOR == 1:  # a sanitizer needs much more
                same(grown <= self.most, True)


def serves_again():
    begun = time.monotonic()
    until(SERVES, serves)
    print(f"# serves after {time.monotonic() - begun:.2f} s")


def alive():
    with open(f"/proc/{PID}/cmdline") as file:
        same(bool(file.read()), True)


# --- headers ---

@check("a header that is padded without end (row 13) holds nobody up")
def _():
    begin = PREFACE + frame(HEADERS, 0, 1, b"\x00\x7f" + b"\x80" * 16000)
    more = frame(CONTINUATION, 0, 1, b"\x80" * 16384)
    with Others():
        with Wire() as wire:
            sent = len(begin)
            wire.send(begin[len(PREFACE):])
            end = time.monotonic() + 4
            while sent < 10 << 20 and time.monotonic() < end and wire.send(more):
                sent += len(more)
            print(f"# {sent} bytes went; closed: {wire.is_closed}")
            serves_again()
        serves_again()


@check("it does not burn a core afterwards either")
def _():
    before = processor()
    time.sleep(1)
    same(processor() - before < 0.5 * FACTOR, True)


@check("headers that are known to kill the library (row 14) do not kill the daemon")
def _():
    filler = {f"x-{i}": "y" * 1000 for i in range(20)}
    with Others():
        for bad in ({"te": "x"}, {":scheme": "x"}, {"grpclb_client_stats": "x"}, {"te": "x", ":scheme": "x", "grpclb_client_stats": "x"}):
            for count in (0, 7, 9, 15, 17, 20):  # thousand bytes behind it
                with Wire() as wire:
                    block = request(**bad) + b"".join(header(*item) for item in list(filler.items())[:count])
                    pieces = [block[at:at + 16000] for at in range(0, len(block), 16000)]
                    wire.send(frame(HEADERS, END_HEADERS if len(pieces) == 1 else 0, 1, pieces[0]))
                    for i, piece in enumerate(pieces[1:], 2):
                        wire.send(frame(CONTINUATION, END_HEADERS if i == len(pieces) else 0, 1, piece))
                    wire.send(frame(DATA, END_STREAM, 1, bytes(5)))
                    until(5, lambda w=wire: w.received > 0 or w.is_closed)
            alive()
        serves_again()


@check("headers over every limit, and ones that are none, are refused")
def _():
    with Others():
        for block in (request() + header("x", "y" * 60000), request() + header("x", "y") * 10000, b"\xff" * 1000, b"\x00",
                      request() + b"\x00\x7f" + b"\xff" * 9, header("X-Upper", "y") + request(), request() + header("a", "b\0c"),
                      request() + header(":path", "/late"), request(path="x" * 8000), b"\x3f" + b"\xff" * 8):
            with Wire() as wire:
                for at in range(0, len(block), 16000):
                    wire.send(frame(HEADERS if at == 0 else CONTINUATION, END_HEADERS if at + 16000 >= len(block) else 0, 1,
                                    block[at:at + 16000]))
                wire.send(frame(DATA, END_STREAM, 1, bytes(5)))
                until(5, lambda w=wire: w.received > 0 or w.is_closed)
        serves_again()


# --- messages ---

@check("a message that says it is 4 GiB long costs nothing")
def _():
    with Others():
        wires = [Wire() for _ in range(50)]
        for wire in wires:
            wire.send(frame(HEADERS, END_HEADERS, 1, request("/p2p.v1.Files/Upload")))
            wire.send(frame(DATA, 0, 1, b"\0\xff\xff\xff\xff" + bytes(10000)))
        serves_again()
        for wire in wires:
            wire.socket.close()


@check("1,000 calls that begin a message and do not end it are held within bounds")
def _():
    with Others():
        wires = [Wire() for _ in range(10)]
        for wire in wires:
            for stream in range(1, 200, 2):
                wire.send(frame(HEADERS, END_HEADERS, stream, request("/p2p.v1.Files/Stat")))
                wire.send(frame(DATA, 0, stream, b"\0\0\x01\0\0" + bytes(8000)))
        serves_again()
        for wire in wires:
            wire.socket.close()


# --- floods ---

class Hogs:
    """A machine that is busy with something else."""

    def __enter__(self):
        self.all = [subprocess.Popen(["sh", "-c", "while :; do :; done"]) for _ in range(2)]

    def __exit__(self, *_):
        for hog in self.all:
            hog.kill()
            hog.wait()


def rapid_reset(count, seconds):
    """So many calls, evenly in that time (0: as fast as they go), each taken back at once."""
    block, begun, sent = request("/p2p.v1.Files/Search"), time.monotonic(), 0
    while sent < count:
        with Wire() as wire:
            for stream in range(1, 1 << 30, 400):
                if sent >= count or not wire.send(b"".join(
                        frame(HEADERS, END_HEADERS, i, block) + frame(RST, 0, i, b"\0\0\0\x08")
                        for i in range(stream, stream + 400, 2))):
                    break
                sent += 200
                time.sleep(max(0.0, begun + seconds * sent / count - time.monotonic()))
    print(f"# {sent} calls in {time.monotonic() - begun:.1f} s")


# On a busy machine the library reads ahead of itself, and how far is a matter of luck: it is bounded, no more.
RESET_MEMORY = 1 << 30


@check("10^5 calls in 10 s that are taken back at once (row 15)")
def _():
    with Others(RESET_MEMORY), Hogs():
        rapid_reset(100000, 10)
        serves_again()


@check("20,000 calls that are taken back at once, as fast as they go")
def _():
    with Others():
        rapid_reset(20000, 0)
        serves_again()


@check("floods of pings, settings and headers (row 18)")
def _():
    floods = {
        "pings": frame(PING, 0, 0, b"12345678") * 1000,
        "settings": frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 65535)) * 1000,
        "empty settings": frame(SETTINGS, 0, 0) * 1000,
        "data for nobody": frame(DATA, 0, 1, bytes(1000)) * 10,
    }
    for what, data in floods.items():
        with Others():
            sent = flood(data, 1.5, 20 << 20)
            print(f"# {what}: {sent} bytes went")
            serves_again()


@check("floods whose answers nobody reads (row 18)")
def _():
    with Others():
        for data in (frame(PING, 0, 0, b"12345678") * 1000, frame(SETTINGS, 0, 0) * 1000):
            wires = [Wire(reads=False) for _ in range(4)]
            end = time.monotonic() + 1.5
            for wire in wires:
                wire.socket.settimeout(0.2)
            while time.monotonic() < end and any([wire.send(data) for wire in wires]):
                pass
            serves_again()
            for wire in wires:
                wire.socket.close()


@check("a header block that never ends (row 18)")
def _():
    with Others():
        with Wire() as wire:
            wire.send(frame(HEADERS, 0, 1, request()))
            more = frame(CONTINUATION, 0, 1, header("x", "y" * 100) * 100)
            end, sent = time.monotonic() + 2, 0
            while sent < 20 << 20 and time.monotonic() < end and wire.send(more):
                sent += len(more)
            print(f"# {sent} bytes went; closed: {wire.is_closed}")
            serves_again()


# --- descriptors ---

def is_healthy():
    connection = http.client.HTTPConnection("127.0.0.1", WANTED_REST, timeout=0.5)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


idle = []


@check("700 idle connections from one address do not keep all descriptors for long")
def _():
    begun, asked = time.monotonic(), 0

    def used():
        return len(os.listdir(f"/proc/{WANTED_PID}/fd"))

    for _ in range(700):
        one = socket.socket()
        one.setblocking(False)
        one.connect_ex(("127.0.0.1", WANTED_PORT))
        idle.append(one)
    for one in idle:
        try:
            one.send(PREFACE)
        except OSError:  # it is not connected
            pass
    until(3, lambda: used() > 500)
    while not (is_healthy() and used() < 300):
        ctl(WANTED_SOCKET, "status")
        asked += 1
        same(time.monotonic() - begun < 10 * FACTOR, True)
    print(f"# REST answers after {time.monotonic() - begun:.2f} s; p2pctl did {asked} times meanwhile")


@check("when the descriptors ran out and came back, the face serves again (row 16)")
def _():
    held = []
    for _ in range(300):
        one = socket.socket()
        one.settimeout(0.2)
        try:
            one.connect(("127.0.0.1", POOR_PORT))
        except OSError:
            pass
        held.append(one)
    with open(f"/proc/{POOR_PID}/limits") as limits:
        most = next(int(line.split()[3]) for line in limits if line.startswith("Max open files"))
    print(f"# {len(os.listdir(f'/proc/{POOR_PID}/fd'))} of {most} descriptors in use")
    with Others():
        time.sleep(2)
    for one in held:
        one.close()
    begun = time.monotonic()
    until(SERVES, serves, POOR_PORT)
    print(f"# serves after {time.monotonic() - begun:.2f} s")
    until(10, lambda: get(POOR_REST) < 1)


@check("gRPC serves too by then, with those connections still there, and after they went")
def _():
    until(SERVES, serves, WANTED_PORT)
    for one in idle:
        one.close()
    until(SERVES, serves, WANTED_PORT)
    ctl(WANTED_SOCKET, "status")


run_checks()
