"""The sizes that an elastic workload may have, in one order from the largest to the smallest.

A size is so many pods of each role. Pods are taken from whichever role is furthest above its least, so that roles that
grow and shrink keep pace with each other; the gang's number and each role's least are never gone below. Roles in slices
keep their size: a part of a slice is of no use.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from placement.workload import Role, Workload

Pods = Mapping[str, int]  # by role


def pods_of(workload: Workload) -> dict[str, int]:
    return {role.name: role.replicas for role in workload.roles}


def with_pods(workload: Workload, pods: Pods) -> Workload:
    """The same workload with so many pods of the roles that are named."""
    if all(pods.get(role.name, role.replicas) == role.replicas for role in workload.roles):
        return workload
    workload = _with_variants(workload, lambda variant: with_pods(variant, pods))
    roles = tuple(
        replace(role, replicas=count, minimum=min(role.minimum, count))
        if (count := pods.get(role.name, role.replicas)) != role.replicas
        else role
        for role in workload.roles
    )
    return replace(workload, roles=roles, min_pods=min(workload.min_pods, sum(role.replicas for role in roles)))


def slack(workload: Workload, *, running: bool = False) -> int:
    """How many pods it can do without; `running`: while it runs."""
    above = sum(_above(role, running) for role in workload.roles)
    return max(0, min(above, workload.pods - workload.min_pods))


def headroom(workload: Workload) -> int:
    """How many more pods it could use while it runs."""
    return sum(_below(role) for role in workload.roles)


def least(workload: Workload) -> Workload:
    """With as few pods of each role as it may ever have, whatever the gang's number says."""
    return with_pods(workload, {role.name: role.sizes.least for role in workload.roles if role.sizes is not None})


def fewer(workload: Workload, pods: int, *, running: bool = False) -> Workload:
    """With so many pods less, or a few more than that less where they go in steps; never below what it needs."""
    left = min(pods, slack(workload, running=running))
    room = workload.pods - workload.min_pods
    above = {role.name: _above(role, running) for role in workload.roles}
    steps = {role.name: role.sizes.step for role in workload.roles if role.sizes is not None}
    counts = pods_of(workload)
    while left > 0:
        # What goes in steps may not go at all where the gang's number is nearer than a step.
        able = [name for name, count in above.items() if count and steps[name] <= room]
        if not able:
            break
        name, part = _turn(above, able, left)
        taken = min(-(-part // steps[name]), above[name] // steps[name], room // steps[name]) * steps[name]
        counts[name] -= taken
        above[name] -= taken
        room -= taken
        left -= taken
    return with_pods(workload, counts)


def more(workload: Workload, pods: int) -> Workload:
    """With so many pods more, at most (it runs), and no more than it may have."""
    left = pods
    below = {role.name: _below(role) for role in workload.roles}
    steps = {role.name: role.sizes.step for role in workload.roles if role.sizes is not None}
    counts = pods_of(workload)
    while True:
        able = [name for name, count in below.items() if count and steps[name] <= min(count, left)]
        if not able:
            return with_pods(workload, counts)
        name, part = _turn(below, able, left)
        given = max(part // steps[name], 1) * steps[name]
        given = min(given, below[name] // steps[name] * steps[name])
        counts[name] += given
        below[name] -= given
        left -= given


def added(larger: Workload, smaller: Workload) -> Workload | None:
    """The pods that the larger has beyond the smaller, each for itself and anywhere; None where there are none."""
    had = pods_of(smaller)
    larger = _with_variants(larger, lambda variant: added(variant, smaller))
    roles = tuple(
        replace(role, replicas=count, minimum=0, topology=None, slices=None, sizes=None)
        for role in larger.roles
        if (count := role.replicas - had.get(role.name, 0)) > 0
    )
    return replace(larger, roles=roles, min_pods=0, topology=None) if roles else None


def _with_variants(workload: Workload, change: Callable[[Workload], Workload | None]) -> Workload:
    """With the same change to what it is on clusters that override it."""
    if not workload.variants:
        return workload
    variants = {
        name: one if one.workload is None else replace(one, workload=change(one.workload))
        for name, one in workload.variants.items()
    }
    return replace(workload, variants=variants)


def in_words(workload: Workload) -> str:
    """ "Worker 3 of 2 to 8": what of its range each elastic role has, for people; "" where there is none."""
    ranges = ((role.name, role.replicas, role.sizes) for role in workload.roles if role.sizes is not None)
    return ", ".join(f"{name} {count} of {sizes.least} to {sizes.most}" for name, count, sizes in ranges)


def _resizes(role: Role, running: bool) -> bool:
    return role.sizes is not None and role.slices is None and (role.sizes.running or not running)


def _above(role: Role, running: bool) -> int:
    if not _resizes(role, running) or role.sizes is None:
        return 0
    return max(0, role.replicas - role.sizes.least) // role.sizes.step * role.sizes.step


def _below(role: Role) -> int:
    return max(0, role.sizes.most - role.replicas) if _resizes(role, True) and role.sizes is not None else 0


def _turn(by_role: Mapping[str, int], able: list[str], left: int) -> tuple[str, int]:
    """The role whose turn it is, the last of those that have most; and how many of it before another one's turn."""
    name = max(reversed(able), key=lambda each: by_role[each])
    others = [by_role[each] for each in able if each != name]
    ahead = by_role[name] - max(others, default=0)
    return name, min(left, ahead) if ahead else max(1, left // len(able))
