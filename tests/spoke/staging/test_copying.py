from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from spoke.staging import copying
from spoke.staging.port import CannotStage
from tests.spoke.staging.store_server import Bucket, serving

FILES = {f"images/train/{number}.bin": bytes([number]) * 1000 * number for number in range(5)}
TOTAL = sum(map(len, FILES.values()))


class Told:
    def __init__(self) -> None:
        self.said: list[tuple[int, int]] = []

    def __call__(self, done: int, total: int) -> None:
        self.said.append((done, total))


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    others = {"imagesque/x": b"not part of it", "other": b"neither"}
    with serving(Bucket({**FILES, **others})) as bucket:
        yield bucket


async def copied(source: str, target: Path, options: dict[str, str] | None = None) -> Told:
    told = Told()
    size = await copying.copy(source, target, options or {}, told, wait_s=0.01)
    assert told.said[-1] == (size, size)
    assert [done for done, _ in told.said] == sorted(done for done, _ in told.said)
    return told


def there(target: Path) -> dict[str, bytes]:
    found = {str(path.relative_to(target)): path.read_bytes() for path in target.rglob("*") if path.is_file()}
    found.pop(copying.LOG, None)
    return found


def expected(prefix: str = "images/") -> dict[str, bytes]:
    return {key.removeprefix(prefix): body for key, body in FILES.items()}


async def test_a_prefix_of_a_bucket_is_copied_whole(bucket: Bucket, tmp_path: Path) -> None:
    told = await copied("s3://b/images", tmp_path / "t", bucket.options)
    assert there(tmp_path / "t") == expected()
    assert told.said[0] == (0, TOTAL)
    assert "imagesque/x" not in bucket.got


async def test_a_directory_is_copied_whole(tmp_path: Path) -> None:
    for key, body in FILES.items():
        (tmp_path / key).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / key).write_bytes(body)
    await copied(f"file://{tmp_path}/images", tmp_path / "t")
    assert there(tmp_path / "t") == expected()


async def test_one_object_and_one_file_are_copied_by_their_names(bucket: Bucket, tmp_path: Path) -> None:
    await copied("s3://b/images/train/3.bin", tmp_path / "s3", bucket.options)
    await copied(f"{bucket.url}/b/images/train/3.bin", tmp_path / "http")
    (tmp_path / "3.bin").write_bytes(b"three")
    await copied(f"file://{tmp_path}/3.bin", tmp_path / "file")
    three = {"3.bin": FILES["images/train/3.bin"]}
    assert [there(tmp_path / name) for name in ("s3", "http", "file")] == [three, three, {"3.bin": b"three"}]


async def test_done_again_only_what_is_missing_or_has_changed_is_read(bucket: Bucket, tmp_path: Path) -> None:
    await copied("s3://b/images", tmp_path, bucket.options)
    bucket.got.clear()
    await copied("s3://b/images", tmp_path, bucket.options)
    assert bucket.got == []
    (tmp_path / "train/2.bin").unlink()
    (tmp_path / "train/3.bin").write_bytes(b"cut")
    bucket.objects["images/train/4.bin"] = b"4" * 4000  # of the same size: only the e-tag tells
    await copied("s3://b/images", tmp_path, bucket.options)
    assert sorted(bucket.got) == [f"images/train/{number}.bin" for number in (2, 3, 4)]
    assert there(tmp_path) == {**expected(), "train/4.bin": b"4" * 4000}


async def test_cut_off_it_goes_on_where_it_was(bucket: Bucket, tmp_path: Path) -> None:
    bucket.hold = threading.Event()
    told = Told()
    copy = asyncio.create_task(copying.copy("s3://b/images", tmp_path, bucket.options, told, at_once=2))
    assert await asyncio.to_thread(bucket.twice.wait, 20)
    copy.cancel()
    await asyncio.gather(copy, return_exceptions=True)
    assert not list(tmp_path.rglob(".muster-part*"))
    bucket.hold.set()
    await copied("s3://b/images", tmp_path, bucket.options)
    assert there(tmp_path) == expected()


async def test_a_failing_store_is_asked_again(bucket: Bucket, tmp_path: Path) -> None:
    bucket.refuse = {"images/train/2.bin": [500, 503], "images/train/4.bin": [500]}
    await copied("s3://b/images", tmp_path, bucket.options)
    assert there(tmp_path) == expected()


async def test_credentials_are_taken_and_their_lack_is_told(bucket: Bucket, tmp_path: Path) -> None:
    without = bucket.options
    bucket.needs_key = "AKIATEST"
    await copied("s3://b/images", tmp_path, bucket.options)
    with pytest.raises(CannotStage, match="s3://b/images cannot be copied"):
        await copying.copy("s3://b/images", tmp_path, without, Told(), attempts=1)


@pytest.mark.parametrize("source", ["s3://b/nothing", "hf://x/y", "file:///not/there"])
async def test_what_cannot_be_read_is_told(bucket: Bucket, tmp_path: Path, source: str) -> None:
    with pytest.raises(CannotStage, match=source):
        await copying.copy(source, tmp_path, bucket.options, Told(), wait_s=0.01)


async def test_there_must_be_room(bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage:
        free = 100

    monkeypatch.setattr(copying.shutil, "disk_usage", lambda path: Usage)
    with pytest.raises(CannotStage, match="there is no room: 10 kB are to be copied, 100 B are free"):
        await copying.copy("s3://b/images", tmp_path, bucket.options, Told())
    assert there(tmp_path) == {}


async def test_no_name_leads_out_of_the_target(bucket: Bucket, tmp_path: Path) -> None:
    bucket.objects = {"images/../../out": b"x"}
    with pytest.raises(CannotStage):
        await copying.copy("s3://b/images", tmp_path / "t", bucket.options, Told(), attempts=1)
    assert not (tmp_path / "out").exists()


async def test_names_may_be_as_long_as_a_file_system_takes_them(tmp_path: Path) -> None:
    names = ["\u5199" * 85, *("x" * 250 + str(number) for number in range(4))]
    (tmp_path / "source").mkdir()
    for name in names:
        (tmp_path / "source" / name).write_bytes(name.encode())
    await copied(f"file://{tmp_path}/source", tmp_path / "t")
    assert there(tmp_path / "t") == {name: name.encode() for name in names}
