"""Queues as people declare them, and whether what they declare can be.

A queue that others name as their `cohort` is a cohort: its children lend each other what they do not use, and no job
waits in it itself. Quota, limits and weight mean what they mean in Kueue: `nominal` is what a queue has of its own,
`borrowing_limit` how much more it may take from its cohort (None: all there is), `lending_limit` how much of its own
the cohort may take (None: all of it).

Quota is counted by device class: a product, `*` for every GPU whose product nobody in the tree names, `cpu` for the
cores of pods without devices. A class that no queue under the same root names is not limited there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from math import inf, isfinite

ANY_GPU = "*"
CPU_CORES = "cpu"
DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Quota:
    """Of one device class, in cards (cores for `cpu`)."""

    nominal: float = 0.0
    borrowing_limit: float | None = None
    lending_limit: float | None = None


@dataclass(frozen=True, slots=True)
class Budget:
    """What a queue, with all queues under it, may spend in a UTC day or month. None: no limit."""

    gpu_hours_per_day: float | None = None
    usd_per_day: float | None = None
    gpu_hours_per_month: float | None = None
    usd_per_month: float | None = None

    @property
    def is_limited(self) -> bool:
        return self != Budget()


class Reach(StrEnum):
    """Whose jobs may be evicted."""

    NEVER = "never"
    LOWER_PRIORITY = "lower-priority"  # strictly
    ANY = "any"


@dataclass(frozen=True, slots=True)
class Preemption:
    """What a job that waits in this queue may have evicted (`placement.preemption.rights`)."""

    within_queue: Reach = Reach.LOWER_PRIORITY  # jobs of the same queue; `any` would have no end, and is refused
    reclaim: Reach = Reach.ANY  # jobs that use what they borrowed, while this queue stays within its own
    fair_share: Reach = Reach.LOWER_PRIORITY  # jobs of queues that have more than their share, while this has less


@dataclass(frozen=True, slots=True)
class Queue:
    name: str
    cohort: str = ""  # the queue it is a part of; "" for a root
    quotas: Mapping[str, Quota] = field(default_factory=dict)  # by device class
    weight: float = 1.0  # of its fair share among its siblings; 0: after all others
    budget: Budget = Budget()
    burst_after_hours: float | None = None  # of waiting, before a public cluster may be used; None: as its cohort says
    preemption: Preemption = Preemption()


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that cannot be: which queue and field, what stands there, and what to do."""

    queue: str
    field: str
    message: str
    mend: str

    def __str__(self) -> str:
        return f"queue {self.queue}: {self.field}: {self.message}: {self.mend}"


@dataclass(frozen=True)
class QueueTree:
    """Queues by name. Made by `QueueTree.of`, and sound where `faults` found nothing."""

    queues: Mapping[str, Queue] = field(default_factory=lambda: {DEFAULT: Queue(DEFAULT)})

    @classmethod
    def of(cls, queues: Iterable[Queue]) -> QueueTree:
        return cls({queue.name: queue for queue in queues})

    @cached_property
    def cohorts(self) -> frozenset[str]:
        return frozenset(queue.cohort for queue in self.queues.values() if queue.cohort)

    @cached_property
    def open(self) -> frozenset[str]:
        """The queues that jobs may name."""
        return frozenset(self.queues) - self.cohorts

    @cached_property
    def children(self) -> Mapping[str, tuple[str, ...]]:
        """Without those of a cycle, so that whoever goes down comes to an end even where `faults` was not asked."""
        found: dict[str, list[str]] = {name: [] for name in self.queues}
        for queue in self.queues.values():
            if queue.cohort in found and not _is_in_a_cycle(queue.name, self):
                found[queue.cohort].append(queue.name)
        return {name: tuple(sorted(names)) for name, names in found.items()}

    @cached_property
    def paths(self) -> Mapping[str, tuple[Queue, ...]]:
        """From each queue up to its root, both included."""
        return {name: tuple(self._upwards(name)) for name in self.queues}

    @cached_property
    def classes(self) -> Mapping[str, frozenset[str]]:
        """By root, the device classes that are limited under it."""
        found: dict[str, set[str]] = {}
        for name, queue in self.queues.items():
            found.setdefault(self.paths[name][-1].name, set()).update(queue.quotas)
        return {root: frozenset(classes) for root, classes in found.items()}

    @cached_property
    def limited(self) -> frozenset[str]:
        """The queues in which a job may be refused for quota or budget."""
        return frozenset(
            name
            for name, path in self.paths.items()
            if self.classes[path[-1].name] or any(queue.budget.is_limited for queue in path)
        )

    def class_of(self, queue: str, product: str) -> str | None:
        """Under which quota a product (or `cpu`) counts in this queue; None where it is not limited."""
        named = self.classes[self.paths[queue][-1].name]
        if product in named:
            return product
        return ANY_GPU if product != CPU_CORES and ANY_GPU in named else None

    def _upwards(self, name: str) -> Iterator[Queue]:
        seen: set[str] = set()
        while name in self.queues and name not in seen:
            seen.add(name)
            queue = self.queues[name]
            yield queue
            name = queue.cohort


