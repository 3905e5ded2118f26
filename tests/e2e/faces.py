# SPDX-License-Identifier: MIT
"""faces.py - the events of one daemon as its four faces tell them, held against each other.

    rest PORT FILE AFTER [progress]      appends each event after that one to FILE, a line of JSON each, until it is killed
    grpc PORT FILE AFTER [progress]      the same, of Watch (stubs in PYTHONPATH)
    control SOCKET FILE AFTER            the same, of the control protocol, with progress
    run PORT                             the number of the daemon's run
    check DIRECTORY WHAT...              what the listeners wrote into DIRECTORY/{ctl,rest,grpc,amqp}: check_WHAT()

What differs by design is taken away by of_ctl(), of_rest(), of_grpc() and of_amqp(), and by nothing else:

    p2pctl --json   has `code`, the number of the kind in the control protocol; no `mtime`
    REST            has `mtime`, the time of mtime_ns in words
    gRPC            times are milliseconds, roots are bytes; size and root stand in `content`; nothing is 0 or ""
    AMQP            ids are PUBLISHER-EPOCH-NUMBER; has `publisher`, `epoch` and `seq`; each change of a file is told, also
                    where the others say files-changed; a change of a file may stand before an event of another sort that
                    was told just before it"""
import base64
import calendar
import http.client
import json
import os
import re
import socket
import sys
import time

from checks import FACTOR, check, run_checks, same

HERE = os.path.dirname(os.path.abspath(__file__))
ROWS = re.findall(r'^EVENT\(\w+,\s*"([a-z-]+)",\s*(\d+), +(true|false)', open(f"{HERE}/../../daemon/events.def").read(), re.M)
CODES = {name: int(code) for name, code, _ in ROWS}
KEPT = {name for name, _, kept in ROWS if kept == "true"}


# --- listening ---

def sse(port, after, query=""):
    """The fields of each event: id, event, data."""
    connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=60 * FACTOR)
    connection.request("GET", "/v1/events" + query, headers={"Last-Event-ID": after})
    answer = connection.getresponse()
    same(answer.status, 200)
    fields = {}
    for line in iter(answer.readline, b""):
        key, _, value = line.decode().rstrip("\n").partition(": ")
        if key:
            fields[key] = value
        elif "data" in fields:
            yield {**fields, "data": json.loads(fields["data"])}
            fields = {}


def watch(port, after, **request):
    """The messages of gRPC."""
    import grpc
    import p2p_pb2
    import p2p_pb2_grpc
    channel = grpc.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.enable_http_proxy", 0)])
    return p2p_pb2_grpc.EventsStub(channel).Watch(p2p_pb2.WatchRequest(after=after, **request), timeout=120 * FACTOR)


def control(path, after):
    """The events of the control protocol, with progress, as p2pctl --json shows them."""
    wire = socket.socket(socket.AF_UNIX)
    wire.connect(path)
    wire.sendall(f"watch progress=yes after={after}\n".encode())
    for line in wire.makefile(encoding="utf-8"):
        if not line.startswith("6"):
            continue
        code, word, pairs = line.split(" ", 2)
        event = {"event": word, "code": int(code)}
        for key, value in re.findall(r'(\w+)=("(?:[^"\\]|\\.)*"|\S*)', pairs):
            value = re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value
            event[key] = int(value) if value.isdigit() else value
        yield event


def fields_of(message):
    from google.protobuf.json_format import MessageToDict
    return MessageToDict(message, preserving_proto_field_name=True)


def listen(events, path):
    with open(path, "a", encoding="utf-8") as out:
        for event in events:
            out.write(json.dumps(event) + "\n")
            out.flush()


# --- one format ---

def milliseconds(text):
    match = re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{3}))?Z", text)
    return calendar.timegm(time.strptime(match[1], "%Y-%m-%dT%H:%M:%S")) * 1000 + int(match[2] or 0)


def plain(event):
    """Nothing that is 0 or empty; times as numbers."""
    event = {key: value for key, value in event.items() if value not in (0, "", None)}
    if "time" in event:
        event["time_ms"] = milliseconds(event.pop("time"))
    return event


def of_ctl(event):
    same(event["code"], CODES[event["event"]])
    return plain({key: value for key, value in event.items() if key != "code"})


