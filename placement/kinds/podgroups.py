"""Pods of one file that name the same pod group: put together, they are one gang of one job.

Kueue, the coscheduling plugin and Volcano each have a label or an annotation for it; a PodGroup object in the file says
how many of the pods start together, and which queue they wait in. Neither Kueue nor another scheduler has a part in it
then: Muster places the pods, and so the PodGroup object stays behind.

What stands for the group is an object of Muster's own, which no cluster serves: `spec.roles`, each a list of Pods that
ask for the same, `spec.minMember`, and the fields of Volcano's PodGroup that have a meaning here. The spoke takes it
apart again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from placement.kinds import fields, paths
from placement.kinds.fields import Object, join
from placement.kinds.hints import KNOWN, QUEUE_KEYS
from placement.kinds.identity import OWN_GROUP
from placement.kinds.problems import Findings, Problem

API_VERSION, KIND = f"{OWN_GROUP}/v1", "PodGroup"
RESOURCE_KIND = f"{API_VERSION}/{KIND}"

_TOTAL = "kueue.x-k8s.io/pod-group-total-count"
_MIN_AVAILABLE = "pod-group.scheduling.sigs.k8s.io/min-available"
LABEL = "scheduling.x-k8s.io/pod-group"
_NAMES = (
    LABEL,
    "kueue.x-k8s.io/pod-group-name",
    "pod-group.scheduling.sigs.k8s.io",
    "pod-group.scheduling.sigs.k8s.io/name",
    "scheduling.k8s.io/group-name",
    "scheduling.volcano.sh/group-name",
)
_OF_GROUPS = ("queue", "priorityClassName", "networkTopology")  # of Volcano's PodGroup
_OF_EACH = frozenset({"hostname", "schedulerName"})  # of a pod's spec: they make no pod unlike another
_LAST_NUMBER = re.compile(r"[-.]?\d+$")
_LONGEST_LABEL = 63
_ROLE = re.compile(r"spec\.roles\[(\d+)\]\.?")


@dataclass(frozen=True, slots=True)
class Member:
    document: int
    pod: Mapping[str, Any]  # with its name and namespace written out
    group: str
    least: int | None  # how many start together, by this pod's own word
    total: int | None  # how many there are, likewise
    path: str  # of the label or annotation that names the group


@dataclass(frozen=True, slots=True)
class PodGroup:
    """One in the file."""

    document: int
    obj: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Group:
    obj: dict[str, Any]
    named_at: str  # in the first pod
    documents: tuple[int, ...]  # of each role's first pod

    def in_file(self, problem: Problem) -> Problem:
        """Where the problem is in what the user wrote."""
        if problem.path == "metadata.name":
            return replace(problem, path=self.named_at)
        at = _ROLE.match(problem.path)
        if at is None or int(at[1]) >= len(self.documents):
            return problem
        return replace(problem, document=self.documents[int(at[1])], path=problem.path[at.end() :])


def member(found: Findings, pod: Mapping[str, Any], document: int) -> Member | None:
    """None for a Pod on its own."""
    named = {(value, path) for key in _NAMES for value, path in _said(found, pod, key)}
    if not named:
        return None
    (name, path), *others = sorted(named)
    if different := [other for other, _ in others if other != name]:
        found.error(path, f"the pod is in two groups, {name} and {different[0]}", "name one")
    return Member(document, pod, name, _count(found, pod, _MIN_AVAILABLE), _count(found, pod, _TOTAL), path)


def gathered(found: Findings, members: Sequence[Member], group: PodGroup | None) -> Group:
    """What stands for the group; `members` are all of one, in the file's order."""
    first, spec = members[0], _mapping(group.obj.get("spec")) if group is not None else {}
    _check_total(found, members)
    said: dict[str, Any] = {key: spec[key] for key in _OF_GROUPS if key in spec}
    least = _least(found, members, group, spec)
    if least is not None:
        said["minMember"] = least
    roles = _roles(members)
    namespace = first.pod["metadata"]["namespace"]
    metadata = {"name": first.group, "namespace": namespace, **_metadata(found, members, group)}
    body = {"roles": [{"name": name, "pods": [_bare(one.pod) for one in alike]} for name, alike in roles], **said}
    obj = {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "spec": body}
    return Group(obj, first.path, tuple(alike[0].document for _, alike in roles))


def pods(obj: Object) -> tuple[dict[str, Any], ...]:
    """The Pods of an object that stands for a group."""
    return tuple(
        dict(pod) for role in fields.dicts(paths.find(obj, ("spec", "roles"))) for pod in fields.dicts(role.get("pods"))
    )


def as_written(obj: Object) -> tuple[Object, ...]:
    """What a user could have written for an object that stands for a group: it reads as the same job. Any other object
    as it is."""
    if (obj.get("apiVersion"), obj.get("kind")) != (API_VERSION, KIND):
        return (obj,)
    of_group = {key: value for key, value in _mapping(obj.get("spec")).items() if key != "roles"}
    group = {"apiVersion": "scheduling.volcano.sh/v1beta1", "kind": KIND, "metadata": obj.get("metadata")}
    return {**group, "spec": of_group}, *pods(obj)


