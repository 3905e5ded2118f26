# SPDX-License-Identifier: MIT
"""bep52.py - content ids as BEP 52 has them, by hashlib alone: what the daemon's answers are held against."""
import hashlib

LEAF = 16384


def sha(data):
    return hashlib.sha256(data).digest()


def fold(nodes, levels, padding=bytes(32)):
    """Up so many levels of the tree (None: to its root); what is missing on the right is padding."""
    while levels != 0 and (levels is not None or len(nodes) > 1):
        nodes = nodes + [padding] * (len(nodes) % 2)
        nodes = [sha(nodes[i] + nodes[i + 1]) for i in range(0, len(nodes), 2)]
        padding = sha(padding + padding)
        levels = levels and levels - 1
    return nodes


def leaves_of(data):
    return [sha(data[at:at + LEAF]) for at in range(0, len(data), LEAF)]


def root_of(data):
    return fold(leaves_of(data), None)[0] if data else sha(b"")


def layer_of(data, piece):
    return fold(leaves_of(data), (piece // LEAF).bit_length() - 1)