def without_mtime(event):
    same("mtime" in event, "mtime_ns" in event)
    if "mtime" in event:
        same(milliseconds(event["mtime"]), event["mtime_ns"] // 1000000)
    return plain({key: value for key, value in event.items() if key != "mtime"})


def of_rest(event):
    data = event["data"]
    same((event.get("id"), event["event"]), (data.get("id"), data["event"]))
    return without_mtime(data)


NUMBERS = ("time_ms", "mtime_ns", "fetch", "done_bytes", "total_bytes", "rate_bps", "lost", "follow")  # 64 bits are texts in JSON


def of_grpc(event):
    content = event.pop("content", None)
    event = {key: int(value) if key in NUMBERS else value for key, value in event.items()}
    if content is not None:
        event["size"] = int(content.get("size", 0))
        event["root"] = base64.b64decode(content["root"]).hex()
    return plain(event)


def of_amqp(message):
    body = message["body"]
    same((message["message_id"], message["type"], message["key"]),
         (body["id"], body["event"], body["event"].replace("-", ".", 1)))
    same(message["timestamp"], milliseconds(body["time"]) // 1000)
    same(("epoch" in body, "seq" in body), (body["event"] in FILE_KINDS,) * 2)
    return without_mtime({key: value for key, value in body.items() if key not in ("publisher", "epoch", "seq")})


FILE_KINDS = ("file-added", "file-changed", "file-removed")
MAKE = {"ctl": of_ctl, "rest": of_rest, "grpc": of_grpc, "amqp": of_amqp}
LIVE = ("ctl", "rest", "grpc")


def told(directory, face):
    """What a face told, in one format; of AMQP without notices."""
    with open(f"{directory}/{face}", encoding="utf-8") as lines:
        events = [json.loads(line) for line in lines]
    if face == "amqp":
        events = [event for event in events if not event["key"].startswith("notice.")]
    return [MAKE[face](event) for event in events]


def number(event):
    return int(event["id"].rsplit("-", 1)[1])


def without(event, *keys):
    return {key: value for key, value in event.items() if key not in keys}


def first_difference(ours, theirs):
    """None, or what they say first that is not the same."""
    for mine, other in zip(ours, theirs):
        if mine != other:
            return {key: (mine.get(key), other.get(key)) for key in {**mine, **other} if mine.get(key) != other.get(key)}, mine
    return None if len(ours) == len(theirs) else f"{len(ours)} and {len(theirs)} events"


def sorts(events):
    """As AMQP keeps their order: changes of files by whose they are, and all others."""
    parts = {}
    for event in events:
        if event["event"] not in ("files-changed", "events-lost"):
            parts.setdefault(event["peer"] if event["event"] in FILE_KINDS else "", []).append(without(event, "id"))
    return parts


# --- checks ---

def check_live(directory):
    events = {face: told(directory, face) for face in LIVE}

    for face in ("rest", "grpc"):
        @check(f"{face} tells the {len(events['ctl'])} events that p2pctl tells: kinds, order, ids, times and all else")
        def _(face=face):
            # When one was told that some are lost is the listener's own.
            strip = [[without(event, "time_ms") if event["event"] == "events-lost" else event for event in events[one]]
                     for one in ("ctl", face)]
            same(first_difference(*strip), None)


def check_unbroken(directory):
    @check("p2pctl, REST and gRPC: each event of the run came once, none was lost, before and after the break")
    def _():
        for face in LIVE:
            numbers = [number(event) for event in told(directory, face)]
            same(numbers, list(range(1, len(numbers) + 1)))


def check_broker(directory):
    live, broker = told(directory, "ctl"), told(directory, "amqp")

    @check("AMQP: the ids go on by one: none is lost, none comes twice")
    def _():
        numbers = [number(event) for event in broker]
        same(numbers, list(range(numbers[0], numbers[0] + len(numbers))))

    # Whose files went as a whole, with who had them, is told so by all four.
    gone = {event["peer"] for event in live if event["event"] == "peer-forgotten"}
    wholes = [[without(event, "id") for event in events if event["event"] == "files-changed" and event.get("peer") in gone]
              for events in (live, broker)]
    cut = {event.get("peer") for event in live if event["event"] == "files-changed"} - gone

    @check(f"AMQP tells the same of the files of {len(gone)} peers that were forgotten")
    def _():
        same(first_difference(*wholes), None)
        same(len(wholes[0]), len(gone))

    @check("AMQP tells the same: kinds, order, times, names, contents, peers, fetches, reasons")
    def _():
        ours, theirs = sorts(live), sorts(broker)
        same(sorted(ours), sorted(theirs))
        for peer, events in ours.items():
            if peer in cut:
                rest = theirs[peer]
                same([event for event in events if event not in rest], [])
                theirs[peer] = [event for event in rest if event in events]
                print(f"# where the others say files-changed it tells {len(rest) - len(events)} files")
                same(len(rest) > len(events), True)
            same(first_difference(events, theirs[peer]), None)


def check_kinds(*directories):
    seen = {event["event"] for directory in directories for event in told(directory, "ctl")}

    @check("that was every kind that is kept")
    def _():
        same(KEPT - seen, set())


def check_lost(directory, last):
    """Its lines begin with what was lost, after the event `last`."""
    for face in LIVE:
        @check(f"{face}: the first word is that events are lost, and what is kept follows without a gap")
        def _(face=face):
            events = told(directory, face)
            first, numbers = events[0], [number(event) for event in events]
            same((first["event"], bool(first.get("text"))), ("events-lost", True))
            same(numbers, list(range(numbers[0], numbers[0] + len(numbers))))
            run, before = last.split("-")
            is_same_run = first["id"].split("-")[0] == run
            same(first.get("lost", 0), numbers[0] - int(before) if is_same_run else 0)
            print(f"# {first['text']}")


def check_broker_lost(directory):
    @check("AMQP: a full outbox says how many events it has dropped, and that is what is missing")
    def _():
        events = told(directory, "amqp")
        at = [i for i, event in enumerate(events) if event["event"] == "events-lost"]
        same(len(at), 1)
        mark, before = events[at[0]], events[at[0] - 1]
        same((mark["lost"], bool(mark.get("text"))), (number(mark) - number(before), True))
        numbers = [number(event) for event in events[at[0]:]]
        same(numbers, list(range(numbers[0], numbers[0] + len(numbers))))
        print(f"# {mark['text']}")
        ours = sorts(told(directory, "ctl"))
        for sort, tail in sorts(events[at[0]:]).items():
            same(first_difference(ours[sort][-len(tail):], tail), None)


def check_broker_anew(directory):
    @check("AMQP: over the restart nothing is lost: its ids go on, and it tells all that the others tell of the new run")
    def _():
        events = told(directory, "amqp")
        begin = max(i for i, event in enumerate(events) if event["event"] == "events-lost")
        numbers = [number(event) for event in events[begin:]]
        same(numbers, list(range(numbers[0], numbers[0] + len(numbers))))
        theirs = sorts(events[begin:])
        for sort, run in sorts(told(directory, "ctl")).items():
            same(first_difference(run, theirs[sort][-len(run):]), None)


def check_progress(directory):
    events = {face: told(directory, face) for face in LIVE}
    parts = {face: [event for event in events[face] if event["event"] == "fetch-progress"] for face in LIVE}

    @check("progress: REST and gRPC tell the same of it, without an id")
    def _():
        same(first_difference(events["rest"], events["grpc"]), None)
        same([event for event in parts["rest"] if "id" in event], [])
        same(len(parts["rest"]) > 0, True)

    @check("the control protocol tells of it what they tell, or the newest of it, with the id of what was told before")
    def _():
        same(len(parts["ctl"]) > 0, True)
        for event in parts["ctl"]:
            same(without(event, "id") in parts["rest"], True)
            same("id" in event, True)


if __name__ == "__main__":
    command, *rest = sys.argv[1:]
    if command == "rest":
        listen(sse(rest[0], rest[2], "?progress=yes" if rest[3:] else ""), rest[1])
    elif command == "grpc":
        listen(map(fields_of, watch(rest[0], rest[2], with_progress=bool(rest[3:]))), rest[1])
    elif command == "control":
        listen(control(rest[0], rest[2]), rest[1])
    elif command == "run":
        print(next(sse(rest[0], "0-0"))["id"].split("-")[0])
    else:
        globals()["check_" + rest[1].replace("-", "_")](rest[0], *rest[2:])
        run_checks()
