from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable

import pytest

from hub.merging import Found, merged


async def of(*items: str, ended: list[str] | None = None, fails: bool = False) -> AsyncGenerator[str, None]:
    try:
        for one in items:
            await asyncio.sleep(0)
            yield one
        if fails:
            raise ValueError("broken")
    finally:
        if ended is not None:
            ended.append(items[0])


def once(**sources: Callable[[], AsyncIterator[str]]) -> Callable[[], object]:
    async def find() -> Found[str, str]:
        return sources, True

    return find


async def test_all_of_all_sources_each_in_its_order() -> None:
    read = [one async for one in merged(once(a=lambda: of(*"abc"), b=lambda: of(*"xyz")))]  # type: ignore[arg-type]
    assert sorted(read) == list("abcxyz")
    assert [one for one in read if one in "abc"] == list("abc")


async def test_more_than_a_reader_takes_at_once() -> None:
    many = [str(number) for number in range(500)]
    assert [one async for one in merged(once(a=lambda: of(*many)))] == many  # type: ignore[arg-type]


async def test_sources_that_come_later_are_read_and_none_is_read_twice() -> None:
    asked = 0

    async def find() -> Found[str, str]:
        nonlocal asked
        asked += 1
        found = {"a": lambda: of("1", "2")}
        if asked > 1:
            found["b"] = lambda: of("3")
        return found, asked > 2

    assert sorted([one async for one in merged(find, look_s=0.01)]) == ["1", "2", "3"]


async def test_what_a_source_raises_is_raised() -> None:
    with pytest.raises(ValueError, match="broken"):
        [one async for one in merged(once(a=lambda: of("1", fails=True)))]  # type: ignore[arg-type]


async def test_whoever_stops_reading_ends_every_source() -> None:
    ended: list[str] = []
    reading = merged(once(a=lambda: of(*"abc", ended=ended), b=lambda: of(*"xyz", ended=ended)))  # type: ignore[arg-type]
    await anext(reading)
    await reading.aclose()
    assert sorted(ended) == ["a", "x"]


async def test_nothing_to_read() -> None:
    assert [one async for one in merged(once())] == []  # type: ignore[arg-type]
