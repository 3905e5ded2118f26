# SPDX-License-Identifier: MIT
"""replay.py RECORD calls - how many calls record.c noted in the directory RECORD
replay.py RECORD CUT FLAVOUR SEED DIRECTORY... - makes the DIRECTORIES what a disk may hold when the power goes after CUT calls

Prints the marks (lines "mark TEXT" that somebody else wrote into the log) before the cut.

What was synced is there: the bytes of a file with its own sync, a name with the sync of its directory, and with it all names
before it, as on any file system with a journal.  Of the rest each FLAVOUR leaves something else:

    synced  nothing
    names   all names and lengths, but none of the bytes: zeros, or what was there before
    bytes   all bytes, but none of the names
    mixed   names up to a random one; of each file a random length of those it had and random sectors, so that writes are
            torn and out of order
    all     everything, which is what a kill leaves
    lying   everything, but for files named *.data, for whose last sync the disk did nothing: no program can survive
            that, and a test that notices nothing is none

Files keep their inodes: the second names in RECORD/keep are filled anew and linked to where they belong.
"""
import os
import random
import shutil
import sys

SECTOR = 512


class File:
    def __init__(self):
        self.now = bytearray()
        self.durable = self.before = b""  # as of the last sync, and of the one before
        self.lengths = [0]  # since the last sync
        self.dirty = set()  # sectors

    def write(self, at, data):
        if at > len(self.now):
            self.resize(at)
        self.now[at:at + len(data)] = data
        self.touch(at, len(data))

    def resize(self, length):
        old = len(self.now)
        if length < old:
            del self.now[length:]
        else:
            self.now.extend(bytes(length - old))
        self.touch(min(old, length), abs(length - old))

    def punch(self, at, length):
        length = min(length, len(self.now) - at)
        if length > 0:
            self.now[at:at + length] = bytes(length)
            self.touch(at, length)

    def touch(self, at, length):
        self.lengths.append(len(self.now))
        self.dirty.update(range(at // SECTOR, (at + length + SECTOR - 1) // SECTOR))

    def sync(self):
        self.before, self.durable = self.durable, bytes(self.now)
        self.lengths = [len(self.now)]
        self.dirty.clear()

    def forget_sync(self):
        self.now = self.before + bytes(len(self.now) - len(self.before))

    def left(self, flavour, chance):
        if flavour in ("bytes", "all", "lying"):
            return bytes(self.now)
        if flavour == "synced":
            return self.durable
        length = chance.choice(self.lengths) if flavour == "mixed" else len(self.now)
        left = bytearray(self.durable[:length])
        left.extend(bytes(length - len(left)))
        for sector in self.dirty if flavour == "mixed" else ():
            at, end = sector * SECTOR, min((sector + 1) * SECTOR, length, len(self.now))
            if at < end and chance.random() < 0.5:
                left[at:end] = self.now[at:end]
        return bytes(left)


class Names:
    """Paths: inodes of files, None for a directory."""

    def __init__(self):
        self.paths = {}
        self.steps = []  # (what, arguments), one for each change
        self.durable = 0  # so many of them

    def step(self, *step):
        self.steps.append(step)
        self.apply(self.paths, step)

    def sync(self, path):
        for i in range(len(self.steps), self.durable, -1):
            if os.path.dirname(self.steps[i - 1][-1]) == path:
                self.durable = i
                break

    @staticmethod
    def apply(paths, step):
        what, *rest = step
        if what == "set":
            paths[rest[1]] = rest[0]
        elif what == "unlink":
            paths.pop(rest[0], None)
        elif what == "rename":
            paths[rest[1]] = paths.pop(rest[0], None)
        elif what == "exchange":
            paths[rest[0]], paths[rest[1]] = paths[rest[1]], paths[rest[0]]

    def left(self, flavour, chance):
        count = len(self.steps)
        if flavour in ("synced", "bytes"):
            count = self.durable
        elif flavour == "mixed":
            count = chance.randint(self.durable, count)
        paths = {}
        for step in self.steps[:count]:
            self.apply(paths, step)
        return paths


def run(record, cut):
    """The disk after so many calls."""
    files, names, marks = {}, Names(), []
    data = open(os.path.join(record, "bytes"), "rb")
    calls = 0
    for line in open(os.path.join(record, "log"), encoding="utf-8"):
        what, *rest = line.rstrip("\n").split("\t")
        if what == "mark":
            marks.append(rest[0])
            continue
        if calls == cut:
            break
        calls += 1
        if what in ("mkdir", "unlink", "rename", "exchange"):
            names.step(*(("set", None, rest[0]) if what == "mkdir" else (what, *rest)))
        elif what == "syncdir":
            names.sync(rest[0])
        elif what == "link":
            names.step("set", rest[0], rest[1])
        else:
            file = files.setdefault(rest[0], File())
            if what == "open":
                if names.paths.get(rest[1]) != rest[0]:
                    names.step("set", rest[0], rest[1])
                if rest[2] == "1":
                    file.resize(0)
            elif what == "write":
                file.write(int(rest[1]), data.read(int(rest[2])))
            elif what == "truncate":
                file.resize(int(rest[1]))
            elif what == "punch":
                file.punch(int(rest[1]), int(rest[2]))
            elif what == "sync":
                file.sync()
    return files, names, marks, calls


def empty(directory):
    for entry in os.scandir(directory):
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path)
        else:
            os.unlink(entry.path)


def fill(path, content):
    with open(path, "r+b" if os.path.exists(path) else "wb") as file:
        file.truncate(0)
        for at in range(0, len(content), 1 << 16):  # zeros are holes
            part = content[at:at + (1 << 16)]
            if part.count(0) != len(part):
                file.seek(at)
                file.write(part)
        file.truncate(len(content))


def main():
    record, cut = sys.argv[1:3]
    if cut == "calls":
        print(run(record, -1)[3])
        return
    flavour, chance, directories = sys.argv[3], random.Random(int(sys.argv[4])), sys.argv[5:]
    files, names, marks, _ = run(record, int(cut))
    paths = names.left(flavour, chance)
    for directory in directories:
        os.makedirs(directory, exist_ok=True)
        empty(directory)
    for path in sorted(paths):  # what is above comes first
        inode = paths[path]
        if path in directories or not os.path.isdir(os.path.dirname(path)):
            continue
        if inode is None:
            os.mkdir(path, 0o700)
            continue
        kept = os.path.join(record, "keep", inode)
        if flavour == "lying" and path.endswith(".data"):
            files[inode].forget_sync()
        fill(kept, files[inode].left(flavour, chance))
        os.link(kept, path)
    print("\n".join(marks))


main()
