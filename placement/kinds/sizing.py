"""A workload object with another number of pods: its replicas written where its kind keeps them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from placement.kinds import roles
from placement.kinds.fields import Object
from placement.kinds.kind import Kind


def write(kind: Kind, obj: dict[str, Any], pods: Mapping[str, int], beside: Sequence[Object] = ()) -> None:
    """Changes the object; `beside` travels with it. Raises ValueError, and has changed it then, where a role cannot
    have so many pods."""
    for role in roles.shape(kind, obj, beside=beside).roles:
        wanted = pods.get(role.name, role.replicas)
        if wanted == role.replicas:
            continue
        rule = role.rules.replicas
        if rule is None or not rule.path or role.step < 1 or wanted % role.step:
            raise ValueError(f"{role.path}: it cannot have {wanted} pods")
        entry: Any = role.entry  # part of `obj`
        for step in rule.path[:-1]:
            entry = entry.setdefault(step, {})
        entry[rule.path[-1]] = wanted // role.step
    found = counts(kind, obj, beside)
    wrong = {name: count for name, count in found.items() if count != pods.get(name, count)}
    if wrong:
        raise ValueError(f"{kind.kind}: with {dict(pods)} pods written it has {wrong}")


def counts(kind: Kind, obj: Object, beside: Sequence[Object] = ()) -> dict[str, int]:
    """How many pods of each role the object asks for now."""
    return {role.name: role.replicas for role in roles.shape(kind, obj, beside=beside).roles}
