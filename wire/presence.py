"""Names of objects whose presence in a cluster is asked for, as messages; the answer names them by their places."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from placement.presence import ObjectName
from wire import link_pb2 as pb
from wire.checks import ProtocolError, fits

MOST_NAMES = 500  # of one request


@fits("presence_request")
def request_to_wire(request: int, names: Sequence[ObjectName]) -> pb.PresenceRequest:
    objects = [pb.ObjectName(kind=one.kind, namespace=one.namespace, name=one.name) for one in names]
    return pb.PresenceRequest(id=request, objects=objects)


def names_from_wire(message: pb.PresenceRequest) -> tuple[ObjectName, ...]:
    """Raises ProtocolError."""
    if len(message.objects) > MOST_NAMES:
        raise ProtocolError("objects", f"{len(message.objects)} names, at most {MOST_NAMES} are taken")
    return tuple(ObjectName(one.kind, one.namespace, one.name) for one in message.objects)


def answer_to_wire(request: int, names: Sequence[ObjectName], missing: Collection[ObjectName]) -> pb.Presence:
    return pb.Presence(id=request, missing=[index for index, one in enumerate(names) if one in missing])


def missing_from_wire(names: Sequence[ObjectName], places: Iterable[int]) -> frozenset[ObjectName]:
    """Places that there are none of are passed over."""
    return frozenset(names[index] for index in places if index < len(names))
