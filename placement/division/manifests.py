"""A workload's objects, and the workload itself, as each cluster gets them: with its share of the replicas.

What scales the workload is divided with it: an autoscaler's range, and how many pods a disruption must leave, in the
proportion of the shares. Their sums stay what they were, except that an autoscaler has at least 1 in each cluster.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from placement.division.apportion import Bounds, apportion
from placement.division.values import UNLIMITED
from placement.kinds import dividing, paths, roles
from placement.kinds.catalogue import Catalogue
from placement.kinds.fields import Object
from placement.kinds.kind import Kind
from placement.kinds.roles import RoleEntry
from placement.workload import DivideBy, IfTooLarge, Workload

AUTOSCALER = "HorizontalPodAutoscaler"
DISRUPTION_BUDGET = "PodDisruptionBudget"
_FOLLOWING = frozenset({AUTOSCALER, DISRUPTION_BUDGET})
Shares = Mapping[str, int]  # by cluster, above 0


@dataclass(frozen=True, slots=True)
class PartSpec:
    """What one cluster runs of it: an ordinary workload that may go nowhere else."""

    workload: Workload
    objects: tuple[Object, ...]


def replicas_of(workload: Workload, objects: Sequence[Object]) -> int:
    """How many are to be divided. A workload that leaves them to its autoscaler begins with the autoscaler's least."""
    scalers = [one for one in objects if scales(one, workload)]
    return max(workload.pods, *(_whole(paths.find(one, ("spec", "minReplicas"))) or 1 for one in scalers), 1)


@dataclass(frozen=True, slots=True)
class Nature:
    """Of a workload that is to be divided, what is found out once."""

    replicas: int
    scaled: bool  # something in each cluster says how many of its replicas there are
    resizes: bool  # a part gets another size where it is


def nature_of(workload: Workload, objects: Sequence[Object], catalogue: Catalogue) -> Nature:
    (obj, kind), *_ = [(one, kind) for one in objects if (kind := _kind_of(one, catalogue)) is not None]
    ranged = any(role.maximum is not None and role.maximum > role.replicas for role in workload.roles)
    scaled = ranged or any(scales(one, workload) for one in objects)
    return Nature(replicas_of(workload, objects), scaled, dividing.resizes(_role_of(kind, obj)))


def parts_of(
    workload: Workload, objects: Sequence[Object], shares: Shares, catalogue: Catalogue
) -> dict[str, PartSpec]:
    """By cluster. Raises ValueError where the objects do not hold the workload."""
    divided = [_divided(one, workload, shares, catalogue) for one in objects]
    found: dict[str, PartSpec] = {}
    for cluster in shares:
        mine = tuple(one[cluster] for one in divided)
        found[cluster] = PartSpec(_workload(workload, mine, cluster, catalogue), mine)
    return found


def moved(workload: Workload, cluster: str) -> Workload:
    """A part that is to run in another cluster."""
    return replace(workload, hints=replace(workload.hints, clusters=(cluster,)))


def differing(before: Sequence[Object], after: Sequence[Object]) -> tuple[Object, ...]:
    """Of a part's objects, those beside the workload that say another number by its new share."""
    return tuple(new for old, new in zip(before, after, strict=True) if new.get("kind") in _FOLLOWING and new != old)


def _divided(obj: Object, workload: Workload, shares: Shares, catalogue: Catalogue) -> dict[str, Object]:
    """By cluster. Where everything is duplicated each has all of it."""
    divide = workload.hints.divide
    alike = divide is not None and divide.by is DivideBy.DUPLICATE
    kind = _kind_of(obj, catalogue)
    if kind is not None:
        numbers = {} if alike else _of_workload(obj, kind, shares)
        found = {cluster: _with_numbers(obj, numbers, cluster) for cluster in shares}
        for cluster, mine in found.items():
            role = _role_of(kind, mine)
            _put(role.entry, dividing.replicas_path(role), shares[cluster])
        return dict(found)
    if alike:
        return dict.fromkeys(shares, obj)
    if scales(obj, workload):
        bounds = {name: Bounds(share, 1, UNLIMITED) for name, share in shares.items()}
        numbers = _range(obj, ("spec", "minReplicas"), ("spec", "maxReplicas"), bounds)
        return {cluster: _with_numbers(obj, numbers, cluster) for cluster in shares}
    if obj.get("kind") == DISRUPTION_BUDGET:
        numbers = _split(obj, ("spec", "minAvailable"), {n: Bounds(share, 0, share) for n, share in shares.items()})
        return {cluster: _with_numbers(obj, numbers, cluster) for cluster in shares}
    return dict.fromkeys(shares, obj)


