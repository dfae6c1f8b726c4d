"""Of the GPUs that are free on a cluster: how many could hold pods of this job, and what is the matter with the rest.

Every free GPU is counted once, under the first thing that keeps this job from it: the cluster, the product or node, a
piece that is too small for a pod, another rack than the best, the job's queue, a job ahead. Shares of a card's memory
are not counted: what is free of them is no number of cards.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from placement.bins import Bin, Spec, Unit
from placement.bursting import BurstNotYet
from placement.capacity import Capacity
from placement.demand import pairs
from placement.inventory import DeviceClass, DeviceForm
from placement.packing import domains_of
from placement.queues.reasons import BudgetShort, KeptForAnother, QuotaShort
from placement.verdict import (
    ClusterNotReady,
    Cordoned,
    DatasetNowhere,
    DatasetOutOfReach,
    DatasetUnknown,
    KindNotServed,
    LevelUnknown,
    MustNotLeave,
    NotAllowed,
    ObjectsMissing,
    OverrideRefused,
    Reason,
    RefusedBySpoke,
)
from placement.workload import Workload


@dataclass(frozen=True, slots=True)
class NotForIt:
    gpus: int
    why: str  # for people: "in pieces too small for a pod of 8"


@dataclass(frozen=True, slots=True)
class GpuUse:
    cluster: str
    total: int
    free: int  # after everything that is promised
    usable: int  # by pods of this job, with what is the matter left aside
    rest: tuple[NotForIt, ...]


def gpu_use(workload: Workload, capacity: Capacity, reasons: Sequence[Reason]) -> GpuUse | None:
    """None where the job asks for no whole GPUs. `reasons`: why the planner left the cluster out; () if it did not."""
    workload = workload.at(capacity.inventory.cluster)
    specs = [spec for spec, _ in pairs(capacity.inventory.demands.of(workload.roles)[-1])]
    wanting = [spec for spec in specs if any(not need.is_share for need in spec.devices)]
    if not wanting:
        return None
    summary = capacity.inventory.summary
    free = sum(_free(node, device) * count for node, device, count in _cards(capacity.root, capacity))
    closed = next((words for reason in reasons if (words := _closed(reason))), "")
    if closed:
        kept = (NotForIt(free, closed),) if free else ()
        return GpuUse(capacity.inventory.cluster, summary.gpus_total, free, 0, kept)
    usable, why = _by_place(workload, capacity, wanting)
    for reason in reasons:
        usable, why = _withheld(reason, usable, why)
    rest = tuple(NotForIt(gpus, words) for words, gpus in why.most_common() if gpus)
    return GpuUse(capacity.inventory.cluster, summary.gpus_total, free, usable, rest)


def _by_place(workload: Workload, capacity: Capacity, wanting: Sequence[Spec]) -> tuple[int, Counter[str]]:
    why: Counter[str] = Counter()
    for node, device, count in _cards(capacity.root, capacity):
        held, words = _held(node, device, wanting, _products(workload))
        why[words] += (_free(node, device) - held) * count
    ceiling = capacity.ceiling(workload)
    if isinstance(ceiling, LevelUnknown) or ceiling >= capacity.root.rank:
        return _usable(capacity.root, capacity, wanting, workload), why
    parts = [(_usable(unit, capacity, wanting, workload), count) for unit, count in domains_of(capacity.root, ceiling)]
    best = max((part for part, _ in parts), default=0)
    everywhere = _usable(capacity.root, capacity, wanting, workload)
    level = capacity.inventory.ladder.name(ceiling)
    why[f"outside the {level} that has the most for it"] += everywhere - best
    return best, why


def _usable(unit: Unit, capacity: Capacity, wanting: Sequence[Spec], workload: Workload) -> int:
    products = _products(workload)
    return sum(_held(node, device, wanting, products)[0] * count for node, device, count in _cards(unit, capacity))


def _held(node: Bin, device: DeviceClass, wanting: Sequence[Spec], products: frozenset[str]) -> tuple[int, str]:
    """How many of the node's free cards pods of the job could have, and what is the matter with the others."""
    name = device.product or device.resource
    asking = [spec for spec in wanting if device.resource in spec.need]
    if not asking or (products and device.product and device.product not in products):
        return 0, f"of another product ({name})"
    fitting = [spec for spec in asking if node.node_class in spec.classes]
    if not fitting:
        return 0, "on nodes that it may not use"
    held = max(node.peaks(spec)[0] * spec.need[device.resource] for spec in fitting)
    smallest = min(spec.need[device.resource] for spec in fitting)
    free = _free(node, device)
    if held == 0 and free >= smallest:
        return 0, "on nodes short of CPU or memory"
    return min(held, free), f"in pieces too small for a pod of {smallest}"


def _withheld(reason: Reason, usable: int, why: Counter[str]) -> tuple[int, Counter[str]]:
    """What its queue, or a job ahead, keeps from it of what it could use."""
    match reason:
        case BurstNotYet():
            why[f"the cluster is public, and not for queue {reason.queue} before {reason.opens:%F %H:%M} UTC"] += usable
            return 0, why
        case KeptForAnother():
            why[f"kept for {reason.job}, from {reason.start} on"] += usable
            return 0, why
        case QuotaShort():
            left = min(usable, max(0, int(reason.left + 1e-6)))
            why[f"over the quota of queue {reason.queue}"] += usable - left
            return left, why
        case BudgetShort():
            why[f"over the budget of queue {reason.queue} for the {reason.period}"] += usable
            return 0, why
        case RefusedBySpoke():
            why["refused by the cluster's spoke, to be asked again"] += usable
            return 0, why
    return usable, why


def _closed(reason: Reason) -> str:
    match reason:
        case ClusterNotReady():
            return f"the cluster is {reason.health}"
        case Cordoned():
            return "the cluster is cordoned"
        case NotAllowed():
            return f"left out by the job's {reason.rule}"
        case ObjectsMissing():
            return f"the cluster has no {', '.join(reason.objects)}"
        case OverrideRefused():
            return f"override {reason.override} cannot be applied to it"
        case KindNotServed():
            return f"the cluster does not serve {reason.kind}"
        case LevelUnknown():
            return f"the cluster has no level {reason.level}"
        case MustNotLeave():
            return f"dataset {reason.dataset} must not leave {' or '.join(reason.residency)}"
        case DatasetUnknown() | DatasetNowhere() | DatasetOutOfReach():
            return f"dataset {reason.dataset} cannot be read"
    return ""


def _cards(unit: Unit, capacity: Capacity) -> Iterable[tuple[Bin, DeviceClass, int]]:
    """Each kind of whole card on each kind of node."""
    nodes = {unit: 1} if isinstance(unit, Bin) else unit.bins()
    for node, count in nodes.items():
        for device in capacity.inventory.classes[node.node_class].devices:
            if device.form is not DeviceForm.SHARED_MEMORY:
                yield node, device, count


def _free(node: Bin, device: DeviceClass) -> int:
    return max(0, node.free[device.resource])


def _products(workload: Workload) -> frozenset[str]:
    """Those that every role with GPUs names; none where one of them takes any."""
    named = [role.products for role in workload.roles if role.gpus_per_pod]
    return frozenset(product for products in named for product in products) if all(named) else frozenset()
