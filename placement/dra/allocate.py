"""Devices of one node for the claims of a pod, or of several pods at once: all of them, or none.

A search in depth: request by request, the alternatives of a prioritised list in their order, for each the devices in
the order in which they are best taken (close together, near to what the pod has already, out of what is begun). The
first complete choice is the answer. Devices that no request and no constraint of these claims can tell apart are tried
once for the same place, so that a node of equal cards is decided at once; a search that would be longer than `_STEPS`
is given up and counts as no room (`Exhausted` tells it from a node that has none).

Not promised: the best of all choices in sum. That the first alternative wins wherever it can is.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from placement.dra import closeness
from placement.dra.devices import CounterSet, Device, DeviceId, NodeDevices, affords, spend
from placement.dra.requests import MOST_DEVICES, Alternative, ClaimSpec, ClassSpec, SameAttribute
from placement.dra.selectors import suits

_STEPS = 20_000
_ANY = 1 << 30


@dataclass(frozen=True, slots=True)
class Grant:
    """One device of a claim, for the request (or the alternative of it) of this name."""

    request: str
    device: Device
    alternative: Alternative


Grants = tuple[Grant, ...]  # of one claim


class Exhausted(Exception):
    """The search was given up."""


def allocate(
    node: NodeDevices,
    taken: Collection[DeviceId],
    claims: Sequence[ClaimSpec],
    classes: Mapping[str, ClassSpec],
    *,
    widest: int = _ANY,
) -> tuple[Grants, ...] | None:
    """Grants for each claim, in order. `widest` is the last alternative of a request that may be used, from 0.

    Raises Exhausted.
    """
    return _Search(node, taken, claims, classes, widest).run()


def devices_in(allocation: Sequence[Grants]) -> Iterator[DeviceId]:
    return (grant.device.id for grants in allocation for grant in grants)


class _Search:
    def __init__(
        self,
        node: NodeDevices,
        taken: Collection[DeviceId],
        claims: Sequence[ClaimSpec],
        classes: Mapping[str, ClassSpec],
        widest: int,
    ) -> None:
        self._classes = classes
        self._widest = widest
        self._claims = claims
        self._todo = [(claim, request) for claim, spec in enumerate(claims) for request in spec.requests]
        self._devices = node.devices
        self._taken = taken
        self._left: dict[CounterSet, dict[str, Fraction]] = node.left(taken)
        self._used: set[Device] = set()
        self._given: list[list[Grant]] = [[] for _ in claims]
        self._suiting: dict[Alternative, list[Device]] = {}
        self._looks: dict[Device, Hashable] = {}
        self._steps = 0

    def run(self) -> tuple[Grants, ...] | None:
        return tuple(tuple(grants) for grants in self._given) if self._request(0) else None

    def _request(self, number: int) -> bool:
        if number == len(self._todo):
            return True
        claim, request = self._todo[number]
        for alternative in request.alternatives[: self._widest + 1]:
            suiting = self._suited(alternative)
            free = [device for device in suiting if device not in self._used and device.id not in self._taken]
            wanted = len(suiting) if alternative.all else alternative.count
            room = MOST_DEVICES - len(self._given[claim])
            if not alternative.count <= wanted <= min(len(free), room):
                continue
            beside = [grant.device for grants in self._given for grant in grants]
            order = self._begun_first(closeness.in_order(free, wanted, beside))
            if self._choose(number, claim, alternative, order, 0, wanted):
                return True
        return False

    def _choose(
        self, number: int, claim: int, alternative: Alternative, order: Sequence[Device], start: int, wanted: int
    ) -> bool:
        """`wanted` more devices for the request, from `start` on in the order; then the requests that follow."""
        if not wanted:
            return self._request(number + 1)
        tried: set[Hashable] = set()
        for position in range(start, len(order) - wanted + 1):
            device = order[position]
            look = self._look(device)
            if look in tried or not self._may_take(claim, alternative, device):
                continue
            self._steps += 1
            if self._steps > _STEPS:
                raise Exhausted
            self._take(claim, Grant(alternative.name, device, alternative))
            if self._choose(number, claim, alternative, order, position + 1, wanted - 1):
                return True
            self._put_back(claim)
            tried.add(look)
        return False

    def _may_take(self, claim: int, alternative: Alternative, device: Device) -> bool:
        return affords(self._left, device) and all(
            self._agrees(claim, constraint, device)
            for constraint in self._claims[claim].constraints
            if constraint.binds(alternative.name)
        )

    def _agrees(self, claim: int, constraint: SameAttribute, device: Device) -> bool:
        value = device.attribute(constraint.attribute)
        if value is None:
            return False
        others = (grant.device for grant in self._given[claim] if constraint.binds(grant.request))
        first = next(others, None)
        if first is None:
            return True
        there = first.attribute(constraint.attribute)
        return type(there) is type(value) and bool(there == value)

    def _take(self, claim: int, grant: Grant) -> None:
        self._used.add(grant.device)
        self._given[claim].append(grant)
        spend(self._left, grant.device, 1)

    def _put_back(self, claim: int) -> None:
        grant = self._given[claim].pop()
        self._used.discard(grant.device)
        spend(self._left, grant.device, -1)

    def _suited(self, alternative: Alternative) -> list[Device]:
        found = self._suiting.get(alternative)
        if found is None:
            found = [device for device in self._devices if suits(device, alternative, self._classes)]
            self._suiting[alternative] = found
        return found

    def _begun_first(self, order: list[Device]) -> list[Device]:
        """Parts of a device that is cut up already come before parts of a whole one; otherwise the order stays."""
        if not any(device.uses for device in order):
            return order
        return sorted(order, key=self._share_left)

    def _share_left(self, device: Device) -> Fraction:
        counters = [amount for name, amounts in device.uses for amount in (self._left[name][c] for c, _ in amounts)]
        return sum(counters, Fraction(0)) if device.uses else Fraction(0)

    def _look(self, device: Device) -> Hashable:
        """All that these claims can tell the device apart by."""
        known = self._looks.get(device)
        if known is None:
            known = self._looks[device] = (
                tuple(
                    suits(device, alternative, self._classes)
                    for _, request in self._todo
                    for alternative in request.alternatives
                ),
                tuple(
                    _typed(device.attribute(constraint.attribute))
                    for spec in self._claims
                    for constraint in spec.constraints
                ),
                device.uses,
            )
        return known


def _typed(value: object) -> Hashable:
    return type(value).__name__, str(value)
