"""Which pods a kind's controller would want now, given those that are there: the counting half of `emulate`.

A slot is one place for a pod: role, index, and how often that index was tried before. Emulated pods carry theirs as an
annotation, so that nothing has to be guessed back from names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

from placement.kinds import fields, paths
from placement.kinds.conditions import spec_holds
from placement.kinds.emulation import Completions, Emulation
from placement.kinds.fields import Object
from placement.kinds.roles import RoleEntry, Shape

_RANGES = re.compile(r"[0-9]{1,7}(-[0-9]{1,7})?(,[0-9]{1,7}(-[0-9]{1,7})?)*")

ANNOTATION = "emulation.muster.dev/slot"  # "Worker/2/0"

Outcome = Literal["", "succeeded", "failed"]


@dataclass(frozen=True, slots=True)
class Slot:
    role: str
    index: int  # within the role, counted from the kind's first index
    attempt: int = 0

    def written(self) -> str:
        return f"{self.role}/{self.index}/{self.attempt}"


@dataclass(frozen=True, slots=True)
class Present:
    """A pod that is there."""

    slot: Slot
    phase: str  # Pending | Running | Succeeded | Failed
    ready: bool
    restarts: int
    pod: Object

    @property
    def active(self) -> bool:
        return self.phase not in ("Succeeded", "Failed")


def present(pods: Iterable[Object]) -> tuple[Present, ...]:
    """The emulated pods among `pods`; those being deleted still count, as they do for Kubernetes' controllers."""
    return tuple(one for pod in pods if (one := _present(pod)) is not None)


def outcome(rules: Emulation, obj: Object, shape: Shape, pods: Sequence[Present]) -> Outcome:
    succeeded = sum(pod.phase == "Succeeded" for pod in pods)
    failed = sum(pod.phase == "Failed" for pod in pods)
    active = len(pods) - succeeded - failed
    if _succeeded(rules, obj, shape, pods, succeeded, active):
        return "succeeded"
    if rules.fails == "any" and failed:
        return "failed"
    if rules.fails == "gang-lost" and shape.pods - failed < shape.min_pods:
        return "failed"
    return "failed" if _retries_used_up(rules, obj, pods, failed) else ""


def is_policy_met(rules: Emulation, obj: Object, shape: Shape, pods: Sequence[Present]) -> bool:
    """Whether the indices that have succeeded suffice by one of the object's own rules, the others left undone."""
    completions = rules.completions
    if completions is None or not completions.policy or not shape.roles or not spec_holds(completions.indexed, obj):
        return False
    total = number(obj, completions.path)
    indices = range(shape.roles[0].replicas if total is None else total)
    done = frozenset(pod.slot.index for pod in pods if pod.phase == "Succeeded" and pod.slot.index in indices)
    return any(_is_met(rule, done) for rule in fields.dicts(paths.find(obj, completions.policy)))


def wanted(rules: Emulation, obj: Object, shape: Shape, pods: Sequence[Present]) -> tuple[Slot, ...]:
    """The slots to fill now."""
    if not shape.roles or outcome(rules, obj, shape, pods):
        return ()
    if rules.completions is not None:
        return _completing(rules.completions, obj, shape.roles[0], pods)
    taken = {(pod.slot.role, pod.slot.index) for pod in pods}
    missing = [slot for slot in all_slots(rules, obj, shape) if (slot.role, slot.index) not in taken]
    if spec_holds(rules.one_by_one, obj):
        return tuple(missing[:1]) if all(pod.ready for pod in pods) else ()
    return tuple(missing)


def all_slots(rules: Emulation, obj: Object, shape: Shape) -> tuple[Slot, ...]:
    """Every pod of the whole in rank order, each at its first attempt."""
    first = number(obj, rules.first_index) or 0
    ranked = sorted(shape.roles, key=lambda role: _rank(rules.leaders, role.name))
    return tuple(Slot(role.name, first + index) for role in ranked for index in range(role.replicas))


def number(obj: Any, path: paths.Path | None) -> int | None:
    value = paths.find(obj, path) if path is not None else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _present(pod: Object) -> Present | None:
    annotations = paths.find(pod, ("metadata", "annotations"))
    text = annotations.get(ANNOTATION) if isinstance(annotations, Mapping) else None
    parts = text.rsplit("/", 2) if isinstance(text, str) else ()
    if len(parts) != 3 or not (parts[1].isdigit() and parts[2].isdigit()):
        return None
    phase = paths.find(pod, ("status", "phase"))
    phase = phase if isinstance(phase, str) and phase else "Pending"
    statuses = paths.find(pod, ("status", "containerStatuses"))
    restarts = sum(paths.numbers(statuses, ("*", "restartCount")))
    return Present(Slot(parts[0], int(parts[1]), int(parts[2])), phase, _is_ready(pod, phase), restarts, pod)


