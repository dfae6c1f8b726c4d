"""Copies everything under a URI into a directory: object stores and files, by obstore, a few files at a time.

A file counts once it has the size, and was read under the e-tag, that the listing said; it is written beside its place
and moved there, and a line in `.muster-copied` says so. Done again after any end, only what is missing is copied, and
what has changed at the source since. What is no longer at the source stays.

Not promised: a snapshot of a source that changes meanwhile; resuming within a file.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Any

import obstore
import orjson
from obstore import exceptions
from obstore.store import HTTPStore, LocalStore, from_url
from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from placement import sizes
from spoke.staging.port import CannotStage, Told

AT_ONCE = 8
LOG = ".muster-copied"
_PART = ".muster-part"
_NO_RETRIES: Any = {"max_retries": 0, "retry_timeout": timedelta(seconds=60)}  # they are made here, and bounded
_CHUNK_BYTES = 8 << 20
_OPTIONS = ("aws_", "azure_", "google_")
_KEYS = ("aws_access_key_id", "aws_web_identity_token_file", "aws_container_credentials_relative_uri")
_FINAL = (
    CannotStage,
    exceptions.NotFoundError,
    exceptions.PermissionDeniedError,
    exceptions.UnauthenticatedError,
    exceptions.NotSupportedError,
    exceptions.UnknownConfigurationKeyError,
    exceptions.InvalidPathError,
)

Store = Any  # obstore's stores have no common public type for what is read here


@dataclass(frozen=True, slots=True)
class _File:
    path: str  # in the store
    size: int
    etag: str

    @property
    def line(self) -> bytes:
        return orjson.dumps([self.path, self.size, self.etag]) + b"\n"


async def copy(
    source: str,
    target: Path,
    options: Mapping[str, str],
    told: Told,
    *,
    at_once: int = AT_ONCE,
    attempts: int = 5,
    wait_s: float = 1.0,
) -> int:
    """Answers how many bytes are there. `options`: what the store takes, named as in the environment
    (AWS_ACCESS_KEY_ID, AWS_ENDPOINT …). Raises CannotStage."""
    retrying = AsyncRetrying(
        retry=retry_if_exception(_may_pass),
        stop=stop_after_attempt(attempts),
        wait=wait_random_exponential(multiplier=wait_s, max=30 * wait_s),
        reraise=True,
    )
    try:
        store, root = _open(source, options)
        files: list[_File] = await retrying(_list, store, root)
        await asyncio.to_thread(target.mkdir, 0o777, True, True)
        return await _Copier(store, root, target, told, retrying).run(files, at_once)
    except CannotStage:
        raise
    except (exceptions.BaseError, OSError, ValueError) as error:
        raise CannotStage(f"{source} cannot be copied: {_sentence(error)}") from error


@dataclass(slots=True)
class _Count:
    bytes: int = 0


class _Copier:
    def __init__(self, store: Store, root: str, target: Path, told: Told, retrying: AsyncRetrying) -> None:
        self._store = store
        self._root = root
        self._target = target
        self._told = told
        self._retrying = retrying
        self._done = 0
        self._total = 0

    async def run(self, files: Sequence[_File], at_once: int) -> int:
        self._total = sum(file.size for file in files)
        missing = await asyncio.to_thread(self._missing, files)
        left = sum(file.size for file in missing)
        self._done = self._total - left
        self._told(self._done, self._total)
        self._check_room(left)
        queue = iter(missing)
        workers = [asyncio.create_task(self._work(queue)) for _ in range(min(at_once, len(missing)))]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
        return self._total

    def _missing(self, files: Sequence[_File]) -> list[_File]:
        log = self._target / LOG
        copied = set(log.read_bytes().splitlines(keepends=True)) if log.exists() else set()
        return [file for file in files if file.line not in copied or not self._is_there(file)]

    def _is_there(self, file: _File) -> bool:
        try:
            return self._place(file).stat().st_size == file.size
        except FileNotFoundError:
            return False

    def _check_room(self, left: int) -> None:
        free = shutil.disk_usage(self._target).free
        if left > free:
            raise CannotStage(f"there is no room: {sizes.words(left)} are to be copied, {sizes.words(free)} are free")

    async def _work(self, queue: Iterator[_File]) -> None:
        for file in queue:
            await self._retrying(self._fetch, file)

    async def _fetch(self, file: _File) -> None:
        place = self._place(file)
        # A name of its own, and short: what is longer than a file system takes may be a file's own name and a little.
        part = place.with_name(f"{_PART}-{sha256(file.path.encode()).hexdigest()[:32]}")
        written = _Count()
        try:
            await self._stream(file, part, written)
            await asyncio.to_thread(self._keep, file, part, place)
        except BaseException:
            self._done -= written.bytes
            part.unlink(missing_ok=True)
            raise

    async def _stream(self, file: _File, part: Path, written: _Count) -> None:
        got = await obstore.get_async(self._store, file.path)
        found = got.meta.get("e_tag") or ""
        if file.etag and found and found != file.etag:
            raise OSError(f"{file.path} has changed since it was listed")
        await asyncio.to_thread(part.parent.mkdir, 0o777, True, True)
        with part.open("wb") as out:
            async for chunk in got.stream(min_chunk_size=_CHUNK_BYTES):
                await asyncio.to_thread(out.write, bytes(chunk))
                written.bytes += len(chunk)
                self._done += len(chunk)
                self._told(self._done, self._total)
            await asyncio.to_thread(_settle, out)
        if written.bytes != file.size:
            raise OSError(f"{file.path} has {file.size} bytes, and {written.bytes} came")

    def _keep(self, file: _File, part: Path, place: Path) -> None:
        part.replace(place)
        with (self._target / LOG).open("ab") as log:
            log.write(file.line)

    def _place(self, file: _File) -> Path:
        relative = PurePosixPath(file.path.removeprefix(self._root).lstrip("/") or file.path.rpartition("/")[2])
        if relative.is_absolute() or ".." in relative.parts or relative.parts[-1] == LOG:
            raise CannotStage(f"{file.path!r} is no name for a file")
        return self._target / relative


def _open(source: str, options: Mapping[str, str]) -> tuple[Store, str]:
    """The store, and the prefix in it. Raises CannotStage."""
    scheme, _, rest = source.partition("://")
    config = {key.lower(): value for key, value in options.items() if key.lower().startswith(_OPTIONS)}
    insecure = any(value.startswith("http://") for key, value in config.items() if "endpoint" in key)
    client: Any = {"allow_http": True} if insecure or scheme == "http" else {}
    match scheme:
        case "file":
            path = Path("/" + rest.lstrip("/"))
            if not path.exists():
                raise CannotStage(f"{source} is not there")
            return (LocalStore(path), "") if path.is_dir() else (LocalStore(path.parent), path.name)
        case "http" | "https":
            base, _, name = source.rpartition("/")
            return HTTPStore.from_url(base, client_options=client, retry_config=_NO_RETRIES), name
        case "s3" | "s3a" | "gs" | "az" | "abfs" | "abfss":
            bucket, _, prefix = rest.strip("/").partition("/")
            made: Any = dict(config)
            if scheme.startswith("s3") and not any(key in config for key in _KEYS):
                made["aws_skip_signature"] = "true"  # a bucket that everybody may read
            if scheme == "gs" and not any(key.startswith("google_") for key in config):
                made["google_skip_signature"] = "true"
            if scheme == "az":  # az://account/container/path
                container, _, prefix = prefix.partition("/")
                return from_url(
                    f"az://{bucket}/{container}", config=made, client_options=client, retry_config=_NO_RETRIES
                ), prefix
            return from_url(
                f"{scheme}://{bucket}", config=made, client_options=client, retry_config=_NO_RETRIES
            ), prefix
        case _:
            raise CannotStage(f"nothing here can read {scheme}:// ({source})")


async def _list(store: Store, root: str) -> list[_File]:
    """Everything under the prefix, or the one object of that name."""
    if isinstance(store, HTTPStore):
        return [_file(await obstore.head_async(store, root))]
    found = [_file(meta) async for meta in _metas(store, root)]
    if not found and root:
        found = [_file(await obstore.head_async(store, root))]
    return [file for file in found if file.path.rpartition("/")[2] != LOG]


async def _metas(store: Store, root: str) -> AsyncIterator[Any]:
    async for piece in obstore.list(store, prefix=root or None):
        for meta in piece:
            yield meta


def _file(meta: Any) -> _File:
    return _File(meta["path"], meta["size"], meta.get("e_tag") or "")


def _may_pass(error: BaseException) -> bool:
    """Not a cancellation either, which is no failure at all."""
    return isinstance(error, Exception) and not isinstance(error, _FINAL)


def _settle(out: Any) -> None:
    out.flush()
    os.fsync(out.fileno())


def _sentence(error: Exception) -> str:
    """obstore's messages are pages long, and the first line says it."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
