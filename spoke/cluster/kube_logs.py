"""A container's log from an API server, so that a reader whose connection broke goes on where it was.

Kubelets keep the log of the present run of a container and of the one before it. A reader that comes back after a
restart gets the rest of the run that it was at, then the present one; where it was away for longer, what is kept.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode

from spoke.cluster.log_times import BadPosition, Counted, Place
from spoke.cluster.port import LogPart, NotFound, Object, Refused, Unavailable
from spoke.cluster.rest import Rest

_PIECE = 32 * 1024


@dataclass(frozen=True, slots=True)
class Asked:
    """As the arguments of ClusterPort.logs."""

    follow: bool
    tail_lines: int
    container: str
    since: datetime | None
    previous: bool
    after: str


async def read(rest: Rest, pod: Object, asked: Asked) -> AsyncGenerator[LogPart, None]:
    container = container_of(pod, asked.container)
    restarts = _restarts(pod, container)
    place = _place(asked)
    path = f"/api/v1/namespaces/{quote(pod['metadata']['namespace'], safe='')}/pods/{quote(_name(pod), safe='')}/log"
    query = {"container": container, "timestamps": "true"}
    if place is None and asked.previous:
        counted = Counted(Place(restarts - 1), asked.since, from_tail=bool(asked.tail_lines))
        tail = {"tailLines": str(asked.tail_lines)} if asked.tail_lines else {}
        source = _run(rest, path, query | tail | {"previous": "true"}, counted, follow=False)
        async with aclosing(source) as parts:
            async for part in parts:
                yield part
        return
    if place is not None and place.instance < restarts:
        before = place if place.instance == restarts - 1 else Place(restarts - 1)
        try:
            source = _run(rest, path, query | {"previous": "true"}, Counted(before), follow=False)
            async with aclosing(source) as parts:
                async for part in parts:
                    yield part
        except NotFound:  # its log is not kept any more
            pass
        place = Place(restarts)
    tail = {"tailLines": str(asked.tail_lines)} if asked.tail_lines and place is None else {}
    counted = Counted(place or Place(restarts), asked.since if place is None else None, from_tail=bool(tail))
    async with aclosing(_run(rest, path, query | tail, counted, follow=asked.follow)) as parts:
        async for part in parts:
            yield part


def container_of(pod: Object, asked: str) -> str:
    """The container that is asked for, "" being the pod's main one. Raises NotFound."""
    names = _containers(pod)
    annotations = pod["metadata"].get("annotations") or {}
    name = str(asked or annotations.get("kubectl.kubernetes.io/default-container", names[0]))
    if name not in names:
        raise NotFound(f'container "{name}" not found in pod "{_name(pod)}"; it has {", ".join(names)}')
    return name


async def _run(
    rest: Rest, path: str, query: dict[str, str], counted: Counted, *, follow: bool
) -> AsyncGenerator[LogPart, None]:
    """One run of the container, from where `counted` is."""
    query = query | {"follow": "true" if follow else "false"} | ({"sinceTime": counted.since} if counted.since else {})
    kept = b""
    try:
        async with rest.stream(f"{path}?{urlencode(query)}", silence_s=None if follow else 60.0) as chunks:
            async for chunk in chunks:
                lines, newline, kept = (kept + chunk).rpartition(b"\n")
                for piece in _pieces(lines + newline):
                    if fresh := counted.fresh(piece):
                        yield LogPart(fresh, counted.place().text())
    except Refused as refusal:
        if "previous" in query:
            raise NotFound(str(refusal)) from refusal
        # "container is waiting to start": it may have logs yet.
        raise Unavailable(str(refusal)) from refusal
    if kept and (fresh := counted.fresh(kept + b"\n")):
        yield LogPart(fresh, counted.place().text())


def _pieces(lines: bytes) -> Iterator[bytes]:
    """Whole lines, some _PIECE bytes each: a part is what can be resumed after, and is not to be cut on its way."""
    start = 0
    while start < len(lines):
        end = lines.find(b"\n", min(start + _PIECE, len(lines)) - 1) + 1 or len(lines)
        yield lines[start:end]
        start = end


def _name(pod: Object) -> str:
    return str(pod["metadata"]["name"])


def _place(asked: Asked) -> Place | None:
    try:
        return Place.read(asked.after) if asked.after else None
    except BadPosition as error:
        raise Refused(str(error)) from error


def _containers(pod: Object) -> list[str]:
    groups = ("containers", "initContainers", "ephemeralContainers")
    return [str(one["name"]) for group in groups for one in pod["spec"].get(group) or ()]


def _restarts(pod: Object, container: str) -> int:
    return next((int(one.get("restartCount") or 0) for one in _statuses(pod) if one.get("name") == container), 0)


def _statuses(pod: Object) -> Iterator[dict[str, Any]]:
    status = pod.get("status") or {}
    for group in ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"):
        yield from status.get(group) or ()