def _of_workload(obj: Object, kind: Kind, shares: Shares) -> _Numbers:
    """Beside the replicas themselves."""
    rules, numbers = kind.rules, dict[_Path, Mapping[str, int]]()
    for path in rules.divided.also if rules.divided is not None else ():
        numbers |= _split(obj, path, {name: Bounds(share, 1, UNLIMITED) for name, share in shares.items()})
    role = _role_of(kind, obj)
    if (ranged := role.rules.range) is not None and ranged.maximum:
        most = (*paths.compiled(role.path), *ranged.maximum)
        numbers |= _split(obj, most, {name: Bounds(share, share, UNLIMITED) for name, share in shares.items()})
    if rules.elastic is not None:
        bounds = {name: Bounds(share, 1, share) for name, share in shares.items()}
        numbers |= _range(obj, rules.elastic.minimum, rules.elastic.maximum, bounds)
    return numbers


_Path = tuple[str, ...]
_Numbers = Mapping[_Path, Mapping[str, int]]  # path -> cluster -> number


def _range(obj: Object, low: _Path, high: _Path, bounds: Mapping[str, Bounds]) -> _Numbers:
    """`bounds` are those of the least; the most of each is no less than that, and no less than what lies between."""
    lows = _split(obj, low, bounds)
    floors = lows.get(low) or {name: one.least for name, one in bounds.items()}
    between = {name: floors[name] if one.most == UNLIMITED else one.most for name, one in bounds.items()}
    tops = {name: Bounds(one.weight, between[name], UNLIMITED) for name, one in bounds.items()}
    return {**lows, **_split(obj, high, tops)}


def _split(obj: Object, path: _Path, bounds: Mapping[str, Bounds]) -> dict[_Path, Mapping[str, int]]:
    """Empty where there is no whole number to divide."""
    total = _whole(paths.find(obj, path))
    return {path: apportion(total, bounds)} if total else {}


def _workload(workload: Workload, objects: Sequence[Object], cluster: str, catalogue: Catalogue) -> Workload:
    """The same, as its objects in that cluster say it."""
    (obj, kind), *_ = [(one, kind) for one in objects if (kind := _kind_of(one, catalogue)) is not None]
    shape = roles.shape(kind, obj)
    there = {role.name: role for role in shape.roles}
    return replace(
        workload,
        roles=tuple(
            replace(
                role,
                replicas=there[role.name].replicas,
                minimum=there[role.name].minimum,
                maximum=there[role.name].maximum,
            )
            for role in workload.roles
        ),
        min_pods=shape.min_pods,
        hints=replace(
            workload.hints,
            divide=None,
            clusters=(cluster,),
            excluded_clusters=(),
            regions=(),
            # Whether the whole is given up is not for a part to say.
            give_up_hours=None,
            if_too_large=IfTooLarge.WAIT,
        ),
    )


def _role_of(kind: Kind, obj: Object) -> RoleEntry:
    (role,) = [role for role in roles.shape(kind, obj).roles if role.replicas > 0]
    return role


def _kind_of(obj: Object, catalogue: Catalogue) -> Kind | None:
    return catalogue.find(str(obj.get("apiVersion")), str(obj.get("kind")))


def scales(obj: Object, workload: Workload) -> bool:
    target = paths.find(obj, ("spec", "scaleTargetRef"))
    return (
        obj.get("kind") == AUTOSCALER
        and isinstance(target, dict)
        and (target.get("kind"), target.get("name")) == (workload.kind, workload.name)
    )


def _with_numbers(obj: Object, numbers: _Numbers, cluster: str) -> dict[str, Any]:
    mine: dict[str, Any] = copy.deepcopy(dict(obj))
    for path, shares in numbers.items():
        _put(mine, path, shares[cluster])
    return mine


def _put(holder: Any, path: tuple[str, ...], value: int) -> None:
    *way, last = path
    for step in way:
        holder = holder[step]
    holder[last] = value


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