def _said(found: Findings, pod: Object, key: str) -> Iterator[tuple[str, str]]:
    metadata = fields.mapping(found, pod, "", "metadata")
    for part in ("labels", "annotations"):
        at = join(join("metadata", part), key)
        value = fields.mapping(found, metadata, "metadata", part).get(key)
        if isinstance(value, str) and value:
            yield value, at
        elif value is not None:
            found.error(at, "names no pod group", "name it, or remove the line")


def _count(found: Findings, pod: Object, key: str) -> int | None:
    for part in ("annotations", "labels"):
        value = paths.find(pod, ("metadata", part, key))
        if value is None:
            continue
        if isinstance(value, str) and value.isascii() and value.isdigit() and 0 < len(value) < 10 and int(value):
            return int(value)
        mend = 'give it as a string: "4"'
        found.error(join(join("metadata", part), key), f"must be a whole number of 1 or more, is {value!r:.40}", mend)
    return None


def _check_total(found: Findings, members: Sequence[Member]) -> None:
    totals = sorted({one.total for one in members if one.total is not None})
    if not totals or totals == [len(members)]:
        return
    name, at = members[0].group, join("metadata.annotations", _TOTAL)
    if len(totals) > 1:
        found.error(at, f"the pods of group {name} give {totals[0]} and {totals[-1]} as their number", "give one")
        return
    message = f"pod group {name} has {totals[0]} pods by its annotation, the file has {len(members)} of them"
    found.error(at, message, "put all of its pods into one file, or correct the number")


def _least(found: Findings, members: Sequence[Member], group: PodGroup | None, spec: Mapping[str, Any]) -> int | None:
    """How many pods start together; None: all."""
    given, where = fields.count(found, spec.get("minMember"), "spec.minMember"), group
    if not given:
        given, where = max((one.least for one in members if one.least is not None), default=None), None
    if given is None or given <= len(members):
        return given or None
    name, path = members[0].group, "spec.minMember" if where is not None else join("metadata.labels", _MIN_AVAILABLE)
    message = f"{given} pods of group {name} are to start together, the file has {len(members)} of them"
    found.error(path, message, f"put all of its pods into one file, or ask for at most {len(members)}")
    return None


def _metadata(found: Findings, members: Sequence[Member], group: PodGroup | None) -> dict[str, dict[str, str]]:
    """What pods and PodGroup say of the whole: hints, and the queue."""
    told: dict[str, str] = {}
    for obj in (*([group.obj] if group is not None else []), *(one.pod for one in members)):
        for key, value in _hints(obj):
            if told.setdefault(key, value) != value:
                message = f"the pods of group {members[0].group} say {told[key]} and {value}"
                found.error(join("metadata.annotations", key), message, "say one thing, on any of them")
    return {"annotations": told} if told else {}


def _hints(obj: Object) -> Iterator[tuple[str, str]]:
    for part in ("labels", "annotations"):
        for key, value in _mapping(paths.find(obj, ("metadata", part))).items():
            if _is_hint(key) and isinstance(value, str):
                yield key, value


def _is_hint(key: object) -> bool:
    return key in KNOWN or key in QUEUE_KEYS


def _bare(pod: Mapping[str, Any]) -> dict[str, Any]:
    """Without what is said of the whole now: its hints, and the scheduler whose place Muster's takes."""
    metadata = dict(pod["metadata"])
    for part in ("labels", "annotations"):
        if isinstance(given := metadata.get(part), dict):
            metadata[part] = {key: value for key, value in given.items() if not _is_hint(key)}
    spec = pod.get("spec")
    kept = {key: value for key, value in spec.items() if key != "schedulerName"} if isinstance(spec, dict) else spec
    return {**pod, "metadata": metadata, "spec": kept}


def _roles(members: Sequence[Member]) -> list[tuple[str, list[Member]]]:
    """Pods that ask for the same, by name: worker-0 and worker-1 are two of `worker`."""
    alike: dict[bytes, list[Member]] = {}
    for one in members:
        alike.setdefault(_look(one.pod), []).append(one)
    named: dict[str, list[Member]] = {}
    for same in alike.values():
        own = str(same[0].pod["metadata"]["name"])
        short = _LAST_NUMBER.sub("", own) or own
        name = next((each for each in (short, own) if each not in named and len(each) <= _LONGEST_LABEL), "")
        named[name or f"pods{len(named)}"] = same
    return list(named.items())


def _look(pod: Mapping[str, Any]) -> bytes:
    """Equal for pods that differ in nothing that is read of them: names, and plain variables such as a rank."""
    spec = pod.get("spec")
    if not isinstance(spec, dict):
        return orjson.dumps(spec)
    seen = {key: value for key, value in spec.items() if key not in _OF_EACH}
    for part in ("initContainers", "containers"):
        if isinstance(seen.get(part), list):
            seen[part] = [_container(one) if isinstance(one, dict) else one for one in seen[part]]
    annotations = _mapping(paths.find(pod, ("metadata", "annotations")))
    networks = {key: value for key, value in annotations.items() if not _is_hint(key)}
    return orjson.dumps([seen, networks], option=orjson.OPT_SORT_KEYS)


def _container(container: Mapping[str, Any]) -> dict[str, Any]:
    env = container.get("env")
    if not isinstance(env, list):
        return dict(container)
    read = [one for one in env if not _is_plain(one)]
    return {**container, "env": read}


def _is_plain(variable: Any) -> bool:
    """Neither a reference nor where data lies."""
    value = variable.get("value") if isinstance(variable, dict) else None
    return isinstance(value, str) and "://" not in value


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
