"""What a Kubernetes Event about a node says: an Xid in the driver's words, or that the node was started anew. Pure.

A node-problem-detector that reads the kernel's log writes such Events, and so do the agents of clouds. An Event tells
of a moment, so the mark that it makes stays until the node is started anew or its owner says that it is repaired.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from spoke import checkpoints
from spoke.cluster.port import Object
from spoke.gpus import node_signs, signs, xids
from spoke.gpus.signs import Sign

REBOOTED = "Rebooted"  # the kubelet's reason


@dataclass(frozen=True, slots=True)
class NodeEvent:
    node: str
    at: datetime | None  # when it was seen last
    rebooted: bool
    signs: tuple[Sign, ...]


def read(obj: Object) -> NodeEvent | None:
    """None where it is about something else, or about nothing that matters here."""
    about = obj.get("involvedObject") or {}
    node = about.get("name")
    if about.get("kind") != "Node" or not node:
        return None
    reason, message = str(obj.get("reason") or ""), str(obj.get("message") or "")[: signs.TEXT_LIMIT]
    if reason == REBOOTED:
        return NodeEvent(node, _at(obj), True, ())
    if not xids.named_in(message) and not xids.named_in(reason):
        return None
    text = message if xids.named_in(message) else f"{reason}: {message}"
    found = tuple(node_signs.of_text(text, about="", unless_xid=""))
    return NodeEvent(node, _at(obj), False, found) if found else None


def _at(obj: Object) -> datetime | None:
    series, metadata = obj.get("series") or {}, obj.get("metadata") or {}
    told: Iterable[object] = (
        series.get("lastObservedTime"),
        obj.get("lastTimestamp"),
        obj.get("eventTime"),
        metadata.get("creationTimestamp"),
    )
    return next((at for at in map(checkpoints.moment, told) if at is not None), None)
