"""The ends of logs on disk: rings, what is whole of them, and what goes first."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoke.cluster import log_positions
from spoke.cluster.port import LogPart, Refused
from spoke.kept_logs import KeptLogs, KeptPod, Limits
from wire.orders import JobRef

REF = JobRef("j-1", 1)
POD = KeptPod("train-0", "uid-0", "worker", 0, 0)


class Clock:
    def __init__(self) -> None:
        self.now = 1e9 + 2e9  # later than any file is

    def __call__(self) -> float:
        return self.now


def parts(*lines: bytes) -> list[LogPart]:
    ends = accumulate(len(line) for line in lines)
    return [LogPart(b"2026-11-26T08:00:00Z " + line, f"o0:{end}") for line, end in zip(lines, ends, strict=True)]


def write(kept: KeptLogs, given: list[LogPart], ref: JobRef = REF, pod: KeptPod = POD) -> None:
    writer = kept.writer(ref, pod)
    assert writer is not None
    for part in given:
        writer.add(part)
    writer.close()


def test_what_was_written_comes_back(tmp_path: Path) -> None:
    kept = KeptLogs(tmp_path)
    assert not kept.has(REF)
    given = parts(b"a\n", b"b\n")
    write(kept, given)
    assert list(kept.read(REF, POD.uid)) == given
    assert list(kept.pods(REF)) == [POD]
    assert kept.pods(JobRef("j-1", 2)) == []


def test_a_ring_keeps_the_end(tmp_path: Path) -> None:
    kept = KeptLogs(tmp_path, Limits(pod_bytes=1000))
    given = parts(*(b"line %03d\n" % n for n in range(500)))
    write(kept, given)
    found = list(kept.read(REF, POD.uid))
    assert found == given[-len(found) :]
    assert 500 <= sum(len(part.stamped) for part in found) <= 1000


def test_a_record_that_was_cut_off_is_left_out(tmp_path: Path) -> None:
    kept = KeptLogs(tmp_path)
    given = parts(b"a\n", b"b\n")
    write(kept, given)
    (file,) = tmp_path.glob("*/*/*.0")
    file.write_bytes(file.read_bytes()[:-1])
    assert list(kept.read(REF, POD.uid)) == given[:1]
    file.write_bytes(b"nonsense")
    assert kept.pods(REF) == []
    assert list(kept.read(REF, POD.uid)) == []


@pytest.mark.parametrize("job", ["../j-1", "", "a/b", ".."])
def test_names_that_are_no_file_names_are_not_written(tmp_path: Path, job: str) -> None:
    kept = KeptLogs(tmp_path)
    assert kept.writer(JobRef(job, 1), POD) is None
    assert kept.writer(REF, KeptPod("p", "../../x", "", 0, 0)) is None
    assert not kept.has(JobRef(job, 1))


def test_the_oldest_jobs_go_first(tmp_path: Path) -> None:
    import os
    import time

    clock = Clock()
    clock.now = time.time()
    kept = KeptLogs(tmp_path, Limits(total_bytes=5000, keep_s=1000), clock)
    for number in range(3):
        write(kept, parts(b"x" * 2000 + b"\n"), JobRef(f"j-{number}", 1))
        for file in tmp_path.glob(f"j-{number}/*/*"):
            os.utime(file, (clock.now + number, clock.now + number))
    clock.now += 100
    write(kept, parts(b"y\n"), JobRef("j-3", 1))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["j-1", "j-2", "j-3"]
    clock.now += 1100
    write(kept, parts(b"y\n"), JobRef("j-4", 1))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["j-4"]


@given(
    st.lists(st.binary(max_size=5).map(lambda b: b.replace(b"\n", b"") + b"\n"), max_size=20),
    st.integers(0, 20),
    st.integers(1, 4),
)
def test_after_an_offset_comes_what_was_not_read(lines: list[bytes], read: int, together: int) -> None:
    def records() -> Iterator[LogPart]:
        single = parts(*lines)
        for at in range(0, len(single), together):
            some = single[at : at + together]
            yield LogPart(b"".join(part.stamped for part in some), some[-1].position)

    offset = sum(len(line) for line in lines[:read])
    found = b"".join(part.plain for part in log_positions.after(records(), f"o0:{offset}"))
    assert found == b"".join(lines[read:])


def test_what_is_no_position_is_refused() -> None:
    for position in ("x", "o1", "t1|2"):
        with pytest.raises(Refused):
            list(log_positions.after(parts(b"a\n"), position))
