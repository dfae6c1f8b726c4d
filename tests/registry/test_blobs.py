"""One contract for what chunks lie in: a directory by obstore, obstore's own memory, and the fake."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from obstore.store import MemoryStore

from registry.blobs import BlobMissing, Blobs, BlobsUnavailable, ObstoreBlobs, open_blobs
from tests.registry.fakes import MemoryBlobs

MADE: dict[str, Callable[[Path], Blobs]] = {
    "directory": lambda path: open_blobs(str(path / "made" / "here")),
    "file-url": lambda path: open_blobs(f"file://{path}"),
    "obstore": lambda path: ObstoreBlobs(MemoryStore()),
    "fake": lambda path: MemoryBlobs(),
}


@pytest.fixture(params=MADE)
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Blobs:
    return MADE[request.param](tmp_path)


async def test_what_is_put_is_got(blobs: Blobs) -> None:
    data = bytes(range(256)) * 20_000  # larger than obstore cuts by itself
    await blobs.put("chunks/ab/one", data)
    await blobs.put("chunks/ab/two", b"")
    assert await blobs.get("chunks/ab/one") == data
    assert await blobs.get("chunks/ab/two") == b""


async def test_what_is_not_there_is_missing(blobs: Blobs) -> None:
    with pytest.raises(BlobMissing):
        await blobs.get("chunks/no")


async def test_what_is_deleted_is_gone_and_may_be_deleted_again(blobs: Blobs) -> None:
    await blobs.put("a", b"1")
    await blobs.put("c", b"3")
    await blobs.delete(["a", "b", "c"])
    for name in "abc":
        with pytest.raises(BlobMissing):
            await blobs.get(name)
    await blobs.delete(["a"])


async def test_a_full_or_broken_disk_is_told(tmp_path: Path) -> None:
    blobs = open_blobs(str(tmp_path / "store"))
    (tmp_path / "store" / "chunks").write_text("a file stands where the directory is to be")
    with pytest.raises(BlobsUnavailable):
        await blobs.put("chunks/ab/one", b"1")


@pytest.mark.parametrize("url", ["ftp://host/models", "s3://", "http://host/x"])
def test_what_is_no_store_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=url.split(":")[0]):
        open_blobs(url)


def test_buckets_are_opened_without_asking_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-north-1")
    assert isinstance(open_blobs("s3://bucket/prefix"), ObstoreBlobs)
