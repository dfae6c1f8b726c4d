"""How many devices of each DeviceClass a node has and has free: what the hub is told, and what a node's sums are.

Counted are devices that can be given at the same time. Where they share counters (parts of a card), the smallest ones
are counted, so a request for larger ones may be promised and then refused by the exact allocation, never the other way
round for one kind of request. A device of two classes is counted in both.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from placement.dra.cel_values import Quantity
from placement.dra.devices import Device, DeviceId, NodeDevices, affords, spend
from placement.dra.names import resource_of
from placement.dra.requests import ClassSpec
from placement.dra.selectors import meets
from placement.inventory import DeviceClass
from placement.kinds.devices import classify
from placement.resources import Resources

_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Counted:
    capacity: Resources = Resources()
    free: Resources = Resources()
    devices: tuple[DeviceClass, ...] = ()  # the classes that count accelerators


def counted(offered: NodeDevices, taken: Collection[DeviceId], classes: Mapping[str, ClassSpec]) -> Counted:
    capacity, free, devices = {}, {}, []
    for name, found in sorted(classes.items()):
        inside = [device for device in offered.devices if device.admits(()) and meets(device, found.selectors)]
        if not inside:
            continue
        resource = resource_of(name)
        capacity[resource] = _at_once(offered, inside, ())
        free[resource] = _at_once(offered, inside, taken)
        kind = classify(resource)
        if kind is not None:
            devices.append(DeviceClass(resource, kind.vendor, _product(inside), _memory_mib(inside), kind.form))
    return Counted(Resources(capacity), Resources(free), tuple(devices))


def _at_once(offered: NodeDevices, inside: Iterable[Device], taken: Collection[DeviceId]) -> int:
    left, count = offered.left(taken), 0
    for device in sorted((d for d in inside if d.id not in taken), key=_size):
        if affords(left, device):
            spend(left, device, 1)
            count += 1
    return count


def _size(device: Device) -> Fraction:
    return sum((amount for _, amounts in device.uses for _, amount in amounts), Fraction(0))


def _product(devices: Iterable[Device]) -> str:
    """The product that all of them are; "" where they are of several, or do not say.

    Written as GPU Feature Discovery writes it in labels, without spaces: prices and node selectors name it so.
    """
    found = {_named(device, "productName") for device in devices}
    only = found.pop()
    return only.replace(" ", "-") if isinstance(only, str) and not found else ""


def _memory_mib(devices: Iterable[Device]) -> int:
    """The least of them, 0 where one does not say."""
    sizes = [names.get("memory") for device in devices for names in [device.capacity.get(device.driver, {})]]
    return min((int(s.amount) // _MIB if isinstance(s, Quantity) else 0 for s in sizes), default=0)


def _named(device: Device, name: str) -> object:
    return device.attributes.get(device.driver, {}).get(name)