def _is_ready(pod: Object, phase: str) -> bool:
    """By the Ready condition; a running pod whose status has none counts as ready."""
    conditions = paths.find(pod, ("status", "conditions"))
    for each in conditions if isinstance(conditions, list) else ():
        if isinstance(each, dict) and each.get("type") == "Ready":
            return phase == "Running" and each.get("status") == "True"
    return phase == "Running"


def _rank(leaders: Sequence[str], role: str) -> int:
    return leaders.index(role) if role in leaders else len(leaders)


def _succeeded(
    rules: Emulation, obj: Object, shape: Shape, pods: Sequence[Present], succeeded: int, active: int
) -> bool:
    if rules.succeeds == "completions" and rules.completions is not None:
        if is_policy_met(rules, obj, shape, pods):
            return True
        needed = number(obj, rules.completions.path)
        # Without completions one success means that the work is done; the others end by themselves.
        return (succeeded >= 1 and not active) if needed is None else succeeded >= needed
    if rules.succeeds == "all":
        return not active and len(pods) >= shape.pods > 0 and succeeded >= shape.min_pods
    if rules.succeeds == "leader":
        by_name = {role.name: role for role in shape.roles if role.replicas}
        leader = next((by_name[name] for name in rules.leaders if name in by_name), None)
        done = sum(pod.phase == "Succeeded" for pod in pods if leader and pod.slot.role == leader.name)
        return leader is not None and done >= leader.replicas
    return False


def _is_met(rule: Object, done: frozenset[int]) -> bool:
    """Job's own form: `succeededIndexes`, all of them or `succeededCount` of them; or so many of any."""
    named, count = rule.get("succeededIndexes"), number(rule, ("succeededCount",))
    counted = len(done)
    if named is not None:
        ranges = _ranges(named)
        if ranges is None:
            return False
        counted = sum(any(first <= index <= last for first, last in ranges) for index in done)
        wanted = sum(last - first + 1 for first, last in ranges)
        count = wanted if count is None else count
    return count is not None and 0 < count <= counted


def _ranges(text: Any) -> list[tuple[int, int]] | None:
    """ "1,3-5": growing, as Kubernetes takes them; None for anything else."""
    if not isinstance(text, str) or not _RANGES.fullmatch(text):
        return None
    pairs = [part.partition("-") for part in text.split(",")]
    found = [(int(first), int(last or first)) for first, _, last in pairs]
    ends = [end for each in found for end in each]
    grows = ends == sorted(ends) and all(before < after for (_, before), (after, _) in pairwise(found))
    return found if grows else None


def _retries_used_up(rules: Emulation, obj: Object, pods: Sequence[Present], failed: int) -> bool:
    if rules.retries is None:
        return False
    given = number(obj, rules.retries.path)
    limit = rules.retries.default if given is None else given
    if limit is None:
        return False
    restarts = sum(pod.restarts for pod in pods if pod.active)
    return failed > limit or restarts >= max(limit, 1)


def _completing(rules: Completions, obj: Object, role: RoleEntry, pods: Sequence[Present]) -> tuple[Slot, ...]:
    completions = number(obj, rules.path)
    done = {pod.slot.index for pod in pods if pod.phase == "Succeeded"}
    busy = {pod.slot.index for pod in pods if pod.active}
    if spec_holds(rules.indexed, obj):
        tried: dict[int, int] = {}
        for pod in pods:
            tried[pod.slot.index] = tried.get(pod.slot.index, 0) + 1
        total = role.replicas if completions is None else completions
        free = (index for index in range(total) if index not in done and index not in busy)
        room = max(role.replicas - len(busy), 0)
        return tuple(Slot(role.name, index, tried.get(index, 0)) for index, _ in zip(free, range(room), strict=False))
    left = role.replicas if completions is None else min(role.replicas, completions - len(done))
    if completions is None and done:
        left = 0
    first = max((pod.slot.index for pod in pods), default=-1) + 1
    return tuple(Slot(role.name, first + each) for each in range(left - len(busy)))
