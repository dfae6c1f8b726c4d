"""A model that lies in an object store, fetched into a temporary directory to be pushed from there: s3://, gs://, az://
and file:// by obstore, with credentials from the environment. The directory (TMPDIR) must have room for it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import obstore
from obstore import exceptions
from obstore.store import from_url

from hub.model_push import PushRefused
from registry import file_names
from registry.blobs import SCHEMES
from registry.manifest import MAX_FILES

_FILES_AT_ONCE = 4
_CHUNK_BYTES = 4 << 20


def is_url(source: str) -> bool:
    return "://" in source


@contextmanager
def fetched(url: str, tell: Callable[[int], None]) -> Iterator[Path]:
    """The directory, until the end. `tell`: so many bytes more. Raises PushRefused."""
    scheme = url.partition("://")[0]
    if scheme not in SCHEMES:
        raise PushRefused(f"{url}: {scheme}:// is nothing to push from", f"give a directory, or {', '.join(SCHEMES)}")
    with tempfile.TemporaryDirectory(prefix="muster-push-") as temporary:
        directory = Path(temporary)
        try:
            store = from_url(url)
            names = [meta["path"] for batch in obstore.list(store) for meta in batch]
            _check(url, names)
            with ThreadPoolExecutor(_FILES_AT_ONCE) as pool:
                for task in [pool.submit(_fetch, store, name, directory, tell) for name in names]:
                    task.result()
        except (exceptions.BaseError, OSError) as error:
            raise PushRefused(
                f"{url} cannot be read: {(str(error) or type(error).__name__).splitlines()[0][:300]}",
                "mend the URL, or the credentials in the environment",
            ) from error
        yield directory


def _check(url: str, names: list[str]) -> None:
    """Raises PushRefused."""
    if not names:
        raise PushRefused(f"there is nothing below {url}", "give the prefix that holds the model")
    if len(names) > MAX_FILES:
        raise PushRefused(f"{url} has {len(names)} objects, at most {MAX_FILES} are taken", "give a longer prefix")
    for name in names:
        if problem := file_names.problem_of(name):
            raise PushRefused(f"the object name {name!r} {problem}", "rename it")
    if clash := file_names.clash_of(names):
        raise PushRefused(f"one file system could not hold both {clash}", "rename one of them")


def _fetch(store: Any, name: str, directory: Path, tell: Callable[[int], None]) -> None:
    place = directory / name
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.open("wb") as out:
        for data in obstore.get(store, name).stream(min_chunk_size=_CHUNK_BYTES):
            out.write(data)
            tell(len(data))
