"""Devices that drivers offer on nodes (ResourceSlices), as values: what a selector may ask of them, and their counters.

A device is compared by identity: as long as its slice stands, it is one object, and remembers what selectors said.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from placement.dra.cel import OfDomains, Value

DeviceId = tuple[str, str, str]  # driver, pool, name
CounterSet = tuple[str, str, str]  # driver, pool, name of the set
Uses = tuple[tuple[CounterSet, tuple[tuple[str, Fraction], ...]], ...]

BLOCKING = frozenset({"NoSchedule", "NoExecute"})


@dataclass(frozen=True, slots=True)
class DeviceTaint:
    key: str
    value: str
    effect: str  # NoSchedule | NoExecute | None


@dataclass(frozen=True, slots=True)
class DeviceToleration:
    key: str = ""  # "" with Exists tolerates every taint
    operator: str = "Equal"
    value: str = ""
    effect: str = ""

    def tolerates(self, taint: DeviceTaint) -> bool:
        if self.effect and self.effect != taint.effect:
            return False
        if self.key and self.key != taint.key:
            return False
        return self.operator == "Exists" or (bool(self.key) and self.value == taint.value)


@dataclass(frozen=True, slots=True, eq=False)
class Device:
    """`attributes` and `capacity` by domain and name; `uses` are the shared counters that it takes while allocated."""

    driver: str
    pool: str
    name: str
    attributes: OfDomains = field(default_factory=OfDomains)
    capacity: OfDomains = field(default_factory=OfDomains)
    taints: tuple[DeviceTaint, ...] = ()
    uses: Uses = ()
    answers: dict[str, bool | str] = field(default_factory=dict)  # of selectors: a text is why it has no answer

    @property
    def id(self) -> DeviceId:
        return self.driver, self.pool, self.name

    def attribute(self, qualified: str) -> Value:
        """By its full name, `domain/name`; None where the device does not have it."""
        domain, _, name = qualified.rpartition("/")
        found = self.attributes.get(domain or self.driver)
        return found.get(name) if found is not None else None

    def admits(self, tolerations: Collection[DeviceToleration]) -> bool:
        return all(
            taint.effect not in BLOCKING or any(each.tolerates(taint) for each in tolerations) for taint in self.taints
        )


@dataclass(frozen=True, slots=True, eq=False)
class NodeDevices:
    """Everything offered on one node, in the drivers' order; `counters` in full, whatever is taken of them."""

    devices: tuple[Device, ...] = ()
    counters: Mapping[CounterSet, Mapping[str, Fraction]] = field(default_factory=dict)

    def left(self, taken: Collection[DeviceId]) -> dict[CounterSet, dict[str, Fraction]]:
        """Of each counter, what the taken devices leave."""
        left = {name: dict(amounts) for name, amounts in self.counters.items()}
        for device in self.devices:
            if device.uses and device.id in taken:
                spend(left, device, 1)
        return left


def spend(left: dict[CounterSet, dict[str, Fraction]], device: Device, times: int) -> None:
    for name, amounts in device.uses:
        counters = left[name]
        for counter, amount in amounts:
            counters[counter] -= times * amount


def affords(left: Mapping[CounterSet, Mapping[str, Fraction]], device: Device) -> bool:
    return all(left[name][counter] >= amount for name, amounts in device.uses for counter, amount in amounts)


def together(parts: Iterable[NodeDevices]) -> NodeDevices:
    devices: list[Device] = []
    counters: dict[CounterSet, Mapping[str, Fraction]] = {}
    for part in parts:
        devices += part.devices
        counters.update(part.counters)
    return NodeDevices(tuple(devices), counters)
