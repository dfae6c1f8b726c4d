"""What an object may not say whatever its pods may do: another's namespace, another's name, another scheduler.

These are forbidden at every level. They are looked for by the names of fields, at any depth, since a kind's own schema
may put them anywhere.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from placement import marks
from placement.kinds.references import NETWORKS
from placement.safety.containers import among, mapping
from placement.safety.levels import Breach, Level, shown

ALWAYS = Level.PRIVILEGED
SCHEDULERS = frozenset({"", "muster", "default-scheduler"})
_TOKENS = frozenset({"kubernetes.io/service-account-token", "bootstrap.kubernetes.io/token"})
_NAMES_A_NAMESPACE = "namespace"


def of_field(key: str, value: Any, path: str, namespace: str, schedulers: frozenset[str]) -> Iterator[Breach]:
    """Of one field, wherever it is; `path` is its own."""
    if not isinstance(value, str):
        return
    if key[-9:].lower() == _NAMES_A_NAMESPACE:
        if value and namespace and value != namespace:  # what is of no namespace has none to leave
            yield Breach("namespace", ALWAYS, path, shown(value), value)
    elif key == "schedulerName" and value is not None and not among(value, schedulers):
        yield Breach("schedulerName", ALWAYS, path, shown(value), value)
    elif key == "nodeName" and value:
        yield Breach("nodeName", ALWAYS, path, shown(value), value)
    elif key == "priorityClassName" and value.startswith("system-"):
        yield Breach("priorityClassName", ALWAYS, path, shown(value), value)


def of_annotations(annotations: Mapping[str, Any], path: str, namespace: str) -> Iterator[Breach]:
    for name in _networks(annotations.get(NETWORKS)):
        there, slash, _ = name.partition("/")
        if slash and there != namespace:
            yield Breach("namespace", ALWAYS, f'{path}["{NETWORKS}"]', shown(name), there)


def of_metadata(metadata: Mapping[str, Any], path: str, given: Mapping[str, str] | None) -> Iterator[Breach]:
    """Of an object's metadata, or of a pod template's. `given`: the labels that Muster itself has put there; None where
    it will put them there, over whatever is said now."""
    for field in ("finalizers", "ownerReferences"):
        if metadata.get(field):
            yield Breach(field, ALWAYS, f"{path}.{field}", shown(metadata[field]))
    labels, annotations = mapping(metadata.get("labels")), mapping(metadata.get("annotations"))
    if given is not None:
        for key in sorted(marks.LABELS & labels.keys()):
            if key not in given or given[key] not in ("", labels[key]):
                yield Breach("reserved", ALWAYS, f'{path}.labels["{key}"]', shown(labels[key]), key)
    for key in sorted(marks.ANNOTATIONS & annotations.keys()):
        yield Breach("reserved", ALWAYS, f'{path}.annotations["{key}"]', shown(annotations[key]), key)


def of_object(obj: Mapping[str, Any], namespace: str) -> Iterator[Breach]:
    """What single kinds could do to others."""
    kind, spec = obj.get("kind"), mapping(obj.get("spec"))
    if kind == "Secret" and among(obj.get("type"), _TOKENS):
        yield Breach("token", ALWAYS, "type", shown(obj["type"]), str(obj["type"]))
    if kind == "Service":
        if spec.get("externalIPs"):
            yield Breach("externalIPs", ALWAYS, "spec.externalIPs", shown(spec["externalIPs"]))
        if there := _namespace_in(spec.get("externalName"), namespace):
            yield Breach("namespace", ALWAYS, "spec.externalName", shown(spec["externalName"]), there)


def _namespace_in(host: Any, namespace: str) -> str:
    """Of a Service's name in the cluster; "" where it names none, or this one."""
    parts = host.lower().rstrip(".").split(".") if isinstance(host, str) else []
    there = parts[parts.index("svc") - 1] if "svc" in parts[1:] else ""
    return there if there != namespace else ""


def _networks(given: Any) -> Iterator[str]:
    """`namespace/name@interface` …, or a list in JSON, whose `namespace` is a field of its own."""
    if not isinstance(given, str):
        return
    if not given.lstrip().startswith("["):
        yield from (name.strip() for name in given.split(","))
        return
    try:
        read = json.loads(given)
    except (ValueError, RecursionError):
        yield f"{given[:40]}/"  # Multus may read it otherwise
        return
    for each in read if isinstance(read, list) else ():
        if isinstance(each, dict):
            there = each.get("namespace")
            yield f"{there}/{each.get('name')}" if there else str(each.get("name"))
