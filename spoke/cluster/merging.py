"""Server-side apply as far as it is needed where there is no API server: fields with managers, merged by the key.

Each manager owns the fields that it applied last. What it leaves out next time goes, unless another has set it too;
what others set beside it stays. Where it would change what another set, that is a conflict, unless it is forced. Who
owns what is in `metadata.managedFields`, as in Kubernetes; what was made otherwise than by applying is nobody's by
name, and counts as another's. Not promised: lists are one value each, and are not merged by their keys.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from spoke.cluster.port import Conflict, Object

Fields = Mapping[str, Any]
_IDENTITY = frozenset({"apiVersion", "kind"})
_OF_THE_SERVER = frozenset({"name", "namespace", "uid", "resourceVersion", "generation", "managedFields"})


def applied(present: Object | None, wanted: Object, manager: str, *, force: bool) -> dict[str, Any]:
    """What the object becomes. Raises Conflict, with the field that another set."""
    fields = _fields_of(_body(wanted))
    others = [entry for entry in _managers(present) if entry["manager"] != manager]
    own: Fields = next((entry["fieldsV1"] for entry in _managers(present) if entry["manager"] == manager), {})
    merged: Any = _copied(present) if present is not None else {"apiVersion": wanted["apiVersion"]}
    if not force:
        for path in _conflicts(present or {}, _body(wanted), own, ()):
            raise Conflict(f"conflict with another manager: .{'.'.join(path)}")
    _drop(merged, own, fields, [entry["fieldsV1"] for entry in others])
    _merge(merged, {**_body(wanted), "apiVersion": wanted["apiVersion"], "kind": wanted["kind"]})
    metadata = merged.setdefault("metadata", {})
    metadata |= {key: wanted["metadata"][key] for key in ("name", "namespace") if key in wanted["metadata"]}
    entry = {"manager": manager, "operation": "Apply", "fieldsType": "FieldsV1", "fieldsV1": fields}
    metadata["managedFields"] = [*others, entry]
    result: dict[str, Any] = merged
    return result


def _body(obj: Object) -> dict[str, Any]:
    metadata = {key: value for key, value in (obj.get("metadata") or {}).items() if key not in _OF_THE_SERVER}
    body = {key: value for key, value in obj.items() if key not in _IDENTITY}
    return {**body, "metadata": metadata}


def _managers(obj: Object | None) -> list[dict[str, Any]]:
    return list(((obj or {}).get("metadata") or {}).get("managedFields") or ())


def _fields_of(value: Mapping[str, Any]) -> dict[str, Any]:
    return {f"f:{key}": _fields_of(each) if isinstance(each, dict) and each else {} for key, each in value.items()}


def _conflicts(present: Object, wanted: Fields, own: Fields, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for key, value in wanted.items():
        if key not in present or present[key] == value:
            continue
        held, mine = present[key], own.get(f"f:{key}")
        if isinstance(held, dict) and isinstance(value, dict):
            yield from _conflicts(held, value, mine or {}, (*path, key))
        elif mine is None:
            yield (*path, key)


def _drop(present: dict[str, Any], before: Fields, now: Fields, others: list[Fields]) -> None:
    for name, inner in before.items():
        key, theirs = name.removeprefix("f:"), [fields[name] for fields in others if name in fields]
        held = present.get(key)
        if name in now and isinstance(held, dict):
            _drop(held, inner, now[name], theirs)
        elif name not in now and not theirs and isinstance(held, dict) and inner:
            _drop(held, inner, {}, [])
            if not held:
                del present[key]
        elif name not in now and not theirs:
            present.pop(key, None)


def _merge(present: dict[str, Any], wanted: Mapping[str, Any]) -> None:
    for key, value in wanted.items():
        held = present.get(key)
        if isinstance(held, dict) and isinstance(value, dict):
            _merge(held, value)
        else:
            present[key] = _copied(value)


def _copied(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copied(each) for key, each in value.items()}
    return [_copied(each) for each in value] if isinstance(value, list | tuple) else value
