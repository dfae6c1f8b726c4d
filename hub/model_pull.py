"""A variant of a model into a directory: each file proved by its SHA-256, then moved to its place.

What is there already and is right is not fetched; a file whose fetching broke off goes on where it stopped. Files of
the directory that the model does not have are left alone.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from hub.client import HubUnreachable, MusterClient
from registry import manifest
from registry.manifest import File, ManifestRefused, Packed
from registry.references import Revision

FILES_AT_ONCE = 4
PARTS = ".muster-pull"
_TRIES = 7  # in a row that brought nothing: the hub may be starting anew
_FIRST_WAIT_S = 0.2  # doubled each time
_READ = 4 << 20


class PullRefused(Exception):
    """Nothing wrong was put in its place."""

    def __init__(self, message: str, mend: str) -> None:
        super().__init__(message)
        self.mend = mend


Tell = Callable[[int, bool], None]  # so many bytes more, and whether they were fetched


@dataclass(frozen=True, slots=True)
class Wanted:
    name: str
    version: int
    variant: str
    digest: str
    manifest: manifest.Manifest
    tenant: str | None


def look(muster: MusterClient, name: str, revision: Revision, tenant: str | None = None) -> Wanted:
    """Raises PullRefused, and what the client raises."""
    told = muster.models.manifest(name, revision, tenant=tenant)
    try:
        read = manifest.read(Packed(told.digest, told.manifest.encode(), told.config.encode()))
    except ManifestRefused as error:
        raise PullRefused(f"the hub's manifest of {name} is not right: {error}", "ask the hub's admin") from error
    return Wanted(name, told.version, told.variant, told.digest, read, tenant)


def pull(
    muster: MusterClient, wanted: Wanted, directory: Path, tell: Tell, *, sleep: Callable[[float], None] = time.sleep
) -> None:
    """Raises PullRefused, OSError, and what the client raises."""
    parts = directory / PARTS
    parts.mkdir(parents=True, exist_ok=True)
    pulling = _Pulling(muster, wanted, directory, parts, tell, sleep)
    with ThreadPoolExecutor(FILES_AT_ONCE, thread_name_prefix="pull") as pool:
        ordered = sorted(wanted.manifest.files, key=lambda file: -file.size)
        tasks = [pool.submit(pulling.fetch, file) for file in ordered]
        try:
            for task in tasks:
                task.result()
        except BaseException:
            pulling.stopped.set()
            for task in tasks:
                task.cancel()
            raise
    shutil.rmtree(parts)


class _Pulling:
    def __init__(
        self,
        muster: MusterClient,
        wanted: Wanted,
        directory: Path,
        parts: Path,
        tell: Tell,
        sleep: Callable[[float], None],
    ) -> None:
        self.stopped = threading.Event()
        self._muster = muster
        self._wanted = wanted
        self._directory = directory
        self._parts = parts
        self._tell = tell
        self._sleep = sleep
        # By digest: an alias may move meanwhile.
        self._revision = Revision(commit=wanted.digest.removeprefix("sha256:")[:40], variant=wanted.variant)

    def fetch(self, file: File) -> None:
        place = self._place(file)
        if place.is_file() and place.stat().st_size == file.size and _sha256(place).hexdigest() == _hex(file):
            self._tell(file.size, False)
            return
        # Two files of the same bytes must not write to one part.
        part = self._parts / hashlib.sha256(f"{file.path}\0{file.sha256}".encode()).hexdigest()
        digest = self._whole(file, part)
        if digest != _hex(file):
            part.unlink()
            raise PullRefused(f"{file.path}: what came is not {file.sha256}", "try again; the way here broke it")
        place.parent.mkdir(parents=True, exist_ok=True)
        part.replace(place)
        _sync(place.parent)

    def _place(self, file: File) -> Path:
        """Raises PullRefused where a link of the directory leads out of it."""
        place = self._directory / file.path
        top = self._directory.resolve()
        if not place.parent.resolve().is_relative_to(top):
            raise PullRefused(f"{place.parent} leads out of {self._directory}", "remove that link")
        return place

    def _whole(self, file: File, part: Path) -> str:
        """Fetches what is missing of it; answers the digest of all."""
        if part.exists() and part.stat().st_size > file.size:
            part.unlink()
        whole = _sha256(part) if part.exists() else hashlib.sha256()
        done = part.stat().st_size if part.exists() else 0
        self._tell(done, False)
        tries = 0
        with part.open("ab", buffering=0) as out:
            while done < file.size:
                before = done
                try:
                    with self._muster.models.file(
                        self._wanted.name, self._revision, file.path, begin=done, tenant=self._wanted.tenant
                    ) as pieces:
                        for data in pieces:
                            if self.stopped.is_set():
                                raise PullRefused("the pull was stopped", "begin it again")
                            out.write(data)
                            whole.update(data)
                            done += len(data)
                            self._tell(len(data), True)
                            if done > file.size:
                                raise PullRefused(f"{file.path}: more came than it has", "ask the hub's admin")
                except HubUnreachable:
                    tries = 0 if done > before else tries + 1
                    if tries >= _TRIES:
                        raise
                    self._sleep(_FIRST_WAIT_S * 2**tries)
                else:
                    if done == before:
                        raise PullRefused(f"{file.path}: nothing came", "try again")
            os.fsync(out.fileno())
        return whole.hexdigest()


def _hex(file: File) -> str:
    return file.sha256.removeprefix("sha256:")


def _sha256(path: Path) -> hashlib._Hash:
    whole = hashlib.sha256()
    with path.open("rb") as opened:
        while data := opened.read(_READ):
            whole.update(data)
    return whole


def _sync(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
