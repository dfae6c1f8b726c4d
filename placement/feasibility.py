"""Whether one cluster can take a workload now, and if not, why, with numbers.

Checked in the order in which a person would ask; the first stage that finds something ends it: may the hub send
anything there at all (health, cordon, the job's own lists, the residency of its data), can the cluster run such a thing
(kind, device, constraints), and only then is there room (resources, topology).
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterator

from placement.capacity import Capacity, Fit, Inventory
from placement.data import DataCatalog, may_be_in, out_of_reach
from placement.fleet import Cluster, Health
from placement.inventory import DeviceClass
from placement.matching import obstacle
from placement.safety import policy
from placement.safety.footprint import Footprint
from placement.safety.policy import Policy, Refusal
from placement.verdict import (
    ClusterNotReady,
    ConstraintUnmet,
    Cordoned,
    DatasetNowhere,
    DatasetOutOfReach,
    DatasetUnknown,
    DeviceMissing,
    KindNotServed,
    LevelUnknown,
    MustNotLeave,
    NotAllowed,
    OverrideRefused,
    PolicyForbids,
    Reason,
    ResourcesShort,
    TopologyShort,
)
from placement.workload import DeviceNeed, Role, Workload

_NO_DATA = DataCatalog()


def why_not(
    workload: Workload, cluster: Cluster, capacity: Capacity | None, data: DataCatalog = _NO_DATA
) -> tuple[Reason, ...]:
    """Empty where the cluster can take it. `capacity` is None while the cluster has not reported."""
    answer = judge(workload, cluster, capacity, data)
    return () if isinstance(answer, Fit) else answer


def judge(
    workload: Workload, cluster: Cluster, capacity: Capacity | None, data: DataCatalog = _NO_DATA
) -> Fit | tuple[Reason, ...]:
    """As it is on that cluster."""
    if closed := tuple(_closed(workload, cluster, data)):
        return closed
    if capacity is None:
        return (ClusterNotReady(cluster.name, Health.JOINING.value),)
    if unable := tuple(_unable(workload, capacity.inventory)):
        return unable
    fit = capacity.fit(workload)
    return fit if isinstance(fit, Fit) else (fit,)


def may_fit(workload: Workload, cluster: Cluster, capacity: Capacity | None, data: DataCatalog = _NO_DATA) -> bool:
    """Whether nothing but room could be missing. It stays so while what `judge` reads besides room is the same."""
    return (
        capacity is not None
        and not any(_closed(workload, cluster, data))
        and not any(_unable(workload, capacity.inventory))
    )


def could_ever(workload: Workload, cluster: Cluster, capacity: Capacity | None, data: DataCatalog = _NO_DATA) -> bool:
    """Whether it could run there if the cluster were ready and empty. Unknown counts as yes."""
    if any(left_out(workload, cluster, data)):
        return False
    if capacity is None:
        return True
    never = (DeviceMissing, ConstraintUnmet)
    if any(isinstance(reason, never) for reason in _unable(workload, capacity.inventory)):
        return False
    return capacity.ever_fits(workload)


def telling(reason: Reason) -> tuple[int, str]:
    """Sorts reasons so that the one nearest to being mended comes first."""
    match reason:
        case ResourcesShort(ever=ever) | TopologyShort(ever=ever):
            rank = 0 if ever else 3
        case LevelUnknown() | ConstraintUnmet() | DeviceMissing():
            rank = 4
        case KindNotServed():
            rank = 5
        case NotAllowed() | OverrideRefused() | PolicyForbids() | MustNotLeave() | DatasetOutOfReach():
            rank = 6
        case ClusterNotReady() | Cordoned():
            rank = 2
        case _:
            rank = 1
    return rank, reason.message


def left_out(workload: Workload, cluster: Cluster, data: DataCatalog = _NO_DATA) -> Iterator[Reason]:
    """What the job itself, its data, what is overridden there, or the cluster's owner has against it."""
    variant = workload.variants.get(cluster.name)
    if variant is not None and (found := variant.refusal) is not None:
        yield OverrideRefused(cluster.name, found.override, found.field, found.message, found.mend)
    workload = workload.at(cluster.name)
    yield from _forbidden(workload, cluster)
    hints = workload.hints
    if hints.clusters and cluster.name not in hints.clusters:
        yield NotAllowed(cluster.name, f"clusters ({', '.join(hints.clusters)})")
    if cluster.name in hints.excluded_clusters:
        yield NotAllowed(cluster.name, f"exclude-clusters ({', '.join(hints.excluded_clusters)})")
    if hints.regions and cluster.region not in hints.regions:
        yield NotAllowed(cluster.name, f"regions ({', '.join(hints.regions)})")
    for dataset in data.used_by(workload) if workload.data else ():
        if not may_be_in(dataset, cluster.region):
            yield MustNotLeave(cluster.name, dataset.name, dataset.residency, cluster.region)
    for dataset in out_of_reach(data, workload, cluster.name, cluster.region) if workload.data else ():
        holders = tuple(dict.fromkeys(one.cluster for one in dataset.replicas))
        yield DatasetOutOfReach(cluster.name, dataset.name, holders)


