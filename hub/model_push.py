"""A directory into the registry: cut here, and of its chunks only those are sent that the hub lacks.

Nothing is kept on this side: a push that was killed and is begun again cuts anew, and is told what is there already.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path

from hub.api.model_schemas import ModelFileIn, PublicationIn, PublishedOut
from hub.client import MusterClient
from registry import chunk_lists, cutting, digests, file_names
from registry.cutting import Chunk, CutFile
from registry.manifest import MAX_FILES

CHUNKS_AT_ONCE = 8
FILES_AT_ONCE = 2
_FORMATS = {".safetensors": "safetensors", ".gguf": "gguf", ".onnx": "onnx", ".pt": "pytorch", ".tflite": "tflite"}


class PushRefused(Exception):
    """It cannot be pushed as it is; nothing was published."""

    def __init__(self, message: str, mend: str) -> None:
        super().__init__(message)
        self.mend = mend


class Did(Enum):
    CUT = auto()  # read and hashed
    SENT = auto()
    KEPT = auto()  # it was there already


Tell = Callable[[Did, int], None]  # so many bytes more


@dataclass(frozen=True, slots=True)
class Source:
    path: Path
    name: str  # within the model
    size: int


@dataclass(frozen=True, slots=True)
class Found:
    files: tuple[Source, ...]
    left_out: tuple[str, ...]  # hidden ones, and what is no file

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)


@dataclass(frozen=True, slots=True)
class Label:
    """What it is published as."""

    name: str
    variant: str = "default"
    version: int = 0
    aliases: Sequence[str] = ()
    requires: Mapping[str, str] = field(default_factory=dict)
    measured: Mapping[str, str] = field(default_factory=dict)
    tenant: str | None = None


def look(directory: Path) -> Found:
    """What of a directory is the model: all but hidden files. Of a repository in Hugging Face's cache
    (`models--org--name`) the revision `main`, or its only one. Raises PushRefused."""
    files: list[Source] = []
    left_out: list[str] = []
    for path, name, hidden in _walk(_snapshot(directory)):
        if hidden:
            left_out.append(name)
            continue
        try:
            found = path.stat()
        except OSError as error:
            raise PushRefused(f"{path} cannot be read: {error.strerror}", "mend or remove it") from error
        if not stat.S_ISREG(found.st_mode):
            left_out.append(name)
        elif problem := file_names.problem_of(name):
            raise PushRefused(f"the file name {name!r} {problem}", "rename it")
        else:
            files.append(Source(path, name, found.st_size))
    if not files:
        raise PushRefused(f"there are no files in {directory}", "give the directory that holds the model")
    if len(files) > MAX_FILES:
        raise PushRefused(f"{directory} has {len(files)} files, at most {MAX_FILES} are taken", "leave some out")
    if clash := file_names.clash_of([file.name for file in files]):
        raise PushRefused(f"one file system could not hold both {clash}", "rename one of them")
    return Found(tuple(files), tuple(left_out))


def push(muster: MusterClient, found: Found, label: Label, tell: Tell) -> PublishedOut:
    """Raises PushRefused, and what the client raises."""
    with (
        ThreadPoolExecutor(CHUNKS_AT_ONCE, thread_name_prefix="chunks") as chunks,
        ThreadPoolExecutor(FILES_AT_ONCE, thread_name_prefix="files") as files,
    ):
        sending = _Sending(muster, label.tenant, chunks, tell)
        # The largest first: what is left to do at the end is small.
        ordered = sorted(found.files, key=lambda file: -file.size)
        tasks = [files.submit(sending.send, file) for file in ordered]
        try:
            stored = [task.result() for task in tasks]
        except BaseException:
            sending.stopped.set()
            for task in tasks:
                task.cancel()
            raise
    body = PublicationIn(
        files=stored,
        variant=label.variant,
        version=label.version,
        config=_config(found, label),
        requires=dict(label.requires),
        measured=dict(label.measured),
        aliases=list(label.aliases),
    )
    return muster.models.publish(label.name, body, tenant=label.tenant)


class _Sending:
    def __init__(self, muster: MusterClient, tenant: str | None, pool: ThreadPoolExecutor, tell: Tell) -> None:
        self.stopped = threading.Event()
        self._muster = muster
        self._tenant = tenant
        self._pool = pool
        self._tell = tell

    def send(self, file: Source) -> ModelFileIn:
        self._check()
        cut = self._cut(file)
        packed = chunk_lists.pack(cut.chunks)
        left = cut.size
        while not (state := self._muster.models.put_file(cut.sha256, cut.size, packed, tenant=self._tenant)).stored:
            self._check()
            if state.missing:
                sent = self._send_chunks(file, cut, state.missing)
                left -= sent
        self._tell(Did.KEPT, max(left, 0))
        return ModelFileIn(path=file.name, size=cut.size, sha256=cut.sha256)

    def _cut(self, file: Source) -> CutFile:
        try:
            cut = cutting.cut(file.path)
        except OSError as error:
            raise PushRefused(f"{file.path} cannot be read: {error.strerror}", "mend or remove it") from error
        if cut.size != file.size or sum(chunk.size for chunk in cut.chunks) != cut.size:
            raise _changed(file)
        self._tell(Did.CUT, cut.size)
        return cut

    def _send_chunks(self, file: Source, cut: CutFile, places: Sequence[int]) -> int:
        """Answers the bytes sent; a chunk that stands in several places is sent once."""
        wanted: dict[str, tuple[Chunk, int]] = {}
        offsets = _offsets(cut)
        for place in places:
            chunk = cut.chunks[place]
            wanted.setdefault(chunk.name, (chunk, offsets[place]))
        tasks = [self._pool.submit(self._send_chunk, file, chunk, offset) for chunk, offset in wanted.values()]
        try:
            return sum(task.result() for task in tasks)
        finally:
            for task in tasks:
                task.cancel()

    def _send_chunk(self, file: Source, chunk: Chunk, offset: int) -> int:
        self._check()
        with file.path.open("rb") as opened:
            opened.seek(offset)
            data = opened.read(chunk.size)
        if digests.chunk_of(data) != chunk.name:
            raise _changed(file)
        self._muster.models.put_chunk(chunk.name, data, tenant=self._tenant)
        self._tell(Did.SENT, chunk.size)
        return chunk.size

    def _check(self) -> None:
        if self.stopped.is_set():
            raise PushRefused("the push was stopped", "begin it again")


def _changed(file: Source) -> PushRefused:
    return PushRefused(f"{file.path} changed while it was pushed", "push it again when nobody writes to it")


def _offsets(cut: CutFile) -> list[int]:
    offsets, position = [], 0
    for chunk in cut.chunks:
        offsets.append(position)
        position += chunk.size
    return offsets


def _walk(directory: Path) -> Iterator[tuple[Path, str, bool]]:
    for top, folders, names in os.walk(directory):
        folders.sort()
        base = Path(top)
        for name in sorted(names):
            within = (base / name).relative_to(directory).as_posix()
            yield base / name, within, name.startswith(".")
        for folder in list(folders):
            if folder.startswith(".") or (base / folder).is_symlink():
                folders.remove(folder)
                yield base / folder, (base / folder).relative_to(directory).as_posix() + "/", True


def _snapshot(directory: Path) -> Path:
    """Raises PushRefused."""
    if not directory.is_dir():
        raise PushRefused(f"{directory} is no directory", "give the directory that holds the model")
    snapshots = directory / "snapshots"
    if not (directory.name.startswith("models--") and snapshots.is_dir()):
        return directory
    main = directory / "refs" / "main"
    there = sorted(path.name for path in snapshots.iterdir() if path.is_dir())
    wanted = main.read_text().strip() if main.is_file() else there[0] if len(there) == 1 else ""
    if wanted not in there:
        raise PushRefused(
            f"{directory} has {len(there)} revisions and no refs/main", f"give one of them: {snapshots}/REVISION"
        )
    return snapshots / wanted


def _config(found: Found, label: Label) -> dict[str, str]:
    formats = {_FORMATS[suffix] for file in found.files if (suffix := file.path.suffix.lower()) in _FORMATS}
    words = {"format": formats.pop()} if len(formats) == 1 else {}
    return words | {key: label.requires[key] for key in ("architecture", "precision") if key in label.requires}
