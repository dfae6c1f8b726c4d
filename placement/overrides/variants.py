"""What a workload becomes on each cluster whose overrides mean it, as decisions are to know it.

An override may change where a job's pods may run, what they ask of CPU and memory, which data they read and what they
are started with. It may not make another job of it: its gang, its GPUs, its place in the queue, its names and marks
stay what was submitted, and so does what its tenant may have. Where one would, the cluster is left out with that reason
(`OverrideRefusal`), before anything is sent there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from placement.kinds import podgroups, reader
from placement.kinds.catalogue import Catalogue
from placement.kinds.documents import Document
from placement.kinds.problems import ManifestError
from placement.kinds.reader import Submission
from placement.overrides.applying import Object, applied
from placement.overrides.override import Override
from placement.safety import policy
from placement.safety.footprint import Footprint
from placement.safety.policy import Policy
from placement.workload import OverrideRefusal, Role, Variant, Workload

_MARKS = "muster.dev/"
_PLANNED_FROM = "what a job asks for is what was submitted; an override may not change it"
_OWN_MARKS = "labels and annotations under muster.dev/ and the scheduler are the submitter's and Muster's"


@dataclass(frozen=True, slots=True)
class Judge:
    """How overridden objects are read and judged."""

    catalogue: Catalogue
    footprint_of: Callable[[Submission], Footprint]
    policy: Policy  # the tenant's


def of(
    workload: Workload, objects: Sequence[Object], there: Mapping[str, tuple[Override, ...]], judge: Judge
) -> dict[str, Variant]:
    """By cluster, for those that override it. `there`: what applies on each (`selecting`); clusters on which the same
    does share one answer."""
    known: dict[tuple[str, ...], Variant] = {}
    found: dict[str, Variant] = {}
    for cluster, overrides in there.items():
        names = tuple(one.name for one in overrides)
        if names not in known:
            known[names] = _variant(workload, objects, overrides, judge)
        found[cluster] = known[names]
    return found


def _variant(workload: Workload, objects: Sequence[Object], overrides: Sequence[Override], judge: Judge) -> Variant:
    names = tuple(one.name for one in overrides)
    made = _made(workload, objects, overrides, judge)
    if not isinstance(made, OverrideRefusal):
        return Variant(names, made if made != workload else None)
    for count in range(1, len(overrides)):  # the first after which it is refused is the one to be mended
        earlier = _made(workload, objects, overrides[:count], judge)
        if isinstance(earlier, OverrideRefusal):
            made = earlier
            break
    return Variant(names, refusal=made)


def _made(
    workload: Workload, objects: Sequence[Object], overrides: Sequence[Override], judge: Judge
) -> Workload | OverrideRefusal:
    """The last of the overrides is told as the one at fault."""
    changed = applied(objects, judge.catalogue, overrides)
    if isinstance(changed, OverrideRefusal):
        return changed
    name = overrides[-1].name
    if problem := _beyond_its_rights(objects, changed):
        return OverrideRefusal(name, *problem)
    try:
        written = [dict(one) for obj in changed for one in podgroups.as_written(obj)]
        documents = [Document(number, obj) for number, obj in enumerate(written, 1)]
        (submission,) = reader.read_documents(documents, judge.catalogue, namespace=workload.namespace)
    except ManifestError as error:
        first = error.problems[0]
        return OverrideRefusal(name, first.path, f"the job could not be read any more: {first.message}", first.mend)
    except ValueError:
        return OverrideRefusal(name, "", "what is left is not one workload", _PLANNED_FROM)
    if problem := _another_job(workload, submission.workload):
        return OverrideRefusal(name, *problem)
    footprint = judge.footprint_of(submission)
    if problem := _forbidden(workload.footprint, footprint, judge.policy):
        return OverrideRefusal(name, *problem)
    return replace(
        workload,
        roles=submission.workload.roles,
        references=submission.workload.references,
        data=_of_same_tenant(workload, submission.workload),
        footprint=footprint,
        variants={},
    )


def _of_same_tenant(before: Workload, after: Workload) -> Any:
    tenant = next((use.tenant for use in before.data if use.tenant), "")
    return tuple(replace(use, tenant=tenant) for use in after.data)


_Problem = tuple[str, str, str]  # field, message, mend


def _beyond_its_rights(before: Sequence[Object], after: Sequence[Object]) -> _Problem | None:
    kinds = [(obj.get("apiVersion"), obj.get("kind")) for obj in before]
    for (version, kind), obj in zip(kinds, after, strict=True):
        if (version, kind) != (obj.get("apiVersion"), obj.get("kind")):
            return "kind", f"it makes a {obj.get('kind')} of the {kind}", "leave apiVersion and kind as they are"
    had, has = _marks(before), _marks(after)
    if had != has:
        key, value = min((had - has) + (has - had))
        return key, f"it sets or removes {key}: {value}"[:300], _OWN_MARKS
    return None


def _marks(objects: Iterable[Object]) -> Counter[tuple[str, str]]:
    """Muster's labels and annotations and the schedulers, wherever they stand."""
    found: Counter[tuple[str, str]] = Counter()
    waiting: list[Any] = list(objects)
    while waiting:
        value = waiting.pop()
        if isinstance(value, list | tuple):
            waiting += value
        elif isinstance(value, Mapping):
            for key, each in value.items():
                if key.startswith(_MARKS) or key == "schedulerName":
                    found[key, str(each)] += 1
                elif isinstance(each, Mapping | list):
                    waiting.append(each)
    return found


def _another_job(before: Workload, after: Workload) -> _Problem | None:
    told: tuple[tuple[str, object, object], ...] = (
        ("metadata.name", before.name, after.name),
        ("metadata.namespace", before.namespace, after.namespace),
        ("kind", before.resource_kind, after.resource_kind),
        ("the gang", before.min_pods, after.min_pods),
        ("the topology", before.topology, after.topology),
        ("whether it serves", before.long_running, after.long_running),
        ("the roles", [role.name for role in before.roles], [role.name for role in after.roles]),
    )
    for field, was, is_ in told:
        if was != is_:
            return field, f"it becomes {is_}, and was {was}"[:300], _PLANNED_FROM
    hints = replace(after.hints, if_too_large=before.hints.if_too_large)  # which the caller of a submit may say
    if hints != before.hints:
        return "the hints", "it changes what is said of queue, priority, clusters or time", _PLANNED_FROM
    for one, other in zip(before.roles, after.roles, strict=True):
        for field, was, is_ in _of_role(one, other):
            if was != is_:
                return f"role {one.name}", f"its {field} become {is_}, and were {was}"[:300], _PLANNED_FROM
    return None


def _of_role(before: Role, after: Role) -> Iterator[tuple[str, object, object]]:
    yield "pods", (before.replicas, before.minimum, before.maximum), (after.replicas, after.minimum, after.maximum)
    yield "GPUs", before.devices, after.devices
    if before.products and not (after.products and set(after.products) <= set(before.products)):
        yield "GPU products", before.products, after.products
    yield "domains", (before.topology, before.slices), (after.topology, after.slices)
    yield "turn", before.late, after.late


def _forbidden(before: Footprint, after: Footprint, rules: Policy) -> _Problem | None:
    """What the tenant may not have and did not have: an admin's job keeps what it was let in with."""
    had = {(one.path, one.message) for one in policy.refusals(rules, before)}
    for one in policy.refusals(rules, after):
        if (one.path, one.message) not in had:
            return one.path, f"{one.message} (the tenant's policy)", one.mend
    return None
