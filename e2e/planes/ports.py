"""Loopback ports for programs that must come back on the same port after a restart.

A port that the kernel hands out for `bind(0)` is also one that it may give to any outgoing connection a moment later,
just while the program that had it is down. So these are taken from below the ephemeral range, at a random place, and
each is checked to be free.
"""

from __future__ import annotations

import random
import socket
from pathlib import Path

_taken: set[int] = set()


def free_port() -> int:
    """A free port of 127.0.0.1 that this session has not handed out yet."""
    first = _first_ephemeral()
    for _ in range(1000):
        port = random.randrange(10_000, first) if first > 12_000 else 0
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            port = int(probe.getsockname()[1])
        if port not in _taken:
            _taken.add(port)
            return port
    raise RuntimeError("no free loopback port in a thousand tries")


def _first_ephemeral() -> int:
    try:
        return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except (OSError, ValueError):
        return 32_768
