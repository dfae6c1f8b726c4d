"""Files that hold keys: readable by their owner only, and whole or not there, whatever happens during the writing."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def write(path: Path, content: bytes) -> None:
    """Replaces the file."""
    made = _written_beside(path, content)
    made.replace(path)
    _sync_directory(path.parent)


def create(path: Path, content: bytes) -> bool:
    """Makes the file unless it is there already; False then. Of several that try at once, one succeeds."""
    made = _written_beside(path, content)
    try:
        os.link(made, path)
    except FileExistsError:
        return False
    finally:
        made.unlink()
    _sync_directory(path.parent)
    return True


def _written_beside(path: Path, content: bytes) -> Path:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    made = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        made.unlink()
        raise
    return made


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
