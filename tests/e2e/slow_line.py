# SPDX-License-Identifier: MIT
"""slow_line.py LISTEN-PORT TARGET-PORT RATE-FILE - a TCP relay on loopback that lets so many bytes a second through,
in all, from the target to those who connect.  The file is read again and again; 0: no limit."""
import asyncio
import sys
import time

listen, target, rate_file = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
free_at = 0.0


def rate():
    try:
        with open(rate_file) as file:
            return int(file.read() or 0)
    except (OSError, ValueError):
        return 0


async def pump(reader, writer, limited):
    global free_at
    try:
        while data := await reader.read(65536):
            if limited and (bps := rate()):
                free_at = max(free_at, time.monotonic()) + len(data) / bps
                await asyncio.sleep(max(0.0, free_at - time.monotonic()))
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


async def connected(reader, writer):
    try:
        theirs = await asyncio.open_connection("127.0.0.1", target)
    except OSError:
        writer.close()
        return
    await asyncio.gather(pump(reader, theirs[1], False), pump(theirs[0], writer, True))


async def main():
    async with await asyncio.start_server(connected, "127.0.0.1", listen) as server:
        await server.serve_forever()


asyncio.run(main())
