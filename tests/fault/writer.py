# SPDX-License-Identifier: MIT
"""writer.py SEED END ASIDE SHARE... - changes files in the shares, at random, until the file END exists.

The names are few, so that most of what is done meets something: a file is written again, or removed and made anew, or is a
directory the next time; directories move inside of a share, out of it (to ASIDE), into another, and back.  The same seed
does the same as long as the disk answers the same.  The last line printed says how often each kind of change was made.
"""
import collections
import os
import random
import shutil
import sys
import time

PAUSES_S = (0, 0.002, 0.01, 0.03, 0.1, 0.3)     # between two changes
SIZES = (0, 1, 100, 5000, 16384, 16385, 70000, 400000)
RARE_SIZE = 9 << 20     # hashed in slices
COPIED_MAX = 30         # files
PARTS = ("a", "b", "c", "d")


class Writer:
    def __init__(self, seed, aside, shares):
        self.random = random.Random(seed)
        self.aside = aside
        self.shares = shares
        self.done = collections.Counter()

    def directory(self):
        depth = self.random.choice((0, 1, 1, 2, 2, 3))
        return "/".join(self.random.choice(PARTS) for _ in range(depth))

    def path(self):
        return os.path.join(self.random.choice(self.shares), self.directory(), self.random.choice(PARTS + ("f", "g", "h")))

    def file(self):
        """One that is there, if there is any."""
        found = sorted(os.path.join(top, name) for top, _, names in os.walk(self.random.choice(self.shares)) for name in names
                       if ".p2pd-" not in top)
        return self.random.choice(found) if found else self.path()

    def tree(self):
        """A directory of a share, there or not; now and then one that lies aside."""
        if self.random.random() < 0.3:
            return os.path.join(self.aside, self.random.choice(PARTS))
        return os.path.join(self.random.choice(self.shares), self.random.choice(PARTS), self.random.choice(PARTS + ("",))).rstrip("/")

    def content(self):
        size = RARE_SIZE if self.random.random() < 0.004 else self.random.choice(SIZES)
        return self.random.randbytes(min(size, 65536)).ljust(size, b"x")

    # --- the changes: each may fail, as what it wants to change may not be there ---

    def write(self):
        path = self.path()
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(self.content())

    def write_slowly(self):
        with open(self.file(), "r+b") as file:
            for _ in range(self.random.randrange(2, 6)):
                file.write(self.content()[:100000])
                file.flush()
                time.sleep(self.random.choice(PAUSES_S))

    def write_in_place(self):
        """The same size, and often the same time."""
        with open(self.file(), "r+b") as file:
            before = os.fstat(file.fileno())
            file.write(self.random.randbytes(min(before.st_size, 100)))
            file.flush()
            if self.random.random() < 0.5:
                os.utime(file.fileno(), ns=(before.st_atime_ns, before.st_mtime_ns))

    def append(self):
        with open(self.file(), "ab") as file:
            file.write(self.content()[:1000])

    def truncate(self):
        os.truncate(self.file(), self.random.choice(SIZES[:5]))

    def replace(self):
        path = self.path()
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path + ".new", "wb") as file:
            file.write(self.content())
        try:
            os.rename(path + ".new", path)
        except OSError:
            os.remove(path + ".new")

    def rename(self):
        os.rename(self.file(), self.file() if self.random.random() < 0.3 else self.path())

    def remove(self):
        os.remove(self.file())

    def touch(self):
        os.utime(self.file(), None if self.random.random() < 0.7 else (1e9, 1e9))

    def change_mode(self):
        os.chmod(self.file(), self.random.choice((0o600, 0o644, 0o755)))

    def make_directories(self):
        os.makedirs(os.path.join(self.random.choice(self.shares), self.directory()), exist_ok=True)

    def move_tree(self):
        before, after = self.tree(), self.tree()
        if os.path.isdir(before):
            os.makedirs(os.path.dirname(after), exist_ok=True)
            os.rename(before, after)

    def move_tree_and_back(self):
        before, between = self.tree(), os.path.join(self.aside, "between")
        os.rename(before, between)
        try:
            time.sleep(self.random.choice(PAUSES_S))
        finally:
            os.makedirs(os.path.dirname(before), exist_ok=True)
            os.rename(between, before)

    def remove_tree(self):
        shutil.rmtree(self.tree())

    def copy_tree(self):
        before, after = self.tree(), self.tree()
        if sum(len(names) for _, _, names in os.walk(before)) <= COPIED_MAX:
            shutil.copytree(before, after)

    CHANGES = (
        (40, write), (4, write_slowly), (6, write_in_place), (4, append), (2, truncate), (6, replace), (8, rename), (10, remove),
        (3, touch), (2, change_mode), (3, make_directories), (5, move_tree), (3, move_tree_and_back), (1, remove_tree),
        (2, copy_tree),
    )

    def change(self):
        weights = [weight for weight, _ in self.CHANGES]
        what = self.random.choices([change for _, change in self.CHANGES], weights)[0]
        try:
            what(self)
            self.done[what.__name__] += 1
        except (OSError, shutil.Error):
            self.done["in vain"] += 1

    def run(self, end):
        while not os.path.exists(end):
            for _ in range(self.random.choice((1, 1, 1, 2, 5, 30))):
                self.change()
            time.sleep(self.random.choice(PAUSES_S) * 2)


def main():
    seed, end, aside, *shares = sys.argv[1:]
    writer = Writer(int(seed), aside, shares)
    writer.run(end)
    print(", ".join(f"{count} {what.replace('_', ' ')}" for what, count in writer.done.most_common()))


main()
