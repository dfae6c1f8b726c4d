"""Everything that an object asks for and a policy may forbid, wherever in it that is written.

A mapping that looks like a pod's spec is judged as one, in whatever kind and at whatever depth it is found: Argo's
templates, Katib's trial, a predictor, a submitter. Outside of those the fields that matter are looked for by name,
since kinds copy them into places of their own. What nobody can judge before it is applied (a patch as text, an object
as text, a template that lies elsewhere) counts as what `baseline` forbids.

Not looked into: what is free text to Kubernetes (labels, data of ConfigMaps and Secrets), and commands.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from placement.kinds import paths, podgroups, roles, trainjobs
from placement.kinds.catalogue import Catalogue
from placement.kinds.fields import join
from placement.kinds.kind import Kind
from placement.safety import borders, fields, installed, pod_security
from placement.safety.containers import listed, mapping
from placement.safety.footprint import Footprint
from placement.safety.levels import Breach, Level

MAX_VALUES = 200_000
# A thousand roles that all ask the same ask one thing; a job that asks a thousand things is not looked through.
MAX_BREACHES = 200
# A pod's own fields that `pod_security` has looked at; its others are looked at like those of any mapping.
_JUDGED = frozenset({*pod_security.CONTAINERS, *pod_security.HOST_NAMESPACES, "securityContext", "volumes"})
_OF_CONTAINERS = frozenset(
    {
        "lifecycle",
        "livenessProbe",
        "ports",
        "readinessProbe",
        "resources",
        "securityContext",
        "startupProbe",
        "volumeDevices",
        "volumeMounts",
    }
)
_FREE = frozenset({"labels", "matchLabels", "nodeSelector", "env", "args", "command"})
_DATA = frozenset({"data", "stringData", "binaryData"})
_ALONE = ("container", "script")  # Argo: a template's one container
_BESIDES = "sidecars"


@dataclass(frozen=True, slots=True)
class Reading:
    """How objects are read. `marks`: the labels that Muster gave what it makes of them, "" for any value; None before
    it gave any."""

    namespace: str
    marks: Mapping[str, str] | None = None
    schedulers: frozenset[str] = borders.SCHEDULERS


def footprint(objects: Sequence[Mapping[str, Any]], catalogue: Catalogue, how: Reading) -> Footprint:
    """Of all objects of a job."""
    found: dict[tuple[str, Level, str, str, bool], Breach] = {}
    kinds: dict[str, None] = {}
    for obj in objects:
        api_version, name = str(obj.get("apiVersion")), str(obj.get("kind"))
        whole = f"{api_version}/{name}"
        kinds["v1/Pod" if whole == podgroups.RESOURCE_KIND else whole] = None  # a group is its pods
        kind = catalogue.find(api_version, name)
        if kind is not None and (inside := roles.nested(kind, obj)) is not None:
            kinds[inside[0].resource_kind] = None
        for breach in (*breaches(obj, kind, how), *_elsewhere(obj, kind, objects)):
            found.setdefault((breach.control, breach.level, breach.name, breach.of, breach.read_only), breach)
            if len(found) >= MAX_BREACHES:
                beyond = replace(breach, control="unseen", level=Level.PRIVILEGED, value="more than can be judged")
                return Footprint(how.namespace, tuple(kinds), (*found.values(), beyond))
    return Footprint(how.namespace, tuple(kinds), tuple(found.values()))


def breaches(obj: Mapping[str, Any], kind: Kind | None, reading: Reading) -> Iterator[Breach]:
    """`kind` is the file that says where a workload's pods are; None for what travels along."""
    what = f"{obj.get('kind')} {mapping(obj.get('metadata')).get('name')}"
    return (replace(breach, of=what) for breach in _all(obj, kind, reading))


def _all(obj: Mapping[str, Any], kind: Kind | None, reading: Reading) -> Iterator[Breach]:
    yield from borders.of_object(obj, reading.namespace)
    yield from installed.of_object(obj, reading.namespace)
    known: set[str] = set()
    if kind is not None:
        entries = roles.shape(kind, obj).roles
        known = {join(entry.template_path, "metadata") for entry in entries}
        if not entries or not all(_is_pod(entry.template.get("spec")) for entry in entries):
            where = kind.rules.nested.at if kind.rules.nested is not None else kind.rules.places[0].at
            at = paths.shown(where) or "spec"
            yield Breach("unseen", Level.RESTRICTED, at, "its pods are made from what lies elsewhere")
    if reading.marks is not None:  # before that, `render` drops what nobody may say of an object itself
        known.clear()
        yield from borders.of_metadata(mapping(obj.get("metadata")), "metadata", reading.marks)
    yield from _walk(obj, reading, known)


