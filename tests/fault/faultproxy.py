# SPDX-License-Identifier: MIT
"""faultproxy.py LISTEN-PORT TARGET-PORT SCRIPT LOG - an HTTP relay on loopback that spoils answers.

SCRIPT is read anew for each request.  Its one line says what happens to the answers of requests whose line contains
MATCH ("/v1/contents/" if nothing is said):

    ACTION N TIMES [MATCH]

N is the action's number, TIMES how often it is done since the script was last written (0: always).  Actions:

    pass            nothing
    delay N         N ms later
    cut N           the first N bytes of the answer (header and body), then the end of the connection; an answer that is
                    no longer than that is not touched, here and in the next three
    rst N           the same, but by a reset
    stall N         the same, but then nothing more for as long as the other side waits
    drip N          the same, but then a byte a second
    crumbs N        all of it in segments of N bytes
    flip N          the lowest bit of byte N of the file is turned, if it is in this answer
    turn N          the same of byte N of the body, if it is so long
    short N         N bytes fewer than the header says, by a header that says so
    extra N         N bytes more than were asked for
    range N         Content-Range is off by N bytes
    whole N         200 instead of 206, without Content-Range
    html N          200 with a page that has the length of what was asked for
    error N         the status is N

LOG gets a line for each answer that was spoiled: ACTION N REQUEST-LINE.  An answer that the action does not touch is not counted.
"""
import asyncio
import os
import re
import socket
import struct
import sys

listen, target, script, log = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
done = {}  # of each version of the script, how often


def touches(action, number, head, body):
    if action == "flip":
        return 0 <= number - first_byte(head) < len(body)
    if action == "turn":
        return number < len(body)
    return action not in ("cut", "rst", "stall", "drip") or number < len(head) + len(body)


def wanted(request_line, head, body):
    try:
        with open(script) as file:
            words = file.read().split()
        version = os.stat(script).st_mtime_ns
    except OSError:
        return "pass", 0
    if not words or words[0] == "pass":
        return "pass", 0
    action, number, times, match = (words + ["0", "0", "/v1/contents/"][len(words) - 1:])[:4]
    if match not in request_line or not touches(action, int(number), head, body):
        return "pass", 0
    if int(times) and done.get(version, 0) >= int(times):
        return "pass", 0
    done[version] = done.get(version, 0) + 1
    with open(log, "a") as file:
        file.write(f"{action} {number} {request_line}\n")
    return action, int(number)


async def read_head(reader):
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return b""


def header(head, name):
    found = re.search(rb"\r\n" + name + rb":[ \t]*([^\r]*)", head, re.I)
    return found.group(1).decode() if found else None


def replaced(head, name, value):
    return re.sub(rb"(\r\n" + name + rb":[ \t]*)[^\r]*", lambda m: m.group(1) + value.encode(), head, flags=re.I)


def first_byte(head):
    found = re.match(r"bytes (\d+)-", header(head, b"content-range") or "")
    return int(found.group(1)) if found else 0


def with_status(head, status):
    head = re.sub(rb"^HTTP/1.1 \d+ [^\r]*", b"HTTP/1.1 " + status, head)
    return re.sub(rb"\r\ncontent-range:[^\r]*", b"", head, flags=re.I)


def spoil(head, body, action, number):
    """What concerns the content of an answer, not its way."""
    if action in ("flip", "turn"):
        at = number - (first_byte(head) if action == "flip" else 0)
        body = body[:at] + bytes([body[at] ^ 1]) + body[at + 1:]
    elif action == "short":
        body = body[:max(0, len(body) - number)]
        head = replaced(head, b"content-length", str(len(body)))
    elif action == "extra":
        body += b"x" * number
        head = replaced(head, b"content-length", str(len(body)))
    elif action == "range":
        moved = lambda m: str(int(m.group(0)) + number)
        value = header(head, b"content-range") or ""
        span, slash, size = value.partition("/")
        head = replaced(head, b"content-range", re.sub(r"\d+", moved, span) + slash + size)
    elif action == "whole":
        head = with_status(head, b"200 OK")
    elif action == "html":
        page = b"<html><body>Please log in.</body></html>"
        body = (page * (len(body) // len(page) + 1))[:len(body)]
        head = replaced(with_status(head, b"200 OK"), b"content-type", "text/html")
    elif action == "error":
        head = with_status(head, str(number).encode() + b" Spoiled")
    return head, body


def reset(writer):
    linger = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()


async def hand_over(reader, writer, answer, action, number):
    """Whether the connection is still good after it."""
    if action == "delay":
        await asyncio.sleep(number / 1000)
    if action == "crumbs":
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(0, len(answer), number):
            writer.write(answer[at:at + number])
            await writer.drain()
            await asyncio.sleep(0)
        return True
    if action not in ("cut", "rst", "stall", "drip"):
        writer.write(answer)
        await writer.drain()
        return True
    writer.write(answer[:number])
    await writer.drain()
    if action == "rst":
        await asyncio.sleep(0.01)
        reset(writer)
    for byte in answer[number:] if action == "drip" else ():
        await asyncio.sleep(1)
        writer.write(bytes([byte]))
        await writer.drain()
    if action == "stall":
        await reader.read(1)  # the other side asks nothing more before it has its answer: this is its end
    return False


async def pump(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


async def exchange(reader, writer, up_reader, up_writer):
    head = await read_head(reader)
    if not head:
        return False
    request_line = head.split(b"\r\n", 1)[0].decode("latin-1")
    up_writer.write(head + await reader.readexactly(int(header(head, b"content-length") or 0)))
    answer = await read_head(up_reader)
    length = header(answer, b"content-length")
    if not answer or length is None or request_line.startswith("HEAD"):
        # A stream of events, or an end: nothing of ours.
        writer.write(answer)
        await pump(up_reader, writer)
        return False
    body = await up_reader.readexactly(int(length))
    action, number = wanted(request_line, answer, body)
    answer, body = spoil(answer, body, action, number)
    return await hand_over(reader, writer, answer + body, action, number)


async def connected(reader, writer):
    up_writer = None
    try:
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", target, limit=1 << 20)
        while await exchange(reader, writer, up_reader, up_writer):
            pass
    except (OSError, asyncio.IncompleteReadError):
        pass
    finally:
        for each in (writer, up_writer):
            if each is not None:
                each.close()


async def main():
    async with await asyncio.start_server(connected, "127.0.0.1", listen) as server:
        await server.serve_forever()


asyncio.run(main())
