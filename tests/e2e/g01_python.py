# SPDX-License-Identifier: MIT
"""g01_python.py checks PORT:PID:SHARE PORT:PID:SHARE - every method of the gRPC face, asked through stubs that were generated from the
project's .proto files; the second peer knows the first.  g01_reflection.py asks without stubs.

g01_python.py health PORT [SERVICE] - exits as grpc_health_probe does: 0 serves, 2 nobody there, 3 the call failed, 4 does not serve."""
import base64
import itertools
import os
import sys
import threading
import time

import grpc
import health_pb2
import health_pb2_grpc
import p2p_pb2 as pb
import p2p_pb2_grpc as stubs
from bep52 import LEAF, fold, layer_of, root_of, sha
from checks import FACTOR, check, descriptors, run_checks, same, until

Status = grpc.StatusCode
MIB = 1 << 20
OPTIONS = [("grpc.enable_http_proxy", 0), ("grpc.max_receive_message_length", 16 * MIB),
           ("grpc.max_send_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
LIMIT = 15 * FACTOR  # seconds that any call may take


def channel_to(port):
    return grpc.insecure_channel(f"127.0.0.1:{port}", options=OPTIONS)


def probe(port, service=""):
    try:
        answer = health_pb2_grpc.HealthStub(channel_to(port)).Check(
            health_pb2.HealthCheckRequest(service=service), timeout=5 * FACTOR)
    except grpc.RpcError as error:
        return 2 if error.code() == Status.UNAVAILABLE else 3
    return 0 if answer.status == health_pb2.HealthCheckResponse.SERVING else 4


if sys.argv[1] == "health":
    sys.exit(probe(*sys.argv[2:]))


class Peer:
    def __init__(self, text):
        port, pid, self.share = text.split(":")
        self.pid = int(pid)
        self.channel = channel_to(port)
        self.peers = stubs.PeersStub(self.channel)
        self.files = stubs.FilesStub(self.channel)
        self.events = stubs.EventsStub(self.channel)
        self.health = health_pb2_grpc.HealthStub(self.channel)

    def path(self, name):
        return os.path.join(self.share, name)

    def read(self, name):
        with open(self.path(name), "rb") as file:
            return file.read()


a, b = Peer(sys.argv[2]), Peer(sys.argv[3])
BIG = a.read("big.bin")
ME = base64.b32encode(sha(b"a client")).decode().rstrip("=").lower()


def refused(code, slug, function, *args, **rest):
    """The call must end with this status, and its message begin with the slug (None: no slug is promised)."""
    try:
        answer = function(*args, **rest)
        answer = list(answer) if hasattr(answer, "__iter__") else answer
    except grpc.RpcError as error:
        wanted = code if isinstance(code, tuple) else (code,)
        if error.code() not in wanted or slug and not error.details().startswith(slug + ": "):
            raise AssertionError(f"got {error.code()} {error.details()!r}, wanted {wanted} {slug}") from None
        return
    raise AssertionError(f"got {answer!r:.200}, wanted {code} {slug}")


def stat(peer, name, **rest):
    return peer.files.Stat(pb.StatRequest(file=pb.FileSpec(name=name), **rest), timeout=LIMIT)


def absent(peer, name):
    refused(Status.NOT_FOUND, "not-found", stat, peer, name)
    same(os.path.exists(peer.path(name)), False)


def search(peer, **request):
    pages = list(peer.files.Search(pb.SearchRequest(**request), timeout=LIMIT))
    same([page for page in pages if len(page.files) > 100], [])
    return [file for page in pages for file in page.files], pages[-1].cursor if pages else ""


def names(peer, **request):
    return [file.name for file in search(peer, **request)[0]]


def content_of(data):
    return pb.Content(size=len(data), root=root_of(data))


# --- peers ---

def record(**changed):
    return pb.RegisterRequest(node=pb.Node(**{"id": ME, "name": "client", "version": "1", "epoch": 1,
                                              "addresses": ["http://127.0.0.1:9"], **changed}))


@check("Register answers with this peer and those that it knows")
def _():
    answer = a.peers.Register(record(), timeout=LIMIT)
    same((answer.node.name, len(answer.node.id)), ("a", 52))
    same("b" in [node.name for node in answer.known], True)
    same([address.split(":")[0] for address in answer.node.addresses], ["http", "grpc"])


@check("Register refuses records that are none")
def _():
    for node in ({"id": "short"}, {"id": ME.upper()}, {"name": ""}, {"name": "x" * 64}, {"addresses": ["gopher://x:1"]},
                 {"addresses": ["http://127.0.0.1:9"] * 9}, {"name": "a\nb"}):
        refused(Status.INVALID_ARGUMENT, "bad-request", a.peers.Register, record(**node), timeout=LIMIT)
    refused(Status.INVALID_ARGUMENT, "bad-request", a.peers.Register, pb.RegisterRequest(), timeout=LIMIT)


@check("List streams the peers; one that never answered a greeting is not here")
def _():
    found = {peer.name: peer for peer in a.peers.List(pb.ListPeersRequest(), timeout=LIMIT)}
    same(found["b"].state, pb.PEER_STATE_HERE)
    same(len(found["b"].id), 52)
    same("client" in found and found["client"].state == pb.PEER_STATE_HERE, False)


@check("Leave of a peer that is not known is refused")
def _():
    other = base64.b32encode(sha(b"nobody")).decode().rstrip("=").lower()
    refused(Status.NOT_FOUND, "not-found", a.peers.Leave, pb.LeaveRequest(id=other), timeout=LIMIT)
    refused(Status.INVALID_ARGUMENT, "bad-request", a.peers.Leave, pb.LeaveRequest(id="x"), timeout=LIMIT)


# --- search, stat ---

MANY = [f"many-{i:03}" for i in range(1, 251)]


# Equally good ones come by when b learned of them.
@check("Search streams all that fits, once")
def _():
    same(sorted(names(b, text="MANY-")), MANY)
    same(sorted(names(b, text="many-*7", match=pb.MATCH_GLOB)), [name for name in MANY if name.endswith("7")])
    same(names(b, text="many-007", match=pb.MATCH_EXACT), ["many-007"])
    same(names(b, text="tree", match=pb.MATCH_UNDER), ["tree/sub/x.TXT"])
    same(names(b, text="many-", scope=pb.SCOPE_LOCAL), [])


@check("Search tells one level of a directory: its files, and what its subdirectories weigh")
def _():
    for limit in (0, 1000):  # in one message or more, as many as were asked for
        pages = list(a.files.Search(pb.SearchRequest(match=pb.MATCH_LEVEL, limit=limit), timeout=LIMIT))
        files = [file.name for page in pages for file in page.files]
        directories = [(one.name, one.files, one.bytes, one.more) for page in pages for one in page.directories]
        same(("big.bin" in files, [name for name in files if "/" in name]), (True, []))
        same([one for one in directories if one[0] == "tree/"], [("tree/", 1, 2, False)])
    same(names(a, text="tree", match=pb.MATCH_LEVEL), [])
    same(names(a, text="tree/sub/", match=pb.MATCH_LEVEL), ["tree/sub/x.TXT"])
    same(len(list(a.files.Search(pb.SearchRequest(match=pb.MATCH_LEVEL, limit=1), timeout=LIMIT))[0].files), 1)


@check("Search without a fit tells nothing")
def _():
    same(names(b, text="no such thing"), [])


@check("Search pages: limit and cursor")
def _():
    found, cursor = [], ""
    for page in range(10):
        files, cursor = search(b, text="many-", limit=30, cursor=cursor)
        found += [file.name for file in files]
        same(len(files), 30 if page < 8 else 10)
        if not cursor:
            break
    same((page, sorted(found)), (8, MANY))
    # Each message of a stream has a cursor too, to go on after a break.
    stream = b.files.Search(pb.SearchRequest(text="many-"), timeout=LIMIT)
    first = next(stream)
    stream.cancel()
    same(sorted([file.name for file in first.files] + names(b, text="many-", cursor=first.cursor)), MANY)
    refused(Status.INVALID_ARGUMENT, "bad-request", b.files.Search, pb.SearchRequest(cursor="no cursor"), timeout=LIMIT)
    refused(Status.INVALID_ARGUMENT, "bad-request", b.files.Search, pb.SearchRequest(text="x" * 1025), timeout=LIMIT)


@check("Search tells content and holders")
def _():
    file = search(b, text="big.bin", match=pb.MATCH_EXACT)[0][0]
    same(file.content, content_of(BIG))
    same((file.is_local, file.mode), (False, os.stat(a.path("big.bin")).st_mode & 0o777))
    same(file.mtime_ns, os.stat(a.path("big.bin")).st_mtime_ns)
    same([peer.name for peer in b.peers.List(pb.ListPeersRequest(), timeout=LIMIT) if peer.id in file.holders], ["a"])


@check("Stat by name and by content")
def _():
    same(stat(a, "big.bin").file.content, content_of(BIG))
    same(stat(a, "empty").file.content, content_of(b""))
    answer = a.files.Stat(pb.StatRequest(file=pb.FileSpec(content=content_of(BIG))), timeout=LIMIT)
    same((answer.file.name, answer.file.is_local), ("big.bin", True))
    absent(a, "nothing")
    absent(b, "big.bin")
    refused(Status.INVALID_ARGUMENT, "bad-request", a.files.Stat, pb.StatRequest(), timeout=LIMIT)
    for name in ("", "../x", "/x", "x//y", ".p2pd-x", "a\x01"):
        refused((Status.INVALID_ARGUMENT, Status.NOT_FOUND), None, stat, a, name)
    wrong = pb.Content(size=len(BIG) - 1, root=content_of(BIG).root)
    refused(Status.NOT_FOUND, "not-found", a.files.Stat, pb.StatRequest(file=pb.FileSpec(content=wrong)), timeout=LIMIT)
    for broken in (pb.Content(size=5, root=b"short"), pb.Content(size=1 << 50, root=bytes(32))):
        refused(Status.INVALID_ARGUMENT, "bad-request", a.files.Stat, pb.StatRequest(file=pb.FileSpec(content=broken)),
                timeout=LIMIT)


# --- download ---

def download(peer, spec, **request):
    messages = list(peer.files.Download(pb.DownloadRequest(file=spec, **request), timeout=LIMIT))
    same((messages[0].HasField("file"), messages[0].data), (True, b""))
    same([m for m in messages[1:] if m.HasField("file") or not 0 < len(m.data) <= MIB], [])
    return b"".join(message.data for message in messages)


BY_NAME, BY_CONTENT = pb.FileSpec(name="big.bin"), pb.FileSpec(content=content_of(BIG))


@check("Download by name and by content id, byte for byte")
def _():
    for spec in (BY_NAME, BY_CONTENT):
        same(download(a, spec) == BIG, True)
    same(download(a, pb.FileSpec(name="empty")), b"")
    same(download(a, pb.FileSpec(name="many-001")), b"001\n")


@check("Download from any offset, and of any length")
def _():
    for offset, length in ((1, 0), (LEAF - 1, 2), (LEAF, LEAF), (5 * MIB + 7, 3 * MIB + 1), (len(BIG) - 1, 0), (0, 1),
                           (len(BIG) - 5, 5), (0, len(BIG))):
        end = offset + length if length else len(BIG)
        for spec in (BY_NAME, BY_CONTENT):
            same(download(a, spec, offset=offset, length=length) == BIG[offset:end], True)
    for offset, length in ((len(BIG) + 1, 0), (1 << 63, 0), ((1 << 64) - 1, 2)):
        refused(Status.OUT_OF_RANGE, "bad-range", a.files.Download,
                pb.DownloadRequest(file=BY_NAME, offset=offset, length=length), timeout=LIMIT)


@check("Download through a peer that does not have it; or only of its own")
def _():
    same(download(b, BY_NAME) == BIG, True)
    same(download(b, BY_NAME, offset=MIB + 1, length=2 * MIB) == BIG[MIB + 1:3 * MIB + 1], True)
    absent(b, "big.bin")
    refused(Status.NOT_FOUND, "not-found", b.files.Download,
            pb.DownloadRequest(file=BY_NAME, scope=pb.SCOPE_LOCAL), timeout=LIMIT)
    refused(Status.NOT_FOUND, "not-found", b.files.Download,
            pb.DownloadRequest(file=pb.FileSpec(name="nothing")), timeout=LIMIT)


@check("a reader that does not read is not sent more, and holds nobody up")
def _():
    stream = a.files.Download(pb.DownloadRequest(file=BY_NAME), timeout=LIMIT)
    next(stream)
    same(download(a, BY_CONTENT) == BIG, True)
    same(b"".join(message.data for message in stream) == BIG, True)


# --- upload ---

def parts(header, data, step=MIB):
    yield pb.UploadRequest(header=header)
    for at in range(0, len(data), step):
        yield pb.UploadRequest(data=data[at:at + step])


def whole(header, data, step=MIB):
    yield from parts(header, data, step)
    yield pb.UploadRequest(is_last=True)


def upload(name, data, step=MIB, **header):
    return a.files.Upload(whole(pb.UploadHeader(name=name, **header), data, step), timeout=LIMIT)


def nothing_partial():
    """No upload's bytes are left in the share."""
    return not [name for name in os.listdir(a.path(".p2pd-partial")) if name.startswith("upload-")]


@check("Upload makes a file: durable, named, in the catalog when the answer comes")
def _():
    answer = upload("up/whole.bin", BIG[:5 * MIB + 3], mtime_ns=1500000000123456789, mode=0o755)
    same((answer.content, answer.is_new), (content_of(BIG[:5 * MIB + 3]), True))
    same(a.read("up/whole.bin") == BIG[:5 * MIB + 3], True)
    there = os.stat(a.path("up/whole.bin"))
    same((there.st_mtime_ns, there.st_mode & 0o777), (1500000000123456789, 0o755))
    same(names(a, text="up/whole.bin", match=pb.MATCH_EXACT, scope=pb.SCOPE_LOCAL), ["up/whole.bin"])
    same(upload("up/whole.bin", BIG[:5 * MIB + 3]).is_new, False)
    same(upload("up/empty", b"").content, content_of(b""))
    same(upload("up/small", b"x").content, content_of(b"x"))
    until(10, lambda: sorted(names(b, text="up/", match=pb.MATCH_SUBSTRING)) == ["up/empty", "up/small", "up/whole.bin"])


class Feed:
    """Messages of an upload that is sent bit by bit; the test decides when."""

    def __init__(self, *messages):
        self.messages, self.more, self.is_ended = list(messages), threading.Semaphore(len(messages)), False

    def __iter__(self):
        return self

    def __next__(self):
        self.more.acquire()
        if not self.messages:
            raise StopIteration
        return self.messages.pop(0)

    def add(self, message):
        self.messages.append(message)
        self.more.release()

    def end(self):
        self.more.release()


def begin(name, data, **header):
    """An upload that has sent its header and this much, and waits."""
    feed = Feed(*parts(pb.UploadHeader(name=name, **header), data))
    return feed, a.files.Upload.future(feed, timeout=LIMIT)


def upload_offset(name, upload_id):
    return stat(a, name, upload_id=upload_id).upload_offset


@check("an upload is never half-visible")
def _():
    feed, call = begin("half.bin", BIG[:3 * MIB], upload_id="half", size=4 * MIB, has_size=True)
    until(10, lambda: upload_seen("half.bin", "half", 3 * MIB))
    same(stat(a, "half.bin", upload_id="half").HasField("file"), False)
    absent(a, "half.bin")
    same(names(a, text="half.bin"), [])
    feed.add(pb.UploadRequest(data=BIG[3 * MIB:4 * MIB]))
    feed.end()
    same(call.result().content, content_of(BIG[:4 * MIB]))
    same(a.read("half.bin") == BIG[:4 * MIB], True)
    refused(Status.NOT_FOUND, "not-found", stat, a, "nothing", upload_id="half")


def upload_seen(name, upload_id, wanted):
    try:
        return upload_offset(name, upload_id) == wanted
    except grpc.RpcError:
        return False


def is_being_sent(name, upload_id):
    """Until the daemon hears that a call was cancelled, its upload cannot go on in another."""
    try:
        upload(name, b"x", upload_id=upload_id, offset=1 << 40)
    except grpc.RpcError as error:
        return error.code() == Status.ABORTED
    return False


@check("a broken upload goes on at the offset that Stat tells")
def _():
    sent = 7 * MIB
    feed, call = begin("resumed.bin", BIG[:sent], upload_id="again", size=len(BIG), has_size=True)
    until(10, upload_seen, "resumed.bin", "again", sent)
    call.cancel()
    feed.end()
    absent(a, "resumed.bin")
    offset = until(10, upload_offset, "resumed.bin", "again")
    same(offset, sent)
    until(10, lambda: not is_being_sent("resumed.bin", "again"))
    refused(Status.OUT_OF_RANGE, "bad-range", upload, "resumed.bin", b"x", upload_id="again", offset=offset + 1)
    refused(Status.NOT_FOUND, "not-found", upload, "resumed.bin", b"x", upload_id="another", offset=offset)
    header = {"upload_id": "again", "size": len(BIG), "has_size": True, "expect": content_of(BIG)}
    offset = upload_offset("resumed.bin", "again")
    same(offset, sent)
    same(upload("resumed.bin", BIG[offset:], offset=offset, **header).content, content_of(BIG))
    same(a.read("resumed.bin") == BIG, True)


@check("an upload without an id that breaks off leaves nothing")
def _():
    feed, call = begin("broken.bin", BIG[:2 * MIB])
    until(10, lambda: not nothing_partial())
    call.cancel()
    feed.end()
    until(10, nothing_partial)
    absent(a, "broken.bin")


@check("a stream that just ends makes no file; with an id it goes on")
def _():
    def end_early(data, **header):
        return a.files.Upload(parts(pb.UploadHeader(name="cut.bin", **header), data), timeout=LIMIT)
    refused(Status.DATA_LOSS, "bad-content", end_early, BIG[:MIB])
    same(nothing_partial(), True)
    header = {"upload_id": "cut", "expect": content_of(BIG)}
    refused(Status.DATA_LOSS, "bad-content", end_early, BIG[:MIB], **header)
    refused(Status.DATA_LOSS, "bad-content", end_early, BIG[MIB:2 * MIB], offset=MIB, **header)
    absent(a, "cut.bin")
    same(upload_offset("cut.bin", "cut"), 2 * MIB)
    same(end_early(BIG[2 * MIB:], offset=2 * MIB, **header).content, content_of(BIG))
    same(end_early(BIG, size=len(BIG), has_size=True).is_new, False)


@check("an upload that is not what it said is refused, and nothing of it is kept")
def _():
    wrong = content_of(BIG[1:MIB + 1])
    refused(Status.DATA_LOSS, "bad-content", upload, "wrong.bin", BIG[:MIB], expect=wrong)
    refused(Status.DATA_LOSS, "bad-content", upload, "wrong.bin", BIG[:MIB], expect=wrong, upload_id="wrong")
    refused(Status.DATA_LOSS, "bad-content", upload, "wrong.bin", BIG[:MIB], size=MIB + 1, has_size=True)
    refused(Status.DATA_LOSS, "bad-content", upload, "wrong.bin", BIG[:MIB], size=MIB - 1, has_size=True)
    absent(a, "wrong.bin")
    until(10, nothing_partial)


@check("an upload keeps to its conditions and to what the network may do")
def _():
    refused(Status.PERMISSION_DENIED, "forbidden", upload, "big.bin", b"other", replace=True)
    refused((Status.ALREADY_EXISTS, Status.PERMISSION_DENIED), None, upload, "big.bin", b"other")
    refused(Status.FAILED_PRECONDITION, "precondition-failed", upload, "big.bin", b"other", if_absent=True)
    refused(Status.PERMISSION_DENIED, "forbidden", upload, "big.bin", b"other", if_root=content_of(BIG).root)
    for name in ("../x", "/x", "x/", "a//b", ".p2pd-x", "a\u202eb", "x" * 256, "a/" * 16 + "b"):
        refused(Status.INVALID_ARGUMENT, "bad-name", upload, name, b"x")
    for header in ({"if_root": b"short"}, {"upload_id": "x" * 65}, {"mode": 0o1777}, {"offset": 5}):
        refused(Status.INVALID_ARGUMENT, "bad-request", upload, "new.bin", b"x", **header)
    same(a.read("big.bin") == BIG, True)
    absent(a, "new.bin")


@check("an upload that does not follow its form is refused")
def _():
    def send(*messages):
        return a.files.Upload(iter(messages), timeout=LIMIT)
    header = pb.UploadHeader(name="form.bin")
    refused(Status.INVALID_ARGUMENT, "bad-request", send)
    refused(Status.INVALID_ARGUMENT, "bad-request", send, pb.UploadRequest(data=b"x"))
    refused(Status.INVALID_ARGUMENT, "bad-request", send, pb.UploadRequest(header=header), pb.UploadRequest(header=header))
    refused(Status.INVALID_ARGUMENT, "bad-request", send, pb.UploadRequest(header=header, data=b"x", is_last=True),
            pb.UploadRequest(data=b"y"))
    absent(a, "form.bin")


# --- content, changes ---

@check("Layer: the pieces' hashes lead to the root")
def _():
    chosen = a.files.Layer(pb.LayerRequest(content=content_of(BIG)), timeout=LIMIT)
    for piece in (0, chosen.piece, chosen.piece * 4):
        answer = a.files.Layer(pb.LayerRequest(content=content_of(BIG), piece=piece), timeout=LIMIT)
        same(answer.piece, piece or chosen.piece)
        nodes = [answer.nodes[at:at + 32] for at in range(0, len(answer.nodes), 32)]
        height = (answer.piece // LEAF).bit_length() - 1
        same(len(nodes), -(-len(BIG) // answer.piece))
        same(nodes, layer_of(BIG, answer.piece))
        padding = bytes(32)
        for _level in range(height):
            padding = sha(padding + padding)
        same(fold(nodes, None, padding), [content_of(BIG).root])
    for piece in (1, LEAF - 1, LEAF + 1, 3 * LEAF, 1 << 31):
        refused(Status.INVALID_ARGUMENT, "bad-request", a.files.Layer,
                pb.LayerRequest(content=content_of(BIG), piece=piece), timeout=LIMIT)
    refused(Status.NOT_FOUND, "not-found", a.files.Layer, pb.LayerRequest(content=content_of(b"other")), timeout=LIMIT)


def have(by=a, content=BIG, **request):
    """An answer that may take a while."""
    return by.files.Have.future(pb.HaveRequest(content=content_of(content), **request), timeout=LIMIT)


def follower(name):
    return base64.b32encode(sha(name)).decode().rstrip("=").lower()


@check("Have: all of a content, or not")
def _():
    answer = have().result()
    same((answer.complete, answer.bits, list(answer.pieces)), (True, b"", []))
    same(have(content=b"").result().complete, True)
    refused(Status.NOT_FOUND, "not-found", have(b).result)
    refused(Status.INVALID_ARGUMENT, "bad-request", a.files.Have, pb.HaveRequest(), timeout=LIMIT)
    refused(Status.INVALID_ARGUMENT, "bad-request", have(wait_ms=30001).result)
    refused(Status.INVALID_ARGUMENT, "bad-request", have(peer="x").result)


@check("Have waits for news, until its time is over, and tells of who else follows")
def _():
    first = have(peer=follower(b"one")).result()
    same((first.full, first.complete, first.next > 0), (True, True, True))
    begin_s = time.monotonic()
    answer = have(peer=follower(b"one"), since=first.next, wait_ms=500).result()
    same((answer.full, answer.complete, list(answer.peers), time.monotonic() - begin_s >= 0.49), (False, True, [], True))
    call = have(peer=follower(b"one"), since=answer.next, wait_ms=30000)
    have(peer=follower(b"two")).result()
    same(list(call.result().peers), [follower(b"two")])


@check("Changes: following them makes the catalog")
def _():
    followed, epoch, since = {}, 0, 0
    for _page in itertools.count():
        page = a.files.Changes(pb.ChangesRequest(epoch=epoch, since=since, limit=100), timeout=LIMIT)
        if page.is_reset:
            followed, since = {}, 0
        epoch = page.epoch
        same((page.since, len(page.changes) <= 100), (since, True))
        same(sorted(change.seq for change in page.changes), [change.seq for change in page.changes])
        for change in page.changes:
            if change.is_removed:
                followed.pop(change.name, None)
            else:
                followed[change.name] = change.content
        since = page.through
        if since == page.head:
            break
    here, _cursor = search(a, scope=pb.SCOPE_LOCAL)
    same(followed, {file.name: file.content for file in here})
    same((page.file_count, page.byte_count), (len(here), sum(file.content.size for file in here)))
    # The same from the replica of another peer.
    peer = a.peers.Register(record(), timeout=LIMIT).node.id
    until(10, lambda: b.files.Changes(pb.ChangesRequest(peer=peer, epoch=epoch), timeout=LIMIT).head == since)
    refused(Status.NOT_FOUND, "not-found", a.files.Changes, pb.ChangesRequest(peer=ME), timeout=LIMIT)
    refused(Status.INVALID_ARGUMENT, "bad-request", a.files.Changes, pb.ChangesRequest(peer="x"), timeout=LIMIT)
    refused(Status.INVALID_ARGUMENT, "bad-request", a.files.Changes, pb.ChangesRequest(limit=1001), timeout=LIMIT)


# --- events ---

class Watcher:
    """Events as they come, on a thread of its own."""

    def __init__(self, peer, **request):
        self.seen, self.error = [], None
        self.call = peer.events.Watch(pb.WatchRequest(**request), timeout=60 * FACTOR)
        threading.Thread(target=self.follow, daemon=True).start()

    def follow(self):
        try:
            for event in self.call:
                self.seen.append(event)
        except grpc.RpcError as error:
            self.error = error

    def find(self, name):
        return next((event for event in self.seen if event.name == name), None)


def touch(name):
    with open(a.path(name), "w") as file:
        file.write(name)


def is_watching(watcher):
    """Only an event tells that a watch has begun."""
    touch(f"marker-{time.monotonic_ns()}")
    time.sleep(0.1)
    return watcher.seen


@check("Watch tells of a new file, here and there")
def _():
    watchers = [Watcher(a), Watcher(b)]
    for watcher in watchers:
        until(10, is_watching, watcher)
    touch("news")
    for watcher in watchers:
        event = until(10, watcher.find, "news")
        same((event.event, event.peer_name, event.content), ("file-added", "a", content_of(b"news")))
        watcher.call.cancel()
        until(10, lambda w=watcher: w.error and w.error.code() == Status.CANCELLED)


@check("Watch goes on after the last event that was seen, without a gap or a double")
def _():
    first = Watcher(a)
    until(10, is_watching, first)
    touch("before")
    last = until(10, first.find, "before")
    first.call.cancel()
    for name in ("meanwhile-1", "meanwhile-2"):
        touch(name)
        until(10, lambda n=name: names(a, text=n))
    second = Watcher(a, after=last.id)
    until(10, second.find, "meanwhile-2")
    touch("after")
    until(10, second.find, "after")
    second.call.cancel()
    seen = [event.name for event in second.seen if not event.name.startswith("marker-")]
    same(seen, ["meanwhile-1", "meanwhile-2", "after"])


@check("Watch after an event of another run begins with events-lost; after nonsense it is refused")
def _():
    lost = Watcher(a, after="12345-1")
    event = until(10, lambda: lost.seen and lost.seen[0])
    lost.call.cancel()
    same(event.event, "events-lost")
    refused(Status.INVALID_ARGUMENT, "bad-request", a.events.Watch, pb.WatchRequest(after="nonsense"), timeout=LIMIT)


# --- health ---

@check("health: Watch tells the status at once, and of a service that is not here that it is unknown")
def _():
    answers = health_pb2.HealthCheckResponse
    for service, wanted in (("", answers.SERVING), ("p2p.v1.Files", answers.SERVING), ("other", answers.SERVICE_UNKNOWN)):
        stream = a.health.Watch(health_pb2.HealthCheckRequest(service=service), timeout=LIMIT)
        same(next(stream).status, wanted)
        stream.cancel()
    refused(Status.NOT_FOUND, None, a.health.Check, health_pb2.HealthCheckRequest(service="other"), timeout=LIMIT)


# --- what is no message ---

def raw(kind, path, channel=a.channel):
    """A call of the channel that sends and answers bytes as they are."""
    return getattr(channel, kind)(path)


STAT, DOWNLOAD, UPLOAD = "/p2p.v1.Files/Stat", "/p2p.v1.Files/Download", "/p2p.v1.Files/Upload"
SEARCH, REGISTER = "/p2p.v1.Files/Search", "/p2p.v1.Peers/Register"


@check("what is no protobuf, is cut, or has strings that are not UTF-8 is a bad request")
def _():
    good = pb.StatRequest(file=pb.FileSpec(name="big.bin")).SerializeToString()
    broken = [good[:cut] for cut in range(1, len(good))] + [b"\xff" * 20, b"\x0a\xff\xff\xff\xff\x07", b"\x0b", b"\x08",
              b"\x0a\x04\x0a\x02\xc3\x28", b"\x0a\x05\x0a\x03\xed\xa0\x80", b"\x0a\x04\x0a\x02a\x00", b"\x12\x01\xff"]
    for data in broken:
        refused(Status.INVALID_ARGUMENT, "bad-request", raw("unary_unary", STAT), data, timeout=LIMIT)
    for data in (b"\xff\xff", b"\x0a\x7f"):
        refused(Status.INVALID_ARGUMENT, "bad-request", raw("unary_stream", DOWNLOAD), data, timeout=LIMIT)
        refused(Status.INVALID_ARGUMENT, "bad-request", raw("unary_stream", SEARCH), data, timeout=LIMIT)
        refused(Status.INVALID_ARGUMENT, "bad-request", raw("stream_unary", UPLOAD), iter([data]), timeout=LIMIT)
        refused(Status.INVALID_ARGUMENT, "bad-request", raw("stream_stream",
                "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"), iter([data]), timeout=LIMIT)
    same(stat(a, "big.bin").file.name, "big.bin")


@check("an enum's value that is not known is a bad request; a field that is not known is none")
def _():
    for field in (b"\x10\x63", b"\x18\x63", b"\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"):
        refused(Status.INVALID_ARGUMENT, "bad-request", raw("unary_stream", SEARCH), field, timeout=LIMIT)
    good = pb.StatRequest(file=pb.FileSpec(name="big.bin")).SerializeToString()
    same(bool(raw("unary_unary", STAT)(good + b"\xf8\x01\x05\xfa\x01\x03abc", timeout=LIMIT)), True)


@check("a repeated field without end costs nothing")
def _():
    for count, slug in ((10, "bad-request"), (30000, "bad-request"), (500000, "too-large")):
        flood = b"\x22\x00" * count  # addresses
        refused(Status.INVALID_ARGUMENT, slug, raw("unary_unary", REGISTER),
                b"\x0a" + bytes([len(flood) & 127 | 128, len(flood) >> 7 & 127 | 128, len(flood) >> 14]) + flood, timeout=LIMIT)


@check("a message over the limit is refused before it is read")
def _():
    over = (Status.RESOURCE_EXHAUSTED, Status.INVALID_ARGUMENT)
    refused(over, None, raw("unary_unary", STAT), b"\x0a\x80\x80\x80\x01" + bytes(2 * MIB), timeout=LIMIT)
    refused(over, None, upload, "large.bin", BIG[:2 * MIB], step=MIB + 64 * 1024 + 1)
    absent(a, "large.bin")
    same(upload("large.bin", BIG[:2 * MIB]).content.size, 2 * MIB)


@check("a method or a service that is not here is UNIMPLEMENTED")
def _():
    for path in ("/p2p.v1.Files/Nothing", "/p2p.v1.Nothing/Stat", "/p2p.v2.Files/Stat", "/", "/x", "/p2p.v1.Files/stat"):
        refused(Status.UNIMPLEMENTED, None, raw("unary_unary", path), b"", timeout=LIMIT)
    for kind in ("unary_stream", "stream_unary", "stream_stream"):
        data = b"" if kind.startswith("unary") else iter([b"", b""])
        refused(Status.UNIMPLEMENTED, None, raw(kind, "/p2p.v1.Files/Nothing"), data, timeout=LIMIT)
    many = [raw("unary_unary", "/p2p.v1.Files/Nothing").future(b"", timeout=LIMIT) for _ in range(100)]
    same({call.exception().code() for call in many}, {Status.UNIMPLEMENTED})


@check("100 calls at once on one connection are all answered")
def _():
    calls = [a.files.Stat.future(pb.StatRequest(file=pb.FileSpec(name=name)), timeout=LIMIT) for name in MANY]
    same([call.result().file.name for call in calls], MANY)


# --- deadlines, cancelling ---

@check("a deadline of 0, or one that passes, ends the call")
def _():
    for seconds in (0, 1e-9, 1e-4):
        refused(Status.DEADLINE_EXCEEDED, None, a.files.Download, pb.DownloadRequest(file=BY_NAME), timeout=seconds)
    refused(Status.DEADLINE_EXCEEDED, None, a.events.Watch, pb.WatchRequest(), timeout=0.3)
    feed, call = Feed(pb.UploadRequest(header=pb.UploadHeader(name="late.bin")), pb.UploadRequest(data=BIG[:MIB])), None
    call = a.files.Upload.future(feed, timeout=0.5)
    same(call.code(), Status.DEADLINE_EXCEEDED)
    feed.end()
    absent(a, "late.bin")
    until(10, nothing_partial)


def cancelled_unary():
    a.files.Stat.future(pb.StatRequest(file=BY_NAME), timeout=LIMIT).cancel()
    a.files.Layer.future(pb.LayerRequest(content=content_of(BIG)), timeout=LIMIT).cancel()


def cancelled_stream(peer, after):
    """After so many messages."""
    stream = peer.files.Download(pb.DownloadRequest(file=BY_NAME), timeout=LIMIT)
    for _ in range(after):
        next(stream)
    stream.cancel()


def cancelled_have():
    """Those that wait, and some that still ask."""
    begun = have(peer=ME).result()
    calls = [have(peer=ME, since=begun.next, wait_ms=30000) for _ in range(50)]
    stat(a, "big.bin")
    calls += [have(peer=ME, since=begun.next, wait_ms=30000) for _ in range(5)]
    for call in calls:
        call.cancel()


def cancelled_upload(sent):
    """After the header and so many bytes; they may still be on their way."""
    feed, call = begin("cancelled.bin", BIG[:sent])
    call.cancel()
    feed.end()


def cancelled_search():
    stream = a.files.Search(pb.SearchRequest(text="many"), timeout=LIMIT)
    next(stream)
    stream.cancel()


def cancelled_watch():
    a.events.Watch(pb.WatchRequest(), timeout=LIMIT).cancel()
    a.health.Watch(health_pb2.HealthCheckRequest(), timeout=LIMIT).cancel()


STAGES = {
    "a small call": cancelled_unary,
    "a question that waits for news": cancelled_have,
    "a download at its begin": lambda: cancelled_stream(a, 0),
    "a download after its first message": lambda: cancelled_stream(a, 1),
    "a download under way": lambda: cancelled_stream(a, 5),
    "a download of what others hold, at its begin": lambda: cancelled_stream(b, 0),
    "a download of what others hold, under way": lambda: cancelled_stream(b, 3),
    "an upload at its header": lambda: cancelled_upload(0),
    "an upload under way": lambda: cancelled_upload(3 * MIB),
    "a search": cancelled_search,
    "a watch": cancelled_watch,
}


KEPT = 8  # connections that two peers may keep for the next time, and descriptors that the library keeps for its threads
CANCELLED = 24  # calls: if each of them left something, that is more than what may be kept


def leaves_nothing(stage, peers):
    """Descriptors that each of the daemons has: soon no more than before but what may be kept.  The first call is for what they open
    once.  A second is enough on a quiet machine."""
    def held():
        return [(descriptors(peer.pid), descriptors(peer.pid, sockets=True)) for peer in peers]

    def are_back():
        return all(files <= old_files + KEPT and sockets <= old_sockets + KEPT
                   for (files, sockets), (old_files, old_sockets) in zip(held(), before))
    stage()
    before = held()
    for _ in range(CANCELLED):
        stage()
    until(10, are_back)


for what, stage in STAGES.items():
    check(f"cancelled: {what}; soon nothing of it is left")(lambda stage=stage: leaves_nothing(stage, (a, b)))


@check("what was cancelled left no name, and the daemon serves as before")
def _():
    until(10, nothing_partial)
    absent(a, "cancelled.bin")
    same(download(a, BY_NAME) == BIG, True)


@check("a client that is gone without a word leaves nothing")
def _():
    def client():
        other = Peer(sys.argv[2])
        stream = other.files.Download(pb.DownloadRequest(file=BY_NAME), timeout=LIMIT)
        next(stream)
        other.channel.close()
    leaves_nothing(client, (a,))


run_checks()
