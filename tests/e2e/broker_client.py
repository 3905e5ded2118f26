#!/usr/bin/python3
# SPDX-License-Identifier: MIT
#
# broker_client.py URL COMMAND ... - an independent AMQP client (pika) beside p2pd's own:
#
#   declare QUEUE KEY        a durable queue that gets what has this binding key
#   listen QUEUE FILE        appends each message as a line of JSON to FILE, until it is killed
#   publish KEY [BYTES]      rubbish: so many bytes of it, or standard input
#   check FILE               what listen wrote about files: "ok - ..." and "not ok - ..." lines
#   count FILE NAMES         how many of the names in the file NAMES were not told as new; how many messages came out of order;
#                            how many came twice
"""An independent AMQP client for the broker's scenario."""
import json
import sys
import time

import pika

EXCHANGE = "p2pd"


def connect(url):
    """A channel, with the exchange there."""
    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    channel.exchange_declare(EXCHANGE, "topic", durable=True)
    return connection, channel


def declare(url, queue, key):
    """Makes the queue."""
    connection, channel = connect(url)
    channel.queue_declare(queue, durable=True)
    channel.queue_bind(queue, EXCHANGE, key)
    connection.close()


def listen_once(url, queue, out):
    """Until the connection ends."""
    _, channel = connect(url)
    for method, properties, body in channel.consume(queue):
        try:
            parsed = json.loads(body.decode("utf-8"))
        except (UnicodeDecodeError, json.JSONDecodeError):
            parsed = None
        line = {
            "key": method.routing_key,
            "type": properties.type,
            "app": properties.app_id,
            "message_id": properties.message_id,
            "content_type": properties.content_type,
            "persistent": properties.delivery_mode == 2,
            "timestamp": properties.timestamp,
            "body": parsed,
        }
        out.write(json.dumps(line) + "\n")
        out.flush()
        channel.basic_ack(method.delivery_tag)


def listen(url, queue, path):
    """For ever: a broker that is killed comes back."""
    with open(path, "a", encoding="utf-8") as out:
        while True:
            try:
                listen_once(url, queue, out)
            except pika.exceptions.AMQPError:
                time.sleep(0.2)


def publish(url, key, size=None):
    """Rubbish."""
    connection, channel = connect(url)
    body = sys.stdin.buffer.read() if size is None else b"x" * int(size)
    channel.basic_publish(EXCHANGE, key, body)
    connection.close()


def say(name, fine, detail=""):
    """One line of the outcome."""
    print(f"{'ok' if fine else 'not ok'} - {name}")
    if not fine:
        print(f"# {detail}")


def check(path):
    """Nothing lost, nothing out of order, and each message is what the manual says."""
    with open(path, encoding="utf-8") as lines:
        messages = [json.loads(line) for line in lines]
    events = [m for m in messages if m["key"].split(".")[0] != "notice"]
    files = [m for m in events if m["key"].startswith("file.")]
    publishers = sorted({m["body"]["publisher"] for m in events})
    for publisher in publishers:
        seen, lost, order = set(), [], []
        mine = [m for m in events if m["body"]["publisher"] == publisher]
        for message in mine:
            number = int(message["message_id"].rsplit("-", 1)[1])
            if number in seen:
                continue  # sent twice after a break; the id tells
            if number != len(seen) + 1:
                (order if number < len(seen) + 1 else lost).append(number)
            seen.add(number)
        say(f"{len(mine)} events of {publisher[:8]}: none is lost", not lost, lost)
        say(f"none of {publisher[:8]} is out of order", not order, order)
        # What was not overwritten: the numbering of the files themselves.
        seqs = []
        for message in files:
            body = message["body"]
            if body["publisher"] == publisher and body["seq"] not in seqs:
                seqs.append(body["seq"])
        say(f"its {len(seqs)} changes of files come in their order, without a gap",
            seqs == list(range(1, len(seqs) + 1)), seqs)
    say("there are messages of two peers", len(publishers) == 2, publishers)
    say("each has the id of its body", all(m["message_id"] == m["body"]["id"] for m in events))
    say("each is persistent JSON of p2pd", all(
        m["persistent"] and m["content_type"] == "application/json" and m["app"] == "p2pd"
        and m["timestamp"] for m in events))
    say("its key is its type, with a dot", all(
        m["key"] == m["type"].replace("-", ".", 1) == m["body"]["event"].replace("-", ".", 1)
        for m in events))
    fields = {"id", "publisher", "event", "time", "peer", "peer_name", "name", "size", "root",
              "mtime", "mtime_ns", "epoch", "seq"}
    added = [set(m["body"]) for m in files if m["type"] == "file-added"]
    say("a new file comes with all its fields", all(f == fields for f in added),
        [f ^ fields for f in added if f != fields][:1])


def count(path, names):
    """Lost, out of order, twice."""
    with open(path, encoding="utf-8") as lines:
        bodies = [json.loads(line)["body"] for line in lines]
    with open(names, encoding="utf-8") as lines:
        wanted = set(lines.read().split())
    told, order, twice, last, seen = set(), 0, 0, {}, set()
    for body in bodies:
        if body["id"] in seen:
            twice += 1
            continue
        seen.add(body["id"])
        number = int(body["id"].rsplit("-", 1)[1])
        at = (number, body["seq"])
        before = last.get(body["publisher"], (0, 0))
        order += not (at[0] > before[0] and at[1] > before[1])
        last[body["publisher"]] = at
        if body["event"] == "file-added":
            told.add(body["name"])
    print(len(wanted - told), order, twice)


if __name__ == "__main__":
    if sys.argv[1] == "check":
        check(sys.argv[2])
    elif sys.argv[1] == "count":
        count(sys.argv[2], sys.argv[3])
    else:
        {"declare": declare, "listen": listen, "publish": publish}[sys.argv[2]](
            sys.argv[1], *sys.argv[3:])
