"""Where a registry's chunks lie: objects under names that are given out once and never again.

A local directory, S3, Google Cloud Storage or Azure, by `obstore`. An object is written whole, never changed, and is on
the disk when `put` returns. Credentials of clouds are read from the environment, as their own tools do.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import obstore
from obstore import exceptions
from obstore.store import LocalStore, from_url

SCHEMES = ("file", "s3", "gs", "az", "azure", "abfs", "abfss")


class BlobMissing(Exception):
    """There is no object of this name."""


class BlobsUnavailable(Exception):
    """The store does not answer, is full, or refuses; the message is its own."""


class Blobs(Protocol):
    async def put(self, name: str, data: bytes) -> None:
        """Raises BlobsUnavailable; the object may be there all the same."""

    async def get(self, name: str) -> bytes:
        """Raises BlobMissing, BlobsUnavailable."""

    async def delete(self, names: Sequence[str]) -> None:
        """Those that are not there are no fault. Raises BlobsUnavailable; some may be deleted."""


def open_blobs(url: str) -> Blobs:
    """A path or file:// URL: a directory, made where it is missing. Raises ValueError, OSError."""
    scheme, separator, rest = url.partition("://")
    if not separator or scheme == "file":
        path = Path(rest if separator else url)
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return ObstoreBlobs(LocalStore(path), path)
    if scheme not in SCHEMES:
        raise ValueError(f"{url}: {scheme}:// is no store of objects that Muster knows (known: {', '.join(SCHEMES)})")
    try:
        return ObstoreBlobs(from_url(url))
    except exceptions.BaseError as error:
        raise ValueError(f"{url}: {_words(error)}") from error


class ObstoreBlobs:
    def __init__(self, store: Any, directory: Path | None = None) -> None:
        """`directory`: of a local store, which itself does not wait for the disk."""
        self._store = store
        self._directory = directory
        self._synced: set[Path] = set()  # directories whose own entries are on the disk

    async def put(self, name: str, data: bytes) -> None:
        try:
            await obstore.put_async(self._store, name, data, use_multipart=False)
            if self._directory is not None:
                await asyncio.to_thread(self._sync, self._directory, self._directory / name)
        except (exceptions.BaseError, OSError) as error:
            raise BlobsUnavailable(_words(error)) from error

    def _sync(self, top: Path, file: Path) -> None:
        """The file, its name in its directory, and the directories on the way that may be new."""
        _sync(file)
        _sync(file.parent)
        above = file.parent
        while above != top and above not in self._synced:
            _sync(above.parent)
            self._synced.add(above)
            above = above.parent

    async def get(self, name: str) -> bytes:
        try:
            return bytes(await (await obstore.get_async(self._store, name)).bytes_async())
        except (exceptions.NotFoundError, FileNotFoundError) as error:
            raise BlobMissing(name) from error
        except (exceptions.BaseError, OSError) as error:
            raise BlobsUnavailable(_words(error)) from error

    async def delete(self, names: Sequence[str]) -> None:
        for name in names:  # all at once, one that is missing would fail the others
            try:
                with suppress(exceptions.NotFoundError, FileNotFoundError):
                    await obstore.delete_async(self._store, name)
            except (exceptions.BaseError, OSError) as error:
                raise BlobsUnavailable(_words(error)) from error


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _words(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
