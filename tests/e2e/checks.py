# SPDX-License-Identifier: MIT
"""checks.py - what the clients in Python share: checks with a sentence each, and waiting with a bound.  lib.sh's checks_of counts what
they print.  Checks run in the order in which they stand; one that fails stops only itself.  CHECKS=TEXT in the environment runs only those
with the text in their sentence."""
import os
import sys
import time
import traceback

FACTOR = float(os.environ.get("TIMEOUT_FACTOR", "1"))
CHECKS = []


def check(sentence):
    """The decorated function must not raise."""
    def keep(function):
        CHECKS.append((sentence, function))
        return function
    return keep


def run_checks():
    for sentence, function in CHECKS:
        if os.environ.get("CHECKS", "") not in sentence:
            continue
        try:
            function()
            print("ok -", sentence, flush=True)
        except Exception:  # whatever it is, the next check still runs
            print("not ok -", sentence)
            for line in traceback.format_exc(limit=-6).splitlines():
                print("#", line[:600])
            sys.stdout.flush()


def same(got, wanted):
    if got != wanted:
        raise AssertionError(f"got {got!r:.300}, wanted {wanted!r:.300}")


def until(seconds, condition, *args):
    """Waits until the condition holds and answers what it said; never longer than the bound."""
    end = time.monotonic() + seconds * FACTOR
    while not (got := condition(*args)):
        if time.monotonic() > end:
            raise AssertionError(f"did not come true in {seconds} s: {getattr(condition, '__name__', condition)}{args}")
        time.sleep(0.02)
    return got


def descriptors(pid, sockets=False):
    """How many the process has open: of sockets, or of all else but the catalog, which each of its threads opens when it first reads it."""
    count = 0
    for number in os.listdir(f"/proc/{pid}/fd"):
        try:
            target = os.readlink(f"/proc/{pid}/fd/{number}")
        except FileNotFoundError:
            continue  # closed meanwhile
        count += target.startswith("socket:") == sockets and "/state/" not in target
    return count


def memory(pid, field="VmHWM"):
    """Bytes, from /proc/PID/status."""
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith(field + ":"))
