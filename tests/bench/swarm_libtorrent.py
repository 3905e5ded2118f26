#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""swarm_libtorrent.py - one peer of libtorrent, in the lab of swarm.sh.

    torrent FILE ANNOUNCE                  FILE's torrent, of the kind and piece size that libtorrent chooses by itself,
                                           to standard output
    peer WIRES TORRENT DIRECTORY READY GO TIMES
                                           a session with the default settings, or, where WIRES is "tcp", without
                                           uTP, which gives way to every queue and so is slower here; makes the file READY when it is up, adds the torrent once GO is
                                           there, and writes to TIMES when it began and was complete, in microseconds;
                                           then seeds until it is ended

What the session tells (alerts) goes to standard output.
"""
import os
import sys
import time

import libtorrent as lt


def torrent(path, announce):
    files = lt.file_storage()
    lt.add_files(files, path)
    made = lt.create_torrent(files)
    made.add_tracker(announce)
    lt.set_piece_hashes(made, os.path.dirname(path))
    return lt.bencode(made.generate())


def now_us():
    return time.time_ns() // 1000


def await_file(path):
    while not os.path.exists(path):
        time.sleep(0.002)


def write_whole(path, text):
    with open(path + ".new", "w", encoding="ascii") as file:
        file.write(text)
    os.rename(path + ".new", path)


def peer(wires, path, directory, ready, go, times):
    settings = {"alert_mask": lt.alert.category_t.error_notification | lt.alert.category_t.status_notification}
    if wires == "tcp":
        settings.update(enable_outgoing_utp=False, enable_incoming_utp=False)
    session = lt.session(settings)
    params = lt.add_torrent_params()
    params.ti = lt.torrent_info(path)
    params.save_path = directory
    write_whole(ready, "")
    await_file(go)
    begin = now_us()
    session.add_torrent(params)
    is_complete = False
    while True:
        session.wait_for_alert(1000)
        for alert in session.pop_alerts():
            print(now_us() - begin, alert.what(), alert.message(), flush=True)
            if isinstance(alert, lt.torrent_finished_alert) and not is_complete:
                is_complete = True
                write_whole(times, f"{begin} {now_us()}\n")


def main():
    if sys.argv[1] == "torrent":
        sys.stdout.buffer.write(torrent(*sys.argv[2:]))
    else:
        peer(*sys.argv[2:])


main()
