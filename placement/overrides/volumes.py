"""Claims by another name, and of another storage class: wherever in an object a claim is named or made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

CLAIM = "PersistentVolumeClaim"
_URI = "pvc://"
_PASSED = frozenset({"labels", "annotations", "env", "args", "command", "data", "stringData", "binaryData"})


def rename(obj: dict[str, Any], names: Mapping[str, str]) -> None:
    """Changes the object, which is the caller's own copy; a claim of the file itself is renamed as well."""
    if obj.get("kind") == CLAIM and isinstance(metadata := obj.get("metadata"), dict):
        metadata["name"] = names.get(metadata.get("name", ""), metadata.get("name"))
    for mapping in list(_mappings(obj)):
        claim = mapping.get("persistentVolumeClaim")
        if isinstance(claim, dict) and isinstance(name := claim.get("claimName"), str):
            claim["claimName"] = names.get(name, name)
        uri = mapping.get("storageUri")  # KServe: pvc://claim/path
        if isinstance(uri, str) and uri.startswith(_URI):
            name, slash, path = uri.removeprefix(_URI).partition("/")
            mapping["storageUri"] = f"{_URI}{names.get(name, name)}{slash}{path}"


def set_storage_class(obj: dict[str, Any], name: str) -> None:
    """Of claims of the file, and of those that a workload has made for its pods. Changes the object."""
    if obj.get("kind") == CLAIM:
        _set_class(obj, name)
    for mapping in list(_mappings(obj)):
        templates = mapping.get("volumeClaimTemplates")
        for template in templates if isinstance(templates, list) else ():
            _set_class(template, name)
        _set_class(mapping.get("volumeClaimTemplate"), name)


def _set_class(claim: Any, name: str) -> None:
    spec = claim.get("spec") if isinstance(claim, dict) else None
    if isinstance(spec, dict):
        spec["storageClassName"] = name


def _mappings(value: Any) -> Iterator[dict[str, Any]]:
    waiting: list[Any] = [value]
    while waiting:
        found = waiting.pop()
        if isinstance(found, list):
            waiting += found
        elif isinstance(found, dict):
            yield found
            waiting += [each for key, each in found.items() if key not in _PASSED]
