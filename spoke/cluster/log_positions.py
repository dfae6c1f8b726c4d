"""Which lines of a log that was written down come after a position that its cluster gave out (see ClusterPort.logs)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from spoke.cluster import host_logs
from spoke.cluster.log_times import BadPosition, Counted, Place
from spoke.cluster.port import LogPart, Refused


def after(parts: Iterable[LogPart], position: str) -> Iterator[LogPart]:
    """All of them where `position` is "". Raises Refused."""
    if not position:
        yield from parts
    elif position.startswith("o"):
        yield from _after_offset(parts, *host_logs.position(position))
    elif position.startswith("t"):
        try:
            place = Place.read(position)
        except BadPosition as error:
            raise Refused(str(error)) from error
        yield from _after_place(parts, place)
    else:
        raise Refused(f"{position[:100]!r} is no position in a log")


def _after_offset(parts: Iterable[LogPart], attempt: int, offset: int) -> Iterator[LogPart]:
    for part in parts:
        run, end = host_logs.position(part.position)
        begin = end - len(part.plain)
        if run > attempt or (run == attempt and begin >= offset):
            yield part
        elif run == attempt and end > offset:
            lines, at = part.stamped.splitlines(keepends=True), begin
            for number, line in enumerate(lines):
                if at >= offset:
                    yield LogPart(b"".join(lines[number:]), part.position)
                    break
                at += len(line) - line.find(b" ") - 1


def _after_place(parts: Iterable[LogPart], place: Place) -> Iterator[LogPart]:
    counted = Counted(place)
    for part in parts:
        run = Place.read(part.position).instance
        if run > place.instance:
            yield part
        elif run == place.instance and (fresh := counted.fresh(part.stamped)):
            yield LogPart(fresh, part.position)