def _forbidden(workload: Workload, cluster: Cluster) -> Iterator[PolicyForbids]:
    """Its spoke judges the very objects and has the last word: a hub that was not told sends them in vain."""
    rules = cluster.summary.policy if cluster.summary is not None else None
    if rules is not None and workload.footprint.namespace:
        found = _refusals(rules, workload.footprint)
        if found:
            yield PolicyForbids(cluster.name, found[0].path, found[0].message, len(found) - 1)


@functools.lru_cache(maxsize=4096)
def _refusals(rules: Policy, footprint: Footprint) -> tuple[Refusal, ...]:
    return tuple(policy.refusals(rules, footprint))


# ---- may the hub send anything there ----


def _closed(workload: Workload, cluster: Cluster, data: DataCatalog) -> Iterator[Reason]:
    if cluster.health is not Health.READY:
        yield ClusterNotReady(cluster.name, cluster.health.value)
    if cluster.cordoned:
        yield Cordoned(cluster.name)
    yield from left_out(workload, cluster, data)
    yield from _unreadable(workload.at(cluster.name), data)


def _unreadable(workload: Workload, data: DataCatalog) -> Iterator[Reason]:
    """Data that could be read nowhere: it may be declared yet, or get a replica."""
    for use in workload.data:
        dataset = data.find(use)
        if dataset is None and not use.is_place:
            yield DatasetUnknown(use.name)
        elif dataset is not None and not dataset.replicas:
            yield DatasetNowhere(dataset.name)


# ---- can the cluster run such a thing ----


def _unable(workload: Workload, inventory: Inventory) -> Iterator[Reason]:
    workload = workload.at(inventory.cluster)
    if workload.resource_kind not in inventory.summary.kinds:
        yield KindNotServed(inventory.cluster, workload.resource_kind)
    for brought in workload.brings:
        if brought.needed and brought.kind not in inventory.summary.kinds:
            yield KindNotServed(inventory.cluster, brought.kind)
    for role in workload.roles:
        if role.replicas < 1:
            continue
        missing = [_missing(role, device, inventory) for device in role.devices if device.amount > 0]
        if found := [reason for reason in missing if reason is not None]:
            yield from found
        elif not inventory.demands.admitting(role.constraint):
            yield ConstraintUnmet(inventory.cluster, role.name, _what_stops_most(role, inventory))


def _missing(role: Role, need: DeviceNeed, inventory: Inventory) -> DeviceMissing | None:
    known = inventory.devices
    if any(_is_meant(device, need, role.products) for device in known):
        return None
    return DeviceMissing(
        inventory.cluster, need.resource, role.products, tuple(sorted({d.product or d.resource for d in known}))
    )


def _is_meant(device: DeviceClass, need: DeviceNeed, products: tuple[str, ...]) -> bool:
    """A node that does not say its product may be it; its labels decide then."""
    return device.resource == need.resource and (not products or not device.product or device.product in products)


def _what_stops_most(role: Role, inventory: Inventory) -> str:
    """Over the nodes with the device, or all of them where the role asks for none."""
    wanted = {device.resource for device in role.devices}
    stopped: Counter[str] = Counter()
    for shape in inventory.summary.shapes:
        node_class = inventory.classes[shape.node_class]
        if wanted and not wanted & {device.resource for device in node_class.devices}:
            continue
        hidden = inventory.summary.hidden_labels
        detail = obstacle(role.constraint, dict(node_class.labels), node_class.taints, hidden)
        stopped[detail or ""] += shape.nodes
    if not stopped:
        return "it has no nodes" if not inventory.summary.shapes else "none of its nodes has the device"
    total = sum(stopped.values())
    detail, nodes = min(stopped.items(), key=lambda item: (-item[1], item[0]))
    return f"on {nodes} of {total} nodes {detail}"
