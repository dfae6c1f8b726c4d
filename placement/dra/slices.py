"""ResourceSlices to devices by node. A pool counts once all its slices of the newest generation are there.

Offered are devices of one node. Left out, with the reason: devices that several nodes can reach, devices that several
claims may share (consumable capacity), devices that must be prepared before a pod is bound (binding conditions), and
pools whose counters span nodes. Kubernetes' own scheduler has to give those.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from placement.dra.cel import OfDomains, Value
from placement.dra.cel_syntax import CelError
from placement.dra.cel_values import Quantity, quantity, semver
from placement.dra.devices import CounterSet, Device, DeviceTaint, NodeDevices, Uses

Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class PoolKey:
    driver: str
    pool: str


@dataclass(frozen=True, slots=True, eq=False)
class Slice:
    """One ResourceSlice as read."""

    name: str
    key: PoolKey
    generation: int
    slices: int  # that the pool has in this generation
    devices: tuple[tuple[str, Device], ...]  # node -> device
    counters: Mapping[CounterSet, Mapping[str, Fraction]]
    left_out: Mapping[str, int]  # why -> devices


@dataclass(frozen=True, slots=True)
class Offer:
    """What a pool offers on each node, and why it offers no more."""

    nodes: Mapping[str, NodeDevices] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


def read(obj: Object) -> Slice:
    """Raises KeyError, TypeError, ValueError, CelError where the object is no ResourceSlice of resource.k8s.io/v1."""
    spec = obj["spec"]
    pool = spec["pool"]
    key = PoolKey(spec["driver"], pool["name"])
    left_out: Counter[str] = Counter()
    devices = [
        (node, made)
        for device in spec.get("devices") or ()
        if (node := _node_of(spec, device, left_out)) and (made := _device(key, device)) is not None
    ]
    counters = {
        (key.driver, key.pool, shared["name"]): _counters(shared["counters"])
        for shared in spec.get("sharedCounters") or ()
    }
    name, generation = obj["metadata"]["name"], int(pool.get("generation", 0))
    return Slice(name, key, generation, int(pool["resourceSliceCount"]), tuple(devices), counters, left_out)


def offered(slices: Sequence[Slice]) -> Offer:
    """Of one pool; `slices` are those of every generation."""
    newest = max((each.generation for each in slices), default=0)
    current = sorted((each for each in slices if each.generation == newest), key=lambda each: each.name)
    if not current:
        return Offer()
    where = f"pool {current[0].key.pool} of {current[0].key.driver}"
    if len(current) != current[0].slices:
        return Offer(problems=(f"{where} is being updated: {len(current)} of {current[0].slices} slices are there",))
    pairs = [pair for each in current for pair in each.devices]
    names = Counter(device.name for _, device in pairs)
    if (twice := next((name for name, count in names.items() if count > 1), None)) is not None:
        return Offer(problems=(f"{where} has two devices {twice}",))
    counters = {name: amounts for each in current for name, amounts in each.counters.items()}
    if (unknown := next(_unknown_counters(pairs, counters), None)) is not None:
        return Offer(problems=(f"{where}: device {unknown} uses counters that the pool does not have",))
    by_node: dict[str, list[Device]] = {}
    for node, device in pairs:
        by_node.setdefault(node, []).append(device)
    left_out = sum((Counter(each.left_out) for each in current), Counter())
    problems = [f"{where}: {count} devices are left out: {why}" for why, count in sorted(left_out.items())]
    if counters and (len(by_node) > 1 or left_out):
        return Offer(problems=(*problems, f"{where}: its counters span nodes or devices that are left out"))
    return Offer({node: NodeDevices(tuple(found), counters) for node, found in by_node.items()}, tuple(problems))


def _node_of(spec: Object, device: Object, left_out: Counter[str]) -> str:
    if device.get("allowMultipleAllocations"):
        left_out["several claims may share them"] += 1
    elif device.get("bindingConditions") or device.get("bindingFailureConditions"):
        left_out["they must be prepared before a pod is bound"] += 1
    elif node := (device if spec.get("perDeviceNodeSelection") else spec).get("nodeName"):
        return str(node)
    else:
        left_out["they are not of one node"] += 1
    return ""


def _device(key: PoolKey, device: Object) -> Device:
    attributes, capacity = OfDomains(), OfDomains()
    for name, value in (device.get("attributes") or {}).items():
        _put(attributes, key.driver, name, _attribute(value))
    for name, value in (device.get("capacity") or {}).items():
        _put(capacity, key.driver, name, quantity(str(value["value"])))
    taints = [DeviceTaint(t["key"], t.get("value") or "", t["effect"]) for t in device.get("taints") or ()]
    return Device(key.driver, key.pool, device["name"], attributes, capacity, tuple(taints), _uses(key, device))


def _put(domains: OfDomains, driver: str, qualified: str, value: Value) -> None:
    domain, _, name = qualified.rpartition("/")
    domains.setdefault(domain or driver, {})[name] = value


def _attribute(value: Object) -> Value:
    for kind in ("int", "bool", "string"):
        if kind in value:
            return value[kind]
        if f"{kind}s" in value:
            return list(value[f"{kind}s"])
    if "versions" in value:
        return [semver(each) for each in value["versions"]]
    return semver(value["version"])


def _uses(key: PoolKey, device: Object) -> Uses:
    return tuple(
        ((key.driver, key.pool, each["counterSet"]), tuple(sorted(_counters(each["counters"]).items())))
        for each in device.get("consumesCounters") or ()
    )


def _counters(given: Object) -> dict[str, Fraction]:
    return {name: _amount(counter) for name, counter in given.items()}


def _amount(counter: Object) -> Fraction:
    found = quantity(str(counter["value"]))
    if not isinstance(found, Quantity) or found.amount < 0:
        raise CelError(f"{counter} is no amount of a counter")
    return found.amount


def _unknown_counters(
    pairs: Sequence[tuple[str, Device]], counters: Mapping[CounterSet, Mapping[str, Fraction]]
) -> Iterator[str]:
    for _, device in pairs:
        for name, amounts in device.uses:
            if any(counter not in counters.get(name, {}) for counter, _ in amounts):
                yield device.name