def faults(tree: QueueTree) -> tuple[Fault, ...]:
    """Everything that cannot be about these queues; none means that the tree may be used."""
    return tuple(fault for _, queue in sorted(tree.queues.items()) for fault in _faults_of(queue, tree))


def _faults_of(queue: Queue, tree: QueueTree) -> Iterator[Fault]:
    if queue.cohort and queue.cohort not in tree.queues:
        known = ", ".join(sorted(tree.queues.keys() - {queue.name})) or "none"
        yield Fault(queue.name, "cohort", f"there is no queue {queue.cohort!r}", f"create it first; there are: {known}")
    elif _is_in_a_cycle(queue.name, tree):
        way = " → ".join([*(each.name for each in tree.paths[queue.name]), queue.name])
        yield Fault(queue.name, "cohort", f"its cohorts lead back to itself ({way})", "name another cohort, or none")
    yield from _wrong_amount(queue.name, "weight", queue.weight, "give 0 or more")
    yield from _wrong_amount(
        queue.name, "burst_after_hours", queue.burst_after_hours, "give 0 or more hours, or nothing: at once"
    )
    if queue.preemption.within_queue is Reach.ANY:
        mend = f"say {Reach.NEVER} or {Reach.LOWER_PRIORITY}"
        yield Fault(queue.name, "preemption.within_queue", "equals would evict each other for ever", mend)
    for device, quota in sorted(queue.quotas.items()):
        yield from _faults_of_quota(queue, device, quota)
    for name in Budget.__dataclass_fields__:
        yield from _wrong_amount(
            queue.name, f"budget.{name}", getattr(queue.budget, name), "give 0 or more, or nothing"
        )


def _faults_of_quota(queue: Queue, device: str, quota: Quota) -> Iterator[Fault]:
    at = f"quotas[{device}]"
    if not device:
        yield Fault(queue.name, "quotas", "a device class has no name", "name a product, * or cpu")
    for name in Quota.__dataclass_fields__:
        yield from _wrong_amount(queue.name, f"{at}.{name}", getattr(quota, name), "give 0 or more")
    for name in ("borrowing_limit", "lending_limit"):
        if not queue.cohort and getattr(quota, name) is not None:
            yield Fault(queue.name, f"{at}.{name}", "it is in no cohort", "name a cohort, or leave the limit out")


def _wrong_amount(queue: str, name: str, amount: float | None, mend: str) -> Iterator[Fault]:
    if amount is not None and not (isfinite(amount) and 0 <= amount < inf):
        yield Fault(queue, name, f"{amount:g} is no amount", mend)


def _is_in_a_cycle(name: str, tree: QueueTree) -> bool:
    at = tree.queues[name].cohort
    for _ in tree.queues:
        if at == name:
            return True
        if at not in tree.queues:
            return False
        at = tree.queues[at].cohort
    return False
