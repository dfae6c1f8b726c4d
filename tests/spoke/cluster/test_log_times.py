"""A place in a stamped log: from wherever one reader stopped, the next gets every line once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoke.cluster.log_times import BadPosition, Counted, Place

BEGAN = datetime(2026, 11, 26, 8, 0, 0, tzinfo=UTC)


def stamped(offsets_ms: list[int]) -> list[bytes]:
    """One line each, all of them different; stamps as a kubelet writes them."""
    lines = []
    for number, ms in enumerate(offsets_ms):
        at = BEGAN + timedelta(milliseconds=ms)
        lines.append(f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond:06d}{number % 3:03d}Z line {number}\n".encode())
    return lines


def served(lines: list[bytes], since: str) -> list[bytes]:
    """As a kubelet answers `sinceTime`: each line by its own stamp."""
    floor = since.rstrip("Z").encode()
    return [line for line in lines if line[:19] >= floor]


@st.composite
def logs(draw: st.DrawFn) -> list[bytes]:
    """Almost in order: standard output and error may be stamped side by side."""
    at, found = 0, []
    for step in draw(st.lists(st.integers(0, 1500), max_size=40)):
        at += step
        found.append(max(0, at - draw(st.sampled_from([0, 0, 0, 1, 40, 900]))))
    return stamped(found)


@given(logs(), st.lists(st.tuples(st.integers(1, 12), st.integers(1, 5))))
def test_readers_that_break_off_see_every_line_once(lines: list[bytes], breaks: list[tuple[int, int]]) -> None:
    seen: list[bytes] = []
    place = Place(0)
    for read, chunk in [*breaks, (len(lines) + 1, 3)]:
        counted = Counted(Place.read(place.text()))
        there = served(lines, counted.since)
        got = 0
        for at in range(0, len(there), chunk):
            if got >= read:
                break
            fresh = counted.fresh(b"".join(there[at : at + chunk]))
            got += len(fresh.splitlines())
            seen += fresh.splitlines(keepends=True)
            place = counted.place()
    assert seen == lines


@given(logs(), st.integers(1, 10), st.integers(0, 20))
def test_a_tail_is_taken_up_again(lines: list[bytes], tail: int, read: int) -> None:
    if len({line[:30] for line in lines}) < len(lines):
        return  # two of one nanosecond: not promised
    in_order = sorted(lines)
    counted = Counted(Place(0), from_tail=True)
    seen = [fresh for line in in_order[-tail:][:read] if (fresh := counted.fresh(line))]
    again = Counted(counted.place()) if seen else Counted(Place(0), from_tail=True)
    rest = served(in_order, again.since) if seen else in_order[-tail:]
    seen += [fresh for line in rest if (fresh := again.fresh(line))]
    assert seen == in_order[-tail:]


def test_what_was_rotated_away_is_not_waited_for() -> None:
    lines = stamped([0, 10, 20, 30, 40, 50])
    counted = Counted(Place(2))
    assert counted.fresh(b"".join(lines[:4])) == b"".join(lines[:4])
    again = Counted(counted.place())
    assert again.fresh(b"".join(lines[3:])) == b"".join(lines[4:])


def test_since_holds_within_the_second() -> None:
    lines = stamped([0, 400, 800])
    counted = Counted(Place(0), since=BEGAN + timedelta(milliseconds=500))
    assert counted.since == "2026-11-26T08:00:00Z"
    assert counted.fresh(b"".join(lines)) == lines[2]


def test_stamps_of_other_time_zones_are_compared_by_time() -> None:
    counted = Counted(Place(0))
    counted.fresh(b"2026-11-26T09:00:00.5+01:00 a\n2026-11-26T08:00:01Z b\n")
    again = Counted(counted.place())
    assert again.fresh(b"2026-11-26T09:00:00.5+01:00 a\n2026-11-26T08:00:01Z b\n2026-11-26T08:00:02Z c\n") == (
        b"2026-11-26T08:00:02Z c\n"
    )


@pytest.mark.parametrize("text", ["", "t", "t1|2|3", "tx|0|0||", "t1|2|3|yesterday|", "o1:2"])
def test_what_is_no_place(text: str) -> None:
    with pytest.raises(BadPosition):
        Place.read(text)
