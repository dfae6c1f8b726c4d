"""Follows one kind of object for ever and hands each change to its sink; one bad object is logged and passed over."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from spoke.cluster.port import ClusterPort, Gone, Object, Refused, Selection, Snapshot, Upsert

log = logging.getLogger(__name__)

_ASK_AGAIN_S = 30.0  # a kind that may not be read, or is not served any more


@dataclass(slots=True)
class Sink:
    """`reset` gets everything there is: what it knew beyond that is gone.

    With `needed`, there is no going on without it: the first snapshot is waited for however long it may not be read.
    """

    reset: Callable[[Sequence[Object]], None]
    upsert: Callable[[Object], None]
    gone: Callable[[Object], None]
    needed: bool = False
    synced: asyncio.Event = field(default_factory=asyncio.Event)  # the first snapshot was taken in


async def follow(port: ClusterPort, selection: Selection, sink: Sink) -> None:
    while True:
        try:
            async for change in port.watch(selection):
                match change:
                    case Snapshot(objects):
                        sink.reset(objects)
                        sink.synced.set()
                    case Upsert(obj):
                        take_each(sink.upsert, [obj])
                    case Gone(obj):
                        take_each(sink.gone, [obj])
        except Refused as error:
            log.error("cannot watch %s %s: %s", selection.api_version, selection.kind, error)
            if not sink.needed:
                sink.synced.set()
        except Exception:
            log.exception("the watch of %s %s failed and is begun anew", selection.api_version, selection.kind)
        await asyncio.sleep(_ASK_AGAIN_S)


def take_each(take: Callable[[Object], None], objects: Iterable[Object]) -> None:
    """One that cannot be read is logged, and the others are taken all the same."""
    for obj in objects:
        try:
            take(obj)
        except Exception:
            metadata = obj.get("metadata", {})
            log.exception("cannot read %s %s/%s", obj.get("kind"), metadata.get("namespace"), metadata.get("name"))
