"""What must never happen to queues, checked on a plan and its fleet alone: neither admission nor backfill is asked.

Quota is checked as it is meant, on what is used in the end, by queues that got something: a queue has what it does not
lend to itself, everything beyond counts in its cohort, no queue has more than its own and what it may borrow, and no
root more than its tree holds. Of a reserved start: that one cluster is kept for one job, and that what it waits for
runs there and ends. That nobody behind delays it takes time to see, and is a property of many cycles (tests).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from placement.fleet import Fleet, Reservation
from placement.queues.tree import ANY_GPU, CPU_CORES, QueueTree, Quota
from placement.verdict import Decision, ExpectedStart, Placed, Plan, Waiting
from placement.workload import Workload

_SAME = 1e-6
_NONE = Quota()


def check(plan: Plan, fleet: Fleet) -> Iterator[str]:
    made = [one.verdict.reservation for one in plan.decisions if isinstance(one.verdict, Placed)]
    for held in made:
        yield from _of_queue(held, fleet.queues)
    yield from _beyond_quota(made, fleet)
    kept: Counter[str] = Counter()
    for decision in plan.decisions:
        if isinstance(decision.verdict, Waiting) and decision.verdict.start is not None:
            kept[decision.verdict.start.cluster] += 1
            yield from _of_start(decision, decision.verdict.start, plan, fleet)
    yield from (f"{name} is kept for {times} jobs at once" for name, times in kept.items() if times > 1)


def _of_queue(held: Reservation, tree: QueueTree) -> Iterator[str]:
    queue = held.workload.hints.queue
    if queue not in tree.queues:
        yield f"job {held.job} is placed from queue {queue}, which does not exist"
    elif any(other.cohort == queue for other in tree.queues.values()):
        yield f"job {held.job} is placed from {queue}, which is a cohort"
    if held.since is None:
        yield f"job {held.job} is placed at no time"
    if any(amount < 0 for _, amount in held.uses):
        yield f"job {held.job} uses less than nothing: {held.uses}"
    shares = any(device.is_share for role in held.workload.roles for device in role.devices)
    gpus = sum(amount for device, amount in held.uses if device != CPU_CORES)
    if not shares and abs(gpus - held.workload.total_gpus) > _SAME:
        yield f"job {held.job} is counted as {gpus:g} GPUs, it asks for {held.workload.total_gpus}"


# ---- quota ----


def _beyond_quota(made: Sequence[Reservation], fleet: Fleet) -> Iterator[str]:
    tree = fleet.queues
    for root in sorted(name for name, queue in tree.queues.items() if not queue.cohort):
        family = _under(root, tree)
        classes = {device for name in family for device in tree.queues[name].quotas}
        for device in sorted(classes):
            before = _used(device, classes, fleet.reservations)
            after = _used(device, classes, (*fleet.reservations, *made))
            for name in sorted(family):
                # Quota may be lowered below use: only who got more must be within it.
                if _counted(name, device, after, tree) > _counted(name, device, before, tree) + _SAME:
                    yield from _queue_beyond(name, device, after, tree)


def _used(device: str, classes: set[str], held: Iterable[Reservation]) -> dict[str, float]:
    """By queue, what counts under the class."""
    found: dict[str, float] = {}
    for one in held:
        queue = one.workload.hints.queue
        for product, amount in one.uses or _told(one.workload):
            counts_as = product if product in classes else (ANY_GPU if product != CPU_CORES else "")
            if counts_as == device:
                found[queue] = found.get(queue, 0.0) + amount
    return found


def _queue_beyond(name: str, device: str, own: Mapping[str, float], tree: QueueTree) -> Iterator[str]:
    used, has = _counted(name, device, own, tree), _has(name, device, tree)
    quota = tree.queues[name].quotas.get(device, _NONE)
    if not tree.queues[name].cohort:
        if used > has + _SAME:
            yield f"queue {name} and its parts use {used:g} {device}, they have {has:g}"
    elif quota.borrowing_limit is not None and used > has + quota.borrowing_limit + _SAME:
        yield f"queue {name} uses {used:g} {device}, it has {has:g} and may borrow {quota.borrowing_limit:g}"


def _counted(name: str, device: str, own: Mapping[str, float], tree: QueueTree) -> float:
    parts = [other.name for other in tree.queues.values() if other.cohort == name]
    beyond = sum(max(0.0, _counted(part, device, own, tree) - _keeps(part, device, tree)) for part in parts)
    return own.get(name, 0.0) + beyond


def _has(name: str, device: str, tree: QueueTree) -> float:
    parts = [other.name for other in tree.queues.values() if other.cohort == name]
    lent = sum(_has(part, device, tree) - _keeps(part, device, tree) for part in parts)
    return tree.queues[name].quotas.get(device, _NONE).nominal + lent


def _keeps(name: str, device: str, tree: QueueTree) -> float:
    limit = tree.queues[name].quotas.get(device, _NONE).lending_limit
    return 0.0 if limit is None else max(0.0, _has(name, device, tree) - limit)


def _under(root: str, tree: QueueTree) -> set[str]:
    found = {root}
    for _ in tree.queues:
        found |= {name for name, queue in tree.queues.items() if queue.cohort in found}
    return found


def _told(workload: Workload) -> Iterator[tuple[str, float]]:
    for role in workload.roles:
        product = role.products[0] if len(role.products) == 1 else ""
        yield (
            (product, role.replicas * role.gpus_per_pod)
            if role.devices
            else (
                CPU_CORES,
                role.replicas * role.requests["cpu"] / 1000,
            )
        )


# ---- reserved starts ----


def _of_start(decision: Decision, start: ExpectedStart, plan: Plan, fleet: Fleet) -> Iterator[str]:
    cluster = fleet.clusters.get(start.cluster)
    if cluster is None or cluster.summary is None:
        yield f"job {decision.job} is to start on {start.cluster}, which has not reported"
        return
    made = [d.verdict.reservation for d in plan.decisions if isinstance(d.verdict, Placed)]
    there = (*fleet.reservations, *made)
    ending = {held.job for held in there if held.cluster == start.cluster and held.expected_end is not None}
    if strays := sorted(set(start.after) - ending):
        yield f"job {decision.job} waits for {', '.join(strays)}, which do not end on {start.cluster}"
    if not start.after:
        yield f"job {decision.job} is to start on {start.cluster} at {start.at} and waits for nothing"
