"""Secrets without what is in them: what is kept, or shown, of objects that are not to be read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Object = Mapping[str, Any]
_HOLDERS = ("data", "stringData")


def is_secret(obj: Object) -> bool:
    return obj.get("apiVersion") == "v1" and obj.get("kind") == "Secret"


def without_data(objects: Iterable[Object], instead: str = "") -> tuple[Object, ...]:
    """The same objects, with `instead` for each value of their Secrets; the keys stay. Others are not copied."""
    return tuple(_without(obj, instead) if is_secret(obj) else obj for obj in objects)


def _without(obj: Object, instead: str) -> Object:
    emptied: dict[str, Any] = {key: _emptied(obj[key], instead) for key in _HOLDERS if key in obj}
    metadata = obj.get("metadata")
    if isinstance(metadata, Mapping) and metadata.get("annotations"):
        # Where kubectl keeps what it applied last, a copy of the whole.
        kept = {key: value for key, value in metadata.items() if key != "annotations"}
        marks = {key: text for key, text in _mapping(metadata["annotations"]).items() if key != _LAST_APPLIED}
        emptied["metadata"] = {**kept, "annotations": marks} if marks else kept
    return {**obj, **emptied}


_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def _emptied(values: Any, instead: str) -> dict[str, str]:
    return {str(key): instead for key in values} if isinstance(values, Mapping) else {}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
