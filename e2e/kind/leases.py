"""Which session the kind clusters of a name prefix belong to, so that what a killed session left behind can be removed.

A lease is a file under ~/.cache/muster/kind, locked for as long as its process lives: the kernel lets go of it after
kill -9 too. A file that nobody holds is a session that ended without taking its clusters away.
"""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import IO


class Lease:
    """Held until `close`, or until the process ends."""

    def __init__(self, prefix: str, held: IO[str], path: Path) -> None:
        self.prefix = prefix
        self._held = held
        self._path = path

    def close(self) -> None:
        """To be called when nothing of the prefix is left, or what is left is the user's own from now on."""
        self._path.unlink(missing_ok=True)
        self._held.close()


def take(directory: Path, prefix: str) -> Lease | None:
    """None where another process holds it."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{prefix}.lease"
    held = path.open("a")
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        held.close()
        return None
    return Lease(prefix, held, path)


def abandoned(directory: Path) -> list[Lease]:
    """What sessions left behind that were killed; each is held by the caller, who closes it when it has tidied up."""
    prefixes = sorted(path.stem for path in directory.glob("*.lease"))
    return [lease for prefix in prefixes if (lease := take(directory, prefix)) is not None]
