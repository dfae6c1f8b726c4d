"""A workload's objects with the overrides of a cluster applied, or which override cannot be, and why.

One override after the other, as `selecting` orders them. Within one: images, claims, storage class, pods, and patches
last, so that a patch sees what the rest of its override did.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

import jsonpatch
import jsonpointer

from placement.kinds import companions, paths, podforms, roles
from placement.kinds.catalogue import Catalogue
from placement.kinds.pod_changes import PodChange, change_spec
from placement.overrides import images, volumes
from placement.overrides.override import ObjectPatch, Override
from placement.safety.patterns import matches
from placement.workload import OverrideRefusal

Object = Mapping[str, Any]
MAX_VALUES = 200_000  # of all objects, after patches that copy


class _Refused(Exception):
    def __init__(self, field: str, message: str, mend: str) -> None:
        super().__init__(message)
        self.field, self.message, self.mend = field, message, mend


def applied(
    objects: Sequence[Object], catalogue: Catalogue, overrides: Sequence[Override]
) -> tuple[dict[str, Any], ...] | OverrideRefusal:
    """Copies, in the same order. `overrides`: those that apply there, in their order."""
    copies = [deepcopy(dict(obj)) for obj in objects]
    for override in overrides:
        try:
            copies = _with(copies, catalogue, override)
        except _Refused as refused:
            return OverrideRefusal(override.name, refused.field, refused.message, refused.mend)
    return tuple(copies)


def _with(objects: list[dict[str, Any]], catalogue: Catalogue, override: Override) -> list[dict[str, Any]]:
    for obj in objects:
        if override.images:
            images.rewrite(obj, override.images)
        if override.claims:
            volumes.rename(obj, override.claims)
        if override.storage_class:
            volumes.set_storage_class(obj, override.storage_class)
        if override.of_pods:
            _change_pods(obj, objects, catalogue, override.of_pods)
    for number, patch in enumerate(override.patches):
        objects = _patched(objects, catalogue, patch, f"patches[{number}]")
    return objects


def _change_pods(obj: dict[str, Any], objects: Sequence[Object], catalogue: Catalogue, change: PodChange) -> None:
    kind = catalogue.find(str(obj.get("apiVersion")), str(obj.get("kind")))
    if kind is None:
        return
    if (inside := roles.nested(kind, obj)) is not None:
        kind, obj = inside  # part of it
    if kind.rules.companion:
        specs = list(companions.FORMS[kind.rules.companion].pod_specs(obj, objects))
        for spec in specs:
            change_spec(spec, change)
        if paths.find(obj, kind.rules.places[0].at) is None:  # they are its runtime's alone
            if not specs:
                message = f"the pods of a {obj.get('kind')} are made of a runtime that is not in the file"
                raise _Refused("spec", message, "put the runtime into the file, or leave such kinds out")
            return
    changed: set[int] = set()  # two roles may be made of one template
    for role in roles.shape(kind, obj).roles:
        entry: Any = role.entry if role.rules.pods else role.template.get("spec")  # part of `obj`
        if not isinstance(entry, dict) or id(entry) in changed:
            continue
        changed.add(id(entry))
        if not role.rules.pods:
            change_spec(entry, change)
        elif field := podforms.FORMS[role.rules.pods].change(entry, obj, change):
            message = f"{obj.get('kind')} has no field for it"
            raise _Refused(field, message, "leave such kinds out by workloads.kinds, or use a patch")


def _patched(objects: list[dict[str, Any]], catalogue: Catalogue, patch: ObjectPatch, at: str) -> list[dict[str, Any]]:
    meant = [index for index, obj in enumerate(objects) if _is_meant(patch, obj, catalogue)]
    if not meant and patch.if_absent == "refuse":
        whom = f"{patch.kind or 'object'} {patch.name}"
        raise _Refused(at, f"the job has no {whom}", "select jobs that have one by workloads, or set if_absent: skip")
    answer = list(objects)
    for index in meant:
        answer[index] = _with_operations(objects[index], patch, at)
    if sum(map(_size, answer)) > MAX_VALUES:
        raise _Refused(at, f"it makes more than {MAX_VALUES} values", "copy less")
    return answer


def _with_operations(obj: dict[str, Any], patch: ObjectPatch, at: str) -> dict[str, Any]:
    for number, operation in enumerate(patch.operations):
        try:
            obj = jsonpatch.apply_patch(obj, [operation])
        except (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException, TypeError, ValueError) as error:
            where = f"{at}.operations[{number}]"
            what = f"{operation['op']} {operation['path']} of {_called(obj)}: {error}"
            raise _Refused(where, what[:500], "mend the path, or select by workloads the jobs that have it") from error
        if not isinstance(obj, dict):
            raise _Refused(f"{at}.operations[{number}]", "it leaves no object", "patch fields of the object")
    return obj


def _is_meant(patch: ObjectPatch, obj: Object, catalogue: Catalogue) -> bool:
    kind, metadata = str(obj.get("kind")), obj.get("metadata")
    name = str(metadata.get("name")) if isinstance(metadata, Mapping) else ""
    if not patch.kind and catalogue.find(str(obj.get("apiVersion")), kind) is None:
        return False
    return patch.kind in ("", kind) and matches(patch.name, name)


def _called(obj: Object) -> str:
    metadata = obj.get("metadata")
    return f"{obj.get('kind')} {metadata.get('name') if isinstance(metadata, Mapping) else ''}".strip()


def _size(value: Any) -> int:
    if isinstance(value, Mapping):
        return 1 + sum(map(_size, value.values()))
    return 1 + sum(map(_size, value)) if isinstance(value, list) else 1
