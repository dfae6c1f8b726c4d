"""Which request of a gang's claims cannot be met, in numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from placement.dra.devices import Device
from placement.dra.reasons import ClassUnknown, DevicesShort, SelectorUnreadable
from placement.dra.requests import Alternative, ClassSpec, Request
from placement.dra.selectors import answer, meets, shown, suits, unreadable
from placement.dra.stock import Devices, Kind
from placement.inventory import Node
from placement.matching import admits
from placement.verdict import Reason


def mistakes(cluster: str, kinds: Sequence[Kind], classes: Mapping[str, ClassSpec]) -> Iterator[Reason]:
    """What is wrong with the requests themselves, whatever the nodes have. Of several classes one is enough."""
    for request in (request for kind in kinds for spec in kind.asked for request in spec.requests):
        asked = [alternative.device_class for alternative in request.alternatives]
        if not any(name in classes for name in asked):
            yield ClassUnknown(cluster, request.name, " or ".join(dict.fromkeys(asked)), tuple(sorted(classes)))
        for alternative in request.alternatives:
            known = classes.get(alternative.device_class)
            for selector in (*(known.selectors if known else ()), *alternative.selectors):
                if why := unreadable(selector):
                    yield SelectorUnreadable(alternative.name, shown(selector), why)


def devices_short(
    cluster: str, kind: Kind, nodes: Sequence[Node], devices: Devices, pods_fit: int, ever: int
) -> DevicesShort:
    """Of the request that has the fewest free devices for what it asks."""
    here = [
        n for n in nodes if n.ready and n.name in devices.stocks and admits(kind.role.constraint, n.labels, n.taints)
    ]
    requests = [request for spec in kind.asked for request in spec.requests]
    counted = [(request, _count(request, here, devices)) for request in requests]
    request, (offered, matching, free, largest) = min(
        counted, key=lambda each: (each[1][2] / _least(each[0]), each[1][3] / _least(each[0]))
    )
    return DevicesShort(
        cluster=cluster,
        role=f"role {kind.of}",
        request=request.name,
        wanted=_wanted(request),
        need=_least(request) * kind.at_hand,
        offered=offered,
        matching=matching,
        free=free,
        largest=largest,
        pods_fit=min(pods_fit, kind.at_hand - 1),
        pods_need=kind.at_hand,
        ever=ever >= kind.at_hand,
        doubt=_doubt(request, kind, here, devices) if not matching else _bound(kind, request) if free else "",
    )


def _least(request: Request) -> int:
    return min(alternative.count for alternative in request.alternatives)


def _count(request: Request, nodes: Sequence[Node], devices: Devices) -> tuple[int, int, int, int]:
    """(offered in the classes, matching, free, most free on one node) of any of its alternatives."""
    offered = matching = free = largest = 0
    for node in nodes:
        stock = devices.stocks[node.name]
        here = 0
        for device in stock.offered.devices:
            if not any(_is_in_class(device, a, devices.classes) for a in request.alternatives):
                continue
            offered += 1
            if any(suits(device, alternative, devices.classes) for alternative in request.alternatives):
                matching += 1
                here += device.id not in stock.taken
        free += here
        largest = max(largest, here)
    return offered, matching, free, largest


def _is_in_class(device: Device, alternative: Alternative, classes: Mapping[str, ClassSpec]) -> bool:
    known = classes.get(alternative.device_class)
    return known is not None and meets(device, known.selectors)


def _wanted(request: Request) -> str:
    return " or ".join(_in_words(alternative) for alternative in request.alternatives)


def _in_words(alternative: Alternative) -> str:
    amount = "all" if alternative.all else str(alternative.count)
    where = " and ".join(shown(selector) for selector in alternative.selectors)
    return f"{amount} × {alternative.device_class}" + (f" where {where}" if where else "")


def _doubt(request: Request, kind: Kind, nodes: Sequence[Node], devices: Devices) -> str:
    """Why no device matches, where selectors have no answer or taints stand in the way."""
    whys: Counter[str] = Counter()
    for node in nodes:
        for device in devices.stocks[node.name].offered.devices:
            for alternative in request.alternatives:
                if not _is_in_class(device, alternative, devices.classes):
                    continue
                answers = [answer(device, selector) for selector in alternative.selectors]
                whys.update({str(each) for each in answers if isinstance(each, str)})
                if all(each is True for each in answers) and not device.admits(alternative.tolerations):
                    whys["a taint that the request does not tolerate"] += 1
    if not whys:
        return ""
    why, count = whys.most_common(1)[0]
    return f"on {count} of them: {why}"


def _bound(kind: Kind, request: Request) -> str:
    """There are some, but they do not go together."""
    attributes = [
        constraint.attribute
        for spec in kind.asked
        for constraint in spec.constraints
        if any(constraint.binds(alternative.name) for alternative in request.alternatives)
    ]
    return f"those of one claim must agree in {', '.join(attributes)}" if attributes else ""