def _elsewhere(obj: Mapping[str, Any], kind: Kind | None, objects: Sequence[Mapping[str, Any]]) -> Iterator[Breach]:
    """A TrainJob is all runtime: where that lies in the cluster, nobody sees its pods."""
    there = {(one.get("kind"), mapping(one.get("metadata")).get("name")) for one in objects}
    for one in roles.runtimes(kind, obj) if kind is not None else ():
        if one.kind in (trainjobs.RUNTIME, trainjobs.CLUSTER_RUNTIME) and (one.kind, one.name) not in there:
            what = f"{obj.get('kind')} {mapping(obj.get('metadata')).get('name')}"
            value = f"its pods are made by {one.kind} {one.name}"
            yield Breach("unseen", Level.RESTRICTED, "spec.runtimeRef", value, of=what)


def _walk(obj: Mapping[str, Any], reading: Reading, known: set[str]) -> Iterator[Breach]:
    waiting: list[tuple[Any, str]] = [(obj, "")]  # a mapping or a list, and its path
    seen = 0
    while waiting:
        value, path = waiting.pop()
        seen += 1
        if seen > MAX_VALUES:
            yield Breach("unseen", borders.ALWAYS, path, f"more than {MAX_VALUES} values")
            return
        if isinstance(value, list):
            waiting += [(each, f"{path}[{i}]") for i, each in enumerate(value) if isinstance(each, dict | list)]
            continue
        passed = _DATA if not path else frozenset()
        if _is_pod(value):
            passed = _JUDGED
            yield from pod_security.of_pod({}, value, path)
            waiting += [each for key in pod_security.CONTAINERS for each in _rest(value.get(key), join(path, key))]
        elif "container" in value or "script" in value:
            yield from _lone_containers(obj, value, path)
        if isinstance(value.get("volumes"), list):
            waiting += _volumes(value["volumes"], join(path, "volumes"))
        for key, field in value.items():
            if key in passed or key in _FREE:
                continue
            if key == "annotations":
                yield from _annotations(mapping(field), join(path, key), reading)
                continue
            if key == "metadata" and path and isinstance(field, dict):
                at = join(path, key)
                marks = reading.marks or {}
                yield from borders.of_metadata(field, at, None if at in known else marks)
            if fields.matters(key):
                yield from borders.of_field(key, field, join(path, key), reading.namespace, reading.schedulers)
                yield from fields.of_field(obj, key, field, join(path, key))
            if isinstance(field, dict | list) and key not in fields.WHOLE:
                waiting.append((field, join(path, key)))


def _is_pod(value: Any) -> bool:
    return isinstance(value, dict) and any(isinstance(value.get(key), list) for key in pod_security.CONTAINERS)


def _annotations(annotations: Mapping[str, Any], path: str, reading: Reading) -> Iterator[Breach]:
    yield from borders.of_annotations(annotations, path, reading.namespace)
    for key, text in annotations.items():
        for one in pod_security.app_armor(key, text):
            yield replace(one, path=f'{path}["{key}"]')


def _rest(found: Any, path: str) -> Iterator[tuple[Any, str]]:
    """What a container has besides the fields that Kubernetes' containers have."""
    for index, container in listed(found):
        odd = {key: each for key, each in container.items() if key not in _OF_CONTAINERS and key not in _FREE}
        if any(isinstance(each, dict | list) or fields.matters(key) for key, each in odd.items()):
            yield odd, f"{path}[{index}]"


def _volumes(found: list[Any], path: str) -> list[tuple[Any, str]]:
    """Without what is judged with the volumes as a whole; claims made with the pod may name another's data."""
    rest = (
        {key: each for key, each in one.items() if key != "hostPath"} if isinstance(one, dict) else one for one in found
    )
    return [(each, f"{path}[{index}]") for index, each in enumerate(rest) if isinstance(each, dict | list)]


def _lone_containers(obj: Mapping[str, Any], value: Mapping[str, Any], path: str) -> Iterator[Breach]:
    """Argo's way: one container as a field, others beside it. `restricted` asks of them what it asks of a pod's."""
    found = [mapping(value.get(key)) for key in _ALONE if "image" in mapping(value.get(key))]
    if not found:
        return
    found += [each for _, each in listed(value.get(_BESIDES))]
    context = mapping(value.get("securityContext")) or mapping(mapping(obj.get("spec")).get("securityContext"))
    for one in pod_security.of_pod({}, {"containers": found, "securityContext": context}, path):
        if one.level is Level.RESTRICTED:
            yield replace(one, path=join(path, "container"))
